r"""Herranz-Celotti & Rouat 2022: four conditions on weights and surrogate of a recurrent layer.

A layer of n neurons without self-connections, potential y, spikes x = 1{y > θ}, inputs z:

    y[t] = β y[t−1] + W_rec x[t−1] + W_in z[t] − ρ x[t−1],

with ρ = θ for reset "subtract", βθ for "subtract_leak", 0 for "none"; reset "zero" is
y[t] = β y[t−1] (1 − x[t−1]) + W_rec x[t−1] + W_in z[t].  Zero-mean W_in, no bias.  The conditions:

I.   Every neuron fires half of the time.  With the mean of the potential in place of its median

         E[w_rec] = (2(1 − β) θ + ρ)/(n − 1),      "zero":  E[w_rec] = ((2 − β) θ + β d)/(n − 1),

     ρ = θ gives the paper's (3 − 2β)θ/(n − 1).  For "zero" d = E|y − θ|, since y and x are not
     independent: E[y(1 − x)] = θ/2 − d/2 for every law with mean and median θ.  d = 0 is the
     paper's recipe β → β(1 − x) with y and x taken as independent; its printed Eq. 82,
     (1 − β)θ/(n − 1), does not follow.

II.  Recurrent and feed-forward input have the same variance:

         Var[w_rec] = 2 (Var[z] + E[z]²) n_in Var[w_in]/(n − 1) − E[w_rec]²/2.

III. The largest gradients stay as they are from step to step.  This fixes the dampening γ:

         γ ((n − 1) max w_rec − ρ max w_rec/min w_rec) = 1 − β − ξ n_in max w_in γ_in,

     without the term in ρ for "zero" and where the reset passes no gradient.

IV.  So does the variance of the gradients.  This fixes E[σ'²], and with γ the sharpness:

         E[σ'²] ((n − 1) E[w_rec²] + ρ²) = 1 − β² − ξ n_in E[w_in²] E[σ'_in²]   (+ 2βρ E[σ'], exact)

     with β²/2 in place of β² for "zero".  The exact form keeps the product of leak and reset, which
     act on the same gradient; the paper leaves it out.

Neurons whose threshold adapts count with θ + κ/2, their mean threshold at rate 1/2; III and IV
leave out the gradient that passes through the adaptation.

ξ = 1 if the input comes from a layer of spiking neurons below, with γ_in and E[σ'_in²], else 0.

III and IV exclude each other.  Since σ' <= γ, IV needs γ²((n−1) E[w_rec²] + ρ²) >= 1 − β² (ξ = 0),
while III with max w_rec >= −min w_rec makes the left side at most (1 − β)² < 1 − β².

Source: Herranz-Celotti & Rouat 2022, section 3.4 and appendix B.  The printed Eq. 82, the first
moment of σ'_in in the main text's condition IV and the missing product in Eq. 47 are corrected
here; the other resets and d are derived here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from numbers import Real
from typing import Any, NamedTuple

import torch
from scipy.optimize import brentq
from scipy.special import gammainccinv, ndtri
from torch import Tensor, nn

from snnlib.dialects import Spiking
from snnlib.init.distributions import BIGAMMA_SHAPE
from snnlib.init.method import Arranged, Method, check_positive, with_the_network
from snnlib.init.pairing import Connection
from snnlib.meanfield import least_input_variance, rate_fixed_points
from snnlib.surrogate import Surrogate

SOURCE = "Herranz-Celotti & Rouat 2022, conditions I-IV"
RESETS = ("subtract", "subtract_leak", "zero", "none")
CONDITIONS = ("I", "II", "III", "IV")
LOWEST_SHARPNESS = 0.3
"""Lower end of the interval that the authors' code searches for the sharpness."""

Number = float | Tensor


class Conditions(NamedTuple):
    """What the four conditions ask for.

    Attributes:
        weight_mean: E[w_rec], condition I.
        weight_variance: Var[w_rec], condition II.
        dampening: γ, condition III.
        second_moment: E[σ'²], condition IV.
    """

    weight_mean: float
    weight_variance: float
    dampening: float
    second_moment: float


class Range(NamedTuple):
    """Least and largest potential.

    Attributes:
        low: Of y.
        high: Of y.
    """

    low: Any
    high: Any


class _Neurons(NamedTuple):
    """Moments of leak and threshold over the neurons of a layer, each independent of the other.

    ρ is the threshold times `slope`: 1, the leak (`"subtract_leak"`), or 0.
    """

    leak: float  # E[β]
    leak_max: float
    leak_square: float
    threshold: float  # E[θ]
    reset: float  # E[ρ]
    reset_max: float
    reset_square: float
    cross: float  # E[β ρ]
    zero: bool


