r"""Which spiking layer feeds a weight, and which one it drives.

Without an example batch the order in which modules were registered decides, and only where it
leaves no doubt: a weight between two spiking layers is fed by the first and drives the second, a
weight inside a spiking layer is recurrent.

With an example batch the network runs once over all time steps and every tensor remembers the
weights, spiking layers or data that it came from, through any torch operation, so that branches,
shortcuts, recurrent weights and one neuron module used at several depths are paired as they are
computed. Weights are the modules of `WEIGHTS` and parameters that multiply their input without a
module of their own (Norse's recurrent cells, a loop written by hand).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from snnlib import dialects
from snnlib.dialects import Spiking
from snnlib.dialects.running import Time, resolve_time, run
from snnlib.dialects.untouched import untouched

WEIGHTS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
DATA = "data"


@dataclass(frozen=True)
class Layer:
    """A spiking layer next to a weight.

    Attributes:
        name: Qualified name of the module.
        spiking: What `snnlib.dialects.read` says about it.
    """

    name: str
    spiking: Spiking

    @property
    def threshold(self) -> Tensor:
        """Its thresholds, float64, a number or one per neuron or channel."""
        return self.spiking.threshold

    @property
    def height(self) -> Tensor:
        """What one of its spikes sends on, float64."""
        return self.spiking.height


@dataclass(frozen=True)
class Connection:
    """A weight with what feeds it and what it drives.

    Attributes:
        name: Qualified name of the module that holds the weight, or of the parameter where one
            module holds several or multiplies by it itself.
        module: That module.
        parameter: The weight itself.
        fan_in: Inputs n of one output neuron, torch's own count (k·k·c_in for convolutions).
        fan_out: Torch's own count likewise.
        bias: What is added to the product, if the module holds it.
        fed_by: The spiking layers that feed the weight; empty if real values do.
        drives: The spiking layers whose current the weight makes; empty for a readout.
        second_moment: E[x²] of the input, measured on the example; None without one.
        mean: E[x] likewise.
        low: Least input likewise.
        high: Largest input likewise.
        active: Number of nonzero inputs on the example, over all steps and samples.
        recurrent: Whether a layer that it drives also feeds it.
        afferents: (fan_in, recurrent) of every weight that drives the same layers, this one
            included; empty for a readout.
        transposed: Whether the weight stands as [in, out], used as x @ W.
        note: What the pairing could not know.
    """

    name: str
    module: nn.Module
    parameter: nn.Parameter
    fan_in: int
    fan_out: int
    bias: Tensor | None = None
    fed_by: tuple[Layer, ...] = ()
    drives: tuple[Layer, ...] = ()
    second_moment: float | None = None
    mean: float | None = None
    low: float | None = None
    high: float | None = None
    active: int | None = None
    recurrent: bool = False
    afferents: tuple[tuple[int, bool], ...] = ()
    transposed: bool = False
    note: str = ""

    @property
    def feeding(self) -> tuple[Tensor, Tensor]:
        """Thresholds and spike heights of all feeding layers, flat and of one length."""
        pairs = [torch.broadcast_tensors(s.threshold, s.height) for s in self.fed_by]
        return (
            torch.cat([threshold.flatten() for threshold, _ in pairs]),
            torch.cat([height.flatten() for _, height in pairs]),
        )

    @property
    def weight(self) -> Tensor:
        """The weight as [out, in, ...]; writing into it in place writes into the parameter."""
        return self.parameter.t() if self.transposed else self.parameter


def fans(weight: Tensor, name: str = "weight") -> tuple[int, int]:
    """Fan-in and fan-out of a weight, torch's own count, refused where they are not positive.

    Args:
        weight: Weight of a linear layer [out, in] or a convolution [out, in / groups, k, ...].
        name: What the error calls it.

    Returns:
        (fan_in, fan_out); a convolution's fan-in is the kernel's size times its input channels
        (per group).

    Raises:
        ValueError: If the weight is empty, not floating point, or has fewer than two dimensions.

    Example:
        >>> fans(torch.empty(64, 3, 5, 5))
        (75, 1600)
    """
    if not isinstance(weight, Tensor) or not weight.is_floating_point():
        raise ValueError(f"{name} must be a floating-point tensor, got {weight!r}")
    if isinstance(weight, nn.UninitializedParameter):
        raise ValueError(f"{name} has no shape yet: run one batch through the lazy module first")
    if weight.dim() < 2:
        raise ValueError(
            f"{name} must have at least two dimensions [out, in, ...], got {tuple(weight.shape)}"
        )
    if weight.numel() == 0:
        raise ValueError(f"{name} must not be empty (fan-in >= 1), got {tuple(weight.shape)}")
    return torch.nn.init._calculate_fan_in_and_fan_out(weight)


def pair(
    network: nn.Module, example: Tensor | tuple[Any, ...] | None = None, *, time: Time = "auto"
) -> list[Connection]:
    """Pair every weight with its spiking layers.

    Args:
        network: Any module.
        example: One batch to run, a tensor or a tuple of positional arguments; None pairs by
            registration order.
        time: Who loops over time, see `snnlib.dialects.running.run`.

    Returns:
        One connection per weight, in the order of registration (of execution with an example).

    Raises:
        ValueError: If there is no weight or no spiking layer, a weight is empty or computed by a
            parametrization, the order of registration leaves open what a weight drives, or it is
            not clear who loops over time.
    """
    network = getattr(network, "_orig_mod", network)
    found = _Found(network)
    if not found.weights and not (found.inner if example is None else found.raw):
        raise ValueError(
            f"module must hold at least one weight of {_names(WEIGHTS)}, got {network!r}"
        )
    if not found.layers:
        raise ValueError(
            "module must hold at least one spiking layer to pair weights with "
            f"(such as snnlib.neurons.LIF), got {network!r}; a single weight is initialized by "
            "the method's own function, such as micheli2024_(weight, threshold)"
        )
    if example is None:
        return _completed(_by_registration(found))
    return _completed(_by_execution(found, example, time))


def _names(kinds: Iterable[type]) -> str:
    return ", ".join(kind.__name__ for kind in kinds)


class _Found:
    """The weights and spiking layers of a network, by module and parameter."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self.names: dict[nn.Module, str] = {}
        self.weights: dict[nn.Module, tuple[int, int]] = {}
        self.layers: dict[nn.Module, Layer] = {}
        self.parents: dict[nn.Module, nn.Module] = {}  # of weights inside a spiking layer
        self.raw: dict[nn.Parameter, tuple[nn.Module, str]] = {}  # weights without a module
        self.returning: dict[nn.Module, nn.Parameter] = {}  # recurrent weights that our layers hold
        for name, module in network.named_modules():
            self.names[module] = shown = name or type(module).__name__
            if isinstance(module, WEIGHTS):
                if not isinstance(module.weight, nn.Parameter):
                    raise ValueError(
                        f"weight of {shown!r} is computed by a parametrization: initialize "
                        "what it is computed from, or remove the parametrization first"
                    )
                self.weights[module] = fans(module.weight, f"weight of {shown!r}")
                continue
            spiking = dialects.read(module)
            for key, parameter in module.named_parameters(recurse=False):
                if spiking is not None and spiking.library == "snnlib":
                    if not spiking.recurrent or key != "weight":
                        continue  # a learned threshold or leak
                    self.returning[module] = parameter
                if parameter.dim() >= 2 and not isinstance(parameter, nn.UninitializedParameter):
                    qualified = f"{name}.{key}" if name else key
                    self.raw.setdefault(parameter, (module, qualified))
            if spiking is not None:
                self.layers[module] = Layer(shown, spiking)
                for child in module.modules():
                    if child is not module:
                        self.parents.setdefault(child, module)
        own = {module.weight for module in self.weights}
        self.raw = {p: place for p, place in self.raw.items() if p not in own}

    @property
    def inner(self) -> list[nn.Parameter]:
        """Weights that a spiking layer itself multiplies by."""
        return [p for p, (module, _) in self.raw.items() if module in self.layers]

    def connection(self, weight: Weight, **known: Any) -> Connection:
        if isinstance(weight, nn.Module):
            parameter = weight.weight
            assert isinstance(parameter, nn.Parameter)
            bias = weight.bias if isinstance(weight.bias, Tensor) else None
            return Connection(
                self.names[weight], weight, parameter, *self.weights[weight], bias=bias, **known
            )
        module, name = self.raw[weight]
        fan_in, fan_out = fans(weight, name)
        if known.get("transposed", False):
            fan_in, fan_out = fan_out, fan_in
        if self.returning.get(module) is weight and isinstance(module.bias, Tensor):
            known["bias"] = module.bias
        return Connection(name, module, weight, fan_in, fan_out, **known)


