"""Formulas that wrap, and mathematics that waits until it is on the screen.

MathJax sets a formula as one box, which does not break. So a long one is cut where a mathematician
would break it, at relations, signs and commas outside of all brackets, and the parts flow like
words, at any width. Pure functions, no Sphinx.

A formula inside ``span.late-math`` is left alone by MathJax until ``ledger.js`` sees it come near.
"""

from __future__ import annotations

import re
from html import escape, unescape

_TOKEN = re.compile(r"\\(?:begin|end)\{[^}]*\}|\\[a-zA-Z]+|\\.|.", re.DOTALL)
_OPEN, _CLOSE = {"{", "(", "[", r"\{"}, {"}", ")", "]", r"\}"}
_OPERATORS = {
    "=", "<", ">", "+", "-", r"\lt", r"\gt", r"\le", r"\leq", r"\ge", r"\geq", r"\ne", r"\neq",
    r"\approx", r"\sim", r"\propto", r"\wedge", r"\vee", r"\Rightarrow", r"\Leftrightarrow",
}  # fmt: skip
_SPACES = {" ", "\n", "~", r"\,", r"\;", r"\:", r"\!", r"\quad", r"\ "}

BREAK = "&#8203;"
"""Where a line may break between two parts of a formula."""
SHORT = 48
"""A formula of fewer characters stays in one piece."""
LONG = 140
"""Brackets with more characters have their arguments below each other."""


def pieces(latex: str) -> list[str]:
    r"""Cut a formula where a line may break; an operator goes with what follows it.

    Args:
        latex: a formula without delimiters.

    Returns:
        The parts; joined without the empty groups ``{}`` in front of operators, which keep their
        spacing, they are the formula.

    Example:
        >>> pieces(r"a = b + \frac{c + d}{e}")
        ['a ', '{}= b ', '{}+ \\frac{c + d}{e}']
        >>> pieces(r"a = -b, \; c = 2")
        ['a ', '{}= -b,', ' \\; c ', '{}= 2']
    """
    found = [""]
    depth = 0
    outer: list[int] = []  # depths outside of \left and \begin
    begun = False  # whether the part holds more than its operator
    delimiter = False  # whether the token belongs to \left or \right
    previous = ""
    for token in _TOKEN.findall(latex):
        if delimiter:
            delimiter = False
        elif token == r"\left" or token.startswith(r"\begin"):
            outer.append(depth)
            depth += 1
            delimiter = token == r"\left"
        elif token == r"\right" or token.startswith(r"\end"):
            depth = outer.pop() if outer else 0
            delimiter = token == r"\right"
        elif token in _OPEN:
            depth += 1
        elif token in _CLOSE:
            depth = max(depth - 1, 0)
        elif token in _OPERATORS and depth == 0 and begun and previous not in ("^", "_"):
            found.append("{}")
            begun = False
        found[-1] += token
        if token == "," and depth == 0:
            found.append("")
            begun = False
        elif token not in _SPACES and token not in _OPERATORS:
            begun = True
        if token not in _SPACES:
            previous = token
    return [part for part in found if part not in ("", "{}")]


def stacked(latex: str) -> str:
    r"""Put the arguments of a bracket that is too long for a line below each other.

    Args:
        latex: a formula without delimiters.

    Returns:
        The formula; one whose brackets are short or hold one argument is left as it is.

    Example:
        >>> stacked(r"\max\left(a, b\right)")
        '\\max\\left(a, b\\right)'
        >>> long = "x" * LONG
        >>> print(stacked(rf"\left({long}, f\left(b, c\right)\right)").replace(long, "a"))
        \left(\begin{aligned}&a,\\& f\left(b, c\right)\end{aligned}\right)
    """
    groups: list[list[str]] = [[""]]  # arguments of the brackets that are open
    braces = [0]
    previous = ""
    for token in _TOKEN.findall(latex):
        if token == r"\right" and len(groups) > 1:
            arguments = groups.pop()
            braces.pop()
            inside = ",".join(arguments)
            if len(arguments) > 1 and len(inside) > LONG:
                rows = r",\\&".join(arguments)
                inside = rf"\begin{{aligned}}&{rows}\end{{aligned}}"
            groups[-1][-1] += inside
        braces[-1] += (token == "{") - (token == "}")
        if token == "," and braces[-1] == 0 and len(groups) > 1:
            groups[-1].append("")
        else:
            groups[-1][-1] += token
        if previous == r"\left":
            groups.append([""])
            braces.append(0)
        previous = token
    return groups[0][0]


def late(latex: str, *, display: bool = False) -> str:
    r"""HTML of a formula that is typeset when it comes near the screen.

    Args:
        latex: the formula.
        display: as large as on a line of its own; else as in running text.

    Example:
        >>> late("a < b")
        '<span class="late-math">\\(a &lt; b\\)</span>'
    """
    style = r"\displaystyle " if display else ""
    parts = [stacked(part) for part in pieces(latex)] if len(latex) >= SHORT else [latex]
    spans = [rf'<span class="late-math">\({style}{escape(part)}\)</span>' for part in parts]
    return BREAK.join(spans)


def late_html(html: str) -> str:
    r"""HTML whose formulas between ``\( \)`` wrap and wait.

    Example:
        >>> late_html(r"at \(b &lt; 1\)")
        'at <span class="late-math">\\(b &lt; 1\\)</span>'
    """

    def wrapped(match: re.Match[str]) -> str:
        latex = unescape(match[1])
        display = latex.startswith(r"\displaystyle ")
        return late(latex.removeprefix(r"\displaystyle "), display=display)

    return re.sub(r"\\\((.+?)\\\)", wrapped, html, flags=re.DOTALL)


def sentence_html(text: str) -> str:
    """HTML of a claim's sentence: text, ``$mathematics$``, ```code``` and ``*stress*``.

    Example:
        >>> sentence_html("*One* `x` & $b$.")
        '<em>One</em> <code>x</code> &amp; <span class="late-math">\\\\(b\\\\)</span>.'
    """
    parts = re.split(r"\$([^$]+)\$", text)
    out = []
    for i, part in enumerate(parts):
        if i % 2:
            out.append(late(part))
            continue
        part = escape(part, quote=False)
        part = re.sub(r"`([^`]+)`", r"<code>\1</code>", part)
        out.append(re.sub(r"(?<![\w*])\*([^*]+)\*(?![\w*])", r"<em>\1</em>", part))
    return "".join(out)


def rounded(html: str) -> str:
    """Write numbers as a reader does: six digits, and powers of ten as such.

    Of a number that is not whole as many digits as keep it from looking whole.

    Example:
        >>> rounded("0.123999997973442 and 0.9999999403953552 and 1.25")
        '0.124 and 0.9999999 and 1.25'
    """

    def shorter(match: re.Match[str]) -> str:
        value = float(match[0])
        for digits in range(6, 18):
            text = f"{value:.{digits}g}"
            if float(text) != round(value) or value == round(value):
                break
        return text if "e" not in text else match[0]

    def power(match: re.Match[str]) -> str:
        return f"{match[1]}·10<sup>{int(match[2]):d}</sup>".replace("-", "−")

    html = re.sub(r"(?<![\w.])\d+\.\d{7,}(?![\w.])", shorter, html)
    return re.sub(r"(?<![\w.])(\d+(?:\.\d+)?)e([+-]\d+)(?!\w)", power, html)
