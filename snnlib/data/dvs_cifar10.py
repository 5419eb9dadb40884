r"""CIFAR10-DVS: 10,000 images of CIFAR-10 filmed by an event camera while they move on a screen.

128 by 128 pixels, two polarities, about 1.3 s. There is no official split: of each class the last
tenth of the recordings, in the order of the numbers in their names, is for testing (1,000), the
rest for training (9,000). Read by tonic from `CIFAR10DVS.zip` in the folder `CIFAR10DVS` below
`dvs-cifar10` (`snnlib.data.files` says where).

Source: Li, Liu, Ji, Li, Shi, CIFAR10-DVS: an event-stream dataset for object classification, 2017.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from snnlib._extras import require
from snnlib.data import events
from snnlib.data.raw import Raw

NAME = "dvs_cifar10"
CLASSES = 10
SIDE = 128
TEST_SHARE = 10  # one in so many


def read(
    split: str,
    *,
    steps: int = 10,
    window: float | None = None,
    pool: int = 2,
    per_class: int | None = None,
    download: bool = False,
    refresh: bool = False,
) -> Raw:
    """Frames of event counts, [samples, T, 2, 128/pool, 128/pool], and targets of one split.

    Args:
        split: "train" or "test".
        steps: Number of frames T >= 1.
        window: Width of a frame in microseconds, from the first event; later events are lost. None
            divides the recording evenly, so that no event is lost.
        pool: Side of the squares of pixels that are added up: 1, 2, 4, ..., 128. All training
            frames take 737 MB with the defaults and 2.9 GB with 1.
        per_class: Read only the first recordings of each class; None reads all.
        download: Fetch the archive (7 GB) into the cache if it is missing.
        refresh: Fetch the archive again if it is damaged, and extract it again.

    Returns:
        Counts, uint8, a sequence; polarity 0 is off, 1 is on. The classes take turns: of each the
        first recording, of each the second, ...

    Raises:
        FileNotFoundError: If the archive is nowhere; the message names three ways to get it.
        ValueError: If a file is truncated or changed, or an argument is outside its range.
        ImportError: If tonic or its decoder aedat is not installed.
    """
    events.check_binning(steps, window, per_class)
    if isinstance(pool, bool) or not isinstance(pool, int) or pool < 1 or SIDE % pool:
        raise ValueError(f"pool must divide {SIDE}, got {pool!r}")
    kind = events.tonic().CIFAR10DVS
    require("aedat", "data")
    dataset, whole = events.recordings(
        NAME,
        "CIFAR10DVS",
        archive=kind.filename,
        md5=kind.file_md5,
        contents=[*kind.data_filename, *kind.classes],
        download=download,
        refresh=refresh,
    )
    folder = whole.path.parent
    archives = {name: events.Archive(NAME, folder / f"{name}.zip") for name in kind.classes}
    # The class by name: tonic lists the files in the order of the file system.
    chosen: list[tuple[int, Path]] = []
    index = {Path(path): place for place, path in enumerate(dataset.data)}
    for name, target in kind.classes.items():
        paths = sorted((path for path in index if path.parent.name == name), key=_number)
        archives[name].complete(len(paths), ".aedat4")
        training = len(paths) - len(paths) // TEST_SHARE
        part = paths[:training] if split == "train" else paths[training:]
        chosen.extend((target, path) for path in part)
    order = events.in_turn([target for target, _ in chosen], per_class)
    shape = (2, SIDE // pool, SIDE // pool)
    counts = np.empty((len(order), steps, *shape), np.uint8)
    for place, (_, path) in enumerate(chosen[turn] for turn in order):
        archives[path.parent.name].check(path)
        recording = dataset[index[path]][0].copy()
        recording["t"] -= recording["t"].min()
        counts[place] = events.frames(recording, steps=steps, window=window, shape=shape, pool=pool)
    targets = np.array([chosen[turn][0] for turn in order], np.int64)
    return Raw(
        counts, targets, CLASSES, sequence=True, standardize=False, labels=tuple(kind.classes)
    )


def _number(path: Path) -> tuple[int, str]:
    digits = re.findall(r"\d+", path.stem)
    return (int(digits[-1]) if digits else -1, path.name)
