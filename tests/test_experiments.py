"""The runner: equal runs once, killed sweeps resumed, damaged results refused, tables."""

import json
import math
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from scipy import stats

from snnlib import experiments
from snnlib.experiments import PROTOCOLS, CorruptResult, Store, results, runner
from snnlib.experiments.__main__ import main
from snnlib.experiments.protocol import key
from snnlib.experiments.provenance import FIELDS
from snnlib.experiments.task import build, load, train

ROOT = Path(__file__).resolve().parent.parent

# Two conditions that differ and one that does the same as another, two seeds: four runs, six rows.
SMALL = replace(
    PROTOCOLS["frozen-threshold"],
    conditions=[
        {"reset": "zero", "threshold": 1.0, "threshold_gradient": "absolute"},
        {"reset": "zero", "threshold": 0.5, "threshold_gradient": "relative"},
        {"reset": "zero", "threshold": 1.0, "threshold_gradient": "relative"},
    ],
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The store of an uninterrupted sweep."""
    store = Store(tmp_path_factory.mktemp("finished"))
    assert experiments.sweep(SMALL, "smoke", store, command="a command") == 4
    return store


def metrics(store):
    return {run.key: store.load(run.key)["metrics"] for run in SMALL.runs("smoke")}


# --- protocols ------------------------------------------------------------------------------------


def test_protocols_are_what_the_papers_did():
    runs = PROTOCOLS["frozen-threshold"].runs("desk")
    assert len(runs) == 5 * 3 * 2 * 3 and len({run.key for run in runs}) == 13 * 2 * 3
    assert {run.labels["threshold"] for run in runs} == {0.1, 0.5, 1.0, 1.5, 2.0}
    for run in runs:
        network = run.settings["network"]
        assert (network["leak"], network["learn_threshold"]) == (0.5, False)
        assert network["detach_reset"] is False and network["current_std"] == 1.0
        if run.labels["threshold"] != 1.0:
            assert network["threshold_gradient"] == run.labels["threshold_gradient"]
    assert PROTOCOLS["frozen-threshold"].runs("desk", seeds=1) == runs[:30]
    # seed after seed, so an unfinished sweep is balanced
    assert [run.seed for run in runs] == sorted(run.seed for run in runs)
    runs = PROTOCOLS["mpinit-trsg"].runs("desk")
    arms = {
        (n["mpinit"], n["threshold_gradient"], n["learn_threshold"])
        for n in (run.settings["network"] for run in runs)
    }
    assert arms == {
        (mpinit, *family)
        for mpinit in (False, True)
        for family in (("absolute", False), ("threshold_robust", True))
    }


def test_conditions_of_one_seed_share_weights_and_data():
    """So differences between conditions are paired."""
    states = []
    images = load(PROTOCOLS["frozen-threshold"].runs("smoke")[0].settings["data"], "train")
    for run in PROTOCOLS["frozen-threshold"].runs("smoke")[:15]:
        network = build(run.settings["network"], images, run.seed)
        states.append({n: v for n, v in network.state_dict().items() if "weight" in n})
    for state in states[1:]:
        torch.testing.assert_close(state, states[0], rtol=0, atol=0)


def test_images_are_pooled_over_squares():
    settings = {"name": "digits", "train": 20, "test": 10, "pool": 2}
    images, raw = load(settings, "train"), experiments.task.data.load("digits")
    assert images.inputs.shape == (20, 1, 4, 4)
    expected = raw.inputs[:20].unflatten(2, (4, 2)).unflatten(4, (4, 2)).mean((3, 5))
    torch.testing.assert_close(images.inputs, expected)
    assert len(load(settings, "test")) == 10


def test_a_key_is_a_digest_of_all_settings():
    keys = {run.key for run in SMALL.runs("smoke")}
    assert len(keys) == 4
    settings = SMALL.runs("smoke")[0].settings
    changed = json.loads(json.dumps(settings))
    assert key(changed) == key(settings)
    changed["training"]["learning_rate"] *= 2
    assert key(changed) not in keys


# --- runs -----------------------------------------------------------------------------------------


def test_a_killed_sweep_goes_on_where_it_was(finished, tmp_path):
    """The process dies while it stores its second result: one is there, none is half there."""
    code = """
import os, signal, sys
from snnlib import experiments
from tests.test_experiments import SMALL
complete, calls = os.replace, []
def replace(*paths):
    calls.append(paths)
    if len(calls) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    complete(*paths)
os.replace = replace
experiments.sweep(SMALL, "smoke", experiments.Store(sys.argv[1]), command="a command")
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT)
    assert done.returncode == -signal.SIGKILL
    store = Store(tmp_path)
    assert experiments.status(SMALL, "smoke", store)[:2] == (1, 4)
    assert experiments.sweep(SMALL, "smoke", store, command="a command") == 3
    assert metrics(store) == metrics(finished)
    assert experiments.sweep(SMALL, "smoke", store, command="a command") == 0