def conditions(
    *,
    fan_in: int,
    width: int,
    leak: Number,
    threshold: Number,
    input_mean: float,
    input_variance: float,
    input_weight_variance: float,
    reset: str = "subtract",
    weight_min: float | None = None,
    weight_max: float | None = None,
    input_weight_max: float | None = None,
    stacked: bool = False,
    input_dampening: float = 0.0,
    input_second_moment: float = 0.0,
    exact: bool = False,
    first_moment: float | None = None,
    detach_reset: bool = False,
    deviation: float = 0.0,
) -> Conditions:
    r"""Mean and variance of the recurrent weights, dampening and E[σ'²] of one layer.

    For reset "subtract", with ξ = 1 if stacked, else 0:

    E[w] = (3 − 2β)θ/(n − 1),    Var[w] = 2 E[z²] n_in Var[w_in]/(n − 1) − E[w]²/2,
    γ = (1 − β − ξ n_in max w_in γ_in) / ((n − 1) max w − θ max w/min w),
    E[σ'²] = (1 − β² − ξ n_in E[w_in²] E[σ'_in²]  [+ 2βθ E[σ']]) / ((n − 1) E[w²] + θ²).

    Args:
        fan_in: n_in >= 1 inputs of a neuron.
        width: n >= 2 neurons.
        leak: β in [0, 1), a number or one per neuron (mean, maximum and mean square are taken).
        threshold: θ >= 0, likewise.
        input_mean: E[z]; of a stacked layer 1/2 by condition I.
        input_variance: Var[z]; of a stacked layer 1/4.
        input_weight_variance: Var[w_in] > 0.
        reset: "subtract", "subtract_leak", "zero" or "none".
        weight_min: Least recurrent weight, < 0; None: of a uniform law of that mean and variance.
        weight_max: Largest one, > 0; None likewise.
        input_weight_max: Largest input weight; None: of a uniform law, √(3 Var[w_in]).
        stacked: Whether a layer of spiking neurons feeds this one and takes part of the gradient.
        input_dampening: γ_in of that layer.
        input_second_moment: E[σ'_in²] of that layer.
        exact: Keep the product of leak and reset in condition IV; needs `first_moment` where the
            reset subtracts and passes a gradient.  See `joint_sharpness`.
        first_moment: E[σ'] of this layer.
        detach_reset: Whether the reset passes no gradient, which removes ρ from III and IV.  The
            paper's forms for "zero" (Eqs. 84, 85) are those without it.
        deviation: d = E|y − θ| >= 0, for reset "zero" only; 0 is the paper's independence.

    Returns:
        The four numbers.

    Raises:
        ValueError: If an argument is outside its range, or Var[w_rec], γ or E[σ'²] would not be
            positive: then with the bound that makes it so.

    Source: Herranz-Celotti & Rouat 2022, Eqs. 20, 28, 44, 57 and 82-85, corrected.

    Example:
        >>> layer = dict(leak=0.5, threshold=1.0, input_mean=0.0, input_variance=1.0)
        >>> law = conditions(fan_in=100, width=101, input_weight_variance=0.02, **layer)
        >>> law.weight_mean  # (3 − 2·0.5)/100
        0.02
        >>> round(law.weight_variance, 12)  # 2·0.02 − 0.02²/2
        0.0398
        >>> second = 100 * (law.weight_variance + law.weight_mean**2)
        >>> abs(law.second_moment * (second + 1) - (1 - 0.5**2)) < 1e-12
        True
    """
    neurons = _neurons(leak, threshold, reset)
    mean = weight_mean(
        width=width, leak=leak, threshold=threshold, reset=reset, deviation=deviation
    )
    variance = weight_variance(
        fan_in=fan_in,
        width=width,
        weight_mean=mean,
        input_mean=input_mean,
        input_variance=input_variance,
        input_weight_variance=input_weight_variance,
    )
    half = math.sqrt(3 * variance)
    peak = math.sqrt(3 * input_weight_variance) if input_weight_max is None else input_weight_max
    gamma = _dampening(
        neurons,
        width=width,
        weight_min=mean - half if weight_min is None else weight_min,
        weight_max=mean + half if weight_max is None else weight_max,
        below=_below(stacked, fan_in, peak, "input_dampening", input_dampening),
        detach_reset=detach_reset,
    )
    moment = _second_moment(
        neurons,
        square=(width - 1) * (variance + mean**2),
        below=_below(
            stacked, fan_in, input_weight_variance, "input_second_moment", input_second_moment
        ),
        exact=exact,
        first_moment=first_moment,
        detach_reset=detach_reset,
    )
    return Conditions(mean, variance, gamma, moment)


def weight_mean(
    *,
    width: int,
    leak: Number,
    threshold: Number,
    reset: str = "subtract",
    deviation: float = 0.0,
) -> float:
    r"""Condition I: E[w_rec] at which the mean potential stays at the threshold at rate 1/2.

    (2(1 − β)θ + ρ)/(n − 1), or ((2 − β)θ + βd)/(n − 1) for reset "zero", d = E|y − θ|.

    Args:
        width: n >= 2.
        leak: β in [0, 1), a number or one per neuron.
        threshold: θ >= 0, likewise.
        reset: A name in `RESETS`.
        deviation: d >= 0, for reset "zero" only.

    Returns:
        The mean.

    Raises:
        ValueError: If an argument is outside its range.

    Source: Herranz-Celotti & Rouat 2022, Eq. 20; Eq. 82 corrected.

    Example:
        >>> weight_mean(width=11, leak=0.5, threshold=1.0)
        0.2
        >>> round(weight_mean(width=11, leak=0.5, threshold=1.0, reset="zero"), 12)
        0.15
    """
    neurons = _neurons(leak, threshold, reset)
    _check_count("width", width, 2)
    _check_from_zero("deviation", deviation)
    if deviation and not neurons.zero:
        raise ValueError(
            f"deviation={deviation!r} belongs to reset 'zero', got reset={reset!r}: without a "
            "product of potential and spike condition I does not depend on it"
        )
    if neurons.zero:
        total = (2 - neurons.leak) * neurons.threshold + neurons.leak * deviation
    else:
        total = 2 * (1 - neurons.leak) * neurons.threshold + neurons.reset
    return total / (width - 1)


def normal_deviation(*, leak: Number, threshold: Number, variance: float) -> float:
    r"""E|y − θ| of a neuron with reset to zero whose potential is normal around its threshold.

    d = s √(2/π) with s the positive root of

    s² = V + β² (θ²/4 − θ s/√(2π) + s² (1/2 − 1/(2π))),

    V the variance of the drive, taken as independent of the potential before.

    Args:
        leak: β in [0, 1), a number or one per neuron (their mean is taken).
        threshold: θ >= 0, likewise.
        variance: V > 0 of recurrent and feed-forward input together; twice that of the latter by
            condition II.

    Returns:
        d, the `deviation` of condition I.

    Raises:
        ValueError: If an argument is outside its range.

    Source: derived in the book.

    Example:
        Without leak nothing but the drive is left:

        >>> d = normal_deviation(leak=0.0, threshold=1.0, variance=2.0)
        >>> round(d - (2 * 2 / math.pi) ** 0.5, 12)
        0.0
    """
    neurons = _neurons(leak, threshold, "zero")
    drive = check_positive("variance", variance)
    beta, theta = neurons.leak, neurons.threshold
    a = 1 - beta**2 * (1 / 2 - 1 / (2 * math.pi))
    b = beta**2 * theta / math.sqrt(2 * math.pi)
    root = math.sqrt(b * b + 4 * a * (drive + beta**2 * theta**2 / 4))
    return (root - b) / (2 * a) * math.sqrt(2 / math.pi)


