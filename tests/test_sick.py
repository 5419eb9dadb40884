"""Networks that people could not train: one call, or what a diagnosis says, lets them learn.

All of them are trained over three seeds by `python -m snnlib.experiments run rescued`; here one,
by an ordering.
"""

import pytest
import torch
from scipy import stats

from snnlib import data, probe, training
from snnlib.experiments.protocols.ordinary import RESCUED, RESCUES
from snnlib.experiments.remedy import CALL, heal_
from snnlib.experiments.sick import SICK, sick
from snnlib.experiments.task import train
from snnlib.init import initialize_
from snnlib.init.readout import SILENT

LIBRARY = {
    "pooled currents": "snntorch",
    "own neurons": "spikingjelly",
    "attention": "spikingjelly",
    "recurrent cells": "norse",
    "long step": "norse",
}
HEALED_BY_WEIGHTS = ("pooled currents", "own neurons", "recurrent cells")


def batch(name, count=48):
    x = data.load("digits", standardize=False).inputs[:count]
    own = SICK[name]
    return x if own.encoding == "none" else x.expand(own.steps, *x.shape)


def rates(network, example):
    found = probe.diagnose(network, example, networks=0, gradient=False)
    return {layer.name: float(layer.rate.mean()) for layer in found.layers}


@pytest.mark.parametrize("name", HEALED_BY_WEIGHTS)
def test_one_call_wakes_what_weights_can_wake(name):
    pytest.importorskip(LIBRARY[name])
    network, example = sick(name, seed=0), batch(name)
    before = rates(network, example)
    assert min(before.values()) < SILENT
    report = initialize_(network, example=example, generator=torch.Generator().manual_seed(1))
    assert "Drawn anew, it learns" in report.said
    after = rates(network, example)
    assert all(SILENT < rate < 0.9 for rate in after.values()), after


def test_where_weights_cannot_help_the_diagnosis_names_the_thresholds_that_do():
    """Products of spikes: the calls, executed as they are printed, wake what no weight drives."""
    pytest.importorskip("spikingjelly")
    network, example = sick("attention", seed=0), batch("attention")
    kept = {name: value.clone() for name, value in network.state_dict().items()}
    report = initialize_(network, example=example)
    assert "no scale of weights wakes 'one.mixed', 'two.mixed'" in report.said
    for name, value in network.state_dict().items():
        assert torch.equal(value, kept[name])
    quiet = rates(network, example)
    assert max(quiet["one.mixed"], quiet["two.mixed"]) < SILENT
    calls = heal_(network, example)
    assert all(".v_threshold = " in call for call in calls) and len(calls) >= 2
    after = rates(network, example)
    assert min(after.values()) > SILENT, after
    assert not [f for f in probe.diagnose(network, example, networks=0).findings
                if f.kind in ("weak input", "dead")]  # fmt: skip


@pytest.mark.parametrize("seed", range(2))
def test_a_layer_that_no_weights_drive_is_never_healed_by_drawing_weights(seed):
    """With few neurons that fire, too; redrawn behind norms the network learned less."""
    pytest.importorskip("spikingjelly")
    network, example = sick("attention", seed=seed), batch("attention", 96)
    calls = heal_(network, example)
    assert calls and not [call for call in calls if call.startswith(CALL)], calls


def test_a_step_longer_than_a_time_constant_gets_a_shorter_one():
    pytest.importorskip("norse")
    network, example = sick("long step", seed=0), batch("long step")
    calls = heal_(network, example)
    assert ".dt = " in calls[0] and not calls[0].startswith(CALL)
    kinds = {f.kind for f in probe.diagnose(network, example, networks=0).findings}
    assert "unstable constant" not in kinds


@pytest.mark.parametrize("name", SICK)
def test_a_run_of_every_network_is_made(name):
    pytest.importorskip(LIBRARY[name])
    runs = {r.labels["method"]: r for r in RESCUED.runs("smoke") if r.labels["network"] == name}
    assert set(runs) == set(RESCUES) and len(RESCUED.sizes["desk"].seeds) == 3
    found = train(runs["remedies"].settings)
    assert found["diverged"] == "" and max(found["initial_rates"]) > 0


def test_what_is_woken_trains_better():
    """An ordering with its error: sixty updates, paired over five draws of network and data."""
    pytest.importorskip(LIBRARY["own neurons"])
    samples, own = data.load("digits", standardize=False).take(640), SICK["own neurons"]
    settings = {"steps": own.steps, "loss": own.loss, "encoding": own.encoding}
    better = []
    for seed in range(5):
        found = {}
        for called in (False, True):
            network = sick("own neurons", seed=seed)
            if called:
                seeded = torch.Generator().manual_seed(seed)
                initialize_(network, example=batch("own neurons"), generator=seeded)
            training.fit(network, samples, epochs=3, batch_size=32, learning_rate=3e-3,
                         progress=False, seed=seed, **settings)  # fmt: skip
            found[called] = training.evaluate(network, samples, **settings).accuracy
        better.append(found[True] - found[False])
    # false alarms: 1 in 100 if nothing were gained
    assert stats.ttest_1samp(better, 0.0, alternative="greater").pvalue < 0.01, better
