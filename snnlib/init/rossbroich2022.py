r"""Rossbroich et al. 2022: fluctuations of the potential that reach the threshold.

A neuron receives Poisson spikes at rate ν from each of n inputs. With the response ε(t) of its
potential to one spike of weight 1, and with weights of mean μ_w and variance σ_w², its potential
without reset has

    μ_U = n ν ε̄ μ_w,      σ_U² = n ν ε̂ (σ_w² + μ_w²),      ε̄ = ∫ ε dt,   ε̂ = ∫ ε² dt,

σ_U² over time, averaged over neurons. The method asks that the threshold lies ξ standard deviations
above the mean, ξ = (θ − μ_U)/σ_U, so that

    μ_w = μ_U / (n ν ε̄),      σ_w² = ((θ − μ_U)/ξ)² / (n ν ε̂) − μ_w²  >= 0.

The authors recommend 1 <= ξ <= 3. In discrete time sums over steps replace the integrals, and a
neuron u[t] = β u[t−1] + λ i[t] has ε̄ = λ/(1 − β) and ε̂ = λ²/(1 − β²), so that for zero mean

    G = n σ_w² = (θ/ξ)² (1 − β²) / (λ² p),      p the probability of a spike per step.

Weights stay the same over time, though, so the currents of two steps are correlated over neurons:
with `coherent=True` σ_U² is the variance over neurons and time of Bernoulli inputs,

    σ_U² = p(1−p) ε̂ n E[w²] + p² ε̄² n σ_w².

Where several weights drive one layer they share one mean, and the variance is split: a share α goes
to the feed-forward weights, 1 − α to the recurrent ones.

Source: Rossbroich, Gygax, Zenke, Fluctuation-driven initialization for spiking neural network
training, 2022, read in the authors' published code; the coherent form and the discrete kernels are
derived here.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from scipy.special import ndtr, ndtri
from torch import Tensor

from snnlib.init.method import Feeding, Method, check_positive, draw_, driven_neuron
from snnlib.init.pairing import Connection, fans

SOURCE = "Rossbroich et al. 2022, from the authors' code"


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


class Kernel(NamedTuple):
    """Response of the potential to one spike of weight 1.

    Attributes:
        integral: ε̄, over time (sum over steps in discrete time).
        square: ε̂, of the square likewise.
    """

    integral: float
    square: float


def exponential_kernel(*, tau_membrane: float, tau_synapse: float) -> Kernel:
    r"""Integrals of the current-based double-exponential response.

    ε(t) = τ_s/(τ_m − τ_s) (e^(−t/τ_m) − e^(−t/τ_s)),    ε̄ = τ_s,    ε̂ = τ_s²/(2 (τ_m + τ_s)).

    Args:
        tau_membrane: τ_m > 0.
        tau_synapse: τ_s > 0 in the same unit; τ_s = τ_m is the limit.

    Returns:
        The kernel's integrals, in that unit.

    Raises:
        ValueError: If a time constant is not positive and finite.

    Source: Rossbroich et al. 2022, the authors' code.

    Example:
        >>> exponential_kernel(tau_membrane=20.0, tau_synapse=5.0)
        Kernel(integral=5.0, square=0.5)
    """
    membrane = check_positive("tau_membrane", tau_membrane)
    synapse = check_positive("tau_synapse", tau_synapse)
    return Kernel(synapse, synapse**2 / (2 * (membrane + synapse)))


def discrete_kernel(
    *,
    leak: float,
    synapse: float | None = None,
    input_gain: float = 1.0,
    delay: float = 0.0,
) -> Kernel:
    r"""Sums of the discrete response, without or with a synaptic current.

    The neuron is u[t] = β u[t−1] + λ c[t] with c[t] = κ c[t−1] + i[t] (κ = 0: no synapse), so

        ε[k] = λ (β^(k+1) − κ^(k+1))/(β − κ),      ε̄ = λ / ((1 − β)(1 − κ)),
        ε̂ = λ² (1 + βκ) / ((1 − β²)(1 − κ²)(1 − βκ)).

    A delay of whole steps changes neither; a fraction d of a step, u[t] = β u[t−1] +
    λ ((1−d) c[t] + d c[t−1]), multiplies ε̂ by 1 − 2d(1−d)(1 − (β + κ)/(1 + βκ)).

    Args:
        leak: β in [0, 1).
        synapse: κ in [0, 1), decay of the synaptic current per step; None: no synapse.
        input_gain: λ > 0.
        delay: Steps between an input and its effect, >= 0.

    Returns:
        The kernel's sums.

    Raises:
        ValueError: If an argument is outside its range.

    Source: derived here; without a synapse as in code of SpikeInit 2026.

    Example:
        >>> discrete_kernel(leak=0.5)
        Kernel(integral=2.0, square=1.3333333333)
        >>> response = [sum(0.5**j * 0.8 ** (k - j) for j in range(k + 1)) for k in range(200)]
        >>> kernel = discrete_kernel(leak=0.8, synapse=0.5)
        >>> abs(sum(response) - kernel.integral) < 1e-9
        True
        >>> abs(sum(e * e for e in response) - kernel.square) < 1e-9
        True
    """
    kappa = 0.0 if synapse is None else synapse
    for name, value in (("leak", leak), ("synapse", kappa)):
        if not 0 <= value < 1:
            raise ValueError(
                f"{name} must satisfy 0 <= {name} < 1 (the variance of the potential grows "
                f"without bound otherwise), got {value!r}; nearest feasible: "
                f"{0.0 if value < 0 else 'just below 1'}"
            )
    scale = check_positive("input_gain", input_gain)
    if not 0 <= delay < math.inf:
        raise ValueError(f"delay must be >= 0 and finite, got {delay!r}")
    square = (1 + leak * kappa) / ((1 - leak**2) * (1 - kappa**2) * (1 - leak * kappa))
    part = delay % 1
    # Neighbouring values of the response are correlated by (β + κ)/(1 + βκ).
    square *= 1 - 2 * part * (1 - part) * (1 - (leak + kappa) / (1 + leak * kappa))
    return Kernel(scale / ((1 - leak) * (1 - kappa)), scale**2 * square)


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
    _check_fan_in(fan_in)
    moments = _Moments.poisson(check_positive("rate", rate))
    value, centre = _solve(kernel, moments, threshold, xi, mean, fan_in, fan_in, 1.0, False)
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
    moments = _Moments.poisson(check_positive("rate", rate))
    _check_alpha(alpha)
    stds = []
    total = _check_fan_in(fan_in) + _check_fan_in(recurrent_fan_in, "recurrent_fan_in")
    centre = 0.0
    for inputs, share in ((fan_in, alpha), (recurrent_fan_in, 1 - alpha)):
        value, centre = _solve(kernel, moments, threshold, xi, mean, inputs, total, share, False)
        stds.append(_std(value, inputs, centre))
    return SplitParameters(centre, *stds)


def gain(
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
) -> float:
    r"""G = n·E[w²] in discrete time: (θ/ξ)² (1 − β²)/(λ² p) for zero mean and no synapse.

    In general, with the sums ε̄ and ε̂ of `discrete_kernel`,

        G = s ((θ − μ_U)/ξ)² / (p ε̂),      or coherent, with N inputs in all,
        G = (s ((θ − μ_U)/ξ)² + n μ_w² p² ε̄²) / (p(1−p) ε̂ + p² ε̄²),   μ_w = μ_U/(N p ε̄).

    Args:
        rate: p, probability per step that an input spikes: below 1/2 for zero mean.
        leak: β in [0, 1) of the driven neurons.
        threshold: θ of the driven neurons.
        xi: ξ > 0; None takes the ξ at which the Gaussian tail is the rate itself, Q(ξ) = p < 1/2.
        mean: μ_U < θ, mean of the potential.
        input_gain: λ > 0, what the neuron multiplies its current with.
        fan_in: n; needed with a mean other than 0, whose feasibility depends on it.
        coherent: Count the correlation in time that fixed weights bring; else the steps are
            independent, as for the variance over time of Poisson inputs.
        synapse: Decay κ per step of a synaptic current; None: no synapse.
        delay: Steps between an input and its effect; only a fraction of a step plays a part.
        share: s in (0, 1] of the variance that comes from this weight; 1 if it is the only one.
        total_fan_in: N, inputs of all weights that drive the layer; None: n.
        input_mean: E[x] where the input is not spikes of height 1; None: p.
        input_second_moment: E[x²] likewise.

    Returns:
        The gain.

    Raises:
        ValueError: If an argument is outside its range, the mean is not below the threshold, or
            σ_w² would be negative: then with the inequality and the nearest feasible values.

    Source: Rossbroich et al. 2022; the discrete and the coherent form are derived here.

    Example:
        >>> round(gain(rate=0.1, leak=0.5), 12)
        7.5
        >>> round(gain(rate=0.1, leak=0.5, xi=2.0), 12)
        1.875

        Micheli's gain is the case without leak in which the rate is the Gaussian tail:

        >>> from snnlib.init import micheli2024
        >>> tail = micheli2024.second_moment(1.0)
        >>> abs(gain(rate=tail, leak=0.0) - micheli2024.gain()) < 1e-12
        True
    """
    value, _ = _law(
        rate=rate,
        leak=leak,
        threshold=threshold,
        xi=xi,
        mean=mean,
        input_gain=input_gain,
        fan_in=fan_in,
        coherent=coherent,
        synapse=synapse,
        delay=delay,
        share=share,
        total_fan_in=total_fan_in,
        input_mean=input_mean,
        input_second_moment=input_second_moment,
    )
    return value


def rossbroich2022_(
    weight: Tensor,
    threshold: float = 1.0,
    generator: torch.Generator | None = None,
    *,
    rate: float,
    leak: float,
    xi: float | None = 1.0,
    mean: float = 0.0,
    input_gain: float = 1.0,
    coherent: bool = False,
    synapse: float | None = None,
) -> Tensor:
    r"""Fill a weight in place from N(μ_w, σ_w²), the discrete form for a single weight.

    Args:
        weight: Weight of a linear layer [out, in] or a convolution [out, in / groups, k, ...].
        threshold: θ of the driven neurons.
        generator: Random numbers; None is torch's global generator.
        rate: p, probability per step that an input spikes: below 1/2 for zero mean.
        leak: β in [0, 1) of the driven neurons.
        xi: ξ > 0; None takes the ξ at which Q(ξ) is the rate.
        mean: μ_U < θ, mean of the potential.
        input_gain: λ > 0, what the neuron multiplies its current with.
        coherent: Count the correlation in time that fixed weights bring, see `gain`.
        synapse: Decay per step of a synaptic current; None: no synapse.

    Returns:
        The weight.

    Raises:
        ValueError: As `gain`; and if the weight is empty or the generator lives on another device.

    Source: Rossbroich et al. 2022.

    Example:
        >>> draw = torch.Generator().manual_seed(0)
        >>> weight = rossbroich2022_(torch.empty(400, 500), 1.0, draw, rate=0.1, leak=0.5)
        >>> abs(500 * weight.var().item() / 7.5 - 1) < 0.02
        True
    """
    fan_in, _ = fans(weight)
    value, centre = _law(
        rate=rate,
        leak=leak,
        threshold=threshold,
        xi=xi,
        mean=mean,
        input_gain=input_gain,
        fan_in=fan_in,
        coherent=coherent,
        synapse=synapse,
    )
    return draw_(weight, value, "normal", generator, mean=centre)


# --- The solution -------------------------------------------------------------------------------


class _Moments(NamedTuple):
    """Of the input per step (per unit of time).

    Attributes:
        mean: E[x].
        second: E[x²].
    """

    mean: float
    second: float

    @staticmethod
    def poisson(rate: float) -> _Moments:
        return _Moments(rate, rate)


def _law(
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
    """Gain and mean of the weights in discrete time."""
    kernel = discrete_kernel(leak=leak, synapse=synapse, input_gain=input_gain, delay=delay)
    xi = _distance(rate, xi, mean)
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
        _check_fan_in(fan_in)
    return _solve(
        kernel,
        _Moments(first, second),
        threshold,
        xi,
        mean,
        fan_in,
        fan_in if total_fan_in is None else total_fan_in,
        share,
        coherent,
    )


def _distance(rate: float, xi: float | None, mean: float) -> float:
    """ξ, with the rate in its range."""
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


def _solve(
    kernel: Kernel,
    moments: _Moments,
    threshold: float,
    xi: float,
    mean: float,
    fan_in: int | None,
    total: int | None,
    share: float,
    coherent: bool,
) -> tuple[float, float]:
    """Gain n·E[w²] and mean of the weights; refuses what is outside the feasible region."""
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
        nearest = threshold * reach / (1 + reach) if math.isfinite(reach) else threshold
        raise ValueError(
            f"mean must satisfy mean < threshold = {threshold:.6g}, got {mean!r}; nearest "
            "feasible: "
            + (
                f"mean = {_below(nearest):.6g}"
                if threshold > 0 and nearest < threshold
                else f"just below {threshold:.6g}"
            )
        )
    target = share * ((threshold - mean) / xi) ** 2
    if mean == 0:
        return target / (noise + drift), 0.0
    assert fan_in is not None and total is not None
    if abs(mean) > reach * (threshold - mean) * (1 + 1e-12):
        raise ValueError(_infeasible(mean, threshold, xi, reach))
    centre = mean / (total * push)
    return (target + drift * fan_in * centre**2) / (noise + drift), centre


def _infeasible(mean: float, threshold: float, xi: float, reach: float) -> str:
    """σ_w² < 0: the inequality with its numbers, and what is nearest to the request."""
    bound = reach * xi
    widest = bound * (threshold - mean) / abs(mean)
    bounds = []
    if mean > 0 < threshold:
        bounds.append(f"mean = {_below(threshold * reach / (1 + reach)):.6g}")
    elif mean < 0 and reach < 1 and threshold > 0:
        bounds.append(f"mean = {-_below(threshold * reach / (1 - reach)):.6g}")
    if widest > 0:
        bounds.append(f"xi = {_below(widest):.6g} at this mean")
    return (
        "sigma_w^2 >= 0 is violated: it needs |mean| * xi <= "
        f"{bound:.6g} * (threshold - mean), got mean={mean!r}, xi={xi!r}, "
        f"threshold={threshold!r}"
        + (f"; nearest feasible: {' or '.join(bounds)}" if bounds else "")
    )


def _below(value: float) -> float:
    """The value rounded down to six digits, so that what an error prints is feasible."""
    if value == 0:
        return 0.0
    unit = 10.0 ** (math.floor(math.log10(abs(value))) - 5)
    return math.floor(value / unit) * unit


def _std(gain: float, fan_in: int, mean: float) -> float:
    return math.sqrt(max(gain / fan_in - mean**2, 0.0))


def _check_fan_in(fan_in: int, name: str = "fan_in") -> int:
    if not fan_in >= 1:
        raise ValueError(f"{name} must be at least 1, got {fan_in!r}")
    return fan_in


def _check_alpha(alpha: float) -> None:
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must satisfy 0 < alpha < 1, got {alpha!r}")


# --- In a network -------------------------------------------------------------------------------


def _resolve(connection: Connection, **given: Any) -> dict[str, Any]:
    """Neuron and share of the driven layer, moments of the input."""
    given = dict(given)
    alpha = given.pop("alpha", 0.9)
    _check_alpha(alpha)
    neuron = driven_neuron(connection)
    afferents = connection.afferents or ((connection.fan_in, connection.recurrent),)
    same = sum(recurrent == connection.recurrent for _, recurrent in afferents)
    both = same < len(afferents)
    share = ((1 - alpha) if connection.recurrent else alpha) if both else 1.0
    settings: dict[str, Any] = {
        "leak": neuron.leak,
        "threshold": neuron.threshold,
        "input_gain": neuron.input_gain,
        "synapse": neuron.synapse,
        "delay": neuron.delay,
        "fan_in": connection.fan_in,
        "share": share / same,
        "total_fan_in": sum(fan_in for fan_in, _ in afferents),
    }
    if connection.fed_by:
        _, heights = connection.feeding
        rate = given.get("rate", math.nan)
        settings["input_mean"] = rate * heights.mean().item()
        settings["input_second_moment"] = rate * heights.square().mean().item()
        for name in ("input_mean", "input_second_moment"):  # meant for data
            given.pop(name, None)
    else:
        measured = connection.second_moment
        settings["input_second_moment"] = 1.0 if measured is None else measured
        settings["input_mean"] = connection.mean
        if connection.mean is None and "input_mean" not in given:
            if given.get("mean", 0.0) != 0:
                raise ValueError(
                    f"mean={given['mean']!r} needs E[x] of the data that feed "
                    f"{connection.name!r}: pass example= or input_mean="
                )
            settings["input_mean"] = 0.0
    settings |= given
    if "rate" not in given:  # checked_gain says so
        settings.pop("input_mean"), settings.pop("input_second_moment")
    return settings


def _mean(**settings: Any) -> float:
    return _law(**settings)[1]


def _rate(connection: Connection, settings: dict[str, Any]) -> float:
    """P(u > θ) of the potential without reset: Q(ξ)."""
    xi = _distance(settings["rate"], settings.get("xi", 1.0), settings.get("mean", 0.0))
    return float(ndtr(-xi))


def _feeding(connection: Connection, settings: dict[str, Any]) -> Feeding | None:
    if not connection.fed_by:
        return None
    return Feeding(None, settings["rate"], settings["input_second_moment"])


def _remark(connection: Connection, settings: dict[str, Any]) -> str:
    notes = [driven_neuron(connection).note]
    if settings["share"] < 1:
        notes.append(f"{settings['share']:.4g} of the variance of the potential")
    centre = _mean(**settings)
    if centre != 0:
        notes.append(f"weights of mean {centre:.4g}")
    if settings["synapse"] is not None:
        notes.append("kernel with synaptic current")
    return "; ".join(note for note in notes if note)


METHOD = Method(
    "rossbroich2022",
    SOURCE,
    gain,
    _resolve,
    given=(
        "rate",
        "xi",
        "mean",
        "coherent",
        "alpha",
        "leak",
        "threshold",
        "input_gain",
        "synapse",
        "delay",
        "input_mean",
        "input_second_moment",
    ),
    mean=_mean,
    rate=_rate,
    feeding=_feeding,
    remark=_remark,
)
