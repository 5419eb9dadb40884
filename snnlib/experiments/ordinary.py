"""Networks as people build them, of snnTorch, SpikingJelly, Norse and ours, of a desk's size.

Each takes digits of 8 by 8 pixels between 0 and 1 and is built as its library's tutorials build
it, with that library's own weights at the start: `untouched`.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from snnlib import networks
from snnlib._extras import require

__all__ = ["ORDINARY", "Ordinary", "ordinary"]

CLASSES, SIDE = 10, 8


class Ordinary(NamedTuple):
    """One network of the suite.

    Attributes:
        build: Makes it, with weights from torch's global random numbers.
        steps: Time steps T.
        encoding: How an image reaches it, as in `snnlib.training.fit`.
        loss: A name in `snnlib.training.LOSSES`.
    """

    build: Callable[[], nn.Module]
    steps: int
    encoding: str = "constant"
    loss: str = "spike_count"


def ordinary(name: str, seed: int) -> nn.Module:
    """A network of the suite with the weights of its own library.

    Args:
        name: A name in `ORDINARY`.
        seed: Seed of the weights.

    Returns:
        The network.

    Raises:
        ValueError: If there is none of that name.
        ImportError: If its library is missing.

    Example:
        >>> network = ordinary("ours, 3 layers", seed=0)
        >>> network(torch.zeros(4, 2, 1, 8, 8)).shape
        torch.Size([4, 2, 10])
    """
    if name not in ORDINARY:
        raise ValueError(f"name must be one of {', '.join(ORDINARY)}, got {name!r}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ORDINARY[name].build()


# --- snnTorch: layers that keep their state, one step per call -----------------------------------


def _snntorch_convnet(surrogate: Callable[[Any], Any]) -> nn.Module:
    """Two convolutions with max pooling between weights and neurons, one linear layer."""
    snn = require("snntorch", None)
    spike_grad = surrogate(require("snntorch.surrogate", None))

    def leaky(**settings: Any) -> nn.Module:
        return snn.Leaky(beta=0.5, spike_grad=spike_grad, init_hidden=True, **settings)

    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.MaxPool2d(2),
        leaky(),
        nn.Conv2d(8, 16, 3, padding=1),
        nn.MaxPool2d(2),
        leaky(),
        nn.Flatten(),
        nn.Linear(16 * (SIDE // 4) ** 2, CLASSES),
        leaky(output=True),
    )


class TutorialMLP(nn.Module):
    """Two linear layers whose loop over time stands in `forward`; the image comes in once."""

    def __init__(self, steps: int = 8, hidden: int = 128) -> None:
        super().__init__()
        snn = require("snntorch", None)
        self.steps = steps
        self.fc1, self.lif1 = nn.Linear(SIDE**2, hidden), snn.Leaky(beta=0.95)
        self.fc2, self.lif2 = nn.Linear(hidden, CLASSES), snn.Leaky(beta=0.95)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Images [batch, ...] to spikes and potentials, [T, batch, classes]."""
        first, second = self.lif1.init_leaky(), self.lif2.init_leaky()
        spikes, potentials = [], []
        for _ in range(self.steps):
            hidden, first = self.lif1(self.fc1(x.flatten(1)), first)
            spike, second = self.lif2(self.fc2(hidden), second)
            spikes.append(spike)
            potentials.append(second)
        return torch.stack(spikes), torch.stack(potentials)


class RecurrentMembrane(nn.Module):
    """A recurrent layer and a readout whose potential is the answer."""

    def __init__(self, hidden: int = 64) -> None:
        super().__init__()
        snn = require("snntorch", None)
        self.fc1 = nn.Linear(SIDE**2, hidden)
        self.lif1 = snn.RLeaky(beta=0.5, linear_features=hidden)
        self.fc2 = nn.Linear(hidden, CLASSES)
        self.lif2 = snn.Leaky(beta=0.9, reset_mechanism="none")

    def forward(self, x: Tensor) -> Tensor:
        """Currents [T, batch, ...] to potentials [T, batch, classes]."""
        spikes, first = self.lif1.init_rleaky()
        second, potentials = self.lif2.init_leaky(), []
        for current in x.flatten(2):
            spikes, first = self.lif1(self.fc1(current), spikes, first)
            _, second = self.lif2(self.fc2(spikes), second)
            potentials.append(second)
        return torch.stack(potentials)


# --- SpikingJelly: whole sequences, neurons that keep their state -------------------------------


def _multi_step(*layers: nn.Module) -> nn.Module:
    functional = require("spikingjelly.activation_based.functional", None)
    network = nn.Sequential(*layers)
    functional.set_step_mode(network, "m")
    return network


