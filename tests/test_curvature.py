"""Second derivatives of spiking networks against loops, touching networks and differences."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.sparse.linalg import aslinearoperator
from torch import nn
from torch.func import functional_call

from snnlib import curvature, networks
from snnlib.data import Dataset
from snnlib.membrane import MPInit
from snnlib.networks import constant
from snnlib.neurons import LIF, AdaptiveLIF
from snnlib.surrogate import Surrogate

curvlinops = pytest.importorskip("curvlinops")

# Function transforms warn of it, which is torch's own use.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script`:DeprecationWarning")

RESETS = ["subtract", "subtract_leak", "zero", "none"]
STEPS = 3
SMOOTH = Surrogate("gaussian", 0.7, 1.3)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def small(seed=0, sizes=(4, 5, 3, 2), **settings):
    """A network in which every layer spikes and has neurons on both sides of the threshold."""
    settings = dict(threshold=0.6, leak=0.7, surrogate=SMOOTH, encode=False) | settings
    network = networks.mlp(sizes, init="kaiming", generator=generator(seed), **settings)
    return network.double()


def images(samples=6, features=4, seed=1):
    inputs = torch.randn(samples, features, generator=generator(seed), dtype=torch.float64)
    return Dataset("some", "train", inputs, torch.arange(samples) % 2, 2)


def empty():
    return Dataset("none", "train", torch.zeros(0, 4), torch.zeros(0, dtype=torch.long), 2)


def squares(output, targets):
    wanted = nn.functional.one_hot(targets, output.shape[-1]).to(output.dtype)
    return nn.functional.mse_loss(output.mean(0), wanted)


def weights(network):
    return [p.detach().clone() for p in network.parameters()]


def flat(parts):
    return torch.cat([part.reshape(-1) for part in parts])


def unflat(vector, like):
    sizes = [part.numel() for part in like]
    return [v.view_as(part) for v, part in zip(vector.split(sizes), like, strict=True)]


# --- The oracle: a network written out, which autograd differentiates by itself -----------------


class Spike(torch.autograd.Function):
    """A step whose first derivative is the surrogate's."""

    @staticmethod
    def forward(ctx, v):
        ctx.save_for_backward(v)
        return (v > 0).to(v.dtype)

    @staticmethod
    def backward(ctx, grad):
        (v,) = ctx.saved_tensors
        return grad * SMOOTH.derivative(v)


def loop(parts, x, *, reset, detach, spike=Spike.apply, threshold=0.6, leak=0.7):
    """The layers of `small` with plain tensor operations, no function of the library's."""
    signal = [x] * STEPS
    for weight in parts:
        u = fired = None
        out = []
        for now in signal:
            current = now @ weight.T
            if u is None:
                u = current
            else:
                held = fired.detach() if detach else fired
                u = {
                    "subtract": lambda u=u, held=held: leak * u - threshold * held,
                    "subtract_leak": lambda u=u, held=held: leak * (u - threshold * held),
                    "zero": lambda u=u, held=held: leak * u * (1 - held),
                    "none": lambda u=u: leak * u,
                }[reset]() + current
            fired = spike(u - threshold)
            out.append(fired)
        signal = out
    return torch.stack(signal)


@pytest.mark.parametrize("reset", RESETS)
@pytest.mark.parametrize("detach", [True, False])
def test_the_fused_neuron_differentiates_twice_as_a_loop_does(reset, detach):
    """The first thing to know: all else here stands on this."""
    network, data = small(reset=reset, detach_reset=detach), images()
    parts = [p.requires_grad_() for p in weights(network)]
    assert torch.equal(
        network(constant(data.inputs, STEPS)), loop(parts, data.inputs, reset=reset, detach=detach)
    )
    value = squares(loop(parts, data.inputs, reset=reset, detach=detach), data.targets)
    first = flat(torch.autograd.grad(value, parts, create_graph=True))
    rows = [flat(torch.autograd.grad(entry, parts, retain_graph=True)) for entry in first]
    want = torch.stack(rows).numpy()
    operator = curvature.hessian(network, data, steps=STEPS, loss=squares)
    got = curvature.matrix(operator)
    assert np.abs(want).max() > 1e-2
    np.testing.assert_allclose(got, want, atol=1e-13)
    np.testing.assert_allclose(got, got.T, atol=1e-13)
    assert not np.allclose(got, curvature.matrix(_hessian_of_another(reset, detach)), atol=1e-4)


def _hessian_of_another(reset, detach):
    """The same weights with a surrogate that is 5 % sharper."""
    sharper = Surrogate("gaussian", 0.7, 1.3 * 1.05)
    network = small(reset=reset, detach_reset=detach, surrogate=sharper)
    return curvature.hessian(network, images(), steps=STEPS, loss=squares)


