r"""The initializations that torch has: Glorot, Kaiming, LeCun and orthogonal, as gains G = n·E[w²].

Each may be drawn from a normal, a uniform or a BiGamma distribution; the gain is the same.
"""

from __future__ import annotations

from typing import Any

import torch

from snnlib.init.connection import Connection
from snnlib.init.method import ORTHONORMAL, Method


def _check_fans(fan_in: int, fan_out: int) -> None:
    for name, value in (("fan_in", fan_in), ("fan_out", fan_out)):
        if not value >= 1:
            raise ValueError(f"{name} must be at least 1, got {value!r}")


def _fans_of(connection: Connection) -> dict[str, Any]:
    return {"fan_in": connection.fan_in, "fan_out": connection.fan_out}


def _sides_of(connection: Connection) -> dict[str, Any]:
    return {"fan_in": connection.fan_in, "fan_out": connection.weight.shape[0]}


def _as_given(connection: Connection, **given: Any) -> dict[str, Any]:
    return given


def glorot_gain(*, fan_in: int = 1, fan_out: int = 1) -> float:
    r"""Glorot's G = 2·n_in/(n_in + n_out), a compromise between forward and backward variance.

    Args:
        fan_in: Inputs of one neuron, >= 1.
        fan_out: Targets of one neuron, >= 1.

    Returns:
        The gain, 1 for a square weight (the default).

    Raises:
        ValueError: If a fan is below 1.

    Source: Glorot & Bengio 2010, Eq. 16 (normal distribution).

    Example:
        >>> glorot_gain(fan_in=300, fan_out=100)
        1.5
    """
    _check_fans(fan_in, fan_out)
    return 2.0 * fan_in / (fan_in + fan_out)


def kaiming_gain(*, nonlinearity: str = "relu", negative_slope: float = 0.0) -> float:
    r"""Kaiming's G, the square of torch's `calculate_gain`: 2 for rectified linear units.

    Args:
        nonlinearity: A name that `torch.nn.init.calculate_gain` knows.
        negative_slope: Slope a of "leaky_relu", whose gain is 2/(1 + a²).

    Returns:
        The gain.

    Raises:
        ValueError: If torch does not know the nonlinearity.

    Source: He et al. 2015, Eq. 10.

    Example:
        >>> kaiming_gain() == torch.nn.init.calculate_gain("relu") ** 2
        True
        >>> kaiming_gain(nonlinearity="leaky_relu", negative_slope=1.0)
        1.0
    """
    return float(torch.nn.init.calculate_gain(nonlinearity, negative_slope) ** 2)  # type: ignore[arg-type]


def lecun_gain() -> float:
    r"""LeCun's G = 1, which keeps the variance of a linear layer.

    Source: LeCun et al. 1998, Efficient BackProp, section 4.6.

    Example:
        >>> lecun_gain() == torch.nn.init.calculate_gain("linear") ** 2
        True
    """
    return 1.0


def orthogonal_gain(*, fan_in: int = 1, fan_out: int = 1) -> float:
    r"""G = n_in/max(n_in, n_out) of a weight with orthonormal rows or columns.

    The smaller side has unit vectors, so the sum of all squares is min(n_in, n_out) and
    n_in·E[w²] = n_in·min/(n_in·n_out).

    Args:
        fan_in: Columns of the weight seen as a matrix [out, the rest], >= 1.
        fan_out: Rows of that matrix, >= 1.

    Returns:
        The gain, 1 for a square weight (the default).

    Raises:
        ValueError: If a fan is below 1.

    Source: Saxe et al. 2014.

    Example:
        >>> weight = torch.nn.init.orthogonal_(torch.empty(40, 10).double())
        >>> round(10 * weight.square().mean().item(), 12)
        0.25
        >>> orthogonal_gain(fan_in=10, fan_out=40)
        0.25
    """
    _check_fans(fan_in, fan_out)
    return fan_in / max(fan_in, fan_out)


GLOROT = Method("glorot", "Glorot & Bengio 2010", glorot_gain, _fans_of, free=True)
KAIMING = Method(
    "kaiming",
    "He et al. 2015",
    kaiming_gain,
    _as_given,
    given=("nonlinearity", "negative_slope"),
    free=True,
)
LECUN = Method("lecun", "LeCun et al. 1998", lecun_gain, _as_given, free=True)
ORTHOGONAL = Method(
    "orthogonal",
    "Saxe et al. 2014",
    orthogonal_gain,
    _sides_of,
    distribution=ORTHONORMAL,
    free=True,
)
