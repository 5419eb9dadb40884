"""What planted errors showed: a line for the card of each proof, two tables for the status page."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

AUDITED = Path("results") / "audit" / "proofs"
MUTANTS = Path("results") / "audit" / "mutants.csv"
EQUIVALENT = Path("results") / "audit" / "equivalent.csv"
KINDS = {  # kind of a planted error -> where it was
    "moment": "moments",
    "neuron": "the neuron's equation",
    "bound": "bounds",
    "sign": "signs",
    "coefficient": "coefficients",
    "argument": "arguments of functions",
}


def audited(root: Path) -> dict[str, dict[str, Mapping[str, Any]]]:
    """Results of the audit: chapter -> claim -> what was tried on its proof."""
    found: dict[str, dict[str, Mapping[str, Any]]] = {}
    for path in sorted((root / AUDITED).rglob("*.json")):
        results = json.loads(path.read_text(encoding="utf-8"))
        chapter = path.relative_to(root / AUDITED).with_suffix("").as_posix()
        found[chapter] = {claim: r for r in results.values() for claim in r["claims"]}
    return found


def noticed(claim: str, tried: Sequence[Mapping[str, Any]]) -> tuple[int, int]:
    """How many of the planted errors broke a proof, and how many stopped it before its end."""
    broke = sum(claim in error["breaks"] for error in tried)
    return broke, sum("stopped" in error for error in tried)


def premises(claim: str, result: Mapping[str, Any]) -> str:
    """Which errors were planted in the premises of a proof, and how many it noticed.

    >>> errors = [{"kind": "moment", "breaks": ["a"]}, {"kind": "sign", "breaks": []}]
    >>> premises("a", {"tried": errors})
    'errors planted in moments (1), signs (1): noticed 1 of 2'
    """
    tried = result["tried"]
    if not tried:
        return "none in which an error could be planted"
    counts = Counter(error["kind"] for error in tried)
    where = ", ".join(f"{word} ({counts[kind]})" for kind, word in KINDS.items() if counts[kind])
    broke, stopped = noticed(claim, tried)
    ended = f", {stopped} ended the derivation" if stopped else ""
    return f"errors planted in {where}: noticed {broke} of {len(tried)}{ended}"


def summary(found: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> list[tuple[str, ...]]:
    """Rows of the table: chapter, proofs, errors, noticed, ended, proofs that noticed none."""
    rows = []
    totals = [0] * 5
    for chapter, results in found.items():
        counts = [len(results), 0, 0, 0, 0]
        for claim, result in results.items():
            broke, stopped = noticed(claim, result["tried"])
            counts[1] += len(result["tried"])
            counts[2] += broke
            counts[3] += stopped
            counts[4] += broke == 0
        totals = [a + b for a, b in zip(totals, counts, strict=True)]
        rows.append((chapter, *map(str, counts)))
    return [*rows, ("all", *map(str, totals))]


def formulas(root: Path) -> list[tuple[str, ...]]:
    """Rows of the table: part of the library, errors, noticed, invisible, and the others."""

    def read(path: Path) -> list[dict[str, str]]:
        if not path.exists():
            return []
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    def change(row: Mapping[str, str]) -> tuple[str, ...]:
        return tuple(row[key] for key in ("path", "owner", "was", "planted"))

    known = {change(row) for row in read(root / EQUIVALENT)}
    counts: dict[str, Counter[str]] = {}
    for row in read(root / MUTANTS):
        room = "the ledger saying yes" if row["kind"] == "yes" else row["path"].split("/")[1]
        fate = "noticed" if row["noticed"] else "invisible" if change(row) in known else "others"
        counts.setdefault(room, Counter())[fate] += 1
    fates = ("noticed", "invisible", "others")
    return [
        (room, str(found.total()), *(str(found[fate]) for fate in fates))
        for room, found in sorted(counts.items())
    ]