def weight_variance(
    *,
    fan_in: int,
    width: int,
    weight_mean: float,
    input_mean: float,
    input_variance: float,
    input_weight_variance: float,
) -> float:
    r"""Condition II: Var[w_rec] at which W_rec x and W_in z have the same variance.

    2 (Var[z] + E[z]²) n_in Var[w_in]/(n − 1) − E[w_rec]²/2, for spikes of probability 1/2.

    Args:
        fan_in: n_in >= 1.
        width: n >= 2.
        weight_mean: E[w_rec].
        input_mean: E[z].
        input_variance: Var[z] >= 0.
        input_weight_variance: Var[w_in] > 0.

    Returns:
        The variance.

    Raises:
        ValueError: If an argument is outside its range, or the variance would not be positive: then
            with the bound on Var[w_in].

    Source: Herranz-Celotti & Rouat 2022, Eq. 28.

    Example:
        >>> moments = dict(input_mean=0.5, input_variance=0.25, input_weight_variance=0.01)
        >>> round(weight_variance(fan_in=200, width=101, weight_mean=0.0, **moments), 12)
        0.02
    """
    _check_count("fan_in", fan_in, 1)
    _check_count("width", width, 2)
    for name, value in (("weight_mean", weight_mean), ("input_mean", input_mean)):
        if not math.isfinite(value):
            raise ValueError(f"{name} must be finite, got {value!r}")
    _check_from_zero("input_variance", input_variance)
    check_positive("input_weight_variance", input_weight_variance)
    per_unit = 2 * (input_variance + input_mean**2) * fan_in / (width - 1)
    if per_unit == 0:
        raise ValueError(
            "input_mean and input_variance must not both be 0: an input that is always 0 has no "
            "variance that the recurrent weights could match"
        )
    variance = per_unit * input_weight_variance - weight_mean**2 / 2
    if not variance > 0:
        bound = weight_mean**2 / (2 * per_unit)
        raise ValueError(
            "input_weight_variance must satisfy Var[w_in] > (n − 1) E[w_rec]²/(4 n_in E[z²]) = "
            f"{bound:.6g}, got {input_weight_variance!r}: condition II would need "
            f"Var[w_rec] = {variance:.6g}, which is not positive; nearest feasible: just above "
            f"{bound:.6g}"
        )
    return variance


def _dampening(
    neurons: _Neurons,
    *,
    width: int,
    weight_min: float,
    weight_max: float,
    below: tuple[float, float],
    detach_reset: bool,
) -> float:
    """Condition III; `below` is (n_in max w_in, γ_in)."""
    if not 0 < weight_max < math.inf:
        raise ValueError(f"weight_max must be positive and finite, got {weight_max!r}")
    share, inherited = below
    left = 1 - neurons.leak_max - share * inherited
    if not left > 0:
        bound = (1 - neurons.leak_max) / share
        raise ValueError(
            "input_dampening must satisfy γ_in < (1 − β)/(n_in max w_in) = "
            f"{bound:.6g}, got {inherited!r}: the layer below alone would make gradients grow, "
            "and condition III has no positive γ; nearest feasible: just below "
            f"{bound:.6g}, or a smaller Var[w_in]"
        )
    ratio = 0.0
    if neurons.reset_max and not detach_reset and not neurons.zero:
        if not -math.inf < weight_min < 0:
            raise ValueError(
                f"weight_min must be negative, got {weight_min!r}: condition III takes the "
                "gradients' extremes in the ratio of the weights' extremes; a larger Var[w_rec] "
                "(through Var[w_in]) or detach_reset=True makes it feasible"
            )
        ratio = neurons.reset_max * weight_max / -weight_min
    return left / ((width - 1) * weight_max + ratio)


def _second_moment(
    neurons: _Neurons,
    *,
    square: float,
    below: tuple[float, float],
    exact: bool,
    first_moment: float | None,
    detach_reset: bool,
) -> float:
    """Condition IV; `square` is (n − 1) E[w_rec²], `below` (n_in E[w_in²], E[σ'_in²])."""
    a, b, c = _balance(neurons, square, below, exact, detach_reset)
    if b:
        if first_moment is None:
            raise ValueError(
                "first_moment is needed for exact=True: the product of leak and reset has the "
                "factor E[σ'], which depends on the same sharpness; joint_sharpness solves for both"
            )
        check_positive("first_moment", first_moment)
    return (a + b * (first_moment or 0.0)) / c


def _balance(
    neurons: _Neurons,
    square: float,
    below: tuple[float, float],
    exact: bool,
    detach_reset: bool,
) -> tuple[float, float, float]:
    """a, b, c of condition IV, c E[σ'²] = a + b E[σ']."""
    share, inherited = below
    kept = neurons.leak_square / 2 if neurons.zero else neurons.leak_square
    a = 1 - kept - share * inherited
    if not a > 0:
        bound = (1 - kept) / share
        raise ValueError(
            "input_second_moment must satisfy E[σ'_in²] < (1 − E[β²])/(n_in E[w_in²]) = "
            f"{bound:.6g} (β²/2 for reset 'zero'), got {inherited!r}: the layer below alone would "
            "make the gradients' variance grow; nearest feasible: just below "
            f"{bound:.6g}, or a smaller Var[w_in]"
        )
    resets = not (detach_reset or neurons.zero)
    return (
        a,
        2 * neurons.cross if exact and resets else 0.0,
        square + (neurons.reset_square if resets else 0.0),
    )


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
    return _root(shape, target, 0.0, 1.0, dampening=dampening, low=low, high=high, tail=tail)


