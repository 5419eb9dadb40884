r"""Mean-field rate map of a recurrent layer of LIF neurons that reset by subtraction.

A wide recurrent layer that fires at the rate p gives every neuron the mean recurrent current
J·p, with J = (n − 1)·E[w] the drive, and a Gaussian part of variance g·p, with
g = (n − 1)·Var[w] the recurrent gain.  Of that variance g·E[p_i²] never changes, because the
weights stay and neurons keep their own rates p_i; the rest is new at every step.  In a layer
whose rows of weights are *centred*, every row sums to J exactly, the part that never changes
is g·Var[p_i].

Given its constant current c the potential of one neuron is taken to be a stationary Gaussian.
With z = (mean − θ)/s it fires at the rate Φ(z), and

    (1 − β²)·s² + 2·β·θ·s·φ(z) = θ²·Φ(z)·(1 − Φ(z)) + C,    c = (1 − β)·(θ + s·z) + θ·Φ(z)

for a variance C of the current that is new at every step.  Both are explicit in z, which makes
the averages over neurons single integrals.

Source: derived in the book's chapter on conditions CI and CII.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.optimize import brentq
from scipy.special import ndtr

from snnlib._checks import check_from_zero, real, scalars

__all__ = [
    "RateStep",
    "least_input_variance",
    "rate_at_half",
    "rate_fixed_points",
    "rate_map",
]

Array = NDArray[np.float64]

_Z = np.linspace(-8.0, 8.0, 801)
_RATE = ndtr(_Z)
_DENSITY = np.exp(-(_Z**2) / 2) / np.sqrt(2 * np.pi)
_WEIGHT = _DENSITY * (_Z[1] - _Z[0])  # sums to 1 to the last digits: the tails vanish
_STEP = 1e-4  # of the rate, for the slope


class RateStep(NamedTuple):
    """What one application of the map gives.

    Attributes:
        rate: mean firing probability of the neurons.
        slope: derivative of that by the rate that was put in.
        spread: standard deviation of the neurons' own rates.
    """

    rate: float
    slope: float
    spread: float


@scalars("rate", "leak", "threshold", "gain", "input_variance", "constant_variance", "drive")
def rate_map(
    rate: float,
    *,
    leak: float,
    threshold: float,
    gain: float,
    input_variance: float,
    constant_variance: float = 0.0,
    drive: float | None = None,
    centred: bool = False,
) -> RateStep:
    r"""Stationary rate of neurons in a layer whose recurrent input is that of a given rate.

    .. math:: p \mapsto \int \varphi(z)\,
              \Phi\!\left(\frac{J p - c(z)}{\sqrt{C_c}}\right) dz

    with c(z) of the module's docstring, C = input_variance + g·(p·(1 − p) − r) the variance that
    is new at every step, C_c = constant_variance + g·(p² + r), or g·r if centred, the one that
    never changes, and r = Var[p_i] that of the neurons' own rates, found by iteration.  At drive
    (3 − 2β)·θ (condition CI) the rate 1/2 is a fixed point.  The closure is a Gaussian potential
    for each neuron; it ignores that the recurrent current of one step resembles that of the steps
    before.

    Args:
        rate: p in [0, 1], of the layer.
        leak: β in [0, 1).
        threshold: θ > 0, in units of the membrane potential.
        gain: g = (n − 1)·Var[w_rec] ≥ 0.
        input_variance: variance of the input current that is new at every step, ≥ 0.
        constant_variance: variance over neurons of an input current that stays, ≥ 0.
        drive: J = (n − 1)·E[w_rec]; None is condition CI, (3 − 2β)·θ.
        centred: whether every row of recurrent weights sums to J exactly.

    Returns:
        A `RateStep`; a fixed point is stable iff its slope is below 1.

    Raises:
        ValueError: if an argument is outside its range or the current has no variance at all.

    Source:
        Derived in the book.

    Example:
        Centred rows and input that is new at every step: with k = φ(0)/s, here for s = 1, the
        slope at 1/2 is J·k/(1 − β + θ·k).

        >>> from math import pi, sqrt
        >>> k = 1 / sqrt(2 * pi)
        >>> total = 1 - 0.5**2 + k - 1 / 4  # of the current
        >>> step = rate_map(0.5, leak=0.5, threshold=1.0, gain=total, centred=True,
        ...                 input_variance=0.75 * total)
        >>> round(step.rate, 9), round(step.slope, 6) == round(2 * k / (0.5 + k), 6)
        (0.5, True)
    """
    if not 0 <= rate <= 1:
        raise ValueError(f"rate must be in [0, 1], got {rate!r}")
    _check(leak, threshold, gain, input_variance, constant_variance)
    layer = _Layer(
        leak,
        threshold,
        (3 - 2 * leak) * threshold if drive is None else drive,
        gain,
        input_variance,
        constant_variance,
        centred,
    )
    return _step(layer, rate)


class _Layer(NamedTuple):
    leak: float
    threshold: float
    drive: float
    gain: float
    input_variance: float
    constant_variance: float
    centred: bool


def _step(layer: _Layer, rate: float) -> RateStep:
    low, high = max(rate - _STEP, 0.0), min(rate + _STEP, 1.0)
    slope = (_image(layer, high)[0] - _image(layer, low)[0]) / (high - low)
    new, variance = _image(layer, rate)
    return RateStep(new, slope, float(np.sqrt(variance)))


def _image(layer: _Layer, rate: float) -> tuple[float, float]:
    """Mean and variance of the neurons' rates if the layer fires at a rate."""
    most = rate * (1 - rate)  # no variance of numbers in [0, 1] with this mean is larger
    variance = 0.0
    for _ in range(200):
        stays = variance if layer.centred else rate**2 + variance
        mean, second = _moments(
            layer.drive * rate,
            layer.input_variance + layer.gain * (most - variance),
            layer.constant_variance + layer.gain * stays,
            layer.leak,
            layer.threshold,
        )
        new = max(second - mean**2, 0.0)
        before, variance = variance, min(new, most)
        if abs(variance - before) < 1e-11:
            break
    return mean, new


