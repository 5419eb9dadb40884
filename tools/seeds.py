"""Repeat the checks of all chapters under other seeds, and at another setting of their parameters.

Usage: ``python -m tools.seeds [--values 20] [--limit 600] [--jobs 2] [--check] [chapter ...]``.

Each value of SNNLIB_SEED is another draw of everything random in the book.  A check that held
by luck fails under some of them; the report says which claim, and under which value.
The other setting is that of ``tools/settings.yml``: a law that holds at the chapter's own numbers
alone fails there.  What came out is kept in ``results/audit/seeds.csv``, and a chapter is run again
when its code has changed.  ``--check`` runs nothing and lists what failed and what is missing.
"""

from __future__ import annotations

import argparse
import ast
import csv
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import NamedTuple

import yaml

from tools import chapters
from tools.reseeded import cells

FIRST = 1  # values FIRST, FIRST + 1, ...; the book's own is none of them
VALUES = 20
TABLE = chapters.AUDITED / "seeds.csv"
SETTINGS = Path(__file__).with_name("settings.yml")


class Row(NamedTuple):
    """What came of a chapter, a row of the table.

    Attributes:
        chapter: Its name.
        code: Digest of its code cells, those of figures left out.
        seeds: How many seeds were tried; 1 where the chapter draws no random number.
        failed: Failures under them, "seed: what failed", a line each.
        setting: The other setting, "" if the chapter has none.
        failed_there: Failures at the other setting, a line each.
    """

    chapter: str
    code: str
    seeds: int
    failed: str
    setting: str
    failed_there: str


def settings(path: Path = SETTINGS) -> dict[str, dict[str, str]]:
    """Read the other settings: chapter -> name in the parameter cell -> expression."""
    found = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    return {name: {k: str(v) for k, v in given.items()} for name, given in found.items()}


def digest(chapter: Path) -> str:
    """Hash what a chapter's row depends on; comments and line breaks do not count."""
    text = "\0".join(ast.unparse(ast.parse(source)) for _, source in cells(chapter))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _said(setting: Mapping[str, str]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in setting.items())


def stored(path: Path = TABLE) -> dict[str, Row]:
    """Read the table: chapter -> row."""
    if not path.exists():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        rows = [Row(**{**line, "seeds": int(line["seeds"])}) for line in csv.DictReader(file)]  # type: ignore[arg-type]
    return {row.chapter: row for row in rows}


