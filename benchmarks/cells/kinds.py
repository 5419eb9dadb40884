"""The kinds of neurons behind the same linear map, forward and backward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.cells.workload import LEAK, THRESHOLD, generator, once, spikes
from benchmarks.harness import Options, clock_of, interleave
from benchmarks.result import Result
from snnlib.membrane import MPInit
from snnlib.neurons import LIF, AdaptiveLIF, CurrentLIF, RecurrentLIF

__all__ = ["CELLS"]


def neurons(width: int) -> dict[str, nn.Module]:
    """Every kind of neuron, with the settings that change how it is computed."""
    own: dict[str, Any] = {"leak": LEAK, "threshold": THRESHOLD}
    learned = {**own, "learn_leak": True, "learn_threshold": True}
    synapse = {**own, "synapse_leak": 0.5}
    return {
        "LIF": LIF(**own),
        "LIF, attached reset": LIF(**own, detach_reset=False),
        "LIF, reset to zero": LIF(**own, reset="zero"),
        "LIF, learned": LIF(**learned),
        "LIF, MP-Init": LIF(**own, reset="subtract_leak", initial=MPInit()),
        "CurrentLIF": CurrentLIF(**synapse),
        "CurrentLIF, gain and delay": CurrentLIF(**synapse, input_gain=0.5, delay=0.5),
        "CurrentLIF, learned": CurrentLIF(**learned, synapse_leak=0.5, learn_synapse_leak=True),
        "RecurrentLIF": RecurrentLIF(width, **own, generator=generator(5)),
        "AdaptiveLIF": AdaptiveLIF(width, **own, generator=generator(5)),
    }


def measure(options: Options) -> Result:
    """One cell: the linear map with each kind of neuron, and alone."""
    steps, batch, width = (10, 32, 200) if options.quick else (20, 128, 600)
    about = {"steps": steps, "batch": batch, "width": width}
    result = Result("kinds", "one layer, forward and backward", "speed", about=about)
    current = spikes((steps, batch, width), 0.2).to(options.device).requires_grad_()
    linear = nn.Linear(width, width, bias=False).to(options.device)
    with torch.no_grad():
        drawn = torch.randn(width, width, generator=generator(0)) * (5 / width) ** 0.5
        linear.weight.copy_(drawn)
    cotangent = torch.randn(steps, batch, width, generator=generator(4)).to(options.device)
    calls: dict[str, Callable[[], None]] = {}

    def add(name: str, module: nn.Module) -> None:
        module.to(options.device)

        def run(x: Tensor) -> Tensor:
            current.grad = None
            return module(linear(x))

        calls[name] = once(run, [*linear.parameters(), *module.parameters()], current, cotangent)

    add("product", nn.Identity())
    for name, module in neurons(width).items():
        add(name, module)
    result.bases = ["product", "LIF"]
    result.seconds = interleave(calls, rounds=options.rounds, clock=clock_of(options))
    return result


CELLS: dict[str, Callable[[Options], Result]] = {"kinds": measure}
