r"""A layer of weights and the LIF neurons behind it as one node of the autograd graph.

The current never leaves the node, so that the potentials are written over it, and what is kept for
the way back can be chosen:

    "full"      potentials and spikes                           8 bytes a neuron and step (float32)
    "bfloat16"  u - θ in bfloat16, incoming spikes as bits      2.1 bytes
    "spikes"    incoming spikes as bits; the rest is made anew  0.1 bytes, and one pass more

A number in bfloat16 has the sign and the exponent of its float32, so the spikes are exact with
"bfloat16", and σ'(u - θ) is off by its three digits. "spikes" makes the same bits again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import torch
from torch import Tensor

from snnlib.neurons._heap import give_back
from snnlib.neurons._lif_passes import Trajectory, adjoint, integrate
from snnlib.neurons._recursion import numbers_apart
from snnlib.neurons._settings import Settings
from snnlib.neurons.lif import run_lif
from snnlib.products import Product, gradients, transformed

Keep: TypeAlias = Literal["full", "bfloat16", "spikes"]
KEEP = get_args(Keep)


@dataclass(frozen=True)
class Node:
    """What a node is set by.

    Attributes:
        product: The layer of weights.
        neuron: Settings of the neurons.
        steps: T; if the input has one step and this is more, it is the same at every step.
        keep: What is kept for the way back.
        back: Whether there will be one.
    """

    product: Product
    neuron: Settings
    steps: int
    keep: Keep
    back: bool


def weighted_lif(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    threshold: float | Tensor,
    leak: float | Tensor,
    membrane0: Tensor | None,
    node: Node,
) -> Tensor:
    """Spikes [T, batch, ...] of the neurons behind a layer of weights.

    Args:
        x: Input [T, batch, ...], or [1, batch, ...] if it is the same at every step.
        weight: Weights, as `node.product` wants them.
        bias: Bias, or None.
        threshold: θ, a number or a tensor with one element.
        leak: β, likewise.
        membrane0: Membrane before the first step, a tensor with one element; None is rest.
        node: The settings.
    """
    constants = [
        value.to(x.dtype).reshape(()) if isinstance(value, Tensor) else value
        for value in (threshold, leak, membrane0)
    ]
    return _WeightedLIF.apply(x, weight, bias, *constants, node)


class _WeightedLIF(torch.autograd.Function):
    """Inputs as of `weighted_lif`; one output, the spikes."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        threshold: float | Tensor,
        leak: float | Tensor,
        membrane0: Tensor | None,
        node: Node,
    ) -> Tensor:
        start = None if membrane0 is None else (membrane0, torch.zeros_like(membrane0))
        membrane, spikes = _run(x, weight, bias, threshold, leak, start, node)
        if node.back:
            ctx.node = node
            ctx.numbers, tensors = numbers_apart((threshold, leak))
            ctx.bits = node.keep != "full" and node.product.spikes
            ctx.shape, ctx.dtype, ctx.order = x.shape, x.dtype, _order(x)
            kept: tuple[Tensor | None, ...] = (None, None)
            if node.keep == "full":
                kept = (membrane, spikes)
            elif node.keep == "bfloat16":
                kept = (membrane.sub_(threshold).bfloat16(), None)
            ctx.save_for_backward(
                _packed(x, ctx.order) if ctx.bits else x, weight, bias, *tensors, membrane0, *kept
            )
            del membrane, kept
            if node.keep != "full":
                give_back(spikes.nbytes)
        return spikes

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        x, weight, bias, threshold, leak, membrane0, membrane, spikes = ctx.saved_tensors
        threshold = ctx.numbers[0] if threshold is None else threshold
        leak = ctx.numbers[1] if leak is None else leak
        node: Node = ctx.node
        if transformed(grad):
            return _differentiable(ctx, grad, (x, weight, bias, threshold, leak, membrane0))
        start = None if membrane0 is None else (membrane0, torch.zeros_like(membrane0))
        if ctx.bits:
            x = _unpacked(x, ctx.shape, ctx.order, ctx.dtype)
        need_x, need_weight, need_bias, *need, _ = ctx.needs_input_grad
        if node.keep == "bfloat16":
            spikes = (membrane > 0).to(ctx.dtype)
            membrane = membrane.to(ctx.dtype)
            if node.neuron.is_detached and not any(need):
                threshold = 0.0  # λ asks for u - θ alone
            else:
                membrane.add_(threshold)
        elif node.keep == "spikes":
            membrane, spikes = _run(x, weight, bias, threshold, leak, start, node)

        run = Trajectory(membrane, spikes, threshold, leak, start, node.neuron)
        ours = node.keep != "full" or not torch._C._autograd._get_current_graph_task_keep_graph()
        total, *constants = adjoint(run, None, grad, (*need, False), overwrite=ours)
        # An input that is the same at every step has one product on the way back, too.
        total = total.flatten(0, 1) if ctx.shape[0] == node.steps else total.sum(0)
        rows = x.flatten(0, 1)
        grad_x = grad_weight = grad_bias = None
        if need_weight:
            grad_weight = node.product.backward_weight(total, rows, weight)
        if need_bias:
            grad_bias = total.sum([0, *range(2, total.dim())])
        if need_x:
            grad_x = node.product.backward_input(total, rows, weight).view(ctx.shape)
        if node.keep != "full":
            del run, total, rows, x, membrane, spikes
            give_back(grad.nbytes)
        return grad_x, grad_weight, grad_bias, *constants[:3], None


