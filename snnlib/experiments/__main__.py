"""Command line: list, status, hours, run, pause, resume, write, plot, check."""

from __future__ import annotations

import argparse
import sys
import time
from collections import ChainMap, Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from snnlib.experiments import pausing
from snnlib.experiments.checking import LEVEL, Outcome, repeat
from snnlib.experiments.forecast import LIMIT_HOURS, Hours, forecast, within_limit
from snnlib.experiments.plotting import plot
from snnlib.experiments.protocol import Protocol
from snnlib.experiments.protocols import PROTOCOLS as EXPLORED
from snnlib.experiments.provenance import PLACE
from snnlib.experiments.registered import RULES, SIZE, resolution_of
from snnlib.experiments.results import Row, read, rows, write
from snnlib.experiments.runner import RunFailed, Status, Task, queue, status, work
from snnlib.experiments.store import Store
from snnlib.experiments.task import train

PROTOCOLS = ChainMap({name: rule.protocol() for name, rule in RULES.items()}, EXPLORED)
RESULTS = Path("results")
DRAWN = Path("_build")  # which git ignores: figures are made from tables, not kept
EMPTY = "\x1b[2J\x1b[H"  # what a terminal takes for an empty screen
FLAT_MINIMA = "flat-minima"  # has a command of its own, but its rows are checked as the others


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

    def command(name: str, action: Any, text: str, names: str) -> Any:
        found = commands.add_parser(name, help=text, description=text)
        found.set_defaults(action=action)
        found.add_argument("names", nargs=names, metavar="NAME", help="an experiment, see list")
        default = "all" if name in ("list", "status") else "desk, or registered"
        found.add_argument("--size", help=f"desk, paper, registered, smoke, ... ({default})")
        found.add_argument("--cache", help="folder of the results of single runs")
        return found

    command("list", _list, "List the experiments: what they ask, cost and resolve.", "*")
    state = command("status", _status, "Say how far each is, and the command for the rest.", "*")
    state.add_argument(
        "--watch", type=float, nargs="?", const=30.0, metavar="SECONDS", help="again and again (30)"
    )
    command("hours", _hours, "Core-hours of the registered experiments, and their limit.", "*")
    command("pause", _pause, "Begin no further run until resume.", "*")
    command("resume", _resume, "Take back a pause.", "*")
    run = command("run", _run, "Run what is not stored yet, then write the tables.", "*")
    run.add_argument("--all", action="store_true", help="every experiment that has this size")
    run.add_argument(
        "--first", nargs="+", default=[], metavar="NAME", help="which come first in the queue"
    )
    run.add_argument("--seeds", type=int, help="only the first so many seeds (default all)")
    run.add_argument("--minutes", type=float, help="begin no run after so many")
    run.add_argument("--jobs", type=int, default=1, help="processes of this machine (default 1)")
    run.add_argument("--cluster", metavar="tcp://HOST:PORT", help="scheduler of a Dask cluster")
    run.add_argument(
        "--threads", type=int, help="threads of each run (default 1; on a cluster the worker's)"
    )
    run.add_argument("--again", action="store_true", help="also runs that only the table holds")
    writing = command(
        "write", _write, "Write the tables of what is stored, even if not all is.", "*"
    )
    writing.add_argument("--all", action="store_true", help="every experiment that has this size")
    drawing = command("plot", _plot, "Draw tables.", "+")
    checking = command("check", _check, "Repeat rows of tables and compare all metrics.", "*")
    checking.add_argument("--row", type=int, help="which, from 1 (default the cheapest)")
    checking.add_argument(
        "--within",
        type=float,
        metavar="SECONDS",
        help="rows of all tables, the cheapest first, that took so many seconds together",
    )
    for found in (run, writing):
        found.add_argument(
            "--table", "--out", type=Path, help="of one NAME (default results/NAME-SIZE.csv)"
        )
    for found in (drawing, checking):
        found.add_argument("--table", type=Path, help="of one NAME (default results/NAME-SIZE.csv)")
    drawing.add_argument("--out", type=Path, help="of one NAME (default _build/NAME-SIZE.svg)")
    return parser


