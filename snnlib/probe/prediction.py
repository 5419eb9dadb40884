r"""What mean-field theory says a network should do, from what is measured at its first layer.

From the first spiking layer that is driven by weights on, the currents of a layer over its
neurons are taken as Gaussian with the covariance over time

    C_l(s, t) = λ² Σ_c h² G_c E[x_s x_t] + λ² Var[b],      G_c = n·E[w²] measured,

summed over the weights c that drive it; E[x_s x_t] is that of the feeding layers, predicted in
turn, through the sums, poolings and dropouts before the weight. Behind normalizations it comes from
their scale and shift (`snnlib.init.behind_norm`). Mean and covariance of layers that data drive, or
that get something else than a weighted sum, are measured. Neurons that no formula knows (recurrent
or adaptive ones, a second filter, a gate, constants that differ) are run themselves on such
currents (`snnlib.probe.fed`). Measured are the spikes of layers that theory does not reach: those
that no weight drives, those whose currents are not Gaussian or whose neurons are too few. The
spread at finite width is that of `snnlib.meanfield.network_law`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from snnlib._progress import stage
from snnlib.init.behind_norm import behind_norms, nearest_covariance, not_gaussian
from snnlib.init.flow import Moments, source
from snnlib.init.intake import shape_of
from snnlib.init.pairing import Connection, Layer
from snnlib.meanfield import LayerLaw, covariance_map, network_law, shifted_map, synaptic_kernel
from snnlib.probe.capture import Entry
from snnlib.probe.constants import unstable
from snnlib.probe.driving import bias_gain, driving, effective_gain, follows, number, weight_gain
from snnlib.probe.fed import respond
from snnlib.probe.moments import second_moments
from snnlib.resets import RULES

__all__ = ["Prediction", "Predictions", "Seen", "predict"]

Array = NDArray[np.float64]
SIZE = 128  # steps times samples of the finite networks that are drawn


@dataclass
class Prediction:
    """Of one layer, by step.

    Attributes:
        rate: Firing probability at infinite width.
        variance: Var[u] likewise.
        rate_spread: Standard deviation of the rate over networks of this width, NaN if unknown.
        variance_spread: That of Var[u] likewise.
    """

    rate: Array
    variance: Array
    rate_spread: Array
    variance_spread: Array


@dataclass
class Predictions:
    """Of a network.

    Attributes:
        found: By layer.
        missing: Why there is none for the others.
        started: Layers at which the prediction starts anew: "norm" or "measured".
        data: Layers at which it starts from the currents that data make.
        itself: Layers whose own neurons are run, and why.
    """

    found: dict[str, Prediction]
    missing: dict[str, str]
    started: dict[str, str]
    data: set[str] = field(default_factory=set)
    itself: dict[str, str] = field(default_factory=dict)


class _Neuron:
    """One layer as the maps need it."""

    def __init__(self, entry: Entry) -> None:
        form = entry.spiking
        self.threshold, self.leak = number(form.threshold), number(form.leak)
        self.gain = number(form.input_gain)
        self.synapse = 0.0 if form.synapse is None else number(form.synapse)
        self.delay, self.reset = form.delay, form.reset
        self.known = form.reset in RULES and None not in (
            self.threshold,
            self.leak,
            self.gain,
            self.synapse,
        )
        if self.known:
            self.known = 0 <= (self.leak or 0.0) <= 1 and 0 <= (self.synapse or 0.0) <= 1

    def filtered(self, covariance: Array) -> Array:
        """Of what charges the membrane, given that of the currents."""
        kernel = synaptic_kernel(len(covariance), float(self.synapse or 0.0), self.delay)
        filtered: Array = kernel @ covariance @ kernel.T
        return filtered


class Seen(NamedTuple):
    """What was measured of a layer.

    Attributes:
        currents: λi, [T, samples, neurons]; of large layers a part, None where weights of its own
            make them.
        spikes: Whether it spiked, likewise.
        channels: How many of its neurons have weights of their own.
        fed: What enters the module, without λ and without what its own recurrent weights add.
        shape: Of its neurons.
    """

    currents: Tensor | None
    spikes: Tensor
    channels: int
    fed: Tensor | None = None
    shape: tuple[int, ...] = ()


def predict(
    entries: Sequence[Entry],
    connections: Sequence[Connection],
    seen: Mapping[str, Seen],
    widths: Mapping[str, int],
    *,
    changed: Collection[str] = (),
    networks: int,
    generator: torch.Generator,
) -> Predictions:
    """Predict every layer that the theory reaches.

    Args:
        entries: The layers in the order of execution.
        connections: What `pair` found.
        seen: What was measured of each.
        widths: Neurons of each layer.
        changed: Layers that are predicted from their measured currents, as those after data.
        networks: How many networks of this width are drawn for the spread.
        generator: Random numbers.

    Returns:
        Predictions by layer, why there is none for the others, and where they start anew.
    """
    result = Predictions({}, {}, {})
    pairs: dict[str, Array] = {}
    twice = {e.name.partition("#")[0] for e in entries if "#" in e.name}
    layers = {layer.name: layer for c in connections for layer in (*c.fed_by, *c.drives)}
    for entry in entries:
        stage(f"the prediction of layer {entry.name}")
        weights, neuron = driving(entry, connections), _Neuron(entry)
        step: tuple[Prediction, Array] | None = None
        if unstable(entry) is not None:
            why = "its constants are unstable"
        elif not weights:
            why = "data drive it directly, or a function of spikes"
        elif entry.name.partition("#")[0] in twice:
            why = "its module is used at several places"
        elif own := _beyond(entry, weights, neuron):
            step, why = _itself(
                entry, own, weights, layers, seen[entry.name], pairs, changed, generator, result
            )
        else:
            step, why = _predicted(
                entry, neuron, weights, layers, seen[entry.name], pairs, changed, generator, result
            )
        if step is not None and (why := _narrow(seen[entry.name], step[0])):
            step = None
        if step is None:
            result.missing[entry.name] = why
            result.started.pop(entry.name, None)
            result.itself.pop(entry.name, None)
            pairs[entry.name] = second_moments(seen[entry.name].spikes)
        else:
            result.found[entry.name], pairs[entry.name] = step
    if networks > 0:
        stage(f"the spread over {networks} networks")
        reached = [e for e in entries if e.name in result.found]
        anew = {*result.started, *result.itself}
        cut = [k for k, e in enumerate(reached) if k and e.name in anew]
        chain = reached[: cut[0]] if cut else reached
        if chain and chain[0].name in result.data:  # where it starts from the network itself
            currents = {
                e.name: current for e in chain if (current := seen[e.name].currents) is not None
            }
            _spread(chain, connections, currents, widths, result.found, networks, generator)
    return result


def _predicted(
    entry: Entry,
    neuron: _Neuron,
    weights: Sequence[Connection],
    layers: Mapping[str, Layer],
    seen: Seen,
    pairs: Mapping[str, Array],
    changed: Collection[str],
    generator: torch.Generator,
    result: Predictions,
) -> tuple[tuple[Prediction, Array] | None, str]:
    """One layer: from normalizations, from measured currents, or from the layers that feed it."""
    layer = layers.get(entry.name)
    intake = None if layer is None else layer.intake
    if seen.currents is None:
        return None, "its currents were not seen"
    if intake is not None and intake.norms and intake.factors is not None:
        covariance = second_moments(seen.currents) / float(neuron.gain or 1.0) ** 2
        shape = shape_of(seen.currents)
        step, why = behind_norms(intake.norms, intake.factors, covariance, shape, entry.spiking)
        if step is None:
            return None, why
        result.started[entry.name] = "norm"
        unknown = np.full(len(step.rate), np.nan)
        return (Prediction(step.rate, step.variance, unknown, unknown), step.pairs), ""
    plain = intake is None or intake.weighted_sum
    if any(not c.fed_by for c in weights) and plain and entry.name not in changed:
        result.data.add(entry.name)
        return _layer(neuron, second_moments(seen.currents), generator), ""
    if plain and entry.name not in changed:
        followed = _covariance(entry, weights, pairs)
        if followed is not None:
            return _layer(neuron, followed, generator), ""
    result.started[entry.name] = "measured"
    return _measured(neuron, seen.currents, generator)


def _measured(
    neuron: _Neuron, currents: Tensor, generator: torch.Generator
) -> tuple[tuple[Prediction, Array] | None, str]:
    """From mean and covariance of the currents as measured."""
    mean = currents.double().flatten(1).mean(1).numpy()
    left = second_moments(currents) - np.outer(mean, mean)
    steps = len(mean)
    step = shifted_map(
        nearest_covariance(left),
        shift=mean[None],
        leak=float(neuron.leak or 0.0),
        threshold=float(neuron.threshold or 0.0),
        reset=neuron.reset,  # type: ignore[arg-type]
        kernel=synaptic_kernel(steps, float(neuron.synapse or 0.0), float(neuron.delay)),
        generator=generator,
    )
    if why := not_gaussian(float(step.rate.max()), *shape_of(currents)):
        return None, why
    unknown = np.full(steps, np.nan)
    return (Prediction(step.rate, step.variance, unknown, unknown), step.pairs), ""


def _narrow(seen: Seen, predicted: Prediction) -> str:
    """Why a layer's few neurons tell too little of a mean over many; empty if they are enough."""
    rates = seen.spikes.double().flatten(2).mean((0, 1))
    if seen.channels and len(rates) % seen.channels == 0:
        rates = rates.reshape(seen.channels, -1).mean(1)
    count, mean = len(rates), float(rates.mean())
    error = float(rates.std(correction=0)) / count**0.5 / mean if mean > 0 else 0.0
    if error <= 0.25 and float(predicted.rate.mean()) * count >= 1:
        return ""
    return f"{count} neurons (or channels) are too few to compare with a mean over many"


