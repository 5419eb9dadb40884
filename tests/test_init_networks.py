"""`initialize_` on whole networks: exceptions by layer, recurrent weights, data, predicted rates.

Statistical checks have a false-alarm level of at most 1e-6 each.
"""

import copy
import itertools
import math
import re

import pytest
import torch
from scipy import stats
from torch import nn
from torch.nn import functional

from snnlib import networks, probe
from snnlib.init import gain, initialize_, rossbroich2022, spikeinit2026
from snnlib.init.readout import mean_rate, wake_
from snnlib.networks import mlp
from snnlib.neurons import LIF, CurrentLIF, RecurrentCurrentLIF
from snnlib.surrogate import Surrogate

LIMIT = stats.norm.isf(1e-6 / 2)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Loop(nn.Module):
    """A recurrent layer written by hand between two feed-forward ones."""

    def __init__(self, inputs=60, width=200, neuron=None):
        super().__init__()
        self.feed, self.recur = nn.Linear(inputs, width), nn.Linear(width, width)
        self.lif = neuron or LIF(leak=0.5)
        self.out, self.last = nn.Linear(width, width), LIF(leak=0.5)
        self.readout = nn.Linear(width, 10)

    def forward(self, x):
        spikes, out = torch.zeros(x.shape[1], self.recur.in_features), []
        state = None
        for current in x:
            drive = self.feed(current) + self.recur(spikes)
            u = drive if state is None else 0.5 * state + drive
            spikes = self.lif(u[None])[0]
            state = u - spikes
            out.append(spikes)
        return self.readout(self.last(self.out(torch.stack(out))))


def chain(widths=(30, 40, 50, 20), **neuron):
    parts = []
    for i, (n, m) in enumerate(itertools.pairwise(widths)):
        parts += [(f"fc{i}", nn.Linear(n, m)), (f"lif{i}", LIF(**neuron))]
    network = nn.Sequential()
    for name, module in [*parts, ("readout", nn.Linear(widths[-1], 4))]:
        network.add_module(name, module)
    return network


def state(network):
    return copy.deepcopy(network.state_dict())


def changed(network, before):
    return {n.removesuffix(".weight") for n, v in network.state_dict().items()
            if n.endswith("weight") and not torch.equal(v, before[n])}  # fmt: skip


# --- Exceptions by layer --------------------------------------------------------------------------


def test_a_layer_may_have_its_own_method_settings_or_be_left():
    network = chain()
    before = state(network)
    rows = {
        row.layer: row
        for row in initialize_(
            network,
            "kaiming",
            nonlinearity="linear",
            layers={"fc0": None, "fc2": {"method": "bellec2018", "weight_scale": 3.0}},
            generator=seeded(),
        )
    }
    assert changed(network, before) == {"fc1", "fc2"}
    assert rows["fc0"].gain is None and "as asked" in rows["fc0"].note
    assert rows["fc1"].gain == 1.0 and rows["fc1"].note == ""
    assert rows["fc2"].gain == 9.0 and "by bellec2018" in rows["fc2"].note
    assert not torch.equal(network.fc1.bias, before["fc1.bias"])
    assert torch.equal(network.fc0.bias, before["fc0.bias"])


def test_settings_of_the_same_method_are_added_to_those_of_all():
    rows = initialize_(
        chain(),
        "kaiming",
        nonlinearity="leaky_relu",
        negative_slope=1.0,
        layers={"fc[01]": {"negative_slope": 0.0}, "fc1": "lecun", "fc*": {"negative_slope": 3.0}},
    )
    # A name before a pattern, the earlier pattern before the later one.
    assert [row.gain for row in rows] == pytest.approx([2.0, 1.0, 0.2, None], abs=1e-12)


def test_another_method_does_not_get_the_settings_of_the_default_one():
    rows = initialize_(chain(), "rossbroich2022", rate=0.1, layers={"fc0": "zenke2021"})
    assert rows[0].gain == pytest.approx(1 / 3) and rows[1].gain == pytest.approx(7.5)
    with pytest.raises(ValueError, match=r"rate is needed by 'spikeinit2026'.*'fc0'"):
        initialize_(chain(), "rossbroich2022", rate=0.1, layers={"fc0": "spikeinit2026"})


def test_a_readout_is_drawn_if_it_is_named():
    network = chain()
    before = state(network)
    initialize_(network, "kaiming", layers={"*": "lecun"})
    assert torch.equal(network.readout.weight, before["readout.weight"])
    row = initialize_(network, "kaiming", layers={"readout": "lecun"})[-1]
    assert row.gain == 1.0 and row.rate is None
    assert not torch.equal(network.readout.weight, before["readout.weight"])
    with pytest.raises(ValueError, match=r"drives no spiking layer.*'readout'"):
        initialize_(network, "kaiming", layers={"readout": "ding2022"})


