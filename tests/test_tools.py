"""The machinery around the chapters, on chapters of a few lines."""

from __future__ import annotations

import doctest
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import tomllib
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from packaging.requirements import Requirement
from packaging.version import Version

from tools import book as book_tool
from tools import chapters, costs, portability, profile, progress

ROOT = Path(__file__).resolve().parent.parent

HEADER = """---
jupytext:
  text_representation:
    extension: .md
    format_name: myst
kernelspec:
  display_name: Python 3
  language: python
  name: python3
---

# A chapter
"""


def write_chapter(path, *cells):
    """A text notebook; a cell is its code, or (tag, code)."""
    text = HEADER
    for cell in cells:
        tag, code = cell if isinstance(cell, tuple) else ("", cell)
        option = f":tags: [{tag}]\n" if tag else ""
        text += f"\nWords.\n\n```{{code-cell}} python3\n{option}{code}\n```\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_one_thread_in_each_process():
    import torch

    asked = int(os.environ["OMP_NUM_THREADS"])
    # torch takes no more threads than there are cores
    assert min(asked, os.cpu_count() or 1) <= torch.get_num_threads() <= asked


# --- running a chapter without its figures ----------------------------------------------------

FAILING = """
class ClaimFailed(AssertionError):
    pass
raise ClaimFailed("paper2020.eq-1: too far\\nmore words")
"""


def test_chapter_without_figures_passes(tmp_path):
    path = write_chapter(
        tmp_path / "a.md", "x = 1", ("figure", "raise RuntimeError('a figure')"), "assert x == 1"
    )
    run = chapters.run_chapter(path)
    assert run.failures == ()
    assert run.seconds > 0


def test_failed_claim_is_named_and_stops_the_chapter(tmp_path):
    path = write_chapter(tmp_path / "a.md", ("figure", "pass"), FAILING, "1 / 0")
    (failure,) = chapters.run_chapter(path).failures
    assert (failure.cell, failure.name, failure.claim) == (2, "ClaimFailed", "paper2020.eq-1")
    assert str(failure) == "code cell 2: ClaimFailed: paper2020.eq-1: too far"
    assert "raise ClaimFailed" in failure.traceback


def test_keep_going_reports_every_failure(tmp_path):
    path = write_chapter(tmp_path / "a.md", FAILING, "1 / 0")
    first, second = chapters.run_chapter(path, keep_going=True).failures
    assert first.claim == "paper2020.eq-1"
    assert (second.name, second.claim) == ("ZeroDivisionError", None)


def test_prelude_runs_first_in_the_same_kernel_and_is_told_apart(tmp_path):
    path = write_chapter(tmp_path / "a.md", "assert planted == 3")
    assert not chapters.run_chapter(path, prelude="planted = 3").failures
    (failure,) = chapters.run_chapter(path, prelude="1 / 0").failures
    assert (failure.cell, failure.name) == (None, "ZeroDivisionError")


def test_seed_folder_and_threads_reach_the_kernel(tmp_path):
    code = "import os; assert (os.environ['SNNLIB_SEED'], os.environ['OMP_NUM_THREADS']) =="
    path = write_chapter(tmp_path / "a.md", f"{code} ('17', '1'), os.getcwd()")
    assert not chapters.run_chapter(path, seed=17).failures


def test_chapter_that_hangs_is_a_failure(tmp_path):
    path = write_chapter(tmp_path / "a.md", "import time; time.sleep(60)")
    (failure,) = chapters.run_chapter(path, timeout=1).failures
    assert failure.name == "CellTimeoutError"


# --- fingerprints -----------------------------------------------------------------------------


