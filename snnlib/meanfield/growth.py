"""Growth of the gradient's variance from layer to layer, at finite width."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from snnlib._checks import scalars
from snnlib.meanfield.finite_width import spike_count_law
from snnlib.surrogate import Surrogate


@dataclass(frozen=True)
class LayerGrowth:
    """What a deep network of one width and gain does to the variance of the gradient.

    Attributes:
        variance: Var[u] of the last layer, given that the network is not silent.
        factor: mean factor of Var[∂L/∂u] per layer, towards the input.
        typical: exponential of the mean logarithm of that factor, for one sample.
    """

    variance: float
    factor: float
    typical: float


@scalars("width", "depth", "threshold", "gain")
def layer_growth(
    surrogate: Surrogate, *, width: int, depth: int, threshold: float, gain: float
) -> LayerGrowth:
    r"""Factor of the gradient's variance per layer at the first time step.

    With the exact law of the spike count K (`spike_count_law`) the mean factor is

    .. math:: G\,E_K\big[E[\sigma'(u)^2]\big]\,\Big(1 + \frac{E[(z^2 - 1)\sigma'^2]}
        {E[\sigma'^2]}\,\frac{E[\sigma'^2; u > \theta]}{E[\sigma'^2]}\,\frac{1}{E[K]}\Big),
        \qquad u = z\sqrt{G K/n},

    whose second term is the weights' dependence on the potentials that they have made. The typical
    factor is smaller by :math:`e^{E\ln S}`, with S the mean of n independent terms
    :math:`\sigma'^2\chi^2/E[\sigma'^2]` and :math:`E\ln S=\int_0^\infty(e^{-t}-\phi(t)^n)\,dt/t`
    from the Laplace transform φ of one term over n.

    Args:
        surrogate: derivative of the spike.
        width: n ≥ 1 neurons in every layer.
        depth: number of weight layers L ≥ 0 after which the spike count is taken.
        threshold: θ ≥ 0.
        gain: G = n·Var[w] > 0.

    Returns:
        A `LayerGrowth`.

    Raises:
        ValueError: if an argument is outside its range.

    Source:
        Derived in the book.

    Example:
        Where the slope is 0.2 everywhere, the factor is G·0.2² on average; typically it is less,
        by the mean logarithm of a χ² over its degrees of freedom.

        >>> from scipy.special import digamma
        >>> flat = Surrogate("rectangular", dampening=0.2, sharpness=1e-3)
        >>> found = layer_growth(flat, width=50, depth=5, threshold=1.0, gain=20.0)
        >>> round(float(found.factor), 6)
        0.8
        >>> bool(abs(math.log(found.typical / 0.8) - digamma(25) + math.log(25)) < 1e-4)
        True
    """
    if not isinstance(surrogate, Surrogate):
        raise ValueError(f"surrogate must be a snnlib.surrogate.Surrogate, got {surrogate!r}")
    law = spike_count_law(width=width, depth=depth, threshold=threshold, gain=gain)
    per = gain / width
    counts = np.arange(1, width + 1)
    chance = law.probability[-1][1:]
    chance = chance / chance.sum()
    kept = chance > 1e-12
    counts, chance = counts[kept], chance[kept]
    slopes = np.array([surrogate.moment(2, threshold, 0.0, s) for s in np.sqrt(per * counts)])
    variance = float(chance @ (per * counts))
    z = np.linspace(-8, 8, 2001)
    mass = np.exp(-(z**2) / 2) / np.exp(-(z**2) / 2).sum()
    u = z * math.sqrt(variance)
    squares = np.asarray(surrogate.derivative(u - threshold)) ** 2
    firing = (mass * squares) @ (u > threshold) / (mass @ squares)
    share = (mass * squares) @ (z**2 - 1) / (mass @ squares) * firing
    factor = gain * float(chance @ slopes) * (1 + share * per / variance)
    relative = squares / (mass @ squares)
    found = LayerGrowth(variance, factor, factor * _typical(relative, mass, width))
    if not all(map(math.isfinite, (found.variance, found.factor, found.typical))):
        raise ValueError(
            f"threshold must be one that some neuron reaches, got {threshold!r} at gain {gain!r}"
        )
    return found


def _typical(terms: np.ndarray, mass: np.ndarray, width: int) -> float:
    """Exponential of E ln S, S the mean of `width` independent terms times squared normals."""
    log_t = np.linspace(-12, 16, 561)
    t = np.exp(log_t)
    phi = np.array([mass @ (1 + 2 * a * terms / width) ** -0.5 for a in t])
    return math.exp(float((np.exp(-t) - phi**width).sum() * (log_t[1] - log_t[0])))
