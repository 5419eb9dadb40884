"""Stochastic weight averaging: the mean of the weights over the last epochs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

__all__ = ["Average", "Averaging", "check", "renew_statistics"]

Averaging: TypeAlias = Literal["swa"]


def check(averaging: str | None, start: float) -> None:
    """Refuse settings outside their range.

    Raises:
        ValueError: Names the setting.
    """
    if averaging not in (None, "swa"):
        raise ValueError(f"averaging must be None or 'swa', got {averaging!r}")
    if not 0 <= start < 1:
        raise ValueError(f"averaging_start must be in [0, 1), got {start!r}")


class Average:
    r"""The mean of the weights at the end of every epoch from a start on.

    $$\bar w_n = \bar w_{n-1} + \frac{w_n - \bar w_{n-1}}{n}$$

    as `torch.optim.swa_utils.AveragedModel` computes it.

    Args:
        network: The network whose weights are averaged.
        start: Share of the epochs that come before the first one that counts.
        epochs: Number of epochs; the last one always counts.

    Source: Izmailov et al. 2018, "Averaging weights leads to wider optima and better
    generalization".
    """

    def __init__(self, network: nn.Module, start: float, epochs: int) -> None:
        self.model = AveragedModel(network)
        self.first = start * epochs

    def add(self, network: nn.Module, epoch: int) -> None:
        """Count the weights after an epoch (0 is the first)."""
        if epoch + 1 > self.first:
            self.model.update_parameters(network)

    @torch.no_grad()
    def leave_in(self, network: nn.Module) -> None:
        """Write the mean into the network."""
        for here, mean in zip(network.parameters(), self.model.module.parameters(), strict=True):
            here.copy_(mean)


def renew_statistics(network: nn.Module, passes: Callable[[], Iterable[Any]]) -> None:
    """Take the running statistics of all batch norms anew: means over one pass of the data.

    The mean weights never saw the old ones. The network is in training mode: what else it keeps
    running (`MPInit`) goes on as in training.

    Args:
        network: The network, in training mode.
        passes: Runs it on the data, batch by batch; not called without a batch norm.
    """
    norms: list[Any] = [
        module
        for module in network.modules()
        if isinstance(getattr(module, "running_mean", None), Tensor) and hasattr(module, "momentum")
    ]
    if not norms:
        return
    before = [norm.momentum for norm in norms]
    try:
        with torch.no_grad():
            for count, run in enumerate(passes(), start=1):
                for norm in norms:
                    norm.momentum = 1 / count
                run()
    finally:
        for norm, momentum in zip(norms, before, strict=True):
            norm.momentum = momentum
