"""Recurrent layers of ours in networks: read, paired, initialized, probed."""

import importlib

import pytest
import torch
from torch import nn

from snnlib import dialects, probe
from snnlib.init import initialize_
from snnlib.init.pairing import pair
from snnlib.networks import recurrent
from snnlib.neurons import LIF, AdaptiveLIF, RecurrentLIF, SpikingLSTM
from snnlib.surrogate import SHAPES, Surrogate


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def network(**settings):
    return nn.Sequential(
        nn.Linear(30, 40, bias=False),
        RecurrentLIF(40, **settings),
        nn.Linear(40, 20),
        RecurrentLIF(20, bias=True, **settings),
        nn.Linear(20, 5),
    )


def data(seed=0, steps=8, batch=16):
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(steps, batch, 30, generator=generator) < 0.3).float()


def test_reading():
    form = dialects.read(RecurrentLIF(3, threshold=0.5, leak=0.25, reset="multiplicative"))
    assert form.recurrent and form.sequence and form.library == "snnlib" and not form.why
    assert (form.threshold, form.leak, form.reset) == (0.5, 0.25, "multiplicative")
    assert not dialects.read(LIF()).recurrent


@pytest.mark.parametrize("example", [None, data()])
def test_pairing(example):
    found = pair(network(learn_threshold=True, threshold=torch.ones(1, 1)), example)
    assert sorted(
        (c.name, [x.name for x in c.fed_by], [x.name for x in c.drives], c.recurrent) for c in found
    ) == [
        ("0", [], ["1"], False),
        ("1.weight", ["1"], ["1"], True),
        ("2", ["1"], ["3"], False),
        ("3.weight", ["3"], ["3"], True),
        ("4", ["3"], [], False),
    ]
    by_name = {c.name: c for c in found}
    assert by_name["3.weight"].afferents == by_name["2"].afferents == ((40, False), (20, True))
    assert by_name["3.weight"].bias is not None and by_name["1.weight"].bias is None


def test_pairing_measures_the_spikes_that_come_back():
    model, batch = network(threshold=0.3, threshold_gradient="threshold_robust"), data()
    (connection,) = (c for c in pair(model, batch) if c.name == "1.weight")
    spikes = model[1].trace(model[0](batch)).spikes.detach()
    want = float(spikes[:-1].sum() / spikes.numel())
    assert connection.second_moment == connection.mean == pytest.approx(want)
    assert 0 < want < 1


@pytest.mark.parametrize("example", [None, data()])
def test_bellec_initialization(example):
    model = network()
    with torch.no_grad():
        model[3].bias.fill_(1.0)
    initialize_(model, "bellec2018", example=example, generator=torch.Generator().manual_seed(1))
    for layer in (model[1], model[3]):
        assert not layer.weight.diagonal().any()
        spread = layer.width * layer.weight.var().item()
        assert abs(spread - 1) < 5 * (2 / layer.width**2) ** 0.5 + 1 / layer.width
    assert not model[3].bias.any()


def test_rossbroich_initialization_splits_the_variance():
    """α = 0.8 of the potential's variance from the input weight, 0.2 from the recurrent one."""
    model = nn.Sequential(LIF(), nn.Linear(400, 300), RecurrentLIF(300, leak=0.8))
    initialize_(
        model,
        "rossbroich2022",
        rate=0.1,
        alpha=0.8,
        generator=torch.Generator().manual_seed(2),
    )
    total = (1 - 0.8**2) / 0.1
    for weight, share in ((model[1].weight, 0.8), (model[2].weight, 0.2)):
        gain = weight.shape[1] * weight.square().mean().item()
        assert abs(gain / (share * total) - 1) < 5 * (2 / weight.numel()) ** 0.5


@pytest.mark.parametrize("reset", ["subtract", "zero", "multiplicative"])
def test_probe_sees_the_trajectory_and_the_gradient(reset):
    model, batch = network(reset=reset, threshold=0.4).double(), data().double()
    loss = lambda output: output.square().sum()  # noqa: E731
    statistics = probe.record(model, batch, loss=loss)
    current = model[0](batch).detach().requires_grad_()
    trace = model[1].trace(current)
    torch.testing.assert_close(
        statistics.variance[0], trace.membrane.flatten(1).var(1, correction=0)
    )
    torch.testing.assert_close(statistics.rate[0], trace.spikes.mean((1, 2)))
    (gradient,) = torch.autograd.grad(loss(model[2:](trace.spikes)), current)
    assert gradient.any()
    rows = gradient.flatten(1)
    if reset == "multiplicative":  # the drive times leak (1 - x): seen where the gate is open
        rows = rows / model[1].leak
        closed = torch.cat([torch.zeros_like(trace.spikes[:1]), trace.spikes[:-1]]).flatten(1) > 0
        want = torch.stack([g[~c].var(correction=0) for g, c in zip(rows, closed, strict=True)])
    else:
        want = rows.var(1, correction=0)
    torch.testing.assert_close(statistics.gradient_variance[0], want)


def test_diagnosis_reads_recurrent_layers():
    text = str(probe.diagnose(network(threshold=0.4), data()))
    assert "it has recurrent weights" in text
    model = nn.Sequential(nn.Linear(30, 90), AdaptiveLIF(), nn.Linear(90, 300), LIF())
    nn.init.normal_(model[2].weight, std=0.4)
    found = probe.diagnose(model, 3 * data())
    assert "1: predicted by running the neurons themselves" in str(found)
    assert "(its threshold adapts)" in str(found)
    assert found.layers[1].predicted_rate is not None  # it goes on from there


