"""The rendered book in a browser, page by page: `make book` first, then `make browser`.

Without Chromium, or when the book is older than its sources, nothing is opened; CI has both.
"""

from __future__ import annotations

import functools
import http.server
import io
import math
import os
import re
import threading

import pytest
import torch
from pypdf import PdfReader

from snnlib import init, meanfield, membrane
from snnlib.neurons import lif
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


def switched_on(ratio):
    """Euler and exact step towards 1, by the library's neuron without a reset."""
    time = float(ratio) * torch.arange(1, round(6 / float(ratio)) + 1, dtype=torch.float64)
    said = []
    for name, leak in (("Euler", 1 - float(ratio)), ("exact", math.exp(-float(ratio)))):
        drive = torch.full((len(time), 1, 1), 1 - leak, dtype=torch.float64)
        u = [0.0]
        if leak >= 0:
            u += lif(drive, leak=leak, threshold=9.0, reset="none").membrane.flatten().tolist()
        else:  # the library refuses it
            u += [1 - leak ** (k + 1) for k in range(len(time))]
        off = max(abs(a - b) for a, b in zip(u[1:], (1 - torch.exp(-time)).tolist(), strict=True))
        said.append(f"{name} off by at most {off:.3f}")
    return ", ".join(said)


METHODS = {
    "Eq. 10, IKUN": ("micheli2024", {}),
    "SpikeInit, p=0.1": ("spikeinit2026", {"leak": 0.5, "rate": 0.1}),
}
LIVE = {  # page, figure: for each slider the key that moves it, and what the library says then
    ("lif-neuron", "live-ln-step"): (("ArrowLeft",), switched_on),
    ("weight-variance", "live-wv-map"): (("ArrowLeft", "ArrowLeft"), after_twenty_layers),
    ("initial-membrane-potential", "live-imp-law"): (("ArrowRight", "ArrowRight"), settled),
    ("time-buys-depth", "live-time-scale"): (("ArrowLeft", "ArrowRight", "ArrowLeft"), over_time),
    ("which-initialization-survives", "live-survives-depth"): (
        ("ArrowRight", "ArrowLeft", "ArrowLeft"),
        gain_of,
    ),
}


def live_figure(tab, chapter, figure):
    """A live figure of a chapter, opened."""
    tab.open((book.SITE / "notebooks" / f"{chapter}.html").as_uri())
    return tab.page.locator(f"#{figure}")


def said_after(tab, place, *keys):
    """What a live figure says once each of its sliders got a key, and its sliders' values."""
    ranges = place.locator("input[type=range]").all()
    for slider, key in zip(ranges, keys, strict=True):
        slider.focus()
        if key:
            tab.page.keyboard.press(key)
    setting = [slider.get_attribute("aria-valuetext") for slider in ranges]
    return place.locator(".live-says").inner_text(), setting


def numbers(text):
    """Numbers of a sentence; a power of ten is written as such."""
    plain = re.sub(r"·10(\S+?)(?=[,;\s]|$)", lambda m: "e" + m[1].translate(LOWERED), text)
    return [float(x) for x in re.findall(r"\d+(?:\.\d+)?(?:e[+-]?\d+)?", plain)]


LOWERED = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")


@pytest.mark.parametrize(("chapter", "figure"), list(LIVE))
def test_a_moved_slider_says_what_the_library_computes(program, chapter, figure):
    keys, expected = LIVE[chapter, figure]
    with chromium.tab(program) as tab:
        place = live_figure(tab, chapter, figure)
        before = place.locator(".live-says").inner_text()
        said, setting = said_after(tab, place, *keys)
    assert said != before
    assert expected(*setting) in said, (setting, said)


def test_said_reach_of_the_slopes_follows_the_sharpness(program):
    """Where the normal forms exceed a hundredth, by hand; the picture's grid ends at -2 and 3."""
    mean, std = 1.5 * 0.4, math.sqrt(1.25) * 0.7

    def below(u):
        return math.erf((u - mean) / (std * math.sqrt(2))) / 2

    with chromium.tab(program) as tab:
        place = live_figure(tab, "surrogate-gradients", "live-sg-reach")
        said, (s,) = said_after(tab, place, "ArrowRight")
    ends = [0.99, math.log(100) / 2, math.sqrt(99) / math.pi]  # triangle, exponential, arctan
    for half, share in zip(ends, numbers(said), strict=True):
        low, high = max(-2.0, 1 - half / float(s)), min(3.0, 1 + half / float(s))
        exact = (below(high) - below(low)) / (below(3.0) - below(-2.0))
        assert abs(share - 100 * exact) < 1.5, (said, s)  # the grid is 0.01 wide


def test_said_height_changes_size_and_not_coherence(program):
    with chromium.tab(program) as tab:
        place = live_figure(tab, "what-predicts-training", "live-predicts-slope")
        before, (_, _, height) = said_after(tab, place, "", "", "")
        after, (_, _, higher) = said_after(tab, place, "", "", "ArrowRight")
    (coherence, size), (same, larger) = numbers(before), numbers(after)
    assert same == coherence
    slopes = 1 + 20  # the first layer's own, and those of the layers behind it
    ratio = (float(higher) / float(height)) ** (2 * slopes)
    assert larger / size == pytest.approx(ratio, rel=0.1)  # two digits are said


