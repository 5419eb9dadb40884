"""Predictions for spiking networks at initialization, from infinite to finite width."""

from snnlib.meanfield.backward import (
    matched_dampening,
    matched_sharpness,
    surrogate_second_moment,
)
from snnlib.meanfield.correlation import (
    correlation_fixed_point,
    correlation_map,
    correlation_slope,
    difference_dies,
)
from snnlib.meanfield.covariance import CovarianceStep, covariance_map
from snnlib.meanfield.credit import Passage, credit, credited, passage
from snnlib.meanfield.depth import DepthLaw, depth_law, depth_scale
from snnlib.meanfield.edge import spectral_radius
from snnlib.meanfield.finite_width import (
    SpikeCountLaw,
    extinction_probability,
    spike_count_law,
)
from snnlib.meanfield.growth import LayerGrowth, layer_growth
from snnlib.meanfield.many_steps import TimeAverage, clipped_correlation_map, time_average
from snnlib.meanfield.memory import growth_with_memory, slope_correlation
from snnlib.meanfield.network_law import LayerLaw, NetworkLaw, network_law
from snnlib.meanfield.one_update import OneUpdate, one_update, promise_kept
from snnlib.meanfield.outlook import GradientSignal, Outlook, gradient_signal, outlook
from snnlib.meanfield.rate import gain_for_rate
from snnlib.meanfield.readable import readable_depth, readout_accuracy
from snnlib.meanfield.recurrent import (
    RateStep,
    least_input_variance,
    rate_at_half,
    rate_fixed_points,
    rate_map,
)
from snnlib.meanfield.recurrent_gradient import (
    backward_second_moment,
    gradient_growth,
    growth_of,
    joint_sharpness,
)
from snnlib.meanfield.shifted import ShiftedStep, shifted_map
from snnlib.meanfield.steady_state import (
    SteadyState,
    largest_rate,
    normal_deviation,
    static_std,
    steady_state,
)
from snnlib.meanfield.steady_variance import steady_variance
from snnlib.meanfield.synapse import (
    Kernel,
    discrete_kernel,
    exponential_kernel,
    synaptic_kernel,
)
from snnlib.meanfield.two_inputs import (
    TwoInputs,
    TwoInputStep,
    spike_moments,
    two_input_gradient,
    two_input_map,
)
from snnlib.meanfield.variance import (
    FixedPoint,
    critical_gain,
    critical_threshold,
    firing_probability,
    fixed_points,
    variance_map,
)
from snnlib.meanfield.way_back import Stack, WayBack, two_inputs_through, way_back

__all__ = [
    "CovarianceStep",
    "DepthLaw",
    "FixedPoint",
    "GradientSignal",
    "Kernel",
    "LayerGrowth",
    "LayerLaw",
    "NetworkLaw",
    "OneUpdate",
    "Outlook",
    "Passage",
    "RateStep",
    "ShiftedStep",
    "SpikeCountLaw",
    "Stack",
    "SteadyState",
    "TimeAverage",
    "TwoInputStep",
    "TwoInputs",
    "WayBack",
    "backward_second_moment",
    "clipped_correlation_map",
    "correlation_fixed_point",
    "correlation_map",
    "correlation_slope",
    "covariance_map",
    "credit",
    "credited",
    "critical_gain",
    "critical_threshold",
    "depth_law",
    "depth_scale",
    "difference_dies",
    "discrete_kernel",
    "exponential_kernel",
    "extinction_probability",
    "firing_probability",
    "fixed_points",
    "gain_for_rate",
    "gradient_growth",
    "gradient_signal",
    "growth_of",
    "growth_with_memory",
    "joint_sharpness",
    "largest_rate",
    "layer_growth",
    "least_input_variance",
    "matched_dampening",
    "matched_sharpness",
    "network_law",
    "normal_deviation",
    "one_update",
    "outlook",
    "passage",
    "promise_kept",
    "rate_at_half",
    "rate_fixed_points",
    "rate_map",
    "readable_depth",
    "readout_accuracy",
    "shifted_map",
    "slope_correlation",
    "spectral_radius",
    "spike_count_law",
    "spike_moments",
    "static_std",
    "steady_state",
    "steady_variance",
    "surrogate_second_moment",
    "synaptic_kernel",
    "time_average",
    "two_input_gradient",
    "two_input_map",
    "two_inputs_through",
    "variance_map",
    "way_back",
]
