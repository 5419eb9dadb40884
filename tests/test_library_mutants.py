"""The harness that plants errors in the library's formulas: what it plants, and what it counts."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tools import mutants
from tools.mutations import mutations

ROOT = Path(__file__).resolve().parent.parent

MODULE = '''"""A module."""

LIMIT = 2.0


def law(fan_in: int, leak: float = 0.5, fan_out: int = 3) -> float:
    """A law of 2.0 steps."""
    if not 0 < leak <= 1:
        raise ValueError(f"leak must be at most {1 + 0}, got {leak!r}")
    spread = (1 - leak**2) * fan_in
    return min(spread, -fan_out).clone() if leak is not None else "a" + "b"
'''


def test_each_kind_of_error_is_planted_and_nothing_else():
    found = mutations(MODULE)
    assert {each.kind for each in found} == {
        *("condition", "operation", "dropped", "constant", "name", "sign", "copy")
    }
    changes = {(each.was, each.planted) for each in found}
    assert {
        ("0 < leak <= 1", "0 < leak < 1"),
        ("leak ** 2", "leak"),
        ("1 - leak ** 2", "1 + leak ** 2"),
        ("fan_in", "fan_out"),
        ("-fan_out", "fan_out"),
        ("min", "max"),
        ("min(spread, -fan_out).clone()", "min(spread, -fan_out)"),
        ("leak is not None", "leak is None"),
    } <= changes
    # Not in docstrings, defaults, messages, texts, or outside of functions.
    assert all(each.owner == "law" and each.line in (8, 10, 11) for each in found)
    assert not any("'" in each.was for each in found)


def test_a_planted_text_is_the_old_one_but_for_the_error():
    for error in mutations(MODULE):
        tree, changed = ast.parse(MODULE), ast.parse(error.source)
        assert ast.dump(tree) != ast.dump(changed)
        assert len(error.source.splitlines()) == len(MODULE.splitlines())
        differing = [
            number
            for number, lines in enumerate(
                zip(MODULE.splitlines(), error.source.splitlines(), strict=True), 1
            )
            if lines[0] != lines[1]
        ]
        assert differing == [error.line]


@pytest.mark.parametrize("room", mutants.ROOMS)
def test_the_sample_is_the_same_everywhere_and_compiles(room):
    chosen = mutants.sample(room, 20)
    assert chosen == mutants.sample(room, 20)
    assert len({target.key for target in chosen}) == 20
    for target in chosen:
        compile(target.error.source, str(target.path), "exec")
        tests = mutants.chosen_tests(target.path, target.error.owner)
        assert tests[0] == target.path
        assert all(path.exists() for path in tests)


SCRIPT = """
import json, sys
from pathlib import Path
from tools import mutants
from tools.mutations import mutations
path = Path("snnlib/init/micheli2024.py").resolve()
errors = mutations(path.read_text(encoding="utf-8"))
errors = [each for each in errors if each.owner == "gain" and each.kind == "operation"]
said = [mutants.noticed(mutants.Target("0", path, each), [path]) for each in errors[:1]]
print(json.dumps([*said, mutants.noticed(None, [path])]))
"""


def test_an_error_is_noticed_and_the_library_as_it_is_survives():
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, cwd=ROOT, check=True
    )
    wrong, right = json.loads(done.stdout)
    assert wrong.startswith("snnlib/init/micheli2024.py::"), wrong
    assert right == "survived"


def test_what_a_broken_test_noticed_does_not_count(monkeypatch):
    row = mutants.Outcome("0", "snnlib/init/a.py", "1", "f", "sign", "-x", "x", "tests/t.py::good")
    rows = {
        "0": row,
        "1": row._replace(key="1", noticed="tests/t.py::bad"),
        "2": row._replace(noticed=""),
    }
    monkeypatch.setattr(
        mutants,
        "noticed",
        lambda _, tests: "tests/t.py::bad" if "tests/t.py::bad" in tests else "survived",
    )
    assert set(mutants.without_false_alarms(rows)) == {"0", "2"}


def test_a_room_below_the_share_fails_the_check():
    row = mutants.Outcome("0", "snnlib/init/a.py", "1", "f", "sign", "-x", "x", "tests/t.py::good")
    many = [row._replace(key=str(number)) for number in range(20)]
    assert mutants.summary(many, {})[1]
    silent = row._replace(noticed="")
    assert mutants.summary([*many[1:], silent], {})[1]
    text, good = mutants.summary([*many[2:], silent, silent], {})
    assert not good
    assert "18 of 20" in text
    silent_tie, reasons = silent._replace(was="-y"), {(row.path, "f", "-y", "x"): "a tie"}
    text, good = mutants.summary([*many, silent, silent_tie], reasons)
    assert good
    assert "20 of 21 noticed, 1 that nothing can notice" in text
    assert not mutants.summary([*many[2:], silent, silent_tie], reasons)[1]


def test_what_nothing_can_notice_is_still_there_to_plant_and_has_a_reason():
    for (path, owner, was, planted), reason in mutants.equivalent().items():
        errors = mutations((ROOT / path).read_text(encoding="utf-8"))
        assert (owner, was, planted) in {(e.owner, e.was, e.planted) for e in errors}, was
        assert len(reason.split()) >= 4
