"""Networks as people build them, of snnTorch, SpikingJelly, Norse and ours, of a desk's size.

Each takes digits of 8 by 8 pixels between 0 and 1 and is built as its library's tutorials build
it, with that library's own weights at the start: `untouched`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
    return built(ORDINARY, name, seed)


def built(networks: Mapping[str, Ordinary], name: str, seed: int) -> nn.Module:
    """One of some networks by its name, drawn from a seed; a `ValueError` if there is none."""
    if name not in networks:
        raise ValueError(f"name must be one of {', '.join(networks)}, got {name!r}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return networks[name].build()


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


def _snntorch_synaptic() -> nn.Module:
    """Two convolutions in front of neurons with a synaptic current, spikes pooled behind them."""
    snn = require("snntorch", None)
    spike_grad = require("snntorch.surrogate", None).atan()

    def synaptic(**settings: Any) -> nn.Module:
        return snn.Synaptic(
            alpha=0.6, beta=0.8, spike_grad=spike_grad, init_hidden=True, **settings
        )

    return nn.Sequential(
        nn.Conv2d(1, 12, 5, padding=2),
        synaptic(),
        nn.MaxPool2d(2),
        nn.Conv2d(12, 12, 3, padding=1),
        synaptic(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(12 * (SIDE // 4) ** 2, CLASSES),
        synaptic(output=True),
    )


def _snntorch_mlp(depth: int = 5, width: int = 100) -> nn.Module:
    """Linear layers, each with a leak near 1 and reset to zero, one step per call."""
    snn = require("snntorch", None)
    sizes = [SIDE**2, *[width] * (depth - 1), CLASSES]
    rows: list[nn.Module] = [nn.Flatten()]
    for fan_in, fan_out in pairwise(sizes):
        neuron = snn.Leaky(
            beta=0.9, init_hidden=True, reset_mechanism="zero", output=fan_out == CLASSES
        )
        rows += [nn.Linear(fan_in, fan_out), neuron]
    return nn.Sequential(*rows)


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

    def __init__(self, channels: int, node: str = "IFNode") -> None:
        super().__init__()
        layer = require("spikingjelly.activation_based.layer", None)
        neuron = require("spikingjelly.activation_based.neuron", None)

        def half() -> nn.Sequential:
            return nn.Sequential(
                layer.Conv2d(channels, channels, 3, padding=1, bias=False),
                layer.BatchNorm2d(channels),
                getattr(neuron, node)(),
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


def _deep_sew() -> nn.Module:
    """A stem and five blocks that add spikes of LIF neurons, and a linear readout."""
    layer = require("spikingjelly.activation_based.layer", None)
    neuron = require("spikingjelly.activation_based.neuron", None)
    return _multi_step(
        layer.Conv2d(1, 6, 3, padding=1, bias=False),
        layer.BatchNorm2d(6),
        neuron.LIFNode(),
        layer.MaxPool2d(2, 2),
        *(SEWBlock(6, "LIFNode") for _ in range(5)),
        layer.Flatten(),
        layer.Linear(6 * (SIDE // 2) ** 2, CLASSES),
    )


def _vgg() -> nn.Module:
    """Four convolutions with batch norm and learned leaks, two linear layers that spike."""
    layer = require("spikingjelly.activation_based.layer", None)
    neuron = require("spikingjelly.activation_based.neuron", None)
    rows: list[nn.Module] = []
    for k, (fan_in, fan_out) in enumerate(pairwise((1, 8, 8, 12, 12))):
        rows += [
            layer.Conv2d(fan_in, fan_out, 3, padding=1, bias=False),
            layer.BatchNorm2d(fan_out),
            neuron.ParametricLIFNode(init_tau=2.0),
        ]
        rows += [layer.MaxPool2d(2, 2)] if k in (0, 2) else []
    return _multi_step(
        *rows,
        layer.Flatten(),
        layer.Linear(12 * (SIDE // 4) ** 2, 64, bias=False),
        neuron.ParametricLIFNode(init_tau=2.0),
        layer.Linear(64, CLASSES, bias=False),
        neuron.ParametricLIFNode(init_tau=2.0),
    )


def _spikingjelly_mlp(depth: int = 6, width: int = 128, **learned: float) -> nn.Module:
    """Linear layers and LIF neurons with hard reset; with `init_tau` their leak is learned."""
    layer = require("spikingjelly.activation_based.layer", None)
    neuron = require("spikingjelly.activation_based.neuron", None)
    sizes = [SIDE**2, *[width] * depth, CLASSES]
    rows: list[nn.Module] = [layer.Flatten()]
    for fan_in, fan_out in pairwise(sizes):
        node = neuron.ParametricLIFNode(**learned) if learned else neuron.LIFNode(tau=2.0)
        rows += [layer.Linear(fan_in, fan_out), node]
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


def _norse_mlp(depth: int = 3, width: int = 100) -> nn.Module:
    """Linear layers in front of neurons with synaptic currents, and a leaky readout."""
    norse = require("norse.torch", None)
    rows: list[nn.Module] = [nn.Flatten()]
    for fan_in, fan_out in pairwise([SIDE**2, *[width] * depth]):
        rows += [nn.Linear(fan_in, fan_out), norse.LIFCell()]
    return norse.SequentialState(*rows, norse.LILinearCell(width, CLASSES))


def _norse_recurrent(width: int = 80) -> nn.Module:
    """A recurrent cell that holds its own weights, and a leaky readout."""
    norse = require("norse.torch", None)
    return norse.SequentialState(
        nn.Flatten(), norse.LIFRecurrentCell(SIDE**2, width), norse.LILinearCell(width, CLASSES)
    )


# --- ours ---------------------------------------------------------------------------------------


def _ours(depth: int, width: int = 128, **neuron: Any) -> nn.Module:
    sizes = [SIDE**2, *[width] * depth, CLASSES]
    return networks.mlp(sizes, encode=False, bias=True, init=None, **neuron)


def _our_convnet() -> nn.Module:
    shape, channels = (1, SIDE, SIDE), (8, 8, 8, 8)
    return networks.convnet(shape, CLASSES, channels=channels, bias=True, init=None)


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
    "snnTorch convnet, Synaptic": Ordinary(_snntorch_synaptic, steps=6),
    "snnTorch MLP, 5 layers": Ordinary(_snntorch_mlp, steps=7),
    "SpikingJelly MLP, learned leak": Ordinary(
        lambda: _spikingjelly_mlp(7, 100, init_tau=2.0), steps=5
    ),
    "SpikingJelly SEW, 5 blocks": Ordinary(_deep_sew, steps=4, loss="mean_output"),
    "SpikingJelly VGG, batch norm": Ordinary(_vgg, steps=4),
    "Norse MLP": Ordinary(_norse_mlp, steps=12, loss="mean_output"),
    "Norse recurrent cell": Ordinary(_norse_recurrent, steps=10, loss="mean_output"),
    "ours, convnet": Ordinary(_our_convnet, steps=4),
    "ours, 14 layers, hard reset": Ordinary(
        lambda: _ours(14, 100, leak=0.8, reset="zero"), steps=5
    ),
}
"""The suite, by name."""