def _beyond(entry: Entry, weights: Sequence[Connection], neuron: _Neuron) -> str:
    """Why the neurons of a layer are run themselves; empty if the maps know them."""
    if any(c.recurrent for c in weights) or entry.spiking.recurrent:
        return "it has recurrent weights"
    if entry.spiking.why and (entry.why or entry.spiking.library == "snnlib"):
        return entry.spiking.why
    if entry.why or not neuron.known:
        return entry.why or "its threshold, leak or reset is not one number"
    return ""


def _itself(
    entry: Entry,
    own: str,
    weights: Sequence[Connection],
    layers: Mapping[str, Layer],
    seen: Seen,
    pairs: Mapping[str, Array],
    changed: Collection[str],
    generator: torch.Generator,
    result: Predictions,
) -> tuple[tuple[Prediction, Array] | None, str]:
    """By running the layer's own neurons, on currents of the covariance that is predicted for it.

    What recurrent weights inside of the module send back is drawn there; where such weights stand
    outside of it, where data drive it or something lies between, the covariance is measured.
    """
    if seen.fed is None:
        return None, f"{own}; its currents were not seen"
    layer = layers.get(entry.name)
    intake = None if layer is None else layer.intake
    outside = [c for c in weights if not c.recurrent]
    plain = (intake is None or intake.weighted_sum) and entry.name not in changed
    if entry.spiking.recurrent:
        inside = entry.module.modules()
        outer = any(c.recurrent and c.module not in set(inside) for c in weights)
    else:
        outer = len(outside) < len(weights)
    followed = None
    if plain and not outer and outside and all(c.fed_by for c in outside):
        parts = [(c, _fed(c, pairs)) for c in outside]
        known = [
            weight_gain(c) * fed + (0.0 if c.bias is None else _square(c.bias))
            for c, fed in parts
            if fed is not None
        ]
        followed = sum(known[1:], known[0]) if len(known) == len(parts) else None
    if followed is None:
        mean = seen.fed.double().flatten(1).mean(1).numpy()
        followed = nearest_covariance(second_moments(seen.fed) - np.outer(mean, mean))
    else:
        mean = np.zeros(len(followed))
    step, why = respond(entry, mean, followed, seen.shape, generator)
    if step is None:
        return None, f"{own}; {why}"
    if mean.any() and (why := not_gaussian(float(step.rate.max()), *shape_of(seen.fed))):
        return None, why
    result.itself[entry.name] = own
    unknown = np.full(len(step.rate), np.nan)
    return (Prediction(step.rate, step.variance, unknown, unknown), step.pairs), ""


