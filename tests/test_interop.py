"""Conversions against the foreign libraries themselves, in float32, over 1e5 neuron-steps each."""

import copy
import math
import subprocess
import sys

import pytest
import torch
from torch import nn

from snnlib import dialects
from snnlib.interop import _neuron
from snnlib.interop import norse as from_norse
from snnlib.interop import sinabs as from_sinabs
from snnlib.interop import snntorch as from_snntorch
from snnlib.interop import spikingjelly as from_spikingjelly
from snnlib.interop.tied import TiedLIF
from snnlib.neurons import LIF, CurrentLIF
from snnlib.surrogate import LIBRARY_NAMES, SHAPES, Surrogate, from_library

SHAPE = (25, 16, 256)
assert math.prod(SHAPE) >= 100_000
FAST = Surrogate("fast_sigmoid", dampening=0.8, sharpness=1.5)


def currents(seed=0, mean=0.3):
    generator = torch.Generator().manual_seed(seed)
    return mean + torch.randn(SHAPE, generator=generator)


# --- Running either kind --------------------------------------------------------------------------


def run_snntorch(layer, current):
    state, spikes, potentials = (), [], []
    for i in current:
        spike, *state = layer(i, *state)
        spikes.append(spike)
        potentials.append(state[-1])
    return torch.stack(spikes), torch.stack(potentials)


def run_spikingjelly(node, current):
    from spikingjelly.activation_based import functional

    functional.reset_net(node)
    node.store_v_seq = True
    spikes = node(current) if node.step_mode == "m" else torch.stack([node(i) for i in current])
    return spikes, node.v_seq


def run_norse(module, current):
    state, spikes, potentials = None, [], []
    for i in current:
        if dialects.read(module).sequence:
            (spike,), state = module(i.unsqueeze(0), state)
        else:
            spike, state = module(i, state)
        spikes.append(spike)
        potentials.append(state.v)
    return torch.stack(spikes), torch.stack(potentials)


RUN = {"snntorch": run_snntorch, "spikingjelly": run_spikingjelly, "norse": run_norse}


def after_reset(neuron, trace):
    """The potential after the reset of its own step."""
    u, x = trace.membrane, trace.spikes
    if neuron.reset == "none":
        return u
    # At leak 1 the two subtractions are one.
    return u * (1 - x) if neuron.reset == "zero" else u - neuron.threshold * x


def compare(foreign, ours, *, unit=1.0, rest=0.0, kept="after", mean=0.3):
    """Spikes equal, membranes to 1e-5, gradients of the current; returns both for parameters."""
    first, second = (currents(mean=mean).requires_grad_() for _ in range(2))
    theirs, v = RUN[dialects.read(foreign).library](foreign, first)
    trace = ours.trace(second)
    assert 0.05 < theirs.mean() < 0.8
    assert torch.equal(theirs, trace.spikes)
    u = trace.membrane if kept == "before" else after_reset(ours, trace)
    torch.testing.assert_close(v.expand_as(u), u * unit + rest, rtol=0, atol=1e-5)

    cotangent = currents(seed=1)
    one = (theirs * cotangent).sum()
    two = (trace.spikes * cotangent).sum()
    one.backward()
    two.backward()
    scale = first.grad.abs().mean()
    assert scale > 1e-3
    torch.testing.assert_close(first.grad, second.grad, rtol=1e-4, atol=1e-4 * float(scale))


def gradient_of(neuron, name):
    """dL/d(constant) of one of ours, from the gradient of its raw parameter."""
    raw = getattr(neuron, f"raw_{name}")
    slope = torch.sigmoid(raw)
    return raw.grad / (slope if name == "threshold" else slope * (1 - slope))


def close(one, two):
    torch.testing.assert_close(one.detach(), two.detach(), rtol=1e-3, atol=1e-3)


# --- Theirs as ours -------------------------------------------------------------------------------

SNNTORCH = {
    "Leaky": lambda s: s.Leaky(beta=0.9),
    "Leaky zero": lambda s: s.Leaky(
        beta=0.9, threshold=0.7, reset_mechanism="zero", spike_grad=s.surrogate.fast_sigmoid(4)
    ),
    "Leaky none": lambda s: s.Leaky(beta=0.5, reset_mechanism="none"),
    "Leaky many": lambda s: s.Leaky(
        beta=torch.linspace(-0.2, 1.2, SHAPE[-1]), threshold=torch.linspace(0.5, 1.5, SHAPE[-1])
    ),
    "Lapicque": lambda s: s.Lapicque(beta=0.6, threshold=0.5),
    "Synaptic": lambda s: s.Synaptic(alpha=0.4, beta=0.8, spike_grad=s.surrogate.sigmoid(3)),
    "Synaptic none": lambda s: s.Synaptic(alpha=0.4, beta=0.8, reset_mechanism="none"),
}


@pytest.mark.parametrize("name", SNNTORCH)
def test_from_snntorch(name):
    pytest.importorskip("snntorch.surrogate")
    layer = SNNTORCH[name](sys.modules["snntorch"])
    form, ours = dialects.read(layer), from_snntorch.to_snnlib(layer)
    assert isinstance(ours, CurrentLIF) == (form.synapse is not None)
    compare(layer, ours, unit=float(form.input_gain), kept="before")


