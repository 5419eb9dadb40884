"""What the executed cells of a chapter show and no reader should meet.

`complaints` is applied to each chapter when it runs: numbers with an exponent behind an e, truth
values as formulas, an equation of an expression with itself, an object's `repr`, and long tables
that are neither folded nor short.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterator
from typing import Any

from snnlib.ledger.evidence import MIME

ROWS = 16
"""Rows of a table that lies open."""
LONGER = {"book/performance": 19}
"""Pages whose tables are what the reader comes for."""

_CODE = re.compile(r"<(pre|code|style)\b.*?</\1>|`[^`]*`", flags=re.S)
_FOLD = re.compile(r"<details.*?</details>", flags=re.S)
_TABLE = re.compile(r"<table.*?</table>", flags=re.S)
_TAG = re.compile(r"<[^>]+>")
_EXPONENT = re.compile(r"(?<![\w.])\d+(?:\.\d+)?e[+-]?\d+(?!\w)")
_REPR = re.compile(r"\b[A-Za-z_]\w*\((?:\w+=|\[)[^)]*\)")
_TRUTH = re.compile(r"\\text\{(?:True|False)\}")
_SAME = re.compile(r"\\\(((?:(?!\\\)).)+?) (?:=|\\leq|\\geq) \1\\\)")


def complaints(notebook: Any, name: str = "") -> list[str]:
    """What is wrong with the outputs of an executed notebook, one line each.

    Args:
        notebook: Its JSON, as nbformat reads it.
        name: Slug of the chapter or page, which may have its own number of rows.
    """
    found = []
    for number, cell in enumerate(c for c in notebook["cells"] if c["cell_type"] == "code"):
        tags = set(cell.get("metadata", {}).get("tags", ()))
        if "remove-output" in tags or "remove-cell" in tags:
            continue
        closed = tags & {"hide-output", "hide-cell"}
        most = math.inf if closed else LONGER.get(name, ROWS)
        for output in cell.get("outputs", ()):
            found += [f"code cell {number + 1} shows {what}" for what in _shown(output, most)]
    return list(dict.fromkeys(found))


def _shown(output: Any, most: float) -> Iterator[str]:
    """Faults of one output."""
    data = output.get("data", {})
    if MIME in data:
        detail = str(data[MIME].get("detail", ""))
        yield from (f"a truth value as a formula: {m}" for m in _TRUTH.findall(detail))
        yield from (f"an equation without content: {m[0]}" for m in _SAME.finditer(detail))
        return
    if any(kind.startswith("image/") for kind in data):
        return
    page = _text(data.get("text/html", ""))
    yield from (
        f"{rows} rows in the open, at most {most}: fold them"
        for rows in (t.count("<tr") - 1 for t in _TABLE.findall(_FOLD.sub("", page)))
        if rows > most
    )
    text = html.unescape(_TAG.sub(" ", _CODE.sub(" ", page)))
    plain = _text(output.get("text", "")) + "".join(
        _text(value)
        for kind, value in data.items()
        if kind.endswith("text/plain") and (kind != "text/plain" or not page)
    )
    plain = _CODE.sub(" ", plain + _text(data.get("text/markdown", "")))
    yield from (f"{m!r} instead of a power of ten" for m in _EXPONENT.findall(text + " " + plain))
    yield from (f"an object: {m[0]!r}" for m in _REPR.finditer(plain))
    formulas = page + plain + _text(data.get("text/latex", ""))
    yield from (f"a truth value as a formula: {m}" for m in _TRUTH.findall(formulas))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "".join(value)
