"""Works off the runs of protocols: what is stored is not run again, what is killed is."""

from __future__ import annotations

import functools
import inspect
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import torch

from snnlib._extras import require
from snnlib.experiments import cluster as dask
from snnlib.experiments import pausing
from snnlib.experiments.protocol import Protocol, Run
from snnlib.experiments.provenance import RULE, commit, is_clean, provenance
from snnlib.experiments.store import Store
from snnlib.experiments.task import train

__all__ = [
    "RunFailed",
    "Status",
    "Task",
    "execute",
    "make",
    "queue",
    "refuse_changes",
    "status",
    "sweep",
    "work",
]

Content: TypeAlias = dict[str, Any]
Train: TypeAlias = Callable[[Mapping[str, Any]], dict[str, Any]]


class RunFailed(RuntimeError):
    """Runs that raised an error; the others were made and stored."""


class Task(NamedTuple):
    """A run in a queue.

    Attributes:
        protocol: The experiment that it belongs to.
        size: The size of that.
        run: What is run.
    """

    protocol: Protocol
    size: str
    run: Run

    @property
    def command(self) -> str:
        """What repeats it, for the provenance."""
        return f"python -m snnlib.experiments run {self.protocol.name} --size {self.size}"

    def __str__(self) -> str:
        """The condition in words."""
        labels = ", ".join(f"{name} {value}" for name, value in self.run.labels.items())
        return f"{self.protocol.name} {self.size}, {labels}, seed {self.run.seed}"


class Status(NamedTuple):
    """How far a protocol is.

    Attributes:
        done: Results that are known.
        total: All different runs.
        diverged: How many of the known ones ended early.
        seconds: Mean wall time of the known ones; None without any.
    """

    done: int
    total: int
    diverged: int
    seconds: float | None

    @property
    def left(self) -> float | None:
        """Seconds that one process needs for the rest, or None if unknown."""
        if self.done == self.total:
            return 0.0
        return None if self.seconds is None else self.seconds * (self.total - self.done)


def queue(
    protocols: Iterable[Protocol],
    size: str | None,
    *,
    seeds: int | None = None,
    known: Collection[str] = (),
) -> list[Task]:
    """The different runs of some protocols: the first seed of all, then the second of all, ...

    So wherever the queue is cut off, every condition has had the same number of seeds, or one
    less. Protocols of a higher priority come before the others.

    Args:
        protocols: The experiments, each of which has this size.
        size: A name in their `sizes`; None takes the usual one of each.
        seeds: Only the first so many seeds; None takes all.
        known: Keys of runs that are left out.

    Raises:
        ValueError: If a protocol has no such size, or `seeds` is not a positive integer.
    """
    ranked: list[tuple[tuple[int, int], Task]] = []
    for protocol in protocols:
        own = protocol.usual if size is None else size
        runs = protocol.runs(own, seeds=seeds)
        order = protocol.sizes[own].seeds
        ranked += [
            ((-protocol.priority, order.index(run.seed)), Task(protocol, own, run)) for run in runs
        ]
    ranked.sort(key=lambda entry: entry[0])  # stable: in the order of protocols and conditions
    found: dict[str, Task] = {}
    for _, task in ranked:
        if task.run.key not in known:
            found.setdefault(task.run.key, task)
    return list(found.values())


def work(
    tasks: Sequence[Task],
    store: Store,
    *,
    jobs: int = 1,
    threads: int | None = None,
    cluster: str | None = None,
    minutes: float | None = None,
    on_result: Callable[[Task, Content], None] | None = None,
    train: Train = train,
) -> int:
    """Make the runs of a queue that are not stored yet, and store each as it ends.

    While something pauses the queue (`snnlib.experiments.pausing`) no further run is begun. A run
    that raises an error is left out, and so are the runs of its protocol that were not
    begun then, which are likely to raise it too; those of other protocols are made.

    Args:
        tasks: In the order in which they are begun.
        store: Where results are and go. On a cluster they come back and are stored here.
        jobs: Processes on this machine; more than one need joblib.
        threads: Threads of each run; None takes 1, or on a cluster those of the worker.
        cluster: Address of a Dask scheduler, ``tcp://host:port``; None stays on this machine.
        minutes: After so many no further run is begun; None has no end.
        on_result: Called after each run with its stored content.
        train: What turns settings into metrics.

    Returns:
        The number of runs that were made.

    Raises:
        CorruptResult: If a stored result is damaged; nothing was run then.
        RunFailed: At the end, if a run raised an error.
        ConnectionError: If no scheduler answers, or it is lost.
        ValueError: If `jobs` or `threads` is not a positive integer, `minutes` is negative, or
            both `jobs` and `cluster` are given.
    """
    for name, number in (("jobs", jobs), ("threads", 1 if threads is None else threads)):
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            raise ValueError(f"{name} must be a positive integer, got {number!r}")
    if minutes is not None and not minutes >= 0:
        raise ValueError(f"minutes must be None or at least 0, got {minutes!r}")
    if cluster is not None and jobs != 1:
        raise ValueError(
            f"jobs are processes of this machine and a cluster has workers of its own; "
            f"give one of both, got jobs={jobs} and cluster={cluster!r}"
        )
    missing = [task for task in tasks if store.load(task.run.key) is None]
    end = None if minutes is None else time.monotonic() + 60 * minutes
    failed: dict[str, str] = {}

    def begun() -> Iterator[Task]:
        for task in missing:
            pausing.wait(store.folder, until=end)
            if end is not None and time.monotonic() >= end:
                return
            if task.protocol.name not in failed:
                yield task

    results: Iterable[tuple[Task, Content | BaseException]]
    if cluster is not None:
        results = _on_cluster(begun(), store, cluster, threads, train)
    elif jobs == 1 or len(missing) < 2:
        results = (_attempt(task, store, threads or 1, train) for task in begun())
    else:
        parallel = require("joblib", "train").Parallel(
            n_jobs=jobs, pre_dispatch=jobs, batch_size=1, return_as="generator_unordered"
        )
        delayed = require("joblib", "train").delayed(_attempt)
        results = parallel(delayed(task, store, threads or 1, train) for task in begun())
    made = 0
    for task, content in results:
        if isinstance(content, BaseException):
            failed.setdefault(task.protocol.name, f"{task}: {type(content).__name__}: {content}")
            continue
        made += 1
        if on_result is not None:
            on_result(task, content)
    if failed:
        raise RunFailed("; ".join(failed.values()))
    return made


