"""The levers of recurrent neurons, each on and off: sums of few spikes, folded resets, oneDNN."""

import itertools

import pytest
import torch
from test_recurrent_lif import plain
from torch.func import grad, jvp

from snnlib.neurons import AdaptiveLIF, RecurrentLIF, adaptive_lif, recurrent_lif
from snnlib.neurons._stepwise import folding, products
from snnlib.products import forced

RESETS = ["subtract", "subtract_leak", "zero", "none", "zero_with_input", "multiplicative"]
EPS = torch.finfo(torch.float32).eps


def draw(seed=0, steps=12, batch=6, width=40, mean=-0.4, dtype=torch.float32):
    """A current under which few neurons fire, and weights."""
    g = torch.Generator().manual_seed(seed)
    current = mean + torch.randn(steps, batch, width, generator=g)
    weight = torch.randn(width, width, generator=g) / width**0.5
    return current.to(dtype), weight.to(dtype)


def constants(kind, seed=1, batch=6, width=40):
    """Threshold and leak: floats, one a neuron, or one a sample."""
    g = torch.Generator().manual_seed(seed)
    shape = {"neuron": (width,), "row": (1, width), "sample": (batch, 1)}.get(kind)
    if shape is None:
        return {"threshold": 0.8, "leak": 0.7}
    return {
        "threshold": 0.6 + 0.5 * torch.rand(shape, generator=g),
        "leak": 0.5 + 0.4 * torch.rand(shape, generator=g),
    }


def spy(monkeypatch, module, name):
    """Count the calls of a function."""
    calls, old = [], getattr(module, name)

    def counted(*args, **keywords):
        result = old(*args, **keywords)
        calls.append(result)
        return result

    monkeypatch.setattr(module, name, counted)
    return calls


def carried(reset, u, x, threshold, leak):
    """What a step takes over, and the size of its terms."""
    if reset in ("subtract", "none"):
        jump = threshold * x * (reset == "subtract")
    else:
        jump = leak * threshold * x
    if reset == "zero":
        return leak * u * (1 - x), (leak * u).abs()
    return leak * u - jump, (leak * u).abs() + jump


# --- Values -------------------------------------------------------------------------------------


@pytest.mark.parametrize("sparse", [True, False, None])
@pytest.mark.parametrize("fold", [True, False])
@pytest.mark.parametrize("reset", RESETS[:4])
@pytest.mark.parametrize("kind", ["float", "neuron", "row", "sample"])
def test_each_step_is_the_exact_one_up_to_rounding(monkeypatch, sparse, fold, reset, kind):
    """Against float64, step by step: spikes may differ only where u is at the threshold."""
    monkeypatch.setattr(folding, "FOLD", fold)
    current, weight = draw()
    values = constants(kind)
    with forced(sparse=sparse):
        trace = recurrent_lif(current, weight, reset=reset, **values)
    assert 0.02 < trace.spikes.mean() < 0.3
    i, u, x = (value.double() for value in (current, trace.membrane, trace.spikes))
    theta, beta = (
        value.double() if isinstance(value, torch.Tensor) else value for value in values.values()
    )
    into = (weight - torch.diag(torch.diag(weight))).double().t()
    kept, size = carried(reset, u[:-1], x[:-1], theta, beta)
    exact = kept + i[1:] + x[:-1] @ into
    bound = 4 * EPS * (size + i[1:].abs() + x[:-1] @ into.abs())
    assert ((u[1:] - exact).abs() <= bound).all()
    differs = (x[1:] == 1) != (exact > theta)
    assert ((exact - theta).abs() <= bound)[differs].all()
    assert torch.equal(u[0], i[0])


@pytest.mark.parametrize("reset", RESETS)
def test_without_the_levers_it_is_the_loop_bit_for_bit(monkeypatch, reset):
    """A step is the carry, then the current, then the product."""
    monkeypatch.setattr(folding, "FOLD", False)
    current, weight = draw(2)
    with forced(dense="torch", sparse=False):
        trace = recurrent_lif(current, weight, threshold=0.75, leak=0.5, reset=reset)
    into = (weight - torch.diag(torch.diag(weight))).t()
    gate = {"zero_with_input": 1.0, "multiplicative": 0.5}.get(reset)
    u = current[0] * (gate or 1.0)
    for t in range(12):
        x = (u > 0.75).float()
        assert torch.equal(trace.membrane[t], u)
        assert torch.equal(trace.spikes[t], x)
        if t < 11 and gate is not None:
            drive = torch.addmm(current[t + 1], x, into)
            u = torch.addcmul(0.5 * u * (1 - x), drive, gate * (1 - x))
        elif t < 11:  # 1/2 and 3/4 of the spikes multiply without rounding
            kept = {
                "subtract": 0.5 * u - 0.75 * x,
                "subtract_leak": 0.5 * (u - 0.75 * x),
                "zero": 0.5 * u * (1 - x),
                "none": 0.5 * u,
            }[reset]
            u = torch.addmm(kept + current[t + 1], x, into)


