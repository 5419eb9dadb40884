"""The difference of two conditions over paired seeds, and how many seeds show it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from scipy import special
from scipy.optimize import brentq

from snnlib._checks import scalars
from snnlib._significance import DETECTION, critical_value, detectable_shift

__all__ = ["Difference", "difference", "resolves", "seeds_needed"]

Values: TypeAlias = Mapping[Any, float] | Sequence[float]


class Difference(NamedTuple):
    r"""First minus second, over paired seeds.

    Attributes:
        mean: Mean of the paired differences, :math:`\bar d`.
        std: Their standard deviation (n - 1), :math:`s`; NaN for one seed.
        seeds: Number of pairs, n.
        half_width: Half the Student-t interval of the mean; infinite if the spread is unknown.
        p_value: Of the two-sided paired t test; 1 if the spread is unknown.
        effect: Hedges' g of the differences; NaN below three seeds.
        effect_low: Lower end of the interval of the effect; NaN where the spread is unknown.
        effect_high: Its upper end.
        confidence: Of both intervals.
    """

    mean: float
    std: float
    seeds: int
    half_width: float
    p_value: float
    effect: float
    effect_low: float
    effect_high: float
    confidence: float

    @property
    def interval(self) -> tuple[float, float]:
        """Ends of the interval of the mean."""
        return self.mean - self.half_width, self.mean + self.half_width


@scalars("confidence", "resolution")
def difference(
    first: Values, second: Values, *, confidence: float = 0.95, resolution: float = 0.0
) -> Difference:
    r"""Mean paired difference with Student's interval, and its standardized size with one.

    .. math::
        \bar d \pm t_{n-1}\,\frac{s}{\sqrt n}, \qquad
        g = J(n-1)\,\frac{\bar d}{s}, \qquad
        J(m) = \frac{\Gamma(m/2)}{\sqrt{m/2}\;\Gamma((m-1)/2)}

    The effect size is that of the differences (often :math:`d_z`): how large a difference is in
    units of its own spread over seeds, not of the spread of one condition. J takes out the bias
    of small samples. The interval of the effect is exact for normal differences: with
    :math:`\delta` the true size, :math:`\sqrt n\,\bar d/s` is noncentral t with n - 1 degrees of
    freedom and shift :math:`\sqrt n\,\delta`.

    Differences that are all equal and not zero, or a single one, say nothing about their spread:
    the half width is then infinite. For values with a step, such as an accuracy over a number of
    samples, `resolution` bounds the spread from below by that of rounding, and the interval is
    finite.

    Args:
        first: Value by seed; or values in the order of the seeds.
        second: The same of the other condition; only seeds that both have are compared.
        confidence: Of the intervals, in (0, 1).
        resolution: Step of the values; the variance of a difference is at least two rounding
            variances, resolution²/6.

    Returns:
        The difference, first minus second.

    Raises:
        ValueError: If there is no common seed, sequences differ in length, a value is not finite,
            `confidence` is not in (0, 1), or `resolution` is negative.

    Source: Student 1908; Hedges 1981 (J); Cumming and Finch 2001 (interval of the effect).

    Example:
        >>> from scipy import stats
        >>> a, b = [0.9, 0.8, 0.85, 0.7], [0.7, 0.75, 0.7, 0.6]
        >>> found = difference(a, b)
        >>> test = stats.ttest_rel(a, b)
        >>> math.isclose(found.p_value, test.pvalue)
        True
        >>> low, high = test.confidence_interval(0.95)
        >>> np.allclose(found.interval, (low, high), rtol=1e-12)
        True

        The differences 0.2, 0.05, 0.15 and 0.1 have the variance 1/240, and J(3) = √(π/6).

        >>> abs(found.effect - 0.125 * math.sqrt(240) * math.sqrt(math.pi / 6)) < 1e-12
        True
        >>> difference({0: 0.5, 1: 0.7}, {1: 0.6, 2: 0.5}).seeds
        1
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be in (0, 1), got {confidence!r}")
    if not resolution >= 0:
        raise ValueError(f"resolution must be non-negative, got {resolution!r}")
    pairs = _paired(first, second)
    distances = pairs[:, 0] - pairs[:, 1]
    n, mean = len(distances), float(distances.mean())
    std = float(distances.std(ddof=1)) if n > 1 else math.nan
    # what floating point leaves of a spread of zero is zero
    if std <= 1e-12 * float(np.abs(pairs).max()):
        std = 0.0
    std = max(std, resolution / math.sqrt(6)) if n > 1 else std
    if n == 1 or (std == 0 and mean != 0):
        return Difference(mean, std, n, math.inf, 1.0, math.nan, math.nan, math.nan, confidence)
    if std == 0:  # equal everywhere: as if both were one condition
        return Difference(0.0, 0.0, n, 0.0, 1.0, math.nan, math.nan, math.nan, confidence)
    error = std / math.sqrt(n)
    ratio = mean / error
    low, high = _noncentrality(ratio, n - 1, confidence)
    return Difference(
        mean,
        std,
        n,
        critical_value(1 - confidence, n - 1) * error,
        float(2 * special.stdtr(n - 1, -abs(ratio))),
        _unbiasing(n - 1) * mean / std if n > 2 else math.nan,
        low / math.sqrt(n),
        high / math.sqrt(n),
        confidence,
    )


