"""What a paper's sentences say of stored tables: each is several contrasts, all one family."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from snnlib.experiments.compare import VERDICTS, holm
from snnlib.experiments.grid import Contrast

__all__ = ["JudgedSentence", "Sentence", "judge_sentences"]


class Sentence(NamedTuple):
    """A sentence, and every contrast that it says is positive.

    Attributes:
        figure: Where it stands.
        text: What it says.
        experiment: Name of the protocol that tests it.
        contrasts: At least one.
    """

    figure: str
    text: str
    experiment: str
    contrasts: Sequence[Contrast]


class JudgedSentence(NamedTuple):
    """A sentence with what the tables say of it.

    Attributes:
        sentence: The sentence.
        p_holm: p value of each contrast, corrected over all sentences.
        able: Contrasts whose setting can tell.
        agree: How many of them are significantly positive.
        against: How many are significantly negative.
        least: The contrast nearest to a contradiction; None if no setting can tell.
        verdict: One of `snnlib.experiments.compare.VERDICTS`.
    """

    sentence: Sentence
    p_holm: list[float]
    able: int
    agree: int
    against: int
    least: Contrast | None
    verdict: str


def judge_sentences(sentences: Sequence[Sentence], *, level: float = 0.05) -> list[JudgedSentence]:
    """Judge all sentences as one family.

    A sentence is "seen" if all contrasts that can tell are significantly positive, and "reversed"
    if one is significantly negative; p values are corrected by `holm` over all contrasts of all
    sentences.

    Args:
        sentences: The sentences.
        level: Of the family.

    Returns:
        One result for each, in order.

    Raises:
        ValueError: If a sentence has no contrast.

    Example:
        >>> clear, dull = Contrast(9.0, 1.0, 20, 1.5, True), Contrast(0.5, 1.0, 20, 1.5, True)
        >>> mute = Contrast(9.0, 1.0, 20, 1.5, False)
        >>> found = judge_sentences(
        ...     [Sentence("1", "a", "t", [clear, mute]), Sentence("1", "b", "t", [clear, dull]),
        ...      Sentence("2", "c", "t", [mute])]
        ... )
        >>> [(judged.verdict, judged.able) for judged in found]
        [('seen', 1), ('not seen at this size', 2), ('no evidence', 0)]
    """
    for sentence in sentences:
        if not sentence.contrasts:
            raise ValueError(f"a sentence needs a contrast: {sentence.text!r}")
    corrected = iter(holm([c.p_value for s in sentences for c in s.contrasts]))
    return [
        _judged(sentence, [next(corrected) for _ in sentence.contrasts], level)
        for sentence in sentences
    ]


def _judged(sentence: Sentence, p_holm: list[float], level: float) -> JudgedSentence:
    able = [
        (contrast, p)
        for contrast, p in zip(sentence.contrasts, p_holm, strict=True)
        if contrast.informative
    ]
    signs = [math.copysign(1.0, c.mean) if p <= level else 0.0 for c, p in able]
    agree, against = signs.count(1.0), signs.count(-1.0)
    if not able:
        word = VERDICTS[3]
    elif against:
        word = VERDICTS[1]
    else:
        word = VERDICTS[0] if agree == len(able) else VERDICTS[2]
    least = min((c for c, _ in able), key=lambda c: c.mean, default=None)
    return JudgedSentence(sentence, p_holm, len(able), agree, against, least, word)
