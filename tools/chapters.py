"""Chapters: where they are, whether their last execution is still current, how to run one.

A chapter is a text notebook in ``notebooks``.  A page of ``book`` may have code cells too; it is
executed and kept like a chapter, and is called a page here.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "notebooks"
BOOK = ROOT / "book"
CLAIMS = BOOK / "claims"
AUDITED = ROOT / "results" / "audit"
BUILD = ROOT / "_build"
EXECUTED = BUILD / "executed"  # executed copies of the chapters, as .ipynb
CACHE = BUILD / ".jupyter_cache"  # where the book looks for them
RECORD = EXECUTED / "fingerprints.json"  # what each executed copy was made from

_ANSI = re.compile(r"\x1b\[[0-9;]*m")


def chapters() -> list[Path]:
    """List the chapters, in the order of their names."""
    return sorted(NOTEBOOKS.rglob("*.md"))


def executable() -> list[Path]:
    """List the chapters and the pages with code cells."""
    return chapters() + [path for path in sorted(BOOK.rglob("*.md")) if is_executable(path)]


def is_executable(path: Path) -> bool:
    """Tell text notebooks from plain pages: their header names a kernel."""
    if path.suffix != ".md" or not path.is_relative_to(ROOT):
        return False
    if NOTEBOOKS in path.parents:
        return True
    header = re.match(r"---\n(.*?)^---$", path.read_text(encoding="utf-8"), flags=re.S | re.M)
    return BOOK in path.parents and header is not None and "kernelspec:" in header[1]


def slug(path: Path) -> str:
    """Name a chapter by its path inside ``notebooks``, a page by its path, without the suffix."""
    return (
        path.relative_to(NOTEBOOKS if NOTEBOOKS in path.parents else ROOT)
        .with_suffix("")
        .as_posix()
    )


def executed_copy(path: Path) -> Path:
    """Place of a chapter's executed copy."""
    return EXECUTED / f"{slug(path)}.ipynb"


def plain(text: str) -> str:
    """Drop terminal colours."""
    return _ANSI.sub("", text)


def code_cell_number(cells: Sequence[Any], index: int) -> int:
    """Count code cells from 1, as the notebook's own numbers do after a fresh run."""
    return sum(cell.cell_type == "code" for cell in cells[: index + 1])


# --- is an executed copy still current? -------------------------------------------------------


def fingerprint(paths: Iterable[Path], *more: str) -> str:
    """Hash files (names and contents) and some strings."""
    digest = hashlib.sha256(repr(more).encode())
    for path in sorted(paths):
        name = path.relative_to(ROOT).as_posix()
        digest.update(f"\0{name}\0{path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def files(*names: str, skip: Collection[str] = ()) -> list[Path]:
    """All files under some folders of the project (or the files themselves), caches left out."""
    found: list[Path] = []
    for name in names:
        top = ROOT / name
        found += [top] if top.is_file() else [path for path in top.rglob("*") if path.is_file()]
    return [p for p in found if "__pycache__" not in p.parts and p.suffix not in skip]


def expected_fingerprints() -> dict[str, str]:
    """Hash, for each chapter and page, everything that its numbers depend on.

    That is its own text, the library, other code beside the notebooks and pages, the stored
    results, the lock file, the claims (their number sets the significance level), the base seed
    and the Python version.
    """
    shared = files("snnlib", "results", "requirements.txt", "book/claims")
    shared = [path for path in shared if not path.is_relative_to(AUDITED)]  # no chapter reads it
    beside = files("notebooks", "book", skip=(".md", ".ipynb"))
    shared += [path for path in beside if path.suffix == ".py" and "_ext" not in path.parts]
    common = fingerprint(shared, os.environ.get("SNNLIB_SEED", ""), sys.version)
    return {slug(path): fingerprint([path], common) for path in executable()}


def recorded_fingerprints() -> dict[str, str]:
    """Read what the executed copies were made from."""
    record = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}
    return {name: made for name, made in record.items() if (EXECUTED / f"{name}.ipynb").exists()}


