"""The membrane on a grid: its transition as a matrix, for laws from any start after any step.

It shares no code with the quadrature of `stationary_law`, which it checks in the book.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from scipy.special import ndtr

__all__ = ["Cells", "total_variation", "wasserstein"]

_REACH = 7.5  # standard deviations of the potential without a reset
_CHANGE = 1e-12  # of a mean, as a share of the grid, that has settled
_MOST = 10_000  # batches in which it has to


class Cells:
    r"""Transition of the potential U after the reset, on cells of one width.

    One step is :math:`U' = R(M),\ M = \beta U + i` with the input i ~ N(m, s²) drawn anew each
    step; row j of the operator is the normal probability of each cell from the middle of cell j,
    moved by the reset R. With `reset="zero"` all spikes end at the potential 0, which has a state
    of its own, the last one.

    Args:
        leak: Leak β in [0, 1).
        threshold: Threshold θ > 0, a multiple of the width.
        input_mean: Mean m of the input per step.
        input_std: Standard deviation s > 0 of the input per step.
        reset: `"subtract_leak"` or `"zero"`, see `snnlib.neurons.lif`.
        width: Width of a cell, in the unit of the potential.

    Attributes:
        edges: Ends of the cells, [K + 1].
        states: Potential of each state, [S], S = K or K + 1.
        operator: Transition of the law of U, rows sum to 1, [S, S].
        quiet: The part of it without a spike, [S, S].
        stationary: The law that a step leaves as it is, [S].
        mean: E[U] under it.
        rate: Probability to fire at a step under it.

    Raises:
        ValueError: If an argument is outside its range.

    Source: Derived in the book, for Kook et al. 2026, theorem 1.

    Example:
        >>> from snnlib.membrane import stationary_law
        >>> case = dict(leak=0.5, threshold=1.0, input_mean=0.5, input_std=0.5, reset="zero")
        >>> cells, law = Cells(**case), stationary_law(**case)
        >>> bool(abs(cells.rate - law.rate) < 1e-3 and abs(cells.mean - law.mean) < 1e-3)
        True

        Two laws from different starts approach each other.

        >>> distances = [
        ...     total_variation(*pair)
        ...     for pair in zip(cells.after(-1.0, 3), cells.after(1.0, 3), strict=True)
        ... ]
        >>> distances == sorted(distances, reverse=True)
        True
    """

    def __init__(
        self,
        *,
        leak: float,
        threshold: float,
        input_mean: float,
        input_std: float,
        reset: str,
        width: float = 0.01,
    ) -> None:
        _check(leak, threshold, input_std, reset, width)
        self.leak, self.input_mean, self.input_std = leak, input_mean, input_std
        reach = _REACH * input_std / np.sqrt(1 - leak**2)
        rest = input_mean / (1 - leak)
        first = np.floor((min(0, rest) - reach) / width)
        last = np.ceil((max(threshold, rest) + reach) / width)
        self.edges = np.arange(first, last + 1) * width
        middles = (self.edges[1:] + self.edges[:-1]) / 2
        self._fires = middles > threshold
        self._hard = reset == "zero"
        here = np.arange(len(middles))
        if self._hard:
            self.states = np.append(middles, 0.0)
            self._into = np.where(self._fires, len(middles), here)
        else:
            self.states = middles
            self._into = here - np.where(self._fires, round(threshold / width), 0)
        self.quiet, loud = self.rows(self.states)
        self.operator = self.quiet + loud
        # law = law · operator and Σ law = 1: solved, for a strong drive goes round in cycles
        system = self.operator.T - np.eye(len(self.states))
        system[0] = 1.0
        law = np.linalg.solve(system, np.eye(len(self.states))[0]).clip(min=0.0)
        self.stationary = law = law / law.sum()
        self.mean, self.rate = float(law @ self.states), float(law @ loud.sum(1))

    def rows(self, starts: Any) -> tuple[np.ndarray, np.ndarray]:
        """Law of U one step after each start, [starts, S]: the part without a spike, and with.

        Args:
            starts: One potential or several.
        """
        starts = np.atleast_1d(starts)
        z = (self.edges - self.leak * starts[:, None] - self.input_mean) / self.input_std
        z[:, [0, -1]] = -np.inf, np.inf  # the end cells reach to infinity
        p = np.diff(ndtr(z), axis=1)
        quiet = np.zeros((len(starts), len(self.states)))
        loud = np.zeros_like(quiet)
        quiet[:, : len(self._fires)] = np.where(self._fires, 0, p)
        np.add.at(loud.T, self._into[self._fires], p[:, self._fires].T)
        return quiet, loud

    def after(self, start: float, steps: int) -> list[np.ndarray]:
        """Laws of U[1], ..., U[steps] from one start, [S] each."""
        quiet, loud = self.rows(start)
        laws = [(quiet + loud)[0]]
        for _ in range(steps - 1):
            laws.append(laws[-1] @ self.operator)
        return laws

    def split(self, start: float, steps: int) -> tuple[np.ndarray, np.ndarray]:
        """Law of U[steps] from one start, and its part that spiked at least once, [S] each."""
        quiet, loud = self.rows(start)
        every, silent = (quiet + loud)[0], quiet[0]
        for _ in range(steps - 1):
            every, silent = every @ self.operator, silent @ self.quiet
        return every, every - silent

    def resting_point(self, steps: int, over: Literal["active", "all"]) -> float:
        """Where the running mean of `MPInit` comes to rest: the start that is the mean of U[steps].

        Args:
            steps: Steps T of a batch.
            over: Mean over the neurons that spiked in the T steps, or over all.

        Raises:
            ValueError: If it does not come to rest.
        """
        start, before, settled = 0.0, math.inf, _CHANGE * float(np.ptp(self.edges))
        for _ in range(_MOST):  # contracts like the second eigenvalue to the steps
            if abs(start - before) <= settled:
                return start
            law = self.split(start, steps)[over == "active"]
            start, before = float(law @ self.states / law.sum()), start
        raise ValueError(
            f"the mean does not come to rest at steps {steps}, over {over!r}: raise input_std"
        )

    def state_of(self, potentials: np.ndarray) -> np.ndarray:
        """Index of the state of each potential."""
        index = np.searchsorted(self.edges, potentials, side="right") - 1
        index = np.clip(index, 0, len(self._fires) - 1)
        if self._hard:
            index = np.where(potentials == 0, len(self._fires), index)
        return index


def total_variation(a: np.ndarray, b: np.ndarray) -> float:
    """Total variation of two laws on the same states, half the sum of the differences.

    Raises:
        ValueError: If a law is no array of probabilities, or the two differ in length.

    Example:
        >>> float(total_variation(np.array([0.5, 0.5]), np.array([1.0, 0.0])))
        0.5
    """
    a, b = _laws(a=a, b=b)
    return np.abs(a - b).sum() / 2


def wasserstein(a: np.ndarray, b: np.ndarray, states: np.ndarray) -> float:
    """Wasserstein distance W2 of two laws on the same states, from their quantiles.

    Raises:
        ValueError: If a law is no array of probabilities, a state is not finite, or they differ in
            length.

    Example:
        A point that moves by 3.

        >>> law = np.array([1.0, 0.0])
        >>> float(wasserstein(law, law[::-1], np.array([1.0, 4.0])))
        3.0
    """
    a, b = _laws(a=a, b=b)
    states = np.asarray(states, dtype=float)
    if states.shape != a.shape or not np.isfinite(states).all():
        raise ValueError(f"states must be {len(a)} finite numbers, got {states!r}")
    order = np.argsort(states, kind="stable")
    x = states[order]
    cdf = [np.cumsum(law[order]) / law.sum() for law in (a, b)]
    levels = np.unique(np.concatenate([[0.0], *cdf, [1.0]]))
    levels = levels[(levels >= 0) & (levels <= 1)]
    middle = (levels[1:] + levels[:-1]) / 2
    at = [x[np.minimum(np.searchsorted(c, middle), len(x) - 1)] for c in cdf]
    return np.sqrt(((at[0] - at[1]) ** 2 * np.diff(levels)).sum())


def _laws(**laws: np.ndarray) -> list[np.ndarray]:
    """Refuse what is no law, or laws on different states."""
    arrays = []
    for name, law in laws.items():
        array = np.asarray(law)
        real_numbers = array.ndim == 1 and array.size and array.dtype.kind in "iuf"
        if not real_numbers or not 0 < array.sum() < math.inf or not (array >= 0).all():
            raise ValueError(f"{name} must be an array of probabilities, got {law!r}")
        arrays.append(array)
    sizes = {len(array) for array in arrays}
    if len(sizes) > 1:
        raise ValueError(f"{' and '.join(laws)} must be laws on the same states, got {sizes}")
    return arrays


def _check(leak: float, threshold: float, input_std: float, reset: str, width: float) -> None:
    if reset not in ("subtract_leak", "zero"):
        raise ValueError(f"reset must be 'subtract_leak' or 'zero', got {reset!r}")
    if not 0 <= leak < 1:
        raise ValueError(f"leak must be in [0, 1), got {leak!r}")
    for name, value in (("threshold", threshold), ("input_std", input_std), ("width", width)):
        if not 0 < value < math.inf:
            raise ValueError(f"{name} must be positive and finite, got {value!r}")
    cells = threshold / width
    if abs(cells - round(cells)) > 1e-6 or round(cells) < 1:
        nearest = max(1, round(cells)) * width
        raise ValueError(
            f"threshold must be a multiple of the width {width:g}, got {threshold!r} "
            f"(nearest: {nearest:g})"
        )
