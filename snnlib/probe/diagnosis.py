r"""What ails a spiking network, and which call mends it.

`diagnose` runs a network once forward and once backward, measures every spiking layer, puts the
mean-field prediction beside it and says in one sentence per illness what is wrong.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from snnlib import _html
from snnlib._extras import require
from snnlib.dialects.running import Time, resolve_time
from snnlib.init.pairing import Connection, pair
from snnlib.meanfield import critical_gain
from snnlib.probe.capture import Entry, observe
from snnlib.probe.illnesses import Facts, Finding, findings
from snnlib.probe.prediction import (
    Prediction,
    bias_gain,
    driving,
    effective_gain,
    extinction,
    follows,
    predict,
)
from snnlib.probe.statistics import Gradients, Statistics, gradients, moments, statistics

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Diagnosis", "LayerDiagnosis", "diagnose"]

KEPT = 2**16  # neurons times samples of a layer that are kept to measure a covariance over time
WIDEST = 2048  # neurons up to which the extinction risk is computed; wider layers have less


@dataclass(frozen=True)
class LayerDiagnosis:
    """One spiking layer; every tensor is [step], float64, NaN where a value does not exist.

    Attributes:
        name: Qualified name of the module.
        width: Number of neurons.
        threshold: θ, the mean if neurons differ.
        leak: β likewise.
        reset: Name of the reset.
        gain: Gain λ²h²G of the weights in front of the layer, G = n·E[w²]; the largest if several
            drive it, None if none does.
        critical_gain: Gain below which the layer before cannot keep it active from step to step;
            None after data and behind a synapse, which sums spikes up.
        rate: Share of neurons that fire, over batch and layer.
        variance: Var[u].
        gradient_variance: Var[dL/du]; None if it was not asked for.
        predicted_rate: Firing probability at infinite width; None where nothing predicts it.
        predicted_variance: Var[u] likewise.
        rate_spread: Standard deviation of the rate over networks of this width, NaN if unknown.
        variance_spread: That of Var[u] likewise.
        never: Share of neurons that fire in no sample at no step.
        extinction: Probability, over weights drawn anew, that a sample leaves the layer silent at
            the first step; of layers wider than 2048 an upper bound; None if unknown.
        operations: Additions that spikes cause in the weights in front of the layer, per sample
            over all steps.
        multiplications: Multiplications that real values cause there likewise.
        note: Why a value is missing.
    """

    name: str
    width: int
    threshold: float
    leak: float
    reset: str
    gain: float | None
    critical_gain: float | None
    rate: Tensor
    variance: Tensor
    gradient_variance: Tensor | None
    predicted_rate: Tensor | None
    predicted_variance: Tensor | None
    rate_spread: Tensor | None
    variance_spread: Tensor | None
    never: float
    extinction: float | None
    operations: float
    multiplications: float
    note: str = ""


@dataclass(frozen=True, repr=False)
class Diagnosis:
    """What `diagnose` found. Prints as a table and sentences, renders as HTML, draws with `plot`.

    Attributes:
        layers: One row per spiking layer, in the order of execution.
        findings: One per illness, the most likely cause first; empty for a healthy network.
        statistics: All moments, [layer, step].
        samples: Size of the batch.
        notes: What could not be measured.
    """

    layers: tuple[LayerDiagnosis, ...]
    findings: tuple[Finding, ...]
    statistics: Statistics
    samples: int = 1
    notes: tuple[str, ...] = ()

    @property
    def healthy(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

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
        rows = _table(self)
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(
                [row[0].ljust(widths[0])]
                + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
            ).rstrip()
            for row in rows
        ]
        return "\n".join([*lines, "", self._cost(), *self.notes, "", *self._sentences()])

    def _repr_html_(self) -> str:
        head, *body = _table(self)
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
        return f"{said}{_html.table(head, body, caption)}{notes}"

    def plot(self) -> Figure:
        """Draw rate, Var[u] and gradient by layer, first and last step, with the prediction.

        Returns:
            A matplotlib figure.

        Raises:
            ImportError: If matplotlib is not installed.
        """
        from snnlib.probe.drawing import draw

        require("matplotlib", "book")
        return draw(self)

    def _steps(self) -> int:
        return self.statistics.rate.shape[1]

    def _cost(self) -> str:
        return (
            f"{self.operations:.4g} synaptic operations (additions) and "
            f"{self.multiplications:.4g} multiplications a sample in {self._steps()} steps"
        )

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


def diagnose(
    model: nn.Module,
    batch: Tensor | tuple[Any, ...],
    *,
    time: Time = "auto",
    loss: Callable[[Any], Tensor] | None = None,
    gradient: bool = True,
    networks: int = 8,
    seed: int = 0,
) -> Diagnosis:
    r"""Measure every spiking layer of a model, predict it, and say what is wrong.

    The prediction starts from the covariance over time of the currents of the first layer that
    weights drive, as measured, and follows the weights' gains G = n·E[w²] and biases from there:

    .. math:: C_{l+1}(s, t) = G\,E[x_s x_t] + \mathrm{Var}[b]

    at infinite width (`snnlib.meanfield.covariance_map`), with the spread over networks of this
    width from `snnlib.meanfield.network_law`. The model and torch's random state are as before.

    Args:
        model: Any module with spiking layers of `snnlib.neurons`, snnTorch, SpikingJelly or Norse.
        batch: Its input, [T, batch, features...], or a tuple of positional arguments.
        time: Who loops over time, see `snnlib.dialects.running.run`.
        loss: Scalar function of the model's output for the gradient; None weights the output with
            independent standard normal numbers.
        gradient: Whether to run the backward pass.
        networks: How many networks are drawn for the spread; 0 leaves it out.
        seed: Seed of all random numbers.

    Returns:
        A `Diagnosis`.

    Raises:
        ValueError: If no spiking layer runs, it is not clear who loops over time, or the loss is
            not a scalar.

    Source:
        The critical gain, the maps and the finite-width law are derived in the book.

    Example:
        Torch's default weights, G = 1/3, cannot keep a deep network of threshold 1 alive:

        >>> from snnlib.networks import mlp
        >>> seeded = torch.Generator().manual_seed(0)
        >>> network = mlp([100] * 8, init=None, generator=seeded)
        >>> found = diagnose(network, torch.randn(4, 8, 100, generator=seeded))
        >>> found.findings[0].kind, found.findings[0].layer
        ('dead', 'lif2')
    """
    network = getattr(model, "_orig_mod", model)
    time = resolve_time(network, batch, time)
    notes: list[str] = []
    if isinstance(batch, Tensor) and batch.dim() == 2:
        notes.append(
            f"The batch {tuple(batch.shape)} is read as {len(batch)} steps of one sample; "
            "a batch of static inputs needs batch.expand(T, *batch.shape)"
        )
    try:
        connections = pair(network, batch, time=time)
    except ValueError as error:
        connections = []
        notes.append(f"No prediction: {error}")
    taken = _Taken(connections)
    with torch.no_grad():
        entries = observe(network, batch, time=time, visit=taken)
    back = gradients(network, batch, loss, seed, time) if gradient else None
    found = statistics(entries, taken.rows, back.variance if back else None)
    widths = {entry.name: taken.width(entry) for entry in entries}
    generator = torch.Generator().manual_seed(seed)
    predictions: dict[str, Prediction] = {}
    missing: dict[str, str] = {}
    if connections and not taken.broken:
        rates = {e.name: float(r.nanmean()) for e, r in zip(entries, found.rate, strict=True)}
        changed = taken.changed(entries, rates)
        shifted = taken.shifted(entries)
        notes += [
            f"{name} is predicted from its measured currents, which are not what zero-mean weights "
            "make of the spikes before them (pooling, normalization or scaling between them?)"
            for name in changed
            if name not in shifted
        ]
        predictions, missing = predict(
            entries,
            connections,
            taken.covariances(changed),
            taken.pairs,
            taken.currents(),
            widths,
            changed=changed,
            shifted=shifted,
            networks=networks,
            generator=generator,
        )
    risks = _extinctions(entries, connections, widths, found)
    samples = taken.samples
    layers = tuple(
        _row(k, entry, found, predictions, missing, connections, widths, taken, risks, samples)
        for k, entry in enumerate(entries)
    )
    facts = [
        _facts(k, entry, row, connections, taken, back)
        for k, (entry, row) in enumerate(zip(entries, layers, strict=True))
    ]
    notes += [
        f"No prediction for {name}: {why}"
        for name, why in missing.items()
        if "data drive" not in why
    ]
    return Diagnosis(layers, tuple(findings(facts)), found, samples, tuple(notes))


class _Taken:
    """What is taken down of every layer while the model runs."""

    def __init__(self, connections: Sequence[Connection]) -> None:
        self.connections = connections
        self.rows: dict[str, list[Tensor]] = {}
        self.fired: dict[str, Tensor] = {}
        self.kept: dict[str, list[Tensor]] = {}
        self.spikes: dict[str, list[Tensor]] = {}
        self.charge: dict[str, list[float]] = {}  # count, sum, sum of squares, largest
        self.bad: dict[str, tuple[int, str]] = {}  # first step that is not finite, and where
        self.largest: dict[str, float] = {}
        self.potentials: dict[str, Tensor] = {}  # some of the last step
        self.weights: dict[str, list[Connection]] = {}
        self.samples = 1

    @property
    def broken(self) -> bool:
        return bool(self.bad)

    def __call__(
        self, entry: Entry, current: Tensor | None, membrane: Tensor | None, spikes: Tensor
    ) -> None:
        name = entry.name
        self.rows.setdefault(name, []).append(moments(membrane, spikes))
        self.samples = spikes.shape[1] if spikes.dim() > 1 else 1
        fired = (spikes != 0).flatten(0, 1).any(0) if spikes.dim() > 2 else (spikes != 0).any(0)
        self.fired[name] = self.fired.get(name, torch.zeros_like(fired)) | fired
        if current is not None:
            current = self._finite(entry, current, "current")
        if membrane is not None:
            size = self._finite(entry, membrane, "potential").abs()
            self.potentials[name] = membrane[-1].flatten()[:8192].double().cpu()
            if size.numel():
                self.largest[name] = max(self.largest.get(name, 0.0), float(size.max()))
        if name not in self.weights:
            self.weights[name] = driving(entry, self.connections)
        self._keep(self.spikes, name, spikes != 0)
        if current is None:
            return
        if bool((entry.spiking.input_gain != 1).any()) and current.shape == spikes.shape:
            current = current * entry.spiking.input_gain.to(current)
        count, total, squares, top = self.charge.get(name, [0.0, 0.0, 0.0, -math.inf])
        self.charge[name] = [
            count + current.numel(),
            total + float(current.sum(dtype=torch.float64)),
            squares + float(current.square().sum(dtype=torch.float64)),
            max(top, float(current.max())) if current.numel() else top,
        ]
        if self.weights[name] and current.shape == spikes.shape:
            self._keep(self.kept, name, current.float())

    def _finite(self, entry: Entry, values: Tensor, what: str) -> Tensor:
        """The finite values among these; all of them, in their shape, if nothing is wrong."""
        finite = torch.isfinite(values)
        if bool(finite.all()):
            return values
        step = entry.steps + int((~finite.flatten(1).all(1)).nonzero()[0])
        if entry.name not in self.bad or step < self.bad[entry.name][0]:
            self.bad[entry.name] = (step, what)
        return values[finite]

    @staticmethod
    def _keep(where: dict[str, list[Tensor]], name: str, values: Tensor) -> None:
        """Of a large layer the first samples, the same ones at every step."""
        values = values.flatten(2) if values.dim() > 2 else values[..., None]
        samples = max(1, KEPT // max(1, values.shape[2]))
        where.setdefault(name, []).append(values[:, :samples].cpu())

    def width(self, entry: Entry) -> int:
        return int(self.fired[entry.name].numel())

    def changed(self, entries: Sequence[Entry], rates: dict[str, float]) -> list[str]:
        """Layers whose currents are not what their weights make of the spikes they get.

        A normalization, pooling or scaling lies between, or weights have a mean; else E[(λi)²] is
        λ²h²G·rate + λ²E[b²], up to the chance of a finite layer.
        """
        found = []
        for entry in entries:
            weights = self.weights.get(entry.name, [])
            known = all(len(c.fed_by) == 1 and c.fed_by[0].name in rates for c in weights)
            count, _, squares, _ = self.charge.get(entry.name, [0.0] * 4)
            if not weights or not known or not count:
                continue
            expected = sum(
                (effective_gain(c, entry) or math.nan) * rates[c.fed_by[0].name]
                + bias_gain(c, entry)
                for c in weights
            )
            allowed = 0.25 + 4 * math.sqrt(2 / self.width(entry))
            if expected > 0 and abs(squares / count / expected - 1) > allowed:
                found.append(entry.name)
        return found

    def currents(self) -> dict[str, Tensor]:
        return {name: torch.cat(blocks) for name, blocks in self.kept.items()}

    def covariances(self, changed: Sequence[str]) -> dict[str, np.ndarray]:
        """Of layers after data and of changed ones."""
        return {
            name: _second(torch.cat(blocks))
            for name, blocks in self.kept.items()
            if name in changed or any(not c.fed_by for c in self.weights[name])
        }

    def pairs(self, name: str) -> np.ndarray:
        """E[x_s x_t] of a layer."""
        return _second(torch.cat(self.spikes[name]))

    def shifted(self, entries: Sequence[Entry]) -> list[str]:
        """Layers whose currents have a mean that theory of zero mean cannot take."""
        found = []
        for entry in entries:
            count, total, squares, _ = self.charge.get(entry.name, [0.0] * 4)
            if count and abs(total) / count > 0.3 * math.sqrt(squares / count):
                chance = 4 / math.sqrt(self.width(entry))
                if abs(total) / count > chance * math.sqrt(squares / count):
                    found.append(entry.name)
        return found


def _second(values: Tensor) -> np.ndarray:
    rows = values.flatten(1).double()
    return (rows @ rows.T / rows.shape[1]).numpy()


def _extinctions(
    entries: Sequence[Entry],
    connections: Sequence[Connection],
    widths: dict[str, int],
    found: Statistics,
) -> dict[str, float]:
    """Along the chain of fully connected layers from the first one on."""
    chain, gains, thresholds = [entries[0]], [], []
    for entry in entries[1:]:
        weights = driving(entry, connections)
        if len(weights) != 1 or not follows(weights[0], chain[-1], widths):
            break
        gain = effective_gain(weights[0], entry)
        threshold = float(entry.spiking.threshold.mean())
        summing = entry.spiking.synapse is not None
        if gain is None or summing or not threshold >= 0 or not math.isfinite(gain):
            break
        chain.append(entry)
        gains.append(gain)
        thresholds.append(threshold)
    first = float(found.rate[0, 0])
    if len(chain) < 2 or not 0 < first < 1:
        return {}
    sizes = [min(widths[entry.name], WIDEST) for entry in chain]
    risks = extinction(first, sizes, gains, thresholds)
    return dict(zip((entry.name for entry in chain), risks, strict=True))


def _row(
    index: int,
    entry: Entry,
    found: Statistics,
    predictions: dict[str, Prediction],
    missing: dict[str, str],
    connections: Sequence[Connection],
    widths: dict[str, int],
    taken: _Taken,
    risks: dict[str, float],
    samples: int,
) -> LayerDiagnosis:
    weights = driving(entry, connections)
    gains = [g for c in weights if (g := effective_gain(c, entry)) is not None]
    fed = [layer for c in weights for layer in c.fed_by]
    threshold = float(entry.spiking.threshold.mean())
    critical = None
    if fed and threshold >= 0 and entry.spiking.synapse is None:
        critical = float(critical_gain(threshold))
    spikes, reals = 0.0, 0.0
    for c in weights:
        cost = (c.active or 0) * _fan_out(c) / samples
        spikes, reals = (spikes + cost, reals) if c.fed_by else (spikes, reals + cost)
    guess = predictions.get(entry.name)

    def tensor(values: Any) -> Tensor:
        return torch.as_tensor(np.asarray(values), dtype=torch.float64)

    return LayerDiagnosis(
        entry.name,
        widths[entry.name],
        threshold,
        float(entry.spiking.leak.mean()),
        entry.spiking.reset,
        max(gains) if gains else None,
        critical,
        found.rate[index],
        found.variance[index],
        None if found.gradient_variance is None else found.gradient_variance[index],
        None if guess is None else tensor(guess.rate),
        None if guess is None else tensor(guess.variance),
        None if guess is None else tensor(guess.rate_spread),
        None if guess is None else tensor(guess.variance_spread),
        float((~taken.fired[entry.name]).double().mean()),
        risks.get(entry.name),
        spikes,
        reals,
        entry.why or missing.get(entry.name, ""),
    )


def _fan_out(connection: Connection) -> float:
    """Outputs that one nonzero input reaches."""
    weight = connection.weight
    outputs = weight.shape[0] / getattr(connection.module, "groups", 1)
    stride = getattr(connection.module, "stride", ())
    return outputs * math.prod(weight.shape[2:]) / math.prod(stride or (1,))


def _facts(
    index: int,
    entry: Entry,
    row: LayerDiagnosis,
    connections: Sequence[Connection],
    taken: _Taken,
    back: Gradients | None,
) -> Facts:
    weights = driving(entry, connections)
    count, total, squares, top = taken.charge.get(entry.name, [0.0, 0.0, 0.0, math.nan])
    mean = total / count if count else math.nan
    nan = math.nan
    gain = float(entry.spiking.input_gain.mean())
    return Facts(
        row=row,
        driven=bool(weights),
        by_data=any(not c.fed_by for c in weights),
        drive=mean,
        fluctuation=math.sqrt(max(squares / count - mean**2, 0.0)) if count else nan,
        largest_drive=top,
        largest=taken.largest.get(entry.name, nan),
        bad=taken.bad.get(entry.name),
        bad_weights=tuple(
            c.name for c in weights if not bool(torch.isfinite(c.parameter.detach()).all())
        ),
        weight_mean=gain
        * sum(
            c.fan_in * float(c.parameter.detach().double().mean()) * (c.mean or 0.0)
            for c in weights
        ),
        bias_mean=gain
        * sum(float(c.bias.detach().double().mean()) for c in weights if c.bias is not None),
        names=tuple(c.name for c in weights),
        square=float(back.square[index].sum()) if back else nan,
        slope=math.sqrt(float(back.slope[index])) if back else nan,
        fed_by=tuple(layer.name for c in weights for layer in c.fed_by),
        synapse=entry.spiking.synapse is not None,
        potentials=taken.potentials.get(entry.name, torch.zeros(0, dtype=torch.float64)),
        shape=_shape(entry),
        library=entry.spiking.library,
        feeds=any(entry.name == layer.name for c in connections for layer in c.fed_by),
    )


def _shape(entry: Entry) -> str:
    """Shape of our surrogate, else one that the other library has."""
    known = getattr(getattr(entry.module, "surrogate", None), "shape", None)
    return known or ("sigmoid" if entry.spiking.library == "norse" else "arctan")


def _table(found: Diagnosis) -> list[list[str]]:
    """Headings and cells; tensors are averaged over the steps that exist."""
    gradient = found.statistics.gradient_variance is not None
    head = ["layer", "neurons", "θ", "β", "gain", "rate", "predicted", "Var[u]", "predicted"]
    head += ["Var[dL/du]"] if gradient else []
    head += ["never fire", "extinct", "operations"]
    rows = [head]
    for layer in found.layers:
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


def _text(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.3g}"


def _mean(values: Tensor) -> str:
    return _text(float(values.nanmean()))


def _expected(values: Tensor | None, spread: Tensor | None) -> str:
    if values is None:
        return "–"
    wide = float(spread.nanmean()) if spread is not None else math.nan
    return _mean(values) + ("" if math.isnan(wide) else f" ± {wide:.1g}")
