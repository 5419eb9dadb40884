"""The recommended call: what learns stays bit for bit, what cannot learn is drawn."""

import html
import math

import pytest
import torch
from torch import nn

from snnlib import data, probe, training
from snnlib.experiments.ordinary import ORDINARY, ordinary
from snnlib.init import initialize_
from snnlib.init.pairing import pair
from snnlib.init.readout import RATE, SILENT, mean_rate
from snnlib.init.recommended import LEARNS, learning
from snnlib.networks import constant, mlp
from snnlib.neurons import LIF
from snnlib.surrogate import Surrogate


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


EXAMPLE = constant(torch.rand(24, 50, generator=seeded()), 4)


def stack(depth, threshold=0.9, leak=0.6):
    sizes = [50, *[60] * (depth - 1), 10]
    return mlp(sizes, encode=False, init=None, bias=True, threshold=threshold, leak=leak,
               generator=seeded(1))  # fmt: skip


def kept(network):
    return {name: value.clone() for name, value in network.state_dict().items()}


def test_the_share_is_adams_first_step_over_its_learning_rate():
    """Against torch's Adam, entry by entry: |step|/η, its mean over the entries of a weight."""
    network, rate = stack(3), 1e-3
    found = learning(network, pair(network), EXAMPLE, epsilon=1e-4, seed=3)
    before = kept(network)
    z = torch.randn(10, generator=seeded(3))
    ((network(EXAMPLE) * z).sum() / 24).backward()
    torch.optim.Adam(network.parameters(), lr=rate, eps=1e-4).step()
    after = network.state_dict()
    assert set(found.shares) == {"linear1", "linear2", "linear3"}
    for name, share in found.shares.items():
        moved = (after[f"{name}.weight"] - before[f"{name}.weight"]).abs().double().mean()
        assert float(moved) / rate == pytest.approx(share, rel=1e-3, abs=1e-6)


def test_coherence_is_the_cosine_of_the_gradients_of_two_halves():
    network = stack(2)
    found = learning(network, pair(network), EXAMPLE, seed=4)
    z, halves = torch.randn(10, generator=seeded(4)), []
    for part in (EXAMPLE[:, :12], EXAMPLE[:, 12:]):
        network.zero_grad()
        (network(part) * z).sum().backward()
        halves.append(
            torch.cat([w.weight.grad.flatten() for w in (network.linear1, network.linear2)])
        )
    expected = torch.cosine_similarity(*halves, dim=0)
    assert found.coherence == pytest.approx(float(expected), rel=1e-4)
    assert math.isnan(learning(network, pair(network), 0 * EXAMPLE).coherence)


def test_what_learns_is_left_bit_for_bit_although_layers_are_silent():
    network = stack(3)
    before, random = kept(network), torch.get_rng_state()
    report = initialize_(network, example=EXAMPLE)
    torch.testing.assert_close(kept(network), before, rtol=0, atol=0)
    assert torch.equal(random, torch.get_rng_state())
    assert report.method == "recommended" and all(row.gain is None for row in report)
    assert report.said.startswith("Nothing needs to be done: the network is silent on the first")
    assert "trains anyway" in report.said and report.said in str(report)


def test_what_cannot_learn_is_drawn_and_learns():
    network = stack(12)
    assert learning(network, pair(network), EXAMPLE).share < LEARNS
    report = initialize_(network, example=EXAMPLE, generator=seeded(2))
    assert report.said.startswith("The network cannot learn") and "Drawn anew, it" in report.said
    assert all(row.gain is not None for row in report[:-1]) and report[-1].gain is None
    assert not [row.note for row in report if "scaled by" in row.note]  # what fires is not
    assert learning(network, pair(network), EXAMPLE).learns
    layers = [module for module in network.modules() if isinstance(module, LIF)]
    assert all(mean_rate(network, layer, EXAMPLE) > SILENT for layer in layers)


def test_a_silence_behind_a_silence_is_drawn_although_the_gradient_gets_through():
    network = stack(4)
    found = learning(network, pair(network), EXAMPLE)
    assert found.share >= LEARNS and len(found.silent) >= 2 and not found.learns
    assert "which wake one after the other" in found.verdict
    assert "Drawn anew" in initialize_(network, example=EXAMPLE, generator=seeded()).said
    assert not learning(network, pair(network), EXAMPLE).silent


