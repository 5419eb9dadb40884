"""The LIF neuron against a plain loop, by its laws, against other libraries, with bad input."""

import copy
import importlib
import itertools
import pickle

import pytest
import torch
from oracle import Spike
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, vjp, vmap
from torch.utils._pytree import tree_leaves

from snnlib.neurons import LIF, LIFState, LIFTrace, _lif_passes, lif
from snnlib.resets import RULES
from snnlib.surrogate import Surrogate

# SpikingJelly and Norse still compile with torch.jit.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script`:DeprecationWarning")

RESETS = ["subtract", "subtract_leak", "zero", "none"]
SMOOTH = ["arctan", "gaussian", "sigmoid"]
ALL = (0, 1, 2, 3, 4)


# --- The oracle: a loop that autograd differentiates by itself ----------------------------------


def plain(
    current,
    *,
    leak,
    threshold,
    reset="subtract",
    surrogate=None,
    initial=None,
    detach_reset=True,
    relative=False,
):
    """The neuron as it is written on paper, one step at a time."""
    surrogate = surrogate or Surrogate("arctan")
    u = x = None
    if initial is not None:
        u, x = initial if isinstance(initial, tuple) else (initial, torch.zeros_like(initial))
    us, xs = [], []
    for i in current:
        if u is None:
            u = i
        else:
            held = x.detach() if detach_reset else x
            if reset == "subtract":
                u = leak * u - threshold * held + i
            elif reset == "subtract_leak":
                u = leak * (u - threshold * held) + i
            elif reset == "zero":
                u = leak * u * (1 - held) + i
            else:
                u = leak * u + i
        x = Spike.apply(u / threshold - 1 if relative else u - threshold, surrogate)
        us.append(u)
        xs.append(x)
    return LIFTrace(torch.stack(us), torch.stack(xs))


def draw(seed=0, steps=5, shape=(3, 2), dtype=torch.float64):
    """A current that makes neurons fire often, parameters per neuron and per sample, a state."""
    g = torch.Generator().manual_seed(seed)

    def rand(*size, low=0.0, high=1.0):
        return low + (high - low) * torch.rand(size, generator=g, dtype=dtype)

    current = 0.6 + 1.2 * torch.randn(steps, *shape, generator=g, dtype=dtype)
    threshold = rand(*shape[1:], low=0.6, high=1.1)
    leak = rand(shape[0], *[1] * (len(shape) - 1), low=0.4, high=0.9)
    membrane = torch.randn(*shape, generator=g, dtype=dtype)
    spikes = (rand(*shape) > 0.5).to(dtype)
    return current, threshold, leak, membrane, spikes


def loss_of(neuron, *, started=True, **settings):
    """A loss of membrane and spikes, nonlinear in both, as a function of the five inputs."""

    def loss(current, threshold, leak, membrane, spikes):
        trace = neuron(
            current,
            threshold=threshold,
            leak=leak,
            initial=(membrane, spikes) if started else None,
            **settings,
        )
        count = torch.arange(current.numel(), dtype=current.dtype).view(current.shape)
        a, b, c = (1 + 5 * count).sin(), (2 + 7 * count).sin(), (3 + 11 * count).sin()
        u, x = trace
        return (a * u**2).sum() + (b * x).sum() + (c * x * u).sum()

    return loss


def assert_same(first, second, tolerance=1e-9):
    first, second = tree_leaves(first), tree_leaves(second)
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


CASES = [
    pytest.param(reset, detach, started, id=f"{reset}-{'detached' if detach else 'attached'}-{s}")
    for reset, detach, (started, s) in itertools.product(
        RESETS, [True, False], [(True, "started"), (False, "rest")]
    )
]


# --- Values ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reset", "membrane", "spikes"),
    [
        # current 1, 3/2, 0, 1, 1/2; threshold 1, leak 1/2; each line can be checked by hand
        ("subtract", [1.0, 2.0, 0.0, 1.0, 1.0], [0, 1, 0, 0, 0]),
        ("subtract_leak", [1.0, 2.0, 0.5, 1.25, 0.625], [0, 1, 0, 1, 0]),
        ("zero", [1.0, 2.0, 0.0, 1.0, 1.0], [0, 1, 0, 0, 0]),
        ("none", [1.0, 2.0, 1.0, 1.5, 1.25], [0, 1, 0, 1, 1]),
    ],
)
def test_literal_trajectory(reset, membrane, spikes):
    current = torch.tensor([1, 1.5, 0, 1, 0.5]).reshape(5, 1, 1)
    trace = lif(current, leak=0.5, threshold=1.0, reset=reset)
    assert trace.membrane.flatten().tolist() == membrane
    assert trace.spikes.flatten().tolist() == spikes


def test_crossing_is_strict():
    current = torch.tensor([1.0, torch.nextafter(torch.tensor(1.0), torch.tensor(2.0))])
    assert lif(current.reshape(1, 2), leak=0.5, threshold=1.0).spikes.tolist() == [[0.0, 1.0]]
    assert lif(torch.zeros(1, 1), leak=0.5, threshold=0.0).spikes.item() == 0.0


