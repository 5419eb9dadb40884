"""NIR graphs of other forms than a row of neurons: loops, branches, pools; and published graphs."""

from __future__ import annotations

import importlib.util
import sys
from collections import OrderedDict
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from snnlib import networks
from snnlib.interop.nir import SIMULATORS, Branched, Drive, SumPool2d, from_nir, to_nir
from snnlib.neurons import (
    LIF,
    CurrentLIF,
    LeakyIntegrator,
    RecurrentCurrentLIF,
    RecurrentLIF,
    current_lif,
)

nir = pytest.importorskip("nir")

SHARED = Path(__file__).resolve().parent.parent.parent / "shared"
DT = 1e-4


def draws(seed=0):
    return np.random.default_rng(seed)


def batch(*shape, rate=0.3, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(*shape, generator=generator) < rate).to(dtype)


def affine(g, rows, columns, std, bias=True):
    weight = (std * g.standard_normal((rows, columns))).astype(np.float32)
    if not bias:
        return nir.Linear(weight)
    return nir.Affine(weight, (0.1 * g.standard_normal(rows)).astype(np.float32))


def cuba(n, synapse_leak, leak, **values):
    """A node whose step by Euler's rule has these leaks and input gain 1."""
    syn, mem = DT / (1 - synapse_leak), DT / (1 - leak)
    full = {"v_leak": 0.0, "v_threshold": 0.8, "v_reset": 0.0, "w_in": syn / DT, "r": mem / DT}
    full |= {"tau_syn": syn, "tau_mem": mem} | values
    return nir.CubaLIF(**{key: np.full(n, x) for key, x in full.items()})


def lif(n, leak, **values):
    tau = DT / (1 - leak)
    full = {"tau": tau, "r": tau / DT, "v_leak": 0.0, "v_threshold": 0.8, "v_reset": 0.0} | values
    return nir.LIF(**{key: np.full(n, x) for key, x in full.items()})


def ends(inside, outside):
    return {"input": nir.Input(np.array(inside)), "output": nir.Output(np.array(outside))}


def chain(*names):
    return list(pairwise(names))


def rate_of(spikes):
    assert 0.02 < float(spikes.mean()) < 0.7
    return spikes


# --- Recurrent graphs -----------------------------------------------------------------------------


def loop(neurons, back, nested=False, broken=False):
    """12 inputs, 20 neurons with a way back, 7 neurons; flat, nested, or with a wrong name."""
    g = draws()
    nodes = ends([12], [7]) | {
        "fc1": affine(g, 20, 12, 0.7),
        "fc2": affine(g, 7, 20, 0.6),
        "lif2": cuba(7, 0.5, 0.55),
    }
    inner = chain("input", "lif", "w_rec", "lif", "output")
    if nested:
        inside = ends([20], [20]) | {"lif1" if broken else "lif": neurons, "w_rec": back}
        nodes["lif1"] = nir.NIRGraph(inside, inner, type_check=False)
        return nir.NIRGraph(nodes, chain("input", "fc1", "lif1", "fc2", "lif2", "output"),
                            type_check=not broken)  # fmt: skip
    nodes |= {"lif1.lif": neurons, "lif1.w_rec": back}
    edges = chain("input", "fc1", "lif1.lif", "fc2", "lif2", "output")
    return nir.NIRGraph(nodes, edges + chain("lif1.lif", "lif1.w_rec", "lif1.lif"))


