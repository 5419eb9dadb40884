"""Networks as people build them, one of each kind: what a diagnosis and an initialization must say.

Each kind is tried on a model of our own, and on one that was collected elsewhere where its folder
`../shared/cases` lies beside the project. Nothing that a probe sees may change: parameters,
buffers, modes and torch's random numbers are compared bit for bit.
"""

import contextlib
import gc
import importlib.util
import math
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from snnlib import probe
from snnlib.dialects.running import resolve_time
from snnlib.init import initialize_

CASES = Path(__file__).resolve().parents[2] / "shared" / "cases"


def given(name: str, *args):
    """The model and batch that were collected under a name."""
    if not CASES.is_dir():
        pytest.skip("no collected models beside the project")
    path = next(CASES.glob(f"{name}*.py"))
    spec = importlib.util.spec_from_file_location(f"people_{name}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    with torch.random.fork_rng():
        return module.build(*args)


def kinds(own, name):
    """Our model and the collected one of a kind."""

    def made():
        with torch.random.fork_rng():
            torch.manual_seed(5)
            return own()

    return pytest.mark.parametrize(
        "build", [pytest.param(made, id="own"), pytest.param(lambda: given(name), id="given")]
    )


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@contextlib.contextmanager
def nothing_changes(model):
    """State, modes, gradients and random numbers are the same bits afterwards."""
    state = {key: value.clone() for key, value in model.state_dict().items()}
    buffers = dict(model.named_buffers())
    modes = [module.training for module in model.modules()]
    random = torch.get_rng_state()
    yield
    assert torch.equal(random, torch.get_rng_state())
    assert modes == [module.training for module in model.modules()]
    assert all(parameter.grad is None for parameter in model.parameters())
    for key, value in model.state_dict().items():
        assert torch.equal(value, state[key]) or bool(value.isnan().any()), key
    for key, value in model.named_buffers():
        assert value is buffers[key], key


def diagnosed(model, batch, **settings):
    with nothing_changes(model):
        return probe.diagnose(model, batch, **{"networks": 0} | settings)


def drawn(model, batch, method="micheli2024", **settings):
    return initialize_(model, method, example=batch, generator=seeded(1), **settings)


def rates(found):
    return {layer.name: float(layer.rate.mean()) for layer in found.layers}


def in_order(found):
    """Whether findings blame layers in the order of execution, causes before consequences."""
    names = [layer.name for layer in found.layers]
    blamed = [names.index(finding.layer) for finding in found.findings]
    return blamed[:1] == sorted(blamed)[:1]


# --- a deep convolutional network with pooled currents and thresholds of 0 ------------------------


def pooled():
    snn = pytest.importorskip("snntorch")

    class Pooled(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Conv2d(1, 9, 3), nn.Conv2d(9, 21, 1)
            self.fc = nn.Linear(21 * 4, 6)
            thresholds = (0.4, 0.3, 0.0)
            self.neurons = nn.ModuleList(snn.Leaky(beta=0.5, threshold=t) for t in thresholds)

        def forward(self, image):
            mems = [neuron.init_leaky() for neuron in self.neurons]
            total = 0.0
            for _ in range(7):
                x, mems[0] = self.neurons[0](self.one(image), mems[0])
                x, mems[1] = self.neurons[1](functional.max_pool2d(self.two(x), 7), mems[1])
                x, mems[2] = self.neurons[2](self.fc(x.flatten(1)), mems[2])
                total = total + x
            return total

    return Pooled(), torch.rand(6, 1, 16, 16, generator=seeded(2))


@kinds(pooled, "01")
def test_pooled_currents_and_thresholds_of_zero(build):
    model, batch = build()
    found = diagnosed(model, batch)
    zero = [layer.name for layer in found.layers if layer.threshold == 0]
    note = next(note for note in found.notes if "the threshold is 0" in note)
    assert zero and all(name in note for name in zero)
    assert "fires on any positive potential" in note
    pulled = [f.sentence for f in found.findings if f.kind == "positive drive"]
    assert pulled and all("max pooling between" in sentence for sentence in pulled)
    # A silent and a saturated layer are named where they begin.
    first = next(m for m in model.modules() if isinstance(m, nn.Conv2d))
    with torch.no_grad():
        kept = first.weight.clone(), first.bias.clone()
        first.weight.zero_(), first.bias.fill_(-1.0)
    silent = diagnosed(model, batch)
    assert rates(silent)[silent.findings[0].layer] == 0
    assert silent.findings[0].layer == next(n for n, rate in rates(silent).items() if rate == 0)
    with torch.no_grad():
        first.bias.fill_(3.0)
    full = diagnosed(model, batch)
    assert full.findings[0].layer == full.layers[0].name
    assert "saturated" in [finding.kind for finding in full.findings]
    with torch.no_grad():
        first.weight.copy_(kept[0]), first.bias.copy_(kept[1])
    report = drawn(model, batch)
    assert any("max pooling of its currents shifts their mean" in row.note for row in report)
    assert all(bool(torch.isfinite(p).all()) for p in model.parameters())
    assert all(0 < rate <= 0.9 for rate in rates(diagnosed(model, batch)).values())
    model, batch = build()  # and so without a method
    initialize_(model, example=batch, generator=seeded(1))
    assert all(0 < rate <= 0.9 for rate in rates(diagnosed(model, batch)).values())


# --- residual blocks with batch norm and learned leaks on sparse input ----------------------------


def residual():
    snn = pytest.importorskip("snntorch")

    class Unit(nn.Module):
        def __init__(self, inside, outside):
            super().__init__()
            self.conv1 = nn.Conv2d(inside, outside, 3, padding=1, bias=False)
            self.conv2 = nn.Conv2d(outside, outside, 3, padding=1, bias=False)
            self.norm1, self.norm2 = nn.BatchNorm2d(outside), nn.BatchNorm2d(outside)
            self.around = nn.Conv2d(inside, outside, 1, bias=False)
            self.lif1, self.lif2 = (snn.Leaky(beta=0.7, learn_beta=True) for _ in range(2))

        def forward(self, x, mem1, mem2):
            spikes, mem1 = self.lif1(self.norm1(self.conv1(x)), mem1)
            spikes, mem2 = self.lif2(self.norm2(self.conv2(spikes)) + self.around(x), mem2)
            return spikes, mem1, mem2

    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.unit, self.read = Unit(3, 24), nn.Conv2d(24, 3, 1)
            self.last = snn.Leaky(beta=0.7, learn_beta=True)

        def forward(self, x):
            mem1 = mem2 = mem = self.last.init_leaky()
            out = []
            for _ in range(4):
                spikes, mem1, mem2 = self.unit(x, mem1, mem2)
                spikes, mem = self.last(self.read(spikes), mem)
                out.append(spikes)
            return torch.stack(out)

    keep = torch.rand(5, 3, 12, 12, generator=seeded(3)) < 0.1
    return Residual(), torch.rand(5, 3, 12, 12, generator=seeded(4)) * keep


def held_graphs():
    gc.collect()
    tensors = (x for x in gc.get_objects() if type(x) is torch.Tensor)
    return sum(x.grad_fn is not None for x in tensors)


@kinds(residual, "02")
def test_residual_blocks_behind_batch_norm(build):
    model, batch = build()
    normed = [n for n, m in model.named_modules() if isinstance(m, nn.BatchNorm2d)]
    leaks = {n: p.clone() for n, p in model.named_parameters() if n.endswith("beta")}
    before = held_graphs()
    found = diagnosed(model, batch)
    # After a first call everything that is kept for later is there: nothing may grow.
    assert str(diagnosed(model, batch)) == str(found)
    assert held_graphs() == before
    note = next(note for note in found.notes if "the scale of the weights" in note)
    assert all(name in note for name in normed)
    behind = [layer for layer in found.layers[:-1]]
    assert all(layer.gain is None for layer in behind)
    assert any("a sum, a normalization between weights" in n or "a sum" in n for n in found.notes)
    joined = [layer.name for layer in found.layers[1:-1:2]]
    assert all(any(name in note for note in found.notes) for name in joined)
    assert in_order(found)
    running = {n: b.clone() for n, b in model.named_buffers() if "running" in n}
    report = drawn(model, batch)
    assert all(torch.equal(leaks[n], p) for n, p in model.named_parameters() if n in leaks)
    assert all(torch.equal(running[n], b) for n, b in model.named_buffers() if n in running)
    assert sum("takes its scale away" in row.note for row in report) == len(normed)
    shared = [row for row in report if "into the same layer: their variances add" in row.note]
    assert {row.drives for row in shared} == set(joined)


# --- parts that hold their own loops and reset themselves -----------------------------------------


def parts():
    snn = pytest.importorskip("snntorch")
    from snntorch import utils

    class Loop(nn.Sequential):
        def forward(self, steps):
            utils.reset(self)
            return torch.stack([super(Loop, self).forward(step) for step in steps])

    class Controller(nn.Module):
        def __init__(self):
            super().__init__()
            kind = {"beta": 0.85, "init_hidden": True}
            self.sense = Loop(snn.Leaky(**kind))
            self.think = Loop(
                nn.Linear(15, 50), snn.Leaky(**kind), nn.Linear(50, 24), snn.Leaky(**kind)
            )
            self.act = nn.Linear(24, 3)

        def forward(self, seen):
            currents = torch.cat([seen, -seen, seen.abs()], -1)
            spikes = self.think(self.sense(currents.expand(9, *currents.shape)))
            return self.act(spikes.mean(0))

    return Controller(), torch.randn(12, 5, generator=seeded(6))


@kinds(parts, "05")
def test_parts_with_loops_of_their_own(build):
    model, batch = build()
    assert resolve_time(model, batch) == "inside"
    found = diagnosed(model, batch)
    first = found.layers[0]
    assert first.gain is None and first.predicted_rate is None
    assert not any("is read as" in note for note in found.notes)
    readout = list(model.children())[-1]
    assert isinstance(readout, nn.Linear)
    before = readout.weight.clone()
    report = drawn(model, batch)
    assert first.name not in [row.drives for row in report]
    assert torch.equal(before, readout.weight)
    assert "drives no spiking layer" in report[-1].note and report[-1].gain is None
    for _ in range(2):  # two updates, as before probing
        model(batch).square().sum().backward()
    assert all(bool(torch.isfinite(p.grad).all()) for p in model.parameters() if p.grad is not None)


# --- a neuron of a user's own, of a library's base ------------------------------------------------


def adaptive_base():
    neuron = pytest.importorskip("spikingjelly.activation_based.neuron")

    class Trained(neuron.SimpleBaseNode):
        def __init__(self, tau, threshold):
            super().__init__(v_threshold=threshold)
            self.v_threshold = nn.Parameter(torch.tensor(threshold))
            self.register_buffer("tau", torch.tensor(tau))

        def neuronal_charge(self, x):
            self.v = self.v + (x - (self.v - self.v_reset)) / self.tau

        def neuronal_fire(self):
            return self.surrogate_function(self.v - self.v_threshold)

    layers = nn.Linear(30, 70), Trained(2.5, 0.4), nn.Linear(70, 60), Trained(2.5, 0.7)
    return nn.Sequential(*layers), torch.randn(8, 9, 30, generator=seeded(7))


@kinds(adaptive_base, "12")
def test_a_neuron_of_a_users_own(build):
    model, batch = build()
    found = diagnosed(model, batch)
    thresholds = [float(p) for n, p in model.named_parameters() if n.endswith("v_threshold")]
    assert [layer.threshold for layer in found.layers] == pytest.approx(thresholds)
    for layer in found.layers:
        assert math.isnan(layer.leak) and "is not known here" in layer.note
        assert torch.isnan(layer.variance).all()
        assert torch.isfinite(layer.rate).all() and torch.isfinite(layer.gradient_variance).all()
    assert any("A gradient reaches 1.v_threshold" in note for note in found.notes)
    # What it does is seen by running it: its currents are those of theory.
    measured, predicted = found.layers[0].rate.mean(), found.layers[0].predicted_rate.mean()
    assert float(measured) == pytest.approx(float(predicted), rel=0.3)
    report = drawn(model, batch)
    gain = 1 / float(model[1].tau)
    assert report[0].gain * report[0].second_moment == pytest.approx(1 / gain**2, rel=1e-3)
    assert (
        f"estimated from its responses: leak {1 - gain:.3g}, input gain {gain:.3g}"
        in report[0].note
    )
    assert all(rate > 0.01 for rate in rates(diagnosed(model, batch)).values())
    # The call that asks the network finds that it learns, also with an output that counts no spike.
    model, batch = build()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert initialize_(model, example=batch).said.startswith("Nothing needs to be done")
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


# --- attention of spikes --------------------------------------------------------------------------


def attention():
    neuron = pytest.importorskip("spikingjelly.activation_based.neuron")
    from spikingjelly.activation_based import functional as steps

    class Unit(nn.Module):
        def __init__(self, inside, outside):
            super().__init__()
            self.fc, self.norm = nn.Linear(inside, outside), nn.BatchNorm1d(outside)
            self.lif = neuron.LIFNode(tau=1.8)

        def forward(self, x):
            rows = self.norm(self.fc(x).flatten(0, -2))
            return self.lif(rows.reshape(*x.shape[:-1], -1))

    class Mixer(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.q, self.k, self.v, self.out = (Unit(width, width) for _ in range(4))
            self.mix = neuron.LIFNode(tau=1.8, v_threshold=0.3)

        def forward(self, x):
            both = self.q(x) @ self.k(x).mT @ self.v(x)
            return x + self.out(self.mix(0.02 * both))

    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.one, self.two = Unit(20, 40), Mixer(40), Mixer(40)
            self.head = nn.Linear(40, 5)

        def forward(self, x):
            return self.head(self.two(self.one(self.embed(x.expand(5, *x.shape)))).mean((0, 2)))

    model = Tokens()
    steps.set_step_mode(model, "m")
    return model, torch.randn(6, 9, 20, generator=seeded(8))


@kinds(attention, "14")
def test_attention_of_spikes(build):
    from spikingjelly.activation_based import functional as steps
    from spikingjelly.activation_based import neuron

    model, batch = build()
    spiking = {n: m for n, m in model.named_modules() if isinstance(m, neuron.LIFNode)}
    found = diagnosed(model, batch)
    assert [layer.name for layer in found.layers] == list(dict.fromkeys(rates(found)))
    assert set(rates(found)) == set(spiking)
    # By hand: the mean of what each layer sends.
    sent = {}
    hooks = [
        m.register_forward_hook(lambda m, a, y, n=n: sent.__setitem__(n, float(y.double().mean())))
        for n, m in spiking.items()
    ]
    state = torch.get_rng_state()
    with torch.no_grad():
        model(batch)
    torch.set_rng_state(state)
    for hook in hooks:
        hook.remove()
    steps.reset_net(model)
    assert rates(found) == pytest.approx(sent, abs=1e-9)
    mixing = [layer for layer in found.layers if layer.gain is None and layer.threshold < 1]
    assert len(mixing) == 2 and all(layer.predicted_rate is None for layer in mixing)
    note = next(note for note in found.notes if "products of spikes" in note)
    assert all(layer.name in note for layer in mixing)
    for layer in found.layers:  # what is predicted is near what is measured
        if layer.predicted_rate is not None:
            low, high = sorted((float(layer.rate.mean()), float(layer.predicted_rate.mean())))
            assert high < 1.5 * low
    before = {n: m.weight.clone() for n, m in model.named_modules() if isinstance(m, nn.Linear)}
    report = drawn(model, batch)
    summed = [row for row in report if row.fed_by.count(",") >= 1 and row.gain is not None]
    assert summed and all(row.second_moment > 0 for row in summed)
    for row in report:
        same = torch.equal(model.get_submodule(row.layer).weight, before[row.layer])
        assert same == (row.gain is None)
        assert row.gain is None or "takes its scale away" in row.note


# --- a time step longer than the time constants ---------------------------------------------------


def long_step():
    norse = pytest.importorskip("norse.torch")

    def cell(*shape):
        p = norse.LIFParameters(
            tau_syn_inv=nn.Parameter(torch.full(shape, 250.0)),
            tau_mem_inv=nn.Parameter(torch.full(shape, 100.0)),
            v_th=nn.Parameter(torch.full(shape, 0.3)),
            v_leak=nn.Parameter(torch.tensor(0.0)),
        )
        return norse.LIFCell(p=p, dt=0.006)

    layers = [nn.Conv2d(1, 12, 3), cell(12, 8, 8), nn.AvgPool2d(2), nn.Conv2d(12, 10, 3)]
    layers += [cell(10, 2, 2), nn.Flatten(), nn.Linear(40, 20), nn.ReLU(), nn.Linear(20, 4)]
    batch = torch.poisson(torch.full((9, 4, 1, 10, 10), 0.6), generator=seeded(9))
    return norse.SequentialState(*layers, norse.LICell()), batch


@kinds(long_step, "15")
def test_a_step_longer_than_the_time_constants(build):
    model, batch = build()
    found = diagnosed(model, batch)
    finding = found.findings[0]
    assert finding.kind == "unstable constant"
    assert "times the time constant" in finding.sentence and "of its synapse" in finding.sentence
    names = [layer.name for layer in found.layers]
    assert finding.layer == names[0]
    assert all(name in finding.sentence for name in names)
    assert all(layer.predicted_rate is None for layer in found.layers)
    assert any("its constants are unstable" in note for note in found.notes)
    assert any("one per neuron or channel; the table shows their mean" in n for n in found.notes)
    cells = [m for m in model.modules() if hasattr(m, "p") and hasattr(m.p, "v_th")]
    assert [layer.threshold for layer in found.layers] == pytest.approx(
        [float(cell.p.v_th.mean()) for cell in cells]
    )
    constants = [value.clone() for cell in cells for value in cell.p[:5]]
    report = drawn(model, batch)
    for value, cell in zip(constants, [v for c in cells for v in c.p[:5]], strict=True):
        assert torch.equal(value, cell)
    convolutions = [n for n, m in model.named_modules() if isinstance(m, nn.Conv2d)]
    assert [row.layer for row in report if row.gain is not None] == convolutions
    left = [row for row in report if row.gain is None]
    assert len(left) == 2 and all("drives no spiking layer" in row.note for row in left)


# --- recurrent cells with a state in the caller's hands -------------------------------------------


def recurrent_cells():
    norse = pytest.importorskip("norse.torch")
    model = norse.SequentialState(
        norse.LIFRecurrentCell(50, 40),
        norse.LSNNRecurrentCell(40, 40),
        nn.Linear(40, 8),
        norse.LICell(),
    )
    return model, (torch.rand(30, 6, 50, generator=seeded(10)) < 0.04).float()


@kinds(recurrent_cells, "16")
def test_recurrent_cells_with_a_readout(build):
    model, batch = build()
    found = diagnosed(model, batch)
    assert [layer.name for layer in found.layers] == ["0", "1"]
    for layer in found.layers:
        assert torch.isfinite(layer.rate).all() and torch.isfinite(layer.gradient_variance).all()
    weak = found.findings[0]
    assert (weak.kind, weak.layer) == ("weak input", "0") and "reach at most" in weak.sentence
    assert [f.layer for f in found.findings if f.kind == "dead"] == ["1"]
    before = model[2].weight.clone()
    report = drawn(model, batch, "rossbroich2022", rate=0.02)
    rows = {row.layer: row for row in report}
    for cell in "01":
        for kind in ("input_weights", "recurrent_weights"):
            assert rows[f"{cell}.{kind}"].gain > 0
    assert "its threshold adapts" in rows["1.input_weights"].note
    assert torch.equal(before, model[2].weight)
    assert "drives no spiking layer" in rows["2"].note
    after = diagnosed(model, batch)
    assert all(rate > 0.005 for rate in rates(after).values())
    assert any("A gradient reaches" in n and "0.recurrent_weights" in n for n in after.notes)
    assert after.layers[0].predicted_rate is not None
    for layer in after.layers:
        if layer.predicted_rate is None:
            assert any(f"for {layer.name}: 40 neurons (or" in note for note in after.notes)
            continue
        low, high = sorted((float(layer.rate.mean()), float(layer.predicted_rate.mean())))
        assert high < 1.5 * low


# --- neurons of no library ------------------------------------------------------------------------


def step(u):
    soft = torch.sigmoid(4 * u)
    return (u > 0).float() + soft - soft.detach()


class Mine(nn.Module):
    def __init__(self, theta=0.6):
        super().__init__()
        self.theta, self.beta, self.u = theta, nn.Parameter(torch.tensor(0.8)), None

    def reset(self):
        self.u = None

    def forward(self, x):
        self.u = x if self.u is None else self.beta * self.u + x
        fired = step(self.u - self.theta)
        self.u = self.u * (1 - fired.detach())
        return fired


class Bare(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(40, 30), nn.Linear(30, 5)

    def forward(self, x):
        u = v = 0.0
        for _ in range(6):
            u = 0.5 * u + self.a((x > torch.rand_like(x)).float())
            v = v + self.b(step(u - 0.7))
        return v


def mine():
    model = nn.Sequential(nn.Linear(40, 30), Mine(), nn.Linear(30, 5), Mine())
    return torch.compile(model, backend="eager"), torch.randn(7, 5, 40, generator=seeded(11))


@kinds(mine, "20")
def test_a_compiled_neuron_of_no_library(build):
    model, batch = build()
    kind = type(model._orig_mod[1]).__name__
    for call in (lambda: diagnosed(model, batch), lambda: drawn(model, batch)):
        with (
            nothing_changes(model),
            pytest.raises(ValueError, match=rf"{kind} \(at '1', '3'\)") as e,
        ):
            call()
        assert f"snnlib.dialects.declare({kind}, threshold=" in str(e.value)
        assert "trace(current)" in str(e.value)


@pytest.mark.parametrize("source", ["own", "given"])
def test_neurons_that_are_mere_functions(source):
    model, batch = given("20", "functions") if source == "given" else (Bare(), torch.rand(5, 40))
    for call in (lambda: diagnosed(model, batch), lambda: drawn(model, batch)):
        with nothing_changes(model), pytest.raises(ValueError, match="by mere functions") as error:
            call()
        assert "make each layer of neurons a module" in str(error.value)
        assert "or convert the network" in str(error.value)