@pytest.mark.parametrize("reset", RESETS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("shape", [(3,), (3, 4), (2, 3, 4, 4)])
@pytest.mark.parametrize("small", [0, 2**14])
def test_values_equal_the_loop_bit_by_bit(reset, dtype, shape, small, monkeypatch):
    monkeypatch.setattr(_lif_passes, "SMALL", small)  # steps up to this size are NumPy's
    current, threshold, leak, membrane, spikes = draw(1, 7, shape, dtype)
    for theta, beta, initial in [
        (threshold, leak, None),
        (threshold, leak, membrane),
        (threshold, leak, (membrane, spikes)),
        (0.7, 0.3, (membrane, spikes)),
        (0.7, 0.3, None),
        (torch.tensor(0.7, dtype=dtype), 1.0, None),
        (0.0, 0.0, membrane),
    ]:
        got = lif(current, leak=beta, threshold=theta, reset=reset, initial=initial)
        want = plain(current, leak=beta, threshold=theta, reset=reset, initial=initial)
        assert torch.equal(got.membrane, want.membrane)
        assert torch.equal(got.spikes, want.spikes)
        assert got.membrane.dtype == got.spikes.dtype == dtype
    assert 0 < got.spikes.mean() < 1


@pytest.mark.parametrize("reset", RESETS)
def test_rule_writes_what_it_says(reset):
    """The table's in-place form has the same roundings as its formula."""
    _, threshold, leak, membrane, spikes = draw(2, shape=(50, 40), dtype=torch.float32)
    for theta, beta in [(threshold, leak), (0.7, 0.3)]:
        out = torch.full_like(membrane, torch.nan)
        RULES[reset].into(out, membrane, spikes, theta, beta)
        assert torch.equal(out, RULES[reset].carry(membrane, spikes, theta, beta))


@pytest.mark.parametrize("reset", RESETS)
def test_rule_partials_are_the_derivatives(reset):
    sympy = pytest.importorskip("sympy")
    rule, args = RULES[reset], sympy.symbols("u x theta beta")
    carry = rule.carry(*args)
    names = ["by_membrane", "by_spikes", "by_threshold", "by_leak"]
    for name, symbol in zip(names, args, strict=True):
        partial = getattr(rule, name)
        want = sympy.diff(carry, symbol)
        assert sympy.simplify(want - (0 if partial is None else partial(*args))) == 0


@pytest.mark.parametrize("reset", RESETS)
def test_scale_of_potential_is_free(reset):
    """Current and threshold times 2 (exact): membrane times 2, the same spikes."""
    current, threshold, leak, _, _ = draw(3, 9)
    one = lif(current, leak=leak, threshold=threshold, reset=reset)
    two = lif(2 * current, leak=leak, threshold=2 * threshold, reset=reset)
    assert torch.equal(two.membrane, 2 * one.membrane)
    assert torch.equal(two.spikes, one.spikes)


def test_no_leak_remembers_nothing():
    current = draw(4, 6)[0]
    trace = lif(current, leak=0.0, threshold=0.5, reset="zero")
    assert torch.equal(trace.membrane, current)
    assert torch.equal(trace.spikes, (current > 0.5).double())


def test_charge_is_conserved_without_leak():
    """An integrate-and-fire neuron: potential plus threshold times spikes paid is the input."""
    current = torch.randint(-2, 4, (30, 5, 3), generator=torch.Generator().manual_seed(5)).double()
    trace = lif(current, leak=1.0, threshold=1.0)
    paid = trace.spikes.cumsum(0) - trace.spikes
    assert torch.equal(trace.membrane + paid, current.cumsum(0))
    other = lif(current, leak=1.0, threshold=1.0, reset="subtract_leak")
    assert torch.equal(trace.membrane, other.membrane)  # without leak the two are one neuron


@pytest.mark.parametrize("reset", RESETS)
@pytest.mark.parametrize("detach", [True, False])
def test_joined_calls_equal_one(reset, detach):
    current, threshold, leak, membrane, spikes = draw(6, 6)
    weight = torch.randn(2, *current.shape, generator=torch.Generator().manual_seed(1)).double()
    results = []
    for cuts in ([6], [1, 5], [3, 3], [1, 1, 1, 1, 1, 1]):
        inputs = [
            value.clone().requires_grad_() for value in (current, threshold, leak, membrane, spikes)
        ]
        state, pieces = (inputs[3], inputs[4]), []
        for piece in inputs[0].split(cuts):
            trace = lif(
                piece,
                threshold=inputs[1],
                leak=inputs[2],
                reset=reset,
                initial=state,
                detach_reset=detach,
            )
            state = trace.state
            pieces.append(trace)
        u = torch.cat([piece.membrane for piece in pieces])
        x = torch.cat([piece.spikes for piece in pieces])
        loss = (weight[0] * u**2 + weight[1] * x).sum()
        results.append((u, x, torch.autograd.grad(loss, inputs, materialize_grads=True)))
    for u, x, gradients in results[1:]:
        assert torch.equal(u, results[0][0])
        assert torch.equal(x, results[0][1])
        assert_same(gradients, results[0][2], 1e-12)


def test_membrane_alone_has_no_reset_pending():
    current, threshold, leak, membrane, _ = draw(8)
    high = membrane.abs() + 2
    alone = lif(current, leak=leak, threshold=threshold, initial=high)
    assert torch.equal(alone.membrane[0], leak * high + current[0])
    pair = lif(current, leak=leak, threshold=threshold, initial=(high, torch.ones_like(high)))
    assert torch.equal(pair.membrane[0], leak * high - threshold + current[0])
    assert isinstance(alone.state, LIFState)
    assert torch.equal(alone.state.membrane, alone.membrane[-1])
    assert torch.equal(alone.state.spikes, alone.spikes[-1])


def test_strides_do_not_matter():
    current = draw(9, 4, (3, 5))[0]
    want = lif(current, leak=0.5, threshold=1.0).membrane
    batch_first = current.transpose(0, 1).contiguous().transpose(0, 1)
    assert torch.equal(lif(batch_first, leak=0.5, threshold=1.0).membrane, want)
    constant = current[:1].expand(4, 3, 5)
    a = lif(constant, leak=0.5, threshold=1.0).membrane
    assert torch.equal(a, lif(constant.clone(), leak=0.5, threshold=1.0).membrane)


# --- Derivatives ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("reset", "detach", "started"), CASES)
@pytest.mark.parametrize("shape", SMOOTH)
def test_first_and_second_derivatives_equal_the_loop(reset, detach, started, shape):
    settings = dict(
        reset=reset, detach_reset=detach, started=started, surrogate=Surrogate(shape, 0.7, 1.3)
    )
    values = draw(10)[: 5 if started else 3]
    results = []
    for neuron in (lif, plain):
        inputs = [value.clone().requires_grad_() for value in values]
        loss = loss_of(neuron, **settings)(*inputs, *[None] * (5 - len(inputs)))
        first = torch.autograd.grad(loss, inputs, retain_graph=True, materialize_grads=True)
        recorded = torch.autograd.grad(loss, inputs, create_graph=True, materialize_grads=True)
        directions = [torch.sin(torch.arange(1.0, v.numel() + 1)).view_as(v) for v in inputs]
        along = sum((g * d).sum() for g, d in zip(recorded, directions, strict=True))
        second = torch.autograd.grad(along, inputs, create_graph=True, materialize_grads=True)
        along = sum((g * d).sum() for g, d in zip(second, directions, strict=True))
        third = torch.autograd.grad(along, inputs, materialize_grads=True)
        results.append((loss, first, recorded, second, third))
    assert results[0][0] == results[1][0]
    for got, want in zip(results[0][1:], results[1][1:], strict=True):
        assert_same(got, want)


@pytest.mark.parametrize("reset", RESETS)
@pytest.mark.parametrize("shape", ["triangular", "fast_sigmoid", "rectangular"])
def test_surrogates_with_corners(reset, shape):
    results = []
    for neuron in (lif, plain):
        inputs = [value.clone().requires_grad_() for value in draw(11)]
        loss = loss_of(neuron, reset=reset, detach_reset=False, surrogate=Surrogate(shape))
        results.append(torch.autograd.grad(loss(*inputs), inputs, materialize_grads=True))
    assert_same(*results)


@pytest.mark.parametrize("reset", RESETS)
def test_second_derivative_by_finite_differences(reset):
    """With a detached reset the second derivative is that of the first, at fixed spikes."""
    inputs = [value.requires_grad_() for value in draw(12, 4, (2, 2))[:4]]
    surrogate = Surrogate("gaussian", 0.7, 1.3)

    def run(current, threshold, leak, membrane):
        return tuple(
            lif(
                current,
                threshold=threshold,
                leak=leak,
                reset=reset,
                initial=membrane,
                surrogate=surrogate,
            )
        )

    margin = (run(*inputs)[0] - inputs[1]).abs().min()
    assert margin > 1e-3  # no spike changes within the difference quotient
    assert torch.autograd.gradgradcheck(run, inputs, eps=1e-6, atol=1e-5, rtol=1e-5)


def test_membrane_without_reset_is_linear_in_the_current():
    inputs = [value.requires_grad_() for value in draw(13, 4, (2, 2))]

    def run(current, leak, membrane):
        return lif(current, threshold=1.0, leak=leak, reset="none", initial=membrane).membrane

    assert torch.autograd.gradcheck(run, (inputs[0], inputs[2], inputs[3]))


TRANSFORMS = {
    "grad": lambda f, a, d: grad(f, ALL)(*a),
    "vjp": lambda f, a, d: vjp(f, *a)[1](torch.tensor(2.0, dtype=a[0].dtype)),
    "jvp": lambda f, a, d: jvp(f, a, d),
    "jvp of the threshold": lambda f, a, d: jvp(lambda v: f(a[0], v, *a[2:]), a[1:2], d[1:2]),
    "jacrev": lambda f, a, d: jacrev(f, ALL)(*a),
    "jacfwd": lambda f, a, d: jacfwd(f, ALL)(*a),
    "hessian": lambda f, a, d: hessian(f, ALL)(*a),
    "jacrev jacrev": lambda f, a, d: jacrev(jacrev(f, ALL), ALL)(*a),
    "jacrev jacfwd": lambda f, a, d: jacrev(jacfwd(f, ALL), ALL)(*a),
    "jvp grad": lambda f, a, d: jvp(grad(f, ALL), a, d),
}


@pytest.mark.parametrize(("reset", "detach", "started"), CASES)
def test_function_transforms(reset, detach, started):
    settings = dict(
        reset=reset, detach_reset=detach, started=started, surrogate=Surrogate("gaussian", 0.7, 1.3)
    )
    values = draw(14, 3, (2, 1))
    g = torch.Generator().manual_seed(3)
    directions = tuple(torch.randn(v.shape, generator=g, dtype=v.dtype) for v in values)
    ours, oracle = loss_of(lif, **settings), loss_of(plain, **settings)
    for transform in TRANSFORMS.values():
        assert_same(transform(ours, values, directions), transform(oracle, values, directions))
    # Forward over forward, where torch drops the outer tangents of a custom function by default.
    assert_same(jacfwd(jacfwd(ours, ALL), ALL)(*values), hessian(ours, ALL)(*values))


@pytest.mark.parametrize(("reset", "detach", "started"), CASES)
def test_vmap(reset, detach, started):
    settings = dict(
        reset=reset, detach_reset=detach, started=started, surrogate=Surrogate("gaussian")
    )
    ours, oracle = loss_of(lif, **settings), loss_of(plain, **settings)
    one, many = draw(15, 3, (2, 1)), [draw(seed, 3, (2, 1)) for seed in (16, 17, 18)]
    for dims in [(1, 1, 2, 0, 1), (0,) + (None,) * 4, (None, 0, None, None, None)]:
        values = [
            value if dim is None else torch.stack([m[k] for m in many], dim)
            for k, (value, dim) in enumerate(zip(one, dims, strict=True))
        ]
        for f in (
            lambda loss, dims=dims: vmap(loss, dims),
            lambda loss, dims=dims: vmap(grad(loss, ALL), dims),
            lambda loss, dims=dims: vmap(hessian(loss, (0, 1)), dims),
            lambda loss, dims=dims: grad(lambda *v: vmap(loss, dims)(*v).square().sum(), ALL),
            lambda loss, dims=dims: vmap(lambda *v: jvp(loss, v, v), dims),
        ):
            assert_same(f(ours)(*values), f(oracle)(*values))


def test_vmap_returns_traces_and_nests():
    current, threshold, *_ = draw(19, 4, (3, 2))
    stack = torch.stack([current, 2 * current, 3 * current])

    def run(current, threshold):
        return lif(current, leak=0.5, threshold=threshold)

    trace = vmap(vmap(run, (None, 0)), (0, None))(stack, threshold)
    assert isinstance(trace, LIFTrace)
    for a, b in itertools.product(range(3), range(2)):
        assert torch.equal(trace.spikes[a, b], run(stack[a], threshold[b]).spikes)
    with pytest.raises(ValueError, match=r"leak must be in \[0, 1\], got 1.5"):
        vmap(lambda v: lif(current, leak=v, threshold=1.0))(torch.tensor([0.5, 1.5]))


def test_forward_mode_and_batched_gradients():
    values = draw(20)
    ours, oracle = loss_of(lif, detach_reset=False), loss_of(plain, detach_reset=False)
    tangents, batched = [], []
    for loss in (ours, oracle):
        with forward_ad.dual_level():
            duals = [forward_ad.make_dual(v, v.cos()) for v in values]
            tangents.append(forward_ad.unpack_dual(loss(*duals)).tangent)
        inputs = [value.clone().requires_grad_() for value in values]
        cotangents = torch.arange(3.0, dtype=torch.float64)
        batched.append(
            torch.autograd.grad(loss(*inputs), inputs, cotangents, is_grads_batched=True)
        )
    assert_same(tangents[0], tangents[1])
    assert_same(batched[0], batched[1])
    # Either output alone may carry the batch of gradients.
    current = values[0].clone().requires_grad_()
    trace = lif(current, leak=0.5, threshold=1.0)
    ones = torch.ones(2, *current.shape, dtype=torch.float64)
    for output in (trace.membrane, trace.spikes):
        (batch,) = torch.autograd.grad(
            output, current, ones, is_grads_batched=True, retain_graph=True
        )
        (single,) = torch.autograd.grad(output, current, ones[0], retain_graph=True)
        assert_same(batch[1], single, 1e-12)
    # ... or one of the two together.
    for k in (0, 1):

        def pull(cotangent, k=k):
            both = [cotangent, ones[0]] if k == 0 else [ones[0], cotangent]
            return torch.autograd.grad(list(trace), current, both, retain_graph=True)[0]

        assert_same(vmap(pull)(ones)[1], pull(ones[1]), 1e-12)


@pytest.mark.parametrize("reset", RESETS)
def test_only_asked_gradients(reset):
    """Whatever subset of inputs asks for a gradient, it gets the loop's; floats get none."""
    values = draw(21)
    for asked in [(0,), (1,), (2,), (3,), (0, 2), (1, 4)]:
        results = []
        for neuron in (lif, plain):
            inputs = [v.clone().requires_grad_(k in asked) for k, v in enumerate(values)]
            loss = loss_of(neuron, reset=reset, detach_reset=False)(*inputs)
            results.append(
                torch.autograd.grad(
                    loss, [inputs[k] for k in asked], materialize_grads=True, allow_unused=True
                )
            )
        assert_same(*results)


def test_detached_reset_hides_the_initial_spikes():
    inputs = [value.requires_grad_() for value in draw(22)]
    loss = loss_of(lif)(*inputs)
    assert torch.autograd.grad(loss, inputs, allow_unused=True)[4] is None


@pytest.mark.parametrize("reset", RESETS)
@pytest.mark.parametrize("which", ["membrane", "spikes", "both"])
def test_gradient_in_blocks(reset, which, monkeypatch):
    """However many steps share a block of the backward pass, the gradient is the same."""
    module = importlib.import_module("snnlib.neurons._recursion")
    results = []
    for block in (1, 3 * 6, 10**6):  # numbers in a block: one step, three steps, all seven
        monkeypatch.setattr(module, "BLOCK", block)
        inputs = [value.clone().requires_grad_() for value in draw(23, 7)]
        trace = lif(
            inputs[0],
            threshold=inputs[1],
            leak=inputs[2],
            initial=(inputs[3], inputs[4]),
            reset=reset,
            detach_reset=False,
        )
        outputs = list(trace) if which == "both" else [getattr(trace, which)]
        loss = sum(output.square().cumsum(0).sum() for output in outputs)
        results.append(torch.autograd.grad(loss, inputs, materialize_grads=True, allow_unused=True))
    assert_same(results[0], results[2], 1e-12)
    assert_same(results[1], results[2], 1e-12)


def test_memory_between_the_passes():
    """The graph keeps membrane and spikes and nothing else of that size."""
    kept: dict[int, int] = {}

    def pack(tensor):
        kept[tensor.data_ptr()] = tensor.numel()
        return tensor

    current = torch.randn(10, 20, 30, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        lif(current, leak=0.5, threshold=1.0, detach_reset=False)
    assert sum(kept.values()) <= 2 * current.numel()


# --- The module -----------------------------------------------------------------------------------


def make(**settings):
    return LIF(threshold=0.8, leak=0.6, **settings)


@pytest.mark.parametrize("reset", RESETS)
def test_module_is_the_function(reset):
    current, threshold, leak, membrane, _ = draw(30)
    layer = LIF(threshold=threshold, leak=leak, reset=reset, initial=membrane).double()
    want = lif(current, threshold=threshold, leak=leak, reset=reset, initial=membrane)
    assert torch.equal(layer(current), want.spikes)
    assert torch.equal(layer.trace(current).membrane, want.membrane)
    assert layer.reset == reset


def test_forward_calls_trace():
    """A probe may wrap the method of one layer."""
    layer, seen = make(), []
    inner = layer.trace

    def wrapped(current):
        seen.append(inner(current))
        return seen[-1]

    layer.trace = wrapped
    output = layer(torch.ones(3, 2, 2))
    assert output is seen[0].spikes


@pytest.mark.parametrize("mode", ["absolute", "relative", "threshold_robust"])
@pytest.mark.parametrize("reset", RESETS)
@pytest.mark.parametrize("detach", [True, False])
def test_learnable_threshold_and_leak(mode, reset, detach):
    current, threshold, leak, membrane, _ = draw(31)
    layer = LIF(
        threshold=threshold,
        leak=leak,
        reset=reset,
        detach_reset=detach,
        learn_threshold=True,
        learn_leak=True,
        threshold_gradient=mode,
        initial=membrane,
    )
    torch.testing.assert_close(layer.threshold, threshold)
    torch.testing.assert_close(layer.leak, leak)
    assert {name for name, _ in layer.named_parameters()} == {"raw_threshold", "raw_leak"}
    results = []
    for oracle in (False, True):
        raw = [
            layer.raw_threshold.detach().clone().requires_grad_(),
            layer.raw_leak.detach().clone().requires_grad_(),
            current.clone().requires_grad_(),
        ]
        if oracle:
            theta, beta = nn.functional.softplus(raw[0]), torch.sigmoid(raw[1])
            trace = plain(
                raw[2],
                threshold=theta,
                leak=beta,
                reset=reset,
                detach_reset=detach,
                initial=membrane,
                relative=mode != "absolute",
            )
            output = theta * trace.spikes if mode == "threshold_robust" else trace.spikes
        else:
            parameters = {"raw_threshold": raw[0], "raw_leak": raw[1]}
            output = functional_call(layer, parameters, (raw[2],))
        g = torch.Generator().manual_seed(4)
        loss = (output * torch.randn(output.shape, generator=g).double()).sum()
        first = torch.autograd.grad(loss, raw, create_graph=True, materialize_grads=True)
        along = sum((v**2).sum() for v in first)
        results.append((output, first, torch.autograd.grad(along, raw, materialize_grads=True)))
    assert_same(*results)


def test_raw_parameters_keep_their_range():
    layer = LIF(learn_threshold=True, learn_leak=True)
    with torch.no_grad():
        layer.raw_threshold.fill_(-50.0)
        layer.raw_leak.fill_(100.0)
    assert layer.threshold.item() > 0
    assert 0 <= layer.leak.item() <= 1
    assert layer(torch.ones(2, 1, 1)).isfinite().all()


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"learn_leak": True, "learn_threshold": True},
        {"reset": "zero", "initial": torch.full((3,), 0.25), "detach_reset": False},
        {"surrogate": Surrogate("gaussian", 0.5, 2.0), "threshold_gradient": "relative"},
    ],
)
def test_module_copies_pickles_saves(settings, tmp_path):
    layer = make(**settings)
    current = draw(32, 6, (2, 3), torch.float32)[0]
    want = layer(current)
    assert torch.equal(copy.deepcopy(layer)(current), want)
    assert torch.equal(pickle.loads(pickle.dumps(layer))(current), want)
    path = tmp_path / "layer.pt"
    torch.save(layer.state_dict(), path)
    learned = bool(settings.get("learn_leak"))
    start = {"initial": torch.zeros(3)} if "initial" in settings else {}
    other = LIF(**{"threshold": 0.3, "leak": 0.1, **settings, **start})
    if not learned:
        with pytest.raises(RuntimeError, match=r"threshold is 0\.3 here, 0\.8 in the state"):
            other.load_state_dict(torch.load(path))
        other = make(**settings | start)
    other.load_state_dict(torch.load(path))
    assert torch.equal(other(current), want)
    if "initial" in settings:
        assert torch.equal(other.initial, layer.initial)
    assert "threshold=0.8" in repr(layer)
    assert "leak=0.6" in repr(layer)
    assert f"reset='{settings.get('reset', 'subtract')}'" in repr(layer)
    assert ("learnable" in repr(layer)) == settings.get("learn_leak", False)


