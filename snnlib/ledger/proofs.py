"""Proofs: a derivation that ends at the printed statement, and relations that hold."""

from __future__ import annotations

import html
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from snnlib._extras import require
from snnlib.ledger.chapter import (
    ClaimFailed,
    built_in,
    claim_of,
    loaded,
    record,
    said_built,
    statement_of,
)
from snnlib.ledger.claims import Claim
from snnlib.ledger.evidence import Evidence

if TYPE_CHECKING:
    from snnlib.ledger.decide import Decision


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
        ValueError: if the comparison is undecided, or holds a floating-point number.
    """
    sympy = require("sympy", "book")
    from snnlib.ledger import decide

    claim = claim_of(claim_id)
    cells = built_in(claim_id, "prove")
    _refuse_inexact(claim_id, derived, *(where or {}).values())
    statement = _put_in(claim, statement_of(claim, "prove"), where)
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
        decision = decide.is_zero(difference)
        reasons.append(settled(claim_id, decision, "derived and printed differ", difference))
    record(
        claim,
        Evidence(
            claim_id,
            "proved",
            "prove",
            summary="derived and printed agree",
            cells=cells,
            detail="; ".join(dict.fromkeys(reasons)).capitalize()
            + "."
            + said_built(cells)
            + f" Derived: \\({html.escape(loaded().latex(derived, claim.namespace))}\\)."
            + _said_where(claim, where),
        ),
    )


def hold(claim_id: str, relation: Any, where: Mapping[Any, Any] | None = None) -> None:
    """Check that relations hold, and that they are what is printed.

    Args:
        claim_id: a claim; if it has a printed relation, one of `relation` must be that
            relation (with `where` put in), up to a positive monomial in its symbols.
        relation: a SymPy relational or a list of them; each must be decided true.  One that
            SymPy would decide by itself is passed with `evaluate=False`.
        where: values of printed symbols, derived elsewhere.

    Raises:
        ClaimFailed: if a relation is false, or none of them is the printed one.
        ValueError: if a relation is undecided, is a bare truth value, or holds a floating-point
            number: runs are observed or measured.
    """
    sympy = require("sympy", "book")
    from snnlib.ledger import decide

    claim = claim_of(claim_id)
    cells = built_in(claim_id, "hold")
    relations = list(relation) if isinstance(relation, list | tuple) else [relation]
    if not relations:
        raise ValueError(f"{claim_id}: relation is empty")
    _refuse_inexact(claim_id, *relations, *(where or {}).values())
    if false := [item for item in relations if item in (sympy.false, False)]:
        raise ClaimFailed(f"{claim_id}: {len(false)} of the relations evaluate to false")
    if any(item in (sympy.true, True) for item in relations):
        raise ValueError(
            f"{claim_id}: a bare True does not say what is true; relations need evaluate=False"
        )
    reasons = []
    for item in relations:
        reason = settled(claim_id, decide.decide(item), f"{item} is false", item)
        stated = html.escape(loaded().latex(item, claim.namespace))
        reasons.append(f"\\({stated}\\): {html.escape(reason)}")
    if claim.printed is not None:
        statement = _put_in(claim, claim.printed, where)
        if not any(_same_relation(statement, item) for item in relations):
            raise ClaimFailed(f"{claim_id}: no relation given is the printed {statement}")
    record(
        claim,
        Evidence(
            claim_id,
            "proved",
            "hold",
            summary="holds for all admissible values",
            cells=cells,
            detail=". ".join(reasons) + "." + said_built(cells) + _said_where(claim, where),
        ),
    )


def _refuse_inexact(claim_id: str, *expressions: Any) -> None:
    """Refuse floating-point numbers: what holds for some of them is no proof."""
    sympy = require("sympy", "book")
    for expression in expressions:
        found = sorted(map(str, sympy.sympify(expression).atoms(sympy.Float)))
        if found:
            raise ValueError(
                f"{claim_id}: {found[0]} is a floating-point number, which proves nothing; "
                "use observe or measure"
            )


def settled(claim_id: str, decision: Decision, failure: str, subject: Any) -> str:
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
    write = partial(loaded().latex, namespace=claim.namespace)
    pairs = ", ".join(
        f"\\({html.escape(write(k))} = {html.escape(write(v))}\\)" for k, v in where.items()
    )
    return f" Put into the printed statement: {pairs}."


def _same_relation(statement: Any, item: Any) -> bool:
    """Whether two relationals state the same, up to a positive monomial in their symbols."""
    sympy = require("sympy", "book")
    from snnlib.ledger import decide

    if not isinstance(item, sympy.core.relational.Relational):
        return False  # a bare True could stand for any statement
    if isinstance(statement, sympy.Gt | sympy.Ge | sympy.Lt | sympy.Le):
        strict = isinstance(statement, sympy.Gt | sympy.Lt)
        if not isinstance(item, sympy.Gt | sympy.Ge | sympy.Lt | sympy.Le):
            return False
        if strict and not isinstance(item, sympy.Gt | sympy.Lt):
            return False
        ours, theirs = item.gts - item.lts, statement.gts - statement.lts
        if decide.is_zero(ours - theirs).truth:
            return True
        ratio = sympy.simplify(theirs / ours)
        # any two true relations have a positive ratio, so only a monomial may differ
        monomial = all(
            factor.as_base_exp()[0].is_number or factor.as_base_exp()[0].is_Symbol
            for factor in sympy.Mul.make_args(ratio)
        )
        return monomial and bool(decide.decide(ratio > 0).truth)
    if isinstance(statement, sympy.Eq):
        if not isinstance(item, sympy.Eq):
            return False
        return bool(decide.is_zero((statement.lhs - statement.rhs) - (item.lhs - item.rhs)).truth)
    return bool(statement == item)
