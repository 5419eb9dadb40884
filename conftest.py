"""Make every chapter (MyST text notebook) a test, and keep what its execution gave.

Plain ``pytest`` executes all of ``notebooks/``, and the pages of ``book/`` that have code cells,
through nbmake, next to the library's tests and
doctests.  What passes is put into the book's cache, so the book that is built afterwards executes
nothing again.  When all chapters are current, the ledger is audited: a claim without evidence,
evidence without a claim or an unexpected verdict fails the run.
"""

from __future__ import annotations

import os

# Two processes run side by side: one thread each. Before torch is imported anywhere.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import random
import signal
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jupytext
import nbformat
import pytest
from nbmake import nb_run
from nbmake.pytest_items import NotebookFailedException, NotebookItem

from tools import chapters, costs, outputs, profile

# Modules that only say where their content is now: collecting doctests would import them.
collect_ignore = [f"snnlib/{name}.py" for name in ("figures", "moments", "running", "tables")]

# A shell's background job ignores Ctrl-C, and what it starts inherits that; tests send it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# nbmake reads with nbformat.read, JSON only; jupytext.read takes text notebooks too.
nb_run.nbformat = SimpleNamespace(
    read=lambda path, as_version: nbformat.convert(jupytext.read(path), as_version)
)

KEEPER = pytest.StashKey["Keeper"]()
REMARKS = pytest.StashKey[list[str]]()
PROBLEMS = pytest.StashKey[list[str]]()
WARNINGS = pytest.StashKey[list[str]]()


# --- a chapter is a test ----------------------------------------------------------------------


def _line_of(path: Path, source: str) -> int:
    """Line of the text notebook where a cell's code begins."""
    text = path.read_text(encoding="utf-8")
    return text.count("\n", 0, max(text.find(source), 0)) + 1


