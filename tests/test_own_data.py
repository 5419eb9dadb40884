"""The papers' own data sets: a tiny file in the real format through the whole of each experiment.

Read, encoded, trained, evaluated, stored, written as a table and read again; with the settings of
the paper's size but for the samples held out, the epochs and, of the largest networks, the width.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import pytest
from test_data_sources import (  # noqa: F401
    atis,
    cache,
    idx_bytes,
    images,
    tiny,
    tiny_cifar,
    web,
    zipped,
)

from snnlib import data
from snnlib.data import mnist
from snnlib.experiments import PROTOCOLS, Store, read, rows, sweep, write
from snnlib.experiments.protocol import Size


@pytest.fixture
def folder(tmp_path, monkeypatch):
    place = tmp_path / "here"
    place.mkdir()
    monkeypatch.setenv("SNNLIB_DATA", str(place))
    return place


def few(read, split=None):
    """A reader of one recording of each class."""

    @functools.wraps(read)
    def reading(part, **given):
        return read(split or part, **given | {"per_class": 1})

    return reading


def through(name, tmp_path, *, conditions=None, **network):
    """Rows of an experiment on the few samples that are there."""
    protocol = PROTOCOLS[name]
    size = protocol.sizes["paper"]
    chosen = conditions or (protocol.conditions[0], protocol.conditions[-1])

    def apply(settings, labels):
        protocol.apply(settings, labels)
        settings["training"]["epochs"] = 1
        settings["network"] |= network
        if settings["data"].get("held_out"):
            settings["data"]["held_out"] = 2

    small = dataclasses.replace(
        protocol,
        conditions=list(chosen),
        apply=apply,
        sizes={"paper": Size(size.settings, (0,), "")},
    )
    store = Store(tmp_path / "store")
    assert sweep(small, "paper", store) == len(chosen)
    path = tmp_path / "results" / f"{name}-paper.csv"
    write(path, small, rows(small, "paper", store))
    table = read(path)
    assert [row["seed"] for row in table] == [0] * len(chosen)
    for row in table:
        assert not row["diverged"] and 0 <= row["test_accuracy"] <= 1
        assert len(row["train_loss"]) == 1 and np.isfinite(row["train_loss"]).all()
    return table


@pytest.mark.parametrize("name", ["fig8-digits", "fig10-digits", "fig3-surrogate"])
def test_mnist(name, folder, tmp_path, monkeypatch):
    files = tiny(mnist.FILES, images(14), np.arange(14) % 10, train=8)
    monkeypatch.setattr(mnist, "FILES", {n: f[:2] for n, f in files.items()})
    for file, (_, _, content) in files.items():
        (folder / file.removesuffix(".gz")).write_bytes(content)
    table = through(name, tmp_path)
    if name == "fig8-digits":
        assert len(table[0]["initial_rates"]) == 12  # encoding, ten layers, output


@pytest.mark.parametrize(
    ("name", "kind", "network"),
    [
        ("fig8-cnn", "cifar10", {}),
        ("frozen-threshold", "cifar100", {"width": 1 / 32}),
        ("mpinit-trsg", "cifar100", {"width": 1 / 32}),
        ("learned-leak", "cifar100", {"width": 1 / 32}),
    ],
)
def test_cifar(name, kind, network, folder, tmp_path, monkeypatch):
    small, _, _, content = tiny_cifar(kind, monkeypatch)
    (folder / small.archive).write_bytes(content)
    through(name, tmp_path, **network)


def test_nmnist(folder, tmp_path, monkeypatch):
    pytest.importorskip("tonic")
    from tonic.datasets import NMNIST

    # Tonic takes a folder for complete from 10,000 files on, of training from 60,000: read twice.
    contents = {
        f"Test/{digit}/{index:05d}.bin": atis([(digit, 3, 1, 5), (3, 4, 0, 290_000)])
        for digit in range(10)
        for index in range(1000)
    }
    md5 = zipped(folder / "NMNIST" / "test.zip", contents)
    monkeypatch.setattr(NMNIST, "test_md5", md5)
    monkeypatch.setitem(data.DATASETS, "nmnist", few(data.nmnist.read, "test"))
    through("fig8-nmnist", tmp_path)


@pytest.mark.parametrize("name", ["fig2-neurons", "fig4-initialization", "fig5-shd"])
def test_shd(name, folder, tmp_path, monkeypatch):
    h5py = pytest.importorskip("h5py")
    pytest.importorskip("tonic")
    from tonic.datasets import SHD

    rng = np.random.default_rng(3)
    for split in ("train", "test"):
        path = tmp_path / f"shd_{split}.h5"
        with h5py.File(path, "w") as file:
            times = [np.sort(rng.uniform(0, 1.4, 4000)).astype(np.float16) for _ in range(6)]
            units = [rng.integers(0, 700, 4000).astype(np.uint16) for _ in range(6)]
            for column, values in (("times", times), ("units", units)):
                kind = h5py.vlen_dtype(values[0].dtype)
                made = file.create_dataset(f"spikes/{column}", (6,), dtype=kind)
                for index, value in enumerate(values):
                    made[index] = value
            file["labels"] = np.array([3, 0, 3, 19, 0, 3], np.uint16)
            file["extra/speaker"] = np.zeros(6, np.uint16)
            file["extra/keys"] = np.array([f"word {i}".encode() for i in range(20)])
        archive = folder / "SHD" / f"shd_{split}.h5.zip"
        md5 = zipped(archive, {f"shd_{split}.h5": path.read_bytes()})
        monkeypatch.setattr(SHD, f"{split}_md5", md5)
    through(name, tmp_path)


def test_words(tmp_path, monkeypatch):
    (tmp_path / "ptb.train.txt").write_text(" mr. <unk> is N years old \n he 's <unk> \n" * 40)
    (tmp_path / "ptb.test.txt").write_text(" he is N years old <unk> mr. \n" * 20)
    monkeypatch.chdir(tmp_path)
    words = [
        labels for labels in PROTOCOLS["fig2-own-tasks"].conditions if labels["task"] == "words"
    ]
    (row,) = through("fig2-own-tasks", tmp_path, conditions=words[:1])
    assert row["task"] == "words"
