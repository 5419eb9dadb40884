r"""The papers' experiments as data, a runner that can be killed, and tables with provenance.

On the command line::

    python -m snnlib.experiments list
    python -m snnlib.experiments status
    python -m snnlib.experiments run frozen-threshold --size desk
    python -m snnlib.experiments run --all --minutes 60
    python -m snnlib.experiments run --all --cluster tcp://host:8786
    python -m snnlib.experiments plot frozen-threshold
    python -m snnlib.experiments check frozen-threshold --row 3

A run is a digest of its settings: the result of each is stored once, in a folder of its own, and
a sweep that was killed goes on where it was. `run` writes `results/<name>-<size>.csv` at the end;
`read`, `summarize` and `judge` make of it what a chapter says.

Example:
    >>> protocol = PROTOCOLS["frozen-threshold"]
    >>> runs = protocol.runs("desk")
    >>> len(runs) == 2 * 5 * 3 * 3  # resets, thresholds, families, seeds
    True

    At threshold 1 the three families are one and are run once.

    >>> len({run.key for run in runs}) == 2 * (4 * 3 + 1) * 3
    True
"""

from __future__ import annotations

from snnlib.experiments.balanced import stored
from snnlib.experiments.compare import (
    Comparison,
    Difference,
    by_seed,
    difference,
    holm,
    informative,
    judge,
    resolves,
    seeds_needed,
    trains,
    verdict,
)
from snnlib.experiments.grid import Contrast, Grid, additive_noise
from snnlib.experiments.orderings import (
    JudgedOrdering,
    Ordering,
    judge_orderings,
    ordering,
)
from snnlib.experiments.plotting import plot
from snnlib.experiments.protocol import Protocol, Run, Size
from snnlib.experiments.protocols import PROTOCOLS
from snnlib.experiments.results import Summary, read, rows, summarize, write
from snnlib.experiments.runner import RunFailed, Status, Task, execute, queue, status, sweep, work
from snnlib.experiments.sealed import CorruptResult
from snnlib.experiments.sentences import JudgedSentence, Sentence, judge_sentences
from snnlib.experiments.store import Store

__all__ = [
    "PROTOCOLS",
    "Comparison",
    "Contrast",
    "CorruptResult",
    "Difference",
    "Grid",
    "JudgedOrdering",
    "JudgedSentence",
    "Ordering",
    "Protocol",
    "Run",
    "RunFailed",
    "Sentence",
    "Size",
    "Status",
    "Store",
    "Summary",
    "Task",
    "additive_noise",
    "by_seed",
    "difference",
    "execute",
    "holm",
    "informative",
    "judge",
    "judge_orderings",
    "judge_sentences",
    "ordering",
    "plot",
    "queue",
    "read",
    "resolves",
    "rows",
    "seeds_needed",
    "status",
    "stored",
    "summarize",
    "sweep",
    "trains",
    "verdict",
    "work",
    "write",
]
