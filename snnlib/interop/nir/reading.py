"""NIR graphs as our networks."""

from __future__ import annotations

from collections import OrderedDict
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from snnlib._extras import require
from snnlib.interop.nir.branched import Branched
from snnlib.interop.nir.graph_in import Graph, flattened, load
from snnlib.interop.nir.layers import Chain, Scale, SumPool2d
from snnlib.interop.nir.neuron_in import Feedback, integrator, neuron
from snnlib.interop.nir.simulators import Convention, convention
from snnlib.interop.nir.time_step import Step, check_step
from snnlib.interop.nir.values import BIAS, DT, STEP, array, check_positive, free, tensor
from snnlib.networks import FeedForward
from snnlib.neurons import LIF

__all__ = ["from_nir"]


def from_nir(
    graph: Any,
    *,
    dt: float | None = None,
    step: Step | None = None,
    simulator: str | None = None,
    reset: str | None = None,
    delay: float | None = None,
    start: str | None = None,
) -> FeedForward | Branched:
    r"""Build the network of a NIR graph or file.

    A LIF or IF node becomes `LIF`, or `CurrentLIF` with `synapse_leak=0` where its input gain
    $\lambda$ is not 1; a CubaLIF node becomes `CurrentLIF`; with a way back through a Linear,
    Affine or Scale node, `RecurrentLIF` or `RecurrentCurrentLIF`. LI, CubaLI and I become
    `LeakyIntegrator`, Threshold a `LIF` without memory, AvgPool2d `nn.AvgPool2d` and SumPool2d one
    with divisor 1. Potentials count from $v_\text{reset}$, so the threshold is
    $v_\text{threshold} - v_\text{reset}$; where $v_\text{leak}$ is another, a `Drive` before the
    neurons pulls them there. Values that all neurons of a layer share become one float.

    NIR leaves open how a step is taken; `SIMULATORS` names what known simulators do, and each of
    `step`, `reset`, `delay` and `start` replaces one part of that.

    Args:
        graph: A `nir.NIRGraph` with one input and one output, or the path of a file. Sub-graphs
            and branches are fine; where several nodes lead to one, it gets their sum. What leads
            back takes a step: in a loop the edges back to the node where it is entered (of several
            the one that an edge leads to first).
        dt: Length Δt > 0 of a time step, in the unit of the graph's time constants. None: that
            which `to_nir` has noted; other graphs need it (snnTorch and SpikingJelly write for
            1e-4, sinabs for 1).
        step: `"exponential"`, `"exact"`, `"euler"` or `"impulse"`, see `snnlib.interop.nir`. None:
            that which `to_nir` has noted, else the simulator's.
        simulator: `"nir"`, `"snntorch"`, `"spikingjelly"`, `"norse"`, `"rockpool"` or
            `"reference"`, see `SIMULATORS`. None is `"nir"`.
        reset: What a spike does: `"zero"` (the potential goes to $v_\text{reset}$),
            `"subtract_leak"` (down by the threshold in the step of the spike), `"subtract"` (one
            step later) or `"none"`. None: that which `to_nir` has noted, else the simulator's.
        delay: Steps in [0, 1] that the membrane of a CubaLIF or CubaLI lags behind the synaptic
            current. None: likewise, else that of the step.
        start: Potential before the first step, `"reset"` or `"leak"`. None: likewise.

    Returns:
        A network from currents [T, batch, features...] to the output of the last node: a row of
        layers, or for a graph with branches a `Branched`. Weights keep their precision; the
        network computes in the wider of theirs and the input's.

    Raises:
        ImportError: If the package `nir` is not installed.
        ValueError: If the graph has another form, a node without an equal here, or a value is
            outside its range.

    Source:
        NIR's definition of its primitives (package `nir`, `nir.ir`).

    Example:
        >>> import pytest
        >>> nir = pytest.importorskip("nir")
        >>> from snnlib.interop.nir import to_nir
        >>> network = from_nir(to_nir(LIF(threshold=0.5, reset="zero"), shape=(3,)))
        >>> network[0].leak, network[0].threshold, network[0].reset
        (0.5, 0.5, 'zero')
    """
    nir = require("nir", "nir")
    how = convention(simulator, step=step, reset=reset, delay=delay, start=start)
    graph = load(nir, graph)
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
    named = {"step": step, "reset": reset, "delay": delay, "start": start}
    fixed = frozenset(
        named if simulator is not None else (k for k, v in named.items() if v is not None)
    )
    if "step" not in fixed and STEP in noted:
        marked = noted[STEP]
        marked = marked.decode() if isinstance(marked, bytes) else marked
        check_step(marked)
        how = how._replace(step=marked)
    return _network(nir, flattened(nir, graph), float(dt), how, fixed)


