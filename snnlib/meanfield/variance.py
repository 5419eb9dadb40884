r"""Infinite-width variance map of one spiking layer at the first time step.

A layer of width n → ∞ with zero-mean weights of gain G = n·Var[w] maps the variance q of
its presynaptic potentials to G·P(u > θ).  Everything in this file is a property of that
scalar map.

Source: Micheli et al. 2024, Eqs. 9 and 12; the fixed points, their slopes and the critical
values are derived in the book's chapter on weight variance.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import ndtr

from snnlib._checks import scalars

__all__ = [
    "FixedPoint",
    "critical_gain",
    "critical_threshold",
    "firing_probability",
    "fixed_points",
    "variance_map",
]


class FixedPoint(NamedTuple):
    """A variance that the map returns unchanged, and the slope of the map there."""

    variance: float
    slope: float


def _checked(name: str, value: ArrayLike, *, low: float = 0.0) -> NDArray[np.float64]:
    array = np.asarray(value, dtype=np.float64)
    if not np.all(array >= low):  # also catches NaN
        raise ValueError(f"{name} must be >= {low:g} and not NaN, got {value!r}")
    return array


def _plain(array: NDArray[np.float64]) -> Any:
    """Return a Python float for a scalar and the array otherwise."""
    return float(array) if np.ndim(array) == 0 else array


def firing_probability(threshold: ArrayLike, variance: ArrayLike = 1.0) -> Any:
    r"""Probability that a zero-mean Gaussian potential exceeds the threshold.

    P(u > θ) = ½·erfc(θ / √(2q)) for u ~ N(0, q).  A potential of variance 0 is 0 and never
    exceeds a threshold θ ≥ 0 (the crossing is strict).

    Args:
        threshold: θ ≥ 0, a number or an array, in units of the membrane potential.
        variance: q ≥ 0, broadcast against `threshold`.

    Returns:
        A float for scalar arguments, else an array of the broadcast shape.

    Raises:
        ValueError: if an entry of `threshold` or `variance` is negative or NaN.

    Source:
        Micheli et al. 2024, Eq. 12.

    Example:
        >>> from math import erfc, sqrt
        >>> abs(firing_probability(1.0) - erfc(1 / sqrt(2)) / 2) < 1e-16
        True
        >>> firing_probability(0.0), firing_probability(1.0, 0.0)
        (0.5, 0.0)
    """
    theta = _checked("threshold", threshold)
    q = _checked("variance", variance)
    theta, q = np.broadcast_arrays(theta, q)
    with np.errstate(divide="ignore", invalid="ignore"):
        z = theta / np.sqrt(q)
    return _plain(np.where(q > 0, ndtr(-np.where(q > 0, z, np.inf)), 0.0))


def variance_map(variance: ArrayLike, gain: ArrayLike, threshold: ArrayLike) -> Any:
    r"""Variance of the next layer's potentials: q ↦ G·P(u > θ) with u ~ N(0, q).

    Args:
        variance: q ≥ 0 of the presynaptic potentials, a number or an array.
        gain: G = n·Var[w] ≥ 0 of the weights between the two layers.
        threshold: θ ≥ 0 of the presynaptic neurons.

    Returns:
        A float for scalar arguments, else an array of the broadcast shape.

    Raises:
        ValueError: if an argument is negative or NaN.

    Source:
        Micheli et al. 2024, Eq. 9.

    Example:
        The gain of Eq. 10 keeps unit variance:

        >>> abs(variance_map(1.0, 1 / firing_probability(0.8), 0.8) - 1.0) < 1e-15
        True
    """
    return _plain(_checked("gain", gain) * np.asarray(firing_probability(threshold, variance)))


def _mills(z: ArrayLike) -> NDArray[np.float64]:
    """Inverse Mills ratio φ(z)/Q(z), accurate in the upper tail."""
    from scipy.special import erfcx  # erfcx(x) = exp(x²)·erfc(x) never underflows

    return np.sqrt(2 / np.pi) / erfcx(np.asarray(z, dtype=np.float64) / np.sqrt(2))


def _slope(q: float, threshold: float) -> float:
    """Slope of the map at a fixed point q = G·Q(θ/√q): ½·(θ/√q)·φ/Q."""
    z = threshold / np.sqrt(q)
    return float(0.5 * z * _mills(z))


def critical_threshold() -> float:
    r"""Threshold θ_c at which unit variance under Eq. 10 stops being a stable fixed point.

    With G = 1/P(u > θ) the map's slope at q = 1 is ½·θ·φ(θ)/Q(θ).  It grows with θ and
    reaches 1 at θ_c ≈ 1.19.  Below θ_c a disturbance of the variance shrinks from layer to
    layer, above it grows: towards silence or towards another fixed point.

    Returns:
        The root of θ·φ(θ)/Q(θ) = 2.

    Source:
        Derived in the book.

    Example:
        >>> round(critical_threshold(), 6)
        1.190601
    """
    return float(brentq(lambda z: z * float(_mills(z)) - 2.0, 0.5, 2.0, xtol=1e-15, rtol=1e-15))


def critical_gain(threshold: ArrayLike) -> Any:
    r"""Smallest gain at which a layer can sustain activity: G_c(θ) = θ² / max_z z²·Q(z).

    A fixed point q = G·Q(θ/√q) with z = θ/√q satisfies θ²/G = z²·Q(z), which has a solution
    iff θ²/G is at most the maximum of the right-hand side.  Below G_c the activity of
    the first step dies at any width, that of each later step some layers behind it; the maximum is
    attained at z = θ_c of `critical_threshold`.

    Args:
        threshold: θ ≥ 0, a number or an array.

    Returns:
        A float for a scalar argument, else an array.

    Raises:
        ValueError: if an entry of `threshold` is negative or NaN.

    Source:
        Derived in the book.

    Example:
        Kaiming's gain 2 is too small at threshold 1:

        >>> round(critical_gain(1.0), 3)
        6.034
    """
    theta = _checked("threshold", threshold)
    z = critical_threshold()
    return _plain(theta**2 / (z**2 * float(ndtr(-z))))


@scalars("gain", "threshold")
def fixed_points(gain: float, threshold: float) -> list[FixedPoint]:
    r"""All nonzero fixed points of the variance map, smallest first.

    The map q ↦ G·Q(θ/√q) has none below the critical gain and two above it: the lower one
    is unstable and bounds the basin of silence, the upper one is stable.  At θ = 0 there is
    one, q = G/2, with slope 0.

    Args:
        gain: G > 0.
        threshold: θ ≥ 0.

    Returns:
        A list of `FixedPoint(variance, slope)`; |slope| < 1 means stable.

    Raises:
        ValueError: if `gain` is not positive and finite or `threshold` is negative, NaN or
            infinite.

    Source:
        Derived in the book.

    Example:
        >>> [round(p.slope, 3) for p in fixed_points(1 / firing_probability(1.0), 1.0)]
        [1.289, 0.763]
        >>> fixed_points(2.0, 0.0)
        [FixedPoint(variance=1.0, slope=0.0)]
    """
    if not (0 < gain < np.inf):
        raise ValueError(f"gain must be positive and finite, got {gain!r}")
    if not (0 <= threshold < np.inf):
        raise ValueError(f"threshold must be >= 0 and finite, got {threshold!r}")
    if threshold == 0:
        return [FixedPoint(gain / 2, 0.0)]
    level = threshold**2 / gain
    z_c = critical_threshold()

    def gap(z: float) -> float:
        return z * z * float(ndtr(-z)) - level

    if gap(z_c) < 0:
        return []
    if gap(z_c) == 0:
        roots = [z_c]
    else:
        # z²·Q(z) <= z²/2 bounds the small root from below, and Q(z) <= exp(-z²/2) the large
        # root from above.
        lower, upper = np.sqrt(level), z_c
        while gap(upper) > 0:
            upper *= 2
        roots = [
            brentq(gap, z_c, upper, xtol=1e-15, rtol=1e-14),
            brentq(gap, lower, z_c, xtol=1e-15, rtol=1e-14),
        ]
    variances = [(threshold / z) ** 2 for z in roots]
    return [FixedPoint(q, _slope(q, threshold)) for q in variances]
