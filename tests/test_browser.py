"""What looks at the rendered book, on pages with one fault each."""

from __future__ import annotations

import dataclasses

import matplotlib.pyplot as plt
import pytest

from snnlib.page import figures as made
from tools.browser import budget, chromium, figures, judge, keyboard, measure, outside

LIMITS = {"kilobytes": 100, "elements": 500, "screens": 25, "figure_text": 9}
LIMITS |= {"figure_width": 560, "cut_lines": 0}
STRICT = budget.Budget(LIMITS)
ANSWER = '<section id="in-short"><div class="in-short-lines" style="height: {}px">x</div></section>'
PAGE = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>t</title></head>'
    "<body><main>{}</main></body></html>"
)
in_browser = pytest.mark.skipif(chromium.browser() is None, reason="no Chromium")


@pytest.fixture(scope="module")
def program():
    with chromium.launched() as found:
        yield found


@pytest.fixture
def look(program, tmp_path):
    """Problems of a page with some body."""

    def problems(body, name="a.html"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(PAGE.format(body), encoding="utf-8")
        with chromium.tab(program) as tab:
            return list(judge.problems(measure.measure(tab, tmp_path, name, patience=0.5), STRICT))

    return problems


def drawing(points):
    """An SVG image 360 points wide whose only text has letters of some points."""
    figure = plt.figure(figsize=(5, 1))
    figure.text(0.1, 0.5, "Text $x^2$", fontsize=points)
    return made.svg(figure)


def image(points, width):
    return f'<img alt="text" style="width: {width}px" src="{made._data_address(drawing(points))}">'


FOLD = "<details><summary>more</summary>{}</details>"
OUTPUT = '<div class="cell_output"><div class="output text_plain"><pre>{}</pre></div></div>'
FILTER = (
    '<form class="ledger-filter"><select id="menu"><option></option><option>x</option></select>'
    '<button type="reset">clear</button></form><p id="a" data-verdict="y">y</p>'
    '<p data-verdict="x">x</p><script>const follow = () => {{ {} }}; menu.onchange = follow;'
    "menu.form.onreset = () => setTimeout(follow, 0)</script>"
)
ROW = '<div class="ledger" id="evidence-a"><div class="ledger-statement" style="{}">{}</div></div>'


@in_browser
@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("", ""),
        ("<script>console.error('broken')</script>", "broken"),
        ("<script>nothing()</script>", "nothing is not defined"),
        ('<img alt="" src="https://example.org/a.png">', "asks for https://example.org/a.png"),
        (r'<span class="math">\(x\)</span>', "1 formulas are not typeset"),
        ("<mjx-merror>Undefined control sequence</mjx-merror>", "Undefined control sequence"),
        ('<div style="width: 500px">x</div>', "px wider than a phone"),
        (FOLD.format('<div style="width: 500px">x</div>'), "phone when the folds are open"),
        ('<p id="a"></p><p id="a"></p>', "two elements are called a"),
        ("<i></i>" * 600, "elements, at most 500"),
        (f"<!-- {'x' * 100_000} -->", "kB, at most 100"),
        (ROW.format("overflow: auto; width: 200px", "short"), ""),
        (ROW.format("overflow: auto; width: 200px; white-space: nowrap", "long " * 90), "cut: "),
        (image(9, 300), "letters of 7.5 px"),
        (image(11, 300), ""),
        (OUTPUT.format("(1, a)"), "an output is no text: (1, a)"),
        (OUTPUT.format("{'normal': 3,\n 'uniform': 2}"), "an output is no text"),
        (OUTPUT.format("OrderedDict([(1, 2)])"), "an output is no text"),
        (OUTPUT.format("tensor(0.0423)"), "an output is no text"),
        (OUTPUT.format("Law(mean=0.5139633886624668)"), "an output is no text"),
        (OUTPUT.format("LIF(leak=0.5, f=F(tail=2.0))"), ""),
        (OUTPUT.format("rate 0.25 (of 1000) at f(x), [s]"), ""),
        ('<div style="overflow: auto">' + image(9, 600) + "</div>", "600 px wide on a phone"),
    ],
)  # fmt: skip
def test_a_fault_is_named(look, body, problem):
    found = look(body)
    assert any(problem in text for text in found) if problem else found == []


@in_browser
def test_a_formula_in_a_fold_may_wait_until_it_opens(look):
    formula = r'<span class="math">\(x\)</span>'
    typeset = "e.querySelector('span').innerHTML = '<mjx-container></mjx-container>'"
    waits = f"const e = document.querySelector('details'); e.ontoggle = () => {typeset}"
    assert look(FOLD.format(formula) + f"<script>{waits}</script>") == []


@in_browser
@pytest.mark.parametrize(("height", "ends"), [(700, ""), (900, "of 900 px"), (0, "ends at 0")])
def test_an_answer_fits_one_screen(look, height, ends):
    found = look(ANSWER.format(height) if height else "no answer", "notebooks/a.html")
    assert bool(found) == bool(ends) and all(ends in text for text in found)


@in_browser
def test_a_page_has_an_end(look):
    (found,) = look('<div style="height: 30000px"></div>')
    assert "screens long, at most 25" in found


