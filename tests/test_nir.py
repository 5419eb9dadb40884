"""NIR export and import: round trips, the differential equations, other libraries' graphs."""

import math
import sys
from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn

from snnlib import networks
from snnlib.interop.nir import STEPS, from_nir, to_nir
from snnlib.neurons import LIF, CurrentLIF, exact_step

nir = pytest.importorskip("nir")

pytestmark = [
    # Norse and SpikingJelly still compile with torch.jit.
    pytest.mark.filterwarnings("ignore:`torch.jit.script`:DeprecationWarning"),
    # snnTorch and Norse still call an old function.
    pytest.mark.filterwarnings("ignore:nirtorch.extract_nir_graph:DeprecationWarning"),
]

STEP = 1e-4


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def current(*shape, seed=1, dtype=torch.float32):
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64).to(dtype)


def spread(low, high, *shape, seed=2, dtype=torch.float32):
    values = torch.rand(*shape, generator=generator(seed), dtype=torch.float64)
    return (low + (high - low) * values).to(dtype)


def traces(network, batch):
    """Traces of the spiking layers, in order; layers run as the network runs them."""
    found = []
    for layer in network:
        if isinstance(layer, LIF):
            found.append(layer.trace(batch))
        batch = networks.FeedForward(OrderedDict(layer=layer))(batch)
    return found


def assert_same_dynamics(network, other, batch, tolerance=1e-5):
    ours, theirs = traces(network, batch), traces(other, batch)
    assert len(ours) == len(theirs) > 0
    for one, two in zip(ours, theirs, strict=True):
        assert torch.equal(one.spikes, two.spikes)
        torch.testing.assert_close(one.membrane, two.membrane, rtol=tolerance, atol=tolerance)
        assert 0.01 < one.spikes.mean() < 0.99
    assert torch.equal(network(batch), other(batch))


def value(parameter, like):
    """A neuron's value, spread over its neurons."""
    return torch.as_tensor(parameter).double().expand_as(like)


def mlp(**settings):
    return networks.mlp(
        [20, 50, 30],
        **{"generator": generator(), "reset": "zero", "encode": False} | settings,
    )


def convnet(**settings):
    settings = {"generator": generator(), "reset": "zero", "channels": (6, 4)} | settings
    return networks.convnet((2, 8, 8), 5, **settings)


def synaptic(step="exponential", scale=1.0, **settings):
    """Two layers with synapses, one with a value per neuron."""
    delay = exact_step(0.9, 0.7, held=True).delay if step == "exact" else 0.0
    settings = {"reset": "zero"} | settings
    network = networks.FeedForward(
        OrderedDict(
            linear1=nn.Linear(20, 50),
            lif1=CurrentLIF(leak=0.9, synapse_leak=0.7, delay=delay, threshold=scale, **settings),
            linear2=nn.Linear(50, 30, bias=False),
            lif2=CurrentLIF(
                leak=0.9,
                synapse_leak=0.7,
                input_gain=spread(0.5, 2.0, 30),
                delay=delay,
                threshold=spread(0.5, 1.0, 30),
                **settings,
            ),
        )
    )
    for seed, linear in enumerate([network[0], network[2]]):
        nn.init.normal_(linear.weight, std=linear.in_features**-0.5, generator=generator(seed))
    nn.init.zeros_(network[0].bias)
    return network


