r"""From stored inputs to what a network sees over time: [T, batch, features...].

An encoding is one function `encode(x, steps, *, generator=None)`; one line in `ENCODINGS` makes it
available by name. `currents` applies it to a batch, and leaves inputs alone that have a time axis
of their own.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from snnlib import networks
from snnlib._checks import real_tensor, scalars

__all__ = ["ENCODINGS", "Encoding", "as_they_are", "constant", "currents", "latency", "poisson"]


class Encoding(Protocol):
    """A function of static inputs [batch, features...] that gives [T, batch, features...]."""

    def __call__(
        self, x: Tensor, steps: int, *, generator: torch.Generator | None = None
    ) -> Tensor:
        """Encode a batch."""


def constant(x: Tensor, steps: int, *, generator: torch.Generator | None = None) -> Tensor:
    r"""The input as a constant current: i[t] = x for t = 0, ..., T-1, without a copy.

    Args:
        x: Input [batch, features...], of any range.
        steps: Number of time steps T >= 1.
        generator: Not used: nothing is random.

    Returns:
        A view [T, batch, features...] of x, see `snnlib.networks.constant`.

    Raises:
        ValueError: If `steps` is not a positive integer.

    Source: Micheli et al. 2024, section IV-B.

    Example:
        >>> constant(torch.tensor([[0.5, 2.0]]), 2).tolist()
        [[[0.5, 2.0]], [[0.5, 2.0]]]
    """
    return networks.constant(x, steps)


def as_they_are(x: Tensor, steps: int, *, generator: torch.Generator | None = None) -> Tensor:
    r"""The inputs untouched, for a network that makes its time steps itself.

    Args:
        x: Input of any shape.
        steps: Not used.
        generator: Not used: nothing is random.

    Returns:
        x.

    Example:
        >>> as_they_are(torch.tensor([[0.5, 2.0]]), 3).shape
        torch.Size([1, 2])
    """
    return x


def poisson(x: Tensor, steps: int, *, generator: torch.Generator | None = None) -> Tensor:
    r"""Independent spikes of probability x at every step.

    $$i[t] \sim \mathrm{Bernoulli}(x), \qquad t = 0, \dots, T-1$$

    The number of spikes is binomial, E = T·x; per small bin it is what a Poisson process of rate x
    gives. The numbers are drawn on the generator's device, so a CPU generator gives the same spikes
    on every device.

    Args:
        x: Probabilities [batch, features...], in [0, 1] (`load(..., standardize=False)`).
        steps: Number of time steps T >= 1.
        generator: Source of the random numbers; None is torch's global one.

    Returns:
        Spikes 0 or 1, float32, [T, batch, features...].

    Raises:
        ValueError: If x is outside [0, 1] or `steps` is not a positive integer.

    Example:
        >>> x = torch.tensor([[0.0, 0.25, 1.0]])
        >>> spikes = poisson(x, 10_000, generator=torch.Generator().manual_seed(0))
        >>> mean = spikes.mean(0)[0]
        >>> mean[0].item(), mean[2].item(), abs(mean[1].item() - 0.25) < 6 * 0.0044
        (0.0, 1.0, True)
    """
    _check("poisson", x, steps)
    device = x.device if generator is None else generator.device
    drawn = torch.rand((steps, *x.shape), generator=generator, device=device).to(x.device)
    return (drawn < x).float()


@scalars("threshold", "time_constant")
def latency(
    x: Tensor,
    steps: int,
    *,
    generator: torch.Generator | None = None,
    threshold: float = 0.2,
    time_constant: float = 50.0,
) -> Tensor:
    r"""One spike per channel, the earlier the larger the input (sl-MNIST).

    An integrator with time constant τ, charged by a constant current x, crosses θ at

    $$t = \tau \log\frac{x}{x - \theta}, \qquad x > \theta$$

    and not at all if x <= θ. A step lasts 1 ms; the spike falls into step ⌊t⌋. **Spikes later than
    the last step are lost**: with T steps only inputs x > θ/(1 − exp(−T/τ)) spike.

    Args:
        x: Inputs [batch, features...], in [0, 1] (`load(..., standardize=False)`).
        steps: Number of time steps T >= 1. With the defaults the brightest pixel, x = 1, spikes in
            step 11; the paper's T = 50 keeps all x > 0.3164, T = 100 all x > 0.2313.
        generator: Not used: nothing is random.
        threshold: θ, in (0, 1).
        time_constant: τ_eff in steps (ms), > 0.

    Returns:
        Spikes 0 or 1, float32, [T, batch, features...], at most one per channel.

    Raises:
        ValueError: If x is outside [0, 1] or another argument outside its range.

    Source: Herranz-Celotti & Rouat 2022 (spike-latency MNIST, θ = 0.2, τ_eff = 50 ms), after
    Zenke & Vogels 2021.

    Example:
        >>> import math
        >>> spikes = latency(torch.tensor([[0.2, 0.5, 1.0]]), 100)
        >>> spikes.sum(0).tolist()
        [[0.0, 1.0, 1.0]]
        >>> spikes.argmax(0)[0, 1:].tolist()
        [25, 11]
        >>> [math.floor(50 * math.log(x / (x - 0.2))) for x in (0.5, 1.0)]
        [25, 11]
    """
    _check("latency", x, steps)
    if not 0 < threshold < 1:
        raise ValueError(f"threshold must be in (0, 1), got {threshold!r}")
    if not 0 < time_constant < float("inf"):
        raise ValueError(f"time_constant must be positive and finite, got {time_constant!r}")
    x = x.float()
    time = time_constant * torch.log(x / (x - threshold))
    fires = (x > threshold) & (time < steps)
    step = torch.where(fires, time, 0.0).long()
    spikes = torch.zeros((steps, *x.shape), device=x.device)
    return spikes.scatter_(0, step[None], fires.float()[None])


ENCODINGS: dict[str, Encoding] = {
    "constant": constant,
    "poisson": poisson,
    "latency": latency,
    "none": as_they_are,
}
"""Encodings by name: functions of the inputs [batch, features...] and the number of steps."""


def currents(
    inputs: Tensor,
    *,
    sequence: bool,
    steps: int,
    encoding: str | Encoding = "constant",
    generator: torch.Generator | None = None,
) -> Tensor:
    """What the network sees: a batch of stored inputs, time first.

    Args:
        inputs: A batch as `Dataset.batches` yields it.
        sequence: `Dataset.sequence`. True: inputs [batch, T, features...] are moved to
            [T, batch, features...]; spikes stored as bool or small integers become float32,
            floating-point values keep their type, tokens (int64) stay integers.
        steps: Number of time steps T >= 1 of encoded inputs; a sequence has its own T and ignores
            it, and `encoding` too.
        encoding: A name in `ENCODINGS` or a function like those.
        generator: Source of the random numbers of the encoding.

    Returns:
        [T, batch, features...], or tokens [T, batch].

    Raises:
        ValueError: If the encoding is unknown, an argument is outside its range, or a sequence has
            no time axis.

    Example:
        >>> spikes = torch.tensor([[[1, 0], [0, 1], [0, 0]]], dtype=torch.uint8)  # 1 sample, T = 3
        >>> currents(spikes, sequence=True, steps=1)[:, 0].tolist()
        [[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]
        >>> currents(torch.ones(4, 2), sequence=False, steps=3, encoding="poisson").shape
        torch.Size([3, 4, 2])
    """
    if not sequence:
        return _function(encoding)(inputs, steps, generator=generator)
    if inputs.dim() < 2:
        raise ValueError(
            f"inputs of a sequence must be [batch, T, features...], got {tuple(inputs.shape)}"
        )
    moved = inputs.transpose(0, 1)
    keeps = moved.is_floating_point() or moved.dtype == torch.int64
    return moved if keeps else moved.float()


def _function(encoding: str | Encoding) -> Encoding:
    if not isinstance(encoding, str):
        return encoding
    if encoding not in ENCODINGS:
        raise ValueError(
            f"encoding must be a function or one of {', '.join(ENCODINGS)}, got {encoding!r}"
        )
    return ENCODINGS[encoding]


def _check(name: str, x: Tensor, steps: int) -> None:
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise ValueError(f"steps must be a positive integer, got {steps!r}")
    real_tensor("x", x)
    # Written so that NaN is refused too.
    if x.numel() and not bool(((x >= 0) & (x <= 1)).all()):
        raise ValueError(
            f"x must be in [0, 1] for the encoding {name!r}, got values from {x.min().item():g} to "
            f"{x.max().item():g}; load(..., standardize=False) gives raw pixels in [0, 1]"
        )
