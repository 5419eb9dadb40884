"""What the illnesses of a network are told from, and how one is told."""

from __future__ import annotations

import math
from typing import NamedTuple

from torch import Tensor

from snnlib.probe.constants import Unstable
from snnlib.probe.layer import LayerDiagnosis
from snnlib.probe.likeness import Likeness

__all__ = ["Facts", "Finding"]


class Finding(NamedTuple):
    """One illness.

    Attributes:
        kind: "unstable constant", "not finite", "exploding potential", "weak input", "dead",
            "dies later", "saturated", "positive drive", "negative drive", "silent neurons",
            "extinction risk", "surrogate misses", "vanishing gradient", "exploding gradient",
            "inputs alike" or "gradients apart".
        layer: Name of the layer where it starts.
        step: The step where it starts; None if it concerns all.
        sentence: What is wrong.
        remedy: The call, or the change, that mends it; behind a `#` what helps besides.
    """

    kind: str
    layer: str
    step: int | None
    sentence: str
    remedy: str


class Facts(NamedTuple):
    """What is known of one layer.

    Attributes:
        row: Its row of the diagnosis.
        driven: Whether weights drive it.
        by_data: Whether one of them is fed by data.
        drive: Mean of its currents λi, over all steps, samples and neurons.
        fluctuation: Their standard deviation.
        largest_drive: The largest one.
        largest: Largest absolute potential.
        bad: First step with a value that is not finite, and whether current or potential.
        bad_weights: Weights in front of it that hold such a value.
        weight_mean: λ Σ n·E[w]·E[x] of those weights.
        bias_mean: λ times the mean of their biases.
        names: Their names.
        square: E[(dL/du)²], summed over steps.
        slope: Root mean square of the surrogate's slope at the last step.
        fed_by: Names of the layers that feed those weights.
        feeds: Whether its spikes meet weights.
        read: Whether its potential is the answer: it has no reset and feeds nothing.
        synapse: Whether a synaptic current sums its input up.
        potentials: Some of its potentials at the last step.
        shape: Shape of its surrogate if it is one of ours, else one that its library has.
        library: Where its neuron comes from.
        likeness: Of its spikes for the samples.
        coherence: Likeness of the gradients of two samples for the same gradient by their outputs.
        unstable: A constant of it outside its range; None if all are within.
        norms: Normalizations in front, which take the scale of its weights away.
        between: What else lies between its weights and its neurons, in words; empty for nothing.
        bias: The weight in front, if a pool alone lies behind it.
        biased: Whether it has a bias.
        scale: Mean of its input gain λ.
        affine: Whether its currents are data, up to a factor and an offset.
        channels: How many of its neurons have weights of their own.
        set_threshold: The call that sets its threshold, with `{}` for the number; empty if unknown.
        lively: Threshold that a tenth of its potentials exceed at the last step; NaN if unknown.
    """

    row: LayerDiagnosis
    driven: bool
    by_data: bool
    drive: float
    fluctuation: float
    largest_drive: float
    largest: float
    bad: tuple[int, str] | None
    bad_weights: tuple[str, ...]
    weight_mean: float
    bias_mean: float
    names: tuple[str, ...]
    square: float
    slope: float
    fed_by: tuple[str, ...]
    feeds: bool
    synapse: bool
    potentials: Tensor
    shape: str
    library: str
    likeness: Likeness
    coherence: float
    read: bool = False
    unstable: Unstable | None = None
    norms: tuple[str, ...] = ()
    between: str = ""
    bias: str = ""
    biased: bool = False
    scale: float = 1.0
    affine: bool = True
    channels: int = 0
    set_threshold: str = ""
    lively: float = math.nan

    @property
    def rate(self) -> float:
        """Mean over the steps."""
        return float(self.row.rate.nanmean())

    @property
    def silent(self) -> bool:
        """Whether no neuron ever fired."""
        return not bool((self.row.rate > 0).any())
