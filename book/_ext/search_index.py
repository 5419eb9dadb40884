"""Keep code out of the search: it finds what a page says, not what its cells call."""

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx


def leave_out_code(app: Sphinx) -> None:
    """Have the builder index each page without its blocks of code and printed output."""
    index = getattr(app.builder, "index_page", None)
    if index is None:
        return

    def without_code(name: str, tree: nodes.document, title: str) -> None:
        text = tree.deepcopy()
        for kind in (nodes.literal_block, nodes.doctest_block):
            for block in list(text.findall(kind)):
                block.parent.remove(block)
        index(name, text, title)

    app.builder.index_page = without_code  # type: ignore[attr-defined]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the hook."""
    app.connect("builder-inited", leave_out_code)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
