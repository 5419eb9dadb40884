r"""Spiking Heidelberg Digits: spoken digits, German and English, as spikes of 700 ear channels.

8,156 training and 2,264 test recordings (two speakers are in the test set only), 20 classes, up to
1.4 s. Read by tonic from `shd_train.h5.zip` and `shd_test.h5.zip` in the folder `SHD` below `shd`
(`snnlib.data.files` says where).

Source: Cramer, Stradmann, Schemmel, Zenke, The Heidelberg spiking data sets for the systematic
evaluation of spiking neural networks, 2020.
"""

from __future__ import annotations

import numpy as np

from snnlib.data import events
from snnlib.data.raw import Raw

NAME = "shd"
CLASSES = 20
CHANNELS = 700
DURATION = 1.4e6  # microseconds


def read(
    split: str,
    *,
    steps: int = 100,
    window: float | None = None,
    per_class: int | None = None,
    download: bool = False,
    refresh: bool = False,
) -> Raw:
    """Frames of spike counts, [samples, T, 700], and targets of one split.

    Args:
        split: "train" or "test".
        steps: Number of frames T >= 1.
        window: Width of a frame in microseconds, from the start of the recording; later spikes are
            lost. None is 1.4 s divided by T, so that a step lasts equally long in all recordings.
        per_class: Keep only the first recordings of each class; None keeps all.
        download: Fetch the archive (train 130 MB, test 40 MB) into the cache if it is missing.
        refresh: Fetch the archive again if it is damaged, and extract it again.

    Returns:
        Counts, uint8, a sequence, in the order of the file; the words as labels.

    Raises:
        FileNotFoundError: If the archive is nowhere; the message names three ways to get it.
        ValueError: If a file is truncated or changed, or an argument is outside its range.
        ImportError: If tonic is not installed.
    """
    events.check_binning(steps, window, per_class)
    kind = events.tonic().SHD
    zipped = kind.train_zip if split == "train" else kind.test_zip
    dataset, _ = events.recordings(
        NAME,
        "SHD",
        archive=zipped,
        md5=kind.train_md5 if split == "train" else kind.test_md5,
        contents=[zipped.removesuffix(".zip")],
        opened=[zipped.removesuffix(".zip")],
        download=download,
        refresh=refresh,
        train=split == "train",
    )
    width = DURATION / steps if window is None else window
    counts, targets = [], []
    for index in range(len(dataset)):
        recording, target = dataset[index]
        targets.append(int(target))
        counts.append(events.frames(recording, steps=steps, window=width, shape=[CHANNELS]))
    order = range(len(targets)) if per_class is None else sorted(events.in_turn(targets, per_class))
    return Raw(
        np.stack(counts)[order],
        np.asarray(targets, np.int64)[order],
        CLASSES,
        sequence=True,
        standardize=False,
        labels=tuple(word.decode() for word in dataset.classes),
    )