def test_buffers_follow_the_module():
    layer = LIF(threshold=torch.tensor([0.5, 1.0]), leak=torch.tensor(0.5), initial=torch.ones(2))
    assert set(layer.state_dict()) == {
        *("fixed_threshold", "fixed_leak", "initial"),
        "_extra_state",  # the settings
    }
    layer.double()
    assert layer.threshold.dtype == layer.initial.dtype == torch.float64
    assert "tensor[2]" in repr(layer)
    assert "threshold=tensor[]" in repr(LIF(learn_threshold=True).to("meta"))
    assert LIF(threshold=torch.tensor(1), learn_threshold=True).threshold.dtype == torch.float32
    # The given tensors were copied, not kept.
    given = torch.tensor([0.5, 1.0])
    layer = LIF(threshold=given, leak=given, initial=given)
    given.fill_(9.0)
    assert layer.threshold.tolist() == layer.leak.tolist() == layer.initial.tolist() == [0.5, 1.0]


def test_no_device_synchronization():
    """On the meta device values do not exist, so a layer that ran there never asked for one."""
    layer = LIF(learn_threshold=True, learn_leak=True, detach_reset=False, initial=torch.zeros(4))
    layer.to("meta")
    current = torch.empty(5, 2, 4, device="meta", requires_grad=True)
    trace = layer.trace(current)
    (trace.spikes.sum() + trace.membrane.sum()).backward()
    assert current.grad.shape == current.shape
    assert layer.raw_leak.grad is not None


