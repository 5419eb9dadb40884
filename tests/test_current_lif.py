"""The LIF neuron behind a synapse: a plain loop, exact solutions, other libraries, bad input."""

import copy
import itertools
import math
import pickle

import pytest
import torch
from oracle import Spike
from torch import nn
from torch.autograd import forward_ad
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, vmap
from torch.utils._pytree import tree_leaves

from snnlib.neurons import (
    LIF,
    CurrentLIF,
    CurrentLIFState,
    CurrentLIFTrace,
    current_lif,
    exact_step,
    lif,
)
from snnlib.surrogate import Surrogate

# Norse still compiles with torch.jit.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script`:DeprecationWarning")

RESETS = ["subtract", "subtract_leak", "zero", "none"]
NAMES = ["current", "leak", "synapse_leak", "threshold", "input_gain", "delay"]
STATE = ["membrane", "spikes", "synapse"]


# --- The oracle: a loop that autograd differentiates by itself ----------------------------------


def plain(
    current,
    *,
    leak,
    synapse_leak,
    threshold,
    input_gain=1.0,
    delay=0.0,
    reset="subtract",
    surrogate=None,
    initial=None,
    detach_reset=True,
):
    """The neuron as it is written on paper, one step at a time."""
    surrogate = surrogate or Surrogate("arctan")
    zero = torch.zeros_like(current[0])
    u, x, s = (zero, zero, zero) if initial is None else initial
    us, xs, ss = [], [], []
    for i in current:
        before, s = s, synapse_leak * s + i
        drive = input_gain * ((1 - delay) * s + delay * before)
        held = x.detach() if detach_reset else x
        carry = {
            "subtract": leak * u - threshold * held,
            "subtract_leak": leak * (u - threshold * held),
            "zero": leak * u * (1 - held),
            "none": leak * u,
        }[reset]
        u = carry + drive
        x = Spike.apply(u - threshold, surrogate)
        us.append(u)
        xs.append(x)
        ss.append(s)
    return CurrentLIFTrace(torch.stack(us), torch.stack(xs), torch.stack(ss))


def draw(seed=0, steps=5, shape=(3, 2), dtype=torch.float64):
    """An input that makes neurons fire often, and all parameters: per neuron, sample or both."""
    g = torch.Generator().manual_seed(seed)

    def rand(*size, low=0.0, high=1.0):
        return low + (high - low) * torch.rand(size, generator=g, dtype=dtype)

    ones = [1] * (len(shape) - 1)
    parameters = [
        0.4 + 1.2 * torch.randn(steps, *shape, generator=g, dtype=dtype),
        rand(shape[0], *ones, low=0.4, high=0.9),
        rand(*shape[1:], low=0.3, high=0.8),
        rand(*shape[1:], low=0.6, high=1.1),
        rand(*shape, low=0.5, high=1.5),
        rand(*shape[1:], low=0.1, high=0.9),
    ]
    state = [
        torch.randn(*shape, generator=g, dtype=dtype),
        (rand(*shape) > 0.5).to(dtype),
        torch.randn(*shape, generator=g, dtype=dtype),
    ]
    return parameters, state


def nine(drawn):
    """Parameters and state in one list."""
    return [*drawn[0], *drawn[1]]


def run(neuron, values, *, started=True, **settings):
    """A neuron called with nine tensors (or numbers)."""
    keywords = dict(zip(NAMES[1:], values[1:6], strict=True)) | settings
    return neuron(values[0], initial=tuple(values[6:]) if started else None, **keywords)


def loss_of(neuron, **settings):
    """A loss of all three outputs, nonlinear in each, as a function of the nine inputs."""

    def loss(*values):
        u, x, s = run(neuron, values, **settings)
        count = torch.arange(u.numel(), dtype=u.dtype).view(u.shape)
        a, b, c, d = ((k + (3 + 2 * k) * count).sin() for k in (1, 2, 3, 4))
        return (a * u**2).sum() + (b * x).sum() + (c * x * s).sum() + (d * s**2).sum()

    return loss


