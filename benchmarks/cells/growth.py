"""How a training step grows with steps, depth, width and batch."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks import ours, peers
from benchmarks.cells.feed_forward import Workload, baselines, cotangent_of, parameters_of
from benchmarks.cells.workload import (
    LEAK,
    THRESHOLD,
    calibrate_,
    generator,
    once,
    spikes,
)
from benchmarks.harness import Options, clock_of, interleave
from benchmarks.result import Result
from snnlib import networks

__all__ = ["CELLS", "network_of"]

BASE = {"steps": 10, "depth": 10, "width": 256, "batch": 32}
SIZES: dict[str, list[int]] = {
    "steps": [1, 2, 5, 10, 20, 50, 100, 200],
    "depth": [10, 20, 50, 100, 200],
    "width": [32, 64, 128, 256, 512, 1024],
    "batch": [1, 4, 16, 64, 256],
}
QUICK_BASE = {"steps": 4, "depth": 4, "width": 64, "batch": 16}
QUICK_SIZES: dict[str, list[int]] = {
    "steps": [1, 4, 16],
    "depth": [3, 6, 12],
    "width": [32, 64, 128],
    "batch": [4, 16, 64],
}
RATE = 0.1

LEVERS = ("snnlib", *(f"snnlib, fused, keeps {keep}" for keep in ours.KEEPS))
"""Variants of ours whose growth is measured: a growth is no matter of the product's route."""


def network_of(sizes: dict[str, int]) -> Workload:
    """A network whose layers all fire at one rate, whatever its sizes."""
    width = sizes["width"]
    network = networks.mlp(
        [width] * (sizes["depth"] + 1),
        threshold=THRESHOLD,
        leak=LEAK,
        encode=False,
        generator=generator(0),
    )
    current = spikes((sizes["steps"], sizes["batch"], width), RATE)
    calibrate_(network, current, RATE)
    return Workload(network, current, True, dict(sizes))


def calls_of(work: Workload, options: Options, result: Result) -> dict[str, Callable[[], None]]:
    """One training step of every variant."""
    work.network.to(options.device)
    work.current = work.current.to(options.device)
    found, skipped = baselines(work, options)
    result.bases = list(found)
    plain = peers.contiguous(work.network)
    own, missing = ours.variants(work.network, plain)
    skipped |= {name: why for name, why in missing.items() if name in LEVERS}
    found |= {name: variant for name, variant in own.items() if name in LEVERS}
    here, absent = peers.installed()
    for peer in here:
        network = peers.of_peer(plain, peer, LEAK, THRESHOLD)
        found[peer.name] = ours.Variant(network.to(options.device))
    result.skipped |= skipped | absent
    cotangent = cotangent_of(work)
    rows = cotangent.flatten(0, 1)
    return {
        name: once(
            variant.run,
            parameters_of(variant.run),
            work.current,
            rows if name in result.bases else cotangent,
            variant.context,
        )
        for name, variant in found.items()
    }


def measure(axis: str, options: Options) -> Result:
    """One cell: all variants at every size."""
    base, grid = (QUICK_BASE, QUICK_SIZES) if options.quick else (BASE, SIZES)
    fixed = {name: value for name, value in base.items() if name != axis}
    about: dict[str, Any] = {"axis": axis, **fixed, "rate": RATE}
    title = f"training step against {axis}"
    result = Result(f"growth-{axis}", title, "growth", about=about, sizes=list(grid[axis]))
    for size in grid[axis]:
        calls = calls_of(network_of({**base, axis: size}), options, result)
        taken = interleave(calls, rounds=options.rounds, clock=clock_of(options))
        for name, rounds in taken.items():
            result.seconds.setdefault(name, []).append(rounds)
    return result


CELLS: dict[str, Callable[[Options], Result]] = {
    f"growth-{axis}": partial(measure, axis) for axis in SIZES
}
