"""Products of an operator with vectors, and all its entries."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

__all__ = ["Array", "matrix", "multiply"]

Array = npt.NDArray[np.float64]
COLUMNS = 16  # vectors that are multiplied at once


def matrix(operator: Any) -> Array:
    """All entries of an operator, for small ones.

    Args:
        operator: A curvlinops operator of shape [P, P].

    Returns:
        The matrix, [P, P].

    Example:
        >>> from scipy.sparse.linalg import aslinearoperator
        >>> matrix(aslinearoperator(np.eye(2))).tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """
    return multiply(operator, np.eye(operator.shape[1]))


def multiply(operator: Any, vectors: Array) -> Array:
    """Product with one vector or the columns of a matrix, a few at a time to spare memory."""
    if not hasattr(operator, "to_scipy"):  # one of scipy's own
        return np.asarray(operator @ vectors, dtype=np.float64)
    columns = vectors.reshape(operator.shape[1], -1)
    parts = []
    for low in range(0, columns.shape[1], COLUMNS):
        some = torch.as_tensor(columns[:, low : low + COLUMNS])
        product = operator @ some.to(operator.device, operator.dtype)
        parts.append(product.detach().double().cpu().numpy())
    return np.concatenate(parts, axis=1).reshape(vectors.shape)
