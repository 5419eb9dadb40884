"""A term leads to the section that derives it: from the search, the index and the glossary.

A chapter marks the section with ``{index} ! term``, which the search ranks first for the term.  Its
entry leads to the section, whose text the search quotes, not to an empty place in it.  The entries
that a glossary makes by itself rank after it, and the glossary's own links to the chapter lead on
to the section.  A term of the glossary without a section, or with a link elsewhere, is a warning.
"""

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform
from sphinx.util import logging

logger = logging.getLogger(__name__)


class LeadToSections(SphinxTransform):
    """Entries of main importance lead to their section; a glossary's are of less importance."""

    default_priority = 840  # the entries are collected at 850

    def apply(self, **_: Any) -> None:
        """Write the entries of a page anew."""
        for found in self.document.findall(addnodes.index):
            section, below = found.parent, found.parent
            while below is not None and not isinstance(below, addnodes.glossary):
                below = below.parent
            while section is not None and not isinstance(section, nodes.section):
                section = section.parent
            found["entries"] = [
                (kind, term, place, "", key)
                if below is not None
                else (kind, term, section["ids"][0] if main and section else place, main, key)
                for kind, term, place, main, key in found["entries"]
            ]


def sections(app: Sphinx) -> dict[str, tuple[str, str]]:
    """For each term the page and the section that derive it."""
    return {
        term: (page, place)
        for page, entries in app.env.get_domain("index").entries.items()  # type: ignore[attr-defined]
        for _, term, place, main, _ in entries
        if main
    }


def link_glossary(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Let the links of a glossary lead to sections."""
    known: dict[str, tuple[str, str]] | None = None
    for glossary in doctree.findall(addnodes.glossary):
        known = sections(app) if known is None else known
        for item in glossary.findall(nodes.definition_list_item):
            for term in item.findall(nodes.term):
                link(app, item, term.astext(), known, docname)


def link(
    app: Sphinx,
    item: nodes.Element,
    term: str,
    known: dict[str, tuple[str, str]],
    docname: str,
) -> None:
    """Let the link of one term lead to its section."""
    if term not in known:
        logger.warning("glossary: no section derives %s", term, location=docname)
        return
    page, place = known[term]
    address = app.builder.get_relative_uri(docname, page)
    links = [found for found in item.findall(nodes.reference) if found.get("internal")]
    if address not in [found.get("refuri") for found in links]:
        logger.warning("glossary: %s has no link to %s, which derives it", term, page,
                       location=docname)  # fmt: skip
    for found in links:
        if found.get("refuri") == address:
            found["refuri"] = f"{address}#{place}"


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the transform and the hook."""
    app.add_transform(LeadToSections)
    app.connect("doctree-resolved", link_glossary)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
