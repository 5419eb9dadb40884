r"""N-MNIST: MNIST's images filmed by an event camera that moves, 60,000 and 10,000 recordings.

34 by 34 pixels, two polarities, about 300 ms in three saccades. Read by tonic from `train.zip` and
`test.zip` in the folder `NMNIST` below `nmnist` (`snnlib.data.files` says where).

Source: Orchard, Jayawant, Cohen, Thakor, Converting static image datasets to spiking neuromorphic
datasets using saccades, 2015.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from snnlib.data import events
from snnlib.data.raw import Raw

NAME = "nmnist"
CLASSES = 10
SHAPE = (2, 34, 34)


def read(
    split: str,
    *,
    steps: int = 10,
    window: float | None = None,
    per_class: int | None = None,
    download: bool = False,
    refresh: bool = False,
) -> Raw:
    """Frames of event counts, [samples, T, 2, 34, 34], and targets of one split.

    Args:
        split: "train" or "test".
        steps: Number of frames T >= 1.
        window: Width of a frame in microseconds, from the start of the recording; later events are
            lost. None divides the recording evenly, so that no event is lost. Micheli et al. 2024
            bin by 1,000; 300 such frames cover a recording, and all 60,000 then take 42 GB.
        per_class: Read only the first recordings of each class; None reads all.
        download: Fetch the archive (train 1 GB, test 170 MB) into the cache if it is missing.
        refresh: Fetch the archive again if it is damaged, and extract it again.

    Returns:
        Counts, uint8, a sequence; polarity 0 is off, 1 is on. The classes take turns: of each the
        first recording, of each the second, ...

    Raises:
        FileNotFoundError: If the archive is nowhere; the message names three ways to get it.
        ValueError: If a file is truncated or changed, or an argument is outside its range.
        ImportError: If tonic is not installed.
    """
    events.check_binning(steps, window, per_class)
    train, kind = split == "train", events.tonic().NMNIST
    dataset, archive = events.recordings(
        NAME,
        "NMNIST",
        archive=kind.train_filename if train else kind.test_filename,
        md5=kind.train_md5 if train else kind.test_md5,
        contents=[kind.train_folder if train else kind.test_folder],
        download=download,
        refresh=refresh,
        train=train,
    )
    archive.complete(len(dataset), ".bin")
    order = events.in_turn(dataset.targets, per_class)
    counts = np.empty((len(order), steps, *SHAPE), np.uint8)
    for place, index in enumerate(order):
        archive.check(Path(dataset.data[index]))
        counts[place] = events.frames(dataset[index][0], steps=steps, window=window, shape=SHAPE)
    targets = np.asarray(dataset.targets, np.int64)[order]
    return Raw(counts, targets, CLASSES, sequence=True, standardize=False)
