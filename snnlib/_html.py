"""Numbers as a reader writes them, and tables of text as HTML, for notebooks and the book."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from decimal import Decimal
from html import escape

_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_MATHEMATICS = re.compile(r"(\\\(.*?\\\)|`[^`]*`)", flags=re.S)
_POWER = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)e([+-]?\d+)(?!\w)")
_MINUS = re.compile(r"(?<![\w=)\]*/.,])-(?=\d)")
_PLAIN = range(-3, 6)  # exponents that need no power of ten


def ten(exponent: int) -> str:
    """A power of ten.

    Example:
        >>> ten(-20)
        '10⁻²⁰'
    """
    return f"10{str(exponent).translate(_RAISED)}"


def readable(text: str) -> str:
    r"""A text whose numbers have no exponent behind an e and no hyphen for a minus.

    Mathematics, \( ... \), and code in backticks stay as they are.

    Example:
        >>> readable("-2.82e-20 ± 1e-21, 3.5e-02, 1.19e+05, 0e+00 and fc-1")
        '−2.82·10⁻²⁰ ± 10⁻²¹, 0.035, 119,000, 0 and fc-1'
    """

    def power(match: re.Match[str]) -> str:
        mantissa, exponent = match[1], int(match[2])
        if not float(mantissa):
            return "0"
        if exponent in _PLAIN:
            number = Decimal(match[0])
            return f"{number:,f}" if number >= 10_000 else f"{number:f}"
        return ten(exponent) if mantissa == "1" else f"{mantissa}·{ten(exponent)}"

    parts = _MATHEMATICS.split(text)
    parts[::2] = [_MINUS.sub("−", _POWER.sub(power, part)) for part in parts[::2]]
    return "".join(parts)


def table(
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    caption: str = "",
    *,
    folded: str = "",
) -> str:
    r"""A table whose cells are text, made `readable`, which may hold mathematics as \( ... \).

    Args:
        head: Headings.
        rows: Cells, row by row.
        caption: Text above the table; none if empty.
        folded: Label of a fold that hides the table until it is opened; none if empty.

    Returns:
        The HTML, in the classes that notebooks and the book's theme style.

    Example:
        >>> "<td>a &lt; b</td>" in table(["x"], [["a < b"]])
        True
    """

    def text(cell: str) -> str:
        return escape(readable(cell), quote=False)

    heads = "".join(f'<th scope="col">{text(cell)}</th>' for cell in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{text(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    title = f"<caption>{text(caption)}</caption>" if caption else ""
    shown = (
        f'<div class="snn-table"><table class="dataframe table">{title}<thead><tr>{heads}</tr>'
        f"</thead><tbody>{body}</tbody></table></div>"
    )
    return f"<details><summary>{text(folded)}</summary>{shown}</details>" if folded else shown
