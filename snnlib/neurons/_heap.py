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

LEAST = 2**18
"""Bytes of a layer's current below which the gaps do not matter."""


def give_back(size: int) -> None:
    """Give free pages back, after a layer whose current took `size` bytes.

    Example:
        >>> give_back(2**20)
    """
    trim = _trim()
    if size >= LEAST and trim is not None:
        trim(0)


@functools.cache
def _trim() -> Callable[[int], Any] | None:
    """Glibc's `malloc_trim`; None with another library."""
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return None
