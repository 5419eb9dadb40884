"""Results of trainings whose rule was fixed before the runs."""

from __future__ import annotations

import html

from snnlib.ledger.chapter import claim_of, record
from snnlib.ledger.evidence import Evidence

__all__ = ["confirm"]

_VERDICTS = {"supported": "measured", "refuted": "refuted", "undecided": "inconclusive"}


def confirm(
    claim_id: str, outcome: str, *, rule: str, sha256: str, summary: str, history: str
) -> None:
    """Keep what came out of a registered experiment, whatever it is.

    Args:
        claim_id: a claim that names the rule and has the mark "registered".
        outcome: "supported" (the verdict is then "measured"), "refuted" or "undecided"
            ("inconclusive").
        rule: name of the rule.
        sha256: digest of the rule under which the rows were made.
        summary: difference, interval and corrected p value, in words.
        history: what is known of the order in time: "checked", or "not checked" where git's
            history is not there.

    Raises:
        ClaimFailed: if the claim expects another verdict.
        ValueError: if the claim names another rule or none, the outcome is unknown, or the check
            by history refused the rows.
    """
    claim = claim_of(claim_id)
    if claim.rule != rule:
        raise ValueError(f"{claim_id} names the rule {claim.rule!r}, not {rule!r}")
    if outcome not in _VERDICTS:
        raise ValueError(f"outcome must be one of {', '.join(_VERDICTS)}, got {outcome!r}")
    if history not in ("checked", "not checked"):
        raise ValueError(f"{claim_id}: rows under {rule!r} are no evidence: {history}")
    record(
        claim,
        Evidence(
            claim_id,
            _VERDICTS[outcome],
            "confirm",
            summary=summary,
            detail=f"Registered rule <code>{html.escape(rule)}</code>, SHA-256 {sha256[:16]}; that "
            f"it is older than its rows: {history}.",
        ),
    )
