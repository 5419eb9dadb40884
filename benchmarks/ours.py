"""The ways in which this library runs one network."""

from __future__ import annotations

import contextlib
import copy
import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor, nn

from benchmarks.peers import layered
from snnlib import networks

__all__ = ["KEEPS", "LEVERS", "Variant", "variants"]

KEEPS = ("float32", "bfloat16", "spikes")
"""What `networks.fuse` may keep for the way back."""

LEVERS: dict[str, dict[str, Any]] = {
    "MKL": {"dense": "mkl"},
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


def variants(network: nn.Sequential) -> tuple[dict[str, Variant], dict[str, str]]:
    """What this version of the library has, and why the rest is missing.

    All share the network's parameters.

    Example:
        >>> found, skipped = variants(networks.mlp([4, 3, 2]))
        >>> list(found)[:2]
        ['snnlib', 'snnlib, unfused']
    """
    found = {
        "snnlib": Variant(network),
        "snnlib, unfused": Variant(layered(network, lambda neuron: neuron)),
    }
    skipped = {}
    for keep in KEEPS:
        name = f"snnlib, fused, keeps {keep}"
        if not hasattr(networks, "fuse"):
            skipped[name] = "this version has no networks.fuse"
            continue
        try:
            found[name] = Variant(fused(network, keep))
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


def fused(network: nn.Sequential, keep: str) -> nn.Module:
    """The network fused, with the same parameters; the one given stays as it is."""
    # the copy shares the parameters: fuse may work in place
    same = {id(parameter): parameter for parameter in network.parameters()}
    return networks.fuse(copy.deepcopy(network, same), keep=keep)  # type: ignore[attr-defined]
