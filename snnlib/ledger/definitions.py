"""Definitions: the library's trajectories satisfy the printed equation, in exact arithmetic."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any

from snnlib._extras import require
from snnlib.ledger.chapter import ClaimFailed, claim_of, record, statement_of
from snnlib.ledger.evidence import Evidence


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
    claim = claim_of(claim_id)
    statement = statement_of(claim, "define")
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
                v: sympy.ImmutableMatrix(exact(row[str(v)]))
                if v in matrices
                else exact(row[str(v)])
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
    record(
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


def exact(value: Any) -> Any:
    """Exact SymPy value of a number (floats are dyadic rationals) or nested list of numbers."""
    sympy = require("sympy", "book")
    if isinstance(value, sympy.Basic):
        return value
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple):
        rows = [exact(v) for v in value]
        return [list(row) if isinstance(row, list) else row for row in rows]
    fraction = Fraction(value)
    return sympy.Rational(fraction.numerator, fraction.denominator)


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
