"""From a foreign neuron's normal form to one of our neurons, and the way back up to the names."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from snnlib import dialects
from snnlib.neurons import LIF, CurrentLIF
from snnlib.surrogate import LIBRARY_NAMES, Surrogate, from_library


def form_of(module: nn.Module, library: str) -> dialects.Spiking:
    """Normal form of a neuron of the library that has an equal here, or the error that says why.

    Args:
        module: A foreign neuron.
        library: The library that it must be of.

    Returns:
        Its normal form.

    Raises:
        ValueError: If it is no such neuron, or no neuron of snnlib is equal to it.
    """
    name = type(module).__name__
    form = dialects.read(module)
    if form is None or form.library != library:
        raise ValueError(f"module must be a spiking neuron of {library}, got {name}")
    if form.why:
        raise ValueError(f"{name} has no equal here: {form.why}")
    if not bool((form.height == 1).all()):
        raise ValueError(
            f"{name} has no equal here: its spikes are {_shown(form.height)} high; "
            "give them height 1 and multiply the weights that they enter"
        )
    if not bool((form.input_gain > 0).all()):
        raise ValueError(f"{name} has no equal here: its input gain is {_shown(form.input_gain)}")
    return form


def build(
    module: nn.Module,
    form: dialects.Spiking,
    *,
    surrogate: Surrogate,
    detach_reset: bool,
    learned: Iterable[str] = (),
    initial: Tensor | None = None,
    fires_at_threshold: bool = False,
) -> LIF:
    """The neuron of ours with a given normal form.

    A neuron without a synapse gets input gain 1: its potential and threshold are counted in units
    of the gain, and the surrogate with them.

    Args:
        module: The foreign neuron, for its device.
        form: Its normal form.
        surrogate: Surrogate derivative in the unit of the foreign potential.
        detach_reset: Whether the way back ignores that the reset depends on the spike.
        learned: Which of `"threshold"`, `"leak"`, `"synapse_leak"` are learnable.
        initial: Membrane before the first step, in the unit of the foreign potential.
        fires_at_threshold: Lower the threshold to the next float32, so that u = θ spikes.

    Returns:
        A `LIF`, or a `CurrentLIF` where there is a synapse or a gain per neuron.
    """
    threshold, gain, learned = form.threshold, form.input_gain, set(learned)
    plain = form.synapse is None and gain.numel() == 1
    if plain:
        threshold, scale = threshold / gain, float(gain)
        surrogate = rescaled(surrogate, scale)
        initial = None if initial is None else initial / scale
    if fires_at_threshold:
        if "threshold" in learned:
            raise ValueError("exact_at_threshold needs a threshold that is not learned")
        threshold = torch.nextafter(threshold.float(), torch.tensor(-torch.inf))
    settings: dict[str, Any] = {
        "threshold": number(threshold, "threshold" in learned),
        "leak": number(form.leak, "leak" in learned),
        "reset": form.reset,
        "surrogate": surrogate,
        "detach_reset": detach_reset,
        "learn_threshold": "threshold" in learned,
        "learn_leak": "leak" in learned,
        "initial": initial,
    }
    held = (*module.parameters(), *module.buffers(), getattr(getattr(module, "p", None), "v_th", 0))
    device = getattr(held[0], "device", "cpu")
    if plain:
        return LIF(**settings).to(device)
    synapse = torch.zeros(()) if form.synapse is None else form.synapse
    return CurrentLIF(
        **settings,
        synapse_leak=number(synapse, "synapse_leak" in learned),
        learn_synapse_leak="synapse_leak" in learned,
        input_gain=number(gain),
    ).to(device)


class Own(NamedTuple):
    """What a foreign neuron needs to know of one of ours."""

    form: dialects.Spiking
    surrogate: Surrogate
    learned: frozenset[str]
    gain: float


def own(neuron: LIF, library: str) -> Own:
    """Constants of one of our neurons, once it is known that other libraries can have an equal.

    Args:
        neuron: A `LIF` or `CurrentLIF`.
        library: Name for the errors.

    Returns:
        Normal form, surrogate, names of learned constants and input gain.

    Raises:
        ValueError: If it is no neuron of snnlib, or one with recurrent weights, adaptation, an
            initial membrane, a delay, a gain per neuron or a surrogate of the relative voltage.
    """
    if not isinstance(neuron, LIF):
        raise ValueError(f"neuron must be a LIF or CurrentLIF, got {type(neuron).__name__}")
    form = dialects.read(neuron)
    assert form is not None
    kind = type(neuron).__name__
    if extra := beyond(form):
        raise ValueError(f"{kind} cannot be converted to {library}: {extra}")
    if neuron.threshold_gradient != "absolute":
        raise ValueError(
            f"{kind} has no equal in {library}: the argument of its surrogate is u/θ - 1 "
            f'(threshold_gradient="{neuron.threshold_gradient}")'
        )
    if neuron.initial is not None:
        raise ValueError(
            f"{kind} has no equal in {library}: it starts from an initial membrane; "
            "pass that as the state of the first call there"
        )
    if form.delay:
        raise ValueError(f"{kind} has no equal in {library}: delay={form.delay:g} must be 0")
    if form.input_gain.numel() > 1:
        raise ValueError(f"{kind} has no equal in {library}: input_gain must be one number")
    learned = {
        name
        for name in ("threshold", "leak", "synapse_leak")
        if getattr(neuron, f"learn_{name}", False)
    }
    return Own(form, neuron.surrogate, frozenset(learned), float(form.input_gain))


def beyond(form: dialects.Spiking) -> str:
    """What one of our neurons is beyond a `LIF` or `CurrentLIF`; empty if nothing."""
    return "it has recurrent weights of its own" if form.recurrent else form.why


def number(value: Tensor, learned: bool = False) -> float | Tensor:
    """One number as a float; several, or a learnable one, as a tensor of the default dtype."""
    if value.numel() == 1 and not learned:
        return float(value)
    return value.to(torch.get_default_dtype())


def learnable(value: Any) -> bool:
    """Whether a constant of a foreign module takes part in learning."""
    return isinstance(value, Tensor) and value.requires_grad


def rescaled(surrogate: Surrogate, unit: float) -> Surrogate:
    r"""The surrogate for a potential counted in another unit: $\lambda \sigma'(\lambda v)$.

    Args:
        surrogate: Surrogate of the potential u.
        unit: λ: the new potential is u/λ.

    Returns:
        Surrogate of the new potential.
    """
    if unit == 1:
        return surrogate
    return Surrogate(
        surrogate.shape, surrogate.dampening * unit, surrogate.sharpness * unit, surrogate.tail
    )


def from_name(library: str, name: str, **settings: float) -> Surrogate:
    """`from_library`, with the error that a converter owes for a surrogate that it lacks."""
    full = f"{library}.{name}"
    if full not in LIBRARY_NAMES:
        known = ", ".join(form for form in LIBRARY_NAMES if form.startswith(library))
        raise ValueError(f"{full} is none of the eight shapes here; known are {known}")
    return from_library(full, **settings)


def named(library: str, surrogate: Surrogate) -> tuple[str, float] | None:
    """Name and setting with which a library has a surrogate; None if it has none.

    The table is `from_library`'s: each form has one setting, in which dampening and sharpness are
    constant or proportional, or which is the tail.

    Args:
        library: ``"snntorch"``, ``"spikingjelly"`` or ``"norse"``.
        surrogate: The surrogate.

    Returns:
        (name, setting), for instance ("ATan", 2.0).
    """
    for full in LIBRARY_NAMES:
        own, _, name = full.partition(".")
        if own != library:
            continue
        key = "slope" if full in ("snntorch.fast_sigmoid", "snntorch.sigmoid") else "alpha"
        unit = from_library(full, **{key: 2.0})
        if unit.shape != surrogate.shape:
            continue
        candidates = (
            2 * surrogate.dampening / unit.dampening,
            2 * surrogate.sharpness / unit.sharpness,
            surrogate.tail,
        )
        for value in candidates:
            try:
                found = from_library(full, **{key: value})
            except ValueError:  # for instance a tail of 1
                continue
            if all(
                abs(getattr(found, field) - getattr(surrogate, field))
                <= 1e-12 * getattr(surrogate, field)
                for field in ("dampening", "sharpness", "tail")
            ):
                return name, value
    return None


def _shown(value: Tensor) -> str:
    return f"{float(value):g}" if value.numel() == 1 else f"{value.tolist()}"
