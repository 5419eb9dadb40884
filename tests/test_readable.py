"""Classes in layers that nobody trained: the limits of the law, and what it refuses."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm

from snnlib.meanfield import (
    correlation_fixed_point,
    correlation_map,
    correlation_slope,
    depth_scale,
    readable_depth,
    readout_accuracy,
)

CASE = {"within": 0.5, "width": 500, "per_class": 50}


def test_the_first_layer_of_two_classes_is_a_formula():
    """Unrelated classes: p_i = p, so v = p(1 − p); two of them, P(right) = Φ(d/√2)."""
    theta, q, n, m, c = 0.7, 1.3, 40, 3, 0.2
    p = norm.sf(theta / math.sqrt(q))
    signal = correlation_map(c, theta, variance=q) - p
    noise = (1 - p) ** 2 / n / m + signal * (1 - p) / n
    expected = norm.cdf(signal / math.sqrt(2 * noise))
    found = readout_accuracy(theta, variance=q, within=c, width=n, per_class=m, classes=2, layers=1)
    assert found[0] == pytest.approx(expected, abs=1e-6)


def test_no_difference_is_guessing_and_more_of_all_helps():
    same = readout_accuracy(1.0, between=0.5, classes=7, **CASE)
    assert same == pytest.approx(np.full(10, 1 / 7), abs=1e-6)
    plain = readable_depth(1.0, **CASE)
    for more in ({"width": 2000}, {"per_class": 400}, {"within": 0.8}):
        assert readable_depth(1.0, **CASE | more) > plain
    assert readable_depth(1.0, **CASE | {"between": 0.3}) < plain


def test_it_grows_by_the_depth_scale_times_the_logarithm():
    """Examples without end: U alone, D ∝ n^(-1), so each factor e of n adds ξ layers."""
    case = {"within": 0.5, "per_class": 10**9}
    first, second = (readable_depth(1.0, width=n, **case) for n in (10**6, 10**8))
    slope = correlation_slope(correlation_fixed_point(1.0), 1.0)
    assert -1 / math.log(slope) == pytest.approx(depth_scale(1.0))
    assert (second - first) / math.log(100) == pytest.approx(depth_scale(1.0), rel=0.03)


def test_a_poor_readout_reads_no_layer():
    assert readable_depth(1.0, within=0.01, width=3, per_class=1) == 0


@pytest.mark.parametrize(
    "bad",
    [
        {"within": 1.0},
        {"within": -0.1},
        {"between": 0.6},
        {"width": 0},
        {"per_class": 0},
        {"classes": 1},
        {"variance": 0.0},
        {"threshold": -1.0},
    ],
)
def test_what_is_outside_is_refused(bad):
    with pytest.raises(ValueError, match="threshold" if "threshold" in bad else next(iter(bad))):
        readable_depth(**{"threshold": 1.0} | CASE | bad)
