"""Sphinx extension: the claims, errata and status pages, made from the chapters' evidence.

A chapter's executed cells carry evidence (see ``snnlib.ledger``). The pages are therefore finished
late: directives leave placeholders when a page is read, and these are replaced when it is
written (``ledger_resolve``), after all notebooks were read and executed. The pages that hold
placeholders are written anew in every build, so they are right on a cold build, on a repeated one
and when one chapter changed.

Directives: ``ledger-counts``, ``ledger-index``, ``ledger-claims``, ``ledger-folder``,
``ledger-graph``, ``ledger-errata``, ``ledger-verdicts``, ``ledger-status``. Roles: ``{claim}`` and
``{verdict}`` with a claim's id link to its card.  Each claims file is a page (``ledger_source``).
A claim without evidence, evidence without a claim, or an unexpected verdict is a warning.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import nbformat
from docutils import nodes
from docutils.parsers.rst import directives
from docutils.statemachine import StringList
from jupyter_cache import get_cache
from ledger_env import (
    Card,
    Slot,
    claims_of_file,
    claims_path,
    depart_card,
    depend_on_claims,
    homes,
    ledger_pages,
    notebook_names,
    registered,
    visit_card,
)
from ledger_model import ERRATA, assemble, plain_number, short_label
from ledger_resolve import ResolveLedger, in_order
from ledger_source import ClaimsParser
from ledger_status import PARTS
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective, SphinxRole

from snnlib import ledger

logger = logging.getLogger(__name__)


# ------------------------------------------------------------------------------- while reading


class LedgerDirective(SphinxDirective):
    """Leave one placeholder and remember the page."""

    kind: ClassVar[str] = ""
    has_content = False

    def run(self) -> list[nodes.Node]:
        """Return the placeholder."""
        self.remember()
        return [Slot(kind=self.kind)]

    def remember(self) -> None:
        """Note that this page depends on the list of claims and is finished late."""
        depend_on_claims(self.env)
        ledger_pages(self.env).setdefault(self.env.docname, []).append(self.kind)


class CountsDirective(LedgerDirective):
    """How many claims have which verdict."""

    kind = "counts"


class StatusDirective(LedgerDirective):
    """Facts about this build: one of the tables of `ledger_status.PARTS`."""

    kind = "status"
    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the placeholder of one table."""
        part = directives.choice(self.arguments[0], PARTS)
        (slot,) = super().run()
        slot["part"] = part
        return [slot]


class VerdictsDirective(LedgerDirective):
    """What each verdict means."""

    kind = "verdicts"


class IndexDirective(LedgerDirective):
    """All claims in one list, folded by page, that can be filtered."""

    kind = "index"


class GraphDirective(LedgerDirective):
    """The dependency graph of a chapter's claims."""

    kind = "graph"
    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the placeholder."""
        (slot,) = super().run()
        slot["chapter"] = self.arguments[0]
        return [slot]


class CardsDirective(LedgerDirective):
    """A directive that shows claims as cards."""

    def own_claims(self) -> list[ledger.Claim]:
        """The claims of the file that the page is."""
        path = Path(self.env.doc2path(self.env.docname))
        claims = registered(self.env).claims
        if path.suffix != ".yml":
            return list(claims.values())
        names = claims_of_file(path.read_text(encoding="utf-8"))
        return [claims[name] for name in names if name in claims]

    def section(self, identifier: str, title: str) -> nodes.section:
        """A section that the page's contents list."""
        section = nodes.section(ids=[identifier], names=[identifier])
        section += nodes.title("", title)
        return section

    def block(self, text: str) -> list[nodes.Node]:
        """Parse text in the page's own language."""
        holder = nodes.container()
        lines = StringList(text.splitlines(), source=str(claims_path(self.env)))
        self.state.nested_parse(lines, self.content_offset, holder)
        return holder.children

    def head(self, claim: ledger.Claim, identifier: str) -> nodes.paragraph:
        """The first line of a card, without its badge."""
        head = nodes.paragraph(classes=["ledger-head"])
        label = nodes.strong(classes=["ledger-locator"])
        label += nodes.Text(short_label(claim))
        head += label
        if claim.read != "ours":
            head += nodes.inline("", f"read: {claim.read}", classes=["ledger-read"])
        head += nodes.reference(
            "",
            "",
            nodes.inline("", "#", classes=["ledger-permalink-sign"]),
            refuri=f"#{identifier}",
            internal=True,
            classes=["ledger-permalink"],
            reftitle="Link to this claim",
        )
        return head


