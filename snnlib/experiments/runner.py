"""Works off the runs of a protocol: what is stored is not run again, what is killed is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch

from snnlib._extras import require
from snnlib.experiments.protocol import Protocol, Run
from snnlib.experiments.provenance import provenance
from snnlib.experiments.store import Store
from snnlib.experiments.task import train

__all__ = ["Status", "execute", "status", "sweep"]


class Status(NamedTuple):
    """How far a protocol is.

    Attributes:
        done: Stored results.
        total: All different runs.
        diverged: How many of the stored ones ended early.
        seconds: Mean wall time of the stored ones; None without any.
    """

    done: int
    total: int
    diverged: int
    seconds: float | None

    @property
    def left(self) -> float | None:
        """Seconds that one process needs for the rest, or None if unknown."""
        return None if self.seconds is None else self.seconds * (self.total - self.done)


def sweep(
    protocol: Protocol,
    size: str,
    store: Store,
    *,
    command: str,
    seeds: int | None = None,
    jobs: int = 1,
    threads: int = 1,
    on_result: Callable[[Run, dict[str, Any]], None] | None = None,
) -> int:
    """Run what is not stored yet.

    Args:
        protocol: The experiment.
        size: A name in `protocol.sizes`.
        store: Where results are and go.
        command: The command that repeats this, for the provenance.
        seeds: Only the first so many seeds; None takes all.
        jobs: Processes; more than one need joblib.
        threads: Threads of each.
        on_result: Called after each run with its stored content.

    Returns:
        The number of runs that were made.

    Raises:
        CorruptResult: If a stored result is damaged; nothing was run then.
        ValueError: If `jobs` or `threads` is not a positive integer, or the size is unknown.
    """
    for name, number in (("jobs", jobs), ("threads", threads)):
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            raise ValueError(f"{name} must be a positive integer, got {number!r}")
    runs = _different(protocol.runs(size, seeds=seeds))
    missing = [run for run in runs if store.load(run.key) is None]
    for run, content in _results(missing, store, command, jobs, threads):
        if on_result is not None:
            on_result(run, content)
    return len(missing)


def execute(run: Run, store: Store, command: str, threads: int = 1) -> dict[str, Any]:
    """Make one run and store its result.

    Returns:
        What was stored.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        start = time.perf_counter()
        metrics = train(run.settings)
        seconds = round(time.perf_counter() - start, 1)
        store.save(run.settings, metrics, provenance(command) | {"seconds": seconds})
    finally:
        torch.set_num_threads(before)
    content = store.load(run.key)
    assert content is not None
    return content


def status(protocol: Protocol, size: str, store: Store) -> Status:
    """How many runs are stored.

    Raises:
        CorruptResult: If a stored result is damaged.
        ValueError: If the size is unknown.
    """
    runs = _different(protocol.runs(size))
    stored = [content for run in runs if (content := store.load(run.key)) is not None]
    seconds = [content["provenance"]["seconds"] for content in stored]
    return Status(
        done=len(stored),
        total=len(runs),
        diverged=sum(bool(content["metrics"]["diverged"]) for content in stored),
        seconds=sum(seconds) / len(seconds) if seconds else None,
    )


def _different(runs: Sequence[Run]) -> list[Run]:
    """One run per key: conditions that do the same are run once."""
    found: dict[str, Run] = {}
    for run in runs:
        found.setdefault(run.key, run)
    return list(found.values())


def _results(
    runs: Sequence[Run], store: Store, command: str, jobs: int, threads: int
) -> Iterator[tuple[Run, dict[str, Any]]]:
    if jobs == 1 or len(runs) < 2:
        for run in runs:
            yield run, execute(run, store, command, threads)
        return
    joblib = require("joblib", "train")
    parallel = joblib.Parallel(n_jobs=jobs, return_as="generator_unordered")
    yield from parallel(
        joblib.delayed(_execute_named)(run, store, command, threads) for run in runs
    )


def _execute_named(
    run: Run, store: Store, command: str, threads: int
) -> tuple[Run, dict[str, Any]]:
    return run, execute(run, store, command, threads)
