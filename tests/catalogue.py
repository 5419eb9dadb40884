"""A call of each public function that takes numbers, with arguments that it accepts.

Values are generic on purpose: threshold, spike height, leak and gains away from 1. A callable value
is made anew for each call, so that a function which writes in place never sees its own work.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from snnlib import data, experiments, init, meanfield, membrane, networks, neurons, surrogate
from snnlib.training import losses

T, BATCH, WIDTH = 3, 2, 4


def tensor(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def currents() -> Tensor:
    return tensor(T, BATCH, WIDTH)


def square() -> Tensor:
    return tensor(WIDTH, WIDTH, seed=1)


def weight() -> Tensor:
    return torch.empty(5, 7)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(2)


def moments() -> meanfield.TwoInputs:
    own = np.array([[0.9, 0.2], [0.2, 1.1]])
    return meanfield.TwoInputs(own, 0.4 * own)


@dataclass(frozen=True)
class Call:
    """A function with arguments that it accepts.

    Attributes:
        name: What a failure calls it.
        function: The function.
        arguments: By name; a callable makes its value.
        fixed: Arguments that are passed on and never replaced (seeds, sizes of samples).
        declared: Function or class whose annotations say what the arguments are.
    """

    name: str
    function: Callable[..., Any]
    arguments: Mapping[str, Any]
    fixed: Mapping[str, Any] = field(default_factory=dict)
    declared: Callable[..., Any] | None = None

    def kind(self, name: str) -> str:
        """How the argument is annotated."""
        parameters = inspect.signature(self.declared or self.function).parameters
        return str(parameters[name].annotation)

    def __call__(self, **replaced: Any) -> Any:
        made = {
            name: value() if callable(value) else value
            for name, value in {**self.arguments, **self.fixed}.items()
        }
        return self.function(**{**made, **replaced})


def _call(function: Callable[..., Any], fixed: Mapping[str, Any] | None = None, **arguments: Any):
    name = f"{function.__module__.removeprefix('snnlib.')}.{function.__name__}"
    return Call(name, function, arguments, fixed or {})


def _module(kind: type, current: Callable[[], Tensor] = currents, **arguments: Any) -> Call:
    """A module that is built and stepped."""

    def build(**given: Any) -> Any:
        return kind(**given)(current())

    name = f"{kind.__module__.removeprefix('snnlib.')}.{kind.__name__}"
    return Call(name, build, arguments, declared=kind)


def _network(build: Callable[..., Any], *shape: int, **arguments: Any) -> Call:
    def step(**given: Any) -> Any:
        network = build(generator=generator(), **given)
        sized = [name for name in ("sizes", "shape") if name in arguments]
        if any(given[name] is not arguments[name] for name in sized):
            return None  # made for other inputs
        with torch.no_grad():
            return network(torch.rand(T, BATCH, *shape))

    return Call(f"networks.{build.__name__}", step, arguments, declared=build)


def _gain(method: str, **settings: Any) -> Call:
    return Call(
        f"init.gain({method})",
        lambda **given: init.gain(method, **given),
        settings,
        declared=init.METHODS[method].gain,
    )


def _initializer(method: str, **settings: Any) -> Call:
    function = getattr(init, f"{method}_")
    return Call(
        f"init.{method}_", function, {"weight": weight, **settings}, {"generator": generator}
    )


def _surrogate(name: str, **arguments: Any) -> Call:
    function = getattr(surrogate.Surrogate("gaussian", 0.7, 1.3), name)
    return Call(f"surrogate.Surrogate.{name}", function, arguments)


LIF = {"leak": 0.6, "threshold": 0.7}
OF_RATE = {"leak": 0.6, "threshold": 0.7, "rate": 0.2}
HERRANZ = {"width": 30, "leak": 0.8, "threshold": 0.7, "weight_mean": 0.01}

CALLS = (
    _call(neurons.lif, current=currents, reset="subtract_leak", **LIF),
    _call(neurons.current_lif, current=currents, synapse_leak=0.3, reset="zero", **LIF),
    _call(
        neurons.adaptive_lif,
        **{"current": currents, "weight": square, "adaptation": 1.2, "adaptation_leak": 0.9},
        **LIF,
    ),
    _call(neurons.recurrent_lif, current=currents, weight=square, **LIF),
    _call(
        neurons.spiking_lstm,
        current=lambda: tensor(T, BATCH, 4 * WIDTH),
        weight=lambda: tensor(4 * WIDTH, WIDTH),
    ),
    _call(neurons.exact_step, leak=0.6, synapse_leak=0.3),
    _module(neurons.LIF, reset="zero", threshold_gradient="relative", **LIF),
    _module(neurons.CurrentLIF, synapse_leak=0.4, input_gain=0.8, delay=0.3, **LIF),
    _module(neurons.AdaptiveLIF, width=WIDTH, adaptation=1.2, adaptation_leak=0.9, **LIF),
    _module(neurons.RecurrentLIF, width=WIDTH, **LIF),
    _module(neurons.SpikingLSTM, lambda: tensor(T, BATCH, 4 * WIDTH), width=WIDTH),
    _call(surrogate.Surrogate, shape="q_pseudospike", dampening=0.7, sharpness=1.3, tail=1.6),
    _surrogate("derivative", v=currents),
    _surrogate("primitive", v=currents),
    _surrogate("moment", order=2, threshold=0.7, mean=0.1, std=0.9),
    _call(surrogate.exponential_sharpness, second_moment=0.05, threshold=0.7, mean=0.1, std=0.9),
    _call(
        surrogate.sharpness,
        **{"shape": "gaussian", "second_moment": 0.1, "dampening": 0.9, "low": -1.9, "high": 0.8},
    ),
    _call(
        surrogate.sharpness_at_balance,
        **{"shape": "triangular", "a": 0.36, "b": -0.2, "c": 1.5},
        **{"dampening": 0.9, "low": -1.9, "high": 0.8},
    ),
    _call(meanfield.backward_second_moment, **HERRANZ, weight_variance=0.02, first_moment=0.2),
    _call(
        meanfield.covariance_map,
        {"samples": 256, "generator": generator},
        covariance=lambda: np.array([[0.9, 0.2], [0.2, 1.1]]),
        gain=5.0,
        **LIF,
    ),
    _call(meanfield.correlation_map, correlation=0.3, threshold=0.7),
    _call(meanfield.correlation_fixed_point, threshold=0.7),
    _call(meanfield.correlation_slope, correlation=0.3, threshold=0.7),
    _call(meanfield.clipped_correlation_map, correlation=0.3, deviation=0.6),
    _call(meanfield.depth_scale, {"depth": 3}, steps=2, gain=6.0, **LIF),
    _call(meanfield.difference_dies, width=20, threshold=0.7, variance=0.8),
    _call(meanfield.matched_dampening, shape="gaussian", threshold=0.7, sharpness=0.8),
    _call(meanfield.passage, membrane=currents, reset="zero", **LIF),
    _call(meanfield.time_average, rate=0.2, threshold=0.7),
    _call(meanfield.critical_gain, threshold=0.7),
    _call(meanfield.discrete_kernel, leak=0.6, synapse=0.3, input_gain=0.8, delay=0.2),
    _call(meanfield.exponential_kernel, tau_membrane=0.02, tau_synapse=0.01),
    _call(meanfield.extinction_probability, width=6, depth=3, threshold=0.7, gain=4.0),
    _call(meanfield.firing_probability, threshold=0.7, variance=0.8),
    _call(meanfield.fixed_points, gain=5.0, threshold=0.7),
    _call(meanfield.gain_for_rate, rate=0.2, steps=2, **LIF),
    _call(
        meanfield.gradient_growth,
        weight=square,
        slopes=lambda: torch.rand(T, BATCH, WIDTH),
        leak=0.6,
    ),
    _call(
        meanfield.gradient_signal,
        {"samples": 64, "generator": generator, "depth": 2},
        moments=moments,
        **{"gain": 5.0, "readout": 0.8},
        **LIF,
    ),
    _call(meanfield.growth_with_memory, leak=0.6, gain=0.8, correlation=(0.3, 0.2, 0.1)),
    _call(
        meanfield.joint_sharpness,
        **HERRANZ,
        **{"shape": "gaussian", "weight_variance": 0.03, "dampening": 2.5},
        **{"low": -1.2, "high": 0.9},
    ),
    _call(meanfield.largest_rate, leak=0.6),
    _call(
        meanfield.layer_growth,
        surrogate=lambda: surrogate.Surrogate("gaussian"),
        **{"width": 6, "depth": 3, "threshold": 0.7, "gain": 4.0},
    ),
    _call(meanfield.least_input_variance, leak=0.6, threshold=0.7),
    _call(meanfield.matched_sharpness, shape="gaussian", threshold=0.7, dampening=0.9),
    _call(
        meanfield.network_law,
        {"repeats": 2, "generator": generator},
        covariance=lambda: np.array([[0.9, 0.2], [0.2, 1.1]]),
        layers=lambda: [meanfield.LayerLaw(6, **LIF, gain=4.0)],
    ),
    Call(
        "meanfield.LayerLaw",
        lambda **law: meanfield.network_law(
            np.eye(2), [meanfield.LayerLaw(**law)], repeats=2, generator=generator()
        ),
        {"width": 6, "gain": 4.0, "bias": 0.1, "synapse": 0.2, "delay": 0.3, **LIF},
        declared=meanfield.LayerLaw,
    ),
    _call(meanfield.normal_deviation, leak=0.6, threshold=0.7, variance=0.5),
    _call(
        meanfield.outlook,
        {"samples": 64, "generator": generator, "depth": 2, "width": 6},
        moments=moments,
        **{"gain": 5.0, "classes": 3, "batch": 16, "epsilon": 1e-8},
        **LIF,
    ),
    _call(
        meanfield.rate_at_half,
        **{"leaks": (0.6, 0.8), "thresholds": (0.7, 0.9), "gain": 0.8, "input_variance": 0.4},
    ),
    _call(meanfield.rate_fixed_points, gain=0.8, input_variance=0.4, constant_variance=0.1, **LIF),
    _call(meanfield.rate_map, rate=0.3, gain=0.8, input_variance=0.4, constant_variance=0.1, **LIF),
    _call(meanfield.slope_correlation, {"lags": 2}, slopes=lambda: torch.rand(5, BATCH, WIDTH)),
    _call(
        meanfield.spectral_radius, slopes=lambda: torch.rand(WIDTH), leak=0.6, gain=0.8, reset=0.3
    ),
    _call(meanfield.spike_count_law, width=6, depth=3, threshold=0.7, gain=4.0),
    _call(meanfield.spike_moments, spikes=lambda: (torch.rand(T, 2, 50) > 0.6).float()),
    _call(meanfield.static_std, **OF_RATE),
    _call(meanfield.steady_state, **OF_RATE),
    _call(meanfield.steady_variance, threshold=0.7, height=1.3, alpha=0.8),
    _call(
        meanfield.surrogate_second_moment,
        **{"leak": 0.6, "rate": 0.2, "weight_scale": 2.0, "input_gain": 0.8},
    ),
    _call(meanfield.synaptic_kernel, steps=3, synapse=0.3, delay=0.4),
    _call(
        meanfield.two_input_gradient,
        gradient=moments,
        slopes=moments,
        leak=0.6,
    ),
    _call(
        meanfield.two_input_map,
        {"samples": 64, "generator": generator},
        moments=moments,
        gain=5.0,
        **LIF,
    ),
    _call(meanfield.variance_map, variance=0.8, gain=5.0, threshold=0.7),
    _gain("glorot", fan_in=5, fan_out=7),
    _gain("kaiming", nonlinearity="leaky_relu", negative_slope=0.1),
    _gain("orthogonal", fan_in=5, fan_out=7),
    _gain("lee2016", threshold=0.7, fan_in=20, alpha=0.9, input_gain=0.8),
    _gain("bellec2018", weight_scale=0.8),
    _gain("ding2022", threshold=0.7, input_gain=0.8),
    _gain("rossbroich2022", rate=0.2, leak=0.6, threshold=0.7, xi=1.2, mean=0.01, fan_in=20),
    _gain("micheli2024", threshold=0.7, height=1.3, input_gain=0.8),
    _gain("ikun2024", alpha=0.8, threshold=0.7, height=1.3, input_gain=0.8),
    _gain("spikeinit2026", threshold=0.7, leak=0.6, rate=0.2, input_gain=0.8, height=1.3),
    _gain("mean_field", rate=0.2, steps=2, leak=0.6, threshold=0.7, input_gain=0.8, height=1.3),
    _initializer("bellec2018", weight_scale=0.8),
    _initializer("ding2022", threshold=0.7, input_gain=0.8),
    _initializer("ikun2024", threshold=0.7, alpha=0.8, input_gain=0.8),
    _initializer("lee2016", threshold=0.7, alpha=0.9, input_gain=0.8),
    _initializer("micheli2024", threshold=0.7),
    _initializer("rossbroich2022", threshold=0.7, rate=0.2, leak=0.6, xi=1.2, mean=0.01),
    _initializer("spikeinit2026", threshold=0.7, rate=0.2, leak=0.6, input_gain=0.8),
    _initializer("zenke2021"),
    _call(
        init.herranz2022.conditions,
        **{"fan_in": 10, "width": 30, "leak": 0.8, "threshold": 0.7, "input_mean": 0.2},
        **{"input_variance": 0.3, "input_weight_variance": 0.05},
    ),
    _call(
        init.rossbroich2022.parameters,
        **{"fan_in": 20, "rate": 10.0, "tau_membrane": 0.02, "tau_synapse": 0.01},
        **{"mean": 0.01, "xi": 1.2, "threshold": 0.7},
    ),
    _call(init.spikeinit2026.parameters, input_gain=0.8, steps=4, **OF_RATE),
    _call(
        membrane.stationary_law,
        **{"leak": 0.6, "threshold": 0.7, "input_mean": 0.1, "input_std": 0.5, "reset": "subtract"},
    ),
    Call("membrane.MPInit", membrane.MPInit, {"momentum": 0.2, "over": "all"}),
    _call(membrane.total_variation, a=lambda: np.array([0.2, 0.8]), b=lambda: np.array([0.3, 0.7])),
    _call(
        membrane.wasserstein,
        a=lambda: np.array([0.2, 0.8]),
        b=lambda: np.array([0.3, 0.7]),
        states=lambda: np.array([-0.4, 0.9]),
    ),
    _network(networks.mlp, 4, sizes=(4, 5, 3), threshold=0.7, leak=0.6),
    _network(networks.recurrent, 4, sizes=(4, 5, 3), threshold=0.7, leak=0.6),
    _network(
        networks.convnet, 1, 6, 6, shape=(1, 6, 6), classes=3, channels=(2, 2), kernel=3, leak=0.6
    ),
    _network(
        networks.vgg, 1, 8, 8, shape=(1, 8, 8), classes=3, channels=(2, 2), hidden=5, threshold=0.7
    ),
    _network(networks.residual, 1, 8, 8, shape=(1, 8, 8), classes=3, width=0.03, threshold=0.7),
    _network(networks.time_normed, 4, sizes=(4, 5, 3), steps=T, threshold=0.7, leak=0.6),
    _call(networks.constant, x=lambda: tensor(BATCH, WIDTH), steps=T),
    _call(data.constant, x=lambda: torch.rand(BATCH, WIDTH), steps=T),
    _call(
        data.latency,
        {"generator": generator},
        **{"x": lambda: torch.rand(BATCH, WIDTH), "steps": T, "threshold": 0.3},
        time_constant=20.0,
    ),
    _call(data.poisson, {"generator": generator}, x=lambda: torch.rand(BATCH, WIDTH), steps=T),
    _call(
        losses.spike_count,
        **{"output": lambda: torch.rand(T, BATCH, 3), "targets": lambda: torch.tensor([0, 2])},
        label_smoothing=0.1,
    ),
    _call(
        losses.every_step,
        **{"output": lambda: torch.rand(T, BATCH, 3), "targets": lambda: torch.tensor([0, 2])},
        label_smoothing=0.1,
    ),
    _call(
        losses.mean_output,
        **{"output": lambda: torch.rand(T, BATCH, 3), "targets": lambda: torch.tensor([0, 2])},
        label_smoothing=0.1,
    ),
    _call(
        losses.rate_mse,
        **{"output": lambda: torch.rand(T, BATCH, 3), "targets": lambda: torch.tensor([0, 2])},
    ),
    _call(experiments.holm, p_values=(0.01, 0.2, 0.04)),
    _call(experiments.resolves, spread=0.3, seeds=4, tests=2, level=0.1, power=0.8),
    _call(experiments.trains, accuracy=0.6, best=0.9, chance=0.1, share=0.4),
    _call(experiments.informative, accuracies=(0.6, 0.7), best=0.9, chance=0.1),
    _call(
        experiments.difference,
        **{"first": {0: 0.4, 1: 0.6, 2: 0.5}, "second": {0: 0.3, 1: 0.55, 2: 0.45}},
        confidence=0.9,
        resolution=0.01,
    ),
)
