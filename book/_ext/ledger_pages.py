"""Sphinx extension: the claims, errata and status pages, made from the chapters' evidence.

A chapter's executed cells carry evidence (see ``snnlib.ledger``). The pages are therefore finished
late: directives leave placeholders when a page is read, and these are replaced when it is
written, after all notebooks were read and executed. The pages that hold placeholders are written
anew in every build, so they are right on a cold build, on a repeated one and when one chapter
changed.

Directives: ``ledger-counts``, ``ledger-graph``, ``ledger-claims``, ``ledger-errata``,
``ledger-verdicts``, ``ledger-status``. Role: ``{claim}`` with a claim's id links to its row.
A claim without evidence, evidence without a claim, or an unexpected verdict is a warning.
"""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Iterable, Sequence
from html import unescape
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any, ClassVar

import nbformat
from docutils import nodes
from docutils.parsers.rst import directives
from docutils.statemachine import StringList
from jupyter_cache import get_cache
from ledger_graph import NodeText, draw
from ledger_model import (
    ERRATA,
    ICONS,
    MEANING,
    MISSING,
    Book,
    Row,
    assemble,
    css_class,
    mde_text,
    plain_number,
    short_label,
    split_math,
)
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective, SphinxRole

from snnlib import ledger

logger = logging.getLogger(__name__)

PACKAGES = (
    "snnlib",
    "torch",
    "numpy",
    "scipy",
    "sympy",
    "matplotlib",
    "scikit-learn",
    "jupyter-book",
    "sphinx",
    "myst-nb",
    "nbclient",
    "jupytext",
)


class Slot(nodes.General, nodes.Inline, nodes.Element):
    """A placeholder that is replaced when its page is written."""


class Card(nodes.container):
    """Everything about one claim; its verdict becomes a CSS class when the page is written."""


# ------------------------------------------------------------------------------- while reading


def claims_path(env: BuildEnvironment) -> Path:
    """Folder (or file) of the list of claims."""
    return Path(env.srcdir) / env.config.ledger_claims


def claims_files(env: BuildEnvironment) -> list[Path]:
    """What the list of claims is read from; the folder too, which changes with its files."""
    path = claims_path(env)
    return [path, *sorted(path.rglob("*"))]


def depend_on_claims(env: BuildEnvironment) -> None:
    """Note that the page that is being read depends on the list of claims."""
    for path in claims_files(env):
        env.note_dependency(str(path))


def registered(env: BuildEnvironment) -> ledger.Claims:
    """The list of claims, read once per change of its files."""
    path = claims_path(env)
    stamp = [(file, file.stat().st_mtime_ns) for file in claims_files(env)]
    cached = getattr(env.app, "_ledger_claims", None)
    if cached is None or cached[0] != stamp:
        cached = (stamp, ledger.read_claims(path))
        env.app._ledger_claims = cached  # type: ignore[attr-defined]
    return cached[1]


def ledger_pages(env: BuildEnvironment) -> dict[str, list[str]]:
    """Pages with placeholders: document name -> kinds of its placeholders."""
    if not hasattr(env, "ledger_page_kinds"):
        env.ledger_page_kinds = {}  # type: ignore[attr-defined]
    return env.ledger_page_kinds  # type: ignore[attr-defined]


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


class GraphDirective(LedgerDirective):
    """The dependency graph."""

    kind = "graph"


