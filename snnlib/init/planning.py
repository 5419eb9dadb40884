"""What is to happen to each weight of a network, before anything is changed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from snnlib.init.connection import Connection
from snnlib.init.followed import followed
from snnlib.init.method import Method
from snnlib.init.plan import Plan
from snnlib.init.readout import Readout
from snnlib.init.registry import method_named

__all__ = ["Choice", "Plan", "check_given", "choices_of", "plans_of"]


@dataclass(frozen=True)
class Choice:
    """An entry of `layers`.

    Attributes:
        method: None leaves the weight as it is.
        settings: What the user gave for it.
    """

    method: Method | None
    settings: Mapping[str, Any]


def check_given(method: Method, settings: Mapping[str, Any]) -> None:
    """Refuse settings that a user cannot give for a whole network.

    Raises:
        ValueError: Naming the setting and those that exist.
    """
    known = (*method.given, "distribution") if method.free else method.given
    if "distribution" in settings:
        method.chosen(settings["distribution"])
    method.check_settings(settings, known)


def choices_of(
    default: Method,
    settings: Mapping[str, Any],
    layers: Mapping[str, Mapping[str, Any] | str | None],
) -> dict[str, Choice]:
    """What `layers` asks for, by name or pattern.

    Raises:
        ValueError: If an entry, a method or a setting is unknown.
    """
    if not isinstance(layers, Mapping):
        raise ValueError(
            f'layers must be a dict such as {{"conv*": "kaiming", "head": None}}, got {layers!r}'
        )
    choices = {}
    for name, entry in layers.items():
        if entry is None:
            choices[name] = Choice(None, {})
            continue
        if not isinstance(entry, str | Mapping):
            raise ValueError(
                f"layers[{name!r}] must be a dict of settings, the name of a method or None, "
                f"got {entry!r}"
            )
        own = {"method": entry} if isinstance(entry, str) else dict(entry)
        method = method_named(own.pop("method", default.name))
        check_given(method, own)
        choices[name] = Choice(method, {**settings, **own} if method is default else own)
    return choices


def plans_of(
    connections: list[Connection],
    default: Method,
    settings: Mapping[str, Any],
    choices: Mapping[str, Choice],
    readouts: Mapping[str, Readout],
    norms: str = "keep",
) -> list[Plan]:
    """What happens to every weight.

    Args:
        connections: All weights.
        default: The method, where `choices` has no other.
        settings: What the user gave for it.
        choices: Exceptions by name or pattern.
        readouts: Weights that are left because of what reads them, by name.
        norms: Whether normalizations keep their scale, see `initialize_`.

    Returns:
        One plan per weight.

    Raises:
        ValueError: If a name matches nothing or a setting is infeasible.
    """
    names = [connection.name for connection in connections]
    for pattern in choices:
        if pattern not in names and not any(fnmatchcase(name, pattern) for name in names):
            raise ValueError(
                f"layers: {pattern!r} matches no weight; the weights are {', '.join(names)}"
            )
    plans: list[Plan] = []
    together: dict[int, Choice] = {}
    for index, connection in enumerate(connections):
        matching = [p for p in choices if fnmatchcase(connection.name, p)]
        name = connection.name if connection.name in choices else next(iter(matching), None)
        choice = Choice(default, settings) if name is None else choices[name]
        if choice.method is None:
            plans.append(Plan(connection, why="left as it is, as asked"))
        elif not connection.parameter.requires_grad and name != connection.name:
            plans.append(Plan(connection, why="left as it is: frozen"))
        elif (own := readouts.get(connection.name)) and name != connection.name:
            plans.append(Plan(connection, why=f"left as it is: {own.why}", readout=own))
        elif not connection.drives and name != connection.name:
            plans.append(Plan(connection))  # not executed, as its note says
        elif choice.method.network is not None:
            together[index] = choice
            plans.append(Plan(connection))
        else:
            plans.append(_plan(connection, choice.method, choice.settings))
    for index, plan in _arranged(connections, together):
        plans[index] = plan
    return [followed(plan, norms) for plan in plans]


def _arranged(
    connections: list[Connection],
    together: Mapping[int, Choice],
) -> Iterator[tuple[int, Plan]]:
    """Plans of the weights that a method draws in view of each other."""
    for method in dict.fromkeys(choice.method for choice in together.values()):
        assert method is not None and method.network is not None
        indices = [index for index, choice in together.items() if choice.method is method]
        given = [dict(together[index].settings) for index in indices]
        laws = [method.chosen(settings.pop("distribution", None)) for settings in given]
        own = [connections[index] for index in indices]
        found = method.network(own, given, laws)
        for index, connection, law, (settings, remark, surrogates, rate, forecast) in zip(
            indices, own, laws, found, strict=True
        ):
            value, centre = method.checked_gain(settings), method.mean(**settings)
            yield (
                index,
                Plan(
                    connection,
                    method,
                    settings,
                    law,
                    value,
                    centre,
                    remark=remark,
                    surrogates=surrogates,
                    rate=rate,
                    forecast=forecast,
                ),
            )


def _plan(connection: Connection, method: Method, settings: Mapping[str, Any]) -> Plan:
    given = {k: v for k, v in settings.items() if k != "distribution"}
    distribution = method.chosen(settings.get("distribution"))
    try:
        resolved = method.resolve(connection, **given)
        if method.data_driven:
            return Plan(connection, method, resolved, distribution)
        value = method.checked_gain(resolved)
        centre = method.mean(**resolved)
    except ValueError as error:
        moment, message = connection.second_moment, str(error)
        if not connection.fed_by and moment is not None and not 0 < moment < math.inf:
            message = (
                "example must bring finite values that are not all 0 to every weight fed by data: "
                f"their mean square is {moment:g}"
            )
        for layer in connection.drives:
            if bool(layer.spiking.input_gain.isnan().any()):
                kind = type(layer.module).__name__
                message = (
                    f"input_gain of layer {layer.name!r} is not known ({layer.spiking.why}): say "
                    f"what {kind} is by snnlib.dialects.declare({kind}, threshold=..., leak=..., "
                    "input_gain=...), or pass input_gain="
                )
        raise ValueError(f"{message} (weight of {connection.name!r})") from error
    return Plan(connection, method, resolved, distribution, value, centre)
