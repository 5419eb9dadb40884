"""Which layers of a network may run as one: weights and the neurons behind them, unwatched."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.modules import module as modules

from snnlib.neurons import LIF, AdaptiveLIF, CurrentLIF, RecurrentLIF
from snnlib.neurons._weighted import Keep, Node, weighted_lif
from snnlib.products import Convolution, Linear, Product

NEURONS = (LIF, CurrentLIF, RecurrentLIF, AdaptiveLIF)
HOOKS = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
)
GLOBAL_HOOKS = tuple(f"_global{name}" for name in HOOKS)
"""Those of all modules; a function that asks for them is not in every torch."""


def fusable(x: Tensor) -> bool:
    """Whether a network's input lets layers run as one.

    Not where something else must see each operation: torch.func, forward mode, autocast,
    torch.compile, tracing, tensors and modes that intercept operations; nor on an accelerator.
    """
    return (
        type(x) is Tensor
        and x.device.type == "cpu"
        and x.dtype in (torch.float32, torch.float64)
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()
        and not torch._C._are_functorch_transforms_active()
        and forward_ad._current_level < 0
        and not torch.is_autocast_enabled("cpu")
        and torch._C._len_torch_function_stack() == 0
        and torch._C._len_torch_dispatch_stack() == 0
        and not any(getattr(modules, name) for name in GLOBAL_HOOKS)
    )


def product_of(layer: nn.Module, spikes: bool) -> Product | None:
    """The layer's products; None if it must run by itself."""
    if not _unwatched(layer):
        return None
    if type(layer) is nn.Linear:
        return Linear(spikes)
    plain = type(layer) is nn.Conv2d and layer.padding_mode == "zeros"
    return Convolution.of(layer, spikes) if plain and not isinstance(layer.padding, str) else None


def is_neuron(layer: nn.Module) -> bool:
    """Whether these neurons may run as one with the weights in front of them."""
    return (
        type(layer) is LIF
        and _unwatched(layer)
        and layer.threshold_gradient != "threshold_robust"
        and _single(layer.threshold)
        and _single(layer.leak)
        and _starts_alike(layer)
    )


def spikes_after(layer: nn.Module, before: bool) -> bool:
    """Whether the layer's output holds zeros and ones only."""
    if type(layer) in NEURONS:
        return layer.threshold_gradient != "threshold_robust"
    return before and type(layer) in (nn.Flatten, nn.Identity)


def run_pair(
    weights: nn.Module, neuron: nn.Module, product: Product, x: Tensor, keep: Keep
) -> Tensor:
    """Spikes [T, batch, ...] of the neurons behind the weights."""
    assert isinstance(neuron, LIF) and isinstance(weights, (nn.Linear, nn.Conv2d))
    steps = x.shape[0]
    same = steps > 1 and x.stride(0) == 0
    node = Node(product, neuron._settings, steps, keep, torch.is_grad_enabled())
    return weighted_lif(
        x[:1] if same else x,
        weights.weight,
        weights.bias,
        neuron.threshold,
        neuron.leak,
        neuron._start(),
        node,
    )


def _unwatched(layer: nn.Module) -> bool:
    """No hook, and the class's own methods and parameters."""
    return (
        not any(getattr(layer, name) for name in HOOKS)
        and layer.__dict__.keys().isdisjoint(("forward", "trace"))
        and all(
            type(value) in (nn.Parameter, Tensor, type(None))
            for value in layer._parameters.values()
        )
    )


def _single(value: float | Tensor) -> bool:
    return not isinstance(value, Tensor) or value.numel() == 1


def _starts_alike(layer: LIF) -> bool:
    """At rest or at one number, and not about to learn it from this batch."""
    start = layer.initial
    if start is None:
        return True
    if not isinstance(start, Tensor):
        return not layer.training
    return start.numel() == 1
