"""The moment algebra against direct integration and hand expansion."""

from __future__ import annotations

import pytest
import sympy as sp
from sympy.stats import Bernoulli, E, Normal

from snnlib.ledger.moments import Algebra

a, b, c = sp.symbols("a b c")


def test_agrees_with_sympy_stats():
    sigma, p = sp.Symbol("sigma", positive=True), sp.Rational(1, 3)
    normal, coin = Normal("N", 0, sigma), Bernoulli("B", p)
    algebra = Algebra()
    algebra.declare(a, {1: 0, 2: sigma**2, 3: 0, 4: 3 * sigma**4})
    algebra.declare(b, lambda k: p)
    expression = (a * b + 2 * b - a) ** 2
    direct = E(expression.subs({a: normal, b: coin}))
    assert sp.simplify(algebra.expectation(expression) - direct) == 0


def test_exchangeable_sum_has_its_cross_term():
    m, rho, n = sp.symbols("m rho n")
    algebra = Algebra()
    algebra.declare((a, b), {(2, 0): m, (0, 2): m, (1, 1): rho, (1, 0): 0, (0, 1): 0})
    second = n * algebra.expectation(a**2) + n * (n - 1) * algebra.expectation(a * b)
    assert sp.expand(second - n * m - n * (n - 1) * rho) == 0


def test_charges_the_assumptions_it_used_and_no_other():
    algebra = Algebra()
    algebra.declare(a, {1: 0, 2: 1}, because={1: "zero mean"}, independent="weights")
    algebra.declare(b, {1: sp.Symbol("m"), 2: 1}, because={1: "known mean"}, independent="inputs")
    assert algebra.expectation(a**2) == 1
    assert algebra.consumed == {}
    assert algebra.expectation(a * b) == 0
    once = dict.fromkeys(("zero mean", "known mean", "weights", "inputs"), 1)
    assert algebra.consumed == once
    assert algebra.expectation(3 * a * b) == 0
    assert algebra.consumed == {name: 2 for name in once}
    m = sp.Symbol("m")
    assert algebra.variance(2 * b) == sp.expand(4 - 4 * m**2)


def test_an_assumption_that_no_declaration_names_cannot_be_called_unused():
    algebra = Algebra()
    algebra.declare(a, {1: 0, 2: 1}, because={1: "zero mean"}, independent="weights")
    algebra.declare(b, {2: 1}, independent="weights and inputs")
    algebra.expectation(a**2 * b**2)
    assert algebra.granted == {"zero mean", "weights", "weights and inputs"}
    assert algebra.unused == {"zero mean"}
    assert (algebra.uses("weights"), algebra.uses("zero mean")) == (1, 0)
    with pytest.raises(ValueError, match=r"assumption must be one of \['weights', .* got 'inputs'"):
        algebra.uses("inputs")


def test_refuses_what_was_not_declared():
    algebra = Algebra()
    algebra.declare(a, {1: 0})
    with pytest.raises(ValueError, match=r"E\[a\^2\] was not declared"):
        algebra.expectation(a**2)
    with pytest.raises(ValueError, match="not polynomial"):
        algebra.expectation(sp.exp(a))
    with pytest.raises(ValueError, match="declared already"):
        algebra.declare(a, {1: 0})
    assert algebra.expectation(c) == c
