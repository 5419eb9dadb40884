"""The recurrent LIF neuron: a plain loop, laws, other libraries, bad input."""

import copy
import itertools
import math
import pickle

import pytest
import torch
from oracle import Spike
from torch import nn
from torch.func import functional_call, grad, jvp
from torch.utils._pytree import tree_leaves

from snnlib.neurons import LIF, LIFState, LIFTrace, RecurrentLIF, lif, recurrent_lif
from snnlib.surrogate import SHAPES, Surrogate

# Norse still compiles with torch.jit.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script`:DeprecationWarning")

RESETS = ["subtract", "subtract_leak", "zero", "none", "zero_with_input", "multiplicative"]
INPUTS = ["current", "weight", "threshold", "leak", "membrane", "spikes"]


# --- The oracle: a loop that autograd differentiates by itself ----------------------------------


def plain(
    current,
    weight,
    *,
    leak,
    threshold,
    reset="subtract",
    surrogate=None,
    initial=None,
    detach_reset=True,
    self_connections=False,
    relative=False,
):
    """The neuron as it is written on paper, one step at a time."""
    surrogate = surrogate or Surrogate("arctan")
    if not self_connections:
        weight = weight - torch.diag(torch.diag(weight))
    zero = torch.zeros_like(current[0])
    u, x = (zero, zero) if initial is None else initial
    us, xs = [], []
    for i in current:
        drive = i + x @ weight.T
        held = x.detach() if detach_reset else x
        u = {
            "subtract": leak * u - threshold * held + drive,
            "subtract_leak": leak * (u - threshold * held) + drive,
            "zero": leak * u * (1 - held) + drive,
            "none": leak * u + drive,
            "zero_with_input": (leak * u + drive) * (1 - held),
            "multiplicative": leak * (u + drive) * (1 - held),
        }[reset]
        x = Spike.apply(u / threshold - 1 if relative else u - threshold, surrogate)
        us.append(u)
        xs.append(x)
    return LIFTrace(torch.stack(us), torch.stack(xs))


def draw(seed=0, steps=5, batch=3, width=4, dtype=torch.float64):
    """A current that makes neurons fire often, weights, parameters of different shape, a state."""
    g = torch.Generator().manual_seed(seed)

    def rand(*size, low=0.0, high=1.0):
        return low + (high - low) * torch.rand(size, generator=g, dtype=dtype)

    return [
        0.6 + 1.2 * torch.randn(steps, batch, width, generator=g, dtype=dtype),
        0.8 * torch.randn(width, width, generator=g, dtype=dtype),
        rand(width, low=0.6, high=1.1),
        rand(batch, 1, low=0.4, high=0.9),
        torch.randn(batch, width, generator=g, dtype=dtype),
        (rand(batch, width) > 0.5).to(dtype),
    ]


def run(neuron, values, *, started=True, **settings):
    current, weight, threshold, leak, *state = values
    keywords = {"threshold": threshold, "leak": leak} | settings
    return neuron(current, weight, initial=tuple(state) if started else None, **keywords)


def loss_of(neuron, **settings):
    """A loss of membrane and spikes, nonlinear in both, as a function of the six inputs."""

    def loss(*values):
        u, x = run(neuron, values, **settings)
        count = torch.arange(u.numel(), dtype=u.dtype).view(u.shape)
        a, b, c = ((k + (3 + 2 * k) * count).sin() for k in (1, 2, 3))
        return (a * u**2).sum() + (b * x).sum() + (c * x * u).sum()

    return loss


def assert_same(first, second, tolerance=1e-9):
    first, second = tree_leaves(first), tree_leaves(second)
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


def gradients(loss, inputs, **keywords):
    return torch.autograd.grad(loss, inputs, materialize_grads=True, **keywords)


CASES = [
    pytest.param(reset, detach, started, id=f"{reset}-{'detached' if detach else 'attached'}-{s}")
    for reset, detach, (started, s) in itertools.product(
        RESETS, [True, False], [(True, "started"), (False, "rest")]
    )
]


