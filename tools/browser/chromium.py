"""The installed Chromium and the pages of a site."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 360, "height": 780}
WIDER_PHONE = {"width": 390, "height": 844}
PATIENCE = 240_000  # ms; seconds are not tested, and the machine may be busy
SETTLED = "() => !window.MathJax?.startup?.promise || window.MathJax.startup.promise.then(() => 1)"
NOT_PAGES = {"_static", "_modules"}  # templates of the theme, and sources
LEADS_ON = 'http-equiv="Refresh"'


def browser() -> str | None:
    """Path of an installed Chromium."""
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


def pages(site: Path) -> list[str]:
    """Names of a site's pages, without those that only lead on to another."""
    return [
        path.relative_to(site).as_posix()
        for path in sorted(site.rglob("*.html"))
        if not set(path.relative_to(site).parts) & NOT_PAGES
        and LEADS_ON not in path.read_text(encoding="utf-8")
    ]


@dataclass
class Tab:
    """A page of the browser, and what its console and network said since it was opened.

    Attributes:
        page: The page, as playwright has it.
        complaints: Errors of the console, uncaught exceptions, requests that leave the site.
    """

    page: Any
    complaints: list[str] = field(default_factory=list)

    def open(self, address: str) -> None:
        """Open an address on a desktop and wait until its mathematics is typeset."""
        self.complaints.clear()
        self.page.set_viewport_size(DESKTOP)
        self.page.goto(address)
        self.page.wait_for_load_state("load")
        self.page.evaluate(SETTLED)


@contextmanager
def launched() -> Iterator[Any]:
    """A browser without a window, which nothing but its caller uses."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        program = play.chromium.launch(executable_path=browser(), args=["--no-sandbox"])
        yield program
        program.close()


@contextmanager
def tab(program: Any, *, home: str = "") -> Iterator[Tab]:
    """A fresh page of a browser; addresses that begin with ``home`` belong to the site."""
    opened = Tab(program.new_page())
    opened.page.set_default_timeout(PATIENCE)
    say = opened.complaints.append

    def request(made: Any) -> None:
        outside = made.url.startswith("http") and not (home and made.url.startswith(home))
        if outside:
            say(f"asks for {made.url}")

    opened.page.on("console", lambda m: say(m.text) if m.type == "error" else None)
    opened.page.on("pageerror", lambda error: say(str(error)))
    opened.page.on("request", request)
    yield opened
    opened.page.close()
