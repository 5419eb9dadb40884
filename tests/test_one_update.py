"""What one update changes: the law against sampling without its integrals, limits and units."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch import nn

from snnlib import init
from snnlib.init import initialize_, learning_rate
from snnlib.meanfield import correlation_map, correlation_slope, one_update, promise_kept
from snnlib.neurons import LIF
from snnlib.surrogate import SHAPES, Surrogate

THETA, Q = 0.7, 1.3
Z = THETA / math.sqrt(Q)


def sampled(surrogate, move, layers, every, samples=2_000_000):
    """The recursion over layers, by drawing old and new potentials and gradients of neurons."""
    draw = torch.Generator().manual_seed(0)
    rate = float(norm.sf(Z))
    gain, amount = Q / rate, move * math.sqrt(Q)
    v, handed, variance, crossed, share = 1.0, 0.0, Q, Q, 1.0
    promise, found = 0.0, []
    for layer in range(layers):
        a, b, h = (torch.randn(samples, generator=draw, dtype=torch.float64) for _ in range(3))
        h = h * math.sqrt(v)
        old = math.sqrt(Q) * a
        left = max(variance - crossed**2 / Q, 0.0)
        new = crossed / Q * old + math.sqrt(left) * b
        slope = surrogate.derivative(old - THETA)
        own = amount * share if every or layer == 0 else 0.0
        shifted = new - own * h.sign() - handed * slope * h
        x, y = (old > THETA).double(), (shifted > THETA).double()
        promised = (own / share * slope * h.abs()).mean() / v + promise * (slope**2).mean()
        response = -(h * y).mean() / v
        scale = math.sqrt(v / gain / Q)  # of the readout's b in units of the potential
        v /= gain * float((slope**2).mean())
        handed, promise = gain * float(response), gain * float(promised)
        variance, crossed = gain * float(y.mean()), gain * float((x * y).mean())
        share = float((x * y).mean()) / rate
        found.append((promise * scale, handed * scale, share, float(y.mean())))
    return np.array(found).T


@pytest.mark.parametrize("every", [True, False])
@pytest.mark.parametrize("shape", ["arctan", "rectangular"])
def test_the_law_is_that_of_sampled_neurons(shape, every):
    """Standard errors at most 0.35 % of what moves: 2 % is six of them, over 12 numbers each."""
    surrogate = Surrogate(shape, 0.8, 0.4)
    law = one_update(surrogate, THETA, variance=Q, move=0.3, layers=3, every=every)
    by_hand = sampled(surrogate, 0.3, 3, every)
    for name, found, expected in zip(law._fields, law, by_hand, strict=True):
        assert np.allclose(found, expected, rtol=0.02), name


@pytest.mark.parametrize("shape", SHAPES)
def test_small_updates_keep_what_the_closed_form_says(shape):
    surrogate = Surrogate(shape, 0.8, 0.7)
    found = one_update(surrogate, THETA, variance=Q, move=1e-9, layers=3, every=False).kept
    first = norm.pdf(Z) / math.sqrt(Q) / surrogate.moment(1, THETA, std=math.sqrt(Q))
    kappa = promise_kept(surrogate, THETA, variance=Q)
    # the likeness of old and new is 1 up to the fourth root of the move in layer 3
    assert np.allclose(found, first * kappa ** np.arange(3), rtol=0.03)
    assert found[0] == pytest.approx(first, rel=1e-4)


def test_without_a_gradient_from_above_spikes_part_as_two_inputs_do():
    law = one_update(Surrogate("arctan", 1.0, 0.3), 0.9, move=1e-6, layers=9, every=False)
    path = law.likeness[0]
    for k in range(8):
        path = correlation_map(path, 0.9)
        assert law.likeness[k + 1] == pytest.approx(path, abs=2e-3)


def test_a_wide_surrogate_keeps_the_slope_of_the_map():
    z = np.array([0.2, 0.8, 1.5])
    square = Surrogate("gaussian", sharpness=1e-5).moment(2, z)
    for threshold, own in zip(z, square, strict=True):
        height = math.sqrt(norm.sf(threshold) / own)  # G E[σ'²] = 1
        kept = promise_kept(Surrogate("gaussian", height, 1e-5), threshold)
        assert kept == pytest.approx(math.sqrt(correlation_slope(0.0, threshold)), rel=1e-6)


def test_promise_kept_takes_arrays():
    form = Surrogate("triangular", 0.7, 0.5)
    both = promise_kept(form, [0.5, 0.9], variance=[1.0, 2.0])
    assert both.tolist() == [promise_kept(form, 0.5), promise_kept(form, 0.9, variance=2.0)]


def test_units_are_those_of_the_potential():
    c = 3.0
    plain = one_update(Surrogate("arctan", 0.8, 0.4), 0.7, variance=1.3, move=0.1, layers=3)
    form = Surrogate("arctan", 0.8 / c, 0.4 / c)
    scaled = one_update(form, 0.7 * c, variance=1.3 * c**2, move=0.1, layers=3)
    assert np.allclose(np.array(plain), np.array(scaled), rtol=1e-9)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"threshold": -1.0}, "threshold"),
        ({"threshold": 50.0}, "threshold"),
        ({"variance": 0.0}, "variance"),
        ({"move": 0.0}, "move"),
        ({"move": 3.0}, "move"),
        ({"layers": 0}, "layers"),
        ({"surrogate": "arctan"}, "surrogate"),
    ],
)
def test_what_is_outside_is_refused(settings, says):
    given = {"surrogate": Surrogate(), "threshold": 1.0} | settings
    with pytest.raises(ValueError, match=says):
        one_update(**given)
    if says in ("threshold", "variance", "surrogate") and settings != {"threshold": 50.0}:
        with pytest.raises(ValueError, match=says):
            promise_kept(**given)


# --- The learning rate ---------------------------------------------------------------------------


def test_one_update_of_adam_moves_a_current_by_the_part_that_was_asked_for():
    """One sample of spikes: all weights of a neuron that get a gradient agree."""
    draw = torch.Generator().manual_seed(1)
    n, rate, gain, move = 2000, 0.3, 4.0, 0.07
    x = torch.zeros(n, dtype=torch.float64)
    x[: round(rate * n)] = 1
    weight = torch.randn(50, n, generator=draw, dtype=torch.float64) * math.sqrt(gain / n)
    weight = nn.Parameter(weight)
    eta = learning_rate(gain, n, second_moment=rate, move=move)
    adam = torch.optim.Adam([weight], lr=eta, eps=1e-30)
    before = weight @ x
    (before * torch.randn(50, generator=draw)).sum().backward()
    adam.step()
    moved = (weight @ x - before).detach().abs() / math.sqrt(gain * rate)
    assert torch.allclose(moved, torch.full_like(moved, move), rtol=1e-9)


def test_learning_rates_are_arrays_and_refuse():
    found = learning_rate([2.0, 8.0], [100, 100], second_moment=0.5, size=[0.5, 0.4])
    assert found.tolist() == pytest.approx([1 / 25 / 50, 2 / 25 / 40])
    for bad in ({"gain": -1.0}, {"fan_in": 0}, {"second_moment": 0.0}, {"size": 0.9}, {"move": 0}):
        given = {"gain": 2.0, "fan_in": 10, "second_moment": 0.5} | bad
        with pytest.raises(ValueError, match=next(iter(bad))):
            learning_rate(given.pop("gain"), given.pop("fan_in"), **given)


def chain(depth=3):
    layers = [nn.Linear(40, 30), LIF()]
    for _ in range(depth - 1):
        layers += [nn.Linear(30, 30), LIF()]
    return nn.Sequential(*layers, nn.Linear(30, 10))


def test_inputs_have_a_unit_too():
    """x times c: weights and learning rate of the first layer over c, and no other."""
    x = torch.rand(2, 5, 40, generator=torch.Generator().manual_seed(0))
    plain = initialize_(chain(), "balanced", steps=2, example=x)
    louder = initialize_(chain(), "balanced", steps=2, example=4 * x)
    assert louder[0].learning_rate == pytest.approx(plain[0].learning_rate / 4)
    assert louder[0].std == pytest.approx(plain[0].std / 4)
    assert louder[1].learning_rate == pytest.approx(plain[1].learning_rate)
    expected = math.sqrt(plain[0].gain * float(x.square().mean())) / 25 / 40 / float(x.abs().mean())
    assert plain[0].learning_rate == pytest.approx(expected, rel=1e-4)


def test_the_rate_of_spikes_is_that_of_the_function():
    report = initialize_(chain(), "balanced", steps=2)
    expected = learning_rate(init.gain("balanced", steps=2, depth=3), 30, second_moment=0.2)
    assert report[1].learning_rate == pytest.approx(expected)


def test_groups_hold_every_parameter_once():
    network = chain()
    report = initialize_(network, "balanced", steps=2)
    groups = report.groups(network, default=1e-3)
    held = [p for group in groups for p in group["params"]]
    assert sorted(map(id, held)) == sorted(map(id, network.parameters()))
    rates = [row.learning_rate for row in report if row.learning_rate is not None]
    assert [group["lr"] for group in groups] == [*rates, 1e-3]
    torch.optim.Adam(groups)
    with pytest.raises(ValueError, match="default"):
        report.groups(network, default=0.0)
    with pytest.raises(ValueError, match="module must hold"):
        report.groups(nn.Linear(3, 3), default=1e-3)