def assert_same(first, second, tolerance=1e-9):
    first, second = tree_leaves(first), tree_leaves(second)
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


CASES = [
    pytest.param(reset, detach, started, id=f"{reset}-{'detached' if detach else 'attached'}-{s}")
    for reset, detach, (started, s) in itertools.product(
        RESETS, [True, False], [(True, "started"), (False, "rest")]
    )
]


# --- Values -------------------------------------------------------------------------------------


def test_literal_trajectory():
    """Each number can be checked by hand: leak 1/2, synapse 1/4, threshold 1, gain 2."""
    current = torch.tensor([1.0, 0, 0, 4]).reshape(4, 1, 1)
    keywords = {"leak": 0.5, "synapse_leak": 0.25, "threshold": 1.0, "input_gain": 2.0}
    trace = current_lif(current, **keywords)
    assert trace.current.flatten().tolist() == [1.0, 0.25, 0.0625, 4.015625]
    assert trace.membrane.flatten().tolist() == [2.0, 0.5, 0.375, 8.21875]
    assert trace.spikes.flatten().tolist() == [1, 0, 0, 1]
    late = current_lif(current, **keywords, delay=1.0)
    assert late.membrane.flatten().tolist() == [0.0, 2.0, 0.5, 0.375]
    between = current_lif(current, **keywords, delay=0.5)
    assert between.membrane.flatten().tolist() == [1.0, 1.75, 0.1875, 4.171875]


