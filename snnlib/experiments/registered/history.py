"""Shows by git's history that rules are older than their rows, unchanged, and on fresh seeds."""

from __future__ import annotations

import functools
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from snnlib.experiments.provenance import is_clean
from snnlib.experiments.registered.rule import SIZE, Rule, parse
from snnlib.experiments.results import read

__all__ = ["PLACE", "Checked", "check", "check_all"]

PLACE = "snnlib/experiments/registered"
"""Where rules are in the repository."""

Row = Mapping[str, Any]


class Checked(NamedTuple):
    """What is known of a rule and its rows.

    Attributes:
        rows: How many there are.
        history: Whether git's history could be asked; else only digests and seeds were compared.
        violations: One line each.
    """

    rows: int
    history: bool
    violations: list[str]

    @property
    def word(self) -> str:
        """One of "open", "refused", "not checked" (there is no history) and "checked"."""
        if self.violations:
            return "refused"
        if not self.rows:
            return "open"
        return "checked" if self.history else "not checked"


def check(
    rule: Rule, rows: Sequence[Row], others: Mapping[str, Sequence[Row]], root: str | Path
) -> Checked:
    """Check the rows of a rule.

    Each row must name the digest of the rule as it is now, settings that the rule has, and a clean
    commit of this history in which the rule had that digest already. No row of another table that
    is not younger than the rule may have one of its seeds.

    Args:
        rule: The rule.
        rows: Its rows.
        others: Rows of all other tables, by name.
        root: Folder of the repository.

    Returns:
        What was found; without a full history of git the last two are not asked.
    """
    keys = {run.key for run in rule.protocol().runs(SIZE)}
    found = []
    for number, row in enumerate(rows, 1):
        where = f"{rule.name}, row {number}"
        if row.get("rule") != rule.sha256:
            found.append(f"{where}: was made under another rule")
        elif row["key"] not in keys:
            found.append(f"{where}: its settings are not of the rule")
        if not is_clean(str(row.get("commit") or "")):
            found.append(f"{where}: names no clean commit")
    path, history = f"{PLACE}/{rule.name}.toml", _has_history(str(root))
    if history:
        for commit in dict.fromkeys(str(row["commit"]) for row in rows):
            if is_clean(commit) and (why := _refused(str(root), commit, path, rule)):
                found.append(f"{rule.name}: {why} {commit[:12]}")
        found += _used_before(rule, others, str(root), path)
    return Checked(len(rows), history, found)


def check_all(rules: Mapping[str, Rule], root: str | Path) -> dict[str, Checked]:
    """Check every rule against the tables in `root/results`.

    Args:
        rules: The rules by name.
        root: Folder of the repository.
    """
    tables = {path.stem: read(path) for path in sorted(Path(root, "results").glob("*.csv"))}
    found = {}
    for name, rule in rules.items():
        own = f"{name}-{SIZE}"
        others = {table: rows for table, rows in tables.items() if table != own}
        found[name] = check(rule, tables.get(own, []), others, root)
    return found


def _refused(root: str, commit: str, path: str, rule: Rule) -> str | None:
    """Why a commit is none in which the rule stood as it does now."""
    if not _precedes(root, commit, "HEAD"):
        return "rows name a commit that is not in this history,"
    text = _git(root, "show", f"{commit}:{path}")
    if text is None:
        return "rows are older than their rule, which is not in"
    try:
        same = parse(text).sha256 == rule.sha256
    except ValueError:
        same = False
    return None if same else "the rule was changed after rows of"


def _used_before(
    rule: Rule, others: Mapping[str, Sequence[Row]], root: str, path: str
) -> list[str]:
    """Seeds of the rule in rows that are not younger than it."""
    made = (_git(root, "log", "-1", "--format=%H", "--", path) or "").strip()
    taken = set(rule.seeds)
    found = []
    for name, rows in others.items():
        used = {row["seed"]: str(row.get("commit") or "") for row in rows if row["seed"] in taken}
        found += [
            f"{rule.name}: seed {seed} was used before, in {name}"
            for seed, commit in used.items()
            if not (made and _precedes(root, made, commit.partition("+")[0]))
        ]
    return found


@functools.cache
def _has_history(root: str) -> bool:
    return (_git(root, "rev-parse", "--is-shallow-repository") or "").strip() == "false"


@functools.cache
def _precedes(root: str, first: str, second: str) -> bool:
    return bool(second) and _git(root, "merge-base", "--is-ancestor", first, second) is not None


def _git(root: str, *arguments: str) -> str | None:
    """What git answers; None if it refuses or is not there."""
    command = ["git", "-C", root, *arguments]
    try:
        done = subprocess.run(command, capture_output=True, encoding="utf-8", check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout
