r"""Steady state of neurons with reset to zero whose input is new and normal at every step.

The neuron is u[t] = β u[t−1] (1 − x[t−1]) + λ i[t], x = 1{u > θ}, driven by N(0, σ²p).  If the
potential were N(μ, s²) in the steady state, with a = (θ − μ)/s,

    μ = β [μ Φ(a) − s φ(a)],
    μ² + s² = β² [(μ² + s²) Φ(a) − s (θ + μ) φ(a)] + (λσ)² p,

and the neuron would fire with probability Q(a).  That is p for a = Q⁻¹(p), which solves the system:

    μ = −c s,    c = β φ(a)/(1 − β(1 − p)),    s = θ/(a − c),

feasible where a > c.  The Gaussian law is a closure, not the truth.  Simulated neurons fire at a
rate within 4 % of p for β <= 0.5 and p >= 0.01, within 18 % for β = 0.9: less often where spikes
are rare, more often near the largest rate.

A constant input has a constant current N(0, σ₁²): a neuron fires every k+1 steps if
θ/S_k < λi <= θ/S_{k−1} with S_k = 1 + β + … + β^k.

Source: Shi & Yu 2026, theorem 4.1; the closed form and its feasible region are derived here.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

from snnlib._averages import Number, layer_averages
from snnlib._checks import check_positive, scalars

__all__ = [
    "SteadyState",
    "check_rate",
    "largest_rate",
    "normal_deviation",
    "static_std",
    "steady_state",
]


class SteadyState(NamedTuple):
    """Gaussian closure of the steady state.

    Attributes:
        mean: μ of the potential before the reset.
        std: s likewise.
        input_std: Standard deviation λσ√p of what enters the potential at each step.
    """

    mean: float
    std: float
    input_std: float


@scalars("threshold", "leak", "rate")
def steady_state(*, threshold: float, leak: float, rate: float) -> SteadyState:
    r"""Solve the Gaussian closure for a firing rate.

    a = Q⁻¹(p),  c = β φ(a)/(1 − β(1 − p)),  s = θ/(a − c),  μ = −c s, and

    (λσ)² p = (μ² + s²)(1 − β²(1 − p)) + β² s (θ + μ) φ(a).

    Args:
        threshold: θ > 0.
        leak: β in [0, 1).
        rate: p in (0, `largest_rate(leak)`).

    Returns:
        Mean and standard deviation of the potential, and of the input that keeps them.

    Raises:
        ValueError: If an argument is outside its range, with the nearest feasible value.

    Source: Shi & Yu 2026, theorem 4.1; the closed form is derived here.

    Example:
        >>> state = steady_state(threshold=1.0, leak=0.0, rate=0.1)
        >>> abs(state.std * float(-ndtri(0.1)) - 1) < 1e-12
        True
    """
    theta = check_positive("threshold", threshold)
    check_rate(rate, leak)
    a, c = _distances(rate, leak)
    s = theta / (a - c)
    mu = -c * s
    density = math.exp(-a * a / 2) / math.sqrt(2 * math.pi)
    second = (mu**2 + s**2) * (1 - leak**2 * (1 - rate))
    if not math.isfinite(second):
        raise ValueError(f"threshold must have a finite square, got {threshold!r}")
    return SteadyState(mu, s, math.sqrt(second + leak**2 * s * (theta + mu) * density))


@scalars("leak")
def largest_rate(leak: float) -> float:
    r"""The rate that a zero-mean input cannot reach: a(p) = c(p), 1/2 without leak.

    The reset to zero takes away high potentials only, so the mean of the potential is below 0 and
    the rate below 1/2; the more so the less it leaks.

    Args:
        leak: β in [0, 1).

    Returns:
        The root of Q⁻¹(p) (1 − β(1 − p)) = β φ(Q⁻¹(p)); feasible rates lie below.

    Raises:
        ValueError: If the leak is outside its range.

    Source: derived here.

    Example:
        >>> largest_rate(0.0)
        0.5
        >>> 0.3 < largest_rate(0.5) < 0.5
        True
    """
    _check_leak(leak)
    if leak == 0:
        return 0.5

    def gap(a: float) -> float:
        """(a − c)·(1 − β Φ(a)), at p = Q(a)."""
        density = math.exp(-a * a / 2) / math.sqrt(2 * math.pi)
        return a * (1 - leak * float(ndtr(a))) - leak * density

    high = 1.0
    while gap(high) <= 0:
        high *= 2
    return float(ndtr(-brentq(gap, 0.0, high, xtol=1e-14)))


@scalars("threshold", "leak", "rate")
def static_std(*, threshold: float, leak: float, rate: float) -> float:
    r"""σ₁ of a constant input λi ~ N(0, σ₁²) at which neurons fire at a rate on average.

    p = Q(θ/σ₁) + Σ_{k>=1} 1/(k+1) [Φ(θ/(σ₁ S_{k−1})) − Φ(θ/(σ₁ S_k))],  S_k = 1 + β + … + β^k.

    Args:
        threshold: θ > 0.
        leak: β in [0, 1).
        rate: p in (0, 1/2).

    Returns:
        σ₁.

    Raises:
        ValueError: If an argument is outside its range.

    Source: Shi & Yu 2026, the first layer of algorithm 2.

    Example:
        >>> round(static_std(threshold=1.0, leak=0.0, rate=float(ndtr(-1.0))), 12)
        1.0
    """
    theta = check_positive("threshold", threshold)
    _check_leak(leak)
    _check_half(rate)
    # Beyond this many steps the sum S_k has reached its limit in double precision.
    last = 1 if leak == 0 else max(2, math.ceil(-40 / math.log(leak)))
    sums = (1 - leak ** np.arange(1, last + 1)) / (1 - leak)
    periods = 1.0 / np.arange(1, last + 1)

    def excess(z: float) -> float:
        """Rate at σ₁ = θ/z, minus p; falls with z."""
        fires_by = ndtr(-z / sums)  # probability to fire within the first k+1 steps
        return float(periods @ np.diff(fires_by, prepend=0.0)) - rate

    high = 1.0
    while excess(high) > 0:
        high *= 2
    return theta / float(brentq(excess, 0.0, high, xtol=1e-14))


@scalars("variance")
def normal_deviation(*, leak: Number, threshold: Number, variance: float) -> float:
    r"""E|y − θ| of a neuron with reset to zero whose potential is normal around its threshold.

    d = s √(2/π) with s the positive root of

    s² = V + β² (θ²/4 − θ s/√(2π) + s² (1/2 − 1/(2π))),

    V the variance of the drive, taken as independent of the potential before.

    Args:
        leak: β in [0, 1), a number or one per neuron (their mean is taken).
        threshold: θ >= 0, likewise.
        variance: V > 0 of recurrent and feed-forward input together; twice that of the latter by
            condition II.

    Returns:
        d, the `deviation` of condition I.

    Raises:
        ValueError: If an argument is outside its range.

    Source: derived in the book.

    Example:
        Without leak nothing but the drive is left:

        >>> d = normal_deviation(leak=0.0, threshold=1.0, variance=2.0)
        >>> round(d - (2 * 2 / math.pi) ** 0.5, 12)
        0.0
    """
    neurons = layer_averages(leak, threshold, "zero")
    drive = check_positive("variance", variance)
    beta, theta = neurons.leak, neurons.threshold
    a = 1 - beta**2 * (1 / 2 - 1 / (2 * math.pi))
    b = beta**2 * theta / math.sqrt(2 * math.pi)
    root = math.sqrt(b * b + 4 * a * (drive + beta**2 * theta**2 / 4))
    return (root - b) / (2 * a) * math.sqrt(2 / math.pi)


def check_rate(rate: float, leak: float) -> None:
    """Refuse a rate that a zero-mean input cannot sustain at this leak.

    Raises:
        ValueError: With the inequality and the nearest feasible value.
    """
    _check_leak(leak)
    _check_half(rate)
    a, c = _distances(rate, leak)
    if not a > c:
        bound = largest_rate(leak)
        raise ValueError(
            "rate must satisfy 0 < rate < "
            f"{bound:.6g} at leak {leak!r} (the threshold must lie above the mean: "
            "Q⁻¹(p) (1 − β(1 − p)) > β φ(Q⁻¹(p))), "
            f"got {rate!r}; nearest feasible: just below {bound:.6g}"
        )


def _distances(rate: float, leak: float) -> tuple[float, float]:
    """(θ − μ)/s and −μ/s."""
    a = -float(ndtri(rate))
    density = math.exp(-a * a / 2) / math.sqrt(2 * math.pi)
    return a, leak * density / (1 - leak * (1 - rate))


def _check_leak(leak: float) -> None:
    if not 0 <= leak < 1:
        raise ValueError(
            "leak must satisfy 0 <= leak < 1 (a neuron without leak has no steady state under "
            f"zero-mean input), got {leak!r}; nearest feasible: "
            f"{0.0 if leak < 0 else 'just below 1'}"
        )


def _check_half(rate: float) -> None:
    if not 0 < rate < 0.5:
        raise ValueError(
            "rate must satisfy 0 < rate < 1/2: a zero-mean input exceeds a positive threshold "
            f"less than half of the time, got {rate!r}; nearest feasible: "
            f"{'just above 0' if rate <= 0 else 'just below 0.5'}"
        )
