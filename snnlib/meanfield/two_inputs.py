r"""Two inputs through one infinitely wide layer, forward, and their gradients back.

The spikes x of one input and x̃ of another have the second moments over T steps

    R(s, t) = E[x_s x_t],    R̃(s, t) = E[x_s x̃_t].

Weights of gain G = n·Var[w] turn them into Gaussian currents of covariance G·R within an input
and G·R̃ across the two, these into spikes, and so on: `two_input_map`. On the way back the
gradients a of the spikes and b of the currents have second moments of the same form. With the
reset detached, weights that are independent of what comes back, and K(s, t) = β^(t-s) for t ≥ s,

    B = K (E[σ'_s σ'_t] ∘ A) Kᵀ,    A_below = G·B,

and across the two inputs the same with σ̃' in one place: `two_input_gradient`. The share of a
gradient that two inputs have in common is the *coherence* tr B̃ / tr B.

Source: derived in the book's chapter on what predicts training.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from snnlib._checks import check_kind, real_tensor, scalars
from snnlib.neurons import lif
from snnlib.neurons.lif import Reset
from snnlib.surrogate import Surrogate

__all__ = ["TwoInputStep", "TwoInputs", "spike_moments", "two_input_gradient", "two_input_map"]

Array = NDArray[np.float64]


class TwoInputs(NamedTuple):
    """Second moments over T steps of a signal that two inputs cause in the same neurons.

    Attributes:
        own: [T, T], of one input with itself, E[x_s x_t].
        crossed: [T, T], of one input with the other, E[x_s x̃_t].
    """

    own: Array
    crossed: Array

    @property
    def coherence(self) -> float:
        """Cosine of the two signals over all steps, tr(crossed)/tr(own); NaN for no signal."""
        size = float(np.trace(self.own))
        return float(np.trace(self.crossed)) / size if size else float("nan")


class TwoInputStep(NamedTuple):
    """What one layer makes of two inputs.

    Attributes:
        spikes: Second moments of its spikes; the diagonal of `own` is the rate of each step.
        slopes: Second moments of its surrogate derivatives, E[σ'_s σ'_t] and E[σ'_s σ̃'_t].
    """

    spikes: TwoInputs
    slopes: TwoInputs


def spike_moments(spikes: Tensor) -> TwoInputs:
    r"""Second moments of measured spikes: of each input, and of any two of a batch.

    .. math:: R(s,t)=\frac1{BN}\sum_{b,i}x_{sbi}x_{tbi}, \qquad
              \tilde R(s,t)=\frac1{B(B-1)N}\sum_{b\ne b',i}x_{sbi}x_{tb'i}

    Args:
        spikes: [T, B, N], of B ≥ 2 inputs in N neurons.

    Returns:
        Their moments.

    Raises:
        ValueError: If `spikes` has another shape or fewer than two inputs.

    Example:
        >>> spikes = torch.tensor([[[1.0, 0.0], [1.0, 1.0]]])
        >>> moments = spike_moments(spikes)
        >>> moments.own.tolist(), moments.crossed.tolist()
        ([[0.75]], [[0.5]])
    """
    real_tensor("spikes", spikes)
    if spikes.ndim != 3 or spikes.shape[1] < 2 or spikes.shape[2] < 1:
        raise ValueError(f"spikes must be [T, inputs >= 2, neurons], got {tuple(spikes.shape)}")
    spikes = spikes.double()
    count, size = spikes.shape[1:]
    own = torch.einsum("sbi,tbi->st", spikes, spikes) / (count * size)
    mean = spikes.mean(1)
    crossed = (count * mean @ mean.T / size - own) / (count - 1)
    return TwoInputs(own.numpy(), crossed.numpy())


@scalars("gain", "leak", "threshold")
def two_input_map(
    moments: TwoInputs,
    gain: float,
    *,
    leak: float,
    threshold: float,
    surrogate: Surrogate | None = None,
    reset: Reset = "subtract",
    samples: int = 4096,
    generator: torch.Generator | None = None,
) -> TwoInputStep:
    r"""One layer of LIF neurons that two inputs drive through the same random weights.

    Currents are jointly Gaussian over steps and the two inputs, of mean 0 and covariance

    .. math:: G\begin{pmatrix}R&\tilde R\\ \tilde R&R\end{pmatrix};

    the expectations over a neuron are Monte Carlo means, leak and reset included.

    Args:
        moments: R and R̃ [T, T] of the spikes below the weights.
        gain: G = n·Var[w] > 0 of the weights in front of the layer.
        leak: β in [0, 1].
        threshold: θ ≥ 0.
        surrogate: whose derivatives σ'(u − θ) are averaged; None is `Surrogate("arctan")`.
        reset: as in `snnlib.neurons.lif`.
        samples: neurons that are simulated, each for both inputs.
        generator: random numbers; None is torch's global generator.

    Returns:
        A `TwoInputStep`.

    Raises:
        ValueError: If the moments are no matrices of one size or no covariance of two inputs,
            `gain` is not positive and finite, `samples` is below 1, or a setting of the neuron is
            outside its range.

    Source:
        Derived in the book.

    Example:
        Two inputs that cause the same spikes stay one.

        >>> same = TwoInputs(np.array([[0.3]]), np.array([[0.3]]))
        >>> step = two_input_map(same, 6.0, leak=0.5, threshold=1.0,
        ...                      generator=torch.Generator().manual_seed(0))
        >>> round(step.spikes.coherence, 12), round(step.slopes.coherence, 6)
        (1.0, 1.0)
    """
    current = pair_currents(moments, gain, samples, generator)
    surrogate = Surrogate("arctan") if surrogate is None else surrogate
    trace = lif(current, leak=leak, threshold=threshold, reset=reset)
    slopes = surrogate.derivative(trace.membrane - threshold)
    return TwoInputStep(pair_moments(trace.spikes), pair_moments(slopes))


@scalars("leak")
def two_input_gradient(gradient: TwoInputs, slopes: TwoInputs, *, leak: float) -> TwoInputs:
    r"""Second moments of the gradients of a layer's currents, from those of its spikes.

    .. math:: B = K\left(S\circ A\right)K^{\top}, \qquad K_{st}=\beta^{t-s}\ (t\ge s)

    for the reset detached: :math:`b[s]=\sum_{t\ge s}\beta^{t-s}\,\sigma'[t]\,a[t]`. The gradients
    of the spikes below are A = G·B, with G = n_above·E[w²] of the weights between.

    Args:
        gradient: A and Ã [T, T] of the spikes' gradients.
        slopes: S and S̃ [T, T] of the surrogate derivatives, see `two_input_map`.
        leak: β in [0, 1].

    Returns:
        B and B̃ [T, T].

    Raises:
        ValueError: If the matrices are not square and of one size, or `leak` is not in [0, 1].

    Source:
        Derived in the book.

    Example:
        >>> ones = TwoInputs(np.ones((2, 2)), np.ones((2, 2)))
        >>> two_input_gradient(ones, ones, leak=0.5).own.tolist()
        [[2.25, 1.5], [1.5, 1.0]]
    """
    if not 0 <= leak <= 1:
        raise ValueError(f"leak must be in [0, 1], got {leak!r}")
    check_kind("gradient", gradient, TwoInputs)
    check_kind("slopes", slopes, TwoInputs)
    matrices = [_square("gradient", matrix) for matrix in gradient]
    factors = [_square("slopes", matrix) for matrix in slopes]
    if len({matrix.shape for matrix in (*matrices, *factors)}) > 1:
        raise ValueError(
            "gradient and slopes must have one shape, got "
            f"{[tuple(matrix.shape) for matrix in (*matrices, *factors)]}"
        )
    steps = len(matrices[0])
    lag = (torch.arange(steps)[None] - torch.arange(steps)[:, None]).double()
    decay = torch.where(lag >= 0, float(leak) ** lag.clamp(min=0), 0.0)
    own, crossed = (
        decay @ (factor * matrix) @ decay.T
        for factor, matrix in zip(factors, matrices, strict=True)
    )
    return TwoInputs(own.numpy(), crossed.numpy())


def _square(name: str, matrix: Array) -> Tensor:
    found = torch.as_tensor(np.asarray(matrix, dtype=np.float64))
    if found.ndim != 2 or found.shape[0] != found.shape[1] or not len(found):
        raise ValueError(f"{name} must be a square matrix [T, T], got {tuple(found.shape)}")
    if not found.isfinite().all():
        raise ValueError(f"{name} must be finite")
    return found


def pair_currents(
    moments: TwoInputs, gain: float, samples: int, generator: torch.Generator | None
) -> Tensor:
    """Currents [T, 2, samples] of neurons that two inputs drive through the same random weights.

    Raises:
        ValueError: As in `two_input_map`.
    """
    check_kind("moments", moments, TwoInputs)
    own, crossed = (_square(name, getattr(moments, name)) for name in TwoInputs._fields)
    steps = len(own)
    if crossed.shape != own.shape:
        raise ValueError(f"moments must have one shape, got {own.shape} and {crossed.shape}")
    if not 0 < gain < np.inf:
        raise ValueError(f"gain must be positive and finite, got {gain!r}")
    if samples < 1 or int(samples) != samples:
        raise ValueError(f"samples must be an integer >= 1, got {samples!r}")
    joint = gain * torch.cat([torch.cat([own, crossed], 1), torch.cat([crossed, own], 1)])
    values, vectors = torch.linalg.eigh(joint)
    if values[0] < -1e-8 * max(float(values[-1]), 1.0):
        raise ValueError(
            "moments must be those of two inputs, a positive semidefinite matrix, "
            f"its smallest eigenvalue is {float(values[0]) / gain:.3g}"
        )
    root = vectors * values.clamp(min=0).sqrt()
    normal = torch.randn(2 * steps, int(samples), generator=generator).double()
    return (root @ normal).view(2, steps, int(samples)).transpose(0, 1)


def pair_moments(values: Tensor) -> TwoInputs:
    """Moments of [T, 2, samples], symmetric in the two inputs."""
    samples = values.shape[2]
    both = torch.einsum("sak,tak->st", values, values) / (2 * samples)
    cross = values[:, 0] @ values[:, 1].T / samples
    return TwoInputs(both.numpy(), ((cross + cross.T) / 2).numpy())
