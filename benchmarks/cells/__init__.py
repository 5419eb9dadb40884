"""The workloads, by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fnmatch import fnmatch

from benchmarks.cells import (
    feed_forward,
    growth,
    kinds,
    memory,
    recurrent,
    tools,
    training_loop,
)
from benchmarks.harness import Options
from benchmarks.result import Result

__all__ = ["CELLS", "chosen"]

CELLS: dict[str, Callable[[Options], Result]] = {
    **feed_forward.CELLS,
    **recurrent.CELLS,
    **kinds.CELLS,
    **training_loop.CELLS,
    **memory.CELLS,
    **growth.CELLS,
    **tools.CELLS,
}
"""Every cell: how to measure it, by name, in the order of the table."""


def chosen(patterns: Sequence[str]) -> list[str]:
    """Names of the cells that match a pattern, or begin with it; all without patterns.

    Raises:
        ValueError: If a pattern matches none.

    Example:
        >>> chosen(["mlp-*", "cnn"])
        ['mlp-t3', 'mlp-t20', 'mlp-t3-b512', 'cnn']
    """
    for pattern in patterns:
        if not any(_matches(name, pattern) for name in CELLS):
            known = ", ".join(CELLS)
            raise ValueError(f"cells must match some of {known}; {pattern!r} matches none")
    if not patterns:
        return list(CELLS)
    return [name for name in CELLS if any(_matches(name, pattern) for pattern in patterns)]


def _matches(name: str, pattern: str) -> bool:
    return fnmatch(name, pattern) or name.startswith(f"{pattern}-")
