"""The runner: equal runs once, killed sweeps resumed, damaged results refused, tables."""

import functools
import json
import math
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from scipy import stats

from snnlib import experiments, training
from snnlib.data import Dataset
from snnlib.experiments import (
    PROTOCOLS,
    CorruptResult,
    RunFailed,
    Store,
    checking,
    cluster,
    runner,
)
from snnlib.experiments import __main__ as command
from snnlib.experiments.__main__ import main
from snnlib.experiments.flat_minima import COLUMNS
from snnlib.experiments.protocol import key
from snnlib.experiments.provenance import FIELDS
from snnlib.experiments.registered import RULES, SIZE
from snnlib.experiments.task import build, load, train

ROOT = Path(__file__).resolve().parent.parent
LABELS = COLUMNS[:4]  # of the table of flat minima

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
    assert experiments.sweep(SMALL, "smoke", store) == 4
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
    calls.extend(path for path in paths[1:] if str(path).endswith(".json"))
    if len(calls) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    complete(*paths)
os.replace = replace
experiments.sweep(SMALL, "smoke", experiments.Store(sys.argv[1]))
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT)
    assert done.returncode == -signal.SIGKILL
    store = Store(tmp_path)
    assert experiments.status(SMALL, "smoke", store)[:2] == (1, 4)
    assert experiments.sweep(SMALL, "smoke", store) == 3
    assert metrics(store) == metrics(finished)
    assert experiments.sweep(SMALL, "smoke", store) == 0


def test_processes_give_the_same_results(finished, tmp_path):
    pytest.importorskip("joblib")
    store, seen = Store(tmp_path), {}
    experiments.sweep(
        SMALL,
        "smoke",
        store,
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
        lambda: experiments.sweep(SMALL, "smoke", store),
    ):
        with pytest.raises(CorruptResult, match=f"{run.key}.json is damaged .* delete it"):
            call()
    assert len(list(tmp_path.iterdir())) == 1  # nothing was run


def test_a_result_under_another_name_is_refused(finished, tmp_path):
    first, second = (run.key for run in SMALL.runs("smoke")[:2])
    tmp_path.joinpath(f"{first}.json").write_text(finished.path(second).read_text())
    with pytest.raises(CorruptResult):
        Store(tmp_path).load(first)


@pytest.mark.parametrize("damage", [False, True])
def test_an_interrupted_run_goes_on_inside_its_training(damage, finished, tmp_path, monkeypatch):
    task = runner.queue([SMALL], "smoke")[0]
    updates, count = [], training.metrics.correct

    def interrupt_in_the_second_update(*arguments):
        updates.append(1)
        if len(updates) == 2:
            signal.raise_signal(signal.SIGINT)
        return count(*arguments)

    monkeypatch.setattr(training.metrics, "correct", interrupt_in_the_second_update)
    with pytest.raises(KeyboardInterrupt):
        runner.execute(task, Store(tmp_path))
    (checkpoint,) = tmp_path.iterdir()
    if damage:
        checkpoint.write_bytes(checkpoint.read_bytes()[:-1])
    before = len(updates)
    content = runner.execute(task, Store(tmp_path))
    again = task.run.settings["data"]["train"] // task.run.settings["training"]["batch_size"]
    evaluated = 1  # the test data, in one batch
    assert len(updates) - before == (again if damage else again - 2) + evaluated
    assert content["metrics"] == finished.load(task.run.key)["metrics"]
    assert not checkpoint.exists()


