"""Products with few spikes: sums over those that are there."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from snnlib.products.paths import paths

LIMIT = 0.2
"""Largest share of spikes of which sums are faster than a dense product (measured: from 0.25)."""

SAMPLE = 8  # the share is taken of every eighth row
ROWS = 1024
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
    fired = np.not_equal(part.detach().numpy(), 0)
    return bool(np.count_nonzero(fired) <= LIMIT * part.numel())


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
    x = x.detach().contiguous()
    return named_sums(np.not_equal(x.numpy(), 0), table.contiguous(), None if ones else x)


def transposed_sums(x: Tensor, table: Tensor, ones: bool = False) -> Tensor:
    """xᵀ @ table for few x [rows, n] that are not 0 and a table [rows, m], likewise.

    Example:
        >>> x = torch.tensor([[2.0, 0.0], [1.0, 1.0]])
        >>> transposed_sums(x, torch.tensor([[1.0, 2.0], [4.0, 8.0]]))
        tensor([[ 6., 12.],
                [ 4.,  8.]])
    """
    x, table = x.detach(), table.contiguous()
    total: Tensor | None = None
    for low in range(0, len(x), ROWS):  # so many rows of the table as stay in the cache
        here = x[low : low + ROWS]
        fired = torch.from_numpy(np.not_equal(here.numpy(), 0)).t().contiguous().numpy()
        part = named_sums(fired, table[low : low + ROWS], None if ones else here.t().contiguous())
        total = part if total is None else total.add_(part)
    return table.new_zeros(x.shape[1], table.shape[1]) if total is None else total


def named_sums(
    fired: npt.NDArray[np.bool_],
    table: Tensor,
    values: Tensor | None = None,
    starts: npt.NDArray[np.int64] | None = None,
) -> Tensor:
    """For every row of `fired` [rows, n] the sum of the table's rows [n, m] that it names.

    Args:
        fired: Which are named.
        table: What is summed, contiguous.
        values: What each is multiplied with, contiguous [rows, n]; None is 1.
        starts: Where the rows begin in the flat `fired`, if the caller knows.
    """
    if fired.size == 0:
        return table.new_zeros(len(fired), table.shape[1])
    width = fired.shape[1]
    places = fired.ravel().nonzero()[0]
    first = places.searchsorted(np.arange(0, fired.size, width) if starts is None else starts)
    weights = None if values is None else values.view(-1)[torch.from_numpy(places)]
    places = places - places // width * width  # a remainder, which takes longer
    bags = torch.from_numpy(places), torch.from_numpy(first)
    return torch.embedding_bag(table, *bags, False, 0, False, weights, False)[0]
