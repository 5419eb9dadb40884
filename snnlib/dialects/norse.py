"""Norse's neurons."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from snnlib.dialects.form import NAN, ONE, OWN_RECURRENT, Spiking, as_double, because

__all__ = ["read"]

_OTHER = {
    "LIFRefrac": "it is silent for some steps after a spike",
    "LIFAdEx": "its leak is exponential in the potential, and it adapts",
    "LIFAdExRefrac": "its leak is exponential in the potential, and it adapts",
    "LIFEx": "its leak is exponential in the potential",
    "LSNN": "its threshold adapts",
    "Izhikevich": "its potential is quadratic and adapts",
    "CobaLIF": "its synapses are conductances",
    "LIFCorrelation": "it measures correlations",
    "LIFMC": "its compartments are coupled",
    "LIFMCRefrac": "its compartments are coupled",
}
_STEPS = {
    "lif_feed_forward_step": "LIF",
    "lif_step": "LIF",
    "lif_box_feed_forward_step": "LIFBox",
    "iaf_feed_forward_step": "IAF",
    "iaf_step": "IAF",
}


def read(module: Any, name: str) -> Spiking | None:
    """The normal form of a neuron of Norse.

    Args:
        module: A module of the library.
        name: Name of its class there.

    Returns:
        Its normal form; None if it is no neuron, an encoder or a readout.

    Source:
        Code of Norse 1.1.0.

    Example:
        >>> import pytest
        >>> norse = pytest.importorskip("norse.torch")
        >>> form = read(norse.LIFBoxCell(dt=0.001), "LIFBoxCell")
        >>> form.leak.item(), form.reset  # 1 - dt/τ with τ = 10 ms
        (0.90, 'zero')
    """
    step = getattr(getattr(module, "activation", None), "__name__", "")
    name = _STEPS.get(step) or name.removesuffix("Cell").removesuffix("Recurrent")
    p: Any = getattr(module, "p", None)
    why = _OTHER.get(name, "")
    if name not in (*_STEPS.values(), *_OTHER):
        if not hasattr(p, "v_th") or name.endswith("Encoder"):  # encoders make data, not layers
            return None
        why = f"{name} is not known here"
    p = getattr(p, "lif", getattr(p, "lif_parameters", p))  # LIFRefrac and LIFCorrelation
    threshold, leak, gain, reset = NAN, NAN, ONE, "zero"
    synapse: Tensor | None = None
    if name == "IAF":
        leak, threshold = ONE, as_double(p.v_th) - as_double(p.v_reset)
    elif hasattr(p, "v_th"):
        rest = as_double(getattr(p, "v_leak", 0.0))
        threshold = as_double(p.v_th) - rest
        if hasattr(p, "tau_mem_inv"):
            gain = as_double(module.dt * p.tau_mem_inv)
            leak = 1 - gain
        if hasattr(p, "tau_syn_inv"):
            synapse = 1 - as_double(module.dt * p.tau_syn_inv)
        how = getattr(getattr(p, "reset_method", None), "__name__", "reset_value")
        if how == "reset_subtract":
            reset = "subtract_leak"
            if bool((rest != 0).any()):
                why = because(why, "it subtracts v_th, not v_th - v_leak")
        elif how != "reset_value":
            reset, why = how, because(why, f"its reset_method {how} is not known here")
        elif bool((as_double(getattr(p, "v_reset", rest)) != rest).any()):
            reset = "value"
            why = because(why, "it is reset to v_reset, which is not the resting potential v_leak")
        if bool((leak < 0).any()) or (synapse is not None and bool((synapse < 0).any())):
            why = because(why, "its step dt is longer than a time constant")
    recurrent = hasattr(module, "recurrent_weights") or name in ("LIFCorrelation", "LIFMC")
    if recurrent:
        why = because(why, OWN_RECURRENT)
    return Spiking(
        threshold,
        leak,
        reset,
        ONE,
        input_gain=gain,
        synapse=synapse,
        sequence=any(kind.__name__ in ("SNN", "SNNRecurrent") for kind in type(module).__mro__),
        library="norse",
        recurrent=recurrent,
        why=why,
    )
