r"""Reader of IDX files, the format of MNIST and its relatives.

A file starts with two zero bytes, a byte for the type of the numbers and one for the number of
dimensions, then each dimension as a big-endian 32-bit integer, then the numbers.

Source: LeCun, Cortes, Burges, The MNIST database of handwritten digits.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import struct
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from snnlib.data import files
from snnlib.data.raw import Raw

UNSIGNED_BYTE = 0x08
NAMES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
"""What MNIST and its relatives call the images and the labels of a split."""


def read(
    path: Path, *, shape: tuple[int, ...] | None = None, sha256: str | None = None
) -> NDArray[np.uint8]:
    """Read unsigned bytes from an IDX file, as it is or compressed by gzip (name ends in .gz).

    Args:
        path: The file.
        shape: Shape that the file must have; None takes what it says.
        sha256: SHA-256 of the uncompressed content that the file must have; None skips the check.

    Returns:
        The array, read-only.

    Raises:
        ValueError: If the file is truncated, has another format, shape or checksum. The message
            names the file.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "three-ubyte"
        ...     _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 8, 9]))
        ...     read(path).tolist()
        [7, 8, 9]
    """
    content = path.read_bytes()
    if path.suffix == ".gz":
        try:
            content = gzip.decompress(content)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(f"{path} is truncated or not a gzip file: {error}") from error
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] != UNSIGNED_BYTE:
        raise ValueError(
            f"{path} is not an IDX file of unsigned bytes: it must start with 00 00 08, "
            f"got {content[:4].hex(' ') or 'nothing'}"
        )
    start = 4 + 4 * content[3]
    if len(content) < start:
        raise ValueError(f"{path} is truncated: it ends within the {content[3]} dimensions")
    dimensions = struct.unpack(f">{content[3]}I", content[4:start])
    if shape is not None and dimensions != shape:
        raise ValueError(f"{path} must have shape {shape}, got {dimensions}")
    if len(content) - start != math.prod(dimensions):
        raise ValueError(
            f"{path} must hold {math.prod(dimensions)} bytes after its header for shape "
            f"{dimensions}, got {len(content) - start}: truncated or too long"
        )
    if sha256 is not None and (found := hashlib.sha256(content).hexdigest()) != sha256:
        raise ValueError(
            f"{path} is corrupt: the SHA-256 of its content must be {sha256}, got {found}"
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(dimensions)


def read_split(
    name: str,
    split: str,
    known: Mapping[str, tuple[tuple[int, ...], str]],
    *,
    places: list[Path],
    fetch: Callable[[], None],
    absent: Callable[[str, BaseException | None], FileNotFoundError],
    download: bool,
    refresh: bool,
) -> Raw:
    """Images and labels of one split of MNIST or a relative, from files that are checked.

    Args:
        name: Name of the data set.
        split: "train" or "test".
        known: Shape and SHA-256 of the content by name of the file.
        places: Folders to look in.
        fetch: Puts all files into the cache.
        absent: The error for a file that is nowhere, from its name and the failure of a download.
        download: Whether to fetch if a file is missing.
        refresh: Whether to fetch in any case.

    Returns:
        Pixels in [0, 1], float32, [samples, 1, height, width], and targets.

    Raises:
        FileNotFoundError: If a file is nowhere.
        ValueError: If a file is truncated or is not the known one.
    """

    def missing() -> list[str]:
        return [file for file in known if files.locate((f"{file}.gz", file), places) is None]

    if refresh or (download and missing()):
        places = [files.cache(name), *places]
        try:
            fetch()
        except files.OFFLINE as error:
            raise absent((missing() or list(known))[0], error) from error
    arrays = []
    for file in NAMES[split]:
        path = files.locate((f"{file}.gz", file), places)
        if path is None:
            raise absent(file, None)
        shape, sha256 = known[file]
        try:
            arrays.append(read(path, shape=shape, sha256=sha256))
        except ValueError as error:
            raise files.damaged(name, error) from error
    images, labels = arrays
    pixels = (images[:, None] / np.float32(255)).astype(np.float32, copy=False)
    return Raw(pixels, labels.astype(np.int64), 10)
