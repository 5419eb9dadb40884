"""The two matrices that come of automatic differentiation, as operators over all samples."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from snnlib._extras import require
from snnlib.curvature.parts import assembled
from snnlib.curvature.substitutes import held_spike, substituted
from snnlib.data import Dataset
from snnlib.training.losses import Loss

__all__ = ["hessian", "surrogate_jacobian"]


def hessian(
    network: nn.Module,
    data: Dataset,
    *,
    steps: int = 3,
    loss: str | Loss = "spike_count",
    batch_size: int = 2000,
) -> Any:
    r"""The matrix that differentiating twice through the surrogate gives, over all samples.

    .. math:: H = \frac{1}{N}\sum_n \nabla_w^2\, \ell(x_n, y_n)

    where both derivatives of a spike are those of the surrogate's primitive σ: σ'(u - θ) and
    σ''(u - θ).  For a network without spikes it is the Hessian of the loss.

    Args:
        network: Currents [T, batch, features...] to outputs; a copy of it is kept, in evaluation
            mode.  Float64 weights give small eigenvalues more digits.
        data: The samples to average over.
        steps: Time steps T; each sample is a constant current.
        loss: A name in `snnlib.training.LOSSES` or a function of output and targets that averages
            over the batch.
        batch_size: Samples per pass; the result does not depend on it.

    Returns:
        A curvlinops operator of shape [P, P]; ``operator @ vectors`` multiplies.

    Raises:
        ValueError: If the data are empty or not finite, or the network has nothing to learn.
        ImportError: If curvlinops is missing.

    Source:
        Dangel et al. 2025 (curvlinops); for ``double backward`` of spikes the book's chapter.

    Example:
        Mean squares of a linear map w·x have the Hessian 2 E[x xᵀ], twice over for two outputs.

        >>> import numpy as np
        >>> from snnlib.curvature import matrix
        >>> from snnlib.data import Dataset
        >>> x = torch.tensor([[1.0, 2.0], [3.0, -1.0]])
        >>> data = Dataset("two", "train", x, torch.tensor([0, 1]), 2)
        >>> def squares(output, targets):
        ...     return output.square().sum() / len(targets)
        >>> operator = hessian(nn.Linear(2, 2, bias=False), data, steps=1, loss=squares)
        >>> bool(np.allclose(matrix(operator), torch.kron(torch.eye(2), x.T @ x)))
        True
    """
    curvlinops = require("curvlinops", "curvature")

    class Hessian(curvlinops.HessianLinearOperator):  # type: ignore[name-defined]
        """Reverse over reverse mode: a recorded gradient serves many vectors."""

        _recorded: Any = None

        def _matmat_batch(self, x: Tensor, y: Tensor, vectors: list[Tensor]) -> list[Tensor]:
            gradient = self._recorded
            if gradient is None:
                with torch.enable_grad():
                    value = self._loss_func(self._model_func(x), y)
                    gradient = torch.autograd.grad(value, self._params, create_graph=True)
            if len(self._data) == 1:  # else the memory of all batches
                self._recorded = gradient
            products = [
                torch.autograd.grad(
                    gradient,
                    self._params,
                    [vector[..., column] for vector in vectors],
                    retain_graph=True,
                    materialize_grads=True,
                )
                for column in range(vectors[0].shape[-1])
            ]
            return [torch.stack(parts, -1) for parts in zip(*products, strict=True)]

    parts = assembled(network, data, steps, loss, batch_size)
    return Hessian(*parts, check_deterministic=False, num_data=len(data))


def surrogate_jacobian(
    network: nn.Module,
    data: Dataset,
    *,
    steps: int = 3,
    loss: str | Loss = "spike_count",
    batch_size: int = 2000,
) -> Any:
    r"""The derivative of the surrogate field, between the jumps of the spikes.

    .. math:: J = \frac{\partial F}{\partial w}\Big|_{\text{spikes constant}}, \qquad
        F = \text{what backpropagation returns}

    Row i, column j: how component i of the field changes with weight j.  In a feed-forward network
    a weight can change the field of the layers above it only through their spikes, so those blocks
    are zero: J is block triangular and not symmetric.

    Args:
        network: As for `hessian`; its spiking layers must be `snnlib.neurons.LIF`.
        data: As for `hessian`.
        steps: As for `hessian`.
        loss: As for `hessian`.
        batch_size: As for `hessian`.

    Returns:
        A curvlinops operator of shape [P, P] that knows no transposed product.

    Raises:
        ValueError: As `hessian`; or if a layer spikes but is no `LIF`.
        ImportError: If curvlinops is missing.

    Source:
        The book's chapter on flat minima; that such a field has no potential: Gygax & Zenke 2025.

    Example:
        One neuron alone does have a potential: its matrix is symmetric.

        >>> import numpy as np
        >>> from snnlib import data, networks
        >>> from snnlib.curvature import matrix
        >>> neuron = networks.mlp([64, 1], encode=False, generator=torch.Generator().manual_seed(0))
        >>> def rate(output, targets):
        ...     return output.mean()
        >>> found = matrix(surrogate_jacobian(neuron, data.load("digits"), loss=rate, steps=1))
        >>> np.allclose(found, found.T, atol=1e-6), bool(np.abs(found).max() > 1e-3)
        (True, True)
    """
    curvlinops = require("curvlinops", "curvature")

    class SurrogateJacobian(curvlinops.HessianLinearOperator):  # type: ignore[name-defined]
        SELF_ADJOINT = False

        def _adjoint(self) -> Any:
            raise NotImplementedError("the transposed product is not implemented")

    parts = assembled(substituted(network, held_spike), data, steps, loss, batch_size)
    return SurrogateJacobian(*parts, check_deterministic=False, num_data=len(data))
