r"""Moments of the potential, the rate and the gradient of each layer at each step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from snnlib.dialects.running import Time
from snnlib.neurons._stepwise import GATES
from snnlib.probe.capture import Entry, observe

__all__ = ["Statistics", "record"]


@dataclass(frozen=True)
class Statistics:
    r"""Statistics of each spiking layer at each time step; every tensor is [layer, step], float64.

    Layers are in the order of execution. A value that does not exist is NaN: the shape of a
    potential that does not vary, anything computed from a NaN or infinite potential, a step that
    a layer did not run, the moments of a foreign neuron whose potential is not known.

    Attributes:
        layers: Qualified name of each spiking module; a second call of one module is "name#2".
        mean: Mean of the potential u (before the reset, as compared with the threshold).
        variance: E[(u - mean)²].
        skewness: E[(u - mean)³] / variance^(3/2).
        kurtosis: Excess kurtosis, E[(u - mean)⁴] / variance² - 3; 0 for a Gaussian.
        rate: Share of neurons that spike, in [0, 1].
        spikes: Number of spikes, over the whole batch.
        gradient_variance: Variance of dL/du, u's total derivative through all later steps; None
            if it was not asked for.
        unknown: Why the potential of a layer is not known, by its name.
    """

    layers: tuple[str, ...]
    mean: Tensor
    variance: Tensor
    skewness: Tensor
    kurtosis: Tensor
    rate: Tensor
    spikes: Tensor
    gradient_variance: Tensor | None = None
    unknown: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        depth, steps = self.mean.shape
        return f"Statistics({depth} layers from {self.layers[0]!r}, {steps} steps)"


def record(
    network: nn.Module,
    batch: Tensor | tuple[Any, ...],
    *,
    loss: Callable[[Any], Tensor] | None = None,
    gradient: bool = True,
    seed: int = 0,
    time: Time = "auto",
) -> Statistics:
    r"""Run a network once and record the moments of every spiking layer at every step.

    Over batch and neurons are pooled

        mean = E[u],  variance = E[(u - E[u])²],  skewness = E[(u - E[u])³] / variance^(3/2),
        kurtosis = E[(u - E[u])⁴] / variance² - 3,  rate = P(spike),  and Var[dL/du],

    where dL/du[t] is the total derivative through all later steps, the derivative by the layer's
    current i[t]. Without a `loss`, L = sum(c · output) with independent standard normal c.

    The forward statistics are taken layer by layer without a graph, so their memory does not grow
    with depth; the gradient is a second pass that keeps all layers. Parameters, their gradients,
    buffers, neurons, training modes and torch's random state are as before.

    The potential of a foreign neuron is its recursion in normal form, driven by the currents and
    spikes that were seen; where that does not cross the threshold exactly when the layer spiked,
    its moments are NaN and `unknown` says why.

    Args:
        network: Any module with spiking layers of `snnlib.neurons`, snnTorch, SpikingJelly or
            Norse, in the mode to be probed.
        batch: Its input, [T, batch, features...], or a tuple of positional arguments.
        loss: Scalar function of the network's output; None weights it at random.
        gradient: Whether to run the backward pass.
        seed: Seed of the random weights c.
        time: Who loops over time, see `snnlib.dialects.running.run`.

    Returns:
        The statistics; layer 0 is the first spiking layer that runs.

    Raises:
        ValueError: If no spiking layer runs, it is not clear who loops over time, the loss is not
            a scalar tensor, or without a `loss` the output is not a floating-point tensor (or
            several, of which the first counts).

    Source: Micheli et al. 2024, Figs. 2-7 (variance, spike count, skewness, kurtosis).

    Example:
        A current of +1 and -1 (the leak is 0): variance 1, kurtosis of two equal points -2, and
        half of the neurons above the threshold.

        >>> from snnlib.neurons import LIF
        >>> current = torch.tensor([1.0, -1.0, 1.0, -1.0]).expand(3, 2, 4)
        >>> statistics = record(LIF(threshold=0.5, leak=0.0, reset="none"), current)
        >>> statistics.variance.tolist(), statistics.kurtosis.tolist(), statistics.rate.tolist()
        ([[1.0, 1.0, 1.0]], [[-2.0, -2.0, -2.0]], [[0.5, 0.5, 0.5]])
        >>> statistics.spikes.tolist()
        [[4.0, 4.0, 4.0]]
    """
    rows: dict[str, list[Tensor]] = {}

    def take_moments(
        entry: Entry, current: Tensor | None, membrane: Tensor | None, spikes: Tensor
    ) -> None:
        rows.setdefault(entry.name, []).append(moments(membrane, spikes))

    with torch.no_grad():
        entries = observe(network, batch, time=time, visit=take_moments)
    variance = gradients(network, batch, loss, seed, time).variance if gradient else None
    return statistics(entries, rows, variance)


def statistics(
    entries: list[Entry], rows: dict[str, list[Tensor]], gradient_variance: Tensor | None
) -> Statistics:
    """Moments of all layers, by step; without potentials where the recursion went wrong."""
    found = _joined([torch.cat(rows[entry.name], dim=1) for entry in entries])
    for index, entry in enumerate(entries):
        if entry.why:
            found[:4, index] = torch.nan
    mean, variance, skewness, kurtosis, rate, spikes = found
    return Statistics(
        tuple(entry.name for entry in entries),
        mean,
        variance,
        skewness,
        kurtosis,
        rate,
        spikes,
        gradient_variance,
        {entry.name: entry.why for entry in entries if entry.why},
    )


class Gradients(NamedTuple):
    """What flows back: [layer, step].

    Attributes:
        variance: Var[dL/du].
        square: E[(dL/du)²].
        slope: E[(∂x/∂u)²] at the last step of each layer, [layer]; NaN where nothing flows back.
    """

    variance: Tensor
    square: Tensor
    slope: Tensor


def gradients(
    network: nn.Module,
    batch: Any,
    loss: Callable[[Any], Tensor] | None,
    seed: int,
    time: Time = "auto",
) -> Gradients:
    """dL/du of each layer and step, in the order in which the layers run."""
    currents: dict[str, list[Tensor]] = {}
    spikes: dict[str, Tensor] = {}
    found: list[Tensor | None] = []
    values: list[Tensor] = []

    def branch_off(entry: Entry, step: int, current: Tensor) -> Tensor:
        # A branch of its own: other uses of the current do not add to its gradient.
        own = current.view_as(current)
        if not own.requires_grad:
            own = own.detach().requires_grad_()
        currents.setdefault(entry.name, []).append(own)
        values.append(own)
        return own

    def keep(entry: Entry, step: int, made: Tensor) -> None:
        spikes[entry.name] = made

    def backward(output: Any) -> None:
        if loss is not None:
            value = loss(output)
            if not isinstance(value, Tensor) or value.numel() != 1:
                raise ValueError(f"loss must return a scalar tensor, got {value!r}")
        else:
            first = _first(output)
            value = (first * _cotangent(first, seed)).sum()
        wanted = [*values, *(made for made in spikes.values() if made.requires_grad)]
        if value.requires_grad:
            found.extend(torch.autograd.grad(value, wanted, allow_unused=True))
        else:
            found.extend([None] * len(wanted))

    with torch.enable_grad():
        entries = observe(
            network,
            batch,
            time=time,
            visit=lambda *_: None,
            branch=branch_off,
            output=keep,
            then=backward,
        )
    by_tensor = dict(zip(map(id, values), found, strict=False))
    by_output = dict(
        zip(
            (n for n, made in spikes.items() if made.requires_grad),
            found[len(values) :],
            strict=True,
        )
    )
    rows, slopes = [], []
    for entry in entries:
        blocks = []
        for current in currents[entry.name]:
            found_here = by_tensor[id(current)]
            gradient = torch.zeros_like(current) if found_here is None else found_here
            blocks.append(gradient.detach() if entry.spiking.sequence else gradient.detach()[None])
        total = _by_potential(entry, torch.cat(blocks))
        rows.append(_by_step(lambda g: (_central(g)[1], g.double().square().mean(1)), total))
        slope = _slope(entry, total, by_output.get(entry.name))
        slopes.append(float(slope.double().square().mean()))  # NaN where nothing flows back
    variance, square = _joined(rows)
    return Gradients(variance, square, torch.tensor(slopes, dtype=torch.float64))


def _by_potential(entry: Entry, by_current: Tensor) -> Tensor:
    """dL/du from dL/di: i enters u through the gain λ, and a synapse sums it up over time."""
    form = entry.spiking
    inside = not isinstance(getattr(entry.module, "recurrent", None), nn.Module)
    if form.recurrent and inside and form.library != "snnlib":
        return torch.full_like(by_current, torch.nan)  # the input passes the module's own weights
    if form.library == "snnlib" and form.reset in GATES:
        return torch.full_like(by_current, torch.nan)  # a closed gate hides it
    gain = form.input_gain.to(by_current)
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
    return by_current if bool((gain == 1).all()) else by_current / gain


def _slope(entry: Entry, total: Tensor, by_output: Tensor | None) -> Tensor:
    """∂x/∂u of each neuron at the last step, where dL/du is dL/dx times the surrogate's slope."""
    form = entry.spiking
    if by_output is None or (form.recurrent and form.library != "snnlib"):
        return total.new_zeros(0)
    last = by_output[-1] if entry.spiking.sequence else by_output
    if last.shape != total[-1].shape:
        return total.new_zeros(0)
    reached = (last != 0) & torch.isfinite(last)
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


def moments(membrane: Tensor | None, spikes: Tensor) -> Tensor:
    """[mean, variance, skewness, kurtosis, rate, spikes] of a block of steps, each by step."""

    def take(u: Tensor, x: Tensor) -> tuple[Tensor, ...]:
        mean, variance, u, square = _central(u)
        skewness = (square * u).mean(1) / variance**1.5
        kurtosis = (square * square).mean(1) / variance**2 - 3
        fired = (x != 0).double()
        return mean, variance, skewness, kurtosis, fired.mean(1), fired.sum(1)

    if membrane is None:
        membrane = torch.full_like(spikes, torch.nan, dtype=torch.float32)
    return _by_step(take, membrane, spikes)


def _central(u: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Mean, variance, deviations and their squares of each row, without cancellation."""
    u = u.double()
    mean = u.mean(1)
    u = u - mean[:, None]
    square = u * u
    return mean, square.mean(1), u, square


def _by_step(statistics: Callable[..., tuple[Tensor, ...]], *values: Tensor) -> Tensor:
    """[statistic, step] of tensors [T, ...]; blocks of steps bound the copies in float64."""
    rows = [value.detach().flatten(1) for value in values]
    size = max(1, 2**20 // max(1, rows[0].shape[1]))
    blocks = zip(*(row.split(size) for row in rows), strict=True)
    return torch.cat([torch.stack(statistics(*block)).cpu() for block in blocks], dim=1)


def _joined(rows: list[Tensor]) -> Tensor:
    """Rows [statistic, step] as [statistic, layer, step]; missing steps are NaN."""
    steps = max(row.shape[1] for row in rows)
    joined = torch.full((rows[0].shape[0], len(rows), steps), torch.nan, dtype=torch.float64)
    for index, row in enumerate(rows):
        joined[:, index, : row.shape[1]] = row
    return joined
