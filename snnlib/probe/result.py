"""A diagnosis: its rows and findings, as text, as HTML and as a figure."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from snnlib import _html
from snnlib._extras import require
from snnlib.init.recommended import NAME, SYNAPTIC, Learning
from snnlib.probe.drawing import draw
from snnlib.probe.facts import Finding
from snnlib.probe.layer import LayerDiagnosis
from snnlib.probe.statistics import Statistics

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Diagnosis"]

RECOMMENDED = "snnlib.init.initialize_(model, example=batch)"
SCREEN = 24  # layers that are shown one by one


@dataclass(frozen=True, repr=False)
class Diagnosis:
    """What `diagnose` found. Prints as a table and sentences, renders as HTML, draws with `plot`.

    Attributes:
        layers: One row per spiking layer, in the order of execution.
        findings: One per illness, the most likely cause first; empty for a healthy network.
        statistics: All moments, [layer, step].
        samples: Size of the batch.
        notes: What could not be measured.
        learning: What reaches the weights; None if it was not asked for or no weight is known.
    """

    layers: tuple[LayerDiagnosis, ...]
    findings: tuple[Finding, ...]
    statistics: Statistics
    samples: int = 1
    notes: tuple[str, ...] = ()
    learning: Learning | None = None

    @property
    def verdict(self) -> str:
        """Whether the network can learn as it is, and what to do; empty if it was not asked."""
        if self.learning is None:
            return ""
        if self.learning.learns:
            return f"The network {self.learning.verdict}; its weights may stay."
        return f"The network {self.learning.verdict}: {RECOMMENDED} draws it anew{self._by()}."

    def _by(self) -> str:
        """The method that the recommended call draws by, if a finding names it too."""
        calls = "".join(finding.remedy for finding in self.findings)
        if f'"{SYNAPTIC}"' in calls:
            return f', by "{SYNAPTIC}" behind synapses'
        return f', by "{NAME}"' if f'"{NAME}"' in calls else ""

    @property
    def healthy(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    @property
    def alive(self) -> float:
        """Share of the steps at which the last layer has spikes: what a readout over all sees.

        1 if activity is there from the first step to the last, 0 for silence, and between them
        where it starts late, as each layer of neurons that add up starts after the one below.
        """
        rate = self.layers[-1].rate
        return float((rate > 0).double().mean())

    @property
    def operations(self) -> float:
        """Additions caused by spikes, per sample, in all weights between spiking layers."""
        return sum(layer.operations for layer in self.layers)

    @property
    def multiplications(self) -> float:
        """Multiplications caused by real values, per sample."""
        return sum(layer.multiplications for layer in self.layers)

    def __repr__(self) -> str:
        found = ", ".join(f"{f.kind} in {f.layer!r}" for f in self.findings) or "healthy"
        return f"Diagnosis({len(self.layers)} layers, {self._steps()} steps: {found})"

    def __str__(self) -> str:
        return self.text(full=len(self.layers) <= SCREEN)

    def text(self, *, full: bool = True) -> str:
        """The table and the sentences; of a deep network equal layers may share a row.

        Args:
            full: Whether every layer has a row of its own, as `print` shows up to 24 layers. Else
                layers in succession that are alike (threshold, leak, reset, size; rates within a
                factor of 1.5) are one, with their mean.

        Returns:
            The text.
        """
        rows = _table(self.layers) if full else _grouped(self.layers, self._blamed())
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(
                [row[0].ljust(widths[0])]
                + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
            ).rstrip()
            for row in rows
        ]
        verdict = [self.verdict] if self.verdict else []
        if not full:
            lines.append(f"{len(self.layers)} layers; all of them: print(diagnosis.text())")
        return "\n".join([*lines, "", self._cost(), *self.notes, "", *self._sentences(), *verdict])

    def _blamed(self) -> set[str]:
        return {finding.layer for finding in self.findings}

    def _repr_html_(self) -> str:
        head, *body = _table(self.layers)
        whole = ""
        if len(self.layers) > SCREEN:
            parts = _groups(self.layers, self._blamed())
            every = "".join(_folded(head, [body[k] for k in part]) for part in parts)
            whole = f"<details><summary>all {len(body)} layers</summary>{every}</details>"
            head, *body = _grouped(self.layers, self._blamed())
        notes = "".join(f"<p>{escape(text)}</p>" for text in (self._cost(), *self.notes))
        if self.findings:
            said = "".join(
                f"<li><strong>{escape(f.kind)}</strong>: {escape(f.sentence)}"
                f"<br><code>{escape(f.remedy)}</code></li>"
                for f in self.findings
            )
            said = f"<ol>{said}</ol>"
        else:
            said = f"<p>{escape(self._sentences()[0])}</p>"
        caption = (
            f"Spiking layers, means over {self._steps()} steps and {self.samples} samples; "
            "± is the spread over networks of this width"
        )
        verdict = f"<p>{escape(self.verdict)}</p>" if self.verdict else ""
        return f"{verdict}{said}{_html.table(head, body, caption)}{whole}{notes}"

    def plot(self) -> Figure:
        """Draw rate, Var[u] and gradient by layer, first and last step, with the prediction.

        Returns:
            A matplotlib figure.

        Raises:
            ImportError: If matplotlib is not installed.
        """
        require("matplotlib", "book")
        return draw(self.layers, self.findings)

    def _steps(self) -> int:
        return self.statistics.rate.shape[1]

    def _cost(self) -> str:
        steps = self._steps()
        some = f"; {self.layers[-1].name} has spikes at {round(self.alive * steps)} of them"
        return _html.readable(
            f"{self.operations:.4g} synaptic operations (additions) and "
            f"{self.multiplications:.4g} multiplications a sample in {steps} steps"
        ) + some * (0 < self.alive < 1)

    def _sentences(self) -> list[str]:
        if not self.findings:
            return ["Nothing wrong was found."]
        return [
            line
            for number, finding in enumerate(self.findings, start=1)
            for line in (
                f"{number}. {finding.kind}: {finding.sentence}",
                f"   → {finding.remedy}",
            )
        ]


def _table(layers: Sequence[LayerDiagnosis]) -> list[list[str]]:
    """Headings and cells; tensors are averaged over the steps that exist."""
    gradient = layers[0].gradient_variance is not None
    head = ["layer", "neurons", "θ", "β", "gain", "rate", "predicted", "Var[u]", "predicted"]
    head += ["Var[dL/du]"] if gradient else []
    head += ["never fire", "extinct", "operations"]
    rows = [head]
    for layer in layers:
        cells = [layer.name, str(layer.width), _text(layer.threshold), _text(layer.leak)]
        cells += [_text(layer.gain), _mean(layer.rate)]
        cells.append(_expected(layer.predicted_rate, layer.rate_spread))
        cells.append(_mean(layer.variance))
        cells.append(_expected(layer.predicted_variance, layer.variance_spread))
        if layer.gradient_variance is not None:
            cells.append(_mean(layer.gradient_variance))
        cells += [f"{layer.never:.1%}", _text(layer.extinction), _text(layer.operations)]
        rows.append(cells)
    return rows


def _folded(head: list[str], rows: list[list[str]]) -> str:
    """Rows of layers that are alike, folded under the names of the first and the last one."""
    table = _html.table(head, rows)
    if len(rows) == 1:
        return table
    name = escape(f"{rows[0][0]} ... {rows[-1][0]} ({len(rows)})")
    return f"<details><summary>{name}</summary>{table}</details>"


def _groups(layers: Sequence[LayerDiagnosis], blamed: Collection[str]) -> list[list[int]]:
    """Places of layers in succession that are alike and not blamed."""
    groups: list[list[int]] = []
    for k, layer in enumerate(layers):
        first = layers[groups[-1][0]] if groups else None
        apart = first is None or {layer.name, first.name} & set(blamed) or not _alike(first, layer)
        if apart:
            groups.append([])
        groups[-1].append(k)
    return groups


def _grouped(layers: Sequence[LayerDiagnosis], blamed: Collection[str]) -> list[list[str]]:
    """As `_table`, with one row for each group."""
    head, *rows = _table(layers)
    result = [head]
    for group in _groups(layers, blamed):
        if len(group) == 1:
            result.append(rows[group[0]])
            continue
        means = _table([_mean_of([layers[k] for k in group])])[1]
        result.append([f"{rows[group[0]][0]} ... {rows[group[-1]][0]} ({len(group)})", *means[1:]])
    return result


def _alike(one: LayerDiagnosis, two: LayerDiagnosis) -> bool:
    same = all(
        a == b or (a != a and b != b)
        for a, b in (
            (one.threshold, two.threshold),
            (one.leak, two.leak),
            (one.reset, two.reset),
            (one.width, two.width),
            (one.predicted_rate is None, two.predicted_rate is None),
            (one.gain is None, two.gain is None),
        )
    )
    low, high = sorted((float(one.rate.nanmean()), float(two.rate.nanmean())))
    return same and high <= 1.5 * low + 1e-3


def _mean_of(group: Sequence[LayerDiagnosis]) -> LayerDiagnosis:
    """The first of some layers with the means of all in place of its measurements."""

    def mean(name: str) -> Any:
        values = [getattr(layer, name) for layer in group]
        if any(value is None for value in values):
            return None
        if not isinstance(values[0], Tensor):
            return sum(values) / len(values)
        return torch.stack([value.nanmean() for value in values]).nanmean().reshape(1)

    names = (
        *("gain", "rate", "variance", "gradient_variance", "predicted_rate"),
        *("predicted_variance", "rate_spread", "variance_spread", "never", "extinction"),
        *("operations", "multiplications"),
    )
    return replace(group[0], **{name: mean(name) for name in names})


def _text(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else _html.readable(f"{value:.3g}")


def _mean(values: Tensor) -> str:
    return _text(float(values.nanmean()))


def _expected(values: Tensor | None, spread: Tensor | None) -> str:
    if values is None:
        return "–"
    wide = float(spread.nanmean()) if spread is not None else math.nan
    return _mean(values) + ("" if math.isnan(wide) else f" ± {_html.readable(f'{wide:.1g}')}")
