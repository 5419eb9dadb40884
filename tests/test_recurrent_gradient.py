"""Gradients of recurrent layers: the way back through a stack, the growth, and the edge of 1/2."""

import math

import numpy as np
import pytest
import torch

from snnlib.meanfield import (
    backward_second_moment,
    gradient_growth,
    growth_of,
    least_input_variance,
    rate_at_half,
    rate_fixed_points,
)
from snnlib.neurons import AdaptiveLIF, RecurrentLIF
from snnlib.surrogate import Surrogate

LAYER = {"width": 12, "leak": 0.6, "threshold": 0.9, "weight_mean": 0.05, "weight_variance": 0.07}


@pytest.mark.parametrize("above", [{}, {"width_above": 7, "above_weight_second_moment": 0.11}])
@pytest.mark.parametrize("reset", ["subtract", "subtract_leak", "none"])
def test_the_variance_of_what_comes_back_is_kept(reset, above):
    """One step by hand, with slopes of two values that have the given moments."""
    n, leak, theta = LAYER["width"], LAYER["leak"], LAYER["threshold"]
    rho = {"subtract": 1.0, "subtract_leak": leak, "none": 0.0}[reset] * theta
    first = 0.3
    second = backward_second_moment(first_moment=first, reset=reset, **LAYER, **above)
    assert second > first**2
    random = np.random.default_rng(3)
    samples = 40_000
    slope = first + random.choice([-1, 1], (samples, n)) * math.sqrt(second - first**2)
    weight = random.normal(LAYER["weight_mean"], LAYER["weight_variance"] ** 0.5, (samples, n, n))
    weight[:, range(n), range(n)] = 0
    later = random.normal(size=(samples, n))
    back = (leak - rho * slope) * later + slope * np.einsum("bij,bi->bj", weight, later)
    if above:
        up = random.normal(0, 0.11**0.5, (samples, 7, n))
        back += slope * np.einsum("bij,bi->bj", up, random.normal(size=(samples, 7)))
    squares = (back**2).mean(1)
    error = 5 * squares.std() / samples**0.5
    assert abs(squares.mean() - 1) < error
    if above:  # the neighbour without the layer above is told apart
        alone = backward_second_moment(first_moment=first, reset=reset, **LAYER)
        assert alone / second - 1 > 2 * error


def test_no_first_moment_is_needed_where_no_gradient_passes_the_reset():
    kept = backward_second_moment(detach_reset=True, **LAYER)
    assert kept == pytest.approx((1 - 0.36) / (11 * (0.07 + 0.0025)))
    assert backward_second_moment(reset="zero", **LAYER) == pytest.approx(
        (1 - 0.18) / (11 * (0.07 + 0.0025))
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, "first_moment is needed"),
        ({"first_moment": -0.1}, "first_moment must be positive"),
        ({"width": 1}, "width must be an integer >= 2"),
        ({"width_above": -1}, "width_above must be an integer >= 0"),
        ({"above_weight_second_moment": -1.0}, "above_weight_second_moment must be >= 0"),
        ({"weight_mean": 0.0, "weight_variance": 0.0, "threshold": 0.0}, "must not all be 0"),
    ],
)
def test_bad_layers_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        backward_second_moment(**{**LAYER, **change})


@pytest.mark.parametrize("mean", [0.0, 0.4, -0.4])
def test_growth_is_the_larger_of_both_parts(mean):
    n = 30
    draw = torch.Generator().manual_seed(1)
    weight = (torch.randn(n, n, generator=draw) * 0.2 + mean).double()
    slopes = torch.rand(5, 4, n, generator=draw).double()
    w, s = weight.numpy().copy(), slopes.numpy()
    np.fill_diagonal(w, 0)
    spread = math.sqrt((w**2).sum() / n * (s**2).mean())
    common = abs(w.sum() / n) * s.mean()
    assert (spread > common) == (mean == 0)
    found = gradient_growth(weight, slopes, leak=torch.tensor([0.3, 0.7]))
    assert found == pytest.approx(0.7 + max(spread, common), rel=1e-6)


@pytest.mark.parametrize("kind", [RecurrentLIF, AdaptiveLIF])
def test_growth_of_a_layer_reads_its_state(kind):
    extra = {"adaptation": 0.8} if kind is AdaptiveLIF else {}
    layer = kind(20, leak=0.4, threshold=0.7, surrogate=Surrogate("triangular", 0.9, 0.6), **extra)
    current = torch.rand(9, 6, 20, generator=torch.Generator().manual_seed(2))
    trace = layer.trace(current)
    theta = 0.7 + (0.8 * trace.adaptation if extra else 0.0)
    slopes = layer.surrogate.derivative(trace.membrane - theta)
    assert growth_of(layer, current) == gradient_growth(layer.weight, slopes, leak=0.4)


def test_growth_refuses_what_is_no_layer():
    with pytest.raises(ValueError, match=r"weight must be \[n, n\]"):
        gradient_growth(torch.ones(2, 3), torch.ones(2), leak=0.5)
    with pytest.raises(ValueError, match="slopes must not be empty"):
        gradient_growth(torch.ones(2, 2), torch.ones(0), leak=0.5)


@pytest.mark.parametrize("reset", ["subtract", "subtract_leak", "zero", "none"])
def test_half_is_reached_above_the_largest_edge(reset):
    layer = {"leaks": [0.3, 0.8], "thresholds": [0.5, 1.2], "gain": 0.4, "reset": reset}
    edge = max(least_input_variance(leak, 1.2, reset=reset) for leak in (0.3, 0.8))
    assert rate_at_half(input_variance=1.01 * edge, **layer) == (0.5, edge)
    rate, same = rate_at_half(input_variance=0.99 * edge, **layer)
    assert math.isnan(rate) and same == edge


def test_below_the_edge_the_rate_is_the_lowest_stable_one():
    setting = {"gain": 0.4, "input_variance": 0.05}
    rate, _ = rate_at_half(leaks=[0.5], thresholds=[1.1], **setting)
    stable = [p.rate for p in rate_fixed_points(leak=0.5, threshold=1.1, **setting) if p.slope < 1]
    assert rate == min([p for p in stable if p < 0.5], default=0.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"leak": 1.5}, r"leak must be in \[0, 1\], got 1.5"),
        ({"leak": torch.tensor([0.5, -0.1])}, r"leak must be in \[0, 1\]"),
        ({"leak": math.nan}, r"leak must be in \[0, 1\], got nan"),
        ({"slopes": torch.tensor([0.1, math.nan])}, "slopes must be finite"),
        ({"weight": torch.full((3, 3), math.inf)}, "weight must be finite off the diagonal"),
    ],
)
def test_a_growth_of_what_is_no_number_is_refused(change, message):
    given = {"weight": torch.zeros(3, 3), "slopes": torch.ones(2, 3), "leak": 0.7} | change
    with pytest.raises(ValueError, match=message):
        gradient_growth(given["weight"], given["slopes"], leak=given["leak"])
    diagonal = torch.zeros(3, 3).fill_diagonal_(math.nan)  # is not read
    assert gradient_growth(diagonal, torch.ones(2, 3), leak=0.7) == pytest.approx(0.7)


def test_a_growth_is_of_a_recurrent_layer():
    with pytest.raises(ValueError, match="layer must be a RecurrentLIF or an AdaptiveLIF"):
        growth_of(torch.nn.Linear(3, 3), torch.zeros(2, 2, 3))
