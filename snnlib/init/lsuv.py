r"""LSUV, Mishkin & Matas 2015: orthonormal weights, rescaled on a batch until the variance is 1.

Layer by layer in the order of execution, all weights that drive a spiking layer are divided by the
standard deviation of the current that they make,

    w ← w / √(λ² Var[i]),

Var over batch, time and neurons and λ what the neuron multiplies its current with, until λ² Var[i]
is within the tolerance of 1.  Nothing is assumed of the input, so no formula gives the gain: the
data do.

Source: Mishkin, Matas, All you need is a good init, 2016 (arXiv 1511.06422), algorithm 1, recalled;
there i is the output of any layer of weights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from snnlib._progress import stage
from snnlib.dialects.running import Time
from snnlib.init.activity import first_gain_squared
from snnlib.init.connection import Connection
from snnlib.init.currents import currents
from snnlib.init.method import ORTHONORMAL, Method
from snnlib.meanfield import firing_probability

SOURCE = "Mishkin & Matas 2015"


def gain(*, tolerance: float = 0.05, iterations: int = 10) -> float:
    """Refused: the scale comes from data.

    Raises:
        ValueError: Always.
    """
    raise ValueError(
        "method 'lsuv' is data-driven, no formula gives its gain: "
        'initialize_(module, "lsuv", example=batch) finds it and reports it'
    )


def rescale_(
    network: nn.Module,
    connections: Sequence[Connection],
    example: Tensor | tuple[Any, ...],
    *,
    time: Time = "auto",
    tolerance: float = 0.05,
    iterations: int = 10,
) -> dict[str, tuple[float, int]]:
    r"""Divide weights in place until the current into each layer that they drive has variance 1.

    Args:
        network: The network.
        connections: Weights that may be rescaled.
        example: One batch, as for `snnlib.dialects.running.run`.
        time: Who loops over time, likewise.
        tolerance: Largest deviation of λ² Var[i] from 1.
        iterations: Most rescalings of one layer.

    Returns:
        λ² Var[i] of each layer in the end, and how often its weights were rescaled.

    Raises:
        ValueError: If no current reaches a layer, its variance is not finite, it does not reach the
            tolerance, or a layer multiplies its input by weights of its own.  The weights are then
            half-way.

    Source: Mishkin & Matas 2015, algorithm 1.
    """
    network = getattr(network, "_orig_mod", network)
    fit = _Fit(connections, tolerance, iterations)
    once: frozenset[str] = frozenset()
    while True:
        found = currents(
            network,
            example,
            fit.groups,
            fit.scales,
            time=time,
            once=once,
            within=fit.within,
            rescale_=fit.rescale_,
        )
        if missing := [name for name in fit.groups if name not in found.variances]:
            raise ValueError(
                f"lsuv: no current into {missing[0]!r} was seen on the example; nothing was changed"
            )
        for name, variance in found.variances.items():
            stage(f"rescaling what drives {name} (variance {variance:.3g})")
            if name in fit.groups and not fit.within(variance):
                fit.rescale_(name, variance)
                break
        else:
            if not found.changed:
                # A whole run confirms what was found on the way.
                return {name: (found.variances[name], fit.done[name]) for name in fit.groups}
        once = found.once


class _Fit:
    """The layers, the weights that drive each, and how often they were rescaled."""

    def __init__(
        self, connections: Sequence[Connection], tolerance: float, iterations: int
    ) -> None:
        self.tolerance, self.iterations = tolerance, iterations
        self.groups: dict[str, list[Connection]] = {}
        self.scales: dict[str, float] = {}  # λ²
        own = _inner(connections)
        for connection in connections:
            for layer in connection.drives:
                self.scales[layer.name] = first_gain_squared(layer)
                if connection.parameter in own.get(layer.name, ()):
                    continue  # the layer adds it inside, where no hook sees it; the remark says so
                self.groups.setdefault(layer.name, []).append(connection)
        self.done = dict.fromkeys(self.groups, 0)
        self.last: dict[str, float] = {}

    def within(self, variance: float) -> bool:
        """Whether a variance is close enough to 1."""
        return abs(variance - 1) <= self.tolerance

    def rescale_(self, name: str, variance: float) -> None:
        """Divide the weights that drive a layer by its current's standard deviation."""
        if not 0 < variance < math.inf:
            raise ValueError(
                f"lsuv: the current into {name!r} has variance {variance:.3g} on the example: "
                + ("no spike reaches it" if variance == 0 else "it is not finite")
                + "; nothing was changed"
            )
        if math.isclose(variance, self.last.get(name, 0.0), rel_tol=0.01):
            entry = ", ".join(f'"{c.name}": None' for c in self.groups[name])
            raise ValueError(
                f"lsuv: the current into {name!r} keeps its variance {variance:.3g} when its "
                "weights are rescaled; if a normalization follows them, leave them to it by "
                f"layers={{{entry}}}; nothing was changed"
            )
        if self.done[name] >= self.iterations:
            raise ValueError(
                f"lsuv: the current into {name!r} has variance {variance:.3g} after "
                f"{self.iterations} rescalings, not within tolerance={self.tolerance!r} of 1; "
                "nothing was changed"
            )
        self.done[name] += 1
        self.last[name] = variance
        with torch.no_grad():
            for parameter in dict.fromkeys(c.parameter for c in self.groups[name]):
                parameter.div_(math.sqrt(variance))


def check(
    connections: Sequence[Connection],
    example: Any,
    *,
    tolerance: float = 0.05,
    iterations: int = 10,
) -> None:
    """Refuse what cannot be measured, before anything is changed.

    Raises:
        ValueError: If there is no example, a setting is outside its range, or a layer multiplies
            its input by weights of its own.
    """
    if example is None:
        raise ValueError("method 'lsuv' is data-driven: pass example= (one batch)")
    if not 0 < tolerance < 1:
        raise ValueError(f"tolerance must be between 0 and 1, got {tolerance!r}")
    if iterations < 1 or int(iterations) != iterations:
        raise ValueError(f"iterations must be an integer >= 1, got {iterations!r}")
    own = _inner(connections)
    for connection in connections:
        for layer in connection.drives:
            if connection.parameter in own.get(layer.name, ()) and not connection.recurrent:
                raise ValueError(
                    f"lsuv measures the current that enters a spiking layer, but {layer.name!r} "
                    f"multiplies its input by its own weight {connection.name!r}: use another "
                    f'method there, layers={{"{layer.name}.*": "rossbroich2022"}}, or for all'
                )


def _inner(connections: Sequence[Connection]) -> dict[str, set[nn.Parameter]]:
    """Parameters inside each driven layer, by its name."""
    return {
        layer.name: set() if layer.module is None else set(layer.module.parameters())
        for connection in connections
        for layer in connection.drives
    }


def _resolve(connection: Connection, **given: Any) -> dict[str, Any]:
    return given


def _rate(connection: Connection, settings: dict[str, Any]) -> float | None:
    """P(u > θ) at unit variance and zero mean."""
    thresholds = torch.cat([layer.threshold.flatten() for layer in connection.drives])
    return float(firing_probability(thresholds.numpy()).mean())


def _remark(connection: Connection, settings: dict[str, Any]) -> str:
    for layer in connection.drives:
        if connection.recurrent and connection.name.startswith(f"{layer.name}."):
            return "orthonormal, not rescaled: the layer adds it inside"
    return ""


METHOD = Method(
    "lsuv",
    SOURCE,
    gain,
    _resolve,
    given=("tolerance", "iterations"),
    distribution=ORTHONORMAL,
    rate=_rate,
    remark=_remark,
    data_driven=True,
)
