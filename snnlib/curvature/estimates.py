"""Numbers of a matrix that random vectors tell: its trace and how far it is from symmetric."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from torch import nn

from snnlib.curvature.products import Array, multiply

__all__ = ["Estimate", "asymmetry", "check_samples", "mean_of", "root_mean_squares", "trace"]


class Estimate(NamedTuple):
    """A number estimated from random vectors.

    Attributes:
        value: The estimate.
        standard_error: Its standard error.
    """

    value: float
    standard_error: float


def trace(
    operator: Any, *, scale: npt.ArrayLike = 1.0, samples: int = 64, seed: int = 0
) -> Estimate:
    r"""Trace of an operator, by Hutchinson's estimator.

    .. math:: \operatorname{tr} S A S = E[z^\top S A S z], \qquad z_i = \pm 1

    With S = 1 it is the trace.  With the root mean squares of the parameter tensors
    (`root_mean_squares`) it does not depend on the unit of the weights, and ½ r² tr SAS is what a
    quadratic loss rises at the radius r of `loss_rise`.

    Args:
        operator: An operator of shape [P, P].
        scale: Diagonal of S, a number or [P].
        samples: Number of random vectors, >= 2.
        seed: Seed of the vectors.

    Returns:
        The mean over the vectors and its standard error.

    Raises:
        ValueError: If there are fewer than two vectors.

    Source:
        Hutchinson 1989.

    Example:
        Signs see a diagonal without error.

        >>> from scipy.sparse.linalg import aslinearoperator
        >>> trace(aslinearoperator(np.diag([3.0, -5.0, 1.0])), samples=4)
        Estimate(value=-1.0, standard_error=0.0)
    """
    check_samples(samples, 2)
    size = operator.shape[1]
    z = np.random.default_rng(seed).choice([-1.0, 1.0], size=(size, samples))
    z *= np.broadcast_to(np.asarray(scale, dtype=np.float64), size)[:, None]
    return mean_of((z * multiply(operator, z)).sum(0))


def root_mean_squares(network: nn.Module) -> Array:
    """Root mean square of the parameter tensor that each weight belongs to.

    Args:
        network: A network with parameters that require gradients.

    Returns:
        One number per weight, [P], in the order of `hessian`.

    Example:
        >>> linear = nn.Linear(2, 2)
        >>> _ = nn.init.constant_(linear.weight, 3.0), nn.init.zeros_(linear.bias)
        >>> root_mean_squares(linear).tolist()
        [3.0, 3.0, 3.0, 3.0, 0.0, 0.0]
    """
    parts = [p.detach().double() for p in network.parameters() if p.requires_grad]
    return np.concatenate([np.full(p.numel(), p.square().mean().sqrt().item()) for p in parts])


def asymmetry(operator: Any, *, samples: int = 32, seed: int = 0) -> Estimate:
    r"""How far an operator is from symmetric, from products with random vectors.

    .. math:: \frac{\lVert A - A^\top\rVert_F}{\lVert A + A^\top\rVert_F}

    It is 0 for a symmetric matrix and 1 for a triangular one with zero diagonal.  For independent
    normal vectors z and z', E[(zᵀAz' - z'ᵀAz)²] = ‖A - Aᵀ‖²; the estimate uses all pairs.

    Args:
        operator: An operator of shape [P, P].
        samples: Number of random vectors, >= 3.
        seed: Seed of the vectors.

    Returns:
        The ratio and its standard error, by the jackknife over the vectors.

    Raises:
        ValueError: If there are fewer than three vectors.

    Source:
        Hutchinson 1989 (the estimator).

    Example:
        >>> from scipy.sparse.linalg import aslinearoperator
        >>> asymmetry(aslinearoperator(np.diag([3.0, -5.0, 1.0]))).value
        0.0
        >>> corner = aslinearoperator(np.array([[0.0, 1.0], [0.0, 0.0]]))
        >>> found = asymmetry(corner, samples=400)
        >>> abs(found.value - 1) < 5 * found.standard_error
        True
    """
    check_samples(samples, 3)
    z = np.random.default_rng(seed).standard_normal((operator.shape[1], samples))
    pairs = z.T @ multiply(operator, z)
    odd, even = (pairs - pairs.T) ** 2, (pairs + pairs.T) ** 2
    np.fill_diagonal(even, 0.0)  # pairs of a vector with itself are not independent
    without = np.sqrt(
        (odd.sum() - 2 * odd.sum(0)) / np.maximum(even.sum() - 2 * even.sum(0), 1e-300)
    )
    spread = math.sqrt((samples - 1) / samples * float(((without - without.mean()) ** 2).sum()))
    return Estimate(math.sqrt(float(odd.sum() / max(float(even.sum()), 1e-300))), spread)


def check_samples(samples: int, low: int) -> None:
    """Refuse fewer random vectors than that."""
    if isinstance(samples, bool) or not isinstance(samples, int) or samples < low:
        raise ValueError(f"samples must be an integer >= {low}, got {samples!r}")


def mean_of(values: Array) -> Estimate:
    """Mean of independent values, with its standard error."""
    return Estimate(float(values.mean()), float(values.std(ddof=1) / math.sqrt(len(values))))
