"""Tables of computed numbers for chapters: one row per case, one column per oracle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any

from snnlib import _html
from snnlib._extras import require

__all__ = ["fields", "render", "table"]

readable = _html.readable


def render(
    columns: Mapping[str, Sequence[Any]],
    formats: Mapping[str, str] | None = None,
    *,
    folded: str = "",
) -> str:
    r"""HTML of a table; headers and strings may hold mathematics as \( ... \).

    Args:
        columns: values by header, all of the same length.
        formats: format specification by header for numbers; the default is ".4g".
        folded: label of a fold that hides a long table until it is opened; none if empty.

    Returns:
        The HTML; a power of ten is written as 10⁻⁷, in strings too.

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
            return value
        if isinstance(value, Integral) and header not in formats:
            return str(value)
        return f"{float(value):{formats.get(header, '.4g')}}"

    rows = zip(*columns.values(), strict=True)
    return _html.table(
        list(columns),
        [[cell(h, v) for h, v in zip(columns, row, strict=True)] for row in rows],
        folded=folded,
    )


def table(
    columns: Mapping[str, Sequence[Any]],
    formats: Mapping[str, str] | None = None,
    *,
    folded: str = "",
) -> Any:
    """Return a table that a notebook displays; arguments as in `render`."""
    display = require("IPython.display", "book")
    return display.HTML(render(columns, formats, folded=folded))


def fields(records: Mapping[str, Any], format: str = ".4g") -> Any:
    """Return a table of named tuples that a notebook displays: a row per field, NaN as a dash.

    Args:
        records: Named tuples of one class by the header of their column.
        format: Format specification for numbers.

    Returns:
        What `table` returns.

    Raises:
        ValueError: If there is no record, or two have different fields.

    Example:
        >>> from collections import namedtuple
        >>> Law = namedtuple("Law", "mean rate")
        >>> "<td>rate</td><td>0.5</td>" in fields({"here": Law(0.0, 0.5)}).data
        True
    """
    kinds = {tuple(record._fields) for record in records.values()}
    if len(kinds) != 1:
        raise ValueError(f"records must be of one class, got {sorted(kinds)}")
    (names,) = kinds
    columns = {
        title: ["–" if value != value else value for value in (getattr(r, n) for n in names)]
        for title, r in records.items()
    }
    return table({"field": names, **columns}, dict.fromkeys(columns, format))