@in_browser
@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (FOLD.format("x"), ""),
        ("<details><summary tabindex='-1'>more</summary>x</details>", "not reached by Tab"),
        ("<details onclick='event.preventDefault()'><summary>m</summary></details>", "Enter does"),
        ("<figure><input type=range max=3><output></output></figure>", "its figure does not"),
        (
            "<figure><input type=range max=3 value=3 oninput=\"document.querySelector('output')"
            '.textContent = value"><output></output></figure>',
            "",
        ),
        ("<input type=range onkeydown='event.preventDefault()'>", "not moved by an arrow key"),
        (FILTER.format("a.hidden = menu.value"), ""),
        (FILTER.format(""), "the list does not follow"),
        (FILTER.format("a.hidden ||= menu.value"), "does not show all again"),
    ],
)
def test_keys_alone_suffice(program, body, problem):
    with chromium.tab(program) as tab:
        tab.page.set_content(PAGE.format(body))
        found = keyboard.folds(tab.page) + keyboard.sliders(tab.page)
        found += keyboard.filters(tab.page)
    assert any(problem in text for text in found) if problem else found == []


@in_browser
@pytest.mark.skipif(not outside.AXE.exists(), reason="no axe: make browser")
def test_axe_finds_what_cannot_be_read(program):
    with chromium.tab(program) as tab:
        tab.page.set_content(PAGE.format('<h1>t</h1><p id="x" style="color: #bbb">pale</p>'))
        found = outside.accessibility(tab.page)
    assert [(f.rule, f.selector) for f in found] == [("color-contrast", "#x")]
    assert judge.unknown_findings(found, STRICT) == ["axe, serious: color-contrast at #x"]
    known = dataclasses.replace(STRICT, axe=(("color-contrast", "#x"),))
    assert judge.unknown_findings(found, known) == []


@pytest.mark.skipif(not outside.has_checker(), reason="no HTML checker, or no Java: make browser")
def test_the_html_checker_finds_what_is_not_valid(tmp_path):
    for name, body in (
        ("good", "<p>x</p>"),
        ("bad", "<details><summary><p>x</p></summary></details>"),
    ):
        (tmp_path / f"{name}.html").write_text(PAGE.format(body), encoding="utf-8")
    ((page, message),) = outside.invalid_html(sorted(tmp_path.glob("*.html")))
    assert page.endswith("bad.html") and "not allowed as child of element “summary”" in message
    assert judge.unknown_errors([(page, message)], STRICT)
    for place in ("bad", "*"):
        known = dataclasses.replace(STRICT, html=((place, "child of element “summary”"),))
        assert judge.unknown_errors([(page, message)], known) == []


@pytest.mark.parametrize("points", [6, 10])
def test_letters_of_a_drawing(points):
    assert figures.smallest_letters(drawing(points)) == pytest.approx(points / 360)
    assert figures.smallest_letters('<svg viewBox="0 0 200 1"><text style="font: 4px s">') == 0.02
    assert figures.smallest_letters('<svg viewBox="0 0 200 1"><path/>') is None


def test_a_drawing_is_read_from_its_address(tmp_path):
    text = drawing(8)
    path = tmp_path / "a b.svg"
    path.write_text(text, encoding="utf-8")
    assert figures.read(path.as_uri()) == text
    assert figures.read(made._data_address(text)) == text
    assert figures.read("data:image/png;base64,AAAA") == figures.read("file:///no.svg") == ""


def test_pages_that_only_lead_on_and_templates_are_not_opened(tmp_path):
    (tmp_path / "_static").mkdir()
    for name, head in (("a", ""), ("b", chromium.LEADS_ON), ("_static/c", "")):
        (tmp_path / f"{name}.html").write_text(f"<meta {head}>", encoding="utf-8")
    assert chromium.pages(tmp_path) == ["a.html"]


# --- the budget ---------------------------------------------------------------------------------


def test_the_budget_is_read():
    read = budget.load()
    assert read.limit("no/such/page.html", "screens") == read.limits["screens"]
    for page, own in read.pages.items():
        for key, value in own.items():
            assert read.limit(f"{page}.html", key) == value
            assert (value < read.limits[key]) == (key in budget.LEAST), (
                f"{page}: {key} excuses nothing"
            )


@pytest.mark.parametrize(
    ("own", "says"),
    [
        ({"elements": 700}, []),
        ({"elements": 900}, ["a.html: has elements 700, the exception allows 900"]),
        ({"screens": 30}, ["a.html: has screens 20 and needs no exception"]),
        ({"figure_text": 7.0, "cut_lines": 1}, []),
        ({"figure_width": 600}, ["a.html: has figure_width 400 and needs no exception"]),
        ({"figure_text": 5.0}, ["a.html: has figure_text 7, the exception allows 5"]),
    ],
)
def test_an_exception_that_excuses_nothing_is_named(own, says):
    page = measure.Measured("a.html", elements=700, screens=20.0, cut=["x"])
    page.letters, page.widths = {"1:f": 7.0, "2:g": 12.0}, {"1:f": 400.0}
    assert list(judge.stale([page], dataclasses.replace(STRICT, pages={"a": own}))) == says


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("limits: {kilobytes: 1}", "limits must be kilobytes, elements"),
        (f"limits: {LIMITS}\npages: {{a: {{screen: 3}}}}", "a: screen must be one of"),
        (f"limits: {LIMITS}\npages: {{a: {{screens: -3}}}}", "screens must be at least 0, got -3"),
    ],
)
def test_a_wrong_budget_is_refused(tmp_path, text, message):
    path = tmp_path / "budget.yml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        budget.load(path)