Weight: TypeAlias = nn.Module | nn.Parameter
Origins: TypeAlias = dict[nn.Module | nn.Parameter | str, None]  # an ordered set


def _completed(connections: list[Connection]) -> list[Connection]:
    """With the afferents of the layers that each weight drives."""
    result = []
    for own in connections:
        driven = {layer.name for layer in own.drives}
        afferents = tuple(
            (other.fan_in, other.recurrent)
            for other in connections
            if driven & {layer.name for layer in other.drives}
        )
        result.append(replace(own, afferents=afferents))
    return result


# --- By registration ------------------------------------------------------------------------------


def _by_registration(found: _Found) -> list[Connection]:
    fed_by: dict[Weight, tuple[Layer, ...]] = {}
    drives: dict[Weight, tuple[Layer, ...]] = {}
    recurrent: set[Weight] = set()
    feeding: tuple[Layer, ...] = ()
    pending: nn.Module | None = None

    def ambiguous(first: str, second: str) -> ValueError:
        return ValueError(
            f"module registers the weights of {first!r} and {second!r} without a spiking layer "
            "between them, which leaves open what they drive; pass example= (one batch), and "
            "they are paired by running it"
        )

    for module, name in found.names.items():
        if module in found.weights:
            if (layer := found.layers.get(found.parents.get(module, module))) is not None:
                fed_by[module] = drives[module] = (layer,)
                recurrent.add(module)
                continue
            if pending is not None:
                raise ambiguous(found.names[pending], name)
            pending, fed_by[module], drives[module] = module, feeding, ()
        elif module in found.layers:
            layer = found.layers[module]
            for parameter in found.inner:
                holder, qualified = found.raw[parameter]
                if holder is module:
                    returns = found.returning.get(module) is parameter
                    if pending is not None and not returns:
                        raise ambiguous(found.names[pending], qualified)
                    drives[parameter] = (layer,)
                    fed_by[parameter] = feeding
                    if returns or "recurrent" in qualified.rpartition(".")[2]:
                        fed_by[parameter] = (layer,)
                        recurrent.add(parameter)
            if pending is not None:
                drives[pending] = (layer,)
            pending, feeding = None, (layer,)
    return [
        found.connection(w, fed_by=fed_by[w], drives=drives[w], recurrent=w in recurrent)
        for w in fed_by
    ]


