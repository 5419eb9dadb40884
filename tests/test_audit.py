"""The audit of proofs: errors planted in premises, and what it says of a proof without any."""

from __future__ import annotations

import ast

import pytest

from snnlib import ledger
from tools import audit, chapters
from tools.plant import errors
from tools.proof_slices import Proof, proofs

CLAIMS = """
sources: {paper: A paper 2024}
symbols: {paper: {n: {assume: [positive]}, p: {assume: [positive]}, v: {}}}
claims:
  paper.variance: {source: paper, locator: E, read: full text, statement: s, verdict: proved,
                   chapter: one, printed: "Eq(v, n*p)"}
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
        return audit.audit_proof(Proof("one", call, claim, statements, imports))

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
    planted = errors(ast.parse(source).body, "hold")
    assert [error.was for error in planted] == ["2 * x"]
    assert ast.unparse(planted[0].program[0]) == "a = f(2 * x * sp.Rational(-21, 20))"


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
        return proof.key({"paper.variance": [printed, None]})

    assert key() == key("other = 5", "other = 6")  # nothing that it rests on
    assert key() != key("(1, 2)", "(1, 3)")
    assert key() != key(printed="Eq(v, n)")


def test_no_result_is_stale_and_no_proof_decorative_but_the_known_ones():
    assert audit.problems() == []
