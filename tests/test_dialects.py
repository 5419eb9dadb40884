"""`dialects.read` against the foreign libraries: its constants, run in a plain loop, are them."""

import math

import pytest
import torch
from torch import nn

from snnlib import dialects
from snnlib.neurons import LIF, CurrentLIF

STEPS, NEURONS = 40, 500


def currents(seed=0, mean=0.3, std=1.0):
    generator = torch.Generator().manual_seed(seed)
    return mean + std * torch.randn(STEPS, 1, NEURONS, generator=generator, dtype=torch.float64)


def normal_form(form, current):
    """Spikes and potentials of the recursion that the module's docstring states."""
    beta, theta, gain = form.leak, form.threshold, form.input_gain
    u = x = torch.zeros_like(current[0])
    c = torch.zeros_like(u)
    spikes, potentials = [], []
    for i in current:
        before = c
        c = i if form.synapse is None else form.synapse * c + i
        carry = {
            "subtract": beta * u - theta * x,
            "subtract_leak": beta * (u - theta * x),
            "zero": beta * u * (1 - x),
            "none": beta * u,
        }[form.reset]
        u = carry + gain * ((1 - form.delay) * c + form.delay * before)
        x = ((u >= theta) if form.fires_at_threshold else (u > theta)).double()
        spikes.append(x)
        potentials.append(u)
    return torch.stack(spikes), torch.stack(potentials)


def check(form, current, spikes, potentials=None):
    """The library's spikes, and its potentials where it shows those before the reset."""
    ours, u = normal_form(form, current)
    assert 0.02 < ours.mean() < 0.8, "a check without spikes, or of nothing but spikes, is none"
    assert torch.equal(ours, spikes.double().detach())
    if potentials is not None:
        torch.testing.assert_close(u, potentials.double().detach(), rtol=0, atol=1e-9)


# --- Ours -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "neuron",
    [
        LIF(threshold=0.7, leak=0.8, reset="zero"),
        LIF(threshold=torch.linspace(0.5, 1, NEURONS), leak=1.0, reset="subtract_leak"),
        CurrentLIF(threshold=0.7, leak=0.8, synapse_leak=0.4, input_gain=0.6, delay=0.25),
    ],
    ids=["hard", "per neuron", "synapse"],
)
def test_ours(neuron):
    form = dialects.read(neuron)
    assert form.library == "snnlib" and not form.why and not form.recurrent and form.sequence
    trace = neuron.trace(currents())
    check(form, currents(), trace.spikes, trace.membrane)


def test_the_height_of_a_threshold_robust_spike_is_the_threshold():
    robust = LIF(threshold=0.5, threshold_gradient="threshold_robust")
    assert dialects.read(robust).height == 0.5
    assert dialects.read(LIF(threshold=0.5)).height == 1


def test_what_does_not_spike():
    for module in (nn.Linear(2, 2), nn.Sequential(LIF()), torch.compile(LIF())):
        assert dialects.read(module) is None
        assert not dialects.is_spiking(module)
    assert dialects.is_spiking(torch.compile(LIF())._orig_mod)


def test_a_negative_threshold_is_refused_and_still_spikes():
    neuron = LIF()
    neuron.fixed_threshold = -1.0
    with pytest.raises(ValueError, match="threshold of LIF must be >= 0 and finite"):
        dialects.read(neuron)
    assert dialects.is_spiking(neuron)


# --- snnTorch -------------------------------------------------------------------------------------


def run_snntorch(layer, current):
    state, spikes, potentials = (), [], []
    for i in current:
        spike, *state = layer(i, *state)
        spikes.append(spike)
        potentials.append(state[-1])
    return torch.stack(spikes), torch.stack(potentials)


