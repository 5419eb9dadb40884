"""Measure cells, store and print them; or print what is stored.

python -m benchmarks                      every cell at full size, one thread
python -m benchmarks --quick              small sizes, under two minutes
python -m benchmarks --cells mlp forward  some of them
python -m benchmarks --device cuda        the same table on a GPU
python -m benchmarks --show               what is stored
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import torch

from benchmarks import result as results
from benchmarks import table
from benchmarks.cells import CELLS, chosen
from benchmarks.harness import LEAST_ROUNDS, Options, Skip
from benchmarks.peers import PEERS
from benchmarks.result import FOLDER, Result
from snnlib.experiments.pausing import paused
from snnlib.experiments.provenance import provenance

QUICK_FOLDER = FOLDER.parent.parent / "_build" / "benchmarks"
"""Quick results are for a look: they are not kept beside the others."""

ENVIRONMENT = ("MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS", "ONEDNN_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY")
"""Variables that decide which instructions the products use."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    found.add_argument("--quick", action="store_true", help="small sizes")
    found.add_argument("--threads", type=int, default=1, help="threads of torch (1)")
    found.add_argument("--device", default="cpu", help="cpu or cuda (cpu)")
    found.add_argument(
        "--cells", nargs="+", default=[], metavar="PATTERN", help=f"of {', '.join(CELLS)} (all)"
    )
    found.add_argument(
        "--rounds", type=int, default=LEAST_ROUNDS, help=f"{LEAST_ROUNDS} or more ({LEAST_ROUNDS})"
    )
    found.add_argument("--label", default="", help="kept in the name of the file, for a machine")
    found.add_argument("--folder", type=Path, help=f"where results are ({FOLDER})")
    found.add_argument("--show", action="store_true", help="print what is stored, measure nothing")
    return found


def origin_of(options: Options, label: str, command: str) -> dict[str, object]:
    """Where the results of this process come from."""
    made: dict[str, object] = dict(provenance(command))
    versions = [str(made["versions"])]
    for peer in PEERS:
        try:
            versions.append(f"{peer.package} {metadata.version(peer.package)}")
        except (metadata.PackageNotFoundError, ValueError):
            continue
    made |= {
        "versions": ", ".join(versions),
        "device": options.device,
        "clock": options.clock,
        "rounds": options.rounds,
        "quick": options.quick,
        "date": datetime.now(UTC).date().isoformat(),
        "environment": " ".join(f"{n}={os.environ[n]}" for n in ENVIRONMENT if n in os.environ),
        "label": label,
    }
    return made


def measure(name: str, options: Options, made: dict[str, object]) -> Result:
    """One cell; a cell that cannot run here says why."""
    start = time.perf_counter()
    try:
        result = CELLS[name](options)
    except Skip as why:
        result = Result(name, "", "skipped", skipped={"": str(why)})
    result.provenance = {**made, "seconds": round(time.perf_counter() - start, 1)}
    return result


def main(arguments: Sequence[str]) -> None:
    """Do what the command line says."""
    command = parser()
    asked = command.parse_args(arguments)
    folder = asked.folder or (QUICK_FOLDER if asked.quick else FOLDER)
    try:
        names = chosen(asked.cells)
        if asked.show:
            found = [r for r in results.read_all(folder, CELLS) if r.cell in names]
            print(shown(found, folder))
            return
        options = Options(asked.quick, asked.rounds, asked.threads, asked.device)
        if asked.label and not asked.label.replace("-", "").isalnum():
            raise ValueError(f"label must be letters, digits and hyphens, got {asked.label!r}")
    except ValueError as error:
        command.error(str(error))
    torch.set_num_threads(options.threads)
    made = origin_of(options, asked.label, " ".join(["python -m benchmarks", *arguments]))
    found = []
    with paused("benchmarks"):
        for number, name in enumerate(names, start=1):
            print(f"{number}/{len(names)} {name} ...", file=sys.stderr, flush=True)
            result = measure(name, options, made)
            results.write(result, folder)  # at once: what is interrupted keeps what it has
            found.append(result)
    print(shown(found, folder))


def shown(found: Sequence[Result], folder: Path) -> str:
    """Tables, and once per group of equal origin where they come from."""
    if not found:
        return f"nothing is stored in {folder}"
    blocks: list[str] = []
    before = ""
    for result in found:
        if (origin := table.origin(result)) != before:
            blocks.append(origin)
            before = origin
        blocks.append(table.text(result))
    return "\n\n".join(blocks)


if __name__ == "__main__":
    main(sys.argv[1:])
