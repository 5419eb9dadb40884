"""Pairing by execution: values remember, through one run, what they were computed from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from snnlib.dialects.arguments import arguments_of
from snnlib.dialects.running import Time, resolve_time, run
from snnlib.dialects.untouched import untouched
from snnlib.init.connection import Connection
from snnlib.init.flow import Flow, passed, source
from snnlib.init.intake import Watched, intake_of, longer
from snnlib.init.inventory import Inventory, Weight
from snnlib.init.operations import flow_of, remember, result_of

DATA = "data"
Origins: TypeAlias = dict[Any, None]  # an ordered set of modules, parameters and `DATA`


@dataclass
class _Use:
    """What one weight was seen to do while the example ran."""

    origins: Origins = field(default_factory=dict)
    flow: Flow | None = None
    drives: dict[nn.Module, None] = field(default_factory=dict)
    total: float = 0.0
    sizes: float = 0.0
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
        self.sizes += float(value.abs().sum())
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

    def __init__(self, found: Inventory) -> None:
        super().__init__()
        self.found = found
        self.uses: dict[Weight, _Use] = {}
        self.intakes: dict[nn.Module, Watched] = {}
        self.norms: list[tuple[nn.Module, Flow | None]] = []  # normalizations that run now
        self.order: list[nn.Module] = []
        self.known: set[nn.Module] = set()  # layers whose current was traced to its origins
        self.inside: list[tuple[nn.Module, set[Weight]]] = []  # spiking layers that run now

    # Every torch function passes the flow of its arguments on to its result.

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
            _mark(result, source(weight))
            return result
        flow = result_of(name, args, kwargs)
        if flow is not None:
            # A write in place, such as `buffer[t] = spikes`, returns nothing.
            _mark(args[:1] if result is None else result, flow)
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
        flow = flow_of(value)
        use.flow = longer(use.flow, flow)
        origins = {} if flow is None else flow.sources()
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
        current = next((a for a in tree_leaves((args, kwargs)) if isinstance(a, Tensor)), None)
        origins = _origins((args, kwargs))
        if origins:
            self.known.add(module)
            self.intakes.setdefault(module, Watched()).add(current)
        takes = any(holder is module for holder, _ in self.found.raw.values())
        if takes and module not in self.found.returning:
            return  # its own weights take the input
        for origin in origins:
            if origin in self.uses or origin in self.found.weights:  # a loop's weight runs later
                self.uses.setdefault(origin, _Use()).drives[module] = None

    def leave_weight(self, module: nn.Module, args: Any, output: Any) -> None:
        _mark(output, source(module))

    def enter_norm(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        values = [a for a in tree_leaves((args, kwargs)) if isinstance(a, Tensor)]
        self.norms.append(
            (module, next((f for a in values if (f := flow_of(a)) is not None), None))
        )

    def leave_norm(self, module: nn.Module, args: Any, output: Any) -> None:
        _, flow = self.norms.pop()
        if flow is not None:
            name = self.found.names[module]
            _mark(output, passed("normalization", [flow], name=name))

    def leave_layer(self, module: nn.Module, args: Any, output: Any) -> None:
        self.inside.pop()
        if (weight := self.found.returning.get(module)) is not None:
            # One fused function hides the product with the spikes of the step before.
            use = self.uses.setdefault(weight, _Use())
            fired = (output != 0).to(output.dtype)
            use.measure(torch.cat([torch.zeros_like(fired[:1]), fired[:-1]]))
            use.origins[module] = use.drives[module] = None
        _mark(output, source(module))


def _origins(tree: Any) -> Origins:
    found: Origins = {}
    for leaf in tree_leaves(tree):
        if isinstance(leaf, Tensor) and (flow := flow_of(leaf)) is not None:
            found.update(flow.sources())
    return found


def _mark(tree: Any, flow: Flow) -> None:
    for leaf in tree_leaves(tree):
        if isinstance(leaf, Tensor) and not isinstance(leaf, nn.Parameter):
            remember(leaf, flow)


def by_execution(found: Inventory, example: Any, time: Time) -> list[Connection]:
    """Pair every weight with the spiking layers that an example's values passed.

    Args:
        found: The network's weights and spiking layers.
        example: One batch to run, a tensor or a tuple of positional arguments.
        time: Who loops over time, see `snnlib.dialects.running.run`.

    Returns:
        One connection per weight, in the order of execution.

    Raises:
        ValueError: If it is not clear who loops over time.
    """
    time = resolve_time(found.network, example, time)
    arguments = arguments_of(found.network, example)
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
        for module in found.norms:
            before = module.register_forward_pre_hook(seen.enter_norm, with_kwargs=True)
            stack.callback(before.remove)
            stack.callback(module.register_forward_hook(seen.leave_norm).remove)
        stack.enter_context(seen)
        _mark(arguments, source(DATA))
        run(found.network, arguments, time=time)
    uses = seen.uses
    _fill_from_order(seen.order, uses, found, seen.known)
    placed = {
        module: replace(layer, intake=intake_of(found, layer, seen.intakes.get(module)))
        for module, layer in found.layers.items()
    }

    connections = []
    for weight, use in uses.items():
        layers = [o for o in use.origins if isinstance(o, nn.Module) and o in found.layers]
        others = [_name(found, o) for o in use.origins if o in uses]
        notes = []
        if others:
            notes.append(f"fed by the real values of {', '.join(others)}")
        connections.append(
            found.connection(
                weight,
                fed_by=tuple(placed[m] for m in layers),
                drives=tuple(placed[m] for m in use.drives),
                flow=use.flow,
                second_moment=use.squares / use.count if use.count else None,
                mean=use.total / use.count if use.count else None,
                size=use.sizes / use.count if use.count else None,
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


def _name(found: Inventory, weight: Any) -> str:
    return found.names[weight] if isinstance(weight, nn.Module) else found.raw[weight][1]


def _fill_from_order(
    order: list[nn.Module],
    uses: dict[Weight, _Use],
    found: Inventory,
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
