"""The block of the spiking ResNets: two convolutions and a shortcut around them."""

from __future__ import annotations

import math
from collections import OrderedDict

from torch import Tensor, nn

from snnlib.networks.feed_forward import FeedForward
from snnlib.networks.tdbn import TdBN
from snnlib.networks.weights import convolution, every_step


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
        self.conv1 = convolution(channels, out_channels, stride=stride)
        self.norm1 = TdBN(out_channels, std=stds[0], input_gain=input_gain)
        self.lif1, lif2 = neurons
        self.conv2 = convolution(out_channels, out_channels)
        self.norm2 = TdBN(out_channels, std=stds[1], input_gain=input_gain)
        self.shortcut: FeedForward | None = None
        if stride != 1 or channels != out_channels:
            self.shortcut = FeedForward(
                OrderedDict(
                    conv=convolution(channels, out_channels, kernel=1, stride=stride),
                    norm=TdBN(out_channels, std=stds[1], input_gain=input_gain),
                )
            )
        self.lif2 = lif2

    def forward(self, x: Tensor) -> Tensor:
        """Spikes [T, batch, out_channels, ...] of spikes [T, batch, channels, height, width]."""
        hidden = self.lif1(self.norm1(every_step(self.conv1, x)))
        current = self.norm2(every_step(self.conv2, hidden))
        around = self.input_gain * x if self.shortcut is None else self.shortcut(x)
        return self.lif2(current + around)