# --- the stack of the paper ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("neuron", "kind"), [("lif", RecurrentLIF), ("alif", AdaptiveLIF), ("slstm", SpikingLSTM)]
)
@pytest.mark.parametrize("bias", [True, False])
def test_stack_is_its_layers_one_by_one(neuron, kind, bias):
    model = recurrent([30, 12, 9, 4], neuron=neuron, bias=bias, generator=seeded(1))
    assert [type(layer) for layer in model] == [nn.Linear, kind, nn.Linear, kind, nn.Linear]
    value = 4 * data()
    logits = model(value)
    for layer in model:
        value = layer(value)
        if layer is model.neurons2:
            assert value.any()
    torch.testing.assert_close(logits, value)
    assert logits.shape == (8, 16, 4)
    logits.square().sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    assert (model.readout.bias is not None) == bias
    again = recurrent([30, 12, 9, 4], neuron=neuron, bias=bias, generator=seeded(1))
    assert all(
        torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True)
    )


def test_stack_is_drawn_from_glorots_uniform_law():
    """Var[w] = 2/(n_in + n_out), the edge of the uniform law at √3 standard deviations."""
    for neuron in ("lif", "slstm"):
        model = recurrent([300, 200, 150, 20], neuron=neuron, generator=seeded(2))
        for layer in model:
            weight = layer.weight.detach()
            spread = (2 / sum(weight.shape)) ** 0.5
            assert weight.abs().max() <= 3**0.5 * spread
            values = weight if weight.diagonal().any() else weight[~torch.eye(len(weight)).bool()]
            error = (4 / 5 / values.numel()) ** 0.5  # of the mean square, kurtosis 9/5
            assert abs(values.square().mean() / spread**2 - 1) < 5.5 * error
        for name in ("linear1", "linear2", "readout"):
            assert not getattr(model, name).bias.any()


def test_stack_takes_settings_by_layer():
    model = recurrent(
        [30, 12, 9, 4],
        threshold=[0.5, 0.7],
        leak=0.9,
        reset="multiplicative",
        surrogate=Surrogate("exponential", 0.8, 2.0),
        self_connections=True,
        init="bellec2018",
        generator=seeded(3),
    )
    one, two = model.neurons1, model.neurons2
    assert (one.threshold, two.threshold, one.leak, two.leak) == (0.5, 0.7, 0.9, 0.9)
    assert one.reset == "multiplicative" and one.self_connections
    assert two.surrogate == Surrogate("exponential", 0.8, 2.0)
    assert recurrent([3, 4, 2], neuron="alif", adaptation=0.5).neurons1.adaptation == 0.5
    assert recurrent([3, 4, 2], neuron="slstm", activation="rising", init=None).neurons1.width == 4


@pytest.mark.parametrize(
    ("sizes", "settings", "message"),
    [
        ([3, 2], {}, "sizes must name inputs, at least one recurrent layer and classes"),
        ([3, 0, 2], {}, "sizes must be a positive integer, got 0"),
        ([3, 4, 2], {"neuron": "gru"}, "neuron must be one of 'lif', 'alif', 'slstm', got 'gru'"),
        ([3, 4, 2], {"leak": [0.5, 0.5]}, "leak must be one value or a list of 1"),
        ([3, 4, 2], {"neuron": "slstm", "init": "kaiming"}, "init must be 'glorot' or None"),
        ([3, 4, 2], {"init": "best"}, "method must be one of"),
    ],
)
def test_bad_stacks(sizes, settings, message):
    with pytest.raises(ValueError, match=message):
        recurrent(sizes, **settings)


def test_tail_fatness_in_every_neuron():
    """The q of the q-PseudoSpike reaches the gradient, and q = 2 is the fast sigmoid."""
    assert "q_pseudospike" in SHAPES
    current = 2 * torch.randn(5, 3, 8, generator=seeded(4), dtype=torch.float64)
    for make in (
        lambda **s: LIF(**s),
        lambda **s: RecurrentLIF(8, generator=seeded(5), **s),
        lambda **s: AdaptiveLIF(8, generator=seeded(5), **s),
        lambda **s: SpikingLSTM(2, generator=seeded(5), **s),
    ):
        found = []
        for surrogate in (
            *(Surrogate("q_pseudospike", 0.7, 1.5, tail) for tail in (2.0, 1.05, 16.85)),
            Surrogate("fast_sigmoid", 0.7, 1.5),
        ):
            value = current.clone().requires_grad_()
            make(surrogate=surrogate).double()(value).sum().backward()
            found.append(value.grad)
        torch.testing.assert_close(found[0], found[3], rtol=1e-12, atol=1e-12)
        assert not torch.allclose(found[0], found[1]) and not torch.allclose(found[0], found[2])


@pytest.mark.parametrize("layer", [RecurrentLIF(3), AdaptiveLIF(3), AdaptiveLIF()])
@pytest.mark.parametrize("library", ["snntorch", "spikingjelly", "norse", "nir"])
def test_conversions_do_not_drop_what_other_neurons_have(layer, library):
    module = importlib.import_module(f"snnlib.interop.{library}")
    pytest.importorskip(library if library != "norse" else "norse.torch")
    convert = module.to_nir if library == "nir" else module.from_snnlib
    what = "recurrent weights" if layer.recurrent else "adapts"
    message = f"{type(layer).__name__}.* cannot be .*: .*{what}"
    if library == "nir" and isinstance(layer, RecurrentLIF):
        message = 'must have reset="zero"'  # which is written with its recurrent weights
    with pytest.raises(ValueError, match=message):
        convert(layer, shape=(3,)) if library == "nir" else convert(layer)
