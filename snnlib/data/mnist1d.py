r"""MNIST-1D: 5,000 generated signals of 40 steps, ten shapes that are padded, shifted and noisy.

The package `mnist1d` of the data set's authors generates them (no download, no stored file): 4,000
for training, 1,000 for testing. The authors' frozen file was made by the same rules with another
version of NumPy, so single samples may differ from it.

Source: Greydanus & Kobak 2024, Scaling down deep learning with MNIST-1D, ICML.
"""

from __future__ import annotations

import random
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from snnlib._extras import require
from snnlib.data.raw import Raw

CLASSES = 10


def read(split: str, *, samples: int = 5000, seed: int = 42) -> Raw:
    """Generate one split.

    Args:
        split: "train" (80 %) or "test".
        samples: Signals over both splits, a multiple of 10, >= 10.
        seed: Seed of the generator, 0 to 2³² - 1; 42 is the authors'.

    Returns:
        Signals, float32, [samples, 40, 1], a sequence, and targets.

    Raises:
        ValueError: If an argument is outside its range.
        ImportError: If the package mnist1d is not installed.

    Example:
        >>> read("test", samples=100).inputs.shape
        (20, 40, 1)
    """
    if isinstance(samples, bool) or not isinstance(samples, int) or samples < 10 or samples % 10:
        raise ValueError(f"samples must be a positive multiple of 10, got {samples!r}")
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise ValueError(f"seed must be an integer from 0 to 2**32 - 1, got {seed!r}")
    signals, targets = _generate(samples, seed)[split]
    return Raw(signals.copy(), targets.copy(), CLASSES, sequence=True)


@lru_cache(maxsize=2)
def _generate(samples: int, seed: int) -> dict[str, tuple[NDArray[np.float32], NDArray[np.int64]]]:
    package = require("mnist1d.data", "data")
    arguments = package.get_dataset_args()
    arguments.num_samples, arguments.seed = samples, seed
    # The package seeds the global generators; nobody else is to notice.
    python, legacy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]):
            made = package.make_dataset(arguments)
    finally:
        random.setstate(python)
        np.random.set_state(legacy)
    return {
        split: (made[f"x{end}"][..., None].astype(np.float32), made[f"y{end}"].astype(np.int64))
        for split, end in (("train", ""), ("test", "_test"))
    }
