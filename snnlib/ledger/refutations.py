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

SIDES = (None, "at least", "at most")


class Data(NamedTuple):
    """Measured data for `refute`, with the prediction of the printed statement."""

    estimate: Any
    standard_error: Any
    predicted: Any
    dof: float | None = None


def refute(
    claim_id: str,
    evidence: Any,
    corrected: Any = None,
    *,
    says: str = "",
    side: str | None = None,
    world: Data | None = None,
) -> None:
    """Check that data or a counterexample reject the printed statement.

    Data reject it only where it is wrong: a statement with a side is not rejected by data on that
    side, however far.  What would have been accepted is shown in the line's detail.

    Args:
        claim_id: a claim.
        evidence: `Data` with the printed statement's prediction, or a dict that maps the
            printed symbols to values at which the printed relation is exactly false.
        corrected: the corrected prediction, which the same data must accept; or a corrected
            relation, which must be true at the same values.  None if there is none.
        says: what the printed statement predicts for these data, in words; data need it.
        side: None if it predicts the numbers themselves, "at least" or "at most" if it bounds them.
        world: the same data from a simulated world in which the printed statement holds, with its
            prediction there; they must be accepted.

    Raises:
        ClaimFailed: if the printed statement is not rejected, or the corrected one or a world in
            which the printed one holds is.
        ValueError: as `measure`, if the counterexample leaves a relation undecided, or if data come
            without `says` or a counterexample with it.
    """
    claim = claim_of(claim_id)
    verdict = "refuted" if corrected is None else "corrected"
    if side not in SIDES:
        raise ValueError(f"side must be one of {SIDES}, got {side!r}")
    if isinstance(evidence, Data):
        if not says:
            raise ValueError(f"{claim_id}: says must tell what the printed statement predicts")
        found = _refute_by_data(claim, evidence, corrected, _Prediction(says, side, world))
    else:
        if says or side or world:
            raise ValueError(f"{claim_id}: says, side and world belong to data")
        found = _refute_by_counterexample(claim, evidence, corrected)
    found.verdict = verdict
    record(claim, found)


class _Prediction(NamedTuple):
    """What the printed statement predicts, and data from a world in which it holds."""

    says: str
    side: str | None
    world: Data | None

    def against(self, z: np.ndarray) -> np.ndarray:
        """How far each entry speaks against the statement, in standard errors."""
        if self.side is None:
            return np.abs(z)
        return -z if self.side == "at least" else z

    def accepted(self, predicted: np.ndarray, width: np.ndarray) -> str:
        """What the test would have let pass, in words; of several entries the first."""
        low, high = (float(np.ravel(x)[0]) for x in (predicted - width, predicted + width))
        if self.side is None:
            return f"between {low:.4g} and {high:.4g}"
        return f"{low:.4g} or more" if self.side == "at least" else f"{high:.4g} or less"


def _accepts(claim: Claim, prediction: _Prediction) -> str:
    """Check that a world in which the printed statement holds passes; say so."""
    world = prediction.world
    if world is None:
        return ""
    z, _, _, critical = deviation(
        claim, world.estimate, world.standard_error, world.predicted, world.dof
    )
    furthest = float(np.max(prediction.against(z)))
    if furthest >= critical:
        raise ClaimFailed(
            f"{claim.id}: a world in which the printed statement holds is rejected too: "
            f"{furthest:.2f} of {critical:.2f} standard errors"
        )
    return (
        f" A simulated world in which it holds is accepted ({furthest:.2f} of {critical:.2f} "
        "standard errors)."
    )


def _refute_by_data(claim: Claim, data: Data, corrected: Any, prediction: _Prediction) -> Evidence:
    z, se, pred, critical = deviation(
        claim, data.estimate, data.standard_error, data.predicted, data.dof
    )
    against = prediction.against(z)
    rejection = float(np.max(against))
    if rejection <= critical:
        raise ClaimFailed(
            f"{claim.id}: the data do not reject the printed statement: largest deviation "
            f"{rejection:.2f} of {critical:.2f} standard errors"
        )
    rejecting = int(np.sum(against > critical))
    summary = f"the printed prediction is {rejection:.1f} standard errors off"
    if z.size > 1:
        summary += f" ({rejecting} of {z.size} entries reject it)"
    printed_prediction = pred
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
    first = "" if z.size == 1 else "the first "
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
        detail=f"The printed statement predicts that {html.escape(prediction.says)}. "
        f"{z.size} entries at a false-alarm level of {loaded().level:.2g} each; "
        f"{first}would have been accepted at "
        f"{prediction.accepted(printed_prediction, critical * se)}, and was "
        f"{float(np.ravel(data.estimate)[0]):.4g}." + _accepts(claim, prediction),
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
