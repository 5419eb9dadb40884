"""How large the letters of a figure are on a page.

Matplotlib writes each text of an SVG as a group whose ``scale`` is the size of its letters over
100, and browsers write ``<text>`` elements with a font size.  The drawing's ``viewBox`` and the
width that the page gives it turn both into pixels.
"""

from __future__ import annotations

import base64
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

_FONT_SCALE = 100  # matplotlib.textpath.TextToPath.FONT_SCALE
_TEXT = re.compile(
    r'<g id="text_\d+"[^>]*>\s*(?:<!--.*?-->\s*)?<g [^>]*?scale\(([\d.]+)', flags=re.S
)
_FONT_SIZE = re.compile(r"<text\b[^>]*?font(?:-size)?\s*[:=][^;>]*?([\d.]+)px", flags=re.S)
_VIEW_BOX = re.compile(r'<svg[^>]*?viewBox="[\d.-]+ [\d.-]+ ([\d.]+) [\d.]+"', flags=re.S)


def smallest_letters(svg: str) -> float | None:
    """Size of a drawing's smallest letters, as a part of the drawing's width.

    Superscripts and subscripts count as the letters that they stand at.

    Args:
        svg: Text of an SVG file.

    Returns:
        Font size over width; None for a drawing without letters or without a ``viewBox``.
    """
    sizes = [_FONT_SCALE * float(size) for size in _TEXT.findall(svg)]
    sizes += [float(size) for size in _FONT_SIZE.findall(svg)]
    box = _VIEW_BOX.search(svg)
    return min(sizes) / float(box[1]) if sizes and box else None


def read(address: str) -> str:
    """Text of the SVG image that an address names: a file or the data itself; else empty."""
    if address.startswith("data:image/svg+xml"):
        head, _, body = address.partition(",")
        return base64.b64decode(body).decode() if head.endswith("base64") else unquote(body)
    parts = urlsplit(address)
    path = Path(unquote(parts.path))
    return path.read_text(encoding="utf-8") if path.suffix == ".svg" and path.exists() else ""
