"""Conditions I-IV of Herranz-Celotti & Rouat: closed forms, enumeration, roots, networks.

Statistical checks on drawn weights have a false-alarm level of 1e-7 each; their `power` test
computes what they catch with probability 0.99: a variance wrong by 2 %, a mean wrong by 5 %.
"""

import ast
import itertools
import math
import re
from fractions import Fraction

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from torch import nn

from snnlib import networks
from snnlib._averages import RESETS
from snnlib.init import gain, herranz2022, initialize_
from snnlib.init.herranz2022 import (
    conditions,
    joint_sharpness,
    sampled_voltage_range,
    sharpness,
    voltage_range,
    weight_mean,
    weight_variance,
)
from snnlib.init.recurrent_layer import LOWEST_SHARPNESS
from snnlib.networks import FeedForward
from snnlib.neurons import RecurrentLIF
from snnlib.surrogate import SHAPES, Surrogate

LIMIT = stats.norm.isf(1e-7 / 2)
LAYER = {"leak": 0.5, "threshold": 1.0, "input_mean": 0.25, "input_variance": 0.5}
SIZES = {"fan_in": 40, "width": 65, "input_weight_variance": 0.02}
STACKED = {"stacked": True, "input_dampening": 0.02, "input_second_moment": 0.1}
DAMPED = {"distribution": "uniform", "conditions": "I II IV"}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


class Recurrent(nn.Module):
    """A layer with recurrent weights written as a loop, as a user would."""

    def __init__(self, width, *, threshold=1.0, leak=0.5, reset="subtract", **settings):
        super().__init__()
        self.inner = nn.Linear(width, width, bias=False)
        self.threshold, self.leak, self.reset = threshold, leak, reset
        self.surrogate = Surrogate("exponential", settings.pop("dampening", 1.0))
        self.detach_reset = settings.pop("detach_reset", False)

    def trace(self, current):
        y = x = torch.zeros_like(current[0])
        potentials, spikes = [], []
        for step in current:
            kept = self.leak * (y * (1 - x) if self.reset == "zero" else y)
            y = kept + step + self.inner(x)
            if self.reset == "subtract":
                y = y - self.threshold * x
            x = (y > self.threshold).to(y)
            potentials.append(y)
            spikes.append(x)
        return torch.stack(potentials), torch.stack(spikes)

    def forward(self, current):
        return self.trace(current)[1]


def stack(n_in=300, width=200, **settings):
    return nn.Sequential(
        nn.Linear(n_in, width, bias=False),
        Recurrent(width, **settings),
        nn.Linear(width, width, bias=False),
        Recurrent(width, **settings),
        nn.Linear(width, 10),
    )


# --- Conditions I to IV ---------------------------------------------------------------------------


@pytest.mark.parametrize("stacked", [False, True])
@pytest.mark.parametrize(
    ("leak", "threshold", "n"), [(0.5, 1.0, 65), (0.0, 2.0, 10), (0.875, 0.5, 129)]
)
def test_subtractive_reset_against_the_printed_forms_in_fractions(leak, threshold, n, stacked):
    a, thr, var_in, n_in = Fraction(leak), Fraction(threshold), Fraction(1, 8), 40
    mean = (3 - 2 * a) * thr / (n - 1)
    variance = 2 * Fraction(3, 4) * n_in * var_in / (n - 1) - mean**2 / 2
    low, high, peak = -3 + mean, 4 + mean, Fraction(2)
    gamma_in, below = Fraction(1, 4000), Fraction(1, 1000)
    xi = int(stacked)
    gamma = low / ((n - 1) * low - thr) / high * (1 - a - xi * n_in * peak * gamma_in)
    second = (1 - a**2 - xi * n_in * var_in * below) / ((n - 1) * (variance + mean**2) + thr**2)
    law = conditions(
        fan_in=n_in,
        width=n,
        leak=leak,
        threshold=threshold,
        input_mean=0.5,
        input_variance=0.5,
        input_weight_variance=float(var_in),
        weight_min=float(low),
        weight_max=float(high),
        input_weight_max=float(peak),
        stacked=stacked,
        input_dampening=float(gamma_in),
        input_second_moment=float(below),
    )
    expected = [float(value) for value in (mean, variance, gamma, second)]
    assert list(law) == pytest.approx(expected, rel=1e-12)


def two_point(mean, variance):
    std = math.sqrt(variance)
    return (mean - std, mean + std)


@pytest.mark.parametrize("reset", RESETS)
def test_condition_1_keeps_the_mean_at_the_threshold(reset):
    """E[y'] for y on a two-point law with mean and median θ, and as in the recipe."""
    beta, theta, n = 0.75, 1.5, 9
    d = 0.0 if reset != "zero" else 0.6
    w = weight_mean(width=n, leak=beta, threshold=theta, reset=reset, deviation=d)
    following = []
    for y in (theta - d, theta + d):
        x = float(y > theta) if d else 0.5  # without deviation the spike is its mean
        kept = {
            "subtract": beta * y - theta * x,
            "subtract_leak": beta * (y - theta * x),
            "zero": beta * y * (1 - x),
            "none": beta * y,
        }[reset]
        following.append(kept + (n - 1) * w / 2)
    assert np.mean(following) == pytest.approx(theta, rel=1e-12)


