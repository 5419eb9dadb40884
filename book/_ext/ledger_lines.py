"""The line that a check leaves in its chapter: the claim's sentence first, then what was found.

The ledger's own line stands in the notebook.  The book writes it anew from the same evidence, with
the sentence, with formulas that wrap, with a link to the claim's card, and with a folded *how*
whose formulas wait until it is opened.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from html import escape

from docutils import nodes
from formula import late, late_html, rounded, sentence_html
from ledger_model import Book, Row

LINE = re.compile(r'<div class="ledger ledger-[\w-]+" id="evidence-([\w-]+)">')


def line_html(row: Row, address: str | None) -> str:
    """HTML of a claim's line.

    Args:
        row: the claim with its evidence.
        address: where its card is; None if that page is not in this build.
    """
    claim, found = row.claim, row.evidence
    slug = row.verdict.replace(" ", "-")
    citation = escape(claim.citation, quote=False)
    if address is not None:
        citation = f'<a class="ledger-claim" href="{escape(address)}">{citation}</a>'
    parts = [
        f'<p class="ledger-says"><span class="ledger-verdict">{row.verdict}</span> '
        f"{sentence_html(claim.statement)}</p>"
    ]
    if row.printed:
        label = '<span class="ledger-form-name">as printed</span> ' if row.corrected else ""
        parts.append(f'<div class="ledger-formula">{label}{late(row.printed, display=True)}</div>')
    if row.corrected:
        parts.append(
            '<div class="ledger-formula ledger-corrected-statement">'
            '<span class="ledger-form-name">corrected</span> '
            f"{late(row.corrected, display=True)}</div>"
        )
    summary = late_html(rounded(str(found.get("summary") or "")))
    mark = escape(str(getattr(claim, "mark", "") or ""))  # such as misprint
    marked = f'<span class="ledger-mark">{mark}</span> · ' if mark else ""
    foot = (
        f'<p class="ledger-found-line">{marked}{citation} · '
        f'<span class="ledger-margin">{summary}</span></p>'
    )
    detail = late_html(rounded(str(found.get("detail") or "")))
    if detail:
        foot += (
            '<details class="ledger-detail"><summary>how</summary>'
            f'<div class="ledger-how late">{detail}</div></details>'
        )
    parts.append(f'<div class="ledger-foot">{foot}</div>')
    return (
        f'<div class="ledger ledger-{slug} late" id="evidence-{claim.anchor}">'
        f"{''.join(parts)}</div>"
    )


def finish_lines(
    document: nodes.document, book: Book, address: Callable[[str], str | None]
) -> None:
    """Write the lines of a page anew."""
    by_anchor = {row.claim.anchor: row for row in book.rows.values()}
    for output in list(document.findall(nodes.raw)):
        match = LINE.match(output.astext())
        row = by_anchor.get(match[1]) if match else None
        if row is not None and row.evidence:
            html = line_html(row, address(row.claim.id))
            # Not `replace_self`, which hands on the class that has MathJax typeset all at once.
            line = nodes.raw("", html, format="html", classes=["output", "ledger-output"])
            output.parent.replace(output, line)
