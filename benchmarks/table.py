"""Stored rounds as tables: columns of words, for a terminal or a page."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping

from benchmarks.ratios import Spread, ratios, slope, spread
from benchmarks.result import Result

__all__ = ["best_peer", "columns", "heading", "origin", "remarks", "text"]

OURS = "snnlib"
PEERS = ("SpikingJelly", "snnTorch", "Norse", "plain torch")
LIBRARIES = PEERS[:3]

Columns = dict[str, list[str]]


def columns(result: Result) -> Columns:
    """The table of a cell: words by header, one row per variant.

    Raises:
        ValueError: If the kind of result is unknown.
    """
    makers = {"speed": _speed, "memory": _memory, "growth": _growth}
    if result.kind == "skipped":
        return {}
    if result.kind not in makers:
        raise ValueError(f"kind must be one of {', '.join(makers)}, got {result.kind!r}")
    return makers[result.kind](result)


def _speed(result: Result) -> Columns:
    seconds = result.seconds
    found: Columns = {"variant": list(seconds)}
    found["ms"] = [f"{1e3 * statistics.median(taken):.3g}" for taken in seconds.values()]
    for number, base in enumerate(result.bases):
        spreads = [spread(ratios(taken, seconds[base])) for taken in seconds.values()]
        found[f"/ {base}"] = [f"{one.median:.2f}" for one in spreads]
        if number == 0:
            found["quartiles"] = [f"{one.low:.2f}-{one.high:.2f}" for one in spreads]
            found["range"] = [f"{one.least:.2f}-{one.most:.2f}" for one in spreads]
    if OURS in seconds:
        found[f"/ {OURS}"] = [
            f"{statistics.median(ratios(taken, seconds[OURS])):.2f}" for taken in seconds.values()
        ]
    agreed = result.agreement
    for header, key in (
        ("spikes differ", "spikes"),
        ("gradients differ", "gradient"),
        ("in float64", "gradient64"),
    ):
        if any(key in entry for entry in agreed.values()):
            found[header] = [_small(agreed.get(name, {}).get(key)) for name in seconds]
    return found


MOMENTS = {
    "held": "held",
    "peak": "at the highest",
    "as it is": "at the highest, allocator as it is",
}


def _memory(result: Result) -> Columns:
    found: Columns = {"variant": list(result.seconds)}
    for moment, header in MOMENTS.items():
        if all(moment in taken for taken in result.seconds.values()):
            spreads = [spread(taken[moment]) for taken in result.seconds.values()]
            found[header] = [f"{one.median:.2f}" for one in spreads]
            found[f"range, {moment}"] = [f"{one.least:.2f}-{one.most:.2f}" for one in spreads]
    return found


def _growth(result: Result) -> Columns:
    found: Columns = {"variant": list(result.seconds), "exponent": [], "standard error": []}
    first, last = (f"ms at {result.sizes[end]:g}" for end in (0, -1))
    found |= {first: [], last: []}
    base = result.bases[0] if result.bases else ""
    if base:
        found[f"/ {base} there"] = []
    for rounds in result.seconds.values():
        middle = [statistics.median(taken) for taken in rounds]
        fitted = slope(result.sizes, middle)
        found["exponent"].append(f"{fitted.value:.2f}")
        found["standard error"].append(f"{fitted.error:.2f}")
        found[first].append(f"{1e3 * middle[0]:.3g}")
        found[last].append(f"{1e3 * middle[-1]:.3g}")
        if base:
            ratio = statistics.median(ratios(rounds[-1], result.seconds[base][-1]))
            found[f"/ {base} there"].append(f"{ratio:.2f}")
    return found


def best_peer(
    result: Result, variant: str = OURS, among: Iterable[str] = LIBRARIES
) -> tuple[str, Spread] | None:
    """The fastest of the other libraries, and its time over that of a variant of ours.

    Returns:
        Its name and the spread of the ratios; None where there is no such pair.
    """
    here = [name for name in among if name in result.seconds]
    if result.kind != "speed" or variant not in result.seconds or not here:
        return None
    best = min(here, key=lambda name: statistics.median(result.seconds[name]))
    return best, spread(ratios(result.seconds[best], result.seconds[variant]))


def heading(result: Result) -> str:
    """Name, title and sizes in one line."""
    facts = ", ".join(f"{name} {_fact(value)}" for name, value in result.about.items())
    return f"{result.cell}: {result.title}" + (f" ({facts})" if facts else "")


def remarks(result: Result) -> list[str]:
    """What the table does not say: the best peer, and what is missing and why."""
    found = []
    for label in (OURS, *(name for name in result.seconds if name.startswith(f"{OURS}, fused"))):
        if best := best_peer(result, label):
            name, ratio = best
            found.append(
                f"{name}, the fastest of the other libraries, takes {ratio.median:.2f} times "
                f"as long as {label} (quartiles {ratio.low:.2f}-{ratio.high:.2f})"
            )
    reasons: dict[str, list[str]] = {}
    for name, why in result.skipped.items():
        reasons.setdefault(why, []).append(name)
    for why, names in reasons.items():
        found.append(f"without {'; '.join(names)}: {why}" if any(names) else f"skipped: {why}")
    return found


def origin(result: Result) -> str:
    """Where and when it was measured."""
    made = result.provenance
    words = [f"{made.get('threads')} thread(s) on {made.get('device')}, {made.get('clock')}"]
    words += [str(made[key]) for key in ("machine", "versions", "environment") if made.get(key)]
    words.append(f"{made.get('date')}, commit {str(made.get('commit') or 'unknown')[:12]}")
    return "; ".join(words)


def text(result: Result) -> str:
    """All of it, for a terminal."""
    lines = [heading(result)]
    table = columns(result)
    widths = {
        header: max(len(header), *(len(cell) for cell in cells)) if cells else len(header)
        for header, cells in table.items()
    }
    rows = [list(table), *zip(*table.values(), strict=True)] if table else []
    for row in rows:
        cells = [
            cell.ljust(width) if number == 0 else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths.values(), strict=True))
        ]
        lines.append("  " + "  ".join(cells).rstrip())
    return "\n".join([*lines, *(f"  {line}" for line in remarks(result))])


def _small(value: float | None) -> str:
    if value is None:
        return ""
    return "0" if value == 0 else f"{value:.1e}"


def _fact(value: object) -> str:
    if isinstance(value, Mapping | list):
        return ", ".join(map(str, value))
    return f"{value:.3g}" if isinstance(value, float) else str(value)
