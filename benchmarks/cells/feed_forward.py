"""Feed-forward networks: a deep forward pass, training steps and inference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks import ours, peers, products
from benchmarks.agreement import agreement, agreements
from benchmarks.cells.workload import (
    LEAK,
    THRESHOLD,
    calibrate_,
    even,
    generator,
    mean_rate,
    once,
    spikes,
)
from benchmarks.harness import Options, clock_of, interleave
from benchmarks.ours import Variant
from benchmarks.result import Result
from snnlib import networks

__all__ = ["CELLS", "Workload", "baselines", "cotangent_of", "parameters_of"]

DEFAULT, ONEDNN, CHANNELS_LAST = "products", "products by oneDNN", "products, channels last"


@dataclass
class Workload:
    """A network, its input and what is asked of it.

    Attributes:
        network: The network as `snnlib.networks` builds it.
        current: Input [T, batch, features...].
        backward: Whether gradients are wanted.
        about: Facts for the table.
    """

    network: nn.Sequential
    current: Tensor
    backward: bool
    about: dict[str, Any]


def baselines(work: Workload, options: Options) -> tuple[dict[str, Variant], dict[str, str]]:
    """The products alone, by every route."""
    found: dict[str, Variant] = {}
    skipped: dict[str, str] = {}
    steps, batch = work.current.shape[:2]
    rows = torch.randn(steps * batch, *work.current.shape[2:], generator=generator(3))
    rows = rows.to(options.device)

    def add(name: str, layers: nn.Sequential, **form: Any) -> None:
        layers, own = layers.to(options.device, **form), rows.contiguous(**form)
        found[name] = Variant(lambda _: layers(own))

    add(DEFAULT, products.chain(work.network))
    if why := products.onednn_missing() if options.device == "cpu" else "only on the CPU":
        skipped[ONEDNN] = why
    else:
        add(ONEDNN, products.chain(work.network, linear=products.OneDNNLinear))
    if any(isinstance(layer, nn.Conv2d) for layer in work.network):
        add(CHANNELS_LAST, products.chain(work.network), memory_format=torch.channels_last)
    return found, skipped


def _peers(
    work: Workload, plain: nn.Sequential, options: Options, result: Result
) -> dict[str, Variant]:
    """The other libraries with the same weights, and with their products swapped."""
    here, missing = peers.installed()
    result.skipped |= missing
    found: dict[str, Variant] = {}
    cotangent = cotangent_of(work)
    for peer in here:
        network = peers.of_peer(plain, peer, LEAK, THRESHOLD)
        network.to(options.device)
        found[peer.name] = Variant(network)
        equals = peers.Layered([peer.equal(m) if _is_peer(m, plain) else m for m in network.layers])
        result.agreement[peer.name] = agreement(
            network, equals, work.current, cotangent, backward=work.backward
        )
        swapped = f"{peer.name}, oneDNN products"
        if why := products.onednn_missing() if options.device == "cpu" else "only on the CPU":
            result.skipped[swapped] = why
        elif any(isinstance(layer, nn.Conv2d) for layer in work.network):
            result.skipped[swapped] = "torch's convolutions are oneDNN's already"
        else:
            found[swapped] = Variant(
                peers.of_peer(plain, peer, LEAK, THRESHOLD, products.OneDNNLinear)
            )
    return found


def _is_peer(module: nn.Module, network: nn.Sequential) -> bool:
    return all(module is not layer for layer in network)


def cotangent_of(work: Workload) -> Tensor:
    """A gradient of the output, the same for all."""
    with torch.no_grad():
        shape = work.network(work.current).shape
    return torch.randn(shape, generator=generator(4)).to(work.current.device)


def measure(name: str, title: str, make: Callable[[bool], Workload], options: Options) -> Result:
    """One cell: all variants, interleaved."""
    work = make(options.quick)
    work.network.to(options.device)
    work.current = work.current.to(options.device)
    result = Result(name, title, "speed", about=work.about)
    result.about["rate"] = mean_rate(work.network, work.current)
    found, skipped = baselines(work, options)
    result.bases = list(found)
    plain = peers.contiguous(work.network)
    own, missing = ours.variants(work.network, plain)
    result.skipped |= skipped | missing
    cotangent = cotangent_of(work)
    result.agreement = agreements(own, work.current, cotangent, backward=work.backward)
    found |= own | _peers(work, plain, options, result)
    rows = cotangent.flatten(0, 1)
    calls = {}
    for label, variant in found.items():
        grad = rows if label in result.bases else cotangent
        parameters = parameters_of(variant.run)
        calls[label] = once(
            variant.run,
            parameters,
            work.current,
            grad if work.backward else None,
            variant.context,
        )
    result.seconds = interleave(calls, rounds=options.rounds, clock=clock_of(options))
    return result


def parameters_of(run: Any) -> list[nn.Parameter]:
    """Parameters of a module, or of the layers that a function closes over."""
    if isinstance(run, nn.Module):
        return list(run.parameters())
    inside = [cell.cell_contents for cell in run.__closure__ or ()]
    return [p for value in inside if isinstance(value, nn.Module) for p in value.parameters()]


def deep(batch: int, quick: bool) -> Workload:
    """A deep network whose layers all fire at 7 %."""
    depth, width, steps, rate = (20, 500, 10, 0.07) if quick else (100, 1000, 20, 0.07)
    network = even(depth, width)
    current = spikes((steps, batch, width), rate)
    calibrate_(network, current, rate)
    about = {"depth": depth, "width": width, "steps": steps, "batch": batch}
    return Workload(network, current, False, about)


def mlp(steps: int, batch: int, backward: bool, quick: bool) -> Workload:
    """The fully connected network of Micheli et al."""
    inputs, width, depth = (196, 300, 4) if quick else (784, 600, 10)
    batch = batch // 4 if quick else batch
    network = networks.mlp(
        [inputs, *[width] * (depth - 1), 10],
        threshold=THRESHOLD,
        leak=LEAK,
        generator=generator(0),
    )
    image = torch.randn(batch, inputs, generator=generator(1))
    about = {"inputs": inputs, "width": width, "depth": depth, "steps": steps, "batch": batch}
    return Workload(network, networks.constant(image, steps), backward, about)


def cnn(steps: int, batch: int, backward: bool, quick: bool) -> Workload:
    """The convolutional network of Micheli et al."""
    channels, side = ([32] * 3, 14) if quick else ([64] * 6, 28)
    batch = batch // 4 if quick else batch
    network = networks.convnet(
        (1, side, side),
        10,
        channels=channels,
        threshold=THRESHOLD,
        leak=LEAK,
        generator=generator(0),
    )
    image = torch.randn(batch, 1, side, side, generator=generator(1))
    about = {
        "convolutions": len(channels),
        "channels": channels[0],
        "side": side,
        "steps": steps,
        "batch": batch,
    }
    return Workload(network, networks.constant(image, steps), backward, about)


TITLES: dict[str, tuple[str, Callable[[bool], Workload]]] = {
    "forward-1": ("deep forward pass, one sample", partial(deep, 1)),
    "forward-16": ("deep forward pass, 16 samples", partial(deep, 16)),
    "mlp-t3": ("training step, fully connected", partial(mlp, 3, 128, True)),
    "mlp-t20": ("training step, fully connected, more steps", partial(mlp, 20, 128, True)),
    "mlp-t3-b512": ("training step, fully connected, larger batch", partial(mlp, 3, 512, True)),
    "cnn": ("training step, convolutions", partial(cnn, 3, 32, True)),
    "infer-mlp": ("inference, fully connected", partial(mlp, 3, 128, False)),
    "infer-cnn": ("inference, convolutions", partial(cnn, 3, 32, False)),
}

CELLS: dict[str, Callable[[Options], Result]] = {
    name: partial(measure, name, title, make) for name, (title, make) in TITLES.items()
}