# --- Round trips --------------------------------------------------------------------------------


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("way", ["memory", "file"])
def test_mlp_round_trip(step, way, tmp_path):
    network = mlp(threshold=[0.7, spread(0.4, 0.9, 30)], leak=[0.6, spread(0.3, 0.95, 30, seed=3)])
    path = tmp_path / "network.nir"
    graph = to_nir(network, path, dt=1e-3, step=step)
    other = from_nir(graph if way == "memory" else path)
    assert [name for name, _ in other.named_children()] == list(graph.nodes)[1:-1]
    assert_same_dynamics(network, other, current(40, 8, 20))
    for one, two in zip(network, other, strict=True):
        assert type(one) is type(two)
        if isinstance(one, LIF):
            assert torch.equal(torch.as_tensor(one.threshold), torch.as_tensor(two.threshold))
            assert torch.equal(torch.as_tensor(one.leak).float(), torch.as_tensor(two.leak).float())
            assert (one.reset, one.surrogate) == (two.reset, two.surrogate)
        elif isinstance(one, nn.Linear):
            assert torch.equal(one.weight, two.weight)
            assert two.bias is None


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("way", ["memory", "file"])
def test_synaptic_round_trip(step, way, tmp_path):
    network = synaptic(step)
    path = tmp_path / "network.nir"
    graph = to_nir(network, path, step=step)
    other = from_nir(graph if way == "memory" else str(path))
    assert_same_dynamics(network, other, current(40, 8, 20))
    for one, two in zip(
        traces(network, current(9, 4, 20)), traces(other, current(9, 4, 20)), strict=True
    ):
        torch.testing.assert_close(one.current, two.current)
    for index in (1, 3):
        for name in ("leak", "synapse_leak", "threshold", "input_gain", "delay"):
            one, two = (torch.as_tensor(getattr(n[index], name)).double() for n in (network, other))
            torch.testing.assert_close(one, two.expand_as(one), rtol=1e-7, atol=1e-12)
    assert other.lif1.input_gain == 1.0


@pytest.mark.parametrize("way", ["memory", "file"])
def test_convnet_round_trip(way, tmp_path):
    network = convnet(bias=True, threshold=[0.5, spread(0.3, 0.6, 4, 1, 1), 0.4])
    with torch.no_grad():
        network[0].bias.copy_(spread(-0.1, 0.1, 6))
    path = tmp_path / "network.nir"
    graph = to_nir(network, path, shape=(2, 8, 8))
    assert graph.nodes["lif2"].v_threshold.shape == (4, 8, 8)
    assert nir.read(path).nodes["conv1"].weight.shape == (6, 2, 3, 3)  # with its type check
    other = from_nir(graph if way == "memory" else path)
    assert_same_dynamics(network, other, current(15, 3, 2, 8, 8))
    assert torch.equal(network[0].bias, other[0].bias)


def test_unusual_convolutions(tmp_path):
    """Groups, oblong kernels, named padding, one dimension; types that nir itself gets wrong."""
    path = tmp_path / "network.nir"
    grouped = networks.FeedForward(
        OrderedDict(
            conv1=nn.Conv2d(4, 8, (3, 1), groups=2, stride=(1, 2), padding=(1, 0), bias=False),
            lif1=LIF(threshold=0.2, reset="zero"),
            conv2=nn.Conv2d(8, 4, 3, padding="same"),
            lif2=LIF(threshold=0.1, reset="zero"),
        )
    )
    flat = networks.FeedForward(
        OrderedDict(
            conv=nn.Conv1d(4, 6, 3, stride=2, dilation=2, padding=1),
            lif=LIF(threshold=0.2, reset="zero"),
            flatten=nn.Flatten(2),
        )
    )
    for network, shape in ((grouped, (4, 6, 8)), (flat, (4, 11))):
        for parameter in network.parameters():
            nn.init.normal_(parameter, std=0.3, generator=generator())
        graph = to_nir(network, path, shape=shape)
        batch = current(9, 2, *shape)
        assert tuple(graph.nodes["output"].input_type["input"]) == network(batch).shape[2:]
        for other in (from_nir(graph), from_nir(path)):
            assert_same_dynamics(network, other, batch)
            assert (other[0].bias is None) == (network[0].bias is None)
            assert repr(other[0]) == repr(network[0])


def test_double_precision_is_kept():
    network = mlp(leak=spread(0.3, 0.9, 50, dtype=torch.float64)[0].item()).double()
    other = from_nir(to_nir(network, step="euler"))
    assert other[1].weight.dtype == torch.float64
    assert_same_dynamics(network, other, current(30, 4, 20, dtype=torch.float64), 1e-13)


