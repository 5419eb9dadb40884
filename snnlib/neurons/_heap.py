"""Memory that is free, given back to the system.

Where layers keep little for the way back, small pieces that stay lie between the big ones that come
and go. glibc then carves the next small piece out of a big gap, the gap is too small for the next
big one, and the heap grows to several times of what is held.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from typing import Any

BYTES, LAYERS = 2**22, 4
"""Bytes of currents, and layers, after which free pages go back; a big one is asked for again."""

_since = [0, 0]


def give_back(size: int) -> None:
    """Give free pages back now and then, after a layer whose current took `size` bytes.

    Example:
        >>> give_back(2**20)
    """
    _since[0] += size
    _since[1] += 1
    if _since[0] >= BYTES and _since[1] >= LAYERS:
        _since[:] = [0, 0]
        if (trim := _trim()) is not None:
            trim(0)


@functools.cache
def _trim() -> Callable[[int], Any] | None:
    """Glibc's `malloc_trim`; None with another library."""
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return None
