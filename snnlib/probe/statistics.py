r"""Moments of the potential, the rate and the gradient of each layer at each step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from snnlib.dialects.running import Time
from snnlib.probe.backward import gradients
from snnlib.probe.capture import Entry, observe
from snnlib.probe.moments import joined, moments

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
    found = joined([torch.cat(rows[entry.name], dim=1) for entry in entries])
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
