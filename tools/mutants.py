"""Which errors in the library's formulas its tests would notice.

Usage: ``python -m tools.mutants [--most N] [--seconds N] [--check] [room ...]``.

A sample of the errors of `tools.mutations`, the same one on every machine, is planted one at a
time, and the tests that name what was changed, or what rests on it, run until one fails. What
came out is kept in ``results/audit/mutants.csv`` and not run again until the module changes. A
process that has imported the other libraries is forked for each, so one error costs what its tests
cost. ``--check`` runs nothing and exits with 1 if a room's share of noticed errors is too low.
An error that changes nothing that can be seen (a tie of probability 0, a cell less of a sum) has a
line with the reason in ``results/audit/equivalent.csv``, is not run and does not count.
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
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any, NamedTuple

from tools import chapters
from tools.leniency import lenient
from tools.mutations import Mutation, mutations

GUARDS = "guards"
"""Stands for the ledger made to say yes: every way of it, and all have to be noticed."""
ROOMS = ("init", "meanfield", "surrogate", "membrane", "neurons", "ledger", GUARDS)
TABLE = chapters.AUDITED / "mutants.csv"
EQUIVALENT = chapters.AUDITED / "equivalent.csv"
MOST = 50
"""Errors of each room that are tried."""
FILES = 4
"""Test files that run against one error, those that say most about it."""
MORE = 4
"""Test files that run against an error that survived the first ones."""
ASIDE = (
    "house",
    "ledger_script",
    "mutants",
    "site",
    "newcomer",
    "typed_numbers",
    "experiments",
    "benchmarks",
)
"""Test files about something else than formulas."""
LIMIT = 300
"""Processor seconds after which a test run counts as hanging, which is noticed."""
NOWHERE = "not planted"
LEAST = 0.95
"""Share of errors that has to be noticed."""


HEAVY = ["torch", "scipy.stats", "sympy", "hypothesis", "sklearn.datasets"]
HEAVY += ["pytest", "IPython", "jupytext", "nbclient"]
"""What the tests import, but the library: each child then starts with it."""


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

    @property
    def room(self) -> str:
        """The package, or `GUARDS`."""
        return _room(self.path, self.kind)


class Target(NamedTuple):
    """An error and the module that it is planted in."""

    key: str
    path: Path
    error: Mutation

    @property
    def room(self) -> str:
        """The package, or `GUARDS`."""
        return _room(self.path.relative_to(chapters.ROOT).as_posix(), self.error.kind)

    @property
    def module(self) -> str:
        """The dotted name."""
        return _dotted(self.path)


def _room(path: str, kind: str) -> str:
    return GUARDS if kind == "yes" else path.split("/")[1]


def _dotted(path: Path) -> str:
    parts = path.relative_to(chapters.ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def sample(room: str, most: int = MOST) -> list[Target]:
    """Errors of a room: those whose digests are the smallest, the same ones everywhere.

    Args:
        room: A package of the library, or `GUARDS`, of which all are taken.
        most: How many.
    """
    ranked = []
    plant, package = (lenient, "ledger") if room == GUARDS else (mutations, room)
    most = sys.maxsize if room == GUARDS else most
    paths = sorted((chapters.ROOT / "snnlib" / package).rglob("*.py"))
    if room == GUARDS:
        paths.append(chapters.ROOT / "snnlib" / "_significance.py")
    for path in paths:
        source = path.read_text(encoding="utf-8")
        name = path.relative_to(chapters.ROOT).as_posix()
        seen: dict[tuple[str, str, str], int] = defaultdict(int)
        for error in plant(source):
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


@cache
def _importers() -> Mapping[str, frozenset[str]]:
    """Module -> modules of its own room that import it."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in (chapters.ROOT / "snnlib").rglob("*.py"):
        importer = _dotted(path)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                for name in (node.module, *(f"{node.module}.{each.name}" for each in node.names)):
                    if name.split(".")[1:2] == importer.split(".")[1:2] and name.count(".") > 1:
                        found[name].add(importer)
    return {name: frozenset(importers) for name, importers in found.items()}


@cache
def _resting(path: Path) -> frozenset[str]:
    """Names of the modules of the room that rest on a module, and its own."""
    every, new = set(), {_dotted(path)}
    while new:
        every |= new
        new = set().union(*(_importers().get(name, ()) for name in new)) - every
    return frozenset(name.split(".")[-1] for name in every)


