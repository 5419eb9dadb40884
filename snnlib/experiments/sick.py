"""Networks that people could not train, as their questions in public show them, for digits.

Each is a kind: currents pooled between weights and neurons under a narrow surrogate, neurons of
one's own with a threshold that is learned, products of spikes, recurrent cells on weak input, and a
time step that is longer than a synapse lasts.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from snnlib._extras import require
from snnlib.experiments.ordinary import CLASSES, SIDE, Ordinary, built

__all__ = ["SICK", "sick"]


def sick(name: str, seed: int) -> nn.Module:
    """A network with the weights of its own library.

    Args:
        name: A name in `SICK`.
        seed: Seed of the weights.

    Returns:
        The network.

    Raises:
        ValueError: If there is none of that name.
        ImportError: If its library is missing.

    Example:
        >>> import pytest
        >>> _ = pytest.importorskip("spikingjelly")
        >>> sick("attention", seed=0)(torch.rand(3, 1, 8, 8)).shape
        torch.Size([4, 3, 10])
    """
    return built(SICK, name, seed)


class PooledCurrents(nn.Module):
    """Four convolutions, currents pooled behind every second one, the loop in `forward`."""

    def __init__(self, steps: int = 8, channels: int = 8) -> None:
        super().__init__()
        snn = require("snntorch", None)
        spike_grad = require("snntorch.surrogate", None).fast_sigmoid(slope=25)
        sizes = ((1, channels), *[(channels, channels)] * 3)
        self.steps = steps
        self.convs = nn.ModuleList(nn.Conv2d(*size, 3, padding=1) for size in sizes)
        self.head = nn.Linear(channels * (SIDE // 4) ** 2, CLASSES)
        self.neurons = nn.ModuleList(snn.Leaky(beta=0.95, spike_grad=spike_grad) for _ in range(5))

    def forward(self, x: Tensor) -> Tensor:
        """Images [batch, 1, height, width] to spikes [T, batch, classes]."""
        neurons: Any = self.neurons
        states, out = [neuron.init_leaky() for neuron in neurons], []
        for _ in range(self.steps):
            spikes = x
            for k, conv in enumerate(self.convs):
                current = conv(spikes)
                current = functional.max_pool2d(current, 2) if k % 2 else current
                spikes, states[k] = neurons[k](current, states[k])
            spikes, states[4] = neurons[4](self.head(spikes.flatten(1)), states[4])
            out.append(spikes)
        return torch.stack(out)


def _own_neurons(width: int = 100, threshold: float = 1.5) -> nn.Module:
    """Linear layers in front of a subclass of SpikingJelly's base with a learned threshold."""
    layer = require("spikingjelly.activation_based.layer", None)
    neuron = require("spikingjelly.activation_based.neuron", None)

    class Learned(neuron.SimpleBaseNode):  # type: ignore[name-defined]
        """Half of the distance to the current is left at each step."""

        def __init__(self) -> None:
            super().__init__(v_threshold=threshold)
            self.v_threshold = nn.Parameter(torch.tensor(threshold))

        def neuronal_charge(self, x: Tensor) -> None:
            own: Any = self
            own.v = own.v + (x - (own.v - own.v_reset)) / 2

        def neuronal_fire(self) -> Any:
            return self.surrogate_function(self.v - self.v_threshold)

    sizes = (SIDE**2, width, width, width, CLASSES)
    rows: list[nn.Module] = [nn.Flatten()]
    for fan_in, fan_out in pairwise(sizes):
        rows += [layer.Linear(fan_in, fan_out), Learned()]
    return nn.Sequential(*rows)


class Normed(nn.Module):
    """A linear layer, batch norm over all tokens, and neurons: [T, batch, tokens, features]."""

    def __init__(self, fan_in: int, fan_out: int) -> None:
        super().__init__()
        neuron = require("spikingjelly.activation_based.neuron", None)
        self.linear, self.norm = nn.Linear(fan_in, fan_out), nn.BatchNorm1d(fan_out)
        self.neuron = neuron.LIFNode(detach_reset=True, step_mode="m")

    def forward(self, x: Tensor) -> Tensor:
        """Spikes to spikes."""
        current = self.linear(x)
        return self.neuron(self.norm(current.flatten(0, -2)).reshape(current.shape))


