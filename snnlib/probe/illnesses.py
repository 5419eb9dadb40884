r"""The illnesses of spiking networks, each told from the measured facts of the layers.

Every function looks for one illness and returns what it found; a layer is blamed where the illness
starts, not where it shows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from scipy.optimize import brentq

from snnlib.meanfield import matched_sharpness
from snnlib.probe.facts import Facts, Finding
from snnlib.probe.remedies import initialize, livelier, shifted_back
from snnlib.probe.telling import gradients_apart, inputs_alike
from snnlib.surrogate import Surrogate

__all__ = ["Facts", "Finding", "findings"]

LOG_SHARPNESS = 7.0
MISSES = 0.07  # root mean square of a surrogate's slope below which it misses the potentials


def findings(layers: Sequence[Facts]) -> list[Finding]:
    """All illnesses, causes before their consequences.

    Args:
        layers: The facts in the order of execution.

    Returns:
        A list, empty for a healthy network.
    """
    ill = _unstable(layers)
    broken = _not_finite(layers)
    if broken:
        # What comes behind a value that is not finite says nothing about the network.
        layers = [f for f in layers if f.bad is None][: _place(layers, broken[0].layer)]
    result = [*ill, *broken]
    for look in CAUSES:
        result += look(layers)
    if not any(finding.kind in ("dead", "weak input", "negative drive") for finding in result):
        for look in CONSEQUENCES:  # which follow by themselves where activity has died
            result += look(layers)
    return result


def _place(layers: Sequence[Facts], name: str) -> int:
    return next(k for k, facts in enumerate(layers) if facts.row.name == name)


def _which(layers: Sequence[Facts], k: int) -> str:
    return f"layer {layers[k].row.name} ({k + 1} of {len(layers)})"


def _unstable(layers: Sequence[Facts]) -> list[Finding]:
    found = [(k, f, f.unstable) for k, f in enumerate(layers) if f.unstable is not None]
    if not found:
        return []
    k, f, first = found[0]
    same = [f.row.name for _, f, other in found[1:] if other.sentence == first.sentence]
    also = f"; the same holds for {', '.join(same)}" if same else ""
    sentence = f"{_which(layers, k)}: {first.sentence}{also}"
    calls = dict.fromkeys(other.remedy for _, _, other in found if "=" in other.remedy)
    calls = calls or dict.fromkeys([first.remedy])
    remedy = "; ".join(call for _, _, other in found if (call := other.remedy) in calls)
    return [Finding("unstable constant", f.row.name, None, sentence, remedy)]


def _not_finite(layers: Sequence[Facts]) -> list[Finding]:
    sick = [(f.bad[0], k, f) for k, f in enumerate(layers) if f.bad is not None]
    if not sick:
        return []
    step, k, facts = min(sick, key=lambda found: found[:2])
    assert facts.bad is not None
    where = f"{_which(layers, k)} at step {step}"
    if facts.bad_weights:
        why = f"the weight of {', '.join(facts.bad_weights)} holds NaN or infinity"
        remedy = initialize(layers)
        if not facts.feeds:  # an output's weights are left otherwise
            remedy = remedy.replace("example=batch", 'example=batch, readout="draw"')
    elif facts.bad[1] == "current" and not facts.fed_by:
        why = "its input holds NaN or infinity there"
        remedy = "batch = batch.nan_to_num(0.0, 0.0, 0.0)  # or clean the data"
    else:
        why = "its potential outgrows the number format"
        call = initialize(layers) if facts.driven else "batch = batch / batch.abs().max()"
        remedy = f"{call}  # and a leak below 1 and a reset"
    sentence = f"the first value that is not finite is a {facts.bad[1]} of {where}: {why}"
    return [Finding("not finite", facts.row.name, step, sentence, remedy)]


def _exploding_potential(layers: Sequence[Facts]) -> list[Finding]:
    for k, f in enumerate(layers):
        # Methods give potentials unit variance: below a threshold of 1 that is the scale.
        scale = max(f.row.threshold, 1.0)
        above = f.row.threshold > 0
        times = f"{f.largest / f.row.threshold:.3g} times the " if above else "at "
        if f.largest > 100 * scale:
            gain = "" if f.row.gain is None else f" (gain {f.row.gain:.3g})"
            sentence = (
                f"potentials of {_which(layers, k)} reach {f.largest:.3g}, "
                f"{times}threshold {f.row.threshold:.3g}{gain}"
            )
            remedy = initialize(layers, f) if f.driven else livelier(f)
            return [Finding("exploding potential", f.row.name, None, sentence, remedy)]
    return []


def _weak_input(layers: Sequence[Facts]) -> list[Finding]:
    for k, f in enumerate(layers):
        if f.driven and not f.by_data:
            continue
        if not f.largest_drive <= f.row.threshold:
            continue
        # Many weak inputs are meant to add up; a leak of 0.9 may be one in single precision.
        sums = f.driven or f.synapse or f.row.leak >= 0.9 - 1e-6
        if sums and not f.silent and f.rate >= 0.01:
            continue
        reach = "never fires" if f.silent else "fires only where several steps add up"
        if not f.driven and not f.affine and not f.silent and f.rate >= 0.01:
            continue  # currents bounded by construction, which do add up
        made = f" (they are {f.between})" if not f.driven and f.between else ""
        sentence = (
            f"the currents of {_which(layers, k)}{made} reach at most {f.largest_drive:.3g}, not "
            f"its threshold {f.row.threshold:.3g}, so it {reach}"
        )
        remedy = initialize(layers, f) if f.driven else livelier(f)
        return [Finding("weak input", f.row.name, 0, sentence, remedy)]
    return []


def _first_silent(layers: Sequence[Facts]) -> int | None:
    return next((k for k, f in enumerate(layers) if f.silent and not f.read), None)


def _dead(layers: Sequence[Facts]) -> list[Finding]:
    k = _first_silent(layers)
    if k is None:
        return []
    f = layers[k]
    if (not f.driven or f.by_data) and f.largest_drive <= f.row.threshold:
        return []  # weak input
    if _pulled(f) and f.drive < 0:
        return []  # negative drive
    gain, critical = f.row.gain, f.row.critical_gain
    if gain is not None and critical is not None and gain < critical:
        sentence = (
            f"gain {gain:.3g} is below the critical gain {critical:.3g} at threshold "
            f"{f.row.threshold:.3g}: activity dies by {_which(layers, k)}"
        )
    elif not math.isfinite(f.fluctuation):
        sentence = (
            f"activity dies by {_which(layers, k)}: {f.row.note or 'its currents are unknown'}"
        )
    else:
        sentence = (
            f"activity dies by {_which(layers, k)}: its currents have a standard deviation of "
            f"{f.fluctuation:.3g} at threshold {f.row.threshold:.3g}"
        )
        if f.norms:
            sentence += f", which is the scale of {', '.join(f.norms)} and not that of its weights"
    remedy = initialize(layers, f) if f.driven else livelier(f)
    if f.synapse:  # spikes get fewer from layer to layer; a lower rate asks for a higher gain
        remedy += "  # if that was done, with rate=0.02"
        late = _late(layers[:k])
        if late is not None:
            sentence += (
                "; behind synapses each layer starts some steps after the one before, layer "
                f"{layers[k - 1].row.name} at step {late}"
            )
            remedy += f", or more than {len(f.row.rate)} time steps"
    return [Finding("dead", f.row.name, None, sentence, remedy)]


def _late(before: Sequence[Facts]) -> int | None:
    """First step with spikes of the last of these layers, if steps run out on the way to it."""
    if not before or not before[-1].synapse:
        return None
    rate = before[-1].row.rate
    start = int((rate > 0).int().argmax())
    return start if start > len(rate) / 2 else None


def _dies_later(layers: Sequence[Facts]) -> list[Finding]:
    for k, f in enumerate(layers):
        rate = f.row.rate[~torch.isnan(f.row.rate)]
        active = (rate > 0).nonzero().flatten()
        if len(rate) < 3 or not len(active) or int(active[-1]) == len(rate) - 1:
            continue
        last = int(active[-1])
        silent = len(rate) - 1 - last
        expected = float(rate[: last + 1].mean()) * f.row.width * silent
        if expected < 20:  # too few spikes to tell silence from chance
            continue
        sentence = (
            f"{_which(layers, k)} fires with rate {float(rate[: last + 1].mean()):.3g} up to step "
            f"{last} and never again in the {silent} steps after it"
        )
        call = 'snnlib.init.initialize_(model, "mean_field", rate=0.2, '
        remedy = f"{call}steps={len(rate)}, example=batch)"
        if f.by_data or not f.driven:  # what comes in has ended
            again = f"batch = batch[torch.arange(len(batch)) % {last + 1}]"
            remedy = f"{again}; {remedy}" if f.driven else again
            remedy += "  # an input at every step"
        return [Finding("dies later", f.row.name, last + 1, sentence, remedy)]
    return []


def _saturated(layers: Sequence[Facts]) -> list[Finding]:
    for k, f in enumerate(layers):
        if f.rate > 0.9:
            sentence = (
                f"{_which(layers, k)} fires in {f.rate:.1%} of all steps: it tells no two inputs "
                "apart"
            )
            remedy = initialize(layers, f) if f.driven else livelier(f)
            return [Finding("saturated", f.row.name, None, sentence, remedy)]
    return []


def _pulled(f: Facts) -> bool:
    """Whether the mean of the currents outweighs their fluctuation and matters at the threshold."""
    if not f.driven or not math.isfinite(f.drive):
        return False
    units = f.row.width if f.between else f.channels or f.row.width  # a pool's shift is no chance
    chance = 0.5 + 4 / math.sqrt(units)
    leak = min(f.row.leak, 0.9) if math.isfinite(f.row.leak) else 0.0
    settled = abs(f.drive) / (1 - leak)
    return abs(f.drive) > chance * f.fluctuation and settled > 0.25 * f.row.threshold


def _mean_drive(layers: Sequence[Facts]) -> list[Finding]:
    for k, f in enumerate(layers):
        if not _pulled(f):
            continue
        sign = "positive" if f.drive > 0 else "negative"
        remedy = initialize(layers, f)
        if f.norms and not f.between:
            cause = f"the shift of {', '.join(f.norms)} is their mean"
        elif abs(f.weight_mean + f.bias_mean - f.drive) > 0.5 * abs(f.drive):
            what = f.between or "something"
            cause = f"{what} between {', '.join(f.names)} and the layer shifts them"
            remedy = shifted_back(f)
        elif abs(f.weight_mean) >= abs(f.bias_mean):
            cause = (
                f"weights of {', '.join(f.names)} have a mean, n·E[w]·E[x] = {f.weight_mean:.3g}"
            )
        else:
            cause = f"biases of {', '.join(f.names)} have the mean {f.bias_mean:.3g}"
        effect = "towards constant firing" if f.drive > 0 else "below the threshold"
        sentence = (
            f"the currents of {_which(layers, k)} have the mean {f.drive:.3g} beside a standard "
            f"deviation of {f.fluctuation:.3g}, which pulls it {effect}: {cause}"
        )
        return [Finding(f"{sign} drive", f.row.name, None, sentence, remedy)]
    return []


def _silent_neurons(layers: Sequence[Facts]) -> list[Finding]:
    found = [(f.row.never, k) for k, f in enumerate(layers) if not f.silent and f.row.never > 0.95]
    if not found:
        return []
    never, k = max(found)
    f = layers[k]
    sentence = (
        f"{never:.1%} of the neurons of {_which(layers, k)} fire in no sample at no step; "
        f"those that do carry a rate of {f.rate:.3g}"
    )
    remedy = initialize(layers, f) if f.driven else livelier(f)
    return [Finding("silent neurons", f.row.name, None, sentence, remedy)]


def _extinction_risk(layers: Sequence[Facts]) -> list[Finding]:
    if _first_silent(layers) is not None:
        return []
    for k, f in enumerate(layers):
        risk = f.row.extinction
        # Few outputs may be silent at times, and layers that sum up first fire later.
        if risk is not None and risk > 0.01 and f.feeds and float(f.row.rate[0]) > 0:
            width = min(g.row.width for g in layers[: k + 1])
            sentence = (
                f"at this width (down to {width} neurons) a sample leaves {_which(layers, k)} "
                f"silent at the first step with probability {risk:.2g} over weights drawn anew"
            )
            remedy = (
                'snnlib.init.initialize_(model, "mean_field", rate=0.3, '
                f"steps={len(f.row.rate)}, example=batch)  # or wider layers, or a lower threshold"
            )
            return [Finding("extinction risk", f.row.name, 0, sentence, remedy)]
    return []


def _surrogate(layers: Sequence[Facts]) -> list[Finding]:
    for k, f in reversed(list(enumerate(layers))):  # where the way back begins
        if not f.silent and f.slope < MISSES:
            deviation = float(f.row.variance[~torch.isnan(f.row.variance)][-1:].sqrt().sum())
            sentence = (
                f"the surrogate of {_which(layers, k)} misses its potentials: its slope has the "
                f"root mean square {f.slope:.2g} where the potentials (standard deviation "
                f"{deviation:.2g}, threshold {f.row.threshold:.3g}) are"
            )
            gradient = _gradient(layers)  # one surrogate for both
            remedy = gradient[0].remedy if gradient else _matched(f)
            return [Finding("surrogate misses", f.row.name, None, sentence, remedy)]
    return []


def _matched(f: Facts) -> str:
    """A surrogate under which gradients keep their size at unit variance of the potentials."""
    try:
        sharpness = matched_sharpness(f.shape, f.row.threshold)
    except ValueError:  # no neuron fires at this threshold
        return livelier(f._replace(affine=False))
    return _call(f, sharpness)


def _call(f: Facts, sharpness: float) -> str:
    """Gives all layers one surrogate."""
    made = f'snnlib.surrogate.Surrogate("{f.shape}", sharpness={sharpness:.3g})'
    return f"snnlib.interop.set_surrogate_(model, {made})"


def _gradient(layers: Sequence[Facts]) -> list[Finding]:
    reached = [(k, f) for k, f in enumerate(layers) if math.isfinite(f.square)]
    while reached and reached[-1][1].square == 0:  # nothing depends on these
        reached.pop()
    if len(reached) < 2:
        return []
    (first, low), (last, high) = reached[0], reached[-1]
    middle = reached[len(reached) // 2][1]
    # Summed over neurons: a wide layer shares among more what comes back to it.
    ratio = low.square * low.row.width / (high.square * high.row.width)
    if 1e-4 <= ratio <= 1e4:
        return []
    factor = ratio ** (1 / (last - first))
    kind = "vanishing gradient" if ratio < 1 else "exploding gradient"
    sentence = (
        f"Σ (dL/du)² over neurons and steps is {low.square * low.row.width:.2g} in "
        f"{_which(layers, first)} and {high.square * high.row.width:.2g} in "
        f"{_which(layers, last)}: a factor of {factor:.3g} a layer on the way back"
    )
    return [Finding(kind, low.row.name, None, sentence, _balanced(middle, factor, layers))]


def _balanced(f: Facts, factor: float, layers: Sequence[Facts]) -> str:
    """A surrogate under which the gradient keeps its size, from the potentials as measured.

    One step asks for E[σ'²] divided by the factor; products of several steps fall faster, which
    the exponent 3/4 allows for; nor may it miss the potentials. Where no surrogate of height 1
    does, the one of unit variance.
    """
    potentials = f.potentials[torch.isfinite(f.potentials)]
    target = max(f.slope**2 / factor**0.75, 2 * MISSES**2) if factor > 0 else math.inf

    def excess(log_sharpness: float) -> float:
        surrogate = Surrogate(f.shape, sharpness=math.exp(log_sharpness))
        slopes = surrogate.derivative(potentials - f.row.threshold)
        return float(slopes.square().mean()) - target

    if not len(potentials) or not excess(LOG_SHARPNESS) < 0 < excess(-LOG_SHARPNESS):
        return f"{_matched(f)}; {initialize(layers)}"
    return _call(f, math.exp(brentq(excess, -LOG_SHARPNESS, LOG_SHARPNESS, xtol=1e-4)))


def _gradients_apart(layers: Sequence[Facts]) -> list[Finding]:
    """Unless the surrogate is wrong by itself, which goes first."""
    return [] if _surrogate(layers) or _gradient(layers) else gradients_apart(layers)


Look: TypeAlias = Callable[[Sequence[Facts]], list[Finding]]
CAUSES: tuple[Look, ...] = (
    _exploding_potential,
    _weak_input,
    _mean_drive,
    _dead,
    _dies_later,
    _saturated,
)
CONSEQUENCES: tuple[Look, ...] = (
    _silent_neurons,
    _extinction_risk,
    _surrogate,
    _gradient,
    inputs_alike,
    _gradients_apart,
)
