"""How much the loss itself rises around the weights."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn

from snnlib.curvature.estimates import Estimate, check_samples, mean_of
from snnlib.curvature.parts import assembled
from snnlib.data import Dataset
from snnlib.training.losses import Loss

__all__ = ["loss_rise"]


def loss_rise(
    network: nn.Module,
    data: Dataset,
    *,
    radius: float = 0.05,
    samples: int = 20,
    steps: int = 3,
    loss: str | Loss = "spike_count",
    batch_size: int = 1000,
    seed: int = 0,
) -> Estimate:
    r"""Mean rise of the loss itself at random weights around the present ones; no derivative.

    .. math:: E_z\big[L(W_l + r\,\sqrt{\langle W_l^2\rangle}\,z_l)\big] - L(W), \qquad
        z \sim \mathcal N(0, 1)

    The step is relative to the root mean square of each parameter tensor, so the answer does not
    depend on the unit of weights and thresholds.

    Args:
        network: Currents [T, batch, features...] to outputs; not changed, evaluated in evaluation
            mode.
        data: The samples to average over.
        radius: Relative size r > 0 of the step.
        samples: Number of random directions, >= 2; each is taken both ways.
        steps: Time steps T; each sample is a constant current.
        loss: As for `hessian`.
        batch_size: Samples per pass.
        seed: Seed of the directions.

    Returns:
        The mean over the directions and its standard error.

    Raises:
        ValueError: If an argument is outside its range, the data are empty or not finite, or the
            network has nothing to learn.

    Source:
        Neyshabur et al. 2017 (expected sharpness).

    Example:
        The mean of w² x² rises by r² w² x².

        >>> from snnlib.data import Dataset
        >>> data = Dataset("one", "train", torch.tensor([[2.0]]), torch.tensor([0]), 1)
        >>> linear = nn.Linear(1, 1, bias=False)
        >>> _ = nn.init.constant_(linear.weight, 3.0)
        >>> def square(output, targets):
        ...     return output.square().mean()
        >>> found = loss_rise(linear, data, radius=0.1, samples=4000, steps=1, loss=square)
        >>> abs(found.value - 0.1**2 * 36) < 5 * found.standard_error
        True
    """
    if not 0 < radius < math.inf:
        raise ValueError(f"radius must be positive and finite, got {radius!r}")
    check_samples(samples, 2)
    model, function, parameters, batches = assembled(network, data, steps, loss, batch_size)
    center = [parameter.detach().clone() for parameter in parameters]
    scales = [radius * tensor.square().mean().sqrt() for tensor in center]
    generator = torch.Generator().manual_seed(seed)

    @torch.no_grad()
    def value() -> float:
        total = sum(function(model(x), y).double() * len(y) for x, y in batches)
        return float(total) / len(data)

    rises, here = [], value()
    for _ in range(samples):
        z = [torch.randn(t.shape, generator=generator, dtype=torch.float64) for t in center]
        ends = []
        for sign in (1, -1):  # both ways, so that a slope of the loss adds no noise
            for parameter, tensor, scale, part in zip(parameters, center, scales, z, strict=True):
                parameter.data = tensor + sign * scale * part.to(tensor)
            ends.append(value())
        rises.append(sum(ends) / 2 - here)
    return mean_of(np.array(rises))
