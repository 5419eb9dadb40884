"""What is taken down of every layer while a model runs: sums, extremes, some values."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from snnlib._progress import stage
from snnlib.init.pairing import Connection
from snnlib.probe.capture import Entry
from snnlib.probe.driving import bias_gain, driving, number, weight_gain
from snnlib.probe.moments import moments
from snnlib.probe.prediction import Seen

__all__ = ["Tally"]

KEPT = 2**16  # neurons times samples of a layer that are kept to measure a covariance over time


class Tally:
    """What is taken down of every layer while the model runs; a `Visit` of `observe`.

    Args:
        connections: What `pair` found.
    """

    def __init__(self, connections: Sequence[Connection]) -> None:
        self.connections = connections
        self.rows: dict[str, list[Tensor]] = {}
        self.fired: dict[str, Tensor] = {}
        self.kept: dict[str, list[Tensor]] = {}
        self.fed: dict[str, list[Tensor]] = {}  # where λ is not known, or own weights add to it
        self.shapes: dict[str, torch.Size] = {}
        self.spikes: dict[str, list[Tensor]] = {}
        self.charge: dict[str, list[float]] = {}  # count, sum, sum of squares, largest
        self.bad: dict[str, tuple[int, str]] = {}  # first step that is not finite, and where
        self.largest: dict[str, float] = {}
        self.potentials: dict[str, Tensor] = {}  # some of the last step
        self.weights: dict[str, list[Connection]] = {}
        self.samples = 1
        self.single = False

    @property
    def broken(self) -> bool:
        """Whether a value was not finite."""
        return bool(self.bad)

    def __call__(
        self, entry: Entry, current: Tensor | None, membrane: Tensor | None, spikes: Tensor
    ) -> None:
        """Take down a block of steps of one layer."""
        name = entry.name
        stage(f"the forward pass: layer {name} of the network, step {entry.steps}")
        self.rows.setdefault(name, []).append(moments(membrane, spikes))
        self.samples = spikes.shape[1] if spikes.dim() > 1 else 1
        self.single = spikes.dim() == 2  # steps and neurons, without an axis for samples
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
        self.shapes[name] = spikes.shape[2:]
        own = entry.spiking.recurrent or number(entry.spiking.input_gain) is None
        raw = entry.fed if entry.spiking.recurrent else current
        if own and raw is not None and raw.shape == spikes.shape:
            self._keep(self.fed, name, raw.detach().float())
        if current is None or bool(entry.spiking.input_gain.isnan().any()):
            return  # λ is not known
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
        """Number of neurons."""
        return int(self.fired[entry.name].numel())

    def changed(self, entries: Sequence[Entry]) -> list[str]:
        """Layers whose currents are not what their weights make of what they get.

        Something lies between, or weights have a mean; else E[(λi)²] is λ² Σ (G·E[x²] + E[b²]), up
        to the chance of a finite layer.
        """
        found = []
        for entry in entries:
            weights = self.weights.get(entry.name, [])
            if entry.spiking.recurrent and entry.spiking.library == "snnlib":
                weights = [c for c in weights if not c.recurrent]  # these show their input alone
            fed = [c.second_moment for c in weights if c.fed_by]
            count, _, squares, _ = self.charge.get(entry.name, [0.0] * 4)
            if not weights or not count or len(fed) < len(weights):
                continue
            gain = number(entry.spiking.input_gain)
            expected = sum(
                (math.nan if gain is None else gain**2) * weight_gain(c) * (c.second_moment or 0.0)
                + bias_gain(c, entry)
                for c in weights
            )
            allowed = 0.25 + 4 * math.sqrt(2 / self.width(entry))
            if expected > 0 and abs(squares / count / expected - 1) > allowed:
                found.append(entry.name)
        return found + [name for name in self.shifted(entries) if name not in found]

    def seen(self, entry: Entry) -> Seen:
        """What was measured of a layer, of large ones a part."""
        kept = self.kept.get(entry.name)
        images = [c.weight for c in self.weights[entry.name] if c.parameter.dim() > 2]
        raw = self.fed.get(entry.name)
        if kept is not None and raw is None:
            raw = [block / float(entry.spiking.input_gain.mean()) for block in kept]
        return Seen(
            None if kept is None else torch.cat(kept),
            torch.cat(self.spikes[entry.name]),
            images[0].shape[0] if images else 0,
            None if raw is None else torch.cat(raw),
            tuple(self.shapes[entry.name]),
        )

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
