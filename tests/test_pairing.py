"""Pairing and running: any library, any loop over time, recurrent weights, nothing left behind."""

import copy
import importlib
import sys

import pytest
import torch
from torch import nn
from torch.nn import functional

from snnlib.dialects.running import resolve_time, run
from snnlib.init.pairing import Connection, pair
from snnlib.neurons import LIF

snn = pytest.importorskip("snntorch")
norse = pytest.importorskip("norse.torch")
sj = pytest.importorskip("spikingjelly.activation_based")
from spikingjelly.activation_based import functional as sj_functional  # noqa: E402
from spikingjelly.activation_based import layer, neuron  # noqa: E402


def data(scale: float = 8.0, seed: int = 0) -> torch.Tensor:
    return scale * torch.randn(4, 3, 10, generator=torch.Generator().manual_seed(seed))


def leaky(**settings):
    return snn.Leaky(beta=0.5, **settings)


def snntorch_sequential() -> nn.Module:
    return nn.Sequential(
        nn.Linear(10, 20),
        leaky(init_hidden=True),
        nn.Linear(20, 5),
        leaky(init_hidden=True, output=True),
    )


def spikingjelly_sequential(mode: str = "s") -> nn.Module:
    model = nn.Sequential(
        layer.Linear(10, 20), neuron.LIFNode(), layer.Linear(20, 5), neuron.IFNode()
    )
    sj_functional.set_step_mode(model, mode)
    return model


def norse_sequential() -> nn.Module:
    return norse.SequentialState(
        nn.Linear(10, 20), norse.LIFCell(), nn.Linear(20, 5), norse.LIFBoxCell()
    )


def norse_sequences() -> nn.Module:
    return norse.SequentialState(nn.Linear(10, 20), norse.LIF(), nn.Linear(20, 5), norse.LIF())


def ours() -> nn.Module:
    return nn.Sequential(nn.Linear(10, 20), LIF(), nn.Linear(20, 5), LIF())


MODELS = {
    "snnlib": (ours, "inside"),
    "snntorch": (snntorch_sequential, "outside"),
    "spikingjelly single-step": (spikingjelly_sequential, "outside"),
    "spikingjelly multi-step": (lambda: spikingjelly_sequential("m"), "inside"),
    "norse cells": (norse_sequential, "outside"),
    "norse sequences": (norse_sequences, "inside"),
}


def built(name: str) -> nn.Module:
    """A model whose second layer fires too."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = MODELS[name][0]()
    with torch.no_grad():
        model[2].weight.mul_(20)
    return model


def summary(connections: list[Connection]) -> list[tuple]:
    return [
        (c.name, [x.name for x in c.fed_by], [x.name for x in c.drives], c.recurrent)
        for c in connections
    ]


# --- one chain in every library -------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_a_chain_is_paired_with_and_without_an_example(name):
    time = MODELS[name][1]
    model, batch = built(name), data(30.0)
    expected = [("0", [], ["1"], False), ("2", ["1"], ["3"], False)]
    assert summary(pair(model)) == expected
    assert resolve_time(model, batch) == time
    first, second = pair(model, batch)
    assert summary([first, second]) == expected
    assert first.second_moment == pytest.approx(float(batch.square().mean()), rel=1e-6)
    assert first.mean == pytest.approx(float(batch.mean()), rel=1e-5)
    # Spikes: E[x²] = E[x], and many calls count like one.
    assert 0 < second.mean < 1 and second.mean == pytest.approx(second.second_moment)
    assert second.active == pytest.approx(second.mean * 4 * 3 * 20)
    assert (first.fan_in, first.fan_out, second.fan_in) == (10, 20, 20)
    assert first.afferents == ((10, False),) and second.afferents == ((20, False),)
    assert first.parameter is model[0].weight and first.bias is model[0].bias
    assert second.fed_by[0].threshold.item() == 1.0 == second.fed_by[0].height.item()


@pytest.mark.parametrize("name", MODELS)
def test_nothing_is_left_changed(name):
    """State, attributes and random numbers of a model that has already run."""
    time = MODELS[name][1]
    model, batch = built(name), data(30.0)
    out = model(batch[0] if time == "outside" else batch)
    parameters = copy.deepcopy(dict(model.named_parameters()))
    buffers = dict(model.named_buffers())
    values = {key: value.clone() for key, value in buffers.items()}
    memories = [dict(vars(m).get("_memories", {})) for m in model.modules()]
    attributes = [set(vars(m)) for m in model.modules()]
    random = torch.get_rng_state()
    pair(model, batch)
    run(model, batch)
    assert torch.equal(random, torch.get_rng_state())
    assert attributes == [set(vars(m)) for m in model.modules()]
    for key, value in model.named_buffers():
        assert value is buffers[key] and torch.equal(value, values[key])
    for kept, module in zip(memories, model.modules(), strict=True):
        assert all(vars(module)["_memories"][k] is v for k, v in kept.items())
    torch.testing.assert_close(dict(model.named_parameters()), parameters, rtol=0, atol=0)
    del out


@pytest.mark.parametrize("name", MODELS)
def test_running_starts_at_rest_and_gives_all_steps(name):
    """Against each library's own loop, from rest."""
    model, batch = built(name), data(30.0)
    model.requires_grad_(False)
    found = run(model, batch)
    if isinstance(found, tuple):  # snnTorch's output=True: spikes and potential
        found = found[0]
    assert found.shape == (4, 3, 5)
    assert torch.equal(found, run(model, batch)[0] if name == "snntorch" else run(model, batch))
    state, steps = None, []
    if name in ("snnlib", "spikingjelly multi-step", "norse sequences"):
        out = model(batch)
        steps = out[0] if isinstance(out, tuple) else out
    else:
        for x in batch:
            out = model(x, state) if name == "norse cells" else model(x)
            if isinstance(out, tuple):
                out, state = out
            steps.append(out)
    assert torch.equal(found, steps if isinstance(steps, torch.Tensor) else torch.stack(steps))
    assert found.any()