@pytest.fixture
def book(tmp_path, monkeypatch):
    """A book of two chapters whose executions are recorded as current."""
    monkeypatch.setattr(chapters, "ROOT", tmp_path)
    monkeypatch.setattr(chapters, "NOTEBOOKS", tmp_path / "notebooks")
    monkeypatch.setattr(chapters, "BOOK", tmp_path / "book")
    monkeypatch.setattr(chapters, "EXECUTED", tmp_path / "_build" / "executed")
    monkeypatch.setattr(chapters, "RECORD", tmp_path / "_build" / "executed" / "prints.json")
    monkeypatch.delenv("SNNLIB_SEED", raising=False)
    for name in ("snnlib/a.py", "book/claims/a.yml", "requirements.txt", "results/a.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    for name in ("one", "two"):
        chapters.executed_copy(write_chapter(tmp_path / "notebooks" / f"{name}.md")).parent.mkdir(
            parents=True, exist_ok=True
        )
        (chapters.EXECUTED / f"{name}.ipynb").write_text("{}")
    chapters.write_fingerprints(chapters.expected_fingerprints())
    assert chapters.stale_chapters() == []
    return tmp_path


@pytest.mark.parametrize(
    "name",
    ["snnlib/a.py", "snnlib/new.py", "book/claims/a.yml", "requirements.txt", "results/a.json"],
)
def test_an_edit_of_what_all_share_makes_every_chapter_stale(book, name):
    (book / name).write_text("edited")
    assert [path.stem for path in chapters.stale_chapters()] == ["one", "two"]


def test_an_edit_of_a_chapter_makes_it_stale(book):
    with (book / "notebooks" / "two.md").open("a") as file:
        file.write("x")
    assert [path.stem for path in chapters.stale_chapters()] == ["two"]


def test_a_page_with_code_is_executed_like_a_chapter(book):
    write_chapter(book / "book" / "page.md", "1 + 1")
    (book / "book" / "plain.md").write_text("# Prose\n\nkernelspec: none\n")
    assert [chapters.slug(path) for path in chapters.stale_chapters()] == ["book/page"]
    assert chapters.executed_copy(book / "book" / "page.md").match("executed/book/page.ipynb")
    assert [path.stem for path in chapters.chapters()] == ["one", "two"]


def test_code_beside_the_pages_makes_every_chapter_stale(book):
    (book / "book" / "_ext").mkdir()
    (book / "book" / "_ext" / "extension.py").write_text("")
    assert chapters.stale_chapters() == []
    (book / "book" / "draw.py").write_text("")
    assert len(chapters.stale_chapters()) == 2


def test_another_seed_makes_every_chapter_stale(book, monkeypatch):
    monkeypatch.setenv("SNNLIB_SEED", "5")
    assert len(chapters.stale_chapters()) == 2


def test_a_missing_copy_makes_a_chapter_stale(book):
    (chapters.EXECUTED / "one.ipynb").unlink()
    assert [path.stem for path in chapters.stale_chapters()] == ["one"]


def test_what_does_not_matter_makes_nothing_stale(book):
    (book / "snnlib" / "__pycache__").mkdir()
    (book / "snnlib" / "__pycache__" / "a.pyc").write_text("x")
    (book / "book" / "index.md").write_text("prose")
    assert chapters.stale_chapters() == []


# --- the book -------------------------------------------------------------------------------


@pytest.fixture
def calls(book, monkeypatch):
    """What `make book` would start; each program leaves behind what the real one does."""
    monkeypatch.setattr(book_tool, "INDEX", book / "_build" / "html" / "index.html")
    monkeypatch.setattr(book_tool, "SITE", book / "_build" / "html")
    monkeypatch.setattr(book_tool, "STAMP", book / "_build" / "rendered")
    monkeypatch.setattr(chapters, "BUILD", book / "_build")
    for name in ("_config.yml", "_toc.yml"):
        (book / name).write_text(name)
    started = []

    def fake(*arguments):
        if "pytest" in arguments:
            started.append(f"execute {' '.join(Path(a).stem for a in arguments if '.md' in a)}")
            chapters.write_fingerprints(chapters.expected_fingerprints())
        else:
            assert "-W" in arguments[-4:], arguments
            assert not book_tool.SITE.exists()
            started.append("render")
            book_tool.INDEX.parent.mkdir()
            book_tool.INDEX.write_text("")

    monkeypatch.setattr(book_tool, "_call", fake)
    book_tool.main()
    assert started == ["render"]
    started.clear()
    return started


def test_book_is_left_alone_when_nothing_changed(calls, capsys):
    book_tool.main()
    assert calls == []
    assert capsys.readouterr().out.splitlines()[-1] == str(book_tool.INDEX)


@pytest.mark.parametrize("name", ["book/index.md", "_config.yml", "book/_ext/pages.py"])
def test_an_edit_of_the_prose_renders_all_pages(book, calls, name):
    (book / name).parent.mkdir(exist_ok=True)
    (book / name).write_text("edited")
    book_tool.main()
    assert calls == ["render"]


def test_an_edit_of_the_library_executes_and_renders_all(book, calls):
    (book / "snnlib" / "a.py").write_text("edited")
    book_tool.main()
    assert calls == ["execute one two", "render"]


def test_an_edit_of_a_chapter_executes_that_one(book, calls):
    with (book / "notebooks" / "two.md").open("a") as file:
        file.write("x")
    book_tool.main()
    assert calls == ["execute two", "render"]


def test_a_chapter_alone_is_executed_and_rendered(book, calls, monkeypatch, capsys):
    (book / "snnlib" / "a.py").write_text("edited")
    monkeypatch.setattr(book_tool, "render_part", lambda names: f"page of {names}")
    book_tool.main(["two"])
    assert calls == ["execute two"]
    assert capsys.readouterr().out.splitlines()[-1] == "page of ['two']"
    with pytest.raises(SystemExit, match="no chapter three; there are one, two"):
        book_tool.main(["three"])


def test_a_failed_build_is_no_book(book, calls, monkeypatch):
    (book / "book" / "index.md").write_text("edited")
    good = book_tool._call

    def failing(*arguments):
        good(*arguments)
        sys.exit(1)

    monkeypatch.setattr(book_tool, "_call", failing)
    with pytest.raises(SystemExit):
        book_tool.main()
    monkeypatch.setattr(book_tool, "_call", good)
    book_tool.main()
    assert calls == ["render", "render"]


# --- chapters as tests ------------------------------------------------------------------------


def small_project(tmp_path, claims="", **notebooks):
    """A small project with this one's configuration; returns the command and the environment."""
    shutil.copy(ROOT / "conftest.py", tmp_path)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(ROOT / "tools", tmp_path / "tools")
    for name in ("results", "book"):
        (tmp_path / name).mkdir()
    (tmp_path / "requirements.txt").write_text("")
    (tmp_path / "book" / "claims").mkdir()
    (tmp_path / "book" / "claims" / "book.yml").write_text(
        f"sources: {{book: this book}}\nclaims:\n{claims}"
    )
    for name, cells in notebooks.items():
        write_chapter(tmp_path / "notebooks" / f"{name}.md", *cells)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment = {k: v for k, v in environment.items() if not k.startswith("PYTEST_")}
    return [sys.executable, "-m", "pytest", "notebooks"], environment


def run_pytest(tmp_path, claims="", **notebooks):
    """Plain pytest on a small project."""
    command, environment = small_project(tmp_path, claims, **notebooks)
    return subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, encoding="utf-8"
    )


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT], ids=["killed", "interrupted"])
def test_a_run_that_is_ended_keeps_the_chapters_that_finished(tmp_path, end):
    slow = "import time; time.sleep(600)"
    command, environment = small_project(tmp_path, quick=["1 + 1"], slow=[slow])
    record = tmp_path / "_build" / "executed" / "fingerprints.json"
    command += ["-p", "tools.progress"]
    with subprocess.Popen(
        command,
        cwd=tmp_path,
        env=environment,
        start_new_session=True,
        stdout=subprocess.PIPE,
        # who runs the tests in the background has it ignored
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        try:
            said = ""
            while "quick, " not in said:
                line = process.stdout.readline().decode()
                assert line, said
                said += line
            while not record.exists():  # the line comes from another plugin, before or after
                time.sleep(0.01)
        finally:
            os.killpg(process.pid, end)  # as a terminal does: all processes
            said += process.communicate(timeout=180)[0].decode()
    assert process.returncode != 0
    assert list(json.loads(record.read_text())) == ["quick"]
    assert "2 to execute" in said and "done    quick" in said and "1 to go, about" in said
    assert "slow runs" in said
    names = list((tmp_path / "_build" / ".jupyter_cache" / "executed").iterdir())
    assert len(names) == 1


def test_an_interrupted_build_lets_what_it_started_end(tmp_path):
    child = (
        "import sys, time\n"
        "try:\n    print('up', flush=True); time.sleep(60)\n"
        "except KeyboardInterrupt:\n    time.sleep(1); open(sys.argv[1], 'w').close()"
    )
    parent = f"from tools import book; book._call('-c', {child!r}, {str(tmp_path / 'ended')!r})"
    with subprocess.Popen(
        [sys.executable, "-c", parent],
        cwd=ROOT,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        assert process.stdout.readline() == b"up\n"
        os.killpg(process.pid, signal.SIGINT)
        said = process.communicate(timeout=60)[1].decode()
    assert process.returncode == 1 and said.startswith("interrupted: what was done is kept")
    assert (tmp_path / "ended").exists()


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new" / "a.json"
    chapters.write(path, "old")
    with pytest.raises(UnicodeEncodeError):
        chapters.write(path, "new\udc80")
    assert path.read_text() == "old"
    chapters.write(path, "newer")
    assert path.read_text() == "newer"


@pytest.mark.parametrize("module", [progress, profile, costs], ids=lambda module: module.__name__)
def test_doctests(module):
    failed, tried = doctest.testmod(module)
    assert (failed, tried > 0) == (0, True)


def test_a_profile_names_the_slow_cell_and_what_its_time_buys(tmp_path):
    burn = "while time.process_time() < 1.5: pass"
    command, environment = small_project(
        tmp_path,
        sleeps=["import time", "\n# costs: two seconds, for the test\ntime.sleep(2)"],
        burns=["import time", burn, "x = 1"],
    )
    limits = tmp_path / "tools" / "costs.py"
    text = limits.read_text()
    limits.write_text(text.replace("\nLIMIT = 30.0", "\nLIMIT = 1.4"))
    assert limits.read_text() != text
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, encoding="utf-8", check=True
    )
    over = [line for line in done.stdout.splitlines() if line.startswith("warning: burns takes")]
    assert len(over) == 1 and over[0].endswith("more than the 1 s of a new chapter"), done.stdout
    command = [sys.executable, "-m", "tools.profile", "--cells", "2"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, encoding="utf-8"
    )
    _, total, *rows = done.stdout.splitlines()
    assert total.endswith("in 2 chapters"), done.stderr
    (reason,) = (row for row in rows if "sleeps, code cell" in row)
    assert reason.endswith("sleeps, code cell 2: two seconds, for the test")
    assert float(reason.split()[0]) >= 2.0
    spent = {row.split()[4]: (float(row.split()[0]), float(row.split()[2])) for row in rows[:2]}
    assert list(spent) == ["burns", "sleeps"]  # by processor time
    assert spent["burns"][0] >= 1.5 and spent["sleeps"][1] >= 2.0
    assert spent["sleeps"][0] < spent["sleeps"][1]  # sleep takes no processor


def test_a_slow_cell_without_a_reason_is_warned_of(tmp_path):
    slow = "\nimport time; time.sleep(2.1)"
    done = run_pytest(tmp_path, plain=[slow], told=["# costs: sleep, for the test" + slow])
    assert done.returncode == 0, done.stdout + done.stderr
    warned = [line for line in done.stdout.splitlines() if line.startswith("warning: ")]
    assert warned == ["warning: plain, code cell 1 takes 2 s and has no line '# costs: ...'"]


def test_the_slow_cells_of_the_book_say_what_their_time_buys():
    import jupytext

    cells = [cell for path in chapters.chapters() for cell in jupytext.read(path).cells]
    sources = [cell.source for cell in cells if cell.cell_type == "code"]
    told = [source for source in sources if profile.reason_in(source)]
    assert len(told) >= profile.SLOW
    assert told == [source for source in sources if "# costs" in source]  # none misspelled


def test_every_old_chapter_exists():
    assert {chapters.slug(path) for path in chapters.chapters()} >= costs.OLD


def test_failure_report_names_notebook_line_cell_and_traceback(tmp_path):
    done = run_pytest(tmp_path, good=["x = 1"], bad=["y = 1", "def f():\n    1 / 0\nf()"])
    assert done.returncode == 1, done.stdout + done.stderr
    line = (tmp_path / "notebooks" / "bad.md").read_text().split("\n").index("def f():") + 1
    assert f"notebooks/bad.md:{line}: code cell 2: ZeroDivisionError" in done.stdout
    assert "1 / 0" in done.stdout
    assert "1 failed, 1 passed" in done.stdout
    assert "ledger not audited" in done.stdout
    executed = tmp_path / "_build" / "executed"
    assert {path.stem for path in executed.glob("*.ipynb")} == {"good", "bad"}
    assert '"good"' in (executed / "fingerprints.json").read_text()
    assert '"bad"' not in (executed / "fingerprints.json").read_text()


def test_a_claim_without_evidence_fails_a_full_run(tmp_path):
    claim = (
        "  book.lonely: {source: book, locator: here, read: ours, statement: No one checks me.,"
        " verdict: proved, chapter: good}\n"
    )
    done = run_pytest(tmp_path, claims=claim, good=["x = 1"])
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 passed" in done.stdout
    assert "ledger: book.lonely: no evidence" in done.stdout


# --- other machines -------------------------------------------------------------------------------


def test_the_sensitive_tests_exist_and_names_are_unique():
    assert all((ROOT / path).exists() for path in portability.EVERY)
    names = [imitation.name for imitation in portability.IMITATIONS]
    assert len(set(names)) == len(names)
    for paths in (portability.BITS, portability.PLACES):
        assert sum(path.startswith("notebooks/") for path in paths) == 3
    whole = {imitation.name for imitation in portability.IMITATIONS if not imitation.tests}
    assert whole == {"here", "torch default"}


def test_the_oldest_versions_are_those_that_the_package_allows():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["book"]]
    least = {r.name: r.specifier for r in map(Requirement, wanted)}
    for name in ("oldest", "newest"):
        lines = (ROOT / "constraints" / f"{name}.txt").read_text(encoding="utf-8").splitlines()
        pins = dict(line.split("==") for line in lines if not line.startswith("#"))
        assert {"torch", "numpy", "scipy", "sympy", "matplotlib", "torchvision"} == set(pins)
        for package in set(pins) - {"torchvision"}:
            (specifier,) = least[package]
            assert specifier.operator == ">=" and specifier.contains(pins[package])
            if name == "oldest":
                assert Version(pins[package]).release[:2] == Version(specifier.version).release[:2]


