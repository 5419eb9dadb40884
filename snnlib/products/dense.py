"""Dense products, by torch or by oneDNN's linear layer.

torch multiplies float32 matrices by MKL, which takes a path for unknown processors on some that are
not Intel's: 2.5 times slower than oneDNN there. oneDNN is reached through an operator of torch's
own that is not public, so its presence and its result are checked once, and torch's product stands
in where either fails.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor
from torch.nn import functional

from snnlib.products.paths import NUMERICS, is_amd, paths

LEAST = 2**23
"""Multiplications below which a call of oneDNN costs more than it gains."""


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """X Wᵀ + b, of rows x [rows, n_in] and W [n_out, n_in]."""
    if (
        x.dtype == torch.float32
        and x.device.type == "cpu"
        and x.shape[0] * weight.numel() >= LEAST
        and uses_onednn()
    ):
        return _onednn(x, weight, bias)
    return functional.linear(x, weight, bias)


def uses_onednn() -> bool:
    """Whether large float32 products on the processor are oneDNN's."""
    dense = paths().dense
    return (dense == "onednn" or (dense == "auto" and is_amd())) and not onednn()


@functools.cache
def onednn() -> str:
    """Why oneDNN cannot be used; an empty text if it can.

    Example:
        >>> isinstance(onednn(), str)
        True
    """
    try:
        x = torch.arange(35 * 33.0).view(35, 33).remainder(7) - 3
        weight = torch.arange(34 * 33.0).view(34, 33).remainder(5) - 2
        for w in (weight, weight.t().contiguous().t()):
            if not torch.equal(_onednn(x, w, None), x @ w.t()):  # integers: no rounding
                return "it gives other products than torch's"
    except (RuntimeError, AttributeError) as error:
        return f"this torch does not offer it: {error}".splitlines()[0]
    return ""


def _onednn(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


def describe() -> str:
    """What is chosen, in words, for the provenance of a result.

    Example:
        >>> from snnlib.products import forced
        >>> with forced(dense="torch", sparse=False):
        ...     describe()
        'products 2, dense by torch, spikes multiplied'
    """
    words = {None: "summed where few", True: "summed", False: "multiplied"}[paths().sparse]
    library = "oneDNN" if uses_onednn() else "torch"
    return f"products {NUMERICS}, dense by {library}, spikes {words}"
