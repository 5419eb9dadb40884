"""Stacks of recurrent spiking layers with a linear readout: Herranz-Celotti & Rouat."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias, get_args

import torch
from torch import nn

from snnlib.init import initialize_
from snnlib.networks.feed_forward import FeedForward
from snnlib.networks.settings import PerLayer, check_integer, per_layer
from snnlib.networks.weights import initialized
from snnlib.neurons import AdaptiveLIF, RecurrentLIF, SpikingLSTM
from snnlib.surrogate import Surrogate

Recurrent: TypeAlias = Literal["lif", "alif", "slstm"]


def recurrent(
    sizes: Sequence[int],
    *,
    neuron: Recurrent = "lif",
    threshold: PerLayer = 1.0,
    leak: PerLayer = 0.5,
    reset: Any = "subtract",
    surrogate: Surrogate | None = None,
    detach_reset: bool = True,
    bias: bool = True,
    init: str | None = "glorot",
    generator: torch.Generator | None = None,
    **settings: Any,
) -> FeedForward:
    r"""Stack of recurrent spiking layers with a linear readout at every step.

    Each layer is a linear map of what is below and neurons with recurrent weights:
    `RecurrentLIF` ("lif"), `AdaptiveLIF` ("alif") or `SpikingLSTM` ("slstm", whose linear map has
    4n outputs). The readout makes logits of the spikes of the last layer, step by step; the
    paper's answer is the class that is largest at most steps.

    Layers are named `linear1`, `neurons1`, `linear2`, `neurons2`, ..., `readout`.

    Args:
        sizes: Number of inputs, of neurons of each recurrent layer, and of classes; at least three.
        neuron: Kind of the neurons.
        threshold: θ >= 0 of all layers, or a list with one per recurrent layer; not for "slstm".
        leak: β in [0, 1], likewise.
        reset: What a spike does to the potential, see `snnlib.neurons.recurrent_lif`; likewise.
        surrogate: Derivative of the spike; arctan if None.
        detach_reset: Whether gradients ignore that the reset depends on the spike; not for "slstm".
        bias: Whether linear layers have a bias (zero at the start).
        init: Name of a method in `snnlib.init.METHODS`; None keeps the laws that the modules draw
            from. "glorot" is uniform, as in the paper, for all weights and the readout; other
            methods leave the readout at torch's law, and none fits "slstm".
        generator: Random numbers for the weights; None is torch's global generator.
        **settings: Further settings of the neurons, for all layers.

    Returns:
        A network: inputs [T, batch, sizes[0]] to logits [T, batch, sizes[-1]].

    Raises:
        ValueError: If there are fewer than three sizes, one is not a positive integer, the neuron
            is unknown, a list has the wrong length, or a setting of the neurons or the
            initialization is refused.

    Source: Herranz-Celotti & Rouat 2022, section 2.5 (two recurrent layers).

    Example:
        >>> network = recurrent([700, 256, 256, 20], generator=torch.Generator().manual_seed(0))
        >>> [name for name, _ in network.named_children()]
        ['linear1', 'neurons1', 'linear2', 'neurons2', 'readout']
        >>> weights = 700 * 256 + 3 * 256**2 + 256 * 20
        >>> sum(p.numel() for p in network.parameters()) == weights + 2 * 256 + 20
        True
        >>> bool(network.linear1.weight.abs().max() <= (6 / (700 + 256)) ** 0.5)
        True
        >>> network(torch.ones(3, 5, 700)).shape
        torch.Size([3, 5, 20])
    """
    sizes = list(sizes)
    if len(sizes) < 3:
        raise ValueError(
            f"sizes must name inputs, at least one recurrent layer and classes, got {sizes!r}"
        )
    for size in sizes:
        check_integer("sizes", size)
    if neuron not in get_args(Recurrent):
        known = ", ".join(repr(name) for name in get_args(Recurrent))
        raise ValueError(f"neuron must be one of {known}, got {neuron!r}")
    gates = 4 if neuron == "slstm" else 1
    widths = sizes[1:-1]
    stack: Sequence[nn.Module]
    if neuron == "slstm":
        if init not in ("glorot", None):
            raise ValueError(f"init must be 'glorot' or None for 'slstm', got {init!r}")
        stack = [
            SpikingLSTM(width, surrogate=surrogate, generator=generator, **settings)
            for width in widths
        ]
    else:
        common = dict(
            reset=reset, surrogate=surrogate, detach_reset=detach_reset, generator=generator
        )
        stack = _leaky(neuron, widths, threshold, leak, {**common, **settings})
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for index, (fan_in, width, cells) in enumerate(
        zip(sizes, widths, stack, strict=False), start=1
    ):
        layers[f"linear{index}"] = nn.utils.skip_init(nn.Linear, fan_in, gates * width, bias=bias)
        layers[f"neurons{index}"] = cells
    layers["readout"] = nn.utils.skip_init(nn.Linear, widths[-1], sizes[-1], bias=bias)
    network = initialized(FeedForward(layers), None, generator)
    _start_(network, bias, init == "glorot", generator)
    if init not in ("glorot", None):
        initialize_(network, init, readout="draw", generator=generator)
    return network


def _leaky(
    neuron: Recurrent,
    widths: Sequence[int],
    threshold: PerLayer,
    leak: PerLayer,
    settings: dict[str, Any],
) -> list[RecurrentLIF | AdaptiveLIF]:
    """The recurrent layers of leaky neurons."""
    kind = RecurrentLIF if neuron == "lif" else AdaptiveLIF
    return [
        kind(width, threshold=theta, leak=beta, **settings)
        for width, theta, beta in zip(
            widths,
            per_layer("threshold", threshold, len(widths)),
            per_layer("leak", leak, len(widths)),
            strict=True,
        )
    ]


@torch.no_grad()
def _start_(
    network: FeedForward, bias: bool, glorot: bool, generator: torch.Generator | None
) -> None:
    """Zero the biases; Glorot's uniform law for all weights, if asked for."""
    for layer in network:
        if bias and isinstance(layer, nn.Linear):
            layer.bias.zero_()
        if glorot:
            nn.init.xavier_uniform_(layer.weight, generator=generator)  # type: ignore[arg-type]
            if getattr(layer, "self_connections", True) is False:
                layer.weight.fill_diagonal_(0.0)  # type: ignore[operator]
