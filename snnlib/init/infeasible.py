"""Errors where a method has no answer: the inequality, its numbers, and what is nearest to it."""

from __future__ import annotations

import math


def input_weight_variance(bound: float, asked: float, variance: float) -> ValueError:
    """Feed-forward weights too small for recurrent weights of that mean."""
    return ValueError(
        "input_weight_variance must satisfy Var[w_in] > (n − 1) E[w_rec]²/(4 n_in E[z²]) = "
        f"{bound:.6g}, got {asked!r}: condition II would need "
        f"Var[w_rec] = {variance:.6g}, which is not positive; nearest feasible: just above "
        f"{bound:.6g}"
    )


def deviation(asked: float, reset: str) -> ValueError:
    """E|y − θ| where condition I does not depend on it."""
    return ValueError(
        f"deviation={asked!r} belongs to reset 'zero', got reset={reset!r}: without a "
        "product of potential and spike condition I does not depend on it"
    )


def silent_input() -> ValueError:
    """An input that is always 0."""
    return ValueError(
        "input_mean and input_variance must not both be 0: an input that is always 0 has no "
        "variance that the recurrent weights could match"
    )


def input_dampening(bound: float, asked: float) -> ValueError:
    """Gradients that the layer below alone makes grow."""
    return ValueError(
        "input_dampening must satisfy γ_in < (1 − β)/(n_in max w_in) = "
        f"{bound:.6g}, got {asked!r}: the layer below alone would make gradients grow, "
        "and condition III has no positive γ; nearest feasible: just below "
        f"{bound:.6g}, or a smaller Var[w_in]"
    )


def weight_min(asked: float) -> ValueError:
    """Weights without a negative one, where the ratio of the extremes is needed."""
    return ValueError(
        f"weight_min must be negative, got {asked!r}: condition III takes the "
        "gradients' extremes in the ratio of the weights' extremes; a larger Var[w_rec] "
        "(through Var[w_in]) or detach_reset=True makes it feasible"
    )


def passed_gradient(
    condition: str, others: str, weight: str, passed: float, room: float, variance: float
) -> ValueError:
    """Gradients through the layer below that leave no room; max w_in is in √Var[w_in]."""
    third = condition == "III"
    ratio = room / passed
    least = variance * (ratio**2 if third else ratio)
    term = "n_in max w_in γ_in" if third else "n_in E[w_in²] E[σ'_in²]"
    without = f": conditions={others!r}" if others else ""
    return ValueError(
        f"input_weight_variance must be below {least:.4g} for condition {condition}, got "
        f"{variance:.4g}: gradients that pass through the layer below alone, {term} = "
        f"{passed:.4g}, would outgrow 1 − {'β' if third else 'E[kept²]'} = "
        f"{room:.4g}; pass layers={{{weight!r}: {{'input_weight_variance': "
        f"{0.25 * least:.2g}}}}} or leave {condition} out{without}"
    )


def mean_above_threshold(mean: float, threshold: float, reach: float) -> ValueError:
    """A mean potential that is not below the threshold."""
    nearest = threshold * reach / (1 + reach) if math.isfinite(reach) else threshold
    return ValueError(
        f"mean must satisfy mean < threshold = {threshold:.6g}, got {mean!r}; nearest "
        "feasible: "
        + (
            f"mean = {round_down(nearest):.6g}"
            if threshold > 0 and nearest < threshold
            else f"just below {threshold:.6g}"
        )
    )


def fluctuations(mean: float, threshold: float, xi: float, reach: float) -> ValueError:
    """σ_w² < 0: the inequality with its numbers, and what is nearest to the request."""
    bound = reach * xi
    widest = bound * (threshold - mean) / abs(mean)
    bounds = []
    if mean > 0 < threshold:
        bounds.append(f"mean = {round_down(threshold * reach / (1 + reach)):.6g}")
    elif mean < 0 and reach < 1 and threshold > 0:
        bounds.append(f"mean = {-round_down(threshold * reach / (1 - reach)):.6g}")
    if widest > 0:
        bounds.append(f"xi = {round_down(widest):.6g} at this mean")
    return ValueError(
        "sigma_w^2 >= 0 is violated: it needs |mean| * xi <= "
        f"{bound:.6g} * (threshold - mean), got mean={mean!r}, xi={xi!r}, "
        f"threshold={threshold!r}"
        + (f"; nearest feasible: {' or '.join(bounds)}" if bounds else "")
    )


def round_down(value: float) -> float:
    """The value rounded down to six digits, so that what an error prints is feasible."""
    if value == 0:
        return 0.0
    unit = 10.0 ** (math.floor(math.log10(abs(value))) - 5)
    return math.floor(value / unit) * unit
