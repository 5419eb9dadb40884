"""What a long call is doing, on the standard error: silent while it is fast, without any package.

After some seconds a line says how long the call runs and at what, then at twice that time, at four
times, and so on: a call of an hour writes ten lines. What counts is time that the process works,
so that a busy machine does not make a fast call speak.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["AFTER", "check_progress", "shown", "stage"]

AFTER = 5.0
"""Seconds after which a call says what it is doing."""


class _Call:
    """A call that is running.

    Args:
        name: What it is called.
    """

    def __init__(self, name: str) -> None:
        self.name, self.doing = name, "starting"
        self.over = threading.Event()
        self.start, self.worked = time.monotonic(), time.process_time()

    def watch(self) -> None:
        """Say what the call is doing, at times that double, until it is over."""
        wait = AFTER
        while not self.over.wait(wait):
            if time.process_time() - self.worked < AFTER:
                continue
            passed = time.monotonic() - self.start
            print(f"{self.name}: {passed:.0f} s, {self.doing}", file=sys.stderr, flush=True)
            wait = passed


_RUNNING: ContextVar[_Call | None] = ContextVar("snnlib_call", default=None)


@contextmanager
def shown(name: str, progress: bool = True) -> Iterator[None]:
    """Say what a call is doing if it takes long; a call inside of another one says nothing itself.

    Args:
        name: What the call is called.
        progress: Whether to say anything.

    Yields:
        None.
    """
    if not progress or _RUNNING.get() is not None:
        yield
        return
    call = _Call(name)
    token = _RUNNING.set(call)
    watcher = threading.Thread(target=call.watch, daemon=True)
    started = True
    try:
        watcher.start()
    except RuntimeError:  # no threads, as in a browser
        started = False
    try:
        yield
    finally:
        _RUNNING.reset(token)
        call.over.set()
        if started:
            watcher.join()


def stage(doing: str) -> None:
    """What the running call begins with; outside of such a call nothing happens.

    Args:
        doing: In words, such as "the backward pass".

    Example:
        >>> stage("nothing")
    """
    call = _RUNNING.get()
    if call is not None:
        call.doing = doing


def check_progress(progress: bool) -> None:
    """Refuse what is neither True nor False.

    Raises:
        ValueError: Naming the argument.
    """
    if not isinstance(progress, bool):
        raise ValueError(f"progress must be True or False, got {progress!r}")
