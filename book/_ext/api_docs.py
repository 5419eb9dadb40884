"""Keep the API page quiet: no fields that say nothing, no bars taken for substitutions."""

from __future__ import annotations

import re
from typing import Any

from sphinx.application import Sphinx

_BARS = re.compile(r"(?<![\\`|\w])\|(?=\S)([^|`\n]*?\S)\|(?![|_`])")


def escape_bars(lines: list[str]) -> list[str]:
    r"""Escape absolute values such as \|x\|, which reStructuredText takes for substitutions.

    Literals, roles and mathematics stay as they are.

    >>> escape_bars(["stable if |slope| < 1, see ``|x|``"])[0]
    'stable if \\|slope\\| < 1, see ``|x|``'
    """
    escaped = []
    math_indent: int | None = None
    for line in lines:
        indent = len(line) - len(line.lstrip())
        if line.strip() and math_indent is not None and indent <= math_indent:
            math_indent = None
        if math_indent is None and line.lstrip().startswith(".. math::"):
            math_indent = indent
        if math_indent is None and not line.lstrip().startswith(">>>"):
            pieces = re.split(r"(``.*?``|`.*?`)", line)
            pieces[::2] = [_BARS.sub(r"\\|\1\\|", piece) for piece in pieces[::2]]
            line = "".join(pieces)
        escaped.append(line)
    return escaped


def process_docstring(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]
) -> None:
    """Escape bars in a docstring."""
    lines[:] = escape_bars(lines)


def skip_member(
    app: Sphinx, what: str, name: str, obj: Any, skip: bool, options: Any
) -> bool | None:
    """Leave out a named tuple's fields: its docstring describes them."""
    return True if type(obj).__name__ == "_tuplegetter" else None


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the hooks."""
    app.connect("autodoc-process-docstring", process_docstring, priority=900)
    app.connect("autodoc-skip-member", skip_member)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
