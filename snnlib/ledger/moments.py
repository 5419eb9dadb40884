r"""A small moment algebra: expectations of polynomials in random variables, step by step.

Random symbols come in groups.  Groups are independent of each other; inside a group the joint
moments are what was declared.  `Algebra.expectation` expands an expression, splits each
monomial over the groups and replaces it by the product of the groups' moments.  Every moment
and every use of independence is charged to the assumption that grants it, so that a chapter
can say which assumption each step consumed, and which one no step consumed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from snnlib._extras import require

__all__ = ["Algebra"]

Moment = Callable[..., Any]


@dataclass(frozen=True)
class _Group:
    symbols: tuple[Any, ...]
    moments: Mapping[tuple[int, ...], Any] | Moment
    granted_by: Mapping[tuple[int, ...], str]
    independent_by: str


@dataclass
class Algebra:
    r"""Random symbols with declared moments, and the expectation over them.

    Example:
        A signed amplitude: E[(s·a)²] = E[a²] if s is ±1 and independent of a.

        >>> import sympy as sp
        >>> s, a, m = sp.symbols("s a m")
        >>> algebra = Algebra()
        >>> algebra.declare(s, {1: 0, 2: 1}, because={1: "symmetry"}, independent="A1")
        >>> algebra.declare(a, {2: m}, independent="A1")
        >>> algebra.expectation((s * a) ** 2)
        m
        >>> sorted(algebra.consumed), sorted(algebra.unused)
        (['A1'], ['symmetry'])
    """

    groups: list[_Group] = field(default_factory=list)
    consumed: dict[str, int] = field(default_factory=dict)

    @property
    def granted(self) -> set[str]:
        """All assumptions that a declaration names."""
        named = [{group.independent_by, *group.granted_by.values()} for group in self.groups]
        return set().union(*named) - {""}

    @property
    def unused(self) -> set[str]:
        """Assumptions that were declared and that no step consumed."""
        return self.granted - set(self.consumed)

    def uses(self, assumption: str) -> int:
        """How many steps consumed an assumption.

        Raises:
            ValueError: if no declaration names it: it could not be consumed.
        """
        if assumption not in self.granted:
            raise ValueError(
                f"assumption must be one of {sorted(self.granted)}, got {assumption!r}"
            )
        return self.consumed.get(assumption, 0)

    def declare(
        self,
        symbols: Any | Sequence[Any],
        moments: Mapping[Any, Any] | Moment,
        *,
        because: Mapping[Any, str] | None = None,
        independent: str = "",
    ) -> None:
        """Declare one group of random symbols.

        Args:
            symbols: a SymPy symbol, or several that are jointly distributed.
            moments: joint moment by exponents (an int for one symbol, else a tuple), or a
                function of the exponents.
            because: assumption that grants a moment, by exponents.
            independent: assumption that makes this group independent of all others.

        Raises:
            ValueError: if a symbol is declared twice.
        """
        group = tuple(symbols) if isinstance(symbols, list | tuple) else (symbols,)
        for symbol in group:
            if any(symbol in other.symbols for other in self.groups):
                raise ValueError(f"symbols: {symbol} is declared already")
        table: Mapping[tuple[int, ...], Any] | Moment
        table = moments if callable(moments) else {_key(k): v for k, v in moments.items()}
        granted = {_key(k): v for k, v in (because or {}).items()}
        self.groups.append(_Group(group, table, granted, independent))

    def expectation(self, expression: Any) -> Any:
        """Expectation of a polynomial in the declared symbols.

        Symbols that were not declared are constants.

        Args:
            expression: a SymPy expression, polynomial in the random symbols.

        Returns:
            A SymPy expression in the declared moments.

        Raises:
            ValueError: if the expression is not polynomial in the random symbols, or needs a
                moment that was not declared.
        """
        sympy = require("sympy", "book")
        generators = [s for group in self.groups for s in group.symbols]
        try:
            polynomial = sympy.Poly(sympy.expand(expression), *generators)
        except sympy.PolynomialError as error:
            raise ValueError(f"expression is not polynomial in {generators}: {error}") from None
        total = sympy.Integer(0)
        for exponents, coefficient in polynomial.terms():
            total += coefficient * self._monomial(exponents)
        return total

    def variance(self, expression: Any) -> Any:
        """Variance E[y²] − E[y]² of a polynomial in the declared symbols."""
        sympy = require("sympy", "book")
        mean = self.expectation(expression)
        return sympy.expand(self.expectation(sympy.expand(expression**2)) - mean**2)

    def _monomial(self, exponents: Sequence[int]) -> Any:
        sympy = require("sympy", "book")
        value, start = sympy.Integer(1), 0
        parts: list[tuple[_Group, tuple[int, ...]]] = []
        for group in self.groups:
            part = tuple(exponents[start : start + len(group.symbols)])
            start += len(group.symbols)
            if any(part):
                parts.append((group, part))
        if len(parts) > 1:  # a product over groups: their independence is used
            for group, _ in parts:
                self._charge(group.independent_by)
        for group, part in parts:
            value *= self._moment(group, part)
        return value

    def _moment(self, group: _Group, part: tuple[int, ...]) -> Any:
        if callable(group.moments):
            moment = group.moments(*part)
        elif part in group.moments:
            moment = group.moments[part]
        else:
            names = "·".join(f"{s}^{k}" for s, k in zip(group.symbols, part, strict=True) if k)
            raise ValueError(f"moment E[{names}] was not declared")
        if part in group.granted_by:
            self._charge(group.granted_by[part])
        return moment

    def _charge(self, assumption: str) -> None:
        if assumption:
            self.consumed[assumption] = self.consumed.get(assumption, 0) + 1


def _key(exponents: Any) -> tuple[int, ...]:
    return exponents if isinstance(exponents, tuple) else (exponents,)
