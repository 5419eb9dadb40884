r"""The training loop: backpropagation through time, update by update."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from snnlib.data.encoding import Encoding
from snnlib.dialects.running import Time
from snnlib.training.averaging import Averaging
from snnlib.training.checkpoint import Checkpoint
from snnlib.training.checks import check_data
from snnlib.training.evaluation import mode
from snnlib.training.interrupt import postponed
from snnlib.training.losses import Loss
from snnlib.training.metrics import Accuracy
from snnlib.training.optimizers import Optimizer, Schedule
from snnlib.training.progress import Bar, bar
from snnlib.training.run import History, Run
from snnlib.training.settings import Settings
from snnlib.training.sources import Batches, Data, Samples, as_data
from snnlib.training.stepping import Output, Stepper

__all__ = ["fit"]

RESIDENT = 2**30
"""Bytes of data up to which they are copied to a device as a whole."""


def fit(
    network: nn.Module,
    data: Data,
    *,
    epochs: int = 10,
    steps: int = 3,
    batch_size: int = 128,
    learning_rate: float = 1e-3,
    optimizer: Optimizer = "adam",
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    epsilon: float | None = None,
    loss: str | Loss = "spike_count",
    encoding: str | Encoding = "constant",
    schedule: Schedule = "cosine",
    label_smoothing: float = 0.0,
    clip_norm: float | None = None,
    averaging: Averaging | None = None,
    averaging_start: float = 0.75,
    accuracy: Accuracy = "sum",
    validation: Data | None = None,
    time: Time = "auto",
    output: Output | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: float = 60.0,
    seed: int = 0,
    device: str | torch.device | None = None,
    deterministic: bool = False,
    progress: bool = True,
) -> History:
    r"""Train a network in place by backpropagation through time.

    By default Adam with cosine annealing over the whole run: update k of K has the learning rate
    ½·η·(1 + cos(πk/K)). Every sample is a constant current over the time steps.

    The order of the samples, a random encoding and any random layer depend on `seed` alone, so the
    same network, data and seed give the same history on the same machine with the same number of
    threads. The order does not depend on the encoding. On CUDA that takes `deterministic=True`.

    With a checkpoint a training that was killed goes on when the same call is made again, from the
    position inside the epoch, and ends with the same numbers, bit by bit, as one that was never
    interrupted (same device, number of threads and versions). Ctrl-C then stops after the update
    that is being made and leaves a checkpoint of it. After the last epoch the file holds the
    finished training: the same call returns at once.

    Args:
        network: Currents [T, batch, features...] to outputs [T, batch, classes], or to [batch,
            classes] where the network itself sums over time; of our neurons, snnTorch's,
            SpikingJelly's or Norse's, which start every batch at rest.
        data: Training data: a `snnlib.data.Dataset`, a pair of tensors (inputs, targets), a
            map-style data set of torch (read into memory), or a DataLoader, which brings its own
            batches and order. Targets may change from step to step, [samples, T], with
            `loss="every_step"`.
        epochs: Passes through the data, >= 1.
        steps: Time steps T >= 1 of encoded inputs; a sequence has its own.
        batch_size: Samples per update, >= 1; the last batch of an epoch may be smaller.
        learning_rate: η > 0 of the first update.
        optimizer: "adam", "adamw", "sgd" or "adabelief" (of the package pytorch-optimizer).
        momentum: Of SGD, in [0, 1); the others keep their own 0.9.
        weight_decay: λ >= 0. With "adam" and "sgd" λ·w is added to the gradient of every parameter
            w; with "adamw" and "adabelief" it is decoupled, w ← (1 - ηλ)·w.
        epsilon: ε > 0, what Adam, AdamW and AdaBelief add to the root of the mean square that they
            divide by; None is the optimizer's own, 1e-8 (AdaBelief: 1e-16). A gradient g far below
            it moves a weight 1 + ε/g times less: so a silent network stays silent. SGD has none.
        loss: A name in `LOSSES` or a function of output and targets.
        encoding: How a sample becomes currents, a name in `snnlib.data.encoding.ENCODINGS` or a
            function like those. A sequence stays as it is; "none" leaves every input as it is, for
            networks that make their time steps themselves.
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
        time: Who loops over time: "inside" one call of the network, "outside" the training loop,
            "auto" finds out; see `snnlib.dialects.running.run`.
        output: Function that picks the output out of what the network returns, such as
            `lambda result: result[1]`; None takes the first tensor.
        checkpoint: File that keeps the state of the training; None keeps none. Not with a
            DataLoader, whose order is its own.
        checkpoint_every: Seconds between two checkpoints, >= 0; 0 writes one after every update.
        seed: Seed of the order of samples, of random encodings and of random layers.
        device: Where to train; None stays where the network's parameters are.
        deterministic: Whether operations without a deterministic algorithm are refused; needed for
            equal numbers on CUDA, where it asks for the environment variable
            CUBLAS_WORKSPACE_CONFIG=:4096:8.
        progress: Whether to show a progress bar; a line per epoch where tqdm is missing.

    Returns:
        Loss, accuracy and output rate of every epoch.

    Raises:
        ValueError: If an argument is outside its range, the data are empty, not finite or of an
            unknown kind, or the network has nothing to learn; if the network cannot be stepped: it
            is not clear who loops over time, it keeps a state that nothing resets, or its output
            does not belong to the targets; if the checkpoint is damaged (`CorruptCheckpoint`) or
            of a training with other settings, data or weights at the start. Then nothing was
            changed.
        FloatingPointError: If the loss or a gradient is not finite; says in which epoch and batch
            and where in the network. The parameters are those before that update.
        ImportError: If AdaBelief is asked for and pytorch-optimizer is missing.

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
    settings = Settings(
        epochs=epochs,
        steps=steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        optimizer=optimizer,
        momentum=momentum,
        weight_decay=weight_decay,
        epsilon=epsilon,
        loss=loss,
        encoding=encoding,
        schedule=schedule,
        label_smoothing=label_smoothing,
        clip_norm=clip_norm,
        averaging=averaging,
        averaging_start=averaging_start,
        accuracy=accuracy,
        seed=seed,
        deterministic=deterministic,
    )
    samples = as_data("data", data)
    others = None if validation is None else as_data("validation", validation)
    step = Stepper(network, time=time, output=output)
    target = _checked(network, samples, others, settings, device, checkpoint_every)
    given = {**vars(settings), "data": samples, "validation": others}
    file = _file(checkpoint, checkpoint_every, given, network, target)
    state = None if file is None else file.load()
    network.to(target)
    run = Run(step, _resident(samples, target), settings, target)
    return _train(run, others and _resident(others, target), file, state, progress)


