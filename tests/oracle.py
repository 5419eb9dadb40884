"""What the plain loops share that the fused neurons are compared with."""

from __future__ import annotations

import torch


class Spike(torch.autograd.Function):
    """A step whose derivative is the surrogate's; its second derivative is the slope of that."""

    generate_vmap_rule = True

    @staticmethod
    def forward(v, surrogate):
        return (v > 0).to(v.dtype)

    @staticmethod
    def setup_context(ctx, inputs, output):
        v, ctx.surrogate = inputs
        ctx.save_for_backward(v)
        ctx.save_for_forward(v)

    @staticmethod
    def backward(ctx, grad):
        return grad * ctx.surrogate.derivative(ctx.saved_tensors[0]), None

    @staticmethod
    def jvp(ctx, tangent, _):
        return tangent * ctx.surrogate.derivative(ctx.saved_tensors[0])
