"""What the networks share: values per layer, layers of LIF neurons, checks of sizes."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from snnlib.neurons import LIF
from snnlib.surrogate import Surrogate

PerLayer = float | Tensor | Sequence[float | Tensor]


def check_integer(name: str, value: Any) -> None:
    """Refuse what is no positive integer."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} must be a positive integer, got {value!r}")


def lif_layers(
    count: int,
    threshold: PerLayer,
    leak: PerLayer,
    reset: Any,
    surrogate: Surrogate | None,
    detach_reset: bool,
    neuron: dict[str, Any],
) -> list[LIF]:
    """One layer of LIF neurons each, with settings per layer."""
    thresholds, leaks = (
        per_layer(name, value, count) for name, value in (("threshold", threshold), ("leak", leak))
    )
    return [
        LIF(
            threshold=theta,
            leak=beta,
            reset=reset,
            surrogate=surrogate,
            detach_reset=detach_reset,
            **copy.deepcopy(neuron),  # a module among the settings belongs to one layer
        )
        for theta, beta in zip(thresholds, leaks, strict=True)
    ]


def per_layer(name: str, value: PerLayer, count: int) -> list[float | Tensor]:
    """One value per spiking layer; a list gives one each, anything else holds for all."""
    if not isinstance(value, (list, tuple)):
        return [value] * count  # type: ignore[list-item]
    if len(value) != count:
        raise ValueError(
            f"{name} must be one value or a list of {count}, one per spiking layer, "
            f"got {len(value)} values"
        )
    return list(value)
