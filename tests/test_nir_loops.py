"""NIR graphs whose loops hold several populations, against steps written out by hand."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from snnlib import init, probe
from snnlib.interop.nir import Branched, from_nir, to_nir
from snnlib.interop.nir.order import ordered
from snnlib.neurons import LIF, LeakyIntegrator, RecurrentLIF

nir = pytest.importorskip("nir")

DT = 1e-3


def affine(g, rows, columns, std):
    weight = (std * g.standard_normal((rows, columns))).astype(np.float32)
    return nir.Affine(weight, (0.1 * g.standard_normal(rows)).astype(np.float32))


def lif(n, leak, threshold=0.7, v_leak=0.0):
    tau = DT / (1 - leak)
    values = {"tau": tau, "r": tau / DT, "v_leak": v_leak, "v_threshold": threshold, "v_reset": 0.0}
    return nir.LIF(**{key: np.full(n, value) for key, value in values.items()})


def cuba(n, synapse_leak, leak, threshold=0.9):
    syn, mem = DT / (1 - synapse_leak), DT / (1 - leak)
    values = {"tau_syn": syn, "tau_mem": mem, "w_in": syn / DT, "r": mem / DT, "v_leak": 0.0}
    values |= {"v_threshold": threshold, "v_reset": 0.0}
    return nir.CubaLIF(**{key: np.full(n, value) for key, value in values.items()})


def ends(inside, outside):
    return {"input": nir.Input(np.array(inside)), "output": nir.Output(np.array(outside))}


def chain(*names):
    return list(pairwise(names))


def spikes_in(*shape, rate=0.4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(*shape, generator=generator) < rate).double()


class Steps:
    """A graph step by step in double precision: `forward` leads to the same step, `back` later."""

    def __init__(self, graph, order, forward, back, surrogate=None):
        self.nodes, self.order, self.forward, self.back = graph.nodes, order, forward, back
        self.state, self.surrogate = {}, surrogate
        self.weights = {
            name: [torch.from_numpy(part).double().requires_grad_()
                   for part in (node.weight, node.bias)]
            for name, node in graph.nodes.items() if isinstance(node, nir.Affine)
        }  # fmt: skip

    def run(self, x, last):
        sent, out = {}, []
        for now in x:
            before, sent = sent, {"input": now}
            for name in self.order:
                given = [sent[s] for s, t in self.forward if t == name]
                given += [before[s] for s, t in self.back if t == name and before]
                sent[name] = self.node(name, sum(given[1:], given[0]))
            out.append(sent[last])
        return torch.stack(out)

    def node(self, name, x):
        node = self.nodes[name]
        if isinstance(node, nir.Affine):
            return x @ self.weights[name][0].T + self.weights[name][1]
        if isinstance(node, nir.Conv2d):
            return functional.conv2d(x, torch.from_numpy(node.weight).double(), padding=1)
        old, v = self.state.get(name, (torch.zeros_like(x),) * 2)
        leak = 1 - DT / torch.from_numpy(node.tau if hasattr(node, "tau") else node.tau_mem)
        if isinstance(node, nir.CubaLIF):
            x = (1 - DT / torch.from_numpy(node.tau_syn)) * old + x
        rest = torch.from_numpy(node.v_leak)
        v = rest + leak * (v - rest) + x
        if isinstance(node, nir.LI):
            self.state[name] = x, v
            return v
        over = v - torch.from_numpy(node.v_threshold)
        fired = (over > 0).double()
        if self.surrogate is not None:
            slope = self.surrogate.derivative(over.detach())
            fired = fired + slope * (over - over.detach())
        self.state[name] = x, v * (1 - fired.detach())
        return fired


def two_populations(nested=False, v_leak=0.0):
    """a drives b, b drives a through weights, b drives itself, a skips to the readout."""
    g = np.random.default_rng(3)
    outside = ends([10], [5]) | {
        "fc": affine(g, 14, 10, 0.8), "read": affine(g, 5, 9, 0.7), "skip": affine(g, 5, 14, 0.3),
        "out": lif(5, 0.6),
    }  # fmt: skip
    inside = {
        "a": cuba(14, 0.4, 0.7), "ab": affine(g, 9, 14, 0.6), "b": lif(9, 0.8, v_leak=v_leak),
        "ba": affine(g, 14, 9, 0.5), "bb": affine(g, 9, 9, 0.4),
    }  # fmt: skip
    forward = [*chain("a", "ab", "b", "ba"), ("b", "bb")]
    back = [("ba", "a"), ("bb", "b")]
    if nested:
        # A sub-graph has one end: here the loop is one, and what skips it is left out.
        own = ends([14], [9]) | inside
        edges = [("input", "a"), *forward, *back, ("b", "output")]
        outside["loop"] = nir.NIRGraph(own, edges, type_check=False)
        del outside["skip"]
        edges = chain("input", "fc", "loop", "read", "out", "output")
        return nir.NIRGraph(outside, edges, type_check=False)
    entry = chain("input", "fc", "a")
    behind = [*chain("b", "read", "out", "output"), *chain("a", "skip", "out")]
    graph = nir.NIRGraph(outside | inside, entry + forward + back + behind, type_check=False)
    return graph, [*entry, *forward, *behind[:2], *behind[3:]], back


ORDER = ["fc", "a", "ab", "b", "ba", "bb", "read", "skip", "out"]


@pytest.mark.parametrize("v_leak", [0.0, 0.3])
def test_two_populations_that_drive_each_other(v_leak, tmp_path):
    graph, forward, back = two_populations(v_leak=v_leak)
    x = spikes_in(40, 6, 10)
    want = Steps(graph, ORDER, forward, back).run(x, "out").detach()
    network = from_nir(graph, dt=DT, step="euler")
    assert isinstance(network, Branched) and torch.equal(network(x), want)
    assert 0.05 < float(want.mean()) < 0.6
    # The loop matters: without what leads back, or with it in another step, spikes are others.
    for other in ([], back[:1], back[1:]):
        assert not torch.equal(Steps(graph, ORDER, forward, other).run(x, "out"), want)
    # Twice to NIR and back, also by a file, which sorts the nodes by name.
    written = to_nir(network, tmp_path / "loop.nir", dt=DT, step="euler")
    for again in (written, tmp_path / "loop.nir", to_nir(from_nir(written), dt=DT, step="euler")):
        assert torch.equal(from_nir(again)(x), want)
    types = sorted(type(node).__name__ for node in graph.nodes.values())
    assert sorted(type(node).__name__ for node in written.nodes.values()) == types


def test_a_loop_within_a_sub_graph(tmp_path):
    graph = two_populations(nested=True)
    x = spikes_in(30, 5, 10, seed=4)
    flat, forward, back = two_populations()
    forward = [edge for edge in forward if "skip" not in edge]
    order = [name for name in ORDER if name != "skip"]
    want = Steps(flat, order, forward, back).run(x, "out").detach()
    nir.write(tmp_path / "nested.nir", graph)
    for given in (graph, tmp_path / "nested.nir"):
        assert torch.equal(from_nir(given, dt=DT, step="euler")(x), want)
    assert 0.05 < float(want.mean()) < 0.6


def test_a_loop_through_convolutions_and_a_membrane():
    g = np.random.default_rng(5)

    def conv(inside, outside):
        weight = (0.4 * g.standard_normal((outside, inside, 3, 3))).astype(np.float32)
        return nir.Conv2d((6, 6), weight, 1, 1, 1, 1, np.zeros(outside, dtype=np.float32))

    shape = (3, 6, 6)
    tau = np.full(shape, DT / 0.3)
    nodes = ends([2, 6, 6], shape) | {
        "c": conv(2, 3), "a": lif(shape, 0.7), "d": conv(3, 3),
        "m": nir.LI(tau=tau, r=tau / DT, v_leak=np.full(shape, 0.1)), "e": conv(3, 3),
    }  # fmt: skip
    forward = [*chain("input", "c", "a", "d", "m", "e"), ("a", "output")]
    graph = nir.NIRGraph(nodes, [*forward, ("e", "a")], type_check=False)
    x = spikes_in(15, 2, 2, 6, 6)
    network = from_nir(graph, dt=DT, step="euler")
    order, back = ["c", "a", "d", "m", "e"], [("e", "a")]
    own = Steps(graph, order, forward, back)
    own.state["m"] = (torch.zeros(2, *shape).double(), torch.full((2, *shape), 0.1).double())
    want = own.run(x, "a")
    assert torch.equal(network(x), want) and 0.05 < float(want.mean()) < 0.6
    again = from_nir(to_nir(network, dt=DT, step="euler"))
    assert torch.equal(again(x), want)


def test_the_gradient_goes_through_the_loop():
    """Of all weights, against autograd over the steps that are written out."""
    graph, forward, back = two_populations()
    x = spikes_in(20, 4, 10)
    network = from_nir(graph, dt=DT, step="euler").double()
    cotangent = torch.randn(20, 4, 5, generator=torch.Generator().manual_seed(1)).double()
    own = Steps(graph, ORDER, forward, back, network.a.surrogate)
    (own.run(x, "out") * cotangent).sum().backward()
    (network(x) * cotangent).sum().backward()
    for name, (weight, bias) in own.weights.items():
        layer = network.get_submodule(name)
        assert float(weight.grad.abs().max()) > 0
        torch.testing.assert_close(layer.weight.grad, weight.grad)
        torch.testing.assert_close(layer.bias.grad, bias.grad)


def test_a_loop_is_diagnosed_and_drawn():
    """Who watches sees each layer once, with the spikes of the steps, and every weight's place."""
    graph, _, _ = two_populations()
    x = spikes_in(25, 8, 10).float()
    network = from_nir(graph, dt=DT, step="euler")
    plain = network(x)
    seen = {}
    hooks = [
        layer.register_forward_hook(lambda m, a, y, n=n: seen.setdefault(n, []).append(y))
        for n, layer in network.named_children() if isinstance(layer, LIF)
    ]  # fmt: skip
    assert torch.equal(network(x), plain) and all(len(calls) == 1 for calls in seen.values())
    for hook in hooks:
        hook.remove()
    found = probe.diagnose(network, x, networks=0)
    rates = {layer.name: float(layer.rate.mean()) for layer in found.layers}
    assert rates == pytest.approx({n: float(calls[0].detach().mean()) for n, calls in seen.items()})
    rows = {
        row.layer: (row.fed_by, row.drives)
        for row in init.initialize_(network, "micheli2024", example=x, readout="draw",
                                    generator=torch.Generator().manual_seed(0))
    }  # fmt: skip
    assert rows == {
        "fc": ("data", "a"), "ab": ("a", "b"), "ba": ("b", "a"), "bb": ("b", "b"),
        "read": ("b", "out"), "skip": ("a", "out"),
    }  # fmt: skip


