"""Each remedy, executed as it is printed, heals the illness it is given for."""

import importlib

import pytest
import torch
from torch import nn

import snnlib
import snnlib.init
from snnlib import probe
from snnlib.neurons import LIF
from snnlib.probe.remedies import NOTHING

STEPS, SAMPLES = 6, 10


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def healed(model, batch, kind, **settings):
    """Run the remedy of the first finding, which must be `kind`; the layer is then free of it."""
    settings = {"networks": 0} | settings
    found = probe.diagnose(model, batch, **settings)
    finding = found.findings[0]
    assert finding.kind == kind, str(found)
    scope = {"model": model, "batch": batch, "snnlib": snnlib, "torch": torch}
    with torch.random.fork_rng():
        torch.manual_seed(7)
        exec(finding.remedy, scope)
    after = probe.diagnose(model, scope["batch"], **settings)
    left = [f for f in after.findings if (f.kind, f.layer) == (kind, finding.layer)]
    assert not left, str(after)
    return finding, after


def seq(*layers):
    with torch.random.fork_rng():
        torch.manual_seed(4)
        return nn.Sequential(*[layer() for layer in layers])


def images(*shape, seed=3):
    return torch.randn(STEPS, SAMPLES, *shape, generator=seeded(seed))


class Block(nn.Module):
    """A layer of weights, its normalization and neurons, over the steps at once."""

    def __init__(self, inside=120, outside=120, threshold=1.2, shift=0.0, scale=0.1):
        super().__init__()
        self.fc, self.norm = nn.Linear(inside, outside), nn.BatchNorm1d(outside)
        nn.init.constant_(self.norm.weight, scale)
        nn.init.constant_(self.norm.bias, shift)
        self.lif = LIF(threshold=threshold, leak=0.3)

    def forward(self, x):
        return self.lif(self.norm(self.fc(x).flatten(0, 1)).reshape(*x.shape[:2], -1))


def test_dead_behind_a_normalization():
    model = seq(lambda: Block(40, scale=1.0), Block, Block)
    finding, after = healed(model, images(40), "dead")
    assert finding.layer == "1.lif" and 'norms="scale"' in finding.remedy
    assert "not that of its weights" in finding.sentence
    assert all(float(layer.rate.mean()) > 0.02 for layer in after.layers[:2])
    finding, after = healed(model, images(40), "dead")  # the output, which is left otherwise
    assert finding.layer == "2.lif" and 'readout="draw"' in finding.remedy
    assert all(float(layer.rate.mean()) > 0.02 for layer in after.layers)


def test_dead_in_a_network_that_learns_draws_no_more_than_has_to_be():
    """Weights behind a normalization stay; they would only learn more slowly."""

    def quiet():
        model = seq(
            lambda: Block(40, scale=1.0),
            lambda: Block(scale=1.0),
            lambda: nn.Linear(120, 90),
            lambda: LIF(threshold=2.0, leak=0.3),
            lambda: nn.Linear(90, 10),
        )
        with torch.no_grad():
            model[2].weight.mul_(0.5)
        return model

    model, batch = quiet(), images(40)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    finding, after = healed(model, batch, "dead")
    assert finding.layer == "3" and 'layers={"2": {}, "*": None}' in finding.remedy
    assert float(after.layers[2].rate.mean()) > 0.02
    changed = {n for n, value in model.state_dict().items() if not torch.equal(value, before[n])}
    assert changed == {"2.weight", "2.bias"}
    # Without the gradient nobody knows whether it learns: the call is that for a dead network.
    whole = probe.diagnose(quiet(), batch, networks=0, gradient=False).findings[0]
    assert whole.kind == "dead" and "layers=" not in whole.remedy


