r"""Random smooth manifolds as spike times: a task whose difficulty is a parameter.

Class c has a smooth random map from the cube [0, 1]^D to one firing time per unit i,

$$f_i(x) = \prod_{j=1}^{D} \sum_{k=1}^{K} k^{-\alpha} A_{ijk} \sin 2\pi(k B_{ijk} x_j + C_{ijk})$$

with A, B, C uniform in [0, 1]. A sample is a uniform point x of the cube; f_i is scaled to [0, 1]
over all samples of its class, and unit i spikes once, in step ⌊f_i T⌋ (f_i = 1: the last step).
Only the order of the spikes tells the classes apart: each unit fires exactly once in every sample.

Source: Zenke & Vogels 2021, The remarkable robustness of surrogate gradient learning for
instilling complex function in spiking neural networks, Neural Computation 33; written from its
equations.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from snnlib.data.raw import Raw

TRAINING_SHARE = 0.8


def read(
    split: str,
    *,
    classes: int = 10,
    units: int = 20,
    dimension: int = 1,
    smoothness: float = 2.0,
    steps: int = 100,
    samples: int = 1000,
    cutoff: int = 1000,
    seed: int = 0,
) -> Raw:
    """Generate one split; train and test points lie on the same manifolds.

    Args:
        split: "train" (80 % of each class) or "test".
        classes: Number of classes, one manifold each, >= 1.
        units: Number of units, the dimension of the space that holds the manifolds, >= 1.
        dimension: Dimension D of the manifolds, >= 1.
        smoothness: Exponent α >= 0; larger is smoother and easier.
        steps: Time steps T >= 1.
        samples: Samples per class over both splits, >= 2.
        cutoff: Number K of terms of each series, >= 1.
        seed: Seed of the manifolds, the points and their order.

    Returns:
        Spikes, uint8, [samples, T, units], and targets; samples in random order.

    Raises:
        ValueError: If an argument is outside its range.

    Example:
        >>> spikes = read("test", samples=50).inputs
        >>> spikes.shape
        (100, 100, 20)
        >>> set(spikes.sum(1).flatten().tolist())  # one spike per unit and sample
        {1}
    """
    counts = dict(
        classes=classes, units=units, dimension=dimension, steps=steps, samples=samples,
        cutoff=cutoff,
    )  # fmt: skip
    for name, number in counts.items():
        least = 2 if name == "samples" else 1
        if isinstance(number, bool) or not isinstance(number, int) or number < least:
            raise ValueError(f"{name} must be an integer >= {least}, got {number!r}")
    if not 0 <= smoothness < math.inf:
        raise ValueError(f"smoothness must be >= 0 and finite, got {smoothness!r}")
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63:
        raise ValueError(f"seed must be an integer from 0 to 2**63 - 1, got {seed!r}")
    times, order = _generate(classes, units, dimension, smoothness, samples, cutoff, seed)
    step = np.minimum((times * steps).astype(np.int64), steps - 1)
    training = min(max(round(TRAINING_SHARE * samples), 1), samples - 1)
    part = slice(None, training) if split == "train" else slice(training, None)
    step = step[:, part].reshape(-1, units)
    targets = np.repeat(np.arange(classes), times[:, part].shape[1])
    chosen = order[order < len(step)]  # a random order of this split
    spikes = np.zeros((len(step), steps, units), np.uint8)
    np.put_along_axis(spikes, step[chosen][:, None], 1, axis=1)
    return Raw(spikes, targets[chosen], classes, sequence=True, standardize=False)


@lru_cache(maxsize=2)
def _generate(
    classes: int,
    units: int,
    dimension: int,
    smoothness: float,
    samples: int,
    cutoff: int,
    seed: int,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Firing times in [0, 1], [classes, samples, units], and a random order of all samples."""
    generator = torch.Generator().manual_seed(seed)
    times = torch.empty(classes, samples, units, dtype=torch.float64)
    for manifold in times:
        parameters = torch.rand(
            3, dimension, units, cutoff, dtype=torch.float64, generator=generator
        )
        points = torch.rand(samples, dimension, dtype=torch.float64, generator=generator)
        values = evaluate(points, *parameters, smoothness=smoothness)
        low, high = values.amin(0), values.amax(0)
        manifold.copy_((values - low) / (high - low))
    return times.numpy(), torch.randperm(classes * samples, generator=generator).numpy()


def evaluate(
    points: Tensor, amplitude: Tensor, frequency: Tensor, phase: Tensor, *, smoothness: float
) -> Tensor:
    r"""The map f of a manifold, see the head of this file.

    Args:
        points: x, [samples, D].
        amplitude: A, [D, units, K].
        frequency: B, [D, units, K].
        phase: C, [D, units, K].
        smoothness: α.

    Returns:
        f, [samples, units].

    Example:
        One term of frequency 1 without phase is a sine.

        >>> one = torch.ones(1, 1, 1)
        >>> x = torch.tensor([[0.0], [0.25], [0.75]])
        >>> evaluate(x, one, one, 0 * one, smoothness=2.0).flatten().round(decimals=5).tolist()
        [0.0, 1.0, -1.0]
    """
    k = torch.arange(1, amplitude.shape[-1] + 1, dtype=points.dtype)
    weights = amplitude * k**-smoothness
    product = points.new_ones(len(points), amplitude.shape[1])
    for j, x in enumerate(points.unbind(1)):
        for unit in range(amplitude.shape[1]):  # one at a time: [samples, K] stays small
            angle = 2 * math.pi * torch.addcmul(phase[j, unit], x[:, None], k * frequency[j, unit])
            product[:, unit] *= angle.sin_() @ weights[j, unit]
    return product
