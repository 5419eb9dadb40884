"""What the mean-field maps sample with the library's own neuron, by a law that shares no code.

The maps draw Gaussian currents and step `lif`; the witness adds up spike histories, each a
rectangle of a Gaussian vector. Each comparison of k entries fails by chance less than once in
10,000: its bound is the quantile of the largest of k normal numbers.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from histories import pair_law
from scipy.optimize import brentq
from scipy.stats import norm

from snnlib.meanfield import (
    LayerLaw,
    TwoInputs,
    covariance_map,
    gain_for_rate,
    network_law,
    shifted_map,
    two_inputs_through,
)

RESETS = ("subtract", "subtract_leak", "zero", "none")
CURRENTS = np.array([[1.0, 0.5, 0.3], [0.5, 1.2, 0.4], [0.3, 0.4, 0.9]])
NEURON = {"leak": 0.6, "threshold": 0.7}
SAMPLES = 1_000_000  # the standard error of a rate of 0.2 is 0.2 % of it; 1 % is noticed
INTEGRATION = 2e-5  # of scipy's rectangles, absolute


def disagreement(found, expected, samples):
    """Largest deviation of shares of `samples` trials, in units of what chance alone allows."""
    error = np.sqrt(expected * (1 - expected) / samples)
    bound = norm.isf(1e-4 / 2 / np.size(found)) * error + INTEGRATION
    return float((np.abs(found - expected) / bound).max())


def seeded():
    return torch.Generator().manual_seed(2)


@pytest.mark.parametrize("reset", RESETS)
def test_covariance_map(reset):
    step = covariance_map(CURRENTS, 2.5, reset=reset, samples=SAMPLES, generator=seeded(), **NEURON)
    pairs = step.covariance / 2.5
    assert disagreement(pairs, pair_law(CURRENTS, reset=reset, **NEURON), SAMPLES) < 1
    # 5 % of threshold or correlation is seen; of the leak a half: a reset to zero hides it.
    for wrong in ({"threshold": 0.735}, {"leak": 0.9}):
        other = pair_law(CURRENTS, reset=reset, **{**NEURON, **wrong})
        assert disagreement(pairs, other, SAMPLES) > 1
    weaker = CURRENTS * (1 - 0.05 * (1 - np.eye(3)))
    assert disagreement(pairs, pair_law(weaker, reset=reset, **NEURON), SAMPLES) > 1
    another = RESETS[RESETS.index(reset) - 1]
    assert disagreement(pairs, pair_law(CURRENTS, reset=another, **NEURON), SAMPLES) > 1


def test_shifted_map():
    correlation = np.array([[1.0, 0.4], [0.4, 1.0]])
    scale, shift = np.array([0.8, 1.3]), np.array([[0.2, -0.1], [-0.3, 0.4]])
    step = shifted_map(
        correlation, scale=scale, shift=shift, samples=SAMPLES, generator=seeded(), **NEURON
    )
    channels = [
        pair_law(s * s * correlation, mean=b, reset="subtract", **NEURON)
        for s, b in zip(scale, shift, strict=True)
    ]
    assert disagreement(step.pairs, np.mean(channels, axis=0), SAMPLES) < 1
    assert disagreement(step.pairs, channels[0], SAMPLES) > 1


@pytest.mark.parametrize("reset", RESETS)
def test_two_inputs(reset):
    own = np.array([[0.4, 0.25], [0.25, 0.5]])
    across = np.array([[0.2, 0.1], [0.15, 0.3]])
    gain = 2.2
    stack = two_inputs_through(
        TwoInputs(own, (across + across.T) / 2),
        [gain],
        reset=reset,
        samples=SAMPLES,
        generator=seeded(),
        **NEURON,
    )
    crossed = (across + across.T) / 2
    both = gain * np.block([[own, crossed], [crossed, own]])
    expected = pair_law(both, reset=reset, inputs=2, **NEURON)
    # Each entry is a mean over the two inputs: at most the error of one.
    assert disagreement(stack.spikes[0].own, expected[:2, :2], SAMPLES) < 1
    assert disagreement(stack.spikes[0].crossed, expected[:2, 2:], SAMPLES) < 1
    alone = pair_law(gain * np.kron(np.eye(2), own), reset=reset, inputs=2, **NEURON)
    assert disagreement(stack.spikes[0].crossed, alone[:2, 2:], SAMPLES) > 1


@pytest.mark.parametrize("reset", RESETS)
def test_network_law(reset):
    width, repeats, gain = 1_000, 500, 6.0
    layers = [LayerLaw(width, gain=gain, reset=reset, **NEURON)] * 2
    law = network_law(CURRENTS, layers, repeats=repeats, generator=seeded())
    first = pair_law(CURRENTS, reset=reset, **NEURON)
    second = pair_law(gain * first, reset=reset, **NEURON)
    assert disagreement(law.rate[:, 0].mean(0), np.diag(first), width * repeats) < 1
    # Layers of one network share the fluctuations of the one below: the spread of the networks is
    # the error. The bias of a finite width, of the order 1/width, is a hundredth of that.
    error = law.rate[:, 1].std(0, ddof=1) / repeats**0.5
    assert (np.abs(law.rate[:, 1].mean(0) - np.diag(second)) < 4.3 * error + INTEGRATION).all()
    other = pair_law(1.05 * gain * first, reset=reset, **NEURON)
    assert (np.abs(law.rate[:, 1].mean(0) - np.diag(other)) > 4.3 * error + INTEGRATION).any()


@pytest.mark.parametrize("reset", RESETS)
def test_gain_for_rate(reset):
    rate, steps, leak, threshold = 0.2, 2, 0.3, 0.7
    found = gain_for_rate(rate, leak=leak, threshold=threshold, steps=steps, reset=reset)
    neuron = {"leak": leak, "threshold": threshold, "reset": reset}
    pairs, gains = np.full((steps, steps), rate**2) + np.eye(steps) * (rate - rate**2), []
    for _ in range(20):

        def excess(gain, pairs=pairs):
            return np.diag(pair_law(gain * pairs, **neuron)).mean() - rate

        gains.append(brentq(excess, 0.5, 40.0, xtol=1e-4))
        pairs = pair_law(gains[-1] * pairs, **neuron)
    assert gains[-1] == pytest.approx(gains[-4], rel=1e-3)
    # The library averages six layers that still move by less than 0.5 % together.
    assert found == pytest.approx(gains[-1], rel=0.01)
