"""The residual network against its layers one by one; normalization that knows the threshold."""

import copy
import io
import math

import pytest
import torch
from torch.nn import functional

from snnlib.data import Dataset
from snnlib.init import initialize_
from snnlib.membrane import MPInit
from snnlib.networks import ResidualBlock, TdBN, constant, residual
from snnlib.neurons import LIF, lif
from snnlib.surrogate import Surrogate
from snnlib.training import evaluate, fit


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def small(**settings):
    """Three blocks, one of each kind, and a batch of images."""
    settings = {"blocks": (1, 2), "channels": (4, 6), "generator": seeded(1)} | settings
    return residual((2, 6, 5), 3, **settings), torch.randn(7, 2, 6, 5, generator=seeded(2))


def neurons(network):
    return [module for module in network.modules() if isinstance(module, LIF)]


# --- tdBN -----------------------------------------------------------------------------------------


def by_hand(norm, x):
    """Every channel minus its mean over the rest, over its standard deviation, as printed."""
    out = torch.empty_like(x)
    for c in range(x.shape[2]):
        values = x[:, :, c].double()
        unit = (values - values.mean()) / (values.var(correction=0) + norm.eps).sqrt()
        scaled = norm.weight[c] * norm.std * unit + norm.bias[c]
        out[:, :, c] = (norm.input_gain * scaled).to(x)
    return out


@pytest.mark.parametrize("places", [(), (3,), (3, 4)])
def test_tdbn_is_its_formula(places):
    norm = TdBN(5, std=0.7, input_gain=0.4)
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2, generator=seeded(1))
        norm.bias.normal_(generator=seeded(2))
    x = 3 + 2 * torch.randn(4, 6, 5, *places, generator=seeded(3))
    torch.testing.assert_close(norm(x), by_hand(norm, x))


def test_tdbn_evaluates_with_running_moments_step_by_step():
    """After many batches of one law, a step alone is normalized as all steps together."""
    norm = TdBN(3, std=0.5)
    for seed in range(60):
        norm(7 + 2 * torch.randn(2, 50, 3, 4, 4, generator=seeded(seed)))
    # 1600 values a batch: standard error of the mean 0.05, of the variance 0.14, less by averaging
    assert norm.running_mean.tolist() == pytest.approx([7] * 3, abs=0.1)
    assert norm.running_var.tolist() == pytest.approx([4] * 3, abs=0.3)
    norm.eval()
    x = torch.randn(4, 2, 3, 5, 5, generator=seeded(99))
    torch.testing.assert_close(norm(x)[2:], norm(x[2:]))
    expected = norm.shift.view(3, 1, 1) + norm.scale.view(3, 1, 1) * (
        (x - norm.running_mean.view(3, 1, 1)) / (norm.running_var.view(3, 1, 1) + norm.eps).sqrt()
    )
    torch.testing.assert_close(norm(x), expected)


# --- the network ----------------------------------------------------------------------------------


def test_the_papers_network():
    network = residual((3, 32, 32), 100)
    blocks = [module for module in network if isinstance(module, ResidualBlock)]
    assert [block.conv1.out_channels for block in blocks] == [128] * 3 + [256] * 3 + [512] * 2
    assert [block.conv1.stride[0] for block in blocks] == [1, 1, 1, 2, 1, 1, 2, 1]
    assert [block.shortcut is not None for block in blocks] == [False] * 3 + [True] + [
        False
    ] * 2 + [True, False]
    assert (network.linear1.in_features, network.readout.in_features) == (512, 256)
    assert len(neurons(network)) == 18
    # α = 1/√2 in each of two branches that are added
    assert blocks[3].norm1.std == 1
    assert blocks[3].norm2.std == blocks[3].shortcut.norm.std == math.sqrt(0.5)
    # the published code of Kook et al.: no hidden layer, and plain batch norm
    network = residual((3, 32, 32), 100, width=1 / 16, hidden=0, current_std=1.0)
    assert network.readout.in_features == 32 and not hasattr(network, "linear1")
    assert {module.std for module in network.modules() if isinstance(module, TdBN)} == {1.0}


