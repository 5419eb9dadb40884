"""Recursions over time, for the hand-derived backward and forward-mode passes of all neurons."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

BLOCK = 2**17  # numbers


def block(like: Tensor) -> int:
    """Steps whose temporaries fit a core's cache; on an accelerator all, to launch less."""
    steps = like.shape[0]
    if like.device.type != "cpu":
        return steps
    return max(1, min(steps, BLOCK * steps // max(1, like.numel())))


def at(value: Any, t: int, like: Tensor) -> Any:
    """Step t of a derivative; thresholds and leaks have fewer dimensions than a trajectory."""
    return value[t] if isinstance(value, Tensor) and value.dim() == like.dim() else value


def add_up(parts: list[Tensor], target: Tensor, total: Tensor | None = None) -> Tensor | None:
    """Add parts, each summed to the shape of the target, to a total; None for nothing."""
    for part in parts:
        part = part.sum_to_size(target.shape)
        total = part if total is None else total + part
    return total


def reverse_in_place(total: Tensor, low: int, high: int, factor: Any) -> None:
    """Run λ[t] += factor[t] λ[t+1] backward in time over the steps low to high, in place."""
    for t in range(min(high, total.shape[0] - 1) - 1, low - 1, -1):
        step = at(factor, t - low, total)
        if isinstance(step, Tensor):
            total[t].addcmul_(step, total[t + 1])
        else:
            total[t].add_(total[t + 1], alpha=step)


def reverse_recorded(local: Any, factor: Any) -> Tensor:
    """Run the same recursion over all steps, with operations that autograd can record."""
    steps = [local[-1]]
    for t in range(local.shape[0] - 2, -1, -1):
        steps.append(local[t] + at(factor, t, local) * steps[-1])
    return torch.stack(steps[::-1])


# --- torch's transforms ---------------------------------------------------------------------------


def recorded() -> bool:
    """Whether a backward pass is itself differentiated, and so must work out of place.

    Grad mode is on then (create_graph, torch.func). Under torch.func a no_grad outside, such as
    curvlinops', says nothing.
    """
    return torch.is_grad_enabled() or torch._C._are_functorch_transforms_active()


def mapped_gradient(*grads: Tensor | None) -> bool:
    """Whether `torch.autograd.grad(..., is_grads_batched=True)` maps over these gradients.

    Its batched tensors know no `out=`, and are no functorch ones.
    """
    batched = torch._C._functorch.is_legacy_batchedtensor
    return any(grad is not None and batched(grad) for grad in grads)


def numbers_apart(values: tuple[Any, ...]) -> tuple[list[Any], list[Tensor | None]]:
    """Numbers, which a graph keeps as they are, and tensors, which it saves."""
    numbers = [None if isinstance(value, Tensor) else value for value in values]
    return numbers, [value if isinstance(value, Tensor) else None for value in values]


def plain(kept: Tensor | None) -> Tensor | None:
    """A saved tensor without its own tangent, for a forward-mode pass.

    torch switches forward mode off in such a pass, which would silently drop the tangents of an
    outer forward-mode derivative. So switch it on there (`forward_ad._set_fwd_grad_enabled`), for
    values without their own tangents.
    """
    return None if kept is None else forward_ad.unpack_dual(kept).primal


def mapped(
    info: Any, in_dims: tuple[int | None, ...], current: Tensor, others: tuple[Any, ...]
) -> tuple[Tensor, list[Any]]:
    """Inputs of a function under vmap: the mapped dimension is one more batch dimension.

    It stands right after time in the current, and first in the others, which have as many
    dimensions as one step.
    """
    if in_dims[0] is None:
        current = current.unsqueeze(1).expand(-1, info.batch_size, *current.shape[1:])
    else:
        current = current.movedim(in_dims[0], 1)
    moved = []
    for value, dim in zip(others, in_dims[1 : len(others) + 1], strict=True):
        if dim is not None:
            value = value.movedim(dim, 0)
            missing = current.dim() - 1 - value.dim()
            value = value.reshape(value.shape[0], *[1] * missing, *value.shape[1:])
        moved.append(value)
    return current, moved
