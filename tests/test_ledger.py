"""The ledger accepts what holds, refuses what does not, and says which."""

from __future__ import annotations

import math
from functools import partial
from types import SimpleNamespace

import nbformat
import numpy as np
import pytest
import sympy as sp
from nbclient import NotebookClient
from scipy.stats import ttest_ind

from snnlib import ledger
from snnlib._significance import critical_value, detectable_shift
from snnlib.ledger import chapter
from snnlib.ledger.decide import decide, is_zero
from snnlib.ledger.provenance import notebook_slice

CLAIMS = """
sources: {paper: A paper 2024, book: This book}
symbols:
  paper:
    n: {assume: [positive, integer]}
    p: {latex: "P(u>\\\\theta)", assume: [positive]}
    v: {assume: [positive]}
    x: {assume: [real]}
    y: {assume: [real]}
claims:
  paper.mean: {source: paper, locator: Eq. 1, read: full text, statement: s, verdict: measured,
               chapter: one, entries: 4, effect: 0.07, effect_reason: r,
               printed: "Eq(v, n*p)"}
  paper.inverse: {source: paper, locator: Eq. 2, read: full text, statement: s, verdict: proved,
                  chapter: one, printed: "Eq(v, 1/(n*p))", uses: [paper.mean]}
  paper.order: {source: paper, locator: Eq. 3, read: full text, statement: s, verdict: proved,
                chapter: one, printed: "1/(n*p) > 2/n"}
  paper.step: {source: paper, locator: Eq. 4, read: full text, statement: s,
               verdict: definition, chapter: one, printed: "Eq(y, x/2 + v)"}
  paper.slip: {source: paper, locator: Eq. 5, read: full text, statement: s,
               verdict: corrected, corrected_by: paper.inverse, chapter: one,
               printed: "Eq((x + y)**2, x**2 + y**2)"}
  paper.law: {source: paper, locator: Fig. 1, read: full text, statement: s,
              verdict: corrected, chapter: one, entries: 2}
  paper.runs: {source: paper, locator: Fig. 2, read: full text, statement: s, verdict: measured,
               chapter: one}
  paper.sum: {source: paper, locator: Eq. 6, read: full text, statement: s, verdict: proved,
              chapter: one}
  paper.later: {source: paper, locator: Fig. 9, read: full text, statement: s,
                verdict: not testable here, chapter: one}
"""


@pytest.fixture
def claims(tmp_path):
    path = tmp_path / "claims.yml"
    path.write_text(CLAIMS)
    ledger.load(path)
    return path


def test_prove_accepts_equal_and_names_the_difference(claims):
    s = ledger.symbols("paper")
    ledger.prove("paper.inverse", sp.exp(-sp.log(s.n)) / s.p)
    ledger.load(claims)
    with pytest.raises(ledger.ClaimFailed, match=r"paper.inverse: derived and printed differ"):
        ledger.prove("paper.inverse", sp.Rational(21, 20) / (s.n * s.p))
    with pytest.raises(ledger.ClaimFailed, match="2"):
        ledger.prove("paper.inverse", 2 / s.n)


def test_prove_puts_in_derived_values(claims):
    s = ledger.symbols("paper")
    ledger.prove("paper.inverse", 2 / s.n, where={s.p: sp.Rational(1, 2)})


def test_where_cannot_prove_just_anything(claims):
    s = ledger.symbols("paper")
    with pytest.raises(ValueError, match="gives p a value that contains p"):
        ledger.prove("paper.inverse", 1 / (s.n * s.p * (1 - s.p)), where={s.p: s.p * (1 - s.p)})
    with pytest.raises(ValueError, match="a bare True does not say what is true"):
        ledger.hold("paper.order", sp.true, where={s.p: sp.Rational(1, 4), s.n: 1})
    ledger.prove("paper.inverse", 2 / s.n, where={s.p: sp.Rational(1, 2)})
    assert "Put into the printed statement" in ledger.evidence("paper.inverse").detail


def test_undecided_is_an_error_not_a_pass(claims):
    s = ledger.symbols("paper")
    f = sp.Function("f")
    with pytest.raises(ValueError, match="undecided"):
        ledger.prove("paper.inverse", 1 / (s.n * s.p) + f(s.x) - f(s.x + 1))


def test_a_sum_over_an_index_can_be_refuted():
    """A wrong bound, sign or factor has a witness; what is right is never taken for wrong."""
    w, x = sp.IndexedBase("w"), sp.IndexedBase("x")
    j, n = sp.symbols("j n", integer=True, positive=True)
    total = sp.Sum(w[j] * x[j], (j, 1, n))
    assert is_zero(3 * total - sp.Sum(3 * w[j] * x[j], (j, 1, n))).truth
    for wrong in (
        sp.Sum(w[j] * x[j], (j, 2, n)),
        sp.Sum(-w[j] * x[j], (j, 1, n)),
        sp.Sum(w[j] * x[j], (j, 1, n)) * sp.Rational(21, 20),
        sp.Sum(w[j] * x[j + 1], (j, 1, n)),
    ):
        decision = is_zero(total - wrong)
        assert decision.truth is False and " at n = " in decision.reason
    assert decide(sp.Gt(sp.Sum(w[j], (j, 1, n)), 0)).truth is False
    assert decide(sp.Ge(sp.Sum(w[j] ** 2, (j, 1, n)), 0)).truth is None


def test_a_sign_is_taken_for_what_it_is():
    """Not negative is not positive, a factor's sign counts, and a sign alone can refute."""
    a, b = sp.symbols("a b", positive=True)
    x, y = sp.symbols("x y", real=True)
    square = (x - y) ** 2
    assert decide(sp.Ge(square, 0, evaluate=False)).truth
    assert decide(sp.Gt(square, 0, evaluate=False)).truth is None
    assert decide(sp.Lt(a / (a + b), 1, evaluate=False)).truth
    assert decide(sp.Gt(1 / b - 1 / (a + b), 0, evaluate=False)).truth
    assert decide(sp.Gt(a, a, evaluate=False)).truth is False
    assert decide(sp.Ge(a, a, evaluate=False)).truth
    # at an undefined function nothing can be evaluated
    f = sp.Function("f", positive=True)
    assert decide(sp.Gt(-f(a), 0, evaluate=False)).truth is False
    assert decide(sp.Gt(f(a), 0, evaluate=False)).truth
    assert decide(sp.Ne(x, y)).truth is None