@pytest.mark.parametrize(
    ("method", "arguments", "message"),
    [
        ("kaiming", {"layers": {"fc9": None}}, "'fc9' matches no weight; the weights are fc0, fc1"),
        ("kaiming", {"layers": {"conv*": {}}}, r"'conv\*' matches no weight"),
        ("kaiming", {"layers": {"fc0": 2.0}}, r"layers\['fc0'\] must be a dict"),
        ("kaiming", {"layers": {"fc0": "he"}}, "method must be one of"),
        ("kaiming", {"layers": {"fc0": {"gain": 2.0}}}, "gain=2.0 is not a setting of 'kaiming'"),
        ("kaiming", {"layers": {"fc0": {"method": "zenke2021", "a": 1}}}, "not a setting of 'zen"),
        ("zenke2021", {"distribution": "normal"}, "not a setting of 'zenke2021'"),
        ("kaiming", {"distribution": "laplace"}, "distribution must be one of"),
        ("rossbroich2022", {}, r"rate is needed .*\(weight of 'fc0'\)"),
        ("rossbroich2022", {"rate": 0.6}, "0 < rate < 1/2 for zero mean"),
        ("rossbroich2022", {"rate": 0.1, "mean": 1.0}, "E\\[x\\] of the data"),
        ("rossbroich2022", {"rate": 0.1, "mean": 1.0, "input_mean": 0.5}, "mean < threshold"),
        ("rossbroich2022", {"rate": 0.1, "mean": 0.9, "input_mean": 0.1, "xi": 3.0}, "sigma_w"),
        ("rossbroich2022", {"rate": 0.1, "alpha": 0.0}, "0 < alpha < 1"),
        ("spikeinit2026", {"rate": 0.45}, r"0 < rate < 0.391.*\(weight of 'fc0'\)"),
        ("lee2016", {"alpha": -1.0}, "alpha must be positive"),
        ("lsuv", {}, "pass example="),
        ("lsuv", {"example": torch.ones(2, 3, 30), "tolerance": 0.0}, "tolerance must be"),
        ("lsuv", {"example": torch.ones(2, 3, 30), "iterations": 0}, "iterations must be"),
        (
            "lsuv",
            {"example": torch.ones(2, 3, 30), "layers": {"fc0": {"tolerance": 0.1}}},
            "one tolerance",
        ),
        ("lsuv", {"tolerance": 0.1, "gain": 1.0}, "gain=1.0 is not a setting of 'lsuv'"),
        ("kaiming", {"time": "never", "example": torch.ones(2, 3, 30)}, "time must be"),
    ],
)
def test_what_is_refused_changes_nothing(method, arguments, message):
    network = chain()
    before, generator = state(network), seeded(1)
    random = torch.get_rng_state(), generator.get_state()
    with pytest.raises(ValueError, match=message):
        initialize_(network, method, generator=generator, **arguments)
    assert not changed(network, before)
    assert torch.equal(random[0], torch.get_rng_state())
    assert torch.equal(random[1], generator.get_state())


# --- Recurrent weights ----------------------------------------------------------------------------


def test_rossbroich_splits_the_variance_between_forward_and_recurrent_weights():
    network = Loop()
    x = (torch.rand(6, 4, 60, generator=seeded(2)) < 0.1).float()
    settings = {"rate": 0.1, "alpha": 0.8, "xi": 2.0, "input_second_moment": 0.1}
    rows = {
        row.layer: row
        for row in initialize_(network, "rossbroich2022", example=x, generator=seeded(), **settings)
    }
    whole = gain("rossbroich2022", rate=0.1, leak=0.5, xi=2.0)
    assert rows["feed"].gain == pytest.approx(0.8 * whole)
    assert rows["recur"].gain == pytest.approx(0.2 * whole)
    assert rows["out"].gain == pytest.approx(whole)
    assert "0.2 of the variance" in rows["recur"].note
    # With a mean all weights of the layer share one.
    report = initialize_(network, "rossbroich2022", example=x, mean=0.3, input_mean=0.1, **settings)
    centre = 0.3 * 0.5 / (260 * 0.1)
    for row, weight in zip(report[:2], (network.feed.weight, network.recur.weight), strict=True):
        spread = math.sqrt(row.gain / row.fan_in - centre**2)
        assert row.std == pytest.approx(spread)
        deviation = weight.double().mean().item() - centre
        assert abs(deviation) < LIMIT * spread / math.sqrt(weight.numel())
        assert f"mean {centre:.4g}" in row.note


def test_bellec_zeroes_the_diagonal_of_recurrent_weights_only():
    network = Loop()
    x = torch.randn(6, 4, 60, generator=seeded(3))
    rows = {r.layer: r for r in initialize_(network, "bellec2018", example=x, generator=seeded())}
    assert not network.recur.weight.diagonal().any() and "zero diagonal" in rows["recur"].note
    assert network.recur.weight.count_nonzero() == 200 * 199
    assert network.out.weight.diagonal().all() and "diagonal" not in rows["out"].note


