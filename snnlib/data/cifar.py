r"""CIFAR-10 and CIFAR-100: 50,000 training and 10,000 test color images, 32 by 32 pixels.

Two forms are found in the folder `cifar10` or `cifar100` (`snnlib.data.files` says where):

* the authors' archive, `cifar-10-binary.tar.gz` or `cifar-100-binary.tar.gz`, checked by the MD5
  that the authors publish;
* `cifar10.npz` or `cifar100.npz`, which a download writes: OpenML's CIFAR_10 or CIFAR-100, version
  1, whose first 50,000 rows are the training images. OpenML's checksum covers the transfer. What
  arrives must have the same number of images of each class in each split and the known mean of
  every channel over the training images; a SHA-256 in the file finds later damage.

Source: Krizhevsky, Learning multiple layers of features from tiny images, 2009.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
import zlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from snnlib.data import files, openml
from snnlib.data.raw import Raw

Arrays = tuple[NDArray[np.uint8], NDArray[np.int64]]
SHAPE = (3, 32, 32)
PIXELS = 3 * 32 * 32


@dataclass(frozen=True)
class Known:
    """What is known of one of the two data sets.

    Attributes:
        classes: Number of classes.
        openml: Name and version on OpenML.
        archive: Name of the authors' archive.
        md5: MD5 of the archive, from the authors' page.
        members: Files of the archive by split.
        label_bytes: Bytes before the pixels of an image; the last one is the class.
        means: Mean of each channel over the training images, in [0, 1].
        sizes: Images by split.
    """

    classes: int
    openml: tuple[str, int]
    archive: str
    md5: str
    members: dict[str, tuple[str, ...]]
    label_bytes: int
    means: tuple[float, float, float]
    sizes: dict[str, int]


KNOWN = {
    "cifar10": Known(
        10,
        ("CIFAR_10", 1),
        "cifar-10-binary.tar.gz",
        "c32a1d4ab5d03f1284b67883e8d87530",
        {
            "train": tuple(f"cifar-10-batches-bin/data_batch_{i}.bin" for i in range(1, 6)),
            "test": ("cifar-10-batches-bin/test_batch.bin",),
        },
        1,
        (0.49139968, 0.48215841, 0.44653091),
        {"train": 50_000, "test": 10_000},
    ),
    "cifar100": Known(
        100,
        ("CIFAR-100", 1),
        "cifar-100-binary.tar.gz",
        "03b5dce01913d631647c71ecec9e9cb8",
        {"train": ("cifar-100-binary/train.bin",), "test": ("cifar-100-binary/test.bin",)},
        2,
        (0.50707516, 0.48654887, 0.44091784),
        {"train": 50_000, "test": 10_000},
    ),
}
TOLERANCE = 1e-5  # of the means: the values in common use have this precision


def read(name: str, split: str, *, download: bool = False, refresh: bool = False) -> Raw:
    """Raw pixels in [0, 1], [samples, 3, 32, 32], and targets of one split.

    Args:
        name: "cifar10" or "cifar100" (the 100 fine classes).
        split: "train" or "test".
        download: Fetch the images from OpenML into the cache if they are missing. scikit-learn's
            decoder takes about two minutes and several gigabytes of memory for it, once.
        refresh: Fetch them again.

    Returns:
        Pixels, float32, channels red, green, blue, and targets.

    Raises:
        FileNotFoundError: If the data are nowhere; the message names three ways to get them.
        ValueError: If a file is truncated or is not the known one.
        ImportError: If a download needs scikit-learn and it is missing.
    """
    known = KNOWN[name]
    places = list(files.folders(name))
    wanted = (f"{name}.npz", known.archive)
    absent = partial(
        files.absent,
        name,
        f"{name}'s file {wanted[0]} (or {wanted[1]})",
        files=f"{known.archive} of https://www.cs.toronto.edu/~kriz/cifar.html",
    )
    if refresh or (download and files.locate(wanted, places) is None):
        places = [files.cache(name)]
        try:
            _fetch(name, known)
        except files.OFFLINE as error:
            raise absent(error=error) from error
    path = files.locate(wanted, places)
    if path is None:
        raise absent()
    try:
        content, targets = (_read_npz if path.suffix == ".npz" else _read_archive)(
            path, split, known
        )
    except ValueError as error:
        raise files.damaged(name, error) from error
    pixels = content.reshape(-1, *SHAPE) / np.float32(255)
    return Raw(pixels.astype(np.float32, copy=False), targets, known.classes)


def read10(split: str, *, download: bool = False, refresh: bool = False) -> Raw:
    """CIFAR-10, see `read`."""
    return read("cifar10", split, download=download, refresh=refresh)


def read100(split: str, *, download: bool = False, refresh: bool = False) -> Raw:
    """CIFAR-100, see `read`."""
    return read("cifar100", split, download=download, refresh=refresh)


def _fetch(name: str, known: Known) -> None:
    target = files.cache(name)
    pixels, targets = openml.fetch(
        *known.openml, samples=sum(known.sizes.values()), pixels=PIXELS, folder=target
    )
    _check_content(f"OpenML's {known.openml[0]}", pixels, targets, known)
    with files.staging(target) as folder:
        np.savez_compressed(
            folder / f"{name}.npz",
            pixels=pixels,
            targets=targets.astype(np.uint8),
            sha256=np.array(_digest(pixels, targets)),
        )


def _check_content(
    source: str, pixels: NDArray[np.uint8], targets: NDArray[np.int64], known: Known
) -> None:
    train = known.sizes["train"]
    for split, part in (("train", targets[:train]), ("test", targets[train:])):
        if part.min() < 0 or part.max() >= known.classes:
            raise ValueError(f"{source} must have classes 0 to {known.classes - 1}")
        counts = np.bincount(part, minlength=known.classes)
        if (counts != known.sizes[split] // known.classes).any():
            raise ValueError(
                f"{source} must have {known.sizes[split] // known.classes} images of each class in "
                f"its {split} rows, got {counts.min()} to {counts.max()}"
            )
    means = [pixels[:train].reshape(train, *SHAPE)[:, i].mean() / 255 for i in range(3)]
    if not np.allclose(means, known.means, rtol=0, atol=TOLERANCE):
        raise ValueError(
            f"{source} must have the channel means {known.means} over its training images, "
            f"got {tuple(round(float(mean), 6) for mean in means)}"
        )


def _digest(pixels: NDArray[np.uint8], targets: NDArray[np.int64]) -> str:
    digest = hashlib.sha256(np.ascontiguousarray(pixels).data)
    digest.update(np.ascontiguousarray(targets, dtype=np.uint8).data)
    return digest.hexdigest()


def _read_npz(path: Path, split: str, known: Known) -> Arrays:
    try:
        with np.load(path, allow_pickle=False) as stored:
            pixels, targets = stored["pixels"], stored["targets"].astype(np.int64)
            sha256 = str(stored["sha256"])
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path} is truncated or not a file of this library: {error}") from error
    shape = (sum(known.sizes.values()), PIXELS)
    if pixels.shape != shape or (found := _digest(pixels, targets)) != sha256:
        what = f"shape {pixels.shape}" if pixels.shape != shape else f"SHA-256 {found}"
        raise ValueError(f"{path} is corrupt: it must have {shape} and {sha256}, got {what}")
    train = known.sizes["train"]
    part = slice(None, train) if split == "train" else slice(train, None)
    return pixels[part], targets[part]


def _read_archive(path: Path, split: str, known: Known) -> Arrays:
    content = path.read_bytes()
    if (found := hashlib.md5(content, usedforsecurity=False).hexdigest()) != known.md5:
        raise ValueError(
            f"{path} is truncated or corrupt: its MD5 must be {known.md5}, got {found}"
        )
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
        parts = []
        for member in known.members[split]:
            stream = archive.extractfile(member)
            assert stream is not None  # a regular file of the known archive
            parts.append(np.frombuffer(stream.read(), np.uint8))
    rows = np.concatenate(parts).reshape(known.sizes[split], known.label_bytes + PIXELS)
    return rows[:, known.label_bytes :], rows[:, known.label_bytes - 1].astype(np.int64)
