"""What a membrane and its synapse make of a spike, and of the currents of a layer over time."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from snnlib._checks import check_positive, scalars

__all__ = ["Kernel", "discrete_kernel", "exponential_kernel", "synaptic_kernel"]


@scalars("steps", "synapse", "delay")
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


class Kernel(NamedTuple):
    """Response of the potential to one spike of weight 1.

    Attributes:
        integral: ε̄, over time (sum over steps in discrete time).
        square: ε̂, of the square likewise.
    """

    integral: float
    square: float


@scalars("tau_membrane", "tau_synapse")
def exponential_kernel(*, tau_membrane: float, tau_synapse: float) -> Kernel:
    r"""Integrals of the current-based double-exponential response.

    ε(t) = τ_s/(τ_m − τ_s) (e^(−t/τ_m) − e^(−t/τ_s)),    ε̄ = τ_s,    ε̂ = τ_s²/(2 (τ_m + τ_s)).

    Args:
        tau_membrane: τ_m > 0.
        tau_synapse: τ_s > 0 in the same unit; τ_s = τ_m is the limit.

    Returns:
        The kernel's integrals, in that unit.

    Raises:
        ValueError: If a time constant is not positive and finite.

    Source: Rossbroich et al. 2022, the authors' code.

    Example:
        >>> exponential_kernel(tau_membrane=20.0, tau_synapse=5.0)
        Kernel(integral=5.0, square=0.5)
    """
    membrane = check_positive("tau_membrane", tau_membrane)
    synapse = check_positive("tau_synapse", tau_synapse)
    return Kernel(synapse, synapse**2 / (2 * (membrane + synapse)))


@scalars("leak", "synapse", "input_gain", "delay")
def discrete_kernel(
    *,
    leak: float,
    synapse: float | None = None,
    input_gain: float = 1.0,
    delay: float = 0.0,
) -> Kernel:
    r"""Sums of the discrete response, without or with a synaptic current.

    The neuron is u[t] = β u[t−1] + λ c[t] with c[t] = κ c[t−1] + i[t] (κ = 0: no synapse), so

        ε[k] = λ (β^(k+1) − κ^(k+1))/(β − κ),      ε̄ = λ / ((1 − β)(1 − κ)),
        ε̂ = λ² (1 + βκ) / ((1 − β²)(1 − κ²)(1 − βκ)).

    A delay of whole steps changes neither; a fraction d of a step, u[t] = β u[t−1] +
    λ ((1−d) c[t] + d c[t−1]), multiplies ε̂ by 1 − 2d(1−d)(1 − (β + κ)/(1 + βκ)).

    Args:
        leak: β in [0, 1).
        synapse: κ in [0, 1), decay of the synaptic current per step; None: no synapse.
        input_gain: λ > 0.
        delay: Steps between an input and its effect, >= 0.

    Returns:
        The kernel's sums.

    Raises:
        ValueError: If an argument is outside its range.

    Source: derived here; without a synapse as in code of SpikeInit 2026.

    Example:
        >>> discrete_kernel(leak=0.5)
        Kernel(integral=2.0, square=1.3333333333)
        >>> response = [sum(0.5**j * 0.8 ** (k - j) for j in range(k + 1)) for k in range(200)]
        >>> kernel = discrete_kernel(leak=0.8, synapse=0.5)
        >>> abs(sum(response) - kernel.integral) < 1e-9
        True
        >>> abs(sum(e * e for e in response) - kernel.square) < 1e-9
        True
    """
    kappa = 0.0 if synapse is None else synapse
    for name, value in (("leak", leak), ("synapse", kappa)):
        if not 0 <= value < 1:
            raise ValueError(
                f"{name} must satisfy 0 <= {name} < 1 (the variance of the potential grows "
                f"without bound otherwise), got {value!r}; nearest feasible: "
                f"{0.0 if value < 0 else 'just below 1'}"
            )
    scale = check_positive("input_gain", input_gain)
    if not 0 <= delay < math.inf:
        raise ValueError(f"delay must be >= 0 and finite, got {delay!r}")
    square = (1 + leak * kappa) / ((1 - leak**2) * (1 - kappa**2) * (1 - leak * kappa))
    part = delay % 1
    # Neighbouring values of the response are correlated by (β + κ)/(1 + βκ).
    square *= 1 - 2 * part * (1 - part) * (1 - (leak + kappa) / (1 + leak * kappa))
    return Kernel(scale / ((1 - leak) * (1 - kappa)), scale**2 * square)
