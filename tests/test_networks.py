"""Networks against their layers one by one, and what they must survive."""

import copy
import io
import pickle

import pytest
import torch
from scipy import stats
from torch import nn

from snnlib import probe
from snnlib.networks import FeedForward, constant, convnet, mlp
from snnlib.neurons import LIF, lif
from snnlib.surrogate import Surrogate


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def small(kind: str, **settings) -> tuple[FeedForward, torch.Tensor]:
    """A small network and a batch [batch, features...] for it."""
    settings = {"generator": seeded(1), "threshold": 0.5} | settings
    if kind == "mlp":
        return mlp([12, 40, 30, 5], **settings), 2 * torch.randn(6, 12, generator=seeded(2))
    network = convnet((2, 6, 5), 5, channels=(8, 7), **settings)
    return network, 2 * torch.randn(6, 2, 6, 5, generator=seeded(2))


KINDS = ["mlp", "convnet"]


# --- what they compute --------------------------------------------------------------------------


@pytest.mark.parametrize("encode", [True, False])
def test_mlp_is_its_layers_one_by_one(encode):
    network = mlp([12, 40, 30, 5], encode=encode, threshold=0.5, bias=True, generator=seeded(1))
    nn.init.normal_(network.linear1.bias, generator=seeded(3))
    current = 2 * torch.randn(4, 6, 12, generator=seeded(2))
    expected = current
    if encode:
        expected = lif(expected, leak=0.5, threshold=0.5).spikes
    for layer in (network.linear1, network.linear2, network.linear3):
        steps = [x @ layer.weight.T + layer.bias for x in expected]
        expected = lif(torch.stack(steps), leak=0.5, threshold=0.5).spikes
    assert expected.sum() > 0
    torch.testing.assert_close(network(current), expected, rtol=0, atol=0)


def test_convnet_is_its_layers_one_by_one():
    network, x = small("convnet")
    current = constant(x, 3).contiguous()
    expected = current
    for layer in (network.conv1, network.conv2):
        steps = [nn.functional.conv2d(s, layer.weight, padding=1) for s in expected]
        expected = lif(torch.stack(steps), leak=0.5, threshold=0.5).spikes
    assert expected.shape == (3, 6, 7, 6, 5)
    currents = torch.stack([s.flatten(1) @ network.linear3.weight.T for s in expected])
    expected = lif(currents, leak=0.5, threshold=0.5).spikes
    assert expected.sum() > 0
    torch.testing.assert_close(network(current), expected, rtol=0, atol=0)


def test_the_papers_networks():
    network = mlp([784] + [600] * 9 + [10], generator=seeded())
    assert sum(isinstance(m, LIF) for m in network) == 11  # the encoding layer and ten more
    assert {(m.threshold, m.leak, m.reset) for m in network if isinstance(m, LIF)} == {
        (1.0, 0.5, "subtract")
    }
    network = convnet((3, 32, 32), 10, generator=seeded())
    kinds = [type(m) for m in network]
    assert kinds == [nn.Conv2d, LIF] * 6 + [nn.Flatten, nn.Linear, LIF]
    convolutions = [m for m in network if isinstance(m, nn.Conv2d)]
    assert [m.in_channels for m in convolutions] == [3] + [64] * 5
    assert {(m.out_channels, m.kernel_size, m.padding) for m in convolutions} == {
        (64, (3, 3), (1, 1))
    }
    assert network.linear7.in_features == 64 * 32 * 32


@pytest.mark.parametrize("kind", KINDS)
def test_repeating_an_input_without_a_copy_changes_nothing(kind):
    network, x = small(kind)
    current = constant(x, 4)
    assert current.stride(0) == 0
    copied = current.contiguous()
    assert torch.equal(network(current), network(copied))
    gradients = []
    for value in (current, copied):
        network.zero_grad()
        network(value).sum().backward()
        gradients.append([p.grad.clone() for p in network.parameters()])
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("kind", KINDS)
def test_the_future_does_not_change_the_past(kind):
    network, x = small(kind)
    current = torch.randn(5, *x.shape, generator=seeded(3))
    assert torch.equal(network(current)[:3], network(current[:3]))
    assert network(current[:1]).shape == (1, 6, 5)


def test_images_are_flattened_for_linear_layers():
    network = mlp([12, 5], generator=seeded())
    x = torch.randn(2, 3, 3, 2, 2, generator=seeded(1))
    assert torch.equal(network(x), network(x.flatten(2)))


def test_settings_reach_the_neurons():
    surrogate = Surrogate("triangular", sharpness=2.0)
    network = mlp(
        [3, 4, 5],
        threshold=[0.1, 0.2, 0.3],
        leak=(0.4, 0.5, 0.6),
        reset="zero",
        surrogate=surrogate,
        detach_reset=False,
        learn_threshold=True,
        generator=seeded(),
    )
    neurons = [m for m in network if isinstance(m, LIF)]
    assert [n.leak for n in neurons] == [0.4, 0.5, 0.6]
    assert [n.threshold.item() for n in neurons] == pytest.approx([0.1, 0.2, 0.3])
    assert {n.reset for n in neurons} == {"zero"}
    assert all(n.surrogate == surrogate and not n.detach_reset for n in neurons)
    network(torch.ones(2, 1, 3)).sum().backward()
    assert all(p.grad is not None for p in network.parameters())


# --- activity at initialization -----------------------------------------------------------------


