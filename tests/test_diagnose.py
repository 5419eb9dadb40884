"""Each illness is planted alone and told in words; a healthy network has none."""

import copy
import importlib
import math
from collections import OrderedDict

import pytest
import torch
from torch import nn

from snnlib import probe
from snnlib.init import initialize_
from snnlib.meanfield import critical_gain, extinction_probability, matched_sharpness
from snnlib.networks import FeedForward, constant, convnet, mlp
from snnlib.neurons import LIF, CurrentLIF
from snnlib.probe.extinction import extinction
from snnlib.surrogate import Surrogate

THRESHOLD, WIDTH, STEPS = 0.5, 300, 6
MATCHED = Surrogate("arctan", sharpness=matched_sharpness("arctan", THRESHOLD))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def network(depth: int = 5, width: int = WIDTH, **settings) -> FeedForward:
    settings = {
        "threshold": THRESHOLD,
        "surrogate": MATCHED,
        "encode": False,
        "generator": seeded(1),
    } | settings
    return mlp([width] * (depth + 1), **settings)


def data(width: int = WIDTH, seed: int = 2) -> torch.Tensor:
    return constant(torch.randn(16, width, generator=seeded(seed)), STEPS)


def diagnose(model, batch=None, **settings):
    settings = {"networks": 0, "gradient": False} | settings
    return probe.diagnose(model, data() if batch is None else batch, **settings)


def mended(model, finding, batch=None, **settings):
    """The diagnosis after the remedy, executed as it is printed."""
    scope = {"model": model, "batch": data() if batch is None else batch, "torch": torch}
    scope |= {"snnlib": importlib.import_module("snnlib")}
    with torch.random.fork_rng():
        torch.manual_seed(11)
        exec(finding.remedy, scope)
    return diagnose(model, scope["batch"], **settings)


def kinds(found: probe.Diagnosis) -> list[str]:
    return [finding.kind for finding in found.findings]


@pytest.fixture(scope="module")
def healthy() -> probe.Diagnosis:
    return diagnose(network(), networks=4, gradient=True)


# --- a healthy network ----------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(2))
def test_a_healthy_network_has_no_illness(seed):
    found = diagnose(network(generator=seeded(seed + 10)), data(seed=seed + 20), gradient=True)
    assert found.healthy and not found.findings, found
    assert "Nothing wrong was found." in str(found)


def test_a_healthy_classifier_has_no_illness():
    """Ten outputs, of which none may fire at the first step, are no extinction."""
    model = mlp([100, 300, 300, 10], threshold=THRESHOLD, surrogate=MATCHED, generator=seeded())
    found = diagnose(model, data(100), gradient=True)
    assert found.healthy, found
    assert found.layers[-1].extinction > 0.01


def test_a_healthy_convolutional_network_has_no_illness():
    model = convnet((1, 8, 8), 60, channels=(24, 24), threshold=0.3, generator=seeded())
    batch = constant(torch.randn(12, 1, 8, 8, generator=seeded(1)), 5)
    initialize_(model, "micheli2024", example=batch, generator=seeded(2))
    found = diagnose(model, batch, gradient=True)
    assert found.healthy, found


def test_the_prediction_stands_beside_the_measurement(healthy):
    """Measured rates and variances lie within eight spreads of the infinite-width prediction."""
    for layer in healthy.layers:
        for measured, predicted, spread in (
            (layer.rate, layer.predicted_rate, layer.rate_spread),
            (layer.variance, layer.predicted_variance, layer.variance_spread),
        ):
            assert measured.shape == predicted.shape == spread.shape == (STEPS,)
            assert (spread > 0).all() and (spread < 0.3 * predicted).all()
            assert ((measured - predicted).abs() < 8 * spread.max()).all()
    statistics = probe.record(network(), data())
    torch.testing.assert_close(healthy.statistics.variance, statistics.variance)
    torch.testing.assert_close(healthy.statistics.gradient_variance, statistics.gradient_variance)


