"""The recursion backward in time: λ, ν and μ of every step."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from snnlib.neurons._partials import Partials
from snnlib.neurons._recursion import at, block
from snnlib.neurons._stepwise.trajectory import Trajectory


class Adjoints(NamedTuple):
    """Total derivatives of the loss, each [T, batch, n].

    Attributes:
        potential: λ, by the potential.
        threshold: ν, by the threshold of the step; None if nobody asks.
        level: μ, by the level of adaptation; None without one.
    """

    potential: Tensor
    threshold: Tensor | None
    level: Tensor | None


def reverse(
    run: Trajectory, grad_membrane: Any, grad_spikes: Any, grad_level: Any, wide: bool
) -> Adjoints:
    """λ of every step, and ν and μ if asked for, in place."""
    steps = run.membrane.shape[0]
    total = torch.empty_like(run.membrane)
    across = torch.empty_like(total) if wide else None
    levels = torch.empty_like(total) if run.level is not None else None
    adjoints = Adjoints(total, across, levels)
    delta = torch.empty_like(total[0])
    gated = torch.empty_like(delta) if run.gate is not None else None
    totals = total.unbind()
    arriving = None if grad_spikes is None else grad_spikes.unbind()
    size = block(run.membrane)
    for high in range(steps, 0, -size):
        low = max(high - size, 0)
        here = run.steps(low, high)
        slope, keep, by_spikes = here.slope.unbind(), here.by_membrane, run.by_spikes(here, low)
        held = run.held(here.x)
        for t in range(high - 1, low - 1, -1):
            k, own = t - low, totals[t]
            if arriving is None:
                delta.zero_()
            else:
                delta.copy_(arriving[t])
            if t + 1 == steps:
                torch.mul(slope[k], delta, out=own)
            else:
                after = totals[t + 1]
                if run.weight is not None:
                    sent = after
                    if run.gate is not None:
                        sent = torch.mul(after, run.gate.value(held[k], run.leak), out=gated)
                    delta.addmm_(sent, run.weight)
                if by_spikes is not None:
                    part = at(by_spikes, k, total)
                    if isinstance(part, Tensor):
                        delta.addcmul_(after, part)
                    else:
                        delta.add_(after, alpha=part)
                if levels is not None:
                    delta.add_((1 - run.decay) * levels[t + 1])
                torch.mul(after, at(keep, k, total), out=own)
                own.addcmul_(slope[k], delta)
            if grad_membrane is not None:
                own.add_(grad_membrane[t])
            if wide:
                _reverse_threshold(run, here, t, low, delta, grad_level, adjoints)
    return adjoints


def _reverse_threshold(
    run: Trajectory,
    here: Partials,
    t: int,
    low: int,
    delta: Tensor,
    grad_level: Any,
    adjoints: Adjoints,
) -> None:
    """ν and μ of step t, from δ and what the next step says; `here` starts at step `low`."""
    total, across, levels = adjoints
    assert across is not None
    last = t + 1 == total.shape[0]
    nu = torch.mul(here.by_crossing[t - low], delta, out=across[t])
    if not last and here.by_threshold is not None:
        nu.add_(at(here.by_threshold, t - low, total) * total[t + 1])
    if levels is not None:
        mu = torch.mul(nu, run.strength, out=levels[t])
        if grad_level is not None:
            mu.add_(grad_level[t])
        if not last:
            mu.add_(run.decay * levels[t + 1])


def record(
    run: Trajectory, grad_membrane: Any, grad_spikes: Any, grad_level: Any, wide: bool
) -> Adjoints:
    """The same with operations that autograd can record."""
    steps = run.membrane.shape[0]
    here = run.steps(0, steps)
    slope, keep = here.slope, here.by_membrane
    by_spikes = run.by_spikes(here, 0) if steps > 1 else None
    held = run.held(run.spikes)
    totals: list[Tensor] = []
    nus: list[Tensor] = []
    mus: list[Tensor] = []
    zero = torch.zeros_like(run.membrane[0])
    for t in range(steps - 1, -1, -1):
        delta = zero if grad_spikes is None else grad_spikes[t]
        own = zero if grad_membrane is None else grad_membrane[t]
        nu, mu = zero, zero if grad_level is None else grad_level[t]
        if totals:
            after = totals[-1]
            if run.weight is not None:
                sent = after
                if run.gate is not None:
                    sent = after * run.gate.value(held[t], run.leak)
                delta = delta + sent @ run.weight
            if by_spikes is not None:
                delta = delta + at(by_spikes, t, run.membrane) * after
            if mus:
                delta = delta + (1 - run.decay) * mus[-1]
                mu = mu + run.decay * mus[-1]
            own = own + at(keep, t, run.membrane) * after
            if here.by_threshold is not None:
                nu = nu + at(here.by_threshold, t, run.membrane) * after
        if wide:
            nu = nu + here.by_crossing[t] * delta
            nus.append(nu)
        if run.level is not None:
            mus.append(mu + run.strength * nu)
        totals.append(own + slope[t] * delta)
    total, across, levels = (torch.stack(p[::-1]) if p else None for p in (totals, nus, mus))
    assert total is not None
    return Adjoints(total, across, levels)
