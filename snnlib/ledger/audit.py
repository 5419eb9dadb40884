"""The audit: whether executed chapters have given the evidence that the claims ask for."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from snnlib.ledger.claims import Claim, read_claims
from snnlib.ledger.evidence import stored_evidence

__all__ = ["MEDIAN_LAW_MDE", "audit"]

MEDIAN_LAW_MDE = 0.02
"""Largest median of the minimum detectable errors of all entries of law-level checks."""


def audit(claims_path: str | os.PathLike[str], notebooks: Mapping[str, Any]) -> list[str]:
    """Compare the evidence of executed chapters with the list of claims.

    Args:
        claims_path: the YAML file.
        notebooks: executed notebooks (nbformat nodes) by chapter name; all of the book's.

    Returns:
        One message for each claim without evidence, piece of evidence without a claim, wrong
        chapter, unexpected verdict, proof of unknown origin, measurement without its registered
        entries or an effect, and training confirmed without a rule, and one if the law-level
        checks are too weak.  An empty list is a pass.
    """
    claims = read_claims(claims_path, parse=False).claims
    messages = []
    law_errors: list[float] = []
    seen: dict[str, str] = {}
    for chapter, notebook in notebooks.items():
        for found in stored_evidence(notebook):
            name = str(found.get("claim"))
            claim = claims.get(name)
            if claim is None:
                messages.append(f"{chapter}: evidence for {name!r}, which is no claim")
                continue
            if name in seen:
                messages.append(f"{name}: evidence in {seen[name]} and again in {chapter}")
            seen[name] = chapter
            if claim.level == "law":
                law_errors += found.get("mde") or [math.inf]
            messages += [f"{name}: {lack} ({chapter})" for lack in _lacks(claim, found)]
            if claim.chapter != chapter:
                messages.append(f"{name}: evidence in {chapter}, but registered in {claim.chapter}")
            if found.get("verdict") != claim.verdict:
                messages.append(
                    f"{name}: verdict {found.get('verdict')!r} in {chapter}, expected "
                    f"{claim.verdict!r}"
                )
    messages += [
        f"{name}: no evidence (registered in {claim.chapter}, verdict {claim.verdict})"
        for name, claim in claims.items()
        if name not in seen and claim.verdict != "not testable here"
    ]
    if law_errors and np.median(law_errors) > MEDIAN_LAW_MDE:
        messages.append(
            f"the law-level checks detect errors of {100 * np.median(law_errors):.2g} % in the "
            f"median; at most {100 * MEDIAN_LAW_MDE:g} % is promised"
        )
    return messages


def _lacks(claim: Claim, found: Mapping[str, Any]) -> list[str]:
    """What a piece of evidence does not say, although its kind or its claim asks for it."""
    kind, messages = found.get("kind"), []
    if kind in ("prove", "hold") and not found.get("cells"):
        messages.append("nothing says where its derivation was built")
    if kind == "measure" and not found.get("effect"):
        messages.append("measured without an effect that would matter")
    if (found.get("entries") or 0) != claim.entries:
        messages.append(
            f"evidence of {found.get('entries') or 0} entries, {claim.entries} are registered"
        )
    if (kind == "confirm") != (claim.mark == "registered"):
        messages.append(f"the mark is {claim.mark!r}, but the evidence is a {kind}")
    return messages
