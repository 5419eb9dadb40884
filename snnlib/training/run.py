"""A training as a state and what an update does to it; all of it can be kept and put back."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from snnlib.data.encoding import currents
from snnlib.training import checks, evaluation, metrics, optimizers
from snnlib.training.averaging import Average, renew_statistics
from snnlib.training.checkpoint import load_tensors, tensors
from snnlib.training.evaluation import batches, evaluate
from snnlib.training.losses import resolve
from snnlib.training.metrics import Totals
from snnlib.training.settings import Settings
from snnlib.training.sources import Samples, count
from snnlib.training.stepping import Stepper

__all__ = ["History", "Run"]


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


class Run:
    """A training of a network that is on the device and in training mode.

    Args:
        step: The network, as a function of a batch.
        data: Training data.
        settings: What to do.
        device: Where.

    Attributes:
        history: What the finished epochs gave.
        epoch: Number of finished epochs.
        batch: Updates made in the epoch after them.
    """

    def __init__(
        self, step: Stepper, data: Samples, settings: Settings, device: torch.device
    ) -> None:
        self.step, self.data, self.settings, self.device = step, data, settings, device
        self.network = network = step.network
        self.parameters = [p for p in network.parameters() if p.requires_grad]
        self.loss = resolve(settings.loss, settings.label_smoothing)
        self.batches = count(data, settings.batch_size)
        self.optimizer = optimizers.make(
            settings.optimizer,
            self.parameters,
            learning_rate=settings.learning_rate,
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
            epsilon=settings.epsilon,
        )
        self.schedule = optimizers.schedule(
            settings.schedule, self.optimizer, self.batches * settings.epochs
        )
        self.average: Average | None = None
        if settings.averaging == "swa":
            self.average = Average(network, settings.averaging_start, settings.epochs)
        self.shuffle = torch.Generator().manual_seed(settings.seed)
        self.encoder = torch.Generator().manual_seed(settings.seed)
        self.history, self.totals = History(), Totals()
        self.epoch = self.batch = 0
        self._seconds = 0.0  # of this epoch, before `_start`
        self._start = time.perf_counter()
        self._order = self.shuffle.get_state()  # before the order of this epoch was drawn

    def rest_of_epoch(self) -> Iterator[None]:
        """Make the updates that are left of this epoch, and pause after each.

        Raises:
            FloatingPointError: If the loss or a gradient is not finite.
        """
        self._start = time.perf_counter()
        self._order = self.shuffle.get_state()
        size = self.settings.batch_size
        passes = batches(self.data, size, self.device, self.shuffle)
        for inputs, targets in islice(passes, self.batch, None):
            self._update(inputs, targets)
            self.batch += 1
            yield

    def end_epoch(self, validation: Samples | None) -> None:
        """Take the epoch's means, average the weights, evaluate."""
        self._append(
            loss=self.totals.means().loss,
            accuracy=self.totals.means().accuracy,
            rate=self.totals.means().rate,
            learning_rate=float(self.schedule.get_last_lr()[0]),
        )
        if self.average is not None:
            self.average.add(self.network, self.epoch)
            if self.epoch + 1 == self.settings.epochs:
                self.average.leave_in(self.network)
                renew_statistics(self.network, self._passes)
        if validation is not None:
            found = evaluate(
                self.network,
                validation,  # type: ignore[arg-type]
                steps=self.settings.steps,
                loss=self.settings.loss,
                encoding=self.settings.encoding,
                accuracy=self.settings.accuracy,
                seed=self.settings.seed,
                time=self.step.time,
                output=self.step.output,
            )
            self._append(validation_loss=found.loss, validation_accuracy=found.accuracy)
        self._append(seconds=self._elapsed())
        self.epoch, self.batch, self.totals, self._seconds = self.epoch + 1, 0, Totals(), 0.0
        self._start, self._order = time.perf_counter(), self.shuffle.get_state()

    def state(self) -> dict[str, Any]:
        """All that the rest of the training depends on."""
        return {
            "network": tensors(self.network),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "average": None if self.average is None else self.average.model.state_dict(),
            "random": torch.get_rng_state(),
            "random_cuda": (
                torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None
            ),
            "order": self._order,
            "encoder": self.encoder.get_state(),
            "epoch": self.epoch,
            "batch": self.batch,
            "totals": vars(self.totals),
            "history": asdict(self.history),
            "seconds": self._elapsed(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Put back what `state` gave."""
        load_tensors(self.network, state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        if self.average is not None:
            self.average.model.load_state_dict(state["average"])
        torch.set_rng_state(state["random"])
        if self.device.type == "cuda" and state["random_cuda"] is not None:
            torch.cuda.set_rng_state(state["random_cuda"], self.device)
        self.shuffle.set_state(state["order"])
        self.encoder.set_state(state["encoder"])
        self.epoch, self.batch = state["epoch"], state["batch"]
        self.totals = Totals(**state["totals"])
        self.history = History(**state["history"])
        self._seconds = state["seconds"]
        self._start, self._order = time.perf_counter(), self.shuffle.get_state()

    def _update(self, inputs: Tensor, targets: Tensor) -> None:
        current = self._encoded(inputs)
        self.optimizer.zero_grad(set_to_none=True)
        output = self.step(current, targets)
        value = self.loss(output, targets)
        value.backward()
        # Spikes hide a NaN potential, which never exceeds the threshold; gradients do not.
        norm = checks.gradient_norm(self.parameters)
        right = metrics.correct(output.detach(), targets, self.settings.accuracy)
        loss, correct, rate, length = evaluation.measured(value, right, output, norm).tolist()
        if not (math.isfinite(loss) and math.isfinite(length)):
            raise FloatingPointError(
                f"training stopped in epoch {self.epoch + 1} of {self.settings.epochs}, batch "
                f"{self.batch + 1}, at loss {loss:g}: {checks.where(self.network, current)}"
            )
        if self.settings.clip_norm is not None:
            torch.nn.utils.clip_grads_with_norm_(self.parameters, self.settings.clip_norm, norm)
        self.optimizer.step()
        self.schedule.step()
        self.totals.add(len(targets), loss, correct, rate)

    def _encoded(self, inputs: Tensor) -> Tensor:
        return currents(
            inputs,
            sequence=self.data.sequence,
            steps=self.settings.steps,
            encoding=self.settings.encoding,
            generator=self.encoder,
        )

    def _passes(self) -> Iterator[Callable[[], Tensor]]:
        for inputs, targets in batches(self.data, self.settings.batch_size, self.device):
            yield partial(self.step, self._encoded(inputs), targets)

    def _elapsed(self) -> float:
        return self._seconds + time.perf_counter() - self._start

    def _append(self, **values: float) -> None:
        for name, value in values.items():
            getattr(self.history, name).append(value)