def test_bellec_in_a_recurrent_layer_of_snntorch():
    snntorch = pytest.importorskip("snntorch")
    network = nn.Sequential(
        nn.Linear(10, 20), snntorch.RLeaky(beta=0.5, linear_features=20, init_hidden=True)
    )
    x = torch.randn(4, 3, 10, generator=seeded(4))
    rows = initialize_(network, "bellec2018", example=x, generator=seeded())
    assert [row.drives for row in rows] == ["1", "1"]
    assert not network[1].recurrent.weight.diagonal().any()
    assert network[0].weight.all()


# --- The driven neuron ----------------------------------------------------------------------------


def test_threshold_leak_and_input_gain_of_the_driven_layer_count():
    spikingjelly = pytest.importorskip("spikingjelly.activation_based.neuron")
    network = nn.Sequential(
        LIF(threshold=0.7),
        nn.Linear(20, 30),
        spikingjelly.LIFNode(tau=4.0, v_threshold=0.6, decay_input=True, step_mode="m"),
    )
    expected = {
        "micheli2024": 16 / stats.norm.sf(0.7),
        "ding2022": 2 * 0.36 * 16,
        "rossbroich2022": 16 * 0.36 * (1 - 0.75**2) / 0.1,
        "spikeinit2026": spikeinit2026.parameters(threshold=0.6, leak=0.75, rate=0.1).weight_scale
        ** 2
        * 16,
        "lee2016": 20 * 0.36 * 16 / (3 * 4.0),
        "kaiming": 2.0,
    }
    settings = {"lee2016": {"alpha": 2.0}}
    settings |= {name: {"rate": 0.1} for name in ("rossbroich2022", "spikeinit2026")}
    for method, value in expected.items():
        (row,) = initialize_(network, method, **settings.get(method, {}))
        assert row.gain == pytest.approx(value, rel=1e-6), method


def test_learned_thresholds_are_averaged_and_the_report_says_so():
    thresholds = torch.tensor([0.5, 1.5])
    network = nn.Sequential(LIF(), nn.Linear(3, 2), LIF(threshold=thresholds))
    (row,) = initialize_(network, "ding2022")
    assert row.gain == 2.0 and row.note == "mean threshold of the driven neurons"


def test_a_synaptic_current_takes_the_kernel_form_or_is_refused():
    neuron = CurrentLIF(threshold=0.8, leak=0.6, synapse_leak=0.3, input_gain=0.5, delay=0.25)
    network = nn.Sequential(LIF(), nn.Linear(30, 40), neuron)
    (row,) = initialize_(network, "rossbroich2022", rate=0.1, xi=2.0)
    # The kernel by the neuron itself, far below threshold.
    far = CurrentLIF(threshold=1e9, leak=0.6, synapse_leak=0.3, input_gain=0.5, delay=0.25)
    impulse = torch.zeros(200, 1, 1, dtype=torch.float64)
    impulse[0] = 1.0
    response = far.trace(impulse).membrane[:, 0, 0]
    assert row.gain == pytest.approx(0.16 / (0.1 * response.square().sum().item()), rel=1e-6)
    assert "synaptic current" in row.note
    kernel = rossbroich2022.discrete_kernel(leak=0.6, synapse=0.3, input_gain=0.5, delay=0.25)
    assert response.sum().item() == pytest.approx(kernel.integral, rel=1e-6)
    with pytest.raises(ValueError, match=r"without a synaptic current.*'rossbroich2022'"):
        initialize_(network, "spikeinit2026", rate=0.1)
    for method in ("ding2022", "micheli2024"):
        assert "synaptic current" in initialize_(network, method)[0].note


def test_a_reset_that_the_method_does_not_know_is_noted():
    rows = initialize_(chain(leak=0.5, reset="subtract"), "spikeinit2026", rate=0.1)
    assert "reset to zero" in rows[1].note and rows[1].rate == 0.1
    rows = initialize_(chain(leak=0.5, reset="zero"), "spikeinit2026", rate=0.1)
    assert rows[1].note == ""


# --- Data -----------------------------------------------------------------------------------------


def test_data_count_with_their_second_moment():
    network = chain(leak=0.5, reset="zero")
    x = 1 + 2 * torch.randn(4, 50, 30, generator=seeded(5))
    moment, centre = x.double().square().mean().item(), x.double().mean().item()
    (row, *_) = initialize_(network, "rossbroich2022", example=x, rate=0.1)
    assert row.gain == pytest.approx(0.75 / moment) and row.second_moment == pytest.approx(moment)
    assert "measured on the example" in row.note
    (row, *_) = initialize_(network, "rossbroich2022", example=x, rate=0.1, mean=0.2)
    assert row.gain == pytest.approx(0.64 * 0.75 / moment)
    assert f"mean {0.2 * 0.5 / (30 * centre):.4g}" in row.note
    (row, *_) = initialize_(network, "spikeinit2026", example=x, rate=0.1)
    first = spikeinit2026.static_std(threshold=1.0, leak=0.5, rate=0.1)
    assert row.gain == pytest.approx(first**2 / moment)
    (row, *_) = initialize_(network, "kaiming", example=x)
    assert row.gain == pytest.approx(2.0)


