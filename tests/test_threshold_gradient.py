"""The three threshold gradients: closed forms, an oracle without our surrogate, laws, a network."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn
from torch.func import functional_call

from snnlib import networks
from snnlib.membrane import MPInit
from snnlib.neurons import LIF
from snnlib.surrogate import Surrogate

FAMILIES = ["absolute", "relative", "threshold_robust"]
RESETS = ["subtract", "subtract_leak", "zero", "none"]
THRESHOLDS = [0.1, 0.5, 1.0, 1.5, 2.0]
RECTANGLE = Surrogate("rectangular")  # the papers': 1 for |x| < 1/2


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# --- one step, by closed forms --------------------------------------------------------------------


@pytest.mark.parametrize("theta", THRESHOLDS)
@pytest.mark.parametrize("width", [0.5, 1.0])
def test_window_and_height(theta, width):
    """dO/dM on a grid of potentials: where it is not zero, and what it is there."""
    surrogate = Surrogate("rectangular", dampening=1 / width, sharpness=1 / width)
    found = {}
    for family in FAMILIES:
        layer = LIF(threshold=theta, surrogate=surrogate, threshold_gradient=family).double()
        m = torch.linspace(-1, 4, 50_001, dtype=torch.float64).view(1, 1, -1).requires_grad_()
        (slope,) = torch.autograd.grad(layer(m).sum(), m)
        inside = m.detach()[slope != 0]
        found[family] = (inside.min().item(), inside.max().item(), slope[slope != 0].unique())
    half = width / 2
    for family, low, high, height in (
        ("absolute", theta - half, theta + half, 1 / width),
        ("relative", (1 - half) * theta, (1 + half) * theta, 1 / (width * theta)),
        ("threshold_robust", (1 - half) * theta, (1 + half) * theta, 1 / width),
    ):
        assert found[family][0] == pytest.approx(low, abs=1.1e-4)
        assert found[family][1] == pytest.approx(high, abs=1.1e-4)
        assert torch.allclose(found[family][2], torch.tensor(height, dtype=torch.float64))


@pytest.mark.parametrize("shape", ["rectangular", "arctan", "triangular", "sigmoid"])
def test_derivatives_by_the_threshold(shape):
    """The table of the paper, with numbers: dS/dV = -f', -M f'/V², and S - M f'/V of O."""
    surrogate = Surrogate(shape)
    m, theta = 1 + draw(1, 1, 4000), torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    for family in FAMILIES:
        argument = m - theta if family == "absolute" else m / theta - 1
        f = surrogate.derivative(argument.detach())
        spike, v = (m > theta).double(), theta.detach()
        by_m, by_v = {
            "absolute": (f, -f),
            "relative": (f / v, -m * f / v**2),
            "threshold_robust": (f, spike - m / v * f),
        }[family]
        layer = LIF(
            threshold=v, surrogate=surrogate, threshold_gradient=family, learn_threshold=True
        )
        weight = draw(*m.shape, seed=1)
        i = m.clone().requires_grad_()
        loss = (weight * layer(i)).sum()
        found_m, found_raw = torch.autograd.grad(loss, [i, layer.raw_threshold])
        torch.testing.assert_close(found_m, weight * by_m, rtol=1e-12, atol=1e-14)
        # V = softplus(k): dV/dk = 1 - exp(-V)
        torch.testing.assert_close(found_raw / -torch.expm1(-v), (weight * by_v).sum())


# --- over time, against an oracle that uses no surrogate of ours ----------------------------------


def straight_through(v, family, m):
    """Output and spike as plain autograd: the clipped line carries the gradient, rounding not."""
    x = m - v if family == "absolute" else m / v - 1
    line = (x + 0.5).clamp(0, 1)
    spike = line + ((x > 0).to(x.dtype) - line).detach()
    return v * spike if family == "threshold_robust" else spike, spike


def oracle(current, v, beta, family, reset, detach, start):
    u, spike, outputs = start, torch.zeros_like(start), []
    for i in current:
        held = spike.detach() if detach else spike
        if reset == "subtract":
            u = beta * u - v * held + i
        elif reset == "subtract_leak":
            u = beta * (u - v * held) + i
        elif reset == "zero":
            u = beta * u * (1 - held) + i
        else:
            u = beta * u + i
        output, spike = straight_through(v, family, u)
        outputs.append(output)
    return torch.stack(outputs)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("reset", RESETS)
