"""What lies between weights and neurons: normalizations, sums, products, poolings.

Moments that follow from the graph are compared with simulated spikes, predicted rates with the
measured ones (a factor of 1.5 at most, or no prediction and a reason), and what `initialize_` says
of a normalization with what happens when weights are multiplied by a number.
"""

import importlib
import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn
from torch.nn import functional

from snnlib import probe
from snnlib.init import flow, initialize_
from snnlib.init.behind_norm import not_gaussian
from snnlib.init.pairing import pair
from snnlib.meanfield import covariance_map, shifted_map
from snnlib.networks.tdbn import TdBN
from snnlib.networks.time_norm import TimeNorm
from snnlib.neurons import LIF

STEPS, SAMPLES, WIDTH = 5, 12, 160


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# --- moments from the graph -----------------------------------------------------------------------


def spikes(rate, together, generator, shape=()):
    """Spikes at two steps: at the second one a share `together` repeats the first."""
    first = torch.rand(200_000, *shape, generator=generator) < rate[0]
    again = torch.rand(200_000, *shape, generator=generator) < together
    second = torch.rand(200_000, *shape, generator=generator) < rate[1]
    return torch.stack([first, torch.where(again, first, second)]).double()


def plain(name: str) -> flow.Flow:
    return flow.source(name)


