"""What tells two inputs apart in deep layers: closed forms against quadrature and plain loops."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.stats import norm

from snnlib import meanfield
from snnlib.meanfield import TwoInputs

PAIRS = [(0.35, 0.8), (0.97, 1.4), (-0.6, 0.3), (0.999999, 2.2), (0.5, 0.0)]


# --- one step: quadrature over the first potential ------------------------------------------------


NODES, WEIGHTS = np.polynomial.legendre.leggauss(200)


def between(start, end):
    """Nodes and weights of Gauss-Legendre quadrature."""
    return start + (NODES + 1) / 2 * (end - start), WEIGHTS * (end - start) / 2


def both_fire(c, z):
    rest, total = math.sqrt(1 - c * c), 0.0
    edges = [z, z + 0.02, z + 0.5, z + 12.0]
    for ends in itertools.pairwise(edges):
        u, mass = between(*ends)
        total += (mass * norm.pdf(u) * norm.sf((z - c * u) / rest)).sum()
    return total


@pytest.mark.parametrize(("c", "z"), PAIRS)
def test_correlation_map_is_the_orthant_probability(c, z):
    scale = 1.7  # potentials of another variance and threshold, the same ratio
    found = meanfield.correlation_map(c, scale * z, variance=scale**2)
    assert abs(found - both_fire(c, z) / norm.sf(z)) < 1e-10


@pytest.mark.parametrize(("c", "z"), [pair for pair in PAIRS if pair[0] < 0.99])
def test_slope_is_the_difference_quotient(c, z):
    h = 1e-4
    quotient = (both_fire(c + h, z) - both_fire(c - h, z)) / (2 * h * norm.sf(z))
    assert abs(meanfield.correlation_slope(c, z) / quotient - 1) < 1e-5


def test_opposite_inputs_have_a_slope_too():
    """At c = −1 the density of both potentials on the threshold is 0, and infinite at θ = 0."""
    assert meanfield.correlation_slope(-1.0, 0.8) == 0
    assert meanfield.correlation_slope([-1.0, 0.3], 1.4)[0] == 0
    assert meanfield.correlation_slope(-1.0, 0.0) == math.inf
    assert meanfield.correlation_map(-1.0, 0.8) == 0


@pytest.mark.parametrize("z", [0.4, 0.8, 1.7])
def test_layers_lead_every_start_to_the_fixed_point(z):
    fixed = meanfield.correlation_fixed_point(z)
    for c in (-0.9, 0.0, 0.999):
        for _ in range(60):
            c = both_fire(c, z) / norm.sf(z)
        assert abs(c - fixed) < 1e-9


@pytest.mark.parametrize("z", [0.3, 1.0, 2.5])
def test_near_inputs_part_by_a_square_root(z):
    near = np.array([1e-8, 1e-10])
    apart = 1 - meanfield.correlation_map(1 - near, z)
    law = norm.pdf(z) / norm.sf(z) * np.sqrt(near / math.pi)
    assert np.abs(apart / law - 1).max() < 1e-3


@pytest.mark.parametrize(("width", "z"), [(20, 1.0), (300, 0.7), (70, 0.0)])
def test_one_differing_spike_dies_as_often_as_quadrature_says(width, z):
    theta, deviation = 1.3 * z, 1.3
    spikes = width * norm.sf(z)

    def across(u):
        gap = (z - u) * math.sqrt(spikes)
        return norm.pdf(u) * (norm.sf(gap) if u <= z else norm.cdf(gap))

    differs = quad(across, -9, 9, points=[z], limit=400, epsabs=1e-13)[0]
    found = meanfield.difference_dies(width, theta, variance=deviation**2)
    assert abs(found / (1 - differs) ** width - 1) < 1e-9


def test_depth_scale_of_one_step_is_the_rate_of_approach():
    gain, threshold = 5.3, 0.85
    (stable,) = (p for p in meanfield.fixed_points(gain, threshold) if p.slope < 1)
    z = threshold / math.sqrt(stable.variance)
    c, apart = 0.0, []
    fixed = meanfield.correlation_fixed_point(z)
    for _ in range(14):
        c = both_fire(c, z) / norm.sf(z)
        apart.append(fixed - c)
    ratio = apart[-1] / apart[-2]
    found = meanfield.depth_law(threshold, gain=gain)
    assert abs(found.depth_scale * math.log(ratio) + 1) < 1e-3
    assert abs(found.correlation - fixed) < 1e-12
    again = meanfield.depth_law(threshold, rate=float(found.rate[0]))
    assert abs(again.gain / gain - 1) < 1e-10
    assert abs(again.depth_scale / found.depth_scale - 1) < 1e-10
    rate = meanfield.firing_probability(threshold)
    eq10 = meanfield.depth_scale(threshold)
    assert abs(eq10 / meanfield.depth_scale(threshold, gain=1 / rate) - 1) < 1e-10


# --- many steps: quadrature over what two inputs have in common --------------------------------


def pieces(function, *edges):
    inside = sorted({min(max(edge, -10.0), 10.0) for edge in (-10.0, *edges, 10.0)})
    ends = itertools.pairwise(inside)
    return sum(quad(function, *pair, epsabs=1e-13, epsrel=1e-11)[0] for pair in ends)


def clip(y):
    return min(max(y, 0.0), 1.0)


def clipped_map(c, s):
    """By Gauss-Legendre over the first current, and the mean of the second one given it."""
    rest = s * math.sqrt(1 - c * c)
    ends = (0.0, min(1 / s, 9.0), 9.0)
    both = square = 0.0
    for start, end in itertools.pairwise(ends):
        x, mass = between(start, end)
        mass = mass * norm.pdf(x)
        first = np.clip(s * x, 0, 1)
        low, high = -s * c * x / rest, (1 - s * c * x) / rest
        mean = norm.sf(high) + s * c * x * (norm.cdf(high) - norm.cdf(low))
        mean += rest * (norm.pdf(low) - norm.pdf(high))
        both += (mass * first * mean).sum()
        square += (mass * first**2).sum()
    return both / square


@pytest.mark.parametrize(("c", "s"), [(0.3, 0.5), (0.93, 1.3), (-0.4, 0.7)])
def test_clipped_map_is_the_mean_over_two_normal_currents(c, s):
    assert abs(meanfield.clipped_correlation_map(c, s) - clipped_map(c, s)) < 1e-9


@pytest.mark.parametrize("rate", [0.16, 0.33, 0.46])
def test_many_steps_by_quadrature(rate):
    threshold = 1.7
    found = meanfield.time_average(rate, threshold=threshold)
    s = found.deviation
    mean, square, below = (
        pieces(lambda u, k=k, top=top: norm.pdf(u) * clip(s * u) ** k * (s * u < top), 0.0, 1 / s)
        for k, top in ((1, math.inf), (2, math.inf), (1, 1.0))
    )
    assert abs(mean / rate - 1) < 1e-9
    assert abs(found.gain / (threshold**2 * s**2 / square) - 1) < 1e-9
    assert abs(found.lag / (below / (2 * square)) - 1) < 1e-9
    # a layer of this gain keeps the rate, and forgets a change as `memory` says
    h = 1e-3
    grown = pieces(lambda u: norm.pdf(u) * clip(s * math.exp(h / 2) * u) ** 2, 0.0, 1 / s) / square
    assert abs(math.log(grown) / h - found.memory) < 2 * h
    end = (1 + found.correlation) / 2  # the map lies below the diagonal between c* and 1
    fixed = brentq(lambda c: clipped_map(c, s) - c, 0.3, end, xtol=1e-13)
    assert abs(fixed - found.correlation) < 1e-8
    d = 1e-2 * (1 - fixed)
    slope = (clipped_map(fixed + d, s) - clipped_map(fixed - d, s)) / (2 * d)
    assert abs(slope - found.slope) < 1e-4


def test_many_steps_between_kaiming_and_the_sign():
    low, high = meanfield.time_average(0.04, threshold=0.6), meanfield.time_average(0.4999)
    assert abs(low.gain / (2 * 0.6**2) - 1) < 1e-9
    assert low.depth_scale > 1e12
    assert meanfield.time_average(0.004).depth_scale == math.inf
    # neurons that fire always or never are the sign function of one step
    assert abs(high.depth_scale / meanfield.depth_scale(0.0) - 1) < 1e-3
    given = dict(leak=1.0, threshold=0.8, steps=math.inf)
    assert meanfield.gain_for_rate(0.3, **given) == pytest.approx(
        0.64 * meanfield.time_average(0.3).gain
    )
    back = meanfield.depth_law(
        0.8, leak=1.0, steps=math.inf, gain=meanfield.gain_for_rate(0.3, **given)
    )
    assert abs(float(back.rate[0]) / 0.3 - 1) < 1e-9


# --- T steps: a plain loop in double precision --------------------------------------------------


def fire(current, leak, threshold):
    u, x, spikes = 0.0, 0.0, []
    for i in current:
        u = leak * u - threshold * x + i
        x = (u > threshold).astype(float)
        spikes.append(x)
    return np.array(spikes)


def pair_of_layers(own, crossed, gain, leak, threshold, normals):
    """R and R̃ one layer on, by the Cholesky factor of both inputs' currents."""
    steps = len(own)
    joint = gain * np.block([[own, crossed], [crossed, own]]) + 1e-9 * np.eye(2 * steps)
    current = np.linalg.cholesky(joint) @ normals
    x, y = (fire(half, leak, threshold) for half in (current[:steps], current[steps:]))
    count = x.shape[1]
    pairs = x @ y.T / count
    return (x @ x.T + y @ y.T) / (2 * count), (pairs + pairs.T) / 2


