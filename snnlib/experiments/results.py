"""Rows of a table: written with their provenance, read back, and summarized with intervals."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from snnlib._significance import critical_value
from snnlib.experiments.protocol import Protocol
from snnlib.experiments.provenance import FIELDS, RULE, TEXTS
from snnlib.experiments.sealed import read_sealed, write_sealed
from snnlib.experiments.store import Store

__all__ = [
    "LISTS",
    "METRICS",
    "Summary",
    "cell",
    "metric_names",
    "read",
    "rows",
    "summarize",
    "write",
]

LISTS = (
    "train_accuracy",
    "train_loss",
    "held_out_accuracy",
    "held_out_loss",
    "initial_rates",
    "final_rates",
    "thresholds",
    "initial_membranes",
)
"""Metrics that are lists: one cell with blanks. A list under any other name gets brackets."""

METRICS = ("test_accuracy", "test_loss", *LISTS, "diverged")
"""Metrics in the order of columns; others follow."""

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

    def percent(self, digits: int = 0) -> str:
        """The mean of a share in percent, with its interval, which ends at 0 and 100.

        Example:
            >>> Summary(0.53, 0.1, 3, 0.09).percent(), Summary(0.386, 0.3, 3, 0.845).percent(1)
            ('53 ± 9', '38.6 (0 to 100)')
        """
        low, high = self.mean - self.half_width, self.mean + self.half_width
        mean = f"{100 * self.mean:.{digits}f}"
        if low < 0 or high > 1:
            return f"{mean} ({100 * max(low, 0):.0f} to {100 * min(high, 1):.0f})"
        return f"{mean} ± {100 * self.half_width:.{digits}f}"


def rows(protocol: Protocol, size: str, store: Store, *, table: Sequence[Row] = ()) -> list[Row]:
    """One row per condition and seed that is known: labels, seed, metrics, key, provenance.

    Args:
        protocol: The experiment.
        size: A name in `protocol.sizes`.
        store: Results of this machine.
        table: Rows from elsewhere, for runs that the store does not have; those of other settings
            than the protocol has now are left out.
    """
    elsewhere = {row["key"]: row for row in table}
    found = []
    for run in protocol.runs(size):
        condition = run.labels | {"seed": run.seed}
        content = store.load(run.key)
        if content is not None:
            origin = {name: content["provenance"].get(name) for name in FIELDS}
            if origin[RULE] is None:
                del origin[RULE]
            found.append(condition | content["metrics"] | {"key": run.key} | origin)
        elif run.key in elsewhere:
            row = elsewhere[run.key]
            found.append(condition | {k: v for k, v in row.items() if k not in condition})
    return found


def metric_names(row: Mapping[str, Any], labels: Iterable[str]) -> list[str]:
    """The columns of a row that a run measured, in the order of columns.

    Example:
        >>> metric_names({"a": 1, "seed": 0, "more": 2, "test_loss": 0.5, "key": "k"}, ["a"])
        ['test_loss', 'more']
    """
    measured = set(row) - {*labels, "seed", "key", *FIELDS}
    return [name for name in METRICS if name in measured] + sorted(measured - {*METRICS})


def write(path: str | Path, protocol: Protocol, table: Sequence[Row]) -> None:
    """Write rows as CSV, all at once, and their checksum into SHA256SUMS in the same folder.

    Args:
        path: The file; its folder is made.
        protocol: Tells the order of columns.
        table: Rows of `rows`.
    """
    together = {name: value for row in table for name, value in row.items()}
    metrics = metric_names(together, protocol.labels)
    origin = [name for name in FIELDS if name != RULE or together.get(RULE)]
    columns = [*protocol.labels, "seed", *metrics, "key", *origin]
    file = io.StringIO(newline="")
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([cell(name, row.get(name)) for name in columns] for row in table)
    write_sealed(path, file.getvalue())


def read(path: str | Path) -> list[Row]:
    """Rows of a file that `write` made, numbers as numbers and lists as lists.

    Raises:
        CorruptResult: If the file was cut off or changed, or has no checksum.
        ValueError: If it has no rows.
    """
    header, *lines = list(csv.reader(io.StringIO(read_sealed(path), newline=""))) or [[]]
    if not lines:
        raise ValueError(f"{path} has no rows")
    return [
        {name: _value(name, text) for name, text in zip(header, line, strict=True)}
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
        t = critical_value(1 - confidence, n - 1) if n > 1 else math.nan
        found[condition] = Summary(float(np.mean(values)), std, n, t * std / math.sqrt(n))
    return found


def cell(name: str, value: Any) -> str:
    """What a table holds of a value: six digits of a number.

    Example:
        >>> cell("train_loss", [1 / 3, 2]), cell("something", [1 / 3, 2]), cell("x", None)
        ('0.333333 2', '[0.333333 2]', '')
    """
    if isinstance(value, list):
        text = " ".join(cell(name, entry) for entry in value)
        return text if name in LISTS else f"[{text}]"
    if isinstance(value, float):
        return f"{value:.6g}"
    return "" if value is None else str(value)


def _value(name: str, text: str) -> Any:
    if name in LISTS or (text.startswith("[") and text.endswith("]")):
        return [float(entry) for entry in text.strip("[]").split()]
    if name in ("key", "diverged", *TEXTS):
        return text
    if text in ("True", "False"):
        return text == "True"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text or None
