r"""The gain that keeps a wanted firing rate through all layers and time steps.

Eq. 10 fixes the variance of the first step only.  Over T steps the covariance map
C' = G·E[x xᵀ] takes its place: at its fixed point every layer fires at the same rate, and the
gain can be chosen so that this is the wanted one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import brentq
from torch import Tensor

from snnlib._checks import check_count, real, scalars
from snnlib.meanfield.covariance import square_root
from snnlib.meanfield.many_steps import check_averages, time_average
from snnlib.meanfield.variance import critical_gain
from snnlib.neurons import lif
from snnlib.neurons.lif import Reset
from snnlib.resets import RULES

__all__ = ["gain_for_rate"]

Array = NDArray[np.float64]

_SAMPLES = 16_384
_DEPTH = 60


@scalars("rate", "leak", "threshold")
def gain_for_rate(
    rate: float,
    *,
    leak: float,
    threshold: float,
    steps: float,
    reset: Reset = "subtract",
    depth: int | None = None,
) -> float:
    r"""Gain G at which deep layers fire with a given probability, averaged over T steps.

    The fixed point C* = G·R(C*), R(C) = E[x xᵀ] of neurons driven by the Gaussian process C,
    for which the mean rate tr(R(C*))/T is the wanted one.  It is found by iterating
    C ← g·R(C) with the scale g chosen anew each time so that the mean rate of the next layer is
    the wanted one.  Two things can go wrong, and raise: the fixed point is unstable (a layer that
    fires a little less starts a chain that falls silent), or some of the T steps fall silent
    while others carry all the spikes (the first step sees no earlier input, so it lives only
    above `critical_gain`, where a neuron of little leak already fires often at later steps).

    That every step lives in every layer is more than a network of L layers needs.  With `depth`
    the gain is the one that brings the rate to layer L behind a constant Gaussian current that
    gives layer 0 this rate: early steps may fall silent in between.  At one step it is
    θ²/(z²p) with Q(z) = p; for leak 1, soft reset and many steps it tends to the gain of
    `time_average`, which is returned for infinitely many.

    Args:
        rate: wanted firing probability per step, in (0, 1/2).
        leak: β in [0, 1].
        threshold: θ > 0.
        steps: number of time steps T ≥ 1, or `math.inf` (leak 1 and soft reset only).
        reset: as in `snnlib.neurons.lif`.
        depth: L ≥ 1, layers of weights that the rate is to last through; None is any number.

    Returns:
        G = n·Var[w], with a relative standard error of about 1 % (16,384 simulated neurons, the
        same ones in every call: the function is deterministic).

    Raises:
        ValueError: if an argument is outside its range, no neuron reaches the rate, or (without
            a depth) the rate is too low to last at every step.

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
    if not 1e-15 < threshold < 1e15:  # squares of float32 numbers
        raise ValueError(f"threshold must be positive, in [1e-15, 1e15], got {threshold!r}")
    if not (isinstance(steps, float) and steps == math.inf):
        steps = real("steps", steps)
    if steps != math.inf and (not steps >= 1 or int(steps) != steps):
        raise ValueError(f"steps must be an integer >= 1 or infinite, got {steps!r}")
    if depth is not None:
        check_count("depth", depth)

    # A neuron refuses what its settings cannot be.
    lif(torch.zeros(1, 1, 1), leak=leak, threshold=threshold, reset=reset)
    if steps == math.inf:
        check_averages(leak, reset)
        return time_average(rate, threshold=threshold).gain

    if rate * _SAMPLES * steps < 1:
        raise ValueError(
            f"rate must be at least {1 / (_SAMPLES * steps):.2g}, one spike of {_SAMPLES:,} "
            f"neurons in {steps} steps, got {rate!r}"
        )

    layer = _Layer(rate, leak, threshold, int(steps), reset)
    if depth is not None:
        return _lasting(layer, int(depth))
    gain, pairs = _iterated(layer)
    if gain < critical_gain(threshold):  # a slow death that so many layers do not show
        raise ValueError(
            f"rate must be high enough for every step: at {rate!r} the gain {gain:.4g} is below "
            f"the critical gain {critical_gain(threshold):.4g} of the first step (threshold "
            f"{threshold:.4g}, leak {leak:.4g}); ask for a higher rate"
        )
    _check_lasting(layer, gain, pairs)
    return gain