@pytest.mark.parametrize("kind", ["Leaky", "Synaptic"])
def test_from_snntorch_without_reset_delay(kind):
    """There the reset to zero passes a gradient, and the potential shown is the one after it."""
    snn = pytest.importorskip("snntorch")
    more = {"alpha": 0.4} if kind == "Synaptic" else {}
    layer = getattr(snn, kind)(beta=0.9, reset_mechanism="zero", reset_delay=False, **more)
    ours = from_snntorch.to_snnlib(layer)
    assert not ours.detach_reset
    compare(layer, ours)


def test_from_snntorch_state_leaky():
    snn = pytest.importorskip("snntorch")
    layer = snn.StateLeaky(beta=0.9, channels=SHAPE[-1])
    ours = from_snntorch.to_snnlib(layer)
    spikes, potential = layer(currents())
    trace = ours.trace(currents())
    torch.testing.assert_close(potential, trace.membrane, rtol=0, atol=1e-5)
    assert torch.equal(spikes, trace.spikes)


def test_learned_constants_of_snntorch():
    snn = pytest.importorskip("snntorch")
    layer = snn.Synaptic(
        alpha=torch.tensor(0.4),
        beta=torch.linspace(0.2, 0.8, SHAPE[-1]),
        threshold=torch.tensor(0.9),
        learn_alpha=True,
        learn_beta=True,
        learn_threshold=True,
    )
    ours = from_snntorch.to_snnlib(layer)
    compare(layer, ours, kept="before")
    close(layer.alpha.grad, gradient_of(ours, "synapse_leak"))
    close(layer.beta.grad, gradient_of(ours, "leak"))
    close(layer.threshold.grad, gradient_of(ours, "threshold"))
    assert not list(from_snntorch.to_snnlib(layer, learn=False).parameters())
    state = snn.StateLeaky(beta=0.9, channels=2, learn_beta=True)
    assert from_snntorch.to_snnlib(state).learn_leak
    lapicque = snn.Lapicque(beta=0.6, learn_beta=True)  # not learned: no step uses it
    assert not list(from_snntorch.to_snnlib(lapicque).parameters())


SPIKINGJELLY = {
    "IF": lambda j: j.IFNode(),
    "IF soft": lambda j: j.IFNode(v_reset=None, v_threshold=0.75),
    "IF shifted": lambda j: j.IFNode(v_reset=-0.5, detach_reset=True),
    "LIF": lambda j: j.LIFNode(tau=4.0, v_threshold=0.25),
    "LIF soft": lambda j: j.LIFNode(tau=4.0, v_threshold=0.25, v_reset=None, detach_reset=True),
    "LIF shifted": lambda j: j.LIFNode(tau=4.0, v_threshold=0.1, v_reset=-0.2),
    "LIF input": lambda j: j.LIFNode(tau=3.0, decay_input=False, v_reset=0.3),
    "LIF input soft": lambda j: j.LIFNode(tau=3.0, decay_input=False, v_reset=None),
    "CUBA": lambda j: j.CUBALIFNode(),
    "CUBA soft": lambda j: j.CUBALIFNode(v_reset=None),
    "half": lambda j: j.HalfThresholdIFNode(),
}


@pytest.mark.parametrize("name", SPIKINGJELLY)
def test_from_spikingjelly(name):
    library = pytest.importorskip("spikingjelly.activation_based")
    from spikingjelly.activation_based import neuron, surrogate  # noqa: F401

    node = SPIKINGJELLY[name](library.neuron)
    if "input" in name:
        node.surrogate_function = library.surrogate.ATan(3.0)
    # One step at a call and all steps are two codes there: each is compared in some cases.
    node.step_mode = "s" if "soft" in name else "m"
    form, ours = dialects.read(node), from_spikingjelly.to_snnlib(node)
    compare(node, ours, unit=float(form.input_gain), rest=node.v_reset or 0.0)


def test_a_learned_leak_of_spikingjelly():
    neuron = pytest.importorskip("spikingjelly.activation_based.neuron")
    node = neuron.ParametricLIFNode(init_tau=3.0, decay_input=False, step_mode="m")
    ours = from_spikingjelly.to_snnlib(node)
    close(ours.raw_leak, -node.w)
    compare(node, ours)
    close(-node.w.grad, ours.raw_leak.grad)


