"""Whole networks of a library whose neurons take one step at a call, as networks of ours."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from snnlib import dialects
from snnlib.networks import FeedForward
from snnlib.networks.feed_forward import ROWS
from snnlib.neurons import LIF

__all__ = ["Rows", "over_time"]

_PLAIN = (nn.Identity, nn.Dropout, nn.ReLU, nn.LeakyReLU, nn.Sigmoid, nn.Tanh, nn.GELU)
"""Layers that do the same on [T, batch, ...] as on [batch, ...]."""


class Rows(nn.Module):
    """A layer that knows no time, on [T, batch, ...]: it sees all steps as rows of one batch.

    Args:
        layer: The layer.

    Example:
        >>> import torch
        >>> Rows(nn.Dropout2d(0.0))(torch.ones(3, 2, 1, 4, 4)).shape
        torch.Size([3, 2, 1, 4, 4])
    """

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, current: Tensor) -> Tensor:
        """Output of the layer, [T, batch, ...]."""
        return self.layer(current.flatten(0, 1)).unflatten(0, current.shape[:2])


def over_time(
    network: nn.Module,
    library: str,
    to_snnlib: Callable[..., LIF],
    unwrap: Callable[[nn.Module], nn.Module] = lambda module: module,
    **settings: Any,
) -> FeedForward:
    """A row of layers that takes one step at a call, as one that takes all.

    Args:
        network: An `nn.Sequential`, nested or not.
        library: Of its neurons.
        to_snnlib: Converts one of these.
        unwrap: Takes off what the library puts around a layer.
        **settings: For `to_snnlib`.

    Returns:
        A copy with the names of the original.

    Raises:
        ValueError: If it is no such row, or a layer has no equal; its name is said.
    """
    if not isinstance(network, nn.Sequential):
        inside = [n for n, m in network.named_modules() if dialects.is_spiking(m)]
        held = f" (its neurons: {', '.join(inside)})" if inside else ""
        raise ValueError(
            f"network must be an nn.Sequential, got {type(network).__name__}, whose forward may "
            f"step its layers as it likes{held}: put the layers into an nn.Sequential, or convert "
            "its neurons one by one with to_snnlib"
        )
    done: dict[int, LIF] = {}

    def layer(name: str, module: nn.Module) -> nn.Module:
        module = unwrap(module)
        if isinstance(module, nn.Sequential):
            return row(f"{name}.", module)
        form = dialects.read(module)
        if form is not None and form.library == library:
            try:
                new = done.get(id(module)) or to_snnlib(module, **settings)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from error
            done[id(module)] = new
            return new.train(module.training)
        return _without_neurons(name, module)

    def row(prefix: str, module: nn.Sequential) -> FeedForward:
        layers = [(name, layer(f"{prefix}{name}", child)) for name, child in
                  module._modules.items() if child is not None]  # fmt: skip
        return FeedForward(OrderedDict(layers)).train(module.training)

    return row("", network)


def _without_neurons(name: str, module: nn.Module) -> nn.Module:
    """A layer without neurons for [T, batch, ...]."""
    if any(dialects.is_spiking(inner) for inner in module.modules()):
        raise ValueError(
            f"{name}: {type(module).__name__} holds neurons and steps them itself; convert them "
            "one by one with to_snnlib"
        )
    module = copy.deepcopy(module)
    if isinstance(module, nn.Flatten):
        if module.start_dim == 0:
            raise ValueError(f"{name}: Flatten(0) mixes the samples of a batch")
        ends = [dim + 1 if dim > 0 else dim for dim in (module.start_dim, module.end_dim)]
        return nn.Flatten(*ends)
    if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.training:
        raise ValueError(
            f"{name}: {type(module).__name__} takes the statistics of one step at a call, here "
            "they would be those of all steps; convert network.eval(), or use a layer of "
            "snnlib.networks (TdBN, TimeNorm)"
        )
    return module if isinstance(module, (*ROWS, *_PLAIN)) else Rows(module)
