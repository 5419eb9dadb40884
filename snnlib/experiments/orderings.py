"""Orderings that a paper claims, judged as one family, each by its own spread over the seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from snnlib.experiments.compare import by_seed, holm, informative, verdict
from snnlib.experiments.paired import Difference, difference

__all__ = ["JudgedOrdering", "Ordering", "judge_orderings", "ordering"]


class Ordering(NamedTuple):
    """One condition that is said to be above another.

    Attributes:
        sentence: Who says so.
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
        difference: First minus second.
        p_holm: Its p value, corrected over all orderings.
        verdict: One of `snnlib.experiments.compare.VERDICTS`.
    """

    difference: Difference
    p_holm: float
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
    orderings: Sequence[Ordering], *, best: float, chance: float = 0.0, resolution: float = 0.0
) -> list[JudgedOrdering]:
    """Judge all orderings as one family, at 5 %.

    p values are those of paired t tests, corrected by `holm` over all orderings, also those whose
    setting cannot tell: the family does not depend on the outcome.

    Args:
        orderings: The orderings.
        best: Mean test accuracy of the best condition.
        chance: Test accuracy of guessing.
        resolution: Step of the values, see `difference`.

    Returns:
        One result for each, in order.

    Raises:
        ValueError: If an ordering has fewer than two seeds.

    Example:
        Two differences alike; the spread of one is far larger.

        >>> rows = [
        ...     {"a": a, "seed": s, "test_accuracy": x}
        ...     for a, values in ((0, (0.2, 0.2, 0.2)), (1, (0.8, 0.81, 0.8)), (2, (0.9, 0.4, 0.8)))
        ...     for s, x in enumerate(values)
        ... ]
        >>> found = judge_orderings(
        ...     [ordering(rows, {"a": a}, {"a": 0}) for a in (1, 2)], best=0.8, chance=0.1)
        >>> [judged.verdict for judged in found]
        ['seen', 'not seen at this size']
    """
    found = [difference(o.first, o.second, resolution=resolution) for o in orderings]
    if any(distance.seeds < 2 for distance in found):
        raise ValueError("every ordering must have at least two seeds")
    judged = []
    corrected = holm([distance.p_value for distance in found])
    for claimed, distance, p_value in zip(orderings, found, corrected, strict=True):
        able = informative(claimed.accuracy, best=best, chance=chance)
        word = verdict(distance, evidence=able, p_value=p_value)
        judged.append(JudgedOrdering(distance, p_value, word))
    return judged
