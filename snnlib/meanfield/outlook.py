r"""Can a network start to learn? Two numbers before training, without drawing a weight.

A network that is active in every layer has gradients everywhere; what counts is how much of them
two inputs have in common, their *coherence* at the first weights. In a network that falls silent
only the weights in front of the first silent layer get a gradient, which came down through the
tails of the surrogate in all silent layers; an optimizer like Adam moves them only if it is not
far below its ε. `gradient_signal` carries two inputs through all layers and their gradients back;
`outlook` says which of the two it is and how large.

Source: derived in the book's chapter on what predicts training.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from snnlib._checks import check_kind, scalars
from snnlib.meanfield.two_inputs import TwoInputs
from snnlib.meanfield.way_back import two_inputs_through, way_back
from snnlib.neurons.lif import Reset
from snnlib.surrogate import Surrogate

__all__ = ["GradientSignal", "Outlook", "gradient_signal", "outlook"]

Array = NDArray[np.float64]


class GradientSignal(NamedTuple):
    """What two inputs make of every layer behind weights, the readout last.

    Attributes:
        rate: [layer, step], firing probability.
        coherence: [layer], cosine of the gradients of two inputs by the layer's currents.
        size: [layer], mean square of that gradient, for one of 1 by every spike of the readout
            at every step.
        correlation: [layer], share of the spikes that both inputs cause, tr R̃/tr R; NaN in
            silence.
        shared_count: [layer], the same of the counts over all steps, E[NÑ]/E[N²].
    """

    rate: Array
    coherence: Array
    size: Array
    correlation: Array
    shared_count: Array

    @property
    def active(self) -> int:
        """Layers in front of the first one that fires at no step."""
        alive = self.rate.sum(1) > 0
        return len(alive) if alive.all() else int(np.argmin(alive))


class Outlook(NamedTuple):
    """What a network has to learn from before its first update.

    Attributes:
        active: Layers of weights in front of the first silent one.
        layers: Layers of weights.
        coherence: Of the gradients by the first layer's currents.
        gradient: Root mean square of the gradient of a weight of the first silent layer, for the
            cross-entropy of spike counts; NaN if no layer is silent.
        size: Mean square of the gradient by the first layer's currents, for one of 1 on top.
        rate: Mean firing probability of the readout.
        word: "active": spikes in every layer. "late": silent, but a gradient of ε/10 or more.
            "frozen": silent, and less.
    """

    active: int
    layers: int
    coherence: float
    gradient: float
    size: float
    rate: float
    word: str

    @property
    def silent(self) -> bool:
        """Whether a layer is silent."""
        return self.active < self.layers


@scalars("depth", "leak", "threshold", "readout")
def gradient_signal(
    moments: TwoInputs,
    gain: ArrayLike,
    *,
    depth: int,
    leak: float,
    threshold: float,
    readout: float = 1.0,
    surrogate: Surrogate | None = None,
    reset: Reset = "subtract",
    detach_reset: bool = True,
    samples: int = 4096,
    generator: torch.Generator | None = None,
) -> GradientSignal:
    r"""Two inputs through a stack of wide layers, and their gradients back to the first.

    `two_inputs_through`, then `way_back` from a gradient of 1 by every spike of the readout down.

    Args:
        moments: of the spikes in front of the first weights, see `two_inputs.spike_moments`.
        gain: G = n·Var[w] > 0 of all weights, or one for each of the depth + 1 layers.
        depth: hidden layers, at least 0; the readout is one more.
        leak: β in [0, 1].
        threshold: θ ≥ 0.
        readout: neurons of the readout over those of a hidden layer.
        surrogate: None is `Surrogate("arctan")`.
        reset: as in `snnlib.neurons.lif`.
        detach_reset: whether gradients ignore that the reset depends on the spike.
        samples: neurons that are simulated in each layer.
        generator: random numbers; None is torch's global generator.

    Returns:
        A `GradientSignal`.

    Raises:
        ValueError: If `depth` is negative, `readout` is not positive, there is neither one gain
            nor one for each layer, or as in `two_input_map`.

    Source:
        Derived in the book.

    Example:
        Gain 2 at threshold 1 falls silent; one image has all of its gradient in common with
        itself, which fades by G·σ'(−θ)² in each silent layer.

        >>> same = TwoInputs(np.array([[0.3]]), np.array([[0.3]]))
        >>> found = gradient_signal(same, 2.0, depth=20, leak=0.5, threshold=1.0,
        ...                         generator=torch.Generator().manual_seed(0))
        >>> found.active < 21, found.coherence.round(12).tolist() == [1.0] * 21
        (True, True)
        >>> factor = 2.0 / (1 + math.pi**2) ** 2
        >>> bool(abs(found.size[-3] / found.size[-2] / factor - 1) < 1e-12)
        True
    """
    if depth < 0 or int(depth) != depth:
        raise ValueError(f"depth must be an integer >= 0, got {depth!r}")
    check_kind("moments", moments, TwoInputs)
    if not 0 < readout < math.inf:
        raise ValueError(f"readout must be positive and finite, got {readout!r}")
    gains = np.asarray(gain, dtype=np.float64)
    if gains.ndim and gains.shape != (int(depth) + 1,):
        raise ValueError(
            f"gain must be a number or {int(depth) + 1}, one for each layer, got {gain!r}"
        )
    up = [float(g) for g in np.broadcast_to(gains, int(depth) + 1)]
    stack = two_inputs_through(
        moments,
        up,
        leak=leak,
        threshold=threshold,
        reset=reset,
        samples=samples,
        generator=generator,
    )
    # Down, the weights of the readout share among fewer neurons what comes from above.
    back = way_back(stack, surrogate, detach_reset=detach_reset, gains=[*up[:-1], up[-1] * readout])
    return GradientSignal(
        rate=stack.rate,
        coherence=back.coherence,
        size=back.size,
        correlation=stack.likeness,
        shared_count=np.array([_shared_count(moments) for moments in stack.spikes]),
    )


def _shared_count(moments: TwoInputs) -> float:
    size = float(moments.own.sum())
    return float(moments.crossed.sum()) / size if size else math.nan


@scalars("gain", "depth", "width", "leak", "threshold", "classes", "batch", "epsilon")
def outlook(
    moments: TwoInputs,
    gain: float,
    *,
    depth: int,
    width: int,
    leak: float,
    threshold: float,
    classes: int = 10,
    batch: int = 128,
    epsilon: float = 1e-8,
    surrogate: Surrogate | None = None,
    reset: Reset = "subtract",
    detach_reset: bool = True,
    samples: int = 4096,
    generator: torch.Generator | None = None,
) -> Outlook:
    r"""What a classifier of spike counts has to learn from before its first update.

    With l the first silent layer, p the mean rate of the layer below it over T steps, B the batch
    and C the classes, a weight of layer l has a gradient of root mean square

    .. math:: \sqrt{\frac{C-1}{C^2B}\;E[b_l^2]\;p\,T},

    where :math:`E[b_l^2]` is the `size` of `gradient_signal` and the first factor the mean square
    of the cross-entropy's gradient by a spike at silence, 1/C or 1/C − 1, over the batch.

    Args:
        moments: of the spikes in front of the first weights, see `two_inputs.spike_moments`.
        gain: G = n·Var[w] > 0 of all weights.
        depth: hidden layers, at least 0; the readout is one more.
        width: n, neurons of a hidden layer.
        leak: β in [0, 1].
        threshold: θ ≥ 0.
        classes: C ≥ 2, neurons of the readout.
        batch: B ≥ 1, samples of one update.
        epsilon: ε > 0 of the optimizer, as Adam adds it to the size of a gradient.
        surrogate: None is `Surrogate("arctan")`.
        reset: as in `snnlib.neurons.lif`.
        detach_reset: whether gradients ignore that the reset depends on the spike.
        samples: neurons that are simulated in each layer.
        generator: random numbers; None is torch's global generator.

    Returns:
        An `Outlook`.

    Raises:
        ValueError: If `classes`, `batch`, `width` or `epsilon` is out of range, or as in
            `gradient_signal`.

    Source:
        Derived in the book.

    Example:
        >>> input_spikes = TwoInputs(np.full((3, 3), 0.3), np.full((3, 3), 0.15))
        >>> for gain, depth in ((6.5, 10), (2.0, 7), (2.0, 20)):
        ...     found = outlook(input_spikes, gain, depth=depth, width=600, leak=0.5,
        ...                     threshold=1.0, generator=torch.Generator().manual_seed(0))
        ...     print(found.word)
        active
        late
        frozen
    """
    for name, value, least in (("classes", classes, 2), ("batch", batch, 1), ("width", width, 1)):
        if value < least or int(value) != value:
            raise ValueError(f"{name} must be an integer >= {least}, got {value!r}")
    if not 0 < epsilon < math.inf:
        raise ValueError(f"epsilon must be positive and finite, got {epsilon!r}")
    found = gradient_signal(
        moments,
        gain,
        depth=depth,
        leak=leak,
        threshold=threshold,
        readout=classes / width,
        surrogate=surrogate,
        reset=reset,
        detach_reset=detach_reset,
        samples=samples,
        generator=generator,
    )
    layers, steps = found.rate.shape
    active, gradient, word = found.active, math.nan, "active"
    if active < layers:
        below = found.rate[active - 1] if active else np.diagonal(moments.own)
        output = math.sqrt((classes - 1) / classes**2 / batch)
        gradient = output * math.sqrt(found.size[active] * float(below.mean()) * steps)
        word = "late" if gradient > epsilon / 10 else "frozen"
    return Outlook(
        active,
        layers,
        float(found.coherence[0]),
        gradient,
        float(found.size[0]),
        float(found.rate[-1].mean()),
        word,
    )
