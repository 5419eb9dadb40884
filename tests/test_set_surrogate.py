"""One surrogate derivative for all layers of a network, of any library."""

import importlib

import pytest
import torch
from torch import nn

from snnlib import dialects
from snnlib.interop import set_surrogate_
from snnlib.neurons import LIF
from snnlib.surrogate import Surrogate

WIDE = Surrogate("sigmoid", sharpness=0.3)


def neuron(library):
    if library == "snnlib":
        return LIF()
    if library == "snntorch":
        return pytest.importorskip("snntorch").Leaky(beta=0.5, init_hidden=True)
    if library == "spikingjelly":
        return pytest.importorskip("spikingjelly.activation_based.neuron").LIFNode()
    return pytest.importorskip("norse.torch").LIFBoxCell()


def slope(module, library, potential):
    """The derivative that a layer sends back at one potential, input gain apart."""
    current = torch.full((1, 1), potential, requires_grad=True)
    made = module(current[None] if library == "snnlib" else current)
    spikes = made[0] if isinstance(made, tuple) else made
    (gradient,) = torch.autograd.grad(spikes.sum(), current)
    return float(gradient)


@pytest.mark.parametrize("library", ["snnlib", "snntorch", "spikingjelly", "norse"])
def test_what_flows_back_is_that_surrogate(library):
    shape = Surrogate("sigmoid", dampening=0.075, sharpness=0.3)  # SpikingJelly ties both
    wanted = shape if library == "spikingjelly" else WIDE
    for current in (0.2, 1.7):
        network = nn.Sequential(nn.Linear(1, 1), neuron(library))
        assert set_surrogate_(network, wanted) == ["1"]
        form = dialects.read(network[1])
        gain, threshold = float(form.input_gain), float(form.threshold)
        u = torch.tensor(gain * current - threshold)
        expected = gain * float(wanted.derivative(u))
        assert slope(network[1], library, current) == pytest.approx(expected, rel=1e-4)


def test_all_layers_or_none():
    class Own(nn.Module):
        threshold = 1.0

        def forward(self, x):
            return (x > 1).float()

    network = nn.Sequential(LIF(), Own())
    dialects.declare(Own, threshold="threshold")
    try:
        with pytest.raises(ValueError, match="layer '1' is a Own, of which it is not known where"):
            set_surrogate_(network, WIDE)
    finally:
        dialects.undeclare(Own)
    assert network[0].surrogate != WIDE
    assert set_surrogate_(network, WIDE) == ["0"] and network[0].surrogate == WIDE
    with pytest.raises(ValueError, match="must hold a spiking layer, got Linear"):
        set_surrogate_(nn.Linear(2, 2), WIDE)
    with pytest.raises(ValueError, match="surrogate must be a Surrogate, got 'atan'"):
        set_surrogate_(network, "atan")


def test_constants_of_norse_stay():
    norse = pytest.importorskip("norse.torch")
    kinds = importlib.import_module("norse.torch.functional.lif_refrac")
    p = kinds.LIFRefracParameters(lif=norse.LIFParameters(v_th=torch.tensor(0.7)))
    network = norse.SequentialState(nn.Linear(2, 2), norse.LIFRefracCell(p=p))
    assert set_surrogate_(network, WIDE) == ["1"]
    assert float(network[1].p.lif.v_th) == pytest.approx(0.7)
    assert network[1].p.lif.method == "tanh"
    assert float(network[1].p.lif.alpha) == pytest.approx(0.6)
    before = network[1].p
    with pytest.raises(ValueError, match="has no equal in Norse"):
        set_surrogate_(network, Surrogate("rectangular", sharpness=3.0))
    assert network[1].p is before
