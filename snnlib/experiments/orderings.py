"""Orderings that a paper claims, judged as one family with a spread that the family shares.

Three seeds say little about the spread of one difference. So an interval here takes the larger of
its own spread and of the one pooled over orderings of its kind, with the degrees of freedom of
the pool; that is exact only if their spreads are equal.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import special

from snnlib._significance import critical_value
from snnlib.experiments.compare import by_seed, holm, informative, verdict
from snnlib.experiments.paired import Difference, difference

__all__ = ["JudgedOrdering", "Ordering", "judge_orderings", "ordering"]


class Ordering(NamedTuple):
    """One condition that is said to be above another.

    Attributes:
        sentence: Who says so: orderings of one sentence are of one kind.
        where: The setting, for a table.
        first: Value of each seed of the condition that is said to be larger.
        second: Of the other.
        accuracy: Mean test accuracy of both.
    """

    sentence: str
    where: str
    first: Mapping[int, float]
    second: Mapping[int, float]
    accuracy: tuple[float, float]


class JudgedOrdering(NamedTuple):
    """What the runs say of an ordering.

    Attributes:
        difference: First minus second, with its own spread alone.
        half_width: Half the 95 % interval of its mean, with the larger spread.
        verdict: One of `snnlib.experiments.compare.VERDICTS`.
    """

    difference: Difference
    half_width: float
    verdict: str


def ordering(
    rows: Sequence[Mapping[str, Any]],
    first: Mapping[str, Any],
    second: Mapping[str, Any],
    *,
    sentence: str = "",
    where: str = "",
    value: str = "test_accuracy",
) -> Ordering:
    """An ordering of two conditions of a table.

    Args:
        rows: Rows with "seed", "test_accuracy" and the value.
        first: Labels of the condition that is said to be larger.
        second: Of the other.
        sentence: See `Ordering`.
        where: See `Ordering`.
        value: The column that is compared.

    Raises:
        ValueError: As in `by_seed`.

    Example:
        >>> rows = [
        ...     {"a": a, "seed": s, "test_accuracy": a + s / 10} for a in (0, 1) for s in (0, 1)
        ... ]
        >>> ordering(rows, {"a": 1}, {"a": 0}).accuracy
        (1.05, 0.05)
    """
    values = [by_seed(rows, value=value, **labels) for labels in (first, second)]
    reached = [float(np.mean([*by_seed(rows, **labels).values()])) for labels in (first, second)]
    return Ordering(sentence, where, values[0], values[1], (reached[0], reached[1]))


def judge_orderings(
    orderings: Sequence[Ordering],
    *,
    best: float,
    chance: float = 0.0,
    resolution: float = 0.0,
    kind: Callable[[Ordering], Any] = lambda ordering: ordering.sentence,
) -> list[JudgedOrdering]:
    """Judge all orderings as one family, at 5 %.

    p values are corrected by `holm` over the orderings whose setting can tell.

    Args:
        orderings: The orderings.
        best: Mean test accuracy of the best condition.
        chance: Test accuracy of guessing.
        resolution: Step of the values, see `difference`.
        kind: Orderings of one kind share their spread; the default is by sentence.

    Returns:
        One result for each, in order.

    Raises:
        ValueError: If an ordering has fewer than two seeds.

    Example:
        Two differences alike, one of which has a small spread by luck, share it.

        >>> rows = [
        ...     {"a": a, "seed": s, "test_accuracy": x}
        ...     for a, values in ((0, (0.2, 0.2, 0.2)), (1, (0.8, 0.81, 0.8)), (2, (0.9, 0.6, 0.8)))
        ...     for s, x in enumerate(values)
        ... ]
        >>> found = judge_orderings(
        ...     [ordering(rows, {"a": a}, {"a": 0}) for a in (1, 2)], best=0.8, chance=0.1)
        >>> [judged.verdict for judged in found]
        ['seen', 'seen']
        >>> found[0].half_width > 5 * found[0].difference.half_width
        True
    """
    found = [difference(o.first, o.second, resolution=resolution) for o in orderings]
    if any(distance.seeds < 2 for distance in found):
        raise ValueError("every ordering must have at least two seeds")
    able = [informative(o.accuracy, best=best, chance=chance) for o in orderings]
    halves, p_values = [], []
    for claimed, distance in zip(orderings, found, strict=True):
        spread, dof = _pooled(
            k
            for k, other, ok in zip(found, orderings, able, strict=True)
            if ok and kind(other) == kind(claimed)
        ) or (distance.std, distance.seeds - 1)
        error = max(spread, distance.std) / math.sqrt(distance.seeds)
        halves.append(critical_value(0.05, dof) * error)
        ratio = abs(distance.mean) / error if error else 0.0
        p_values.append(2 * float(special.stdtr(dof, -ratio)))
    corrected = iter(holm([p for p, ok in zip(p_values, able, strict=True) if ok]))
    return [
        JudgedOrdering(
            distance,
            half,
            verdict(distance, p_value=next(corrected)) if ok else verdict(distance, evidence=False),
        )
        for distance, half, ok in zip(found, halves, able, strict=True)
    ]


def _pooled(differences: Iterable[Difference]) -> tuple[float, int] | None:
    """Spread of several differences and its degrees of freedom."""
    pool = list(differences)
    if not pool:
        return None
    dof = sum(k.seeds - 1 for k in pool)
    return math.sqrt(sum((k.seeds - 1) * k.std**2 for k in pool) / dof), dof
