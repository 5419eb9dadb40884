"""Fused networks: the spikes and gradients of the layers one by one, with every choice."""

import copy
import itertools
import pickle

import pytest
import torch
from torch import nn
from torch.autograd import forward_ad
from torch.func import functional_call, grad, hessian, vmap

from snnlib import probe, products
from snnlib.networks import FeedForward, MaxPool, constant, convnet, fuse, mlp, recurrent
from snnlib.neurons import LIF
from snnlib.neurons import _weighted as weighted
from snnlib.products import forced
from snnlib.surrogate import Surrogate

KEEP = ("full", "bfloat16", "spikes")
RESETS = ("subtract", "subtract_leak", "zero", "none")
EPS = torch.finfo(torch.float32).eps


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def alone(network):
    """The same network, its layers one by one."""
    network = copy.copy(network)
    network.keep = None
    return network


def network_of(kind, dtype=torch.float64, **settings):
    """A small network away from unit values, with an input and a threshold that let it spike."""
    settings = {
        "threshold": 0.9,
        "leak": 0.7,
        "bias": True,
        "surrogate": Surrogate("gaussian", dampening=0.7, sharpness=0.6),
        "generator": seeded(1),
    } | settings
    if kind == "mlp":
        network, shape = mlp([20, 70, 66, 65], **settings), (20,)
    else:
        network, shape = convnet((2, 6, 6), 5, channels=(8, 9), **settings), (2, 6, 6)
    x = 2 * torch.randn(5, 7, *shape, generator=seeded(2), dtype=dtype)
    return network.to(dtype), x


def outputs_of(network, x):
    """Spikes, and the gradients of a generic function of them by input and parameters."""
    x = x.clone().requires_grad_()
    y = network(x)
    phases = torch.arange(y.numel(), dtype=y.dtype).view_as(y)
    found = torch.autograd.grad((y * phases.sin()).sum(), [x, *network.parameters()])
    return y.detach(), found


# --- Results --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["mlp", "conv"])
@pytest.mark.parametrize("reset", RESETS)
@pytest.mark.parametrize(("detach", "learn"), list(itertools.product([True, False], repeat=2)))
def test_spikes_and_gradients_are_those_of_the_layers_alone(kind, reset, detach, learn):
    network, x = network_of(
        kind, reset=reset, detach_reset=detach, learn_threshold=learn, learn_leak=learn
    )
    spikes, wanted = outputs_of(alone(network), x)
    assert 0.02 < spikes.mean() < 0.9
    for keep, sparse in itertools.product(("full", "spikes"), (True, False)):
        with forced(sparse=sparse):
            found_spikes, found = outputs_of(fuse(network, keep=keep), x)
        assert torch.equal(found_spikes, spikes)
        for a, b in zip(wanted, found, strict=True):
            torch.testing.assert_close(b, a, rtol=1e-10, atol=1e-12 * float(a.abs().max()))


@pytest.mark.parametrize("reset", RESETS)
@pytest.mark.parametrize("detach", [True, False])
def test_slopes_by_the_relative_distance_are_those_of_the_layers_alone(reset, detach):
    """σ'(u/θ - 1)/θ at a threshold of 0.9 that does not learn: a detached reset needs it, too."""
    network, x = network_of("mlp", reset=reset, detach_reset=detach, threshold_gradient="relative")
    _, wanted = outputs_of(alone(network), x)
    for keep in KEEP:
        _, found = outputs_of(fuse(network, keep=keep), x)
        for a, b in zip(wanted, found, strict=True):
            error = float((a - b).norm() / a.norm())
            assert error < (1e-2 if keep == "bfloat16" else 1e-10), keep


@pytest.mark.parametrize("kind", ["mlp", "conv"])
@pytest.mark.parametrize("reset", RESETS)
def test_bfloat16_moves_gradients_by_its_rounding(kind, reset):
    """Each slope is off by the change of σ' over a rounding of at most 2^-8 of v."""
    network, x = network_of(kind, reset=reset)
    spikes, wanted = outputs_of(alone(network), x)
    found_spikes, found = outputs_of(fuse(network, keep="bfloat16"), x)
    assert torch.equal(found_spikes, spikes)
    errors = [float((a - b).norm() / a.norm()) for a, b in zip(wanted, found, strict=True)]
    assert 0 < max(errors) < 1e-2, errors


