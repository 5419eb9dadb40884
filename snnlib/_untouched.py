"""Run a network without leaving a trace in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn


@contextmanager
def untouched(network: nn.Module) -> Iterator[nn.Module]:
    """Keep buffers, training modes and torch's global random state as they are.

    Inside, the network runs in the mode it is in, so that a probe sees what training would see
    (batch statistics, dropout) without moving running means or the random stream.

    Args:
        network: The module that will be run; what is compiled runs uncompiled.

    Yields:
        The network, or the module below `torch.compile`'s wrapper.
    """
    compiled = any("_orig_mod" in module._modules for module in network.modules())
    eager = torch.compiler.set_stance("force_eager") if compiled else nullcontext()
    network = getattr(network, "_orig_mod", network)
    modes = [(module, module.training) for module in network.modules()]
    buffers = [
        (module._buffers, name, buffer)
        for module in network.modules()
        for name, buffer in module._buffers.items()
        if buffer is not None
    ]
    devices = {tensor.device for tensor in (*network.parameters(), *network.buffers())}
    cuda = [device for device in devices if device.type == "cuda"]
    with torch.random.fork_rng(devices=cuda), eager:
        try:
            # The block works on copies: a graph that the caller holds keeps its own buffers.
            copies: dict[Tensor, Tensor] = {}
            for holder, name, buffer in buffers:
                holder[name] = copies.setdefault(buffer, buffer.detach().clone())
            yield network
        finally:
            for module, training in modes:
                module.training = training
            for holder, name, buffer in buffers:
                holder[name] = buffer