def write(path: Path, text: str) -> None:
    """Write a file whole or not at all: who is killed meanwhile leaves the one from before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.{os.getpid()}")
    new.write_text(text, encoding="utf-8")
    new.replace(path)


def write_fingerprints(record: Mapping[str, str]) -> None:
    """Store what the executed copies were made from."""
    write(RECORD, json.dumps(dict(sorted(record.items())), indent=1) + "\n")


def stale_chapters() -> list[Path]:
    """List the chapters and pages without a current, passing execution."""
    record, expected = recorded_fingerprints(), expected_fingerprints()
    return [path for path in executable() if record.get(slug(path)) != expected[slug(path)]]


# --- run a chapter without its figures --------------------------------------------------------


@dataclass(frozen=True)
class Failure:
    """An exception that a cell raised.

    Attributes:
        cell: Number of the code cell in the text notebook, from 1; None for the prelude.
        name: Class of the exception.
        message: Its message.
        traceback: Its traceback, without colours.
    """

    cell: int | None
    name: str
    message: str
    traceback: str = ""

    @property
    def claim(self) -> str | None:
        """Identity of the claim whose check failed; None if something else went wrong."""
        found = re.match(r"[\w-]+\.[\w.-]*\w", self.message)
        return found[0] if found and self.name == "ClaimFailed" else None

    def __str__(self) -> str:
        """Say it in one line."""
        first = self.message.strip().partition("\n")[0]
        place = "prelude" if self.cell is None else f"code cell {self.cell}"
        return f"{place}: {self.name}: {first}"


@dataclass(frozen=True)
class Run:
    """Result of one run of a chapter: what failed, and how long it took (seconds)."""

    failures: tuple[Failure, ...]
    seconds: float


def run_chapter(
    path: Path,
    *,
    skip: Collection[str] = ("figure",),
    prelude: str = "",
    seed: int | None = None,
    keep_going: bool = False,
    timeout: float = 300.0,
) -> Run:
    """Execute a chapter's code cells in a fresh kernel, in its own folder, one thread.

    Args:
        path: Text notebook.
        skip: Cells with one of these tags are left out.
        prelude: Code that runs before the first cell, in the same kernel.
        seed: Value of SNNLIB_SEED; None leaves the environment as it is.
        keep_going: Run the cells after a failing one too.
        timeout: Seconds that one cell may take.

    Returns:
        The failures, in order, and the time.
    """
    import jupytext
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    source = jupytext.read(path)
    kept = [
        (code_cell_number(source.cells, index), cell)
        for index, cell in enumerate(source.cells)
        if cell.cell_type == "code" and not set(skip) & set(cell.metadata.get("tags", []))
    ]
    cells: list[Any] = [cell for _, cell in kept]
    numbers: list[int | None] = [number for number, _ in kept]
    if prelude:
        cells.insert(0, nbformat.v4.new_code_cell(prelude))
        numbers.insert(0, None)
    notebook = nbformat.v4.new_notebook(cells=cells, metadata=source.metadata)

    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    if seed is not None:
        environment["SNNLIB_SEED"] = str(seed)
    client = NotebookClient(
        notebook,
        timeout=timeout,
        allow_errors=keep_going,
        resources={"metadata": {"path": str(path.parent)}},
    )
    start = time.perf_counter()
    broken: list[Failure] = []
    try:
        client.execute(env=environment)
    except CellExecutionError:
        pass  # the error is in the cell's output
    except (CellTimeoutError, DeadKernelError) as error:
        broken = [Failure(None, type(error).__name__, str(error))]
    seconds = time.perf_counter() - start
    raised = [
        Failure(number, out.ename, plain(out.evalue), plain("\n".join(out.traceback)))
        for number, cell in zip(numbers, cells, strict=True)
        for out in cell.get("outputs", [])
        if out.output_type == "error" and not (broken and out.ename == "KeyboardInterrupt")
    ]
    return Run(tuple(raised + broken), seconds)
