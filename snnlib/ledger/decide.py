"""Decisions on symbolic statements: identically zero, and true.

A decision is True, False (with a witness) or undecided; undecided is never taken for True.
Numbers are used to refute only: a proof is always symbolic.
"""

from __future__ import annotations

import random
from typing import NamedTuple

from snnlib._extras import require

require("sympy", "book")  # its error names the extra
import sympy as sp  # noqa: E402
from sympy.core.function import AppliedUndef  # noqa: E402

__all__ = ["Decision", "decide", "is_zero"]

_DIGITS = 40
_NOT_ZERO = sp.Float("1e-18", _DIGITS)
_DEPTH = 3  # of "the derivative is positive because its derivative is ..."


class Decision(NamedTuple):
    """`truth` is None when undecided; `reason` says how it was decided."""

    truth: bool | None
    reason: str


def _probes(expression: sp.Expr, count: int = 4) -> list[dict[sp.Symbol, sp.Rational]]:
    """Rational points that respect the symbols' assumptions, the same in every run."""
    rng = random.Random(20241)  # only proposes points at which to evaluate: no statistics
    families = {indexed.base.label for indexed in expression.atoms(sp.Indexed)}
    plain = {s for s in expression.free_symbols if isinstance(s, sp.Symbol)}
    symbols = sorted(plain - families, key=str)
    points = []
    for _ in range(count):
        point = {}
        for symbol in symbols:
            point[symbol] = _proposed(symbol, rng)
        points.append(point)
    return points


def _proposed(symbol: sp.Expr, rng: random.Random) -> sp.Rational:
    if symbol.is_integer:
        return sp.Integer(rng.randint(1, 9))
    return sp.Rational(rng.randint(1 if symbol.is_nonnegative else -60, 60), 23)


def _at(expression: sp.Expr, point: dict[sp.Symbol, sp.Rational]) -> sp.Expr | None:
    """Value at a point, or None where it is no finite number."""
    if expression.has(AppliedUndef):  # quadrature would search for a number that is not there
        return None
    try:
        value = expression.subs(point).doit()
        # a sum over w[j]: its terms are there only now that its bounds are numbers
        for indexed in sorted(value.atoms(sp.Indexed), key=str):
            value = value.subs(indexed, _proposed(indexed, random.Random(str(indexed))))
        value = value.evalf(_DIGITS)
    except (TypeError, ValueError, ZeroDivisionError, NotImplementedError):
        return None
    if not value.is_number or value.is_finite is False or value is sp.nan:
        return None
    return value


def _where(point: dict[sp.Symbol, sp.Rational]) -> str:
    return ", ".join(f"{k} = {v}" for k, v in point.items()) or "a constant"


def is_zero(expression: sp.Expr) -> Decision:
    """Decide whether an expression vanishes identically.

    Args:
        expression: a SymPy expression; unevaluated integrals and sums are evaluated.

    Returns:
        A `Decision`; False names a point at which the expression is not zero.

    Example:
        >>> x = sp.Symbol("x", positive=True)
        >>> is_zero(sp.sqrt(x**2) - x).truth, is_zero((x + 1) ** 2 - x**2 - 1).truth
        (True, False)
    """
    expression = sp.sympify(expression)
    if expression.is_zero:
        return Decision(True, "identical")
    if isinstance(expression, sp.MatrixBase | sp.MatrixExpr):
        explicit = sp.Matrix(expression)
        parts = [is_zero(entry) for entry in explicit]
        if all(part.truth for part in parts):
            return Decision(True, "every matrix entry simplifies to zero")
        return next(part for part in parts if not part.truth)
    expression = expression.doit()
    for point in _probes(expression):
        value = _at(expression, point)
        if value is not None and abs(value) > _NOT_ZERO:
            return Decision(False, f"differs by {sp.N(value, 6)} at {_where(point)}")
    attempts = (
        sp.expand,
        sp.simplify,
        lambda e: sp.simplify(sp.expand(e.rewrite(sp.erf))),
        lambda e: sp.radsimp(sp.together(e)),
        lambda e: sp.simplify(sp.piecewise_fold(e)),
        lambda e: sp.simplify(sp.expand_func(sp.expand_log(sp.powdenest(e, force=False)))),
    )
    for attempt in attempts:
        try:
            reduced = attempt(expression)
        except (TypeError, ValueError, NotImplementedError, AttributeError):
            continue
        if reduced == 0 or reduced.is_zero:
            return Decision(True, "the difference simplifies to zero")
    return Decision(None, "the difference could not be simplified to zero")


