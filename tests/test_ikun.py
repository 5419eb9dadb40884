"""IKUN: what each balance keeps, in formulas, in single layers and in deep networks."""

import functools
import math

import pytest
import torch
from scipy import stats
from torch import nn

from snnlib import init, probe
from snnlib.init import METHODS, gain, ikun2024, ikun2024_
from snnlib.meanfield import critical_gain, fixed_points, matched_sharpness
from snnlib.networks import mlp
from snnlib.neurons import LIF
from snnlib.surrogate import Surrogate, from_library

SHAPES = ("sigmoid", "arctan", "triangular")


initialize_ = functools.partial(init.initialize_, readout="draw")  # no layer here is an output


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def moments(surrogate, threshold, variance):
    """P(u > θ) and E[σ'(u − θ)²] by a plain sum over u."""
    u = torch.linspace(-12, 12, 240_001, dtype=torch.float64) * math.sqrt(variance)
    weight = torch.exp(-(u**2) / (2 * variance))
    weight = weight / weight.sum()
    slopes = surrogate.derivative(u - threshold).square()
    return float(weight @ (u > threshold).double()), float(weight @ slopes)


# --- formulas -----------------------------------------------------------------------------------


@pytest.mark.parametrize("threshold", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("alpha", [0.7, 1.0, 2.0])
def test_forward_is_equation_10_at_a_chosen_variance(threshold, alpha):
    assert gain("ikun2024", threshold=threshold, alpha=alpha) == pytest.approx(
        alpha / stats.norm.sf(threshold / math.sqrt(alpha)), rel=1e-13
    )
    assert gain("ikun2024", threshold=threshold) == gain("micheli2024", threshold=threshold)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("threshold", "sharpness"), [(0.5, 0.8), (1.0, 1.5)])
@pytest.mark.parametrize("alpha", [0.9, 1.3])
def test_each_gain_belongs_to_the_moments_that_it_produces(shape, threshold, sharpness, alpha):
    surrogate = Surrogate(shape, 0.9, sharpness)
    for balance in ("backward", "printed"):
        settings = {"balance": balance, "alpha": alpha, "surrogate": surrogate}
        variance = ikun2024.steady_variance(threshold=threshold, **settings)
        value = gain("ikun2024", threshold=threshold, **settings)
        p, square = moments(surrogate, threshold, variance)
        assert value * p == pytest.approx(variance, rel=1e-4)
        expected = alpha / square if balance == "backward" else alpha / (p * (1 - p) * square)
        assert value == pytest.approx(expected, rel=1e-4)
        # Given a variance, the moments are those of that variance.
        p, square = moments(surrogate, threshold, 0.8)
        expected = alpha / square if balance == "backward" else alpha / (p * (1 - p) * square)
        assert gain("ikun2024", threshold=threshold, variance=0.8, **settings) == pytest.approx(
            expected, rel=1e-4
        )


@pytest.mark.parametrize("shape", SHAPES)
def test_one_gain_meets_both_conditions_at_the_matched_sharpness(shape):
    both = Surrogate(shape, sharpness=matched_sharpness(shape, 0.8))
    assert gain("ikun2024", balance="backward", surrogate=both, threshold=0.8) == pytest.approx(
        gain("ikun2024", balance="forward", threshold=0.8), rel=1e-9
    )
    off = Surrogate(shape, sharpness=1.3 * both.sharpness)
    assert gain("ikun2024", balance="backward", surrogate=off, threshold=0.8) > 1.2 * gain(
        "ikun2024", threshold=0.8
    )


def test_the_backward_gain_is_a_stable_state_that_lives():
    for surrogate in (Surrogate("arctan"), Surrogate("sigmoid", 0.5, 0.5)):
        value = gain("ikun2024", balance="backward", surrogate=surrogate)
        assert value > critical_gain(1.0)
        upper = fixed_points(value, 1.0)[-1]
        assert upper.slope < 1
        assert upper.variance == pytest.approx(
            ikun2024.steady_variance(balance="backward", surrogate=surrogate), rel=1e-9
        )


