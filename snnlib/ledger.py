r"""The ledger: claims, and the evidence that a chapter gives for each.

A chapter loads the list of claims once and then discharges its claims by calling `define`,
`prove`, `hold`, `measure`, `observe` or `refute`.  A call shows one line in the page and stores its
evidence in the cell's output under the MIME type `application/vnd.snnlib.evidence+json`;
a check that does not hold raises `ClaimFailed`.  `audit` compares the evidence of executed
chapters with the list of claims.

The false-alarm level is family-wise: 1e-4 for one run of the whole book, divided by the
number of measured entries that the list of claims registers (Bonferroni).
"""

from __future__ import annotations

import hashlib
import html
import math
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from snnlib._claims import READ, VERDICTS, Claim, Claims, read_claims
from snnlib._evidence import MIME, Evidence, audit, line, stored_evidence
from snnlib._extras import require
from snnlib._significance import (
    DETECTION,
    FAMILY_LEVEL,
    critical_value,
    detectable_shift,
    worst_margin,
)

if TYPE_CHECKING:
    from snnlib._decide import Decision

__all__ = [
    "MIME",
    "READ",
    "VERDICTS",
    "Claim",
    "ClaimFailed",
    "Claims",
    "Data",
    "Evidence",
    "audit",
    "define",
    "evidence",
    "hold",
    "latex",
    "load",
    "measure",
    "note",
    "observe",
    "printed",
    "prove",
    "read_claims",
    "refute",
    "seed",
    "show",
    "stored_evidence",
    "symbols",
]

BASE_SEED = 20260
"""Seed of the book when the environment variable SNNLIB_SEED is not set."""


class ClaimFailed(AssertionError):
    """A claim's check does not hold."""


class Data(NamedTuple):
    """Measured data for `refute`, with the prediction of the printed statement."""

    estimate: Any
    standard_error: Any
    predicted: Any
    dof: float | None = None


@dataclass
class _State:
    """The list of claims that the running chapter loaded, and its evidence so far."""

    claims: Claims | None = None
    evidence: dict[str, Evidence] = field(default_factory=dict)


_state = _State()


def load(path: str | os.PathLike[str] = "../book/claims.yml") -> None:
    """Load the list of claims for the running chapter and forget earlier evidence.

    Args:
        path: the YAML file, relative to the chapter's folder.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if an entry is malformed.
    """
    _state.claims = read_claims(path, parse=False)
    _state.evidence = {}


def _claims() -> Claims:
    if _state.claims is None:
        raise RuntimeError("no list of claims: call ledger.load('../book/claims.yml') first")
    return _state.claims


def _claim(claim_id: str) -> Claim:
    claims = _claims().claims
    if claim_id not in claims:
        raise ClaimFailed(f"{claim_id} is not in the list of claims")
    return claims[claim_id]


def _printed(claim: Claim, kind: str) -> Any:
    if claim.printed is None:
        raise ValueError(f"claim {claim.id} has no printed statement to {kind}")
    return claim.printed


def symbols(source: str) -> SimpleNamespace:
    """Return the SymPy symbols of a source, as attributes.

    Args:
        source: a key of `symbols` in the list of claims.

    Returns:
        A namespace with one attribute per symbol.

    Raises:
        ValueError: if the source declares no symbols.
    """
    namespaces = _claims().namespaces
    if source not in namespaces:
        raise ValueError(f"source must be one of {sorted(namespaces)}, got {source!r}")
    return SimpleNamespace(**namespaces[source])


def printed(claim_id: str) -> Any:
    """Return the printed statement, to show it or to compute numbers from it.

    A derivation must not start from it: `prove` and `hold` refuse a derived expression that
    was built from this function's result.
    """
    return _printed(_claim(claim_id), "show")


def latex(expression: Any, source: str = "") -> str:
    """LaTeX of an expression in the notation of a source, else of any that knows its symbols."""
    return _claims().latex(expression, source)


