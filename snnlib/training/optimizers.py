"""Optimizers and learning-rate schedules by name."""

from __future__ import annotations

import math
from typing import Literal, TypeAlias, get_args

import torch
from torch import nn
from torch.optim import lr_scheduler

from snnlib._extras import require

__all__ = ["Optimizer", "Schedule", "check", "make", "schedule"]

Optimizer: TypeAlias = Literal["adam", "adamw", "sgd", "adabelief"]
Schedule: TypeAlias = Literal["cosine", "constant"]


def check(
    optimizer: str,
    schedule: str,
    learning_rate: float,
    momentum: float,
    weight_decay: float,
    epsilon: float | None = None,
) -> None:
    """Refuse settings outside their range.

    Raises:
        ValueError: Names the setting.
        ImportError: If the optimizer needs a package that is missing.
    """
    if not 0 < learning_rate < math.inf:
        raise ValueError(f"learning_rate must be positive and finite, got {learning_rate!r}")
    for name, value, choices in (
        ("optimizer", optimizer, get_args(Optimizer)),
        ("schedule", schedule, get_args(Schedule)),
    ):
        if value not in choices:
            known = ", ".join(repr(choice) for choice in choices)
            raise ValueError(f"{name} must be one of {known}, got {value!r}")
    if not 0 <= momentum < 1:
        raise ValueError(f"momentum must be in [0, 1), got {momentum!r}")
    if not 0 <= weight_decay < math.inf:
        raise ValueError(f"weight_decay must be >= 0 and finite, got {weight_decay!r}")
    if epsilon is not None and not 0 < epsilon < math.inf:
        raise ValueError(f"epsilon must be None or positive and finite, got {epsilon!r}")
    if epsilon is not None and optimizer == "sgd":
        raise ValueError(f"epsilon must be None for 'sgd', which has none, got {epsilon!r}")
    if optimizer == "adabelief":
        require("pytorch_optimizer", "train")


def make(
    optimizer: Optimizer,
    parameters: list[nn.Parameter],
    *,
    learning_rate: float,
    momentum: float,
    weight_decay: float,
    epsilon: float | None = None,
) -> torch.optim.Optimizer:
    """The optimizer of a name.

    Args:
        optimizer: "adam", "adamw", "sgd" or "adabelief".
        parameters: What it changes.
        learning_rate: η > 0.
        momentum: Of SGD.
        weight_decay: λ >= 0: λ·w is added to the gradient for "adam" and "sgd"; decoupled from
            it, w ← (1 - ηλ)·w, for "adamw" and "adabelief".
        epsilon: ε > 0 of all but "sgd"; None is the optimizer's own.
    """
    if optimizer == "sgd":
        return torch.optim.SGD(
            parameters, lr=learning_rate, momentum=momentum, weight_decay=weight_decay
        )
    if optimizer == "adabelief":
        kind = require("pytorch_optimizer", "train").AdaBelief
    else:
        kind = torch.optim.Adam if optimizer == "adam" else torch.optim.AdamW
    own = {} if epsilon is None else {"eps": epsilon}
    return kind(parameters, lr=learning_rate, weight_decay=weight_decay, **own)


def schedule(
    name: Schedule, method: torch.optim.Optimizer, updates: int
) -> lr_scheduler.LRScheduler:
    """The learning rate over a whole run of so many updates.

    Args:
        name: "cosine": ½·η·(1 + cos(πk/K)) at update k of K; "constant": η.
        method: The optimizer.
        updates: K.
    """
    if name == "cosine":
        return lr_scheduler.CosineAnnealingLR(method, T_max=updates)
    return lr_scheduler.ConstantLR(method, factor=1.0, total_iters=0)