@pytest.mark.parametrize(
    "law", [stats.norm(0, 1.3), stats.uniform(-2, 4), stats.laplace(0, 0.7), stats.logistic(0, 2)]
)
def test_reset_to_zero_without_independence_by_quadrature(law):
    beta, theta, n = 0.8, 1.0, 31
    d = 2 * integrate.quad(lambda v: v * law.pdf(v), 0, 60, limit=200)[0]
    kept = integrate.quad(lambda v: (theta + v) * law.pdf(v), -60, 0, points=[-2], limit=200)[0]
    needed = 2 * (theta - beta * kept) / (n - 1)
    found = weight_mean(width=n, leak=beta, threshold=theta, reset="zero", deviation=d)
    assert found == pytest.approx(needed, rel=1e-7)
    independent = weight_mean(width=n, leak=beta, threshold=theta, reset="zero")
    assert found - independent == pytest.approx(beta * d / (n - 1))
    assert independent == pytest.approx((2 - beta) * theta / (n - 1))  # not (1 − β)θ/(n − 1)


def test_condition_2_by_enumeration():
    """Both variances over all weights, spikes and inputs of a small layer."""
    n, n_in, var_in = 3, 2, 1.7
    mean = weight_mean(width=n, leak=0.5, threshold=1.0)
    z_law, z_moments = (0.0, 2.0), {"input_mean": 1.0, "input_variance": 1.0}
    variance = weight_variance(
        fan_in=n_in, width=n, weight_mean=mean, input_weight_variance=var_in, **z_moments
    )
    w_law = two_point(mean, variance)
    recurrent = [
        w1 * x1 + w2 * x2 for w1, w2, x1, x2 in itertools.product(w_law, w_law, (0, 1), (0, 1))
    ]
    v_law = two_point(0.0, var_in)
    forward = [
        w1 * z1 + w2 * z2 for w1, w2, z1, z2 in itertools.product(v_law, v_law, z_law, z_law)
    ]
    assert np.var(recurrent) == pytest.approx(np.var(forward), rel=1e-12)


def next_gradient_variance(beta, theta, mean, variance, slopes, n, reset_path, zero=False):
    """Var of (β(1 − x) − ρ σ')g₀ + Σ w_j σ'_j g_j over all values, Var[g] = 1."""
    w_law, total = two_point(mean, variance), []
    others = list(itertools.product(w_law, slopes, (-1.0, 1.0)))
    for g, slope, x in itertools.product((-1.0, 1.0), slopes, (0.0, 1.0)):
        own = (beta * (1 - x if zero else 1) - (theta * slope if reset_path else 0)) * g
        for draws in itertools.product(others, repeat=n - 1):
            total.append(own + sum(w * s * h for w, s, h in draws))
    return np.mean(np.square(total)), np.mean(total)


@pytest.mark.parametrize("detach", [False, True])
@pytest.mark.parametrize("reset", ["subtract", "zero"])
def test_exact_condition_4_keeps_the_variance_by_enumeration(reset, detach):
    n, slopes = 3, (0.1, 0.5)
    layer = {"leak": 0.6, "threshold": 1.0, "reset": reset}
    law = conditions(
        fan_in=5,
        width=n,
        input_mean=0.0,
        input_variance=1.0,
        input_weight_variance=0.9,
        exact=True,
        first_moment=float(np.mean(slopes)),
        detach_reset=detach,
        weight_min=-1.0,
        weight_max=1.0,
        **layer,
    )
    # The slopes are scaled to the wanted second moment; E[σ'] scales with them, so iterate.
    for _ in range(200):
        scale = math.sqrt(law.second_moment / np.mean(np.square(slopes)))
        slopes = tuple(scale * s for s in slopes)
        law = law._replace(
            second_moment=conditions(
                fan_in=5,
                width=n,
                input_mean=0.0,
                input_variance=1.0,
                input_weight_variance=0.9,
                exact=True,
                first_moment=float(np.mean(slopes)),
                detach_reset=detach,
                weight_min=-1.0,
                weight_max=1.0,
                **layer,
            ).second_moment
        )
    path = reset == "subtract" and not detach
    variance, mean = next_gradient_variance(
        0.6, 1.0, law.weight_mean, law.weight_variance, slopes, n, path, zero=reset == "zero"
    )
    assert abs(mean) < 1e-12
    assert variance == pytest.approx(1.0, rel=1e-9)


def test_the_printed_condition_4_lacks_the_product_of_leak_and_reset():
    printed = conditions(**LAYER, **SIZES)
    exact = conditions(**LAYER, **SIZES, exact=True, first_moment=0.3)
    scale = 64 * (printed.weight_variance + printed.weight_mean**2) + 1
    assert exact[:3] == printed[:3]
    assert (exact.second_moment - printed.second_moment) * scale == pytest.approx(2 * 0.5 * 0.3)
    detached = conditions(**LAYER, **SIZES, exact=True, detach_reset=True)
    assert detached.second_moment * (scale - 1) == pytest.approx(0.75)
    with pytest.raises(ValueError, match="first_moment is needed for exact=True"):
        conditions(**LAYER, **SIZES, exact=True)


