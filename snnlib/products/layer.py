"""A layer of weights as three products: forward, and back to its input and to its weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from snnlib.products.dense import linear
from snnlib.products.sparse import is_sparse, sums, transposed_sums


class Product(Protocol):
    """What a fused layer asks of its weights; rows are all steps and samples, [T·batch, ...]."""

    @property
    def spikes(self) -> bool:
        """Whether the rows hold zeros and ones only."""

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The current of rows x, in memory of its own."""

    def backward_input(self, grad: Tensor, x: Tensor, weight: Tensor) -> Tensor:
        """The gradient of x from that of the current."""

    def backward_weight(self, grad: Tensor, x: Tensor, weight: Tensor) -> Tensor:
        """The gradient of the weights."""

    def plain(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The current by torch's own layer, for whoever differentiates twice."""


@dataclass(frozen=True)
class Linear:
    r"""y = x Wᵀ + b, ∂x = g W and ∂W = gᵀ x, with rows x [rows, n_in] and W [n_out, n_in].

    Attributes:
        spikes: Whether x holds zeros and ones only.

    Example:
        >>> x, weight = torch.tensor([[1.0, 0.0, 1.0]]), torch.arange(6.0).reshape(2, 3)
        >>> product, grad = Linear(spikes=True), torch.tensor([[1.0, 2.0]])
        >>> product.forward(x, weight, None)
        tensor([[2., 8.]])
        >>> product.backward_input(grad, x, weight)
        tensor([[ 6.,  9., 12.]])
        >>> product.backward_weight(grad, x, weight)
        tensor([[1., 0., 1.],
                [2., 0., 2.]])
    """

    spikes: bool = False

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """X Wᵀ + b."""
        if is_sparse(x, weight):
            total = sums(x, weight.t(), self.spikes)
            return total if bias is None else total.add_(bias)
        return linear(x, weight, bias)

    def backward_input(self, grad: Tensor, x: Tensor, weight: Tensor) -> Tensor:
        """G W."""
        return linear(grad, weight.t())

    def backward_weight(self, grad: Tensor, x: Tensor, weight: Tensor) -> Tensor:
        """gᵀ x, by the same way as the current went."""
        if is_sparse(x, weight):
            return transposed_sums(x, grad, self.spikes).t()
        return linear(grad.t(), x.t())

    def plain(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """X Wᵀ + b."""
        return functional.linear(x, weight, bias)


@dataclass(frozen=True)
class Convolution:
    r"""A convolution over images, [rows, channels, height, width].

    Images are laid out with their channels last in memory, which oneDNN's kernels like best: values
    and shapes are as ever.

    Attributes:
        stride: As in `torch.nn.Conv2d`, as all that follow.
        padding: Zeros on each side.
        dilation: Distance of the kernel's places.
        groups: Groups of channels.
        spikes: Whether x holds zeros and ones only.

    Example:
        >>> layer = nn.Conv2d(2, 3, 3, padding=1)
        >>> x = torch.eye(4).expand(1, 2, 4, 4)
        >>> product = Convolution.of(layer)
        >>> torch.allclose(product.forward(x, layer.weight, layer.bias), layer(x), atol=1e-6)
        True
    """

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    spikes: bool = False

    @classmethod
    def of(cls, layer: nn.Module, spikes: bool = False) -> Convolution:
        """The settings of a layer whose padding is in numbers."""
        assert isinstance(layer, nn.Conv2d) and not isinstance(layer.padding, str)
        return cls(layer.stride, layer.padding, layer.dilation, layer.groups, spikes)

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The convolution; its channels are the last in memory."""
        return self.plain(x.contiguous(memory_format=torch.channels_last), weight, bias)

    def backward_input(self, grad: Tensor, x: Tensor, weight: Tensor) -> Tensor:
        """Back to the image."""
        return self._backward(grad, x, weight, 0)

    def backward_weight(self, grad: Tensor, x: Tensor, weight: Tensor) -> Tensor:
        """Back to the kernel."""
        return self._backward(grad, x, weight, 1)

    def plain(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The convolution."""
        return functional.conv2d(
            x, weight, bias, self.stride, self.padding, self.dilation, self.groups
        )

    def _backward(self, grad: Tensor, x: Tensor, weight: Tensor, which: int) -> Tensor:
        grad, x = (value.contiguous(memory_format=torch.channels_last) for value in (grad, x))
        settings = (self.stride, self.padding, self.dilation, False, (0, 0), self.groups)
        mask = [which == 0, which == 1, False]
        return torch.ops.aten.convolution_backward(grad, x, weight, None, *settings, mask)[which]
