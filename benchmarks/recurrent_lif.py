"""Time recurrent LIF neurons against the same layer in other libraries.

    python benchmarks/recurrent_lif.py [--inputs 700] [--width 256] [--steps 100]
        [--batch 32 256] [--repeats 15] [--threads 1] [--device cpu]

A layer is an input map 700 -> 256 and 256 neurons with recurrent weights. It is timed as a whole
and, where a library lets the input map be taken out, from the input currents on. The backward pass
gives the gradients of all weights (and of the currents where these are the input). Every library
gets the form that is its fastest here: the input map for all steps at once, where it can be.

All variants run interleaved in one process, in an order that is shuffled each round; a ratio is
the median over rounds of (time of the variant / time of snnlib in the same round), so that a slow
phase of the machine hits both. "products only" are the matrix products without any neuron: the
bound. With one thread the processor's time for this process is counted, else wall-clock time.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import random
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from lif import Spike
from torch import Tensor, nn

from snnlib.neurons import AdaptiveLIF, RecurrentLIF
from snnlib.surrogate import Surrogate

LEAK, THRESHOLD = 0.9, 1.0
Layer = Callable[[Tensor], Tensor]


class Products(torch.autograd.Function):
    """The products with the recurrent weight that any exact implementation must do."""

    @staticmethod
    def forward(ctx: Any, current: Tensor, weight: Tensor) -> Tensor:
        """One product a step."""
        ctx.save_for_backward(current, weight)
        out, into = torch.empty_like(current), weight.t()
        for t in range(len(current)):
            torch.mm(current[t], into, out=out[t])
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        """One product a step, and one for the weight."""
        current, weight = ctx.saved_tensors
        out = torch.empty_like(grad)
        for t in range(len(grad) - 1, -1, -1):
            torch.mm(grad[t], weight, out=out[t])
        return out, grad.flatten(0, 1).t() @ current.flatten(0, 1)


def products(weight: Tensor) -> Layer:
    """The bound."""
    return lambda current: Products.apply(current, weight)


def plain_loop(weight: Tensor) -> Layer:
    """The neuron as a Python loop that autograd records step by step."""
    surrogate = Surrogate("arctan")
    away = 1 - torch.eye(len(weight), device=weight.device)

    def run(current: Tensor) -> Tensor:
        u, x, spikes = torch.zeros_like(current[0]), torch.zeros_like(current[0]), []
        matrix = (weight * away).t()
        for i in current:
            u = LEAK * u - THRESHOLD * x.detach() + torch.addmm(i, x, matrix)
            x = Spike.apply(u - THRESHOLD, surrogate)
            spikes.append(x)
        return torch.stack(spikes)

    return run


def snntorch_layer(weight: Tensor) -> Layer:
    """RLeaky in a loop, as its tutorials use it."""
    import snntorch

    node = snntorch.RLeaky(beta=LEAK, threshold=THRESHOLD, linear_features=len(weight))
    node.recurrent = nn.Linear(*weight.shape, bias=False)
    node.recurrent.weight = weight  # type: ignore[assignment]
    node.to(weight.device)

    def run(current: Tensor) -> Tensor:
        spike, membrane = node.init_rleaky()
        spikes = []
        for i in current:
            spike, membrane = node(i, spike, membrane)
            spikes.append(spike)
        return torch.stack(spikes)

    return run


def _spikingjelly_node() -> nn.Module:
    from spikingjelly.activation_based import neuron, surrogate

    return neuron.LIFNode(
        tau=1 / (1 - LEAK),
        decay_input=False,
        v_threshold=THRESHOLD,
        v_reset=None,
        surrogate_function=surrogate.ATan(),
        detach_reset=True,
        step_mode="s",
    )


def spikingjelly_container(weight: Tensor) -> Layer:
    """LIFNode in the container for recurrent connections."""
    from spikingjelly.activation_based import functional, layer

    node = layer.LinearRecurrentContainer(
        _spikingjelly_node(), len(weight), len(weight), bias=False, step_mode="m"
    ).to(weight.device)
    with torch.no_grad():
        eye = torch.eye(len(weight), device=weight.device)
        node.rc.weight.copy_(torch.cat([eye, weight], 1))

    def run(current: Tensor) -> Tensor:
        functional.reset_net(node)
        return node(current)

    return run


def spikingjelly_loop(weight: Tensor) -> Layer:
    """LIFNode in a loop of the user's own."""
    from spikingjelly.activation_based import functional

    node = _spikingjelly_node()

    def run(current: Tensor) -> Tensor:
        functional.reset_net(node)
        x, spikes = torch.zeros_like(current[0]), []
        for i in current:
            x = node(i + nn.functional.linear(x, weight))
            spikes.append(x)
        return torch.stack(spikes)

    return run


def norse_loop(weight: Tensor) -> Layer:
    """The cell without a synapse in a loop of the user's own (norse's name for it: box)."""
    import norse.torch

    cell = norse.torch.LIFBoxCell(
        norse.torch.LIFBoxParameters(tau_mem_inv=torch.tensor(1e3 * (1 - LEAK)))
    ).to(weight.device)

    def run(current: Tensor) -> Tensor:
        x, state, spikes = torch.zeros_like(current[0]), None, []
        for i in current:
            x, state = cell(i + nn.functional.linear(x, weight), state)
            spikes.append(x)
        return torch.stack(spikes)

    return run


