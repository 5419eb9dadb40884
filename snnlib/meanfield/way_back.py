r"""Gradients from the top of a deep network to its bottom, for any reset, attached or detached.

`two_inputs_through` carries two inputs up a stack of wide layers and keeps the potentials of some
neurons of each; `way_back` carries gradients down through the same neurons. With the second moments
A(t, t') = E[a_t a_t'] of the gradients of a layer's spikes and c the credits of a neuron
(`snnlib.meanfield.credit`),

    B = E[c A cᵀ],      A_below = G·B,

and across the two inputs with the credits c̃ of the other one in one place. Detached soft reset:
c(s, t) = β^(t−s) σ'_t, so that B = K (E[σ'_s σ'_t] ∘ A) Kᵀ with K(s, t) = β^(t−s).

This map is triangular in time: its eigenvalues are G·E[σ'_s σ'_t], whatever leak, reset and T
are. So they do not say how a gradient grows over L layers; the traces at this L and T do.

Source: derived in the book's chapter on which reset to differentiate.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from snnlib.meanfield.credit import credited, passage
from snnlib.meanfield.two_inputs import TwoInputs, pair_currents, pair_moments
from snnlib.neurons import lif
from snnlib.resets import Reset
from snnlib.surrogate import Surrogate

__all__ = ["Stack", "WayBack", "two_inputs_through", "way_back"]

Array = NDArray[np.float64]


class Stack(NamedTuple):
    """Neurons of wide layers under two inputs.

    Attributes:
        membrane: Potentials of each layer, [T, 2, samples].
        spikes: Second moments of the spikes of each layer.
        gains: G of the weights in front of each layer.
        leak: β.
        threshold: θ.
        reset: As in `snnlib.neurons.lif`.
    """

    membrane: tuple[Tensor, ...]
    spikes: tuple[TwoInputs, ...]
    gains: tuple[float, ...]
    leak: float
    threshold: float
    reset: Reset

    @property
    def rate(self) -> Array:
        """Firing probability, [layer, step]."""
        return np.stack([np.diagonal(found.own) for found in self.spikes])

    @property
    def likeness(self) -> Array:
        """E[x x̃]/E[x²] over all steps, [layer]: 1 where the two inputs make the same spikes."""
        return np.array([found.coherence for found in self.spikes])


class WayBack(NamedTuple):
    """What comes back to the currents of each layer, for gradients of 1 by the spikes on top.

    Attributes:
        size: Mean square over steps, [layer].
        coherence: Cosine of the gradients of the two inputs, [layer].
    """

    size: Array
    coherence: Array

    @property
    def growth(self) -> float:
        """Size at the bottom over size at the top, 1 for a single layer."""
        return float(self.size[0] / self.size[-1]) if self.size[-1] else float("nan")


def two_inputs_through(
    moments: TwoInputs,
    gains: Sequence[float],
    *,
    leak: float,
    threshold: float,
    reset: Reset = "subtract",
    samples: int = 4096,
    generator: torch.Generator | None = None,
) -> Stack:
    r"""Two inputs up through a stack of wide layers.

    Layer l has Gaussian currents of covariance :math:`G_lR_{l-1}` within an input and
    :math:`G_l\tilde R_{l-1}` across the two, and :math:`R_l=E[x_sx_t]` of its neurons, simulated
    one by one.

    Args:
        moments: Of what the first weights see, see `spike_moments`; real values too.
        gains: G > 0 of the weights in front of each layer, from the input on.
        leak: β in [0, 1].
        threshold: θ ≥ 0.
        reset: As in `snnlib.neurons.lif`.
        samples: Neurons that are simulated in each layer, at least 1.
        generator: Random numbers; None is torch's global generator.

    Returns:
        A `Stack`.

    Raises:
        ValueError: If there is no gain, or as in `two_input_map`.

    Source:
        Derived in the book.

    Example:
        >>> inputs = TwoInputs(np.ones((1, 1)), np.zeros((1, 1)))
        >>> found = two_inputs_through(inputs, [1.0], leak=0.5, threshold=1.0, samples=40_000,
        ...                            generator=torch.Generator().manual_seed(0))
        >>> bool(abs(found.rate[0, 0] - 0.1587) < 0.005), bool(found.likeness[0] < 0.2)
        (True, True)
    """
    if not len(gains):
        raise ValueError("gains must hold at least one gain, got none")
    membranes, spikes = [], []
    for gain in gains:
        current = pair_currents(moments, gain, samples, generator)
        trace = lif(current, leak=leak, threshold=threshold, reset=reset)
        moments = pair_moments(trace.spikes)
        membranes.append(trace.membrane)
        spikes.append(moments)
    return Stack(tuple(membranes), tuple(spikes), tuple(map(float, gains)), leak, threshold, reset)


def way_back(
    stack: Stack,
    surrogate: Surrogate | None = None,
    *,
    detach_reset: bool = True,
    above: ArrayLike | None = None,
    gains: Sequence[float] | None = None,
) -> WayBack:
    r"""Gradients down through the layers that two inputs went up.

    .. math:: B_l=E[c_l\,A_l\,c_l^{\top}],\quad A_{l-1}=G_l\,B_l,\qquad
              \tilde B_l=E[c_l\,\tilde A_l\,\tilde c_l^{\top}],\quad\tilde A_{l-1}=G_l\,\tilde B_l

    Args:
        stack: The layers, see `two_inputs_through`.
        surrogate: None is `Surrogate("arctan")`.
        detach_reset: Whether the gradient ignores that the reset depends on the spike.
        above: A = Ã [T, T] of the gradients of the spikes of the last layer, the same for both
            inputs; None is a gradient of 1 by each spike at every step, as of a count.
        gains: n_above·E[w²] of the weights in front of each layer, if not those on the way up.

    Returns:
        A `WayBack`.

    Raises:
        ValueError: If `above` is not [T, T] or `gains` has another length than the stack.

    Source:
        Derived in the book.

    Example:
        Without spikes in between every layer is its slope at rest, and nothing else:

        >>> quiet = two_inputs_through(TwoInputs(np.full((1, 1), 1e-9), np.zeros((1, 1))),
        ...                            [1.0, 3.0], leak=0.5, threshold=1.0, samples=1)
        >>> slope = Surrogate("arctan").derivative(torch.tensor(-1.0).double()).item()
        >>> bool(abs(way_back(quiet).growth / (3 * slope**2) - 1) < 1e-3)
        True
    """
    steps = len(stack.membrane[0])
    top = np.ones((steps, steps)) if above is None else np.asarray(above, dtype=np.float64)
    factors = stack.gains if gains is None else tuple(gains)
    if top.shape != (steps, steps) or not np.isfinite(top).all():
        raise ValueError(f"above must be finite and [{steps}, {steps}], got shape {top.shape}")
    if len(factors) != len(stack.gains):
        raise ValueError(f"gains must be {len(stack.gains)}, one per layer, got {len(factors)}")
    own = crossed = torch.from_numpy(top)
    size, coherence = [], []
    for membrane, gain in zip(reversed(stack.membrane), reversed(factors), strict=True):
        first, second = (
            passage(
                membrane[:, k],
                leak=stack.leak,
                threshold=stack.threshold,
                reset=stack.reset,
                detach_reset=detach_reset,
                surrogate=surrogate,
            )
            for k in (0, 1)
        )
        own = (credited(own, first) + credited(own, second)) / 2
        across = credited(crossed, first, second)
        crossed = (across + across.T) / 2
        total = float(own.trace())
        size.append(total / steps)
        coherence.append(float(crossed.trace()) / total if total else float("nan"))
        own, crossed = gain * own, gain * crossed
    return WayBack(np.array(size[::-1]), np.array(coherence[::-1]))
