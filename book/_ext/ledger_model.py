"""Claims, their evidence and what follows from both: pure functions, no Sphinx.

A claim is an entry of a file in ``book/claims``; its evidence is what the ledger stored in the
outputs of the chapters' executed notebooks. Everything that the generated pages say is computed
here.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from snnlib.ledger import VERDICTS, Claim

# Verdict -> (icon, what it says).
MEANING: dict[str, tuple[str, str]] = {
    "definition": ("=", "an equation that defines something; the library computes exactly this"),
    "proved": ("✓", "derived from the definitions, and equal to the printed statement"),
    "measured": ("≈", "simulations agree, and would have shown a deviation"),
    "corrected": ("✎", "the printed form fails, a corrected form passes the same check"),
    "refuted": ("✗", "the printed form fails"),
    "inconclusive": ("?", "the check is too weak to decide"),
    "not testable here": ("–", "needs what this book does not have"),
}
MARKS = {
    "misprint": "a slip of print, which the source's own text corrects",
    "explored": "shown with its numbers, found after looking: never counted among the confirmed",
    "registered": "the rule was fixed before the runs; with the verdict measured it is confirmed",
    "inherits": "follows from a statement that is corrected or refuted, and is as right as that",
}
MISSING = "no evidence"
ICONS = {**{name: MEANING[name][0] for name in VERDICTS}, MISSING: "!"}
ERRATA = ("corrected", "refuted")


@dataclass(frozen=True)
class Row:
    """A claim with its evidence and its standing."""

    claim: Claim
    verdict: str
    evidence: Mapping[str, Any] = field(default_factory=dict)
    printed: str | None = None
    """LaTeX of the printed statement."""
    doubts: tuple[tuple[str, ...], ...] = ()
    """Paths from the claim down to a corrected or refuted premise, without the claim."""

    @property
    def corrected(self) -> str | None:
        """LaTeX of the corrected statement."""
        return self.evidence.get("corrected_latex")

    @property
    def marks(self) -> tuple[str, ...]:
        """What stands beside the verdict: the registered mark, and what the premises add."""
        marks = (self.claim.mark,) if self.claim.mark else ()
        return (*marks, "inherits") if self.doubts and self.verdict not in ERRATA else marks

    @property
    def margin(self) -> float | None:
        """Largest deviation over its critical value; below 1 passes."""
        return self.evidence.get("margin")

    @property
    def mde(self) -> tuple[float, ...]:
        """Minimum detectable relative errors of all entries."""
        return tuple(float(x) for x in self.evidence.get("mde") or ())


@dataclass(frozen=True)
class Book:
    """All rows, in the order of the list of claims, and what is said about them."""

    rows: Mapping[str, Row] = field(default_factory=dict)

    def counts(self) -> dict[str, int]:
        """Number of claims of each verdict that occurs."""
        found = Counter(row.verdict for row in self.rows.values())
        return {v: found[v] for v in (*VERDICTS, MISSING) if found[v]}


def verdict_of(claim: Claim, evidence: Mapping[str, Any]) -> str:
    """Verdict of a claim: its evidence's, or that it has none."""
    if evidence:
        return str(evidence.get("verdict", MISSING))
    return claim.verdict if claim.verdict == "not testable here" else MISSING


def doubtful_premises(
    claims: Mapping[str, Claim], verdicts: Mapping[str, str]
) -> dict[str, tuple[tuple[str, ...], ...]]:
    """For each claim the paths to premises, direct or not, that were corrected or refuted.

    One path, a shortest one, for each such premise. Premises behind a corrected or refuted one
    are not searched: that one is the trouble.
    """
    doubts: dict[str, tuple[tuple[str, ...], ...]] = {}
    for start in claims:
        paths: list[tuple[str, ...]] = []
        seen = {start}
        frontier: list[tuple[str, ...]] = [(premise,) for premise in claims[start].uses]
        while frontier:
            following: list[tuple[str, ...]] = []
            for path in frontier:
                last = path[-1]
                if last in seen:
                    continue
                seen.add(last)
                if verdicts.get(last) in ERRATA:
                    paths.append(path)
                elif last in claims:
                    following.extend((*path, premise) for premise in claims[last].uses)
            frontier = following
        if paths:
            doubts[start] = tuple(paths)
    return doubts


