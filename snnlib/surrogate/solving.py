r"""Solving for the sharpness at which a surrogate derivative has given moments.

σ'(v) = γ f(s v) falls with s at every voltage inside its support, so moments fall with s, too, and
each value between 0 and that of s → 0 has one root.
"""

from __future__ import annotations

import math

from scipy.optimize import brentq

from snnlib._checks import check_positive, scalars
from snnlib.surrogate.normal_form import Surrogate


@scalars("second_moment", "dampening", "low", "high", "tail")
def sharpness(
    shape: str,
    second_moment: float,
    *,
    dampening: float,
    low: float,
    high: float,
    tail: float = 2.0,
) -> float:
    r"""Sharpness at which a surrogate has a given second moment, v uniform on [low, high].

    σ'(v) = γ f(s v):  E[σ'²] = γ²/(s (b − a)) ∫ from s a to s b of f(x)² dx falls from γ² (s → 0)
    to 0 (s → ∞), so that there is one root for each value between them.

    Args:
        shape: A name in `snnlib.surrogate.SHAPES`.
        second_moment: E[σ'²] > 0.
        dampening: γ > 0.
        low: a, least centred voltage y − θ.
        high: b > a, the largest.
        tail: q > 1 of "q_pseudospike".

    Returns:
        The sharpness.

    Raises:
        ValueError: If an argument is outside its range or no sharpness has that second moment: then
            with the reachable range.

    Source: Herranz-Celotti & Rouat 2022, Eqs. 57 and 64; the paper searches at random.

    Example:
        Far bounds leave γ²/(s (b − a)) ∫f², here 0.25·(1/2)/(100 s):

        >>> s = sharpness("exponential", 0.0005, dampening=0.5, low=-50.0, high=50.0)
        >>> round(s, 9)
        2.5
    """
    target = check_positive("second_moment", second_moment)
    return sharpness_at_balance(
        shape, target, 0.0, 1.0, dampening=dampening, low=low, high=high, tail=tail
    )


@scalars("a", "b", "c", "dampening", "low", "high", "tail")
def sharpness_at_balance(
    shape: str,
    a: float,
    b: float,
    c: float,
    *,
    dampening: float,
    low: float,
    high: float,
    tail: float = 2.0,
) -> float:
    r"""Sharpness at which c E[σ'²] − b E[σ'] = a, v uniform on [low, high].

    Args:
        shape: A name in `snnlib.surrogate.SHAPES`.
        a: > 0.
        b: >= 0.
        c: > 0.
        dampening: γ > 0.
        low: Least centred voltage y − θ.
        high: The largest.
        tail: q > 1 of "q_pseudospike".

    Returns:
        The sharpness; a root exists if and only if γ² c − γ b > a.

    Raises:
        ValueError: If an argument is outside its range, or there is no such sharpness: then with
            the reachable range.

    Source: derived in the book.

    Example:
        >>> s = sharpness_at_balance("sigmoid", 0.3, 0.2, 1.5, dampening=1.0, low=-2.0, high=1.0)
        >>> law = Surrogate("sigmoid", 1.0, s)
        >>> one, two = (law.moment(m, 0.0, law="uniform", bounds=(-2.0, 1.0)) for m in (1, 2))
        >>> round(1.5 * two - 0.2 * one, 12)
        0.3
    """
    gamma = check_positive("dampening", dampening)
    if not -math.inf < low < high < math.inf:
        raise ValueError(f"low < high must be finite, got {low!r} and {high!r}")
    Surrogate(shape, gamma, 1.0, tail)

    def excess(s: float) -> float:
        law = Surrogate(shape, gamma, s, tail)
        bounds = (low, high)
        value = c * float(law.moment(2, 0.0, law="uniform", bounds=bounds))
        if b:
            value -= b * float(law.moment(1, 0.0, law="uniform", bounds=bounds))
        return value - a

    # As s → 0 the surrogate is γ everywhere on [low, high].  c x² − b x is convex, 0 at 0: where
    # it stays below a at x = γ, it does so for all values 0 <= σ' <= γ, and there is no root.
    top = c * gamma**2 - b * gamma
    if not a < top:
        asked = f"E[σ'²] = {a / c:.6g}" if not b else f"{c:.6g} E[σ'²] − {b:.6g} E[σ'] = {a:.6g}"
        reach = f"0 < E[σ'²] < γ² = {gamma**2:.6g}" if not b else f"values below {top:.6g}"
        least = (b + math.sqrt(b * b + 4 * a * c)) / (2 * c)
        raise ValueError(
            f"no sharpness of {shape!r} reaches {asked} at dampening {gamma:.6g}: since σ' <= γ, "
            f"the reachable range is {reach}; nearest feasible dampening: just above {least:.6g}"
        )
    wide = narrow = 1.0 / (high - low)
    while excess(wide) <= 0:
        wide /= 2
    while excess(narrow) >= 0:
        narrow *= 2
    return float(brentq(excess, wide, narrow, xtol=1e-300, rtol=1e-14))


@scalars("second_moment", "threshold", "mean", "std")
def exponential_sharpness(
    second_moment: float, *, threshold: float, mean: float, std: float
) -> float:
    r"""α at which α e^(−2α|u − θ|) has a given second moment under u ~ N(μ, s²).

    Args:
        second_moment: E[σ'²] > 0.
        threshold: θ.
        mean: μ of the potential.
        std: s > 0 of the potential.

    Returns:
        α.

    Raises:
        ValueError: If an argument is not positive and finite.

    Source: Shi & Yu 2026, theorem 5.1.

    Example:
        >>> alpha = exponential_sharpness(0.2, threshold=1.0, mean=0.0, std=1.0)
        >>> surrogate = Surrogate("exponential", dampening=alpha, sharpness=alpha)
        >>> round(surrogate.moment(2, 1.0), 10)
        0.2
    """
    target = check_positive("second_moment", second_moment)
    check_positive("std", std)

    def excess(alpha: float) -> float:
        surrogate = Surrogate("exponential", dampening=alpha, sharpness=alpha)
        return float(surrogate.moment(2, threshold, mean, std)) - target

    low = high = 1.0
    while excess(low) > 0:
        low /= 2
    while excess(high) < 0:
        high *= 2
    return low if low == high else float(brentq(excess, low, high, xtol=1e-14, rtol=1e-14))
