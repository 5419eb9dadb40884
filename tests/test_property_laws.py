"""Laws that hold for all values: scaling, permutation, cutting in time and batch, monotone maps.

Examples are generated. Powers of two scale floats exactly: what scales must be equal bit for bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2
from torch import Tensor

from snnlib import init, meanfield, membrane
from snnlib.networks import fuse, mlp
from snnlib.neurons import current_lif, lif, recurrent_lif
from snnlib.surrogate import SHAPES, Surrogate

RESETS = ("subtract", "subtract_leak", "zero", "none")

resets = st.sampled_from(RESETS)
leaks = st.floats(0.0, 1.0)
thresholds = st.floats(0.05, 20.0)
gains = st.floats(0.5, 60.0)
variances = st.floats(0.01, 30.0)
doublings = st.integers(-12, 12).filter(bool)
seeds = st.integers(0, 2**31 - 1)


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# --- neurons --------------------------------------------------------------------------------------


@given(seeds, resets, leaks, thresholds, doublings)
def test_currents_and_threshold_scale_together(seed, reset, leak, threshold, doubling):
    current, factor = 2 * draw(seed, 5, 2, 3), 2.0**doubling
    one = lif(current, leak=leak, threshold=threshold, reset=reset)
    other = lif(factor * current, leak=leak, threshold=factor * threshold, reset=reset)
    assert torch.equal(one.spikes, other.spikes)
    assert torch.equal(factor * one.membrane, other.membrane)


@given(seeds, resets, leaks, thresholds, doublings, st.sampled_from(SHAPES), st.booleans())
def test_gradients_scale_inversely_where_the_surrogate_widens_with_the_threshold(
    seed, reset, leak, threshold, doubling, shape, detach
):
    # d(spikes)/d(current) has the unit 1/current: height and sharpness both carry it
    factor = 2.0**doubling
    gradients = []
    for scale in (1.0, factor):
        current = (2 * scale * draw(seed, 4, 2, 3)).requires_grad_()
        surrogate = Surrogate(shape, dampening=0.7 / scale, sharpness=1.3 / scale)
        trace = lif(
            current,
            **{"leak": leak, "threshold": scale * threshold, "reset": reset},
            **{"surrogate": surrogate, "detach_reset": detach},
        )
        (trace.spikes * draw(seed + 1, 4, 2, 3)).sum().backward()
        gradients.append(current.grad)
    assert torch.allclose(gradients[0], factor * gradients[1], rtol=1e-9, atol=1e-12)


@given(seeds, resets, leaks, thresholds, st.floats(0.0, 1.0), st.data())
def test_a_run_may_be_cut_anywhere_in_time(seed, reset, leak, threshold, synapse, data):
    current = 2 * draw(seed, 6, 2, 3)
    cut = data.draw(st.integers(1, 5))
    settings: dict[str, Any] = {"leak": leak, "threshold": threshold, "reset": reset}
    for function, more in ((lif, {}), (current_lif, {"synapse_leak": synapse})):
        whole = function(current, **settings, **more)
        first = function(current[:cut], **settings, **more)
        second = function(current[cut:], initial=first.state, **settings, **more)
        assert torch.equal(whole.spikes, torch.cat([first.spikes, second.spikes]))
        assert torch.allclose(whole.membrane, torch.cat([first.membrane, second.membrane]))


@given(
    seeds,
    resets,
    leaks,
    thresholds,
    st.integers(1, 4),
    st.lists(st.integers(0, 4), min_size=1, max_size=3),
)
def test_neurons_and_samples_do_not_see_each_other(seed, reset, leak, threshold, steps, shape):
    """Any rank, one step, one neuron, none at all: each entry is what it would be alone."""
    current = 2 * draw(seed, steps, *shape)
    trace = lif(current, leak=leak, threshold=threshold, reset=reset)
    assert trace.spikes.shape == trace.membrane.shape == current.shape
    flat = current.reshape(steps, -1)
    for k in range(flat.shape[1]):
        alone = lif(flat[:, k : k + 1], leak=leak, threshold=threshold, reset=reset)
        assert torch.equal(alone.spikes[:, 0], trace.spikes.reshape(steps, -1)[:, k])


@given(seeds, leaks, thresholds, st.permutations(range(5)))
def test_a_permutation_of_recurrent_neurons_permutes_their_spikes(seed, leak, threshold, order):
    current, weight, order = 2 * draw(seed, 6, 2, 5), draw(seed + 1, 5, 5), list(order)
    one = recurrent_lif(current, weight, leak=leak, threshold=threshold)
    other = recurrent_lif(
        current[..., order], weight[order][:, order], leak=leak, threshold=threshold
    )
    assert torch.allclose(one.membrane[..., order], other.membrane)


@given(seeds, st.floats(0.3, 3.0), st.floats(0.0, 1.0), resets, st.integers(1, 5))
def test_a_fused_network_permutes_with_its_neurons(seed, threshold, leak, reset, steps):
    generator = torch.Generator().manual_seed(seed)
    sizes = {"threshold": threshold, "leak": leak, "reset": reset}
    model = mlp((6, 7, 4), generator=generator, **sizes).double()
    order = torch.randperm(7, generator=generator)
    x = torch.rand(steps, 3, 6, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        before = fuse(model)(x)
        first, second = [m for m in model.modules() if isinstance(m, torch.nn.Linear)]
        first.weight.copy_(first.weight[order])
        second.weight.copy_(second.weight[:, order])
        assert torch.allclose(before, fuse(model)(x))


# --- surrogates -----------------------------------------------------------------------------------


@given(
    st.sampled_from([s for s in SHAPES if s not in ("triangular", "rectangular")]),
    st.floats(0.1, 5.0),
    st.floats(0.2, 5.0),
    st.floats(-4.0, 4.0),
    st.floats(1.2, 4.0),
)
def test_the_derivative_is_that_of_the_primitive(shape, dampening, sharpness, v, tail):
    surrogate = Surrogate(shape, dampening=dampening, sharpness=sharpness, tail=tail)
    step = 1e-5 / sharpness
    if abs(v) < 2 * step:
        return  # a kink of the exponential
    ends = surrogate.primitive(torch.tensor([v - step, v + step], dtype=torch.float64))
    slope = float(ends[1] - ends[0]) / (2 * step)
    exact = float(surrogate.derivative(torch.tensor(v, dtype=torch.float64)))
    assert slope == pytest.approx(exact, rel=2e-4, abs=2e-6 * dampening)


@given(st.sampled_from(SHAPES), st.floats(0.1, 5.0), st.floats(0.2, 5.0), st.floats(0.0, 5.0))
def test_a_surrogate_is_even_and_highest_at_the_threshold(shape, dampening, sharpness, v):
    surrogate = Surrogate(shape, dampening=dampening, sharpness=sharpness)
    values = surrogate.derivative(torch.tensor([0.0, v, -v], dtype=torch.float64))
    assert values[0] == pytest.approx(dampening)
    assert values[1] == pytest.approx(float(values[2]), rel=1e-12, abs=1e-300)
    assert 0 <= values[1] <= values[0] * (1 + 1e-12)


@given(st.sampled_from(SHAPES), thresholds, st.floats(-2, 2), st.floats(0.1, 4.0), doublings)
def test_moments_of_a_surrogate_scale(shape, threshold, mean, std, doubling):
    factor = 2.0**doubling
    one = Surrogate(shape, 0.7, 1.3).moment(2, threshold, mean, std)
    other = Surrogate(shape, 0.7, 1.3 / factor).moment(
        2, factor * threshold, factor * mean, factor * std
    )
    assert other == pytest.approx(one, rel=1e-6, abs=1e-12)


# --- predictions ----------------------------------------------------------------------------------


@given(variances, gains, thresholds, doublings)
def test_predictions_know_no_unit(variance, gain, threshold, doubling):
    """(threshold, gain, variance) and (c threshold, c² gain, c² variance) are one network."""
    factor = 2.0**doubling
    square = factor**2
    probability = meanfield.firing_probability(threshold, variance)
    assert meanfield.firing_probability(factor * threshold, square * variance) == probability
    assert meanfield.variance_map(square * variance, square * gain, factor * threshold) == (
        square * meanfield.variance_map(variance, gain, threshold)
    )
    assert meanfield.critical_gain(factor * threshold) == pytest.approx(
        square * meanfield.critical_gain(threshold), rel=1e-9
    )
    one = meanfield.fixed_points(gain, threshold)
    other = meanfield.fixed_points(square * gain, factor * threshold)
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        assert b.variance == pytest.approx(square * a.variance, rel=1e-6, abs=1e-300)
        assert b.slope == pytest.approx(a.slope, rel=1e-5, abs=1e-9)


@given(gains, gains, st.floats(0.1, 4.0), st.integers(1, 12), st.integers(1, 6))
def test_deeper_networks_and_smaller_gains_die_more_often(a, b, threshold, width, depth):
    small, large = sorted((a, b))

    def dead(gain: float, layers: int) -> float:
        return meanfield.extinction_probability(
            width=width, depth=layers, threshold=threshold, gain=gain
        )

    chain = [dead(large, depth), dead(small, depth), dead(small, depth + 1)]
    assert chain[0] >= 0 and chain[-1] <= 1 + 1e-12
    assert chain[0] <= chain[1] + 1e-9 and chain[1] <= chain[2] + 1e-9


@given(st.floats(0.05, 0.4), st.floats(0.0, 0.95), thresholds, st.integers(1, 6), resets, doublings)
def test_the_gain_for_a_rate_is_in_units_of_the_squared_threshold(
    rate, leak, threshold, steps, reset, doubling
):
    def gain(theta: float) -> float | None:
        settings: dict[str, Any] = {"leak": leak, "steps": steps, "reset": reset}
        try:
            return meanfield.gain_for_rate(rate, threshold=theta, **settings)
        except ValueError:  # out of reach: at every threshold alike
            return None

    factor = 2.0**doubling
    one, other = gain(threshold), gain(factor * threshold)
    assert (one is None) == (other is None)
    if one is not None:
        assert other == pytest.approx(factor**2 * one, rel=1e-6)


@given(variances, variances, thresholds, thresholds)
def test_a_higher_threshold_fires_less_and_a_larger_variance_more(a, b, low, high):
    (small, large), (low, high) = sorted((a, b)), sorted((low, high))
    of = meanfield.firing_probability
    assert 0 <= of(high, small) <= of(low, small) <= of(low, large) <= 0.5


@given(
    seeds,
    st.integers(1, 4),
    gains,
    st.floats(0.0, 1.0),
    thresholds,
    resets,
    doublings,
)
def test_the_covariance_map_knows_no_unit_and_gives_a_covariance(
    seed, steps, gain, leak, threshold, reset, doubling
):
    root = draw(seed, steps, steps).numpy()
    covariance, factor = threshold**2 * root @ root.T, 2.0**doubling

    def step(c: float) -> Any:
        return meanfield.covariance_map(
            c**2 * covariance,
            c**2 * gain,
            **{"leak": leak, "threshold": c * threshold, "reset": reset, "samples": 512},
            generator=torch.Generator().manual_seed(seed),
        )

    one, other = step(1.0), step(factor)
    assert np.array_equal(one.rate, other.rate)
    assert np.allclose(factor**2 * one.covariance, other.covariance, rtol=1e-12)
    assert np.all((one.rate >= 0) & (one.rate <= 1))
    assert np.linalg.eigvalsh(one.covariance).min() >= -1e-9 * gain


@given(
    st.floats(0.1, 0.9),
    st.floats(0.2, 3.0),
    st.floats(-0.5, 0.5),
    st.floats(0.2, 1.5),
    st.sampled_from(["subtract", "subtract_leak", "zero"]),
    st.sampled_from([0.25, 0.5, 2.0, 4.0]),
)
def test_the_stationary_law_knows_no_unit(leak, threshold, mean, std, reset, factor):
    def law(c: float) -> membrane.StationaryLaw:
        return membrane.stationary_law(
            **{"leak": leak, "threshold": c * threshold, "reset": reset},
            **{"input_mean": c * threshold * mean, "input_std": c * threshold * std},
        )

    one, other = law(1.0), law(factor)
    assert other.rate == pytest.approx(one.rate, rel=1e-6, abs=1e-9)
    assert other.mean == pytest.approx(factor * one.mean, rel=1e-6, abs=1e-6 * factor * threshold)
    assert 0 <= one.rate <= 1


# --- initializers ---------------------------------------------------------------------------------


@given(thresholds, st.floats(0.2, 5.0), st.floats(0.2, 5.0))
def test_a_current_wants_the_same_variance_however_it_is_made(threshold, height, input_gain):
    """Spikes of height h through an input gain g need weights smaller by h g."""
    settings = {"threshold": threshold}
    for method, heights in (("micheli2024", True), ("ding2022", False)):
        plain = init.gain(method, **settings)
        scaled = init.gain(method, **settings, input_gain=input_gain)
        assert scaled == pytest.approx(plain / input_gain**2, rel=1e-9)
        if heights:
            tall = init.gain(method, **settings, height=height)
            assert tall == pytest.approx(plain / height**2, rel=1e-9)


@given(
    st.sampled_from(["micheli2024", "ding2022", "bellec2018", "zenke2021"]),
    st.integers(1, 300),
    st.integers(1, 300),
    st.floats(0.05, 4.0),
    seeds,
)
def test_weights_have_the_variance_of_their_gain(method, fan_in, fan_out, threshold, seed):
    """Level 1e-9 an example by the chi-square law, which is wider than that of uniform weights."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.empty(fan_out, fan_in, dtype=torch.float64)
    settings = {"threshold": threshold} if method in ("micheli2024", "ding2022") else {}
    getattr(init, f"{method}_")(weight, **settings, generator=generator)
    variance = init.gain(method, **settings) / fan_in
    low, high = chi2.ppf([5e-10, 1 - 5e-10], weight.numel())
    assert low < float(weight.square().sum()) / variance < high
