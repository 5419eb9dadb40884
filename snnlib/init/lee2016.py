r"""Lee et al. 2016: uniform weights of variance 1/n and a threshold that belongs to them.

The weights lie between ±√(3/n) and the threshold is a multiple of that bound,

    w ~ U(−√(3/n), √(3/n)),      θ = α √(3/n),      α > 1,

so that one spike alone cannot fire a neuron.  Only the ratio of weights to threshold matters, so a
network whose threshold is given meets the rule by scaling its weights: G = n θ²/(3 α²).

Source: Lee, Delbruck, Pfeiffer, Training deep spiking neural networks using backpropagation, 2016;
recalled, not re-read, and so is α > 1.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from snnlib._checks import check_positive, scalars
from snnlib.init.connection import Connection, fans
from snnlib.init.method import Method, draw_, driven_neuron, without_synapse

SOURCE = "Lee et al. 2016, recalled, not re-read"


@scalars("fan_in", "alpha")
def threshold(fan_in: int, alpha: float) -> float:
    r"""The threshold θ = α √(3/n) that the paper's rule gives to neurons with weights of gain 1.

    Args:
        fan_in: n >= 1 synapses of a neuron.
        alpha: α > 0; above 1 a single spike does not reach the threshold.

    Returns:
        The threshold.

    Raises:
        ValueError: If an argument is outside its range.

    Source: Lee et al. 2016, recalled, not re-read.

    Example:
        >>> threshold(300, 2.0)
        0.2
    """
    if not fan_in >= 1:
        raise ValueError(f"fan_in must be at least 1, got {fan_in!r}")
    return check_positive("alpha", alpha) * math.sqrt(3.0 / fan_in)


def gain(
    *,
    threshold: float = 1.0,
    fan_in: int | None = None,
    alpha: float | None = None,
    input_gain: float = 1.0,
) -> float:
    r"""G = 1 without α; with it G = n θ²/(3 α² λ²), the threshold rule at a given threshold.

    Args:
        threshold: θ > 0 of the driven neurons.
        fan_in: n >= 1; needed with `alpha`.
        alpha: α > 0 of the threshold rule; None leaves the threshold out of it.
        input_gain: λ > 0, what the neuron multiplies its current with.

    Returns:
        The gain.

    Raises:
        ValueError: If an argument is outside its range or `fan_in` is missing.

    Source: Lee et al. 2016, recalled, not re-read.

    Example:
        At the threshold that the rule asks for the two agree:

        >>> theta = math.sqrt(3 / 1000) * 3
        >>> abs(gain(threshold=theta, fan_in=1000, alpha=3.0) - gain()) < 1e-14
        True
        >>> round(gain(threshold=1.0, fan_in=1000, alpha=3.0), 2)
        37.04
    """
    theta = check_positive("threshold", threshold)
    scale = check_positive("input_gain", input_gain)
    if alpha is None:
        return 1.0
    if fan_in is None:
        raise ValueError("fan_in is needed with alpha: the threshold rule depends on it")
    rule = check_positive("alpha", alpha) * math.sqrt(3.0 / check_positive("fan_in", fan_in))
    return (theta / (scale * rule)) ** 2


@scalars("threshold", "alpha", "input_gain")
def lee2016_(
    weight: Tensor,
    threshold: float = 1.0,
    generator: torch.Generator | None = None,
    *,
    alpha: float | None = None,
    input_gain: float = 1.0,
) -> Tensor:
    r"""Fill a weight in place from U(−√(3G/n), √(3G/n)): G = 1, or the threshold rule's with α.

    Args:
        weight: Weight of a linear layer [out, in] or a convolution [out, in / groups, k, ...].
        threshold: θ > 0 of the driven neurons; plays a part with `alpha` only.
        generator: Random numbers; None is torch's global generator.
        alpha: α > 0; the largest weight is then θ/(α λ).
        input_gain: λ > 0, what the neuron multiplies its current with.

    Returns:
        The weight.

    Raises:
        ValueError: If the weight is empty, an argument is outside its range, or the generator
            lives on another device.

    Source: Lee et al. 2016, recalled, not re-read.

    Example:
        >>> draw = torch.Generator().manual_seed(0)
        >>> weight = lee2016_(torch.empty(500, 400), 1.0, draw, alpha=2.0)
        >>> 0.499 < weight.max().item() <= 0.5
        True
    """
    fan_in, _ = fans(weight)
    value = gain(threshold=threshold, fan_in=fan_in, alpha=alpha, input_gain=input_gain)
    return draw_(weight, value, "uniform", generator)


def _resolve(connection: Connection, **given: Any) -> dict[str, Any]:
    if given.get("alpha") is None:
        return given
    neuron = driven_neuron(connection)
    measured = {"threshold": neuron.threshold, "input_gain": neuron.input_gain}
    return measured | given | {"fan_in": connection.fan_in}


def _remark(connection: Connection, settings: dict[str, Any]) -> str:
    return "" if settings.get("alpha") is None else without_synapse(connection)


METHOD = Method(
    "lee2016",
    SOURCE,
    gain,
    _resolve,
    given=("alpha", "threshold", "input_gain"),
    distribution="uniform",
    remark=_remark,
)