def test_autocast_integrates_in_single_precision():
    linear, layer = nn.Linear(8, 6), LIF(learn_leak=True)
    inputs = torch.randn(5, 3, 8, generator=torch.Generator().manual_seed(2))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        current = linear(inputs)
        trace = layer.trace(current)
        trace.spikes.sum().backward()
    assert current.dtype == torch.bfloat16
    assert trace.membrane.dtype == trace.spikes.dtype == torch.float32
    want = lif(current.float(), leak=layer.leak, threshold=1.0)
    assert torch.equal(trace.membrane, want.membrane)
    assert linear.weight.grad.isfinite().all()
    assert layer.raw_leak.grad.isfinite()


def test_compile():
    model = nn.Sequential(nn.Linear(4, 5), LIF(learn_leak=True, detach_reset=False))
    compiled = torch.compile(model, backend="aot_eager")
    inputs = torch.randn(6, 3, 4, generator=torch.Generator().manual_seed(2))
    results = []
    for run in (model, compiled):
        model.zero_grad()
        output = run(inputs)
        output.sum().backward()
        results.append((output.detach(), [p.grad.clone() for p in model.parameters()]))
    assert_same(*results, 1e-6)


def test_checkpoint():
    from torch.utils.checkpoint import checkpoint

    model = nn.Sequential(nn.Linear(4, 5), LIF())
    inputs = torch.randn(6, 3, 4, generator=torch.Generator().manual_seed(2))
    results = []
    for run in (model, lambda value: checkpoint(model, value, use_reentrant=False)):
        model.zero_grad()
        run(inputs).sum().backward()
        results.append([p.grad.clone() for p in model.parameters()])
    assert_same(*results)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize(("reset", "detach", "started"), CASES)