class ClaimsDirective(CardsDirective):
    """The claims of one file: one card each, by chapter."""

    kind = "claims"

    def run(self) -> list[nodes.Node]:
        """Return the cards; what depends on the evidence is a placeholder."""
        self.remember()
        claims = self.own_claims()
        names = [claim.id for claim in claims]
        homes(self.env).update(dict.fromkeys(names, self.env.docname))
        found: list[nodes.Node] = [*self.about(claims), Slot(kind="counts", claims=names)]
        chapters = list(dict.fromkeys(claim.chapter for claim in claims))
        own = chapters == [self.env.docname.rpartition("/")[2]]
        if own:
            (chapter,) = chapters
            found += self.block(f"```{{ledger-graph}} {chapter}\n```")
            found += [Slot(kind="checked", chapter=chapter, claims=names)]
        found.append(Slot(kind="filter", claims=names))
        for chapter in chapters:
            title = "Its lemmas" if own else self.chapter_title(chapter)
            section = self.section(f"chapter-{chapter}", title)
            for claim in claims:
                if claim.chapter == chapter:
                    section += self.card(claim)
            found.append(section)
        return found

    def about(self, claims: list[ledger.Claim]) -> list[nodes.Node]:
        """What the claims are about: the source, or the chapter that states them."""
        sources = list(dict.fromkeys(claim.source for claim in claims))
        if sources == ["book"]:
            slug = claims[0].chapter
            place = f"/notebooks/{slug}"
            known = place.removeprefix("/") in self.env.found_docs
            chapter = f"{{doc}}`{place}`" if known else slug
            return self.block(f"What the chapter {chapter} states itself, beside its sources.")
        cited = ", ".join(f"{{cite:t}}`{source}`" for source in sources)
        return self.block(f"Claims of {cited}, by the chapter that checks them.")

    def chapter_title(self, slug: str) -> str:
        """Title of a chapter, from its text."""
        path = Path(self.env.srcdir) / "notebooks" / f"{slug}.md"
        if path.exists():
            self.env.note_dependency(str(path))
            found = re.search(r"^# (.+)$", path.read_text(encoding="utf-8"), flags=re.M)
            if found:
                return found[1]
        return slug.replace("-", " ")

    def card(self, claim: ledger.Claim) -> Card:
        """Return a claim's card."""
        card = Card(ids=[claim.anchor], classes=["ledger-card"], claim=claim.id, is_div=True)
        head = self.head(claim, claim.anchor)
        head.insert(0, [Slot(kind="badge", claim=claim.id), nodes.Text(" ")])
        card += head
        if claim.statement:
            card += self.block(claim.statement)
        card += Slot(kind="body", claim=claim.id)
        return card


class FolderDirective(LedgerDirective):
    """Links to the pages of the claims files in the folder of this page's name."""

    kind = "folder"

    def run(self) -> list[nodes.Node]:
        """Return the list; the pages are read later, so the links are resolved later too."""
        self.remember()
        folder = f"{self.env.docname}/"
        found = [d for d in self.env.found_docs if d.startswith(folder)]
        lines = StringList([f"* {{doc}}`/{docname}`" for docname in sorted(found)])
        holder = nodes.container()
        self.state.nested_parse(lines, self.content_offset, holder)
        return holder.children


