"""What flows back through each layer: dL/du by step, and the surrogate's slope."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from snnlib.dialects.running import Time
from snnlib.probe.capture import Entry, observe
from snnlib.probe.likeness import common
from snnlib.probe.moments import by_step, central, joined
from snnlib.resets import GATES

__all__ = ["Gradients", "gradients"]


class Gradients(NamedTuple):
    """What flows back: [layer, step].

    Attributes:
        variance: Var[dL/du]; behind a gated reset over the neurons whose gate is open.
        square: E[(dL/du)²] likewise.
        slope: E[(∂x/∂u)²] at the last step of each layer, [layer]; NaN where nothing flows back.
        constants: Size of the gradient of the learned constants inside of the layers, by name.
        coherence: Likeness of the currents' gradients of two samples, for the same gradient by
            their outputs, [layer]; NaN where that is not known.
    """

    variance: Tensor
    square: Tensor
    slope: Tensor
    constants: dict[str, float]
    coherence: Tensor


def gradients(
    network: nn.Module,
    batch: Any,
    loss: Callable[[Any], Tensor] | None,
    seed: int,
    time: Time = "auto",
) -> Gradients:
    """dL/du of each layer and step, in the order in which the layers run.

    Args:
        network: As for `snnlib.probe.record`.
        batch: Likewise.
        loss: Scalar function of the network's output; None weights it at random.
        seed: Seed of the random weights.
        time: Who loops over time.

    Returns:
        Its moments.

    Raises:
        ValueError: If the loss is not a scalar tensor, or without one the output is not a
            floating-point tensor.
    """
    branches = _Branches()
    with torch.enable_grad():
        entries = observe(
            network,
            batch,
            time=time,
            visit=lambda *_: None,
            branch=branches.branch_off,
            output=branches.keep,
            then=lambda output: branches.differentiate(
                _value(output, loss, seed), _shared_value(output, seed)
            ),
        )
    rows, slopes = [], []
    for entry in entries:
        total = _by_potential(entry, branches.by_current(entry), branches.fired.get(entry.name))
        rows.append(by_step(_gated if entry.name in branches.fired else _plain, total))
        slope = _slope(entry, total, branches.by_output.get(entry.name))
        slopes.append(float(slope.double().square().mean()))  # NaN where nothing flows back
    variance, square = joined(rows)
    shared = [common(branches.by_current(entry, shared=True)) for entry in entries]
    return Gradients(
        variance,
        square,
        torch.tensor(slopes, dtype=torch.float64),
        branches.constants,
        torch.tensor(shared, dtype=torch.float64),
    )


def _plain(gradient: Tensor) -> tuple[Tensor, Tensor]:
    return central(gradient)[1], gradient.double().square().mean(1)


def _gated(gradient: Tensor) -> tuple[Tensor, Tensor]:
    """Over what a gate lets through."""
    values = gradient.double()
    left = values - values.nanmean(1, keepdim=True)
    return left.square().nanmean(1), values.square().nanmean(1)


class _Branches:
    """What goes into the layers and what comes out of them, and the loss's derivatives by it."""

    def __init__(self) -> None:
        self.currents: dict[str, list[Tensor]] = {}
        self.spikes: dict[str, Tensor] = {}
        self.by_input: dict[int, Tensor | None] = {}  # by id of the current
        self.by_shared: dict[int, Tensor | None] = {}  # likewise, of the same for all samples
        self.by_output: dict[str, Tensor | None] = {}
        self.fired: dict[str, list[Tensor]] = {}  # where a spike closes the next step's gate
        self.constants: dict[str, float] = {}
        self._order: list[Tensor] = []  # of all currents
        self._learned: dict[str, nn.Parameter] = {}

    def branch_off(self, entry: Entry, step: int, current: Tensor) -> Tensor:
        """A branch of its own: other uses of the current do not add to its gradient."""
        own = current.view_as(current)
        if not own.requires_grad:
            own = own.detach().requires_grad_()
        self.currents.setdefault(entry.name, []).append(own)
        self._order.append(own)
        return own

    def keep(self, entry: Entry, step: int, made: Tensor) -> None:
        """Keep the spikes of the last block of steps."""
        self.spikes[entry.name] = made
        if entry.spiking.reset in GATES:
            fired = made.detach() != 0
            self.fired.setdefault(entry.name, []).extend(
                fired if entry.spiking.sequence else [fired]
            )
        for name, parameter in entry.module.named_parameters(recurse=False):
            if parameter.requires_grad:
                self._learned[f"{entry.name.partition('#')[0]}.{name}"] = parameter

    def differentiate(self, value: Tensor, shared: Tensor | None) -> None:
        """Take the derivatives of the loss, and of what is the same function of all samples."""
        if shared is not None and shared.requires_grad:
            found = torch.autograd.grad(shared, self._order, allow_unused=True, retain_graph=True)
            self.by_shared = dict(zip(map(id, self._order), found, strict=True))
        self._differentiate(value)

    def _differentiate(self, value: Tensor) -> None:
        """Take the derivatives of the loss; None where nothing flows back."""
        outputs = {name: made for name, made in self.spikes.items() if made.requires_grad}
        wanted = [*self._order, *outputs.values(), *self._learned.values()]
        found: Sequence[Tensor | None] = [None] * len(wanted)
        if value.requires_grad:
            found = torch.autograd.grad(value, wanted, allow_unused=True)
        self.by_input = dict(zip(map(id, self._order), found, strict=False))
        rest = found[len(self._order) :]
        self.by_output = dict(zip(outputs, rest, strict=False))
        for name, gradient in zip(self._learned, rest[len(outputs) :], strict=True):
            self.constants[name] = 0.0 if gradient is None else float(gradient.norm())

    def by_current(self, entry: Entry, shared: bool = False) -> Tensor:
        """dL/di of a layer at all steps, [T, batch, ...]."""
        blocks, gradients = [], self.by_shared if shared else self.by_input
        whole = entry.spiking.sequence and not entry.inner
        for current in self.currents[entry.name]:
            found = gradients.get(id(current))
            gradient = torch.zeros_like(current) if found is None else found
            blocks.append(gradient.detach() if whole else gradient.detach()[None])
        return torch.cat(blocks)


