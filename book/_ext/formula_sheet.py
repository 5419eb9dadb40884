"""One page of formulas, each the SymPy object of a claim and never typed.

``{formula-sheet}`` lists claims under headings, one a line, with a few words behind a bar::

    # Weights
    micheli2024.eq10 | weights that keep the variance of the potentials

A row shows the words, the printed statement of the claim, its verdict and a link to it.  A claim
that is stated in words only, or whose printed form does not hold, is a warning: the sheet is what
one may use as it stands.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from docutils import nodes
from ledger_env import Slot, depend_on_claims, ledger_pages, registered
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

logger = logging.getLogger(__name__)

HOLDS = ("definition", "proved", "measured")


class Entry(NamedTuple):
    """A row: its heading, the claim and the words."""

    heading: str
    claim: str
    words: str


def entries(lines: list[str]) -> list[Entry]:
    """Read the directive's content.

    >>> entries(["# Weights", "a.eq1 | what it says", ""])
    [Entry(heading='Weights', claim='a.eq1', words='what it says')]
    """
    found: list[Entry] = []
    heading = ""
    for line in map(str.strip, lines):
        if line.startswith("# "):
            heading = line[2:]
        elif line:
            claim, _, words = line.partition("|")
            found.append(Entry(heading, claim.strip(), words.strip()))
    return found


class FormulaSheet(SphinxDirective):
    """Tables of formulas, one for each heading."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """Return the tables; the verdicts are filled in when the page is written."""
        depend_on_claims(self.env)
        ledger_pages(self.env).setdefault(self.env.docname, []).append("badge")
        claims = registered(self.env).claims
        found: dict[str, list[nodes.row]] = {}
        for entry in entries(list(self.content)):
            claim = claims.get(entry.claim)
            if claim is None or claim.printed_latex is None or claim.verdict not in HOLDS:
                why = "no such claim" if claim is None else "no printed form that holds"
                logger.warning(
                    "formula-sheet: %s: %s", entry.claim, why, location=self.get_location()
                )
                continue
            found.setdefault(entry.heading, []).append(self.row(entry, claim.printed_latex))
        holder = nodes.container(classes=["formula-sheet"], is_div=True)
        for heading, rows in found.items():
            holder += nodes.rubric("", heading)
            holder += table(rows)
        return [holder]

    def row(self, entry: Entry, latex: str) -> nodes.row:
        """Words, formula, verdict with a link."""
        words, messages = self.parse_inline(entry.words)
        text = nodes.paragraph("", "", *words, *messages)
        formula = nodes.paragraph("", "", nodes.math(latex, latex))
        verdict = nodes.paragraph()
        verdict += [
            Slot(kind="badge", claim=entry.claim, mark=False),
            nodes.Text(" "),
            Slot(kind="link", claim=entry.claim, title=""),
        ]
        return nodes.row("", *(nodes.entry("", cell) for cell in (text, formula, verdict)))


def table(rows: list[nodes.row]) -> nodes.table:
    """A table of three columns."""
    widths = (30, 50, 20)
    group = nodes.tgroup(cols=len(widths))
    group += [nodes.colspec(colwidth=width) for width in widths]
    names = ("", "formula", "verdict and claim")
    head = nodes.row("", *(nodes.entry("", nodes.paragraph("", name)) for name in names))
    group += nodes.thead("", head)
    group += nodes.tbody("", *rows)
    return nodes.table("", group, classes=["formula-sheet-table"])


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.setup_extension("ledger_pages")
    app.add_directive("formula-sheet", FormulaSheet)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
