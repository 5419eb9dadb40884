r"""Distributions of weights with a given mean and variance: normal, uniform, BiGamma, orthonormal.

A method of initialization fixes the gain G = n·E[w²]; the distribution is a second, separate
choice.  All of them here have exactly the mean and the variance that are asked for.

Source: Herranz-Celotti & Rouat 2022, section 2.3 and Fig. 1 (right).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from scipy.special import gammainccinv, ndtri
from torch import Tensor

from snnlib._checks import check_count, check_from_zero

DISTRIBUTIONS = ("normal", "uniform", "bigamma")
"""Names of the distributions of independent weights."""

BIGAMMA_SHAPE = 3.0
"""Shape parameter of the BiGamma; the paper prints none, its authors' code has 3."""


def fill_(
    weight: Tensor,
    std: float,
    distribution: str = "normal",
    generator: torch.Generator | None = None,
    *,
    mean: float = 0.0,
) -> Tensor:
    r"""Fill a weight in place with independent numbers of given mean and standard deviation.

    Args:
        weight: Any floating-point tensor.
        std: Standard deviation, >= 0.
        distribution: A name in `DISTRIBUTIONS`.
        generator: Random numbers; None is torch's global generator.
        mean: Mean.

    Returns:
        The weight.

    Raises:
        ValueError: If the distribution is unknown, `std` is negative, infinite or NaN, or the
            generator lives on another device.

    Source: Herranz-Celotti & Rouat 2022, section 2.3.

    Example:
        >>> draw = torch.Generator().manual_seed(0)
        >>> weight = fill_(torch.empty(300, 300), 0.1, "uniform", draw)
        >>> weight.abs().max().item() <= 0.1 * 3**0.5
        True
        >>> abs(weight.std().item() / 0.1 - 1) < 0.02
        True
    """
    check_distribution(distribution)
    check_generator(generator, weight)
    largest = torch.finfo(weight.dtype).max / 100  # no number drawn is as many deviations away
    if not 0 <= std <= largest or not abs(mean) <= largest:
        raise ValueError(
            f"std must be >= 0 and finite, with the mean at most {largest:.1e} for {weight.dtype}, "
            f"got {std!r} and the mean {mean!r}"
        )
    with torch.no_grad():
        return _FILL[distribution](weight, float(mean), float(std), generator)


def bigamma_(
    weight: Tensor,
    std: float = 1.0,
    generator: torch.Generator | None = None,
    *,
    mean: float = 0.0,
    shape: float = BIGAMMA_SHAPE,
) -> Tensor:
    r"""Fill a weight in place from two mirrored gamma distributions, whose density is 0 at 0.

    With Gamma(x; k, s) the gamma density of shape k and scale s,

        p(w) = ½ Gamma(w; k, s) + ½ Gamma(−w; k, s),    E[w] = 0,    E[w²] = k(k+1) s²,

    so that s = std/√(k(k+1)).  Towards 0 the density falls like the (k−1)-th power of w: at k = 3 a
    share of 0.0054 lies within a tenth of the standard deviation, of a normal distribution 0.080.

    Args:
        weight: Any floating-point tensor.
        std: Standard deviation of the weights, >= 0.
        generator: Random numbers; None is torch's global generator.
        mean: Centre of the two halves.
        shape: k > 1; the paper gives none, its authors' code has 3.

    Returns:
        The weight.

    Raises:
        ValueError: If `shape` is not above 1 (the density would not vanish at 0) or infinite,
            `std` is negative, infinite or NaN, or the generator lives on another device.

    Source: Herranz-Celotti & Rouat 2022, section 2.3; the shape 3 from their code.

    Example:
        >>> weight = bigamma_(torch.empty(200_000), generator=torch.Generator().manual_seed(0))
        >>> abs(weight.square().mean().item() - 1) < 0.02
        True
        >>> near_zero = (weight.abs() < 0.1).double().mean().item()
        >>> 0.004 < near_zero < 0.007
        True
    """
    if not 1 < shape < math.inf:
        raise ValueError(f"shape must be above 1 and finite, got {shape!r}")
    if not 0 <= std < math.inf:
        raise ValueError(f"std must be >= 0 and finite, got {std!r}")
    check_generator(generator, weight)
    with torch.no_grad():
        return _bigamma_(weight, mean, std, generator, shape)


