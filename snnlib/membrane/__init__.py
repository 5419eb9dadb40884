r"""The law that a membrane settles to, and the running mean that starts it there (MP-Init).

With an input that is drawn anew each step, the potential U that is left after a reset is a Markov
chain.  `stationary_law` is the law that it forgets its start for.  A layer that starts at rest
needs some steps until then; `MPInit` starts all its neurons at one number, a running mean of the
potentials after the last step of earlier batches.

Source: Kook, Yu, Oh, Park, Stabilizing direct training of spiking neural networks: membrane
potential initialization and threshold-robust surrogate gradient, 2026.
"""

from snnlib.membrane.cells import Cells, total_variation, wasserstein
from snnlib.membrane.mp_init import MPInit
from snnlib.membrane.stationary import StationaryLaw, stationary_law

__all__ = [
    "Cells",
    "MPInit",
    "StationaryLaw",
    "stationary_law",
    "total_variation",
    "wasserstein",
]
