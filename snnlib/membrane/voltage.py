r"""Range of the potential of a neuron whose currents are bounded.

The paper's bounds take the neuron to be silent at its largest potential and to have fired at its
least; `extreme_voltages` are the extremes themselves, for one neuron that resets by subtraction.

Source: Herranz-Celotti & Rouat 2022, Eqs. 70-79; the exact law is derived in the book.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from snnlib._averages import Number, layer_averages, reset_share
from snnlib._checks import check_count

__all__ = ["Range", "extreme_voltages", "sampled_voltage_range", "voltage_range"]


class Range(NamedTuple):
    """Least and largest potential.

    Attributes:
        low: Of y.
        high: Of y.
    """

    low: Any
    high: Any


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
        reset: "subtract", "subtract_leak", "zero" or "none".

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
    neurons = layer_averages(leak, threshold, reset)
    check_count("fan_in", fan_in)
    check_count("width", width, 2)
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
        reset: "subtract", "subtract_leak", "zero" or "none".
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
    layer_averages(leak, threshold, reset)
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
    rho = reset_share(reset, beta) * theta
    upper = others.relu().sum(1) + offset + products.amax(0).sum(1)
    lower = -(-others).relu().sum(1) + offset + products.amin(0).sum(1) - rho
    return Range(lower / (1 - beta), upper / (1 - beta))


def extreme_voltages(
    *, leak: Number, threshold: Number, current_min: Number, current_max: Number
) -> Range:
    r"""Extremes of the potential of a neuron that resets by subtraction, over all its currents.

    high = max(i_max + β θ, (i_max − θ)/(1 − β)),    low = min(i_min/(1 − β), i_min − (1 − β) θ),

    for y[t] = β y[t−1] − θ x[t−1] + i[t] with any currents between i_min and i_max.  Before its
    largest potential the neuron was silent, at the threshold at most, or fired and paid for it;
    before its least one it was silent at the least one, or fired just above the threshold, so that
    `low` may be an infimum that is not reached.

    Args:
        leak: β in [0, 1), a number or one per neuron.
        threshold: θ >= 0, likewise.
        current_min: i_min < 0, likewise.
        current_max: i_max > (1 − β) θ, likewise: the neuron can fire.

    Returns:
        (low, high) of y, floats for numbers, else float64 tensors of the broadcast shape.

    Raises:
        ValueError: If an argument is outside its range.

    Source: derived in the book; corrects Herranz-Celotti & Rouat 2022, Eqs. 72, 75, 77 and 79.

    Example:
        The bound of Eq. 72 is i_max/(1 − β) = 2 here, of a neuron that never fires:

        >>> extreme_voltages(leak=0.5, threshold=1.0, current_min=-0.25, current_max=1.0)
        Range(low=-0.75, high=1.5)
    """
    layer_averages(leak, threshold, "subtract")
    beta, theta, least, most = torch.broadcast_tensors(
        *(
            torch.as_tensor(value, dtype=torch.float64).detach()
            for value in (leak, threshold, current_min, current_max)
        )
    )
    if not bool(((least < 0) & least.isfinite()).all()):
        raise ValueError(f"current_min must be negative and finite, got {current_min!r}")
    if not bool(((most > (1 - beta) * theta) & most.isfinite()).all()):
        bound = float(((1 - beta) * theta).max())
        raise ValueError(
            "current_max must be finite and above (1 − leak)·threshold, so that the neuron can "
            f"fire, got {current_max!r}; nearest feasible: just above {bound:.6g}"
        )
    high = torch.maximum(most + beta * theta, (most - theta) / (1 - beta))
    low = torch.minimum(least / (1 - beta), least - (1 - beta) * theta)
    return Range(low, high) if low.dim() else Range(float(low), float(high))