# --- Values -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reset", "membrane", "spikes"),
    [
        # Neuron 0 gets 1, 3/2, 1/2, 1/2 and 1/2 of each spike of neuron 1; neuron 1 spikes at
        # t = 0 and 2 by force. Threshold 1, leak 1/2; each line can be checked by hand.
        ("subtract", [1.0, 2.5, 0.75, 1.375], [0, 1, 0, 1]),
        ("subtract_leak", [1.0, 2.5, 1.25, 1.125], [0, 1, 1, 1]),
        ("zero", [1.0, 2.5, 0.5, 1.25], [0, 1, 0, 1]),
        ("none", [1.0, 2.5, 1.75, 1.875], [0, 1, 1, 1]),
        ("zero_with_input", [1.0, 2.5, 0.0, 1.0], [0, 1, 0, 0]),
        ("multiplicative", [0.5, 1.25, 0.0, 0.5], [0, 1, 0, 0]),
    ],
)
def test_literal_trajectory(reset, membrane, spikes):
    current = torch.tensor([[1, 64], [1.5, -64], [0.5, 64], [0.5, -64]]).unsqueeze(1)
    weight = torch.tensor([[7.0, 0.5], [0.0, 7.0]])
    trace = recurrent_lif(current, weight, leak=0.5, threshold=1.0, reset=reset)
    assert trace.spikes[:, 0, 1].tolist() == [1, 0, 1, 0]
    assert trace.membrane[:, 0, 0].tolist() == membrane
    assert trace.spikes[:, 0, 0].tolist() == spikes


