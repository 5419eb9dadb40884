r"""Micheli et al. 2024: keep Var[u] = 1 through layers of spikes.

With n zero-mean independent weights and inputs x, Var[u] = n·Var[w]·E[x²]. Spikes are 0 or 1, so
E[x²] = P(u > θ), the probability that a neuron of the feeding layer fires, and Var[u] = 1 asks for

    Var[w] = 1 / (n P(u > θ)),      u ~ N(0, 1),      G = n·Var[w] = 1 / P(u > θ).

The paper's neurons add their whole current to the potential. A neuron that adds λ times its current
has Var[u] = λ²·n·Var[w]·E[x²], and the gain is divided by λ².

Source: Micheli, Booij, van Gemert, Tömen, Deep activity propagation via weight initialization in
spiking neural networks, Eqs. 7-10 and 12.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from snnlib._checks import check_positive
from snnlib.init.connection import Connection
from snnlib.init.method import Feeding, Method, driven_neuron, normal_, sharing
from snnlib.meanfield import firing_probability

SOURCE = "Micheli et al. 2024, Eq. 10"


def second_moment(threshold: float | Tensor, height: float | Tensor = 1.0) -> float:
    r"""E[x²] of spikes of a given height sent by neurons of unit variance: mean of h²·P(u > θ).

    Args:
        threshold: θ >= 0, a number or one per neuron or channel (then the mean is taken).
        height: What one spike sends on; 1, or θ under the threshold-robust gradient.

    Returns:
        E[x²], at most 1/2 for height 1.

    Raises:
        ValueError: If a threshold is negative or NaN.

    Source: Micheli et al. 2024, Eqs. 8 and 12.

    Example:
        >>> from math import erfc, sqrt
        >>> abs(second_moment(0.8) - erfc(0.8 / sqrt(2)) / 2) < 1e-15
        True
        >>> second_moment(torch.tensor([0.0, 50.0]))
        0.25
    """
    theta, size = (
        torch.as_tensor(x, dtype=torch.float64).detach().cpu() for x in (threshold, height)
    )
    if theta.numel() == 0 or not bool((theta >= 0).all()):
        raise ValueError(f"threshold must be >= 0 (and not NaN), got {threshold!r}")
    probability = np.asarray(firing_probability(theta.numpy()))
    return float((size.numpy() ** 2 * probability).mean())


def gain(
    *,
    threshold: float | Tensor = 1.0,
    height: float | Tensor = 1.0,
    input_second_moment: float | None = None,
    input_gain: float = 1.0,
) -> float:
    r"""G = n·Var[w] that keeps Var[u] = 1: 1/P(u > θ) after spikes, 1/E[x²] after real values.

    Args:
        threshold: θ >= 0 of the layer that feeds the weight.
        height: What one of its spikes sends on.
        input_second_moment: E[x²] > 0 of the input if it is not spikes; threshold and height
            then play no part.
        input_gain: λ > 0, what the driven neuron multiplies its current with; divides G by λ².

    Returns:
        The gain; 2, Kaiming's, at threshold 0.

    Raises:
        ValueError: If an argument is outside its range, or no neuron ever fires.

    Source: Micheli et al. 2024, Eq. 10 (Eq. 7 with Var[u] = 1 for real values).

    Example:
        >>> gain(threshold=0.0)
        2.0
        >>> round(gain(threshold=1.0), 4)
        6.303
    """
    scale = check_positive("input_gain", input_gain) ** 2
    if input_second_moment is None:
        moment = second_moment(threshold, height)
        if moment < 1e-300:  # near the smallest normal double: 1/E[x²] must stay finite
            raise ValueError(
                f"threshold must let some neuron fire (feasible: 0 <= threshold <= 37), "
                f"got {threshold!r}"
            )
        return 1.0 / (scale * moment)
    if not 1e-300 < input_second_moment < float("inf"):
        raise ValueError(
            f"input_second_moment must be positive and finite, got {input_second_moment!r}"
        )
    return 1.0 / (scale * float(input_second_moment))


def micheli2024_(
    weight: Tensor,
    threshold: float | Tensor = 1.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""Fill a weight in place from N(0, 1 / (n P(u > θ))), for a layer that receives spikes.

    n is the fan-in, torch's own count: k·k·c_in for a convolution (per group), and
    P(u > θ) = ½·erfc(θ/√2) is the firing probability of the layer that feeds the weight.

    Args:
        weight: Weight of a linear layer [out, in] or a convolution [out, in / groups, k, ...].
        threshold: θ >= 0 of the neurons that feed the weight, a number or one per neuron. Other
            units of the potential: pass θ/√Var[u].
        generator: Random numbers; None is torch's global generator.

    Returns:
        The weight.

    Raises:
        ValueError: If the weight is empty, the threshold is negative, NaN or so large that no
            neuron ever fires, or the generator lives on another device.

    Source: Micheli et al. 2024, Eq. 10.

    Example:
        >>> weight = micheli2024_(torch.empty(500, 800), 1.0, torch.Generator().manual_seed(0))
        >>> expected = 1 / (800 * second_moment(1.0))
        >>> abs(weight.var().item() / expected - 1) < 5 * (2 / weight.numel()) ** 0.5
        True
    """
    return normal_(weight, gain(threshold=threshold), generator)


def _resolve(connection: Connection, **given: Any) -> dict[str, Any]:
    """Threshold and spike height of what feeds the weight, or E[x²] of data (1 if unknown)."""
    own = driven_neuron(connection).first_gain if connection.drives else 1.0
    scale = given.get("input_gain", own)
    settings: dict[str, Any] = {} if scale == 1 else {"input_gain": scale}
    if connection.fed_by:
        threshold, height = connection.feeding
        return {"threshold": given.get("threshold", threshold), "height": height} | settings
    measured = connection.second_moment
    moment = given.get("input_second_moment", 1.0 if measured is None else measured)
    return {"input_second_moment": moment} | settings


def _feeding(connection: Connection, settings: dict[str, Any]) -> Feeding | None:
    """Spikes of neurons of unit variance."""
    if not connection.fed_by:
        return None
    thresholds = torch.as_tensor(settings["threshold"], dtype=torch.float64)
    return Feeding(
        thresholds.mean().item(),
        second_moment(thresholds),
        second_moment(thresholds, settings["height"]),
    )


def _remark(connection: Connection, settings: dict[str, Any]) -> str:
    if not connection.drives:
        return ""
    neuron = driven_neuron(connection)
    notes = [neuron.note, sharing(connection)]
    if neuron.synapse is not None:
        notes.append("unit variance at the first step only, the synaptic current adds to it later")
    return "; ".join(note for note in notes if note)


METHOD = Method(
    "micheli2024",
    SOURCE,
    gain,
    _resolve,
    given=("threshold", "input_second_moment", "input_gain"),
    free=True,
    feeding=_feeding,
    remark=_remark,
)