SNNTORCH = {
    "Leaky": lambda s: s.Leaky(beta=0.9),
    "Leaky zero": lambda s: s.Leaky(beta=0.9, threshold=0.7, reset_mechanism="zero"),
    "Leaky none": lambda s: s.Leaky(beta=0.5, reset_mechanism="none"),
    "Leaky clamped": lambda s: s.Leaky(beta=torch.linspace(-0.5, 1.5, NEURONS)),
    "Leaky thresholds": lambda s: s.Leaky(beta=0.8, threshold=torch.linspace(0.5, 1.5, NEURONS)),
    "Lapicque": lambda s: s.Lapicque(beta=0.6),
    "Lapicque RC": lambda s: s.Lapicque(R=5.0, C=2.0, time_step=0.5, threshold=0.2),
    "Synaptic": lambda s: s.Synaptic(alpha=0.4, beta=0.8),
    "Synaptic none": lambda s: s.Synaptic(alpha=0.4, beta=0.8, reset_mechanism="none"),
}


@pytest.mark.parametrize("name", SNNTORCH)
def test_snntorch(name):
    layer = SNNTORCH[name](pytest.importorskip("snntorch"))
    form = dialects.read(layer)
    assert form.library == "snntorch" and not form.why
    assert not form.sequence and not form.fires_at_threshold and not form.recurrent
    check(form, currents(), *run_snntorch(layer, currents()))


@pytest.mark.parametrize("kind", ["Leaky", "Synaptic"])
def test_snntorch_reset_to_zero_without_delay(kind):
    snn = pytest.importorskip("snntorch")
    more = {"alpha": 0.4} if kind == "Synaptic" else {}
    layer = getattr(snn, kind)(beta=0.9, reset_mechanism="zero", reset_delay=False, **more)
    form = dialects.read(layer)
    assert form.reset == "zero" and not form.why
    check(form, currents(), run_snntorch(layer, currents())[0])


def test_snntorch_state_leaky_takes_sequences_and_decays_otherwise_than_it_is_called():
    snn = pytest.importorskip("snntorch")
    layer = snn.StateLeaky(beta=0.9, channels=NEURONS)
    form = dialects.read(layer)
    assert form.sequence and form.reset == "none" and not form.why
    assert form.leak.item() == pytest.approx(math.exp(-0.1), abs=1e-7)  # not 0.9
    # It computes in float32, whatever it is given: keep away from the threshold by a margin.
    spikes, potentials = layer(currents().float())
    ours, u = normal_form(form, currents())
    torch.testing.assert_close(u, potentials.double(), rtol=0, atol=2e-5)
    clear = (u - 1).abs() > 1e-4
    assert torch.equal(ours[clear], spikes.double()[clear])
    assert dialects.read(snn.StateLeaky(beta=0.9, channels=2, output=False)) is None


def test_snntorch_graded_spikes_are_the_height():
    snn = pytest.importorskip("snntorch")
    layer = snn.Leaky(beta=0.5, graded_spikes_factor=0.25)
    assert dialects.read(layer).height == 0.25
    assert layer(torch.full((1, 1), 2.0))[0].item() == 0.25
    twice = snn.StateLeaky(beta=0.5, channels=1, graded_spikes_factor=0.5)
    assert twice(torch.full((1, 1, 1), 2.0))[0].item() == 0.25 == dialects.read(twice).height


