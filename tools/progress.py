"""What runs, what is done, how long it took and what remains: a pytest plugin for `make book`.

Usage: ``pytest -p tools.progress notebooks``.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tools import costs


def remaining(
    waiting: Mapping[str, float], known: Mapping[str, float], workers: int, usual: float
) -> float:
    """Seconds until all chapters are done; one that runs over its time goes on for a quarter.

    Args:
        waiting: Seconds that each unfinished chapter has run already.
        known: Seconds that chapters took before.
        workers: Chapters that run at the same time.
        usual: Seconds of a chapter that is not known.

    Example:
        >>> remaining({"a": 10.0, "b": 0.0}, {"a": 30.0}, workers=2, usual=40.0)
        40.0
    """
    left = [max(known.get(name, usual) - ran, ran / 4) for name, ran in waiting.items()]
    return max(sum(left) / workers, max(left, default=0.0))


def in_words(seconds: float) -> str:
    """A duration for people.

    Example:
        >>> in_words(47.2), in_words(119), in_words(125)
        ('47 s', '119 s', '3 min')
    """
    return f"{seconds:.0f} s" if seconds < 120 else f"{math.ceil(seconds / 60)} min"


class Progress:
    """Prints a line when a chapter starts and when it ends."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.known = {name: cost.wall for name, cost in costs.recorded().items()}
        self.started: dict[str, float] = {}
        self.done: dict[str, float] = {}
        self.names: list[str] = []

    def _line(self, text: str, **markup: bool) -> None:
        reporter: Any = self.config.pluginmanager.get_plugin("terminalreporter")
        reporter.write_line(text, **markup)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any, ids: list[str]) -> None:
        """Learn what there is to do, from the first worker that knows."""
        self._begin(ids)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Learn what there is to do, without workers."""
        self._begin([item.nodeid for item in session.items])

    def _begin(self, ids: list[str]) -> None:
        if self.names or not ids:
            return
        self.names = [_name(nodeid) for nodeid in ids]
        estimate = in_words(self._remaining())
        self._line(f"{len(self.names)} to execute, about {estimate} by the last times")

    def _remaining(self) -> float:
        now = time.monotonic()
        waiting = {
            name: now - self.started.get(name, now) for name in self.names if name not in self.done
        }
        times = list(self.done.values()) or list(self.known.values()) or [40.0]
        workers = getattr(self.config.option, "numprocesses", None) or 1
        return remaining(waiting, self.known, workers, sum(times) / len(times))

    def pytest_runtest_logstart(self, nodeid: str, location: Any) -> None:
        """Say that a chapter runs."""
        self.started[_name(nodeid)] = time.monotonic()
        self._line(f"        {_name(nodeid)} runs")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Say that a chapter is done."""
        if report.when != "call":
            return
        name = _name(report.nodeid)
        self.done[name] = report.duration
        word = "done" if report.passed else report.outcome
        left = len(self.names) - len(self.done)
        rest = f"about {in_words(self._remaining())} left" if left else "nothing left"
        self._line(
            f"{word:<7} {name}, {in_words(report.duration)} ({left} to go, {rest})",
            red=report.failed,
        )

    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        """No dot for what has a line of its own."""
        return (report.outcome, "", "") if report.when == "call" else None


def _name(nodeid: str) -> str:
    path, _, test = nodeid.partition("::")
    return Path(path).with_suffix("").as_posix().removeprefix("notebooks/") if path else test


def pytest_configure(config: pytest.Config) -> None:
    """Only the process that controls the others prints."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Progress(config), "chapter-progress")
