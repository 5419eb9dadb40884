"""What a synaptic current makes of the currents of a layer, as a matrix over time steps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["synaptic_kernel"]


def synaptic_kernel(steps: int, synapse: float = 0.0, delay: float = 0.0) -> NDArray[np.float64]:
    r"""Matrix K over steps that turns incoming currents i into what charges the membrane.

    With the synaptic current s[t] = α s[t−1] + i[t],

        (K i)[t] = (1 − d) s[t] + d s[t−1],

    so that currents of covariance C charge the membrane with covariance K C Kᵀ.

    Args:
        steps: number of time steps T ≥ 1.
        synapse: share α in [0, 1] of the synaptic current that is kept each step; 0 is none.
        delay: d in [0, 1], how much of it comes one step late.

    Returns:
        K [T, T], lower triangular.

    Raises:
        ValueError: if an argument is outside its range.

    Source:
        `snnlib.neurons.current_lif`.

    Example:
        >>> synaptic_kernel(3, synapse=0.5).tolist()
        [[1.0, 0.0, 0.0], [0.5, 1.0, 0.0], [0.25, 0.5, 1.0]]
        >>> synaptic_kernel(2, delay=1.0).tolist()
        [[0.0, 0.0], [1.0, 0.0]]
    """
    if steps < 1 or int(steps) != steps:
        raise ValueError(f"steps must be an integer >= 1, got {steps!r}")
    for name, value in (("synapse", synapse), ("delay", delay)):
        if not 0 <= value <= 1:
            raise ValueError(f"{name} must be in [0, 1], got {value!r}")
    lag = np.arange(steps)[:, None] - np.arange(steps)
    kernel = np.where(lag >= 0, float(synapse) ** np.maximum(lag, 0), 0.0)
    late = np.vstack([np.zeros((1, steps)), kernel[:-1]])
    return np.asarray((1 - delay) * kernel + delay * late)