class ErrataDirective(CardsDirective):
    """What does not hold as printed, by source, with a table on top."""

    kind = "errata"

    def run(self) -> list[nodes.Node]:
        """Return the table's placeholder and a card for each claim with an erratum."""
        self.remember()
        by_source: dict[str, list[ledger.Claim]] = {}
        for claim in registered(self.env).claims.values():
            if claim.verdict in ERRATA:
                by_source.setdefault(claim.source, []).append(claim)
        found: list[nodes.Node] = [Slot(kind="severities")]
        for source in in_order(by_source, {s: len(c) for s, c in by_source.items()}):
            claims = by_source[source]
            title = claims[0].citation.removesuffix(f", {claims[0].locator}")
            section = self.section(f"errata-{source}", title)
            if source != "book":
                section += self.block(f"{{cite:t}}`{source}`")
            section += [self.erratum(claim) for claim in claims]
            found.append(section)
        return found

    def erratum(self, claim: ledger.Claim) -> Card:
        """Return the card of an erratum."""
        identifier = f"erratum-{claim.anchor}"
        card = Card(
            ids=[identifier],
            classes=["ledger-card", "ledger-erratum"],
            claim=claim.id,
            is_div=True,
        )
        head = self.head(claim, identifier)
        badges = [Slot(kind="severity", claim=claim.id), Slot(kind="badge", claim=claim.id)]
        badges[1]["mark"] = False
        head.insert(0, [badges[0], nodes.Text(" "), badges[1], nodes.Text(" ")])
        card += head
        if claim.statement:
            card += self.block(claim.statement)
        card += Slot(kind="erratum", claim=claim.id)
        return card


class ClaimRole(SphinxRole):
    """Link to a claim's row: ``{claim}`micheli2024.eq10` `` or ``{claim}`text <id>` ``."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Return the placeholder of the link."""
        text, _, target = self.text.strip().rpartition("<")
        claim_id = target.rstrip(">").strip()
        title = text.strip() if text else ""
        depend_on_claims(self.env)
        claim = registered(self.env).claims.get(claim_id)
        if claim is None:
            logger.warning(
                "unknown claim %r", claim_id, location=self.get_location(), type="ledger"
            )
            return [nodes.literal("", claim_id)], []
        title = title or claim.citation or claim_id
        return [Slot(kind="link", claim=claim_id, title=title)], []


class VerdictRole(SphinxRole):
    """A claim's verdict as a link to its card: ``{verdict}`micheli2024.eq10` ``."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Return the placeholder of the link."""
        depend_on_claims(self.env)
        if self.text not in registered(self.env).claims:
            logger.warning(
                "unknown claim %r", self.text, location=self.get_location(), type="ledger"
            )
            return [nodes.literal("", self.text)], []
        ledger_pages(self.env).setdefault(self.env.docname, []).append("verdict")
        return [Slot(kind="verdict", claim=self.text)], []


