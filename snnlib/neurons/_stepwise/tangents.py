"""The pass forward in time of tangents, for forward-mode derivatives."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from snnlib.neurons._partials import Partials
from snnlib.neurons._stepwise.trajectory import Trajectory


class _Inputs(NamedTuple):
    """The tangents of what all steps share, and of the current; None is zero."""

    current: Tensor | None
    weight: Tensor | None
    threshold: Tensor | None
    leak: Tensor | None
    strength: Tensor | None
    decay: Tensor | None


class _State(NamedTuple):
    """The tangents of what a step hands to the next; None is zero.

    Attributes:
        membrane: Of the potential.
        spikes: Of the spikes.
        level: Of the level of adaptation.
        above: Of the threshold at that step.
    """

    membrane: Tensor | None
    spikes: Tensor | None
    level: Tensor | None
    above: Tensor | None


class _Before(NamedTuple):
    """The step before a step; None at rest."""

    partials: Partials | None
    spikes: Tensor | None
    level: Tensor | None


def push_forward(run: Trajectory, *tangents: Tensor | None) -> tuple[Tensor, ...]:
    """Tangents of the trajectories from those of the inputs, forward in time."""
    d = _Inputs(*tangents[:6])
    d_membrane, d_spikes, d_level = tangents[6:]
    above = d.threshold
    if run.level is not None and run.started:
        above = _added(above, _sum((run.level0, d.strength), (run.strength, d_level)))
    state = _State(d_membrane, d_spikes, d_level, above)
    rows: list[tuple[Any, ...]] = []
    for t in range(run.membrane.shape[0]):
        here, before = run.steps(t, t + 1), _before(run, t)
        membrane = _membrane(run, d, state, t, before)
        level, above = None, d.threshold
        if run.level is not None:
            level = _level(run, d, state, before)
            above = _added(above, _sum((run.level[t], d.strength), (run.strength, level)))
        spikes = here.slope[0] * membrane
        if above is not None:
            spikes = spikes + here.by_crossing[0] * above
        state = _State(membrane, spikes, level, above)
        rows.append(state[:2] if run.level is None else state[:3])
    return tuple(torch.stack(parts) for parts in zip(*rows, strict=True))


def _before(run: Trajectory, t: int) -> _Before:
    """What step t follows."""
    if t > 0:
        level = None if run.level is None else run.level[t - 1]
        return _Before(run.steps(t - 1, t), run.spikes[t - 1], level)
    if run.started:
        return _Before(run.start(), run.spikes0.expand_as(run.spikes[0]), run.level0)
    return _Before(None, None, None)


def _membrane(run: Trajectory, d: _Inputs, state: _State, t: int, before: _Before) -> Tensor:
    """The tangent of the potential: the drive, through its gate, and what is taken over."""
    total = _drive(run, d, state, t, before)
    if run.gate is not None:
        held = 0.0 if before.spikes is None else run.held(before.spikes)
        drive = run.drive(t, t + 1)[0]
        total = _sum((run.gate.value(held, run.leak), total))
        if run.gate.by_leak is not None:
            total = _added(total, _sum((run.gate.by_leak(held, run.leak) * drive, d.leak)))
        if not run.settings.detach_reset and before.spikes is not None:
            by_spikes = run.gate.by_spikes(held, run.leak) * drive
            total = _added(total, _sum((by_spikes, state.spikes)))
    if before.partials is not None:
        carried = _sum(
            (before.partials.by_membrane, state.membrane),
            (before.partials.by_spikes, state.spikes),
            (before.partials.by_threshold, state.above),
            (before.partials.by_leak, d.leak),
        )
        total = _added(total, carried)
    zero = torch.zeros_like(run.membrane[0])
    if total is None:
        return zero
    return total.reshape(zero.shape) if total.dim() == 3 else total + zero


def _drive(run: Trajectory, d: _Inputs, state: _State, t: int, before: _Before) -> Any:
    """The tangent of the current and of what the spikes send."""
    total = None if d.current is None else d.current[t]
    if before.spikes is not None:
        if d.weight is not None:
            total = _added(total, before.spikes @ d.weight.t())
        if state.spikes is not None and run.weight is not None:
            total = _added(total, state.spikes.expand_as(run.spikes[0]) @ run.weight.t())
    return total


def _level(run: Trajectory, d: _Inputs, state: _State, before: _Before) -> Tensor:
    """The tangent of the level of adaptation."""
    zero = torch.zeros_like(run.membrane[0])
    if before.spikes is None or before.level is None:
        return zero
    changed = _sum(
        (run.decay, state.level),
        (1 - run.decay, state.spikes),
        (before.level - before.spikes, d.decay),
    )
    return zero if changed is None else changed + zero


def _sum(*products: tuple[Any, Any]) -> Any:
    """Sum of partial derivatives times tangents; None is zero."""
    total: Any = None
    for partial, tangent in products:
        if partial is not None and tangent is not None:
            total = _added(total, partial * tangent)
    return total


def _added(first: Any, second: Any) -> Any:
    return second if first is None else first if second is None else first + second
