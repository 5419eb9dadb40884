"""What a cell gives, as a small file: raw rounds, agreement, what was skipped, where it comes from.

Ratios are not stored: they follow from the rounds (`ratios`).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

__all__ = ["FOLDER", "Result", "path_of", "read", "read_all", "write"]

FOLDER = Path(__file__).resolve().parent.parent / "results" / "benchmarks"
DIGITS = 5


@dataclass
class Result:
    """One cell, measured.

    Attributes:
        cell: Its name.
        title: What it is, in a line.
        kind: "speed", "memory" or "growth"; "skipped" where nothing ran.
        about: Sizes and facts, such as the measured firing rate.
        bases: Variants that the others are compared with.
        seconds: Speed: rounds by variant. Growth: rounds at each size by variant. Memory: bytes
            per neuron and step in each process, by variant and moment.
        sizes: Growth: the sizes.
        agreement: By variant, "spikes" (share that differs at the output) and "gradient"
            (relative distance) in float32, and "spikes64", "gradient64" in float64.
        skipped: Why a variant is missing; under "" why the whole cell is.
        provenance: Where it comes from.
    """

    cell: str
    title: str
    kind: str
    about: dict[str, Any] = field(default_factory=dict)
    bases: list[str] = field(default_factory=list)
    seconds: dict[str, Any] = field(default_factory=dict)
    sizes: list[float] = field(default_factory=list)
    agreement: dict[str, dict[str, float]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)


def path_of(result: Result, folder: Path = FOLDER) -> Path:
    """Where a result is kept: one file per cell, device, number of threads and label.

    Example:
        >>> made = Result("cnn", "", "speed", provenance={"device": "cpu", "threads": 2})
        >>> path_of(made, Path()).as_posix()
        'cnn.cpu-2.json'
    """
    made = result.provenance
    words = [result.cell, f"{made.get('device', 'cpu')}-{made.get('threads', 1)}"]
    if label := made.get("label"):
        words.append(label)
    return folder / (".".join(words) + ".json")


def write(result: Result, folder: Path = FOLDER) -> Path:
    """Store a result whole or not at all, and return its place."""
    path = path_of(result, folder)
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(_rounded(asdict(result)), indent=1, ensure_ascii=False)
    # a list of numbers on one line: a round is no matter for a line of its own
    text = re.sub(r"\[[^\[\]{}\"]*\]", lambda m: re.sub(r"\s+", " ", m[0]), text)
    partial = path.with_suffix(".partial")
    partial.write_text(text + "\n", encoding="utf-8")
    os.replace(partial, path)
    return path


def read(path: Path) -> Result:
    """A stored result.

    Raises:
        ValueError: If the file is no such result.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is no stored benchmark: {error}") from error
    known = {entry.name for entry in fields(Result)}
    if not isinstance(found, dict) or not {"cell", "title", "kind"} <= set(found) <= known:
        raise ValueError(f"{path} is no stored benchmark")
    return Result(**found)


def read_all(folder: Path = FOLDER, order: Iterable[str] = ()) -> list[Result]:
    """All stored results: cells in the given order, then the others by name."""
    found = [read(path) for path in sorted(folder.glob("*.json"))]
    rank = {name: number for number, name in enumerate(order)}
    return sorted(found, key=lambda result: rank.get(result.cell, len(rank)))


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, Mapping):
        return {key: _rounded(entry) for key, entry in value.items()}
    return [_rounded(entry) for entry in value] if isinstance(value, list | tuple) else value
