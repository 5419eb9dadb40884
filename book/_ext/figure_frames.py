"""Frame the images of figures, so that the style sheet can fit them to dark pages and phones.

The style sheet turns a figure's lightness over on dark pages, which suits lines on white. A
picture inside a figure (an image, a heat map) would become a negative, so figures that hold one
get the class ``keep-colors`` and a white card. On a phone a wide figure (several panels, class
``wide``) stops shrinking where its letters would become unreadable and scrolls inside its frame.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

OPEN = (  # a keyboard reaches and scrolls it
    '<div class="figure-frame" tabindex="0" role="group" aria-label="Wide figure, may scroll">'
)
PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".gif")
WIDE = 470.0  # points; 6.5 inches


def classes_of(path: Path) -> list[str]:
    """Classes of an image, from what its file holds."""
    if path.suffix.lower() in PICTURES:
        return ["keep-colors"]
    if path.suffix != ".svg" or not path.exists():
        return []
    text = path.read_text("utf-8", "ignore")
    found = ["keep-colors"] if "<image" in text else []
    width = re.search(r'<svg[^>]*\bwidth="([\d.]+)pt"', text)
    if width and float(width[1]) > WIDE:
        found.append("wide")
    return found


def frame(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Mark the images of one page, and frame the wide figures."""
    for image in list(doctree.findall(nodes.image)):
        image["classes"] += classes_of(Path(app.srcdir) / image["uri"])
        if "wide" in image["classes"] and isinstance(image.parent, nodes.figure):
            place = image.parent.index(image)
            image.parent.insert(place + 1, nodes.raw("", "</div>", format="html"))
            image.parent.insert(place, nodes.raw("", OPEN, format="html"))


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the hook."""
    app.connect("doctree-resolved", frame)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