def _protocols(options: argparse.Namespace, *, every: bool = False) -> list[Protocol]:
    """Those that are named; all that have the size if `every` or the option --all is given."""
    every = every or getattr(options, "all", False)
    unknown = [name for name in options.names if name not in PROTOCOLS]
    if unknown:
        raise ValueError(f"NAME must be one of {', '.join(PROTOCOLS)}, got {unknown[0]!r}")
    if options.names and getattr(options, "all", False):
        raise ValueError("give names or --all, not both")
    if options.names:
        return [PROTOCOLS[name] for name in dict.fromkeys(options.names)]
    if not every:
        raise ValueError(f"give --all or names: {', '.join(PROTOCOLS)}")
    return [p for p in PROTOCOLS.values() if options.size in (None, *p.sizes)]


def _size(options: argparse.Namespace, protocol: Protocol) -> str:
    return options.size or protocol.usual


def _path(options: argparse.Namespace, name: str, size: str) -> Path:
    given = getattr(options, "table", None)
    if given is not None and len(options.names) != 1:
        raise ValueError("--table is of one NAME")
    return given or RESULTS / f"{name}-{size}.csv"


def _known(path: Path) -> list[Row]:
    """Rows of a table that may not be there yet."""
    return read(path) if path.exists() else []


def _parts(options: argparse.Namespace, *, smoke: bool) -> Iterable[tuple[Protocol, str, Status]]:
    """Every protocol and size that the options name, with how far it is."""
    store = Store(options.cache)
    for protocol in _protocols(options, every=True):
        for size in [options.size] if options.size else protocol.sizes:
            if size == "smoke" and not options.size and not smoke:
                continue
            table = _known(_path(options, protocol.name, size))
            yield protocol, size, status(protocol, size, store, table=table)


def _list(options: argparse.Namespace) -> int:
    last = None
    for protocol, size, now in _parts(options, smoke=True):
        if protocol is not last:
            print(f"{protocol.name}: {protocol.question}\n  {protocol.source}")
        last = protocol
        print(f"  --size {size}: {now.total} runs{_measured(now)}. {protocol.sizes[size].note}")
    return 0


def _measured(now: Status) -> str:
    if now.seconds is None:
        return ""
    return f", {_time(now.seconds)} each where they were made, {_time(now.seconds * now.total)} all"


def _status(options: argparse.Namespace) -> int:
    if options.watch is not None:
        print(EMPTY, end="")
    while _state(options) and options.watch is not None:
        time.sleep(options.watch)
        print(EMPTY, end="")
    return 0


def _state(options: argparse.Namespace) -> int:
    """Print how far each is; the number of runs that are open."""
    if reasons := pausing.holders(Store(options.cache).folder):
        print(f"paused: {', '.join(reasons)}")
    left = 0
    for protocol, size, now in _parts(options, smoke=False):
        left += now.total - now.done
        ended = f", {now.diverged} ended early" if now.diverged else ""
        rest = _rest(protocol, now)
        open_ = "time unknown" if rest is None else f"about {_time(rest)} in one process"
        print(
            f"{protocol.name} {size}: {now.done} of {now.total} runs{ended}"
            + (f"; open, {open_}:" if now.done < now.total else "")
        )
        if now.done < now.total:
            print(f"  python -m snnlib.experiments run {protocol.name} --size {size}")
    return left


def _rest(protocol: Protocol, now: Status) -> float | None:
    """Seconds of the runs that are left: by stored rows, else as planned."""
    if now.left is None and protocol.seconds is not None:
        return protocol.seconds * (now.total - now.done)
    return now.left


def _hours(options: argparse.Namespace) -> int:
    options.size = options.size or SIZE
    found = {}
    for protocol, _, now in _parts(options, smoke=False):
        rest = _rest(protocol, now)
        spent = (now.seconds or 0.0) * now.done / 3600
        found[protocol.name] = Hours(spent, None if rest is None else rest / 3600)
    fits = within_limit(found)
    for name, cost in found.items():
        left = "unknown" if cost.left is None else f"{cost.left:.2f} h"
        word = "" if fits[name] else ", beyond the limit"
        print(f"{name}: {cost.spent:.2f} h spent, {left} left{word}")
    spent = sum(cost.spent for cost in found.values())
    print(f"together {spent:.2f} of {LIMIT_HOURS:g} core-hours spent")
    return 0


def _pause(options: argparse.Namespace) -> int:
    pausing.pause("by hand", Store(options.cache).folder)
    return 0


def _resume(options: argparse.Namespace) -> int:
    pausing.resume(Store(options.cache).folder)
    return 0


