"""Our networks as NIR graphs."""

from __future__ import annotations

from collections.abc import Iterator
from os import PathLike
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from snnlib._extras import require
from snnlib.interop.nir.branched import Branched
from snnlib.interop.nir.input_shape import checked_shape, input_shape
from snnlib.interop.nir.layers import Chain, Drive, Scale, over_time
from snnlib.interop.nir.neuron_out import feedback_node, is_threshold, membrane_node, neuron_node
from snnlib.interop.nir.time_step import Step, check_step
from snnlib.interop.nir.values import BIAS, DT, STEP, check_positive, free, plain
from snnlib.neurons import LIF, LeakyIntegrator, RecurrentCurrentLIF, RecurrentLIF

__all__ = ["to_nir"]


def to_nir(
    network: nn.Module,
    path: str | PathLike[str] | None = None,
    *,
    shape: tuple[int, ...] | None = None,
    dt: float = 1e-4,
    step: Step = "exponential",
    metadata: bool = False,
    subgraphs: bool = False,
) -> Any:
    r"""Export a network to a NIR graph, and to a file if a path is given.

    Every neuron becomes a LIF, CubaLIF (`CurrentLIF`) or IF (leak 1) node with one value per
    neuron, $v_\text{reset} = 0$, $v_\text{leak} = 0$ unless a `Drive` stands before it, and

    .. math:: \tau = -\Delta t/\ln\beta \ \text{ or, for "euler", }\ \Delta t/(1 - \beta), \qquad
              r = \lambda/(1 - \beta), \quad w_\text{in} = 1/(1 - \alpha).

    Recurrent weights become a Linear or Affine node that leads back to the neurons.

    Args:
        network: An `nn.Sequential` (such as `snnlib.networks.FeedForward`), nested or not, or one
            layer, or what `from_nir` returns. Layers are Linear, Conv1d, Conv2d, AvgPool2d,
            Flatten, LIF, CurrentLIF, RecurrentLIF, RecurrentCurrentLIF and LeakyIntegrator.
            Identity and Dropout are left out.
        path: File to write (HDF5), or None.
        shape: Shape of one input without time and batch, (features,) or (channels, height, width).
            None: that of the graph that the network came from, or that which the layers leave no
            choice about.
        dt: Length Δt > 0 of a time step, in the unit of the time constants.
        step: How a step of the neuron is read as differential equations: `"exponential"`,
            `"exact"`, `"euler"` or `"impulse"`, see `snnlib.interop.nir`.
        metadata: Whether to export what NIR has no word for (another reset than `"zero"`, another
            delay than the step's, a start at v_leak) under metadata that only `from_nir`
            understands. Other programs then simulate another neuron.
        subgraphs: Whether a recurrent layer becomes a graph of its own within the graph.

    Returns:
        The `nir.NIRGraph`. Its metadata name `dt` and `step`, for `from_nir`.

    Raises:
        ImportError: If the package `nir` is not installed.
        ValueError: If a layer or one of its settings has no equal in NIR, or an argument is
            outside its range.

    Source:
        NIR's definition of its primitives (package `nir`, `nir.ir`).

    Example:
        A leak of exp(-1/20) is a time constant of 20 steps.

        >>> import math, pytest
        >>> nir = pytest.importorskip("nir")
        >>> graph = to_nir(LIF(leak=math.exp(-1 / 20), reset="zero"), shape=(3,), dt=1.0)
        >>> graph.nodes["0"].tau.round(9).tolist()
        [20.0, 20.0, 20.0]
    """
    nir = require("nir", "nir")
    check_step(step)
    check_positive("dt", dt)
    places = _places(network)
    if not places:
        raise ValueError(f"network must have a layer that NIR knows, got {network!r}")
    if shape is None:
        known = network.input_shape if isinstance(network, (Chain, Branched)) else None
        shape = known or input_shape([(place.name, place.layer) for place in places])
    how = _How(nir, dt, step, metadata, subgraphs)
    graph = _Growing(how, checked_shape(shape))
    for place in places:
        graph.add(place)
    found = graph.finished(_outputs(network, places))
    if path is not None:
        nir.write(path, found)
    return found


_LEFT_OUT = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)


class _Place(NamedTuple):
    """A layer, its qualified name, those that lead to it ("" is the input), and back to it."""

    name: str
    layer: nn.Module
    sources: list[str]
    back: list[str]


class _How(NamedTuple):
    """How to export: the package and the arguments of `to_nir`."""

    nir: Any
    dt: float
    step: str
    metadata: bool
    subgraphs: bool