HEIGHT, RATE = 0.7, (0.2, 0.35)
OPERATIONS = {
    "sum": (flow.sum_of((plain("a"), plain("b"))), lambda a, b: a[..., 0] + b[..., 0]),
    "product": (flow.passed("product", [plain("a"), plain("b")]), lambda a, b: (a * b)[..., 0]),
    "and not": (
        flow.passed("product", [plain("a"), flow.affine(plain("b"), -1.0, 1.0)]),
        lambda a, b: (a * (1 - b))[..., 0],
    ),
    "largest": (
        flow.passed("max pooling", [plain("a")], number=4),
        lambda a, b: a.amax(-1),
    ),
    "mean": (flow.passed("average pooling", [plain("a")], number=4), lambda a, b: a.mean(-1)),
    "sum of means": (
        flow.sum_of((flow.passed("average pooling", [plain("a")], number=4), plain("b"))),
        lambda a, b: a.mean(-1) + b[..., 0],
    ),
    "affine": (flow.affine(plain("a"), 0.4, -0.3), lambda a, b: 0.4 * a[..., 0] - 0.3),
    "dropout": (
        flow.passed("dropout", [plain("a")], number=0.3),
        lambda a, b: functional.dropout(a[..., 0], 0.3),
    ),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_moments_follow_from_the_graph(name):
    """Within 5 standard errors of 200 000 simulated values; 1 % of the second moment is seen."""
    node, operation = OPERATIONS[name]
    with torch.random.fork_rng():
        torch.manual_seed(5)
        a = HEIGHT * spikes(RATE, 0.5, seeded(1), (4,))
        b = spikes((0.3, 0.1), 0.2, seeded(2), (4,))
        value = operation(a, b)
    known = {}
    for key, x in (("a", a), ("b", b)):
        x = x.flatten(1)
        known[key] = (x.mean(1).numpy(), (x @ x.T / x.shape[1]).numpy())
    mean, square = node.moments(lambda origin: known[origin])
    count = value.shape[1]
    pairs = value[:, None] * value[None]
    error = pairs.std(-1).numpy() / count**0.5
    # The moments of the sources are estimates too, of four values each.
    assert (np.abs(square - pairs.mean(-1).numpy()) < 8 * error + 1e-12).all()
    assert (np.abs(mean - value.mean(1).numpy()) < 8 * value.std(1).numpy() / count**0.5).all()
    assert error.max() < 0.01 * square.max()


def test_no_moments_follow_from_what_is_not_known():
    a = plain("a")
    at = lambda _: flow.at_one_step(0.2, 0.2)  # noqa: E731
    assert flow.passed("matrix product", [a, plain("b")]).moments(at) is None
    assert flow.passed("function", [a], name="relu").moments(at) is None
    assert flow.sum_of((a, flow.passed("product", [a, plain("b")]))).moments(at) is None  # a twice
    long = a
    for k in range(60):
        long = flow.sum_of((long, plain(f"b{k}")))
    assert long.size <= flow.LARGEST and long.moments(at) is None


# --- normalizations -------------------------------------------------------------------------------


class Normed(nn.Module):
    """Two layers behind normalizations, over the steps in one call."""

    def __init__(self, norm, *, flat=True, threshold=0.8, **neuron):
        super().__init__()
        settings = {"threshold": threshold, "leak": 0.4} | neuron
        self.fc1, self.fc2 = nn.Linear(30, WIDTH), nn.Linear(WIDTH, WIDTH, bias=False)
        self.norm1, self.norm2 = norm(), norm()
        self.lif1, self.lif2 = LIF(**settings), LIF(**settings)
        self.head, self.flat = nn.Linear(WIDTH, 3), flat

    def forward(self, x):
        for fc, norm, lif in (
            (self.fc1, self.norm1, self.lif1),
            (self.fc2, self.norm2, self.lif2),
        ):
            x = fc(x)
            x = norm(x.flatten(0, 1)).reshape(x.shape) if self.flat else norm(x)
            x = lif(x)
        return self.head(x).mean(0)


def affine_norm(kind, scale, shift, **settings):
    made = kind(**settings)
    with torch.no_grad():
        made.weight.fill_(scale)
        made.bias.fill_(shift)
    return made


def jelly(name, **settings):
    pytest.importorskip("spikingjelly")
    return getattr(importlib.import_module("spikingjelly.activation_based.layer"), name)(**settings)


NORMS = {
    "batch": (lambda: affine_norm(nn.BatchNorm1d, 0.7, 0.1, num_features=WIDTH), True),
    "layer": (lambda: affine_norm(nn.LayerNorm, 0.6, -0.1, normalized_shape=WIDTH), True),
    "group": (lambda: nn.GroupNorm(4, WIDTH), True),
    "ours": (lambda: TimeNorm(WIDTH, steps=STEPS, std=0.7), False),
    "tdBN": (lambda: TdBN(WIDTH, std=0.6), False),
    "TEBN": (lambda: TimeNorm(WIDTH, steps=STEPS, kind="TEBN", std=0.8), False),
}


def normed(name, **neuron):
    make, flat = NORMS[name]
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return Normed(make, flat=flat, **neuron)


def batch(*shape: int, seed: int = 4) -> torch.Tensor:
    return torch.randn(*(shape or (STEPS, SAMPLES, 30)), generator=seeded(seed))


def agrees(found: probe.Diagnosis) -> int:
    """No prediction is off by more than a factor of 1.5; how many there are."""
    predicted = 0
    for layer in found.layers:
        if layer.predicted_rate is None:
            assert layer.note or not found.notes, layer
            continue
        ratio = float(layer.predicted_rate.mean() / layer.rate.mean())
        assert 1 / 1.5 < ratio < 1.5, (layer.name, ratio)
        predicted += 1
    return predicted


@pytest.mark.parametrize("name", NORMS)
def test_a_normalization_takes_the_scale_of_the_weights_away(name):
    model = normed(name)
    found = probe.diagnose(model, batch(), networks=0)
    assert agrees(found) == 2
    assert found.notes[0].startswith("norm1, norm2 take the scale of the weights fc1, fc2 away")
    assert [layer.gain for layer in found.layers] == [None, None]

    report = initialize_(model, "micheli2024", example=batch(), generator=seeded(6))
    again = probe.diagnose(model, batch(), networks=0)
    assert agrees(again) == 2
    for row, layer in zip(report, again.layers, strict=False):
        assert "takes its scale away" in row.note
        assert 1 / 1.5 < row.rate / float(layer.rate.mean()) < 1.5

    with torch.no_grad():
        model.fc2.weight.mul_(7)  # and indeed
    scaled = probe.diagnose(model, batch(), networks=0)
    for one, two in zip(again.layers, scaled.layers, strict=True):
        assert torch.allclose(one.rate, two.rate, atol=0.01)


@pytest.mark.parametrize("name", NORMS)
def test_the_norms_own_scale_can_be_set(name):
    """At leak 0 the first step is all: P(u > θ) of unit variance, whatever the norm was."""
    model = normed(name, leak=0.0, threshold=1.1, reset="zero")
    initialize_(model, "micheli2024", example=batch(), generator=seeded(6), norms="scale")
    found = probe.diagnose(model, batch(), networks=0)
    assert agrees(found) == 2
    for layer in found.layers:
        assert float(layer.variance.mean()) == pytest.approx(1.0, rel=0.05)
        expected = 0.5 * math.erfc(1.1 / 2**0.5)
        assert float(layer.rate.mean()) == pytest.approx(expected, rel=0.15)


def test_setting_a_norms_scale_is_refused_where_it_cannot_be():
    model = normed("batch")
    with pytest.raises(ValueError, match="needs example="):
        initialize_(model, "micheli2024", norms="scale")
    with pytest.raises(ValueError, match="norms must be 'keep' or 'scale'"):
        initialize_(model, "micheli2024", example=batch(), norms="set")
    model.norm1 = nn.BatchNorm1d(WIDTH, affine=False)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with pytest.raises(ValueError, match="'norm1' has no scale of its own"):
        initialize_(model, "micheli2024", example=batch(), norms="scale")
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_a_batch_norm_in_evaluation_keeps_the_scale():
    model = normed("batch").eval()
    found = probe.diagnose(model, batch(), networks=0)
    assert "in evaluation mode" in found.notes[0] and found.layers[1].gain is not None
    agrees(found)


def test_norms_of_other_libraries():
    pytest.importorskip("spikingjelly")
    from spikingjelly.activation_based import functional as jelly_functional
    from spikingjelly.activation_based import neuron

    for name, settings, shape in (
        ("BatchNorm2d", {"num_features": 20}, (1, 9, 9)),
        (
            "ThresholdDependentBatchNorm2d",
            {"alpha": 0.8, "v_th": 1.1, "num_features": 20},
            (1, 9, 9),
        ),
    ):
        model = nn.Sequential(
            jelly("Conv2d", in_channels=1, out_channels=20, kernel_size=3),
            jelly(name, **settings),
            neuron.LIFNode(tau=1.6, v_threshold=0.7),
            jelly("Conv2d", in_channels=20, out_channels=20, kernel_size=3),
            jelly(name, **settings),
            neuron.LIFNode(tau=1.6, v_threshold=0.7),
        )
        jelly_functional.set_step_mode(model, "m")
        found = probe.diagnose(model, batch(STEPS, SAMPLES, *shape), networks=0)
        assert agrees(found) == 2, str(found)
        assert "1, 4 take the scale of the weights 0, 3 away" in found.notes[0]


def test_one_silent_input_is_not_predicted():
    """What hardly varies stays small behind a normalization; nothing is said instead of 7 %."""
    model = normed("batch", threshold=0.6)
    with torch.no_grad():
        model.norm1.weight.fill_(0.01)
        model.norm1.bias.fill_(0)
    found = probe.diagnose(model, batch(), networks=0)
    second = found.layers[1]
    assert float(second.rate.mean()) == 0 and second.predicted_rate is None
    assert "hardly varies" in second.note


# --- sums, products, poolings ---------------------------------------------------------------------


class Residual(nn.Module):
    """Spikes of two layers add up before the third weight."""

    def __init__(self, join):
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(30, 300), nn.Linear(300, 300), nn.Linear(300, 300)
        self.lif1, self.lif2, self.lif3 = (LIF(threshold=0.6, leak=0.3) for _ in range(3))
        self.join = join

    def forward(self, x):
        one = self.lif1(self.fc1(x))
        two = self.lif2(self.fc2(one))
        return self.lif3(self.fc3(self.join(one, two)))


JOINS = {
    "sum": (lambda a, b: a + b, lambda p: 2 * p + 2 * p * p),
    "and": (lambda a, b: a * b, lambda p: p * p),
    "and not": (lambda a, b: (1 - a) * b, lambda p: (1 - p) * p),
    "weighted": (lambda a, b: 0.5 * a + b, lambda p: 1.25 * p + p * p),
    "dropout": (lambda a, b: functional.dropout(a, 0.3) + b, lambda p: p / 0.7 + p + 2 * p * p),
    "no dropout": (lambda a, b: functional.dropout(a, 0.3, False) + b, lambda p: 2 * p + 2 * p * p),
}


@pytest.mark.parametrize("name", JOINS)
def test_the_gain_is_that_of_what_reaches_the_weight(name):
    join, moment = JOINS[name]
    with torch.random.fork_rng():
        torch.manual_seed(8)
        model = Residual(join)
    report = initialize_(model, "micheli2024", example=batch(), generator=seeded(7), readout="draw")
    p = 0.5 * math.erfc(0.6 / 2**0.5)
    row = report[2]
    assert row.fed_by == "lif1, lif2" and row.second_moment == pytest.approx(moment(p), rel=1e-9)
    assert row.gain == pytest.approx(1 / moment(p), rel=1e-9)
    assert "follows from the graph" in row.note
    found = probe.diagnose(model, batch(), networks=0)
    assert agrees(found) == 3
    # Unit variance at the first step, within the chance of 300 neurons and dependent samples.
    assert float(found.layers[2].variance[0]) == pytest.approx(1.0, rel=0.3)


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(24, 24) for _ in range(3))
        self.lifs = nn.ModuleList(LIF(threshold=0.4) for _ in range(3))
        self.mix, self.out, self.last = LIF(threshold=0.5), nn.Linear(24, 24), LIF()

    def forward(self, x):
        q, k, v = (lif(fc(x)) for fc, lif in zip((self.q, self.k, self.v), self.lifs, strict=True))
        return self.last(self.out(self.mix(q @ k.transpose(-1, -2) @ v * 0.02)))


