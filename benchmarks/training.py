"""Time the training loop against its bare forward pass, backward pass and optimizer step.

    python benchmarks/training.py [--width 600] [--depth 10] [--batch 128] [--rounds 150]

Both train the same network on the same batches of random images from the same start. The bare
loop does nothing but encode a batch that lies ready, and it knows nothing of what it learned:

    network(constant(images, steps)) -> loss -> zero_grad, backward, optimizer.step

The loop of snnlib also draws and gathers the samples, anneals the learning rate, checks the loss
and all gradients for numbers that are not finite, and counts loss, accuracy and firing rate. Both
make an update in turn, in an order that is shuffled each round; the overhead is the median over
rounds of the ratio of their times. With one thread the processor's time for this process is
counted, else wall-clock time. "bare again" is a second bare loop: what the method itself errs.
A checkpoint is not part of it; its time is shown apart, to be divided by the time between two.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from snnlib.data import Dataset
from snnlib.networks import FeedForward, constant, mlp
from snnlib.training import checkpoint, spike_count
from snnlib.training.run import Run
from snnlib.training.settings import Settings


def network_of(options: argparse.Namespace) -> FeedForward:
    """The network of the paper, drawn from a seed."""
    sizes = [options.inputs, *[options.width] * options.depth, 10]
    return mlp(sizes, generator=torch.Generator().manual_seed(0)).to(options.device)


def bare(data: Dataset, options: argparse.Namespace) -> Iterator[None]:
    """Updates without a loop around them."""
    network = network_of(options)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    parts = list(data.batches(options.batch))
    while True:
        for images, targets in parts:
            loss = spike_count(network(constant(images, options.steps)), targets)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            yield


def looped(run: Run) -> Iterator[None]:
    """The updates of `snnlib.training.fit`."""
    while True:
        yield from run.rest_of_epoch()
        run.end_epoch(None)


def run_of(data: Dataset, options: argparse.Namespace) -> Run:
    """A training that never ends, in training mode."""
    settings = Settings(
        epochs=10**6,
        steps=options.steps,
        batch_size=options.batch,
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
    return Run(network_of(options), data, settings, torch.device(options.device))


def clock_of(options: argparse.Namespace) -> Callable[[], float]:
    """Processor time where it can be counted."""
    if options.device != "cpu":

        def wall() -> float:
            torch.cuda.synchronize()
            return time.perf_counter()

        return wall
    return time.process_time if options.threads == 1 else time.perf_counter


def main() -> None:
    """Time both loops and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=784)
    parser.add_argument("--width", type=int, default=600)
    parser.add_argument("--depth", type=int, default=10)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=150)
    parser.add_argument("--updates", type=int, default=1, help="of each loop in a round")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    generator = torch.Generator().manual_seed(0)
    count = 32 * options.batch
    images = torch.randn(count, options.inputs, generator=generator)
    targets = torch.randint(10, (count,), generator=generator)
    data = Dataset("noise", "train", images, targets, 10).to(options.device)

    run = run_of(data, options)
    loops = {"bare": bare(data, options), "bare again": bare(data, options), "snnlib": looped(run)}
    clock, order = clock_of(options), list(loops)
    seconds: dict[str, list[float]] = {name: [] for name in loops}
    for number in range(options.rounds + 2):
        random.shuffle(order)
        for name in order:
            start = clock()
            for _ in range(options.updates):
                next(loops[name])
            if number >= 2:
                seconds[name].append((clock() - start) / options.updates)
    print(
        f"torch {torch.__version__}, {options.device}, {options.threads} thread(s), "
        f"{options.depth} layers of {options.width}, T = {options.steps}, batch {options.batch}"
    )
    for name, found in seconds.items():
        ratios = sorted(a / b for a, b in zip(found, seconds["bare"], strict=True))
        low, high = (ratios[round(q * (len(ratios) - 1))] for q in (0.25, 0.75))
        print(
            f"  {name:12s} {1e3 * statistics.median(found):8.2f} ms per update   overhead "
            f"{100 * (statistics.median(ratios) - 1):+5.2f} % (quartiles {100 * (low - 1):+.2f}, "
            f"{100 * (high - 1):+.2f})"
        )
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        checkpoint.write(Path(folder) / "run.pt", run.state())
        print(f"  one checkpoint {1e3 * (time.perf_counter() - start):.0f} ms")


if __name__ == "__main__":
    main()
