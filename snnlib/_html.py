"""Tables of text as HTML, for notebooks and the book."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape


def table(head: Sequence[str], rows: Iterable[Sequence[str]], caption: str = "") -> str:
    r"""A table whose cells are text, which may hold mathematics as \( ... \).

    Args:
        head: Headings.
        rows: Cells, row by row.
        caption: Text above the table; none if empty.

    Returns:
        The HTML, in the classes that notebooks and the book's theme style.

    Example:
        >>> "<td>a &lt; b</td>" in table(["x"], [["a < b"]])
        True
    """

    def text(cell: str) -> str:
        return escape(cell, quote=False)

    heads = "".join(f'<th scope="col">{text(cell)}</th>' for cell in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{text(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    title = f"<caption>{text(caption)}</caption>" if caption else ""
    return (
        f'<div class="snn-table"><table class="dataframe table">{title}<thead><tr>{heads}</tr>'
        f"</thead><tbody>{body}</tbody></table></div>"
    )
