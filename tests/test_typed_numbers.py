"""Nobody types a result: a number in a chapter's prose is glued, or a setting, or the paper's."""

from __future__ import annotations

import re

import pytest

from tools import chapters

LEVELS = {"1", "5", "95", "99", "0.95", "0.99"}  # of significance, intervals and detection
# What is no result of the chapter and no literal of its code: a paper's own numbers, and settings
# that another file holds.
STATED = {
    "dialects": {"1.1"},  # a version
    "initial-membrane-potential": {"0.01"},  # width of a cell of the grid
    "learned-thresholds": {"0.02"},  # the published code
    "one-number-the-gain": {"0.03"},  # the authors' threshold
    "robustness": {"0.001"},  # the paper's learning rate
    "sharpness-and-voltage": {"1.6"},  # the published code
    "surrogate-and-initialization-in-recurrent-networks": {
        *("0.4", "92.7", "65.2", "3.1", "87.3", "1.4", "58.4", "4.9"),  # the paper
    },
    "which-initialization-trains": {"0.2", "70", "91"},  # a setting, and two papers
    "why-silent-networks-do-not-learn": {"0.2"},  # a setting of the stored runs
}
CELL = re.compile(r"^```\{code-cell\}.*?^```$", flags=re.M | re.S)
NOT_TYPED = re.compile(  # roles and code, displayed math, math, links
    r"(?:\{[\w:]+\})?`[^`\n]+`|\$\$.*?\$\$|\$[^$\n]*\$|\]\([^)\n]*\)", flags=re.S
)
RESULT = re.compile(r"(?<![\w./])(?:(\d+\.\d+)|(\d+)(?= ?(?:%|percent)))(?!\w)")


def settings_of(cell: str) -> str:
    """Caption and alternative text of a code cell's figure."""
    body = cell.split("\n", 1)[1]
    if body.startswith("---\n"):
        return body.split("---\n")[1]
    return "\n".join(line for line in body.splitlines() if line.startswith(":"))


def typed(text: str) -> set[str]:
    """Decimals and percentages in prose and captions that are no literal of the code."""
    cells = CELL.findall(text)
    code = "\n".join(cells)
    for cell in cells:
        code = code.replace(settings_of(cell), "")
    prose = CELL.sub("", text) + "\n".join(settings_of(cell) for cell in cells)
    found = {a or b for a, b in RESULT.findall(NOT_TYPED.sub("", prose))}
    literals = set(re.findall(r"(?<![\w.])\d+(?:\.\d+)?(?![\w.])", code))
    return found - literals - LEVELS


def test_a_typed_result_is_found():
    cell = "```{code-cell} ipython3\n:name: x\nGAIN = 2.5\n```\n"
    prose = "At 2.5 it keeps {glue:text}`a-b` %, $0.5$ of `7.1`, not 7.5, and 38 %, at 5 %."
    assert typed(cell + prose) == {"7.5", "38"}
    figure = "```{code-cell} ipython3\n---\ncaption: Near 0.3 everywhere.\n---\nplot()\n```\n"
    assert typed(figure) == {"0.3"}


@pytest.mark.parametrize("path", chapters.chapters(), ids=chapters.slug)
def test_no_result_is_typed_in_a_chapter(path):
    stated = STATED.get(chapters.slug(path), set())
    found = typed(path.read_text(encoding="utf-8"))
    assert found - stated == set(), "glue it, or list it as a setting or a paper's own number"
    assert stated <= found, "a number that is listed is no longer there"
