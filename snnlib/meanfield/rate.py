r"""The gain that keeps a wanted firing rate through all layers and time steps.

Eq. 10 fixes the variance of the first step only.  Over T steps the covariance map
C' = G·E[x xᵀ] takes its place: at its fixed point every layer fires at the same rate, and the
gain can be chosen so that this is the wanted one.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import brentq
from torch import Tensor

from snnlib.meanfield.variance import critical_gain
from snnlib.neurons import lif
from snnlib.neurons.lif import Reset

__all__ = ["gain_for_rate"]

Array = NDArray[np.float64]

_SAMPLES = 16_384
_DEPTH = 60


def gain_for_rate(
    rate: float, *, leak: float, threshold: float, steps: int, reset: Reset = "subtract"
) -> float:
    r"""Gain G at which deep layers fire with a given probability, averaged over T steps.

    The fixed point C* = G·R(C*), R(C) = E[x xᵀ] of neurons driven by the Gaussian process C,
    for which the mean rate tr(R(C*))/T is the wanted one.  It is found by iterating
    C ← g·R(C) with the scale g chosen anew each time so that the mean rate of the next layer is
    the wanted one.  Two things can go wrong, and raise: the fixed point is unstable (a layer that
    fires a little less starts a chain that falls silent), or some of the T steps fall silent
    while others carry all the spikes (the first step sees no earlier input, so it lives only
    above `critical_gain`, where a neuron of little leak already fires often at later steps).

    Args:
        rate: wanted firing probability per step, in (0, 1/2).
        leak: β in [0, 1].
        threshold: θ > 0.
        steps: number of time steps T ≥ 1.
        reset: as in `snnlib.neurons.lif`.

    Returns:
        G = n·Var[w], with a relative standard error of about 1 % (32,768 simulated neurons, the
        same ones in every call: the function is deterministic).

    Raises:
        ValueError: if an argument is outside its range, no neuron reaches the rate, or the rate
            is too low to last at every step.

    Source:
        Derived in the book; extends Micheli et al. 2024, Eq. 10, to T > 1.

    Example:
        One step, unit variance: Eq. 10.

        >>> from snnlib.meanfield import firing_probability
        >>> p = firing_probability(0.8)
        >>> bool(abs(gain_for_rate(p, leak=0.5, threshold=0.8, steps=1) * p - 1) < 0.05)
        True
    """
    if not 0 < rate < 0.5:
        raise ValueError(f"rate must be in (0, 1/2), got {rate!r}")
    if not 0 < threshold < np.inf:
        raise ValueError(f"threshold must be positive and finite, got {threshold!r}")
    if steps < 1 or int(steps) != steps:
        raise ValueError(f"steps must be an integer >= 1, got {steps!r}")

    def unit_current(pairs: Array, layer: int) -> Tensor:
        """Gaussian currents [T, 1, samples] of gain 1 behind spikes of these second moments."""
        values, vectors = np.linalg.eigh(pairs)
        root = torch.from_numpy(vectors * np.sqrt(np.maximum(values, 0.0))).float()
        generator = torch.Generator().manual_seed(layer)
        return (root @ torch.randn(steps, _SAMPLES, generator=generator))[:, None]

    def spikes(current: Tensor, gain: float) -> Tensor:
        """Spikes [T, samples] of neurons behind weights of a gain."""
        trace = lif(gain**0.5 * current, leak=leak, threshold=threshold, reset=reset)
        return trace.spikes[:, 0]

    def second_moments(x: Tensor) -> Array:
        return np.asarray((x @ x.T).double().numpy() / _SAMPLES)

    def gain_to_reach(current: Tensor, near: float | None) -> float:
        def excess(log_gain: float) -> float:
            return float(spikes(current, np.exp(log_gain)).mean()) - rate

        centre, step = (np.log(threshold**2 / rate), 3.0) if near is None else (np.log(near), 0.1)
        low, high = centre - step, centre + step
        while excess(low) > 0:
            low, high, step = low - step, low, 2 * step
        while excess(high) < 0:
            low, high, step = high, high + step, 2 * step
            if high > centre + 40:
                raise ValueError(
                    f"rate must be one that the neuron can reach: {rate!r} is not, at any gain"
                )
        return float(np.exp(brentq(excess, low, high, xtol=1e-3)))

    pairs = np.full((steps, steps), rate**2) + np.diag(np.full(steps, rate - rate**2))
    gains: list[float] = []
    for layer in range(_DEPTH):
        current = unit_current(pairs, layer)
        gains.append(gain_to_reach(current, gains[-1] if gains else None))
        pairs = second_moments(spikes(current, gains[-1]))
        rates = np.diagonal(pairs)
        if rates.min() < rate / 10:
            raise ValueError(
                f"rate must be high enough for every step: at {rate!r} step {rates.argmin()} of "
                f"{steps} falls silent in deep layers (threshold {threshold:.4g}, leak "
                f"{leak:.4g}); ask for a higher rate"
            )
        if layer >= 15 and abs(np.mean(gains[-6:]) / np.mean(gains[-12:-6]) - 1) < 0.005:
            break
    gain = float(np.mean(gains[-6:]))
    if gain < critical_gain(threshold):  # a slow death that so many layers do not show
        raise ValueError(
            f"rate must be high enough for every step: at {rate!r} the gain {gain:.4g} is below "
            f"the critical gain {critical_gain(threshold):.4g} of the first step (threshold "
            f"{threshold:.4g}, leak {leak:.4g}); ask for a higher rate"
        )
    # Two starts beside the fixed point, driven by the same neurons: stable means that they meet.
    sides = [0.97 * pairs, 1.03 * pairs]
    apart = []
    for layer in range(9):
        outputs = [spikes(unit_current(side, layer), gain) for side in sides]
        apart.append(float(np.ptp(np.log([max(float(x.mean()), 1e-9) for x in outputs]))))
        sides = [second_moments(x) for x in outputs]
    if apart[-1] > apart[0]:
        raise ValueError(
            f"rate must be high enough to last: at {rate!r} the fixed point is unstable "
            f"(threshold {threshold:.4g}, leak {leak:.4g}) and activity dies; ask for a higher rate"
        )
    return gain