_SILENT = """(figure, [columns, rows]) => {
  const full = [...figure.querySelectorAll(".live-cells rect")]
    .filter(r => r.getAttribute("opacity") > 0);
  const box = figure.querySelector(".live-cells").closest("svg").viewBox.baseVal;
  const seen = Array.from({length: columns}, () => new Set());
  for (const r of full) {
    const column = Math.round((r.x.baseVal.value - box.x) / box.width * columns);
    const below = box.y + box.height - r.y.baseVal.value;
    seen[column].add(Math.round(below / box.height * rows) - 1);
  }
  return seen.map(set => [...Array(rows).keys()].find(row => !set.has(row)) ?? -1);
}"""


@pytest.mark.parametrize("keys", [("", ""), ("ArrowRight", "ArrowLeft")])
def test_said_front_of_silence_is_the_drawn_one(program, keys):
    with chromium.tab(program) as tab:
        place = live_figure(tab, "robustness", "live-rob-front")
        said, _ = said_after(tab, place, *keys)
        drawn = place.evaluate(_SILENT, [40, 60])
    found = dict(re.findall(r"step (\d+): (?:layer )?(\w+)", said))
    assert len(found) == 3
    for step, layer in found.items():
        first = drawn[int(step) - 1]
        # a rate below 1/126 of all neurons is drawn as silence
        assert first == -1 if layer == "none" else 0 <= first <= int(layer), (said, drawn)


SMALL_PHONE = {"width": 360, "height": 740}
_BOTTOM = "e => e.getBoundingClientRect().bottom"


@pytest.mark.parametrize("screen", [chromium.DESKTOP, SMALL_PHONE], ids=["desktop", "phone"])
def test_a_silent_network_is_one_click_from_its_call(program, screen):
    """Pictures and cards stand on the first screen; behind the first card stand call and reason."""
    with chromium.tab(program) as tab:
        tab.open((book.SITE / "book" / "index.html").as_uri())
        tab.page.set_viewport_size(screen)
        said = tab.page.locator("#living-layers .living-says").all_inner_texts()
        assert "silent" in said[0] and "spike" in said[1], said  # dead beside alive
        cards = tab.page.locator(".front-cards .sd-card").all()
        assert len(cards) == 3
        assert max(card.evaluate(_BOTTOM) for card in cards) <= screen["height"]
        cards[0].click()  # its link covers it
        tab.page.wait_for_url("**/choosing-an-initialization.html")
        call = tab.page.get_by_text("initialize_(model, example=batch)").first
        assert call.evaluate(_BOTTOM) <= screen["height"]
        installs = tab.page.get_by_text("pip install .").first
        assert installs.evaluate(_BOTTOM) <= screen["height"]
        tab.page.locator("main a[href='#choosing-why']").click()
        why = tab.page.get_by_text("A network is silent because").first
        on_screen = "({ bottom }) => 0 < bottom && bottom <= innerHeight"
        seen = f"e => ({on_screen})(e.getBoundingClientRect())"
        tab.page.wait_for_function(seen, arg=why.element_handle())  # it scrolls smoothly


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


def derived_terms():
    """The glossary's terms, each with the page that its entry links to."""
    text = (book.chapters.ROOT / "book" / "glossary.md").read_text(encoding="utf-8")
    found = re.findall(r"^(\w[^\n]*)\n((?:  [^\n]*\n)+)", text.split("```{glossary}")[1], re.M)
    for term, body in found:
        (page,) = re.findall(r"\{doc\}`([^`]+)`", body)
        yield term, page.removeprefix("/") if page.startswith("/") else f"book/{page}"


def test_search_finds_a_term_first_where_it_is_derived(program):
    """As a section, and every term of the glossary."""
    terms = dict(derived_terms())
    assert terms["critical threshold"] == "notebooks/weight-variance" and len(terms) > 20
    wrong = []
    with chromium.tab(program) as tab:
        for term, page in terms.items():
            address = (book.SITE / "search.html").as_uri()
            tab.page.goto(f"{address}?q={term.replace(' ', '+')}")
            tab.page.wait_for_selector("#search-results li a")
            tab.page.wait_for_function("() => /finished/.test(document.body.textContent)")
            first = tab.page.locator("#search-results li a").first.get_attribute("href")
            if not first.startswith(f"{page}.html#"):
                wrong.append(f"{term}: {first}, not {page}")
    assert not wrong, "\n".join(wrong)


def test_search_needs_no_server(program):
    with chromium.tab(program) as tab:
        tab.open((book.SITE / "search.html").as_uri() + "?q=critical+threshold")
        tab.page.wait_for_selector("#search-results li a", timeout=20_000)
        assert len(tab.page.query_selector_all("#search-results li")) > 3
        assert not [text for text in tab.complaints if text.startswith("asks for")]