def _checked(
    network: nn.Module,
    data: Samples,
    validation: Samples | None,
    settings: Settings,
    device: str | torch.device | None,
    checkpoint_every: float,
) -> torch.device:
    """Where to train, after what would stop it has been refused."""
    if not 0 <= checkpoint_every < math.inf:
        raise ValueError(f"checkpoint_every must be >= 0 and finite, got {checkpoint_every!r}")
    check_data("data", data)
    if validation is not None:
        check_data("validation", validation)
    parameter = next((p for p in network.parameters() if p.requires_grad), None)
    if parameter is None:
        raise ValueError("network must have at least one parameter that requires a gradient")
    target = torch.device(device) if device is not None else parameter.device
    known = "CUBLAS_WORKSPACE_CONFIG" in os.environ
    if settings.deterministic and target.type == "cuda" and not known:
        raise ValueError(
            "deterministic must be False on CUDA unless the environment variable "
            "CUBLAS_WORKSPACE_CONFIG is :4096:8 from the start of Python on"
        )
    return target


def _file(
    path: str | os.PathLike[str] | None,
    every: float,
    given: dict[str, Any],
    network: nn.Module,
    device: torch.device,
) -> Checkpoint | None:
    """The file that keeps the state of this training, and of no other."""
    if path is None:
        return None
    if any(isinstance(given[name], Batches) for name in ("data", "validation")):
        raise ValueError("checkpoint must be None with a DataLoader, whose order is its own")
    environment = {
        "device": device.type,
        "threads": torch.get_num_threads(),
        "torch": str(torch.__version__),
    }
    return Checkpoint(path, every, settings=given, environment=environment, network=network)


def _train(
    run: Run, validation: Samples | None, file: Checkpoint | None, state: Any, progress: bool
) -> History:
    """Make all updates that are left, with a bar and checkpoints if they are asked for."""
    settings = run.settings
    shown: Bar | None = None
    try:
        with (
            _seeded(settings.seed, run.device),
            _deterministic(settings.deterministic),
            mode(run.network, training=True),
            postponed(file is not None) as interrupt,
        ):
            if state is not None:
                run.restore(state)
            if progress:
                made = run.epoch * run.batches + run.batch
                shown = bar(settings.epochs * run.batches, made)
            while run.epoch < settings.epochs:
                for _ in run.rest_of_epoch():
                    if shown is not None:
                        shown.update()
                    if file is not None and (file.due or interrupt.asked):
                        file.save(run.state())
                    interrupt.now()
                run.end_epoch(validation)
                if shown is not None:
                    shown.set_postfix(_shown(run.history))
                if file is not None and (run.epoch == settings.epochs or interrupt.asked):
                    file.save(run.state())
                interrupt.now()
    finally:
        if shown is not None:
            shown.close()
    return run.history


def _resident(data: Samples, device: torch.device) -> Samples:
    """Data on the device as a whole, unless they are large: then their batches go there."""
    if isinstance(data, Batches):
        return data
    large = data.inputs.numel() * data.inputs.element_size() > RESIDENT
    return data if large else data.to(device)


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


@contextmanager
def _deterministic(wanted: bool) -> Iterator[None]:
    """Refuse algorithms that are not deterministic, for the block only."""
    before = torch.are_deterministic_algorithms_enabled()
    warns = torch.is_deterministic_algorithms_warn_only_enabled()
    if wanted:
        torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warns)