@pytest.mark.parametrize("reset", RESETS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("own", [False, True])
def test_values_equal_the_loop(reset, dtype, own):
    """On a grid of dyadic numbers every sum is exact, so all orders of summation agree."""
    values = [(8 * value).round() / 8 for value in draw(1, 7, dtype=dtype)]
    values[3] = torch.tensor([[1.0], [0.5], [0.0]], dtype=dtype)
    for started, theta, beta in [(True, values[2], values[3]), (False, 0.75, 0.5)]:
        keywords = dict(
            reset=reset, started=started, threshold=theta, leak=beta, self_connections=own
        )
        got, want = (run(neuron, values, **keywords) for neuron in (recurrent_lif, plain))
        assert torch.equal(got.membrane, want.membrane)
        assert torch.equal(got.spikes, want.spikes)
        assert got.membrane.dtype == got.spikes.dtype == dtype
        assert 0 < got.spikes.mean() < 1


@pytest.mark.parametrize("reset", RESETS[:4])
def test_without_weights_it_is_the_plain_neuron(reset):
    current, weight, threshold, leak, *state = draw(2, 9)
    keywords = dict(threshold=threshold, leak=leak, reset=reset, initial=tuple(state))
    assert_same(
        recurrent_lif(current, torch.diag(torch.diag(weight)), **keywords),
        lif(current, **keywords),
        0.0,
    )


@pytest.mark.parametrize("reset", ["zero_with_input", "multiplicative"])
def test_gate_clamps_for_one_step(reset):
    values = draw(3, 50)
    trace = run(recurrent_lif, values, reset=reset)
    fired = trace.spikes[:-1] == 1
    assert fired.sum() > 50
    assert not trace.membrane[1:][fired].any()
    assert not trace.spikes[1:][fired].any()


def test_charge_is_conserved_without_leak():
    """Potential plus threshold times spikes paid is all input, the recurrent one included."""
    g = torch.Generator().manual_seed(5)
    current = torch.randint(-2, 4, (30, 5, 3), generator=g).double()
    weight = torch.randint(-2, 3, (3, 3), generator=g).double()
    trace = recurrent_lif(current, weight, leak=1.0, threshold=1.0)
    paid = trace.spikes.cumsum(0) - trace.spikes
    arrived = current.cumsum(0) + paid @ (weight - torch.diag(torch.diag(weight))).T
    assert torch.equal(trace.membrane + paid, arrived)


@pytest.mark.parametrize(("reset", "detach"), list(itertools.product(RESETS, [True, False])))
def test_joined_calls_equal_one(reset, detach):
    values = draw(6, 6)
    results = []
    for cuts in ([6], [1, 5], [3, 3], [1] * 6):
        inputs = [value.clone().requires_grad_() for value in values]
        state, pieces = (inputs[4], inputs[5]), []
        for piece in inputs[0].split(cuts):
            trace = recurrent_lif(
                piece,
                inputs[1],
                threshold=inputs[2],
                leak=inputs[3],
                reset=reset,
                initial=state,
                detach_reset=detach,
            )
            state = trace.state
            pieces.append(trace)
        u, x = (torch.cat(parts) for parts in zip(*pieces, strict=True))
        loss = (u.sin() + x * torch.linspace(1, 2, 6).double().view(6, 1, 1)).sum()
        results.append((u, x, gradients(loss, inputs)))
    for other in results[1:]:
        assert_same(other, results[0], 1e-12)
    assert isinstance(trace.state, LIFState)


# --- Derivatives --------------------------------------------------------------------------------


@pytest.mark.parametrize(("reset", "detach", "started"), CASES)
def test_first_to_third_derivatives_equal_the_loop(reset, detach, started):
    surrogate = Surrogate("arctan" if detach else "gaussian", 0.7, 1.3)
    settings = dict(reset=reset, detach_reset=detach, started=started, surrogate=surrogate)
    values = draw(10)[: 6 if started else 4]
    results = []
    for neuron in (recurrent_lif, plain):
        inputs = [value.clone().requires_grad_() for value in values]
        loss = loss_of(neuron, **settings)(*inputs)
        first = gradients(loss, inputs, retain_graph=True)
        recorded = gradients(loss, inputs, create_graph=True)
        directions = [torch.sin(torch.arange(1.0, v.numel() + 1)).view_as(v) for v in inputs]
        along = sum((g * d).sum() for g, d in zip(recorded, directions, strict=True))
        second = gradients(along, inputs, create_graph=True)
        along = sum((g * d).sum() for g, d in zip(second, directions, strict=True))
        third = gradients(along, inputs)
        results.append((loss, first, recorded, second, third))
    for got, want in zip(*results, strict=True):
        assert_same(got, want)
    assert not results[0][1][1].diagonal().any()
    assert results[0][1][1].any()


@pytest.mark.parametrize("output", ["membrane", "spikes"])
@pytest.mark.parametrize("reset", ["subtract", "multiplicative"])
@pytest.mark.parametrize("own", [False, True])
def test_loss_of_one_output(output, reset, own):
    results = []
    for neuron in (recurrent_lif, plain):
        inputs = [value.requires_grad_() for value in draw(11)]
        trace = run(neuron, inputs, reset=reset, detach_reset=False, self_connections=own)
        loss = (getattr(trace, output) * draw(12)[0]).sum()
        results.append(gradients(loss, inputs))
    assert_same(*results)
    # A gate that closes after a spike hides the spike from its own neuron, weight or not.
    assert bool(results[0][1].diagonal().any()) == (own and reset == "subtract")


@pytest.mark.parametrize("shape", SHAPES)
def test_every_surrogate(shape):
    results = []
    for neuron in (recurrent_lif, plain):
        inputs = [value.requires_grad_() for value in draw(13)]
        loss = loss_of(neuron, surrogate=Surrogate(shape, 0.8, 1.2, 1.05))(*inputs)
        results.append(gradients(loss, inputs))
    assert_same(*results)


def test_blocks_do_not_matter(monkeypatch):
    """The way back runs in blocks of steps that fit the cache."""
    want = gradients(*_sample())
    for size in (1, 13, 30, 10**6):
        monkeypatch.setattr("snnlib.neurons._recursion.BLOCK", size)
        assert_same(gradients(*_sample()), want, 1e-13)


def _sample():
    inputs = [value.requires_grad_() for value in draw(14, 7)]
    return loss_of(recurrent_lif, reset="zero_with_input", detach_reset=False)(*inputs), inputs


@pytest.mark.parametrize("reset", ["subtract", "zero", "multiplicative"])
def test_derivatives_by_finite_differences(reset):
    """Where the surrogate is 0 at all potentials, the potential is smooth as long as no neuron
    changes its spikes: the derivatives are the true ones.
    """
    current, weight, _, leak, membrane, spikes = draw(15, 4, 2, 3)

    def function(current, weight, leak, membrane, spikes):
        return recurrent_lif(
            current,
            weight,
            threshold=1.0,
            leak=leak,
            initial=(membrane, spikes),
            surrogate=Surrogate("triangular", 1.0, 1e6),
            reset=reset,
            detach_reset=False,
        ).membrane

    inputs = [value.requires_grad_() for value in (current, weight, leak, membrane, spikes)]
    assert (function(*inputs) - 1).abs().min() > 1e-3
    assert torch.autograd.gradcheck(function, inputs)
    assert torch.autograd.gradgradcheck(function, inputs)


@pytest.mark.parametrize(("reset", "detach"), list(itertools.product(RESETS, [True, False])))
def test_functional_transforms(reset, detach):
    values = draw(16, 4, 2, 3)
    keywords = dict(reset=reset, detach_reset=detach)
    loss, want = (loss_of(neuron, **keywords) for neuron in (recurrent_lif, plain))
    argnums = tuple(range(6))
    assert_same(grad(loss, argnums)(*values), grad(want, argnums)(*values))
    tangents = [value.cos() for value in values]
    for chosen in [argnums, (0,), (1, 4), (2, 3), (5,)]:

        def partly(function, chosen=chosen):
            def of(*given):
                free = dict(zip(chosen, given, strict=True))
                return function(*(free.get(k, values[k]) for k in argnums))

            return of

        pair = tuple(values[k] for k in chosen), tuple(tangents[k] for k in chosen)
        assert_same(jvp(partly(loss), *pair), jvp(partly(want), *pair))
    # Forward over reverse, along one direction.
    directed = [
        jvp(lambda w, f=f: grad(f, 1)(values[0], w, *values[2:]), (values[1],), (tangents[1],))
        for f in (loss, want)
    ]
    assert_same(*directed)


def test_vmap_is_refused():
    current, weight, *_ = draw(17)
    with pytest.raises(RuntimeError, match="vmap"):
        torch.vmap(lambda w: recurrent_lif(current, w, leak=0.5, threshold=1.0)[0])(
            weight.expand(2, 4, 4)
        )


# --- Modes and memory ---------------------------------------------------------------------------


def test_inputs_are_not_written_to():
    values = draw(18)
    copies = [value.clone() for value in values]
    inputs = [value.requires_grad_() for value in values]
    for reset in RESETS:
        loss_of(recurrent_lif, reset=reset, detach_reset=False)(*inputs).backward()
    assert all(torch.equal(a, b) for a, b in zip(values, copies, strict=True))


def test_strides_and_broadcasts_do_not_matter():
    current, weight, _, _, membrane, spikes = draw(19, 6)
    turned = current.permute(2, 0, 1).contiguous().permute(1, 2, 0)
    results = []
    for value, own in ((current, weight), (turned, weight.t().contiguous().t())):
        value, own = value.detach().requires_grad_(), own.detach().requires_grad_()
        trace = recurrent_lif(value, own, leak=0.5, threshold=1.0)
        loss = trace.membrane.square().sum() + trace.spikes[::2].sum()
        results.append((trace, gradients(loss, (value, own))))
    assert_same(*results, tolerance=1e-12)
    step = current[:1]
    trace = recurrent_lif(step.expand(4, 3, 4), weight, leak=0.5, threshold=1.0)
    again = recurrent_lif(step.repeat(4, 1, 1), weight, leak=0.5, threshold=1.0)
    assert_same(trace, again, 0.0)
    state = [membrane[:1, :1].clone(), spikes[:, :1].clone()]
    narrow = [value.requires_grad_() for value in state]
    wide = [value.detach().expand(3, 4).clone().requires_grad_() for value in state]
    results = []
    for initial in (narrow, wide):
        trace = recurrent_lif(
            current, weight, leak=0.5, threshold=1.0, initial=tuple(initial), detach_reset=False
        )
        results.append((trace, gradients(trace.membrane.square().sum(), initial)))
    assert_same(results[0][0], results[1][0], 0.0)
    for own, full in zip(results[0][1], results[1][1], strict=True):
        assert_same(own, full.sum_to_size(own.shape), 1e-12)


def test_membrane_alone_has_no_spike_pending():
    current, weight, threshold, leak, membrane, _ = draw(20)
    high = membrane.abs() + 2
    trace = recurrent_lif(current, weight, leak=leak, threshold=threshold, initial=high)
    assert torch.equal(trace.membrane[0], leak * high + current[0])


def test_weight_takes_the_dtype_of_the_current():
    current, weight = torch.ones(3, 2, 4), torch.ones(4, 4, dtype=torch.float64)
    trace = recurrent_lif(current, weight, leak=0.5, threshold=torch.tensor(1.0).double())
    assert trace.membrane.dtype == torch.float32


def test_autocast_integrates_in_float32():
    generator = torch.Generator().manual_seed(0)
    layer = RecurrentLIF(64, generator=generator)
    current = torch.randn(9, 2, 64, generator=generator).bfloat16()
    want = layer.trace(current.float())
    with torch.autocast("cpu", torch.bfloat16):
        trace = layer.trace(current)
        trace.membrane.sum().backward()
    assert_same(trace, want, 0.0)
    assert layer.weight.grad.dtype == torch.float32


def test_empty_batch():
    layer = RecurrentLIF(4)
    trace = layer.trace(torch.ones(3, 0, 4, requires_grad=True))
    assert trace.spikes.shape == (3, 0, 4)
    trace.spikes.sum().backward()
    assert not layer.weight.grad.any()


def test_floats_keep_no_copy_of_the_current():
    """The graph holds membrane, spikes and the weight, twice (its diagonal is cut)."""
    current = torch.randn(50, 4, 20, requires_grad=True)
    held = {}

    def pack(tensor):
        held[tensor.untyped_storage().data_ptr()] = tensor.numel()
        return tensor

    layer = RecurrentLIF(20)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        layer(current)
    assert sum(held.values()) <= 2 * current.numel() + 2 * 400


# --- The module ---------------------------------------------------------------------------------


@pytest.mark.parametrize("reset", RESETS)
def test_module_is_the_function(reset):
    current, weight, threshold, leak, membrane, _ = draw(21)
    layer = RecurrentLIF(
        4, threshold=threshold, leak=leak, initial=membrane, reset=reset, detach_reset=False
    ).double()
    layer.weight.data = weight
    want = recurrent_lif(
        current, weight, leak=leak, threshold=threshold, initial=membrane, reset=reset
    )
    assert_same(layer.trace(current), want, 0.0)
    assert torch.equal(layer(current), want.spikes)
    assert isinstance(layer, LIF)
    assert [name for name, _ in layer.named_parameters()] == ["weight"]


def test_module_learns_all_it_has():
    layer = RecurrentLIF(4, learn_threshold=True, learn_leak=True, bias=True).double()
    names = {name for name, _ in layer.named_parameters()}
    assert names == {"weight", "bias", "raw_threshold", "raw_leak"}
    current = draw(22)[0]
    with torch.no_grad():
        layer.bias += 0.5
    assert_same(
        layer.trace(current),
        recurrent_lif(current + 0.5, layer.weight, leak=layer.leak, threshold=layer.threshold),
        0.0,
    )
    layer.trace(current).membrane.square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in layer.parameters())
    values = {name: value.detach() for name, value in layer.named_parameters()}
    assert torch.equal(functional_call(layer, values, (current,)), layer(current))


