"""Time LIF neurons with a synaptic current against other ways to compute the same.

    python benchmarks/current_lif.py [--steps 20] [--batch 128] [--width 600] [--repeats 60]

Measured as in `lif.py`, whose neuron without a synapse is the bound here.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

import torch
from lif import LEAK, THRESHOLD, Spike, compare, settings
from torch import Tensor, nn

from snnlib.neurons import LIF, CurrentLIF
from snnlib.surrogate import Surrogate

SYNAPSE = 0.5


def plain_loop(surrogate: Surrogate) -> Callable[[Tensor], Tensor]:
    """The neuron as a Python loop that autograd records step by step."""

    def run(current: Tensor) -> Tensor:
        u, x, s = (torch.zeros_like(current[0]) for _ in range(3))
        spikes = []
        for i in current:
            s = SYNAPSE * s + i
            u = LEAK * u - THRESHOLD * x.detach() + s
            x = Spike.apply(u - THRESHOLD, surrogate)
            spikes.append(x)
        return torch.stack(spikes)

    return run


def snntorch_node() -> Callable[[Tensor], Tensor]:
    """The step module of snnTorch in a loop, as its tutorials use it."""
    import snntorch

    node = snntorch.Synaptic(alpha=SYNAPSE, beta=LEAK, threshold=THRESHOLD)

    def run(current: Tensor) -> Tensor:
        synapse, membrane = node.reset_mem()
        spikes = []
        for i in current:
            spike, synapse, membrane = node(i, synapse, membrane)
            spikes.append(spike)
        return torch.stack(spikes)

    return run


def norse_cell() -> Callable[[Tensor], Tensor]:
    """Norse's layer over time with its default neuron, which resets to zero."""
    import norse.torch

    parameters = norse.torch.LIFParameters(
        tau_mem_inv=torch.tensor(1e3 * (1 - LEAK)), tau_syn_inv=torch.tensor(1e3 * (1 - SYNAPSE))
    )
    layer = norse.torch.LIF(parameters)

    def run(current: Tensor) -> Tensor:
        return layer(current)[0]

    return run


def main() -> None:
    """Time the variants of the neuron with a synaptic current."""
    options = settings(__doc__.splitlines()[0])
    constants = {"leak": LEAK, "synapse_leak": SYNAPSE, "threshold": THRESHOLD}
    neurons: dict[str, Callable[[Tensor], Tensor]] = {
        "snnlib": CurrentLIF(**constants),
        "product only": nn.Identity(),
        "snnlib, no synapse": LIF(leak=LEAK, threshold=THRESHOLD),
        "snnlib, gain and delay": CurrentLIF(**constants, input_gain=0.5, delay=0.5),
        "snnlib, learned": CurrentLIF(
            **constants, learn_leak=True, learn_threshold=True, learn_synapse_leak=True
        ).to(options.device),
        "plain loop": plain_loop(Surrogate("arctan")),
    }
    for name, make in (("snntorch", snntorch_node), ("norse", norse_cell)):
        if importlib.util.find_spec(name) is not None:
            neurons[name] = make()
    compare(neurons, options)


if __name__ == "__main__":
    main()
