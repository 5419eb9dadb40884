r"""The learning rate of Adam that goes with a gain: steps in units of what a current is.

The first update of Adam moves each weight by η, and a current of one input x by at most η Σ|x_j|,
which it reaches where all weights agree. Against the deviation √(G E[x²]) of the current that is

    r = η n E|x|/√(G E[x²]),    η = r √(G E[x²])/(n E|x|),

for spikes η = r √(G/p)/n. So a rate belongs to a gain, a width and an input: thresholds, weights
and η may be scaled together, and nothing changes. The depth plays no part: at one step, what an
update of all layers changes in the readout does not grow with their number.

Source: derived in the book's chapter on what one update changes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["MOVE", "learning_rate"]

MOVE = 1 / 25
"""r of "balanced", chosen on one network of 20 layers of 256 neurons over 4 steps, not derived."""


def learning_rate(
    gain: ArrayLike,
    fan_in: ArrayLike,
    *,
    second_moment: ArrayLike,
    size: ArrayLike | None = None,
    move: ArrayLike = MOVE,
) -> Any:
    r"""Learning rate at which an update of Adam moves a current by a part of its deviation.

    .. math:: \eta=r\,\frac{\sqrt{G\,E[x^2]}}{n\,E|x|}

    Args:
        gain: G = n·E[w²] ≥ 0 of the weights.
        fan_in: n ≥ 1.
        second_moment: E[x²] > 0 of what enters them; the rate for spikes of height 1.
        size: E|x|, at most √E[x²]; None: spikes of height 1, E|x| = E[x²].
        move: r > 0.

    Returns:
        A float for scalar arguments, else an array of the broadcast shape.

    Raises:
        ValueError: If an argument is outside its range.

    Source:
        Derived in the book.

    Example:
        Twice the threshold asks for four times the gain, and so for twice the rate.

        >>> once = learning_rate(6.3, 400, second_moment=0.16)
        >>> bool(abs(learning_rate(4 * 6.3, 400, second_moment=0.16) / once - 2) < 1e-12)
        True
        >>> round(once, 6)
        0.000627
    """
    moments = np.asarray(second_moment, np.float64)
    mean = moments if size is None else np.asarray(size, np.float64)
    given = {
        "gain": (gain, 0.0),
        "fan_in": (fan_in, 1.0),
        "second_moment": (moments, np.finfo(float).tiny),
        "size": (mean, np.finfo(float).tiny),
        "move": (move, np.finfo(float).tiny),
    }
    for name, (value, least) in given.items():
        array = np.asarray(value, np.float64)
        if not np.all((array >= least) & np.isfinite(array)):
            word = "positive" if 0 < least < 1 else f">= {least:g}"
            raise ValueError(f"{name} must be {word} and finite, got {value!r}")
    if not np.all(mean <= np.sqrt(moments) * (1 + 1e-9)):
        raise ValueError(f"size must be at most the square root of second_moment, got {size!r}")
    deviation = np.sqrt(np.asarray(gain, np.float64) * moments)
    found = np.asarray(move) * deviation / (np.asarray(fan_in, np.float64) * mean)
    return float(found) if np.ndim(found) == 0 else found