def _check(
    leak: float, threshold: float, gain: float, input_variance: float, constant_variance: float
) -> None:
    if not 0 <= leak < 1:
        raise ValueError(f"leak must be in [0, 1), got {leak!r}")
    if not 0 < threshold < np.inf:
        raise ValueError(f"threshold must be positive and finite, got {threshold!r}")
    for name, value in (
        ("gain", gain),
        ("input_variance", input_variance),
        ("constant_variance", constant_variance),
    ):
        if not 0 <= value < np.inf:
            raise ValueError(f"{name} must be >= 0 and finite, got {value!r}")
    if gain + input_variance + constant_variance == 0:
        raise ValueError("input_variance must be positive where nothing else varies, got 0")


def _moments(
    mean: float, fresh: float, constant: float, leak: float, threshold: float
) -> tuple[float, float]:
    """Mean and second moment of the neurons' rates for currents of a mean and two variances."""
    a = 1 - leak**2
    b = leak * threshold * _DENSITY
    std = (-b + np.sqrt(b * b + a * (threshold**2 * _RATE * (1 - _RATE) + fresh))) / a
    current = (1 - leak) * (threshold + std * _Z) + threshold * _RATE
    # With hardly any fresh noise the closure gives several rates for one current: the mean of the
    # two monotone curves around it keeps the symmetry.
    lower = np.minimum.accumulate(current[::-1])[::-1]
    current = (np.maximum.accumulate(current) + lower) / 2 + 1e-9 * threshold * _Z
    width = np.sqrt(constant)
    if width > 3 * np.diff(current).max():  # wide enough for the sum over the grid to be exact
        # the share of neurons whose constant current exceeds the one that belongs to z
        above = ndtr((mean - current) / width)
        return float(_WEIGHT @ above), float(2 * (_WEIGHT * _RATE) @ above)
    inverse = CubicSpline(current, _Z)
    nodes = np.clip(mean + width * _Z[::10], current[0], current[-1])
    rates = ndtr(inverse(nodes))
    return float(10 * _WEIGHT[::10] @ rates), float(10 * _WEIGHT[::10] @ rates**2)


@scalars("leak", "threshold", "gain", "input_variance", "constant_variance", "drive")
def rate_fixed_points(
    *,
    leak: float,
    threshold: float,
    gain: float,
    input_variance: float,
    constant_variance: float = 0.0,
    drive: float | None = None,
    centred: bool = False,
) -> list[RateStep]:
    r"""All rates that the map returns unchanged, smallest first.

    Args:
        leak: as in `rate_map`, and so are the others.
        threshold: θ > 0.
        gain: g ≥ 0.
        input_variance: ≥ 0.
        constant_variance: ≥ 0.
        drive: J; None is condition CI.
        centred: whether every row of recurrent weights sums to J.

    Returns:
        The fixed points; those with a slope below 1 are stable.

    Raises:
        ValueError: as `rate_map`.

    Source:
        Derived in the book.

    Example:
        Weak input: 1/2 is a fixed point, but the stable ones are beside it.

        >>> points = rate_fixed_points(leak=0.5, threshold=1.0, gain=0.4, input_variance=0.1,
        ...                            centred=True)
        >>> [point.slope < 1 for point in points], abs(points[1].rate - 0.5) < 1e-9
        ([True, False, True], True)
    """
    _check(leak, threshold, gain, input_variance, constant_variance)
    layer = _Layer(
        leak,
        threshold,
        (3 - 2 * leak) * threshold if drive is None else drive,
        gain,
        input_variance,
        constant_variance,
        centred,
    )

    def excess(p: float) -> float:
        return _image(layer, p)[0] - p

    # denser towards 0 and 1, where a weak input puts fixed points; 1/2 lies between two nodes
    logit = np.linspace(-24.0, 24.0, 98)
    grid = 1 / (1 + np.exp(-logit))
    values = np.array([excess(p) for p in grid])
    roots = [
        brentq(excess, grid[i], grid[i + 1], xtol=1e-14, rtol=1e-12)
        for i in range(len(grid) - 1)
        if values[i] * values[i + 1] < 0
    ]
    return [_step(layer, p)._replace(rate=float(p)) for p in roots]