def chosen_tests(path: Path, owner: str, most: int = FILES) -> list[Path]:
    """The module's own examples, then the test files that name what was changed or its users.

    A mention counts by how few files share the word, and a third with each step from user to user.
    A file that is named after the module, its room or a module that imports it counts as one that
    says a word of its own.

    Args:
        path: The module.
        owner: Its function or class.
        most: How many test files.
    """
    folders = path.relative_to(chapters.ROOT).parts[2:-1]
    weights = dict.fromkeys(_resting(path), 0.3) | dict.fromkeys(folders, 1.0)
    level, weight = {owner}, 1.0
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
        + (file.stem.removeprefix("test_") in _resting(path))
        for file, counts in _words().items()
        if file.stem.removeprefix("test_") not in ASIDE
    }
    best = sorted((file for file in scores if scores[file] > 0), key=lambda f: -scores[f])
    return [path, *best[:most]]


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
    """A plugin of pytest that says what failed first, and ends the process: no report is read."""

    def __init__(self, send: int) -> None:
        self.send = send

    def say(self, text: str) -> None:
        os.write(self.send, text.encode())
        os._exit(0)

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed:
            self.say(report.nodeid)

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            self.say(f"{report.nodeid} (import)")


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
        _child(target, tests, send)
    os.close(send)
    with os.fdopen(receive) as said:
        text = said.read()
    os.waitpid(child, 0)
    return text or "the process was ended"


def _child(target: Target | None, tests: Iterable[Path | str], send: int) -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (LIMIT, LIMIT))
    if target is not None:
        sys.meta_path.insert(0, _Finder(target))
    first = _First(send)
    status = _pytest(tests, first)
    first.say("survived" if status in (0, 5) else f"pytest ended with {status}")


def _pytest(tests: Iterable[Path | str], plugin: object) -> int:
    """Run tests without a word, in a process that was forked for it."""
    import pytest

    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    os.chdir(chapters.ROOT)
    # Plain asserts: pytest's own importer, which rewrites them, would pass by the planted module.
    options = ["-o", "addopts=", "-n0", "-x", "-q", "--assert=plain", "--doctest-modules"]
    options += ["-p", "no:cacheprovider", "-m", "not kernel", "--tb=native"]
    return int(pytest.main([*options, *map(str, tests)], plugins=[plugin]))


class _Sweep:
    """A plugin of pytest that runs the collected tests once for each error, each in a fork."""

    def __init__(self, targets: Sequence[Target], send: int) -> None:
        self.targets, self.send = targets, send

    def pytest_runtestloop(self, session: Any) -> bool:
        for number, target in enumerate(self.targets):
            receive, send = os.pipe()
            child = os.fork()
            if not child:
                os.close(receive)
                self._run(session, target, _First(send))
            os.close(send)
            with os.fdopen(receive) as said:
                text = said.read() or "the process was ended"
            os.waitpid(child, 0)
            os.write(self.send, f"{number} {text}\n".encode())
        return True

    def _run(self, session: Any, target: Target, first: _First) -> None:
        if not _swapped(target):
            first.say(NOWHERE)
        session.config.pluginmanager.register(first)
        for item, following in zip(session.items, [*session.items[1:], None], strict=True):
            item.ihook.pytest_runtest_protocol(item=item, nextitem=following)
        first.say("survived")


def _swapped(target: Target) -> bool:
    """Give the functions of an imported module the code of the changed ones; whether one differs.

    Whoever imported a function then runs the changed one. Constants are not reached.
    """
    module = importlib.import_module(target.module)
    fresh = ModuleType(target.module)
    fresh.__dict__.update({k: v for k, v in vars(module).items() if k.startswith("__")})
    exec(compile(target.error.source, str(target.path), "exec"), fresh.__dict__)
    changed = False
    for name, value in vars(module).items():
        if getattr(value, "__module__", None) != target.module:
            continue
        pairs = [(value, getattr(fresh, name, None))]
        if isinstance(value, type):
            pairs = [(each, vars(pairs[0][1]).get(key)) for key, each in vars(value).items()]
        for old, new in pairs:
            for inner in ("func", "fget", "__func__", "__wrapped__"):
                old, new = getattr(old, inner, old), getattr(new, inner, new)
            if isinstance(old, FunctionType) and isinstance(new, FunctionType):
                changed |= old.__code__ != new.__code__
                old.__code__ = new.__code__
    return changed


def swept(targets: Sequence[Target], tests: Iterable[Path | str]) -> Iterator[tuple[Target, str]]:
    """What `noticed` says of each error, by tests that are imported once for all.

    Args:
        targets: Errors; those outside of functions come back as `NOWHERE`.
        tests: Test files, modules with examples, or single tests.
    """
    receive, send = os.pipe()
    child = os.fork()
    if not child:
        os.close(receive)
        _pytest(tests, _Sweep(targets, send))
        os._exit(0)
    os.close(send)
    with os.fdopen(receive) as said:
        for line in said:
            number, _, text = line.rstrip("\n").partition(" ")
            yield targets[int(number)], text
    os.waitpid(child, 0)


def files_for(targets: Sequence[Target]) -> list[Path]:
    """The test files that are chosen most often for errors of one module.

    Args:
        targets: The errors.
    """
    lists = [chosen_tests(target.path, target.error.owner) for target in targets]
    counts = Counter(path for each in lists for path in each)
    return [path for path, _ in counts.most_common(1 + FILES)]


