"""The rate map of a recurrent layer against quadrature, closed forms and simulated layers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.stats import norm

from snnlib import meanfield
from snnlib.init.herranz2022 import normal_deviation
from snnlib.neurons.recurrent_lif import recurrent_lif

PHI0 = 1 / math.sqrt(2 * math.pi)


def half_std(leak, threshold, total):
    """Closed form of the standard deviation at rate 1/2."""
    a, b = 1 - leak**2, leak * threshold * PHI0
    return (-b + math.sqrt(b * b + a * (threshold**2 / 4 + total))) / a


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("constant", [0.0, 0.4])
@pytest.mark.parametrize(("leak", "threshold"), [(0.0, 1.0), (0.5, 0.3), (0.95, 2.0)])
def test_half_is_a_fixed_point_under_condition_one(leak, threshold, constant, centred):
    scale = threshold**2
    step = meanfield.rate_map(
        0.5,
        leak=leak,
        threshold=threshold,
        gain=0.7 * scale,
        input_variance=0.2 * scale,
        constant_variance=constant * scale,
        centred=centred,
    )
    assert step.rate == pytest.approx(0.5, abs=1e-9)


@pytest.mark.parametrize("leak", [0.0, 0.3, 0.5, 0.9, 0.99])
def test_slope_crosses_one_at_the_least_input_variance(leak):
    threshold = 1.7
    boundary = meanfield.least_input_variance(leak, threshold)
    for factor in (0.9, 1.0, 1.1):
        v = factor * boundary
        step = meanfield.rate_map(
            0.5, leak=leak, threshold=threshold, gain=4 * v, input_variance=v, centred=True
        )
        k = PHI0 / half_std(leak, threshold, 2 * v)
        drive = (3 - 2 * leak) * threshold
        assert step.slope == pytest.approx(drive * k / (1 - leak + threshold * k), abs=2e-6)
        assert np.sign(round(step.slope - 1, 5)) == np.sign(round(1 - factor, 5))


@pytest.mark.parametrize("leak", [0.0, 0.4, 0.8])
@pytest.mark.parametrize(
    ("reset", "share"), [("subtract", 1), ("subtract_leak", None), ("none", 0)]
)
def test_least_input_variance_of_resets_by_subtraction(leak, reset, share):
    # J/(1 - β), the mean's slope, less that of the reset, is 2θ for each: so s = 2θφ(0) at slope 1
    threshold = 1.3
    rho = threshold * (leak if share is None else share)
    spread = 2 * threshold * PHI0
    kept = (leak * spread) ** 2 - 2 * leak * rho * spread * PHI0 + rho**2 / 4
    boundary = meanfield.least_input_variance(leak, threshold, reset=reset)
    assert kept + 2 * boundary == pytest.approx(spread**2, rel=1e-12)


@pytest.mark.parametrize("leak", [0.0, 0.3, 0.6, 0.75])
def test_least_input_variance_of_the_reset_to_zero(leak):
    threshold = 0.7
    boundary = meanfield.least_input_variance(leak, threshold, reset="zero")
    distance = normal_deviation(leak=leak, threshold=threshold, variance=2 * boundary)
    spread = distance / (2 * PHI0)
    drive = (2 - leak) * threshold + leak * distance

    def mean_map(mean):
        above = norm.sf(threshold, mean, spread)
        kept = mean * (1 - above) - spread**2 * norm.pdf(threshold, mean, spread)
        return leak * kept + drive * above

    step = 1e-5
    slope = (mean_map(threshold + step) - mean_map(threshold - step)) / (2 * step)
    assert mean_map(threshold) == pytest.approx(threshold)
    assert slope == pytest.approx(1.0, abs=1e-6)


def test_least_input_variance_refuses_other_resets():
    with pytest.raises(
        ValueError, match="reset must be one of subtract, subtract_leak, none, zero"
    ):
        meanfield.least_input_variance(0.5, 1.0, reset="hard")
    assert meanfield.least_input_variance(0.9, 1.0, reset="zero") == 0.0


def test_the_map_is_the_average_over_constant_currents():
    leak, threshold, gain, fresh, constant, rate = 0.6, 1.2, 0.9, 0.3, 0.5, 0.4
    step = meanfield.rate_map(
        rate,
        leak=leak,
        threshold=threshold,
        gain=gain,
        input_variance=fresh,
        constant_variance=constant,
    )
    variance = step.spread**2
    new = fresh + gain * (rate * (1 - rate) - variance)
    stays = constant + gain * (rate**2 + variance)

    def own_rate(current):
        def excess(z):
            p = norm.cdf(z)
            a, b = 1 - leak**2, leak * threshold * norm.pdf(z)
            s = (-b + math.sqrt(b * b + a * (threshold**2 * p * (1 - p) + new))) / a
            return (1 - leak) * (threshold + s * z) + threshold * p - current

        return norm.cdf(brentq(excess, -40, 40))

    mean, std = (3 - 2 * leak) * threshold * rate, math.sqrt(stays)
    for power, expected in ((1, step.rate), (2, step.rate**2 + variance)):
        value, _ = quad(
            lambda u, k=power: own_rate(mean + std * u) ** k * norm.pdf(u), -9, 9, epsabs=1e-10
        )
        assert value == pytest.approx(expected, abs=2e-7)


def test_without_constant_current_neurons_are_alike():
    step = meanfield.rate_map(
        0.3, leak=0.5, threshold=1.0, gain=0.4, input_variance=0.2, centred=True
    )
    nearly = meanfield.rate_map(
        0.3,
        leak=0.5,
        threshold=1.0,
        gain=0.4,
        input_variance=0.2,
        centred=True,
        constant_variance=1e-6,
    )
    assert step.spread < 1e-6
    assert step.rate == pytest.approx(nearly.rate, abs=1e-5)


def test_fixed_points_are_fixed_and_symmetric():
    points = meanfield.rate_fixed_points(
        leak=0.5, threshold=1.0, gain=0.6, input_variance=0.15, centred=True
    )
    assert [p.slope < 1 for p in points] == [True, False, True]
    assert points[0].rate + points[2].rate == pytest.approx(1)
    (only,) = meanfield.rate_fixed_points(
        leak=0.5, threshold=1.0, gain=2.0, input_variance=0.5, centred=True
    )
    assert only.rate == pytest.approx(0.5)


def layer_rates(variance, seed):
    """Rates of 8 centred layers of 300 neurons from rest, leak 1/2, threshold 1."""
    generator = torch.Generator().manual_seed(seed)
    n, rates = 300, []
    for _ in range(8):
        weight = math.sqrt(4 * variance / (n - 1)) * torch.randn(n, n, generator=generator)
        weight.fill_diagonal_(0)
        weight += (2 - weight.sum(dim=1, keepdim=True)) / (n - 1)
        current = math.sqrt(variance) * torch.randn(160, 2, n, generator=generator)
        spikes = recurrent_lif(current, weight, leak=0.5, threshold=1.0).spikes
        rates.append(float(spikes[80:].mean()))
    return np.array(rates)


def test_layers_stay_at_half_above_the_boundary_and_leave_it_below():
    """Standard error 0.0016 above (0.3 %): five of them miss a shift of 0.8 % of the rate."""
    above, below = layer_rates(0.55, 1), layer_rates(0.16, 2)
    error = above.std(ddof=1) / math.sqrt(len(above))
    assert error < 0.005
    assert abs(above.mean() - 0.5) < 10 * error  # Student t, 7 degrees: level 2e-5
    low, *_ = meanfield.rate_fixed_points(
        leak=0.5, threshold=1.0, gain=0.64, input_variance=0.16, centred=True
    )
    assert below.max() < 0.05
    assert low.rate == pytest.approx(below.mean(), rel=0.15)  # the closure is approximate


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"rate": 1.2}, "rate must be in"),
        ({"leak": 1.0}, "leak must be in"),
        ({"threshold": 0.0}, "threshold must be positive"),
        ({"gain": -1.0}, "gain must be >= 0"),
        ({"input_variance": math.nan}, "input_variance must be finite"),
        ({"gain": 0.0, "input_variance": 0.0}, "input_variance must be positive"),
    ],
)
def test_bad_input(change, match):
    good = {"rate": 0.5, "leak": 0.5, "threshold": 1.0, "gain": 1.0, "input_variance": 1.0}
    with pytest.raises(ValueError, match=match):
        meanfield.rate_map(**{**good, **change})


def test_the_largest_variance_is_tried_once(monkeypatch):
    # Here the map spreads the rates wider than numbers in [0, 1] of that mean can be.
    layer = meanfield.recurrent._Layer(0.9, 0.3, 0.36, 3.0, 0.05, 0.0, False)
    tried = []
    moments = meanfield.recurrent._moments

    def counted(mean, fresh, constant, leak, threshold):
        tried.append(constant)
        return moments(mean, fresh, constant, leak, threshold)

    monkeypatch.setattr(meanfield.recurrent, "_moments", counted)
    mean, variance = meanfield.recurrent._image(layer, 0.01)
    assert variance > 0.01 * 0.99
    assert [each == pytest.approx(3 * (0.01**2 + 0.01 * 0.99)) for each in tried[-2:]] == [0, 1]
    assert mean == moments(0.36 * 0.01, 0.05, tried[-1], 0.9, 0.3)[0]
