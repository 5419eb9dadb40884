"""The same work on the workers of a Dask cluster, which may be other machines.

A worker needs snnlib and the data, no shared folder. One that is lost costs what it was doing:
Dask gives that to another one.
"""

from __future__ import annotations

import contextlib
import queue
import re
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from snnlib._extras import require

__all__ = ["TIMEOUT", "alone", "connect", "spread"]

TIMEOUT = 5.0
"""Seconds within which a scheduler has to answer."""

Item = TypeVar("Item")

_one_run = threading.Lock()


def connect(address: str, *, timeout: float | None = None) -> Any:
    """A client of the scheduler at an address.

    Args:
        address: ``tcp://host:port``, or tls.
        timeout: Seconds to wait for an answer; None takes `TIMEOUT`.

    Raises:
        ConnectionError: If nothing answers there, or something else than a Dask scheduler.
        ImportError: If Dask is missing.
        ValueError: If the address has another form.

    Example:
        >>> connect("localhost")
        Traceback (most recent call last):
            ...
        ValueError: cluster must be like tcp://host:8786, got 'localhost'
    """
    parts = re.fullmatch(r"(?:tcp|tls)://(?:\[([^\]]+)\]|([^:/\[\]]+)):(\d{1,5})", address)
    if parts is None:
        raise ValueError(f"cluster must be like tcp://host:8786, got {address!r}")
    distributed = require("distributed", "cluster")
    timeout = TIMEOUT if timeout is None else timeout
    place = (parts[1] or parts[2], int(parts[3]))
    # Dask goes on trying where nothing listens, and waits for ever where something listens that
    # does not answer; this ends at once, or after twice the timeout.
    answers: queue.Queue[Any] = queue.Queue()

    def ask() -> None:
        try:
            socket.create_connection(place, timeout).close()
            answers.put(distributed.Client(address, timeout=timeout, set_as_default=False))
        except Exception as error:  # what an answer in another protocol raises can be anything
            answers.put(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        found = answers.get(timeout=2 * timeout)
    except queue.Empty:
        found = TimeoutError(f"something listens there, silent for {2 * timeout:g} seconds")
    if isinstance(found, Exception):
        raise ConnectionError(f"no Dask scheduler answers at {address}: {found}") from found
    return found


def spread(
    function: Callable[..., Any], calls: Iterable[tuple[Item, tuple[Any, ...]]], address: str
) -> Iterator[tuple[Item, Any]]:
    """Call a function on the workers, about one call each at a time; results as they come.

    Calls are taken only when a worker is about to be free for them, so whoever makes them may
    stop at any time.

    Args:
        function: What is called.
        calls: Pairs of something that names the call and the arguments.
        address: Of the scheduler.

    Yields:
        What names the call, and its result or the exception that it raised.

    Raises:
        ConnectionError: If there is no scheduler, or it is lost.
    """
    distributed = require("distributed", "cluster")
    calls = iter(calls)
    with connect(address) as client:
        running: dict[Any, Item] = {}
        finished = distributed.as_completed(loop=client.loop)

        def fill() -> None:
            # One call waits, so that none of the workers ever does; it is also what makes an
            # adaptive cluster grow.
            while len(running) <= len(client.nthreads()):
                call = next(calls, None)
                if call is None:
                    return
                future = client.submit(function, *call[1], pure=False)
                running[future] = call[0]
                finished.add(future)

        try:
            fill()
            for future in finished:
                item = running.pop(future)
                error = future.exception()
                if future.cancelled():
                    raise ConnectionError(f"the Dask scheduler at {address} is lost")
                yield item, future.result() if error is None else error
                fill()
        finally:
            with contextlib.suppress(Exception):  # a lost scheduler
                client.cancel(list(running))


@contextlib.contextmanager
def alone() -> Iterator[int]:
    """On a worker: wait until no other call runs in this process; gives its number of threads.

    Two runs in one process would share its random numbers and its number of threads.
    """
    worker = require("distributed", "cluster").get_worker()
    with _one_run:
        yield worker.state.nthreads
