"""Credits of currents and gradients through deep stacks, against autograd, loops and networks."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from snnlib import meanfield, networks
from snnlib.meanfield import Passage, TwoInputs
from snnlib.neurons import LIF, lif
from snnlib.surrogate import Surrogate

RESETS = ("subtract", "subtract_leak", "zero", "none")
NEURON = {"leak": 0.7, "threshold": 0.8}
SURROGATE = Surrogate("arctan", 0.8, 0.6)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def potentials(reset, detach, steps=5, count=7):
    current = (1.5 * torch.randn(steps, count, generator=generator()).double()).requires_grad_()
    trace = lif(current, reset=reset, detach_reset=detach, surrogate=SURROGATE, **NEURON)
    settings = {"reset": reset, "detach_reset": detach, "surrogate": SURROGATE, **NEURON}
    return current, trace, meanfield.passage(trace.membrane.detach(), **settings)


@pytest.mark.parametrize("reset", RESETS)
@pytest.mark.parametrize("detach", [True, False])
def test_credits_are_the_derivatives_of_spikes(reset, detach):
    current, trace, neurons = potentials(reset, detach)
    credit = meanfield.credit(neurons)
    for t in range(5):
        (found,) = torch.autograd.grad(trace.spikes[t].sum(), current, retain_graph=True)
        assert torch.allclose(credit[:, t], found, atol=1e-12)


@pytest.mark.parametrize("reset", RESETS)
@pytest.mark.parametrize("detach", [True, False])
def test_moments_are_those_of_the_credits(reset, detach):
    _, _, neurons = potentials(reset, detach)
    other = Passage(neurons.slope.flip(1), neurons.keep.flip(1))
    above = torch.randn(5, 5, generator=generator(1)).double()
    mine, theirs = meanfield.credit(neurons), meanfield.credit(other)
    for pair, given in ((mine, None), (theirs, other)):
        expected = torch.einsum("stn,tu,vun->sv", mine, above, pair) / mine.shape[2]
        assert torch.allclose(meanfield.credited(above, neurons, given), expected, atol=1e-12)


@pytest.mark.parametrize("leak", [0.0, 0.7, 1.0])
def test_attached_credits_telescope_and_detached_ones_do_not(leak):
    threshold, steps = 0.8, 40
    membrane = torch.randn(steps, 50, generator=generator()).double()
    surrogate = Surrogate("triangular", min(leak, 0.9) / threshold or 1.0, 0.3)
    total = {}
    for detach in (True, False):
        neurons = meanfield.passage(
            membrane, leak=leak, threshold=threshold, detach_reset=detach, surrogate=surrogate
        )
        total[detach] = threshold * meanfield.credit(neurons).sum(1)
    left = torch.cat([torch.ones(1, 50).double(), neurons.keep]).cumprod(0)
    assert torch.allclose(total[False][0], 1 - left[-1] - (1 - leak) * left[:-1].sum(0))
    if leak:  # 0 <= θσ' <= β
        assert (total[False] <= leak + 1e-12).all()
    if leak == 1:
        assert total[True].max() > 10 * total[False].max()


def test_without_a_reset_both_ways_are_one():
    membrane = torch.randn(4, 9, generator=generator()).double()
    one, two = (
        meanfield.passage(membrane, reset="none", detach_reset=d, **NEURON) for d in (True, False)
    )
    assert torch.equal(one.keep, two.keep)


def through(reset="subtract", samples=65536, layers=3, gain=5.0, seed=0):
    moments = TwoInputs(np.ones((5, 5)), 0.5 * np.ones((5, 5)))
    return meanfield.two_inputs_through(
        moments,
        [gain / 4, *[gain] * (layers - 1)],
        reset=reset,
        samples=samples,
        generator=generator(seed),
        **NEURON,
    )


def test_detached_soft_reset_is_the_closed_form():
    stack = through(samples=2000)
    back = meanfield.way_back(stack, SURROGATE)
    gradient = TwoInputs(np.ones((5, 5)), np.ones((5, 5)))
    for layer in (2, 1, 0):
        slopes = SURROGATE.derivative(stack.membrane[layer] - NEURON["threshold"])
        pairs = [
            (slopes[:, a] @ slopes[:, b].T / 2000).numpy() for a, b in ((0, 0), (1, 1), (0, 1))
        ]
        moments = TwoInputs((pairs[0] + pairs[1]) / 2, (pairs[2] + pairs[2].T) / 2)
        below = meanfield.two_input_gradient(gradient, moments, leak=NEURON["leak"])
        assert abs(np.trace(below.own) / 5 / back.size[layer] - 1) < 1e-10
        assert abs(below.coherence / back.coherence[layer] - 1) < 1e-10
        gain = stack.gains[layer]
        gradient = TwoInputs(gain * below.own, gain * below.crossed)


@pytest.mark.parametrize(("reset", "detach"), [("subtract", False), ("zero", True)])
def test_networks_pass_back_what_is_predicted(reset, detach):
    """Standard error 1.5 %, limit 4.5 of them (3 in a million): finds 10 % with probability .99."""
    back = meanfield.way_back(through(reset), SURROGATE, detach_reset=detach)
    width, count, drawn = 400, 16, 40
    settings = {"reset": reset, "detach_reset": detach, "surrogate": SURROGATE, **NEURON}
    found = np.zeros((drawn, 2))
    for k in range(drawn):
        draw = generator(k)
        network = networks.mlp([width] * 4, encode=False, init=None, generator=draw, **settings)
        currents = []
        for module in network:
            if isinstance(module, LIF):
                module.register_forward_pre_hook(lambda _, args, to=currents: to.append(args[0]))
        for index, gain in enumerate((1.25, 5.0, 5.0), start=1):
            weight = network.get_submodule(f"linear{index}").weight
            torch.nn.init.normal_(weight, 0, math.sqrt(gain / width), generator=draw)
        common, own = (
            torch.randn(1, width, generator=draw),
            torch.randn(count, width, generator=draw),
        )
        inputs = (common + own) / (common + own).square().mean(1, keepdim=True).sqrt()
        top = torch.randn(width, generator=draw)
        top = (top / top.square().mean().sqrt()).expand(5, count, width)
        (gradient,) = torch.autograd.grad(
            network(inputs.expand(5, count, width)), currents[:1], top
        )
        flat = gradient.transpose(0, 1).flatten(1).double()
        gram = flat @ flat.T / (5 * width)
        size = float(gram.trace()) / count
        found[k] = size, (float(gram.sum()) / count - size) / (count - 1)
    size, crossed = found.mean(0)
    error = found[:, 0].std(ddof=1) / math.sqrt(drawn)
    assert error / size < 0.02
    assert abs(size - back.size[0]) < 4.5 * error
    assert abs(crossed / size - back.coherence[0]) < 0.03


def test_leak_and_steps_do_not_show_in_the_eigenvalues_but_in_the_trace():
    """The map A to B of one layer is triangular in time, moments of slopes on its diagonal."""
    sizes = []
    for detach in (True, False):
        _, _, neurons = potentials("subtract", detach, steps=3, count=400)
        columns = []
        for k in range(9):
            unit = torch.zeros(9).double()
            unit[k] = 1
            columns.append(meanfield.credited(unit.view(3, 3), neurons).flatten())
        found = torch.linalg.eigvals(torch.stack(columns, 1))
        assert float(found.imag.abs().max()) < 1e-6
        moments = (neurons.slope @ neurons.slope.T / 400).flatten()
        assert torch.allclose(found.real.sort()[0], moments.sort()[0], atol=1e-6)
        sizes.append(float(meanfield.credited(torch.ones(3, 3).double(), neurons).trace()))
    assert sizes[0] > 1.2 * sizes[1]


@pytest.mark.parametrize("detach", [True, False])
@pytest.mark.parametrize(("leak", "steps", "gain"), [(0.5, 4, 8.0), (1.0, 12, 3.5)])
def test_the_matched_surrogate_keeps_the_gradient(detach, leak, steps, gain):
    neuron = {"leak": leak, "reset": "subtract"}
    asked = {"gain": gain, "steps": steps, "depth": 6, "samples": 2048, "detach_reset": detach}
    sharpness = 0.4
    height = meanfield.matched_dampening("gaussian", 0.9, sharpness, **neuron, **asked)
    stack = meanfield.two_inputs_through(
        TwoInputs(np.ones((steps, steps)), np.zeros((steps, steps))),
        [1.0] + [gain] * 5,
        threshold=0.9,
        samples=20_000,
        generator=generator(5),
        **neuron,
    )
    fresh = Surrogate("gaussian", height, sharpness)
    growth = meanfield.way_back(stack, fresh, detach_reset=detach).growth
    assert abs(math.log(growth)) < 0.25  # of six layers, by other neurons
    if detach:
        found = meanfield.matched_sharpness("gaussian", 0.9, height, **neuron, **asked)
        assert abs(found / sharpness - 1) < 1e-6


def test_one_step_at_the_gain_of_eq10_is_the_closed_form():
    exact = meanfield.matched_sharpness("arctan", 0.8)
    gain = 1 / float(meanfield.firing_probability(0.8))
    simulated = meanfield.matched_sharpness("arctan", 0.8, gain=gain, samples=60_000, depth=4)
    assert abs(simulated / exact - 1) < 0.03


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: meanfield.matched_dampening("arctan", 1.0, depth=1), "depth must be"),
        (lambda: meanfield.matched_dampening("arctan", 1.0, gain=0.1, steps=2), "gain must keep"),
        (lambda: meanfield.matched_sharpness("arctan", 1.0, 1e-3, gain=8.0), "dampening must"),
        (lambda: meanfield.passage(torch.ones(2), leak=1.2, threshold=1.0), "leak must"),
        (lambda: meanfield.passage(torch.ones(2), leak=1, threshold=1, reset="x"), "reset must"),
        (lambda: meanfield.credit(Passage(torch.ones(2), torch.ones(3))), "one shape"),
        (lambda: meanfield.credited(torch.ones(3, 3), Passage(*torch.ones(2, 2, 4))), "above must"),
        (lambda: meanfield.way_back(through(samples=2), gains=[1.0]), "gains must be 3"),
        (lambda: meanfield.way_back(through(samples=2), above=np.ones(5)), "above must"),
        (lambda: through(samples=2, layers=1, gain=-1.0), "gain must be positive"),
    ],
)
def test_bad_input_is_named(call, says):
    with pytest.raises(ValueError, match=says):
        call()