@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_the_printed_gain_multiplies_the_gradient_by_four_alpha_at_least(alpha):
    for shape in SHAPES:
        surrogate = Surrogate(shape)
        value = gain("ikun2024", balance="printed", alpha=alpha, surrogate=surrogate)
        q = ikun2024.steady_variance(balance="printed", alpha=alpha, surrogate=surrogate)
        factor = value * surrogate.moment(2, 1.0, 0.0, math.sqrt(q))
        p = stats.norm.sf(1 / math.sqrt(q))
        assert factor == pytest.approx(alpha / (p * (1 - p)), rel=1e-9)
        assert factor > 4 * alpha


def test_units_of_the_potential_do_not_matter():
    """θ, 1/s and 1/γ in twice the unit: four times the gain and the variance."""
    one, two = Surrogate("arctan", 1.0, 1.5), Surrogate("arctan", 0.5, 0.75)
    for balance in ("backward", "printed"):
        small = gain("ikun2024", balance=balance, surrogate=one, threshold=0.6)
        assert gain(
            "ikun2024", balance=balance, surrogate=two, threshold=1.2
        ) == pytest.approx(4 * small, rel=1e-9)  # fmt: skip
        assert gain(
            "ikun2024", balance=balance, surrogate=one, threshold=0.6, input_gain=0.5
        ) == pytest.approx(4 * small, rel=1e-9)


def test_backward_counts_outputs_and_the_others_do_not():
    settings = {"surrogate": Surrogate("arctan"), "threshold": 0.7}
    for balance, ratio in (("backward", 3.0), ("printed", 1.0), ("forward", 1.0)):
        wide = gain("ikun2024", balance=balance, fan_in=300, fan_out=100, **settings)
        assert wide == pytest.approx(ratio * gain("ikun2024", balance=balance, **settings))


def test_thresholds_of_several_neurons_enter_as_moments():
    thresholds = torch.tensor([0.2, 0.9, 0.9])
    surrogate = Surrogate("sigmoid", sharpness=1.2)
    rows = [moments(surrogate, t, 1.0) for t in thresholds.tolist()]
    p, square = (sum(row[i] for row in rows) / 3 for i in (0, 1))
    settings = {"threshold": thresholds, "surrogate": surrogate, "variance": 1.0}
    assert gain("ikun2024", **settings) == pytest.approx(1 / p, rel=1e-4)
    assert gain("ikun2024", balance="backward", **settings) == pytest.approx(1 / square, rel=1e-4)
    assert gain("ikun2024", balance="printed", **settings) == pytest.approx(
        1 / (p * (1 - p) * square), rel=1e-4
    )


@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize(("balance", "spikes", "slopes"), [
    ("forward", 1, 0), ("backward", 0, 1), ("printed", 1, 1),
])  # fmt: skip
def test_the_height_of_a_spike_counts_with_its_square(balance, spikes, slopes, relative):
    """E[x²] and Var[x] go with h², E[σ'²] too, and with θ⁻² if σ' is that of h·1{u/θ > 1}."""
    found = {}
    for height, unit in ((1.0, 1.0), (0.6, 1.0), (0.6, 1.5)):
        # In units of θ the potential and the slope are the same.
        surrogate = Surrogate("arctan", 1.2, 1.4 if relative else 1.4 / unit)
        found[height, unit] = gain(
            "ikun2024", balance=balance, surrogate=surrogate, threshold=0.7 * unit, height=height,
            relative=relative, variance=0.9 * unit**2,
        )  # fmt: skip
    smaller = found[0.6, 1.0] / found[1.0, 1.0]
    assert smaller == pytest.approx(0.6 ** (-2 * (spikes + slopes)), rel=1e-9)
    wider = found[0.6, 1.5] / found[0.6, 1.0]
    assert wider == pytest.approx(1.5 ** (2 * slopes if relative else 0), rel=1e-9)


@pytest.mark.parametrize("kind", ["relative", "threshold_robust"])
def test_other_threshold_gradients_use_the_derivative_of_what_the_layer_sends(kind):
    """E[(dx/du)²] of the layer itself, by autograd, against the moment in the gain."""
    layer = LIF(
        threshold=0.6,
        threshold_gradient=kind,
        surrogate=Surrogate("triangular", 0.8, 0.7),
    )
    u = torch.randn(1, 1, 1_000_000, generator=seeded(1)).requires_grad_()
    (slope,) = torch.autograd.grad(layer(u).sum(), u)
    square = slope.double().square()
    network = nn.Sequential(layer, nn.Linear(100, 100), LIF())
    (row,) = initialize_(network, "ikun2024", balance="backward", generator=seeded(2))
    # standard error of a mean of 10⁶: below 0.1 %; false alarms at 5 of them below 1e-6
    error = square.std() / 1000 / square.mean()
    assert error < 0.002
    assert abs(row.gain * square.mean() - 1) < 5 * error


