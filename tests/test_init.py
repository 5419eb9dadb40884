"""Sampled weights by their law, pairing of weights with spiking layers, reports, bad input.

Each statistical check has the false-alarm level ALPHA; `test_the_checks_have_the_stated_power`
computes from exact laws what they miss.
"""

import copy
import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from snnlib import init
from snnlib.init import METHODS, gain, initialize_, micheli2024_
from snnlib.init.pairing import pair
from snnlib.networks import mlp
from snnlib.neurons import LIF

ALPHA = 1e-6  # false alarms per check, two-sided
SIDE = 200
N = SIDE * SIDE  # weights per check; the relative standard error of the variance is √(2/N) = 0.7 %


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def variance_is(weight: torch.Tensor, variance: float) -> bool:
    """Σw²/variance is χ² with N degrees of freedom if w is N(0, variance)."""
    statistic = (weight.double() ** 2).sum().item() / variance
    low, high = stats.chi2.ppf([ALPHA / 2, 1 - ALPHA / 2], weight.numel())
    return low < statistic < high


def mean_is_zero(weight: torch.Tensor, variance: float) -> bool:
    z = weight.double().mean().item() / math.sqrt(variance / weight.numel())
    return abs(z) < stats.norm.isf(ALPHA / 2)


def kolmogorov_critical(count: int) -> float:
    """Distance that the Dvoretzky-Kiefer-Wolfowitz inequality exceeds with at most ALPHA."""
    return math.sqrt(math.log(2 / ALPHA) / (2 * count))


def is_gaussian(weight: torch.Tensor, variance: float) -> bool:
    values = weight.double().flatten().numpy() / math.sqrt(variance)
    return stats.kstest(values, "norm").statistic < kolmogorov_critical(len(values))


# --- power ------------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [0.97, 1.03])
def test_the_checks_have_the_stated_power(factor):
    low, high = stats.chi2.ppf([ALPHA / 2, 1 - ALPHA / 2], N)
    missed = stats.chi2.cdf(high / factor**2, N) - stats.chi2.cdf(low / factor**2, N)
    assert 1 - missed >= 0.99  # a standard deviation wrong by 3 %


def test_the_shape_check_sees_a_uniform_distribution():
    x = np.linspace(-3, 3, 100_001)
    uniform = stats.uniform(-math.sqrt(3), 2 * math.sqrt(3))
    distance = np.abs(uniform.cdf(x) - stats.norm.cdf(x)).max()
    # The empirical distance falls short of the true one by the critical distance with ALPHA.
    assert distance > 2 * kolmogorov_critical(N)


def test_planted_errors_are_caught():
    weight = torch.randn(SIDE, SIDE, generator=seeded(), dtype=torch.float64)
    assert variance_is(weight, 1.0) and mean_is_zero(weight, 1.0) and is_gaussian(weight, 1.0)
    assert not variance_is(1.03 * weight, 1.0)
    assert not variance_is(0.97 * weight, 1.0)
    assert not mean_is_zero(weight + 0.04, 1.0)
    uniform = (torch.rand(SIDE, SIDE, generator=seeded(), dtype=torch.float64) - 0.5) * 12**0.5
    assert variance_is(uniform, 1.0) and not is_gaussian(uniform, 1.0)


# --- sampled weights --------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("threshold", [0.0, 0.5, 1.0, 2.0])
def test_micheli2024_draws_its_law(threshold, dtype):
    weight = torch.empty(SIDE, SIDE, dtype=dtype)
    assert micheli2024_(weight, threshold, seeded(1)) is weight
    variance = 1 / (SIDE * stats.norm.sf(threshold))
    assert variance_is(weight, variance)
    assert mean_is_zero(weight, variance)
    assert is_gaussian(weight, variance)
    if threshold > 0:  # the neighbour
        assert not variance_is(weight, 2 / SIDE)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("method", ["glorot", "kaiming", "lecun", "micheli2024"])
