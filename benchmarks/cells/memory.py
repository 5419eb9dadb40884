"""Memory that training a deep network takes, by resident size: one fresh process per measurement.

    python -m benchmarks.cells.memory VARIANT DEPTH WIDTH STEPS BATCH DEVICE

prints bytes per neuron and step, held between forward and backward, and at the highest moment of
both. Weights, their gradients, the input and the libraries are there before and do not count: a
small pass warms up what grows once, and the allocator gives back what it keeps in reserve.

glibc keeps freed memory of middle size, and spreads what lives over it, so that a resident size
says as much about the order of frees as about a library. With `EXACT` in the environment every
tensor is mapped and given back by itself: then the resident size is that of what lives. Without it
is what a user sees who sets nothing.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks import ours, peers
from benchmarks.cells.workload import LEAK, THRESHOLD, calibrate_, even, spikes
from benchmarks.harness import Options
from benchmarks.result import Result
from snnlib import networks

__all__ = ["CELLS", "bytes_per_neuron_step"]

ROOT = Path(__file__).resolve().parent.parent.parent
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
RATE = 0.1
EXACT = {"MALLOC_MMAP_THRESHOLD_": "32768"}
QUICK = ("snnlib", "SpikingJelly")
PROCESSES = 3
"""Of each variant: the sizes hardly differ from process to process."""


def resident(name: str) -> int:
    """Bytes of this process: "VmRSS" now, "VmHWM" at most since the last `forget_peak`.

    Raises:
        OSError: If the system has no such file.
    """
    for line in STATUS.read_text(encoding="ascii").splitlines():
        if line.startswith(f"{name}:"):
            return 1024 * int(line.split()[1])
    raise OSError(f"{STATUS} says nothing of {name}")


def forget_peak() -> None:
    """Let the highest resident size count from now on; give back what the allocator holds free."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:  # glibc's; other allocators give back by themselves
        trim(0)
    CLEAR.write_text("5", encoding="ascii")


def networks_of(depth: int, width: int, current: Tensor) -> Iterator[tuple[str, ours.Variant]]:
    """The variants, with the same weights; later ones are built when they are asked for."""
    network = even(depth, width)
    calibrate_(network, current[:, :8].cpu(), RATE)
    network.to(current.device)
    plain = peers.contiguous(network)
    yield from ours.variants(network, plain)[0].items()
    for peer in peers.installed()[0]:
        made = peers.of_peer(plain, peer, LEAK, THRESHOLD)
        yield peer.name, ours.Variant(made.to(current.device))


def bytes_per_neuron_step(variant: ours.Variant, current: Tensor, neurons: int) -> dict[str, float]:
    """What one forward and backward pass holds and needs.

    Args:
        variant: The network.
        current: Input [T, batch, features].
        neurons: Neurons of one sample.

    Returns:
        "held" after the forward pass, "peak" over both passes.
    """
    assert isinstance(variant.run, nn.Module)
    parameters = list(variant.run.parameters())
    with variant.context():
        out = variant.run(current[:1, :1])
        out.backward(torch.ones_like(out))  # makes the gradients of the weights, too
        del out
        cotangent = torch.ones_like(current)
        now: Callable[[], int]
        peak: Callable[[], int]
        if current.device.type == "cuda":
            now, peak = torch.cuda.memory_allocated, torch.cuda.max_memory_allocated
            torch.cuda.reset_peak_memory_stats()
        else:
            now, peak = partial(resident, "VmRSS"), partial(resident, "VmHWM")
            forget_peak()
        before = now()
        out = variant.run(current)
        held = now() - before
        out.backward(cotangent)
        most = peak() - before
    assert all(parameter.grad is not None for parameter in parameters)
    count = neurons * current.shape[0] * current.shape[1]
    return {"held": held / count, "peak": most / count}


def measure(options: Options) -> Result:
    """The cell: every variant in processes of its own, in turn."""
    depth, width, steps, batch = (10, 256, 20, 64) if options.quick else (100, 256, 20, 64)
    about = {"depth": depth, "width": width, "steps": steps, "batch": batch, "rate": RATE}
    title = "memory of a training step, bytes per neuron and step"
    result = Result("memory", title, "memory", about=about)
    if options.device == "cpu" and not (STATUS.exists() and CLEAR.exists()):
        result.kind, result.skipped[""] = "skipped", f"this system has no {CLEAR}"
        return result
    probe = networks.mlp([width, width], encode=False)
    own, missing = ours.variants(probe, probe)
    here, absent = peers.installed()
    result.skipped |= missing | absent
    sizes = [str(size) for size in (depth, width, steps, batch)]
    names = [*own, *(peer.name for peer in here)]
    if options.quick:
        names = [name for name in names if name in QUICK or ", fused" in name]
    for _ in range(1 if options.quick else PROCESSES):
        for name in names:
            found = _in_a_process([name, *sizes, options.device], EXACT)
            if options.device == "cpu" and not options.quick:
                found["as it is"] = _in_a_process([name, *sizes, options.device], {})["peak"]
            kept = result.seconds.setdefault(name, {moment: [] for moment in found})
            for moment, value in found.items():
                kept[moment].append(value)
    return result


def _in_a_process(arguments: list[str], environment: dict[str, str]) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "benchmarks.cells.memory", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"memory of {arguments[0]}: {done.stderr.strip()[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def main(arguments: Sequence[str]) -> None:
    """Measure one variant in this process and print it."""
    name, *numbers, device = arguments
    depth, width, steps, batch = map(int, numbers)
    torch.set_num_threads(1)
    current = spikes((steps, batch, width), RATE).to(device)
    for label, variant in networks_of(depth, width, current):
        if label == name:
            print(json.dumps(bytes_per_neuron_step(variant, current, depth * width)))
            return
    raise SystemExit(f"no variant {name!r}")


CELLS: dict[str, Callable[[Options], Result]] = {"memory": measure}

if __name__ == "__main__":
    main(sys.argv[1:])
