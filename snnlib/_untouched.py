"""Run a network without leaving a trace in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import nn


@contextmanager
def untouched(network: nn.Module) -> Iterator[nn.Module]:
    """Restore buffers, training modes and torch's global random state when the block ends.

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
        (module._buffers, name, buffer, buffer.detach().clone())
        for module in network.modules()
        for name, buffer in module._buffers.items()
        if buffer is not None
    ]
    devices = {tensor.device for tensor in (*network.parameters(), *network.buffers())}
    cuda = [device for device in devices if device.type == "cuda"]
    with torch.random.fork_rng(devices=cuda), eager:
        try:
            yield network
        finally:
            for module, training in modes:
                module.training = training
            with torch.no_grad():
                for holder, name, buffer, before in buffers:
                    # A forward pass may have written into the buffer or put another in its place.
                    holder[name] = buffer.copy_(before)
