r"""The output layer: what its weights should do is set by how it is read, not by what is behind it.

Spikes that are only counted, or a potential that is read, answer a question; nothing has to stay
alive behind them, and weights as large as a hidden layer's make the first answers loud and wrong.
So the weights in front of a readout stay as they are, unless no spike would be counted: then they
are scaled until the layer fires at `RATE`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy import special
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from snnlib.dialects.reading import is_spiking
from snnlib.dialects.running import Time, resolve_time, run
from snnlib.dialects.untouched import untouched
from snnlib.init.connection import Connection, Layer
from snnlib.meanfield import firing_probability

__all__ = ["RATE", "SILENT", "Readout", "mean_rate", "predicted", "readouts", "wake_"]

SILENT = 1e-3
"""Firing probability per step below which a readout counts as silent."""

RATE = 0.1
"""Firing probability per step that a silent readout is scaled to."""


class Readout(NamedTuple):
    """A weight in front of an output layer.

    Attributes:
        layer: The spiking layer; None for weights that drive none.
        counted: Whether its spikes are what is read, else its potential.
    """

    layer: Layer | None
    counted: bool

    @property
    def why(self) -> str:
        """What the report says of a weight that is left."""
        if self.layer is None:
            return "drives no spiking layer"
        if self.counted:
            return "a readout, its spikes are only counted"
        return "a readout, its potential is read"


def readouts(
    network: nn.Module,
    connections: Sequence[Connection],
    example: Any = None,
    *,
    time: Time = "auto",
) -> dict[str, Readout]:
    """The weights in front of output layers.

    An output layer is a spiking layer that feeds no weight but its own recurrent ones and, where
    the example can tell, no other spiking layer; or none at all, where weights are the end. A
    potential is read where the layer has no reset, or where the output does not depend on its
    spikes.

    Args:
        network: The network.
        connections: All its weights.
        example: One batch, or None, which goes by the weights alone.
        time: Who loops over time.

    Returns:
        Readouts by the name of the weight; of weights in front of spiking layers none if there are
        no others: one layer alone is not an output.
    """
    found: dict[str, Readout] = {}
    feeding = {layer.name for c in connections if not c.recurrent for layer in c.fed_by}
    known: dict[str, Readout | None] = {}
    for connection in connections:
        if not connection.drives:
            if not connection.note.startswith("not executed"):
                found[connection.name] = Readout(None, False)
            continue
        ends = [layer for layer in connection.drives if layer.name not in feeding]
        if len(ends) != len(connection.drives):
            continue
        for layer in ends:
            if layer.name not in known:
                known[layer.name] = _end(network, layer, example, time)
        last = [known[layer.name] for layer in ends]
        if all(last):
            found[connection.name] = last[0]  # type: ignore[assignment]
    before = [c for c in connections if c.drives and c.name not in found]
    if not before:
        found = {name: own for name, own in found.items() if own.layer is None}
    return found


def _end(network: nn.Module, layer: Layer, example: Any, time: Time) -> Readout | None:
    """How a layer is read that feeds no weight; None if its spikes reach another layer."""
    used = True
    if example is not None and layer.module is not None:
        used, reaches = _dependents(network, layer.module, example, time)
        if reaches:
            return None
    return Readout(layer, used and layer.spiking.reset != "none")


def _dependents(
    network: nn.Module, layer: nn.Module, example: Any, time: Time
) -> tuple[bool, bool]:
    """Whether the output, and whether another spiking layer, depends on the spikes of one.

    Its spikes are replaced by NaN, which all that is computed from them becomes.
    """
    reached: list[bool] = []
    spoiled: list[nn.Module] = []

    def spoil(module: nn.Module, args: Any, output: Any) -> Any:
        spoiled.append(module)
        first = next(leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor))
        return tree_map(lambda leaf: _spoiled(leaf) if leaf is first else leaf, output)

    def look(module: nn.Module, args: Any, kwargs: Any) -> None:
        first = next((a for a in tree_leaves((args, kwargs)) if isinstance(a, Tensor)), None)
        reached.append(first is not None and _has_nan(first))

    with ExitStack() as stack:
        stack.enter_context(untouched(network))
        stack.enter_context(torch.no_grad())
        time = resolve_time(network, example, time)
        stack.callback(layer.register_forward_hook(spoil).remove)
        for module in network.modules():
            if module is not layer and is_spiking(module):
                hook = module.register_forward_pre_hook(look, with_kwargs=True)
                stack.callback(hook.remove)
        output = run(network, example, time=time)
    if not spoiled:  # it runs inside a product with its weights
        return True, False
    return any(_has_nan(leaf) for leaf in tree_leaves(output)), any(reached)


def _spoiled(spikes: Tensor) -> Tensor:
    return torch.full_like(spikes, math.nan) if spikes.is_floating_point() else spikes


def _has_nan(value: Any) -> bool:
    return isinstance(value, Tensor) and bool(torch.isnan(value).any())


def mean_rate(network: nn.Module, layer: nn.Module, example: Any, *, time: Time = "auto") -> float:
    """Spikes per neuron and step of one layer on an example; the network stays as it is.

    Args:
        network: The network.
        layer: One of its spiking layers.
        example: One batch.
        time: Who loops over time.

    Returns:
        The rate; NaN if the layer did not run.
    """
    fired, count = 0, 0

    def note(module: nn.Module, args: Any, output: Any) -> None:
        nonlocal fired, count
        spikes = next(leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor))
        fired, count = fired + int(spikes.count_nonzero()), count + spikes.numel()

    with ExitStack() as stack:
        stack.enter_context(untouched(network))
        stack.enter_context(torch.no_grad())
        stack.callback(layer.register_forward_hook(note).remove)
        run(network, example, time=time)
    return fired / count if count else math.nan


def wake_(
    network: nn.Module,
    layer: nn.Module,
    parameters: Sequence[nn.Parameter],
    example: Any,
    *,
    rate: float = RATE,
    time: Time = "auto",
) -> tuple[float, float]:
    """Multiply weights in place by one factor until the layer that they drive fires at a rate.

    Args:
        network: The network.
        layer: The spiking layer.
        parameters: The weights in front of it.
        example: One batch.
        rate: Firing probability per step, reached to a fifth.
        time: Who loops over time.

    Returns:
        The factor and the rate that it gives; the factor 1 if no factor up to 2^24 gives any.
    """
    before = [parameter.detach().clone() for parameter in parameters]

    def measured(exponent: float) -> float:
        with torch.no_grad():
            for parameter, value in zip(parameters, before, strict=True):
                parameter.copy_(value * 2**exponent)
        return mean_rate(network, layer, example, time=time)

    low, high, found = 0.0, 1.0, measured(1.0)
    while found < rate and high < 24:
        low, high = high, high + max(1.0, high / 2)
        found = measured(high)
    if not found >= rate / 2:
        return 1.0, measured(0.0)
    exponent = high
    for _ in range(12):
        if 0.8 * rate <= found <= 1.25 * rate:
            break
        exponent = (low + high) / 2
        found = measured(exponent)
        low, high = (exponent, high) if found < rate else (low, exponent)
    return 2**exponent, found


def predicted(connections: Sequence[Connection], layer: Layer) -> tuple[float, float]:
    r"""Firing probability that a constant input reaches in the long run, from the weights alone.

    .. math:: P(u > θ),\quad \mathrm{Var}[u] = \frac{λ^2 \sum G\,E[x^2]}{(1-β)^2},

    with β at most 0.9 and E[x²] that of spikes at `RATE`, or 1 of standardized data.  The factor is
    for currents that change from step to step, whose variances add: 1 - β² in place of (1 - β)².

    Args:
        connections: The weights in front of the layer.
        layer: The layer.

    Returns:
        The probability, and the factor of the weights that makes it `RATE`.
    """
    square = 0.0
    for c in connections:
        moment = 1.0
        if c.fed_by:
            moment = RATE * float(c.feeding[1].square().mean())
        square += c.fan_in * float(c.parameter.detach().double().square().mean()) * moment
    leak = layer.spiking.leak.nan_to_num(0.0).clamp(0, 0.9).mean()
    square *= float(layer.spiking.input_gain.square().mean())
    longest = square / float(1 - leak) ** 2
    rate = float(np.mean(firing_probability(layer.threshold.numpy(), longest)))
    wanted = float(layer.threshold.mean() / -special.ndtri(RATE))
    return rate, wanted * math.sqrt(float(1 - leak**2) / square) if square > 0 else 1.0
