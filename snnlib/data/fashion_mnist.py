r"""Fashion-MNIST: 60,000 training and 10,000 test images of clothing, 28 by 28 pixels.

Four IDX files, compressed or not, are looked for in the folder that the environment variable
SNNLIB_DATA names (or its subfolder fashion-mnist), the user's cache (snnlib/fashion-mnist), and
datasets/fashion-mnist of the XDG data directories, where Debian's package puts them. The checksums
are those of the content in Debian's package dataset-fashion-mnist, so a file that was compressed
anew passes.

Source: Xiao, Rasul, Vollgraf, Fashion-MNIST: a novel image dataset for benchmarking machine
learning algorithms, 2017.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from snnlib.data import idx
from snnlib.data.raw import Raw

CLASSES = 10

# Name: (shape, SHA-256 of the uncompressed content).
FILES: dict[str, tuple[tuple[int, ...], str]] = {
    "train-images-idx3-ubyte": (
        (60000, 28, 28),
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    ),
    "train-labels-idx1-ubyte": (
        (60000,),
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    ),
    "t10k-images-idx3-ubyte": (
        (10000, 28, 28),
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    ),
    "t10k-labels-idx1-ubyte": (
        (10000,),
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
}
NAMES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


def read(split: str) -> Raw:
    """Raw pixels in [0, 1], [samples, 1, 28, 28], and targets of one split.

    Args:
        split: "train" or "test".

    Returns:
        Pixels and targets.

    Raises:
        FileNotFoundError: If a file is nowhere; the message names the ways to get it.
        ValueError: If a file is truncated or is not the known one.
    """
    images, labels = (_read(name) for name in NAMES[split])
    pixels = (images[:, None] / np.float32(255)).astype(np.float32, copy=False)
    return Raw(pixels, labels.astype(np.int64), CLASSES)


def folders() -> Iterator[Path]:
    """Where the files are looked for, in this order."""
    if own := os.environ.get("SNNLIB_DATA"):
        yield Path(own) / "fashion-mnist"
        yield Path(own)
    yield cache()
    home = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    shared = os.environ.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share"
    for folder in [home, *shared.split(os.pathsep)]:
        yield Path(folder) / "datasets" / "fashion-mnist"


def cache() -> Path:
    """The user's cache for these files."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "snnlib" / "fashion-mnist"


def _read(name: str) -> NDArray[np.uint8]:
    shape, sha256 = FILES[name]
    for folder in folders():
        for path in (folder / f"{name}.gz", folder / name):
            if path.is_file():
                return idx.read(path, shape=shape, sha256=sha256)
    raise FileNotFoundError(
        f"Fashion-MNIST's file {name} (or {name}.gz) was not found. Three ways to get it: "
        "install the package dataset-fashion-mnist on Debian or Ubuntu; "
        f"put the four files of https://github.com/zalandoresearch/fashion-mnist into {cache()}; "
        "or set SNNLIB_DATA to a folder that has them."
    )
