r"""One fused autograd function for neurons whose spikes come back one step later.

Spikes come back through recurrent weights W, through a threshold that rises with every spike, or
through both. With input current i, potential u, spike x, adaptation level a, its strength κ and
its decay ρ, step t computes

    A[t] = θ + κ a[t],                     a[t] = ρ a[t-1] + (1 - ρ) x[t-1],
    c[t] = i[t] + x[t-1] Wᵀ,
    u[t] = carry(u[t-1], x[t-1], A[t-1]) + g(x[t-1]) c[t],      x[t] = 1 if u[t] > A[t] else 0.

The carry is that of `snnlib.neurons.lif`; the gate g is 1 but for the two resets of `GATES`, which
drop the drive in the step after a spike.

Backward. Let s[t] be the surrogate slope, p, q and r the derivatives of what u[t+1] takes over from
step t with respect to u[t], x[t] and A[t] (q = 0 for a detached reset), and m, z, y the incoming
gradients of membrane, spikes and level. Backward in time,

    δ[t] = dL/dx[t] = z[t] + g[t+1] λ[t+1] W + q[t] λ[t+1] + (1 - ρ) μ[t+1]
    λ[t] = dL/du[t] = m[t] + s[t] δ[t] + p[t] λ[t+1]
    ν[t] = dL/dA[t] = -s[t] δ[t] + r[t] λ[t+1]
    μ[t] = dL/da[t] = y[t] + κ ν[t] + ρ μ[t+1]

and with the gradient of the drive, g[t] λ[t] = dL/di[t],

    dL/dW = Σ_t (g[t] λ[t])ᵀ x[t-1],    dL/dθ = Σ_t ν[t],    dL/dκ = Σ_t ν[t] a[t],
    dL/dρ = Σ_t μ[t] (a[t-1] - x[t-1]).

So a step back costs one matrix product as a step forward does, and all steps share the product
that gives dL/dW.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from snnlib.neurons.lif import (
    _BLOCK,
    RULES,
    _add,
    _check_values,
    _Partials,
    _Settings,
)


@dataclass(frozen=True)
class Gate:
    """What the drive of a step is multiplied with, and the derivatives of that.

    Each function takes (x, leak), the spikes of the step before, and uses arithmetic only. None
    stands for a derivative that is zero.

    Attributes:
        value: The gate g.
        by_spikes: Its derivative with respect to x.
        by_leak: With respect to the leak.
    """

    value: Callable[[Any, Any], Any]
    by_spikes: Callable[[Any, Any], Any]
    by_leak: Callable[[Any, Any], Any] | None


# The carry of both is that of "zero".
GATES: dict[str, Gate] = {
    "zero_with_input": Gate(
        value=lambda x, leak: 1 - x,
        by_spikes=lambda x, leak: -1,
        by_leak=None,
    ),
    "multiplicative": Gate(
        value=lambda x, leak: leak * (1 - x),
        by_spikes=lambda x, leak: -leak,
        by_leak=lambda x, leak: 1 - x,
    ),
}
RESETS = (*RULES, *GATES)


def stepwise(
    current: Tensor,
    weight: Tensor | None,
    threshold: float | Tensor,
    leak: float | Tensor,
    adaptation: tuple[float | Tensor, float | Tensor] | None,
    initial: tuple[Tensor, ...] | None,
    settings: _Settings,
) -> tuple[Tensor, ...]:
    """Membrane and spikes, and the level of adaptation if there is one, each [T, batch, n].

    Args:
        current: Input current [T, batch, n].
        weight: Recurrent weight [n, n] in the dtype of the current; None for no connections.
        threshold: θ, a float or a tensor that broadcasts to [batch, n].
        leak: β, likewise.
        adaptation: (κ, ρ), likewise; None for a constant threshold.
        initial: Membrane and spikes before the first step, and the level; None is rest.
        settings: All that is not a number.

    Returns:
        The trajectories.
    """
    strength, decay = (None, None) if adaptation is None else adaptation
    start: tuple[Tensor | None, ...] = (None, None, None)
    if initial is not None:
        start = initial if adaptation is not None else (*initial, None)
    return _Stepwise.apply(current, weight, threshold, leak, strength, decay, *start, settings)


class _Stepwise(torch.autograd.Function):
    """All T steps as one node of the autograd graph; the inputs are those of `stepwise`."""

    @staticmethod
    def forward(
        current: Tensor,
        weight: Tensor | None,
        threshold: float | Tensor,
        leak: float | Tensor,
        strength: float | Tensor | None,
        decay: float | Tensor | None,
        membrane0: Tensor | None,
        spikes0: Tensor | None,
        level0: Tensor | None,
        settings: _Settings,
    ) -> tuple[Tensor, ...]:
        if settings.check:
            _check_values(threshold, leak)
        gate = GATES.get(settings.reset)
        carry_into = RULES["zero" if gate else settings.reset].into
        membrane, spikes = torch.empty_like(current), torch.empty_like(current)
        level = None if strength is None else torch.empty_like(current)
        into = None if weight is None else weight.t()
        drive = None if gate is None else torch.empty_like(current[0])
        above = threshold
        u0, x0, a0 = membrane0, spikes0, level0
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
            else:
                carry_into(u, u0, x0, above, leak)
                if gate is None:
                    u.add_(i)
                    if into is not None:
                        u.addmm_(x0, into)
                else:
                    assert drive is not None
                    drive.copy_(i)
                    if into is not None:
                        drive.addmm_(x0, into)
                    u.addcmul_(drive, gate.value(x0, leak))
            if a is not None and strength is not None and decay is not None:
                if x0 is None or a0 is None:
                    a.zero_()
                else:
                    a.copy_(decay * a0 + (1 - decay) * x0)
                above, a0 = threshold + strength * a, a
            torch.gt(u, above, out=x)
            u0, x0 = u, x
        return (membrane, spikes) if level is None else (membrane, spikes, level)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        current, weight, *values, membrane0, spikes0, level0, ctx.settings = inputs
        ctx.set_materialize_grads(False)
        # The outputs are saved, not copies of them: a second derivative flows back through them.
        ctx.numbers = [None if isinstance(value, Tensor) else value for value in values]
        tensors = [value if isinstance(value, Tensor) else None for value in values]
        # A closed gate hides the drive, which is then made again from the current.
        kept = current if ctx.settings.reset in GATES else None
        level = output[2] if len(output) > 2 else None
        saved = (*output[:2], level, kept, weight, *tensors, membrane0, spikes0, level0)
        ctx.save_for_backward(*saved)
        ctx.save_for_forward(*saved)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        if all(grad is None for grad in grads):
            return (None,) * 10
        run = _Run(ctx)
        need = ctx.needs_input_grad
        # Grad mode is on when this pass is itself differentiated: then out of place.
        recorded = torch.is_grad_enabled() or torch._C._are_functorch_transforms_active()
        grad_membrane, grad_spikes, grad_level = (*grads, None)[:3]
        # The gradients of the threshold and of the adaptation ask for more.
        wide = run.level is not None or any(need[k] for k in (2, 4, 5))
        back = _record if recorded else _reverse
        total, across, levels = back(run, grad_membrane, grad_spikes, grad_level, wide)
        return run.gradients(total, across, levels, need)

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> tuple[Tensor, ...]:
        # See `snnlib.neurons.lif`: torch switches forward mode off in here.
        with forward_ad._set_fwd_grad_enabled(True):
            run = _Run(ctx, lambda tensor: forward_ad.unpack_dual(tensor).primal)
            return _push_forward(run, *tangents[:-1])


class _Run:
    """What the fused function saved of a trajectory, and the derivatives along it."""

    def __init__(self, ctx: Any, view: Callable[[Tensor], Tensor] = lambda tensor: tensor) -> None:
        saved: list[Any] = [None if kept is None else view(kept) for kept in ctx.saved_tensors]
        self.membrane, self.spikes, self.level, self.current, self.weight = saved[:5]
        values = [
            number if kept is None else kept
            for number, kept in zip(ctx.numbers, saved[5:9], strict=True)
        ]
        self.threshold, self.leak, self.strength, self.decay = values
        self.membrane0, self.spikes0, self.level0 = saved[9:]
        self.settings: _Settings = ctx.settings
        self.gate = GATES.get(self.settings.reset)
        reset = "zero" if self.gate else self.settings.reset
        self.inner = replace(self.settings, reset=reset)
        self.started = self.membrane0 is not None

    def block(self) -> int:
        """Steps whose temporaries fit a core's cache; on an accelerator all, to launch less."""
        steps = self.membrane.shape[0]
        if self.membrane.device.type != "cpu":
            return steps
        return max(1, min(steps, _BLOCK * steps // max(1, self.membrane.numel())))

    def steps(self, low: int, high: int) -> _Partials:
        """The partial derivatives at the steps low to high, at the threshold of each."""
        level = None if self.level is None else self.level[low:high]
        return self._partials(self.membrane[low:high], self.spikes[low:high], level)

    def start(self) -> _Partials:
        """Likewise before the first step."""
        return self._partials(self.membrane0, self.spikes0, self.level0)

    def _partials(self, u: Tensor, x: Tensor, level: Tensor | None) -> _Partials:
        above = self.threshold if level is None else self.threshold + self.strength * level
        return _Partials(u, x, above, self.leak, self.inner)

    def held(self, x: Tensor) -> Tensor:
        """Spikes as the reset sees them."""
        return x.detach() if self.settings.detach_reset else x

    def drive(self, low: int, high: int) -> Tensor:
        """The drive c of the steps low to high, for a gated reset."""
        drive = self.current[low:high]
        if self.weight is None:
            return drive
        if low > 0:
            return drive + self.spikes[low - 1 : high - 1] @ self.weight.t()
        rest = drive[1:] + self.spikes[: high - 1] @ self.weight.t()
        first = drive[:1]
        if self.started:
            first = first + (self.spikes0.expand_as(first) @ self.weight.t())
        return torch.cat([first, rest])

    def by_spikes(self, here: _Partials, low: int) -> Tensor | None:
        """q, the derivative by x of what the next step takes over; the steps start at `low`."""
        if self.settings.detach_reset:
            return None
        by_spikes = here.by_spikes
        if self.gate is not None:
            after = min(low + here.u.shape[0] + 1, self.membrane.shape[0])
            drive = self.drive(low + 1, after)
            x = here.x[: drive.shape[0]]
            by_spikes = by_spikes[: drive.shape[0]] + self.gate.by_spikes(x, self.leak) * drive
        return by_spikes

    def gates(self) -> Any:
        """The gate of every step."""
        assert self.gate is not None
        first = torch.zeros_like(self.spikes[:1])
        if self.started:
            first = first + self.held(self.spikes0)
        before = torch.cat([first, self.held(self.spikes[:-1])])
        return self.gate.value(before, self.leak)

    def gradients(
        self, total: Tensor, across: Tensor | None, levels: Tensor | None, need: Any
    ) -> tuple[Any, ...]:
        """Gradients of all inputs from λ, ν and μ."""
        grads: list[Any] = [None] * 10
        sent = total if self.gate is None else self.gates() * total
        grads[0] = sent
        start, first = (self.start(), total[0]) if self.started else (None, None)
        x, after = self.spikes[:-1], total[1:]
        if need[1]:
            grads[1] = sent[1:].flatten(0, 1).t() @ x.flatten(0, 1)
            if self.started:
                grads[1] = grads[1] + sent[0].t() @ self.spikes0.expand_as(sent[0])
        if need[2]:
            assert across is not None
            parts = [across]
            if start is not None and start.by_threshold is not None:
                parts.append(start.by_threshold * first)
            grads[2] = _add(None, parts, self.threshold)
        if need[3]:
            before = self.steps(0, after.shape[0])
            parts = [before.by_leak * after]
            if start is not None:
                parts.append(start.by_leak * first)
            if self.gate is not None and self.gate.by_leak is not None:
                first_x = self.held(self.spikes0) if self.started else 0.0
                parts.append(self.gate.by_leak(first_x, self.leak) * self.drive(0, 1)[0] * total[0])
                if after.shape[0]:
                    by_leak = self.gate.by_leak(self.held(x), self.leak)
                    parts.append(by_leak * self.drive(1, total.shape[0]) * after)
            grads[3] = _add(None, parts, self.leak)
        if need[4]:
            assert across is not None
            parts = [across * self.level]
            if start is not None and start.by_threshold is not None:
                parts.append(start.by_threshold * first * self.level0)
            grads[4] = _add(None, parts, self.strength)
        if need[5]:
            assert levels is not None
            parts = [levels[1:] * (self.level[:-1] - x)]
            if self.started:
                parts.append(levels[0] * (self.level0 - self.spikes0))
            grads[5] = _add(None, parts, self.decay)
        if start is not None and first is not None:
            if need[6]:
                grads[6] = _add(None, [start.by_membrane * first], self.membrane0)
            if need[7]:
                grads[7] = _add(None, self._at_start(start, first, sent, levels), self.spikes0)
            if need[8] and levels is not None:
                parts = [self.decay * levels[0]]
                if start.by_threshold is not None:
                    parts.append(self.strength * start.by_threshold * first)
                grads[8] = _add(None, parts, self.level0)
        return tuple(grads)

    def _at_start(
        self, start: _Partials, first: Tensor, sent: Tensor, levels: Tensor | None
    ) -> list[Tensor]:
        """The parts of the gradient of the spikes before the first step."""
        parts = []
        if self.weight is not None:
            parts.append(sent[0] @ self.weight)
        if start.by_spikes is not None:
            parts.append(start.by_spikes * first)
            if self.gate is not None:
                by_spikes = self.gate.by_spikes(start.x, self.leak)
                parts.append(by_spikes * self.drive(0, 1)[0] * first)
        if levels is not None:
            parts.append((1 - self.decay) * levels[0])
        return parts


def _at(value: Any, t: int) -> Any:
    """Step t of a derivative; thresholds and leaks have fewer dimensions than a trajectory."""
    return value[t] if isinstance(value, Tensor) and value.dim() == 3 else value


def _reverse(
    run: _Run, grad_membrane: Any, grad_spikes: Any, grad_level: Any, wide: bool
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """λ of every step, and ν and μ if asked for, in place."""
    steps = run.membrane.shape[0]
    total = torch.empty_like(run.membrane)
    across = torch.empty_like(total) if wide else None
    levels = torch.empty_like(total) if run.level is not None else None
    delta = torch.empty_like(total[0])
    gated = torch.empty_like(delta) if run.gate is not None else None
    totals = total.unbind()
    arriving = None if grad_spikes is None else grad_spikes.unbind()
    size = run.block()
    for high in range(steps, 0, -size):
        low = max(high - size, 0)
        here = run.steps(low, high)
        slope, keep, by_spikes = here.slope.unbind(), here.by_membrane, run.by_spikes(here, low)
        crossing = here.by_crossing if wide else None
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
                    part = _at(by_spikes, k)
                    if isinstance(part, Tensor):
                        delta.addcmul_(after, part)
                    else:
                        delta.add_(after, alpha=part)
                if levels is not None:
                    delta.add_((1 - run.decay) * levels[t + 1])
                step = _at(keep, k)
                torch.mul(after, step, out=own)
                own.addcmul_(slope[k], delta)
            if grad_membrane is not None:
                own.add_(grad_membrane[t])
            if across is not None and crossing is not None:
                nu = torch.mul(crossing[k], delta, out=across[t])
                if t + 1 < steps and here.by_threshold is not None:
                    part = _at(here.by_threshold, k)
                    nu.add_(part * total[t + 1])
                if levels is not None:
                    mu = torch.mul(nu, run.strength, out=levels[t])
                    if grad_level is not None:
                        mu.add_(grad_level[t])
                    if t + 1 < steps:
                        mu.add_(run.decay * levels[t + 1])
    return total, across, levels


def _record(
    run: _Run, grad_membrane: Any, grad_spikes: Any, grad_level: Any, wide: bool
) -> tuple[Tensor, Tensor | None, Tensor | None]:
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
                delta = delta + _at(by_spikes, t) * after
            if mus:
                delta = delta + (1 - run.decay) * mus[-1]
                mu = mu + run.decay * mus[-1]
            own = own + _at(keep, t) * after
            if here.by_threshold is not None:
                nu = nu + _at(here.by_threshold, t) * after
        if wide:
            nu = nu + here.by_crossing[t] * delta
            nus.append(nu)
        if run.level is not None:
            mus.append(mu + run.strength * nu)
        totals.append(own + slope[t] * delta)
    stacked = [torch.stack(parts[::-1]) if parts else None for parts in (totals, nus, mus)]
    assert stacked[0] is not None
    return stacked[0], stacked[1], stacked[2]


def _push_forward(
    run: _Run,
    d_current: Tensor | None,
    d_weight: Tensor | None,
    d_threshold: Tensor | None,
    d_leak: Tensor | None,
    d_strength: Tensor | None,
    d_decay: Tensor | None,
    d_membrane: Tensor | None,
    d_spikes: Tensor | None,
    d_level: Tensor | None,
) -> tuple[Tensor, ...]:
    """Tangents of the trajectories, forward in time."""

    def sum_of(*products: tuple[Any, Any]) -> Any:
        total: Any = None
        for partial, tangent in products:
            if partial is not None and tangent is not None:
                part = partial * tangent
                total = part if total is None else total + part
        return total

    def added(first: Any, second: Any) -> Any:
        return second if first is None else first if second is None else first + second

    zero = torch.zeros_like(run.membrane[0])
    rows: list[tuple[Tensor, ...]] = []
    d_above0 = None
    if run.level is not None and run.started:
        d_above0 = added(d_threshold, sum_of((run.level0, d_strength), (run.strength, d_level)))
    for t in range(run.membrane.shape[0]):
        here = run.steps(t, t + 1)
        before = None
        x0 = a0 = None
        if t > 0:
            before, x0 = run.steps(t - 1, t), run.spikes[t - 1]
            a0 = None if run.level is None else run.level[t - 1]
        elif run.started:
            before, x0, a0 = run.start(), run.spikes0.expand_as(zero), run.level0
        # The drive, and what the potential takes over.
        d_drive = None if d_current is None else d_current[t]
        if x0 is not None:
            if d_weight is not None:
                d_drive = added(d_drive, x0 @ d_weight.t())
            if d_spikes is not None and run.weight is not None:
                d_drive = added(d_drive, d_spikes.expand_as(zero) @ run.weight.t())
        d_u = d_drive
        if run.gate is not None:
            held = 0.0 if x0 is None else run.held(x0)
            drive = run.drive(t, t + 1)[0]
            d_u = sum_of((run.gate.value(held, run.leak), d_drive))
            if run.gate.by_leak is not None:
                d_u = added(d_u, sum_of((run.gate.by_leak(held, run.leak) * drive, d_leak)))
            if not run.settings.detach_reset and x0 is not None:
                by_spikes = run.gate.by_spikes(held, run.leak) * drive
                d_u = added(d_u, sum_of((by_spikes, d_spikes)))
        if before is not None:
            above = d_threshold if run.level is None else d_above0
            carried = sum_of(
                (before.by_membrane, d_membrane),
                (before.by_spikes, d_spikes),
                (before.by_threshold, above),
                (before.by_leak, d_leak),
            )
            d_u = added(d_u, carried)
        d_u = zero if d_u is None else d_u.reshape(zero.shape) if d_u.dim() == 3 else d_u + zero
        # The threshold of this step.
        d_above = d_threshold
        if run.level is not None:
            d_a = zero
            if x0 is not None:
                changed = sum_of(
                    (run.decay, d_level), (1 - run.decay, d_spikes), (a0 - x0, d_decay)
                )
                d_a = zero if changed is None else changed + zero
            products = sum_of((run.level[t], d_strength), (run.strength, d_a))
            d_level, d_above = d_a, added(d_threshold, products)
            d_above0 = d_above
        d_x = here.slope[0] * d_u
        if d_above is not None:
            d_x = d_x + here.by_crossing[0] * d_above
        rows.append((d_u, d_x) if run.level is None else (d_u, d_x, d_level))  # type: ignore[arg-type]
        d_membrane, d_spikes = d_u, d_x
    return tuple(torch.stack(parts) for parts in zip(*rows, strict=True))
