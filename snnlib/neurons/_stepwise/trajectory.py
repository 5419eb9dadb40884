"""What the fused function saved of a trajectory, and the derivatives along it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from snnlib.neurons._partials import Partials
from snnlib.neurons._settings import Settings
from snnlib.resets import GATES


class Trajectory:
    """What the fused function saved of a trajectory, and the derivatives along it."""

    def __init__(
        self, ctx: Any, view: Callable[[Tensor], Tensor | None] = lambda kept: kept
    ) -> None:
        saved: list[Any] = [view(kept) for kept in ctx.saved_tensors]
        self.membrane, self.spikes, self.level, self.current, self.weight = saved[:5]
        values = [
            number if kept is None else kept
            for number, kept in zip(ctx.numbers, saved[5:9], strict=True)
        ]
        self.threshold, self.leak, self.strength, self.decay = values
        self.membrane0, self.spikes0, self.level0 = saved[9:]
        self.settings: Settings = ctx.settings
        self.gate = GATES.get(self.settings.reset)
        reset = "zero" if self.gate else self.settings.reset
        self.inner = replace(self.settings, reset=reset)
        self.started = self.membrane0 is not None

    def steps(self, low: int, high: int) -> Partials:
        """The partial derivatives at the steps low to high, at the threshold of each."""
        level = None if self.level is None else self.level[low:high]
        return self._partials(self.membrane[low:high], self.spikes[low:high], level)

    def start(self) -> Partials:
        """Likewise before the first step."""
        return self._partials(self.membrane0, self.spikes0, self.level0)

    def _partials(self, u: Tensor, x: Tensor, level: Tensor | None) -> Partials:
        above = self.threshold if level is None else self.threshold + self.strength * level
        return Partials(u, x, above, self.leak, self.inner)

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

    def by_spikes(self, here: Partials, low: int) -> Tensor | None:
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
