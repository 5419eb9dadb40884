"""A recurrent layer behind its input map: the training step."""

from __future__ import annotations

import abc
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from benchmarks import ours, peers, products
from benchmarks.agreement import agreement, agreements
from benchmarks.cells.feed_forward import parameters_of
from benchmarks.cells.workload import generator, mean_rate, once, spikes
from benchmarks.harness import Options, clock_of, interleave
from benchmarks.ours import Variant
from benchmarks.result import Result
from snnlib.networks import FeedForward
from snnlib.neurons import LIF, RecurrentLIF
from snnlib.resets import RecurrentReset

__all__ = ["CELLS"]

LEAK, THRESHOLD = 0.875, 1.0
"""Exact in binary, so that every library holds the same numbers."""

Linear = Callable[[Tensor, Tensor], Tensor]


class Map(nn.Module):
    """A weight of somebody else's, multiplied by a route of one's own."""

    def __init__(self, weight: nn.Parameter, linear: Linear) -> None:
        super().__init__()
        self.weight, self.linear = weight, linear

    def forward(self, x: Tensor) -> Tensor:
        """The product."""
        return self.linear(x.to(self.weight.dtype), self.weight)  # snnTorch's are float32


class Layer(nn.Module):
    """The input map on all steps at once, then what loops over them."""

    def __init__(self, first: nn.Parameter, loop: nn.Module, linear: Linear) -> None:
        super().__init__()
        self.map, self.loop = Map(first, linear), loop

    def forward(self, x: Tensor) -> Tensor:
        """Spikes of all steps."""
        return self.loop(self.map(x))


class Products(nn.Module):
    """The recurrent products alone."""

    def __init__(self, weight: nn.Parameter, route: str) -> None:
        super().__init__()
        self.weight, self.route = weight, route

    def forward(self, current: Tensor) -> Tensor:
        """One product a step."""
        return products.RecurrentProducts.apply(current, self.weight, self.route)


