r"""Zenke & Vogels 2021: uniform weights between ±1/√n.

A uniform number on ±b has the variance b²/3, so the gain is 1/3, the one of torch's own default
for linear layers and convolutions.

Source: Zenke, Vogels, The remarkable robustness of surrogate gradient learning for instilling
complex function in spiking neural networks, 2021; its initialization is quoted from
Herranz-Celotti & Rouat 2022, section 2.3 and not re-read in the paper itself.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from snnlib.init.connection import Connection
from snnlib.init.method import Method, draw_

SOURCE = "Zenke & Vogels 2021, quoted second-hand"


def gain() -> float:
    r"""G = 1/3.

    Source: Zenke & Vogels 2021, as quoted by others.

    Example:
        >>> default = torch.nn.Linear(300, 700).weight.detach()
        >>> abs(300 * default.square().mean().item() / gain() - 1) < 0.02
        True
    """
    return 1.0 / 3.0


def zenke2021_(weight: Tensor, generator: torch.Generator | None = None) -> Tensor:
    r"""Fill a weight in place from U(−1/√n, 1/√n), n its fan-in.

    Args:
        weight: Weight of a linear layer [out, in] or a convolution [out, in / groups, k, ...].
        generator: Random numbers; None is torch's global generator.

    Returns:
        The weight.

    Raises:
        ValueError: If the weight is empty or the generator lives on another device.

    Source: Zenke & Vogels 2021, as quoted by others.

    Example:
        >>> weight = zenke2021_(torch.empty(500, 400), torch.Generator().manual_seed(0))
        >>> weight.abs().max().item() <= 400**-0.5
        True
        >>> abs(3 * 400 * weight.var().item() - 1) < 0.02
        True
    """
    return draw_(weight, gain(), "uniform", generator)


def _resolve(connection: Connection, **given: Any) -> dict[str, Any]:
    return given


METHOD = Method("zenke2021", SOURCE, gain, _resolve, distribution="uniform")
