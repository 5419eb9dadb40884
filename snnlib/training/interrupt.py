"""Ctrl-C between two updates instead of inside one."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["Interrupt", "postponed"]


class Interrupt:
    """Whether somebody asked to stop."""

    asked = False

    def now(self) -> None:
        """Stop here if somebody asked to.

        Raises:
            KeyboardInterrupt: If so.
        """
        if self.asked:
            raise KeyboardInterrupt


@contextmanager
def postponed(wanted: bool = True) -> Iterator[Interrupt]:
    """Keep the first Ctrl-C for the loop to see; a second one stops at once.

    Outside the main thread, which alone receives signals, or where Ctrl-C is ignored, nothing
    changes.
    """
    interrupt = Interrupt()
    before = signal.getsignal(signal.SIGINT)
    main = threading.current_thread() is threading.main_thread()
    if not wanted or not main or not callable(before):
        yield interrupt
        return

    def handle(number: int, frame: FrameType | None) -> None:
        interrupt.asked = True
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, handle)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, before)
