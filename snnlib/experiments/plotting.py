"""Figures of a table of results: means over seeds with their intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from snnlib._extras import require
from snnlib._significance import critical_value
from snnlib.experiments.protocol import Protocol
from snnlib.experiments.results import Row, summarize
from snnlib.page import figures

__all__ = ["curves", "plot", "styles"]

MARKERS = "os^Dv<>Pp"
LINES = ("-", "--", "-.")
CONFIDENCE = 0.95


def plot(protocol: Protocol, table: Sequence[Row], path: str | Path | None = None) -> Any:
    """Draw a table: one line per series, one panel per panel label.

    If the protocol's x is "epoch", training accuracy and loss over epochs, one row of panels each,
    with the test accuracy in the legend; else test accuracy against the label x. Bands and bars
    are 95 % Student-t intervals over seeds.

    Args:
        protocol: Says which label goes where.
        table: Rows, see `snnlib.experiments.results.read`.
        path: Where to save the figure; None does not. SVG gets a description.

    Returns:
        The matplotlib figure.

    Raises:
        ImportError: If matplotlib is missing.
    """
    figure = (_over_epochs if protocol.x == "epoch" else _over_label)(protocol, table)
    if path is not None and Path(path).suffix == ".svg":
        figures.save(figure, path, title=f"{protocol.question} ({protocol.source})")
    elif path is not None:
        figure.savefig(path)
    return figure


def styles(values: Sequence[Any]) -> dict[Any, dict[str, Any]]:
    """Colour, line and marker of each series: no two are alike, and no colour is light.

    Seven colours that all readers tell apart on a light ground, and, lightness turned over, on a
    dark one; markers and lines tell apart those that have to share one.

    Args:
        values: The series, in their order.

    Example:
        >>> found = [tuple(style.values()) for style in styles(range(9)).values()]
        >>> len(set(found)), len({style[2] for style in found})
        (9, 9)
    """
    colors = list(figures.COLORS.values())
    return {
        value: {
            "color": colors[k % len(colors)],
            "linestyle": LINES[k // len(colors) % len(LINES)],
            "marker": MARKERS[k % len(MARKERS)],
        }
        for k, value in enumerate(values)
    }


def curves(
    table: Sequence[Row], metric: str, *, confidence: float = CONFIDENCE
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    r"""Mean over seeds of a list, epoch by epoch, and half of its Student-t interval.

    A run that ended early counts as long as it ran; an epoch that one seed alone reached has no
    interval (NaN).

    Args:
        table: Rows of one condition.
        metric: A column of lists.
        confidence: Of the interval.

    Returns:
        Mean [epochs] and half width [epochs].

    Example:
        >>> mean, half = curves([{"x": [1.0, 2.0]}, {"x": [3.0]}], "x")
        >>> mean.tolist(), half.round(3).tolist()  # t of one degree of freedom at 0.975
        ([2.0, 2.0], [12.706, nan])
    """
    lists = [row[metric] for row in table]
    length = max((len(values) for values in lists), default=0)
    mean, half = np.full(length, math.nan), np.full(length, math.nan)
    for epoch in range(length):
        values = [series[epoch] for series in lists if len(series) > epoch]
        n = len(values)
        mean[epoch] = np.mean(values)
        if n > 1:
            t = critical_value(1 - confidence, n - 1)
            half[epoch] = t * np.std(values, ddof=1) / math.sqrt(n)
    return mean, half


def _over_epochs(protocol: Protocol, table: Sequence[Row]) -> Any:
    metrics = {"train_accuracy": "training accuracy", "train_loss": "training loss"}
    figure, axes, panels = _panels(protocol, table, rows=len(metrics))
    looks = styles(_values(table, protocol.series))
    for column, (panel, shown) in enumerate(panels):
        final = summarize(shown, [protocol.series])
        for row, (metric, words) in enumerate(metrics.items()):
            axis = axes[row][column]
            for k, (series, look) in enumerate(looks.items()):
                mean, half = curves(
                    [entry for entry in shown if entry[protocol.series] == series], metric
                )
                if not len(mean):
                    continue
                epochs = np.arange(1, len(mean) + 1)
                every = max(1, len(mean) // 5)
                label = f"{series} ({final[series,].mean:.0%})" if row == 0 else None
                axis.plot(
                    epochs, mean, label=label, markevery=(k % every, every), markersize=4, **look
                )
                axis.fill_between(
                    epochs,
                    mean - half,
                    mean + half,
                    color=look["color"],
                    alpha=figures.BAND_ALPHA / 2,
                    linewidth=0,
                )
            axis.set_ylabel(words if column == 0 else "")
        axes[0][column].set_ylim(0, 1)
        # a loss that explodes leaves the frame, not the others at its bottom
        losses = [value for entry in shown for value in entry["train_loss"]]
        if losses:
            axes[1][column].set_ylim(0, 1.1 * float(np.quantile(losses, 0.98)))
        if panel is not None:
            axes[0][column].set_title(f"{protocol.panels}: {panel}")
        axes[-1][column].set_xlabel("epoch")
    _legend(figure, axes, f"{protocol.series} (test accuracy)", separate=len(panels) > 1)
    return figure


def _over_label(protocol: Protocol, table: Sequence[Row]) -> Any:
    figure, axes, panels = _panels(protocol, table)
    looks = styles(_values(table, protocol.series))
    for axis, (panel, shown) in zip(axes[0], panels, strict=True):
        summaries = summarize(shown, [protocol.series, protocol.x])
        xs = _values(shown, protocol.x)
        numbers = all(isinstance(x, int | float) and not isinstance(x, bool) for x in xs)
        places = {x: float(x) if numbers else float(k) for k, x in enumerate(xs)}
        for series, look in looks.items():
            points = sorted((places[x], s) for (line, x), s in summaries.items() if line == series)
            axis.errorbar(
                [x for x, _ in points],
                [s.mean for _, s in points],
                [s.half_width for _, s in points],
                label=str(series),
                capsize=3,
                markersize=5,
                **look,
            )
        if numbers and min(places.values()) > 0 and max(xs) >= 30 * min(xs):
            axis.set_xscale("log")
        if not numbers:
            axis.set_xticks(list(places.values()), [str(x) for x in xs])
        axis.set_xlabel(protocol.x)
        if panel is not None:
            axis.set_title(f"{protocol.panels}: {panel}")
    axes[0][0].set_ylabel("test accuracy")
    _legend(figure, axes, protocol.series, separate=len(panels) > 1)
    return figure


def _panels(
    protocol: Protocol, table: Sequence[Row], *, rows: int = 1
) -> tuple[Any, Any, list[tuple[Any, list[Row]]]]:
    """A figure, its axes [rows][panels], and the label and rows of every panel."""
    label = protocol.panels
    values = [None] if label is None else _values(table, label)
    panels = [(v, [row for row in table if label is None or row[label] == v]) for v in values]
    figure, axes = require("matplotlib.pyplot", "book").subplots(
        rows,
        len(panels),
        figsize=(3.6 * len(panels) + 2, 2.9 * rows + 0.4),
        sharey="row",
        squeeze=False,
        layout="constrained",
    )
    for axis in axes.flat:
        axis.grid(alpha=0.4, linewidth=0.6)
    return figure, axes, panels


def _legend(figure: Any, axes: Any, title: str, *, separate: bool) -> None:
    """Beside the panels; one for each where it holds numbers that differ."""
    lines, names = axes[0][0].get_legend_handles_labels()
    if separate and any(axis.get_legend_handles_labels()[1] != names for axis in axes[0]):
        for axis in axes[0]:
            axis.legend(title=title, fontsize="x-small")
    else:
        figure.legend(lines, names, title=title, loc="outside right upper")


def _values(table: Sequence[Row], label: str) -> list[Any]:
    """The values of a label in the order of the rows."""
    return list(dict.fromkeys(row[label] for row in table))
