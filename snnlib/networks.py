r"""The networks of the papers: feed-forward ones, stacks of recurrent layers, a residual network.

Micheli et al., section V: currents in, spikes out. Chang et al.: batch norm and pooling.
Herranz-Celotti & Rouat, section 2.5: recurrent layers with a linear readout at every step. Zheng et
al. and Kook et al.: the spiking ResNet-19.

Tensors over time are time-major, [T, batch, features...]. Without feedback between layers all T
steps of a layer are one matrix product over T·batch rows, then one fused neuron call over time.
"""

from __future__ import annotations

import copy
import math
from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn

from snnlib._tdbn import TdBN
from snnlib.init import initialize_
from snnlib.neurons import LIF, AdaptiveLIF, RecurrentLIF, SpikingLSTM
from snnlib.surrogate import Surrogate

__all__ = [
    "FeedForward",
    "ResidualBlock",
    "TdBN",
    "constant",
    "convnet",
    "mlp",
    "recurrent",
    "residual",
    "vgg",
]

PerLayer = float | Tensor | Sequence[float | Tensor]
Recurrent: TypeAlias = Literal["lif", "alif", "slstm"]


def constant(x: Tensor, steps: int) -> Tensor:
    r"""Repeat a static input over time without a copy: i[t] = x for t = 0, ..., T-1.

    Args:
        x: Input [batch, features...].
        steps: Number of time steps T >= 1.

    Returns:
        A view [T, batch, features...] of x (read-only: all steps share their memory).

    Raises:
        ValueError: If `steps` is not a positive integer.

    Source: Micheli et al. 2024, section IV-B: the input is fed at every time step.

    Example:
        >>> x = torch.eye(2)
        >>> current = constant(x, 3)
        >>> current.shape, current.data_ptr() == x.data_ptr()
        (torch.Size([3, 2, 2]), True)
        >>> current.sum().item() == 3 * x.sum().item()
        True
    """
    _check_integer("steps", steps)
    return x.expand(steps, *x.shape)


class FeedForward(nn.Sequential):
    """Layers in a row over time: [T, batch, features...] in, [T, batch, ...] out.

    Linear and convolution layers see all time steps as rows of one batch. A current that repeats
    the same values at every step (`constant`) passes its first such layer once.

    Example:
        Two steps through a layer of weights are the same as each step alone.

        >>> network = FeedForward(OrderedDict(linear=nn.Linear(3, 2)))
        >>> x = torch.arange(12.0).reshape(2, 2, 3)
        >>> torch.equal(network(x)[1], network(x[1:])[0])
        True
    """

    def forward(self, current: Tensor) -> Tensor:
        """Output of the last layer.

        Raises:
            ValueError: If the current has fewer than the three dimensions [T, batch, features].
        """
        if current.dim() < 3:
            raise ValueError(
                "current must be [T, batch, features...] with at least three dimensions, "
                f"got {tuple(current.shape)}"
            )
        # In one function: torch.compile would trace a helper once for layers of all shapes.
        for layer in self:
            steps = current.shape[0]
            if not isinstance(layer, (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)):
                current = layer(current)
            elif steps > 1 and current.stride(0) == 0:  # the same at every step
                current = layer(current[0])
                current = current.expand(steps, *current.shape)
            else:
                batch = current.shape[1]
                current = layer(current.flatten(0, 1)).unflatten(0, (steps, batch))
        return current


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
        _check_integer("sizes", size)
    count = len(sizes) - 1 + encode
    neurons = iter(_neurons(count, threshold, leak, reset, surrogate, detach_reset, neuron))
    layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten(2))
    if encode:
        layers["lif0"] = next(neurons)
    for index, (fan_in, fan_out) in enumerate(pairwise(sizes), start=1):
        layers[f"linear{index}"] = nn.utils.skip_init(nn.Linear, fan_in, fan_out, bias=bias)
        layers[f"lif{index}"] = next(neurons)
    return _initialized(FeedForward(layers), init, generator)


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
            _check_integer(name, value)
    _check_integer("kernel", kernel)
    if kernel % 2 == 0:
        raise ValueError(f"kernel must be odd (padding kernel // 2 keeps the size), got {kernel}")
    count = len(channels) + 1
    neurons = iter(_neurons(count, threshold, leak, reset, surrogate, detach_reset, neuron))
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
    return _initialized(FeedForward(layers), init, generator)


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
        _check_integer("sizes", size)
    if neuron not in get_args(Recurrent):
        known = ", ".join(repr(name) for name in get_args(Recurrent))
        raise ValueError(f"neuron must be one of {known}, got {neuron!r}")
    gates = 4 if neuron == "slstm" else 1
    widths = sizes[1:-1]
    stack: list[nn.Module]
    if neuron == "slstm":
        if init not in ("glorot", None):
            raise ValueError(f"init must be 'glorot' or None for 'slstm', got {init!r}")
        stack = [
            SpikingLSTM(width, surrogate=surrogate, generator=generator, **settings)
            for width in widths
        ]
    else:
        kind = RecurrentLIF if neuron == "lif" else AdaptiveLIF
        common = dict(
            reset=reset, surrogate=surrogate, detach_reset=detach_reset, generator=generator
        )
        stack = [
            kind(width, threshold=theta, leak=beta, **common, **settings)
            for width, theta, beta in zip(
                widths,
                _per_layer("threshold", threshold, len(widths)),
                _per_layer("leak", leak, len(widths)),
                strict=True,
            )
        ]
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for index, (fan_in, width, cells) in enumerate(
        zip(sizes, widths, stack, strict=False), start=1
    ):
        layers[f"linear{index}"] = nn.utils.skip_init(nn.Linear, fan_in, gates * width, bias=bias)
        layers[f"neurons{index}"] = cells
    layers["readout"] = nn.utils.skip_init(nn.Linear, widths[-1], sizes[-1], bias=bias)
    network = _initialized(FeedForward(layers), None, generator)
    with torch.no_grad():
        for layer in network:
            if bias and isinstance(layer, nn.Linear):
                layer.bias.zero_()
            if init == "glorot":
                nn.init.xavier_uniform_(layer.weight, generator=generator)  # type: ignore[arg-type]
                if getattr(layer, "self_connections", True) is False:
                    layer.weight.fill_diagonal_(0.0)  # type: ignore[operator]
    if init not in ("glorot", None):
        initialize_(network, init, generator=generator)
    return network


