"""Our neurons as NIR nodes."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from snnlib import dialects
from snnlib.interop._neuron import beyond
from snnlib.interop.nir.layers import Drive
from snnlib.interop.nir.time_step import Array, delays, fill, time_constant
from snnlib.interop.nir.values import DELAY, RESET, START, plain
from snnlib.neurons import (
    LIF,
    CurrentLIF,
    LeakyIntegrator,
    RecurrentCurrentLIF,
    RecurrentLIF,
)
from snnlib.resets import RULES

__all__ = ["feedback_node", "is_threshold", "membrane_node", "neuron_node"]


def neuron_node(
    nir: Any,
    name: str,
    layer: LIF,
    shape: tuple[int, ...],
    dt: float,
    step: str,
    metadata: bool,
    drive: Drive | None = None,
) -> Any:
    """The LIF, CubaLIF or IF node of a layer of neurons, with one value per neuron.

    Args:
        nir: The package.
        name: Name of the layer, for errors.
        layer: The layer.
        shape: Shape of its input without time and batch.
        dt: Length of a time step.
        step: How a step is read as differential equations.
        metadata: Whether to note what NIR has no word for.
        drive: What pulls its potential to another one than a spike sets it to.

    Returns:
        The node.

    Raises:
        ValueError: If the layer or one of its settings has no equal in NIR.
    """
    _check(name, layer)
    threshold = _per_neuron(name, layer.threshold, shape)
    rest = np.zeros(shape) if drive is None else _per_neuron(name, drive.rest, shape)
    found = _constants(name, layer, shape, dt, step)
    marks = _reset_mark(name, layer, metadata)
    marks |= _start_mark(name, layer, found, rest, metadata)
    common = {"v_threshold": threshold, "v_reset": np.zeros(shape), "metadata": marks}
    if found.tau is None:
        return nir.IF(r=found.r, **common)
    common["v_leak"] = rest
    if found.tau_synapse is None:
        return nir.LIF(tau=found.tau, r=found.r, **common)
    marks |= _delay_mark(name, found, step, metadata)
    return nir.CubaLIF(
        tau_mem=found.tau, tau_syn=found.tau_synapse, r=found.r, w_in=found.w_in, **common
    )


def membrane_node(
    nir: Any,
    name: str,
    layer: LIF | LeakyIntegrator,
    shape: tuple[int, ...],
    dt: float,
    step: str,
    metadata: bool,
) -> Any:
    """The LI, CubaLI or I node of membranes that are read, or the Threshold of neurons.

    Args:
        nir: The package.
        name: Name of the layer, for errors.
        layer: The layer.
        shape: Shape of its input without time and batch.
        dt: Length of a time step.
        step: How a step is read as differential equations.
        metadata: Whether to note what NIR has no word for.

    Returns:
        The node.

    Raises:
        ValueError: If a setting of the layer has no equal in NIR.
    """
    if isinstance(layer, LIF):
        return nir.Threshold(_per_neuron(name, layer.threshold, shape))
    found = _constants(name, layer, shape, dt, step)
    rest = _per_neuron(name, layer.rest, shape)
    if found.tau is None:
        if rest.any():
            raise ValueError(f"layer {name!r} must have rest=0 with leak 1, as NIR's I has no rest")
        return nir.I(r=found.r)
    if found.tau_synapse is None:
        return nir.LI(tau=found.tau, r=found.r, v_leak=rest)
    return nir.CubaLI(
        tau_mem=found.tau,
        tau_syn=found.tau_synapse,
        r=found.r,
        w_in=found.w_in,
        v_leak=rest,
        metadata=_delay_mark(name, found, step, metadata),
    )


def feedback_node(nir: Any, layer: RecurrentLIF | RecurrentCurrentLIF) -> Any:
    """The Linear or Affine node of recurrent weights."""
    weight = layer.weight.detach()
    if not layer.self_connections:
        weight = weight.clone().fill_diagonal_(0.0)
    if layer.bias is None:
        return nir.Linear(plain(weight))
    return nir.Affine(plain(weight), plain(layer.bias))


def is_threshold(layer: LIF) -> bool:
    """Whether neurons have no memory at all: NIR's Threshold."""
    return (
        type(layer) is LIF
        and layer.reset == "none"
        and layer.threshold_gradient != "threshold_robust"
        and bool((torch.as_tensor(layer.leak) == 0).all())
        and layer.initial is None
    )


class _Constants(NamedTuple):
    """A step as differential equations; None is no leak, or no synapse."""

    r: Array
    tau: Array | None
    tau_synapse: Array | None
    w_in: Array | None
    leak: Array
    synapse_leak: Array | None
    delay: Array


