r"""What a layer of spiking neurons is, in one language: ours, snnTorch's, SpikingJelly's, Norse's.

Initializers and probes ask this file what a module is, so that a new neuron needs no change there.
Foreign modules are recognized by the package of their class and their attributes; no foreign
library is imported. The normal form that all are brought to is, with the potential u measured from
its value at rest,

    c[t] = κ c[t-1] + i[t]                (synapse κ; without one c = i)
    u[t] = carry(u[t-1], x[t-1]) + λ c[t]  (leak β and reset as in `snnlib.neurons.lif`)
    x[t] = [u[t] > θ]

The book's page "Dialects" derives each conversion and checks it against the installed libraries.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

ONE = torch.ones((), dtype=torch.float64)
NAN = torch.full((), torch.nan, dtype=torch.float64)


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


def read(module: nn.Module) -> Spiking | None:
    r"""The normal form of a layer of spiking neurons; None for any other module.

    Ours are recognized by a `threshold`, a `leak`, a `reset` and a method
    `trace(current) -> (membrane, spikes)`, as every neuron of `snnlib.neurons` has; one with
    `recurrent = True` has recurrent weights as its parameter `weight`, which are added to the
    current, and one that is more than the normal form says so in `differs`. Foreign
    constants are computed from the module as its own code does, in its own precision:

    ==============================  ================  ===============  ================  =========
    module                          leak β            gain λ           threshold θ       synapse κ
    ==============================  ================  ===============  ================  =========
    snnTorch Leaky, RLeaky          beta in [0, 1]    1                threshold
    snnTorch Lapicque               1 - dt / (R C)    dt / C           threshold
    snnTorch Synaptic, RSynaptic    beta in [0, 1]    1                threshold         alpha
    snnTorch StateLeaky             exp(-1 / tau)     1                threshold
    SpikingJelly IFNode             1                 1                v_th - v_reset
    SpikingJelly LIFNode            1 - 1/tau         1/tau or 1       v_th - v_reset
    SpikingJelly ParametricLIFNode  1 - sigmoid(w)    sigmoid(w) or 1  v_th - v_reset
    SpikingJelly CUBALIFNode        v_decay           1                v_th              c_decay
    Norse LIFBoxCell                1 - dt / τ_mem    dt / τ_mem       v_th - v_leak
    Norse LIF, LIFRecurrent         1 - dt / τ_mem    dt / τ_mem       v_th - v_leak     1-dt/τ_s
    Norse IAF                       1                 1                v_th - v_reset
    ==============================  ================  ===============  ================  =========

    Args:
        module: Any module.

    Returns:
        The normal form; its `why` is not empty if the module only resembles one of our neurons.
        None if the module does not spike (readouts such as Norse's LI included).

    Raises:
        ValueError: If the threshold is negative or infinite: such a neuron fires at rest.

    Source:
        Code of snnTorch 1.0.0, SpikingJelly 2.0.0 and Norse 1.1.0.

    Example:
        >>> from snnlib.neurons import LIF
        >>> read(LIF(threshold=0.5)).threshold.item()
        0.5
        >>> read(nn.ReLU()) is None
        True
    """
    library, name = _origin(module)
    form = _READERS[library](module, name)
    if form is None:
        return None
    threshold = form.threshold
    unknown = bool(form.why) & torch.isnan(threshold)
    if not bool((unknown | (threshold >= 0) & torch.isfinite(threshold)).all()):
        raise ValueError(
            f"threshold of {type(module).__name__} must be >= 0 and finite, measured from its "
            f"potential at rest; got {threshold!r}"
        )
    return form


def is_spiking(module: nn.Module) -> bool:
    """Whether the module is a layer of spiking neurons, ours or foreign; see `read`.

    Args:
        module: Any module.

    Returns:
        False for weights, readouts, containers and `torch.compile`'s wrapper.

    Example:
        >>> from snnlib.neurons import LIF
        >>> is_spiking(LIF()), is_spiking(nn.Linear(2, 2))
        (True, False)
    """
    try:
        return read(module) is not None
    except ValueError:  # a neuron with a bad threshold spikes all the same
        return True


def _origin(module: nn.Module) -> tuple[str, str]:
    """Library of a module and the name of its class there, also for a user's subclass of it."""
    for kind in type(module).__mro__:
        root = kind.__module__.partition(".")[0]
        if root in _READERS and root != "snnlib":
            return root, kind.__name__
    return "snnlib", ""


def _value(value: Any) -> Tensor:
    # The dtype first: a Python float keeps all its digits.
    return torch.as_tensor(value, dtype=torch.float64).detach().cpu()


def _because(*reasons: str) -> str:
    return "; ".join(reason for reason in reasons if reason)


# --- Ours -----------------------------------------------------------------------------------------


def _snnlib(module: nn.Module, name: str) -> Spiking | None:
    if "_orig_mod" in module._modules:  # torch.compile's wrapper passes all attributes on
        return None
    if not callable(getattr(module, "trace", None)) or not all(
        hasattr(module, attribute) for attribute in ("threshold", "leak", "reset")
    ):
        return None
    threshold = _value(module.threshold)
    robust = getattr(module, "threshold_gradient", None) == "threshold_robust"
    synapse = getattr(module, "synapse_leak", None)
    return Spiking(
        threshold,
        _value(module.leak),
        str(module.reset),
        height=threshold if robust else ONE,
        input_gain=_value(getattr(module, "input_gain", 1.0)),
        synapse=None if synapse is None else _value(synapse),
        delay=float(_value(getattr(module, "delay", 0.0)).max()),
        recurrent=getattr(module, "recurrent", False) is True,
        why=str(getattr(module, "differs", "")),
    )


# --- snnTorch -------------------------------------------------------------------------------------

_DROPS = "after a spike it drops the input of the next step together with the potential"
_OWN_RECURRENT = "it holds recurrent weights of its own"

_SNNTORCH_OTHER = {
    "Alpha": "its potential is a difference of two currents, without a leak of its own",
    "DeltaLeaky": "it spikes on the change of the potential",
    "LinearLeaky": "it holds input weights of its own",
    "LeakyParallel": "it holds input weights of its own and cuts the potential off below zero",
    "AssociativeLeaky": "its state is a matrix with a decay that depends on the input",
    "SLSTM": "it is an LSTM cell with spikes",
    "SConv2dLSTM": "it is an LSTM cell with spikes",
}


def _snntorch(module: Any, name: str) -> Spiking | None:
    if not hasattr(module, "threshold") or not hasattr(module, "spike_grad"):
        return None
    if name in ("StateLeaky", "LinearLeaky", "AssociativeLeaky") and not module.output:
        return None  # returns its potential
    reset = getattr(module, "reset_mechanism", "none")
    leak, gain = NAN, ONE
    synapse: Tensor | None = None
    why = _SNNTORCH_OTHER.get(name, "")
    if name in ("Leaky", "RLeaky", "Synaptic", "RSynaptic", "DeltaLeaky"):
        leak = _value(module.beta.clamp(0, 1))
    elif name == "Lapicque":
        ratio = module.time_step / (module.R * module.C)
        leak = _value(1 - ratio)
        gain = _value(module.R) * _value(1 / (module.R * module.C)) * _value(module.time_step)
        if bool((leak < 0).any()):
            why = f"its leak 1 - dt/(RC) = {float(leak.min()):g} is negative"
    elif name in ("StateLeaky", "LinearLeaky"):
        leak, reset = _value(torch.exp(-1 / module.tau)), "none"
        if module.kernel_truncation_steps is not None:
            why = _because(why, "it forgets inputs older than its kernel")
    elif name == "LeakyParallel" and module.beta is not None:
        leak, reset = _value(module.beta.clamp(0, 1)), "none"
    elif not why:
        why = f"{name} is not known here"
    if name in ("Synaptic", "RSynaptic"):
        synapse = _value(module.alpha.clamp(0, 1))
    if name in ("Lapicque", "RLeaky", "Synaptic", "RSynaptic") and reset == "zero":
        reset, why = "zero_with_input", _because(why, _DROPS)
    if not getattr(module, "reset_delay", True):
        # The potential is reset in the step of its spike. To zero, that is the same recursion.
        if reset == "subtract":
            why = _because(why, "reset_delay=False resets twice where the potential exceeds 2θ")
        elif reset == "zero_with_input":
            reset, why = "zero", why.replace(_DROPS, "").strip("; ")
    height = _value(getattr(module, "graded_spikes_factor", 1.0))
    if name in ("StateLeaky", "LinearLeaky"):
        height = height**2  # its forward pass applies the factor twice
    recurrent = name in ("RLeaky", "RSynaptic", "SLSTM", "SConv2dLSTM", "LeakyParallel")
    if name in ("RLeaky", "RSynaptic"):
        why = _because(why, _OWN_RECURRENT)
    if getattr(module, "inhibition", False):
        why = _because(why, "inhibition=True lets one neuron of a layer spike at most")
    if getattr(module, "state_quant", False):
        why = _because(why, "state_quant rounds the state")
    return Spiking(
        _value(module.threshold),
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


# --- SpikingJelly ---------------------------------------------------------------------------------

_SPIKINGJELLY_OTHER = {
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


def _spikingjelly(module: Any, name: str) -> Spiking | None:
    rest: float | None = 0.0
    if name in _PSN:
        threshold = _value(-module.bias).mean()  # it compares weighted inputs plus bias with 0
    elif name == "STBIFNode":
        threshold = NAN
    elif hasattr(module, "v_threshold"):
        rest = getattr(module, "v_reset", None)
        value = module.v_threshold
        threshold = _value(value.sigmoid() if name == "GatedLIFNode" else value)
    else:
        return None
    leak, gain, why = NAN, ONE, _SPIKINGJELLY_OTHER.get(name, "")
    synapse: Tensor | None = None
    if name in _IF:
        leak = ONE
    elif name in _LIF:
        ratio = (
            _value(module.w.detach().sigmoid()) if hasattr(module, "w") else 1 / _value(module.tau)
        )
        leak, gain = 1 - ratio, ratio if module.decay_input else ONE
    elif name == "CUBALIFNode":
        leak, synapse = _value(module.v_decay), _value(module.c_decay)
        if rest:  # this neuron leaks towards 0 whatever it is reset to
            why, rest = "it leaks towards 0 and is reset to another potential", 0.0
    elif not why:
        why = f"{name} is not known here"
    if name.startswith("Simple") and rest:
        why = "it starts at 0 and is reset to another potential"
    if rest is not None and name not in _PSN:
        threshold = threshold - rest
    surrogate = getattr(module, "surrogate_function", None)
    if getattr(surrogate, "spiking", True) is False:
        why = _because(why, "its surrogate is set to spiking=False, so it sends no spikes")
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


# --- Norse ----------------------------------------------------------------------------------------

_NORSE_OTHER = {
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
_NORSE_STEPS = {
    "lif_feed_forward_step": "LIF",
    "lif_step": "LIF",
    "lif_box_feed_forward_step": "LIFBox",
    "iaf_feed_forward_step": "IAF",
    "iaf_step": "IAF",
}


def _norse(module: Any, name: str) -> Spiking | None:
    step = getattr(getattr(module, "activation", None), "__name__", "")
    name = _NORSE_STEPS.get(step) or name.removesuffix("Cell").removesuffix("Recurrent")
    p: Any = getattr(module, "p", None)
    why = _NORSE_OTHER.get(name, "")
    if name not in (*_NORSE_STEPS.values(), *_NORSE_OTHER):
        if not hasattr(p, "v_th") or name.endswith("Encoder"):  # encoders make data, not layers
            return None
        why = f"{name} is not known here"
    p = getattr(p, "lif", getattr(p, "lif_parameters", p))  # LIFRefrac and LIFCorrelation
    threshold, leak, gain, reset = NAN, NAN, ONE, "zero"
    synapse: Tensor | None = None
    if name == "IAF":
        leak, threshold = ONE, _value(p.v_th) - _value(p.v_reset)
    elif hasattr(p, "v_th"):
        rest = _value(getattr(p, "v_leak", 0.0))
        threshold = _value(p.v_th) - rest
        if hasattr(p, "tau_mem_inv"):
            gain = _value(module.dt * p.tau_mem_inv)
            leak = 1 - gain
        if hasattr(p, "tau_syn_inv"):
            synapse = 1 - _value(module.dt * p.tau_syn_inv)
        how = getattr(getattr(p, "reset_method", None), "__name__", "reset_value")
        if how == "reset_subtract":
            reset = "subtract_leak"
            if bool((rest != 0).any()):
                why = _because(why, "it subtracts v_th, not v_th - v_leak")
        elif how != "reset_value":
            reset, why = how, _because(why, f"its reset_method {how} is not known here")
        elif bool((_value(getattr(p, "v_reset", rest)) != rest).any()):
            reset = "value"
            why = _because(why, "it is reset to v_reset, which is not the resting potential v_leak")
        if bool((leak < 0).any()) or (synapse is not None and bool((synapse < 0).any())):
            why = _because(why, "its step dt is longer than a time constant")
    recurrent = hasattr(module, "recurrent_weights") or name in ("LIFCorrelation", "LIFMC")
    if recurrent:
        why = _because(why, _OWN_RECURRENT)
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


_READERS: dict[str, Callable[[Any, str], Spiking | None]] = {
    "snnlib": _snnlib,
    "snntorch": _snntorch,
    "spikingjelly": _spikingjelly,
    "norse": _norse,
}
