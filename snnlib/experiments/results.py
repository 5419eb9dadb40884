"""Rows of a table: written with their provenance, read back, and summarized with intervals."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import special

from snnlib.experiments.protocol import Protocol
from snnlib.experiments.provenance import FIELDS
from snnlib.experiments.store import Store

__all__ = ["Summary", "read", "rows", "summarize", "write"]

LISTS = ("train_accuracy", "train_loss", "thresholds", "initial_membranes")
METRICS = ("test_accuracy", "test_loss", *LISTS, "diverged")

Row = dict[str, Any]


class Summary(NamedTuple):
    """What several seeds of one condition say.

    Attributes:
        mean: Mean over seeds.
        std: Standard deviation over seeds (n - 1); NaN for one seed.
        seeds: Number of seeds.
        half_width: Half the Student-t confidence interval of the mean; NaN for one seed.
    """

    mean: float
    std: float
    seeds: int
    half_width: float


def rows(protocol: Protocol, size: str, store: Store) -> list[Row]:
    """One row per condition and seed that is stored: labels, seed, metrics, provenance, key."""
    table = []
    for run in protocol.runs(size):
        content = store.load(run.key)
        if content is None:
            continue
        origin = {name: content["provenance"][name] for name in FIELDS}
        table.append(
            run.labels | {"seed": run.seed} | content["metrics"] | {"key": run.key} | origin
        )
    return table


def write(path: str | Path, protocol: Protocol, table: Sequence[Row]) -> None:
    """Write rows as CSV, all at once; a list of numbers is one cell with blanks.

    Args:
        path: The file; its folder is made.
        protocol: Tells the order of columns.
        table: Rows of `rows`.
    """
    columns = [*protocol.labels, "seed", *METRICS, "key", *FIELDS]
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part")
    with temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([_cell(row[name]) for name in columns] for row in table)
    os.replace(temporary, path)


def read(path: str | Path) -> list[Row]:
    """Rows of a file that `write` made, numbers as numbers and lists as lists.

    Raises:
        ValueError: If the file has no rows, or a row another number of cells than the header.
    """
    with Path(path).open(newline="", encoding="utf-8") as file:
        header, *lines = list(csv.reader(file)) or [[]]
    if not lines:
        raise ValueError(f"{path} has no rows")
    for number, line in enumerate(lines, start=2):
        if len(line) != len(header):
            raise ValueError(
                f"{path}, line {number}: {len(line)} cells under a header of {len(header)}"
            )
    return [
        {name: _value(name, cell) for name, cell in zip(header, line, strict=True)}
        for line in lines
    ]


def summarize(
    table: Iterable[Mapping[str, Any]],
    by: Sequence[str],
    *,
    value: str = "test_accuracy",
    confidence: float = 0.95,
) -> dict[tuple[Any, ...], Summary]:
    r"""Mean over seeds with its Student-t interval, for each condition.

    .. math:: \bar x \pm t_{n-1}\, s / \sqrt n

    Args:
        table: Rows.
        by: Labels that make a condition.
        value: The column that is averaged.
        confidence: Of the interval, in (0, 1).

    Returns:
        A summary for each combination of labels, in the order of the rows.

    Raises:
        ValueError: If the confidence is not in (0, 1).

    Example:
        >>> table = [{"a": 1, "x": x} for x in (0.2, 0.4, 0.6)]
        >>> summary = summarize(table, ["a"], value="x")[1,]
        >>> abs(summary.mean - 0.4) < 1e-12, abs(summary.std - 0.2) < 1e-12
        (True, True)
        >>> round(summary.half_width, 4)  # t with 2 degrees of freedom: 4.3027
        0.4968
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be in (0, 1), got {confidence!r}")
    groups: dict[tuple[Any, ...], list[float]] = {}
    for row in table:
        groups.setdefault(tuple(row[name] for name in by), []).append(float(row[value]))
    found = {}
    for condition, values in groups.items():
        n = len(values)
        std = float(np.std(values, ddof=1)) if n > 1 else math.nan
        t = float(special.stdtrit(n - 1, (1 + confidence) / 2)) if n > 1 else math.nan
        found[condition] = Summary(float(np.mean(values)), std, n, t * std / math.sqrt(n))
    return found


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(_cell(entry) for entry in value)
    if isinstance(value, float):
        return f"{value:.6g}"
    return "" if value is None else str(value)


def _value(name: str, cell: str) -> Any:
    if name in LISTS:
        return [float(entry) for entry in cell.split()]
    if name in ("key", "diverged", *FIELDS[:4]):
        return cell
    if cell in ("True", "False"):
        return cell == "True"
    for kind in (int, float):
        try:
            return kind(cell)
        except ValueError:
            continue
    return cell or None
