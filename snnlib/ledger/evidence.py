"""Evidence: what a check found, and how a page shows it."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from typing import Any

from snnlib.ledger.claims import Claim

__all__ = ["MIME", "Evidence", "line", "stored_evidence", "told"]

MIME = "application/vnd.snnlib.evidence+json"

_SAME = re.compile(r"\\\(((?:(?!\\\)).)+?) (?:=|\\leq|\\geq) \1\\\)(: identical|(?=: ))?")
_AGAIN = re.compile(
    r"(Both sides come to \\\((?:(?!\\\)).)+\\\)(?:: [^.\\]+)?"
    r"|\\\((?:(?!\\\)).)+\\\), as it has to be)((?:[.,] \1)+)"
)
_PUT_IN = " Put into the printed statement: "


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


def told(detail: str) -> str:
    r"""A detail without equations of an expression with itself, such as 0 = 0, and repetitions.

    Example:
        >>> told(r"\(0 = 0\): identical. \(0 = 0\): identical. \(1 < x\): by assumption.")
        'Both sides come to \\(0\\), 2 times. \\(1 < x\\): by assumption.'
        >>> told(r"\(0.0 = 0\), \(2 > 1\).")
        '\\(0\\), as it has to be, \\(2 > 1\\).'
        >>> told(r"Identical. Put into the printed statement: \(q = q\), \(p = 1\).")
        'Identical. Put into the printed statement: \\(p = 1\\).'
    """
    head, mark, pairs = detail.partition(_PUT_IN)
    given = [m[0] for m in re.finditer(r"\\\(.+?\\\)", pairs) if not _SAME.fullmatch(m[0])]
    said = _SAME.sub(
        lambda m: (
            f"\\({m[1]}\\), as it has to be" if m[2] is None else f"Both sides come to \\({m[1]}\\)"
        ),
        head.replace(r"\(0.0 = 0\)", r"\(0 = 0\)"),
    )
    said = _AGAIN.sub(lambda m: f"{m[1]}, {1 + m[2].count(m[1])} times", said)
    return said + (f"{mark}{', '.join(given)}." if given else "")


def stored_evidence(notebook: Any) -> list[dict[str, Any]]:
    """Evidence stored in the outputs of an executed notebook, in order."""
    return [
        output["data"][MIME]
        for cell in notebook["cells"]
        for output in cell.get("outputs", ())
        if MIME in output.get("data", {})
    ]