def _places(network: nn.Module) -> list[_Place]:
    """The layers in the order of their inputs."""
    if isinstance(network, Branched):
        places = []
        for name, sources in network.sources.items():
            back = network.back(name)
            given = [source for source in sources if source not in back]
            places.append(_Place(name, network.get_submodule(name), given, back))
        return places
    found: list[_Place] = []
    for name, layer in _layers(network):
        if not isinstance(layer, _LEFT_OUT):
            found.append(_Place(name, layer, [found[-1].name if found else ""], []))
    return found


def _layers(network: nn.Module, name: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Layers of a nested sequence, in order, by their qualified names."""
    if not isinstance(network, nn.Sequential):
        yield name or "0", network
        return
    for own, child in network.named_children():
        yield from _layers(child, f"{name}.{own}" if name else own)


def _outputs(network: nn.Module, places: list[_Place]) -> list[str]:
    return network.outputs if isinstance(network, Branched) else [places[-1].name]


class _Growing:
    """A graph that takes one layer after the other."""

    def __init__(self, how: _How, shape: tuple[int, ...]) -> None:
        self.how = how
        self.nodes: dict[str, Any] = {"input": how.nir.Input(np.array(shape))}
        self.edges: list[tuple[str, str]] = []
        self.last: dict[str, list[str]] = {"": ["input"]}  # the nodes that send on a layer's output
        self.shapes: dict[str, tuple[int, ...]] = {"": shape}
        self.drives: dict[str, Drive] = {}  # those that wait for their neurons
        self.held: dict[str, list[str]] = {}  # what leads back to them
        self.waiting: dict[str, list[str]] = {}  # what leads back to nodes
        self.takes: dict[str, tuple[int, ...]] = {}  # shape of what enters a node

    def add(self, place: _Place) -> None:
        """The nodes of a layer, and the edges to them."""
        shapes = {self.shapes[source] for source in place.sources}
        shape = shapes.pop()
        if shapes:
            raise ValueError(
                f"layer {place.name!r} must get inputs of one shape, got {list(shape)} and "
                f"{list(shapes.pop())}"
            )
        drive = next((self.drives[s] for s in place.sources if s in self.drives), None)
        if drive is not None and not (isinstance(place.layer, LIF) and len(place.sources) == 1):
            raise ValueError(
                f"layer {place.name!r} must be neurons, got a {type(place.layer).__name__} behind "
                "a Drive, which is the potential that neurons leak to"
            )
        before = [node for source in place.sources for node in self.last[source]]
        back = place.back + [b for s in place.sources if s in self.drives for b in self.held[s]]
        if isinstance(place.layer, Drive):
            self.held[place.name] = back
            self.drives[place.name] = place.layer
            self.last[place.name], self.shapes[place.name] = before, shape
            return
        after = _shape_after(place.name, place.layer, shape)
        node = _node(self.how, place.name, place.layer, shape, drive)
        # The package derives wrong shapes for grouped and for oblong convolutions.
        node.input_type = {"input": np.array(shape)}
        node.output_type = {"output": np.array(after)}
        self.shapes[place.name] = after
        if isinstance(place.layer, (RecurrentLIF, RecurrentCurrentLIF)):
            name = self._loop(place, node)
        else:
            name = free(place.name, self.nodes, "output")
            self.nodes[name] = node
        self.edges += [(source, name) for source in before]
        self.last[place.name] = [name]
        self.waiting[name] = back
        self.takes[name] = shape

    def _loop(self, place: _Place, node: Any) -> str:
        """Neurons and their way back; the name of what the input enters."""
        assert isinstance(place.layer, (RecurrentLIF, RecurrentCurrentLIF))
        nir, back = self.how.nir, feedback_node(self.how.nir, place.layer)
        if not self.how.subgraphs:
            name = free(f"{place.name}.lif", self.nodes, "output")
            weights = free(f"{place.name}.w_rec", self.nodes, "output", name)
            self.nodes |= {name: node, weights: back}
            self.edges += [(name, weights), (weights, name)]
            return name
        width = np.array([place.layer.width])
        inner = {"input": nir.Input(width), "lif": node, "w_rec": back}
        inner["output"] = nir.Output(width)
        pairs = [("input", "lif"), ("lif", "w_rec"), ("w_rec", "lif"), ("lif", "output")]
        name = free(place.name, self.nodes, "output")
        self.nodes[name] = nir.NIRGraph(inner, pairs)
        return name

    def finished(self, outputs: list[str]) -> Any:
        """The graph, which ends in the sum of some layers."""
        if any(name in self.drives for name in outputs):
            raise ValueError(
                "network must not end in a Drive, which is the potential that neurons leak to"
            )
        for node, back in self.waiting.items():
            for source in back:
                if self.shapes[source] != self.takes[node]:
                    raise ValueError(
                        f"layer {source!r} must lead back to {node!r} with its shape "
                        f"{list(self.takes[node])}, got {list(self.shapes[source])}"
                    )
                self.edges += [(own, node) for own in self.last[source]]
        shape = self.shapes[outputs[0]]
        self.nodes["output"] = self.how.nir.Output(np.array(shape))
        self.edges += [(node, "output") for name in outputs for node in self.last[name]]
        noted = {DT: float(self.how.dt), STEP: self.how.step}
        return self.how.nir.NIRGraph(self.nodes, self.edges, metadata=noted)


def _shape_after(name: str, layer: nn.Module, shape: tuple[int, ...]) -> tuple[int, ...]:
    """What the layer makes of the shape, by running it."""
    weight: Tensor = next(layer.parameters(), torch.zeros(()))
    example = torch.zeros(1, 1, *shape, dtype=weight.dtype, device=weight.device)
    try:
        with torch.no_grad():
            return tuple(over_time(layer, example).shape[2:])
    except (RuntimeError, ValueError, TypeError) as error:
        raise ValueError(
            f"shape must fit the network: layer {name!r} cannot take {list(shape)}: {error}"
        ) from error


def _node(
    how: _How, name: str, layer: nn.Module, shape: tuple[int, ...], drive: Drive | None
) -> Any:
    """The NIR node of a layer whose input has this shape."""
    nir = how.nir
    if isinstance(layer, LIF) and not is_threshold(layer):
        return neuron_node(nir, name, layer, shape, how.dt, how.step, how.metadata, drive)
    if isinstance(layer, (LIF, LeakyIntegrator)):
        return membrane_node(nir, name, layer, shape, how.dt, how.step, how.metadata)
    if isinstance(layer, nn.Linear):
        if len(shape) != 1:
            raise ValueError(
                f"layer {name!r} must take flat inputs, got a shape of {list(shape)}: "
                "put an nn.Flatten(2) before it"
            )
        bias: Tensor | None = layer.bias
        if bias is None:
            return nir.Linear(plain(layer.weight))
        return nir.Affine(plain(layer.weight), plain(bias))
    if isinstance(layer, (nn.Conv1d, nn.Conv2d)):
        return _convolution_node(nir, name, layer, shape)
    if isinstance(layer, nn.AvgPool2d):
        return _pooling_node(nir, name, layer)
    if isinstance(layer, nn.Flatten):
        count = len(shape) + 2
        first, last = layer.start_dim % count - 2, layer.end_dim % count - 2
        if first < 0:
            raise ValueError(
                f"layer {name!r} must keep time and batch apart, got start_dim={layer.start_dim}: "
                "use nn.Flatten(2)"
            )
        return nir.Flatten({"input": np.array(shape)}, first, last)
    if isinstance(layer, Scale):
        scale = layer.scale.detach().expand(shape)
        return nir.Scale(plain(scale))
    raise ValueError(
        f"layer {name!r} is a {type(layer).__name__}, which cannot be exported; known are Linear, "
        "Conv1d, Conv2d, AvgPool2d, Flatten, LIF, CurrentLIF, RecurrentLIF, RecurrentCurrentLIF "
        "and LeakyIntegrator in a sequence"
    )


def _pooling_node(nir: Any, name: str, layer: nn.AvgPool2d) -> Any:
    """An average over squares, or with divisor 1 a sum."""
    divisor = layer.divisor_override
    if layer.ceil_mode or divisor not in (None, 1):
        raise ValueError(
            f"layer {name!r} must have ceil_mode=False and divisor_override None (an average) or 1 "
            f"(a sum), got {layer.ceil_mode} and {divisor}"
        )
    pairs = [
        np.array([value, value] if isinstance(value, int) else list(value))
        for value in (layer.kernel_size, layer.stride, layer.padding)
    ]
    if divisor is None and not layer.count_include_pad and pairs[2].any():
        raise ValueError(f"layer {name!r} must have count_include_pad=True, as NIR has no word")
    return (nir.AvgPool2d if divisor is None else nir.SumPool2d)(*pairs)


def _convolution_node(
    nir: Any, name: str, layer: nn.Conv1d | nn.Conv2d, shape: tuple[int, ...]
) -> Any:
    if layer.padding_mode != "zeros":
        raise ValueError(
            f"layer {name!r} must pad with zeros, as NIR does, got {layer.padding_mode!r}"
        )
    flat = isinstance(layer, nn.Conv1d)
    bias = layer.weight.new_zeros(layer.out_channels) if layer.bias is None else layer.bias
    sizes = {key: getattr(layer, key) for key in ("stride", "padding", "dilation")}
    if flat:
        sizes = {key: value if isinstance(value, str) else value[0] for key, value in sizes.items()}
    return (nir.Conv1d if flat else nir.Conv2d)(
        input_shape=shape[1] if flat else tuple(shape[1:]),
        weight=plain(layer.weight),
        bias=plain(bias),
        groups=layer.groups,
        metadata={} if layer.bias is not None else {BIAS: 0},
        **sizes,
    )
