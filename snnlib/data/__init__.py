r"""Real data sets behind one function.

A data set is one file with a function `read(split) -> (pixels, targets)`; one line in `DATASETS`
makes it available. Nothing is downloaded.
"""

from __future__ import annotations

import inspect
from types import ModuleType
from typing import Any

import torch

from snnlib.data import digits, fashion_mnist, mnist1d, randman
from snnlib.data.dataset import Dataset
from snnlib.data.encoding import ENCODINGS, constant, currents, latency, poisson

__all__ = [
    "DATASETS",
    "ENCODINGS",
    "Dataset",
    "constant",
    "currents",
    "latency",
    "load",
    "poisson",
]

DATASETS: dict[str, ModuleType] = {
    "digits": digits,
    "fashion_mnist": fashion_mnist,
    "randman": randman,
    "mnist1d": mnist1d,
}
"""Every data set by name."""

SPLITS = ("train", "test")


def load(name: str, *, split: str = "train", standardize: bool = True, **options: Any) -> Dataset:
    r"""Load a split of a data set into memory.

    Standardized inputs are (pixel - m) / s with mean m and standard deviation s over all pixels of
    all training images, so that E[x] = 0 and E[x²] = 1 on the training split.

    Args:
        name: "digits" (1,797 images of 8 by 8 pixels, comes with scikit-learn) or
            "fashion_mnist" (70,000 of 28 by 28, from files on this machine).
        split: "train" or "test"; each file in `snnlib/data` states its split.
        standardize: False returns raw pixels in [0, 1]. Events are never standardized.
        **options: Arguments of the data set, those of `read` in its file; for example the seed of
            a generated set.

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
    read = DATASETS[name].read
    known = [option for option in inspect.signature(read).parameters if option != "split"]
    for option in options:
        if option not in known:
            raise ValueError(
                f"{option!r} is no argument of the data set {name!r}, which has "
                f"{', '.join(known) or 'none'}"
            )
    raw = read(split, **options)
    inputs, targets = torch.from_numpy(raw.inputs), torch.from_numpy(raw.targets)
    mean, std = 0.0, 1.0
    if standardize and raw.standardize:
        training = raw if split == "train" else read("train", **options)
        exact = torch.from_numpy(training.inputs).double()
        mean, std = exact.mean().item(), exact.std(correction=0).item()
        inputs = (inputs - mean) / std
    return Dataset(name, split, inputs, targets, raw.classes, mean, std, raw.sequence, raw.labels)
