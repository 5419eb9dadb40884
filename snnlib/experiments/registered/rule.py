"""A rule of an experiment that is fixed before its runs: what is run, compared and concluded.

A rule is one TOML file. It holds every setting of every run, so its SHA-256 fixes the experiment;
the digest is part of the settings of its runs, and each row that they make stores it.
"""

from __future__ import annotations

import copy
import hashlib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any, NamedTuple

from snnlib.experiments.protocol import Labels, Protocol, Settings, Size, canonical, updates

__all__ = ["SIZE", "UNITS", "Cells", "Family", "Planned", "Rule", "Unit", "parse", "read_rules"]

SIZE = "registered"
"""Size under which the runs of a rule are stored: `results/<name>-registered.csv`."""

LABEL = "condition"


class Unit(NamedTuple):
    """How a difference is shown.

    Attributes:
        factor: What it is multiplied by.
        name: What it is then counted in.
        digits: Behind the decimal point.
    """

    factor: float
    name: str
    digits: int

    def show(self, value: float) -> str:
        """A size in this unit, as in "5 points"."""
        return f"{self.factor * value:.2g} {self.name}"


UNITS = {
    "test_accuracy": Unit(100.0, "points", 1),
    "epochs": Unit(1.0, "epochs", 2),
    "log_rise": Unit(1.0, "in ln", 2),
}
"""Columns that a rule may compare. More is better for the first, less for the others."""


class Family(NamedTuple):
    """One contrast of the family: mean over some conditions minus mean over others, times a factor.

    Attributes:
        name: What it is called in tables.
        plus: Conditions whose value is said to be larger.
        minus: The others.
        factor: 2 makes a difference of differences of two conditions each.
    """

    name: str
    plus: tuple[str, ...]
    minus: tuple[str, ...]
    factor: float


class Cells(NamedTuple):
    """Predictions for single conditions, instead of contrasts: a phase diagram.

    Attributes:
        trained: Mean test accuracy from which a condition counts as trained.
        predicted: Whether each condition is predicted to be trained.
        share: Least share of conditions on the predicted side that supports the rule.
        lead: By how much it has to exceed the best constant guess.
        law: How the predictions were made.
    """

    trained: float
    predicted: Mapping[str, bool]
    share: float
    lead: float
    law: str


class Planned(NamedTuple):
    """What is known of cost and power before the runs.

    Attributes:
        effect: Smallest difference that would matter to a reader.
        spread: Standard deviation of a contrast's differences over seeds, from earlier rows.
        source: Which rows, or why none.
        seconds: Processor seconds of one run.
    """

    effect: float
    spread: float
    source: str
    seconds: float


@dataclass(frozen=True)
class Rule:
    """An experiment whose outcome counts, because this was fixed first.

    Attributes:
        name: Name on the command line and of the table.
        question: What it asks.
        claim: The explored finding or the paper's sentence that is tested.
        supports: What outcome supports it.
        refutes: What outcome refutes it.
        stopping: When the runs end.
        level: Of the whole family.
        value: Column that is compared, a name in `UNITS`.
        updates: Number of updates of each run.
        seeds: Seeds, which occur in no earlier row.
        settings: Settings of all runs, see `snnlib.experiments.task.train`.
        conditions: What each condition changes in them.
        family: The contrasts; empty for `cells`.
        cells: Predictions for conditions; None for contrasts.
        planned: Cost and power beforehand.
        sha256: Digest of all of this.
    """

    name: str
    question: str
    claim: str
    supports: str
    refutes: str
    stopping: str
    level: float
    value: str
    updates: int
    seeds: tuple[int, ...]
    settings: Settings
    conditions: Mapping[str, Settings]
    family: tuple[Family, ...]
    cells: Cells | None
    planned: Planned
    sha256: str

    @property
    def unit(self) -> Unit:
        """How differences of its value are shown."""
        return UNITS[self.value]

    def protocol(self) -> Protocol:
        """The rule as an experiment that the queue runs; its only size is `SIZE`."""
        hours = len(self.conditions) * len(self.seeds) * self.planned.seconds / 3600
        note = (
            f"Registered, {self.updates:,} updates a run; about {hours:.2g} core-hours, "
            f"{self.planned.seconds:g} s a run."
        )
        size = Size(self.settings | {"rule": self.sha256}, self.seeds, note)
        return Protocol(
            name=self.name,
            question=self.question,
            source=self.claim,
            labels=(LABEL,),
            conditions=[{LABEL: condition} for condition in self.conditions],
            apply=self._apply,
            sizes={SIZE: size},
            x="epoch",
            series=LABEL,
            priority=1,
            seconds=self.planned.seconds,
        )

    def _apply(self, settings: Settings, labels: Labels) -> None:
        _merge(settings, self.conditions[labels[LABEL]])


