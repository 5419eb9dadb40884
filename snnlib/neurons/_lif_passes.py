"""The two passes of a layer of LIF neurons: forward in time, and backward for the gradients.

What the fused neuron (`snnlib.neurons.lif`) and the layer of weights with its neurons
(`snnlib.neurons.weighted_lif`) have in common.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from snnlib.neurons._partials import Partials
from snnlib.neurons._recursion import (
    add_up,
    block,
    mapped_gradient,
    recorded,
    reverse_in_place,
    reverse_recorded,
)
from snnlib.neurons._settings import Settings
from snnlib.resets import RULES

SMALL = 2**14
"""Neurons in a step up to which a call costs more than its arithmetic."""


def integrate(
    current: Tensor,
    membrane: Tensor,
    spikes: Tensor,
    threshold: float | Tensor,
    leak: float | Tensor,
    start: tuple[Tensor, Tensor] | None,
    reset: str,
) -> None:
    """Write the trajectory of a current [T, ...] into membrane and spikes.

    Args:
        current: Input current.
        membrane: Takes the potentials; may be the current itself, which is lost then.
        spikes: Takes the spikes.
        threshold: θ, a number or a tensor.
        leak: β, likewise.
        start: Membrane and spikes before the first step; None is rest.
        reset: A name in `snnlib.resets.RULES`.
    """
    small = current[0].numel() <= SMALL and current.device.type == "cpu" and type(current) is Tensor
    known = current.dtype in (torch.float32, torch.float64) and start is None
    if small and known and not isinstance(threshold, Tensor) and not isinstance(leak, Tensor):
        return _integrate_small(current, membrane, spikes, threshold, leak, RULES[reset])
    carry_into = RULES[reset].into
    held = torch.empty_like(current[0])
    before = None if start is None else (start[0].expand_as(held), start[1].expand_as(held))
    for i, u, x in zip(current.unbind(), membrane.unbind(), spikes.unbind(), strict=True):
        if before is not None:
            carry_into(held, *before, threshold, leak)
            torch.add(held, i, out=u)
        elif membrane is not current:
            u.copy_(i)
        torch.gt(u, threshold, out=x)
        before = u, x


@np.errstate(all="ignore")  # as silent about infinite currents as torch
def _integrate_small(
    current: Tensor, membrane: Tensor, spikes: Tensor, threshold: float, leak: float, rule: Any
) -> None:
    """The same, with the same roundings, by NumPy: its calls take half of the time of torch's."""
    before = None
    for i, u, x in zip(current.numpy(), membrane.numpy(), spikes.numpy(), strict=True):
        if before is not None:
            np.add(rule.carry(*before, threshold, leak), i, out=u)
        elif membrane is not current:
            u[...] = i
        np.greater(u, threshold, out=x)
        before = u, x


class Trajectory:
    """What is known of a trajectory on the way back."""

    def __init__(
        self,
        membrane: Any,
        spikes: Any,
        threshold: Any,
        leak: Any,
        start: tuple[Any, Any] | None,
        settings: Settings,
    ) -> None:
        self.membrane, self.spikes, self.settings = membrane, spikes, settings
        self.threshold, self.leak = threshold, leak
        self.start = None if start is None else self._partials(*start)

    def _partials(self, u: Tensor, x: Tensor) -> Partials:
        return Partials(u, x, self.threshold, self.leak, self.settings)

    def steps(self, low: int, high: int) -> Partials:
        """The partial derivatives at the steps low to high."""
        return self._partials(self.membrane[low:high], self.spikes[low:high])


def _overwritten(run: Trajectory, grad_spikes: Tensor) -> Tensor:
    """λ of a detached reset, step by step in the memory of the potentials."""
    total = run.membrane
    derivative_ = run.settings.surrogate.derivative_
    size = block(total)
    for high in range(total.shape[0], 0, -size):
        low = max(high - size, 0)
        factor = run.steps(low, high).by_membrane  # of the spikes at most
        derivative_(total[low:high].sub_(run.threshold)).mul_(grad_spikes[low:high])
        reverse_in_place(total, low, high, factor)
    return total


def adjoint(
    run: Trajectory,
    grad_membrane: Any,
    grad_spikes: Any,
    need: Sequence[bool],
    overwrite: bool = False,
) -> tuple[Any, ...]:
    """λ[t] = dL/du[t] of all steps, and the gradients of what all steps share.

    Args:
        run: The trajectory.
        grad_membrane: Gradient of the potentials, or None.
        grad_spikes: Gradient of the spikes, or None; one of the two is there.
        need: Whether the gradients of threshold, leak, and membrane and spikes before the first
            step are wanted.
        overwrite: Whether the trajectory's potentials are needed no more: λ may take their place.

    Returns:
        λ, which is the current's gradient, and the four gradients or None.
    """
    need_threshold, need_leak = need[:2]
    grad_threshold = grad_leak = None

    # All steps at once and out of place, or in place, in blocks that fit the processor's cache.
    whole = recorded() or mapped_gradient(grad_membrane, grad_spikes)
    if (
        overwrite
        and not whole
        and grad_membrane is None
        and not any(need)
        and run.settings.is_detached
    ):
        return _overwritten(run, grad_spikes), None, None, None, None
    steps = run.membrane.shape[0]
    size = steps if whole else block(run.membrane)
    given = grad_spikes if grad_membrane is None else grad_membrane
    total = None if whole else torch.empty_like(given)
    for high in range(steps, 0, -size):
        low = max(high - size, 0)
        here = run.steps(low, high)
        factor = here.by_membrane
        if here.by_spikes is not None:
            factor = factor + here.slope * here.by_spikes
        if total is None:
            local = grad_membrane
            if grad_spikes is not None:
                local = here.slope * grad_spikes
                local = local if grad_membrane is None else local + grad_membrane
            total = reverse_recorded(local, factor)
        else:
            local = total[low:high]
            if grad_spikes is None:
                local.copy_(grad_membrane[low:high])
            else:
                torch.mul(here.slope, grad_spikes[low:high], out=local)
                if grad_membrane is not None:
                    local.add_(grad_membrane[low:high])
            reverse_in_place(total, low, high, factor)
        # Threshold and leak also act through the carry into the next step, if there is one.
        after = total[low + 1 : high + 1]
        before = run.steps(low, low + after.shape[0])
        if need_threshold:
            parts = []
            if grad_spikes is not None:
                parts.append(here.by_crossing * grad_spikes[low:high])
            if before.by_spikes is not None:
                parts.append(here.by_crossing[: after.shape[0]] * before.by_spikes * after)
            if before.by_threshold is not None:
                parts.append(before.by_threshold * after)
            grad_threshold = add_up(parts, run.threshold, grad_threshold)
        if need_leak:
            grad_leak = add_up([before.by_leak * after], run.leak, grad_leak)

    assert total is not None
    grads = [grad_threshold, grad_leak, None, None]
    return total, *(grads if run.start is None else _at_start(run, total[0], grads, need))


def _at_start(
    run: Trajectory, first: Tensor, grads: list[Tensor | None], need: Sequence[bool]
) -> list[Tensor | None]:
    """The four gradients once the step from the start counts, too."""
    start = run.start
    assert start is not None
    partials = (start.by_threshold, start.by_leak, start.by_membrane, start.by_spikes)
    targets = (run.threshold, run.leak, start.u, start.x)
    return [
        add_up([partial * first], target, grad) if needed and partial is not None else grad
        for needed, partial, target, grad in zip(need, partials, targets, grads, strict=True)
    ]
