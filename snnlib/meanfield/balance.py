r"""A gain that keeps a rate, and a surrogate under which gradients keep size and agree.

For L layers of threshold 1 and T steps, behind an input that drives the first layer as spikes of
the wanted rate would: `gain_to_the_top` finds the gain at which the last layer fires at that rate,
`fitted_surrogate` the narrowest surrogate whose gradients still agree in the first layer, at the
height that keeps their size.

Source: derived in the book's chapter on which reset to differentiate.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import brentq

from snnlib.meanfield.backward import dampening_of
from snnlib.meanfield.depth import depth_law
from snnlib.meanfield.two_inputs import TwoInputs
from snnlib.meanfield.way_back import Stack, two_inputs_through, way_back
from snnlib.resets import Reset
from snnlib.surrogate import Surrogate

__all__ = [
    "FittedSurrogate",
    "depth_scale_at",
    "fitted_surrogate",
    "gain_to_the_top",
    "stack_at_rate",
]

_NARROWEST, _WIDEST = 1.0, 0.05  # sharpness in units of 1/θ


@lru_cache(maxsize=64)
def gain_to_the_top(
    rate: float, *, steps: int, depth: int, leak: float, reset: Reset = "subtract"
) -> float:
    """Gain at which the last of L layers of threshold 1 fires with a rate, averaged over T steps.

    Args:
        rate: Wanted firing probability per step, in (0, 1/2).
        steps: T ≥ 1.
        depth: L ≥ 1.
        leak: β in [0, 1].
        reset: As in `snnlib.neurons.lif`.

    Returns:
        The gain, with a relative standard error of about 2 %; the same in every call.

    Raises:
        ValueError: If an argument is outside its range, or the rate does not last so far up.

    Source: derived in the book.

    Example:
        >>> deep = gain_to_the_top(0.2, steps=2, depth=8, leak=0.5)
        >>> rates = stack_at_rate(deep, 0.2, steps=2, depth=8, leak=0.5).rate
        >>> bool(abs(rates[-1].mean() - 0.2) < 0.005)
        True
    """
    if not 0 < rate < 0.5:
        raise ValueError(f"rate must be in (0, 1/2), got {rate!r}")
    for name, value in (("steps", steps), ("depth", depth)):
        if value < 1 or int(value) != value:
            raise ValueError(f"{name} must be an integer >= 1, got {value!r}")

    def reached(log_gain: float) -> float:
        gain = math.exp(log_gain)
        found = stack_at_rate(gain, rate, steps=steps, depth=depth, leak=leak, reset=reset)
        return float(found.rate[-1].mean())

    log_gain = brentq(lambda x: reached(x) - rate, math.log(0.5), math.log(1e4), xtol=2e-3)
    last = reached(log_gain + 4e-3)  # below, activity may jump to 0
    if not abs(last / rate - 1) < 0.2:
        raise ValueError(
            f"rate must be one that lasts through {depth} layers and {steps} steps (leak "
            f"{leak:.4g}): at {rate!r} it does not, {last:.3g} does"
        )
    return math.exp(log_gain)


def stack_at_rate(
    gain: float,
    rate: float,
    *,
    steps: int,
    depth: int,
    leak: float,
    reset: Reset = "subtract",
    alike: float = 0.0,
) -> Stack:
    """L layers of threshold 1 behind a constant input that drives the first one like that rate.

    Args:
        gain: G > 0 of the weights between the layers.
        rate: The first layer's currents have the variance G·rate.
        steps: T ≥ 1.
        depth: L ≥ 1.
        leak: β in [0, 1].
        reset: As in `snnlib.neurons.lif`.
        alike: Correlation of the two inputs, E[x x̃]/E[x²].

    Returns:
        The layers; the same neurons in every call.

    Source: derived in the book.

    Example:
        >>> stack_at_rate(8.0, 0.2, steps=3, depth=2, leak=0.5).rate.shape
        (2, 3)
    """
    moments = TwoInputs(np.ones((steps, steps)), np.full((steps, steps), alike))
    return two_inputs_through(
        moments,
        [gain * rate, *[gain] * (depth - 1)],
        leak=leak,
        threshold=1.0,
        reset=reset,
        samples=max(256, min(2048, 16_384 // steps)),
        generator=torch.Generator().manual_seed(0),
    )


@lru_cache(maxsize=64)
def depth_scale_at(
    gain: float, *, steps: int, leak: float, reset: Reset = "subtract"
) -> float | None:
    """Layers ξ in which what tells inputs apart falls by e, at threshold 1.

    Args:
        gain: G > 0 of the weights.
        steps: T ≥ 1.
        leak: β in [0, 1].
        reset: As in `snnlib.neurons.lif`.

    Returns:
        ξ to about 5 %, or None where deep layers do not repeat each other, as activity dies out or
        travels.

    Source: derived in the book.

    Example:
        >>> round(depth_scale_at(8.0, steps=1, leak=0.5), 2)
        1.53
        >>> depth_scale_at(2.0, steps=1, leak=0.5) is None
        True
    """
    try:
        found = depth_law(1.0, leak=leak, steps=steps, reset=reset, gain=gain, samples=4096)
    except ValueError:
        return None
    return found.depth_scale


class FittedSurrogate(NamedTuple):
    """A surrogate for layers of threshold 1, and what it makes of gradients.

    Attributes:
        surrogate: The surrogate.
        size: Σ (dL/du)² over neurons and steps of each layer, over that of the last.
        coherence: Cosine of the gradients of the two inputs in each layer.
    """

    surrogate: Surrogate
    size: tuple[float, ...]
    coherence: tuple[float, ...]


def fitted_surrogate(
    stack: Stack, surrogate: Surrogate, coherence: float, *, detach_reset: bool = True
) -> FittedSurrogate:
    """The narrowest surrogate whose gradients agree at the bottom, at the height that fits.

    Args:
        stack: Layers of threshold 1 that fire.
        surrogate: Its shape and tail count.
        coherence: Wanted cosine of the gradients of the two inputs in the first layer, in (0, 1).
        detach_reset: As in `way_back`.

    Returns:
        The surrogate, of sharpness 1 where that agrees enough, and of 1/20 where nothing does;
        of height 1 in a single layer.

    Raises:
        ValueError: If `coherence` is outside its range.

    Source: derived in the book.

    Example:
        >>> stack = stack_at_rate(8.0, 0.2, steps=2, depth=5, leak=0.5)
        >>> found = fitted_surrogate(stack, Surrogate("gaussian"), 0.3)
        >>> bool(abs(found.coherence[0] - 0.3) < 0.02), round(float(found.size[0]), 6)
        (True, 1.0)
    """
    if not 0 < coherence < 1:
        raise ValueError(f"coherence must be in (0, 1), got {coherence!r}")

    def at(log_sharpness: float) -> FittedSurrogate:
        made = Surrogate(surrogate.shape, 1.0, math.exp(log_sharpness), surrogate.tail)
        if len(stack.gains) > 1:
            height = dampening_of(stack, made, detach_reset=detach_reset)
            made = Surrogate(made.shape, height, made.sharpness, made.tail)
        back = way_back(stack, made, detach_reset=detach_reset)
        return FittedSurrogate(made, tuple(back.size / back.size[-1]), tuple(back.coherence))

    def excess(log_sharpness: float) -> float:
        return at(log_sharpness).coherence[0] - coherence

    low, high = math.log(_WIDEST), math.log(_NARROWEST)
    if excess(high) >= 0:
        return at(high)
    if excess(low) <= 0:
        return at(low)
    return at(brentq(excess, low, high, xtol=0.02))
