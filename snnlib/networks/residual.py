"""The spiking ResNet-19 of Zheng et al. and Kook et al."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from snnlib._checks import scalars
from snnlib.networks.feed_forward import FeedForward
from snnlib.networks.residual_block import ResidualBlock
from snnlib.networks.settings import PerLayer, check_integer, lif_layers, per_layer
from snnlib.networks.tdbn import TdBN
from snnlib.networks.weights import convolution, initialized
from snnlib.surrogate import Surrogate


class SpatialMean(nn.Module):
    """Mean over the places of an image: [T, batch, channels, height, width] to three dimensions."""

    def forward(self, x: Tensor) -> Tensor:
        """The means, [T, batch, channels]."""
        return x.mean((-2, -1))


@scalars("width")
def residual(
    shape: Sequence[int],
    classes: int,
    *,
    width: float = 1.0,
    blocks: Sequence[int] = (3, 3, 2),
    channels: Sequence[int] = (128, 256, 512),
    hidden: int | None = None,
    threshold: PerLayer = 1.0,
    leak: PerLayer = 0.5,
    reset: Any = "subtract",
    surrogate: Surrogate | None = None,
    detach_reset: bool = True,
    current_std: float | None = None,
    input_gain: float = 1.0,
    generator: torch.Generator | None = None,
    **neuron: Any,
) -> FeedForward:
    r"""Spiking residual network, by default the ResNet-19 of the papers.

    A convolution, three stages of residual blocks (the first block of every further stage halves
    the image), a mean over the image, a hidden layer of neurons and a linear readout at every
    step. Every layer of neurons is driven through `TdBN`, the hidden one too: its inputs are small
    means, which would leave it silent.

    Layers are named `conv1`, `norm1`, `lif1`, `block1`, ..., `block8`, `pool`, `linear1`,
    `norm2`, `lif2`, `readout`. The weights are drawn by torch's own law: behind each of them a
    normalization forgets its scale.

    Args:
        shape: (channels, height, width) of the input.
        classes: Number of classes.
        width: Factor of all channel numbers, which are rounded.
        blocks: Residual blocks of each stage.
        channels: Channels of each stage; the first convolution has those of the first.
        hidden: Neurons of the hidden layer; None is half the last channel number, 0 leaves the
            layer out (as the published code of Kook et al. does).
        threshold: θ >= 0 of all layers, or a list with one per layer of neurons.
        leak: β in [0, 1] of all layers, or such a list.
        reset: What a spike does to the potential, see `snnlib.neurons.lif`.
        surrogate: Derivative of the spike; arctan if None.
        detach_reset: Whether gradients ignore that the reset depends on the spike.
        current_std: Standard deviation of every normalized current at the start. None is that of
            tdBN: the threshold of the layer that it drives, so θ > 0, times 1/√2 for each of two
            branches that are added. 1 is plain batch norm over time and batch.
        input_gain: λ > 0: factor of every current; 1 - β = 1/τ in papers whose neuron decays its
            input.
        generator: Random numbers for the weights; None is torch's global generator.
        **neuron: Further settings of `snnlib.neurons.LIF`, for all layers. A module as `initial`
            (`snnlib.membrane.MPInit`) is copied for each.

    Returns:
        A network: currents [T, batch, channels, height, width] to logits [T, batch, classes].

    Raises:
        ValueError: If a size is not a positive integer, the width is not positive, the lists of
            stages differ in length, or a setting of the neurons is refused.

    Source: Zheng et al. 2021 (ResNet-19 with tdBN, α = 1/√2 where branches are added); Kook et al.
    2026, section 6.

    Example:
        >>> network = residual((3, 32, 32), 10, width=1 / 16)
        >>> [name for name, _ in network.named_children()][3:]
        ['block1', 'block2', ..., 'block8', 'pool', 'linear1', 'norm2', 'lif2', 'readout']
        >>> sum(isinstance(m, (nn.Conv2d, nn.Linear)) for m in network.modules()) - 2  # shortcuts
        19
        >>> network(torch.zeros(4, 2, 3, 32, 32)).shape
        torch.Size([4, 2, 10])
    """
    shape, blocks, channels = list(shape), list(blocks), list(channels)
    _check_sizes(dict(shape=shape, blocks=blocks, channels=channels, classes=[classes]))
    _check_numbers(hidden, width, input_gain, current_std)
    widths = [max(1, round(width * count)) for count in channels]
    if hidden is None:
        hidden = max(1, round(width * channels[-1] / 2))
    count = 1 + 2 * sum(blocks) + (hidden > 0)
    thresholds = per_layer("threshold", threshold, count)
    stds = [_current_std(theta, current_std) for theta in thresholds]
    branch = math.sqrt(0.5) if current_std is None else 1.0
    neurons = lif_layers(count, thresholds, leak, reset, surrogate, detach_reset, neuron)

    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=convolution(shape[0], widths[0]),
        norm1=TdBN(widths[0], std=stds[0], input_gain=input_gain),
        lif1=neurons[0],
    )
    index, below = 0, widths[0]
    for stage, (repeats, above) in enumerate(zip(blocks, widths, strict=True)):
        for repeat in range(repeats):
            first, second = 1 + 2 * index, 2 + 2 * index
            index += 1
            layers[f"block{index}"] = ResidualBlock(
                below,
                above,
                stride=2 if stage > 0 and repeat == 0 else 1,
                neurons=(neurons[first], neurons[second]),
                stds=(stds[first], stds[second] * branch),
                input_gain=input_gain,
            )
            below = above
    layers["pool"] = SpatialMean()
    if hidden:
        layers["linear1"] = nn.utils.skip_init(nn.Linear, below, hidden, bias=False)
        layers["norm2"] = TdBN(hidden, std=stds[-1], input_gain=input_gain)
        layers["lif2"] = neurons[-1]
        below = hidden
    layers["readout"] = nn.utils.skip_init(nn.Linear, below, classes)
    return initialized(FeedForward(layers), None, generator)


def _check_sizes(sizes: dict[str, list[int]]) -> None:
    """Refuse stages or sizes that make no network."""
    shape, blocks, channels = sizes["shape"], sizes["blocks"], sizes["channels"]
    if len(shape) != 3:
        raise ValueError(f"shape must be (channels, height, width), got {tuple(shape)!r}")
    if not blocks or len(blocks) != len(channels):
        raise ValueError(
            "blocks and channels must have one number per stage, "
            f"got {len(blocks)} and {len(channels)}"
        )
    for name, values in sizes.items():
        for value in values:
            check_integer(name, value)


def _check_numbers(
    hidden: int | None, width: float, input_gain: float, current_std: float | None
) -> None:
    """Refuse numbers outside their range."""
    if hidden is not None and (isinstance(hidden, bool) or not isinstance(hidden, int)):
        raise ValueError(f"hidden must be None or a number of neurons >= 0, got {hidden!r}")
    if hidden is not None and hidden < 0:
        raise ValueError(f"hidden must be None or a number of neurons >= 0, got {hidden!r}")
    if not 0 < width < math.inf:
        raise ValueError(f"width must be positive and finite, got {width!r}")
    if not 0 < input_gain < math.inf:
        raise ValueError(f"input_gain must be positive and finite, got {input_gain!r}")
    if current_std is not None and not 0 < current_std < math.inf:
        raise ValueError(f"current_std must be None or positive and finite, got {current_std!r}")


def _current_std(threshold: float | Tensor, current_std: float | None) -> float:
    """αV of a serial layer: the given number, else its threshold."""
    if current_std is not None:
        return current_std
    values = torch.as_tensor(threshold, dtype=torch.float64).flatten()
    if not values.numel() or not bool((values > 0).all()) or not bool((values == values[0]).all()):
        raise ValueError(
            "threshold must be one positive number per layer where current_std is None, "
            f"got {threshold!r}"
        )
    return float(values[0])
