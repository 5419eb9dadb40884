"""What answers each sentence of a paper on trainings: a registered rule, or a command."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

from snnlib.experiments.costs import Cost, expected
from snnlib.experiments.protocols import PROTOCOLS
from snnlib.experiments.registered.outcome import boundary, judge_rule
from snnlib.experiments.registered.rule import SIZE, Rule
from snnlib.experiments.registered.showing import MARKS, is_complete, rows_of

__all__ = ["PAPERS", "Answer", "answers", "read_answers", "unanswered"]

PAPERS = ("herranz2022", "ikun2024", "micheli2024", "mpinit2026")
"""Sources whose sentences on trainings are to be answered."""

FULL = "paper"
"""The size at which a paper's own experiment settles what it says."""


class Answer(NamedTuple):
    """What answers a sentence.

    Attributes:
        rules: Names of registered rules that ask it, at a size that is theirs.
        open: Names of experiments that settle it at size `FULL`.
        reason: Why no training does, if none does.
    """

    rules: tuple[str, ...] = ()
    open: tuple[str, ...] = ()
    reason: str = ""


def read_answers(rules: Iterable[str], text: str | None = None) -> dict[str, Answer]:
    """Every sentence with its answer, by the id of its claim.

    Args:
        rules: Names of all rules.
        text: TOML of the table "trained", of tables with "rules", "open" or both by claim, and of
            the table "elsewhere", of reasons; None is that of this package.

    Raises:
        ValueError: If a sentence has no answer or two, or an answer names a rule or an experiment
            that is not there or has no size `FULL`.
    """
    if text is None:
        place = resources.files("snnlib.experiments") / "answers.toml"
        text = place.read_text(encoding="utf-8")
    content, known = tomllib.loads(text), set(rules)
    full = {name for name, protocol in PROTOCOLS.items() if FULL in protocol.sizes}
    found = {claim: Answer(reason=reason) for claim, reason in content["elsewhere"].items()}
    for claim, entry in content["trained"].items():
        answer = Answer(tuple(entry.get("rules", ())), tuple(entry.get("open", ())))
        if claim in found or not (answer.rules or answer.open):
            raise ValueError(f"{claim} needs one answer: rules or open experiments, or a reason")
        if unknown := [*(set(answer.rules) - known), *(set(answer.open) - full)]:
            raise ValueError(f"{claim}: no rule, and no experiment of size {FULL}: {unknown[0]!r}")
        found[claim] = answer
    return found


def unanswered(claims: Mapping[str, Any], known: Mapping[str, Answer]) -> list[str]:
    """Sentences of `PAPERS` that a build does not decide and that nothing answers.

    Args:
        claims: All claims of the ledger by id, with `source`, `verdict` and `mark`.
        known: What `read_answers` gives.
    """
    return [
        name
        for name, claim in claims.items()
        if claim.source in PAPERS
        and (claim.verdict == "not testable here" or claim.mark in ("explored", "registered"))
        and name not in known
    ]


def answers(
    claims: Mapping[str, Any], rules: Mapping[str, Rule], folder: str | Path = "../results"
) -> dict[str, list[str]]:
    """The sentences as a table: what was registered, what is open, and what that would take.

    Args:
        claims: All claims of the ledger by id, with `citation` and `statement`.
        rules: The rules by name.
        folder: Where the tables are.
    """
    costs: dict[tuple[str, str], Cost] = {}

    def hours(name: str, size: str) -> Cost:
        if (name, size) not in costs:
            protocol = rules[name].protocol() if size == SIZE else PROTOCOLS[name]
            costs[name, size] = expected(protocol, size, folder)
        return costs[name, size]

    columns: dict[str, list[str]] = {
        "where": [], "sentence": [], "registered": [], "open": [], "hours, two cores": [],
        "hours, one GPU": [],
    }  # fmt: skip
    for name, answer in read_answers(rules).items():
        if answer.reason:
            continue
        done = {
            rule: is_complete(rules[rule], rows_of(rules[rule], folder)) for rule in answer.rules
        }
        left = [(rule, SIZE) for rule, complete in done.items() if not complete]
        left += [(protocol, FULL) for protocol in answer.open]
        spent = [hours(*one) for one in left]
        line = (
            claims[name].citation,
            claims[name].statement,
            "; ".join(
                f"{MARKS['registered']} {rule}: "
                + (_word(rules[rule], folder) if complete else "open")
                for rule, complete in done.items()
            ),
            "; ".join(f"run {one} --size {size}" for one, size in left),
            "; ".join(_shown(cost.two_cores) for cost in spent),
            "; ".join(_shown(cost.gpu) for cost in spent),
        )
        for column, value in zip(columns, line, strict=True):
            columns[column].append(value)
    return columns


def _word(rule: Rule, folder: str | Path) -> str:
    rows = rows_of(rule, folder)
    if rule.cells is not None:
        return boundary(rule, rows).outcome
    return ", ".join(
        f"{found.contrast.name} {found.points} {found.unit.name} ({found.outcome})"
        for found in judge_rule(rule, rows)
    )


def _shown(hours: float) -> str:
    return f"{hours:.2g}" if hours < 100 else f"{hours:,.0f}"
