"""Twenty-layer networks of other libraries: dead by torch's default weights, alive after one call.

Each network has 20 layers of 1024 neurons (θ = 1, β = 0.5) and gets 32 inputs for 10 steps. After
`initialize_` every layer must fire at every step, at a rate inside a simultaneous band around what
theory says: the rate at infinite width (`meanfield.covariance_map`), plus or minus a multiple of
the spread over networks of this width (`meanfield.network_law`). The band holds
for all 200 rates of a network at once at the family-wise level 1e-6: Student's t with the degrees
of freedom of the drawn networks, Bonferroni over the rates. Planted errors that it catches: a gain
10 % too low (Eq. 10 is 4 % above the critical gain at this threshold) or 40 % too high, and an
input gain that is left out (a factor of 4).
"""

import functools

import numpy as np
import pytest
import torch
from scipy.stats import t as student
from torch import nn

from snnlib import init, probe
from snnlib.meanfield import LayerLaw, covariance_map, firing_probability, network_law
from snnlib.networks import mlp

DEPTH, WIDTH, BATCH, STEPS = 20, 1024, 32, 10
LEVEL, NETWORKS = 1e-6, 24


initialize_ = functools.partial(init.initialize_, readout="draw")  # no layer here is an output


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


BATCH_OF_DATA = torch.randn(BATCH, WIDTH, generator=seeded(0)).expand(STEPS, BATCH, WIDTH)


def snntorch_network() -> nn.Module:
    snn = pytest.importorskip("snntorch")
    layers = []
    for _ in range(DEPTH):
        layers += [nn.Linear(WIDTH, WIDTH), snn.Leaky(beta=0.5, init_hidden=True)]
    return nn.Sequential(*layers)


def spikingjelly_network() -> nn.Module:
    pytest.importorskip("spikingjelly")
    from spikingjelly.activation_based import functional, layer, neuron

    layers = []
    for _ in range(DEPTH):
        layers += [layer.Linear(WIDTH, WIDTH), neuron.LIFNode(tau=2.0)]
    network = nn.Sequential(*layers)
    functional.set_step_mode(network, "m")
    return network


def norse_network() -> nn.Module:
    norse = pytest.importorskip("norse.torch")
    neuron = norse.LIFBoxParameters(tau_mem_inv=torch.as_tensor(500.0))  # 0.5 per millisecond
    layers = []
    for _ in range(DEPTH):
        layers += [nn.Linear(WIDTH, WIDTH), norse.LIFBoxCell(neuron)]
    return norse.SequentialState(*layers)


def our_network() -> nn.Module:
    return mlp([WIDTH] * (DEPTH + 1), encode=False, init=None, bias=True)


# reset, and the share of the input that enters the potential
CASES = {
    "snntorch": (snntorch_network, "subtract", 1.0),
    "spikingjelly": (spikingjelly_network, "zero", 0.5),
    "norse": (norse_network, "zero", 0.5),
    "snnlib": (our_network, "subtract", 1.0),
}


@functools.cache
def band(reset: str) -> tuple[np.ndarray, np.ndarray]:
    """Rates [layer, step] at infinite width, and half the width of the band around them.

    Fewer samples than the batch has widen the spread and leave the mean as it is.
    """
    data = BATCH_OF_DATA[0, :4].double()
    gram = (data @ data.T / WIDTH / BATCH_OF_DATA[0].double().square().mean()).numpy()
    covariance = np.broadcast_to(gram[None, :, None, :], (STEPS, len(gram), STEPS, len(gram)))
    layer = LayerLaw(WIDTH, gain=1 / firing_probability(1.0), reset=reset)
    law = network_law(covariance, [layer] * DEPTH, repeats=NETWORKS, generator=seeded(7))
    expected, currents = [], np.ones((STEPS, STEPS))  # a constant input of E[x²] = 1
    for _ in range(DEPTH):
        step = covariance_map(
            currents, layer.gain, leak=0.5, threshold=1.0, reset=reset, generator=seeded(8)
        )
        expected.append(step.rate)
        currents = step.covariance
    quantile = student.isf(LEVEL / 2 / (DEPTH * STEPS), NETWORKS - 1) * (1 + 1 / NETWORKS) ** 0.5
    # The spread hardly changes from step to step.
    spread = np.sqrt(law.rate.var(0, ddof=1).mean(1, keepdims=True))
    return np.stack(expected), quantile * spread


@pytest.mark.parametrize("library", CASES)
def test_twenty_layers_are_dead_and_one_call_wakes_them(library):
    build, reset, share = CASES[library]
    with torch.random.fork_rng():
        torch.manual_seed(1)
        network = build()
    batch = BATCH_OF_DATA

    dead = probe.diagnose(network, batch, gradient=False, networks=0)
    finding = dead.findings[0]
    assert [f.kind for f in dead.findings] == ["dead"]
    silent = [layer.name for layer in dead.layers if not (layer.rate > 0).any()]
    assert finding.layer == silent[0] == dead.layers[DEPTH - len(silent)].name
    assert 17 <= len(silent) < DEPTH
    gain = share**2 / 3  # of U(-1/√n, 1/√n)
    assert dead.layers[5].gain == pytest.approx(gain, rel=0.01)
    assert (
        f"is below the critical gain 6.03 at threshold 1: activity dies by layer {silent[0]}"
        in (finding.sentence)
    )
    assert finding.remedy == 'snnlib.init.initialize_(model, "micheli2024", example=batch)'

    initialize_(network, "micheli2024", example=batch, generator=seeded(2))

    alive = probe.record(network, batch, gradient=False)
    assert not alive.unknown
    rates = alive.rate.numpy()
    assert rates.shape == (DEPTH, STEPS) and (rates > 0).all()
    expected, width = band(reset)
    worst = np.abs(rates - expected) / width
    assert (worst < 1).all(), (library, worst.max(), np.unravel_index(worst.argmax(), worst.shape))