class StatusDirective(LedgerDirective):
    """Facts about this build: ``chapters``, ``measurements`` or ``versions``."""

    kind = "status"
    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the placeholder of one table."""
        part = directives.choice(self.arguments[0], ("chapters", "measurements", "versions"))
        (slot,) = super().run()
        slot["part"] = part
        return [slot]


class VerdictsDirective(LedgerDirective):
    """What each verdict means."""

    kind = "verdicts"


class ClaimsDirective(LedgerDirective):
    """One section per source, one card per claim."""

    kind = "claims"

    def run(self) -> list[nodes.Node]:
        """Return the sections; what depends on the evidence is a placeholder."""
        self.remember()
        by_source: dict[str, list[ledger.Claim]] = {}
        for claim in registered(self.env).claims.values():
            by_source.setdefault(claim.source, []).append(claim)
        found: list[nodes.Node] = []
        for source, claims in by_source.items():
            name = claims[0].citation.removesuffix(f", {claims[0].locator}")
            section = nodes.section(ids=[f"source-{source}"], names=[f"source-{source}"])
            section += nodes.title("", name)
            for claim in claims:
                section += self.card(claim, identifier=claim.anchor)
            found.append(section)
        return found

    def card(self, claim: ledger.Claim, *, identifier: str) -> Card:
        """Return a claim's card."""
        card = Card(ids=[identifier], classes=["ledger-card"], claim=claim.id, is_div=True)
        head = nodes.paragraph(classes=["ledger-head"])
        head += Slot(kind="badge", claim=claim.id)
        label = nodes.strong(classes=["ledger-locator"])
        label += nodes.Text(short_label(claim))
        head += [nodes.Text(" "), label, nodes.Text(" of ")]
        if claim.source == "book":
            head += nodes.Text("this book")
        else:
            head += self.inline(f"{{cite:t}}`{claim.source}`")
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
        card += head
        if claim.statement:
            card += self.block(claim.statement)
        card += Slot(kind="body", claim=claim.id)
        return card

    def block(self, text: str) -> list[nodes.Node]:
        """Parse text in the page's own language."""
        holder = nodes.container()
        lines = StringList(text.splitlines(), source=str(claims_path(self.env)))
        self.state.nested_parse(lines, self.content_offset, holder)
        return holder.children

    def inline(self, text: str) -> list[nodes.Node]:
        """Parse text and return the children of its only paragraph."""
        blocks = self.block(text)
        return blocks[0].children if blocks else []


class ErrataDirective(ClaimsDirective):
    """The cards of the claims that were corrected or refuted."""

    kind = "errata"

    def run(self) -> list[nodes.Node]:
        """Return a card for each claim; those without an erratum are dropped at the end."""
        self.remember()
        holder = Card(classes=["ledger-errata"], is_div=True, errata=True)
        for claim in registered(self.env).claims.values():
            holder += self.card(claim, identifier=f"erratum-{claim.anchor}")
        return [holder]


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


def notebook_names(env: BuildEnvironment) -> list[str]:
    """Names of the book's notebooks."""
    return sorted(d for d in env.found_docs if "kernelspec" in env.metadata.get(d, {}))


def execution_time(env: BuildEnvironment, docname: str) -> float | None:
    """Seconds that a notebook took when it was executed, if that was recorded."""
    data = getattr(env, "nb_metadata", {}).get(docname, {}).get("exec_data") or {}
    return data.get("runtime")


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
    # Their mathematics comes late or in raw HTML, so say now that there is some.
    for docname in {*pages, *(d for d, nb in notebooks.items() if ledger.stored_evidence(nb))}:
        math.data["has_equations"][docname] = True
    return sorted(pages)


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


def merge(app: Sphinx, env: BuildEnvironment, docnames: Sequence[str], other: Any) -> None:
    """Take over the pages that a parallel reader found."""
    found = ledger_pages(other)
    ledger_pages(env).update({d: found[d] for d in docnames if d in found})


# -------------------------------------------------------------------------------- when writing


def badge(verdict: str, count: int | None = None) -> nodes.inline:
    """A verdict in words, with icon and colour from the style sheet."""
    text = verdict if count is None else f"{count} {verdict}"
    if verdict == "definition" and count not in (None, 1):
        text += "s"
    return nodes.inline("", text, classes=["ledger-badge", css_class(verdict)])


def rich_text(text: str) -> list[nodes.Node]:
    """Text with mathematics between ``\\( \\)``."""
    return [
        nodes.math(part, part) if kind == "math" else nodes.Text(part)
        for kind, part in split_math(text)
    ]


def join(parts: Sequence[Sequence[nodes.Node]], separator: str) -> list[nodes.Node]:
    """Chain lists of nodes with a separator between them."""
    joined: list[nodes.Node] = []
    for i, part in enumerate(parts):
        if i:
            joined.append(nodes.Text(separator))
        joined.extend(part)
    return joined


def table(head: Sequence[str], rows: Iterable[Sequence[Sequence[nodes.Node]]]) -> nodes.table:
    """A table from inline nodes."""
    group = nodes.tgroup(cols=len(head))
    group += [nodes.colspec(colwidth=1) for _ in head]
    header, body = nodes.thead(), nodes.tbody()
    header_row = nodes.row()
    header_row += [nodes.entry("", nodes.paragraph("", name)) for name in head]
    header += header_row
    for cells in rows:
        row = nodes.row()
        for cell in cells:
            paragraph = nodes.paragraph()
            paragraph += list(cell)
            row += nodes.entry("", paragraph)
        body += row
    group += [header, body]
    result = nodes.table(classes=["ledger-table"])
    result += group
    return result