# --- one layer ----------------------------------------------------------------------------------


@pytest.mark.parametrize("balance", ["forward", "backward", "printed"])
def test_one_layer_of_weights_does_what_its_balance_says(balance):
    """Given spikes, slopes and cotangents, only the weights are random, so the errors are exact.

    A false alarm at 5 standard errors has probability 6e-7; each is at most 0.8 %, so a gain that
    is 5 % off is seen with probability 0.9.
    """
    surrogate, threshold, batch = Surrogate("sigmoid", sharpness=1.5), 0.6, 40
    settings = {"balance": balance, "surrogate": surrogate, "threshold": threshold}
    settings["alpha"] = 0.2 if balance == "printed" else 1.0
    q = ikun2024.steady_variance(**settings)
    for fan_in, fan_out in ((200, 20_000), (20_000, 200)):
        u = math.sqrt(q) * torch.randn(1, batch, fan_in, generator=seeded(3))
        u.requires_grad_()
        weight = ikun2024_(torch.empty(fan_out, fan_in), generator=seeded(4), **settings)
        spikes = LIF(threshold=threshold, surrogate=surrogate)(u)
        above = spikes @ weight.T
        sent = torch.randn(above.shape, generator=seeded(5))
        (back,) = torch.autograd.grad((above * sent).sum(), u)
        ratio = fan_in / fan_out if balance == "backward" else 1.0
        v = ratio * gain("ikun2024", **settings) / fan_in
        if fan_out > fan_in:
            x = spikes[0].detach().double()
            expected = v * x.sum() / batch
            error = v * (2 * (x @ x.T).square().sum() / fan_out).sqrt() / batch
            found = above.detach().double().square().mean()
        else:
            g = sent[0].double()
            slope = surrogate.derivative(u[0].detach() - threshold).double().square()
            expected = v * (slope * g.square().sum(1, keepdim=True)).mean()
            overlaps = (g @ g.T).square() * (slope @ slope.T)
            error = v * (2 * overlaps.sum()).sqrt() / slope.numel()
            found = back.double().square().mean()
            if balance == "backward":  # 800 000 slopes and 8 000 cotangents
                assert abs(expected / g.square().mean() - 1) < 0.02
        assert error < 0.008 * expected
        assert abs(found - expected) < 5 * error


# --- networks -----------------------------------------------------------------------------------


def test_initialize_follows_the_variance_that_its_own_gains_produce():
    surrogate = Surrogate("arctan", sharpness=1.2)
    thresholds = [0.4, 0.9, 0.6, 0.6, 0.6]
    network = mlp([50] * 6, threshold=[*thresholds, 0.6], surrogate=surrogate, init=None)
    report = initialize_(network, "ikun2024", balance="backward", generator=seeded(6))
    variance = 1.0
    for row, threshold in zip(report, thresholds, strict=True):
        p, square = moments(surrogate, threshold, variance)
        assert row.gain == pytest.approx(1 / square, rel=1e-4)
        assert row.probability == pytest.approx(p, rel=1e-3)
        variance = row.gain * p
        assert f"Var[u] = {variance:.3g}" in row.note and "gradient × 1" in row.note
    assert report[-1].rate == pytest.approx(stats.norm.sf(0.6 / math.sqrt(variance)), rel=1e-4)


def test_data_fed_weights_start_at_the_variance_that_lasts():
    surrogate = Surrogate("sigmoid", sharpness=1.2)
    layers = [nn.Linear(30, 200)]
    for _ in range(3):
        layers += [LIF(surrogate=surrogate), nn.Linear(200, 200)]
    network = nn.Sequential(*layers, LIF(surrogate=surrogate))
    x = 0.3 * torch.rand(2, 9, 30, generator=seeded(7))
    for balance in ("forward", "backward", "printed"):
        rows = initialize_(network, "ikun2024", example=x, balance=balance, generator=seeded(8))
        q = ikun2024.steady_variance(balance=balance, surrogate=surrogate)
        moment = x.double().square().mean().item()
        assert rows[0].gain * moment == pytest.approx(q, rel=1e-6)
        for row in rows[1:]:  # from there on nothing changes
            assert row.gain == pytest.approx(
                gain("ikun2024", balance=balance, surrogate=surrogate), rel=1e-6
            )


