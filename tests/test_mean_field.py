"""The gain for a wanted rate as a method of initialization."""

import numpy as np
import pytest
import torch
from scipy.stats import t
from torch import nn

from snnlib import init, networks, probe
from snnlib.init import mean_field
from snnlib.meanfield import gain_for_rate
from snnlib.neurons import LIF

NEURON = {"leak": 0.5, "threshold": 1.0, "steps": 4}


def test_height_input_gain_and_data_scale_the_gain():
    base = gain_for_rate(0.2, **NEURON)
    assert init.gain("mean_field", rate=0.2, **NEURON) == base
    assert init.gain("mean_field", rate=0.2, height=2.0, input_gain=0.5, **NEURON) == base
    data = init.gain("mean_field", rate=0.2, input_second_moment=3.0, input_gain=0.5, **NEURON)
    assert data == pytest.approx(base * 0.2 / (0.25 * 3.0))


def test_deep_layers_fire_at_the_wanted_rate():
    """24 networks, layers 10-15, t test at level 1e-6: s.e. 1 %, so 10 % is caught."""
    rates = []
    for seed in range(24):
        draw = torch.Generator().manual_seed(seed)
        network = networks.mlp([300, *[400] * 16], init=None)
        batch = networks.constant(torch.randn(4, 300, generator=draw), 4)
        report = init.initialize_(
            network,
            "mean_field",
            **{"example": batch, "rate": 0.25, "steps": 4, "readout": "draw", "generator": draw},
        )
        rates.append(probe.record(network, batch, gradient=False).rate[10:].mean().item())
    error = np.std(rates, ddof=1) / np.sqrt(24)
    assert error < 0.012 * 0.25
    assert abs(np.mean(rates) - 0.25) < t.isf(5e-7, 23) * error
    assert report[0].rate == 0.25
    assert "mean_field" in str(report)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 4}, "rate is needed"),
        ({"rate": 0.2}, "steps is needed"),
        ({"rate": 0.7, "steps": 4}, r"rate must be in \(0, 1/2\)"),
        ({"rate": 0.02, "steps": 4}, "ask for a higher rate"),
    ],
)
def test_bad_settings_are_named_and_change_nothing(settings, message):
    network = nn.Sequential(LIF(), nn.Linear(30, 20), LIF())
    before = network[1].weight.clone()
    with pytest.raises(ValueError, match=message):
        init.initialize_(network, "mean_field", **settings)
    assert torch.equal(network[1].weight, before)


def test_a_leaky_neuron_with_many_steps_says_which_rates_last():
    with pytest.raises(ValueError, match="step 0 of 10 falls silent"):
        mean_field.gain(rate=0.1, steps=10, leak=0.9)
