"""Tables of a chapter: numbers formatted, mathematics and text escaped once."""

from __future__ import annotations

import decimal
from typing import NamedTuple

import numpy as np
import pytest

from snnlib.page import tables


def test_cells_are_formatted_by_kind():
    html = tables.render(
        {r"\(\theta\)": [0.5, np.float32(0.25)], "layer": [1, np.int64(2)], "note": ["a < b", "c"]},
        {r"\(\theta\)": ".2f"},
    )
    assert "<td>0.50</td><td>1</td><td>a &lt; b</td>" in html
    assert "<td>0.25</td><td>2</td><td>c</td>" in html
    assert r'<th scope="col">\(\theta\)</th>' in html


def test_powers_of_ten_are_written_as_such():
    html = tables.render(
        {"a": [1.9e-7, -2e12, 0.25, float("inf")], "b": ["1e-7"] * 4}, {"a": ".2g"}
    )
    cells = [part.split("</td>")[0] for part in html.split("<td>")[1:]]
    assert cells[::2] == ["1.9·10⁻⁷", "−2·10¹²", "0.25", "inf"]
    assert cells[1] == "10⁻⁷"  # in a text too


def test_bad_columns_are_refused():
    with pytest.raises(ValueError, match="one length"):
        tables.render({"a": [1], "b": [1, 2]})
    with pytest.raises(ValueError, match="no column"):
        tables.render({"a": [1]}, {"b": ".2f"})


def test_records_are_columns_of_their_fields():
    class Law(NamedTuple):
        mean: float
        word: str

    html = tables.fields({"a": Law(float("nan"), "dead"), "b": Law(1e-9, "alive")}).data
    assert "<td>mean</td><td>–</td><td>10⁻⁹</td>" in html
    assert "<td>word</td><td>dead</td><td>alive</td>" in html
    with pytest.raises(ValueError, match="one class"):
        tables.fields({})
    with pytest.raises(ValueError, match="one class"):
        tables.fields({"a": Law(0.0, ""), "b": decimal.Decimal(1).as_tuple()})
