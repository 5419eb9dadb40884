"""The currents of spiking layers while an example runs: what they come from, and how they vary."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from snnlib.init.connection import Layer
from snnlib.init.flow import Flow
from snnlib.init.inventory import Inventory
from snnlib.init.norms import Intake, Norm, read_norm
from snnlib.init.operations import flow_of

__all__ = ["Watched", "intake_of", "longer", "shape_of"]

KEPT = 2**14  # currents of each step that are kept to measure a covariance over time


class Watched:
    """The currents of one layer."""

    def __init__(self) -> None:
        self.flow: Flow | None = None
        self.rows: list[Tensor] = []
        self.total, self.count = 0.0, 0

    def add(self, current: Tensor | None) -> None:
        """Take down a call's current."""
        if current is None:
            return
        flow = flow_of(current)
        self.flow = longer(self.flow, flow)
        self.total += float(current.detach().sum(dtype=torch.float64))
        self.count += current.numel()
        if flow is not None and any(node.kind == "normalization" for node in flow.walk()):
            self.rows.append(current.detach())

    def measured(self, sequence: bool) -> tuple[np.ndarray | None, tuple[float, float]]:
        """E[i_s i_t] over samples and neurons, and the currents' skewness and excess kurtosis."""
        if not self.rows:
            return None, (math.nan, math.nan)
        steps = torch.cat(self.rows) if sequence else torch.stack(self.rows)
        flat = steps.flatten(1)
        values = flat[:, :: max(1, flat.shape[1] // KEPT)].double()
        covariance = np.asarray((values @ values.T / values.shape[1]).cpu().numpy())
        return covariance, shape_of(values)


def shape_of(values: Tensor) -> tuple[float, float]:
    """Skewness and excess kurtosis; NaN of what does not vary."""
    centred = values.double() - values.double().mean()
    variance, third, fourth = (float(centred.pow(k).mean()) for k in (2, 3, 4))
    if not variance > 0:
        return math.nan, math.nan
    return third / variance**1.5, fourth / variance**2 - 3


def longer(one: Flow | None, two: Flow | None) -> Flow | None:
    """Of two steps' flows the one that shows more: before the first spike a state may be empty."""
    if one is None or (two is not None and two.size > one.size):
        return two
    return one


def intake_of(found: Inventory, layer: Layer, watched: Watched | None) -> Intake | None:
    """What a layer's currents were computed from.

    Args:
        found: The network's weights and layers.
        layer: The layer.
        watched: Its currents; None if none was seen.

    Returns:
        The intake.
    """
    if watched is None or watched.flow is None:
        return None
    flow = watched.flow
    modules = {name: module for module, name in found.names.items()}
    norms: dict[str, Norm] = {}
    for node in flow.walk():
        if node.kind == "normalization":
            weights = frozenset(_parameter(o) for o in node.sources() if _weight(found, o))
            module = modules.get(node.name)
            if module is not None and weights:
                norms[node.name] = read_norm(node.name, module, weights)
    # What enters a layer with weights of its own is multiplied there.
    joins = [] if layer.spiking.recurrent else flow.sources()
    others = [_shown(found, o) for o in joins if not _weight(found, o)]
    covariance, shape = watched.measured(layer.spiking.sequence)
    return Intake(
        flow,
        tuple(norms.values()),
        _factors(flow, norms),
        watched.total / watched.count if watched.count else math.nan,
        covariance,
        shape,
        tuple(others),
    )


def _weight(found: Inventory, origin: object) -> bool:
    return origin in found.weights or origin in found.raw


def _parameter(origin: object) -> nn.Parameter:
    weight = origin.weight if isinstance(origin, nn.Module) else origin
    assert isinstance(weight, nn.Parameter)
    return weight


def _shown(found: Inventory, origin: object) -> str:
    return found.names[origin] if isinstance(origin, nn.Module) else str(origin)


def _factors(flow: Flow, norms: dict[str, Norm]) -> tuple[float, ...] | None:
    """Factors of the norms of which a flow is the sum, in their order; None if it is another."""
    found: dict[str, float] = {}

    def visit(node: Flow, factor: float) -> bool:
        if node.kind == "normalization" and node.name in norms and norms[node.name].known:
            found[node.name] = found.get(node.name, 0.0) + factor
            return True
        if node.kind == "affine" and node.offset == 0 and math.isfinite(node.number):
            return visit(node.parts[0], factor * node.number)
        return node.kind == "sum" and all(visit(part, factor) for part in node.parts)

    if not norms or not visit(flow, 1.0) or set(found) != set(norms):
        return None
    return tuple(found[name] for name in norms)
