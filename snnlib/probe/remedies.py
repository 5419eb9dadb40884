"""The calls that mend illnesses; one that cannot apply is not offered."""

from __future__ import annotations

import math
from collections.abc import Sequence

from snnlib.probe.facts import Facts

__all__ = ["initialize", "livelier", "shifted_back"]

INITIALIZE = 'snnlib.init.initialize_(model, "micheli2024", example=batch)'
INITIALIZE_SYNAPSES = 'snnlib.init.initialize_(model, "rossbroich2022", rate=0.1, example=batch)'
STANDARDIZE = "batch = (batch - batch.mean()) / batch.std()"


def initialize(layers: Sequence[Facts], blamed: Facts | None = None) -> str:
    """The call that draws all weights anew.

    Behind synapses the one that counts their sums; where normalizations take the scale of the
    weights away, with theirs.

    Args:
        layers: All layers.
        blamed: The one where the illness starts.

    Returns:
        The call.
    """
    call = INITIALIZE_SYNAPSES if any(f.synapse for f in layers) else INITIALIZE
    if blamed is not None and blamed.norms:
        return call.replace("example=batch", 'example=batch, norms="scale"')
    return call


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
        return (
            f'model.get_submodule("{f.bias}").bias.data -= {shift:.3g}'
            "  # or pool spikes instead of currents"
        )
    return "pool or normalize so that currents keep a mean of 0 (pool spikes instead)"