@pytest.mark.parametrize("mode", ["relative", "threshold_robust"])
def test_relative_thresholds(mode):
    current, weight, threshold, *_ = draw(23)
    layer = RecurrentLIF(4, threshold=threshold, threshold_gradient=mode, learn_threshold=True)
    layer.double().weight.data = weight
    loss = layer.trace(current).membrane.sin().sum()
    got = torch.autograd.grad(loss, [layer.weight, layer.raw_threshold])
    other = plain(current, layer.weight, leak=0.5, threshold=layer.threshold, relative=True)
    want = torch.autograd.grad(other.membrane.sin().sum(), [layer.weight, layer.raw_threshold])
    assert_same(got, want)
    scale = layer.threshold if mode == "threshold_robust" else 1.0
    assert torch.equal(layer(current), scale * other.spikes)


def test_module_copies_pickles_and_moves():
    layer = nn.Sequential(RecurrentLIF(4, learn_leak=True, bias=True, reset="multiplicative"))
    current = 3 * draw(24, dtype=torch.float32)[0]
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(other(current), layer(current))
    fresh = nn.Sequential(RecurrentLIF(4, learn_leak=True, bias=True, reset="multiplicative"))
    fresh.load_state_dict(layer.state_dict())
    assert torch.equal(fresh(current), layer(current))
    assert layer(current).any()
    assert layer.double()(current.double()).dtype == torch.float64