def _run(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    threshold: float | Tensor,
    leak: float | Tensor,
    start: tuple[Tensor, Tensor] | None,
    node: Node,
) -> tuple[Tensor, Tensor]:
    """Membrane and spikes; the membrane in the current's memory."""
    current = node.product.forward(x.flatten(0, 1), weight, bias).unflatten(0, x.shape[:2])
    if x.shape[0] == node.steps:
        membrane = current
    else:
        current = current.expand(node.steps, *current.shape[1:])
        membrane = torch.empty_like(current)
    spikes = torch.empty_like(membrane)
    integrate(current, membrane, spikes, threshold, leak, start, node.neuron.reset)
    return membrane, spikes


def _differentiable(ctx: Any, grad: Tensor, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """The gradients by operations that autograd records, for a second derivative."""
    node: Node = ctx.node
    if node.keep != "full":
        raise RuntimeError(
            f'a second derivative needs keep="full"; this network keeps {node.keep!r}'
        )
    x, weight, bias, threshold, leak, membrane0 = inputs
    with torch.enable_grad():
        current = node.product.plain(x.flatten(0, 1), weight, bias).unflatten(0, x.shape[:2])
        current = current.expand(node.steps, *current.shape[1:])
        spikes = run_lif(current, leak, threshold, membrane0, node.neuron).spikes
    return *gradients(spikes, inputs, ctx.needs_input_grad[:-1], grad), None


# --- Spikes as bits -------------------------------------------------------------------------------


def _order(x: Tensor) -> list[int]:
    """Dimensions as they lie in memory: images may have their channels last."""
    return sorted(range(x.dim()), key=lambda dim: x.stride(dim), reverse=True)


def _packed(x: Tensor, order: list[int]) -> Tensor:
    """Eight spikes a byte, in the order of the memory."""
    spikes = (x.permute(order) != 0).contiguous().view(-1)
    return torch.from_numpy(np.packbits(spikes.numpy()))


def _unpacked(bits: Tensor, shape: torch.Size, order: list[int], dtype: torch.dtype) -> Tensor:
    """The spikes, as they lay in memory."""
    spikes = torch.from_numpy(np.unpackbits(bits.numpy(), count=shape.numel()))
    lying = spikes.view([shape[dim] for dim in order]).to(dtype)
    return lying.permute([order.index(dim) for dim in range(len(order))])
