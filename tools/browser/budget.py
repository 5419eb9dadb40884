"""``budget.yml``: what a page may weigh, and which faults are known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

FILE = Path(__file__).resolve().with_name("budget.yml")
KEYS = ("kilobytes", "elements", "screens", "figure_text", "figure_width", "cut_lines")
LEAST = {"figure_text"}  # a limit from below; all others are from above


@dataclass(frozen=True)
class Budget:
    """Limits, exceptions for single pages, and known findings of the two programs of others.

    Attributes:
        limits: For every page.
        pages: Page (without ``.html``) -> what it may have instead.
        axe: Pairs of a rule and a part of the selector.
        html: Pairs of a page (``*`` for all) and a part of the message.
    """

    limits: Mapping[str, float]
    pages: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    axe: tuple[tuple[str, str], ...] = ()
    html: tuple[tuple[str, str], ...] = ()

    def limit(self, page: str, key: str) -> float:
        """What a page may have of one thing."""
        own = self.pages.get(page.removesuffix(".html"), {})
        return own.get(key, self.limits[key])


def load(path: Path = FILE) -> Budget:
    """Read the budget.

    Args:
        path: The file.

    Returns:
        The budget.

    Raises:
        ValueError: If a key is unknown, a limit is missing or a number is negative.
    """
    import yaml

    read = yaml.safe_load(path.read_text(encoding="utf-8"))
    budget = Budget(
        read["limits"],
        read.get("pages") or {},
        tuple((item["rule"], item["where"]) for item in read.get("axe") or ()),
        tuple((item["page"], item["message"]) for item in read.get("html") or ()),
    )
    if set(budget.limits) != set(KEYS):
        raise ValueError(f"limits must be {', '.join(KEYS)}, got {', '.join(budget.limits)}")
    for page, own in budget.pages.items():
        for key, value in own.items():
            if key not in KEYS:
                raise ValueError(f"{page}: {key} must be one of {', '.join(KEYS)}")
            if not value >= 0:
                raise ValueError(f"{page}: {key} must be at least 0, got {value}")
    return budget