class NumberRole(SphinxRole):
    """A constant of the ledger: ``{ledger-number}`family-level` `` or ``detection``."""

    numbers: ClassVar[dict[str, float]] = {
        "family-level": ledger.FAMILY_LEVEL,
        "detection": ledger.DETECTION,
    }

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Return the number."""
        value = self.numbers.get(self.text)
        if value is None:
            logger.warning("unknown number %r", self.text, location=self.get_location())
            return [nodes.literal("", self.text)], []
        return [nodes.Text(plain_number(value))], []


# ------------------------------------------------------------------- after everything was read


def executed_notebook(env: BuildEnvironment, docname: str) -> Path:
    """Path of the executed copy that myst-nb writes of a notebook."""
    return Path(env.mystnb_config.output_folder) / f"{docname}.ipynb"  # type: ignore[attr-defined]


def read_executed(env: BuildEnvironment, docname: str) -> nbformat.NotebookNode:
    """Read a notebook with its outputs.

    When myst-nb takes the outputs from its cache, the copy that it writes lacks them. They are
    put into it here, so that the copy that readers download has them too.
    """
    path = executed_notebook(env, docname)
    notebook = nbformat.read(path, as_version=4)
    if any(cell.get("outputs") for cell in notebook.cells):
        return notebook
    cache = get_cache(env.mystnb_config.execution_cache_path)  # type: ignore[attr-defined]
    try:
        _, notebook = cache.merge_match_into_notebook(notebook)
    except KeyError:
        return notebook
    nbformat.write(notebook, path)
    return notebook


def find_lost_notebooks(
    app: Sphinx, env: BuildEnvironment, added: set[str], changed: set[str], removed: set[str]
) -> list[str]:
    """Read a notebook again if somebody deleted the executed copy."""
    return [d for d in notebook_names(env) if not executed_notebook(env, d).exists()]


def gather(app: Sphinx, env: BuildEnvironment) -> list[str]:
    """Join claims and evidence, warn about what does not fit, and have the pages written."""
    pages = ledger_pages(env)
    if not pages:
        return []
    notebooks = {
        docname: read_executed(env, docname)
        for docname in notebook_names(env)
        if executed_notebook(env, docname).exists()
    }
    by_chapter = {docname.rpartition("/")[2]: nb for docname, nb in notebooks.items()}
    for message in ledger.audit(claims_path(env), by_chapter):
        logger.warning("ledger: %s", message, type="ledger")
    claims = registered(env)
    bundles = [e for nb in notebooks.values() for e in ledger.stored_evidence(nb)]
    printed = {
        claim.id: claim.printed_latex
        for claim in claims.claims.values()
        if claim.printed_latex is not None
    }
    app._ledger_book = assemble(claims.claims, bundles, printed)  # type: ignore[attr-defined]
    app._ledger_anchors = {  # type: ignore[attr-defined]
        docname: _html_outputs(nb) for docname, nb in notebooks.items()
    }
    math = env.get_domain("math")
    written = {*pages, *(d for d, nb in notebooks.items() if ledger.stored_evidence(nb))}
    for docname in written:  # their mathematics comes late, so say now that there is some
        math.data["has_equations"][docname] = True
    return sorted(written)


def _html_outputs(notebook: nbformat.NotebookNode) -> str:
    return "\n".join(
        "".join(output["data"]["text/html"])
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if ledger.MIME in output.get("data", {}) and "text/html" in output["data"]
    )


def forget(app: Sphinx, env: BuildEnvironment, docname: str) -> None:
    """Forget a page that is read again or gone."""
    ledger_pages(env).pop(docname, None)
    for claim in [c for c, home in homes(env).items() if home == docname]:
        del homes(env)[claim]


def merge(app: Sphinx, env: BuildEnvironment, docnames: Sequence[str], other: Any) -> None:
    """Take over the pages that a parallel reader found."""
    found = ledger_pages(other)
    ledger_pages(env).update({d: found[d] for d in docnames if d in found})
    homes(env).update({c: d for c, d in homes(other).items() if d in docnames})


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directives, the roles, the claims files as pages, and the hooks."""
    app.add_config_value("ledger_claims", "book/claims", "env")
    app.add_source_suffix(".yml", "ledger-claims")
    app.add_source_parser(ClaimsParser)
    app.add_node(Slot)
    app.add_node(Card, html=(visit_card, depart_card))
    for directive in (
        CountsDirective,
        IndexDirective,
        GraphDirective,
        ClaimsDirective,
        FolderDirective,
        ErrataDirective,
        VerdictsDirective,
        StatusDirective,
    ):
        app.add_directive(f"ledger-{directive.kind}", directive)
    app.add_role("claim", ClaimRole())
    app.add_role("verdict", VerdictRole())
    app.add_role("ledger-number", NumberRole())
    app.add_post_transform(ResolveLedger)
    app.connect("env-get-outdated", find_lost_notebooks)
    app.connect("env-purge-doc", forget)
    app.connect("env-merge-info", merge)
    app.connect("env-updated", gather, priority=900)
    return {"version": "2", "parallel_read_safe": True, "parallel_write_safe": True}