def test_processes_give_the_same_results(finished, tmp_path):
    pytest.importorskip("joblib")
    store, seen = Store(tmp_path), {}
    experiments.sweep(
        SMALL,
        "smoke",
        store,
        command="a command",
        jobs=2,
        on_result=lambda run, content: seen.update({run.key: content["metrics"]}),
    )
    assert metrics(store) == metrics(finished) == seen


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: text.replace('"test_loss": ', '"test_loss": 1'),
        lambda text: "[]",
        lambda text: "",
    ],
)
def test_a_damaged_result_is_refused(finished, tmp_path, damage):
    run = SMALL.runs("smoke")[1]
    store = Store(tmp_path)
    store.folder.joinpath(f"{run.key}.json").write_text(damage(finished.path(run.key).read_text()))
    for call in (
        lambda: store.load(run.key),
        lambda: experiments.status(SMALL, "smoke", store),
        lambda: experiments.sweep(SMALL, "smoke", store, command="a command"),
    ):
        with pytest.raises(CorruptResult, match=f"{run.key}.json is damaged .* delete it"):
            call()
    assert len(list(tmp_path.iterdir())) == 1  # nothing was run


def test_a_result_under_another_name_is_refused(finished, tmp_path):
    first, second = (run.key for run in SMALL.runs("smoke")[:2])
    tmp_path.joinpath(f"{first}.json").write_text(finished.path(second).read_text())
    with pytest.raises(CorruptResult):
        Store(tmp_path).load(first)


def test_a_run_that_diverges_is_a_result(tmp_path):
    (run, *_) = SMALL.runs("smoke")
    settings = json.loads(json.dumps(run.settings))
    settings["training"] |= {"learning_rate": 1e30, "epochs": 3}
    found = train(settings)
    assert "training stopped in epoch" in found["diverged"]
    assert 0 <= found["test_accuracy"] <= 1
    Store(tmp_path).save(settings, found, {"seconds": 1.0})  # JSON without NaN
    assert Store(tmp_path).load(key(settings))["metrics"] == found


def test_status_counts_runs(finished, tmp_path):
    now = experiments.status(SMALL, "smoke", finished)
    assert now[:3] == (4, 4, 0) and now.seconds > 0 and now.left == 0
    assert experiments.status(SMALL, "smoke", Store(tmp_path / "none")) == (0, 4, 0, None)
    assert experiments.status(SMALL, "smoke", Store(tmp_path / "none")).left is None


# --- tables ---------------------------------------------------------------------------------------


def test_tables_are_read_as_they_were_written(finished, tmp_path):
    table = experiments.rows(SMALL, "smoke", finished)
    assert len(table) == 6 and table[0]["key"] == table[2]["key"] != table[1]["key"]
    path = tmp_path / "new" / "table.csv"
    experiments.write(path, SMALL, table)
    read = experiments.read(path)
    assert len(read) == 6
    for row, expected in zip(read, table, strict=True):
        assert set(row) == set(expected)
        for name, value in expected.items():
            close = isinstance(value, float | list)
            assert row[name] == (pytest.approx(value, rel=1e-5) if close else value)
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))  # as git may check it out
    assert experiments.read(path) == read
    experiments.write(path, SMALL, [])
    with pytest.raises(ValueError, match="has no rows"):
        experiments.read(path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: text.rindex("\n", 0, -1) + 1],  # a row less
        lambda text: text[: len(text) // 2],
        lambda text: text.replace("0.5", "0.6", 1),
        lambda text: "",
    ],
)
def test_a_damaged_table_is_refused(finished, tmp_path, damage):
    path, other = tmp_path / "table.csv", tmp_path / "other.csv"
    table = experiments.rows(SMALL, "smoke", finished)
    for each in (path, other):
        experiments.write(each, SMALL, table)
    path.write_text(damage(path.read_text()))
    with pytest.raises(CorruptResult, match=r"table\.csv is damaged or was changed"):
        experiments.read(path)
    assert len(experiments.read(other)) == 6
    path.rename(tmp_path / "new.csv")
    with pytest.raises(CorruptResult, match=r"new\.csv has no checksum"):
        experiments.read(tmp_path / "new.csv")


@pytest.mark.parametrize("calls", [1, 2, 3])
def test_a_kill_while_writing_leaves_a_table_that_can_be_read(
    finished, tmp_path, monkeypatch, calls
):
    path = tmp_path / "table.csv"
    table = experiments.rows(SMALL, "smoke", finished)
    experiments.write(path, SMALL, table[:3])
    replace_, made = os.replace, []

    def replace_once(*paths):
        made.append(paths)
        if len(made) == calls:
            raise KeyboardInterrupt
        replace_(*paths)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(os, "replace", replace_once)
        experiments.write(path, SMALL, table)
    assert len(experiments.read(path)) == (6 if calls == 3 else 3)
    experiments.write(path, SMALL, table)
    assert len(experiments.read(path)) == 6
    assert (tmp_path / "SHA256SUMS").read_text().count("table.csv") == 1


