"""Diagnosis and initialization, in training steps of the network that they are for."""

from __future__ import annotations

import copy
import itertools
from collections import OrderedDict
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.cells.workload import LEAK, THRESHOLD, even, generator
from benchmarks.harness import Options, clock_of, interleave
from benchmarks.result import Result
from snnlib import init, meanfield, networks, probe
from snnlib.networks import FeedForward, MaxPool
from snnlib.neurons import LIF

__all__ = ["CELLS"]

PATIENCE = 60.0
"""Seconds of one call beyond which it is timed once."""

SETTINGS: dict[str, dict[str, Any]] = {
    "rossbroich2022": {"rate": 0.1},
    "spikeinit2026": {"rate": 0.1},
}
"""What a method cannot do without, or does better with."""

CONVOLUTIONS: tuple[int | str, ...] = (
    64,
    "M",
    128,
    "M",
    256,
    256,
    "M",
    512,
    512,
    "M",
    512,
    512,
    "M",
)
"""VGG-11 (Simonyan & Zisserman 2015): channels of each convolution, M halves the image."""


def mlp(quick: bool) -> tuple[nn.Module, Tensor]:
    """Twenty layers."""
    depth, width, steps, batch = (6, 256, 4, 32) if quick else (20, 1024, 10, 64)
    network = even(depth, width)
    x = torch.randn(batch, width, generator=generator(1))
    return network, networks.constant(x, steps)


def vgg11(quick: bool) -> tuple[nn.Module, Tensor]:
    """The convolutions of VGG-11 on 32 by 32 pixels, and a readout with neurons."""
    factor, steps, batch = (8, 2, 8) if quick else (1, 4, 16)
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    below = 3
    for number, channels in enumerate(CONVOLUTIONS, start=1):
        if isinstance(channels, str):
            layers[f"pool{number}"] = MaxPool()
            continue
        above = channels // factor
        layers[f"conv{number}"] = nn.Conv2d(below, above, 3, padding=1, bias=False)
        layers[f"lif{number}"] = LIF(threshold=THRESHOLD, leak=LEAK)
        below = above
    layers["flatten"] = nn.Flatten(2)
    layers["linear"] = nn.Linear(below, 10, bias=False)
    layers["lif"] = LIF(threshold=THRESHOLD, leak=LEAK)
    network = FeedForward(layers)
    image = torch.randn(batch, 3, 32, 32, generator=generator(1))
    current = networks.constant(image, steps)
    init.initialize_(network, "micheli2024", example=current, generator=generator(0))
    return network, current


def recurrent(quick: bool) -> tuple[nn.Module, Tensor]:
    """One recurrent layer with a readout."""
    sizes, steps, batch = ([64, 64, 20], 20, 8) if quick else ([700, 256, 20], 100, 32)
    network = networks.recurrent(sizes, threshold=THRESHOLD, leak=LEAK, generator=generator(0))
    inputs = (torch.rand(steps, batch, sizes[0], generator=generator(1)) < 0.1).float()
    return network, inputs


def training_step(network: nn.Module, current: Tensor) -> Callable[[], None]:
    """Forward, loss, backward, Adam."""
    classes = network(current[:1]).shape[-1]
    targets = torch.randint(classes, (current.shape[1],), generator=generator(2))
    targets = targets.to(current.device)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-6)

    def step() -> None:
        loss = functional.cross_entropy(network(current).sum(0), targets)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return step


def initializations(network: nn.Module, current: Tensor) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Every method, drawn anew at each call."""
    for name in init.METHODS:
        if name == "mean_field":
            continue
        yield (
            f"initialize_, {name}",
            partial(
                init.initialize_,
                network,
                name,
                example=current,
                generator=generator(6),
                **SETTINGS.get(name, {}),
            ),
        )
    # The gain of a rate is remembered: another rate each time, so that each call finds it.
    rates = itertools.count()

    def mean_field() -> None:
        rate = 0.2 + 1e-6 * next(rates)
        steps = current.shape[0]
        init.initialize_(
            network,
            "mean_field",
            example=current,
            generator=generator(6),
            rate=rate,
            steps=steps,
        )

    yield "initialize_, mean_field", mean_field


def measure(
    name: str, title: str, make: Callable[[bool], tuple[nn.Module, Tensor]], options: Options
) -> Result:
    """One cell: what a user calls before training, and a step of the training."""
    network, current = make(options.quick)
    network.to(options.device)
    current = current.to(options.device)
    result = Result(name, title, "speed", bases=["training step"])
    result.about = {
        "parameters": sum(p.numel() for p in network.parameters()),
        "input": " × ".join(map(str, current.shape)),
    }
    calls: dict[str, Callable[[], Any]] = {"training step": training_step(network, current)}
    calls["probe.diagnose"] = lambda: probe.diagnose(network, current)
    if options.device == "cpu":
        # of a copy: the others shall see the same network in every round
        calls |= dict(initializations(copy.deepcopy(network), current))
    else:
        result.skipped["initialize_"] = "measured on the CPU: its random numbers are the CPU's"
    calls["meanfield.gain_for_rate"] = lambda: meanfield.gain_for_rate(
        0.2, leak=LEAK, threshold=THRESHOLD, steps=min(current.shape[0], 10)
    )
    clock = clock_of(options)
    slow: dict[str, list[float]] = {}
    for label, call in list(calls.items()):
        start = clock()
        try:
            call()
        except ValueError as error:
            result.skipped[label] = str(error)
            del calls[label]
            continue
        taken = clock() - start
        if taken > PATIENCE:
            slow[label] = [taken] * options.rounds
            result.about.setdefault("timed once", []).append(label)
            del calls[label]
    result.seconds = interleave(calls, rounds=options.rounds, clock=clock, warm_up=1) | slow
    return result


TITLES = {
    "tools-mlp": ("tools on 20 layers of 1024", mlp),
    "tools-vgg11": ("tools on the convolutions of VGG-11", vgg11),
    "tools-recurrent": ("tools on a recurrent layer", recurrent),
}

CELLS: dict[str, Callable[[Options], Result]] = {
    name: partial(measure, name, title, make) for name, (title, make) in TITLES.items()
}
