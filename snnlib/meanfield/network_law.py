r"""Exact law of a spiking network of finite width over all time steps, without drawing weights.

Gaussian weights of variance v stay the same at every step and for every input of a batch.
Given all spikes X [T·B, n] of a layer, the currents of the next layer are therefore i.i.d.
over its neurons, each a Gaussian vector over steps and inputs of covariance v·X Xᵀ.  So a
network of Gaussian weights is a Markov chain over layers whose state is a T·B × T·B matrix;
drawing the chain draws the network's statistics at every width, in a time that grows with
n·(T·B)² instead of n²·T·B.

Source: derived in the book's chapter on the variance over time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from snnlib._checks import check_kind, real
from snnlib.meanfield.synapse import synaptic_kernel
from snnlib.neurons import lif
from snnlib.neurons.lif import Reset

__all__ = ["LayerLaw", "NetworkLaw", "network_law"]

Array = NDArray[np.float64]


class LayerLaw(NamedTuple):
    """One layer of a network: its neurons, and the weights that drive the layer behind it.

    Attributes:
        width: number n of neurons.
        threshold: θ ≥ 0.
        leak: β in [0, 1].
        reset: as in `snnlib.neurons.lif`.
        gain: G = n·E[w²] of the weights behind the layer, the spikes' height and the next
            neurons' input gain included; of no account in the last layer.
        bias: variance over the next layer's neurons of a constant current beside the weights.
        synapse: share of a synaptic current that is kept each step; 0 is none.
        delay: in [0, 1], how much of the current comes one step late.
    """

    width: int
    threshold: float = 1.0
    leak: float = 0.5
    reset: Reset = "subtract"
    gain: float = 1.0
    bias: float = 0.0
    synapse: float = 0.0
    delay: float = 0.0


class NetworkLaw(NamedTuple):
    """Draws from the law of a network; every array is [repeat, layer, step].

    Attributes:
        rate: Share of the neurons that fire, over batch and layer.
        variance: Variance of the potentials, pooled over batch and layer.
        mean: Mean of the potentials, likewise.
    """

    rate: Array
    variance: Array
    mean: Array


def network_law(
    covariance: ArrayLike,
    layers: Sequence[LayerLaw],
    *,
    repeats: int = 32,
    generator: torch.Generator | None = None,
) -> NetworkLaw:
    r"""Draw the statistics of a network of finite width from their exact law.

    The currents of the first layer are Gaussian over its neurons with the given covariance;
    given the spikes X [T·B, n] of a layer, those of the next are Gaussian with covariance
    (G/n)·X Xᵀ + Var[b].  The spread over repeats is the spread over networks.

    Args:
        covariance: of the first layer's currents over steps and inputs, [T, T] for one input
            or [T, B, T, B] for a batch.  Behind weights of gain G that see the values
            z [T, B, n] it is G/n·Σ_j z[t, b, j]·z[t', b', j].
        layers: the layers in order, see `LayerLaw`.
        repeats: number of networks.
        generator: random numbers; None is torch's global generator.

    Returns:
        A `NetworkLaw`, repeats × layers × T.

    Raises:
        ValueError: if `covariance` has another shape or is not finite and positive
            semidefinite, there is no layer, or a setting is outside its range.

    Source:
        Derived in the book.

    Example:
        At threshold 0 and Kaiming's gain a wide layer fires with probability ½ at every depth:

        >>> law = network_law([[1.0]], [LayerLaw(10_000, threshold=0.0, gain=2.0)] * 3, repeats=8,
        ...                   generator=torch.Generator().manual_seed(0))
        >>> law.rate.shape
        (8, 3, 1)
        >>> bool(abs(law.rate[:, 0].mean() - 0.5) < 5 * 0.5 / (8 * 10_000) ** 0.5)
        True
    """
    matrix = np.asarray(covariance, dtype=np.float64)
    if matrix.ndim == 2:
        matrix = matrix[:, None, :, None]
    if matrix.ndim != 4 or matrix.shape[:2] != matrix.shape[2:] or matrix.size == 0:
        raise ValueError(
            f"covariance must be [T, T] or [T, B, T, B], got shape {np.shape(covariance)}"
        )
    steps, batch = matrix.shape[:2]
    first = torch.from_numpy(matrix.reshape(steps * batch, steps * batch))
    if not bool(torch.isfinite(first).all()) or not torch.allclose(first, first.T, atol=1e-9):
        raise ValueError("covariance must be finite and symmetric")
    values = torch.linalg.eigvalsh(first)
    if values[0] < -1e-8 * max(float(values[-1]), 1.0):
        raise ValueError(
            f"covariance must be positive semidefinite, its smallest eigenvalue is {values[0]:.3g}"
        )
    if not isinstance(layers, Sequence) or not layers:
        raise ValueError(f"layers must be a list of at least one layer, got {layers!r}")
    if repeats < 1 or int(repeats) != repeats:
        raise ValueError(f"repeats must be an integer >= 1, got {repeats!r}")
    for index, layer in enumerate(layers):
        _check(index, layer)

    found = torch.zeros(3, repeats, len(layers), steps, dtype=torch.float64)
    for repeat in range(repeats):
        current = first
        for index, layer in enumerate(layers):
            if not bool(current.any()):  # no activity and no bias: silent from here on
                break
            u, x = _neurons(_draw(current, layer.width, generator), layer, steps)
            found[0, repeat, index] = x.double().mean((1, 2))
            found[1, repeat, index] = u.double().var((1, 2), correction=0)
            found[2, repeat, index] = u.double().mean((1, 2))
            rows = x.flatten(0, 1)
            # Counts of spikes are exact in single precision.
            current = (rows @ rows.T).double().mul_(layer.gain / layer.width) + layer.bias
    return NetworkLaw(*(np.asarray(value) for value in found))


def _check(index: int, layer: LayerLaw) -> None:
    bounds: dict[str, tuple[float, float]] = {
        "width": (1, math.inf),
        "gain": (0, math.inf),
        "bias": (0, math.inf),
        "synapse": (0, 1),
        "delay": (0, 1),
    }
    check_kind(f"layer {index}", layer, LayerLaw)
    for name, (low, high) in bounds.items():
        value = real(f"{name} of layer {index}", getattr(layer, name))
        if not low <= value <= high or value == math.inf:
            raise ValueError(
                f"{name} of layer {index} must be finite and in [{low:g}, {high:g}], got {value!r}"
            )


def _draw(covariance: Tensor, width: int, generator: torch.Generator | None) -> Tensor:
    """Gaussian columns [T·B, n] of a covariance that may be singular."""
    size = len(covariance)
    # Silent or equal rows make it singular; a part in 1e10 of the largest entry mends that.
    ridge = 1e-10 * float(covariance.diagonal().max())
    root, failed = torch.linalg.cholesky_ex(covariance + ridge * torch.eye(size).double())
    if int(failed):
        values, vectors = torch.linalg.eigh(covariance)
        root = vectors * values.clamp(min=0).sqrt()
    return root.float() @ torch.randn(size, width, generator=generator)


def _neurons(current: Tensor, layer: LayerLaw, steps: int) -> tuple[Tensor, Tensor]:
    """Potentials and spikes [T, B, n] of one layer."""
    current = current.unflatten(0, (steps, -1))
    if layer.synapse or layer.delay:
        kernel = torch.from_numpy(synaptic_kernel(steps, layer.synapse, layer.delay))
        current = torch.tensordot(kernel.float(), current, dims=1)
    trace = lif(current, leak=layer.leak, threshold=layer.threshold, reset=layer.reset)
    return trace.membrane, trace.spikes