def test_hold_decides_and_compares_with_the_printed_relation(claims):
    s = ledger.symbols("paper")
    t = sp.Symbol("t", positive=True)
    tail = sp.erfc(t) / 2
    ledger.hold("paper.order", 1 / (s.n * tail) > 2 / s.n, where={s.p: tail})
    ledger.load(claims)
    with pytest.raises(ledger.ClaimFailed, match="is false"):
        ledger.hold("paper.order", 1 / (s.n * tail) > 3 / s.n, where={s.p: tail})
    with pytest.raises(ledger.ClaimFailed, match="no relation given is the printed"):
        ledger.hold("paper.order", tail < 1, where={s.p: tail})
    with pytest.raises(ValueError, match="undecided"):
        ledger.hold("paper.order", 1 / (s.n * s.p) > sp.Function("f")(s.x))


@pytest.mark.parametrize(
    "relation",
    [
        sp.Lt(sp.Float(0.01), sp.Float(0.05), evaluate=False),
        sp.Lt(sp.Rational(1, 100), sp.Float(0.05), evaluate=False),
        sp.Gt(sp.Symbol("t", positive=True) + 0.5, 0, evaluate=False),
    ],
)
def test_a_floating_point_number_proves_nothing(claims, relation):
    with pytest.raises(ValueError, match=r"paper.order: 0\.\d+ is a floating-point number"):
        ledger.hold("paper.order", relation)
    s = ledger.symbols("paper")
    with pytest.raises(ValueError, match="is a floating-point number"):
        ledger.prove("paper.inverse", 1 / (s.n * 0.5), where={s.p: sp.Rational(1, 2)})
    with pytest.raises(ValueError, match="is a floating-point number"):
        ledger.prove("paper.inverse", 2 / s.n, where={s.p: 0.5})


def test_a_bare_truth_value_proves_nothing(claims):
    s = ledger.symbols("paper")
    with pytest.raises(ValueError, match="a bare True"):
        ledger.hold("paper.runs", [s.n + s.p > 0])  # SymPy decides it, and forgets it
    with pytest.raises(ledger.ClaimFailed, match="1 of the relations evaluate to false"):
        ledger.hold("paper.runs", [s.n + s.p < 0])
    ledger.hold("paper.sum", [sp.Gt(s.n + s.p, 0, evaluate=False)])


def test_observe_takes_numbers_that_runs_gave(claims):
    ledger.observe("paper.runs", [sp.Lt(sp.Float(0.01), sp.Float(0.05), evaluate=False)])
    found = ledger.evidence("paper.runs")
    assert (found.verdict, found.kind, found.entries) == ("measured", "observe", None)
    ledger.load(claims)
    with pytest.raises(ledger.ClaimFailed, match="is false"):
        ledger.observe("paper.runs", sp.Lt(sp.Float(0.06), sp.Float(0.05), evaluate=False))
    with pytest.raises(ValueError, match="must hold numbers only"):
        ledger.observe("paper.runs", sp.Lt(sp.Symbol("p"), 1))
    with pytest.raises(ValueError, match="printed statement"):
        ledger.observe("paper.order", sp.Lt(1, 2, evaluate=False))
    with pytest.raises(ValueError, match="relation is empty"):
        ledger.observe("paper.runs", [])
    for bare in (sp.Lt(sp.Float(0.01), sp.Float(0.05)), True):
        with pytest.raises(ValueError, match="bare True does not say what was seen"):
            ledger.observe("paper.runs", bare)
    with pytest.raises(ledger.ClaimFailed):
        ledger.observe("paper.runs", [sp.Lt(sp.Float(0.06), sp.Float(0.05))])


def test_a_truth_value_is_not_shown_as_mathematics():
    with pytest.raises(ValueError, match="equations need evaluate=False"):
        ledger.show(sp.Eq(sp.Symbol("B"), sp.eye(2)))  # SymPy compares kinds and says False


def test_define_is_exact_and_refuses_rows_that_cannot_fail(claims):
    rows = [{"y": 1.25, "x": 2.0, "v": 0.25}, {"y": 0.5, "x": 0.0, "v": 0.5}]
    ledger.define("paper.step", rows)
    ledger.load(claims)
    with pytest.raises(ledger.ClaimFailed, match="breaks the definition at row 0"):
        ledger.define("paper.step", [{"y": 1.25 + 2**-50, "x": 2.0, "v": 0.25}])
    with pytest.raises(ValueError, match="all rows give v one value"):
        ledger.define(
            "paper.step", [{"y": 1.0, "x": 1.5, "v": 0.25}, {"y": 0.5, "x": 0.5, "v": 0.25}]
        )
    with pytest.raises(ValueError, match="no value for"):
        ledger.define("paper.step", [{"y": 1.0, "x": 2.0}])
    with pytest.raises(ValueError, match="at least one row"):
        ledger.define("paper.step", [])


def test_define_of_an_equation_with_an_open_case(tmp_path):
    """At u = t the printed equation says nothing: no row may rest on it."""
    path = tmp_path / "claims.yml"
    path.write_text(
        "sources: {paper: P}\n"
        "symbols: {paper: {f: {}, u: {}, t: {}}}\n"
        "claims: {paper.step: {source: paper, locator: E, read: full text, statement: s, "
        "verdict: definition, chapter: one, "
        'printed: "Eq(f, Piecewise((1, u > t), (0, u < t)))"}}'
    )
    rows = [{"f": 1, "u": 2, "t": 1}, {"f": 0, "u": 0, "t": 0.5}]  # t + 1 = u in the first row
    ledger.load(path)
    ledger.define("paper.step", rows)
    ledger.load(path)
    with pytest.raises(ledger.ClaimFailed, match="row 2"):
        ledger.define("paper.step", [*rows, {"f": 0, "u": 1, "t": 1}])


