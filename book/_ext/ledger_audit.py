"""What the audits found: a line for each card, tables for the status page."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path("results") / "audit"
AUDITED = RESULTS / "proofs"
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
    """Where errors were planted in the premises of a proof, and on how many of them it depends.

    >>> errors = [{"kind": "moment", "breaks": ["a"]}, {"kind": "sign", "breaks": []}]
    >>> premises("a", {"tried": errors})
    'errors planted in moments (1), signs (1): 1 of 2 breaks it, 1 it does not use'
    """
    tried = result["tried"]
    if not tried:
        return "none in which an error could be planted"
    counts = Counter(error["kind"] for error in tried)
    where = ", ".join(f"{word} ({counts[kind]})" for kind, word in KINDS.items() if counts[kind])
    broke, stopped = noticed(claim, tried)
    said = [f"{broke} of {len(tried)} {'breaks' if broke == 1 else 'break'} it"]
    said += [f"{stopped} {'ends' if stopped == 1 else 'end'} its derivation"] if stopped else []
    unused = len(tried) - broke - stopped
    said += [f"{unused} it does not use"] if unused else []
    return f"errors planted in {where}: {', '.join(said)}"


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


def _read(root: Path, name: str) -> list[dict[str, str]]:
    path = root / RESULTS / f"{name}.csv"
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def in_library(root: Path) -> list[tuple[str, ...]]:
    """Rows on the errors planted in formulas of the library: room, errors, noticed, no matter."""
    place = ("path", "owner", "was", "planted")
    excused = {tuple(row[key] for key in place) for row in _read(root, "equivalent")}
    counts: dict[str, list[int]] = {}
    for row in _read(root, "mutants"):
        room = "ledger, saying yes" if row["kind"] == "yes" else row["path"].split("/")[1]
        of_room = counts.setdefault(room, [0, 0, 0])
        of_room[0] += 1
        of_room[1] += bool(row["noticed"])
        of_room[2] += not row["noticed"] and tuple(row[key] for key in place) in excused
    return [(room, *map(str, found)) for room, found in sorted(counts.items())]


def reruns(root: Path) -> list[tuple[str, ...]]:
    """Rows on chapters run with other random numbers and parameters: what, chapters, failures."""
    rows = _read(root, "seeds")
    chapters = len(list((root / "notebooks").rglob("*.md")))
    there = [row for row in rows if row["setting"]]
    most = max((int(row["seeds"]) for row in rows), default=0)
    failed = [sum(len(r[k].splitlines()) for r in rows) for k in ("failed", "failed_there")]
    return [
        (f"{most} other seeds", f"{len(rows)} of {chapters}", str(failed[0])),
        ("other numbers in the parameter cell", f"{len(there)} of {chapters}", str(failed[1])),
    ]