def test_levers_agree_to_the_bit_on_a_grid():
    """Where every sum is exact, its order does not matter."""
    current, weight = ((8 * value).round() / 8 for value in draw(3))
    want = plain(current, weight, threshold=0.75, leak=0.5, self_connections=True)
    current = current[:3]  # potentials leave the grid of float32 later
    for sparse in (True, False):
        with forced(sparse=sparse):
            trace = recurrent_lif(current, weight, threshold=0.75, leak=0.5, self_connections=True)
        assert torch.equal(trace.membrane, want.membrane[:3])
        assert torch.equal(trace.spikes, want.spikes[:3])


@pytest.mark.parametrize("sparse", [True, False])
def test_a_state_need_not_be_spikes(sparse):
    current, weight = draw(4)
    start = (torch.randn(6, 40), torch.rand(6, 40))
    with forced(sparse=sparse):
        trace = recurrent_lif(current, weight, threshold=0.8, leak=0.7, initial=start)
    want = plain(current, weight, threshold=0.8, leak=0.7, initial=start)
    torch.testing.assert_close(trace.membrane[0], want.membrane[0])


# --- Which way is taken ---------------------------------------------------------------------------


def test_few_spikes_are_summed_and_many_multiplied(monkeypatch):
    calls = spy(monkeypatch, products, "named_sums")
    weight = torch.randn(256, 256)
    for mean, sparse, want in ((-1.5, None, 9), (1.0, None, 0), (-1.5, False, 0), (1.0, True, 9)):
        current = mean + torch.randn(10, 32, 256)
        calls.clear()
        with forced(sparse=sparse), torch.no_grad():
            recurrent_lif(current, weight / 256, threshold=0.5, leak=0.0, reset="none")
        assert len(calls) == want, (mean, sparse)
    calls.clear()
    trace = recurrent_lif(-torch.ones(5, 64, 256), weight, threshold=0.5, leak=0.5)
    assert not calls and not trace.spikes.any()  # nothing is sent


def test_small_layers_multiply(monkeypatch):
    calls = spy(monkeypatch, products, "named_sums")
    recurrent_lif(*draw(5), threshold=0.8, leak=0.7)
    assert not calls


@pytest.mark.parametrize("sparse", [True, False])
def test_a_weight_that_is_no_number_is_seen(sparse):
    current, weight = draw(6)
    weight[3, 4] = torch.nan
    with forced(sparse=sparse):
        trace = recurrent_lif(current, weight, threshold=0.8, leak=0.7)
    assert trace.membrane[1, :, 3].isnan().all()


@torch.no_grad()
def test_folding_asks_for_one_jump_and_all_bits():
    like = torch.zeros(2, 6, 40)
    weight = draw(7)[1]
    assert folding.folded(weight, "subtract", 0.5, 0.5, like) is not None
    assert folding.folded(weight, "zero", 0.5, 0.5, like) is None
    assert folding.folded(weight, "zero_with_input", 0.5, 0.5, like) is None
    assert folding.folded(weight, "subtract", torch.ones(6, 1), 0.5, like) is None
    assert folding.folded(weight.double(), "subtract", 0.5, 0.5, like.double()) is None
    jump = torch.linspace(0.5, 1, 40)
    got = folding.folded(weight, "subtract_leak", jump.view(1, 40), 0.5, like)
    assert torch.equal(got, weight - torch.diag(0.5 * jump))
    assert folding.folded(weight, "none", jump, 0.5, like) is weight
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")  # bfloat16 would round the threshold
        assert folding.folded(weight, "subtract", 0.5, 0.5, like) is None
    finally:
        torch.set_float32_matmul_precision(before)


def test_dense_products_are_onednns_where_they_are_large(monkeypatch):
    monkeypatch.setattr(products, "LEAST_OF_ONEDNN", 0)
    calls = spy(monkeypatch, products, "linear")
    current, weight = draw(8)
    results = []
    for dense in ("torch", "onednn"):
        own = weight.clone().requires_grad_()
        calls.clear()
        with forced(dense=dense, sparse=False):
            trace = recurrent_lif(current, own, threshold=0.8, leak=0.7, reset="none")
            trace.membrane.square().sum().backward()
        assert len(calls) == (11 + 11 + 1 if dense == "onednn" else 0)
        results.append((trace.membrane, own.grad))
    torch.testing.assert_close(results[0], results[1], rtol=1e-4, atol=1e-4)