def test_measure_passes_at_the_truth_and_fails_beyond_the_limit(claims):
    level = 1e-4 / 6  # six entries are registered
    limit = critical_value(level)
    ledger.measure(
        "paper.mean", [1.0, 2.0, 3.0, 4.0], 0.01, [1.0, 2.0, 3.0, 4.0 - 0.99 * 0.01 * limit]
    )
    found = ledger.evidence("paper.mean")
    assert found.margin == pytest.approx(0.99)
    assert found.alpha == pytest.approx(level)
    assert found.mde == pytest.approx(
        [detectable_shift(level) * 0.01 / x for x in (1, 2, 3, 4 - 0.0099 * limit)]
    )
    ledger.load(claims)
    with pytest.raises(ledger.ClaimFailed, match="entry 3 of 4"):
        ledger.measure("paper.mean", [1, 2, 3, 4], 0.01, [1, 2, 3, 4 - 1.01 * 0.01 * limit])
    with pytest.raises(ValueError, match="registers 4"):
        ledger.measure("paper.mean", [1.0], 0.01, [1.0])
    with pytest.raises(ValueError, match="standard_error must be positive"):
        ledger.measure("paper.mean", [1, 2, 3, 4], 0.0, [1, 2, 3, 4])
    for error in (math.inf, -0.1, [0.1, math.inf, 0.1, 0.1], [0.1, 0.1, 0.0, 0.1]):
        with pytest.raises(ValueError, match="standard_error must be positive and finite"):
            ledger.measure("paper.mean", [1, 2, 3, 4], error, [1, 2, 3, 4])
    with pytest.raises(ledger.ClaimFailed, match="not finite"):
        ledger.measure("paper.mean", [1, 2, 3, np.nan], 0.1, [1, 2, 3, 4])
    with pytest.raises(ledger.ClaimFailed, match="not finite"):
        ledger.measure("paper.mean", [1, 2, 3, 4], 0.1, [1, 2, 3, math.inf])


def test_an_error_is_that_of_the_parameter(claims):
    """A prediction that goes like the square of its parameter sees half of the relative error."""
    level, power = 1e-4 / 6, np.array([2.0, -0.5, 1.0, 3.0])
    predicted = np.array([1.0, 2.0, 0.5, 4.0])
    ledger.measure("paper.mean", predicted, 0.001, predicted, dof=23, sensitivity=power)
    found = ledger.evidence("paper.mean")
    expected = detectable_shift(level, 23) * 0.001 / (predicted * np.abs(power))
    assert found.mde == pytest.approx(expected)
    assert "Student t with 23 degrees of freedom" in found.detail
    ledger.load(claims)
    ledger.measure("paper.mean", predicted, 0.001, predicted)
    assert "known variance" in ledger.evidence("paper.mean").detail


def test_a_measurement_that_is_too_weak_is_inconclusive(claims):
    """The largest error counts, not the median, and without an effect nothing is measured."""
    level = 1e-4 / 6
    weakest = 0.07 / detectable_shift(level)
    ledger.measure("paper.mean", np.ones(4), np.array([0.001, 0.001, 0.001, 0.99 * weakest]), 1.0)
    assert "(effect 7 %)" in ledger.evidence("paper.mean").summary
    assert "because r" in ledger.evidence("paper.mean").detail
    ledger.load(claims)
    error = np.array([0.001, 0.001, 0.001, 1.01 * weakest])
    with pytest.raises(ledger.ClaimFailed, match=r"'inconclusive'.*MDE at most 7\.1 %"):
        ledger.measure("paper.mean", np.ones(4), error, 1.0)
    claims.write_text(CLAIMS.replace(" effect: 0.07, effect_reason: r,", ""))
    ledger.load(claims)
    with pytest.raises(ValueError, match=r"paper\.mean registers no effect"):
        ledger.measure("paper.mean", np.ones(4), 0.001, 1.0)


def test_the_noise_of_a_prediction_counts():
    """Two means of 8 and 80 draws: the error of their difference, and its degrees of freedom."""
    rng = np.random.default_rng(3)
    few, many = rng.normal(0, 1, (20_000, 8)), rng.normal(0, 0.5, (20_000, 80))
    errors = (few.std(1, ddof=1) / math.sqrt(8), many.std(1, ddof=1) / math.sqrt(80))
    joint, dof = ledger.joint_error(errors[0], 7, errors[1], 79)
    assert joint == pytest.approx(np.hypot(*errors))
    one, dof_of_one = ledger.joint_error(errors[0][0], 7, errors[1][0], 79)
    welch = ttest_ind(few[0], many[0], equal_var=False)
    assert dof_of_one == pytest.approx(welch.df)
    assert (few[0].mean() - many[0].mean()) / one == pytest.approx(welch.statistic)
    assert 7 <= dof <= dof_of_one
    with pytest.raises(ValueError, match="other_dof must be positive, got 0"):
        ledger.joint_error(1.0, 7, 1.0, 0)
    with pytest.raises(ValueError, match=r"^dof must be positive, got 0"):
        ledger.joint_error(1.0, 0, 1.0, 7)
    with pytest.raises(ValueError, match="must not both be 0"):
        ledger.joint_error([1.0, 0.0], 7, [1.0, 0.0], 7)


@pytest.mark.parametrize("dof", [None, 19])
def test_planted_error_of_the_stated_size_is_caught(claims, dof):
    """20,000 draws: the standard error of the detection rate is 0.0007."""
    rng = np.random.default_rng(5)
    level, draws = 1e-4 / 6, 20_000
    shift = detectable_shift(level, dof)
    noise = rng.standard_normal(draws)
    scale = 1.0 if dof is None else np.sqrt(rng.chisquare(dof, draws) / dof)
    caught = np.mean(np.abs(noise + shift) / scale > critical_value(level, dof))
    assert abs(caught - 0.99) < 5 * 0.0007
    # and the false alarms of the same test, at a level where they can be counted
    alarms = np.mean(np.abs(noise) / scale > critical_value(0.05, dof))
    assert abs(alarms - 0.05) < 5 * np.sqrt(0.05 * 0.95 / draws)


