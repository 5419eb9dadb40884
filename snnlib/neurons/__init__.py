"""Spiking neurons: a functional core with a hand-derived backward, and a thin module around it."""

from snnlib.neurons.adaptive_lif import (
    AdaptiveLIF,
    AdaptiveLIFState,
    AdaptiveLIFTrace,
    adaptive_lif,
)
from snnlib.neurons.current_lif import (
    CurrentLIF,
    CurrentLIFState,
    CurrentLIFTrace,
    current_lif,
    exact_step,
)
from snnlib.neurons.lif import LIF, LIFState, LIFTrace, lif
from snnlib.neurons.recurrent_lif import RecurrentLIF, recurrent_lif

__all__ = [
    "LIF",
    "AdaptiveLIF",
    "AdaptiveLIFState",
    "AdaptiveLIFTrace",
    "CurrentLIF",
    "CurrentLIFState",
    "CurrentLIFTrace",
    "LIFState",
    "LIFTrace",
    "RecurrentLIF",
    "adaptive_lif",
    "current_lif",
    "exact_step",
    "lif",
    "recurrent_lif",
]
