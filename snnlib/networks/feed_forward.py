"""A row of layers over time: all steps of a layer of weights are one matrix product."""

from __future__ import annotations

from torch import Tensor, nn

from snnlib._checks import real_tensor
from snnlib.networks._pairs import fusable, is_neuron, product_of, run_pair, spikes_after
from snnlib.networks.settings import check_integer
from snnlib.neurons._weighted import KEEP, Keep
from snnlib.products import apply

ROWS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.AvgPool2d, nn.MaxPool2d)
"""Layers that know no time: all steps are rows of one batch."""


def constant(x: Tensor, steps: int) -> Tensor:
    r"""Repeat a static input over time without a copy: i[t] = x for t = 0, ..., T-1.

    Args:
        x: Input [batch, features...].
        steps: Number of time steps T >= 1.

    Returns:
        A view [T, batch, features...] of x (read-only: all steps share their memory).

    Raises:
        ValueError: If `steps` is not a positive integer, or x no tensor of real numbers.

    Source: Micheli et al. 2024, section IV-B: the input is fed at every time step.

    Example:
        >>> import torch
        >>> x = torch.eye(2)
        >>> current = constant(x, 3)
        >>> current.shape, current.data_ptr() == x.data_ptr()
        (torch.Size([3, 2, 2]), True)
        >>> current.sum().item() == 3 * x.sum().item()
        True
    """
    real_tensor("x", x)
    check_integer("steps", steps)
    return x.expand(steps, *x.shape)


class FeedForward(nn.Sequential):
    """Layers in a row over time: [T, batch, features...] in, [T, batch, ...] out.

    Linear, convolution and torch's pooling layers see all time steps as rows of one batch. A
    current that repeats the same values at every step (`constant`) passes its first such layer
    once.

    A layer of weights and the LIF neurons behind it run as one (`snnlib.networks.fuse` says what
    that changes and what is kept for the way back), unless a hook watches either.

    Example:
        Two steps through a layer of weights are the same as each step alone.

        >>> import torch
        >>> from collections import OrderedDict
        >>> network = FeedForward(OrderedDict(linear=nn.Linear(3, 2)))
        >>> x = torch.arange(12.0).reshape(2, 2, 3)
        >>> torch.equal(network(x)[1], network(x[1:])[0])
        True
    """

    keep: Keep | None = "full"

    def forward(self, current: Tensor) -> Tensor:
        """Output of the last layer.

        Raises:
            ValueError: If the current has fewer than the three dimensions [T, batch, features], or
                `keep` is no word that `fuse` knows.
        """
        if current.dim() < 3:
            raise ValueError(
                "current must be [T, batch, features...] with at least three dimensions, "
                f"got {tuple(current.shape)}"
            )
        if self.keep not in (None, *KEEP):
            raise ValueError(f"keep must be None or one of {KEEP}, got {self.keep!r}")
        keep = self.keep if self.keep is not None and fusable(current) else None
        layers, spikes, index = list(self), False, 0
        # In one function: torch.compile would trace a helper once for layers of all shapes.
        while index < len(layers):
            layer, steps = layers[index], current.shape[0]
            behind = layers[index + 1] if index + 1 < len(layers) else None
            index += 1
            if not isinstance(layer, ROWS):
                current = layer(current)
            elif (
                keep is not None
                and behind is not None
                and is_neuron(behind)
                and (product := product_of(layer, spikes)) is not None
            ):
                current = run_pair(layer, behind, product, current, keep)
                layer, index = behind, index + 1
            elif steps > 1 and current.stride(0) == 0:  # the same at every step
                current = layer(current[0])
                current = current.expand(steps, *current.shape)
            elif keep is not None and (product := product_of(layer, spikes)) is not None:
                rows = apply(product, current.flatten(0, 1), layer.weight, layer.bias)  # type: ignore[arg-type]
                current = rows.unflatten(0, current.shape[:2])
            else:
                batch = current.shape[1]
                current = layer(current.flatten(0, 1)).unflatten(0, (steps, batch))
            spikes = spikes_after(layer, spikes)
        return current
