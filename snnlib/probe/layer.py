"""What is known of one spiking layer: the row of a diagnosis."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

__all__ = ["LayerDiagnosis"]


@dataclass(frozen=True)
class LayerDiagnosis:
    """One spiking layer; every tensor is [step], float64, NaN where a value does not exist.

    Attributes:
        name: Qualified name of the module.
        width: Number of neurons.
        threshold: θ, the mean if neurons differ.
        leak: β likewise.
        reset: Name of the reset.
        gain: Gain λ²h²G of the weights in front of the layer, G = n·E[w²]; the largest if several
            drive it, None if none does or a normalization takes their scale away.
        critical_gain: Gain below which the layer before cannot keep it active from step to step;
            None after data and behind a synapse, which sums spikes up.
        rate: Share of neurons that fire, over batch and layer.
        variance: Var[u].
        gradient_variance: Var[dL/du]; None if it was not asked for.
        predicted_rate: Firing probability at infinite width; None where nothing predicts it.
        predicted_variance: Var[u] likewise.
        rate_spread: Standard deviation of the rate over networks of this width, NaN if unknown.
        variance_spread: That of Var[u] likewise.
        never: Share of neurons that fire in no sample at no step.
        extinction: Probability, over weights drawn anew, that a sample leaves the layer silent at
            the first step; of layers wider than 2048 an upper bound; None if unknown.
        operations: Additions that spikes cause in the weights in front of the layer, per sample
            over all steps.
        multiplications: Multiplications that real values cause there likewise.
        note: Why a value is missing.
    """

    name: str
    width: int
    threshold: float
    leak: float
    reset: str
    gain: float | None
    critical_gain: float | None
    rate: Tensor
    variance: Tensor
    gradient_variance: Tensor | None
    predicted_rate: Tensor | None
    predicted_variance: Tensor | None
    rate_spread: Tensor | None
    variance_spread: Tensor | None
    never: float
    extinction: float | None
    operations: float
    multiplications: float
    note: str = ""
