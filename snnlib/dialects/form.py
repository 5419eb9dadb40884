"""The normal form of a layer of spiking neurons, and what every dialect needs to fill it in."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

__all__ = ["NAN", "NO_NUMBERS", "ONE", "OWN_RECURRENT", "Spiking", "as_double", "because"]

ONE = torch.ones((), dtype=torch.float64)
NAN = torch.full((), torch.nan, dtype=torch.float64)
NO_NUMBERS = (
    "which holds no numbers: make the network where it shall run, "
    "network.to_empty(device='cpu'), and load its weights"
)
OWN_RECURRENT = "it holds recurrent weights of its own"


class Spiking(NamedTuple):
    """A layer of spiking neurons in normal form.

    Numbers are float64 tensors on the CPU, detached: one value, or one per neuron or channel.
    NaN stands for a number that the neuron does not have.

    Attributes:
        threshold: Threshold θ in the unit of the potential u, measured from rest.
        leak: Share β of the potential that is kept each step.
        reset: `"subtract"`, `"subtract_leak"`, `"zero"` or `"none"` as in `snnlib.neurons.lif`;
            `"zero_with_input"` or `"multiplicative"` as in `snnlib.neurons.recurrent_lif`; another
            word if the module's reset is none of these.
        height: What one spike sends to the next layer: 1, or θ for the threshold-robust gradient,
            or the factor of graded spikes.
        input_gain: Share λ of the input that enters the potential.
        synapse: Decay κ per step of a synaptic current in front of the membrane; None without one.
        delay: Steps d, between 0 and 1, that the potential lags behind the synaptic current: it
            sees (1 - d) c[t] + d c[t-1]. 0 for every foreign neuron here.
        fires_at_threshold: Whether u = θ spikes.
        sequence: Whether one call takes all steps [T, batch, ...]; else one call is one step.
        library: `"snnlib"`, `"snntorch"`, `"spikingjelly"` or `"norse"`.
        recurrent: Whether the module holds recurrent weights of its own.
        why: Why no neuron of snnlib is exactly equal; empty if one is.
    """

    threshold: Tensor
    leak: Tensor
    reset: str
    height: Tensor
    input_gain: Tensor = ONE
    synapse: Tensor | None = None
    delay: float = 0.0
    fires_at_threshold: bool = False
    sequence: bool = True
    library: str = "snnlib"
    recurrent: bool = False
    why: str = ""


def as_double(number: Any) -> Tensor:
    """A number or tensor as the normal form holds it: float64 on the CPU, detached.

    Args:
        number: What the module has.

    Returns:
        A tensor of the same shape.

    Raises:
        ValueError: If it is on the device "meta".

    Example:
        >>> as_double(torch.ones(2)).dtype, as_double(0.1).item()
        (torch.float64, 0.1)
    """
    if isinstance(number, Tensor) and number.is_meta:
        raise ValueError(f"a constant of the neurons is on 'meta', {NO_NUMBERS}")
    # The dtype first: a Python float keeps all its digits.
    return torch.as_tensor(number, dtype=torch.float64).detach().cpu()


def because(*reasons: str) -> str:
    """The reasons that are not empty, in one line.

    Args:
        *reasons: Why no neuron of snnlib is equal.

    Returns:
        The line; empty if all are.

    Example:
        >>> because("", "it adapts", "it holds recurrent weights of its own")
        'it adapts; it holds recurrent weights of its own'
    """
    return "; ".join(reason for reason in reasons if reason)
