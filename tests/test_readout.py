"""The output layer is recognized, left, woken if silent, drawn if asked for; so frozen weights."""

import pytest
import torch
from torch import nn

from snnlib.init import initialize_
from snnlib.init.pairing import pair
from snnlib.init.readout import RATE, SILENT, mean_rate, readouts
from snnlib.neurons import LIF


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def counted(threshold: float = 0.7, leak: float = 0.6) -> nn.Module:
    """Two hidden layers and one whose spikes are counted."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        rows = [
            (nn.Linear(n, m), LIF(threshold=threshold, leak=leak))
            for n, m in ((20, 60), (60, 60), (60, 10))
        ]
    return nn.Sequential(*(module for row in rows for module in row))


EXAMPLE = 1.5 * torch.randn(5, 40, 20, generator=seeded(1))


class Membrane(nn.Module):
    """A recurrent snnTorch layer and a readout, spikes and potentials in the user's hands."""

    def __init__(self, reset="none", spikes=False):
        super().__init__()
        snn = pytest.importorskip("snntorch")
        self.fc1, self.fc2 = nn.Linear(20, 60), nn.Linear(60, 10)
        self.lif1 = snn.RLeaky(beta=0.6, linear_features=60)
        self.lif2 = snn.Leaky(beta=0.8, reset_mechanism=reset)
        self.spikes = spikes

    def forward(self, x):
        spikes, first = self.lif1.init_rleaky()
        second, made = self.lif2.init_leaky(), []
        for current in x:
            spikes, first = self.lif1(self.fc1(current), spikes, first)
            out, second = self.lif2(self.fc2(spikes), second)
            made.append(out if self.spikes else second)
        return torch.stack(made)


def whys(network, example):
    return {
        name: own.why for name, own in readouts(network, pair(network, example), example).items()
    }


@pytest.mark.parametrize("example", [None, EXAMPLE])
def test_spikes_that_are_counted_make_a_readout_which_stays(example):
    network = counted()
    weight, bias = (p.detach().clone() for p in network[4].parameters())
    rows = initialize_(network, "micheli2024", example=example, generator=seeded())
    assert [row.gain is None for row in rows] == [False, False, True]
    assert "a readout, its spikes are only counted (rate 0." in rows[2].note
    assert torch.equal(network[4].weight, weight) and torch.equal(network[4].bias, bias)
    if example is not None:
        rate = mean_rate(network, network[5], example)
        assert rate > SILENT and f"(rate {rate:.3g} on the example)" in rows[2].note


def test_a_readout_is_drawn_if_asked_for_by_argument_or_by_name():
    for asked in ({"readout": "draw"}, {"layers": {"4": {}}}):
        network = counted()
        row = initialize_(network, "kaiming", example=EXAMPLE, generator=seeded(), **asked)[2]
        assert row.gain == pytest.approx(2.0)
        assert network[4].weight.detach().var() == pytest.approx(2 / 60, rel=5 * (2 / 600) ** 0.5)
    with pytest.raises(ValueError, match="readout must be 'keep' or 'draw', got 'leave'"):
        initialize_(counted(), "kaiming", readout="leave")


@pytest.mark.parametrize("example", [None, EXAMPLE])
def test_a_silent_readout_is_scaled_to_the_stated_rate(example):
    network = counted(threshold=1.3)
    with torch.no_grad():
        network[4].weight.mul_(1e-3)
        network[4].bias.zero_()
    before = network[4].weight.detach().clone()
    row = initialize_(network, "micheli2024", example=example, generator=seeded())[2]
    assert "silent: scaled by" in row.note
    ratio = network[4].weight.detach() / before
    assert float(ratio.std() / ratio.mean()) < 1e-5 and ratio.mean() > 10
    rate = mean_rate(network, network[5], EXAMPLE)
    # measured: to a fifth; predicted, for a constant input in the long run: the order
    low, high = (0.8, 1.25) if example is not None else (0.1, 4)
    assert low * RATE <= rate <= high * RATE
    assert row.gain is None


def test_a_readout_that_no_scale_wakes_keeps_its_weights():
    network = counted()
    with torch.no_grad():
        network[4].weight.zero_()
        network[4].bias.fill_(-1.0)
    row = initialize_(network, "micheli2024", example=EXAMPLE, generator=seeded())[2]
    assert not network[4].weight.any() and "(rate 0 on the example)" in row.note


def test_a_potential_that_is_read_makes_a_readout():
    """By the reset, or because the output does not depend on the spikes."""
    read, count = "a readout, its potential is read", "a readout, its spikes are only counted"
    assert whys(Membrane("none"), EXAMPLE) == {"fc2": read}
    assert whys(Membrane("subtract"), EXAMPLE) == {"fc2": read}
    assert whys(Membrane("zero", spikes=True), EXAMPLE) == {"fc2": count}
    network = Membrane("subtract")
    before = network.fc2.weight.detach().clone()
    with torch.no_grad():
        network.fc2.weight.mul_(1e-4)  # no spike, which nobody would count
    initialize_(network, "kaiming", example=EXAMPLE, generator=seeded())
    assert torch.equal(network.fc2.weight, before * 1e-4)


def test_spikes_that_reach_another_layer_make_no_readout():
    """Two layers of neurons in a row without weights between them, as behind a pooling."""
    network = nn.Sequential(
        nn.Linear(20, 30), LIF(), nn.Linear(30, 30), LIF(), nn.AvgPool1d(3), LIF(threshold=0.1)
    )
    network[4] = nn.Identity()
    assert whys(network, EXAMPLE) == {}


def test_weights_without_neurons_behind_them_stay_whatever_is_asked():
    network = nn.Sequential(nn.Linear(20, 30), LIF(), nn.Linear(30, 4))
    before = network[2].weight.detach().clone()
    row = initialize_(network, "kaiming", example=EXAMPLE, readout="draw")[1]
    assert row.note == "left as it is: drives no spiking layer"
    assert torch.equal(network[2].weight, before)


def test_one_layer_alone_is_not_an_output():
    network = nn.Sequential(LIF(), nn.Linear(9, 9), LIF())
    assert initialize_(network, "kaiming")[0].gain == pytest.approx(2.0)


def test_frozen_weights_and_biases_stay_and_are_reported():
    network = counted()
    network[0].weight.requires_grad_(False)
    network[2].bias.requires_grad_(False)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    rows = initialize_(network, "kaiming", example=EXAMPLE, generator=seeded())
    assert rows[0].gain is None and "left as it is: frozen" in rows[0].note
    after = network.state_dict()
    for name in ("0.weight", "0.bias", "2.bias"):
        assert torch.equal(after[name], before[name]), name
    assert not torch.equal(after["2.weight"], before["2.weight"])
    assert initialize_(network, "kaiming", layers={"0": {}})[0].gain == pytest.approx(2.0)
