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

`coherent=True` counts that weights stay the same over time. Where several weights drive one layer
they share one mean, and the variance is split: a share α goes to the feed-forward weights, 1 − α to
the recurrent ones. `fluctuations` solves for the weights.

Source: Rossbroich, Gygax, Zenke 2022, read in the authors' published code; the coherent form and
the discrete kernels are derived here.
"""

from __future__ import annotations

from typing import Any

import torch
from scipy.special import ndtr
from torch import Tensor

from snnlib._checks import scalars
from snnlib.init.connection import Connection, fans
from snnlib.init.fluctuations import discrete_law, distance, variance_share
from snnlib.init.fluctuations import parameters as parameters
from snnlib.init.fluctuations import recurrent_parameters as recurrent_parameters
from snnlib.init.input_statistics import moments_at_rate
from snnlib.init.method import Feeding, Method, draw_, driven_neuron
from snnlib.meanfield import discrete_kernel as discrete_kernel
from snnlib.meanfield import exponential_kernel as exponential_kernel

SOURCE = "Rossbroich et al. 2022, from the authors' code"


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
    value, _ = discrete_law(
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


@scalars("threshold", "rate", "leak", "xi", "mean", "input_gain")
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
    value, centre = discrete_law(
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


def _resolve(connection: Connection, **given: Any) -> dict[str, Any]:
    """Neuron and share of the driven layer, moments of the input."""
    share, total = variance_share(connection, given.pop("alpha", 0.9))
    neuron = driven_neuron(connection)
    settings: dict[str, Any] = {
        "leak": neuron.leak,
        "threshold": neuron.threshold,
        "input_gain": neuron.input_gain,
        "synapse": neuron.synapse,
        "delay": neuron.delay,
        "fan_in": connection.fan_in,
        "share": share,
        "total_fan_in": total,
    }
    return settings | moments_at_rate(connection, given)


def _mean(**settings: Any) -> float:
    return discrete_law(**settings)[1]


def _rate(connection: Connection, settings: dict[str, Any]) -> float:
    """P(u > θ) of the potential without reset: Q(ξ)."""
    xi = distance(settings["rate"], settings.get("xi", 1.0), settings.get("mean", 0.0))
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
        *("rate", "xi", "mean", "coherent", "alpha", "leak", "threshold", "input_gain", "synapse"),
        *("delay", "input_mean", "input_second_moment"),
    ),
    mean=_mean,
    rate=_rate,
    feeding=_feeding,
    remark=_remark,
)