def test_cuda_equals_cpu(reset, detach, started):
    results = []
    for device in ("cpu", "cuda"):
        inputs = [value.to(device).requires_grad_() for value in draw(33)]
        trace = lif(
            inputs[0],
            threshold=inputs[1],
            leak=inputs[2],
            reset=reset,
            detach_reset=detach,
            initial=(inputs[3], inputs[4]) if started else None,
        )
        gradients = torch.autograd.grad(
            (trace.membrane.square() + trace.spikes).cumsum(0).sum(),
            inputs,
            materialize_grads=True,
            allow_unused=True,
        )
        results.append([value.cpu() for value in (*trace, *gradients)])
    assert torch.equal(results[0][1], results[1][1])
    assert_same(*results)


# --- Other libraries ------------------------------------------------------------------------------
#
# This is the conversion table of the chapter on the LIF neuron, row by row. A foreign neuron is a
# function current -> (membrane before the reset, spikes); beside it stand our settings. LEAK
# is a dyadic number, because snnTorch and Norse keep parameters in float32.

LEAK, THRESHOLD = 0.875, 0.75


def snntorch_leaky(mechanism, **settings):
    def run(current):
        snn = pytest.importorskip("snntorch")
        node = snn.Leaky(beta=LEAK, threshold=THRESHOLD, reset_mechanism=mechanism, **settings)
        node, membrane, steps = node.double(), torch.zeros_like(current[0]), []
        for i in current:
            spikes, membrane = node(i, membrane)
            steps.append((membrane, spikes.double()))
        return tuple(torch.stack(series) for series in zip(*steps, strict=True))

    return run


