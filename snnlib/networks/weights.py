"""Layers of weights of the networks: convolutions without bias, and their first values."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from snnlib.init import initialize_
from snnlib.networks.feed_forward import FeedForward


def convolution(fan_in: int, fan_out: int, *, kernel: int = 3, stride: int = 1) -> nn.Conv2d:
    """A convolution without bias that keeps the image's size, or halves it."""
    return nn.utils.skip_init(
        nn.Conv2d, fan_in, fan_out, kernel, stride=stride, padding=kernel // 2, bias=False
    )


def every_step(layer: nn.Module, x: Tensor) -> Tensor:
    """A layer over all steps as rows of one batch."""
    return layer(x.flatten(0, 1)).unflatten(0, x.shape[:2])


def initialized(
    network: FeedForward, init: str | None, generator: torch.Generator | None
) -> FeedForward:
    """Fill the weights, which are allocated but not yet drawn."""
    layers = [layer for layer in network.modules() if isinstance(layer, (nn.Linear, nn.Conv2d))]
    if init is not None:
        initialize_(network, init, readout="draw", generator=generator)
    elif generator is None:
        for layer in layers:
            layer.reset_parameters()
    else:  # torch's default has no generator argument
        seed = int(torch.randint(2**62, (), generator=generator))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for layer in layers:
                layer.reset_parameters()
    return network
