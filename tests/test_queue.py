"""The queue: pauses, priorities, when what will be done, and the limit of hours."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from snnlib.experiments import PROTOCOLS, __main__, pausing, runner
from snnlib.experiments.forecast import Ahead, Hours, forecast, within_limit
from snnlib.experiments.protocol import Protocol, Size
from snnlib.experiments.store import Store


def protocol(name, *, conditions=2, priority=0):
    def apply(settings, labels):
        settings["x"] = labels["x"]

    return Protocol(
        name=name,
        question="",
        source="",
        labels=("x",),
        conditions=[{"x": x} for x in range(conditions)],
        apply=apply,
        sizes={"desk": Size({"of": name}, (0, 1), "")},
        x="x",
        series="x",
        priority=priority,
    )


def pretend(settings):
    return {"test_accuracy": 0.5, "diverged": ""}


# --- pausing -----------------------------------------------------------------------------------


def test_a_pause_counts_while_its_process_lives(tmp_path):
    assert pausing.holders(tmp_path) == []
    with pausing.paused("benchmarks", tmp_path):
        assert pausing.holders(tmp_path) == ["benchmarks"]
        pausing.pause("my talk", tmp_path)
        assert sorted(pausing.holders(tmp_path)) == ["benchmarks", "my talk"]
        pausing.resume(tmp_path)
        assert pausing.holders(tmp_path) == ["benchmarks"]
    assert pausing.holders(tmp_path) == []
    pausing.resume(tmp_path)  # twice is no error
    ended = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True
    )
    (tmp_path / "paused" / ended.stdout.decode().strip()).write_text("a process that was killed")
    (tmp_path / "paused" / "other").write_text("no process")
    assert pausing.holders(tmp_path) == []


def test_a_block_that_fails_takes_its_pause_back(tmp_path):
    with pytest.raises(KeyboardInterrupt), pausing.paused("a build", tmp_path):
        raise KeyboardInterrupt
    assert pausing.holders(tmp_path) == []
    # where no note can be left, the block runs all the same
    with pausing.paused("a build", tmp_path / "file" / os.devnull.strip("/")):
        pass
    with pausing.paused("a build", type(tmp_path)(os.devnull)):
        pass


def test_no_run_is_begun_during_a_pause(tmp_path, monkeypatch, capsys):
    store, slept = Store(tmp_path), []

    def sleep(seconds):
        slept.append(len(list(tmp_path.glob("*.json"))))
        if len(slept) == 3:
            pausing.resume(tmp_path)

    monkeypatch.setattr(pausing.time, "sleep", sleep)
    tasks = runner.queue([protocol("a")], "desk")

    def pausing_train(settings):
        if settings["x"] == 1 and settings["seed"] == 0:  # the second run of four
            pausing.pause("in between", tmp_path)
        return pretend(settings)

    assert runner.work(tasks, store, train=pausing_train) == 4
    assert slept == [2, 2, 2]  # two were done, and none was added while it lasted
    assert capsys.readouterr().out == "paused: in between\n"


def test_a_limit_of_time_ends_a_pause(tmp_path, monkeypatch):
    clock = iter(range(0, 10_000, 20))
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(pausing.time, "sleep", lambda seconds: None)
    pausing.pause("for ever", tmp_path)
    tasks = runner.queue([protocol("a")], "desk")
    assert runner.work(tasks, Store(tmp_path), minutes=5, train=pretend) == 0


# --- order and forecast ------------------------------------------------------------------------


def test_a_higher_priority_comes_first_then_the_seeds_in_turn():
    tasks = runner.queue([protocol("a"), protocol("b", conditions=1, priority=2)], None)
    said = [(t.protocol.name, t.run.seed, t.run.labels["x"]) for t in tasks]
    assert said == [
        ("b", 0, 0), ("b", 1, 0), ("a", 0, 0), ("a", 0, 1), ("a", 1, 0), ("a", 1, 1),
    ]  # fmt: skip


def test_a_forecast_follows_the_order_of_the_queue():
    tasks = runner.queue([protocol("a"), protocol("b", conditions=1)], "desk")
    found = forecast(tasks, {"a": 10.0, "b": 30.0}, jobs=2)
    # a a b | a a b at two at a time: 10 + 10 + 30 + 10 + 10 = 70 of a's last, 100 of b's
    assert found == {"a": Ahead(4, 40.0, 35.0), "b": Ahead(2, 60.0, 50.0)}
    unknown = forecast(tasks, {"a": 10.0, "b": None})
    assert unknown["a"] == Ahead(4, 40.0, None)  # b runs in between
    assert unknown["b"] == Ahead(2, None, None)
    with pytest.raises(ValueError, match="jobs must be positive, got 0"):
        forecast(tasks, {"a": 1.0, "b": 1.0}, jobs=0)


def test_what_does_not_fit_leaves_its_room_to_others():
    hours = {"a": Hours(30.0, 5.0), "b": Hours(0.0, None), "c": Hours(1.0, 6.0)}
    assert within_limit(hours | {"d": Hours(0.0, 4.0)}) == {
        "a": True, "b": False, "c": False, "d": True,
    }  # fmt: skip


# --- command line ------------------------------------------------------------------------------


@pytest.fixture
def alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(__main__, "train", pretend)
    for name in list(PROTOCOLS):
        monkeypatch.delitem(PROTOCOLS, name)
    for name in "ab":
        monkeypatch.setitem(PROTOCOLS, name, protocol(name))


def test_the_command_line_pauses_and_says_when_it_is_done(alone, capsys):
    place = ["--cache", "cache"]
    assert __main__.main(["pause", *place]) == 0
    assert __main__.main(["status", "a", *place]) == 0
    assert capsys.readouterr().out.startswith("paused: by hand\na desk: 0 of 4 runs; open")
    assert __main__.main(["resume", *place]) == 0
    assert __main__.main(["run", "a", "b", "--first", "b", "--seeds", "1", *place]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[1] == "4 runs in 1 process(es), first b desk, x 0, seed 0"
    assert shown[2:4] == ["  b: 2 runs", "  a: 2 runs"]
    assert __main__.main(["run", "a", *place]) == 0
    shown = capsys.readouterr().out
    assert "  a: 2 runs, 0 s of work, done about " in shown
    assert __main__.main(["status", "a", "--watch", *place]) == 0  # nothing is left to watch
    assert capsys.readouterr().out == "\x1b[2J\x1b[Ha desk: 4 of 4 runs\n"
    assert __main__.main(["run", "a", "--first", "b", *place]) == 2
    assert "--first must name experiments that are run, got 'b'" in capsys.readouterr().err


def test_watching_ends_when_nothing_is_left(alone, capsys, monkeypatch):
    store, slept = Store("cache"), []

    def sleep(seconds):
        slept.append(seconds)
        runner.sweep(replace(PROTOCOLS["a"]), "desk", store, train=pretend)

    monkeypatch.setattr(__main__.time, "sleep", sleep)
    assert __main__.main(["status", "a", "--watch", "7", "--cache", "cache"]) == 0
    assert slept == [7.0]
    assert "a desk: 4 of 4 runs" in capsys.readouterr().out


def test_hours_of_registered_experiments_have_a_limit(tmp_path, capsys, monkeypatch):
    from snnlib.experiments.registered import RULES

    monkeypatch.chdir(tmp_path)
    assert __main__.main(["hours", "--cache", "cache"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines[:-1]] == list(RULES)
    assert lines[-1] == "together 0.00 of 40 core-hours spent"
    rule = RULES["below-eq10"]
    hours = len(rule.conditions) * len(rule.seeds) * rule.planned.seconds / 3600
    assert f"below-eq10: 0.00 h spent, {hours:.2f} h left" in lines
