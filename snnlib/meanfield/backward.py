r"""The surrogate that carries gradients as Eq. 10 carries spikes.

In square layers at one time step Var[δ_{l−1}] = G·E[σ'(u − θ)²]·Var[δ_l].  With Eq. 10's gain
G = 1/P(u > θ) both directions are balanced iff E[σ'(u − θ)²] = P(u > θ), which fixes the
sharpness of the surrogate.
"""

from __future__ import annotations

import math

from scipy.optimize import brentq

from snnlib.meanfield.variance import firing_probability
from snnlib.surrogate import Surrogate

__all__ = ["matched_sharpness"]


def matched_sharpness(shape: str, threshold: float, dampening: float = 1.0) -> float:
    r"""Sharpness s with E[σ'(u − θ)²] = P(u > θ) for u ~ N(0, 1), σ'(v) = γ f(s v).

    E[σ'²] falls from γ² at s = 0 to 0, so there is one solution iff γ² > P(u > θ).

    Args:
        shape: a name in `snnlib.surrogate.SHAPES`.
        threshold: θ ≥ 0.
        dampening: γ > 0, the height of the surrogate.

    Returns:
        The sharpness.

    Raises:
        ValueError: if an argument is outside its range, or the surrogate is too low for any
            sharpness: γ² ≤ P(u > θ).

    Source:
        Follows from Micheli et al. 2024, Eq. 10, and the variance of a back-propagated gradient
        (the one-step form of SpikeInit's backward condition, Shi & Yu 2026).

    Example:
        The rectangle is 1 for |v| < 1/(2s), so E[σ'²] is the probability of that window.

        >>> from scipy.stats import norm
        >>> s = matched_sharpness("rectangular", 1.0)
        >>> window = norm.cdf(1 + 1 / (2 * s)) - norm.cdf(1 - 1 / (2 * s))
        >>> bool(abs(window / norm.sf(1.0) - 1) < 1e-9)
        True
    """
    target = float(firing_probability(threshold))
    Surrogate(shape, dampening)  # names a bad shape or dampening
    if not target > 0:
        raise ValueError(
            f"threshold must let some neuron fire (feasible: 0 <= threshold <= 37), "
            f"got {threshold!r}"
        )
    if dampening**2 <= target:
        raise ValueError(
            f"dampening must exceed sqrt(P(u > threshold)) = {math.sqrt(target):.4g}, "
            f"got {dampening!r}"
        )

    def excess(log_sharpness: float) -> float:
        surrogate = Surrogate(shape, dampening, math.exp(log_sharpness))
        return math.log(float(surrogate.moment(2, threshold)) / target)

    low, high = -2.0, 2.0
    while excess(low) < 0:
        low -= 2.0
    while excess(high) > 0:
        high += 2.0
    return math.exp(brentq(excess, low, high, xtol=1e-12))