class _Layer(NamedTuple):
    """A layer of the deep network, and the rate that is wanted of it."""

    rate: float
    leak: float
    threshold: float
    steps: int
    reset: Reset

    def normals(self, depth: int) -> Tensor:
        """Independent normal numbers [T, samples], the same ones whenever a depth is asked for."""
        generator = torch.Generator().manual_seed(depth)
        return torch.randn(self.steps, _SAMPLES, generator=generator)

    def fire(self, current: Tensor, gain: float) -> Iterator[Tensor]:
        """Spikes [samples] of `lif` step by step, each written over the last one, in a cache."""
        carry = RULES[self.reset].into
        u, x, drive = torch.zeros(3, _SAMPLES)
        for i in current:
            carry(u, u, x, self.threshold, self.leak)
            u.add_(torch.mul(i, gain**0.5, out=drive))
            torch.gt(u, self.threshold, out=x)
            yield x

    def spikes(self, current: Tensor, gain: float) -> Tensor:
        """Spikes [T, samples] of neurons behind weights of a gain."""
        spikes = torch.empty_like(current)
        for row, x in zip(spikes, self.fire(current, gain), strict=True):
            row.copy_(x)
        return spikes

    def mean_rate(self, current: Tensor, gain: float) -> float:
        """Share of them that is 1."""
        total = torch.zeros(_SAMPLES)
        for x in self.fire(current, gain):
            total.add_(x)
        return float(total.sum() / current.numel())

    def gain_to_reach(self, current: Tensor, near: float | None) -> float:
        """Gain at which this unit current makes the wanted rate."""

        @cache  # the search for a bracket and brentq both ask for its ends
        def excess(log_gain: float) -> float:
            return self.mean_rate(current, np.exp(log_gain)) - self.rate

        first = np.log(self.threshold**2 / self.rate)
        centre, step = (first, 3.0) if near is None else (np.log(near), 0.1)
        low, high = centre - step, centre + step
        while excess(low) > 0:
            low, high, step = low - step, low, 2 * step
        while excess(high) < 0:
            low, high, step = high, high + step, 2 * step
            if high > centre + 40:
                raise ValueError(
                    f"rate must be one that the neuron can reach: {self.rate!r} is not, at any gain"
                )
        return float(np.exp(brentq(excess, low, high, xtol=1e-3)))


def _unit_current(pairs: Array, normals: Tensor) -> Tensor:
    """Gaussian currents [T, samples] of gain 1 behind spikes of these second moments."""
    return torch.from_numpy(square_root(pairs)).float() @ normals


def _second_moments(x: Tensor) -> Array:
    return np.asarray((x @ x.T).double().numpy() / _SAMPLES)


def _iterated(layer: _Layer) -> tuple[float, Array]:
    """The gain where it no longer changes from layer to layer, and E[x xᵀ] there."""
    rate, steps = layer.rate, layer.steps
    pairs = np.full((steps, steps), rate**2) + np.diag(np.full(steps, rate - rate**2))
    gains: list[float] = []
    for depth in range(_DEPTH):
        current = _unit_current(pairs, layer.normals(depth))
        gains.append(layer.gain_to_reach(current, gains[-1] if gains else None))
        pairs = _second_moments(layer.spikes(current, gains[-1]))
        rates = np.diagonal(pairs)
        if rates.min() < rate / 10:
            raise ValueError(
                f"rate must be high enough for every step: at {rate!r} step {rates.argmin()} of "
                f"{steps} falls silent in deep layers (threshold {layer.threshold:.4g}, leak "
                f"{layer.leak:.4g}); ask for a higher rate"
            )
        if depth >= 15 and abs(np.mean(gains[-6:]) / np.mean(gains[-12:-6]) - 1) < 0.005:
            break
    return float(np.mean(gains[-6:])), pairs


def _lasting(layer: _Layer, depth: int) -> float:
    """The gain at which layer `depth` has the rate that layer 0 has behind a constant current."""
    constant = layer.normals(0)[:1].expand(layer.steps, -1)
    first = _second_moments(layer.spikes(constant, layer.gain_to_reach(constant, None)))

    @cache
    def excess(log_gain: float) -> float:
        pairs = first
        for place in range(1, depth + 1):
            x = layer.spikes(_unit_current(pairs, layer.normals(place)), np.exp(log_gain))
            pairs = _second_moments(x)
            if not pairs.any():
                break
        return float(np.diagonal(pairs).mean()) - layer.rate

    low = high = np.log(2 * layer.threshold**2)
    while excess(low) > 0:
        low -= 0.25
    while excess(high) < 0:
        high += 0.25
        if high > low + 40:
            raise ValueError(f"rate must be one that layer {depth} can reach, got {layer.rate!r}")
    return float(np.exp(brentq(excess, low, high, xtol=1e-3)))


def _check_lasting(layer: _Layer, gain: float, pairs: Array) -> None:
    """Two starts beside the fixed point, driven by the same neurons: stable means they meet."""
    sides = [0.97 * pairs, 1.03 * pairs]
    apart = []
    for depth in range(9):
        normals = layer.normals(depth)
        outputs = [layer.spikes(_unit_current(side, normals), gain) for side in sides]
        apart.append(float(np.ptp(np.log([max(float(x.mean()), 1e-9) for x in outputs]))))
        sides = [_second_moments(x) for x in outputs]
    if apart[-1] > apart[0]:
        raise ValueError(
            f"rate must be high enough to last: at {layer.rate!r} the fixed point is unstable "
            f"(threshold {layer.threshold:.4g}, leak {layer.leak:.4g}) and activity dies; ask for "
            "a higher rate"
        )