def test_condition_3_keeps_the_largest_gradient():
    """Max of each term at the corners, with the ratio of the extremes that the paper assumes."""
    low, high, n, beta, theta = -0.3, 0.5, 65, 0.5, 1.0
    sizes = SIZES | {"weight_min": low, "weight_max": high}
    gamma = conditions(**LAYER, **sizes).dampening
    most = 1.0
    least = high * most / low  # Max[w] Max[g] = Min[w] Min[g]
    recurrent = max(
        w * s * g for w, s, g in itertools.product((low, high), (0, gamma), (least, most))
    )
    reset = max(-theta * s * g for s, g in itertools.product((0, gamma), (least, most)))
    assert beta * most + (n - 1) * recurrent + reset == pytest.approx(1.0)
    assert conditions(**LAYER, **sizes, detach_reset=True).dampening == pytest.approx(
        (1 - beta) / ((n - 1) * high)
    )


def test_reset_to_zero_has_the_forms_of_the_recipe():
    law = conditions(**LAYER, **SIZES, **STACKED, reset="zero", input_weight_max=0.2)
    assert law.weight_mean == pytest.approx(1.5 / 64)
    half = math.sqrt(3 * law.weight_variance)
    assert law.dampening == pytest.approx(
        (1 - 0.5 - 40 * 0.2 * 0.02) / (64 * (law.weight_mean + half))
    )
    square = 64 * (law.weight_variance + law.weight_mean**2)
    assert law.second_moment == pytest.approx((1 - 0.25 / 2 - 40 * 0.02 * 0.1) / square)


def test_leaks_and_thresholds_of_single_neurons_enter_by_their_moments():
    leak, theta = torch.tensor([0.2, 0.4, 0.9]), torch.tensor([1.0, 3.0, 2.0])
    sizes = SIZES | {"weight_min": -0.3, "weight_max": 0.5}
    layer = LAYER | {"leak": leak, "threshold": theta}
    law = conditions(**layer, **sizes)
    assert law.weight_mean == pytest.approx((3 - 2 * 0.5) * 2 / 64)
    assert law.dampening == pytest.approx(0.1 / (64 * 0.5 + 3 * 0.5 / 0.3))
    square = 64 * (law.weight_variance + law.weight_mean**2)
    expected = (1 - (0.04 + 0.16 + 0.81) / 3) / (square + 14 / 3)
    assert law.second_moment == pytest.approx(expected)


@pytest.mark.parametrize("leak", [0.0, 0.3, 0.9, 0.99])
@pytest.mark.parametrize("threshold", [0.1, 1.0, 5.0])
@pytest.mark.parametrize("detach", [False, True])
def test_conditions_3_and_4_exclude_each_other(leak, threshold, detach):
    for width, scale in itertools.product((10, 1000), (1.1, 10.0)):
        mean = weight_mean(width=width, leak=leak, threshold=threshold)
        least = (width - 1) * mean**2 / (4 * 100)
        law = conditions(
            fan_in=100,
            width=width,
            leak=leak,
            threshold=threshold,
            input_mean=0.0,
            input_variance=1.0,
            input_weight_variance=scale * least,
            detach_reset=detach,
            **({} if scale > 2 else {"weight_min": -mean, "weight_max": 3 * mean}),
        )
        assert law.second_moment > law.dampening**2


def printed_third_and_fourth(low, high, *, n=100, leak=0.9, theta=1.0, below=(0.0, 0.0)):
    """γ of CIII and E[σ'²] of CIV as they are printed, for weights of two values."""
    first, square = below  # n_in max w_in γ_in, and n_in E[w_in²] E[σ'_in²]
    gamma = (1 - leak - first) / ((n - 1) * high - theta * high / low)
    second = (1 - leak**2 - square) / ((n - 1) * (low**2 + high**2) / 2 + theta**2)
    assert gamma > 0 and second > 0
    return gamma, second


@pytest.mark.parametrize(
    "setting",
    [
        {"low": 0.0102, "high": 0.03},  # no negative weight
        {"low": -1.0, "high": 0.001},  # the most negative one is the largest
        # the same of the weights from a layer below: max w_in 0.001, E[w_in²] 0.37, E[σ'_in²] 1/2
        {"low": -0.1, "high": 0.1, "n": 2, "theta": 0.01, "below": (0.001, 0.185)},
    ],
)
def test_the_printed_conditions_3_and_4_meet_without_their_premises(setting):
    gamma, second = printed_third_and_fourth(**setting)
    assert second < gamma**2
    kept = {"low": -0.02, "high": 0.03}
    gamma, second = printed_third_and_fourth(**kept, below=(0.05, 0.05**2))
    assert second > gamma**2


# --- Sharpness ------------------------------------------------------------------------------------

FORMULAS = {
    "triangular": lambda v, q: max(1 - abs(v), 0.0),
    "exponential": lambda v, q: math.exp(-2 * abs(v)),
    "gaussian": lambda v, q: math.exp(-math.pi * v * v),
    "sigmoid": lambda v, q: 1 / math.cosh(min(2 * abs(v), 300)) ** 2,
    "fast_sigmoid": lambda v, q: (1 + 2 * abs(v)) ** -2,
    "rectangular": lambda v, q: float(abs(v) < 0.5),
    "arctan": lambda v, q: 1 / (1 + (math.pi * v) ** 2),
    "q_pseudospike": lambda v, q: (1 + 2 * abs(v) / (q - 1)) ** -q,
}


def quadrature(shape, order, gamma, s, low, high, tail):
    kinks = [k / s for k in (-1, -0.5, 0, 0.5, 1) if low < k / s < high]
    edges = [low, *kinks, high]
    total = sum(
        integrate.quad(lambda v: FORMULAS[shape](s * v, tail) ** order, a, b, limit=200)[0]
        for a, b in itertools.pairwise(edges)
    )
    return gamma**order * total / (high - low)


