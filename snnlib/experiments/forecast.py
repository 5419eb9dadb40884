"""When a queue will be done, and what its experiments cost: from the rows that are stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from snnlib.experiments.runner import Task

__all__ = ["LIMIT_HOURS", "Ahead", "Hours", "forecast", "within_limit"]

LIMIT_HOURS = 40.0
"""Core-hours that all registered experiments together may take."""


class Ahead(NamedTuple):
    """What is left of an experiment in a queue.

    Attributes:
        runs: Runs that are left.
        work: Seconds of one core for them; None if no run is known.
        done: Seconds from now until its last run ends, at the order of the queue; None if a run
            before it is of unknown length.
    """

    runs: int
    work: float | None
    done: float | None


class Hours(NamedTuple):
    """What an experiment has cost and will cost, in core-hours.

    Attributes:
        spent: By its stored rows.
        left: By those that are missing; None if unknown.
    """

    spent: float
    left: float | None


def forecast(
    tasks: Sequence[Task], seconds: Mapping[str, float | None], *, jobs: int = 1
) -> dict[str, Ahead]:
    """When each experiment of a queue will be done.

    Args:
        tasks: The queue, in order.
        seconds: Length of a run of each experiment, by name; None if unknown.
        jobs: Runs at the same time.

    Returns:
        By name, in the order in which they begin.

    Raises:
        ValueError: If `jobs` is not positive.

    Example:
        >>> from snnlib.experiments import PROTOCOLS, queue
        >>> tasks = queue([PROTOCOLS["fig8-digits"], PROTOCOLS["fig8-cnn"]], "desk", seeds=1)
        >>> found = forecast(tasks, {"fig8-digits": 10.0, "fig8-cnn": 20.0})
        >>> found["fig8-digits"], found["fig8-cnn"].done
        (Ahead(runs=9, work=90.0, done=90.0), 270.0)
    """
    if jobs < 1:
        raise ValueError(f"jobs must be positive, got {jobs!r}")
    found: dict[str, Ahead] = {}
    clock: float | None = 0.0
    for task in tasks:
        name = task.protocol.name
        length = seconds[name]
        clock = None if clock is None or length is None else clock + length / jobs
        runs = found[name].runs + 1 if name in found else 1
        found[name] = Ahead(runs, None if length is None else runs * length, clock)
    return found


def within_limit(hours: Mapping[str, Hours], limit: float = LIMIT_HOURS) -> dict[str, bool]:
    """Which experiments fit into a limit together, taken in their order.

    What is stored counts; an experiment whose rest does not fit, or is unknown, stays open and
    leaves its room to those behind it.

    Args:
        hours: Cost of each.
        limit: Core-hours.

    Example:
        >>> within_limit({"a": Hours(9.0, 2.0), "b": Hours(0.0, 30.0), "c": Hours(1.0, 8.0)}, 20.0)
        {'a': True, 'b': False, 'c': True}
    """
    used = sum(cost.spent for cost in hours.values())
    found = {}
    for name, cost in hours.items():
        found[name] = cost.left is not None and used + cost.left <= limit
        used += (cost.left or 0.0) if found[name] else 0.0
    return found