def test_the_first_layer_of_spikeinit_fires_at_its_rate_under_constant_data():
    network = nn.Sequential(nn.Linear(400, 800), LIF(threshold=0.7, leak=0.6, reset="zero"))
    x = torch.randn(1, 50, 400, generator=seeded(6)).expand(150, 50, 400)
    initialize_(network, "spikeinit2026", example=x, rate=0.15, generator=seeded(7))
    with torch.no_grad():
        measured = network(x).mean().item()
    # 40,000 currents of a few hundred independent ones at least; unfinished periods cost 1 %.
    assert measured == pytest.approx(0.15, rel=0.06)


# --- Predicted rates ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("micheli2024", {}),
        ("micheli2024", {"distribution": "bigamma"}),
        ("kaiming", {}),
        ("lee2016", {"alpha": 3.0}),
    ],
)
def test_the_predicted_rate_is_the_one_of_the_first_step(method, settings):
    """Layer by layer given the spikes that enter it: the counts are binomial."""
    width = 1200
    network = mlp([width] * 4, threshold=[0.4, 0.6, 0.5, 0.7], init=None)
    report = initialize_(network, method, readout="draw", generator=seeded(8), **settings)
    spikes = (torch.randn(width, generator=seeded(9)) > 0.4).float()
    for index, row in enumerate(report, start=1):
        linear, lif = getattr(network, f"linear{index}"), getattr(network, f"lif{index}")
        with torch.no_grad():
            u = linear(spikes)
        std = math.sqrt(row.gain * spikes.mean().item())
        expected = stats.norm.sf(lif.threshold / std)
        spikes = (u > lif.threshold).float()
        count = int(spikes.sum())
        assert stats.binomtest(count, width, expected).pvalue > 1e-6
        # The prediction: the same with the expected input; at this width within 15 %.
        assert row.rate == pytest.approx(expected, rel=0.15)
        assert report[index].probability == row.rate if index < len(report) else True


def test_rates_are_carried_through_what_is_left_and_through_branches():
    network = chain(threshold=0.5)
    rows = initialize_(network, "micheli2024", layers={"fc1": None}, generator=seeded(10))
    left = network.fc1.weight.double().square().mean().item() * 40
    assert rows[1].rate is None  # nothing is predicted for a weight that was not drawn
    assert rows[2].probability == pytest.approx(stats.norm.sf(0.5))  # what the method assumes
    rows = initialize_(network, "kaiming", layers={"fc1": None}, generator=seeded(10))
    first = stats.norm.sf(0.5 / math.sqrt(2.0))
    second = stats.norm.sf(0.5 / math.sqrt(left * first))
    assert rows[2].probability == pytest.approx(second, rel=1e-6)