def test_loops_of_weights_alone_are_named():
    """Where nothing takes time there is nothing to step."""
    square = nir.Linear(np.eye(3))
    nodes = ends([3], [3]) | {"a": lif(3, 0.5), "v": square, "w": square}
    edges = [*chain("input", "a", "v", "w", "v"), ("w", "output")]
    with pytest.raises(ValueError, match="a loop through v, w alone, where nothing takes time"):
        from_nir(nir.NIRGraph(nodes, edges, type_check=False), dt=DT)


@pytest.mark.parametrize(
    ("edges", "order"),
    [
        # A loop in a loop: the inner one is entered at c, whatever is named first.
        ("xa ab bc cd dc da ad", [["a", "b", "c", "d"]]),
        # Two entries: the one that is named first.
        ("xb xa ab ba", [["b", "a"]]),
        ("xa ad ab bc cb cd", [["a"], ["b", "c"], ["d"]]),
    ],
)
def test_the_order_of_a_step(edges, order):
    pairs = [tuple(edge) for edge in edges.split()]
    names = [name for name in dict.fromkeys(b for _, b in pairs)]
    assert ordered(names, pairs) == order
    flat = [name for group in order for name in group]
    # Named in that order it is the same: a graph that is written comes back as it was.
    assert ordered(flat, pairs[::-1]) == order


