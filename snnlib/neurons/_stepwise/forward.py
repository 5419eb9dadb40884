"""The recursion forward in time: potential, spikes and level of every step."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from snnlib.neurons._stepwise.folding import folded
from snnlib.neurons._stepwise.products import Sending
from snnlib.resets import GATES, RULES


def integrate(
    current: Tensor,
    weight: Tensor | None,
    threshold: float | Tensor,
    leak: float | Tensor,
    strength: float | Tensor | None,
    decay: float | Tensor | None,
    start: tuple[Tensor | None, Tensor | None, Tensor | None],
    reset: str,
) -> tuple[Tensor, ...]:
    """Membrane and spikes, and the level if there is a strength, each [T, batch, n].

    The arguments are those of `stepwise`, `start` the state before the first step.
    """
    gate = GATES.get(reset)
    carry_into = RULES["zero" if gate else reset].into
    membrane, spikes = torch.empty_like(current), torch.empty_like(current)
    level = None if strength is None else torch.empty_like(current)
    fold = None
    if weight is not None and level is None:
        fold = folded(weight, reset, threshold, leak, membrane)
    sending = None if weight is None else Sending(weight if fold is None else fold, membrane)
    drive = None if gate is None else torch.empty_like(current[0])
    above = threshold
    u0, x0, a0 = start
    send = None if sending is None else sending.add  # a state may hold other values than 0 and 1
    if u0 is not None and x0 is not None:
        u0, x0 = u0.expand_as(current[0]), x0.expand_as(current[0])
        if strength is not None and a0 is not None:
            above = threshold + strength * a0
    levels = [None] * current.shape[0] if level is None else level.unbind()
    for u, x, a, i in zip(
        membrane.unbind(), spikes.unbind(), levels, current.unbind(), strict=True
    ):
        if u0 is None or x0 is None:
            u.copy_(i)
            if gate is not None:
                u.mul_(gate.value(0.0, leak))
        elif fold is not None and send is not None:
            _leak_into(u, i, u0, leak)
            send(u, x0)
        else:
            carry_into(u, u0, x0, above, leak)
            if gate is None:
                u.add_(i)
                if send is not None:
                    send(u, x0)
            else:
                assert drive is not None
                drive.copy_(i)
                if send is not None:
                    send(drive, x0)
                u.addcmul_(drive, gate.value(x0, leak))
        if a is not None and strength is not None and decay is not None:
            if x0 is None or a0 is None:
                a.zero_()
            else:
                a.copy_(decay * a0 + (1 - decay) * x0)
            above, a0 = threshold + strength * a, a
        torch.gt(u, above, out=x)
        u0, x0 = u, x
        send = None if sending is None else sending.add_spikes
    return (membrane, spikes) if level is None else (membrane, spikes, level)


def _leak_into(out: Tensor, current: Tensor, u: Tensor, leak: Any) -> None:
    """Write i + β u into `out`."""
    if isinstance(leak, Tensor):
        torch.addcmul(current, u, leak, out=out)
    else:
        torch.add(current, u, alpha=leak, out=out)
