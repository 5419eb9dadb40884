"""The script of the claims pages, in a browser, from a file: filters, folds, formulas that wait."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from snnlib.ledger import Claim
from tools.browser.chromium import browser

pytestmark = pytest.mark.skipif(browser() is None, reason="no Chromium")

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "book" / "_ext"))
index = importlib.import_module("ledger_index")
model = importlib.import_module("ledger_model")

# Stands for MathJax: it takes the source of a formula away and says so.
MATHJAX = """<script>window.MathJax = { startup: { promise: Promise.resolve() },
  typeset(list) { for (const f of list) f.innerHTML = '<mjx-container>set</mjx-container>'; },
  typesetPromise(list) { this.typeset(list); return Promise.resolve(); } };</script>"""


def row(name: str, verdict: str, kind: str, chapter: str) -> Any:
    claim = Claim(
        id=f"a.{name}",
        source="a",
        locator=name,
        read="ours",
        statement=f"Sentence {name} about $x$.",
        verdict=verdict,
        chapter=chapter,
    )
    return model.Row(claim, verdict, {"kind": kind})


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    rows = [
        *(row(f"p{i}", "proved", "prove", "first") for i in range(6)),
        *(row(f"m{i}", "measured", "measure", "second") for i in range(5)),
        row("o", "measured", "observe", "first"),
    ]
    groups = [index.Group("H", "One", "one", rows[:6]), index.Group("H", "Two", "two", rows[6:])]
    bar = index.filter_bar(rows, {"first": "First", "second": "Second"})
    body = bar + index.index_html(groups, lambda name: f"#{name}", lambda name: f"{name}.html")
    style = (ROOT / "book" / "_static" / "book.css").read_text(encoding="utf-8")
    script = (ROOT / "book" / "_static" / "ledger.js").read_text(encoding="utf-8")
    path = tmp_path / "claims.html"
    path.write_text(
        f'<!doctype html><html><head><meta charset="utf-8"><style>{style}</style>{MATHJAX}</head>'
        f"<body>{body}<div style='height: 5000px'></div>"
        '<details id="fold"><summary>how</summary><div class="late" id="how">'
        '<span class="late-math">\\(y\\)</span></div></details>'
        f"<script>{script}</script></body></html>",
        encoding="utf-8",
    )
    with sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=browser(), args=["--no-sandbox"])
        opened = chromium.new_page()
        opened.set_default_timeout(120_000)
        opened.address = path.as_uri()
        opened.goto(opened.address)
        yield opened
        chromium.close()


def shown(page: Any) -> list[str]:
    """Locators of the rows that a reader sees."""
    return [a.inner_text() for a in page.query_selector_all("li[data-verdict] a") if a.is_visible()]


def test_a_list_is_filtered_without_a_server(page: Any) -> None:
    assert shown(page) == []  # folded
    assert page.inner_text("output") == "12 claims"
    page.select_option("select[name=verdict]", "measured")
    assert shown(page) == ["m0", "m1", "m2", "m3", "m4", "o"]
    assert page.inner_text("output") == "6 of 12 claims"
    page.select_option("select[name=kind]", "observation")
    assert shown(page) == ["o"]
    page.select_option("select[name=chapter]", "second")
    assert shown(page) == []
    page.click("button[type=reset]")
    page.wait_for_function("document.querySelector('output').textContent === '12 claims'")
    page.fill("input[type=search]", "SENTENCE p3")
    assert shown(page) == ["p3"]
    assert page.url.endswith("?text=sentence+p3")


def test_a_link_brings_its_filter_along(page: Any) -> None:
    page.goto(f"{page.address}?verdict=proved&chapter=first")
    assert shown(page) == [f"p{i}" for i in range(6)]


def test_a_link_to_a_folded_claim_opens_its_fold(page: Any) -> None:
    page.goto(f"{page.address}#a-m4")
    page.wait_for_selector("#a-m4", state="visible")
    assert shown(page) == ["m0", "m1", "m2", "m3", "m4", "o"]


def test_formulas_wait_until_their_fold_is_open_and_near(page: Any) -> None:
    typeset = "document.querySelectorAll('mjx-container').length"
    assert page.evaluate(typeset) == 0
    page.click("details.ledger-group >> nth=0 >> summary")
    page.wait_for_function(f"{typeset} === 6")
    page.evaluate("document.getElementById('fold').open = true")
    page.evaluate("window.scrollTo(0, 0)")
    page.wait_for_timeout(300)
    assert page.evaluate("document.querySelector('#how mjx-container')") is None  # far below
    page.evaluate("document.getElementById('fold').scrollIntoView()")
    page.wait_for_selector("#how mjx-container")


def test_paper_gets_all_formulas(page: Any) -> None:
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate("document.querySelectorAll('mjx-container').length") == 13


def test_a_short_list_has_no_filters() -> None:
    few = [row(f"p{i}", "proved", "prove", "first") for i in range(index.FEW - 1)]
    assert index.filter_bar(few, {"first": "First"}) == ""
    assert "select" not in index.filter_bar([*few, few[0]], {"first": "First"})  # no choice