class Branches(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(10, 20), nn.Linear(20, 20), nn.Linear(20, 20)
        self.first, self.last = LIF(threshold=0.4), LIF(threshold=0.6)

    def forward(self, x):
        spikes = self.first(self.a(x))
        return self.last(self.b(spikes) + self.c(spikes))


def test_variances_of_branches_add():
    x = torch.randn(3, 5, 10, generator=seeded(11))
    rows = initialize_(Branches(), "micheli2024", example=x, readout="draw")
    assert [row.rate for row in rows[1:]] == pytest.approx([stats.norm.sf(0.6 / math.sqrt(2))] * 2)
    assert "variances add" in rows[1].note
    rows = initialize_(Branches(), "rossbroich2022", example=x, rate=0.1, readout="draw")
    assert [row.gain for row in rows[1:]] == pytest.approx([0.36 * 7.5 / 2] * 2)


def test_the_rate_is_a_column_of_the_report():
    report = initialize_(chain(), "rossbroich2022", rate=0.1)
    assert report[0].rate == pytest.approx(stats.norm.sf(1.0))
    head, row = str(report).splitlines()[1:3]
    assert "rate" in head and "0.1587" in row
    html = report._repr_html_()
    assert '<th scope="col">rate</th>' in html and "<td>0.1587</td>" in html


# --- LSUV -----------------------------------------------------------------------------------------


def currents(network, x):
    """Var[i] into each of our neurons, measured without the library's code for it."""
    found, hooks = {}, []
    for name, module in network.named_modules():
        if isinstance(module, LIF):

            def note(m, args, name=name):
                found.setdefault(name, []).append(args[0].detach().double().flatten())

            hooks.append(module.register_forward_pre_hook(note))  # fmt: skip
    with torch.no_grad():
        network(x)
    for hook in hooks:
        hook.remove()
    return {name: torch.cat(values).var().item() for name, values in found.items()}


def test_lsuv_brings_every_current_to_unit_variance():
    network = chain((30, 100, 80, 60), leak=0.5)
    before = state(network)
    x = 3 * torch.randn(5, 40, 30, generator=seeded(12))
    report = initialize_(network, "lsuv", example=x, generator=seeded(), tolerance=1e-3)
    measured = currents(network, x)
    assert list(measured) == ["lif0", "lif1", "lif2"]
    assert all(abs(value - 1) < 2e-3 for value in measured.values())
    for row, weight in zip(report[:3], (network.fc0, network.fc1, network.fc2), strict=True):
        matrix = weight.weight.detach().double()
        assert row.gain == pytest.approx(row.fan_in * matrix.square().mean().item())
        short = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
        gram = short @ short.T
        assert torch.dist(gram, gram[0, 0] * torch.eye(len(gram))) < 1e-4 * gram[0, 0]
        assert row.rate == pytest.approx(stats.norm.sf(1.0))
    assert torch.equal(network.readout.weight, before["readout.weight"])
    again = chain((30, 100, 80, 60), leak=0.5)
    initialize_(again, "lsuv", example=x, generator=seeded(), tolerance=1e-3)
    assert torch.equal(network.fc2.weight, again.fc2.weight)


def test_lsuv_rescales_forward_and_recurrent_weights_together():
    network = Loop()
    x = torch.randn(6, 20, 60, generator=seeded(13))
    initialize_(network, "lsuv", example=x, generator=seeded())

    # The network adds its own leak in front of the neuron: that is the current here.
    measured = currents(network, x)
    assert all(abs(value - 1) < 0.06 for value in measured.values())


def test_lsuv_on_the_other_libraries():
    snntorch = pytest.importorskip("snntorch")
    network = nn.Sequential(
        nn.Linear(30, 100), snntorch.Leaky(beta=0.5, init_hidden=True),
        nn.Linear(100, 50), snntorch.Leaky(beta=0.5, init_hidden=True),
    )  # fmt: skip
    x = 2 * torch.randn(5, 40, 30, generator=seeded(14))
    rows = initialize_(network, "lsuv", example=x, readout="draw", generator=seeded())
    assert rows[0].gain == pytest.approx(1 / 4, rel=0.1) and rows[1].gain > 2
    spikingjelly = pytest.importorskip("spikingjelly.activation_based.neuron")
    network = nn.Sequential(nn.Linear(30, 100), spikingjelly.LIFNode(tau=2.0, step_mode="m"))
    (row,) = initialize_(network, "lsuv", example=x, generator=seeded())
    assert row.gain == pytest.approx(4 / 4, rel=0.1)  # λ = 1/2: u has unit variance, not i


class Normed(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc, self.norm, self.lif = nn.Linear(8, 8), nn.BatchNorm1d(8), LIF()
        nn.init.constant_(self.norm.weight, 3.0)

    def forward(self, x):
        return self.lif(self.norm(self.fc(x).flatten(0, 1)).unflatten(0, x.shape[:2]))


@pytest.mark.parametrize(
    ("build", "scale", "message"),
    [
        (Normed, 1.0, "keeps its variance 9.* normalization"),
        (
            lambda: nn.Sequential(nn.Linear(8, 8), LIF(threshold=1e6), nn.Linear(8, 8), LIF()),
            1.0,
            "no spike",
        ),
        (lambda: nn.Sequential(nn.Linear(8, 8), LIF()), 0.0, "no spike reaches it"),
        (lambda: nn.Sequential(nn.Linear(8, 8), LIF()), math.nan, "not finite"),
    ],
)
def test_lsuv_that_fails_leaves_everything_as_it_was(build, scale, message):
    network = build()
    before, generator = state(network), seeded(15)
    random = torch.get_rng_state(), generator.get_state()
    with pytest.raises(ValueError, match=message):
        initialize_(
            network, "lsuv", example=scale * torch.randn(3, 16, 8, generator=seeded(16)),
            generator=generator, readout="draw",
        )  # fmt: skip
    torch.testing.assert_close(network.state_dict(), before, rtol=0, atol=0)
    assert torch.equal(random[0], torch.get_rng_state())
    assert torch.equal(random[1], generator.get_state())


def test_no_rate_is_predicted_where_a_network_leaks_by_itself():
    """Its layer gets the potential of the step before, added without a weight: no formula fits."""
    x = torch.randn(3, 5, 60, generator=seeded(17))
    rows = {row.layer: row for row in initialize_(Loop(), "kaiming", example=x)}
    assert all(row.rate is None for row in rows.values())
    for name in ("feed", "recur"):
        assert "joins its currents without a weight; no rate predicted" in rows[name].note


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("micheli2024", {}),
        ("mean_field", {"rate": 0.2, "steps": 3}),
        ("spikeinit2026", {"rate": 0.1}),
    ],
)
def test_the_report_says_that_recurrent_variance_is_added(method, settings):
    notes = {
        r.layer: r.note
        for r in initialize_(Loop(), method, example=torch.ones(3, 5, 60), **settings)
    }
    assert "adds to the feed-forward variance from the second step on" in notes["recur"]
    assert not any("adds" in notes[name] for name in ("feed", "out", "readout"))


