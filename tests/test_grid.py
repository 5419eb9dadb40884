"""Grids of stored runs, sentences and orderings judged as one family."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from snnlib import experiments
from snnlib.experiments import Contrast, Grid, Sentence

SHAPES, TASKS, SEEDS = ("a", "b", "c"), ("x", "y"), (3, 1, 2)


def table(seed=0, effect=0.0):
    """Rows of an additive table with noise; shape b is better by an effect."""
    draw = np.random.default_rng(seed)
    shift = dict(zip(SEEDS, draw.normal(0, 0.2, 3), strict=True))
    return [
        {
            "shape": shape,
            "task": task,
            "seed": number,
            "test_accuracy": 0.5 + effect * (shape == "b") + shift[number] + draw.normal(0, 0.05),
        }
        for shape in SHAPES
        for task in TASKS
        for number in SEEDS
    ]


def accuracy(row):
    return row["test_accuracy"]


def test_noise_is_that_of_the_additive_model():
    values = np.array([[2.0, 3.5, 1.0], [4.0, 4.5, 3.5]])
    noise, dof = experiments.additive_noise(values)
    design = np.array([[1, c, *(t == k for k in (1, 2))] for c in (0, 1) for t in (0, 1, 2)], float)
    _, (left,), rank, _ = np.linalg.lstsq(design, values.ravel(), rcond=None)
    assert (rank, dof) == (4, 2)
    assert abs(noise - math.sqrt(left / 2)) < 1e-12


def test_two_conditions_alone_are_the_paired_test():
    rows = [row for row in table() if row["task"] == "x" and row["shape"] in "ab"]
    grid = Grid(rows, ["shape"])
    found = grid.contrast(grid.side(shape="a"), grid.side(shape="b"), accuracy, best=0.6)
    test = stats.ttest_rel(*grid.accuracy)
    low, high = test.confidence_interval(0.95)
    assert abs(found.p_value - test.pvalue) < 1e-12
    assert np.allclose((found.mean - found.half_width, found.mean + found.half_width), (low, high))
    assert abs(found.effect - found.mean / (math.sqrt(2) * found.noise)) < 1e-12


def test_grid_keeps_order_and_sides_weigh_equally():
    grid = Grid(table(), ["shape", "task"])
    assert grid.conditions[:3] == [("a", "x"), ("a", "y"), ("b", "x")]
    assert grid.seeds == [1, 2, 3]
    assert grid.accuracy.shape == (6, 3)
    assert grid.side(shape=("a", "c"), task="y").tolist() == [0, 0.5, 0, 0, 0, 0.5]
    with pytest.raises(ValueError, match="no condition has"):
        grid.side(shape="d")


def test_interval_of_a_mean_is_that_of_the_table():
    grid = Grid(table(), ["shape", "task"])
    noise, dof = experiments.additive_noise(grid.accuracy)
    expected = stats.t.ppf(0.975, dof) * noise / math.sqrt(3)
    assert abs(grid.half_width(accuracy) / expected - 1) < 1e-9


def test_pairs_of_sides_are_an_interaction():
    grid = Grid(table(), ["shape", "task"])
    ax, ay, bx, by = (grid.side(shape=s, task=t) for s, t in ("ax", "ay", "bx", "by"))
    found = grid.contrast((ax, by), (ay, bx), accuracy, best=0.6, margin=0.25)
    mean = {c: m for c, m in zip(grid.conditions, grid.accuracy.mean(1), strict=True)}
    expected = mean["a", "x"] + mean["b", "y"] - mean["a", "y"] - mean["b", "x"]
    assert abs(found.mean - expected - 0.25) < 1e-12


def test_contrast_holds_its_level():
    """400 false alarms at 0.05 have a standard error of 0.011; three of them are allowed."""
    alarms = hits = 0
    for seed in range(400):
        for effect in (0.0, 0.2):
            grid = Grid(table(seed, effect), ["shape", "task"])
            found = grid.contrast(grid.side(shape="b"), grid.side(shape="a"), accuracy, best=0.6)
            alarms += effect == 0 and found.p_value < 0.05
            hits += effect > 0 and found.p_value < 0.05 and found.mean > 0
    assert alarms < 400 * 0.05 + 3 * math.sqrt(400 * 0.05)
    assert hits > 350


def test_incomplete_grids_are_refused():
    rows = table()
    with pytest.raises(ValueError, match="one for each of 6 conditions and 3 seeds, got 17"):
        Grid(rows[1:], ["shape", "task"])
    with pytest.raises(ValueError, match="got 19"):
        Grid([*rows, rows[0]], ["shape", "task"])
    with pytest.raises(ValueError, match="values must be"):
        experiments.additive_noise([[1.0, 2.0]])


def test_sentences_share_one_correction():
    one = Contrast(2.6, 1.0, 30, 1.0, True)  # p = 0.014 alone
    other = Contrast(-9.0, 1.0, 30, 1.0, True)
    (alone,) = experiments.judge_sentences([Sentence("1", "a", "t", [one])])
    assert (alone.verdict, alone.agree) == ("seen", 1)
    dull = [Contrast(0.0, 1.0, 30, 1.0, True)] * 5
    first, second = experiments.judge_sentences(
        [Sentence("1", "a", "t", [one, *dull]), Sentence("2", "b", "t", [one, other])]
    )
    assert first.verdict == "not seen at this size"
    assert (second.verdict, second.against, second.least) == ("reversed", 1, other)
    expected = experiments.holm([c.p_value for c in (one, *dull, one, other)])
    assert first.p_holm + second.p_holm == expected
    with pytest.raises(ValueError, match="a sentence needs a contrast: 'c'"):
        experiments.judge_sentences([Sentence("1", "c", "t", [])])


def test_orderings_are_tested_by_their_own_spread_as_one_family():
    rows = table(1)
    claimed = [
        experiments.ordering(rows, {"shape": "b", "task": t}, {"shape": s, "task": t}, sentence=s)
        for s in ("a", "c")
        for t in TASKS
    ]
    found = experiments.judge_orderings(claimed, best=0.6)
    raw = [stats.ttest_rel(list(o.first.values()), list(o.second.values())).pvalue for o in claimed]
    assert [j.difference.p_value for j in found] == pytest.approx(raw)
    assert [j.p_holm for j in found] == pytest.approx(experiments.holm(raw))
    # settings that cannot tell stay in the family
    mute = experiments.judge_orderings(claimed, best=5.0)
    assert {judged.verdict for judged in mute} == {"no evidence"}
    assert [j.p_holm for j in mute] == [j.p_holm for j in found]
    with pytest.raises(ValueError, match="at least two seeds"):
        experiments.judge_orderings([claimed[0]._replace(first={1: 0.5}, second={1: 0.4})], best=1)


def test_stored_tables_are_balanced(tmp_path, monkeypatch):
    rows = experiments.stored("gain-digits", folder="results")
    protocol = experiments.PROTOCOLS["gain-digits"]

    def written(kept):
        monkeypatch.setattr("snnlib.experiments.balanced.read", lambda path: kept)
        return experiments.stored("gain-digits", folder=tmp_path, fewest=2)

    first = tuple(rows[0][label] for label in protocol.labels)
    place = [tuple(row[label] for label in protocol.labels) for row in rows]
    fewer = [r for r, p in zip(rows, place, strict=True) if (p, r["seed"]) != (first, 2)]
    assert {row["seed"] for row in written(fewer)} == {0, 1}
    with pytest.raises(ValueError, match="has no row of"):
        written([r for r, p in zip(rows, place, strict=True) if p != first])
    with pytest.raises(ValueError, match="1 seeds of all conditions, not 2"):
        written([row for row in rows if row["seed"] == 0])
