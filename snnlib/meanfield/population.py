"""A layer of neurons that differ in threshold and height: moments of its spikes and slopes."""

from __future__ import annotations

import math
from collections import Counter
from functools import lru_cache
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr
from torch import Tensor

from snnlib.surrogate import Surrogate

__all__ = ["Moments", "Population", "population"]

Array: TypeAlias = NDArray[np.float64]


class Moments(NamedTuple):
    """What a layer of neurons sends forward and lets pass backward.

    Attributes:
        second: E[x²] of what it sends.
        variance: Var[x].
        slope: E[(dx/du)²] under the surrogate derivative; NaN without one.
    """

    second: float
    variance: float
    slope: float = math.nan


class Population(NamedTuple):
    """A layer of neurons of one surrogate; hashable.

    Attributes:
        kinds: (threshold, height, share of the neurons), each kind once.
        surrogate: σ' of the neurons; None if unknown.
        relative: Whether its argument is u/θ − 1.
    """

    kinds: tuple[tuple[float, float, float], ...]
    surrogate: Surrogate | None
    relative: bool

    @property
    def columns(self) -> tuple[Array, Array, Array]:
        """Thresholds, heights and shares."""
        threshold, height, share = np.array(self.kinds).T
        return threshold, height, share

    def moments(self, variance: float) -> Moments:
        """Under u ~ N(0, variance)."""
        return _moments(self, variance)

    def spread(self, variance: float) -> float:
        """The slope d ln E[x²] / d ln Var[u] of the variance map at its fixed point."""
        threshold, height, share = self.columns
        z = threshold / math.sqrt(variance)
        if z.min() > 30:
            return math.inf
        density = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
        squares = share * height**2
        return float(squares @ (z * density) / (2 * squares @ ndtr(-z)))

    @property
    def unit(self) -> float:
        """A potential of the size of the thresholds."""
        return max(float(self.columns[0].max()), 1e-3)


@lru_cache(maxsize=4096)
def _moments(neurons: Population, variance: float) -> Moments:
    threshold, height, share = neurons.columns
    std = math.sqrt(variance)
    fires = ndtr(-threshold / std)
    second, mean = float(share @ (height**2 * fires)), float(share @ (height * fires))
    slope = math.nan
    if neurons.surrogate is not None:
        unit = threshold if neurons.relative else np.ones_like(threshold)
        squares = np.asarray(neurons.surrogate.moment(2, threshold / unit, 0.0, std / unit))
        slope = float(share @ ((height / unit) ** 2 * squares))
    return Moments(second, second - mean**2, slope)


def population(
    threshold: float | Tensor,
    height: float | Tensor,
    surrogate: Surrogate | None,
    relative: bool,
) -> Population:
    """A layer of neurons.

    Args:
        threshold: θ >= 0, a number or one per neuron.
        height: What one spike sends on, likewise.
        surrogate: σ' of the neurons, if known.
        relative: Whether σ' is taken of u/θ − 1 instead of u − θ.

    Raises:
        ValueError: If a threshold or a height is outside its range.
    """
    theta, size = np.broadcast_arrays(*(_flat(x) for x in (threshold, height)))
    least = "> 0 where the surrogate is relative to it" if relative else ">= 0"
    inside = theta > 0 if relative else theta >= 0
    if theta.size == 0 or not (inside & np.isfinite(theta)).all():
        raise ValueError(f"threshold must be {least} and finite, got {threshold!r}")
    if not np.isfinite(size).all() or not size.any():
        raise ValueError(f"height must be finite and not all 0, got {height!r}")
    counts = Counter(zip(theta.ravel().tolist(), size.ravel().tolist(), strict=True))
    kinds = sorted((t, h, n / theta.size) for (t, h), n in counts.items())
    return Population(tuple(kinds), surrogate, relative)


def _flat(value: float | Tensor) -> Array:
    plain = value.detach().cpu().numpy() if isinstance(value, Tensor) else value
    return np.asarray(plain, dtype=np.float64)
