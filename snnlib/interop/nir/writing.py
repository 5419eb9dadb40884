"""Our networks as NIR graphs."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from itertools import pairwise
from os import PathLike
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from snnlib._extras import require
from snnlib.interop.nir.neuron_out import neuron_node
from snnlib.interop.nir.time_step import Step, check_step
from snnlib.interop.nir.values import BIAS, DT, STEP, check_positive, free, plain
from snnlib.networks import FeedForward
from snnlib.neurons import LIF

__all__ = ["to_nir"]


def to_nir(
    network: nn.Module,
    path: str | PathLike[str] | None = None,
    *,
    shape: tuple[int, ...] | None = None,
    dt: float = 1e-4,
    step: Step = "exponential",
    metadata: bool = False,
) -> Any:
    r"""Export a feed-forward network to a NIR graph, and to a file if a path is given.

    Every neuron becomes a LIF, CubaLIF (`CurrentLIF`) or IF (leak 1) node with one value per
    neuron, $v_\text{leak} = v_\text{reset} = 0$ and

    .. math:: \tau = -\Delta t/\ln\beta \ \text{ or, for "euler", }\ \Delta t/(1 - \beta), \qquad
              r = \lambda/(1 - \beta), \quad w_\text{in} = 1/(1 - \alpha).

    Args:
        network: An `nn.Sequential` (such as `snnlib.networks.FeedForward`), nested or not, of
            Linear, Conv1d, Conv2d, Flatten, LIF and CurrentLIF layers, or one such layer. Identity
            and Dropout are left out.
        path: File to write (HDF5), or None.
        shape: Shape of one input without time and batch, (features,) or (channels, height, width).
            None: that of the first Linear layer, if no layer before it needs another.
        dt: Length Δt > 0 of a time step, in the unit of the time constants.
        step: How a step of the neuron is read as differential equations: `"exponential"`,
            `"exact"` or `"euler"`, see `snnlib.interop.nir`.
        metadata: Whether to export what NIR has no word for (another reset than `"zero"`, another
            delay than the step's) under metadata that only `from_nir` understands. Other programs
            then simulate another neuron.

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
    layers = [pair for pair in _layers(network) if not isinstance(pair[1], _LEFT_OUT)]
    if not layers:
        raise ValueError(f"network must have a layer that NIR knows, got {network!r}")
    shape = _input_shape(layers) if shape is None else _checked_shape(shape)
    nodes: dict[str, Any] = {"input": nir.Input(np.array(shape))}
    for name, layer in layers:
        after = _shape_after(name, layer, shape)
        node = _node(nir, name, layer, shape, dt, step, metadata)
        # The package derives wrong shapes for grouped and for oblong convolutions.
        node.input_type = {"input": np.array(shape)}
        node.output_type = {"output": np.array(after)}
        nodes[free(name, nodes, "output")] = node
        shape = after
    nodes["output"] = nir.Output(np.array(shape))
    names = list(nodes)
    edges = list(pairwise(names))
    graph = nir.NIRGraph(nodes, edges, metadata={DT: float(dt), STEP: step})
    if path is not None:
        nir.write(path, graph)
    return graph


_LEFT_OUT = (nn.Identity, nn.Dropout, nn.Dropout2d)


def _layers(network: nn.Module, name: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Layers of a nested sequence, in order, by their qualified names."""
    if not isinstance(network, nn.Sequential):
        yield name or "0", network
        return
    for own, child in network.named_children():
        yield from _layers(child, f"{name}.{own}" if name else own)


def _input_shape(layers: list[tuple[str, nn.Module]]) -> tuple[int, ...]:
    """The input that the first Linear layer asks for, if nothing before it has another."""
    for _, layer in layers:
        if isinstance(layer, nn.Linear):
            return (layer.in_features,)
        if not isinstance(layer, (LIF, nn.Flatten)):
            break
    raise ValueError(
        "shape must be given, the shape of one input without time and batch, for a network that "
        f"does not begin with a Linear layer; got None for {type(layers[0][1]).__name__}"
    )


def _checked_shape(shape: Any) -> tuple[int, ...]:
    good = isinstance(shape, (tuple, list)) and len(shape) > 0
    if not good or not all(isinstance(size, int) and size > 0 for size in shape):
        raise ValueError(
            "shape must be a tuple of positive integers, the shape of one input without time and "
            f"batch, got {shape!r}"
        )
    return tuple(shape)


def _shape_after(name: str, layer: nn.Module, shape: tuple[int, ...]) -> tuple[int, ...]:
    """What the layer makes of the shape, by running it."""
    weight = getattr(layer, "weight", None)
    weight = torch.zeros(()) if weight is None else weight
    example = torch.zeros(1, 1, *shape, dtype=weight.dtype, device=weight.device)
    try:
        with torch.no_grad():
            return tuple(FeedForward(OrderedDict(layer=layer))(example).shape[2:])
    except (RuntimeError, ValueError, TypeError) as error:
        raise ValueError(
            f"shape must fit the network: layer {name!r} cannot take {list(shape)}: {error}"
        ) from error


def _node(
    nir: Any,
    name: str,
    layer: nn.Module,
    shape: tuple[int, ...],
    dt: float,
    step: str,
    metadata: bool,
) -> Any:
    """The NIR node of a layer whose input has this shape."""
    if isinstance(layer, LIF):
        return neuron_node(nir, name, layer, shape, dt, step, metadata)
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
    if isinstance(layer, nn.Flatten):
        count = len(shape) + 2
        first, last = layer.start_dim % count - 2, layer.end_dim % count - 2
        if first < 0:
            raise ValueError(
                f"layer {name!r} must keep time and batch apart, got start_dim={layer.start_dim}: "
                "use nn.Flatten(2)"
            )
        return nir.Flatten(np.array(shape), first, last)
    raise ValueError(
        f"layer {name!r} is a {type(layer).__name__}, which cannot be exported; known are Linear, "
        "Conv1d, Conv2d, Flatten, LIF and CurrentLIF in a sequence"
    )


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
