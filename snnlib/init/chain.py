"""A network as a chain of layers, for methods that look at all of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from snnlib.init.connection import Connection
from snnlib.init.method import Neuron
from snnlib.resets import RULES, Reset

__all__ = ["chain_of", "one", "shared"]


def chain_of(connections: Sequence[Connection]) -> list[Connection]:
    """The weights from the input on.

    Raises:
        ValueError: If they are no chain: what adds up where is not known of other networks.
    """
    why = "'balanced' needs a chain of layers, each driven by one weight and fed by the one before"
    for own in connections:
        if own.recurrent or len(own.fed_by) > 1 or len(own.drives) != 1 or len(own.afferents) != 1:
            what = "is recurrent" if own.recurrent else "is one of several into or out of a layer"
            raise ValueError(
                f"module: {why}, and {own.name!r} {what}; 'lsuv' measures what adds up there"
            )
    after = {own.fed_by[0].name: own for own in connections if own.fed_by}
    driven = {own.drives[0].name for own in connections}
    starts = [c for c in connections if not c.fed_by or c.fed_by[0].name not in driven]
    if len(starts) != 1:
        raise ValueError(f"module: {why}, and {len(starts)} weights are fed by none of the others")
    chain = starts
    while (following := after.get(chain[-1].drives[0].name)) is not None:
        chain.append(following)
    if len(chain) != len(connections):
        raise ValueError(f"module: {why}, and only {len(chain)} of {len(connections)} weights are")
    return chain


def shared(neurons: Sequence[Neuron]) -> tuple[float, Reset]:
    """Leak and reset of all layers."""
    for neuron in neurons:
        if neuron.synapse is not None or neuron.delay:
            raise ValueError("module: 'balanced' has no form for synaptic currents or delays")
        if neuron.reset not in RULES:
            raise ValueError(
                f"module: 'balanced' needs one reset of {', '.join(RULES)}, got {neuron.reset!r}"
            )
    leak = one("leak", [neuron.leak for neuron in neurons])
    return leak, one("reset", [neuron.reset for neuron in neurons])


def one(name: str, values: Sequence[Any]) -> Any:
    """The one value that all layers have.

    Raises:
        ValueError: If they differ.
    """
    if len(set(values)) > 1:
        raise ValueError(
            f"module: 'balanced' needs one {name} in all layers, got {sorted(set(values))}"
        )
    return values[0]
