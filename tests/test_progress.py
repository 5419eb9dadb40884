"""What long calls say: nothing while they are fast, then what they do, without any package."""

import sys
import time

import pytest
import torch
from torch import nn

from snnlib import _progress, init, probe
from snnlib.neurons import LIF

BATCH = torch.randn(4, 6, 20, generator=torch.Generator().manual_seed(0))


class Slow(nn.Module):
    """Works for some milliseconds; a sleeping process would not count."""

    def forward(self, x):
        end = time.process_time() + 0.08
        while time.process_time() < end:
            pass
        return x


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(20, 30), LIF(threshold=0.3), Slow(), nn.Linear(30, 5), LIF())


CALLS = {
    "diagnose": lambda **kwargs: probe.diagnose(network(), BATCH, networks=2, **kwargs),
    "initialize_": lambda **kwargs: init.initialize_(network(), "lsuv", example=BATCH, **kwargs),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_long_call_says_what_it_does_and_may_be_silent(name, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    CALLS[name]()
    assert not capsys.readouterr().err  # a fast one
    monkeypatch.setattr(_progress, "AFTER", 0.02)
    CALLS[name]()
    lines = capsys.readouterr().err.splitlines()
    assert lines and all(line.startswith(f"{name}: ") for line in lines)
    # At times that double: two seconds of work are eight lines at most.
    assert len(lines) <= 8
    told = {"diagnose": "the forward pass: layer 1", "initialize_": "following values"}
    assert any(told[name] in line for line in lines), lines
    CALLS[name](progress=False)
    assert not capsys.readouterr().err


@pytest.mark.parametrize("name", CALLS)
def test_progress_is_true_or_false(name):
    with pytest.raises(ValueError, match="progress must be True or False, got 'yes'"):
        CALLS[name](progress="yes")


def test_a_call_inside_of_another_says_nothing_itself(monkeypatch, capsys):
    monkeypatch.setattr(_progress, "AFTER", 0.02)
    with _progress.shown("outer"), _progress.shown("inner"):
        _progress.stage("work")
        Slow()(None)
    assert capsys.readouterr().err.startswith("outer: 0 s, work")


def test_without_threads_there_is_no_progress(monkeypatch, capsys):
    def refuse(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(_progress.threading.Thread, "start", refuse)
    with _progress.shown("call"):
        pass
    assert not capsys.readouterr().err
