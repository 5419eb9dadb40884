"""Replace the placeholders of the ledger's pages when a page is written.

All notebooks were read and executed by then, so what a card says comes from their evidence.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from docutils import nodes
from formula import late, late_html, rounded
from ledger_audit import audited, premises
from ledger_env import Card, Slot, chapter_document, chapter_title, homes
from ledger_graph import NodeText, draw
from ledger_index import chapters_of, filter_bar, groups, index_html
from ledger_lines import finish_lines
from ledger_model import (
    ERRATA,
    ICONS,
    KINDS,
    MARKS,
    MEANING,
    MISSING,
    SEVERITIES,
    Book,
    Row,
    css_class,
    is_paper,
    mde_text,
    percent,
    severity,
    short_label,
)
from ledger_status import (
    chapter_table,
    level_table,
    library_table,
    proofs_table,
    reruns_table,
    table,
    text_table,
    versions_table,
)
from sphinx.transforms.post_transforms import SphinxPostTransform


def badge(verdict: str, count: int | None = None) -> nodes.inline:
    """A verdict in words, with icon and colour from the style sheet."""
    text = verdict if count is None else f"{count} {verdict}"
    if verdict == "definition" and count not in (None, 1):
        text += "s"
    return nodes.inline("", text, classes=["ledger-badge", css_class(verdict)])


def raw(html: str) -> nodes.raw:
    """HTML as it is."""
    return nodes.raw("", html, format="html")


def join(parts: Sequence[Sequence[nodes.Node]], separator: str) -> list[nodes.Node]:
    """Chain lists of nodes with a separator between them."""
    joined: list[nodes.Node] = []
    for i, part in enumerate(parts):
        if i:
            joined.append(nodes.Text(separator))
        joined.extend(part)
    return joined


def display(latex: str) -> nodes.raw:
    """A formula on its own line that breaks where it is too long."""
    return raw(f'<div class="ledger-formula">{late(latex, display=True)}</div>')


def wait(card: Card) -> None:
    """Have a card's formulas typeset when the card comes near the screen."""
    for formula in list(card.findall(nodes.math)):
        formula.replace_self(raw(late(formula.astext())))
    for block in list(card.findall(nodes.math_block)):
        block.replace_self(display(block.astext()))
    card["classes"].append("late")


