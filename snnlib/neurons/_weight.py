"""Recurrent weights: how many, how they are drawn, and what the neurons see of them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

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
