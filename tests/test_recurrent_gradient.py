"""Gradients of recurrent layers: the way back through a stack, the growth, and the edge of 1/2."""

import math

import numpy as np
import pytest
import torch

from snnlib import meanfield
from snnlib.meanfield import (
    backward_second_moment,
    gradient_growth,
    growth_of,
    growth_with_memory,
    least_input_variance,
    rate_at_half,
    rate_fixed_points,
    slope_correlation,
    spectral_radius,
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
    with pytest.raises(ValueError, match="slopes must be numbers and not empty"):
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
        ({"leak": math.nan}, "leak must be finite, got nan"),
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


# --- Slopes that change over time -----------------------------------------------------------------


def second_moments(leak, gain, correlation, steps):
    """V_k by counting: pairs of paths that pass the same weights, the i-th at times a and b."""
    lags = [gain * correlation[min(d, len(correlation) - 1)] for d in range(steps + 1)]
    waits = leak ** np.arange(steps + 1.0)
    last = np.zeros((steps + 1, steps + 1))  # pairs whose last passages were at a and b
    last[0, 0] = 1.0
    for a in range(1, steps + 1):
        for b in range(1, steps + 1):
            before = waits[a - 1 :: -1][:a] @ last[:a, :b] @ waits[b - 1 :: -1][:b]
            last[a, b] = lags[abs(a - b)] * before
    return [waits[k::-1] @ last[: k + 1, : k + 1] @ waits[k::-1] for k in range(steps + 1)]


REMEMBERED = [
    (0.9, 0.7, [0.5, 0.3, 0.22, 0.15, 0.04]),
    (0.4, 2.1, [0.3, 0.11, 0.2, 0.07]),  # not monotone
    (0.95, 1.0, [0.2, 0.032**2]),  # drawn anew
]


@pytest.mark.parametrize(("leak", "gain", "correlation"), REMEMBERED)
def test_growth_with_memory_is_that_of_pairs_of_paths(leak, gain, correlation):
    counted = second_moments(leak, gain, correlation, 120)
    growth = growth_with_memory(leak=leak, gain=gain, correlation=correlation)
    assert growth == pytest.approx(math.sqrt(counted[120] / counted[119]), rel=1e-4)
    stay = growth_with_memory(leak=leak, gain=gain, correlation=correlation[:1])
    mean = leak + math.sqrt(gain * correlation[-1])
    assert stay == pytest.approx(leak + math.sqrt(gain * correlation[0]))
    assert mean * 1.01 < growth < stay / 1.01


@pytest.mark.parametrize("leak", [0.3, 0.95])
def test_slopes_drawn_anew_have_a_growth_in_closed_form(leak):
    gain, first, second = 1.3, 0.2, 0.35
    apart = gain * (second - first**2)
    most = math.sqrt(4 * leak**2 * gain * first**2 + apart**2)
    growth = growth_with_memory(leak=leak, gain=gain, correlation=[second, first**2])
    assert growth == pytest.approx(math.sqrt(leak**2 + gain * first**2 + most), rel=1e-12)
    no_mean = growth_with_memory(leak=leak, gain=gain, correlation=[second, 0.0])
    assert no_mean == pytest.approx(math.sqrt(leak**2 + gain * second))  # as weights drawn anew
    assert growth_with_memory(leak=0.0, gain=gain, correlation=[second, first**2]) == pytest.approx(
        math.sqrt(gain * second)
    )


def test_a_wide_layer_grows_by_it():
    """Two neighbours are told apart: slopes by their mean, and slopes that stay."""
    n, leak, gain, share, height = 1500, 0.95, 1.0, 0.02, 3.0
    random, steps, networks = np.random.default_rng(5), 24, 6
    found = []
    for _ in range(networks):
        weight = random.normal(0, math.sqrt(gain / n), (n, n)).astype(np.float32)
        back = random.normal(size=(12, n)).astype(np.float32)
        size = [np.square(back).mean()]
        for _ in range(steps):
            slope = height * (random.random((12, n)) < share).astype(np.float32)
            back = leak * back + slope * (back @ weight)
            size.append(np.square(back).mean())
        found.append((size[24] / size[8]) ** (1 / 32))
    correlation = [share * height**2, (share * height) ** 2]
    growth = growth_with_memory(leak=leak, gain=gain, correlation=correlation)
    assert abs(np.mean(found) - growth) < 5 * np.std(found, ddof=1) / math.sqrt(networks) < 0.02
    assert growth - (leak + math.sqrt(gain) * share * height) > 0.04
    assert leak + math.sqrt(gain * correlation[0]) - growth > 0.3


def test_a_correlation_is_the_mean_over_pairs():
    slopes = torch.rand(7, 2, 3, generator=torch.Generator().manual_seed(0))
    found = slope_correlation(slopes, 2)
    rows = slopes.double().numpy()
    expected = [np.mean([rows[t] * rows[t + d] for t in range(7 - d)]) for d in range(3)]
    assert found == pytest.approx(expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"leak": -0.1}, "leak must be"),
        ({"leak": 1.1}, r"leak must be in \[0, 1\], got 1.1"),
        ({"gain": -1.0}, "gain must be"),
        ({"correlation": []}, r"correlation must be C\(0\)"),
        ({"correlation": [0.1, -0.1]}, "correlation must be finite and >= 0"),
        ({"correlation": [0.1, math.nan]}, "correlation must be finite and >= 0"),
    ],
)
def test_growth_with_memory_refuses(change, message):
    setting = {"leak": 0.9, "gain": 1.0, "correlation": [0.1]} | change
    with pytest.raises(ValueError, match=message):
        growth_with_memory(**setting)


