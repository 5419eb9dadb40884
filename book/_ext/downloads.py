"""Offer all chapters as one archive of notebooks, and say how to cite the book.

When the pages are written, the executed notebooks that the build publishes under ``_sources`` are
put into ``notebooks.zip`` beside them.  ``{cite-book}`` shows the BibTeX entry of ``CITATION.cff``,
which a button copies.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import snnlib

ARCHIVE = "notebooks.zip"
EPOCH = (1980, 1, 1, 0, 0, 0)  # the same archive from the same notebooks


def pack(folder: Path, target: Path) -> list[str]:
    """Put all notebooks below a folder into an archive; return their names in it."""
    files = sorted(folder.rglob("*.ipynb"))
    names = [path.relative_to(folder).as_posix() for path in files]
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, name in zip(files, names, strict=True):
            archive.writestr(zipfile.ZipInfo(name, EPOCH), path.read_bytes(), zipfile.ZIP_DEFLATED)
    return names


def write_archive(app: Sphinx, exception: Exception | None) -> None:
    """Pack the notebooks of a finished build."""
    if exception is None and app.builder.format == "html":
        pack(Path(app.outdir) / "_sources", Path(app.outdir) / ARCHIVE)


def bibtex(citation: Mapping[str, Any], *, year: str, version: str) -> str:
    """BibTeX entry of a citation file.

    Args:
        citation: Content of ``CITATION.cff``.
        year: Of this version.
        version: Of the library.

    Returns:
        The entry.

    Example:
        >>> entry = {"title": "A: b", "authors": [{"name": "The x"}],
        ...          "repository-code": "https://x.org"}
        >>> print(bibtex(entry, year="2026", version="1.0"))
        @software{a2026,
          author  = {{The x}},
          title   = {{A: b}},
          year    = {2026},
          version = {1.0},
          url     = {https://x.org}
        }
    """
    authors = [
        f"{{{a['name']}}}" if "name" in a else f"{a['family-names']}, {a['given-names']}"
        for a in citation["authors"]
    ]
    key = re.sub(r"\W.*", "", str(citation["title"])).lower() + year
    fields = {
        "author": " and ".join(authors),
        "title": f"{{{citation['title']}}}",
        "year": year,
        "version": version,
        "url": citation["repository-code"],
    }
    lines = ",\n".join(f"  {name:<7} = {{{value}}}" for name, value in fields.items())
    return f"@software{{{key},\n{lines}\n}}"


class CiteBook(SphinxDirective):
    """The BibTeX entry of this version of the book."""

    def run(self) -> list[nodes.Node]:
        """Return it as a block that the copy button knows."""
        path = Path(self.env.srcdir) / "CITATION.cff"
        self.env.note_dependency(str(path))
        citation = yaml.safe_load(path.read_text(encoding="utf-8"))
        text = bibtex(citation, year=self.config.copyright[:4], version=snnlib.__version__)
        return [nodes.literal_block(text, text, language="bibtex")]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive and the hook."""
    app.add_directive("cite-book", CiteBook)
    app.connect("build-finished", write_archive)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