@pytest.mark.parametrize("v_reset", [0.0, None, -0.2])
def test_a_leak_that_is_learned_together_with_the_gain(v_reset):
    """One number is both: its gradient goes two ways, and the potential stays in their unit."""
    neuron = pytest.importorskip("spikingjelly.activation_based.neuron")
    node = neuron.ParametricLIFNode(
        init_tau=3.0, v_threshold=0.25, v_reset=v_reset, step_mode="m", detach_reset=v_reset is None
    )
    ours = from_spikingjelly.to_snnlib(node)
    assert type(ours) is TiedLIF and dialects.read(ours).input_gain == pytest.approx(1 / 3)
    compare(node, ours, rest=v_reset or 0.0)
    assert abs(float(node.w.grad)) > 1
    close(-node.w.grad, ours.raw_leak.grad)
    back = from_spikingjelly.from_snnlib(ours)
    assert back.decay_input
    if not v_reset:
        close(back.w, node.w)
        compare(back, ours)
    compare(node, from_spikingjelly.to_snnlib(node, learn=False), unit=1 / 3, rest=v_reset or 0.0)
    with pytest.raises(ValueError, match="input_gain must not be given"):
        TiedLIF(input_gain=0.5)


SINABS = {
    "LIF": {"tau_mem": 8.0, "spike_threshold": 0.15},
    "LIF zero": {"tau_mem": 8.0, "spike_threshold": 0.15, "reset": True},
    "LIF input": {"tau_mem": 3.0, "norm_input": False, "spike_threshold": 0.9},
    "LIF synapse": {"tau_mem": 8.0, "tau_syn": 2.0, "spike_threshold": 0.2},
    "IAF": {"spike_threshold": 0.8},
}


@pytest.mark.parametrize("name", SINABS)
def test_from_sinabs(name):
    """Spikes, potentials after the reset and gradients of the current; [batch, T, ...] there."""
    layers = pytest.importorskip("sinabs.layers")
    activation = pytest.importorskip("sinabs.activation")
    settings = dict(SINABS[name])
    if settings.pop("reset", False):
        settings["reset_fn"] = activation.MembraneReset()
    kind = getattr(layers, name.partition(" ")[0])
    theirs = kind(spike_fn=activation.SingleSpike, record_states=True, **settings)
    ours = from_sinabs.to_snnlib(theirs)
    assert isinstance(ours, CurrentLIF) == ("synapse" in name)
    first, second = (currents().requires_grad_() for _ in range(2))
    spikes = theirs(first.transpose(0, 1)).transpose(0, 1)
    trace = ours.trace(second)
    assert 0.02 < float(spikes.detach().mean()) < 0.8
    assert torch.equal(spikes, trace.spikes)
    alpha = math.exp(-1 / settings.get("tau_mem", math.inf))
    normed = name.startswith("LIF") and settings.get("norm_input", True)
    unit = 1 - alpha if normed and "synapse" not in name else 1.0
    v = theirs.recordings["v_mem"].transpose(0, 1)
    torch.testing.assert_close(v, after_reset(ours, trace) * unit, rtol=0, atol=1e-5)
    cotangent = currents(seed=1)
    (spikes * cotangent).sum().backward()
    (trace.spikes * cotangent).sum().backward()
    scale = float(first.grad.abs().mean())
    assert scale > 1e-3
    torch.testing.assert_close(first.grad, second.grad, rtol=1e-4, atol=1e-4 * scale)


def test_neurons_of_sinabs_without_an_equal():
    layers = pytest.importorskip("sinabs.layers")
    activation = pytest.importorskip("sinabs.activation")
    single = {"tau_mem": 5.0, "spike_fn": activation.SingleSpike}
    for layer, message in (
        (layers.LIF(tau_mem=5.0), "several spikes in one step; give it spike_fn=SingleSpike"),
        (layers.LIF(min_v_mem=-1.0, **single), "min_v_mem cuts its potential off"),
        (layers.LIF(reset_fn=activation.MembraneReset(0.1), **single), "of every neuron"),
        (layers.LIF(reset_fn=activation.MembraneSubtract(0.5), **single), "another value"),
        (layers.LIFRecurrent(rec_connect=nn.Linear(3, 3), **single), "recurrent weights"),
        (layers.ExpLeak(tau_mem=5.0), "must be a spiking neuron of sinabs, got ExpLeak"),
        (LIF(), "must be a spiking neuron of sinabs, got LIF"),
        (layers.LIF(surrogate_grad_fn=activation.Heaviside(), **single), "none of the eight"),
    ):
        with pytest.raises(ValueError, match=message):
            from_sinabs.to_snnlib(layer)
    for function in (activation.Gaussian(sigma=0.3, grad_scale=0.7),
                     activation.SingleExponential(grad_width=0.3, grad_scale=0.7)):  # fmt: skip
        slope = function(GRID + 0.8, 0.8)
        ours = from_sinabs.surrogate_to_snnlib(function, 0.8)
        torch.testing.assert_close(ours.derivative(GRID), slope, rtol=1e-4, atol=1e-6)


def parameters(kind, **values):
    values = {"v_leak": -0.4, "v_reset": -0.4, "v_th": 0.1, "tau_mem_inv": 250.0, **values}
    return kind(**{k: torch.tensor(v) if isinstance(v, float) else v for k, v in values.items()})


