r"""The three recurrent products: spikes into the next step, gradients back, and all steps at once.

Where few neurons fire, x Wᵀ is a sum of the columns of W that the spikes name, and Σ_t (g λ)ᵀ x a
sum of the rows of λ in which a neuron fired: additions in proportion to the spikes, in place of a
dense product. Which way is taken depends on the number of spikes alone, so equal inputs give equal
bits; `snnlib.products.forced` sets it by hand. A dense product turns a weight that is no number
into NaN everywhere, a sum does so only where it is sent: there the dense product is taken.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import Tensor

from snnlib.neurons._recursion import recorded
from snnlib.products.dense import LEAST as LEAST_OF_ONEDNN
from snnlib.products.dense import linear, uses_onednn
from snnlib.products.paths import paths
from snnlib.products.sparse import named_sums, transposed_sums

SHARE = 0.2
"""Largest share of spikes of which sums are faster than a dense product, step by step."""

SHARE_OF_STEPS = 0.15
"""Likewise for the gradient of the weights, for which the spikes are sorted by neuron first."""

LEAST = 2**20
"""Multiplications of a dense product below which a sum is not faster."""


def product(x: Tensor, weight: Tensor, out: Tensor | None = None) -> Tensor:
    """The dense product x Wᵀ of rows x [rows, m] and W [n, m]; it may be written into `out`."""
    if _by_onednn(x, weight):
        return linear(x, weight)
    return torch.mm(x, weight.t(), out=out)


def add_product(out: Tensor, x: Tensor, weight: Tensor) -> None:
    """Add that product to `out`."""
    if _by_onednn(x, weight):
        out.add_(linear(x, weight))
    else:
        out.addmm_(x, weight.t())


def _by_onednn(x: Tensor, weight: Tensor) -> bool:
    return x.shape[0] * weight.numel() >= LEAST_OF_ONEDNN and adjusts(x) and uses_onednn()


def adjusts(like: Tensor) -> bool:
    """Whether sums may be reordered: in float32, on a processor, by plain tensors.

    float64 keeps the order of the plain loop, torch's compiler and fake tensors see no values, and
    what autograd records is made of plain products.
    """
    return (
        type(like) is Tensor
        and like.device.type == "cpu"
        and like.dtype == torch.float32
        and not torch.compiler.is_compiling()
        and not recorded()
    )


class Sending:
    """What spikes [batch, n] send through weights W [n, n] into the next step."""

    def __init__(self, weight: Tensor, like: Tensor) -> None:
        """Look at the weights, once for all steps.

        Args:
            weight: W, [n, n].
            like: A trajectory [T, batch, n].
        """
        self.weight = weight
        step = like[0]
        self.few = _few(SHARE, step.numel(), step.numel() * step.shape[1], like, weight)
        if self.few >= 0:
            self.table = weight.t().contiguous()
            self.fired = np.empty(step.shape, dtype=bool)
            self.starts = np.arange(0, step.numel(), step.shape[1])

    def add(self, out: Tensor, x: Tensor) -> None:
        """Add x Wᵀ to `out`, for any x."""
        add_product(out, x, self.weight)

    def add_spikes(self, out: Tensor, x: Tensor) -> None:
        """Add x Wᵀ to `out`, for x of zeros and ones."""
        if self.few >= 0:
            fired = np.not_equal(x.numpy(), 0, out=self.fired)
            count = np.count_nonzero(fired)
            if count <= self.few:
                if count:
                    out.add_(named_sums(fired, self.table, starts=self.starts))
                return
        self.add(out, x)


def over_steps(sent: Tensor, spikes: Tensor) -> Tensor:
    """Σ_t sent[t]ᵀ spikes[t], [n, n]: what all steps say to the weights; spikes are 0 or 1."""
    width = spikes.shape[2]
    part = spikes.detach()[::8]  # every eighth step tells how many fire
    few = _few(SHARE_OF_STEPS, part.numel(), spikes.numel() * width, spikes, sent)
    if few < 0 or np.count_nonzero(np.not_equal(part.numpy(), 0)) > few:
        return product(sent.flatten(0, 1).t(), spikes.flatten(0, 1).t())
    return transposed_sums(spikes.flatten(0, 1), sent.flatten(0, 1), ones=True).t()


def _few(share: float, spikes: int, multiplications: int, like: Tensor, values: Tensor) -> int:
    """Spikes up to which they are summed; -1 if they never are.

    Args:
        share: The share up to which sums are faster.
        spikes: Number of all spikes there may be.
        multiplications: Those of the dense product.
        like: Spikes, or a tensor of their kind.
        values: What is summed.
    """
    forced = paths().sparse
    pays = forced is True or (multiplications >= LEAST and _has_kernel())
    if forced is False or not pays or not adjusts(like) or not multiplications:
        return -1
    if not bool(values.sum().isfinite()):
        return -1
    return spikes if forced else int(share * spikes)


@functools.cache
def _has_kernel() -> bool:
    """Whether this torch sums rows of a table with fbgemm; its other kernels are slow."""
    return "fbgemm" in torch.backends.quantized.supported_engines
