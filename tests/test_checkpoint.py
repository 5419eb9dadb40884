"""Checkpoints: killed, interrupted, damaged, of another training; memory over epochs."""

import gc
import math
import multiprocessing
import os
import random
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from snnlib import data
from snnlib.membrane import MPInit
from snnlib.networks import FeedForward, mlp, recurrent, residual
from snnlib.training import CorruptCheckpoint, fit, metrics, spike_count
from snnlib.training import checkpoint as checkpoints
from snnlib.training.checkpoint import digest, tensors

# Forks of a process that imported what takes long and did nothing else.
FORK = multiprocessing.get_context("forkserver" if sys.platform != "win32" else "spawn")
FORK.set_forkserver_preload(["snnlib.training", "sklearn.datasets", "torch._dynamo", "pytest"])


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def train_data(count: int = 300) -> data.Dataset:
    return data.load("digits", standardize=False).take(count)


def network_of(seed: int = 1, leak: float = 0.5) -> FeedForward:
    """Random in training, with a number that runs along (MP-Init)."""
    layers = mlp([64, 40, 10], threshold=0.5, leak=leak, initial=MPInit(), generator=seeded(seed))
    return FeedForward(*layers, nn.Dropout(0.2))


ALL = dict(
    epochs=6,
    steps=4,
    batch_size=32,
    learning_rate=3e-3,
    optimizer="adamw",
    weight_decay=1e-2,
    encoding="poisson",
    label_smoothing=0.1,
    clip_norm=1.0,
    averaging="swa",
    averaging_start=0.5,
    accuracy="mode",
    seed=3,
    progress=False,
)


def outcome(network, history) -> tuple:
    return history, digest(tensors(network))


def train(path: Path | None = None, count: int = 300, **others) -> tuple:
    network = network_of()
    validation = data.load("digits", split="test", standardize=False).take(50)
    settings = ALL | dict(validation=validation, checkpoint_every=0) | others
    return outcome(network, fit(network, train_data(count), checkpoint=path, **settings))


# --- killed at any moment -------------------------------------------------------------------------


def child(path: Path, batches: int | None, result) -> None:
    """Train; die in the middle of a batch, after so many, if a number is given."""
    torch.set_num_threads(1)
    count, made = metrics.correct, iter(range(10**6))

    def correct(*arguments):
        if next(made) == batches:
            os.kill(os.getpid(), signal.SIGKILL)
        return count(*arguments)

    metrics.correct = correct
    result.send(train(path))


def start(path: Path, batches: int | None = None) -> tuple:
    # A pipe needs no semaphore, which not every machine has.
    result, end = FORK.Pipe(duplex=False)
    process = FORK.Process(target=child, args=(path, batches, end))
    process.start()
    end.close()
    return process, result


def test_five_kills_change_nothing(tmp_path):
    """SIGKILL in a random batch, five times; then the rest without."""
    path, draw, seen = tmp_path / "run.pt", random.Random(0), []
    expected = train()
    # A checkpoint changes no number.
    assert train(tmp_path / "other" / "run.pt") == expected
    for _ in range(5):
        process, _ = start(path, draw.randint(3, 10))  # of 60 updates and 6 validations
        process.join()
        assert process.exitcode == -signal.SIGKILL
        state = checkpoints.read(path)["state"]
        seen.append((state["epoch"], state["batch"]))
    assert seen == sorted(set(seen)), seen
    process, result = start(path)
    assert result.recv() == expected
    process.join()
    assert train(path) == expected  # it is finished, and not made again


def stopped_at(path: Path, update: int, monkeypatch, **settings) -> None:
    """Stop a training in the middle of writing the checkpoint after so many updates."""
    write, count = checkpoints.write, iter(range(10**6))

    def stop(where, content):
        if next(count) == update:
            where.with_name(where.name + ".part").write_bytes(b"half a check")
            raise RuntimeError("killed")
        write(where, content)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "write", stop)
        with pytest.raises(RuntimeError, match="killed"):
            train(path, **settings)


@pytest.mark.parametrize(
    "settings",
    [
        dict(optimizer="adam", schedule="constant"),
        dict(optimizer="sgd", momentum=0.5, averaging=None),
        dict(optimizer="adabelief", encoding="constant"),
        dict(optimizer="adamw", encoding="latency", steps=12),
    ],
    ids=lambda settings: settings["optimizer"],
)
def test_every_optimizer_goes_on_where_it_was(tmp_path, monkeypatch, settings):
    """Stopped inside an epoch, at its end, and in the epochs that are averaged."""
    if settings["optimizer"] == "adabelief":
        pytest.importorskip("pytorch_optimizer")
    settings |= dict(count=100, epochs=4)  # updates 0-3, 4-7, 8-11, 12-15
    expected = train(**settings)
    for update in (2, 1, 6, 5):  # of what is left
        stopped_at(tmp_path / "run.pt", update, monkeypatch, **settings)
    assert train(tmp_path / "run.pt", **settings) == expected


