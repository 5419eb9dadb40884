r"""The limit of many steps: a neuron without leak averages its current over time.

With leak 1 and soft reset no input is lost, so after T steps of a current of mean I the number of
spikes is T·clip(I/θ, 0, 1) up to less than one: a spike costs θ, silence is below 0 and one spike
per step is the most.  Behind weights I is normal, I/θ ~ N(0, s²), and every layer of a network
becomes the clipped, rectified linear unit r = clip(I/θ, 0, 1).  With a = 1/s,

    p = E[r] = s(φ(0) − φ(a)) + Q(a),    M = E[r²] = s²(½ − Q(a) − aφ(a)) + Q(a),

the gain that keeps the rate p from layer to layer is G = θ²s²/M, above 2θ² (Kaiming's gain for a
threshold of 1) and close to it for low rates.

Source: derived in the book's chapter on time and depth.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import erfcx, ndtr, owens_t

from snnlib._checks import check_positive, scalars

__all__ = ["TimeAverage", "clipped_correlation_map", "time_average"]

Array = NDArray[np.float64]

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(64)


class TimeAverage(NamedTuple):
    """Layers of neurons that average over time, at the gain that keeps their rate.

    Attributes:
        rate: p = E[r], spikes per step.
        deviation: s, standard deviation of I/θ.
        second_moment: M = E[r²].
        gain: G = θ²s²/M.
        memory: d ln M/d ln s² < 1, what is left of a small relative change of s² one layer on.
        correlation: c*, where the currents of any two inputs end.
        slope: of the correlation map at c*.
        depth_scale: ξ = −1/ln(slope), layers.
        lag: steps by which a layer's output starts late, behind a constant current.
    """

    rate: float
    deviation: float
    second_moment: float
    gain: float
    memory: float
    correlation: float
    slope: float
    depth_scale: float
    lag: float


@scalars("rate", "threshold")
def time_average(rate: float, *, threshold: float = 1.0) -> TimeAverage:
    r"""Everything about the limit of many steps at a rate: gain, correlation, depth scale, lag.

    A neuron behind a constant current below θ has rT − ½ spikes on average after T steps, as if
    the layer started late by

    .. math:: \tau=\frac{E[r\,1_{r<1}]}{2M}\;\to\;\frac1{2\pi p}\quad(p\to0).

    Args:
        rate: p in (0, 1/2), spikes per step and neuron.
        threshold: θ > 0.

    Returns:
        A `TimeAverage`.  The depth scale is infinite where the clip is too far away for double
        precision: two inputs then converge as a power of the depth, not exponentially.

    Raises:
        ValueError: If an argument is outside its range.

    Source:
        Derived in the book.

    Example:
        At low rates the gain is Kaiming's times θ², at a rate of 1/4 already more, and the clip
        at one spike per step limits the depth:

        >>> low, high = time_average(0.05), time_average(0.25)
        >>> round(low.gain, 6), round(high.gain, 3), round(high.depth_scale, 2)
        (2.0, 2.61, 16.08)
        >>> round(low.lag * 2 * math.pi * 0.05, 6)
        1.0
    """
    if not 0 < rate < 0.5:
        raise ValueError(f"rate must be in (0, 1/2), got {rate!r}")
    theta = check_positive("threshold", threshold)
    unit = _unit(float(rate))
    return unit._replace(gain=theta**2 * unit.gain)


@scalars("deviation")
def clipped_correlation_map(correlation: ArrayLike, deviation: float) -> Any:
    r"""Correlation of the next layer's mean currents of two inputs, for r = clip(I/θ, 0, 1).

    .. math:: f(c)=\frac{E[r\tilde r]}{E[r^2]},\qquad
              f'(c)=\frac{s^2}{M}P(0<Y<1,\,0<\tilde Y<1),\quad Y=I/\theta\sim N(0,s^2).

    The slope at 1 is finite and larger than 1: the clip tears like inputs apart, but slowly.

    Args:
        correlation: c in [-1, 1], a number or an array.
        deviation: s > 0, standard deviation of I/θ, at least 0.01.

    Returns:
        A float for a scalar argument, else an array.

    Raises:
        ValueError: If an argument is outside its range.

    Source:
        Derived in the book; for s → 0 the map of rectified linear units (Cho & Saul 2009).

    Example:
        >>> s, c = 0.1, 0.3
        >>> relu = (math.sqrt(1 - c * c) + (math.pi - math.acos(c)) * c) / math.pi
        >>> abs(clipped_correlation_map(c, s) - relu) < 1e-12
        True
    """
    c = np.asarray(correlation, dtype=np.float64)
    if not np.all((c >= -1) & (c <= 1)):
        raise ValueError(f"correlation must be in [-1, 1], got {correlation!r}")
    if not 0.01 <= deviation < math.inf:
        raise ValueError(f"deviation must be in [0.01, inf), got {deviation!r}")
    edge = 1 / deviation
    angle = np.arccos(c)[..., None] * (_NODES + 1) / 2
    mass = np.arccos(c)[..., None] * _WEIGHTS / 2
    inside = 0.5 - _tail(edge) + (_beyond_one(angle, edge) - _beyond_one(0.0, edge))
    scale = deviation**2 / _second_moment(deviation)
    found = 1 - scale * (mass * inside * np.sin(angle)).sum(-1)
    return float(found) if found.ndim == 0 else found


def check_averages(leak: float, reset: str) -> None:
    """Refuse infinitely many steps for neurons that do not average their current.

    Raises:
        ValueError: Unless leak is 1 and reset soft.
    """
    if leak != 1 or reset not in ("subtract", "subtract_leak"):
        raise ValueError(
            "steps may be infinite for leak 1 and soft reset only, where spikes average a current, "
            f"got leak {leak!r} and reset {reset!r}"
        )


@lru_cache(maxsize=256)
def _unit(rate: float) -> TimeAverage:
    """For threshold 1."""

    def excess(log_deviation: float) -> float:
        return _rate(math.exp(log_deviation)) / rate - 1

    s = math.exp(brentq(excess, math.log(rate), math.log(1 / (0.5 - rate)) + 1, xtol=1e-14))
    second = _second_moment(s)
    linear = s**2 * (0.5 - _tail(1 / s) - _density(1 / s) / s)  # E[r²; r < 1]
    angle, excess_slope = _meeting(1 / s, s**2 / second)
    below_one = s * (_density(0.0) - _density(1 / s))  # E[r; r < 1]
    logarithm = math.log1p(excess_slope)
    return TimeAverage(
        rate=rate,
        deviation=s,
        second_moment=second,
        gain=s**2 / second,
        memory=linear / second,
        correlation=math.cos(angle),
        slope=1 + excess_slope,
        depth_scale=-1 / logarithm if logarithm else math.inf,
        lag=below_one / (2 * second),
    )


def _meeting(edge: float, scale: float) -> tuple[float, float]:
    """Angle arccos(c*) of the fixed point, and the slope of the map there, minus 1.

    1 − f(c) − (1 − c) is the integral of f' − 1 from c to 1; both are small where the clip is far
    away, so f' − 1 is put together from its small parts.
    """
    at_one = edge * _density(edge) * _loss(edge)  # Mf'(1)/s² − M/s², by parts

    def excess(angle: Any) -> Any:
        return scale * (at_one + _beyond_one(angle, edge) - _beyond_one(0.0, edge))

    def left(angle: float) -> float:  # over angle², which takes the root at 0 away
        inner = angle * (_NODES + 1) / 2
        return float((_WEIGHTS * excess(inner) * np.sin(inner)).sum() / (2 * angle * at_one))

    if not at_one > 1e-300:
        return 0.0, 0.0
    # small angles: at_one·angle²/2 = angle³/(6π)
    low = high = min(3 * math.pi * at_one, 0.5)
    while left(low) < 0:
        low /= 2
    while left(high) > 0:
        high = min(2 * high, 0.5 * (high + math.pi))
    angle = brentq(left, low, high, xtol=1e-16 * low, rtol=1e-14)
    return float(angle), float(excess(angle))


def _beyond_one(angle: Any, edge: float) -> Any:
    """P(0 < X < a, 0 < Y < a) − ½ for standard normals of correlation cos(angle), by Owen."""
    with np.errstate(divide="ignore"):
        slope = 1 / np.tan(angle)
    corner = owens_t(edge, slope) + owens_t(edge, np.tan(np.asarray(angle) / 2))
    return -np.asarray(angle) / (2 * np.pi) - 2 * corner


def _density(x: float) -> float:
    return math.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)


def _tail(x: float) -> float:
    return float(ndtr(-x))


def _loss(x: float) -> float:
    """1 − xQ(x)/φ(x)."""
    if x > 50:  # where the difference loses too many digits
        return 1 / x**2 - 3 / x**4 + 15 / x**6
    return 1 - x * math.sqrt(math.pi / 2) * float(erfcx(x / math.sqrt(2)))


def _rate(s: float) -> float:
    # φ(0) − φ(a) = φ(0)(1 − e^(−a²/2)), which is small for large s
    return -s * _density(0.0) * math.expm1(-0.5 / s**2) + _tail(1 / s)


def _second_moment(s: float) -> float:
    return s**2 * (0.5 - _tail(1 / s) - _density(1 / s) / s) + _tail(1 / s)
