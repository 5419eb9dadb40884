"""Predictions for spiking networks at initialization, from infinite to finite width."""

from snnlib.meanfield.backward import matched_sharpness
from snnlib.meanfield.covariance import CovarianceStep, covariance_map
from snnlib.meanfield.finite_width import (
    SpikeCountLaw,
    extinction_probability,
    spike_count_law,
)
from snnlib.meanfield.network_law import LayerLaw, NetworkLaw, network_law
from snnlib.meanfield.rate import gain_for_rate
from snnlib.meanfield.recurrent import (
    RateStep,
    least_input_variance,
    rate_fixed_points,
    rate_map,
)
from snnlib.meanfield.synapse import synaptic_kernel
from snnlib.meanfield.variance import (
    FixedPoint,
    critical_gain,
    critical_threshold,
    firing_probability,
    fixed_points,
    variance_map,
)

__all__ = [
    "CovarianceStep",
    "FixedPoint",
    "LayerLaw",
    "NetworkLaw",
    "RateStep",
    "SpikeCountLaw",
    "covariance_map",
    "critical_gain",
    "critical_threshold",
    "extinction_probability",
    "firing_probability",
    "fixed_points",
    "gain_for_rate",
    "least_input_variance",
    "matched_sharpness",
    "network_law",
    "rate_fixed_points",
    "rate_map",
    "spike_count_law",
    "synaptic_kernel",
    "variance_map",
]
