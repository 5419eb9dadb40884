"""Our neurons as NIR nodes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from snnlib import dialects
from snnlib.interop._neuron import beyond
from snnlib.interop.nir.time_step import Array, delays, fill, time_constant
from snnlib.interop.nir.values import DELAY, RESET
from snnlib.neurons import LIF, CurrentLIF

__all__ = ["neuron_node"]


def neuron_node(
    nir: Any,
    name: str,
    layer: LIF,
    shape: tuple[int, ...],
    dt: float,
    step: str,
    metadata: bool,
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

    Returns:
        The node.

    Raises:
        ValueError: If the layer or one of its settings has no equal in NIR.
    """
    _check(name, layer)
    marks = _reset_mark(name, layer, metadata)
    threshold = _per_neuron(name, layer.threshold, shape)
    leak = _per_neuron(name, layer.leak, shape)
    gain, synapse_leak, delay = np.ones(shape), None, None
    if isinstance(layer, CurrentLIF):
        gain, delay, synapse_leak = (
            _per_neuron(name, value, shape)
            for value in (layer.input_gain, layer.delay, layer.synapse_leak)
        )
        if not synapse_leak.any() and not delay.any():
            synapse_leak = None
    zero = np.zeros(shape)
    common = {"v_threshold": threshold, "v_reset": zero, "metadata": marks}
    if (leak == 1).all() and synapse_leak is None:
        return nir.IF(r=gain / dt, **common)
    tau = time_constant(name, "leak", leak, dt, step)
    if synapse_leak is None:
        return nir.LIF(tau=tau, r=gain / fill(tau, dt, step), v_leak=zero, **common)
    assert delay is not None
    tau_synapse = time_constant(name, "synapse_leak", synapse_leak, dt, step)
    marks |= _delay_mark(name, delay, delays(leak, synapse_leak, step), step, metadata)
    return nir.CubaLIF(
        tau_mem=tau,
        tau_syn=tau_synapse,
        r=gain / fill(tau, dt, step),
        w_in=1 / fill(tau_synapse, dt, step),
        v_leak=zero,
        **common,
    )


def _check(name: str, layer: LIF) -> None:
    """Refuse a neuron that no node is equal to."""
    form = dialects.read(layer)
    if form is not None and (extra := beyond(form)):
        raise ValueError(
            f"layer {name!r} is a {type(layer).__name__}, which cannot be exported: {extra}"
        )
    if layer.initial is not None:
        raise ValueError(
            f"layer {name!r} must start at rest, as NIR's neurons do, got an initial membrane"
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
    if not metadata:
        raise ValueError(
            f'layer {name!r} must have reset="zero", got {layer.reset!r}: NIR\'s neurons '
            "return to v_reset and have no soft reset; metadata=True exports the reset as "
            "metadata that only from_nir understands"
        )
    return {RESET: layer.reset}


def _delay_mark(
    name: str, delay: Array, wanted: Array, step: str, metadata: bool
) -> dict[str, Any]:
    """Another delay than the step's, for the metadata."""
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
