r"""The three products of a layer of weights, each by its fastest way.

A layer of weights W [n_out, n_in] on rows x [rows, n_in] takes three products,

    y = x Wᵀ,      ∂x = g W,      ∂W = gᵀ x,

which are nearly all of a network's arithmetic. Two levers, with the same result up to rounding:

* Where x are spikes and few, y sums the columns of W that spiked, and ∂W sums the rows of g in
  which a neuron spiked (`snnlib.products.sparse`): additions in proportion to the spikes.
* On AMD processors oneDNN's kernels replace MKL's (`snnlib.products.dense`), which there may take
  a path for processors that it does not know.

Both are chosen by the values and by the processor's name, never by a timing: one machine gives the
same bits every time. `forced` sets them by hand, the environment variable `SNNLIB_DENSE` the dense
one.
"""

from snnlib.products.apply import apply, gradients, transformed
from snnlib.products.dense import describe, onednn
from snnlib.products.layer import Convolution, Linear, Product
from snnlib.products.paths import NUMERICS, forced
from snnlib.products.sparse import is_sparse

__all__ = [
    "NUMERICS",
    "Convolution",
    "Linear",
    "Product",
    "apply",
    "describe",
    "forced",
    "gradients",
    "is_sparse",
    "onednn",
    "transformed",
]