def spikingjelly_lif(v_reset, detach_reset, decay_input=False):
    def run(current):
        pytest.importorskip("spikingjelly")
        from spikingjelly.activation_based import neuron, surrogate

        node = neuron.LIFNode(
            tau=1 / (1 - LEAK),
            decay_input=decay_input,
            v_threshold=THRESHOLD,
            v_reset=v_reset,
            surrogate_function=surrogate.ATan(),
            detach_reset=detach_reset,
            step_mode="m",
            store_v_seq=True,
        )
        spikes = node(current)
        return before_reset(node.v_seq, spikes, v_reset is None, current, decay_input), spikes

    return run


def spikingjelly_parametric(current):
    pytest.importorskip("spikingjelly")
    from spikingjelly.activation_based import neuron, surrogate

    node = neuron.ParametricLIFNode(
        init_tau=1 / (1 - LEAK),
        decay_input=False,
        v_threshold=THRESHOLD,
        v_reset=None,
        surrogate_function=surrogate.ATan(),
        step_mode="m",
        store_v_seq=True,
    ).double()
    node.w.data = torch.tensor(1 - LEAK, dtype=torch.float64).logit()  # it was made in float32
    spikes = node(current)
    return before_reset(node.v_seq, spikes, True, current), spikes


def norse_box(soft):
    def run(current):
        pytest.importorskip("norse")
        from norse.torch.functional import lif_box, reset

        p = lif_box.LIFBoxParameters(
            tau_mem_inv=torch.tensor(1 - LEAK, dtype=torch.float64),
            v_th=torch.tensor(THRESHOLD, dtype=torch.float64),
            reset_method=reset.reset_subtract if soft else reset.reset_value,
        )
        state, steps = lif_box.LIFBoxFeedForwardState(v=torch.zeros_like(current[0])), []
        for i in current:
            spikes, state = lif_box.lif_box_feed_forward_step(i, state, p, dt=1.0)
            steps.append((state.v, spikes))
        after, spikes = (torch.stack(series) for series in zip(*steps, strict=True))
        return before_reset(after, spikes, soft, current, scaled=True), spikes

    return run


def norse_lif(synapse):
    """Norse's default neuron, which filters its input first; `synapse` is dt / tau_syn."""

    def run(current):
        pytest.importorskip("norse")
        from norse.torch.functional import lif as norse

        p = norse.LIFParameters(
            tau_syn_inv=torch.tensor(synapse, dtype=torch.float64),
            tau_mem_inv=torch.tensor(1 - LEAK, dtype=torch.float64),
            v_th=torch.tensor(THRESHOLD, dtype=torch.float64),
        )
        rest = torch.zeros_like(current[0])
        state, steps = norse.LIFFeedForwardState(v=rest, i=rest), []
        for i in current:
            spikes, state = norse.lif_feed_forward_step(i, state, p, dt=1.0)
            steps.append((state.v, spikes))
        after, spikes = (torch.stack(series) for series in zip(*steps, strict=True))
        filtered = lif(current, leak=1 - synapse, threshold=0.0, reset="none").membrane
        return before_reset(after, spikes, False, filtered, scaled=True), spikes

    return run


def norse_recurrent(current):
    """Norse's recurrent step without recurrence, its synapse as short as a step."""
    pytest.importorskip("norse")
    from norse.torch.functional import lif as norse

    p = norse.LIFParameters(
        tau_syn_inv=torch.tensor(1.0, dtype=torch.float64),
        tau_mem_inv=torch.tensor(1 - LEAK, dtype=torch.float64),
        v_th=torch.tensor(THRESHOLD, dtype=torch.float64),
    )
    rest = torch.zeros_like(current[0])
    eye = torch.eye(rest.shape[1], dtype=torch.float64)
    state, steps = norse.LIFState(z=rest, v=rest, i=rest), []
    for i in current:
        spikes, state = norse.lif_step(i, state, eye, 0 * eye, p, dt=1.0)
        steps.append((state.v, spikes))
    after, spikes = (torch.stack(series) for series in zip(*steps, strict=True))
    return before_reset(after, spikes, False, current, scaled=True), spikes


