"""Walk through a network at its first step: each layer's variance, and the gains that make it.

At that step recurrent weights are silent, and the variance of a layer's potential is the sum over
its weights of λ² G E[x²], with E[x²] of spikes of the variance of the layers that send them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from snnlib.init.connection import Connection, Layer
from snnlib.init.method import Arranged, driven_neuron
from snnlib.meanfield.population import Moments, Population, population
from snnlib.meanfield.steady_variance import check_balance, steady_root
from snnlib.surrogate import Surrogate


def network(gain: Callable[..., float]) -> Callable[..., list[Arranged]]:
    """`Method.network` of a method whose gain asks for the moments of what feeds a weight.

    Args:
        gain: The method's.

    Returns:
        The function.
    """

    def arrange(
        connections: Sequence[Connection],
        given: Sequence[Mapping[str, Any]],
        distributions: Sequence[str],
    ) -> list[Arranged]:
        walk, result = _Walk(gain, connections, given), []
        for index, connection in enumerate(connections):
            try:
                result.append(walk.arranged(index)[0])
            except ValueError as error:
                raise ValueError(f"{error} (weight of {connection.name!r})") from error
        return result

    return arrange


class _Walk:
    """The variance of every layer's potential, from the input on, and the gains that make it."""

    def __init__(
        self,
        gain: Callable[..., float],
        connections: Sequence[Connection],
        given: Sequence[Mapping[str, Any]],
    ) -> None:
        self.gain, self.connections, self.given = gain, connections, given
        self._found: dict[int, tuple[Arranged, float]] = {}
        self._variance: dict[str, float] = {}
        self._into: dict[str, list[int]] = {}
        for index, connection in enumerate(connections):
            for layer in connection.drives:
                self._into.setdefault(layer.name, []).append(index)

    def variance(self, layer: Layer) -> float:
        """Var[u] at the first step; 1 where no weight of these drives (standardized data)."""
        into = self._into.get(layer.name)
        if into is None:
            return 1.0
        if layer.name not in self._variance:
            self._variance[layer.name] = math.nan  # in progress: a loop back asks for it
            total = 0.0
            for index in into:
                connection = self.connections[index]
                if not connection.recurrent:  # silent at the first step
                    arranged, second = self.arranged(index)
                    scale = driven_neuron(connection).first_gain ** 2
                    total += scale * self.gain(**arranged.settings) * second
            self._variance[layer.name] = total or 1.0
        known = self._variance[layer.name]
        return 1.0 if math.isnan(known) else known

    def neurons(self, layer: Layer, given: Mapping[str, Any], balance: str) -> Population:
        """A layer with its surrogate, the user's before the module's own."""
        own = getattr(layer.module, "surrogate", None)
        surrogate = given.get("surrogate", own if isinstance(own, Surrogate) else None)
        try:
            check_balance(balance, surrogate)
        except ValueError as error:
            raise ValueError(f"{error} (layer {layer.name!r})") from error
        relative = getattr(layer.module, "threshold_gradient", "absolute") != "absolute"
        return population(layer.threshold, layer.height, surrogate, relative)

    def arranged(self, index: int) -> tuple[Arranged, float]:
        """Settings of `gain` for one weight, and E[x²] of its input."""
        if index not in self._found:
            self._found[index] = self._arrange(index)
        return self._found[index]

    def _arrange(self, index: int) -> tuple[Arranged, float]:
        connection, given = self.connections[index], self.given[index]
        neuron = driven_neuron(connection) if connection.drives else None
        scale = given.get("input_gain", 1.0 if neuron is None else neuron.first_gain)
        settings: dict[str, Any] = {
            "balance": given.get("balance", "forward"),
            "alpha": given.get("alpha", 1.0),
            "input_gain": scale,
        }
        notes: list[str] = []
        behind = self._behind_spikes if connection.fed_by else self._behind_data
        second = behind(connection, given, settings, notes)
        if connection.drives:
            variance = scale**2 * self.gain(**settings) * second
            notes.insert(0, f"Var[u] = {variance:.3g}")
            own = self.neurons(connection.drives[0], given, "forward")
            if variance > 0 and own.spread(variance) > 1:
                notes.append("too small to last: spikes die out in deeper layers")
        return Arranged(settings, "; ".join(notes)), second

    def _behind_spikes(
        self,
        connection: Connection,
        given: Mapping[str, Any],
        settings: dict[str, Any],
        notes: list[str],
    ) -> float:
        """E[x²]; adds the moments of the feeding layers to the settings."""
        balance, alpha = settings["balance"], settings["alpha"]
        parts = [
            self.neurons(layer, given, balance).moments(self.variance(layer))
            for layer in connection.fed_by
        ]
        moments = Moments(*(sum(values) / len(parts) for values in zip(*parts, strict=True)))
        fan_out = _reached(connection)
        settings |= {"fan_in": connection.fan_in, "fan_out": fan_out, "moments": moments}
        if balance == "backward":
            for layer in connection.fed_by:  # refuses what cannot last
                steady_root(self.neurons(layer, given, balance), balance, alpha)
        if not math.isnan(moments.slope):
            passed = settings["input_gain"] ** 2 * self.gain(**settings) * moments.slope
            notes.append(f"gradient × {passed * fan_out / connection.fan_in:.3g}")
        return moments.second

    def _behind_data(
        self,
        connection: Connection,
        given: Mapping[str, Any],
        settings: dict[str, Any],
        notes: list[str],
    ) -> float:
        """E[x²]; adds the driven layer to the settings, whose variance the weight sets."""
        measured = connection.second_moment
        second: float = given.get("input_second_moment", 1.0 if measured is None else measured)
        settings["input_second_moment"] = second
        if connection.drives:
            own = self.neurons(connection.drives[0], given, settings["balance"])
            settings |= {
                "surrogate": own.surrogate,
                "threshold": connection.drives[0].threshold,
                "height": connection.drives[0].height,
                "relative": own.relative,
            }
        return second


def _reached(connection: Connection) -> float:
    """Outputs that one input reaches."""
    weight, module = connection.weight, connection.module
    outputs = weight.shape[0] / getattr(module, "groups", 1)
    stride = getattr(module, "stride", ())
    return outputs * math.prod(weight.shape[2:]) / math.prod(stride or (1,))
