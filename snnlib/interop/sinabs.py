r"""Neurons of sinabs as ours.

sinabs charges, fires and resets in one step, as SpikingJelly does, and spikes at u = θ. Its leak is
exp(-1/τ_mem); with `norm_input=True` the input is multiplied by one less that leak. Its synapse
decays after the input was added, so the gain has the synapse's leak as a factor. A gradient goes
through the reset that subtracts, not through that to zero.

Two of its defaults have no equal here: `spike_fn=MultiSpike` sends several spikes in a step, and
the NIR importer's `min_v_mem` cuts the potential off below. With `SingleSpike` and `min_v_mem=None`
a layer is ours, on [T, batch, ...] where sinabs has [batch, T, ...].
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from snnlib.dialects.form import ONE, OWN_RECURRENT, Spiking, as_double, because
from snnlib.interop import _neuron
from snnlib.neurons import LIF
from snnlib.surrogate import Surrogate

__all__ = ["surrogate_to_snnlib", "to_snnlib"]

_KNOWN = ("LIF", "LIFSqueeze", "LIFRecurrent", "IAF", "IAFSqueeze", "IAFRecurrent")


def to_snnlib(
    module: nn.Module, *, surrogate: Surrogate | None = None, exact_at_threshold: bool = False
) -> LIF:
    """The neuron of ours that is equal to one of sinabs.

    Time constants are constants here, also where sinabs would learn them.

    Args:
        module: `LIF`, `IAF`, or their `Squeeze` forms, with `spike_fn=SingleSpike`.
        surrogate: Surrogate in the unit of the foreign potential, in place of the module's own.
        exact_at_threshold: Lower the threshold to the next smaller float32, so that u = θ spikes
            as it does there.

    Returns:
        A `LIF` that takes all steps [T, batch, features...] at a call, with the potential counted
        in units of the input gain; with `tau_syn` a `CurrentLIF`, in sinabs' unit.

    Raises:
        ValueError: If no neuron of ours is equal to the module, with the reason.

    Source:
        Code of sinabs 3.1.3.

    Example:
        >>> import pytest
        >>> layers = pytest.importorskip("sinabs.layers")
        >>> activation = pytest.importorskip("sinabs.activation")
        >>> layer = to_snnlib(layers.IAF(spike_threshold=2.0, spike_fn=activation.SingleSpike))
        >>> layer.leak, layer.threshold, layer.reset
        (1.0, 2.0, 'subtract_leak')
    """
    form = _form(module)
    if form.why:
        raise ValueError(f"{type(module).__name__} has no equal here: {form.why}")
    theirs: Any = module
    if surrogate is None:
        surrogate = surrogate_to_snnlib(theirs.surrogate_grad_fn, float(form.threshold.max()))
    return _neuron.build(
        module,
        form,
        surrogate=surrogate,
        detach_reset=form.reset == "zero",  # it asks which spikes are 0: no gradient
        fires_at_threshold=exact_at_threshold,
    )


def surrogate_to_snnlib(surrogate_grad_fn: Any, threshold: float = 1.0) -> Surrogate:
    """Normal form of one of sinabs' surrogate gradients.

    Args:
        surrogate_grad_fn: A `SingleExponential` or a `Gaussian` around the threshold.
        threshold: θ of the layer, in units of which an exponential is wide.

    Returns:
        The surrogate whose derivative its backward pass computes.

    Raises:
        ValueError: If it is none of the eight shapes.

    Source:
        Code of sinabs 3.1.3.

    Example:
        >>> import pytest
        >>> activation = pytest.importorskip("sinabs.activation")
        >>> surrogate_to_snnlib(activation.SingleExponential(grad_width=0.25))
        Surrogate(shape='exponential', dampening=4.0, sharpness=2.0, tail=2.0)
    """
    name = type(surrogate_grad_fn).__name__
    own: Any = surrogate_grad_fn
    if name == "SingleExponential":
        width = threshold * own.grad_width
        return Surrogate("exponential", own.grad_scale / width, 1 / (2 * width))
    if name == "Gaussian" and own.mu == 0:
        sharpness = 1 / (own.sigma * math.sqrt(2 * math.pi))
        return Surrogate("gaussian", own.grad_scale * sharpness, sharpness)
    raise ValueError(
        f"sinabs.{name} is none of the eight shapes here; known are SingleExponential and a "
        "Gaussian with mu=0"
    )


def _form(module: Any) -> Spiking:
    """The normal form of a neuron of sinabs.

    It is no part of `snnlib.dialects`: what runs networks there takes [T, batch, ...], and a layer
    of sinabs would take that for [batch, T, ...].
    """
    kinds = [k.__name__ for k in type(module).__mro__ if k.__module__.startswith("sinabs.layers")]
    name = next((kind for kind in kinds if kind in _KNOWN), "")
    if not name or module.spike_fn is None:
        raise ValueError(f"module must be a spiking neuron of sinabs, got {type(module).__name__}")
    leak = ONE if name.startswith("IAF") else as_double(module.alpha_mem_calculated)
    gain = 1 - leak if module.norm_input else ONE
    synapse: Tensor | None = None
    if (decay := module.alpha_syn_calculated) is not None:
        synapse = as_double(decay)
        gain = gain * synapse
    threshold, why = as_double(module.spike_threshold), ""
    if getattr(module.spike_fn, "__name__", "") != "SingleSpike":
        why = "it sends several spikes in one step; give it spike_fn=SingleSpike"
    if module.min_v_mem is not None:
        why = because(why, "min_v_mem cuts its potential off below")
    reset, how = type(module.reset_fn).__name__, module.reset_fn
    rule = {"MembraneSubtract": "subtract_leak", "MembraneReset": "zero"}.get(reset, reset)
    if rule == reset:
        why = because(why, f"its reset_fn {reset} is not known here")
    elif rule == "zero" and how.reset_value != 0:
        why = because(why, "its reset_value is added to the potential of every neuron")
    elif rule == "subtract_leak" and how.subtract_value is not None:
        same = bool(torch.as_tensor(how.subtract_value, dtype=torch.float64).eq(threshold).all())
        why = because(why, "" if same else "it subtracts another value than its threshold")
    if name.endswith("Recurrent"):
        why = because(why, OWN_RECURRENT)
    return Spiking(
        threshold, leak, rule, ONE, input_gain=gain, synapse=synapse, fires_at_threshold=True,
        library="sinabs", why=why,
    )  # fmt: skip
