r"""Laws of the weights and the surrogate of one recurrent layer, found step by step.

A `Rule` says what the mean and the variance of the recurrent weights (conditions I and II) and the
dampening (III) must be; the sharpness (IV) follows from the balance of the gradient's variance.
Which of the four hold is the user's choice; III and IV exclude each other for 0 < −min w_rec <=
max w_rec and a leak.  Since σ' <= γ, IV needs γ²((n−1) E[w_rec²] + ρ²) >= 1 − β² without a layer
below, while III then makes the left side at most (1 − β)² < 1 − β².  Without a negative weight the
printed III has a pole at min w_rec = ρ/(n−1) and both can hold; with a detached reset it has none.

Neurons whose threshold adapts count with θ + κ/2,
their mean threshold at rate 1/2; III and IV leave out the gradient through the adaptation.

All numbers are in units of the input gain λ, in which the neuron is y/λ with threshold θ/λ and the
weights as they are.  The potential of the module is λ times y, so its surrogate has γ/λ and s/λ:
σ'(u − θ) du = λ σ'(λ(y − θ/λ)) dy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from snnlib._averages import RESETS, LayerAverages, layer_averages
from snnlib._checks import check_positive
from snnlib.init import infeasible
from snnlib.init.connection import Connection, Layer
from snnlib.init.distributions import extremes
from snnlib.init.input_statistics import input_statistics
from snnlib.init.method import Arranged
from snnlib.meanfield import normal_deviation, rate_at_half
from snnlib.meanfield.recurrent_gradient import gradient_balance
from snnlib.membrane.voltage import voltage_range
from snnlib.surrogate import Surrogate, sharpness_at_balance

CONDITIONS = ("I", "II", "III", "IV")
LOWEST_SHARPNESS = 0.3
"""Lower end of the interval that the code of Herranz-Celotti & Rouat searches for the sharpness."""
SETTINGS = (
    "conditions",
    "input_mean",
    "input_variance",
    "input_weight_variance",
    "input_low",
    "input_high",
    "exact",
    "detach_reset",
    "deviation",
    "unreachable",
)
"""What a user may give for a layer."""


class Rule(NamedTuple):
    """Formulas of a method.

    Attributes:
        name: The method's.
        weight_mean: E[w_rec] by width, leak, threshold, reset and deviation.
        weight_variance: Var[w_rec] by fan-in, width, that mean, and the input's moments.
        dampening: γ by averages of the neurons, width, extremes of the weights, what the layer
            below passes, and whether the reset is detached.
    """

    name: str
    weight_mean: Callable[..., float]
    weight_variance: Callable[..., float]
    dampening: Callable[..., float]


class Passed(NamedTuple):
    """What a finished layer hands to the one above it.

    Attributes:
        dampening: γ in units of its input gain; None without a known surrogate.
        second_moment: E[σ'²] likewise.
        rate: Of the layer, where condition I would have 1/2 but the input is too weak.
    """

    dampening: float | None
    second_moment: float | None
    rate: float | None = None


class Place(NamedTuple):
    """Where a layer stands.

    Attributes:
        own: Its recurrent weight.
        into: Its input weight.
        below: What the layer below passes; None above data.
        distributions: Of the two weights.
    """

    own: Connection
    into: Connection
    below: Passed | None
    distributions: tuple[str, str]

    @property
    def layer(self) -> Layer:
        """The layer itself."""
        return self.own.drives[0]


class _Weights(NamedTuple):
    """Laws of the weights, and what they rest on."""

    mean: float  # E[w_rec]
    variance: float
    input_variance: float  # Var[w_in]
    input_square: float  # E[z²]


def parse_conditions(value: Any) -> frozenset[str]:
    """Names of conditions from a text such as "I II IV" or a sequence of names.

    Raises:
        ValueError: If a name is not one of I, II, III, IV or there is none.

    Example:
        >>> sorted(parse_conditions("I, III"))
        ['I', 'III']
    """
    parts = value.replace(",", " ").split() if isinstance(value, str) else list(value)
    if not parts or any(part not in CONDITIONS for part in parts):
        raise ValueError(
            f"conditions must name some of {', '.join(CONDITIONS)}, such as 'I II IV', "
            f"got {value!r}"
        )
    return frozenset(parts)


def solve(rule: Rule, place: Place, given: Mapping[str, Any]) -> tuple[Arranged, Arranged, Passed]:
    """Law of the recurrent and of the input weight, and what the layer passes to the one above.

    Args:
        rule: Formulas.
        place: The layer.
        given: What the user gave, `SETTINGS`.

    Returns:
        Settings and remarks of the two weights, and the layer's slopes.

    Raises:
        ValueError: If a setting is unknown or infeasible, or the layer is of a kind that the rule
            does not know.
    """
    wanted = parse_conditions(given.get("conditions", CONDITIONS))
    _check_settings(given)
    _check_layer(rule.name, place)
    if wanted & {"III", "IV"}:
        _check_surrogate(place.layer)
    spiking = place.layer.spiking
    unit = float(spiking.input_gain.mean())
    threshold, adapts = _threshold(place.layer)
    neuron: dict[str, Any] = {
        "leak": spiking.leak,
        "threshold": threshold / unit,
        "reset": spiking.reset,
    }
    weights, origin = _weights(rule, place, given, wanted, neuron)
    listed = [condition for condition in CONDITIONS if condition in wanted]
    remarks = [f"condition{'s' * (len(listed) > 1)} {', '.join(listed)}", *origin, *adapts]
    rate = None
    if wanted >= {"I", "II"}:
        rate, doubt = _settles(place, neuron, weights)
        remarks += doubt
    surrogates: dict[str, Surrogate] = {}
    passed = Passed(None, None, None if rate == 0.5 else rate)
    surrogate = getattr(place.layer.module, "surrogate", None)
    if isinstance(surrogate, Surrogate):
        scaled = replace(
            surrogate, dampening=surrogate.dampening * unit, sharpness=surrogate.sharpness * unit
        )
        problem = _Gradients(rule, place, given, wanted, neuron, weights, scaled)
        found, second, unmet = problem.solve()
        passed = passed._replace(dampening=found.dampening, second_moment=second)
        remarks += unmet
        if wanted & {"III", "IV"}:
            gamma, s = found.dampening / unit, found.sharpness / unit
            surrogates[place.layer.name] = replace(surrogate, dampening=gamma, sharpness=s)
            remarks.append(f"γ = {gamma:.4g}, s = {s:.4g}")
    remarks.append("zero diagonal")
    law = {"weight_mean": weights.mean, "weight_variance": weights.variance}
    own = {"fan_in": place.own.fan_in, **law}
    into = {
        "fan_in": place.into.fan_in,
        "weight_mean": 0.0,
        "weight_variance": weights.input_variance,
    }
    return Arranged(own, "; ".join(remarks), surrogates, rate), Arranged(into), passed


# --- The weights: I and II ------------------------------------------------------------------------


def _weights(
    rule: Rule,
    place: Place,
    given: Mapping[str, Any],
    wanted: frozenset[str],
    neuron: Mapping[str, Any],
) -> tuple[_Weights, list[str]]:
    """Laws of both weights, and where the input's moments are from."""
    width, fan_in = place.own.fan_in, place.into.fan_in
    mean, square, origin = input_statistics(place.into, given)
    asked = given.get("input_weight_variance", 2 / (fan_in + place.into.fan_out))
    if asked == "stable":
        asked = _stable_current(neuron) / (fan_in * square) if square > 0 else math.nan
    elif isinstance(asked, str):
        raise ValueError(
            f"input_weight_variance must be a positive number or 'stable', got {asked!r}"
        )
    input_variance = check_positive("input_weight_variance", asked)
    centre, spread = 0.0, 1 / width
    if "I" in wanted:
        d = given.get("deviation", 0.0)
        if d == "normal":
            d = 0.0
            if neuron["reset"] == "zero":
                drive = 2 * square * fan_in * input_variance  # by condition II
                d = normal_deviation(
                    leak=neuron["leak"], threshold=neuron["threshold"], variance=drive
                )
        centre = rule.weight_mean(width=width, deviation=d, **neuron)
    if "II" in wanted:
        spread = rule.weight_variance(
            fan_in=fan_in,
            width=width,
            weight_mean=centre,
            input_mean=mean,
            input_variance=square - mean**2,
            input_weight_variance=input_variance,
        )
    return _Weights(centre, spread, input_variance, square), origin


def _stable_current(neuron: Mapping[str, Any]) -> float:
    """V = θ²: three times and more what any leak and reset need, so that rates stray little."""
    return float(neuron["threshold"].max()) ** 2


def _settles(
    place: Place, neuron: Mapping[str, Any], weights: _Weights
) -> tuple[float | None, list[str]]:
    """Rate that a layer comes to from rest under conditions I and II, and what to say of it."""
    per_weight = place.into.fan_in * weights.input_square
    current = per_weight * weights.input_variance
    leaks, thresholds = (neuron[key].double().unique().tolist() for key in ("leak", "threshold"))
    rate, edge = rate_at_half(
        leaks=leaks,
        thresholds=thresholds,
        gain=weights.variance * (place.own.fan_in - 1),
        input_variance=current,
        reset=neuron["reset"],
    )
    doubt = []
    if current < edge:
        doubt = [
            f"rate 1/2 is not stable: the input's variance n_in E[z²] Var[w_in] = {current:.3g} is "
            f"below {edge:.3g}; input_weight_variance='stable' is "
            f"{_stable_current(neuron) / per_weight:.3g}"
        ]
    if place.below is not None and place.below.rate is not None:
        return math.nan, ["the layer below does not stay at rate 1/2"]
    return rate, doubt


# --- The surrogate: III and IV --------------------------------------------------------------------


class _Gradients(NamedTuple):
    """A layer whose weights are known and whose surrogate is sought."""

    rule: Rule
    place: Place
    given: Mapping[str, Any]
    wanted: frozenset[str]
    neuron: Mapping[str, Any]
    weights: _Weights
    surrogate: Surrogate

    def solve(self) -> tuple[Surrogate, float, list[str]]:
        """The surrogate, its E[σ'²], and what could not be met."""
        module = self.place.layer.module
        detach = bool(self.given.get("detach_reset", getattr(module, "detach_reset", False)))
        width, fan_in = self.place.own.fan_in, self.place.into.fan_in
        neurons = layer_averages(**self.neuron)
        weights = extremes(
            self.place.distributions[0],
            self.weights.mean,
            self.weights.variance,
            width * (width - 1),
        )
        inputs = extremes(
            self.place.distributions[1], 0.0, self.weights.input_variance, fan_in * width
        )
        found = self.surrogate
        if "III" in self.wanted:
            passed = self.from_below("III", fan_in * inputs[1], 1 - neurons.leak_max)
            gamma = self.rule.dampening(neurons, width, weights, passed, detach)
            found = replace(found, dampening=gamma)
        bounds = self.voltages(neurons, weights, inputs)
        unmet: list[str] = []
        if "IV" in self.wanted:
            found, unmet = self.sharpened(found, neurons, bounds, detach)
        moment = found.moment(2, 0.0, law="uniform", bounds=bounds)
        return found, float(moment), unmet

    def voltages(
        self,
        neurons: LayerAverages,
        recurrent: tuple[float, float],
        inputs: tuple[float, float],
    ) -> tuple[float, float]:
        """Bounds of the centred voltage."""
        into = self.place.into
        low, high = voltage_range(
            fan_in=into.fan_in,
            width=self.place.own.fan_in,
            weight_min=recurrent[0],
            weight_max=recurrent[1],
            input_weight_min=inputs[0],
            input_weight_max=inputs[1],
            input_low=self.given.get("input_low", 0.0 if into.low is None else into.low),
            input_high=self.given.get("input_high", 1.0 if into.high is None else into.high),
            **self.neuron,
        )
        return low - neurons.threshold, high - neurons.threshold

    def sharpened(
        self,
        surrogate: Surrogate,
        neurons: LayerAverages,
        bounds: tuple[float, float],
        detach_reset: bool,
    ) -> tuple[Surrogate, list[str]]:
        """With the sharpness of condition IV, or the lowest one where there is none."""
        kept = neurons.leak_square / 2 if neurons.zero else neurons.leak_square
        factor = self.place.into.fan_in * self.weights.input_variance
        a, b, c = gradient_balance(
            neurons,
            (self.place.own.fan_in - 1) * (self.weights.variance + self.weights.mean**2),
            below=self.from_below("IV", factor, 1 - kept),
            exact=bool(self.given.get("exact", False)),
            detach_reset=detach_reset,
        )
        try:
            s = sharpness_at_balance(
                surrogate.shape,
                a,
                b,
                c,
                dampening=surrogate.dampening,
                low=bounds[0],
                high=bounds[1],
                tail=surrogate.tail,
            )
        except ValueError as error:
            if self.given.get("unreachable", "nearest") == "raise":
                raise
            lowest = replace(surrogate, sharpness=LOWEST_SHARPNESS)
            return lowest, [f"IV not met ({str(error).partition(':')[0]})"]
        return replace(surrogate, sharpness=s), []

    def from_below(self, name: str, factor: float, room: float) -> tuple[float, float]:
        """What the layer below takes of the gradient; it alone must leave room."""
        below = self.place.below
        if below is None:
            return 1.0, 0.0
        value = below.dampening if name == "III" else below.second_moment
        if value is None:
            raise ValueError(
                f"condition {name} of a stacked layer needs the surrogate of the layer below, "
                "which is not a snnlib.surrogate.Surrogate; leave III and IV out"
            )
        if factor * value >= room:
            others = " ".join(x for x in CONDITIONS if x in self.wanted and x != name)
            raise infeasible.passed_gradient(
                name,
                others,
                self.place.into.name,
                factor * value,
                room,
                self.weights.input_variance,
            )
        return factor, value


# --- Checks ---------------------------------------------------------------------------------------


def _threshold(layer: Layer) -> tuple[Tensor, list[str]]:
    """The mean threshold at rate 1/2, where a running mean of the spikes is 1/2, and a remark."""
    spiking = layer.spiking
    strength = getattr(layer.module, "adaptation", None) if spiking.library == "snnlib" else None
    if strength is None:
        return spiking.threshold, []
    level = torch.as_tensor(strength, dtype=torch.float64).detach().cpu()
    return spiking.threshold + level / 2, ["threshold θ + κ/2 of a neuron that adapts, at rate 1/2"]


def _check_settings(given: Mapping[str, Any]) -> None:
    unreachable = given.get("unreachable", "nearest")
    if unreachable not in ("nearest", "raise"):
        raise ValueError(f"unreachable must be 'nearest' or 'raise', got {unreachable!r}")
    if not isinstance(given.get("exact", False), bool):
        raise ValueError(f"exact must be True or False, got {given['exact']!r}")


def _check_layer(method: str, place: Place) -> None:
    own, name, spiking = place.own, place.layer.name, place.layer.spiking
    if own.weight.dim() != 2 or own.weight.shape[0] != own.weight.shape[1]:
        raise ValueError(
            f"{method} needs a square recurrent weight, {own.name!r} has {tuple(own.weight.shape)}"
        )
    if spiking.synapse is not None and bool(spiking.synapse.any()):
        raise ValueError(
            f"{method} knows neurons without a synaptic current only; {name!r} has one: use "
            "'rossbroich2022'"
        )
    if spiking.reset not in RESETS:
        raise ValueError(
            f"{method} knows the resets {', '.join(RESETS)}; {name!r} has {spiking.reset!r}"
        )
    if bool((spiking.height != 1).any()):
        raise ValueError(f"{method} knows spikes of height 1 only; {name!r} sends others")


def _check_surrogate(layer: Layer) -> None:
    if getattr(layer.module, "threshold_gradient", "absolute") != "absolute":
        raise ValueError(
            f"conditions III and IV know surrogates of y − θ only, {layer.name!r} has "
            f"threshold_gradient={getattr(layer.module, 'threshold_gradient', None)!r}"
        )
    if not isinstance(getattr(layer.module, "surrogate", None), Surrogate):
        raise ValueError(
            f"conditions III and IV set the surrogate of {layer.name!r}, which is not a "
            "snnlib.surrogate.Surrogate: ask for conditions='I II' and set the surrogate from "
            "snnlib.init.herranz2022.conditions yourself"
        )