def show(*expressions: Any, source: str = "") -> None:
    """Display expressions as mathematics in the notation of a source, one per line."""
    display = require("IPython.display", "book")
    for expression in expressions:
        display.display(display.Math(latex(expression, source)))


def seed(stream: str) -> int:
    """Seed of a named random stream: a hash of SNNLIB_SEED and the name.

    Streams of different names are independent; changing the environment variable changes
    them all.

    Args:
        stream: a name, unique within the book.

    Returns:
        An integer in [0, 2**63).

    Example:
        >>> seed("weights") == seed("weights"), seed("weights") == seed("inputs")
        (True, False)
    """
    base = os.environ.get("SNNLIB_SEED", str(BASE_SEED))
    digest = hashlib.sha256(f"{base}/{stream}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def note(name: str, value: Any, format: str = ".3g") -> None:
    """Store a number for the prose, where {glue:text} shows it.

    Args:
        name: unique within the book; starts with the chapter's name.
        value: a number, or a string that is shown as it is.
        format: format specification for a number.
    """
    glue = require("myst_nb", "book").glue
    glue(name, value if isinstance(value, str) else f"{value:{format}}", display=False)


def evidence(claim_id: str) -> Evidence:
    """Return what this chapter has found for a claim so far.

    Raises:
        KeyError: if the claim has no evidence yet.
    """
    return _state.evidence[claim_id]


# ---------------------------------------------------------------------------- the five checks


def _exact(value: Any) -> Any:
    """Exact SymPy value of a number (floats are dyadic rationals) or nested list of numbers."""
    sympy = require("sympy", "book")
    if isinstance(value, sympy.Basic):
        return value
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple):
        rows = [_exact(v) for v in value]
        return [list(row) if isinstance(row, list) else row for row in rows]
    fraction = Fraction(value)
    return sympy.Rational(fraction.numerator, fraction.denominator)