def test_a_network_with_loops_refuses_what_it_cannot_step():
    layers = {"a": LIF(), "b": RecurrentLIF(3)}
    with pytest.raises(ValueError, match="'b' stands in a loop, where a RecurrentLIF cannot"):
        Branched(layers, {"a": ["", "b"], "b": ["a"]}, ["a"])
    robust = LIF(threshold_gradient="threshold_robust")
    with pytest.raises(ValueError, match="a LIF that sends its threshold cannot"):
        Branched({"a": robust}, {"a": ["", "a"]}, ["a"])
    with pytest.raises(ValueError, match="sources of 'a' must hold one that stands before it"):
        Branched({"a": LIF()}, {"a": ["a"]}, ["a"])
    with pytest.raises(ValueError, match=r"sources of 'a' must be names of layers, got \['c'"):
        Branched({"a": LIF()}, {"a": ["", "c"]}, ["a"])


def test_one_step_of_a_membrane_is_that_of_all():
    generator = torch.Generator().manual_seed(2)
    layer = LeakyIntegrator(
        leak=torch.tensor([0.3, 0.9, 1.0]), synapse_leak=0.6, input_gain=0.7, delay=0.25, rest=-0.4
    )
    x, state, found = torch.randn(9, 2, 3, generator=generator), None, []
    for now in x:
        potential, state = layer.step(now, state)
        found.append(potential)
    torch.testing.assert_close(torch.stack(found), layer(x))
    assert isinstance(layer, nn.Module)