def test_refute_needs_the_data_to_reject_one_and_accept_the_other(claims):
    s = ledger.symbols("paper")
    right = sp.Eq((s.x + s.y) ** 2, s.x**2 + 2 * s.x * s.y + s.y**2)
    ledger.refute("paper.slip", {s.x: 1, s.y: 2}, corrected=right)
    assert "2 x y" in ledger.evidence("paper.slip").corrected_latex
    ledger.load(claims)
    with pytest.raises(ledger.ClaimFailed, match="holds at"):
        ledger.refute("paper.slip", {s.x: 0, s.y: 2}, corrected=right)
    with pytest.raises(ledger.ClaimFailed, match="false at"):
        wrong = sp.Eq((s.x + s.y) ** 2, s.x * s.y)
        ledger.refute("paper.slip", {s.x: 1, s.y: 2}, corrected=wrong)
    data = ledger.Data([1.0, 2.0], 0.01, [1.2, 2.0])
    says = "both are 1.2 and 2"
    ledger.refute("paper.law", data, corrected=[1.0, 2.0], says=says)
    found = ledger.evidence("paper.law")
    assert says in found.detail
    limit = critical_value(1e-4 / 6)
    assert f"between {1.2 - 0.01 * limit:.4g} and {1.2 + 0.01 * limit:.4g}" in found.detail
    ledger.load(claims)
    near = ledger.Data([1.0, 2.0], 0.01, [1.01, 2.0])
    with pytest.raises(ledger.ClaimFailed, match="do not reject"):
        ledger.refute("paper.law", near, corrected=[1, 2], says=says)
    with pytest.raises(ledger.ClaimFailed, match="reject the corrected"):
        ledger.refute("paper.law", data, corrected=[1.1, 2.0], says=says)
    with pytest.raises(ledger.ClaimFailed, match=r"'refuted'.*'corrected' is expected"):
        ledger.refute("paper.law", data, says=says)
    with pytest.raises(ValueError, match="says must tell what the printed statement predicts"):
        ledger.refute("paper.law", data, corrected=[1.0, 2.0])
    with pytest.raises(ValueError, match="belong to data"):
        ledger.refute("paper.slip", {s.x: 1, s.y: 2}, corrected=right, says=says)


@pytest.mark.parametrize(
    ("estimate", "side", "refuted"),
    [
        (1.0, "at least", True),
        (3.0, "at least", False),
        (3.0, "at most", True),
        (1.0, "at most", False),
        (1.0, None, True),
        (3.0, None, True),
    ],
)
def test_a_refutation_has_a_direction(claims, estimate, side, refuted):
    """What is on the side that the statement allows does not speak against it."""
    data = ledger.Data([estimate, 2.0], 0.01, 2.0)
    arguments = {"corrected": [estimate, 2.0], "says": "a bound", "side": side}
    if refuted:
        ledger.refute("paper.law", data, **arguments)
        return
    with pytest.raises(ledger.ClaimFailed, match="do not reject the printed statement"):
        ledger.refute("paper.law", data, **arguments)


def test_a_world_in_which_the_statement_holds_must_be_accepted(claims):
    data = ledger.Data([1.0, 2.0], 0.01, 2.0)
    arguments = {"corrected": [1.0, 2.0], "says": "both are 2"}
    with pytest.raises(ledger.ClaimFailed, match="a world in which the printed statement holds"):
        ledger.refute("paper.law", data, **arguments, world=ledger.Data([1.9, 2.0], 0.01, 2.0))
    limit = critical_value(1e-4 / 6)
    with pytest.raises(ledger.ClaimFailed, match="a world in which the printed statement holds"):
        world = ledger.Data([2 + 0.0101 * limit, 2.0], 0.01, 2.0)
        ledger.refute("paper.law", data, **arguments, world=world)
    world = ledger.Data([2 + 0.0099 * limit, 2.0], 0.01, 2.0)
    ledger.refute("paper.law", data, **arguments, world=world)
    assert "A simulated world in which it holds is accepted" in ledger.evidence("paper.law").detail
    with pytest.raises(ValueError, match="side must be one of"):
        ledger.refute("paper.law", data, says="both are 2", side="left")


def test_one_claim_one_check(claims):
    s = ledger.symbols("paper")
    ledger.prove("paper.inverse", 1 / (s.n * s.p))
    with pytest.raises(ledger.ClaimFailed, match="has evidence already"):
        ledger.prove("paper.inverse", 1 / (s.n * s.p))
    with pytest.raises(ledger.ClaimFailed, match="not in the list of claims"):
        ledger.prove("paper.unheard", 1 / (s.n * s.p))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("verdict: measured", "verdict: believed", "verdict 'believed'"),
        ("source: paper, locator: Eq. 2", "source: nobody, locator: Eq. 2", "source 'nobody'"),
        ("uses: [paper.mean]", "uses: [paper.none]", "uses 'paper.none'"),
        ("Eq(v, n*p)", "Eq(v, n*)", "cannot be parsed"),
        ("corrected_by: paper.inverse", "corrected_by: paper.later", "corrected_by"),
        ("entries: 4", "entries: 4, color: red", "color"),
        ("entries: 4", "entries: 4, severity: false", "severity is for"),
        ("verdict: corrected", "verdict: corrected, severity: bad", "severity .* one of"),
        ("effect: 0.07, effect_reason: r", "effect: 0.07", "needs an effect_reason"),
        ("effect: 0.07", "effect: 1.5", r"effect must be in \(0, 1\), got 1.5"),
        ("effect: 0.07", "effect: 1.0", r"effect must be in \(0, 1\), got 1.0"),
        ("effect: 0.07", "effect: 0.0", r"effect must be in \(0, 1\), got 0.0"),
        ("effect: 0.07", "effect: 0.07, level: law", "effect of a law must be at most 0.05"),
        ("entries: 4", "entries: 0", "effect belongs to claims with entries"),
        ("entries: 2", "entries: -1", "entries must be >= 0, got -1"),
        ("entries: 4", "entries: 4, level: strict", "level must be law or curve, got 'strict'"),
        ("Eq. 1, read: full text", "Eq. 1, read: title", "read 'title' is not in"),
        ("entries: 4", "entries: 4, rule: r", "belong together"),
        ("v: {assume: [positive]}", "v: {assumes: [positive]}", r"unknown keys \['assumes'\]"),
        ("v: {assume: [positive]}", "v: {kind: vector}", "kind must be symbol, .* got 'vector'"),
        ("effect: 0.07", "effect: 0.051, level: law", "effect of a law must be at most 0.05"),
        ("entries: 4", "entries: 4, mark: strange", "mark 'strange' is not in"),
        ("entries: 4", "entries: 4, mark: misprint", "a misprint is corrected, not measured"),
        (
            "read: full text, statement: s,\n               verdict: corrected",
            "read: summary, statement: s,\n               verdict: corrected",
            "not a summary",
        ),
        ('printed: "Eq(v, n*p)"', 'printed: "Eq(v, n*p)", uses: [paper.inverse]', "each other"),
        ("  paper.inverse:", "  paper.mean: {}\n  paper.inverse:", "'paper.mean' comes twice"),
    ],
)
def test_a_malformed_list_of_claims_is_refused(tmp_path, old, new, message):
    path = tmp_path / "claims.yml"
    assert old in CLAIMS
    path.write_text(CLAIMS.replace(old, new, 1))
    with pytest.raises(ValueError, match=message):
        ledger.read_claims(path)
    with pytest.raises(FileNotFoundError, match="notebooks/"):
        ledger.read_claims(tmp_path / "nothing.yml")


