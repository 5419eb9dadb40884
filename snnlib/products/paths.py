"""Which way a product takes: by the processor's name and by a switch."""

from __future__ import annotations

import functools
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias

Dense: TypeAlias = Literal["auto", "torch", "onednn"]

NUMERICS = 2
"""Version of the arithmetic of fused layers: 1 until products were chosen, 2 since."""

DENSE = ("auto", "torch", "onednn")
CPUINFO = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class Paths:
    """What is chosen.

    Attributes:
        dense: Library of dense products; "auto" is oneDNN on AMD processors.
        sparse: Whether spikes are summed instead of multiplied; None goes by their share.
    """

    dense: Dense = "auto"
    sparse: bool | None = None


def _from_environment() -> Paths:
    given = os.environ.get("SNNLIB_DENSE", "auto")
    if given not in DENSE:
        raise ValueError(f"SNNLIB_DENSE must be one of {', '.join(DENSE)}; got {given!r}")
    return Paths(dense=given)  # type: ignore[arg-type]


_state = [_from_environment()]


def paths() -> Paths:
    """What is chosen now."""
    return _state[-1]


@contextmanager
def forced(*, dense: Dense | None = None, sparse: bool | None = None) -> Iterator[None]:
    """Choose by hand, for all products until the block ends, backward passes within it included.

    Args:
        dense: "torch", "onednn", or "auto" for oneDNN on AMD processors; None leaves it.
        sparse: Whether spikes are summed (True), multiplied (False), or summed where they are few
            (None).

    Raises:
        ValueError: If `dense` is another word, or `sparse` none of the three.

    Example:
        >>> import torch
        >>> from snnlib import products
        >>> x, weight = torch.eye(3), torch.arange(6.0).reshape(2, 3)
        >>> with products.forced(sparse=True):
        ...     products.Linear(spikes=True).forward(x, weight, None)
        tensor([[0., 3.],
                [1., 4.],
                [2., 5.]])
    """
    if dense is not None and dense not in DENSE:
        raise ValueError(f"dense must be one of {', '.join(DENSE)}; got {dense!r}")
    if sparse not in (None, True, False):
        raise ValueError(f"sparse must be True, False or None; got {sparse!r}")
    chosen = paths() if dense is None else replace(paths(), dense=dense)
    _state.append(replace(chosen, sparse=sparse))
    try:
        yield
    finally:
        _state.pop()


@functools.cache
def is_amd() -> bool:
    """Whether the processor names AMD as its vendor."""
    try:
        return "AuthenticAMD" in CPUINFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "AMD" in platform.processor()