def simulated(graph, x, lag=False, subtract=False):
    """In plain steps: i = a i + S, v = b v + i (or the old i), and the reset in the step."""
    n, state = graph.nodes, {}
    fired = torch.zeros(x.shape[1], 20, dtype=torch.float64)
    out = []

    def linear(node, x):
        if isinstance(node, nir.Scale):
            return x * torch.from_numpy(node.scale)
        bias = torch.from_numpy(node.bias) if isinstance(node, nir.Affine) else 0.0
        return x @ torch.from_numpy(node.weight).double().T + bias

    def step(name, current):
        node = n[name]
        i, v = state.get(name, (torch.zeros_like(current), torch.zeros_like(current)))
        old = i
        if isinstance(node, nir.CubaLIF):
            i = (1 - DT / torch.from_numpy(node.tau_syn)) * i + current
            v = (1 - DT / torch.from_numpy(node.tau_mem)) * v + (old if lag else i)
        else:
            v = (1 - DT / torch.from_numpy(node.tau)) * v + current
        spikes = (v > torch.from_numpy(node.v_threshold)).double()
        state[name] = (i, v - spikes * 0.8 if subtract else v * (1 - spikes))
        return spikes

    for now in x:
        fired = step("lif1.lif", linear(n["fc1"], now) + linear(n["lif1.w_rec"], fired))
        out.append(step("lif2", linear(n["fc2"], fired)))
    return torch.stack(out)


def back_of(kind, g):
    if kind == "Scale":
        return nir.Scale(0.4 * g.standard_normal(20))
    return affine(g, 20, 20, 0.25, bias=kind == "Affine")


@pytest.mark.parametrize("back", ["Affine", "Linear", "Scale"])
@pytest.mark.parametrize("neurons", ["CubaLIF", "LIF"])
def test_recurrent_graphs_flat_and_nested(neurons, back, tmp_path):
    g = draws(1)
    node, back = (cuba(20, 0.55, 0.9) if neurons == "CubaLIF" else lif(20, 0.9)), back_of(back, g)
    x = batch(30, 4, 12)
    flat = loop(node, back)
    want = rate_of(simulated(flat, x))
    kind = RecurrentCurrentLIF if neurons == "CubaLIF" else RecurrentLIF
    for graph in (flat, loop(node, back, nested=True)):
        network = from_nir(graph, dt=DT, step="euler")
        names = [name for name, _ in network.named_children()]
        assert type(network[1]) is kind
        assert names[0] == "fc1" and names[2:] == ["fc2", "lif2"]
        assert torch.equal(network(x), want)  # weights are float32: computed in double all the same
        assert torch.equal(network.double()(x), want)
        for subgraphs in (False, True):
            written = to_nir(network, tmp_path / "loop.nir", dt=DT, step="euler",
                             subgraphs=subgraphs)  # fmt: skip
            assert any(isinstance(n, nir.NIRGraph) for n in written.nodes.values()) == subgraphs
            nir.read(tmp_path / "loop.nir", type_check=not subgraphs)
            for again in (written, tmp_path / "loop.nir"):
                assert torch.equal(from_nir(again)(x), want)


@pytest.mark.parametrize(("simulator", "settings"), [
    ("snntorch", {}), ("spikingjelly", {}), ("norse", {}),
    ("reference", {"lag": True, "subtract": True}),
])  # fmt: skip
def test_what_nir_leaves_open_has_the_names_of_simulators(simulator, settings):
    graph = loop(cuba(20, 0.55, 0.9), back_of("Affine", draws(1)))
    x = batch(40, 4, 12)
    want = rate_of(simulated(graph, x, **settings))
    network = from_nir(graph, dt=DT, simulator=simulator)
    assert torch.equal(network(x), want)
    assert torch.equal(from_nir(graph, dt=DT, step="euler")(x), want) == (not settings)
    # What is named beside the simulator stands above it; the round trip keeps what NIR cannot say.
    other = from_nir(graph, dt=DT, simulator=simulator, reset="zero", delay=0.0)
    assert torch.equal(other(x), simulated(graph, x))
    if settings:
        with pytest.raises(ValueError, match="must have reset=\"zero\", got 'subtract_leak'"):
            to_nir(network, dt=DT, step="euler")
    kept = to_nir(network, dt=DT, step="euler", metadata=True)
    assert torch.equal(from_nir(kept)(x), want)
    assert torch.equal(from_nir(kept, reset="zero", delay=0.0)(x), simulated(graph, x))