def _constants(
    name: str, layer: LIF | LeakyIntegrator, shape: tuple[int, ...], dt: float, step: str
) -> _Constants:
    """Time constants and gains of a layer."""
    leak = _per_neuron(name, layer.leak, shape)
    gain, synapse_leak, delay = np.ones(shape), None, np.zeros(shape)
    if isinstance(layer, (CurrentLIF, LeakyIntegrator)):
        gain, delay, synapse_leak = (
            _per_neuron(name, value, shape)
            for value in (layer.input_gain, layer.delay, layer.synapse_leak)
        )
        if not synapse_leak.any() and not delay.any():
            synapse_leak = None
    if (leak == 1).all() and synapse_leak is None:
        return _Constants(gain / dt, None, None, None, leak, None, delay)
    tau = time_constant(name, "leak", leak, dt, step)
    r = gain / fill(tau, dt, step)
    if synapse_leak is None:
        return _Constants(r, tau, None, None, leak, None, delay)
    tau_synapse = time_constant(name, "synapse_leak", synapse_leak, dt, step)
    w_in = 1 / fill(tau_synapse, dt, step)
    return _Constants(r, tau, tau_synapse, w_in, leak, synapse_leak, delay)


def _check(name: str, layer: LIF) -> None:
    """Refuse a neuron that no node is equal to."""
    form = dialects.read(layer)
    recurrent = isinstance(layer, (RecurrentLIF, RecurrentCurrentLIF))
    if form is not None and not recurrent and (extra := beyond(form)):
        raise ValueError(
            f"layer {name!r} is a {type(layer).__name__}, which cannot be exported: {extra}"
        )
    if layer.threshold_gradient == "threshold_robust":
        raise ValueError(
            f"layer {name!r} sends on its threshold for every spike (threshold_robust), NIR's "
            "neurons send 1: multiply the next weights by the threshold and use "
            'threshold_gradient="relative"'
        )


def _reset_mark(name: str, layer: LIF, metadata: bool) -> dict[str, Any]:
    """Another reset than NIR's, for the metadata."""
    if layer.reset == "zero":
        return {}
    if layer.reset not in RULES:
        raise ValueError(
            f"layer {name!r} must have one of the resets {', '.join(map(repr, RULES))}, got "
            f"{layer.reset!r}"
        )
    if not metadata:
        raise ValueError(
            f'layer {name!r} must have reset="zero", got {layer.reset!r}: NIR\'s neurons '
            "return to v_reset and have no soft reset; metadata=True exports the reset as "
            "metadata that only from_nir understands"
        )
    return {RESET: layer.reset}


def _start_mark(
    name: str, layer: LIF, found: _Constants, rest: Array, metadata: bool
) -> dict[str, Any]:
    """Another start than at v_reset, for the metadata: at v_leak."""
    given = np.zeros(()) if layer.initial is None else _start_of(name, layer, rest.shape)
    # What a lagging membrane misses at the first step of a constant current.
    missed = np.where(found.leak > 0, (1 - found.leak) / np.where(found.leak > 0, found.leak, 1), 0)
    missed = found.delay * missed * rest
    if np.allclose(given, missed, rtol=0, atol=1e-9):
        return {}
    if not rest.any() or not np.allclose(given, missed + rest, rtol=0, atol=1e-9):
        raise ValueError(
            f"layer {name!r} must start at rest, as NIR's neurons do, got an initial membrane"
        )
    if not metadata:
        raise ValueError(
            f"layer {name!r} starts at the potential that it leaks to, where NIR says nothing; "
            "metadata=True exports that as metadata that only from_nir understands"
        )
    return {START: "leak"}


def _start_of(name: str, layer: LIF, shape: tuple[int, ...]) -> Array:
    if isinstance(layer.initial, Tensor):
        return _per_neuron(name, layer.initial, shape)
    return np.full(shape, np.nan)  # learned from batches


def _delay_mark(name: str, found: _Constants, step: str, metadata: bool) -> dict[str, Any]:
    """Another delay than the step's, for the metadata."""
    assert found.synapse_leak is not None
    delay, wanted = found.delay, delays(found.leak, found.synapse_leak, step)
    if np.allclose(delay, wanted, rtol=0, atol=1e-9):
        return {}
    if not metadata:
        raise ValueError(
            f"layer {name!r} must have the delay of the step {step!r}, "
            f"{wanted.flat[0]:.6g}, got {delay.flat[0]:.6g}; metadata=True exports the delay "
            "as metadata that only from_nir understands"
        )
    return {DELAY: delay}


def _per_neuron(name: str, value: float | Tensor, shape: tuple[int, ...]) -> Array:
    """One value per neuron."""
    tensor = torch.as_tensor(value, dtype=torch.float64).detach().cpu()
    if tensor.dim() > len(shape) and tensor.shape[0] != 1:
        raise ValueError(
            f"layer {name!r} must have one value per neuron, got one per sample: "
            f"a tensor of shape {list(tensor.shape)}"
        )
    return tensor.expand(1, *shape)[0].numpy().copy()
