r"""Firing rates that a network's gains imply at the first step that the input reaches.

At that step nothing has leaked and no spike has been reset, so a layer driven by independent
zero-mean weights has

    Var[u] = λ² Σ G E[x²]      over the weights that drive it,      rate = P(u > θ) = Q(θ/√Var[u]),

with E[x²] of spikes the rate of the layer that sends them. Recurrent weights are silent then.
Methods that aim at a rate replace the second formula by their own number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from snnlib.init.connection import Connection, Layer
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
        for drive in self._afferents.get(layer.name, ()):
            if drive.rate is not None:
                return drive.rate
        return self._power(layer, 0)

    def second_moment(self, connection: Connection, data: float) -> float:
        """E[x²] of what feeds a weight."""
        if not connection.fed_by:
            return data
        return sum(self._second(layer) for layer in connection.fed_by) / len(connection.fed_by)

    def _second(self, layer: Layer) -> float:
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