class Attention(nn.Module):
    """Products of the spikes of queries, keys and values drive neurons of threshold 1/2."""

    def __init__(self, features: int, heads: int = 4) -> None:
        super().__init__()
        neuron = require("spikingjelly.activation_based.neuron", None)
        self.heads = heads
        self.query, self.key, self.value, self.last, self.wide, self.narrow = (
            Normed(n * features, m * features)
            for n, m in ((1, 1), (1, 1), (1, 1), (1, 1), (1, 2), (2, 1))
        )
        self.mixed = neuron.LIFNode(v_threshold=0.5, detach_reset=True, step_mode="m")

    def forward(self, x: Tensor) -> Tensor:
        """Sums of spikes to sums of spikes."""
        q, k, v = (
            part(x).unflatten(-1, (self.heads, -1)).transpose(2, 3)
            for part in (self.query, self.key, self.value)
        )
        mixed = (0.125 * (q @ k.transpose(-1, -2)) @ v).transpose(2, 3).flatten(-2)
        x = x + self.last(self.mixed(mixed))
        return x + self.narrow(self.wide(x))


class Transformer(nn.Module):
    """Rows of pixels as tokens, two blocks of attention, and a linear readout of their mean."""

    def __init__(self, steps: int = 4, features: int = 32) -> None:
        super().__init__()
        self.steps = steps
        self.first, self.last = Normed(SIDE, features), nn.Linear(features, CLASSES)
        self.one, self.two = Attention(features), Attention(features)

    def forward(self, x: Tensor) -> Tensor:
        """Images [batch, 1, rows, columns] to currents [T, batch, classes]."""
        tokens = x.flatten(0, 1).expand(self.steps, *x.shape[:1], *x.shape[2:])
        return self.last(self.two(self.one(self.first(tokens))).mean(2))


class Faint(nn.Module):
    """Input that is weaker than weights are made for."""

    def forward(self, x: Tensor) -> Tensor:
        """A twentieth of it."""
        return x / 20


def _recurrent_cells(width: int = 64) -> nn.Module:
    """Two cells that hold their own weights, the second with a threshold that adapts."""
    norse = require("norse.torch", None)
    return norse.SequentialState(
        Faint(),
        nn.Flatten(),
        norse.LIFRecurrentCell(SIDE**2, width),
        norse.LSNNRecurrentCell(width, width),
        nn.Linear(width, CLASSES),
        norse.LICell(),
    )


def _long_step(channels: int = 8) -> nn.Module:
    """Two convolutions in front of cells whose step is twice their synapse's time constant."""
    norse = require("norse.torch", None)

    def cell() -> nn.Module:
        p = norse.LIFParameters(v_th=torch.tensor(0.4), alpha=torch.tensor(100.0))
        return norse.LIFCell(p=p, dt=0.01)

    return norse.SequentialState(
        nn.Conv2d(1, channels, 3, padding=1),
        cell(),
        nn.AvgPool2d(2),
        nn.Conv2d(channels, channels, 3, padding=1),
        cell(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(channels * (SIDE // 4) ** 2, 50),
        nn.ReLU(),
        nn.Linear(50, CLASSES),
        norse.LICell(),
    )


SICK: dict[str, Ordinary] = {
    "pooled currents": Ordinary(PooledCurrents, steps=8, encoding="none"),
    "own neurons": Ordinary(_own_neurons, steps=8),
    "attention": Ordinary(Transformer, steps=4, encoding="none", loss="mean_output"),
    "recurrent cells": Ordinary(_recurrent_cells, steps=20, loss="mean_output"),
    "long step": Ordinary(_long_step, steps=12, loss="mean_output"),
}
"""The networks, by name."""