def define(claim_id: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """Check a definition on exact values, in rational arithmetic.

    Floats are converted exactly, so the rows must come from arithmetic without rounding
    (dyadic numbers of few bits).  The rows must also be able to fail: for every symbol of
    the printed equation there must be two values, and a row at which another value breaks the
    equation.

    Args:
        claim_id: a claim whose printed statement is an equation.
        rows: dicts from symbol name to number, or to a nested list for a matrix symbol.

    Raises:
        ClaimFailed: if the equation does not hold at a row.
        ValueError: if the rows do not name every symbol or are not sensitive to one.
    """
    sympy = require("sympy", "book")
    claim = _claim(claim_id)
    statement = _printed(claim, "define")
    variables = sorted(statement.free_symbols, key=str)
    matrices = {m for m in variables if isinstance(m, sympy.MatrixSymbol)}
    dimensions = {d for m in matrices for d in m.shape if isinstance(d, sympy.Symbol)}
    variables = [v for v in variables if v not in dimensions]
    exact_rows: list[dict[Any, Any]] = []
    for index, row in enumerate(rows):
        missing = [str(v) for v in variables if str(v) not in row]
        if missing:
            raise ValueError(f"row {index} of {claim_id} gives no value for {missing}")
        exact_rows.append(
            {
                v: sympy.ImmutableMatrix(_exact(row[str(v)]))
                if v in matrices
                else _exact(row[str(v)])
                for v in variables
            }
        )
    if not exact_rows:
        raise ValueError(f"{claim_id} needs at least one row")
    holds = _row_test(statement, variables, matrices)
    for index, values in enumerate(exact_rows):
        if holds(values) is not True:
            shown = ", ".join(f"{k} = {v}" for k, v in values.items())
            raise ClaimFailed(
                f"{claim_id}: the library breaks the definition at row {index}: {shown}"
            )
    for v in variables:
        if len({values[v] for values in exact_rows}) < 2:
            raise ValueError(f"{claim_id}: all rows give {v} one value; another may break it")
        if not any(_breaks(holds, values, v) for values in exact_rows):
            raise ValueError(f"{claim_id}: no row would notice another value of {v}")
    _record(
        claim,
        Evidence(
            claim_id,
            "definition",
            "define",
            summary=f"{len(exact_rows)} steps of the library satisfy it exactly",
            detail=f"Evaluated in rational arithmetic at {len(exact_rows)} rows; each of the "
            f"{len(variables)} symbols, changed alone, breaks at least one row.",
        ),
    )


def _row_test(statement: Any, variables: Sequence[Any], matrices: set[Any]) -> Any:
    sympy = require("sympy", "book")
    if matrices:

        def holds_matrix(values: Mapping[Any, Any]) -> bool:
            try:
                left = sympy.sympify(statement.lhs).subs(values).doit()
                right = sympy.sympify(statement.rhs).subs(values).doit()
            except (ValueError, TypeError, sympy.ShapeError):
                return False
            return bool(left == right)

        return holds_matrix
    left = sympy.lambdify(variables, statement.lhs, modules="sympy")
    right = sympy.lambdify(variables, statement.rhs, modules="sympy")

    def holds(values: Mapping[Any, Any]) -> bool | None:
        ordered = [values[v] for v in variables]
        sides = left(*ordered), right(*ordered)
        if None in sides:  # a case that the printed equation leaves open
            return None
        return bool(sympy.sympify(sides[0]) - sympy.sympify(sides[1]) == 0)

    return holds


def _breaks(holds: Any, values: Mapping[Any, Any], variable: Any) -> bool:
    """Whether some other value of the variable alone breaks the equation at this row."""
    sympy = require("sympy", "book")
    old = values[variable]
    if isinstance(old, sympy.MatrixBase):
        changes = [old + sympy.ones(*old.shape)]
    else:
        changes = [old + 1, old - 1, 1 - old, old + sympy.Rational(1, 8)]
    return any(holds({**values, variable: new}) is False for new in changes if new != old)


def prove(claim_id: str, derived: Any, where: Mapping[Any, Any] | None = None) -> None:
    """Check that a derived expression equals the printed one.

    Args:
        claim_id: a claim with a printed statement.
        derived: the end of a derivation.  An expression is compared with the right-hand side
            of a printed equation, an equation with both its sides.
        where: values of printed symbols, derived elsewhere, that are put into the printed
            statement first.

    Raises:
        ClaimFailed: if they differ; the message names a point at which they do.
        ValueError: if the comparison is undecided.
    """
    sympy = require("sympy", "book")
    from snnlib import _decide

    claim = _claim(claim_id)
    cells = _provenance(claim_id, "prove")
    statement = _put_in(claim, _printed(claim, "prove"), where)
    if isinstance(derived, sympy.Eq):
        if not isinstance(statement, sympy.Eq):
            raise ValueError(f"{claim_id}: derived is an equation, the printed statement is not")
        differences = [statement.lhs - derived.lhs, statement.rhs - derived.rhs]
    elif isinstance(statement, sympy.Eq):
        differences = [statement.rhs - derived]
    else:
        differences = [statement - derived]
    reasons = []
    for difference in differences:
        decision = _decide.is_zero(difference)
        reasons.append(_settled(claim_id, decision, "derived and printed differ", difference))
    _record(
        claim,
        Evidence(
            claim_id,
            "proved",
            "prove",
            summary="derived and printed agree",
            cells=cells,
            detail="; ".join(dict.fromkeys(reasons)).capitalize()
            + "."
            + _built(cells)
            + f" Derived: \\({html.escape(_claims().latex(derived, claim.namespace))}\\)."
            + _said_where(claim, where),
        ),
    )


def observe(claim_id: str, relation: Any) -> None:
    """Check that relations between numbers hold that runs gave: "measured", not "proved".

    For outcomes that are no estimate of a predicted number: an ordering at a stated level, a count
    of zero, an example of what is said to exist. An estimate with a prediction belongs to
    `measure`.

    Args:
        claim_id: a claim without a printed statement; its sentence says what was run and, if
            chance decides, at which level.
        relation: a SymPy relational of numbers, or a list of them; each must be true.

    Raises:
        ClaimFailed: if a relation is false.
        ValueError: if one is undecided, holds a symbol, or the claim has a printed statement.
    """
    from snnlib import _decide

    claim = _claim(claim_id)
    if claim.printed is not None:
        raise ValueError(f"{claim_id} has a printed statement, which runs cannot establish")
    relations = list(relation) if isinstance(relation, list | tuple) else [relation]
    if not relations:
        raise ValueError(f"{claim_id}: relation is empty")
    stated = []
    for item in relations:
        if getattr(item, "free_symbols", None):
            raise ValueError(f"{claim_id}: {item} must hold numbers only")
        _settled(claim_id, _decide.decide(item), f"{item} is false", item)
        stated.append(f"\\({html.escape(_claims().latex(item, claim.namespace))}\\)")
    _record(
        claim,
        Evidence(
            claim_id,
            "measured",
            "observe",
            summary="observed in the runs of this page",
            detail=", ".join(stated) + ".",
        ),
    )


def hold(claim_id: str, relation: Any, where: Mapping[Any, Any] | None = None) -> None:
    """Check that relations hold, and that they are what is printed.

    Args:
        claim_id: a claim; if it has a printed relation, one of `relation` must be that
            relation (with `where` put in), up to a positive monomial in its symbols.
        relation: a SymPy relational or a list of them; each must be decided true.
        where: values of printed symbols, derived elsewhere.

    Raises:
        ClaimFailed: if a relation is false, or none of them is the printed one.
        ValueError: if a relation is undecided.
    """
    from snnlib import _decide

    claim = _claim(claim_id)
    cells = _provenance(claim_id, "hold")
    relations = list(relation) if isinstance(relation, list | tuple) else [relation]
    if not relations:
        raise ValueError(f"{claim_id}: relation is empty")
    reasons = []
    for item in relations:
        reason = _settled(claim_id, _decide.decide(item), f"{item} is false", item)
        stated = html.escape(_claims().latex(item, claim.namespace))
        reasons.append(f"\\({stated}\\): {html.escape(reason)}")
    if claim.printed is not None:
        statement = _put_in(claim, claim.printed, where)
        if not any(_same_relation(statement, item) for item in relations):
            raise ClaimFailed(f"{claim_id}: no relation given is the printed {statement}")
    _record(
        claim,
        Evidence(
            claim_id,
            "proved",
            "hold",
            summary="holds for all admissible values",
            cells=cells,
            detail=". ".join(reasons) + "." + _built(cells) + _said_where(claim, where),
        ),
    )


def _settled(claim_id: str, decision: Decision, failure: str, subject: Any) -> str:
    """Reason of a decision that is true; what is false or undecided raises."""
    if decision.truth is False:
        raise ClaimFailed(f"{claim_id}: {failure}: {decision.reason}")
    if decision.truth is None:
        raise ValueError(f"{claim_id}: undecided: {decision.reason}: {subject}")
    return decision.reason


def _put_in(claim: Claim, statement: Any, where: Mapping[Any, Any] | None) -> Any:
    """Put derived values into the printed statement."""
    sympy = require("sympy", "book")
    if not where:
        return statement
    for symbol, value in where.items():
        if symbol != value and sympy.sympify(value).has(symbol):
            raise ValueError(f"{claim.id}: where gives {symbol} a value that contains {symbol}")
    if isinstance(statement, sympy.core.relational.Relational):
        # unevaluated: SymPy must not decide it before it was compared with what was derived
        sides = (side.subs(dict(where)) for side in statement.args)
        return statement.func(*sides, evaluate=False)
    return statement.subs(dict(where))


def _said_where(claim: Claim, where: Mapping[Any, Any] | None) -> str:
    if not where:
        return ""
    write = partial(_claims().latex, namespace=claim.namespace)
    pairs = ", ".join(
        f"\\({html.escape(write(k))} = {html.escape(write(v))}\\)" for k, v in where.items()
    )
    return f" Put into the printed statement: {pairs}."


def _same_relation(statement: Any, item: Any) -> bool:
    """Whether two relationals state the same, up to a positive monomial in their symbols."""
    sympy = require("sympy", "book")
    from snnlib import _decide

    if not isinstance(item, sympy.core.relational.Relational):
        return False  # a bare True could stand for any statement
    if isinstance(statement, sympy.Gt | sympy.Ge | sympy.Lt | sympy.Le):
        strict = isinstance(statement, sympy.Gt | sympy.Lt)
        if not isinstance(item, sympy.Gt | sympy.Ge | sympy.Lt | sympy.Le):
            return False
        if strict and not isinstance(item, sympy.Gt | sympy.Lt):
            return False
        ours, theirs = item.gts - item.lts, statement.gts - statement.lts
        if _decide.is_zero(ours - theirs).truth:
            return True
        ratio = sympy.simplify(theirs / ours)
        # any two true relations have a positive ratio, so only a monomial may differ
        monomial = all(
            factor.as_base_exp()[0].is_number or factor.as_base_exp()[0].is_Symbol
            for factor in sympy.Mul.make_args(ratio)
        )
        return monomial and bool(_decide.decide(ratio > 0).truth)
    if isinstance(statement, sympy.Eq):
        if not isinstance(item, sympy.Eq):
            return False
        return bool(_decide.is_zero((statement.lhs - statement.rhs) - (item.lhs - item.rhs)).truth)
    return bool(statement == item)


def _deviation(
    claim: Claim, estimate: Any, standard_error: Any, predicted: Any, dof: float | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Deviations in standard errors, standard errors, predictions, and the critical value."""
    est, se, pred = np.broadcast_arrays(
        *(np.asarray(a, dtype=np.float64) for a in (estimate, standard_error, predicted))
    )
    if est.size != claim.entries:
        raise ValueError(
            f"{claim.id}: {est.size} entries are measured, but the list of claims registers "
            f"{claim.entries}"
        )
    if not (np.all(np.isfinite(se)) and np.all(se > 0)):
        raise ValueError(f"{claim.id}: standard_error must be positive and finite")
    if not (np.all(np.isfinite(est)) and np.all(np.isfinite(pred))):
        raise ClaimFailed(f"{claim.id}: an estimate or a prediction is not finite")
    critical = critical_value(_claims().level, dof)
    return (est - pred) / se, se, pred, critical


def _floats(array: np.ndarray) -> list[float] | None:
    """List for JSON, which has no infinity: None if an entry is not finite."""
    return [float(x) for x in np.ravel(array)] if np.all(np.isfinite(array)) else None


def measure(
    claim_id: str,
    estimate: Any,
    standard_error: Any,
    predicted: Any,
    dof: float | None = None,
    *,
    sensitivity: Any = 1.0,
) -> None:
    """Check measured numbers against a prediction.

    Every entry must lie within the two-sided critical value at the family-wise level.  The
    minimum detectable error (MDE) of an entry is the relative error of the formula's
    parameter that this check would catch with probability 0.99.

    Args:
        claim_id: a claim that registers as many `entries` as are given here.
        estimate: numbers, an array of any shape.
        standard_error: of the estimates, broadcast.
        predicted: from the derived formula, broadcast.
        dof: degrees of freedom if the standard errors are estimated (Student t).
        sensitivity: d ln predicted / d ln parameter, broadcast; 1 if the parameter is the
            predicted quantity itself.

    Raises:
        ClaimFailed: if an entry deviates by more than the critical value.
        ValueError: if the number of entries is not the registered one, or a standard error
            is not positive.
    """
    claim = _claim(claim_id)
    z, se, pred, critical = _deviation(claim, estimate, standard_error, predicted, dof)
    level = _claims().level
    margin = worst_margin(z, critical)
    with np.errstate(divide="ignore"):
        mde = detectable_shift(level, dof) * se / np.abs(pred * np.asarray(sensitivity))
    if margin >= 1:
        worst = int(np.argmax(np.abs(z)))
        raise ClaimFailed(
            f"{claim_id}: entry {worst} of {z.size} is {z.flat[worst]:+.2f} standard errors from "
            f"the prediction {pred.flat[worst]:.6g}; the limit is {critical:.2f}"
        )
    verdict, median = "measured", float(np.median(mde))
    if claim.effect is not None and not float(np.max(mde)) <= claim.effect:
        verdict = "inconclusive"
    smallest = f"{100 * median:.2g} %" if math.isfinite(median) else "undefined (prediction 0)"
    _record(
        claim,
        Evidence(
            claim_id,
            verdict,
            "measure",
            summary=f"{z.size} entr{'y' if z.size == 1 else 'ies'}, largest deviation "
            f"{np.max(np.abs(z)):.2f} of {critical:.2f} standard errors, MDE {smallest}",
            margin=margin,
            mde=_floats(mde),
            entries=int(z.size),
            alpha=level,
            dof=dof,
            standard_error=_floats(se),
            detail=f"False-alarm level {level:.2g} per entry ({FAMILY_LEVEL:g} for the book, "
            f"{_claims().entries} entries); "
            + ("known variance" if dof is None else f"Student t with {dof:g} degrees of freedom")
            + f". Minimum detectable error: median {smallest}, largest "
            f"{100 * float(np.max(mde)):.2g} %, caught with probability {DETECTION:g}. "
            f"Median standard error {float(np.median(se)):.2g}.",
        ),
    )


def refute(claim_id: str, evidence: Any, corrected: Any = None) -> None:
    """Check that data or a counterexample reject the printed statement.

    Args:
        claim_id: a claim.
        evidence: `Data` with the printed statement's prediction, or a dict that maps the
            printed symbols to values at which the printed relation is exactly false.
        corrected: the corrected prediction, which the same data must accept; or a corrected
            relation, which must be true at the same values.  None if there is none.

    Raises:
        ClaimFailed: if the printed statement is not rejected or the corrected one is.
        ValueError: as `measure`, or if the counterexample leaves a relation undecided.
    """
    claim = _claim(claim_id)
    verdict = "refuted" if corrected is None else "corrected"
    if isinstance(evidence, Data):
        found = _refute_by_data(claim, evidence, corrected)
    else:
        found = _refute_by_counterexample(claim, evidence, corrected)
    found.verdict = verdict
    _record(claim, found)


def _refute_by_data(claim: Claim, data: Data, corrected: Any) -> Evidence:
    z, se, pred, critical = _deviation(
        claim, data.estimate, data.standard_error, data.predicted, data.dof
    )
    rejection = worst_margin(z, critical)
    if rejection < 1:
        raise ClaimFailed(
            f"{claim.id}: the data do not reject the printed statement: largest deviation "
            f"{rejection * critical:.2f} of {critical:.2f} standard errors"
        )
    rejecting = int(np.sum(np.abs(z) > critical))
    summary = f"the printed prediction is {rejection * critical:.1f} standard errors off"
    if z.size > 1:
        summary += f" ({rejecting} of {z.size} entries reject it)"
    margin = None
    if corrected is not None:
        z_new, _, pred, _ = _deviation(
            claim, data.estimate, data.standard_error, corrected, data.dof
        )
        margin = worst_margin(z_new, critical)
        if margin >= 1:
            raise ClaimFailed(
                f"{claim.id}: the data reject the corrected statement too: "
                f"{margin * critical:.2f} of {critical:.2f} standard errors"
            )
        summary += f", the corrected one at most {margin * critical:.2f} (limit {critical:.2f})"
    with np.errstate(divide="ignore"):
        mde = detectable_shift(_claims().level, data.dof) * se / np.abs(pred)
    return Evidence(
        claim.id,
        "refuted",
        "refute",
        summary=summary,
        margin=margin,
        mde=_floats(mde),
        entries=int(z.size),
        alpha=_claims().level,
        dof=data.dof,
        standard_error=_floats(se),
        detail=f"{z.size} entries at a false-alarm level of {_claims().level:.2g} each.",
    )


def _refute_by_counterexample(claim: Claim, values: Mapping[Any, Any], corrected: Any) -> Evidence:
    from snnlib import _decide

    if corrected is not None and claim.corrected_by is None:
        raise ValueError(
            f"{claim.id}: one point cannot establish a corrected statement; corrected_by must "
            "name the claim that proves it"
        )
    statement = _printed(claim, "refute")
    point = {symbol: _exact(value) for symbol, value in values.items()}
    at = _at_point(statement, point)
    truth = _decide.decide(at).truth
    if truth is None:
        raise ValueError(f"{claim.id}: undecided at the counterexample: {at}")
    if truth:
        raise ClaimFailed(f"{claim.id}: the printed statement holds at {point}")
    corrected_latex = None
    if corrected is not None:
        truth = _decide.decide(_at_point(corrected, point)).truth
        if truth is None:
            raise ValueError(f"{claim.id}: the corrected statement is undecided at {point}")
        if not truth:
            raise ClaimFailed(f"{claim.id}: the corrected statement is false at {point} too")
        corrected_latex = _claims().latex(corrected, claim.namespace)
    write = partial(_claims().latex, namespace=claim.namespace)
    shown = ",\\; ".join(f"{write(k)} = {write(v)}" for k, v in point.items())
    return Evidence(
        claim.id,
        "refuted",
        "refute",
        corrected_latex=corrected_latex,
        summary=f"false at \\({html.escape(shown)}\\)",
        detail="Evaluated in exact arithmetic"
        + ("" if corrected is None else "; the corrected statement is true there")
        + (f", and follows from {claim.corrected_by}." if corrected is not None else "."),
    )


def _at_point(statement: Any, point: Mapping[Any, Any]) -> Any:
    """Value of a statement at a point; a sum is written out before its terms get values."""
    sympy = require("sympy", "book")
    if isinstance(statement, sympy.core.relational.Relational):
        return statement.func(*(_at_point(side, point) for side in statement.args))
    # sizes first: a sum over a symbolic range cannot be compared with a number
    sizes = {k: v for k, v in point.items() if k.is_Symbol}
    return statement.subs(sizes).doit().subs(point).doit()


# ------------------------------------------------------------------------ keeping the evidence


def _provenance(claim_id: str, call: str) -> list[int] | None:
    """Cells in which the arguments of a notebook's ledger call were built."""
    from snnlib._provenance import notebook_slice

    try:
        from IPython import get_ipython
    except ImportError:
        return None
    shell = get_ipython()
    if shell is None:
        return None
    own = globals()
    functions = {id(own[name]): name for name in __all__ if callable(own[name])}
    built = notebook_slice(
        list(shell.user_ns.get("In", [])),
        call,
        modules=frozenset(k for k, v in shell.user_ns.items() if v is sys.modules[__name__]),
        functions={k: functions[id(v)] for k, v in shell.user_ns.items() if id(v) in functions},
    )
    if built is None:
        return None
    if "printed" in built.ledger_calls:
        raise ClaimFailed(f"{claim_id}: the derivation starts from the printed statement")
    return list(built.cells)


def _built(cells: list[int] | None) -> str:
    if not cells:
        return ""
    return f" Built in cell{'s' if len(cells) > 1 else ''} {', '.join(map(str, cells))}."


def _record(claim: Claim, found: Evidence) -> None:
    found.statement_latex = claim.printed_latex
    found.level = claim.level
    if found.verdict != claim.verdict:
        raise ClaimFailed(
            f"{claim.id}: the verdict is {found.verdict!r} ({found.summary}), but "
            f"{claim.verdict!r} is expected"
        )
    if claim.id in _state.evidence:
        raise ClaimFailed(f"{claim.id} has evidence already: one claim, one check")
    _state.evidence[claim.id] = found
    try:
        from IPython import get_ipython
        from IPython.display import display
    except ImportError:
        return
    if get_ipython() is None:
        return
    display(
        {
            MIME: asdict(found),
            "text/html": line(claim, found),
            "text/plain": f"{found.verdict}: {claim.citation}: {found.summary}",
        },
        raw=True,
    )
