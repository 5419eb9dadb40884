"""The list of all claims, and the filters of a list: HTML that works without a server.

Each row and card says its verdict, kind and chapter in ``data-`` attributes; ``ledger.js`` hides
what does not fit.  Without it the filters stay hidden and everything is shown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import NamedTuple

from formula import sentence_html
from ledger_env import chapter_order, chapter_title
from ledger_model import KINDS, MISSING, Book, Row, css_class, is_paper, short_label
from sphinx.environment import BuildEnvironment

from snnlib.ledger import VERDICTS

FEW = 8
"""A list of fewer claims needs no filters."""


class Group(NamedTuple):
    """The claims of one page, as the index shows them."""

    heading: str
    title: str
    docname: str
    rows: list[Row]


def kind_of(row: Row) -> str:
    """How a claim was checked, in the pages' words."""
    kind = str(row.evidence.get("kind", ""))
    return KINDS.get(kind, kind)


def groups(rows: Sequence[Row], homes: Mapping[str, str], env: BuildEnvironment) -> list[Group]:
    """The claims by page: papers, then libraries, then the book's own by chapter."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        if row.claim.id in homes:
            found.setdefault(homes[row.claim.id], []).append(row)
    order = chapter_order(env)

    def place(docname: str) -> tuple[int, int, str]:
        source = found[docname][0].claim.source
        part = 2 if source == "book" else 0 if is_paper(source) else 1
        slug = docname.rpartition("/")[2]
        return part, (order.get(slug, len(order)) if part == 2 else -len(found[docname])), docname

    headings = ("Papers", "Libraries", "Lemmas of this book, by chapter")
    return [
        Group(
            headings[place(docname)[0]],
            env.titles[docname].astext().removeprefix("Lemmas: "),
            docname,
            found[docname],
        )
        for docname in sorted(found, key=place)
    ]


def chapters_of(rows: Sequence[Row], env: BuildEnvironment) -> dict[str, str]:
    """Chapters that check some claims, in the book's order: slug -> title."""
    order = chapter_order(env)
    slugs = {row.claim.chapter for row in rows}
    return {
        slug: chapter_title(env, slug)
        for slug in sorted(slugs, key=lambda s: (order.get(s, len(order)), s))
    }


def filter_bar(rows: Sequence[Row], chapters: Mapping[str, str]) -> str:
    """The form that filters a list; it is hidden until the script has found it."""
    if len(rows) < FEW:
        return ""
    verdicts = Counter(row.verdict for row in rows)
    kinds = Counter(kind_of(row) for row in rows)
    in_chapter = Counter(row.claim.chapter for row in rows)
    fields = [
        _select("verdict", [(v, f"{v} ({verdicts[v]})") for v in (*VERDICTS, MISSING)], verdicts),
        _select("kind", [(k, f"{k} ({kinds[k]})") for k in KINDS.values()], kinds),
        _select("chapter", [(c, f"{t} ({in_chapter[c]})") for c, t in chapters.items()], chapters),
    ]
    text = (
        '<label>text <input type="search" name="text" autocomplete="off" '
        'placeholder="word or equation"></label>'
    )
    said = '<output class="ledger-found" aria-live="polite"></output>'
    reset = '<button type="reset">clear</button>'
    return (
        '<form class="ledger-filter" hidden role="search" aria-label="Filter the claims">'
        f"{''.join(fields)}{text}{reset}{said}</form>"
    )


def _select(name: str, options: Sequence[tuple[str, str]], present: Mapping[str, object]) -> str:
    """A menu of the values that occur; nothing where there is no choice."""
    found = [(value, text) for value, text in options if value and present.get(value)]
    if len(found) < 2:
        return ""
    inner = "".join(
        f'<option value="{escape(value, quote=True)}">{escape(text)}</option>'
        for value, text in [("", "any"), *found]
    )
    return f'<label>{name} <select name="{name}">{inner}</select></label>'


def index_html(
    found: Sequence[Group], address: Callable[[str], str | None], uri: Callable[[str], str]
) -> str:
    """All claims, folded by page."""
    out: list[str] = []
    heading = ""
    for group in found:
        if group.heading != heading:
            heading = group.heading
            out.append(f'<p class="ledger-index-heading rubric">{escape(heading)}</p>')
        counts = " ".join(
            f'<span class="ledger-badge {css_class(v)}">{n}<span class="sr-only"> {v}</span></span>'
            for v, n in Book({row.claim.id: row for row in group.rows}).counts().items()
        )
        rows = "\n".join(_row(row, address(row.claim.id) or "") for row in group.rows)
        number = f"{len(group.rows)} claim{'s' if len(group.rows) > 1 else ''}"
        out.append(
            f'<details class="ledger-group"><summary><span class="ledger-group-title">'
            f'{escape(group.title)}</span> <span class="ledger-group-counts">{counts}</span>'
            f"</summary>\n"
            f'<p class="ledger-group-link"><a class="reference internal" '
            f'href="{uri(group.docname)}">{number} with formulas and evidence</a></p>\n'
            f'<ul class="ledger-rows">\n{rows}\n</ul></details>'
        )
    return "\n".join(out)


def _row(row: Row, address: str) -> str:
    """One claim: verdict, where it is printed, and its sentence."""
    claim = row.claim
    return (
        f'<li id="{claim.anchor}" class="late" data-verdict="{row.verdict}" '
        f'data-kind="{kind_of(row)}" data-chapter="{claim.chapter}">'
        f'<span class="ledger-badge {css_class(row.verdict)}">{row.verdict}</span> '
        f'<a href="{address}">{escape(short_label(claim))}</a> '
        f"{sentence_html(claim.statement)}</li>"
    )
