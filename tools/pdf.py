"""The whole book as one PDF, printed by the browser: contents, page numbers, links, bookmarks.

Usage: ``python -m tools.pdf [_build/html/snnbook.pdf]`` after ``make book``.

Each page of the table of contents is printed with the print style sheet.  Links between pages,
which lead to files then, lead inside the PDF; those to pages that are not in it lead to the book
online.  The page numbers are printed by the browser too: a page starts to count where the one
before it ended.
"""

from __future__ import annotations

import html
import io
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from sphinx.util.matching import patfilter

from tools import book, chapters
from tools.browser import chromium

TARGET = book.SITE / "snnbook.pdf"
SHEET = "book/formula-sheet"  # one page, printed alone too
LEFT_OUT = ("book/api",)  # with its pages, hundreds of pages that one searches, not reads
_PAPER = "@page { size: A4; margin: 16mm 17mm 18mm; }"
# Numbers continue where the page before ended; the browser's own footer would begin anew.
_NUMBERS = (
    "@page {{ @bottom-center {{ content: counter(page); font: 9pt sans-serif; }} }}"
    "html {{ counter-reset: page {before}; }}"
)
_UNLINK = "() => document.querySelectorAll('a').forEach(a => a.removeAttribute('href'))"
_CONTENTS = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>
body {{ font: 11pt/1.5 sans-serif; }}
h1 {{ font-size: 22pt; margin: 60mm 0 4mm; }}
h2 {{ font-size: 12pt; margin: 5mm 0 1mm; break-after: avoid; }}
.contents {{ break-before: page; }}
a {{ display: flex; gap: 2mm; color: inherit; text-decoration: none; }}
a span:nth-child(2) {{ flex: 1; border-bottom: 1px dotted #888; margin-bottom: 1.6mm; }}
</style></head><body><h1>{title}</h1><p>{subtitle}</p><div class="contents">{lines}</div></body>
</html>"""


@dataclass(frozen=True)
class Part:
    """A part of the table of contents: its title, and its pages in their order."""

    title: str
    pages: tuple[str, ...]


def parts(toc: Mapping[str, Any], pages: Sequence[str]) -> list[Part]:
    """Parts of a table of contents, without the pages that are left out.

    Args:
        toc: The table of contents.
        pages: All pages of the book, for the entries that are patterns.

    Returns:
        The parts; the first one is the front page alone.

    Example:
        >>> parts({"root": "a", "parts": [{"caption": "P", "chapters": [{"glob": "b*"}]}]},
        ...       ["a", "b2", "b1"])
        [Part(title='', pages=('a',)), Part(title='P', pages=('b1', 'b2'))]
    """
    found, seen = [Part("", (toc["root"],))], {toc["root"]}
    for part in toc["parts"]:
        names = [name for entry in part["chapters"] for name in _files(entry, pages)]
        names = [name for name in dict.fromkeys(names) if name not in seen]
        seen.update(names)
        found.append(Part(part["caption"], tuple(names)))
    return found


def _files(entry: Mapping[str, Any], pages: Iterable[str]) -> Iterator[str]:
    """Pages of an entry and of those below it."""
    names = [str(entry["file"])] if "file" in entry else sorted(patfilter(pages, entry["glob"]))
    yield from (name for name in names if not name.startswith(LEFT_OUT))
    for below in entry.get("sections", ()):
        yield from _files(below, pages)


def contents(title: str, subtitle: str, lines: Sequence[tuple[str, str, int]]) -> str:
    """Title page and contents as HTML.

    Args:
        title: The book's.
        subtitle: Authors, version, date.
        lines: Part (empty where it is the one before), title and first page of each page.

    Returns:
        A document to print.
    """
    rows = []
    for part, name, page in lines:
        rows += [f"<h2>{html.escape(part)}</h2>"] if part else []
        rows.append(f"<a><span>{html.escape(name)}</span><span></span><span>{page}</span></a>")
    return _CONTENTS.format(
        title=html.escape(title), subtitle=html.escape(subtitle), lines="\n".join(rows)
    )


def printed(page: Any) -> bytes:
    """Print what a page of the browser shows."""
    page.add_style_tag(content=_PAPER)
    made: bytes = page.pdf(prefer_css_page_size=True, print_background=True, tagged=True)
    return made


def print_page(tab: chromium.Tab, name: str, before: int) -> tuple[str, bytes]:
    """Title and PDF of a page of the book, which begins behind some pages."""
    tab.open((book.SITE / f"{name}.html").as_uri())
    tab.page.add_style_tag(content=_NUMBERS.format(before=before))
    title = str(tab.page.evaluate("() => document.querySelector('h1').firstChild.textContent"))
    return title.strip(), printed(tab.page)


def alone(tab: chromium.Tab) -> bytes:
    """Print the sheet of formulas by itself: one page without a number."""
    tab.open((book.SITE / f"{SHEET}.html").as_uri())
    tab.page.evaluate(
        "() => document.querySelectorAll('a').forEach(a => a.removeAttribute('href'))"
    )
    return printed(tab.page)


def link_inside(writer: Any, first: Mapping[str, int], online: str) -> int:
    """Let links to the site's files lead to their pages in the PDF, or to the book online.

    Args:
        writer: The joined PDF.
        first: Page of the book -> number of its first page in the PDF, from 0.
        online: Where the book is online.

    Returns:
        Number of links that were changed.
    """
    from pypdf.generic import ArrayObject, DictionaryObject, NameObject, TextStringObject

    changed = 0
    for page in writer.pages:
        for reference in page.get("/Annots") or ():
            annotation = reference.get_object()
            action = annotation.get("/A")
            address = str(action.get_object().get("/URI", "")) if action else ""
            if not address.startswith("file:"):
                continue
            parts = urlsplit(address)
            path = Path(unquote(parts.path))
            name = path.relative_to(book.SITE).as_posix() if path.is_relative_to(book.SITE) else ""
            changed += 1
            if name.removesuffix(".html") in first:
                target = writer.pages[first[name.removesuffix(".html")]].indirect_reference
                where = ArrayObject([target, NameObject("/Fit")])
                new = {NameObject("/S"): NameObject("/GoTo"), NameObject("/D"): where}
            else:
                there = f"{online}{name}" + (f"#{parts.fragment}" if parts.fragment else "")
                uri = TextStringObject(there)
                new = {NameObject("/S"): NameObject("/URI"), NameObject("/URI"): uri}
            annotation[NameObject("/A")] = DictionaryObject(new)
    return changed


def count(pdf: bytes) -> int:
    """Number of pages of a PDF."""
    from pypdf import PdfReader

    return len(PdfReader(io.BytesIO(pdf)).pages)


def make(target: Path) -> int:
    """Print the book and join its pages.

    Args:
        target: The PDF's path.

    Returns:
        Its number of pages.
    """
    import yaml
    from pypdf import PdfWriter

    config = yaml.safe_load((chapters.ROOT / "_config.yml").read_text(encoding="utf-8"))
    toc = yaml.safe_load((chapters.ROOT / "_toc.yml").read_text(encoding="utf-8"))
    pages = [name.removesuffix(".html") for name in chromium.pages(book.SITE)]
    listed = [(part.title, name) for part in parts(toc, pages) for name in part.pages]
    subtitle = f"{config['author']}, {config['copyright']}"
    with chromium.launched() as program, chromium.tab(program) as tab:

        def front(lines: Sequence[tuple[str, str, int]]) -> bytes:
            tab.page.set_content(contents(config["title"], subtitle, lines))
            return printed(tab.page)

        heads = [
            part if i == 0 or listed[i - 1][0] != part else "" for i, (part, _) in enumerate(listed)
        ]
        rough = [(head, name, 1) for head, (_, name) in zip(heads, listed, strict=True)]
        before = room = count(front(rough))
        done: list[tuple[str, str, str, int, bytes]] = []
        for part, name in listed:
            title, pdf = print_page(tab, name, before)
            done.append((part, name, title, before, pdf))
            if name == SHEET:
                target.with_name("formula-sheet.pdf").write_bytes(alone(tab))
            before += count(pdf)
            print(f"{name}: to page {before}", flush=True)
        lines = [(h, d[2], d[3] + 1) for h, d in zip(heads, done, strict=True)]
        first_pages = front(lines)
    if count(first_pages) > room:
        raise RuntimeError(
            f"the contents take {count(first_pages)} pages, {room} were left for them"
        )
    writer = PdfWriter()
    writer.append(io.BytesIO(first_pages), import_outline=False)
    while len(writer.pages) < room:  # titles are shorter than the names that stood for them
        writer.add_blank_page()
    parent = None
    for head, (part, _, title, place, pdf) in zip(heads, done, strict=True):
        writer.append(io.BytesIO(pdf), import_outline=False)
        if head:
            parent = writer.add_outline_item(title=part, page_number=place)
        writer.add_outline_item(title=title, page_number=place, parent=parent)
    link_inside(writer, {name: place for _, name, _, place, _ in done}, config["html"]["baseurl"])
    writer.add_metadata({"/Title": config["title"], "/Author": config["author"]})
    writer.compress_identical_objects()  # each page brought its own fonts
    writer.write(target)
    return len(writer.pages)


def main(arguments: Sequence[str]) -> int:
    """Print the book; 0 if it was done."""
    if chromium.browser() is None:
        print(f"no browser ({', '.join(chromium.BROWSERS)}) to print with")
        return 1
    target = Path(arguments[0]).resolve() if arguments else TARGET
    total = make(target)
    print(f"{target}: {total} pages, {target.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
