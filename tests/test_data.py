"""Data sets: their laws, the IDX reader on small and broken files, and where files are found."""

import gzip
import hashlib
import struct
import sys

import numpy as np
import pytest
import torch

from snnlib import data
from snnlib.data import Dataset, fashion_mnist, idx


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def idx_bytes(array: np.ndarray, kind: int = 8) -> bytes:
    return (
        bytes([0, 0, kind, array.ndim])
        + struct.pack(f">{array.ndim}I", *array.shape)
        + (array.tobytes())
    )


# --- digits -------------------------------------------------------------------------------------


def test_digits_are_split_by_class_without_random_numbers():
    from sklearn.datasets import load_digits

    train = data.load("digits", standardize=False)
    test = data.load("digits", split="test", standardize=False)
    assert (len(train), len(test)) == (1442, 355)
    bunch = load_digits()
    for digit in range(10):
        images = torch.from_numpy(bunch.images[bunch.target == digit] / 16).float()[:, None]
        assert torch.equal(test.inputs[test.targets == digit], images[4::5])
        held = torch.arange(len(images)) % 5 == 4
        assert torch.equal(train.inputs[train.targets == digit], images[~held])


@pytest.mark.parametrize("split", ["train", "test"])
def test_inputs_are_standardized_with_the_training_pixels(split):
    raw, standard = (data.load("digits", split=split, standardize=flag) for flag in (False, True))
    pixels = data.load("digits", standardize=False).inputs.double()
    assert standard.mean == pytest.approx(pixels.mean().item(), rel=1e-12)
    assert standard.std == pytest.approx(pixels.std(correction=0).item(), rel=1e-12)
    torch.testing.assert_close(standard.mean + standard.std * standard.inputs, raw.inputs)
    assert standard.inputs.dtype == torch.float32 and standard.targets.dtype == torch.int64
    assert standard.classes == 10 and (standard.name, standard.split) == ("digits", split)
    if split == "train":
        assert abs(standard.inputs.double().mean().item()) < 1e-6
        assert abs(standard.inputs.double().square().mean().item() - 1) < 1e-6
    assert (raw.mean, raw.std) == (0.0, 1.0)
    assert raw.inputs.min() == 0 and raw.inputs.max() == 1


# --- batches ------------------------------------------------------------------------------------


def test_batches_pass_every_sample_once_in_the_order_of_the_generator():
    dataset = Dataset("count", "train", torch.arange(11.0), torch.arange(11) % 3, 3)
    plain = list(dataset.batches(4))
    assert [len(x) for x, _ in plain] == [4, 4, 3]
    assert torch.equal(torch.cat([x for x, _ in plain]), dataset.inputs)
    orders = [
        torch.cat([x for x, _ in dataset.batches(4, seeded(seed))]).tolist() for seed in (1, 1, 2)
    ]
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[0]) == dataset.inputs.tolist() != orders[0]
    for x, y in dataset.batches(4, seeded(3)):
        assert torch.equal(x.long() % 3, y)


def test_a_generator_gives_another_order_each_time():
    dataset = Dataset("count", "train", torch.arange(50.0), torch.zeros(50).long(), 1)
    generator = seeded()
    first, second = (next(iter(dataset.batches(50, generator)))[0] for _ in range(2))
    assert not torch.equal(first, second)


def test_taking_and_moving_keep_the_rest():
    dataset = data.load("digits")
    few = dataset.take(3).to("cpu")
    assert len(few) == 3 and torch.equal(few.inputs, dataset.inputs[:3])
    assert (few.mean, few.classes, few.name) == (dataset.mean, 10, "digits")


# --- the IDX reader -----------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_idx_round_trip(tmp_path, suffix):
    array = np.random.default_rng(0).integers(0, 256, (3, 4, 5), dtype=np.uint8)
    content = idx_bytes(array)
    path = tmp_path / f"images{suffix}"
    path.write_bytes(gzip.compress(content) if suffix else content)
    read = idx.read(path, shape=(3, 4, 5), sha256=hashlib.sha256(content).hexdigest())
    assert np.array_equal(read, array)


