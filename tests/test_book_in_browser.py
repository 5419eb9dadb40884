"""The rendered book in a browser, page by page: `make book` first, then `make browser`.

Without Chromium, or when the book is older than its sources, nothing is opened; CI has both.
"""

from __future__ import annotations

import functools
import http.server
import io
import os
import threading

import pytest
from pypdf import PdfReader

from snnlib import init, meanfield, membrane
from tools import book, check_site, pdf
from tools.browser import budget, chromium, judge, keyboard, measure, outside

CI = bool(os.environ.get("BROWSER_CHECKS"))  # `make browser`: what is missing is a failure


def is_current() -> bool:
    return book.STAMP.exists() and book.STAMP.read_text(encoding="utf-8") == book.wanted()


def missing() -> str:
    if chromium.browser() is None:
        return f"no browser ({', '.join(chromium.BROWSERS)})"
    return "" if is_current() else "the built book is older than its sources: make book"


WHY_NOT = missing()
PAGES = chromium.pages(book.SITE) if not WHY_NOT else []
BUDGET = budget.load()

pytestmark = pytest.mark.skipif(bool(WHY_NOT) and not CI, reason=WHY_NOT)


def test_there_is_a_book_to_look_at():
    assert not WHY_NOT
    assert len(PAGES) > 30


@pytest.fixture(scope="module")
def program():
    with chromium.launched() as found:
        yield found


@pytest.mark.parametrize("name", PAGES)
def test_page(program, name):
    with chromium.tab(program) as tab:
        found = measure.measure(tab, book.SITE, name)
        problems = [*judge.problems(found, BUDGET), *judge.stale([found], BUDGET)]
        tab.page.set_viewport_size(chromium.DESKTOP)
        problems += keyboard.folds(tab.page) + keyboard.sliders(tab.page)
        problems += keyboard.filters(tab.page)
        if outside.AXE.exists():
            problems += judge.unknown_findings(outside.accessibility(tab.page), BUDGET)
    assert not problems, "\n".join([name, *problems])


def after_twenty_layers(threshold, gain):
    q = 1.0
    for _ in range(20):
        q = float(meanfield.variance_map(q, float(gain), float(threshold)))
    return f"20 layers make q = {q:.3f} of 1"


RESETS = {"soft, behind the leak": "subtract_leak", "soft, before the leak": "subtract"}


def settled(leak, reset):
    law = membrane.stationary_law(
        leak=float(leak), threshold=1.0, input_mean=0.5, input_std=0.5, reset=RESETS[reset]
    )
    return f"mean {law.mean:.3f}, rate {law.rate:.3f}"


def over_time(steps, rate, leak):
    given = {"leak": float(leak), "steps": int(steps)}
    gain = meanfield.gain_for_rate(float(rate), threshold=1.0, **given)
    return (
        f"gain {gain:.2f}, depth scale {meanfield.depth_scale(1.0, rate=float(rate), **given):.2f}"
    )


def gain_of(method, threshold, width):
    name, given = METHODS[method]
    return f"gain {init.gain(name, threshold=float(threshold), **given):.2f}"


METHODS = {
    "Eq. 10, IKUN": ("micheli2024", {}),
    "SpikeInit, p=0.1": ("spikeinit2026", {"leak": 0.5, "rate": 0.1}),
}
LIVE = {  # page, figure: for each slider the key that moves it, and what the library says then
    ("weight-variance", "live-wv-map"): (("ArrowLeft", "ArrowLeft"), after_twenty_layers),
    ("initial-membrane-potential", "live-imp-law"): (("ArrowRight", "ArrowRight"), settled),
    ("time-buys-depth", "live-time-scale"): (("ArrowLeft", "ArrowRight", "ArrowLeft"), over_time),
    ("which-initialization-survives", "live-survives-depth"): (
        ("ArrowRight", "ArrowLeft", "ArrowLeft"),
        gain_of,
    ),
}


@pytest.mark.parametrize(("chapter", "figure"), list(LIVE))
def test_a_moved_slider_says_what_the_library_computes(program, chapter, figure):
    keys, expected = LIVE[chapter, figure]
    with chromium.tab(program) as tab:
        tab.open((book.SITE / "notebooks" / f"{chapter}.html").as_uri())
        place = tab.page.locator(f"#{figure}")
        before = place.locator(".live-says").inner_text()
        ranges = place.locator("input[type=range]").all()
        for slider, key in zip(ranges, keys, strict=True):
            slider.focus()
            tab.page.keyboard.press(key)
        setting = [slider.get_attribute("aria-valuetext") for slider in ranges]
        said = place.locator(".live-says").inner_text()
    assert said != before
    assert expected(*setting) in said, (setting, said)


def test_exceptions_are_of_pages_that_exist():
    assert {f"{name}.html" for name in BUDGET.pages} <= set(PAGES)


def test_html_is_valid():
    if not outside.has_checker() and not CI:
        pytest.skip("no HTML checker or no Java: make browser")
    errors = outside.invalid_html(book.SITE / name for name in PAGES)
    found = judge.unknown_errors(errors, BUDGET)
    assert not found, "\n".join(found)


def test_programs_of_others_are_here():
    if not CI:
        pytest.skip("only `make browser` installs them")
    assert outside.AXE.exists()
    assert outside.has_checker()


def test_links_and_anchors_resolve():
    count, problems = check_site.check(book.SITE)
    assert not problems, "\n".join(problems)
    assert count >= len(PAGES)


def test_formulas_fit_one_sheet(program):
    with chromium.tab(program) as tab:
        assert len(PdfReader(io.BytesIO(pdf.alone(tab))).pages) == 1


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def address():
    handler = functools.partial(Quiet, directory=str(book.SITE))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


def test_search_works_by_keyboard(program, address):
    with chromium.tab(program, home=address) as tab:
        tab.open(address + "book/how-to-read.html")
        found = keyboard.search(tab.page, "critical threshold")
        assert len(found) > 3
        tab.page.locator("#search-results li a").first.focus()
        tab.page.keyboard.press("Enter")
        tab.page.wait_for_url(
            lambda url: url.split("?")[0].split("#")[0] == found[0].split("?")[0].split("#")[0]
        )
        assert not tab.complaints


def test_search_needs_no_server(program):
    with chromium.tab(program) as tab:
        tab.open((book.SITE / "search.html").as_uri() + "?q=critical+threshold")
        tab.page.wait_for_selector("#search-results li a", timeout=20_000)
        assert len(tab.page.query_selector_all("#search-results li")) > 3
        assert not [text for text in tab.complaints if text.startswith("asks for")]