def test_every_method_draws_the_gain_that_it_reports(method, dtype):
    network = nn.Sequential(LIF(threshold=0.7), nn.Linear(2 * SIDE, SIDE // 2, dtype=dtype), LIF())
    (row,) = initialize_(network, method, generator=seeded(2))
    weight = network[1].weight.detach()
    variance = row.gain / (2 * SIDE)
    assert row.std == pytest.approx(math.sqrt(variance), rel=1e-12)
    assert variance_is(weight, variance)
    assert mean_is_zero(weight, variance)
    assert is_gaussian(weight, variance)


@pytest.mark.parametrize("shape", [(30, 80), (80, 30), (40, 40)])
def test_orthogonal_has_its_gain_exactly_and_orthonormal_vectors(shape):
    network = nn.Sequential(nn.Linear(shape[1], shape[0], dtype=torch.float64), LIF())
    (row,) = initialize_(network, "orthogonal", generator=seeded())
    weight = network[0].weight.detach()
    assert shape[1] * weight.square().mean().item() == pytest.approx(row.gain, rel=1e-12)
    short = weight if shape[0] <= shape[1] else weight.T
    torch.testing.assert_close(short @ short.T, torch.eye(min(shape), dtype=torch.float64))


@pytest.mark.parametrize(
    ("method", "torchs"),
    [
        ("kaiming", torch.nn.init.kaiming_normal_),
        ("glorot", torch.nn.init.xavier_normal_),
        ("orthogonal", torch.nn.init.orthogonal_),
    ],
)
def test_classic_methods_are_torchs_own(method, torchs):
    network = nn.Sequential(nn.Linear(30, 50), LIF())
    initialize_(network, method, generator=seeded(3))
    settings = {"nonlinearity": "relu"} if method == "kaiming" else {}
    expected = torchs(torch.empty(50, 30), generator=seeded(3), **settings)
    assert torch.equal(network[0].weight, expected)


@pytest.mark.parametrize(
    ("layer", "fan_in"),
    [
        (nn.Conv1d(40, 100, 5), 40 * 5),
        (nn.Conv2d(40, 100, 3), 40 * 9),
        (nn.Conv2d(40, 400, 3, groups=4), 10 * 9),
        (nn.Conv3d(12, 100, 3), 12 * 27),
    ],
)
def test_convolutions_count_the_inputs_of_one_output(layer, fan_in):
    (row,) = initialize_(nn.Sequential(LIF(), layer, LIF()), "micheli2024", generator=seeded(4))
    assert row.fan_in == fan_in
    # Weights of one sum the inputs of one output neuron.
    ones = copy.deepcopy(layer)
    with torch.no_grad():
        ones.weight.fill_(1.0)
        out = ones(torch.ones(1, layer.in_channels, *layer.kernel_size))
    assert torch.equal(out, torch.full_like(out, fan_in))
    assert variance_is(layer.weight.detach(), 1 / (fan_in * stats.norm.sf(1.0)))


def test_convolution_keeps_unit_variance_of_the_potential():
    """One output of a grouped convolution over independent spikes has variance 1."""
    layer = nn.Conv2d(64, 5000, 3, groups=2, bias=False)
    micheli2024_(layer.weight.data, 0.5, seeded(5))
    spikes = (torch.randn(1, 64, 3, 3, generator=seeded(6)) > 0.5).float()
    out = layer(spikes).detach().flatten().double()
    for half, group in zip(out.chunk(2), spikes.chunk(2, dim=1), strict=True):
        # Given the spikes, the outputs are independent N(0, K / (n p)), K spikes in the group.
        assert variance_is(half, group.sum().item() / (32 * 9 * stats.norm.sf(0.5)))


def test_draws_are_reproducible_and_leave_the_global_generator_alone():
    before = torch.get_rng_state()
    first, second, other = (
        micheli2024_(torch.empty(20, 30), 1.0, seeded(seed)) for seed in (7, 7, 8)
    )
    assert torch.equal(first, second) and not torch.equal(first, other)
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(9)
    default = micheli2024_(torch.empty(20, 30))
    assert torch.equal(default, micheli2024_(torch.empty(20, 30), generator=seeded(9)))


# --- gains ------------------------------------------------------------------------------------


@pytest.mark.parametrize("threshold", [0.0, 0.3, 1.0, 3.0, 6.0])
def test_gain_of_micheli2024_is_one_over_the_gaussian_tail(threshold):
    assert gain("micheli2024", threshold=threshold) == pytest.approx(
        1 / stats.norm.sf(threshold), rel=1e-13
    )


def test_gains_are_squares_of_torchs():
    assert gain("kaiming") == torch.nn.init.calculate_gain("relu") ** 2
    assert gain("kaiming", nonlinearity="tanh") == torch.nn.init.calculate_gain("tanh") ** 2
    assert gain("glorot") == gain("lecun") == gain("orthogonal") == 1.0
    assert gain("glorot", fan_in=10, fan_out=30) == 0.5
    assert gain("micheli2024", threshold=0.0) == pytest.approx(gain("kaiming"), rel=1e-15)


def test_every_method_has_a_gain():
    needed = {
        "rossbroich2022": {"rate": 0.1, "leak": 0.5},
        "spikeinit2026": {"rate": 0.1, "leak": 0.5},
        "mean_field": {"rate": 0.2, "steps": 1},
        "balanced": {"steps": 1, "depth": 2},
        "herranz2022": {"fan_in": 9, "weight_mean": 0.1, "weight_variance": 0.2},
    }
    for method in METHODS:
        if method == "lsuv":
            with pytest.raises(ValueError, match="data-driven"):
                gain(method)
        else:
            assert gain(method, **needed.get(method, {})) > 0


def test_thresholds_of_several_neurons_are_averaged_as_probabilities():
    thresholds = torch.tensor([0.2, 1.0, 1.9], dtype=torch.float64)
    expected = 1 / stats.norm.sf(thresholds.numpy()).mean()
    assert gain("micheli2024", threshold=thresholds) == pytest.approx(expected, rel=1e-13)


# --- pairing ----------------------------------------------------------------------------------


def test_each_weight_takes_the_threshold_of_the_layer_that_feeds_it():
    thresholds = [0.2, 0.6, 1.0, 1.4]
    network = mlp([SIDE] * 4, threshold=thresholds, init=None)
    report = initialize_(network, "micheli2024", readout="draw", generator=seeded(10))
    assert [row.threshold for row in report] == thresholds[:-1]
    assert [(row.fed_by, row.drives) for row in report] == [
        ("lif0", "lif1"),
        ("lif1", "lif2"),
        ("lif2", "lif3"),
    ]
    for index, theta in enumerate(thresholds[:-1], start=1):
        weight = getattr(network, f"linear{index}").weight.detach()
        assert variance_is(weight, 1 / (SIDE * stats.norm.sf(theta)))
        # The threshold of the layer that it drives is the neighbour.
        assert not variance_is(weight, 1 / (SIDE * stats.norm.sf(thresholds[index])))


def test_an_example_changes_nothing_but_the_first_moment_of_data():
    """Registration and execution agree on a plain network."""
    network = nn.Sequential(nn.Linear(5, 6), LIF(threshold=0.4), nn.Linear(6, 3), LIF())
    x = 3 * torch.randn(4, 7, 5, generator=seeded(11))
    plain = pair(network)
    run = pair(network, x)
    for one, two in zip(plain, run, strict=True):
        assert (one.name, one.fan_in, one.drives) == (two.name, two.fan_in, two.drives)
        assert [s.name for s in one.fed_by] == [s.name for s in two.fed_by]
    assert plain[0].second_moment is None
    assert run[0].second_moment == pytest.approx(x.double().square().mean().item(), rel=1e-12)


def test_data_fed_layers_keep_unit_variance_given_an_example():
    network = nn.Sequential(nn.Linear(SIDE, SIDE), LIF())
    x = 1.5 + 3 * torch.randn(2, 8, SIDE, generator=seeded(12))
    (row,) = initialize_(network, "micheli2024", example=x, generator=seeded(13))
    moment = x.double().square().mean().item()
    assert row.gain == pytest.approx(1 / moment) and row.fed_by == "data"
    assert variance_is(network[0].weight.detach(), 1 / (SIDE * moment))
    (row,) = initialize_(network, "micheli2024")
    assert row.gain == 1.0 and "standardized" in row.note
    (row,) = initialize_(network, "micheli2024", input_second_moment=4.0)
    assert row.gain == 0.25 and row.second_moment == 4.0


class Residual(nn.Module):
    """One neuron module at two depths, a shortcut, a delay written in place, a readout."""

    def __init__(self):
        super().__init__()
        self.first, self.main, self.shortcut = (nn.Linear(20, 20) for _ in range(3))
        self.readout = nn.Linear(20, 3)
        self.norm = nn.BatchNorm1d(20)
        self.drop = nn.Dropout(0.5)
        self.act = LIF(threshold=0.7)
        self.unused = nn.Linear(4, 4)

    def forward(self, x):
        x = self.act(self.drop(self.first(x)))
        main = self.norm(torch.relu(self.main(x)).flatten(0, 1)).unflatten(0, x.shape[:2])
        delayed = torch.zeros_like(main)
        delayed[1:] = main[:-1]
        out = self.act(delayed + self.shortcut(x))
        return self.readout(out.mean(0))


def test_branches_are_paired_by_running_an_example():
    network = Residual()
    with pytest.raises(ValueError, match=r"'first' and 'main'.*example="):
        initialize_(network, "micheli2024")
    x = torch.randn(4, 7, 20, generator=seeded(14))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    random_state = torch.get_rng_state()
    rows = {row.layer: row for row in initialize_(network, "micheli2024", example=x)}
    assert {name: (r.fed_by, r.drives) for name, r in rows.items()} == {
        "first": ("data", "act"),
        "main": ("act", "act"),
        "shortcut": ("act", "act"),
        "readout": ("act", ""),
        "unused": ("data", ""),
    }
    assert rows["main"].probability == pytest.approx(stats.norm.sf(0.7))
    # The readout and what did not run stay as they are, running means and modes too.
    after = network.state_dict()
    same = {name for name in after if torch.equal(before[name], after[name])}
    assert same >= {"readout.weight", "readout.bias", "unused.weight", "norm.running_mean"}
    assert not same & {"first.weight", "main.weight", "shortcut.weight", "first.bias"}
    assert "drives no spiking layer" in rows["readout"].note
    assert "not executed" in rows["unused"].note
    assert network.training and network.norm.num_batches_tracked == 0
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())
    assert not hasattr(x, "_snnlib_origins")
    initialize_(network, "micheli2024", example=x, generator=seeded())
    assert not torch.equal(random_state, torch.get_rng_state())  # the first call drew from it
    random_state = torch.get_rng_state()
    initialize_(network, "micheli2024", example=x, generator=seeded())
    assert torch.equal(random_state, torch.get_rng_state())


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.feed, self.recur = nn.Linear(6, 8), nn.Linear(8, 8)
        self.lif = LIF(threshold=0.5)

    def forward(self, x):
        spikes, out = torch.zeros(x.shape[1], 8), []
        for current in x:
            spikes = self.lif((self.feed(current) + self.recur(spikes))[None])[0]
            out.append(spikes)
        return torch.stack(out)


def test_recurrent_weights_are_fed_by_the_layer_they_drive():
    rows = initialize_(Recurrent(), "micheli2024", example=torch.randn(3, 2, 6))
    assert [(r.layer, r.fed_by, r.drives) for r in rows] == [
        ("feed", "data", "lif"),
        ("recur", "lif", "lif"),
    ]


class Opaque(torch.autograd.Function):
    """An operation that torch's overrides do not see."""

    @staticmethod
    def forward(ctx, x):
        return torch.from_numpy(x.numpy().copy())

    @staticmethod
    def backward(ctx, grad):
        return grad


class Cut(nn.Module):
    def forward(self, x):
        return Opaque.apply(x)


def test_what_an_unknown_operation_cuts_is_paired_by_the_order_of_execution():
    network = nn.Sequential(
        nn.Linear(4, 5), Cut(), LIF(threshold=0.3), Cut(), nn.Linear(5, 6), LIF(), nn.Linear(6, 2)
    )
    rows = initialize_(network, "micheli2024", example=torch.randn(3, 2, 4))
    assert [(r.fed_by, r.drives) for r in rows] == [("data", "2"), ("2", "5"), ("5", "")]


def test_a_shared_weight_is_drawn_once_or_refused():
    network = nn.Sequential(LIF(), nn.Linear(9, 9), LIF(), nn.Linear(9, 9), LIF())
    network[3].weight = network[1].weight
    initialize_(network, "micheli2024", readout="draw", generator=seeded(15))
    assert torch.equal(network[1].weight, micheli2024_(torch.empty(9, 9), 1.0, seeded(15)))
    network[0] = LIF(threshold=0.5)
    before = network[1].weight.clone()
    with pytest.raises(ValueError, match="different gains"):
        initialize_(network, "micheli2024", readout="draw")
    assert torch.equal(before, network[1].weight)


def test_spikes_of_another_height_and_learnable_thresholds():
    robust = LIF(threshold=0.5, threshold_gradient="threshold_robust")
    (row,) = initialize_(nn.Sequential(robust, nn.Linear(9, 9), LIF()), "micheli2024")
    assert row.gain == pytest.approx(1 / (0.25 * stats.norm.sf(0.5)))
    learned = LIF(threshold=torch.tensor([0.5, 1.5]), learn_threshold=True)
    (row,) = initialize_(nn.Sequential(learned, nn.Linear(2, 9), LIF()), "micheli2024")
    assert row.gain == pytest.approx(1 / stats.norm.sf([0.5, 1.5]).mean(), rel=1e-6)
    assert row.threshold == pytest.approx(1.0)


def test_a_setting_replaces_what_the_network_says():
    network = mlp([8, 8, 8], threshold=0.3, init=None)
    report = initialize_(network, "micheli2024", threshold=2.0, readout="draw")
    assert [row.gain for row in report] == pytest.approx([1 / stats.norm.sf(2.0)] * 2)
    assert [row.threshold for row in report] == [2.0, 2.0]
    report = initialize_(network, "kaiming", nonlinearity="linear", readout="draw")
    assert [row.gain for row in report] == [1.0, 1.0]


def test_biases_are_zeroed_or_kept():
    network = nn.Sequential(LIF(), nn.Linear(5, 5), LIF(), nn.Linear(5, 2))
    bias, readout = network[1].bias.clone(), network[3].bias.clone()
    initialize_(network, "micheli2024", bias="keep")
    assert torch.equal(network[1].bias, bias)
    initialize_(network, "micheli2024")
    assert not network[1].bias.any()
    assert torch.equal(network[3].bias, readout)


# --- report -----------------------------------------------------------------------------------


def test_the_report_prints_an_aligned_table_and_renders_as_html():
    report = initialize_(nn.Sequential(nn.Linear(5, 5), LIF(), nn.Linear(5, 2)), "micheli2024")
    title, head, *body = str(report).splitlines()
    assert title == "micheli2024 (Micheli et al. 2024, Eq. 10)"
    assert len(body) == len(report) == 2
    for name in ("fed by", "drives", "note"):
        column = head.index(name)
        assert all(line[column - 1] == " " and line[column : column + 1] != "" for line in body)
    html = report._repr_html_()
    assert html.count("<tr>") == 3 and "P(u &gt; θ)" in html
    assert "left as it is" in html


# --- bad input --------------------------------------------------------------------------------


def weight_normed() -> nn.Module:
    layer = torch.nn.utils.parametrizations.weight_norm(nn.Linear(3, 3))
    return nn.Sequential(LIF(), layer, LIF())


def good() -> nn.Module:
    rows = [(nn.Linear(3, 3), LIF()) for _ in range(3)]
    return nn.Sequential(*(module for row in rows for module in row))


@pytest.mark.parametrize(
    ("build", "method", "settings", "message"),
    [
        (good, "he", {}, "method must be one of glorot, kaiming, .*'he'"),
        (good, "micheli2024", {"treshold": 1.0}, "treshold=1.0 .* threshold"),
        (good, "lecun", {"threshold": 1.0}, "its settings are: distribution"),
        (good, "glorot", {"fan_in": 3}, "fan_in=3 is not a setting"),
        (good, "micheli2024", {"threshold": -0.1}, "threshold must be >= 0.*-0.1"),
        (good, "micheli2024", {"threshold": math.nan}, "threshold must be finite.*nan"),
        (good, "micheli2024", {"threshold": 100.0}, "threshold <= 37"),
        (good, "micheli2024", {"input_second_moment": 0.0}, "input_second_moment must be positive"),
        (good, "kaiming", {"nonlinearity": "spike"}, "spike"),
        (good, "micheli2024", {"bias": "one"}, "bias must be 'zero' or 'keep', got 'one'"),
        (good, "micheli2024", {"example": torch.zeros(2, 1, 3)}, "mean square is 0"),
        (lambda: nn.Sequential(LIF()), "micheli2024", {}, "at least one weight"),
        (lambda: nn.Linear(3, 3), "micheli2024", {}, "at least one spiking layer"),
        (lambda: nn.Sequential(LIF(), nn.Linear(0, 3), LIF()), "micheli2024", {}, "fan-in >= 1"),
        (lambda: nn.Sequential(LIF(), nn.LazyLinear(3), LIF()), "micheli2024", {}, "no shape yet"),
        (weight_normed, "micheli2024", {}, "parametrization"),
        (
            lambda: nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3), LIF()),
            "kaiming",
            {},
            "example=",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
@pytest.mark.filterwarnings("ignore:Lazy modules")
def test_bad_input_is_refused_before_anything_changes(build, method, settings, message):
    module = build()
    lazy = any(isinstance(m, nn.LazyLinear) for m in module.modules())
    before = None if lazy else copy.deepcopy(module.state_dict())
    random_state = torch.get_rng_state()
    with pytest.raises(ValueError, match=message):
        initialize_(module, method, **settings)
    assert torch.equal(random_state, torch.get_rng_state())
    if before is not None:
        torch.testing.assert_close(module.state_dict(), before, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("weight", "threshold", "message"),
    [
        (torch.empty(0, 3), 1.0, "must not be empty"),
        (torch.empty(3, 0), 1.0, "must not be empty"),
        (torch.ones(3), 1.0, "at least two dimensions"),
        (torch.ones(3, 3, dtype=torch.int64), 1.0, "floating-point"),
        (torch.ones(3, 3), -1.0, "threshold must be >= 0"),
        (torch.ones(3, 3), math.nan, "threshold must be >= 0"),
        (torch.ones(3, 3), math.inf, "threshold <= 37"),
        (torch.ones(3, 3), torch.empty(0), "threshold"),
    ],
)
def test_micheli2024_refuses_bad_weights_and_thresholds(weight, threshold, message):
    before = weight.clone()
    with pytest.raises(ValueError, match=message):
        micheli2024_(weight, threshold)
    assert torch.equal(before, weight)


@pytest.mark.parametrize("name", ["fan_in", "fan_out"])
@pytest.mark.parametrize("method", ["glorot", "orthogonal"])
def test_gain_refuses_fans_below_one(method, name):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        gain(method, **{name: 0})


def test_gain_names_the_methods():
    with pytest.raises(ValueError, match="micheli2024"):
        gain("michelli2024")
    assert set(init.METHODS) >= {"glorot", "kaiming", "lecun", "orthogonal", "micheli2024"}
