r"""Fold the thresholds of threshold-robust neurons into the weights behind them, for inference.

A neuron with `threshold_gradient="threshold_robust"` sends θ x, a real number, where x is its
spike. Behind it stands a weight, and w (θ x) = (θ w) x: once the weight has taken θ the neuron can
send plain spikes, and the network's output stays what it was. That works wherever the way from the
neuron to its weights only moves, pools or adds up what is sent, and nowhere else; a shortcut that
adds θ x to another current has no weight that could take θ.

The way is found by watching one run of the network, whatever its code looks like.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

from snnlib.neurons import LIF

__all__ = ["Fold", "fold", "plan"]


class Fold(NamedTuple):
    """What becomes of one layer of threshold-robust neurons.

    Attributes:
        layer: Qualified name of the layer.
        into: Qualified names of the weights that take its threshold; empty if it cannot be folded.
        reason: Why it cannot be folded; empty if it can.
    """

    layer: str
    into: tuple[str, ...]
    reason: str = ""


def plan(network: nn.Module, example: Any) -> tuple[Fold, ...]:
    """Say for each layer of threshold-robust neurons whether and where its threshold can go.

    Args:
        network: Any module that holds `snnlib.neurons.LIF` layers.
        example: An input of the network (or a tuple of positional arguments), with which it is
            run once, as a copy in evaluation mode. The values do not matter, the shapes do.

    Returns:
        One entry per layer with `threshold_gradient="threshold_robust"`, in the order of the
        network's modules.

    Raises:
        ValueError: If the network has no such layer.

    Example:
        >>> from snnlib import networks
        >>> robust = dict(threshold=0.5, threshold_gradient="threshold_robust")
        >>> network = networks.mlp([4, 8, 3], **robust)
        >>> for entry in plan(network, torch.ones(2, 1, 4)):
        ...     print(entry)
        Fold(layer='lif0', into=('linear1.weight',), reason='')
        Fold(layer='lif1', into=('linear2.weight',), reason='')
        Fold(layer='lif2', into=(), reason="it is the network's output")
    """
    return _watch(copy.deepcopy(network), example).entries()


def fold(network: nn.Module, example: Any, *, partial: bool = False) -> nn.Module:
    r"""A copy of a network, for inference, whose threshold-robust neurons send plain spikes.

    .. math:: w \leftarrow \theta\, w, \qquad \theta x \to x

    for each such layer and the weights behind it: of linear and convolution layers (of a batch norm
    that takes spikes its scale, and its running mean is divided by θ). The way there may hold
    pooling, flattening, dropout, sums over time and the like. The copy is in evaluation mode, its
    neurons have `threshold_gradient="relative"` and the same membranes and spikes as before, up to
    the rounding of θ w (none for a power of two).

    Args:
        network: Any module that holds `snnlib.neurons.LIF` layers.
        example: An input of the network (or a tuple of positional arguments), with which it is
            run once, as a copy in evaluation mode. The values do not matter, the shapes do.
        partial: Whether layers that cannot be folded stay as they are instead of raising.

    Returns:
        The folded copy; `network` is not changed.

    Raises:
        ValueError: If the network has no threshold-robust layer, or some layer cannot be folded
            and `partial` is False; the message names each such layer and says why.

    Source:
        Kook et al. 2026, section 5: at inference the factor moves into the next layer's weights.

    Example:
        >>> from torch import nn
        >>> weights = nn.Linear(3, 2)
        >>> neurons = LIF(threshold=0.5, threshold_gradient="threshold_robust")
        >>> network, x = nn.Sequential(neurons, weights), torch.rand(4, 1, 3)
        >>> folded = fold(network, x)
        >>> folded[0](x).unique().tolist()
        [0.0, 1.0]
        >>> torch.equal(folded[1].weight, 0.5 * weights.weight)
        True
        >>> torch.equal(folded(x), network(x))
        True
    """
    network = copy.deepcopy(network)
    watched = _watch(network, example)
    failed = [entry for entry in watched.entries() if entry.reason]
    if failed and not partial:
        raise ValueError(
            f"network must have weights behind every threshold-robust layer, {len(failed)} of "
            f"{len(watched.layers)} cannot be folded: "
            + "; ".join(f"{entry.layer!r}: {entry.reason}" for entry in failed)
            + " (partial=True folds the others)"
        )
    watched.apply()
    return network


# --- Watching a run -------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Sent:
    """A tensor that is `height` times what the network would compute from plain spikes."""

    tensor: Tensor  # kept, so that its id stays its own
    height: Tensor  # same shape
    layers: frozenset[str]


@dataclass(frozen=True)
class _Use:
    """A weight that sees what some layers send."""

    name: str
    owner: Any
    factor: Tensor  # per input channel
    layers: frozenset[str]
    apply: Callable[[Any, Tensor], None]


def _watch(network: nn.Module, example: Any) -> _Watch:
    layers = {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, LIF) and module.threshold_gradient == "threshold_robust"
    }
    if not layers:
        raise ValueError(
            'network must hold a LIF layer with threshold_gradient="threshold_robust", '
            f"got {type(network).__name__} with none: there is nothing to fold"
        )
    network.eval()
    watch = _Watch(network, layers)
    hooks = []
    names = {id(module): name for name, module in layers.items()}
    for name, module in network.named_modules():
        if isinstance(module, LIF):
            hooks.append(module.register_forward_pre_hook(watch.enter(name), with_kwargs=True))
            hooks.append(module.register_forward_hook(watch.leave(names.get(id(module)))))
    arguments = example if isinstance(example, tuple) else (example,)
    try:
        with torch.no_grad(), watch:
            output = network(*arguments)
    finally:
        for hook in hooks:
            hook.remove()
    watch.fail(watch.sent(output), "it is the network's output")
    return watch


class _Watch(TorchFunctionMode):
    """Follows what threshold-robust neurons send through every torch function of one run."""

    def __init__(self, network: nn.Module, layers: dict[str, LIF]) -> None:
        super().__init__()
        self.layers = layers
        self.parameters = {id(p): name for name, p in network.named_parameters()}
        self.norms = {
            id(module.running_mean): (name, module)
            for name, module in network.named_modules()
            if isinstance(module, nn.modules.batchnorm._BatchNorm)
            and module.running_mean is not None
        }
        self.tagged: dict[int, _Sent] = {}
        self.uses: dict[int, _Use] = {}
        self.reasons: dict[str, str] = {}
        self.others: set[int] = set()  # what functions see that no spikes enter
        self.inside = 0
        self.reached: set[str] = set()

    # --- the neurons

    def enter(self, name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, kwargs: Any) -> None:
            self.fail(self.sent((args, kwargs)), f"no weight stands between it and {name!r}")
            self.inside += 1

        return hook

    def leave(self, name: str | None) -> Callable[..., None]:
        def hook(module: LIF, args: Any, output: Tensor) -> None:
            self.inside -= 1
            if name is not None:
                self.reached.add(name)
                height = torch.as_tensor(module.threshold, dtype=output.dtype, device=output.device)
                self.tag(output, height.expand(output.shape), frozenset([name]))

        return hook

    # --- the functions

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if self.inside:
            return func(*args, **kwargs)
        sent = self.sent((args, kwargs))
        output = func(*args, **kwargs)
        name = str(getattr(func, "__name__", func))
        if not sent:
            if name not in _METADATA:
                for leaf in tree_leaves((args, kwargs)):
                    owner = self.norms[id(leaf)][1] if id(leaf) in self.norms else leaf
                    self.others.add(id(owner))
            return output
        if name in _METADATA or (
            name == "__get__" and not any(isinstance(x, Tensor) for x in tree_leaves(output))
        ):
            return output
        layers = frozenset().union(*(entry.layers for entry in sent))
        try:
            self.follow(name, func, args, kwargs, output, sent, layers)
        except _CannotFold as error:
            self.fail(sent, str(error))
        return output

    def follow(
        self,
        name: str,
        func: Any,
        args: Any,
        kwargs: dict[str, Any],
        output: Any,
        sent: list[_Sent],
        layers: frozenset[str],
    ) -> None:
        """Tag the output of a function of sent tensors, or note the weight that it met."""
        if name == "linear" or name in _CONVOLUTIONS:
            self.weight(name, args, kwargs, layers)
        elif name == "batch_norm":
            self.norm(args, kwargs, layers)
        elif name in _MOVES:
            moved = func(*self.heights(args), **self.heights(kwargs))
            self.refuse_others(name, args, kwargs)
            for result, height in zip(tree_leaves(output), tree_leaves(moved), strict=True):
                self.tag(result, height, layers)
        elif name in _KEEPS:
            self.tag(output, sent[0].height, layers)
        elif name in _SUMS:
            heights = self.heights(args), self.heights(kwargs)
            high, low = (
                _extreme(which, sent[0].height, heights[0][1:], heights[1])
                for which in (torch.amax, torch.amin)
            )
            if not torch.equal(high, low):
                raise _CannotFold(f"it is summed over neurons of different thresholds ({name})")
            self.tag(output, high, layers)
        elif "pool" in name:
            size = int(name[-2]) if name[-1] == "d" and name[-2].isdigit() else 0
            if not size or not isinstance(output, Tensor):
                raise _CannotFold(f"it goes through {name}")
            spatial = tuple(range(-size, 0))
            height = sent[0].height
            high = height.amax(spatial, keepdim=True)
            if not torch.equal(high, height.amin(spatial, keepdim=True)):
                raise _CannotFold(f"it is pooled over neurons of different thresholds ({name})")
            self.tag(output, high.expand(output.shape), layers)
        elif name in _ADDS:
            tensors = [x for x in tree_leaves(args[:2]) if isinstance(x, Tensor)]
            if len(tensors) != 2 or len(sent) != 2 or kwargs:
                raise _CannotFold(f"it is added to another current without a weight ({name})")
            first, second = (entry.height.expand(output.shape) for entry in sent)
            if name.endswith("_") and not name.startswith("__"):
                raise _CannotFold(f"it is changed in place ({name})")
            if not torch.equal(first, second):
                raise _CannotFold(f"it is added to spikes of another threshold ({name})")
            self.tag(output, first, layers)
        elif name in _SCALES and len(sent) == 1 and (name in _PRODUCTS or self.sent(args[:1])):
            self.tag(output, sent[0].height.expand(output.shape), layers)
        else:
            raise _CannotFold(f"what it sends goes through {name}")

    def weight(self, name: str, args: Any, kwargs: dict[str, Any], layers: frozenset[str]) -> None:
        given = dict(zip(("input", "weight"), args, strict=False)) | kwargs
        weight, entry = given["weight"], self.tagged.get(id(given["input"]))
        if entry is None or self.sent([v for k, v in given.items() if k != "input"]):
            raise _CannotFold(f"it is used as a weight ({name})")
        if id(weight) not in self.parameters:
            raise _CannotFold(f"the weight behind it ({name}) is computed, not a parameter")
        axis = -1 if name == "linear" else -1 - int(name[4])
        groups = 1 if name == "linear" else _groups(name, args, kwargs)

        def scale(owner: Tensor, factor: Tensor) -> None:
            inputs = owner.shape[1]
            rows = factor.view(groups, 1, inputs)
            rows = rows.expand(groups, owner.shape[0] // groups, inputs)
            owner.mul_(rows.reshape(-1, inputs, *[1] * (owner.dim() - 2)).to(owner))

        self.use(weight, self.parameters[id(weight)], _channels(entry.height, axis), layers, scale)

    def norm(self, args: Any, kwargs: dict[str, Any], layers: frozenset[str]) -> None:
        names = ("input", "running_mean", "running_var", "weight", "bias", "training")
        given = dict(zip(names, args, strict=False)) | kwargs
        entry = self.tagged.get(id(given["input"]))
        found = self.norms.get(id(given["running_mean"]))
        if entry is None or found is None or given.get("training", False):
            raise _CannotFold("it goes through a batch norm without running statistics")
        name, module = found
        axis = 1 - entry.height.dim()
        self.use(module, f"{name}.weight", _channels(entry.height, axis), layers, _scale_norm)

    def use(
        self,
        owner: Any,
        name: str,
        factor: Tensor,
        layers: frozenset[str],
        apply: Callable[[Any, Tensor], None],
    ) -> None:
        before = self.uses.get(id(owner))
        if before is not None:
            layers = layers | before.layers
            if not torch.equal(before.factor, factor):
                self.refuse(layers, f"{name!r} sees spikes of different thresholds")
        self.uses[id(owner)] = _Use(name, owner, factor, layers, apply)

    # --- the book-keeping

    def sent(self, values: Any) -> list[_Sent]:
        leaves = (leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor))
        return [self.tagged[id(leaf)] for leaf in leaves if id(leaf) in self.tagged]

    def heights(self, values: Any) -> Any:
        """The same arguments with the factor in place of each sent tensor."""
        return tree_map(
            lambda x: (
                self.tagged[id(x)].height if isinstance(x, Tensor) and id(x) in self.tagged else x
            ),
            values,
        )

    def refuse_others(self, name: str, args: Any, kwargs: Any) -> None:
        for leaf in tree_leaves((args, kwargs)):
            if (
                isinstance(leaf, Tensor)
                and leaf.is_floating_point()
                and id(leaf) not in self.tagged
            ):
                raise _CannotFold(f"it is joined with values that are no spikes ({name})")

    def tag(self, tensor: Tensor, height: Tensor, layers: frozenset[str]) -> None:
        self.tagged[id(tensor)] = _Sent(tensor, height, layers)

    def fail(self, sent: Iterable[_Sent], reason: str) -> None:
        for entry in sent:
            self.refuse(entry.layers, reason)

    def refuse(self, layers: Iterable[str], reason: str) -> None:
        for layer in layers:
            self.reasons.setdefault(layer, reason)

    def entries(self) -> tuple[Fold, ...]:
        """The verdict for each layer; a weight that cannot take one factor takes none."""
        for name in set(self.layers) - self.reached:
            self.reasons.setdefault(name, "the network did not run it")
        for use in self.uses.values():
            if id(use.owner) in self.others:
                self.refuse(use.layers, f"{use.name!r} also sees values that are no spikes")
        changed = True
        while changed:
            changed = False
            for use in self.uses.values():
                bad = sorted(use.layers & set(self.reasons))
                for layer in sorted(use.layers - set(self.reasons)) if bad else ():
                    self.reasons[layer] = f"it shares {use.name!r} with {bad[0]!r}"
                    changed = True
        return tuple(
            Fold(name, (), self.reasons[name])
            if name in self.reasons
            else Fold(name, tuple(u.name for u in self.uses.values() if name in u.layers))
            for name in self.layers
        )

    def apply(self) -> None:
        """Scale the weights and let the neurons send spikes."""
        with torch.no_grad():
            for use in self.uses.values():
                if not use.layers & set(self.reasons):
                    use.apply(use.owner, use.factor)
        for name, layer in self.layers.items():
            if name not in self.reasons:
                layer.threshold_gradient = "relative"


class _CannotFold(Exception):
    """Why a factor stops here."""


def _channels(height: Tensor, axis: int) -> Tensor:
    """The factor per input channel, if it is the same everywhere else."""
    rows = height.movedim(axis, -1).flatten(0, -2)
    if not torch.equal(rows, rows[:1].expand_as(rows)):
        raise _CannotFold("its threshold differs within one input channel of the weight behind it")
    return rows[0].clone()


def _extreme(which: Any, height: Tensor, args: Any, kwargs: dict[str, Any]) -> Tensor:
    given = dict(zip(("dim", "keepdim"), args, strict=False)) | kwargs
    axes = given.get("dim")
    axes = tuple(range(height.dim())) if axes is None else axes
    result: Tensor = which(height, dim=axes, keepdim=given.get("keepdim", False))
    return result


def _groups(name: str, args: Any, kwargs: dict[str, Any]) -> int:
    names = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
    return int((dict(zip(names, args, strict=False)) | kwargs).get("groups", 1))


def _scale_norm(module: Any, factor: Tensor) -> None:
    """γ (θ x - μ)/s + b = (θ γ) (x - μ/θ)/s + b."""
    module.running_mean.div_(factor.to(module.running_mean))
    if module.weight is None:
        module.affine = True
        module.weight = nn.Parameter(torch.ones_like(module.running_mean))
        module.bias = nn.Parameter(torch.zeros_like(module.running_mean))
    module.weight.mul_(factor.to(module.weight))


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_CONVOLUTIONS = _names("conv1d conv2d conv3d")
# What they say of a tensor does not depend on its values.
_METADATA = _names(
    "dim size stride numel nelement __len__ is_floating_point is_complex get_device element_size "
    "storage_offset is_contiguous data_ptr"
)
# Functions that put every value somewhere, unchanged: the factor goes along.
_MOVES = _names(
    "reshape view flatten unflatten squeeze unsqueeze expand expand_as permute transpose movedim "
    "swapaxes contiguous clone detach to float double half bfloat16 __getitem__ select narrow "
    "unbind chunk split repeat repeat_interleave flip roll stack cat broadcast_to __get__"
)
# f(θ x) = θ f(x) for θ > 0, value by value.
_KEEPS = _names("relu dropout dropout1d dropout2d dropout3d feature_dropout")
_SUMS = _names("sum mean")
_ADDS = _names("add __add__ __radd__ add_ __iadd__")
_PRODUCTS = _names("mul multiply __mul__ __rmul__")
_SCALES = _PRODUCTS | _names("div divide true_divide __truediv__")