@pytest.mark.parametrize("rate", [0.005, 0.03])
def test_every_start_of_the_paper_size_on_shd_can_be_drawn(rate):
    """The data have to be downloaded; spikes of SHD's number of channels and rates do not."""
    spikes = torch.rand(32, 100, 700, generator=torch.Generator().manual_seed(0)) < rate
    samples = Dataset("shd", "train", spikes, torch.zeros(32).long(), 20, sequence=True)
    currents = spikes.float().transpose(0, 1)
    for run in PROTOCOLS["fig5-shd"].runs("paper", seeds=1):
        network = build(run.settings["network"], samples, run.seed, currents=currents)
        assert network.neurons1.width == network.neurons2.width == 256


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ({"kind": "cnn"}, "kind must be one of mlp, convnet"),
        ({"kind": "mlp", "width": 5, "depth": 1, "init": {"method": "normal"}}, "one of std and"),
    ],
)
def test_settings_that_build_nothing_are_refused(network, message):
    with pytest.raises(ValueError, match=message):
        build(network, Dataset("d", "train", torch.zeros(2, 1, 8, 8), torch.zeros(2).long(), 10), 0)


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
    assert (
        row["command"] == "python -m snnlib.experiments run frozen-threshold --size smoke"
        and row["threads"] == 1
        and row["seconds"] > 0
    )
    assert f"torch {torch.__version__}" in row["versions"]
    assert "cores" in row["machine"]
    import platform

    assert platform.node() not in " ".join(str(row[name]) for name in FIELDS if name in row)


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


TABLES = sorted(p.name for p in (ROOT / "results").glob("*.csv") if p.name != "flat-minima.csv")


def test_every_table_has_its_checksum_and_no_other():
    listed = [
        line.split("  ")[1] for line in (ROOT / "results/SHA256SUMS").read_text().split("\n")[:-1]
    ]
    assert listed == sorted([*TABLES, "flat-minima.csv"])
    assert len(experiments.read(ROOT / "results" / "flat-minima.csv")) == 160


def protocol_of(path):
    """The experiment of a stored table, or the registered one."""
    name, _, size = path.stem.rpartition("-")
    return RULES[name].protocol() if size == SIZE else PROTOCOLS[name]


@pytest.mark.parametrize("table", TABLES)
def test_stored_results_belong_to_the_protocols(table):
    """Every row was made by a committed library from the settings that the protocol has now."""
    path = ROOT / "results" / table
    protocol, size = protocol_of(path), path.stem.rpartition("-")[2]
    known = {(run.key, run.seed) for run in protocol.runs(size)}
    for row in experiments.read(path):
        assert (row["key"], row["seed"]) in known
        assert len(row["commit"]) == 40 and row["seconds"] > 0
        assert 0 <= row["test_accuracy"] <= 1


# --- clusters -------------------------------------------------------------------------------------


def train_or_die(killed, settings):
    """The first worker that gets the first run of seed 1 is killed in it, and leaves a file."""
    threshold = settings["network"]["threshold"]
    if settings["seed"] == 1 and threshold == 0.5 and multiprocessing.parent_process():
        try:
            killed.open("x").close()
        except FileExistsError:
            pass
        else:
            os.kill(os.getpid(), signal.SIGKILL)
    return train(settings)


@pytest.fixture
def two_workers():
    """The address of a cluster with two worker processes, one and two threads."""
    dask, distributed = pytest.importorskip("dask"), pytest.importorskip("distributed")
    try:
        multiprocessing.Lock()
    except OSError as error:
        pytest.skip(f"Dask's worker processes need semaphores: {error}")
    # forked from one process that has imported everything, so that three of them start quickly
    with dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"}):
        context = distributed.utils.get_mp_context()
        modules = ["distributed", "torch._dynamo", "sklearn.datasets", "tests.test_experiments"]
        context.set_forkserver_preload(modules)
        with distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50
        ) as cluster:
            yield cluster.scheduler_address


def test_a_cluster_gives_the_same_results_though_a_worker_dies(finished, tmp_path, two_workers):
    store, seen = Store(tmp_path / "store"), []
    made = experiments.sweep(
        SMALL,
        "smoke",
        store,
        cluster=two_workers,
        # no variable of the environment: a server of forks that runs already would not know it
        train=functools.partial(train_or_die, tmp_path / "killed"),
        on_result=lambda run, content: seen.append(store.path(run.key).exists()),
    )
    assert made == 4 and seen == [True] * 4  # each is here as soon as it has ended
    assert (tmp_path / "killed").exists()
    assert metrics(store) == metrics(finished)
    assert {store.load(run.key)["provenance"]["threads"] for run in SMALL.runs("smoke")} == {1}
    # An error in a run comes back, and as many threads as are asked for are there.
    with pytest.raises(RunFailed, match="ValueError: 2 threads"):
        experiments.sweep(
            SMALL, "smoke", Store(tmp_path / "other"), cluster=two_workers, threads=2, train=refuse
        )


