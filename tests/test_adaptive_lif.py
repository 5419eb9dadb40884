"""The adaptive LIF neuron: a plain loop, laws, bad input."""

import copy
import itertools
import math
import pickle

import pytest
import torch
from oracle import Spike
from torch import nn
from torch.func import grad, jvp
from torch.utils._pytree import tree_leaves

from snnlib import dialects, probe
from snnlib.init.pairing import pair
from snnlib.neurons import (
    AdaptiveLIF,
    AdaptiveLIFState,
    AdaptiveLIFTrace,
    RecurrentLIF,
    adaptive_lif,
    lif,
    recurrent_lif,
)
from snnlib.surrogate import Surrogate

# Norse still compiles with torch.jit.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script`:DeprecationWarning")

RESETS = ["subtract", "subtract_leak", "zero", "none", "zero_with_input", "multiplicative"]
NAMES = ["current", "weight", "threshold", "leak", "adaptation", "adaptation_leak"]


# --- The oracle: a loop that autograd differentiates by itself ----------------------------------


def plain(
    current,
    weight=None,
    *,
    leak,
    threshold,
    adaptation,
    adaptation_leak,
    reset="subtract",
    surrogate=None,
    initial=None,
    detach_reset=True,
    relative=False,
):
    """The neuron as it is written on paper, one step at a time."""
    surrogate = surrogate or Surrogate("arctan")
    zero = torch.zeros_like(current[0])
    matrix = zero.new_zeros(zero.shape[1], zero.shape[1]) if weight is None else weight
    matrix = matrix - torch.diag(torch.diag(matrix))
    u, x, a = (zero, zero, zero) if initial is None else initial
    rows = []
    for i in current:
        drive = i + x @ matrix.T
        held = x.detach() if detach_reset else x
        above = threshold + adaptation * a
        u = {
            "subtract": leak * u - above * held + drive,
            "subtract_leak": leak * (u - above * held) + drive,
            "zero": leak * u * (1 - held) + drive,
            "none": leak * u + drive,
            "zero_with_input": (leak * u + drive) * (1 - held),
            "multiplicative": leak * (u + drive) * (1 - held),
        }[reset]
        a = adaptation_leak * a + (1 - adaptation_leak) * x
        above = threshold + adaptation * a
        x = Spike.apply(u / above - 1 if relative else u - above, surrogate)
        rows.append((u, x, a))
    return AdaptiveLIFTrace(*(torch.stack(parts) for parts in zip(*rows, strict=True)))


def draw(seed=0, steps=6, batch=3, width=4, dtype=torch.float64):
    g = torch.Generator().manual_seed(seed)

    def rand(*size, low=0.0, high=1.0):
        return low + (high - low) * torch.rand(size, generator=g, dtype=dtype)

    return [
        0.8 + 1.2 * torch.randn(steps, batch, width, generator=g, dtype=dtype),
        0.8 * torch.randn(width, width, generator=g, dtype=dtype),
        rand(width, low=0.4, high=0.9),
        rand(batch, 1, low=0.4, high=0.9),
        rand(width, low=0.3, high=1.2),
        rand(low=0.4, high=0.9),
        torch.randn(batch, width, generator=g, dtype=dtype),
        (rand(batch, width) > 0.5).to(dtype),
        rand(batch, width),
    ]


def run(neuron, values, *, started=True, **settings):
    current, weight, *rest = values
    keywords = dict(zip(NAMES[2:], rest[:4], strict=True)) | settings
    return neuron(current, weight, initial=tuple(rest[4:]) if started else None, **keywords)


def loss_of(neuron, **settings):
    """A loss of all three outputs, nonlinear in each, as a function of the nine inputs."""

    def loss(*values):
        u, x, a = run(neuron, values, **settings)
        count = torch.arange(u.numel(), dtype=u.dtype).view(u.shape)
        k, m, n, o = ((j + (3 + 2 * j) * count).sin() for j in (1, 2, 3, 4))
        return (k * u**2).sum() + (m * x).sum() + (n * x * u).sum() + (o * a**2).sum()

    return loss


def assert_same(first, second, tolerance=1e-9):
    first, second = tree_leaves(first), tree_leaves(second)
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


def gradients(loss, inputs, **keywords):
    return torch.autograd.grad(loss, inputs, materialize_grads=True, **keywords)


CASES = list(itertools.product(RESETS, [True, False], [True, False]))


# --- Values -------------------------------------------------------------------------------------


