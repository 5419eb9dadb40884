"""One page in numbers: what a reader meets on a desktop and on a phone."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tools.browser import figures
from tools.browser.chromium import DESKTOP, PHONE, WIDER_PHONE, Tab

# Where the answer of a chapter ends: the last line or figure before the first cell.
_END_OF_ANSWER = """() => {
  const parts = document.querySelectorAll("#in-short .in-short-lines, #in-short .in-short-figure");
  return Math.max(0, ...[...parts].map(part => part.getBoundingClientRect().bottom));
}"""
_SIZES = """() => ({
  height: document.documentElement.scrollHeight,
  elements: document.getElementsByTagName("*").length,
  ids: [...document.querySelectorAll("[id]")].map(e => e.id),
})"""
# A formula far from the screen or in a closed fold may wait (class "late"); paper waits for none.
_RAW = r"""() => [...document.querySelectorAll("span.math, div.math, .ledger, .in-short-line")]
  .filter(m => m.checkVisibility() && !m.querySelector("mjx-container")
    && !m.closest(".late:not(.typeset)")
    && /\\[(\[]/.test(m.textContent)).length"""
_BROKEN = """() => [...document.querySelectorAll("mjx-merror")]
  .map(m => m.getAttribute("title") || m.textContent)"""
_CUT = """() => [...document.querySelectorAll(
    ".ledger-statement, .ledger-corrected-statement, .ledger-margin, .in-short-line, .late-math,"
    + " .pst-scrollable-table-container, .cell_output .text_html:has(table)")]
  .filter(e => e.checkVisibility() && e.scrollWidth > e.clientWidth + 1)
  .map(e => `${(e.closest("[id]") || e).id} is ${e.scrollWidth} px wide in ${e.clientWidth}`)"""
_OPEN_ALL = """() => { for (const d of document.querySelectorAll("details")) d.open = true; }"""
_TYPESET_ALL = """() => window.dispatchEvent(new Event("beforeprint"))"""
_WIDE = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
_PRINTED = """() => [...document.querySelectorAll(
    "main .cell_output .text_plain pre, main .cell_output .stream pre")].map(e => e.textContent)"""
# Tuples, lists, dictionaries, arrays, and numbers with more digits than a reader wants.
_BARE = re.compile(
    r"^\s*(?:\w+\()?[\[({].*[\])}]\s*$|^\s*(?:tensor|array)\(|\d\.\d{9,}", re.DOTALL | re.MULTILINE
)
_IMAGES = """() => [...document.querySelectorAll("main img")]
  .filter(i => i.checkVisibility())
  .map(i => [i.src, i.clientWidth, i.closest("[id]")?.id || ""])"""


@dataclass
class Measured:
    """A page in numbers; lengths are pixels.

    Attributes:
        name: The page's path in the site.
        kilobytes: Of its HTML.
        elements: Number of elements once its mathematics is typeset.
        screens: Its height over that of a desktop.
        answer: Where the lines and the figure of *In short* end; None if it is no chapter.
        complaints: What console and network said.
        raw: Visible formulas that are not typeset, before and after all folds are opened.
        broken: What MathJax could not read.
        cut: Rows of the ledger and tables that are wider than their box.
        wide: How much wider than a phone the page is, folds closed and open.
        letters: Per figure, where it stands and its smallest letters on a phone.
        widths: Per figure, its width on a phone; what is wider than the screen scrolls.
        twice: Identities that two elements have.
        bare: Outputs of cells that are Python's containers or long numbers.
    """

    name: str
    kilobytes: float = 0.0
    elements: int = 0
    screens: float = 0.0
    answer: float | None = None
    complaints: list[str] = field(default_factory=list)
    raw: tuple[int, int] = (0, 0)
    broken: list[str] = field(default_factory=list)
    cut: list[str] = field(default_factory=list)
    wide: tuple[int, int] = (0, 0)
    letters: dict[str, float] = field(default_factory=dict)
    widths: dict[str, float] = field(default_factory=dict)
    twice: list[str] = field(default_factory=list)
    bare: list[str] = field(default_factory=list)


def measure(tab: Tab, site: Path, name: str, *, patience: float = 20.0) -> Measured:
    """Measure a page; its folds are open afterwards.

    Args:
        tab: A page of the browser.
        site: Folder of the built book.
        name: The page's path in it.
        patience: Seconds that the formulas of opened folds may take.

    Returns:
        The numbers.
    """
    file, page = site / name, tab.page
    tab.open(file.as_uri())
    found = Measured(name, kilobytes=file.stat().st_size / 1000)
    sizes = page.evaluate(_SIZES)
    found.elements = sizes["elements"]
    found.screens = sizes["height"] / DESKTOP["height"]
    found.twice = sorted({i for i in sizes["ids"] if sizes["ids"].count(i) > 1})
    found.bare = [text for text in page.evaluate(_PRINTED) if _BARE.search(text)]
    if file.parent.name == "notebooks":
        found.answer = page.evaluate(_END_OF_ANSWER)
    closed = page.evaluate(_RAW)
    page.evaluate(_TYPESET_ALL)
    found.cut = page.evaluate(_CUT)
    page.set_viewport_size(PHONE)
    wide = page.evaluate(_WIDE)
    page.set_viewport_size(WIDER_PHONE)
    found.letters, found.widths = letters(page)
    page.evaluate(_OPEN_ALL)
    page.evaluate(_TYPESET_ALL)
    found.raw = (closed, raw_after(page, patience))
    found.broken = page.evaluate(_BROKEN)
    page.set_viewport_size(PHONE)
    found.wide = (wide, page.evaluate(_WIDE))
    found.complaints = list(dict.fromkeys(tab.complaints))
    return found


def raw_after(page: Any, seconds: float) -> int:
    """Formulas that are still raw some time after the folds were opened."""
    from playwright.sync_api import TimeoutError as OutOfTime

    try:
        page.wait_for_function(f"() => ({_RAW})() === 0", timeout=1000 * seconds)
    except OutOfTime:
        return int(page.evaluate(_RAW))
    return 0


def letters(page: Any) -> tuple[dict[str, float], dict[str, float]]:
    """Smallest letters of each figure of a page, and the figure's width, in pixels."""
    found: dict[str, float] = {}
    widths: dict[str, float] = {}
    for place, (address, width, anchor) in enumerate(page.evaluate(_IMAGES), start=1):
        part = figures.smallest_letters(figures.read(address))
        if part is not None:
            found[f"{place}:{anchor}"] = part * width
            widths[f"{place}:{anchor}"] = width
    return found, widths
