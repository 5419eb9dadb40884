"""The network of Chang et al. (IKUN): batch norm and pooling behind each convolution."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from snnlib.networks.feed_forward import FeedForward
from snnlib.networks.settings import PerLayer, check_integer, lif_layers
from snnlib.networks.tdbn import TdBN
from snnlib.networks.weights import convolution, initialized
from snnlib.surrogate import Surrogate


class MaxPool(nn.Module):
    """Largest value of every square: [T, batch, channels, height, width], halved by default.

    Of spikes it is whether any neuron of the square fires.
    """

    def __init__(self, size: int = 2) -> None:
        super().__init__()
        check_integer("size", size)
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        """The largest values."""
        return nn.functional.max_pool2d(x.flatten(0, 1), self.size).unflatten(0, x.shape[:2])

    def extra_repr(self) -> str:
        """The settings, for `print(model)`."""
        return f"{self.size}"


def vgg(
    shape: Sequence[int],
    classes: int,
    *,
    channels: Sequence[int] = (128, 128),
    hidden: int = 2048,
    threshold: PerLayer = 1.0,
    leak: PerLayer = 1.0,
    reset: Any = "zero",
    surrogate: Surrogate | None = None,
    detach_reset: bool = True,
    init: str | None = None,
    generator: torch.Generator | None = None,
    **neuron: Any,
) -> FeedForward:
    r"""Convolutional spiking network with batch norm and pooling: by default that of IKUN.

    Each block is a 3 by 3 convolution, batch norm over time and batch, neurons, and a maximum over
    squares of 2 by 2. Then come a hidden layer and the classes, both linear without bias, with
    neurons and without normalization: only there does the scale of the weights matter to the first
    pass. The default neurons integrate without a leak.

    Layers are named `conv1`, `norm1`, `lif1`, `pool1`, ..., `flatten`, `linear1`, `lif3`,
    `linear2`, `lif4` (for two blocks).

    Args:
        shape: (channels, height, width) of the input.
        classes: Number of classes.
        channels: Channels of each block; each halves the image.
        hidden: Neurons of the hidden layer.
        threshold: θ >= 0 of all layers, or a list with one per layer of neurons.
        leak: β in [0, 1] of all layers, or such a list.
        reset: What a spike does to the potential, see `snnlib.neurons.lif`.
        surrogate: Derivative of the spike; arctan if None.
        detach_reset: Whether gradients ignore that the reset depends on the spike.
        init: Name of a method in `snnlib.init.METHODS`, or None for torch's default.
        generator: Random numbers for the weights; None is torch's global generator.
        **neuron: Further settings of `snnlib.neurons.LIF`, for all layers.

    Returns:
        A network: currents [T, batch, channels, height, width] to spikes [T, batch, classes].

    Raises:
        ValueError: If a size is not a positive integer, the image is too small for the blocks, or
            a setting of the neurons or the initialization is refused.

    Source: Chang et al. 2024 (IKUN), their code: two blocks of 128 channels, 2,048 hidden neurons.

    Example:
        >>> network = vgg((1, 28, 28), 10, generator=torch.Generator().manual_seed(0))
        >>> network.linear1.weight.shape
        torch.Size([2048, 6272])
        >>> network(torch.zeros(4, 2, 1, 28, 28)).shape
        torch.Size([4, 2, 10])
    """
    shape, channels = list(shape), list(channels)
    if len(shape) != 3:
        raise ValueError(f"shape must be (channels, height, width), got {tuple(shape)!r}")
    if not channels:
        raise ValueError("channels must name at least one block, got ()")
    sizes = dict(shape=shape, channels=channels, classes=[classes], hidden=[hidden])
    for name, values in sizes.items():
        for value in values:
            check_integer(name, value)
    places = [side // 2 ** len(channels) for side in shape[1:]]
    if 0 in places:
        raise ValueError(
            f"shape must be at least {2 ** len(channels)} pixels high and wide for "
            f"{len(channels)} blocks, got {tuple(shape)!r}"
        )
    count = len(channels) + 2
    neurons = iter(lif_layers(count, threshold, leak, reset, surrogate, detach_reset, neuron))
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for index, (below, above) in enumerate(pairwise([shape[0], *channels]), start=1):
        layers[f"conv{index}"] = convolution(below, above)
        layers[f"norm{index}"] = TdBN(above)
        layers[f"lif{index}"] = next(neurons)
        layers[f"pool{index}"] = MaxPool()
    layers["flatten"] = nn.Flatten(2)
    widths = [channels[-1] * math.prod(places), hidden, classes]
    for index, (below, above) in enumerate(pairwise(widths), start=1):
        layers[f"linear{index}"] = nn.utils.skip_init(nn.Linear, below, above, bias=False)
        layers[f"lif{len(channels) + index}"] = next(neurons)
    return initialized(FeedForward(layers), init, generator)
