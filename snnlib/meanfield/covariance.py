r"""Infinite-width covariance map over time of one layer of leaky integrate-and-fire neurons.

As the width grows, the currents of a layer become a Gaussian process over the T steps with
covariance C(s, t).  The neurons turn it into spikes x_t, and zero-mean weights of gain
G = n·Var[w], which stay the same at every step, turn the spikes into the currents of the
next layer, again Gaussian, with covariance

    C'(s, t) = G · E[x_s x_t].

One T × T matrix per layer predicts the whole network.  The expectation over the neuron, leak
and reset included, is a Monte Carlo mean with a stated standard error.

Source: derived in the book's chapter on the variance over time.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from snnlib._checks import scalars
from snnlib.neurons import lif
from snnlib.neurons.lif import Reset

__all__ = ["CovarianceStep", "covariance_map"]

Array = NDArray[np.float64]


class CovarianceStep(NamedTuple):
    """What one layer does to a Gaussian process of currents; one entry per time step.

    A batch of covariances adds its dimensions in front of each.

    Attributes:
        covariance: [T, T], of the currents of the next layer.
        variance: [T], of this layer's potentials.
        rate: [T], probability that a neuron of this layer fires.
        skewness: [T], of the potentials (NaN where they do not vary).
        kurtosis: [T], excess kurtosis of the potentials (NaN where they do not vary).
        mean: [T], of the potentials.
        standard_error: [T, T], of `covariance`.
    """

    covariance: Array
    variance: Array
    rate: Array
    skewness: Array
    kurtosis: Array
    mean: Array
    standard_error: Array


@scalars("gain", "leak", "threshold")
def covariance_map(
    covariance: ArrayLike,
    gain: float,
    *,
    leak: float,
    threshold: float,
    reset: Reset = "subtract",
    samples: int = 65_536,
    generator: torch.Generator | None = None,
) -> CovarianceStep:
    r"""Map the covariance over time of a layer's currents to that of the next layer's.

    C'(s, t) = G·E[x_s x_t] with x the spikes of a neuron that is driven by a zero-mean
    Gaussian process of covariance C.

    Args:
        covariance: C [T, T], symmetric and positive semidefinite; a constant standard normal
            input is a matrix of ones.  A batch [..., T, T], one for each input of a batch say,
            is mapped entry by entry.
        gain: G = n·Var[w] > 0 of the weights behind the layer.
        leak: β in [0, 1].
        threshold: θ ≥ 0.
        reset: as in `snnlib.neurons.lif`.
        samples: number of neurons that are simulated for each covariance.  The standard error
            of an entry of C' is G·√(r(1−r)/samples) with r = E[x_s x_t].
        generator: random numbers; None is torch's global generator.

    Returns:
        A `CovarianceStep`.

    Raises:
        ValueError: if `covariance` is not a symmetric positive semidefinite matrix, `gain` is
            not positive and finite, `samples` is below 2, or a setting of the neuron is
            outside its range.

    Source:
        Derived in the book.

    Example:
        At the first step it is the variance map:

        >>> from snnlib.meanfield import variance_map
        >>> step = covariance_map([[1.0]], 2.0, leak=0.5, threshold=0.5,
        ...                       generator=torch.Generator().manual_seed(0))
        >>> deviation = abs(step.covariance[0, 0] - variance_map(1.0, 2.0, 0.5))
        >>> bool(deviation < 5 * step.standard_error[0, 0])
        True
    """
    matrix = checked_covariance(covariance)
    if not 0 < gain < np.inf:
        raise ValueError(f"gain must be positive and finite, got {gain!r}")
    if samples < 2 or int(samples) != samples:
        raise ValueError(f"samples must be an integer >= 2, got {samples!r}")
    steps, batch = matrix.shape[-1], matrix.shape[:-2]
    root = torch.from_numpy(square_root(matrix.reshape(-1, steps, steps))).float()
    normal = torch.randn(len(root), steps, int(samples), generator=generator)
    trace = lif((root @ normal).transpose(0, 1), leak=leak, threshold=threshold, reset=reset)
    u, x = (value.transpose(0, 1) for value in (trace.membrane, trace.spikes))
    pairs = (x @ x.transpose(1, 2)).double().numpy().reshape(matrix.shape) / samples
    centred = (u - u.mean(dim=2, keepdim=True)).double()
    variance, third, fourth = (centred.pow(k).mean(dim=2) for k in (2, 3, 4))

    def shaped(value: torch.Tensor) -> Array:
        return np.asarray(value.double().numpy().reshape(*batch, steps))

    return CovarianceStep(
        covariance=gain * pairs,
        variance=shaped(variance) * samples / (samples - 1),
        rate=np.diagonal(pairs, axis1=-2, axis2=-1).copy(),
        skewness=shaped(third / variance**1.5),
        kurtosis=shaped(fourth / variance**2 - 3),
        mean=shaped(u.double().mean(dim=2)),
        standard_error=gain * np.sqrt(np.maximum(pairs * (1 - pairs), 0.0) / samples),
    )


def square_root(covariance: Array) -> Array:
    """A [..., T, T] with A Aᵀ the covariance; what rounding makes negative is 0."""
    if covariance.shape[-1] <= 32:
        values, vectors = np.linalg.eigh(covariance)
    else:  # where NumPy's threads wait for each other on a busy machine, up to 100 times as long
        found = torch.linalg.eigh(torch.from_numpy(covariance))
        values, vectors = (value.numpy() for value in found)
    root: Array = vectors * np.sqrt(np.maximum(values, 0.0))[..., None, :]
    return root


def checked_covariance(covariance: ArrayLike) -> Array:
    """The covariance in double precision.

    Raises:
        ValueError: if it is not one or more symmetric positive semidefinite matrices.
    """
    matrix = np.asarray(covariance, dtype=np.float64)
    if matrix.ndim < 2 or matrix.shape[-2] != matrix.shape[-1] or matrix.size == 0:
        raise ValueError(f"covariance must be a square matrix [..., T, T], got {matrix.shape}")
    if not np.all(np.isfinite(matrix)) or not np.allclose(
        matrix, matrix.swapaxes(-2, -1), atol=1e-9
    ):
        raise ValueError("covariance must be finite and symmetric")
    values = torch.linalg.eigvalsh(torch.from_numpy(matrix)).numpy()
    least = values[..., 0]
    if np.any(least < -1e-8 * np.maximum(values[..., -1], 1.0)):
        raise ValueError(
            "covariance must be positive semidefinite, "
            f"its smallest eigenvalue is {least.min():.3g}"
        )
    return matrix
