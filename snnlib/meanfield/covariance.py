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

from snnlib.neurons import lif
from snnlib.neurons.lif import Reset

__all__ = ["CovarianceStep", "covariance_map"]

Array = NDArray[np.float64]


class CovarianceStep(NamedTuple):
    """What one layer does to a Gaussian process of currents; one entry per time step.

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
            input is a matrix of ones.
        gain: G = n·Var[w] > 0 of the weights behind the layer.
        leak: β in [0, 1].
        threshold: θ ≥ 0.
        reset: as in `snnlib.neurons.lif`.
        samples: number of neurons that are simulated.  The standard error of an entry of C'
            is G·√(r(1−r)/samples) with r = E[x_s x_t].
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
    matrix = np.asarray(covariance, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or matrix.size == 0:
        raise ValueError(f"covariance must be a square matrix, got shape {matrix.shape}")
    if not np.all(np.isfinite(matrix)) or not np.allclose(matrix, matrix.T, atol=1e-9):
        raise ValueError("covariance must be finite and symmetric")
    values, vectors = np.linalg.eigh(matrix)
    if values[0] < -1e-8 * max(float(values[-1]), 1.0):
        raise ValueError(
            f"covariance must be positive semidefinite, its smallest eigenvalue is {values[0]:.3g}"
        )
    if not 0 < gain < np.inf:
        raise ValueError(f"gain must be positive and finite, got {gain!r}")
    if samples < 2 or int(samples) != samples:
        raise ValueError(f"samples must be an integer >= 2, got {samples!r}")
    root = torch.from_numpy(vectors * np.sqrt(np.maximum(values, 0.0))).float()
    normal = torch.randn(matrix.shape[0], int(samples), generator=generator)
    trace = lif((root @ normal)[:, None], leak=leak, threshold=threshold, reset=reset)
    u, x = trace.membrane[:, 0], trace.spikes[:, 0]
    pairs = (x @ x.T).double().numpy() / samples
    centred = (u - u.mean(dim=1, keepdim=True)).double()
    variance = centred.square().mean(dim=1)
    skewness = centred.pow(3).mean(dim=1) / variance**1.5
    kurtosis = centred.pow(4).mean(dim=1) / variance**2 - 3
    return CovarianceStep(
        covariance=gain * pairs,
        variance=variance.numpy() * samples / (samples - 1),
        rate=np.diagonal(pairs).copy(),
        skewness=skewness.numpy(),
        kurtosis=kurtosis.numpy(),
        mean=u.double().mean(dim=1).numpy(),
        standard_error=gain * np.sqrt(np.maximum(pairs * (1 - pairs), 0.0) / samples),
    )