class Skip(nn.Module):
    """A block that adds its spikes to those that it gets."""

    def __init__(self, width=120):
        super().__init__()
        self.fc, self.lif = nn.Linear(width, width), LIF(leak=0.5)

    def forward(self, x):
        return x + self.lif(self.fc(x))


def test_lsuv_holds_the_variance_where_skip_connections_add_spikes_up():
    """E[x²] of the sum follows from the graph for a formula; "lsuv" measures it."""
    blocks = [Skip() for _ in range(4)]
    network = nn.Sequential(nn.Linear(60, 120), LIF(leak=0.5), *blocks)
    x = torch.randn(1, 16, 60, generator=seeded(18)).expand(4, -1, -1)
    last = {}
    for method in ("micheli2024", "lsuv"):
        rows = initialize_(network, method, example=x, readout="draw", generator=seeded(19))
        assert method == "lsuv" or "E[x²] of a sum follows from the graph" in rows[-1].note
        found = probe.diagnose(network, x, gradient=False, networks=0)
        last[method] = float(found.layers[-1].variance[0])
    assert all(0.4 < variance < 1.6 for variance in last.values()), last


# --- What lies between weights and neurons --------------------------------------------------------


class Planes(nn.Module):
    """Two convolutions with a pooling between them."""

    def __init__(self, pool, threshold):
        super().__init__()
        self.first, self.one = nn.Conv2d(2, 6, 3, padding=1), LIF(threshold=threshold)
        self.pool, self.second, self.two = pool, nn.Conv2d(6, 5, 3, padding=1), LIF()

    def forward(self, x):
        def on_planes(module, value):
            return module(value.flatten(0, 1)).unflatten(0, value.shape[:2])

        spikes = self.one(on_planes(self.first, x))
        return self.two(on_planes(self.second, on_planes(self.pool, spikes)))


SIZES = [(2, 4), ((2,), 4), ((2, 2), 4), ((1, 3), 3), ([4], 16)]


@pytest.mark.parametrize(("size", "count"), SIZES)
def test_a_pooling_is_told_by_how_many_spikes_it_takes_together(size, count):
    """E[x²] of spikes on their own: p² + p(1 − p)/n of a mean, 1 − (1 − p)ⁿ of the largest."""
    x, p = torch.randn(2, 3, 2, 12, 12, generator=seeded(20)), stats.norm.sf(0.7)
    for pool, moment in (
        (nn.AvgPool2d(size), p**2 + p * (1 - p) / count),
        (nn.MaxPool2d(size), 1 - (1 - p) ** count),
    ):
        row = initialize_(Planes(pool, 0.7), "micheli2024", example=x, readout="draw")[1]
        assert row.second_moment == pytest.approx(moment, rel=1e-9)
        assert row.gain == pytest.approx(1 / moment, rel=1e-9)


class Dropped(nn.Module):
    """Something between spikes and the next weight."""

    def __init__(self, drop):
        super().__init__()
        self.first, self.one = nn.Linear(30, 400), LIF(threshold=0.7)
        self.drop, self.second, self.two = drop, nn.Linear(400, 20), LIF()

    def forward(self, x):
        return self.two(self.second(self.drop(self.one(self.first(x)))))


DROPOUTS = {
    "functional": (lambda x: functional.dropout(x, 0.3), True),
    "functional, off": (lambda x: functional.dropout(x, 0.3, False), False),
    "by position": (lambda x: torch.dropout(x, 0.3, True), True),
    "by position, off": (lambda x: torch.dropout(x, 0.3, False), False),
    "by name": (lambda x: torch.dropout(x, 0.3, train=True), True),
    "by name, off": (lambda x: torch.dropout(x, 0.3, train=False), False),
    "both by name, off": (lambda x: torch.dropout(x, p=0.3, train=False), False),
    "alpha, off": (lambda x: functional.alpha_dropout(x, 0.3), False),
    "features, off": (lambda x: torch.feature_dropout(x, 0.3, train=False), False),
}


@pytest.mark.parametrize(("drop", "acts"), DROPOUTS.values(), ids=DROPOUTS)
def test_a_dropout_counts_however_it_is_called_and_only_where_it_acts(drop, acts):
    """E[x²] = p/(1 − d) of spikes behind a dropout, p where it is switched off."""
    x = torch.randn(2, 5, 30, generator=seeded(26))
    row = initialize_(Dropped(drop), "micheli2024", example=x, readout="draw")[1]
    moment = stats.norm.sf(0.7) / (0.7 if acts else 1)
    assert row.second_moment == pytest.approx(moment, rel=1e-9)
    assert row.gain == pytest.approx(1 / moment, rel=1e-9)