def test_the_files_of_a_folder_are_one_list(tmp_path):
    head, tail = CLAIMS.split("claims:\n")
    (tmp_path / "book").mkdir()
    (tmp_path / "a.yml").write_text(head)
    (tmp_path / "book" / "z.yml").write_text("claims:\n" + tail)
    alone = tmp_path / "alone.txt"
    alone.write_text(CLAIMS)
    assert ledger.read_claims(tmp_path).claims == ledger.read_claims(alone).claims


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ("sources: {paper: Another}", r"source 'paper' is in .*a\.yml and in .*b\.yml"),
        ("symbols: {paper: {}}", r"symbol 'paper' is in .*a\.yml and in .*b\.yml"),
        ("claims: {paper.mean: {}}", r"claim 'paper\.mean' is in .*a\.yml and in .*b\.yml"),
        ("claim: {paper.other: {}}", r"b\.yml: key 'claim' is not in"),
        ("claims: {x: {}, x: {}}", r"b\.yml: key 'x' comes twice"),
    ],
)
def test_a_name_in_two_files_is_refused(tmp_path, second, message):
    (tmp_path / "a.yml").write_text(CLAIMS)
    (tmp_path / "b.yml").write_text(second)
    with pytest.raises(ValueError, match=message):
        ledger.read_claims(tmp_path)


def test_an_empty_folder_is_no_list_of_claims(tmp_path):
    with pytest.raises(FileNotFoundError, match="no list of claims"):
        ledger.read_claims(tmp_path)


def test_a_chapter_parses_the_statements_that_it_uses(tmp_path):
    path = tmp_path / "claims.yml"
    path.write_text(CLAIMS.replace("Eq(v, n*p)", "Eq(v, n*)", 1))
    ledger.load(path)
    ledger.printed("paper.inverse")
    with pytest.raises(ValueError, match="printed cannot be parsed"):
        ledger.printed("paper.mean")


def _outputs(bundles):
    """A notebook of one cell that showed these."""
    cell = nbformat.v4.new_code_cell("")
    cell.outputs = [nbformat.v4.new_output("display_data", data) for data in bundles]
    return nbformat.v4.new_notebook(cells=[cell])


MEASURED = {"paper.mean": 4, "paper.law": 2}  # entries


def _notebook(*found, mde=None, **more):
    return _outputs(
        {
            ledger.MIME: {
                **{"claim": c, "verdict": v, "mde": mde, "entries": MEASURED.get(c)},
                **more.get(c.replace(".", "_"), {}),
            }
        }
        for c, v in found
    )


def test_audit_names_each_kind_of_gap(claims):
    complete = [
        ("paper.mean", "measured"),
        ("paper.inverse", "proved"),
        ("paper.order", "proved"),
        ("paper.step", "definition"),
        ("paper.slip", "corrected"),
        ("paper.law", "corrected"),
        ("paper.runs", "measured"),
        ("paper.sum", "proved"),
    ]
    assert ledger.audit(claims, {"one": _notebook(*complete)}) == []
    missing = ledger.audit(claims, {"one": _notebook(*complete[1:])})
    assert missing == ["paper.mean: no evidence (registered in one, verdict measured)"]
    stray = ledger.audit(claims, {"one": _notebook(*complete, ("paper.new", "proved"))})
    assert stray == ["one: evidence for 'paper.new', which is no claim"]
    other = ledger.audit(claims, {"one": _notebook(("paper.mean", "refuted"), *complete[1:])})
    assert other == ["paper.mean: verdict 'refuted' in one, expected 'measured'"]
    twice = ledger.audit(claims, {"one": _notebook(*complete, complete[0])})
    assert twice == ["paper.mean: evidence in one and again in one"]
    moved = ledger.audit(claims, {"two": _notebook(*complete)})
    assert len(moved) == 8
    assert "registered in one" in moved[0]
    claims.write_text(CLAIMS.replace("effect: 0.07", "effect: 0.05, level: law", 1))
    assert ledger.audit(claims, {"one": _notebook(*complete, mde=[0.01, 0.02, 0.5])}) == []
    (weak,) = ledger.audit(claims, {"one": _notebook(*complete, mde=[0.01, 0.03, 0.03])})
    assert weak == (
        "the law-level checks detect errors of 3 % in the median; at most 2 % is promised"
    )
    assert ledger.audit(claims, {"one": _notebook(*complete, mde=[0.01, 0.0201, 0.03])}) != []
    (unsaid,) = ledger.audit(claims, {"one": _notebook(*complete, mde=[])})
    assert "detect errors of inf %" in unsaid
    assert ledger.audit(claims, {}) == [
        f"{name}: no evidence (registered in one, verdict {verdict})" for name, verdict in complete
    ]


def _run(cells, folder):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
    NotebookClient(
        notebook, timeout=60, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    ).execute()
    return notebook


@pytest.mark.kernel
def test_a_notebook_stores_evidence_and_where_it_was_derived(claims):
    setup = "from snnlib import ledger\nledger.load('claims.yml')\ns = ledger.symbols('paper')"
    notebook = _run(
        [
            setup,
            "half = s.n * s.p",
            "unrelated = 3",
            "derived = 1 / half",
            "ledger.prove('paper.inverse', derived)",
        ],
        claims.parent,
    )
    (found,) = ledger.stored_evidence(notebook)
    assert found["verdict"] == "proved"
    assert found["cells"] == [1, 2, 4, 5]
    html = notebook.cells[-1].outputs[0]["data"]["text/html"]
    assert "ledger-proved" in html
    assert "claims.html#paper-inverse" in html


@pytest.fixture
def cells(claims, monkeypatch):
    """Runs cells as a notebook does, but in this process: what fails is raised here."""

    def run(*sources):
        names, shown = {"In": [""]}, []
        monkeypatch.setattr("IPython.get_ipython", lambda: SimpleNamespace(user_ns=names))
        monkeypatch.setattr("IPython.display.display", lambda data, raw: shown.append(data))
        monkeypatch.chdir(claims.parent)
        for source in sources:
            names["In"].append(source)
            exec(source, names)
        return _outputs(shown)

    return run


