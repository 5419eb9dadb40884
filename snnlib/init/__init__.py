r"""Weight initialization of spiking networks: one number, one call, a report.

Every method draws zero-mean weights, so one number describes it, the gain G = n·E[w²], the square
of what `torch.nn.init.calculate_gain` returns. `gain(method, **settings)` computes it,
`initialize_(module, method)` draws the weights of a whole network.

A method is one file named after its paper (`micheli2024.py`); it defines a `METHOD`, and one line
in `METHODS` below makes it available everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

import torch
from torch import Tensor, nn

from snnlib.init import classic, micheli2024
from snnlib.init.method import Method, check_generator
from snnlib.init.micheli2024 import micheli2024_
from snnlib.init.pairing import Connection, pair
from snnlib.init.report import Report, Row

__all__ = ["METHODS", "Report", "Row", "gain", "initialize_", "micheli2024_"]

METHODS: Mapping[str, Method] = MappingProxyType(
    {
        method.name: method
        for method in (
            classic.GLOROT,
            classic.KAIMING,
            classic.LECUN,
            classic.ORTHOGONAL,
            micheli2024.METHOD,
        )
    }
)
"""Every method by name."""


def gain(method: str, **settings: Any) -> float:
    r"""The gain G = n·E[w²] of a method.

    Var[u] = G·E[x²] in a layer with zero-mean weights and fan-in n; G is the square of what torch
    calls the gain.

    Args:
        method: A name in `METHODS`.
        **settings: "micheli2024": `threshold` (1), `height` of a spike (1), or
            `input_second_moment` E[x²] of an input that is not spikes; "kaiming":
            `nonlinearity` ("relu"), `negative_slope` (0); "glorot" and "orthogonal": `fan_in`,
            `fan_out` (square); "lecun": none.

    Returns:
        The gain.

    Raises:
        ValueError: If the method or a setting is unknown or a setting is outside its range.

    Source: the docstring of each method's file.

    Example:
        >>> gain("kaiming") == torch.nn.init.calculate_gain("relu") ** 2
        True
        >>> gain("micheli2024", threshold=0.0)
        2.0
    """
    return _method(method).checked_gain(settings)


def initialize_(
    module: nn.Module,
    method: str,
    *,
    example: Tensor | tuple[Any, ...] | None = None,
    generator: torch.Generator | None = None,
    bias: Literal["zero", "keep"] = "zero",
    **settings: Any,
) -> Report:
    r"""Draw all weights of a network in place, each for the spiking layers around it.

    Each linear and convolution weight is paired with the spiking layer that feeds it, whose
    threshold sets the firing probability P(u > θ), and with the one it drives. A weight fed by
    real values uses E[x²] of what reaches it when `example` runs; without an example the data
    count as standardized, E[x²] = 1. A weight that drives no spiking layer (a readout) stays as it
    is, and the report says so.

    Without `example` weights are paired by the order of registration, where that leaves no doubt;
    with it, by following the values through one run (which leaves buffers, modes and torch's
    random state as they were).

    Args:
        module: A network of `nn.Linear`, `nn.Conv1d`, `nn.Conv2d` or `nn.Conv3d` and spiking
            layers.
        method: A name in `METHODS`.
        example: One batch of input, [T, batch, ...] for the networks of `snnlib.networks`, or a
            tuple of positional arguments; None pairs by registration.
        generator: Random numbers; None is torch's global generator.
        bias: "zero" sets the biases of the drawn layers to 0, "keep" leaves them.
        **settings: "micheli2024": `threshold` for every weight fed by spikes and
            `input_second_moment` for every weight fed by data, in place of what the network and
            the example say; "kaiming": `nonlinearity`, `negative_slope`; the others have none.

    Returns:
        One row per weight: layer, fan-in, gain, standard deviation, feeding layer, its threshold
        and firing probability, driven layer. Prints as a table.

    Raises:
        ValueError: If the method, a setting or `bias` is unknown, a weight is empty, no weight or
            no spiking layer is found, the order of registration is ambiguous, two layers that
            share a weight ask for different gains, or the generator lives on another device. Then
            nothing was changed.

    Source: Micheli et al. 2024, Eq. 10, and the docstring of each method's file.

    Example:
        >>> from snnlib.neurons import LIF
        >>> network = nn.Sequential(LIF(threshold=0.8), nn.Linear(400, 300), LIF())
        >>> report = initialize_(network, "micheli2024", generator=torch.Generator().manual_seed(0))
        >>> print(report)
        micheli2024 (Micheli et al. 2024, Eq. 10)
        layer  fan-in  gain     std  fed by  threshold  P(u > θ)   E[x²]  drives
        1         400  4.72  0.1086  0             0.8    0.2119  0.2119  2
        >>> expected = (4.72 / 400) ** 0.5
        >>> abs(network[1].weight.std().item() / expected - 1) < 5 * (2 * 400 * 300) ** -0.5
        True
    """
    found = _method(method)
    found.check_settings(settings, found.given)
    if bias not in ("zero", "keep"):
        raise ValueError(f"bias must be 'zero' or 'keep', got {bias!r}")
    if not isinstance(module, nn.Module):
        raise ValueError(f"module must be a torch.nn.Module, got {type(module).__name__}")

    rows: list[Row] = []
    plans: list[tuple[Connection, dict[str, Any]]] = []
    drawn: dict[nn.Parameter, float] = {}
    for connection in pair(module, example):
        if not connection.drives:
            rows.append(_row(connection, None, settings))
            continue
        resolved = found.resolve(connection, **settings)
        value = found.checked_gain(resolved)
        check_generator(generator, connection.weight)
        rows.append(_row(connection, value, settings))
        if connection.parameter not in drawn:
            plans.append((connection, resolved))
        elif not math.isclose(drawn[connection.parameter], value, rel_tol=1e-9):
            raise ValueError(
                f"module shares the weight of {connection.name!r} between layers that ask for "
                f"different gains, {drawn[connection.parameter]:.6g} and {value:.6g}"
            )
        drawn[connection.parameter] = value

    with torch.no_grad():
        for connection, resolved in plans:
            found.draw_(connection.weight, generator, **resolved)
            if bias == "zero" and connection.bias is not None:
                connection.bias.zero_()
    return Report(found.name, found.source, tuple(rows))


def _method(name: str) -> Method:
    if name not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {name!r}")
    return METHODS[name]


def _row(connection: Connection, value: float | None, settings: Mapping[str, Any]) -> Row:
    """A row of the report; None as gain says that the weight was left as it is."""
    notes = [connection.note] if connection.note else []
    threshold = probability = None
    if connection.fed_by:
        thresholds, heights = connection.feeding
        thresholds = torch.as_tensor(settings.get("threshold", thresholds), dtype=torch.float64)
        threshold = thresholds.mean().item()
        probability = micheli2024.second_moment(thresholds)
        moment = micheli2024.second_moment(thresholds, heights)
    elif "input_second_moment" in settings:
        moment = float(settings["input_second_moment"])
    elif connection.second_moment is not None:
        moment = connection.second_moment
        notes.append("E[x²] measured on the example")
    else:
        moment = 1.0
        notes.append("E[x²] = 1 assumed: standardized data")
    if value is None and not connection.note.startswith("not executed"):
        notes.insert(0, "left as it is: drives no spiking layer")
    return Row(
        connection.name,
        connection.fan_in,
        value,
        None if value is None else math.sqrt(value / connection.fan_in),
        ", ".join(source.name for source in connection.fed_by) or "data",
        threshold,
        probability,
        moment,
        ", ".join(layer.name for layer in connection.drives),
        "; ".join(notes),
    )
