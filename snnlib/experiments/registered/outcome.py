"""What the rows of a rule say, judged as the rule says and in no other way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from snnlib.experiments.compare import holm
from snnlib.experiments.paired import Difference, difference, resolves
from snnlib.experiments.registered.rule import LABEL, UNITS, Family, Rule, Unit

__all__ = ["OUTCOMES", "Boundary", "Judged", "boundary", "judge_rule", "resolution_of"]

OUTCOMES = ("supported", "refuted", "undecided")
"""What a contrast of a rule comes to."""

Row = Mapping[str, Any]


class Judged(NamedTuple):
    """A contrast of a rule with what its rows say.

    Attributes:
        contrast: The contrast.
        difference: Plus minus minus over paired seeds; its interval is not corrected.
        p_holm: p value, corrected over the whole family.
        outcome: One of `OUTCOMES`.
        unit: In which the difference is shown.
    """

    contrast: Family
    difference: Difference
    p_holm: float
    outcome: str
    unit: Unit = UNITS["test_accuracy"]

    @property
    def points(self) -> str:
        """The difference in its unit, percentage points of an accuracy, with its interval."""
        factor, _, digits = self.unit
        mean, half = factor * self.difference.mean, factor * self.difference.half_width
        return f"{mean:+.{digits}f} ± {half:.{digits}f}"

    @property
    def effect(self) -> str:
        """Hedges' g with its interval: the difference in units of its spread over seeds."""
        found = self.difference
        return f"{found.effect:.1f} ({found.effect_low:.1f} to {found.effect_high:.1f})"

    @property
    def summary(self) -> str:
        """One line for the ledger."""
        level = 100 * self.difference.confidence
        return (
            f"{self.contrast.name}: {self.points} {self.unit.name} ({level:g} %) over "
            f"{self.difference.seeds} fresh seeds, corrected p {self.p_holm:.2g}"
        )


class Boundary(NamedTuple):
    """Predictions for conditions with what the rows say.

    Attributes:
        accuracy: Mean test accuracy of each condition.
        trained: Whether that counts as trained.
        share: Of conditions on the predicted side.
        constant: Share that the best constant guess would get.
        outcome: "supported" or "refuted".
    """

    accuracy: Mapping[str, float]
    trained: Mapping[str, bool]
    share: float
    constant: float
    outcome: str


def judge_rule(rule: Rule, rows: Sequence[Row]) -> list[Judged]:
    """Judge the contrasts of a rule: paired over seeds, two-sided, corrected over all of them.

    "supported" if the corrected p value is at most the rule's level and the difference positive,
    "refuted" if it is negative, else "undecided".

    Args:
        rule: A rule with contrasts.
        rows: All its rows, see `snnlib.experiments.read`.

    Returns:
        One result for each contrast, in order.

    Raises:
        ValueError: If the rule has no contrasts, rows belong to another rule, or a row is missing
            or there twice.
    """
    if not rule.family:
        raise ValueError(f"rule {rule.name!r} has predictions for cells, not contrasts")
    values = _by_condition(rule, rows)
    step = 1 / rule.settings["data"]["test"] if rule.value == "test_accuracy" else 0.0
    found = [
        difference(
            _side(contrast.plus, contrast.factor, values),
            _side(contrast.minus, contrast.factor, values),
            confidence=1 - rule.level,
            resolution=step,
        )
        for contrast in rule.family
    ]
    corrected = holm([distance.p_value for distance in found])
    return [
        Judged(contrast, distance, p, _word(distance.mean, p, rule.level), rule.unit)
        for contrast, distance, p in zip(rule.family, found, corrected, strict=True)
    ]


def boundary(rule: Rule, rows: Sequence[Row]) -> Boundary:
    """Compare the predictions of a rule for its conditions with the mean accuracies of its rows.

    Args:
        rule: A rule with `cells`.
        rows: All its rows.

    Raises:
        ValueError: As in `judge_rule`.
    """
    cells = rule.cells
    if cells is None:
        raise ValueError(f"rule {rule.name!r} has contrasts, not predictions for cells")
    values = _by_condition(rule, rows)
    accuracy = {name: float(np.mean(list(own.values()))) for name, own in values.items()}
    trained = {name: mean >= cells.trained for name, mean in accuracy.items()}
    share = float(np.mean([trained[name] == said for name, said in cells.predicted.items()]))
    most = float(np.mean(list(trained.values())))
    constant = max(most, 1 - most)
    good = share >= cells.share and share >= constant + cells.lead
    return Boundary(accuracy, trained, share, constant, OUTCOMES[0] if good else OUTCOMES[1])


def resolution_of(rule: Rule, *, power: float = 0.9) -> float:
    """The smallest difference that a rule's contrasts show with some power, as planned.

    From the spread of earlier rows, the number of seeds, and the strictest step of Holm's
    correction over the family.

    Args:
        rule: The rule.
        power: Probability with which it is shown.
    """
    tests = max(len(rule.family), 1)
    return resolves(
        rule.planned.spread, len(rule.seeds), tests=tests, level=rule.level, power=power
    )


def _by_condition(rule: Rule, rows: Sequence[Row]) -> dict[str, dict[int, float]]:
    """The value of each condition by seed, complete."""
    found: dict[str, dict[int, float]] = {name: {} for name in rule.conditions}
    for row in rows:
        if row["rule"] != rule.sha256:
            raise ValueError(f"a row of {rule.name!r} was made under another rule")
        own = found.get(row[LABEL])
        if own is None or row["seed"] in own or row["seed"] not in rule.seeds:
            raise ValueError(
                f"{rule.name!r} has no such row, or has it twice: {row[LABEL]!r}, "
                f"seed {row['seed']}"
            )
        own[row["seed"]] = float(row[rule.value])
    wanted = len(rule.seeds)
    if missing := [name for name, own in found.items() if len(own) < wanted]:
        raise ValueError(f"rule {rule.name!r} is not complete: {', '.join(missing)}")
    return found


def _side(
    names: Sequence[str], factor: float, values: Mapping[str, Mapping[int, float]]
) -> dict[int, float]:
    """Mean over some conditions times the factor, by seed."""
    seeds = values[names[0]]
    return {seed: factor * float(np.mean([values[name][seed] for name in names])) for seed in seeds}


def _word(mean: float, p_value: float, level: float) -> str:
    if p_value > level:
        return OUTCOMES[2]
    return OUTCOMES[0] if mean > 0 else OUTCOMES[1]
