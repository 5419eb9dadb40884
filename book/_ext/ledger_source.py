"""A file of the list of claims is a page of the book: its claims, one card each.

So a source has one page, and the lemmas of the book one for each chapter, without a list of pages
that somebody would have to keep.  The page of a file without claims lists the files of the folder
of its name.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, ClassVar

import yaml
from ledger_env import claims_of_file
from myst_parser.parsers.sphinx_ import MystParser


def title_of(path: Path, text: str, root: Path) -> str:
    """Title of a claims file's page: its chapter's if it is in a subfolder, else its source's."""
    chapter = root / "notebooks" / f"{path.stem}.md"
    if chapter.exists():
        found = re.search(r"^# (.+)$", chapter.read_text(encoding="utf-8"), flags=re.M)
        if found:
            return f"Lemmas: {found[1]}"
    head, _, _ = text.partition("\nclaims:")
    sources = (yaml.safe_load(head) or {}).get("sources") or {}
    return ", ".join(sources.values()) or path.stem


def page_of(path: Path, text: str, root: Path) -> str:
    """The page of a claims file, in the language of the other pages."""
    what = "claims" if claims_of_file(text) else "folder"
    return f"# {title_of(path, text, root)}\n\n```{{ledger-{what}}}\n```\n"


class ClaimsParser(MystParser):
    """Reads a claims file as the page that shows it."""

    supported: ClassVar[tuple[str, ...]] = ("ledger-claims",)

    def parse(self, inputstring: str, document: Any) -> None:
        """Parse the page."""
        path = Path(self.env.doc2path(self.env.docname))
        super().parse(page_of(path, inputstring, Path(self.env.srcdir)), document)
