r"""Which spiking layer feeds a weight, and which one it drives.

Without an example batch the order in which modules were registered decides, and only where it
leaves no doubt: a weight between two spiking layers is fed by the first and drives the second.
With an example batch the network runs once and every tensor remembers the weights, spiking layers
or data that it came from, through any torch operation, so that branches, shortcuts, recurrent
weights and one neuron module used at several depths are paired as they are computed.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from snnlib import dialects
from snnlib._untouched import untouched

WEIGHTS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
DATA = "data"


@dataclass(frozen=True)
class Source:
    """A spiking layer that feeds a weight.

    Attributes:
        name: Qualified name of the module.
        threshold: Its thresholds, float64, a number or one per neuron or channel.
        height: What one of its spikes sends on, float64.
    """

    name: str
    threshold: Tensor
    height: Tensor


@dataclass(frozen=True)
class Connection:
    """A weight with what feeds it and what it drives.

    Attributes:
        name: Qualified name of the module that holds the weight.
        module: That module.
        fan_in: Inputs n of one output neuron, torch's own count (k·k·c_in for convolutions).
        fan_out: Torch's own count likewise.
        fed_by: The spiking layers that feed the weight; empty if real values do.
        drives: Names of the spiking layers whose current the weight makes; empty for a readout.
        second_moment: E[x²] of the input, measured on the example; None without one.
        note: What the pairing could not know.
    """

    name: str
    module: nn.Module
    fan_in: int
    fan_out: int
    fed_by: tuple[Source, ...] = ()
    drives: tuple[str, ...] = ()
    second_moment: float | None = None
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
    def weight(self) -> nn.Parameter:
        """The weight itself."""
        weight = self.module.weight
        assert isinstance(weight, nn.Parameter)
        return weight


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


def pair(network: nn.Module, example: Any = None) -> list[Connection]:
    """Pair every linear and convolution weight with its spiking layers.

    Args:
        network: Any module.
        example: One batch to run, a tensor or a tuple of positional arguments; None pairs by
            registration order.

    Returns:
        One connection per weight, in the order of registration (of execution with an example).

    Raises:
        ValueError: If there is no weight or no spiking layer, a weight is empty or computed by a
            parametrization, or the order of registration leaves open what a weight drives.
    """
    network = getattr(network, "_orig_mod", network)
    names: dict[nn.Module, str] = {}
    weights: dict[nn.Module, tuple[int, int]] = {}
    sources: dict[nn.Module, Source] = {}
    for name, module in network.named_modules():
        names[module] = name or type(module).__name__
        if isinstance(module, WEIGHTS):
            if not isinstance(module.weight, nn.Parameter):
                raise ValueError(
                    f"weight of {names[module]!r} is computed by a parametrization: initialize "
                    "what it is computed from, or remove the parametrization first"
                )
            weights[module] = fans(module.weight, f"weight of {names[module]!r}")
        elif (spiking := dialects.read(module)) is not None:
            sources[module] = Source(names[module], spiking.threshold, spiking.height)
    if not weights:
        raise ValueError(
            f"module must hold at least one weight of {_names(WEIGHTS)}, got {network!r}"
        )
    if not sources:
        raise ValueError(
            "module must hold at least one spiking layer to pair weights with "
            f"(such as snnlib.neurons.LIF), got {network!r}; a single weight is initialized by "
            "the method's own function, such as micheli2024_(weight, threshold)"
        )
    if example is None:
        return _by_registration(names, weights, sources)
    return _by_execution(network, example, names, weights, sources)


def _names(kinds: Iterable[type]) -> str:
    return ", ".join(kind.__name__ for kind in kinds)


def _by_registration(
    names: dict[nn.Module, str],
    weights: dict[nn.Module, tuple[int, int]],
    sources: dict[nn.Module, Source],
) -> list[Connection]:
    feeds: dict[nn.Module, tuple[Source, ...]] = {}
    drives: dict[nn.Module, tuple[str, ...]] = dict.fromkeys(weights, ())
    feeding: tuple[Source, ...] = ()
    pending: nn.Module | None = None
    for module in names:
        if module in weights:
            if pending is not None:
                raise ValueError(
                    f"module registers the weights of {names[pending]!r} and {names[module]!r} "
                    "without a spiking layer between them, which leaves open what they drive; "
                    "pass example= (one batch), and they are paired by running it"
                )
            pending, feeds[module] = module, feeding
        elif module in sources:
            if pending is not None:
                drives[pending] = (names[module],)
            pending, feeding = None, (sources[module],)
    return [
        Connection(names[m], m, *weights[m], fed_by=feeds[m], drives=drives[m]) for m in weights
    ]


@dataclass
class _Use:
    """What one weight was seen to do while the example ran."""

    origins: dict[nn.Module | str, None] = field(default_factory=dict)
    drives: dict[nn.Module, None] = field(default_factory=dict)
    squares: float = 0.0
    count: int = 0


Origins = dict[nn.Module | str, None]  # an ordered set


class _Provenance(TorchFunctionMode):
    """Each tensor remembers the weights, spiking layers or data that it was computed from."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        name = getattr(func, "__name__", "")
        if name.endswith("_like") or name.startswith("new_"):
            return result  # takes a shape, not values
        inputs = tree_leaves((args, kwargs))
        origins = _origins(inputs)
        if origins:
            # A write in place, such as `buffer[t] = spikes`, returns nothing.
            target = args[:1] if result is None else result
            _mark(target, origins)
        return result


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


