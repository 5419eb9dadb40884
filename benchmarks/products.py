"""The bound: the products of the same layers without any neuron, by two routes.

The default route is torch's (MKL for linear layers on x86 processors); the other is oneDNN's
product through an operation that torch uses inside its compiler, `mkldnn::_linear_pointwise`. It
is private, so it counts only where it is there and gives the right numbers.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = [
    "WEIGHTS",
    "OneDNNLinear",
    "RecurrentProducts",
    "chain",
    "linear_default",
    "linear_onednn",
    "onednn_missing",
]


WEIGHTS = (nn.Linear, nn.Conv2d)
"""Layers that multiply."""


def _product(x: Tensor, weight: Tensor) -> Tensor:
    """The product x Wᵀ by oneDNN, [rows, in] and [out, in]."""
    return torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], "")


@functools.cache
def onednn_missing() -> str:
    """Why the route through oneDNN cannot be taken here; empty if it can."""
    if not torch.backends.mkldnn.is_available():
        return "torch was built without oneDNN"
    if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return "this torch has no mkldnn::_linear_pointwise"
    generator = torch.Generator().manual_seed(0)
    x, weight = torch.randn(33, 70, generator=generator), torch.randn(50, 70, generator=generator)
    grad = torch.randn(33, 50, generator=generator)
    try:
        for left, right in ((x, weight), (grad, weight.t()), (grad.t(), x.t())):
            exact = left.double() @ right.double().t()
            scale = left.double().abs() @ right.double().abs().t()
            if bool(((_product(left, right) - exact).abs() > 1e-5 * scale).any()):
                return "mkldnn::_linear_pointwise gives wrong numbers here"
    except (RuntimeError, TypeError) as error:
        return f"mkldnn::_linear_pointwise does not run here: {str(error).splitlines()[0]}"
    return ""


class _OneDNN(torch.autograd.Function):
    """y = x Wᵀ and its two products on the way back, all by oneDNN."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        """One product."""
        ctx.save_for_backward(x, weight)
        return _product(x, weight)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """One product for each gradient that is wanted."""
        x, weight = ctx.saved_tensors
        return (
            _product(grad, weight.t()) if ctx.needs_input_grad[0] else None,
            _product(grad.t(), x.t()) if ctx.needs_input_grad[1] else None,
        )


def linear_default(x: Tensor, weight: Tensor) -> Tensor:
    """The product x Wᵀ as `nn.Linear` computes it."""
    return functional.linear(x, weight)


def linear_onednn(x: Tensor, weight: Tensor) -> Tensor:
    """The product x Wᵀ by oneDNN, of float32 on the CPU; other numbers take the default route."""
    if x.dtype != torch.float32 or x.device.type != "cpu":
        return functional.linear(x, weight)
    rows = x.reshape(-1, x.shape[-1])
    return _OneDNN.apply(rows, weight).unflatten(0, x.shape[:-1])


class OneDNNLinear(nn.Module):
    """A linear layer that shares the parameters of another and multiplies by oneDNN."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.linear = linear

    def forward(self, x: Tensor) -> Tensor:
        """The product and the bias."""
        y = linear_onednn(x, self.linear.weight)
        return y if self.linear.bias is None else y + self.linear.bias


def chain(
    network: nn.Sequential, *, linear: Callable[[nn.Linear], nn.Module] = lambda layer: layer
) -> nn.Sequential:
    """The layers of weights of a network and what only moves values, in a row; no neurons.

    The weights are its own, drawn so that values keep their size from layer to layer: through the
    network's weights they would leave the range of float32 after some dozens of layers.
    """
    layers: list[nn.Module] = []
    generator = torch.Generator().manual_seed(0)
    for layer in network:
        if isinstance(layer, WEIGHTS):
            own = copy.deepcopy(layer)
            fan_in = own.weight[0].numel()
            with torch.no_grad():
                drawn = torch.randn(own.weight.shape, generator=generator)
                own.weight.data = drawn / fan_in**0.5
            layers.append(linear(own) if isinstance(own, nn.Linear) else own)
        elif isinstance(layer, nn.Flatten):
            layers.append(nn.Flatten(1))
    return nn.Sequential(*layers)


class RecurrentProducts(torch.autograd.Function):
    """The products with a recurrent weight that any exact implementation must do."""

    @staticmethod
    def forward(ctx: Any, current: Tensor, weight: Tensor, route: str) -> Tensor:
        """One product a step."""
        ctx.save_for_backward(current, weight)
        ctx.route = route
        out = torch.empty_like(current)
        for t in range(len(current)):
            _into(out[t], current[t], weight, route)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        """One product a step, and one for the weight."""
        current, weight = ctx.saved_tensors
        out = torch.empty_like(grad)
        for t in range(len(grad) - 1, -1, -1):
            _into(out[t], grad[t], weight.t(), ctx.route)
        rows, inputs = grad.flatten(0, 1), current.flatten(0, 1)
        if ctx.route == "onednn":
            return out, _product(rows.t(), inputs.t()), None
        return out, rows.t() @ inputs, None


def _into(out: Tensor, x: Tensor, weight: Tensor, route: str) -> None:
    if route == "onednn":
        out.copy_(_product(x, weight))
    else:
        torch.mm(x, weight.t(), out=out)
