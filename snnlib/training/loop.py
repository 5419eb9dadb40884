r"""The training loop: backpropagation through time, update by update."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from snnlib._extras import require
from snnlib.data import Dataset
from snnlib.data.encoding import Encoding, currents
from snnlib.training import averaging as averages
from snnlib.training import checks, evaluation, metrics, optimizers
from snnlib.training.averaging import Average, Averaging
from snnlib.training.evaluation import batches, evaluate, mode
from snnlib.training.losses import Loss, resolve
from snnlib.training.metrics import Accuracy, Metrics, Totals
from snnlib.training.optimizers import Optimizer, Schedule

__all__ = ["History", "fit"]

RESIDENT = 2**30
"""Bytes of data up to which they are copied to a device as a whole."""


@dataclass
class History:
    """What happened in each epoch, one entry per epoch in every list.

    Attributes:
        loss: Mean training loss, each batch before its update.
        accuracy: Training accuracy in [0, 1], likewise.
        rate: Mean firing rate of the output layer, likewise.
        validation_loss: Loss on the validation data after the epoch; empty without such data.
        validation_accuracy: Accuracy likewise.
        learning_rate: Learning rate after the epoch.
        seconds: Wall time; not part of a comparison of two histories.
    """

    loss: list[float] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)
    rate: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    validation_accuracy: list[float] = field(default_factory=list)
    learning_rate: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list, compare=False)

    def __len__(self) -> int:
        return len(self.loss)


def fit(
    network: nn.Module,
    data: Dataset,
    *,
    epochs: int = 10,
    steps: int = 3,
    batch_size: int = 128,
    learning_rate: float = 1e-3,
    optimizer: Optimizer = "adam",
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    loss: str | Loss = "spike_count",
    encoding: str | Encoding = "constant",
    schedule: Schedule = "cosine",
    label_smoothing: float = 0.0,
    clip_norm: float | None = None,
    averaging: Averaging | None = None,
    averaging_start: float = 0.75,
    accuracy: Accuracy = "sum",
    validation: Dataset | None = None,
    seed: int = 0,
    device: str | torch.device | None = None,
    progress: bool = True,
) -> History:
    r"""Train a network in place by backpropagation through time.

    By default Adam with cosine annealing over the whole run: update k of K has the learning rate
    ½·η·(1 + cos(πk/K)). Every sample is a constant current over the time steps.

    The order of the samples, a random encoding and any random layer depend on `seed` alone, so the
    same network, data and seed give the same history on the same machine with the same number of
    threads. The order does not depend on the encoding.

    Args:
        network: Currents [T, batch, features...] to outputs [T, batch, classes].
        data: Training data. Their targets may change from step to step, [samples, T], with
            `loss="every_step"`.
        epochs: Passes through the data, >= 1.
        steps: Time steps T >= 1 of encoded inputs; a sequence has its own.
        batch_size: Samples per update, >= 1; the last batch of an epoch may be smaller.
        learning_rate: η > 0 of the first update.
        optimizer: "adam", "adamw", "sgd" or "adabelief" (of the package pytorch-optimizer).
        momentum: Of SGD, in [0, 1); the others keep their own 0.9.
        weight_decay: λ >= 0. With "adam" and "sgd" λ·w is added to the gradient of every parameter
            w; with "adamw" and "adabelief" it is decoupled, w ← (1 - ηλ)·w.
        loss: A name in `LOSSES` or a function of output and targets.
        encoding: How a sample becomes currents, a name in `snnlib.data.encoding.ENCODINGS` or a
            function like those. A sequence stays as it is.
        schedule: "cosine" or "constant".
        label_smoothing: Share ε in [0, 1) of each target that is spread evenly over the classes,
            for losses that are cross-entropies. The loss of the validation data has none.
        clip_norm: Largest norm of all gradients together; longer ones are scaled down to it. None
            leaves them.
        averaging: "swa" ends with the mean of the weights after each epoch of the last part, and
            with the statistics of batch norms taken anew by one pass over the training data. The
            validation after the last epoch is that of the mean, the others are not.
        averaging_start: Share of the epochs before that last part, in [0, 1).
        accuracy: Which class counts as the answer: "sum" is the one with the largest output
            summed over time, "mode" the one that is largest at most steps.
        validation: Data to evaluate after every epoch.
        seed: Seed of the order of samples, of random encodings and of random layers.
        device: Where to train; None stays where the network's parameters are.
        progress: Whether to show a progress bar (needs tqdm).

    Returns:
        Loss, accuracy and output rate of every epoch.

    Raises:
        ValueError: If an argument is outside its range, the data are empty or not finite, or the
            network has nothing to learn. Then nothing was changed.
        FloatingPointError: If the loss or a gradient is not finite; says in which epoch and batch
            and where in the network. The parameters are those before that update.
        ImportError: If a progress bar is asked for and tqdm is missing, or AdaBelief and
            pytorch-optimizer is.

    Source: Micheli et al. 2024, section V (Adam, initial learning rate 1e-3, cosine annealing,
    T = 3, spike counts in the cross-entropy); Herranz-Celotti & Rouat 2022 (AdaBelief, decoupled
    weight decay, label smoothing, averaged weights, mode accuracy).

    Example:
        >>> from snnlib import data, networks
        >>> network = networks.mlp([64, 100, 10], generator=torch.Generator().manual_seed(0))
        >>> history = fit(network, data.load("digits"), epochs=2, progress=False)
        >>> history.loss[1] < history.loss[0]
        True
        >>> history.learning_rate[-1] < 1e-12
        True
    """
    function = resolve(loss, label_smoothing)
    checks.check_positive(epochs=epochs, steps=steps, batch_size=batch_size)
    optimizers.check(optimizer, schedule, learning_rate, momentum, weight_decay)
    evaluation.check_encoding(encoding)
    if clip_norm is not None and not 0 < clip_norm < math.inf:
        raise ValueError(f"clip_norm must be None or positive and finite, got {clip_norm!r}")
    averages.check(averaging, averaging_start)
    way = metrics.check(accuracy)
    checks.check_data("data", data)
    if validation is not None:
        checks.check_data("validation", validation)
    parameters = [p for p in network.parameters() if p.requires_grad]
    if not parameters:
        raise ValueError("network must have at least one parameter that requires a gradient")
    tqdm = require("tqdm", "train").tqdm if progress else None

    target = torch.device(device) if device is not None else parameters[0].device
    network.to(target)
    data = _resident(data, target)
    validation = None if validation is None else _resident(validation, target)
    updates = math.ceil(len(data) / batch_size) * epochs
    method = optimizers.make(
        optimizer,
        parameters,
        learning_rate=learning_rate,
        momentum=momentum,
        weight_decay=weight_decay,
    )
    annealing = optimizers.schedule(schedule, method, updates)
    shuffle = torch.Generator().manual_seed(seed)
    encoder = torch.Generator().manual_seed(seed)
    average = Average(network, averaging_start, epochs) if averaging == "swa" else None
    history = History()

    def encoded(inputs: Tensor) -> Tensor:
        return currents(
            inputs, sequence=data.sequence, steps=steps, encoding=encoding, generator=encoder
        )

    bar = None if tqdm is None else tqdm(total=updates, unit="update")
    try:
        with _seeded(seed, target), mode(network, training=True):
            for epoch in range(epochs):
                start, totals = time.perf_counter(), Totals()
                passes = batches(data, batch_size, target, shuffle)
                for index, (inputs, targets) in enumerate(passes):
                    current = encoded(inputs)
                    method.zero_grad(set_to_none=True)
                    output = network(current)
                    value = function(output, targets)
                    value.backward()
                    # Spikes hide a NaN potential, which never exceeds the threshold; gradients
                    # do not.
                    norm = checks.gradient_norm(parameters)
                    right = metrics.correct(output.detach(), targets, way)
                    scalar, correct, rate, length = evaluation.measured(
                        value, right, output, norm
                    ).tolist()
                    if not (math.isfinite(scalar) and math.isfinite(length)):
                        raise FloatingPointError(
                            f"training stopped in epoch {epoch + 1} of {epochs}, batch "
                            f"{index + 1}, at loss {scalar:g}: {checks.where(network, current)}"
                        )
                    if clip_norm is not None:
                        torch.nn.utils.clip_grads_with_norm_(parameters, clip_norm, norm)
                    method.step()
                    annealing.step()
                    totals.add(len(targets), scalar, correct, rate)
                    if bar is not None:
                        bar.update()
                _append(history, totals.means(), float(annealing.get_last_lr()[0]))
                if average is not None:
                    average.add(network, epoch)
                    if epoch + 1 == epochs:
                        average.leave_in(network)
                        averages.renew_statistics(
                            network,
                            lambda: (encoded(x) for x, _ in batches(data, batch_size, target)),
                        )
                if validation is not None:
                    found = evaluate(
                        network,
                        validation,
                        steps=steps,
                        loss=loss,
                        encoding=encoding,
                        accuracy=way,
                        seed=seed,
                    )
                    history.validation_loss.append(found.loss)
                    history.validation_accuracy.append(found.accuracy)
                history.seconds.append(time.perf_counter() - start)
                if bar is not None:
                    bar.set_postfix(_shown(history))
    finally:
        if bar is not None:
            bar.close()
    return history


def _resident(data: Dataset, device: torch.device) -> Dataset:
    """Data on the device as a whole, unless they are large: then their batches go there."""
    large = data.inputs.numel() * data.inputs.element_size() > RESIDENT
    return data if large else data.to(device)


def _append(history: History, found: Metrics, learning_rate: float) -> None:
    history.loss.append(found.loss)
    history.accuracy.append(found.accuracy)
    history.rate.append(found.rate)
    history.learning_rate.append(learning_rate)


def _shown(history: History) -> dict[str, str]:
    shown = {"loss": f"{history.loss[-1]:.3g}", "accuracy": f"{history.accuracy[-1]:.1%}"}
    if history.validation_accuracy:
        shown["validation"] = f"{history.validation_accuracy[-1]:.1%}"
    return shown


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch's global generators for the block only."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