class ResidualBlock(nn.Module):
    r"""Two convolutions and a shortcut around them: the spikes of the block below are added.

    .. math:: i_1 = N_1(W_1 * x), \qquad i_2 = N_2(W_2 * x_1) + S(x)

    where x₁ are the spikes of the neurons `lif1` that i₁ drives, the output is that of `lif2`
    driven by i₂, and N is `TdBN`. S is the identity times λ (as the current is), or a 1 by 1
    convolution with `TdBN` where the channels or the image's size change.

    Args:
        channels: Channels of the input.
        out_channels: Channels of the output.
        stride: Step of the first convolution and of the shortcut, 1 or 2.
        neurons: The two layers of neurons, of this block alone.
        stds: Standard deviation of the normalized current of each, see `TdBN`; the second holds
            for each of the two branches that are added.
        input_gain: λ, factor of the current.
    """

    def __init__(
        self,
        channels: int,
        out_channels: int,
        *,
        stride: int,
        neurons: tuple[nn.Module, nn.Module],
        stds: tuple[float, float] = (1.0, math.sqrt(0.5)),
        input_gain: float = 1.0,
    ) -> None:
        super().__init__()
        self.input_gain = input_gain
        self.conv1 = _convolution(channels, out_channels, stride=stride)
        self.norm1 = TdBN(out_channels, std=stds[0], input_gain=input_gain)
        self.lif1, lif2 = neurons
        self.conv2 = _convolution(out_channels, out_channels)
        self.norm2 = TdBN(out_channels, std=stds[1], input_gain=input_gain)
        self.shortcut: FeedForward | None = None
        if stride != 1 or channels != out_channels:
            self.shortcut = FeedForward(
                OrderedDict(
                    conv=_convolution(channels, out_channels, kernel=1, stride=stride),
                    norm=TdBN(out_channels, std=stds[1], input_gain=input_gain),
                )
            )
        self.lif2 = lif2

    def forward(self, x: Tensor) -> Tensor:
        """Spikes [T, batch, out_channels, ...] of spikes [T, batch, channels, height, width]."""
        hidden = self.lif1(self.norm1(_every_step(self.conv1, x)))
        current = self.norm2(_every_step(self.conv2, hidden))
        around = self.input_gain * x if self.shortcut is None else self.shortcut(x)
        return self.lif2(current + around)


