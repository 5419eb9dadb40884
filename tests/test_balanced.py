"""Weights and surrogate together: "balanced" against networks, its scaling, and what it refuses."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from snnlib import init, meanfield, networks
from snnlib.init import initialize_
from snnlib.meanfield.balance import gain_to_the_top, stack_at_rate
from snnlib.neurons import LIF
from snnlib.surrogate import Surrogate

NEURON = {"leak": 0.7, "threshold": 0.8}
WIDTH = 300
TOP = {depth: {f"linear{depth}": {}} for depth in (3, 5)}  # draws the last weight too


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def network_of(depth=6, width=WIDTH, **settings):
    return networks.mlp([width] * (depth + 1), encode=False, init=None, **NEURON | settings)


def measured(network, inputs, top):
    """Rate of every layer, and Σ (dL/du)² and coherence of the gradients of its currents."""
    currents, rates = [], []
    for layer in network:
        if isinstance(layer, LIF):
            layer.register_forward_pre_hook(lambda _, args: currents.append(args[0]))
            layer.register_forward_hook(lambda _, args, out: rates.append(out.mean().item()))
    out = network(inputs)
    gradients = torch.autograd.grad(out, currents, top.expand_as(out))
    sizes, coherence = [], []
    for gradient in gradients:
        flat = gradient.transpose(0, 1).flatten(1).double()
        gram = flat @ flat.T
        own, count = float(gram.trace()), len(gram)
        sizes.append(own)
        coherence.append((float(gram.sum()) - own) / (count - 1) / own)
    return np.array(rates), np.array(sizes), np.array(coherence)


@pytest.mark.parametrize("detach", [True, False])
def test_networks_are_as_the_report_says(detach):
    """Means over 8 networks; standard errors about 0.004, 12 % and 0.02."""
    found = []
    for k in range(8):
        draw = seeded(k)
        network = network_of(5, detach_reset=detach)
        inputs = torch.randn(16, WIDTH, generator=draw)
        report = initialize_(
            network,
            "balanced",
            steps=4,
            generator=draw,
            example=inputs.expand(4, -1, -1),
            layers=TOP[5],
        )
        top = torch.randn(WIDTH, generator=draw)
        found.append(measured(network, inputs.expand(4, -1, -1), top))
    rates, sizes, coherence = (np.mean(values, 0) for values in zip(*found, strict=True))
    assert np.abs(rates - [row.rate for row in report]).max() < 0.025
    assert abs(rates[-1] - 0.2) < 0.025
    predicted = np.array([row.gradient for row in report])
    assert np.abs(np.log(sizes / sizes[-1] / predicted)).max() < 0.45
    assert abs(predicted[0] - 1) < 0.01
    assert abs(coherence[0] - report[0].coherence) < 0.06
    assert report[0].coherence == pytest.approx(0.1, abs=0.02) or (
        report[0].surrogate.sharpness * NEURON["threshold"] == pytest.approx(1)
    )


def test_thresholds_are_units():
    """θ, weights, width, height and learning rate scale together, layer by layer."""
    scaled = [0.8, 2.4, 0.4]
    plain = initialize_(network_of(3, threshold=1.0), "balanced", steps=3, layers=TOP[3])
    report = initialize_(network_of(3, threshold=scaled), "balanced", steps=3, layers=TOP[3])
    for row, base, unit in zip(report, plain, scaled, strict=True):
        assert row.std == pytest.approx(unit * base.std)
        assert row.learning_rate == pytest.approx(unit * base.learning_rate)
        assert row.surrogate.sharpness == pytest.approx(base.surrogate.sharpness / unit)
        assert row.surrogate.dampening == pytest.approx(base.surrogate.dampening / unit)
        assert (row.gradient, row.coherence) == (base.gradient, base.coherence)


def test_the_surrogate_is_set_and_narrower_where_few_layers_are():
    networks_ = {
        depth: network_of(depth, width=20, surrogate=Surrogate("gaussian")) for depth in (2, 9)
    }
    reports = {d: initialize_(n, "balanced", steps=2) for d, n in networks_.items()}
    shallow, deep = (reports[d][0].surrogate for d in (2, 9))
    assert shallow.sharpness > deep.sharpness
    for depth, network in networks_.items():
        for row in reports[depth][:-1]:
            assert network.get_submodule(row.drives).surrogate == row.surrogate
            assert row.surrogate.shape == "gaussian"
    assert "learning rate" in str(reports[2]) and "coherence" in str(reports[2])


def test_convolutions_are_drawn_and_others_do_not_get_the_columns():
    model = nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1), LIF(), nn.Conv2d(6, 8, 3, padding=1), LIF()
    )
    report = initialize_(model, "kaiming", generator=seeded())
    assert "coherence" not in str(report) and report[0].gradient is None

    class Steps(nn.Module):
        def __init__(self):
            super().__init__()
            self.parts = model

        def forward(self, x):
            for part in self.parts:
                is_weight = isinstance(part, nn.Conv2d)
                x = part(x.flatten(0, 1)).unflatten(0, x.shape[:2]) if is_weight else part(x)
            return x

    x = torch.randn(3, 4, 2, 8, 8, generator=seeded())
    report = initialize_(Steps(), "balanced", steps=3, example=x, layers={"parts.2": {}})
    assert [row.fan_in for row in report] == [18, 54]
    assert report[1].gain == pytest.approx(init.gain("balanced", steps=3, depth=2))
    square = x.double().square().mean().item()
    assert report[0].gain == pytest.approx(report[1].gain * 0.2 / square)


def test_a_gain_to_the_top_is_that_of_the_fixed_point():
    deep = gain_to_the_top(0.2, steps=4, depth=12, leak=0.5)
    fixed = meanfield.gain_for_rate(0.2, leak=0.5, threshold=1.0, steps=4)
    assert abs(deep / fixed - 1) < 0.05
    assert stack_at_rate(deep, 0.2, steps=4, depth=12, leak=0.5).rate.shape == (12, 4)


def test_many_steps_without_leak_are_not_refused():
    """The first steps of high layers are silent there, and the readout has spikes all the same."""
    found = init.gain("balanced", steps=16, depth=4, leak=1.0)
    assert 2 < found < 6.03


def test_the_report_says_from_where_on_inputs_are_not_told_apart():
    shallow, deep = (
        initialize_(network_of(depth, width=60), "balanced", steps=2) for depth in (3, 12)
    )
    assert not any("told" in row.note or "tells" in row.note for row in shallow)
    [at] = [k for k, row in enumerate(deep) if "tells inputs apart" in row.note]
    told = [row.told_apart for row in deep if row.told_apart is not None]
    assert told[0] == 1 and told[at] < 60**-0.5 < told[at - 1]
    scale = -1 / math.log(told[1])
    assert told == pytest.approx([math.exp(-k / scale) for k in range(len(told))])
    gain = init.gain("balanced", steps=2, depth=11, leak=0.7)
    expected = meanfield.depth_scale(1.0, leak=0.7, steps=2, gain=gain)
    assert scale == pytest.approx(expected, rel=0.1)
    assert "told apart" in str(deep)


class Skip(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc, self.lif = nn.Linear(30, 30), LIF()

    def forward(self, x):
        return x + self.lif(self.fc(x))


@pytest.mark.parametrize(
    ("network", "settings", "says"),
    [
        (lambda: network_of(2), {}, "steps is needed"),
        (lambda: network_of(2), {"steps": 2.5}, "steps must be"),
        (lambda: network_of(2), {"steps": 2, "rate": 0.6}, "rate must be in"),
        (lambda: network_of(9), {"steps": 1, "rate": 0.02}, "rate must be one that lasts"),
        (lambda: network_of(2), {"steps": 2, "coherence": 1.5}, "coherence must be"),
        (lambda: network_of(3, leak=[0.5, 0.9, 0.9]), {"steps": 2}, "one leak"),
        (
            lambda: nn.Sequential(nn.Linear(30, 30), LIF(), Skip(), Skip(), Skip()),
            {"steps": 2, "example": torch.ones(2, 3, 30)},
            "needs a chain",
        ),
    ],
)
def test_what_it_cannot_do_is_refused_and_nothing_changes(network, settings, says):
    model = network()
    before = [p.clone() for p in model.parameters()]
    with pytest.raises(ValueError, match=says):
        initialize_(model, "balanced", **settings)
    assert all(map(torch.equal, before, model.parameters()))
    assert math.isfinite(sum(float(p.sum()) for p in before))
