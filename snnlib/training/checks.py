"""What stops a training: data and settings before it, numbers that are not finite during it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from snnlib import probe
from snnlib.training.sources import Batches, Samples

__all__ = ["check_data", "check_positive", "gradient_norm", "where"]


def check_positive(**numbers: int) -> None:
    """Refuse numbers that do not count anything.

    Raises:
        ValueError: Names the first one that is not a positive integer.
    """
    for name, number in numbers.items():
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            raise ValueError(f"{name} must be a positive integer, got {number!r}")


def check_data(name: str, data: Samples) -> None:
    """Refuse data that are empty or not finite.

    Raises:
        ValueError: Names the first bad sample.
    """
    if len(data) == 0:
        raise ValueError(f"{name} must hold at least one sample, got {data!r}")
    if isinstance(data, Batches) or not data.inputs.is_floating_point():
        return
    # A NaN potential never exceeds a threshold: the network would quietly train on silence.
    bad = (~torch.isfinite(data.inputs).flatten(1).all(1)).nonzero()
    if len(bad):
        raise ValueError(f"{name} must be finite, got a sample that is not: {bad[0].item()}")


def gradient_norm(parameters: Sequence[nn.Parameter]) -> Tensor:
    """Norm of all gradients as one vector: finite if and only if it could be computed from them."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    return torch.nn.utils.get_total_norm(gradients)


def where(network: nn.Module, current: Tensor) -> str:
    """The first thing in the network that is not finite, in the order of the forward pass."""
    for name, parameter in network.named_parameters():
        if not bool(torch.isfinite(parameter).all()):
            return f"parameter {name!r} is not finite"
    try:
        statistics = probe.record(network, current, gradient=False)
    except ValueError:  # no layer whose potential it can see
        statistics = None
    if statistics is not None and len(bad := (~torch.isfinite(statistics.mean)).nonzero()):
        layer, step = bad[0].tolist()
        return f"the potential of {statistics.layers[layer]!r} is not finite from step {step} on"
    for name, parameter in network.named_parameters():
        if parameter.grad is not None and not bool(torch.isfinite(parameter.grad).all()):
            return f"the gradient of {name!r} is not finite"
    return "the network is finite, the loss or the norm of the gradient is not"
