r"""The gain that keeps a wanted firing rate through all layers and time steps.

Eq. 10 fixes the variance of the first step only.  Over T steps the covariance map
C' = G·E[x xᵀ] takes its place: at its fixed point every layer fires at the same rate, and the
gain can be chosen so that this is the wanted one.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import brentq

from snnlib.meanfield.covariance import covariance_map
from snnlib.neurons.lif import Reset

__all__ = ["gain_for_rate"]

_SAMPLES = 32_768
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

    def spikes(covariance: np.ndarray, seed: int) -> np.ndarray:
        """E[x xᵀ] of neurons driven by the covariance."""
        step = covariance_map(
            covariance,
            1.0,
            leak=leak,
            threshold=threshold,
            reset=reset,
            samples=_SAMPLES,
            generator=torch.Generator().manual_seed(seed),
        )
        return step.covariance

    def mean_rate(covariance: np.ndarray, seed: int) -> float:
        return float(np.trace(spikes(covariance, seed))) / steps

    def gain_to_reach(pairs: np.ndarray, seed: int) -> float:
        def excess(log_gain: float) -> float:
            return mean_rate(np.exp(log_gain) * pairs, seed) - rate

        centre = float(np.log(threshold**2 / rate))
        low, high = centre - 3.0, centre + 3.0
        while excess(low) > 0:
            low -= 3.0
        while excess(high) < 0:
            high += 3.0
            if high > centre + 20:
                raise ValueError(
                    f"rate must be one that the neuron can reach: {rate!r} is not, at any gain"
                )
        return float(np.exp(brentq(excess, low, high, xtol=1e-4)))

    pairs = np.full((steps, steps), rate**2) + np.diag(np.full(steps, rate - rate**2))
    gains: list[float] = []
    for layer in range(_DEPTH):
        gains.append(gain_to_reach(pairs, layer))
        pairs = spikes(gains[-1] * pairs, layer)
        rates = np.diagonal(pairs)
        if rates.min() < rate / 10:
            raise ValueError(
                f"rate must be high enough for every step: at {rate!r} step {rates.argmin()} of "
                f"{steps} falls silent in deep layers (threshold {threshold!r}, leak {leak!r}); "
                "ask for a higher rate"
            )
        if layer >= 12 and np.ptp(gains[-6:]) < 0.03 * gains[-1]:
            break
    gain = float(np.mean(gains[-6:]))
    # Two starts beside the fixed point, driven by the same neurons: stable means that they meet.
    sides = [gain * scale * pairs for scale in (0.97, 1.03)]
    before = np.log([mean_rate(side, 0) for side in sides])
    for layer in range(8):
        sides = [gain * spikes(side, layer) for side in sides]
    after = np.log([max(mean_rate(side, 0), 1e-9) for side in sides])
    if np.ptp(after) > np.ptp(before):
        raise ValueError(
            f"rate must be high enough to last: at {rate!r} the fixed point is unstable "
            f"(threshold {threshold!r}, leak {leak!r}) and activity dies; ask for a higher rate"
        )
    return gain
