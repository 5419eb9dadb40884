r"""What an experiment that nobody has run will take, from one that somebody has.

A run's time is taken to be proportional to the floating-point operations of its products: those of
one forward pass, counted on a network of the first condition, times three for the way back, times
samples and epochs. The factor is that of a stored table of the same kind of network; a rule has its
own seconds of a run. Of an
experiment of many small steps this is too much, and of one with much else than products too little:
it is right to a factor of two or three.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from snnlib.data import Dataset, encoding
from snnlib.dialects.running import resolve_time, run
from snnlib.experiments.protocol import Protocol, Run, canonical, updates
from snnlib.experiments.protocols import PROTOCOLS
from snnlib.experiments.results import read
from snnlib.experiments.task import build

__all__ = ["GPU_LEAST", "GPU_RATE", "Cost", "expected", "operations"]

GPU_RATE = 1e13
"""Operations a second of one GPU on layers of this size: assumed, not measured."""

GPU_LEAST = 1e-3
"""Seconds that one GPU takes for an update at least, per time step: assumed, not measured."""

REFERENCES = {
    "mlp": "fig8-fashion",
    "convnet": "fig8-cnn",
    "vgg": "ikun-fashion",
    "residual": "fig8-cnn",  # the stored residual network is too narrow to tell of the whole one
    "recurrent": "fig5-conditions",
}
"""Stored tables, of size "desk", that say how long so many operations take."""

SHAPES: dict[str, tuple[tuple[int, ...], int]] = {
    "digits": ((1, 8, 8), 10),
    "fashion_mnist": ((1, 28, 28), 10),
    "mnist": ((1, 28, 28), 10),
    "cifar10": ((3, 32, 32), 10),
    "cifar100": ((3, 32, 32), 100),
    "nmnist": ((2, 34, 34), 10),
    "dvs_cifar10": ((2, 64, 64), 10),
    "shd": ((700,), 20),
    "mnist1d": ((1,), 10),
}
"""A sample, at one step where it has several, and the number of classes."""

DRAWN = ("init", "mean_squares", "surrogate", "threshold", "threshold_gradient", "mpinit")
"""Settings of a network that change none of its products."""

SEQUENCES = ("nmnist", "dvs_cifar10", "shd", "mnist1d", "randman", "text")


class Cost(NamedTuple):
    """What an experiment takes.

    Attributes:
        two_cores: Hours on two processor cores.
        gpu: Hours on one GPU, by `GPU_RATE` and `GPU_LEAST`.
    """

    two_cores: float
    gpu: float


def expected(protocol: Protocol, size: str, folder: str | Path = "../results") -> Cost:
    """Hours that all runs of a size will take.

    Args:
        protocol: The experiment.
        size: A name in its sizes.
        folder: Where the stored tables are.

    Example:
        >>> cost = expected(PROTOCOLS["fig8-fashion"], "desk", "results")
        >>> cost.gpu < cost.two_cores
        True
    """
    runs = list({found.key: found for found in protocol.runs(size)}.values())
    counted: dict[str, float] = {}  # what only weights and slopes tell apart is counted once
    in_all = seconds = 0.0
    for one in runs:
        network = {n: v for n, v in one.settings["network"].items() if n not in DRAWN}
        alike = canonical(one.settings | {"network": network, "seed": 0})
        if alike not in counted:
            counted[alike] = operations(one)
        in_all += counted[alike]
        least = updates(one.settings) * _steps(one.settings) * GPU_LEAST
        seconds += max(counted[alike] / GPU_RATE, least)
    if protocol.seconds is not None:
        return Cost(protocol.seconds * len(runs) / 2 / 3600, seconds / 3600)
    reference = PROTOCOLS[REFERENCES[runs[0].settings["network"].get("kind", "residual")]]
    table = read(Path(folder) / f"{reference.name}-desk.csv")
    a_second = operations(reference.runs("desk")[0]) / float(
        np.median([row["seconds"] for row in table])
    )
    return Cost(in_all / a_second / 2 / 3600, seconds / 3600)


def operations(of: Run) -> float:
    """Floating-point operations of a run's products, training only.

    Args:
        of: The run.

    Raises:
        ValueError: If it is on data of unknown shape.
    """
    settings = of.settings
    samples = _blank(settings["data"], _steps(settings))
    currents = encoding.currents(
        samples.inputs,
        sequence=samples.sequence,
        steps=_steps(settings),
        encoding=settings["training"].get("encoding", "constant"),
        generator=torch.Generator().manual_seed(0),
    )
    arguments = {name: value for name, value in settings["network"].items() if name != "init"}
    network = build(arguments, samples, of.seed)
    time = resolve_time(network, currents)
    with torch.no_grad(), FlopCounterMode(display=False) as counted:
        run(network, currents, time=time)
    a_sample = counted.get_total_flops() / len(samples)
    data = settings["data"]
    passes = (data["train"] - data.get("held_out", 0)) * settings["training"]["epochs"]
    return 3.0 * a_sample * passes


def _blank(data: Mapping[str, Any], steps: int) -> Dataset:
    """Two samples of zeros, shaped like the data."""
    name, shape = data["name"], tuple[int, ...]()
    if name == "randman":
        shape, classes = (data.get("units", 20),), data.get("classes", 10)
    elif name == "text":
        classes = data.get("vocabulary", 10_000)
    elif name in SHAPES:
        shape, classes = SHAPES[name]
    else:
        raise ValueError(f"data must be one of {', '.join(SHAPES)}, randman, text, got {name!r}")
    pool = data.get("pool", 1)
    if pool > 1 and name not in SEQUENCES:
        shape = (shape[0], *(side // pool for side in shape[1:]))
    if name in SEQUENCES:
        shape = (steps, *shape)
    kind = torch.int64 if name == "text" else torch.float32
    inputs = torch.zeros(2, *shape, dtype=kind)
    targets = torch.zeros(2, *((steps,) if name == "text" else ()), dtype=torch.int64)
    return Dataset(name, "train", inputs, targets, classes, sequence=name in SEQUENCES)


def _steps(settings: Mapping[str, Any]) -> int:
    data = settings["data"]
    if data["name"] == "mnist1d":
        return 40
    return int(data.get("steps", settings["training"]["steps"]))
