r"""Which spiking layer feeds a weight, and which one it drives.

Without an example batch the order in which modules were registered decides, and only where it
leaves no doubt: a weight between two spiking layers is fed by the first and drives the second, a
weight inside a spiking layer is recurrent.

With an example batch the network runs once over all time steps and every tensor remembers the
weights, spiking layers or data that it came from, through any torch operation, so that branches,
shortcuts, recurrent weights and one neuron module used at several depths are paired as they are
computed. Weights are the modules of `WEIGHTS` and parameters that multiply their input without a
module of their own (Norse's recurrent cells, a loop written by hand).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from snnlib.dialects.declaring import hint
from snnlib.dialects.running import Time
from snnlib.init.connection import Connection, Layer, fans
from snnlib.init.following import by_execution
from snnlib.init.inventory import ESTIMATED, WEIGHTS, Inventory, Weight

__all__ = ["Connection", "Layer", "fans", "pair"]


def pair(
    network: nn.Module,
    example: Tensor | tuple[Any, ...] | None = None,
    *,
    time: Time = "auto",
    estimating: bool = True,
) -> list[Connection]:
    """Pair every weight with its spiking layers.

    Args:
        network: Any module.
        example: One batch to run, a tensor or a tuple of positional arguments; None pairs by
            registration order.
        time: Who loops over time, see `snnlib.dialects.running.run`.
        estimating: Whether constants of neurons that are not known are read off their responses.

    Returns:
        One connection per weight, in the order of registration (of execution with an example).

    Raises:
        ValueError: If there is no weight or no spiking layer, a weight is empty or computed by a
            parametrization, the order of registration leaves open what a weight drives, or it is
            not clear who loops over time.
    """
    network = getattr(network, "_orig_mod", network)
    found = Inventory(network, estimating)
    if not found.weights and not (found.inner if example is None else found.raw):
        raise ValueError(
            f"module must hold at least one weight of {_names(WEIGHTS)}, got {network!r}"
        )
    if not found.layers:
        raise ValueError(
            "module must hold at least one spiking layer to pair weights with "
            f"(such as snnlib.neurons.LIF), got {_brief(network)}: {hint(network)}; a single "
            "weight is initialized by the method's own function, such as "
            "micheli2024_(weight, threshold)"
        )
    if example is None:
        return _completed(_by_registration(found))
    return _completed(by_execution(found, example, time))


def _brief(network: nn.Module) -> str:
    shown = repr(network)
    return shown if len(shown) < 200 else type(network).__name__


def _names(kinds: Iterable[type]) -> str:
    return ", ".join(kind.__name__ for kind in kinds)


def _completed(connections: list[Connection]) -> list[Connection]:
    """With the afferents of the layers that each weight drives."""
    result = []
    for own in connections:
        driven = {layer.name for layer in own.drives}
        afferents = tuple(
            (other.fan_in, other.recurrent)
            for other in connections
            if driven & {layer.name for layer in other.drives}
        )
        told = [
            f"{layer.name}: {layer.spiking.why}"
            for layer in own.drives
            if layer.spiking.why.startswith(ESTIMATED)
        ]
        note = "; ".join(text for text in (own.note, *told) if text)
        result.append(replace(own, afferents=afferents, note=note))
    return result


def _by_registration(found: Inventory) -> list[Connection]:
    fed_by: dict[Weight, tuple[Layer, ...]] = {}
    drives: dict[Weight, tuple[Layer, ...]] = {}
    recurrent: set[Weight] = set()
    feeding: tuple[Layer, ...] = ()
    pending: nn.Module | None = None

    def ambiguous(first: str, second: str) -> ValueError:
        return ValueError(
            f"module registers the weights of {first!r} and {second!r} without a spiking layer "
            "between them, which leaves open what they drive; pass example= (one batch), and "
            "they are paired by running it"
        )

    for module, name in found.names.items():
        if module in found.weights:
            if (layer := found.layers.get(found.parents.get(module, module))) is not None:
                fed_by[module] = drives[module] = (layer,)
                recurrent.add(module)
                continue
            if pending is not None:
                raise ambiguous(found.names[pending], name)
            pending, fed_by[module], drives[module] = module, feeding, ()
        elif module in found.layers:
            layer = found.layers[module]
            for parameter in found.inner:
                holder, qualified = found.raw[parameter]
                if holder is module:
                    returns = found.returning.get(module) is parameter
                    if pending is not None and not returns:
                        raise ambiguous(found.names[pending], qualified)
                    drives[parameter] = (layer,)
                    fed_by[parameter] = feeding
                    if returns or "recurrent" in qualified.rpartition(".")[2]:
                        fed_by[parameter] = (layer,)
                        recurrent.add(parameter)
            if pending is not None:
                drives[pending] = (layer,)
            pending, feeding = None, (layer,)
    return [
        found.connection(w, fed_by=fed_by[w], drives=drives[w], recurrent=w in recurrent)
        for w in fed_by
    ]
