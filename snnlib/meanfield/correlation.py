r"""Two inputs through one wide layer at one time step: the correlation map and its fixed point.

Zero-mean weights turn the spikes of two inputs into Gaussian potentials of variance q each and
correlation c.  The share of the spikes that both inputs cause is the correlation of the next
layer's potentials, whatever the gain between them:

    c' = f(c) = P(u > θ, ũ > θ)/P(u > θ).

With z = θ/√q, f is convex on [0, 1], f(0) = P(u > θ), f(1) = 1, and its slope at 1 is infinite,
so 1 repels, and exactly one other fixed point, c* in (0, 1), attracts.

Source: derived in the book's chapter on what is left of the input.  The question and the depth
scale are those of Poole et al. 2016 and Schoenholz et al. 2017.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_ndtr, ndtr, owens_t

__all__ = [
    "correlation_fixed_point",
    "correlation_map",
    "correlation_slope",
    "difference_dies",
]

Array = NDArray[np.float64]

_LARGEST = 37.0  # θ/√q beyond which P(u > θ) underflows


def correlation_map(
    correlation: ArrayLike, threshold: ArrayLike, *, variance: ArrayLike = 1.0
) -> Any:
    r"""Correlation of the next layer's potentials of two inputs.

    .. math:: f(c)=\frac{P(u>\theta,\tilde u>\theta)}{P(u>\theta)}
              =1-\frac{2\,\mathcal T\!\left(z,\sqrt{\tfrac{1-c}{1+c}}\right)}{Q(z)},
              \qquad z=\theta/\sqrt q,

    with Owen's function :math:`\mathcal T`, exact to rounding.  Near 1 it is a square root:
    :math:`1-f(c)\to\frac{\varphi(z)}{Q(z)}\sqrt{(1-c)/\pi}`.

    Args:
        correlation: c in [-1, 1] of the potentials of two inputs, a number or an array.
        threshold: θ ≥ 0, with θ/√q at most 37.
        variance: q > 0 of the potentials; 1 is Eq. 10's.

    Returns:
        A float for scalar arguments, else an array of the broadcast shape.

    Raises:
        ValueError: If an argument is outside its range.

    Source:
        Derived in the book.

    Example:
        Half of all neurons fire at θ = 0, and the map is that of the sign:

        >>> bool(abs(correlation_map(0.3, 0.0) - (0.5 + np.arcsin(0.3) / np.pi)) < 1e-15)
        True
        >>> correlation_map([-1.0, 1.0], 0.8).tolist()
        [0.0, 1.0]
    """
    c = np.asarray(correlation, dtype=np.float64)
    if not np.all((c >= -1) & (c <= 1)):
        raise ValueError(f"correlation must be in [-1, 1], got {correlation!r}")
    z = _standardized(threshold, variance)
    with np.errstate(divide="ignore"):
        found = 1 - 2 * owens_t(z, np.sqrt((1 - c) / (1 + c))) / ndtr(-z)
    return _plain(np.clip(found, 0.0, 1.0))


def correlation_slope(
    correlation: ArrayLike, threshold: ArrayLike, *, variance: ArrayLike = 1.0
) -> Any:
    r"""Slope of `correlation_map`, which is infinite at a correlation of 1 (and of -1 at θ = 0).

    .. math:: f'(c)=\frac{e^{-z^2/(1+c)}}{2\pi\,Q(z)\sqrt{1-c^2}}

    Args:
        correlation: c in [-1, 1].
        threshold: θ ≥ 0, with θ/√q at most 37.
        variance: q > 0 of the potentials.

    Returns:
        A float for scalar arguments, else an array of the broadcast shape.

    Raises:
        ValueError: If an argument is outside its range.

    Source:
        Derived in the book.

    Example:
        >>> abs(correlation_slope(0.0, 0.0) - 1 / np.pi) < 1e-15
        True
        >>> correlation_slope(1.0, 0.8)
        inf
    """
    c = np.asarray(correlation, dtype=np.float64)
    if not np.all((c >= -1) & (c <= 1)):
        raise ValueError(f"correlation must be in [-1, 1], got {correlation!r}")
    z = _standardized(threshold, variance)
    with np.errstate(divide="ignore", invalid="ignore"):
        # in logarithms: both e^(-z²) and Q(z) may underflow
        exponent = np.where(z == 0, 0.0, -(z**2) / (1 + c)) - log_ndtr(-z)
        found = np.exp(exponent) / (2 * np.pi * np.sqrt((1 - c) * (1 + c)))
    return _plain(np.where((c == -1) & (z > 0), 0.0, found))


def correlation_fixed_point(threshold: ArrayLike, *, variance: ArrayLike = 1.0) -> Any:
    r"""Correlation c* in (0, 1) at which the potentials of any two inputs end in deep layers.

    The one solution below 1 of f(c) = c for `correlation_map`.  It attracts every start in
    [-1, 1): 0 < f'(c*) < 1.

    Args:
        threshold: θ ≥ 0, with θ/√q at most 37.
        variance: q > 0 of the potentials, a fixed point of the variance map; 1 is Eq. 10's.

    Returns:
        A float for scalar arguments, else an array, exact to rounding.

    Raises:
        ValueError: If an argument is outside its range.

    Source:
        Derived in the book.

    Example:
        >>> c = correlation_fixed_point(1.0)
        >>> abs(correlation_map(c, 1.0) - c) < 1e-14
        True
        >>> round(correlation_fixed_point(0.0), 4)
        0.7898
    """
    z = np.asarray(_standardized(threshold, variance))
    # f - c is convex, positive at 0, and 0 at 1 from below: one change of sign inside
    low, high = np.zeros_like(z), np.ones_like(z)
    for _ in range(64):
        middle = (low + high) / 2
        above = np.asarray(correlation_map(middle, z)) > middle
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return _plain((low + high) / 2)


def difference_dies(width: ArrayLike, threshold: ArrayLike, *, variance: ArrayLike = 1.0) -> Any:
    r"""Probability that a difference of one spike dies out in the next layer.

    Two inputs cause the same K = nP(u > θ) spikes in a layer, one of them one more.  A neuron of
    the next layer tells them apart if that spike takes its potential across the threshold,

    .. math:: \pi_1\simeq\varphi(z)\sqrt{\frac{2}{\pi K}},\qquad
              (1-\pi_1)^n\simeq e^{-\varphi(z)\sqrt{2n/(\pi P)}},

    so wide layers separate any two inputs and narrow ones make one of them.  Here π₁ is the exact
    probability for K spikes: u ~ N(0, q) and v = u + δ, δ ~ N(0, q/K).

    Args:
        width: n ≥ 1 with nP(u > θ) ≥ 1, neurons of the layer and of the next one.
        threshold: θ ≥ 0, with θ/√q at most 37.
        variance: q > 0 of the potentials.

    Returns:
        A float for scalar arguments, else an array of the broadcast shape.

    Raises:
        ValueError: If an argument is outside its range, or so narrow a layer has no spike on
            average.

    Source:
        Derived in the book.

    Example:
        >>> n = 10**6
        >>> rate, density = ndtr(-1.0), np.exp(-0.5) / np.sqrt(2 * np.pi)
        >>> limit = -density * np.sqrt(2 * n / (np.pi * rate))
        >>> bool(abs(np.log(difference_dies(n, 1.0)) / limit - 1) < 0.002)
        True
    """
    n = np.asarray(width, dtype=np.float64)
    z = _standardized(threshold, variance)
    spikes = n * ndtr(-z)
    if not np.all((n <= 1e12) & (spikes >= 1)):  # beyond, one more spike is lost to rounding
        raise ValueError(
            "width must be at most 1e12 and give a spike on average, n P(u > threshold) >= 1, "
            f"got {width!r}"
        )
    growth = np.sqrt(1 + 1 / spikes)  # of the standard deviation, by one more spike
    # P(u > θ, v <= θ) + P(u <= θ, v > θ) for the correlation 1/growth of u and v
    return _plain(np.exp(n * np.log1p(-_apart(z, z / growth, 1 / growth))))


def _apart(first: Array, second: Array, correlation: Array) -> Array:
    """P(X > first) + P(Y > second) - 2 P(both) of standard normals, by Owen's function.

    For second <= first, both of one sign or 0.
    """
    across = np.sqrt((1 - correlation) * (1 + correlation))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(first > 0, second / first, correlation)  # their limit at θ = 0
        inverse = np.where(second > 0, first / second, 1 / correlation)
    left = 2 * owens_t(first, (ratio - correlation) / across)
    right = 2 * owens_t(second, (inverse - correlation) / across)
    return np.asarray(left + right, dtype=np.float64)


def _standardized(threshold: ArrayLike, variance: ArrayLike) -> Array:
    theta, q = np.asarray(threshold, dtype=np.float64), np.asarray(variance, dtype=np.float64)
    if not np.all(theta >= 0):
        raise ValueError(f"threshold must be >= 0 and not NaN, got {threshold!r}")
    if not np.all((q > 0) & np.isfinite(q)):
        raise ValueError(f"variance must be positive and finite, got {variance!r}")
    z = theta / np.sqrt(q)
    if not np.all(z <= _LARGEST):
        raise ValueError(
            f"threshold must be at most {_LARGEST:g} standard deviations of the potential, "
            f"where some neuron fires, got {float(np.max(z)):.4g} of them"
        )
    return np.asarray(z)


def _plain(array: Array) -> Any:
    return float(array) if np.ndim(array) == 0 else array
