"""The audit of proofs: errors planted in premises, and what it says of a proof without any."""

from __future__ import annotations

import ast
import json
import sys

import pytest

from snnlib import ledger
from tools import audit, chapters
from tools.plant import places, planted
from tools.proof_slices import Proof, proofs

sys.path.insert(0, str(chapters.BOOK / "_ext"))
from ledger_audit import in_library, premises, reruns, summary

CLAIMS = """
sources: {paper: A paper 2024}
symbols: {paper: {n: {assume: [positive]}, p: {assume: [positive]}, v: {}}}
claims:
  paper.variance: {source: paper, locator: E, read: full text, statement: s, verdict: proved,
                   chapter: one, printed: "Eq(v, n*p)"}
  paper.loss: {source: paper, locator: G, read: full text, statement: s, verdict: measured,
               chapter: one, entries: 1}
  paper.story: {source: paper, locator: H, read: full text, statement: s, verdict: corrected,
                chapter: one, entries: 1}
  paper.order: {source: paper, locator: F, read: full text, statement: s, verdict: proved,
                chapter: one}
"""

DERIVED = """
s = ledger.symbols("paper")
w, x, unused = sp.symbols("w x y")
algebra = Algebra()
algebra.declare(w, {1: 0, 2: 1})
algebra.declare(x, {1: s.p / 2, 2: s.p})
algebra.declare(unused, {1: 0, 2: 7})
one = algebra.expectation((w * x) ** 2)
ledger.prove("paper.variance", sp.expand(s.n * one))
"""

RETYPED = """
s = ledger.symbols("paper")
derived = sp.expand(s.n * s.p)
ledger.prove("paper.variance", derived)
"""

SQUARED = """
t = sp.Symbol("t", positive=True)
slope = sp.diff(2 * t**2, t)
ledger.hold("paper.order", sp.Gt(t + slope**2, t, evaluate=False))
"""


@pytest.fixture
def run(tmp_path):
    path = tmp_path / "claims.yml"
    path.write_text(CLAIMS)
    ledger.load(path)

    def audited(source, call, claim):
        statements = tuple(ast.parse(source).body)
        imports = tuple(ast.parse("from snnlib.ledger.moments import Algebra").body)
        return audit.audit_proof(Proof("one", call, claim, statements, imports, source))

    return audited


def test_a_derivation_breaks_with_each_premise_that_it_uses(run):
    result = run(DERIVED, "prove", "paper.variance")
    assert "decorative" not in result
    broken = {tried["was"]: bool(tried["breaks"]) for tried in result["tried"]}
    assert broken["1"]  # E[w²]
    assert broken["s.p"]  # E[x²]
    assert not broken["s.p / 2"]  # E[x], of which nothing is used
    assert not broken["7"]


def test_an_answer_that_was_typed_is_decorative(run):
    result = run(RETYPED, "prove", "paper.variance")
    assert result["decorative"] == ["paper.variance"]
    assert result["tried"] == []


def test_a_relation_that_its_premises_do_not_matter_to_is_decorative(run):
    """A square is positive whatever it is the square of."""
    result = run(SQUARED, "hold", "paper.order")
    assert result["decorative"] == ["paper.order"]
    assert [tried["was"] for tried in result["tried"]] == ["2 * t ** 2", "t ** 2"]
    direct = SQUARED.replace("t + slope**2", "t * slope + t")
    assert "decorative" not in run(direct, "hold", "paper.order")


def test_a_proof_that_does_not_run_alone_is_a_fault(run):
    result = run(RETYPED.replace("s.n * s.p", "s.n * s.p * 2"), "prove", "paper.variance")
    assert result["fault"] == "as it is: {'paper.variance': 'broken'}"
    assert run("missing\n" + RETYPED, "prove", "paper.variance")["fault"].startswith("NameError")


def test_the_sides_of_a_typed_relation_are_no_premises():
    source = "a = f(2 * x)\nr = [sp.Eq(a, 3 * x)]\nledger.hold('paper.order', r)"
    program = ast.parse(source).body
    (place,) = places(program, "hold")
    error = planted(program, place, "hold")
    assert error.was == "2 * x"
    assert ast.unparse(error.program[0]) == "a = f(2 * x * sp.Rational(-21, 20))"


