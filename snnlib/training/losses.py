r"""Losses of the papers: functions of the output over time and the targets."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from snnlib._checks import real, real_tensor

__all__ = ["LOSSES", "Loss", "every_step", "mean_output", "rate_mse", "resolve", "spike_count"]

Loss: TypeAlias = Callable[..., Tensor]


def spike_count(output: Tensor, targets: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
    r"""Cross-entropy with the number of spikes over time as logits.

    $$L = -\log\frac{\exp\sum_t x_y[t]}{\sum_c \exp\sum_t x_c[t]}$$

    averaged over the batch: the right class is asked to fire at every step, the others never.

    Args:
        output: Spikes x, [T, batch, classes].
        targets: Class y of each sample, int64, [batch].
        label_smoothing: Share ε of the target that is spread evenly over all classes.

    Returns:
        The mean loss.

    Source: Micheli et al. 2024, section V.

    Example:
        Silence says nothing: the loss is the entropy of a uniform guess.

        >>> import math, torch
        >>> loss = spike_count(torch.zeros(3, 2, 10), torch.tensor([0, 7]))
        >>> abs(loss.item() - math.log(10)) < 1e-6
        True
    """
    _check(output, targets, label_smoothing)
    _one_per_sample("spike_count", targets)
    return functional.cross_entropy(output.sum(0), targets, label_smoothing=label_smoothing)


def mean_output(output: Tensor, targets: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
    r"""Cross-entropy with the mean of the output over time as logits.

    $$L = -\log\frac{\exp\bar z_y}{\sum_c \exp\bar z_c}, \qquad \bar z = \frac1T \sum_t z[t]$$

    Args:
        output: Logits z of every step, [T, batch, classes].
        targets: Class y of each sample, int64, [batch].
        label_smoothing: Share ε of the target that is spread evenly over all classes.

    Returns:
        The mean loss over the batch.

    Source: Kook et al. 2026 (their training script).

    Example:
        >>> import math, torch
        >>> z = torch.tensor([[[1.0, 3.0]], [[3.0, 1.0]]])
        >>> abs(mean_output(z, torch.tensor([0])).item() - math.log(2)) < 1e-6
        True
    """
    _check(output, targets, label_smoothing)
    _one_per_sample("mean_output", targets)
    return functional.cross_entropy(output.mean(0), targets, label_smoothing=label_smoothing)


def every_step(output: Tensor, targets: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
    r"""Mean over time of the cross-entropy of each step's output.

    $$L = \frac1T \sum_t -\log\frac{\exp z_y[t]}{\sum_c \exp z_c[t]}$$

    By convexity never below `mean_output`; equal if all steps agree. A target may change from step
    to step, y[t], as in text.

    Args:
        output: Logits z of every step, [T, batch, classes].
        targets: Class y of each sample, int64, [batch]; or one per step, [batch, T].
        label_smoothing: Share ε of the target that is spread evenly over all classes.

    Returns:
        The mean loss over the batch.

    Raises:
        ValueError: If there are targets for another number of steps.

    Source: Herranz-Celotti & Rouat 2022, section 2.5 (a readout at every step).

    Example:
        >>> import math, torch
        >>> z = torch.tensor([[[1.0, 3.0]], [[3.0, 1.0]]])
        >>> loss = every_step(z, torch.tensor([0]))
        >>> abs(loss.item() - (math.log1p(math.exp(2)) + math.log1p(math.exp(-2))) / 2) < 1e-6
        True

        The class that each step prefers:

        >>> loss = every_step(z, torch.tensor([[1, 0]]))
        >>> abs(loss.item() - math.log1p(math.exp(-2))) < 1e-6
        True
    """
    _check(output, targets, label_smoothing)
    steps = len(output)
    if targets.dim() == 1:
        wanted = targets.repeat(steps)
    elif targets.shape[1] == steps:
        wanted = targets.t().reshape(-1)
    else:
        raise ValueError(
            f"targets must be [batch] or [batch, T = {steps}], got {tuple(targets.shape)}"
        )
    return functional.cross_entropy(output.flatten(0, 1), wanted, label_smoothing=label_smoothing)


def rate_mse(output: Tensor, targets: Tensor) -> Tensor:
    r"""Mean squared error between firing rates over time and the one-hot target.

    $$L = \frac1C \sum_c \Big(\frac1T\sum_t x_c[t] - [c = y]\Big)^2$$

    averaged over the batch.

    Args:
        output: Spikes x, [T, batch, classes].
        targets: Class y of each sample, int64, [batch].

    Returns:
        The mean loss.

    Source: Chang et al. 2024, their code.

    Example:
        Neurons that always fire are wrong for three classes of four.

        >>> import torch
        >>> rate_mse(torch.ones(3, 1, 4), torch.tensor([2])).item()
        0.75
    """
    _check(output, targets)
    _one_per_sample("rate_mse", targets)
    wanted = functional.one_hot(targets, output.shape[-1]).to(output.dtype)
    return functional.mse_loss(output.mean(0), wanted)


LOSSES: dict[str, Loss] = {
    "spike_count": spike_count,
    "mean_output": mean_output,
    "every_step": every_step,
    "rate_mse": rate_mse,
}
"""Losses by name: functions of the output [T, batch, classes] and the targets [batch]."""

_CROSS_ENTROPIES: tuple[Loss, ...] = (spike_count, mean_output, every_step)


def resolve(loss: str | Loss, label_smoothing: float = 0.0) -> Loss:
    """The function of output and targets that a name and a smoothing stand for.

    Args:
        loss: A name in `LOSSES` or a function of output and targets.
        label_smoothing: Share ε of the target that is spread evenly over all classes, in [0, 1).

    Raises:
        ValueError: If the name is unknown, or labels cannot be smoothed.

    Example:
        Silence stays at the entropy of a uniform guess, whatever the smoothing.

        >>> import math, torch
        >>> loss = resolve("spike_count", 0.1)(torch.zeros(3, 2, 10), torch.tensor([0, 7]))
        >>> abs(loss.item() - math.log(10)) < 1e-6
        True
    """
    if not callable(loss):
        if loss not in LOSSES:
            raise ValueError(f"loss must be a function or one of {', '.join(LOSSES)}, got {loss!r}")
        loss = LOSSES[loss]
    if not 0 <= label_smoothing < 1:
        raise ValueError(f"label_smoothing must be in [0, 1), got {label_smoothing!r}")
    if label_smoothing == 0:
        return loss
    if loss not in _CROSS_ENTROPIES:
        known = ", ".join(function.__name__ for function in _CROSS_ENTROPIES)
        raise ValueError(
            f"label_smoothing must be 0 for a loss that is none of {known}, got {label_smoothing!r}"
        )
    return partial(loss, label_smoothing=label_smoothing)


def _check(output: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> None:
    """Refuse what is no output over time, no class, or no share."""
    real_tensor("output", output)
    if output.dim() != 3 or not len(output):
        raise ValueError(f"output must be [T, batch, classes], got {tuple(output.shape)}")
    if not isinstance(targets, Tensor) or targets.dtype != torch.int64:
        got = targets.dtype if isinstance(targets, Tensor) else repr(targets)
        raise ValueError(f"targets must be classes as an int64 tensor, got {got}")
    if targets.dim() not in (1, 2) or len(targets) != output.shape[1]:
        raise ValueError(
            f"targets must have one entry for each of {output.shape[1]} samples, got "
            f"{tuple(targets.shape)}"
        )
    if not 0 <= real("label_smoothing", label_smoothing) < 1:
        raise ValueError(f"label_smoothing must be in [0, 1), got {label_smoothing!r}")


def _one_per_sample(name: str, targets: Tensor) -> None:
    if targets.dim() != 1:
        raise ValueError(
            f"targets must be one class per sample, [batch], for {name}, got "
            f"{tuple(targets.shape)}; every_step takes one per step"
        )
