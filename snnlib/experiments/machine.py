"""What decides the bits of a number: processor, instruction sets, and a digest of the arithmetic.

    python -m snnlib.experiments.machine

prints it. Two processors of one name round differently if their libraries choose other
instructions or block sizes, and training amplifies the last bit to another network.
"""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from snnlib._extras import require

__all__ = ["arithmetic", "describe", "kernels", "machine", "processor"]

CPUINFO = Path("/proc/cpuinfo")
CACHES = Path("/sys/devices/system/cpu/cpu0/cache")


def machine() -> str:
    """Processor, number of cores, system and GPU; no names."""
    named = _cpuinfo().get("model name") or platform.machine()
    found = f"{named}, {os.cpu_count()} cores, {platform.system()}"
    return f"{found}, {torch.cuda.get_device_name()}" if torch.cuda.is_available() else found


def processor() -> str:
    """Vendor, family, model and stepping, and sizes of the caches, by which products are blocked.

    Example:
        >>> isinstance(processor(), str)
        True
    """
    known = _cpuinfo()
    words = [known.get("vendor_id", platform.machine())]
    for name, key in (("family", "cpu family"), ("model", "model"), ("stepping", "stepping")):
        if key in known:
            words.append(f"{name} {known[key]}")
    sizes = [_text(path) for path in sorted(CACHES.glob("index*/size"))]
    return " ".join(words) + (f", caches {' '.join(sizes)}" if sizes else "")


@functools.cache
def kernels() -> str:
    """Instruction sets that torch, oneDNN, MKL and OpenBLAS use in this process's environment.

    oneDNN and MKL tell theirs in their verbose modes only, so a short process of its own is asked,
    once.

    Example:
        >>> kernels().startswith(f"torch {torch.backends.cpu.get_cpu_capability()}")
        True
    """
    found = [f"torch {torch.backends.cpu.get_cpu_capability()}"]
    code = (
        "import torch; a = torch.ones(8, 8); a @ a; torch.conv2d(a.view(1, 1, 8, 8), a[None, None])"
    )
    loud = {**os.environ, "ONEDNN_VERBOSE": "1", "MKL_VERBOSE": "1"}
    told = subprocess.run(
        [sys.executable, "-c", code],
        env=loud,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
    ).stdout
    if isa := re.search(r"info,cpu,isa:(.+)", told):
        found.append(f"oneDNN {isa[1].strip()}")
    if mkl := re.search(
        r"MKL_VERBOSE (?:one)?MKL (.+?) Product.+?(?:architecture )(.+?), \w+ [\d.]+GHz", told
    ):
        mode = re.search(r"CNR:(\S+)", told)
        found.append(f"MKL {mkl[1]} {mkl[2]} CNR {mode[1] if mode else '?'}")
    found += sorted(
        {
            f"OpenBLAS {pool.get('version')} {pool.get('architecture')}"
            for pool in require("threadpoolctl", "train").threadpool_info()
            if pool["internal_api"] == "openblas"
        }
    )
    return ", ".join(found)


def arithmetic() -> str:
    """Digest of what a few products, convolutions, functions, sums and random numbers give here.

    It is taken with the threads that the process has. Where it differs, numbers differ; where it
    is equal, what the names above do not say is equal too.

    Returns:
        Twelve hexadecimal digits.

    Example:
        >>> arithmetic() == arithmetic(), len(arithmetic())
        (True, 12)
    """
    digest = hashlib.sha256()
    for value in _sample():
        digest.update(value.detach().contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]


def _sample() -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(0)
    # exact fractions, so that what follows does not depend on the random numbers' own bits
    exact = (torch.arange(600 * 600).view(600, 600) * 7919 % 4093).float() / 4096 - 0.5
    yield torch.randn(1000, generator=generator)
    yield torch.rand(1000, generator=generator)
    for rows in (1, 3, 32, 384):
        yield exact[:rows] @ exact.T
        yield exact[:rows].T @ exact[:rows, :64]
    images = exact[:64, :588].reshape(64, 3, 14, 14).requires_grad_()
    filters = exact[:8, :27].reshape(8, 3, 3, 3).requires_grad_()
    maps = functional.conv2d(images, filters, padding=1)
    yield from (maps, *torch.autograd.grad(maps.square().sum(), (images, filters)))
    for function in (torch.exp, torch.atan, torch.tanh, torch.sigmoid, torch.rsqrt, torch.log):
        yield function(exact.abs() + 0.1)
    yield from (exact.sum(), exact.mean(0), exact.var(1), exact.logsumexp(1))
    yield torch.addcmul(exact, exact, exact, value=0.3)
    yield torch.linalg.qr(exact[:64, :64].double())[0]


def describe() -> str:
    """All of it, and the versions, for a report of failure: one line each."""
    import numpy as np

    return "\n".join(
        (
            f"machine     {machine()}",
            f"processor   {processor()}",
            f"kernels     {kernels()}",
            f"arithmetic  {arithmetic()} with {torch.get_num_threads()} threads",
            f"versions    python {platform.python_version()}, torch {torch.__version__}, "
            f"numpy {np.__version__}, {platform.platform()}",
        )
    )


def _cpuinfo() -> dict[str, str]:
    """The first processor's entries; empty where the system has no such file."""
    pairs = (line.partition(":") for line in _text(CPUINFO).partition("\n\n")[0].splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


if __name__ == "__main__":
    print(describe())
