"""Tables of computed numbers for chapters: one row per case, one column per oracle."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any

from snnlib._extras import require

__all__ = ["render", "table"]


def render(columns: Mapping[str, Sequence[Any]], formats: Mapping[str, str] | None = None) -> str:
    r"""HTML of a table; headers and strings may hold mathematics as \( ... \).

    Args:
        columns: values by header, all of the same length.
        formats: format specification by header for numbers; the default is ".4g".

    Returns:
        The HTML.

    Raises:
        ValueError: if the columns differ in length or a format names no column.

    Example:
        >>> "<td>0.25</td>" in render({"p": [0.25]})
        True
    """
    formats = dict(formats or {})
    unknown = set(formats) - set(columns)
    if unknown:
        raise ValueError(f"formats names no column: {sorted(unknown)}")
    lengths = {header: len(values) for header, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"columns must have one length, got {lengths}")

    def cell(header: str, value: Any) -> str:
        if isinstance(value, str):
            return html.escape(value, quote=False)
        if isinstance(value, Integral) and header not in formats:
            return str(value)
        return f"{float(value):{formats.get(header, '.4g')}}"

    head = "".join(f'<th scope="col">{html.escape(h, quote=False)}</th>' for h in columns)
    body = "".join(
        "<tr>"
        + "".join(f"<td>{cell(h, v)}</td>" for h, v in zip(columns, row, strict=True))
        + "</tr>"
        for row in zip(*columns.values(), strict=True)
    )
    return (
        '<div class="snn-table"><table class="dataframe table"><thead><tr>'
        f"{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def table(columns: Mapping[str, Sequence[Any]], formats: Mapping[str, str] | None = None) -> Any:
    """Return a table that a notebook displays; arguments as in `render`."""
    display = require("IPython.display", "book")
    return display.HTML(render(columns, formats))
