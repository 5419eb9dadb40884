r"""Real data sets behind one function.

A data set is one file with a function `read(split) -> (pixels, targets)`; one line in `DATASETS`
makes it available. Nothing is downloaded.
"""

from __future__ import annotations

import torch

from snnlib.data import digits, fashion_mnist
from snnlib.data.dataset import Dataset

__all__ = ["DATASETS", "Dataset", "load"]

DATASETS = {"digits": digits, "fashion_mnist": fashion_mnist}
"""Every data set by name."""

SPLITS = ("train", "test")


def load(name: str, *, split: str = "train", standardize: bool = True) -> Dataset:
    r"""Load a split of a data set into memory.

    Standardized inputs are (pixel - m) / s with mean m and standard deviation s over all pixels of
    all training images, so that E[x] = 0 and E[x²] = 1 on the training split.

    Args:
        name: "digits" (1,797 images of 8 by 8 pixels, comes with scikit-learn) or
            "fashion_mnist" (70,000 of 28 by 28, from files on this machine).
        split: "train" or "test"; each file in `snnlib/data` states its split.
        standardize: False returns raw pixels in [0, 1].

    Returns:
        The data set, images [samples, 1, height, width].

    Raises:
        ValueError: If the name or the split is unknown, or a file is truncated or corrupt.
        FileNotFoundError: If the files are not on this machine; names three ways to get them.
        ImportError: If scikit-learn is needed and missing.

    Source: Micheli et al. 2024, section V (pixels of mean 0 and variance 1).

    Example:
        >>> data = load("digits")
        >>> data
        Dataset('digits', 'train', 1442 of 1×8×8)
        >>> abs(data.inputs.mean().item()) < 1e-6
        True
        >>> abs(data.inputs.square().mean().item() - 1) < 1e-6
        True
    """
    if name not in DATASETS:
        raise ValueError(f"name must be one of {', '.join(DATASETS)}, got {name!r}")
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
    source = DATASETS[name]
    pixels, targets = (torch.from_numpy(values) for values in source.read(split))
    mean, std = 0.0, 1.0
    if standardize:
        training = pixels if split == "train" else torch.from_numpy(source.read("train")[0])
        exact = training.double()
        mean, std = exact.mean().item(), exact.std(correction=0).item()
        pixels = (pixels - mean) / std
    return Dataset(name, split, pixels, targets, source.CLASSES, mean, std)
