r"""Layer of neurons whose Gaussian currents have a mean and a scale of their own in each channel.

Behind a normalization a neuron of channel c gets the current

    i[t] = b_c + γ_c z[t],      z ~ N(0, R),

with the norm's shift b and scale γ and the correlation R of the normalized values over the steps;
neither depends on the weights in front. The mean over channels, neurons and samples of what the
neurons do with it is a Monte Carlo mean, as in `snnlib.meanfield.covariance_map`, which is the case
b = 0 and γ = 1 of one covariance.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from snnlib.meanfield.covariance import checked_covariance, square_root
from snnlib.neurons import lif
from snnlib.neurons.lif import Reset

__all__ = ["ShiftedStep", "shifted_map"]

Array = NDArray[np.float64]


class ShiftedStep(NamedTuple):
    """What a layer does with such currents.

    Attributes:
        rate: [T], probability that a neuron fires.
        variance: [T], of the potentials, over channels too.
        pairs: [T, T], E[x_s x_t] of the spikes.
    """

    rate: Array
    variance: Array
    pairs: Array


def shifted_map(
    correlation: ArrayLike,
    *,
    scale: ArrayLike = 1.0,
    shift: ArrayLike = 0.0,
    leak: float,
    threshold: float,
    reset: Reset = "subtract",
    kernel: ArrayLike | None = None,
    samples: int = 65_536,
    generator: torch.Generator | None = None,
) -> ShiftedStep:
    r"""Rates of leaky integrate-and-fire neurons behind normalized currents.

    Args:
        correlation: R [T, T] of z, symmetric and positive semidefinite.
        scale: γ of each channel [C], times the neuron's input gain.
        shift: b of each channel [C], or of each channel and step [C, T], likewise.
        leak: β in [0, 1].
        threshold: θ ≥ 0.
        reset: As in `snnlib.neurons.lif`.
        kernel: [T, T]: what reaches the potential at step t of the current at step s; None is the
            identity.
        samples: Neurons that are simulated, of channels at random. The standard error of a rate r
            is √(r(1−r)/samples).
        generator: Random numbers; None is torch's global generator.

    Returns:
        A `ShiftedStep`.

    Raises:
        ValueError: If `correlation` is not a symmetric positive semidefinite matrix, scale or shift
            is not finite, or a setting of the neuron is outside its range.

    Source:
        Derived here: the definition of a normalization, and the neuron's equation.

    Example:
        At the first step a neuron fires if z > (θ − b)/γ:

        >>> from snnlib.meanfield import firing_probability
        >>> step = shifted_map([[1.0]], scale=0.5, shift=0.3, leak=0.5, threshold=1.0,
        ...                    generator=torch.Generator().manual_seed(0))
        >>> expected = firing_probability(0.7 / 0.5)
        >>> bool(abs(step.rate[0] - expected) < 5 * (expected / 65_536) ** 0.5)
        True
    """
    matrix = checked_covariance(correlation)
    steps = len(matrix)
    channels = np.atleast_1d(np.asarray(scale, dtype=np.float64))
    means = np.atleast_1d(np.asarray(shift, dtype=np.float64))
    means = means[:, None] if means.ndim == 1 else means
    if not (np.isfinite(channels).all() and np.isfinite(means).all()):
        raise ValueError(f"scale and shift must be finite, got {scale!r} and {shift!r}")
    count = max(len(channels), len(means))
    channels = np.broadcast_to(channels, (count,))
    means = np.broadcast_to(means, (count, steps))
    root = torch.from_numpy(square_root(matrix)).float()
    normal = torch.randn(steps, int(samples), generator=generator)
    which = torch.arange(int(samples)) % count
    scales = torch.tensor(channels, dtype=torch.float32)[which]
    currents = torch.tensor(means, dtype=torch.float32).T[:, which] + scales * (root @ normal)
    if kernel is not None:
        currents = torch.as_tensor(np.asarray(kernel), dtype=torch.float32) @ currents
    trace = lif(currents[:, None], leak=leak, threshold=threshold, reset=reset)
    u, x = trace.membrane[:, 0].double(), trace.spikes[:, 0]
    pairs = (x @ x.T).double().numpy() / samples
    return ShiftedStep(np.diagonal(pairs).copy(), u.var(1, correction=0).numpy(), pairs)