def _square(bias: Tensor) -> float:
    return float(bias.detach().double().square().mean())


def _covariance(
    entry: Entry,
    weights: Sequence[Connection],
    pairs: Mapping[str, Array],
) -> Array | None:
    """Of the currents of a layer, from the spikes of the layers that feed it."""
    total: Array | None = None
    for connection in weights:
        fed = _fed(connection, pairs)
        gain = number(entry.spiking.input_gain)
        if gain is None or fed is None:
            return None
        part = gain**2 * weight_gain(connection) * fed + bias_gain(connection, entry)
        total = part if total is None else total + part
    return total


def _fed(connection: Connection, pairs: Mapping[str, Array]) -> Array | None:
    """E[x_s x_t] of what enters a weight, through the operations before it."""
    layers = {layer.module: layer for layer in connection.fed_by}

    def known(origin: Any) -> Moments | None:
        layer = layers.get(origin)
        height = None if layer is None else number(layer.height)
        if layer is None or height is None or layer.name not in pairs:
            return None
        spikes = pairs[layer.name]
        return height * np.diagonal(spikes), height**2 * spikes

    flow = connection.flow
    if flow is None:
        flow = source(connection.fed_by[0].module) if len(layers) == 1 else None
    found = None if flow is None else flow.moments(known)
    return None if found is None else found[1]


