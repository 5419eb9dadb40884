"""Evidence: what a check found, how a page shows it, and whether a book has all of it."""

from __future__ import annotations

import html
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from snnlib._claims import Claim, read_claims

__all__ = ["MEDIAN_LAW_MDE", "MIME", "Evidence", "audit", "line", "stored_evidence"]

MIME = "application/vnd.snnlib.evidence+json"
MEDIAN_LAW_MDE = 0.02
"""Largest median of the minimum detectable errors of all entries of law-level checks."""


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


def audit(claims_path: str | os.PathLike[str], notebooks: Mapping[str, Any]) -> list[str]:
    """Compare the evidence of executed chapters with the list of claims.

    Args:
        claims_path: the YAML file.
        notebooks: executed notebooks (nbformat nodes) by chapter name; all of the book's.

    Returns:
        One message for each claim without evidence, piece of evidence without a claim, wrong
        chapter or unexpected verdict, and one if the law-level checks are too weak.  An empty
        list is a pass.
    """
    claims = read_claims(claims_path).claims
    messages = []
    law_errors: list[float] = []
    seen: dict[str, str] = {}
    for chapter, notebook in notebooks.items():
        for found in stored_evidence(notebook):
            name = str(found.get("claim"))
            claim = claims.get(name)
            if claim is None:
                messages.append(f"{chapter}: evidence for {name!r}, which is no claim")
                continue
            if name in seen:
                messages.append(f"{name}: evidence in {seen[name]} and again in {chapter}")
            seen[name] = chapter
            if claim.level == "law":
                law_errors += found.get("mde") or [math.inf]
            if claim.chapter != chapter:
                messages.append(f"{name}: evidence in {chapter}, but registered in {claim.chapter}")
            if found.get("verdict") != claim.verdict:
                messages.append(
                    f"{name}: verdict {found.get('verdict')!r} in {chapter}, expected "
                    f"{claim.verdict!r}"
                )
    messages += [
        f"{name}: no evidence (registered in {claim.chapter}, verdict {claim.verdict})"
        for name, claim in claims.items()
        if name not in seen and claim.verdict != "not testable here"
    ]
    if law_errors and np.median(law_errors) > MEDIAN_LAW_MDE:
        messages.append(
            f"the law-level checks detect errors of {100 * np.median(law_errors):.2g} % in the "
            f"median; at most {100 * MEDIAN_LAW_MDE:g} % is promised"
        )
    return messages


def stored_evidence(notebook: Any) -> list[dict[str, Any]]:
    """Evidence stored in the outputs of an executed notebook, in order."""
    return [
        output["data"][MIME]
        for cell in notebook["cells"]
        for output in cell.get("outputs", ())
        if MIME in output.get("data", {})
    ]