def test_a_layer_that_starts_late_is_alive_for_a_share_of_the_steps(healthy):
    """Neurons without leak: 0.45 a step makes spikes, and two of 0.6 make one of the next layer."""
    model = nn.Sequential(LIF(leak=1.0), nn.Linear(5, 5, bias=False), LIF(leak=1.0))
    nn.init.eye_(model[1].weight).data.mul_(0.6)
    found = diagnose(model, torch.full((10, 4, 5), 0.45))
    assert found.layers[0].rate.nonzero().flatten().tolist() == [2, 4, 6, 8]
    assert found.layers[-1].rate.nonzero().flatten().tolist() == [4, 8]
    assert found.alive == pytest.approx(0.2)
    assert "2 has spikes at 2 of them" in str(found)
    assert healthy.alive == 1 and "of them" not in str(healthy)


def test_operations_are_spikes_times_the_weights_they_meet(healthy):
    spikes = healthy.statistics.spikes.sum(1)
    for layer, sent in zip(healthy.layers[1:], spikes, strict=False):
        assert layer.operations == pytest.approx(float(sent) * WIDTH / 16, rel=1e-12)
        assert layer.multiplications == 0
    first = healthy.layers[0]
    # A constant input meets its weights once.
    assert (first.operations, first.multiplications) == (0, WIDTH * WIDTH)
    assert healthy.operations == sum(layer.operations for layer in healthy.layers)


