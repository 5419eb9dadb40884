"""snnTorch's neurons."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from snnlib.dialects.form import NAN, ONE, OWN_RECURRENT, Spiking, as_double, because

__all__ = ["read"]

_DROPS = "after a spike it drops the input of the next step together with the potential"

_OTHER = {
    "Alpha": "its potential is a difference of two currents, without a leak of its own",
    "DeltaLeaky": "it spikes on the change of the potential",
    "LinearLeaky": "it holds input weights of its own",
    "LeakyParallel": "it holds input weights of its own and cuts the potential off below zero",
    "AssociativeLeaky": "its state is a matrix with a decay that depends on the input",
    "SLSTM": "it is an LSTM cell with spikes",
    "SConv2dLSTM": "it is an LSTM cell with spikes",
}


def read(module: Any, name: str) -> Spiking | None:
    """The normal form of a neuron of snnTorch.

    Args:
        module: A module of the library.
        name: Name of its class there.

    Returns:
        Its normal form; None if it is no neuron or returns its potential.

    Source:
        Code of snnTorch 1.0.0.

    Example:
        >>> import pytest
        >>> snntorch = pytest.importorskip("snntorch")
        >>> form = read(snntorch.Leaky(beta=0.75), "Leaky")
        >>> form.leak.item(), form.reset
        (0.75, 'subtract')
    """
    if not hasattr(module, "threshold") or not hasattr(module, "spike_grad"):
        return None
    if name in ("StateLeaky", "LinearLeaky", "AssociativeLeaky") and not module.output:
        return None  # returns its potential
    reset = getattr(module, "reset_mechanism", "none")
    leak, gain = NAN, ONE
    synapse: Tensor | None = None
    why = _OTHER.get(name, "")
    if name in ("Leaky", "RLeaky", "Synaptic", "RSynaptic", "DeltaLeaky"):
        leak = as_double(module.beta.clamp(0, 1))
    elif name == "Lapicque":
        ratio = module.time_step / (module.R * module.C)
        leak = as_double(1 - ratio)
        gain = (
            as_double(module.R) * as_double(1 / (module.R * module.C)) * as_double(module.time_step)
        )
        if bool((leak < 0).any()):
            why = f"its leak 1 - dt/(RC) = {float(leak.min()):g} is negative"
    elif name in ("StateLeaky", "LinearLeaky"):
        leak, reset = as_double(torch.exp(-1 / module.tau)), "none"
        if module.kernel_truncation_steps is not None:
            why = because(why, "it forgets inputs older than its kernel")
    elif name == "LeakyParallel" and module.beta is not None:
        leak, reset = as_double(module.beta.clamp(0, 1)), "none"
    elif not why:
        gain, why = NAN, f"{type(module).__name__} is not known here"
    if name in ("Synaptic", "RSynaptic"):
        synapse = as_double(module.alpha.clamp(0, 1))
    if name in ("Lapicque", "RLeaky", "Synaptic", "RSynaptic") and reset == "zero":
        reset, why = "zero_with_input", because(why, _DROPS)
    if not getattr(module, "reset_delay", True):
        # The potential is reset in the step of its spike. To zero, that is the same recursion.
        if reset == "subtract":
            why = because(why, "reset_delay=False resets twice where the potential exceeds 2θ")
        elif reset == "zero_with_input":
            reset, why = "zero", why.replace(_DROPS, "").strip("; ")
    height = as_double(getattr(module, "graded_spikes_factor", 1.0))
    if name in ("StateLeaky", "LinearLeaky"):
        height = height**2  # its forward pass applies the factor twice
    recurrent = name in ("RLeaky", "RSynaptic", "SLSTM", "SConv2dLSTM", "LeakyParallel")
    if name in ("RLeaky", "RSynaptic"):
        why = because(why, OWN_RECURRENT)
    if getattr(module, "inhibition", False):
        why = because(why, "inhibition=True lets one neuron of a layer spike at most")
    if getattr(module, "state_quant", False):
        why = because(why, "state_quant rounds the state")
    return Spiking(
        as_double(module.threshold),
        leak,
        reset,
        height,
        input_gain=gain,
        synapse=synapse,
        sequence=name in ("StateLeaky", "LinearLeaky", "LeakyParallel", "AssociativeLeaky"),
        library="snntorch",
        recurrent=recurrent,
        why=why,
    )
