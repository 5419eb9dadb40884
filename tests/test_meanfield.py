"""The variance map and the finite-width law against quadrature, enumeration, simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm

from snnlib import meanfield
from snnlib.neurons import lif
from snnlib.surrogate import Surrogate


@pytest.mark.parametrize("threshold", [0.0, 0.3, 1.0, 4.0, 12.0])
@pytest.mark.parametrize("variance", [0.25, 1.0, 3.0])
def test_firing_probability_is_the_gaussian_tail(threshold, variance):
    tail, _ = quad(norm(scale=np.sqrt(variance)).pdf, threshold, np.inf, epsabs=0, epsrel=1e-12)
    assert meanfield.firing_probability(threshold, variance) == pytest.approx(tail, rel=1e-9)


def test_arrays_broadcast_and_scalars_stay_scalars():
    grid = meanfield.firing_probability([[0.0], [1.0]], [0.0, 1.0, 4.0])
    assert grid.shape == (2, 3)
    assert grid[0, 0] == 0.0  # a potential that is 0 does not exceed the threshold 0
    assert isinstance(meanfield.firing_probability(1.0), float)
    assert isinstance(meanfield.variance_map(1.0, 2.0, 0.5), float)


@pytest.mark.parametrize("threshold", [0.0, 0.2, 0.5, 1.0, 1.19, 1.4, 2.0])
def test_fixed_points_are_fixed_and_slopes_are_derivatives(threshold):
    gain = 1 / meanfield.firing_probability(threshold)
    points = meanfield.fixed_points(gain, threshold)
    assert any(point.variance == pytest.approx(1.0) for point in points)
    for q, slope in points:
        assert meanfield.variance_map(q, gain, threshold) == pytest.approx(q, rel=1e-12)
        h = 1e-5 * q
        up, down = meanfield.variance_map([q + h, q - h], gain, threshold)
        assert (up - down) / (2 * h) == pytest.approx(slope, abs=1e-7)
    assert [p.variance for p in points] == sorted(p.variance for p in points)


def test_critical_values_separate_life_from_silence():
    theta_c = meanfield.critical_threshold()
    for threshold, stable in ((theta_c - 0.01, True), (theta_c + 0.01, False)):
        points = meanfield.fixed_points(1 / meanfield.firing_probability(threshold), threshold)
        (slope,) = (p.slope for p in points if abs(p.variance - 1) < 1e-9)
        assert (slope < 1) is stable
    for threshold in (0.3, 1.0, 2.5):
        gain = meanfield.critical_gain(threshold)
        assert meanfield.fixed_points(0.999 * gain, threshold) == []
        assert len(meanfield.fixed_points(1.001 * gain, threshold)) == 2
        grid = np.linspace(1e-3, 20, 200_000) * threshold**2
        silent = np.max(meanfield.variance_map(grid, 0.999 * gain, threshold) / grid)
        assert silent < 1


def test_spike_count_law_is_a_law_and_matches_enumeration():
    law = meanfield.spike_count_law(width=3, depth=2, threshold=0.7)
    assert np.allclose(law.probability.sum(axis=1), 1, atol=1e-12)
    p0 = meanfield.firing_probability(0.7)
    v = 1 / p0 / 3
    by_hand = sum(_binomial(3, k, p0) * (1 - _tail(0.7, v * k)) ** 3 for k in range(4))
    assert law.extinct[1] == pytest.approx(by_hand)


def _tail(threshold, variance):
    return norm.sf(threshold / np.sqrt(variance)) if variance else 0.0


def _binomial(n, k, p):
    from math import comb

    return comb(n, k) * p**k * (1 - p) ** (n - k)


def test_simulated_networks_follow_the_finite_width_law():
    """4,000 networks of width 20: five standard errors of the extinction rate are 0.04."""
    rng = np.random.default_rng(11)
    width, depth, threshold, networks = 20, 6, 0.9, 4000
    law = meanfield.spike_count_law(width=width, depth=depth, threshold=threshold)
    gain = 1 / meanfield.firing_probability(threshold)
    u = rng.standard_normal((networks, width))
    for layer in range(depth + 1):
        spikes = u > threshold
        dead = 1.0 - spikes.any(axis=1)
        se = np.sqrt(max(law.extinct[layer] * (1 - law.extinct[layer]), 1e-6) / networks)
        assert abs(dead.mean() - law.extinct[layer]) < 5 * se
        sample = u.var(axis=1, ddof=1)
        se = law.spread[layer] / np.sqrt(networks)
        assert abs(sample.mean() - law.variance[layer]) < 5 * se
        weights = rng.standard_normal((networks, width, width)) * np.sqrt(gain / width)
        u = np.einsum("bij,bj->bi", weights, spikes.astype(float))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: meanfield.firing_probability(-0.1), "threshold must be >= 0"),
        (lambda: meanfield.firing_probability(np.nan), "threshold must be >= 0"),
        (lambda: meanfield.firing_probability(1.0, -1.0), "variance must be >= 0"),
        (lambda: meanfield.variance_map(1.0, -2.0, 1.0), "gain must be >= 0"),
        (lambda: meanfield.fixed_points(0.0, 1.0), "gain must be positive"),
        (lambda: meanfield.fixed_points(1.0, -1.0), "threshold must be >= 0"),
        (lambda: meanfield.critical_gain(-1.0), "threshold must be >= 0"),
        (lambda: meanfield.extinction_probability(width=0, depth=1, threshold=1.0), "width"),
        (lambda: meanfield.extinction_probability(width=5, depth=-1, threshold=1.0), "depth"),
        (
            lambda: meanfield.spike_count_law(width=5, depth=1, threshold=1.0, gain=0.0),
            "gain must be positive",
        ),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("reset", ["subtract", "subtract_leak", "zero", "none"])
def test_covariance_map_agrees_with_a_wide_layer(reset):
    """2,000 neurons of a real layer: each entry within five standard errors of the map."""
    steps, width, outputs, gain = 4, 500, 4000, 3.0
    draw = torch.Generator().manual_seed(2)
    covariance = np.ones((steps, steps))
    step = meanfield.covariance_map(
        covariance, gain, leak=0.7, threshold=0.6, reset=reset, samples=200_000, generator=draw
    )
    repeats, products = 40, np.zeros((40, steps, steps))
    for r in range(repeats):
        x = torch.randn(width, generator=draw).expand(steps, 1, width)
        spikes = lif(x, leak=0.7, threshold=0.6, reset=reset).spikes[:, 0]
        weight = torch.randn(outputs, width, generator=draw) * np.sqrt(gain / width)
        current = (spikes @ weight.T).double()
        products[r] = (current @ current.T).numpy() / outputs
    error = np.hypot(products.std(axis=0, ddof=1) / np.sqrt(repeats), step.standard_error)
    # 10 different entries; Student t with 39 degrees of freedom exceeds 7 with probability 2e-8
    assert np.all(np.abs(products.mean(axis=0) - step.covariance) < 7 * error)
    assert np.all(error / np.abs(step.covariance) < 0.02)  # so a 20 % error is caught


def test_mean_at_the_second_step_is_that_of_the_first_spikes():
    """From rest it is -θp, a tenth of the stationary -θp/(1 - β) at leak 0.9."""
    samples = 60_000
    step = meanfield.covariance_map(
        np.ones((2, 2)),
        6.3,
        leak=0.9,
        threshold=1.25,
        samples=samples,
        generator=torch.Generator().manual_seed(5),
    )
    drawn = 1.9 / math.sqrt(samples)  # standard error of the mean of (1 + β) I
    assert abs(step.mean[1] + 1.25 * step.rate[0]) < 4.5 * drawn


def test_below_the_critical_gain_silence_moves_through_the_steps():
    assert meanfield.critical_gain(1.0) > 5
    covariance, alive = np.ones((6, 6)), []
    source = torch.Generator().manual_seed(6)
    for _ in range(61):
        step = meanfield.covariance_map(
            covariance, 5.0, leak=0.9, threshold=1.0, samples=4096, generator=source
        )
        covariance = step.covariance
        alive.append(step.rate > 0)
    first = [int(layer.argmax()) for layer in alive if layer.any()]  # first step with spikes
    assert first == sorted(first) and first[0] == 0 and first[20] > 1
    assert alive[20][-1] and not alive[60].any()


def test_covariance_map_of_a_deterministic_neuron():
    """Without noise between steps the second potential is (1 + β)·I − θ·x: all moments by hand."""
    draw = torch.Generator().manual_seed(3)
    step = meanfield.covariance_map(
        np.ones((2, 2)), 1.0, leak=0.5, threshold=0.0, reset="none", samples=400_000, generator=draw
    )
    # both potentials have the sign of I, so the neuron fires at both steps or at none
    assert step.covariance == pytest.approx(np.full((2, 2), 0.5), abs=5 * 0.5 / np.sqrt(4e5))
    assert step.variance == pytest.approx([1.0, 2.25], rel=5 * np.sqrt(2 / 4e5))
    assert step.skewness == pytest.approx([0, 0], abs=5 * np.sqrt(6 / 4e5))
    assert step.kurtosis == pytest.approx([0, 0], abs=5 * np.sqrt(24 / 4e5))


@pytest.mark.parametrize(
    ("covariance", "settings", "message"),
    [
        ([[1.0, 0.0]], {}, "square"),
        ([[1.0, 0.5], [0.2, 1.0]], {}, "symmetric"),
        ([[1.0, 2.0], [2.0, 1.0]], {}, "positive semidefinite"),
        ([[1.0]], {"gain": -1.0}, "gain"),
        ([[1.0]], {"samples": 1}, "samples"),
        ([[1.0]], {"leak": 1.5}, "leak"),
        ([[1.0]], {"threshold": -1.0}, "threshold"),
        ([[1.0]], {"reset": "hard"}, "reset"),
    ],
)
def test_covariance_map_refuses_bad_input(covariance, settings, message):
    arguments = {"gain": 2.0, "leak": 0.5, "threshold": 1.0, **settings}
    with pytest.raises(ValueError, match=message):
        meanfield.covariance_map(covariance, arguments.pop("gain"), **arguments)


def test_layer_growth_is_that_of_sampled_layers():
    """Mean and mean logarithm of the factor, from weights and slopes drawn for one layer."""
    surrogate, width, gain, threshold = Surrogate("gaussian", 1.0, 1.5), 40, 4.0, 0.5
    found = meanfield.layer_growth(surrogate, width=width, depth=20, threshold=threshold, gain=gain)
    draw = torch.Generator().manual_seed(0)
    # potentials of the predicted variance, independent of the weights: the part of order 1/K is
    # below the error here
    u = found.variance**0.5 * torch.randn(40_000, width, generator=draw, dtype=torch.double)
    squares = surrogate.derivative(u - threshold) ** 2
    chi = torch.randn(u.shape, generator=draw, dtype=torch.double) ** 2
    terms = (squares * chi).mean(1) / squares.mean()
    logs = terms.log().numpy()
    error = logs.std() / len(logs) ** 0.5
    assert np.log(found.typical / found.factor) == pytest.approx(logs.mean(), abs=4 * error)
    assert gain * float(squares.mean()) == pytest.approx(found.factor, rel=0.06)
    wide = meanfield.layer_growth(surrogate, width=400, depth=20, threshold=threshold, gain=gain)
    assert found.typical < wide.typical < wide.factor


@pytest.mark.parametrize("wrong", [{"width": 0}, {"depth": -1}, {"gain": 0.0}, {"threshold": -1.0}])
def test_layer_growth_refuses(wrong):
    settings = {"width": 10, "depth": 2, "gain": 4.0, "threshold": 1.0} | wrong
    with pytest.raises(ValueError, match=next(iter(wrong))):
        meanfield.layer_growth(Surrogate("sigmoid"), **settings)
