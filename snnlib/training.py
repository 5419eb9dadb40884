r"""One training loop: backpropagation through time with Adam or SGD and cosine annealing."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from snnlib import probe
from snnlib._extras import require
from snnlib.data import Dataset
from snnlib.networks import constant

__all__ = [
    "LOSSES",
    "History",
    "Metrics",
    "evaluate",
    "every_step",
    "fit",
    "mean_output",
    "spike_count",
]

Loss = Callable[[Tensor, Tensor], Tensor]
Optimizer: TypeAlias = Literal["adam", "sgd"]


def spike_count(output: Tensor, targets: Tensor) -> Tensor:
    r"""Cross-entropy with the number of spikes over time as logits.

    $$L = -\log\frac{\exp\sum_t x_y[t]}{\sum_c \exp\sum_t x_c[t]}$$

    averaged over the batch: the right class is asked to fire at every step, the others never.

    Args:
        output: Spikes x, [T, batch, classes].
        targets: Class y of each sample, int64, [batch].

    Returns:
        The mean loss.

    Source: Micheli et al. 2024, section V.

    Example:
        Silence says nothing: the loss is the entropy of a uniform guess.

        >>> loss = spike_count(torch.zeros(3, 2, 10), torch.tensor([0, 7]))
        >>> abs(loss.item() - math.log(10)) < 1e-6
        True
    """
    return functional.cross_entropy(output.sum(0), targets)


def mean_output(output: Tensor, targets: Tensor) -> Tensor:
    r"""Cross-entropy with the mean of the output over time as logits.

    $$L = -\log\frac{\exp\bar z_y}{\sum_c \exp\bar z_c}, \qquad \bar z = \frac1T \sum_t z[t]$$

    Args:
        output: Logits z of every step, [T, batch, classes].
        targets: Class y of each sample, int64, [batch].

    Returns:
        The mean loss over the batch.

    Source: Kook et al. 2026 (their training script).

    Example:
        >>> z = torch.tensor([[[1.0, 3.0]], [[3.0, 1.0]]])
        >>> abs(mean_output(z, torch.tensor([0])).item() - math.log(2)) < 1e-6
        True
    """
    return functional.cross_entropy(output.mean(0), targets)


def every_step(output: Tensor, targets: Tensor) -> Tensor:
    r"""Mean over time of the cross-entropy of each step's output.

    $$L = \frac1T \sum_t -\log\frac{\exp z_y[t]}{\sum_c \exp z_c[t]}$$

    By convexity never below `mean_output`; equal if all steps agree.

    Args:
        output: Logits z of every step, [T, batch, classes].
        targets: Class y of each sample, int64, [batch].

    Returns:
        The mean loss over the batch.

    Source: Herranz-Celotti & Rouat 2022, section 2.5 (a readout at every step).

    Example:
        >>> z = torch.tensor([[[1.0, 3.0]], [[3.0, 1.0]]])
        >>> loss = every_step(z, torch.tensor([0]))
        >>> abs(loss.item() - (math.log1p(math.exp(2)) + math.log1p(math.exp(-2))) / 2) < 1e-6
        True
    """
    return functional.cross_entropy(output.flatten(0, 1), targets.repeat(len(output)))


LOSSES: dict[str, Loss] = {
    "spike_count": spike_count,
    "mean_output": mean_output,
    "every_step": every_step,
}
"""Losses by name: functions of the output [T, batch, classes] and the targets [batch]."""


class Metrics(NamedTuple):
    """Means over a data set.

    Attributes:
        loss: Mean loss.
        accuracy: Share of samples whose class has the largest output summed over time (the most
            spikes), in [0, 1]; on a tie the first of the classes counts.
        rate: Mean output per class and step, for spikes the firing rate.
    """

    loss: float
    accuracy: float
    rate: float


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


def evaluate(
    network: nn.Module,
    data: Dataset,
    *,
    steps: int = 3,
    batch_size: int = 1000,
    loss: str | Loss = "spike_count",
) -> Metrics:
    """Loss, accuracy and output rate of a network in evaluation mode.

    Args:
        network: Currents [T, batch, features...] to outputs [T, batch, classes].
        data: The data, on the network's device.
        steps: Time steps T; each sample is a constant current.
        batch_size: Samples per batch.
        loss: A name in `LOSSES` or a function of output and targets.

    Returns:
        The means over all samples.

    Raises:
        ValueError: If the data are empty or not finite, or an argument is outside its range.

    Example:
        A network that never fires guesses the first class.

        >>> data = Dataset("silence", "test", torch.zeros(4, 2), torch.tensor([0, 0, 1, 1]), 2)
        >>> metrics = evaluate(nn.Identity(), data)
        >>> abs(metrics.loss - math.log(2)) < 1e-6, metrics.accuracy, metrics.rate
        (True, 0.5, 0.0)
    """
    function = _loss(loss)
    _check_data("data", data)
    totals = _Totals()
    with _mode(network, training=False), torch.no_grad():
        for inputs, targets in data.batches(batch_size):
            output = network(constant(inputs, steps))
            totals.add(function(output, targets).item(), output, targets)
    return totals.means()


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
    validation: Dataset | None = None,
    seed: int = 0,
    device: str | torch.device | None = None,
    progress: bool = True,
) -> History:
    r"""Train a network in place by backpropagation through time.

    Adam, or SGD with momentum, with cosine annealing over the whole run: update k of K has the
    learning rate ½·η·(1 + cos(πk/K)). Every sample is a constant current over the time steps.

    The order of the samples and any random layer depend on `seed` alone, so the same network, data
    and seed give the same history on the same machine with the same number of threads.

    Args:
        network: Currents [T, batch, features...] to outputs [T, batch, classes].
        data: Training data.
        epochs: Passes through the data, >= 1.
        steps: Time steps T >= 1.
        batch_size: Samples per update, >= 1; the last batch of an epoch may be smaller.
        learning_rate: η > 0 of the first update.
        optimizer: "adam" or "sgd".
        momentum: Of SGD, in [0, 1); Adam keeps its own 0.9.
        weight_decay: λ >= 0: λ·w is added to the gradient of every parameter w.
        loss: A name in `LOSSES` or a function of output and targets.
        validation: Data to evaluate after every epoch.
        seed: Seed of the order of samples and of random layers.
        device: Where to train; None stays where the network's parameters are.
        progress: Whether to show a progress bar (needs tqdm).

    Returns:
        Loss, accuracy and output rate of every epoch.

    Raises:
        ValueError: If an argument is outside its range, the data are empty or not finite, or the
            network has nothing to learn. Then nothing was changed.
        FloatingPointError: If the loss or a gradient is not finite; says in which epoch and batch
            and where in the network. The parameters are those before that update.
        ImportError: If a progress bar is asked for and tqdm is missing.

    Source: Micheli et al. 2024, section V (Adam, initial learning rate 1e-3, cosine annealing,
    T = 3, spike counts in the cross-entropy).

    Example:
        >>> from snnlib import data, networks
        >>> network = networks.mlp([64, 100, 10], generator=torch.Generator().manual_seed(0))
        >>> history = fit(network, data.load("digits"), epochs=2, progress=False)
        >>> history.loss[1] < history.loss[0]
        True
        >>> history.learning_rate[-1] < 1e-12
        True
    """
    function = _loss(loss)
    for name, number in (("epochs", epochs), ("steps", steps), ("batch_size", batch_size)):
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            raise ValueError(f"{name} must be a positive integer, got {number!r}")
    if not 0 < learning_rate < math.inf:
        raise ValueError(f"learning_rate must be positive and finite, got {learning_rate!r}")
    if optimizer not in get_args(Optimizer):
        known = ", ".join(repr(name) for name in get_args(Optimizer))
        raise ValueError(f"optimizer must be one of {known}, got {optimizer!r}")
    if not 0 <= momentum < 1:
        raise ValueError(f"momentum must be in [0, 1), got {momentum!r}")
    if not 0 <= weight_decay < math.inf:
        raise ValueError(f"weight_decay must be >= 0 and finite, got {weight_decay!r}")
    _check_data("data", data)
    if validation is not None:
        _check_data("validation", validation)
    parameters = [p for p in network.parameters() if p.requires_grad]
    if not parameters:
        raise ValueError("network must have at least one parameter that requires a gradient")
    tqdm = require("tqdm", "train").tqdm if progress else None

    target = torch.device(device) if device is not None else parameters[0].device
    network.to(target)
    data = data.to(target)
    validation = None if validation is None else validation.to(target)
    updates = math.ceil(len(data) / batch_size) * epochs
    method: torch.optim.Optimizer
    if optimizer == "adam":
        method = torch.optim.Adam(parameters, lr=learning_rate, weight_decay=weight_decay)
    else:
        method = torch.optim.SGD(
            parameters, lr=learning_rate, momentum=momentum, weight_decay=weight_decay
        )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(method, T_max=updates)
    shuffle = torch.Generator().manual_seed(seed)
    history = History()
    bar = None if tqdm is None else tqdm(total=updates, unit="update")
    try:
        with _seeded(seed, target), _mode(network, training=True):
            for epoch in range(epochs):
                start, totals = time.perf_counter(), _Totals()
                for index, (inputs, targets) in enumerate(data.batches(batch_size, shuffle)):
                    current = constant(inputs, steps)
                    method.zero_grad(set_to_none=True)
                    output = network(current)
                    value = function(output, targets)
                    value.backward()
                    scalar = value.item()
                    if not (math.isfinite(scalar) and _finite_gradients(parameters)):
                        raise FloatingPointError(
                            f"training stopped in epoch {epoch + 1} of {epochs}, batch "
                            f"{index + 1}, at loss {scalar:g}: {_where(network, current)}"
                        )
                    method.step()
                    schedule.step()
                    totals.add(scalar, output, targets)
                    if bar is not None:
                        bar.update()
                _append(history, totals.means(), float(schedule.get_last_lr()[0]))
                if validation is not None:
                    metrics = evaluate(network, validation, steps=steps, loss=function)
                    history.validation_loss.append(metrics.loss)
                    history.validation_accuracy.append(metrics.accuracy)
                history.seconds.append(time.perf_counter() - start)
                if bar is not None:
                    bar.set_postfix(_shown(history))
    finally:
        if bar is not None:
            bar.close()
    return history


class _Totals:
    """Sums over the samples of an epoch."""

    def __init__(self) -> None:
        self.samples = 0
        self.loss = 0.0
        self.correct = 0.0
        self.rate = 0.0

    def add(self, loss: float, output: Tensor, targets: Tensor) -> None:
        """Count one batch."""
        output = output.detach()
        size = len(targets)
        self.samples += size
        self.loss += loss * size
        self.correct += float((output.sum(0).argmax(-1) == targets).sum())
        self.rate += output.mean().item() * size

    def means(self) -> Metrics:
        """Means over the samples so far."""
        n = self.samples
        return Metrics(self.loss / n, self.correct / n, self.rate / n)


def _append(history: History, metrics: Metrics, learning_rate: float) -> None:
    history.loss.append(metrics.loss)
    history.accuracy.append(metrics.accuracy)
    history.rate.append(metrics.rate)
    history.learning_rate.append(learning_rate)


def _shown(history: History) -> dict[str, str]:
    shown = {"loss": f"{history.loss[-1]:.3g}", "accuracy": f"{history.accuracy[-1]:.1%}"}
    if history.validation_accuracy:
        shown["validation"] = f"{history.validation_accuracy[-1]:.1%}"
    return shown


def _loss(loss: str | Loss) -> Loss:
    if callable(loss):
        return loss
    if loss not in LOSSES:
        raise ValueError(f"loss must be a function or one of {', '.join(LOSSES)}, got {loss!r}")
    return LOSSES[loss]


def _check_data(name: str, data: Dataset) -> None:
    if len(data) == 0:
        raise ValueError(f"{name} must hold at least one sample, got {data!r}")
    # A NaN potential never exceeds a threshold: the network would quietly train on silence.
    bad = (~torch.isfinite(data.inputs).flatten(1).all(1)).nonzero()
    if len(bad):
        raise ValueError(f"{name} must be finite, got a sample that is not: {bad[0].item()}")


@contextmanager
def _mode(network: nn.Module, *, training: bool) -> Iterator[None]:
    """Put a network into a mode and back, module by module."""
    before = [(module, module.training) for module in network.modules()]
    network.train(training)
    try:
        yield
    finally:
        for module, mode in before:
            module.training = mode


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch's global generators for the block only."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def _finite_gradients(parameters: list[Any]) -> bool:
    # Spikes hide a NaN potential, which never exceeds the threshold; gradients do not.
    gradients = [p.grad for p in parameters if p.grad is not None]
    return math.isfinite(torch.nn.utils.get_total_norm(gradients).item())


def _where(network: nn.Module, current: Tensor) -> str:
    """The first thing in the network that is not finite, in the order of the forward pass."""
    for name, parameter in network.named_parameters():
        if not bool(torch.isfinite(parameter).all()):
            return f"parameter {name!r} is not finite"
    statistics = probe.record(network, current, gradient=False)
    bad = (~torch.isfinite(statistics.mean)).nonzero()
    if len(bad):
        layer, step = bad[0].tolist()
        return f"the potential of {statistics.layers[layer]!r} is not finite from step {step} on"
    for name, parameter in network.named_parameters():
        if parameter.grad is not None and not bool(torch.isfinite(parameter.grad).all()):
            return f"the gradient of {name!r} is not finite"
    return "the network is finite, the loss or the norm of the gradient is not"