def test_products_of_spikes_are_measured_and_not_predicted():
    with torch.random.fork_rng():
        torch.manual_seed(9)
        model = Attention()
    x = batch(STEPS, 6, 10, 24)
    found = probe.diagnose(model, x, networks=0)
    mixed = next(layer for layer in found.layers if layer.name == "mix")
    assert mixed.predicted_rate is None and mixed.gain is None
    assert any("mix: the currents are products of spikes" in note for note in found.notes)
    report = initialize_(model, "micheli2024", example=x, generator=seeded(1), readout="draw")
    assert [row.layer for row in report if row.gain is not None] == ["q", "k", "v", "out"]


def test_a_pool_of_currents_is_named_and_not_predicted_by_formula():
    model = nn.Sequential(
        nn.Flatten(0, 1),
        nn.Conv2d(1, 40, 3),
        nn.MaxPool2d(2),
        nn.Unflatten(0, (STEPS, SAMPLES)),
        LIF(threshold=0.5, leak=0.3),
    )
    x = batch(STEPS, SAMPLES, 1, 12, 12)
    report = initialize_(model, "micheli2024", example=x, generator=seeded(2), readout="draw")
    assert "max pooling of its currents shifts their mean" in report[0].note
    assert report[0].rate is None and "no rate predicted" in report[0].note
    found = probe.diagnose(model, x, networks=0)
    assert agrees(found) == 1
    assert "max pooling between weights and neurons" in found.notes[0]


