"""The suite of ordinary networks: all of them run, and what is read from their rows is right."""

import pytest
import torch

from snnlib import data, experiments, probe
from snnlib.dialects.running import run
from snnlib.experiments.ordinary import ORDINARY, ordinary
from snnlib.experiments.protocols.ordinary import (
    DEAD,
    FIXED_ON,
    HELD_OUT,
    LEARNING_RATES,
    METHODS,
    REMEDIED,
    RULE,
    SUITE,
    SYNAPTIC,
    TUNED,
)
from snnlib.experiments.remedy import CALL, apply_remedy_
from snnlib.experiments.suite import MARGIN, chosen, judged
from snnlib.experiments.task import EXAMPLES, activity, train
from snnlib.init import initialize_, recommended
from snnlib.neurons import LIF

LIBRARIES = {"snnTorch": "snntorch", "SpikingJelly": "spikingjelly", "Norse": "norse"}


def row(network, method, rate, seed, held_out, test, rates=(0.1,)):
    return {
        "network": network, "method": method, "learning_rate": rate, "seed": seed,
        "held_out_accuracy": [0.0, held_out], "test_accuracy": test, "initial_rates": [*rates],
    }  # fmt: skip


def table(gain):
    """A network on which a call gains so much, and one that it leaves alone."""
    rows = []
    for seed in range(5):
        noise = 0.004 * (seed - 2)
        for rate, better in ((3e-3, 0.0), (1e-2, 0.1)):
            rows += [
                row("dead", "untouched", rate, seed, 0.2 + better, 0.3 + better),
                row("dead", "recommended", rate, seed, 0.5 - better, 0.4 + gain + noise, [0.2]),
                row("fine", "untouched", rate, seed, 0.9, 0.9 - better + noise),
                row("fine", "recommended", rate, seed, 0.9, 0.9 - better + noise),
            ]
    return rows


def test_the_halves_cover_the_suite():
    assert sorted(FIXED_ON + HELD_OUT) == sorted(ORDINARY)
    assert len(HELD_OUT) >= 6 and len(set(DEAD) & set(HELD_OUT)) >= 2
    for protocol, names in ((SUITE, HELD_OUT), (TUNED, FIXED_ON)):
        calls = (len(METHODS) - 1) * len(names) + len({*names} & {*REMEDIED})
        calls -= len({*names} & {*SYNAPTIC})
        assert len(protocol.conditions) == calls * len(LEARNING_RATES)
    assert len(SUITE.sizes["desk"].seeds) == 5


def test_the_rule_is_the_one_that_was_fixed():
    """Another rule has seen the networks that are held out: build others before it is reported."""
    assert RULE == {
        "epsilon": recommended.EPSILON,
        "learns": recommended.LEARNS,
        "silent_layers": recommended.SILENT_LAYERS,
        "wide": recommended.WIDE,
        "rate": recommended.RATE,
        "name": recommended.NAME,
        "synaptic": recommended.SYNAPTIC,
    }


@pytest.mark.parametrize("name", ORDINARY)
def test_what_the_suite_says_of_a_network_is_what_a_diagnosis_finds(name):
    """Dead, and whether a call is named that changes weights."""
    pytest.importorskip(LIBRARIES.get(name.split()[0], "snnlib"))
    own = ORDINARY[name]
    x = data.load("digits", standardize=False).inputs[:EXAMPLES]
    batch = x if own.encoding == "none" else x.expand(own.steps, *x.shape)
    found = probe.diagnose(ordinary(name, seed=0), batch, networks=0)
    assert ("cannot learn" in found.verdict) is (name in DEAD)
    assert any(f.remedy.startswith(CALL) for f in found.findings) is (name in REMEDIED)


def test_the_learning_rate_is_chosen_by_held_out_samples_for_each_method():
    rates = {(r["network"], r["method"]): r["learning_rate"] for r in chosen(table(0.0))}
    assert rates == {
        ("dead", "untouched"): 1e-2,
        ("dead", "recommended"): 3e-3,
        ("fine", "untouched"): 3e-3,  # of equal ones the smaller
        ("fine", "recommended"): 3e-3,
    }
    assert len(chosen(table(0.0))) == len(table(0.0)) / 2


