"""What all neurons are set by: how a call is set, and how a module keeps and learns its numbers."""

from __future__ import annotations

import copy
import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from snnlib.neurons._checks import (
    HIGHEST,
    brief_kind,
    check_choice,
    check_strict,
    check_values,
    fitted,
    floating,
    number,
)
from snnlib.neurons._saving import Saved, described
from snnlib.resets import RULES
from snnlib.surrogate import Surrogate

ThresholdGradient: TypeAlias = Literal["absolute", "relative", "threshold_robust"]


@dataclass(frozen=True)
class Settings:
    """The arguments of a fused function that are not numbers.

    Attributes:
        reset: What a spike does to the potential.
        surrogate: Derivative of the spike on the way back.
        detach_reset: Whether the way back ignores that the reset depends on the spike.
        relative: Whether the surrogate's argument is u/θ - 1 instead of u - θ.
        check: Whether to look at the values of tensors. A module did when it was made, and
            softplus and sigmoid keep what it learns in range.
    """

    reset: str
    surrogate: Surrogate
    detach_reset: bool
    relative: bool
    check: bool

    @property
    def is_detached(self) -> bool:
        """Whether λ asks of the potential for σ'(u - θ) alone."""
        return (self.detach_reset or self.reset == "none") and not self.relative

    @classmethod
    def of_call(
        cls,
        reset: str,
        surrogate: Surrogate | None,
        detach_reset: bool,
        known: Collection[str] = RULES,
    ) -> Settings:
        """The settings of a function's call, with a reset that its neuron knows."""
        check_choice("reset", reset, known)
        surrogate = as_surrogate(surrogate)
        return cls(reset, surrogate, detach_reset, relative=False, check=True)


def as_surrogate(surrogate: Surrogate | None) -> Surrogate:
    """The surrogate that was asked for, refused at once if it is none.

    Raises:
        ValueError: If it is a name, or another library's.
    """
    if surrogate is None:
        return Surrogate("arctan")
    if not callable(getattr(surrogate, "derivative", None)):
        raise ValueError(
            "surrogate must be a snnlib.surrogate.Surrogate or None, got "
            f'{surrogate!r}: Surrogate("arctan") for a shape by its name, or '
            "snnlib.interop.<library>.surrogate_to_snnlib(...) for one of another library"
        )
    return surrogate


class LearnedStart(Protocol):
    """A module that gives a layer's membrane before the first step, and learns from its last.

    `snnlib.membrane.MPInit` is one.
    """

    def __call__(self) -> Tensor:
        """The membrane before the first step."""

    def update(self, potential: Tensor, spikes: Tensor) -> None:
        """Learn from U[T] after the last reset, [batch, ...], and all spikes, [T, batch, ...]."""