def test_sharp_surrogates_of_drawn_layers_are_widened_and_reported():
    network = stack(12, threshold=0.5)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Linear):
                module.weight.mul_(0.1)
    network.lif3.surrogate = Surrogate("triangular", sharpness=0.2)
    report = initialize_(network, example=EXAMPLE, generator=seeded(), layers={"linear5": None})
    assert network.lif1.surrogate == Surrogate("arctan", sharpness=0.5)  # WIDE over the threshold
    assert network.lif3.surrogate == Surrogate("triangular", sharpness=0.2)  # wide enough
    assert network.lif5.surrogate == Surrogate("arctan")  # left as asked
    assert network.lif12.surrogate == Surrogate("arctan", sharpness=0.5)  # the output
    assert "surrogate widened to sharpness 0.25/θ" in report[0].note
    assert "widened" in report[-1].note and report[-1].gain is None
    assert "widened" not in report[2].note + report[4].note


def test_what_is_silent_although_it_was_drawn_is_scaled():
    """Behind a norm with a small scale Eq. 10 helps nobody; a scale of the weights neither."""

    class Damped(nn.Module):
        def __init__(self):
            super().__init__()
            self.rows = stack(9)
            self.factor = 1e-4

        def forward(self, x):
            for name, module in self.rows.named_children():
                x = self.factor * module(x) if name == "linear4" else module(x)
            return x

    network = Damped()
    report = initialize_(network, example=EXAMPLE, generator=seeded(2))
    row = next(row for row in report if row.layer == "rows.linear4")
    assert "silent, scaled by" in row.note
    rate = mean_rate(network, network.rows.lif4, EXAMPLE)
    assert 0.8 * RATE <= rate <= 1.25 * RATE
    weight = network.rows.linear4.weight.detach().double()
    assert row.gain == pytest.approx(60 * float(weight.square().mean()), rel=1e-6)


def test_exceptions_count_where_the_network_is_drawn():
    network = stack(12)
    before = kept(network)
    rows = initialize_(network, example=EXAMPLE, layers={"linear2": None, "linear3": "kaiming"})
    assert rows[1].gain is None and torch.equal(network.linear2.weight, before["linear2.weight"])
    assert rows[2].gain == pytest.approx(2.0)


def quiet_output(threshold):
    """Hidden neurons that fire, and an output whose threshold its currents hardly reach."""
    network = stack(3, threshold=0.3)
    network.lif3 = LIF(threshold=threshold, leak=0.6)
    return network


def test_an_output_that_counts_no_spike_is_left_where_the_network_learns():
    """Judged by training: woken, it learned less on networks of the suite."""
    network = quiet_output(3.0)
    before = kept(network)
    assert mean_rate(network, network.lif3, EXAMPLE) == 0
    report = initialize_(network, example=EXAMPLE)
    assert report.said.startswith("Nothing needs to be done")
    torch.testing.assert_close(kept(network), before, rtol=0, atol=0)


class Pools(nn.Module):
    """The largest of 16 currents drives neurons with a low threshold."""

    def __init__(self, bias=True, threshold=0.0):
        super().__init__()
        self.conv = nn.Conv2d(1, 20, 3, padding=1, bias=bias)
        self.pool, self.lif = nn.MaxPool2d(4), LIF(threshold=threshold, leak=0.9)
        self.fc, self.out = nn.Linear(20 * 9, 10), LIF(threshold=0.1, leak=0.9)

    def forward(self, x):
        current = self.pool(self.conv(x.flatten(0, 1))).unflatten(0, x.shape[:2])
        return self.out(self.fc(self.lif(current).flatten(2)))


def pools(**settings):
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return Pools(**settings)


IMAGES = torch.randn(5, 7, 1, 12, 12, generator=seeded(4))


