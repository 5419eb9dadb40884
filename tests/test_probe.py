"""The probe against hand computation, scipy.stats and autograd; its memory; what it leaves."""

import copy
from collections import OrderedDict

import pytest
import torch
from scipy import stats
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from snnlib import probe
from snnlib.networks import FeedForward, constant, convnet, mlp
from snnlib.neurons import LIF, lif
from snnlib.probe import capture


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def example(**settings) -> tuple[FeedForward, torch.Tensor]:
    settings = {"threshold": 0.6, "leak": 0.7, "generator": seeded(1)} | settings
    network = mlp([30, 40, 25, 8], **settings)
    return network, torch.randn(5, 12, 30, generator=seeded(2))


def traces(network: FeedForward, batch: torch.Tensor) -> list:
    """Membrane and spikes of every LIF layer, by calling the layers one by one."""
    found = []
    for layer in network:
        if isinstance(layer, LIF):
            found.append(layer.trace(batch))
            batch = found[-1].spikes
        else:
            batch = layer(batch)
    return found


# --- forward statistics ---------------------------------------------------------------------------


def test_moments_of_a_trajectory_done_by_hand():
    """Currents 1, 0 and 3 for two neurons with leak 1/2 and threshold 1, reset by subtraction."""
    current = torch.tensor([[[1.0, 3.0]], [[1.0, 0.0]], [[0.0, 0.0]]])
    found = probe.record(LIF(threshold=1.0, leak=0.5), current, gradient=False)
    # u: (1, 3), then (1/2 + 1, 3/2 - 1), then (3/4 - 1, 1/4)
    assert found.mean.tolist() == [[2.0, 1.0, 0.0]]
    assert found.variance.tolist() == [[1.0, 0.25, 0.0625]]
    assert found.skewness.tolist() == [[0.0, 0.0, 0.0]]
    assert found.kurtosis.tolist() == [[-2.0, -2.0, -2.0]]
    assert found.rate.tolist() == [[0.5, 0.5, 0.0]]
    assert found.spikes.tolist() == [[1.0, 1.0, 0.0]]
    assert found.gradient_variance is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_moments_agree_with_scipy(dtype):
    network, batch = example()
    network, batch = network.to(dtype), batch.to(dtype)
    found = probe.record(network, batch)
    assert found.layers == ("lif0", "lif1", "lif2", "lif3")
    for layer, (membrane, spikes) in enumerate(traces(network, batch)):
        u, x = (values.detach().double().flatten(1).numpy() for values in (membrane, spikes))
        assert 0 < x.mean() < 1
        for name, expected in {
            "mean": u.mean(1),
            "variance": u.var(1),
            "skewness": stats.skew(u, axis=1),
            "kurtosis": stats.kurtosis(u, axis=1),
            "rate": x.mean(1),
            "spikes": x.sum(1),
        }.items():
            value = getattr(found, name)
            assert value.shape == (4, 5) and value.dtype == torch.float64
            assert value[layer].numpy() == pytest.approx(expected, rel=1e-12, abs=1e-14), name


def test_blocks_of_steps_do_not_change_the_moments():
    """A layer so wide that its steps are taken one at a time."""
    current = torch.randn(3, 2, 700_000, generator=seeded())
    found = probe.record(LIF(reset="none", leak=0.0), current, gradient=False)
    assert found.mean[0].numpy() == pytest.approx(current.double().mean((1, 2)).numpy())
    assert found.variance[0].numpy() == pytest.approx(
        current.double().var((1, 2), correction=0).numpy()
    )


def test_moments_do_not_cancel_far_from_zero():
    noise = torch.randn(1, 1, 10_000, generator=seeded(), dtype=torch.float64)
    layer = LIF(leak=0.0, reset="none")
    near = probe.record(layer, noise, gradient=False)
    far = probe.record(layer, noise + 1e6, gradient=False)
    for name in ("variance", "skewness", "kurtosis"):
        assert getattr(far, name).item() == pytest.approx(getattr(near, name).item(), abs=1e-8)


