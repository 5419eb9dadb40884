"""NIR graphs as our networks."""

from __future__ import annotations

from collections import OrderedDict
from os import PathLike
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from snnlib._extras import require
from snnlib.interop.nir.neuron_in import neuron
from snnlib.interop.nir.time_step import Step, check_step
from snnlib.interop.nir.values import BIAS, DT, STEP, check_positive, free, tensor
from snnlib.networks import FeedForward

__all__ = ["from_nir"]


def from_nir(
    graph: Any,
    *,
    dt: float | None = None,
    step: Step | None = None,
) -> FeedForward:
    r"""Build the network of a NIR graph or file.

    A LIF or IF node becomes `LIF`, or `CurrentLIF` with `synapse_leak=0` where its input gain
    $\lambda$ is not 1; a CubaLIF node becomes `CurrentLIF`. The membrane counts from
    $v_\text{leak}$, so the threshold is $v_\text{threshold} - v_\text{leak}$. Values that all
    neurons of a layer share become one float.

    Args:
        graph: A `nir.NIRGraph` whose nodes form one chain from input to output, or the path of a
            file.
        dt: Length Δt > 0 of a time step, in the unit of the graph's time constants. None: that
            which `to_nir` has noted; other graphs need it (snnTorch and SpikingJelly write for
            1e-4).
        step: `"exponential"`, `"exact"` or `"euler"`, see `snnlib.interop.nir`. None: that which
            `to_nir` has noted, else `"exponential"`. What other libraries mean is `"euler"`.

    Returns:
        A network from currents [T, batch, features...] to the output of the last node. Weights
        keep their precision.

    Raises:
        ImportError: If the package `nir` is not installed.
        ValueError: If the graph is no chain, has a node without an equal here, or a value is
            outside its range.

    Source:
        NIR's definition of its primitives (package `nir`, `nir.ir`).

    Example:
        >>> import pytest
        >>> nir = pytest.importorskip("nir")
        >>> from snnlib.interop.nir import to_nir
        >>> from snnlib.neurons import LIF
        >>> network = from_nir(to_nir(LIF(threshold=0.5, reset="zero"), shape=(3,)))
        >>> network[0].leak, network[0].threshold, network[0].reset
        (0.5, 0.5, 'zero')
    """
    nir = require("nir", "nir")
    if isinstance(graph, (str, PathLike)):
        graph = nir.read(graph, type_check=False)
    if not isinstance(graph, nir.NIRGraph):
        raise ValueError(f"graph must be a nir.NIRGraph or a path, got {type(graph).__name__}")
    noted = graph.metadata if isinstance(graph.metadata, dict) else {}
    dt = noted.get(DT) if dt is None else dt
    if dt is None:
        raise ValueError(
            "dt must be given, in the unit of the graph's time constants: NIR does not say how "
            "long a time step is (snnTorch and SpikingJelly write for dt=1e-4, step='euler')"
        )
    check_positive("dt", dt)
    step = noted.get(STEP, "exponential") if step is None else step
    check_step(step)
    chain = _chain(nir, graph)
    weights = (tensor(node.weight) for _, node in chain if hasattr(node, "weight"))
    dtype = next((weight.dtype for weight in weights), torch.get_default_dtype())
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for name, node in chain:
        layer = _layer(nir, name, node, float(dt), step, dtype)
        layers[free(name.replace(".", "_"), layers, *dir(FeedForward))] = layer
    return FeedForward(layers)


def _chain(nir: Any, graph: Any) -> list[tuple[str, Any]]:
    """The nodes between input and output, in order."""
    after: dict[str, str] = {}
    for source, target in graph.edges:
        if source in after:
            raise ValueError(
                f"graph must be one chain of nodes, got two edges from {source!r}: branches and "
                "recurrent connections cannot be imported"
            )
        after[source] = target
    starts = [name for name, node in graph.nodes.items() if isinstance(node, nir.Input)]
    if len(starts) != 1:
        raise ValueError(f"graph must have one input, got {len(starts)}")
    found: list[tuple[str, Any]] = []
    name = starts[0]
    while name in after:
        name = after[name]
        if len(found) == len(graph.nodes):
            raise ValueError(f"graph must be one chain of nodes, got a cycle through {name!r}")
        if name not in graph.nodes:
            raise ValueError(f"graph has an edge to {name!r}, which is not one of its nodes")
        found.append((name, graph.nodes[name]))
    if not found or not isinstance(found[-1][1], nir.Output):
        raise ValueError(f"graph must end in an output, got an end at {name!r}")
    missing = set(graph.nodes) - {name for name, _ in found} - {starts[0]}
    if missing:
        raise ValueError(
            f"graph must be one chain of nodes, got nodes beside it: {', '.join(sorted(missing))}"
        )
    return found[:-1]


def _layer(nir: Any, name: str, node: Any, dt: float, step: str, dtype: torch.dtype) -> nn.Module:
    """The layer of a NIR node."""
    if isinstance(node, (nir.LIF, nir.CubaLIF, nir.IF)):
        return neuron(nir, name, node, dt, step, dtype)
    if isinstance(node, (nir.Linear, nir.Affine)):
        weight = tensor(node.weight)
        if weight.dim() != 2:
            raise ValueError(
                f"node {name!r} must have a weight of two dimensions, got {list(weight.shape)}"
            )
        bias = isinstance(node, nir.Affine)
        linear = nn.utils.skip_init(nn.Linear, weight.shape[1], weight.shape[0], bias=bias)
        return _filled(linear, weight, tensor(node.bias) if bias else None)
    if isinstance(node, (nir.Conv1d, nir.Conv2d)):
        weight = tensor(node.weight)
        kind = nn.Conv1d if isinstance(node, nir.Conv1d) else nn.Conv2d
        groups, bias = int(node.groups), BIAS not in node.metadata
        convolution = nn.utils.skip_init(
            kind,
            weight.shape[1] * groups,
            weight.shape[0],
            tuple(weight.shape[2:]),
            stride=_sizes(node.stride),
            padding=_sizes(node.padding),
            dilation=_sizes(node.dilation),
            groups=groups,
            bias=bias,
        )
        return _filled(convolution, weight, tensor(node.bias) if bias else None)
    if isinstance(node, nir.Flatten):
        # Time and batch come before NIR's dimensions.
        first, last = (
            dim + 2 if dim >= 0 else dim for dim in (int(node.start_dim), int(node.end_dim))
        )
        return nn.Flatten(first, last)
    kind_name = type(node).__name__
    why = {
        "LI": ": it does not spike",
        "CubaLI": ": it does not spike",
        "I": ": it does not spike",
        "NIRGraph": ": nested graphs are recurrent layers",
    }.get(kind_name, "")
    raise ValueError(
        f"node {name!r} is a {kind_name}, which cannot be imported{why}; known are Linear, Affine, "
        "Conv1d, Conv2d, Flatten, LIF, CubaLIF and IF"
    )


def _filled(layer: nn.Module, weight: Tensor, bias: Tensor | None) -> nn.Module:
    layer.weight = nn.Parameter(weight)
    if bias is not None:
        layer.bias = nn.Parameter(bias.to(weight.dtype))
    return layer


def _sizes(value: Any) -> Any:
    """Stride, padding or dilation, after a file has made arrays and bytes of them."""
    if isinstance(value, (str, bytes)):
        return value.decode() if isinstance(value, bytes) else value
    sizes = tuple(int(size) for size in np.atleast_1d(np.asarray(value)))
    return sizes[0] if len(sizes) == 1 else sizes
