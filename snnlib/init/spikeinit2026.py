r"""SpikeInit, Shi & Yu 2026: the gain that sustains a steady state of a given rate.

The neuron is u[t] = β u[t−1] (1 − x[t−1]) + λ i[t], x = 1{u > θ} (reset to zero), driven by a
current that is independent from step to step, N(0, σ²p) for weights of variance σ²/n and spikes of
probability p. If the potential were N(μ, s²) in the steady state, with a = (θ − μ)/s,

    μ = β [μ Φ(a) − s φ(a)],
    μ² + s² = β² [(μ² + s²) Φ(a) − s (θ + μ) φ(a)] + (λσ)² p,

and the neuron would fire with probability Q(a). That is p for a = Q⁻¹(p), which solves the system:

    μ = −c s,    c = β φ(a)/(1 − β(1 − p)),    s = θ/(a − c),

feasible where a > c. (λσ)² follows from the second line, and G = σ². The Gaussian law is a closure,
not the truth. Simulated neurons fire at a rate within 4 % of p for β <= 0.5 and p >= 0.01, within
18 % for β = 0.9: less often where spikes are rare, more often near the largest rate.

A first layer with a constant input has a constant current N(0, σ₁²): a neuron fires every k+1
steps if θ/S_k < λi <= θ/S_{k−1} with S_k = 1 + β + … + β^k, so that σ₁ follows from

    p = Q(θ/σ₁) + Σ_{k>=1} 1/(k+1) [Φ(θ/(σ₁ S_{k−1})) − Φ(θ/(σ₁ S_k))].

Backwards, with the reset detached, the variance of the gradient stays if

    E[σ'(u)²] = (1 − r)/(λσ)²,     r = (1 − p) β²,

or, over T steps, with 1/(1 − r) replaced by (1/T) Σ_{t<T} (1 − r^(t+1))/(1 − r). It fixes the
sharpness α of the surrogate α e^(−2α|u − θ|).

Source: Shi, Yu, Training deep spiking neural networks without normalization, 2026, read in the
authors' published code (theorem 4.1, algorithms 1 and 2, theorem 5.1; the finite T from the
variant of it that simulates the neurons). The code finds the closure's root by bisection; its
closed form and its feasible region are derived here.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri
from torch import Tensor

from snnlib.init.method import Feeding, Method, check_positive, draw_, driven_neuron, sharing
from snnlib.init.pairing import Connection
from snnlib.surrogate import Surrogate

SOURCE = "Shi & Yu 2026 (SpikeInit), from the authors' code"


class Parameters(NamedTuple):
    """What SpikeInit sets.

    Attributes:
        weight_scale: σ of weights N(0, σ²/n) behind spikes; σ² = G.
        first_layer_scale: The same for the first layer with constant input of E[x²] = 1.
        membrane_mean: μ of the potential in the steady state.
        membrane_std: s of the potential in the steady state.
        sharpness: α of the surrogate α e^(−2α|u − θ|), which is
            `Surrogate("exponential", dampening=α, sharpness=α)`.
    """

    weight_scale: float
    first_layer_scale: float
    membrane_mean: float
    membrane_std: float
    sharpness: float


def parameters(
    *,
    threshold: float,
    leak: float,
    rate: float,
    input_gain: float = 1.0,
    steps: int | None = None,
) -> Parameters:
    r"""Weights, potential and surrogate of a network that fires at a given rate.

    Args:
        threshold: θ > 0.
        leak: β in [0, 1).
        rate: p, firing probability per step, 0 < p < `largest_rate(leak)` <= 1/2.
        input_gain: λ > 0, what the neuron multiplies its current with.
        steps: T >= 1 steps over which the gradient flows, for the sharpness; None: many.

    Returns:
        The parameters.

    Raises:
        ValueError: If an argument is outside its range; for the rate and the leak with the
            inequality and the nearest feasible value.

    Source: Shi & Yu 2026, theorem 4.1, algorithms 1 and 2, theorem 5.1.

    Example:
        Without leak, every step stands alone and G is the gain of Micheli et al. at s = 1:

        >>> from snnlib.init import micheli2024
        >>> rate = micheli2024.second_moment(1.0)
        >>> law = parameters(threshold=1.0, leak=0.0, rate=rate)
        >>> abs(law.weight_scale**2 - micheli2024.gain()) < 1e-12
        True
        >>> abs(law.membrane_mean) < 1e-15, round(law.membrane_std, 12)
        (True, 1.0)
    """
    state = steady_state(threshold=threshold, leak=leak, rate=rate)
    scale = state.input_std / (check_positive("input_gain", input_gain) * math.sqrt(rate))
    moment = surrogate_second_moment(
        leak=leak, rate=rate, weight_scale=scale, input_gain=input_gain, steps=steps
    )
    return Parameters(
        scale,
        static_std(threshold=threshold, leak=leak, rate=rate) / input_gain,
        state.mean,
        state.std,
        sharpness(moment, threshold=threshold, mean=state.mean, std=state.std),
    )


class SteadyState(NamedTuple):
    """Gaussian closure of the steady state.

    Attributes:
        mean: μ of the potential before the reset.
        std: s likewise.
        input_std: Standard deviation λσ√p of what enters the potential at each step.
    """

    mean: float
    std: float
    input_std: float


def steady_state(*, threshold: float, leak: float, rate: float) -> SteadyState:
    r"""Solve the Gaussian closure for a firing rate.

    a = Q⁻¹(p),  c = β φ(a)/(1 − β(1 − p)),  s = θ/(a − c),  μ = −c s, and

    (λσ)² p = (μ² + s²)(1 − β²(1 − p)) + β² s (θ + μ) φ(a).

    Args:
        threshold: θ > 0.
        leak: β in [0, 1).
        rate: p in (0, `largest_rate(leak)`).

    Returns:
        Mean and standard deviation of the potential, and of the input that keeps them.

    Raises:
        ValueError: If an argument is outside its range, with the nearest feasible value.

    Source: Shi & Yu 2026, theorem 4.1; the closed form is derived here.

    Example:
        >>> state = steady_state(threshold=1.0, leak=0.0, rate=0.1)
        >>> abs(state.std * float(-ndtri(0.1)) - 1) < 1e-12
        True
    """
    theta = check_positive("threshold", threshold)
    check_rate(rate, leak)
    a, c = _distances(rate, leak)
    s = theta / (a - c)
    mu = -c * s
    density = math.exp(-a * a / 2) / math.sqrt(2 * math.pi)
    second = (mu**2 + s**2) * (1 - leak**2 * (1 - rate))
    return SteadyState(mu, s, math.sqrt(second + leak**2 * s * (theta + mu) * density))


def largest_rate(leak: float) -> float:
    r"""The rate that a zero-mean input cannot reach: a(p) = c(p), 1/2 without leak.

    The reset to zero takes away high potentials only, so the mean of the potential is below 0 and
    the rate below 1/2; the more so the less it leaks.

    Args:
        leak: β in [0, 1).

    Returns:
        The root of Q⁻¹(p) (1 − β(1 − p)) = β φ(Q⁻¹(p)); feasible rates lie below.

    Raises:
        ValueError: If the leak is outside its range.

    Source: derived here.

    Example:
        >>> largest_rate(0.0)
        0.5
        >>> 0.3 < largest_rate(0.5) < 0.5
        True
    """
    _check_leak(leak)
    if leak == 0:
        return 0.5

    def gap(a: float) -> float:
        """(a − c)·(1 − β Φ(a)), at p = Q(a)."""
        density = math.exp(-a * a / 2) / math.sqrt(2 * math.pi)
        return a * (1 - leak * float(ndtr(a))) - leak * density

    high = 1.0
    while gap(high) <= 0:
        high *= 2
    return float(ndtr(-brentq(gap, 0.0, high, xtol=1e-14)))


def static_std(*, threshold: float, leak: float, rate: float) -> float:
    r"""σ₁ of a constant input λi ~ N(0, σ₁²) at which neurons fire at a rate on average.

    p = Q(θ/σ₁) + Σ_{k>=1} 1/(k+1) [Φ(θ/(σ₁ S_{k−1})) − Φ(θ/(σ₁ S_k))],  S_k = 1 + β + … + β^k.

    Args:
        threshold: θ > 0.
        leak: β in [0, 1).
        rate: p in (0, 1/2).

    Returns:
        σ₁.

    Raises:
        ValueError: If an argument is outside its range.

    Source: Shi & Yu 2026, the first layer of algorithm 2.

    Example:
        >>> round(static_std(threshold=1.0, leak=0.0, rate=float(ndtr(-1.0))), 12)
        1.0
    """
    theta = check_positive("threshold", threshold)
    _check_leak(leak)
    _check_half(rate)
    # Beyond this many steps the sum S_k has reached its limit in double precision.
    last = 1 if leak == 0 else max(2, math.ceil(-40 / math.log(leak)))
    sums = (1 - leak ** np.arange(1, last + 1)) / (1 - leak)
    periods = 1.0 / np.arange(1, last + 1)

    def excess(z: float) -> float:
        """Rate at σ₁ = θ/z, minus p; falls with z."""
        fires_by = ndtr(-z / sums)  # probability to fire within the first k+1 steps
        return float(periods @ np.diff(fires_by, prepend=0.0)) - rate

    high = 1.0
    while excess(high) > 0:
        high *= 2
    return theta / float(brentq(excess, 0.0, high, xtol=1e-14))


def surrogate_second_moment(
    *,
    leak: float,
    rate: float,
    weight_scale: float,
    input_gain: float = 1.0,
    steps: int | None = None,
) -> float:
    r"""E[σ'(u)²] that keeps the variance of the gradient from layer to layer.

    (1 − r)/(λσ)² with r = (1 − p)β², over T steps 1/((λσ)² F), F = (1/T) Σ (1 − r^(t+1))/(1 − r).

    Args:
        leak: β in [0, 1].
        rate: p in (0, 1).
        weight_scale: σ > 0, σ² the gain.
        input_gain: λ > 0.
        steps: T >= 1; None: many.

    Returns:
        The second moment of the surrogate derivative.

    Raises:
        ValueError: If an argument is outside its range.

    Source: Shi & Yu 2026, theorem 5.1; the finite T from the authors' simulated variant.

    Example:
        >>> surrogate_second_moment(leak=0.5, rate=0.1, weight_scale=2.0, steps=1)
        0.25
        >>> surrogate_second_moment(leak=0.5, rate=0.2, weight_scale=1.0)
        0.8
    """
    if not 0 <= leak <= 1 or not 0 < rate < 1:
        raise ValueError(f"leak must be in [0, 1] and rate in (0, 1), got {leak!r} and {rate!r}")
    scale = check_positive("weight_scale", weight_scale) * check_positive("input_gain", input_gain)
    r = (1 - rate) * leak**2
    if steps is None:
        return (1 - r) / scale**2
    if steps < 1 or int(steps) != steps:
        raise ValueError(f"steps must be an integer >= 1 or None, got {steps!r}")
    mean_of_sums = float(np.mean((1 - r ** np.arange(1, int(steps) + 1)) / (1 - r)))
    return 1 / (scale**2 * mean_of_sums)


def sharpness(second_moment: float, *, threshold: float, mean: float, std: float) -> float:
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
        >>> alpha = sharpness(0.2, threshold=1.0, mean=0.0, std=1.0)
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


def gain(
    *,
    threshold: float = 1.0,
    leak: float,
    rate: float,
    input_gain: float = 1.0,
    height: float = 1.0,
    input_second_moment: float | None = None,
) -> float:
    r"""G = σ² of the steady state, or of the first layer: σ₁²/(λ² E[x²]).

    Args:
        threshold: θ > 0 of the driven neurons.
        leak: β in [0, 1) of the driven neurons.
        rate: p, firing probability per step, below `largest_rate(leak)`.
        input_gain: λ > 0, what the neuron multiplies its current with.
        height: Root mean square of what one spike sends on; divides G by its square.
        input_second_moment: E[x²] > 0 of a constant real input: then the first layer's gain.

    Returns:
        The gain.

    Raises:
        ValueError: If an argument is outside its range, with the nearest feasible rate.

    Source: Shi & Yu 2026, algorithms 1 and 2.

    Example:
        >>> law = parameters(threshold=0.5, leak=0.5, rate=0.1)
        >>> gain(threshold=0.5, leak=0.5, rate=0.1) == law.weight_scale**2
        True
    """
    check_rate(rate, leak)
    scale = check_positive("input_gain", input_gain)
    if input_second_moment is not None:
        moment = check_positive("input_second_moment", input_second_moment)
        return (static_std(threshold=threshold, leak=leak, rate=rate) / scale) ** 2 / moment
    state = steady_state(threshold=threshold, leak=leak, rate=rate)
    return (state.input_std / (scale * math.sqrt(rate))) ** 2 / check_positive(
        "height", height
    ) ** 2


def spikeinit2026_(
    weight: Tensor,
    threshold: float = 1.0,
    generator: torch.Generator | None = None,
    *,
    leak: float,
    rate: float,
    input_gain: float = 1.0,
) -> Tensor:
    r"""Fill a weight in place from N(0, σ²/n), for a layer that receives spikes.

    Args:
        weight: Weight of a linear layer [out, in] or a convolution [out, in / groups, k, ...].
        threshold: θ > 0 of the driven neurons.
        generator: Random numbers; None is torch's global generator.
        leak: β in [0, 1) of the driven neurons.
        rate: p, firing probability per step, below `largest_rate(leak)`.
        input_gain: λ > 0, what the neuron multiplies its current with.

    Returns:
        The weight.

    Raises:
        ValueError: As `gain`; and if the weight is empty or the generator lives on another device.

    Source: Shi & Yu 2026.

    Example:
        >>> draw = torch.Generator().manual_seed(0)
        >>> weight = spikeinit2026_(torch.empty(400, 500), 1.0, draw, leak=0.5, rate=0.1)
        >>> abs(500 * weight.var().item() / gain(leak=0.5, rate=0.1) - 1) < 0.02
        True
    """
    value = gain(threshold=threshold, leak=leak, rate=rate, input_gain=input_gain)
    return draw_(weight, value, "normal", generator)


def check_rate(rate: float, leak: float) -> None:
    """Refuse a rate that a zero-mean input cannot sustain at this leak.

    Raises:
        ValueError: With the inequality and the nearest feasible value.
    """
    _check_leak(leak)
    _check_half(rate)
    a, c = _distances(rate, leak)
    if not a > c:
        bound = largest_rate(leak)
        raise ValueError(
            "rate must satisfy 0 < rate < "
            f"{bound:.6g} at leak {leak!r} (the threshold must lie above the mean: "
            "Q⁻¹(p) (1 − β(1 − p)) > β φ(Q⁻¹(p))), "
            f"got {rate!r}; nearest feasible: just below {bound:.6g}"
        )


def _distances(rate: float, leak: float) -> tuple[float, float]:
    """(θ − μ)/s and −μ/s."""
    a = -float(ndtri(rate))
    density = math.exp(-a * a / 2) / math.sqrt(2 * math.pi)
    return a, leak * density / (1 - leak * (1 - rate))


def _check_leak(leak: float) -> None:
    if not 0 <= leak < 1:
        raise ValueError(
            "leak must satisfy 0 <= leak < 1 (a neuron without leak has no steady state under "
            f"zero-mean input), got {leak!r}; nearest feasible: "
            f"{0.0 if leak < 0 else 'just below 1'}"
        )


def _check_half(rate: float) -> None:
    if not 0 < rate < 0.5:
        raise ValueError(
            "rate must satisfy 0 < rate < 1/2: a zero-mean input exceeds a positive threshold "
            f"less than half of the time, got {rate!r}; nearest feasible: "
            f"{'just above 0' if rate <= 0 else 'just below 0.5'}"
        )


# --- In a network -------------------------------------------------------------------------------


def _resolve(connection: Connection, **given: Any) -> dict[str, Any]:
    neuron = driven_neuron(connection)
    if neuron.synapse is not None:
        raise ValueError(
            "spikeinit2026 knows neurons without a synaptic current only; "
            f"{connection.drives[0].name!r} has one: use 'rossbroich2022', whose kernel form has it"
        )
    settings: dict[str, Any] = {
        "threshold": neuron.threshold,
        "leak": neuron.leak,
        "input_gain": neuron.input_gain,
    }
    given = dict(given)
    if connection.fed_by:
        _, heights = connection.feeding
        settings["height"] = math.sqrt(heights.square().mean().item())
        given.pop("input_second_moment", None)
    else:
        measured = connection.second_moment
        settings["input_second_moment"] = 1.0 if measured is None else measured
    return settings | given


def _rate(connection: Connection, settings: dict[str, Any]) -> float:
    return float(settings["rate"])


def _feeding(connection: Connection, settings: dict[str, Any]) -> Feeding | None:
    if not connection.fed_by:
        return None
    return Feeding(None, settings["rate"], settings["rate"] * settings["height"] ** 2)


def _remark(connection: Connection, settings: dict[str, Any]) -> str:
    neuron = driven_neuron(connection)
    notes = [neuron.note, sharing(connection)]
    if neuron.reset != "zero":
        notes.append(f"derived for reset to zero, the driven layer has reset {neuron.reset!r}")
    if not connection.fed_by:
        notes.append("constant input assumed")
    return "; ".join(note for note in notes if note)


METHOD = Method(
    "spikeinit2026",
    SOURCE,
    gain,
    _resolve,
    given=("rate", "threshold", "leak", "input_gain", "input_second_moment"),
    rate=_rate,
    feeding=_feeding,
    remark=_remark,
)
