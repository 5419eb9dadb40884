"""Open the rendered book in a browser: what a reader sees first, and nothing that breaks.

Usage: ``python -m tools.check_screens _build/html``.

Every page: no error in the console, no request that leaves the site, all mathematics typeset, and
no page that is wider than a phone.  Every chapter: its title and *In short*, figure included, fit
one screen of a desktop, and the whole is at most 25 screens long.  The browser is the Chromium (or
Chrome) that is installed; without one the check says so and ends with 3.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 360, "height": 780}
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SCREENS = 25  # of a chapter
MISSING = 3
_SETTLED = "() => !window.MathJax?.startup?.promise || window.MathJax.startup.promise.then(() => 1)"
# Where the answer ends: the last line or figure before the first cell.
_END_OF_ANSWER = """() => {
  const parts = document.querySelectorAll("#in-short .in-short-lines, #in-short .in-short-figure");
  return Math.max(0, ...[...parts].map(part => part.getBoundingClientRect().bottom));
}"""
_RAW_MATHEMATICS = """() => [...document.querySelectorAll("span.math, div.math")]
  .filter(m => !m.querySelector("mjx-container") && /\\\\[(\\[]/.test(m.textContent)).length"""
_HEIGHT = "() => document.documentElement.scrollHeight"
_WIDE = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"


def browser() -> str | None:
    """Path of an installed Chromium."""
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


def problems_of(page: Any, file: Path, errors: list[str]) -> Iterable[str]:
    """What is wrong with one page, in words.

    Args:
        page: A page of the browser.
        file: The page's file.
        errors: List that the page's console and network fill.
    """
    errors.clear()
    page.set_viewport_size(DESKTOP)
    page.goto(file.as_uri())
    page.wait_for_load_state("load")
    page.evaluate(_SETTLED)
    yield from dict.fromkeys(errors)
    if raw := page.evaluate(_RAW_MATHEMATICS):
        yield f"{raw} formulas are not typeset"
    if file.parent.name == "notebooks":
        end = page.evaluate(_END_OF_ANSWER)
        if not 0 < end <= DESKTOP["height"]:
            yield f"In short ends at {end:.0f} of {DESKTOP['height']} px"
        screens = page.evaluate(_HEIGHT) / DESKTOP["height"]
        if screens > SCREENS:
            yield f"{screens:.1f} screens long, at most {SCREENS}"
    page.set_viewport_size(PHONE)
    if (wide := page.evaluate(_WIDE)) > 0:
        yield f"{wide} px wider than a phone"


def check(site: Path) -> list[str]:
    """Problems of all pages of a site, each with its page's name."""
    from playwright.sync_api import sync_playwright

    files = [p for p in sorted(site.rglob("*.html")) if not set(p.parts) & {"_static", "_modules"}]
    files = [p for p in files if 'http-equiv="Refresh"' not in p.read_text(encoding="utf-8")]
    found: list[str] = []
    with sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=browser(), args=["--no-sandbox"])
        page = chromium.new_page()
        errors: list[str] = []
        page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on(
            "request",
            lambda r: errors.append(f"asks for {r.url}") if r.url.startswith("http") else None,
        )
        for file in files:
            name = file.relative_to(site).as_posix()
            found += [f"{name}: {text}" for text in problems_of(page, file, errors)]
        chromium.close()
    print(f"{len(files)} pages opened, {len(found)} problems")
    return found


def main(arguments: list[str]) -> int:
    """Check a site; 0 if it is in order, 1 if not, 3 without a browser."""
    if browser() is None:
        print(f"no browser ({', '.join(BROWSERS)}): the screens are not checked")
        return MISSING
    found = check(Path(arguments[0]).resolve())
    print("\n".join(found))
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
