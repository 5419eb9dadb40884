r"""Makes a stored row again and compares.

On the same kind of machine, with the same threads and versions, every metric must be equal in all
digits that the table holds. Anywhere else rounding differs, training amplifies that, and the row
must lie within the spread of the seeds of its condition: a metric x of n seeds with the mean m
and the standard deviation s must satisfy

.. math:: |x - m| \le t_{\nu}\, s \sqrt{1 + 1/n},

Student's prediction interval of probability 0.999 for one more seed. As n is small, s is the one
pooled over all conditions of the table, with ν degrees of freedom, or that of the condition if it
is larger. A list is compared by its mean and by its last entry.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from snnlib._significance import critical_value
from snnlib.experiments.results import cell, metric_names
from snnlib.experiments.runner import Train, make
from snnlib.experiments.task import train

__all__ = ["LEVEL", "Outcome", "compare_exactly", "compare_with_seeds", "differs_in", "repeat"]

LEVEL = 1e-3
"""Probability that one number of a sound row lies outside the interval."""

PLACE = ("machine", "threads", "versions")
"""Columns that have to be equal for numbers to be."""

Row = Mapping[str, Any]


class Outcome(NamedTuple):
    """What a comparison found.

    Attributes:
        elsewhere: Columns of the place that differ; if there are any, seeds were compared with.
        compared: Names of the metrics that were compared.
        wrong: One line for each that does not agree.
    """

    elsewhere: list[str]
    compared: list[str]
    wrong: list[str]


def repeat(
    row: Row,
    table: Sequence[Row],
    labels: Sequence[str],
    settings: Mapping[str, Any],
    train: Train = train,
) -> Outcome:
    """Make a row again, with its number of threads, and compare.

    Args:
        row: The row.
        table: The table that it is of.
        labels: Labels of the table.
        settings: What `train` gets.
        train: Turns settings into metrics.

    Returns:
        What was compared, and how.

    Raises:
        ValueError: If this is another place and no condition of the table has two seeds.
    """
    found, here = make(settings, row["command"], row["threads"], train)
    elsewhere = differs_in(row, here)
    if not elsewhere:
        return compare_exactly(row, found, labels)
    return compare_with_seeds(row, found, table, labels)._replace(elsewhere=elsewhere)


def differs_in(row: Row, here: Mapping[str, Any]) -> list[str]:
    """The columns of the place that a row has otherwise than the provenance of this process.

    Example:
        >>> row = {"machine": "a", "threads": 1, "versions": "v"}
        >>> differs_in(row, row | {"threads": 2})
        ['threads']
    """
    return [name for name in PLACE if row[name] != here[name]]


def compare_exactly(row: Row, found: Mapping[str, Any], labels: Sequence[str]) -> Outcome:
    """Compare all metrics of a row in all digits of the table.

    Args:
        row: The stored row.
        found: The metrics now.
        labels: Labels of the table.

    Example:
        >>> stored = {"a": 1, "seed": 0, "test_loss": 0.333333, "train_loss": [1.0], "key": "k"}
        >>> compare_exactly(stored, {"test_loss": 1 / 3, "train_loss": [1.5]}, ["a"]).wrong
        ['train_loss: stored 1, now 1.5']
    """
    names = _stored(row, labels)
    wrong = [
        f"{name}: stored {cell(name, row[name])}, now {cell(name, found.get(name))}"
        for name in names
        if cell(name, row[name]) != cell(name, found.get(name))
    ]
    return Outcome([], names, wrong)


def compare_with_seeds(
    row: Row, found: Mapping[str, Any], table: Sequence[Row], labels: Sequence[str]
) -> Outcome:
    """Compare all metrics with those of the seeds of the row's condition.

    Args:
        row: The stored row.
        found: The metrics now.
        table: All rows.
        labels: Labels of the table, which make a condition.

    Raises:
        ValueError: If no condition of the table has two seeds.

    Example:
        >>> table = [{"a": a, "seed": s, "x": 10.0 * a + s} for a in (0, 1) for s in (0, 1, 2)]
        >>> [compare_with_seeds(table[3], {"x": x}, table, ["a"]).wrong for x in (17.0, 25.0)]
        [[], ['x: now 25, seeds 11 ± 9.94']]

        t with four degrees of freedom leaves out 0.001 beyond ± 8.610; times √(4/3) that is 9.94.
    """
    names = _stored(row, labels)
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for other in table:
        groups.setdefault(tuple(other[label] for label in labels), []).append(other)
    own = groups[tuple(row[label] for label in labels)]
    if all(len(group) < 2 for group in groups.values()):
        raise ValueError("no condition of the table has two seeds, so there is no spread")
    compared, wrong = [], []
    for name in names:
        if isinstance(row[name], str):  # why a run ended early: some seeds may, some not
            ended = {bool(other[name]) for other in own}
            compared.append(name)
            if bool(found[name]) not in ended:
                wrong.append(f"{name}: stored {row[name]!r}, now {found[name]!r}")
            continue
        now = _numbers(found[name])
        seeds = [_numbers(other[name]) for other in own]
        by_condition = [[_numbers(other[name]) for other in group] for group in groups.values()]
        several = [np.array(g) for g in by_condition if len(g) > 1 and None not in g]
        if now is None or None in seeds or not several:
            continue
        compared.append(name)
        for k, what in enumerate((name,) if len(now) == 1 else (f"mean of {name}", f"last {name}")):
            values = np.array(seeds)[:, k]
            pooled, dof = _pooled([group[:, k] for group in several])
            mean, n = float(values.mean()), len(values)
            std = max(pooled, float(values.std(ddof=1)) if n > 1 else 0.0)
            half = critical_value(LEVEL, dof) * std * math.sqrt(1 + 1 / n)
            if abs(now[k] - mean) > half + 1e-5 * abs(mean):  # digits of the table
                wrong.append(f"{what}: now {now[k]:.6g}, seeds {mean:.6g} ± {half:.3g}")
    return Outcome([], compared, wrong)


def _stored(row: Row, labels: Sequence[str]) -> list[str]:
    """Metrics that the row has; an empty list is one that was not measured then."""
    return [name for name in metric_names(row, labels) if row[name] != []]


def _numbers(value: Any) -> tuple[float, ...] | None:
    """A number, or mean and last entry of a list; None without any."""
    if isinstance(value, list):
        return (float(np.mean(value)), float(value[-1])) if value else None
    return None if value is None else (float(value),)


def _pooled(groups: Sequence[NDArray[np.float64]]) -> tuple[float, int]:
    """Standard deviation within groups of at least two, with its degrees of freedom."""
    dof = sum(len(group) - 1 for group in groups)
    square = sum(float(((group - group.mean()) ** 2).sum()) for group in groups)
    return math.sqrt(square / dof), dof
