"""What fixes the numbers of a training, apart from network and data."""

from __future__ import annotations

import math
from dataclasses import dataclass

from snnlib.data.encoding import Encoding
from snnlib.training import averaging, evaluation, metrics, optimizers
from snnlib.training.averaging import Averaging
from snnlib.training.checks import check_positive
from snnlib.training.losses import Loss, resolve
from snnlib.training.metrics import Accuracy
from snnlib.training.optimizers import Optimizer, Schedule

__all__ = ["Settings"]


@dataclass(frozen=True)
class Settings:
    """The arguments of `snnlib.training.fit` that change its numbers, checked.

    Raises:
        ValueError: If one is outside its range.
        ImportError: If the optimizer needs a package that is missing.
    """

    epochs: int
    steps: int
    batch_size: int
    learning_rate: float
    optimizer: Optimizer
    momentum: float
    weight_decay: float
    epsilon: float | None
    loss: str | Loss
    encoding: str | Encoding
    schedule: Schedule
    label_smoothing: float
    clip_norm: float | None
    averaging: Averaging | None
    averaging_start: float
    accuracy: Accuracy
    seed: int
    deterministic: bool

    def __post_init__(self) -> None:
        """Refuse what is outside its range."""
        resolve(self.loss, self.label_smoothing)
        check_positive(epochs=self.epochs, steps=self.steps, batch_size=self.batch_size)
        optimizers.check(
            self.optimizer,
            self.schedule,
            self.learning_rate,
            self.momentum,
            self.weight_decay,
            self.epsilon,
        )
        evaluation.check_encoding(self.encoding)
        if self.clip_norm is not None and not 0 < self.clip_norm < math.inf:
            raise ValueError(
                f"clip_norm must be None or positive and finite, got {self.clip_norm!r}"
            )
        averaging.check(self.averaging, self.averaging_start)
        metrics.check(self.accuracy)
        for name, value in vars(self).items():
            if hasattr(value, "item"):  # a number of NumPy: a checkpoint holds plain ones
                object.__setattr__(self, name, value.item())
