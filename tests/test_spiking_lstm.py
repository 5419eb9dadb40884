"""The spiking LSTM: torch's LSTM with other activations, a plain loop, bad input."""

import copy
import itertools
import pickle

import pytest
import torch
from oracle import Spike
from torch import nn
from torch.func import grad
from torch.utils._pytree import tree_leaves

from snnlib.neurons import SpikingLSTM, SpikingLSTMState, SpikingLSTMTrace, spiking_lstm
from snnlib.surrogate import SHAPES, Surrogate


def plain(current, weight, *, activation="printed", surrogate=None, initial=None, steps=None):
    """An LSTM as it is written on paper; `steps`: its own two activations, (sigmoid, tanh)."""
    surrogate = surrogate or Surrogate("arctan")
    sign = -1 if activation == "printed" else 1
    if steps is None:
        gate = lambda v: Spike.apply(v, surrogate)  # noqa: E731
        steps = gate, lambda v: sign * (2 * gate(v) - 1)
    sigmoid, tanh = steps
    n = weight.shape[1]
    zero = torch.zeros(current.shape[1], n, dtype=current.dtype)
    h, c = (zero, zero) if initial is None else initial
    rows = []
    for i in current:
        d_i, d_f, d_g, d_o = (i + h @ weight.T).split(n, dim=-1)
        c = sigmoid(d_f) * c + sigmoid(d_i) * tanh(d_g)
        h = sigmoid(d_o) * tanh(c)
        rows.append((h, c))
    return SpikingLSTMTrace(*(torch.stack(parts) for parts in zip(*rows, strict=True)))


def draw(seed=0, steps=6, batch=3, width=4, dtype=torch.float64):
    g = torch.Generator().manual_seed(seed)
    return [
        0.3 + torch.randn(steps, batch, 4 * width, generator=g, dtype=dtype),
        torch.randn(4 * width, width, generator=g, dtype=dtype),
        torch.randint(-1, 2, (batch, width), generator=g).to(dtype),
        torch.randint(-2, 3, (batch, width), generator=g).to(dtype) + 0.25,
    ]


def assert_same(first, second, tolerance=1e-10):
    first, second = tree_leaves(first), tree_leaves(second)
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


def gradients(loss, inputs, **keywords):
    return torch.autograd.grad(loss, inputs, materialize_grads=True, **keywords)


def loss_of(neuron, *, started=True, output=True, cell=True, **settings):
    def loss(current, weight, h, c):
        trace = neuron(current, weight, initial=(h, c) if started else None, **settings)
        count = torch.arange(trace.cell.numel(), dtype=current.dtype).view(trace.cell.shape)
        total = 0.0
        if output:
            total = total + ((1 + 3 * count).sin() * trace.output).sum()
        if cell:
            total = total + ((2 + 5 * count).sin() * trace.cell**2).sum()
        return total

    return loss


def test_the_oracle_is_an_lstm():
    """With sigmoid and tanh the plain loop is torch's LSTM: gates, order and layout agree."""
    current, weight, *_ = draw(1)
    layer = nn.LSTM(16, 4, bias=False).double()
    layer.weight_ih_l0.data, layer.weight_hh_l0.data = torch.eye(16).double(), weight
    trace = plain(current, weight, steps=(torch.sigmoid, torch.tanh))
    output, (_, cell) = layer(current)
    assert_same((trace.output, trace.cell[-1]), (output, cell[0]))


