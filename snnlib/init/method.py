"""What a method of initialization is: the interface between a paper's file and `initialize_`."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from snnlib._checks import NUMBERS, annotated
from snnlib.init.connection import Connection, fans
from snnlib.init.distributions import (
    DISTRIBUTIONS,
    check_distribution,
    check_generator,
    fill_,
    orthonormal_,
)
from snnlib.surrogate import Surrogate

ORTHONORMAL = "orthonormal"


class Feeding(NamedTuple):
    """What a method assumes of the input of a weight.

    Attributes:
        threshold: Threshold of the feeding layer; None if it plays no part.
        probability: Firing probability per step of that layer; None for real values.
        second_moment: E[x²].
    """

    threshold: float | None
    probability: float | None
    second_moment: float


class Forecast(NamedTuple):
    """What a method says of the training of a network, for one weight and the layer it drives.

    Attributes:
        surrogate: The surrogate derivative that the layer should have.
        gradient: Σ (dL/du)² over neurons and steps of the layer, over that of the last one.
        coherence: Cosine of the gradients of two unrelated inputs there.
        learning_rate: Of the weight, for Adam.
        told_apart: Part of what tells one pair of inputs from another in the first layer that is
            left in this one; None if unknown.
    """

    surrogate: Surrogate
    gradient: float
    coherence: float
    learning_rate: float
    told_apart: float | None = None


class Arranged(NamedTuple):
    """What a method that looks at the whole network found for one weight.

    Attributes:
        settings: Of `Method.gain`.
        remark: What the report should say.
        surrogates: Surrogate derivatives to set, by the name of the spiking layer.
        rate: Predicted rate of the layer that the weight drives; NaN if unknown.
        forecast: Of training, if the method has one.
    """

    settings: dict[str, Any]
    remark: str = ""
    surrogates: Mapping[str, Surrogate] = MappingProxyType({})
    rate: float | None = None
    forecast: Forecast | None = None


def _nothing(connection: Connection, settings: Mapping[str, Any]) -> Any:
    return None


def _no_remark(connection: Connection, settings: Mapping[str, Any]) -> str:
    return ""


def with_the_network(connection: Connection, **given: Any) -> dict[str, Any]:
    """`Method.resolve` of a method that has `Method.network`, which is asked instead."""
    raise NotImplementedError("resolved for the network as a whole")


def _no_mean(**settings: Any) -> float:
    return 0.0


def _no_finish(connection: Connection) -> None:
    return None


class Method(NamedTuple):
    """One initialization.

    Attributes:
        name: What `initialize_` calls it; the file's name for a paper's method.
        source: Paper and equation.
        gain: `gain(**settings) -> G`, the number n·E[w²].
        resolve: `resolve(connection, **given) -> settings` of one weight: what the user gave, else
            what the weight's place in the network says.
        given: Names of the settings that a user may give for a whole network.
        distribution: What the weights are drawn from: a name in `DISTRIBUTIONS` or "orthonormal".
        free: Whether the user may choose the distribution.
        mean: `mean(**settings) -> E[w]`.
        rate: `rate(connection, settings)`: firing probability per step that the method aims at in
            the driven layer; None where it names none.
        feeding: `feeding(connection, settings) -> Feeding`: what the method assumes of the input;
            None where it assumes nothing.
        remark: `remark(connection, settings)`: what the report should say beside the numbers.
        finish_: `finish_(connection)`: what is done to a weight after it was drawn.
        data_driven: Whether the scale of the weights is found by running the network.
        network: `network(connections, given, distributions) -> [Arranged, ...]`, in place of
            `resolve` where the weights of a network depend on each other: all weights that the
            method draws, what the user gave for each, and the distribution of each.
    """

    name: str
    source: str
    gain: Callable[..., float]
    resolve: Callable[..., dict[str, Any]]
    given: tuple[str, ...] = ()
    distribution: str = "normal"
    free: bool = False
    mean: Callable[..., float] = _no_mean
    rate: Callable[[Connection, dict[str, Any]], float | None] = _nothing
    feeding: Callable[[Connection, dict[str, Any]], Feeding | None] = _nothing
    remark: Callable[[Connection, dict[str, Any]], str] = _no_remark
    finish_: Callable[[Connection], None] = _no_finish
    data_driven: bool = False
    network: Callable[..., list[Arranged]] | None = None

    def checked_gain(self, settings: Mapping[str, Any]) -> float:
        """The gain, with every setting's name checked.

        Raises:
            ValueError: If the method does not have a setting, one that it needs is missing, or its
                value is outside its range.
        """
        parameters = inspect.signature(self.gain).parameters
        self.check_settings(settings, tuple(parameters))
        for name, parameter in parameters.items():
            if parameter.default is parameter.empty and name not in settings:
                raise ValueError(f"{name} is needed by {self.name!r}: pass {name}=...")
            kind = str(parameter.annotation)
            if kind in NUMBERS and name in settings and settings[name] is not parameter.default:
                annotated(name, settings[name], kind)
        try:
            result = self.gain(**settings)
        except (OverflowError, ZeroDivisionError):
            result = math.nan
        if math.isnan(result):
            given = ", ".join(f"{name}={value!r}" for name, value in settings.items())
            raise ValueError(f"the gain of {self.name!r} is no finite number at {given}")
        return result

    def check_settings(self, settings: Mapping[str, Any], known: Sequence[str]) -> None:
        """Refuse a setting that is not among the known ones.

        Raises:
            ValueError: Naming the setting and those that exist.
        """
        for name, value in settings.items():
            if name not in known:
                raise ValueError(
                    f"{name}={value!r} is not a setting of {self.name!r} here; "
                    f"its settings are: {', '.join(known) or 'none'}"
                )

    def chosen(self, distribution: str | None) -> str:
        """The distribution to draw from, the user's if the method leaves it open.

        Raises:
            ValueError: If the method has a distribution of its own or the name is unknown.
        """
        if distribution is None:
            return self.distribution
        if not self.free:
            raise ValueError(
                f"distribution={distribution!r} is not a setting of {self.name!r} here; "
                f"it draws from {self.distribution!r}"
            )
        check_distribution(distribution)
        if self.distribution == ORTHONORMAL:
            return f"{ORTHONORMAL} {distribution}"
        return distribution


def draw_(
    weight: Tensor,
    gain: float,
    distribution: str = "normal",
    generator: torch.Generator | None = None,
    *,
    mean: float = 0.0,
) -> Tensor:
    r"""Fill a weight in place from a distribution with E[w²] = G/n, n its fan-in.

    Args:
        weight: Weight of a linear layer or a convolution.
        gain: G > 0; an orthonormal weight has the gain of its shape.
        distribution: A name in `DISTRIBUTIONS`, "orthonormal", or "orthonormal " and a name.
        generator: Random numbers; None is torch's global generator.
        mean: E[w] of the weights.

    Returns:
        The weight.

    Raises:
        ValueError: If the weight is empty or the generator lives on another device.
    """
    fan_in, _ = fans(weight)
    check_generator(generator, weight)
    if distribution.startswith(ORTHONORMAL):
        start = distribution.removeprefix(ORTHONORMAL).strip() or DISTRIBUTIONS[0]
        return orthonormal_(weight, start, generator)
    return fill_(weight, standard_deviation(gain, fan_in, mean), distribution, generator, mean=mean)


def normal_(weight: Tensor, gain: float, generator: torch.Generator | None) -> Tensor:
    r"""Fill a weight in place from N(0, G/n), n its fan-in.

    Args:
        weight: Weight of a linear layer or a convolution.
        gain: G > 0.
        generator: Random numbers; None is torch's global generator.

    Returns:
        The weight.

    Raises:
        ValueError: If the weight is empty or the generator lives on another device.
    """
    return draw_(weight, gain, "normal", generator)


def standard_deviation(gain: float, fan_in: int, mean: float = 0.0) -> float:
    """√(G/n − E[w]²); what rounding makes negative is 0."""
    return math.sqrt(max(gain / fan_in - mean**2, 0.0))


class Neuron(NamedTuple):
    """The neurons that a weight drives, one number for all of them.

    Attributes:
        threshold: θ, the mean over neurons.
        leak: β per step, likewise.
        input_gain: λ, what the neuron multiplies its current with, likewise.
        synapse: Decay per step of a synaptic current, likewise; None if there is none.
        reset: Names of the resets, joined where there are several.
        delay: Steps between an input and its effect; a fraction is split over two steps.
        note: Says so if the neurons differ.
    """

    threshold: float
    leak: float
    input_gain: float
    synapse: float | None
    reset: str
    delay: float = 0.0
    note: str = ""

    @property
    def first_gain(self) -> float:
        """What reaches the potential of an input at the first step that it reaches."""
        return self.input_gain * (1 - self.delay % 1)


def driven_neuron(connection: Connection) -> Neuron:
    """Threshold, leak, input gain and synapse of what a weight drives, averaged over neurons.

    Raises:
        ValueError: If the weight drives no spiking layer.
    """
    if not connection.drives:
        raise ValueError(
            "the method asks for the neurons that a weight drives, and it drives no spiking layer"
        )
    layers = [layer.spiking for layer in connection.drives]
    differing = [
        name
        for name in ("threshold", "leak", "input_gain")
        if not _one_value([getattr(layer, name) for layer in layers])
    ]
    synapses = [layer.synapse for layer in layers]
    # A decay of 0 keeps nothing: such a layer has no synapse.
    with_synapse = [synapse for synapse in synapses if synapse is not None and synapse.any()]
    return Neuron(
        _average([layer.threshold for layer in layers]),
        _average([layer.leak for layer in layers]),
        _average([layer.input_gain for layer in layers]),
        _average(with_synapse) if with_synapse else None,
        ", ".join(dict.fromkeys(layer.reset for layer in layers)),
        max(float(layer.delay) for layer in layers),
        f"mean {' and '.join(differing)} of the driven neurons" if differing else "",
    )


def sharing(connection: Connection) -> str:
    """A remark where several weights drive one layer and each gets the whole variance."""
    forward = sum(not recurrent for _, recurrent in connection.afferents)
    if connection.recurrent:
        return (
            "adds to the feed-forward variance from the second step on, 'rossbroich2022' divides it"
            if forward
            else ""
        )
    return f"one of {forward} weights into the same layer: their variances add" * (forward > 1)


def without_synapse(connection: Connection) -> str:
    """A remark where a formula for neurons without a synaptic current meets one."""
    if not connection.drives or driven_neuron(connection).synapse is None:
        return ""
    return "the formula knows no synaptic current, the driven layer has one"


def _average(values: Sequence[Any]) -> float:
    flat = [torch.as_tensor(value, dtype=torch.float64).flatten() for value in values]
    return float(torch.stack([value.mean() for value in flat]).mean())


def _one_value(values: Sequence[Any]) -> bool:
    flat = torch.cat([torch.as_tensor(value, dtype=torch.float64).flatten() for value in values])
    return bool((flat == flat[0]).all())