def joint_sharpness(
    shape: str,
    *,
    width: int,
    leak: Number,
    threshold: Number,
    weight_mean: float,
    weight_variance: float,
    dampening: float,
    low: float,
    high: float,
    tail: float = 2.0,
    reset: str = "subtract",
    detach_reset: bool = False,
    stacked: bool = False,
    fan_in: int = 1,
    input_weight_variance: float = 0.0,
    input_second_moment: float = 0.0,
) -> float:
    r"""Sharpness at which the exact condition IV holds, E[σ'] and E[σ'²] both at that sharpness.

    E[σ'²] ((n − 1) E[w²] + ρ²) − 2βρ E[σ'] = 1 − β² − ξ n_in E[w_in²] E[σ'_in²],   v uniform.

    Args:
        shape: A name in `snnlib.surrogate.SHAPES`.
        width: n >= 2.
        leak: β in [0, 1), a number or one per neuron.
        threshold: θ >= 0, likewise.
        weight_mean: E[w_rec].
        weight_variance: Var[w_rec] >= 0.
        dampening: γ > 0.
        low: Least centred voltage y − θ.
        high: The largest.
        tail: q > 1 of "q_pseudospike".
        reset: A name in `RESETS`.
        detach_reset: Whether the reset passes no gradient.
        stacked: Whether a layer of spiking neurons feeds this one.
        fan_in: n_in of a stacked layer.
        input_weight_variance: E[w_in²] of a stacked layer.
        input_second_moment: E[σ'_in²] of the layer below.

    Returns:
        The sharpness; a root exists if and only if γ² c − γ b > a in c E[σ'²] − b E[σ'] = a.

    Raises:
        ValueError: If an argument is outside its range, or there is no such sharpness: then with
            the reachable range.

    Source: derived here; corrects Herranz-Celotti & Rouat 2022, Eqs. 47 and 57.

    Example:
        >>> layer = dict(width=2, leak=0.5, threshold=1.0, weight_mean=0.0, weight_variance=3.0)
        >>> s = joint_sharpness("gaussian", dampening=1.0, low=-3.0, high=2.0, **layer)
        >>> law = Surrogate("gaussian", 1.0, s)
        >>> one, two = (law.moment(m, 0.0, law="uniform", bounds=(-3.0, 2.0)) for m in (1, 2))
        >>> round(two * (3.0 + 1) - one - 0.75, 10)
        0.0
    """
    _check_count("width", width, 2)
    _check_from_zero("weight_variance", weight_variance)
    a, b, c = _balance(
        _neurons(leak, threshold, reset),
        (width - 1) * (weight_variance + weight_mean**2),
        _below(stacked, fan_in, input_weight_variance, "input_second_moment", input_second_moment),
        True,
        detach_reset,
    )
    if not c > 0:
        raise ValueError(
            "weight_variance, weight_mean and threshold must not all be 0: then no gradient "
            "passes a spike"
        )
    return _root(shape, a, b, c, dampening=dampening, low=low, high=high, tail=tail)


def _root(
    shape: str,
    a: float,
    b: float,
    c: float,
    *,
    dampening: float,
    low: float,
    high: float,
    tail: float,
) -> float:
    """The sharpness at which c E[σ'²] − b E[σ'] = a > 0."""
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
            f"no sharpness of {shape!r} reaches {asked} at dampening {gamma!r}: since σ' <= γ, "
            f"the reachable range is {reach}; nearest feasible dampening: just above {least:.6g}"
        )
    wide = narrow = 1.0 / (high - low)
    while excess(wide) <= 0:
        wide /= 2
    while excess(narrow) >= 0:
        narrow *= 2
    return float(brentq(excess, wide, narrow, xtol=1e-300, rtol=1e-14))


def voltage_range(
    *,
    fan_in: int,
    width: int,
    leak: Number,
    threshold: Number,
    weight_min: float,
    weight_max: float,
    input_weight_min: float,
    input_weight_max: float,
    input_low: float = 0.0,
    input_high: float = 1.0,
    bias_min: float = 0.0,
    bias_max: float = 0.0,
    reset: str = "subtract",
) -> Range:
    r"""Bounds of the potential over all samples of weights, spikes and inputs.

    high = ((n − 1) max w_rec + max b + n_in max w_in)/(1 − β),
    low  = ((n − 1) min w_rec + min b + n_in min w_in − ρ)/(1 − β)

    for inputs between 0 and 1; no ρ for "zero".  They are bounds, not the extremes: at the upper
    one the neuron is taken not to have fired, at the lower one to have fired.

    Args:
        fan_in: n_in >= 1.
        width: n >= 2.
        leak: β in [0, 1), a number or one per neuron; the largest counts.
        threshold: θ >= 0, likewise.
        weight_min: Least recurrent weight.
        weight_max: The largest.
        input_weight_min: Least input weight.
        input_weight_max: The largest.
        input_low: Least input; 0 for spikes.
        input_high: The largest; 1 for spikes.
        bias_min: Least bias.
        bias_max: The largest.
        reset: A name in `RESETS`.

    Returns:
        (low, high) of y; subtract the threshold for the centred voltage.

    Raises:
        ValueError: If an argument is outside its range.

    Source: Herranz-Celotti & Rouat 2022, Eqs. 72 and 75; the inputs' bounds are added here.

    Example:
        >>> weights = dict(weight_min=-0.1, weight_max=0.2)
        >>> inputs = dict(input_weight_min=-0.3, input_weight_max=0.3)
        >>> law = voltage_range(fan_in=4, width=11, leak=0.5, threshold=1.0, **weights, **inputs)
        >>> [round(bound, 9) for bound in law]  # −2(1 + 1.2 + 1) and 2(2 + 1.2)
        [-6.4, 6.4]
    """
    neurons = _neurons(leak, threshold, reset)
    _check_count("fan_in", fan_in, 1)
    _check_count("width", width, 2)
    for name, (least, most) in {
        "weight": (weight_min, weight_max),
        "input_weight": (input_weight_min, input_weight_max),
        "input": (input_low, input_high),
        "bias": (bias_min, bias_max),
    }.items():
        if not -math.inf < least <= most < math.inf:
            raise ValueError(f"{name} must have finite bounds least <= largest, got {least, most}")
    products = [
        weight * value
        for weight in (input_weight_min, input_weight_max)
        for value in (input_low, input_high)
    ]
    lower = (width - 1) * min(weight_min, 0.0) + bias_min + fan_in * min(products)
    upper = (width - 1) * max(weight_max, 0.0) + bias_max + fan_in * max(products)
    scale = 1 / (1 - neurons.leak_max)
    return Range(scale * (lower - neurons.reset_max), scale * upper)


