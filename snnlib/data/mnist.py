r"""MNIST: 60,000 training and 10,000 test images of handwritten digits, 28 by 28 pixels.

Kept as the four original IDX files, compressed or not, in the folder `mnist` (`snnlib.data.files`
says where). A download comes from OpenML (mnist_784, version 1, whose first 60,000 rows are the
training images) and is written as those files. The checksums are those of the original
uncompressed files, so every way of getting them ends in the same bytes.

Source: LeCun, Bottou, Bengio, Haffner, Gradient-based learning applied to document recognition,
1998.
"""

from __future__ import annotations

import gzip
import struct

import numpy as np

from snnlib.data import files, idx, openml
from snnlib.data.raw import Raw

NAME = "mnist"
CLASSES = 10
OPENML = ("mnist_784", 1)

# Name: (shape, SHA-256 of the uncompressed content).
FILES: dict[str, tuple[tuple[int, ...], str]] = {
    "train-images-idx3-ubyte": (
        (60000, 28, 28),
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    ),
    "train-labels-idx1-ubyte": (
        (60000,),
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    ),
    "t10k-images-idx3-ubyte": (
        (10000, 28, 28),
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    ),
    "t10k-labels-idx1-ubyte": (
        (10000,),
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
}


def read(split: str, *, download: bool = False, refresh: bool = False) -> Raw:
    """Raw pixels in [0, 1], [samples, 1, 28, 28], and targets of one split.

    Args:
        split: "train" or "test".
        download: Fetch missing files from OpenML into the cache (15 MB; takes a minute).
        refresh: Fetch all files again.

    Returns:
        Pixels, float32, and targets.

    Raises:
        FileNotFoundError: If a file is nowhere; the message names three ways to get it.
        ValueError: If a file is truncated or is not the known one.
        ImportError: If a download needs scikit-learn and it is missing.
    """
    return idx.read_split(
        NAME,
        split,
        FILES,
        places=list(files.folders(NAME)),
        fetch=_fetch,
        absent=lambda file, error: files.absent(
            NAME,
            f"MNIST's file {file} (or {file}.gz)",
            files="the four original IDX files of MNIST",
            error=error,
        ),
        download=download,
        refresh=refresh,
    )


def _fetch() -> None:
    (train, *image), test = FILES["train-images-idx3-ubyte"][0], FILES["t10k-labels-idx1-ubyte"][0]
    target = files.cache(NAME)
    pixels, targets = openml.fetch(
        *OPENML, samples=train + test[0], pixels=int(np.prod(image)), folder=target
    )
    labels = targets.astype(np.uint8)
    with files.staging(target) as folder:
        for file, (shape, sha256) in FILES.items():
            part = slice(None, train) if file.startswith("train") else slice(train, None)
            array = (pixels if "images" in file else labels)[part]
            header = bytes([0, 0, idx.UNSIGNED_BYTE, len(shape)]) + struct.pack(
                f">{len(shape)}I", *shape
            )
            path = folder / f"{file}.gz"
            path.write_bytes(gzip.compress(header + array.tobytes(), compresslevel=6, mtime=0))
            idx.read(path, shape=shape, sha256=sha256)
