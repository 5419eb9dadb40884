"""Run a chapter under many seeds from one process, which forks where the first random number is.

Usage: ``python -m tools.reseeded CHAPTER --values 1 2 3 [--set NAME=VALUE ...] [--limit 600]``.

What comes before the chapter's first seed, imports and the algebra of its first half, is done once.
A fork for each value of SNNLIB_SEED goes on from there. Prints a line of JSON for each value.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import json
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tools import chapters

Cell = tuple[int, str]  # number of the code cell in the text notebook, and its source


def cells(path: Path, settings: Mapping[str, str] | None = None) -> list[Cell]:
    """Read a chapter's code cells, those of figures left out.

    Args:
        path: Text notebook.
        settings: Name -> expression, put in the place of what the parameter cell assigns to it.

    Raises:
        ValueError: If the parameter cell does not assign one of the names.
    """
    import jupytext

    source = jupytext.read(path)
    found, left = [], dict(settings or {})
    for index, cell in enumerate(source.cells):
        tags = cell.metadata.get("tags", [])
        if cell.cell_type != "code" or "figure" in tags:
            continue
        text = cell.source
        if "parameters" in tags and left:
            text, left = _changed(text, left)
        found.append((chapters.code_cell_number(source.cells, index), text))
    if left:
        raise ValueError(f"settings {sorted(left)} are not assigned in the parameter cell")
    return found


def _changed(source: str, settings: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """Put other values into a cell's assignments; also returns the settings that have no place."""
    tree, left = ast.parse(source), dict(settings)

    def other(name: ast.expr, value: ast.expr) -> ast.expr:
        if isinstance(name, ast.Name) and name.id in left:
            return ast.parse(left.pop(name.id), mode="eval").body
        return value

    for node in tree.body:
        if not isinstance(node, ast.Assign):
            continue
        for target in node.targets:
            node.value = other(target, node.value)
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                pairs = zip(target.elts, node.value.elts, strict=True)
                node.value.elts = [other(*pair) for pair in pairs]
    return ast.unparse(tree), left


class _Forks:
    """Stands in for `ledger.seed` until its first call, where the children begin."""

    def __init__(self, values: Sequence[int | None], limit: float, real: Any) -> None:
        self.values, self.limit, self.real = values, limit, real
        self.value: int | None = None
        self.child = False
        self.failed: dict[int | None, int] = {}  # value -> status of a child that did not end well

    def __call__(self, stream: str) -> int:
        if not self.child:
            self._fork()
        return self.real(stream)

    def _fork(self) -> None:
        sys.stdout.flush()
        for value in self.values:
            if (pid := os.fork()) == 0:
                self.value, self.child = value, True
                if value is not None:
                    os.environ["SNNLIB_SEED"] = str(value)
                # not RLIMIT_CPU: while it is set, process_time moves by whole ticks
                signal.setitimer(signal.ITIMER_REAL, self.limit)
                return
            status = os.waitpid(pid, 0)[1]
            if status:
                self.failed[value] = os.waitstatus_to_exitcode(status)
        for value, code in self.failed.items():
            late = code == -signal.SIGALRM
            what = f"more than {self.limit:.0f} s" if late else f"ended with status {code}"
            _say(value, [what])
        sys.stdout.flush()
        os._exit(0)


def _say(value: int | None, failures: Sequence[str], random: bool = True) -> None:
    line = {"value": value, "failures": list(failures), "random": random}
    os.write(_STDOUT, (json.dumps(line) + "\n").encode())


_STDOUT = 1  # where the lines go; what the chapter prints does not


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Send what the chapter prints nowhere."""
    global _STDOUT
    _STDOUT = os.dup(1)
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        yield


def run(
    path: Path, values: Sequence[int | None], settings: Mapping[str, str], limit: float
) -> None:
    """Run a chapter; each value's line is printed when it is done.

    Args:
        path: Text notebook.
        values: Values of SNNLIB_SEED; None is the book's own.
        settings: See `cells`.
        limit: Seconds that what follows the first seed may take.
    """
    from IPython.core.interactiveshell import InteractiveShell

    from snnlib import ledger
    from snnlib.ledger import chapter

    program = cells(path, settings)
    os.chdir(path.parent)
    forks = _Forks(values, limit, ledger.seed)
    ledger.seed = chapter.seed = forks
    with _quiet():
        shell = InteractiveShell.instance()
        setattr(shell, "showtraceback", lambda *args, **kwargs: None)  # noqa: B010
        failures = []
        for number, source in program:
            result = shell.run_cell(source, store_history=True)
            error = result.error_before_exec or result.error_in_exec
            if error is not None:
                words = type(error).__name__, str(error)
                failures.append(str(chapters.Failure(number, words[0], chapters.plain(words[1]))))
        _say(forks.value, failures, random=forks.child)
    if forks.child:
        os._exit(0)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the chapter that is named."""
    parser = argparse.ArgumentParser(prog="python -m tools.reseeded", description=__doc__)
    parser.add_argument("chapter", help="name of a chapter")
    parser.add_argument("--values", type=int, nargs="+", default=[None])
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--limit", type=float, default=600.0)
    options = parser.parse_args(arguments)
    settings = dict(text.split("=", 1) for text in options.set)
    path = chapters.NOTEBOOKS / f"{options.chapter}.md"
    run(path, options.values, settings, options.limit)


if __name__ == "__main__":
    main()
