r"""Fashion-MNIST: 60,000 training and 10,000 test images of clothing, 28 by 28 pixels.

Four IDX files, compressed or not, are looked for in the folder that the environment variable
SNNLIB_DATA names (or its subfolder fashion-mnist), the user's cache (snnlib/fashion-mnist), and
datasets/fashion-mnist of the XDG data directories, where Debian's package puts them; they are
downloaded from the authors' addresses where that is asked for. The checksums
are those of the content in Debian's package dataset-fashion-mnist, so a file that was compressed
anew passes.

Source: Xiao, Rasul, Vollgraf, Fashion-MNIST: a novel image dataset for benchmarking machine
learning algorithms, 2017.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from snnlib.data import files, idx
from snnlib.data.raw import Raw

NAME = "fashion_mnist"
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
URLS = (
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion",
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
)
"""Where the authors keep the files; the second address is tried if the first fails."""


def read(split: str, *, download: bool = False, refresh: bool = False) -> Raw:
    """Raw pixels in [0, 1], [samples, 1, 28, 28], and targets of one split.

    Args:
        split: "train" or "test".
        download: Fetch missing files from the authors' addresses into the cache (30 MB).
        refresh: Fetch all files again.

    Returns:
        Pixels, float32, and targets.

    Raises:
        FileNotFoundError: If a file is nowhere; the message names the ways to get it.
        ValueError: If a file is truncated or is not the known one.
    """
    return idx.read_split(
        NAME,
        split,
        FILES,
        places=list(folders()),
        fetch=_fetch,
        absent=lambda file, error: files.absent(
            NAME,
            f"Fashion-MNIST's file {file} (or {file}.gz)",
            files="the four files of https://github.com/zalandoresearch/fashion-mnist",
            first="install the package dataset-fashion-mnist on Debian or Ubuntu",
            error=error,
        ),
        download=download,
        refresh=refresh,
    )


def folders() -> Iterator[Path]:
    """Where the files are looked for, in this order."""
    yield from files.folders(NAME)
    home = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    shared = os.environ.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share"
    for folder in [home, *shared.split(os.pathsep)]:
        yield Path(folder) / "datasets" / "fashion-mnist"


def _fetch() -> None:
    with files.staging(files.cache(NAME)) as folder:
        for file, (shape, sha256) in FILES.items():
            path = folder / f"{file}.gz"
            path.write_bytes(_download(path.name))
            idx.read(path, shape=shape, sha256=sha256)


def _download(file: str) -> bytes:
    for url in URLS[:-1]:
        try:
            return files.download(f"{url}/{file}")
        except files.OFFLINE:
            continue
    return files.download(f"{URLS[-1]}/{file}")