def sampled_voltage_range(
    recurrent_weight: Tensor,
    input_weight: Tensor,
    *,
    leak: Number,
    threshold: Number,
    bias: Number = 0.0,
    reset: str = "subtract",
    input_low: float = 0.0,
    input_high: float = 1.0,
) -> Range:
    r"""Bounds of every neuron's potential for given weights, over all spikes and inputs.

    high_i = (Σ_j relu(W_rec)_ij + b_i + Σ_j relu(W_in)_ij)/(1 − β_i),
    low_i  = −(Σ_j relu(−W_rec)_ij − b_i + Σ_j relu(−W_in)_ij + ρ_i)/(1 − β_i)

    for inputs between 0 and 1.

    Args:
        recurrent_weight: [n, n]; its diagonal is not read.
        input_weight: [n, n_in].
        leak: β in [0, 1), a number or one per neuron.
        threshold: θ >= 0, likewise.
        bias: b, likewise.
        reset: A name in `RESETS`.
        input_low: Least input.
        input_high: The largest.

    Returns:
        (low, high) of y, float64 tensors [n].

    Raises:
        ValueError: If an argument is outside its range or shapes do not fit.

    Source: Herranz-Celotti & Rouat 2022, Eqs. 77 and 79.

    Example:
        >>> recurrent = torch.tensor([[9.0, 0.5], [-0.25, 9.0]])
        >>> inputs = torch.tensor([[1.0, -1.0], [0.5, 0.5]])
        >>> low, high = sampled_voltage_range(recurrent, inputs, leak=0.5, threshold=1.0)
        >>> low.tolist(), high.tolist()
        ([-4.0, -2.5], [3.0, 2.0])
    """
    _neurons(leak, threshold, reset)
    size = recurrent_weight.shape
    if len(size) != 2 or size[0] != size[1]:
        raise ValueError(f"recurrent_weight must be [n, n], got {tuple(size)}")
    if input_weight.dim() != 2 or input_weight.shape[0] != size[0]:
        raise ValueError(
            f"input_weight must be [{size[0]}, n_in] beside {tuple(size)}, "
            f"got {tuple(input_weight.shape)}"
        )
    if not -math.inf < input_low <= input_high < math.inf:
        raise ValueError(f"input must have finite bounds, got {input_low!r} and {input_high!r}")
    others = recurrent_weight.detach().double().clone().fill_diagonal_(0.0)
    inputs = input_weight.detach().double()
    products = torch.stack([inputs * input_low, inputs * input_high])
    beta, theta, offset = (
        torch.as_tensor(value, dtype=torch.float64).detach() for value in (leak, threshold, bias)
    )
    rho = _slope(reset, beta) * theta
    upper = others.relu().sum(1) + offset + products.amax(0).sum(1)
    lower = -(-others).relu().sum(1) + offset + products.amin(0).sum(1) - rho
    return Range(lower / (1 - beta), upper / (1 - beta))


def gain(*, fan_in: int, weight_mean: float, weight_variance: float) -> float:
    r"""G = n·E[w²] = n (Var[w] + E[w]²) of weights that `conditions` gives.

    Args:
        fan_in: n >= 1.
        weight_mean: E[w].
        weight_variance: Var[w] >= 0.

    Returns:
        The gain.

    Raises:
        ValueError: If an argument is outside its range.

    Source: definition.

    Example:
        >>> gain(fan_in=100, weight_mean=0.1, weight_variance=0.03)
        4.0
    """
    _check_count("fan_in", fan_in, 1)
    _check_from_zero("weight_variance", weight_variance)
    return fan_in * (weight_variance + weight_mean**2)


# --- Checks -------------------------------------------------------------------------------------


def _slope(reset: str, leak: Any) -> Any:
    """ρ/θ."""
    return {"subtract": 1.0, "subtract_leak": leak}.get(reset, 0.0)


def _neurons(leak: Number, threshold: Number, reset: str) -> _Neurons:
    if reset not in RESETS:
        raise ValueError(f"reset must be one of {', '.join(RESETS)}, got {reset!r}")
    beta, theta = (torch.as_tensor(v, dtype=torch.float64).detach() for v in (leak, threshold))
    if beta.numel() == 0 or not bool(((beta >= 0) & (beta < 1)).all()):
        raise ValueError(
            "leak must satisfy 0 <= leak < 1 (gradients that do not leak cannot also pass "
            f"through the weights without growing), got {leak!r}; nearest feasible: "
            f"{'just below 1' if bool((beta >= 1).any()) else 0.0}"
        )
    if theta.numel() == 0 or not bool(((theta >= 0) & theta.isfinite()).all()):
        raise ValueError(
            f"threshold must be >= 0 and finite, got {threshold!r}; nearest feasible: 0.0"
        )
    slope = torch.as_tensor(_slope(reset, beta), dtype=torch.float64)
    return _Neurons(
        float(beta.mean()),
        float(beta.max()),
        float(beta.square().mean()),
        float(theta.mean()),
        float(slope.mean() * theta.mean()),
        float(slope.max() * theta.max()),
        float(slope.square().mean() * theta.square().mean()),
        float((beta * slope).mean() * theta.mean()),
        reset == "zero",
    )


def _check_count(name: str, value: int, least: int) -> None:
    if not value >= least or int(value) != value:
        raise ValueError(f"{name} must be an integer >= {least}, got {value!r}")


def _check_from_zero(name: str, value: Any) -> None:
    if not isinstance(value, Real) or not 0 <= float(value) < math.inf:
        raise ValueError(f"{name} must be >= 0 and finite, got {value!r}; nearest feasible: 0.0")


def _below(
    stacked: bool, fan_in: int, per_weight: float, name: str, value: float
) -> tuple[float, float]:
    """What a layer below takes of the gradient, as (factor, its moment); nothing below data."""
    _check_from_zero(name, value)
    if not stacked:
        return 1.0, 0.0
    _check_count("fan_in", fan_in, 1)
    return fan_in * check_positive("input_weight_variance or input_weight_max", per_weight), value


