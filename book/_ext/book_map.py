"""Maps of the book: all chapters with what each rests on, and paths through some of them.

``{book-map}`` lists the chapters by part, each with its question, the minutes it takes and the
chapters that it rests on: those before it whose claims its own claims use.  A chapter behind it
whose claims it uses is one that it looks ahead to, so what rests on what has no circle.
``{book-path}`` lists the chapters that it names, one per line, with the minutes of all.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml
from docutils import nodes
from docutils.statemachine import StringList
from ledger_env import depend_on_claims, registered
from reading import read
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from snnlib.ledger import Claim


class Chapter(NamedTuple):
    """A chapter as the map shows it."""

    file: str
    title: str
    question: str
    minutes: int

    @property
    def slug(self) -> str:
        """The chapter's name in the list of claims."""
        return self.file.rpartition("/")[2]


def chapter(file: str, text: str) -> Chapter:
    """Title, question and minutes of a text notebook.

    >>> text = "# A title\\n\\n## In short\\n\\n*Which\\nis it?*\\n\\nThis one.\\n"
    >>> chapter("notebooks/a", text)
    Chapter(file='notebooks/a', title='A title', question='Which is it?', minutes=1)
    """
    title = re.search(r"^# (.+)$", text, flags=re.M)
    question = re.search(r"^## In short\n+\*([^*]+)\*$", text, flags=re.M)
    if title is None or question is None:
        raise ValueError(f"{file} has no title, or no question in italics below In short")
    return Chapter(file, title[1], " ".join(question[1].split()), read(text).minutes)


def parts(toc: dict[str, Any], root: Path) -> dict[str, list[Chapter]]:
    """The chapters of a table of contents, by the caption of their part."""
    found: dict[str, list[Chapter]] = {}
    for part in toc["parts"]:
        for entry in part["chapters"]:
            file = entry["file"]
            if file.startswith("notebooks/"):
                text = (root / f"{file}.md").read_text(encoding="utf-8")
                found.setdefault(part["caption"], []).append(chapter(file, text))
    return found


class Uses(NamedTuple):
    """The chapters whose claims a chapter uses, in reading order: those before it, those behind."""

    before: tuple[str, ...]
    behind: tuple[str, ...]


def foundations(claims: Mapping[str, Claim], order: Sequence[str]) -> dict[str, Uses]:
    """For each chapter of a reading order the other chapters whose claims its own claims use.

    >>> from types import SimpleNamespace as Claim
    >>> claims = {
    ...     "a": Claim(chapter="first", uses=("c",)),
    ...     "b": Claim(chapter="second", uses=("a",)),
    ...     "c": Claim(chapter="second", uses=("b",)),
    ... }
    >>> for chapter, uses in foundations(claims, ["first", "second"]).items():
    ...     print(chapter, uses)
    first Uses(before=(), behind=('second',))
    second Uses(before=('first',), behind=())
    """
    used: dict[str, set[str]] = {name: set() for name in order}
    for claim in claims.values():
        for name in claim.uses:
            if name in claims and claims[name].chapter != claim.chapter:
                used.setdefault(claim.chapter, set()).add(claims[name].chapter)
    return {
        name: Uses(
            tuple(one for one in order[:place] if one in used[name]),
            tuple(one for one in order[place + 1 :] if one in used[name]),
        )
        for place, name in enumerate(order)
    }


class MapDirective(SphinxDirective):
    """A directive that lists chapters."""

    def chapters(self) -> dict[str, list[Chapter]]:
        """The chapters of the table of contents, by the caption of their part."""
        root = Path(self.env.srcdir)
        self.env.note_dependency(str(root / "_toc.yml"))
        found = parts(yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8")), root)
        for chapters in found.values():
            for one in chapters:
                self.env.note_dependency(str(root / f"{one.file}.md"))
        return found

    def parsed(self, lines: list[str], kind: str) -> list[nodes.Node]:
        """A container of a class with lines of the page's language."""
        holder = nodes.container(classes=[kind])
        source = str(Path(self.env.srcdir) / "_toc.yml")
        self.state.nested_parse(StringList(lines, source=source), self.content_offset, holder)
        return [holder]


def link(chapter: Chapter) -> str:
    """A link to a chapter."""
    return f"{{doc}}`{chapter.title} </{chapter.file}>`"


class BookMap(MapDirective):
    """One list for each part."""

    def run(self) -> list[nodes.Node]:
        """Return the lists."""
        depend_on_claims(self.env)
        by_part = self.chapters()
        place = {one.slug: one for chapters in by_part.values() for one in chapters}
        uses = foundations(registered(self.env).claims, list(place))
        lines = []
        for caption, chapters in by_part.items():
            lines += [f"**{caption}**", ""]
            for one in chapters:
                before, behind = (
                    ", ".join(link(place[name]) for name in names) for names in uses[one.slug]
                )
                rests = f" Rests on {before}." * bool(before)
                rests += f" Looks ahead to {behind}." * bool(behind)
                lines += [f"* {link(one)}, {one.minutes} min. {one.question}{rests}"]
            lines += [""]
        return self.parsed(lines, "book-map")


class BookPath(MapDirective):
    """Some chapters in an order, with the minutes of all."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """Return the list; a name that is no chapter is an error."""
        known = {one.slug: one for chapters in self.chapters().values() for one in chapters}
        names = [name for line in self.content if (name := line.strip())]
        if unknown := [name for name in names if name not in known]:
            raise self.error(f"book-path: no chapter {', '.join(unknown)}")
        chosen = [known[name] for name in names]
        lines = [f"1. {link(one)}, {one.minutes} min. {one.question}" for one in chosen]
        total = sum(one.minutes for one in chosen)
        lines += ["", f"Together {total} minutes."]
        return self.parsed(lines, "book-path")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directives."""
    app.setup_extension("ledger_pages")
    app.add_directive("book-map", BookMap)
    app.add_directive("book-path", BookPath)
    return {"version": "3", "parallel_read_safe": True, "parallel_write_safe": True}
