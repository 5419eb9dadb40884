"""What all cells share: networks at a firing rate, one timed call, seeds."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.products import WEIGHTS
from snnlib import networks
from snnlib.neurons import LIF

__all__ = ["LEAK", "THRESHOLD", "calibrate_", "even", "generator", "mean_rate", "once", "spikes"]

LEAK, THRESHOLD = 0.5, 1.0
"""Exact in binary, so that every library holds the same numbers."""


def generator(seed: int) -> torch.Generator:
    """Random numbers of the benchmarks."""
    return torch.Generator().manual_seed(seed)


def even(depth: int, width: int) -> networks.FeedForward:
    """Fully connected layers of one width, from a seed."""
    return networks.mlp(
        [width] * (depth + 1), threshold=THRESHOLD, leak=LEAK, encode=False, generator=generator(0)
    )


def spikes(shape: tuple[int, ...], rate: float, seed: int = 1) -> Tensor:
    """Independent spikes of a rate."""
    return (torch.rand(shape, generator=generator(seed)) < rate).float()


def once(
    run: Callable[[Tensor], Tensor],
    parameters: Iterable[nn.Parameter],
    current: Tensor,
    cotangent: Tensor | None,
    context: Callable[[], contextlib.AbstractContextManager[Any]] = contextlib.nullcontext,
) -> Callable[[], None]:
    """One measurement: forward and, with a cotangent, backward to the gradients of all weights."""
    parameters = list(parameters)

    def forward() -> None:
        with context(), torch.no_grad():
            run(current)

    def forward_and_backward() -> None:
        for parameter in parameters:
            parameter.grad = None
        with context():
            run(current).backward(cotangent)

    return forward if cotangent is None else forward_and_backward


@torch.no_grad()
def calibrate_(network: nn.Sequential, current: Tensor, rate: float) -> None:
    """Scale the weights, layer by layer, so that the neurons behind them fire at a rate.

    The mean over steps, batch and neurons of this very input is met, by bisection of the logarithm
    of the scale. A workload needs its rate, not a law that holds for other inputs.
    """
    weights: nn.Linear | nn.Conv2d | None = None
    for layer in network:
        if isinstance(layer, WEIGHTS):
            weights, steps = layer, current.shape[0]
            current = layer(current.flatten(0, 1)).unflatten(0, (steps, -1))
        elif isinstance(layer, LIF) and weights is not None:
            scale = _scale(layer, current, rate)
            weights.weight.mul_(scale)
            current, weights = layer(scale * current), None
        else:
            current = layer(current)


def _scale(neurons: LIF, current: Tensor, rate: float) -> float:
    low, high = -12.0, 12.0
    for _ in range(24):
        middle = (low + high) / 2
        if neurons(2.0**middle * current).mean() > rate:
            high = middle
        else:
            low = middle
    return 2.0**high


@torch.no_grad()
def mean_rate(network: nn.Sequential, current: Tensor) -> float:
    """Mean firing rate over the layers of neurons, each with the same weight."""
    rates = []
    for layer in network:
        if isinstance(layer, WEIGHTS):
            current = layer(current.flatten(0, 1)).unflatten(0, (current.shape[0], -1))
        else:
            current = layer(current)
        if isinstance(layer, LIF):
            rates.append(current.mean().item())
    return sum(rates) / len(rates)
