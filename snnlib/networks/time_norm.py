"""Batch norms over time and batch, in their plain form, and a network behind them."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn

from snnlib._checks import scalars
from snnlib.networks.feed_forward import FeedForward
from snnlib.networks.settings import check_integer, lif_layers
from snnlib.surrogate import Surrogate

__all__ = ["TimeNorm", "time_normed"]

Kind: TypeAlias = Literal["tdBN", "TEBN", "TAB"]


class TimeNorm(nn.Module):
    r"""Batch norm of currents over steps and batch, as tdBN, TEBN or TAB in their plain form.

    .. math:: i[t] = p_t\,\Big(\alpha\,w\,\frac{x[t] - E[x]}{\sqrt{Var[x] + \epsilon}} + b\Big)

    with learnable w (1 at the start) and b (0) per channel and `std` = α. Mean and variance are

    * over all steps and the batch for `"tdBN"`, with p_t = 1;
    * the same for `"TEBN"`, with learnable p_t (1 at the start);
    * over the steps up to t and the batch for `"TAB"`, with learnable p_t.

    In evaluation they are the running means over the batches before. `TdBN` is the first with
    channels and places, as in the residual network.

    Args:
        channels: Number of channels C.
        steps: Number of steps T.
        kind: `"tdBN"`, `"TEBN"` or `"TAB"`.
        std: α > 0, usually the threshold of the neurons behind, times a factor.
        momentum: Weight of the newest batch in the running means, in (0, 1].
        eps: ε > 0, added to the variance.

    Raises:
        ValueError: If an argument is outside its range.

    Source:
        Zheng et al. 2021 (tdBN); TEBN and TAB as Kook et al. 2026 describe them, whose own papers
        were not read.

    Example:
        >>> x = 7 + 2 * torch.randn(4, 10, 3, generator=torch.Generator().manual_seed(0))
        >>> for kind in ("tdBN", "TEBN"):
        ...     current = TimeNorm(3, steps=4, kind=kind, std=0.5)(x)
        ...     assert abs(current.mean()) < 1e-6
        ...     assert abs(current.std(correction=0) - 0.5) < 1e-5

        TAB takes the first step as it comes.

        >>> current = TimeNorm(3, steps=4, kind="TAB", std=0.5)(x)
        >>> bool(abs(current[0].std(correction=0) - 0.5) < 1e-5)
        True
    """

    mean: Tensor
    square: Tensor

    def __init__(
        self,
        channels: int,
        *,
        steps: int,
        kind: Kind = "tdBN",
        std: float = 1.0,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        check_integer("channels", channels)
        check_integer("steps", steps)
        if kind not in get_args(Kind):
            raise ValueError(f"kind must be one of {', '.join(get_args(Kind))}, got {kind!r}")
        for name, value in (("std", std), ("eps", eps)):
            if not 0 < value < math.inf:
                raise ValueError(f"{name} must be positive and finite, got {value!r}")
        if not 0 < momentum <= 1:
            raise ValueError(f"momentum must be in (0, 1], got {momentum!r}")
        self.kind, self.steps, self.std, self.momentum, self.eps = kind, steps, std, momentum, eps
        self.gain = nn.Parameter(torch.ones(channels))
        self.shift = nn.Parameter(torch.zeros(channels))
        self.scale = nn.Parameter(torch.ones(steps, 1, 1), requires_grad=kind != "tdBN")
        shape = (steps if kind == "TAB" else 1, 1, channels)
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("square", torch.ones(shape))

    def forward(self, x: Tensor) -> Tensor:
        """Currents of the same shape.

        Args:
            x: [T, batch, channels].

        Raises:
            ValueError: If x has another number of dimensions, steps or channels.
        """
        if x.dim() != 3 or (x.shape[0], x.shape[2]) != (self.steps, len(self.gain)):
            raise ValueError(
                f"x must be [{self.steps} steps, batch, {len(self.gain)} channels], "
                f"got {tuple(x.shape)}"
            )
        mean, square = self._of_batch(x) if self.training else (self.mean, self.square)
        variance = (square - mean**2).clamp_min(0)
        normed = (x - mean) / (variance + self.eps).sqrt()
        return self.scale * (self.std * self.gain * normed + self.shift)

    def _of_batch(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """First and second moment of a batch; moves the running means."""
        mean, square = x.mean(1, keepdim=True), x.square().mean(1, keepdim=True)
        if self.kind == "TAB":
            count = torch.arange(1, self.steps + 1, device=x.device)[:, None, None]
            mean, square = mean.cumsum(0) / count, square.cumsum(0) / count
        else:
            mean, square = mean.mean(0, True), square.mean(0, True)
        with torch.no_grad():
            self.mean.lerp_(mean, self.momentum)
            self.square.lerp_(square, self.momentum)
        return mean, square

    def extra_repr(self) -> str:
        """The settings, for `print(model)`."""
        return f"{len(self.gain)}, steps={self.steps}, kind={self.kind!r}, std={self.std:g}"


@scalars("threshold", "leak")
def time_normed(
    sizes: Sequence[int],
    *,
    steps: int,
    norm: Kind = "tdBN",
    threshold: float = 1.0,
    leak: float = 0.5,
    reset: Any = "subtract_leak",
    surrogate: Surrogate | None = None,
    generator: torch.Generator | None = None,
    **neuron: Any,
) -> FeedForward:
    r"""Fully connected network with a batch norm over time before every layer of neurons.

    Layers are named `linear1`, `norm1`, `lif1`, ..., `readout`; the readout is linear, with a bias,
    at every step. A norm's currents have half the threshold as standard deviation at the start;
    weights are Kaiming's normal ones, the readout's too.

    Args:
        sizes: Number of inputs, of neurons of each hidden layer, and of classes; at least three.
        steps: Number of steps T that the norms are for.
        norm: `"tdBN"`, `"TEBN"` or `"TAB"`, see `TimeNorm`.
        threshold: θ > 0 of all layers.
        leak: β in [0, 1] of all layers.
        reset: What a spike does to the potential, see `snnlib.neurons.lif`.
        surrogate: Derivative of the spike; the rectangle if None.
        generator: Random numbers for the weights; None is torch's global generator.
        **neuron: Further settings of `snnlib.neurons.LIF`, for all layers.

    Returns:
        A network: currents [T, batch, sizes[0]] to values [T, batch, sizes[-1]].

    Raises:
        ValueError: If there are fewer than three sizes, one is not a positive integer, or a
            setting of the norms or the neurons is refused.

    Source: Kook et al. 2026, sections 3 and 4, in small.

    Example:
        >>> network = time_normed([3, 5, 2], steps=4, generator=torch.Generator().manual_seed(0))
        >>> [name for name, _ in network.named_children()]
        ['linear1', 'norm1', 'lif1', 'readout']
        >>> network(torch.rand(4, 7, 3)).shape
        torch.Size([4, 7, 2])
    """
    sizes = list(sizes)
    if len(sizes) < 3:
        raise ValueError(f"sizes must name inputs, hidden layers and classes, got {sizes!r}")
    for size in sizes:
        check_integer("sizes", size)
    if norm not in get_args(Kind):
        raise ValueError(f"norm must be one of {', '.join(get_args(Kind))}, got {norm!r}")
    if surrogate is None:
        surrogate = Surrogate("rectangular")
    hidden = sizes[:-1]
    neurons = lif_layers(len(hidden) - 1, threshold, leak, reset, surrogate, True, neuron)
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for index, (fan_in, fan_out) in enumerate(pairwise(hidden), start=1):
        layers[f"linear{index}"] = nn.utils.skip_init(nn.Linear, fan_in, fan_out, bias=False)
        layers[f"norm{index}"] = TimeNorm(fan_out, steps=steps, kind=norm, std=0.5 * threshold)
        layers[f"lif{index}"] = neurons[index - 1]
    layers["readout"] = nn.utils.skip_init(nn.Linear, hidden[-1], sizes[-1])
    for layer in layers.values():
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_normal_(layer.weight, generator=generator)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return FeedForward(layers)