NORSE = {
    "LIFBoxCell": lambda n: n.LIFBoxCell(parameters(n.LIFBoxParameters)),
    "LIFBoxCell soft": lambda n: n.LIFBoxCell(
        parameters(n.LIFBoxParameters, v_leak=0.0, reset_method=n.reset_subtract)
    ),
    "LIFBoxCell many": lambda n: n.LIFBoxCell(
        parameters(n.LIFBoxParameters, tau_mem_inv=torch.linspace(100, 500, SHAPE[-1]))
    ),
    "LIFCell": lambda n: n.LIFCell(parameters(n.LIFParameters, method="tanh", alpha=3.0)),
    "LIF": lambda n: n.LIF(parameters(n.LIFParameters, tau_syn_inv=600.0)),
    "IAFCell": lambda n: n.IAFCell(n.IAFParameters(v_reset=torch.tensor(-0.5))),
    "IAF": lambda n: n.IAF(n.IAFParameters(v_th=torch.tensor(0.75))),
}


@pytest.mark.parametrize("name", NORSE)
def test_from_norse(name):
    module = NORSE[name](pytest.importorskip("norse.torch"))
    form, ours = dialects.read(module), from_norse.to_snnlib(module)
    many = form.input_gain.numel() > 1
    assert isinstance(ours, CurrentLIF) == (form.synapse is not None or many)
    unit = 1.0 if isinstance(ours, CurrentLIF) else float(form.input_gain)
    rest = module.p.v_reset if "IAF" in name else module.p.v_leak
    compare(module, ours, unit=unit, rest=float(rest.detach()))


def test_learned_constants_of_norse():
    norse = pytest.importorskip("norse.torch")
    v_th, tau_syn_inv = (nn.Parameter(torch.tensor(value)) for value in (0.1, 600.0))
    module = norse.LIF(parameters(norse.LIFParameters, v_th=v_th, tau_syn_inv=tau_syn_inv))
    ours = from_norse.to_snnlib(module)
    compare(module, ours, rest=-0.4)
    close(v_th.grad, gradient_of(ours, "threshold"))
    close(tau_syn_inv.grad, -module.dt * gradient_of(ours, "synapse_leak"))
    box = norse.LIFBoxCell(parameters(norse.LIFBoxParameters, v_th=v_th))
    v_th.grad = None
    ours = from_norse.to_snnlib(box)
    compare(box, ours, unit=0.25, rest=-0.4)
    close(v_th.grad, gradient_of(ours, "threshold") / 0.25)


@pytest.mark.parametrize("name", ["tau_mem_inv", "v_leak", "v_reset"])
def test_constants_of_norse_that_cannot_be_learned_here(name):
    norse = pytest.importorskip("norse.torch")
    value = nn.Parameter(torch.tensor(250.0 if name == "tau_mem_inv" else -0.4))
    module = norse.LIFCell(parameters(norse.LIFParameters, **{name: value}))
    with pytest.raises(ValueError, match=f"LIFCell has no equal here: {name} requires a gradient"):
        from_norse.to_snnlib(module)
    assert not list(from_norse.to_snnlib(module, learn=False).parameters())


# --- Ours as theirs -------------------------------------------------------------------------------

OURS = {
    "snntorch": [
        LIF(leak=0.8, surrogate=Surrogate("triangular", 0.3, 2.0)),
        LIF(leak=0.8, reset="zero"),
        LIF(leak=0.8, reset="zero", detach_reset=False, surrogate=FAST),
        LIF(leak=0.8, reset="none", threshold=torch.linspace(0.5, 1.5, SHAPE[-1])),
        CurrentLIF(leak=0.8, synapse_leak=0.4, surrogate=FAST),
        CurrentLIF(leak=0.8, synapse_leak=0.4, input_gain=0.5, reset="zero", detach_reset=False),
    ],
    "spikingjelly": [
        LIF(leak=0.8, reset="zero", surrogate=Surrogate("gaussian", 0.3, 2.0)),
        LIF(leak=0.8, reset="subtract_leak", detach_reset=False),
        LIF(leak=1.0, reset="subtract"),
        LIF(leak=1.0, reset="zero", detach_reset=False, surrogate=FAST),
        CurrentLIF(leak=0.8, synapse_leak=0.4, reset="zero", surrogate=FAST),
        CurrentLIF(leak=0.8, synapse_leak=0.4, reset="subtract_leak", input_gain=0.5),
    ],
    "norse": [
        LIF(leak=0.75, reset="zero", detach_reset=False, surrogate=Surrogate("sigmoid", 0.25)),
        LIF(leak=0.75, reset="subtract_leak", detach_reset=False,
            surrogate=Surrogate("fast_sigmoid", 0.25, 0.125)),
        LIF(leak=1.0, reset="zero", detach_reset=False, surrogate=Surrogate("triangular", 0.3)),
        CurrentLIF(leak=0.75, synapse_leak=0.4, reset="zero", detach_reset=False, input_gain=0.5,
                   surrogate=Surrogate("triangular", 0.3, 0.5)),
    ],
}  # fmt: skip
BACK = {"snntorch": from_snntorch, "spikingjelly": from_spikingjelly, "norse": from_norse}
WAYS = [(library, index) for library, neurons in OURS.items() for index in range(len(neurons))]


