r"""IKUN, Chang et al. 2024: the surrogate derivative in the variance of the weights.

At the first step a layer with n inputs x, weights of mean zero and m outputs has

    forward    Var[u] = λ² n Var[w] E[x²],
    backward   Var[∂L/∂u] below = λ² m Var[w] E[σ'(u − θ)²] Var[∂L/∂u] above,

with u and θ of the neurons that send x. IKUN prints Var[w] = α/(n Var[x] E[σ'²]), which is neither.
So there are three choices of `balance`, and `alpha` says what is balanced:

    "forward"    G = α / E[x²]            every layer has Var[u] = α,
    "backward"   G = α n / (m E[σ'²])     a layer multiplies the variance of the gradient by α,
    "printed"    G = α / (Var[x] E[σ'²]),

all divided by λ²; "forward" at α = 1 is Eq. 10 of Micheli et al. 2024. The moments are those of
u ~ N(0, Var[u]) with the Var[u] that the gains themselves produce.

Source: Chang, Wang, Yang, IKUN: Initialization to keep SNN training and generalization great with
surrogate-stable variance, 2024, known here from a summary, which does not define α. The two
conditions are derived in the book.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from snnlib._checks import check_positive, scalars
from snnlib.init import first_step
from snnlib.init.connection import Connection, fans
from snnlib.init.method import (
    Feeding,
    Method,
    draw_,
    driven_neuron,
    sharing,
    with_the_network,
    without_synapse,
)
from snnlib.meanfield.population import Moments, population
from snnlib.meanfield.steady_variance import BALANCES as BALANCES
from snnlib.meanfield.steady_variance import Balance, check_balance, steady_root
from snnlib.meanfield.steady_variance import steady_variance as steady_variance
from snnlib.surrogate import Surrogate

SOURCE = "Chang et al. 2024, from a summary; both conditions derived in the book"


def gain(
    *,
    balance: Balance = "forward",
    alpha: float = 1.0,
    surrogate: Surrogate | None = None,
    threshold: float | Tensor = 1.0,
    height: float | Tensor = 1.0,
    relative: bool = False,
    variance: float | None = None,
    input_gain: float = 1.0,
    fan_in: float = 1,
    fan_out: float = 1,
    input_second_moment: float | None = None,
    moments: Moments | None = None,
) -> float:
    r"""G = n·Var[w] for one of the three balances.

    Behind spikes, with u ~ N(0, Var[u]) of the neurons that send them,

        "forward"    G = α q / (λ² E[x²])
        "backward"   G = α n / (λ² m E[σ'(u − θ)²])
        "printed"    G = α / (λ² Var[x] E[σ'(u − θ)²]),

    q = 1.  Behind real values there is no σ', and the weights give the layer that they drive the
    variance that all further layers keep: G = q/(λ² E[x²]), q of `steady_variance`.

    Args:
        balance: "forward", "backward" or "printed".
        alpha: α > 0: Var[u] under "forward", the factor of the gradient's variance under
            "backward", the formula's α under "printed".
        surrogate: σ' of the neurons that feed the weight (behind real values: that it drives);
            "forward" needs none.
        threshold: θ >= 0 of the same neurons, a number or one per neuron.
        height: What one of their spikes sends on.
        relative: Whether their σ' is taken of u/θ − 1.
        variance: Var[u] of the same neurons; None is `steady_variance`, so that the gain belongs
            to the moments that it produces itself.
        input_gain: λ > 0, what the driven neuron multiplies its current with.
        fan_in: n, only its ratio to m enters, and only under "backward".
        fan_out: m, outputs that an input reaches.
        input_second_moment: E[x²] > 0 of real values that feed the weight.
        moments: Moments of what feeds the weight, in place of computed ones.

    Returns:
        The gain.

    Raises:
        ValueError: If an argument is outside its range, a surrogate is missing, no neuron ever
            fires, or no network that stays alive keeps the gradient.

    Source: Chang et al. 2024 ("printed", from a summary); the others derived in the book.

    Example:
        At the matched sharpness one gain meets both conditions.

        >>> from snnlib.meanfield import matched_sharpness
        >>> both = Surrogate("arctan", sharpness=matched_sharpness("arctan", 1.0))
        >>> round(gain(balance="forward"), 6)
        6.302974
        >>> round(gain(balance="backward", surrogate=both), 6)
        6.302974
    """
    check_balance(balance, surrogate, needed=moments is None)
    scale = check_positive("input_gain", input_gain) ** 2
    ratio = check_positive("fan_in", fan_in) / check_positive("fan_out", fan_out)
    alpha = check_positive("alpha", alpha)
    if input_second_moment is not None:
        second = check_positive("input_second_moment", input_second_moment)
        neurons = population(threshold, height, surrogate, relative)
        return steady_root(neurons, balance, alpha) / (scale * max(second, 1e-300))
    if moments is None:
        neurons = population(threshold, height, surrogate, relative)
        own = steady_root(neurons, balance, alpha) if variance is None else variance
        moments = neurons.moments(check_positive("variance", own))
    if not moments.second > 1e-300:
        raise ValueError(
            "threshold must let some neuron fire (feasible: 0 <= threshold <= 37 standard "
            f"deviations), got {threshold!r}"
        )
    if balance == "forward":
        return alpha / (scale * moments.second)
    if not moments.slope > 1e-300:
        raise ValueError(
            "surrogate must let some gradient pass: E[σ'²] is 0 under the law of the potential, "
            f"got {surrogate!r}"
        )
    if balance == "backward":
        return alpha * ratio / (scale * moments.slope)
    return alpha / (scale * moments.variance * moments.slope)


@scalars("alpha", "input_gain", "variance")
def ikun2024_(
    weight: Tensor,
    threshold: float | Tensor = 1.0,
    generator: torch.Generator | None = None,
    *,
    balance: Balance = "forward",
    alpha: float = 1.0,
    surrogate: Surrogate | None = None,
    variance: float | None = None,
    input_gain: float = 1.0,
) -> Tensor:
    r"""Fill a weight in place from N(0, G/n), for a layer that receives spikes.

    Args:
        weight: Weight of a linear layer [out, in] or a convolution [out, in / groups, k, ...].
        threshold: θ >= 0 of the neurons that feed the weight.
        generator: Random numbers; None is torch's global generator.
        balance: "forward", "backward" or "printed", see `gain`.
        alpha: α > 0.
        surrogate: σ' of the neurons that feed the weight; "forward" needs none.
        variance: Var[u] of those neurons; None is the one that the gain itself produces.
        input_gain: λ > 0, what the driven neuron multiplies its current with.

    Returns:
        The weight.

    Raises:
        ValueError: As `gain`; and if the weight is empty or the generator lives on another device.

    Source: Chang et al. 2024 ("printed", from a summary); the others derived in the book.

    Example:
        >>> draw = torch.Generator().manual_seed(0)
        >>> s = Surrogate("sigmoid", sharpness=2.0)
        >>> weight = ikun2024_(torch.empty(400, 400), 1.0, draw, balance="backward", surrogate=s)
        >>> abs(400 * weight.var().item() / gain(balance="backward", surrogate=s) - 1) < 0.02
        True
    """
    fan_in, fan_out = fans(weight)
    value = gain(
        balance=balance,
        alpha=alpha,
        surrogate=surrogate,
        threshold=threshold,
        variance=variance,
        input_gain=input_gain,
        fan_in=fan_in,
        fan_out=fan_out,
    )
    return draw_(weight, value, "normal", generator)


def _feeding(connection: Connection, settings: dict[str, Any]) -> Feeding | None:
    if not connection.fed_by:
        return None
    thresholds, heights = connection.feeding
    second = settings["moments"].second
    return Feeding(thresholds.mean().item(), second / heights.square().mean().item(), second)


def _remark(connection: Connection, settings: dict[str, Any]) -> str:
    if not connection.drives:
        return ""
    notes = [driven_neuron(connection).note, sharing(connection), without_synapse(connection)]
    return "; ".join(note for note in notes if note)


METHOD = Method(
    "ikun2024",
    SOURCE,
    gain,
    with_the_network,
    given=("balance", "alpha", "surrogate", "input_second_moment", "input_gain"),
    free=True,
    feeding=_feeding,
    remark=_remark,
    network=first_step.network(gain),
)
