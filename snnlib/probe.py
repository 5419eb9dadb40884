r"""What happens inside a spiking network, layer by layer and step by step.

`record` runs a network on a batch and pools, over batch and neurons, the moments of the membrane
potential u[layer, step], the firing rate, and the variance of the gradient dL/du.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from snnlib import dialects
from snnlib._untouched import untouched

__all__ = ["Statistics", "record"]


@dataclass(frozen=True)
class Statistics:
    r"""Statistics of each spiking layer at each time step; every tensor is [layer, step], float64.

    Layers are in the order of execution. A value that does not exist is NaN: the shape of a
    potential that does not vary, anything computed from a NaN or infinite potential, a step that
    a layer did not run.

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
    """

    layers: tuple[str, ...]
    mean: Tensor
    variance: Tensor
    skewness: Tensor
    kurtosis: Tensor
    rate: Tensor
    spikes: Tensor
    gradient_variance: Tensor | None = None

    def __repr__(self) -> str:
        depth, steps = self.mean.shape
        return f"Statistics({depth} layers from {self.layers[0]!r}, {steps} steps)"


def record(
    network: nn.Module,
    batch: Tensor,
    *,
    loss: Callable[[Any], Tensor] | None = None,
    gradient: bool = True,
    seed: int = 0,
) -> Statistics:
    r"""Run a network once and record the moments of every spiking layer at every step.

    Over batch and neurons are pooled

        mean = E[u],  variance = E[(u - E[u])²],  skewness = E[(u - E[u])³] / variance^(3/2),
        kurtosis = E[(u - E[u])⁴] / variance² - 3,  rate = P(spike),  and Var[dL/du],

    where dL/du[t] is the total derivative through all later steps, the derivative by the layer's
    current i[t]. Without a `loss`, L = sum(c · output) with independent standard normal c.

    The forward statistics are taken layer by layer without a graph, so their memory does not grow
    with depth; the gradient is a second pass that keeps all layers. Parameters, their gradients,
    buffers, training modes and torch's random state are as before.

    Args:
        network: Any module with spiking layers of `snnlib.neurons`, in the mode to be probed.
        batch: Its input, [T, batch, features...].
        loss: Scalar function of the network's output; None weights it at random.
        gradient: Whether to run the backward pass.
        seed: Seed of the random weights c.

    Returns:
        The statistics; layer 0 is the first spiking layer that runs.

    Raises:
        ValueError: If no spiking layer runs, the loss is not a scalar tensor, or without a `loss`
            the output is not one floating-point tensor.

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
    names: list[str] = []
    rows: list[Tensor] = []

    def take_moments(name: str, trace: Callable[[Tensor], Any], current: Tensor) -> Any:
        result = trace(current)
        names.append(name)
        rows.append(_moments(result.membrane, result.spikes))
        return result

    with untouched(network) as module, torch.no_grad(), _traced(module, take_moments):
        module(batch)
    if not rows:
        raise ValueError(
            f"network must run at least one spiking layer of snnlib.neurons, got {network!r}"
        )
    mean, variance, skewness, kurtosis, rate, spikes = _joined(rows)
    return Statistics(
        _numbered(names),
        mean,
        variance,
        skewness,
        kurtosis,
        rate,
        spikes,
        _gradient_variance(network, batch, loss, seed) if gradient else None,
    )


def _gradient_variance(
    network: nn.Module, batch: Tensor, loss: Callable[[Any], Tensor] | None, seed: int
) -> Tensor:
    """Var[dL/du] of each layer and step, in the order in which the layers run."""
    currents: list[Tensor] = []

    def branch_off(name: str, trace: Callable[[Tensor], Any], current: Tensor) -> Any:
        # A branch of its own: other uses of the current do not add to its gradient.
        own = current.view_as(current)
        if not own.requires_grad:
            own = own.detach().requires_grad_()
        currents.append(own)
        return trace(own)

    with untouched(network) as module, torch.enable_grad(), _traced(module, branch_off):
        output = module(batch)
        if loss is not None:
            value = loss(output)
            if not isinstance(value, Tensor) or value.numel() != 1:
                raise ValueError(f"loss must return a scalar tensor, got {value!r}")
        else:
            value = (output * _cotangent(output, seed)).sum()
        gradients: tuple[Tensor | None, ...] = (None,) * len(currents)
        if value.requires_grad:
            gradients = torch.autograd.grad(value, currents, allow_unused=True)
    rows = []
    for current, found in zip(currents, gradients, strict=True):
        if found is None:  # the output does not depend on this layer
            rows.append(torch.zeros(1, current.shape[0], dtype=torch.float64))
        else:
            rows.append(_by_step(lambda g: (_central(g)[1],), found))
    return _joined(rows)[0]


def _cotangent(output: Any, seed: int) -> Tensor:
    if not isinstance(output, Tensor) or not output.is_floating_point():
        raise ValueError(
            f"network must return one floating-point tensor, got {type(output).__name__}; "
            "for another output pass loss="
        )
    generator = torch.Generator().manual_seed(seed)
    normal = torch.randn(output.shape, generator=generator, dtype=torch.float64)
    return normal.to(output.device, output.dtype)


@contextmanager
def _traced(network: nn.Module, around: Callable[..., Any]) -> Iterator[None]:
    """Send every call of a spiking layer's `trace` through `around(name, trace, current)`."""
    layers = [
        (name or type(module).__name__, module)
        for name, module in network.named_modules()
        if dialects.is_spiking(module)
    ]

    def wrap(name: str, trace: Callable[[Tensor], Any]) -> Callable[[Tensor], Any]:
        return lambda current: around(name, trace, current)

    before = [(module, vars(module).get("trace")) for _, module in layers]
    try:
        for name, module in layers:
            # On the instance, where it hides the method of the class.
            vars(module)["trace"] = wrap(name, module.trace)
        yield
    finally:
        for module, own in before:
            if own is None:
                vars(module).pop("trace", None)
            else:
                vars(module)["trace"] = own


def _moments(membrane: Tensor, spikes: Tensor) -> Tensor:
    """[mean, variance, skewness, kurtosis, rate, spikes] of one layer, each by step."""

    def moments(u: Tensor, x: Tensor) -> tuple[Tensor, ...]:
        mean, variance, u, square = _central(u)
        skewness = (square * u).mean(1) / variance**1.5
        kurtosis = (square * square).mean(1) / variance**2 - 3
        fired = (x != 0).double()
        return mean, variance, skewness, kurtosis, fired.mean(1), fired.sum(1)

    return _by_step(moments, membrane, spikes)


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


def _numbered(names: list[str]) -> tuple[str, ...]:
    """Names of the calls: the second call of a layer is "name#2"."""
    seen: Counter[str] = Counter()
    result = []
    for name in names:
        seen[name] += 1
        result.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
    return tuple(result)
