"""SpikingJelly's neurons."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from snnlib.dialects.form import NAN, ONE, Spiking, as_double, because

__all__ = ["read"]

_OTHER = {
    "ILIFNode": "it sends several spikes in one step",
    "LIAFNode": "it sends an analog value, not spikes",
    "KLIFNode": "it scales the potential and cuts it off below zero",
    "ComplementaryLIFNode": "its reset depends on a second state",
    "GatedLIFNode": "its leak, input and reset are learned gates",
    "IzhikevichNode": "its potential is quadratic and adapts",
    "QIFNode": "its leak is quadratic in the potential",
    "EIFNode": "its leak is exponential in the potential",
    "RAFNode": "it resonates: its potential is complex",
    "TernaryIFNode": "it sends negative spikes too",
    "TernaryLIFNode": "it sends negative spikes too",
    "STBIFNode": "it sends negative spikes too",
    "MPBNLIFNode": "it normalizes the potential over the batch",
    "OTTTLIFNode": "its gradient does not go back through time",
    "SLTTLIFNode": "its gradient does not go back through time",
    "DSRIFNode": "it sends a weighted rate and learns by it",
    "DSRLIFNode": "it sends a weighted rate and learns by it",
    "ActivationAwareIFNode": "it shifts the potential by an offset",
    "PSN": "a learned matrix over time stands in place of leak and reset",
    "MaskedPSN": "a learned matrix over time stands in place of leak and reset",
    "SlidingPSN": "a learned kernel over time stands in place of leak and reset",
}
_PSN = ("PSN", "MaskedPSN", "SlidingPSN")
_IF = ("IFNode", "SimpleIFNode", "HalfThresholdIFNode")
_LIF = ("LIFNode", "SimpleLIFNode", "ParametricLIFNode", "LIAFNode", "OTTTLIFNode", "SLTTLIFNode")


def read(module: Any, name: str) -> Spiking | None:
    """The normal form of a neuron of SpikingJelly.

    Args:
        module: A module of the library.
        name: Name of its class there.

    Returns:
        Its normal form; None if it is no neuron.

    Source:
        Code of SpikingJelly 2.0.0.

    Example:
        >>> import pytest
        >>> neuron = pytest.importorskip("spikingjelly.activation_based.neuron")
        >>> form = read(neuron.LIFNode(tau=4.0), "LIFNode")
        >>> form.leak.item(), form.input_gain.item(), form.reset
        (0.75, 0.25, 'zero')
    """
    rest: float | None = 0.0
    if name in _PSN:
        threshold = as_double(-module.bias).mean()  # it compares weighted inputs plus bias with 0
    elif name == "STBIFNode":
        threshold = NAN
    elif hasattr(module, "v_threshold"):
        rest = getattr(module, "v_reset", None)
        value = module.v_threshold
        threshold = as_double(value.sigmoid() if name == "GatedLIFNode" else value)
    else:
        return None
    leak, gain, why = NAN, ONE, _OTHER.get(name, "")
    synapse: Tensor | None = None
    if name in _IF:
        leak = ONE
    elif name in _LIF:
        ratio = (
            as_double(module.w.detach().sigmoid())
            if hasattr(module, "w")
            else 1 / as_double(module.tau)
        )
        leak, gain = 1 - ratio, ratio if module.decay_input else ONE
    elif name == "CUBALIFNode":
        leak, synapse = as_double(module.v_decay), as_double(module.c_decay)
        if rest:  # this neuron leaks towards 0 whatever it is reset to
            why, rest = "it leaks towards 0 and is reset to another potential", 0.0
    elif not why:
        gain, why = NAN, f"{type(module).__name__} is not known here"
    if name.startswith("Simple") and rest:
        why = "it starts at 0 and is reset to another potential"
    if rest is not None and name not in _PSN:
        threshold = threshold - rest
    surrogate = getattr(module, "surrogate_function", None)
    if getattr(surrogate, "spiking", True) is False:
        why = because(why, "its surrogate is set to spiking=False, so it sends no spikes")
    reset = "none" if name in _PSN else "subtract_leak" if rest is None else "zero"
    return Spiking(
        threshold,
        leak,
        reset,
        ONE,
        input_gain=gain,
        synapse=synapse,
        fires_at_threshold=True,
        sequence=getattr(module, "step_mode", "m") == "m",
        library="spikingjelly",
        recurrent=name.startswith(("ILC", "NoisyILC")),
        why=why,
    )
