"""Images from OpenML through scikit-learn's client."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from snnlib._extras import require


def fetch(
    name: str, version: int, *, samples: int, pixels: int, folder: Path
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Download an image data set: pixels 0, ..., 255 as columns, classes 0, 1, ... as target.

    The ARFF file is decoded by scikit-learn's own parser (no pandas), in a temporary folder: a
    minute or more and several gigabytes of memory for 60,000 images, once. scikit-learn compares
    it with the checksum in OpenML's description.

    Args:
        name: Name on OpenML.
        version: Version on OpenML, so that a newer upload changes nothing.
        samples: Number of images that must be there.
        pixels: Pixels per image (times channels) that must be there.
        folder: Where the temporary folder is made.

    Returns:
        Pixels [samples, pixels] and targets [samples], in OpenML's order.

    Raises:
        OSError: If there is no network.
        ValueError: If what arrives is truncated or is something else.
        ImportError: If scikit-learn is not installed.
    """
    client: Callable = require("sklearn.datasets", "data").fetch_openml
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder, prefix=".openml-") as home:
        bunch = client(name, version=version, data_home=home, as_frame=False, parser="liac-arff")
    table, labels = bunch.data, bunch.target
    source = f"OpenML's {name}, version {version},"
    if table.shape != (samples, pixels):
        raise ValueError(f"{source} must have shape {(samples, pixels)}, got {table.shape}")
    content = table.astype(np.uint8)
    if not np.array_equal(content, table):
        raise ValueError(
            f"{source} must hold integers from 0 to 255, got values from {table.min():g} to "
            f"{table.max():g}"
        )
    return content, np.asarray(labels).astype(np.int64)