@pytest.mark.parametrize("reset", RESETS)
def test_curvlinops_own_product_agrees(reset):
    network, data = small(reset=reset, detach_reset=False), images()
    operator = curvature.hessian(network, data, steps=STEPS, loss=squares)
    own = curvlinops.HessianLinearOperator._matmat_batch
    eye = torch.eye(operator.shape[0], dtype=torch.float64)
    vectors = [part.movedim(0, -1) for part in _columns(eye, operator._params)]
    x, y = operator._data[0]
    got = torch.cat([part.flatten(0, -2) for part in own(operator, x, y, vectors)])
    np.testing.assert_allclose(got.numpy(), curvature.matrix(operator), atol=1e-13)


def _columns(eye, like):
    sizes = [p.numel() for p in like]
    return [v.reshape(-1, *p.shape) for v, p in zip(eye.split(sizes, 1), like, strict=True)]


def test_batches_do_not_matter():
    network, data = small(), images(7)
    whole = curvature.matrix(curvature.hessian(network, data, steps=STEPS, loss=squares))
    parts = curvature.hessian(network, data, steps=STEPS, loss=squares, batch_size=3)
    np.testing.assert_allclose(curvature.matrix(parts), whole, atol=1e-14)


def test_a_smooth_network_has_its_true_hessian():
    """Autograd's full matrix of the same function, and second differences of its loss."""
    network = nn.Sequential(nn.Flatten(2), nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2)).double()
    data, parameters = images(), [p.detach() for p in network.parameters()]
    names = [name for name, _ in network.named_parameters()]

    def value(vector):
        parts = dict(zip(names, unflat(vector, parameters), strict=True))
        return squares(functional_call(network, parts, (constant(data.inputs, 1),)), data.targets)

    center = flat(parameters)
    want = torch.autograd.functional.hessian(value, center)
    got = curvature.matrix(curvature.hessian(network, data, steps=1, loss=squares))
    np.testing.assert_allclose(got, want.numpy(), atol=1e-13)
    direction = torch.randn(center.shape, generator=generator(2), dtype=torch.float64)
    eps = 1e-4
    second = (
        value(center + eps * direction) + value(center - eps * direction) - 2 * value(center)
    ) / eps**2
    assert abs(second.item() - direction.numpy() @ got @ direction.numpy()) < 1e-5


@pytest.mark.parametrize("reset", RESETS)
def test_twice_through_the_surrogate_is_the_hessian_of_the_touching_network(reset):
    """Spikes x₀ + σ(u - θ) - σ(u₀ - θ): a smooth function, of which only values are used here."""
    network, data = small(reset=reset, detach_reset=False), images()
    parts, present = weights(network), []

    def remember(v):
        present.append(v.detach())
        return (v > 0).to(v.dtype)

    loop(parts, data.inputs, reset=reset, detach=False, spike=remember)

    def value(vector):
        known = iter(present)

        def touching(v):
            before = next(known)
            step = (before > 0).to(v.dtype)
            return step + SMOOTH.primitive(v) - SMOOTH.primitive(before)

        out = loop(unflat(vector, parts), data.inputs, reset=reset, detach=False, spike=touching)
        return squares(out, data.targets)

    center, eps = flat(parts), 1e-3
    found = curvature.matrix(curvature.hessian(network, data, steps=STEPS, loss=squares))
    for seed in range(3):
        z = torch.randn(center.shape, generator=generator(seed), dtype=torch.float64)
        z /= z.norm()
        points = [value(center + k * eps * z) for k in (-2, -1, 0, 1, 2)]
        second = (-points[0] + 16 * points[1] - 30 * points[2] + 16 * points[3] - points[4]) / 12
        assert abs(second.item() / eps**2 - z.numpy() @ found @ z.numpy()) < 1e-6


# --- The Jacobian of the surrogate field ---------------------------------------------------------


def field(network, vector, data):
    like = list(network.parameters())
    names = [name for name, _ in network.named_parameters()]
    parts = [p.clone().requires_grad_() for p in unflat(vector, like)]
    output = functional_call(
        network, dict(zip(names, parts, strict=True)), (constant(data.inputs, STEPS),)
    )
    return flat(torch.autograd.grad(squares(output, data.targets), parts))


@pytest.mark.parametrize("reset", RESETS)
@pytest.mark.parametrize("detach", [True, False])
def test_surrogate_jacobian_is_the_difference_of_gradients(reset, detach):
    network, data = small(reset=reset, detach_reset=detach), images()
    found = curvature.matrix(curvature.surrogate_jacobian(network, data, steps=STEPS, loss=squares))
    center, eps = flat(weights(network)), 1e-6
    columns = []
    for unit in torch.eye(len(center), dtype=torch.float64):
        ahead, behind = (field(network, center + sign * eps * unit, data) for sign in (1, -1))
        columns.append((ahead - behind) / (2 * eps))
    want = torch.stack(columns, 1).numpy()
    assert np.abs(want).max() > 1e-2
    np.testing.assert_allclose(found, want, atol=1e-8)