def _by_execution(
    network: nn.Module,
    example: Any,
    names: dict[nn.Module, str],
    weights: dict[nn.Module, tuple[int, int]],
    sources: dict[nn.Module, Source],
) -> list[Connection]:
    uses: dict[nn.Module, _Use] = {}
    order: list[nn.Module] = []
    known: set[nn.Module] = set()  # spiking layers whose current was traced to its origins

    def enter_weight(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        order.append(module)
        use = uses.setdefault(module, _Use())
        value = next(leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor))
        use.origins.update(_origins(value))
        use.squares += float(value.detach().double().square().sum())
        use.count += value.numel()

    def enter_spiking(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        order.append(module)
        origins = _origins((args, kwargs))
        if origins:
            known.add(module)
        for origin in origins:
            if isinstance(origin, nn.Module) and origin in weights:
                uses[origin].drives[module] = None

    def leave(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        _mark(output, {module: None})

    arguments = example if isinstance(example, tuple) else (example,)
    # Fresh objects: the caller's tensors stay unmarked.
    arguments = tuple(a.view_as(a) if isinstance(a, Tensor) else a for a in arguments)
    with ExitStack() as stack:
        stack.enter_context(untouched(network))
        stack.enter_context(torch.no_grad())
        for module in (*weights, *sources):
            enter = enter_weight if module in weights else enter_spiking
            before = module.register_forward_pre_hook(enter, with_kwargs=True)
            stack.callback(before.remove)
            stack.callback(module.register_forward_hook(leave).remove)
        stack.enter_context(_Provenance())
        _mark(arguments, {DATA: None})
        network(*arguments)
    _fill_from_order(order, uses, sources, known)

    connections = []
    for module in (*uses, *(m for m in weights if m not in uses)):
        use = uses.get(module)
        if use is None:
            note = "not executed on the example"
            connections.append(Connection(names[module], module, *weights[module], note=note))
            continue
        fed_by = tuple(sources[m] for m in use.origins if m in sources)
        others = [names[m] for m in use.origins if isinstance(m, nn.Module) and m in weights]
        notes = []
        if len(fed_by) > 1:
            notes.append("fed by several spiking layers: mean E[x²]")
        if others:
            notes.append(f"fed by the real values of {', '.join(others)}")
        connections.append(
            Connection(
                names[module],
                module,
                *weights[module],
                fed_by=fed_by,
                drives=tuple(names[m] for m in use.drives),
                second_moment=use.squares / use.count if use.count else None,
                note="; ".join(notes),
            )
        )
    return connections


def _fill_from_order(
    order: list[nn.Module],
    uses: dict[nn.Module, _Use],
    sources: dict[nn.Module, Source],
    known: set[nn.Module],
) -> None:
    """Pair by the order of execution what an operation unknown to torch has cut off."""
    feeding: nn.Module | str = DATA
    pending: list[nn.Module] = []
    cut = {module for module in uses if not uses[module].origins}
    for module in order:
        if module in sources:
            if module not in known:
                for weight in pending:
                    uses[weight].drives[module] = None
            feeding, pending = module, []
        else:
            if module in cut:
                uses[module].origins[feeding] = None
                cut.discard(module)
            pending.append(module)