def test_images_are_pooled_over_channels_and_pixels():
    network = convnet((1, 6, 6), 4, channels=(5, 5), threshold=0.5, generator=seeded())
    batch = torch.randn(3, 7, 1, 6, 6, generator=seeded(1))
    found = probe.record(network, batch)
    assert found.layers == ("lif1", "lif2", "lif3")
    membrane, spikes = network.lif1.trace(
        torch.stack([nn.functional.conv2d(x, network.conv1.weight, padding=1) for x in batch])
    )
    expected = membrane.double().flatten(1).var(1, correction=0).detach()
    torch.testing.assert_close(found.variance[0], expected, rtol=1e-10, atol=0)
    assert found.spikes[0].tolist() == spikes.flatten(1).sum(1).tolist()


def test_a_silent_layer_has_no_shape_and_no_rate():
    found = probe.record(mlp([5, 6, 3], threshold=10.0), torch.zeros(2, 4, 5), gradient=False)
    assert not found.variance.any() and not found.rate.any()
    assert found.skewness.isnan().all() and found.kurtosis.isnan().all()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_network_that_diverges_is_recorded_up_to_there(value):
    network, batch = example()
    with torch.no_grad():
        network.linear2.weight[0, 0] = value
    found = probe.record(network, batch)
    finite = torch.isfinite(found.mean)
    assert finite[:2].all() and not finite[2].all()
    assert torch.isfinite(found.rate).all()


# --- gradients ------------------------------------------------------------------------------------


def test_the_gradient_is_the_derivative_by_the_current_of_each_layer():
    """Autograd through the layers one by one, in double precision."""
    network, batch = example(detach_reset=False)
    network, batch = network.double(), batch.double()
    cotangent = torch.randn(5, 12, 8, generator=seeded(7), dtype=torch.float64)
    currents, x = [], batch.clone().requires_grad_()
    for layer in network:
        if isinstance(layer, LIF):
            currents.append(x)
        x = layer(x)
    gradients = torch.autograd.grad((x * cotangent).sum(), currents)
    found = probe.record(network, batch, seed=7).gradient_variance
    for row, gradient in zip(found, gradients, strict=True):
        expected = gradient.flatten(1).var(1, correction=0)
        assert (expected > 0).all()
        torch.testing.assert_close(row, expected, rtol=1e-12, atol=0)
    assert not torch.equal(found, probe.record(network, batch, seed=8).gradient_variance)


def test_the_gradient_is_the_total_derivative_by_the_potential():
    """By hand: one neuron without reset, so a potential acts on its spike and all later ones."""
    leak, threshold = 0.5, 1.0
    current = torch.tensor([0.3, 0.9, 0.2], dtype=torch.float64)[:, None, None].expand(3, 1, 2)
    layer = LIF(leak=leak, threshold=threshold, reset="none")
    weights = torch.tensor([[1.0, -1.0], [2.0, -2.0], [3.0, -3.0]], dtype=torch.float64)
    found = probe.record(layer, current, loss=lambda x: (x[:, 0] * weights).sum())
    u = lif(current, leak=leak, threshold=threshold, reset="none").membrane[:, 0, 0]
    slope = layer.surrogate.derivative(u - threshold)
    direct = slope * torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    total = [
        direct[0] + leak * direct[1] + leak**2 * direct[2],
        direct[1] + leak * direct[2],
        direct[2],
    ]
    # The two neurons have opposite gradients: mean 0, variance total².
    torch.testing.assert_close(found.gradient_variance[0], torch.stack(total) ** 2)