@pytest.mark.parametrize("shape", SHAPES)
def test_backward_carries_the_gradient_through_fifty_layers(shape):
    """Mean ratio of gradient variances over 50 layers of four networks: 1 up to 1/n.

    The standard error is 1 %, so 6 % is a false alarm below 1e-6; the forward gain loses 20 % or
    more per layer.
    """
    surrogate = Surrogate(shape, sharpness=1.2)
    network = mlp([256] * 51, threshold=0.6, surrogate=surrogate, init=None)
    batch = torch.randn(1, 8, 256, generator=seeded(9))
    means = {}
    for balance in ("backward", "forward"):
        ratios = []
        for seed in range(4 if balance == "backward" else 1):
            initialize_(network, "ikun2024", balance=balance, generator=seeded(seed))
            found = probe.record(network, batch).gradient_variance[:, 0]
            ratios.append(found[:-1] / found[1:])
        means[balance] = float(torch.stack(ratios).mean())
    assert abs(means["backward"] - 1) < 0.06
    assert means["forward"] < 0.8


def test_several_layers_that_feed_one_weight_enter_as_means():
    class Joined(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = LIF(threshold=0.3), LIF(threshold=1.1)
            self.weight, self.out = nn.Linear(40, 30), LIF()

        def forward(self, x):
            return self.out(self.weight(torch.cat([self.one(x), self.two(x)], dim=-1)))

    (row,) = initialize_(
        Joined(), "ikun2024", example=torch.randn(1, 4, 20), balance="backward", generator=seeded()
    )
    square = sum(Surrogate("arctan").moment(2, t) for t in (0.3, 1.1)) / 2
    assert row.gain == pytest.approx(40 / 30 / square, rel=1e-9)


def test_convolutions_count_the_outputs_that_an_input_reaches():
    network = nn.Sequential(LIF(), nn.Conv2d(4, 6, 4, stride=2, groups=2, bias=False), LIF())

    class Steps(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = network

        def forward(self, x):
            spikes = self.body[0](x)
            current = self.body[1](spikes.flatten(0, 1)).unflatten(0, x.shape[:2])
            return self.body[2](current)

    (row,) = initialize_(
        Steps(), "ikun2024", example=torch.randn(1, 2, 4, 9, 9), balance="backward"
    )
    # inner inputs: every weight of the group's three output channels, at every second place
    square = Surrogate("arctan").moment(2, 1.0)
    assert row.gain == pytest.approx((2 * 16) / (3 * 16 / 4) / square, rel=1e-9)


def test_layers_may_choose_their_own_balance():
    network = mlp([30] * 4, surrogate=Surrogate("arctan", sharpness=1.5), init=None)
    settings = {"linear1": {"balance": "forward"}, "linear3": {"alpha": 2.0}}
    rows = initialize_(network, "ikun2024", balance="backward", layers=settings)
    assert rows[0].gain == pytest.approx(gain("micheli2024"), rel=1e-9)
    square = Surrogate("arctan", sharpness=1.5).moment(2, 1.0)  # linear1 made unit variance
    assert rows[1].gain == pytest.approx(1 / square, rel=1e-9)
    assert "gradient × 2" in rows[2].note


def test_neurons_of_other_libraries_need_their_surrogate_by_hand():
    snntorch = pytest.importorskip("snntorch")
    cells = [
        snntorch.Leaky(beta=0.5, threshold=0.8, init_hidden=True, output=False) for _ in range(3)
    ]
    network = nn.Sequential(
        nn.Linear(20, 30), cells[0], nn.Linear(30, 30), cells[1], nn.Linear(30, 10), cells[2]
    )
    with pytest.raises(ValueError, match=r"surrogate is needed.*\(layer '1'\)"):
        initialize_(network, "ikun2024", balance="backward")
    known = from_library("snntorch.atan")
    rows = initialize_(network, "ikun2024", balance="backward", surrogate=known)
    assert rows[1].gain == pytest.approx(
        gain("ikun2024", balance="backward", surrogate=known, threshold=0.8), rel=1e-6
    )


def test_recurrent_weights_and_readouts_are_accepted():
    class Loop(nn.Module):
        def __init__(self):
            super().__init__()
            self.feed, self.recur = nn.Linear(6, 8), nn.Linear(8, 8)
            self.lif, self.readout = LIF(), nn.Linear(8, 2)

        def forward(self, x):
            spikes, out = torch.zeros(x.shape[1], 8), []
            for current in x:
                spikes = self.lif((self.feed(current) + self.recur(spikes))[None])[0]
                out.append(self.readout(spikes))
            return torch.stack(out)

    for balance in ("forward", "backward", "printed"):
        rows = {
            r.layer: r
            for r in initialize_(Loop(), "ikun2024", example=torch.ones(3, 2, 6), balance=balance)
        }
        assert rows["recur"].gain == pytest.approx(
            gain("ikun2024", balance=balance, surrogate=Surrogate("arctan")), rel=1e-6
        )
        assert rows["readout"].gain is None


def test_three_hundred_layers_take_no_deep_recursion():
    network = mlp([2] * 301, init=None)
    initialize_(network, "ikun2024", balance="backward", generator=seeded())


# --- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"balance": "both"}, "balance must be one of forward, backward, printed"),
        ({"balance": "backward"}, "surrogate is needed by balance='backward'"),
        ({"alpha": 0.0}, "alpha must be positive"),
        ({"alpha": math.nan}, "alpha must be finite"),
        (
            {"alpha": 1e300, "balance": "printed", "surrogate": Surrogate("arctan")},
            "alpha must be smaller",
        ),
        ({"surrogate": "arctan", "balance": "printed"}, "surrogate must be a"),
        ({"threshold": -1.0}, "threshold must be >= 0"),
        ({"threshold": 60.0}, "threshold must let some neuron fire"),
        ({"threshold": 0.0, "relative": True}, "threshold must be > 0"),
        ({"variance": -1.0}, "variance must be positive"),
        ({"input_second_moment": 0.0}, "input_second_moment must be positive"),
        ({"height": 0.0}, "height must be finite and not all 0"),
        ({"input_gain": 0.0}, "input_gain must be positive"),
        ({"fan_out": 0}, "fan_out must be positive"),
        (
            {
                "balance": "backward",
                "surrogate": Surrogate("triangular", sharpness=9.0),
                "variance": 1e-4,
            },
            "threshold must let some neuron fire|surrogate must let some gradient pass",
        ),
    ],
)
def test_bad_input_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        gain("ikun2024", **settings)