class Layer(Saved):
    """What the modules of all neurons share: constants that may be learned, and the start."""

    reset: str
    surrogate: Surrogate
    detach_reset: bool
    threshold_gradient: ThresholdGradient
    initial: Tensor | LearnedStart | None

    @property
    def _settings(self) -> Settings:
        relative = self.threshold_gradient != "absolute"
        return Settings(self.reset, self.surrogate, self.detach_reset, relative, check=False)

    def saved_settings(self) -> dict[str, Any]:
        """The constants that are plain numbers, and the reset; see `Saved`."""
        found: dict[str, Any] = {}
        for name in HIGHEST:
            if getattr(self, f"learn_{name}", False):
                found[name] = described(None, learned=True)
            elif hasattr(self, f"fixed_{name}"):
                found[name] = described(getattr(self, f"fixed_{name}"))
        found["reset"] = self.reset
        if self.threshold_gradient == "threshold_robust":
            found["output"] = "threshold"  # times the spike
        own = getattr(self, "self_connections", None)
        return found | ({} if own is None else {"self_connections": bool(own)})

    def _keep(self, name: str, value: float | Tensor, learn: bool) -> None:
        """Keep a constant as float or buffer, a learnable value as a raw parameter.

        The raw parameter is any real number: its softplus is a constant >= 0, its sigmoid one in
        [0, 1].
        """
        if learn:
            tensor = torch.as_tensor(value).detach()
            given = isinstance(value, Tensor) and tensor.is_floating_point()
            inverse = _inverse_softplus if math.isinf(HIGHEST[name]) else torch.logit
            raw = inverse(tensor.double()).to(tensor.dtype if given else torch.get_default_dtype())
            self.register_parameter(f"raw_{name}", nn.Parameter(raw))
        elif isinstance(value, Tensor):
            self.register_buffer(f"fixed_{name}", value.detach().clone())
        else:
            setattr(self, f"fixed_{name}", value)

    def _value(self, name: str) -> float | Tensor:
        """The constant that `_keep` keeps."""
        if not getattr(self, f"learn_{name}", False):
            return getattr(self, f"fixed_{name}")
        raw = getattr(self, f"raw_{name}")
        return functional.softplus(raw) if math.isinf(HIGHEST[name]) else torch.sigmoid(raw)

    def _keep_start(self, initial: Any, reset: str, leak: float | Tensor) -> None:
        """Check and copy the membrane before the first step: one per layer."""
        if isinstance(initial, nn.Module):
            _check_learned_start(initial, reset, leak)
            own: Any = copy.deepcopy(initial)  # also where layers share settings
            self.initial = own
        else:
            if initial is not None:
                initial = floating("initial", initial).detach().clone()
            self.register_buffer("initial", initial)

    def _start(self) -> Tensor | None:
        """The membrane before the first step."""
        start = self.initial
        return start if start is None or isinstance(start, Tensor) else start()

    @torch.no_grad()
    def _learn_start(self, trace: Any) -> None:
        """Tell the start of the next batch how this one ended."""
        start = self.initial
        assert start is not None and not isinstance(start, Tensor)
        membrane, spikes = trace.membrane[-1], trace.spikes[-1]
        threshold, leak = (
            fitted(name, self._value(name), membrane) for name in ("threshold", "leak")
        )
        after = RULES[self.reset].after(membrane, spikes, threshold, leak)
        start.update(after, trace.spikes)


def constant(name: str, value: float | Tensor, learn: bool, instead: str) -> float | Tensor:
    """A checked constant of a module.

    Args:
        name: What it is.
        value: A number, or a tensor.
        learn: Whether the module learns it.
        instead: What to use for a tensor that requires a gradient. The module copies what it is
            given: a gradient would stop there without a word.
    """
    value = number(name, value)
    check_values(name, value)
    if learn:
        check_strict(name, value, HIGHEST[name], "to be learnable")
    elif isinstance(value, Tensor) and value.requires_grad:
        raise ValueError(f"{name} must not require a gradient, got one that does: use {instead}")
    return value


def _check_learned_start(initial: nn.Module, reset: str, leak: float | Tensor) -> None:
    if not callable(getattr(initial, "update", None)):
        raise ValueError(
            f"initial must be a tensor, a snnlib.membrane.MPInit or None, got {brief_kind(initial)}"
        )
    if reset not in RULES:
        raise ValueError(
            f"initial must be a tensor or None with reset={reset!r}, got {brief_kind(initial)}"
        )
    if reset == "subtract":
        why = 'for an MPInit with reset="subtract", which subtracts the threshold after the leak'
        check_strict("leak", leak, math.inf, why)


def _inverse_softplus(value: Tensor) -> Tensor:
    return value + torch.log(-torch.expm1(-value))


def brief(value: float | Tensor, learnable: bool) -> str:
    """A constant in few characters, for `print(model)`."""
    text = f"{value:g}" if not isinstance(value, Tensor) else ""
    if isinstance(value, Tensor):
        known = value.numel() == 1 and not value.is_meta
        text = f"{value.item():g}" if known else f"tensor{list(value.shape)}"
    return f"{text} (learnable)" if learnable else text