def test_no_device_synchronization():
    """On the meta device values do not exist, so a layer that ran there never asked for one."""
    for reset in RESETS:
        layer = RecurrentLIF(4, learn_threshold=True, learn_leak=True, reset=reset).to("meta")
        current = torch.empty(5, 2, 4, device="meta", requires_grad=True)
        layer.trace(current).membrane.sum().backward()
        assert current.grad.shape == current.shape
        assert layer.weight.grad is not None


def test_weight_is_drawn_reproducibly():
    layers = [RecurrentLIF(300, generator=torch.Generator().manual_seed(1)) for _ in range(2)]
    assert torch.equal(layers[0].weight, layers[1].weight)
    assert not layers[0].weight.diagonal().any()
    assert layers[0].weight.abs().max() <= 300**-0.5
    own = RecurrentLIF(3, self_connections=True)
    assert own.weight.diagonal().all()
    assert layers[0].width == 300


def test_module_says_what_it_is():
    assert repr(RecurrentLIF(3)) == (
        "RecurrentLIF(3, threshold=1, leak=0.5, reset='subtract', "
        f"surrogate={Surrogate('arctan')!r})"
    )
    text = repr(RecurrentLIF(3, reset="zero", self_connections=True, bias=True))
    assert text.endswith("self_connections=True, bias=True)")


