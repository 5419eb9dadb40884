"""Moments over batch and neurons, step by step, without cancellation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["by_step", "central", "joined", "moments", "second_moments"]


def moments(membrane: Tensor | None, spikes: Tensor) -> Tensor:
    """[mean, variance, skewness, kurtosis, rate, spikes] of a block of steps, each by step."""

    def take(u: Tensor, x: Tensor) -> tuple[Tensor, ...]:
        mean, variance, u, square = central(u)
        skewness = (square * u).mean(1) / variance**1.5
        kurtosis = (square * square).mean(1) / variance**2 - 3
        fired = (x != 0).double()
        return mean, variance, skewness, kurtosis, fired.mean(1), fired.sum(1)

    if membrane is None:
        membrane = torch.full_like(spikes, torch.nan, dtype=torch.float32)
    return by_step(take, membrane, spikes)


def central(u: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Mean, variance, deviations and their squares of each row, without cancellation."""
    u = u.double()
    mean = u.mean(1)
    u = u - mean[:, None]
    square = u * u
    return mean, square.mean(1), u, square


def by_step(statistics: Callable[..., tuple[Tensor, ...]], *values: Tensor) -> Tensor:
    """[statistic, step] of tensors [T, ...]; blocks of steps bound the copies in float64."""
    rows = [value.detach().flatten(1) for value in values]
    size = max(1, 2**20 // max(1, rows[0].shape[1]))
    blocks = zip(*(row.split(size) for row in rows), strict=True)
    return torch.cat([torch.stack(statistics(*block)).cpu() for block in blocks], dim=1)


def joined(rows: list[Tensor]) -> Tensor:
    """Rows [statistic, step] as [statistic, layer, step]; missing steps are NaN."""
    steps = max(row.shape[1] for row in rows)
    joined = torch.full((rows[0].shape[0], len(rows), steps), torch.nan, dtype=torch.float64)
    for index, row in enumerate(rows):
        joined[:, index, : row.shape[1]] = row
    return joined


def second_moments(values: Tensor) -> NDArray[np.float64]:
    """E[x_s x_t] over samples and neurons of values [T, ...]."""
    rows = values.flatten(1).double()
    return np.asarray((rows @ rows.T / rows.shape[1]).cpu().numpy())
