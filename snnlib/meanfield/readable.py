r"""How deep classes can be read from layers that nobody trained: signal against finite width.

Two inputs of one class enter with potentials of correlation c_s, two of different classes with
c_d. The correlation map carries both up, and what a readout lives on is the difference of the
shares of common spikes, D_l = f(c_s) − f(c_d). In a layer of n neurons that fire with probability
p_i for an input of unknown class, v_i = p_i(1 − p_i), a readout that takes the nearest of the
means of m inputs per class sees it with

    d_l² = D_l²/(W_l/m + U_l),

    W_l = E[v²]/(np²) + λ² W_{l−1}        the means know their inputs, not their class,
    U_l = D_l E[v]/(np²) + λ² U_{l−1}     so does the input itself,

λ the slope of the map, which hands on what the layers below have mixed up. Both fall with n and
rise to a limit, while D_l falls by e every ξ layers.

Source: derived in the book's chapter on what is left of the input.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from snnlib._checks import check_count, check_positive, scalars
from snnlib.meanfield.correlation import correlation_map, correlation_slope
from snnlib.meanfield.variance import firing_probability

__all__ = ["readable_depth", "readout_accuracy"]

Array = NDArray[np.float64]

_NODES, _MASSES = np.polynomial.hermite_e.hermegauss(120)
_T = np.linspace(-9.0, 9.0, 2001)


@scalars("threshold", "variance", "within", "between", "width", "per_class", "classes", "layers")
def readout_accuracy(
    threshold: float,
    *,
    within: float,
    between: float = 0.0,
    width: int,
    per_class: int,
    classes: int = 10,
    variance: float = 1.0,
    layers: int = 10,
) -> Array:
    r"""Accuracy of the nearest class mean in each of some random layers, at one time step.

    .. math:: \int\varphi(t)\,\Phi(t+d_l)^{C-1}\,dt

    Args:
        threshold: θ ≥ 0.
        within: c_s, correlation of the potentials of two inputs of a class in the first layer.
        between: c_d of two classes, 0 ≤ c_d ≤ c_s < 1.
        width: n ≥ 1, neurons of a layer.
        per_class: m ≥ 1 inputs that a class mean is taken over.
        classes: C ≥ 2.
        variance: q > 0 of the potentials, a fixed point of the variance map.
        layers: L ≥ 1.

    Returns:
        [layer], for new inputs, in the mean over networks. Wide layers: at 300 neurons it is up to
        0.1 too high in the layers where it falls.

    Raises:
        ValueError: If an argument is outside its range.

    Source:
        Derived in the book.

    Example:
        Guessing is all that is left of classes in deep layers.

        >>> found = readout_accuracy(1.0, within=0.5, width=300, per_class=20, layers=12)
        >>> bool(found[0] > 0.99), round(float(found[-1]), 2)
        (True, 0.1)
    """
    check_positive("variance", variance)
    if not 0 <= between <= within < 1:
        raise ValueError(
            f"within and between must be 0 <= between <= within < 1, got {within!r} and {between!r}"
        )
    check_count("width", width)
    check_count("per_class", per_class)
    check_count("classes", classes, 2)
    check_count("layers", layers)
    z = threshold / math.sqrt(variance)
    rate = float(firing_probability(threshold, variance))
    means = inputs = 0.0
    same, other, found = within, between, []
    for layer in range(int(layers)):
        slope = correlation_slope(other, threshold, variance=variance) if layer else 0.0
        p = ndtr((math.sqrt(other) * _NODES - z) / math.sqrt(1 - other))
        v = p * (1 - p)
        same, other = (correlation_map(c, threshold, variance=variance) for c in (same, other))
        signal, unit = same - other, width * rate**2 * _MASSES.sum()
        means = (_MASSES @ v**2) / unit + slope**2 * means
        inputs = signal * rate * (_MASSES @ v) / unit + slope**2 * inputs
        d = signal / math.sqrt(means / per_class + inputs)
        density = np.exp(-(_T**2) / 2) / math.sqrt(2 * math.pi)
        found.append(float(np.trapezoid(density * ndtr(_T + d) ** (classes - 1), _T)))
    return np.array(found)


@scalars("threshold", "variance", "within", "between", "width", "per_class", "classes")
def readable_depth(
    threshold: float,
    *,
    within: float,
    between: float = 0.0,
    width: int,
    per_class: int,
    classes: int = 10,
    variance: float = 1.0,
) -> float:
    r"""Depth at which `readout_accuracy` is midway between certainty and guessing.

    It grows with ξ and with the logarithm of √(nm) only: what is deeper has to be learned from
    below, whatever the readout.

    Args:
        threshold: As in `readout_accuracy`.
        within: Likewise.
        between: Likewise.
        width: Likewise.
        per_class: Likewise.
        classes: Likewise.
        variance: Likewise.

    Returns:
        Layers, interpolated; 0 if the first layer is below it.

    Raises:
        ValueError: As in `readout_accuracy`.

    Source:
        Derived in the book.

    Example:
        A hundred times as many neurons add three layers or four.

        >>> narrow, wide = (
        ...     readable_depth(1.0, within=0.5, width=n, per_class=100) for n in (300, 30_000)
        ... )
        >>> 3 < wide - narrow < 4
        True
    """
    found = readout_accuracy(
        threshold,
        within=within,
        between=between,
        width=width,
        per_class=per_class,
        classes=classes,
        variance=variance,
        layers=60,
    )
    level = (1 + 1 / classes) / 2
    above = np.flatnonzero(found > level)
    if not len(above):
        return 0.0
    k = int(above[-1])
    return k + 1 + float((found[k] - level) / (found[k] - found[k + 1]))