def test_a_surrogate_that_explodes_every_living_network_is_refused_with_a_remedy():
    wide = Surrogate("sigmoid", sharpness=0.4)
    with pytest.raises(ValueError, match=r"at least (\S+) per layer.*sharpness above (\S+) ") as e:
        gain("ikun2024", balance="backward", surrogate=wide)
    words = str(e.value).split()
    least = float(words[words.index("least") + 1])
    sharp = float(words[words.index("above") + 1])
    assert gain("ikun2024", balance="backward", surrogate=wide, alpha=1.01 * least) > 0
    fits = Surrogate("sigmoid", sharpness=1.01 * sharp)
    assert gain("ikun2024", balance="backward", surrogate=fits) > 0
    short = Surrogate("sigmoid", sharpness=0.99 * sharp)
    with pytest.raises(ValueError, match="alpha above"):
        gain("ikun2024", balance="backward", surrogate=short)
    network = mlp([20, 20, 20], surrogate=wide, init=None)
    before = [p.clone() for p in network.parameters()]
    with pytest.raises(ValueError, match=r"sharpness above .*\(weight of 'linear1'\)"):
        initialize_(network, "ikun2024", balance="backward")
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))


def test_a_neuron_without_a_known_surrogate_is_refused_by_name():
    network = nn.Sequential(LIF(), nn.Linear(4, 4), LIF())
    network[0].__dict__["surrogate"] = None
    with pytest.raises(ValueError, match=r"surrogate is needed.*\(layer '0'\).*\(weight of '1'\)"):
        initialize_(network, "ikun2024", balance="backward")
    assert initialize_(network, "ikun2024")[0].gain > 0
    assert (
        initialize_(network, "ikun2024", balance="backward", surrogate=Surrogate("arctan"))[0].gain
        > 0
    )


def test_it_is_listed():
    assert METHODS["ikun2024"].name == "ikun2024"
    assert "ikun2024" in gain.__doc__ and "ikun2024" in init.initialize_.__doc__
