"""What was found of a model before: an illness that outlives its remedy says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

import torch
from torch import nn

from snnlib.probe.facts import Facts, Finding
from snnlib.probe.remedies import NOTHING, livelier

__all__ = ["remembered"]

State: TypeAlias = tuple[Any, ...]


@dataclass
class _Found:
    """The last diagnosis of a model, and the one before its parameters last changed."""

    state: State = ()
    now: frozenset[tuple[str, str, str]] = frozenset()
    earlier: frozenset[tuple[str, str, str]] = field(default_factory=frozenset)


_MODELS: WeakKeyDictionary[nn.Module, _Found] = WeakKeyDictionary()


def remembered(
    network: nn.Module, found: Sequence[Finding], layers: Sequence[Facts]
) -> list[Finding]:
    """Findings, of which those that were there before the model last changed say so.

    A diagnosis of an unchanged model is the same as the one before.

    Args:
        network: The model.
        found: What ails it now.
        layers: The facts of its layers.

    Returns:
        The findings; a remedy that was given before and did not help has another one, or a word.
    """
    state = _state(network, layers)
    known = _MODELS.setdefault(network, _Found())
    if known.state != state:
        known.earlier, known.state = known.now, state
    known.now = frozenset((f.kind, f.layer, f.remedy) for f in found)
    facts = {f.row.name: f for f in layers}
    return [_again(f, facts) if (f.kind, f.layer, f.remedy) in known.earlier else f for f in found]


def _again(finding: Finding, facts: dict[str, Facts]) -> Finding:
    if finding.remedy == NOTHING:  # which nobody did
        return finding
    sentence = (
        f"{finding.sentence}; it was found before the model was last changed, and is still there"
    )
    layer = facts.get(finding.layer)
    other = ""
    if layer is not None and finding.kind in ("weak input", "dead", "silent neurons"):
        other = livelier(layer._replace(affine=False))
    if not other or other == finding.remedy:
        return finding._replace(sentence=sentence)
    remedy = f"{other}  # since this was not enough: {finding.remedy}"
    return finding._replace(sentence=sentence, remedy=remedy)


def _state(network: nn.Module, layers: Sequence[Facts]) -> State:
    """Changes with every parameter and constant."""
    with torch.no_grad():
        sums = tuple(
            float(p.detach().double().nan_to_num().sum())
            for p in network.parameters()
            if not isinstance(p, nn.UninitializedParameter)
        )
    constants = tuple((f.row.name, f.row.threshold, f.row.leak, f.slope) for f in layers)
    return (*sums, *map(repr, constants))
