r"""Data sets behind one function, and encodings of still inputs over time.

A data set is one file with a function `read(split, ...)`, whose arguments are those of `load`; one
line in `DATASETS` makes it available. Nothing is downloaded unless `download=True` asks for it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch

from snnlib.data import (
    cifar,
    digits,
    dvs_cifar10,
    fashion_mnist,
    mnist,
    mnist1d,
    nmnist,
    randman,
    shd,
    text,
)
from snnlib.data.dataset import Dataset
from snnlib.data.encoding import ENCODINGS, constant, currents, latency, poisson
from snnlib.data.raw import Raw

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

DATASETS: dict[str, Callable[..., Raw]] = {
    "digits": digits.read,
    "fashion_mnist": fashion_mnist.read,
    "mnist": mnist.read,
    "cifar10": cifar.read10,
    "cifar100": cifar.read100,
    "nmnist": nmnist.read,
    "dvs_cifar10": dvs_cifar10.read,
    "shd": shd.read,
    "randman": randman.read,
    "mnist1d": mnist1d.read,
    "text": text.read,
}
"""Every data set by name."""

SPLITS = ("train", "test")


def load(
    name: str = "digits", *, split: str = "train", standardize: bool = True, **options: Any
) -> Dataset:
    r"""Load a split of a data set into memory.

    Standardized inputs are (pixel - m) / s with mean m and standard deviation s over all pixels,
    channels and steps of all training samples together, so that E[x] = 0 and E[x²] = 1 on the
    training split. Spikes, event counts and words are never standardized.

    ========================== ================ ================== ===============================
    Name                       A sample         Train, test        From
    ========================== ================ ================== ===============================
    ``digits``                 [1, 8, 8]        1,442 and 355      scikit-learn itself
    ``fashion_mnist``          [1, 28, 28]      60,000 and 10,000  Debian's package, or a download
    ``mnist``                  [1, 28, 28]      60,000 and 10,000  OpenML, or the original files
    ``cifar10``, ``cifar100``  [3, 32, 32]      50,000 and 10,000  OpenML, or the authors' archive
    ``nmnist``                 [T, 2, 34, 34]   60,000 and 10,000  an archive, through tonic
    ``dvs_cifar10``            [T, 2, 64, 64]   9,000 and 1,000    an archive, through tonic
    ``shd``                    [T, 700]         8,156 and 2,264    an archive, through tonic
    ``randman``                [T, 20]          8,000 and 2,000    generated
    ``mnist1d``                [40, 1]          4,000 and 1,000    generated
    ``text``                   [T]              90 % and 10 %      any text files, or the book
    ========================== ================ ================== ===============================

    Those with a time axis, T or 40, give a `Dataset` with `sequence=True`. `snnlib.data.currents`
    turns batches of either kind into [T, batch, features...].

    Args:
        name: A name of the table.
        split: "train" or "test"; each file in `snnlib/data` states its split.
        standardize: False returns raw pixels in [0, 1] (`mnist1d`: signals as generated).
        **options: Arguments of the data set, with these defaults:

            * `fashion_mnist`, `mnist`, `cifar10`, `cifar100`: `download=False`, True fetches
              missing files into the user's cache; `refresh=False`, True fetches them again.
            * `nmnist`, `dvs_cifar10`: the same two; `steps=10` frames; `window=None`, the width of
              a frame in microseconds (None spreads the frames over each recording);
              `per_class=None`, at most so many recordings of each class. For `dvs_cifar10`,
              `pool=2` adds up the events of squares of so many pixels.
            * `shd`: the same without `pool`; `steps=100`, which last 1.4 s together unless
              `window` is given.
            * `randman`: `classes=10`, `units=20`, `dimension=1` of the manifolds,
              `smoothness=2.0`, `steps=100`, `samples=1000` per class, `cutoff=1000` terms,
              `seed=0`.
            * `mnist1d`: `samples=5000` in both splits, `seed=42`.
            * `text`: `files=None`, paths (None is the book's pages); `test_files=None`, paths (None
              splits `files`); `steps=35`; `vocabulary=10_000`; `prepared=False`, True for files
              like the Penn Treebank's.

    Returns:
        The data set; targets int64, [samples], for text [samples, T].

    Raises:
        ValueError: If the name, the split or an option is unknown or outside its range, or a file
            is truncated or corrupt; the message names the file.
        FileNotFoundError: If the files are not on this machine, or a download fails; names three
            ways to get them.
        ImportError: If a package is needed and missing; names the extra that has it.

    Source: Micheli et al. 2024, section V (pixels of mean 0 and variance 1).

    Example:
        >>> data = load("digits")
        >>> data
        Dataset('digits', 'train', 1442 of 1×8×8)
        >>> abs(data.inputs.mean().item()) < 1e-6
        True
        >>> abs(data.inputs.square().mean().item() - 1) < 1e-6
        True

        A generated set, its parameters by name; then its spikes, time first.

        >>> data = load("randman", classes=2, units=5, samples=10, split="test")
        >>> data, data.sequence
        (Dataset('randman', 'test', 4 of 100×5), True)
        >>> currents(data.inputs, sequence=data.sequence, steps=100).shape
        torch.Size([100, 4, 5])
    """
    if name not in DATASETS:
        raise ValueError(f"name must be one of {', '.join(DATASETS)}, got {name!r}")
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
    read = DATASETS[name]
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