def test_literal_trajectory():
    """Threshold 1, adaptation 2 with decay 1/2, leak 1/2; each line can be checked by hand."""
    current = torch.tensor([1.5, 2.5, 2.5, 4.0]).reshape(4, 1, 1)
    keywords = dict(leak=0.5, threshold=1.0, adaptation=2.0, adaptation_leak=0.5)
    trace = adaptive_lif(current, **keywords)
    assert trace.adaptation.flatten().tolist() == [0, 0.5, 0.75, 0.625 - 0.25]
    assert trace.membrane.flatten().tolist() == [1.5, 2.25, 1.625, 4.8125]
    assert trace.spikes.flatten().tolist() == [1, 1, 0, 1]


@pytest.mark.parametrize("reset", RESETS)
def test_without_adaptation_it_is_the_recurrent_neuron(reset):
    current, weight, threshold, leak, _, decay, membrane, spikes, level = draw(1)
    keywords = dict(threshold=threshold, leak=leak, reset=reset)
    got = adaptive_lif(
        current,
        weight,
        adaptation=0.0,
        adaptation_leak=decay,
        initial=(membrane, spikes, level),
        **keywords,
    )
    want = recurrent_lif(current, weight, initial=(membrane, spikes), **keywords)
    assert_same(tuple(got[:2]), tuple(want), 1e-13)
    if reset in RESETS[:4]:
        got = adaptive_lif(current, adaptation=0.0, adaptation_leak=decay, **keywords)
        assert_same(tuple(got[:2]), tuple(lif(current, **keywords)), 1e-13)


@pytest.mark.parametrize("decay", [0.0, 1.0])
def test_ends_of_the_decay(decay):
    """ρ = 1 never adapts; ρ = 0 remembers the last spike only."""
    values = draw(2)
    values[5] = decay
    trace = run(adaptive_lif, values, started=False)
    want = torch.zeros_like(trace.spikes)
    if decay == 0:
        want[1:] = trace.spikes[:-1]
    assert torch.equal(trace.adaptation, want)


def test_adaptation_slows_firing_down():
    current = torch.full((400, 1, 1), 2.0)
    rates = [
        adaptive_lif(current, leak=0.5, threshold=1.0, adaptation=k, adaptation_leak=0.95)
        .spikes[200:]
        .mean()
        .item()
        for k in (0.0, 1.0, 4.0)
    ]
    assert rates[0] > rates[1] > rates[2] > 0


@pytest.mark.parametrize(("reset", "detach"), list(itertools.product(RESETS, [True, False])))
def test_joined_calls_equal_one(reset, detach):
    values = draw(3)
    results = []
    for cuts in ([6], [1, 5], [3, 3], [1] * 6):
        inputs = [value.clone().requires_grad_() for value in values]
        state, pieces = inputs[6:], []
        for piece in inputs[0].split(cuts):
            trace = run(
                adaptive_lif, [piece, *inputs[1:6], *state], reset=reset, detach_reset=detach
            )
            state = trace.state
            pieces.append(trace)
        rows = [torch.cat(parts) for parts in zip(*pieces, strict=True)]
        loss = sum((row.sin() * torch.linspace(1, 2, 6).view(6, 1, 1)).sum() for row in rows)
        results.append((rows, gradients(loss, inputs)))
    for other in results[1:]:
        assert_same(other, results[0], 1e-12)
    assert isinstance(trace.state, AdaptiveLIFState)


def test_norse_lsnn():
    """Their threshold jumps by b after a spike and decays at once: κ (1 - ρ) = ρ b; their input
    acts one step late and has a synapse, which forgets at once here.
    """
    lsnn = pytest.importorskip("norse.torch.functional.lsnn")
    gain, decay, jump = 0.1, 0.95, 0.3
    numbers = {"tau_syn_inv": 1e3, "tau_mem_inv": 1e3 * gain, "tau_adapt_inv": 1e3 * (1 - decay)}
    numbers |= {"v_leak": 0.0, "v_th": 1.0, "v_reset": 0.0, "beta": jump}
    values = {k: torch.tensor(v, dtype=torch.float64) for k, v in numbers.items()}
    p = lsnn.LSNNParameters(**values)
    current = 25 * torch.rand(80, 4, 5, generator=torch.Generator().manual_seed(0)).double()
    state = lsnn.LSNNFeedForwardState(
        *(torch.full_like(current[0], value) for value in (0.0, 0.0, 1.0))
    )
    spikes, thresholds = [], []
    for i in current:
        spike, state = lsnn.lsnn_feed_forward_step(i, state, p, 1e-3)
        spikes.append(spike)
        thresholds.append(state.b - jump * spike)
    trace = adaptive_lif(
        gain * torch.cat([torch.zeros_like(current[:1]), current[:-1]]),
        leak=1 - gain,
        threshold=1.0,
        adaptation=decay * jump / (1 - decay),
        adaptation_leak=decay,
        reset="zero",
    )
    assert torch.equal(trace.spikes, torch.stack(spikes))
    above = 1 + decay * jump / (1 - decay) * trace.adaptation
    torch.testing.assert_close(above, torch.stack(thresholds), rtol=1e-9, atol=1e-9)
    assert 0.05 < trace.spikes.mean() < 0.9 and above.max() > 2


