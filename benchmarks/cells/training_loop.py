"""The training loop against its bare forward pass, backward pass and optimizer step.

Both train the same network on the same batches of random images from the same start. The bare
loop does nothing but encode a batch that lies ready. That of `snnlib.training.fit` also draws and
gathers the samples, anneals the learning rate, checks the loss and all gradients for numbers that
are not finite, and counts loss, accuracy and firing rate. "bare loop, again" is a second bare loop:
what the method itself errs.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch

from benchmarks.cells.workload import generator
from benchmarks.harness import Options, clock_of, interleave
from benchmarks.result import Result
from snnlib.data import Dataset
from snnlib.networks import FeedForward, constant, mlp
from snnlib.training import checkpoint, spike_count
from snnlib.training.run import Run
from snnlib.training.settings import Settings
from snnlib.training.stepping import Stepper

__all__ = ["CELLS"]

STEPS = 3


def bare(network: FeedForward, data: Dataset, batch: int) -> Iterator[None]:
    """Updates without a loop around them."""
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    parts = list(data.batches(batch))
    while True:
        for images, targets in parts:
            loss = spike_count(network(constant(images, STEPS)), targets)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            yield


def looped(run: Run) -> Iterator[None]:
    """The updates of `snnlib.training.fit`."""
    while True:
        yield from run.rest_of_epoch()
        run.end_epoch(None)


def run_of(network: FeedForward, data: Dataset, batch: int, device: str) -> Run:
    """A training that never ends, in training mode."""
    settings = Settings(
        epochs=10**6,
        steps=STEPS,
        batch_size=batch,
        learning_rate=1e-3,
        optimizer="adam",
        momentum=0.9,
        weight_decay=0.0,
        epsilon=None,
        loss="spike_count",
        encoding="constant",
        schedule="cosine",
        label_smoothing=0.0,
        clip_norm=None,
        averaging=None,
        averaging_start=0.75,
        accuracy="sum",
        seed=0,
        deterministic=False,
    )
    return Run(Stepper(network), data, settings, torch.device(device))


def measure(options: Options) -> Result:
    """One cell: an update of each loop in turn."""
    inputs, width, depth, batch = (196, 300, 4, 32) if options.quick else (784, 600, 10, 128)
    count = 32 * batch
    about = {"inputs": inputs, "width": width, "depth": depth, "steps": STEPS, "batch": batch}
    result = Result("fit", "the loop of training.fit, an update", "speed", about=about)
    images = torch.randn(count, inputs, generator=generator(1))
    targets = torch.randint(10, (count,), generator=generator(2))
    data = Dataset("noise", "train", images, targets, 10).to(options.device)

    def network() -> FeedForward:
        sizes = [inputs, *[width] * (depth - 1), 10]
        return mlp(sizes, generator=generator(0)).to(options.device)

    run = run_of(network(), data, batch, options.device)
    loops = {
        "bare loop": bare(network(), data, batch),
        "bare loop, again": bare(network(), data, batch),
        "training.fit": looped(run),
    }
    calls: dict[str, Callable[[], object]] = {
        name: partial(next, loop) for name, loop in loops.items()
    }
    with tempfile.TemporaryDirectory() as folder:
        calls["one checkpoint"] = lambda: checkpoint.write(Path(folder) / "run.pt", run.state())
        # an update is short and the overhead small: more rounds at full size
        result.seconds = interleave(
            calls, rounds=(1 if options.quick else 5) * options.rounds, clock=clock_of(options)
        )
    result.bases = ["bare loop"]
    return result


CELLS: dict[str, Callable[[Options], Result]] = {"fit": measure}
