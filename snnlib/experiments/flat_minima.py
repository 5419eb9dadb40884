r"""Curvature after training from four initializations, for the chapter on flat minima.

    python -m snnlib.experiments.flat_minima --seeds 20

writes one row per run to results/flat-minima.csv; rows that are there already are not run again.

The setting is that of Chang et al. 2024 as their code has it, on smaller images and without their
convolutions: integrate-and-fire neurons, reset to zero and not detached, arctan surrogate, T = 4,
mean squared error between firing rates and one-hot targets.
"""

from __future__ import annotations

import argparse
import csv
import io
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from snnlib import curvature, data, networks, training
from snnlib.data import Dataset
from snnlib.experiments.provenance import FIELDS, RULE, provenance
from snnlib.experiments.sealed import read_sealed, write_sealed

__all__ = ["INITIALIZATIONS", "build", "measure", "rate_error", "repeat", "run"]

INITIALIZATIONS: tuple[str, ...] = ("ikun", "kaiming", "xavier", "normal")
"""As in the code of Chang et al.: ikun_v1, Kaiming and Xavier uniform, and N(0, 0.02²)."""

STEPS = 4
RADIUS = 0.1
LEARNING_RATES = {"adam": 3e-3, "sgd": 0.5}
MEASURED = (
    "loss",
    "accuracy",
    "test_accuracy",
    "largest",
    "smallest",
    "trace",
    "trace_error",
    "unit_free_trace",
    "unit_free_trace_error",
    "rise",
    "rise_error",
    "smooth_trace",
    "smooth_trace_error",
    "weight_rms",
)
ORIGIN = tuple(name for name in FIELDS if name != RULE)
COLUMNS = ("initialization", "optimizer", "hidden", "epochs", "seed", *MEASURED, *ORIGIN)


def rate_error(output: Tensor, targets: Tensor) -> Tensor:
    r"""Mean squared error of firing rates: the mean of (r_c - [c = y])² over classes and samples.

    Args:
        output: Spikes, [T, batch, classes].
        targets: Class y of each sample, [batch].

    Returns:
        The mean error.

    Source: Chang et al. 2024, their code.

    Example:
        >>> rate_error(torch.ones(3, 1, 4), torch.tensor([2])).item()
        0.75
    """
    wanted = functional.one_hot(targets, output.shape[-1]).to(output.dtype)
    return functional.mse_loss(output.mean(0), wanted)


def build(initialization: str, seed: int, *, hidden: int = 64) -> nn.Module:
    """A network of two hidden layers, its weights drawn by one of `INITIALIZATIONS`.

    Args:
        initialization: A name in `INITIALIZATIONS`.
        seed: Seed of the weights.
        hidden: Neurons of each hidden layer.

    Returns:
        A network of currents [T, batch, 64] to spikes [T, batch, 10].

    Raises:
        ValueError: If the initialization is unknown.

    Source: Chang et al. 2024, their code.

    Example:
        >>> network = build("normal", 0, hidden=500)
        >>> abs(network.linear2.weight.std().item() - 0.02) < 5 * 0.02 / math.sqrt(2 * 500**2)
        True
    """
    if initialization not in INITIALIZATIONS:
        known = ", ".join(INITIALIZATIONS)
        raise ValueError(f"initialization must be one of {known}, got {initialization!r}")
    generator = torch.Generator().manual_seed(seed)
    network = networks.mlp(
        [64, hidden, hidden, 10],
        leak=1.0,
        reset="zero",
        detach_reset=False,
        encode=False,
        init=None,
        generator=generator,
    )
    for layer in network:
        if isinstance(layer, nn.Linear):
            fan_in, fan_out = layer.in_features, layer.out_features
            variance = {
                "ikun": 4 / math.pi / fan_in,  # 1 over the mean of 1/(1 + x²) on [-1, 1]
                "kaiming": 2 / fan_in,
                "xavier": 2 / (fan_in + fan_out),
                "normal": 0.02**2,
            }[initialization]
            if initialization in ("ikun", "normal"):
                nn.init.normal_(layer.weight, std=math.sqrt(variance), generator=generator)
            else:
                bound = math.sqrt(3 * variance)
                nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
    return network