def test_twenty_layers_die_with_kaiming_and_live_with_micheli2024():
    batch = constant(torch.randn(16, 600, generator=seeded(1)), 5)
    spikes = {}
    for method in ("kaiming", "micheli2024"):
        network = mlp([600] * 21, init=method, generator=seeded(2))
        spikes[method] = probe.record(network, batch, gradient=False).spikes
    assert spikes["kaiming"].shape == (21, 5)
    assert not spikes["kaiming"][8:].any()
    assert (spikes["micheli2024"] > 0).all()


def test_twenty_layers_draw_their_potentials_from_eq_10():
    """Given the K spikes of a layer, the next potentials are independent N(0, K / (n P(u > 1))).

    Over 20 layers of 600 neurons the sum of their squares in that unit is χ² with 12,000 degrees of
    freedom: relative standard error 1.3 %; with a false alarm in 1e6 an error of 10 % in the
    weights' variance is caught with probability 0.99.
    """
    network = mlp([600] * 21, generator=seeded(3))
    statistics = probe.record(network, torch.randn(1, 1, 600, generator=seeded(4)), gradient=False)
    spikes = statistics.spikes[:-1, 0]
    squares = 600 * (statistics.variance + statistics.mean**2)[1:, 0]
    unit = spikes / (600 * stats.norm.sf(1.0))
    low, high = stats.chi2.ppf([0.5e-6, 1 - 0.5e-6], 20 * 600)
    assert low < (squares / unit).sum().item() < high
    assert not low < (squares / (spikes * 2 / 600)).sum().item() < high  # Kaiming's variance


@pytest.mark.parametrize("kind", KINDS)
def test_every_weight_gets_a_gradient(kind):
    network, x = small(kind)
    network(constant(x, 3)).sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in network.parameters())


# --- random numbers -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("init", ["micheli2024", "kaiming", None])
def test_weights_depend_on_the_generator_alone(kind, init):
    before = torch.get_rng_state()
    first, second, other = (
        small(kind, init=init, generator=seeded(seed))[0].state_dict() for seed in (5, 5, 6)
    )
    assert torch.equal(before, torch.get_rng_state())
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    drawn = [name for name in first if not name.endswith("_extra_state")]  # settings are equal
    assert not any(torch.equal(first[name], other[name]) for name in drawn)


def test_no_initialization_is_torchs_default():
    torch.manual_seed(3)
    network = mlp([7, 8], init=None, bias=True)
    torch.manual_seed(3)
    expected = nn.Linear(7, 8)
    assert torch.equal(network.linear1.weight, expected.weight)
    assert torch.equal(network.linear1.bias, expected.bias)


# --- what they survive ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_copies_compute_the_same(kind):
    network, x = small(kind)
    current = constant(x, 3)
    expected = network(current)
    assert expected.sum() > 0
    file = io.BytesIO()
    torch.save(network.state_dict(), file)
    file.seek(0)
    loaded, _ = small(kind, generator=seeded(99))
    assert not torch.equal(loaded(current), expected)
    loaded.load_state_dict(torch.load(file))
    for other in (copy.deepcopy(network), pickle.loads(pickle.dumps(network)), loaded):
        assert torch.equal(other(current), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_double_precision(kind):
    network, x = small(kind)
    current = constant(x.double(), 3)
    output = network.double()(current)
    assert output.dtype == torch.float64 and output.sum() > 0


@pytest.mark.parametrize("kind", KINDS)
def test_autocast(kind):
    network, x = small(kind)
    current = constant(x, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = network(current)
        output.sum().backward()
    # Weights of 8 bits move few potentials across the threshold.
    assert (output != network(current)).float().mean() < 0.2
    assert all(p.grad.dtype == torch.float32 for p in network.parameters())


def test_torch_compile_traces_every_batch_size():
    network, x = small("convnet")
    compiled = torch.compile(network, backend="eager")
    for batch in (6, 5):
        current = constant(x[:batch], 2)
        gradients = []
        for module in (compiled, network):
            network.zero_grad()
            module(current).sum().backward()
            gradients.append([p.grad for p in network.parameters()])
        torch.testing.assert_close(*gradients)
    assert torch.equal(compiled(current), network(current))
    torch._dynamo.reset()


# --- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mlp([10]), "sizes must name at least two"),
        (lambda: mlp([10, 0]), "sizes must be a positive integer, got 0"),
        (lambda: mlp([10, 2.5]), "sizes must be a positive integer, got 2.5"),
        (lambda: mlp([10, 5], threshold=[1.0]), "threshold must be .* list of 2"),
        (lambda: mlp([10, 5], leak=[0.5] * 3), "leak must be .* list of 2"),
        (lambda: mlp([10, 5], threshold=-1.0), "threshold"),
        (lambda: mlp([10, 5], leak=1.5), "leak"),
        (lambda: mlp([10, 5], reset="soft"), "reset"),
        (lambda: mlp([10, 5], init="he"), "method must be one of"),
        (lambda: convnet((8, 8), 10), "shape must be .channels, height, width"),
        (lambda: convnet((1, 8, 8), 0), "classes must be a positive integer"),
        (lambda: convnet((1, 8, 8), 10, channels=()), "channels"),
        (lambda: convnet((1, 8, 8), 10, kernel=2), "kernel must be odd"),
        (lambda: constant(torch.ones(2, 3), 0), "steps must be a positive integer, got 0"),
        (lambda: mlp([3, 2])(torch.ones(2, 3)), "three dimensions"),
        (lambda: mlp([3, 2])(torch.ones(0, 2, 3)), "T >= 1"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