SETUP = "from snnlib import ledger\nledger.load('claims.yml')\ns = ledger.symbols('paper')"


def test_a_proof_says_where_it_was_built(cells):
    helper = "def done(value):\n    ledger.prove('paper.inverse', value)"
    with pytest.raises(ledger.ClaimFailed, match="it cannot be said where the derivation was bu"):
        cells(SETUP, helper, "done(1 / (s.n * s.p))")
    assert "paper.inverse" not in chapter._state.evidence
    cells(SETUP, "value = 1 / (s.n * s.p)", "ledger.prove('paper.inverse', value)")
    assert ledger.evidence("paper.inverse").cells == [1, 2, 3]
    assert "Built in cells 1, 2, 3." in ledger.evidence("paper.inverse").detail


def test_the_ledger_is_known_under_each_of_its_names(cells):
    """Whatever a notebook calls the module or a function of it, and whatever else is called so."""
    call = "check('paper.inverse', value)"
    cells(SETUP, "other = 3", "from snnlib.ledger import prove as check\nvalue = 1/(s.n*s.p)", call)
    assert ledger.evidence("paper.inverse").cells == [1, 3, 4]
    book = "import snnlib.ledger as book\nbook.load('claims.yml')\ns = book.symbols('paper')"
    shadow = "class ledger:\n    prove = print\nledger.prove('paper.inverse', 0)"
    call = "book.prove('paper.inverse', 1 / (s.n * s.p))"
    cells(book, shadow, call)
    assert ledger.evidence("paper.inverse").cells == [1, 3]


@pytest.mark.parametrize(
    "cheat",
    [
        "from snnlib.ledger.chapter import claim_of\n"
        "derived = claim_of('paper.inverse').printed.rhs",
        "derived = ledger.printed('paper.inverse').rhs",
        "book = ledger\nderived = book.printed('paper.inverse').rhs",
        "from snnlib.ledger import printed as look\nderived = look('paper.inverse').rhs",
    ],
)
def test_a_derivation_cannot_start_from_the_printed_statement(cells, cheat):
    with pytest.raises(ledger.ClaimFailed, match="starts from the printed statement"):
        cells(SETUP, cheat, "ledger.prove('paper.inverse', derived)")


@pytest.mark.parametrize(
    ("evidence", "message"),
    [
        ({"paper_sum": {"kind": "hold"}}, "paper.sum: nothing says where its derivation was built"),
        ({"paper_inverse": {"kind": "prove", "cells": []}}, "paper.inverse: nothing says where"),
        ({"paper_mean": {"kind": "measure"}}, "paper.mean: measured without an effect"),
        ({"paper_mean": {"kind": "observe", "entries": None}}, "paper.mean: evidence of 0 entr"),
        ({"paper_law": {"entries": 1}}, "paper.law: evidence of 1 entries, 2 are registered"),
        ({"paper_runs": {"kind": "confirm"}}, "paper.runs: the mark is '', but the evidence is a"),
        (None, "paper.runs: the mark is 'registered', but the evidence is a observe"),
    ],
)
def test_audit_refuses_evidence_that_says_too_little(claims, evidence, message):
    """As if a chapter had got it past the call."""
    found = [
        *[("paper.mean", "measured"), ("paper.inverse", "proved"), ("paper.order", "proved")],
        *[("paper.step", "definition"), ("paper.slip", "corrected"), ("paper.law", "corrected")],
        *[("paper.runs", "measured"), ("paper.sum", "proved")],
    ]
    if evidence is None:
        claims.write_text(CLAIMS.replace("Fig. 2,", "Fig. 2, mark: registered, rule: r,"))
        evidence = {"paper_runs": {"kind": "observe"}}
    (said,) = ledger.audit(claims, {"one": _notebook(*found, **evidence)})
    assert said.startswith(message)
    assert said.endswith(" (one)")


PLANTED = {
    "paper.inverse": "ledger.prove('paper.inverse', 1 / (s.n * 0.5), where={s.p: 0.5})",
    "paper.sum": "ledger.hold('paper.sum', sp.Lt(sp.Float(0.01), sp.Float(0.05), evaluate=False))",
    "paper.mean": "ledger.measure('paper.mean', [1, 2, 3, 4], 0.001, [1, 2, 3, 4])",
    "paper.law": "ledger.refute('paper.law', ledger.Data([1, 2], 0.01, 3), corrected=[1, 2])",
    "paper.runs": "ledger.confirm('paper.runs', 'supported', rule='r', sha256='', summary='', "
    "history='checked')",
}
"""Proved by floats, measured without an effect, refuted without a direction, confirmed without
a registration: one of each kind."""


def test_one_of_each_kind_is_no_evidence_even_if_its_error_is_caught(claims, cells, capsys):
    claims.write_text(CLAIMS.replace(" effect: 0.07, effect_reason: r,", ""))
    tried = (
        f"try:\n    {call}\nexcept ValueError as error:\n    print(error)"
        for call in PLANTED.values()
    )
    other = "ledger.refute('paper.slip', {s.x: 1, s.y: 2}, sp.Eq((s.x - s.y)**2, 1))"
    notebook = cells(SETUP + "\nimport sympy as sp", "\n".join(tried), other)
    words = ["floating-point", "floating-point", "registers no effect"]
    words += ["says must tell what the printed statement predicts", "names the rule '', not 'r'"]
    for line, word in zip(capsys.readouterr().out.splitlines(), words, strict=True):
        assert word in line
    missing = [line.partition(":")[0] for line in ledger.audit(claims, {"one": notebook})]
    assert set(PLANTED) < set(missing)
    assert "paper.slip" not in missing


@pytest.mark.parametrize(
    ("printed", "shown"),
    [
        ("Eq(v, 2*p*3)", r"v = 6 P(u>\theta)"),
        ("Eq(v, 1*n*p)", r"v = n P(u>\theta)"),
        ("Eq(v, n*(2*p))", r"v = 2 n P(u>\theta)"),
        ("Eq(v, 2*3 + p)", r"v = 6 + P(u>\theta)"),
        ("Eq(v, 1*p)", r"v = P(u>\theta)"),
    ],
)
def test_numbers_of_a_printed_product_are_one(tmp_path, printed, shown):
    path = tmp_path / "claims.yml"
    path.write_text(CLAIMS.replace('printed: "Eq(v, n*p)"', f'printed: "{printed}"'))
    assert ledger.read_claims(path).claims["paper.mean"].printed_latex == shown