@pytest.mark.parametrize("bounds", [(-3.0, 2.0), (-0.5, 12.0), (0.25, 1.5)])
@pytest.mark.parametrize("share", [0.03, 0.5, 0.97])
@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_has_its_root(shape, share, bounds):
    low, high = bounds
    gamma, tail = 0.6, 1.7
    target = share * gamma**2
    s = sharpness(shape, target, dampening=gamma, low=low, high=high, tail=tail)
    assert quadrature(shape, 2, gamma, s, low, high, tail) == pytest.approx(target, rel=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_an_unreachable_second_moment_is_refused_with_the_range(shape):
    for target in (0.09, 0.0900001, 4.0):
        with pytest.raises(ValueError, match=r"reachable range is 0 < E\[σ'²\] < γ² = 0.09") as e:
            sharpness(shape, target, dampening=0.3, low=-1.0, high=2.0)
        assert f"dampening: just above {math.sqrt(target):.6g}" in str(e.value)
    assert sharpness(shape, 0.0899, dampening=0.3, low=-1.0, high=2.0) > 0


@pytest.mark.parametrize("shape", SHAPES)
def test_both_moments_of_the_exact_condition_4_are_solved_together(shape):
    layer = {"leak": 0.7, "threshold": 1.0, "width": 33}
    mean = weight_mean(**layer)
    variance, gamma, low, high, tail = 0.05, 1.6, -4.0, 5.0, 1.5
    below = {
        "stacked": True,
        "fan_in": 20,
        "input_weight_variance": 0.1,
        "input_second_moment": 0.03,
    }
    law = {"weight_mean": mean, "weight_variance": variance, "tail": tail}
    s = joint_sharpness(shape, dampening=gamma, low=low, high=high, **layer, **law, **below)
    first, second = (quadrature(shape, m, gamma, s, low, high, tail) for m in (1, 2))
    scale = 32 * (variance + mean**2) + 1
    assert scale * second == pytest.approx(1 - 0.49 + 2 * 0.7 * first - 20 * 0.1 * 0.03, rel=1e-6)
    least = (1.4 + math.sqrt(1.4**2 + 4 * (0.51 - 0.06) * scale)) / (2 * scale)
    with pytest.raises(ValueError, match=f"dampening: just above {least:.6g}"):
        joint_sharpness(shape, dampening=0.999 * least, low=low, high=high, **layer, **law, **below)
    assert joint_sharpness(
        shape, dampening=1.001 * least, low=low, high=high, **layer, **law, **below
    )


# --- Range of the potential -----------------------------------------------------------------------


@pytest.mark.parametrize("reset", RESETS)
def test_no_potential_leaves_its_range(reset):
    draw = seeded(3)
    n, n_in, beta, theta = 6, 4, 0.6, 0.7
    w = torch.rand(n, n, generator=draw).double() - 0.4
    v = torch.rand(n, n_in, generator=draw).double() - 0.5
    low, high = sampled_voltage_range(w, v, leak=beta, threshold=theta, reset=reset)
    bounds = voltage_range(
        fan_in=n_in,
        width=n,
        leak=beta,
        threshold=theta,
        weight_min=-0.4,
        weight_max=0.6,
        input_weight_min=-0.5,
        input_weight_max=0.5,
        reset=reset,
    )
    assert bounds.low <= low.min() and high.max() <= bounds.high
    w.fill_diagonal_(0.0)
    y = x = torch.zeros(500, n, dtype=torch.float64)
    for step in range(60):
        z = (torch.rand(500, n_in, generator=draw) < (step % 3) / 2).double()
        carry = {
            "subtract": beta * y - theta * x,
            "subtract_leak": beta * (y - theta * x),
            "zero": beta * y * (1 - x),
            "none": beta * y,
        }[reset]
        y = carry + x @ w.T + z @ v.T
        x = (y > theta).double()
        assert bool((y <= high + 1e-12).all() and (y >= low - 1e-12).all())
    if reset == "none":  # without a reset the bound is reached by holding the best pattern
        best, target = torch.zeros(n).double(), high[0]
        for _ in range(200):
            best = beta * best + w.relu().sum(1) + v.relu().sum(1)
        assert best[0].item() == pytest.approx(target.item())


# --- Networks -------------------------------------------------------------------------------------


def drawn(weight, mean, variance, kurtosis):
    """Whether off-diagonal weights have a mean and a variance, and what the check could miss."""
    values = weight.detach().double()
    if values.shape[0] == values.shape[1] and not values.diagonal().any():
        values = values[~torch.eye(len(values), dtype=torch.bool)]
    count = values.numel()
    shift = abs(values.mean().item() - mean) / math.sqrt(variance / count)
    ratio = ((values - mean) ** 2).mean().item() / variance - 1
    return shift < LIMIT and abs(ratio) < LIMIT * math.sqrt((kurtosis - 1) / count)


KURTOSIS = {"uniform": 9 / 5, "normal": 3.0, "bigamma": 5 / 2}


def test_power_of_the_checks_on_drawn_weights():
    count, std, mean = 400 * 399, 0.1, 8 * 2 / 399
    needed = LIMIT + stats.norm.isf(0.01)
    for kurtosis in KURTOSIS.values():
        assert needed * math.sqrt((kurtosis - 1) / count) < 0.03
    assert needed * std / math.sqrt(count) / mean < 0.05
    law = torch.empty(400, 400).normal_(mean, std, generator=seeded(1)).fill_diagonal_(0)
    assert drawn(law, mean, std**2, 3.0)
    assert not drawn(law, 1.06 * mean, std**2, 3.0)
    assert not drawn(law, mean, 1.04 * std**2, 3.0)


@pytest.mark.parametrize("distribution", KURTOSIS)
def test_drawn_weights_have_the_laws_of_conditions_1_and_2(distribution):
    network = stack(300, 400, threshold=8.0)
    example = torch.randn(2, 5, 300, generator=seeded(1)) + 0.5
    report = initialize_(
        network,
        "herranz2022",
        example=example,
        generator=seeded(2),
        distribution=distribution,
        conditions="I II",
    )
    z = example.double()
    first = conditions(
        fan_in=300,
        width=400,
        leak=0.5,
        threshold=8.0,
        input_mean=z.mean().item(),
        input_variance=z.var(correction=0).item(),
        input_weight_variance=2 / 700,
    )
    second = conditions(
        fan_in=400,
        width=400,
        leak=0.5,
        threshold=8.0,
        input_mean=0.5,
        input_variance=0.25,
        input_weight_variance=2 / 800,
        stacked=True,
        detach_reset=True,
    )
    for layer, law in ((network[1], first), (network[3], second)):
        kurtosis = KURTOSIS[distribution]
        assert drawn(layer.inner.weight, law.weight_mean, law.weight_variance, kurtosis)
        assert not layer.inner.weight.diagonal().any()
        assert layer.surrogate == Surrogate("exponential")
    for weight, law_of_in in ((network[0].weight, 2 / 700), (network[2].weight, 2 / 800)):
        assert drawn(weight, 0.0, law_of_in, KURTOSIS[distribution])
    row = next(row for row in report if row.layer == "1.inner")
    assert row.std == pytest.approx(math.sqrt(first.weight_variance))
    assert row.rate == 0 and "conditions I, II; rate 1/2 is not stable" in row.note
    assert next(row for row in report if row.layer == "4").gain is None


@pytest.mark.parametrize("reset", ["subtract", "zero"])
@pytest.mark.parametrize("exact", [False, True])
def test_all_conditions_but_3_hold_in_a_stack(reset, exact):
    # A threshold of 0.25 keeps the exact condition's root within a dampening of 1.5.
    network = stack(reset=reset, dampening=1.5, threshold=0.25)
    initialize_(
        network,
        "herranz2022",
        time="inside",
        generator=seeded(),
        conditions="I II IV",
        exact=exact,
        unreachable="raise",
    )
    below = None
    for layer, fan_in, second in ((network[1], 300, 1.0), (network[3], 200, 0.5)):
        into = 2 / (fan_in + 200)
        mean = weight_mean(width=200, leak=0.5, threshold=0.25, reset=reset)
        variance = 2 * second * fan_in * into / 199 - mean**2 / 2
        reach = math.sqrt(3 * variance)
        bounds = voltage_range(
            fan_in=fan_in,
            width=200,
            leak=0.5,
            threshold=0.25,
            weight_min=mean - reach,
            weight_max=mean + reach,
            input_weight_min=-math.sqrt(3 * into),
            input_weight_max=math.sqrt(3 * into),
            reset=reset,
        )
        one, two = (
            layer.surrogate.moment(m, 0.25, law="uniform", bounds=tuple(bounds)) for m in (1, 2)
        )
        kept, theta = (0.125, 0.0) if reset == "zero" else (0.25, 0.25)
        left = two * (199 * (variance + mean**2) + theta**2)
        inherited = 0.0 if below is None else fan_in * into * below
        cross = 2 * 0.5 * theta * one if exact else 0.0
        assert left == pytest.approx(1 - kept - inherited + cross, rel=1e-6)
        assert layer.surrogate.dampening == 1.5
        below = two


def test_the_dampening_of_a_stack_is_that_of_condition_3():
    network = stack(detach_reset=False)
    report = initialize_(network, "herranz2022", time="inside", generator=seeded())
    below = 0.0
    for layer, fan_in, second in ((network[1], 300, 1.0), (network[3], 200, 0.5)):
        law = conditions(
            fan_in=fan_in,
            width=200,
            leak=0.5,
            threshold=1.0,
            input_mean=0.0,
            input_variance=second,
            input_weight_variance=2 / (fan_in + 200),
            stacked=below > 0,
            input_dampening=below,
        )
        assert layer.surrogate.dampening == pytest.approx(law.dampening)
        assert layer.surrogate.sharpness == LOWEST_SHARPNESS
        below = law.dampening
    assert "IV not met" in report[1].note
    with pytest.raises(ValueError, match="no sharpness of 'exponential' reaches"):
        initialize_(stack(), "herranz2022", time="inside", unreachable="raise")


@pytest.mark.parametrize("subset", ["I", "II", "III", "IV", "I III", ("II", "IV")])
def test_a_subset_leaves_the_rest_as_glorot_and_the_surrogate_have_it(subset):
    network = stack(width=300, threshold=6.0)
    initialize_(network, "herranz2022", time="inside", generator=seeded(), conditions=subset)
    asked = set(subset.split() if isinstance(subset, str) else subset)
    centre = 12 / 299 if "I" in asked else 0.0
    spread = 2 * 300 / 600 * 2 / 299 - centre**2 / 2 if "II" in asked else 1 / 300
    assert drawn(network[1].inner.weight, centre, spread, 9 / 5)
    surrogate = network[1].surrogate
    assert (surrogate.dampening == 1.0) == ("III" not in asked)
    assert (surrogate.sharpness == 1.0) == ("IV" not in asked)


def test_layers_of_other_settings_and_other_methods():
    network = stack()
    report = initialize_(
        network,
        "kaiming",
        time="inside",
        generator=seeded(),
        layers={
            "[01]*": {"method": "herranz2022", "conditions": "I II", "input_weight_variance": 0.01}
        },
    )
    rows = {row.layer: row for row in report}
    assert rows["0"].std == pytest.approx(0.1) and rows["2"].gain == pytest.approx(2.0)
    assert rows["1.inner"].std == pytest.approx(
        math.sqrt(2 * 300 / 199 * 0.01 - (2 / 199) ** 2 / 2)
    )
    assert gain("herranz2022", fan_in=200, weight_mean=0.1, weight_variance=0.2) == pytest.approx(
        42.0
    )


def test_recurrent_layers_of_snntorch():
    snntorch = pytest.importorskip("snntorch")
    network = nn.Sequential(
        nn.Linear(300, 400),
        snntorch.RLeaky(beta=0.5, threshold=8.0, linear_features=400, init_hidden=True),
    )
    example = torch.randn(3, 4, 300, generator=seeded(1))
    initialize_(
        network,
        "herranz2022",
        example=example,
        time="outside",
        generator=seeded(2),
        conditions="I II",
    )
    second = example.double().square().mean().item()
    weight = network[1].recurrent.weight
    mean = 2 * 8 / 399
    variance = 2 * second * 300 / 399 * 2 / 700 - mean**2 / 2
    assert drawn(weight, mean, variance, 9 / 5) and not weight.diagonal().any()
    with pytest.raises(ValueError, match=r"not a snnlib.surrogate.Surrogate: ask for"):
        initialize_(network, "herranz2022", example=example, time="outside")


# --- Bad input ------------------------------------------------------------------------------------


def test_a_negative_variance_is_refused_with_the_bound_on_the_input_weights():
    with pytest.raises(ValueError, match=r"Var\[w_in\] > .* = ([0-9.e-]+), got 1e-05") as error:
        conditions(**LAYER, **SIZES | {"input_weight_variance": 1e-5})
    second = 0.25**2 + 0.5
    bound = 64 * (2 / 64) ** 2 / (4 * 40 * second)
    assert f"nearest feasible: just above {bound:.6g}" in str(error.value)
    law = conditions(
        **LAYER,
        **SIZES | {"input_weight_variance": 1.0001 * bound},
        weight_min=-0.1,
        weight_max=0.1,
    )
    assert 0 < law.weight_variance < 1e-6
    with pytest.raises(ValueError, match="not positive"):
        conditions(**LAYER, **SIZES | {"input_weight_variance": 0.9999 * bound})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"leak": 1.0}, "leak must satisfy 0 <= leak < 1"),
        ({"leak": -0.1}, "nearest feasible: 0.0"),
        ({"leak": math.nan}, "leak must satisfy"),
        ({"threshold": -1.0}, "threshold must be >= 0"),
        ({"threshold": math.inf}, "threshold must be >= 0"),
        ({"width": 1}, "width must be an integer >= 2"),
        ({"fan_in": 0}, "fan_in must be an integer >= 1"),
        ({"fan_in": 2.5}, "fan_in must be an integer"),
        ({"input_variance": -1.0}, "input_variance must be >= 0"),
        ({"input_mean": math.nan}, "input_mean must be finite"),
        ({"input_mean": 0.0, "input_variance": 0.0}, "must not both be 0"),
        ({"input_weight_variance": 0.0}, "input_weight_variance must be positive"),
        ({"reset": "hard"}, "reset must be one of subtract, subtract_leak, zero, none"),
        ({"weight_min": 0.1}, "weight_min must be negative"),
        ({"weight_max": 0.0}, "weight_max must be positive"),
        ({"deviation": 0.5}, "belongs to reset 'zero'"),
        ({"deviation": -0.5, "reset": "zero"}, "deviation must be >= 0"),
        ({"stacked": True, "input_dampening": 1.0}, r"γ_in < \(1 − β\)/\(n_in max w_in\)"),
        ({"stacked": True, "input_second_moment": 1.0}, r"E\[σ'_in²\] < \(1 − E\[β²\]\)"),
        ({"input_dampening": -1.0}, "input_dampening must be >= 0"),
        ({"exact": True, "first_moment": 0.0}, "first_moment must be positive"),
    ],
)
def test_conditions_refuse_bad_input(changes, message):
    with pytest.raises(ValueError, match=message):
        conditions(**LAYER | SIZES | changes)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sharpness("square", 0.1, dampening=1.0, low=-1, high=1), "shape must be one of"),
        (lambda: sharpness("arctan", 0.0, dampening=1.0, low=-1, high=1), "second_moment must be"),
        (lambda: sharpness("arctan", 0.1, dampening=-1.0, low=-1, high=1), "dampening must be"),
        (lambda: sharpness("arctan", 0.1, dampening=1.0, low=1, high=1), "low < high"),
        (
            lambda: sharpness("q_pseudospike", 0.1, dampening=1.0, low=-1, high=1, tail=1.0),
            "tail must be",
        ),
        (
            lambda: sampled_voltage_range(
                torch.ones(2, 3), torch.ones(2, 1), leak=0.5, threshold=1.0
            ),
            r"recurrent_weight must be \[n, n\]",
        ),
        (
            lambda: sampled_voltage_range(
                torch.ones(2, 2), torch.ones(3, 1), leak=0.5, threshold=1.0
            ),
            r"input_weight must be \[2, n_in\]",
        ),
        (lambda: gain("herranz2022", fan_in=0, weight_mean=0.0, weight_variance=1.0), "fan_in"),
    ],
)
def test_functions_refuse_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


