"""What a neuron is given: checked, and fitted to the current."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

HIGHEST: dict[str, float] = {
    "threshold": math.inf,
    "leak": 1.0,
    "synapse_leak": 1.0,
    "input_gain": math.inf,
    "delay": 1.0,
    "adaptation": math.inf,
    "adaptation_leak": 1.0,
}
"""Upper end of the range of each constant of a neuron; the lower end is 0."""


LARGEST = torch.finfo(torch.float32).max
"""What is larger is infinite for a current in single precision, and 0 times it is NaN."""


# --- Numbers --------------------------------------------------------------------------------------


def number(name: str, value: float | Tensor) -> float | Tensor:
    """A real number as a checked float; a tensor as it is: `check_values` reads its values."""
    high = HIGHEST[name]
    if isinstance(value, Tensor):
        if value.is_complex() or value.dtype == torch.bool:
            raise ValueError(f"{name} must be real and {_range(high)}, got {brief_kind(value)}")
        if not value.numel():
            raise ValueError(f"{name} must hold a number, got {brief_kind(value)}")
        return value
    try:
        real = float(value)
    except (TypeError, ValueError):
        raise ValueError(
            f"{name} must be a number or a tensor, {_range(high)}, got {value!r}"
        ) from None
    if not 0 <= real <= high or real > LARGEST:
        raise ValueError(f"{name} must be {_range(high)}, got {value!r}{_nearest(real, high)}")
    return real


def check_values(name: str, value: float | Tensor) -> None:
    """Check the values of a tensor; a float was checked by `number`."""
    if isinstance(value, Tensor):
        high = HIGHEST[name]
        good = (value >= 0) & (value <= high) & (value < math.inf)  # NaN compares false
        _check_all(name, value, good, _range(high))


def check_strict(name: str, value: float | Tensor, high: float, why: str) -> None:
    """Check that a number or a tensor is inside (0, high)."""
    tensor = torch.as_tensor(value)
    good = (tensor > 0) & (tensor < high)
    _check_all(name, tensor, good, f"{_range(high, strict=True)} {why}")


def _check_all(name: str, value: Tensor, good: Tensor, wanted: str) -> None:
    if value.is_meta:  # a network that is built without memory has no values yet
        return
    if not bool(good.all()):
        bad = value.detach()[~good].flatten()[0].item()
        raise ValueError(f"{name} must be {wanted}, got {bad!r}")


def _range(high: float, strict: bool = False) -> str:
    if math.isinf(high):
        return "> 0 and finite" if strict else ">= 0 and finite"
    return f"inside (0, {high:g})" if strict else f"in [0, {high:g}]"


def _nearest(real: float, high: float) -> str:
    if math.isnan(real) or math.isinf(real):
        return ""
    return f" (nearest: {min(max(real, 0.0), high):g})"


def checked(name: str, value: float | Tensor) -> float | Tensor:
    """A number or a tensor in its range, values of a tensor included."""
    value = number(name, value)
    return _Checked.apply(value, name) if isinstance(value, Tensor) else value


class _Checked(torch.autograd.Function):
    """A tensor as it is, once its values are known to be in range: under `vmap` too."""

    @staticmethod
    def forward(value: Tensor, name: str) -> Tensor:
        check_values(name, value)
        return value.view_as(value)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        return grad, None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_: None) -> Tensor:
        return tangent.view_as(tangent)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Any) -> tuple[Tensor, Any]:
        return _Checked.apply(*inputs), in_dims[0]


# --- Names and kinds ------------------------------------------------------------------------------


def check_choice(name: str, value: object, choices: Any) -> None:
    """Check that a value is one of those that are known."""
    if value not in choices:
        known = ", ".join(repr(choice) for choice in choices)
        raise ValueError(f"{name} must be one of {known}, got {value!r}")


def floating(name: str, value: object) -> Tensor:
    """A value once it is known to be a floating-point tensor."""
    if not isinstance(value, Tensor) or not value.is_floating_point():
        raise ValueError(f"{name} must be a floating-point tensor, got {brief_kind(value)}")
    return value


def brief_kind(value: object) -> str:
    """What a value is, for a message."""
    if isinstance(value, Tensor):
        return f"a tensor of {value.dtype}"
    return f"{type(value).__name__} {value!r}"


# --- Currents, and what must fit them -------------------------------------------------------------


def sequence(current: Tensor) -> Tensor:
    """The current once it is known to run over time, in the precision of the integration."""
    floating("current", current)
    if current.dim() < 2 or current.shape[0] == 0:
        raise ValueError(
            f"current must be [T, batch, features...] with T >= 1, got shape {list(current.shape)}"
        )
    low = current.dtype in (torch.float16, torch.bfloat16)
    if low and torch.is_autocast_enabled(current.device.type):
        return current.float()  # as autocast does for sums: a leaky sum needs the low bits
    return current


def check_export(*values: Any) -> None:
    """Say what to do where `torch.export` would trace a backward pass, which it cannot."""
    exporting = getattr(torch.compiler, "is_exporting", None)  # torch 2.7
    if exporting is None or not exporting() or not torch.is_grad_enabled():
        return
    if any(isinstance(value, Tensor) and value.requires_grad for value in values):
        raise RuntimeError(
            "torch.export cannot trace the backward pass of spiking neurons: call it, and the "
            "program that it gives, under torch.no_grad(); that is the forward pass"
        )


def fitted(name: str, value: Any, current: Tensor) -> Any:
    """A tensor in the current's dtype, once it is known to broadcast to one step of it."""
    if not isinstance(value, Tensor):
        return value
    wanted = current.shape[1:]
    short = len(wanted) - value.dim()
    if short < 0 or any(
        own not in (1, step) for own, step in zip(value.shape, wanted[short:], strict=True)
    ):
        raise ValueError(
            f"{name} must broadcast to one step of the current, shape {list(wanted)}, "
            f"got shape {list(value.shape)}"
        )
    return value.to(current.dtype)


def state(
    initial: Tensor | tuple[Tensor, ...] | None,
    names: tuple[str, ...],
    form: str,
    current: Tensor,
) -> tuple[Tensor, ...] | None:
    """The tensors of the state before the first step; a membrane alone has nothing pending.

    Args:
        initial: A membrane, a tuple with one tensor a name, or None for rest.
        names: What the state consists of.
        form: A tuple in words, "a {} pair" or so, for the message about a wrong length.
        current: Current that they must fit.
    """
    if initial is None:
        return None
    if not isinstance(initial, tuple):
        membrane = fitted("initial membrane", floating("initial membrane", initial), current)
        return (membrane, *[torch.zeros_like(membrane) for _ in names[1:]])
    if len(initial) != len(names):
        raise ValueError(
            f"initial must be a membrane or {form.format('(' + ', '.join(names) + ')')}, "
            f"got a tuple of length {len(initial)}"
        )
    return tuple(
        fitted(f"initial {name}", floating(f"initial {name}", value), current)
        for name, value in zip(names, initial, strict=True)
    )