@pytest.mark.parametrize("sparse", [True, False])
def test_with_equal_weights_spikes_differ_only_within_the_rounding_of_the_product(sparse):
    """|u - θ| of a spike that differs is below the rounding of T sums of n products.

    A float64 trajectory that is reset by the float32 spikes is the witness.
    """
    n, steps, leak, threshold = 500, 6, 0.8, 1.1
    weight = torch.randn(300, n, generator=seeded(3)) * (30 / n) ** 0.5
    x = (torch.rand(steps, 400, n, generator=seeded(4)) < 0.1).float()
    network = FeedForward(nn.Linear(n, 300, bias=False), LIF(threshold=threshold, leak=leak))
    network[0].weight.data = weight
    with forced(sparse=sparse), torch.no_grad():
        spikes = network(x)
    u, size, before, wrong = 0.0, 0.0, 0.0, 0
    for t in range(steps):
        current = x[t].double() @ weight.double().t()
        u = leak * u - threshold * before + current
        size = leak * size + threshold * before + x[t].double() @ weight.abs().double().t()
        bound = (n + 4 * steps) * EPS * size
        differs = (u > threshold) != (spikes[t] > 0)
        assert ((u - threshold).abs()[differs] <= bound[differs]).all()
        wrong += int(differs.sum())
        before = spikes[t].double()
    assert wrong < 1e-3 * spikes.numel()


def test_an_input_that_is_the_same_at_every_step_takes_one_product(monkeypatch):
    rows = []
    forward, back = products.Linear.forward, products.Linear.backward_weight
    monkeypatch.setattr(
        products.Linear, "forward", lambda *a: rows.append(a[1].shape[0]) or forward(*a)
    )
    monkeypatch.setattr(
        products.Linear, "backward_weight", lambda *a: rows.append(a[1].shape[0]) or back(*a)
    )
    network, x = network_of("mlp", encode=False)
    same = constant(x[0], 5)
    repeated = outputs_of(network, same.clone())
    assert rows == [35] * 6
    rows.clear()
    y = network(same)
    phases = torch.arange(y.numel(), dtype=y.dtype).view_as(y)
    found = torch.autograd.grad((y * phases.sin()).sum(), list(network.parameters()))
    assert rows == [7, 35, 35, 35, 35, 7]
    assert torch.equal(y.detach(), repeated[0])
    torch.testing.assert_close(found, repeated[1][1:])


def test_what_is_kept_for_the_way_back_is_as_small_as_said():
    """Bytes that the graph holds, per neuron and step; a layer is one row of the network."""
    depth, width, steps, batch = 30, 96, 10, 8
    network = mlp([width] * (depth + 1), encode=False, generator=seeded(5))
    x = torch.randn(steps, batch, width, generator=seeded(6))
    limits = {"full": 8.3, "bfloat16": 2.4, "spikes": 0.5}
    for keep, limit in limits.items():
        held = {}

        def pack(tensor, held=held):
            storage = tensor.untyped_storage()
            held[storage.data_ptr()] = (storage.nbytes(), tensor)
            return tensor

        fused = fuse(network, keep=keep)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            output = fused(x)
        own = {p.untyped_storage().data_ptr() for p in network.parameters()}
        own |= {x.untyped_storage().data_ptr()}
        size = sum(nbytes for place, (nbytes, _) in held.items() if place not in own)
        assert 0 < size / (depth * steps * batch * width) < limit, keep
        assert output.requires_grad


def test_nothing_is_kept_without_a_way_back():
    network, x = network_of("mlp")
    with torch.no_grad():
        assert network(x).grad_fn is None
    with torch.inference_mode():
        assert torch.equal(network(x), alone(network)(x))


# --- What runs as one, and what does not ----------------------------------------------------------


def counted(monkeypatch):
    """Every call of the fused node."""
    calls = []
    real = weighted._run
    monkeypatch.setattr(weighted, "_run", lambda *a: calls.append(a) or real(*a))
    return calls


