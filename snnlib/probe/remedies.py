"""The calls that mend illnesses; one that cannot apply is not offered."""

from __future__ import annotations

import math
from collections.abc import Sequence

from snnlib.probe.facts import Facts, Finding

__all__ = ["NOTHING", "initialize", "livelier", "shifted_back", "sparing"]

INITIALIZE = 'snnlib.init.initialize_(model, "micheli2024", example=batch)'
INITIALIZE_SYNAPSES = 'snnlib.init.initialize_(model, "rossbroich2022", rate=0.1, example=batch)'
DRAWS = "snnlib.init.initialize_(model"
NOTHING = "nothing needs to be done: the gradient reaches every weight"
FEW_SPIKES = ("weak input", "extinction risk")
"""Illnesses of layers of which all neurons may fire, if seldom."""

STANDARDIZE = "batch = (batch - batch.mean()) / batch.std()"


def initialize(layers: Sequence[Facts], blamed: Facts | None = None) -> str:
    """The call that draws all weights anew.

    Behind synapses the one that counts their sums; where normalizations take the scale of the
    weights away, with theirs; where the layer is an output, with its weights too.

    Args:
        layers: All layers.
        blamed: The one where the illness starts.

    Returns:
        The call.
    """
    call = INITIALIZE_SYNAPSES if any(f.synapse for f in layers) else INITIALIZE
    more = ""
    if blamed is not None and blamed.norms:
        more += ', norms="scale"'
    output = blamed is not None and blamed.driven and not blamed.feeds
    if blamed is not None and output and (blamed.norms or not blamed.silent):
        # It is left as it is otherwise; a silent one is woken by its weights' scale alone.
        more += ', readout="draw"'
    return call.replace("example=batch", f"example=batch{more}")


def sparing(finding: Finding, layers: Sequence[Facts], *, reached: bool) -> Finding:
    """The finding on a network that learns, with a call that draws no more than has to be.

    Weights behind a normalization stay: their scale does not count, but larger ones learn more
    slowly. Where the gradient reaches every weight, few spikes are no reason to draw any: drawn
    anew, such networks of the suite learned less.

    Args:
        finding: Any.
        layers: All layers.
        reached: Whether every weight takes a good part of the optimizer's full step.

    Returns:
        It, with a narrower call if it is that of a dead layer, with none if it is of few spikes.
    """
    f = next((f for f in layers if f.row.name == finding.layer), None)
    if reached and finding.kind in FEW_SPIKES and finding.remedy.startswith(DRAWS):
        return finding._replace(remedy=NOTHING)
    call, hint, more = finding.remedy.partition("  # ")
    if finding.kind != "dead" or f is None or f.norms or call != initialize(layers, f):
        return finding
    others = [g for g in layers if g is not f]
    if not any(g.norms for g in others):
        return finding
    own = ", ".join(f'"{name}": {{}}' for name in f.names)
    call = f'{call.removesuffix(")")}, layers={{{own}, "*": None}})'
    return finding._replace(remedy=call + hint + more)


def livelier(f: Facts) -> str:
    """For a layer that no weight drives: other data, or a threshold that its potentials reach.

    Args:
        f: The layer.

    Returns:
        The call.
    """
    if f.affine:
        return STANDARDIZE
    if f.set_threshold and math.isfinite(f.lively) and f.lively > 0:
        return (
            f.set_threshold.format(f"{f.lively:.3g}") + "  # or a factor in front of its currents"
        )
    if f.set_threshold and 0 < f.largest_drive < math.inf:
        return f.set_threshold.format(f"{0.5 * f.largest_drive:.3g}") + (
            "  # or a factor in front of its currents"
        )
    return "a factor in front of its currents, or a lower threshold"


def shifted_back(f: Facts) -> str:
    """For currents that something between weights and neurons shifts.

    Args:
        f: The layer.

    Returns:
        The call: the largest of several values is shifted as they are, by their common bias.
    """
    if f.bias:
        shift = f.drive / f.scale
        path = f'model.get_submodule("{f.bias}")'
        if f.biased:
            return f"{path}.bias.data -= {shift:.3g}  # or pool spikes instead of currents"
        made = f"torch.nn.Parameter(torch.full(({f.channels or f.row.width},), {-shift:.3g}))"
        return f"{path}.bias = {made}  # or pool spikes instead of currents"
    return "pool or normalize so that currents keep a mean of 0 (pool spikes instead)"
