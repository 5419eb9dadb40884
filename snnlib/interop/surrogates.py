"""One surrogate derivative for all spiking layers of a network, whatever library they are of."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn

from snnlib._checks import check_kind
from snnlib.dialects.reading import form_of
from snnlib.interop import norse, snntorch, spikingjelly
from snnlib.surrogate import Surrogate

__all__ = ["set_surrogate_"]


def set_surrogate_(network: nn.Module, surrogate: Surrogate) -> list[str]:
    """Give every spiking layer of a network one surrogate derivative, in place.

    Its argument is the potential minus the threshold, in the unit of the layer's own potential.

    Args:
        network: Any module with spiking layers of `snnlib.neurons`, snnTorch, SpikingJelly or
            Norse, or a neuron of your own with a `Surrogate` as its attribute `surrogate`.
        surrogate: The derivative.

    Returns:
        The names of the layers.

    Raises:
        ValueError: If there is no spiking layer, or one whose surrogate cannot be set: its library
            has no such form, or it is unknown where the neuron keeps it. Then nothing was changed.

    Source: definition.

    Example:
        >>> from snnlib.neurons import LIF
        >>> network = nn.Sequential(nn.Linear(3, 3), LIF(), nn.Linear(3, 2), LIF())
        >>> set_surrogate_(network, Surrogate("triangular", sharpness=0.5))
        ['1', '3']
        >>> network[3].surrogate.sharpness
        0.5
    """
    check_kind("network", network, nn.Module)
    check_kind("surrogate", surrogate, Surrogate)
    found: dict[str, Callable[[], None]] = {}
    for name, module in network.named_modules():
        form = form_of(module)
        if form is not None:
            name = name or type(module).__name__
            found[name] = _setter(name, module, form.library, surrogate)
    if not found:
        raise ValueError(f"network must hold a spiking layer, got {type(network).__name__}")
    for call in found.values():
        call()
    return list(found)


def _setter(name: str, module: Any, library: str, surrogate: Surrogate) -> Callable[[], None]:
    """What sets it, once it is known that it can be."""
    if library == "snntorch":
        return partial(setattr, module, "spike_grad", snntorch.surrogate_from_snnlib(surrogate))
    if library == "spikingjelly":
        made = spikingjelly.surrogate_from_snnlib(surrogate)
        return partial(setattr, module, "surrogate_function", made)
    if library == "norse":
        method, alpha = norse.surrogate_from_snnlib(surrogate)
        own = {"method": method, "alpha": torch.as_tensor(alpha)}
        inner = next((key for key in ("lif", "lif_parameters") if hasattr(module.p, key)), None)
        if inner is not None:
            own = {inner: getattr(module.p, inner)._replace(**own)}
        return partial(setattr, module, "p", module.p._replace(**own))
    if isinstance(getattr(module, "surrogate", None), Surrogate):
        return partial(setattr, module, "surrogate", surrogate)
    raise ValueError(
        f"layer {name!r} is a {type(module).__name__}, of which it is not known where it keeps its "
        "surrogate derivative: set it there"
    )