def _network(nir: Any, graph: Graph, dt: float, how: Convention, fixed: frozenset[str]) -> Any:
    """Layers of the nodes, in a row or with branches."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    sources: dict[str, list[str]] = {}
    first: dict[str, str] = {}
    last = {"": ""}  # of each node, the layer that sends on what it does
    for name in graph.sources:
        given: list[str] = []
        for end, layer in _layers(nir, name, graph, dt, how, fixed):
            short = _short(name, graph.loops.get(name))
            own = free((short + end).replace(".", "_"), layers, *dir(FeedForward))
            layers[own], sources[own] = layer, given
            given = [own]
            first.setdefault(name, own)
        last[name] = given[0]
    for name, before in graph.sources.items():
        sources[first[name]] = [last[source] for source in before]
    outputs = [last[name] for name in graph.outputs]
    row = ["", *layers]
    if outputs == row[-1:] and all(sources[name] == [before] for before, name in pairwise(row)):
        network: Chain | Branched = Chain(layers)
    else:
        network = Branched(layers, sources, outputs)
    network.input_shape = graph.shape
    return network


def _short(name: str, back: str | None) -> str:
    """One name for neurons and their way back: what both begin with, if there is such."""
    head = name.rpartition(".")[0]
    return head if back is not None and head and back.startswith(f"{head}.") else name


def _layers(
    nir: Any, name: str, graph: Graph, dt: float, how: Convention, fixed: frozenset[str]
) -> list[tuple[str, nn.Module]]:
    """The layers of a node, by what their names end in."""
    node = graph.nodes[name]
    if isinstance(node, (nir.LIF, nir.CubaLIF, nir.IF)):
        feedback = _feedback(nir, name, graph) if name in graph.loops else None
        return neuron(nir, name, node, dt, how, feedback, fixed)
    if isinstance(node, (nir.LI, nir.CubaLI, nir.I)):
        return [("", integrator(nir, name, node, dt, how, fixed))]
    return [("", _layer(nir, name, node))]


def _feedback(nir: Any, name: str, graph: Graph) -> Feedback:
    """The recurrent weights of neurons."""
    back = graph.loops[name]
    size = int(array(graph.nodes[name].v_threshold).size)
    if back is None:
        return Feedback(torch.eye(size), None)
    node, bias = graph.nodes[back], None
    if isinstance(node, nir.Scale):
        weight = torch.diag(tensor(node.scale).flatten())
    else:
        weight = tensor(node.weight)
        bias = tensor(node.bias) if isinstance(node, nir.Affine) else None
    if weight.shape != (size, size):
        raise ValueError(
            f"node {name!r} must have as many neurons as its recurrent weight, got {size} and "
            f"{list(weight.shape)}"
        )
    return Feedback(weight, bias)


def _layer(nir: Any, name: str, node: Any) -> nn.Module:
    """The layer of a node that has no memory."""
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
        return _convolution(nir, node)
    if isinstance(node, (nir.SumPool2d, nir.AvgPool2d)):
        size, stride, padding = (
            _sizes(getattr(node, key)) for key in ("kernel_size", "stride", "padding")
        )
        kind = SumPool2d if isinstance(node, nir.SumPool2d) else nn.AvgPool2d
        return kind(size, stride, padding)
    if isinstance(node, nir.Flatten):
        # Time and batch come before NIR's dimensions.
        first, last = (
            dim + 2 if dim >= 0 else dim for dim in (int(node.start_dim), int(node.end_dim))
        )
        return nn.Flatten(first, last)
    if isinstance(node, nir.Scale):
        return Scale(tensor(node.scale))
    if isinstance(node, nir.Threshold):
        threshold = array(node.threshold)
        if not (threshold >= 0).all():
            raise ValueError(
                f"node {name!r} must have a threshold >= 0, got {threshold.min():g}: add a bias to "
                "the weights before it"
            )
        shared = bool((threshold == threshold.flat[0]).all())
        value = float(threshold.flat[0]) if shared else tensor(threshold)
        return LIF(threshold=value, leak=0.0, reset="none")
    raise ValueError(
        f"node {name!r} is a {type(node).__name__}, which cannot be imported; known are Linear, "
        "Affine, Scale, Conv1d, Conv2d, SumPool2d, AvgPool2d, Flatten, Threshold, LIF, CubaLIF, "
        "IF, LI, CubaLI and I"
    )


def _convolution(nir: Any, node: Any) -> nn.Module:
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