def test_batch_norms_and_sequences_go_on_too(tmp_path, monkeypatch):
    """The residual network's running statistics; then tokens with a target per step."""

    def normed(path=None):
        images = data.load("digits").take(60)
        network = residual((1, 8, 8), 10, width=1 / 64, blocks=(1,), channels=(256,),
                           initial=MPInit(), generator=seeded())  # fmt: skip
        return outcome(network, fit(network, images, epochs=3, batch_size=20, loss="mean_output",
                                    averaging="swa", averaging_start=0.0, progress=False,
                                    checkpoint=path, checkpoint_every=0))  # fmt: skip

    def text(path=None):
        tokens = torch.randint(5, (12, 7), generator=seeded())
        dataset = data.Dataset("t", "train", tokens[:, :-1], tokens[:, 1:], 5, sequence=True)
        network = nn.Sequential(nn.Embedding(5, 8), recurrent([8, 6, 5], generator=seeded()))
        with torch.random.fork_rng():
            torch.manual_seed(0)
            network[0].reset_parameters()
        return outcome(network, fit(network, dataset, epochs=3, batch_size=5, loss="every_step",
                                    progress=False, checkpoint=path,
                                    checkpoint_every=0))  # fmt: skip

    write = checkpoints.write
    for index, run in enumerate((normed, text)):
        expected, path, count = run(), tmp_path / f"{index}.pt", iter(range(10**6))

        def stop(where, content, count=count):
            if next(count) == 4:
                raise RuntimeError("killed")
            write(where, content)

        monkeypatch.setattr(checkpoints, "write", stop)
        with pytest.raises(RuntimeError, match="killed"):
            run(path)
        monkeypatch.setattr(checkpoints, "write", write)
        assert run(path) == expected


# --- Ctrl-C ---------------------------------------------------------------------------------------


def test_ctrl_c_leaves_a_checkpoint_of_the_last_update(tmp_path):
    """The update that is being made is finished; the same network or a new one goes on."""
    path, expected = tmp_path / "run.pt", train(loss=spike_count, count=100)
    calls, before = [], signal.getsignal(signal.SIGINT)

    def interrupted(output, targets, **smoothing):
        if torch.is_grad_enabled():
            calls.append(0)
            if len(calls) == 6:
                signal.raise_signal(signal.SIGINT)
        return spike_count(output, targets, label_smoothing=0.1 * torch.is_grad_enabled())

    network, settings = network_of(), ALL | dict(label_smoothing=0.0, loss=interrupted)
    settings["validation"] = data.load("digits", split="test", standardize=False).take(50)
    with pytest.raises(KeyboardInterrupt):
        fit(network, train_data(100), checkpoint=path, **settings)
    assert len(calls) == 6 and signal.getsignal(signal.SIGINT) is before
    state = checkpoints.read(path)["state"]
    assert (state["epoch"], state["batch"]) == (1, 2)  # four batches per epoch
    assert digest(state["network"]) == digest(tensors(network))
    history = fit(network, train_data(100), checkpoint=path, **settings)
    assert outcome(network, history) == expected


# --- refused --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("finished") / "run.pt"
    train(path, count=64, epochs=1)
    return path


