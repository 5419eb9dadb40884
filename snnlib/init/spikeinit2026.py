r"""SpikeInit, Shi & Yu 2026: the gain that sustains a steady state of a given rate.

Weights of variance σ²/n behind spikes of probability p make a current N(0, σ²p) that is independent
from step to step. `steady_state` has the law N(μ, s²) of the potential, reset to zero, under
which a neuron fires at that rate, and the input λσ√p that keeps it, so G = σ². A first layer with a
constant input has a constant current, whose σ₁ `static_std` has.

Backwards, with the reset detached, the variance of the gradient stays if

    E[σ'(u)²] = (1 − r)/(λσ)²,     r = (1 − p) β²,

or, over T steps, with 1/(1 − r) replaced by (1/T) Σ_{t<T} (1 − r^(t+1))/(1 − r). It fixes the
sharpness α of the surrogate α e^(−2α|u − θ|).

Source: Shi, Yu, Training deep spiking neural networks without normalization, 2026, read in the
authors' published code (theorem 4.1, algorithms 1 and 2, theorem 5.1; the finite T from the
variant of it that simulates the neurons).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from snnlib._checks import check_positive, scalars
from snnlib.init.connection import Connection
from snnlib.init.method import Feeding, Method, draw_, driven_neuron, sharing
from snnlib.meanfield import largest_rate as largest_rate
from snnlib.meanfield import static_std, steady_state, surrogate_second_moment
from snnlib.meanfield.steady_state import check_rate
from snnlib.surrogate import exponential_sharpness as sharpness

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


@scalars("threshold", "leak", "rate", "input_gain", "steps")
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


@scalars("threshold", "leak", "rate", "input_gain")
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