@pytest.mark.parametrize(("library", "index"), WAYS)
def test_to_the_library_and_back(library, index):
    pytest.importorskip(library)
    ours = OURS[library][index]
    foreign = BACK[library].from_snnlib(ours)
    form = dialects.read(foreign)
    assert form.library == library and not form.why
    gain = float(dialects.read(ours).input_gain)
    unit = float(form.input_gain) / gain
    delayed = library == "snntorch" and getattr(foreign, "reset_delay", True)
    compare(foreign, ours, unit=unit, kept="before" if delayed else "after")
    back = BACK[library].to_snnlib(foreign)
    if gain == 1 and library != "norse":
        assert repr(back).replace("subtract_leak", "subtract") == repr(ours).replace(
            "subtract_leak", "subtract"
        )


def test_learned_constants_to_the_library_and_back():
    pytest.importorskip("snntorch")
    pytest.importorskip("spikingjelly")
    ours = LIF(leak=0.8, threshold=0.9, learn_leak=True, learn_threshold=True, reset="zero")
    layer = from_snntorch.from_snnlib(ours)
    compare(layer, ours, kept="before")
    close(layer.beta.grad, gradient_of(ours, "leak"))
    close(layer.threshold.grad, gradient_of(ours, "threshold"))

    ours = LIF(leak=0.8, learn_leak=True, reset="subtract_leak")
    node = from_spikingjelly.from_snnlib(ours)
    compare(node, ours)
    close(-node.w.grad, ours.raw_leak.grad)


REFUSED = [
    (from_snntorch, LIF(reset="subtract_leak"), "subtracts the threshold after the leak"),
    (from_snntorch, LIF(detach_reset=False), "build it with detach_reset=True"),
    (from_snntorch, CurrentLIF(reset="zero"), "build it with detach_reset=False"),
    (from_snntorch, CurrentLIF(delay=0.5), "delay=0.5 must be 0"),
    (from_snntorch, LIF(threshold_gradient="relative"), "argument of its surrogate is u/θ - 1"),
    (from_snntorch, LIF(initial=torch.ones(1)), "starts from an initial membrane"),
    (from_snntorch, nn.Linear(2, 2), "neuron must be a LIF or CurrentLIF, got Linear"),
    (from_spikingjelly, LIF(), 'the nearest is "subtract_leak"'),
    (from_spikingjelly, LIF(reset="none"), 'the nearest is "zero"'),
    (from_spikingjelly, LIF(leak=0.0, reset="zero"), "it needs tau > 1"),
    (from_spikingjelly, LIF(threshold=torch.ones(3), reset="zero"), "one threshold, one leak"),
    (from_spikingjelly, LIF(learn_threshold=True, reset="zero"), "threshold cannot be learned"),
    (from_norse, LIF(reset="zero"), "build the neuron with detach_reset=False"),
    (from_norse, LIF(detach_reset=False), 'use "zero" or "subtract_leak"'),
    (from_norse, LIF(leak=1.0, reset="subtract_leak", detach_reset=False), "IAFCell"),
    (from_norse, LIF(reset="zero", detach_reset=False), "has no equal in Norse; it has the fast"),
    (from_norse, LIF(reset="zero", detach_reset=False, learn_leak=True), "leak is learned"),
]


@pytest.mark.parametrize(("module", "neuron", "message"), REFUSED, ids=range(len(REFUSED)))
def test_what_the_library_lacks(module, neuron, message):
    pytest.importorskip(module.__name__.rpartition(".")[2])
    with pytest.raises(ValueError, match=message):
        module.from_snnlib(neuron)


def test_what_we_lack():
    snn = pytest.importorskip("snntorch")
    neuron = pytest.importorskip("spikingjelly.activation_based.neuron")
    norse = pytest.importorskip("norse.torch")
    cases = [
        (from_snntorch, snn.Alpha(alpha=0.9, beta=0.8), "Alpha has no equal here: its potential"),
        (from_snntorch, snn.Leaky(0.5, graded_spikes_factor=2.0), "spikes are 2 high"),
        (from_snntorch, nn.ReLU(), "must be a spiking neuron of snntorch, got ReLU"),
        (from_spikingjelly, neuron.KLIFNode(), "KLIFNode has no equal here"),
        (from_spikingjelly, LIF(), "must be a spiking neuron of spikingjelly, got LIF"),
        (from_norse, norse.LIFRefracCell(), "LIFRefracCell has no equal here: it is silent"),
        (from_norse, norse.LIFRecurrent(2, 2), "recurrent weights of its own"),
    ]
    for module, foreign, message in cases:
        with pytest.raises(ValueError, match=message):
            module.to_snnlib(foreign)


# --- u = θ ----------------------------------------------------------------------------------------


def on_the_threshold(leak, theta):
    """Round currents of which one in three puts a potential exactly on the threshold."""
    generator = torch.Generator().manual_seed(2)
    choices = torch.tensor([-0.5, 0.0, 0.25, 0.5, 0.75, 1.0]) * theta
    picks = torch.randint(len(choices), (12, 4, 64), generator=generator)
    return choices[picks]


