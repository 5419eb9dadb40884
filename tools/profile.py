"""Where the chapters' time goes: each chapter, and the slowest cells of all.

Usage: ``python -m tools.profile [--cells N] [chapter ...]``.

The times are those of each chapter's last execution as a test; stale chapters are executed first.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from tools import book, chapters


class Cell(NamedTuple):
    """A code cell: its chapter, its number there from 1, its wall time, its first line of code."""

    chapter: str
    number: int
    seconds: float
    line: str


def seconds_of(execution: Mapping[str, str]) -> float:
    """Wall time of a cell, from what the kernel said when.

    Example:
        >>> seconds_of({"iopub.execute_input": "2026-01-01T00:00:00.5Z",
        ...             "shell.execute_reply": "2026-01-01T00:00:02.0Z"})
        1.5
    """
    start, end = (
        datetime.fromisoformat(execution[key].replace("Z", "+00:00"))
        for key in ("iopub.execute_input", "shell.execute_reply")
    )
    return (end - start).total_seconds()


def cells(name: str, notebook: Any) -> list[Cell]:
    """The code cells of an executed notebook that still holds the kernel's times."""
    found = []
    for index, cell in enumerate(notebook.cells):
        times = cell.get("metadata", {}).get("execution", {})
        if cell.cell_type == "code" and "shell.execute_reply" in times:
            lines = [line for line in cell.source.splitlines() if line.strip()]
            number = chapters.code_cell_number(notebook.cells, index)
            found.append(Cell(name, number, seconds_of(times), lines[0] if lines else ""))
    return found


def place(path: Path) -> Path:
    """Where the times of a chapter's cells are kept."""
    return chapters.executed_copy(path).with_suffix(".cells.json")


def keep(path: Path, notebook: Any) -> None:
    """Keep the times of a chapter's cells."""
    file = place(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    rows = [list(cell[1:]) for cell in cells(chapters.slug(path), notebook)]
    file.write_text(json.dumps(rows), encoding="utf-8")


def kept(path: Path) -> list[Cell]:
    """The kept times of a chapter's cells."""
    file = place(path)
    rows = json.loads(file.read_text(encoding="utf-8")) if file.exists() else []
    return [Cell(chapters.slug(path), *row) for row in rows]


def table(found: Sequence[Cell], slowest: int) -> str:
    """Chapters by their time, then the slowest cells."""
    totals: dict[str, float] = {}
    for cell in found:
        totals[cell.chapter] = totals.get(cell.chapter, 0.0) + cell.seconds
    lines = [f"{sum(totals.values()):7.1f} s  in {len(totals)} chapters"]
    lines += [f"{s:7.1f} s  {name}" for name, s in sorted(totals.items(), key=lambda t: -t[1])]
    lines += ["", f"the {slowest} slowest cells"]
    for cell in sorted(found, key=lambda cell: -cell.seconds)[:slowest]:
        lines.append(f"{cell.seconds:7.1f} s  {cell.chapter}, code cell {cell.number}: {cell.line}")
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> None:
    """Execute what is stale and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tools.profile", description=__doc__)
    parser.add_argument("chapter", nargs="*", help="chapters (default: all)")
    parser.add_argument("--cells", type=int, default=10, help="how many slow cells to print")
    options = parser.parse_args(arguments)
    paths = {chapters.slug(path): path for path in chapters.executable()}
    if unknown := [name for name in options.chapter if name not in paths]:
        parser.error(f"no chapter {', '.join(unknown)}; there are {', '.join(paths)}")
    book.execute(options.chapter)
    names = options.chapter or list(paths)
    print(table([cell for name in names for cell in kept(paths[name])], options.cells))


if __name__ == "__main__":
    main(sys.argv[1:])
