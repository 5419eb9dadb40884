r"""Weights whose fluctuations of the potential reach the threshold, for any response of a neuron.

With the response's ε̄ = ∫ ε dt and ε̂ = ∫ ε² dt, inputs of mean E[x] and second moment E[x²] per unit
of time, and ξ = (θ − μ_U)/σ_U standard deviations between mean and threshold,

    μ_w = μ_U / (n E[x] ε̄),      σ_w² = ((θ − μ_U)/ξ)² / (n E[x²] ε̂) − μ_w²  >= 0.

Weights stay the same over time, though, so the currents of two steps are correlated over neurons:
`coherent=True` takes σ_U² as the variance over neurons and time of Bernoulli inputs,

    σ_U² = (E[x²] − E[x]²) ε̂ n E[w²] + E[x]² ε̄² n σ_w².

Where several weights drive one layer they share one mean, and the variance is split.

Source: Rossbroich et al. 2022; the coherent form is derived here.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from scipy.special import ndtri

from snnlib._checks import check_positive, scalars
from snnlib.init import infeasible
from snnlib.init.connection import Connection
from snnlib.meanfield.synapse import Kernel, discrete_kernel, exponential_kernel


class Parameters(NamedTuple):
    """Law of the weights.

    Attributes:
        weight_mean: μ_w.
        weight_std: σ_w.
    """

    weight_mean: float
    weight_std: float


class SplitParameters(NamedTuple):
    """Law of the weights of a layer with recurrent weights.

    Attributes:
        weight_mean: μ_w, the same for all weights.
        feedforward_std: σ_w of the feed-forward weights.
        recurrent_std: σ_w of the recurrent weights.
    """

    weight_mean: float
    feedforward_std: float
    recurrent_std: float


@scalars("fan_in", "rate", "tau_membrane", "tau_synapse", "mean", "xi", "threshold")
def parameters(
    *,
    fan_in: int,
    rate: float,
    tau_membrane: float,
    tau_synapse: float,
    mean: float = 0.0,
    xi: float = 1.0,
    threshold: float = 1.0,
) -> Parameters:
    r"""Mean and standard deviation of the weights of current-based neurons in continuous time.

    μ_w = μ_U/(n ν ε̄),   σ_w² = ((θ − μ_U)/ξ)²/(n ν ε̂) − μ_w²,   ε̄ = τ_s,   ε̂ = τ_s²/(2(τ_m + τ_s)).

    Args:
        fan_in: n >= 1 inputs.
        rate: ν > 0 of each input, in spikes per unit of the time constants.
        tau_membrane: τ_m > 0.
        tau_synapse: τ_s > 0.
        mean: μ_U < θ, mean of the potential.
        xi: ξ > 0, distance from the mean to the threshold in standard deviations.
        threshold: θ.

    Returns:
        (weight_mean, weight_std), for a synaptic current I that jumps by w at a spike and decays
        with τ_s, and a membrane τ_m dU/dt = −U + I.

    Raises:
        ValueError: If an argument is outside its range, the mean is not below the threshold, or
            σ_w² would be negative: then with the inequality and the nearest feasible mean and ξ.

    Source: Rossbroich et al. 2022, the authors' code.

    Example:
        >>> law = parameters(fan_in=100, rate=0.01, tau_membrane=20.0, tau_synapse=5.0)
        >>> law == (0.0, (1 / (100 * 0.01 * 0.5)) ** 0.5)
        True
    """
    kernel = exponential_kernel(tau_membrane=tau_membrane, tau_synapse=tau_synapse)
    check_fan_in(fan_in)
    moments = InputMoments.poisson(check_positive("rate", rate))
    value, centre = solve(kernel, moments, threshold, xi, mean, fan_in, fan_in, 1.0, False)
    return Parameters(centre, _std(value, fan_in, centre))


def recurrent_parameters(
    *,
    fan_in: int,
    recurrent_fan_in: int,
    rate: float,
    tau_membrane: float,
    tau_synapse: float,
    mean: float = 0.0,
    xi: float = 1.0,
    threshold: float = 1.0,
    alpha: float = 0.9,
) -> SplitParameters:
    r"""Weights of a recurrent layer: a share α of the variance comes from the feed-forward inputs.

    All weights share the mean μ_w = μ_U/((n_ff + n_rec) ν ε̄), and with s = α or 1 − α

        σ_w² = s ((θ − μ_U)/ξ)²/(n ν ε̂) − μ_w²,      n = n_ff or n_rec.

    Args:
        fan_in: n_ff >= 1 feed-forward inputs.
        recurrent_fan_in: n_rec >= 1 recurrent inputs.
        rate: ν > 0 of each input, in spikes per unit of the time constants.
        tau_membrane: τ_m > 0.
        tau_synapse: τ_s > 0.
        mean: μ_U < θ, mean of the potential.
        xi: ξ > 0, distance from the mean to the threshold in standard deviations.
        threshold: θ.
        alpha: α in (0, 1), share of the feed-forward inputs in the variance of the potential.

    Returns:
        (weight_mean, feedforward_std, recurrent_std).

    Raises:
        ValueError: As `parameters`; and if `alpha` is not between 0 and 1.

    Source: Rossbroich et al. 2022, the authors' code.

    Example:
        >>> taus = dict(rate=0.01, tau_membrane=20.0, tau_synapse=5.0)
        >>> law = recurrent_parameters(fan_in=100, recurrent_fan_in=50, alpha=0.8, **taus)
        >>> variance = 0.01 * 0.5 * (100 * law.feedforward_std**2 + 50 * law.recurrent_std**2)
        >>> round(variance, 12)
        1.0
    """
    kernel = exponential_kernel(tau_membrane=tau_membrane, tau_synapse=tau_synapse)
    moments = InputMoments.poisson(check_positive("rate", rate))
    check_alpha(alpha)
    stds = []
    total = check_fan_in(fan_in) + check_fan_in(recurrent_fan_in, "recurrent_fan_in")
    centre = 0.0
    for inputs, share in ((fan_in, alpha), (recurrent_fan_in, 1 - alpha)):
        value, centre = solve(kernel, moments, threshold, xi, mean, inputs, total, share, False)
        stds.append(_std(value, inputs, centre))
    return SplitParameters(centre, *stds)


class InputMoments(NamedTuple):
    """Of the input per step (per unit of time).

    Attributes:
        mean: E[x].
        second: E[x²].
    """

    mean: float
    second: float

    @staticmethod
    def poisson(rate: float) -> InputMoments:
        """Of Poisson spikes."""
        return InputMoments(rate, rate)


def discrete_law(
    *,
    rate: float,
    leak: float,
    threshold: float = 1.0,
    xi: float | None = 1.0,
    mean: float = 0.0,
    input_gain: float = 1.0,
    fan_in: int | None = None,
    coherent: bool = False,
    synapse: float | None = None,
    delay: float = 0.0,
    share: float = 1.0,
    total_fan_in: int | None = None,
    input_mean: float | None = None,
    input_second_moment: float | None = None,
) -> tuple[float, float]:
    """Gain n·E[w²] and mean of the weights in discrete time.

    Args and Raises are those of `snnlib.init.rossbroich2022.gain`.
    """
    kernel = discrete_kernel(leak=leak, synapse=synapse, input_gain=input_gain, delay=delay)
    xi = distance(rate, xi, mean)
    second = rate if input_second_moment is None else input_second_moment
    second = check_positive("input_second_moment", second)
    first = rate if input_mean is None else float(input_mean)
    if not first**2 <= second * (1 + 1e-9):
        raise ValueError(
            f"input_mean must satisfy E[x]² <= E[x²] = {second:.6g}, got {input_mean!r}"
        )
    if not 0 < share <= 1:
        raise ValueError(f"share must satisfy 0 < share <= 1, got {share!r}")
    if fan_in is not None:
        check_fan_in(fan_in)
    return solve(
        kernel,
        InputMoments(first, second),
        threshold,
        xi,
        mean,
        fan_in,
        fan_in if total_fan_in is None else total_fan_in,
        share,
        coherent,
    )


def distance(rate: float, xi: float | None, mean: float) -> float:
    """ξ, with the rate in its range; None is the ξ at which Q(ξ) is the rate.

    Raises:
        ValueError: If a number is outside its range.
    """
    if not 0 < rate < 1:
        raise ValueError(f"rate must satisfy 0 < rate < 1 per step, got {rate!r}")
    if (mean == 0 or xi is None) and rate >= 0.5:
        raise ValueError(
            "rate must satisfy 0 < rate < 1/2"
            + (" for zero mean" if mean == 0 else " with xi=None")
            + ": a potential whose mean is below the threshold exceeds it less than half of the "
            f"time, got {rate!r}; nearest feasible: just below 0.5"
        )
    return -float(ndtri(rate)) if xi is None else check_positive("xi", xi)


def solve(
    kernel: Kernel,
    moments: InputMoments,
    threshold: float,
    xi: float,
    mean: float,
    fan_in: int | None,
    total: int | None,
    share: float,
    coherent: bool,
) -> tuple[float, float]:
    """Gain n·E[w²] and mean of the weights; refuses what is outside the feasible region.

    Args:
        kernel: ε̄ and ε̂ of the neuron.
        moments: Of the input.
        threshold: θ.
        xi: ξ > 0.
        mean: μ_U.
        fan_in: n; needed with a mean other than 0.
        total: Inputs of all weights that drive the layer.
        share: s of the variance that comes from this weight.
        coherent: Count the correlation in time that fixed weights bring.

    Raises:
        ValueError: With the inequality and the nearest feasible values.
    """
    check_positive("xi", xi)
    if not math.isfinite(threshold) or not math.isfinite(mean):
        raise ValueError(f"threshold and mean must be finite, got {threshold!r} and {mean!r}")
    # σ_U² = noise·G + drift·n·σ_w²
    drift = (kernel.integral * moments.mean) ** 2 if coherent else 0.0
    noise = kernel.square * moments.second
    if coherent:
        noise = kernel.square * max(moments.second - moments.mean**2, 0.0)
    if mean != 0 and (fan_in is None or total is None):
        raise ValueError(f"fan_in is needed with a mean other than 0, got mean={mean!r}")
    # Largest |mean| in units of the distance to the threshold at which σ_w² >= 0.
    reach = math.inf
    push = kernel.integral * moments.mean
    if fan_in is not None and total is not None and noise > 0:
        reach = total * abs(push) * math.sqrt(share / (fan_in * noise)) / xi
    if not mean < threshold:
        raise infeasible.mean_above_threshold(mean, threshold, reach)
    target = share * ((threshold - mean) / xi) ** 2
    if mean == 0:
        return target / (noise + drift), 0.0
    assert fan_in is not None and total is not None
    if abs(mean) > reach * (threshold - mean) * (1 + 1e-12):
        raise infeasible.fluctuations(mean, threshold, xi, reach)
    centre = mean / (total * push)
    return (target + drift * fan_in * centre**2) / (noise + drift), centre


def _std(gain: float, fan_in: int, mean: float) -> float:
    return math.sqrt(max(gain / fan_in - mean**2, 0.0))


def check_fan_in(fan_in: int, name: str = "fan_in") -> int:
    """The fan-in, refused below 1."""
    if not fan_in >= 1:
        raise ValueError(f"{name} must be at least 1, got {fan_in!r}")
    return fan_in


def variance_share(connection: Connection, alpha: float) -> tuple[float, int]:
    """Share of the potential's variance that one weight makes, and inputs of all that drive it.

    Args:
        connection: The weight.
        alpha: α in (0, 1), share of the feed-forward weights where there are recurrent ones.

    Returns:
        (share, total fan-in).

    Raises:
        ValueError: If `alpha` is not between 0 and 1.
    """
    check_alpha(alpha)
    afferents = connection.afferents or ((connection.fan_in, connection.recurrent),)
    same = sum(recurrent == connection.recurrent for _, recurrent in afferents)
    both = same < len(afferents)
    share = ((1 - alpha) if connection.recurrent else alpha) if both else 1.0
    return share / same, sum(fan_in for fan_in, _ in afferents)


def check_alpha(alpha: float) -> None:
    """Refuse a share of the variance that is not between 0 and 1."""
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must satisfy 0 < alpha < 1, got {alpha!r}")
