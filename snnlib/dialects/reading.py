"""What a module is: asks the dialect of the library that its class comes from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from snnlib.dialects import norse, ours, snntorch, spikingjelly
from snnlib.dialects.form import Spiking

__all__ = ["DECLARED", "form_of", "is_spiking", "read"]

# What users have declared, by class; it goes before everything else.
DECLARED: dict[type[nn.Module], Callable[[Any], Spiking]] = {}

# By package of the class: the normal form of a module, from it and the name of its class there.
DIALECTS: dict[str, Callable[[Any, str], Spiking | None]] = {
    "snnlib": ours.read,
    "snntorch": snntorch.read,
    "spikingjelly": spikingjelly.read,
    "norse": norse.read,
}


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
    form = form_of(module)
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


def form_of(module: nn.Module) -> Spiking | None:
    """As `read`, but of a neuron with a bad threshold too.

    Args:
        module: Any module.

    Returns:
        Its normal form as it stands.

    Example:
        >>> form_of(nn.ReLU()) is None
        True
    """
    for kind in type(module).__mro__:
        if kind in DECLARED:
            return DECLARED[kind](module)
    library, name = _origin(module)
    return DIALECTS[library](module, name)


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
    return form_of(module) is not None  # a neuron with a bad threshold spikes all the same


def _origin(module: nn.Module) -> tuple[str, str]:
    """Library of a module and the name of its class there, also for a user's subclass of it."""
    for kind in type(module).__mro__:
        root = kind.__module__.partition(".")[0]
        if root in DIALECTS and root != "snnlib":
            return root, kind.__name__
    return "snnlib", ""
