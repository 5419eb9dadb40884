"""The harness of the benchmarks: order, arithmetic, storage, tables, missing peers; no times."""

from __future__ import annotations

import ast
import contextlib
import itertools
import json
import statistics
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from benchmarks import __main__ as command
from benchmarks import agreement, harness, ours, peers, products, ratios, result, table
from benchmarks.cells import CELLS, chosen, feed_forward, memory, recurrent, tools
from benchmarks.cells import workload as work
from benchmarks.harness import Options, interleave
from benchmarks.result import Result
from snnlib import networks
from snnlib.neurons import LIF
from snnlib.surrogate import Surrogate

ROOT = Path(__file__).resolve().parent.parent


class FakeClock:
    """A clock that only moves when a variant says how long it took."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def variant(self, *seconds):
        taken = itertools.cycle(seconds)

        def run():
            self.now += next(taken)

        return run


# --- rounds and ratios ----------------------------------------------------------------------------


def test_rounds_are_counted_after_the_warm_up():
    clock = FakeClock()
    calls = {"slow": clock.variant(9.0, 9.0, 3.0), "fast": clock.variant(5.0, 7.0, 1.0)}
    found = interleave(calls, rounds=1, clock=clock, warm_up=2)
    assert found == {"slow": [3.0], "fast": [1.0]}


def test_every_round_runs_all_variants_in_an_order_of_its_own():
    ran = []
    calls = {name: lambda name=name: ran.append(name) for name in "abcd"}
    interleave(calls, rounds=20, clock=FakeClock(), warm_up=0)
    rounds = [ran[start : start + 4] for start in range(0, 80, 4)]
    assert all(sorted(order) == list("abcd") for order in rounds)
    assert len({tuple(order) for order in rounds}) > 10


def test_a_slow_phase_cancels_in_the_ratios():
    clock, phase = FakeClock(), iter(range(1, 100))
    factor = [0.0]

    def start_of_round():
        factor[0] = float(next(phase))

    def variant(seconds):
        def run():
            clock.now += seconds * factor[0]

        return run

    seconds = {"base": [], "twice": []}
    for _ in range(7):
        start_of_round()
        once = interleave(
            {"base": variant(1.0), "twice": variant(2.0)}, rounds=1, clock=clock, warm_up=0
        )
        for name, taken in once.items():
            seconds[name] += taken
    found = ratios.spread(ratios.ratios(seconds["twice"], seconds["base"]))
    assert found == ratios.Spread(2.0, 2.0, 2.0, 2.0, 2.0)
    assert ratios.spread(seconds["twice"]).most == 7 * ratios.spread(seconds["twice"]).least


def test_garbage_is_collected_between_rounds_only():
    import gc

    states = []
    interleave({"x": lambda: states.append(gc.isenabled())}, rounds=3, clock=FakeClock())
    assert states == [False] * 5
    assert gc.isenabled()


def test_the_median_of_ratios_is_not_the_ratio_of_medians():
    one, two = [1.0, 10.0, 3.0], [1.0, 2.0, 6.0]
    found = ratios.ratios(one, two)
    assert found == [1.0, 5.0, 0.5]
    assert ratios.spread(found).median == 1.0
    assert statistics.median(one) / statistics.median(two) == 1.5


def test_spread_of_one_number_and_of_none():
    assert ratios.spread([2.0]) == ratios.Spread(2.0, 2.0, 2.0, 2.0, 2.0)
    with pytest.raises(ValueError, match="at least one number"):
        ratios.spread([])


def test_slope_has_the_error_of_least_squares():
    import numpy as np

    rng = np.random.default_rng(0)
    sizes = np.array([1, 2, 5, 10, 20, 50, 100, 200])
    seconds = 0.01 * sizes**0.9 * np.exp(0.1 * rng.standard_normal(8))
    found = ratios.slope(sizes.tolist(), seconds.tolist())
    weights, covariance = np.polyfit(np.log(sizes), np.log(seconds), 1, cov=True)
    assert found.value == pytest.approx(weights[0])
    assert found.error == pytest.approx(covariance[0, 0] ** 0.5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: interleave({}, rounds=1, clock=FakeClock()), "variants must name at least one"),
        (lambda: interleave({"x": int}, rounds=0, clock=FakeClock()), "rounds must be >= 1"),
        (lambda: ratios.ratios([1.0], [1.0, 2.0]), "same rounds, got 1 and 2"),
        (lambda: ratios.ratios([1.0], [0.0]), "base must take time"),
        (lambda: ratios.slope([1, 2], [1, 2]), "three points"),
        (lambda: ratios.slope([1, 2, 3], [1, 0, 1]), "must be positive"),
        (lambda: Options(rounds=6), "rounds must be at least 7, got 6"),
        (lambda: Options(threads=0), "threads must be in 1..*got 0"),
        (lambda: Options(threads=10**6), "threads must be in 1.."),
        (lambda: Options(device="tpu"), "got 'tpu'"),
        (lambda: chosen(["nothing"]), "'nothing' matches none"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_named():
    with pytest.raises(ValueError, match="torch finds no GPU"):
        Options(device="cuda")


# --- storage and tables ---------------------------------------------------------------------------


def example(**changes):
    found = Result(
        "mlp-t3",
        "a title",
        "speed",
        about={"width": 3, "rate": 0.0712345678},
        bases=["products", "products by oneDNN"],
        seconds={
            "products": [1.0, 1.0, 2.0],
            "products by oneDNN": [0.5, 0.5, 1.0],
            "snnlib": [1.1, 1.2, 2.6],
            "SpikingJelly": [2.2, 2.4, 5.2],
            "Norse": [3.3, 3.6, 7.8],
        },
        agreement={"SpikingJelly": {"spikes": 0.0, "gradient": 2.5e-7, "gradient64": 1e-16}},
        skipped={"snnTorch": "snntorch is not installed"},
        provenance={"device": "cpu", "threads": 1, "commit": "c" * 40, "date": "2026-11-30"},
    )
    for name, value in changes.items():
        setattr(found, name, value)
    return found


def test_results_round_trip(tmp_path):
    made = example()
    path = result.write(made, tmp_path)
    assert path.name == "mlp-t3.cpu-1.json"
    assert list(tmp_path.iterdir()) == [path]
    found = result.read(path)
    assert found.about["rate"] == 0.071235
    found.about["rate"] = made.about["rate"]
    assert found == made


def test_files_are_apart_by_threads_device_and_label(tmp_path):
    for provenance in (
        {"device": "cpu", "threads": 1},
        {"device": "cpu", "threads": 2},
        {"device": "cuda", "threads": 1},
        {"device": "cpu", "threads": 1, "label": "slow"},
    ):
        result.write(example(provenance=provenance), tmp_path)
    result.write(example(cell="cnn"), tmp_path)
    found = result.read_all(tmp_path, ["mlp-t3", "cnn"])
    assert [one.cell for one in found] == ["mlp-t3"] * 4 + ["cnn"]


@pytest.mark.parametrize("content", ["", "[]", '{"cell": 1}', '{"cell": "x", "more": 1}'])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "x.json"
    path.write_text(content)
    with pytest.raises(ValueError, match="is no stored benchmark"):
        result.read(path)


def test_speed_table():
    found = table.columns(example())
    assert found["/ products"] == ["1.00", "0.50", "1.20", "2.40", "3.60"]
    assert found["/ products by oneDNN"] == ["2.00", "1.00", "2.40", "4.80", "7.20"]
    assert found["/ snnlib"][3:] == ["2.00", "3.00"]
    assert found["range"][2] == "1.10-1.30"
    assert found["gradients differ"] == ["", "", "", "2.5e-07", ""]
    assert found["spikes differ"][3] == "0"
    text = table.text(example())
    assert "SpikingJelly, the fastest of the other libraries, takes 2.00 times" in text
    assert "without snnTorch: snntorch is not installed" in text
    name, ratio = table.best_peer(example(), among=["Norse"])
    assert name == "Norse" and ratio == pytest.approx((3.0,) * 5)
    assert table.best_peer(example(seconds={"snnlib": [1.0]})) is None


def test_growth_table():
    rounds = {"products": [[1.0] * 3, [2.0] * 3, [4.0] * 3], "snnlib": [[1.0], [4.0], [16.0]]}
    rounds["snnlib"] = [row * 3 for row in rounds["snnlib"]]
    made = example(kind="growth", sizes=[1, 2, 4], seconds=rounds, bases=["products"])
    found = table.columns(made)
    assert found["exponent"] == ["1.00", "2.00"]
    assert found["/ products there"] == ["1.00", "4.00"]


def test_memory_table():
    taken = {"snnlib": {"held": [8.0, 8.2, 8.1], "peak": [9.0] * 3}}
    found = table.columns(example(kind="memory", seconds=taken))
    assert found["held"] == ["8.10"] and found["range, held"] == ["8.00-8.20"]
    assert "range, as it is" not in found


def test_skipped_cells_say_why():
    made = Result("memory", "memory", "skipped", skipped={"": "this system tells no sizes"})
    assert table.columns(made) == {}
    assert "skipped: this system tells no sizes" in table.text(made)
    with pytest.raises(ValueError, match="kind must be one of speed"):
        table.columns(example(kind="other"))


# --- products, peers, agreement -------------------------------------------------------------------


def small(steps=4, batch=5, sizes=(7, 9, 6)):
    network = networks.mlp(
        list(sizes), encode=False, generator=torch.Generator().manual_seed(0), bias=True
    )
    current = work.spikes((steps, batch, sizes[0]), 0.5)
    work.calibrate_(network, current, 0.3)
    return network, current


def test_calibration_meets_the_rate():
    network, current = small(20, 50, (30, 40, 40))
    assert work.mean_rate(network, current) == pytest.approx(0.3, abs=0.01)


@pytest.mark.skipif(bool(products.onednn_missing()), reason=products.onednn_missing())
def test_products_by_onednn_are_those_of_the_layer():
    linear = nn.Linear(7, 5)
    x = torch.randn(3, 4, 7, requires_grad=True)
    cotangent = torch.randn(3, 4, 5)
    leaves = (x, *linear.parameters())
    one, two = (
        torch.autograd.grad(layer(x), leaves, cotangent)
        for layer in (linear, products.OneDNNLinear(linear))
    )
    torch.testing.assert_close(one, two)
    torch.testing.assert_close(linear(x), products.OneDNNLinear(linear)(x))


@pytest.mark.parametrize("broken", ["missing", "wrong", "refuses"])
def test_a_product_that_is_not_there_or_wrong_is_not_used(monkeypatch, broken):
    def wrong(x, weight, *rest):
        return x @ weight.t() + 1

    def refuses(*rest):
        raise RuntimeError("no such kernel\nmore")

    fake = {"missing": {}, "wrong": {"_linear_pointwise": wrong}}
    fake["refuses"] = {"_linear_pointwise": refuses}
    monkeypatch.setattr(torch.ops, "mkldnn", SimpleNamespace(**fake[broken]))
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    products.onednn_missing.cache_clear()
    try:
        said = products.onednn_missing()
    finally:
        products.onednn_missing.cache_clear()
    assert {"missing": "has no", "wrong": "wrong numbers", "refuses": "no such kernel"}[
        broken
    ] in said and "\n" not in said


def test_recurrent_products_are_the_gradient_of_a_product():
    current = torch.randn(3, 4, 5, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(5, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda x, w: products.RecurrentProducts.apply(x, w, "mkl"), (current, weight)
    )


def test_chain_has_the_layers_products_and_keeps_the_size_of_values():
    network = networks.mlp([64] * 41, encode=False, generator=torch.Generator().manual_seed(0))
    before = [p.clone() for p in network.parameters()]
    chained = products.chain(network)
    assert [type(layer) for layer in chained if not isinstance(layer, nn.Flatten)] == (
        [nn.Linear] * 40
    )
    out = chained(torch.randn(100, 64))
    assert 1e-3 < out.std() < 1e3
    assert all(torch.equal(p, q) for p, q in zip(network.parameters(), before, strict=True))


@pytest.mark.parametrize("peer", peers.PEERS, ids=lambda peer: peer.name)
def test_peers_have_the_same_weights_dynamics_and_gradients(peer):
    if peer.package:
        pytest.importorskip(peer.package)
    network, current = small()
    made = peers.layered(network, lambda _: peer.neuron(0.5, 1.0))
    assert {id(p) for p in made.parameters()} == {id(p) for p in network.parameters()}
    same = peers.Layered(
        [m if any(m is one for one in network) else peer.equal(m) for m in made.layers]
    )
    cotangent = torch.randn(4, 5, 6, generator=torch.Generator().manual_seed(1))
    found = agreement.agreement(made, same, current, cotangent, backward=True)
    assert found["spikes"] == found["spikes64"] == 0
    assert found["gradient"] < 1e-5 and found["gradient64"] < 1e-5
    found = agreement.agreement(same, same, current, cotangent, backward=False)
    assert found == {"spikes": 0.0, "spikes64": 0.0}


def test_agreement_sees_another_leak_and_another_surrogate():
    network, current = small()
    cotangent = torch.ones(4, 5, 6)
    leaky = peers.layered(network, lambda _: LIF(leak=0.9))
    wide = peers.layered(network, lambda _: LIF(surrogate=Surrogate(sharpness=0.5)))
    plain = peers.layered(network, lambda neuron: neuron)
    assert agreement.compare(leaky, plain, current, cotangent)[0] > 0
    spikes, gradient = agreement.compare(wide, plain, current, cotangent)
    assert spikes == 0 and gradient > 1e-3


def test_a_missing_peer_is_skipped_with_its_reason(monkeypatch):
    find = peers.importlib.util.find_spec
    monkeypatch.setattr(
        peers.importlib.util, "find_spec", lambda name: None if name == "norse" else find(name)
    )
    found, skipped = peers.installed()
    assert "Norse" not in [peer.name for peer in found]
    assert skipped["Norse"] == "norse is not installed"


def test_peers_get_weights_in_the_layout_of_torch():
    network, current = small()
    network.linear1.weight.data = network.linear1.weight.data.t().contiguous().t()
    plain = peers.contiguous(network)
    assert plain.linear1.weight.is_contiguous() and not network.linear1.weight.is_contiguous()
    assert torch.equal(plain(current), network(current))
    assert all(p.is_contiguous() for p in products.chain(network).parameters())


# --- our variants ---------------------------------------------------------------------------------


def test_what_this_version_lacks_is_said_and_what_it_has_is_run(monkeypatch):
    network, current = small()
    entered = []

    @contextlib.contextmanager
    def forced(dense=None, sparse=None):
        if dense == "onednn":
            raise ValueError("dense must be 'mkl' here, got 'onednn'")
        entered.append((dense, sparse))
        yield

    def fuse(model, keep="full"):
        if keep == "spikes":
            raise ValueError("keep must be another here")
        assert not {id(p) for p in model.parameters()} & {id(p) for p in network.parameters()}
        return model

    monkeypatch.setattr(networks, "fuse", fuse, raising=False)
    monkeypatch.setattr(ours, "forced", lambda: forced)
    found, skipped = ours.variants(network, network)
    assert skipped == {
        "snnlib, fused, keeps spikes": "keep must be another here",
        "snnlib, oneDNN products": "dense must be 'mkl' here, got 'onednn'",
    }
    entered.clear()
    call = work.once(
        found["snnlib, sparse products"].run,
        network.parameters(),
        current,
        torch.ones(4, 5, 6),
        found["snnlib, sparse products"].context,
    )
    call()
    assert entered == [(None, True)]
    assert all(p.grad is not None for p in network.parameters())


def test_a_version_without_levers_has_the_plain_network(monkeypatch):
    monkeypatch.delattr(networks, "fuse", raising=False)
    monkeypatch.setattr(ours, "forced", lambda: None)
    found, skipped = ours.variants(*[small()[0]] * 2)
    assert list(found) == ["snnlib", "snnlib, unfused"]
    assert len(skipped) == len(ours.KEEPS) + len(ours.LEVERS)


# --- cells ----------------------------------------------------------------------------------------


def tiny(quick):
    network, current = small()
    return feed_forward.Workload(network, current, True, {"batch": 5})


def test_a_cell_measures_every_variant_in_every_round():
    found = feed_forward.measure("tiny", "a tiny network", tiny, Options(quick=True))
    assert found.kind == "speed" and found.bases[0] == "products"
    assert {"snnlib", "snnlib, unfused", "plain torch"} <= set(found.seconds)
    assert all(len(taken) == harness.LEAST_ROUNDS for taken in found.seconds.values())
    assert 0.2 < found.about["rate"] < 0.4
    for name in ("snnlib", "plain torch"):
        assert found.agreement[name]["spikes64"] == 0
    assert "snnlib" in table.text(found)


def test_a_recurrent_layer_of_ours_is_the_peers():
    weight = nn.Parameter(torch.randn(6, 6, generator=torch.Generator().manual_seed(0)))
    current = torch.rand(8, 3, 6, generator=torch.Generator().manual_seed(1))
    plain = recurrent.PlainLoop(weight, products.linear_default)
    layer = recurrent.ours_with(weight, LIF(leak=recurrent.LEAK))
    cotangent = torch.randn(8, 3, 6, generator=torch.Generator().manual_seed(2))
    spikes, gradient = agreement.compare(plain, layer, current, cotangent)
    assert spikes == 0 and gradient < 1e-5
    assert 0.05 < plain(current).mean() < 0.95


@pytest.mark.skipif(not memory.CLEAR.exists(), reason="this system tells no resident size")
def test_memory_of_a_variant_is_at_least_its_spikes_and_not_a_lot_more():
    name, sizes = "snnlib", ["4", "256", "20", "64"]
    found = memory._in_a_process([name, *sizes, "cpu"], memory.EXACT)
    assert 4 < found["held"] <= found["peak"] < 40
    with pytest.raises(SystemExit, match="no variant 'other'"):
        memory.main(["other", "1", "2", "1", "1", "cpu"])


def test_vgg11_has_eleven_layers_less_the_hidden_ones():
    network, current = tools.vgg11(quick=True)
    convolutions = [m for m in network if isinstance(m, nn.Conv2d)]
    assert len(convolutions) == 8
    assert network(current).shape == (*current.shape[:2], 10)


def test_cells_are_found_by_name_prefix_and_pattern():
    assert chosen([]) == list(CELLS)
    assert chosen(["growth"]) == [name for name in CELLS if name.startswith("growth-")]
    assert chosen(["cnn", "forward-1"]) == ["forward-1", "cnn"]


# --- the command ----------------------------------------------------------------------------------


def test_the_command_measures_stores_and_shows(tmp_path, monkeypatch, capsys):
    def cell(options):
        found = example(cell="cnn", provenance={})
        assert options.rounds == 9 and options.quick
        return found

    def impossible(options):
        raise harness.Skip("it needs a moon")

    monkeypatch.setitem(command.CELLS, "cnn", cell)
    monkeypatch.setitem(command.CELLS, "memory", impossible)
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)
    arguments = ["--folder", str(tmp_path), "--quick", "--rounds", "9"]
    command.main([*arguments, "--cells", "cnn", "memory", "--label", "here"])
    printed = capsys.readouterr().out
    assert "skipped: it needs a moon" in printed
    stored = json.loads((tmp_path / "cnn.cpu-1.here.json").read_text())["provenance"]
    assert stored["command"].startswith("python -m benchmarks --folder")
    assert {"machine", "versions", "threads", "date", "commit", "device"} <= set(stored)
    assert "torch" in stored["versions"]
    command.main(["--folder", str(tmp_path), "--show"])
    assert capsys.readouterr().out == printed
    command.main(["--folder", str(tmp_path / "none"), "--show"])
    assert "nothing is stored in" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rounds", "3"], "rounds must be at least 7, got 3"),
        (["--cells", "other"], "'other' matches none"),
        (["--device", "tpu"], "got 'tpu'"),
        (["--label", "../x"], "label must be letters, digits and hyphens"),
    ],
)
def test_the_command_refuses_bad_arguments(arguments, message, capsys, tmp_path):
    with pytest.raises(SystemExit):
        command.main(["--folder", str(tmp_path), *arguments])
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_module_runs_from_the_command_line(tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "benchmarks", "--show", "--folder", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and "nothing is stored" in done.stdout


def test_stored_results_can_be_read_and_printed():
    for found in result.read_all():
        assert found.cell in CELLS
        assert table.text(found)
        assert found.provenance["quick"] is False
        assert len(found.provenance["commit"]) >= 40


@pytest.mark.parametrize(
    "path", sorted((ROOT / "benchmarks").rglob("*.py")), ids=lambda path: path.stem
)
def test_files_and_functions_are_read_in_one_sitting(path):
    source = path.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= 300
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno <= 70, node.name