def test_surrogate_jacobian_is_block_triangular_and_asymmetric():
    network, data = small(), images()
    operator = curvature.surrogate_jacobian(network, data, steps=STEPS, loss=squares)
    found = curvature.matrix(operator)
    bounds = np.cumsum([0] + [p.numel() for p in network.parameters()])
    for row, (low, high) in enumerate(pairwise(bounds)):
        own = found[low:high, low:high]
        np.testing.assert_allclose(own, own.T, atol=1e-14)
        assert not found[low:high, :low].any(), f"layer {row} feels the layers below"
        assert row == 2 or np.abs(found[low:high, high:]).max() > 1e-3
    exact = np.linalg.norm(found - found.T) / np.linalg.norm(found + found.T)
    estimate = curvature.asymmetry(operator, samples=60)
    assert exact > 0.3
    # 5.5 standard errors: false alarm below 1e-6; the standard error is about 6 % of the value
    assert abs(estimate.value - exact) < 5.5 * estimate.standard_error < 0.5 * exact
    with pytest.raises(ValueError, match="symmetric"):
        curvature.eigenvalues(operator, 2)
    with pytest.raises(NotImplementedError):
        operator.adjoint()


def test_hessian_is_symmetric_where_the_jacobian_is_not():
    network, data = small(detach_reset=False), images()
    operator = curvature.hessian(network, data, steps=STEPS, loss=squares)
    assert curvature.asymmetry(operator, samples=4).value < 1e-12


def test_the_loss_is_flat_between_jumps():
    network, data = small(), images()
    center = flat(weights(network))
    like, names = list(network.parameters()), [n for n, _ in network.named_parameters()]

    def value(vector):
        parts = dict(zip(names, unflat(vector, like), strict=True))
        with torch.no_grad():
            output = functional_call(network, parts, (constant(data.inputs, STEPS),))
        return squares(output, data.targets).item()

    z = torch.randn(center.shape, generator=generator(3), dtype=torch.float64)
    assert value(center + 1e-9 * z) == value(center)
    values = {value(center + r * z) for r in np.linspace(0, 2, 400)}
    assert 3 < len(values) < 200, "a staircase"


# --- Smoothed networks ---------------------------------------------------------------------------


@pytest.mark.parametrize("gradient", ["absolute", "relative", "threshold_robust"])
@pytest.mark.parametrize("reset", RESETS)
def test_sharp_smooth_networks_spike(gradient, reset):
    network = small(
        reset=reset, threshold_gradient=gradient, surrogate=Surrogate("gaussian", 0.7, 1.3)
    )
    x = constant(images(50).inputs, STEPS)
    torch.testing.assert_close(curvature.smoothed(network, sharpness=1e7)(x), network(x))
    soft = curvature.smoothed(network)(x)
    assert bool((soft > 0).all()) and not torch.allclose(soft, network(x), atol=0.1)


def test_smoothed_network_has_a_true_hessian():
    network, data = small(surrogate=Surrogate("gaussian")), images()
    smooth = curvature.smoothed(network)
    found = curvature.matrix(curvature.hessian(smooth, data, steps=STEPS, loss=squares))
    jacobian = curvature.surrogate_jacobian(smooth, data, steps=STEPS, loss=squares)
    np.testing.assert_allclose(curvature.matrix(jacobian), found, atol=1e-12)  # the same thing


def test_the_start_of_the_membrane_is_kept():
    layer = LIF(initial=torch.tensor(0.9), leak=0.5, threshold=0.6)
    assert curvature.smoothed(layer, sharpness=1e7)(torch.full((1, 1, 1), 0.2)).item() > 0.999
    running = MPInit()
    running.mean.fill_(0.9)
    layer = LIF(initial=running, leak=0.5, threshold=0.6, reset="subtract_leak").eval()
    soft = curvature.smoothed(layer, sharpness=1e7)
    for now in (-0.35, -0.25, 0.2):
        current = torch.full((3, 1, 1), now)
        torch.testing.assert_close(soft(current), layer(current))


def test_only_layers_of_lif_are_replaced():
    network = nn.Sequential(nn.Linear(2, 3), AdaptiveLIF(3, generator=generator()))
    for act in (
        lambda: curvature.smoothed(network),
        lambda: curvature.surrogate_jacobian(network, images(4, 2)),
    ):
        with pytest.raises(ValueError, match="AdaptiveLIF in 1"):
            act()
    with pytest.raises(ValueError, match="sharpness"):
        curvature.smoothed(network, sharpness=0.0)


# --- What to know of a matrix --------------------------------------------------------------------


