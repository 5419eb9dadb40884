"""Spiking neurons: a functional core with a hand-derived backward, and a thin module around it."""

from snnlib.neurons.lif import LIF, LIFState, LIFTrace, lif

__all__ = ["LIF", "LIFState", "LIFTrace", "lif"]
