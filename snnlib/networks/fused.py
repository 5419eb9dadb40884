"""A network whose layers of weights run as one with their neurons, from an ordinary one."""

from __future__ import annotations

import copy

from torch import nn

from snnlib.networks._pairs import NEURONS
from snnlib.networks.feed_forward import FeedForward
from snnlib.neurons._weighted import KEEP, Keep

__all__ = ["fuse"]


def fuse(model: nn.Module, *, keep: Keep = "full", by_input: bool = True) -> nn.Module:
    r"""The same network, faster: a layer of weights and the neurons behind it run as one.

    Every `nn.Sequential` in the model that holds our neurons becomes a `FeedForward`, which runs
    `nn.Linear` and `nn.Conv2d` over all steps at once, [T, batch, features...], and together with a
    `LIF` behind them. Parameters, buffers and layers are shared with the model, not copied, under
    the same names: a `state_dict` of one loads into the other.

    Outputs are the same up to the rounding of a product: where |u - θ| is below it, a spike may
    differ. A layer with a hook runs by itself, so that the hook sees what it saw before; so does
    everything under autocast, `torch.func`, forward mode and `torch.compile`.

    Args:
        model: A network of layers in a row, or one that holds such rows.
        keep: What is kept for the way back, in bytes per neuron and step of float32:
            "full" (8), "bfloat16" (2.1; gradients move by some thousandths of their size), or
            "spikes" (0.1; every layer runs twice). Second derivatives need "full".
        by_input: Lay the weights of the rows' linear layers out by input, in place: their values
            stay, their memory is that of W transposed. Sums over few spikes then need no copy. Set
            it to False for code that calls `.view` on these weights.

    Returns:
        The fused network, with the hooks of the model's containers; the model itself if it holds no
        such row.

    Raises:
        ValueError: If `keep` is another word, or the model is no module.

    Example:
        >>> import torch
        >>> from snnlib.neurons import LIF
        >>> model = nn.Sequential(nn.Linear(3, 100), LIF(), nn.Linear(100, 2), LIF())
        >>> fused = fuse(model)
        >>> current = 3 * torch.eye(3).expand(4, 3, 3)
        >>> torch.equal(fused(current), model(current))
        True
        >>> fused[0].weight is model[0].weight
        True
    """
    if not isinstance(model, nn.Module):
        raise ValueError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    if keep not in KEEP:
        raise ValueError(f"keep must be one of {', '.join(map(repr, KEEP))}; got {keep!r}")
    return _fused(model, keep, by_input, {})


def _fused(
    module: nn.Module, keep: Keep, by_input: bool, done: dict[nn.Module, nn.Module]
) -> nn.Module:
    """A copy of the containers down to those that are changed; the rest is shared."""
    if module in done:
        return done[module]
    children = {
        name: None if child is None else _fused(child, keep, by_input, done)
        for name, child in module._modules.items()
    }
    in_a_row = isinstance(module, FeedForward) or (
        type(module) is nn.Sequential and any(isinstance(child, NEURONS) for child in module)
    )
    changed = any(child is not module._modules[name] for name, child in children.items())
    result = module
    if in_a_row or changed:
        result = copy.copy(module)
        result._modules = children
        if in_a_row:
            if type(module) is nn.Sequential:
                result.__class__ = FeedForward
            result.keep = keep  # type: ignore[assignment]
            for layer in children.values():
                if by_input and type(layer) is nn.Linear:
                    layer.weight.data = layer.weight.data.t().contiguous().t()
    done[module] = result
    return result
