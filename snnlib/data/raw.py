"""What a data set's file hands to `snnlib.data.load`."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Raw(NamedTuple):
    """One split as it was read or generated, before it is standardized.

    Attributes:
        inputs: [samples, features...], or [samples, T, features...] if `sequence`.
        targets: int64, [samples], or [samples, T] where every step has its own.
        classes: Number of classes.
        sequence: Whether the inputs have a time axis of their own.
        standardize: Whether `load` may standardize the inputs; False for events and tokens.
        labels: Names of the classes, or ().
    """

    inputs: NDArray[Any]
    targets: NDArray[np.int64]
    classes: int
    sequence: bool = False
    standardize: bool = True
    labels: tuple[str, ...] = ()