def test_depth_scale_of_several_steps_agrees_with_a_plain_loop():
    gain, leak, threshold, steps, depth = 6.4, 0.6, 0.9, 3, 4
    law = meanfield.depth_law(
        threshold, leak=leak, steps=steps, gain=gain, depth=depth, samples=65_536
    )
    numbers = np.random.default_rng(5)
    own = np.full((steps, steps), 0.05) + np.diag(np.full(steps, 0.15))
    crossed = own / 2
    slopes, shares = [], []
    for _ in range(24):
        own, crossed = pair_of_layers(
            own, crossed, gain, leak, threshold, numbers.standard_normal((2 * steps, 30_000))
        )
    for _ in range(8):
        above = crossed + 0.15 * (own - crossed)
        before = (above - crossed).sum()
        below, high = crossed - 0.15 * (own - crossed), above
        before = (high - below).sum()
        shrunk = 1.0
        for _ in range(depth):
            normals = numbers.standard_normal((2 * steps, 60_000))
            args = (gain, leak, threshold, normals)
            high, below = (pair_of_layers(own, c, *args)[1] for c in (high, below))
            own, crossed = pair_of_layers(own, crossed, *args)
            after = (high - below).sum()
            shrunk *= after / before
            part = (high - below) / after * 0.15 * (own - crossed).sum()
            high, below = crossed + part, crossed - part
            before = 2 * part.sum()
        slopes.append(math.log(shrunk) / depth)
        shares.append(crossed.sum() / own.sum())
    mean, error = np.mean(slopes), np.std(slopes, ddof=1) / math.sqrt(len(slopes))
    # five and eight repeats: t of 13 degrees of freedom or less, a false alarm in 1,000
    apart = math.log(law.slope) - mean
    both = math.hypot(error, law.standard_error / law.depth_scale**2)
    assert abs(apart) < 4.5 * both
    assert 6 * both < 0.1 * abs(mean)  # it would see a depth scale that is wrong by a tenth
    assert abs(law.correlation - np.mean(shares)) < 0.01


