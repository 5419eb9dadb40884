"""The check of what a browser shows, on pages with one fault each."""

from __future__ import annotations

import pytest

from tools import check_screens

pytestmark = pytest.mark.skipif(check_screens.browser() is None, reason="no Chromium")

ANSWER = '<section id="in-short"><div class="in-short-lines" style="height: {}px">x</div></section>'
PAGE = '<!doctype html><html><head><meta charset="utf-8"></head><body>{}</body></html>'


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("", ""),
        ("<script>console.error('broken')</script>", "broken"),
        ("<script>nothing()</script>", "nothing is not defined"),
        ('<img alt="" src="https://example.org/a.png">', "asks for https://example.org/a.png"),
        (r'<span class="math">\(x\)</span>', "1 formulas are not typeset"),
        ('<div style="width: 500px">x</div>', "px wider than a phone"),
    ],
)
def test_a_fault_is_named(tmp_path, body, problem):
    (tmp_path / "a.html").write_text(PAGE.format(body), encoding="utf-8")
    found = check_screens.check(tmp_path)
    assert all(text.startswith("a.html: ") for text in found)
    assert any(problem in text for text in found) if problem else found == []


@pytest.mark.parametrize(("height", "ends"), [(700, ""), (900, "of 900 px"), (0, "ends at 0")])
def test_an_answer_fits_one_screen(tmp_path, height, ends):
    (tmp_path / "notebooks").mkdir()
    body = ANSWER.format(height) if height else "no answer"
    (tmp_path / "notebooks" / "a.html").write_text(PAGE.format(body), encoding="utf-8")
    found = check_screens.check(tmp_path)
    assert bool(found) == bool(ends) and all(ends in text for text in found)


def test_a_chapter_has_an_end(tmp_path):
    (tmp_path / "notebooks").mkdir()
    body = ANSWER.format(100) + '<div style="height: 30000px"></div>'
    (tmp_path / "notebooks" / "a.html").write_text(PAGE.format(body), encoding="utf-8")
    (found,) = check_screens.check(tmp_path)
    assert "screens long, at most 25" in found


def test_a_page_that_only_leads_on_is_not_opened(tmp_path, capsys):
    lead = '<meta http-equiv="Refresh" content="0; url=b.html">'
    (tmp_path / "a.html").write_text(PAGE.format(lead), encoding="utf-8")
    assert check_screens.main([str(tmp_path)]) == 0
    assert "0 pages opened, 0 problems" in capsys.readouterr().out


def test_without_a_browser_it_says_so(monkeypatch, capsys):
    monkeypatch.setattr(check_screens, "BROWSERS", ("no-such-browser",))
    assert check_screens.main([]) == check_screens.MISSING
    assert "the screens are not checked" in capsys.readouterr().out
