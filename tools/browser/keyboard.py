"""Folds, sliders, filters and the search, used by keys alone."""

from __future__ import annotations

from typing import Any

_FOLDS = """() => [...document.querySelectorAll("main summary, main .toggle-button")]
  .filter(s => s.checkVisibility() && s.tabIndex < 0)
  .map(s => s.textContent.trim().slice(0, 40))"""
_SHOWN = """() => [...document.querySelectorAll("[data-verdict]")]
  .filter(item => !item.hidden && !item.closest("[hidden]")).length"""
_PICTURE = """range => (range.closest("figure") || range.parentElement).innerHTML"""


def folds(page: Any) -> list[str]:
    """Folds that the Tab key does not reach, or that Enter does not open and Space close."""
    found = [f"the fold {text!r} is not reached by Tab" for text in page.evaluate(_FOLDS)]
    for fold in page.locator("main details:visible").all()[:2]:
        summary = fold.locator("summary").first
        before = fold.evaluate("d => d.open")
        for key in ("Enter", "Space"):
            summary.focus()
            page.keyboard.press(key)
            after = fold.evaluate("d => d.open")
            if after == before:
                found.append(f"{key} does not move the fold {summary.inner_text()!r}")
            before = after
    return found


def sliders(page: Any) -> list[str]:
    """Sliders that an arrow key does not move, or whose figure does not follow."""
    found = []
    for place, slider in enumerate(page.locator("main input[type=range]:visible").all(), start=1):
        before, picture = slider.input_value(), slider.evaluate(_PICTURE)
        slider.focus()
        page.keyboard.press("ArrowRight")
        if slider.input_value() == before:
            page.keyboard.press("ArrowLeft")  # it stood at its end
        if slider.input_value() == before:
            found.append(f"slider {place} is not moved by an arrow key")
        elif slider.evaluate(_PICTURE) == picture:
            found.append(f"slider {place} moves and its figure does not")
    return found


def filters(page: Any) -> list[str]:
    """Menus of the filters that an arrow key does not move, or that hide nothing."""
    found = []
    for place, menu in enumerate(page.locator("form.ledger-filter select:visible").all(), start=1):
        shown = page.evaluate(_SHOWN)
        menu.focus()
        page.keyboard.press("ArrowDown")
        if not menu.input_value():
            found.append(f"filter {place} is not moved by an arrow key")
        elif not 0 < page.evaluate(_SHOWN) < shown:
            found.append(f"filter {place} moves and the list does not follow")
        page.locator("form.ledger-filter button[type=reset]").focus()
        page.keyboard.press("Enter")
        page.wait_for_timeout(100)  # the form is empty only after its event
        if page.evaluate(_SHOWN) != shown:
            found.append("clearing the filters does not show all again")
    return found


def search(page: Any, words: str) -> list[str]:
    """Addresses that the search finds, from any page, by keys alone.

    Args:
        page: A page of the book, over http.
        words: What is typed.

    Returns:
        The results' addresses, best first.
    """
    page.keyboard.press("Control+k")
    page.keyboard.type(words)
    page.keyboard.press("Enter")
    page.wait_for_url("**/search.html?*")
    page.wait_for_selector("#search-results li a", timeout=20_000)
    page.wait_for_function(
        "() => !document.querySelector('#search-progress')?.textContent.includes('...')"
    )
    results: list[str] = page.eval_on_selector_all(
        "#search-results li > a", "l => l.map(a => a.href)"
    )
    return results
