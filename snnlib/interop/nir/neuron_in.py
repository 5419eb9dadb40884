"""NIR nodes as our neurons."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from snnlib.interop.nir.time_step import Array, checked, delays, fill, kept
from snnlib.interop.nir.values import DELAY, RESET, array
from snnlib.neurons import LIF, CurrentLIF

__all__ = ["neuron"]


def neuron(nir: Any, name: str, node: Any, dt: float, step: str, dtype: torch.dtype) -> nn.Module:
    """The neurons of a LIF, CubaLIF or IF node.

    Args:
        nir: The package.
        name: Name of the node, for errors.
        node: The node.
        dt: Length of a time step.
        step: How a step of the differential equations is taken.
        dtype: Precision of values that neurons do not share.

    Returns:
        A `LIF`, or a `CurrentLIF` if the node has a synapse or a gain other than 1.

    Raises:
        ValueError: If a value is outside its range, or a spike does not return it to rest.
    """
    values = {
        key: array(getattr(node, key))
        for key in ("r", "v_threshold", "v_reset", "v_leak", "w_in", "tau", "tau_mem", "tau_syn")
        if hasattr(node, key)
    }
    # Other libraries write r so that the gain is 1 up to the rounding of their precision.
    precise = all(value.dtype == np.float64 for value in values.values())
    value = {key: found.astype(np.float64) for key, found in values.items()}
    threshold = _above_rest(name, value)
    reset = node.metadata.get(RESET, "zero")
    gain, settings = _over_a_step(nir, name, node, value, dt, step)
    if not (gain >= 0).all():
        raise ValueError(
            f"node {name!r} must have an input gain >= 0, got {gain.min():g}: "
            "put the sign into the weights before it"
        )
    if np.allclose(gain, 1, rtol=0, atol=1e-12 if precise else 1e-6):
        gain = np.ones(())
    settings |= {"threshold": threshold}
    shared: dict[str, Any] = {key: _joined(found, dtype) for key, found in settings.items()}
    shared["reset"] = reset.decode() if isinstance(reset, bytes) else reset
    input_gain = _joined(gain, dtype)
    if not isinstance(node, nir.CubaLIF):
        if not isinstance(input_gain, Tensor) and input_gain == 1:
            return LIF(**shared)
        shared["synapse_leak"] = 0.0
    return CurrentLIF(input_gain=input_gain, **shared)


def _above_rest(name: str, value: dict[str, Array]) -> Array:
    """The threshold, measured from the potential at which the neurons rest."""
    rest = value.get("v_leak", np.zeros(()))
    if not np.array_equal(np.broadcast_to(rest, value["v_reset"].shape), value["v_reset"]):
        raise ValueError(
            f"node {name!r} must have v_reset = {'v_leak' if 'v_leak' in value else '0'}, got "
            f"v_reset={value['v_reset'].flat[0]:g} and rest at {rest.flat[0]:g}: a spike sets our "
            "neurons to the potential at which they rest"
        )
    threshold = value["v_threshold"] - rest
    if not (threshold >= 0).all():
        raise ValueError(
            f"node {name!r} must have v_threshold >= its potential at rest, got "
            f"{threshold.min():g} above it"
        )
    return threshold


def _over_a_step(
    nir: Any, name: str, node: Any, value: dict[str, Array], dt: float, step: str
) -> tuple[Array, dict[str, Array]]:
    """The input gain, and the leaks and delay of a step."""
    gain = value["r"]
    if isinstance(node, nir.IF):
        return gain * dt, {"leak": np.ones(())}
    tau = checked(name, value["tau_mem" if "tau_mem" in value else "tau"], dt, step)
    gain, settings = gain * fill(tau, dt, step), {"leak": kept(tau, dt, step)}
    if isinstance(node, nir.CubaLIF):
        tau = checked(name, value["tau_syn"], dt, step)
        gain = gain * value["w_in"] * fill(tau, dt, step)
        settings["synapse_leak"] = kept(tau, dt, step)
        delay = node.metadata.get(DELAY)
        if delay is None:
            delay = delays(settings["leak"], settings["synapse_leak"], step)
        settings["delay"] = delay
    return gain, settings


def _joined(values: Any, dtype: torch.dtype) -> Any:
    """One float where all neurons share it."""
    values = np.asarray(values, dtype=np.float64)
    if (values == values.flat[0]).all():
        return float(values.flat[0])
    return torch.as_tensor(values, dtype=dtype)
