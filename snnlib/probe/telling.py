"""Two illnesses of depth: inputs that are not told apart, and gradients that do not agree.

Both are told from likeness over samples (`snnlib.probe.likeness`): forward of spikes, back of the
gradients that come down if all samples get the same one by their outputs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from snnlib.probe.facts import Facts, Finding

__all__ = ["gradients_apart", "inputs_alike"]


def inputs_alike(layers: Sequence[Facts]) -> list[Finding]:
    """Samples that make the same spikes, or whose likeness is another than below, at random.

    Args:
        layers: All layers, in the order of execution.

    Returns:
        The finding, if there is one.
    """
    for k, f in enumerate(layers):
        first = layers[0].likeness
        if k and f.likeness.mean > 0.99 and not first.mean > 0.99:
            what = f"any two samples have {f.likeness.mean:.2%} of their spikes in common"
        elif k and first.spread > 0.1 and len(first.pairs) >= 100:
            left = max((g.likeness.follows(first) for g in layers[k:]), default=math.nan)
            if not left < 0.2:
                continue
            what = (
                "how much two samples have in common depends no longer on which two they are "
                f"(correlation {f.likeness.follows(first):.2g} with layer {layers[0].row.name})"
            )
        else:
            continue
        sentence = f"inputs are not told apart from {_which(layers, k)} on: {what}"
        return [Finding("inputs alike", f.row.name, None, sentence, _joint(layers))]
    return []


def gradients_apart(layers: Sequence[Facts]) -> list[Finding]:
    """Gradients that agree on top and not below.

    From layer to layer the coherence falls by a factor. It is taken where a batch can measure it,
    and what is below 0.001 by it is blamed.

    Args:
        layers: All layers, in the order of execution.

    Returns:
        The finding, if there is one.
    """
    coherence = [f.coherence for f in layers]
    top = max((k for k, c in enumerate(coherence) if c > 0.1), default=0)
    low = top
    while low > 0 and coherence[low - 1] > 0.02:
        low -= 1
    if low == 0:
        return []
    factor = 0.2 if low == top else (coherence[low] / coherence[top]) ** (1 / (top - low))
    if not factor < 1:
        return []
    k = low - math.ceil(math.log(1e-3 / coherence[low]) / math.log(factor))
    if k < 0 or not abs(coherence[k]) < 0.02:
        return []
    sentence = (
        f"gradients of different samples have nothing in common from {_which(layers, k)} down: "
        f"their coherence is {coherence[top]:.2g} in layer {layers[top].row.name} and falls by a "
        f"factor of {factor:.2g} a layer, so that a batch moves these weights at random"
    )
    return [Finding("gradients apart", layers[k].row.name, None, sentence, _joint(layers))]


def _joint(layers: Sequence[Facts]) -> str:
    """The call that fits weights and surrogate to the depth, and what helps where none does."""
    if not _chained(layers):
        return "more steps, wider layers or fewer of them: no call fits all weights of this network"
    call = f'snnlib.init.initialize_(model, "balanced", steps={len(layers[0].row.rate)}'
    return f"{call}, example=batch)  # and more steps, skip connections or a norm"


def _chained(layers: Sequence[Facts]) -> bool:
    """Whether one weight follows the other through layers of one kind, which the call needs."""
    fed = [name for f in layers for name in f.fed_by]
    single = all(len(f.names) == 1 and len(f.fed_by) <= 1 and not f.synapse for f in layers)
    kinds = {(f.row.reset, f.row.leak) for f in layers}
    return single and len(set(fed)) == len(fed) == len(layers) - 1 and len(kinds) == 1


def _which(layers: Sequence[Facts], k: int) -> str:
    return f"layer {layers[k].row.name} ({k + 1} of {len(layers)})"
