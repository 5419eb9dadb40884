r"""The law of a membrane that forgot its start, for an input that is drawn anew each step.

The potential before the reset is a Markov chain; its stationary density solves a linear integral
equation, here by quadrature on both sides of the threshold, where it jumps.

Source: Kook, Yu, Oh, Park, Stabilizing direct training of spiking neural networks: membrane
potential initialization and threshold-robust surrogate gradient, 2026.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.polynomial.legendre import leggauss
from scipy.sparse.linalg import eigs
from scipy.special import ndtr

from snnlib._checks import scalars
from snnlib.resets import RULES, Reset

__all__ = ["StationaryLaw", "stationary_law"]


@dataclass(frozen=True)
class StationaryLaw:
    """The law of the potential U after a step and its reset, once the start is forgotten.

    Attributes:
        grid: Points between the places where the density jumps, ascending, [K].
        density: Density of U at these points, [K].
        atoms: (position, probability) of each single potential that has one: (0, rate) for
            `reset="zero"`, whose spikes all end there; else none.
        mean: E[U], what MP-Init estimates.
        rate: Probability to fire at a step.
        doeblin: ε > 0 such that the laws one step after all starts inside `support` share at
            least the probability ε.
        support: The interval (low, high) that `doeblin` and `escape` are for.
        escape: Largest probability, over starts inside the support, to be outside one step later.
        contraction: Modulus of the second eigenvalue of the transition: the distance to the law
            falls like its powers.
        variance: Var[U].
        weights: Weights of a quadrature: Σ weights·density + Σ atoms is 1, [K].
    """

    grid: np.ndarray
    density: np.ndarray
    atoms: tuple[tuple[float, float], ...]
    mean: float
    rate: float
    doeblin: float
    support: tuple[float, float]
    escape: float
    contraction: float
    variance: float
    weights: np.ndarray


@scalars("leak", "threshold", "input_mean", "input_std")
def stationary_law(
    *,
    leak: float,
    threshold: float,
    input_mean: float,
    input_std: float,
    reset: Reset,
    support: tuple[float, float] | None = None,
) -> StationaryLaw:
    r"""Stationary law of a LIF neuron whose input is drawn anew each step, i ~ N(m, s²).

    With the reset R of `snnlib.neurons.lif`, the potential after a step is

    .. math:: U' = R(M), \qquad M = \beta U + i,

    and the density of M solves $g(m)=\int g(m')\,\varphi_s(m - \beta R(m') - m_i)\,dm'$, here by
    Gauss-Legendre quadrature on both sides of the threshold (Nyström), to about ten digits.

    Two starts inside the support [a, b] lead to normal laws of M that are at most β(b - a) apart,
    which share $\varepsilon = 2Q(\beta(b-a)/2s)$, with Q the tail of the standard normal law. With
    `reset="zero"` all spikes end at 0, which makes them share more where the input is strong.
    On the whole line there is no such constant.

    Args:
        leak: Leak β in [0, 1), and > 0 for `"subtract"`.
        threshold: Threshold θ >= 0, in the unit of the input.
        input_mean: Mean m of the input per step (for inputs that a library multiplies by 1/τ: after
            that).
        input_std: Standard deviation s > 0 of the input per step.
        reset: `"subtract"`, `"subtract_leak"`, `"zero"` or `"none"`, see `snnlib.neurons.lif`.
        support: Interval for `doeblin` and `escape`; None is [-θ, θ].

    Returns:
        The law.

    Raises:
        ValueError: If an argument is outside its range, or the input varies too little for the
            quadrature, whose points are about as dense as the standard deviation.

    Source:
        Kook et al. 2026, theorem 1 (existence); the constants are derived in the book.

    Example:
        Without a reset it is the normal law of an autoregression, which forgets by the leak.

        >>> law = stationary_law(
        ...     leak=0.5, threshold=1.0, input_mean=0.25, input_std=0.75, reset="none"
        ... )
        >>> round(law.mean, 9) == 0.25 / (1 - 0.5), round(law.variance, 9) == 0.75**2 / (1 - 0.25)
        (True, True)
        >>> round(law.contraction, 6)
        0.5

        With a reset to zero, the probability to fire is that of being at 0.

        >>> law = stationary_law(
        ...     leak=0.5, threshold=1.0, input_mean=0.25, input_std=0.75, reset="zero"
        ... )
        >>> law.atoms == ((0.0, law.rate),)
        True
        >>> round(float(law.weights @ law.density + law.rate), 9)
        1.0
    """
    chain = _Chain(leak, threshold, input_mean, input_std, reset)
    low, high = chain.bounds()
    nodes, weights = chain.panels([low, threshold, high])
    kernel = chain.step_density(nodes[:, None], chain.after(nodes)) * weights
    # g = K g and Σ w g = 1 in one regular system.
    g = np.linalg.solve(np.eye(len(nodes)) - kernel + weights, np.ones(len(nodes)))
    mass, after = weights * g, chain.after(nodes)
    fires = nodes > threshold
    # Rounding leaves masses of -1e-17 where there is none.
    rate, mean = min(max(float(mass[fires].sum()), 0.0), 1.0), float(mass @ after)

    def density_before(m: np.ndarray) -> np.ndarray:
        return chain.step_density(m[:, None], after) @ mass

    if reset == "zero":
        grid, grid_weights = chain.panels([low, threshold])
        density = density_before(grid)
    else:
        drop = chain.drop
        ends = [low, threshold - drop, threshold, max(threshold, high - drop)]
        grid, grid_weights = chain.panels(sorted(ends) if drop else [low, threshold, high])
        density = density_before(grid)
        if drop:
            density = np.where(grid < threshold, density, 0.0)
            density += np.where(grid > threshold - drop, density_before(grid + drop), 0.0)
    interval = (-chain.threshold, chain.threshold) if support is None else _interval(support)
    return StationaryLaw(
        grid=grid,
        density=np.maximum(density, 0.0),
        atoms=((0.0, rate),) if reset == "zero" else (),
        mean=mean,
        rate=rate,
        doeblin=chain.shared(*interval),
        support=interval,
        escape=chain.escape(*interval),
        contraction=_second_eigenvalue(kernel) if leak > 0 else 0.0,
        variance=float(mass @ (after - mean) ** 2),
        weights=grid_weights,
    )


_REACH = 9.0  # standard deviations of the potential without a reset: what is beyond has 1e-19
_ORDER = 10  # points per panel, which is two standard deviations of the input wide
_MOST = 2000  # points


class _Chain:
    """One step of the potential U, with checked constants."""

    def __init__(self, leak: float, threshold: float, mean: float, std: float, reset: str) -> None:
        if reset not in RULES:
            known = ", ".join(repr(name) for name in RULES)
            raise ValueError(f"reset must be one of {known}, got {reset!r}")
        self.leak = _real("leak", leak)
        if not 0 <= self.leak < 1:
            raise ValueError(f"leak must be in [0, 1), got {leak!r}")
        if reset == "subtract" and self.leak == 0:
            raise ValueError(
                'leak must be inside (0, 1) with reset="subtract", which subtracts the threshold '
                f"after the leak, got {leak!r}"
            )
        self.threshold = _real("threshold", threshold)
        if self.threshold < 0:
            raise ValueError(f"threshold must be >= 0, got {threshold!r} (nearest: 0)")
        self.mean, self.std = _real("input_mean", mean), _real("input_std", std)
        if self.std <= 0:
            raise ValueError(f"input_std must be > 0, got {std!r}")
        self.reset = reset
        # What a spike takes from the potential, if that is always the same.
        self.drop = 0.0
        if reset in ("subtract", "subtract_leak") and self.threshold > 0:
            self.drop = -float(self.after(np.array(2 * self.threshold))) + 2 * self.threshold

    def after(self, before: np.ndarray) -> np.ndarray:
        """The potential after the reset."""
        fires = (before > self.threshold).astype(float)
        return RULES[self.reset].after(before, fires, self.threshold, self.leak)

    def step_density(self, before: np.ndarray, start: np.ndarray) -> np.ndarray:
        """Density of the next potential before the reset."""
        z = (before - self.leak * start - self.mean) / self.std
        return np.exp(-0.5 * z * z) / (self.std * math.sqrt(2 * math.pi))

    def bounds(self) -> tuple[float, float]:
        """An interval outside which the potential before the reset has no probability to speak of.

        Without resets it is normal; a reset can only pull it down, and not below what it leaves.
        """
        rest = self.mean / (1 - self.leak)
        far = _REACH * self.std / math.sqrt(1 - self.leak**2)
        low, high = rest, rest
        if self.reset != "none":
            low, high = min(0.0, self.threshold - self.drop, rest), max(self.threshold, rest)
        points = _ORDER * (high - low + 2 * far) / (2 * self.std)
        if points > _MOST:
            room = _MOST / _ORDER - far / self.std
            least = (high - low) / (2 * room) if room > 0 else math.inf
            raise ValueError(
                f"input_std must be at least {least:.3g} for this leak and threshold, "
                f"got {self.std!r}"
                if math.isfinite(least)
                else f"leak must be further from 1, got {self.leak!r}"
            )
        return low - far, high + far

    def panels(self, ends: list[float]) -> tuple[np.ndarray, np.ndarray]:
        """Gauss-Legendre points and weights on panels between the ends."""
        x, w = leggauss(_ORDER)
        points, weights = [], []
        for a, b in pairwise(ends):
            if b <= a:
                continue
            edges = np.linspace(a, b, 1 + math.ceil((b - a) / (2 * self.std)))
            half, middle = np.diff(edges) / 2, (edges[1:] + edges[:-1]) / 2
            points.append((middle[:, None] + half[:, None] * x).ravel())
            weights.append((half[:, None] * w).ravel())
        return np.concatenate(points), np.concatenate(weights)

    def shared(self, low: float, high: float) -> float:
        """Probability that the next laws from all starts in the interval share."""
        first, last = (self.leak * end + self.mean for end in (low, high))
        middle = (first + last) / 2  # where the densities of M from both ends cross
        if self.reset == "zero" and self.threshold < middle:
            fires = 1 - ndtr((self.threshold - first) / self.std)
            return float(fires + ndtr((self.threshold - last) / self.std))
        return float(2 * ndtr(-(last - first) / (2 * self.std)))

    def escape(self, low: float, high: float) -> float:
        """Largest probability to be outside the interval one step later.

        What stays is one interval of M or two; for one, the largest is at an end.
        """
        stay = [(low, min(high, self.threshold))]
        if self.reset == "zero":
            stay += [(self.threshold, math.inf)] if low <= 0 <= high else []
        else:
            stay += [(max(self.threshold, low + self.drop), high + self.drop)]
        starts = self.leak * np.linspace(low, high, 1001) + self.mean
        inside = np.zeros_like(starts)
        for a, b in stay:
            if b > a:
                inside += ndtr((b - starts) / self.std) - ndtr((a - starts) / self.std)
        return float(np.clip(1 - inside, 0.0, 1.0).max())


def _second_eigenvalue(kernel: np.ndarray) -> float:
    """Modulus of the second largest eigenvalue; the largest is 1."""
    if len(kernel) <= 300:
        values = np.linalg.eigvals(kernel)
    else:
        values = eigs(kernel, k=2, v0=np.ones(len(kernel)), return_eigenvectors=False)
    return float(np.sort(np.abs(values))[-2])


def _real(name: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be a number, got {value!r}") from None
    if not math.isfinite(number):
        raise ValueError(f"{name} must be finite, got {value!r}")
    return number


def _interval(support: Any) -> tuple[float, float]:
    try:
        low, high = support
    except (TypeError, ValueError):
        raise ValueError(f"support must be a pair (low, high), got {support!r}") from None
    low, high = _real("support", low), _real("support", high)
    if low > high:
        raise ValueError(f"support must be a pair (low, high) with low <= high, got {support!r}")
    return low, high
