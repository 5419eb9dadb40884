"""Comparisons over paired seeds: intervals against scipy, families, verdicts, bad input."""

import math

import numpy as np
import pytest
from scipy import stats

from snnlib.experiments import compare, paired


@pytest.mark.parametrize("dof", [1, 2, 5, 30])
@pytest.mark.parametrize("ratio", [0.3, 2.0, 15.0])
def test_the_noncentral_law_is_scipys(dof, ratio):
    for shift in (0.0, 0.7, 4.0, 12.0):
        expected = stats.nct.cdf(ratio, dof, shift)
        assert paired._below(ratio, dof, shift) == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("n", [3, 6])
def test_the_interval_of_the_effect_ends_where_the_law_says(n):
    generator = np.random.default_rng(2)
    first, second = generator.normal(size=(2, n))
    for sign in (1, -1):
        found = compare.difference(list(sign * first), list(sign * second), confidence=0.9)
        ratio = found.mean / found.std * math.sqrt(n)
        if ratio < 0:  # where scipy's law is NaN in places
            ratio, ends = -ratio, (-found.effect_high, -found.effect_low)
        else:
            ends = (found.effect_low, found.effect_high)
        shown = [stats.nct.cdf(ratio, n - 1, end * math.sqrt(n)) for end in ends]
        assert shown == pytest.approx([0.95, 0.05], abs=1e-7)


def test_intervals_hold_as_often_as_they_say():
    """400 intervals at 0.95, standard error 0.011; 0.055 is 5 of them: shares below 0.88 show."""
    generator = np.random.default_rng(5)
    inside = 0
    for first, second in generator.normal(size=(400, 2, 4)):
        found = compare.difference(list(first + 0.5), list(second))
        inside += found.interval[0] <= 0.5 <= found.interval[1]
    assert abs(inside / 400 - 0.95) < 0.055


def rows(**accuracies):
    return [
        {"depth": depth, "init": init, "seed": seed, "test_accuracy": value}
        for (name, values) in accuracies.items()
        for depth, init in [name.split("_")]
        for seed, value in enumerate(values)
    ]


TABLE = rows(
    a_x=(0.90, 0.91, 0.92),
    a_y=(0.80, 0.82, 0.80),
    b_x=(0.12, 0.10, 0.11),
    b_y=(0.10, 0.10, 0.10),
    c_x=(0.10, 0.11, 0.10),
    c_y=(0.70, 0.71, 0.72),
)


def test_a_family_is_corrected_over_what_can_tell():
    found = compare.judge(TABLE, "init", [("x", "y")], within=["depth"], chance=0.1)
    assert [c.verdict for c in found] == ["seen", "no evidence", "reversed"]
    raw = [c.difference.p_value for c in found]  # those that cannot tell stay in the family
    assert [c.p_holm for c in found] == pytest.approx(compare.holm(raw))
    # a difference whose own interval leaves out 0 can get lost among others
    strict = compare.judge(
        TABLE, "init", [("x", "y")] * 20, within=["depth"], chance=0.1, confidence=0.99
    )
    assert strict[0].verdict == "not seen at this size"
    assert abs(strict[0].difference.mean) > strict[0].difference.half_width
    trains = compare.judge(TABLE, "init", [("y", "x")], within=["depth"], claim="trains")
    assert [c.verdict for c in trains] == ["no evidence", "no evidence", "seen"]
    losses = compare.judge(
        TABLE, "init", [("y", "x")], within=["depth"], chance=0.1, larger_is_better=False
    )
    assert [c.verdict for c in losses] == ["seen", "no evidence", "reversed"]


def test_equal_differences_do_not_pretend_to_know_their_spread():
    found = compare.difference([0.9, 0.8], [0.5, 0.4])
    assert found.std == 0 and math.isinf(found.half_width) and found.p_value == 1
    known = compare.difference([0.9, 0.8], [0.5, 0.4], resolution=0.01)
    assert known.std == pytest.approx(0.01 / math.sqrt(6)) and known.p_value < 0.01
    same = compare.difference([0.1, 0.1], [0.1, 0.1])
    assert (same.mean, same.half_width, same.p_value) == (0, 0, 1)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="no common seed"):
        compare.difference({0: 1.0}, {1: 1.0})
    with pytest.raises(ValueError, match="same length"):
        compare.difference([1.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="finite"):
        compare.difference([1.0, math.nan], [1.0, 2.0])
    with pytest.raises(ValueError, match="confidence must be in"):
        compare.difference([1.0], [1.0], confidence=95)
    with pytest.raises(ValueError, match="seed 0 comes twice under depth a"):
        compare.by_seed(TABLE, depth="a")
    with pytest.raises(ValueError, match="no row has depth d"):
        compare.by_seed(TABLE, depth="d")
    with pytest.raises(ValueError, match="must be in"):
        compare.holm([0.5, 1.5])
