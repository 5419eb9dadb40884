"""A layer of weights by its fastest products, as one node of the autograd graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from snnlib.products.layer import Product


def apply(product: Product, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The product of rows x with the weights, plus the bias; it may be differentiated twice.

    Args:
        product: The layer.
        x: Rows, [rows, ...].
        weight: Weights, as the product wants them.
        bias: Bias, or None.

    Example:
        >>> from snnlib.products import Linear
        >>> weight = torch.arange(6.0).reshape(2, 3).requires_grad_()
        >>> x = torch.tensor([[1.0, 0.0, 1.0]])
        >>> apply(Linear(spikes=True), x, weight, None).sum().backward()
        >>> weight.grad
        tensor([[1., 0., 1.],
                [1., 0., 1.]])
    """
    return _Applied.apply(x, weight, bias, product)


def transformed(grad: Tensor) -> bool:
    """Whether a backward pass is itself differentiated or mapped: torch's own operations then.

    Grad mode is on for `create_graph`; `is_grads_batched` maps by tensors that functorch does not
    know.
    """
    return (
        torch.is_grad_enabled()
        or torch._C._are_functorch_transforms_active()
        or torch._C._functorch.is_legacy_batchedtensor(grad)
    )


def gradients(
    value: Tensor, inputs: Sequence[Any], needs: Sequence[bool], grad: Tensor
) -> tuple[Tensor | None, ...]:
    """Gradients of the inputs that need one, as a part of the graph that is being recorded."""
    needed = [entry for entry, need in zip(inputs, needs, strict=True) if need]
    found = iter(torch.autograd.grad(value, needed, grad, create_graph=True))
    return tuple(next(found) if need else None for need in needs)


class _Applied(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, product: Product
    ) -> Tensor:
        ctx.product = product
        ctx.save_for_backward(x, weight, bias)
        return product.forward(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        inputs, product = ctx.saved_tensors, ctx.product
        needs = ctx.needs_input_grad[:3]
        if transformed(grad):
            with torch.enable_grad():
                value = product.plain(*inputs)
            return *gradients(value, inputs, needs, grad), None
        x, weight, _ = inputs
        return (
            product.backward_input(grad, x, weight) if needs[0] else None,
            product.backward_weight(grad, x, weight) if needs[1] else None,
            grad.sum([0, *range(2, grad.dim())]) if needs[2] else None,
            None,
        )
