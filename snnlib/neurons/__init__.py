"""Spiking neurons: a functional core with a hand-derived backward, and a thin module around it."""

from snnlib.neurons.current_lif import (
    CurrentLIF,
    CurrentLIFState,
    CurrentLIFTrace,
    current_lif,
    exact_step,
)
from snnlib.neurons.lif import LIF, LIFState, LIFTrace, lif

__all__ = [
    "LIF",
    "CurrentLIF",
    "CurrentLIFState",
    "CurrentLIFTrace",
    "LIFState",
    "LIFTrace",
    "current_lif",
    "exact_step",
    "lif",
]
