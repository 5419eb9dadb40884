"""Neurons of no library: declared in a line, by a mapping, or read off their responses."""

import pytest
import torch
from torch import nn

import snnlib
from snnlib import dialects, probe
from snnlib.init import initialize_
from snnlib.neurons import LIF

STEPS, SAMPLES = 8, 6


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def step(u):
    soft = (2 * u + 0.5).clamp(0, 1)
    return (u > 0).float() + soft - soft.detach()


class Private(nn.Module):
    """One call is one step; the input is scaled by 0.3, and the state forgets by `forget`."""

    def __init__(self, vth=0.7, keep=0.6):
        super().__init__()
        self.vth, self.keep, self.u = vth, nn.Parameter(torch.tensor(keep)), None

    def reset(self):
        self.u = None

    def forward(self, x):
        self.u = 0.3 * x if self.u is None else self.keep * self.u + 0.3 * x
        fired = step(self.u - self.vth)
        self.u = self.u - self.vth * fired.detach()
        return fired


class Resonant(Private):
    """Not an integrate-and-fire neuron: an input counts with changing sign."""

    def forward(self, x):
        self.u = 0.3 * x if self.u is None else -0.8 * self.u + 0.3 * x
        return step(self.u - self.vth)


def network(kind=Private) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(2)
        return nn.Sequential(nn.Linear(25, 120), kind(), nn.Linear(120, 120), kind(vth=1.1))


def batch() -> torch.Tensor:
    return torch.randn(STEPS, SAMPLES, 25, generator=seeded(1))


@pytest.fixture
def known():
    # "subtract_leak": the spike is taken off before the leak
    dialects.declare(Private, threshold="vth", leak="keep", reset="subtract_leak", input_gain=0.3)
    yield
    dialects.undeclare(Private)


def test_what_is_not_known_is_refused_by_name_with_the_line_that_helps():
    for call in (
        lambda: probe.diagnose(network(), batch()),
        lambda: initialize_(network(), "micheli2024", example=batch()),
    ):
        with pytest.raises(ValueError, match=r"Private \(at '1', '3'\)") as error:
            call()
        assert 'snnlib.dialects.declare(Private, threshold="vth"' in str(error.value)
        assert "trace(current)" in str(error.value)


def test_neurons_without_a_module_are_told_apart():
    class Functions(nn.Sequential):
        def forward(self, x):
            u = torch.zeros(())
            for current in x:
                u = 0.5 * u + self[0](current * (torch.rand_like(current) < 0.9))
            return step(u - 1)

    model = Functions(nn.Linear(25, 4))
    state = torch.get_rng_state()
    with pytest.raises(ValueError, match=r"by mere functions.*make each layer of neurons a module"):
        probe.diagnose(model, batch())
    assert torch.equal(state, torch.get_rng_state())


def test_a_declared_neuron_is_followed_spike_by_spike(known):
    model = network()
    initialize_(model, "micheli2024", example=batch(), generator=seeded(3))
    before = {k: v.clone() for k, v in model.state_dict().items()}
    found = probe.diagnose(model, batch(), networks=0)
    assert [layer.threshold for layer in found.layers] == pytest.approx([0.7, 1.1])
    assert found.layers[0].leak == pytest.approx(0.6)
    for layer in found.layers:
        assert not layer.note  # the recursion gives exactly the spikes that were sent
        assert torch.isfinite(layer.variance).all()
    # Unit variance at the first step: within 30 %, for 120 neurons and 6 samples.
    assert float(found.layers[0].variance[0]) == pytest.approx(1.0, rel=0.3)
    assert any("A gradient reaches 1.keep, 3.keep" in note for note in found.notes)
    assert model[1].u is None and all(
        torch.equal(v, before[k]) for k, v in model.state_dict().items()
    )
    model[1](torch.ones(3, 120))  # a stale state of another shape
    stale = model[1].u
    again = probe.diagnose(model, batch(), networks=0)
    assert torch.equal(again.layers[1].rate, found.layers[1].rate) and model[1].u is stale


def test_a_mapping_declares_for_one_call():
    readers = {
        Private: lambda m: {
            "threshold": m.vth,
            "leak": m.keep,
            "reset": "subtract_leak",
            "input_gain": 0.3,
        }
    }
    compiled = torch.compile(network(), backend="eager")
    report = initialize_(
        compiled, "micheli2024", example=batch(), generator=seeded(3), neurons=readers
    )
    assert report[0].gain * report[0].second_moment == pytest.approx(1 / 0.3**2)
    found = probe.diagnose(compiled, batch(), networks=0, neurons=readers)
    assert not any(layer.note for layer in found.layers)
    assert not dialects.is_spiking(Private())
    with pytest.raises(ValueError, match="neurons must be a dict from class to reader"):
        probe.diagnose(compiled, batch(), neurons=[Private])