@pytest.mark.parametrize(("steps", "depth", "leak"), [(1, 6, 0.3), (5, 3, 1.0), (4, 5, 0.8)])
def test_gain_for_a_depth_brings_the_rate_there(steps, depth, leak):
    rate, threshold = 0.22, 1.3
    gain = meanfield.gain_for_rate(rate, leak=leak, threshold=threshold, steps=steps, depth=depth)
    numbers, count = np.random.default_rng(7), 150_000
    constant = numbers.standard_normal(count)
    scale = brentq(
        lambda s: fire(np.tile(s * constant, (steps, 1)), leak, threshold).mean() - rate, 0.1, 20
    )
    x = fire(np.tile(scale * constant, (steps, 1)), leak, threshold)
    for _ in range(depth):
        root = np.linalg.cholesky(gain * (x @ x.T / count) + 1e-9 * np.eye(steps))
        x = fire(root @ numbers.standard_normal((steps, count)), leak, threshold)
    assert abs(x.mean() / rate - 1) < 0.06
    if steps == 1:
        assert abs(gain / (threshold**2 / (norm.isf(rate) ** 2 * rate)) - 1) < 0.02


# --- the call per layer ---------------------------------------------------------------------------


def test_signal_of_every_layer():
    given = TwoInputs(np.full((3, 3), 0.3), np.full((3, 3), 0.12))
    stack = dict(depth=2, leak=0.7, threshold=1.1)
    gains = [4.0, 9.0, 7.0]

    def seeded():
        return torch.Generator().manual_seed(3)

    found = meanfield.gradient_signal(given, gains, generator=seeded(), **stack)
    draw, moments = seeded(), given
    for layer, gain in enumerate(gains):
        step = meanfield.two_input_map(moments, gain, leak=0.7, threshold=1.1, generator=draw)
        moments = step.spikes
        assert found.correlation[layer] == moments.coherence
        assert found.shared_count[layer] == moments.crossed.sum() / moments.own.sum()
    # the gain of weights scales the gradient that comes down through them
    other = meanfield.gradient_signal(
        given, [4.0, 9.0, 7.0], readout=0.5, generator=seeded(), **stack
    )
    assert np.allclose(found.size[:2], 2 * other.size[:2])
    one = meanfield.gradient_signal(given, 6.0, generator=seeded(), **stack)
    same = meanfield.gradient_signal(given, [6.0] * 3, generator=seeded(), **stack)
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    silent = TwoInputs(np.zeros((2, 2)), np.zeros((2, 2)))
    dead = meanfield.gradient_signal(silent, 1.0, **stack)
    assert np.isnan(dead.correlation).all() and np.isnan(dead.shared_count).all()