def norse_layer(inputs: int, width: int) -> Layer:
    """LIFRecurrent, which has a synapse, holds its input map and applies it step by step."""
    import norse.torch

    layer = norse.torch.LIFRecurrent(inputs, width)
    return lambda value: layer(value)[0]


def ours(weight: nn.Parameter, layer: RecurrentLIF | AdaptiveLIF) -> Layer:
    """A layer of ours with the weight that all share."""
    layer.to(weight.device).weight = weight
    return layer


def layers(weight: nn.Parameter) -> dict[str, Layer]:
    """All layers that take a current, ours first."""
    width = len(weight)
    constants: dict[str, Any] = {"leak": LEAK, "threshold": THRESHOLD}
    found: dict[str, Layer] = {
        "snnlib": ours(weight, RecurrentLIF(width, **constants)),
        "products only": products(weight),
        "snnlib, attached reset": ours(
            weight, RecurrentLIF(width, detach_reset=False, **constants)
        ),
        "snnlib, multiplicative": ours(
            weight, RecurrentLIF(width, reset="multiplicative", **constants)
        ),
        "snnlib, learned": ours(
            weight, RecurrentLIF(width, learn_leak=True, learn_threshold=True, **constants)
        ),
        "snnlib, adaptive": ours(weight, AdaptiveLIF(width, **constants)),
        "plain loop": plain_loop(weight),
    }
    for name, package, make in (
        ("snntorch RLeaky", "snntorch", snntorch_layer),
        ("spikingjelly, container", "spikingjelly", spikingjelly_container),
        ("spikingjelly, own loop", "spikingjelly", spikingjelly_loop),
        ("norse box, own loop", "norse", norse_loop),
    ):
        if importlib.util.find_spec(package) is not None:
            found[name] = make(weight)
    return found


def compare(options: argparse.Namespace, batch: int) -> None:
    """Time all variants at one batch size and print a table."""
    device, width = options.device, options.width
    generator = torch.Generator().manual_seed(0)
    shape = (options.steps, batch, options.inputs)
    inputs = (torch.rand(shape, generator=generator) < 0.1).float().to(device)
    weight = nn.Parameter(torch.randn(width, width, generator=generator).div(width**0.5).to(device))
    first = nn.Linear(options.inputs, width, bias=False).to(device)
    with torch.no_grad():
        spread = (0.5 / (0.1 * options.inputs)) ** 0.5
        first.weight.normal_(std=spread)
        currents = first(inputs)
    cotangent = torch.randn(currents.shape, generator=generator).to(device)
    tail = layers(weight)
    whole = {name: lambda value, run=run: run(first(value)) for name, run in tail.items()}
    if importlib.util.find_spec("norse") is not None:
        layer = norse_layer(options.inputs, width)
        whole["norse LIFRecurrent"] = layer
    clock = time.perf_counter
    if device == "cpu" and options.threads == 1:
        clock = time.process_time  # other processes do not count

    def once(run: Layer, value: Tensor, backward: bool) -> float:
        weight.grad = first.weight.grad = value.grad = None
        if device != "cpu":
            torch.cuda.synchronize()
        start = clock()
        if backward:
            run(value).backward(cotangent)
        else:
            with torch.no_grad():
                run(value)
        if device != "cpu":
            torch.cuda.synchronize()
        return clock() - start

    with torch.no_grad():
        rate = tail["snnlib"](currents).mean().item()
    print(f"\n{options.inputs} -> {width}, {options.steps} steps, {batch=}, {rate=:.2f}")
    parts = {
        "input map and neurons": (whole, inputs),
        "from the currents on": (tail, currents.requires_grad_()),
    }
    for (title, (runs, value)), backward in itertools.product(parts.items(), (False, True)):
        if options.only_whole and runs is tail:
            continue
        times: dict[str, list[float]] = {name: [] for name in runs}
        order = list(times)
        for number in range(options.repeats + 2):
            random.shuffle(order)
            for name in order:
                seconds = once(runs[name], value, backward)
                if number >= 2:
                    times[name].append(seconds)
        print(title + (", forward and backward" if backward else ", forward"))
        for name, seconds in times.items():
            ratios = [a / b for a, b in zip(seconds, times["snnlib"], strict=True)]
            middle, least = 1e3 * statistics.median(seconds), 1e3 * min(seconds)
            spread_of = f"{min(ratios):.2f}..{max(ratios):.2f}"
            print(
                f"  {name:26s} {middle:9.2f} ms (least {least:.2f})   "
                f"x{statistics.median(ratios):.2f}   ({spread_of})"
            )


def main() -> None:
    """Time the variants of the recurrent layer."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=700)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--batch", type=int, nargs="+", default=[32, 256])
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only-whole", action="store_true", help="not from the currents on")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"torch {torch.__version__}, {options.device}, {options.threads} thread(s)")
    for batch in options.batch:
        compare(options, batch)


if __name__ == "__main__":
    main()