# --- In a network -------------------------------------------------------------------------------


class _Layer(NamedTuple):
    """What a finished layer hands to the one above it."""

    dampening: float | None
    second_moment: float | None
    rate: float | None = None  # where condition I would have 1/2 but the input is too weak


def extremes(distribution: str, mean: float, variance: float, count: int) -> tuple[float, float]:
    r"""Bounds of a law of weights; of an unbounded one the typical extremes of a sample.

    Uniform: mean ± √(3 Var).  Normal and BiGamma: the quantiles 1/N and 1 − 1/N of N weights; the
    supremum that the paper takes is infinite there.

    Args:
        distribution: "uniform", "normal" or "bigamma".
        mean: E[w].
        variance: Var[w] >= 0.
        count: N, number of weights.

    Returns:
        (least, largest).

    Source: Herranz-Celotti & Rouat 2022, Eqs. 34-35; the quantiles are chosen here.

    Example:
        >>> extremes("uniform", 0.5, 3.0, 100)
        (-2.5, 3.5)
    """
    tail = 1 / max(count, 3)
    if distribution == "uniform":
        reach = math.sqrt(3.0)
    elif distribution == "normal":
        reach = -float(ndtri(tail))
    else:
        k = BIGAMMA_SHAPE
        reach = float(gammainccinv(k, 2 * tail)) / math.sqrt(k * (k + 1))
    return mean - reach * math.sqrt(variance), mean + reach * math.sqrt(variance)


def _network(
    connections: Sequence[Connection],
    given: Sequence[Mapping[str, Any]],
    distributions: Sequence[str],
    modules: Mapping[str, nn.Module],
) -> list[Arranged]:
    """Laws of all weights and the surrogates of all layers, from the lowest layer up."""
    names = list(dict.fromkeys(layer.name for c in connections for layer in c.drives))
    groups = {
        name: [i for i, c in enumerate(connections) if name in {d.name for d in c.drives}]
        for name in names
    }
    done: dict[str, _Layer] = {}
    arranged: dict[int, Arranged] = {}

    def solve(name: str, above: tuple[str, ...]) -> _Layer:
        if name in done:
            return done[name]
        if name in above:
            raise ValueError(f"herranz2022 knows stacks of layers; {name!r} feeds a layer below it")
        recurrent = [i for i in groups[name] if connections[i].recurrent]
        forward = [i for i in groups[name] if not connections[i].recurrent]
        if len(recurrent) != 1 or len(forward) != 1:
            raise ValueError(
                f"herranz2022 needs one recurrent and one input weight that drive {name!r}, "
                f"got {len(recurrent)} and {len(forward)}"
            )
        own, into = connections[recurrent[0]], connections[forward[0]]
        if len(own.drives) > 1 or len(into.drives) > 1:
            raise ValueError(f"herranz2022: a weight of {name!r} drives another layer, too")
        below: _Layer | None = None
        if into.fed_by:
            if len(into.fed_by) > 1:
                raise ValueError(f"herranz2022: several spiking layers feed {into.name!r}")
            feeder = into.fed_by[0].name
            below = solve(feeder, (*above, name)) if feeder in groups else _outside(modules, feeder)
        settings = _options(given[recurrent[0]], given[forward[0]])
        laws = (distributions[recurrent[0]], distributions[forward[0]])
        try:
            rows = _solve_layer(name, own, into, below, settings, laws, modules.get(name))
        except ValueError as error:
            raise ValueError(f"{error} (layer {name!r})") from error
        arranged[recurrent[0]], arranged[forward[0]], done[name] = rows
        return done[name]

    for name in names:
        solve(name, ())
    return [arranged[index] for index in range(len(connections))]


def _outside(modules: Mapping[str, nn.Module], name: str) -> _Layer:
    """A layer that keeps its surrogate; its second moment is at most γ²."""
    surrogate = getattr(modules.get(name), "surrogate", None)
    if not isinstance(surrogate, Surrogate):
        return _Layer(None, None)
    return _Layer(surrogate.dampening, surrogate.dampening**2)


def _options(own: Mapping[str, Any], into: Mapping[str, Any]) -> dict[str, Any]:
    for key in own.keys() & into.keys():
        if own[key] != into[key]:
            raise ValueError(
                f"layers: {key} must be the same for the weights of one layer, got {own[key]!r} "
                f"and {into[key]!r}"
            )
    return {**into, **own}


def parse_conditions(value: Any) -> frozenset[str]:
    """Names of conditions from a text such as "I II IV" or a sequence of names.

    Raises:
        ValueError: If a name is not one of I, II, III, IV or there is none.

    Example:
        >>> sorted(parse_conditions("I, III"))
        ['I', 'III']
    """
    parts = value.replace(",", " ").split() if isinstance(value, str) else list(value)
    if not parts or any(part not in CONDITIONS for part in parts):
        raise ValueError(
            f"conditions must name some of {', '.join(CONDITIONS)}, such as 'I II IV', "
            f"got {value!r}"
        )
    return frozenset(parts)