def test_a_loss_replaces_the_random_weights():
    network, batch = example()
    weights = torch.randn(5, 12, 8, generator=seeded(3))
    found = probe.record(network, batch, loss=lambda x: (weights * x).sum())
    scaled = probe.record(network, batch, loss=lambda x: 10 * (weights * x).sum())
    torch.testing.assert_close(
        scaled.gradient_variance, 100 * found.gradient_variance, rtol=1e-4, atol=0
    )
    unaware = probe.record(network, batch, loss=lambda x: torch.zeros(()))
    assert not unaware.gradient_variance.any()


class Shortcut(nn.Module):
    """The current of a layer also goes around it; one neuron module is used twice."""

    def __init__(self):
        super().__init__()
        self.linear, self.act, self.side = nn.Linear(4, 4), LIF(threshold=0.3), LIF()

    def forward(self, x):
        current = self.linear(x)
        spikes = self.act(current)
        self.side(x[:2])  # two of the three steps, and nothing depends on it
        return self.act(spikes + current), "more"


def test_a_layer_that_runs_twice_and_one_that_leads_nowhere():
    network, x = Shortcut(), torch.randn(3, 6, 4, generator=seeded())
    found = probe.record(network, x, loss=lambda out: out[0].sum())
    assert found.layers == ("act", "side", "act#2")
    assert found.mean.shape == (3, 3)
    assert found.mean[1].isnan().tolist() == [False, False, True]
    assert found.gradient_variance[1, :2].tolist() == [0.0, 0.0]
    # The gradient of the first call is through its spikes alone.
    current = network.linear(x).detach()
    inner = current.clone().requires_grad_()
    network.act(network.act(inner) + current).sum().backward()
    expected = inner.grad.double().flatten(1).var(1, correction=0)
    torch.testing.assert_close(found.gradient_variance[0], expected)


# --- what it costs and what it leaves -------------------------------------------------------------


class PeakMemory(TorchDispatchMode):
    """Largest number of bytes in live tensors that were made while the mode was on."""

    def __init__(self):
        super().__init__()
        self.live: dict[StorageWeakRef, int] = {}
        self.peak = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        # What an operation takes for the first time was there before, and a view of it is no cost.
        self.see((args, kwargs), made=False)
        out = func(*args, **(kwargs or {}))
        self.see(out, made=True)
        self.live = {ref: size for ref, size in self.live.items() if not ref.expired()}
        self.peak = max(self.peak, sum(self.live.values()))
        return out

    def see(self, tree, *, made):
        for leaf in tree_leaves(tree):
            if isinstance(leaf, torch.Tensor):
                storage = leaf.untyped_storage()
                self.live.setdefault(StorageWeakRef(storage), made * storage.nbytes())


def peak(depth: int, *, gradient: bool) -> int:
    network = mlp([200] * depth, generator=seeded())
    batch = constant(torch.randn(10, 200, generator=seeded(1)), 8)
    with PeakMemory() as memory:
        probe.record(network, batch, gradient=gradient)
    return memory.peak


def test_forward_memory_does_not_grow_with_depth():
    layer = 8 * 10 * 200 * 4  # bytes of one float32 tensor [T, batch, neurons]
    shallow, deep = peak(4, gradient=False), peak(40, gradient=False)
    assert shallow > 2 * layer
    assert deep < shallow + 0.5 * layer
    # The measure sees what is kept: the backward pass keeps every layer.
    assert peak(40, gradient=True) > 40 * layer


