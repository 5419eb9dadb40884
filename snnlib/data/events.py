"""Event recordings through tonic: archives that are checked, events counted in frames."""

from __future__ import annotations

import hashlib
import os
import shutil
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from snnlib._extras import require
from snnlib.data import files


def tonic() -> ModuleType:
    """The data sets of tonic.

    Raises:
        ImportError: If tonic is not installed.
    """
    return require("tonic.datasets", "data")


def frames(
    events: NDArray[Any], *, steps: int, window: float | None, shape: Sequence[int], pool: int = 1
) -> NDArray[np.uint8]:
    r"""Count the events of a recording in time bins.

    Bin k of width Δ holds the events with kΔ <= t < (k + 1)Δ; later events are lost. Without a
    width the bins divide the time from the first to the last event evenly, and no event is lost.

    Args:
        events: Structured array with the fields t (microseconds), x and, for a camera, y and p.
        steps: Number of bins T.
        window: Width Δ of a bin in microseconds, from t = 0; None divides the recording.
        shape: [channels] of an ear, or [2, height, width] of a camera (after pooling).
        pool: Side of the squares of camera pixels that are added up.

    Returns:
        Counts, uint8, [T, shape...]; 255 stands for 255 or more.

    Example:
        >>> kind = [("t", int), ("x", int)]
        >>> events = np.array([(0, 0), (900, 1), (1000, 1), (2500, 0)], kind)
        >>> frames(events, steps=2, window=1000, shape=[2]).tolist()
        [[1, 1], [0, 1]]
        >>> frames(events, steps=2, window=None, shape=[2]).tolist()
        [[1, 2], [1, 0]]
    """
    counts = np.zeros((steps, *shape), np.int64)
    if len(events):
        t = events["t"].astype(np.int64)
        if window is None:
            t = t - t.min()
            bins = t * steps // (t.max() + 1)
        else:
            bins = np.floor_divide(t, window).astype(np.int64)
        kept = (bins >= 0) & (bins < steps)
        place: tuple[NDArray[Any], ...] = (events["x"][kept].astype(np.int64) // pool,)
        if len(shape) == 3:
            y = events["y"][kept].astype(np.int64) // pool
            place = (events["p"][kept].astype(np.int64), y, *place)
        flat = np.ravel_multi_index((bins[kept], *place), counts.shape)
        counts = np.bincount(flat, minlength=counts.size).reshape(counts.shape)
    return np.minimum(counts, 255).astype(np.uint8)


def check_binning(steps: int, window: float | None, per_class: int | None) -> None:
    """Refuse binning that makes no sense, before anything is read.

    Args:
        steps: Number of bins, a positive integer.
        window: Width of a bin, positive and finite, or None.
        per_class: Recordings per class, a positive integer, or None.

    Raises:
        ValueError: If one is outside its range.
    """
    for name, number in (("steps", steps), ("per_class", per_class)):
        if number is None and name == "per_class":
            continue
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            raise ValueError(f"{name} must be a positive integer, got {number!r}")
    if window is not None and not 0 < window < float("inf"):
        raise ValueError(f"window must be positive and finite, got {window!r}")


def in_turn(targets: Sequence[int], per_class: int | None = None) -> list[int]:
    """Order in which the classes take turns, so that the first n are balanced.

    Args:
        targets: Class of each recording, in the order of the files.
        per_class: At most this many of each class; None takes all.

    Example:
        >>> in_turn([0, 0, 0, 1, 1])
        [0, 3, 1, 4, 2]
        >>> in_turn([0, 0, 0, 1, 1], per_class=1)
        [0, 3]
    """
    seen: dict[int, int] = {}
    keys = []
    for index, target in enumerate(targets):
        turn = seen[target] = seen.get(target, -1) + 1
        if per_class is None or turn < per_class:
            keys.append((turn, target, index))
    return [index for _, _, index in sorted(keys)]


def recordings(
    name: str,
    kind: str,
    *,
    archive: str,
    md5: str,
    contents: Sequence[str],
    download: bool,
    refresh: bool,
    opened: Sequence[str] = (),
    **arguments: Any,
) -> tuple[Any, Archive]:
    """Open one of tonic's data sets, from an archive that is checked.

    Args:
        name: Our name of the data set.
        kind: Name of tonic's class; also of the folder that tonic makes.
        archive: Name of the archive in that folder.
        md5: MD5 of the archive, as tonic has it.
        contents: What extracting makes in the folder, patterns.
        download: Whether to fetch the archive if it is missing.
        refresh: Whether to fetch a damaged archive, and to extract it again in any case.
        opened: Extracted files that tonic opens at once; they are checked, or extracted, before.
        **arguments: Of tonic's class.

    Returns:
        Tonic's data set, and the archive, which knows what each extracted file must be.

    Raises:
        FileNotFoundError: If the archive is nowhere.
        ValueError: If the archive or a file to open is truncated or is not the known one.
        ImportError: If tonic is not installed.
    """
    make = getattr(tonic(), kind)
    places = list(files.folders(name))
    wanted = (f"{kind}/{archive}",)
    path = files.locate(wanted, places)
    error: ValueError | None = None if path is None else _wrong(path, md5)
    if (path is None and (download or refresh)) or (error is not None and refresh):
        try:
            path = _fetch(make, files.cache(name), wanted[0], arguments)
        except files.OFFLINE as failure:
            raise _absent(name, wanted[0], failure) from failure
        error = _wrong(path, md5)
    elif path is not None and refresh:
        _remove(path.parent, contents)
    if path is None:
        raise _absent(name, wanted[0], None)
    if error is not None:
        raise files.damaged(name, error) from error
    known = Archive(name, path)
    for extracted in opened:
        if (path.parent / extracted).exists():
            known.check(path.parent / extracted)
        else:  # tonic takes the folder for complete as soon as the other split is in it
            known.extract(extracted)
    # The archive is here and right: tonic extracts it if need be, and downloads nothing.
    return make(save_to=str(path.parent.parent), **arguments), known


class Archive:
    """What an archive says about the files that were extracted from it.

    Args:
        name: Our name of the data set.
        path: The archive, a ZIP file.
    """

    def __init__(self, name: str, path: Path) -> None:
        self.name, self.path = name, path
        try:
            with zipfile.ZipFile(path) as archive:
                self._known = {info.filename: info for info in archive.infolist()}
        except (OSError, zipfile.BadZipFile) as error:
            raise files.damaged(name, f"{path} is truncated or corrupt: {error}") from error

    def extract(self, name: str) -> None:
        """Extract one file into the folder of the archive; it gets its name when it is whole.

        Args:
            name: Its name in the archive.
        """
        begun = self.path.parent / f"{name}.part"
        with (
            zipfile.ZipFile(self.path) as archive,
            archive.open(name) as content,
            begun.open("wb") as file,
        ):
            shutil.copyfileobj(content, file)
        begun.replace(self.path.parent / name)

    def check(self, path: Path) -> None:
        """Compare an extracted file with size and CRC-32 in the archive.

        Args:
            path: The file, below the folder of the archive.

        Raises:
            ValueError: If it is truncated or changed.
        """
        info = self._known.get(path.relative_to(self.path.parent).as_posix())
        if info is None:
            raise files.damaged(self.name, f"{path} is not in {self.path}")
        size = path.stat().st_size if path.is_file() else 0
        crc = 0
        if size == info.file_size:
            with path.open("rb") as stream:
                while block := stream.read(1 << 20):
                    crc = zlib.crc32(block, crc)
        if size != info.file_size or crc != info.CRC:
            raise files.damaged(
                self.name,
                f"{path} is truncated or corrupt: it must have {info.file_size} bytes with CRC-32 "
                f"{info.CRC:08x} as in {self.path.name}, got {size} bytes",
            )

    def complete(self, count: int, suffix: str) -> None:
        """Refuse an extraction that was broken off.

        Args:
            count: Number of files that were found.
            suffix: How the names of the files end.

        Raises:
            ValueError: If the archive has another number of them.
        """
        if (known := sum(name.endswith(suffix) for name in self._known)) != count:
            raise files.damaged(
                self.name,
                f"{self.path} was extracted to {count} files {suffix} of {known}: broken off or "
                "mixed with others",
            )


def _fetch(make: Any, target: Path, wanted: str, arguments: dict[str, Any]) -> Path:
    """Let tonic download and extract into a temporary folder; move what is complete."""
    target.mkdir(parents=True, exist_ok=True)
    folder = target / wanted
    with TemporaryDirectory(dir=target, prefix=".incoming-") as incoming:
        try:
            make(save_to=incoming, **arguments)
        except RuntimeError as error:  # what tonic raises for another checksum
            raise ValueError(f"{wanted} arrived truncated or changed: {error}") from error
        folder.parent.mkdir(exist_ok=True)
        for path in (Path(incoming) / wanted).parent.iterdir():
            place = folder.parent / path.name
            if place.is_dir():
                shutil.rmtree(place)
            os.replace(path, place)
    return folder


def _wrong(path: Path, md5: str) -> ValueError | None:
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if found == md5:
        return None
    return ValueError(f"{path} is truncated or corrupt: its MD5 must be {md5}, got {found}")


def _remove(folder: Path, contents: Sequence[str]) -> None:
    for pattern in contents:
        for path in folder.glob(pattern):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


def _absent(name: str, wanted: str, error: BaseException | None) -> FileNotFoundError:
    return files.absent(
        name,
        f"{name}'s file {wanted}",
        files=f"the archive (as {wanted}, the folder that tonic makes)",
        error=error,
    )
