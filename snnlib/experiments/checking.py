r"""Makes a stored row again and compares.

Where everything that decides the bits is the same (versions, machine, processor, instruction sets,
a digest of the arithmetic, threads), every metric must be equal in all digits that the table
holds. Anywhere else rounding differs, training amplifies that, and the row must lie within the
spread of the seeds of its condition: a metric x of n seeds with the mean m must satisfy

.. math:: |x - m| \le c\, s \sqrt{1 + 1/n}.

As n is small, s is the standard deviation pooled over all conditions of the table, or that of the
condition if it is larger. A row has k such numbers, and c is the larger of two: Student's value
at the level `LEVEL` / k, and `HEAVIEST`, because the spread differs between conditions and
Student's interval alone leaves out 4 % of the stored rows. A list is compared by its mean, the
curve of a training also by its last entry.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from snnlib._significance import critical_value
from snnlib.experiments.provenance import PLACE
from snnlib.experiments.results import cell, metric_names
from snnlib.experiments.runner import Train, make
from snnlib.experiments.task import train

__all__ = [
    "HEAVIEST",
    "LEVEL",
    "Outcome",
    "compare_exactly",
    "compare_with_seeds",
    "differs_in",
    "repeat",
]

LEVEL = 1e-3
"""Level of a row, any of its numbers outside, where the spread is normal and equal."""

HEAVIEST = 9.0
"""Least half-width, in units of s √(1 + 1/n).

Held out from its condition, each of the 1,180 rows stored at first stays inside (the farthest is
at 8.8). It was chosen on these rows, and so was what is compared of a list: that none is refused
is a fit, not a proof of the level. A test repeats it with the tables as they are.
"""

CURVES = ("train_accuracy", "train_loss", "held_out_accuracy", "held_out_loss")
"""Lists over epochs; the others are over layers."""

DIGITS = 1e-5
"""Relative rounding of the table's six digits."""

Row = Mapping[str, Any]


class Outcome(NamedTuple):
    """What a comparison found.

    Attributes:
        elsewhere: What differs between the places, or was not recorded; if there is anything,
            seeds were compared with.
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
    """What decides the bits and is otherwise in a row than here, or not recorded in it.

    Example:
        >>> here = dict.fromkeys(PLACE, "a") | {"threads": 2}
        >>> differs_in(here | {"threads": 1, "kernels": ""}, here)
        ['kernels not recorded', 'threads 1 there and 2 here']
    """
    found = []
    for name in PLACE:
        if row.get(name) in (None, ""):
            found.append(f"{name} not recorded")
        elif row[name] != here[name]:
            found.append(f"{name} {row[name]} there and {here[name]} here")
    return found


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
        [[], ['x: now 25, seeds 11 ± 10.4']]

        Student's t with four degrees of freedom leaves out 0.001 beyond ± 8.61, which is less
        than ± 9; times √(4/3) that is 10.4.
    """
    names = _stored(row, labels)
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for other in table:
        groups.setdefault(tuple(other[label] for label in labels), []).append(other)
    own = groups[tuple(row[label] for label in labels)]
    if all(len(group) < 2 for group in groups.values()):
        raise ValueError("no condition of the table has two seeds, so there is no spread")
    compared, wrong, intervals = [], [], []
    for name in names:
        if isinstance(row[name], str):  # why a run ended early: some seeds may, some not
            ended = {bool(other[name]) for other in own}
            compared.append(name)
            if bool(found[name]) not in ended:
                wrong.append(f"{name}: stored {row[name]!r}, now {found[name]!r}")
            continue
        now = _numbers(name, found[name])
        seeds = [_numbers(name, other[name]) for other in own]
        grouped = [[_numbers(name, other[name]) for other in group] for group in groups.values()]
        several = [np.array(group) for group in grouped if len(group) > 1 and None not in group]
        if now is None or None in seeds or not several:
            continue
        compared.append(name)
        for k, what in enumerate(_parts(name, found[name])):
            of_conditions = [group[:, k] for group in several]
            intervals.append((what, now[k], np.array(seeds)[:, k], of_conditions))
    for what, value, values, of_conditions in intervals:
        mean, scale, dof = _scale(values, of_conditions)
        limit = max(critical_value(LEVEL / len(intervals), dof), HEAVIEST)
        if abs(value - mean) > limit * scale + DIGITS * abs(mean):
            wrong.append(f"{what}: now {value:.6g}, seeds {mean:.6g} ± {limit * scale:.3g}")
    return Outcome([], compared, wrong)


def _scale(
    values: NDArray[np.float64], of_conditions: Sequence[NDArray[np.float64]]
) -> tuple[float, float, int]:
    """Mean of a condition's seeds, s √(1 + 1/n), and degrees of freedom of the pooled s."""
    pooled, dof = _pooled(of_conditions)
    n = len(values)
    std = max(pooled, float(values.std(ddof=1)) if n > 1 else 0.0)
    return float(values.mean()), std * math.sqrt(1 + 1 / n), dof


def _stored(row: Row, labels: Sequence[str]) -> list[str]:
    """Metrics that the row has; an empty list is one that was not measured then."""
    return [name for name in metric_names(row, labels) if row[name] != []]


def _numbers(name: str, value: Any) -> tuple[float, ...] | None:
    """A number; the mean of a list, of a curve also its last entry; None without any."""
    if isinstance(value, list):
        mean = (float(np.mean(value)),) if value else None
        return (*mean, float(value[-1])) if mean and name in CURVES else mean
    return None if value is None else (float(value),)


def _parts(name: str, value: Any) -> tuple[str, ...]:
    """What the entries of `_numbers` are."""
    if not isinstance(value, list):
        return (name,)
    return (f"mean of {name}", f"last {name}") if name in CURVES else (f"mean of {name}",)


def _pooled(groups: Sequence[NDArray[np.float64]]) -> tuple[float, int]:
    """Standard deviation within groups of at least two, with its degrees of freedom."""
    dof = sum(len(group) - 1 for group in groups)
    square = sum(float(((group - group.mean()) ** 2).sum()) for group in groups)
    return math.sqrt(square / dof), dof