def _sign(expression: sp.Expr, depth: int) -> tuple[int | None, bool, str]:
    """Sign of an expression: (+1, -1, 0 or None if unknown, strict, reason).

    The sign of a derivative may be asked for in turn, `depth` times.
    """
    if expression.is_zero:
        return 0, True, "zero"
    if expression.is_positive:
        return 1, True, "positive by its symbols' assumptions"
    if expression.is_negative:
        return -1, True, "negative by its symbols' assumptions"
    monotone = _monotone_sign(expression, depth)
    if monotone is not None:
        return monotone
    factored = sp.factor(sp.together(expression))
    if factored.is_Pow and factored.exp.is_integer and factored.exp.is_negative:
        return _sign(factored.base ** (-factored.exp), depth)
    if factored.is_Mul:
        sign, strict, reasons = 1, True, []
        for factor in factored.args:
            part, part_strict, reason = _sign(factor, depth)
            if part is None:
                return None, False, ""
            sign, strict = sign * part, strict and part_strict
            if not factor.is_number:
                reasons.append(reason)
        return sign, strict, "; ".join(dict.fromkeys(reasons))
    if factored.is_Pow and factored.exp.is_integer:
        part, strict, reason = _sign(factored.base, depth)
        if part is not None:
            return part ** int(factored.exp % 2 or 2), strict, reason
    if expression.is_nonnegative:
        return 1, False, "nonnegative by its symbols' assumptions"
    if expression.is_nonpositive:
        return -1, False, "nonpositive by its symbols' assumptions"
    return None, False, ""


def _derivative_sign(derivative: sp.Expr, depth: int) -> int | None:
    for form in (derivative, sp.simplify(derivative), sp.factor(derivative)):
        if form.is_positive:
            return 1
        if form.is_negative:
            return -1
    if depth > 0:
        sign, strict, _ = _sign(sp.simplify(derivative), depth - 1)
        if strict and sign in (1, -1):
            return sign
    return None


def _monotone_sign(expression: sp.Expr, depth: int) -> tuple[int, bool, str] | None:
    """Sign of a function of one positive variable that is monotone from or to a limit 0."""
    symbols = [s for s in expression.free_symbols if s.is_positive]
    if len(symbols) != 1 or len(expression.free_symbols) != 1:
        return None
    x = symbols[0]
    slope = _derivative_sign(sp.diff(expression, x), depth)
    if slope is None:
        return None
    left = sp.limit(expression, x, 0, "+")
    right = sp.limit(expression, x, sp.oo)
    direction = "increases" if slope > 0 else "decreases"
    # monotone, so inside the interval it lies strictly between its two limits
    low, high = (left, right) if slope > 0 else (right, left)
    if low.is_nonnegative:
        return 1, True, f"{direction} strictly in {x} between the limits {left} and {right}"
    if high.is_nonpositive:
        return -1, True, f"{direction} strictly in {x} between the limits {left} and {right}"
    return None


def decide(relation: sp.Basic | bool) -> Decision:
    """Decide whether a relation is true for all admissible values of its symbols.

    Args:
        relation: a SymPy relational, a conjunction of relationals, or a truth value.

    Returns:
        A `Decision`; False comes with a witness where one was found.

    Example:
        >>> t = sp.Symbol("t", positive=True)
        >>> decide(sp.erfc(t) < 1).reason
        'decreases strictly in t between the limits 0 and -1'
        >>> decide(t**2 > t).truth
        False
    """
    if relation in (sp.true, True):
        return Decision(True, "evaluates to true")
    if relation in (sp.false, False):
        return Decision(False, "evaluates to false")
    if isinstance(relation, sp.And):
        parts = [decide(part) for part in relation.args]
        for part in parts:
            if not part.truth:
                return part
        return Decision(True, "; ".join(part.reason for part in parts))
    if isinstance(relation, sp.Eq):
        return is_zero(relation.lhs - relation.rhs)
    if not isinstance(relation, sp.Gt | sp.Ge | sp.Lt | sp.Le):
        return Decision(None, f"cannot decide a {type(relation).__name__}")
    # lhs − rhs keeps the printed order; want says which sign the relation asks of it
    difference = sp.sympify(relation.lhs - relation.rhs)
    want = 1 if isinstance(relation, sp.Gt | sp.Ge) else -1
    strict = isinstance(relation, sp.Gt | sp.Lt)
    for point in _probes(difference, count=24):
        value = _at(difference, point)
        if value is None or not value.is_real:
            continue
        if want * value < -_NOT_ZERO:
            return Decision(False, f"the difference is {sp.N(value, 6)} at {_where(point)}")
    for depth in range(_DEPTH):  # the cheap arguments first
        for form in (difference, sp.simplify(difference)):
            sign, sign_strict, reason = _sign(form, depth)
            if sign == 0:
                return Decision(not strict, "both sides are equal")
            if sign is not None and sign == want and (sign_strict or not strict):
                return Decision(True, reason)
            if sign is not None and sign == -want and sign_strict:
                return Decision(False, reason)
    return Decision(None, "the sign of the difference could not be decided")
