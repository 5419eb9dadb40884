"""Registered experiments as tables of a page: what was asked, what came out, what is open."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from snnlib.experiments.compare import by_seed
from snnlib.experiments.registered.history import Checked
from snnlib.experiments.registered.outcome import boundary, judge_rule, resolution_of
from snnlib.experiments.registered.rule import LABEL, SIZE, Rule
from snnlib.experiments.results import Row, read, summarize

__all__ = ["MARKS", "accuracies", "is_complete", "outcomes", "overview", "rows_of"]

MARKS = {"registered": "●", "explored": "○"}
"""What stands beside a result whose rule was committed first, and beside any other."""

Columns = dict[str, list[Any]]


def rows_of(rule: Rule, folder: str | Path = "../results") -> list[Row]:
    """The rows of a rule that stand under its present digest; empty while nothing is stored.

    Args:
        rule: The rule.
        folder: Where the tables are; the default is that of a chapter.
    """
    path = Path(folder) / f"{rule.name}-{SIZE}.csv"
    return read(path) if path.exists() else []


def is_complete(rule: Rule, rows: list[Row]) -> bool:
    """Whether every run of a rule is stored; nothing is judged before.

    Args:
        rule: The rule.
        rows: Its rows.
    """
    return len(rows) == len(rule.conditions) * len(rule.seeds)


def outcomes(rule: Rule, rows: list[Row]) -> Columns:
    """One line for each contrast: difference and effect with intervals, corrected p, outcome.

    Args:
        rule: A rule with contrasts.
        rows: Its rows; while some are missing the outcome is "open" and nothing else is said.

    Raises:
        ValueError: As in `judge_rule`.
    """
    columns: Columns = {"": [MARKS["registered"]] * len(rule.family)}
    columns["contrast"] = [contrast.name for contrast in rule.family]
    if not is_complete(rule, rows):
        return columns | {"outcome": ["open"] * len(rule.family)}
    judged = judge_rule(rule, rows)
    return columns | {
        f"{rule.unit.name} ({100 * (1 - rule.level):g} %)": [found.points for found in judged],
        "effect size": [found.effect for found in judged],
        "seeds": [found.difference.seeds for found in judged],
        "p, Holm": [f"{found.p_holm:.2g}" for found in judged],
        "outcome": [found.outcome for found in judged],
    }


def accuracies(rule: Rule, rows: list[Row]) -> Columns:
    """Mean of each condition over its seeds, accuracies in percent, with its interval.

    Args:
        rule: The rule.
        rows: Its rows.
    """
    found = summarize(rows, [LABEL], value=rule.value)
    factor, _, digits = rule.unit
    accuracy = rule.value == "test_accuracy"
    return {
        "": [MARKS["registered"]] * len(found),
        "condition": [name for (name,) in found],
        "accuracy (%)" if accuracy else rule.value.replace("_", " "): [
            s.percent(digits)
            if accuracy
            else f"{factor * s.mean:.{digits}f} ± {factor * s.half_width:.{digits}f}"
            for s in found.values()
        ],
        "seeds (%)" if accuracy else "seeds": [
            ", ".join(
                f"{factor * x:.{0 if accuracy else digits}f}"
                for x in by_seed(rows, value=rule.value, **{LABEL: name}).values()
            )
            for (name,) in found
        ],
    }


def overview(
    rules: Mapping[str, Rule], checks: Mapping[str, Checked], folder: str | Path = "../results"
) -> Columns:
    """Every rule with its size, what its seeds resolve, how far it is and what came out.

    Args:
        rules: The rules by name.
        checks: What `check_all` found.
        folder: Where the tables are.
    """
    columns: Columns = {
        name: []
        for name in (
            "rule", "question", "updates", "seeds", "resolves", "matters",
            "core-hours", "rows", "order in time", "outcome",
        )
    }  # fmt: skip
    for name, rule in rules.items():
        total = len(rule.conditions) * len(rule.seeds)
        rows = rows_of(rule, folder)
        spent = sum(row["seconds"] for row in rows) / 3600
        planned = (total - len(rows)) * rule.planned.seconds / 3600
        line = (
            name,
            rule.question,
            f"{rule.updates:,}",
            len(rule.seeds),
            rule.unit.show(resolution_of(rule)) if rule.family else "",
            rule.unit.show(rule.planned.effect) if rule.family else "",
            f"{spent + planned:.2g}",
            f"{len(rows)} of {total}",
            checks[name].word,
            _outcome(rule, rows) if is_complete(rule, rows) else "",
        )
        for column, value in zip(columns, line, strict=True):
            columns[column].append(value)
    return columns


def _outcome(rule: Rule, rows: list[Row]) -> str:
    if rule.cells is not None:
        return boundary(rule, rows).outcome
    words = [found.outcome for found in judge_rule(rule, rows)]
    return ", ".join(
        f"{words.count(word)} {word}" if len(words) > 1 else word for word in dict.fromkeys(words)
    )
