"""`fit` and `evaluate` step networks of other libraries, take any data, and refuse the rest."""

import sys

import pytest
import torch
from scipy import stats
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from snnlib import data
from snnlib.dialects.running import run
from snnlib.experiments.ordinary import ORDINARY, ordinary
from snnlib.networks import mlp
from snnlib.training import evaluate, fit, spike_count

LIBRARIES = {"snnTorch": "snntorch", "SpikingJelly": "spikingjelly", "Norse": "norse"}
GUESSING = 1e-6  # probability with which guessing reaches the accuracy that is asked for


@pytest.fixture(scope="module")
def digits():
    return data.load("digits", standardize=False).take(512)


def built(name):
    pytest.importorskip(LIBRARIES.get(name.split()[0], "snnlib"))
    return ordinary(name, seed=0)


def settings(name):
    own = ORDINARY[name]
    return {"steps": own.steps, "encoding": own.encoding, "loss": own.loss}


STEPPED = [
    "snnTorch convnet, atan",  # single steps, state inside
    "snnTorch MLP, loop inside",  # its own loop, a tuple comes out
    "snnTorch RLeaky, membrane",  # a loop over the input
    "SpikingJelly SEW",  # whole sequences, state inside
    "Norse convnet",  # states in the caller's hands
]


@pytest.mark.parametrize("name", STEPPED)
def test_an_update_is_that_of_a_loop_written_by_hand(name, digits):
    """Reset, run over all steps, loss, Adam: the same weights after two updates."""
    own, few = ORDINARY[name], digits.take(64)
    network, plain = built(name), built(name)
    fit(network, few, epochs=1, batch_size=32, learning_rate=2e-3, schedule="constant",
        progress=False, **settings(name))  # fmt: skip
    adam = torch.optim.Adam(plain.parameters(), lr=2e-3)
    order = torch.Generator().manual_seed(0)
    for inputs, targets in few.batches(32, order):
        x = inputs if own.encoding == "none" else inputs.expand(own.steps, *inputs.shape)
        result = by_hand(name, plain, x)
        adam.zero_grad()
        loss = spike_count if own.loss == "spike_count" else lambda y, t: spike_count(y / len(y), t)
        loss(result, targets).backward()
        adam.step()
    for here, there in zip(network.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(here, there, rtol=1e-4, atol=1e-6)


def by_hand(name, network, x):
    """The library's own way to run over time."""
    if "loop inside" in name:
        return network(x)[0]
    if "RLeaky" in name:
        return network(x)
    if name.startswith("SpikingJelly"):
        from spikingjelly.activation_based import functional

        functional.reset_net(network)
        return network(x)
    if name.startswith("snnTorch"):
        from snntorch import utils

        utils.reset(network)
        return torch.stack([network(step)[0] for step in x])
    made, state = [], None
    for step in x:
        out, state = network(step, state)
        made.append(out)
    return torch.stack(made)


def test_two_libraries_learn(digits):
    for name, rate in (("snnTorch MLP, loop inside", 3e-3), ("SpikingJelly SEW", 1e-2)):
        network = built(name)
        fit(network, digits, epochs=2, batch_size=16, learning_rate=rate, progress=False,
            **settings(name))  # fmt: skip
        found = evaluate(network, digits, **settings(name)).accuracy
        assert found > stats.binom.isf(GUESSING, len(digits), 0.1) / len(digits), name


def test_evaluation_does_not_depend_on_what_ran_before(digits):
    network = built("snnTorch convnet, atan")
    first = evaluate(network, digits, batch_size=100, steps=6)
    run(network, digits.inputs[:7].expand(3, -1, -1, -1, -1))
    assert evaluate(network, digits, batch_size=100, steps=6) == first


def test_any_kind_of_data_gives_the_same_numbers(digits):
    name = "ours, 3 layers"
    pair = (digits.inputs, digits.targets)
    kinds = [digits, pair, TensorDataset(*pair), DataLoader(TensorDataset(*pair), batch_size=1000)]
    network = built(name)
    found = [evaluate(network, kind, **settings(name)) for kind in kinds]
    assert found[1:] == found[:1] * 3
    trained = []
    for kind in kinds[:3]:
        network = built(name)
        trained.append(fit(network, kind, epochs=1, progress=False, **settings(name)))
    assert trained[1:] == trained[:1] * 2


def test_a_loader_brings_its_batches_and_its_order_follows_the_seed(digits):
    def network():
        return mlp([64, 50, 10], threshold=0.3, generator=torch.Generator().manual_seed(1))

    loader = DataLoader(TensorDataset(digits.inputs, digits.targets), batch_size=64, shuffle=True)
    settings = {"epochs": 2, "validation": loader, "progress": False}
    found = [fit(network(), loader, seed=seed, **settings) for seed in (0, 0, 1)]
    assert found[0] == found[1] != found[2]
    assert found[0].learning_rate[-1] < 1e-12  # the schedule counts the loader's batches
    with pytest.raises(ValueError, match="checkpoint must be None with a DataLoader"):
        fit(network(), loader, checkpoint="nowhere", progress=False)


class Endless(IterableDataset):
    def __iter__(self):
        yield torch.zeros(1, 8, 8), 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda d: d.inputs, "data must be a snnlib.data.Dataset, a pair of tensors .*got Tensor"),
        (lambda d: (d.inputs, d.targets.float()), "targets must be classes as integers"),
        (lambda d: (d.inputs, d.targets[:3]), "one entry per input"),
        (lambda d: Endless(), "map-style"),
        (lambda d: DataLoader(Endless()), "must have a length"),
        (lambda d: DataLoader(TensorDataset(d.inputs)), r"pairs \(inputs, targets\), got 1 parts"),
        (
            lambda d: DataLoader(TensorDataset(d.inputs / 0, d.targets)),
            "data must be finite, got a batch that is not",
        ),
    ],
)
def test_data_that_are_none_are_refused(make, message, digits):
    for call in (fit, evaluate):
        more = {"progress": False} if call is fit else {}
        with pytest.raises(ValueError, match=message):
            call(built("ours, 3 layers"), make(digits), **more)


