r"""How fast a gradient grows in time through weights that stay and slopes that change.

In wide layers with weights of mean 0 the second moment of a gradient is a sum over pairs of paths
that pass the same weights in the same order, each at times of its own: λ_t = β λ_{t+1} + σ'_t W^T
λ_{t+1}.  A weight that one path passes d steps later than the other contributes g C(d), with the
correlation C(d) = E[σ'_t σ'_{t+d}] of one neuron's slopes.  A pair of paths is a walk of d, and
the sum grows like r^{2k}, where

    (r² + β²) u(d) = β r (u(d − 1) + u(d + 1)) + g C(|d|) u(d)    has a solution that decays.

Slopes that stay, C(d) = E[σ'²], give r = β + √(g E[σ'²]); slopes drawn anew at each step give
r² = β² + g E² + √(4 β² g E² + g² (S − E²)²) with E = E[σ'] and S = E[σ'²].

Source: derived in the book.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.linalg import eigvalsh
from scipy.optimize import brentq
from torch import Tensor

from snnlib._checks import check_from_zero, scalars

__all__ = ["growth_with_memory", "slope_correlation"]


@scalars("leak", "gain")
def growth_with_memory(*, leak: float, gain: float, correlation: Sequence[float]) -> float:
    r"""Growth per step of a gradient in time, r of the module's docstring.

    r² is the limit of E[λ²_{t−k}]^{1/k} for a layer that is wide compared with the number of
    steps, slopes independent of the weights and from neuron to neuron, and a detached reset.

    Args:
        leak: β in [0, 1].
        gain: g = (n − 1) E[w²] >= 0 of weights of mean 0.
        correlation: C(0), C(1), ... of one neuron's slopes; the last holds for all longer lags.
            [S] is slopes that stay, [S, E²] slopes drawn anew at each step.

    Returns:
        r.  Where E² <= C(d) <= C(0), it lies between those of slopes drawn anew and of slopes
        that stay.

    Raises:
        ValueError: If the leak or the gain is outside its range, or the correlation is empty or
            has a negative entry or one that is no number.

    Source: derived in the book.

    Example:
        >>> growth_with_memory(leak=0.95, gain=1.0, correlation=[0.04])  # β + √(g S)
        1.15
        >>> round(growth_with_memory(leak=0.95, gain=1.0, correlation=[0.1, 0.032**2]), 4)
        1.0098
    """
    check_from_zero("leak", leak)
    if leak > 1:
        raise ValueError(f"leak must be in [0, 1], got {leak!r}")
    check_from_zero("gain", gain)
    try:
        lags = gain * np.asarray(correlation, dtype=float)
    except (TypeError, ValueError):
        raise ValueError(f"correlation must be numbers C(0), ..., got {correlation!r}") from None
    if lags.ndim != 1 or not lags.size:
        raise ValueError(f"correlation must be C(0), C(1), ..., got {correlation!r}")
    if not (np.isfinite(lags).all() and (lags >= 0).all()):
        raise ValueError(f"correlation must be finite and >= 0, got {correlation!r}")
    low, high = leak + math.sqrt(lags[-1]), leak + math.sqrt(lags.max())
    if not leak:
        return high
    if high == low or _above(low, leak, lags) <= 0:  # nothing holds a pair of paths together
        return low
    if _above(high, leak, lags) >= 0:  # by rounding
        return high
    return float(brentq(_above, low, high, args=(leak, lags), xtol=1e-14, rtol=1e-13))


def _above(r: float, leak: float, lags: np.ndarray) -> float:
    """Largest eigenvalue of the walk of d, less r² + β²: even solutions, folded at 0."""
    hop = leak * r
    last = (r * r + leak * leak - lags[-1]) / hop  # = ρ + 1/ρ of the decaying tail
    tail = (last - math.sqrt(max(last * last - 4, 0.0))) / 2
    size = lags.size - 1  # lags 0 ... size − 1; beyond them u(d) falls by ρ at each step
    walk = np.diag(lags[:-1]) + np.diag(np.full(size - 1, hop), -1)  # symmetric: the lower half
    if size > 1:
        walk[1, 0] = math.sqrt(2) * hop
    walk[-1, -1] += (2 if size == 1 else 1) * hop * tail
    return float(eigvalsh(walk)[-1] - (r * r + leak * leak))


def slope_correlation(slopes: Tensor, lags: int) -> list[float]:
    r"""C(d) = E[σ'_t σ'_{t+d}] of one neuron's slopes, for `growth_with_memory`.

    Args:
        slopes: σ', [T, ..., n].
        lags: Longest d, 0 <= d < T.

    Returns:
        C(0) ... C(lags), each the mean over all pairs of steps, samples and neurons.

    Raises:
        ValueError: If there are no slopes, one of them is not finite, or lags is outside [0, T).

    Example:
        >>> import torch
        >>> slope_correlation(torch.tensor([[1.0], [0.0], [1.0]]), 2)
        [0.6666..., 0.0, 1.0]
    """
    if not isinstance(slopes, Tensor):
        raise ValueError(f"slopes must be a tensor, got {type(slopes).__name__} {slopes!r}")
    if slopes.ndim == 0 or slopes.numel() == 0 or not bool(slopes.isfinite().all()):
        raise ValueError(f"slopes must be finite and [T, ..., n], got {tuple(slopes.shape)}")
    steps = len(slopes)
    if not isinstance(lags, int) or not 0 <= lags < steps:
        raise ValueError(f"lags must be an integer in [0, {steps}), got {lags!r}")
    exact = slopes.detach().double()
    return [float((exact[d:] * exact[: steps - d]).mean()) for d in range(lags + 1)]
