r"""A stored table as a grid of conditions by seeds, and contrasts between groups of conditions.

With value y[c, s] of condition c at seed s, whose weights and data all conditions share, the
noise is what the means of condition and seed leave over in the whole table,

.. math:: \hat\sigma^2=\frac{1}{(C-1)(S-1)}\sum_{c,s}
          \left(y_{cs}-\bar y_{c\cdot}-\bar y_{\cdot s}+\bar y\right)^2 .

It is the unit of effect sizes and of the bands of figures. A contrast is tested by its own spread
over the seeds, with their degrees of freedom.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from snnlib._significance import critical_value
from snnlib.experiments.compare import informative

__all__ = ["Contrast", "Grid", "additive_noise"]

Array: TypeAlias = NDArray[np.float64]
Row: TypeAlias = Mapping[str, Any]


class Contrast(NamedTuple):
    """A difference that somebody says is positive.

    Attributes:
        mean: Over seeds, a margin included.
        error: Standard error of it, from its own spread over seeds.
        dof: Degrees of freedom of the error.
        noise: Standard deviation of one value in the whole table.
        informative: Whether a side of it trains, see `snnlib.experiments.informative`.
    """

    mean: float
    error: float
    dof: int
    noise: float
    informative: bool

    @property
    def half_width(self) -> float:
        """Half the 95 % Student-t interval of the mean."""
        return critical_value(0.05, self.dof) * self.error

    @property
    def p_value(self) -> float:
        """Of the two-sided t test; 1 where no spread was seen."""
        if self.error == 0:
            return 1.0
        return float(2 * special.stdtr(self.dof, -abs(self.mean) / self.error))

    @property
    def effect(self) -> float:
        """The mean in units of the noise of one difference."""
        return self.mean / (math.sqrt(2) * self.noise)


class Grid:
    """A table as arrays [condition, seed].

    Args:
        rows: Rows with the labels, "seed" and "test_accuracy", one for each condition and seed.
        labels: Names of the labels that make a condition.

    Attributes:
        labels: As given.
        conditions: Values of the labels, in the order of the rows.
        seeds: In ascending order.
        accuracy: [condition, seed], test accuracy.

    Raises:
        ValueError: If a condition lacks a seed that another has, or a row comes twice.

    Example:
        >>> rows = [
        ...     {"height": height, "seed": seed, "test_accuracy": accuracy}
        ...     for height, values in ((0.3, (0.8, 0.7, 0.9)), (1.0, (0.5, 0.3, 0.55)))
        ...     for seed, accuracy in enumerate(values)
        ... ]
        >>> grid = Grid(rows, ["height"])
        >>> found = grid.contrast(
        ...     grid.side(height=0.3), grid.side(height=1.0), lambda row: row["test_accuracy"],
        ...     best=0.8, chance=0.1,
        ... )
        >>> round(found.mean, 2), found.dof, found.informative, found.p_value < 0.05
        (0.35, 2, True, True)
    """

    def __init__(self, rows: Sequence[Row], labels: Sequence[str]) -> None:
        self.labels = tuple(labels)
        places = [(tuple(row[label] for label in self.labels), row["seed"]) for row in rows]
        self.conditions = list(dict.fromkeys(condition for condition, _ in places))
        self.seeds = sorted({row["seed"] for row in rows})
        self._rows = dict(zip(places, rows, strict=True))
        wanted = len(self.conditions) * len(self.seeds)
        if len(self._rows) != wanted or len(rows) != wanted:
            raise ValueError(
                f"rows must be one for each of {len(self.conditions)} conditions and "
                f"{len(self.seeds)} seeds, got {len(rows)}"
            )
        self.accuracy = self.of(lambda row: row["test_accuracy"])

    def of(self, value: Callable[[Row], float]) -> Array:
        """Any number of a row, as an array [condition, seed].

        Args:
            value: The number.
        """
        found = [[value(self._rows[c, s]) for s in self.seeds] for c in self.conditions]
        return np.array(found, dtype=np.float64)

    def half_width(self, value: Callable[[Row], float]) -> float:
        """Half the 95 % interval of one condition's mean, from the noise of the whole table.

        Args:
            value: The number that is averaged over the seeds.
        """
        noise, dof = additive_noise(self.of(value))
        return critical_value(0.05, dof) * noise / math.sqrt(len(self.seeds))

    def side(self, **wanted: Any) -> Array:
        """Equal weights over the conditions that have certain labels; they sum to 1.

        Args:
            **wanted: Value of a label, or a tuple of values.

        Returns:
            Weights [condition].

        Raises:
            ValueError: If no condition has them.
        """
        chosen = np.array(
            [
                all(
                    dict(zip(self.labels, condition, strict=True))[label]
                    in (value if isinstance(value, tuple) else (value,))
                    for label, value in wanted.items()
                )
                for condition in self.conditions
            ],
            dtype=np.float64,
        )
        if not chosen.any():
            raise ValueError(f"no condition has {wanted}")
        return chosen / chosen.sum()

    def contrast(
        self,
        first: Array | Sequence[Array],
        second: Array | Sequence[Array],
        value: Callable[[Row], float],
        *,
        best: float,
        chance: float = 0.0,
        margin: float = 0.0,
    ) -> Contrast:
        """First minus second, of one side each or of the sums of several.

        Args:
            first: Weights of a side, see `side`; or several sides, which are added up.
            second: The same, as many.
            value: The number that is compared.
            best: Mean test accuracy of the best condition of all tables.
            chance: Test accuracy of guessing.
            margin: Added to the difference: the claim is that first exceeds second less this.

        Returns:
            The contrast, informative if a side trains.
        """
        sides = [[side] if isinstance(side, np.ndarray) else list(side) for side in (first, second)]
        weights = np.sum(sides[0], 0) - np.sum(sides[1], 0)
        values = self.of(value)
        noise, _ = additive_noise(values)
        each = weights @ values
        own = float(each.std(ddof=1))
        if own <= 1e-12 * float(np.abs(values).max()):
            own = 0.0  # what floating point leaves of a spread of zero
        reached = [float(side @ self.accuracy.mean(1)) for side in (*sides[0], *sides[1])]
        return Contrast(
            float(each.mean()) + margin,
            own / math.sqrt(len(self.seeds)),
            len(self.seeds) - 1,
            noise,
            informative(reached, best=best, chance=chance),
        )


def additive_noise(values: ArrayLike) -> tuple[float, int]:
    """Standard deviation that the means of rows and columns leave over, and its freedom.

    Args:
        values: [condition, seed], at least 2 by 2.

    Returns:
        The noise and its degrees of freedom.

    Raises:
        ValueError: If `values` is not such a table.

    Example:
        >>> additive_noise([[1.0, 2.0], [3.0, 4.0]])
        (0.0, 1)
    """
    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 2 or min(table.shape) < 2:
        raise ValueError(f"values must be [condition >= 2, seed >= 2], got {table.shape}")
    rest = table - table.mean(0, keepdims=True) - table.mean(1, keepdims=True) + table.mean()
    dof = (table.shape[0] - 1) * (table.shape[1] - 1)
    return math.sqrt(float((rest**2).sum()) / dof), dof
