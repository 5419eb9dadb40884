"""Which errors in the library's formulas its tests would notice.

Usage: ``python -m tools.mutants [--most N] [--seconds N] [--check] [room ...]``.

A sample of the errors of `tools.mutations`, the same one on every machine, is planted one at a
time, and the tests that name what was changed, or what rests on it, run until one fails. What
came out is kept in ``results/audit/mutants.csv`` and not run again until the module changes. A
process that has imported the other libraries is forked for each, so one error costs what its tests
cost. ``--check`` runs nothing and exits with 1 if a room's share of noticed errors is too low.
An error that changes nothing that can be seen (a tie of probability 0, a cell less of a sum) has a
line with the reason in ``results/audit/equivalent.csv`` and does not count.
"""

from __future__ import annotations

import argparse
import ast
import csv
import hashlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import re
import resource
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, NamedTuple

from tools import chapters
from tools.mutations import Mutation, mutations

ROOMS = ("init", "meanfield", "surrogate", "membrane", "neurons", "ledger")
TABLE = chapters.AUDITED / "mutants.csv"
EQUIVALENT = chapters.AUDITED / "equivalent.csv"
MOST = 50
"""Errors of each room that are tried."""
FILES = 4
"""Test files that run against one error, those that say most about it first."""
ASIDE = ("house", "mutants", "site", "newcomer", "typed_numbers", "experiments", "benchmarks")
"""Test files about something else than formulas."""
LIMIT = 300
"""Processor seconds after which a test run counts as hanging, which is noticed."""
LEAST = 0.95
"""Share of errors that has to be noticed."""


class Outcome(NamedTuple):
    """What came of one planted error, a row of the table.

    Attributes:
        key: Digest of the module and of the change.
        path: The module.
        line: Where in it.
        owner: The function or class.
        kind: What was done, see `tools.mutations`.
        was: What stood there.
        planted: What was put there.
        noticed: The test that failed first; empty if none did.
    """

    key: str
    path: str
    line: str
    owner: str
    kind: str
    was: str
    planted: str
    noticed: str


class Target(NamedTuple):
    """An error and the module that it is planted in."""

    key: str
    path: Path
    error: Mutation

    @property
    def module(self) -> str:
        """The dotted name."""
        parts = self.path.relative_to(chapters.ROOT).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def sample(room: str, most: int = MOST) -> list[Target]:
    """Errors of a room: those whose digests are the smallest, the same ones everywhere.

    Args:
        room: A package of the library.
        most: How many.
    """
    ranked = []
    for path in sorted((chapters.ROOT / "snnlib" / room).rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        name = path.relative_to(chapters.ROOT).as_posix()
        seen: dict[tuple[str, str, str], int] = defaultdict(int)
        for error in mutations(source):
            # Its rank does not depend on the rest of the file: a line more moves nothing.
            same = (error.owner, error.was, error.planted)
            seen[same] += 1
            rank = _digest(name, *same, str(seen[same]))
            ranked.append((rank, Target(_digest(source, error.source), path, error)))
    return [target for _, target in sorted(ranked, key=lambda pair: pair[0])[:most]]


def _digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]


# --- which tests -------------------------------------------------------------------------------


