r"""Batch normalization over time and batch that knows the threshold (tdBN)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["TdBN"]


class TdBN(nn.Module):
    r"""Threshold-dependent batch normalization: one mean and variance per channel over all steps.

    .. math:: i = \lambda\,\Big(w\,\alpha V \frac{x - E[x]}{\sqrt{Var[x] + \epsilon}} + b\Big)

    with learnable w (1 at the start) and b (0), `std` = αV and `input_gain` = λ, so that at the
    start every channel is a current of mean 0 and standard deviation λαV. Mean and variance are
    taken over steps, batch and places in training, and from their running means in evaluation,
    where the layer is linear: no step looks at another.

    Args:
        channels: Number of channels C.
        std: αV > 0: the threshold of the neurons behind, times 1/√2 where two branches are added.
        input_gain: λ > 0: factor of the current in the neuron's equation.
        momentum: Weight of the new batch in the running means, in (0, 1].
        eps: ε > 0, added to the variance.

    Raises:
        ValueError: If an argument is outside its range.

    Source: Zheng et al. 2021, "Going deeper with directly-trained larger spiking neural networks".

    Example:
        >>> norm = TdBN(3, std=0.5)
        >>> x = 7 + 2 * torch.randn(4, 10, 3, 5, 5, generator=torch.Generator().manual_seed(0))
        >>> current = norm(x)
        >>> abs(current.mean().item()) < 1e-6, abs(current.std(correction=0).item() - 0.5) < 1e-6
        (True, True)
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(
        self,
        channels: int,
        *,
        std: float = 1.0,
        input_gain: float = 1.0,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        if isinstance(channels, bool) or not isinstance(channels, int) or channels < 1:
            raise ValueError(f"channels must be a positive integer, got {channels!r}")
        for name, value in (("std", std), ("input_gain", input_gain), ("eps", eps)):
            if not 0 < value < math.inf:
                raise ValueError(f"{name} must be positive and finite, got {value!r}")
        if not 0 < momentum <= 1:
            raise ValueError(f"momentum must be in (0, 1], got {momentum!r}")
        self.std, self.input_gain, self.momentum, self.eps = std, input_gain, momentum, eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    @property
    def scale(self) -> Tensor:
        """What a normalized value is multiplied with, [channels]."""
        return self.weight * (self.input_gain * self.std)

    @property
    def shift(self) -> Tensor:
        """What is added then, [channels]."""
        return self.bias * self.input_gain

    def forward(self, x: Tensor) -> Tensor:
        """Currents of the same shape.

        Args:
            x: [T, batch, channels, places...].

        Raises:
            ValueError: If x has fewer than three dimensions or another number of channels, or in
                training holds a single value per channel.
        """
        channels = len(self.weight)
        if x.dim() < 3 or x.shape[2] != channels:
            raise ValueError(
                f"x must be [T, batch, {channels} channels, places...], got {tuple(x.shape)}"
            )
        normalized = functional.batch_norm(
            x.flatten(0, 1),
            self.running_mean,
            self.running_var,
            self.scale,
            self.shift,
            self.training,
            self.momentum,
            self.eps,
        )
        return normalized.unflatten(0, x.shape[:2])

    def extra_repr(self) -> str:
        """The settings, for `print(model)`."""
        return f"{len(self.weight)}, std={self.std:g}, input_gain={self.input_gain:g}"