class Summed(nn.Module):
    """Two input weights drive one layer."""

    def __init__(self):
        super().__init__()
        self.one, self.two, self.layer = nn.Linear(3, 4), nn.Linear(3, 4), Recurrent(4)

    def forward(self, x):
        return self.layer(self.one(x) + self.two(x))


@pytest.mark.parametrize(
    ("build", "settings", "message"),
    [
        (stack, {"conditions": "V"}, "conditions must name some of I, II, III, IV"),
        (stack, {"conditions": ""}, "conditions must name some"),
        (stack, {"unreachable": "ignore"}, "unreachable must be 'nearest' or 'raise'"),
        (stack, {"input_weight_variance": 1e-9}, r"Var\[w_in\] > .*layer '1'"),
        (stack, {"input_weight_variance": "large"}, "a positive number or 'stable', got 'large'"),
        (stack, {"exact": "yes"}, "exact must be True or False, got 'yes'"),
        (stack, {"xi": 1.0}, "xi=1.0 is not a setting of 'herranz2022'"),
        (lambda: stack(reset="sideways"), {}, "knows the resets"),
        (lambda: stack(leak=1.0), {}, "leak must satisfy"),
        (lambda: stack(), {"layers": {"1*": {"conditions": "I"}}, "conditions": "II"}, "the same"),
        (Summed, {"example": torch.randn(2, 2, 3)}, "one recurrent and one input weight"),
    ],
)
def test_networks_are_refused_before_anything_changes(build, settings, message):
    network = build()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    surrogates = [m.surrogate for m in network.modules() if isinstance(m, Recurrent)]
    draw = seeded(5)
    state = draw.get_state()
    with pytest.raises(ValueError, match=message):
        initialize_(network, "herranz2022", time="inside", generator=draw, **settings)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert [m.surrogate for m in network.modules() if isinstance(m, Recurrent)] == surrogates
    assert torch.equal(draw.get_state(), state)