def measure(network: nn.Module, images: Dataset, *, samples: int = 32) -> dict[str, float]:
    """Curvature over all images, in three ways, and the rise of the loss itself.

    Args:
        network: A network of `build`.
        images: The images to average over.
        samples: Random vectors of each estimate.

    Returns:
        The columns of the table from "largest" on.
    """
    settings: dict[str, Any] = dict(steps=STEPS, loss=rate_error)
    operator = curvature.hessian(network, images, **settings)
    scale = curvature.root_mean_squares(network)
    trace = curvature.trace(operator, samples=samples)
    unit_free = curvature.trace(operator, scale=scale, samples=samples)
    rise = curvature.loss_rise(network, images, radius=RADIUS, samples=samples, **settings)
    smooth = curvature.trace(
        curvature.hessian(curvature.smoothed(network), images, **settings),
        scale=scale,
        samples=samples // 2,
    )
    ends = (
        curvature.eigenvalues(operator, 1, which=which, tolerance=1e-2)[0]
        for which in ("largest", "smallest")
    )
    return dict(
        zip(
            MEASURED[3:],
            [*map(float, ends), *trace, *unit_free, *rise, *smooth, float(_rms(scale))],
            strict=True,
        )
    )


def _rms(scale: Any) -> float:
    return math.sqrt(float((scale**2).mean()))


def run(
    initialization: str,
    seed: int,
    *,
    optimizer: Any = "adam",
    hidden: int = 64,
    epochs: int = 30,
    samples: int = 32,
) -> dict[str, float]:
    """Train a network on the digits and measure it.

    Args:
        initialization: A name in `INITIALIZATIONS`.
        seed: Seed of the weights and of the order of images.
        optimizer: "adam" or "sgd".
        hidden: Neurons of each hidden layer.
        epochs: Passes through the training images.
        samples: Random vectors of each estimate.

    Returns:
        Loss and accuracies, then `measure` on the training images.
    """
    images = data.load("digits")
    network = build(initialization, seed, hidden=hidden)
    training.fit(
        network,
        images,
        epochs=epochs,
        steps=STEPS,
        batch_size=128,
        learning_rate=LEARNING_RATES[optimizer],
        optimizer=optimizer,
        loss=rate_error,
        seed=seed,
        progress=False,
    )
    here, held_out = (
        training.evaluate(network, part, steps=STEPS, loss=rate_error)
        for part in (images, data.load("digits", split="test"))
    )
    first = dict(loss=here.loss, accuracy=here.accuracy, test_accuracy=held_out.accuracy)
    return first | measure(network, images, samples=samples)


def repeat(settings: Mapping[str, Any]) -> dict[str, float]:
    """`run` with the settings of a row."""
    return run(**settings)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is not in the table yet."""
    parser = argparse.ArgumentParser(prog="python -m snnlib.experiments.flat_minima")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--out", type=Path, default=Path("results/flat-minima.csv"))
    options = parser.parse_args(arguments)
    command = f"python -m snnlib.experiments.flat_minima --seeds {options.seeds}"
    source = provenance(f"{command} --hidden {options.hidden} --epochs {options.epochs}")
    table = []
    if options.out.exists():
        table = list(csv.DictReader(io.StringIO(read_sealed(options.out), newline="")))
    for seed in range(options.seeds):
        for optimizer in LEARNING_RATES:
            for initialization in INITIALIZATIONS:
                row: dict[str, Any] = dict(
                    initialization=initialization,
                    optimizer=optimizer,
                    hidden=options.hidden,
                    epochs=options.epochs,
                    seed=seed,
                )
                if any(all(str(v) == old[k] for k, v in row.items()) for old in table):
                    continue
                start = time.perf_counter()
                found = run(
                    initialization,
                    seed,
                    optimizer=optimizer,
                    hidden=options.hidden,
                    epochs=options.epochs,
                )
                row |= {name: f"{value:.6g}" for name, value in found.items()}
                row |= source | {"seconds": f"{time.perf_counter() - start:.2f}"}
                table.append({name: str(row[name]) for name in COLUMNS})
                _write(options.out, table)


def _write(path: Path, table: Sequence[dict[str, str]]) -> None:
    """Write the whole table at once: a killed run leaves the last complete one."""
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    write_sealed(path, file.getvalue())


if __name__ == "__main__":
    main()
