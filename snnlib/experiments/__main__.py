"""Command line: list, run, status, write, plot, check."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from snnlib.experiments.plotting import plot
from snnlib.experiments.protocol import Protocol, Run
from snnlib.experiments.protocols import PROTOCOLS
from snnlib.experiments.results import read, rows, write
from snnlib.experiments.runner import status, sweep
from snnlib.experiments.store import Store
from snnlib.experiments.task import train

RESULTS = Path("results")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        return options.action(options)
    except (ValueError, OSError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m snnlib.experiments", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")

    def command(name: str, action: Any, text: str, *, named: bool = True) -> Any:
        found = commands.add_parser(name, help=text, description=text)
        found.set_defaults(action=action)
        if named:
            found.add_argument("name", choices=PROTOCOLS, help="the experiment")
        found.add_argument("--size", default="desk", help="desk (default), long or smoke")
        found.add_argument("--cache", help="folder of the results of single runs")
        return found

    command("list", _list, "List the experiments.", named=False)
    command("status", _status, "Say how far each experiment is.", named=False)
    run = command("run", _run, "Run what is not stored yet, then write the table.")
    run.add_argument("--seeds", type=int, help="only the first so many seeds (default all)")
    run.add_argument("--jobs", type=int, default=1, help="processes (default 1)")
    run.add_argument("--threads", type=int, default=1, help="threads of each (default 1)")
    writing = command("write", _write, "Write the table of what is stored, even if not all is.")
    for found in (run, writing):
        found.add_argument("--out", type=Path, help="the table (default results/NAME-SIZE.csv)")
    drawing = command("plot", _plot, "Draw a table.")
    drawing.add_argument("--table", type=Path, help="the table (default results/NAME-SIZE.csv)")
    drawing.add_argument("--out", type=Path, help="the figure (default NAME-SIZE.svg)")
    checking = command("check", _check, "Repeat one row of a table and compare.")
    checking.add_argument("--table", type=Path, help="the table (default results/NAME-SIZE.csv)")
    checking.add_argument("--row", type=int, default=1, help="which, from 1 (default 1)")
    return parser


def _table(options: argparse.Namespace, given: Path | None) -> Path:
    return given or RESULTS / f"{options.name}-{options.size}.csv"


def _list(options: argparse.Namespace) -> int:
    for protocol in PROTOCOLS.values():
        print(f"{protocol.name}: {protocol.question}\n  {protocol.source}")
        for name, size in protocol.sizes.items():
            different = len({run.key for run in protocol.runs(name)})
            print(f"  --size {name}: {different} runs. {size.note}")
    return 0


def _status(options: argparse.Namespace) -> int:
    for protocol in PROTOCOLS.values():
        now = status(protocol, options.size, Store(options.cache))
        left = "" if not now.left else f", about {now.left / 60:.0f} min left in one process"
        ended = f", {now.diverged} ended early" if now.diverged else ""
        print(f"{protocol.name} {options.size}: {now.done} of {now.total} runs{ended}{left}")
    return 0


def _run(options: argparse.Namespace) -> int:
    protocol, store = PROTOCOLS[options.name], Store(options.cache)
    now = status(protocol, options.size, store)
    done = now.done

    def show(run: Run, content: dict[str, Any]) -> None:
        nonlocal done
        done += 1
        labels = ", ".join(f"{name} {value}" for name, value in run.labels.items())
        ended = " (ended early)" if content["metrics"]["diverged"] else ""
        print(
            f"{done}/{now.total} {labels}, seed {run.seed}: "
            f"{content['metrics']['test_accuracy']:.1%}{ended}, "
            f"{content['provenance']['seconds']} s",
            flush=True,
        )

    sweep(
        protocol,
        options.size,
        store,
        command=f"python -m snnlib.experiments run {protocol.name} --size {options.size}",
        seeds=options.seeds,
        jobs=options.jobs,
        threads=options.threads,
        on_result=show,
    )
    return _write(options)


def _write(options: argparse.Namespace) -> int:
    protocol: Protocol = PROTOCOLS[options.name]
    table, path = rows(protocol, options.size, Store(options.cache)), _table(options, options.out)
    write(path, protocol, table)
    print(f"{path}: {len(table)} of {len(protocol.runs(options.size))} rows")
    return 0


def _plot(options: argparse.Namespace) -> int:
    path = options.out or Path(f"{options.name}-{options.size}.svg")
    plot(PROTOCOLS[options.name], read(_table(options, options.table)), path)
    print(path)
    return 0


def _check(options: argparse.Namespace) -> int:
    path = _table(options, options.table)
    table = read(path)
    if not 1 <= options.row <= len(table):
        raise ValueError(f"row must be between 1 and {len(table)}, got {options.row}")
    row = table[options.row - 1]
    known = {run.key: run for run in PROTOCOLS[options.name].runs(options.size)}
    if row["key"] not in known:
        raise ValueError(f"{path}, row {options.row} is of another version of {options.name}")
    found = train(known[row["key"]].settings)
    print(f"stored test accuracy {row['test_accuracy']}, now {found['test_accuracy']:.6g}")
    return int(abs(found["test_accuracy"] - row["test_accuracy"]) > 1e-6)


if __name__ == "__main__":
    sys.exit(main())
