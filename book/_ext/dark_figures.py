"""Mark the figures that must keep their colours in the dark.

The style sheet turns a figure's lightness over on dark pages, which suits lines on white. A
picture inside a figure (an image, a heat map) would become a negative, so figures that hold one
get the class ``keep-colors`` and a white card.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".gif")


def keeps_colors(path: Path) -> bool:
    """Whether an image file is a picture or holds one."""
    if path.suffix.lower() in PICTURES:
        return True
    return path.suffix == ".svg" and path.exists() and "<image" in path.read_text("utf-8", "ignore")


def mark(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Give the class to the images of one page."""
    for image in doctree.findall(nodes.image):
        if keeps_colors(Path(app.srcdir) / image["uri"]):
            image["classes"].append("keep-colors")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the hook."""
    app.connect("doctree-resolved", mark)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