def _value(output: Any, loss: Callable[[Any], Tensor] | None, seed: int) -> Tensor:
    """The loss, or the output weighted at random."""
    if loss is None:
        first = _first(output)
        return (first * _cotangent(first, seed)).sum()
    try:
        value = loss(output)
    except TypeError as error:
        if "argument" not in str(error):
            raise
        raise ValueError(
            f"loss is called with the network's output alone ({error}): labels belong into it, "
            "loss=lambda output: criterion(output, y)"
        ) from error
    if not isinstance(value, Tensor) or value.numel() != 1:
        what = (
            f"a tensor {list(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        )
        raise ValueError(f"loss must return a scalar tensor, such as its mean, got {what}")
    return value


def _shared_value(output: Any, seed: int) -> Tensor | None:
    """The output weighted at random by its last dimension, the same for all steps and samples."""
    first = _first(output)
    if not isinstance(first, Tensor) or not first.is_floating_point() or not first.dim():
        return None
    weights = _cotangent(first.reshape(-1, first.shape[-1])[0], seed)
    return (first * weights).sum()


def _by_potential(entry: Entry, by_current: Tensor, fired: Sequence[Tensor] | None) -> Tensor:
    """dL/du from dL/di: i enters u through the gain λ, and a synapse sums it up over time.

    Where the spike of the step before closes a gate, no current tells it: NaN.
    """
    form = entry.spiking
    inside = not isinstance(getattr(entry.module, "recurrent", None), nn.Module)
    if form.recurrent and inside and form.library != "snnlib" and not entry.inner:
        return torch.full_like(by_current, torch.nan)  # the input passes the module's own weights
    gain = form.input_gain.to(by_current).nan_to_num(1.0)  # unknown: dL/di is what there is
    if form.synapse is not None:
        later = torch.cat([by_current[1:], torch.zeros_like(by_current[:1])])
        by_current = by_current - form.synapse.to(by_current) * later
    if form.delay == 1:  # what the first potential does to the loss does not show in any input
        unseen = torch.full_like(by_current[:1], torch.nan)
        by_current = torch.cat([unseen, by_current[:-1]])
    elif form.delay:
        rows = [by_current[-1] / (1 - form.delay)]
        for row in by_current[:-1].flip(0):
            rows.append((row - form.delay * rows[-1]) / (1 - form.delay))
        by_current = torch.stack(rows[::-1])
    by_current = by_current if bool((gain == 1).all()) else by_current / gain
    if fired is None:
        return by_current
    gate = GATES[form.reset].value(0, form.leak.to(by_current))  # open: 1 or the leak
    before = torch.stack([torch.zeros_like(fired[0]), *fired[:-1]])
    return (by_current / gate).masked_fill(before, torch.nan)


def _slope(entry: Entry, total: Tensor, by_output: Tensor | None) -> Tensor:
    """∂x/∂u of each neuron at the last step, where dL/du is dL/dx times the surrogate's slope."""
    form = entry.spiking
    if by_output is None or (form.recurrent and form.library != "snnlib"):
        return total.new_zeros(0)
    last = by_output[-1] if entry.spiking.sequence else by_output
    if last.shape != total[-1].shape:
        return total.new_zeros(0)
    reached = (last != 0) & torch.isfinite(last)
    if form.reset in GATES:
        reached &= torch.isfinite(total[-1])
    return (total[-1][reached] / last[reached]).abs()


def _first(output: Any) -> Any:
    """The network's output, or the first of several tensors."""
    if isinstance(output, (tuple, list)):
        leaves = tree_leaves(output)
        if leaves and all(isinstance(leaf, Tensor) for leaf in leaves):
            return leaves[0]
    return output


def _cotangent(output: Any, seed: int) -> Tensor:
    if not isinstance(output, Tensor) or not output.is_floating_point():
        raise ValueError(
            f"network must return one floating-point tensor, got {type(output).__name__}; "
            "for another output pass loss="
        )
    generator = torch.Generator().manual_seed(seed)
    normal = torch.randn(output.shape, generator=generator, dtype=torch.float64)
    return normal.to(output.device, output.dtype)