def refuse(settings):
    raise ValueError(f"{torch.get_num_threads()} threads")


@pytest.mark.parametrize("listens", [False, True])
def test_without_a_scheduler_there_is_an_error_at_once(tmp_path, monkeypatch, capsys, listens):
    pytest.importorskip("distributed")
    monkeypatch.setattr(cluster, "TIMEOUT", 0.3)
    monkeypatch.chdir(tmp_path)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        if listens:  # to something else than Dask
            other.listen()
        address = f"tcp://127.0.0.1:{other.getsockname()[1]}"
        start = time.monotonic()
        options = ["--size", "smoke", "--cache", str(tmp_path), "--cluster", address]
        assert main(["run", "frozen-threshold", *options]) == 1
        assert time.monotonic() - start < 30  # a busy machine
    assert f"no Dask scheduler answers at {address}" in capsys.readouterr().err


def test_cluster_and_jobs_exclude_each_other(tmp_path):
    tasks = runner.queue([SMALL], "smoke")
    with pytest.raises(ValueError, match="give one of both, got jobs=2 and cluster='tcp://a:1'"):
        runner.work(tasks, Store(tmp_path), jobs=2, cluster="tcp://a:1")
    pytest.importorskip("distributed")
    for address in ("a:1", "tcp://a", "http://a:1", "tcp://a:1/b"):
        with pytest.raises(ValueError, match="cluster must be like tcp://host:8786, got"):
            runner.work(tasks, Store(tmp_path), cluster=address)


# --- queues ---------------------------------------------------------------------------------------


def pretend(settings):
    """Metrics without a training."""
    value = settings["seed"] + settings["network"]["threshold"]
    return {
        "test_accuracy": 0.1 + value / 100,
        "test_loss": value,
        "train_accuracy": [value / 10, value / 9],
        "train_loss": [value],
        "diverged": "",
    }


def test_a_queue_takes_seed_after_seed_of_all_protocols():
    tasks = runner.queue([SMALL, replace(SMALL, name="b", conditions=MORE)], "smoke")
    assert [task.run.seed for task in tasks] == [0] * 3 + [1] * 3
    assert [task.protocol.name for task in tasks] == ["frozen-threshold"] * 2 + ["b"] + (
        ["frozen-threshold"] * 2 + ["b"]
    )
    assert len(runner.queue([SMALL], "smoke", seeds=1, known=[tasks[0].run.key])) == 1


MORE = [
    {"reset": "zero", "threshold": 0.5, "threshold_gradient": "relative"},  # the same run
    {"reset": "zero", "threshold": 2.0, "threshold_gradient": "relative"},
]


def test_no_run_begins_after_the_minutes(tmp_path, monkeypatch):
    now = iter([0.0, 0.0, 59.0, 61.0, 62.0])
    # the clock of this module alone: other threads read time's own
    monkeypatch.setattr(
        runner, "time", SimpleNamespace(monotonic=lambda: next(now), perf_counter=time.perf_counter)
    )
    store = Store(tmp_path)
    assert experiments.sweep(SMALL, "smoke", store, minutes=1, train=pretend) == 2
    assert experiments.status(SMALL, "smoke", store)[:2] == (2, 4)
    monkeypatch.undo()
    assert experiments.sweep(SMALL, "smoke", store, minutes=0, train=pretend) == 0


