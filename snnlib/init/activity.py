r"""Firing rates that a network's gains imply at the first step that the input reaches.

At that step nothing has leaked and no spike has been reset, so a layer driven by independent
zero-mean weights has

    Var[u] = λ² Σ G E[x²]      over the weights that drive it,      rate = P(u > θ) = Q(θ/√Var[u]),

with E[x²] of spikes the rate of the layer that sends them. Recurrent weights are silent then.
Methods that aim at a rate replace the second formula by their own number, and a normalization in
front of a layer by its own scale and shift (`behind_norm`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from snnlib.init.behind_norm import rate_behind
from snnlib.init.connection import Connection, Layer
from snnlib.init.flow import Moments, at_one_step
from snnlib.meanfield import firing_probability


def first_gain_squared(layer: Layer) -> float:
    """λ² of what reaches the potential at once; a fractional delay keeps a part back."""
    at_once = 1 - float(layer.spiking.delay) % 1
    return float(layer.spiking.input_gain.square().mean()) * at_once**2


class Drive(NamedTuple):
    """A weight as the prediction sees it.

    Attributes:
        connection: Its place in the network.
        gain: n·E[w²].
        rate: Firing rate that its method aims at in the driven layer; None if it names none.
        data_second_moment: E[x²] where real values feed it.
    """

    connection: Connection
    gain: float
    rate: float | None
    data_second_moment: float


class Activity:
    """Predicted rate of every spiking layer next to a weight.

    Args:
        drives: The weights.
    """

    def __init__(self, drives: Sequence[Drive]) -> None:
        self._afferents: dict[str, list[Drive]] = {}
        for drive in drives:
            for layer in drive.connection.drives:
                self._afferents.setdefault(layer.name, []).append(drive)
        self._variance: dict[str, float] = {}
        self._behind: dict[str, float | None] = {}
        self._why: dict[str, str] = {}

    def variance(self, layer: Layer) -> float:
        """Var[u]; 1 for a layer that no weight drives (standardized data)."""
        afferents = self._afferents.get(layer.name)
        if afferents is None:
            return 1.0
        if layer.name not in self._variance:
            self._variance[layer.name] = 0.0  # what it sends back to itself: nothing yet
            scale = first_gain_squared(layer)
            self._variance[layer.name] = scale * sum(
                drive.gain * self.second_moment(drive.connection, drive.data_second_moment)
                for drive in afferents
            )
        return self._variance[layer.name]

    def rate(self, layer: Layer) -> float:
        """Probability that a neuron of the layer fires, the mean over its neurons."""
        if (behind := self._behind_norm(layer)) is not None:
            return behind
        for drive in self._afferents.get(layer.name, ()):
            if drive.rate is not None:
                return drive.rate
        return self._power(layer, 0)

    def _behind_norm(self, layer: Layer) -> float | None:
        """Its rate if a normalization sets it, whatever the weights; NaN if nothing predicts it."""
        if layer.name not in self._behind:
            found, why = rate_behind(layer)
            if found is None and layer.intake is not None and not layer.intake.weighted_sum:
                found, why = math.nan, "its currents are not a weighted sum of spikes"
            self._behind[layer.name], self._why[layer.name] = found, why
        return self._behind[layer.name]

    def why(self, layer: Layer) -> str:
        """Why a layer's rate is NaN."""
        self._behind_norm(layer)
        unknown = bool((layer.threshold + layer.spiking.input_gain).isnan().any())
        own = "its threshold or input gain is not known" if unknown else ""
        return self._why[layer.name] or own or "a layer before it has none"

    def second_moment(self, connection: Connection, data: float) -> float:
        """E[x²] of what feeds a weight."""
        if not connection.fed_by:
            return data
        if connection.flow is not None and not connection.flow.plain:
            layers = {layer.module: layer for layer in connection.fed_by}
            found = connection.flow.moments(
                lambda origin: self._moments(layers[origin]) if origin in layers else None
            )
            measured = connection.second_moment
            return found[1].item() if found else math.nan if measured is None else measured
        return sum(self._second(layer) for layer in connection.fed_by) / len(connection.fed_by)

    def _moments(self, layer: Layer) -> Moments:
        """E[x] and E[x²] of what it sends."""
        second = self._second(layer)
        mean = second * float(layer.height.mean() / layer.height.square().mean())
        return at_one_step(mean, second)

    def _second(self, layer: Layer) -> float:
        if (behind := self._behind_norm(layer)) is not None:
            return behind * float(layer.height.square().mean())
        for drive in self._afferents.get(layer.name, ()):
            if drive.rate is not None:
                return drive.rate * float(layer.height.square().mean())
        return self._power(layer, 2)

    def _power(self, layer: Layer, order: int) -> float:
        """E[h^order · 1{u > θ}]."""
        variance = self.variance(layer)
        if not math.isfinite(variance) or bool(layer.threshold.isnan().any()):
            return math.nan
        probability = firing_probability(layer.threshold.numpy(), variance)
        return float((layer.height.numpy() ** order * probability).mean())