@pytest.mark.parametrize(
    ("cells", "taken"),
    [
        # a name that a lambda, a comprehension, a loop or a function binds is not the outer one
        (["u = 1", "x = 2", "f = [lambda u: u + x]", "prove('c', f)"], (2, 3, 4)),
        (["a = 1", "x = 2", "f = [a for a in x]", "prove('c', f)"], (2, 3, 4)),
        (["a = 1", "x = [2]", "y = 0\nfor a in x:\n    y += a", "prove('c', y)"], (2, 3, 4)),
        (["a = 1", "def f(b):\n    a = b\n    return a", "prove('c', f(2))"], (2, 3)),
        (["def f():\n    return g()", "def g():\n    return 1", "prove('c', f())"], (1, 2, 3)),
        (["def f():\n    return g + y", "g = 1", "y = 2", "prove('c', f())"], (1, 2, 3, 4)),
        # what a function reads may have changed since it was written down
        (["y = []", "def f():\n    return y", "y.append(1)", "prove('c', f())"], (1, 2, 3, 4)),
        (["y = []", "f = lambda: y", "y.append(1)", "prove('c', f())"], (1, 2, 3, 4)),
        (
            ["y = 0", "def f():\n    return y", "y = 1", "a = f()", "y = 2", "prove('c', a)"],
            (1, 2, 3, 4, 6),
        ),
        # a value that another one has taken the place of does not count
        (["a = 1", "a = 2", "prove('c', a)"], (2, 3)),
        (["a = 1", "a += 2", "prove('c', a)"], (1, 2, 3)),
        (["a = 1", "if b:\n    a = 2", "prove('c', a)"], (1, 2, 3)),
        (["a = []", "a.append(1)", "prove('c', a)"], (1, 2, 3)),
        (["a = [0]", "b = 1", "a[0] += 2", "prove('c', a)"], (1, 3, 4)),
        # a name that the calling cell binds is not the one from before
        (["a = 1", "b = 2", "for a in [b]:\n    prove('c', a)"], (2, 3)),
    ],
)
def test_a_slice_keeps_what_a_derivation_rests_on(cells, taken):
    history = ["", *(cell.replace("prove", "ledger.prove") for cell in cells)]
    assert notebook_slice(history, "prove").cells == taken


def test_a_proof_needs_a_printed_statement_of_its_kind(claims):
    s = ledger.symbols("paper")
    with pytest.raises(ValueError, match=r"paper\.runs has no printed statement to prove"):
        ledger.prove("paper.runs", s.n)
    with pytest.raises(ValueError, match="derived is an equation, the printed statement is not"):
        ledger.prove("paper.order", sp.Eq(s.x, s.y))
    with pytest.raises(ValueError, match=r"paper\.sum: relation is empty"):
        ledger.hold("paper.sum", [])
    with pytest.raises(ValueError, match=r"source must be one of .* got 'nobody'"):
        ledger.symbols("nobody")


def test_nothing_is_checked_before_a_list_is_loaded(monkeypatch):
    monkeypatch.setattr(chapter, "_state", chapter._State())
    with pytest.raises(RuntimeError, match="no list of claims"):
        ledger.symbols("paper")


def test_an_equation_is_compared_on_both_sides(claims):
    """The printed one is v = 1/(n p)."""
    s = ledger.symbols("paper")
    with pytest.raises(ledger.ClaimFailed, match="derived and printed differ"):
        ledger.prove("paper.inverse", sp.Eq(2 * s.v, 1 / (s.n * s.p)))
    with pytest.raises(ledger.ClaimFailed, match="derived and printed differ"):
        ledger.prove("paper.inverse", sp.Eq(s.v, 2 / (s.n * s.p)))
    ledger.prove("paper.inverse", sp.Eq(s.v, 1 / (s.n * s.p)))


GT, GE, LT, EQ = (partial(kind, evaluate=False) for kind in (sp.Gt, sp.Ge, sp.Lt, sp.Eq))
N, P = sp.symbols("n p", positive=True)


@pytest.mark.parametrize(
    ("printed", "relation", "same"),
    [
        ("n + 2*p > p", GT(N + 2 * P, P), True),
        ("n + 2*p > p", GT(N, -P), True),
        ("n + 2*p > p", LT(P, N + 2 * P), True),
        ("n + 2*p > p", GT(3 * N**2, -3 * N * P), True),
        ("n + 2*p > p", GE(N + 2 * P, P), False),  # weaker
        ("n + 2*p > p", GT((N + P) * (N + 1), 0), False),  # by more than a monomial
        ("n + 2*p > p", GT(2 * N + P, 0), False),
        ("n + 2*p > p", EQ(N, N), False),
        ("n + 2*p > p", sp.And(GT(N, 0), GT(P, 0), evaluate=False), False),
        ("n + 2*p >= p", GE(N + 2 * P, P), True),
        ("n + 2*p >= p", GT(N + P, 0), True),
        ("n + 2*p >= p", EQ(N + P, N + P), False),
        ("n + 2*p >= p", GE(N + P, -1), False),
        ("Eq((n + p)**2, n**2 + 2*n*p + p**2)", EQ((N + P) ** 2 - N**2, P**2 + 2 * N * P), True),
        ("Eq((n + p)**2, n**2 + 2*n*p + p**2)", GE(N, N), False),
    ],
)
def test_what_holds_is_what_is_printed(tmp_path, printed, relation, same):
    """Up to a positive monomial; each of the relations is true."""
    path = tmp_path / "claims.yml"
    path.write_text(
        "sources: {paper: P}\n"
        "symbols: {paper: {n: {assume: [positive]}, p: {assume: [positive]}}}\n"
        "claims: {paper.x: {source: paper, locator: E, read: full text, statement: s, "
        f'verdict: proved, chapter: one, printed: "{printed}"}}}}'
    )
    ledger.load(path)
    if same:
        ledger.hold("paper.x", [relation])
        return
    with pytest.raises(ledger.ClaimFailed, match="no relation given is the printed"):
        ledger.hold("paper.x", [relation])


def test_every_entry_of_a_matrix_counts():
    x = sp.Symbol("x", positive=True)
    assert is_zero(sp.Matrix([[0, x], [0, 0]])).truth is False
    assert is_zero(sp.Matrix([[x], [0]])).truth is False
    assert is_zero(sp.Matrix([[0, (x + 1) ** 2 - x**2 - 2 * x - 1]])).truth