def test_values_are_arrays_with_one_value_per_neuron():
    graph = to_nir(mlp(threshold=[0.3, 0.6]))
    lif = graph.nodes["lif1"]
    for array in (lif.tau, lif.r, lif.v_leak, lif.v_threshold, lif.v_reset):
        assert isinstance(array, np.ndarray) and array.shape == (50,) and array.dtype == float
    assert (lif.v_threshold == 0.3).all() and (lif.v_leak == 0).all() and (lif.v_reset == 0).all()
    assert tuple(graph.nodes["linear1"].output_type["output"]) == (50,)
    assert graph.edges[0] == ("input", "flatten") and graph.edges[-1][1] == "output"
    assert graph.check_types()


def test_learned_values_are_exported():
    network = networks.FeedForward(
        OrderedDict(
            lif=CurrentLIF(threshold=0.8, learn_leak=True, learn_threshold=True, reset="zero")
        )
    )
    with torch.no_grad():
        network[0].raw_leak += 0.5
    other = from_nir(to_nir(network, shape=(7,)))
    assert_same_dynamics(network, other, current(30, 4, 7))
    assert not list(other.parameters())


def test_nested_sequence_and_left_out_layers():
    body = nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.5), LIF(threshold=0.2, reset="zero"))
    network = nn.Sequential(OrderedDict(body=body, input=nn.Linear(3, 2))).eval()
    graph = to_nir(network)
    assert list(graph.nodes) == ["input", "body.0", "body.2", "input_", "output"]
    other = from_nir(graph)
    assert [name for name, _ in other.named_children()] == ["body_0", "body_2", "input_"]
    batch = current(6, 5, 4)
    hidden = body[2](body[0](batch))
    assert 0 < hidden.mean() < 1
    torch.testing.assert_close(other(batch), network[1](hidden))


def test_names_that_a_module_cannot_have():
    nodes = {"in": nir.Input(np.array([3])), "train": lif_node(), "out": nir.Output(np.array([3]))}
    graph = nir.NIRGraph(nodes, [("in", "train"), ("train", "out")])
    assert [name for name, _ in from_nir(graph, dt=1e-3).named_children()] == ["train_"]


def test_integrate_and_fire(tmp_path):
    network = networks.FeedForward(OrderedDict(lif=LIF(leak=1.0, threshold=2.0, reset="zero")))
    graph = to_nir(network, tmp_path / "if.nir", shape=(6,), dt=0.01)
    assert isinstance(graph.nodes["lif"], nir.IF) and (graph.nodes["lif"].r == 100).all()
    other = from_nir(tmp_path / "if.nir")
    assert type(other[0]) is LIF and other[0].leak == 1.0
    assert_same_dynamics(network, other, current(50, 4, 6))


@pytest.mark.parametrize("reset", ["subtract", "subtract_leak", "none"])
def test_other_resets_need_metadata(reset, tmp_path):
    network = mlp(reset=reset, threshold=0.6)
    with pytest.raises(ValueError, match=f"layer 'lif1' must have reset=\"zero\", got '{reset}'"):
        to_nir(network)
    assert not list(tmp_path.iterdir())
    graph = to_nir(network, tmp_path / "marked.nir", metadata=True)
    assert graph.nodes["lif1"].metadata == {"snnlib_reset": reset}
    for other in (from_nir(graph), from_nir(tmp_path / "marked.nir")):
        assert other.lif1.reset == reset
        assert_same_dynamics(network, other, current(40, 8, 20))


def test_other_delays_need_metadata(tmp_path):
    network = synaptic("exact")
    with pytest.raises(ValueError, match="must have the delay of the step 'exponential', 0, got"):
        to_nir(network)
    to_nir(network, tmp_path / "marked.nir", metadata=True)
    other = from_nir(tmp_path / "marked.nir")
    assert abs(other.lif1.delay - network.lif1.delay) < 1e-12
    assert_same_dynamics(network, other, current(40, 8, 20))


