r"""The surrogate that carries gradients as Eq. 10 carries spikes.

In square layers at one time step Var[δ_{l−1}] = G·E[σ'(u − θ)²]·Var[δ_l].  With Eq. 10's gain
G = 1/P(u > θ) both directions are balanced iff E[σ'(u − θ)²] = P(u > θ), which fixes the
sharpness of the surrogate.  Over many steps a gradient comes from later steps, too: then the trace
of its second moments, carried through all layers, says how much of it is left.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from scipy.optimize import brentq

from snnlib._checks import check_positive, scalars
from snnlib.meanfield.two_inputs import TwoInputs
from snnlib.meanfield.variance import firing_probability
from snnlib.meanfield.way_back import Stack, two_inputs_through, way_back
from snnlib.resets import Reset
from snnlib.surrogate import Surrogate

__all__ = ["matched_dampening", "matched_sharpness", "surrogate_second_moment"]


@scalars("threshold", "dampening", "gain", "leak")
def matched_sharpness(
    shape: str,
    threshold: float,
    dampening: float = 1.0,
    *,
    gain: float | None = None,
    steps: int = 1,
    depth: int = 10,
    leak: float = 0.5,
    reset: Reset = "subtract",
    detach_reset: bool = True,
    samples: int = 4096,
) -> float:
    r"""Sharpness s of σ'(v) = γ f(s v) at which gradients neither grow nor decay with depth.

    One step under Eq. 10: E[σ'(u − θ)²] = P(u > θ) for u ~ N(0, 1), at any depth. E[σ'²] falls
    from γ² at s = 0 to 0, so there is one solution iff γ² > P(u > θ).

    More steps, or another gain: E[b²] of the currents, summed over T steps, is as large in the
    first of L layers as in the last, for a gradient of 1 by every spike on top and a constant
    standard normal current into the first layer (`snnlib.meanfield.way_back`).

    Args:
        shape: a name in `snnlib.surrogate.SHAPES`.
        threshold: θ ≥ 0.
        dampening: γ > 0, the height of the surrogate.
        gain: G > 0 of the weights between layers; None is Eq. 10's, 1/P(u > θ).
        steps: T ≥ 1.
        depth: L ≥ 2, which plays no part for one step under Eq. 10.
        leak: β in [0, 1], likewise.
        reset: as in `snnlib.neurons.lif`, likewise.
        detach_reset: whether gradients ignore that the reset depends on the spike, likewise.
        samples: neurons that are simulated in each layer, the same in every call; not for one step
            under Eq. 10, which is exact.

    Returns:
        The sharpness; with a standard error of about 2/√samples where neurons are simulated.

    Raises:
        ValueError: if an argument is outside its range, no layer fires, or the surrogate is too
            low for any sharpness: one step, γ² ≤ P(u > θ).

    Source:
        Follows from Micheli et al. 2024, Eq. 10, and the variance of a back-propagated gradient
        (the one-step form of SpikeInit's backward condition, Shi & Yu 2026); many steps and layers
        derived in the book.

    Example:
        The rectangle is 1 for |v| < 1/(2s), so E[σ'²] is the probability of that window.

        >>> from scipy.stats import norm
        >>> s = matched_sharpness("rectangular", 1.0)
        >>> window = norm.cdf(1 + 1 / (2 * s)) - norm.cdf(1 - 1 / (2 * s))
        >>> bool(abs(window / norm.sf(1.0) - 1) < 1e-9)
        True
        >>> matched_sharpness("rectangular", 1.0, gain=8.0, steps=4, depth=5) > s
        True
    """
    target = _target(threshold)
    Surrogate(shape, dampening)  # names a bad shape or dampening
    if steps == 1 and gain is None:
        if dampening**2 <= target:
            raise ValueError(
                f"dampening must exceed sqrt(P(u > threshold)) = {math.sqrt(target):.4g}, "
                f"got {dampening!r}"
            )

        def excess(log_sharpness: float) -> float:
            surrogate = Surrogate(shape, dampening, math.exp(log_sharpness))
            return math.log(float(surrogate.moment(2, threshold)) / target)
    else:
        stack = _deep(threshold, gain or 1 / target, steps, depth, leak, reset, samples)

        def excess(log_sharpness: float) -> float:
            surrogate = Surrogate(shape, dampening, math.exp(log_sharpness))
            return _log_growth(stack, surrogate, detach_reset)

        if not excess(-8.0) > 0:
            raise ValueError(
                "dampening must be high enough for gradients to last under a surrogate of any "
                f"width, got {dampening!r}"
            )

    low, high = -2.0, 2.0
    while excess(low) < 0:
        low -= 2.0
    while excess(high) > 0:
        high += 2.0
    return math.exp(brentq(excess, low, high, xtol=1e-12))


@scalars("threshold", "sharpness", "gain", "leak")
def matched_dampening(
    shape: str,
    threshold: float,
    sharpness: float = 1.0,
    *,
    gain: float | None = None,
    steps: int = 1,
    depth: int = 10,
    leak: float = 0.5,
    reset: Reset = "subtract",
    detach_reset: bool = True,
    samples: int = 4096,
) -> float:
    r"""Height γ of a surrogate of given width at which gradients neither grow nor decay.

    With the reset detached every layer multiplies by γ², so that γ = R^(−1/(2(L − 1))) with R the
    growth from the last of L layers to the first at γ = 1. With the reset attached the height
    also shortens the memory, β − θσ', and γ is the smallest root.

    Args:
        shape: a name in `snnlib.surrogate.SHAPES`.
        threshold: θ ≥ 0.
        sharpness: s > 0, one over the width.
        gain: G > 0 of the weights between layers; None is Eq. 10's.
        steps: T ≥ 1.
        depth: L ≥ 2.
        leak: β in [0, 1].
        reset: as in `snnlib.neurons.lif`.
        detach_reset: whether gradients ignore that the reset depends on the spike.
        samples: neurons that are simulated in each layer, the same in every call.

    Returns:
        The dampening.

    Raises:
        ValueError: if an argument is outside its range or no layer fires.

    Source:
        Derived in the book.

    Example:
        >>> height = matched_dampening("gaussian", 1.0, 0.25, gain=8.0, steps=4)
        >>> width = matched_sharpness("gaussian", 1.0, height, gain=8.0, steps=4)
        >>> bool(abs(width / 0.25 - 1) < 1e-6)
        True
    """
    stack = _deep(threshold, gain or 1 / _target(threshold), steps, depth, leak, reset, samples)
    return dampening_of(stack, Surrogate(shape, 1.0, sharpness), detach_reset=detach_reset)


def dampening_of(
    stack: Stack,
    surrogate: Surrogate,
    *,
    detach_reset: bool = True,
    gains: Sequence[float] | None = None,
) -> float:
    """Height of a surrogate at which gradients are as large in the first layer as in the last.

    Args:
        stack: At least two layers that fire, see `two_inputs_through`.
        surrogate: Its shape, sharpness and tail count, its height does not.
        detach_reset: As in `way_back`.
        gains: Likewise.

    Returns:
        The dampening.
    """
    plain = replace(surrogate, dampening=1.0)
    detached = math.exp(-_log_growth(stack, plain, True, gains) / (2 * (len(stack.gains) - 1)))
    if detach_reset:
        return detached

    def excess(log_height: float) -> float:
        found = replace(surrogate, dampening=math.exp(log_height))
        return _log_growth(stack, found, False, gains)

    high = math.log(detached)  # low slopes leave the memory, and with it the detached reset
    low = high - 1.0
    while excess(low) > 0:
        low -= 1.0
    while excess(high) < 0:
        low, high = high, high + 0.25
    return math.exp(brentq(excess, low, high, xtol=1e-6))


def _target(threshold: float) -> float:
    """P(u > θ) at unit variance."""
    target = float(firing_probability(threshold))
    if not target > 0:
        raise ValueError(
            f"threshold must let some neuron fire (feasible: 0 <= threshold <= 37), "
            f"got {threshold!r}"
        )
    return target


def _deep(
    threshold: float,
    gain: float,
    steps: int,
    depth: int,
    leak: float,
    reset: Reset,
    samples: int,
) -> Stack:
    """L layers behind a constant standard normal current, the same in every call."""
    for name, value, least in (("steps", steps, 1), ("depth", depth, 2)):
        if value < least or int(value) != value:
            raise ValueError(f"{name} must be an integer >= {least}, got {value!r}")
    check_positive("gain", gain)
    moments = TwoInputs(np.ones((steps, steps)), np.zeros((steps, steps)))
    stack = two_inputs_through(
        moments,
        [1.0, *[gain] * (int(depth) - 1)],
        leak=leak,
        threshold=threshold,
        reset=reset,
        samples=samples,
        generator=torch.Generator().manual_seed(0),
    )
    if not stack.rate[-1].any():
        raise ValueError(
            f"gain must keep {depth} layers active over {steps} steps at threshold "
            f"{threshold:.4g}, got {gain!r}"
        )
    return stack


def _log_growth(
    stack: Stack,
    surrogate: Surrogate,
    detach_reset: bool,
    gains: Sequence[float] | None = None,
) -> float:
    growth = way_back(stack, surrogate, detach_reset=detach_reset, gains=gains).growth
    return math.log(max(growth, 1e-300))  # a narrow surrogate may meet no neuron


@scalars("leak", "rate", "weight_scale", "input_gain", "steps")
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