def test_an_error_in_zero_is_not_zero(run):
    """A start from rest is a premise, of which 5 % more would be none less."""
    source = """
s = ledger.symbols("paper")
t = sp.Symbol("t")
rest = sp.Integer(0)
grown = sp.integrate(s.n + rest, (t, 0, s.p))
ledger.prove("paper.variance", grown)
"""
    tried = {each["was"]: each for each in run(source, "prove", "paper.variance")["tried"]}
    assert tried["0"]["planted"] == "0 + 1" and tried["0"]["breaks"]
    assert tried["sp.Integer(0)"]["planted"] == "sp.Rational(1, 20)"
    assert tried["sp.Integer(0)"]["breaks"]


def test_an_error_is_planted_only_where_the_run_came_by_with_a_symbolic_value(run):
    """Numbers, other branches and the chapter's own assertions are no premises."""
    source = DERIVED.replace(
        "one = ",
        """def other(x):
    return 2 * x + 1
counts = 2 * 3 - 1
assert 2 * w - w - w == 0
one = """,
    ).replace("s.n * one", "s.n * one * (counts - 4)")
    tried = {tried["was"] for tried in run(source, "prove", "paper.variance")["tried"]}
    assert {"s.p", "(w * x) ** 2"} <= tried
    assert tried & {"2 * x", "2 * x + 1", "2 * 3", "2 * 3 - 1", "2 * w"} == set()


def test_the_argument_of_a_function_is_tried_where_nothing_else_is_noticed(run):
    """The slope of ln(1 + e^k) is 1 − 1/V whatever the sign and the factor of e^k."""
    source = """
s = ledger.symbols("paper")
k, V = sp.symbols("k V", positive=True)
value = sp.log(1 + sp.exp(k))
(inverse,) = sp.solve(sp.Eq(value, V), k)
slope = sp.simplify(sp.diff(value, k).subs(k, inverse) + sp.exp(-V))
ledger.prove("paper.variance", slope * s.n * s.p)
"""
    result = run(source, "prove", "paper.variance")
    assert "decorative" not in result
    noticed = {(tried["kind"], tried["was"]): bool(tried["breaks"]) for tried in result["tried"]}
    assert not noticed["sign", "1 + sp.exp(k)"]
    assert noticed["argument", "k"]


def test_all_places_are_tried_before_a_proof_is_called_decorative(run):
    """The first dozen are about terms that cancel; the one that matters comes late."""
    lines = [f"a{k} = sp.diff({k + 2} * w**2, w)" for k in range(20)]
    dead = " + ".join(f"0 * a{k}" for k in range(20))
    start = ['s = ledger.symbols("paper")', 'w = sp.Symbol("w")']
    end = ["used = sp.diff(s.n * w, w)", f'ledger.prove("paper.variance", used * s.p + {dead})']
    source = "\n".join([*start, *lines, *end])
    result = run(source, "prove", "paper.variance")
    assert "decorative" not in result
    assert len(result["tried"]) > 12
    assert sum(bool(tried["breaks"]) for tried in result["tried"]) == 1


def test_assumptions_that_no_step_consumed_are_reported(run, monkeypatch):
    labelled = DERIVED.replace("{1: 0, 2: 7}", '{1: 0, 2: 7}, independent="noise"')
    result = run(labelled, "prove", "paper.variance")
    assert result["unused"] == ["noise"]
    monkeypatch.setattr(audit, "kept", lambda chapter: {"key": result})
    monkeypatch.setattr(chapters, "chapters", lambda: [chapters.NOTEBOOKS / "one.md"])
    (line,) = audit.unused()
    assert line == "paper.variance: 0; s.p / 2; 7; assumption 'noise'"


def test_one_of_each_kind_that_cannot_lose_is_refused(run):
    """A proof by floats, a measurement without effect, a refutation without direction."""
    s = ledger.symbols("paper")
    with pytest.raises(ValueError, match=r"0\.50* is a floating-point number"):
        ledger.prove("paper.variance", 0.5 * s.n * s.p)
    with pytest.raises(ValueError, match=r"paper\.loss registers no effect"):
        ledger.measure("paper.loss", [1.0], [0.1], [1.0])
    with pytest.raises(ValueError, match="says must tell what the printed statement predicts"):
        ledger.refute("paper.story", ledger.Data([3.0], 0.1, 1.0), corrected=[3.0])
    assert run(RETYPED, "prove", "paper.variance")["decorative"] == ["paper.variance"]


