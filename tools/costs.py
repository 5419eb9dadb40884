"""What each chapter costs, and what it may: seconds on the clock and of processor time.

Processor time is that of the chapter's kernel and of the processes it started, user and system:
who else uses the machine matters little to it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import NamedTuple

from tools import chapters

COSTS = chapters.EXECUTED / "costs.json"  # of each chapter's last passing execution

# Seconds of processor time that a chapter may take: an overrun warns and fails nothing.
LIMIT = 30.0
LIMIT_FOR_OLD = 60.0
# Written before there was a limit; a chapter that is not listed is new.
OLD = {
    "dialects",
    "flat-minima",
    "gain-for-a-rate",
    "gradient-conditions",
    "gradients-over-many-steps",
    "growth-per-step",
    "half-rate-and-balance",
    "half-rate-in-layers",
    "initial-membrane-potential",
    "learned-thresholds",
    "lif-neuron",
    "membrane-at-the-mean",
    "multiplicative-reset",
    "multiplicative-reset-gradients",
    "one-number-the-gain",
    "robustness",
    "sharpness-and-voltage",
    "surrogate-and-initialization-in-recurrent-networks",
    "surrogate-gradients",
    "surrogate-stable-variance",
    "threshold-robust-gradient",
    "weight-variance",
    "weight-variance-in-time",
    "what-predicts-training",
    "which-initialization-survives",
    "which-initialization-trains",
    "why-silent-networks-do-not-learn",
}


class Cost(NamedTuple):
    """What one execution took: seconds on the clock, seconds of processor time."""

    wall: float
    processor: float


def processor_seconds() -> float:
    """Processor time of the child processes that have ended; 0 where the system does not say."""
    now = os.times()
    return now.children_user + now.children_system


def recorded() -> dict[str, Cost]:
    """Cost of each chapter's last passing execution."""
    rows = json.loads(COSTS.read_text(encoding="utf-8")) if COSTS.exists() else {}
    return {name: Cost(*row) for name, row in rows.items()}


def record(name: str, cost: Cost) -> None:
    """Keep what a chapter took."""
    rows = {**recorded(), name: Cost(*(round(seconds, 1) for seconds in cost))}
    chapters.write(COSTS, json.dumps(dict(sorted(rows.items())), indent=1) + "\n")


def limit(name: str) -> float:
    """Seconds of processor time that a chapter may take.

    Example:
        >>> limit("lif-neuron"), limit("a-chapter-of-tomorrow")
        (60.0, 30.0)
    """
    return LIMIT_FOR_OLD if name in OLD else LIMIT


def overruns(costs: Mapping[str, Cost]) -> list[str]:
    """Say which chapters take more processor time than they may, the worst first.

    Example:
        >>> overruns({"lif-neuron": Cost(90.0, 59.0), "new": Cost(20.0, 31.0)})
        ['new takes 31 s of processor time, more than the 30 s of a new chapter']
    """
    over = [(c.processor - limit(name), name) for name, c in costs.items()]
    return [
        f"{name} takes {costs[name].processor:.0f} s of processor time, more than the"
        f" {limit(name):.0f} s of {'an old' if name in OLD else 'a new'} chapter"
        for excess, name in sorted(over, reverse=True)
        if excess > 0
    ]
