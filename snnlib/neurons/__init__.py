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
from snnlib.neurons.leaky_integrator import LeakyIntegrator
from snnlib.neurons.lif import LIF, LIFState, LIFTrace, lif
from snnlib.neurons.recurrent_current_lif import RecurrentCurrentLIF
from snnlib.neurons.recurrent_lif import RecurrentLIF, recurrent_lif
from snnlib.neurons.spiking_lstm import (
    SpikingLSTM,
    SpikingLSTMState,
    SpikingLSTMTrace,
    spiking_lstm,
)

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
    "LeakyIntegrator",
    "RecurrentCurrentLIF",
    "RecurrentLIF",
    "SpikingLSTM",
    "SpikingLSTMState",
    "SpikingLSTMTrace",
    "adaptive_lif",
    "current_lif",
    "exact_step",
    "lif",
    "recurrent_lif",
    "spiking_lstm",
]