def test_a_hook_sees_what_it_saw_before(monkeypatch):
    network, x = network_of("mlp")
    calls = counted(monkeypatch)
    seen = {}

    def look(module, args, output):
        seen[module] = (args[0].detach().clone(), output.detach().clone())

    def watch(run):
        seen.clear()
        handles = [layer.register_forward_hook(look) for layer in list(network)[2:]]
        run(x)
        for handle in handles:
            handle.remove()
        return dict(seen)

    before, after = watch(alone(network)), watch(fuse(network))
    assert before.keys() == after.keys() and not calls
    for module in before:
        assert all(map(torch.equal, before[module], after[module]))
    network(x)
    assert len(calls) == 3
    calls.clear()
    handle = network.lif2.register_full_backward_hook(lambda *_: None)
    network(x)
    assert len(calls) == 2
    handle.remove()
    calls.clear()
    kinds = ("forward", "forward_pre", "full_backward", "full_backward_pre")
    for kind in kinds:  # of all modules
        handle = getattr(nn.modules.module, f"register_module_{kind}_hook")(lambda *_: None)
        network(x)
        handle.remove()
        assert not calls, kind


def test_the_probe_and_the_diagnosis_see_what_they_saw_before():
    network, x = network_of("mlp", torch.float32)
    both = [probe.record(net, x) for net in (alone(network), fuse(network, keep="spikes"))]
    assert torch.equal(both[0].spikes, both[1].spikes)
    assert torch.equal(both[0].variance, both[1].variance)
    texts = [str(probe.diagnose(net, x)) for net in (alone(network), fuse(network))]
    assert texts[0] == texts[1]


@pytest.mark.parametrize(
    "neuron",
    [
        {"threshold_gradient": "threshold_robust"},
        {"threshold": torch.linspace(0.5, 1.5, 66, dtype=torch.float64)},
        {"initial": torch.linspace(-0.5, 0.5, 66, dtype=torch.float64)},
    ],
)
def test_neurons_that_differ_run_by_themselves(neuron, monkeypatch):
    calls = counted(monkeypatch)
    network = FeedForward(nn.Linear(20, 66), LIF(**neuron)).double()
    x = torch.randn(5, 7, 20, generator=seeded(2), dtype=torch.float64)
    assert torch.equal(network(x), alone(network)(x)) and not calls


def test_one_number_for_all_neurons_runs_as_one(monkeypatch):
    calls = counted(monkeypatch)
    start = torch.tensor([0.3], dtype=torch.float64)
    neuron = LIF(threshold=torch.tensor([[0.8]], dtype=torch.float64), initial=start)
    network = FeedForward(nn.Linear(20, 66), neuron).double()
    x = torch.randn(5, 7, 20, generator=seeded(2), dtype=torch.float64)
    for a, b in zip(outputs_of(network, x)[1], outputs_of(alone(network), x)[1], strict=True):
        torch.testing.assert_close(a, b)
    assert len(calls) == 1


