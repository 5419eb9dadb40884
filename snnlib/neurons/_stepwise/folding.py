r"""The soft reset as a part of the recurrent weights: a spike inhibits its own neuron by θ.

Where the carry is linear in the spike, carry = β u + j x with a jump j that is the same for all
samples, the reset and the recurrent product are one product,

    β u[t-1] + j x[t-1] + W x[t-1] = β u[t-1] + W' x[t-1],      W' = W + diag(j),

with j = -θ for `"subtract"`, j = -βθ for `"subtract_leak"` and j = 0 for `"none"`. Two passes over
the potentials less a step; the sum is taken in another order, so that potentials differ from the
plain loop's by the rounding of the product, and spikes only where u is that close to θ.

On the way back an attached reset adds j λ[t+1] to δ[t], which W' does likewise: λ W + j λ = λ W'.
A detached reset adds nothing: there the way back takes W, and W' is never seen by autograd.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from snnlib.neurons._stepwise.products import adjusts
from snnlib.resets import RULES

LINEAR = ("subtract", "subtract_leak", "none")
"""Resets whose carry is linear in potential and spike."""

FOLD = True
"""Whether resets are folded at all."""


def folded(weight: Tensor, reset: str, threshold: Any, leak: Any, like: Tensor) -> Tensor | None:
    """The weights W' that reset as well, [n, n]; None if the reset stays a step of its own.

    Args:
        weight: W, [n, n].
        reset: Its name.
        threshold: θ, a number or a tensor that broadcasts to [batch, n].
        leak: β, likewise.
        like: A trajectory [T, batch, n].
    """
    if not FOLD or reset not in LINEAR or not adjusts(like) or not _full_precision():
        return None
    by_spikes = RULES[reset].by_spikes
    if by_spikes is None:
        return weight
    jump = by_spikes(None, None, threshold, leak)
    if isinstance(jump, Tensor):
        if jump.dim() > 1 and jump.shape[0] != 1:
            return None  # another one for every sample
        jump = jump.reshape(-1)
    weight = weight.clone()
    weight.diagonal().add_(jump)
    return weight


def _full_precision() -> bool:
    """Whether products keep all bits of float32; else they would round the threshold, too."""
    matmul = getattr(torch.backends.mkldnn, "matmul", None)
    if matmul is not None and hasattr(matmul, "fp32_precision"):
        return matmul.fp32_precision in ("none", "ieee")
    return torch.get_float32_matmul_precision() == "highest"
