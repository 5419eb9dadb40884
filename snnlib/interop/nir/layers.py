"""What NIR has and torch has no layer for, and rows of layers that keep a graph's precision."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from snnlib.networks import FeedForward
from snnlib.networks.feed_forward import ROWS
from snnlib.neurons._checks import fitted
from snnlib.neurons._settings import brief

__all__ = ["Chain", "Drive", "Promoting", "Scale", "SumPool2d", "over_time"]


class Scale(nn.Module):
    """Every input times a number of its own: NIR's Scale.

    Args:
        scale: The numbers, in the shape of one input.

    Example:
        >>> Scale(torch.tensor([2.0, 3.0]))(torch.ones(1, 1, 2)).tolist()
        [[[2.0, 3.0]]]
    """

    def __init__(self, scale: Tensor) -> None:
        super().__init__()
        self.scale = nn.Parameter(scale)

    def forward(self, current: Tensor) -> Tensor:
        """The scaled input, [T, batch, features...]."""
        return current * fitted("scale", self.scale, current)


class SumPool2d(nn.AvgPool2d):
    """The sum over rectangles of an image: NIR's SumPool2d.

    Args:
        kernel_size: Height and width of a rectangle, or one number.
        stride: Steps from one to the next, likewise.
        padding: Zeros around the image, likewise.

    Example:
        >>> SumPool2d(2, 2)(torch.ones(1, 1, 2, 4)).tolist()
        [[[[4.0, 4.0]]]]
    """

    def __init__(self, kernel_size: Any, stride: Any = None, padding: Any = 0) -> None:
        super().__init__(kernel_size, stride, padding, divisor_override=1)


class Drive(nn.Module):
    r"""A constant current, for neurons that leak to another potential than a spike sets them to.

    Counted from v_reset, the potential of a neuron without input goes to m = v_leak - v_reset. A
    constant input of m/λ·(1 - β) (times 1 - α behind a synapse) does just that, if the synaptic
    current is at its fixed point from the first step: so the first input is larger.

    Args:
        rest: m, the potential at which the neurons rest.
        value: What is added to the input of each step.
        first: What is added to the first one.
    """

    rest: Tensor
    value: Tensor
    first: Tensor

    def __init__(self, rest: Tensor, value: Tensor, first: Tensor) -> None:
        super().__init__()
        for name, given in (("rest", rest), ("value", value), ("first", first)):
            self.register_buffer(name, given)

    def forward(self, current: Tensor) -> Tensor:
        """The current with the constant, [T, batch, features...]."""
        value, first = (fitted(n, getattr(self, n), current) for n in ("value", "first"))
        if self.value is self.first or torch.equal(self.value, self.first):
            return current + value
        return torch.cat([current[:1] + first, current[1:] + value])

    def extra_repr(self) -> str:
        """The potential, for `print(model)`."""
        return f"rest={brief(self.rest, False)}"


class Promoting(nn.Module):
    """A network that computes in the wider of its weights' precision and its input's.

    Attributes:
        input_shape: Shape of one input without time and batch, as the graph says; None if unknown.
    """

    input_shape: tuple[int, ...] | None = None

    def promoted(self, current: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The input in that precision, and the weights if they are not in it."""
        if not current.is_floating_point():
            return current, {}
        kinds = {p.dtype for p in self.parameters() if p.is_floating_point()}
        wide = current.dtype
        for kind in kinds:
            wide = torch.promote_types(wide, kind)
        if torch.is_autocast_enabled(current.device.type) or kinds <= {wide}:
            return (current if not kinds else current.to(wide)), {}
        return current.to(wide), {name: p.to(wide) for name, p in self.named_parameters()}


class Chain(FeedForward, Promoting):
    """A row of layers from a NIR graph.

    NIR holds weights in one precision and neurons in another; the row computes in the wider of the
    weights' precision and the input's, so that a double input is simulated in double.
    """

    def forward(self, current: Tensor) -> Tensor:
        """Output of the last layer, [T, batch, ...]; see `snnlib.networks.FeedForward`."""
        current, wider = self.promoted(current)
        if wider:
            return torch.func.functional_call(self, wider, (current,))
        return super().forward(current)


def over_time(layer: nn.Module, current: Any) -> Any:
    """A layer on [T, batch, ...]: one that knows no time sees the steps as rows."""
    if isinstance(layer, ROWS):
        return layer(current.flatten(0, 1)).unflatten(0, current.shape[:2])
    return layer(current)