@pytest.mark.parametrize("reset", ["zero", "subtract_leak"])
@pytest.mark.parametrize("leak", [1.0, 0.5])
def test_exact_at_the_threshold(leak, reset):
    """SpikingJelly spikes there, we do not; moved by one rounding, both do the same, both ways."""
    neuron = pytest.importorskip("spikingjelly.activation_based.neuron")
    v_reset = None if reset == "subtract_leak" else 0.0
    if leak == 1:
        node = neuron.IFNode(v_reset=v_reset, step_mode="m")
    else:
        node = neuron.LIFNode(tau=2.0, decay_input=False, v_reset=v_reset, step_mode="m")
    current = on_the_threshold(leak, 1.0)
    theirs = run_spikingjelly(node, current)[0]

    ours = from_spikingjelly.to_snnlib(node)
    met = ours.trace(current).membrane == 1
    first = met & (met.cumsum(0) == 1)
    assert met.any() and not torch.equal(ours(current), theirs)
    same = met.cumsum(0) == 0  # until the threshold is met
    assert torch.equal(ours(current)[same], theirs[same])
    assert theirs[first].all() and not ours(current)[first].any()

    exact = from_spikingjelly.to_snnlib(node, exact_at_threshold=True)
    assert exact.threshold == 1 - 2**-24
    assert torch.equal(exact(current), theirs)
    back = from_spikingjelly.from_snnlib(ours, exact_at_threshold=True)
    assert back.v_threshold == 1 + 2**-23
    assert torch.equal(run_spikingjelly(back, current)[0], ours(current))


def test_at_the_threshold_snntorch_and_norse_do_as_we_do():
    snn = pytest.importorskip("snntorch")
    norse = pytest.importorskip("norse.torch")
    current = on_the_threshold(0.5, 1.0)
    layer = snn.Leaky(beta=0.5)
    ours = from_snntorch.to_snnlib(layer)
    assert (ours.trace(current).membrane == 1).any()
    assert torch.equal(run_snntorch(layer, current)[0], ours(current))
    cell = norse.IAFCell()
    ours = from_norse.to_snnlib(cell)
    assert (ours.trace(current).membrane == 1).any()
    assert torch.equal(run_norse(cell, current)[0], ours(current))


# --- Surrogates -----------------------------------------------------------------------------------


def slope_of(function, v):
    v = v.clone().requires_grad_()
    function(v).sum().backward()
    return v.grad


GRID = torch.linspace(-2, 2, 401) + 1e-3


@pytest.mark.parametrize("name", LIBRARY_NAMES)
def test_named_surrogates_both_ways(name):
    """Library's surrogate -> ours -> the library's again, with the same setting."""
    library, _, short = name.partition(".")
    pytest.importorskip(library)
    value = 2.0 if name == "norse.super" else 3.0
    key = "slope" if name in ("snntorch.fast_sigmoid", "snntorch.sigmoid") else "alpha"
    form = from_library(name, **{key: value})
    if library == "norse":
        assert from_norse.surrogate_to_snnlib(short, value) == form
        method, alpha = from_norse.surrogate_from_snnlib(form)
        assert method == short and (alpha == pytest.approx(value) or short == "super")
        return
    if library == "snntorch":
        from snntorch import surrogate as theirs
    else:
        from spikingjelly.activation_based import surrogate as theirs
    function = getattr(theirs, short)(value)
    assert BACK[library].surrogate_to_snnlib(function) == form
    back = BACK[library].surrogate_from_snnlib(form)
    assert BACK[library].surrogate_to_snnlib(back) == form
    torch.testing.assert_close(slope_of(back, GRID), slope_of(function, GRID))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("library", ["snntorch", "spikingjelly"])
def test_every_shape_goes_to_the_library(library, shape):
    pytest.importorskip(library)
    surrogate = Surrogate(shape, dampening=0.7, sharpness=1.9, tail=3.0)
    function = BACK[library].surrogate_from_snnlib(surrogate)
    torch.testing.assert_close(slope_of(function, GRID), surrogate.derivative(GRID))
    assert BACK[library].surrogate_to_snnlib(function) == surrogate
    spikes = function(torch.tensor([-1.0, 0.0, 1.0])).tolist()
    assert spikes == [0, library == "spikingjelly", 1]


def test_surrogates_that_we_lack():
    theirs = pytest.importorskip("snntorch.surrogate")
    with pytest.raises(ValueError, match=r"snntorch\.triangular is none of the eight shapes"):
        from_snntorch.surrogate_to_snnlib(theirs.triangular())
    with pytest.raises(ValueError, match="cannot be read from it"):
        from_snntorch.surrogate_to_snnlib(lambda v: v)
    theirs = pytest.importorskip("spikingjelly.activation_based.surrogate")
    with pytest.raises(ValueError, match=r"spikingjelly\.S2NN is none of the eight shapes"):
        from_spikingjelly.surrogate_to_snnlib(theirs.S2NN())
    with pytest.raises(ValueError, match="cannot be read"):
        from_spikingjelly.surrogate_to_snnlib(torch.relu)
    with pytest.raises(ValueError, match="spiking=False"):
        from_spikingjelly.surrogate_to_snnlib(theirs.ATan(spiking=False))
    with pytest.raises(ValueError, match=r"norse\.circ is none of the eight shapes"):
        from_norse.surrogate_to_snnlib("circ")