def test_the_network_is_left_as_it_was():
    torch.manual_seed(0)
    network = FeedForward(
        OrderedDict(
            lif0=LIF(),
            linear=nn.Linear(6, 5),
            norm=nn.BatchNorm1d(4),
            dropout=nn.Dropout(0.5),
            lif1=LIF(threshold=0.2, learn_threshold=True),
        )
    )
    network.norm.eval()
    network.norm.train()
    network.dropout.eval()
    network(torch.randn(3, 4, 6)).sum().backward()
    state = copy.deepcopy(network.state_dict())
    gradients = {
        name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None
    }
    modes = [m.training for m in network.modules()]
    attributes = [set(vars(m)) for m in network.modules()]
    batch = torch.randn(3, 4, 6, requires_grad=True)
    random_state = torch.get_rng_state()
    probe.record(network, batch)
    with pytest.raises(ValueError, match="scalar"):
        probe.record(network, batch, loss=lambda x: x)
    assert torch.equal(random_state, torch.get_rng_state())
    torch.testing.assert_close(network.state_dict(), state, rtol=0, atol=0)
    assert {n for n, p in network.named_parameters() if p.grad is not None} == set(gradients)
    assert all(
        torch.equal(p.grad, gradients[n]) for n, p in network.named_parameters() if n in gradients
    )
    assert modes == [m.training for m in network.modules()]
    assert attributes == [set(vars(m)) for m in network.modules()]
    assert batch.grad is None


def test_both_passes_see_the_same_random_layers():
    network = FeedForward(nn.Dropout(0.5), LIF(leak=0.0, reset="none", threshold=0.0))
    batch = torch.ones(1, 1, 2000)
    found = probe.record(network, batch, loss=lambda x: x.sum())
    # u is 2 or 0; the slope differs between the two, so the gradient's variance counts the zeros.
    zeros = 1 - found.mean.item() / 2
    slope = network[1].surrogate.derivative(torch.tensor([0.0, 2.0], dtype=torch.float64))
    expected = zeros * (1 - zeros) * (slope[0] - slope[1]) ** 2
    assert found.gradient_variance.item() == pytest.approx(expected.item(), rel=1e-5)


def test_a_compiled_network_gives_the_same():
    network, batch = example()
    expected = probe.record(network, batch)
    found = probe.record(torch.compile(network, backend="eager"), batch)
    assert found.layers == expected.layers
    assert torch.equal(found.variance, expected.variance)
    assert torch.equal(found.gradient_variance, expected.gradient_variance)


# --- bad input ------------------------------------------------------------------------------------


def test_bad_input_is_refused():
    batch = torch.randn(2, 3, 4)
    with pytest.raises(ValueError, match="at least one spiking layer"):
        probe.record(nn.Linear(4, 4), batch)
    with pytest.raises(ValueError, match="loss must return a scalar tensor"):
        probe.record(LIF(), batch, loss=lambda x: x)
    with pytest.raises(ValueError, match="pass loss="):
        probe.record(Shortcut(), torch.randn(3, 6, 4))
    with pytest.raises(ValueError, match=r"T >= 1|at least one step"):
        probe.record(LIF(), batch[:0])


# --- other libraries ------------------------------------------------------------------------------


def foreign(name: str):
    """A layer, and its potentials after the reset as the library itself keeps them."""
    if name.startswith("snntorch"):
        snn = pytest.importorskip("snntorch")
        layer = {
            "snntorch": lambda: snn.Leaky(beta=0.7, threshold=0.8),
            "snntorch zero": lambda: snn.Leaky(beta=0.7, reset_mechanism="zero"),
            "snntorch synaptic": lambda: snn.Synaptic(alpha=0.6, beta=0.7),
            "snntorch recurrent": lambda: snn.RLeaky(beta=0.7, linear_features=40),
        }[name]()
        module = nn.Sequential(layer)
        layer.init_hidden = True

        def own(current):
            layer.reset_mem()
            kept = []
            for i in current:
                layer(i)
                kept.append(layer.mem)
            return torch.stack(kept)

        return module, own, lambda u, x: u
    if name.startswith("spikingjelly"):
        neuron = pytest.importorskip("spikingjelly.activation_based.neuron")
        kind, mode = name.split()[1:]
        layer = {
            "hard": lambda: neuron.LIFNode(tau=3.0, step_mode=mode, store_v_seq=True),
            "soft": lambda: neuron.LIFNode(
                tau=3.0, v_reset=None, decay_input=False, step_mode=mode, store_v_seq=True
            ),
        }[kind]()

        def own(current):
            layer.reset()
            if mode == "m":
                layer(current)
            else:
                for i in current:
                    layer(i)
            return layer.v_seq

        return layer, own, lambda u, x: u * (1 - x) if kind == "hard" else u - x
    norse = pytest.importorskip("norse.torch")
    layer = {
        "norse cell": norse.LIFCell,
        "norse box": norse.LIFBoxCell,
        "norse recurrent": lambda: norse.LIFRecurrentCell(40, 40),
    }[name]()

    def own(current):
        state, kept = None, []
        for i in current:
            _, state = layer(i, state)
            kept.append(state.v)
        return torch.stack(kept)

    return norse.SequentialState(layer), own, lambda u, x: u * (1 - x)


