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
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

UNSIGNED_BYTE = 0x08


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