def test_few_spikes_where_the_gradient_reaches_every_weight_ask_for_nothing():
    """Judged by training: drawn anew, such networks of the suite learned less."""

    def quiet(scale):
        model = seq(
            lambda: nn.Linear(40, 90),
            lambda: LIF(threshold=0.7, leak=0.85),
            lambda: nn.Linear(90, 12),
            lambda: LIF(threshold=0.4, leak=0.6, reset="none"),
        )
        with torch.no_grad():
            model[0].weight.mul_(scale)
        return model

    model, batch = quiet(0.17), torch.randn(STEPS, 60, 40, generator=seeded(3))
    found = probe.diagnose(model, batch, networks=0)
    assert found.learning.reached and 0 < float(found.layers[0].rate.mean()) < 0.01
    first = found.findings[0]
    assert (first.kind, first.layer, first.remedy) == ("weak input", "1", NOTHING)
    with torch.no_grad():
        model[0].weight.mul_(1.01)  # as training does
    again = probe.diagnose(model, batch, networks=0).findings
    assert again[0].remedy == NOTHING and "found before" not in again[0].sentence
    # Without the gradient nobody knows; a layer that never fires keeps its call.
    unknown = probe.diagnose(quiet(0.17), batch, networks=0, gradient=False).findings[0]
    assert unknown.kind == "weak input" and "initialize_(model" in unknown.remedy
    silent = probe.diagnose(quiet(0.02), batch, networks=0)
    assert not silent.learning.reached and silent.learning.silent == ("1",)
    assert "initialize_(model" in silent.findings[0].remedy


def test_a_potential_that_is_read_need_not_fire():
    model = seq(
        lambda: nn.Linear(40, 100),
        lambda: LIF(threshold=0.5, leak=0.3),
        lambda: nn.Linear(100, 60),
        lambda: LIF(threshold=9.0, leak=0.3, reset="none"),
    )
    found = probe.diagnose(model, images(40), networks=0)
    assert float(found.layers[1].rate.max()) == 0
    assert "dead" not in [f.kind for f in found.findings], str(found)


@pytest.mark.parametrize(("shift", "kind"), [(2.5, "positive drive"), (-1.6, "negative drive")])
def test_the_shift_of_a_normalization(shift, kind):
    model = seq(lambda: Block(40, shift=shift, scale=1.0))
    finding, _ = healed(model, images(40), kind)
    assert "the shift of 0.norm is their mean" in finding.sentence


def test_an_output_that_is_left_otherwise():
    """A saturated output: the call draws it too."""
    model = seq(
        lambda: nn.Linear(40, 100),
        lambda: LIF(threshold=0.5, leak=0.3),
        lambda: nn.Linear(100, 60),
        lambda: LIF(threshold=0.5, leak=0.3),
    )
    with torch.no_grad():
        model[2].bias.fill_(3.0)
        model[0].weight.mul_(2)
    finding, _ = healed(model, images(40), "positive drive")
    assert finding.layer == "3" and 'readout="draw"' in finding.remedy


def test_the_largest_of_several_currents():
    def conv():
        return nn.Conv2d(1, 30, 3)

    model = seq(
        lambda: nn.Flatten(0, 1),
        conv,
        lambda: nn.MaxPool2d(2),
        lambda: nn.Unflatten(0, (STEPS, SAMPLES)),
        lambda: LIF(threshold=0.6, leak=0.4),
    )
    finding, _ = healed(model, images(1, 12, 12), "positive drive")
    assert "max pooling between 1 and the layer shifts them" in finding.sentence
    model[1].bias = None
    finding, _ = healed(model, images(1, 12, 12), "positive drive")
    assert ".bias = torch.nn.Parameter(" in finding.remedy and model[1].bias is not None