def test_compiled_module():
    layer = RecurrentLIF(4).double()
    current = draw(25)[0]
    compiled = torch.compile(layer, backend="aot_eager")
    results = []
    for function in (layer, compiled):
        layer.zero_grad()
        spikes = function(current)
        spikes.sum().backward()
        results.append((spikes, layer.weight.grad))
    assert_same(*results)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize(("reset", "detach", "started"), CASES)
def test_cuda_equals_cpu(reset, detach, started):
    results = []
    for device in ("cpu", "cuda"):
        values = [value.to(device).requires_grad_() for value in draw(33)]
        trace = run(recurrent_lif, values, reset=reset, detach_reset=detach, started=started)
        loss = sum(part.square().cumsum(0).sum() for part in trace)
        results.append([value.cpu() for value in (*trace, *gradients(loss, values))])
    assert_same(*results)


# --- Other libraries ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("theirs", "reset"),
    [("subtract", "subtract"), ("zero", "zero_with_input"), ("none", "none")],
)
def test_snntorch_recurrent_leaky(theirs, reset):
    """Their backward pass too: they detach the reset and have the arctan of our normal form."""
    snntorch = pytest.importorskip("snntorch")
    node = snntorch.RLeaky(
        beta=0.9, threshold=1.0, reset_mechanism=theirs, linear_features=20, all_to_all=True
    )
    current, weight = (0.5 * value for value in draw(26, 30, 8, 20, torch.float32)[:2])
    node.recurrent.weight.data = weight
    spike, membrane = node.init_rleaky()
    spikes, membranes = [], []
    for step in current:
        spike, membrane = node(step, spike, membrane)
        spikes.append(spike)
        membranes.append(membrane)
    torch.stack(membranes).sin().sum().backward()
    own = weight.clone().requires_grad_()
    trace = recurrent_lif(
        current + node.recurrent.bias.detach(),
        own,
        leak=node.beta.item(),
        threshold=node.threshold.item(),
        reset=reset,
        self_connections=True,
    )
    trace.membrane.sin().sum().backward()
    assert 0.05 < trace.spikes.mean() < 0.95
    assert torch.equal(trace.spikes, torch.stack(spikes))
    torch.testing.assert_close(trace.membrane, torch.stack(membranes), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(own.grad, node.recurrent.weight.grad, rtol=1e-3, atol=1e-2)


# --- Bad input ----------------------------------------------------------------------------------

GOOD = {"current": torch.ones(3, 2, 4), "weight": torch.ones(4, 4), "leak": 0.5, "threshold": 1.0}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"weight": torch.ones(4, 3)}, r"weight must be \[n, n\] = \[4, 4\] .* got shape \[4, 3\]"),
        ({"weight": torch.ones(4)}, r"weight must be \[n, n\]"),
        ({"weight": torch.ones(4, 4, dtype=torch.int64)}, "weight must be a floating-point tensor"),
        ({"weight": None}, "weight must be a floating-point tensor, got NoneType"),
        ({"leak": 2}, r"leak must be in \[0, 1\], got 2 \(nearest: 1\)"),
        ({"leak": torch.tensor(math.nan)}, "leak must be in"),
        ({"threshold": -1.0}, r"threshold must be >= 0 and finite, got -1.0 \(nearest: 0\)"),
        ({"threshold": torch.tensor(-1.0)}, "threshold must be >= 0"),
        ({"threshold": torch.ones(3)}, "threshold must broadcast to one step"),
        ({"reset": "soft"}, "reset must be one of 'subtract', .*'multiplicative', got 'soft'"),
        ({"current": torch.ones(3, 4)}, r"current must be \[T, batch, n\], got shape \[3, 4\]"),
        ({"current": torch.ones(3, 2, 2, 4)}, r"current must be \[T, batch, n\]"),
        ({"current": torch.ones(0, 2, 4)}, "T >= 1"),
        ({"current": torch.ones(3, 2, 4, dtype=torch.int64)}, "current must be a floating-point"),
        ({"initial": (torch.ones(2, 4),)}, r"\(membrane, spikes\), got a tuple of length 1"),
        ({"initial": torch.zeros(7)}, "initial membrane must broadcast"),
        ({"initial": (torch.zeros(4), None)}, "initial spikes must be a floating-point tensor"),
    ],
)
def test_bad_input(wrong, message):
    keywords = GOOD | wrong
    with pytest.raises(ValueError, match=message):
        recurrent_lif(keywords.pop("current"), keywords.pop("weight"), **keywords)


@pytest.mark.parametrize(
    ("width", "settings", "message"),
    [
        (0, {}, "width must be a positive integer, got 0"),
        (2.0, {}, "width must be a positive integer, got 2.0"),
        (True, {}, "width must be a positive integer"),
        (2, {"reset": "soft"}, "reset must be one of"),
        (2, {"leak": 1.5}, "leak must be in"),
        (2, {"threshold": 0.0, "learn_threshold": True}, "to be learnable"),
    ],
)
def test_bad_settings(width, settings, message):
    with pytest.raises(ValueError, match=message):
        RecurrentLIF(width, **settings)


def test_the_plain_neuron_has_no_gated_resets():
    with pytest.raises(ValueError, match="reset must be one of"):
        LIF(reset="multiplicative")
