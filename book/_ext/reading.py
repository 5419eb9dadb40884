"""How long a chapter takes to read: 200 words and 20 visible lines of code a minute."""

from __future__ import annotations

import re
from typing import NamedTuple

WORDS, LINES = 200, 20  # a minute
HIDDEN = {"hide-input", "hide-cell", "remove-input", "remove-cell"}

_HEADER = re.compile(r"\A---\n.*?^---$", flags=re.S | re.M)
_CELL = re.compile(r"^```\{code-cell\}[^\n]*\n(.*?)^```$", flags=re.S | re.M)
_FOLDED = re.compile(r"^(`{3,}|:{3,})\{[\w:-]+\}[^\n]*\n(?=(?::[^\n]*\n)*:class:[^\n]*dropdown)"
                     r".*?^\1$", flags=re.S | re.M)  # fmt: skip
_SOLUTION = re.compile(r"^```\{solution-start\}.*?^```\{solution-end\}\n```$", flags=re.S | re.M)
_NOT_READ = re.compile(r"^(?:`{3,}|:{3,})[^\n]*$|^:\w+:[^\n]*$|^\([\w-]+\)=$|^%[^\n]*$", flags=re.M)


class Reading(NamedTuple):
    """What a reader meets: words of prose, and lines of code that are not folded."""

    words: int
    code: int

    @property
    def minutes(self) -> int:
        """Minutes, rounded up."""
        return -int(-(self.words / WORDS + self.code / LINES) // 1)


def read(text: str) -> Reading:
    """Count what a reader of a text notebook meets; formulas count as words, folds do not.

    A folded directive has ``:class: dropdown``; solutions are folded.
    """
    code = 0
    text = _SOLUTION.sub("", text)
    for body in _CELL.findall(text):
        metadata, source = _split(body)
        if not HIDDEN & set(re.findall(r"[\w-]+", metadata)):
            code += sum(1 for line in source.splitlines() if line.strip())
    prose = _CELL.sub("", _HEADER.sub("", text))
    prose = _NOT_READ.sub("", _FOLDED.sub("", prose))
    prose = re.sub(r"\$\$.*?\$\$|\$[^$\n]+\$", " formula ", prose, flags=re.S)
    return Reading(len(re.findall(r"[^\W_][^\s|]*", prose)), code)


def _split(body: str) -> tuple[str, str]:
    """Metadata and source of a code cell."""
    if body.startswith("---\n"):
        metadata, _, source = body[4:].partition("\n---\n")
        return metadata, source
    lines = body.splitlines(keepends=True)
    count = 0
    while count < len(lines) and re.match(r":[\w-]+:", lines[count]):
        count += 1
    return "".join(lines[:count]), "".join(lines[count:])
