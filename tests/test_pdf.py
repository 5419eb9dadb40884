"""The book as one PDF: its contents, its page numbers and its links."""

from __future__ import annotations

import io

import pytest
import yaml
from pypdf import PdfReader, PdfWriter

from tools import book, chapters, pdf
from tools.browser import chromium

PAGE = "<!doctype html><html><head><title>t</title></head><body><h1>{}<a>#</a></h1>{}</body></html>"
in_browser = pytest.mark.skipif(chromium.browser() is None, reason="no Chromium")


def test_the_parts_are_those_of_the_table_of_contents():
    toc = yaml.safe_load((chapters.ROOT / "_toc.yml").read_text(encoding="utf-8"))
    parts = pdf.parts(toc, ["book/claims/a2024", "book/claims/book/b"])
    names = [name for part in parts for name in part.pages]
    assert names[0] == toc["root"] and len(names) == len(set(names))
    assert set(names) >= {f"notebooks/{chapters.slug(path)}" for path in chapters.chapters()}
    assert pdf.SHEET in names and not [name for name in names if name.startswith(pdf.LEFT_OUT)]
    below = {"root": "a", "parts": [{"caption": "P", "chapters": [
        {"file": "b", "sections": [{"file": "c"}, {"file": "book/api/x"}]}]}]}  # fmt: skip
    assert pdf.parts(below, [])[1].pages == ("b", "c")


def test_contents_name_each_page_once():
    text = pdf.contents("T & U", "by", [("Part", "A < B", 3), ("", "C", 12)])
    assert text.count("<h2>Part</h2>") == 1 and "T &amp; U" in text
    assert "<span>A &lt; B</span><span></span><span>3</span>" in text
    assert "<span>C</span><span></span><span>12</span>" in text


@in_browser
def test_pages_are_numbered_on_and_links_lead_inside(tmp_path, monkeypatch):
    monkeypatch.setattr(book, "SITE", tmp_path)
    long = '<p style="break-after: page">x</p><p>y</p>'
    here = f'<a href="b.html#s">b</a> <a href="c.html#t">c</a> <a href="https://x.org/">x</a>{long}'
    for name, body in (("a", here), ("b", "end")):
        (tmp_path / f"{name}.html").write_text(PAGE.format(name, body), encoding="utf-8")
    writer, first = PdfWriter(), {}
    with chromium.launched() as program, chromium.tab(program) as tab:
        for name in ("a", "b"):
            first[name] = len(writer.pages)
            title, made = pdf.print_page(tab, name, 6 + first[name])
            assert title == name
            writer.append(io.BytesIO(made))
    assert pdf.link_inside(writer, first, "https://book.org/") == 2
    writer.write(tmp_path / "book.pdf")
    pages = PdfReader(tmp_path / "book.pdf").pages
    assert [page.extract_text().split()[0] for page in pages] == ["7", "8", "9"]
    actions = [a.get_object()["/A"] for a in pages[0]["/Annots"]]
    assert [a.get("/URI") for a in actions] == [None, "https://book.org/c.html#t", "https://x.org/"]
    assert actions[0]["/D"][0].get_object() == pages[first["b"]].get_object()
    assert str(tmp_path).encode() not in (tmp_path / "book.pdf").read_bytes()


def test_without_a_browser_it_says_so(monkeypatch, capsys):
    monkeypatch.setattr(chromium, "BROWSERS", ("no-such-browser",))
    assert pdf.main([]) == 1
    assert "no-such-browser" in capsys.readouterr().out
