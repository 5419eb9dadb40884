"""The fully connected network of Micheli et al."""

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


def mlp(
    sizes: Sequence[int],
    *,
    threshold: PerLayer = 1.0,
    leak: PerLayer = 0.5,
    reset: Any = "subtract",
    surrogate: Surrogate | None = None,
    detach_reset: bool = True,
    encode: bool = True,
    bias: bool = False,
    init: str | None = "micheli2024",
    generator: torch.Generator | None = None,
    **neuron: Any,
) -> FeedForward:
    r"""Fully connected spiking network: linear layers, each followed by LIF neurons.

    With `encode=True` the input is the current of a first layer of LIF neurons, whose spikes go on
    to the first weights; else it goes to the first weights as it is. The last layer spikes too;
    counting its spikes over time gives the logits.

    Layers are named `lif0` (encoding), `linear1`, `lif1`, `linear2`, `lif2`, ...

    Args:
        sizes: Number of inputs, of neurons of each hidden layer, and of classes; at least two.
        threshold: θ >= 0 of all layers, or a list with one per spiking layer.
        leak: β in [0, 1] of all layers, or such a list.
        reset: What a spike does to the potential, see `snnlib.neurons.lif`.
        surrogate: Derivative of the spike; arctan if None.
        detach_reset: Whether gradients ignore that the reset depends on the spike.
        encode: Whether a layer of neurons turns the input into spikes.
        bias: Whether linear layers have a bias (zero at the start).
        init: Name of a method in `snnlib.init.METHODS`, or None for torch's default.
        generator: Random numbers for the weights; None is torch's global generator.
        **neuron: Further settings of `snnlib.neurons.LIF`, for all layers.

    Returns:
        A network: currents [T, batch, features...] (flattened to sizes[0]) to spikes
        [T, batch, sizes[-1]].

    Raises:
        ValueError: If there are fewer than two sizes, one is not a positive integer, a list has
            the wrong length, or a setting of the neurons or the initialization is refused.

    Source: Micheli et al. 2024, section V (ten layers of 600 neurons, θ = 1, β = 0.5).

    Example:
        >>> network = mlp([64, 600, 10], generator=torch.Generator().manual_seed(0))
        >>> [name for name, _ in network.named_children()]
        ['flatten', 'lif0', 'linear1', 'lif1', 'linear2', 'lif2']
        >>> sum(p.numel() for p in network.parameters()) == 64 * 600 + 600 * 10
        True
        >>> network(torch.zeros(3, 5, 64)).shape
        torch.Size([3, 5, 10])
    """
    sizes = list(sizes)
    if len(sizes) < 2:
        raise ValueError(f"sizes must name at least two layers, input and output, got {sizes!r}")
    for size in sizes:
        check_integer("sizes", size)
    count = len(sizes) - 1 + encode
    neurons = iter(lif_layers(count, threshold, leak, reset, surrogate, detach_reset, neuron))
    layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten(2))
    if encode:
        layers["lif0"] = next(neurons)
    for index, (fan_in, fan_out) in enumerate(pairwise(sizes), start=1):
        layers[f"linear{index}"] = nn.utils.skip_init(nn.Linear, fan_in, fan_out, bias=bias)
        layers[f"lif{index}"] = next(neurons)
    return initialized(FeedForward(layers), init, generator)