@pytest.mark.parametrize(
    ("slopes", "lags", "message"),
    [
        (torch.ones(3, 2), 3, r"lags must be an integer in \[0, 3\), got 3"),
        (torch.ones(0, 2), 0, "slopes must be finite"),
        (torch.tensor([1.0, math.inf]), 0, "slopes must be finite"),
    ],
)
def test_a_correlation_of_what_is_no_slope_is_refused(slopes, lags, message):
    with pytest.raises(ValueError, match=message):
        slope_correlation(slopes, lags)


# --- Slopes that differ and stay ------------------------------------------------------------------

DIFFERENT = [  # two values of the slopes, share of the first, leak, gain, reset
    ((0.0, 1.0), 0.5, 0.5, 2.0, 1.0),
    ((0.1, 0.9), 0.7, 0.8, 0.6, 1.7),
    ((0.2, 1.5), 0.4, 0.95, 0.5, 0.3),
    ((0.0, 0.6), 0.8, 0.9, 1.1, 0.0),  # detached
]


@pytest.mark.parametrize(("values", "share", "leak", "gain", "reset"), DIFFERENT)
def test_the_edge_is_that_of_eigenvalues(values, share, leak, gain, reset):
    n = 700
    random = np.random.default_rng(8)
    slopes = np.where(np.arange(n) < share * n, *values)
    weight = random.normal(0, math.sqrt(gain / n), (n, n))
    step = np.diag(leak - reset * slopes) + slopes[:, None] * weight
    reached = np.abs(np.linalg.eigvals(step)).max()
    radius = spectral_radius(torch.tensor(slopes), leak=leak, gain=gain, reset=reset)
    assert reached == pytest.approx(radius, rel=0.05)  # eigenvalues stray by about n^(-1/2)
    by_moments = abs(leak - reset * slopes.mean()) + math.sqrt(gain * (slopes**2).mean())
    if reset:
        assert abs(by_moments / reached - 1) > 0.09
    else:
        assert radius == pytest.approx(by_moments)


def test_equal_slopes_have_the_radius_of_their_moments():
    for leak, slope, gain, reset in ((0.5, 1.2, 0.7, 1.0), (0.9, 0.3, 2.0, 0.5)):
        radius = spectral_radius(torch.full((5, 4), slope), leak=leak, gain=gain, reset=reset)
        assert radius == pytest.approx(abs(leak - reset * slope) + math.sqrt(gain) * slope)
    silent = spectral_radius(torch.zeros(3), leak=0.4, gain=2.0, reset=1.0)
    assert silent == 0.4
    assert spectral_radius(torch.ones(3), leak=0.4, gain=0.0, reset=1.0) == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"leak": 1.1}, r"leak must be in \[0, 1\], got 1.1"),
        ({"gain": -1.0}, "gain must be"),
        ({"reset": -1.0}, "reset must be"),
        ({"slopes": torch.zeros(0)}, "slopes must be finite and >= 0, at least one"),
        ({"slopes": torch.tensor([-0.1])}, "slopes must be finite and >= 0"),
        ({"slopes": torch.tensor([math.nan])}, "slopes must be finite and >= 0"),
    ],
)
def test_a_radius_of_what_is_no_slope_is_refused(change, message):
    setting = {"leak": 0.5, "gain": 1.0, "reset": 1.0, "slopes": torch.ones(2)} | change
    with pytest.raises(ValueError, match=message):
        spectral_radius(setting.pop("slopes"), **setting)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: meanfield.spectral_radius([0.0, 1.0], leak=0.5, gain=1.0),
            "slopes must be a tens",
        ),
        (
            lambda: meanfield.slope_correlation([[1.0], [0.0]], 1),
            "slopes must be a tensor, got list",
        ),
        (
            lambda: meanfield.slope_correlation(torch.ones(3, 1), 1.5),
            "an integer in .0, 3., got 1.5",
        ),
        (
            lambda: meanfield.growth_with_memory(leak=0.5, gain=1.0, correlation="ab"),
            "correlation must be numbers",
        ),
    ],
)
def test_what_is_no_tensor_or_number_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
