"""Critical values and detectable errors of the ledger's two-sided tests."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import nct, norm, t

__all__ = ["DETECTION", "FAMILY_LEVEL", "critical_value", "detectable_shift"]

FAMILY_LEVEL = 1e-4
"""Probability that a run in which every statement is true raises any false alarm."""

DETECTION = 0.99
"""Probability with which the minimum detectable error is caught."""


def critical_value(level: float, dof: float | None = None) -> float:
    r"""Two-sided critical value c: P(|Z| > c) = level, Student t if `dof` is given.

    Args:
        level: false-alarm level of one entry, in (0, 1).
        dof: degrees of freedom of the standard error; None if the variance is known.

    Returns:
        The critical value in units of the standard error.

    Raises:
        ValueError: if `level` is outside (0, 1) or `dof` is not positive.

    Example:
        >>> round(critical_value(0.05), 2), round(critical_value(0.05, dof=4), 2)
        (1.96, 2.78)
    """
    if not 0 < level < 1:
        raise ValueError(f"level must lie in (0, 1), got {level!r}")
    if dof is None:
        return float(norm.isf(level / 2))
    if not dof > 0:
        raise ValueError(f"dof must be positive, got {dof!r}")
    return float(t.isf(level / 2, dof))


def detectable_shift(
    level: float, dof: float | None = None, *, detection: float = DETECTION
) -> float:
    r"""Shift in standard errors that the test at `level` detects with some probability.

    Solves P(|T_δ| > c) = detection for δ, where T_δ is normal (or noncentral t) with shift δ and
    c is the critical value.

    Args:
        level: false-alarm level of one entry, in (0, 1).
        dof: degrees of freedom of the standard error; None if the variance is known.
        detection: the probability, in (1/2, 1).

    Returns:
        The shift δ.

    Raises:
        ValueError: if `level` or `detection` is outside its range or `dof` is not positive.

    Example:
        >>> round(detectable_shift(0.05), 3)  # 1.960 + 2.326
        4.286
    """
    if not 0.5 < detection < 1:
        raise ValueError(f"detection must lie in (1/2, 1), got {detection!r}")
    critical = critical_value(level, dof)
    if dof is None:
        return critical + float(norm.isf(1 - detection))

    def missed(shift: float) -> float:
        return float(nct.cdf(critical, dof, shift)) - (1 - detection)

    upper = critical + 5.0
    while missed(upper) > 0:
        upper *= 1.5
    return float(brentq(missed, critical, upper, xtol=1e-6))


def worst_margin(z: NDArray[np.float64], critical: float) -> float:
    """Largest |z| in units of the critical value; below 1 passes."""
    return float(np.max(np.abs(z))) / critical
