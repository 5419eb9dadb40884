"""The fused function: all tensors fitted, all T steps as one node of the autograd graph."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from snnlib.neurons._checks import check_export, check_values, fitted, sequence, state
from snnlib.neurons._recursion import numbers_apart, plain, recorded
from snnlib.neurons._settings import Settings
from snnlib.neurons._stepwise.backward import record, reverse
from snnlib.neurons._stepwise.forward import integrate
from snnlib.neurons._stepwise.gradients import gradients
from snnlib.neurons._stepwise.tangents import push_forward
from snnlib.neurons._stepwise.trajectory import Trajectory
from snnlib.neurons._weight import fitted_weight
from snnlib.resets import GATES


def stepwise(
    current: Tensor,
    weight: Tensor | None,
    *,
    self_connections: bool,
    threshold: float | Tensor,
    leak: float | Tensor,
    adaptation: tuple[float | Tensor, float | Tensor] | None = None,
    initial: Tensor | tuple[Tensor, ...] | None,
    settings: Settings,
) -> tuple[Tensor, ...]:
    """Membrane and spikes, and the level of adaptation if there is one, each [T, batch, n].

    All tensors are fitted to the current before.

    Args:
        current: Input current [T, batch, n].
        weight: Recurrent weight [n, n]; None for no connections.
        self_connections: Whether the diagonal of the weight counts.
        threshold: θ, a float or a tensor that broadcasts to [batch, n].
        leak: β, likewise.
        adaptation: (κ, ρ), likewise; None for a constant threshold.
        initial: Membrane and spikes before the first step, and the level; or the membrane alone;
            None is rest.
        settings: All that is not a number.

    Returns:
        The trajectories.
    """
    current = sequence(current)
    if current.dim() != 3:
        raise ValueError(f"current must be [T, batch, n], got shape {list(current.shape)}")
    if weight is not None:
        weight = fitted_weight(weight, current, self_connections)
    check_export(current, weight, threshold, leak)
    threshold = fitted("threshold", threshold, current)
    leak = fitted("leak", leak, current)
    names: tuple[str, ...] = ("membrane", "spikes")
    strength = decay = None
    if adaptation is not None:
        names = (*names, "adaptation")
        strength = fitted("adaptation", adaptation[0], current)
        decay = fitted("adaptation_leak", adaptation[1], current)
    given = state(initial, names, "a tuple {}", current) or ()
    start = (*given, *[None] * (3 - len(given)))
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
        settings: Settings,
    ) -> tuple[Tensor, ...]:
        if settings.check:
            check_values("threshold", threshold)
            check_values("leak", leak)
        start = (membrane0, spikes0, level0)
        return integrate(current, weight, threshold, leak, strength, decay, start, settings.reset)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        current, weight, *values, membrane0, spikes0, level0, ctx.settings = inputs
        ctx.set_materialize_grads(False)
        # The outputs are saved, not copies of them: a second derivative flows back through them.
        ctx.numbers, tensors = numbers_apart(tuple(values))
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
        run = Trajectory(ctx)
        need = ctx.needs_input_grad
        grad_membrane, grad_spikes, grad_level = (*grads, None)[:3]
        # The gradients of the threshold and of the adaptation ask for more.
        wide = run.level is not None or any(need[k] for k in (2, 4, 5))
        back = record if recorded() else reverse
        adjoints = back(run, grad_membrane, grad_spikes, grad_level, wide)
        return gradients(run, adjoints, need)

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> tuple[Tensor, ...]:
        with forward_ad._set_fwd_grad_enabled(True):
            return push_forward(Trajectory(ctx, plain), *tangents[:-1])
