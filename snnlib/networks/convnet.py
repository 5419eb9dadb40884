"""The convolutional network of Micheli et al."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import nn

from snnlib.networks.feed_forward import FeedForward
from snnlib.networks.settings import PerLayer, check_integer, lif_layers
from snnlib.networks.weights import initialized
from snnlib.surrogate import Surrogate


def convnet(
    shape: Sequence[int],
    classes: int,
    *,
    channels: Sequence[int] = (64,) * 6,
    kernel: int = 3,
    threshold: PerLayer = 1.0,
    leak: PerLayer = 0.5,
    reset: Any = "subtract",
    surrogate: Surrogate | None = None,
    detach_reset: bool = True,
    bias: bool = False,
    init: str | None = "micheli2024",
    generator: torch.Generator | None = None,
    **neuron: Any,
) -> FeedForward:
    r"""Convolutional spiking network: convolutions that keep the image's size, LIF after each.

    The image is the input of the first convolution as it is; a last linear layer with LIF neurons
    spikes for the classes. Near the border a convolution sees padded zeros, so the variance there
    is smaller than the fan-in k·k·c says.

    Layers are named `conv1`, `lif1`, ..., `flatten`, `linear7`, `lif7` (for six convolutions).

    Args:
        shape: (channels, height, width) of the input.
        classes: Number of classes.
        channels: Channels of each convolution.
        kernel: Side k of the kernel, odd; padding is k // 2.
        threshold: θ >= 0 of all layers, or a list with one per spiking layer.
        leak: β in [0, 1] of all layers, or such a list.
        reset: What a spike does to the potential, see `snnlib.neurons.lif`.
        surrogate: Derivative of the spike; arctan if None.
        detach_reset: Whether gradients ignore that the reset depends on the spike.
        bias: Whether layers of weights have a bias (zero at the start).
        init: Name of a method in `snnlib.init.METHODS`, or None for torch's default.
        generator: Random numbers for the weights; None is torch's global generator.
        **neuron: Further settings of `snnlib.neurons.LIF`, for all layers.

    Returns:
        A network: currents [T, batch, channels, height, width] to spikes [T, batch, classes].

    Raises:
        ValueError: If a size is not a positive integer, the kernel is even, a list has the wrong
            length, or a setting of the neurons or the initialization is refused.

    Source: Micheli et al. 2024, section V (six layers of 64 channels, 3 by 3 kernels, padding 1).

    Example:
        >>> network = convnet((1, 8, 8), 10, generator=torch.Generator().manual_seed(0))
        >>> weights = 9 * 64 + 5 * 9 * 64 * 64 + 64 * 8 * 8 * 10
        >>> sum(p.numel() for p in network.parameters()) == weights
        True
        >>> network(torch.zeros(2, 3, 1, 8, 8)).shape
        torch.Size([2, 3, 10])
    """
    shape, channels = list(shape), list(channels)
    if len(shape) != 3:
        raise ValueError(f"shape must be (channels, height, width), got {tuple(shape)!r}")
    if not channels:
        raise ValueError("channels must name at least one convolution, got ()")
    for name, values in (("shape", shape), ("channels", channels), ("classes", [classes])):
        for value in values:
            check_integer(name, value)
    check_integer("kernel", kernel)
    if kernel % 2 == 0:
        raise ValueError(f"kernel must be odd (padding kernel // 2 keeps the size), got {kernel}")
    count = len(channels) + 1
    neurons = iter(lif_layers(count, threshold, leak, reset, surrogate, detach_reset, neuron))
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for index, (fan_in, fan_out) in enumerate(pairwise([shape[0], *channels]), start=1):
        layers[f"conv{index}"] = nn.utils.skip_init(
            nn.Conv2d, fan_in, fan_out, kernel, padding=kernel // 2, bias=bias
        )
        layers[f"lif{index}"] = next(neurons)
    layers["flatten"] = nn.Flatten(2)
    layers[f"linear{count}"] = nn.utils.skip_init(
        nn.Linear, channels[-1] * shape[1] * shape[2], classes, bias=bias
    )
    layers[f"lif{count}"] = next(neurons)
    return initialized(FeedForward(layers), init, generator)
