r"""The surrogate that carries gradients as Eq. 10 carries spikes.

In square layers at one time step Var[δ_{l−1}] = G·E[σ'(u − θ)²]·Var[δ_l].  With Eq. 10's gain
G = 1/P(u > θ) both directions are balanced iff E[σ'(u − θ)²] = P(u > θ), which fixes the
sharpness of the surrogate.  Over many steps with leak a gradient comes from later steps, too.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import brentq

from snnlib._checks import check_positive
from snnlib.meanfield.variance import firing_probability
from snnlib.surrogate import Surrogate

__all__ = ["matched_sharpness", "surrogate_second_moment"]


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


def surrogate_second_moment(
    *,
    leak: float,
    rate: float,
    weight_scale: float,
    input_gain: float = 1.0,
    steps: int | None = None,
) -> float:
    r"""E[σ'(u)²] that keeps the variance of the gradient from layer to layer.

    (1 − r)/(λσ)² with r = (1 − p)β², over T steps 1/((λσ)² F), F = (1/T) Σ (1 − r^(t+1))/(1 − r).

    Args:
        leak: β in [0, 1].
        rate: p in (0, 1).
        weight_scale: σ > 0, σ² the gain.
        input_gain: λ > 0.
        steps: T >= 1; None: many.

    Returns:
        The second moment of the surrogate derivative.

    Raises:
        ValueError: If an argument is outside its range.

    Source: Shi & Yu 2026, theorem 5.1; the finite T from the authors' simulated variant.

    Example:
        >>> surrogate_second_moment(leak=0.5, rate=0.1, weight_scale=2.0, steps=1)
        0.25
        >>> surrogate_second_moment(leak=0.5, rate=0.2, weight_scale=1.0)
        0.8
    """
    if not 0 <= leak <= 1 or not 0 < rate < 1:
        raise ValueError(f"leak must be in [0, 1] and rate in (0, 1), got {leak!r} and {rate!r}")
    scale = check_positive("weight_scale", weight_scale) * check_positive("input_gain", input_gain)
    r = (1 - rate) * leak**2
    if steps is None:
        return (1 - r) / scale**2
    if steps < 1 or int(steps) != steps:
        raise ValueError(f"steps must be an integer >= 1 or None, got {steps!r}")
    mean_of_sums = float(np.mean((1 - r ** np.arange(1, int(steps) + 1)) / (1 - r)))
    return 1 / (scale**2 * mean_of_sums)