def test_another_time_step():
    """Half the step: the leak's square root, the same gain for a held input."""
    network = mlp(leak=0.81)
    half = from_nir(to_nir(network, dt=2.0), dt=1.0)
    assert abs(half.lif1.leak - 0.9) < 1e-12
    assert isinstance(half.lif1, CurrentLIF)
    assert abs(half.lif1.input_gain / ((1 - 0.9) / (1 - 0.81)) - 1) < 1e-12
    batch = 0.1 * current(1, 8, 20).expand(12, 8, 20)
    for layer in (network.lif1, half.lif1):
        layer.fixed_threshold = 1e9
    one, two = (
        network.lif1.trace(network.linear1(batch)),
        half.lif1.trace(half.linear1(batch.repeat(2, 1, 1))),
    )
    torch.testing.assert_close(two.membrane[1::2], one.membrane)


# --- Import against the differential equations --------------------------------------------------


def simulated(node, values, dt, step):
    """Membrane of a node without threshold, for inputs held over each step, in NIR's own units.

    exact: the matrix exponential. exponential: each equation exactly, one after the other.
    euler: each equation by its slope, one after the other.
    impulse: each equation without input exactly, then a jump by dt / tau of the input.
    """
    cuba = isinstance(node, nir.CubaLIF)
    tau = (node.tau_mem if cuba else node.tau)[0]
    v, i = node.v_leak[0], 0.0
    found = []
    for s in values:
        if cuba:
            tau_syn, w_in, r = node.tau_syn[0], node.w_in[0], node.r[0]
            if step == "exact":
                rates = torch.tensor([[-1 / tau, r / tau], [0.0, -1 / tau_syn]]).double()
                fixed = torch.tensor([node.v_leak[0] + r * w_in * s, w_in * s]).double()
                state = torch.tensor([v, i]).double() - fixed
                v, i = (torch.linalg.matrix_exp(rates * dt) @ state + fixed).tolist()
            elif step == "impulse":
                i = i * math.exp(-dt / tau_syn) + w_in * s * dt / tau_syn
                v = node.v_leak[0] + (v - node.v_leak[0]) * math.exp(-dt / tau) + r * i * dt / tau
            elif step == "exponential":
                i = w_in * s + (i - w_in * s) * math.exp(-dt / tau_syn)
                to = node.v_leak[0] + r * i
                v = to + (v - to) * math.exp(-dt / tau)
            else:
                i += dt / tau_syn * (-i + w_in * s)
                v += dt / tau * (node.v_leak[0] - v + r * i)
        else:
            to = node.v_leak[0] + node.r[0] * s
            keep = 1 - dt / tau if step == "euler" else math.exp(-dt / tau)
            if step == "impulse":
                v = node.v_leak[0] + (v - node.v_leak[0]) * keep + node.r[0] * s * dt / tau
            else:
                v = to + (v - to) * keep
        found.append(v)
    return torch.tensor(found, dtype=torch.float64)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("kind", ["LIF", "CubaLIF"])
def test_import_solves_the_equations_of_the_node(kind, step):
    one = np.ones(1)
    common = {"r": 3 * one, "v_leak": -65 * one, "v_reset": -65 * one, "v_threshold": 1e6 * one}
    if kind == "LIF":
        node = nir.LIF(tau=0.02 * one, **common)
    else:
        node = nir.CubaLIF(tau_mem=0.02 * one, tau_syn=0.005 * one, w_in=0.7 * one, **common)
    network = from_nir(nir.NIRGraph.from_list(node), dt=0.002, step=step)
    values = current(40, seed=4, dtype=torch.float64)
    membrane = network[0].trace(values.view(40, 1, 1)).membrane.flatten()
    want = simulated(node, values.tolist(), 0.002, step)
    torch.testing.assert_close(membrane - 65, want, rtol=1e-6, atol=1e-6)
    assert network[0].threshold == 1e6 + 65
    assert type(network[0]) is CurrentLIF
    assert (network[0].synapse_leak == 0) == (kind == "LIF")