def test_a_failing_protocol_does_not_stop_the_others(tmp_path):
    other = replace(SMALL, name="b", conditions=MORE)
    calls = []

    def sometimes(settings):
        calls.append(settings)
        if settings["network"]["threshold"] == 2.0:
            raise OSError("no data")
        return pretend(settings)

    store = Store(tmp_path)
    with pytest.raises(RunFailed, match=r"b smoke, .*threshold 2.0, .* seed 0: OSError: no data"):
        runner.work(runner.queue([SMALL, other], "smoke"), store, train=sometimes)
    assert experiments.status(SMALL, "smoke", store)[:2] == (4, 4)
    assert len(calls) == 5  # the run of seed 1 was not begun


# --- command line ---------------------------------------------------------------------------------


@pytest.fixture
def two_protocols(tmp_path, monkeypatch):
    """A folder without results, in which nothing is trained."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "train", pretend)
    for name in list(PROTOCOLS):
        monkeypatch.delitem(PROTOCOLS, name)
    monkeypatch.setitem(PROTOCOLS, "a", replace(SMALL, name="a"))
    monkeypatch.setitem(PROTOCOLS, "b", replace(SMALL, name="b", conditions=MORE))


OPTIONS = ["--size", "smoke", "--cache", "cache"]


def test_a_home_that_is_no_folder_holds_no_results(monkeypatch):
    monkeypatch.delenv("SNNLIB_EXPERIMENTS", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", os.devnull)
    assert Store().load("0123456789abcdef") is None


def test_command_line(two_protocols, capsys):
    assert main(["list"]) == 0
    assert "--size smoke: 4 runs. Seconds" in capsys.readouterr().out
    assert main(["status", *OPTIONS]) == 0
    shown = capsys.readouterr().out
    assert "a smoke: 0 of 4 runs; open, time unknown:\n" in shown
    assert "  python -m snnlib.experiments run a --size smoke\n" in shown
    assert main(["run", "a", "b", *OPTIONS]) == 0
    shown = capsys.readouterr().out
    first, second, *_ = shown.splitlines()
    assert first == "a, b, size smoke: looking for what is stored"
    assert second.startswith("6 runs in 1 process(es), first a smoke, reset zero")
    assert "1/6 a smoke, reset zero, threshold 1.0" in shown and "about 0 s left" in shown
    assert "6/6 b smoke, " in shown
    assert f"{Path('results/a-smoke.csv')}: 6 of 6 rows" in shown
    (row, *_) = experiments.read("results/b-smoke.csv")
    # of the protocol that ran it, which has the same run
    assert row["command"] == "python -m snnlib.experiments run a --size smoke"
    assert main(["status", "a", *OPTIONS]) == 0
    assert capsys.readouterr().out == "a smoke: 4 of 4 runs\n"
    pytest.importorskip("matplotlib").use("Agg")
    assert main(["plot", "a", "b", *OPTIONS]) == 0
    drawn = capsys.readouterr().out.splitlines()
    assert drawn == [str(Path("_build") / f"{name}-smoke.svg") for name in "ab"]
    assert all(Path(path).read_text(encoding="utf-8").startswith("<") for path in drawn)
    assert not list(Path().glob("*.svg"))  # nothing but where it says


def test_what_a_table_holds_is_not_made_again(two_protocols, capsys):
    assert main(["run", "--all", *OPTIONS]) == 0
    before = Path("results/a-smoke.csv").read_text(encoding="utf-8")
    capsys.readouterr()
    there = ["--size", "smoke", "--cache", "another"]
    assert main(["run", "--all", *there]) == 0
    assert "1/" not in capsys.readouterr().out
    assert Path("results/a-smoke.csv").read_text(encoding="utf-8") == before
    assert main(["status", "b", *there]) == 0
    assert "b smoke: 4 of 4" in capsys.readouterr().out
    assert main(["run", "b", "--again", "--seeds", "1", *there]) == 0
    assert "2/2 b smoke" in capsys.readouterr().out
    assert main(["run", "--all", "--minutes", "0", *OPTIONS]) == 0


def test_an_interrupt_leaves_a_table_of_what_is_done(two_protocols, monkeypatch, capsys):
    calls = []

    def interrupted(settings):
        calls.append(settings)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return pretend(settings)

    monkeypatch.setattr(command, "train", interrupted)
    assert main(["run", "a", *OPTIONS]) == 130
    assert len(experiments.read("results/a-smoke.csv")) == 3  # two of the rows are one run
    assert main(["run", "a", *OPTIONS]) == 0
    assert len(calls) == 5


def test_bad_input_is_refused(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for arguments, message in (
        (["run", "fig5-conditions", "--size", "huge"], "size must be one of "),
        (["run", "nothing"], "NAME must be one of "),
        (["run"], "give --all or names: "),
        (["run", "--all", "mpinit-trsg"], "give names or --all, not both"),
        (["check", "mpinit-trsg"], "no rows in "),
        (["check", "--row", "3"], "--row is of one NAME"),
        (["write", "--all", "--table", "x"], "--table is of one NAME"),
    ):
        assert main([*arguments, "--cache", str(tmp_path)]) == 2
        assert f"error: {message}" in capsys.readouterr().err
    with pytest.raises(ValueError, match="jobs must be a positive integer, got 0"):
        runner.sweep(SMALL, "smoke", Store(tmp_path), jobs=0)
    with pytest.raises(ValueError, match="minutes must be None or at least 0, got -1"):
        runner.sweep(SMALL, "smoke", Store(tmp_path), minutes=-1)
    with pytest.raises(ValueError, match="seeds must be None or a positive integer, got 0"):
        SMALL.runs("smoke", seeds=0)


# --- repeating a row ------------------------------------------------------------------------------


def test_a_row_is_made_again_and_compared(two_protocols, capsys):
    main(["run", "a", *OPTIONS])
    path = Path("results/a-smoke.csv")
    table = experiments.read(path)
    capsys.readouterr()
    assert main(["check", "a", *OPTIONS, "--row", "2"]) == 0
    shown = capsys.readouterr().out
    assert "compared in all digits, as all that decides them is the same: versions, " in shown
    assert "test_accuracy, test_loss, train_accuracy, train_loss, diverged" in shown
    assert main(["check", "--within", "1", *OPTIONS]) == 0
    assert capsys.readouterr().out.count("  equal\n") == 6

    def check(**changes):
        experiments.write(path, PROTOCOLS["a"], [table[0] | changes, *table[1:]])
        status = main(["check", "a", *OPTIONS, "--row", "1"])
        return status, capsys.readouterr().out

    status, shown = check(train_accuracy=[0.1, 0.111112])
    assert status == 1 and "train_accuracy: stored 0.1 0.111112, now 0.1 0.111111" in shown
    for name, value in (("machine", "another"), ("kernels", "others"), ("arithmetic", "0" * 12)):
        status, shown = check(**{name: value})
        assert status == 0 and "  within the seeds' spread\n" in shown
        assert "compared with the spread of seeds, level 0.001 for the row," in shown
        assert f"    {name} {value} there and {table[0][name]} here\n" in shown
    status, shown = check(processor="")
    assert status == 0 and "    processor not recorded\n" in shown
    status, shown = check(machine="another", seed=0, train_loss=[500.0])
    assert status == 0, "the seeds of this table differ by 1, and by 500"
    assert main(["check", "a", *OPTIONS, "--row", "7"]) == 2
    assert "error: row must be between 1 and 6, got 7" in capsys.readouterr().err
    status, _ = check(key="0" * 16)
    assert status == 2


def test_another_machine_has_to_stay_within_the_seeds():
    """Twenty conditions of three seeds: 40 degrees of freedom; normal, standard deviation 1."""
    generator = torch.Generator().manual_seed(4)
    values = 50 + torch.randn(20, 3, generator=generator).double()
    values[0] = 50 + (values[0] - 50) / 2  # less than the others, so the pooled one counts
    table = [
        {"a": a, "seed": s, "x": float(values[a, s]), "train_loss": [9.0, float(values[a, s])]}
        for a in range(20)
        for s in range(3)
    ]
    pooled = float(values.var(1).mean().sqrt())
    # three numbers: x, mean and last entry of the curve
    scale = pooled * math.sqrt(4 / 3)
    half = max(stats.t.isf(checking.LEVEL / 3 / 2, 40), checking.HEAVIEST) * scale

    def wrong(x, last):
        found = {"x": x, "train_loss": [9.0, last]}
        return checking.compare_with_seeds(table[0], found, table, ["a"]).wrong

    mean = float(values[0].mean())
    for side in (-1, 1):
        assert wrong(mean + side * 0.99 * half, mean) == []
        assert len(wrong(mean + side * 1.01 * half, mean)) == 1
        assert wrong(mean, mean + side * 1.01 * half)[-1].startswith("last train_loss: now")
    with pytest.raises(ValueError, match="no condition of the table has two seeds"):
        checking.compare_with_seeds(table[0], {"x": 1.0}, table[::3], ["a"])


def test_students_value_counts_where_it_is_the_wider():
    """Two conditions of two seeds: with two degrees of freedom, t at 1e-3 is 31.6."""
    table = [{"a": a, "seed": s, "x": 10.0 * a + s} for a in (0, 1) for s in (0, 1)]
    half = stats.t.isf(5e-4, 2) * math.sqrt(0.5) * math.sqrt(1.5)

    def wrong(x):
        return checking.compare_with_seeds(table[0], {"x": x}, table, ["a"]).wrong

    assert not wrong(0.5 + 0.99 * half) and wrong(0.5 + 1.01 * half) and wrong(0.5 - 1.01 * half)


@pytest.mark.parametrize("table", [*TABLES, "flat-minima.csv"])
def test_every_stored_row_lies_within_the_spread_of_the_others(table):
    """The stated level is that of these tables: none of their rows, held out, would be refused."""
    path = ROOT / "results" / table
    labels = LABELS if table == "flat-minima.csv" else protocol_of(path).labels
    rows = experiments.read(path)
    for row in rows:
        others = [r for r in rows if r is not row and ("key" not in r or r["key"] != row["key"])]
        own = [r for r in others if all(r[name] == row[name] for name in labels)]
        if len(own) == 1:  # one seed says nothing of how often runs end early
            row = row | {"diverged": own[0].get("diverged")}
        if own:
            assert checking.compare_with_seeds(own[0], row, others, labels).wrong == []


def test_a_row_equals_itself_here_and_is_compared_by_spread_under_other_instructions(tmp_path):
    """A table made in processes of their own, and checked with and without wide instructions."""
    script = tmp_path / "run.py"
    script.write_text(
        "import sys\n"
        "from snnlib.experiments import __main__ as command\n"
        "from tests.test_experiments import PROTOCOLS, SMALL\n"
        "PROTOCOLS['frozen-threshold'] = SMALL\n"
        "sys.exit(command.main(sys.argv[1:]))\n",
        encoding="utf-8",
    )
    place = ["--size", "smoke", "--cache", str(tmp_path), "--table", str(tmp_path / "scratch.csv")]

    def call(name, **environment):
        return subprocess.run(
            [sys.executable, script, name, "frozen-threshold", *place],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
            capture_output=True,
            encoding="utf-8",
        )

    made = call("run")
    assert made.returncode == 0, made.stderr
    here = call("check")
    assert here.returncode == 0 and here.stdout.endswith("  equal\n"), here.stdout + here.stderr
    if torch.backends.cpu.get_cpu_capability() == "DEFAULT":
        pytest.skip("this process has no wide instructions to leave out")
    there = call("check", ATEN_CPU_CAPABILITY="default")
    assert there.returncode == 0, there.stdout + there.stderr
    assert "    kernels torch " in there.stdout and "    arithmetic " in there.stdout
    assert there.stdout.endswith("  within the seeds' spread\n"), there.stdout


def test_the_cheapest_stored_row_is_made_again(monkeypatch, capsys):
    """In all digits where all that decides them is as it was, else within the spread of seeds."""
    monkeypatch.chdir(ROOT)
    assert main(["check"]) == 0, capsys.readouterr().out