# --- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: meanfield.correlation_map(1.2, 1.0), r"correlation must be in \[-1, 1\], got 1.2"),
        (lambda: meanfield.correlation_slope(math.nan, 1.0), "correlation must be in"),
        (lambda: meanfield.correlation_map(0.5, -1.0), "threshold must be >= 0"),
        (lambda: meanfield.correlation_map(0.5, 1.0, variance=0.0), "variance must be positive"),
        (lambda: meanfield.correlation_fixed_point(40.0), "threshold must be at most 37"),
        (lambda: meanfield.difference_dies(5, 1.5), "width must be at most 1e12 and give a spike"),
        (lambda: meanfield.clipped_correlation_map(2.0, 0.5), "correlation must be in"),
        (lambda: meanfield.clipped_correlation_map(0.5, 0.0), "deviation must be in"),
        (lambda: meanfield.time_average(0.5), r"rate must be in \(0, 1/2\), got 0.5"),
        (lambda: meanfield.time_average(0.2, threshold=0.0), "threshold must be positive"),
        (lambda: meanfield.depth_scale(1.0, gain=5.0), "gain must be at least the critical one"),
        (
            lambda: meanfield.depth_scale(1.0, gain=7.0, rate=0.2),
            "gain and rate exclude",
        ),
        (lambda: meanfield.depth_scale(1.0, rate=0.6), "rate must be in"),
        (lambda: meanfield.depth_scale(-1.0), "threshold must be >= 0"),
        (lambda: meanfield.depth_scale(1.0, steps=2.5, leak=0.5), "steps must be an integer"),
        (lambda: meanfield.depth_scale(1.0, steps=3, gain=7.0), "leak must be given"),
        (lambda: meanfield.depth_scale(1.0, steps=3, leak=0.5), "gain or rate must be given"),
        (lambda: meanfield.depth_scale(1.0, steps=3, leak=1.5, gain=7.0), "leak must be in"),
        (lambda: meanfield.depth_scale(1.0, steps=3, leak=0.5, gain=2.0), "let every step live"),
        (lambda: meanfield.depth_scale(1.0, steps=3, leak=0.5, gain=7.0, depth=0), "depth must be"),
        (
            lambda: meanfield.depth_scale(1.0, steps=math.inf, leak=0.9, rate=0.2),
            "steps may be infinite for leak 1 and soft reset only",
        ),
        (
            lambda: meanfield.depth_scale(1.0, steps=math.inf, leak=1.0, gain=1.9),
            r"gain must be above 2 threshold\^2",
        ),
        (
            lambda: meanfield.gain_for_rate(0.2, leak=1.0, threshold=1.0, steps=5, depth=0),
            "depth must be an integer >= 1",
        ),
        (
            lambda: meanfield.gain_for_rate(
                0.2, leak=1.0, threshold=1.0, steps=math.inf, reset="zero"
            ),
            "steps may be infinite",
        ),
        (
            lambda: meanfield.gradient_signal(
                TwoInputs(np.eye(2), np.eye(2)), [1.0, 2.0], depth=2, leak=0.5, threshold=1.0
            ),
            "gain must be a number or 3, one for each layer",
        ),
    ],
)
def test_bad_input_is_named(call, says):
    with pytest.raises(ValueError, match=says):
        call()
