"""The old place of `snnlib.dialects.running`; names taken from here warn."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from snnlib.dialects import running

if TYPE_CHECKING:
    from snnlib.dialects.running import Time, resolve_time, run

__all__ = ["Time", "resolve_time", "run"]


def __getattr__(name: str) -> Any:
    """Take a name from its new place (PEP 562).

    Raises:
        AttributeError: If it is not there either.
    """
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warnings.warn(
        f"snnlib.running.{name} is now snnlib.dialects.running.{name}",
        DeprecationWarning,
        stacklevel=2,
    )
    return getattr(running, name)