@pytest.mark.parametrize("settings", [{}, {"threshold": 0.5, "input_gain": 0.5, "hidden": 0}])
def test_residual_is_its_layers_one_by_one(settings):
    network, x = small(reset="subtract_leak", **settings)
    theta, gain = settings.get("threshold", 1.0), settings.get("input_gain", 1.0)

    def fire(current):
        return lif(current, leak=0.5, threshold=theta, reset="subtract_leak").spikes

    def conv(layer, z):
        steps = [
            functional.conv2d(s, layer.weight, stride=layer.stride, padding=layer.padding)
            for s in z
        ]
        return torch.stack(steps)

    with torch.no_grad():
        z = fire(by_hand(network.norm1, conv(network.conv1, constant(x, 4))))
        for block in (network.block1, network.block2, network.block3):
            hidden = fire(by_hand(block.norm1, conv(block.conv1, z)))
            current = by_hand(block.norm2, conv(block.conv2, hidden))
            if block.shortcut is None:
                current = current + gain * z
            else:
                current = current + by_hand(block.shortcut.norm, conv(block.shortcut.conv, z))
            z = fire(current)
            assert 0.01 < z.mean() < 0.9
        assert z.shape == (4, 7, 6, 3, 3)
        z = z.flatten(3).sum(3) / 9
        if hasattr(network, "linear1"):
            z = fire(by_hand(network.norm2, z @ network.linear1.weight.T))
        expected = z @ network.readout.weight.T + network.readout.bias
        # a potential within a rounding of the threshold may fire in one sum and not in the other
        close = torch.isclose(network(constant(x, 4)), expected, rtol=1e-4, atol=1e-5)
        assert close.float().mean() > 0.95


def exact(**settings):
    """A network in double precision whose normalization has no ε to speak of."""
    network, x = small(**settings)
    for module in network.modules():
        if isinstance(module, TdBN):
            module.eps = 1e-30
    return network.double(), constant(x.double(), 4)


def test_with_tdbn_and_forward_scaling_the_threshold_is_a_unit():
    """θ scales currents, resets and spikes alike, so the same neurons fire at the same steps.

    With spikes of height 1 the identity shortcut adds another number of thresholds.
    """
    logits = {}
    for family in ("threshold_robust", "relative"):
        for theta in (1.0, 0.3, 4.0):
            network, current = exact(threshold=theta, threshold_gradient=family)
            height = theta if family == "threshold_robust" else 1.0
            with torch.no_grad():
                logits[family, theta] = (network(current) - network.readout.bias) / height
    for theta in (0.3, 4.0):
        reference = logits["threshold_robust", 1.0]
        torch.testing.assert_close(logits["threshold_robust", theta], reference)
        assert not torch.allclose(logits["relative", theta], reference, atol=1e-3)


@pytest.mark.parametrize("reset", ["subtract_leak", "zero"])
def test_at_threshold_one_the_three_gradients_coincide(reset):
    """So experiments run that threshold once."""
    results = []
    for family in ("absolute", "relative", "threshold_robust"):
        network, x = small(
            threshold_gradient=family,
            reset=reset,
            surrogate=Surrogate("rectangular"),
            detach_reset=False,
            current_std=1.0,
        )
        output = network(constant(x, 4))
        functional.cross_entropy(output.mean(0), torch.arange(7) % 3).backward()
        results.append((output.detach(), [p.grad for p in network.parameters()]))
    for output, gradients in results[1:]:
        assert torch.equal(output, results[0][0])
        torch.testing.assert_close(gradients, results[0][1], rtol=0, atol=0)
    assert all(gradient.abs().sum() > 0 for gradient in results[0][1])


def test_evaluation_does_not_look_into_the_future():
    network, x = small()
    current = torch.randn(5, *x.shape, generator=seeded(3))
    network(current)
    network.eval()
    torch.testing.assert_close(network(current)[:3], network(current[:3]))
    torch.testing.assert_close(network(current)[:, :2], network(current[:, :2]))


def test_weights_depend_on_the_generator_alone():
    before = torch.get_rng_state()
    first, second, other = (small(generator=seeded(seed))[0].state_dict() for seed in (5, 5, 6))
    assert torch.equal(before, torch.get_rng_state())
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    for name in first:
        if "conv" in name or name in ("linear1.weight", "readout.weight"):
            assert not torch.equal(first[name], other[name])


def test_copies_compute_the_same():
    network, x = small(learn_threshold=True, learn_leak=True)
    current = constant(x, 3)
    network(current)
    network.eval()
    expected = network(current)
    file = io.BytesIO()
    torch.save(network.state_dict(), file)
    file.seek(0)
    loaded, _ = small(generator=seeded(99), learn_threshold=True, learn_leak=True)
    loaded.load_state_dict(torch.load(file))
    for other in (copy.deepcopy(network), loaded.eval()):
        assert torch.equal(other(current), expected)