@pytest.mark.parametrize("reset", ["subtract", "subtract_leak", "zero", "none"])
def test_constants_are_read_off_the_responses(reset):
    """To 1e-5 where they are known: leak 0.35, threshold 0.45, unit gain."""
    neuron = LIF(threshold=0.45, leak=0.35, reset=reset)
    found = dialects.estimate(neuron)
    assert found.good and found.reset == reset
    assert found.leak == pytest.approx(0.35, abs=1e-5)
    assert found.input_gain == pytest.approx(1.0, abs=1e-5)
    assert found.threshold == pytest.approx(0.45)


def test_an_input_gain_is_read_off_too_and_a_bad_fit_says_so():
    neuron = Private()
    neuron.u = torch.ones(5, 5)  # stale
    found = dialects.estimate(neuron)
    assert (found.good, found.reset) == (True, "subtract_leak")
    assert (found.leak, found.input_gain) == pytest.approx((0.6, 0.3), abs=1e-5)
    assert neuron.u.shape == (5, 5)
    assert not dialects.estimate(Resonant()).good
    with pytest.raises(ValueError, match="does not spike at any constant current"):
        dialects.estimate(Private(vth=1e9))


class Whole(nn.Module):
    """One call takes all steps, and an input counts half: u += (x - u) / tau."""

    def __init__(self, tau=2.0, thresh=0.8):
        super().__init__()
        self.tau, self.thresh = tau, thresh

    def forward(self, x):
        u, rows = torch.zeros_like(x[0]), []
        for current in x:
            u = u + (current - u) / self.tau
            rows.append(step(u - self.thresh))
            u = u * (1 - rows[-1].detach())
        return torch.stack(rows)


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        (Whole, 'threshold="thresh", leak=0.5, reset="zero", input_gain=0.5, sequence=True'),
        (Private, 'threshold="vth", leak=0.6, reset="subtract_leak", input_gain=0.3'),
        (Resonant, 'threshold="vth", leak=..., reset="zero", input_gain=...'),
    ],
)
def test_the_line_that_is_told_can_be_copied(kind, line):
    """Numbers are those of its responses; where they do not fit none are told."""
    model = nn.Sequential(nn.Linear(25, 120), kind(), nn.Linear(120, 120), kind())
    with pytest.raises(ValueError, match=rf"{kind.__name__} \(at '1', '3'\)") as error:
        probe.diagnose(model, batch(), networks=0)
    call = f"snnlib.dialects.declare({kind.__name__}, {line})"
    assert call in str(error.value)
    if "..." in line:
        return
    assert "of its spikes right" in str(error.value)
    try:
        exec(call, {"snnlib": snnlib, kind.__name__: kind})
        found = probe.diagnose(model, batch(), networks=0)
        for layer in found.layers:  # known where the recursion gives each spike that was sent
            assert torch.isfinite(layer.variance).all(), layer.note
        assert initialize_(model, example=batch(), generator=seeded(3)).said
    finally:
        dialects.undeclare(kind)


def test_no_input_gain_is_assumed_silently():
    """Where the gain is not declared it is estimated and said, or refused."""
    dialects.declare(Private, threshold="vth", leak=None, input_gain=None, reset="subtract_leak")
    dialects.declare(Resonant, threshold="vth", leak=None, input_gain=None)
    try:
        found = probe.diagnose(network(), batch(), networks=0)
        assert found.layers[0].gain is None and found.layers[0].predicted_rate is None
        assert "leak and input gain was not declared" in found.layers[0].note
        report = initialize_(network(), "micheli2024", example=batch(), generator=seeded(3))
        assert report[0].gain * report[0].second_moment == pytest.approx(1 / 0.3**2, rel=1e-4)
        assert "estimated from its responses: leak 0.6, input gain 0.3" in report[0].note
        model = network(Resonant)
        before = model[0].weight.clone()
        with pytest.raises(ValueError, match=r"input_gain of layer '1' is not known.*declare"):
            initialize_(model, "micheli2024", example=batch())
        assert torch.equal(before, model[0].weight)
    finally:
        dialects.undeclare(Private), dialects.undeclare(Resonant)


def test_wrong_declarations_are_refused(known):
    with pytest.raises(ValueError, match="reset must be one of"):
        dialects.declare(Private, threshold=1.0, reset="hard")
    with pytest.raises(ValueError, match=r"kind must be a class of torch\.nn\.Module"):
        dialects.declare(Private(), threshold=1.0)
    dialects.declare(Private, threshold="theta")
    with pytest.raises(ValueError, match="Private has no attribute 'theta'"):
        probe.diagnose(network(), batch())
