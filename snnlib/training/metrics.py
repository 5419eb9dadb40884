"""Means over a data set: loss, accuracy, output rate."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias, get_args

from torch import Tensor
from torch.nn import functional

__all__ = ["Accuracy", "Metrics", "Totals", "correct", "winner"]

Accuracy: TypeAlias = Literal["sum", "mode"]


class Metrics(NamedTuple):
    """Means over a data set.

    Attributes:
        loss: Mean loss.
        accuracy: Share of samples whose class wins, in [0, 1]: the class with the largest output
            summed over time (the most spikes), or with `accuracy="mode"` the class with the
            largest output at most steps; on a tie the first of the classes counts. With one target
            per step: share of the steps whose class has the largest output.
        rate: Mean output per class and step, for spikes the firing rate.
    """

    loss: float
    accuracy: float
    rate: float


def winner(output: Tensor, accuracy: Accuracy = "sum") -> Tensor:
    """The class that a network's output over time stands for.

    Args:
        output: [T, batch, classes].
        accuracy: "sum": the largest output summed over time. "mode": the class that has the
            largest output at most steps.

    Returns:
        Classes [batch]; on a tie the first one.

    Source: Herranz-Celotti & Rouat 2022 (the mode); Micheli et al. 2024, section V (the sum).

    Example:
        One loud step against two quiet ones.

        >>> import torch
        >>> output = torch.tensor([[[9.0, 0.0]], [[0.0, 1.0]], [[0.0, 1.0]]])
        >>> winner(output).item(), winner(output, "mode").item()
        (0, 1)
    """
    if accuracy == "sum":
        return output.sum(0).argmax(-1)
    return functional.one_hot(output.argmax(-1), output.shape[-1]).sum(0).argmax(-1)


def correct(output: Tensor, targets: Tensor, accuracy: Accuracy = "sum") -> Tensor:
    """How many samples of a batch are right, as a number on the output's device.

    Args:
        output: [T, batch, classes].
        targets: Class of each sample, [batch], or of each of its steps, [batch, T]; then the mean
            over the steps counts.
        accuracy: See `winner`.
    """
    if targets.dim() == 1:
        return (winner(output, accuracy) == targets).sum()
    return (output.argmax(-1).t() == targets).sum() / targets.shape[1]


def check(accuracy: str) -> Accuracy:
    """Refuse an unknown way to count.

    Raises:
        ValueError: If there is no such way.
    """
    if accuracy not in get_args(Accuracy):
        known = ", ".join(repr(name) for name in get_args(Accuracy))
        raise ValueError(f"accuracy must be one of {known}, got {accuracy!r}")
    return accuracy  # type: ignore[return-value]


class Totals:
    """Sums over the samples of an epoch."""

    def __init__(self, samples: int = 0, loss: float = 0.0, right: float = 0.0, rate: float = 0.0):
        self.samples, self.loss, self.right, self.rate = samples, loss, right, rate

    def add(self, size: int, loss: float, right: float, rate: float) -> None:
        """Count one batch: its size, mean loss, right answers and mean output."""
        self.samples += size
        self.loss += loss * size
        self.right += right
        self.rate += rate * size

    def means(self) -> Metrics:
        """Means over the samples so far."""
        n = self.samples
        return Metrics(self.loss / n, self.right / n, self.rate / n)