def before_reset(after, spikes, soft, current, scaled=False):
    """The potential that was compared, from what is left after a reset to zero or by θ."""
    if soft:
        return after + THRESHOLD * spikes
    before = torch.cat([torch.zeros_like(after[:1]), after[:-1]])
    return LEAK * before + (1 - LEAK if scaled else 1.0) * current


FAST = Surrogate("fast_sigmoid", 1.0, 0.5)  # Norse's "super"; the ATan of the others is our default
ATTACHED = {"detach_reset": False}
DIALECTS = [
    pytest.param(snntorch_leaky("subtract"), {"reset": "subtract"}, 1.0, id="snntorch-subtract"),
    pytest.param(snntorch_leaky("zero"), {"reset": "zero"}, 1.0, id="snntorch-zero"),
    pytest.param(snntorch_leaky("none"), {"reset": "none"}, 1.0, id="snntorch-none"),
    pytest.param(
        spikingjelly_lif(None, False),
        {"reset": "subtract_leak", **ATTACHED},
        1.0,
        id="spikingjelly-soft",
    ),
    pytest.param(
        spikingjelly_lif(None, True), {"reset": "subtract_leak"}, 1.0, id="spikingjelly-soft-detach"
    ),
    pytest.param(
        spikingjelly_lif(0.0, False), {"reset": "zero", **ATTACHED}, 1.0, id="spikingjelly-hard"
    ),
    pytest.param(
        spikingjelly_lif(0.0, True), {"reset": "zero"}, 1.0, id="spikingjelly-hard-detach"
    ),
    pytest.param(
        spikingjelly_lif(0.0, False, decay_input=True),
        {"reset": "zero", **ATTACHED},
        1 - LEAK,
        id="spikingjelly-hard-decay-input",
    ),
    pytest.param(
        spikingjelly_lif(None, False, decay_input=True),
        {"reset": "subtract_leak", **ATTACHED},
        1 - LEAK,
        id="spikingjelly-soft-decay-input",
    ),
    pytest.param(
        spikingjelly_parametric, {"reset": "subtract_leak", **ATTACHED}, 1.0, id="spikingjelly-plif"
    ),
    pytest.param(
        norse_box(False), {"reset": "zero", "surrogate": FAST, **ATTACHED}, 1 - LEAK, id="norse-box"
    ),
    pytest.param(
        norse_box(True),
        {"reset": "subtract_leak", "surrogate": FAST, **ATTACHED},
        1 - LEAK,
        id="norse-box-subtract",
    ),
    pytest.param(
        norse_lif(1.0), {"reset": "zero", "surrogate": FAST, **ATTACHED}, 1 - LEAK, id="norse-lif"
    ),
    pytest.param(
        norse_recurrent, {"reset": "zero", "surrogate": FAST}, 1 - LEAK, id="norse-lif-recurrent"
    ),
]


@pytest.mark.parametrize(("foreign", "settings", "scale"), DIALECTS)
def test_other_library(foreign, settings, scale):
    """100 000 neuron steps: the same spikes, membranes and gradients."""
    g = torch.Generator().manual_seed(40)
    current = (0.2 + 0.6 * torch.randn(50, 20, 100, generator=g, dtype=torch.float64)) / scale
    weight = torch.randn(current.shape, generator=g, dtype=torch.float64)
    results = []
    for run in (
        foreign,
        lambda i: lif(scale * i, leak=LEAK, threshold=THRESHOLD, **settings),
    ):
        inputs = current.clone().requires_grad_()
        membrane, spikes = run(inputs)
        (gradient,) = torch.autograd.grad((weight * spikes).sum(), inputs)
        results.append((membrane.detach(), spikes.detach(), gradient))
    assert 0.05 < results[0][1].mean() < 0.95
    assert torch.equal(results[0][1], results[1][1])
    assert_same(results[0][0], results[1][0], 1e-12)
    assert_same(results[0][2], results[1][2], 1e-6)  # snnTorch's spikes are float32


def test_norse_filters_its_input_by_default():
    """Its default neuron is ours behind a synaptic filter with leak 1 - dt / tau_syn."""
    g = torch.Generator().manual_seed(41)
    current = 1.0 + 3.0 * torch.randn(50, 20, 100, generator=g, dtype=torch.float64)
    membrane, spikes = norse_lif(0.25)(current)
    filtered = lif(current, leak=0.75, threshold=0.0, reset="none").membrane
    trace = lif((1 - LEAK) * filtered, leak=LEAK, threshold=THRESHOLD, reset="zero")
    assert torch.equal(trace.spikes, spikes)
    assert_same(trace.membrane, membrane, 1e-12)


def test_potential_at_the_threshold_in_other_libraries():
    """On u = θ snnTorch and Norse stay silent as we do; SpikingJelly fires."""
    current = torch.full((1, 1, 1), THRESHOLD, dtype=torch.float64)
    assert lif(current, leak=LEAK, threshold=THRESHOLD).spikes.item() == 0
    assert snntorch_leaky("subtract")(current)[1].item() == 0
    assert norse_box(False)(current / (1 - LEAK))[1].item() == 0
    assert spikingjelly_lif(None, False)(current)[1].item() == 1


def test_snntorch_without_delay_is_a_third_neuron():
    """`reset_delay=False` subtracts at once, but a potential above 2θ then skips a spike."""
    current = torch.zeros(3, 1, 1, dtype=torch.float64)
    current[0] = 1.5  # one reset of 3/4 leaves 3/4, not above the threshold
    run = snntorch_leaky("subtract", reset_delay=False)
    leaky = lif(current, leak=LEAK, threshold=THRESHOLD, reset="subtract_leak")
    assert torch.equal(run(current)[1], leaky.spikes)
    current[0] = 2.25  # one reset leaves 3/2, which still crosses a step later
    leaky = lif(current, leak=LEAK, threshold=THRESHOLD, reset="subtract_leak")
    assert leaky.spikes.flatten().tolist() == [1, 1, 0]
    assert run(current)[1].flatten().tolist() == [1, 0, 0]


