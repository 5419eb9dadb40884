"""Other seeds and other settings: which failures they show, and what is stored of a chapter."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from test_tools import write_chapter

from tools import chapters, reseeded, seeds

ROOT = Path(__file__).resolve().parent.parent

QUIET = ("x = 1", "assert x == 1")
LEDGER = """
class ClaimFailed(AssertionError):
    pass
def seed(stream):
    return 1
"""
IMPORTS = """
import os
from snnlib import ledger
from snnlib.ledger.chapter import ClaimFailed
print("printed")
"""
RANDOM = (
    IMPORTS,
    ("parameters", "LEAK, WIDTH = 0.5, 10\nSHAPE = ROWS, COLUMNS = 2, 3"),
    "before = os.getpid()\nnumber = ledger.seed('stream')\nvalue = os.environ.get('SNNLIB_SEED')",
    ("figure", "raise RuntimeError('a figure')"),
    'if value == "2":\n    raise ClaimFailed("paper2020.eq-1: too far")',
    'if value == "3":\n    print("\\x1b[31mred\\x1b[0m")\n    1 / 0',
    "assert LEAK < 0.6 and (ROWS, COLUMNS) == SHAPE",
)
HANGING = (IMPORTS, "ledger.seed('a')\nwhile os.environ.get('SNNLIB_SEED') == '2':\n    pass")
ENDED = (IMPORTS, "ledger.seed('a')\nif os.environ.get('SNNLIB_SEED') == '1':\n    os._exit(7)")


@pytest.fixture
def project(tmp_path):
    """A small project with this one's tools and a small ledger; runs `tools.seeds` on chapters."""
    shutil.copytree(ROOT / "tools", tmp_path / "tools")
    package = tmp_path / "snnlib" / "ledger"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("from snnlib.ledger.chapter import seed")
    (package / "chapter.py").write_text(LEDGER)
    (tmp_path / "tools" / "settings.yml").write_text("luck: {LEAK: 0.7, COLUMNS: 3}\n")

    def command(*arguments, **notebooks):
        for name, cells in notebooks.items():
            write_chapter(tmp_path / "notebooks" / f"{name}.md", *cells)
        ended = subprocess.run(
            [sys.executable, "-m", "tools.seeds", *arguments],
            cwd=tmp_path,
            capture_output=True,
            encoding="utf-8",
        )
        assert "Traceback" not in ended.stderr, ended.stderr
        return ended.returncode, ended.stdout

    return command


def test_seeds_name_the_claim_and_the_value(project, tmp_path):
    status, said = project("--values", "3", luck=RANDOM, quiet=QUIET)
    assert status == 1
    assert "quiet: 1 seeds: no failures" in said
    assert "luck: 3 seeds, and at LEAK = 0.7, COLUMNS = 3: 3 failures" in said
    assert "SNNLIB_SEED=2: code cell 5: ClaimFailed: paper2020.eq-1: too far" in said
    assert "SNNLIB_SEED=3: code cell 6: ZeroDivisionError: division by zero" in said
    assert "there: code cell 7: AssertionError" in said
    rows = seeds.stored(tmp_path / "results" / "audit" / "seeds.csv")
    assert (rows["quiet"].seeds, rows["quiet"].failed) == (1, "")
    assert (rows["luck"].seeds, rows["luck"].setting) == (3, "LEAK = 0.7, COLUMNS = 3")

    status, said = project("--values", "3")  # nothing changed: nothing runs
    assert status == 1 and said == "2 chapters, 1 with failures\n"
    assert "to be run: none" in project("--values", "3", "--check")[1]
    assert "to be run: luck" in project("--values", "4", "--check")[1]
    # words, and cells of figures, are no reason to run a chapter again; its code is
    other = (*RANDOM[:3], ("figure", "2"), *RANDOM[4:])
    assert "to be run: none" in project("--values", "3", "--check", luck=other)[1]
    (tmp_path / "tools" / "settings.yml").write_text("luck: {LEAK: 0.4}\n")
    said = project("--values", "3")[1]  # the seeds are not run again for another setting
    assert "luck: 3 seeds, and at LEAK = 0.4: 3 failures" not in said and "there:" not in said
    assert "luck: 3 seeds, and at LEAK = 0.4: 2 failures" in said
    mended = (*RANDOM[:4], "pass", "pass", "assert LEAK < 0.8")
    status, said = project("--values", "3", luck=mended)
    assert status == 0 and "luck: 3 seeds, and at LEAK = 0.4: no failures" in said
    assert "quiet" not in said


def test_a_seed_that_hangs_or_ends_the_process_is_a_failure(project):
    status, said = project("--values", "2", "--limit", "5", hanging=HANGING, ended=ENDED)
    assert status == 1
    assert "hanging: 2 seeds: 1 failures\n  SNNLIB_SEED=2: more than 5 s" in said
    assert "ended: 2 seeds: 1 failures\n  SNNLIB_SEED=1: ended with status 7" in said


def test_unknown_chapters_are_refused(project):
    with pytest.raises(SystemExit):
        seeds.main(["three"])


def test_what_comes_before_the_first_seed_runs_once(tmp_path):
    """The parent's process number is seen in all children; none is that of the other."""
    path = write_chapter(
        tmp_path / "a.md",
        IMPORTS + f"open({str(tmp_path / 'once')!r}, 'a').write('x')",
        f"ledger.seed('a')\nopen({str(tmp_path / 'each')!r}, 'a').write(os.environ['SNNLIB_SEED'])",
    )
    code = f"from tools.reseeded import Path, run; run(Path({str(path)!r}), (4, 5), {{}}, 60)"
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, encoding="utf-8", check=True
    )
    assert [line[:12] for line in ended.stdout.splitlines()] == ['{"value": 4,', '{"value": 5,']
    assert (tmp_path / "once").read_text() == "x"
    assert (tmp_path / "each").read_text() == "45"


def test_settings_replace_what_the_parameter_cell_assigns(tmp_path):
    path = write_chapter(tmp_path / "a.md", *RANDOM)
    changed = dict(reseeded.cells(path, {"LEAK": "0.7", "COLUMNS": "1 + 1", "SHAPE": "4, 5"}))
    assert changed[2] == "LEAK, WIDTH = (0.7, 10)\nSHAPE = ROWS, COLUMNS = (4, 1 + 1)"
    with pytest.raises(ValueError, match=r"'HEIGHT'.* not assigned in the parameter cell"):
        reseeded.cells(path, {"HEIGHT": "1"})


# --- what is stored of this book ----------------------------------------------------------------


def test_no_stored_run_under_other_seeds_failed():
    """`make seeds` runs a chapter again whose code has changed since; a failure never stays."""
    rows = seeds.stored()
    assert rows and set(rows) <= {chapters.slug(path) for path in chapters.chapters()}
    assert not [seeds.report(row) for row in rows.values() if row.failed or row.failed_there]
    assert {row.seeds for row in rows.values()} <= {1, seeds.VALUES}


def test_every_chapter_has_another_setting():
    """An empty one for parameters that are those of stored networks."""
    names = {chapters.slug(path) for path in chapters.chapters()}
    given = seeds.settings()
    assert set(given) == names
    for path in chapters.chapters():
        reseeded.cells(path, given[chapters.slug(path)])  # every name is in the parameter cell
