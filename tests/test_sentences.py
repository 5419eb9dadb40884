"""What the book says can be read where it stands: a claim's sentence without its neighbours."""

from __future__ import annotations

import re

import pytest

from snnlib.ledger.claims import read_claims
from tools import chapters

LEANS = re.compile(  # on what was said before it
    r"(The same\b(?! [a-z]+ (as|of|in|for)\b)|This|These|That|Those|It|Its|They|Their|Such|And"
    r"|But|Also|Then|There|Here|As (above|before)|Of (the two|these|those)|(In|With|Under|For)"
    r" (that|this|these|those)|Without that)\b"
)


def leaning(statement: str) -> bool:
    """Whether a sentence begins with a word for something that another one named."""
    return LEANS.match(statement) is not None


@pytest.mark.parametrize(
    "statement",
    [
        "The same for the second moment.",
        "Its variance, without reset.",
        "And to the threshold.",
        "With that bias 1/2 stays the rate.",
        "Of the two, Eq. 10 has a slight advantage.",
    ],
)
def test_a_sentence_that_needs_its_neighbour_is_found(statement):
    assert leaning(statement)


def test_a_sentence_with_its_own_subject_passes():
    assert not leaning("Thatcher's gain for the same weights, under this condition.")
    assert not leaning("The same weights as in Eq. 2 keep the variance.")


def test_every_claim_can_be_read_alone():
    claims = read_claims(chapters.CLAIMS, parse=False).claims
    assert [name for name, claim in claims.items() if leaning(claim.statement)] == []
    assert [n for n, claim in claims.items() if claim.locator.lower().startswith("the same")] == []
