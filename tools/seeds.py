"""Repeat the random checks of all chapters under other seeds.

Usage: ``python -m tools.seeds [--values 20] [--limit 90] [--jobs 2] [chapter ...]``.

Each value of SNNLIB_SEED is another draw of everything random in the book.  A check that held
by luck fails under some of them; the report says which claim, and under which value.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tools import chapters

FIRST = 1  # values FIRST, FIRST + 1, ...; the book's own is none of them


def check(
    value: int, notebooks: Sequence[Path], *, jobs: int
) -> tuple[float, dict[Path, chapters.Run]]:
    """Run chapters without their figures under one seed, some side by side.

    Args:
        value: SNNLIB_SEED.
        notebooks: Chapters, the longest first.
        jobs: How many run at the same time.

    Returns:
        Wall time in seconds, and each chapter's result.
    """
    start = time.perf_counter()
    with ThreadPoolExecutor(jobs) as pool:
        runs = pool.map(lambda p: chapters.run_chapter(p, seed=value, keep_going=True), notebooks)
        results = dict(zip(notebooks, runs, strict=True))
    return time.perf_counter() - start, results


def main(arguments: Sequence[str] | None = None) -> int:
    """Check all values; return 1 if a claim failed, a cell broke or a chapter took too long."""
    parser = argparse.ArgumentParser(prog="python -m tools.seeds", description=__doc__)
    parser.add_argument("chapter", nargs="*", help="names of chapters (default: all)")
    parser.add_argument("--values", type=int, default=20, help="number of seeds")
    parser.add_argument("--limit", type=float, default=90.0, help="seconds that a chapter may take")
    parser.add_argument("--jobs", type=int, default=2, help="chapters side by side")
    options = parser.parse_args(arguments)
    known = {chapters.slug(path): path for path in chapters.chapters()}
    unknown = sorted(set(options.chapter) - set(known))
    if unknown:
        parser.error(f"no chapter {', '.join(unknown)}; there are {', '.join(known)}")
    notebooks = [known[name] for name in options.chapter or known]

    problems: list[str] = []
    for value in range(FIRST, FIRST + options.values):
        wall, results = check(value, notebooks, jobs=options.jobs)
        found = [
            f"SNNLIB_SEED={value}, {chapters.slug(path)}, {failure}"
            for path, run in results.items()
            for failure in run.failures
        ]
        found += [
            f"SNNLIB_SEED={value}, {chapters.slug(path)}: {run.seconds:.0f} s, "
            f"more than {options.limit:.0f} s"
            for path, run in results.items()
            if run.seconds > options.limit
        ]
        print(f"SNNLIB_SEED={value}: {wall:5.1f} s, {len(found)} problems", flush=True)
        for problem in found:
            print(f"  {problem}", flush=True)
        problems += found
        notebooks.sort(key=lambda path: -results[path].seconds)
    print(f"{options.values} seeds, {len(notebooks)} chapters: {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