@pytest.mark.parametrize("reset", RESETS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_values_equal_the_loop(reset, dtype):
    for shape, started in itertools.product([(3,), (3, 4), (2, 3, 4, 4)], [True, False]):
        values = nine(draw(1, 7, shape, dtype))
        if dtype == torch.bfloat16:
            values[5] = 1.0  # the mean of two currents has another rounding
        got = run(current_lif, values, reset=reset, started=started)
        want = run(plain, values, reset=reset, started=started)
        assert all(value.dtype == dtype for value in got)
        tolerance = {torch.float32: 1e-5, torch.float64: 1e-13, torch.bfloat16: 0.0}[dtype]
        assert_same(got, want, tolerance)
        assert 0 < got.spikes.mean() < 1


@pytest.mark.parametrize("delay", [0.0, 1.0])
def test_values_with_numbers_equal_the_loop_bit_by_bit(delay):
    current = draw(2, 30, (6, 8), torch.float32)[0][0]
    keywords = {"leak": 0.9, "synapse_leak": 0.8, "threshold": 1.0, "input_gain": 0.3}
    got, want = (f(current, **keywords, delay=delay) for f in (current_lif, plain))
    assert all(torch.equal(a, b) for a, b in zip(got, want, strict=True))


@pytest.mark.parametrize("reset", RESETS)
def test_without_synapse_it_is_the_lif_neuron(reset):
    (current, leak, _, threshold, gain, _), state = draw(3)
    settings = {"leak": leak, "threshold": threshold, "reset": reset}
    one = lif(current, initial=(state[0], state[1]), **settings)
    two = current_lif(current, synapse_leak=0.0, initial=tuple(state), **settings)
    assert torch.equal(one.membrane, two.membrane) and torch.equal(one.spikes, two.spikes)
    assert torch.equal(two.current, current)
    scaled = lif(gain * current, **settings)
    assert_same(
        scaled.membrane, current_lif(current, synapse_leak=0.0, input_gain=gain, **settings)[0]
    )


def test_membrane_and_synapse_exchange_their_leaks():
    """Without threshold two filters in a row commute."""
    current = draw(4, 20)[0][0]
    one = current_lif(current, leak=0.9, synapse_leak=0.6, threshold=1.0, reset="none")
    two = current_lif(current, leak=0.6, synapse_leak=0.9, threshold=1.0, reset="none")
    assert_same(one.membrane, two.membrane, 1e-13)


@pytest.mark.parametrize("delay", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("detach", [True, False])
def test_joined_calls_equal_one(delay, detach):
    results = []
    for cuts in ([6], [1, 5], [3, 3], [1] * 6):
        values = [value.clone().requires_grad_() for value in nine(draw(6, 6))]
        state, pieces = tuple(values[6:]), []
        for piece in values[0].split(cuts):
            trace = current_lif(
                piece,
                leak=values[1],
                synapse_leak=values[2],
                threshold=values[3],
                input_gain=values[4],
                delay=delay,
                initial=state,
                detach_reset=detach,
            )
            assert isinstance(trace.state, CurrentLIFState)
            state = trace.state
            pieces.append(trace)
        whole = [torch.cat(parts) for parts in zip(*pieces, strict=True)]
        loss = sum((k + part).square().sum() for k, part in enumerate(whole))
        inputs = [*values[:5], *values[6:]]
        results.append((whole, torch.autograd.grad(loss, inputs, allow_unused=detach)))
    for other in results[1:]:
        assert_same(
            [t for t in tree_leaves(results[0]) if t is not None],
            [t for t in tree_leaves(other) if t is not None],
            1e-12,
        )


# --- The differential equations -----------------------------------------------------------------


def solution(times, beta, alpha, held, amplitude):
    """Membrane at whole steps, by the matrix exponential of the whole linear system.

    The state is (u, s, i): tau_m u' = -u + s, tau_s s' = -s + i, i' = 0; a jump adds to s.
    """
    system = torch.zeros(3, 3, dtype=torch.float64)
    system[0, :2] = torch.tensor([1.0, -1.0], dtype=torch.float64) * math.log(beta)
    system[1, 1] = math.log(alpha)
    system[1, 2] = -math.log(alpha)
    step = torch.linalg.matrix_exp(system)
    state = torch.zeros(3, dtype=torch.float64)
    found = []
    for i in amplitude:
        if held:
            state[2] = i
        else:
            state[1] += i
        state = step @ state
        found.append(state[:2].clone())
    return torch.stack(found)


@pytest.mark.parametrize("held", [False, True])
@pytest.mark.parametrize(
    ("beta", "alpha"), [(0.95, 0.8), (0.5, 0.9), (0.7, 0.7), (0.7, 0.7 + 1e-9), (0.999, 0.01)]
)
def test_exact_step_solves_the_equations(held, beta, alpha):
    current = torch.randn(60, generator=torch.Generator().manual_seed(0)).double()
    want = solution(range(60), beta, alpha, held, current)
    gain, delay = exact_step(beta, alpha, held=held)
    assert 0 <= delay <= 1
    trace = current_lif(
        current.view(60, 1),
        leak=beta,
        synapse_leak=alpha,
        threshold=1e9,
        input_gain=gain,
        delay=delay,
    )
    own = trace.current.flatten() * ((1 - alpha) if held else alpha)
    torch.testing.assert_close(trace.membrane.flatten(), want[:, 0], rtol=1e-10, atol=1e-11)
    torch.testing.assert_close(own, want[:, 1], rtol=1e-10, atol=1e-11)


def test_exact_delay_of_a_short_step_is_one_half():
    dt = 1e-4
    step = exact_step(math.exp(-dt / 20), math.exp(-dt / 5), held=True)
    assert abs(step.delay - 0.5) < 1e-4
    jump = exact_step(math.exp(-dt / 20), math.exp(-dt / 5))
    assert abs(jump.input_gain / (dt / 20) - 1) < 1e-4


def test_kernel_of_rossbroich():
    """Membrane input scaled by 1 - decay, from the current before this step's input."""
    dt, tau_membrane, tau_synapse = 0.1, 20.0, 10.0
    beta, alpha = math.exp(-dt / tau_membrane), math.exp(-dt / tau_synapse)
    jump = torch.zeros(4000, 1, 1, dtype=torch.float64)
    jump[0] = 1
    keywords = {"leak": beta, "synapse_leak": alpha, "threshold": 10.0}
    late = current_lif(jump, **keywords, input_gain=1 - beta, delay=1.0).membrane.flatten()
    soon = current_lif(jump, **keywords, input_gain=1 - beta).membrane.flatten()
    assert torch.equal(late[1:], soon[:-1]) and late[0] == 0
    t = torch.arange(4000, dtype=torch.float64)
    assert_same(late, (1 - beta) * (beta**t - alpha**t) / (beta - alpha), 1e-12)
    # Integral of the kernel and of its square in continuous time.
    assert abs(late.sum() * dt / tau_synapse - 1) < 0.02
    square = tau_synapse**2 / (2 * (tau_synapse + tau_membrane))
    assert abs((late**2).sum() * dt / square - 1) < 0.02


# --- Derivatives --------------------------------------------------------------------------------


@pytest.mark.parametrize(("reset", "detach", "started"), CASES)
def test_gradients_equal_those_of_the_loop(reset, detach, started):
    settings = {"reset": reset, "detach_reset": detach, "started": started}
    found = []
    for neuron in (current_lif, plain):
        values = [value.requires_grad_() for value in nine(draw(7))]
        loss = loss_of(neuron, **settings)(*values)
        inputs = values if started else values[:6]
        gradients = torch.autograd.grad(loss, inputs, create_graph=True, allow_unused=True)
        known = [0 * v if g is None else g for v, g in zip(inputs, gradients, strict=True)]
        again = sum((k + 1) * (g.cos()).sum() for k, g in enumerate(known))
        second = torch.autograd.grad(again, inputs, allow_unused=True)
        known += [0 * v if g is None else g for v, g in zip(inputs, second, strict=True)]
        found.append((loss, known))
    assert_same(*found)


def test_plain_backward_equals_the_recorded_one():
    values = [value.requires_grad_() for value in nine(draw(8, 9))]
    loss = loss_of(current_lif, detach_reset=False)
    plainly = torch.autograd.grad(loss(*values), values)
    recorded = torch.autograd.grad(loss(*values), values, create_graph=True)
    assert_same(plainly, recorded, 1e-12)


def test_gradcheck_of_the_filter():
    """Without spikes everything is smooth, so finite differences hold."""
    (current, leak, synapse_leak, threshold, gain, delay), state = draw(9, 4, (2, 2))
    values = [
        value.requires_grad_() for value in (current, leak, synapse_leak, gain, delay, *state)
    ]

    def smooth(current, leak, synapse_leak, gain, delay, u, x, s):
        trace = current_lif(
            current,
            leak=leak,
            synapse_leak=synapse_leak,
            threshold=threshold,
            input_gain=gain,
            delay=delay,
            initial=(u, x, s),
            reset="none",
        )
        return trace.membrane, trace.current

    assert torch.autograd.gradcheck(smooth, values, check_forward_ad=True, check_batched_grad=True)
    assert torch.autograd.gradgradcheck(smooth, values, check_fwd_over_rev=True)


def test_only_what_needs_a_gradient_gets_one():
    parameters, state = draw(10)
    for index, name in enumerate(NAMES + STATE):
        values = [value.clone() for value in parameters + state]
        values[index].requires_grad_()
        trace = run(current_lif, values, detach_reset=False)
        (trace.membrane.sum() + trace.current.sum()).backward()
        assert values[index].grad is not None, name
        others = [value for k, value in enumerate(values) if k != index]
        assert all(value.grad is None for value in others)


# --- torch.func, modes and memory ---------------------------------------------------------------


def test_functional_transforms():
    values = nine(draw(11, 3, (2, 2)))
    loss, want = (loss_of(neuron, detach_reset=False) for neuron in (current_lif, plain))
    argnums = tuple(range(9))
    assert_same(grad(loss, argnums)(*values), grad(want, argnums)(*values))
    for transform in (jacfwd, jacrev, hessian):
        for index in (0, 2, 8):
            assert_same(transform(loss, index)(*values), transform(want, index)(*values))
    tangents = [value.cos() for value in values]
    assert_same(
        jvp(loss, tuple(values), tuple(tangents)), jvp(want, tuple(values), tuple(tangents))
    )
    with forward_ad.dual_level():
        dual = [forward_ad.make_dual(v, t) for v, t in zip(values, tangents, strict=True)]
        tangent = forward_ad.unpack_dual(loss(*dual)).tangent
    assert_same(tangent, jvp(want, tuple(values), tuple(tangents))[1])


@pytest.mark.parametrize("mapped", [(0,), (1, 2), (8,), tuple(range(9)), (3, 4, 5)])
def test_vmap_over_any_inputs(mapped):
    singles = [nine(draw(seed, 3, (2, 2))) for seed in range(3)]
    values = [
        torch.stack([single[k] for single in singles]) if k in mapped else singles[0][k]
        for k in range(9)
    ]
    in_dims = tuple(0 if k in mapped else None for k in range(9))
    for function in (
        lambda *v: tuple(run(current_lif, v)),
        grad(loss_of(current_lif), tuple(range(6))),
    ):
        got = vmap(function, in_dims)(*values)
        want = [
            function(*(single[k] if k in mapped else singles[0][k] for k in range(9)))
            for single in singles
        ]
        assert_same(got, [torch.stack(parts) for parts in zip(*want, strict=True)])


def test_vmap_checks_values():
    current = torch.ones(3, 2, 2)
    leaks = torch.tensor([0.5, 1.5])
    with pytest.raises(ValueError, match=r"synapse_leak must be in \[0, 1\], got 1.5"):
        vmap(lambda a: current_lif(current, leak=0.5, synapse_leak=a, threshold=1.0)[0])(leaks)


def test_autocast_integrates_in_float32():
    current = torch.ones(5, 2, 3, dtype=torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        trace = current_lif(current, leak=0.5, synapse_leak=0.5, threshold=1.0)
    assert {value.dtype for value in trace} == {torch.float32}


def test_repeated_input_is_not_written_to():
    step = torch.ones(2, 3)
    current = step.expand(4, 2, 3)
    trace = current_lif(current, leak=0.5, synapse_leak=0.5, threshold=9.0)
    assert torch.equal(step, torch.ones(2, 3))
    assert trace.current[-1, 0, 0] == 1.875


def test_strides_do_not_matter():
    current = draw(17, 6, (4, 5))[0][0]
    turned = current.permute(2, 0, 1).contiguous().permute(1, 2, 0)
    grads = []
    for value in (current, turned):
        value = value.detach().requires_grad_()
        trace = current_lif(value, leak=0.5, synapse_leak=0.7, threshold=1.0, delay=0.5)
        (trace.membrane.square().sum() + trace.current[::2].square().sum()).backward()
        grads.append((trace, value.grad))
    assert_same(*grads, tolerance=0.0)


def test_initial_state_broadcasts():
    (current, *_), _ = draw(18)
    state = [torch.tensor(0.5), torch.ones(2), torch.full((3, 1), 0.25)]
    state = [value.double().requires_grad_() for value in state]
    wide = [value.detach().expand(3, 2).clone().requires_grad_() for value in state]
    keywords = {"leak": 0.5, "synapse_leak": 0.7, "threshold": 1.0, "detach_reset": False}
    results = []
    for initial in (state, wide):
        trace = current_lif(current, initial=tuple(initial), delay=0.4, **keywords)
        loss = trace.membrane.square().sum() + trace.current.square().sum()
        results.append((trace, torch.autograd.grad(loss, initial)))
    assert_same(results[0][0], results[1][0], 0.0)
    for own, full in zip(results[0][1], results[1][1], strict=True):
        assert_same(own, full.sum_to_size(own.shape), 1e-12)


def test_membrane_alone_has_no_current():
    (current, *_), (membrane, _, _) = draw(19)
    zero = torch.zeros_like(membrane)
    keywords = {"leak": 0.5, "synapse_leak": 0.7, "threshold": 1.0, "delay": 0.4}
    one = current_lif(current, initial=membrane, **keywords)
    assert_same(one, current_lif(current, initial=(membrane, zero, zero), **keywords), 0.0)


def test_empty_batch():
    trace = current_lif(
        torch.ones(3, 0, 4, requires_grad=True), leak=0.5, synapse_leak=0.5, threshold=1.0
    )
    assert trace.spikes.shape == trace.current.shape == (3, 0, 4)
    trace.spikes.sum().backward()


def test_floats_keep_no_copy_of_the_current():
    """With constant leaks the graph holds membrane and spikes only."""
    current = torch.randn(50, 4, 100, requires_grad=True)
    held = []

    def pack(tensor):
        held.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        CurrentLIF(input_gain=0.1)(current)
    assert sum(held) == 2 * current.numel()


# --- The module ---------------------------------------------------------------------------------


def test_module_is_the_function():
    (current, leak, synapse_leak, threshold, gain, delay), state = draw(12)
    layer = CurrentLIF(
        threshold=threshold,
        leak=leak,
        synapse_leak=synapse_leak,
        input_gain=gain,
        delay=delay,
        initial=state[0],
        reset="zero",
    )
    want = current_lif(
        current,
        leak=leak,
        synapse_leak=synapse_leak,
        threshold=threshold,
        input_gain=gain,
        delay=delay,
        initial=state[0],
        reset="zero",
    )
    assert all(torch.equal(a, b) for a, b in zip(layer.trace(current), want, strict=True))
    assert torch.equal(layer(current), want.spikes)
    assert isinstance(layer.trace(current), CurrentLIFTrace)
    assert not list(layer.parameters())


def test_learnable_module():
    layer = CurrentLIF(learn_threshold=True, learn_leak=True, learn_synapse_leak=True).double()
    assert {name for name, _ in layer.named_parameters()} == {
        "raw_threshold",
        "raw_leak",
        "raw_synapse_leak",
    }
    assert abs(layer.synapse_leak.item() - 0.5) < 1e-7
    current = draw(13)[0][0]
    layer.trace(current).membrane.square().sum().backward()
    assert all(parameter.grad.abs() > 0 for parameter in layer.parameters())
    values = {name: value.detach() for name, value in layer.named_parameters()}
    again = functional_call(layer, values, (current,))
    assert torch.equal(again, layer(current))


def test_module_copies_pickles_and_moves():
    layer = nn.Sequential(CurrentLIF(synapse_leak=torch.tensor([0.3, 0.4]), learn_leak=True))
    current = draw(14, dtype=torch.float32)[0][0]
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(other(current), layer(current))
    fresh = nn.Sequential(CurrentLIF(synapse_leak=torch.tensor([0.1, 0.1]), learn_leak=True))
    fresh.load_state_dict(layer.state_dict())
    assert torch.equal(fresh(current), layer(current))
    assert layer.double()(current.double()).dtype == torch.float64
    assert CurrentLIF().to("meta")(torch.ones(3, 2, 2, device="meta")).shape == (3, 2, 2)


def test_threshold_robust_output():
    current = draw(15)[0][0]
    one, two = (
        CurrentLIF(threshold=0.5, threshold_gradient=mode)
        for mode in ("absolute", "threshold_robust")
    )
    assert torch.equal(two(current), 0.5 * one(current))


def test_module_says_what_it_is():
    assert repr(CurrentLIF()) == (
        "CurrentLIF(threshold=1, leak=0.5, synapse_leak=0.5, reset='subtract', "
        f"surrogate={Surrogate('arctan')!r})"
    )
    text = repr(CurrentLIF(input_gain=0.1, delay=1, synapse_leak=torch.ones(3), reset="zero"))
    assert "synapse_leak=tensor[3], input_gain=0.1, delay=1, reset='zero'" in text
    assert isinstance(CurrentLIF(), LIF)


def test_compiled_module():
    layer = CurrentLIF(learn_synapse_leak=True, delay=0.5).double()
    current = draw(16)[0][0]
    compiled = torch.compile(layer, backend="aot_eager")
    results = []
    for run_layer in (layer, compiled):
        layer.zero_grad()
        spikes = run_layer(current)
        spikes.sum().backward()
        results.append((spikes, layer.raw_synapse_leak.grad))
    assert_same(*results)


def test_no_device_synchronization():
    """On the meta device values do not exist, so a layer that ran there never asked for one."""
    layer = CurrentLIF(learn_synapse_leak=True, delay=torch.full((4,), 0.5), input_gain=0.5)
    layer.to("meta")
    current = torch.empty(5, 2, 4, device="meta", requires_grad=True)
    layer.trace(current).membrane.sum().backward()
    assert current.grad.shape == current.shape
    assert layer.raw_synapse_leak.grad is not None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize(("reset", "detach", "started"), CASES)
def test_cuda_equals_cpu(reset, detach, started):
    results = []
    for device in ("cpu", "cuda"):
        values = [value.to(device).requires_grad_() for value in nine(draw(33))]
        trace = run(current_lif, values, reset=reset, detach_reset=detach, started=started)
        loss = sum(part.square().cumsum(0).sum() for part in trace)
        gradients = torch.autograd.grad(loss, values, materialize_grads=True, allow_unused=True)
        results.append([value.cpu() for value in (*trace, *gradients)])
    assert_same(*results)


# --- Other libraries ----------------------------------------------------------------------------


@pytest.mark.parametrize("reset", ["subtract", "none"])
def test_snntorch_synaptic(reset):
    snntorch = pytest.importorskip("snntorch")
    theirs = snntorch.Synaptic(alpha=0.8, beta=0.9, threshold=1.0, reset_mechanism=reset)
    current = 0.4 * draw(17, 50, (40, 60), torch.float32)[0][0]
    synapse, membrane = theirs.reset_mem()
    spikes, membranes = [], []
    for step in current:
        spike, synapse, membrane = theirs(step, synapse, membrane)
        spikes.append(spike)
        membranes.append(membrane)
    trace = current_lif(
        current,
        leak=theirs.beta.item(),
        synapse_leak=theirs.alpha.item(),
        threshold=theirs.threshold.item(),
        reset=reset,
    )
    assert torch.equal(trace.spikes, torch.stack(spikes))
    torch.testing.assert_close(trace.membrane, torch.stack(membranes), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(trace.current[-1], synapse)
    assert 0.05 < trace.spikes.mean() < 0.95


def test_norse_lif_cell():
    norse = pytest.importorskip("norse.torch")
    cell = norse.LIFCell()
    current = 4 * draw(18, 50, (40, 60), torch.float32)[0][0]
    state, spikes, afters = None, [], []
    for step in current:
        spike, state = cell(step, state)
        spikes.append(spike)
        afters.append(state.v)
    p, dt = cell.p, cell.dt
    gain = float(dt * p.tau_mem_inv.double())
    trace = current_lif(
        current,
        leak=1 - gain,
        synapse_leak=1 - float(dt * p.tau_syn_inv.double()),
        threshold=p.v_th.item(),
        input_gain=gain,
        reset="zero",
    )
    assert torch.equal(trace.spikes, torch.stack(spikes))
    after = trace.membrane * (1 - trace.spikes)  # theirs is already reset
    torch.testing.assert_close(after, torch.stack(afters), rtol=1e-5, atol=1e-5)
    assert 0.01 < trace.spikes.mean() < 0.9


# --- Bad input ----------------------------------------------------------------------------------

GOOD = torch.ones(3, 2, 4)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"synapse_leak": 1.5}, r"synapse_leak must be in \[0, 1\], got 1.5 \(nearest: 1\)"),
        ({"synapse_leak": -0.1}, r"synapse_leak must be in \[0, 1\], got -0.1 \(nearest: 0\)"),
        ({"synapse_leak": math.nan}, r"synapse_leak must be in \[0, 1\], got nan"),
        ({"synapse_leak": "half"}, "synapse_leak must be a number or a tensor"),
        ({"synapse_leak": torch.tensor([0.5, 2, 0, 0])}, r"synapse_leak .* got 2.0"),
        ({"synapse_leak": torch.ones(3)}, "synapse_leak must broadcast to one step"),
        ({"leak": 2}, "leak must be in"),
        ({"leak": torch.tensor(math.nan)}, "leak must be in"),
        ({"threshold": -1.0}, "threshold must be >= 0"),
        ({"threshold": torch.tensor(-1.0)}, "threshold must be >= 0"),
        ({"input_gain": -1.0}, r"input_gain must be >= 0 and finite, got -1.0 \(nearest: 0\)"),
        ({"input_gain": math.inf}, "input_gain must be >= 0 and finite"),
        ({"input_gain": torch.tensor(math.nan)}, "input_gain must be >= 0 and finite"),
        ({"delay": 1.01}, r"delay must be in \[0, 1\], got 1.01 \(nearest: 1\)"),
        ({"delay": torch.tensor(-1)}, r"delay must be in \[0, 1\], got -1"),
        ({"reset": "soft"}, "reset must be one of"),
        ({"current": torch.ones(3)}, r"current must be \[T, batch"),
        ({"current": torch.ones(0, 3)}, "T >= 1"),
        ({"current": torch.ones(3, 3, dtype=torch.int64)}, "current must be a floating-point"),
        ({"current": None}, "current must be a floating-point tensor, got NoneType"),
        ({"initial": (torch.ones(2), torch.ones(2))}, "triple, got a tuple of length 2"),
        ({"initial": (torch.zeros(4), torch.zeros(4), torch.zeros(3))}, "initial current must"),
        ({"initial": (torch.zeros(4), torch.zeros(4), None)}, "initial current must be a floating"),
        ({"initial": torch.zeros(7)}, "initial membrane must broadcast"),
    ],
)
def test_bad_input(wrong, message):
    good = {"current": GOOD, "leak": 0.5, "synapse_leak": 0.5, "threshold": 1.0}
    keywords = good | wrong
    with pytest.raises(ValueError, match=message):
        current_lif(keywords.pop("current"), **keywords)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"synapse_leak": 2.0}, r"synapse_leak must be in \[0, 1\]"),
        (
            {"synapse_leak": 1.0, "learn_synapse_leak": True},
            r"synapse_leak must be inside \(0, 1\)",
        ),
        ({"synapse_leak": torch.tensor(0.5, requires_grad=True)}, "use the function current_lif"),
        ({"input_gain": torch.ones(2, requires_grad=True)}, "input_gain must not require"),
        ({"input_gain": -1}, "input_gain must be >= 0"),
        ({"delay": 2}, r"delay must be in \[0, 1\]"),
        ({"leak": 2.0}, "leak must be in"),
        ({"threshold": 0.0, "learn_threshold": True}, "to be learnable"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        CurrentLIF(**settings)


@pytest.mark.parametrize("leaks", [(0.0, 0.5), (0.5, 1.0), (math.nan, 0.5)])
def test_exact_step_needs_leaks_inside(leaks):
    with pytest.raises(ValueError, match="leak must be in"):
        exact_step(*leaks)
