"""The probability that a sample leaves a layer silent, from the network's widths and gains."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, xlog1py, xlogy
from scipy.stats import binom

from snnlib.init.pairing import Connection
from snnlib.meanfield import firing_probability
from snnlib.probe.capture import Entry
from snnlib.probe.driving import driving, effective_gain, follows

__all__ = ["extinction", "extinctions"]

Array = NDArray[np.float64]
WIDEST = 2048  # neurons up to which the extinction risk is computed; wider layers have less


def extinctions(
    entries: Sequence[Entry],
    connections: Sequence[Connection],
    widths: Mapping[str, int],
    first: float,
) -> dict[str, float]:
    """Probability that each layer of a network is silent at the first step.

    Along the chain of fully connected layers from the first one on.

    Args:
        entries: The layers in the order of execution.
        connections: What `pair` found.
        widths: Neurons of each layer.
        first: Rate of the first layer at the first step.

    Returns:
        One probability per layer of the chain, an upper bound for wide ones; empty if unknown.
    """
    chain, gains, thresholds = [entries[0]], [], []
    for entry in entries[1:]:
        weights = driving(entry, connections)
        if len(weights) != 1 or not follows(weights[0], chain[-1], widths):
            break
        gain = effective_gain(weights[0], entry)
        threshold = float(entry.spiking.threshold.mean())
        summing = entry.spiking.synapse is not None
        if gain is None or summing or not threshold >= 0 or not math.isfinite(gain):
            break
        chain.append(entry)
        gains.append(gain)
        thresholds.append(threshold)
    if len(chain) < 2 or not 0 < first < 1:
        return {}
    sizes = [min(widths[entry.name], WIDEST) for entry in chain]
    risks = extinction(first, sizes, gains, thresholds)
    return dict(zip((entry.name for entry in chain), risks, strict=True))


def extinction(
    first: float, widths: Sequence[int], gains: Sequence[float], thresholds: Sequence[float]
) -> list[float]:
    r"""Probability that each layer of a chain is silent at the first step.

    K_0 ~ Bin(n_0, p), then K_{l+1} | K_l ~ Bin(n_{l+1}, Q(θ_{l+1} / √(G_l·K_l/n_l))): the chain of
    `snnlib.meanfield.extinction_probability` with a width, gain and threshold of its own in each
    layer, and with the first layer's measured rate p.

    Args:
        first: p of the first layer.
        widths: n of each layer.
        gains: G of the weights in front of layers 1, 2, ...
        thresholds: θ of layers 1, 2, ...

    Returns:
        One probability per layer.

    Example:
        >>> from snnlib.meanfield import extinction_probability
        >>> found = extinction(firing_probability(1.0), [9] * 4, [6.3] * 3, [1.0] * 3)
        >>> known = extinction_probability(width=9, depth=3, threshold=1.0, gain=6.3)
        >>> abs(found[-1] - known) < 1e-12
        True
    """
    law = binom.pmf(np.arange(widths[0] + 1), widths[0], first)
    result = [float(law[0])]
    steps: dict[tuple[int, int, float, float], Array] = {}
    for n, m, gain, threshold in zip(widths, widths[1:], gains, thresholds, strict=False):
        # Gains that differ by less than their sampling error share a transition.
        key = (n, m, float(f"{gain:.3g}"), threshold)
        if key not in steps:
            variance = key[2] / n * np.arange(n + 1)
            steps[key] = _binomial(m, np.asarray(firing_probability(threshold, variance)))
        law = law @ steps[key]
        result.append(float(law[0]))
    return result


def _binomial(n: int, chance: Array) -> Array:
    """P(k of n) for every chance, [len(chance), n + 1]."""
    k = np.arange(n + 1)
    ways = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
    p = chance[:, None]
    logarithm: Array = ways + xlogy(k, p) + xlog1py(n - k, -p)
    return np.exp(logarithm)