@cache
def _users() -> Mapping[str, frozenset[str]]:
    """Name at the top level of a module -> names of those that mention it."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in (chapters.ROOT / "snnlib").rglob("*.py"):
        for top in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(top, ast.FunctionDef | ast.ClassDef):
                for node in ast.walk(top):
                    name = getattr(node, "id", getattr(node, "attr", None))
                    if isinstance(name, str) and name != top.name:
                        found[name].add(top.name)
    return {name: frozenset(users) for name, users in found.items()}


@cache
def _words() -> Mapping[Path, frozenset[str]]:
    """The words of each test file."""
    files = sorted((chapters.ROOT / "tests").glob("test_*.py"))
    return {f: frozenset(re.findall(r"\w+", f.read_text(encoding="utf-8"))) for f in files}


def chosen_tests(path: Path, owner: str) -> list[Path]:
    """The module's own examples, then the test files that name what was changed or its users.

    A mention counts by how few files share the word, and a third with each step from user to user.
    A file that is named after the module or its room counts as one that says a word of its own.

    Args:
        path: The module.
        owner: Its function or class.
    """
    weights, level, weight = {path.stem: 0.3}, {owner}, 1.0
    for _ in range(4):
        for name in level:
            weights[name] = max(weights.get(name, 0.0), weight)
        level = {user for name in level for user in _users().get(name, ())} - set(weights)
        weight /= 3
    spread = {word: sum(word in counts for counts in _words().values()) for word in weights}
    rare = {word: weights[word] / count for word, count in spread.items() if count}
    names = {path.stem.strip("_"), *path.relative_to(chapters.ROOT).parts[1:-1]}
    scores = {
        file: sum(value for word, value in rare.items() if word in counts)
        + any(name in file.stem for name in names)
        for file, counts in _words().items()
        if file.stem.removeprefix("test_") not in ASIDE
    }
    best = sorted((file for file in scores if scores[file] > 0), key=lambda f: -scores[f])
    return [path, *best[:FILES]]


# --- one error ---------------------------------------------------------------------------------


class _Planted(importlib.machinery.SourceFileLoader):
    """Loads a module from a changed text."""

    def __init__(self, name: str, path: Path, source: str) -> None:
        super().__init__(name, str(path))
        self.source = source

    def get_code(self, fullname: str) -> CodeType:
        return compile(self.source, self.path, "exec")


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the changed module in front of the one on disk."""

    def __init__(self, target: Target) -> None:
        self.target = target

    def find_spec(
        self, name: str, path: Sequence[str] | None, like: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != self.target.module:
            return None
        file = self.target.path
        inside = [str(file.parent)] if file.name == "__init__.py" else None
        loader = _Planted(name, file, self.target.error.source)
        return importlib.util.spec_from_file_location(
            name, file, loader=loader, submodule_search_locations=inside
        )


class _First:
    """A plugin of pytest that remembers what failed."""

    failed = ""

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed and not self.failed:
            self.failed = report.nodeid

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed and not self.failed:
            self.failed = f"{report.nodeid} (import)"


def noticed(target: Target | None, tests: Iterable[Path | str]) -> str:
    """The first test that fails with an error planted; "survived" if none does.

    Args:
        target: The error; None plants none.
        tests: Test files, modules with examples, or single tests.
    """
    receive, send = os.pipe()
    child = os.fork()
    if not child:
        os.close(receive)
        os._exit(_child(target, tests, send))
    os.close(send)
    with os.fdopen(receive) as said:
        text = said.read()
    os.waitpid(child, 0)
    return text or "the process was ended"


def _child(target: Target | None, tests: Iterable[Path | str], send: int) -> int:
    import pytest

    resource.setrlimit(resource.RLIMIT_CPU, (LIMIT, LIMIT))
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    os.chdir(chapters.ROOT)
    if target is not None:
        sys.meta_path.insert(0, _Finder(target))
    first = _First()
    # Plain asserts: pytest's own importer, which rewrites them, would pass by the planted module.
    options = ["-o", "addopts=", "-n0", "-x", "-q", "--assert=plain", "--doctest-modules"]
    options += ["-p", "no:cacheprovider"]
    status = pytest.main([*options, *map(str, tests)], plugins=[first])
    text = first.failed or ("survived" if status in (0, 5) else f"pytest ended with {status}")
    os.write(send, text.encode())
    return 0


# --- all of them -------------------------------------------------------------------------------


def stored() -> dict[str, Outcome]:
    """What came out so far, by key."""
    if not TABLE.exists():
        return {}
    with TABLE.open(encoding="utf-8", newline="") as file:
        return {row["key"]: Outcome(**row) for row in csv.DictReader(file)}


def store(outcomes: Iterable[Outcome]) -> None:
    """Write the table, sorted by place."""
    rows = sorted(outcomes, key=lambda row: (row.path, int(row.line), row.planted))
    new = TABLE.with_suffix(".new")
    with new.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(Outcome._fields)
        writer.writerows(rows)
    new.replace(TABLE)


def run(rooms: Sequence[str], most: int, seconds: float) -> None:
    """Try what was not tried yet, and keep the rest of the table as far as it is still true.

    Args:
        rooms: Packages of the library.
        most: Errors of each.
        seconds: When to stop, from now; the next call goes on.
    """
    # What the tests import, but the library: each child then starts with it.
    for heavy in ("torch", "scipy.stats", "sympy", "hypothesis", "pytest", "sklearn.datasets"):
        importlib.import_module(heavy)
    assert "snnlib" not in sys.modules, "the library must be imported by the children"
    known, end = stored(), time.monotonic() + seconds
    wanted = [target for room in rooms for target in sample(room, most)]
    valid = {target.key for room in ROOMS for target in sample(room, most)}
    known = {key: row for key, row in known.items() if key in valid}
    for number, target in enumerate(wanted, 1):
        if target.key in known:
            continue
        if time.monotonic() > end:
            print(f"stopped with {len(wanted) - number + 1} left")
            break
        error = target.error
        by = noticed(target, chosen_tests(target.path, error.owner))
        by = "" if by == "survived" else by
        name = target.path.relative_to(chapters.ROOT).as_posix()
        place = (target.key, name, str(error.line), error.owner, error.kind)
        known[target.key] = Outcome(*place, error.was, error.planted, by)
        store(known.values())
        mark = "noticed" if by else "SURVIVED"
        print(f"{number}/{len(wanted)} {mark} {name}:{error.line} {error.was} -> {error.planted}")
    store(without_false_alarms(known).values())


def without_false_alarms(known: Mapping[str, Outcome]) -> dict[str, Outcome]:
    """Leave out what was noticed by a test that fails without an error, too.

    Args:
        known: Outcomes by key.
    """
    tests = {row.noticed for row in known.values() if "::" in row.noticed}
    broken: set[str] = set()
    while tests - broken and (failed := noticed(None, sorted(tests - broken))) in tests:
        broken.add(failed)
    return {key: row for key, row in known.items() if row.noticed not in broken}


def equivalent() -> dict[tuple[str, str, str, str], str]:
    """Path, owner, what stood there and what was put there -> why nothing can notice it."""
    with EQUIVALENT.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        return {(r["path"], r["owner"], r["was"], r["planted"]): r["reason"] for r in rows}


def summary(
    outcomes: Iterable[Outcome], reasons: Mapping[tuple[str, str, str, str], str]
) -> tuple[str, bool]:
    """A line per room with its share, each survivor, and whether every share is high enough.

    Args:
        outcomes: What came of each error.
        reasons: As `equivalent` gives them; such errors do not count unless a test noticed them.

    Example:
        >>> row = Outcome("0", "snnlib/init/a.py", "3", "gain", "constant", "2.0", "2.1", "")
        >>> text, good = summary([row], {})
        >>> print(text)
        init: 0 of 1 noticed
          snnlib/init/a.py:3 gain: 2.0 -> 2.1
        >>> good
        False
        >>> why = {("snnlib/init/a.py", "gain", "2.0", "2.1"): "of a message"}
        >>> print(summary([row], why)[0])
        init: 0 of 0 noticed, 1 that nothing can notice
    """
    lines, good = [], True
    rooms: dict[str, list[Outcome]] = defaultdict(list)
    for row in outcomes:
        rooms[row.path.split("/")[1]].append(row)
    for room, rows in rooms.items():
        silent = [row for row in rows if not row.noticed]
        alive = [r for r in silent if (r.path, r.owner, r.was, r.planted) not in reasons]
        excused = len(silent) - len(alive)
        count = len(rows) - excused
        good &= len(alive) <= (1 - LEAST) * count
        also = f", {excused} that nothing can notice" if excused else ""
        lines.append(f"{room}: {count - len(alive)} of {count} noticed{also}")
        lines += [f"  {r.path}:{r.line} {r.owner}: {r.was} -> {r.planted}" for r in alive]
    return "\n".join(lines), good


def main(arguments: Sequence[str] | None = None) -> int:
    """Plant, run, print the summary; see the module."""
    parser = argparse.ArgumentParser(prog="python -m tools.mutants")
    parser.add_argument("rooms", nargs="*", default=list(ROOMS), help=f"of {', '.join(ROOMS)}")
    parser.add_argument("--most", type=int, default=MOST, help="errors of each room")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="when to stop")
    parser.add_argument("--check", action="store_true", help="run nothing")
    given = parser.parse_args(arguments)
    if unknown := set(given.rooms) - set(ROOMS):
        parser.error(f"rooms must be of {', '.join(ROOMS)}, got {', '.join(sorted(unknown))}")
    if not given.check:
        run(given.rooms, given.most, given.seconds)
    text, good = summary(stored().values(), equivalent())
    print(text)
    return 0 if good or not given.check else 1


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