def test_every_layer_starts_at_a_mean_of_its_own():
    network, x = small(initial=MPInit(momentum=1.0))
    network(constant(x, 4))
    means = [layer.initial.mean.item() for layer in neurons(network)]
    assert len(set(means)) == len(means) == 8 and all(means)


def test_a_trained_model_with_mpinit_and_trsg_is_saved_and_loaded():
    settings = {
        "threshold_gradient": "threshold_robust",
        "learn_threshold": True,
        "learn_leak": True,
        "reset": "subtract_leak",
        "detach_reset": False,
        "current_std": 1.0,
        "initial": MPInit(),
    }
    network, x = small(**settings)
    images = Dataset("images", "train", x, torch.arange(7) % 3, 3)
    training = {"steps": 4, "batch_size": 4, "loss": "mean_output", "progress": False}
    fit(network, images, epochs=3, optimizer="sgd", learning_rate=0.1, **training)
    layers = neurons(network)
    assert all(abs(layer.threshold.item() - 1) > 1e-6 for layer in layers)
    assert any(layer.initial.mean != 0 for layer in layers)
    expected = evaluate(network, images, steps=4, loss="mean_output")
    file = io.BytesIO()
    torch.save(network.state_dict(), file)
    file.seek(0)
    loaded, _ = small(**settings | {"generator": seeded(99), "initial": MPInit()})
    loaded.load_state_dict(torch.load(file))
    assert evaluate(loaded, images, steps=4, loss="mean_output") == expected
    current = constant(x, 4)
    assert torch.equal(loaded.eval()(current), network.eval()(current))
    assert evaluate(loaded, images, steps=4, loss="mean_output") == expected  # nothing moved


def test_settings_reach_the_neurons():
    network, _ = small(
        threshold=[0.1 * k for k in range(1, 9)], reset="zero", learn_threshold=True, leak=0.25
    )
    layers = neurons(network)
    assert [layer.threshold.item() for layer in layers] == pytest.approx(
        [0.1 * k for k in range(1, 9)]
    )
    assert {(layer.reset, layer.leak) for layer in layers} == {("zero", 0.25)}
    normalizations = [module for module in network.modules() if isinstance(module, TdBN)]
    assert normalizations[0].std == pytest.approx(0.1)
    assert normalizations[-1].std == pytest.approx(0.8)


def test_weights_are_paired_with_the_layers_around_them():
    network, x = small(threshold=0.5)
    report = initialize_(network, "kaiming", example=constant(x, 4), generator=seeded(3))
    assert report is not None
    weight = network.block1.conv1.weight
    assert weight.var().item() == pytest.approx(2 / 36, rel=0.5)  # 144 entries: se 12 %


# --- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: residual((8, 8), 10), "shape must be .channels, height, width"),
        (lambda: residual((1, 8, 8), 10, blocks=(1, 2)), "one number per stage, got 2 and 3"),
        (lambda: residual((1, 8, 8), 10, blocks=(), channels=()), "one number per stage"),
        (lambda: residual((1, 8, 8), 10, blocks=(1, 0, 1)), "blocks must be a positive integer"),
        (lambda: residual((1, 8, 8), 0), "classes must be a positive integer, got 0"),
        (lambda: residual((1, 8, 8), 10, width=0.0), "width must be positive and finite, got 0.0"),
        (lambda: residual((1, 8, 8), 10, hidden=-1), "hidden must be None or a number"),
        (lambda: residual((1, 8, 8), 10, hidden=2.5), "hidden must be None or a number"),
        (lambda: residual((1, 8, 8), 10, input_gain=0.0), "input_gain must be positive"),
        (lambda: residual((1, 8, 8), 10, current_std=-1.0), "current_std must be None or positive"),
        (lambda: residual((1, 8, 8), 10, threshold=0.0), "threshold must be one positive number"),
        (lambda: residual((1, 8, 8), 10, threshold=[1.0]), "threshold must be .* list of 18"),
        (lambda: residual((1, 8, 8), 10, leak=1.5), "leak"),
        (lambda: TdBN(0), "channels must be a positive integer, got 0"),
        (lambda: TdBN(3, std=0.0), "std must be positive and finite, got 0.0"),
        (lambda: TdBN(3, momentum=0.0), r"momentum must be in \(0, 1\], got 0.0"),
        (lambda: TdBN(3)(torch.ones(2, 3)), "x must be"),
        (lambda: TdBN(3)(torch.ones(2, 3, 4)), "3 channels"),
        (lambda: TdBN(3)(torch.ones(1, 1, 3)), "more than 1 value per channel"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
