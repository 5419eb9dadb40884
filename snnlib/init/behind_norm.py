r"""Rates of layers behind a normalization, from its scale and shift over the steps.

The currents of such a layer are Gaussian with the norm's mean b and deviation γ of each channel;
the correlation over time of the normalized values is that of the example. Sums of several norms'
outputs add means and variances.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtri

from snnlib.dialects import Spiking
from snnlib.init.connection import Layer
from snnlib.init.norms import Norm, read_norm
from snnlib.meanfield import ShiftedStep, shifted_map, synaptic_kernel
from snnlib.resets import RULES

__all__ = ["behind_norms", "nearest_covariance", "not_gaussian", "rate_behind"]

Array = NDArray[np.float64]
LARGEST_KURTOSIS = 3.0


def behind_norms(
    norms: Sequence[Norm],
    factors: Sequence[float],
    covariance: Array,
    shape: tuple[float, float],
    spiking: Spiking,
    *,
    seed: int = 0,
) -> tuple[ShiftedStep | None, str]:
    """What a layer behind normalizations does, or why the theory does not reach it.

    Args:
        norms: Whose outputs add up to its currents.
        factors: What each is multiplied with.
        covariance: E[i_s i_t] of the currents on an example, under scales and shifts as in `norms`.
        shape: Skewness and excess kurtosis of the currents there.
        spiking: The layer.
        seed: Of the simulated neurons.

    Returns:
        Its rate, variance and E[x_s x_t] over the steps, with the scales and shifts that the norms
        have now, and why there is none.
    """
    numbers = [_one(v) for v in (spiking.threshold, spiking.leak, spiking.input_gain)]
    synapse = 0.0 if spiking.synapse is None else _one(spiking.synapse)
    within = 0 <= (synapse or 0.0) <= 1 and 0 <= (numbers[1] or 0.0) <= 1
    if None in numbers or synapse is None or spiking.reset not in RULES or not within:
        return None, "its threshold, leak or reset is not one number"
    correlation = _correlation(norms, factors, covariance)
    if correlation is None:
        return None, "what enters the normalization hardly varies"
    threshold, leak, gain = (float(n or 0.0) for n in numbers)
    now = [read_norm(norm.name, norm.module, norm.weights) for norm in norms]
    scale, shift = _together(now, factors)
    step = shifted_map(
        correlation,
        scale=gain * scale,
        shift=gain * shift,
        leak=leak,
        threshold=threshold,
        reset=spiking.reset,  # type: ignore[arg-type]
        kernel=synaptic_kernel(len(correlation), synapse, float(spiking.delay)),
        generator=torch.Generator().manual_seed(seed),
    )
    if reason := not_gaussian(float(step.rate.max()), *shape):
        return None, reason
    return step, ""


def not_gaussian(rate: float, skewness: float, kurtosis: float) -> str:
    r"""Why a Gaussian says too little of how often currents cross the threshold; empty if it does.

    The first terms of Edgeworth's series change the tail Q(ξ) by

        φ(ξ) (skewness/6 (ξ² − 1) + kurtosis/24 (ξ³ − 3ξ)),

    which must stay below 0.4 of it.

    Args:
        rate: Q(ξ).
        skewness: Of the currents.
        kurtosis: Their excess kurtosis.

    Returns:
        The reason.

    Example:
        >>> not_gaussian(0.05, 0.0, 0.1), not_gaussian(0.05, 0.0, 9.0)[:29]
        ('', 'its currents are not Gaussian')
    """
    if not 0 < rate < 1 or not math.isfinite(skewness + kurtosis):
        return ""
    xi = float(ndtri(1 - rate))
    density = math.exp(-(xi**2) / 2) / math.sqrt(2 * math.pi)
    skewed = skewness / 6 * (xi**2 - 1)
    change = density / rate * (skewed + kurtosis / 24 * (xi**3 - 3 * xi))
    tailed = abs(kurtosis) > LARGEST_KURTOSIS  # where the series itself says little
    if abs(change) <= 0.4 and not tailed:
        return ""
    return (
        f"its currents are not Gaussian enough for its rate (skewness {skewness:.2g}, excess "
        f"kurtosis {kurtosis:.2g})"
    )


def rate_behind(layer: Layer) -> tuple[float | None, str]:
    """Mean rate over the steps of the example, and why there is none.

    Args:
        layer: The layer, paired with an example.

    Returns:
        A rate, NaN where it does not follow, None if no normalization sets it; and the reason.
    """
    intake = layer.intake
    if intake is None or not any(norm.undoes for norm in intake.norms):
        return None, ""
    if intake.factors is None or intake.covariance is None:
        return math.nan, "its currents are not those of a normalization alone"
    step, why = behind_norms(
        intake.norms, intake.factors, intake.covariance, intake.shape, layer.spiking
    )
    return (math.nan if step is None else float(step.rate.mean())), why


def _together(norms: Sequence[Norm], factors: Sequence[float]) -> tuple[Array, Array]:
    """Scale and shift of each channel of a sum."""
    variance, mean = np.zeros(1), np.zeros(1)
    for norm, factor in zip(norms, factors, strict=True):
        variance = _plus(variance, (factor * norm.scale.numpy()) ** 2)
        mean = _plus(mean, factor * norm.shift.numpy())
    return np.sqrt(variance), mean


def _plus(one: Array, two: Array) -> Array:
    if 1 in (len(one), len(two)) or len(one) == len(two):
        return np.asarray(one + two)
    return np.asarray(one.mean() + two.mean()).reshape(1)  # channels of different layouts


def _correlation(norms: Sequence[Norm], factors: Sequence[float], total: Array) -> Array | None:
    """Correlation over time of the normalized values, of what is left when the means are taken."""
    _, mean = _together(norms, factors)
    scale, _ = _together(norms, factors)
    left = total - np.square(mean).mean()
    # Where hardly anything comes in, a norm's ε and silent channels keep its output small.
    if not abs(np.diagonal(left).mean() / np.square(scale).mean() - 1) < 0.3:
        return None
    deviation = np.sqrt(np.maximum(np.diagonal(left), 0.0))
    if not np.isfinite(left).all() or not (deviation > 0).all():
        return None
    return nearest_covariance(np.clip(left / np.outer(deviation, deviation), -1.0, 1.0))


def nearest_covariance(matrix: Array) -> Array:
    """Without the negative eigenvalues that rounding leaves when means are taken away."""
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    fixed = (vectors * np.maximum(values, 0.0)) @ vectors.T
    return np.asarray((fixed + fixed.T) / 2)


def _one(value: torch.Tensor) -> float | None:
    """The number, if all neurons have one."""
    flat = value.flatten()
    same = flat.numel() > 0 and bool((flat == flat[0]).all())
    return float(flat[0]) if same and math.isfinite(float(flat[0])) else None