def test_alpha_dropout_is_measured_for_it_does_not_drop_to_zero():
    """Its law at d = 0.3 is a x + b or a α' + b; 400 000 values, s.e. below 0.2 %, ten allowed."""
    x = torch.randn(2, 500, 30, generator=seeded(27))
    network, rate = Dropped(lambda x: functional.alpha_dropout(x, 0.3, True)), []
    network.one.register_forward_hook(lambda layer, given, spikes: rate.append(spikes.mean()))
    row = initialize_(network, "micheli2024", example=x, readout="draw")[1]
    dropped = -1.0507009873554805 * 1.6732632423543772  # where SELU ends
    a = 1 / math.sqrt(0.7 * (1 + 0.3 * dropped**2))
    b, p = -0.3 * a * dropped, float(rate[0])
    moment = 0.7 * (p * (a + b) ** 2 + (1 - p) * b**2) + 0.3 * (a * dropped + b) ** 2
    assert row.second_moment == pytest.approx(moment, rel=0.02)
    assert "measured on the example" in row.note
    assert row.gain == pytest.approx(1 / row.second_moment, rel=1e-9)


def test_the_report_says_which_scale_a_normalization_has():
    x = torch.randn(3, 16, 8, generator=seeded(21))
    for norms, words in (
        ("keep", "norm takes its scale away: the norm's own scale and shift count"),
        ("scale", "norm gets the scale that the method wants"),
    ):
        network = Normed()
        (row,) = initialize_(network, "micheli2024", example=x, norms=norms, readout="draw")
        assert words in row.note and row.note.count("scale") == words.count("scale")
        assert bool((network.norm.weight == 3).all()) == (norms == "keep")


def test_spikes_behind_a_normalization_count_with_their_height():
    """The next layer at its first step: Q(θ/√(G h² p)), p the rate that the normalization sets."""
    network = nn.Sequential(
        nn.Linear(30, 60),
        networks.TimeNorm(60, steps=3),
        LIF(threshold=0.6, leak=0.0, reset="zero", threshold_gradient="threshold_robust"),
        nn.Linear(60, 50),
        LIF(threshold=0.8, leak=0.3),
    )
    x = torch.randn(3, 40, 30, generator=seeded(22))
    first, second = initialize_(network, "kaiming", example=x, readout="draw", generator=seeded())
    # Nothing is kept from step to step, and the scale is 1: P(u > θ) at unit variance.
    assert first.rate == pytest.approx(stats.norm.sf(0.6), abs=0.01)
    variance = second.gain * 0.6**2 * first.rate
    assert second.rate == pytest.approx(stats.norm.sf(0.8 / math.sqrt(variance)), rel=1e-6)


# --- A readout that is silent ---------------------------------------------------------------------


def test_weights_are_scaled_until_the_rate_is_within_a_fifth():
    x = torch.randn(4, 40, 30, generator=seeded(23))
    weight = torch.randn(20, 30, generator=seeded(24))
    for number in range(30):
        network = nn.Sequential(nn.Linear(30, 20, bias=False), LIF(threshold=0.9, leak=0.6))
        with torch.no_grad():
            network[0].weight.copy_(weight * 2 ** -(6 + number / 13))
        before = network[0].weight.detach().clone()
        factor, rate = wake_(network, network[1], [network[0].weight], x, rate=0.13)
        assert 0.8 * 0.13 <= rate <= 1.25 * 0.13
        assert rate == mean_rate(network, network[1], x)
        assert torch.allclose(network[0].weight, factor * before, rtol=1e-6)


# --- One weight in two places, one number in all layers -------------------------------------------


@pytest.mark.parametrize(
    "second",
    [
        {"distribution": "uniform"},
        {"method": "kaiming", "distribution": "normal"},
    ],
)
def test_a_shared_weight_has_one_law_and_one_method(second):
    """The gains are 2, half of the spikes for one method: equal law or method do not suffice."""

    def tied():
        parts = [LIF(threshold=0.7), nn.Linear(9, 9), LIF(threshold=0.7), nn.Linear(9, 9), LIF()]
        parts[3].weight = parts[1].weight
        return nn.Sequential(*parts)

    first = {"distribution": "normal", "threshold": 0.0}
    second = second if "method" in second else {"threshold": 0.0, **second}
    network = tied()
    before = state(network)
    with pytest.raises(ValueError, match="shares the weight of '3'"):
        initialize_(network, "micheli2024", layers={"1": first, "3": second}, readout="draw")
    torch.testing.assert_close(network.state_dict(), before, rtol=0, atol=0)
    initialize_(network, "micheli2024", layers={"1": first, "3": first}, readout="draw")