def _csnn() -> nn.Module:
    """Two convolutions with batch norm, one hidden and one spiking output layer."""
    layer = require("spikingjelly.activation_based.layer", None)
    neuron = require("spikingjelly.activation_based.neuron", None)
    return _multi_step(
        layer.Conv2d(1, 8, 3, padding=1, bias=False),
        layer.BatchNorm2d(8),
        neuron.IFNode(),
        layer.MaxPool2d(2, 2),
        layer.Conv2d(8, 8, 3, padding=1, bias=False),
        layer.BatchNorm2d(8),
        neuron.IFNode(),
        layer.MaxPool2d(2, 2),
        layer.Flatten(),
        layer.Linear(8 * (SIDE // 4) ** 2, 64, bias=False),
        neuron.IFNode(),
        layer.Linear(64, CLASSES, bias=False),
        neuron.IFNode(),
    )


class SEWBlock(nn.Module):
    """Spikes of two convolutions added to those that came in."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        layer = require("spikingjelly.activation_based.layer", None)
        neuron = require("spikingjelly.activation_based.neuron", None)

        def half() -> nn.Sequential:
            return nn.Sequential(
                layer.Conv2d(channels, channels, 3, padding=1, bias=False),
                layer.BatchNorm2d(channels),
                neuron.IFNode(),
            )

        self.conv1, self.conv2 = half(), half()

    def forward(self, x: Tensor) -> Tensor:
        """Spikes [T, batch, channels, height, width] to sums of spikes."""
        return x + self.conv2(self.conv1(x))


def _sew() -> nn.Module:
    """A stem, two blocks that add spikes, and a linear readout."""
    layer = require("spikingjelly.activation_based.layer", None)
    neuron = require("spikingjelly.activation_based.neuron", None)
    return _multi_step(
        layer.Conv2d(1, 8, 3, padding=1, bias=False),
        layer.BatchNorm2d(8),
        neuron.IFNode(),
        SEWBlock(8),
        layer.MaxPool2d(2, 2),
        SEWBlock(8),
        layer.AvgPool2d(2, 2),
        layer.Flatten(),
        layer.Linear(8 * (SIDE // 4) ** 2, CLASSES),
    )


def _spikingjelly_mlp(depth: int = 6, width: int = 128) -> nn.Module:
    """Linear layers and LIF neurons with hard reset."""
    layer = require("spikingjelly.activation_based.layer", None)
    neuron = require("spikingjelly.activation_based.neuron", None)
    sizes = [SIDE**2, *[width] * depth, CLASSES]
    rows: list[nn.Module] = [layer.Flatten()]
    for fan_in, fan_out in pairwise(sizes):
        rows += [layer.Linear(fan_in, fan_out), neuron.LIFNode(tau=2.0)]
    return _multi_step(*rows)


# --- Norse: states in the caller's hands -------------------------------------------------------


def _norse_convnet() -> nn.Module:
    """Two convolutions with synaptic currents, a spiking layer, and a leaky readout."""
    norse = require("norse.torch", None)
    return norse.SequentialState(
        nn.Conv2d(1, 8, 3, padding=1),
        norse.LIFCell(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1),
        norse.LIFCell(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(16 * (SIDE // 4) ** 2, 64),
        norse.LIFCell(),
        norse.LILinearCell(64, CLASSES),
    )


# --- ours ---------------------------------------------------------------------------------------


def _ours(depth: int) -> nn.Module:
    return networks.mlp([SIDE**2, *[128] * depth, CLASSES], encode=False, bias=True, init=None)


ORDINARY: dict[str, Ordinary] = {
    "snnTorch convnet, fast sigmoid": Ordinary(
        lambda: _snntorch_convnet(lambda of: of.fast_sigmoid(slope=25)), steps=6
    ),
    "snnTorch convnet, atan": Ordinary(lambda: _snntorch_convnet(lambda of: of.atan()), steps=6),
    "snnTorch MLP, loop inside": Ordinary(TutorialMLP, steps=8, encoding="none"),
    "snnTorch RLeaky, membrane": Ordinary(RecurrentMembrane, steps=6, loss="mean_output"),
    "SpikingJelly CSNN, batch norm": Ordinary(_csnn, steps=4),
    "SpikingJelly SEW": Ordinary(_sew, steps=4, loss="mean_output"),
    "SpikingJelly MLP, 6 layers": Ordinary(_spikingjelly_mlp, steps=4),
    "Norse convnet": Ordinary(_norse_convnet, steps=10, loss="mean_output"),
    "ours, 3 layers": Ordinary(lambda: _ours(3), steps=4),
    "ours, 10 layers": Ordinary(lambda: _ours(10), steps=4),
    "ours, 20 layers": Ordinary(lambda: _ours(20), steps=4),
}
"""The suite, by name."""
