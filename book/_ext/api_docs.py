"""Make docstrings that read well in a terminal read well on the API page.

Mathematics between dollars becomes mathematics, bars are not taken for substitutions, and fields
of named tuples, which the docstring describes, are not listed again.
"""

from __future__ import annotations

import re
from typing import Any

from sphinx.application import Sphinx

_BARS = re.compile(r"(?<![\\`|\w])\|(?=\S)([^|`\n]*?\S)\|(?![|_`])")


def _display_math(lines: list[str]) -> list[str]:
    """Turn formulas between double dollars, on lines of their own, into math directives."""
    text = "\n".join(lines)

    def directive(match: re.Match[str]) -> str:
        indent = match[1]
        body = [f"{indent}   {line.strip()}" for line in match[2].strip().splitlines()]
        return "\n".join(["", f"{indent}.. math::", "", *body, ""])

    return re.sub(r"^([ ]*)\$\$(.+?)\$\$[ ]*$", directive, text, flags=re.M | re.S).split("\n")


def translate(lines: list[str]) -> list[str]:
    r"""Turn ``$x$`` into mathematics and escape bars; literals, roles and doctests stay.

    >>> translate(["$$a = b$$"])
    ['', '.. math::', '', '   a = b', '']
    >>> translate(["stable if |slope| < 1, see ``|x|``", r"$u - \\theta$ in `x`"])
    ['stable if \\|slope\\| < 1, see ``|x|``', ':math:`u - \\\\theta` in `x`']
    """
    translated = []
    math_indent: int | None = None
    for line in _display_math(lines):
        indent = len(line) - len(line.lstrip())
        if line.strip() and math_indent is not None and indent <= math_indent:
            math_indent = None
        if math_indent is None and line.lstrip().startswith(".. math::"):
            math_indent = indent
        if math_indent is None and not line.lstrip().startswith((">>>", "...")):
            pieces = re.split(r"(``.*?``|(?<!\w)`[^`]+`|\$[^$`]+\$)", line)
            pieces[::2] = [_BARS.sub(r"\\|\1\\|", piece) for piece in pieces[::2]]
            pieces[1::2] = [
                f":math:`{piece[1:-1]}`" if piece.startswith("$") else piece
                for piece in pieces[1::2]
            ]
            line = "".join(pieces)
        translated.append(line)
    return translated


def process_docstring(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]
) -> None:
    """Translate one docstring."""
    lines[:] = translate(lines)


def keep_colon(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Keep napoleon from taking what stands before a property's colon for its type."""
    if what == "property" and lines:
        lines[0] = lines[0].replace(": ", " – ", 1)


def skip_member(
    app: Sphinx, what: str, name: str, obj: Any, skip: bool, options: Any
) -> bool | None:
    """Leave out a named tuple's fields: its docstring describes them."""
    return True if type(obj).__name__ == "_tuplegetter" else None


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the hooks."""
    app.connect("autodoc-process-docstring", keep_colon, priority=100)
    app.connect("autodoc-process-docstring", process_docstring, priority=900)
    app.connect("autodoc-skip-member", skip_member)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
