"""Networks of NIR graphs that are no plain row of layers: branches, sums and loops."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from snnlib.init.flow import source
from snnlib.init.operations import remember
from snnlib.interop.nir.layers import Drive, Promoting, over_time
from snnlib.interop.nir.order import ordered
from snnlib.networks.feed_forward import ROWS
from snnlib.neurons import LIF, CurrentLIF, LeakyIntegrator
from snnlib.neurons.current_lif import run_current_lif
from snnlib.neurons.lif import run_lif

__all__ = ["Branched"]

WATCHES = ("_forward_hooks", "_forward_pre_hooks")


class Branched(Promoting):
    """The network of a NIR graph with branches or loops: each layer gets the sum of its sources.

    A source that does not stand before its layer leads back: what it sends arrives one step
    later, and nothing arrives at the first. Layers of one loop are run step by step, all others
    over all steps at once. Where hooks watch a layer of a loop, the layer is run once more over
    all steps, on the currents that the steps gave; a gradient that is taken at such a current
    leaves out the way through the loop.

    Args:
        layers: Layers by name, in the order in which a step runs them. In loops there may be `LIF`,
            `CurrentLIF`, `LeakyIntegrator`, `Drive`, and layers without memory.
        sources: For each layer the names of those that lead to it; "" is the input.
        outputs: Names of the layers whose sum is the output.

    Raises:
        ValueError: If a name is unknown, a layer gets nothing but what leads back, or a layer of a
            loop cannot be run step by step.

    Example:
        A sum, and two layers that drive each other: the spike of "b" reaches "a" a step later.

        >>> add = Branched({"a": nn.Identity(), "b": nn.Identity()}, {"a": [""], "b": ["", "a"]},
        ...                ["b"])
        >>> add(torch.ones(1, 1, 2)).tolist()
        [[[2.0, 2.0]]]
        >>> both = {"a": LIF(leak=0.0, threshold=0.4), "b": LIF(leak=0.0, threshold=0.4)}
        >>> loop = Branched(both, {"a": ["", "b"], "b": ["a"]}, ["b"])
        >>> loop(torch.tensor([1.0, 0.0, 0.0]).reshape(3, 1, 1)).flatten().tolist()
        [1.0, 1.0, 1.0]
    """

    def __init__(
        self,
        layers: Mapping[str, nn.Module],
        sources: Mapping[str, Sequence[str]],
        outputs: Sequence[str],
    ) -> None:
        super().__init__()
        for name, layer in layers.items():
            self.add_module(name, layer)
        self.sources = {name: list(sources[name]) for name in layers}
        self.outputs = list(outputs)
        self.groups = self._checked()

    def back(self, name: str) -> list[str]:
        """Those sources of a layer that lead back to it, a step later."""
        names = list(self.sources)
        before = {"", *names[: names.index(name)]}
        return [source for source in self.sources[name] if source not in before]

    def _checked(self) -> list[list[str]]:
        """Layers and loops in the order in which they run."""
        names = list(self.sources)
        for name, given in (*self.sources.items(), ("outputs", self.outputs)):
            strangers = [source for source in given if source and source not in names]
            if strangers or not given:
                raise ValueError(
                    f"sources of {name!r} must be names of layers, got {strangers or given}"
                )
        edges = [(source, name) for name, given in self.sources.items() for source in given]
        groups = [sorted(group, key=names.index) for group in ordered(names, edges)]
        for name in names:
            if len(self.back(name)) == len(self.sources[name]):
                raise ValueError(
                    f"sources of {name!r} must hold one that stands before it, got "
                    f"{self.sources[name]}"
                )
        for group in groups:
            if len(group) > 1 or self.back(group[0]):
                for name in group:
                    _check_steps(name, self.get_submodule(name))
        return groups

    def forward(self, current: Tensor) -> Tensor:
        """Output of the graph, [T, batch, ...]."""
        current, wider = self.promoted(current)
        if wider:
            return torch.func.functional_call(self, wider, (current,))
        found = {"": current}
        for group in self.groups:
            name = group[0]
            if len(group) == 1 and not self.back(name):
                layer = self.get_submodule(name)
                found[name] = over_time(layer, _sum(found, self.sources[name]))
            else:
                self._run_loop(group, found)
        return _sum(found, self.outputs)

    def _run_loop(self, group: list[str], found: dict[str, Tensor]) -> None:
        """Step by step, and if somebody watches, each layer over what these steps gave."""
        back = {name: self.back(name) for name in group}
        layers = {name: self.get_submodule(name) for name in group}
        states: dict[str, Any] = dict.fromkeys(group)
        steps: list[dict[str, Tensor]] = []
        for t in range(found[""].shape[0]):
            now: dict[str, Tensor] = {}
            for name in group:
                given = [
                    now[s] if s in now else found[s][t]
                    for s in self.sources[name]
                    if s not in back[name]
                ]
                given += [steps[-1][s] for s in back[name] if steps]
                total = _total(given)
                now[name], states[name] = _step(layers[name], total, states[name])
            steps.append(now)
        made = {name: torch.stack([now[name] for now in steps]) for name in group}
        if not _watched(layers.values()):
            found |= made
            return
        for name in group:
            given = [found[s] for s in self.sources[name] if s not in back[name]]
            for s in back[name]:
                late = torch.cat([torch.zeros_like(made[s][:1]), made[s][:-1]])
                given.append(remember(late, source(layers[s])))
            found[name] = over_time(layers[name], _total(given))


def _watched(layers: Any) -> bool:
    """Whether hooks, a replaced trace or a mode of torch see what runs."""
    return torch._C._len_torch_function_stack() > 0 or any(
        any(getattr(layer, name) for name in WATCHES) or "trace" in vars(layer) for layer in layers
    )


def _check_steps(name: str, layer: nn.Module) -> None:
    known = type(layer) in (LIF, CurrentLIF) or isinstance(
        layer, (LeakyIntegrator, Drive, *ROWS, nn.Identity, nn.Flatten)
    )
    held = any(isinstance(inner, (LIF, LeakyIntegrator)) for inner in layer.modules())
    robust = getattr(layer, "threshold_gradient", "") == "threshold_robust"
    if (held and not known) or robust:
        raise ValueError(
            f"layers: {name!r} stands in a loop, where a {type(layer).__name__}"
            f"{' that sends its threshold' if robust else ''} cannot be run step by step; known "
            "are LIF, CurrentLIF, LeakyIntegrator, Drive and layers without memory"
        )


def _step(layer: nn.Module, now: Tensor, state: Any) -> tuple[Tensor, Any]:
    """Output of one step [batch, ...], and the state behind it; None is the one before the first.

    No hook sees it.
    """
    if isinstance(layer, LIF):
        start = layer._start() if state is None else state
        settings = layer._settings
        if isinstance(layer, CurrentLIF):
            synapse = (layer.synapse_leak, layer.input_gain, layer.delay)
            trace: Any = run_current_lif(
                now[None], layer.leak, layer.threshold, synapse, start, settings
            )
        else:
            trace = run_lif(now[None], layer.leak, layer.threshold, start, settings)
        return trace.spikes[0], trace.state
    if isinstance(layer, LeakyIntegrator):
        return layer.step(now, state)
    if isinstance(layer, Drive):
        rows = now[None] if state is None else now.expand(2, *now.shape)
        return layer.forward(rows)[-1], True
    if isinstance(layer, ROWS):
        return layer.forward(now), None
    return layer.forward(now[None])[0], None


def _sum(found: Mapping[str, Tensor], names: Sequence[str]) -> Tensor:
    return _total([found[name] for name in names])


def _total(values: Sequence[Tensor]) -> Tensor:
    total = values[0]
    for value in values[1:]:
        total = total + value
    return total
