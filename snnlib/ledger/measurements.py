"""Measurements: an estimate against its prediction, and what runs showed."""

from __future__ import annotations

import html
import math
from typing import Any

import numpy as np

from snnlib._significance import (
    DETECTION,
    FAMILY_LEVEL,
    critical_value,
    detectable_shift,
    worst_margin,
)
from snnlib.ledger.chapter import ClaimFailed, claim_of, loaded, record
from snnlib.ledger.claims import Claim
from snnlib.ledger.evidence import Evidence
from snnlib.ledger.proofs import settled


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
    parameter that this check would catch with probability 0.99.  If the largest of them exceeds
    the `effect` that the list of claims fixes, agreement says too little: "inconclusive".

    Args:
        claim_id: a claim that registers as many `entries` as are given here, and an `effect`.
        estimate: numbers, an array of any shape.
        standard_error: of the estimates, broadcast.
        predicted: from the derived formula, broadcast.
        dof: degrees of freedom if the standard errors are estimated (Student t).
        sensitivity: d ln predicted / d ln parameter, broadcast; 1 if the parameter is the
            predicted quantity itself.

    Raises:
        ClaimFailed: if an entry deviates by more than the critical value.
        ValueError: if the number of entries is not the registered one, no effect is registered,
            or a standard error is not positive.
    """
    claim = claim_of(claim_id)
    if claim.effect is None:
        raise ValueError(
            f"{claim_id} registers no effect: the smallest relative deviation that would matter"
        )
    z, se, pred, critical = deviation(claim, estimate, standard_error, predicted, dof)
    level = loaded().level
    margin = worst_margin(z, critical)
    with np.errstate(divide="ignore"):
        mde = detectable_shift(level, dof) * se / np.abs(pred * np.asarray(sensitivity))
    if margin >= 1:
        worst = int(np.argmax(np.abs(z)))
        raise ClaimFailed(
            f"{claim_id}: entry {worst} of {z.size} is {z.flat[worst]:+.2f} standard errors from "
            f"the prediction {pred.flat[worst]:.6g}; the limit is {critical:.2f}"
        )
    largest = float(np.max(mde))
    verdict = "measured" if largest <= claim.effect else "inconclusive"
    shown = f"{100 * largest:.2g} %" if math.isfinite(largest) else "undefined (prediction 0)"
    record(
        claim,
        Evidence(
            claim_id,
            verdict,
            "measure",
            summary=f"{z.size} entr{'y' if z.size == 1 else 'ies'}, largest deviation "
            f"{np.max(np.abs(z)):.2f} of {critical:.2f} standard errors, MDE "
            f"{'at most ' if z.size > 1 else ''}{shown} (effect {100 * claim.effect:g} %)",
            margin=margin,
            mde=floats(mde),
            entries=int(z.size),
            effect=claim.effect,
            alpha=level,
            dof=dof,
            standard_error=floats(se),
            detail=f"False-alarm level {level:.2g} per entry ({FAMILY_LEVEL:g} for the book, "
            f"{loaded().entries} entries); "
            + ("known variance" if dof is None else f"Student t with {dof:g} degrees of freedom")
            + f". Minimum detectable error: largest {shown}, median "
            f"{100 * float(np.median(mde)):.2g} %, caught with probability {DETECTION:g}. "
            f"Effect that matters: {100 * claim.effect:g} %"
            + (f", because {html.escape(claim.effect_reason)}" if claim.effect_reason else "")
            + f". Median standard error {float(np.median(se)):.2g}.",
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
        ValueError: if one is undecided, a bare truth value or holds a symbol, or the claim has a
            printed statement.
    """
    from snnlib.ledger import decide

    claim = claim_of(claim_id)
    if claim.printed is not None:
        raise ValueError(f"{claim_id} has a printed statement, which runs cannot establish")
    relations = list(relation) if isinstance(relation, list | tuple) else [relation]
    if not relations:
        raise ValueError(f"{claim_id}: relation is empty")
    stated = []
    for item in relations:
        if getattr(item, "free_symbols", None):
            raise ValueError(f"{claim_id}: {item} must hold numbers only")
        settled(claim_id, decide.decide(item), f"{item} is false", item)
        if str(item) == "True":
            raise ValueError(
                f"{claim_id}: a bare True does not say what was seen; relations need evaluate=False"
            )
        stated.append(f"\\({html.escape(loaded().latex(item, claim.namespace))}\\)")
    record(
        claim,
        Evidence(
            claim_id,
            "measured",
            "observe",
            summary="observed in the runs of this page",
            detail=", ".join(stated) + ".",
        ),
    )


def deviation(
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
    critical = critical_value(loaded().level, dof)
    return (est - pred) / se, se, pred, critical


def joint_error(error: Any, dof: float, other: Any, other_dof: float) -> tuple[np.ndarray, float]:
    r"""Standard error of the difference of two independent estimates, each with its own noise.

    √(e² + o²) with the degrees of freedom of Welch and Satterthwaite,
    (e² + o²)² / (e⁴/dof + o⁴/other_dof); the smallest of them over the entries.

    Args:
        error: estimated standard errors, an array of any shape.
        dof: their degrees of freedom.
        other: estimated standard errors of what they are compared with, broadcast.
        other_dof: their degrees of freedom.

    Returns:
        Standard errors, degrees of freedom.

    Raises:
        ValueError: if degrees of freedom are not positive, or both errors of an entry are 0.

    Example:
        >>> error, dof = joint_error(3.0, 19, 4.0, 9)
        >>> float(error), round(dof, 1)
        (5.0, 19.1)
    """
    for name, value in (("dof", dof), ("other_dof", other_dof)):
        if not value > 0:
            raise ValueError(f"{name} must be positive, got {value!r}")
    first, second = np.square(error, dtype=np.float64), np.square(other, dtype=np.float64)
    both = first + second
    if not np.all(both > 0):
        raise ValueError("error and other must not both be 0 in an entry")
    return np.sqrt(both), float(np.min(both**2 / (first**2 / dof + second**2 / other_dof)))


def floats(array: np.ndarray) -> list[float] | None:
    """List for JSON, which has no infinity: None if an entry is not finite."""
    return [float(x) for x in np.ravel(array)] if np.all(np.isfinite(array)) else None