def test_a_misnamed_node_of_a_file_is_found(tmp_path):
    """As in the published sub-graphs: edges to "lif", the node is called "lif1"."""
    settings = cuba(20, 0.55, 0.9), back_of("Affine", draws(1))
    nir.write(tmp_path / "broken.nir", loop(*settings, nested=True, broken=True))
    with pytest.raises(ValueError, match="'lif'"):
        nir.read(tmp_path / "broken.nir")
    with pytest.warns(
        UserWarning, match="sub-graph 'lif1' has edges to 'lif', .* taken for the same"
    ):
        network = from_nir(tmp_path / "broken.nir", dt=DT, step="euler")
    x = batch(30, 4, 12)
    assert torch.equal(network(x), simulated(loop(*settings), x))


def test_a_neuron_that_feeds_itself():
    nodes = ends([3], [3]) | {"lif": lif(3, 0.5)}
    graph = nir.NIRGraph(nodes, [*chain("input", "lif", "output"), ("lif", "lif")])
    network = from_nir(graph, dt=DT, step="euler")
    x = batch(20, 5, 3, rate=0.5)
    assert torch.equal(network[0].weight.double(), torch.eye(3).double())
    u, fired, out = torch.zeros(5, 3), torch.zeros(5, 3), []
    for now in x.float():
        u = 0.5 * u * (1 - fired) + now + fired
        fired = (u > 0.8).float()
        out.append(fired)
    assert torch.equal(network(x), torch.stack(out).double())


def test_a_way_back_of_another_width_is_refused():
    nodes = ends([3], [3]) | {"a": lif(3, 0.5), "w": nir.Linear(np.eye(2))}
    edges = [*chain("input", "a", "w", "a"), ("a", "output")]
    with pytest.raises(ValueError, match=r"as its recurrent weight, got 3 and \[2, 2\]"):
        from_nir(nir.NIRGraph(nodes, edges, type_check=False), dt=DT)


def test_a_recurrent_layer_learns_like_the_plain_loop():
    """Gradients of weights, recurrent weights and input against autograd over single steps."""
    torch.manual_seed(0)
    layer = RecurrentCurrentLIF(
        6, leak=0.8, synapse_leak=0.4, input_gain=0.7, delay=0.3, threshold=0.6, bias=True,
        reset="subtract_leak", detach_reset=False, generator=torch.Generator().manual_seed(1),
    ).double()  # fmt: skip
    nn.init.normal_(layer.bias, std=0.1)
    x = torch.randn(15, 3, 6, dtype=torch.float64, requires_grad=True)
    cotangent = torch.randn(15, 3, 6, dtype=torch.float64)
    spikes = layer(x)
    got = torch.autograd.grad((spikes * cotangent).sum(), [x, layer.weight, layer.bias])

    weight = layer.weight * (1 - torch.eye(6))
    u = s = fired = torch.zeros(3, 6, dtype=torch.float64)
    out = []
    for now in x:
        before = s
        s = 0.4 * s + now + layer.bias + fired @ weight.T
        u = 0.8 * (u - 0.6 * fired) + 0.7 * (0.7 * s + 0.3 * before)
        slope = layer.surrogate.derivative((u - 0.6).detach())
        fired = (u > 0.6).double() + slope * (u - u.detach())
        out.append(fired)
    want = torch.stack(out)
    assert torch.equal(rate_of(spikes), want.detach())
    wanted = torch.autograd.grad((want * cotangent).sum(), [x, layer.weight, layer.bias])
    for one, two in zip(got, wanted, strict=True):
        assert float(two.abs().max()) > 1e-3
        torch.testing.assert_close(one, two, rtol=1e-10, atol=1e-12)