def test_snntorch_resets_the_old_potential_only():
    """Its docstring resets the new input too; its code, like ours, keeps it."""
    current = torch.tensor([1.0, 0.5], dtype=torch.float64).reshape(2, 1, 1)
    assert snntorch_leaky("zero")(current)[0].flatten().tolist() == [1.0, 0.5]


# --- Bad input ------------------------------------------------------------------------------------

GOOD = torch.ones(3, 2, 4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"threshold": -0.5}, r"threshold must be >= 0 and finite, got -0.5 \(nearest: 0\)"),
        ({"threshold": float("nan")}, "threshold must be >= 0 and finite, got nan"),
        ({"threshold": float("inf")}, "threshold must be >= 0 and finite, got inf"),
        ({"threshold": torch.tensor([1.0, 1, -2, 1])}, "threshold must be >= 0.*got -2.0"),
        ({"threshold": torch.tensor(float("nan"))}, "threshold must be >= 0.*got nan"),
        ({"threshold": torch.ones(3)}, r"threshold must broadcast.*\[2, 4\], got shape \[3\]"),
        ({"threshold": torch.ones(3, 2, 4)}, r"threshold must broadcast.*got shape \[3, 2, 4\]"),
        ({"threshold": "high"}, "threshold must be a number or a tensor.*'high'"),
        ({"threshold": None}, "threshold must be a number or a tensor.*None"),
        ({"threshold": torch.tensor(1j)}, "threshold must be real"),
        ({"leak": -0.1}, r"leak must be in \[0, 1\], got -0.1 \(nearest: 0\)"),
        ({"leak": 1.1}, r"leak must be in \[0, 1\], got 1.1 \(nearest: 1\)"),
        ({"leak": float("nan")}, r"leak must be in \[0, 1\], got nan"),
        ({"leak": torch.tensor([0.5, 1, 2, 0])}, r"leak must be in \[0, 1\], got 2.0"),
        ({"leak": torch.ones(5)}, r"leak must broadcast.*got shape \[5\]"),
        ({"reset": "soft"}, "reset must be one of 'subtract', 'subtract_leak'.*got 'soft'"),
        ({"reset": None}, "reset must be one of"),
        ({"current": torch.ones(3, 2, dtype=torch.int64)}, "current must be a floating-point"),
        ({"current": [[1.0]]}, "current must be a floating-point tensor, got list"),
        ({"current": torch.ones(0, 2, 4)}, r"current must be.*T >= 1, got shape \[0, 2, 4\]"),
        ({"current": torch.ones(3)}, r"current must be \[T, batch.*got shape \[3\]"),
        ({"initial": torch.zeros(3, 4)}, r"initial membrane must broadcast.*got shape \[3, 4\]"),
        ({"initial": torch.zeros(5)}, r"initial membrane must broadcast.*got shape \[5\]"),
        ({"initial": torch.zeros(2, 4, dtype=torch.int32)}, "initial membrane must be a floating"),
        ({"initial": 0.5}, "initial membrane must be a floating-point tensor, got float 0.5"),
        ({"initial": (torch.zeros(2, 4), torch.zeros(3))}, "initial spikes must broadcast"),
        ({"initial": (torch.zeros(2, 4), 1.0)}, "initial spikes must be a floating"),
        ({"initial": (torch.zeros(2, 4),)}, "initial must be a membrane or a .* tuple of length 1"),
    ],
)
def test_bad_input(change, message):
    settings = {"current": GOOD, "leak": 0.5, "threshold": 1.0, **change}
    before = copy.deepcopy(settings)
    with pytest.raises(ValueError, match=message):
        lif(settings.pop("current"), **settings)
    for name, value in settings.items():
        if isinstance(value, Tensor):
            torch.testing.assert_close(value, before[name], equal_nan=True)
    # The module refuses the same, when it is made or when it is called.
    settings = {k: v for k, v in {**before}.items() if k != "current"}
    if not isinstance(settings.get("initial"), tuple):
        with pytest.raises(ValueError):
            LIF(**settings)(before["current"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"threshold": 0.0, "learn_threshold": True}, "threshold must be > 0.*to be learnable"),
        ({"threshold": 0.0, "threshold_gradient": "relative"}, 'threshold must be > 0.*"relative"'),
        ({"leak": 1.0, "learn_leak": True}, r"leak must be inside \(0, 1\) to be learnable"),
        ({"leak": 0.0, "learn_leak": True}, r"leak must be inside \(0, 1\) to be learnable"),
        ({"threshold_gradient": "robust"}, "threshold_gradient must be one of 'absolute'"),
        ({"initial": torch.zeros(2, dtype=torch.int64)}, "initial must be a floating-point"),
        ({"initial": 0.0}, "initial must be a floating-point tensor, got float"),
        ({"threshold": torch.ones(2, requires_grad=True)}, "use learn_threshold=True"),
        ({"leak": torch.tensor(0.5, requires_grad=True)}, "use learn_leak=True"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        LIF(**settings)


@pytest.mark.parametrize("threshold", [0.0, 1, torch.tensor(1)])
@pytest.mark.parametrize("leak", [0, 1, torch.tensor([0.0, 1.0, 0.5, 1.0])])
def test_the_ends_of_the_ranges_are_allowed(threshold, leak):
    assert lif(GOOD, leak=leak, threshold=threshold).spikes.shape == GOOD.shape
    assert LIF(leak=leak, threshold=threshold)(GOOD).shape == GOOD.shape


def test_empty_batch():
    trace = lif(torch.ones(3, 0, 4, requires_grad=True), leak=0.5, threshold=1.0)
    assert trace.spikes.shape == (3, 0, 4)
    trace.spikes.sum().backward()