def _time(seconds: float) -> str:
    """A duration in words.

    Example:
        >>> _time(12.4), _time(600), _time(36000)
        ('12 s', '10 min', '10.0 h')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


class _Progress:
    """Prints a line for every result, with the time that the rest will take."""

    def __init__(self, tasks: Sequence[Task], seconds: Mapping[str, float | None]) -> None:
        self.done, self.total = 0, len(tasks)
        self.left = Counter(task.protocol.name for task in tasks)
        self.times = {name: [mean] for name, mean in seconds.items() if mean is not None}
        self.worked, self.start = 0.0, time.monotonic()

    def __call__(self, task: Task, content: dict[str, Any]) -> None:
        metrics, seconds = content["metrics"], content["provenance"]["seconds"]
        self.done += 1
        self.left[task.protocol.name] -= 1
        self.times.setdefault(task.protocol.name, []).append(seconds)
        self.worked += seconds
        ended = " (ended early)" if metrics["diverged"] else ""
        rest = f"; about {_time(self._rest())} left" if self.done < self.total else ""
        print(
            f"{self.done}/{self.total} {task}: {metrics['test_accuracy']:.1%}{ended}, "
            f"{seconds} s{rest}",
            flush=True,
        )

    def _rest(self) -> float:
        means = {name: sum(times) / len(times) for name, times in self.times.items()}
        other = sum(means.values()) / len(means)
        work = sum(count * means.get(name, other) for name, count in self.left.items())
        return work * (time.monotonic() - self.start) / max(self.worked, 0.1)


def _run(options: argparse.Namespace) -> int:
    protocols, store, known = _ordered(options), Store(options.cache), set()
    names = ", ".join(protocol.name for protocol in protocols)
    size = f", size {options.size}" if options.size else ""
    print(f"{names}{size}: looking for what is stored", flush=True)
    means: dict[str, float | None] = {}
    for protocol in protocols:
        own = _size(options, protocol)
        table = _known(_path(options, protocol.name, own))
        seconds = status(protocol, own, store, table=table).seconds
        means[protocol.name] = protocol.seconds if seconds is None else seconds
        if not options.again:
            known |= {row["key"] for row in table}
    tasks = queue(protocols, options.size, seeds=options.seeds, known=known)
    tasks = [task for task in tasks if store.load(task.run.key) is None]
    print("\n".join(_ahead(tasks, means, options)), flush=True)
    ended = 0
    try:
        work(
            tasks,
            store,
            jobs=options.jobs,
            threads=options.threads,
            cluster=options.cluster,
            minutes=options.minutes,
            on_result=_Progress(tasks, means),
            train=train,
        )
    except KeyboardInterrupt:
        print("stopped; what is done is stored", file=sys.stderr)
        ended = 130
    except (RunFailed, ConnectionError) as error:
        print(f"error: {error}", file=sys.stderr)
        ended = 1
    _tables(options, protocols)
    return ended


def _ordered(options: argparse.Namespace) -> list[Protocol]:
    """The experiments that are asked for, those of --first with the highest priority."""
    protocols = _protocols(options)
    names = [protocol.name for protocol in protocols]
    if unknown := [name for name in options.first if name not in names]:
        raise ValueError(f"--first must name experiments that are run, got {unknown[0]!r}")
    top = max(protocol.priority for protocol in protocols) + 1
    return [replace(p, priority=top) if p.name in options.first else p for p in protocols]


def _ahead(
    tasks: Sequence[Task], seconds: Mapping[str, float | None], options: argparse.Namespace
) -> list[str]:
    """What will be run, when each will be done, and what a registered one resolves."""
    if not tasks:
        return ["nothing to run"]
    where = f"on {options.cluster}" if options.cluster else f"in {options.jobs} process(es)"
    lines = [f"{len(tasks)} runs {where}, first {tasks[0]}"]
    for name, ahead in forecast(tasks, seconds, jobs=options.jobs).items():
        known = ahead.work is not None and ahead.done is not None and not options.cluster
        end = time.strftime("%d %b %H:%M", time.localtime(time.time() + (ahead.done or 0.0)))
        when = f", {_time(ahead.work or 0.0)} of work, done about {end}" if known else ""
        lines.append(f"  {name}: {ahead.runs} runs{when}")
        if name in RULES and RULES[name].family:
            lines.append(
                f"    {len(RULES[name].seeds)} seeds show a difference of "
                f"{resolution_of(RULES[name]):.3f} with probability 0.9, corrected for "
                f"{len(RULES[name].family)} contrast(s); what matters is "
                f"{RULES[name].planned.effect:g}"
            )
    return lines


def _write(options: argparse.Namespace) -> int:
    _tables(options, _protocols(options))
    return 0


def _tables(options: argparse.Namespace, protocols: Sequence[Protocol]) -> None:
    for protocol in protocols:
        size = _size(options, protocol)
        path = _path(options, protocol.name, size)
        old = _known(path)
        table = rows(protocol, size, Store(options.cache), table=old)
        if table:
            write(path, protocol, table)
        total = len(protocol.runs(size))
        print(f"{path}: {len(table)} of {total} rows")


def _plot(options: argparse.Namespace) -> int:
    if options.out and len(options.names) != 1:
        raise ValueError("--out is of one NAME")
    for protocol in _protocols(options):
        size = _size(options, protocol)
        path = options.out or DRAWN / f"{protocol.name}-{size}.svg"
        if not options.out:
            path.parent.mkdir(exist_ok=True)
        plot(protocol, read(_path(options, protocol.name, size)), path)
        print(path)
    return 0


class _Sample(NamedTuple):
    """A stored row that can be made again."""

    path: Path
    number: int
    row: Row
    make: Callable[[], Outcome]


def _check(options: argparse.Namespace) -> int:
    if options.row is not None and (options.within is not None or len(options.names) != 1):
        raise ValueError("--row is of one NAME and without --within")
    samples = [s for name in options.names or _tabled() for s in _samples(options, name)]
    if not samples:
        raise ValueError(f"no table of these in {RESULTS}")
    if options.row is not None:
        if not 1 <= options.row <= len(samples):
            raise ValueError(f"row must be between 1 and {len(samples)}, got {options.row}")
        chosen = [samples[options.row - 1]]
    else:
        samples.sort(key=lambda sample: sample.row["seconds"])
        chosen, seconds = samples[:1], samples[0].row["seconds"]
        for sample in samples[1:]:
            seconds += sample.row["seconds"]
            if options.within is None or seconds > options.within:
                break
            chosen.append(sample)
    return max([_report(sample) for sample in chosen])


def _tabled() -> list[str]:
    return [*PROTOCOLS, FLAT_MINIMA]


def _samples(options: argparse.Namespace, name: str) -> list[_Sample]:
    labels: tuple[str, ...]
    if name == FLAT_MINIMA:
        from snnlib.experiments import flat_minima

        path = options.table or RESULTS / f"{FLAT_MINIMA}.csv"
        table, labels = _known(path), tuple(flat_minima.COLUMNS[:4])
        settings = [{key: row[key] for key in (*labels, "seed")} for row in table]
        function: Callable[..., Any] = flat_minima.repeat
    else:
        (protocol,) = _protocols(argparse.Namespace(names=[name], size=options.size))
        size = _size(options, protocol)
        path = options.table or RESULTS / f"{name}-{size}.csv"
        table, labels = _known(path), protocol.labels
        known = {run.key: run.settings for run in protocol.runs(size)} if table else {}
        stale = [number for number, row in enumerate(table, 1) if row["key"] not in known]
        if stale:
            raise ValueError(f"{path}, row {stale[0]} is of another version of {name}")
        settings, function = [known[row["key"]] for row in table], train
    if options.names and not table:
        raise ValueError(f"no rows in {path}")
    return [
        _Sample(path, k, row, lambda r=row, s=set_: repeat(r, table, labels, s, function))  # type: ignore[misc]
        for k, (row, set_) in enumerate(zip(table, settings, strict=True), 1)
    ]


def _report(sample: _Sample) -> int:
    print(f"{sample.path}, row {sample.number}: {sample.row['seconds']} s when it was stored")
    outcome = sample.make()
    if outcome.elsewhere:
        agrees = "within the seeds' spread"
        print(f"  compared with the spread of seeds, level {LEVEL:g} for the row,")
        print("  as rounding may differ from where the row was made:")
        for reason in outcome.elsewhere:
            print(f"    {reason}")
    else:
        agrees = "equal"
        print(f"  compared in all digits, as all that decides them is the same: {', '.join(PLACE)}")
    print(f"  metrics: {', '.join(outcome.compared)}")
    for line in outcome.wrong:
        print(f"  differs: {line}")
    print("  differs" if outcome.wrong else f"  {agrees}")
    return int(bool(outcome.wrong))


if __name__ == "__main__":
    sys.exit(main())