def test_without_synapse_it_is_the_recurrent_lif():
    settings = {"leak": 0.7, "threshold": 0.9, "reset": "zero"}
    one = RecurrentCurrentLIF(9, synapse_leak=0.0, **settings)
    two = RecurrentLIF(9, **settings)
    two.load_state_dict({"weight": one.weight}, strict=False)
    x = torch.randn(25, 4, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert torch.equal(rate_of(one.double()(x)), two.double()(x))


# --- Pools, branches, membranes -------------------------------------------------------------------


@pytest.mark.parametrize("pool", ["SumPool2d", "AvgPool2d"])
def test_convolutions_and_pools(pool, tmp_path):
    g = draws()
    weight = lambda *s: (0.6 * g.standard_normal(s)).astype(np.float32)  # noqa: E731
    fire = lambda *s: nir.IF(np.ones(s), np.full(s, 0.9))  # noqa: E731
    bias = (0.1 * g.standard_normal(4)).astype(np.float32)
    sizes = [np.array(pair) for pair in ([2, 3], [2, 3], [0, 0])]
    nodes = {
        "input": nir.Input(np.array([2, 9, 13])),
        "conv": nir.Conv2d((9, 13), weight(4, 2, 3, 3), (1, 1), (1, 1), (1, 1), 1, bias),
        "fire": fire(4, 9, 13),
        "pool": getattr(nir, pool)(*sizes),
        "flat": nir.Flatten({"input": np.array([4, 4, 4])}, 0, -1),
        "last": nir.Affine(weight(5, 64), np.zeros(5, dtype=np.float32)),
        "out": fire(5),
        "output": nir.Output(np.array([5])),
    }
    # The package derives wrong shapes of oblong pools: without its check.
    graph = nir.NIRGraph(nodes, chain(*nodes), type_check=False)
    network = from_nir(graph, dt=1.0)
    x = batch(12, 3, 2, 9, 13, dtype=torch.float32)
    u, v, out = 0, 0, []
    for now in x:
        w, b = (torch.from_numpy(getattr(nodes["conv"], key)) for key in ("weight", "bias"))
        u = u + functional.conv2d(now, w, b, padding=1)
        spikes = (u > 0.9).float()
        u = u * (1 - spikes)
        sums = functional.avg_pool2d(spikes, (2, 3)) * (6 if pool == "SumPool2d" else 1)
        v = v + sums.flatten(1) @ torch.from_numpy(nodes["last"].weight).T
        fired = (v > 0.9).float()
        v = v * (1 - fired)
        out.append(fired)
    want = rate_of(torch.stack(out))
    assert torch.equal(network(x), want)
    assert isinstance(network.pool, SumPool2d) == (pool == "SumPool2d")
    again = to_nir(network, tmp_path / "pool.nir", dt=1.0)
    kinds = [[type(node).__name__ for node in one.nodes.values()] for one in (graph, again)]
    assert kinds[0] == kinds[1]
    assert torch.equal(from_nir(tmp_path / "pool.nir")(x), want)


def test_pools_of_torch_in_a_row_of_layers():
    pool = nn.AvgPool2d(2, padding=1, count_include_pad=False)
    x = torch.rand(3, 4, 2, 6, 6)
    network = networks.FeedForward(OrderedDict(pool=pool))
    assert torch.equal(network(x)[2], pool(x[2]))
    for layer, message in (
        (pool, "count_include_pad=True"),
        (nn.AvgPool2d(2, ceil_mode=True), "ceil_mode=False"),
        (nn.AvgPool2d(2, divisor_override=3), "divisor_override None"),
    ):
        with pytest.raises(ValueError, match=message):
            to_nir(layer, shape=(2, 6, 6))


def test_branches_are_sums(tmp_path):
    """A skip connection over a layer of neurons, and an output of two nodes."""
    g = draws()
    nodes = ends([8], [8]) | {
        "fc": affine(g, 8, 8, 0.9), "scale": nir.Scale(g.uniform(0.5, 1.5, 8)),
        "lif": lif(8, 0.7), "skip": lif(8, 0.5),
    }  # fmt: skip
    edges = [*chain("input", "fc", "lif", "output"), *chain("input", "scale", "skip", "output"),
             ("lif", "skip")]  # fmt: skip
    graph = nir.NIRGraph(nodes, edges)
    network = from_nir(graph, dt=DT, step="euler")
    assert isinstance(network, Branched)
    x = batch(20, 5, 8)
    fc = x @ torch.from_numpy(nodes["fc"].weight).double().T + torch.from_numpy(nodes["fc"].bias)
    one = LIF(leak=0.7, threshold=0.8, reset="zero")(fc)
    two = LIF(leak=0.5, threshold=0.8, reset="zero")(
        x * torch.from_numpy(nodes["scale"].scale) + one
    )
    want = one + two
    assert 0 < want.mean() < 2 and torch.equal(network(x), want)
    again = to_nir(network, tmp_path / "branches.nir", dt=DT, step="euler")
    assert {(a, b) for a, b in again.edges} == set(graph.edges)
    assert torch.equal(from_nir(tmp_path / "branches.nir")(x), want)


@pytest.mark.parametrize("step", ["exponential", "exact", "euler", "impulse"])
def test_membranes_that_are_read(step, tmp_path):
    """LI, CubaLI, I and Threshold: the potentials of the neuron that never fires."""
    x = torch.randn(30, 4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    one = np.ones(5)
    nodes = {
        "LI": nir.LI(tau=0.02 * one, r=3 * one, v_leak=-0.3 * one),
        "CubaLI": nir.CubaLI(0.004 * one, 0.02 * one, 3 * one, 0.2 * one, 0.7 * one),
        "I": nir.I(r=4 * one),
    }
    for name, node in nodes.items():
        network = from_nir(nir.NIRGraph.from_list(node), dt=2e-3, step=step)
        layer = network[0]
        assert type(layer) is LeakyIntegrator
        trace = current_lif(
            x, leak=layer.leak, synapse_leak=layer.synapse_leak, threshold=1e9, reset="none",
            input_gain=layer.input_gain, delay=layer.delay,
        )  # fmt: skip
        rest = 0.0 if name == "I" else node.v_leak[0]
        torch.testing.assert_close(network(x), trace.membrane + rest, rtol=0, atol=1e-12)
        again = to_nir(network, tmp_path / "li.nir", dt=2e-3, step=step)
        assert type(again.nodes[next(iter(again.nodes.keys() - {"input", "output"}))]) is type(node)
        torch.testing.assert_close(from_nir(tmp_path / "li.nir")(x), network(x), rtol=0, atol=1e-12)
    node = nir.Threshold(np.linspace(0.2, 0.6, 5))
    network = from_nir(nir.NIRGraph.from_list(node), dt=1.0)
    assert torch.equal(rate_of(network(x)), (x > torch.from_numpy(node.threshold)).double())
    assert type(to_nir(network).nodes["threshold"]) is nir.Threshold


def test_a_leaky_integrator_has_the_gradient_of_its_sum():
    layer = LeakyIntegrator(
        leak=0.9, synapse_leak=0.5, input_gain=torch.tensor([1.0, 2.0]), delay=0.4
    )
    x = torch.randn(6, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, x)
    with pytest.raises(ValueError, match="leak must be in"):
        LeakyIntegrator(leak=1.2)
    with pytest.raises(ValueError, match="rest must be finite"):
        LeakyIntegrator(rest=float("nan"))


# --- Potentials other than 0 ----------------------------------------------------------------------


@pytest.mark.parametrize("step", ["exponential", "exact", "euler", "impulse"])
@pytest.mark.parametrize("start", ["reset", "leak"])
@pytest.mark.parametrize("kind", ["LIF", "CubaLIF"])
def test_v_leak_and_v_reset_are_shifted(kind, start, step, tmp_path):
    """In the graph's own units: v pulled to v_leak, set to v_reset, both away from 0."""
    n, volts = 6, {"v_leak": -55.0, "v_reset": -70.0, "v_threshold": -50.0}
    tau, syn, dt, r, w = 0.02, 0.005, 0.002, 9.0, 1.3
    if kind == "LIF":
        full = {"tau": tau, "r": r} | volts
    else:
        full = {"tau_mem": tau, "tau_syn": syn, "r": r, "w_in": w} | volts
    node = getattr(nir, kind)(**{key: np.full(n, x) for key, x in full.items()})
    network = from_nir(nir.NIRGraph.from_list(node), dt=dt, step=step, start=start)
    assert isinstance(network[0], Drive)
    x = 3 * batch(60, 8, n)

    keep, keep_syn = (1 - dt / t if step == "euler" else np.exp(-dt / t) for t in (tau, syn))
    enter, enter_syn = ((dt / t if step in ("euler", "impulse") else 1 - k)
                        for t, k in ((tau, keep), (syn, keep_syn)))  # fmt: skip
    delay = network[-1].delay if kind == "CubaLIF" else 0.0
    assert (delay > 0) == (kind == "CubaLIF" and step == "exact")
    v = torch.full((8, n), volts["v_reset" if start == "reset" else "v_leak"], dtype=torch.float64)
    i, out, seen = torch.zeros(8, n, dtype=torch.float64), [], []
    for now in x:
        old = i
        i = keep_syn * i + w * enter_syn * now if kind == "CubaLIF" else now
        mean = (1 - delay) * i + delay * old
        v = volts["v_leak"] + keep * (v - volts["v_leak"]) + r * enter * mean
        fired = (v > volts["v_threshold"]).double()
        seen.append(v)
        v = torch.where(fired > 0, volts["v_reset"], v)
        out.append(fired)
    want = rate_of(torch.stack(out))
    trace = network[-1].trace(network[0](x))
    assert torch.equal(trace.spikes, want)
    assert type(network[-1]) is CurrentLIF  # in the graph's unit: its gain is not 1
    torch.testing.assert_close(
        trace.membrane + volts["v_reset"], torch.stack(seen), rtol=0, atol=1e-9
    )
    if start == "leak":
        with pytest.raises(ValueError, match="starts at the potential that it leaks to"):
            to_nir(network, dt=dt, step=step)
    written = to_nir(network, tmp_path / "shift.nir", dt=dt, step=step, metadata=start == "leak")
    again = next(node for name, node in written.nodes.items() if name not in ("input", "output"))
    np.testing.assert_allclose(again.v_leak, 15.0)
    assert (again.v_reset == 0).all() and np.allclose(again.v_threshold, 20.0)
    assert torch.equal(from_nir(tmp_path / "shift.nir")(x), want)


def test_a_drive_belongs_to_neurons():
    drive = from_nir(nir.NIRGraph.from_list(lif(3, 0.5, v_leak=0.3)), dt=DT, step="euler")[0]
    with pytest.raises(ValueError, match="must be neurons, got a Linear behind a Drive"):
        to_nir(nn.Sequential(drive, nn.Linear(3, 2)))
    with pytest.raises(ValueError, match="must not end in a Drive"):
        to_nir(nn.Sequential(nn.Linear(3, 3), drive))


@pytest.mark.parametrize(("settings", "message"), [
    ({"simulator": "brian"}, "simulator must be one of 'nir', 'snntorch'"),
    ({"reset": "zero_with_input"}, "reset must be one of 'subtract'"),
    ({"delay": 1.5}, r"delay must be a number in \[0, 1\], got 1.5"),
    ({"start": "rest"}, "start must be one of 'reset', 'leak', got 'rest'"),
])  # fmt: skip
def test_unknown_conventions(settings, message):
    with pytest.raises(ValueError, match=message):
        from_nir(nir.NIRGraph.from_list(lif(3, 0.5)), dt=DT, **settings)


# --- Shapes ---------------------------------------------------------------------------------------


def test_the_shape_of_the_input_is_inferred_or_asked_for():
    flat = nn.Sequential(nn.Flatten(2), nn.Linear(6, 3))
    assert tuple(to_nir(flat).nodes["0"].input_type["input"]) == (6,)
    one = nn.Sequential(nn.Conv1d(2, 3, 3), LIF(reset="zero"), nn.Flatten(2), nn.Linear(24, 5))
    assert tuple(to_nir(one).nodes["2"].input_type["input"]) == (3, 8)
    values = torch.linspace(0.5, 1.0, 4 * 5 * 6).reshape(4, 5, 6)
    many = nn.Sequential(LIF(threshold=values, reset="zero"), nn.Flatten(2), nn.Linear(120, 5))
    assert tuple(to_nir(many).nodes["1"].input_type["input"]) == (4, 5, 6)
    two = nn.Sequential(nn.Conv2d(2, 3, 3, stride=2), nn.Flatten(2), nn.Linear(27, 5))
    with pytest.raises(ValueError, match=r"squares that fit: \(2, 7, 7\), \(2, 8, 8\)\)"):
        to_nir(two)
    assert to_nir(two, shape=(2, 7, 8)) is not None
    strided = nn.Sequential(nn.Conv1d(2, 3, 3, stride=2), nn.Flatten(2), nn.Linear(9, 5))
    with pytest.raises(ValueError, match=r"lengths that fit: \(2, 7\), \(2, 8\)\)"):
        to_nir(strided)


# --- Published graphs -----------------------------------------------------------------------------

published = pytest.mark.skipif(not (SHARED / "nir").is_dir(), reason="no published graphs here")


@published
@pytest.mark.filterwarnings("ignore:sub-graph 'lif1' has edges to 'lif':UserWarning")
def test_the_published_graphs_import_and_return(tmp_path):
    files = sorted((SHARED / "nir").glob("*.nir"))
    assert len(files) == 8
    for path in files:
        cnn = path.name.startswith("cnn")
        network = from_nir(path, dt=1.0 if cnn else DT, step="euler")
        x = batch(40, 3, *network.input_shape, dtype=torch.float32)
        want = network(x)
        graph = to_nir(network, tmp_path / "again.nir", dt=1.0 if cnn else DT, step="euler")
        for again in (graph, tmp_path / "again.nir"):
            assert torch.equal(from_nir(again)(x), want)
        if cnn:
            kinds = [type(node).__name__ for node in graph.nodes.values()]
            assert kinds.count("SumPool2d") == 2 and kinds.count("IF") == 5
        if "braille" in path.name:
            assert type(network.lif1) is RecurrentCurrentLIF and 0.01 < want.mean() < 0.6
    forms = [from_nir(SHARED / "nir" / f"braille_noDelay_bias_zero{end}.nir", dt=DT, step="euler")
             for end in ("", "_subgraph")]  # fmt: skip
    x = batch(60, 4, 12)
    assert torch.equal(forms[0](x), forms[1](x))


@published
def test_a_neuron_that_fires_without_input():
    """Its v_leak of 1.2 lies above the threshold 1: it fires each τ ln 6 seconds, from v = 0."""
    network = from_nir(SHARED / "nir" / "two_lif_neurons.nir", dt=DT)
    spikes = network.lif1(
        network.lif1_drive(torch.zeros(2000, 1, 1, dtype=torch.float64))
    ).flatten()
    period = 0.01 * np.log(1.2 / (1.2 - 1.0)) / DT
    times = spikes.nonzero().flatten() + 1
    assert times.tolist() == [int(np.ceil(period)) * k for k in range(1, len(times) + 1)]
    at_leak = from_nir(SHARED / "nir" / "two_lif_neurons.nir", dt=DT, start="leak")
    first = at_leak.lif1(at_leak.lif1_drive(torch.zeros(2, 1, 1, dtype=torch.float64)))
    assert first.flatten().tolist() == [1.0, 0.0]


@published
@pytest.mark.parametrize(("column", "simulator", "unit", "tolerance"), [
    ("norse", "norse", 1.0, 1e-7),
    ("rockpool", "rockpool", 1.0, 1e-7),
    # snnTorch divides the threshold by the input gain dt/τ = 1/25 instead of the input.
    ("snntorch", "snntorch", 25.0, 5e-6),
])  # fmt: skip
def test_the_single_neuron_of_three_simulators(column, simulator, unit, tolerance):
    """Columns: input, potential after the reset, spikes, at dt = 1e-4."""
    table = torch.from_numpy(np.loadtxt(SHARED / "nir" / f"lif_{column}.csv", delimiter=","))
    current, potential, spikes = table.T
    network = from_nir(SHARED / "nir" / "lif_norse.nir", dt=DT, simulator=simulator)
    weights, neuron = network.double()
    trace = neuron.trace(weights(current.view(-1, 1, 1)))
    u, x = trace.membrane.flatten(), trace.spikes.flatten()
    assert torch.equal(x, spikes) and int(spikes.sum()) == 4
    after = u * (1 - x) if neuron.reset == "zero" else u - neuron.threshold * x
    torch.testing.assert_close(after * unit, potential, rtol=0, atol=tolerance)
    # The others do not fit: the columns tell the conventions apart.
    for other in set(SIMULATORS) - {simulator, "reference"}:
        same = SIMULATORS[other][:2] == SIMULATORS[simulator][:2]
        wrong = from_nir(SHARED / "nir" / "lif_norse.nir", dt=DT, simulator=other).double()
        w = wrong[1].trace(wrong[0](current.view(-1, 1, 1))).membrane.flatten()
        assert same == bool((w - u).abs().max() < 1e-6)


@published
def test_the_single_neuron_of_the_exact_solution():
    """Equal until the first spike; then it subtracts within the step, and we at its end."""
    table = torch.from_numpy(np.loadtxt(SHARED / "nir" / "lif_exact.csv", delimiter=","))
    current, potential, spikes = table.T
    for step in ("exponential", "exact"):
        network = from_nir(
            SHARED / "nir" / "lif_norse.nir", dt=DT, step=step, reset="subtract_leak"
        )
        weights, neuron = network.double()
        trace = neuron.trace(weights(current.view(-1, 1, 1)))
        u, x = trace.membrane.flatten(), trace.spikes.flatten()
        assert torch.equal(x, spikes)
        after, first = u - neuron.threshold * x, int(spikes.argmax())
        torch.testing.assert_close(after[:first], potential[:first], rtol=0, atol=1e-9)
        apart = (after - potential).abs()
        # What was taken off too late decayed less, by at most θ (1 - exp(-dt/τ)).
        assert 1e-4 < float(apart.max()) < neuron.threshold * (1 - neuron.leak)


@published
def test_rockpools_own_file_has_one_decay_too_many():
    """Its r holds exp(-dt/τ) more than what it simulates: without that its column is met."""
    table = torch.from_numpy(np.loadtxt(SHARED / "nir" / "lif_rockpool.csv", delimiter=","))
    current, potential, spikes = table.T
    graph = nir.read(SHARED / "nir" / "lif_rockpool.nir", type_check=False)
    node = graph.nodes["1_LIFNeuronTorch"]
    plain = from_nir(graph, dt=DT, simulator="rockpool").double()
    assert not torch.equal(plain(current.view(-1, 1, 1)).flatten(), spikes)
    node.r = node.r / np.exp(-DT / node.tau)
    weights, neuron = from_nir(graph, dt=DT, simulator="rockpool").double()
    trace = neuron.trace(weights(current.view(-1, 1, 1)))
    assert torch.equal(trace.spikes.flatten(), spikes)
    after = (trace.membrane - neuron.threshold * trace.spikes).flatten()
    torch.testing.assert_close(after, potential, rtol=0, atol=1e-6)


def case(name):
    (path,) = (SHARED / "cases").glob(f"{name}-*.py")
    spec = importlib.util.spec_from_file_location(f"case_{name}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


given = pytest.mark.skipif(not (SHARED / "cases").is_dir(), reason="no cases here")


@given
@pytest.mark.parametrize("pool", ["SumPool2d", "AvgPool2d"])
def test_case_of_pools(pool, tmp_path):
    module = case("18")
    graph, x = module.build(pool)
    network = from_nir(graph, dt=1.0)
    want = rate_of(module.reference(graph, x))
    assert torch.equal(network(x), want)
    again = to_nir(network, tmp_path / "case.nir", dt=1.0)
    assert [type(a) for a in again.nodes.values()] == [type(b) for b in graph.nodes.values()]
    nir.read(tmp_path / "case.nir")
    assert torch.equal(from_nir(tmp_path / "case.nir")(x), want)


@given
@pytest.mark.parametrize("nested", [False, True])
def test_case_of_a_loop(nested):
    module = case("19")
    graph, x = module.build(nested)
    network = from_nir(graph, dt=DT, step="euler")
    want = rate_of(module.reference(module.build()[0], x))
    assert torch.equal(network(x), want)
    assert torch.equal(from_nir(to_nir(network, dt=DT, step="euler"))(x), want)
    assert network.lif1.input_gain == 1.0 and network.lif1.synapse_leak == pytest.approx(0.55)