def symmetric(size=40, seed=4):
    a = np.random.default_rng(seed).standard_normal((size, size))
    return (a + a.T) / 2


def test_eigenvalues_against_lapack():
    a = symmetric()
    want = np.linalg.eigvalsh(a)[::-1]
    operator = aslinearoperator(a)
    np.testing.assert_allclose(curvature.eigenvalues(operator, 4), want[:4], rtol=1e-3)
    low = curvature.eigenvalues(operator, 3, which="smallest")
    np.testing.assert_allclose(low, want[-3:], rtol=1e-3)
    large = curvature.eigenvalues(operator, 1, which="magnitude")[0]
    assert math.isclose(abs(large), np.abs(want).max(), rel_tol=1e-3)


def test_trace_and_its_standard_error():
    a = symmetric()
    found = curvature.trace(aslinearoperator(a), samples=4000)
    # Signs: the variance is 2 (‖A‖² - Σ A_ii²).
    exact = math.sqrt(2 * (np.sum(a**2) - np.sum(np.diag(a) ** 2)) / 4000)
    assert abs(found.standard_error / exact - 1) < 0.1
    assert abs(found.value - np.trace(a)) < 5.5 * exact


def test_asymmetry_against_the_whole_matrix():
    a = np.random.default_rng(5).standard_normal((40, 40)) + 0.4 * symmetric()
    exact = np.linalg.norm(a - a.T) / np.linalg.norm(a + a.T)
    found = curvature.asymmetry(aslinearoperator(a), samples=300)
    # a false alarm below 1e-6; an error of 15 % is always seen
    assert abs(found.value - exact) < 5.5 * found.standard_error < 0.15 * exact


def test_density_finds_the_share_of_negative_eigenvalues():
    network, data = small(sizes=(4, 12, 2), detach_reset=False), images(30)
    operator = curvature.hessian(network, data, steps=STEPS, loss=squares)
    exact = np.linalg.eigvalsh(curvature.matrix(operator))
    first = curvature.spectral_density(operator, iterations=12, repeats=6, seed=7)
    again = curvature.spectral_density(operator, iterations=12, repeats=6, seed=7)
    np.testing.assert_array_equal(first.density, again.density)
    width = first.grid[1] - first.grid[0]
    assert abs(first.density.sum() * width - 1) < 0.02
    mean = (first.density * first.grid).sum() * width
    assert abs(mean - exact.mean()) < 0.1 * exact.std()


def test_loss_rise_leaves_the_network_and_does_not_know_units():
    """Weights and thresholds doubled: same spikes, same rise, a quarter of the curvature."""
    surrogate = Surrogate("gaussian", 0.5, 1.0)
    network = small(threshold=1.0, surrogate=surrogate)
    double = small(threshold=2.0, surrogate=Surrogate("gaussian", 0.25, 0.5))
    data = images(40)
    with torch.no_grad():
        for ours, theirs in zip(double.parameters(), network.parameters(), strict=True):
            ours.copy_(2 * theirs)
    before = weights(network)
    settings = dict(steps=STEPS, loss=squares, radius=0.3, samples=10)
    first, second = (curvature.loss_rise(n, data, **settings) for n in (network, double))
    assert first == second and first.value != 0
    assert all(torch.equal(a, b) for a, b in zip(before, weights(network), strict=True))
    matrices = [
        curvature.matrix(curvature.hessian(n, data, steps=STEPS, loss=squares))
        for n in (network, double)
    ]
    np.testing.assert_allclose(matrices[1], matrices[0] / 4, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda a, n, d: curvature.eigenvalues(a, 0), "count must be an integer from 1 to 39"),
        (lambda a, n, d: curvature.eigenvalues(a, 40), "got 40"),
        (lambda a, n, d: curvature.eigenvalues(a, 2, which="big"), "which must be one of"),
        (lambda a, n, d: curvature.trace(a, samples=1), "samples must be an integer >= 2"),
        (lambda a, n, d: curvature.asymmetry(a, samples=2), "samples must be an integer >= 3"),
        (lambda a, n, d: curvature.spectral_density(a, repeats=0), "repeats must be a positive"),
        (lambda a, n, d: curvature.spectral_density(a, iterations=41), "from 2 to 40"),
        (lambda a, n, d: curvature.hessian(n, d, steps=0), "steps must be a positive integer"),
        (lambda a, n, d: curvature.hessian(n, d, loss="none"), "loss must be a function or one"),
        (lambda a, n, d: curvature.hessian(nn.Flatten(2), d), "at least one parameter"),
        (lambda a, n, d: curvature.loss_rise(n, d, radius=-1.0), "radius must be positive"),
        (lambda a, n, d: curvature.hessian(n, empty()), "at least one sample"),
    ],
)
def test_bad_input(act, message):
    with pytest.raises(ValueError, match=message):
        act(aslinearoperator(symmetric()), small(), images())
