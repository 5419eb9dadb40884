"""Two programs of others: axe for accessibility, the Nu HTML checker for valid HTML."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools import chapters

MODULES = chapters.BUILD / "checks" / "node_modules"  # `make browser` installs them there
AXE = MODULES / "axe-core" / "axe.min.js"
CHECKER = MODULES / "vnu-jar" / "build" / "dist" / "vnu.jar"
# Typeset formulas are MathJax's own, the colours of code are the same in every block, and both are
# most of the elements of a page: words stand in for the former, and three blocks for all.
_SPARE = """() => {
  for (const m of document.querySelectorAll("mjx-container")) m.replaceWith("formula");
  for (const c of [...document.querySelectorAll("div.highlight pre")].slice(3))
    c.textContent = c.textContent;
}"""
_RUN = """rules => axe.run(document, {resultTypes: ["violations"], iframes: false, preload: false,
    ...(rules ? {runOnly: {type: "rule", values: rules}} : {})})
  .then(r => r.violations.filter(v => v.impact === "serious" || v.impact === "critical")
    .flatMap(v => v.nodes.map(n => [v.id, v.impact, n.target.flat().join(" ")])))"""


@dataclass(frozen=True)
class Finding:
    """A serious or critical finding of axe: its rule and a selector of the element."""

    rule: str
    impact: str
    selector: str


def accessibility(page: Any) -> list[Finding]:
    """What axe finds on an open page, and what of its colours in the dark.

    Formulas are gone from the page afterwards.
    """
    found: list[Finding] = []
    page.evaluate(AXE.read_text(encoding="utf-8"))
    page.evaluate(_SPARE)
    page.add_style_tag(content="* { transition: none !important; animation: none !important; }")
    for theme, rules in (("light", None), ("dark", ["color-contrast"])):
        page.evaluate(f"() => {{ document.documentElement.dataset.theme = '{theme}'; }}")
        found += [Finding(*item) for item in page.evaluate(_RUN, rules)]
    return list(dict.fromkeys(found))


def has_checker() -> bool:
    """Whether the HTML checker and a Java to run it are here."""
    return CHECKER.exists() and shutil.which("java") is not None


def invalid_html(files: Iterable[Path]) -> list[tuple[str, str]]:
    """Errors of HTML files: path and message.

    Args:
        files: HTML files.

    Returns:
        One pair for each error.

    Raises:
        RuntimeError: If the checker does not run.
    """
    command = ["java", "-Xss4m", "-jar", str(CHECKER), "--format", "json", "--errors-only"]
    done = subprocess.run(
        [*command, *map(str, files)], capture_output=True, encoding="utf-8", check=False
    )
    try:
        messages = json.loads(done.stderr)["messages"]
    except (json.JSONDecodeError, KeyError):
        raise RuntimeError(f"the HTML checker did not run: {done.stderr[-500:]}") from None
    return [
        (m["url"].removeprefix("file:"), f"line {m.get('lastLine')}: {m['message']}")
        for m in messages
    ]