FIELDS = ("name", "question", "claim", "supports", "refutes", "stopping", "value")


def parse(text: str) -> Rule:
    """Read a rule.

    Args:
        text: TOML with the texts of `Rule`; `level`, `updates`, `seeds`; the tables `planned`,
            `settings` and `condition` (what each changes in the settings, by name); and either
            `contrast`, a list of tables with name, plus, minus and, if not 1, factor, or the table
            `cells`.

    Raises:
        ValueError: If something is missing, unknown or contradicts itself.
    """
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"a rule must be TOML: {error}") from None
    digest = hashlib.sha256(canonical(content).encode()).hexdigest()
    optional = {"contrast", "cells"}
    wanted = {*FIELDS, "level", "updates", "seeds", "planned", "settings", "condition"}
    if missing := wanted - set(content):
        raise ValueError(f"rule {content.get('name')!r} lacks {', '.join(sorted(missing))}")
    if unknown := set(content) - wanted - optional:
        raise ValueError(f"rule {content['name']!r}: unknown {', '.join(sorted(unknown))}")
    try:
        rule = Rule(
            **{name: content[name] for name in FIELDS},
            level=content["level"],
            updates=content["updates"],
            seeds=tuple(content["seeds"]),
            settings=content["settings"],
            conditions=content["condition"],
            family=tuple(_contrast(found) for found in content.get("contrast", ())),
            cells=Cells(**content["cells"]) if "cells" in content else None,
            planned=Planned(**content["planned"]),
            sha256=digest,
        )
    except (TypeError, KeyError) as error:
        raise ValueError(f"rule {content['name']!r}: {error}") from None
    _check(rule)
    return rule


def _contrast(found: Mapping[str, Any]) -> Family:
    given = {"factor": 1.0} | dict(found)
    given |= {side: tuple(given[side]) for side in ("plus", "minus")}
    return Family(**given)


def _check(rule: Rule) -> None:
    """Refuse a rule that does not say what it needs to."""
    where = f"rule {rule.name!r}"
    if rule.value not in UNITS:
        raise ValueError(f"{where}: value must be one of {', '.join(UNITS)}, got {rule.value!r}")
    if not 0 < rule.level < 1:
        raise ValueError(f"{where}: level must be in (0, 1), got {rule.level!r}")
    if len(rule.seeds) < 2 or len(set(rule.seeds)) != len(rule.seeds):
        raise ValueError(f"{where}: seeds must be at least two, none twice, got {rule.seeds}")
    if bool(rule.family) == (rule.cells is not None):
        raise ValueError(f"{where}: give contrasts or cells, not both and not neither")
    for contrast in rule.family:
        unknown = {*contrast.plus, *contrast.minus} - set(rule.conditions)
        if unknown or not contrast.plus or not contrast.minus:
            raise ValueError(f"{where}: contrast {contrast.name!r} has no sides in the conditions")
    if rule.cells is not None and set(rule.cells.predicted) != set(rule.conditions):
        raise ValueError(f"{where}: cells must predict every condition, and no other")
    if not rule.planned.effect > 0 or not rule.planned.spread > 0:
        raise ValueError(f"{where}: effect and spread must be positive, got {rule.planned}")
    if (made := updates(rule.settings)) != rule.updates:
        raise ValueError(f"{where}: its settings make {made} updates, not {rule.updates}")


def _merge(settings: Settings, changes: Mapping[str, Any]) -> None:
    """Change nested settings in place."""
    for name, value in changes.items():
        if isinstance(value, Mapping) and isinstance(settings.get(name), dict):
            _merge(settings[name], value)
        else:
            settings[name] = copy.deepcopy(value)


def read_rules(folder: Traversable | None = None) -> dict[str, Rule]:
    """All rules of a folder, by name.

    Args:
        folder: With one TOML file per rule, named after it; None takes this package's.

    Raises:
        ValueError: If a rule is refused or is not named after its file, or two share a seed.
    """
    place = resources.files("snnlib.experiments.registered") if folder is None else folder
    found: dict[str, Rule] = {}
    for file in sorted(place.iterdir(), key=lambda entry: entry.name):
        if file.name.endswith(".toml"):
            rule = parse(file.read_text(encoding="utf-8"))
            if f"{rule.name}.toml" != file.name:
                raise ValueError(f"{file.name} holds the rule {rule.name!r}")
            found[rule.name] = rule
    _refuse_common_seeds(list(found.values()))
    return found


def _refuse_common_seeds(rules: Sequence[Rule]) -> None:
    taken: dict[int, str] = {}
    for rule in rules:
        for seed in rule.seeds:
            if seed in taken:
                raise ValueError(f"seed {seed} is of the rules {taken[seed]!r} and {rule.name!r}")
            taken[seed] = rule.name
