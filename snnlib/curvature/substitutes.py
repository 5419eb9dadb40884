"""Networks with another function in place of the spike: smooth, or held while weights change."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from snnlib import dialects
from snnlib.neurons.lif import LIF
from snnlib.resets import RULES
from snnlib.surrogate import Surrogate

__all__ = ["held_spike", "smoothed", "substituted"]


def smoothed(network: nn.Module, *, sharpness: float | None = None) -> nn.Module:
    r"""A copy of a network whose spikes are smooth: the derivative becomes true.

    .. math:: x = \frac{s}{\gamma}\,\sigma(u - \theta) = \int_{-\infty}^{u-\theta} s f(s v)\,dv

    instead of a step: from 0 to 1 over a width 1/s.  As the sharpness s grows the copy approaches
    the spiking network, and its curvature grows without bound.

    Args:
        network: A network whose spiking layers are `snnlib.neurons.LIF`.
        sharpness: Sharpness s > 0 of all layers; None keeps each layer's own.

    Returns:
        A network with the same parameters (copied) without spikes.

    Raises:
        ValueError: If the sharpness is not positive, or a layer spikes but is no `LIF`.

    Source:
        Herranz-Celotti & Rouat 2022, Table S1 (the shapes); Zenke & Vogels 2021 use the surrogate's
        primitive in the same way.

    Example:
        At the threshold half a spike is sent.

        >>> layer = smoothed(LIF(threshold=1.0, surrogate=Surrogate("sigmoid")))
        >>> layer(torch.ones(1, 1, 1)).item()
        0.5
    """
    if sharpness is not None and not 0 < sharpness < math.inf:
        raise ValueError(f"sharpness must be positive and finite, got {sharpness!r}")

    def smooth(v: Tensor, surrogate: Surrogate) -> Tensor:
        s = surrogate.sharpness if sharpness is None else float(sharpness)
        return Surrogate(surrogate.shape, s, s, surrogate.tail).primitive(v)

    return substituted(network, smooth)


class _HeldSpike(torch.autograd.Function):
    """A step with the surrogate's derivative on the way back, and none in a change of weights."""

    generate_vmap_rule = True

    @staticmethod
    def forward(v: Tensor, surrogate: Surrogate) -> Tensor:
        return (v > 0).to(v.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Surrogate], output: Tensor) -> None:
        v, ctx.surrogate = inputs
        ctx.save_for_backward(v)
        ctx.save_for_forward(v)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad * ctx.surrogate.derivative(ctx.saved_tensors[0]), None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, _: Any) -> Tensor:
        return torch.zeros_like(tangent)


def held_spike(v: Tensor, surrogate: Surrogate) -> Tensor:
    """A step with the surrogate's derivative, which a change of weights does not change."""
    return _HeldSpike.apply(v, surrogate)


class _Substitute(nn.Module):
    """A LIF layer, step by step, with another function in place of the spike."""

    def __init__(self, layer: LIF, spike: Callable[[Tensor, Surrogate], Tensor]) -> None:
        super().__init__()
        self.layer, self.spike = layer, spike

    def forward(self, current: Tensor) -> Tensor:
        layer, rule = self.layer, RULES[self.layer.reset]
        threshold, leak = layer.threshold, layer.leak
        membrane: Any = layer.initial
        if isinstance(membrane, nn.Module):  # a running mean, frozen: the network is evaluated
            membrane = membrane()
        spikes: Any = 0.0
        output: list[Tensor] = []
        for now in current:
            if membrane is not None:
                before = spikes.detach() if layer.detach_reset and output else spikes
                now = rule.carry(membrane, before, threshold, leak) + now
            membrane = now
            relative = layer.threshold_gradient != "absolute"
            v = membrane / threshold - 1 if relative else membrane - threshold
            spikes = self.spike(v, layer.surrogate)
            output.append(spikes)
        stacked = torch.stack(output)
        return threshold * stacked if layer.threshold_gradient == "threshold_robust" else stacked


def substituted(network: nn.Module, spike: Callable[[Tensor, Surrogate], Tensor]) -> nn.Module:
    """A copy of a network with another function in place of the spike."""
    for name, module in network.named_modules():
        if type(module) is not LIF and dialects.is_spiking(module):
            raise ValueError(
                f"network must spike in layers of snnlib.neurons.LIF alone, got "
                f"{type(module).__name__} in {name or 'the network itself'}"
            )
    copied = copy.deepcopy(network)
    if isinstance(copied, LIF):
        return _Substitute(copied, spike)
    for module in list(copied.modules()):
        if not isinstance(module, _Substitute):  # smooth already
            for name, child in list(module.named_children()):
                if isinstance(child, LIF):
                    setattr(module, name, _Substitute(child, spike))
    return copied