class ChapterItem(NotebookItem):
    """One chapter, executed from its own folder."""

    def runtest(self) -> None:
        """Execute the chapter and keep its executed copy, passed or not."""
        self.user_properties.append(("chapter", chapters.slug(self.path)))
        option = self.config.option
        before = costs.processor_seconds()
        result = nb_run.NotebookRun(
            self.path,
            option.nbmake_timeout,
            verbose=bool(option.verbose),
            kernel=option.nbmake_kernel,
            find_import_errors=option.nbmake_find_import_errors,
        ).execute()
        self.user_properties.append(("processor", costs.processor_seconds() - before))
        profile.keep(self.path, result.nb)
        for cell in result.nb.cells:  # nbmake's timings would change the cache's key
            cell.metadata.pop("execution", None)
        chapters.write(chapters.executed_copy(self.path), nbformat.writes(result.nb) + "\n")
        if result.error is not None:
            raise NotebookFailedException(result)
        if found := outputs.complaints(result.nb, chapters.slug(self.path)):
            pytest.fail("no reader should meet this:\n" + "\n".join(found), pytrace=False)

    def repr_failure(self, excinfo: Any, style: Any = None) -> Any:
        """Name the text notebook, the cell, its line and the traceback."""
        name = self.path.relative_to(self.config.rootpath)
        if isinstance(excinfo.value, NotebookFailedException):
            result = excinfo.value.args[0]
            index = result.error.failing_cell_index
            trace = chapters.plain(result.error.trace).rstrip()
            line = _line_of(self.path, result.nb.cells[index].source)
            number = chapters.code_cell_number(result.nb.cells, index)
            last = trace.rpartition("\n")[2]
            return f"{name}:{line}: code cell {number}: {last}\n{trace}"
        if isinstance(excinfo.value, pytest.fail.Exception):  # pytest-timeout
            return f"{name}: {excinfo.value}"
        return pytest.Item.repr_failure(self, excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        """Head the failure report."""
        return self.path, 0, f"chapter {chapters.slug(self.path)}"


class ChapterFile(pytest.File):
    """A text notebook: one test."""

    def collect(self) -> Iterator[ChapterItem]:
        """Yield the chapter; its header may set ``execution: {total_timeout: seconds}``."""
        item = ChapterItem.from_parent(self, filename=str(self.path))
        item.add_marker("notebook")
        execution = jupytext.read(self.path).metadata.get("execution", {})
        if "total_timeout" in execution:
            item.add_marker(pytest.mark.timeout(execution["total_timeout"]))
        yield item


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> ChapterFile | None:
    """Collect ``notebooks/**/*.md`` and the pages of ``book`` that have code cells."""
    if chapters.is_executable(file_path):
        return ChapterFile.from_parent(parent, path=file_path)
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the long tests first, so that both processes end together."""
    items.sort(
        key=lambda item: (
            0 if item.get_closest_marker("notebook") else 1,
            0 if item.get_closest_marker("mutant") else 1,
        )
    )


# --- what the controlling process does with the results ---------------------------------------


def _controls(config: pytest.Config) -> bool:
    """Tell the controlling process from pytest-xdist's workers."""
    return not hasattr(config, "workerinput")


class Keeper:
    """Puts each chapter that passes into the book's cache at once: an interruption loses none."""

    def __init__(self, expected: dict[str, str]) -> None:
        self.expected = expected
        self.paths = {chapters.slug(path): path for path in chapters.executable()}
        self.passed: dict[str, bool] = {}
        self.costs: dict[str, costs.Cost] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep a chapter's execution, or forget the one from before if it fails now."""
        properties = dict(report.user_properties)
        name = properties.get("chapter")
        if report.when != "call" or not isinstance(name, str) or report.skipped:
            return
        self.passed[name] = report.passed
        record = chapters.recorded_fingerprints()
        record.pop(name, None)
        if report.passed and name in self.expected:
            cost = costs.Cost(report.duration, float(str(properties["processor"])))
            _put_into_book_cache(self.paths[name], cost)
            costs.record(name, cost)
            self.costs[name] = cost
            record[name] = self.expected[name]
        record = {name: made for name, made in record.items() if name in self.expected}
        chapters.write_fingerprints(record)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Give each test global random numbers of its own: the same in every run and order."""
    base = int(os.environ.get("SNNLIB_SEED", "0")) % 2**32  # any integer; NumPy takes 32 bits
    seed = zlib.crc32(item.nodeid.encode()) ^ base
    random.seed(seed)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(seed)
    if "torch" in sys.modules:
        sys.modules["torch"].default_generator.manual_seed(seed)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Take the fingerprints before anything runs: an edit during the run makes it stale."""
    if _controls(session.config):
        keeper = Keeper(chapters.expected_fingerprints())
        session.config.stash[KEEPER] = keeper
        session.config.pluginmanager.register(keeper, "chapter-keeper")


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Audit the ledger when all chapters are current."""
    if not _controls(session.config) or not session.config.stash[KEEPER].passed:
        return
    keeper, record = session.config.stash[KEEPER], chapters.recorded_fingerprints()
    expected = keeper.expected
    kept = sum(keeper.passed.values())
    remarks = [f"{kept} executed chapters put into the book's cache"]
    problems: list[str] = []
    if record == expected:
        problems = _audit()
        remarks.append(f"ledger audited over {len(expected)} chapters: {len(problems)} problems")
    else:
        remarks.append("ledger not audited: not every chapter has a current execution")
    session.config.stash[REMARKS] = remarks
    session.config.stash[PROBLEMS] = problems
    session.config.stash[WARNINGS] = costs.overruns(keeper.costs) + _unexplained(keeper)
    if problems:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _unexplained(keeper: Keeper) -> list[str]:
    """Cells among the slowest of the whole book that ran now and say not what for."""
    cells = [cell for path in chapters.executable() for cell in profile.kept(path)]
    return [
        f"{cell.place} takes {cell.seconds:.0f} s and has no line '# costs: ...'"
        for cell in profile.slowest(cells)
        if cell.chapter in keeper.costs and not cell.reason
    ]


def _put_into_book_cache(path: Path, cost: costs.Cost) -> None:
    from jupyter_cache import get_cache
    from jupyter_cache.base import CacheBundleIn

    notebook = nbformat.read(chapters.executed_copy(path), as_version=4)
    get_cache(str(chapters.CACHE)).cache_notebook_bundle(
        CacheBundleIn(notebook, str(path), data={"execution_seconds": cost.wall}),
        check_validity=False,
        overwrite=True,
    )


def _machine() -> str:
    """What decides the bits here; the failure itself is what counts, so no error of its own."""
    try:
        from snnlib.experiments import machine

        return machine.describe()
    except Exception as error:
        return f"not known: {type(error).__name__}: {error}"


def _audit() -> list[str]:
    from snnlib import ledger

    executed = {
        chapters.slug(path): nbformat.read(chapters.executed_copy(path), as_version=4)
        for path in chapters.executable()
    }
    return list(ledger.audit(chapters.CLAIMS, executed))


def pytest_terminal_summary(terminalreporter: Any, exitstatus: int) -> None:
    """Say what was kept, what the audit found, and after a failure on which machine."""
    if exitstatus not in (pytest.ExitCode.OK, pytest.ExitCode.INTERRUPTED):
        terminalreporter.section("machine")
        terminalreporter.line(_machine())
    stash = terminalreporter.config.stash
    if REMARKS not in stash:
        return
    terminalreporter.section("chapters")
    for remark in stash[REMARKS]:
        terminalreporter.line(remark)
    for warning in stash[WARNINGS]:
        terminalreporter.line(f"warning: {warning}", yellow=True)
    for problem in stash[PROBLEMS]:
        terminalreporter.line(f"ledger: {problem}", red=True)
