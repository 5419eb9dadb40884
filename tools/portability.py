"""Run the tests as other machines would: other instructions, threads, versions, places.

Usage: ``python -m tools.portability [--list] [name ...]``.

Everything runs here and with torch's plainest instructions; what depends on bits and speed, or on
the place, runs with three chapters under each other imitation that this processor and the installed
interpreters support. One table says what passed; what could not be imitated is listed as skipped.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tools import chapters

LOGS = chapters.BUILD / "portability"

BITS = (
    *("notebooks/lif-neuron.md", "notebooks/dialects.md", "notebooks/gain-for-a-rate.md"),
    *("tests/test_experiments.py", "tests/test_checkpoint.py", "tests/test_training.py"),
    *("tests/test_lif.py", "tests/test_fuse.py", "tests/test_products.py", "tests/test_init.py"),
    *("tests/test_membrane.py", "snnlib/experiments"),
)
"""What depends on bits, speed or cores; and three chapters."""

PLACES = (
    *("notebooks/lif-neuron.md", "notebooks/dialects.md", "notebooks/gain-for-a-rate.md"),
    *("tests/test_experiments.py", "tests/test_checkpoint.py", "tests/test_data.py"),
    *("tests/test_figures.py", "tests/test_tools.py", "snnlib/experiments"),
)
"""What depends on clock, locale, display or places; and the same chapters."""

EVERY = tuple(dict.fromkeys((*BITS, *PLACES)))

# Exits with 3 if torch has other instructions than are asked for.
CAPABLE = (
    "import sys, torch; sys.exit(3 * (torch.backends.cpu.get_cpu_capability() != sys.argv[1]))"
)


@dataclass(frozen=True)
class Imitation:
    """Another machine.

    Attributes:
        name: What the table calls it.
        environment: Variables that make it so.
        tests: Paths of the tests and chapters that run; none means all.
        options: More of pytest's options.
        prefix: Command in front of pytest's.
        missing: Why it cannot be imitated here; an empty text if it can.
        python: Its interpreter; None is the one that runs this.
    """

    name: str
    environment: Mapping[str, str] = field(default_factory=dict)
    tests: tuple[str, ...] = BITS
    options: tuple[str, ...] = ()
    prefix: tuple[str, ...] = ()
    missing: Callable[[], str] = lambda: ""
    python: Path | None = None


def _torch(name: str) -> Imitation:
    variable = {"ATEN_CPU_CAPABILITY": name}

    def missing() -> str:
        command = [sys.executable, "-c", CAPABLE, name.upper()]
        done = subprocess.run(command, env={**os.environ, **variable})
        return "the processor or this torch has no such instructions" if done.returncode else ""

    return Imitation(f"torch {name}", variable, () if name == "default" else BITS, missing=missing)


def _flag(name: str, isa: str, flag: str) -> Imitation:
    def missing() -> str:
        cpu = Path("/proc/cpuinfo")
        known = cpu.read_text(encoding="utf-8").split() if cpu.exists() else []
        return "" if flag in known else f"the processor has no {flag}"

    return Imitation(name, {"ONEDNN_MAX_CPU_ISA": isa}, missing=missing)


def _threads(count: int) -> Imitation:
    """One worker, and threads that wait asleep: there may be more of them than cores."""
    variables = {"OMP_NUM_THREADS": str(count), "OMP_WAIT_POLICY": "PASSIVE"}
    return Imitation(f"{count} threads", variables, options=("-n1",))


def _interpreter(version: str) -> Imitation:
    """An environment of another Python that `make env VENV=.venv-3.x PYTHON=python3.x` made."""
    python = chapters.ROOT / f".venv-{version}" / "bin" / "python"

    def missing() -> str:
        if python.exists():
            return ""
        return f"no environment; make env VENV=.venv-{version} PYTHON=python{version}"

    return Imitation(f"python {version}", tests=EVERY, missing=missing, python=python)


def _versions(which: str) -> Imitation:
    """An environment of other versions, of `constraints/`, that `make versions` made."""
    python = chapters.ROOT / f".venv-{which}" / "bin" / "python"

    def missing() -> str:
        return "" if python.exists() else "no environment; make versions"

    return Imitation(f"{which} versions", tests=EVERY, missing=missing, python=python)


def _no_shared_memory() -> Imitation:
    hide = "mount -t tmpfs -o ro,size=4k none /dev/shm"
    prefix = ("unshare", "--mount", "sh", "-c", f'{hide} && exec "$@"', "sh")

    def missing() -> str:
        if shutil.which("unshare") is None:
            return "no unshare"
        done = subprocess.run([*prefix, "true"], capture_output=True)
        return "no right to hide /dev/shm" if done.returncode else ""

    return Imitation("no /dev/shm", tests=PLACES, prefix=prefix, missing=missing)


IMITATIONS = (
    Imitation("here", tests=()),
    *map(_torch, ("default", "avx2", "avx512")),
    *(
        _flag(f"oneDNN {isa.lower()}", isa, flag)
        for isa, flag in (("SSE41", "sse4_1"), ("AVX2", "avx2"), ("AVX512_CORE", "avx512f"))
    ),
    *(Imitation(f"MKL {n.lower()}", {"MKL_CBWR": n}) for n in ("COMPATIBLE", "AVX2")),
    *map(_threads, (2, 4)),
    *map(_interpreter, ("3.12", "3.13")),
    *map(_versions, ("oldest", "newest")),
    Imitation("home that cannot be written", {"HOME": os.devnull}, PLACES),
    _no_shared_memory(),
    Imitation("LANG=C", {"LANG": "C", "LC_ALL": "C"}, PLACES),
    Imitation("no display", {"DISPLAY": "", "MPLBACKEND": ""}, PLACES),
)


def run(imitation: Imitation) -> tuple[str, float]:
    """Run pytest as the other machine.

    Returns:
        What its last line says, or why it was skipped; and its wall time in seconds.
    """
    if why := imitation.missing():
        return f"skipped: {why}", 0.0
    LOGS.mkdir(parents=True, exist_ok=True)
    log = LOGS / f"{imitation.name.replace('/', '').replace(' ', '-')}.txt"
    python = str(imitation.python or sys.executable)
    pytest = (python, "-m", "pytest", "-p", "no:cacheprovider", *imitation.options)
    command = [*imitation.prefix, *pytest, *imitation.tests]
    environment = {**os.environ, **imitation.environment}
    environment = {name: value for name, value in environment.items() if value}
    start = time.monotonic()
    with log.open("w", encoding="utf-8") as file:
        done = subprocess.run(
            command, cwd=chapters.ROOT, env=environment, stdout=file, stderr=subprocess.STDOUT
        )
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    last = next((line.strip("= ") for line in reversed(lines) if " in " in line), "no summary")
    return (last if done.returncode == 0 else f"FAILED ({log}): {last}"), time.monotonic() - start


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all imitations, or those that are named; return 1 if any fails."""
    parser = argparse.ArgumentParser(prog="python -m tools.portability", description=__doc__)
    parser.add_argument("name", nargs="*", help="imitations (default: all)")
    parser.add_argument("--list", action="store_true", help="print the names")
    options = parser.parse_args(arguments)
    known = {imitation.name: imitation for imitation in IMITATIONS}
    if unknown := [name for name in options.name if name not in known]:
        parser.error(f"no imitation {', '.join(unknown)}; there are {', '.join(known)}")
    if options.list:
        print("\n".join(known))
        return 0
    rows = []
    for name in options.name or known:
        print(f"{name} ...", flush=True)
        result, seconds = run(known[name])
        rows.append((name, f"{seconds / 60:.1f} min", result))
    widths = [max(len(row[k]) for row in rows) for k in (0, 1)]
    for name, minutes, result in rows:
        print(f"{name:<{widths[0]}}  {minutes:>{widths[1]}}  {result}")
    return int(any(result.startswith("FAILED") for _, _, result in rows))


if __name__ == "__main__":
    sys.exit(main())
