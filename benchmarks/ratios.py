"""What rounds say: ratios within a round, their spread, and powers of a size."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["Slope", "Spread", "ratios", "slope", "spread"]


class Spread(NamedTuple):
    """Median, quartiles and range."""

    median: float
    low: float
    high: float
    least: float
    most: float


class Slope(NamedTuple):
    """Exponent of a power law and its standard error."""

    value: float
    error: float


def ratios(seconds: Sequence[float], base: Sequence[float]) -> list[float]:
    """Time over the base's time of the same round.

    Raises:
        ValueError: If the rounds are not the same, or a base took no time.

    Example:
        >>> ratios([2.0, 6.0], [1.0, 2.0])
        [2.0, 3.0]
    """
    if len(seconds) != len(base) or not seconds:
        raise ValueError(f"both need the same rounds, got {len(seconds)} and {len(base)}")
    if min(base) <= 0:
        raise ValueError(f"base must take time in every round, got {min(base)!r}")
    return [a / b for a, b in zip(seconds, base, strict=True)]


def spread(values: Sequence[float]) -> Spread:
    """Median, quartiles and range of some numbers.

    Raises:
        ValueError: If there are none.

    Example:
        >>> spread([4.0, 1.0, 2.0, 3.0, 5.0])
        Spread(median=3.0, low=2.0, high=4.0, least=1.0, most=5.0)
    """
    if not values:
        raise ValueError("values must hold at least one number, got none")
    if len(values) == 1:
        return Spread(*[values[0]] * 5)
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(median, low, high, min(values), max(values))


def slope(sizes: Sequence[float], seconds: Sequence[float]) -> Slope:
    r"""Exponent p of seconds = c·size^p by least squares on logarithms, with its standard error.

    .. math:: p = \frac{\sum (x - \bar x)(y - \bar y)}{\sum (x - \bar x)^2}, \qquad
              \mathrm{se}^2 = \frac{\sum (y - \hat y)^2}{(n - 2) \sum (x - \bar x)^2}

    The error says how far from one power law the points are; it is not that of the clock.

    Raises:
        ValueError: If there are fewer than three points, all sizes are equal, or a value is <= 0.

    Example:
        >>> slope([1, 2, 4], [3, 12, 48])
        Slope(value=2.0, error=0.0)
    """
    if len(sizes) != len(seconds) or len(sizes) < 3:
        raise ValueError(f"a slope needs three points or more, got {len(sizes)}, {len(seconds)}")
    if min(sizes) <= 0 or min(seconds) <= 0 or len(set(sizes)) < 2:
        raise ValueError("sizes and seconds must be positive, and the sizes differ")
    x, y = ([math.log2(value) for value in values] for values in (sizes, seconds))
    middle, level = statistics.fmean(x), statistics.fmean(y)
    square = sum((a - middle) ** 2 for a in x)
    value = sum((a - middle) * (b - level) for a, b in zip(x, y, strict=True)) / square
    rest = sum((b - level - value * (a - middle)) ** 2 for a, b in zip(x, y, strict=True))
    return Slope(value, math.sqrt(rest / (len(x) - 2) / square))