def test_potential_at_rest_is_subtracted_from_the_threshold():
    full = {key: np.full(3, x) for key, x in {"tau": 0.01, "r": 50.0}.items()}
    volts = {"v_leak": -65.0, "v_reset": -65.0, "v_threshold": -50.0}
    moved = nir.LIF(**full, **{key: np.full(3, x) for key, x in volts.items()})
    plain = nir.LIF(**full, v_leak=np.zeros(3), v_threshold=np.full(3, 15.0))
    one, two = (from_nir(nir.NIRGraph.from_list(node), dt=1e-3) for node in (moved, plain))
    batch = current(50, 8, 3)
    assert_same_dynamics(one, two, batch)


# --- Graphs that other libraries write ----------------------------------------------------------


def drive(*shape, seed=5):
    """Random currents that make the neurons of these tests fire: 1e5 neuron-steps and more."""
    return current(*shape, seed=seed)


def test_graph_of_snntorch(tmp_path):
    """The exporter drops the kind of reset; NIR's is a reset to zero without delay."""
    snntorch = pytest.importorskip("snntorch")
    export = pytest.importorskip("snntorch.export_nir").export_to_nir
    ones, common = (
        torch.ones,
        {"init_hidden": True, "reset_mechanism": "zero", "reset_delay": False},
    )
    torch.manual_seed(0)
    theirs = nn.Sequential(
        nn.Linear(30, 60),
        snntorch.Leaky(beta=0.9 * ones(60), threshold=0.8 * ones(60), **common),
        nn.Linear(60, 40, bias=False),
        snntorch.Synaptic(
            alpha=spread(0.5, 0.8, 40), beta=0.8 * ones(40), threshold=0.3 * ones(40), **common
        ),
    )
    graph = export(theirs, torch.randn(1, 30), ignore_dims=[0])
    nir.write(tmp_path / "snntorch.nir", graph)
    batch = drive(100, 40, 30)
    for layer in (theirs[1], theirs[3]):
        layer.reset_mem()
    want, hidden = [], []
    with torch.no_grad():
        for step in batch:
            spikes = theirs[1](theirs[0](step))
            hidden.append(spikes)
            want.append(theirs[3](theirs[2](spikes)))
    want, hidden = torch.stack(want), torch.stack(hidden)
    for given in (graph, tmp_path / "snntorch.nir"):
        ours = from_nir(given, dt=STEP, step="euler")
        assert type(ours[1]) is LIF and ours[3].input_gain == 1.0
        assert torch.equal(ours[1](ours[0](batch)), hidden)
        assert torch.equal(ours(batch), want)
    assert 0.02 < hidden.mean() < 0.9 and 0.02 < want.mean() < 0.9
    assert hidden.numel() >= 1e5 and want.numel() >= 1e5


def test_graph_of_spikingjelly():
    pytest.importorskip("spikingjelly")
    from spikingjelly.activation_based import functional, layer, neuron
    from spikingjelly.activation_based.nir_exchange import export_to_nir

    torch.manual_seed(0)
    # Double precision: SpikingJelly spikes where the potential equals the threshold, NIR does not,
    # and in single precision one of 1e5 sums does equal it.
    theirs = nn.Sequential(
        layer.Linear(30, 60),
        neuron.LIFNode(tau=4.0, v_threshold=0.2, detach_reset=True),
        layer.Linear(60, 40),
        neuron.CUBALIFNode(c_decay=0.6, v_decay=0.8, v_threshold=0.3),
        layer.Linear(40, 30),
        neuron.IFNode(v_threshold=0.5),
    ).double()
    functional.set_step_mode(theirs, "m")
    batch = drive(100, 40, 30).double()
    graph = export_to_nir(theirs, batch[:2], dt=STEP)
    functional.reset_net(theirs)
    ours = from_nir(graph, dt=STEP, step="euler")
    with torch.no_grad():
        one, two = batch, batch
        for their_layer, our_layer in zip(theirs, ours, strict=True):
            two = their_layer(two)
            one = networks.FeedForward(OrderedDict(layer=our_layer))(one)
            if isinstance(our_layer, LIF):
                assert torch.equal(one, two)
                assert 0.02 < two.mean() < 0.9
    assert type(ours[5]) is LIF and ours[1].input_gain == 0.25


