r"""Weights and surrogate together: a rate forward, and gradients that keep their size and agree.

For L layers and T steps (`snnlib.meanfield.balance`, thresholds as unit):

1. the gain G at which the last of L layers fires with the wanted rate;
2. the largest sharpness s ≤ 1/θ of the surrogate at which the gradients of two unrelated inputs
   have the wanted coherence in the first layer;
3. the height γ at which Σ (dL/du)² over neurons and steps is as large in the first layer as in the
   last, with the reset detached or attached as the neurons have it;
4. the learning rate at which updates of Adam that all agree move a current by 1/25 of its standard
   deviation in one step (`snnlib.init.learning_rate`), whatever the depth.

Three numbers are chosen, not derived: the rate 0.2, from which on the depth over which inputs are
told apart no longer grows with the gain; the coherence 0.1; and the 1/25. The last two are those of
one network of 20 layers of 256 neurons over 4 steps, and then stay.

Source: derived in the book's chapter on which reset to differentiate.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from snnlib._checks import check_positive
from snnlib.init.adam_rate import learning_rate
from snnlib.init.chain import chain_of, one, shared
from snnlib.init.connection import Connection, Layer
from snnlib.init.method import (
    Arranged,
    Feeding,
    Forecast,
    Method,
    driven_neuron,
    with_the_network,
)
from snnlib.meanfield.balance import (
    depth_scale_at,
    fitted_surrogate,
    gain_to_the_top,
    stack_at_rate,
)
from snnlib.resets import Reset
from snnlib.surrogate import Surrogate

SOURCE = "This book; rate, gradient size and coherence over L layers and T steps"

RATE, COHERENCE = 0.2, 0.1
HELP = "more steps, skip connections or a norm help"


def gain(
    *,
    steps: int,
    rate: float = RATE,
    depth: int = 10,
    leak: float = 0.5,
    threshold: float = 1.0,
    reset: Reset = "subtract",
    input_gain: float = 1.0,
    height: float = 1.0,
    input_second_moment: float | None = None,
) -> float:
    r"""G = n·Var[w] at which the last of L layers fires with a wanted rate, averaged over T steps.

    With G* that gain for thresholds, spikes and input gains of 1,

        G = G* θ²/(λ²h²) behind spikes of height h,    G = G* θ²·rate/(λ²E[x²]) behind other values.

    Args:
        steps: T ≥ 1.
        rate: wanted firing probability per step, in (0, 1/2).
        depth: L ≥ 1, layers that weights drive.
        leak: β in [0, 1].
        threshold: θ > 0 of the driven neurons.
        reset: As in `snnlib.neurons.lif`.
        input_gain: λ > 0, what the driven neuron multiplies its current with.
        height: What one spike sends on.
        input_second_moment: E[x²] > 0 of the input if it is not spikes of that rate.

    Returns:
        The gain, with a relative standard error of about 2 %; the same in every call.

    Raises:
        ValueError: If an argument is outside its range, or the rate does not last through so many
            layers.

    Source: derived in the book.

    Example:
        At one step a rate is kept by Eq. 10's gain for that variance, G·rate = θ²/z², Q(z) = rate.

        >>> from scipy.stats import norm
        >>> exact = float(0.8**2 / norm.isf(0.2) ** 2 / 0.2)
        >>> abs(gain(steps=1, threshold=0.8) / exact - 1) < 0.06
        True
    """
    scale = (check_positive("threshold", threshold) / check_positive("input_gain", input_gain)) ** 2
    found = gain_to_the_top(rate, steps=steps, depth=depth, leak=leak, reset=reset) * scale
    if input_second_moment is None:
        return found / check_positive("height", height) ** 2
    return found * rate / check_positive("input_second_moment", input_second_moment)


def _arrange(
    connections: Sequence[Connection],
    given: Sequence[Mapping[str, Any]],
    distributions: Sequence[str],
) -> list[Arranged]:
    chain = chain_of(connections)
    asked = dict(given[0])
    if any(dict(other) != asked for other in given):
        raise ValueError("layers: 'balanced' needs the same settings for all layers")
    coherence = asked.pop("coherence", COHERENCE)
    if "steps" not in asked:
        raise ValueError("steps is needed by 'balanced': pass steps=...")
    neurons = [driven_neuron(connection) for connection in chain]
    leak, reset = shared(neurons)
    common = {"rate": RATE} | asked | {"depth": len(chain), "leak": leak, "reset": reset}
    rate, steps = common["rate"], common["steps"]
    first = chain[0]
    alike = 0.0
    if first.second_moment and first.mean is not None:
        alike = first.mean**2 / first.second_moment
    network = {"steps": steps, "depth": len(chain), "leak": leak, "reset": reset}
    between = gain_to_the_top(rate, **network)
    stack = stack_at_rate(between, rate, **network, alike=alike)
    scale = depth_scale_at(between, steps=steps, leak=leak, reset=reset)
    told, unread = _told_apart(chain, scale)
    own = [_surrogate(connection.drives[0]) for connection in chain]
    modules = [connection.drives[0].module for connection in chain]
    detach = one("detach_reset", [getattr(module, "detach_reset", True) for module in modules])
    shape = own[-1] or Surrogate("arctan")
    fit = fitted_surrogate(stack, shape, coherence, detach_reset=detach)
    result = []
    for k, (connection, neuron) in enumerate(zip(chain, neurons, strict=True)):
        settings = common | {"threshold": neuron.threshold, "input_gain": neuron.input_gain}
        square = rate * _square_height(connection) if connection.fed_by else 1.0
        if k == 0:
            square = square if connection.second_moment is None else connection.second_moment
            settings["input_second_moment"] = square
        else:
            settings["height"] = math.sqrt(square / rate)
        size = _size(connection, rate, square, first=k == 0)
        step = learning_rate(gain(**settings), connection.fan_in, second_moment=square, size=size)
        layer, made = connection.drives[0], _in_units(fit.surrogate, connection.drives[0])
        apart = fit.coherence[k] < 0.9 * coherence
        notes = (
            neuron.note,
            "" if own[k] else f"{_said(made)} to be set by hand",
            f"gradients do not agree here: {HELP}" if apart else "",
            unread[k],
        )
        result.append(
            Arranged(
                settings,
                "; ".join(note for note in notes if note),
                {layer.name: made} if own[k] else {},
                float(stack.rate[k].mean()),
                Forecast(made, fit.size[k], fit.coherence[k], step, told[k]),
            )
        )
    by_name = {connection.name: found for connection, found in zip(chain, result, strict=True)}
    return [by_name[connection.name] for connection in connections]


def _told_apart(
    chain: Sequence[Connection], scale: float | None
) -> tuple[list[float | None], list[str]]:
    """What is left of the difference of two inputs in each layer, and where chance is larger."""
    if scale is None:
        return [None] * len(chain), [""] * len(chain)
    left = [math.exp(-k / scale) for k in range(len(chain))]
    below = [share < 1 / math.sqrt(c.fan_in) for share, c in zip(left, chain, strict=True)]
    note = (
        f"at the start, what tells inputs apart (e times less every {scale:.2g} layers) is below "
        f"chance from here on: layers below must learn first; {HELP}"
    )
    first = below.index(True) if any(below) else None
    return list(left), [note if k == first else "" for k in range(len(chain))]


def _square_height(connection: Connection) -> float:
    _, heights = connection.feeding
    return float(heights.square().mean())


def _size(connection: Connection, rate: float, square: float, *, first: bool) -> float:
    """E|x| of what enters the weight: of the example, of spikes, or of normal values."""
    if first and connection.size is not None:
        return connection.size
    if connection.fed_by:
        _, heights = connection.feeding
        return rate * float(heights.abs().mean())
    return math.sqrt(2 / math.pi * square)


def _surrogate(layer: Layer) -> Surrogate | None:
    """Of a layer whose surrogate can be set: one of ours."""
    own = getattr(layer.module, "surrogate", None)
    return own if isinstance(own, Surrogate) else None


def _in_units(surrogate: Surrogate, layer: Layer) -> Surrogate:
    """From units of the threshold to those of the layer, u/θ − 1 to u − θ."""
    if getattr(layer.module, "threshold_gradient", "absolute") != "absolute":
        return surrogate
    unit = float(layer.threshold.mean())
    return Surrogate(
        surrogate.shape, surrogate.dampening / unit, surrogate.sharpness / unit, surrogate.tail
    )


def _said(surrogate: Surrogate) -> str:
    return (
        f'Surrogate("{surrogate.shape}", dampening={surrogate.dampening:.3g}, '
        f"sharpness={surrogate.sharpness:.3g})"
    )


def _rate(connection: Connection, settings: dict[str, Any]) -> float | None:
    return float(settings.get("rate", RATE))


def _feeding(connection: Connection, settings: dict[str, Any]) -> Feeding | None:
    if not connection.fed_by:
        return None
    rate = settings.get("rate", RATE)
    return Feeding(
        None, rate, settings.get("input_second_moment", rate * _square_height(connection))
    )


METHOD = Method(
    "balanced",
    SOURCE,
    gain,
    with_the_network,
    given=("steps", "rate", "coherence"),
    free=True,
    rate=_rate,
    feeding=_feeding,
    network=_arrange,
)
