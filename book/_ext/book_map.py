"""``{book-map}``: the chapters by part, each with its question and the minutes it takes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from docutils import nodes
from docutils.statemachine import StringList
from reading import read
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective


class Chapter(NamedTuple):
    """A chapter as the map shows it."""

    file: str
    title: str
    question: str
    minutes: int


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


class BookMap(SphinxDirective):
    """One list for each part."""

    def run(self) -> list[nodes.Node]:
        """Return the lists."""
        root = Path(self.env.srcdir)
        self.env.note_dependency(str(root / "_toc.yml"))
        toc = yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))
        lines = []
        for caption, chapters in parts(toc, root).items():
            lines += [f"**{caption}**", ""]
            for found in chapters:
                self.env.note_dependency(str(root / f"{found.file}.md"))
                link = f"{{doc}}`{found.title} </{found.file}>`"
                lines += [f"* {link}, {found.minutes} min. {found.question}"]
            lines += [""]
        holder = nodes.container(classes=["book-map"])
        self.state.nested_parse(
            StringList(lines, source=str(root / "_toc.yml")), self.content_offset, holder
        )
        return [holder]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("book-map", BookMap)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
