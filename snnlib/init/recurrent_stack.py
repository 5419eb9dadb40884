"""Walk through a stack of recurrent layers, from the lowest layer up.

Each layer has one recurrent and one input weight; `recurrent_layer.solve` finds the laws of both,
in view of what the layer below lets pass of the gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from snnlib.init.connection import Connection, Layer
from snnlib.init.method import Arranged
from snnlib.init.recurrent_layer import Passed, Place, Rule, solve
from snnlib.surrogate import Surrogate


def network(rule: Rule) -> Callable[..., list[Arranged]]:
    """`Method.network` of a method that sets recurrent layers by a rule.

    Args:
        rule: Of one layer.

    Returns:
        The function.
    """

    def arrange(
        connections: Sequence[Connection],
        given: Sequence[Mapping[str, Any]],
        distributions: Sequence[str],
    ) -> list[Arranged]:
        return _Walk(rule, connections, given, distributions).arranged()

    return arrange


class _Walk:
    """Laws of all weights and the surrogates of all layers; a layer is solved after its feeder."""

    def __init__(
        self,
        rule: Rule,
        connections: Sequence[Connection],
        given: Sequence[Mapping[str, Any]],
        distributions: Sequence[str],
    ) -> None:
        self.rule, self.connections = rule, connections
        self.given, self.distributions = given, distributions
        self.into: dict[str, list[int]] = {}
        for index, connection in enumerate(connections):
            for layer in connection.drives:
                self.into.setdefault(layer.name, []).append(index)
        self.done: dict[str, Passed] = {}
        self.found: dict[int, Arranged] = {}

    def arranged(self) -> list[Arranged]:
        for name in self.into:
            self.solve(name, ())
        return [self.found[index] for index in range(len(self.connections))]

    def solve(self, name: str, above: tuple[str, ...]) -> Passed:
        """What a layer lets pass, with the laws of its weights noted."""
        if name in self.done:
            return self.done[name]
        if name in above:
            raise ValueError(
                f"{self.rule.name} knows stacks of layers; {name!r} feeds a layer below it"
            )
        recurrent, forward = self.pair(name)
        own, into = self.connections[recurrent], self.connections[forward]
        below: Passed | None = None
        if into.fed_by:
            if len(into.fed_by) > 1:
                raise ValueError(f"{self.rule.name}: several spiking layers feed {into.name!r}")
            feeder = into.fed_by[0]
            inside = feeder.name in self.into
            below = self.solve(feeder.name, (*above, name)) if inside else _outside(feeder)
        given = _options(self.given[recurrent], self.given[forward])
        laws = (self.distributions[recurrent], self.distributions[forward])
        try:
            solved = solve(self.rule, Place(own, into, below, laws), given)
        except ValueError as error:
            raise ValueError(f"{error} (layer {name!r})") from error
        self.found[recurrent], self.found[forward], self.done[name] = solved
        return self.done[name]

    def pair(self, name: str) -> tuple[int, int]:
        """The recurrent and the input weight of a layer."""
        recurrent = [i for i in self.into[name] if self.connections[i].recurrent]
        forward = [i for i in self.into[name] if not self.connections[i].recurrent]
        if len(recurrent) != 1 or len(forward) != 1:
            raise ValueError(
                f"{self.rule.name} needs one recurrent and one input weight that drive {name!r}, "
                f"got {len(recurrent)} and {len(forward)}{self._left_out()}"
            )
        if any(len(self.connections[i].drives) > 1 for i in (*recurrent, *forward)):
            raise ValueError(f"{self.rule.name}: a weight of {name!r} drives another layer, too")
        return recurrent[0], forward[0]

    def _left_out(self) -> str:
        """The argument that leaves layers without recurrent weights as they are."""
        found = [
            self.connections[index].name
            for own in self.into.values()
            if not any(self.connections[index].recurrent for index in own)
            for index in own
        ]
        entries = ", ".join(f'"{name}": None' for name in dict.fromkeys(found))
        return f"; leave layers without recurrent weights to others by layers={{{entries}}}"


def _outside(layer: Layer) -> Passed:
    """A layer that keeps its surrogate; its second moment is at most γ²."""
    surrogate = getattr(layer.module, "surrogate", None)
    if not isinstance(surrogate, Surrogate):
        return Passed(None, None)
    return Passed(surrogate.dampening, surrogate.dampening**2)


def _options(own: Mapping[str, Any], into: Mapping[str, Any]) -> dict[str, Any]:
    for key in own.keys() & into.keys():
        if own[key] != into[key]:
            raise ValueError(
                f"layers: {key} must be the same for the weights of one layer, got {own[key]!r} "
                f"and {into[key]!r}"
            )
    return {**into, **own}


def mean(**settings: Any) -> float:
    """`Method.mean`: of the weights as arranged."""
    return float(settings["weight_mean"])


def rate(connection: Connection, settings: dict[str, Any]) -> float | None:
    """`Method.rate`: condition I is the only one that moves the mean of the weights."""
    return 0.5 if connection.recurrent and settings["weight_mean"] else None


def finish_(connection: Connection) -> None:
    """`Method.finish_`: no neuron is connected to itself."""
    if connection.recurrent:
        connection.parameter.fill_diagonal_(0.0)
