"""What the suite of ordinary networks says of a call: paired with the untouched network.

Every network and method is judged at the learning rate that is best for it on held-out samples,
by one rule for all; the test samples choose nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from snnlib.experiments.paired import Difference, difference

__all__ = ["MARGIN", "Judged", "chosen", "judged"]

MARGIN = 0.01
"""A call is not worse than the untouched network if the difference exceeds minus this."""

SAME = ("initial_rates", "held_out_accuracy", "test_accuracy")
"""Columns in which two runs of one network are equal."""

Row = Mapping[str, Any]


class Judged(NamedTuple):
    """One method on one network.

    Attributes:
        network: The network.
        method: The method.
        learning_rate: The one that was chosen for them.
        accuracy: Mean test accuracy over seeds.
        difference: Paired difference to the untouched network, with its 95 % interval.
        left: Whether the method left the network as it was, at every seed: each of its runs is
            that of the untouched network.
    """

    network: str
    method: str
    learning_rate: float
    accuracy: float
    difference: Difference
    left: bool

    @property
    def not_worse(self) -> bool:
        """Whether the lower end of the interval exceeds minus the margin."""
        return self.left or self.difference.interval[0] > -MARGIN


def chosen(rows: Sequence[Row]) -> list[Row]:
    """The rows of every network and method at their own learning rate.

    Args:
        rows: With the labels "network", "method" and "learning_rate", a seed, and the accuracy on
            held-out samples by epoch.

    Returns:
        Those whose learning rate has the best mean accuracy on held-out samples after the last
        epoch; of equal ones the smaller.

    Example:
        >>> own = {"network": "n", "method": "m"}
        >>> rows = [
        ...     {**own, "learning_rate": rate, "held_out_accuracy": [0.1, a]}
        ...     for rate, a in ((0.01, 0.5), (0.01, 0.7), (0.003, 0.65), (0.003, 0.65))
        ... ]
        >>> [row["learning_rate"] for row in chosen(rows)]
        [0.003, 0.003]
    """
    groups: dict[tuple[str, str], dict[float, list[Row]]] = {}
    for row in rows:
        own = groups.setdefault((row["network"], row["method"]), {})
        own.setdefault(row["learning_rate"], []).append(row)
    found: list[Row] = []
    for rates in groups.values():
        reached = {rate: _held_out(own) for rate, own in rates.items()}
        best = min(rate for rate in reached if reached[rate] >= max(reached.values()) - 1e-9)
        found += rates[best]
    return found


def _held_out(rows: Sequence[Row]) -> float:
    """Mean accuracy on held-out samples after the last epoch; 0 of a run that ended early."""
    return sum((row["held_out_accuracy"] or [0.0])[-1] for row in rows) / len(rows)


def judged(rows: Sequence[Row], *, samples: int = 355) -> list[Judged]:
    """Every method but "untouched" on every network, at the chosen learning rates.

    Args:
        rows: As for `chosen`, with test accuracy and initial rates.
        samples: Size of the test set, whose share of one sample bounds the spread from below.

    Returns:
        One entry per network and method.

    Raises:
        ValueError: If a network lacks its untouched rows.
    """
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in chosen(rows):
        groups.setdefault((row["network"], row["method"]), []).append(row)
    plain = {_place(row): row for row in rows if row["method"] == "untouched"}
    found = []
    for (network, method), own in groups.items():
        if method == "untouched":
            continue
        if (network, "untouched") not in groups:
            raise ValueError(f"rows must hold 'untouched' of {network!r}")
        base = groups[network, "untouched"]
        one, two = ({r["seed"]: r["test_accuracy"] for r in side} for side in (own, base))
        found.append(
            Judged(
                network,
                method,
                own[0]["learning_rate"],
                sum(one.values()) / len(one),
                difference(one, two, resolution=1 / samples),
                all(_same(r, plain.get(_place(r))) for r in own),
            )
        )
    return found


def _place(row: Row) -> tuple[Any, ...]:
    return row["network"], row["learning_rate"], row["seed"]


def _same(one: Row, other: Row | None) -> bool:
    return other is not None and all(one[name] == other[name] for name in SAME)