@pytest.mark.parametrize("detach", [True, False], ids=["detached", "attached"])
def test_learned_threshold_and_leak_over_time(family, reset, detach):
    current, start = 0.4 + draw(6, 5, 7), draw(5, 7, seed=1)
    layer = LIF(
        threshold=torch.tensor(0.6, dtype=torch.float64),
        leak=torch.tensor(0.7, dtype=torch.float64),
        reset=reset,
        surrogate=RECTANGLE,
        detach_reset=detach,
        learn_threshold=True,
        learn_leak=True,
        threshold_gradient=family,
        initial=start,
    )
    weight = draw(6, 5, 7, seed=2)
    results = []
    for ours in (True, False):
        i = current.clone().requires_grad_()
        k = layer.raw_threshold.detach().clone().requires_grad_()
        w = layer.raw_leak.detach().clone().requires_grad_()
        if ours:
            output = functional_call(layer, {"raw_threshold": k, "raw_leak": w}, (i,))
        else:
            v, beta = (1 + k.exp()).log(), 1 / (1 + (-w).exp())
            output = oracle(i, v, beta, family, reset, detach, start)
        results.append((output, *torch.autograd.grad((weight * output).sum(), [i, k, w])))
    for first, second in zip(*results, strict=True):
        assert second.abs().max() > 0
        torch.testing.assert_close(first, second, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_attached_soft_reset_is_cut_inside_the_window(family):
    """dU/dM = 1 - f' for the relative families, 1 - V f' for the absolute one."""
    theta, beta, f = 0.5, 0.75, 1.0
    layer = LIF(
        threshold=theta,
        leak=beta,
        reset="subtract_leak",
        surrogate=RECTANGLE,
        detach_reset=False,
        threshold_gradient=family,
    )
    i = torch.tensor([0.55, 0.0], dtype=torch.float64).view(2, 1, 1).requires_grad_()
    (slope,) = torch.autograd.grad(layer.trace(i).membrane[1].sum(), i)
    kept = 1 - theta * f if family == "absolute" else 1 - f
    assert slope[0].item() == pytest.approx(beta * kept, abs=1e-15)


# --- laws -----------------------------------------------------------------------------------------


class Norm(nn.Module):
    """Batch norm over time and batch; no ε to speak of."""

    def __init__(self, size):
        super().__init__()
        self.norm = nn.BatchNorm1d(size, eps=1e-12)

    def forward(self, x):
        return self.norm(x.flatten(0, 1)).unflatten(0, x.shape[:2])


def stack(family, theta, *, norm=True, reset="subtract_leak", readout_norm=True, seed=5):
    torch.manual_seed(seed)
    layers = []
    for fan_in, fan_out in ((12, 20), (20, 20), (20, 20)):
        layers += [nn.Linear(fan_in, fan_out), *([Norm(fan_out)] if norm else [])]
        layers += [
            LIF(
                threshold=theta,
                reset=reset,
                surrogate=RECTANGLE,
                detach_reset=False,
                learn_threshold=True,
                threshold_gradient=family,
            )
        ]
    layers += [nn.Linear(20, 4), *([Norm(4)] if readout_norm else [])]
    return nn.Sequential(*layers).double()


def gradients(network, x, target):
    loss = nn.functional.cross_entropy(network(x).mean(0), target)
    return loss, dict(
        zip(
            (name for name, _ in network.named_parameters()),
            torch.autograd.grad(loss, list(network.parameters())),
            strict=True,
        )
    )


@pytest.mark.parametrize("theta", [0.1, 0.5, 2.0])
@pytest.mark.parametrize("reset", ["subtract_leak", "zero"])
def test_batch_norm_makes_relative_and_robust_the_same(theta, reset):
    """Weights and thresholds alike, biases and all; absolute is another gradient."""
    x, target = draw(4, 32, 12, seed=6), torch.arange(32) % 4
    runs = {f: gradients(stack(f, theta, reset=reset), x, target) for f in FAMILIES}
    (loss, relative), (other, robust) = runs["relative"], runs["threshold_robust"]
    torch.testing.assert_close(loss, other, rtol=1e-9, atol=1e-9)
    for name in relative:
        if name.endswith("bias") and ("norm" not in name):
            continue  # a bias before the norm has no gradient but rounding
        scale = relative[name].abs().max()
        assert scale > 1e-9
        torch.testing.assert_close(robust[name], relative[name], rtol=1e-6, atol=1e-7 * scale)
    name = "0.weight"
    assert (runs["absolute"][1][name] - relative[name]).abs().max() > 0.01 * relative[
        name
    ].abs().max()


def test_without_a_norm_behind_it_they_differ():
    """A readout of raw weights sees θ x: the loss itself differs."""
    x, target = draw(4, 32, 12, seed=6), torch.arange(32) % 4
    first, second = (
        gradients(stack(f, 0.25, readout_norm=False), x, target)[0] for f in FAMILIES[1:]
    )
    assert abs(first - second) > 1e-3


@pytest.mark.parametrize("reset", RESETS)
@pytest.mark.parametrize("theta", [0.25, 4.0])
def test_robust_network_of_one_threshold_is_a_unit_network_of_scaled_input(theta, reset):
    """Without norms and biases: net(θ)(x) = θ net(1)(x/θ), and so are its weight gradients."""
    x = draw(4, 16, 12, seed=7)
    results = []
    for family, v, scale in (("threshold_robust", theta, 1.0), ("absolute", 1.0, theta)):
        torch.manual_seed(1)
        layers = []
        for fan_in, fan_out in ((12, 20), (20, 20), (20, 20)):
            settings = dict(threshold=v, reset=reset, threshold_gradient=family)
            layers += [
                nn.Linear(fan_in, fan_out, bias=False),
                LIF(**settings, surrogate=RECTANGLE, detach_reset=False),
            ]
        network = nn.Sequential(*layers, nn.Linear(20, 4, bias=False)).double()
        for layer in network[::2]:
            layer.weight.data *= 4
        output = scale * network(x / scale)
        weights = [layer.weight for layer in network[::2]]
        results.append((output, *torch.autograd.grad(output.square().sum(), weights)))
    for first, second in zip(*results, strict=True):
        assert second.abs().max() > 0
        torch.testing.assert_close(first, second, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("reset", RESETS)
def test_the_families_coincide_at_threshold_one(reset):
    i = 1 + draw(5, 4, 3, seed=8)
    results = []
    for family in FAMILIES:
        layer = LIF(threshold=1.0, reset=reset, detach_reset=False, threshold_gradient=family)
        current = i.clone().requires_grad_()
        output = layer(current)
        results.append((output, *torch.autograd.grad(output.square().sum(), current)))
    for output, slope in results[1:]:
        assert torch.equal(output, results[0][0])
        torch.testing.assert_close(slope, results[0][1], rtol=1e-13, atol=0)


def test_strength_under_a_normal_potential():
    """Mean of |dO/dM| over M ~ N(0, 1), n = 4e6: the share of active neurons times the height.

    Standard error √(p(1-p)/n) of a share p; 6.5 of them are a false alarm in 1e10 per entry (15
    entries), the smallest share, 0.04, is then known to 1.6 %.
    """
    n = 4_000_000
    m = torch.randn(1, 1, n, generator=torch.Generator().manual_seed(11))

    def phi(z):
        return 0.5 * math.erfc(-z / math.sqrt(2))

    for theta in THRESHOLDS:
        for family in FAMILIES:
            layer = LIF(threshold=theta, surrogate=RECTANGLE, threshold_gradient=family)
            i = m.clone().requires_grad_()
            (slope,) = torch.autograd.grad(layer(i).sum(), i)
            if family == "absolute":
                low, high, height = theta - 0.5, theta + 0.5, 1.0
            else:
                low, high = theta / 2, 1.5 * theta
                height = 1 / theta if family == "relative" else 1.0
            p = phi(high) - phi(low)
            strength = slope.abs().double().mean().item()
            assert abs(strength / height - p) < 6.5 * math.sqrt(p * (1 - p) / n)


# --- a whole network ------------------------------------------------------------------------------


def test_trained_residual_network_is_saved_and_loaded(tmp_path):
    """MP-Init and TrSG together: the loaded network gives the same outputs, bit by bit."""
    settings = dict(
        width=1 / 32,
        blocks=(1, 1),
        channels=(128, 256),
        threshold=0.8,
        reset="subtract_leak",
        surrogate=RECTANGLE,
        detach_reset=False,
        learn_threshold=True,
        learn_leak=True,
        threshold_gradient="threshold_robust",
        initial=MPInit(),
    )
    network = networks.residual((1, 8, 8), 10, **settings)
    x, target = draw(3, 16, 1, 8, 8, seed=12).float(), torch.arange(16) % 10
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    before = [v.clone() for n, v in network.named_parameters() if n.endswith("raw_threshold")]
    for _ in range(3):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(x).mean(0), target).backward()
        optimizer.step()
    after = [v for n, v in network.named_parameters() if n.endswith("raw_threshold")]
    assert len(after) == 6 and all(
        not torch.equal(a, b) for a, b in zip(after, before, strict=True)
    )
    torch.save(network.state_dict(), tmp_path / "state.pt")
    other = networks.residual((1, 8, 8), 10, **settings)
    other.load_state_dict(torch.load(tmp_path / "state.pt"))
    copied = copy.deepcopy(network)
    with torch.no_grad():
        expected = network.eval()(x)
        assert torch.equal(other.eval()(x), expected)
        assert torch.equal(copied.eval()(x), expected)
        fresh = networks.residual((1, 8, 8), 10, **settings).eval()
        assert not torch.equal(fresh(x), expected)
