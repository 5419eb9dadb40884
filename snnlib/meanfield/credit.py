r"""How much a current is credited with later spikes, and what that makes of gradients.

A current i[s] moves the potential of its own step, and what is left of that moves the later ones.
With the surrogate's slope σ'[t] for the derivative of a spike, the gradient of the current is

    b[s] = Σ_{t≥s} c(s, t) a[t],     c(s, t) = σ'[t] Π_{s≤r<t} q[r],     q[r] = ∂u[r+1]/∂u[r],

a[t] the gradient of the spike x[t]. Soft reset ("subtract"): q = β if the reset is detached, and
q = β − θσ' if it is attached. Then the credits telescope,

    θ Σ_t c(s, t) = 1 − Π q − (1 − β) Σ_t Π_{s≤r<t} q[r],

at most β if 0 ≤ θσ' ≤ β, where the detached reset credits a current for up to 1/(1 − β) steps.
Over many neurons, whose slopes are independent of the gradients that reach them,
`credited` gives the second moments of b from those of a.

Source: derived in the book's chapter on which reset to differentiate.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from snnlib._checks import real_tensor, scalars
from snnlib.resets import RULES, Reset
from snnlib.surrogate import Surrogate

__all__ = ["Passage", "credit", "credited", "passage"]


class Passage(NamedTuple):
    """What neurons do to a gradient on its way back; both [T, ...].

    Attributes:
        slope: σ'[t], the derivative of a spike by its potential.
        keep: q[t] = ∂u[t+1]/∂u[t], in the last row unused.
    """

    slope: Tensor
    keep: Tensor


@scalars("leak", "threshold")
def passage(
    membrane: Tensor,
    *,
    leak: float,
    threshold: float,
    reset: Reset = "subtract",
    detach_reset: bool = True,
    surrogate: Surrogate | None = None,
) -> Passage:
    r"""The slopes σ'[t] and the factors q[t] = ∂u[t+1]/∂u[t] of neurons, from their potentials.

    .. math:: q=\frac{\partial\,carry}{\partial u}
              +\sigma'\,\frac{\partial\,carry}{\partial x},

    the second term with the reset attached only; `snnlib.resets.RULES` has the carry.

    Args:
        membrane: Potentials u [T, ...] before the reset, as of `snnlib.neurons.lif`.
        leak: β in [0, 1].
        threshold: θ ≥ 0.
        reset: as in `snnlib.neurons.lif`.
        detach_reset: Whether the derivative of the reset by the spike is left out.
        surrogate: None is `Surrogate("arctan")`.

    Returns:
        A `Passage`.

    Raises:
        ValueError: If the potentials are no floating-point tensor, `reset` is unknown, or leak or
            threshold is outside its range.

    Source:
        Definition.

    Example:
        A triangle is 1 at the threshold, so that the attached reset leaves β − θ.

        >>> found = passage(torch.tensor([0.8]), leak=0.5, threshold=0.8, detach_reset=False,
        ...                 surrogate=Surrogate("triangular"))
        >>> found.slope.item(), round(found.keep.item(), 6)
        (1.0, -0.3)
    """
    real_tensor("membrane", membrane)
    if not membrane.is_floating_point():
        raise ValueError(f"membrane must be floating-point numbers, got {membrane.dtype}")
    if reset not in RULES:
        raise ValueError(f"reset must be one of {', '.join(RULES)}, got {reset!r}")
    if not 0 <= leak <= 1:
        raise ValueError(f"leak must be in [0, 1], got {leak!r}")
    if not 0 <= threshold < torch.inf:
        raise ValueError(f"threshold must be finite and >= 0, got {threshold!r}")
    surrogate = Surrogate("arctan") if surrogate is None else surrogate
    rule, spikes = RULES[reset], (membrane > threshold).to(membrane)
    slope = surrogate.derivative(membrane - threshold)
    at = (membrane, spikes, threshold, leak)
    keep = rule.by_membrane(*at) + torch.zeros_like(membrane)
    if not detach_reset and rule.by_spikes is not None:
        keep = keep + slope * rule.by_spikes(*at)
    return Passage(slope, keep)


def credit(neurons: Passage) -> Tensor:
    r"""What each current is credited with of each spike, c(s, t).

    .. math:: c(s,t)=\sigma'_t\prod_{s\le r<t}q_r\quad(t\ge s),\qquad 0\quad(t<s)

    Args:
        neurons: Slopes and factors [T, ...], see `passage`.

    Returns:
        c [T, T, ...], the derivative of the spike t by the current s.

    Raises:
        ValueError: If the two differ in shape.

    Source:
        Derived in the book.

    Example:
        Three steps without a reset: powers of the leak.

        >>> still = Passage(torch.ones(3), torch.full((3,), 0.5))
        >>> credit(still).tolist()
        [[1.0, 0.5, 0.25], [0.0, 1.0, 0.5], [0.0, 0.0, 1.0]]
    """
    slope, keep = _checked(neurons)
    rows = []
    for s in range(len(slope)):
        left = torch.cat([torch.ones_like(keep[:1]), keep[s:-1]]).cumprod(0)
        rows.append(torch.cat([torch.zeros_like(slope[:s]), slope[s:] * left]))
    return torch.stack(rows)


def credited(above: Tensor, neurons: Passage, others: Passage | None = None) -> Tensor:
    r"""Second moments of the gradients of currents, from those of the spikes.

    .. math:: B(s,s')=\frac1N\sum_i\sum_{t,t'}c_i(s,t)\,A(t,t')\,\tilde c_i(s',t')

    Each neuron passes on what the credits make of it, and the gradients that come from above do not
    depend on the slopes that they meet. Two recursions back in time, over rows and over columns,
    take N·T² steps where the matrices c would take N·T³.

    Args:
        above: A [T, T], E[a_t a_t'] of the gradients of spikes.
        neurons: Slopes and factors [T, N], see `passage`.
        others: Of the same neurons under another input; None is the same input.

    Returns:
        B [T, T], of the kind of `above`.

    Raises:
        ValueError: If the shapes do not fit.

    Source:
        Derived in the book.

    Example:
        >>> still = Passage(torch.ones(2, 1), torch.full((2, 1), 0.5))
        >>> credited(torch.ones(2, 2), still).tolist()
        [[2.25, 1.5], [1.5, 1.0]]
    """
    slope, keep = _checked(neurons)
    slopes, keeps = (slope, keep) if others is None else _checked(others)
    steps = len(slope)
    if slope.ndim != 2 or slopes.shape != slope.shape or above.shape != (steps, steps):
        raise ValueError(
            "above must be [T, T] and neurons [T, N], got "
            f"{tuple(above.shape)}, {tuple(slope.shape)} and {tuple(slopes.shape)}"
        )
    rows = slope.new_zeros(steps, *slope.shape)  # Σ_t c(s, t) A(t, t'), [s, t', N]
    columns = torch.zeros_like(rows)
    for s in reversed(range(steps)):
        rows[s] = slope[s] * above[s][:, None]
        if s + 1 < steps:
            rows[s] += keep[s] * rows[s + 1]
    for s in reversed(range(steps)):
        columns[:, s] = slopes[s] * rows[:, s]
        if s + 1 < steps:
            columns[:, s] += keeps[s] * columns[:, s + 1]
    return columns.mean(2)


def _checked(neurons: Passage) -> Passage:
    if neurons.slope.shape != neurons.keep.shape or not neurons.slope.ndim:
        raise ValueError(
            "slope and keep must have one shape [T, ...], got "
            f"{tuple(neurons.slope.shape)} and {tuple(neurons.keep.shape)}"
        )
    return neurons