def _layer(
    neuron: _Neuron, covariance: Array, generator: torch.Generator
) -> tuple[Prediction, Array]:
    covariance = neuron.filtered(covariance)
    unknown = np.full(len(covariance), np.nan)
    step = covariance_map(
        (covariance + covariance.T) / 2,
        1.0,
        leak=float(neuron.leak or 0.0),
        threshold=float(neuron.threshold or 0.0),
        reset=neuron.reset,  # type: ignore[arg-type]
        generator=generator,
    )
    return Prediction(step.rate, step.variance, unknown, unknown), step.covariance


def _spread(
    entries: Sequence[Entry],
    connections: Sequence[Connection],
    currents: Mapping[str, Tensor],
    widths: Mapping[str, int],
    found: dict[str, Prediction],
    networks: int,
    generator: torch.Generator,
) -> None:
    """Fill in the spread over networks along an unbranched chain of layers."""
    chain: list[Entry] = []
    for entry in entries:
        if entry.name not in found:
            if chain:
                break
            continue
        weights = driving(entry, connections)
        if entry.spiking.delay not in (0, 1):
            break
        if len(weights) != 1 or weights[0].parameter.dim() != 2:
            break  # neurons of a convolution share their weights
        if chain and not follows(weights[0], chain[-1], widths):
            break
        chain.append(entry)
    if not chain or chain[0].name not in currents:
        return
    current = currents[chain[0].name].double()
    steps, batch = current.shape[:2]
    rows = current[:, : max(1, SIZE // steps)].flatten(0, 1)
    batch = len(rows) // steps
    covariance = (rows @ rows.T / rows.shape[1]).reshape(steps, batch, steps, batch).numpy()
    layers = []
    for index, entry in enumerate(chain):
        neuron, gain, bias = _Neuron(entry), 0.0, 0.0
        if index + 1 < len(chain):
            (behind,) = driving(chain[index + 1], connections)
            gain = effective_gain(behind, chain[index + 1]) or 0.0
            bias = bias_gain(behind, chain[index + 1])
        layers.append(
            LayerLaw(
                widths[entry.name],
                threshold=float(neuron.threshold or 0.0),
                leak=float(neuron.leak or 0.0),
                reset=neuron.reset,  # type: ignore[arg-type]
                gain=gain,
                bias=bias,
                synapse=float(neuron.synapse or 0.0),
                delay=int(neuron.delay),
            )
        )
    law = network_law(covariance, layers, repeats=networks, generator=generator)
    for index, entry in enumerate(chain):
        found[entry.name].rate_spread = law.rate[:, index].std(0, ddof=1)
        found[entry.name].variance_spread = law.variance[:, index].std(0, ddof=1)
