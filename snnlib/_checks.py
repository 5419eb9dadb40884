"""Checks of numbers that several modules make, each with the message that names the argument."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any


def check_positive(name: str, value: float) -> float:
    """The value as a float.

    Raises:
        ValueError: If it is not positive and finite.
    """
    if not 0 < value < math.inf:
        raise ValueError(f"{name} must be positive and finite, got {value!r}")
    return float(value)


def check_from_zero(name: str, value: Any) -> None:
    """Refuse what is negative, infinite or no number.

    Raises:
        ValueError: Naming the argument.
    """
    if not isinstance(value, Real) or not 0 <= float(value) < math.inf:
        raise ValueError(f"{name} must be >= 0 and finite, got {value!r}; nearest feasible: 0.0")


def check_finite(name: str, value: float) -> None:
    """Refuse infinity and NaN.

    Raises:
        ValueError: Naming the argument.
    """
    if not math.isfinite(value):
        raise ValueError(f"{name} must be finite, got {value!r}")


def check_count(name: str, value: int, least: int = 1) -> None:
    """Refuse what is no integer, or one below the least.

    Raises:
        ValueError: Naming the argument and the least.
    """
    if not value >= least or int(value) != value:
        raise ValueError(f"{name} must be an integer >= {least}, got {value!r}")
