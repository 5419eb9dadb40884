r"""How alike two samples are to a layer, forward in its spikes and back in its gradients.

Of the samples' values z_b [T·N], the likeness of a pair is ⟨z_b, z_b'⟩ over the mean of ⟨z_b, z_b⟩.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Likeness", "common", "likeness", "samples_first"]


class Likeness(NamedTuple):
    """Of all pairs of samples; NaN for fewer than two samples or no spikes.

    Attributes:
        pairs: Each pair.
        mean: Over pairs, 1 if all samples make the same spikes.
        spread: Standard deviation over pairs.
    """

    pairs: Tensor
    mean: float
    spread: float

    def follows(self, other: Likeness) -> float:
        """Correlation over pairs with another layer's; NaN where one does not vary."""
        size = min(len(self.pairs), len(other.pairs))
        if size < 2 or len(self.pairs) != len(other.pairs):
            return float("nan")
        both = torch.stack([self.pairs, other.pairs])
        both = both - both.mean(1, keepdim=True)
        norms = both.norm(dim=1)
        return float(both[0] @ both[1] / norms.prod()) if bool((norms > 0).all()) else float("nan")


def likeness(spikes: Tensor) -> Likeness:
    """Of the spikes [T, B, N] of a layer.

    Args:
        spikes: Nonzero where a neuron fired.

    Returns:
        Likeness of the pairs of different samples.

    Example:
        >>> likeness(torch.tensor([[[1.0, 0.0], [1.0, 0.0]]])).mean
        1.0
    """
    gram = _gram(spikes)
    above = torch.ones_like(gram, dtype=torch.bool).triu(1)
    pairs = gram[above] / gram.diagonal().mean()
    spread = pairs.std() if len(pairs) > 1 else torch.tensor(torch.nan)
    return Likeness(pairs, float(pairs.mean()), float(spread))


def common(gradient: Tensor) -> float:
    """Mean likeness of the gradients [T, B, ...] of different samples; NaN if there are none."""
    return likeness(gradient.flatten(2)).mean if gradient.dim() > 2 else float("nan")


def samples_first(batch: Tensor) -> bool:
    r"""Whether values go on along the second dimension of a batch rather than along the first.

    Of the deviations z from the mean over both, the correlations of neighbours along each are
    compared,

    .. math:: r_0 = \frac{E[z_{t,b} z_{t+1,b}]}{E[z^2]},\qquad
              r_1 = \frac{E[z_{t,b} z_{t,b+1}]}{E[z^2]},

    and r_1 must be above 0.2 and twice r_0 by 4/√(T·batch), four times the error of a correlation
    of features that all say the same.

    Args:
        batch: [T, batch, features...] as it should be.

    Returns:
        Whether it looks like [batch, T, features...].

    Example:
        >>> static = torch.randn(6, 1, 50, generator=torch.Generator().manual_seed(0))
        >>> static = static.expand(6, 9, 50)
        >>> samples_first(static), samples_first(static.transpose(0, 1))
        (True, False)
    """
    if batch.dim() < 3 or min(batch.shape[:2]) < 2 or batch[0, 0].numel() < 8:
        return False
    values = batch.flatten(2).float()
    values = values - values.mean((0, 1))
    square = float(values.square().mean())
    if not square > 0:
        return False
    first = float((values[1:] * values[:-1]).mean()) / square
    second = float((values[:, 1:] * values[:, :-1]).mean()) / square
    return second > max(0.2, 2 * first) + 4 / (values.shape[0] * values.shape[1]) ** 0.5


def _gram(values: Tensor) -> Tensor:
    rows = values.transpose(0, 1).flatten(1).double()
    return rows @ rows.T
