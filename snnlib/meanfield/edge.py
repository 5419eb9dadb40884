r"""Spectral radius of a recurrent layer's step back, for slopes that differ but stay.

The matrix of one step is J = diag(β − ρ σ'_i) + diag(σ'_i) W^T.  For wide layers with weights of
mean 0 that are independent of the slopes, its eigenvalues fill where

    (n − 1) E[w²] E[σ'²/|z − β + ρ σ'|²] >= 1.

For equal slopes the radius is |β − ρ σ'| + √(g σ'²), for a detached reset β + √(g E[σ'²]); for
others it is not |β − ρ E[σ']| + √(g E[σ'²]).

Source: derived in the book.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import brentq
from torch import Tensor

from snnlib._checks import check_from_zero, scalars

__all__ = ["spectral_radius"]


@scalars("leak", "gain", "reset")
def spectral_radius(slopes: Tensor, *, leak: float, gain: float, reset: float = 0.0) -> float:
    r"""Largest |z| at the edge g E[σ'²/|z − β + ρ σ'|²] = 1, or β where a slope is 0.

    Args:
        slopes: σ' >= 0 of the neurons at one step, any shape.
        leak: β in [0, 1].
        gain: g = (n − 1) E[w²] >= 0 of weights of mean 0.
        reset: ρ >= 0 by which the reset multiplies a slope on the way back: the threshold for
            reset "subtract", 0 for a detached one.

    Returns:
        The radius.  Over time it is the growth of gradients for slopes that stay, and for no
        others; see `growth_with_memory`.

    Raises:
        ValueError: If a number is outside its range, or the slopes are no tensor, none at all, or
            one of them is negative or not finite.

    Source: derived in the book.

    Example:
        Half of the slopes 0 and half 1; from the moments alone |0.5 − 0.5| + √(2 · 0.5) = 1.

        >>> import torch
        >>> round(spectral_radius(torch.tensor([0.0, 1.0]), leak=0.5, gain=2.0, reset=1.0), 9)
        1.5
    """
    check_from_zero("leak", leak)
    if leak > 1:
        raise ValueError(f"leak must be in [0, 1], got {leak!r}")
    check_from_zero("gain", gain)
    check_from_zero("reset", reset)
    if not isinstance(slopes, Tensor):
        raise ValueError(f"slopes must be a tensor, got {type(slopes).__name__} {slopes!r}")
    values = slopes.detach().double().flatten().numpy(force=True)
    if not values.size or not (np.isfinite(values).all() and (values >= 0).all()):
        raise ValueError(f"slopes must be finite and >= 0, at least one, got {slopes!r}")
    own = leak - reset * values
    squares = gain * values**2 / values.size
    inside = float(np.abs(own).max())
    active = squares > 0
    if not active.any():
        return inside
    own_active, squares = own[active], squares[active]
    edges = [inside]
    for sign in (1, -1):
        distance = own_active - sign * (sign * own_active).max()  # from the outermost neuron

        def beyond(
            y: float, distance: np.ndarray = distance, sign: int = sign
        ) -> float:  # decreases
            return float((squares / (y - sign * distance) ** 2).sum() - 1)

        nearest = math.sqrt(squares[np.argmin(np.abs(distance))])
        farthest = math.sqrt(squares.sum())
        y = nearest
        if beyond(nearest) > 0 > beyond(farthest):
            y = brentq(beyond, nearest, farthest, rtol=1e-14)
        elif beyond(farthest) >= 0:
            y = farthest
        edges.append(abs(sign * (sign * own_active).max() + sign * y))
    return float(max(edges))