def assemble(
    claims: Mapping[str, Claim],
    evidence: Iterable[Mapping[str, Any]],
    printed: Mapping[str, str],
) -> Book:
    """Join claims, their evidence and the LaTeX of their printed statements."""
    found = {str(e.get("claim")): e for e in evidence}
    verdicts = {c: verdict_of(claims[c], found.get(c, {})) for c in claims}
    doubts = doubtful_premises(claims, verdicts)
    rows = {
        c: Row(
            claim=claims[c],
            verdict=verdicts[c],
            evidence=found.get(c, {}),
            printed=found.get(c, {}).get("statement_latex") or printed.get(c),
            doubts=doubts.get(c, ()),
        )
        for c in claims
    }
    return Book(rows=rows)


def css_class(verdict: str) -> str:
    """CSS class of a verdict."""
    return "ledger-" + verdict.replace(" ", "-")


def short_label(claim: Claim) -> str:
    """Label of a claim where its source is clear: the locator, else the slug in words."""
    return claim.locator or claim.id.partition(".")[2].replace("-", " ") or claim.id


def plain_number(value: float) -> str:
    """A number without an exponent where that is readable.

    >>> plain_number(1e-4), plain_number(0.99)
    ('0.0001', '0.99')
    """
    text = f"{value:.10f}".rstrip("0").rstrip(".")
    return text if abs(float(text) - value) <= 1e-9 * abs(value) else f"{value:g}"


def percent(value: float) -> str:
    """A relative error as a percentage with two significant digits.

    >>> percent(0.0183), percent(0.25), percent(0.00042)
    ('1.8 %', '25 %', '0.042 %')
    """
    scaled = 100 * value
    text = f"{scaled:.2g}"
    return f"{float(text):g} %" if "e" in text else f"{text} %"


def mde_text(values: Sequence[float]) -> str | None:
    """Range of the minimum detectable errors; entries whose prediction is 0 have none.

    >>> mde_text([0.018, 0.011]), mde_text([0.02]), mde_text([])
    ('1.1–1.8 %', '2 %', None)
    """
    values = [v for v in values if math.isfinite(v)]
    if not values:
        return None
    low, high = percent(min(values)), percent(max(values))
    return high if low == high else f"{low.removesuffix(' %')}–{high}"


def split_math(text: str) -> list[tuple[str, str]]:
    r"""Split a line into ("text", ...) and ("math", ...) parts at ``\( \)`` or ``$ $``.

    >>> split_math(r"holds for \(n > 1\) only")
    [('text', 'holds for '), ('math', 'n > 1'), ('text', ' only')]
    """
    parts: list[tuple[str, str]] = []
    position = 0
    for match in re.finditer(r"\\\((.+?)\\\)|\$([^$]+)\$", text):
        if match.start() > position:
            parts.append(("text", text[position : match.start()]))
        parts.append(("math", (match.group(1) or match.group(2)).strip()))
        position = match.end()
    if position < len(text):
        parts.append(("text", text[position:]))
    return parts


# How a claim was checked: the kind of its evidence -> what the pages call it.
KINDS = {
    "define": "definition",
    "prove": "proof",
    "hold": "inequality or limit",
    "measure": "measurement",
    "observe": "observation",
    "confirm": "registered experiment",
    "refute": "refutation",
}

# What is wrong with a printed statement: severity -> what it says.
SEVERITIES = {
    "misprint": "a slip of the pen: the source's own text or code has it right elsewhere",
    "unstated assumption": "true where a condition holds that the source does not state",
    "false": "does not hold as it is printed, for the case that it is about",
    "library docstring": "the documentation says other than its code does; the code is what runs",
}


def severity(claim: Claim) -> str:
    """What is wrong with a claim that was corrected or refuted.

    The entry of the list of claims says it (``severity``, or ``mark: misprint``); a docstring that
    was held against its code is known by its name. Anything else is false as printed.
    """
    for name in ("severity", "mark"):
        stated = getattr(claim, name, None)
        if stated in SEVERITIES:
            return str(stated)
    if claim.read == "code" and claim.id.partition(".")[2].startswith("doc-"):
        return "library docstring"
    return "false"


def is_paper(source: str) -> bool:
    """Whether a source is a paper: its key ends with a year.

    >>> is_paper("micheli2024"), is_paper("snntorch")
    (True, False)
    """
    return source[-4:].isdigit()
