"""What one step of a membrane hands to the next, and the derivatives of that."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from snnlib.neurons._recursion import recorded
from snnlib.neurons._settings import Settings
from snnlib.resets import RULES


class Partials:
    """Partial derivatives at potentials u and spikes x, of a whole stretch of time or one step.

    A derivative has the shape of u where it depends on u or x, else of the leak and threshold.
    None stands for one that is zero, or ignored because the reset is detached.
    """

    def __init__(self, u: Any, x: Any, threshold: Any, leak: Any, settings: Settings) -> None:
        self.u, self.x, self.threshold, self.settings = u, x, threshold, settings
        self.rule = RULES[settings.reset]
        # A detached reset holds the spike constant, in second derivatives too.
        self.args = (u, x.detach() if settings.detach_reset else x, threshold, leak)

    @cached_property
    def slope(self) -> Tensor:
        """The surrogate derivative of the spike by its potential."""
        surrogate, relative = self.settings.surrogate, self.settings.relative
        v = self.u / self.threshold - 1 if relative else self.u - self.threshold
        if recorded() or v.dtype not in (torch.float32, torch.float64):
            slope = surrogate.derivative(v)
        else:  # v is ours
            slope = surrogate.derivative_(v)
        return slope / self.threshold if relative else slope

    @cached_property
    def by_crossing(self) -> Tensor:
        """The derivative of the spike by the threshold that its potential is compared with."""
        return -self.slope * self.u / self.threshold if self.settings.relative else -self.slope

    @cached_property
    def by_membrane(self) -> Any:
        """The derivative of the carry by u."""
        return self.rule.by_membrane(*self.args)

    @cached_property
    def by_spikes(self) -> Any:
        """The derivative of the carry by x."""
        if self.settings.detach_reset or self.rule.by_spikes is None:
            return None
        return self.rule.by_spikes(*self.args)

    @cached_property
    def by_threshold(self) -> Any:
        """The derivative of the carry by the threshold."""
        return None if self.rule.by_threshold is None else self.rule.by_threshold(*self.args)

    @cached_property
    def by_leak(self) -> Any:
        """The derivative of the carry by the leak."""
        return self.rule.by_leak(*self.args)
