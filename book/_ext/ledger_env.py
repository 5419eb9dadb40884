"""What the ledger's pages keep in Sphinx's environment: claims, placeholders, homes of claims."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.environment import BuildEnvironment

from snnlib import ledger


class Slot(nodes.General, nodes.Inline, nodes.Element):
    """A placeholder that is replaced when its page is written."""


class Card(nodes.container):
    """Everything about one claim; its verdict becomes a CSS class when the page is written."""


def visit_card(translator: Any, card: Card) -> None:
    """Open a card; what the filters ask for stands in ``data-`` attributes."""
    data = {f"data-{name}": value for name, value in card.get("data", {}).items()}
    translator.body.append(translator.starttag(card, "div", **data))


def depart_card(translator: Any, card: Card) -> None:
    """Close a card."""
    translator.body.append("</div>\n")


def claims_path(env: BuildEnvironment) -> Path:
    """Folder (or file) of the list of claims."""
    return Path(env.srcdir) / env.config.ledger_claims


def claims_files(env: BuildEnvironment) -> list[Path]:
    """What the list of claims is read from; the folder too, which changes with its files."""
    path = claims_path(env)
    return [path, *sorted(path.rglob("*"))]


def depend_on_claims(env: BuildEnvironment) -> None:
    """Note that the page that is being read depends on the list of claims."""
    for path in claims_files(env):
        env.note_dependency(str(path))


def registered(env: BuildEnvironment) -> ledger.Claims:
    """The list of claims, read once per change of its files."""
    path = claims_path(env)
    stamp = [(file, file.stat().st_mtime_ns) for file in claims_files(env)]
    cached = getattr(env.app, "_ledger_claims", None)
    if cached is None or cached[0] != stamp:
        cached = (stamp, ledger.read_claims(path))
        env.app._ledger_claims = cached  # type: ignore[attr-defined]
    return cached[1]


def claims_of_file(text: str) -> list[str]:
    """Names of the claims in the text of a claims file, in its order.

    >>> claims_of_file("sources:\\n  a: A\\nclaims:\\n  # 1\\n  a.eq1:\\n    source: a\\n  a.x:\\n")
    ['a.eq1', 'a.x']
    """
    _, _, block = f"\n{text}".partition("\nclaims:")
    return re.findall(r"^  ['\"]?([\w.-]+)['\"]?:", block, flags=re.M)


def ledger_pages(env: BuildEnvironment) -> dict[str, list[str]]:
    """Pages with placeholders: document name -> kinds of its placeholders."""
    if not hasattr(env, "ledger_page_kinds"):
        env.ledger_page_kinds = {}  # type: ignore[attr-defined]
    return env.ledger_page_kinds  # type: ignore[attr-defined]


def homes(env: BuildEnvironment) -> dict[str, str]:
    """Where the card of each claim is: claim -> document name."""
    if not hasattr(env, "ledger_homes"):
        env.ledger_homes = {}  # type: ignore[attr-defined]
    return env.ledger_homes  # type: ignore[attr-defined]


def notebook_names(env: BuildEnvironment) -> list[str]:
    """Names of the book's notebooks."""
    return sorted(d for d in env.found_docs if "kernelspec" in env.metadata.get(d, {}))


def chapter_document(env: BuildEnvironment, slug: str) -> str | None:
    """Document name of a chapter, if it is in the book."""
    matches = [d for d in notebook_names(env) if slug and d.rpartition("/")[2] == slug]
    return matches[0] if matches else None


def chapter_title(env: BuildEnvironment, slug: str) -> str:
    """Title of a chapter; its name if it is not in the book."""
    docname = chapter_document(env, slug)
    return env.titles[docname].astext() if docname else slug.replace("-", " ")


def chapter_order(env: BuildEnvironment) -> Mapping[str, int]:
    """Place of each chapter in the book."""
    order: dict[str, int] = {}
    seen: set[str] = set()

    def visit(docname: str) -> None:
        if docname not in seen:
            seen.add(docname)
            order[docname.rpartition("/")[2]] = len(order)
            for child in env.toctree_includes.get(docname, []):
                visit(child)

    visit(env.config.root_doc)
    return order
