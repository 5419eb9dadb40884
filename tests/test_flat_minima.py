"""The experiment on curvature after training: its networks, its rows, and resuming it."""

from __future__ import annotations

import csv
import math

import pytest
import torch

from snnlib.experiments import flat_minima
from snnlib.experiments.flat_minima import COLUMNS, INITIALIZATIONS, MEASURED

pytest.importorskip("curvlinops")


@pytest.mark.parametrize("name", INITIALIZATIONS)
def test_weights_have_the_variance_of_the_code(name):
    """Standard error of a variance: sqrt(2/N) of it at most; 6 of them are below 7 %."""
    network = flat_minima.build(name, 3, hidden=150)
    for layer in (network.linear1, network.linear2, network.linear3):
        n, m = layer.in_features, layer.out_features
        beta = torch.linspace(-1, 1, 1000)
        want = {
            "ikun": 1 / (1 / (1 + beta**2)).mean().item() / n,
            "kaiming": 2 / n,
            "xavier": 2 / (n + m),
            "normal": 4e-4,
        }[name]
        error = 6 * math.sqrt(2 / (n * m))
        assert abs(layer.weight.square().mean().item() / want - 1) < error
    assert torch.equal(
        network.linear2.weight, flat_minima.build(name, 3, hidden=150).linear2.weight
    )


def test_a_row_and_what_is_there_is_not_run_again(tmp_path, monkeypatch):
    found = flat_minima.run("ikun", 0, hidden=6, epochs=1, samples=4)
    assert tuple(found) == MEASURED
    assert all(math.isfinite(value) for value in found.values())
    calls = []

    def quick(initialization, seed, **settings):
        calls.append((initialization, seed))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return found

    monkeypatch.setattr(flat_minima, "run", quick)
    out = tmp_path / "results" / "table.csv"
    arguments = ["--seeds", "1", "--hidden", "6", "--epochs", "1", "--out", str(out)]
    with pytest.raises(KeyboardInterrupt):
        flat_minima.main(arguments)
    flat_minima.main(arguments)
    assert len(calls) == 9, "two done, one killed, six left"
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS and len(rows) == 8
    assert {row["initialization"] for row in rows} == set(INITIALIZATIONS)
    assert rows[0]["commit"] and rows[0]["machine"] and float(rows[0]["seconds"]) >= 0


def test_unknown_initialization():
    with pytest.raises(ValueError, match="initialization must be one of ikun"):
        flat_minima.build("best", 0)
