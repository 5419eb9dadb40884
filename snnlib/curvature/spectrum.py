"""Extreme eigenvalues and spectral density of a symmetric operator."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.sparse import linalg

from snnlib._extras import require
from snnlib.curvature.products import Array, matrix, multiply

__all__ = ["Density", "eigenvalues", "spectral_density"]


class Density(NamedTuple):
    """Spectral density, which integrates to 1.

    Attributes:
        grid: Eigenvalues, [points].
        density: Density there, [points].
    """

    grid: Array
    density: Array


def eigenvalues(
    operator: Any,
    count: int = 10,
    *,
    which: str = "largest",
    tolerance: float = 1e-4,
    seed: int = 0,
) -> Array:
    """The extreme eigenvalues of a symmetric operator, by implicitly restarted Lanczos.

    Args:
        operator: A symmetric operator of shape [P, P], such as `hessian` returns.
        count: Number of eigenvalues, 1 <= count < P.
        which: `"largest"`, `"smallest"` (most negative) or `"magnitude"`.
        tolerance: Relative accuracy.
        seed: Seed of the start vector.

    Returns:
        The eigenvalues, [count], largest first.

    Raises:
        ValueError: If `count` or `which` is outside its range, or the operator is not symmetric by
            construction (`surrogate_jacobian`).

    Source:
        `scipy.sparse.linalg.eigsh` (ARPACK).

    Example:
        >>> from scipy.sparse.linalg import aslinearoperator
        >>> found = eigenvalues(aslinearoperator(np.diag([3.0, -5.0, 1.0, 0.0])), 2)
        >>> bool(np.allclose(found, [3.0, 1.0]))
        True
    """
    codes = {"largest": "LA", "smallest": "SA", "magnitude": "LM"}
    if which not in codes:
        raise ValueError(f"which must be one of {', '.join(codes)}, got {which!r}")
    size = operator.shape[0]
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count < size:
        raise ValueError(f"count must be an integer from 1 to {size - 1}, got {count!r}")
    if getattr(operator, "SELF_ADJOINT", True) is False:
        raise ValueError("operator must be symmetric, got one that is not: use matrix(operator)")
    product = linalg.LinearOperator(
        operator.shape, matvec=lambda v: multiply(operator, v), dtype=np.float64
    )
    start = np.random.default_rng(seed).standard_normal(size)
    found = linalg.eigsh(
        product, count, which=codes[which], v0=start, tol=tolerance, return_eigenvectors=False
    )
    return np.sort(found)[::-1]


def spectral_density(
    operator: Any,
    *,
    iterations: int = 64,
    repeats: int = 4,
    points: int = 512,
    ends: tuple[float, float] | None = None,
    seed: int = 0,
) -> Density:
    """Spectral density of a symmetric operator, smoothed: stochastic Lanczos quadrature.

    Args:
        operator: A symmetric curvlinops operator of shape [P, P].
        iterations: Lanczos steps per random vector, 2 <= iterations <= P; the resolution.
        repeats: Number of random vectors.
        points: Points of the grid.
        ends: Least and largest eigenvalue if they are known, to spare the search for them.
        seed: Seed of the vectors.

    Returns:
        Grid and density.

    Raises:
        ValueError: If an argument is not a positive integer.
        ImportError: If curvlinops is missing.

    Source:
        Papyan 2020, algorithm 2, in curvlinops.

    Example:
        Half of the eigenvalues of this matrix are 2, half are 0.

        >>> from torch import nn
        >>> from snnlib.curvature import hessian
        >>> from snnlib.data import Dataset
        >>> data = Dataset("one", "train", torch.tensor([[1.0, 0.0]]), torch.tensor([0]), 1)
        >>> def square(output, targets):
        ...     return output.square().sum()
        >>> operator = hessian(nn.Linear(2, 8, bias=False), data, steps=1, loss=square)
        >>> grid, density = spectral_density(operator, iterations=2, repeats=200)
        >>> bool(abs(density[grid > 1].sum() / density.sum() - 0.5) < 0.1)
        True
    """
    curvlinops = require("curvlinops", "curvature")
    for name, value in (("iterations", iterations), ("repeats", repeats), ("points", points)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be a positive integer, got {value!r}")
    if not 2 <= iterations <= operator.shape[0]:
        raise ValueError(
            f"iterations must be an integer from 2 to {operator.shape[0]}, got {iterations!r}"
        )
    with torch.random.fork_rng(devices=[]):  # curvlinops draws from torch's global generator
        torch.manual_seed(seed)
        grid, density = curvlinops.lanczos_approximate_spectrum(
            operator,
            iterations,
            num_points=points,
            num_repeats=repeats,
            boundaries=ends or _ends(operator),
        )
    return Density(grid.double().cpu().numpy(), density.double().cpu().numpy())


def _ends(operator: Any) -> tuple[float, float]:
    """Least and largest eigenvalue; curvlinops' own search needs more than three rows."""
    if operator.shape[0] <= 16:
        values = np.linalg.eigvalsh(matrix(operator))
        return float(values[0]), float(values[-1])
    low, high = (
        eigenvalues(operator, 1, which=which, tolerance=1e-2)[0]
        for which in ("smallest", "largest")
    )
    return float(low), float(high)
