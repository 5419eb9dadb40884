r"""How many layers keep two inputs apart: the depth scale, over one step, T steps and many.

Two inputs through wide layers have the second moments R and R̃ [T, T] of `two_inputs`.  At the
fixed point R of a gain the crossed moments converge, R̃ → R̃*, and what tells one pair of inputs
from another decays as e^(−l/ξ) over the layers.  At one step the map is a closed form
(`correlation`), for leak 1, soft reset and many steps too (`many_steps`), and ξ = −1/ln f'(c*).

Between them the derivative of the map at R̃* is triangular, since no step depends on later ones:
its eigenvalues know only how a step acts on itself and miss what survives by moving to later
steps.  What counts is its L-fold image.  For L layers ξ = L/ln(ΣD₀/ΣD_L), with a difference
D₀ ∝ R − R̃* in front of them (a pair that is a little more alike) and the sum over both steps,
which is the difference in E[NÑ], N the counts of spikes.

R and R̃ are carried on by sums and differences: the currents of two inputs are a ± b with
independent a ~ N(0, G(R + R̃)/2) and b ~ N(0, G(R − R̃)/2), and copies that start from R̃ ± D,
driven by the same random numbers, give the derivative.

Source: derived in the book's chapter on time and depth.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ndtri
from torch import Tensor

from snnlib._checks import check_count, check_positive, real, scalars
from snnlib.meanfield.correlation import correlation_fixed_point, correlation_slope
from snnlib.meanfield.many_steps import check_averages, time_average
from snnlib.meanfield.rate import gain_for_rate
from snnlib.meanfield.variance import firing_probability, fixed_points
from snnlib.neurons import lif
from snnlib.neurons.lif import Reset

__all__ = ["DepthLaw", "depth_law", "depth_scale"]

Array = NDArray[np.float64]

_SETTLE, _REPEATS = 30, 5  # layers that reach the fixed point; differences that are followed
_PART = 0.2  # of R − R̃, the size of such a difference


class DepthLaw(NamedTuple):
    """What deep layers make of any two inputs.

    Attributes:
        gain: G = n·Var[w] of the weights.
        rate: [step], firing probability (one entry for many steps).
        correlation: c* = ΣR̃*/ΣR = E[NÑ]/E[N²] of the counts of spikes.
        slope: λ, factor by which a difference from R̃* shrinks in a layer (a geometric mean).
        depth_scale: ξ = −1/ln λ, layers.
        standard_error: of the depth scale; 0 for closed forms.
    """

    gain: float
    rate: Array
    correlation: float
    slope: float
    depth_scale: float
    standard_error: float


@scalars("threshold", "leak", "gain", "rate", "depth")
def depth_scale(
    threshold: float,
    *,
    leak: float | None = None,
    steps: float = 1,
    reset: Reset = "subtract",
    gain: float | None = None,
    rate: float | None = None,
    depth: int = 10,
) -> float:
    r"""Layers ξ over which what distinguishes two pairs of inputs falls by e.

    .. math:: \xi=-1/\ln\lambda,\qquad \lambda=f'(c^*)\ \text{at one step}.

    Args:
        threshold: θ ≥ 0; > 0 for more than one step.
        leak: β in [0, 1]; may be left out at one step, which knows none.
        steps: T ≥ 1, or `math.inf` for the limit of many steps (leak 1 and soft reset only).
        reset: as in `snnlib.neurons.lif`.
        gain: G of the weights.  Neither gain nor rate: Eq. 10's, at one step only.
        rate: instead of the gain, the wanted firing probability per step.
        depth: L ≥ 1, layers over which it is taken for 1 < T < ∞.

    Returns:
        ξ, exact for one step and for many, else with the standard error of `depth_law`.

    Raises:
        ValueError: As in `depth_law`.

    Source:
        Derived in the book; the notion is that of Schoenholz et al. 2017.

    Example:
        One step keeps inputs apart for a layer and a half at any gain, many steps at a rate of
        1/5 for 47:

        >>> round(depth_scale(1.0), 3), round(depth_scale(1.0, gain=8.0), 3)
        (1.346, 1.529)
        >>> round(depth_scale(1.0, leak=1.0, steps=math.inf, rate=0.2), 1)
        47.2
    """
    return depth_law(
        threshold, leak=leak, steps=steps, reset=reset, gain=gain, rate=rate, depth=depth
    ).depth_scale


@scalars("threshold", "leak", "gain", "rate", "depth")
def depth_law(
    threshold: float,
    *,
    leak: float | None = None,
    steps: float = 1,
    reset: Reset = "subtract",
    gain: float | None = None,
    rate: float | None = None,
    depth: int = 10,
    samples: int = 16_384,
) -> DepthLaw:
    r"""Fixed point of two inputs in deep layers, and how fast they get there.

    Args:
        threshold: θ ≥ 0; > 0 for more than one step.
        leak: β in [0, 1]; may be left out at one step.
        steps: T ≥ 1, or `math.inf` (leak 1 and soft reset only).
        reset: as in `snnlib.neurons.lif`.
        gain: G of the weights.  Neither gain nor rate: Eq. 10's, at one step only.
        rate: instead of the gain, the wanted firing probability per step in (0, 1/2).  At one
            step below `firing_probability(critical_threshold())` it is an unstable balance.
        depth: L ≥ 1, layers over which the slope is taken for 1 < T < ∞.
        samples: neurons that are simulated for 1 < T < ∞, always the same ones: the function is
            deterministic.  Differences are finite, which makes the slope too large by up to 1 %.

    Returns:
        A `DepthLaw`.

    Raises:
        ValueError: If an argument is outside its range, both gain and rate are given, no activity
            lasts at the gain, or some step falls silent in deep layers while others go on (the
            layers do not repeat each other then: see `gradient_signal` for a network of a depth).

    Source:
        Derived in the book.

    Example:
        >>> law = depth_law(0.8, gain=4.0)
        >>> from snnlib.meanfield import correlation_map
        >>> [(variance, _)] = [p for p in fixed_points(4.0, 0.8) if p.slope < 1]
        >>> abs(correlation_map(law.correlation, 0.8, variance=variance) - law.correlation) < 1e-14
        True
    """
    if gain is not None and rate is not None:
        raise ValueError(f"gain and rate exclude each other, got {gain!r} and {rate!r}")
    if gain is not None:
        check_positive("gain", gain)
    if rate is not None and not 0 < rate < 0.5:
        raise ValueError(f"rate must be in (0, 1/2), got {rate!r}")
    if not (isinstance(steps, float) and steps == math.inf):
        steps = real("steps", steps)
    if steps != math.inf and (not steps >= 1 or int(steps) != steps):
        raise ValueError(f"steps must be an integer >= 1 or infinite, got {steps!r}")
    if leak is not None:  # a neuron refuses what its settings cannot be
        lif(torch.zeros(1, 1, 1), leak=leak, threshold=threshold, reset=reset)
    if steps == 1:
        return _one_step(threshold, gain, rate)
    check_positive("threshold", threshold)
    if leak is None:
        raise ValueError("leak must be given for more than one step")
    if gain is None and rate is None:
        raise ValueError("gain or rate must be given for more than one step")
    if steps == math.inf:
        return _many_steps(threshold, leak, reset, gain, rate)
    check_count("depth", depth)
    check_count("samples", samples)
    if gain is None:
        assert rate is not None
        gain = gain_for_rate(rate, leak=leak, threshold=threshold, steps=int(steps), reset=reset)
    neurons = _Neurons(gain, leak, threshold, int(steps), reset, int(samples))
    return _several_steps(neurons, int(depth))


def _one_step(threshold: float, gain: float | None, rate: float | None) -> DepthLaw:
    if not 0 <= threshold < math.inf:
        raise ValueError(f"threshold must be >= 0 and finite, got {threshold!r}")
    if rate is not None:
        check_positive("threshold", threshold)  # at 0 half of the neurons fire
        z = -float(ndtri(rate))
        variance = (threshold / z) ** 2
        gain = variance / rate
    elif gain is None:
        variance, gain = 1.0, 1 / float(firing_probability(threshold))
    else:
        points = fixed_points(gain, threshold)
        if not points:
            raise ValueError(f"gain must be at least the critical one to last, got {gain!r}")
        variance = points[-1].variance
    c = correlation_fixed_point(threshold, variance=variance)
    slope = float(correlation_slope(c, threshold, variance=variance))
    p = np.array([firing_probability(threshold, variance)])
    return DepthLaw(float(gain), p, c, slope, -1 / math.log(slope), 0.0)


def _many_steps(
    threshold: float, leak: float, reset: Reset, gain: float | None, rate: float | None
) -> DepthLaw:
    check_averages(leak, reset)
    if rate is None:
        assert gain is not None
        rate = _rate_of(gain / threshold**2)
    law = time_average(rate, threshold=threshold)
    return DepthLaw(
        law.gain, np.array([law.rate]), law.correlation, law.slope, law.depth_scale, 0.0
    )


def _rate_of(unit_gain: float) -> float:
    """Rate at which a gain G/θ² is that of `time_average`."""
    low, high = 0.06, 0.5 - 1e-7
    if not time_average(low).gain < unit_gain < time_average(high).gain:
        raise ValueError(
            "gain must be above 2 threshold^2, where many steps have a rate of their own "
            f"(at most {time_average(high).gain:.3g} threshold^2), got {unit_gain!r} threshold^2"
        )
    return float(brentq(lambda p: math.log(time_average(p).gain / unit_gain), low, high))


class _Neurons(NamedTuple):
    """The neurons of deep layers and the weights in front of them."""

    gain: float
    leak: float
    threshold: float
    steps: int
    reset: Reset
    samples: int

    def normals(self, layer: int) -> Tensor:
        """Independent normal numbers [2, T, samples], the same ones for a layer in every call."""
        generator = torch.Generator().manual_seed(layer)
        return torch.randn(2, self.steps, self.samples, generator=generator)

    def step(self, own: Tensor, crossed: Tensor, normals: Tensor) -> tuple[Tensor, Tensor]:
        """R and R̃ of the spikes behind weights, from those in front of them."""
        common = _root(self.gain * (own + crossed) / 2) @ normals[0]
        apart = _root(self.gain * (own - crossed) / 2) @ normals[1]
        x, y = (
            lif(current, leak=self.leak, threshold=self.threshold, reset=self.reset).spikes
            for current in (common + apart, common - apart)
        )
        moments = (x @ x.T + y @ y.T).double() / (2 * self.samples)
        pairs = (x @ y.T).double() / self.samples
        return moments, (pairs + pairs.T) / 2


def _root(covariance: Tensor) -> Tensor:
    """Its symmetric root, which changes little if it does: two copies stay together."""
    values, vectors = torch.linalg.eigh(covariance)
    return ((vectors * values.clamp(min=0).sqrt()) @ vectors.T).float()


def _several_steps(neurons: _Neurons, depth: int) -> DepthLaw:
    rate = 0.3
    own = torch.full((neurons.steps, neurons.steps), 1.2 * rate**2, dtype=torch.float64)
    own.fill_diagonal_(rate)
    crossed = own / 2
    for layer in range(_SETTLE):
        own, crossed = neurons.step(own, crossed, neurons.normals(layer))
    logarithms, rates, shares = [], [], []
    for layer in range(_SETTLE, _SETTLE + _REPEATS * depth):
        _check_alive(neurons, own)
        if (layer - _SETTLE) % depth == 0:
            part, logarithm = _PART * (own - crossed), 0.0
        normals = neurons.normals(layer)
        upper, lower = (neurons.step(own, crossed + d, normals)[1] for d in (part, -part))
        own, crossed = neurons.step(own, crossed, normals)
        grown = (upper - lower) / 2
        ratio = float(grown.sum() / part.sum())
        logarithm += math.log(ratio) if ratio > 0 else -math.inf
        part = grown * float(_PART * (own - crossed).sum() / grown.sum())
        rates.append(own.diagonal().numpy())
        shares.append(float(crossed.sum() / own.sum()))
        if (layer - _SETTLE) % depth == depth - 1:
            logarithms.append(logarithm / depth)
    mean = float(np.mean(logarithms))
    if not -math.inf < mean < 0:
        raise ValueError(
            f"samples must be more to follow a difference through {depth} layers, "
            f"got {neurons.samples!r}"
        )
    return DepthLaw(
        gain=neurons.gain,
        rate=np.mean(rates, axis=0),
        correlation=float(np.mean(shares)),
        slope=math.exp(mean),
        depth_scale=-1 / mean,
        standard_error=float(np.std(logarithms, ddof=1)) / math.sqrt(_REPEATS) / mean**2,
    )


def _check_alive(neurons: _Neurons, own: Tensor) -> None:
    """Refuse layers that do not repeat each other: no spikes, or a silent step among others."""
    rate = own.diagonal()
    if not rate.mean() > 1e-3 or rate.min() < 0.1 * rate.mean():
        raise ValueError(
            f"gain must let every step live: at {neurons.gain!r} step {int(rate.argmin())} of "
            f"{neurons.steps} falls silent in deep layers (threshold {neurons.threshold:.4g}, "
            f"leak {neurons.leak:.4g})"
        )
