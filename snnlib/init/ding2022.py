r"""Ding et al. 2022: He's variance for a spiking neuron, 2 θ²/(λ² n).

He's 2/n divided by the square of the slope λ/θ with which the firing rate of a neuron grows with a
constant current far above threshold.

Source: Ding, Zhang, Yu, Huang, Accelerating training of deep spiking neural networks with
parameter initialization, 2022.  The paper's text was not obtained; the formula is the one that
code published by the same group (SpikeInit, 2026) has for it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from snnlib._checks import check_positive, scalars
from snnlib.init.connection import Connection
from snnlib.init.method import Method, driven_neuron, normal_, without_synapse

SOURCE = "Ding et al. 2022, from code of the same group"


def gain(*, threshold: float = 1.0, input_gain: float = 1.0) -> float:
    r"""G = 2 θ²/λ².

    Args:
        threshold: θ > 0 of the driven neurons.
        input_gain: λ > 0, what the neuron multiplies its current with.

    Returns:
        The gain, He's 2 for θ = λ = 1.

    Raises:
        ValueError: If an argument is not positive and finite.

    Source: Ding et al. 2022, read in code only.

    Example:
        >>> gain()
        2.0
        >>> gain(threshold=1.0, input_gain=0.5)
        8.0
    """
    threshold = check_positive("threshold", threshold)
    return 2.0 * (threshold / check_positive("input_gain", input_gain)) ** 2


@scalars("threshold", "input_gain")
def ding2022_(
    weight: Tensor,
    threshold: float = 1.0,
    generator: torch.Generator | None = None,
    *,
    input_gain: float = 1.0,
) -> Tensor:
    r"""Fill a weight in place from N(0, 2 θ²/(λ² n)).

    Args:
        weight: Weight of a linear layer [out, in] or a convolution [out, in / groups, k, ...].
        threshold: θ > 0 of the driven neurons.
        generator: Random numbers; None is torch's global generator.
        input_gain: λ > 0, what the neuron multiplies its current with.

    Returns:
        The weight.

    Raises:
        ValueError: If the weight is empty, an argument is not positive and finite, or the
            generator lives on another device.

    Source: Ding et al. 2022, read in code only.

    Example:
        >>> weight = ding2022_(torch.empty(500, 400), 0.5, torch.Generator().manual_seed(0))
        >>> abs(400 * weight.var().item() / gain(threshold=0.5) - 1) < 0.02
        True
    """
    return normal_(weight, gain(threshold=threshold, input_gain=input_gain), generator)


def _resolve(connection: Connection, **given: Any) -> dict[str, Any]:
    neuron = driven_neuron(connection)
    return {"threshold": neuron.threshold, "input_gain": neuron.input_gain} | given


def _remark(connection: Connection, settings: dict[str, Any]) -> str:
    notes = (driven_neuron(connection).note, without_synapse(connection))
    return "; ".join(note for note in notes if note)


METHOD = Method(
    "ding2022", SOURCE, gain, _resolve, given=("threshold", "input_gain"), remark=_remark
)
