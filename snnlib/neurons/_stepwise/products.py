r"""The three recurrent products: spikes into the next step, gradients back, and all steps at once.

Where few neurons fire, x Wᵀ is a sum of the columns of W that the spikes name, and Σ_t (g λ)ᵀ x a
sum of the rows of λ in which a neuron fired: additions in proportion to the spikes, in place of a
dense product. Which way is taken depends on the number of spikes alone, so equal inputs give equal
bits. A dense product turns a weight that is no number into NaN everywhere, a sum does so only
where it is sent: there the dense product is taken.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import Tensor

from snnlib.neurons._recursion import block

SHARE = 0.3
"""Largest share of spikes whose columns are summed; a negative one switches sums off."""

SHARE_OF_STEPS = 0.2
"""Likewise for the gradient of the weights, for which the spikes are sorted by neuron first."""

LEAST = 2**20
"""Multiplications of a dense product below which a sum is not faster."""


def product(x: Tensor, weight: Tensor, out: Tensor | None = None) -> Tensor:
    """The dense product x Wᵀ of rows x [rows, m] and W [n, m]; it may be written into `out`."""
    return torch.mm(x, weight.t(), out=out)


def adjusts(like: Tensor) -> bool:
    """Whether sums may be reordered: in float32, on a processor, by plain tensors.

    float64 keeps the order of the plain loop, and torch's compiler and fake tensors see no values.
    """
    return (
        type(like) is Tensor
        and like.device.type == "cpu"
        and like.dtype == torch.float32
        and not torch.compiler.is_compiling()
        and not torch._C._are_functorch_transforms_active()
    )


class Sending:
    """What spikes [batch, n] send through weights W [n, n] into the next step."""

    def __init__(self, weight: Tensor, like: Tensor) -> None:
        """Look at the weights, once for all steps.

        Args:
            weight: W, [n, n].
            like: A trajectory [T, batch, n].
        """
        self.weight, self.into = weight, weight.t()
        self.few = -1
        step = like[0]
        if SHARE < 0 or not adjusts(like) or not _sums_pay(step.numel() * step.shape[1], weight):
            return
        self.few = int(SHARE * step.numel())
        self.table = self.into.contiguous()
        self.fired = np.empty(step.shape, dtype=bool)
        self.starts = np.arange(0, step.numel(), step.shape[1])

    def add(self, out: Tensor, x: Tensor) -> None:
        """Add x Wᵀ to `out`, for any x."""
        out.addmm_(x, self.into)

    def add_spikes(self, out: Tensor, x: Tensor) -> None:
        """Add x Wᵀ to `out`, for x of zeros and ones."""
        if self.few < 0:
            return self.add(out, x)
        fired = np.not_equal(x.numpy(), 0, out=self.fired)
        count = np.count_nonzero(fired)
        if count > self.few:
            self.add(out, x)
        elif count:
            out.add_(_sums(fired, self.starts, self.table))


def over_steps(sent: Tensor, spikes: Tensor) -> Tensor:
    """Σ_t sent[t]ᵀ spikes[t], [n, n]: what all steps say to the weights; spikes are 0 or 1."""
    steps, batch, width = spikes.shape
    pays = (
        SHARE_OF_STEPS >= 0
        and adjusts(spikes)
        and adjusts(sent)
        and steps > 0
        and _sums_pay(spikes.numel() * width, sent)
    )
    if pays:
        spikes = spikes.detach()
        part = spikes[::8]  # every eighth step tells how many fire
        pays = np.count_nonzero(np.not_equal(part.numpy(), 0)) <= SHARE_OF_STEPS * part.numel()
    if not pays:
        return product(sent.flatten(0, 1).t(), spikes.flatten(0, 1).t())
    total = torch.zeros(width, width)
    size = 2 * block(spikes)
    for low in range(0, steps, size):
        rows = sent[low : low + size].flatten(0, 1)
        fired = np.not_equal(spikes[low : low + size].numpy(), 0).reshape(len(rows), width)
        by_neuron = torch.from_numpy(fired).t().contiguous().numpy()
        total += _sums(by_neuron, np.arange(0, by_neuron.size, len(rows)), rows)
    return total.t()


def _sums_pay(multiplications: int, values: Tensor) -> bool:
    """Whether a sum in place of a dense product is worth a look, and would give the same."""
    return multiplications >= LEAST and _has_kernel() and bool(values.sum().isfinite())


@functools.cache
def _has_kernel() -> bool:
    """Whether this torch sums rows of a table with fbgemm; its other kernels are slow."""
    return "fbgemm" in torch.backends.quantized.supported_engines


def _sums(fired: np.ndarray, starts: np.ndarray, table: Tensor) -> Tensor:
    """For every row of `fired` [rows, m] the sum of the table's rows [m, n] that it names."""
    places = fired.ravel().nonzero()[0]
    first = places.searchsorted(starts)
    width = fired.shape[1]
    places -= places // width * width
    bags = (torch.from_numpy(places), torch.from_numpy(first))
    return torch.embedding_bag(table, *bags, False, 0, False, None, False)[0]
