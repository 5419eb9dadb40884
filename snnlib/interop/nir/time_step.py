"""One time step of a differential equation: shares kept, and time constants from them."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from snnlib.neurons import exact_step

__all__ = [
    "STEPS",
    "Array",
    "Step",
    "check_step",
    "checked",
    "delays",
    "fill",
    "kept",
    "time_constant",
]

Step: TypeAlias = Literal["exponential", "exact", "euler", "impulse"]
Array: TypeAlias = NDArray[np.float64]

STEPS: tuple[str, ...] = get_args(Step)


def check_step(value: Any) -> None:
    """Refuse a step that is not one of `STEPS`."""
    if value not in STEPS:
        known = ", ".join(repr(step) for step in STEPS)
        raise ValueError(f"step must be one of {known}, got {value!r}")


def kept(tau: Array, dt: float, step: str) -> Array:
    """The share that is kept over a step."""
    return 1 - dt / tau if step == "euler" else np.exp(-dt / tau)


def fill(tau: Array, dt: float, step: str) -> Array:
    """The share of the input that enters: one less that share, to all digits, or Euler's."""
    return dt / tau if step in ("euler", "impulse") else -np.expm1(-dt / tau)


def delays(leak: Array, synapse_leak: Array, step: str) -> Array:
    """The delay that belongs to each pair of leaks."""
    if step != "exact":
        return np.zeros(leak.shape)
    pairs = list(zip(leak.flat, synapse_leak.flat, strict=True))
    known = {pair: exact_step(*pair, held=True).delay for pair in set(pairs)}
    return np.array([known[pair] for pair in pairs]).reshape(leak.shape)


def time_constant(name: str, what: str, leak: Array, dt: float, step: str) -> Array:
    """The time constant whose step keeps this share."""
    low = step == "euler"
    good = (leak < 1) & ((leak >= 0) if low else (leak > 0))
    if not good.all():
        why = "a leak of 0 has no time constant; " if not low and (leak == 0).any() else ""
        raise ValueError(
            f"layer {name!r} must have a {what} in {'[' if low else '('}0, 1) for the step "
            f"{step!r}, got {leak[~good].flat[0]:g}: {why}"
            + ('step="euler" can express it' if why else "NIR has such neurons without synapse")
        )
    return dt / (1 - leak) if low else -dt / np.log(leak)


def checked(name: str, tau: Array, dt: float, step: str) -> Array:
    """Time constants that have such a step; the others are refused."""
    low = dt if step == "euler" else 0.0
    good = (tau >= low) & (tau > 0) & np.isfinite(tau)
    if not good.all():
        wanted = f">= dt = {dt:g} for the step 'euler'" if low else "> 0 and finite"
        raise ValueError(
            f"node {name!r} must have time constants {wanted}, got {tau[~good].flat[0]:g}"
        )
    return tau