FOREIGN = [
    "snntorch",
    "snntorch zero",
    "snntorch synaptic",
    "snntorch recurrent",
    "spikingjelly hard s",
    "spikingjelly hard m",
    "spikingjelly soft m",
    "norse cell",
    "norse box",
    "norse recurrent",
]


@pytest.mark.parametrize("name", FOREIGN)
def test_potentials_of_other_libraries_are_theirs(name):
    """Against the potential that each library keeps; rates against the spikes it sends."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module, own, after = foreign(name)
    batch = 6 * torch.randn(8, 5, 40, generator=seeded(3))
    blocks, currents = [], []

    def visit(entry, current, membrane, spikes):
        assert membrane is not None, entry.why
        blocks.append(after(membrane, spikes))
        currents.append(spikes)

    with torch.no_grad():
        capture.observe(module, batch, visit=visit)
        expected = own(batch)
    spikes = torch.cat(currents)
    assert 0.05 < spikes.mean() < 0.95
    torch.testing.assert_close(torch.cat(blocks), expected, rtol=1e-4, atol=1e-5)
    found = probe.record(module, batch, gradient=False)
    assert not found.unknown
    assert found.rate[0].tolist() == pytest.approx(spikes.double().mean((1, 2)).tolist())


def test_the_gradient_in_a_foreign_neuron_is_by_its_potential():
    """Norse's cell has a synapse and an input gain: dL/du is not dL/di."""
    norse = pytest.importorskip("norse.torch")
    cell = norse.LIFCell(norse.LIFParameters(alpha=torch.as_tensor(2.0)))
    batch = 20 * torch.randn(5, 4, 30, generator=seeded(3))
    cotangent = torch.randn(5, 4, 30, generator=seeded(7), dtype=torch.float64).float()
    # An addition e to the potential before a step enters u as (1 - dt/τ)·e.
    added, state, loss = [], None, 0.0
    for i, c in zip(batch, cotangent, strict=True):
        state = cell.initial_state(i) if state is None else state
        added.append(torch.zeros(4, 30, requires_grad=True))
        spikes, state = cell(i, state._replace(v=state.v + added[-1]))
        loss = loss + (c * spikes).sum()
    gradients = torch.stack(torch.autograd.grad(loss, added)) / (1 - 0.001 * 100)
    found = probe.record(norse.SequentialState(cell), batch, seed=7).gradient_variance[0]
    expected = gradients.double().flatten(1).var(1, correction=0)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=0)


def test_a_foreign_neuron_that_cannot_be_told_says_so():
    """With inhibition one neuron of a layer spikes at most."""
    snn = pytest.importorskip("snntorch")
    with pytest.warns(UserWarning, match="unstable"):
        layer = snn.Leaky(beta=0.5, init_hidden=True, inhibition=True)
    batch = 3 * torch.randn(4, 3, 20, generator=seeded())
    found = probe.record(nn.Sequential(layer), batch)
    assert "inhibition" in found.unknown["0"] and "differ" in found.unknown["0"]
    assert found.mean.isnan().all() and found.rate.isfinite().all()
    assert found.rate.max() <= 1 / 20
    assert found.gradient_variance.isfinite().all()