# --- The library's own recurrent neurons ----------------------------------------------------------


def test_the_deviation_of_a_normal_potential_solves_its_equation():
    for leak, theta, variance in ((0.0, 1.0, 0.3), (0.5, 2.0, 1.0), (0.95, 0.5, 20.0)):
        d = herranz2022.normal_deviation(leak=leak, threshold=theta, variance=variance)
        s = d * math.sqrt(math.pi / 2)
        law = stats.norm(theta, s)
        first, second = (
            integrate.quad(lambda y, k=k, law=law: y**k * law.pdf(y), theta - 12 * s, theta)[0]
            for k in (1, 2)
        )
        assert s**2 == pytest.approx(variance + leak**2 * (second - first**2), rel=1e-8)
        assert d == pytest.approx(stats.norm(0, s).expect(abs), rel=1e-7)


def test_a_stack_of_recurrent_lif_layers_with_an_example():
    network = FeedForward(
        nn.Linear(300, 400, bias=False),
        RecurrentLIF(400, threshold=8.0, surrogate=Surrogate("gaussian")),
        nn.Linear(400, 400, bias=False),
        RecurrentLIF(400, threshold=8.0, surrogate=Surrogate("gaussian")),
        nn.Linear(400, 10),
    )
    example = 2 * torch.rand(3, 4, 300, generator=seeded(1)) - 0.5
    report = initialize_(network, "herranz2022", example=example, generator=seeded(2))
    z, into = example.double(), 2 / 700
    law = conditions(
        fan_in=300,
        width=400,
        leak=0.5,
        threshold=8.0,
        input_mean=z.mean().item(),
        input_variance=z.var(correction=0).item(),
        input_weight_variance=into,
        detach_reset=True,
    )
    assert drawn(network[1].weight, law.weight_mean, law.weight_variance, 9 / 5)
    assert network[1].surrogate.dampening == pytest.approx(law.dampening)
    assert network[1].surrogate.shape == "gaussian"
    upper = conditions(
        fan_in=400,
        width=400,
        leak=0.5,
        threshold=8.0,
        input_mean=0.5,
        input_variance=0.25,
        input_weight_variance=2 / 800,
        detach_reset=True,
        stacked=True,
        input_dampening=law.dampening,
    )
    assert network[3].surrogate.dampening == pytest.approx(upper.dampening)
    assert "IV not met" in report[1].note

    # Condition IV alone takes the range of the example's values for the range of the potential.
    network[1].surrogate = Surrogate("gaussian")
    initialize_(
        network,
        "herranz2022",
        example=example,
        layers={"2": None, "3*": None},
        conditions="I II IV",
    )
    reach, half = math.sqrt(3 * into), math.sqrt(3 * law.weight_variance)
    low, high = voltage_range(
        fan_in=300,
        width=400,
        leak=0.5,
        threshold=8.0,
        weight_min=law.weight_mean - half,
        weight_max=law.weight_mean + half,
        input_weight_min=-reach,
        input_weight_max=reach,
        input_low=example.min().item(),
        input_high=example.max().item(),
    )
    s = sharpness("gaussian", law.second_moment, dampening=1.0, low=low - 8, high=high - 8)
    assert network[1].surrogate.sharpness == pytest.approx(s)


