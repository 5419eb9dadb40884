r"""What one update changes: what a surrogate promises of it, and what the spikes keep.

Wide layers at one time step, potentials u ~ N(0, q) in each, gain G = q/P(u > θ), one input. The
gradient of a spike is h ~ N(0, v), that of its current b = σ'(u − θ) h. The first update of Adam
moves every weight of an active input against the sign of its gradient, and so each current by
−A sign(h), A = r√q. To first order the surrogate promises that this lowers the loss by A E|b| for
each neuron. What happens instead is a matter of crossings. With x' the spike after the update,

    R = −E[h x']/E[h²],    currents above move by −G R b,

because a weight w and the gradient h = Σ w b that came down through it are Gaussian together.  So
a promise E[σ'²] of a layer in between becomes p_u(θ) σ'(0), and per layer the readout gets

    κ = p_u(θ) σ'(0)/E[σ'(u − θ)²]

of what it was promised, less what is lost because old and new potentials agree in part only.

Source: derived in the book's chapter on what one update changes.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

from snnlib._checks import check_count, check_kind, check_positive, scalars
from snnlib.meanfield.variance import firing_probability
from snnlib.surrogate import Surrogate

__all__ = ["OneUpdate", "one_update", "promise_kept"]

Array = NDArray[np.float64]

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(12)
_END = 8.5  # standard deviations


class OneUpdate(NamedTuple):
    """Entry k is about the layer k + 1, or about a readout behind it; lengths in units of √q.

    Attributes:
        promised: How far the currents behind the layer move along the gradient by the surrogate.
        moved: How far they do.
        likeness: Share of the layer's spikes that the update leaves where they were.
        rate: Firing probability after the update.
    """

    promised: Array
    moved: Array
    likeness: Array
    rate: Array

    @property
    def kept(self) -> Array:
        """Moved over promised."""
        return self.moved / self.promised


def promise_kept(surrogate: Surrogate, threshold: ArrayLike, *, variance: ArrayLike = 1.0) -> Any:
    r"""Factor κ of a layer between what is updated and what is read, for small updates.

    .. math:: \kappa=\frac{p_u(\theta)\,\sigma'(0)}{E[\sigma'(u-\theta)^2]},\qquad u\sim N(0,q)

    Below 1 the surrogate promises more than spikes do, above 1 less. At the height at which
    gradients keep their size, G E[σ'²] = 1, it falls with the width of the surrogate to
    :math:`\sqrt{f'(0)}`, f the `correlation_map`.

    Args:
        surrogate: σ'.
        threshold: θ ≥ 0, a number or an array.
        variance: q > 0 of the potentials.

    Returns:
        A float for scalar arguments, else an array of the broadcast shape.

    Raises:
        ValueError: If an argument is outside its range.

    Source:
        Derived in the book.

    Example:
        A surrogate far wider than the potentials promises its height from everywhere:

        >>> from scipy.stats import norm
        >>> wide = Surrogate("gaussian", dampening=0.4, sharpness=1e-4)
        >>> bool(abs(promise_kept(wide, 0.8) / (norm.pdf(0.8) / 0.4) - 1) < 1e-6)
        True
    """
    check_kind("surrogate", surrogate, Surrogate)
    theta, q = np.asarray(threshold, np.float64), np.asarray(variance, np.float64)
    if not np.all((theta >= 0) & np.isfinite(theta)):
        raise ValueError(f"threshold must be >= 0 and finite, got {threshold!r}")
    if not np.all((q > 0) & np.isfinite(q)):
        raise ValueError(f"variance must be positive and finite, got {variance!r}")
    density = np.exp(-(theta**2) / (2 * q)) / np.sqrt(2 * np.pi * q)
    square = np.asarray(surrogate.moment(2, theta, std=np.sqrt(q)))
    found = density * surrogate.dampening / square
    return float(found) if np.ndim(found) == 0 else found


@scalars("threshold", "variance", "move", "layers")
def one_update(
    surrogate: Surrogate,
    threshold: float,
    *,
    variance: float = 1.0,
    move: float = 0.04,
    layers: int = 1,
    every: bool = True,
) -> OneUpdate:
    r"""One update of Adam from rest, layer by layer, at one time step and infinite width.

    .. math:: x'=1\{u'-A\,k\,\mathrm{sign}\,h-B\,\sigma'(u-\theta)\,h>\theta\},\qquad
              B_{l+1}=-G\,E[h x']/E[h^2],

    u and u' Gaussian with the variances and the covariance that G makes of the spikes below, k the
    share of these that stay; integrated over u and h, to a relative error below 1e-4.

    Args:
        surrogate: σ'.
        threshold: θ ≥ 0.
        variance: q > 0 of the potentials, the same in all layers: G = q/P(u > θ).
        move: r = A/√q in (0, 2], by which the update moves a current of a layer by itself.
        layers: L ≥ 1.
        every: Whether the weights of all layers are updated, or those of the first one only.

    Returns:
        A `OneUpdate`.

    Raises:
        ValueError: If an argument is outside its range.

    Source:
        Derived in the book.

    Example:
        Behind one layer a small update keeps p(θ)/E[σ'] of its promise, behind two κ of that:

        >>> form = Surrogate("arctan", sharpness=0.25)
        >>> found = one_update(form, 0.8, move=1e-7, layers=2, every=False)
        >>> from scipy.stats import norm
        >>> first = norm.pdf(0.8) / form.moment(1, 0.8)
        >>> expected = first * np.array([1.0, promise_kept(form, 0.8)])
        >>> bool(np.allclose(found.kept, expected, rtol=2e-3))
        True
    """
    check_kind("surrogate", surrogate, Surrogate)
    if not 0 <= threshold < math.inf:
        raise ValueError(f"threshold must be >= 0 and finite, got {threshold!r}")
    check_positive("variance", variance)
    if not 0 < move <= 2:
        raise ValueError(f"move must be in (0, 2], got {move!r}")
    check_count("layers", layers)
    z = threshold / math.sqrt(variance)  # all lengths in units of √q from here on
    rate = float(firing_probability(z))
    if not rate > 0:
        raise ValueError(
            f"threshold must be one that some neuron reaches, got {z:.3g} standard deviations"
        )
    unit = math.sqrt(variance)
    scaled = Surrogate(
        surrogate.shape, surrogate.dampening * unit, surrogate.sharpness * unit, surrogate.tail
    )
    layer = _Layer(scaled, z, rate, move)
    state, found = _State(0.0, 0.0, 1.0, rate, rate), []
    for k in range(int(layers)):
        scale = math.sqrt(state.h / rate)  # of G R b behind the layer, E[h²] = G E[b²]
        state = layer.first(state) if k == 0 else layer.next(state, move if every else 0.0)
        found.append((state.promise * scale, state.move * scale, state.both / rate, state.rate))
    return OneUpdate(*(np.array(column) for column in zip(*found, strict=True)))


class _State(NamedTuple):
    """In front of a layer.

    Attributes:
        promise: R of the layer below by the surrogate.
        move: R of it.
        h: v, variance of the gradients of the layer's spikes.
        both: Share of the neurons below that fire before and after.
        rate: Share that fire after.
    """

    promise: float
    move: float
    h: float
    both: float
    rate: float


class _Layer:
    """Neurons of potentials N(0, 1) and their integrals over u and h."""

    def __init__(self, surrogate: Surrogate, z: float, rate: float, move: float) -> None:
        self.z, self.rate, self.amount = z, rate, move
        edges = [1 / (2 * surrogate.sharpness), 1 / surrogate.sharpness]
        self.u, mass = _panels(z, edges)
        self.weight = mass * np.exp(-(self.u**2) / 2) / math.sqrt(2 * math.pi)
        self.slope = surrogate.derivative(torch.from_numpy(self.u - z)).numpy()
        self.mean = float(self.weight @ self.slope)
        self.square = float(self.weight @ self.slope**2)
        self.h, mass = _panels(0.0, [])
        self.h_weight = mass * np.exp(-(self.h**2) / 2) / math.sqrt(2 * math.pi)

    def first(self, state: _State) -> _State:
        """The layer in front of which nothing has changed."""
        above, below = (float(ndtr(x - self.z)) for x in (self.amount, -self.amount))
        mean_h = math.sqrt(2 / math.pi)  # E|h|, E[h²] = 1
        return _State(
            promise=self.amount * self.mean * mean_h,
            move=(above - below) / 2 * mean_h,
            h=state.h * self.rate / self.square,
            both=(self.rate + below) / 2,
            rate=(above + below) / 2,
        )

    def next(self, state: _State, move: float) -> _State:
        """A layer above it; h of unit variance in the integrals, √v outside."""
        v, gain = math.sqrt(state.h), 1 / self.rate
        deviation = math.sqrt(gain * state.rate)
        alike = state.both / math.sqrt(self.rate * state.rate)
        own = move * state.both / self.rate * np.sign(self.h)
        handed = gain * state.move * v * self.slope[:, None] * self.h
        drift = alike * deviation * self.u[:, None] - own - handed - self.z
        fires = ndtr(drift / (deviation * math.sqrt((1 - alike) * (1 + alike))))
        over_h = fires @ self.h_weight
        response = -self.weight @ (fires @ (self.h_weight * self.h)) / v
        mean_h = math.sqrt(2 / math.pi) / v
        return _State(
            promise=move * self.mean * mean_h + gain * state.promise * self.square,
            move=float(response),
            h=state.h * self.rate / self.square,
            both=float(self.weight[self.u > self.z] @ over_h[self.u > self.z]),
            rate=float(self.weight @ over_h),
        )


def _panels(centre: float, edges: list[float]) -> tuple[Array, Array]:
    """Nodes and weights on ±8.5, denser towards a centre, where integrands jump."""
    steps = np.concatenate([2.0 ** np.arange(-20, 5), edges])
    ends = np.concatenate([centre - steps, [centre], centre + steps, [-_END, _END]])
    ends = np.unique(np.clip(ends, -_END, _END))
    half, middle = np.diff(ends) / 2, (ends[1:] + ends[:-1]) / 2
    return (middle[:, None] + half[:, None] * _NODES).ravel(), (half[:, None] * _WEIGHTS).ravel()
