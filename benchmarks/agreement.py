"""Do two networks with the same weights make the same spikes and gradients?

Float32 products round differently by another route or other block sizes; a potential within that
rounding of the threshold then spikes in one and not in the other, and what follows differs. So the
share of spikes that differ is small but not zero, and grows with depth. In float64 the same
comparison shows whether the equations are the same.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from benchmarks.ours import Variant

__all__ = ["agreement", "agreements", "compare"]

SAMPLES = 4
"""Samples of the batch that are compared in float64."""


def compare(
    first: nn.Module, second: nn.Module, current: Tensor, cotangent: Tensor
) -> tuple[float, float]:
    """Share of outputs that differ, and relative distance of all gradients.

    Both networks must have equal parameters in the same order.

    Example:
        >>> linear = nn.Linear(3, 2)
        >>> compare(linear, linear, torch.ones(1, 1, 3), torch.ones(1, 1, 2))
        (0.0, 0.0)
    """
    one, two = first(current), second(current)
    differ = (one != two).double().mean().item()
    if not one.requires_grad:
        return differ, 0.0
    of_one, of_two = (
        torch.cat([g.flatten().double() for g in torch.autograd.grad(out, weights, cotangent)])
        for out, weights in ((one, list(first.parameters())), (two, list(second.parameters())))
    )
    scale = of_two.norm().item()
    distance = (of_one - of_two).norm().item()
    return differ, distance / scale if scale else float(distance > 0)


def agreement(
    first: nn.Module, second: nn.Module, current: Tensor, cotangent: Tensor, *, backward: bool
) -> dict[str, float]:
    """The comparison in float32, as it is timed, and of a few samples in float64.

    Args:
        first: A network.
        second: The one that it should agree with, with equal parameters.
        current: Input [T, batch, ...].
        cotangent: Gradient of the output.
        backward: Whether gradients are compared too.

    Returns:
        "spikes" and "spikes64", and with gradients "gradient" and "gradient64".
    """
    with torch.set_grad_enabled(backward):
        # first: a module that has run may keep tensors of a graph, which cannot be copied
        both = copy.deepcopy(nn.ModuleList([first, second])).double()
        few = slice(0, SAMPLES)
        exact = compare(
            both[0],
            both[1],
            current[:, few].double(),
            cotangent[:, few].double(),
        )
        found = compare(first, second, current, cotangent)
    rows = {"spikes": found[0], "spikes64": exact[0]}
    return rows | ({"gradient": found[1], "gradient64": exact[1]} if backward else {})


def agreements(
    variants: Mapping[str, Variant], current: Tensor, cotangent: Tensor, *, backward: bool
) -> dict[str, dict[str, float]]:
    """Every variant of ours against the network whose layers are called one by one."""
    plain = variants["snnlib, unfused"].run
    found = {}
    for name, variant in variants.items():
        assert isinstance(variant.run, nn.Module) and isinstance(plain, nn.Module)
        with variant.context():
            found[name] = agreement(variant.run, plain, current, cotangent, backward=backward)
    return found
