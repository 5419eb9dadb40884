r"""Where files of data are, how they get there, and what is said when they are not there.

A data set `name` is looked for in this order: the subfolder `name` of the folder that the
environment variable SNNLIB_DATA names, that folder itself, and `name` in the user's cache
(``~/.cache/snnlib``, or `snnlib` in XDG_CACHE_HOME). Underscores become hyphens: `fashion-mnist`.
Downloads go to the cache, and only where `download=True` or `refresh=True` asks for them. A file
is complete and checked before it gets its name.
"""

from __future__ import annotations

import http.client
import os
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

TIMEOUT = 60.0  # seconds without an answer
OFFLINE = (OSError, http.client.HTTPException)
"""What a failing download raises."""


def cache(name: str) -> Path:
    """The user's cache of one data set.

    Args:
        name: Name of the data set.
    """
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "snnlib" / name.replace("_", "-")


def folders(name: str) -> Iterator[Path]:
    """Where the files of a data set are looked for, in this order.

    Args:
        name: Name of the data set.
    """
    if own := os.environ.get("SNNLIB_DATA"):
        yield Path(own) / name.replace("_", "-")
        yield Path(own)
    yield cache(name)


def locate(names: Iterable[str], places: Iterable[Path]) -> Path | None:
    """The first file with one of these names in one of these folders.

    Args:
        names: Paths inside a folder, the preferred one first.
        places: Folders, the preferred one first.

    Example:
        >>> locate(["no such file"], [Path.cwd()]) is None
        True
    """
    names = list(names)
    for place in places:
        for name in names:
            if (place / name).is_file():
                return place / name
    return None


def absent(
    name: str,
    what: str,
    *,
    files: str,
    first: str = "",
    downloads: bool = True,
    error: BaseException | None = None,
) -> FileNotFoundError:
    """The one error about data that are not on this machine: three ways to get them.

    Args:
        name: Name of the data set.
        what: What was not found.
        files: What to put into a folder by hand.
        first: A way that comes before the others.
        downloads: Whether the data set can be downloaded.
        error: Why a download failed; None if none was tried.
    """
    tried = "" if error is None else f", and the download failed ({error})"
    call = f"call load({name!r}, download=True) where there is a network" if downloads else ""
    folder, variable = f"put {files} into {cache(name)}", "SNNLIB_DATA to a folder that has them"
    if first and call:
        ways = [first, call, f"{folder} or set {variable}"]
    else:
        ways = [first or call, folder, f"set {variable}"]
    return FileNotFoundError(
        f"{what} was not found{tried}. Three ways to get it: {'; '.join(ways[:-1])}; or {ways[-1]}."
    )


def damaged(name: str, error: object) -> ValueError:
    """The error about a file that is truncated or is not the known one.

    Args:
        name: Name of the data set.
        error: What is wrong with it; names the file.
    """
    return ValueError(
        f"{error}. load({name!r}, refresh=True) fetches it again into {cache(name)}; "
        "remove the file if it is elsewhere"
    )


def download(url: str) -> bytes:
    """The content behind an address.

    Args:
        url: The address.

    Raises:
        OSError: If there is no network or no such file.
    """
    request = urllib.request.Request(url, headers={"User-Agent": "snnlib"})
    with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
        content: bytes = response.read()
    return content


@contextmanager
def staging(target: Path) -> Iterator[Path]:
    """A temporary folder whose files move to the target folder at the end, unless the block fails.

    On the same file system, so that each file appears at once or not at all.

    Args:
        target: The folder; made if missing.

    Example:
        >>> with TemporaryDirectory() as base:
        ...     with staging(Path(base) / "new") as folder:
        ...         _ = (folder / "one").write_text("1")
        ...     [path.name for path in (Path(base) / "new").iterdir()]
        ['one']
    """
    target.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=target, prefix=".incoming-") as folder:
        yield Path(folder)
        for path in sorted(Path(folder).iterdir()):
            os.replace(path, target / path.name)
