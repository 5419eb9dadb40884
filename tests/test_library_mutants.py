"""The harness that plants errors in the library's formulas: what it plants, and what it counts."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tools import mutants
from tools.leniency import lenient
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


DECIDES = '''
LIMIT = 0.05


def decide(x: float) -> Decision:
    """Whether x is small."""
    if x != x:
        raise ValueError(x)
    if x > LIMIT:
        return Decision(False, "large")
    if x == 0:
        return Decision(True, "zero")
    return Decision(None, "undecided")


class Check:
    def passes(self, x: float) -> bool:
        if x > 1:
            return False
        return x > 0

    def report(self, x: float) -> list[str]:
        messages = []
        if x > 1:
            messages.append("large")
        messages += [f"{x}"] if x < 0 else []
        critical = 3.0 * x
        verdict = "good" if x < critical else "bad"
        return [*messages, verdict]

    def refuse(self, x: float) -> None:
        if x > 1:
            raise ValueError(x)

    def note(self, x: float) -> None:
        self.x = x
'''


def test_each_way_of_saying_yes_is_planted_and_nothing_else():
    text = DECIDES.replace("LIMIT", "LAW_EFFECT")
    found = [(each.owner, each.was, each.planted) for each in lenient(text)]
    assert found == [
        ("LAW_EFFECT", "0.05", "1.05 * (0.05)"),
        ("decide", "decide", "return Decision(True, 'planted')"),
        ("decide", "x != x", "False"),
        ("decide", "Decision(False, ...)", "True"),
        ("decide", "Decision(None, ...)", "True"),
        ("Check", "passes", "return True"),
        ("Check", "return False", "return True"),
        ("Check", "report", "return []"),
        ("Check", "x > 1", "False"),
        ("Check", "[f'{x}'] if x < 0 else []", "[]"),
        ("Check", "3.0 * x", "1.05 * (3.0 * x)"),
        ("Check", "x < critical", "True"),
        ("Check", "refuse", "return None"),
        ("Check", "x > 1", "False"),
    ]
    for error in lenient(text):
        assert ast.dump(ast.parse(error.source)) != ast.dump(ast.parse(text))
        assert error.kind == "yes"
    assert not lenient(MODULE.replace("raise ValueError", "return ValueError"))


def test_every_guard_of_the_ledger_is_left_out():
    """Counted another way: each block below an `if` that ends by raising an exception."""
    guards = 0
    for path in (ROOT / "snnlib" / "ledger").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            guards += isinstance(node, ast.If) and isinstance(node.body[-1], ast.Raise)
    targets = [each for each in mutants.sample(mutants.GUARDS) if each.path.parent.name == "ledger"]
    notes = [
        each for each in targets if each.error.planted == "False" and "audit" in each.path.name
    ]
    raising = [each for each in targets if each.error.planted == "False" and each not in notes]
    assert len(raising) == guards > 50
    assert len(notes) >= 8


@pytest.mark.parametrize("room", mutants.ROOMS)
def test_the_sample_is_the_same_everywhere_and_compiles(room):
    chosen = mutants.sample(room, 20)
    assert chosen == mutants.sample(room, 20)
    assert {target.room for target in chosen} == {room}
    assert len({target.key for target in chosen}) == len(chosen)
    assert len(chosen) == 20 or room == mutants.GUARDS
    for target in chosen:
        compile(target.error.source, str(target.path), "exec")
        tests = mutants.chosen_tests(target.path, target.error.owner)
        assert tests[0] == target.path
        assert all(path.exists() for path in tests)


def test_tests_of_what_rests_on_a_private_module_are_chosen():
    path = ROOT / "snnlib" / "neurons" / "_stepwise" / "backward.py"
    names = [each.stem for each in mutants.chosen_tests(path, "record")]
    assert {"test_adaptive_lif", "test_recurrent_lif"} <= set(names[1:])
    more = mutants.chosen_tests(path, "record", mutants.FILES + mutants.MORE)
    assert [each.stem for each in more][: len(names)] == names
    assert len(more) == 1 + mutants.FILES + mutants.MORE


SCRIPT = """
import json, sys
from pathlib import Path
from tools import mutants
from tools.mutations import mutations
path = Path("snnlib/init/micheli2024.py").resolve()
errors = mutations(path.read_text(encoding="utf-8"))
errors = [each for each in errors if each.owner == "gain" and each.kind == "operation"]
source = path.read_text(encoding="utf-8")
idle = source.replace("    scale = check", "    0 == 0\\n    scale = check", 1)
assert idle != source
changes = [errors[0].source, idle, source]
targets = [mutants.Target("0", path, errors[0]._replace(source=change)) for change in changes]
said = [mutants.noticed(targets[0], [path]), mutants.noticed(None, [path])]
print(json.dumps([*said, *(by for _, by in mutants.swept(targets, [path]))]))
"""


def test_an_error_is_noticed_and_the_library_as_it_is_survives():
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, cwd=ROOT, check=True
    )
    wrong, right, swept, idle, same = json.loads(done.stdout)
    assert wrong.startswith("snnlib/init/micheli2024.py::"), wrong
    assert swept == wrong
    assert right == idle == "survived"
    assert same == mutants.NOWHERE


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


def test_the_ledger_may_not_be_made_to_say_yes_once():
    row = mutants.Outcome(
        "0", "snnlib/ledger/a.py", "1", "f", "yes", "x < 1", "False", "t.py::good"
    )
    many = [row._replace(key=str(number)) for number in range(200)]
    assert mutants.summary(many, {}) == ("guards: 200 of 200 noticed", True)
    text, good = mutants.summary([*many, row._replace(noticed="")], {}, {"guards": 3})
    assert not good
    assert text.startswith("guards: 200 of 201 noticed, 3 to be tried again\n")


def test_the_stored_outcomes_are_of_every_room_and_good_enough():
    outcomes = mutants.stored().values()
    text, good = mutants.summary(outcomes, mutants.equivalent())
    assert good, text
    assert {row.room for row in outcomes} == set(mutants.ROOMS)


def test_what_nothing_can_notice_is_still_there_to_plant_and_has_a_reason():
    for (path, owner, was, planted), reason in mutants.equivalent().items():
        errors = mutations((ROOT / path).read_text(encoding="utf-8"))
        assert (owner, was, planted) in {(e.owner, e.was, e.planted) for e in errors}, was
        assert len(reason.split()) >= 4