@pytest.mark.parametrize("kind", ["LIFBoxCell", "LIFCell"])
def test_graph_of_norse(kind):
    """Norse writes dt times the time constant where NIR wants the time constant: dt² undoes it."""
    norse = pytest.importorskip("norse.torch")
    full = {"tau_mem_inv": 100.0, "v_th": 0.3, "v_leak": 0.0, "v_reset": 0.0}
    if kind == "LIFCell":
        full["tau_syn_inv"] = 200.0
    parameters = (norse.LIFParameters if kind == "LIFCell" else norse.LIFBoxParameters)(
        **{key: torch.full((60,), x) for key, x in full.items()}
    )
    torch.manual_seed(0)
    theirs = norse.SequentialState(nn.Linear(30, 60), getattr(norse, kind)(parameters))
    graph = norse.to_nir(theirs, torch.randn(1, 30), dt=1e-3)
    node = graph.nodes["1"]
    if kind == "LIFCell":
        # Its current jumps by the input itself, NIR's by w_in / tau_syn of it.
        node.w_in = np.full(60, 1 / 0.2)
    batch = 3 * drive(50, 40, 30)
    state, want = None, []
    with torch.no_grad():
        for step in batch:
            spikes, state = theirs(step, state)
            want.append(spikes)
    want = torch.stack(want)
    ours = from_nir(graph, dt=1e-6, step="euler")
    assert torch.equal(ours(batch), want)
    assert 0.01 < want.mean() < 0.9 and want.numel() >= 1e5


def test_our_graph_in_snntorch():
    """Euler's step of ours is theirs: snnTorch runs an exported network with the same spikes."""
    pytest.importorskip("snntorch")
    load = pytest.importorskip("snntorch.import_nir").import_from_nir
    network = networks.FeedForward(
        OrderedDict(linear=nn.Linear(30, 60), lif=LIF(leak=0.9, threshold=0.8, reset="zero"))
    )
    nn.init.normal_(network[0].weight, std=0.2, generator=generator())
    nn.init.zeros_(network[0].bias)
    theirs = load(to_nir(network, dt=1e-4, step="euler"))
    batch = drive(60, 30, 30)
    with torch.no_grad():
        want, state = [], None
        for step in batch:
            spikes, state = theirs(step, state) if state is not None else theirs(step)
            want.append(spikes)
    assert torch.equal(torch.stack(want), network(batch))


# --- Refusals -----------------------------------------------------------------------------------


class Loop(nn.Module):
    """A module that is no sequence."""

    def forward(self, x):
        return x


