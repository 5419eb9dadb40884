"""The shape of one input of a network, where its layers leave no choice."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from snnlib.interop.nir.layers import Drive, Scale, over_time
from snnlib.neurons import LIF, LeakyIntegrator, RecurrentCurrentLIF, RecurrentLIF

__all__ = ["checked_shape", "input_shape"]

SIDES = 1024
"""Largest side of an image that is tried."""

_ANY = (LIF, LeakyIntegrator, Drive, Scale, nn.Flatten)  # take inputs of any shape


def checked_shape(shape: Any) -> tuple[int, ...]:
    """The shape, once it is known to be one."""
    good = isinstance(shape, (tuple, list)) and len(shape) > 0
    if not good or not all(isinstance(size, int) and size > 0 for size in shape):
        raise ValueError(
            "shape must be a tuple of positive integers, the shape of one input without time and "
            f"batch, got {shape!r}"
        )
    return tuple(shape)


def input_shape(layers: list[tuple[str, nn.Module]]) -> tuple[int, ...]:
    """The only input that a row of layers takes.

    A Linear layer tells it, also behind a Flatten, if no layer before it needs another; behind a
    Conv1d, the one length that fits the next Linear layer. The images of a Conv2d may be oblong,
    so these are asked for, and the message names the squares that would fit.

    Args:
        layers: Names and layers, in order.

    Raises:
        ValueError: If there is more than one, or none is known.
    """
    for index, (_, layer) in enumerate(layers):
        if isinstance(layer, nn.Linear):
            return (layer.in_features,)
        if isinstance(layer, (RecurrentLIF, RecurrentCurrentLIF)):
            return (layer.width,)
        if own := _of_constants(layer):
            return own
        if isinstance(layer, (nn.Conv1d, nn.Conv2d)):
            return _of_convolution(layers[index:], layer)
        if not isinstance(layer, _ANY):
            break
    raise ValueError(f"{_ASKED}; got None for {type(layers[0][1]).__name__}")


_ASKED = (
    "shape must be given, the shape of one input without time and batch, for a network that does "
    "not begin with a Linear layer"
)


def _of_constants(layer: nn.Module) -> tuple[int, ...]:
    """The shape of constants with a value for each neuron."""
    held = (getattr(layer, name, None) for name in ("threshold", "leak", "rest", "scale"))
    shapes = [tuple(value.shape) for value in held if isinstance(value, torch.Tensor)]
    return next((s for s in shapes if s and all(size > 1 for size in s)), ())


def _of_convolution(
    layers: list[tuple[str, nn.Module]], first: nn.Conv1d | nn.Conv2d
) -> tuple[int, ...]:
    """The input of convolutions by the next Linear layer."""
    dims = 1 if isinstance(first, nn.Conv1d) else 2
    until = next((i for i, (_, layer) in enumerate(layers) if isinstance(layer, nn.Linear)), None)
    fitting: list[tuple[int, ...]] = []
    if until is not None and any(isinstance(layer, nn.Flatten) for _, layer in layers[:until]):
        wanted = int(layers[until][1].in_features)  # type: ignore[arg-type]
        rows = [layer for _, layer in layers[:until] if not isinstance(layer, LIF)]
        for side in range(1, SIDES + 1):
            shape = (first.in_channels, *[side] * dims)
            size = _size_after(rows, shape)
            if size == wanted:
                fitting.append(shape)
            if size > wanted:
                break
    if dims == 1 and len(fitting) == 1:
        return fitting[0]
    tip = ""
    if fitting:
        kind = "lengths" if dims == 1 else "squares"
        tip = f" ({kind} that fit: {', '.join(str(shape) for shape in fitting)})"
    raise ValueError(f"{_ASKED}; got None for {type(first).__name__}{tip}")


def _size_after(layers: list[nn.Module], shape: tuple[int, ...]) -> int:
    """Features that the layers make of an input; 0 where it is too small for them."""
    try:
        with torch.no_grad():
            current = torch.zeros(1, 1, *shape, device="meta")
            for layer in layers:
                current = over_time(_on_meta(layer), current)
            return int(current[0, 0].numel())
    except (RuntimeError, ValueError, TypeError):
        return 0


def _on_meta(layer: nn.Module) -> nn.Module:
    """The layer without its numbers: only shapes count."""
    if not isinstance(layer, (nn.Conv1d, nn.Conv2d)):
        return layer
    kind: Any = type(layer)
    sizes = {k: getattr(layer, k) for k in ("stride", "padding", "dilation", "groups")}
    return kind(layer.in_channels, layer.out_channels, layer.kernel_size, device="meta", **sizes)
