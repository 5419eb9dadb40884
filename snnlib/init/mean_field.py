r"""The gain of this book: a wanted firing rate at every layer and every time step.

Eq. 10 of Micheli et al. 2024 fixes Var[u] at the first step only. Over T steps with leak and reset
the spikes of a layer have the second moments R = E[x xᵀ], a T × T matrix, and weights of gain G,
the same at every step, turn them into currents of covariance

    C' = G·R(C).

The gain is the one at which the fixed point of this map over layers fires with the wanted rate.

Source: derived in the book; extends Micheli et al. 2024, Eq. 10, to T > 1.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

from snnlib._checks import check_positive
from snnlib.init.connection import Connection
from snnlib.init.method import Feeding, Method, driven_neuron, sharing
from snnlib.meanfield import gain_for_rate
from snnlib.neurons.lif import RULES, Reset

SOURCE = "This book; extends Micheli et al. 2024, Eq. 10, to T > 1"

_fixed_point = lru_cache(maxsize=256)(gain_for_rate)


def gain(
    *,
    rate: float,
    steps: int,
    leak: float = 0.5,
    threshold: float = 1.0,
    reset: Reset = "subtract",
    input_gain: float = 1.0,
    height: float = 1.0,
    input_second_moment: float | None = None,
) -> float:
    r"""G = n·Var[w] at which deep layers fire with a wanted rate, averaged over T steps.

    With G* the fixed-point gain of unit spikes (`snnlib.meanfield.gain_for_rate`),

        G = G*/(λ²h²) behind spikes of height h,    G = G*·rate/(λ²E[x²]) behind real values,

    so that both make currents of the same variance.

    Args:
        rate: wanted firing probability per step, in (0, 1/2).
        steps: number of time steps T >= 1.
        leak: β in [0, 1] of the driven neurons.
        threshold: θ > 0 of the driven neurons.
        reset: their reset, as in `snnlib.neurons.lif`.
        input_gain: λ > 0, what the driven neuron multiplies its current with.
        height: what one spike sends on.
        input_second_moment: E[x²] > 0 of the input if it is not spikes.

    Returns:
        The gain, with a relative standard error of about 1 %.

    Raises:
        ValueError: If an argument is outside its range, or activity of that rate does not last:
            the smallest rates that do depend on threshold, leak and T, and the message names one.

    Source: derived in the book.

    Example:
        One step at the rate that Eq. 10 keeps is Eq. 10.

        >>> from snnlib.meanfield import firing_probability
        >>> p = firing_probability(0.8)
        >>> abs(gain(rate=p, steps=1, threshold=0.8) * p - 1) < 0.05
        True
    """
    scale = (check_positive("input_gain", input_gain) * check_positive("height", height)) ** 2
    neuron = {"leak": leak, "threshold": threshold, "steps": steps, "reset": reset}
    try:
        found = _fixed_point(rate, **neuron)
    except ValueError as error:
        if "ask for a higher rate" not in str(error):
            raise
        raise ValueError(f"{error}{_advice(rate, neuron)}") from error
    if input_second_moment is None:
        return found / scale
    moment = check_positive("input_second_moment", input_second_moment)
    return found * rate / (input_gain**2 * moment)


def _advice(rate: float, neuron: dict[str, Any]) -> str:
    """The nearest feasible rate, on a grid."""
    for candidate in (k / 20 for k in range(math.floor(20 * rate + 1e-9) + 1, 10)):
        try:
            _fixed_point(candidate, **neuron)
        except ValueError:
            continue
        return f", such as {candidate:g}"
    return ""


def _resolve(connection: Connection, **given: Any) -> dict[str, Any]:
    neuron = driven_neuron(connection)
    if neuron.synapse is not None:
        raise ValueError(
            f"method 'mean_field' has no form for the synaptic current of what {connection.name!r} "
            "drives; 'rossbroich2022' has one"
        )
    if neuron.reset not in RULES:
        raise ValueError(
            f"method 'mean_field' needs one reset of {', '.join(RULES)} behind "
            f"{connection.name!r}, got {neuron.reset!r}"
        )
    settings = {
        "leak": neuron.leak,
        "threshold": neuron.threshold,
        "reset": neuron.reset,
        "input_gain": neuron.input_gain,
    }
    if connection.fed_by:
        _, heights = connection.feeding
        settings["height"] = float(heights.square().mean().sqrt())
    else:
        measured = connection.second_moment
        settings["input_second_moment"] = 1.0 if measured is None else measured
    return settings | given


def _rate(connection: Connection, settings: dict[str, Any]) -> float | None:
    return float(settings["rate"])


def _feeding(connection: Connection, settings: dict[str, Any]) -> Feeding | None:
    """Spikes at the wanted rate."""
    if not connection.fed_by:
        return None
    rate, height = settings["rate"], settings["height"]
    return Feeding(None, rate, rate * height**2)


def _remark(connection: Connection, settings: dict[str, Any]) -> str:
    notes = (driven_neuron(connection).note, sharing(connection))
    return "; ".join(note for note in notes if note)


METHOD = Method(
    "mean_field",
    SOURCE,
    gain,
    _resolve,
    given=("rate", "steps"),
    free=True,
    rate=_rate,
    feeding=_feeding,
    remark=_remark,
)
