r"""Herranz-Celotti & Rouat 2022: four conditions on weights and surrogate of a recurrent layer.

A layer of n neurons without self-connections, potential y, spikes x = 1{y > θ}, inputs z:

    y[t] = β y[t−1] + W_rec x[t−1] + W_in z[t] − ρ x[t−1],

with ρ = θ for reset "subtract", βθ for "subtract_leak", 0 for "none"; reset "zero" is
y[t] = β y[t−1] (1 − x[t−1]) + W_rec x[t−1] + W_in z[t].  Zero-mean W_in, no bias.

I.   Every neuron fires half of the time: the mean of w_rec.
II.  Recurrent and feed-forward input have the same variance: the variance of w_rec.
III. The largest gradients stay as they are from step to step: the dampening γ.
IV.  So does the variance of the gradients: E[σ'²], and with γ the sharpness.

Source: Herranz-Celotti & Rouat 2022, appendix B.  Eq. 82, the first moment of σ'_in in the main
text's condition IV and the missing product in Eq. 47 are corrected; other resets and d are new.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from snnlib._averages import LayerAverages, Number, layer_averages
from snnlib._checks import check_count, check_from_zero, check_positive, scalars
from snnlib.init import infeasible, recurrent_stack
from snnlib.init.distributions import gain_of_law as gain
from snnlib.init.method import Method, with_the_network
from snnlib.init.recurrent_layer import SETTINGS, Rule
from snnlib.meanfield import joint_sharpness as joint_sharpness
from snnlib.meanfield import normal_deviation as normal_deviation
from snnlib.meanfield.recurrent_gradient import from_below, gradient_balance
from snnlib.membrane.voltage import sampled_voltage_range as sampled_voltage_range
from snnlib.membrane.voltage import voltage_range as voltage_range
from snnlib.surrogate import sharpness as sharpness

Pair = tuple[float, float]
SOURCE = "Herranz-Celotti & Rouat 2022, conditions I-IV"


class Conditions(NamedTuple):
    """What the four conditions ask for: E[w_rec], Var[w_rec], γ and E[σ'²]."""

    weight_mean: float
    weight_variance: float
    dampening: float
    second_moment: float


@scalars("fan_in", "width", "input_mean", "input_variance", "input_weight_variance")
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

    E[w] = (2(1 − β)θ + ρ)/(n − 1),    Var[w] = 2 E[z²] n_in Var[w_in]/(n − 1) − E[w]²/2,
    γ = (1 − β − ξ n_in max w_in γ_in) / ((n − 1) max w − ρ max w/min w),
    E[σ'²] = (1 − β² − ξ n_in E[w_in²] E[σ'_in²]  [+ 2βρ E[σ']]) / ((n − 1) E[w²] + ρ²).

    For reset "zero" E[w] is that of `weight_mean`, β²/2 replaces β², and ρ = 0 in III and IV.

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
        stacked: ξ = 1: a layer of spiking neurons below takes part of the gradient.
        input_dampening: γ_in of that layer.
        input_second_moment: E[σ'_in²] of that layer.
        exact: Keep the term in brackets, of leak and reset together, which the paper leaves out.
        first_moment: E[σ'] of this layer, for that term.  See `joint_sharpness`.
        detach_reset: Whether the reset passes no gradient: ρ = 0 in III and IV (Eqs. 84, 85).
        deviation: d = E|y − θ| >= 0, for reset "zero" only; 0 is the paper's independence.

    Returns:
        The four numbers.

    Raises:
        ValueError: If an argument is outside its range or one of the last three not positive.

    Source: Herranz-Celotti & Rouat 2022, Eqs. 20, 28, 44, 57 and 82-85, corrected.

    Example:
        >>> layer = dict(leak=0.5, threshold=1.0, input_mean=0.0, input_variance=1.0)
        >>> law = conditions(fan_in=100, width=101, input_weight_variance=0.02, **layer)
        >>> law.weight_mean, round(law.weight_variance, 12)  # (3 − 2·0.5)/100, 2·0.02 − 0.02²/2
        (0.02, 0.0398)
        >>> round(law.second_moment * (100 * (0.0398 + 0.02**2) + 1), 12)  # 1 − 0.5²
        0.75
    """
    neurons = layer_averages(leak, threshold, reset)
    mu = weight_mean(width=width, leak=leak, threshold=threshold, reset=reset, deviation=deviation)
    moments = {"input_mean": input_mean, "input_variance": input_variance}
    moments["input_weight_variance"] = into = input_weight_variance
    variance = weight_variance(fan_in=fan_in, width=width, weight_mean=mu, **moments)
    half = math.sqrt(3 * variance)
    low = mu - half if weight_min is None else weight_min
    high = mu + half if weight_max is None else weight_max
    peak = math.sqrt(3 * into) if input_weight_max is None else input_weight_max
    below = from_below(stacked, fan_in, peak, "input_dampening", input_dampening)
    gamma = dampening(neurons, width, (low, high), below, detach_reset)
    below = from_below(stacked, fan_in, into, "input_second_moment", input_second_moment)
    square = (width - 1) * (variance + mu**2)
    law = gradient_balance(neurons, square, below=below, exact=exact, detach_reset=detach_reset)
    return Conditions(mu, variance, gamma, law.second_moment(first_moment))


def weight_mean(
    *, width: int, leak: Number, threshold: Number, reset: str = "subtract", deviation: float = 0.0
) -> float:
    r"""Condition I: E[w_rec] at which the mean potential stays at the threshold at rate 1/2.

    (2(1 − β)θ + ρ)/(n − 1), or ((2 − β)θ + βd)/(n − 1) for reset "zero", d = E|y − θ|, since
    E[y(1 − x)] = θ/2 − d/2 for every law with mean and median θ.

    Args:
        width: n >= 2.
        leak: β in [0, 1), a number or one per neuron.
        threshold: θ >= 0, likewise.
        reset: A name in `RESETS`.
        deviation: d >= 0, for reset "zero" only; 0 is the paper's recipe β → β(1 − x).

    Returns:
        The mean.

    Raises:
        ValueError: If an argument is outside its range.

    Source: Herranz-Celotti & Rouat 2022, Eq. 20; Eq. 82 corrected.

    Example:
        >>> weight_mean(width=11, leak=0.5, threshold=1.0)
        0.2
    """
    neurons = layer_averages(leak, threshold, reset)
    check_count("width", width, 2)
    check_from_zero("deviation", deviation)
    if neurons.zero:
        total = (2 - neurons.leak) * neurons.threshold + neurons.leak * deviation
        return total / (width - 1)
    if deviation:
        raise infeasible.deviation(deviation, reset)
    return (2 * (1 - neurons.leak) * neurons.threshold + neurons.reset) / (width - 1)


@scalars("weight_mean", "input_mean")
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
        ValueError: If an argument is outside its range, or Var[w_in] too small: with the bound.

    Source: Herranz-Celotti & Rouat 2022, Eq. 28.

    Example:
        >>> moments = dict(input_mean=0.5, input_variance=0.25, input_weight_variance=0.01)
        >>> round(weight_variance(fan_in=200, width=101, weight_mean=0.0, **moments), 12)
        0.02
    """
    check_count("fan_in", fan_in)
    check_count("width", width, 2)
    check_from_zero("input_variance", input_variance)
    check_positive("input_weight_variance", input_weight_variance)
    per_unit = 2 * (input_variance + input_mean**2) * fan_in / (width - 1)
    if per_unit == 0:
        raise infeasible.silent_input()
    variance = per_unit * input_weight_variance - weight_mean**2 / 2
    if not variance > 0:
        bound = weight_mean**2 / (2 * per_unit)
        raise infeasible.input_weight_variance(bound, input_weight_variance, variance)
    return variance


def dampening(
    neurons: LayerAverages, width: int, weights: Pair, below: Pair, detach_reset: bool
) -> float:
    """Condition III: γ for weights of these extremes; `below` is (n_in max w_in, γ_in)."""
    least, most = weights
    if not 0 < most < math.inf:
        raise ValueError(f"weight_max must be positive and finite, got {most!r}")
    share, inherited = below
    left = 1 - neurons.leak_max - share * inherited
    if not left > 0:
        raise infeasible.input_dampening((1 - neurons.leak_max) / share, inherited)
    if detach_reset or neurons.zero or not neurons.reset_max:
        return left / ((width - 1) * most)
    if not -math.inf < least < 0:
        raise infeasible.weight_min(least)
    return left / ((width - 1) * most + neurons.reset_max * most / -least)


METHOD = Method(
    "herranz2022",
    SOURCE,
    gain,
    with_the_network,
    given=SETTINGS,
    distribution="uniform",
    free=True,
    mean=recurrent_stack.mean,
    rate=recurrent_stack.rate,
    finish_=recurrent_stack.finish_,
    network=recurrent_stack.network(Rule("herranz2022", weight_mean, weight_variance, dampening)),
)
