"""Refutations: data or a counterexample that reject the printed statement."""

from __future__ import annotations

import html
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from snnlib._extras import require
from snnlib._significance import detectable_shift, worst_margin
from snnlib.ledger.chapter import ClaimFailed, claim_of, loaded, record, statement_of
from snnlib.ledger.claims import Claim
from snnlib.ledger.definitions import exact
from snnlib.ledger.evidence import Evidence
from snnlib.ledger.measurements import deviation, floats


class Data(NamedTuple):
    """Measured data for `refute`, with the prediction of the printed statement."""

    estimate: Any
    standard_error: Any
    predicted: Any
    dof: float | None = None


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
    claim = claim_of(claim_id)
    verdict = "refuted" if corrected is None else "corrected"
    if isinstance(evidence, Data):
        found = _refute_by_data(claim, evidence, corrected)
    else:
        found = _refute_by_counterexample(claim, evidence, corrected)
    found.verdict = verdict
    record(claim, found)


def _refute_by_data(claim: Claim, data: Data, corrected: Any) -> Evidence:
    z, se, pred, critical = deviation(
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
        z_new, _, pred, _ = deviation(
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
        mde = detectable_shift(loaded().level, data.dof) * se / np.abs(pred)
    return Evidence(
        claim.id,
        "refuted",
        "refute",
        summary=summary,
        margin=margin,
        mde=floats(mde),
        entries=int(z.size),
        alpha=loaded().level,
        dof=data.dof,
        standard_error=floats(se),
        detail=f"{z.size} entries at a false-alarm level of {loaded().level:.2g} each.",
    )


def _refute_by_counterexample(claim: Claim, values: Mapping[Any, Any], corrected: Any) -> Evidence:
    from snnlib.ledger import decide

    if corrected is not None and claim.corrected_by is None:
        raise ValueError(
            f"{claim.id}: one point cannot establish a corrected statement; corrected_by must "
            "name the claim that proves it"
        )
    statement = statement_of(claim, "refute")
    point = {symbol: exact(value) for symbol, value in values.items()}
    at = _at_point(statement, point)
    truth = decide.decide(at).truth
    if truth is None:
        raise ValueError(f"{claim.id}: undecided at the counterexample: {at}")
    if truth:
        raise ClaimFailed(f"{claim.id}: the printed statement holds at {point}")
    corrected_latex = None
    if corrected is not None:
        truth = decide.decide(_at_point(corrected, point)).truth
        if truth is None:
            raise ValueError(f"{claim.id}: the corrected statement is undecided at {point}")
        if not truth:
            raise ClaimFailed(f"{claim.id}: the corrected statement is false at {point} too")
        corrected_latex = loaded().latex(corrected, claim.namespace)
    write = partial(loaded().latex, namespace=claim.namespace)
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