class ResolveLedger(SphinxPostTransform):
    """Replace the placeholders of one page."""

    default_priority = 4  # before references and images are resolved

    def run(self, **kwargs: Any) -> None:
        """Replace them all."""
        book: Book | None = getattr(self.app, "_ledger_book", None)
        if book is None:
            book = Book()
        self.book = book
        for card in list(self.document.findall(Card)):
            self.finish_card(card)
        for slot in list(self.document.findall(Slot)):
            make = getattr(self, f"make_{slot['kind']}")
            slot.replace_self(make(slot))

    def uri(self, docname: str, identifier: str = "") -> str:
        """Address of a place in the book, relative to this page."""
        page = self.app.builder.get_relative_uri(self.env.docname, docname)
        return f"{page}#{identifier}" if identifier else page

    def claims_page(self) -> str:
        """Name of the page with the rows of the claims."""
        pages = ledger_pages(self.env)
        return next((d for d, kinds in pages.items() if "claims" in kinds), self.env.docname)

    def claim_link(self, claim_id: str, text: str = "", classes: Sequence[str] = ()) -> nodes.Node:
        """Link to a claim's row."""
        row = self.book.rows.get(claim_id)
        if row is None:
            return nodes.literal("", claim_id)
        docname = self.claims_page()
        here = docname == self.env.docname
        address = f"#{row.claim.anchor}" if here else self.uri(docname, row.claim.anchor)
        return nodes.reference(
            "",
            text or short_label(row.claim),
            refuri=address,
            internal=True,
            classes=["ledger-link", *classes],
        )

    def finish_card(self, card: Card) -> None:
        """Colour a card; on the errata page, drop those that are none."""
        if card.get("errata"):
            kept = [c for c in card.findall(Card) if c is not card and self.is_erratum(c)]
            card.children.clear()
            if kept:
                card += kept
            else:
                card += nodes.paragraph(
                    "", "No claim checked so far had to be corrected or was refuted."
                )
            return
        row = self.book.rows.get(card["claim"])
        if row is not None:
            card["classes"].append(css_class(row.verdict))

    def is_erratum(self, card: Card) -> bool:
        """Whether a card is about a corrected or refuted claim."""
        row = self.book.rows.get(card.get("claim", ""))
        return row is not None and row.verdict in ERRATA

    def make_link(self, slot: Slot) -> list[nodes.Node]:
        """A link to a claim, wherever it is mentioned."""
        return [self.claim_link(slot["claim"], slot["title"])]

    def make_badge(self, slot: Slot) -> list[nodes.Node]:
        """A claim's verdict."""
        row = self.book.rows.get(slot["claim"])
        return [badge(row.verdict if row else MISSING)]

    def make_counts(self, slot: Slot) -> list[nodes.Node]:
        """One badge for each verdict that occurs."""
        paragraph = nodes.paragraph(classes=["ledger-counts"])
        paragraph += join([[badge(v, n)] for v, n in self.book.counts().items()], " ")
        return [paragraph]

    def make_verdicts(self, slot: Slot) -> list[nodes.Node]:
        """The meaning of each verdict."""
        rows = [[[badge(v)], [nodes.Text(text)]] for v, (_, text) in MEANING.items()]
        return [table(["Verdict", "Meaning"], rows)]

    def make_body(self, slot: Slot) -> list[nodes.Node]:
        """Statement, correction, evidence, premises and chapter of a claim."""
        row = self.book.rows.get(slot["claim"])
        if row is None:
            return []
        result: list[nodes.Node] = []
        if row.corrected:
            result += [self.labelled("printed"), self.display(row.printed or "")]
            result += [self.labelled("corrected"), self.display(row.corrected)]
        elif row.printed:
            result.append(self.display(row.printed))
        facts = nodes.bullet_list(classes=["ledger-facts"])
        for name, content in self.facts(row):
            item = nodes.list_item()
            line = nodes.paragraph()
            line += nodes.inline("", f"{name}: ", classes=["ledger-fact"])
            line += content
            item += line
            facts += item
        result.append(facts)
        if row.doubts:
            result.append(self.doubt(row))
        return result

    @staticmethod
    def labelled(text: str) -> nodes.paragraph:
        """A small label above a formula."""
        return nodes.paragraph("", text, classes=["ledger-label"])

    def display(self, latex: str) -> nodes.container:
        """A formula on its own line that scrolls when it is too long."""
        holder = nodes.container(classes=["ledger-formula"], is_div=True)
        block = nodes.math_block(latex, latex, nowrap=False, number=None, label=None)
        block["docname"] = self.env.docname
        holder += block
        return holder

    def facts(self, row: Row) -> list[tuple[str, list[nodes.Node]]]:
        """What is known about a claim: (name, content)."""
        facts: list[tuple[str, list[nodes.Node]]] = []
        summary = str(row.evidence.get("summary") or "")
        if summary:
            facts.append(("evidence", rich_text(unescape(summary))))
        if row.margin is not None:
            facts.append(("margin", [nodes.Text(f"{row.margin:.2f} of the critical value")]))
        detectable = mde_text(row.mde)
        if detectable:
            per = {"law": "law", "curve": "curve"}.get(row.claim.level or "", "")
            note = f"{detectable} with probability 0.99" + (f" ({per} level)" if per else "")
            facts.append(("detects errors of", [nodes.Text(note)]))
        docname = self.chapter(row.claim.chapter)
        if docname:
            identifier = f"evidence-{row.claim.anchor}"
            outputs = getattr(self.app, "_ledger_anchors", {}).get(docname, "")
            place = identifier if f'id="{identifier}"' in outputs else ""
            title = self.env.titles[docname].astext()
            link = nodes.reference("", title, refuri=self.uri(docname, place), internal=True)
            facts.append(("checked in", [link]))
        if row.claim.uses:
            links = [[self.premise(p)] for p in row.claim.uses]
            facts.append(("rests on", join(links, ", ")))
        return facts

    def premise(self, claim_id: str) -> nodes.Node:
        """Link to a premise, marked with its verdict."""
        other = self.book.rows.get(claim_id)
        if other is None:
            return nodes.literal("", claim_id)
        marked = f"{short_label(other.claim)} ({other.verdict})" if other.verdict in ERRATA else ""
        return self.claim_link(claim_id, marked)

    def doubt(self, row: Row) -> nodes.paragraph:
        """The warning that a premise does not hold as printed."""
        paragraph = nodes.paragraph(classes=["ledger-doubt"])
        paragraph += nodes.inline(
            "", "rests on what does not hold as printed: ", classes=["ledger-fact"]
        )
        paths: list[list[nodes.Node]] = []
        for path in row.doubts:
            last = self.book.rows[path[-1]]
            part: list[nodes.Node] = [self.claim_link(path[-1]), nodes.Text(f" ({last.verdict}")]
            if len(path) > 1:
                through = join([[self.claim_link(p)] for p in path[:-1]], ", ")
                part += [nodes.Text(", through "), *through]
            paths.append([*part, nodes.Text(")")])
        paragraph += join(paths, "; ")
        return paragraph

    def chapter(self, slug: str) -> str | None:
        """Document name of a chapter, if it is in the book."""
        matches = [d for d in self.env.found_docs if slug and d.rpartition("/")[2] == slug]
        return matches[0] if matches else None

    def make_graph(self, slot: Slot) -> list[nodes.Node]:
        """The dependency graph in a container that scrolls sideways."""
        rows = self.book.rows
        if not rows:
            return [nodes.paragraph("", "No claims yet.")]
        docname = self.claims_page()
        page = "" if docname == self.env.docname else self.uri(docname)

        def describe(claim_id: str) -> NodeText:
            row = rows[claim_id]
            doubt = ", rests on what does not hold as printed" if row.doubts else ""
            return NodeText(
                label=short_label(row.claim),
                icon=ICONS[row.verdict],
                title=f"{row.claim.citation or claim_id}: {row.verdict}{doubt}",
                href=f"{page}#{row.claim.anchor}",
                css=css_class(row.verdict) + (" lg-doubt" if doubt else ""),
            )

        edges = [(p, c) for c, row in rows.items() for p in row.claim.uses if p in rows]
        counted = ", ".join(f"{n} {v}" for v, n in self.book.counts().items())
        svg = draw(
            list(rows),
            edges,
            describe,
            title="Which claim rests on which",
            description=f"{len(rows)} claims ({counted}) and {len(edges)} dependencies. "
            "An arrow runs from a premise to the claim that uses it; each box links to the claim. "
            "The list of claims on this page says the same in words.",
        )
        markup = (
            '<div class="ledger-graph-frame" role="region" tabindex="0" '
            f'aria-label="Dependency graph of the claims, scrolls sideways">\n{svg}\n</div>'
        )
        return [nodes.raw("", markup, format="html")]

    def make_status(self, slot: Slot) -> list[nodes.Node]:
        """Chapters, levels or versions of this build."""
        if slot["part"] == "chapters":
            return [self.chapter_table()]
        if slot["part"] == "measurements":
            return [self.level_table()]
        return [table(["Package", "Version"], self.versions())]

    def chapter_table(self) -> nodes.table:
        """Execution time and number of claims of each executed page."""
        rows: list[Sequence[Sequence[nodes.Node]]] = []
        total = 0.0
        for docname in notebook_names(self.env):
            seconds = execution_time(self.env, docname)
            total += seconds or 0.0
            slug = docname.rpartition("/")[2]
            claims = sum(row.claim.chapter == slug for row in self.book.rows.values())
            title = self.env.titles[docname].astext()
            link = nodes.reference("", title, refuri=self.uri(docname), internal=True)
            time = f"{seconds:.1f} s" if seconds is not None else "not recorded"
            rows.append([[link], [nodes.Text(time)], [nodes.Text(str(claims))]])
        rows.append(
            [
                [nodes.Text("all")],
                [nodes.Text(f"{total:.1f} s")],
                [nodes.Text(str(len(self.book.rows)))],
            ]
        )
        return table(["Page", "Execution time", "Claims"], rows)

    def level_table(self) -> nodes.table:
        """Family-wise level, entries and detectable errors."""
        claims = registered(self.env)
        law = [v for r in self.book.rows.values() if r.claim.level == "law" for v in r.mde]
        facts = [
            ("False-alarm level of the whole book", plain_number(ledger.FAMILY_LEVEL)),
            ("Measured entries registered", str(claims.entries)),
            ("False-alarm level of one entry", f"{claims.level:.2g}"),
        ]
        if law:
            facts.append(("Law-level entries measured", str(len(law))))
            facts.append(("Their median minimum detectable error", mde_text([median(law)]) or "–"))
        return table(["Quantity", "Value"], [[[nodes.Text(a)], [nodes.Text(b)]] for a, b in facts])

    def versions(self) -> list[list[list[nodes.Node]]]:
        """Versions of what made this build."""
        found = [("Python", platform.python_version())]
        for package in PACKAGES:
            try:
                found.append((package, metadata.version(package)))
            except metadata.PackageNotFoundError:
                continue
        found.append(("platform", f"{platform.system()} on {platform.machine()}"))
        commit = commit_of(Path(self.env.srcdir))
        if commit:
            found.append(("commit", commit))
        return [[[nodes.Text(name)], [nodes.literal("", value)]] for name, value in found]


def commit_of(folder: Path) -> str | None:
    """Commit of a working tree, and whether its tracked files differ from it."""

    def git(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            encoding="utf-8",
            check=False,
        )

    try:
        head = git("rev-parse", "--short=12", "HEAD")
    except OSError:
        return None
    if head.returncode:
        return None
    changed = git("diff", "--quiet", "HEAD").returncode != 0
    return head.stdout.strip() + (" with local changes" if changed else "")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directives, the role and the hooks."""
    app.add_config_value("ledger_claims", "book/claims", "env")
    app.add_node(Slot)
    app.add_node(Card)
    for directive in (
        CountsDirective,
        GraphDirective,
        ClaimsDirective,
        ErrataDirective,
        VerdictsDirective,
        StatusDirective,
    ):
        app.add_directive(f"ledger-{directive.kind}", directive)
    app.add_role("claim", ClaimRole())
    app.add_role("ledger-number", NumberRole())
    app.add_post_transform(ResolveLedger)
    app.connect("env-get-outdated", find_lost_notebooks)
    app.connect("env-purge-doc", forget)
    app.connect("env-merge-info", merge)
    app.connect("env-updated", gather, priority=900)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