class ResolveLedger(SphinxPostTransform):
    """Replace the placeholders of one page."""

    default_priority = 4  # before references and images are resolved

    def run(self, **kwargs: Any) -> None:
        """Replace them all."""
        self.book: Book = getattr(self.app, "_ledger_book", None) or Book()
        self.audited = audited(Path(self.env.srcdir))
        cards = list(self.document.findall(Card))
        for card in cards:
            self.colour(card)
        for slot in list(self.document.findall(Slot)):
            make = getattr(self, f"make_{slot['kind']}")
            slot.replace_self(make(slot))
        for card in cards:
            wait(card)
        finish_lines(self.document, self.book, self.claim_address)

    # --------------------------------------------------------------------------- addresses

    def uri(self, docname: str, identifier: str = "") -> str:
        """Address of a place in the book, relative to this page."""
        page = self.app.builder.get_relative_uri(self.env.docname, docname)
        return f"{page}#{identifier}" if identifier else page

    def claim_address(self, claim_id: str) -> str | None:
        """Address of a claim's card, if it is in the book."""
        row, home = self.book.rows.get(claim_id), homes(self.env).get(claim_id)
        if row is None or home is None:
            return None
        if home == self.env.docname:
            return f"#{row.claim.anchor}"
        return self.uri(home, row.claim.anchor)

    def claim_link(self, claim_id: str, text: str = "", classes: Sequence[str] = ()) -> nodes.Node:
        """Link to a claim's card."""
        address = self.claim_address(claim_id)
        if address is None:
            return nodes.literal("", text or claim_id)
        return nodes.reference(
            "",
            text or short_label(self.book.rows[claim_id].claim),
            refuri=address,
            internal=True,
            classes=["ledger-link", *classes],
        )

    def cell_address(self, row: Row) -> str | None:
        """Address of the line that a claim's check left in its chapter."""
        docname = chapter_document(self.env, row.claim.chapter)
        if docname is None:
            return None
        identifier = f"evidence-{row.claim.anchor}"
        outputs = getattr(self.app, "_ledger_anchors", {}).get(docname, "")
        return self.uri(docname, identifier if f'id="{identifier}"' in outputs else "")

    # ------------------------------------------------------------------------ small pieces

    def make_link(self, slot: Slot) -> list[nodes.Node]:
        """A link to a claim, wherever it is mentioned."""
        return [self.claim_link(slot["claim"], slot["title"])]

    def make_verdict(self, slot: Slot) -> list[nodes.Node]:
        """A claim's verdict as a link to its card."""
        row = self.book.rows.get(slot["claim"])
        shown = badge(row.verdict if row else MISSING)
        address = self.claim_address(slot["claim"])
        if row is None or address is None:
            return [shown]
        title = f"The claim: {row.claim.citation or row.claim.id}"
        link = nodes.reference("", "", shown, refuri=address, internal=True, reftitle=title)
        link["classes"].append("ledger-badge-link")
        return [link]

    def make_badge(self, slot: Slot) -> list[nodes.Node]:
        """A claim's verdict, and its mark if it has one."""
        row = self.book.rows.get(slot["claim"])
        found: list[nodes.Node] = [badge(row.verdict if row else MISSING)]
        for mark in row.marks if row and slot.get("mark", True) else ():
            found += [nodes.Text(" "), nodes.inline("", mark, classes=["ledger-mark"])]
        return found

    def make_counts(self, slot: Slot) -> list[nodes.Node]:
        """One badge for each verdict that occurs: in the book, or among some claims."""
        book = self.book
        if slot.get("claims"):
            book = Book({name: book.rows[name] for name in slot["claims"] if name in book.rows})
        paragraph = nodes.paragraph(classes=["ledger-counts"])
        paragraph += join([[badge(v, n)] for v, n in book.counts().items()], " ")
        return [paragraph]

    def make_verdicts(self, slot: Slot) -> list[nodes.Node]:
        """The meaning of each verdict."""
        rows = [[[badge(v)], [nodes.Text(text)]] for v, (_, text) in MEANING.items()]
        rows += [
            [[nodes.inline("", mark, classes=["ledger-mark"])], [nodes.Text(text)]]
            for mark, text in MARKS.items()
        ]
        return [table(["Verdict or mark", "Meaning"], rows)]

    def make_status(self, slot: Slot) -> list[nodes.Node]:
        """Chapters, levels, audits or versions of this build."""
        if slot["part"] == "chapters":
            return [chapter_table(self.env, self.book, self.uri)]
        if slot["part"] == "measurements":
            return [level_table(self.env, self.book)]
        if slot["part"] == "proofs":
            return [proofs_table(self.env, self.uri)]
        if slot["part"] == "library":
            return [library_table(self.env)]
        if slot["part"] == "reruns":
            return [reruns_table(self.env)]
        return [versions_table(self.env)]

    # -------------------------------------------------------------------------- the claims

    def make_index(self, slot: Slot) -> list[nodes.Node]:
        """All claims in one list that can be filtered."""
        rows = list(self.book.rows.values())
        found = groups(rows, homes(self.env), self.env)
        bar = filter_bar(rows, chapters_of(rows, self.env))
        return [raw(bar + index_html(found, self.claim_address, self.uri))]

    def make_filter(self, slot: Slot) -> list[nodes.Node]:
        """The filters of a page of cards."""
        rows = [self.book.rows[name] for name in slot["claims"] if name in self.book.rows]
        return [raw(filter_bar(rows, chapters_of(rows, self.env)))]

    def colour(self, card: Card) -> None:
        """Give a card its verdict's colour, and what the filters ask for."""
        row = self.book.rows.get(card["claim"])
        if row is not None:
            kind = str(row.evidence.get("kind", ""))
            card["classes"].append(css_class(row.verdict))
            card["data"] = {
                "verdict": row.verdict,
                "kind": KINDS.get(kind, kind),
                "chapter": row.claim.chapter,
            }

    def make_body(self, slot: Slot) -> list[nodes.Node]:
        """Statement, evidence, premises and cell of a claim."""
        row = self.book.rows.get(slot["claim"])
        if row is None:
            return []
        result: list[nodes.Node] = []
        if row.corrected:
            result.append(self.side_by_side(row))
        elif row.printed:
            result.append(display(row.printed))
        result += self.listed(row)
        if row.doubts:
            result.append(self.doubt(row))
        return result

    def listed(self, row: Row) -> list[nodes.Node]:
        """What is known about a claim, in one line that wraps."""
        facts = nodes.bullet_list(classes=["ledger-facts"])
        for name, content in self.facts(row):
            item = nodes.list_item()
            line = nodes.paragraph()
            line += nodes.inline("", f"{name}: ", classes=["ledger-fact"])
            line += content
            item += line
            facts += item
        return [facts] if len(facts) else []

    def side_by_side(self, row: Row) -> nodes.container:
        """The printed and the corrected form, one beside the other where there is room."""
        pair = nodes.container(classes=["ledger-pair"], is_div=True)
        forms = [("as printed", row.printed), ("corrected", row.corrected)]
        for name, latex in forms:
            holder = nodes.container(classes=["ledger-form"], is_div=True)
            holder += nodes.paragraph("", name, classes=["ledger-label"])
            if latex:
                holder += display(latex)
            else:
                none = "none: it fails, and nothing takes its place" if name == "corrected" else ""
                if row.claim.corrected_by or row.verdict == "corrected":
                    none = "in words, in the sentence above"
                holder += nodes.paragraph("", none or "in words", classes=["ledger-none"])
            pair += holder
        return pair

    def facts(self, row: Row) -> list[tuple[str, list[nodes.Node]]]:
        """What is known about a claim: (name, content)."""
        facts: list[tuple[str, list[nodes.Node]]] = []
        summary = str(row.evidence.get("summary") or "")
        if summary:
            facts.append(("evidence", [raw(late_html(rounded(summary)))]))
        tried = self.audited.get(row.claim.chapter, {}).get(row.claim.id)
        if tried is not None:
            facts.append(("premises", [nodes.Text(premises(row.claim.id, tried))]))
        if row.claim.effect is not None:
            reason = row.claim.effect_reason
            note = percent(row.claim.effect) + (f", because {reason}" if reason else "")
            facts.append(("effect that matters", [nodes.Text(note)]))
        detectable = mde_text(row.mde)
        if row.margin is not None and not detectable:
            facts.append(("margin", [nodes.Text(f"{row.margin:.2f} of the critical value")]))
        if detectable:
            margin = f"{row.margin:.2f} of the critical value, " if row.margin is not None else ""
            note = f"{margin}would see errors of {detectable} with probability 0.99"
            level = f" ({row.claim.level} level)" if row.claim.level else ""
            facts.append(("margin", [nodes.Text(note + level)]))
        address = self.cell_address(row)
        if address is not None:
            title = chapter_title(self.env, row.claim.chapter)
            link = nodes.reference("", title, refuri=address, internal=True)
            facts.append(("cell", [link]))
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

    # --------------------------------------------------------------- the graph of a chapter

    def make_graph(self, slot: Slot) -> list[nodes.Node]:
        """Which claims of a chapter rest on which, and on which premises from elsewhere."""
        rows = self.book.rows
        inside = {c for c, row in rows.items() if row.claim.chapter == slot["chapter"]}
        edges = [(p, c) for c in inside for p in rows[c].claim.uses if p in rows]
        connected = {name for edge in edges for name in edge}
        shown = [c for c in rows if c in connected]
        if not edges:
            text = "No claim of this chapter rests on another claim."
            return [nodes.paragraph("", text)]

        def describe(claim_id: str) -> NodeText:
            row = rows[claim_id]
            doubt = ", rests on what does not hold as printed" if row.doubts else ""
            css = [css_class(row.verdict), *(["lg-doubt"] if doubt else [])]
            if claim_id not in inside:
                css.append("lg-outside")
            return NodeText(
                label=short_label(row.claim),
                icon=ICONS[row.verdict],
                title=f"{row.claim.citation or claim_id}: {row.verdict}{doubt}",
                href=self.claim_address(claim_id) or "",
                css=" ".join(css),
            )

        svg = draw(shown, sorted(edges), describe)
        frame = '<div class="ledger-graph-frame" role="group" tabindex="0" aria-label='
        label = '"Which claim of the chapter rests on which; each card says it in words"'
        return [raw(f"{frame}{label}>\n{svg}\n</div>")]

    def make_checked(self, slot: Slot) -> list[nodes.Node]:
        """Links to the claims of other sources that a chapter checks."""
        rows = self.book.rows
        found = [
            c
            for c, row in rows.items()
            if row.claim.chapter == slot["chapter"] and c not in set(slot["claims"])
        ]
        if not found:
            return []
        holder = nodes.bullet_list(classes=["ledger-elsewhere"])
        for name in found:
            item, line = nodes.list_item(), nodes.paragraph()
            link = self.claim_link(name, rows[name].claim.citation)
            line += [badge(rows[name].verdict), nodes.Text(" "), link]
            item += line
            holder += item
        words = "The chapter also checks these claims of others:"
        return [nodes.paragraph("", words), holder]

    # -------------------------------------------------------------------------- the errata

    def make_severity(self, slot: Slot) -> list[nodes.Node]:
        """How bad an erratum is."""
        row = self.book.rows.get(slot["claim"])
        if row is None:
            return []
        return [nodes.inline("", severity(row.claim), classes=["ledger-severity"])]

    def make_erratum(self, slot: Slot) -> list[nodes.Node]:
        """Both forms, evidence, and how to dispute it."""
        row = self.book.rows.get(slot["claim"])
        if row is None:
            return []
        result: list[nodes.Node] = []
        if row.printed or row.corrected:
            result.append(self.side_by_side(row))
        result += self.listed(row)
        (facts,) = result[-1:]
        item, line = nodes.list_item(), nodes.paragraph()
        line += [self.claim_link(row.claim.id, "claim"), nodes.Text(" · ")]
        line += nodes.reference("", "dispute", refuri=self.dispute(row), internal=False)
        item += line
        facts += item
        return result

    def dispute(self, row: Row) -> str:
        """Address at which an issue about an erratum is opened."""
        options = getattr(self.app.config, "html_theme_options", None) or {}
        repository = str(options.get("repository_url", "")).rstrip("/")
        return f"{repository}/issues/new?title={quote(f'Erratum: {row.claim.id}')}"

    def make_severities(self, slot: Slot) -> list[nodes.Node]:
        """What each severity means, and how many errata of a source have which."""
        errata = [row for row in self.book.rows.values() if row.verdict in ERRATA]
        if not errata:
            text = "No claim checked so far had to be corrected or was refuted."
            return [nodes.paragraph("", text)]
        counts: dict[str, dict[str, int]] = {}
        for row in errata:
            of_source = counts.setdefault(row.claim.source, dict.fromkeys(SEVERITIES, 0))
            of_source[severity(row.claim)] += 1
        used = [s for s in SEVERITIES if any(c[s] for c in counts.values())]
        rows = []
        for source in in_order(counts, {s: sum(c.values()) for s, c in counts.items()}):
            found = counts[source]
            name = unescape(source_name(errata, source))
            link = nodes.reference("", name, refuri=f"#errata-{source}", internal=True)
            cells = [[nodes.Text(str(found[s]) if found[s] else "–")] for s in used]
            rows.append([[link], *cells, [nodes.Text(str(sum(found.values())))]])
        total = [str(sum(c[s] for c in counts.values())) for s in used]
        rows.append([[nodes.Text(t)] for t in ("all", *total, str(len(errata)))])
        meaning = text_table(["Severity", "Meaning"], [(s, SEVERITIES[s]) for s in used])
        head = ["Source", *used, "all"]
        return [table(head, rows, ["ledger-summary"]), meaning]


def in_order(sources: Iterable[str], sizes: Mapping[str, int]) -> list[str]:
    """Papers, then libraries, then the book; what has more comes first."""
    return sorted(sources, key=lambda s: (s == "book", not is_paper(s), -sizes[s]))


def source_name(rows: Sequence[Row], source: str) -> str:
    """Name of a source, as its claims cite it."""
    claim = next(row.claim for row in rows if row.claim.source == source)
    return claim.citation.removesuffix(f", {claim.locator}") or source
