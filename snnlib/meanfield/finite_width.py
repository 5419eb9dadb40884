r"""Exact law of the spike count, layer by layer, in a network of finite width.

At the first time step, Gaussian weights of variance v make the potentials of a layer
i.i.d. N(0, v·K) given that K presynaptic neurons fired.  So the spike counts form a Markov
chain over layers,

    K_{l+1} | K_l ~ Binomial(n, Q(θ / √(v·K_l))),    K = 0 absorbing,

whose law this file propagates exactly.

Source: derived in the book's chapter on weight variance (Micheli et al. 2024 call its
consequences the finite-size effect, Fig. 4).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from snnlib._checks import scalars
from snnlib.meanfield.variance import firing_probability

__all__ = ["SpikeCountLaw", "extinction_probability", "spike_count_law"]


class SpikeCountLaw(NamedTuple):
    """Law of the spike count in each layer; layer 0 is the encoding layer.

    Attributes:
        probability: [depth + 1, n + 1], P(K_l = k).
        variance: [depth + 1], expected variance of the potentials over neurons, E[v·K_{l-1}]
            (1 for the encoding layer).
        spread: [depth + 1], standard deviation over networks of the unbiased variance that
            one network of width n shows over its neurons (NaN for n = 1).
        extinct: [depth + 1], P(K_l = 0).
    """

    probability: NDArray[np.float64]
    variance: NDArray[np.float64]
    spread: NDArray[np.float64]
    extinct: NDArray[np.float64]


@scalars("width", "depth", "threshold", "gain")
def spike_count_law(
    *, width: int, depth: int, threshold: float, gain: float | None = None
) -> SpikeCountLaw:
    r"""Propagate the exact law of the spike count through a network of finite width.

    K_0 ~ Bin(n, Q(θ)) for standard normal input, then
    K_{l+1} | K_l ~ Bin(n, Q(θ / √(G·K_l/n))).  Given K_l, the unbiased variance over the n
    neurons of layer l+1 is v·K_l·χ²_{n−1}/(n−1).

    Args:
        width: n ≥ 1 neurons in every layer.
        depth: number of weight layers L ≥ 0.
        threshold: θ ≥ 0.
        gain: G = n·Var[w] > 0; None is Eq. 10's 1/P(u > θ).

    Returns:
        A `SpikeCountLaw` with one row per layer, encoding layer first.

    Raises:
        ValueError: if `width`, `depth`, `threshold` or `gain` is outside its range.

    Source:
        Derived in the book.

    Example:
        One neuron and threshold 0: it fires with probability ½ as long as it fires at all.

        >>> law = spike_count_law(width=1, depth=3, threshold=0.0)
        >>> [round(float(x), 12) for x in law.extinct]
        [0.5, 0.75, 0.875, 0.9375]
    """
    if width < 1 or int(width) != width:
        raise ValueError(f"width must be an integer >= 1, got {width!r}")
    if depth < 0 or int(depth) != depth:
        raise ValueError(f"depth must be an integer >= 0, got {depth!r}")
    p0 = firing_probability(threshold)
    if gain is None:
        gain = 1.0 / p0
    if not (0 < gain < np.inf):
        raise ValueError(f"gain must be positive and finite, got {gain!r}")
    v = gain / width
    counts = np.arange(width + 1)
    transition = binom.pmf(
        counts[None, :], width, np.asarray(firing_probability(threshold, v * counts))[:, None]
    )
    law = [binom.pmf(counts, width, p0)]
    for _ in range(depth):
        law.append(law[-1] @ transition)
    probability = np.stack(law)
    first = np.concatenate([[1.0], v * (probability[:-1] @ counts)])
    second = np.concatenate([[1.0], v**2 * (probability[:-1] @ counts**2)])
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = np.sqrt(np.maximum(second * (1 + 2 / (np.float64(width) - 1)) - first**2, 0.0))
    return SpikeCountLaw(probability, first, spread, probability[:, 0])


@scalars("width", "depth", "threshold", "gain")
def extinction_probability(
    *, width: int, depth: int, threshold: float, gain: float | None = None
) -> float:
    r"""Probability that no neuron of the last layer fires at the first time step.

    P(K_L = 0) of the chain K_{l+1} | K_l ~ Bin(n, Q(θ / √(G·K_l/n))), K_0 ~ Bin(n, Q(θ)),
    with all layers of width n and standard normal input.

    Args:
        width: n ≥ 1 neurons in every layer.
        depth: number of weight layers L ≥ 0.
        threshold: θ ≥ 0.
        gain: G = n·Var[w] > 0; None is Eq. 10's 1/P(u > θ).

    Returns:
        The probability, exact up to floating point.

    Raises:
        ValueError: if an argument is outside its range.

    Source:
        Derived in the book; explains Micheli et al. 2024, Fig. 4.

    Example:
        >>> round(extinction_probability(width=2, depth=0, threshold=0.0), 12)
        0.25
    """
    return float(
        spike_count_law(width=width, depth=depth, threshold=threshold, gain=gain).extinct[-1]
    )
