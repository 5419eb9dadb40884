r"""The variance of the potential that a deep network of equal layers keeps, for three balances.

With the moments under u ~ N(0, q), "forward" keeps q = α, "backward" multiplies the variance of
the gradient by α from layer to layer, and "printed" is the formula of Chang et al. 2024.

Source: derived in the book.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache
from typing import Literal, TypeAlias, get_args

import numpy as np
from scipy.optimize import brentq
from torch import Tensor

from snnlib._checks import check_positive, scalars
from snnlib.meanfield.population import Population, population
from snnlib.surrogate import Surrogate

__all__ = ["BALANCES", "Balance", "check_balance", "steady_root", "steady_variance"]

Balance: TypeAlias = Literal["forward", "backward", "printed"]
BALANCES: tuple[str, ...] = get_args(Balance)
STEP = 0.25  # of ln Var[u], in the search for brackets


@scalars("alpha")
def steady_variance(
    *,
    balance: Balance = "forward",
    alpha: float = 1.0,
    surrogate: Surrogate | None = None,
    threshold: float | Tensor = 1.0,
    height: float | Tensor = 1.0,
    relative: bool = False,
) -> float:
    r"""Var[u] = q that every layer of a deep network of equal layers keeps.

        "forward"    q = α
        "backward"   q E[σ'(u − θ)²] = α E[x²]                 u ~ N(0, q)
        "printed"    q Var[x] E[σ'(u − θ)²] = α E[x²]

    "printed" has one solution for every α. "backward" has one that is stable, or none: along the
    living networks (the stable fixed points of the variance map) the gradient is multiplied by at
    least a number that the surrogate sets.

    Args:
        balance: What is kept.
        alpha: α > 0, see the gain.
        surrogate: σ' of the neurons; "forward" needs none.
        threshold: θ >= 0, a number or one per neuron.
        height: What one spike sends on.
        relative: Whether σ' is taken of u/θ − 1 instead of u − θ.

    Returns:
        q.

    Raises:
        ValueError: If an argument is outside its range, or the surrogate leaves no living network
            that keeps the gradient; then with the feasible range.

    Source: derived in the book.

    Example:
        The rectangle's E[σ'²] is the probability of its window.

        >>> from scipy.stats import norm
        >>> box = Surrogate("rectangular", sharpness=2.0)
        >>> q = steady_variance(balance="backward", surrogate=box)
        >>> window = norm.cdf(1.25 / q**0.5) - norm.cdf(0.75 / q**0.5)
        >>> bool(abs(q * window / norm.sf(1 / q**0.5) - 1) < 1e-9)
        True
    """
    check_balance(balance, surrogate)
    neurons = population(threshold, height, surrogate, relative)
    return steady_root(neurons, balance, check_positive("alpha", alpha))


def check_balance(balance: str, surrogate: Surrogate | None, *, needed: bool = True) -> None:
    """Refuse an unknown balance, what is no surrogate, or a missing one.

    Raises:
        ValueError: Naming what exists.
    """
    if balance not in BALANCES:
        raise ValueError(f"balance must be one of {', '.join(BALANCES)}, got {balance!r}")
    if surrogate is not None and not isinstance(surrogate, Surrogate):
        raise ValueError(f"surrogate must be a snnlib.surrogate.Surrogate, got {surrogate!r}")
    if needed and surrogate is None and balance != "forward":
        raise ValueError(
            f"surrogate is needed by balance={balance!r}: pass surrogate=snnlib.surrogate."
            "Surrogate(...), the derivative that the neurons train with "
            "(snnlib.surrogate.from_library knows those of other libraries)"
        )


@lru_cache(maxsize=1024)
def steady_root(neurons: Population, balance: str, alpha: float) -> float:
    """The root that `steady_variance` describes."""
    if balance == "forward":
        return alpha

    def factor(log_variance: float) -> float:
        variance = math.exp(log_variance)
        own = neurons.moments(variance)
        if own.second < 1e-300:  # then Var[x] = E[x²]
            return variance * own.slope if balance == "printed" else math.inf
        share = own.variance if balance == "printed" else 1.0
        return variance * own.slope * share / own.second

    # "printed": a rising function. "backward": rising for large variances; then its largest root.
    high = 2 * math.log(neurons.unit) + 1.0
    while factor(high) <= alpha:
        high += 1.0
        if high > 600:
            raise ValueError(f"alpha must be smaller: no variance reaches it, got {alpha!r}")
    low = high - STEP
    while factor(low) > alpha and (balance == "printed" or neurons.spread(math.exp(low)) < 1):
        high, low = low, low - STEP
    if balance == "backward" and neurons.spread(math.exp(low)) >= 1:
        low = _edge(neurons, low, high)
        if not factor(low) < alpha:
            raise ValueError(_infeasible(neurons, alpha))
    return math.exp(brentq(lambda x: factor(x) - alpha, low, high, xtol=1e-14, rtol=1e-14))


def _edge(neurons: Population, low: float, high: float) -> float:
    """Log of the least variance of a stable fixed point, between an unstable and a stable one."""
    while high - low > 1e-12:
        middle = (low + high) / 2
        low, high = (low, middle) if neurons.spread(math.exp(middle)) < 1 else (middle, high)
    return high


def _least_factor(neurons: Population) -> float:
    """Least factor of the gradient's variance over all networks that stay alive."""
    top = 2 * math.log(neurons.unit) + 3.0
    low = top
    while low > top - 60 and neurons.spread(math.exp(low)) < 1:
        low -= STEP
    edge = _edge(neurons, low, low + STEP)
    factors = []
    for log_variance in np.linspace(edge, top, 60):
        own = neurons.moments(math.exp(log_variance))
        factors.append(math.exp(log_variance) * own.slope / own.second)
    return min(factors)


def _infeasible(neurons: Population, alpha: float) -> str:
    """The error where every network that stays alive multiplies the gradient by more than α."""
    least, surrogate = _least_factor(neurons), neurons.surrogate
    assert surrogate is not None

    def excess(log_sharpness: float) -> float:
        sharper = replace(surrogate, sharpness=math.exp(log_sharpness))
        return math.log(_least_factor(neurons._replace(surrogate=sharper)) / alpha)

    low = high = math.log(surrogate.sharpness)
    while excess(high) > 0:
        low, high = high, high + 1.0
    needed = math.exp(brentq(excess, low, high, xtol=1e-6)) if low < high else surrogate.sharpness
    return (
        f"surrogate is too large around the threshold: a network that stays alive multiplies the "
        f"variance of the gradient by at least {least:.4g} per layer, alpha={alpha:g} is asked; "
        f"feasible: a sharpness above {needed:.4g} (now {surrogate.sharpness:.4g}) at dampening "
        f"{surrogate.dampening:.4g}, or alpha above {least:.4g}"
    )
