r"""What mean-field theory says a network should do, from what is measured at its first layer.

From the first spiking layer that is driven by weights on, the currents of a layer over its
neurons are taken as Gaussian with the covariance over time

    C_l(s, t) = λ² Σ_c h² G_c E[x_s x_t] + λ² Var[b],      G_c = n·E[w²] measured,

summed over the weights c that drive it; E[x_s x_t] is that of the feeding layer, predicted in
turn. The covariance of layers that data drive is measured, and so are the spikes of layers that
theory does not reach: recurrent or adaptive ones, those that no weight drives, those with a mean
current. The spread at finite width is that of `snnlib.meanfield.network_law`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from snnlib.init.pairing import Connection
from snnlib.meanfield import LayerLaw, covariance_map, network_law
from snnlib.probe.capture import Entry
from snnlib.probe.driving import bias_gain, driving, effective_gain, follows, number
from snnlib.resets import RULES

__all__ = ["Prediction", "predict"]

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

    def filtered(self, covariance: Array) -> Array:
        """Of what charges the membrane, given that of the currents."""
        steps = np.arange(len(covariance))
        lag = steps[:, None] - steps
        kernel = np.where(lag >= 0, float(self.synapse or 0.0) ** np.maximum(lag, 0), 0.0)
        late = np.vstack([np.zeros_like(kernel[:1]), kernel[:-1]])
        kernel = (1 - self.delay) * kernel + self.delay * late
        filtered: Array = kernel @ covariance @ kernel.T
        return filtered


def predict(
    entries: Sequence[Entry],
    connections: Sequence[Connection],
    covariances: Mapping[str, Array],
    measured: Callable[[str], Array],
    currents: Mapping[str, Tensor],
    widths: Mapping[str, int],
    *,
    shifted: Collection[str] = (),
    changed: Collection[str] = (),
    networks: int,
    generator: torch.Generator,
) -> tuple[dict[str, Prediction], dict[str, str]]:
    """Predict every layer that the theory reaches.

    Args:
        entries: The layers in the order of execution.
        connections: What `pair` found.
        covariances: λ²E[i_s i_t] measured at layers that weights drive, by name.
        measured: E[x_s x_t] of a layer, taken where it is not predicted.
        currents: λi likewise, [T, batch, neurons].
        widths: Neurons of each layer.
        shifted: Layers whose currents have a mean: theory says nothing of them.
        changed: Layers that are predicted from their measured currents, as those after data.
        networks: How many networks of this width are drawn for the spread.
        generator: Random numbers.

    Returns:
        Predictions by layer, and why there is none for the others.
    """
    found: dict[str, Prediction] = {}
    missing: dict[str, str] = {}
    pairs: dict[str, Array] = {}
    twice = {e.name.partition("#")[0] for e in entries if "#" in e.name}
    for entry in entries:
        weights = driving(entry, connections)
        neuron = _Neuron(entry)
        why = ""
        if not weights:
            why = "data drive it directly"
        elif entry.name.partition("#")[0] in twice:
            why = "its module is used at several places"
        elif other := _beyond(entry, weights):
            why = other
        elif entry.name in shifted:
            why = "its currents have a mean, and the theory is of none"
        elif not neuron.known or entry.why:
            why = entry.why or "its threshold, leak or reset is not one number"
        else:
            if entry.name in changed or any(not c.fed_by for c in weights):
                covariance = covariances.get(entry.name)
            else:
                covariance = _covariance(entry, weights, pairs)
            if covariance is None:
                why = "no prediction for what feeds it"
            else:
                found[entry.name], pairs[entry.name] = _layer(neuron, covariance, generator)
        if why:
            missing[entry.name] = why
            pairs[entry.name] = measured(entry.name)
    if networks > 0:
        reached = [e for e in entries if e.name in found]
        cut = [k for k, e in enumerate(reached) if k and e.name in changed]
        chain = reached[: cut[0]] if cut else reached
        if chain and chain[0].name in covariances:  # where it starts from the network itself
            _spread(chain, connections, currents, widths, found, networks, generator)
    return found, missing


def _beyond(entry: Entry, weights: Sequence[Connection]) -> str:
    """Why the theory does not reach a layer although its potential is known; empty if it does."""
    if any(c.recurrent for c in weights) or entry.spiking.recurrent:
        return "it has recurrent weights"
    return entry.spiking.why if entry.spiking.library == "snnlib" else ""


def _covariance(
    entry: Entry,
    weights: Sequence[Connection],
    pairs: Mapping[str, Array],
) -> Array | None:
    """Of the currents of a layer, from the spikes of the layers that feed it."""
    total: Array | None = None
    for connection in weights:
        gain = effective_gain(connection, entry)
        if gain is None or len(connection.fed_by) != 1 or connection.fed_by[0].name not in pairs:
            return None
        fed = pairs[connection.fed_by[0].name]
        part = gain * fed + bias_gain(connection, entry)
        total = part if total is None else total + part
    return total


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
