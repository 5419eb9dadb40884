r"""What one step back in time does to the gradients of a recurrent layer.

The gradient of y[t−1] is that of y[t] times β, minus ρ σ' (the reset), plus what came through the
weights, σ' Σ w.  With weights of mean square E[w²] that are independent of the slopes σ' the
variance of the gradients stays as it is if

    c E[σ'²] − b E[σ'] = a,    a = 1 − E[β²],    b = 2 E[βρ],    c = (n − 1) E[w²] + E[ρ²].

In a stack the layer below takes its share of a gradient on the way forward, and a is smaller; on
the way back it is the layer *above* that adds one, and c is larger.

Source: Herranz-Celotti & Rouat 2022, condition IV; the exact form, the way back and the growth are
derived in the book.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from snnlib._averages import LayerAverages, Number, layer_averages
from snnlib._checks import check_count, check_from_zero, check_positive, real, real_tensor, scalars
from snnlib.surrogate import sharpness_at_balance

__all__ = ["backward_second_moment", "gradient_growth", "growth_of", "joint_sharpness"]


class Balance(NamedTuple):
    """c E[σ'²] = a + b E[σ'].

    Attributes:
        a: What neither leak nor the layer below takes.
        b: Of the product of leak and reset.
        c: Of weights and reset.
    """

    a: float
    b: float
    c: float

    def second_moment(self, first_moment: float | None) -> float:
        """E[σ'²].

        Raises:
            ValueError: If E[σ'] is needed and not given.
        """
        if self.b:
            if first_moment is None:
                raise ValueError(
                    "first_moment is needed for exact=True: the product of leak and reset has the "
                    "factor E[σ'], which depends on the same sharpness; joint_sharpness solves for "
                    "both"
                )
            check_positive("first_moment", first_moment)
        return (self.a + self.b * (first_moment or 0.0)) / self.c


def from_below(
    stacked: bool, fan_in: int, per_weight: float, name: str, value: float
) -> tuple[float, float]:
    """What a layer below takes of the gradient, as (factor, its moment); nothing below data.

    Raises:
        ValueError: If a number is outside its range.
    """
    check_from_zero(name, value)
    if not stacked:
        return 1.0, 0.0
    check_count("fan_in", fan_in)
    return fan_in * check_positive("input_weight_variance or input_weight_max", per_weight), value


def gradient_balance(
    neurons: LayerAverages,
    square: float,
    *,
    below: tuple[float, float] = (1.0, 0.0),
    above: float = 0.0,
    exact: bool = True,
    detach_reset: bool = False,
) -> Balance:
    r"""a, b, c of the module's docstring.

    Args:
        neurons: Leak and reset of the layer.
        square: (n − 1) E[w_rec²].
        below: (n_in E[w_in²], E[σ'_in²]) of the layer below.
        above: n_up E[w_up²] of the layer above.
        exact: Keep b.
        detach_reset: Whether the reset passes no gradient.

    Returns:
        The balance; for reset to zero with E[β²]/2 in place of E[β²] and without ρ.

    Raises:
        ValueError: If the layer below alone makes the variance grow: then with the bound.
    """
    share, inherited = below
    kept = neurons.leak_square / 2 if neurons.zero else neurons.leak_square
    a = 1 - kept - share * inherited
    if not a > 0:
        bound = (1 - kept) / share
        raise ValueError(
            "input_second_moment must satisfy E[σ'_in²] < (1 − E[β²])/(n_in E[w_in²]) = "
            f"{bound:.6g} (β²/2 for reset 'zero'), got {inherited!r}: the layer below alone would "
            "make the gradients' variance grow; nearest feasible: just below "
            f"{bound:.6g}, or a smaller Var[w_in]"
        )
    resets = not (detach_reset or neurons.zero)
    return Balance(
        a,
        2 * neurons.cross if exact and resets else 0.0,
        square + (neurons.reset_square if resets else 0.0) + above,
    )


@scalars("width", "weight_mean", "weight_variance", "first_moment")
def backward_second_moment(
    *,
    width: int,
    leak: Number,
    threshold: Number,
    weight_mean: float,
    weight_variance: float,
    first_moment: float | None = None,
    reset: str = "subtract",
    detach_reset: bool = False,
    width_above: int = 0,
    above_weight_second_moment: float = 0.0,
) -> float:
    r"""E[σ'²] that keeps the variance of what backpropagation brings, in time and from above.

    E[σ'²] = (1 − E[β²] + 2 E[βρ] E[σ']) / ((n − 1) E[w²] + E[ρ²] + n_up E[w_up²]),

    ρ = θ for reset "subtract".  Condition IV of Herranz-Celotti & Rouat puts the other layer's
    term in the numerator and takes the layer below for it: that holds for perturbations that
    travel forward, not for gradients.

    Args:
        width: n >= 2 neurons.
        leak: β in [0, 1), a number or one per neuron.
        threshold: θ >= 0, likewise.
        weight_mean: E[w_rec].
        weight_variance: Var[w_rec] >= 0.
        first_moment: E[σ'] > 0 of this layer; not needed where no gradient passes the reset.
        reset: "subtract", "subtract_leak", "zero" or "none".
        detach_reset: Whether the reset passes no gradient.
        width_above: n_up neurons of the layer above; 0 for the last layer.
        above_weight_second_moment: E[w_up²] of the weights that lead there.

    Returns:
        The second moment.

    Raises:
        ValueError: If an argument is outside its range, the first moment is missing, or no
            gradient passes a spike.

    Source: derived in the book.

    Example:
        The layer above stands in the denominator, so the slopes are smaller below it.

        >>> layer = dict(width=11, leak=0.5, threshold=1.0, weight_mean=0.0, weight_variance=0.1)
        >>> backward_second_moment(first_moment=0.25, **layer)  # (1 − 1/4 + 1/4)/(1 + 1)
        0.5
        >>> above = dict(width_above=20, above_weight_second_moment=0.1)
        >>> backward_second_moment(first_moment=0.25, **layer, **above)
        0.25
    """
    check_count("width", width, 2)
    check_from_zero("weight_variance", weight_variance)
    check_count("width_above", width_above, 0)
    check_from_zero("above_weight_second_moment", above_weight_second_moment)
    balance = gradient_balance(
        layer_averages(leak, threshold, reset),
        (width - 1) * (weight_variance + weight_mean**2),
        above=width_above * above_weight_second_moment,
        detach_reset=detach_reset,
    )
    if not balance.c > 0:
        raise ValueError(_NOTHING_PASSES)
    return balance.second_moment(first_moment)


_NOTHING_PASSES = (
    "weight_variance, weight_mean and threshold must not all be 0: then no gradient passes a spike"
)


@scalars("width", "weight_mean", "weight_variance", "dampening", "low", "high", "tail")
def joint_sharpness(
    shape: str,
    *,
    width: int,
    leak: Number,
    threshold: Number,
    weight_mean: float,
    weight_variance: float,
    dampening: float,
    low: float,
    high: float,
    tail: float = 2.0,
    reset: str = "subtract",
    detach_reset: bool = False,
    stacked: bool = False,
    fan_in: int = 1,
    input_weight_variance: float = 0.0,
    input_second_moment: float = 0.0,
) -> float:
    r"""Sharpness at which the exact condition IV holds, E[σ'] and E[σ'²] both at that sharpness.

    E[σ'²] ((n − 1) E[w²] + ρ²) − 2βρ E[σ'] = 1 − β² − ξ n_in E[w_in²] E[σ'_in²],   v uniform.

    Args:
        shape: A name in `snnlib.surrogate.SHAPES`.
        width: n >= 2.
        leak: β in [0, 1), a number or one per neuron.
        threshold: θ >= 0, likewise.
        weight_mean: E[w_rec].
        weight_variance: Var[w_rec] >= 0.
        dampening: γ > 0.
        low: Least centred voltage y − θ.
        high: The largest.
        tail: q > 1 of "q_pseudospike".
        reset: "subtract", "subtract_leak", "zero" or "none".
        detach_reset: Whether the reset passes no gradient.
        stacked: Whether a layer of spiking neurons feeds this one.
        fan_in: n_in of a stacked layer.
        input_weight_variance: E[w_in²] of a stacked layer.
        input_second_moment: E[σ'_in²] of the layer below.

    Returns:
        The sharpness; a root exists if and only if γ² c − γ b > a in c E[σ'²] − b E[σ'] = a.

    Raises:
        ValueError: If an argument is outside its range, or there is no such sharpness: then with
            the reachable range.

    Source: derived here; corrects Herranz-Celotti & Rouat 2022, Eqs. 47 and 57.

    Example:
        >>> from snnlib.surrogate import Surrogate
        >>> layer = dict(width=2, leak=0.5, threshold=1.0, weight_mean=0.0, weight_variance=3.0)
        >>> s = joint_sharpness("gaussian", dampening=1.0, low=-3.0, high=2.0, **layer)
        >>> law = Surrogate("gaussian", 1.0, s)
        >>> one, two = (law.moment(m, 0.0, law="uniform", bounds=(-3.0, 2.0)) for m in (1, 2))
        >>> round(two * (3.0 + 1) - one - 0.75, 10)
        0.0
    """
    check_count("width", width, 2)
    check_from_zero("weight_variance", weight_variance)
    a, b, c = gradient_balance(
        layer_averages(leak, threshold, reset),
        (width - 1) * (weight_variance + weight_mean**2),
        below=from_below(
            stacked, fan_in, input_weight_variance, "input_second_moment", input_second_moment
        ),
        exact=True,
        detach_reset=detach_reset,
    )
    if not c > 0:
        raise ValueError(_NOTHING_PASSES)
    return sharpness_at_balance(shape, a, b, c, dampening=dampening, low=low, high=high, tail=tail)


def gradient_growth(weight: Tensor, slopes: Tensor, *, leak: Number) -> float:
    r"""Factor by which a gradient grows over one step back in time, from weights and slopes.

    r = max β + max(√((n − 1) E[w²] E[σ'²]), |J| E[σ']),    J = (n − 1) E[w],

    an estimate for a detached reset: the first of the two is the gain of gradients that differ
    between neurons, for slopes that stay, which is the most (`growth_with_memory` counts with
    slopes that change); the second is that of the part that all neurons share.

    Args:
        weight: Recurrent weights [n, n]; the diagonal is not read.
        slopes: σ' of the neurons' potentials, any shape.
        leak: β, a number or one per neuron; the largest counts.

    Returns:
        r; gradients explode above 1 and vanish below.

    Raises:
        ValueError: If the weight is not square, there are no slopes, one of the numbers is not
            finite, or a leak is outside [0, 1].

    Source: derived in the book.

    Example:
        Two neurons, each drives the other with weight 0.5, and all slopes are 0.4:

        >>> weight = torch.tensor([[9.0, 0.5], [-0.5, 9.0]])
        >>> round(gradient_growth(weight, torch.full((3, 2), 0.4), leak=0.5), 6)
        0.7
    """
    real_tensor("weight", weight)
    real_tensor("slopes", slopes)
    size = weight.shape
    if len(size) != 2 or size[0] != size[1]:
        raise ValueError(f"weight must be [n, n], got {tuple(size)}")
    if slopes.numel() == 0 or slopes.is_meta or not slopes.is_floating_point():
        raise ValueError(
            f"slopes must be numbers and not empty, got {slopes.dtype} {tuple(slopes.shape)}"
        )
    if not bool(slopes.isfinite().all()):
        raise ValueError("slopes must be finite, got NaN or an infinite value")
    leaks = leak if isinstance(leak, Tensor) else torch.as_tensor(float(real("leak", leak)))
    if (
        leaks.numel() == 0
        or leaks.is_complex()
        or leaks.is_meta
        or not bool(((leaks >= 0) & (leaks <= 1)).all())
    ):
        raise ValueError(f"leak must be in [0, 1], got {leak!r}")
    with torch.no_grad():
        others = weight.clone().fill_diagonal_(0.0)
        if not bool(others.isfinite().all()):
            raise ValueError("weight must be finite off the diagonal, got NaN or an infinite value")
        gain = others.square().sum() / len(others)  # (n - 1) E[w²]
        common = (others.sum() / len(others)).abs()  # |J|
        most = leaks.max()
        spread = (gain * slopes.square().mean()).sqrt()
        return float(most + torch.maximum(spread, common * slopes.mean()))


def growth_of(layer: Any, current: Tensor) -> float:
    r"""`gradient_growth` of a recurrent layer in the state that a current puts it in.

    Args:
        layer: A `RecurrentLIF` or an `AdaptiveLIF` of `snnlib.neurons`.
        current: [T, batch, n], what enters it.

    Returns:
        r, from one forward pass of the layer and no training.

    Raises:
        ValueError: If the layer is no such layer; else as `gradient_growth`.

    Source: derived in the book.

    Example:
        >>> from snnlib.neurons import RecurrentLIF
        >>> from snnlib.surrogate import Surrogate
        >>> layer = RecurrentLIF(3, leak=0.5, surrogate=Surrogate("exponential", dampening=0.2))
        >>> _ = torch.nn.init.constant_(layer.weight, 0.1)
        >>> round(growth_of(layer, torch.ones(1, 1, 3)), 6)  # 0.5 + 2 · 0.1 · 0.2
        0.54
    """
    if not all(hasattr(layer, name) for name in ("trace", "weight", "leak", "surrogate")):
        raise ValueError(f"layer must be a RecurrentLIF or an AdaptiveLIF, got {layer!r}")
    with torch.no_grad():
        trace = layer.trace(current)
        threshold = layer.threshold
        if getattr(layer, "adaptation", None) is not None:
            threshold = threshold + layer.adaptation * trace.adaptation
        slopes = layer.surrogate.derivative(trace.membrane - threshold)
        return gradient_growth(layer.weight, slopes, leak=layer.leak)