@pytest.mark.parametrize(("deviation", "rate"), [("normal", 0.5), (0.0, 0.443)])
def test_networks_with_reset_to_zero_fire_half_of_the_time_with_the_deviation_only(deviation, rate):
    """The standard error is 0.003, the tolerance 6 of them; the two cases differ by 17."""
    rates = []
    for seed in range(8):
        draw = seeded(seed)
        layer = RecurrentLIF(400, leak=0.25, reset="zero")
        network = FeedForward(nn.Linear(100, 400, bias=False), layer)
        initialize_(
            network,
            "herranz2022",
            generator=draw,
            conditions="I II",
            input_weight_variance=0.04,
            deviation=deviation,
        )
        with torch.no_grad():  # the law's mean, not the sample's
            mean = layer.weight.sum() / (400 * 399)
            d = 0.0
            if deviation == "normal":
                d = herranz2022.normal_deviation(leak=0.25, threshold=1.0, variance=8.0)
            wanted = weight_mean(width=400, leak=0.25, threshold=1.0, reset="zero", deviation=d)
            layer.weight.add_(wanted - mean).fill_diagonal_(0.0)
            spikes = network(torch.randn(60, 4, 100, generator=draw))
        rates.append(spikes[30:].mean().item())
    assert abs(np.mean(rates) - rate) < 0.02


