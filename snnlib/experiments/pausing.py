"""Pauses the queue: what needs the machine for itself leaves a note, and no run is begun.

A note is a file in the folder `paused` of the results; benchmarks and builds leave one while they
last, `python -m snnlib.experiments pause` one that stays until `resume`. A note of a process that
has ended counts no more. A run that has begun is finished.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from snnlib.experiments.sealed import replace_text
from snnlib.experiments.store import default_folder

__all__ = ["holders", "pause", "paused", "resume", "wait"]

BY_HAND = "by hand"
INTERVAL = 2.0
"""Seconds between two looks."""


def _notes(folder: Path | None) -> Path:
    return (default_folder() if folder is None else folder) / "paused"


def pause(reason: str, folder: Path | None = None) -> None:
    """Pause until `resume`.

    Args:
        reason: Shown by `status`.
        folder: Of the results; None is that of this user.
    """
    replace_text(_notes(folder) / BY_HAND, reason)


def resume(folder: Path | None = None) -> None:
    """Take back a pause by hand; those of others stay."""
    (_notes(folder) / BY_HAND).unlink(missing_ok=True)


@contextlib.contextmanager
def paused(reason: str, folder: Path | None = None) -> Iterator[None]:
    """Pause while the block lasts; where no note can be left, nothing is paused.

    Args:
        reason: Shown by `status`.
        folder: Of the results; None is that of this user.
    """
    note = _notes(folder) / str(os.getpid())
    with contextlib.suppress(OSError):
        replace_text(note, reason)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            note.unlink(missing_ok=True)


def holders(folder: Path | None = None) -> list[str]:
    """Reasons of the pauses that count now; empty if the queue runs."""
    notes = _notes(folder)
    found = []
    for note in sorted(notes.iterdir()) if notes.is_dir() else ():
        if note.name == BY_HAND or (note.name.isdigit() and _lives(int(note.name))):
            with contextlib.suppress(OSError):  # it may be gone by now
                found.append(note.read_text(encoding="utf-8"))
    return found


def wait(
    folder: Path | None = None,
    *,
    until: float | None = None,
    say: Callable[[str], None] = print,
) -> None:
    """Return when nothing pauses the queue.

    Args:
        folder: Of the results; None is that of this user.
        until: Time on the monotonic clock at which it returns anyway.
        say: Gets one line when the waiting begins.
    """
    told = False
    while (reasons := holders(folder)) and (until is None or time.monotonic() < until):
        if not told:
            say(f"paused: {', '.join(reasons)}")
            told = True
        time.sleep(INTERVAL)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        return True
    return True