@pytest.mark.parametrize("damage", ["truncated", "one bit", "empty", "longer", "other file"])
def test_a_damaged_checkpoint_is_refused_by_name(finished, tmp_path, damage):
    raw, path = bytearray(finished.read_bytes()), tmp_path / "bad.pt"
    if damage == "one bit":
        raw[len(raw) // 2] ^= 1
    changed = {"truncated": raw[:-9], "one bit": raw, "empty": b"", "longer": raw + b"0",
               "other file": b"PK" + raw}[damage]  # fmt: skip
    path.write_bytes(changed)
    network = network_of()
    before = digest(tensors(network))
    with pytest.raises(CorruptCheckpoint, match=r"bad\.pt"):
        fit(network, train_data(64), checkpoint=path, progress=False)
    assert digest(tensors(network)) == before and path.read_bytes() == bytes(changed)


@pytest.mark.parametrize(
    ("name", "value"),
    [("learning_rate", 1e-3), ("epochs", 2), ("seed", 4), ("loss", "every_step"),
     ("optimizer", "adam"), ("clip_norm", None), ("validation", None), ("count", 63)],
)  # fmt: skip
def test_a_checkpoint_of_other_settings_is_refused_by_the_setting(finished, name, value):
    other = dict(count=64, epochs=1) | {name: value}
    shown = "data" if name == "count" else name
    with pytest.raises(ValueError, match=f"is of another training: {shown} is .*, was "):
        train(finished, **other)


def test_a_checkpoint_of_other_data_or_another_network_is_refused(finished):
    validation = data.load("digits", split="test", standardize=False).take(50)
    settings = ALL | dict(epochs=1, validation=validation, checkpoint=finished)
    images = train_data(64)
    inputs = images.inputs.clone()
    inputs[5, 0, 2, 2] += 1e-3
    with pytest.raises(ValueError, match="another training: data is"):
        fit(network_of(), replace(images, inputs=inputs), **settings)
    with pytest.raises(ValueError, match="network has other weights at the start"):
        fit(network_of(2), images, **settings)
    with pytest.raises(ValueError, match="network has other layers"):
        fit(network_of(leak=0.6), images, **settings)


def test_other_versions_are_told(finished, monkeypatch):
    monkeypatch.setattr(torch, "__version__", "2.6.0")
    with pytest.warns(UserWarning, match=r"goes on with torch 2\.6\.0, was"):
        train(finished, count=64, epochs=1)


def test_a_checkpoint_executes_nothing(tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "trap"),)

    path = tmp_path / "run.pt"
    checkpoints.write(path, {"settings": Trap()})
    with pytest.raises(Exception, match=r"[Ww]eights"):
        fit(network_of(), train_data(64), checkpoint=path, progress=False)
    assert not (tmp_path / "trap").exists()


def test_bad_places_and_intervals_are_refused(tmp_path):
    with pytest.raises(ValueError, match="checkpoint must be a file, got the folder"):
        train(tmp_path, count=64)
    for every in (-1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="checkpoint_every must be >= 0 and finite"):
            train(tmp_path / "run.pt", count=64, checkpoint_every=every)


# --- memory ---------------------------------------------------------------------------------------


def growth(leak: bool, epochs: int, result) -> None:
    """Live tensors after each epoch, and by how many bytes the memory grew in the second half."""
    import resource  # not on Windows

    torch.set_num_threads(1)
    kept, live, peak = [], [], []

    class Watch(nn.Module):
        def forward(self, x):
            if not self.training:
                if not live:
                    gc.freeze()  # what is there now is not counted
                gc.collect()
                live.append(sum(isinstance(thing, torch.Tensor) for thing in gc.get_objects()))
                peak.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
            return x

    class Keep(nn.Module):
        def forward(self, x):
            if leak and self.training:
                kept.append(x.detach())
            return x

    layers = mlp([64, 400, 10], generator=seeded())
    network = FeedForward(*layers[:-2], Keep(), *layers[-2:], Watch())
    images = data.load("digits").take(256)
    fit(network, images, epochs=epochs, steps=4, batch_size=128, averaging="swa",
        averaging_start=0.0, validation=images.take(10), progress=False)  # fmt: skip
    result.send((live[len(live) // 2 :], peak[-1] - peak[len(peak) // 2]))


@pytest.mark.parametrize("leak", [False, True])
def test_memory_does_not_grow_with_epochs(leak):
    """A planted leak of one layer's spikes per update is seen in both numbers."""
    result, end = FORK.Pipe(duplex=False)
    process = FORK.Process(target=growth, args=(leak, 24, end))
    process.start()
    end.close()
    live, bytes_more = result.recv()
    process.join()
    leaked = (len(live) - 1) * 2 * 4 * 128 * 400 * 4  # two batches of float32 spikes per epoch
    if leak:
        assert live[-1] >= live[0] + 2 * (len(live) - 1)
        assert bytes_more > leaked / 2
    else:
        assert len(set(live)) == 1, live
        assert bytes_more < leaked / 4


# --- on a GPU -------------------------------------------------------------------------------------


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_a_gpu_goes_on_where_it_was(tmp_path, monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    settings = dict(device="cuda", deterministic=True, count=100, epochs=4)
    expected = train(**settings)
    for update in (2, 1, 6):
        stopped_at(tmp_path / "run.pt", update, monkeypatch, **settings)
    assert train(tmp_path / "run.pt", **settings) == expected
