"""The recursion backward in time: λ, ν and μ of every step."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from snnlib.neurons._partials import Partials
from snnlib.neurons._recursion import at, block
from snnlib.neurons._stepwise.folding import folded
from snnlib.neurons._stepwise.products import product
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
    """λ of every step, and ν and μ if asked for, in place.

    What does not depend on the next step is written for a block of steps at once: with the part
    e[t] of δ[t] that the next step says,

        λ[t] = (m[t] + s[t] z[t]) + s[t] e[t] + p[t] λ[t+1],      e[t] = g[t+1] λ[t+1] W + ...
    """
    total = torch.empty_like(run.membrane)
    across = torch.empty_like(total) if wide else None
    levels = torch.empty_like(total) if run.level is not None else None
    adjoints = Adjoints(total, across, levels)
    back = _Back(run, total)
    steps, size = total.shape[0], block(run.membrane)
    for high in range(steps, 0, -size):
        low = max(high - size, 0)
        here = run.steps(low, high)
        _write(total[low:high], here.slope, grad_spikes, grad_membrane, low, high)
        if across is not None:
            _write(across[low:high], here.by_crossing, grad_spikes, None, low, high)
        if levels is not None:
            _write(levels[low:high], None, None, grad_level, low, high)
        by_spikes = None if back.folded else run.by_spikes(here, low)
        held = run.held(here.x)
        slopes, keep, totals = here.slope.unbind(), here.by_membrane, total[low : high + 1].unbind()
        for k in range(high - low - 1, -1, -1):
            if low + k + 1 < steps:
                own, after = totals[k], totals[k + 1]
                part = at(by_spikes, k, total)
                level = None if levels is None else levels[low + k + 1]
                said = back.said(after, held[k], part, level)
                _keep_into(own, after, at(keep, k, total))
                if said is not None:
                    own.addcmul_(slopes[k], said)
                if across is not None:
                    _reverse_threshold(run, here, k, said, after, across[low + k])
            if levels is not None:
                assert across is not None
                _reverse_level(run, low + k, across, levels)
    return adjoints


class _Back:
    """What the next step says to the spikes of a step: e, in one buffer."""

    def __init__(self, run: Trajectory, total: Tensor) -> None:
        self.run, self.folded = run, False
        self.buffer, self.gated = torch.empty_like(total[0]), None
        self.weight = run.weight
        if run.weight is None:
            return
        if run.gate is not None:
            self.gated = torch.empty_like(self.buffer)
        elif run.level is None and not run.settings.detach_reset:
            arguments = (run.settings.reset, run.threshold, run.leak, total)
            with_reset = folded(run.weight, *arguments)
            if with_reset is not None:
                self.weight, self.folded = with_reset, True
        self.back = self.weight.t()

    def said(self, after: Tensor, x: Tensor, by_spikes: Any, level: Tensor | None) -> Tensor | None:
        """E from λ[t+1], the spikes of the step, q and μ[t+1]; None for nothing."""
        run, out = self.run, None
        if self.weight is not None:
            sent = after
            if self.gated is not None and run.gate is not None:
                sent = torch.mul(after, run.gate.value(x, run.leak), out=self.gated)
            out = product(sent, self.back, self.buffer)
        if by_spikes is not None:
            if out is None:
                out = torch.mul(after, by_spikes, out=self.buffer)
            else:
                _keep_into(out, after, by_spikes)
        if level is not None:
            if out is None:
                out = torch.mul(level, 1 - run.decay, out=self.buffer)
            else:
                _keep_into(out, level, 1 - run.decay)
        return out


def _write(out: Tensor, factor: Any, grad: Any, also: Any, low: int, high: int) -> None:
    """Write factor · grad + also into a block of steps; None is 0."""
    if factor is not None and grad is not None:
        torch.mul(factor, grad[low:high], out=out)
        if also is not None:
            out.add_(also[low:high])
    elif also is not None:
        out.copy_(also[low:high])
    else:
        out.zero_()


def _keep_into(out: Tensor, value: Tensor, factor: Any) -> None:
    """Add factor · value to `out`, for a factor that is a number or a tensor."""
    if isinstance(factor, Tensor):
        out.addcmul_(factor, value)
    else:
        out.add_(value, alpha=factor)


def _reverse_threshold(
    run: Trajectory, here: Partials, k: int, said: Tensor | None, after: Tensor, nu: Tensor
) -> None:
    """Add to ν of the k-th step of a block what the next step says."""
    if said is not None:
        nu.addcmul_(here.by_crossing[k], said)
    if here.by_threshold is not None:
        _keep_into(nu, after, at(here.by_threshold, k, run.membrane))


def _reverse_level(run: Trajectory, t: int, across: Tensor, levels: Tensor) -> None:
    """Add κ ν[t] + ρ μ[t+1] to μ[t]."""
    _keep_into(levels[t], across[t], run.strength)
    if t + 1 < levels.shape[0]:
        _keep_into(levels[t], levels[t + 1], run.decay)


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