def _solve_layer(
    name: str,
    own: Connection,
    into: Connection,
    below: _Layer | None,
    given: Mapping[str, Any],
    distributions: tuple[str, str],
    module: nn.Module | None,
) -> tuple[Arranged, Arranged, _Layer]:
    """Law of the recurrent and of the input weight, and the surrogate, of one layer."""
    wanted = parse_conditions(given.get("conditions", CONDITIONS))
    unreachable = given.get("unreachable", "nearest")
    if unreachable not in ("nearest", "raise"):
        raise ValueError(f"unreachable must be 'nearest' or 'raise', got {unreachable!r}")
    if not isinstance(given.get("exact", False), bool):
        raise ValueError(f"exact must be True or False, got {given['exact']!r}")
    spiking = own.drives[0].spiking
    surrogate = getattr(module, "surrogate", None)
    shapes = wanted & {"III", "IV"}
    _check_layer(name, own)
    if shapes:
        _check_surrogate(name, module)
    unit = float(spiking.input_gain.mean())
    width, fan_in = own.fan_in, into.fan_in
    threshold, adapts = _threshold(spiking, module)
    neuron: dict[str, Any] = {
        "leak": spiking.leak,
        "threshold": threshold / unit,
        "reset": spiking.reset,
    }
    # In units of the input gain λ the neuron is y/λ with threshold θ/λ and the weights as they are.
    mean, square, remarks = _input_statistics(into, given)
    remarks += adapts
    asked = given.get("input_weight_variance", 2 / (into.fan_in + into.fan_out))
    if asked == "stable":
        asked = _stable_current(neuron) / (fan_in * square) if square > 0 else math.nan
    elif isinstance(asked, str):
        raise ValueError(
            f"input_weight_variance must be a positive number or 'stable', got {asked!r}"
        )
    input_variance = check_positive("input_weight_variance", asked)
    centre = 0.0
    if "I" in wanted:
        d = given.get("deviation", 0.0)
        if d == "normal":
            d = 0.0
            if spiking.reset == "zero":
                drive = 2 * square * fan_in * input_variance  # by condition II
                d = normal_deviation(
                    leak=spiking.leak, threshold=neuron["threshold"], variance=drive
                )
        centre = weight_mean(width=width, deviation=d, **neuron)
    spread = 1 / width
    if "II" in wanted:
        spread = weight_variance(
            fan_in=fan_in,
            width=width,
            weight_mean=centre,
            input_mean=mean,
            input_variance=square - mean**2,
            input_weight_variance=input_variance,
        )
    listed = [condition for condition in CONDITIONS if condition in wanted]
    remarks.insert(0, f"condition{'s' * (len(listed) > 1)} {', '.join(listed)}")
    rate = None
    if wanted >= {"I", "II"}:
        rate, doubt = _settles(neuron, fan_in * square, input_variance, spread * (width - 1))
        if below is not None and below.rate is not None:
            rate, doubt = math.nan, ["the layer below does not stay at rate 1/2"]
        remarks += doubt
    surrogates: dict[str, Surrogate] = {}
    result = _Layer(None, None, None if rate == 0.5 else rate)
    if isinstance(surrogate, Surrogate):
        # The potential of the module is λ times y, so its surrogate has γ/λ and s/λ in these units:
        # σ'(u − θ) du = λ σ'(λ(y − θ/λ)) dy.
        detach = bool(given.get("detach_reset", getattr(module, "detach_reset", False)))
        least, most = extremes(distributions[0], centre, spread, width * (width - 1))
        input_least, input_most = extremes(distributions[1], 0.0, input_variance, fan_in * width)
        gamma, s = surrogate.dampening * unit, surrogate.sharpness * unit
        neurons = _neurons(**neuron)
        recurrent_square = (width - 1) * (spread + centre**2)
        if "III" in wanted:
            passed = _from_below(below, fan_in * input_most, 0, "III")
            _check_passed(into, "III", wanted, 1 - neurons.leak_max, passed, input_variance)
            gamma = _dampening(
                neurons,
                width=width,
                weight_min=least,
                weight_max=most,
                below=passed,
                detach_reset=detach,
            )
        bounds = voltage_range(
            fan_in=fan_in,
            width=width,
            weight_min=least,
            weight_max=most,
            input_weight_min=input_least,
            input_weight_max=input_most,
            input_low=given.get("input_low", _or(into.low, 0.0)),
            input_high=given.get("input_high", _or(into.high, 1.0)),
            **neuron,
        )
        low, high = (bound - neurons.threshold for bound in bounds)
        if "IV" in wanted:
            passed = _from_below(below, fan_in * input_variance, 1, "IV")
            kept = neurons.leak_square / 2 if neurons.zero else neurons.leak_square
            _check_passed(into, "IV", wanted, 1 - kept, passed, input_variance)
            a, b, c = _balance(
                neurons,
                recurrent_square,
                passed,
                bool(given.get("exact", False)),
                detach,
            )
            try:
                s = _root(
                    surrogate.shape,
                    a,
                    b,
                    c,
                    dampening=gamma,
                    low=low,
                    high=high,
                    tail=surrogate.tail,
                )
            except ValueError as error:
                if unreachable == "raise":
                    raise
                s = LOWEST_SHARPNESS
                remarks.append(f"IV not met ({str(error).partition(':')[0]})")
        moment = Surrogate(surrogate.shape, gamma, s, surrogate.tail).moment(
            2, 0.0, law="uniform", bounds=(low, high)
        )
        result = result._replace(dampening=gamma, second_moment=float(moment))
        if shapes:
            surrogates[name] = replace(surrogate, dampening=gamma / unit, sharpness=s / unit)
            remarks.append(f"γ = {gamma / unit:.4g}, s = {s / unit:.4g}")
    remarks.append("zero diagonal")
    return (
        Arranged(
            {"fan_in": width, "weight_mean": centre, "weight_variance": spread},
            "; ".join(remarks),
            surrogates,
            rate,
        ),
        Arranged({"fan_in": fan_in, "weight_mean": 0.0, "weight_variance": input_variance}),
        result,
    )


def _threshold(spiking: Spiking, module: nn.Module | None) -> tuple[Tensor, list[str]]:
    """The mean threshold at rate 1/2, where a running mean of the spikes is 1/2, and a remark."""
    strength = getattr(module, "adaptation", None) if spiking.library == "snnlib" else None
    if strength is None:
        return spiking.threshold, []
    level = torch.as_tensor(strength, dtype=torch.float64).detach().cpu()
    return spiking.threshold + level / 2, ["threshold θ + κ/2 of a neuron that adapts, at rate 1/2"]


def _or(value: float | None, other: float) -> float:
    return other if value is None else value


def _from_below(below: _Layer | None, factor: float, which: int, name: str) -> tuple[float, float]:
    if below is None:
        return 1.0, 0.0
    value = below[which]
    if value is None:
        raise ValueError(
            f"condition {name} of a stacked layer needs the surrogate of the layer below, which "
            "is not a snnlib.surrogate.Surrogate; leave III and IV out"
        )
    return factor, value


