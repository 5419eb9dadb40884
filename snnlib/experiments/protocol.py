"""What an experiment is: settings that all runs share, what differs, and the seeds."""

from __future__ import annotations

import copy
import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

__all__ = ["FORMAT", "Protocol", "Run", "Size", "canonical", "key", "updates"]

FORMAT = 1
"""Version of what a run does with its settings; another one makes every stored run stale."""

Settings: TypeAlias = dict[str, Any]
Labels: TypeAlias = dict[str, Any]


class Size(NamedTuple):
    """How large an experiment is.

    Attributes:
        settings: Settings of all runs, see `snnlib.experiments.task.train`.
        seeds: Every condition is run with each of these.
        note: What it costs and what it can resolve.
    """

    settings: Settings
    seeds: tuple[int, ...]
    note: str


class Run(NamedTuple):
    """One training run of a protocol.

    Attributes:
        labels: The condition, for tables and figures.
        seed: Its seed.
        settings: All that it does, as JSON would hold it.
    """

    labels: Labels
    seed: int
    settings: Settings

    @property
    def key(self) -> str:
        """Name of its result: a digest of the settings, so equal runs are run once."""
        return key(self.settings)


@dataclass(frozen=True)
class Protocol:
    """An experiment as data.

    Attributes:
        name: Name on the command line.
        question: What it asks.
        source: Paper and table.
        labels: Names of the labels, in the order of columns.
        conditions: One dictionary of labels per condition.
        apply: Turns the common settings (a copy, changed in place) into those of a condition.
        sizes: By name: "desk" for two cores, "smoke" for seconds.
        x: Label on the x axis of the figure.
        series: Label that tells the lines apart.
        panels: Label that tells the panels apart; None has one panel.
        priority: Experiments of a higher one come first in a queue.
        seconds: Seconds of one run as planned; None if only stored rows tell.
    """

    name: str
    question: str
    source: str
    labels: tuple[str, ...]
    conditions: Sequence[Labels]
    apply: Callable[[Settings, Labels], None]
    sizes: Mapping[str, Size]
    x: str
    series: str
    panels: str | None = None
    priority: int = 0
    seconds: float | None = None

    @property
    def usual(self) -> str:
        """The size that is meant where none is named: "desk", or the first one."""
        return "desk" if "desk" in self.sizes else next(iter(self.sizes))

    def runs(self, size: str, *, seeds: int | None = None) -> list[Run]:
        """All runs, one seed after the other, so that an unfinished sweep is balanced.

        Args:
            size: A name in `sizes`.
            seeds: Only the first so many seeds; None takes all.

        Raises:
            ValueError: If there is no such size, or `seeds` is not a positive integer.
        """
        if size not in self.sizes:
            raise ValueError(
                f"size must be one of {', '.join(self.sizes)} for {self.name}, got {size!r}"
            )
        if seeds is not None and (isinstance(seeds, bool) or seeds < 1):
            raise ValueError(f"seeds must be None or a positive integer, got {seeds!r}")
        found = []
        for seed in self.sizes[size].seeds[:seeds]:
            for labels in self.conditions:
                settings = copy.deepcopy(self.sizes[size].settings)
                self.apply(settings, labels)
                found.append(Run(dict(labels), seed, settings | {"seed": seed}))
        return found


def canonical(value: Any) -> str:
    """JSON with sorted keys and without blanks: equal values give equal text.

    Example:
        >>> canonical({"b": 0.5, "a": [1]})
        '{"a":[1],"b":0.5}'
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def key(settings: Mapping[str, Any]) -> str:
    """Digest of settings: 16 hexadecimal digits.

    Example:
        >>> key({"a": 1, "b": 2}) == key({"b": 2, "a": 1}) != key({"a": 1, "b": 3})
        True
    """
    text = canonical({"format": FORMAT, "settings": settings})
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def updates(settings: Mapping[str, Any]) -> int:
    """How often a run moves its weights, from the number of samples that it asks for.

    Example:
        >>> data, fitting = {"train": 90, "held_out": 20}, {"epochs": 2, "batch_size": 25}
        >>> updates({"data": data, "training": fitting})
        6
    """
    data, fitting = settings["data"], settings["training"]
    samples = data["train"] - data.get("held_out", 0)
    return int(fitting["epochs"]) * math.ceil(samples / fitting["batch_size"])