def test_lists_of_any_length_come_back(finished, tmp_path):
    table = experiments.rows(SMALL, "smoke", finished)
    table = [row | {"more": [0.5], "none": [], "train_loss": []} for row in table]
    experiments.write(tmp_path / "table.csv", SMALL, table)
    (row, *_) = experiments.read(tmp_path / "table.csv")
    assert (row["more"], row["none"], row["train_loss"]) == ([0.5], [], [])


def test_rows_made_elsewhere_stay(finished, tmp_path):
    """A machine that made some runs keeps the rows of the others, and drops stale ones."""
    table = experiments.rows(SMALL, "smoke", finished)
    nothing = Store(tmp_path)
    assert experiments.rows(SMALL, "smoke", nothing, table=table) == table
    stale = [row | {"key": "0" * 16} if row["seed"] else row for row in table]
    assert experiments.rows(SMALL, "smoke", nothing, table=stale) == table[:3]


def test_every_row_says_where_it_comes_from(finished):
    row = experiments.rows(SMALL, "smoke", finished)[0]
    assert row["command"] == "a command" and row["threads"] == 1 and row["seconds"] > 0
    assert f"torch {torch.__version__}" in row["versions"]
    assert "cores" in row["machine"]
    import platform

    assert platform.node() not in " ".join(str(row[name]) for name in FIELDS)


def test_intervals_are_students():
    values = [0.2, 0.5, 0.3, 0.6]
    table = [{"a": "x", "y": v} for v in values] + [{"a": "z", "y": 0.1}]
    summary = experiments.summarize(table, ["a"], value="y", confidence=0.9)
    low, high = stats.t.interval(0.9, 3, loc=0.4, scale=stats.sem(values))
    assert summary["x",].mean - summary["x",].half_width == pytest.approx(low)
    assert summary["x",].mean + summary["x",].half_width == pytest.approx(high)
    assert summary["z",].seeds == 1 and math.isnan(summary["z",].half_width)
    with pytest.raises(ValueError, match="confidence must be in"):
        experiments.summarize(table, ["a"], value="y", confidence=95)


@pytest.mark.parametrize("size", ["desk", "long"])
@pytest.mark.parametrize("name", sorted(PROTOCOLS))
def test_stored_results_belong_to_the_protocols(name, size):
    """Every row was made by a committed library from the settings that the protocol has now."""
    path = ROOT / "results" / f"{name}-{size}.csv"
    if not path.exists():
        pytest.skip(f"no results/{path.name}")
    known = {(run.key, run.seed) for run in PROTOCOLS[name].runs(size)}
    for row in experiments.read(path):
        assert (row["key"], row["seed"]) in known
        assert len(row["commit"]) == 40 and row["seconds"] > 0
        assert 0 <= row["test_accuracy"] <= 1


# --- command line ---------------------------------------------------------------------------------


def test_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(PROTOCOLS, "frozen-threshold", SMALL)
    options = ["--size", "smoke", "--cache", "cache"]
    assert main(["list"]) == 0
    assert "--size smoke: 4 runs" in capsys.readouterr().out
    assert main(["run", "frozen-threshold", *options]) == 0
    shown = capsys.readouterr().out
    assert "4/4 reset zero, threshold 0.5, threshold_gradient relative, seed 1: " in shown
    assert "frozen-threshold-smoke.csv: 6 of 6 rows" in shown
    (row, *_) = experiments.read("results/frozen-threshold-smoke.csv")
    assert row["command"] == "python -m snnlib.experiments run frozen-threshold --size smoke"
    assert main(["status", *options]) == 0
    assert "frozen-threshold smoke: 4 of 4 runs" in capsys.readouterr().out
    pytest.importorskip("matplotlib").use("Agg")
    assert main(["plot", "frozen-threshold", *options]) == 0
    assert Path("frozen-threshold-smoke.svg").read_text().startswith("<?xml")
    assert main(["check", "frozen-threshold", *options, "--row", "2"]) == 0
    path = Path("results/frozen-threshold-smoke.csv")
    first, *others = experiments.read(path)
    experiments.write(path, SMALL, [first | {"test_accuracy": 0.98765}, *others])
    assert main(["check", "frozen-threshold", *options, "--row", "1"]) == 1
    capsys.readouterr()
    assert main(["check", "frozen-threshold", *options, "--row", "7"]) == 2
    assert "error: row must be between 1 and 6, got 7" in capsys.readouterr().err


def test_bad_input_is_refused(tmp_path, capsys):
    assert main(["run", "frozen-threshold", "--size", "huge", "--cache", str(tmp_path)]) == 2
    assert "size must be one of desk, long, smoke for frozen-threshold, got 'huge'" in (
        capsys.readouterr().err
    )
    with pytest.raises(ValueError, match="jobs must be a positive integer, got 0"):
        runner.sweep(SMALL, "smoke", Store(tmp_path), command="", jobs=0)
    with pytest.raises(ValueError, match="seeds must be None or a positive integer, got 0"):
        SMALL.runs("smoke", seeds=0)
    with pytest.raises(SystemExit):
        main(["run", "nothing"])
    assert results.METRICS[0] == "test_accuracy"