def store(rows: Iterable[Row], path: Path = TABLE) -> None:
    """Write the table whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    with new.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(Row._fields)
        writer.writerows(sorted(rows))
    new.replace(path)


def run(
    chapter: Path, values: Sequence[int], setting: Mapping[str, str], limit: float
) -> tuple[list[tuple[int | None, str]], bool]:
    """Run a chapter without its figures in a process of its own, under each seed.

    Args:
        chapter: Text notebook.
        values: Values of SNNLIB_SEED; none is the book's own.
        setting: What to change in the parameter cell.
        limit: Seconds that each seed may take.

    Returns:
        Failures as (value, what failed), and whether the chapter draws random numbers.
    """
    command = [sys.executable, "-m", "tools.reseeded", chapters.slug(chapter), f"--limit={limit}"]
    command += [f"--set={name}={value}" for name, value in setting.items()]
    command += ["--values", *map(str, values)] if values else []
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"}
    ended = subprocess.run(
        command, cwd=chapters.ROOT, env=environment, capture_output=True, encoding="utf-8"
    )
    lines = [json.loads(line) for line in ended.stdout.splitlines() if line.startswith('{"value"')]
    failures = [(line["value"], what) for line in lines for what in line["failures"]]
    random = any(line["random"] for line in lines)
    missing = {*values} - {line["value"] for line in lines} if random or not lines else set()
    last = (ended.stderr.strip().splitlines() or ["no word"])[-1]
    failures += [(value, f"ended without a result: {last}") for value in sorted(missing)]
    if not values and not lines:
        failures.append((None, f"ended without a result: {last}"))
    return failures, random


def check(
    chapter: Path,
    values: Sequence[int],
    setting: Mapping[str, str],
    limit: float,
    before: Row | None = None,
) -> Row:
    """Run a chapter under all seeds, and once at its other setting, and keep what is known.

    Args:
        chapter: Text notebook.
        values: Values of SNNLIB_SEED.
        setting: What to change in the parameter cell; empty if there is no other setting.
        limit: Seconds that each run may take.
        before: The chapter's row in the table; what it says of the same code stands.
    """
    code, said = digest(chapter), _said(setting)
    known = before if before is not None and before.code == code else None
    if known is not None and known.seeds in (1, len(values)):
        seeds, failed = known.seeds, known.failed
    else:
        failures, random = run(chapter, values, {}, limit)
        seeds = len(values) if random else 1
        failed = "\n".join(f"{value}: {what}" for value, what in failures)
    if known is not None and known.setting == said:
        there = known.failed_there
    else:
        found = run(chapter, [], setting, limit)[0] if setting else []
        there = "\n".join(what for _, what in found)
    return Row(chapters.slug(chapter), code, seeds, failed, said, there)


def report(row: Row) -> str:
    """Say a row in one line, and its failures in one line each."""
    where = f", and at {row.setting}" if row.setting else ""
    count = sum(len(text.splitlines()) for text in (row.failed, row.failed_there))
    lines = [f"{row.chapter}: {row.seeds} seeds{where}: {count or 'no'} failures"]
    lines += [f"  SNNLIB_SEED={line}" for line in row.failed.splitlines()]
    return "\n".join(lines + [f"  there: {line}" for line in row.failed_there.splitlines()])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the chapters of which something changed; return 1 if a check failed."""
    parser = argparse.ArgumentParser(prog="python -m tools.seeds", description=__doc__)
    parser.add_argument("chapter", nargs="*", help="to run anew (default: what changed)")
    parser.add_argument("--values", type=int, default=VALUES, help="number of seeds")
    parser.add_argument("--limit", type=float, default=600.0, help="seconds that a seed may take")
    parser.add_argument("--jobs", type=int, default=2, help="chapters side by side")
    parser.add_argument("--check", action="store_true", help="run nothing, list what is stored")
    options = parser.parse_args(arguments)
    known = {chapters.slug(path): path for path in chapters.chapters()}
    unknown = sorted(set(options.chapter) - set(known))
    if unknown:
        parser.error(f"no chapter {', '.join(unknown)}; there are {', '.join(known)}")
    other = settings()
    rows = {name: row for name, row in stored().items() if name in known}
    stale = [
        name
        for name, path in known.items()
        if name not in rows
        or rows[name].code != digest(path)
        or rows[name].seeds not in (1, options.values)
        or rows[name].setting != _said(other.get(name, {}))
    ]
    if options.check:
        print("\n".join(report(row) for row in rows.values()))
        print(f"to be run: {', '.join(stale) or 'none'}")
    else:
        values = range(FIRST, FIRST + options.values)
        start = time.perf_counter()
        with ThreadPoolExecutor(options.jobs) as pool:
            jobs = []
            for name in options.chapter or stale:
                before = None if name in options.chapter else rows.get(name)
                given = known[name], values, other.get(name, {}), options.limit, before
                jobs.append(pool.submit(check, *given))
            for job in as_completed(jobs):
                row = job.result()
                rows[row.chapter] = row
                store(rows.values())
                print(f"{time.perf_counter() - start:6.0f} s  {report(row)}", flush=True)
    failing = [row.chapter for row in rows.values() if row.failed or row.failed_there]
    print(f"{len(rows)} chapters, {len(failing)} with failures")
    return 1 if failing else 0


if __name__ == "__main__":
    sys.exit(main())