def test_the_check_refuses_what_is_missing_stale_faulty_or_decorative(tmp_path, monkeypatch):
    monkeypatch.setattr(chapters, "NOTEBOOKS", tmp_path)
    monkeypatch.setattr(audit, "RESULTS", tmp_path)
    (tmp_path / "one.md").write_text(CHAPTER)
    (proof,) = proofs(tmp_path / "one.md")
    key = proof.key(audit.registered())

    def said(results):
        (tmp_path / "one.json").write_text(json.dumps(results))
        return audit.problems()

    changed = "one: 1 proofs are new or changed since `make audit`"
    sound = {"claims": ["paper.variance"], "call": "prove", "tried": []}
    assert audit.problems() == [changed]  # never audited
    assert said({"another": sound}) == [changed]
    assert said({key: sound}) == []
    fault = {key: sound | {"fault": "NameError: x"}}
    assert said(fault) == ["one: paper.variance: NameError: x"]
    decorative = said({key: sound | {"decorative": ["paper.variance"]}})
    assert decorative == ["paper.variance: no planted error breaks its proof"]


def test_a_card_says_where_errors_were_planted():
    errors = [
        {"kind": "moment", "breaks": ["a"]},
        {"kind": "moment", "breaks": []},
        {"kind": "bound", "breaks": [], "stopped": "late"},
    ]
    said = premises("a", {"tried": errors})
    planted = "errors planted in moments (2), bounds (1)"
    assert said == f"{planted}: 1 of 3 breaks it, 1 ends its derivation, 1 it does not use"
    broken = premises("a", {"tried": [{"kind": "sign", "breaks": ["a"]}] * 2})
    assert broken == "errors planted in signs (2): 2 of 2 break it"
    assert premises("a", {"tried": []}) == "none in which an error could be planted"
    rows = summary({"one": {"a": {"tried": errors}, "b": {"tried": errors[1:2]}}})
    assert rows == [("one", "2", "4", "1", "1", "1"), ("all", "2", "4", "1", "1", "1")]


CHAPTER = """---
jupytext:
  formats: md:myst
  text_representation:
    extension: .md
    format_name: myst
kernelspec:
  display_name: Python 3
  language: python
  name: python3
---

```{code-cell}
from snnlib import ledger
import sympy as sp
```

```{code-cell}
half = sp.Rational(1, 2)
other = 5
```

```{code-cell}
ledger.prove("paper.variance", half)
```
"""


def test_a_change_of_the_derivation_makes_its_result_stale(tmp_path, monkeypatch):
    monkeypatch.setattr(chapters, "NOTEBOOKS", tmp_path)
    path = tmp_path / "one.md"

    def key(old="", new="", printed="Eq(v, n*p)"):
        path.write_text(CHAPTER.replace(old, new) if old else CHAPTER)
        (proof,) = proofs(path)
        return proof.key({"claims": {"paper.variance": [printed, None]}, "symbols": {}})

    assert key() == key("other = 5", "other = 6")  # nothing that it rests on
    assert key() != key("(1, 2)", "(1, 3)")
    assert key() != key(printed="Eq(v, n)")


def test_every_proof_was_audited_and_none_is_decorative():
    assert audit.problems() == []


def test_tables_of_what_was_tried_on_the_library_and_the_chapters(tmp_path):
    folder = tmp_path / "results" / "audit"
    folder.mkdir(parents=True)
    assert in_library(tmp_path) == []
    (folder / "mutants.csv").write_text(
        "key,path,line,owner,kind,was,planted,noticed\n"
        "0,snnlib/init/a.py,1,f,constant,2,2.1,tests/test_a.py::test_one\n"
        "1,snnlib/init/a.py,2,f,condition,a < b,a <= b,\n"
        "2,snnlib/init/a.py,3,f,sign,a,-a,\n"
        "3,snnlib/neurons/b.py,3,g,sign,a,-a,tests/test_b.py::test_two\n"
        "4,snnlib/ledger/c.py,3,h,yes,a,False,tests/test_c.py::test_three\n"
    )
    (folder / "equivalent.csv").write_text(
        "path,owner,was,planted,reason\nsnnlib/init/a.py,f,a < b,a <= b,a tie\n"
    )
    assert in_library(tmp_path) == [
        ("init", "3", "1", "1"),
        ("ledger, saying yes", "1", "1", "0"),
        ("neurons", "1", "1", "0"),
    ]
    (tmp_path / "notebooks").mkdir()
    for name in ("one", "two", "three", "four"):
        (tmp_path / "notebooks" / f"{name}.md").write_text("")
    (folder / "seeds.csv").write_text(
        "chapter,code,seeds,failed,setting,failed_there\n"
        'one,0,20,"3: off\n4: off",LEAK = 0.7,\n'
        "two,0,1,,LEAK = 0.6,broken\n"
        "three,0,20,,,\n"
    )
    assert reruns(tmp_path) == [
        ("20 other seeds", "3 of 4", "2"),
        ("other numbers in the parameter cell", "2 of 4", "1"),
    ]
