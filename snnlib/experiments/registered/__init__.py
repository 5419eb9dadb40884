"""Rules that were committed before their runs, and what came out of them.

One TOML file per rule holds the question, the contrasts or predictions, the test, the level, the
seeds, every setting of every run, and what outcome supports or refutes. Each row stores the rule's
SHA-256 and a clean commit; `check` shows by git's history that the rule is older than the
row, that it is still the same, and that its seeds occur in no earlier row. Everything else that
the book shows of trainings is explored.

    python -m snnlib.experiments run below-eq10 --size registered

Example:
    >>> rule = RULES["below-eq10"]
    >>> rule.protocol().runs("registered")[0].settings["rule"] == rule.sha256
    True
"""

from __future__ import annotations

from snnlib.experiments.registered.answers import (
    PAPERS,
    Answer,
    answers,
    read_answers,
    unanswered,
)
from snnlib.experiments.registered.history import Checked, check, check_all
from snnlib.experiments.registered.outcome import (
    OUTCOMES,
    Boundary,
    Judged,
    boundary,
    judge_rule,
    resolution_of,
)
from snnlib.experiments.registered.rule import SIZE, Cells, Family, Planned, Rule, parse, read_rules
from snnlib.experiments.registered.showing import (
    MARKS,
    accuracies,
    is_complete,
    outcomes,
    overview,
    rows_of,
)

__all__ = [
    "MARKS",
    "OUTCOMES",
    "PAPERS",
    "RULES",
    "SIZE",
    "Answer",
    "Boundary",
    "Cells",
    "Checked",
    "Family",
    "Judged",
    "Planned",
    "Rule",
    "accuracies",
    "answers",
    "boundary",
    "check",
    "check_all",
    "is_complete",
    "judge_rule",
    "outcomes",
    "overview",
    "parse",
    "read_answers",
    "read_rules",
    "resolution_of",
    "rows_of",
    "unanswered",
]

RULES = read_rules()
"""The rules of the book by name."""
