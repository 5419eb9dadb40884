"""The head of a chapter: the minutes it takes, and lines and a figure that its cells show below.

``{in-short}`` stands behind the answer of a chapter's first section. Its argument names a figure of
the page, its content claims of the page, one per line. Both are taken from the outputs of the
cells, wherever they stand: nothing is computed or typed twice. In a notebook it reads as a list.

    ```{in-short} fig-name
    book.claim-one
    paper2024.eq10
    ```
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.parsers.rst import directives
from ledger_pages import registered
from reading import Reading, read
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

logger = logging.getLogger(__name__)

LINE = re.compile(r'<div class="ledger ledger-[\w-]+" id="evidence-([\w-]+)">')
VERDICT = re.compile(r'<span class="ledger-verdict">([^<]+)</span>')
MARGIN = re.compile(r'<span class="ledger-margin">(.*?)</span><details')


class Shown(nodes.General, nodes.Element):
    """Where a line or a figure of the page goes; it is replaced once the page is read."""


class InShort(SphinxDirective):
    """Lines of the ledger and a figure, from the cells of the page."""

    has_content = True
    optional_arguments = 1
    option_spec = {"class": directives.class_option}  # noqa: RUF012

    def run(self) -> list[nodes.Node]:
        """Return the placeholders; each claim's sentence is parsed here."""
        found: list[nodes.Node] = []
        claims = registered(self.env).claims
        names = [name for line in self.content if (name := line.strip())]
        for name in names:
            claim = claims.get(name)
            if claim is None:
                logger.warning("in-short: no claim %s", name, location=self.get_location())
                continue
            sentence = nodes.inline(classes=["ledger-sentence"])
            parsed, messages = self.parse_inline(claim.statement)
            sentence += [*parsed, *messages]
            found.append(Shown("", sentence, kind="line", name=name, anchor=claim.anchor))
        holder = nodes.container("", *found, classes=["in-short-lines"])
        if not self.arguments:
            return [holder]
        return [holder, Shown(kind="figure", name=self.arguments[0])]


def _location(shown: Shown, docname: str) -> Any:
    return shown if shown.line else docname


def line(shown: Shown, outputs: dict[str, str]) -> nodes.Node:
    """A line: the verdict that the cell below found, the claim's sentence, and a link there."""
    text = outputs[shown["anchor"]]
    verdict = VERDICT.search(text)
    assert verdict is not None
    slug = verdict[1].replace(" ", "-")
    paragraph = nodes.paragraph(classes=["in-short-line", f"ledger-{slug}"])
    paragraph += nodes.inline("", verdict[1], classes=["ledger-verdict"])
    paragraph += nodes.Text(" ")
    paragraph += shown.children
    paragraph += nodes.Text(" ")
    paragraph += nodes.reference("", "how", refid=f"evidence-{shown['anchor']}", internal=True)
    return paragraph


def figure(name: str, doctree: nodes.document) -> nodes.Node | None:
    """The image of a figure of the page, as a link to it, or a figure that a cell made as HTML."""
    for found in doctree.findall(nodes.figure):
        if name in [*found["ids"], *found["names"]]:
            images = list(found.findall(nodes.image))
            if not images:
                return None
            image = images[0].deepcopy()
            image["ids"], image["names"] = [], []
            link = nodes.reference("", "", image, refid=found["ids"][0], internal=True)
            return nodes.container("", link, classes=["in-short-figure"])
    for raw in doctree.findall(nodes.raw):
        match = re.search(rf'<figure class="snn-figure" id="{re.escape(name)}">.*?</figure>',
                          raw.astext(), flags=re.S)  # fmt: skip
        if match:
            text = match[0].replace(f' id="{name}"', "", 1)
            text = re.sub(r"<figcaption>.*?</figcaption>", "", text, flags=re.S)
            link = f'<a href="#{name}" aria-label="The figure with its caption">'
            text = re.sub(r"<img [^>]*>", rf"{link}\g<0></a>", text)
            return nodes.container(
                "", nodes.raw("", text, format="html"), classes=["in-short-figure"]
            )
    return None


def fill(app: Sphinx, doctree: nodes.document) -> None:
    """Replace the placeholders of a page; say under its title how long it takes to read."""
    docname = app.env.docname
    path = Path(app.env.doc2path(docname))
    if docname.startswith("notebooks/") and path.suffix == ".md":
        say_minutes(doctree, read(path.read_text(encoding="utf-8")))
    places = list(doctree.findall(Shown))
    if not places:
        return
    outputs = {
        match[1]: raw.astext()
        for raw in doctree.findall(nodes.raw)
        if (match := LINE.search(raw.astext()))
    }
    for shown in places:
        made: nodes.Node | None
        if shown["kind"] == "line":
            made = line(shown, outputs) if shown["anchor"] in outputs else None
        else:
            made = figure(shown["name"], doctree)
        if made is None:
            logger.warning(
                "in-short: no cell of this page shows %s", shown["name"], location=docname
            )
            shown.parent.remove(shown)
        else:
            shown.replace_self(made)


def say_minutes(doctree: nodes.document, reading: Reading) -> None:
    """Put the minutes under the title."""
    title = next(iter(doctree.findall(nodes.title)), None)
    if title is not None:
        words = f"{reading.minutes} minutes to read."
        place = title.parent.index(title) + 1
        title.parent.insert(place, nodes.paragraph("", words, classes=["reading-time"]))


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive and the hook."""
    app.setup_extension("ledger_pages")
    app.add_node(Shown)
    app.add_directive("in-short", InShort)
    app.connect("doctree-read", fill, priority=400)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
