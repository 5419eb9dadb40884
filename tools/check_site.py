"""Check a built book without a network: links, anchors, loads from elsewhere, alternative texts.

Usage: ``python -m tools.check_site [_build/html]``, or with ``--elsewhere`` before it for a list
of all addresses that lead away, with the pages that hold them.

Reports, for every page, a link or image whose file is missing, a link to an anchor that is not
there, anything that the browser would load from another machine, an image without an alternative
text (or with a file name as one), an address of this machine, and one that leads away and cannot be
right by its form (no https, no host, no DOI where one belongs).  The exit status is 1 if
anything was found.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bs4 import BeautifulSoup, Tag

# What a browser fetches by itself: tag -> attributes.
LOADS = {
    "audio": ("src",),
    "embed": ("src",),
    "iframe": ("src",),
    "image": ("href", "xlink:href"),
    "img": ("src", "srcset"),
    "input": ("src",),
    "link": ("href",),
    "object": ("data",),
    "script": ("src",),
    "source": ("src", "srcset"),
    "track": ("src",),
    "use": ("href", "xlink:href"),
    "video": ("src", "poster"),
}
# What `make pdf` adds to the site, after this check.
PRINTED = ("formula-sheet.pdf", "snnbook.pdf")
# Relations of <link> that are not fetched.
NOT_LOADED = {"author", "canonical", "license", "next", "prev", "search"}
IMAGE_FILE = re.compile(r"\.(svg|png|jpe?g|gif|webp)$", re.IGNORECASE)
CSS_ADDRESS = re.compile(r"url\(\s*['\"]?((?:https?:)?//[^'\")]+)|@import\s+['\"](https?:[^'\"]+)")


def read_pages(root: Path) -> dict[Path, BeautifulSoup]:
    """Parse all pages of a site."""
    return {
        path: BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
        for path in sorted(root.rglob("*.html"))
        if "_static" not in path.relative_to(root).parts  # the theme's templates
    }


def anchors(page: BeautifulSoup) -> set[str]:
    """Places on a page that a link can point to."""
    found = {str(tag["id"]) for tag in page.find_all(id=True)}
    return found | {str(tag["name"]) for tag in page.find_all("a", attrs={"name": True})}


def is_elsewhere(address: str) -> bool:
    """Whether an address is on another machine.

    >>> is_elsewhere("https://a.org/b.js"), is_elsewhere("//a.org/b.js"), is_elsewhere("b.js")
    (True, True, False)
    """
    parts = urlsplit(address)
    return bool(parts.netloc) or parts.scheme in ("http", "https", "ftp")


def malformed(address: str) -> str:
    """What cannot be right about an address elsewhere; empty if its form is.

    Example:
        >>> malformed("https://doi.org/10.1000/182"), malformed("http://a.org/")
        ('', 'is not https')
    """
    parts = urlsplit(address)
    rules = (
        (parts.scheme == "https", "is not https"),
        (re.fullmatch(r"([\w-]+\.)+[a-z]{2,}(:\d+)?", parts.netloc), "has no host"),
        (not re.search(r"\s", address), "holds a space"),
        # What a query holds is a sentence where a form is filled in.
        (
            not re.search(r"[.,;)\]]$", address) or "(" in address or parts.query,
            "ends in punctuation",
        ),
        (
            parts.netloc != "doi.org" or re.match(r"/10\.\d{4,9}/\S", parts.path),
            "holds no DOI",
        ),
        (
            not (parts.netloc == "arxiv.org" and parts.path.startswith("/abs/"))
            or re.fullmatch(r"/abs/(\d{4}\.\d{4,5}|[a-z.-]+/\d{7})(v\d+)?", parts.path),
            "holds no number of arXiv",
        ),
        (
            parts.netloc != "github.com" or re.match(r"/[\w-]+/[\w.-]+", parts.path),
            "names no repository",
        ),
    )
    return next((why for fits, why in rules if not fits), "")


def elsewhere(root: Path) -> dict[str, list[str]]:
    """Addresses of links that lead away from a site, with the pages that hold them."""
    found: dict[str, list[str]] = {}
    for path, page in read_pages(root).items():
        for tag in page.find_all("a", href=True):
            address = str(tag["href"])
            name = path.relative_to(root).as_posix()
            if is_elsewhere(address) and name not in found.setdefault(address, []):
                found[address].append(name)
    return dict(sorted(found.items()))


def loads(tag: Tag) -> Iterator[str]:
    """Addresses that a browser fetches for a tag."""
    if tag.name == "link" and NOT_LOADED & set(tag.get_attribute_list("rel")):
        return
    for attribute in LOADS.get(tag.name, ()):
        value = tag.get(attribute)
        if not value:
            continue
        if attribute == "srcset":
            yield from (part.split()[0] for part in str(value).split(",") if part.strip())
        else:
            yield str(value)


def check_page(
    path: Path, page: BeautifulSoup, places: dict[Path, set[str]], root: Path
) -> Iterator[str]:
    """Problems of one page."""
    for tag in page.find_all(True):
        for address in loads(tag):
            if is_elsewhere(address):
                yield f"loads {address}"
        for attribute in ("href", "src", "data", "poster"):
            address = str(tag.get(attribute) or "")
            parts = urlsplit(address)
            if not address or parts.scheme or parts.netloc:
                if parts.scheme == "file":
                    yield f"link to a file of this machine: {address}"
                elif tag.name == "a" and is_elsewhere(address) and (why := malformed(address)):
                    yield f"{address} {why}"
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if parts.path.startswith("/"):
                yield f"absolute path {address}"
                continue
            if target.is_dir():
                target /= "index.html"
            if target in {root / name for name in PRINTED}:
                continue
            if not target.is_relative_to(root) or not target.exists():
                yield f"missing {address}"
            elif parts.fragment and unquote(parts.fragment) not in places.get(
                target, {unquote(parts.fragment)}
            ):
                yield f"no anchor {address}"
        if tag.name == "img":
            yield from check_image(tag)
    for style in page.find_all("style"):
        for match in CSS_ADDRESS.finditer(style.get_text()):
            yield f"style loads {match[1] or match[2]}"


def check_image(tag: Tag) -> Iterator[str]:
    """Problems of an image's alternative text."""
    text = tag.get("alt")
    if text is None or not str(text).strip():
        if text is None or not is_decoration(tag):
            yield f"image without alternative text: {str(tag.get('src') or '')[:60]}"
    elif IMAGE_FILE.search(str(text).strip()):
        yield f"image with a file name as alternative text: {text}"


