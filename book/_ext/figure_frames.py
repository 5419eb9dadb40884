"""Frame the images of figures, so that the style sheet can fit them to dark pages and phones.

The style sheet turns a figure's lightness over on dark pages, which suits lines on white. A
picture inside a figure (an image, a heat map) would become a negative, so figures that hold one
get the class ``keep-colors`` and a white card. On a phone a figure stops shrinking where its
letters would become unreadable (the variable ``--readable``) and scrolls inside its frame.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

from snnlib.page import figures

OPEN = (  # a keyboard reaches and scrolls it
    '<div class="figure-frame" tabindex="0" role="group" aria-label="Figure, may scroll" '
    'style="--readable: {}px">'
)
PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".gif")


def keeps_colors(path: Path) -> bool:
    """Whether an image is, or holds, a picture whose colours mean something."""
    if path.suffix.lower() in PICTURES:
        return True
    return path.suffix == ".svg" and path.exists() and "<image" in path.read_text("utf-8", "ignore")


def readable_width(path: Path) -> int:
    """Pixels that a figure needs for its letters; 0 if it has none."""
    if path.suffix != ".svg" or not path.exists():
        return 0
    return math.ceil(figures.least_width(path.read_text("utf-8", "ignore")))


def frame(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Mark the images of one page, and frame those with letters."""
    for image in list(doctree.findall(nodes.image)):
        path = Path(app.srcdir) / image["uri"]
        if keeps_colors(path):
            image["classes"].append("keep-colors")
        least = readable_width(path)
        holder = image.parent
        if isinstance(holder, nodes.reference):  # what stands in short links to its figure
            image, holder = holder, holder.parent
        if least:
            place = holder.index(image)
            holder.insert(place + 1, nodes.raw("", "</div>", format="html"))
            holder.insert(place, nodes.raw("", OPEN.format(least), format="html"))


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the hook."""
    app.connect("doctree-resolved", frame)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