class SpatialMean(nn.Module):
    """Mean over the places of an image: [T, batch, channels, height, width] to three dimensions."""

    def forward(self, x: Tensor) -> Tensor:
        """The means, [T, batch, channels]."""
        return x.mean((-2, -1))


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
    if len(shape) != 3:
        raise ValueError(f"shape must be (channels, height, width), got {tuple(shape)!r}")
    if not blocks or len(blocks) != len(channels):
        raise ValueError(
            "blocks and channels must have one number per stage, "
            f"got {len(blocks)} and {len(channels)}"
        )
    sizes = dict(shape=shape, blocks=blocks, channels=channels, classes=[classes])
    for name, values in sizes.items():
        for value in values:
            _check_integer(name, value)
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
    widths = [max(1, round(width * count)) for count in channels]
    if hidden is None:
        hidden = max(1, round(width * channels[-1] / 2))
    count = 1 + 2 * sum(blocks) + (hidden > 0)
    thresholds = _per_layer("threshold", threshold, count)
    stds = [_current_std(theta, current_std) for theta in thresholds]
    branch = math.sqrt(0.5) if current_std is None else 1.0
    neurons = _neurons(count, thresholds, leak, reset, surrogate, detach_reset, neuron)

    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=_convolution(shape[0], widths[0]),
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
    return _initialized(FeedForward(layers), None, generator)


class MaxPool(nn.Module):
    """Largest value of every square: [T, batch, channels, height, width], halved by default.

    Of spikes it is whether any neuron of the square fires.
    """

    def __init__(self, size: int = 2) -> None:
        super().__init__()
        _check_integer("size", size)
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
            _check_integer(name, value)
    places = [side // 2 ** len(channels) for side in shape[1:]]
    if 0 in places:
        raise ValueError(
            f"shape must be at least {2 ** len(channels)} pixels high and wide for "
            f"{len(channels)} blocks, got {tuple(shape)!r}"
        )
    count = len(channels) + 2
    neurons = iter(_neurons(count, threshold, leak, reset, surrogate, detach_reset, neuron))
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for index, (below, above) in enumerate(pairwise([shape[0], *channels]), start=1):
        layers[f"conv{index}"] = _convolution(below, above)
        layers[f"norm{index}"] = TdBN(above)
        layers[f"lif{index}"] = next(neurons)
        layers[f"pool{index}"] = MaxPool()
    layers["flatten"] = nn.Flatten(2)
    widths = [channels[-1] * math.prod(places), hidden, classes]
    for index, (below, above) in enumerate(pairwise(widths), start=1):
        layers[f"linear{index}"] = nn.utils.skip_init(nn.Linear, below, above, bias=False)
        layers[f"lif{len(channels) + index}"] = next(neurons)
    return _initialized(FeedForward(layers), init, generator)


def _convolution(fan_in: int, fan_out: int, *, kernel: int = 3, stride: int = 1) -> nn.Conv2d:
    """A convolution without bias that keeps the image's size, or halves it."""
    return nn.utils.skip_init(
        nn.Conv2d, fan_in, fan_out, kernel, stride=stride, padding=kernel // 2, bias=False
    )


def _every_step(layer: nn.Module, x: Tensor) -> Tensor:
    """A layer over all steps as rows of one batch."""
    return layer(x.flatten(0, 1)).unflatten(0, x.shape[:2])


def _current_std(threshold: float | Tensor, current_std: float | None) -> float:
    """αV of a serial layer: the given number, else its threshold."""
    if current_std is not None:
        return current_std
    values = torch.as_tensor(threshold, dtype=torch.float64).flatten()
    if not bool((values > 0).all()) or not bool((values == values[0]).all()):
        raise ValueError(
            "threshold must be one positive number per layer where current_std is None, "
            f"got {threshold!r}"
        )
    return float(values[0])


def _check_integer(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} must be a positive integer, got {value!r}")


def _neurons(
    count: int,
    threshold: PerLayer,
    leak: PerLayer,
    reset: Any,
    surrogate: Surrogate | None,
    detach_reset: bool,
    neuron: dict[str, Any],
) -> list[LIF]:
    thresholds, leaks = (
        _per_layer(name, value, count) for name, value in (("threshold", threshold), ("leak", leak))
    )
    return [
        LIF(
            threshold=theta,
            leak=beta,
            reset=reset,
            surrogate=surrogate,
            detach_reset=detach_reset,
            **copy.deepcopy(neuron),  # a module among the settings belongs to one layer
        )
        for theta, beta in zip(thresholds, leaks, strict=True)
    ]


def _per_layer(name: str, value: PerLayer, count: int) -> list[float | Tensor]:
    """One value per spiking layer; a list gives one each, anything else holds for all."""
    if not isinstance(value, (list, tuple)):
        return [value] * count  # type: ignore[list-item]
    if len(value) != count:
        raise ValueError(
            f"{name} must be one value or a list of {count}, one per spiking layer, "
            f"got {len(value)} values"
        )
    return list(value)


def _initialized(
    network: FeedForward, init: str | None, generator: torch.Generator | None
) -> FeedForward:
    """Fill the weights, which are allocated but not yet drawn."""
    layers = [layer for layer in network.modules() if isinstance(layer, (nn.Linear, nn.Conv2d))]
    if init is not None:
        initialize_(network, init, generator=generator)
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
