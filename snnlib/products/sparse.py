"""Products with few spikes: sums over those that are there."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from snnlib.products.paths import paths

LIMIT = 0.15
"""Largest share of spikes of which sums are faster than a dense product (measured: 0.2 to 0.25)."""

SAMPLE = 8  # the share is taken of every eighth row
LEAST = (64, 64)  # rows and outputs below which a dense product is as fast


def is_sparse(x: Tensor, weight: Tensor) -> bool:
    """Whether the product of x [rows, n_in] with W [n_out, n_in] is to be a sum over what is not 0.

    Args:
        x: Spikes, or other values.
        weight: The weights.

    Example:
        >>> weight = torch.zeros(100, 200)
        >>> is_sparse(torch.zeros(128, 200), weight), is_sparse(torch.ones(128, 200), weight)
        (True, False)
    """
    chosen = paths().sparse
    if chosen is False or x.device.type != "cpu" or x.numel() == 0 or weight.numel() == 0:
        return False
    if chosen:
        return True
    rows = LEAST[0] if not weight.t().is_contiguous() else 1  # else it is copied first
    if x.shape[0] < rows or weight.shape[0] < LEAST[1]:
        return False
    part = x[::SAMPLE] if x.shape[0] >= 8 * SAMPLE else x
    return bool(np.count_nonzero(part.numpy()) <= LIMIT * part.numel())


def sums(x: Tensor, table: Tensor, ones: bool = False) -> Tensor:
    """X @ table for few x [rows, n] that are not 0 and a table [n, m].

    Each row sums the table's rows that it names, times its values. What is not finite in the table
    counts only where it is named.

    Args:
        x: Spikes, or any values most of which are 0.
        table: What is summed.
        ones: Whether all values that are not 0 are 1.

    Example:
        >>> sums(torch.tensor([[2.0, 0.0], [1.0, 1.0]]), torch.tensor([[1.0, 2.0], [4.0, 8.0]]))
        tensor([[ 2.,  4.],
                [ 5., 10.]])
    """
    rows, n = x.shape
    if n == 0:
        return table.new_zeros(rows, table.shape[1])
    spiked = torch.from_numpy(np.flatnonzero((x != 0).contiguous().numpy()))
    first = torch.searchsorted(spiked, torch.arange(0, rows * n, n))
    values = None if ones else x.reshape(-1)[spiked]
    return functional.embedding_bag(
        spiked.remainder_(n), table.contiguous(), first, mode="sum", per_sample_weights=values
    )