def test_an_even_power_of_what_is_negative_is_positive():
    t = sp.Symbol("t", positive=True)
    negative = sp.exp(-t) - 1  # which only its derivative shows
    assert decide(GT(negative**2, 0)).truth
    assert decide(GT(negative**3, 0)).truth is False


def test_a_refutation_says_what_it_would_have_caught(claims):
    level, predicted = 1e-4 / 6, [1.2, 2.5]
    data = ledger.Data([1.7, 2.501], [0.01, 0.03], predicted, dof=9)
    ledger.refute("paper.law", data, corrected=[1.7, 2.5], says="both")
    found = ledger.evidence("paper.law")
    shift = detectable_shift(level, 9)
    assert found.mde == pytest.approx([shift * 0.01 / 1.7, shift * 0.03 / 2.5])
    assert found.standard_error == [0.01, 0.03]
    assert found.summary.startswith("the printed prediction is 50.0 standard errors off (1 of 2 e")
    limit = critical_value(level, 9)
    assert f"the corrected one at most 0.03 (limit {limit:.2f})" in found.summary
    assert "the first would have been accepted at" in found.detail
    claims.write_text(CLAIMS.replace("entries: 2", "entries: 1"))
    ledger.load(claims)
    ledger.refute("paper.law", ledger.Data(3.0, 0.01, 2.0), corrected=3.0, says="2")
    found = ledger.evidence("paper.law")
    assert found.summary.startswith("the printed prediction is 100.0 standard errors off, the c")
    assert "each; would have been accepted at between" in found.detail


def test_a_difference_of_a_billionth_of_a_billionth_is_one():
    x = sp.Symbol("x", positive=True)
    assert is_zero(sp.Rational(1, 10**17) * x).truth is False
    assert decide(GT(-sp.Rational(1, 10**17) * x, 0)).truth is False


MATRIX = """
sources: {paper: P}
symbols:
  paper:
    A: {kind: matrix, shape: [k, k]}
    u: {kind: matrix, shape: [k, 1]}
    y: {kind: matrix, shape: [k, 1]}
    k: {assume: [positive, integer]}
claims:
  paper.step: {source: paper, locator: E, read: full text, statement: s, verdict: definition,
               chapter: one, printed: "Eq(y, A*u)"}
"""
ROWS = [
    {"A": [[1, 2], [0.5, 0]], "u": [[1], [0.25]], "y": [[1.5], [0.5]]},
    {"A": [[0, 1], [1, 0]], "u": [[2], [4]], "y": [[4], [2]]},
]


def test_a_definition_of_matrices_is_exact(tmp_path):
    path = tmp_path / "claims.yml"
    path.write_text(MATRIX)
    ledger.load(path)
    ledger.define("paper.step", ROWS)
    assert "each of the 3 symbols" in ledger.evidence("paper.step").detail
    ledger.load(path)
    with pytest.raises(ledger.ClaimFailed, match="breaks the definition at row 1"):
        ledger.define("paper.step", [ROWS[0], ROWS[1] | {"y": [[4], [2 + 2**-40]]}])
    with pytest.raises(ledger.ClaimFailed, match="breaks the definition at row 1"):
        ledger.define("paper.step", [ROWS[0], ROWS[1] | {"y": [[4], [2], [0]]}])
    with pytest.raises(ValueError, match="all rows give u one value"):
        ledger.define("paper.step", [ROWS[0], ROWS[0] | {"A": [[3, 0], [0, 2]], "y": [[3], [0.5]]}])


@pytest.mark.parametrize(
    ("printed", "rows", "silent"),
    [
        ("Eq(y, Max(x, 8)*z)", [(8, 1, 1), (16, 2, 2)], "x"),
        ("Eq(y, z + 0*x)", [(1, 4, 1), (2, 5, 2)], None),
        ("Eq(y, z*Heaviside(x - 20, 0))", [(0, 3, 1), (0, 2, 2)], "x|y|z"),
    ],
)
def test_a_definition_whose_rows_another_value_would_pass_is_refused(
    tmp_path, printed, rows, silent
):
    """What no row would notice: y is never read off, or x stays below its limit."""
    path = tmp_path / "claims.yml"
    path.write_text(
        "sources: {paper: P}\nsymbols: {paper: {x: {}, y: {}, z: {}}}\n"
        "claims: {paper.step: {source: paper, locator: E, read: full text, statement: s, "
        f'verdict: definition, chapter: one, printed: "{printed}"}}}}'
    )
    ledger.load(path)
    given = [dict(zip(("y", "x", "z"), row, strict=True)) for row in rows]
    if silent is None:
        ledger.define("paper.step", given)
        return
    with pytest.raises(
        ValueError, match=f"(no row would notice another value of|one value).*({silent})"
    ):
        ledger.define("paper.step", given)


def test_a_counterexample_must_decide(claims):
    s = ledger.symbols("paper")
    f = sp.Function("f")
    right = sp.Eq((s.x + s.y) ** 2, s.x**2 + 2 * s.x * s.y + s.y**2)
    with pytest.raises(ValueError, match=r"paper\.slip: undecided at the counterexample"):
        ledger.refute("paper.slip", {s.x: f(1), s.y: 2}, corrected=right)
    with pytest.raises(ValueError, match="the corrected statement is undecided"):
        ledger.refute("paper.slip", {s.x: 1, s.y: 2}, corrected=sp.Eq(f(s.x), s.y))
    claims.write_text(CLAIMS.replace("corrected_by: paper.inverse, ", ""))
    ledger.load(claims)
    with pytest.raises(ValueError, match="one point cannot establish a corrected statement"):
        ledger.refute("paper.slip", {s.x: 1, s.y: 2}, corrected=right)


@pytest.mark.parametrize("seed", ["1", 1.0, True])
def test_a_base_seed_is_an_integer(seed):
    usual = ledger.seed("a")
    with pytest.raises(ValueError, match="base must be an integer or None, got"):
        ledger.reseed(seed)
    assert ledger.seed("a") == usual


def test_seed_depends_on_base_and_stream(monkeypatch):
    first = ledger.seed("a")
    monkeypatch.setenv("SNNLIB_SEED", "7")
    assert ledger.seed("a") != first
    assert ledger.seed("a") != ledger.seed("b")
    assert 0 <= ledger.seed("a") < 2**63