@scalars("spread", "seeds", "tests", "level", "power")
def resolves(
    spread: float, seeds: int, *, tests: int = 1, level: float = 0.05, power: float = 0.9
) -> float:
    r"""The smallest true difference that so many paired seeds show, before they are run.

    .. math:: \delta\, s / \sqrt n

    where the noncentral t with n - 1 degrees of freedom and shift δ is beyond the critical value
    at `level` / `tests` with probability `power`. That is the strictest step of Holm's correction;
    where other tests of the family reject, less is enough.

    Args:
        spread: Standard deviation s > 0 of the paired differences, from earlier rows.
        seeds: Number of pairs n, at least 2.
        tests: Comparisons in the family, at least 1.
        level: Of the family, in (0, 1).
        power: In (1/2, 1).

    Returns:
        The difference.

    Raises:
        ValueError: If an argument is outside its range.

    Example:
        >>> round(resolves(0.02, 20, power=0.99), 4)  # limit (1.960 + 2.326)·0.02/√20 = 0.0192
        0.0202
        >>> [round(resolves(0.05, seeds, tests=3), 2) for seeds in (3, 6, 12)]
        [0.35, 0.11, 0.06]
    """
    if not spread > 0:
        raise ValueError(f"spread must be positive, got {spread!r}")
    if seeds < 2:
        raise ValueError(f"seeds must be at least 2, got {seeds!r}")
    if tests < 1:
        raise ValueError(f"tests must be at least 1, got {tests!r}")
    return detectable_shift(level / tests, seeds - 1, detection=power) * spread / math.sqrt(seeds)


def seeds_needed(found: Difference, *, most: int = 1000) -> int | None:
    """How many seeds would show a difference of the size found, with probability 0.99.

    Args:
        found: A difference of at least two seeds.
        most: The largest number that is tried.

    Returns:
        The number; None if it is more than `most`, or the difference is zero or of one seed.

    Example:
        >>> seeds_needed(difference([0.52, 0.55, 0.51, 0.56], [0.50, 0.51, 0.52, 0.51]))
        23
    """
    if not found.std > 0 or found.mean == 0:
        return None
    level, enough = 1 - found.confidence, range(2, most + 1)

    def shown(seeds: int) -> bool:
        return resolves(found.std, seeds, level=level, power=DETECTION) <= abs(found.mean)

    if not shown(most):
        return None
    low, high = 0, len(enough) - 1
    while low < high:
        middle = (low + high) // 2
        if shown(enough[middle]):
            high = middle
        else:
            low = middle + 1
    return enough[low]


def _paired(first: Values, second: Values) -> Any:
    if isinstance(first, Mapping) != isinstance(second, Mapping):
        raise ValueError("first and second must both be mappings from seeds or both sequences")
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        pairs = [(value, second[seed]) for seed, value in first.items() if seed in second]
        if not pairs:
            raise ValueError(f"no common seed in {sorted(first)} and {sorted(second)}")
    else:
        if len(first) != len(second) or not len(first):
            raise ValueError(
                f"first and second must have the same length, at least 1, "
                f"got {len(first)} and {len(second)}"
            )
        pairs = list(zip(first, second, strict=True))
    found = np.array(pairs, dtype=np.float64)
    if not np.isfinite(found).all():
        raise ValueError(f"values must be finite, got {pairs}")
    return found


def _unbiasing(dof: int) -> float:
    """Hedges' J."""
    return math.exp(special.gammaln(dof / 2) - special.gammaln((dof - 1) / 2)) / math.sqrt(dof / 2)


def _noncentrality(ratio: float, dof: int, confidence: float) -> tuple[float, float]:
    """The shifts between which a noncentral t shows the ratio in the middle `confidence`."""
    if ratio < 0:
        low, high = _noncentrality(-ratio, dof, confidence)
        return -high, -low
    # Far beyond what the spread of a χ with `dof` degrees of freedom can make of the shift.
    reach = 10 + ratio * (1 + 10 / math.sqrt(2 * dof))
    low, high = (
        brentq(lambda shift, p=p: _below(ratio, dof, shift) - p, -reach, reach, xtol=1e-9)
        for p in ((1 + confidence) / 2, (1 - confidence) / 2)
    )
    return float(low), float(high)


_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(100)


def _below(ratio: float, dof: int, shift: float) -> float:
    r"""P(T ≤ r) of the noncentral t for r ≥ 0, which scipy's gives as NaN in places.

    T is (Z + δ)/(χ/√m), so with the law of χ² given Z it is
    Φ(-δ) + ∫ φ(z) P(χ² ≥ m(z + δ)²/r²) dz over z > -δ.
    """
    beyond = dof + 10 * math.sqrt(2 * dof) + 100  # of χ², with a probability below 1e-16
    start, end = max(-shift, -9.0), min(-shift + ratio * math.sqrt(beyond / dof), 9.0)
    total = float(special.ndtr(-shift))
    if end <= start:
        return total
    z = start + (end - start) * (_NODES + 1) / 2
    share = special.gammaincc(dof / 2, dof * ((z + shift) / ratio) ** 2 / 2)
    density = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    return total + float((_WEIGHTS * density * share).sum()) * (end - start) / 2