def orthonormal_(
    weight: Tensor,
    distribution: str = "normal",
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""Fill a weight in place with an orthonormal matrix: W Wᵀ = 1 or Wᵀ W = 1.

    The weight counts as a matrix [out, the rest].  It is the orthonormal factor of a matrix of
    independent entries of the named distribution.  Normal entries give every orthonormal matrix
    the same probability.  Orthonormalizing mixes the entries, so those of a large result are close
    to normal, and may lie near zero, whatever the distribution at the start.

    Args:
        weight: Weight with at least two dimensions.
        distribution: Of the matrix that is orthonormalized, a name in `DISTRIBUTIONS`.
        generator: Random numbers; None is torch's global generator.

    Returns:
        The weight.

    Raises:
        ValueError: If the distribution is unknown, the weight has fewer than two dimensions, or
            the generator lives on another device.

    Source: Saxe et al. 2014; Herranz-Celotti & Rouat 2022, section 2.3.

    Example:
        >>> weight = orthonormal_(torch.empty(3, 5).double(), "bigamma")
        >>> torch.dist(weight @ weight.T, torch.eye(3).double()).item() < 1e-12
        True
    """
    check_distribution(distribution)
    check_generator(generator, weight)
    if weight.dim() < 2:
        raise ValueError(
            f"weight must have at least two dimensions [out, in, ...], got {tuple(weight.shape)}"
        )
    with torch.no_grad():
        if distribution == "normal":
            return torch.nn.init.orthogonal_(weight, generator=generator)
        rows, columns = weight.shape[0], weight[0].numel()
        tall = torch.empty(
            max(rows, columns), min(rows, columns), dtype=_exact(weight), device=weight.device
        )
        fill_(tall, 1.0, distribution, generator)
        factor, triangle = torch.linalg.qr(tall)
        # With a positive diagonal of the triangle the factor is unique.
        factor *= torch.where(triangle.diagonal() < 0, -1.0, 1.0).to(tall.dtype)
        return weight.copy_((factor.T if rows < columns else factor).reshape(weight.shape))


def extremes(distribution: str, mean: float, variance: float, count: int) -> tuple[float, float]:
    r"""Bounds of a law of weights; of an unbounded one the typical extremes of a sample.

    Uniform: mean ± √(3 Var).  Normal and BiGamma: the quantiles 1/N and 1 − 1/N of N weights; the
    supremum that the paper takes is infinite there.

    Args:
        distribution: "uniform", "normal" or "bigamma".
        mean: E[w].
        variance: Var[w] >= 0.
        count: N, number of weights.

    Returns:
        (least, largest).

    Source: Herranz-Celotti & Rouat 2022, Eqs. 34-35; the quantiles are chosen here.

    Example:
        >>> extremes("uniform", 0.5, 3.0, 100)
        (-2.5, 3.5)
    """
    tail = 1 / max(count, 3)
    if distribution == "uniform":
        reach = math.sqrt(3.0)
    elif distribution == "normal":
        reach = -float(ndtri(tail))
    else:
        k = BIGAMMA_SHAPE
        reach = float(gammainccinv(k, 2 * tail)) / math.sqrt(k * (k + 1))
    return mean - reach * math.sqrt(variance), mean + reach * math.sqrt(variance)


def gain_of_law(*, fan_in: int, weight_mean: float, weight_variance: float) -> float:
    r"""G = n·E[w²] = n (Var[w] + E[w]²) of weights of a mean and a variance.

    Args:
        fan_in: n >= 1.
        weight_mean: E[w].
        weight_variance: Var[w] >= 0.

    Returns:
        The gain.

    Raises:
        ValueError: If an argument is outside its range.

    Source: definition.

    Example:
        >>> gain_of_law(fan_in=100, weight_mean=0.1, weight_variance=0.03)
        4.0
    """
    check_count("fan_in", fan_in)
    check_from_zero("weight_variance", weight_variance)
    return fan_in * (weight_variance + weight_mean**2)


def check_distribution(distribution: str) -> None:
    """Refuse an unknown distribution.

    Raises:
        ValueError: Naming those that exist.
    """
    if distribution not in DISTRIBUTIONS:
        raise ValueError(
            f"distribution must be one of {', '.join(DISTRIBUTIONS)}, got {distribution!r}"
        )


def check_generator(generator: torch.Generator | None, weight: Tensor) -> None:
    """Refuse what is no generator, or one on another device than the weight's.

    Raises:
        ValueError: Naming both devices, or how to make a generator.
    """
    if not isinstance(generator, torch.Generator | None):
        raise ValueError(
            f"generator must be a torch.Generator or None, got {generator!r}; a seed makes one: "
            "torch.Generator().manual_seed(seed)"
        )
    if generator is not None and generator.device.type != weight.device.type:
        raise ValueError(
            f"generator must live on the weight's device {weight.device}, "
            f"got one on {generator.device}"
        )


def _exact(weight: Tensor) -> torch.dtype:
    """Half precision is drawn in single precision."""
    return weight.dtype if weight.dtype in (torch.float32, torch.float64) else torch.float32


def _normal_(weight: Tensor, mean: float, std: float, generator: torch.Generator | None) -> Tensor:
    return weight.normal_(mean, std, generator=generator)


def _uniform_(weight: Tensor, mean: float, std: float, generator: torch.Generator | None) -> Tensor:
    bound = math.sqrt(3.0) * std
    return weight.uniform_(mean - bound, mean + bound, generator=generator)


def _bigamma_(
    weight: Tensor,
    mean: float,
    std: float,
    generator: torch.Generator | None,
    shape: float = BIGAMMA_SHAPE,
) -> Tensor:
    size, dtype = weight.shape, _exact(weight)
    shapes = torch.full(size, shape, dtype=dtype, device=weight.device)
    values = torch._standard_gamma(shapes, generator=generator)
    sign = torch.randint(0, 2, size, generator=generator, device=weight.device) * 2 - 1
    return weight.copy_(mean + values * sign * (std / math.sqrt(shape * (shape + 1))))


_FILL: dict[str, Callable[[Tensor, float, float, torch.Generator | None], Tensor]] = {
    "normal": _normal_,
    "uniform": _uniform_,
    "bigamma": _bigamma_,
}