# --- recurrent weights ----------------------------------------------------------------------------


class Recurrent(nn.Module):
    """snnTorch's RLeaky in the loop of its tutorials."""

    def __init__(self):
        super().__init__()
        self.fc1, self.lif1 = nn.Linear(10, 20), snn.RLeaky(beta=0.5, linear_features=20)
        self.fc2, self.lif2 = nn.Linear(20, 5), leaky()

    def forward(self, x):
        spikes, potential = self.lif1.reset_mem()
        second = self.lif2.reset_mem()
        out = []
        for step in range(x.shape[0]):
            spikes, potential = self.lif1(self.fc1(x[step]), spikes, potential)
            fired, second = self.lif2(self.fc2(spikes), second)
            out.append(fired)
        return torch.stack(out)


def test_recurrent_weights_inside_a_neuron():
    expected = [
        ("fc1", [], ["lif1"], False),
        ("lif1.recurrent", ["lif1"], ["lif1"], True),
        ("fc2", ["lif1"], ["lif2"], False),
    ]
    by_order = pair(Recurrent())
    assert sorted(summary(by_order)) == sorted(expected)
    found = pair(Recurrent(), data())
    assert sorted(summary(found)) == sorted(expected)
    for c in (*by_order, *found):
        both = {(10, False), (20, True)}
        assert set(c.afferents) == (both if c.name != "fc2" else {(20, False)})
    (inner,) = (c for c in found if c.recurrent)
    assert 0 < inner.second_moment < 1


@pytest.mark.parametrize("kind", ["cell", "sequence"])
def test_recurrent_weights_without_a_module(kind):
    first = norse.LIFRecurrentCell(10, 20) if kind == "cell" else norse.LIFRecurrent(10, 20)
    last = norse.LIFCell() if kind == "cell" else norse.LIF()
    model = norse.SequentialState(first, nn.Linear(20, 5), last)
    expected = [
        ("0.input_weights", [], ["0"], False),
        ("0.recurrent_weights", ["0"], ["0"], True),
        ("1", ["0"], ["2"], False),
    ]
    assert summary(pair(model)) == expected
    found = pair(model, data(30.0))
    assert summary(found) == expected
    assert found[0].second_moment == pytest.approx(float(data(30.0).square().mean()), rel=1e-5)
    assert found[1].afferents == found[0].afferents == ((10, False), (20, True))
    assert found[1].parameter is first.recurrent_weights and found[1].bias is None


class ByHand(nn.Module):
    """Weights as parameters and a loop of one's own."""

    def __init__(self):
        super().__init__()
        self.first = nn.Parameter(torch.randn(10, 20))
        self.back = nn.Parameter(torch.randn(20, 20))
        self.readout = nn.Parameter(torch.randn(5, 20))
        self.lif = leaky()

    def forward(self, x):
        potential, spikes, out = self.lif.reset_mem(), torch.zeros(x.shape[1], 20), []
        for step in x:
            spikes, potential = self.lif(step @ self.first + spikes @ self.back.T, potential)
            out.append(functional.linear(spikes, self.readout))
        return torch.stack(out)


