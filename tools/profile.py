"""Where the chapters' time goes: each chapter, and the slowest cells of all, with their reasons.

Usage: ``python -m tools.profile [--cells N] [chapter ...]``.

The times are those of each chapter's last execution as a test; stale chapters are executed first.
A slow cell says in a line ``# costs: ...`` what its time buys; a run of the chapters warns of one
among the ten slowest that does not.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from tools import book, chapters, costs

SLOW = 10  # so many cells of the book have to say what their time buys
WORTH_A_WORD = 2.0  # seconds below which no cell has to

_REASON = re.compile(r"^\s*# costs: *(\S.*)$", flags=re.M)


class Cell(NamedTuple):
    """A code cell: chapter, number there from 1, wall time, first line of code, reason if given."""

    chapter: str
    number: int
    seconds: float
    line: str
    reason: str = ""

    @property
    def place(self) -> str:
        """Name it for people."""
        return f"{self.chapter}, code cell {self.number}"


def reason_in(source: str) -> str:
    r"""What a cell says its time buys; empty if it says nothing.

    Example:
        >>> reason_in("# costs: 400 networks, for an error of 1 %\nx = measure(400)")
        '400 networks, for an error of 1 %'
    """
    found = _REASON.search(source)
    return found[1].strip() if found else ""


def slowest(found: Sequence[Cell], number: int = SLOW) -> list[Cell]:
    """The slowest cells, the slowest first, without those that take no time to speak of."""
    worth = [cell for cell in found if cell.seconds >= WORTH_A_WORD]
    return sorted(worth, key=lambda cell: -cell.seconds)[:number]


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
            first = lines[0] if lines else ""
            found.append(Cell(name, number, seconds_of(times), first, reason_in(cell.source)))
    return found


def place(path: Path) -> Path:
    """Where the times of a chapter's cells are kept."""
    return chapters.executed_copy(path).with_suffix(".cells.json")


def keep(path: Path, notebook: Any) -> None:
    """Keep the times of a chapter's cells."""
    rows = [list(cell[1:]) for cell in cells(chapters.slug(path), notebook)]
    chapters.write(place(path), json.dumps(rows))


def kept(path: Path) -> list[Cell]:
    """The kept times of a chapter's cells."""
    file = place(path)
    rows = json.loads(file.read_text(encoding="utf-8")) if file.exists() else []
    return [Cell(chapters.slug(path), *row) for row in rows]


def table(found: Sequence[Cell], spent: Mapping[str, costs.Cost], number: int = SLOW) -> str:
    """Chapters by their processor time, then the slowest cells and why."""
    names = sorted({cell.chapter for cell in found}, key=lambda n: -spent[n].processor)
    wall, processor = (sum(spent[n][i] for n in names) for i in (0, 1))
    lines = ["processor    wall", f"{processor:7.1f} s {wall:7.1f} s  in {len(names)} chapters"]
    lines += [f"{spent[n].processor:7.1f} s {spent[n].wall:7.1f} s  {n}" for n in names]
    lines += ["", f"the {number} slowest cells, by the clock"]
    for cell in sorted(found, key=lambda cell: -cell.seconds)[:number]:
        lines.append(f"{cell.seconds:7.1f} s  {cell.place}: {cell.reason or cell.line}")
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> None:
    """Execute what is stale and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tools.profile", description=__doc__)
    parser.add_argument("chapter", nargs="*", help="chapters (default: all)")
    parser.add_argument("--cells", type=int, default=SLOW, help="how many slow cells to print")
    options = parser.parse_args(arguments)
    paths = {chapters.slug(path): path for path in chapters.executable()}
    if unknown := [name for name in options.chapter if name not in paths]:
        parser.error(f"no chapter {', '.join(unknown)}; there are {', '.join(paths)}")
    book.execute(options.chapter)
    names = options.chapter or list(paths)
    spent = costs.recorded()
    if unknown := [name for name in names if name not in spent]:
        parser.error(f"executed before costs were kept, execute again: {', '.join(unknown)}")
    print(table([cell for name in names for cell in kept(paths[name])], spent, options.cells))


if __name__ == "__main__":
    main(sys.argv[1:])
