"""Time a layer with MP-Init against the same layer that starts at rest.

    python benchmarks/mpinit.py [--steps 4] [--batch 128] [--width 600] [--repeats 100]

All variants run interleaved in one process, in an order that is shuffled each round; a ratio is
the median over rounds of (time of the variant / time from rest in the same round). In training
mode a call also updates the running mean; in evaluation it only starts there. The state that a
layer gains is counted too.
"""

from __future__ import annotations

import argparse

from lif import compare
from torch import Tensor, nn

from snnlib.membrane import MPInit
from snnlib.neurons import LIF

LEAK, THRESHOLD = 0.5, 1.0


def layer(initial: MPInit | None) -> LIF:
    """The neuron of the paper: soft reset that leaks what it subtracts."""
    return LIF(leak=LEAK, threshold=THRESHOLD, reset="subtract_leak", initial=initial)


def numbers(module: nn.Module) -> int:
    """Numbers that a checkpoint of the module holds."""
    return sum(value.numel() for value in module.state_dict().values() if isinstance(value, Tensor))


def settings() -> argparse.Namespace:
    """Read the sizes from the command line."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--width", type=int, default=600)
    parser.add_argument("--repeats", type=int, default=100)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    return options


def main() -> None:
    """Time the start at rest, at a tensor and at a running mean."""
    import torch

    options = settings()
    variants = {
        "from rest": layer(None),
        "MP-Init, evaluation": layer(MPInit()).eval(),
        "MP-Init, training": layer(MPInit()),
        "MP-Init over all neurons": layer(MPInit(over="all")),
    }
    fixed = LIF(leak=LEAK, threshold=THRESHOLD, reset="subtract_leak", initial=torch.full((), 0.25))
    variants["from a fixed tensor"] = fixed
    compare({name: module.to(options.device) for name, module in variants.items()}, options)
    for name, module in variants.items():
        print(f"  {name:24s} {numbers(module)} numbers of state per layer")


if __name__ == "__main__":
    main()
