"""The mean that max pooling between weights and neurons adds, taken away where it saturates them.

The largest of several currents has a positive mean m. Neurons with a threshold that is low beside
it fire at almost every step, whatever the weights' scale; a bias that all channels share passes
the pool as it is, so that -m gives the currents the mean 0 again.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from snnlib.dialects.running import Time, run
from snnlib.dialects.untouched import untouched
from snnlib.init.connection import Layer
from snnlib.init.planning import Plan

__all__ = ["SATURATED", "shift_pooled_"]

SATURATED = 0.9
"""Firing probability per step above which a layer says almost nothing."""


def shift_pooled_(
    network: nn.Module, plans: Sequence[Plan], example: Any, *, time: Time = "auto"
) -> list[str]:
    """Lower the biases in front of saturated layers by the mean of their pooled currents.

    Args:
        network: The network.
        plans: Of the weights that may be changed, in the order of execution; their remarks say
            what was done, or that there is no bias to do it with.
        example: One batch.
        time: Who loops over time.

    Returns:
        What was done, in words; a layer that is not behind a max pool is left.

    Example:
        >>> from snnlib.init import initialize_
        >>> from snnlib.neurons import LIF
        >>> seeded = torch.Generator().manual_seed(0)
        >>> model = nn.Sequential(
        ...     nn.Flatten(0, 1), nn.Conv2d(1, 20, 3), nn.MaxPool2d(4), nn.Unflatten(0, (3, 5)),
        ...     LIF(threshold=0.0), nn.Flatten(2), nn.Linear(80, 10), LIF(),
        ... )
        >>> x = torch.randn(3, 5, 1, 10, 10, generator=seeded)
        >>> report = initialize_(model, "micheli2024", example=x, generator=seeded)
        >>> "max pooling shifts its currents by" in report[0].note
        True
    """
    done = []
    for plan in plans:
        connection = plan.connection
        layer = connection.drives[0] if len(connection.drives) == 1 else None
        alone = len(connection.afferents) == 1 and not connection.recurrent
        if layer is None or layer.module is None or not alone or not _pooled(layer):
            continue
        rate, mean = _seen(network, layer.module, example, time)
        if not (rate > SATURATED and mean > 0):
            continue
        said = f"max pooling shifts its currents by {mean:.3g}, {layer.name} fired at {rate:.2g}"
        bias = connection.bias
        if bias is None or not bias.requires_grad:
            said += ", and there is no bias to shift them back: give it one"
        else:
            with torch.no_grad():
                bias.sub_(mean)
            now = _seen(network, layer.module, example, time).rate
            said += f": its bias shifts them back, now {now:.2g}"
            done.append(f"{connection.name} shifts back what max pooling shifted")
        plan.remark = "; ".join(filter(None, (plan.remark, said)))
    return done


def _pooled(layer: Layer) -> bool:
    """Whether nothing but max pooling lies between one weight and the layer."""
    if layer.intake is None or layer.intake.flow is None:
        return False
    kinds = [node.kind for node in layer.intake.flow.walk()]
    return len(kinds) > 1 and kinds[-1] == "source" and set(kinds[:-1]) == {"max pooling"}


class _Seen(NamedTuple):
    rate: float
    mean: float


def _seen(network: nn.Module, layer: nn.Module, example: Any, time: Time) -> _Seen:
    """Spikes per neuron and step of a layer, and the mean of its currents."""
    fired = total = 0.0
    count = 0

    def note(module: nn.Module, args: Any, output: Any) -> None:
        nonlocal fired, total, count
        current, spikes = (
            next(leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor))
            for tree in (args, output)
        )
        fired += int(spikes.count_nonzero())
        total += float(current.sum(dtype=torch.float64))
        count += spikes.numel()

    with ExitStack() as stack:
        stack.enter_context(untouched(network))
        stack.enter_context(torch.no_grad())
        stack.callback(layer.register_forward_hook(note).remove)
        run(network, example, time=time)
    return _Seen(fired / max(count, 1), total / max(count, 1))
