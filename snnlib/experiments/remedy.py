"""Do what a diagnosis says."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

import snnlib.init
from snnlib.probe import diagnose

__all__ = ["apply_remedy_", "executed", "heal_"]

CALL = "snnlib.init.initialize_(model"
MOST = 10


def apply_remedy_(network: nn.Module, batch: Tensor, *, seed: int = 0) -> str:
    """Diagnose a network and execute, as it is printed, the first call that changes weights.

    Args:
        network: The network, changed in place.
        batch: Its input.
        seed: Of the diagnosis and of torch's random numbers while the call runs.

    Returns:
        The call; empty if no finding names one.

    Example:
        >>> from snnlib.networks import mlp
        >>> seeded = torch.Generator().manual_seed(0)
        >>> network = mlp([100] * 8, encode=False, init=None, generator=seeded)
        >>> apply_remedy_(network, torch.randn(4, 8, 100, generator=seeded))
        'snnlib.init.initialize_(model, "micheli2024", example=batch)'
    """
    found = diagnose(network, batch, networks=0, seed=seed)
    calls = [f.remedy for f in found.findings if f.remedy.startswith(CALL)]
    if not calls:
        return ""
    executed(calls[0], network, batch, seed=seed)
    return calls[0]


def heal_(network: nn.Module, batch: Tensor, *, seed: int = 0) -> list[str]:
    """Diagnose and do what the first finding with a call on the network says, until none is left.

    Args:
        network: The network, changed in place.
        batch: Its input.
        seed: As for `apply_remedy_`.

    Returns:
        The calls; it ends before one that was made already, and after ten.

    Example:
        >>> from snnlib.networks import mlp
        >>> seeded = torch.Generator().manual_seed(0)
        >>> network = mlp([100] * 8, encode=False, init=None, generator=seeded)
        >>> heal_(network, torch.randn(4, 8, 100, generator=seeded))[0]
        'snnlib.init.initialize_(model, "micheli2024", example=batch)'
    """
    calls: list[str] = []
    while len(calls) < MOST:
        found = diagnose(network, batch, networks=0, seed=seed)
        own = [f.remedy for f in found.findings if f.remedy.startswith((CALL, "model."))]
        if not own or own[0] in calls:
            break
        executed(own[0], network, batch, seed=seed)
        calls.append(own[0])
    return calls


def executed(call: str, network: nn.Module, batch: Tensor, *, seed: int = 0) -> dict[str, Any]:
    """Execute a remedy as it is printed.

    Args:
        call: The remedy.
        network: What is called `model` in it.
        batch: What is called `batch` in it.
        seed: Of torch's random numbers while it runs.

    Returns:
        The names that it set, `model` and `batch` among them.
    """
    scope: dict[str, Any] = {"model": network, "batch": batch, "snnlib": snnlib, "torch": torch}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        exec(call, scope)
    return scope