class Mixed(nn.Module):
    """Products of spikes drive a layer: no weight scales them, and no data can be standardized."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(40, 40), nn.Linear(40, 40)
        self.one, self.two, self.mix = LIF(threshold=0.2), LIF(threshold=0.2), LIF(threshold=2.0)
        self.out, self.last = nn.Linear(40, 40), LIF(threshold=0.1)

    def forward(self, x):
        one, two = self.one(self.a(x)), self.two(self.b(x))
        return self.last(self.out(self.mix(0.004 * one @ two.transpose(-1, -2) @ two)))


def test_products_of_spikes_get_another_threshold():
    with torch.random.fork_rng():
        torch.manual_seed(4)
        model = Mixed()
    finding, after = healed(model, images(7, 40), "weak input")
    assert finding.layer == "mix" and "std" not in finding.remedy
    assert "a product of values (attention)" in finding.sentence
    assert float(after.layers[2].rate.mean()) > 0.005


def test_currents_bounded_by_construction_that_add_up_are_no_illness():
    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.lif, self.fc, self.out = LIF(leak=0.85), nn.Linear(30, 60), LIF(threshold=0.2)

        def forward(self, x):
            return self.out(self.fc(self.lif(torch.exp(-x.square()))))

    with torch.random.fork_rng():
        torch.manual_seed(4)
        model = Encoder()
    found = probe.diagnose(model, images(30), networks=0)
    assert "weak input" not in [f.kind for f in found.findings], str(found)


def test_data_that_no_weight_scales_are_standardized():
    model = seq(lambda: LIF(leak=0.2), lambda: nn.Linear(30, 50), lambda: LIF(threshold=0.2))
    finding, _ = healed(model, 0.4 * torch.rand(STEPS, SAMPLES, 30), "weak input")
    assert "batch.std()" in finding.remedy


# --- constants ------------------------------------------------------------------------------------


def test_a_step_longer_than_a_time_constant():
    norse = pytest.importorskip("norse.torch")
    p = norse.LIFParameters(tau_syn_inv=torch.tensor(250.0), tau_mem_inv=torch.tensor(60.0))
    model = norse.SequentialState(
        nn.Linear(20, 30),
        norse.LIFCell(p=p, dt=0.007),
        nn.Linear(30, 5),
        norse.LIFCell(p=p, dt=0.007),
    )
    batch = 20 * torch.rand(STEPS, SAMPLES, 20, generator=seeded(1))
    finding, _ = healed(model, batch, "unstable constant")
    assert "dt = 0.007 is 1.75 times the time constant 0.004 of its synapse" in finding.sentence
    assert "the same holds for 3" in finding.sentence and "dt < 0.004" in finding.sentence
    assert model[1].dt == pytest.approx(0.8 * 0.004)


@pytest.mark.parametrize("learned", [False, True])
def test_the_shortest_time_constant_says_which_step_is_stable(learned):
    norse = pytest.importorskip("norse.torch")
    p = norse.LIFParameters(tau_syn_inv=torch.tensor(250.0), tau_mem_inv=torch.tensor(400.0))
    cell = norse.LIFCell(p=p, dt=0.007)
    if learned:
        cell.dt = nn.Parameter(torch.tensor(0.007))
    model = norse.SequentialState(nn.Linear(20, 30), cell)
    batch = 20 * torch.rand(STEPS, SAMPLES, 20, generator=seeded(1))
    finding, _ = healed(model, batch, "unstable constant")
    assert "2.8 times the time constant 0.0025 of its potential" in finding.sentence
    assert float(torch.as_tensor(cell.dt).detach()) == pytest.approx(0.8 * 0.0025)


def test_a_step_longer_than_resistance_times_capacity():
    snn = pytest.importorskip("snntorch")
    layer = snn.Lapicque(R=2.0, C=0.25, time_step=1.1, threshold=0.7, init_hidden=True)
    finding, _ = healed(nn.Sequential(nn.Linear(20, 30), layer), images(20), "unstable constant")
    assert "it keeps -1.2 of its potential at each step" in finding.sentence
    assert float(layer.time_step) == pytest.approx(0.8 * 2.0 * 0.25)


def test_no_prediction_stands_beside_an_unstable_constant():
    norse = pytest.importorskip("norse.torch")
    p = norse.LIFBoxParameters(tau_mem_inv=torch.tensor(300.0))
    model = norse.SequentialState(nn.Linear(20, 30), norse.LIFBoxCell(p=p, dt=0.005))
    found = probe.diagnose(model, images(20), networks=0)
    assert found.findings[0].kind == "unstable constant"
    assert found.layers[0].predicted_rate is None and "unstable" in found.layers[0].note


def test_a_learned_leak_that_left_its_range():
    snn = pytest.importorskip("snntorch")
    model = nn.Sequential(nn.Linear(20, 30), snn.Leaky(beta=0.9, learn_beta=True, init_hidden=True))
    with torch.no_grad():
        model[1].beta.fill_(1.3)
    finding, _ = healed(model, images(20), "unstable constant")
    assert "its beta = 1.3 left [0, 1] and counts as 1" in finding.sentence


def test_a_threshold_below_rest_and_buffers_that_are_no_numbers():
    snn = pytest.importorskip("snntorch")
    model = nn.Sequential(
        nn.Linear(20, 30), snn.Leaky(beta=0.9, learn_threshold=True, init_hidden=True)
    )
    with torch.no_grad():
        model[1].threshold.fill_(-0.2)
    finding, _ = healed(model, images(20), "unstable constant")
    assert "threshold -0.2 is below its potential at rest" in finding.sentence

    model = seq(lambda: Block(20, scale=1.0)).eval()
    model[0].norm.running_var[2] = torch.nan
    finding, _ = healed(model, images(20), "unstable constant")
    assert finding.layer == "0.norm" and "'running_var'" in finding.sentence


# --- what persists, and what is said once ---------------------------------------------------------


def test_a_finding_that_outlives_its_remedy_says_so():
    model = seq(lambda: nn.Linear(20, 200), lambda: LIF(threshold=1.0, leak=0.2))
    batch = images(20)
    with torch.no_grad():
        model[0].weight.mul_(1e-3)
    first = probe.diagnose(model, batch, networks=0)
    again = probe.diagnose(model, batch, networks=0)
    assert str(first) == str(again) and "found before" not in str(first)
    with torch.no_grad():
        model[0].weight.mul_(1.5)  # no remedy
    second = probe.diagnose(model, batch, networks=0)
    assert "it was found before the model was last changed" in second.findings[0].sentence
    assert str(second) == str(probe.diagnose(model, batch, networks=0))
    scope = {"model": model, "snnlib": snnlib, "batch": batch, "torch": torch}
    exec(second.findings[0].remedy, scope)  # another one
    assert float(probe.diagnose(model, batch, networks=0).layers[0].rate.mean()) > 0


def test_equal_layers_share_a_note():
    model = seq(*[lambda: Block(60, 60, scale=1.0)] * 7)
    found = probe.diagnose(model, images(60), networks=0)
    assert sum("take the scale" in note for note in found.notes) == 1
    assert "0.norm, 1.norm, 2.norm, ..., 6.norm (7)" in found.notes[0]


def test_the_note_on_steps_needs_a_loop_over_them():
    snn = pytest.importorskip("snntorch")

    class Inside(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.lif = nn.Linear(20, 40), snn.Leaky(beta=0.5)

        def forward(self, x):
            mem, out = self.lif.init_leaky(), []
            for _ in range(5):
                spikes, mem = self.lif(3 * self.fc(x), mem)
                out.append(spikes)
            return torch.stack(out)

    found = probe.diagnose(Inside(), torch.randn(9, 20, generator=seeded()), networks=0)
    assert not any("is read as" in note for note in found.notes)


@pytest.mark.parametrize("kind", ["LIFRecurrentCell", "LSNNRecurrentCell"])
def test_recurrent_cells_have_a_gradient(kind):
    """The derivative by the current: that of the input weights is its product with the input."""
    norse = importlib.import_module("norse.torch") if pytest.importorskip("norse") else None
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = norse.SequentialState(getattr(norse, kind)(12, 9), nn.Linear(9, 4))
    batch = (torch.rand(STEPS, 1, 12, generator=seeded(2)) < 0.4).float() * 8
    found = probe.diagnose(model, batch, networks=0)
    assert torch.isfinite(found.layers[0].gradient_variance).all()
    assert float(found.layers[0].gradient_variance.max()) > 0
    assert any("0.recurrent_weights" in note for note in found.notes)