def is_decoration(tag: Tag) -> bool:
    """Whether an image stands in a link or button that says the same in words."""
    parent = tag.find_parent(["a", "button"])
    return parent is not None and bool(parent.get_text(strip=True))


def check_styles(root: Path) -> Iterator[str]:
    """Style sheets that load something from elsewhere."""
    for path in sorted(root.rglob("*.css")):
        for match in CSS_ADDRESS.finditer(path.read_text(encoding="utf-8", errors="replace")):
            yield f"{path.relative_to(root)}: loads {match[1] or match[2]}"


def check(root: Path) -> tuple[int, list[str]]:
    """Check a site.

    Args:
        root: Folder of the built pages.

    Returns:
        Number of pages and the problems, each with its page.

    Raises:
        ValueError: If the folder holds no page.
    """
    root = root.resolve()
    pages = read_pages(root)
    if not pages:
        raise ValueError(f"root must hold HTML pages, got {root}")
    places = {path: anchors(page) for path, page in pages.items()}
    problems = [
        f"{path.relative_to(root)}: {problem}"
        for path, page in pages.items()
        for problem in dict.fromkeys(check_page(path, page, places, root))
    ]
    return len(pages), problems + list(check_styles(root))


def main(arguments: Sequence[str] | None = None) -> int:
    """Check one site and print what was found."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    listing = "--elsewhere" in given
    given = [argument for argument in given if argument != "--elsewhere"]
    root = Path(given[0]) if given else Path("_build/html")
    if listing:
        for address, names in elsewhere(root).items():
            print(address, *names[:3], *(["..."] if len(names) > 3 else []))
        return 0
    count, problems = check(root)
    for problem in problems:
        print(problem)
    print(f"{root}: {count} pages, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
