r"""Threshold, leak and reset of a spiking module, read by duck typing.

Initializers and probes ask this file what a module is, so that a new neuron needs no change there.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


class Spiking(NamedTuple):
    """What an initializer needs to know about a layer of spiking neurons.

    Attributes:
        threshold: Threshold θ, float64, a number or one value per neuron or channel.
        leak: Leak β per step, float64, likewise.
        reset: Name of the reset, see `snnlib.neurons.lif`.
        height: What one spike sends to the next layer, float64: 1, or θ for the threshold-robust
            gradient.
    """

    threshold: Tensor
    leak: Tensor
    reset: str
    height: Tensor


def read(module: nn.Module) -> Spiking | None:
    r"""Threshold, leak, reset and spike height of a spiking module; None for any other module.

    A module is spiking if it has a `threshold`, a `leak`, a `reset` and a method
    `trace(current) -> (membrane, spikes)`, as every neuron of `snnlib.neurons` has.

    Args:
        module: Any module.

    Returns:
        The values, detached, in float64 on the CPU; None if the module is not spiking.

    Raises:
        ValueError: If the module's threshold is negative, infinite or NaN.

    Example:
        >>> from snnlib.neurons import LIF
        >>> read(LIF(threshold=0.5)).threshold.item()
        0.5
        >>> read(nn.ReLU()) is None
        True
    """
    if not is_spiking(module):
        return None
    threshold = _value(module.threshold)
    if not bool(((threshold >= 0) & torch.isfinite(threshold)).all()):
        raise ValueError(
            f"threshold of {type(module).__name__} must be >= 0 and finite, got {threshold!r}"
        )
    robust = getattr(module, "threshold_gradient", None) == "threshold_robust"
    height = threshold if robust else torch.ones((), dtype=torch.float64)
    return Spiking(threshold, _value(module.leak), str(module.reset), height)


def is_spiking(module: nn.Module) -> bool:
    """Whether the module has a threshold, a leak, a reset and a method `trace`."""
    if "_orig_mod" in module._modules:  # torch.compile's wrapper passes all attributes on
        return False
    return callable(getattr(module, "trace", None)) and all(
        hasattr(module, name) for name in ("threshold", "leak", "reset")
    )


def _value(value: Any) -> Tensor:
    # The dtype first: a Python float keeps all its digits.
    return torch.as_tensor(value, dtype=torch.float64).detach().cpu()