# --- By execution ---------------------------------------------------------------------------------


@dataclass
class _Use:
    """What one weight was seen to do while the example ran."""

    origins: Origins = field(default_factory=dict)
    drives: dict[nn.Module, None] = field(default_factory=dict)
    total: float = 0.0
    squares: float = 0.0
    low: float = math.inf
    high: float = -math.inf
    active: int = 0
    count: int = 0
    transposed: bool = False

    def measure(self, value: Tensor) -> None:
        value = value.detach()
        self.active += int(value.count_nonzero())
        value = value.double()
        self.total += float(value.sum())
        self.squares += float(value.square().sum())
        self.count += value.numel()
        if value.numel():
            self.low = min(self.low, float(value.min()))
            self.high = max(self.high, float(value.max()))


_PRODUCTS = frozenset(
    {"linear", "matmul", "__matmul__", "__rmatmul__", "mm", "conv1d", "conv2d", "conv3d"}
)
_TRANSPOSES = [vars(torch._C.TensorBase)[name].__get__ for name in ("T", "mT")]


class _Observer(TorchFunctionMode):
    """Each tensor remembers the weights, spiking layers or data that it was computed from."""

    def __init__(self, found: _Found) -> None:
        super().__init__()
        self.found = found
        self.uses: dict[Weight, _Use] = {}
        self.order: list[nn.Module] = []
        self.known: set[nn.Module] = set()  # layers whose current was traced to its origins
        self.inside: list[tuple[nn.Module, set[Weight]]] = []  # spiking layers that run now

    # Every torch function passes the origins of its arguments on to its result.

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        name = getattr(func, "__name__", "")
        if name.endswith("_like") or name.startswith("new_"):
            return result  # takes a shape, not values
        turns = func in _TRANSPOSES or name in ("t", "transpose", "swapaxes")
        if turns and (raw := self._raw(args[0])) is not None:
            result._snnlib_raw = (raw[0], not raw[1])
            return result
        if name in _PRODUCTS and (weight := self._product(name, args)) is not None:
            _mark(result, {weight: None})
            return result
        origins = _origins((args, kwargs))
        if origins:
            # A write in place, such as `buffer[t] = spikes`, returns nothing.
            _mark(args[:1] if result is None else result, origins)
        return result

    def _raw(self, value: Any) -> tuple[nn.Parameter, bool] | None:
        """A parameter without a module of its own, and whether it is seen transposed."""
        if isinstance(value, nn.Parameter):
            return (value, False) if value in self.found.raw else None
        return getattr(value, "_snnlib_raw", None)

    def _product(self, name: str, args: tuple[Any, ...]) -> nn.Parameter | None:
        """Note a product of a value with a raw weight; `linear` and convolutions take [out, in]."""
        if len(args) < 2:
            return None
        first, second = args[0], args[1]
        if name == "__rmatmul__":
            first, second = second, first
        plain = name in ("linear", "conv1d", "conv2d", "conv3d")
        for value, weight, turned in ((first, second, not plain), (second, first, False)):
            raw = self._raw(weight)
            if raw is not None and isinstance(value, Tensor) and self._raw(value) is None:
                use = self._enter(raw[0], value)
                use.transposed = raw[1] != turned and weight.dim() == 2
                return raw[0]
        return None

    def _enter(self, weight: Weight, value: Tensor) -> _Use:
        use = self.uses.setdefault(weight, _Use())
        use.measure(value)
        origins = _origins(value)
        if self.inside:
            # What a spiking layer's own weights made comes back: the weight is recurrent.
            layer, inner = self.inside[-1]
            inner.add(weight)
            use.drives[layer] = None
            origins = {layer if o in inner else o: None for o in origins} or {layer: None}
        use.origins.update(origins)
        return use

    # Hooks of modules.

    def enter_weight(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        self.order.append(module)
        value = next(leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor))
        self._enter(module, value)

    def enter_layer(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        self.order.append(module)
        self.inside.append((module, set()))
        origins = _origins((args, kwargs))
        if origins:
            self.known.add(module)
        takes = any(holder is module for holder, _ in self.found.raw.values())
        if takes and module not in self.found.returning:
            return  # its own weights take the input
        for origin in origins:
            if origin in self.uses:
                self.uses[origin].drives[module] = None  # type: ignore[index]

    def leave_weight(self, module: nn.Module, args: Any, output: Any) -> None:
        _mark(output, {module: None})

    def leave_layer(self, module: nn.Module, args: Any, output: Any) -> None:
        self.inside.pop()
        if (weight := self.found.returning.get(module)) is not None:
            # One fused function hides the product with the spikes of the step before.
            use = self.uses.setdefault(weight, _Use())
            fired = (output != 0).to(output.dtype)
            use.measure(torch.cat([torch.zeros_like(fired[:1]), fired[:-1]]))
            use.origins[module] = use.drives[module] = None
        _mark(output, {module: None})


def _origins(tree: Any) -> Origins:
    found: Origins = {}
    for leaf in tree_leaves(tree):
        if isinstance(leaf, Tensor):
            found.update(getattr(leaf, "_snnlib_origins", {}))
    return found


def _mark(tree: Any, origins: Origins) -> None:
    for leaf in tree_leaves(tree):
        if isinstance(leaf, Tensor) and not isinstance(leaf, nn.Parameter):
            leaf._snnlib_origins = origins  # type: ignore[attr-defined]


def _by_execution(found: _Found, example: Any, time: Time) -> list[Connection]:
    time = resolve_time(found.network, example, time)
    arguments = example if isinstance(example, tuple) else (example,)
    # Fresh objects: the caller's tensors stay unmarked.
    arguments = tuple(a.view_as(a) if isinstance(a, Tensor) else a for a in arguments)
    seen = _Observer(found)
    with ExitStack() as stack:
        stack.enter_context(untouched(found.network))
        stack.enter_context(torch.no_grad())
        for module in (*found.weights, *found.layers):
            spikes = module in found.layers
            enter = seen.enter_layer if spikes else seen.enter_weight
            leave = seen.leave_layer if spikes else seen.leave_weight
            before = module.register_forward_pre_hook(enter, with_kwargs=True)
            stack.callback(before.remove)
            stack.callback(module.register_forward_hook(leave).remove)
        stack.enter_context(seen)
        _mark(arguments, {DATA: None})
        run(found.network, arguments, time=time)
    uses = seen.uses
    _fill_from_order(seen.order, uses, found, seen.known)

    connections = []
    for weight, use in uses.items():
        layers = [o for o in use.origins if isinstance(o, nn.Module) and o in found.layers]
        others = [_name(found, o) for o in use.origins if o in uses]
        notes = []
        if len(layers) > 1:
            notes.append(
                "fed by several spiking layers: mean E[x²], as of a concatenation; where their "
                "spikes add up it is larger, and 'lsuv' measures it"
            )
        if others:
            notes.append(f"fed by the real values of {', '.join(others)}")
        connections.append(
            found.connection(
                weight,
                fed_by=tuple(found.layers[m] for m in layers),
                drives=tuple(found.layers[m] for m in use.drives),
                second_moment=use.squares / use.count if use.count else None,
                mean=use.total / use.count if use.count else None,
                low=use.low if use.count else None,
                high=use.high if use.count else None,
                active=use.active,
                recurrent=any(m in use.drives for m in layers),
                transposed=use.transposed,
                note="; ".join(notes),
            )
        )
    unused: Sequence[Weight] = [m for m in found.weights if m not in uses]
    return connections + [
        found.connection(w, note="not executed on the example")
        for w in (*unused, *(p for p in found.inner if p not in uses))
    ]


def _name(found: _Found, weight: Any) -> str:
    return found.names[weight] if isinstance(weight, nn.Module) else found.raw[weight][1]


def _fill_from_order(
    order: list[nn.Module],
    uses: dict[Weight, _Use],
    found: _Found,
    known: set[nn.Module],
) -> None:
    """Pair by the order of execution what an operation unknown to torch has cut off."""
    feeding: nn.Module | str = DATA
    pending: list[nn.Module] = []
    cut = {weight for weight in uses if not uses[weight].origins}
    for module in order:
        if module in found.layers:
            if module not in known:
                for weight in pending:
                    uses[weight].drives[module] = None
            feeding, pending = module, []
        elif module not in found.parents:
            if module in cut:
                uses[module].origins[feeding] = None
                cut.discard(module)
            pending.append(module)
