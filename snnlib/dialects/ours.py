"""Our neurons, and any other module with their attributes and a method `trace`."""

from __future__ import annotations

from torch import nn

from snnlib.dialects.form import ONE, Spiking, as_double

__all__ = ["read"]


def read(module: nn.Module, name: str) -> Spiking | None:
    """The normal form of a neuron of `snnlib.neurons`, or of one that looks like them.

    Args:
        module: Any module.
        name: Not needed here.

    Returns:
        Its normal form; None if it has no threshold, leak, reset and `trace`.

    Source:
        `snnlib.neurons.lif`, Micheli et al. 2024, Eq. 13 (the resets).

    Example:
        >>> from snnlib.neurons import LIF
        >>> read(LIF(leak=0.25), "").leak.item()
        0.25
    """
    if "_orig_mod" in module._modules:  # torch.compile's wrapper passes all attributes on
        return None
    if not callable(getattr(module, "trace", None)) or not all(
        hasattr(module, attribute) for attribute in ("threshold", "leak", "reset")
    ):
        return None
    threshold = as_double(module.threshold)
    robust = getattr(module, "threshold_gradient", None) == "threshold_robust"
    synapse = getattr(module, "synapse_leak", None)
    return Spiking(
        threshold,
        as_double(module.leak),
        str(module.reset),
        height=threshold if robust else ONE,
        input_gain=as_double(getattr(module, "input_gain", 1.0)),
        synapse=None if synapse is None else as_double(synapse),
        delay=float(as_double(getattr(module, "delay", 0.0)).max()),
        recurrent=getattr(module, "recurrent", False) is True,
        why=str(getattr(module, "differs", "")),
    )
