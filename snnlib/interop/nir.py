r"""Networks to and from the Neuromorphic Intermediate Representation (NIR), package `nir`.

NIR describes neurons in continuous time and leaves the time step to whoever runs them. Its LIF and
CubaLIF nodes, with the input S held over a step, are

    LIF        τ dv/dt = v_leak - v + r S
    CubaLIF    τ_mem dv/dt = v_leak - v + r I,      τ_syn dI/dt = -I + w_in S,

and v returns to v_reset when it is above v_threshold. With v counted from v_leak and f = 1 - β,
their step Δt is one of our neurons with threshold v_threshold - v_leak and reset "zero":

    LIF        leak β, input gain r f
    CubaLIF    leak β, synapse leak α, input gain r f w_in (1 - α), delay d

The three steps that can be asked for (`STEPS`) differ in β, α and d:

    "exponential"   β = exp(-Δt/τ)    d = 0: the membrane sees the current of the end of the step
    "exact"         β = exp(-Δt/τ)    d of `exact_step(β, α, held=True)`: both equations solved
    "euler"         β = 1 - Δt/τ      d = 0: what snnTorch, SpikingJelly and Norse read and write

For the LIF node "exponential" is exact already. An IF node is a neuron with leak 1 and gain r Δt.

What NIR does not have is not exported: surrogate derivatives and whether a value is learned, the
state before the first step, resets by subtraction (see `to_nir`), recurrent connections.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from itertools import pairwise
from os import PathLike
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from snnlib import dialects
from snnlib._extras import require
from snnlib.interop._neuron import beyond
from snnlib.networks import FeedForward
from snnlib.neurons import LIF, CurrentLIF, exact_step

__all__ = ["STEPS", "from_nir", "to_nir"]

Step: TypeAlias = Literal["exponential", "exact", "euler"]
Array: TypeAlias = NDArray[np.float64]

STEPS: tuple[str, ...] = get_args(Step)

# Keys of what only this file understands in the metadata of a node or graph.
_RESET, _DELAY, _BIAS, _DT, _STEP = (
    f"snnlib_{name}" for name in ("reset", "delay", "bias", "dt", "step")
)


# --- Export ---------------------------------------------------------------------------------------


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
            `"exact"` or `"euler"`, see the top of this file.
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
    _check_choice("step", step)
    _check_positive("dt", dt)
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
        nodes[_free(name, nodes, "output")] = node
        shape = after
    nodes["output"] = nir.Output(np.array(shape))
    names = list(nodes)
    edges = list(pairwise(names))
    graph = nir.NIRGraph(nodes, edges, metadata={_DT: float(dt), _STEP: step})
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
        return _neuron_node(nir, name, layer, shape, dt, step, metadata)
    if isinstance(layer, nn.Linear):
        if len(shape) != 1:
            raise ValueError(
                f"layer {name!r} must take flat inputs, got a shape of {list(shape)}: "
                "put an nn.Flatten(2) before it"
            )
        bias: Tensor | None = layer.bias
        if bias is None:
            return nir.Linear(_plain(layer.weight))
        return nir.Affine(_plain(layer.weight), _plain(bias))
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
        weight=_plain(layer.weight),
        bias=_plain(bias),
        groups=layer.groups,
        metadata={} if layer.bias is not None else {_BIAS: 0},
        **sizes,
    )


def _neuron_node(
    nir: Any,
    name: str,
    layer: LIF,
    shape: tuple[int, ...],
    dt: float,
    step: str,
    metadata: bool,
) -> Any:
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
    marks: dict[str, Any] = {}
    if layer.reset != "zero":
        if not metadata:
            raise ValueError(
                f'layer {name!r} must have reset="zero", got {layer.reset!r}: NIR\'s neurons '
                "return to v_reset and have no soft reset; metadata=True exports the reset as "
                "metadata that only from_nir understands"
            )
        marks[_RESET] = layer.reset

    def full(value: float | Tensor) -> Array:
        tensor = torch.as_tensor(value, dtype=torch.float64).detach().cpu()
        if tensor.dim() > len(shape) and tensor.shape[0] != 1:
            raise ValueError(
                f"layer {name!r} must have one value per neuron, got one per sample: "
                f"a tensor of shape {list(tensor.shape)}"
            )
        return tensor.expand(1, *shape)[0].numpy().copy()

    threshold, leak = full(layer.threshold), full(layer.leak)
    synapse_leak = gain = delay = None
    if isinstance(layer, CurrentLIF):
        gain, delay = full(layer.input_gain), full(layer.delay)
        synapse_leak = full(layer.synapse_leak)
        if not synapse_leak.any() and not delay.any():
            synapse_leak = None
    gain = np.ones(shape) if gain is None else gain
    zero = np.zeros(shape)
    common = {"v_threshold": threshold, "v_reset": zero, "metadata": marks}
    if (leak == 1).all() and synapse_leak is None:
        return nir.IF(r=gain / dt, **common)
    tau = _time_constant(name, "leak", leak, dt, step)
    if synapse_leak is None:
        return nir.LIF(tau=tau, r=gain / _fill(tau, dt, step), v_leak=zero, **common)
    assert delay is not None
    tau_synapse = _time_constant(name, "synapse_leak", synapse_leak, dt, step)
    wanted = _delays(leak, synapse_leak, step)
    if not np.allclose(delay, wanted, rtol=0, atol=1e-9):
        if not metadata:
            raise ValueError(
                f"layer {name!r} must have the delay of the step {step!r}, "
                f"{wanted.flat[0]:.6g}, got {delay.flat[0]:.6g}; metadata=True exports the delay "
                "as metadata that only from_nir understands"
            )
        marks[_DELAY] = delay
    return nir.CubaLIF(
        tau_mem=tau,
        tau_syn=tau_synapse,
        r=gain / _fill(tau, dt, step),
        w_in=1 / _fill(tau_synapse, dt, step),
        v_leak=zero,
        **common,
    )


def _time_constant(name: str, what: str, leak: Array, dt: float, step: str) -> Array:
    """The time constant whose step keeps this share."""
    low = step == "euler"
    good = (leak < 1) & ((leak >= 0) if low else (leak > 0))
    if not good.all():
        why = "a leak of 0 has no time constant; " if not low and (leak == 0).any() else ""
        raise ValueError(
            f"layer {name!r} must have a {what} in {'[' if low else '('}0, 1) for the step "
            f"{step!r}, got {leak[~good].flat[0]:g}: {why}"
            + ('step="euler" can express it' if why else "NIR has such neurons without synapse")
        )
    return dt / (1 - leak) if low else -dt / np.log(leak)


# --- Import ---------------------------------------------------------------------------------------


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
        step: `"exponential"`, `"exact"` or `"euler"`, see the top of this file. None: that which
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
    dt = noted.get(_DT) if dt is None else dt
    if dt is None:
        raise ValueError(
            "dt must be given, in the unit of the graph's time constants: NIR does not say how "
            "long a time step is (snnTorch and SpikingJelly write for dt=1e-4, step='euler')"
        )
    _check_positive("dt", dt)
    step = noted.get(_STEP, "exponential") if step is None else step
    _check_choice("step", step)
    chain = _chain(nir, graph)
    weights = (_tensor(node.weight) for _, node in chain if hasattr(node, "weight"))
    dtype = next((weight.dtype for weight in weights), torch.get_default_dtype())
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for name, node in chain:
        layer = _layer(nir, name, node, float(dt), step, dtype)
        layers[_free(name.replace(".", "_"), layers, *dir(FeedForward))] = layer
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
        return _neuron(nir, name, node, dt, step, dtype)
    if isinstance(node, (nir.Linear, nir.Affine)):
        weight = _tensor(node.weight)
        if weight.dim() != 2:
            raise ValueError(
                f"node {name!r} must have a weight of two dimensions, got {list(weight.shape)}"
            )
        bias = isinstance(node, nir.Affine)
        linear = nn.utils.skip_init(nn.Linear, weight.shape[1], weight.shape[0], bias=bias)
        return _filled(linear, weight, _tensor(node.bias) if bias else None)
    if isinstance(node, (nir.Conv1d, nir.Conv2d)):
        weight = _tensor(node.weight)
        kind = nn.Conv1d if isinstance(node, nir.Conv1d) else nn.Conv2d
        groups, bias = int(node.groups), _BIAS not in node.metadata
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
        return _filled(convolution, weight, _tensor(node.bias) if bias else None)
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


def _neuron(nir: Any, name: str, node: Any, dt: float, step: str, dtype: torch.dtype) -> nn.Module:
    values = {
        key: _array(getattr(node, key))
        for key in ("r", "v_threshold", "v_reset", "v_leak", "w_in", "tau", "tau_mem", "tau_syn")
        if hasattr(node, key)
    }
    # Other libraries write r so that the gain is 1 up to the rounding of their precision.
    precise = all(value.dtype == np.float64 for value in values.values())
    tolerance = 1e-12 if precise else 1e-6
    value = {key: array.astype(np.float64) for key, array in values.items()}
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
    reset = node.metadata.get(_RESET, "zero")
    settings: dict[str, Any] = {"reset": reset.decode() if isinstance(reset, bytes) else reset}
    gain = value["r"]
    if isinstance(node, nir.IF):
        gain = gain * dt
        settings["leak"] = 1.0
    else:
        tau = _checked_tau(name, value["tau_mem" if "tau_mem" in value else "tau"], dt, step)
        gain = gain * _fill(tau, dt, step)
        settings["leak"] = _kept(tau, dt, step)
    if isinstance(node, nir.CubaLIF):
        tau = _checked_tau(name, value["tau_syn"], dt, step)
        gain = gain * value["w_in"] * _fill(tau, dt, step)
        settings["synapse_leak"] = _kept(tau, dt, step)
        delay = node.metadata.get(_DELAY)
        if delay is None:
            delay = _delays(settings["leak"], settings["synapse_leak"], step)
        settings["delay"] = delay
    if not (gain >= 0).all():
        raise ValueError(
            f"node {name!r} must have an input gain >= 0, got {gain.min():g}: "
            "put the sign into the weights before it"
        )
    if np.allclose(gain, 1, rtol=0, atol=tolerance):
        gain = np.ones(())
    settings["threshold"] = threshold

    def joined(array: Any) -> Any:
        """One float where all neurons share it."""
        if isinstance(array, str):
            return array
        array = np.asarray(array, dtype=np.float64)
        if (array == array.flat[0]).all():
            return float(array.flat[0])
        return torch.as_tensor(array, dtype=dtype)

    settings = {key: joined(array) for key, array in settings.items()}
    gain = joined(gain)
    if not isinstance(node, nir.CubaLIF):
        if not isinstance(gain, Tensor) and gain == 1:
            return LIF(**settings)
        settings["synapse_leak"] = 0.0
    return CurrentLIF(input_gain=gain, **settings)


def _checked_tau(name: str, tau: Array, dt: float, step: str) -> Array:
    low = dt if step == "euler" else 0.0
    good = (tau >= low) & (tau > 0) & np.isfinite(tau)
    if not good.all():
        wanted = f">= dt = {dt:g} for the step 'euler'" if low else "> 0 and finite"
        raise ValueError(
            f"node {name!r} must have time constants {wanted}, got {tau[~good].flat[0]:g}"
        )
    return tau


# --- One step of a time constant ------------------------------------------------------------------


def _kept(tau: Array, dt: float, step: str) -> Array:
    """The share that is kept over a step."""
    return 1 - dt / tau if step == "euler" else np.exp(-dt / tau)


def _fill(tau: Array, dt: float, step: str) -> Array:
    """One less that share, to all digits."""
    return dt / tau if step == "euler" else -np.expm1(-dt / tau)


def _delays(leak: Array, synapse_leak: Array, step: str) -> Array:
    if step != "exact":
        return np.zeros(leak.shape)
    pairs = list(zip(leak.flat, synapse_leak.flat, strict=True))
    known = {pair: exact_step(*pair, held=True).delay for pair in set(pairs)}
    return np.array([known[pair] for pair in pairs]).reshape(leak.shape)


# --- Small things ---------------------------------------------------------------------------------


def _plain(tensor: Tensor) -> NDArray[Any]:
    """A copy of a tensor as an array; HDF5 has no bfloat16."""
    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor.clone()).numpy()


def _array(value: Any) -> NDArray[Any]:
    """A value of a node as an array; some libraries leave tensors in their graphs."""
    return _plain(value) if isinstance(value, Tensor) else np.array(value)


def _tensor(value: Any) -> Tensor:
    return torch.from_numpy(_array(value))


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


def _free(name: str, *taken: Any) -> str:
    """The name, made longer until nobody has it."""
    used = {"input", "output"}.union(*(set(t) if not isinstance(t, str) else {t} for t in taken))
    while name in used:
        name += "_"
    return name


def _checked_shape(shape: Any) -> tuple[int, ...]:
    good = isinstance(shape, (tuple, list)) and len(shape) > 0
    if not good or not all(isinstance(size, int) and size > 0 for size in shape):
        raise ValueError(
            "shape must be a tuple of positive integers, the shape of one input without time and "
            f"batch, got {shape!r}"
        )
    return tuple(shape)


def _check_positive(name: str, value: Any) -> None:
    try:
        good = bool(0 < float(value) < np.inf)
    except (TypeError, ValueError):
        good = False
    if not good:
        raise ValueError(f"{name} must be a number > 0 and finite, got {value!r}")


def _check_choice(name: str, value: Any) -> None:
    if value not in STEPS:
        known = ", ".join(repr(step) for step in STEPS)
        raise ValueError(f"{name} must be one of {known}, got {value!r}")