# --- Derivatives --------------------------------------------------------------------------------


@pytest.mark.parametrize(("reset", "detach", "started"), CASES)
@pytest.mark.parametrize("connected", [True, False])
def test_derivatives_equal_the_loop(reset, detach, started, connected):
    settings = dict(
        reset=reset, detach_reset=detach, started=started, surrogate=Surrogate("gaussian", 0.7, 1.3)
    )
    values = draw(4)[: 9 if started else 6]
    results = []
    for neuron in (adaptive_lif, plain):
        inputs = [value.clone().requires_grad_() for value in values]
        weight = inputs[1] if connected else None
        loss = loss_of(neuron, **settings)(inputs[0], weight, *inputs[2:])
        first = gradients(loss, inputs, retain_graph=True)
        recorded = gradients(loss, inputs, create_graph=True)
        directions = [torch.sin(torch.arange(1.0, v.numel() + 1)).view_as(v) for v in inputs]
        along = sum((g * d).sum() for g, d in zip(recorded, directions, strict=True))
        second = gradients(along, inputs)
        results.append((loss, first, recorded, second))
    for got, want in zip(*results, strict=True):
        assert_same(got, want)
    assert not results[0][1][1].diagonal().any()


@pytest.mark.parametrize("output", ["membrane", "spikes", "adaptation"])
@pytest.mark.parametrize("constant", [False, True])
def test_loss_of_one_output(output, constant):
    results = []
    for neuron in (adaptive_lif, plain):
        inputs = [value.requires_grad_() for value in draw(5)]
        if constant:
            inputs[2:6] = [0.6, 0.7, 0.9, 0.8]
        trace = run(neuron, inputs, detach_reset=False)
        loss = (getattr(trace, output) * draw(6)[0]).sum()
        wanted = [value for value in inputs if isinstance(value, torch.Tensor)]
        results.append(gradients(loss, wanted))
    assert_same(*results)


def test_functional_transforms():
    for reset, detach in itertools.product(("subtract", "multiplicative"), (True, False)):
        values = draw(7, 4, 2, 3)
        loss, want = (
            loss_of(neuron, reset=reset, detach_reset=detach) for neuron in (adaptive_lif, plain)
        )
        assert_same(grad(loss, tuple(range(9)))(*values), grad(want, tuple(range(9)))(*values))
        tangents = tuple(value.cos() for value in values)
        assert_same(jvp(loss, tuple(values), tangents), jvp(want, tuple(values), tangents))


# --- The module ---------------------------------------------------------------------------------


def test_module_is_the_function():
    current, weight, threshold, leak, strength, decay, membrane, *_ = draw(8)
    settings = dict(threshold=threshold, leak=leak, adaptation=strength, adaptation_leak=decay)
    layer = AdaptiveLIF(4, initial=membrane, reset="zero", **settings).double()
    layer.weight.data = weight
    want = adaptive_lif(
        current,
        weight,
        initial=(membrane, torch.zeros_like(membrane), torch.zeros_like(membrane)),
        reset="zero",
        **settings,
    )
    assert_same(layer.trace(current), want, 0.0)
    assert torch.equal(layer(current), want.spikes)
    single = AdaptiveLIF(**settings)
    assert_same(single.trace(current), adaptive_lif(current, **settings), 0.0)
    assert not list(single.parameters()) and not single.recurrent


def test_relative_threshold():
    current, weight, *_ = draw(9)
    layer = AdaptiveLIF(4, threshold_gradient="relative", adaptation=0.5).double()
    layer.weight.data = weight
    (got,) = torch.autograd.grad(layer.trace(current).membrane.sin().sum(), layer.weight)
    settings = dict(leak=0.5, threshold=1.0, adaptation=0.5, adaptation_leak=0.9)
    other = plain(current, layer.weight, relative=True, **settings)
    assert_same(got, torch.autograd.grad(other.membrane.sin().sum(), layer.weight)[0])


