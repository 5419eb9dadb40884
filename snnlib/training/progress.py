"""What is shown while a network trains: a bar, or a line per epoch where tqdm is missing."""

from __future__ import annotations

import sys
from typing import Any, Protocol

__all__ = ["Bar", "Lines", "bar"]


class Bar(Protocol):
    """What `fit` needs of a progress bar."""

    def update(self) -> Any:
        """One update more."""

    def set_postfix(self, values: dict[str, str]) -> Any:
        """Numbers of the epoch that ended."""

    def close(self) -> Any:
        """The end."""


class Lines:
    """A line on the standard error at the end of each epoch.

    Args:
        total: Updates in all.
        made: Updates made before.
    """

    def __init__(self, total: int, made: int) -> None:
        self.total, self.made = total, made

    def update(self) -> None:
        """One update more."""
        self.made += 1

    def set_postfix(self, values: dict[str, str]) -> None:
        """Print the numbers of the epoch that ended."""
        text = ", ".join(f"{name} {value}" for name, value in values.items())
        print(f"update {self.made} of {self.total}: {text}", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Nothing is left to do."""


def bar(total: int, made: int) -> Bar:
    """A bar of tqdm; lines without it.

    Args:
        total: Updates in all.
        made: Updates made before.

    Returns:
        The bar.
    """
    try:
        from tqdm import tqdm
    except ModuleNotFoundError:
        return Lines(total, made)
    shown: Bar = tqdm(total=total, initial=made, unit="update")
    return shown