def test_another_surrogate_in_place_of_one_that_we_lack():
    snn = pytest.importorskip("snntorch")
    norse = pytest.importorskip("norse.torch")
    neuron = pytest.importorskip("spikingjelly.activation_based.neuron")
    circ = norse.LIFBoxCell(norse.LIFBoxParameters(method="circ", tau_mem_inv=torch.tensor(500.0)))
    own = snn.Leaky(0.5, spike_grad=lambda v: (v > 0).float())
    sent = neuron.LIFNode(surrogate_function=lambda v: (v >= 0).to(v))
    for module, foreign in ((from_norse, circ), (from_snntorch, own), (from_spikingjelly, sent)):
        with pytest.raises(ValueError, match=r"surrogate|spike_grad|none of the eight"):
            module.to_snnlib(foreign)
        unit = float(dialects.read(foreign).input_gain)
        assert module.to_snnlib(foreign, surrogate=FAST).surrogate == _neuron.rescaled(FAST, unit)


def test_a_surrogate_in_another_unit_keeps_its_area():
    one = Surrogate("arctan", 0.5, 2.0)
    two = _neuron.rescaled(one, 0.25)
    assert two.dampening / two.sharpness == one.dampening / one.sharpness
    assert two.derivative(1.0) == pytest.approx(0.25 * one.derivative(0.25))


# --- Whole networks -------------------------------------------------------------------------------


def network(library):
    from spikingjelly.activation_based import layer, neuron

    torch.manual_seed(0)
    return nn.Sequential(
        nn.Sequential(layer.Linear(20, 64), neuron.LIFNode(v_threshold=0.2)),
        layer.Linear(64, 32),
        neuron.ParametricLIFNode(decay_input=False, v_threshold=0.3, v_reset=None),
        layer.Linear(32, 10),
    )


def test_a_whole_network_of_spikingjelly():
    pytest.importorskip("spikingjelly")
    from spikingjelly.activation_based import functional

    theirs = network("spikingjelly")
    with pytest.raises(ValueError, match=r'0\.1 takes single steps; set step_mode="m"'):
        from_spikingjelly.convert(theirs)
    functional.set_step_mode(theirs, "m")
    before = copy.deepcopy(theirs.state_dict())
    ours = from_spikingjelly.convert(theirs)
    assert [type(m).__name__ for m in (ours[0][1], ours[2])] == ["LIF", "LIF"]
    x = torch.randn(12, 8, 20, generator=torch.Generator().manual_seed(1))
    one, two = theirs(x), ours(x)
    torch.testing.assert_close(one, two, rtol=0, atol=1e-5)
    one.square().sum().backward()
    two.square().sum().backward()
    for index in ((0, 0), (1,), (3,)):
        first, second = theirs, ours
        for i in index:
            first, second = first[i], second[i]
        torch.testing.assert_close(first.weight, second.weight, rtol=0, atol=0)
        torch.testing.assert_close(first.weight.grad, second.weight.grad, rtol=1e-4, atol=1e-4)
    assert ours(x).equal(two), "a second call starts from rest again"
    assert all(torch.equal(v, theirs.state_dict()[k]) for k, v in before.items())


def test_convert_names_the_layer_without_an_equal():
    neuron = pytest.importorskip("spikingjelly.activation_based.neuron")
    bad = nn.Sequential(nn.Linear(2, 2), neuron.KLIFNode(step_mode="m"))
    with pytest.raises(ValueError, match="1: KLIFNode has no equal here"):
        from_spikingjelly.convert(bad)
    shared = neuron.IFNode(step_mode="m")
    ours = from_spikingjelly.convert(nn.Sequential(shared, nn.Linear(2, 2), shared))
    assert ours[0] is ours[2]
    assert isinstance(from_spikingjelly.convert(shared), LIF)


def stepped(network, x, state=False):
    """A network that takes one step at a call, over all."""
    out, kept = [], None
    for now in x:
        y = network(now, kept) if state else network(now)
        y, kept = y if state else (y, None)
        out.append(y[0] if isinstance(y, tuple) else y)
    return torch.stack(out)


def assert_same_network(theirs, ours, x, **how):
    """Spikes, and gradients of all weights under one cotangent."""
    one, two = stepped(theirs, x, **how), ours(x)
    assert torch.equal(one, two) and 0.02 < float(one.detach().mean()) < 0.9
    cotangent = torch.randn(one.shape, generator=torch.Generator().manual_seed(3)).to(one)
    (one * cotangent).sum().backward()
    (two * cotangent).sum().backward()
    found = dict(ours.named_parameters())
    for name, parameter in theirs.named_parameters():
        if parameter.dim() > 1:
            other = next(p for key, p in found.items() if key.replace(".layer", "") == name)
            scale = float(parameter.grad.abs().mean())
            assert scale > 0
            torch.testing.assert_close(other.grad, parameter.grad, rtol=1e-4, atol=1e-4 * scale)
    assert ours(x).equal(two), "a second call starts from rest again"


