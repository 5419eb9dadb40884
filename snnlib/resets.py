r"""What a spike does to the potential one step later: the resets, and their derivatives.

With potential u, spike x, threshold θ and leak β, the potential of the next step begins with

    "subtract"       β u - θ x
    "subtract_leak"  β (u - θ x)
    "zero"           β u (1 - x)
    "none"           β u

and the drive of the step is added (`RULES`). Two resets, for neurons that run step by step, carry
what "zero" carries, and multiply the drive with a gate (`GATES`):

    "zero_with_input"   1 - x
    "multiplicative"    β (1 - x)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

__all__ = ["GATES", "RESETS", "RULES", "Gate", "RecurrentReset", "Reset", "ResetRule"]

Reset: TypeAlias = Literal["subtract", "subtract_leak", "zero", "none"]
RecurrentReset: TypeAlias = Literal[
    "subtract", "subtract_leak", "zero", "none", "zero_with_input", "multiplicative"
]


@dataclass(frozen=True)
class ResetRule:
    """What potential u and spike x bring into the next step, and the derivatives of that.

    Every function but `into` takes (u, x, threshold, leak) and uses arithmetic only, so it accepts
    numbers, tensors and SymPy symbols. None stands for a derivative that is zero.

    Attributes:
        carry: The carried term.
        by_membrane: Its derivative with respect to u.
        by_spikes: With respect to x.
        by_threshold: With respect to the threshold.
        by_leak: With respect to the leak.
        into: (out, u, x, threshold, leak): writes the carried term into `out` with the same
            roundings, in few kernels and without temporaries.
        after: The potential right after the reset: the carried term is the leak times it.
    """

    carry: Callable[[Any, Any, Any, Any], Any]
    by_membrane: Callable[[Any, Any, Any, Any], Any]
    by_spikes: Callable[[Any, Any, Any, Any], Any] | None
    by_threshold: Callable[[Any, Any, Any, Any], Any] | None
    by_leak: Callable[[Any, Any, Any, Any], Any]
    into: Callable[[Tensor, Tensor, Tensor, Any, Any], None]
    after: Callable[[Any, Any, Any, Any], Any]


def _subtract_into(out: Tensor, u: Tensor, x: Tensor, threshold: Any, leak: Any) -> None:
    torch.mul(u, leak, out=out)
    _less(out, x, threshold, out=out)


def _subtract_leak_into(out: Tensor, u: Tensor, x: Tensor, threshold: Any, leak: Any) -> None:
    _less(u, x, threshold, out=out)
    out.mul_(leak)


def _zero_into(out: Tensor, u: Tensor, x: Tensor, threshold: Any, leak: Any) -> None:
    torch.mul(u, leak, out=out)
    out.addcmul_(out, x, value=-1)


def _none_into(out: Tensor, u: Tensor, x: Tensor, threshold: Any, leak: Any) -> None:
    torch.mul(u, leak, out=out)


def _less(u: Tensor, x: Tensor, threshold: float | Tensor, *, out: Tensor) -> None:
    if isinstance(threshold, Tensor):
        torch.addcmul(u, x, threshold, value=-1, out=out)
    else:
        torch.sub(u, x, alpha=threshold, out=out)


RULES: dict[str, ResetRule] = {
    "subtract": ResetRule(
        carry=lambda u, x, threshold, leak: leak * u - threshold * x,
        by_membrane=lambda u, x, threshold, leak: leak,
        by_spikes=lambda u, x, threshold, leak: -threshold,
        by_threshold=lambda u, x, threshold, leak: -x,
        by_leak=lambda u, x, threshold, leak: u,
        into=_subtract_into,
        after=lambda u, x, threshold, leak: u - threshold * x / leak,
    ),
    "subtract_leak": ResetRule(
        carry=lambda u, x, threshold, leak: leak * (u - threshold * x),
        by_membrane=lambda u, x, threshold, leak: leak,
        by_spikes=lambda u, x, threshold, leak: -leak * threshold,
        by_threshold=lambda u, x, threshold, leak: -leak * x,
        by_leak=lambda u, x, threshold, leak: u - threshold * x,
        into=_subtract_leak_into,
        after=lambda u, x, threshold, leak: u - threshold * x,
    ),
    "zero": ResetRule(
        carry=lambda u, x, threshold, leak: leak * u * (1 - x),
        by_membrane=lambda u, x, threshold, leak: leak * (1 - x),
        by_spikes=lambda u, x, threshold, leak: -leak * u,
        by_threshold=None,
        by_leak=lambda u, x, threshold, leak: u * (1 - x),
        into=_zero_into,
        after=lambda u, x, threshold, leak: u * (1 - x),
    ),
    "none": ResetRule(
        carry=lambda u, x, threshold, leak: leak * u,
        by_membrane=lambda u, x, threshold, leak: leak,
        by_spikes=None,
        by_threshold=None,
        by_leak=lambda u, x, threshold, leak: u,
        into=_none_into,
        after=lambda u, x, threshold, leak: u,
    ),
}
"""The resets by name; all neurons know them."""


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
"""The gated resets by name; neurons with recurrent weights or an adaptive threshold know them."""

RESETS: tuple[str, ...] = (*RULES, *GATES)
"""Names of all resets."""
