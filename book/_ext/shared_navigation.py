"""Build the navigation of pages outside the book once for each folder.

Sphinx copies the whole table of contents for every page.  The pages that are in it differ by what
is marked as current; those that are not, the sources of the modules and the index, differ by
nothing but the way from their folder, and are three in four of all.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Container
from typing import Any

from sphinx.application import Sphinx


class SharedNavigation:
    """Keeps the navigation of each folder."""

    def __init__(self) -> None:
        self.made: dict[tuple[Any, ...], str] = {}

    def shared(
        self, pagename: str, documents: Container[str], toctree: Callable[..., str]
    ) -> Callable[..., str]:
        """The template function `toctree` of a page, or one that remembers."""
        if pagename in documents:
            return toctree

        def remembering(**options: Any) -> str:
            key = (posixpath.dirname(pagename), *sorted(options.items()))
            if key not in self.made:
                self.made[key] = toctree(**options)
            return self.made[key]

        return remembering


def setup(app: Sphinx) -> dict[str, Any]:
    navigation = SharedNavigation()

    def share(app: Sphinx, pagename: str, template: str, context: dict[str, Any], _: Any) -> None:
        if "toctree" in context:
            documents = app.env.all_docs
            context["toctree"] = navigation.shared(pagename, documents, context["toctree"])

    app.connect("html-page-context", share)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