def test_a_norm_and_a_shortcut_add_up():
    """Of a sum of a normalized branch and a weight only the measured currents tell."""

    class Block(Normed):
        def forward(self, x):
            first = self.lif1(self.norm1(self.fc1(x).flatten(0, 1)).reshape(*x.shape[:2], -1))
            return self.lif2(
                self.norm2(self.fc2(first).flatten(0, 1)).reshape(first.shape) + self.skip(x)
            )

    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = Block(NORMS["batch"][0])
        model.skip = nn.Linear(30, WIDTH, bias=False)
    connections = {c.name: c for c in pair(model, batch())}
    assert [n.name for n in connections["fc2"].norms] == ["norm2"]
    assert not connections["skip"].norms
    found = probe.diagnose(model, batch(), networks=0)
    assert agrees(found) == 2
    assert any(note.startswith("lif2: predicted from the mean") for note in found.notes)


# --- the map --------------------------------------------------------------------------------------


def test_one_channel_without_a_shift_is_the_covariance_map():
    """The same simulated neurons, so equal to rounding."""
    matrix = np.array([[1.0, 0.4], [0.4, 0.8]])
    settings = {"leak": 0.6, "threshold": 0.7, "reset": "zero"}
    one = covariance_map(matrix, 1.0, generator=seeded(), **settings)
    two = shifted_map(matrix, generator=seeded(), **settings)
    assert np.allclose(one.rate, two.rate, atol=1e-4)
    assert np.allclose(one.covariance, two.pairs, atol=1e-4)


def test_channels_are_mixed():
    """Half of the neurons never fires: half the rate, to 5 standard errors of 65 536 neurons."""
    one = shifted_map([[1.0]], shift=0.2, leak=0.5, threshold=0.5, generator=seeded())
    two = shifted_map(
        [[1.0]], scale=[1.0, 1e-6], shift=[0.2, -3.0], leak=0.5, threshold=0.5, generator=seeded(1)
    )
    assert abs(two.rate[0] - one.rate[0] / 2) < 5 * (0.25 / 65_536) ** 0.5 * 1.5
    with pytest.raises(ValueError, match="must be finite"):
        shifted_map([[1.0]], scale=math.inf, leak=0.5, threshold=0.5)


def test_tails_that_are_not_gaussian_are_told():
    """A mixture whose tail is known: predicted and true rate differ by more than is allowed."""
    assert not not_gaussian(0.3, 0.1, 0.5)
    assert not_gaussian(0.01, 0.0, 2.5) and not_gaussian(0.01, 0.8, 0.0)


@pytest.mark.parametrize("rate", [0.02, 0.1, 0.3])
@pytest.mark.parametrize(("skewness", "kurtosis"), [(1.0, 0.0), (0.0, 1.0), (0.5, -0.8)])
def test_the_limit_is_four_tenths_of_the_tail(rate, skewness, kurtosis):
    """Edgeworth's change of the tail is linear in both cumulants: scaled to 0.4 it is the limit."""
    xi = stats.norm.isf(rate)
    hermite = skewness / 6 * (xi**2 - 1) + kurtosis / 24 * (xi**3 - 3 * xi)
    limit = abs(0.4 * rate / (stats.norm.pdf(xi) * hermite))
    if limit * abs(kurtosis) < 3:  # beyond, the series says little itself
        assert not_gaussian(rate, 1.001 * limit * skewness, 1.001 * limit * kurtosis)
        assert not not_gaussian(rate, 0.999 * limit * skewness, 0.999 * limit * kurtosis)


@pytest.mark.parametrize("rate", [0.0, 1.0, math.nan])
def test_a_rate_without_a_tail_says_nothing(rate):
    assert not_gaussian(rate, 5.0, 2.0) == ""
