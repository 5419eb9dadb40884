"""Evidence: what a check found, and how a page shows it."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import Any

from snnlib.ledger.claims import Claim

__all__ = ["MIME", "Evidence", "line", "stored_evidence"]

MIME = "application/vnd.snnlib.evidence+json"


@dataclass
class Evidence:
    """What one call found; the fields are stored as JSON in the cell's output."""

    claim: str
    verdict: str
    kind: str
    statement_latex: str | None = None
    corrected_latex: str | None = None
    summary: str = ""
    margin: float | None = None
    mde: list[float] | None = None
    entries: int | None = None
    effect: float | None = None
    level: str | None = None
    alpha: float | None = None
    dof: float | None = None
    standard_error: list[float] | None = None
    cells: list[int] | None = None
    detail: str = ""


def line(claim: Claim, found: Evidence) -> str:
    """HTML of the one line that a chapter shows for a claim."""
    slug = found.verdict.replace(" ", "-")
    shown = ""
    if found.statement_latex:
        shown = f"\\(\\displaystyle {html.escape(found.statement_latex)}\\)"
    corrected = ""
    if found.corrected_latex:
        corrected = (
            '<span class="ledger-corrected-statement">corrected: '
            f"\\(\\displaystyle {html.escape(found.corrected_latex)}\\)</span>"
        )
    return (
        f'<div class="ledger ledger-{slug}" id="evidence-{claim.anchor}">'
        f'<span class="ledger-verdict">{found.verdict}</span> '
        f'<a class="ledger-claim" href="../book/claims.html#{claim.anchor}">'
        f"{html.escape(claim.citation)}</a> "
        f'<span class="ledger-statement">{shown}</span> {corrected}'
        f'<span class="ledger-margin">{found.summary}</span>'
        f'<details class="ledger-detail"><summary>how</summary>{found.detail}</details></div>'
    )


def stored_evidence(notebook: Any) -> list[dict[str, Any]]:
    """Evidence stored in the outputs of an executed notebook, in order."""
    return [
        output["data"][MIME]
        for cell in notebook["cells"]
        for output in cell.get("outputs", ())
        if MIME in output.get("data", {})
    ]
