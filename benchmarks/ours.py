"""The ways in which this library runs one network."""

from __future__ import annotations

import contextlib
import copy
import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from torch import Tensor, nn

from benchmarks.peers import layered
from snnlib import networks

__all__ = ["KEEPS", "LEVERS", "Variant", "variants"]

KEEPS: tuple[Literal["full", "bfloat16", "spikes"], ...] = ("full", "bfloat16", "spikes")
"""What `networks.fuse` may keep for the way back."""

LEVERS: dict[str, dict[str, Any]] = {
    "torch": {"dense": "torch"},
    "oneDNN": {"dense": "onednn"},
    "sparse": {"sparse": True},
    "dense": {"sparse": False},
}
"""Switches of `snnlib.products.forced`, by the name of the variant."""


@dataclass(frozen=True)
class Variant:
    """A way to run a network.

    Attributes:
        run: Currents [T, batch, ...] to the output.
        context: What has to hold while it runs, on the way back too.
    """

    run: nn.Module | Callable[[Tensor], Tensor]
    context: Callable[[], contextlib.AbstractContextManager[Any]] = contextlib.nullcontext


def forced() -> Callable[..., contextlib.AbstractContextManager[Any]] | None:
    """The library's switch of products, if this version has one."""
    if importlib.util.find_spec("snnlib.products") is None:
        return None
    return getattr(importlib.import_module("snnlib.products"), "forced", None)


def variants(
    network: nn.Sequential, plain: nn.Sequential
) -> tuple[dict[str, Variant], dict[str, str]]:
    """What this version of the library has, and why the rest is missing.

    Args:
        network: The network as it is built; as it is, and with the switches of products.
        plain: Its copy in torch's layout (`peers.contiguous`), whose layers are called one by one.

    Returns:
        Variants by name, and reasons by name. The fused networks share a copy of the weights,
        because `networks.fuse` lays them out anew.

    Example:
        >>> found, skipped = variants(*[networks.mlp([4, 3, 2])] * 2)
        >>> list(found)[:2]
        ['snnlib', 'snnlib, unfused']
    """
    found = {
        "snnlib": Variant(network),
        "snnlib, unfused": Variant(layered(plain, lambda neuron: neuron)),
    }
    skipped = {}
    own = copy.deepcopy(network)
    for keep in KEEPS:
        name = f"snnlib, fused, keeps {keep}"
        if not hasattr(networks, "fuse"):
            skipped[name] = "this version has no networks.fuse"
            continue
        try:
            found[name] = Variant(networks.fuse(own, keep=keep))
        except ValueError as error:
            skipped[name] = str(error)
    switch = forced()
    for lever, setting in LEVERS.items():
        name = f"snnlib, {lever} products"
        if switch is None:
            skipped[name] = "this version has no snnlib.products.forced"
            continue
        try:
            with switch(**setting):
                pass
        except ValueError as error:
            skipped[name] = str(error)
        else:
            found[name] = Variant(network, partial(switch, **setting))
    return found, skipped
