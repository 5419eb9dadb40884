"""Time LIF neurons, alone and after a linear map, against other ways to compute the same.

    python benchmarks/lif.py [--steps 20] [--batch 128] [--width 600] [--repeats 60] [--threads 1]

All variants run interleaved in one process, in an order that is shuffled each round; a ratio is
the median over rounds of (time of the variant / time of snnlib in the same round), so that a slow
phase of the machine hits both. "product only" is the linear map without any neuron: the bound.
With one thread the processor's time for this process is counted, else wall-clock time.
The backward pass gives the gradients of the input and, with the linear map, of the weights.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import random
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from snnlib.neurons import LIF
from snnlib.surrogate import Surrogate

LEAK, THRESHOLD = 0.5, 1.0


class Spike(torch.autograd.Function):
    """A step with a surrogate derivative, for the plain loop."""

    @staticmethod
    def forward(ctx, v, surrogate):
        """Spike where v > 0."""
        ctx.save_for_backward(v)
        ctx.surrogate = surrogate
        return (v > 0).to(v.dtype)

    @staticmethod
    def backward(ctx, grad):
        """Replace the derivative by the surrogate's."""
        return grad * ctx.surrogate.derivative(*ctx.saved_tensors), None


def plain_loop(surrogate: Surrogate) -> Callable[[Tensor], Tensor]:
    """The neuron as a Python loop that autograd records step by step."""

    def run(current: Tensor) -> Tensor:
        u, x, spikes = torch.zeros_like(current[0]), torch.zeros_like(current[0]), []
        for i in current:
            u = LEAK * u - THRESHOLD * x.detach() + i
            x = Spike.apply(u - THRESHOLD, surrogate)
            spikes.append(x)
        return torch.stack(spikes)

    return run


def spikingjelly_node() -> Callable[[Tensor], Tensor]:
    """SpikingJelly's multi-step node, soft reset (which leaks what it subtracts)."""
    from spikingjelly.activation_based import functional, neuron, surrogate

    node = neuron.LIFNode(
        tau=1 / (1 - LEAK),
        decay_input=False,
        v_threshold=THRESHOLD,
        v_reset=None,
        surrogate_function=surrogate.ATan(),
        detach_reset=True,
        step_mode="m",
    )

    def run(current: Tensor) -> Tensor:
        functional.reset_net(node)
        return node(current)

    return run


def snntorch_node() -> Callable[[Tensor], Tensor]:
    """The step module of snnTorch in a loop, as its tutorials use it."""
    import snntorch

    node = snntorch.Leaky(beta=LEAK, threshold=THRESHOLD)

    def run(current: Tensor) -> Tensor:
        mem, spikes = node.reset_mem(), []
        for i in current:
            spike, mem = node(i, mem)
            spikes.append(spike)
        return torch.stack(spikes)

    return run


def settings(description: str) -> argparse.Namespace:
    """Read the sizes from the command line."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--width", type=int, default=600)
    parser.add_argument("--repeats", type=int, default=60)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    return options


def compare(neurons: dict[str, Callable[[Tensor], Tensor]], options: argparse.Namespace) -> None:
    """Time all variants, the first of which the others are compared with, and print a table."""
    torch.manual_seed(0)
    shape = (options.steps, options.batch, options.width)
    inputs = (torch.rand(shape) < 0.2).float().to(options.device)
    linear = nn.Linear(options.width, options.width, bias=False).to(options.device)
    nn.init.normal_(linear.weight, std=(5 / options.width) ** 0.5)
    cotangent = torch.randn(shape).to(options.device)
    inputs.requires_grad_()

    clock = time.perf_counter
    if options.device == "cpu" and options.threads == 1:
        clock = time.process_time  # other processes do not count

    def run(layer: nn.Module, neuron: Callable[[Tensor], Tensor], backward: bool) -> float:
        linear.weight.grad = inputs.grad = None
        if options.device != "cpu":
            torch.cuda.synchronize()
        start = clock()
        if backward:
            neuron(layer(inputs)).backward(cotangent)
        else:
            with torch.no_grad():
                neuron(layer(inputs))
        if options.device != "cpu":
            torch.cuda.synchronize()
        return clock() - start

    first = next(iter(neurons))
    print(f"torch {torch.__version__}, {options.device}, {options.threads} thread(s), {shape=}")
    for layer, backward in itertools.product((linear, nn.Identity()), (False, True)):
        times: dict[str, list[float]] = {
            name: [] for name in neurons if layer is linear or name != "product only"
        }
        order = list(times)
        for number in range(options.repeats + 3):
            random.shuffle(order)
            for name in order:
                seconds = run(layer, neurons[name], backward)
                if number >= 3:
                    times[name].append(seconds)
        print(
            ("linear map and neurons" if layer is linear else "neurons alone")
            + (", forward and backward" if backward else ", forward")
        )
        for name, seconds in times.items():
            pairs = zip(seconds, times[first], strict=True)
            ratio = statistics.median(a / b for a, b in pairs)
            median, least = 1e3 * statistics.median(seconds), 1e3 * min(seconds)
            print(f"  {name:24s} {median:8.2f} ms (least {least:.2f})   x{ratio:.2f}")


def main() -> None:
    """Time the variants of the LIF neuron."""
    options = settings(__doc__.splitlines()[0])
    surrogate = Surrogate("arctan")
    neurons: dict[str, Callable[[Tensor], Tensor]] = {
        "snnlib": LIF(leak=LEAK, threshold=THRESHOLD, surrogate=surrogate),
        "product only": nn.Identity(),
        "snnlib, attached reset": LIF(leak=LEAK, threshold=THRESHOLD, detach_reset=False),
        "snnlib, reset to zero": LIF(leak=LEAK, threshold=THRESHOLD, reset="zero"),
        "snnlib, learned": LIF(
            leak=LEAK, threshold=THRESHOLD, learn_leak=True, learn_threshold=True
        ).to(options.device),
        "plain loop": plain_loop(surrogate),
    }
    for name, make in (("spikingjelly", spikingjelly_node), ("snntorch", snntorch_node)):
        if importlib.util.find_spec(name) is not None:
            neurons[name] = make()
    compare(neurons, options)


if __name__ == "__main__":
    main()