def test_the_printed_multiplicative_reset_is_refused():
    network = FeedForward(nn.Linear(5, 6), RecurrentLIF(6, reset="multiplicative"))
    with pytest.raises(ValueError, match=r"knows the resets .* 'multiplicative'"):
        initialize_(network, "herranz2022")


def spiking_example(steps=60):
    return (torch.rand(steps, 16, 40, generator=seeded(4)) < 0.1).float()


def rates_from_rest(network):
    with torch.no_grad():
        x, rates = spiking_example(), []
        for layer in network:
            x = layer(x)
            if isinstance(layer, RecurrentLIF):
                rates.append(x[20:].mean().item())
    return rates


@pytest.mark.parametrize(
    ("reset", "leak"),
    [("subtract", 0.2), ("subtract", 0.9), ("subtract_leak", 0.5), ("none", 0.8), ("zero", 0.5)],
)
def test_a_stable_input_brings_every_layer_from_rest_to_half_the_rate(reset, leak):
    # A network's own weights do not have CI's mean exactly: its rate is off by about 0.08.
    network = networks.recurrent([40, 300, 300, 300, 10], leak=leak, reset=reset)
    settings = {"conditions": "I II", "example": spiking_example(), "generator": seeded(1)}
    if reset == "zero":
        settings["deviation"] = "normal"
    weak = initialize_(network, "herranz2022", **settings)
    assert "rate 1/2 is not stable" in weak[1].note
    assert "the layer below does not stay at rate 1/2" in weak[3].note
    assert weak[1].rate is None or weak[1].rate < 0.01
    assert weak[3].rate is None
    assert max(rates_from_rest(network)[1:]) < 0.05
    strong = initialize_(network, "herranz2022", input_weight_variance="stable", **settings)
    assert all(0.2 < rate < 0.8 for rate in rates_from_rest(network))
    assert [row.rate for row in strong if row.drives] == [0.5] * 6
    assert not any("stable" in row.note for row in strong)


def test_a_stack_that_cannot_meet_condition_3_says_which_input_weights_could():
    network = networks.recurrent([40, 128, 128, 10])
    with pytest.raises(ValueError, match="input_weight_variance must be below") as caught:
        initialize_(network, "herranz2022", example=spiking_example(), generator=seeded())
    told = re.search(r"layers=(\{.*?\}\})", str(caught.value))
    words = r"must be below (\S+) for condition III,.* outgrow 1 − β ="
    limit = re.search(words, str(caught.value))
    assert told is not None and limit is not None
    layers = ast.literal_eval(told[1])
    ((name, _),) = layers.items()
    for share in (None, 0.999, 1.001):
        if share is not None:  # the limit is where it says
            layers = {name: {"input_weight_variance": share * float(limit[1])}}
        again = {"example": spiking_example(), "generator": seeded(), "layers": layers}
        if share == 1.001:
            with pytest.raises(ValueError, match="must be below"):
                initialize_(network, "herranz2022", **again)
        else:
            assert "III" in initialize_(network, "herranz2022", **again)[3].note


def test_a_threshold_that_adapts_counts_as_it_is_at_half_the_rate():
    network = networks.recurrent([40, 300, 10], neuron="alif", adaptation=2.0, leak=0.5)
    report = initialize_(
        network,
        "herranz2022",
        conditions="I II",
        input_mean=0.0,
        input_variance=1.0,
        input_weight_variance=0.1,
        generator=seeded(1),
    )
    assert "θ + κ/2" in report[1].note
    weight = network.neurons1.weight.detach().double()
    drive = weight.sum() / len(weight)  # (3 − 2β)(θ + κ/2) = 4, and 2 if κ were forgotten
    error = (weight.sum(1).std() / math.sqrt(len(weight))).item()
    assert abs(drive.item() - 4.0) < LIMIT * error < 1.0