@pytest.mark.parametrize("method", [None, "micheli2024", "kaiming"])
def test_a_mean_that_max_pooling_adds_does_not_saturate(method):
    network = pools()
    if method is None:
        assert mean_rate(network, network.lif, IMAGES) > 0.9
    report = initialize_(network, method, example=IMAGES, generator=seeded(1))
    for layer in (network.lif, network.out):
        assert 0.05 < mean_rate(network, layer, IMAGES) < 0.9
    assert "max pooling shifts its currents by" in report[0].note
    assert "its bias shifts them back" in report[0].note
    if method is None:
        assert "conv shifts back what max pooling shifted" in report.said
    # The mean is gone, by a bias that all channels share beside the one that they had.
    current = network.pool(network.conv(IMAGES.flatten(0, 1)))
    assert abs(float(current.mean())) < 1e-4 * float(current.std())
    moved = network.conv.bias - (pools().conv.bias if method is None else 0)
    assert float(moved.detach().std()) < 1e-5 * abs(float(moved.mean()))


def test_without_a_bias_the_report_says_what_is_missing():
    network = pools(bias=False)
    before = kept(network)
    report = initialize_(network, example=IMAGES)
    torch.testing.assert_close(kept(network), before, rtol=0, atol=0)
    assert "there is no bias to shift them back: give it one" in report[0].note
    for settings in ({"bias": "keep"}, {"layers": {"conv": None}}):
        network = pools()
        report = initialize_(network, example=IMAGES, **settings)
        assert torch.equal(network.conv.bias, pools().conv.bias) and not report[0].note.count("max")


@pytest.mark.parametrize(
    "settings", [{}, {"example": EXAMPLE, "rate": 0.2}, {"example": EXAMPLE, "readout": "draw"}]
)
def test_without_a_method_an_example_is_needed_and_no_setting_is_taken(settings):
    network = stack(3)
    with pytest.raises(ValueError, match="method must be named where settings"):
        initialize_(network, **settings)


def test_a_frozen_network_has_nothing_to_learn():
    network = stack(3).requires_grad_(False)
    report = initialize_(network, example=EXAMPLE)
    assert report[0].note.startswith("left as it is: frozen")
    assert "has no weight that is trained" in report.said


def test_a_diagnosis_tells_silence_from_inability():
    trains = probe.diagnose(stack(3), EXAMPLE, networks=0)
    assert "dead" in {f.kind for f in trains.findings} or trains.findings
    assert "silent on the first pass" in trains.verdict and trains.verdict in str(trains)
    cannot = probe.diagnose(stack(12), EXAMPLE, networks=0)
    assert "cannot learn" in cannot.verdict
    assert "snnlib.init.initialize_(model, example=batch)" in cannot.verdict
    assert html.escape(cannot.verdict) in cannot._repr_html_()
    assert '"micheli2024"' in cannot.findings[0].remedy  # verdict and finding: one method
    assert cannot.verdict.endswith('draws it anew, by "micheli2024".')
    own = probe.diagnose(stack(3), EXAMPLE, networks=0, loss=lambda y: 1e-12 * y.sum())
    assert "cannot learn" in own.verdict  # by the loss that it is trained with
    assert probe.diagnose(stack(3), EXAMPLE, gradient=False, networks=0).verdict == ""


LIBRARIES = {"snnTorch": "snntorch", "SpikingJelly": "spikingjelly", "Norse": "norse"}


def test_recommended_trains_what_is_dead_and_leaves_what_trains():
    """Networks of the suite, of which two are trained; orderings only."""
    samples = data.load("digits", standardize=False).take(640)
    found, same, dead = {}, {}, ("ours, 10 layers", "SpikingJelly MLP, 6 layers")
    for name in (*dead, "SpikingJelly SEW"):
        pytest.importorskip(LIBRARIES.get(name.split()[0], "snnlib"))
        own = ORDINARY[name]
        settings = {"steps": own.steps, "loss": own.loss}
        for called in (False, True):
            network = ordinary(name, seed=1)
            before = kept(network)
            if called:
                example = constant(samples.inputs[:64], own.steps)
                initialize_(network, example=example, generator=seeded(3))
            same[name] = all(
                torch.equal(value, before[key]) for key, value in network.state_dict().items()
            )
            if name in dead:
                training.fit(network, samples, epochs=3, batch_size=20, learning_rate=3e-3,
                             progress=False, **settings)  # fmt: skip
                found[name, called] = training.evaluate(network, samples, **settings).accuracy
    assert same == dict.fromkeys(dead, False) | {"SpikingJelly SEW": True}
    for name in dead:
        assert found[name, True] > found[name, False] + 0.05
