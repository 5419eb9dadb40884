"""Neurons of other libraries over time, each in the form in which it is fastest here.

Layer by layer: the weights see all steps at once, the neurons loop inside. `equal` is the neuron of
ours with the same equations and the same surrogate, read from the foreign module itself.
"""

from __future__ import annotations

import copy
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.products import WEIGHTS, OneDNNLinear
from snnlib import interop
from snnlib.neurons import LIF
from snnlib.surrogate import Surrogate

__all__ = [
    "PEERS",
    "Layered",
    "Peer",
    "PlainLoop",
    "Spike",
    "contiguous",
    "installed",
    "layered",
    "norse_cell",
    "of_peer",
    "spikingjelly_node",
]


class Spike(torch.autograd.Function):
    """A step with a surrogate derivative."""

    @staticmethod
    def forward(ctx: Any, v: Tensor, surrogate: Surrogate) -> Tensor:
        """Spike where v > 0."""
        ctx.save_for_backward(v)
        ctx.surrogate = surrogate
        return (v > 0).to(v.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        """Replace the derivative by the surrogate's."""
        return grad * ctx.surrogate.derivative(*ctx.saved_tensors), None


class PlainLoop(nn.Module):
    """The neuron as one writes it without a library: a loop that autograd records."""

    def __init__(self, leak: float, threshold: float) -> None:
        super().__init__()
        self.leak, self.threshold, self.surrogate = leak, threshold, Surrogate()

    def forward(self, current: Tensor) -> Tensor:
        """Spikes of all steps."""
        u, x, spikes = torch.zeros_like(current[0]), torch.zeros_like(current[0]), []
        for i in current:
            u = self.leak * u - self.threshold * x.detach() + i
            x = Spike.apply(u - self.threshold, self.surrogate)
            spikes.append(x)
        return torch.stack(spikes)


class _SpikingJelly(nn.Module):
    """The multi-step node: all steps at a call."""

    def __init__(self, leak: float, threshold: float) -> None:
        super().__init__()
        from spikingjelly.activation_based import functional

        self.reset, self.node = functional.reset_net, spikingjelly_node(leak, threshold, "m")

    def forward(self, current: Tensor) -> Tensor:
        """Spikes of all steps."""
        self.reset(self.node)
        return self.node(current)


def spikingjelly_node(leak: float, threshold: float, step_mode: str) -> nn.Module:
    """SpikingJelly's LIF with a soft reset (which leaks what it subtracts) and arctan."""
    from spikingjelly.activation_based import neuron, surrogate

    return neuron.LIFNode(
        tau=1 / (1 - leak),
        decay_input=False,
        v_threshold=threshold,
        v_reset=None,
        surrogate_function=surrogate.ATan(),
        detach_reset=True,
        step_mode=step_mode,
    )


class _SnnTorch(nn.Module):
    """Leaky in a loop over time."""

    def __init__(self, leak: float, threshold: float) -> None:
        super().__init__()
        import snntorch

        self.node = snntorch.Leaky(beta=leak, threshold=threshold)

    def forward(self, current: Tensor) -> Tensor:
        """Spikes of all steps."""
        membrane, spikes = self.node.reset_mem(), []
        for i in current:
            spike, membrane = self.node(i, membrane)
            spikes.append(spike)
        return torch.stack(spikes).to(current.dtype)  # float32 whatever came in


class _Norse(nn.Module):
    """The cell without a synapse (Norse calls it box) in a loop over time."""

    def __init__(self, leak: float, threshold: float) -> None:
        super().__init__()
        self.node = norse_cell(leak, threshold)

    def forward(self, current: Tensor) -> Tensor:
        """Spikes of all steps."""
        state, spikes = None, []
        for i in current:
            spike, state = self.node(i, state)
            spikes.append(spike)
        return torch.stack(spikes)


def norse_cell(leak: float, threshold: float) -> nn.Module:
    """Norse's LIF box: reset to zero, its potential counted in units of 1 - leak."""
    import norse.torch

    return norse.torch.LIFBoxCell(
        norse.torch.LIFBoxParameters(
            tau_mem_inv=torch.tensor(1e3 * (1 - leak)),
            v_th=torch.tensor(threshold * (1 - leak)),
        )
    )


@dataclass(frozen=True)
class Peer:
    """Another way to run LIF neurons.

    Attributes:
        name: As in the tables.
        package: What must be installed; empty for plain torch.
        neuron: Leak and threshold to a module, currents [T, batch, ...] in, spikes out.
        equal: Such a module to the neuron of ours with the same equations.
    """

    name: str
    package: str
    neuron: Callable[[float, float], nn.Module]
    equal: Callable[[Any], LIF]


PEERS = (
    Peer(
        "SpikingJelly",
        "spikingjelly",
        _SpikingJelly,
        lambda module: interop.spikingjelly.to_snnlib(module.node, exact_at_threshold=True),
    ),
    Peer(
        "snnTorch",
        "snntorch",
        _SnnTorch,
        lambda module: interop.snntorch.to_snnlib(module.node),
    ),
    Peer("Norse", "norse", _Norse, lambda module: interop.norse.to_snnlib(module.node)),
    Peer(
        "plain torch",
        "",
        PlainLoop,
        lambda module: LIF(leak=module.leak, threshold=module.threshold),
    ),
)


def installed() -> tuple[list[Peer], dict[str, str]]:
    """The peers that are here, and why the others are not."""
    found, skipped = [], {}
    for peer in PEERS:
        if peer.package and importlib.util.find_spec(peer.package) is None:
            skipped[peer.name] = f"{peer.package} is not installed"
        else:
            found.append(peer)
    return found, skipped


class Layered(nn.Module):
    """Layers in a row, called one by one: weights on all steps at once, neurons over time."""

    def __init__(self, layers: list[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, current: Tensor) -> Tensor:
        """Output of the last layer."""
        for layer in self.layers:
            if isinstance(layer, (*WEIGHTS, OneDNNLinear)):
                current = layer(current.flatten(0, 1)).unflatten(0, current.shape[:2])
            else:
                current = layer(current)
        return current


def layered(
    network: nn.Sequential,
    neuron: Callable[[LIF], nn.Module],
    linear: Callable[[nn.Linear], nn.Module] = lambda layer: layer,
) -> Layered:
    """A network of ours with other neurons: the same modules of weights, so the same parameters."""
    layers: list[nn.Module] = []
    for layer in network:
        if isinstance(layer, LIF):
            layers.append(neuron(layer))
        else:
            layers.append(linear(layer) if isinstance(layer, nn.Linear) else layer)
    return Layered(layers)


def of_peer(
    network: nn.Sequential,
    peer: Peer,
    leak: float,
    threshold: float,
    linear: Callable[[nn.Linear], nn.Module] = lambda layer: layer,
) -> Layered:
    """A network of ours with the neurons of a peer, all with one leak and threshold."""

    def neuron(_: LIF) -> nn.Module:
        return peer.neuron(leak, threshold)

    return layered(network, neuron, linear)


def contiguous(network: nn.Sequential) -> nn.Sequential:
    """A copy of a network with the same numbers and weights laid out as torch lays them out.

    Ours may lay them out otherwise for its own products, which others shall not have to bear.
    """
    made = copy.deepcopy(network)
    for parameter in made.parameters():
        parameter.data = parameter.data.contiguous()
    return made