def _stable_current(neuron: Mapping[str, Any]) -> float:
    """V = θ²: three times and more what any leak and reset need, so that rates stray little."""
    return float(neuron["threshold"].max()) ** 2


def _edge(neuron: Mapping[str, Any]) -> float:
    leaks, thresholds = (neuron[key].double().flatten() for key in ("leak", "threshold"))
    top = float(thresholds.max())
    return max(
        least_input_variance(float(leak), top, reset=neuron["reset"]) for leak in leaks.unique()
    )


def _settles(
    neuron: Mapping[str, Any], per_weight: float, variance: float, gain: float
) -> tuple[float | None, list[str]]:
    """Rate that a layer comes to from rest under conditions I and II, and what to say of it."""
    current, edge = per_weight * variance, _edge(neuron)
    if current >= edge:
        return 0.5, []
    doubt = (
        f"rate 1/2 is not stable: the input's variance n_in E[z²] Var[w_in] = {current:.3g} is "
        f"below {edge:.3g}; input_weight_variance='stable' is "
        f"{_stable_current(neuron) / per_weight:.3g}"
    )
    leaks, thresholds = neuron["leak"].unique(), neuron["threshold"].unique()
    if neuron["reset"] != "subtract" or leaks.numel() > 1 or thresholds.numel() > 1:
        return math.nan, [doubt]
    points = rate_fixed_points(
        leak=float(leaks), threshold=float(thresholds), gain=gain, input_variance=current
    )
    low = [point.rate for point in points if point.slope < 1 and point.rate < 0.5]
    return (low[0] if low else 0.0), [doubt]  # too low to be found


def _check_passed(
    into: Connection,
    name: str,
    wanted: frozenset[str],
    room: float,
    passed: tuple[float, float],
    variance: float,
) -> None:
    """What passes through the layer below alone must leave room; max w_in is in √Var[w_in]."""
    share, inherited = passed
    if share * inherited >= room:
        third = name == "III"
        ratio = room / (share * inherited)
        least = variance * (ratio**2 if third else ratio)
        term = "n_in max w_in γ_in" if third else "n_in E[w_in²] E[σ'_in²]"
        others = " ".join(other for other in CONDITIONS if other in wanted and other != name)
        without = f": conditions={others!r}" if others else ""
        raise ValueError(
            f"input_weight_variance must be below {least:.4g} for condition {name}, got "
            f"{variance:.4g}: gradients that pass through the layer below alone, {term} = "
            f"{share * inherited:.4g}, would outgrow 1 − {'β' if third else 'E[kept²]'} = "
            f"{room:.4g}; pass layers={{{into.name!r}: {{'input_weight_variance': "
            f"{0.25 * least:.2g}}}}} or leave {name} out{without}"
        )


def _input_statistics(into: Connection, given: Mapping[str, Any]) -> tuple[float, float, list[str]]:
    """E[z] and E[z²]: of spikes at rate 1/2, given, measured, or of standardized data."""
    for key in ("input_mean", "input_variance"):
        if key in given and not math.isfinite(given[key]):
            raise ValueError(f"{key} must be finite, got {given[key]!r}")
    if into.fed_by:
        mean, square, origin = 0.5, 0.5, "input at rate 1/2 by condition I"
    elif into.second_moment is not None and into.mean is not None:
        mean, square, origin = into.mean, into.second_moment, ""
    else:
        mean, square, origin = 0.0, 1.0, "E[z] = 0, Var[z] = 1 assumed"
    variance = given.get("input_variance", square - mean**2)
    mean = given.get("input_mean", mean)
    if "input_mean" in given and "input_variance" in given:
        origin = ""
    return mean, variance + mean**2, [origin] if origin else []


def _check_layer(name: str, own: Connection) -> None:
    spiking = own.drives[0].spiking
    if own.weight.dim() != 2 or own.weight.shape[0] != own.weight.shape[1]:
        raise ValueError(
            f"herranz2022 needs a square recurrent weight, {own.name!r} has "
            f"{tuple(own.weight.shape)}"
        )
    if spiking.synapse is not None and bool(spiking.synapse.any()):
        raise ValueError(
            f"herranz2022 knows neurons without a synaptic current only; {name!r} has one: use "
            "'rossbroich2022'"
        )
    if spiking.reset not in RESETS:
        raise ValueError(
            f"herranz2022 knows the resets {', '.join(RESETS)}; {name!r} has {spiking.reset!r}"
        )
    if bool((spiking.height != 1).any()):
        raise ValueError(f"herranz2022 knows spikes of height 1 only; {name!r} sends others")


def _check_surrogate(name: str, module: nn.Module | None) -> None:
    if getattr(module, "threshold_gradient", "absolute") != "absolute":
        raise ValueError(
            f"conditions III and IV know surrogates of y − θ only, {name!r} has "
            f"threshold_gradient={getattr(module, 'threshold_gradient', None)!r}"
        )
    if not isinstance(getattr(module, "surrogate", None), Surrogate):
        raise ValueError(
            f"conditions III and IV set the surrogate of {name!r}, which is not a "
            "snnlib.surrogate.Surrogate: ask for conditions='I II' and set the surrogate from "
            "snnlib.init.herranz2022.conditions yourself"
        )


def _mean(**settings: Any) -> float:
    return float(settings["weight_mean"])


def _rate(connection: Connection, settings: dict[str, Any]) -> float | None:
    """Condition I is the only one that moves the mean of the weights."""
    return 0.5 if connection.recurrent and settings["weight_mean"] else None


def _finish_(connection: Connection) -> None:
    """No neuron is connected to itself."""
    if connection.recurrent:
        connection.parameter.fill_diagonal_(0.0)


METHOD = Method(
    "herranz2022",
    SOURCE,
    gain,
    with_the_network,
    given=(
        "conditions",
        "input_mean",
        "input_variance",
        "input_weight_variance",
        "input_low",
        "input_high",
        "exact",
        "detach_reset",
        "deviation",
        "unreachable",
    ),
    distribution="uniform",
    free=True,
    mean=_mean,
    rate=_rate,
    finish_=_finish_,
    network=_network,
)
