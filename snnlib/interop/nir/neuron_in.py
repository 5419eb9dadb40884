"""NIR nodes as our neurons."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from snnlib.interop.nir.layers import Drive
from snnlib.interop.nir.simulators import Convention
from snnlib.interop.nir.time_step import Array, checked, delays, fill, kept
from snnlib.interop.nir.values import DELAY, RESET, START, array
from snnlib.neurons import (
    LIF,
    CurrentLIF,
    LeakyIntegrator,
    RecurrentCurrentLIF,
    RecurrentLIF,
)

__all__ = ["Feedback", "integrator", "neuron"]


class Feedback(NamedTuple):
    """What leads from neurons back to them.

    Attributes:
        weight: Recurrent weights [n, n].
        bias: Bias [n], or None.
    """

    weight: Tensor
    bias: Tensor | None


class _Step(NamedTuple):
    """A step of a node: input gain, leak, and leak and delay of a synapse if it has one."""

    gain: Array
    leak: Array
    synapse_leak: Array | None
    delay: Any


def neuron(
    nir: Any,
    name: str,
    node: Any,
    dt: float,
    how: Convention,
    feedback: Feedback | None = None,
    fixed: frozenset[str] = frozenset(),
) -> list[tuple[str, nn.Module]]:
    """The neurons of a LIF, CubaLIF or IF node.

    Args:
        nir: The package.
        name: Name of the node, for errors.
        node: The node.
        dt: Length of a time step.
        how: What the graph leaves open.
        feedback: Recurrent weights, or None.
        fixed: What of it the caller named; that stands above the node's metadata.

    Returns:
        Layers by what their names end in: the neurons, and before them a `Drive` where v_leak is
        not v_reset.

    Raises:
        ValueError: If a value is outside its range.
    """
    value = _values(node)
    rest = np.broadcast_to(value.get("v_leak", value["v_reset"]), value["v_reset"].shape)
    away = rest - value["v_reset"]  # counted from v_reset
    threshold = value["v_threshold"] - value["v_reset"]
    if not (threshold >= 0).all():
        raise ValueError(
            f"node {name!r} must have v_threshold >= v_reset, got {threshold.min():g} above it: a "
            "spike would be followed by another without end"
        )
    how = _noted(node, how, fixed)
    step = _over_a_step(nir, name, node, value, dt, how)
    settings: dict[str, Any] = {
        "threshold": _joined(threshold),
        "leak": _joined(step.leak),
        "reset": how.reset,
    }
    layers: list[tuple[str, nn.Module]] = []
    initial = np.zeros(away.shape)
    if away.any():
        if how.start == "leak":
            initial = initial + away
        drive, more = _drive(name, away, step)
        layers.append((".drive", drive))
        initial = initial + more
    if initial.any():
        settings["initial"] = torch.from_numpy(np.ascontiguousarray(initial))
    gain = _joined(step.gain)
    plain = step.synapse_leak is None and not isinstance(gain, Tensor) and gain == 1
    if not plain:
        settings |= {
            "input_gain": gain,
            "synapse_leak": 0.0 if step.synapse_leak is None else _joined(step.synapse_leak),
            "delay": _joined(step.delay),
        }
    layers.append(("", _made(plain, settings, feedback)))
    return layers


def integrator(
    nir: Any,
    name: str,
    node: Any,
    dt: float,
    how: Convention,
    fixed: frozenset[str] = frozenset(),
) -> LeakyIntegrator:
    """The membranes of an LI, CubaLI or I node, which start at v_leak."""
    value = _values(node)
    how = _noted(node, how, fixed)
    step = _over_a_step(nir, name, node, value, dt, how)
    return LeakyIntegrator(
        leak=_joined(step.leak),
        synapse_leak=0.0 if step.synapse_leak is None else _joined(step.synapse_leak),
        input_gain=_joined(step.gain),
        delay=_joined(step.delay),
        rest=_joined(value.get("v_leak", np.zeros(()))),
    )


def _values(node: Any) -> dict[str, Array]:
    """The numbers of a node in double precision."""
    keys = ("r", "v_threshold", "v_reset", "v_leak", "w_in", "tau", "tau_mem", "tau_syn")
    found = {key: array(getattr(node, key)) for key in keys if hasattr(node, key)}
    return {key: value.astype(np.float64) for key, value in found.items()}


def _noted(node: Any, how: Convention, fixed: frozenset[str]) -> Convention:
    """The convention with what `to_nir` has noted at the node and the caller did not name."""
    noted = node.metadata if isinstance(node.metadata, dict) else {}
    found: dict[str, Any] = {}
    for field, key in (("reset", RESET), ("delay", DELAY), ("start", START)):
        if key in noted and field not in fixed:
            value = noted[key]
            found[field] = value.decode() if isinstance(value, bytes) else value
    return how._replace(**found)


def _over_a_step(
    nir: Any, name: str, node: Any, value: dict[str, Array], dt: float, how: Convention
) -> _Step:
    """What a step of the differential equations does."""
    gain, synapse_leak, delay = value["r"], None, np.zeros(())
    if isinstance(node, (nir.IF, nir.I)):
        gain, leak = gain * dt, np.ones(())
    else:
        tau = checked(name, value["tau_mem" if "tau_mem" in value else "tau"], dt, how.step)
        gain, leak = gain * fill(tau, dt, how.step), kept(tau, dt, how.step)
    if "tau_syn" in value:
        tau = checked(name, value["tau_syn"], dt, how.step)
        gain = gain * value["w_in"] * fill(tau, dt, how.step)
        synapse_leak = kept(tau, dt, how.step)
        delay = delays(leak, synapse_leak, how.step) if how.delay is None else np.array(how.delay)
    if not (gain >= 0).all():
        raise ValueError(
            f"node {name!r} must have an input gain >= 0, got {gain.min():g}: "
            "put the sign into the weights before it"
        )
    # Other libraries write r so that the gain is 1 up to the rounding of their precision.
    precise = all(array(getattr(node, key)).dtype == np.float64 for key in value)
    if np.allclose(gain, 1, rtol=0, atol=1e-12 if precise else 1e-6):
        gain = np.ones(())
    return _Step(gain, leak, synapse_leak, delay)


def _drive(name: str, away: Array, step: _Step) -> tuple[Drive, Array]:
    """The constant current that holds the potential at `away`, and the start that it needs."""
    gain = np.broadcast_to(step.gain, away.shape)
    pulled = (1 - step.leak) * away  # into the membrane, at each step
    if (gain[pulled != 0] == 0).any():
        raise ValueError(
            f"node {name!r} must have r > 0 where v_leak differs from v_reset, got 0: the pull of "
            "the leak enters as a current"
        )
    first = np.divide(pulled, gain, out=np.zeros(away.shape), where=gain != 0)
    if step.synapse_leak is None:
        value, more = first, np.zeros(away.shape)
    else:
        value = (1 - step.synapse_leak) * first
        if np.any(step.delay) and (step.leak == 0).any():
            raise ValueError(
                f"node {name!r} must have a leak > 0 where v_leak differs from v_reset and the "
                "membrane lags, got 0: take delay=0"
            )
        safe = np.where(step.leak > 0, step.leak, 1.0)
        more = step.delay * pulled / safe  # what the lagging membrane misses at the first step
    given = [torch.from_numpy(np.array(part, dtype=np.float64)) for part in (away, value, first)]
    return Drive(*given), more


def _made(plain: bool, settings: dict[str, Any], feedback: Feedback | None) -> nn.Module:
    """The layer of neurons."""
    if feedback is None:
        return (LIF if plain else CurrentLIF)(**settings)
    weight, bias = feedback
    kind: Any = RecurrentLIF if plain else RecurrentCurrentLIF
    own = bool(weight.diagonal().any())
    layer = kind(weight.shape[0], self_connections=own, bias=bias is not None, **settings)
    layer.weight = nn.Parameter(weight)
    if bias is not None:
        layer.bias = nn.Parameter(bias.to(weight.dtype))
    return layer


def _joined(values: Any) -> Any:
    """One float where all neurons share it, else a tensor in double precision."""
    values = np.asarray(values, dtype=np.float64)
    if (values == values.flat[0]).all():
        return float(values.flat[0])
    return torch.from_numpy(values.copy())