@pytest.mark.parametrize(
    ("build", "why"),
    [
        (lambda s: s.Alpha(alpha=0.9, beta=0.8), "difference of two currents"),
        (lambda s: s.Lapicque(beta=0.3), "= -0.203973 is negative"),
        (lambda s: s.Lapicque(beta=0.9, reset_mechanism="zero"), "drops the input"),
        (lambda s: s.Synaptic(alpha=0.4, beta=0.9, reset_mechanism="zero"), "drops the input"),
        (lambda s: s.Leaky(beta=0.9, reset_delay=False), "resets twice"),
        (lambda s: s.Leaky(beta=0.9, inhibition=True), "inhibition"),
        (lambda s: s.Leaky(beta=0.9, state_quant=torch.round), "state_quant"),
        (lambda s: s.RLeaky(beta=0.9, linear_features=2), "recurrent weights of its own"),
        (lambda s: s.RSynaptic(alpha=0.4, beta=0.9, linear_features=2), "recurrent weights"),
        (lambda s: s.SLSTM(2, 2), "LSTM"),
        (lambda s: s.LeakyParallel(2, 2), "input weights of its own"),
        (lambda s: s.LinearLeaky(0.9, 2, 2), "input weights of its own"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.filterwarnings("ignore:Inhibition is an unstable feature")
def test_snntorch_without_an_equal(build, why):
    form = dialects.read(build(pytest.importorskip("snntorch")))
    assert why in form.why and form.library == "snntorch"


def test_snntorch_neurons_that_drop_an_input_do():
    """One current that reaches the threshold, then another: the second is lost."""
    snn = pytest.importorskip("snntorch")
    current = torch.tensor([[[2.0]], [[0.5]]])
    dropping = [
        snn.Lapicque(R=1.0, C=1.0, reset_mechanism="zero"),
        snn.Synaptic(alpha=0.0, beta=0.5, reset_mechanism="zero"),
    ]
    for layer in dropping:
        assert run_snntorch(layer, current)[1].flatten().tolist() == [2.0, 0.0]
    keeping = snn.Leaky(beta=0.5, reset_mechanism="zero")
    assert run_snntorch(keeping, current)[1].flatten().tolist() == [2.0, 0.5]


def test_snntorch_reset_twice_above_twice_the_threshold():
    """Without delay and above 2θ it compares after a second subtraction, and misses a spike."""
    snn = pytest.importorskip("snntorch")
    for pulse, missed in ((1.9, 0), (2.5, 1)):
        current = torch.tensor([pulse, 0.0, 0.0]).reshape(3, 1, 1)
        spikes, after = run_snntorch(snn.Leaky(beta=0.9, reset_delay=False), current)
        soft = LIF(leak=0.9, reset="subtract_leak").trace(current)
        assert (soft.spikes - spikes).sum() == missed
        assert after[0] == pulse - 1


# --- SpikingJelly ---------------------------------------------------------------------------------


def run_spikingjelly(node, current):
    """Spikes of a fresh node of either step mode, and its potentials after the reset."""
    if node.step_mode == "m":
        node.store_v_seq = True
        return node(current), node.v_seq
    spikes, after = [], []
    for i in current:
        spikes.append(node(i))
        after.append(node.v)
    return torch.stack(spikes), torch.stack(after)


SPIKINGJELLY = {
    "IF": lambda j: j.IFNode(),
    "IF soft": lambda j: j.IFNode(v_reset=None, v_threshold=0.7),
    "IF shifted": lambda j: j.IFNode(v_reset=-0.5),
    "LIF": lambda j: j.LIFNode(tau=4.0, v_threshold=0.25),
    "LIF soft": lambda j: j.LIFNode(tau=4.0, v_threshold=0.25, v_reset=None),
    "LIF shifted": lambda j: j.LIFNode(tau=4.0, v_threshold=0.1, v_reset=-0.2),
    "LIF input": lambda j: j.LIFNode(tau=3.0, decay_input=False, v_reset=0.3),
    "LIF input soft": lambda j: j.LIFNode(tau=3.0, decay_input=False, v_reset=None),
    "PLIF": lambda j: j.ParametricLIFNode(init_tau=3.0, v_threshold=0.25),
    "PLIF input": lambda j: j.ParametricLIFNode(init_tau=3.0, decay_input=False, v_reset=None),
    "simple IF": lambda j: j.SimpleIFNode(v_reset=None),
    "simple LIF": lambda j: j.SimpleLIFNode(3.0, False),
    "CUBA": lambda j: j.CUBALIFNode(),
    "CUBA soft": lambda j: j.CUBALIFNode(v_reset=None),
}


@pytest.mark.parametrize("mode", ["s", "m"])
@pytest.mark.parametrize("name", SPIKINGJELLY)
def test_spikingjelly(name, mode):
    node = SPIKINGJELLY[name](pytest.importorskip("spikingjelly.activation_based.neuron"))
    node.step_mode = mode
    form = dialects.read(node)
    assert form.library == "spikingjelly" and not form.why and not form.recurrent
    assert form.sequence == (mode == "m") and form.fires_at_threshold
    if name.startswith("simple"):
        spikes, after = node(currents()) if mode == "m" else None, None
        if mode == "s":
            spikes = torch.stack([node(i) for i in currents()])
    else:
        spikes, after = run_spikingjelly(node, currents())
    check(form, currents(), spikes)
    if after is not None:
        x, u = normal_form(form, currents())
        kept = u - form.threshold * x if form.reset == "subtract_leak" else u * (1 - x)
        rest = 0.0 if node.v_reset is None else node.v_reset
        torch.testing.assert_close(kept + rest, after.double().detach(), rtol=0, atol=1e-6)


def test_spikingjelly_half_threshold_node_starts_half_way():
    neuron = pytest.importorskip("spikingjelly.activation_based.neuron")
    node = neuron.HalfThresholdIFNode(step_mode="m")
    form = dialects.read(node)
    assert not form.why and form.reset == "subtract_leak" and form.leak == 1
    started = currents()
    started[0] += 0.5
    check(form, started, node(currents()))


@pytest.mark.parametrize(
    ("build", "why"),
    [
        (lambda j: j.KLIFNode(), "cuts it off below zero"),
        (lambda j: j.ComplementaryLIFNode(), "second state"),
        (lambda j: j.GatedLIFNode(4), "learned gates"),
        (lambda j: j.QIFNode(), "quadratic"),
        (lambda j: j.EIFNode(), "exponential"),
        (lambda j: j.IzhikevichNode(), "adapts"),
        (lambda j: j.PSN(4), "learned matrix over time"),
        (lambda j: j.SlidingPSN(4), "learned kernel over time"),
        (lambda j: j.TernaryIFNode(), "negative spikes"),
        (lambda j: j.OTTTLIFNode(), "does not go back through time"),
        (lambda j: j.DSRIFNode(), "weighted rate"),
        (lambda j: j.ILIFNode(), "several spikes"),
        (lambda j: j.CUBALIFNode(v_reset=0.1), "leaks towards 0"),
        (lambda j: j.SimpleIFNode(v_reset=0.1), "starts at 0"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_spikingjelly_without_an_equal(build, why):
    form = dialects.read(build(pytest.importorskip("spikingjelly.activation_based.neuron")))
    assert why in form.why and form.library == "spikingjelly"


def test_spikingjelly_readouts_and_smooth_surrogates():
    neuron = pytest.importorskip("spikingjelly.activation_based.neuron")
    assert dialects.read(neuron.NonSpikingLIFNode()) is None
    node = neuron.LIFNode()
    node.surrogate_function.set_spiking_mode(False)
    try:
        assert "spiking=False" in dialects.read(node).why
    finally:
        node.surrogate_function.set_spiking_mode(True)  # the default object is shared


def test_a_subclass_of_a_users_own_is_read_like_its_base():
    neuron = pytest.importorskip("spikingjelly.activation_based.neuron")

    class Mine(neuron.LIFNode):
        pass

    assert dialects.read(Mine(tau=4.0)).leak == 0.75


# --- Norse ----------------------------------------------------------------------------------------


def run_norse(module, current, sequence):
    if sequence:
        return module(current)[0]
    state, spikes = None, []
    for i in current:
        spike, state = module(i, state)
        spikes.append(spike)
    return torch.stack(spikes)


def shifted(parameters, **more):
    """Membrane from -0.4 to 0.1, time constant 4 ms."""
    values = {"v_leak": -0.4, "v_reset": -0.4, "v_th": 0.1, "tau_mem_inv": 250.0, **more}
    return parameters(**{name: torch.tensor(value) for name, value in values.items()})


NORSE = {
    "LIFBoxCell": lambda n: n.LIFBoxCell(shifted(n.LIFBoxParameters)),
    "LIFBoxCell soft": lambda n: n.LIFBoxCell(
        n.LIFBoxParameters(v_th=torch.tensor(0.1), reset_method=n.reset_subtract)
    ),
    "LIFCell": lambda n: n.LIFCell(shifted(n.LIFParameters)),
    "LIF": lambda n: n.LIF(shifted(n.LIFParameters, tau_syn_inv=600.0)),
    "LIF dt": lambda n: n.LIF(shifted(n.LIFParameters), dt=0.0005),
    "IAFCell": lambda n: n.IAFCell(n.IAFParameters(v_reset=torch.tensor(-0.5))),
    "IAF": lambda n: n.IAF(n.IAFParameters(v_reset=torch.tensor(0.25))),
}


@pytest.mark.parametrize("name", NORSE)
def test_norse(name):
    module = NORSE[name](pytest.importorskip("norse.torch"))
    form = dialects.read(module)
    assert form.library == "norse" and not form.why and form.delay == 0
    assert not form.recurrent and not form.fires_at_threshold
    assert form.sequence == ("Cell" not in name)
    check(form, currents(), run_norse(module, currents(), form.sequence))


@pytest.mark.parametrize("kind", ["LIFRecurrentCell", "LIFRecurrent"])
def test_norse_recurrent(kind):
    """With an input weight of one and no recurrent weight it is the feed-forward neuron."""
    norse = pytest.importorskip("norse.torch")
    module = getattr(norse, kind)(
        NEURONS,
        NEURONS,
        shifted(norse.LIFParameters),
        input_weights=torch.eye(NEURONS, dtype=torch.float64),
        recurrent_weights=torch.zeros(NEURONS, NEURONS, dtype=torch.float64),
    )
    form = dialects.read(module)
    assert form.recurrent and "recurrent weights of its own" in form.why
    assert form.sequence == (kind == "LIFRecurrent")
    check(form, currents(), run_norse(module, currents(), form.sequence))


@pytest.mark.parametrize(
    ("build", "why"),
    [
        (lambda n: n.LIFCell(shifted(n.LIFParameters, v_reset=-0.5)), "not the resting potential"),
        (
            lambda n: n.LIFBoxCell(
                shifted(n.LIFBoxParameters)._replace(reset_method=n.reset_subtract)
            ),
            "subtracts v_th, not v_th - v_leak",
        ),
        (lambda n: n.LIFCell(dt=0.02), "longer than a time constant"),
        (lambda n: n.LIFRefracCell(), "silent for some steps"),
        (lambda n: n.LIFAdEx(), "adapts"),
        (lambda n: n.LIFExCell(), "exponential"),
        (lambda n: n.LSNN(), "threshold adapts"),
        (lambda n: n.IzhikevichCell(n.tonic_spiking), "quadratic"),
        (lambda n: n.CobaLIFCell(2, 2), "conductances"),
        (lambda n: n.LIFMCRecurrentCell(2, 2), "compartments"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_norse_without_an_equal(build, why):
    form = dialects.read(build(pytest.importorskip("norse.torch")))
    assert why in form.why and form.library == "norse"


def test_norse_readouts_containers_and_encoders_do_not_spike():
    norse = pytest.importorskip("norse.torch")
    for module in (
        norse.LI(),
        norse.LICell(),
        norse.LIBoxCell(),
        norse.SequentialState(norse.LIF()),
        norse.PoissonEncoder(3),
        norse.ConstantCurrentLIFEncoder(3),
    ):
        assert dialects.read(module) is None


def test_norse_thresholds_below_rest_are_refused():
    norse = pytest.importorskip("norse.torch")
    with pytest.raises(ValueError, match="threshold of LIFCell must be >= 0"):
        dialects.read(norse.LIFCell(norse.LIFParameters(v_leak=torch.tensor(2.0))))


# --- u = θ ----------------------------------------------------------------------------------------


def test_at_the_threshold():
    """A current that puts the potential exactly on the threshold, in all four languages."""
    snn = pytest.importorskip("snntorch")
    neuron = pytest.importorskip("spikingjelly.activation_based.neuron")
    norse = pytest.importorskip("norse.torch")
    on = torch.ones(1, 1)
    node, box = neuron.IFNode(), norse.LIFBoxCell(norse.LIFBoxParameters(v_th=torch.tensor(0.5)))
    box.dt = torch.tensor(0.5) / box.p.tau_mem_inv
    spikes = {
        LIF(): LIF()(on.unsqueeze(0))[0],
        snn.Leaky(beta=0.5): snn.Leaky(beta=0.5)(on)[0],
        node: node(on),
        box: box(on)[0],
    }
    for module, spike in spikes.items():
        assert bool(spike) == dialects.read(module).fires_at_threshold, type(module)
    assert [bool(s) for s in spikes.values()] == [False, False, True, False]