def test_a_whole_network_of_snntorch():
    snn = pytest.importorskip("snntorch")
    torch.manual_seed(0)
    shared = snn.Leaky(beta=0.7, threshold=0.4, init_hidden=True)
    theirs = nn.Sequential(
        nn.Conv2d(2, 6, 3), nn.MaxPool2d(2), shared,
        nn.Sequential(nn.Conv2d(6, 4, 3, padding=1), nn.AvgPool2d(2), nn.GroupNorm(2, 4)),
        snn.Synaptic(alpha=0.4, beta=0.8, threshold=0.6, init_hidden=True),
        nn.Flatten(), nn.Linear(16, 10, bias=False),
        snn.Leaky(beta=0.9, threshold=0.3, learn_beta=True, init_hidden=True, output=True),
    )  # fmt: skip
    x = torch.randn(12, 3, 2, 10, 10, generator=torch.Generator().manual_seed(1))
    ours = from_snntorch.convert(theirs)
    assert [type(m).__name__ for m in (ours[2], ours[4], ours[7])] == ["LIF", "CurrentLIF", "LIF"]
    assert ours[7].learn_leak and not from_snntorch.convert(theirs, learn=False)[7].learn_leak
    assert_same_network(theirs, ours, x)
    assert ours[0].weight is not theirs[0].weight


def test_a_whole_network_of_norse():
    norse = pytest.importorskip("norse.torch")
    torch.manual_seed(0)
    box = parameters(norse.LIFBoxParameters, v_leak=0.0, v_reset=0.0, v_th=0.15)
    current = parameters(norse.LIFParameters, v_leak=0.0, v_reset=0.0, v_th=0.2)
    theirs = norse.SequentialState(
        nn.Linear(20, 64), norse.LIFBoxCell(box), nn.Linear(64, 32), norse.LIFCell(current),
        nn.Linear(32, 10), norse.IAFCell(),
    ).double()  # fmt: skip
    x = torch.randn(12, 8, 20, generator=torch.Generator().manual_seed(1)).double()
    assert_same_network(theirs, from_norse.convert(theirs), x, state=True)
    lifted = nn.Sequential(norse.Lift(nn.Linear(20, 4)), norse.Lift(norse.LIFBoxCell(box)))
    ours = from_norse.convert(lifted)
    assert [type(m).__name__ for m in ours] == ["Linear", "LIF"]


def test_networks_without_an_equal_say_why():
    snn = pytest.importorskip("snntorch")
    norse = pytest.importorskip("norse.torch")

    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.lif1 = snn.Leaky(beta=0.5)

    with pytest.raises(ValueError, match=r"got Own, .* \(its neurons: lif1\): put the layers into"):
        from_snntorch.convert(Own())
    with pytest.raises(ValueError, match="1: Own holds neurons and steps them itself"):
        from_snntorch.convert(nn.Sequential(nn.Linear(2, 2), Own()))
    with pytest.raises(ValueError, match=r"0\.1: Alpha has no equal here"):
        alpha = snn.Alpha(alpha=0.9, beta=0.8, init_hidden=True)
        from_snntorch.convert(nn.Sequential(nn.Sequential(nn.Linear(2, 2), alpha)))
    normed = nn.Sequential(nn.BatchNorm1d(3), snn.Leaky(beta=0.5, init_hidden=True))
    with pytest.raises(ValueError, match="0: BatchNorm1d takes the statistics of one step"):
        from_snntorch.convert(normed)
    normed.eval()
    x = torch.randn(5, 4, 3)
    assert torch.equal(from_snntorch.convert(normed)(x), stepped(normed, x))
    with pytest.raises(ValueError, match=r"0: Flatten\(0\) mixes the samples"):
        from_snntorch.convert(nn.Sequential(nn.Flatten(0)))
    with pytest.raises(ValueError, match=r"1: .* no equal here: it is silent"):
        from_norse.convert(norse.SequentialState(nn.Linear(2, 2), norse.LIFRefracCell()))


# --- Without the library --------------------------------------------------------------------------


@pytest.mark.parametrize("library", ["snntorch", "spikingjelly", "norse"])
def test_a_missing_library_is_named(library, monkeypatch):
    class Missing:
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] == library:
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    for name in list(sys.modules):
        if name.partition(".")[0] == library:
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Missing(), *sys.meta_path])
    with pytest.raises(ImportError, match=f"{library} is not installed; pip install {library}"):
        BACK[library].from_snnlib(LIF(reset="zero"))


def test_reading_and_converting_to_snnlib_import_no_foreign_library():
    code = (
        "import sys, torch; from snnlib import dialects, interop, neurons; "
        "interop.snntorch, interop.spikingjelly, interop.norse, interop.sinabs, interop.tied; "
        "dialects.read(neurons.LIF()); dialects.read(torch.nn.ReLU()); "
        "print(sorted({'snntorch', 'spikingjelly', 'norse', 'sinabs', 'nir'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