class Loop(nn.Module, abc.ABC):
    """A neuron of one step in a loop of the user's own: `step(current, state)`."""

    def __init__(self, weight: nn.Parameter, linear: Linear, node: nn.Module) -> None:
        super().__init__()
        self.map, self.node = Map(weight, linear), node

    def start(self) -> Any:
        """State before the first step."""

    @abc.abstractmethod
    def step(self, current: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Spikes and state after one step."""

    def forward(self, current: Tensor) -> Tensor:
        """Spikes of all steps."""
        x, state, spikes = torch.zeros_like(current[0]), self.start(), []
        for i in current:
            x, state = self.step(i + self.map(x), state)
            spikes.append(x)
        return torch.stack(spikes)


class SpikingJellyLoop(Loop):
    """LIFNode, single-step."""

    def __init__(self, weight: nn.Parameter, linear: Linear) -> None:
        super().__init__(weight, linear, peers.spikingjelly_node(LEAK, THRESHOLD, "s"))

    def start(self) -> None:
        """The node keeps the state itself."""
        from spikingjelly.activation_based import functional

        functional.reset_net(self.node)

    def step(self, current: Tensor, state: None) -> tuple[Tensor, None]:
        """One step."""
        return self.node(current), None


class NorseLoop(Loop):
    """The box cell."""

    def __init__(self, weight: nn.Parameter, linear: Linear) -> None:
        super().__init__(weight, linear, peers.norse_cell(LEAK, THRESHOLD))

    def step(self, current: Tensor, state: Any) -> tuple[Tensor, Any]:
        """One step."""
        return self.node(current, state)


class PlainLoop(Loop):
    """No library."""

    def __init__(self, weight: nn.Parameter, linear: Linear) -> None:
        super().__init__(weight, linear, peers.PlainLoop(LEAK, THRESHOLD))

    def start(self) -> tuple[float, float]:
        """At rest."""
        return 0.0, 0.0

    def step(self, current: Tensor, state: Any) -> tuple[Tensor, Any]:
        """One step."""
        u, x = state
        u = LEAK * u - THRESHOLD * x + current
        x = peers.Spike.apply(u - THRESHOLD, self.node.surrogate)
        return x, (u, x.detach())


class SnnTorchLayer(nn.Module):
    """RLeaky in a loop, as its tutorials use it."""

    def __init__(self, weight: nn.Parameter, linear: Linear) -> None:
        super().__init__()
        import snntorch

        self.node = snntorch.RLeaky(beta=LEAK, threshold=THRESHOLD, linear_features=len(weight))
        self.node.recurrent = Map(weight, linear)

    def forward(self, current: Tensor) -> Tensor:
        """Spikes of all steps."""
        spike, membrane = self.node.init_rleaky()
        spikes = []
        for i in current:
            spike, membrane = self.node(i, spike, membrane)
            spikes.append(spike)
        return torch.stack(spikes).to(current.dtype)  # float32 whatever came in


def loops() -> dict[str, tuple[str, Callable[..., nn.Module], Callable[[nn.Module], LIF]]]:
    """What a peer's name in the table stands for: package, layer, its neuron as one of ours."""
    equal = {peer.name: peer.equal for peer in peers.PEERS}

    def leaky(_: nn.Module) -> LIF:  # RLeaky is Leaky and the recurrent product
        import snntorch

        node = nn.Module()
        node.node = snntorch.Leaky(beta=LEAK, threshold=THRESHOLD)
        return equal["snnTorch"](node)

    return {
        "SpikingJelly": ("spikingjelly", SpikingJellyLoop, equal["SpikingJelly"]),
        "snnTorch": ("snntorch", SnnTorchLayer, leaky),
        "Norse": ("norse", NorseLoop, equal["Norse"]),
        "plain torch": ("", PlainLoop, lambda _: LIF(leak=LEAK, threshold=THRESHOLD)),
    }


def ours_with(weight: nn.Parameter, neuron: LIF) -> RecurrentLIF:
    """A recurrent layer of ours with the equations of a neuron and a shared weight."""
    layer = RecurrentLIF(
        len(weight),
        threshold=neuron.threshold,
        leak=neuron.leak,
        reset=cast(RecurrentReset, neuron.reset),
        surrogate=neuron.surrogate,
        detach_reset=neuron.detach_reset,
        self_connections=True,
    )
    layer.weight = weight
    return layer


def measure(name: str, title: str, batch: int, options: Options) -> Result:
    """One cell: all variants, interleaved."""
    inputs, width, steps = (175, 64, 50) if options.quick else (700, 256, 100)
    batch = batch // 4 if options.quick else batch
    device, rate = options.device, 0.1
    about = {"inputs": inputs, "width": width, "steps": steps, "batch": batch}
    result = Result(name, title, "speed", about=about)
    current = spikes((steps, batch, inputs), rate).to(device)
    first, weight = (
        nn.Parameter((torch.randn(width, fan_in, generator=generator(seed)) * std).to(device))
        for seed, fan_in, std in (
            (0, inputs, (0.5 / (rate * inputs)) ** 0.5),
            (1, width, width**-0.5),
        )
    )
    linear = nn.Linear(inputs, width, bias=False)
    linear.weight = first
    layer = ours_with(weight, LIF(leak=LEAK, threshold=THRESHOLD))
    network = FeedForward(OrderedDict(linear=linear, neurons=layer))
    result.about["rate"] = mean_rate(network, current)
    cotangent = torch.randn(steps, batch, width, generator=generator(4)).to(device)
    found = _products(first, weight, result, device)
    result.bases = list(found)
    own, missing = ours.variants(network, peers.contiguous(network))
    result.skipped |= missing
    result.agreement = agreements(own, current, cotangent, backward=True)
    found |= own | _peers(first, weight, result, current, cotangent)
    calls = {
        label: once(variant.run, parameters_of(variant.run), current, cotangent, variant.context)
        for label, variant in found.items()
    }
    result.seconds = interleave(calls, rounds=options.rounds, clock=clock_of(options))
    return result


def _products(
    first: nn.Parameter, weight: nn.Parameter, result: Result, device: str
) -> dict[str, Variant]:
    found = {"products": Variant(Layer(first, Products(weight, "mkl"), products.linear_default))}
    if why := products.onednn_missing() if device == "cpu" else "only on the CPU":
        result.skipped["products by oneDNN"] = why
    else:
        layer = Layer(first, Products(weight, "onednn"), products.linear_onednn)
        found["products by oneDNN"] = Variant(layer)
    return found


def _peers(
    first: nn.Parameter, weight: nn.Parameter, result: Result, current: Tensor, cotangent: Tensor
) -> dict[str, Variant]:
    here = {peer.name for peer in peers.installed()[0]}
    found = {}
    for name, (package, make, equal) in loops().items():
        if name not in here:
            result.skipped[name] = f"{package} is not installed"
            continue
        loop = make(weight, products.linear_default)
        layer = Layer(first, loop, products.linear_default).to(current.device)
        same = Layer(first, ours_with(weight, equal(loop)), products.linear_default)
        result.agreement[name] = agreement(layer, same, current, cotangent, backward=True)
        found[name] = Variant(layer)
        swapped = f"{name}, oneDNN products"
        on_cpu = current.device.type == "cpu"
        if why := products.onednn_missing() if on_cpu else "only on the CPU":
            result.skipped[swapped] = why
        else:
            route = products.linear_onednn
            found[swapped] = Variant(Layer(first, make(weight, route), route))
    return found


CELLS: dict[str, Callable[[Options], Result]] = {
    f"recurrent-{batch}": partial(
        measure, f"recurrent-{batch}", f"training step, recurrent layer, batch {batch}", batch
    )
    for batch in (32, 256)
}
