"""Text files that appear complete or not at all, and are refused if they were changed since.

The checksums of a folder's files are in its `SHA256SUMS`, in the form that `sha256sum -c` reads.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

__all__ = ["SUMS", "CorruptResult", "read_sealed", "replace_text", "write_sealed"]

SUMS = "SHA256SUMS"
"""Name of the file of checksums."""


class CorruptResult(ValueError):
    """A stored result that is not what a run wrote."""


def replace_text(path: Path, text: str) -> None:
    """Write a file at once: who reads it, or is killed, finds the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".part")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)  # made for this user alone
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_sealed(path: str | Path, text: str) -> None:
    r"""Write a file and its checksum.

    A process that is killed in between leaves the old file or the new one, and both are accepted.

    Args:
        path: The file; its folder is made.
        text: What it holds, with "\n" at the end of lines.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _alone(path.parent):
        others = [(digest, name) for digest, name in _sums(path.parent) if name != path.name]
        old = [(digest, name) for digest, name in _sums(path.parent) if name == path.name]
        new = (_digest(text.encode()), path.name)
        _write_sums(path.parent, [*others, *old, new])
        replace_text(path, text)
        _write_sums(path.parent, [*others, new])


def read_sealed(path: str | Path) -> str:
    """The text of a file that `write_sealed` made; line endings that git changed do not matter.

    Raises:
        CorruptResult: If the file is not the one whose checksum is stored, or there is none.
    """
    path = Path(path)
    content = path.read_bytes().replace(b"\r\n", b"\n")
    expected = [digest for digest, name in _sums(path.parent) if name == path.name]
    if not expected:
        raise CorruptResult(f"{path} has no checksum in {path.parent / SUMS}")
    if _digest(content) not in expected:
        raise CorruptResult(
            f"{path} is damaged or was changed: its checksum is not the one in "
            f"{path.parent / SUMS}; get or write it again"
        )
    return content.decode()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _sums(folder: Path) -> list[tuple[str, str]]:
    """Checksums with the names of their files."""
    try:
        lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    return [(digest, name) for digest, _, name in (line.partition("  ") for line in lines)]


def _write_sums(folder: Path, sums: list[tuple[str, str]]) -> None:
    lines = sorted({f"{digest}  {name}\n" for digest, name in sums}, key=lambda line: line[66:])
    replace_text(folder / SUMS, "".join(lines))


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let one process at a time change the checksums of a folder, where the system has locks."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
