"""MP-Init: the membrane of a layer starts at a running mean of where it ended.

Source: Kook, Yu, Oh, Park, Stabilizing direct training of spiking neural networks: membrane
potential initialization and threshold-robust surrogate gradient, 2026.
"""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn

__all__ = ["MPInit"]

Over: TypeAlias = Literal["active", "all"]


class MPInit(nn.Module):
    r"""One number per layer: where the membrane of all its neurons starts.

    After each training batch the number moves towards the mean of the potentials U[T] that are
    left after the last step and its reset,

    .. math:: \mu \leftarrow (1 - m)\,\mu + m \,\overline{U[T]},

    with momentum m, as in torch's batch norm. The mean is over the batch and over the neurons that
    are active, which means that they spike at least once in the T steps (`over="active"`, as in
    the paper), or over all neurons. Only the second estimates E[U]; in the book's small network
    the first is the better start. A batch without an active neuron changes nothing.

    A layer takes it as `LIF(initial=MPInit())`, keeps a copy of its own as submodule, and calls
    `update` after its T steps in training mode only. The number is a buffer: it is saved, loaded
    and moved with the model, `DistributedDataParallel` sends the first process's to all, and no
    gradient flows through it.

    Args:
        momentum: Weight m of the newest batch, in (0, 1].
        over: `"active"` or `"all"`.

    Attributes:
        mean: The running mean μ, a scalar in the unit of the potential; 0 (rest) at the start.

    Raises:
        ValueError: If the momentum is outside (0, 1] or `over` is unknown.

    Source:
        Kook et al. 2026, section 4.4 and their code, which gives the newest batch the weight 0.1
        (Algorithm 1 of the paper prints 0.9 for it).

    Example:
        A constant current 3/4, leak 1/2 and threshold 1: U[2] = 3/4 + 3/8 - 1 after a spike.

        >>> import torch
        >>> from snnlib.neurons import LIF
        >>> layer = LIF(reset="subtract_leak", leak=0.5, initial=MPInit(momentum=0.1))
        >>> spikes = layer(torch.full((2, 1, 1), 0.75))
        >>> abs(layer.initial.mean.item() - 0.1 * 0.125) < 1e-8
        True
        >>> "initial.mean" in layer.state_dict()
        True
    """

    mean: Tensor

    def __init__(self, momentum: float = 0.1, *, over: Over = "active") -> None:
        super().__init__()
        if isinstance(momentum, bool) or not isinstance(momentum, (int, float)):
            raise ValueError(f"momentum must be a number in (0, 1], got {momentum!r}")
        if not 0 < momentum <= 1:
            raise ValueError(f"momentum must be in (0, 1], got {momentum!r}")
        if over not in get_args(Over):
            known = ", ".join(repr(choice) for choice in get_args(Over))
            raise ValueError(f"over must be one of {known}, got {over!r}")
        self.momentum = float(momentum)
        self.over = over
        self.register_buffer("mean", torch.zeros(()))

    def forward(self) -> Tensor:
        """The membrane before the first step: a copy, which the next update does not change."""
        return self.mean.clone()

    @torch.no_grad()
    def update(self, potential: Tensor, spikes: Tensor) -> None:
        """Move the running mean towards the mean of one batch.

        Args:
            potential: U[T], after the last step and its reset, [batch, features...].
            spikes: Spikes of all steps, [T, batch, features...].

        Raises:
            ValueError: If the shapes do not belong together.
        """
        if spikes.shape[1:] != potential.shape:
            raise ValueError(
                "spikes must be [T, batch, features...] for a potential [batch, features...], got "
                f"{list(spikes.shape)} for {list(potential.shape)}"
            )
        # Half precision cannot count the neurons of a large layer.
        wide = torch.promote_types(self.mean.dtype, torch.float32)
        active = spikes.amax(0) if self.over == "active" else torch.ones_like(potential)
        count = active.sum(dtype=wide)
        total = (potential * active).sum(dtype=wide)
        # No branch on the device's values, which would have to be waited for.
        step = self.momentum * (count > 0)
        self.mean.add_(step * (total / count.clamp(min=1) - self.mean))

    def extra_repr(self) -> str:
        """The settings and the running mean, for `print(model)`."""
        mean = "meta" if self.mean.is_meta else f"{self.mean.item():g}"
        return f"momentum={self.momentum:g}, over={self.over!r}, mean={mean}"