def test_an_imitation_reaches_the_tests_and_a_failing_one_fails(tmp_path, monkeypatch, capsys):
    test = tmp_path / "test_place.py"
    test.write_text("import os\ndef test_it(): assert os.environ['PLACE'] == 'there'\n")
    # the project's conftest.py, as for its own tests
    tests = (str(test), "-n0", "-p", "conftest")
    imitations = (
        portability.Imitation("there", {"PLACE": "there"}, tests),
        portability.Imitation("elsewhere", {"PLACE": "elsewhere"}, tests),
        portability.Imitation("nowhere", missing=lambda: "nobody can"),
    )
    monkeypatch.setattr(portability, "IMITATIONS", imitations)
    monkeypatch.setattr(portability, "LOGS", tmp_path / "logs")
    assert portability.main(["there", "nowhere"]) == 0
    shown = capsys.readouterr().out
    assert "1 passed" in shown and "skipped: nobody can" in shown
    assert portability.main([]) == 1
    assert "FAILED" in capsys.readouterr().out
    assert "machine     " in (tmp_path / "logs" / "elsewhere.txt").read_text()


def test_global_random_numbers_are_those_of_the_test(request):
    base = int(os.environ.get("SNNLIB_SEED", "0")) % 2**32
    seed = zlib.crc32(request.node.nodeid.encode()) ^ base
    assert torch.initial_seed() == seed
    assert random.random() == random.Random(seed).random()
    assert np.random.rand() == np.random.RandomState(seed).rand()