def test_balanced_weights_need_one_leak_and_one_reset():
    alike = [row.gain for row in initialize_(chain(leak=0.6, reset="zero"), "balanced", steps=3)]
    assert all(gain is not None and gain > 0 for gain in alike[:3])
    for name, value in (("leak", 0.3), ("reset", "subtract")):
        network = chain(leak=0.6, reset="zero")
        network.lif1 = LIF(**{"leak": 0.6, "reset": "zero", name: value})
        with pytest.raises(ValueError, match=f"'balanced' needs one {name} in all layers"):
            initialize_(network, "balanced", steps=3)


class Turned(nn.Module):
    """A weight of its own that is turned around before the product."""

    def __init__(self, turn, shape):
        super().__init__()
        self.weight, self.turn, self.lif = nn.Parameter(torch.randn(shape)), turn, LIF()

    def forward(self, x):
        weight = self.weight if self.turn is None else self.turn(self.weight)
        return self.lif(torch.stack([step @ weight for step in x]))


@pytest.mark.parametrize(
    ("turn", "shape"),
    [
        (None, (30, 20)),
        (lambda w: w.t(), (20, 30)),
        (lambda w: w.T, (20, 30)),
        (lambda w: w.mT, (20, 30)),
        (lambda w: w.transpose(0, 1), (20, 30)),
        (lambda w: torch.transpose(w, 0, 1), (20, 30)),
        (lambda w: w.swapaxes(0, 1), (20, 30)),
        (lambda w: torch.t(w).t(), (30, 20)),
    ],
)
def test_a_weight_turned_around_has_the_inputs_of_the_product(turn, shape):
    x = torch.randn(3, 5, 30, generator=seeded(25))
    (row,) = initialize_(Turned(turn, shape), "kaiming", example=x, readout="draw")
    assert row.fan_in == 30


# --- Recurrent layers of which half fire ----------------------------------------------------------


def test_the_input_gain_is_a_unit_of_threshold_and_surrogate():
    """u/λ is a neuron with θ/λ, λγ and λs: the same weights and the same surrogate of u/λ."""
    rows, set_ = [], []
    for unit in (1.0, 1.7):
        layer = RecurrentCurrentLIF(
            40, leak=0.4, synapse_leak=0.0, input_gain=unit, threshold=0.5 * unit,
            surrogate=Surrogate("exponential", 1.2 / unit, 0.8 / unit),
        )  # fmt: skip
        network = nn.Sequential(nn.Linear(50, 40), layer)
        report = initialize_(network, "herranz2022", conditions="I II IV", unreachable="raise")
        rows.append([row.gain for row in report])
        set_.append((layer.surrogate.dampening * unit, layer.surrogate.sharpness * unit))
    assert rows[0] == pytest.approx(rows[1], rel=1e-9)
    assert set_[0] == pytest.approx(set_[1], rel=1e-6) and set_[0][1] != 0.8


def test_a_layer_above_one_at_half_the_rate_is_said_nothing_of():
    for variance, words in (("stable", False), (7e-4, True)):
        network = networks.recurrent([40, 60, 60, 10], leak=0.4)
        first = {"input_weight_variance": variance}
        report = initialize_(
            network, "herranz2022", conditions="I II", example=torch.ones(3, 5, 40),
            layers={"linear1": first, "neurons1.weight": first},
        )  # fmt: skip
        row = next(row for row in report if row.layer == "neurons2.weight")
        assert ("the layer below does not stay at rate 1/2" in row.note) == words


def test_half_of_the_square_is_kept_by_a_reset_to_zero_at_half_the_rate():
    """What may come from the layer below: 1 − E[kept²] = 1 − β²/2, and the limit is as said."""

    def drawn(**settings):
        surrogate = Surrogate("exponential", 1.5, 0.05)
        network = networks.recurrent([40, 64, 64, 10], leak=0.8, reset="zero", surrogate=surrogate)
        first = {"conditions": "I II"}
        above = {"conditions": "IV", **settings}
        return initialize_(
            network, "herranz2022", example=torch.ones(3, 5, 40),
            layers={"linear1": first, "neurons1.weight": first,
                    "linear2": above, "neurons2.weight": above},
        )  # fmt: skip

    with pytest.raises(ValueError, match="would outgrow") as caught:
        drawn(input_weight_variance=1.0)
    room = re.search(r"outgrow 1 − E\[kept²\] = (\S+);", str(caught.value))
    assert room is not None and float(room[1]) == pytest.approx(1 - 0.8**2 / 2, rel=1e-4)
    limit = re.search(r"must be below (\S+) for condition IV", str(caught.value))
    assert limit is not None
    drawn(input_weight_variance=0.999 * float(limit[1]))
    with pytest.raises(ValueError, match="would outgrow"):
        drawn(input_weight_variance=1.001 * float(limit[1]))
