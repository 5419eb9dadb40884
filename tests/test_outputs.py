"""What a chapter's cells show is for a reader: the check that every run of a chapter makes."""

from __future__ import annotations

import pytest

from snnlib.ledger.evidence import MIME, told
from snnlib.page import tables
from tools import outputs


def notebook(data=None, *, text="", tags=()):
    output = {"output_type": "stream", "text": text} if text else {"data": data or {}}
    cell = {"cell_type": "code", "metadata": {"tags": list(tags)}, "outputs": [output]}
    return {"cells": [{"cell_type": "markdown"}, cell]}


def of(rows, **settings):
    return {"text/html": tables.render({"a": ["1"] * rows}, **settings)}


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (notebook(text="lost with 2.82e-20\n"), "'2.82e-20' instead of a power of ten"),
        (notebook({"text/html": "<td>0e+00</td>"}), "'0e+00' instead"),
        (notebook({"text/markdown": "a factor of 1e13"}), "'1e13' instead"),
        (notebook({"application/papermill.record/text/plain": "'9e+01'"}), "'9e+01' instead"),
        (notebook({"text/plain": "LIF(threshold=1, leak=0.5)"}), "an object: 'LIF("),
        (notebook(text="tensor([1., 2.])"), "an object: 'tensor(["),
        (notebook({"text/latex": r"$\text{False}$"}), r"a truth value as a formula: \text{False}"),
        (notebook({MIME: {"detail": r"\(\text{True}\)."}}), "a truth value"),
        (notebook({MIME: {"detail": r"\(0 = 0\): identical."}}), "an equation without content"),
        (notebook(of(outputs.ROWS + 1)), "17 rows in the open"),
    ],
)
def test_what_no_reader_should_meet_is_named(found, said):
    (complaint,) = outputs.complaints(found)
    assert complaint.startswith("code cell 1 shows ")
    assert said in complaint


@pytest.mark.parametrize(
    "good",
    [
        notebook(of(outputs.ROWS)),
        notebook(of(40, folded="40 rows")),
        notebook(of(40), tags=("hide-output",)),
        notebook(text="2.82e-20", tags=("remove-output",)),
        notebook({"text/html": "<pre>LIF(threshold=1e-3)</pre> of 10⁻³"}),
        notebook({"text/html": "<b>1</b>", "text/plain": "Table(rows=1)"}),
        notebook({"text/markdown": "run `snn.Leaky(beta=1e-3)`, commit 3fe12"}),
        notebook({MIME: {"detail": told(r"\(0 = 0\): identical. \(1 < 2\): by arithmetic.")}}),
    ],
)
def test_what_a_reader_can_take_passes(good):
    assert outputs.complaints(good) == []


def test_a_page_of_long_tables_has_its_own_number():
    (page,) = outputs.LONGER
    assert outputs.complaints(notebook(of(outputs.LONGER[page])), page) == []
    assert outputs.complaints(notebook(of(outputs.LONGER[page] + 1)), page)
