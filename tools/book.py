"""Render the book: execute what is stale, build strictly, say where it is.

Usage: ``python -m tools.book``.

An edit in the library, in a chapter, in the claims or in the lock file makes chapters stale;
pytest executes those.  Then Jupyter Book renders every page from their cached outputs, and any
warning is an error.  Nothing is done if neither executions nor pages are stale.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from tools import chapters

SITE = chapters.BUILD / "html"
INDEX = SITE / "index.html"
STAMP = chapters.BUILD / "rendered"  # what the pages were made from


def wanted() -> str:
    """Hash everything that the pages depend on."""
    sources = chapters.files(
        "book", "notebooks", "snnlib", "results", "tools", skip=(".ipynb",)
    ) + chapters.files(*(f for f in ("_config.yml", "_toc.yml", "requirements.txt")))
    record = chapters.recorded_fingerprints()
    return chapters.fingerprint(sources, repr(sorted(record.items())), sys.version)


def execute() -> None:
    """Run the stale chapters as tests, which puts them into the book's cache."""
    stale = chapters.stale_chapters()
    if stale:
        print(f"executing {len(stale)} of {len(chapters.executable())} chapters", flush=True)
        _call("-m", "pytest", f"-n{min(2, len(stale))}", *map(str, stale))


def render() -> None:
    """Build all pages anew: Sphinx would keep the pages of chapters whose text is unchanged."""
    STAMP.unlink(missing_ok=True)
    for folder in (SITE, chapters.BUILD / ".doctrees", chapters.BUILD / "jupyter_execute"):
        shutil.rmtree(folder, ignore_errors=True)
    program = Path(sys.executable).with_name("jupyter-book")
    _call("-W", "ignore", str(program), "build", ".", "-W", "--keep-going", "-q")


def _call(*arguments: str) -> None:
    """Run Python in the project's root and stop with its exit status if it fails."""
    status = subprocess.run([sys.executable, *arguments], cwd=chapters.ROOT).returncode
    if status:
        sys.exit(status)


def main() -> None:
    """Bring the book up to date and print its path."""
    execute()
    target = wanted()
    if not (INDEX.exists() and STAMP.exists() and STAMP.read_text(encoding="utf-8") == target):
        render()
        STAMP.write_text(target, encoding="utf-8")
    print(INDEX)


if __name__ == "__main__":
    main()
