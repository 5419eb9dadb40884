"""The weights in front of a layer, and the variance that they bring to its potentials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from snnlib.init.pairing import Connection
from snnlib.probe.capture import Entry

__all__ = ["bias_gain", "driving", "effective_gain", "follows", "number", "weight_gain"]


def driving(entry: Entry, connections: Sequence[Connection]) -> list[Connection]:
    """The weights that drive a layer."""
    name = entry.name.partition("#")[0]
    return [c for c in connections if name in {layer.name for layer in c.drives}]


def follows(connection: Connection, before: Entry, widths: Mapping[str, int]) -> bool:
    """Whether a weight connects all neurons of the layer before, each by a weight of its own."""
    fed = [layer.name for layer in connection.fed_by] == [before.name]
    return fed and connection.parameter.dim() == 2 and connection.fan_in == widths[before.name]


def weight_gain(connection: Connection) -> float:
    """G = n·E[w²] of the weights as they are."""
    square = connection.parameter.detach().square().mean(dtype=torch.float64)
    return connection.fan_in * float(square)


def effective_gain(connection: Connection, entry: Entry) -> float | None:
    r"""Gain from the spikes of one layer to the potentials of the next, λ²h²G."""
    heights = {float(h) for layer in connection.fed_by for h in layer.height.flatten()}
    gain = number(entry.spiking.input_gain)
    if len(heights) > 1 or gain is None:
        return None
    return gain**2 * (heights.pop() if heights else 1.0) ** 2 * weight_gain(connection)


def bias_gain(connection: Connection, entry: Entry) -> float:
    r"""Variance that biases add to the potentials at once, λ²E[b²]."""
    if connection.bias is None:
        return 0.0
    gain = float(entry.spiking.input_gain.flatten()[0])
    return gain**2 * float(connection.bias.detach().double().square().mean())


def number(value: Tensor | None) -> float | None:
    """The one number that a tensor holds, None if there are several or none."""
    if value is None or value.numel() == 0:
        return None
    first = float(value.flatten()[0])
    return first if bool((value == first).all()) and np.isfinite(first) else None