# --- networks that cannot be stepped ------------------------------------------------------------


class Remembers(nn.Module):
    """A neuron of one's own that nothing resets."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(64, 10)
        self.register_buffer("last", torch.zeros(1))

    def forward(self, x):
        self.last = 0.5 * self.last + self.fc(x.flatten(2)).mean(0, keepdim=True).detach()
        return self.fc(x.flatten(2)) + self.last


class Shapes(nn.Module):
    """Gives an output of another shape."""

    def __init__(self, make, classes=10):
        super().__init__()
        self.fc, self.make = nn.Linear(64, classes), make

    def forward(self, x):
        return self.make(self.fc(x.flatten(2)))


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (Remembers, "must start every batch at rest, but its output changes"),
        (lambda: Shapes(lambda y: y.transpose(0, 1)), "output=lambda y: y.transpose"),
        (lambda: Shapes(lambda y: y.mean()), r"\[T, batch, classes\] or .*, got \[\]"),
        (lambda: Shapes(lambda y: y[None]), 'pass encoding="none"'),
        (lambda: Shapes(lambda y: y, classes=7), "7 outputs and the target 9"),
        (lambda: Shapes(lambda y: None), "must return a floating-point tensor"),
        (lambda: Shapes(lambda y: y.argmax(-1)), "must return a floating-point tensor"),
    ],
)
def test_a_network_that_cannot_be_stepped_is_refused(network, message, digits):
    for call in (fit, evaluate):
        made = network()
        before = {name: value.clone() for name, value in made.state_dict().items()}
        more = {"progress": False} if call is fit else {}
        with pytest.raises(ValueError, match=message):
            call(made, digits, batch_size=50, **more)
        torch.testing.assert_close(made.state_dict(), before, rtol=0, atol=0)


class AddsTime(nn.Module):
    """The images are repeated over time in `forward`, as tutorials of whole sequences do."""

    def __init__(self, *layers, steps=3):
        super().__init__()
        self.rows, self.steps = nn.Sequential(*layers), steps

    def forward(self, x):
        return self.rows(x.unsqueeze(0).repeat(self.steps, *[1] * x.dim()))


def adds_time(library):
    if library == "ours":
        inner = mlp([64, 30, 10], threshold=0.3, encode=False)
        return AddsTime(nn.Flatten(2), inner)
    from spikingjelly.activation_based import functional, layer, neuron

    network = AddsTime(
        layer.Conv2d(1, 4, 3, padding=1, bias=False), layer.BatchNorm2d(4), neuron.IFNode(),
        layer.MaxPool2d(2, 2), layer.Flatten(), layer.Linear(64, 10), neuron.IFNode(),
    )  # fmt: skip
    functional.set_step_mode(network, "m")
    return network


@pytest.mark.parametrize("library", ["SpikingJelly", "ours"])
def test_a_network_that_adds_its_time_axis_is_told_from_one_that_is_broken(library, digits):
    pytest.importorskip(LIBRARIES.get(library, "snnlib"))
    for call in (fit, evaluate):
        network = adds_time(library)
        before = {name: value.clone() for name, value in network.state_dict().items()}
        more = {"progress": False} if call is fit else {}
        with pytest.raises(ValueError, match=r'makes its time steps itself .*encoding="none"'):
            call(network, digits, steps=4, **more)
        torch.testing.assert_close(network.state_dict(), before, rtol=0, atol=0)
        call(network, digits.take(64), encoding="none", **more, **({"epochs": 1} if more else {}))
    with pytest.raises(ValueError, match=r"without a time axis, \[batch, ...\]"):
        run(adds_time(library), digits.inputs[:5].expand(4, -1, -1, -1, -1))
    with pytest.raises((RuntimeError, ValueError)) as error:  # what runs neither way
        run(adds_time(library), digits.inputs[:5, :, :3, :7].expand(4, -1, -1, -1, -1))
    assert "itself" not in str(error.value)


def test_what_counts_may_be_picked_and_a_sum_over_time_is_an_output(digits):
    network = built("snnTorch MLP, loop inside")
    spikes = evaluate(network, digits, encoding="none")
    potentials = evaluate(network, digits, encoding="none", output=lambda result: result[1])
    assert 0 <= spikes.rate <= 1 and potentials.rate != spikes.rate
    summed = evaluate(Shapes(lambda y: y.sum(0)), digits)
    assert summed.loss > 0
    with pytest.raises(ValueError, match="output must be None or a function"):
        evaluate(network, digits, output=1)
    with pytest.raises(ValueError, match="time must be 'auto', 'inside' or 'outside', got 'both'"):
        fit(network, digits, time="both", progress=False)


def test_without_tqdm_progress_is_a_line_per_epoch(digits, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    fit(built("ours, 3 layers"), digits.take(64), epochs=2, batch_size=32, progress=True)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in lines] == ["update 2 of 4", "update 4 of 4"]
    assert "accuracy" in lines[0]
