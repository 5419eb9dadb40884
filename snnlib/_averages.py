"""Leak and threshold of a layer, averaged over its neurons."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor

Number: TypeAlias = float | Tensor
RESETS = ("subtract", "subtract_leak", "zero", "none")


class LayerAverages(NamedTuple):
    """Moments of leak and threshold over the neurons of a layer, each independent of the other.

    ρ, what a spike takes from the potential, is the threshold times 1 ("subtract"), the leak
    ("subtract_leak") or 0.

    Attributes:
        leak: E[β].
        leak_max: Largest β.
        leak_square: E[β²].
        threshold: E[θ].
        reset: E[ρ].
        reset_max: Largest ρ.
        reset_square: E[ρ²].
        cross: E[β ρ].
        zero: Whether the reset is to zero.
    """

    leak: float
    leak_max: float
    leak_square: float
    threshold: float
    reset: float
    reset_max: float
    reset_square: float
    cross: float
    zero: bool


def reset_share(reset: str, leak: Any) -> Any:
    """ρ/θ, what a spike takes from the potential in units of the threshold."""
    return {"subtract": 1.0, "subtract_leak": leak}.get(reset, 0.0)


def layer_averages(leak: Number, threshold: Number, reset: str) -> LayerAverages:
    """The moments of a layer's leaks and thresholds, numbers or one per neuron.

    Raises:
        ValueError: If the reset is unknown, a leak is not in [0, 1) or a threshold is negative or
            infinite.
    """
    if reset not in RESETS:
        raise ValueError(f"reset must be one of {', '.join(RESETS)}, got {reset!r}")
    for name, value in (("leak", leak), ("threshold", threshold)):
        if isinstance(value, Tensor) and (value.is_meta or value.is_complex()):
            raise ValueError(f"{name} must hold real numbers, got {value!r}")
    beta, theta = (torch.as_tensor(v, dtype=torch.float64).detach() for v in (leak, threshold))
    if beta.numel() == 0 or not bool(((beta >= 0) & (beta < 1)).all()):
        raise ValueError(
            "leak must satisfy 0 <= leak < 1 (gradients that do not leak cannot also pass "
            f"through the weights without growing), got {leak!r}; nearest feasible: "
            f"{'just below 1' if bool((beta >= 1).any()) else 0.0}"
        )
    if theta.numel() == 0 or not bool(((theta >= 0) & theta.isfinite()).all()):
        raise ValueError(
            f"threshold must be >= 0 and finite, got {threshold!r}; nearest feasible: 0.0"
        )
    slope = torch.as_tensor(reset_share(reset, beta), dtype=torch.float64)
    return LayerAverages(
        float(beta.mean()),
        float(beta.max()),
        float(beta.square().mean()),
        float(theta.mean()),
        float(slope.mean() * theta.mean()),
        float(slope.max() * theta.max()),
        float(slope.square().mean() * theta.square().mean()),
        float((beta * slope).mean() * theta.mean()),
        reset == "zero",
    )
