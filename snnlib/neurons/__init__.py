"""Spiking neurons: a functional core with a hand-derived backward, and a thin module around it."""

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
    "CurrentLIF",
    "CurrentLIFState",
    "CurrentLIFTrace",
    "LIFState",
    "LIFTrace",
    "RecurrentLIF",
    "current_lif",
    "exact_step",
    "lif",
    "recurrent_lif",
]