@pytest.mark.parametrize(("gain", "good"), [(0.1, True), (0.0, True), (-0.004, False)])
def test_a_call_is_judged_by_the_paired_interval(gain, good):
    found = {entry.network: entry for entry in judged(table(gain))}
    dead, fine = found["dead"], found["fine"]
    assert dead.difference.mean == pytest.approx(gain) and dead.not_worse is good
    assert dead.difference.interval[0] > -MARGIN or not good
    assert not dead.left and fine.left and fine.not_worse and fine.difference.mean == 0
    with pytest.raises(ValueError, match="rows must hold 'untouched' of 'dead'"):
        judged([r for r in table(gain) if r["method"] != "untouched"])


@pytest.mark.parametrize("name", ORDINARY)
def test_every_network_runs_and_gives_classes(name):
    pytest.importorskip(LIBRARIES.get(name.split()[0], "snnlib"))
    own, network = ORDINARY[name], ordinary(name, seed=0)
    x = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    batch = x if own.encoding == "none" else x.expand(own.steps, *x.shape)
    output = run(network, batch)
    output = output[0] if isinstance(output, tuple) else output
    assert output.shape == (own.steps, 3, 10)
    again = ordinary(name, seed=0)
    for one, two in zip(network.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, two)
    with pytest.raises(ValueError, match="name must be one of snnTorch convnet"):
        ordinary("theirs", seed=0)


def test_the_rate_of_a_layer_of_single_steps_is_its_mean_over_the_steps():
    """One number a layer, however often it is called; ours as before."""
    pytest.importorskip("snntorch")
    network = ordinary("snnTorch MLP, loop inside", seed=0)
    x = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    rates = activity(network, x)
    spikes, _ = network(x)
    assert len(rates) == 2 and rates[1] == pytest.approx(float(spikes.mean()))
    plain = torch.nn.Sequential(LIF(threshold=0.5))
    currents = torch.rand(4, 3, 6, generator=torch.Generator().manual_seed(2))
    assert activity(plain, currents) == [float((plain(currents) != 0).float().mean())]


@pytest.mark.parametrize("method", METHODS)
def test_a_run_of_the_suite_is_made_and_repeats(method):
    pytest.importorskip("spikingjelly")
    (own,) = [
        r
        for r in TUNED.runs("smoke")
        if r.labels
        == {"network": "SpikingJelly MLP, 6 layers", "method": method, "learning_rate": 1e-2}
    ]
    first, second = train(own.settings), train(own.settings)
    assert first == second and len(first["initial_rates"]) == 7
    assert (max(first["initial_rates"]) > 0) is (method != "untouched")


def test_stored_rows_pin_that_the_output_layer_was_drawn():
    """A protocol of before says nothing of the readout; its networks are drawn as they were."""
    settings = experiments.PROTOCOLS["fig8-digits"].runs("smoke")[0].settings
    assert "readout" not in settings["network"]["init"]
    named = [m for m in METHODS.values() if m is not None and m["method"] != "remedy"]
    assert len(named) == len(METHODS) - 2 and all("readout" in method for method in named)
    from snnlib.experiments.task import build, load
    from snnlib.networks import mlp

    samples = load(settings["data"], "train")
    built = build(settings["network"], samples, seed=3)
    generator = torch.Generator().manual_seed(3)
    sizes = [64, *[settings["network"]["width"]] * settings["network"]["depth"], 10]
    plain = mlp(sizes, init=None, threshold=1.0, leak=0.5, generator=generator)
    initialize_(plain, "micheli2024", readout="draw", generator=generator)
    for one, two in zip(built.parameters(), plain.parameters(), strict=True):
        assert torch.equal(one, two)


def test_a_remedy_is_executed_as_it_is_printed_and_random_numbers_are_left():
    network = ordinary("ours, 10 layers", seed=0)
    batch = torch.rand(4, 20, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    random = torch.get_rng_state()
    call = apply_remedy_(network, batch, seed=3)
    assert call == 'snnlib.init.initialize_(model, "micheli2024", example=batch)'
    assert torch.equal(random, torch.get_rng_state())
    again = ordinary("ours, 10 layers", seed=0)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        initialize_(again, "micheli2024", example=batch)
    for one, two in zip(network.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, two)
    with torch.no_grad():
        learned = torch.nn.Sequential(torch.nn.Linear(20, 400), LIF(threshold=0.3))
        learned[0].weight.mul_(2)
    before = learned[0].weight.clone()
    x = torch.randn(4, 20, 20, generator=torch.Generator().manual_seed(4))
    assert apply_remedy_(learned, x, seed=0) == ""
    assert torch.equal(learned[0].weight, before)
