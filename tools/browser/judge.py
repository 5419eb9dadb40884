"""What is wrong with a page, in words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tools.browser.budget import LEAST, Budget
from tools.browser.chromium import DESKTOP
from tools.browser.measure import Measured
from tools.browser.outside import Finding


def problems(page: Measured, budget: Budget) -> Iterator[str]:
    """Compare a page's numbers with its budget."""
    yield from page.complaints
    yield from (f"two elements are called {name}" for name in page.twice)
    yield from (f"MathJax: {text}" for text in page.broken)
    yield from (f"an output is no text: {text.strip()[:60]}" for text in page.bare)
    for raw, when in zip(page.raw, ("", " when the folds are open"), strict=True):
        if raw:
            yield f"{raw} formulas are not typeset{when}"
    for wide, when in zip(page.wide, ("", " when the folds are open"), strict=True):
        if wide > 0:
            yield f"{wide} px wider than a phone{when}"
    if page.answer is not None and not 0 < page.answer <= DESKTOP["height"]:
        yield f"In short ends at {page.answer:.0f} of {DESKTOP['height']} px"
    for key, unit in (("kilobytes", "kB"), ("elements", "elements"), ("screens", "screens long")):
        has, limit = getattr(page, key), budget.limit(page.name, key)
        if has > limit:
            yield f"{has:.4g} {unit}, at most {limit:g}"
    if len(page.cut) > budget.limit(page.name, "cut_lines"):
        yield from (f"cut: {text}" for text in page.cut)
    least = budget.limit(page.name, "figure_text")
    for place, size in page.letters.items():
        if size < least:
            yield f"figure {place} has letters of {size:.1f} px on a phone, at least {least:g}"
    most = budget.limit(page.name, "figure_width")
    for place, width in page.widths.items():
        if width > most:
            yield f"figure {place} is {width:.0f} px wide on a phone, at most {most:g}"


def stale(pages: Iterable[Measured], budget: Budget) -> Iterator[str]:
    """Exceptions of the budget that excuse nothing, or far more than there is.

    Args:
        pages: Those that were measured; exceptions of other pages are not looked at.
        budget: The budget.

    Yields:
        A sentence for each exception.
    """
    for page in pages:
        for key, allowed in budget.pages.get(page.name.removesuffix(".html"), {}).items():
            has = used(page, key)
            limit = budget.limits[key]
            if has >= limit if key in LEAST else has <= limit:
                yield f"{page.name}: has {key} {has:.4g} and needs no exception"
            elif abs(has - allowed) > 0.2 * allowed:
                yield f"{page.name}: has {key} {has:.4g}, the exception allows {allowed:g}"


def used(page: Measured, key: str) -> float:
    """What a page has of one thing; of its figures, the worst."""
    if key == "figure_text":
        return min(page.letters.values(), default=float("inf"))
    if key == "figure_width":
        return max(page.widths.values(), default=0.0)
    return float(len(page.cut) if key == "cut_lines" else getattr(page, key))


def unknown_findings(found: Iterable[Finding], budget: Budget) -> list[str]:
    """Findings of axe that the budget does not know."""
    return [
        f"axe, {finding.impact}: {finding.rule} at {finding.selector}"
        for finding in found
        if not any(finding.rule == rule and where in finding.selector for rule, where in budget.axe)
    ]


def unknown_errors(found: Iterable[tuple[str, str]], budget: Budget) -> list[str]:
    """Errors of the HTML checker that the budget does not know."""
    return [
        f"{page}: {message}"
        for page, message in found
        if not any(
            part in message and (place == "*" or page.endswith(f"{place}.html"))
            for place, part in budget.html
        )
    ]