def alone(target: Target, tests: Sequence[Path]) -> str:
    """What `noticed` says of an error that `swept` could not plant or that survived there.

    Args:
        target: The error.
        tests: The files of the sweep, which run again: what is bound at import is only reached now.
    """
    more = chosen_tests(target.path, target.error.owner, FILES + MORE)
    by = noticed(target, tests)
    if by == "survived" and target.room != GUARDS:
        by = noticed(target, [path for path in more if path not in tests])
    return by


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
    for heavy in HEAVY:
        importlib.import_module(heavy)
    assert "snnlib" not in sys.modules, "the library must be imported by the children"
    known, end = stored(), time.monotonic() + seconds
    wanted = [target for room in rooms for target in sample(room, most)]
    valid, fresh = {target.key for target in wanted}, set()
    known = {key: row for key, row in known.items() if key in valid or row.room not in rooms}
    todo = [target for target in wanted if target.key not in known]

    def keep(target: Target, by: str) -> None:
        error, name = target.error, target.path.relative_to(chapters.ROOT).as_posix()
        place = (target.key, name, str(error.line), error.owner, error.kind)
        by = "" if by == "survived" else by
        known[target.key] = Outcome(*place, error.was, error.planted, by)
        fresh.add(target.key)
        store(known.values())
        mark = "noticed" if by else "SURVIVED"
        print(f"{mark} {name}:{error.line} {error.was} -> {error.planted}", flush=True)

    excused = equivalent()
    for target in todo:
        error, name = target.error, target.path.relative_to(chapters.ROOT).as_posix()
        if (name, error.owner, error.was, error.planted) in excused:
            keep(target, "survived")  # nothing can notice it
    todo = [target for target in todo if target.key not in known]
    for path in dict.fromkeys(target.path for target in todo):
        group = [target for target in todo if target.path == path]
        tests = files_for(group)
        for target, by in swept(group, tests):
            if by not in ("survived", NOWHERE):
                keep(target, by)
            if time.monotonic() > end:
                break
        for target in group:
            if target.key not in known and time.monotonic() < end:
                keep(target, alone(target, tests))
    alarms = without_false_alarms({key: known[key] for key in fresh})
    store(row for key, row in known.items() if key not in fresh or key in alarms)


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


def untried(known: Mapping[str, Outcome]) -> dict[str, int]:
    """Room -> how many of its errors have no outcome, most often as their module changed since.

    Args:
        known: Outcomes by key.
    """
    return {room: sum(target.key not in known for target in sample(room)) for room in ROOMS}


def equivalent() -> dict[tuple[str, str, str, str], str]:
    """Path, owner, what stood there and what was put there -> why nothing can notice it."""
    with EQUIVALENT.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        return {(r["path"], r["owner"], r["was"], r["planted"]): r["reason"] for r in rows}


def summary(
    outcomes: Iterable[Outcome],
    reasons: Mapping[tuple[str, str, str, str], str],
    missing: Mapping[str, int] | None = None,
) -> tuple[str, bool]:
    """A line per room with its share, each survivor, and whether every share is high enough.

    Args:
        outcomes: What came of each error.
        reasons: As `equivalent` gives them; such errors do not count unless a test noticed them.
        missing: As `untried` gives it; shown, but held against nobody: an outcome stays in the
            table until the next run, although its module changed.

    Example:
        >>> row = Outcome("0", "snnlib/init/a.py", "3", "gain", "constant", "2.0", "2.1", "")
        >>> text, good = summary([row], {})
        >>> print(text)
        init: 0 of 1 noticed
          snnlib/init/a.py:3 gain: 2.0 -> 2.1
        >>> good
        False
        >>> why = {("snnlib/init/a.py", "gain", "2.0", "2.1"): "of a message"}
        >>> print(summary([row], why, {"init": 2})[0])
        init: 0 of 0 noticed, 1 that nothing can notice, 2 to be tried again
    """
    lines, good = [], True
    for room, (seen, alive, excused) in scores(outcomes, reasons).items():
        count = seen + len(alive)
        good &= len(alive) <= (0 if room == GUARDS else (1 - LEAST) * count)
        also = f", {excused} that nothing can notice" if excused else ""
        also += f", {missing[room]} to be tried again" if missing and missing.get(room) else ""
        lines.append(f"{room}: {seen} of {count} noticed{also}")
        lines += [f"  {r.path}:{r.line} {r.owner}: {r.was} -> {r.planted}" for r in alive]
    return "\n".join(lines), good


def scores(
    outcomes: Iterable[Outcome], reasons: Mapping[tuple[str, str, str, str], str]
) -> dict[str, tuple[int, list[Outcome], int]]:
    """Room -> errors noticed, those that survived, and how many nothing can notice.

    Args:
        outcomes: What came of each error.
        reasons: As `equivalent` gives them.
    """
    rooms: dict[str, list[Outcome]] = {room: [] for room in ROOMS}
    for row in outcomes:
        rooms[row.room].append(row)
    found = {}
    for room, rows in rooms.items():
        silent = [row for row in rows if not row.noticed]
        alive = [r for r in silent if (r.path, r.owner, r.was, r.planted) not in reasons]
        if rows:
            found[room] = len(rows) - len(silent), alive, len(silent) - len(alive)
    return found


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
    known = stored()
    text, good = summary(known.values(), equivalent(), untried(known))
    print(text)
    return 0 if good or not given.check else 1


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
