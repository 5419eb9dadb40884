"""What newer dependencies changed in the book: verdicts, and chapters that stop.

Usage: ``python -m tools.newest report.md``, after pytest executed the chapters, passed or not.

The report lists each claim whose executed chapter reaches another verdict than the claims expect,
each chapter that stopped and where, and the installed versions that differ from the lock file.
The exit status is 0 if the report was written, and 3 if nothing changed.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from tools import chapters

NOTHING = 3


def stops(name: str, notebook: Any) -> list[str]:
    """Where a chapter stopped: cell number, error and its first line."""
    found = []
    for place, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                number = chapters.code_cell_number(notebook.cells, place)
                failure = chapters.Failure(number, output.ename, chapters.plain(output.evalue))
                found.append(f"`{name}`, {failure}")
    return found


def other_versions(lock: Iterable[str], installed: Mapping[str, str]) -> list[str]:
    """Packages whose installed version is not the lock file's.

    Args:
        lock: Lines of the lock file.
        installed: Canonical name -> version.

    Returns:
        One line for each, with both versions.

    Example:
        >>> other_versions(["# the lock", "numpy==2.4.6", "Sphinx==7.4.7"],
        ...                {"numpy": "2.5.0", "sphinx": "7.4.7"})
        ['numpy 2.4.6 → 2.5.0']
    """
    found = []
    for line in lock:
        pin = re.fullmatch(r"([\w.-]+)==([\w.+]+)", line.strip())
        if pin:
            version = installed.get(canonical(pin[1]), "not installed")
            if version != pin[2] and version.partition("+")[0] != pin[2]:
                found.append(f"{pin[1]} {pin[2]} → {version}")
    return found


def canonical(name: str) -> str:
    """A distribution's name as registries compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def report(notebooks: Mapping[str, Any], problems: Sequence[str], versions: Sequence[str]) -> str:
    """Write what changed as Markdown; empty if nothing did.

    Args:
        notebooks: Executed chapters by name.
        problems: What the audit of the ledger says about them.
        versions: Packages of other versions than the lock file's.

    Returns:
        The text of an issue.
    """
    stopped = [text for name, notebook in notebooks.items() for text in stops(name, notebook)]
    if not stopped and not problems:
        return ""
    parts = []
    for title, lines in (
        ("Chapters that stop", stopped),
        ("Claims", problems),
        ("Versions that differ from the lock file", versions),
    ):
        if lines:
            parts.append("\n".join([f"## {title}", "", *(f"* {line}" for line in lines)]))
    return "\n\n".join(parts) + "\n"


def main(arguments: Sequence[str]) -> int:
    """Write the report of the chapters as they were executed last."""
    import nbformat

    from snnlib import ledger

    notebooks = {
        chapters.slug(path): nbformat.read(chapters.executed_copy(path), as_version=4)
        for path in chapters.executable()
        if chapters.executed_copy(path).exists()
    }
    installed = {canonical(d.metadata["Name"]): d.version for d in metadata.distributions()}
    lock = (chapters.ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    problems = ledger.audit(chapters.CLAIMS, notebooks)
    text = report(notebooks, problems, other_versions(lock, installed))
    if not text:
        print("nothing changed")
        return NOTHING
    Path(arguments[0]).write_text(text, encoding="utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
