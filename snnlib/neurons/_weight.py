"""Recurrent weights: how many, how they are drawn, and what the neurons see of them."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from snnlib.neurons._checks import floating


def check_width(width: object) -> None:
    """Check the number of neurons of a layer."""
    if isinstance(width, bool) or not isinstance(width, int) or width < 1:
        raise ValueError(f"width must be a positive integer, got {width!r}")


@torch.no_grad()
def draw_(weight: Tensor, generator: torch.Generator | None) -> None:
    """Fill a weight [m, n] from the uniform law on ±1/√n, as torch draws a linear layer."""
    bound = 1 / math.sqrt(weight.shape[1])
    weight.uniform_(-bound, bound, generator=generator)


def fitted_weight(weight: Tensor, current: Tensor, self_connections: bool) -> Tensor:
    """The weight [n, n] as the neurons of a current [T, batch, n] see it."""
    weight = floating("weight", weight)
    width = current.shape[-1]
    if weight.shape != (width, width):
        raise ValueError(
            f"weight must be [n, n] = [{width}, {width}] for a current of {width} neurons, "
            f"got shape {list(weight.shape)}"
        )
    weight = weight.to(current.dtype)
    if self_connections:
        return weight
    return weight.masked_fill(torch.eye(width, dtype=torch.bool, device=weight.device), 0.0)


class RecurrentWeights(nn.Module):
    """What a layer with recurrent weights adds to one without; stands in front of it as a base."""

    recurrent: ClassVar[bool] = True

    weight: nn.Parameter
    bias: nn.Parameter | None
    self_connections: bool

    def _connect(
        self, width: int, self_connections: bool, bias: bool, generator: torch.Generator | None
    ) -> None:
        """Register weight and bias, and draw them; after the neuron's own constructor."""
        self.self_connections = self_connections
        self.weight = nn.Parameter(torch.empty(width, width))
        self.register_parameter("bias", nn.Parameter(torch.empty(width)) if bias else None)
        self.reset_parameters(generator)

    @property
    def width(self) -> int:
        """Number n of neurons."""
        return self.weight.shape[0]

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw the weight from the uniform law on ±1/√n, without self-connections; no bias.

        Args:
            generator: Random numbers; None is torch's global generator.
        """
        draw_(self.weight, generator)
        with torch.no_grad():
            if not self.self_connections:
                self.weight.fill_diagonal_(0.0)
            if self.bias is not None:
                self.bias.zero_()

    def extra_repr(self) -> str:
        """The settings, for `print(model)`."""
        parts = [str(self.width), super().extra_repr()]
        if self.self_connections:
            parts.append("self_connections=True")
        if self.bias is not None:
            parts.append("bias=True")
        return ", ".join(parts)