@pytest.mark.parametrize("activation", ["printed", "rising"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values_equal_the_loop(activation, dtype):
    values = [(16 * value).round() / 16 for value in draw(2, 30, dtype=dtype)]
    for initial in (None, (values[2], values[3])):
        keywords = dict(activation=activation, initial=initial)
        got, want = (neuron(*values[:2], **keywords) for neuron in (spiking_lstm, plain))
        assert torch.equal(got.output, want.output)
        assert torch.equal(got.cell, want.cell)
        assert set(got.output.unique().tolist()) == {-1, 0, 1}
        assert got.cell.dtype == dtype


def test_the_two_activations_mirror_each_other():
    """c to -c, as long as no cell is 0: open forget gates keep the start's half here."""
    current, weight, h, _ = draw(3, 20)
    current[..., 4:8] += 100
    half = torch.full_like(h, 0.5)
    one = spiking_lstm(current, weight, initial=(h, half))
    two = spiking_lstm(current, weight, initial=(h, -half), activation="rising")
    assert_same((one.output, one.cell), (two.output, -two.cell), 0.0)
    assert len(one.cell.unique()) > 3


@pytest.mark.parametrize(
    ("activation", "started", "shape"),
    [*itertools.product(["printed", "rising"], [True, False], ["arctan", "gaussian"])],
)
def test_derivatives_equal_the_loop(activation, started, shape):
    settings = dict(activation=activation, started=started, surrogate=Surrogate(shape, 0.7, 1.3))
    results = []
    for neuron in (spiking_lstm, plain):
        inputs = [value.requires_grad_() for value in draw(4)]
        loss = loss_of(neuron, **settings)(*inputs)
        first = gradients(loss, inputs, retain_graph=True)
        recorded = gradients(loss, inputs, create_graph=True)
        directions = [torch.sin(torch.arange(1.0, v.numel() + 1)).view_as(v) for v in inputs]
        along = sum((g * d).sum() for g, d in zip(recorded, directions, strict=True))
        second = gradients(along, inputs, create_graph=True)
        along = sum((g * d).sum() for g, d in zip(second, directions, strict=True))
        results.append((loss, first, recorded, second, gradients(along, inputs)))
    for got, want in zip(*results, strict=True):
        assert_same(got, want, 1e-9)
    assert results[0][1][1].abs().sum() > 0


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("only", ["output", "cell"])
def test_every_surrogate_and_output(shape, only):
    results = []
    for neuron in (spiking_lstm, plain):
        inputs = [value.requires_grad_() for value in draw(5)]
        settings = {"output": only == "output", "cell": only == "cell"}
        loss = loss_of(neuron, surrogate=Surrogate(shape, 0.8, 1.2, 1.05), **settings)(*inputs)
        results.append(gradients(loss, inputs))
    assert_same(*results)


def test_blocks_do_not_matter(monkeypatch):
    def sample():
        inputs = [value.requires_grad_() for value in draw(6, 7)]
        return gradients(loss_of(spiking_lstm)(*inputs), inputs)

    want = sample()
    for size in (1, 100, 10**6):
        monkeypatch.setattr("snnlib.neurons._recursion.BLOCK", size)
        assert_same(sample(), want, 1e-13)


def test_joined_calls_equal_one():
    values = draw(7)
    results = []
    for cuts in ([6], [1, 5], [1] * 6):
        inputs = [value.clone().requires_grad_() for value in values]
        state, pieces = (inputs[2], inputs[3]), []
        for piece in inputs[0].split(cuts):
            trace = spiking_lstm(piece, inputs[1], initial=state)
            state = trace.state
            pieces.append(trace)
        rows = [torch.cat(parts) for parts in zip(*pieces, strict=True)]
        loss = sum((row.sin() * torch.linspace(1, 2, 6).view(6, 1, 1)).sum() for row in rows)
        results.append((rows, gradients(loss, inputs)))
    for other in results[1:]:
        assert_same(other, results[0])
    assert isinstance(trace.state, SpikingLSTMState)


def test_functional_gradient():
    values = draw(8)
    got, want = (grad(loss_of(neuron), (0, 1, 2, 3))(*values) for neuron in (spiking_lstm, plain))
    assert_same(got, want)


def test_module():
    layer = nn.Sequential(nn.Linear(5, 12), SpikingLSTM(3, activation="rising"))
    current = torch.randn(7, 2, 5, generator=torch.Generator().manual_seed(0))
    want = spiking_lstm(layer[0](current), layer[1].weight, activation="rising")
    assert torch.equal(layer(current), want.output)
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(other(current), layer(current))
    fresh = nn.Sequential(nn.Linear(5, 12), SpikingLSTM(3, activation="rising"))
    fresh.load_state_dict(layer.state_dict())
    assert torch.equal(fresh(current), layer(current))
    layer(current).sum().backward()
    assert all(parameter.grad is not None for parameter in layer.parameters())
    assert repr(layer[1]).startswith("SpikingLSTM(3, activation='rising', surrogate=")
    with torch.autocast("cpu", torch.bfloat16):
        assert layer[1](torch.ones(2, 2, 12, dtype=torch.bfloat16)).dtype == torch.float32
    layer.double()
    assert layer(current.double()).dtype == torch.float64
    layer.to("meta")
    assert layer(current.to("meta")).shape == (7, 2, 3)
    one, two = (SpikingLSTM(9, generator=torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(one.weight, two.weight)
    assert one.width == 9


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"current": torch.ones(3, 2, 6)}, r"current must be \[T, batch, 4n\] .* got shape"),
        ({"current": torch.ones(3, 8)}, r"current must be \[T, batch, 4n\]"),
        ({"current": torch.ones(0, 2, 8)}, "T >= 1"),
        ({"current": torch.ones(3, 2, 8, dtype=torch.int64)}, "must be a floating-point tensor"),
        (
            {"weight": torch.ones(8, 8)},
            r"weight must be \[4n, n\] = \[8, 2\] .* got shape \[8, 8\]",
        ),
        ({"weight": None}, "weight must be a floating-point tensor"),
        ({"activation": "tanh"}, "activation must be one of 'printed', 'rising', got 'tanh'"),
        ({"initial": torch.ones(2, 2)}, r"must be an \(output, cell\) pair, got a Tensor"),
        ({"initial": (torch.ones(2, 2),)}, "pair, got a tuple of length 1"),
        ({"initial": (torch.ones(2, 2), torch.ones(3))}, "initial cell must broadcast"),
    ],
)
def test_bad_input(wrong, message):
    keywords = {"current": torch.ones(3, 2, 8), "weight": torch.ones(8, 2)} | wrong
    with pytest.raises(ValueError, match=message):
        spiking_lstm(keywords.pop("current"), keywords.pop("weight"), **keywords)


@pytest.mark.parametrize(
    ("width", "settings"), [(0, {}), (1.5, {}), (2, {"activation": "sigmoid"})]
)
def test_bad_settings(width, settings):
    with pytest.raises(ValueError, match="must be"):
        SpikingLSTM(width, **settings)