def sweep(
    protocol: Protocol,
    size: str,
    store: Store,
    *,
    seeds: int | None = None,
    on_result: Callable[[Run, Content], None] | None = None,
    **how: Any,
) -> int:
    """Run what is not stored yet of one protocol.

    Args:
        protocol: The experiment.
        size: A name in `protocol.sizes`.
        store: Where results are and go.
        seeds: Only the first so many seeds; None takes all.
        on_result: Called after each run with its stored content.
        **how: As in `work`.

    Returns:
        The number of runs that were made.
    """

    def show(task: Task, content: Content) -> None:
        if on_result is not None:
            on_result(task.run, content)

    return work(queue([protocol], size, seeds=seeds), store, on_result=show, **how)


def make(
    settings: Mapping[str, Any], command: str, threads: int = 1, train: Train = train
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Make one run.

    Returns:
        Its metrics and where they come from, with the rule that it belongs to if it has one.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        start = time.perf_counter()
        metrics = train(settings)
        seconds = round(time.perf_counter() - start, 1)
        origin = provenance(command) | {"seconds": seconds}
        return metrics, origin | {name: settings[name] for name in (RULE,) if name in settings}
    finally:
        torch.set_num_threads(before)


def refuse_changes(settings: Mapping[str, Any]) -> None:
    """Refuse a run of a registered rule from a library that no commit holds.

    Raises:
        ValueError: If the settings name a rule and the library is changed or in no repository.
    """
    if RULE in settings and not is_clean(found := commit()):
        raise ValueError(
            "a registered run needs a clean commit, which its rows name: commit or stash the "
            f"changes of snnlib first, got {found or 'no repository'}"
        )


def execute(task: Task, store: Store, *, threads: int = 1, train: Train = train) -> Content:
    """Make one run and store its result; a killed one goes on from its checkpoint.

    Returns:
        What was stored.

    Raises:
        ValueError: As in `refuse_changes`.
    """
    refuse_changes(task.run.settings)
    checkpoint = store.folder / f"{task.run.key}.checkpoint"
    if "checkpoint" in inspect.signature(train).parameters:
        train = functools.partial(train, checkpoint=checkpoint)  # type: ignore[call-arg]
    store.save(task.run.settings, *make(task.run.settings, task.command, threads, train))
    checkpoint.unlink(missing_ok=True)
    return _stored(task, store)


def status(
    protocol: Protocol, size: str, store: Store, *, table: Sequence[Mapping[str, Any]] = ()
) -> Status:
    """How many runs are stored.

    Args:
        protocol: The experiment.
        size: A name in `protocol.sizes`.
        store: Results of this machine.
        table: Rows from elsewhere, which count too.

    Raises:
        CorruptResult: If a stored result is damaged.
        ValueError: If the size is unknown.
    """
    rows = {row["key"]: (row["seconds"], bool(row["diverged"])) for row in table}
    keys = [task.run.key for task in queue([protocol], size)]
    found = []
    for key in keys:
        if (content := store.load(key)) is not None:
            found.append((content["provenance"]["seconds"], bool(content["metrics"]["diverged"])))
        elif key in rows:
            found.append(rows[key])
    return Status(
        done=len(found),
        total=len(keys),
        diverged=sum(diverged for _, diverged in found),
        seconds=sum(seconds for seconds, _ in found) / len(found) if found else None,
    )


def _stored(task: Task, store: Store) -> Content:
    content = store.load(task.run.key)
    assert content is not None
    return content


def _attempt(
    task: Task, store: Store, threads: int, train: Train
) -> tuple[Task, Content | BaseException]:
    try:
        return task, execute(task, store, threads=threads, train=train)
    except Exception as error:
        return task, error


def _on_cluster(
    tasks: Iterable[Task], store: Store, address: str, threads: int | None, train: Train
) -> Iterator[tuple[Task, Content | BaseException]]:
    calls = (
        (task, (task.run.settings, task.run.key, task.command, threads, train)) for task in tasks
    )
    for task, result in dask.spread(_remote, calls, address):
        if isinstance(result, BaseException):
            yield task, result
        else:
            store.save(task.run.settings, *result)
            yield task, _stored(task, store)


def _remote(
    settings: dict[str, Any], key: str, command: str, threads: int | None, train: Train
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a worker of a cluster does."""
    from snnlib.experiments import protocol

    if protocol.key(settings) != key:
        raise RuntimeError("the worker has another version of snnlib than the client")
    refuse_changes(settings)
    with dask.alone() as own_threads:
        return make(settings, command, threads or own_threads, train)
