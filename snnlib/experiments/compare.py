r"""Is one condition better than another? Paired over seeds, with intervals, for whole families.

Two conditions of an experiment share their seeds, hence weights, data and order of samples, so
their differences are taken seed by seed. `judge` does a whole table at once:

Example:
    >>> table = [
    ...     {"depth": depth, "init": init, "seed": seed, "test_accuracy": accuracy}
    ...     for depth, init, accuracies in (
    ...         (2, "ours", (0.91, 0.92, 0.90)), (2, "theirs", (0.90, 0.92, 0.91)),
    ...         (9, "ours", (0.88, 0.86, 0.87)), (9, "theirs", (0.11, 0.10, 0.12)),
    ...     )
    ...     for seed, accuracy in enumerate(accuracies)
    ... ]
    >>> for c in judge(table, "init", [("ours", "theirs")], within=["depth"], chance=0.1):
    ...     print(c.labels, f"{c.difference.mean:.2f} ± {c.difference.half_width:.2f}:", c.verdict)
    {'depth': 2} 0.00 ± 0.02: not seen at this size
    {'depth': 9} 0.76 ± 0.02: seen

    At depth 2 both train. That is no evidence for a claim about what trains at all:

    >>> about = dict(within=["depth"], chance=0.1, claim="trains")
    >>> [c.verdict for c in judge(table, "init", [("ours", "theirs")], **about)]
    ['no evidence', 'seen']
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

from snnlib._checks import real, scalars
from snnlib.experiments.paired import Difference, difference, resolves, seeds_needed

__all__ = [
    "VERDICTS",
    "Comparison",
    "Difference",
    "by_seed",
    "difference",
    "holm",
    "informative",
    "judge",
    "resolves",
    "seeds_needed",
    "trains",
    "verdict",
]

VERDICTS = ("seen", "reversed", "not seen at this size", "no evidence")
"""What `verdict` says of a claimed ordering."""

Claim: TypeAlias = Literal["order", "trains"]


class Comparison(NamedTuple):
    """One claimed ordering in one setting.

    Attributes:
        labels: The setting: the labels that both conditions share.
        first: Value of the factor that is claimed to be better.
        second: The other.
        difference: First minus second.
        p_holm: Its p value, corrected over the family.
        verdict: One of `VERDICTS`.
    """

    labels: dict[str, Any]
    first: Any
    second: Any
    difference: Difference
    p_holm: float
    verdict: str


def by_seed(
    table: Iterable[Mapping[str, Any]], *, value: str = "test_accuracy", **labels: Any
) -> dict[int, float]:
    """A column of one condition, by seed.

    Args:
        table: Rows, see `snnlib.experiments.results.read`.
        value: The column.
        **labels: What the condition's rows have in common.

    Returns:
        The value of each seed.

    Raises:
        ValueError: If no row has these labels, a seed comes twice, or a value is missing.

    Example:
        >>> table = [{"a": a, "seed": s, "x": a + s} for a in (10, 20) for s in (0, 1)]
        >>> by_seed(table, value="x", a=20)
        {0: 20.0, 1: 21.0}
    """
    shown = ", ".join(f"{name} {wanted}" for name, wanted in labels.items()) or "no labels"
    found: dict[int, float] = {}
    for row in table:
        if any(row[name] != wanted for name, wanted in labels.items()):
            continue
        if row["seed"] in found:
            raise ValueError(f"seed {row['seed']} comes twice under {shown}; give more labels")
        if row[value] is None:
            raise ValueError(f"{value} of seed {row['seed']} is missing under {shown}")
        found[row["seed"]] = float(row[value])
    if not found:
        raise ValueError(f"no row has {shown}")
    return found


def holm(p_values: Sequence[float]) -> list[float]:
    r"""Correct p values for a family of tests: none false with probability 1 - level.

    With :math:`p_{(1)} \le \dots \le p_{(m)}`,

    .. math:: \tilde p_{(k)} = \max_{j \le k}\, \min\{1, (m - j + 1)\,p_{(j)}\}.

    Rejecting where the corrected value is at most `level` keeps the probability of any false
    rejection at `level`, however the tests depend on each other.

    Args:
        p_values: One per test.

    Returns:
        The corrected ones, in the order given.

    Raises:
        ValueError: If one is not in [0, 1].

    Source: Holm 1979.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    p_values = [float(real("p_values", p)) for p in p_values]
    if not all(0 <= p <= 1 for p in p_values):
        raise ValueError(f"p_values must be in [0, 1], got {list(p_values)}")
    order = sorted(range(len(p_values)), key=lambda k: p_values[k])
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, k in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p_values[k]))
        corrected[k] = largest
    return corrected


@scalars("accuracy", "best", "chance", "share")
def trains(accuracy: float, *, best: float, chance: float = 0.0, share: float = 0.5) -> bool:
    """Whether a network trains: a share of the way from guessing to the best one of the table.

    Args:
        accuracy: Mean accuracy of the condition.
        best: Mean accuracy of the best condition.
        chance: Accuracy of guessing.
        share: Of the way, in (0, 1).

    Example:
        >>> trains(0.6, best=0.9, chance=0.1), trains(0.4, best=0.9, chance=0.1)
        (True, False)
    """
    return accuracy >= chance + share * (best - chance)