ARRAY = np.arange(12, dtype=np.uint8).reshape(3, 4)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("cut.gz", gzip.compress(idx_bytes(ARRAY), mtime=0)[:-9], "truncated or not a gzip file"),
        ("text.gz", b"<html>not found</html>", "truncated or not a gzip file"),
        (
            "flipped.gz",
            gzip.compress(bytes(99), mtime=0)[:10] + b"\xff" * 20,
            "truncated or not a gzip",
        ),
        ("empty", b"", "not an IDX file .* got nothing"),
        ("text", b"<html>", "not an IDX file .* 3c 68 74 6d"),
        ("float", idx_bytes(ARRAY, kind=0x0D), "not an IDX file of unsigned bytes"),
        ("header", idx_bytes(ARRAY)[:7], "ends within the 2 dimensions"),
        ("short", idx_bytes(ARRAY)[:-1], "must hold 12 bytes .* got 11: truncated or too long"),
        ("long", idx_bytes(ARRAY) + b"\0", "must hold 12 bytes .* got 13"),
        ("shape", idx_bytes(ARRAY.T), r"must have shape \(3, 4\), got \(4, 3\)"),
        ("other", idx_bytes(ARRAY + 1), "is corrupt: the SHA-256"),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 12 else "",
)
def test_a_broken_file_is_refused_by_name(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        idx.read(path, shape=(3, 4), sha256=hashlib.sha256(idx_bytes(ARRAY)).hexdigest())
    assert str(path) in str(caught.value)


# --- Fashion-MNIST ------------------------------------------------------------------------------


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """No environment variable and no folder leads to real files."""
    monkeypatch.delenv("SNNLIB_DATA", raising=False)
    for name in ("XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_DATA_DIRS"):
        monkeypatch.setenv(name, str(tmp_path / name))
    return tmp_path


@pytest.fixture
def small_files(monkeypatch):
    """Files of the real format with six training and two test images; their content by name."""
    generator = np.random.default_rng(0)
    contents = {}
    for prefix, count in (("train", 6), ("t10k", 2)):
        images = generator.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = np.arange(count, dtype=np.uint8)
        contents[f"{prefix}-images-idx3-ubyte"] = images
        contents[f"{prefix}-labels-idx1-ubyte"] = labels
    known = {
        name: (array.shape, hashlib.sha256(idx_bytes(array)).hexdigest())
        for name, array in contents.items()
    }
    monkeypatch.setattr(fashion_mnist, "FILES", known)
    return contents


@pytest.mark.parametrize(
    ("variable", "folder"),
    [
        ("SNNLIB_DATA", ""),
        ("SNNLIB_DATA", "fashion-mnist"),
        ("XDG_CACHE_HOME", "snnlib/fashion-mnist"),
        ("XDG_DATA_HOME", "datasets/fashion-mnist"),
        ("XDG_DATA_DIRS", "datasets/fashion-mnist"),
    ],
)
def test_files_are_found_where_the_documentation_says(
    nowhere, small_files, monkeypatch, variable, folder
):
    target = nowhere / "here" / folder
    target.mkdir(parents=True)
    monkeypatch.setenv(variable, str(nowhere / "here"))
    for name, array in small_files.items():
        if name.startswith("train"):
            (target / f"{name}.gz").write_bytes(gzip.compress(idx_bytes(array)))
        else:
            (target / name).write_bytes(idx_bytes(array))
    train, test = (data.load("fashion_mnist", split=split) for split in ("train", "test"))
    raw = small_files["train-images-idx3-ubyte"]
    assert train.inputs.shape == (6, 1, 28, 28) and len(test) == 2
    assert train.targets.tolist() == list(range(6))
    torch.testing.assert_close(
        255 * (train.mean + train.std * train.inputs[:, 0]), torch.from_numpy(raw).float()
    )
    assert (test.mean, test.std) == (train.mean, train.std)


def test_a_missing_file_names_three_ways_to_get_it(nowhere):
    with pytest.raises(FileNotFoundError) as caught:
        data.load("fashion_mnist")
    message = str(caught.value)
    assert "dataset-fashion-mnist" in message
    assert str(nowhere / "XDG_CACHE_HOME" / "snnlib" / "fashion-mnist") in message
    assert "SNNLIB_DATA" in message


def test_a_file_cut_off_is_refused_by_name(nowhere, small_files, monkeypatch):
    monkeypatch.setenv("SNNLIB_DATA", str(nowhere))
    for name, array in small_files.items():
        (nowhere / name).write_bytes(idx_bytes(array))
    cut = nowhere / "train-images-idx3-ubyte"
    cut.write_bytes(cut.read_bytes()[:-100])
    with pytest.raises(ValueError, match="train-images-idx3-ubyte must hold 4704 bytes"):
        data.load("fashion_mnist")


def test_the_real_files_pass_their_checksums():
    try:
        dataset = data.load("fashion_mnist")
    except FileNotFoundError:
        pytest.skip("Fashion-MNIST is not on this machine")
    assert dataset.inputs.shape == (60_000, 1, 28, 28)
    assert dataset.targets.bincount().tolist() == [6000] * 10
    assert dataset.mean == pytest.approx(0.2860, abs=5e-5)  # the values in common use
    assert dataset.std == pytest.approx(0.3530, abs=5e-5)


# --- bad input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: data.load("imagenet"),
            "name must be one of digits, .*, got 'imagenet'",
        ),
        (lambda: data.load("digits", split="validation"), "split must be one of train, test"),
        (lambda: data.load("digits").batches(0), "batch_size must be a positive integer, got 0"),
        (lambda: data.load("digits").take(5000), "count must be between 1 and 1442, got 5000"),
        (
            lambda: Dataset("x", "train", torch.zeros(3), torch.zeros(2).long(), 1),
            "3 inputs and 2 targets",
        ),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.delitem(sys.modules, "sklearn.datasets", raising=False)
    with pytest.raises(ImportError, match=r"snnlib\[data\]"):
        data.load("digits")
