r"""Bellec et al. 2018 (LSNN): weights of variance w₀²/n, no weight from a neuron to itself.

Input and recurrent weights are w₀·N(0, 1)/√n with n the fan-in of each, so G = w₀²; the diagonal
of the recurrent weight is 0.  The paper's neurons multiply the current by 1 − decay and have
thresholds of 0.01 to 0.03, so that its w₀ = 1 is another operating point than w₀ = 1 at
threshold 1.

Source: Bellec, Salaj, Subramoney, Legenstein, Maass, Long short-term memory and learning-to-learn
in networks of spiking neurons, 2018; the formula is that of the authors' published code.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from snnlib._checks import check_positive, scalars
from snnlib.init.connection import Connection
from snnlib.init.method import Method, normal_

SOURCE = "Bellec et al. 2018, from the authors' code"


def gain(*, weight_scale: float = 1.0) -> float:
    r"""G = w₀².

    Args:
        weight_scale: w₀ > 0.

    Returns:
        The gain, 1 by default.

    Raises:
        ValueError: If `weight_scale` is not positive and finite.

    Source: Bellec et al. 2018, the authors' code.

    Example:
        >>> gain(weight_scale=0.5)
        0.25
    """
    return check_positive("weight_scale", weight_scale) ** 2


@scalars("weight_scale")
def bellec2018_(
    weight: Tensor,
    weight_scale: float = 1.0,
    generator: torch.Generator | None = None,
    *,
    zero_diagonal: bool = False,
) -> Tensor:
    r"""Fill a weight in place from N(0, w₀²/n); a recurrent weight also gets a zero diagonal.

    Args:
        weight: Weight of a linear layer [out, in] or a convolution [out, in / groups, k, ...].
        weight_scale: w₀ > 0.
        generator: Random numbers; None is torch's global generator.
        zero_diagonal: Set the weight of each neuron to itself to 0; needs a square matrix.

    Returns:
        The weight.

    Raises:
        ValueError: If the weight is empty, or not square where a zero diagonal is asked for,
            `weight_scale` is not positive and finite, or the generator lives on another device.

    Source: Bellec et al. 2018, the authors' code.

    Example:
        >>> draw = torch.Generator().manual_seed(0)
        >>> weight = bellec2018_(torch.empty(400, 400), 1.0, draw, zero_diagonal=True)
        >>> weight.diagonal().any().item()
        False
        >>> abs(400 * weight.var().item() - 1) < 0.03
        True
    """
    value = gain(weight_scale=weight_scale)
    if zero_diagonal and not is_square(weight):
        raise ValueError(
            f"zero_diagonal needs a square matrix [n, n], got a weight of {tuple(weight.shape)}"
        )
    normal_(weight, value, generator)
    if zero_diagonal:
        with torch.no_grad():
            weight.fill_diagonal_(0.0)
    return weight


def is_square(weight: Tensor) -> bool:
    """Whether a weight is a square matrix, which has a diagonal."""
    return weight.dim() == 2 and weight.shape[0] == weight.shape[1]


def _resolve(connection: Connection, **given: Any) -> dict[str, Any]:
    return given


def _finish_(connection: Connection) -> None:
    if connection.recurrent and is_square(connection.weight):
        connection.weight.fill_diagonal_(0.0)


def _remark(connection: Connection, settings: dict[str, Any]) -> str:
    return "zero diagonal" if connection.recurrent and is_square(connection.weight) else ""


METHOD = Method(
    "bellec2018",
    SOURCE,
    gain,
    _resolve,
    given=("weight_scale",),
    finish_=_finish_,
    remark=_remark,
)
