"""Make the built book self-contained: no network, no console errors, working launch links.

* MathJax and its fonts are copied out of the pip package ``sphinx-mathjax-offline`` (only the
  parts a page loads, 1.8 MB of 24) and served from ``_static/mathjax``.
* Inline scripts that Sphinx emits twice are dropped: the second one redeclares constants, an
  error in the browser's console.
* Colab opens ``.ipynb`` files only, so its button points at the ones that the build publishes
  under ``_sources/``; they get a first cell that fetches the book and its library there.
* What extensions write and HTML does not allow is mended: roles of the list of references, ids
  that every proof, exercise and solution shares, and paragraphs inside the label of a fold.
"""

from __future__ import annotations

import re
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import nbformat
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

MATHJAX_PARTS = ("tex-chtml-full.js", "output/chtml/fonts/woff-v2")

COLAB_CELL = """\
# Only on Google Colab: fetch the book and install its library. Elsewhere this does nothing.
import os, sys
if "google.colab" in sys.modules and not os.path.exists("/content/{name}"):
    !git clone --quiet --depth 1 --branch {branch} {url} /content/{name}
    %pip install --quiet "/content/{name}[{extras}]"
    %pip install --quiet --no-deps -r /content/{name}/requirements-peers.txt
    sys.path.insert(0, "/content/{name}")
    os.chdir("/content/{name}/{folder}")
"""


def mathjax_source() -> Path:
    """Folder of the MathJax files inside the installed pip package."""
    spec = find_spec("sphinx-mathjax-offline")
    if spec is None or spec.origin is None:
        raise ExtensionError(
            "offline_assets: the package sphinx-mathjax-offline is not installed; "
            "install the book's lock file (requirements.txt)"
        )
    return Path(spec.origin).parent / "static" / "mathjax"


def copy_mathjax(app: Sphinx, exception: Exception | None) -> None:
    """Copy the needed MathJax files into the built book, unless they are there already."""
    if exception is not None or app.builder.format != "html":
        return
    target = Path(app.outdir) / "_static" / "mathjax"
    for part in MATHJAX_PARTS:
        source, copy = mathjax_source() / part, target / part
        if copy.exists():
            continue
        copy.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, copy)
        else:
            shutil.copy2(source, copy)


def drop_duplicate_scripts(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: object
) -> None:
    """Keep each inline script once (Sphinx 7.4 emits those of sphinx-thebe twice)."""
    seen: set[str] = set()
    kept = []
    for script in context["script_files"]:
        body = getattr(script, "attributes", {}).get("body")
        if body is not None:
            if body in seen:
                continue
            seen.add(body)
        kept.append(script)
    context["script_files"][:] = kept


_SHARED_ID = re.compile(r' id="(?:proof|exercise|solution)-content"')
_FOLD = re.compile(
    r'<summary aria-label="Toggle hidden content">\s*(<p class="collapsed.*?)\s*</summary>',
    re.DOTALL,
)


def valid(body: str) -> str:
    """HTML of a page without what HTML does not allow.

    Args:
        body: the page as Sphinx and its extensions wrote it.

    Example:
        >>> valid('<section id="proof-content">x</section>')
        '<section>x</section>'
    """
    if 'role="doc-biblioentry"' in body:
        body = body.replace(' role="doc-biblioentry"', "")
        body = body.replace(' role="list" class="citation-list"', ' class="citation-list"')
    body = _SHARED_ID.sub("", body)
    # The words of a fold's label are its name, so no other name beside them.
    return _FOLD.sub(
        lambda m: f"<summary>{m[1].replace('<p ', '<span ').replace('</p>', '</span>')}</summary>",
        body,
    )


def mend(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: object
) -> None:
    """Make a page valid."""
    context["body"] = valid(context.get("body", ""))


def colab_cell(*, url: str, branch: str, folder: str, extras: str) -> str:
    """Source of the cell that makes a published notebook run on Colab."""
    return COLAB_CELL.format(
        name=url.rstrip("/").rsplit("/", 1)[-1],
        url=url,
        branch=branch,
        folder=folder,
        extras=extras,
    ).rstrip()


def point_colab_at_notebook(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: object
) -> None:
    """Point the Colab button at the published ``.ipynb`` and make that file run there."""
    for group in context.get("header_buttons", []):
        for button in group.get("buttons", []) if isinstance(group, dict) else []:
            if button.get("text") != "Colab":
                continue
            head, _, _ = button["url"].partition("/blob/")
            button["url"] = f"{head}/blob/{app.config.ipynb_branch}/_sources/{pagename}.ipynb"
    published = Path(app.outdir) / "_sources" / f"{pagename}.ipynb"
    if not context.get("ipynb_source") or not published.exists():
        return
    options = app.config.html_theme_options
    cell = colab_cell(
        url=options.get("repository_url", ""),
        branch=options.get("repository_branch", "main"),
        folder=str(Path(pagename).parent),
        extras=app.config.colab_extras,
    )
    notebook = nbformat.read(published, as_version=4)
    first = nbformat.v4.new_code_cell(cell)
    if notebook.nbformat_minor < 5:  # cell ids came with nbformat 4.5
        first.pop("id", None)
    else:
        first["id"] = "colab"
    notebook.cells.insert(0, first)
    nbformat.write(notebook, published)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the hooks."""
    app.add_config_value("ipynb_branch", "gh-pages", "html")
    app.add_config_value("colab_extras", "book", "html")
    app.config.mathjax_path = "mathjax/tex-chtml-full.js"
    app.connect("html-page-context", drop_duplicate_scripts, priority=900)
    app.connect("html-page-context", mend, priority=900)
    app.connect("html-page-context", point_colab_at_notebook, priority=900)
    app.connect("build-finished", copy_mathjax)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
