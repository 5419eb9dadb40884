"""A figure of a table of results: means over seeds with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from snnlib._extras import require
from snnlib.experiments.protocol import Protocol
from snnlib.experiments.results import Row, summarize

__all__ = ["plot"]


def plot(protocol: Protocol, table: Sequence[Row], path: str | Path | None = None) -> Any:
    """Draw test accuracy against the protocol's x, one line per series, one panel per panel label.

    Bars are 95 % Student-t intervals over seeds.

    Args:
        protocol: Says which label goes where.
        table: Rows, see `snnlib.experiments.results.read`.
        path: Where to save the figure; None does not.

    Returns:
        The matplotlib figure.

    Raises:
        ImportError: If matplotlib is missing.
    """
    pyplot = require("matplotlib.pyplot", "book")
    label = protocol.panels
    panels = [None] if label is None else _values(table, label)
    figure, axes = pyplot.subplots(
        1, len(panels), figsize=(4.2 * len(panels), 3.2), sharey=True, squeeze=False
    )
    for axis, panel in zip(axes[0], panels, strict=True):
        shown = [row for row in table if label is None or row[label] == panel]
        summaries = summarize(shown, [protocol.series, protocol.x])
        for series in _values(table, protocol.series):
            points = sorted((x, s) for (line, x), s in summaries.items() if line == series)
            axis.errorbar(
                [x for x, _ in points],
                [s.mean for _, s in points],
                [s.half_width for _, s in points],
                label=str(series),
                marker="o",
                capsize=3,
            )
        axis.set_xlabel(protocol.x)
        if all(isinstance(row[protocol.x], bool) for row in table):
            axis.set_xticks([0, 1], ["False", "True"])
        if label is not None:
            axis.set_title(f"{label}: {panel}")
    axes[0][0].set_ylabel("test accuracy")
    axes[0][-1].legend(title=protocol.series)
    figure.tight_layout()
    if path is not None:
        figure.savefig(path)
    return figure


def _values(table: Sequence[Row], label: str) -> list[Any]:
    """The values of a label in the order of the rows."""
    return list(dict.fromkeys(row[label] for row in table))
