"""Rows and facts of a diagnosis, from what was measured and what theory says."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from snnlib.init.norms import Intake
from snnlib.init.pairing import Connection
from snnlib.meanfield import critical_gain
from snnlib.probe.backward import Gradients
from snnlib.probe.capture import Entry
from snnlib.probe.constants import unstable
from snnlib.probe.driving import driving, effective_gain
from snnlib.probe.facts import Facts
from snnlib.probe.layer import LayerDiagnosis
from snnlib.probe.likeness import likeness
from snnlib.probe.prediction import Prediction
from snnlib.probe.statistics import Statistics
from snnlib.probe.tally import Tally

__all__ = ["facts", "row"]


def row(
    index: int,
    entry: Entry,
    found: Statistics,
    predictions: Mapping[str, Prediction],
    missing: Mapping[str, str],
    tally: Tally,
    risks: Mapping[str, float],
) -> LayerDiagnosis:
    """The row of one layer.

    Args:
        index: Its place.
        entry: The layer.
        found: What was measured.
        predictions: What theory says, by layer.
        missing: Why it says nothing, likewise.
        tally: What was taken down.
        risks: Probability of silence at the first step, by layer.

    Returns:
        The row.
    """
    weights = driving(entry, tally.connections)
    undone = any(norm.undoes for c in weights for norm in c.norms)  # gains say nothing there
    gains = [g for c in weights if not undone and (g := effective_gain(c, entry)) is not None]
    fed = [layer for c in weights for layer in c.fed_by]
    threshold = float(entry.spiking.threshold.mean())
    critical = None
    if fed and threshold >= 0 and entry.spiking.synapse is None and not undone:
        critical = float(critical_gain(threshold))
    spikes, reals = 0.0, 0.0
    for c in weights:
        cost = (c.active or 0) * _fan_out(c) / tally.samples
        spikes, reals = (spikes + cost, reals) if c.fed_by else (spikes, reals + cost)
    guess = predictions.get(entry.name)

    def tensor(values: Any) -> Tensor:
        return torch.as_tensor(np.asarray(values), dtype=torch.float64)

    return LayerDiagnosis(
        entry.name,
        tally.width(entry),
        threshold,
        float(entry.spiking.leak.mean()),
        entry.spiking.reset,
        max(gains) if gains else None,
        critical,
        found.rate[index],
        found.variance[index],
        None if found.gradient_variance is None else found.gradient_variance[index],
        None if guess is None else tensor(guess.rate),
        None if guess is None else tensor(guess.variance),
        None if guess is None else tensor(guess.rate_spread),
        None if guess is None else tensor(guess.variance_spread),
        float((~tally.fired[entry.name]).double().mean()),
        risks.get(entry.name),
        spikes,
        reals,
        entry.why or missing.get(entry.name, ""),
    )


def _fan_out(connection: Connection) -> float:
    """Outputs that one nonzero input reaches."""
    weight = connection.weight
    outputs = weight.shape[0] / getattr(connection.module, "groups", 1)
    stride = getattr(connection.module, "stride", ())
    return outputs * math.prod(weight.shape[2:]) / math.prod(stride or (1,))


def facts(
    index: int,
    entry: Entry,
    known: LayerDiagnosis,
    tally: Tally,
    back: Gradients | None,
) -> Facts:
    """What the illnesses of one layer are told from.

    Args:
        index: Its place.
        entry: The layer.
        known: Its row.
        tally: What was taken down.
        back: What flows back; None if it was not asked for.

    Returns:
        The facts.
    """
    weights = driving(entry, tally.connections)
    count, total, squares, top = tally.charge.get(entry.name, [0.0, 0.0, 0.0, math.nan])
    mean = total / count if count else math.nan
    nan, place = math.nan, entry.name.partition("#")[0]
    gain = float(entry.spiking.input_gain.mean())
    intake = next(
        (x.intake for c in tally.connections for x in (*c.fed_by, *c.drives) if x.name == place),
        None,
    )
    images = [c.weight.shape[0] for c in weights if c.parameter.dim() > 2]
    feeds = any(entry.name == layer.name for c in tally.connections for layer in c.fed_by)
    return Facts(
        row=known,
        driven=bool(weights),
        by_data=any(not c.fed_by for c in weights),
        drive=mean,
        fluctuation=math.sqrt(max(squares / count - mean**2, 0.0)) if count else nan,
        largest_drive=top,
        largest=tally.largest.get(entry.name, nan),
        bad=tally.bad.get(entry.name),
        bad_weights=tuple(
            c.name for c in weights if not bool(torch.isfinite(c.parameter.detach()).all())
        ),
        weight_mean=gain
        * sum(
            c.fan_in * float(c.parameter.detach().double().mean()) * (c.mean or 0.0)
            for c in weights
        ),
        bias_mean=gain
        * sum(float(c.bias.detach().double().mean()) for c in weights if c.bias is not None),
        names=tuple(c.name for c in weights),
        square=float(back.square[index].sum()) if back else nan,
        slope=math.sqrt(float(back.slope[index])) if back else nan,
        fed_by=tuple(layer.name for c in weights for layer in c.fed_by),
        synapse=entry.spiking.synapse is not None,
        potentials=tally.potentials.get(entry.name, torch.zeros(0, dtype=torch.float64)),
        shape=_shape(entry),
        library=entry.spiking.library,
        likeness=likeness(torch.cat(tally.spikes[entry.name])),
        coherence=float(back.coherence[index]) if back else nan,
        feeds=feeds,
        read=entry.spiking.reset == "none" and not feeds and bool(weights),
        unstable=unstable(entry),
        norms=tuple({n.name: None for c in weights for n in c.norms if n.undoes}),
        between=_between(intake),
        bias=_shiftable(weights, intake),
        biased=any(c.bias is not None for c in weights),
        scale=gain,
        affine=_affine(weights, intake),
        channels=images[0] if images else 0,
        set_threshold=_threshold_call(entry),
        lively=_lively(tally.potentials.get(entry.name)),
    )


def _between(intake: Intake | None) -> str:
    """What lies between weights and neurons, but for normalizations and sums of weighted values."""
    if intake is None or intake.flow is None or intake.weighted_sum:
        return ""
    plain = ("normalization", "sum", "mix", "affine", "source")
    kept = [node for node in intake.flow.walk() if node.kind not in plain]
    words = [node.words().split(", ")[0] for node in kept]
    if intake.others and not words:
        return f"sums with {', '.join(intake.others)}"
    return ", ".join(dict.fromkeys(word for word in words if word))


def _shiftable(weights: Sequence[Connection], intake: Intake | None) -> str:
    """The weight whose bias would shift the currents as it is, through a max pool."""
    if len(weights) != 1 or intake is None or intake.flow is None:
        return ""
    if weights[0].parameter is not getattr(weights[0].module, "weight", None):
        return ""
    kinds = [node.kind for node in intake.flow.walk()]
    return weights[0].name if kinds == ["max pooling", "source"] else ""


def _affine(weights: Sequence[Connection], intake: Intake | None) -> bool:
    """Whether a layer that no weight drives gets data as they are, up to a factor and an offset."""
    if intake is None or intake.flow is None:
        return not weights
    return all(node.kind in ("source", "affine", "mix") for node in intake.flow.walk()) and (
        intake.others == ("data",)
    )


def _threshold_call(entry: Entry) -> str:
    """The call that sets a layer's threshold."""
    path = f'model.get_submodule("{entry.name.partition("#")[0]}")'
    if entry.spiking.library == "norse":
        return f"m = {path}; m.p = m.p._replace(v_th=torch.tensor({{}}))"
    names = {"spikingjelly": "v_threshold", "snnlib": "fixed_threshold"}
    name = names.get(entry.spiking.library, "threshold")
    value = getattr(entry.module, name, None)
    if isinstance(value, Tensor):
        return f"{path}.{name}.data.fill_({{}})"
    return f"{path}.{name} = {{}}" if isinstance(value, int | float) else ""


def _lively(potentials: Tensor | None) -> float:
    """What a tenth of the potentials exceeds at the last step, or half of the few above 0."""
    if potentials is None:
        return math.nan
    finite = potentials[torch.isfinite(potentials)]
    above = finite[finite > 0]
    if not above.numel():
        return math.nan
    return 0.99 * max(float(finite.quantile(0.9)), min(float(above.median()), float(above.max())))


def _shape(entry: Entry) -> str:
    """Shape of our surrogate, else one that the other library has."""
    known = getattr(getattr(entry.module, "surrogate", None), "shape", None)
    return known or ("sigmoid" if entry.spiking.library == "norse" else "arctan")