@scalars("leak", "threshold")
def least_input_variance(leak: float, threshold: float, *, reset: str = "subtract") -> float:
    r"""Input variance above which the rate 1/2 of conditions CI and CII is stable.

    A spike lowers the potential by ρ, θ for `"subtract"`, βθ for `"subtract_leak"` and 0 for
    `"none"`.  Then the potential has to spread by more than s = θ√(2/π), hence

    .. math:: V > \frac{\theta^2(1 - \beta^2) + \beta\theta\rho}{\pi} - \frac{\rho^2}{8}

    for currents that are new at every step, with a recurrent variance that equals the input's
    (CII).  For `"subtract"` the largest value over all leaks is 0.273·θ², at leak 1/2.  For
    `"zero"`, with condition I for a normal potential,

    .. math:: s = \frac{2(1-\beta)\theta\varphi(0)}{1 - \beta(1/2 + 1/\pi)},
        \qquad 2V = s^2\left[1 - \beta^2\left(\tfrac12 - \tfrac1{2\pi}\right)\right]
        + \beta^2\theta s\varphi(0) - \tfrac14\beta^2\theta^2,

    and 0 where that is negative.

    Args:
        leak: β in [0, 1).
        threshold: θ > 0.
        reset: `"subtract"`, `"subtract_leak"`, `"zero"` or `"none"`.

    Returns:
        The variance n_in·E[z²]·Var[w_in] of the input current at the boundary.

    Raises:
        ValueError: if an argument is outside its range.

    Source:
        Derived in the book.

    Example:
        >>> round(least_input_variance(0.5, 1.0), 3), round(least_input_variance(0.9, 2.0), 3)
        (0.273, 0.888)
        >>> round(least_input_variance(0.5, 1.0, reset="zero"), 3)
        0.211
    """
    _check(leak, threshold, 1.0, 1.0, 0.0)
    if reset == "zero":
        phi = 1 / math.sqrt(2 * math.pi)
        spread = 2 * (1 - leak) * phi / (1 - leak * (1 / 2 + 1 / math.pi))
        kept = 1 - leak**2 * (1 / 2 - 1 / (2 * math.pi))
        twice = kept * spread**2 + leak**2 * spread * phi - leak**2 / 4
        return threshold**2 * max(twice / 2, 0.0)
    if reset not in (resets := {"subtract": 1.0, "subtract_leak": leak, "none": 0.0}):
        raise ValueError(f"reset must be one of {', '.join(resets)}, zero, got {reset!r}")
    rho = resets[reset]
    return threshold**2 * ((1 - leak**2 + leak * rho) / math.pi - rho**2 / 8)


@scalars("gain", "input_variance")
def rate_at_half(
    *,
    leaks: Sequence[float],
    thresholds: Sequence[float],
    gain: float,
    input_variance: float,
    reset: str = "subtract",
) -> tuple[float, float]:
    r"""Rate that a layer comes to from rest under conditions CI and CII, and the edge of 1/2.

    1/2 at or above the edge, the largest `least_input_variance` of the layer's neurons.  Below it
    the smallest stable fixed point of the rate map, 0 if it is too low to be found; NaN where the
    map does not hold, for neurons that differ or another reset.

    Args:
        leaks: β in [0, 1) of the neurons, each value once.
        thresholds: θ > 0, likewise.
        gain: g ≥ 0.
        input_variance: variance of the input current that is new at every step, ≥ 0.
        reset: `"subtract"`, `"subtract_leak"`, `"zero"` or `"none"`.

    Returns:
        (rate, edge).

    Raises:
        ValueError: if an argument is outside its range.

    Source:
        Derived in the book.

    Example:
        >>> layer = dict(leaks=[0.5], thresholds=[1.0], gain=0.4)
        >>> rate_at_half(input_variance=0.3, **layer)
        (0.5, 0.273)
        >>> rate_at_half(input_variance=0.1, **layer)[0] < 0.5
        True
    """
    check_from_zero("gain", gain)
    check_from_zero("input_variance", input_variance)
    for name, values in (("leaks", leaks), ("thresholds", thresholds)):
        if not len(values):
            raise ValueError(f"{name} must hold one number or more, got {values!r}")
        for value in values:
            real(name, value)
    top = max(thresholds)
    edge = max(least_input_variance(leak, top, reset=reset) for leak in leaks)
    if input_variance >= edge:
        return 0.5, edge
    if reset != "subtract" or len(leaks) > 1 or len(thresholds) > 1:
        return math.nan, edge
    points = rate_fixed_points(
        leak=leaks[0], threshold=top, gain=gain, input_variance=input_variance
    )
    low = [point.rate for point in points if point.slope < 1 and point.rate < 0.5]
    return (low[0] if low else 0.0), edge