# --- Derivatives --------------------------------------------------------------------------------


@pytest.mark.parametrize("sparse", [True, False])
@pytest.mark.parametrize("fold", [True, False])
@pytest.mark.parametrize(("reset", "detach"), list(itertools.product(RESETS, [True, False])))
def test_gradients_equal_the_loops(monkeypatch, sparse, fold, reset, detach):
    """A detached reset sends nothing through the diagonal that it is folded into."""
    monkeypatch.setattr(folding, "FOLD", fold)
    for kind, own in (("float", False), ("neuron", True), ("sample", False)):
        values = [*draw(9), *constants(kind).values()]
        results = []
        for neuron in (recurrent_lif, plain):
            inputs = [
                value.clone().requires_grad_() if isinstance(value, torch.Tensor) else value
                for value in values
            ]
            current, weight, threshold, leak = inputs
            keywords = dict(reset=reset, detach_reset=detach, self_connections=own)
            with forced(sparse=sparse):
                trace = neuron(current, weight, threshold=threshold, leak=leak, **keywords)
                loss = (trace.membrane.sin() * draw(10)[0]).sum() + trace.spikes.cumsum(0).mean()
                loss.backward()
            results.append((trace.spikes, *[v.grad for v in inputs if torch.is_tensor(v)]))
        assert torch.equal(results[0][0], results[1][0])
        for got, want in zip(results[0][1:], results[1][1:], strict=True):
            assert (got - want).abs().max() <= 2e-5 * want.abs().max()


@pytest.mark.parametrize("wide", [True, False])
@pytest.mark.parametrize("sparse", [True, False])
def test_adaptive_neurons_take_the_same_levers(sparse, wide):
    """In float64, where no lever is, and in float32, where they are."""
    current, weight = draw(11)
    keywords = dict(threshold=0.6, leak=0.7, adaptation=1.5, adaptation_leak=0.8)
    results = []
    for dtype in (torch.float32, torch.float64):
        inputs = [value.to(dtype, copy=True).requires_grad_() for value in (current, weight)]
        with forced(sparse=sparse):
            trace = adaptive_lif(*inputs, **keywords)
            (trace.spikes.cumsum(0).mean() + wide * trace.adaptation.sum()).backward()
        results.append([trace.membrane, trace.spikes, *[value.grad for value in inputs]])
    for got, want in zip(*results, strict=True):
        assert (got - want).abs().max() <= 2e-5 * want.abs().max()
    assert torch.equal(results[0][1].double(), results[1][1])


@pytest.mark.parametrize(("reset", "detach"), [("subtract", False), ("subtract", True)])
def test_second_derivatives_and_transforms_in_float32(reset, detach):
    current, weight = draw(12, steps=4, batch=2, width=6)
    direction = weight.cos()
    keywords = dict(threshold=0.8, leak=0.7, reset=reset, detach_reset=detach)
    results = []
    for neuron in (recurrent_lif, plain):

        def loss(own, neuron=neuron):
            return neuron(current, own, **keywords).membrane.sin().sum()

        own = weight.clone().requires_grad_()
        with forced(sparse=True):
            (first,) = torch.autograd.grad(loss(own), own, create_graph=True)
            (second,) = torch.autograd.grad((first * direction).sum(), own)
            forward = jvp(loss, (weight,), (direction,))
            results.append((first, second, grad(loss)(weight), *forward))
    for got, want in zip(*results, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [1, 200, 700, 10**6])
def test_sums_over_all_steps_are_the_product(monkeypatch, size):
    """In blocks, the last of which is shorter."""
    monkeypatch.setattr("snnlib.neurons._recursion.BLOCK", size)
    g = torch.Generator().manual_seed(13)
    sent = torch.randn(11, 6, 30, generator=g)
    spikes = (torch.rand(11, 6, 30, generator=g) < 0.2).float()
    with forced(sparse=True), torch.no_grad():
        got = products.over_steps(sent, spikes)
    exact = sent.double().flatten(0, 1).t() @ spikes.double().flatten(0, 1)
    bound = 4 * EPS * (sent.double().abs().flatten(0, 1).t() @ spikes.double().flatten(0, 1))
    assert ((got - exact).abs() <= bound).all()


def test_modules_under_torch_compile():
    """No values are seen while torch compiles: it multiplies."""
    layers = [RecurrentLIF(40), AdaptiveLIF(40)]
    current = draw(14)[0]
    for layer in layers:
        with forced(sparse=True):
            want = layer(current)
            got = torch.compile(layer, backend="eager")(current)
        assert torch.equal(got, want)
        assert want.any()
