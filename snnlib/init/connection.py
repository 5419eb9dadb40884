"""A weight of a network with what feeds it and what it drives."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from snnlib.dialects import Spiking
from snnlib.init.flow import Flow
from snnlib.init.norms import Intake, Norm


@dataclass(frozen=True)
class Layer:
    """A spiking layer next to a weight.

    Attributes:
        name: Qualified name of the module.
        spiking: What `snnlib.dialects.read` says about it.
        module: The module itself.
        intake: What its currents were computed from; None without an example.
    """

    name: str
    spiking: Spiking
    module: nn.Module | None = field(default=None, compare=False, repr=False)
    intake: Intake | None = field(default=None, compare=False, repr=False)

    @property
    def threshold(self) -> Tensor:
        """Its thresholds, float64, a number or one per neuron or channel."""
        return self.spiking.threshold

    @property
    def height(self) -> Tensor:
        """What one of its spikes sends on, float64."""
        return self.spiking.height


@dataclass(frozen=True)
class Connection:
    """A weight with what feeds it and what it drives.

    Attributes:
        name: Qualified name of the module that holds the weight, or of the parameter where one
            module holds several or multiplies by it itself.
        module: That module.
        parameter: The weight itself.
        fan_in: Inputs n of one output neuron, torch's own count (k·k·c_in for convolutions).
        fan_out: Torch's own count likewise.
        bias: What is added to the product, if the module holds it.
        fed_by: The spiking layers that feed the weight; empty if real values do.
        drives: The spiking layers whose current the weight makes; empty for a readout.
        second_moment: E[x²] of the input, measured on the example; None without one.
        mean: E[x] likewise.
        size: E|x| likewise.
        low: Least input likewise.
        high: Largest input likewise.
        active: Number of nonzero inputs on the example, over all steps and samples.
        recurrent: Whether a layer that it drives also feeds it.
        afferents: (fan_in, recurrent) of every weight that drives the same layers, this one
            included; empty for a readout.
        transposed: Whether the weight stands as [in, out], used as x @ W.
        note: What the pairing could not know.
        flow: What its input was computed from; None without an example.
    """

    name: str
    module: nn.Module
    parameter: nn.Parameter
    fan_in: int
    fan_out: int
    bias: Tensor | None = None
    fed_by: tuple[Layer, ...] = ()
    drives: tuple[Layer, ...] = ()
    second_moment: float | None = None
    mean: float | None = None
    size: float | None = None
    low: float | None = None
    high: float | None = None
    active: int | None = None
    recurrent: bool = False
    afferents: tuple[tuple[int, bool], ...] = ()
    transposed: bool = False
    note: str = ""
    flow: Flow | None = field(default=None, compare=False, repr=False)

    @property
    def norms(self) -> tuple[Norm, ...]:
        """The normalizations between the weight and the layers that it drives."""
        found = [
            norm
            for layer in self.drives
            if layer.intake is not None
            for norm in layer.intake.norms
            if self.parameter in norm.weights
        ]
        return tuple({id(norm.module): norm for norm in found}.values())

    @property
    def feeding(self) -> tuple[Tensor, Tensor]:
        """Thresholds and spike heights of all feeding layers, flat and of one length."""
        pairs = [torch.broadcast_tensors(s.threshold, s.height) for s in self.fed_by]
        return (
            torch.cat([threshold.flatten() for threshold, _ in pairs]),
            torch.cat([height.flatten() for _, height in pairs]),
        )

    @property
    def weight(self) -> Tensor:
        """The weight as [out, in, ...]; writing into it in place writes into the parameter."""
        return self.parameter.t() if self.transposed else self.parameter


def fans(weight: Tensor, name: str = "weight") -> tuple[int, int]:
    """Fan-in and fan-out of a weight, torch's own count, refused where they are not positive.

    Args:
        weight: Weight of a linear layer [out, in] or a convolution [out, in / groups, k, ...].
        name: What the error calls it.

    Returns:
        (fan_in, fan_out); a convolution's fan-in is the kernel's size times its input channels
        (per group).

    Raises:
        ValueError: If the weight is empty, not floating point, or has fewer than two dimensions.

    Example:
        >>> fans(torch.empty(64, 3, 5, 5))
        (75, 1600)
    """
    if not isinstance(weight, Tensor) or not weight.is_floating_point():
        raise ValueError(f"{name} must be a floating-point tensor, got {weight!r}")
    if isinstance(weight, nn.UninitializedParameter):
        raise ValueError(f"{name} has no shape yet: run one batch through the lazy module first")
    if weight.dim() < 2:
        raise ValueError(
            f"{name} must have at least two dimensions [out, in, ...], got {tuple(weight.shape)}"
        )
    if weight.numel() == 0:
        raise ValueError(f"{name} must not be empty (fan-in >= 1), got {tuple(weight.shape)}")
    return torch.nn.init._calculate_fan_in_and_fan_out(weight)
