"""Mend what other packages' templates write against the rules of HTML.

* MyST-NB puts paragraphs into the heads of its folds, and a label that differs from their words.
* sphinx-proof and sphinx-exercise give the content of every statement the same identity.
* IPython puts the style of highlighted code into the page's body, once for each output.
* The theme's navigation has arrows that unfold a part, without a name for who does not see them.
* A slider's script stands behind the caption, which must come last in a figure.
* Live figures bring the script that draws them, for notebooks; a page loads it once, from a file.
"""

from __future__ import annotations

import re
from typing import Any

from sphinx.application import Sphinx

_FOLD = re.compile(
    r'<summary aria-label="Toggle hidden content">\s*'
    r'<p class="(collapsed admonition-title)">([^<]*)</p>\s*'
    r'<p class="(expanded admonition-title)">([^<]*)</p>\s*</summary>'
)
_SAME_ID = re.compile(r'(<section\b[^>]*?) id="(?:proof|exercise|solution)-content"')
_STYLE = re.compile(r"<style>(pre \{.*?)</style>", flags=re.S)
_LIVE = re.compile(r'<script class="snn-live-script">.*?</script>', flags=re.S)
_SCRIPT_LAST = re.compile(r"(</figcaption>)(<script>.*?</script>)(</figure>)", flags=re.S)


def mend(body: str) -> tuple[str, list[str]]:
    """A page's body without these faults, and the style that belongs into its head.

    >>> mend('<section class="a" id="proof-content">')
    ('<section class="a">', [])
    >>> mend('<style>pre { margin: 0 }</style><pre>x</pre><style>pre { margin: 0 }</style>')
    ('<pre>x</pre>', ['pre { margin: 0 }'])
    >>> mend('</figure><script class="snn-live-script">draw()</script><p>x</p>')[0]
    '</figure><p>x</p>'
    >>> mend('<figcaption>c</figcaption><script>s()</script></figure>')[0]
    '<figcaption>c</figcaption></figure><script>s()</script>'
    """
    body = _FOLD.sub(
        r'<summary><span class="\1">\2</span><span class="\3">\4</span></summary>', body
    )
    body = _SAME_ID.sub(r"\1", body)
    body = _LIVE.sub("", body)
    body = _SCRIPT_LAST.sub(r"\1\3\2", body)
    styles = list(dict.fromkeys(_STYLE.findall(body)))
    return _STYLE.sub("", body), styles


def named(navigation: str) -> str:
    """The navigation with a name for each arrow.

    >>> named('<summary><span class="toctree-toggle" role="presentation">')
    '<summary aria-label="Pages below"><span class="toctree-toggle" role="presentation">'
    """
    toggle = '<span class="toctree-toggle"'
    return navigation.replace(f"<summary>{toggle}", f'<summary aria-label="Pages below">{toggle}')


def name_arrows(context: dict[str, Any]) -> None:
    """Have the theme's function that makes the sidebar's navigation name its arrows."""
    make = context.get("generate_toctree_html")
    if make is None:
        return

    def naming(kind: str, **options: Any) -> Any:
        made = make(kind=kind, **options)
        return named(str(made)) if kind == "sidebar" else made

    context["generate_toctree_html"] = naming


def mend_page(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: object
) -> None:
    """Mend one page."""
    name_arrows(context)
    if "body" in context:
        context["body"], styles = mend(context["body"])
        context["metatags"] = context.get("metatags", "") + "".join(
            f"<style>{style}</style>" for style in styles
        )


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the hook."""
    app.add_css_file("valid.css")
    app.connect("html-page-context", mend_page, priority=900)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