def test_weights_that_a_loop_multiplies_by_itself():
    model = ByHand()
    first, back, readout = pair(model, data())
    assert summary([first, back, readout]) == [
        ("first", [], ["lif"], False),
        ("back", ["lif"], ["lif"], True),
        ("readout", ["lif"], [], False),
    ]
    assert (first.fan_in, first.fan_out, first.transposed) == (10, 20, True)
    assert (back.transposed, readout.transposed, readout.fan_in) == (False, False, 20)
    with torch.no_grad():
        first.weight.fill_(2.0)  # [out, in], a view of the parameter
    assert first.weight.shape == (20, 10) and bool((model.first == 2).all())
    with pytest.raises(ValueError, match="at least one weight"):
        pair(model)


def test_containers_of_spikingjelly_and_groups():
    model = nn.Sequential(
        layer.Conv2d(4, 8, 3, groups=2, bias=False),
        neuron.LIFNode(),
        layer.Flatten(),
        layer.LinearRecurrentContainer(neuron.LIFNode(), 8 * 4, 8 * 4),
    )
    sj_functional.set_step_mode(model, "m")
    batch = 9 * torch.randn(5, 2, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    conv, rec = pair(model, batch)
    assert (conv.fan_in, conv.drives[0].name, conv.bias) == (2 * 9, "1", None)
    assert {x.name for x in rec.fed_by} == {"1", "3.sub_module"} and rec.recurrent


# --- who loops over time --------------------------------------------------------------------------


class OwnSteps(nn.Module):
    """A loop of the model's own length over a static input, as in snnTorch's tutorials."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif = nn.Linear(10, 5), leaky()

    def forward(self, x):
        potential, out = self.lif.reset_mem(), []
        for _ in range(7):
            spikes, potential = self.lif(self.fc(x), potential)
            out.append(spikes)
        return torch.stack(out), potential


class OneStep(nn.Module):
    """Flattens all but the first axis, so a batch over time does not fit."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif = nn.Linear(10, 5), leaky(init_hidden=True)

    def forward(self, x):
        return self.lif(self.fc(self.lif(x).flatten(1)))


class TwoInputs(OneStep):
    """Takes two sequences side by side."""

    def forward(self, x, y):
        return super().forward(x + y)


def test_auto_tells_who_loops_over_time():
    batch = data()
    assert resolve_time(OwnSteps(), batch[0]) == "inside"
    assert resolve_time(Recurrent(), batch) == "inside"
    assert resolve_time(Recurrent(), batch[:1]) == "inside"
    assert resolve_time(OneStep(), batch) == "outside"
    assert resolve_time(OneStep(), batch[:1]) == "outside"
    assert resolve_time(OneStep(), batch, "inside") == "inside"
    assert run(OwnSteps(), batch[0])[0].shape == (7, 3, 5)
    assert resolve_time(
        norse.SequentialState(norse.Lift(nn.Linear(10, 4)), norse.LIF()), batch
    ) == ("inside")


def test_bad_input_says_how_to_choose():
    with pytest.raises(ValueError, match="time must be 'auto', 'inside' or 'outside', got 'no'"):
        run(OneStep(), data(), time="no")
    with pytest.raises(ValueError, match='pass time="inside" if one call'):
        resolve_time(OneStep(), torch.zeros(2, 3, 11))
    with pytest.raises(ValueError, match="sequences and others that take single steps"):
        resolve_time(nn.Sequential(nn.Linear(10, 5), LIF(), leaky(init_hidden=True)), data())
    with pytest.raises(ValueError, match="one length T >= 1"):
        run(TwoInputs(), (data(), data()[:2]), time="outside")
    with pytest.raises(ValueError, match="at least one step"):
        resolve_time(OneStep(), data()[:0])
    with pytest.raises(ValueError, match=r"leaves open.*pass example="):
        pair(nn.Sequential(nn.Linear(10, 9), nn.Linear(9, 5), leaky(init_hidden=True)))
    with pytest.raises(ValueError, match=r"leaves open.*pass example="):
        pair(norse.SequentialState(nn.Linear(10, 9), norse.LIFRecurrentCell(9, 5)))


def test_the_old_place_of_run_still_works_and_says_where_it_is(monkeypatch):
    monkeypatch.delitem(sys.modules, "snnlib.running", raising=False)
    with pytest.warns(
        DeprecationWarning, match=r"snnlib\.running is snnlib\.dialects\.running now"
    ):
        running = importlib.import_module("snnlib.running")
    assert running.run is run and running.resolve_time is resolve_time