def test_operations_of_a_convolution_count_the_places_that_an_input_reaches():
    model = FeedForward(
        OrderedDict(
            lif0=LIF(threshold=0.5, leak=0.0, reset="none"),
            conv=nn.Conv2d(4, 6, 3, stride=1, groups=2, bias=False),
            lif1=LIF(),
        )
    )
    batch = torch.zeros(2, 3, 4, 9, 9)
    batch[:, :, :, 4, 4] = 1.0  # far from the border: every place of the kernel meets it
    found = diagnose(model, batch)
    assert found.layers[1].operations == 2 * 4 * (6 // 2) * 9


# --- illnesses ------------------------------------------------------------------------------------


def only(found: probe.Diagnosis, kind: str) -> probe.Finding:
    assert kinds(found) == [kind], found
    finding = found.findings[0]
    assert finding.layer in finding.sentence or finding.layer == "", finding
    return finding


def test_dead_by_a_gain_below_the_critical_one():
    model = network(depth=8, init=None, threshold=1.0)
    finding = only(diagnose(model), "dead")
    rates = probe.record(model, data(), gradient=False).rate
    silent = (rates == 0).all(1).nonzero().flatten()
    assert finding.layer == f"lif{int(silent[0]) + 1}" != "lif1"
    assert "gain 0.33" in finding.sentence
    assert f"below the critical gain {critical_gain(1.0):.3g} at threshold 1" in finding.sentence
    assert "activity dies by layer" in finding.sentence
    assert finding.remedy == 'snnlib.init.initialize_(model, "micheli2024", example=batch)'
    initialize_(model, "micheli2024", example=data(), generator=seeded())
    assert (probe.record(model, data(), gradient=False).rate > 0).all()


def test_dies_later():
    """An input that lasts two steps; without a leak nothing stays."""
    batch = data().clone()
    batch[2:] = 0
    model = network(leak=0.0)
    finding = only(diagnose(model, batch), "dies later")
    assert (finding.layer, finding.step) == ("lif1", 2)
    assert "up to step 1" in finding.sentence
    assert mended(model, finding, batch).healthy


def test_saturated():
    model = network(depth=3)
    with torch.no_grad():
        model.lif2 = LIF(threshold=0.0, leak=0.9, reset="none", surrogate=MATCHED)
        model.linear2.weight.abs_()
    found = diagnose(model)
    assert "saturated" in kinds(found)
    finding = found.findings[kinds(found).index("saturated")]
    assert finding.layer == "lif2" and "fires in 100.0%" in finding.sentence
    with torch.no_grad():
        model.lif2 = LIF(threshold=THRESHOLD, leak=0.9, surrogate=MATCHED)
        model.linear2.weight.abs_().mul_(3)
    found = diagnose(model)
    finding = found.findings[kinds(found).index("saturated")]
    assert "saturated" not in kinds(mended(model, finding))


@pytest.mark.parametrize("width", [12])
def test_extinction_risk(width):
    gains = 1 / 0.3085
    model = network(depth=6, width=width)
    found = diagnose(model, data(width))
    finding = found.findings[kinds(found).index("extinction risk")]
    assert "12 neurons" in finding.sentence and finding.step == 0
    risks = [layer.extinction for layer in found.layers]
    assert risks == sorted(risks) and risks[-1] > 0.01
    assert finding.layer == next(x.name for x in found.layers if x.extinction > 0.01)
    known = extinction(0.3085, [width] * 6, [gains] * 5, [THRESHOLD] * 5)
    expected = extinction_probability(width=width, depth=5, threshold=THRESHOLD, gain=gains)
    assert known[-1] == pytest.approx(expected, rel=0.02)
    assert '"mean_field", rate=0.3, steps=6, example=batch)' in finding.remedy
    initialize_(model, "mean_field", rate=0.3, steps=6, example=data(width), generator=seeded())
    mended = diagnose(model, data(width))
    assert all(a.extinction < b for a, b in zip(mended.layers, risks, strict=True))


def test_input_too_weak():
    """Images in [0, 1] never exceed the threshold 1 in one step."""
    model = mlp([200, 300, 300], threshold=1.0, surrogate=MATCHED, generator=seeded())
    batch = constant(torch.rand(16, 200, generator=seeded(3)), STEPS)
    found = diagnose(model, batch)
    finding = found.findings[0]
    assert (finding.kind, finding.layer) == ("weak input", "lif0")
    assert "reach at most 1, not its threshold 1" in finding.sentence
    assert "batch.std()" in finding.remedy
    standardized = (batch - batch.mean()) / batch.std()
    assert "weak input" not in kinds(diagnose(model, standardized))
    # The same through weights: the call that mends it is another.
    model = network(depth=2)
    with torch.no_grad():
        model.linear1.weight *= 0.02
    finding = only(diagnose(model), "weak input")
    assert "never fires" in finding.sentence and "initialize_" in finding.remedy
    assert mended(model, finding).healthy


@pytest.mark.parametrize(("sign", "kind"), [(1, "positive drive"), (-1, "negative drive")])
@pytest.mark.parametrize("source", ["weight", "bias"])
def test_mean_drive(sign, kind, source):
    model = network(depth=3, bias=True)
    with torch.no_grad():
        if source == "weight":
            model.linear2.weight += sign * 4.0 / WIDTH
        else:
            model.linear2.bias += sign * 2.0
    found = diagnose(model)
    finding = next(f for f in found.findings if f.kind == kind)
    assert finding.layer == "lif2"
    assert ("n·E[w]·E[x]" in finding.sentence) == (source == "weight")
    assert ("biases of linear2" in finding.sentence) == (source == "bias")
    initialize_(model, "micheli2024", example=data(), generator=seeded())
    assert diagnose(model).healthy


@pytest.mark.parametrize(
    ("sharpness", "kind"), [(0.05, "exploding gradient"), (6.0, "vanishing gradient")]
)
def test_gradients_over_depth(sharpness, kind):
    model = network(depth=12, surrogate=Surrogate("gaussian", sharpness=sharpness))
    finding = only(diagnose(model, gradient=True), kind)
    record = probe.record(model, data()).gradient_variance.sum(1)
    factor = float(record[0] / record[-1]) ** (1 / 11)
    assert f"a factor of {factor:.2g}"[:14] in finding.sentence
    assert 'set_surrogate_(model, snnlib.surrogate.Surrogate("gaussian", ' in finding.remedy
    assert mended(model, finding, gradient=True).healthy


@pytest.mark.parametrize("sharpness", [1.0, 15.0])
def test_the_surrogate_in_the_remedy_suits_leaky_neurons(sharpness):
    """Their potentials are neither Gaussian nor of unit variance; the remedy is of one surrogate,
    whether it is too wide or too narrow."""

    def build(surrogate):
        return network(depth=10, leak=0.9, threshold=1.0, surrogate=surrogate)

    batch = data()[:1, :8].expand(20, -1, -1)
    model = build(Surrogate("arctan", sharpness=sharpness))
    found = diagnose(model, batch, gradient=True)
    assert kinds(found)[-1] == ("exploding" if sharpness == 1 else "vanishing") + " gradient"
    (remedy,) = {f.remedy for f in found.findings if "sharpness=" in f.remedy}
    after = mended(model, found.findings[-1], batch, gradient=True)
    assert remedy == found.findings[-1].remedy
    assert not any("sharpness=" in f.remedy for f in after.findings)


def test_the_surrogate_misses_the_potentials():
    model = network(depth=2, surrogate=Surrogate("rectangular", sharpness=2000.0))
    found = diagnose(model, gradient=True)
    finding = found.findings[0]
    assert (finding.kind, finding.layer) == ("surrogate misses", "lif2")
    assert "misses its potentials" in finding.sentence
    assert mended(model, finding, gradient=True).healthy


def test_potentials_explode():
    model = network(depth=3)
    with torch.no_grad():
        model.linear2.weight *= 1e4
    finding = only(diagnose(model), "exploding potential")
    assert finding.layer == "lif2" and "times the threshold 0.5" in finding.sentence
    assert mended(model, finding).healthy


def test_neurons_that_never_fire():
    model = network(depth=3)
    with torch.no_grad():
        model.linear2.weight[8:] *= 0.01
    found = diagnose(model)
    finding = next(f for f in found.findings if f.kind == "silent neurons")
    assert finding.layer == "lif2"
    share = found.layers[1].never
    assert 0.95 < share <= 1 - 1 / WIDTH and f"{share:.1%}" in finding.sentence
    assert mended(model, finding).healthy


class Diverging(nn.Module):
    """A value that grows until it leaves the number format, in the second of three layers."""

    def __init__(self, kind: str):
        super().__init__()
        self.linear1, self.linear2, self.linear3 = (nn.Linear(20, 20) for _ in range(3))
        self.lif1, self.lif2, self.lif3 = LIF(), LIF(), LIF()
        self.kind = kind

    def forward(self, x):
        x = self.linear2(self.lif1(self.linear1(x)))
        if self.kind == "current":
            x = x * torch.tensor([1.0, 1.0, 1.0, math.nan, 1.0])[:, None, None]
        return self.lif3(self.linear3(self.lif2(x)))


def test_a_model_that_diverges_says_where_it_started():
    batch = torch.randn(5, 4, 20, generator=seeded())
    finding = diagnose(Diverging("current"), batch, gradient=True).findings[0]
    assert (finding.kind, finding.layer, finding.step) == ("not finite", "lif2", 3)
    assert "at step 3" in finding.sentence
    model = Diverging("none")
    with torch.no_grad():
        model.linear3.weight[2, 3] = math.inf
    finding = diagnose(model, batch).findings[0]
    assert (finding.kind, finding.layer, finding.step) == ("not finite", "lif3", 0)
    assert "linear3 holds NaN or infinity" in finding.sentence
    assert "not finite" not in kinds(mended(model, finding, batch))
    spoiled = batch.clone()
    spoiled[2, 0, 0] = math.nan
    finding = diagnose(Diverging("none"), spoiled).findings[0]
    assert (finding.layer, finding.step) == ("lif1", 2) and "input" in finding.sentence
    assert "not finite" not in kinds(mended(Diverging("none"), finding, spoiled))


def test_a_potential_that_outgrows_its_format():
    layer = LIF(threshold=1.0, leak=1.0, reset="none")
    batch = torch.full((4, 2, 3), 1e38)
    finding = diagnose(layer, batch).findings[0]
    assert (finding.kind, finding.step) == ("not finite", 3)
    assert "outgrows the number format" in finding.sentence
    assert "not finite" not in kinds(mended(layer, finding, batch + torch.arange(3.0)))


def test_what_lies_between_weights_and_layer_is_named_as_the_cause():
    """Max pooling of currents, as in many tutorials, takes the largest of four: a positive mean."""
    pooled = nn.Sequential(
        OrderedDict(
            flat=nn.Flatten(0, 1),
            conv=nn.Conv2d(1, 8, 3, bias=False),
            pool=nn.MaxPool2d(2),
            back=nn.Unflatten(0, (STEPS, 12)),
            lif=LIF(threshold=0.5),
        )
    )
    batch = constant(torch.randn(12, 1, 12, 12, generator=seeded()), STEPS)
    initialize_(pooled, "micheli2024", example=batch, generator=seeded())
    found = diagnose(pooled, batch)
    finding = only(found, "positive drive")
    assert "max pooling between conv and the layer shifts them" in finding.sentence
    assert "pool spikes instead" in finding.remedy
    layer = found.layers[0]
    assert "max pooling between weights and neurons" in found.notes[0]
    assert ((layer.rate - layer.predicted_rate).abs() < 0.05).all()


# --- form -----------------------------------------------------------------------------------------


def test_it_prints_renders_and_draws(healthy):
    pytest.importorskip("matplotlib")
    sick = diagnose(network(depth=8, init=None, threshold=1.0))
    text, page = str(sick), sick._repr_html_()
    assert repr(sick) == f"Diagnosis(8 layers, 6 steps: dead in '{sick.findings[0].layer}')"
    assert repr(healthy) == "Diagnosis(5 layers, 6 steps: healthy)"
    assert "1. dead: gain" in text and "→ snnlib.init.initialize_" in text
    assert "synaptic operations" in text and len({len(x) for x in text.split("\n\n")}) > 1
    assert "<strong>dead</strong>" in page and page.count("<tr>") == 9
    assert "<ol>" not in healthy._repr_html_()
    figure = healthy.plot()
    assert [axes.get_ylabel() for axes in figure.axes] == ["firing rate", "Var[u]", "Var[dL/du]"]
    assert {axes.get_xlabel() for axes in figure.axes} == {"layer"}
    assert [text.get_text() for text in figure.legends[0].get_texts()][:2] == [
        "step 0, measured",
        "step 0, predicted",
    ]
    figure.canvas.draw()


def test_the_model_is_left_as_it_was_and_the_answer_is_reproducible():
    model = network(depth=2)
    state, random = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    first, second = (diagnose(model, networks=2, gradient=True) for _ in range(2))
    assert str(first) == str(second)
    assert torch.equal(random, torch.get_rng_state())
    torch.testing.assert_close(model.state_dict(), state, rtol=0, atol=0)
    assert all(p.grad is None for p in model.parameters())


def test_a_layer_without_weights_and_bad_input():
    found = probe.diagnose(LIF(threshold=0.3), torch.randn(3, 4, 5, generator=seeded()))
    assert found.layers[0].predicted_rate is None and "No prediction" in found.notes[0]
    with pytest.raises(ValueError, match="at least one spiking layer"):
        probe.diagnose(nn.Linear(3, 3), torch.ones(2, 3, 3))
    with pytest.raises(ValueError, match="time must be"):
        probe.diagnose(LIF(), torch.ones(2, 3, 3), time="later")


# --- other libraries ------------------------------------------------------------------------------


def test_a_synapse_sums_weak_inputs_up():
    """Norse's default cell takes a tenth of its input a step; once awake it has no illness."""
    norse = pytest.importorskip("norse.torch")
    layers = []
    for _ in range(3):
        layers += [nn.Linear(200, 200, bias=False), norse.LIFCell()]
    model = norse.SequentialState(*layers)
    with torch.no_grad():
        for k in (0, 2, 4):
            model[k].weight.normal_(0.0, (30.0 / 200) ** 0.5, generator=seeded(k))
    batch = constant(torch.randn(16, 200, generator=seeded(5)), 30)
    found = diagnose(model, batch, networks=2)
    assert found.healthy, found
    for layer in found.layers:
        measured, predicted = layer.variance[5:], layer.predicted_variance[5:]
        assert (measured / predicted - 1).abs().max() < 0.3, (measured, predicted)
    with torch.no_grad():
        model[2].weight.mul_(0.01)
    (finding,) = diagnose(model, batch).findings
    assert (finding.kind, finding.layer) == ("dead", "3")
    assert "standard deviation" in finding.sentence and "rossbroich2022" in finding.remedy
    initialize_(model, "rossbroich2022", rate=0.1, example=batch, generator=seeded())
    assert diagnose(model, batch).healthy


def test_behind_synapses_a_deep_layer_may_be_late_rather_than_dead():
    """The call that suits synapses does not help once it was made: the steps run out."""
    layers = [CurrentLIF(leak=0.8, synapse_leak=0.9) for _ in range(5)]
    model = nn.Sequential(*(m for lif in layers for m in (nn.Linear(100, 100), lif)))
    batch = data(100)[:1, :4].expand(8, -1, -1)
    initialize_(model, "rossbroich2022", rate=0.1, example=batch, generator=seeded())
    finding = diagnose(model, batch).findings[0]
    assert finding.kind == "dead" and "starts some steps after the one before" in finding.sentence
    assert "if that was done, with rate=0.02, or more than 8 time steps" in finding.remedy
    assert "dead" not in kinds(diagnose(model, batch[:1].expand(60, -1, -1)))


def test_behind_synapses_a_lower_rate_keeps_layers_alive_that_a_higher_one_does_not():
    """Spikes reset the potential, so layers fire less than assumed, each less than the last."""
    layers = [CurrentLIF(leak=0.9, synapse_leak=0.8) for _ in range(5)]
    model = nn.Sequential(*(m for lif in layers for m in (nn.Linear(100, 100), lif)))
    batch = torch.randn(40, 8, 100, generator=seeded())
    found = {}
    for rate in (0.1, 0.02):
        initialize_(
            model, "rossbroich2022", rate=rate, example=batch, readout="draw", generator=seeded()
        )
        found[rate] = diagnose(model, batch)
    finding = found[0.1].findings[0]
    assert finding.kind == "dead" and "if that was done, with rate=0.02" in finding.remedy
    assert "dead" not in kinds(found[0.02]) and found[0.02].layers[-1].rate.mean() > 0.02


def sharp(library: str) -> nn.Module:
    """Two layers whose surrogate is too narrow; SpikingJelly's grow in height as they narrow."""
    if library == "spikingjelly":
        spikingjelly = pytest.importorskip("spikingjelly.activation_based.neuron")
        from spikingjelly.activation_based import surrogate

        narrow = surrogate.Sigmoid(alpha=1e5)
        neurons = [spikingjelly.LIFNode(surrogate_function=narrow) for _ in range(2)]
        container = nn.Sequential
    elif library == "norse":
        norse = pytest.importorskip("norse.torch")
        p = norse.LIFBoxParameters(
            method="tanh", alpha=torch.as_tensor(1e3), tau_mem_inv=torch.as_tensor(500.0)
        )
        neurons = [norse.LIFBoxCell(p) for _ in range(2)]
        container = norse.SequentialState
    else:
        snn = pytest.importorskip("snntorch")
        narrow = snn.surrogate.fast_sigmoid(slope=1e3)
        neurons = [snn.Leaky(beta=0.5, spike_grad=narrow, init_hidden=True) for _ in range(2)]
        container = nn.Sequential
    return container(nn.Linear(200, 200), neurons[0], nn.Linear(200, 200), neurons[1])


@pytest.mark.parametrize("library", ["snntorch", "spikingjelly", "norse"])
def test_the_surrogate_that_mends_a_foreign_network_exists_there(library):
    """The call in the remedy gives all layers a surrogate of that library."""
    with torch.random.fork_rng():
        torch.manual_seed(4)
        model, batch = sharp(library), data(200)
    initialize_(model, "micheli2024", example=batch, generator=seeded())
    finding = diagnose(model, batch, gradient=True).findings[0]
    assert finding.kind == "surrogate misses" or library == "spikingjelly"
    assert "snnlib.interop.set_surrogate_(model, " in finding.remedy
    after = mended(model, finding, batch, gradient=True)
    assert not any("set_surrogate_" in f.remedy for f in after.findings)


def test_a_recurrent_layer_and_the_next_one_are_predicted():
    snn = pytest.importorskip("snntorch")
    model = nn.Sequential(
        nn.Linear(100, 200),
        snn.RLeaky(beta=0.5, linear_features=200, init_hidden=True),
        nn.Linear(200, 200),
        snn.Leaky(beta=0.5, init_hidden=True),
    )
    batch = data(100)
    initialize_(model, "micheli2024", example=batch, generator=seeded())
    found = diagnose(model, batch)
    first, second = found.layers
    assert "0" not in found.notes[0] and "it has recurrent weights" in found.notes[0]
    for layer in (first, second):
        assert ((layer.rate - layer.predicted_rate).abs() < 0.05).all()
    assert first.operations > 0  # its own spikes come back to it


def test_a_normalization_restarts_the_prediction():
    """Behind a batch normalization the weights' gain says nothing about the currents."""
    model = FeedForward(
        OrderedDict(
            linear1=nn.Linear(WIDTH, WIDTH),
            lif1=LIF(threshold=0.5),
            linear2=nn.Linear(WIDTH, WIDTH),
            flat=nn.Flatten(0, 1),
            norm=nn.BatchNorm1d(WIDTH),
            back=nn.Unflatten(0, (STEPS, 16)),
            lif2=LIF(threshold=0.5),
        )
    )
    found = diagnose(model)
    assert found.notes[0].startswith("norm takes the scale of the weights linear2 away")
    first, second = found.layers
    assert ((second.variance / second.predicted_variance - 1).abs() < 0.2).all()
    assert ((first.rate - first.predicted_rate).abs() < 0.05).all()
    del model.norm
    model.norm = nn.Identity()
    assert not diagnose(model).notes


def test_a_forgotten_time_axis_is_pointed_out():
    network = nn.Sequential(nn.Linear(20, 30), LIF(), nn.Linear(30, 10), LIF())
    static = torch.randn(8, 20, generator=torch.Generator().manual_seed(3))
    notes = probe.diagnose(network, static, gradient=False, networks=0).notes
    assert any("(8, 20) is read as 8 steps of one sample" in note for note in notes)
    notes = probe.diagnose(network, static.expand(4, 8, 20), gradient=False, networks=0).notes
    assert not any("is read as" in note for note in notes)


# --- samples that are not told apart, gradients that do not agree ---------------------------------


def in_classes(samples: int = 32, classes: int = 4) -> torch.Tensor:
    """Samples of a class share two thirds of their variance."""
    draw = seeded(5)
    centre = torch.randn(classes, WIDTH, generator=draw).repeat(samples // classes, 1)
    own = torch.randn(samples, WIDTH, generator=draw)
    return constant((2 / 3) ** 0.5 * centre + (1 / 3) ** 0.5 * own, STEPS)


WIDE = Surrogate("arctan", 0.4, 0.2)


def test_a_deep_network_that_forgets_which_samples_are_alike_is_told():
    model = network(depth=16)
    found = diagnose(model, in_classes())
    (finding,) = (f for f in found.findings if f.kind == "inputs alike")
    assert 3 < int(finding.layer.removeprefix("lif")) < 16
    assert "depends no longer on which two they are" in finding.sentence
    assert f'"balanced", steps={STEPS}' in finding.remedy
    later = [f for f in mended(model, finding, in_classes()).findings if f.kind == "inputs alike"]
    assert not later or int(later[0].layer[3:]) > int(finding.layer[3:])  # depth itself remains
    assert "inputs alike" not in kinds(diagnose(network(depth=3), in_classes()))


def test_samples_that_make_the_same_spikes_are_told():
    model = network(depth=3, bias=True)
    with torch.no_grad():  # biases alone drive the second layer
        model.linear2.weight.mul_(0.001)
        torch.nn.init.normal_(model.linear2.bias, 0, 1.5, generator=seeded(7))
    found = diagnose(model)
    (finding,) = (f for f in found.findings if f.kind == "inputs alike")
    assert finding.layer == "lif2" and "of their spikes in common" in finding.sentence
    assert "inputs alike" not in kinds(mended(model, finding))


def test_gradients_without_anything_in_common_are_told():
    """The same weights and depth: a narrow surrogate has it, a wide one has not."""
    batch = constant(torch.randn(48, WIDTH, generator=seeded(8)), STEPS)
    narrow, wide = (
        diagnose(network(depth=12, surrogate=form), batch, gradient=True)
        for form in (Surrogate("arctan", 1.4, 2.0), WIDE)
    )
    (finding,) = (f for f in narrow.findings if f.kind == "gradients apart")
    assert 1 <= int(finding.layer.removeprefix("lif")) < 12
    assert "nothing in common" in finding.sentence and '"balanced"' in finding.remedy
    assert "gradients apart" not in kinds(wide)


def test_the_remedy_makes_gradients_agree():
    batch = constant(torch.randn(48, WIDTH, generator=seeded(8)), STEPS)
    model = network(depth=12, surrogate=Surrogate("arctan", 1.4, 2.0))
    assert "gradients apart" in kinds(diagnose(model, batch, gradient=True))
    found = diagnose(model, batch, gradient=True)
    finding = found.findings[kinds(found).index("gradients apart")]
    assert "gradients apart" not in kinds(mended(model, finding, batch, gradient=True))
