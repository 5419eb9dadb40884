"""The gradients of the fused function's inputs, once λ, ν and μ of every step are known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from snnlib.neurons._recursion import add_up
from snnlib.neurons._stepwise.backward import Adjoints
from snnlib.neurons._stepwise.products import over_steps
from snnlib.neurons._stepwise.trajectory import Trajectory


def gradients(run: Trajectory, adjoints: Adjoints, need: Any) -> tuple[Tensor | None, ...]:
    """Gradients of the inputs that need one, in the order of `stepwise`'s fused function."""
    sums = _Sums(run, adjoints)
    grads: list[Tensor | None] = [sums.sent, sums.by_weight() if need[1] else None]
    parts: list[tuple[Callable[[], list[Tensor]], Any]] = [
        (sums.by_threshold, run.threshold),
        (sums.by_leak, run.leak),
        (sums.by_strength, run.strength),
        (sums.by_decay, run.decay),
        (sums.by_membrane0, run.membrane0),
        (sums.by_spikes0, run.spikes0),
        (sums.by_level0, run.level0),
    ]
    for needed, (of, target) in zip(need[2:], parts, strict=False):
        grads.append(add_up(of(), target) if needed else None)
    return (*grads, None)


class _Sums:
    """The parts of each gradient: those of the steps, and that of the start."""

    def __init__(self, run: Trajectory, adjoints: Adjoints) -> None:
        self.run = run
        self.total, self.across, self.levels = adjoints
        self.sent = self.total if run.gate is None else run.gates() * self.total
        self.start = run.start() if run.started else None
        self.first = self.total[0]
        self.x, self.after = run.spikes[:-1], self.total[1:]

    def by_weight(self) -> Tensor:
        """Σ (g λ)ᵀ x: one product for all steps."""
        run = self.run
        grad = over_steps(self.sent[1:], self.x)
        if run.started:
            grad = grad + self.sent[0].t() @ run.spikes0.expand_as(self.sent[0])
        return grad

    def by_threshold(self) -> list[Tensor]:
        """ν of every step."""
        assert self.across is not None
        parts = [self.across]
        if self.start is not None and self.start.by_threshold is not None:
            parts.append(self.start.by_threshold * self.first)
        return parts

    def by_leak(self) -> list[Tensor]:
        """What the leak changes in the carry, and in the gate."""
        run, steps = self.run, self.total.shape[0]
        before = run.steps(0, self.after.shape[0])
        parts = [before.by_leak * self.after]
        if self.start is not None:
            parts.append(self.start.by_leak * self.first)
        if run.gate is not None and run.gate.by_leak is not None:
            first_x = run.held(run.spikes0) if run.started else 0.0
            parts.append(run.gate.by_leak(first_x, run.leak) * run.drive(0, 1)[0] * self.total[0])
            if steps > 1:
                by_leak = run.gate.by_leak(run.held(self.x), run.leak)
                parts.append(by_leak * run.drive(1, steps) * self.after)
        return parts

    def by_strength(self) -> list[Tensor]:
        """ν a of every step."""
        assert self.across is not None
        parts = [self.across * self.run.level]
        if self.start is not None and self.start.by_threshold is not None:
            parts.append(self.start.by_threshold * self.first * self.run.level0)
        return parts

    def by_decay(self) -> list[Tensor]:
        """μ[t] (a[t-1] - x[t-1])."""
        run, levels = self.run, self.levels
        assert levels is not None
        parts = [levels[1:] * (run.level[:-1] - self.x)]
        if run.started:
            parts.append(levels[0] * (run.level0 - run.spikes0))
        return parts

    def by_membrane0(self) -> list[Tensor]:
        """What the first step takes over from the potential before it."""
        assert self.start is not None
        return [self.start.by_membrane * self.first]

    def by_spikes0(self) -> list[Tensor]:
        """What the spikes before the first step send, reset, gate and add to the level."""
        run, start = self.run, self.start
        assert start is not None
        parts = []
        if run.weight is not None:
            parts.append(self.sent[0] @ run.weight)
        if start.by_spikes is not None:
            parts.append(start.by_spikes * self.first)
            if run.gate is not None:
                by_spikes = run.gate.by_spikes(start.x, run.leak)
                parts.append(by_spikes * run.drive(0, 1)[0] * self.first)
        if self.levels is not None:
            parts.append((1 - run.decay) * self.levels[0])
        return parts

    def by_level0(self) -> list[Tensor]:
        """What is left of the level, and the reset by a threshold that it raised."""
        run, start = self.run, self.start
        assert start is not None and self.levels is not None
        parts = [run.decay * self.levels[0]]
        if start.by_threshold is not None:
            parts.append(run.strength * start.by_threshold * self.first)
        return parts
