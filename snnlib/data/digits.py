r"""Handwritten digits, 8 by 8 pixels: 1,797 real images that scikit-learn ships.

Of each class every fifth image is a test image (the fifth, tenth, ... in the order of the file),
355 in all; the other 1,442 are for training. The split uses no random numbers.

Source: Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning
Repository; `sklearn.datasets.load_digits`.
"""

from __future__ import annotations

import numpy as np

from snnlib._extras import require
from snnlib.data.raw import Raw

CLASSES = 10
PERIOD = 5


def read(split: str) -> Raw:
    """Raw pixels in [0, 1], [samples, 1, 8, 8], and targets of one split.

    Args:
        split: "train" or "test".

    Returns:
        Pixels and targets.

    Raises:
        ImportError: If scikit-learn is not installed.

    Example:
        >>> len(read("train").inputs), len(read("test").inputs)
        (1442, 355)
    """
    bunch = require("sklearn.datasets", "data").load_digits()
    # How many images of the same class came before.
    nth = np.empty(len(bunch.target), dtype=np.int64)
    for digit in range(CLASSES):
        of_digit = bunch.target == digit
        nth[of_digit] = np.arange(of_digit.sum())
    held_out = nth % PERIOD == PERIOD - 1
    chosen = held_out if split == "test" else ~held_out
    pixels = (bunch.images[chosen, None] / 16).astype(np.float32)
    return Raw(pixels, bunch.target[chosen].astype(np.int64), CLASSES)
