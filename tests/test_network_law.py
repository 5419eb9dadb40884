"""The law of finite networks over time, against networks with weights; gains and sharpness."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import norm, t

from snnlib import meanfield
from snnlib.meanfield import LayerLaw, network_law
from snnlib.neurons import lif
from snnlib.surrogate import SHAPES, Surrogate

LEVEL = 1e-6  # false-alarm level of each statistical test below


def simulated(inputs, layers, networks, draw):
    """Rate and pooled variance [network, layer, step] of networks with drawn weights."""
    found = np.zeros((2, networks, len(layers), len(inputs)))
    for k in range(networks):
        z = inputs
        gain, bias = 3.0, 0.0
        for index, layer in enumerate(layers):
            weight = torch.randn(z.shape[-1], layer.width, generator=draw)
            offset = torch.randn(layer.width, generator=draw) * bias**0.5
            current = z @ weight * (gain / z.shape[-1]) ** 0.5 + offset
            trace = lif(current, leak=layer.leak, threshold=layer.threshold, reset=layer.reset)
            found[0, k, index] = trace.spikes.mean((1, 2))
            found[1, k, index] = trace.membrane.var((1, 2), correction=0)
            z, gain, bias = trace.spikes, layer.gain, layer.bias
    return found


def compare(ours, theirs):
    """Largest |z| of equal means (Welch) and of equal log variances over networks."""
    a, b = (x.reshape(x.shape[0], x.shape[1], -1) for x in (ours, theirs))
    n, m = a.shape[1], b.shape[1]
    mean = (a.mean(1) - b.mean(1)) / np.sqrt(a.var(1, ddof=1) / n + b.var(1, ddof=1) / m)
    # Standard error of a log variance from the sample's own fourth moment.
    spread = []
    for x in (a, b):
        c = x - x.mean(1, keepdims=True)
        ratio = (c**4).mean(1) / (c**2).mean(1) ** 2
        spread.append((ratio - 1) / x.shape[1])
    log_variance = np.log(a.var(1, ddof=1) / b.var(1, ddof=1)) / np.sqrt(sum(spread))
    return np.abs(mean).max(), np.abs(log_variance).max(), mean.size


def test_networks_with_weights_follow_the_law():
    """500 networks of each kind: rates differ by s.e. 0.3 %, so 2 % is seen; spreads by 7 %."""
    draw = torch.Generator().manual_seed(4)
    steps, batch = 4, 3
    inputs = torch.randn(steps, batch, 25, generator=draw)
    covariance = torch.einsum("tbj,scj->tbsc", inputs, inputs).numpy() * 3.0 / 25
    layers = [
        LayerLaw(60, threshold=0.6, leak=0.5, gain=3.5, bias=0.2),
        LayerLaw(40, threshold=0.8, leak=0.8, reset="zero", gain=5.0),
        LayerLaw(50, threshold=0.5, leak=0.3, reset="subtract_leak"),
    ]
    theirs = simulated(inputs, layers, 500, draw)
    law = network_law(covariance, layers, repeats=500, generator=draw)
    mean, spread, entries = compare(np.stack(law[:2]), theirs)
    limit = norm.isf(LEVEL / (4 * entries))
    assert mean < limit
    assert spread < limit
    # The check can fail: 10 % more gain behind the first layer.
    wrong = [layers[0]._replace(gain=1.1 * 3.5), *layers[1:]]
    law = network_law(covariance, wrong, repeats=500, generator=draw)
    assert compare(np.stack(law[:2]), theirs)[0] > limit


def test_one_step_is_the_spike_count_law():
    """2,000 chains of width 15: extinction to five standard errors, 0.05."""
    draw = torch.Generator().manual_seed(5)
    width, threshold, depth, repeats = 15, 0.9, 5, 2000
    gain = 1 / meanfield.firing_probability(threshold)
    exact = meanfield.spike_count_law(width=width, depth=depth, threshold=threshold)
    layers = [LayerLaw(width, threshold=threshold, gain=gain)] * (depth + 1)
    law = network_law([[1.0]], layers, repeats=repeats, generator=draw)
    dead = (law.rate[:, :, 0] == 0).mean(0)
    error = np.sqrt(exact.extinct * (1 - exact.extinct) / repeats)
    assert np.all(np.abs(dead - exact.extinct) < norm.isf(LEVEL / 12) * error)
    assert exact.extinct[-1] > 0.3


def test_synapse_and_delay_filter_the_current():
    """One wide layer against the filtered covariance by hand; 40,000 neurons, s.e. 0.7 %."""
    draw = torch.Generator().manual_seed(6)
    covariance = np.eye(3)
    layer = LayerLaw(40_000, threshold=50.0, leak=0.0, synapse=0.5, delay=1.0)
    law = network_law(covariance, [layer], repeats=1, generator=draw)
    kernel = np.array([[0, 0, 0], [1, 0, 0], [0.5, 1, 0]])
    expected = np.diag(kernel @ covariance @ kernel.T)
    assert law.variance[0, 0] == pytest.approx(expected, rel=6 * np.sqrt(2 / 40_000))


def test_a_covariance_that_rounding_made_indefinite_is_drawn_from():
    """Equal inputs, and an eigenvalue of -3e-9: variances of 40 000 neurons, s.e. 0.7 %."""
    size = np.array([0.6, 1.1, 1.7])
    away = np.array([1.1, -0.6, 0.0]) / np.hypot(1.1, 0.6)  # at a right angle to the sizes
    covariance = np.outer(size, size) - 3e-9 * np.outer(away, away)
    law = network_law(
        covariance[None, :, None, :], [LayerLaw(40_000, threshold=0.8)],
        generator=torch.Generator().manual_seed(9),
    )  # fmt: skip
    assert law.rate[0, 0, 0] == pytest.approx(norm.sf(0.8 / size).mean(), rel=0.05)
    assert law.variance[0, 0, 0] == pytest.approx((size**2).mean(), rel=0.05)


def test_equal_inputs_and_silence_are_no_trouble():
    draw = torch.Generator().manual_seed(7)
    same = np.ones((3, 2, 3, 2))
    law = network_law(same, [LayerLaw(50, gain=2.0)] * 30, repeats=3, generator=draw)
    assert np.isfinite(law.rate).all()
    assert (law.rate[:, -1] == 0).all()  # gain 2 is far below the critical gain
    again = network_law(same, [LayerLaw(50, gain=2.0)] * 30, repeats=3,
                        generator=torch.Generator().manual_seed(7))  # fmt: skip
    assert np.array_equal(law.rate, again.rate)


@pytest.mark.parametrize(
    ("covariance", "layers", "settings", "message"),
    [
        (np.ones((2, 3)), [LayerLaw(5)], {}, r"\[T, T\] or \[T, B, T, B\]"),
        ([[1.0, 2.0], [2.0, 1.0]], [LayerLaw(5)], {}, "positive semidefinite"),
        ([[np.nan]], [LayerLaw(5)], {}, "finite and symmetric"),
        ([[1.0]], [], {}, "at least one layer"),
        ([[1.0]], [LayerLaw(0)], {}, "width of layer 0"),
        ([[1.0]], [LayerLaw(5), LayerLaw(5, gain=-1.0)], {}, "gain of layer 1"),
        ([[1.0]], [LayerLaw(5, synapse=1.5)], {}, "synapse of layer 0"),
        ([[1.0]], [LayerLaw(5, leak=1.5)], {}, "leak"),
        ([[1.0]], [LayerLaw(5)], {"repeats": 0}, "repeats"),
    ],
)
def test_bad_input_is_named(covariance, layers, settings, message):
    with pytest.raises(ValueError, match=message):
        network_law(covariance, layers, **settings)


def test_a_batch_of_covariances_is_mapped_one_by_one():
    """Two scales at once, 100,000 neurons each: the variances to six standard errors, 3 %."""
    draw = torch.Generator().manual_seed(8)
    matrix = np.array([[1.0, 0.3], [0.3, 2.0]])
    step = meanfield.covariance_map(
        np.stack([matrix, 4 * matrix])[None], 1.0, leak=0.0, threshold=0.5, samples=100_000,
        reset="none", generator=draw,
    )  # fmt: skip
    assert step.variance.shape == (1, 2, 2)
    assert step.covariance.shape == (1, 2, 2, 2)
    expected = np.stack([[1.0, 2.0], [4.0, 8.0]])[None]
    assert step.variance == pytest.approx(expected, rel=6 * np.sqrt(2 / 1e5))
    rate = meanfield.firing_probability(0.5, expected)
    assert np.all(np.abs(step.rate - rate) < 6 * np.sqrt(rate * (1 - rate) / 1e5))


@pytest.mark.parametrize(("rate", "steps"), [(0.17, 6), (0.25, 3)])
def test_deep_networks_fire_at_the_wanted_rate(rate, steps):
    """Layers 15-24 of 8 networks of width 2,000, t test: s.e. about 1.5 % of the rate."""
    gain = meanfield.gain_for_rate(rate, leak=0.5, threshold=1.0, steps=steps)
    draw = torch.Generator().manual_seed(9)
    law = network_law(
        np.ones((steps, steps)), [LayerLaw(2000, gain=gain)] * 25, repeats=8, generator=draw
    )
    deep = law.rate[:, 15:].mean((1, 2))
    error = deep.std(ddof=1) / np.sqrt(8)
    # The gain itself is known to about 1 %; the rate follows it.
    assert abs(deep.mean() - rate) < t.isf(LEVEL / 2, 7) * error + 0.02 * rate
    assert error < 0.03 * rate


def test_a_rate_too_low_to_last_is_refused():
    with pytest.raises(ValueError, match="unstable"):
        meanfield.gain_for_rate(0.05, leak=0.5, threshold=1.0, steps=1)
    with pytest.raises(ValueError, match="step 0 of 10 falls silent"):
        meanfield.gain_for_rate(0.1, leak=0.9, threshold=1.0, steps=10)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rate": 0.5}, r"rate must be in \(0, 1/2\)"),
        ({"threshold": 0.0}, "threshold must be positive"),
        ({"steps": 0}, "steps must be an integer >= 1"),
        ({"leak": 1.5}, "leak"),
    ],
)
def test_bad_rates_are_named(settings, message):
    good = {"rate": 0.2, "leak": 0.5, "threshold": 1.0, "steps": 2}
    with pytest.raises(ValueError, match=message):
        meanfield.gain_for_rate(**(good | settings))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("threshold", "dampening"), [(1.0, 1.0), (0.3, 0.8)])
def test_matched_sharpness_balances_both_directions(shape, threshold, dampening):
    s = meanfield.matched_sharpness(shape, threshold, dampening)
    u = np.linspace(-12, 12, 400_001)
    square = Surrogate(shape, dampening, s).derivative(u - threshold) ** 2
    second = np.trapezoid(square * norm.pdf(u), u)
    assert second == pytest.approx(norm.sf(threshold), rel=1e-3)


def test_a_surrogate_too_low_to_match_is_refused():
    with pytest.raises(ValueError, match="dampening must exceed sqrt"):
        meanfield.matched_sharpness("arctan", 0.0, 0.7)
    with pytest.raises(ValueError, match="shape"):
        meanfield.matched_sharpness("triangle", 1.0)