@pytest.mark.parametrize(
    ("network", "keywords", "message"),
    [
        (Loop(), {"shape": (3,)}, "layer '0' is a Loop, which cannot be exported"),
        (nn.Sequential(), {}, "network must have a layer"),
        (nn.Sequential(nn.Identity()), {}, "network must have a layer"),
        (nn.Sequential(nn.Linear(3, 2), nn.ReLU()), {}, "layer '1' is a ReLU"),
        (nn.Sequential(nn.Conv2d(2, 2, 3)), {}, "shape must be given"),
        (LIF(), {}, "shape must be given"),
        (
            nn.Linear(3, 2),
            {"shape": (4,)},
            r"shape must fit the network: layer '0' cannot take \[4\]",
        ),
        (nn.Linear(3, 2), {"shape": (5, 3)}, r"layer '0' must take flat inputs, got .*\[5, 3\]"),
        (nn.Linear(3, 2), {"shape": 3}, "shape must be a tuple of positive integers"),
        (nn.Linear(3, 2), {"shape": (0,)}, "shape must be a tuple of positive integers"),
        (nn.Flatten(1), {"shape": (3, 2)}, "must keep time and batch apart, got start_dim=1"),
        (nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular"), {"shape": (1, 4, 4)}, "pad with"),
        (LIF(reset="zero"), {"shape": (3,), "dt": 0.0}, "dt must be a number > 0"),
        (LIF(reset="zero"), {"shape": (3,), "dt": math.nan}, "dt must be a number > 0"),
        (LIF(reset="zero"), {"shape": (3,), "step": "rk4"}, "step must be one of 'exponential'"),
        (LIF(reset="zero", leak=0.0), {"shape": (3,)}, "a leak of 0 has no time constant; step="),
        (LIF(reset="zero", leak=torch.tensor([0.5, 1, 1])), {"shape": (3,)}, "must have a leak in"),
        (CurrentLIF(reset="zero", leak=1.0), {"shape": (3,)}, r"leak in \(0, 1\) .* without syn"),
        (LIF(reset="zero", threshold=torch.ones(2, 3)), {"shape": (3,)}, "fit|per sample"),
        (LIF(reset="zero", initial=torch.ones(3)), {"shape": (3,)}, "must start at rest"),
        (
            LIF(reset="zero", threshold_gradient="threshold_robust"),
            {"shape": (3,)},
            "sends on its threshold",
        ),
    ],
)
def test_bad_export(network, keywords, message):
    with pytest.raises(ValueError, match=message):
        to_nir(network, **keywords)


def lif_node(**values):
    full = {"tau": 0.01, "r": 1.0, "v_leak": 0.0, "v_threshold": 1.0, "v_reset": 0.0} | values
    return nir.LIF(**{key: np.full(3, x) for key, x in full.items()})


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (lif_node(v_reset=2.0), "node 'lif' must have v_threshold >= v_reset, got -1 above it"),
        (lif_node(v_leak=1.0, r=0.0), "must have r > 0 where v_leak differs from v_reset"),
        (lif_node(tau=0.0), "must have time constants > 0 and finite, got 0"),
        (lif_node(tau=np.inf), "must have time constants > 0 and finite, got inf"),
        (lif_node(r=-1.0), "must have an input gain >= 0"),
        (nir.Threshold(-np.ones(3)), "node 'threshold' must have a threshold >= 0, got -1"),
        (nir.Delay(np.ones(3)), "node 'delay' is a Delay, which cannot be imported"),
        (nir.Linear(np.ones((2, 3, 3))), "must have a weight of two dimensions"),
    ],
)
def test_bad_nodes(node, message):
    with pytest.raises(ValueError, match=message):
        from_nir(nir.NIRGraph.from_list(node), dt=1e-3)


def test_euler_needs_short_steps():
    with pytest.raises(ValueError, match=r"time constants >= dt = 0.02 for the step 'euler', got"):
        from_nir(nir.NIRGraph.from_list(lif_node()), dt=0.02, step="euler")


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        ([("input", "a"), ("a", "output")], "nodes beside it: b"),
        ([("input", "a"), ("a", "b")], "graph must end in an output, got no edge to it"),
        ([("input", "a"), ("output", "b")], "must not have an edge from 'output' to 'b'"),
        ([("input", "a"), ("a", "c")], "an edge to 'c'"),
    ],
)
def test_bad_graphs(edges, message):
    nodes = {
        "input": nir.Input(np.array([3])),
        "a": lif_node(),
        "b": lif_node(),
        "output": nir.Output(np.array([3])),
    }
    graph = nir.NIRGraph(nodes, edges, type_check=False)
    with pytest.raises(ValueError, match=message):
        from_nir(graph, dt=1e-3)


def test_a_missing_package_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "nir", None)
    for call in (lambda: to_nir(LIF(reset="zero"), shape=(3,)), lambda: from_nir("a.nir", dt=1.0)):
        with pytest.raises(ImportError, match=r'pip install "snnlib\[nir\]"'):
            call()


def test_bad_import():
    graph = nir.NIRGraph.from_list(lif_node())
    with pytest.raises(ValueError, match="dt must be given, in the unit"):
        from_nir(graph)
    with pytest.raises(ValueError, match="dt must be a number > 0"):
        from_nir(graph, dt=-1)
    with pytest.raises(ValueError, match="step must be one of"):
        from_nir(graph, dt=1e-3, step="midpoint")
    with pytest.raises(ValueError, match=r"graph must be a nir\.NIRGraph or a path, got LIF"):
        from_nir(LIF(), dt=1e-3)
    with pytest.raises(FileNotFoundError):
        from_nir("no_such_file.nir")