def test_learnable_module_copies_pickles_and_moves():
    settings = {f"learn_{name}": True for name in NAMES[2:]}
    layer = nn.Sequential(AdaptiveLIF(4, **settings))
    assert {name.rpartition(".")[2] for name, _ in layer.named_parameters()} == {
        "weight",
        *(f"raw_{name}" for name in NAMES[2:]),
    }
    current = 3 * draw(10, dtype=torch.float32)[0]
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(other(current), layer(current))
    fresh = nn.Sequential(AdaptiveLIF(4, **settings))
    fresh.load_state_dict(layer.state_dict())
    assert torch.equal(fresh(current), layer(current))
    layer[0].trace(current).membrane.square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in layer.parameters())
    assert layer.double()(current.double()).dtype == torch.float64
    layer.to("meta")
    meta = torch.empty(5, 2, 4, device="meta", requires_grad=True)
    layer[0].trace(meta).membrane.sum().backward()
    assert meta.grad.shape == meta.shape


def test_module_says_what_it_is():
    assert repr(AdaptiveLIF(3)) == (
        "AdaptiveLIF(3, threshold=1, leak=0.5, adaptation=1, adaptation_leak=0.9, "
        f"reset='subtract', surrogate={Surrogate('arctan')!r})"
    )
    assert repr(AdaptiveLIF()).startswith("AdaptiveLIF(threshold=1")


def test_in_a_network():
    model = nn.Sequential(nn.Linear(6, 5), AdaptiveLIF(5), nn.Linear(5, 4), AdaptiveLIF())
    batch = draw(11, width=6, dtype=torch.float32)[0]
    for example in (None, batch):
        found = {c.name: c for c in pair(model, example)}
        assert set(found) == {"0", "1.weight", "2"}
        assert found["1.weight"].recurrent and found["1.weight"].bias is None
    assert dialects.read(model[3]).why == "its threshold adapts"
    assert probe.record(model, batch).layers == ("1", "3")
    assert str(probe.diagnose(model, batch))


def test_autocast_integrates_in_float32():
    layer = AdaptiveLIF(8)
    with torch.autocast("cpu", torch.bfloat16):
        trace = layer.trace(torch.ones(5, 2, 8, dtype=torch.bfloat16))
    assert {value.dtype for value in trace} == {torch.float32}


# --- Bad input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"adaptation": -1.0}, r"adaptation must be >= 0 and finite, got -1.0 \(nearest: 0\)"),
        ({"adaptation": torch.tensor([1.0, math.nan, 1, 1])}, "adaptation must be >= 0"),
        ({"adaptation_leak": 1.5}, r"adaptation_leak must be in \[0, 1\], got 1.5 \(nearest: 1\)"),
        ({"adaptation_leak": torch.ones(3)}, "adaptation_leak must broadcast to one step"),
        ({"adaptation": "x"}, "adaptation must be a number or a tensor"),
        ({"threshold": -1.0}, "threshold must be >= 0"),
        ({"leak": 2.0}, "leak must be in"),
        ({"reset": "soft"}, "reset must be one of"),
        ({"weight": torch.ones(3, 3)}, r"weight must be \[n, n\] = \[4, 4\]"),
        ({"current": torch.ones(3, 4)}, r"current must be \[T, batch, n\]"),
        ({"initial": (torch.ones(4),) * 2}, r"\(membrane, spikes, adaptation\), got a tuple"),
        ({"initial": (torch.ones(4), torch.ones(4), torch.ones(9))}, "initial adaptation must"),
    ],
)
def test_bad_input(wrong, message):
    good = dict(leak=0.5, threshold=1.0, adaptation=1.0, adaptation_leak=0.5)
    keywords = {"current": torch.ones(3, 2, 4), **good, **wrong}
    with pytest.raises(ValueError, match=message):
        adaptive_lif(keywords.pop("current"), **keywords)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"width": 0}, "width must be a positive integer, got 0"),
        ({"adaptation": -1}, "adaptation must be >= 0"),
        ({"adaptation": 0.0, "learn_adaptation": True}, "adaptation must be > 0 .* learnable"),
        ({"adaptation_leak": 1.0, "learn_adaptation_leak": True}, "to be learnable"),
        ({"adaptation": torch.ones(1, requires_grad=True)}, "use learn_adaptation=True, or the"),
        ({"threshold_gradient": "threshold_robust"}, "must be one of 'absolute', 'relative'"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        AdaptiveLIF(**settings)


def test_it_is_not_the_recurrent_neuron():
    assert not isinstance(AdaptiveLIF(2), RecurrentLIF)
