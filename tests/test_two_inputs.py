"""Two inputs through wide layers and their gradients back, against exact laws and networks."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal, norm

from snnlib import meanfield, networks
from snnlib.meanfield import TwoInputs
from snnlib.neurons import LIF, lif
from snnlib.surrogate import Surrogate


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def moments(own, crossed):
    return TwoInputs(np.array([[own]]), np.array([[crossed]]))


# --- forward ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("gain", "threshold", "share"), [(5.3, 0.8, 0.35), (9.7, 1.4, 0.8)])
def test_one_step_is_the_law_of_two_normal_potentials(gain, threshold, share):
    own = 0.27
    samples = 400_000
    step = meanfield.two_input_map(
        moments(own, share * own),
        gain,
        leak=0.7,
        threshold=threshold,
        samples=samples,
        generator=generator(),
    )
    z = threshold / math.sqrt(gain * own)
    rate = norm.sf(z)
    both = multivariate_normal.cdf([-z, -z], cov=[[1, share], [share, 1]])
    error = math.sqrt(1 / samples)  # of a mean of 0s and 1s, at most half of this
    assert abs(step.spikes.own[0, 0] - rate) < 3 * error
    assert abs(step.spikes.crossed[0, 0] - both) < 3 * error
    assert abs(rate - meanfield.firing_probability(threshold, gain * own)) < 1e-12


@pytest.mark.parametrize("unit", [2.0**-22, 2.0**11, 2.0**27])
def test_the_unit_of_what_is_sent_does_not_matter(unit):
    """Spikes of another height and a threshold to match: moments of rank 1, rounded, stay some."""
    steps = np.array([0.3, 0.7, 0.45, 0.9, 0.2])
    sent = np.outer(steps, steps)  # the same spikes for both inputs
    draws = [
        meanfield.two_input_map(
            TwoInputs(size**2 * sent, size**2 * sent), 3.1, leak=0.6, threshold=0.8 * size,
            samples=3000, generator=generator(),
        ).spikes
        for size in (1.0, unit)
    ]  # fmt: skip
    assert 0.05 < draws[0].own.mean() < 0.9
    assert np.abs(draws[0].own - draws[1].own).max() < 5e-3
    assert np.abs(draws[0].crossed - draws[1].crossed).max() < 5e-3


def test_slopes_keep_the_share_of_the_closed_form():
    gain, own, share, threshold, sharpness = 6.1, 0.31, 0.55, 0.9, 0.6
    step = meanfield.two_input_map(
        moments(own, share * own),
        gain,
        leak=0.3,
        threshold=threshold,
        surrogate=Surrogate("gaussian", sharpness=sharpness),
        samples=400_000,
        generator=generator(),
    )
    k = 2 * math.pi * sharpness**2 * gain * own
    m = 2 * math.pi * sharpness**2 * threshold**2
    root = math.sqrt((1 + 2 * k) / ((1 + k) ** 2 - (k * share) ** 2))
    kept = root * math.exp(-m * (1 / (1 + k + k * share) - 1 / (1 + 2 * k)))
    assert abs(step.slopes.coherence / kept - 1) < 0.01


@pytest.mark.parametrize("reset", ["subtract", "zero", "none"])
def test_an_input_and_its_copy_stay_one(reset):
    covariance = np.array([[0.3, 0.1, 0.1], [0.1, 0.25, 0.15], [0.1, 0.15, 0.2]])
    step = meanfield.two_input_map(
        TwoInputs(covariance, covariance),
        7.3,
        leak=0.8,
        threshold=1.1,
        reset=reset,
        generator=generator(),
    )
    for found in step:
        assert np.allclose(found.own, found.crossed, atol=1e-6)


def test_many_steps_agree_with_the_map_of_one_input():
    covariance = np.array([[0.3, 0.12], [0.12, 0.25]])
    gain, samples = 7.3, 200_000
    step = meanfield.two_input_map(
        TwoInputs(covariance, 0.4 * covariance),
        gain,
        leak=0.8,
        threshold=1.1,
        samples=samples,
        generator=generator(),
    )
    other = meanfield.covariance_map(
        gain * covariance, gain, leak=0.8, threshold=1.1, samples=samples, generator=generator(1)
    )
    apart = np.abs(gain * step.spikes.own - other.covariance)
    assert (apart < 5 * math.sqrt(2) * other.standard_error).all()


def test_moments_are_those_of_all_pairs():
    spikes = (torch.rand(3, 4, 5, generator=generator()) < 0.4).double()
    found = meanfield.spike_moments(spikes)
    pairs = [(a, b) for a in range(4) for b in range(4) if a != b]
    for s in range(3):
        for t in range(3):
            crossed = np.mean([float((spikes[s, a] * spikes[t, b]).mean()) for a, b in pairs])
            assert abs(found.own[s, t] - float((spikes[s] * spikes[t]).mean())) < 1e-12
            assert abs(found.crossed[s, t] - crossed) < 1e-12


# --- back -------------------------------------------------------------------------------------


def test_gradients_are_those_of_autograd():
    leak, threshold = 0.65, 0.9
    surrogate = Surrogate("sigmoid", sharpness=0.8)
    current = (1.2 * torch.randn(4, 2, 1, generator=generator())).double().requires_grad_()
    trace = lif(current, leak=leak, threshold=threshold, surrogate=surrogate)
    above = torch.randn(4, 2, 1, generator=generator(1)).double()
    (back,) = torch.autograd.grad((trace.spikes * above).sum(), current)
    slope = surrogate.derivative(trace.membrane.detach() - threshold)

    def products(values):
        first, second = values[:, 0, 0].numpy(), values[:, 1, 0].numpy()
        return TwoInputs(np.outer(first, first), np.outer(first, second))

    found = meanfield.two_input_gradient(products(above), products(slope), leak=leak)
    for ours, theirs in zip(found, products(back), strict=True):
        assert np.allclose(ours, theirs, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("leak", [0.0, 0.4, 1.0])
def test_silence_fades_by_one_factor_per_layer(leak):
    silent = TwoInputs(np.zeros((3, 3)), np.zeros((3, 3)))
    gain, threshold, depth = 3.1, 1.3, 4
    found = meanfield.gradient_signal(
        silent, gain, depth=depth, leak=leak, threshold=threshold, readout=0.2
    )
    assert found.active == 0
    slope = 1 / (1 + (math.pi * threshold) ** 2)
    decay = np.array([[leak ** (t - s) if t >= s else 0.0 for t in range(3)] for s in range(3)])
    gradient = np.ones(3)
    for k in range(depth + 1):
        gradient = decay @ gradient
        fans = gain**k * (0.2 if k else 1.0)
        expected = fans * slope ** (2 * (k + 1)) * (gradient**2).mean()
        assert abs(found.size[depth - k] / expected - 1) < 1e-9
    assert np.allclose(found.coherence, 1)


# --- a whole network --------------------------------------------------------------------------


def test_drawn_networks_have_the_predicted_coherence():
    gain, width, steps, count, repeats = 5.0, 200, 3, 6, 30
    surrogate = Surrogate("arctan", sharpness=0.5)

    def inputs(draw, size):
        common = torch.randn(1, size, generator=draw)
        own = torch.randn(count, size, generator=draw)
        return (0.7 * common + math.sqrt(0.51) * own).expand(steps, count, size)

    encoded = lif(inputs(generator(), 200_000), leak=0.5, threshold=1.0).spikes
    predicted = meanfield.gradient_signal(
        meanfield.spike_moments(encoded),
        gain,
        depth=2,
        leak=0.5,
        threshold=1.0,
        surrogate=surrogate,
        samples=40_000,
        generator=generator(),
    )
    found = np.zeros((repeats, 2, 2))  # own and crossed of the first two layers of weights
    for repeat in range(repeats):
        draw = generator(100 + repeat)
        network = networks.mlp([width] * 4, surrogate=surrogate, init=None, generator=draw)
        for parameter in network.parameters():
            parameter.data.normal_(0, math.sqrt(gain / width), generator=draw)
        gradients = []
        layers = [module for module in network if isinstance(module, LIF)]
        for layer in layers[1:3]:
            layer.register_forward_pre_hook(
                lambda module, given, kept=gradients: (given[0].register_hook(kept.append), None)[1]
            )
        sign = torch.randn(1, 1, width, generator=draw).expand(steps, count, width)
        network(inputs(draw, width)).backward(sign)
        for layer, gradient in enumerate(reversed(gradients)):
            flat = gradient.transpose(0, 1).flatten(1).double()
            gram = flat @ flat.T
            own = float(gram.diagonal().mean())
            found[repeat, layer] = own, (float(gram.sum()) / count - own) / (count - 1)
    own, crossed = found.mean(0).T
    residual = found[..., 1] - crossed / own * found[..., 0]
    error = residual.std(0, ddof=1) / math.sqrt(repeats) / own
    assert (np.abs(crossed / own - predicted.coherence[:2]) < 5 * error).all()
    assert (error < 0.1 * predicted.coherence[:2]).all()  # it would see a wrong one


def test_a_word_for_every_network():
    few = TwoInputs(np.full((3, 3), 0.3), np.full((3, 3), 0.15))
    given = dict(width=600, leak=0.5, threshold=1.0)
    alive = meanfield.outlook(few, 6.5, depth=10, generator=generator(), **given)
    assert (alive.word, alive.silent, alive.active, alive.layers) == ("active", False, 11, 11)
    assert math.isnan(alive.gradient)
    late = meanfield.outlook(few, 2.0, depth=7, generator=generator(), **given)
    assert (late.word, late.silent) == ("late", True)
    kept = dict(depth=7, generator=generator(), **given)
    assert meanfield.outlook(few, 2.0, epsilon=20 * late.gradient, **kept).word == "frozen"
    # The loss of a random guess reaches the first silent layer through its surrogate only.
    signal = meanfield.gradient_signal(
        few, 2.0, depth=7, leak=0.5, threshold=1.0, readout=10 / 600, generator=generator()
    )
    below = signal.rate[signal.active - 1].mean() if signal.active else 0.3
    square = 9 / 100 / 128 * signal.size[signal.active] * below * 3
    kept["generator"] = generator()
    drawn = meanfield.outlook(few, 2.0, classes=10, batch=128, **kept)
    assert drawn.gradient == pytest.approx(math.sqrt(square), rel=1e-9)
    for share, word in ((0.99, "late"), (1.01, "frozen")):  # a tenth of Adam's ε
        kept["generator"] = generator()
        again = meanfield.outlook(few, 2.0, epsilon=10 * share * late.gradient, **kept)
        assert again.word == word
    quarter = meanfield.outlook(few, 2.0, depth=7, batch=512, generator=generator(), **given)
    assert abs(quarter.gradient / late.gradient - 0.5) < 1e-9


# --- bad input --------------------------------------------------------------------------------


def test_bad_input_is_named():
    good = moments(0.3, 0.1)
    neuron = dict(leak=0.5, threshold=1.0)
    with pytest.raises(ValueError, match=r"spikes must be \[T, inputs >= 2, neurons\]"):
        meanfield.spike_moments(torch.ones(3, 1, 5))
    with pytest.raises(ValueError, match="gain must be positive and finite, got -1"):
        meanfield.two_input_map(good, -1.0, **neuron)
    with pytest.raises(ValueError, match="samples must be"):
        meanfield.two_input_map(good, 1.0, samples=0, **neuron)
    with pytest.raises(ValueError, match="own must be a square matrix"):
        meanfield.two_input_map(TwoInputs(np.ones(3), np.ones(3)), 1.0, **neuron)
    with pytest.raises(ValueError, match="must have one shape"):
        meanfield.two_input_map(TwoInputs(np.ones((1, 1)), np.ones((2, 2))), 1.0, **neuron)
    with pytest.raises(ValueError, match="smallest eigenvalue"):
        meanfield.two_input_map(moments(0.1, 0.3), 1.0, **neuron)
    with pytest.raises(ValueError, match="crossed must be finite"):
        meanfield.two_input_map(moments(0.1, math.nan), 1.0, **neuron)
    with pytest.raises(ValueError, match="leak must be in"):
        meanfield.two_input_map(good, 1.0, leak=1.5, threshold=1.0)
    with pytest.raises(ValueError, match="leak must be in"):
        meanfield.two_input_gradient(good, good, leak=-0.1)
    with pytest.raises(ValueError, match="must have one shape"):
        meanfield.two_input_gradient(good, TwoInputs(np.ones((2, 2)), np.ones((2, 2))), leak=0.5)
    with pytest.raises(ValueError, match="depth must be"):
        meanfield.gradient_signal(good, 1.0, depth=-1, **neuron)
    with pytest.raises(ValueError, match="readout must be"):
        meanfield.gradient_signal(good, 1.0, depth=1, readout=0.0, **neuron)
    stack = dict(depth=1, width=10, **neuron)
    for name, value in (("classes", 1), ("batch", 0), ("epsilon", 0.0)):
        with pytest.raises(ValueError, match=f"{name} must be"):
            meanfield.outlook(good, 1.0, **stack | {name: value})
    with pytest.raises(ValueError, match="width must be"):
        meanfield.outlook(good, 1.0, **stack | {"width": 0})
