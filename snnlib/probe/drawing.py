"""The figure of a diagnosis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from snnlib._extras import require
from snnlib.probe.facts import Finding
from snnlib.probe.layer import LayerDiagnosis

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLUE, VERMILION, BLACK = "#0072b2", "#d55e00", "#222222"


def draw(layers: Sequence[LayerDiagnosis], findings: Sequence[Finding]) -> Figure:
    """Rate, Var[u] and gradient by layer, at the first and the last step.

    Args:
        layers: The rows of a diagnosis.
        findings: What it found; the first one is marked.

    Returns:
        A figure; points are measured, lines predicted at infinite width, bands two standard
        deviations over networks of this width.
    """
    figures: Any = require("matplotlib.figure", "book")
    steps = len(layers[0].rate)
    panels = ["rate", "variance"]
    if layers[0].gradient_variance is not None:
        panels.append("gradient_variance")
    figure = figures.Figure(figsize=(4.2 * len(panels), 3.6), layout="constrained")
    titles = {"rate": "firing rate", "variance": "Var[u]", "gradient_variance": "Var[dL/du]"}
    places = np.arange(1, len(layers) + 1)
    for panel, axes in zip(panels, np.atleast_1d(figure.subplots(1, len(panels))), strict=True):
        for step, colour, marker in ((0, BLUE, "o"), (steps - 1, VERMILION, "s")):
            measured = _at(layers, panel, step)
            axes.plot(places, measured, marker, color=colour, ms=4, label=f"step {step}, measured")
            if panel != "gradient_variance":
                expected = _at(layers, f"predicted_{panel}", step)
                spread = np.nan_to_num(_at(layers, f"{panel}_spread", step))
                if np.isfinite(expected).any():
                    axes.plot(places, expected, color=colour, label=f"step {step}, predicted")
                    axes.fill_between(
                        places,
                        np.maximum(expected - 2 * spread, 0),
                        expected + 2 * spread,
                        color=colour,
                        alpha=0.2,
                        lw=0,
                        label=f"step {step}, ± 2 spreads" if spread.any() else None,
                    )
            if steps == 1:
                break
        for finding in findings[:1]:
            names = [layer.name for layer in layers]
            if panel == "rate" and finding.layer in names:
                place = names.index(finding.layer) + 1
                axes.axvline(place, color=BLACK, ls=":", lw=1)
                axes.annotate(
                    finding.kind,
                    (place, 1),
                    xycoords=("data", "axes fraction"),
                    xytext=(3, -12),
                    textcoords="offset points",
                )
        if panel == "gradient_variance" and np.nanmax(_at(layers, panel, 0), initial=0) > 0:
            axes.set_yscale("log")
        axes.set_xlabel("layer")
        axes.set_ylabel(titles[panel])
        axes.set_xticks(places if len(places) <= 12 else places[:: len(places) // 8 + 1])
        if panel == "rate":
            handles, labels = axes.get_legend_handles_labels()
            figure.legend(handles, labels, loc="outside lower center", ncols=2 * len(panels))
    return figure


def _at(layers: Sequence[LayerDiagnosis], name: str, step: int) -> np.ndarray:
    values = []
    for layer in layers:
        value: Tensor | None = getattr(layer, name)
        values.append(np.nan if value is None else float(value[min(step, len(value) - 1)]))
    return np.array(values)
