"""A stored table as a chapter reads it: the seeds that all of its conditions have."""

from __future__ import annotations

from pathlib import Path

from snnlib.experiments.protocols import PROTOCOLS
from snnlib.experiments.results import Row, read

__all__ = ["stored"]


def stored(
    name: str, *, folder: str | Path = "../results", size: str = "desk", fewest: int = 3
) -> list[Row]:
    """Rows of `folder/name-size.csv` at the seeds that every condition of the protocol has.

    While a sweep is running some conditions are ahead of others; what is compared must be
    balanced.

    Args:
        name: A key of `PROTOCOLS`.
        folder: Where the tables are; the default is that of a chapter.
        size: A size of the protocol.
        fewest: The least number of common seeds.

    Returns:
        The rows.

    Raises:
        KeyError: If there is no such protocol or size.
        FileNotFoundError: If nothing is stored.
        ValueError: If a condition is missing, or fewer seeds are common to all.
        CorruptResult: If the table is not as it was written.

    Example:
        >>> rows = stored("gain-digits", folder="results")
        >>> len(rows), sorted({row["seed"] for row in rows})
        (66, [0, 1, 2])
    """
    protocol = PROTOCOLS[name]
    rows = read(Path(folder) / f"{name}-{size}.csv")
    seeds: dict[tuple[object, ...], set[int]] = {
        tuple(run.labels.values()): set() for run in protocol.runs(size)
    }
    for row in rows:
        seeds.setdefault(tuple(row[label] for label in protocol.labels), set()).add(row["seed"])
    missing = [condition for condition, found in seeds.items() if not found]
    if missing:
        raise ValueError(f"{name}-{size}.csv has no row of {missing}")
    common = set.intersection(*seeds.values())
    if len(common) < fewest:
        raise ValueError(
            f"{name}-{size}.csv has {len(common)} seeds of all conditions, not {fewest}"
        )
    return [row for row in rows if row["seed"] in common]