@scalars("best", "chance")
def informative(
    accuracies: Iterable[float], *, best: float, chance: float = 0.0, claim: Claim = "order"
) -> bool:
    """Whether a setting can speak for or against a claim about the methods run in it.

    If none of them trains, it says nothing about any claim. If all of them train, it says nothing
    about a claim of what trains and what does not.

    Args:
        accuracies: Mean accuracy of each method in the setting.
        best: Mean accuracy of the best condition of the table.
        chance: Accuracy of guessing.
        claim: "order": one is better than the other. "trains": one trains, the other does not.

    Raises:
        ValueError: If the claim is unknown.

    Example:
        >>> informative([0.9, 0.8], best=0.9, claim="order")
        True
        >>> informative([0.9, 0.8], best=0.9, claim="trains")
        False
    """
    if claim not in ("order", "trains"):
        raise ValueError(f"claim must be order or trains, got {claim!r}")
    do = [trains(accuracy, best=best, chance=chance) for accuracy in accuracies]
    return any(do) and not (claim == "trains" and all(do))


def verdict(
    found: Difference, *, evidence: bool = True, p_value: float | None = None, sign: int = 1
) -> str:
    """What a difference says of the claim that the first is larger.

    "seen" or "reversed": the p value is at most 1 - confidence, which without a correction is
    where the interval leaves out 0; "not seen at this size" otherwise; "no evidence" in a setting
    that cannot tell, see `informative`.

    Args:
        found: First minus second.
        evidence: Whether the setting can tell.
        p_value: A corrected p value, see `holm`; None takes that of the difference.
        sign: -1 if the claim is that the first is smaller, as with losses.

    Returns:
        One of `VERDICTS`.

    Example:
        >>> verdict(difference([0.9, 0.8, 0.9], [0.5, 0.5, 0.5]))
        'seen'
        >>> verdict(difference([0.5, 0.5, 0.5], [0.9, 0.8, 0.9]))
        'reversed'
        >>> verdict(difference([0.9], [0.5])), verdict(difference([0.1], [0.1]), evidence=False)
        ('not seen at this size', 'no evidence')
    """
    if not evidence:
        return VERDICTS[3]
    if (found.p_value if p_value is None else p_value) > 1 - found.confidence:
        return VERDICTS[2]
    return VERDICTS[0] if found.mean * sign > 0 else VERDICTS[1]


def judge(
    table: Sequence[Mapping[str, Any]],
    factor: str,
    pairs: Sequence[tuple[Any, Any]],
    *,
    within: Sequence[str] = (),
    value: str = "test_accuracy",
    larger_is_better: bool = True,
    chance: float = 0.0,
    claim: Claim = "order",
    confidence: float = 0.95,
    resolution: float = 0.0,
) -> list[Comparison]:
    """Judge every claimed ordering in every setting of a table, as one family.

    p values are corrected by `holm` over all comparisons, so that the family does not depend on
    the outcome; a setting that cannot tell gets no verdict for it. Intervals are not corrected:
    each holds on its own. So a difference whose interval leaves out 0 may be "not seen at this
    size" among many.

    Args:
        table: Rows with the factor, the labels of `within`, "seed", the value and
            "test_accuracy".
        factor: The label that is compared.
        pairs: Values (first, second) of it; the claim is that the first is better.
        within: Labels that make a setting; both conditions of a pair share them.
        value: The column that is compared.
        larger_is_better: False for a loss.
        chance: Test accuracy of guessing, for `trains`; the best condition of the table is the
            other end of its scale.
        claim: What is claimed, see `informative`.
        confidence: Of the intervals; 1 - confidence is the level of the family.
        resolution: Step of the values, see `difference`.

    Returns:
        One comparison for each setting, in the order of the rows, and pair.

    Raises:
        ValueError: If a condition of a pair is in no row of a setting, or as in `difference`.
    """
    settings = list(dict.fromkeys(tuple(row[name] for name in within) for row in table))
    conditions: dict[tuple[Any, ...], list[float]] = {}
    for row in table:
        place = (*(row[name] for name in within), row[factor])
        conditions.setdefault(place, []).append(float(row["test_accuracy"]))
    means = {place: float(np.mean(values)) for place, values in conditions.items()}
    best, sign = max(means.values(), default=0.0), 1 if larger_is_better else -1
    found = []
    for setting in settings:
        labels = dict(zip(within, setting, strict=True))
        for pair in pairs:
            first, second = (by_seed(table, value=value, **labels, **{factor: v}) for v in pair)
            distance = difference(first, second, confidence=confidence, resolution=resolution)
            able = informative(
                [means[*setting, v] for v in pair], best=best, chance=chance, claim=claim
            )
            found.append((labels, pair, distance, able))
    corrected = holm([distance.p_value for _, _, distance, _ in found])
    judged = []
    for (labels, (one, other), distance, able), p_value in zip(found, corrected, strict=True):
        word = verdict(distance, evidence=able, p_value=p_value, sign=sign)
        judged.append(Comparison(labels, one, other, distance, p_value, word))
    return judged