def test_layers_that_are_not_torchs_own_run_by_themselves(monkeypatch):
    class Doubled(nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    calls = counted(monkeypatch)
    patched = nn.Linear(20, 66)
    patched.forward = lambda x: 2 * nn.functional.linear(x, patched.weight, patched.bias)
    normed = nn.utils.parametrizations.weight_norm(nn.Linear(20, 66))
    for layer in (Doubled(20, 66), patched, normed):
        network = FeedForward(layer, LIF())
        x = torch.randn(5, 7, 20, generator=seeded(2))
        current = layer(x.flatten(0, 1)).unflatten(0, (5, 7))
        assert torch.equal(network(x), LIF()(current))
    assert not calls


def test_sums_replace_products_only_behind_spikes_or_zeros():
    """A pooling by the mean lets values other than 0 and 1 through: they are multiplied."""
    network = FeedForward(
        nn.Linear(8, 64), LIF(threshold=0.2), nn.Dropout(0.5), nn.Linear(64, 64), LIF(threshold=0.2)
    ).double()
    x = torch.randn(3, 5, 8, generator=seeded(7), dtype=torch.float64)
    for sparse in (True, False):
        with forced(sparse=sparse):
            torch.manual_seed(0)
            found = outputs_of(network, x)
            torch.manual_seed(0)
            wanted = outputs_of(alone(network), x)
        assert torch.equal(found[0], wanted[0])
        torch.testing.assert_close(found[1], wanted[1])


@pytest.mark.parametrize("sparse", [True, False])
def test_recurrent_networks_have_the_same_products(sparse):
    network = recurrent([30, 40, 33, 5], generator=seeded(8)).double()
    x = (torch.rand(12, 6, 30, generator=seeded(9)) < 0.2).double()
    wanted = outputs_of(alone(network), x)
    with forced(sparse=sparse):
        found = outputs_of(network, x)
    torch.testing.assert_close(found[0], wanted[0])
    torch.testing.assert_close(found[1], wanted[1])


# --- torch's transforms and daily life ------------------------------------------------------------


def loss_of(network, x):
    def loss(parameters):
        y = functional_call(network, parameters, (x,))
        return (y * torch.arange(y.numel(), dtype=y.dtype).view_as(y).sin()).sum()

    return loss


def test_second_derivatives_are_those_of_the_layers_alone():
    network, x = network_of("mlp")
    for net in (network, fuse(network)):
        results = []
        for run in (net, alone(network)):
            y = run(x)
            phases = torch.arange(y.numel(), dtype=y.dtype).view_as(y)
            parameters = list(network.parameters())
            first = torch.autograd.grad((y * phases.sin()).sum(), parameters, create_graph=True)
            results.append(torch.autograd.grad(sum((g**2).sum() for g in first), parameters))
        torch.testing.assert_close(*results)
    for keep in ("bfloat16", "spikes"):
        y = fuse(network, keep=keep)(x).sum()
        with pytest.raises(RuntimeError, match=f"needs keep=.full.; this network keeps '{keep}'"):
            torch.autograd.grad(y, list(network.parameters()), create_graph=True)


def test_torch_func_and_forward_mode_run_the_layers_alone(monkeypatch):
    calls = counted(monkeypatch)
    network = mlp([4, 5, 3], generator=seeded(1)).double()
    x = 2 * torch.randn(3, 2, 4, generator=seeded(2), dtype=torch.float64)
    parameters = {name: value.detach() for name, value in network.named_parameters()}
    for transform in (grad, hessian):
        found = transform(loss_of(network, x))(parameters)
        wanted = transform(loss_of(alone(network), x))(parameters)
        torch.testing.assert_close(found, wanted)
    many = torch.stack([x, x + 0.1])
    torch.testing.assert_close(vmap(network)(many), torch.stack([network(x), network(x + 0.1)]))
    calls.clear()
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(x, torch.ones_like(x))
        tangent = forward_ad.unpack_dual(network(dual)).tangent
        wanted = forward_ad.unpack_dual(alone(network)(dual)).tangent
    torch.testing.assert_close(tangent, wanted)
    assert not calls


def test_gradients_can_be_taken_twice_and_in_batches():
    network, x = network_of("mlp")
    parameters = list(network.parameters())
    for keep in KEEP:
        y = fuse(network, keep=keep)(x).mean((0, 1))
        first = torch.autograd.grad(y[0], parameters, retain_graph=True)
        again = torch.autograd.grad(y[0], parameters, retain_graph=True)
        assert all(map(torch.equal, first, again))
    y = network(x).mean((0, 1))
    each = [torch.autograd.grad(value, parameters, retain_graph=True) for value in y[:3]]
    vectors = torch.eye(len(y), dtype=y.dtype)[:3]
    batched = torch.autograd.grad(y, parameters, vectors, is_grads_batched=True)
    for k, stacked in enumerate(batched):
        torch.testing.assert_close(stacked, torch.stack([grads[k] for grads in each]))


def test_autocast_runs_the_layers_alone(monkeypatch):
    calls = counted(monkeypatch)
    network, x = network_of("mlp", torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(network(x), alone(network)(x))
    assert not calls


@pytest.mark.filterwarnings("ignore")
def test_a_compiled_network_gives_the_same_result():
    network, x = network_of("mlp")
    compiled = torch.compile(network, backend="eager")
    torch.testing.assert_close(outputs_of(compiled, x), outputs_of(alone(network), x))


def test_a_fused_network_is_copied_pickled_and_loaded():
    network, x = network_of("conv")
    fused = fuse(network, keep="bfloat16")
    wanted = outputs_of(fused, x)
    for other in (copy.deepcopy(fused), pickle.loads(pickle.dumps(fused))):
        assert other.keep == "bfloat16"
        torch.testing.assert_close(outputs_of(other, x), wanted, rtol=0, atol=0)
        assert other.conv1.weight is not network.conv1.weight
    fresh, _ = network_of("conv", generator=seeded(99))
    fresh.load_state_dict(fused.state_dict())
    assert torch.equal(fresh(x), wanted[0])


# --- fuse -----------------------------------------------------------------------------------------


def test_rows_inside_any_model_are_fused_and_the_model_stays_as_it_was(monkeypatch):
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(
                nn.Linear(6, 70), LIF(), nn.Sequential(nn.Linear(70, 5), LIF())
            )
            self.head = nn.Sequential(nn.Linear(5, 4), nn.ReLU())
            self.register_buffer("scale", torch.tensor(2.0))

        def forward(self, x):
            return self.head(self.scale * self.body(x))

    model = Model()
    x = 3 * torch.randn(4, 3, 6, generator=seeded(1))
    wanted = model(x)
    fused = fuse(model, keep="spikes")
    calls = counted(monkeypatch)
    assert torch.equal(fused(x), wanted) and len(calls) == 2
    assert type(model.body) is nn.Sequential and type(model.body[2]) is nn.Sequential
    assert type(fused.body) is type(fused.body[2]) is FeedForward
    assert fused.body[2].keep == "spikes"
    assert fused.head is model.head  # rows without our neurons may know no steps
    assert fused.body[0].weight is model.body[0].weight
    assert list(fused.state_dict()) == list(model.state_dict())
    fused.eval()
    assert not fused.training and model.training


def test_shared_rows_stay_shared():
    row = nn.Sequential(nn.Linear(6, 6), LIF())
    fused = fuse(nn.Sequential(row, row, LIF()))
    assert fused[0] is fused[1]
    assert fuse(fused[0]).keep == "full"


def test_a_model_without_our_neurons_is_left_alone():
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU())
    assert fuse(model) is model and model[0].weight.is_contiguous()


def test_images_over_time_need_no_folding_of_steps_into_the_batch():
    model = nn.Sequential(nn.Conv2d(1, 3, 3), LIF(), MaxPool(2), nn.Flatten(2), nn.Linear(27, 4))
    x = torch.randn(5, 2, 1, 8, 8, generator=seeded(1))
    assert fuse(model)(x).shape == (5, 2, 4)


def test_the_layout_of_weights_is_ours_only_if_allowed():
    model = nn.Sequential(nn.Linear(7, 5), LIF())
    values = model[0].weight.detach().clone()
    fuse(model, by_input=False)
    assert model[0].weight.is_contiguous()
    fuse(model)
    assert model[0].weight.t().is_contiguous() and torch.equal(model[0].weight, values)
    optimizer = torch.optim.Adam(model.parameters())
    fuse(model)(3 * torch.randn(2, 3, 7)).sum().backward()
    assert model[0].weight.grad.t().is_contiguous()  # so that the optimizer's pass is as fast
    optimizer.step()
    assert not torch.equal(model[0].weight, values)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((nn.ReLU, {}), "model must be a torch.nn.Module, got type"),
        ((nn.ReLU(), {"keep": "float32"}), "keep must be one of 'full', 'bfloat16', 'spikes'; got"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        fuse(arguments[0], **arguments[1])


def test_a_word_that_is_set_by_hand_is_refused_too():
    network, x = network_of("mlp")
    network.keep = "float32"
    with pytest.raises(ValueError, match=r"keep must be None or one of .*, got 'float32'"):
        network(x)


def test_a_training_step_is_that_of_the_layers_alone():
    """Three updates of Adam in float64: weights agree to rounding."""
    weights = []
    for run in (lambda net: net, lambda net: fuse(net, keep="spikes"), alone):
        network, x = network_of("mlp", generator=seeded(11))
        net = run(network)
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
        for _ in range(3):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(net(x).sum(0), torch.arange(7))
            loss.backward()
            optimizer.step()
        weights.append([p.detach().clone() for p in net.parameters()])
    for other in weights[:2]:
        torch.testing.assert_close(other, weights[2], rtol=1e-9, atol=1e-10)
