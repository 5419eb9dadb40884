"""Data from files and the network: small files in the real formats, through the real readers.

The network is replaced below urllib: what scikit-learn, tonic and the library ask for comes from a
dictionary of addresses, anything else is an unknown host.
"""

import gzip
import hashlib
import http.client
import io
import json
import struct
import sys
import tarfile
import time
import urllib.error
import urllib.request
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch

from snnlib import data
from snnlib.data import cifar, events, fashion_mnist, mnist, text

THREE_WAYS = "Three ways to get it: .*; .*; or .*SNNLIB_DATA"


class Socket:
    """As much of a socket as an HTTP response reads."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def makefile(self, mode: str) -> io.BytesIO:
        return io.BytesIO(self.content)


class Web(urllib.request.HTTPSHandler, urllib.request.HTTPHandler):
    """Addresses and what is behind them."""

    def __init__(self) -> None:
        super().__init__()
        self.pages: dict[str, bytes] = {}
        self.asked: list[str] = []

    def https_open(self, request):
        self.asked.append(request.full_url)
        if request.full_url not in self.pages:
            raise urllib.error.URLError("unknown host")
        body = self.pages[request.full_url]
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n"
        response = http.client.HTTPResponse(Socket(head.encode() + body))
        response.begin()
        response.url, response.msg = request.full_url, "OK"
        return response

    http_open = https_open


@pytest.fixture(autouse=True)
def web(tmp_path, monkeypatch):
    """No real network, no real files, no waiting between attempts."""
    handler = Web()
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), handler)
    monkeypatch.setattr(urllib.request, "_opener", opener)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    monkeypatch.delenv("SNNLIB_DATA", raising=False)
    for name in ("XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_DATA_DIRS"):
        monkeypatch.setenv(name, str(tmp_path / name))
    return handler


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "XDG_CACHE_HOME" / "snnlib"


def idx_bytes(array: np.ndarray) -> bytes:
    return (
        bytes([0, 0, 8, array.ndim])
        + struct.pack(f">{array.ndim}I", *array.shape)
        + array.astype(np.uint8).tobytes()
    )


def tiny(known: dict, pictures: np.ndarray, labels: np.ndarray, train: int) -> dict:
    """The table of IDX files for six training and four test images."""
    parts = {"train": slice(None, train), "t10k": slice(train, None)}
    contents = {
        name: (pictures if "images" in name else labels)[parts[name.partition("-")[0]]]
        for name in known
    }
    return {
        name: (array.shape, hashlib.sha256(idx_bytes(array)).hexdigest(), idx_bytes(array))
        for name, array in contents.items()
    }


def images(count: int, side: int = 28, channels: int = 1, seed: int = 0) -> np.ndarray:
    shape = (count, side, side) if channels == 1 else (count, channels * side * side)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


# --- offline ------------------------------------------------------------------------------------

NETWORK = ["fashion_mnist", "mnist", "cifar10", "cifar100", "nmnist", "dvs_cifar10", "shd"]


@pytest.mark.parametrize("name", NETWORK)
@pytest.mark.parametrize("options", [{}, {"download": True}, {"refresh": True}], ids=str)
@pytest.mark.filterwarnings("ignore:A network error")
def test_offline_is_one_error_that_names_three_ways(web, cache, name, options, capfd):
    if name in ("nmnist", "dvs_cifar10", "shd"):
        pytest.importorskip("tonic")
        pytest.importorskip("aedat")
    with pytest.raises(FileNotFoundError, match=THREE_WAYS) as caught:
        data.load(name, **options)
    message = str(caught.value)
    assert f"load({name!r}, download=True)" in message
    assert str(cache / name.replace("_", "-")) in message
    assert ("unknown host" in message) == bool(options)
    assert bool(web.asked) == bool(options)  # nothing is asked for unless that is wanted
    folder = cache / name.replace("_", "-")
    assert not folder.exists() or not list(folder.iterdir())  # and nothing is left behind


# --- Fashion-MNIST ------------------------------------------------------------------------------


@pytest.fixture
def fashion(web, monkeypatch):
    files = tiny(fashion_mnist.FILES, images(10), np.arange(10) % 10, train=6)
    monkeypatch.setattr(fashion_mnist, "FILES", {name: f[:2] for name, f in files.items()})
    for name, (*_, content) in files.items():
        web.pages[f"{fashion_mnist.URLS[1]}/{name}.gz"] = gzip.compress(content)  # the mirror
    return files


def test_fashion_mnist_is_downloaded_once_and_kept(web, cache, fashion):
    first = data.load("fashion_mnist", download=True, standardize=False)
    assert (255 * first.inputs[:, 0]).round().byte().tolist() == images(10)[:6].tolist()
    assert sorted(path.name for path in (cache / "fashion-mnist").iterdir()) == sorted(
        f"{name}.gz" for name in fashion
    )
    web.pages.clear()
    asked = len(web.asked)
    assert torch.equal(
        data.load("fashion_mnist", download=True, standardize=False).inputs, first.inputs
    )
    assert len(data.load("fashion_mnist", split="test")) == 4 and len(web.asked) == asked


def test_a_wrong_download_is_refused_and_not_kept(web, cache, fashion):
    url = next(url for url in web.pages if "train-images" in url)
    web.pages[url] = gzip.compress(gzip.decompress(web.pages[url])[:-1])
    with pytest.raises(ValueError, match=r"train-images-idx3-ubyte.gz must hold 4704 bytes"):
        data.load("fashion_mnist", download=True)
    assert not list((cache / "fashion-mnist").iterdir())


def test_a_damaged_file_is_refused_and_fetched_again_on_request(web, cache, fashion):
    good = data.load("fashion_mnist", download=True)
    path = cache / "fashion-mnist" / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-20])
    for options in ({}, {"download": True}):
        with pytest.raises(ValueError, match=f"{path} is truncated.*refresh=True"):
            data.load("fashion_mnist", **options)
    assert torch.equal(data.load("fashion_mnist", refresh=True).inputs, good.inputs)
    assert torch.equal(data.load("fashion_mnist").inputs, good.inputs)


# --- OpenML -------------------------------------------------------------------------------------


def openml(web: Web, name: str, number: int, table: np.ndarray, targets: np.ndarray) -> str:
    """Serve a data set as OpenML does; the address of its ARFF file."""
    columns = [f"pixel{i}" for i in range(1, table.shape[1] + 1)]
    classes = ",".join(map(str, sorted(set(targets.tolist()))))
    rows = "\n".join(
        ",".join(map(str, (*row, target)))
        for row, target in zip(table.tolist(), targets.tolist(), strict=True)
    )
    head = "\n".join(f"@ATTRIBUTE {column} real" for column in columns)
    arff = (f"@RELATION {name}\n{head}\n@ATTRIBUTE class {{{classes}}}\n@DATA\n{rows}\n").encode()
    address = f"https://www.openml.org/data/v1/download/1/{name}.arff"
    features = [
        {"index": str(i), "name": column, "data_type": "numeric", "is_target": "false"}
        for i, column in enumerate(columns)
    ] + [{"index": str(len(columns)), "name": "class", "data_type": "nominal", "is_target": "true"}]
    for feature in features:
        feature |= {"is_ignore": "false", "is_row_identifier": "false"}
        feature |= {"number_of_missing_values": "0"}
    api = "https://www.openml.org/api/v1/json/data"
    search = f"{api}/list/data_name/{name.lower()}/limit/2/data_version/1"
    description = {
        "id": str(number), "name": name, "version": "1", "description": "x", "format": "ARFF",
        "status": "active", "url": address, "md5_checksum": hashlib.md5(arff).hexdigest(),
    }  # fmt: skip
    entry = {"did": number, "name": name, "version": 1, "status": "active", "format": "ARFF"}
    answers = {
        search: {"data": {"dataset": [entry]}},
        f"{api}/{number}": {"data_set_description": description},
        f"{api}/features/{number}": {"data_features": {"feature": features}},
        f"{api}/qualities/{number}": {
            "data_qualities": {"quality": [{"name": "NumberOfInstances", "value": str(len(table))}]}
        },
    }
    web.pages |= {url: json.dumps(answer).encode() for url, answer in answers.items()}
    web.pages[address] = arff
    return address


@pytest.fixture
def openml_mnist(web, monkeypatch):
    pytest.importorskip("sklearn")
    pictures, labels = images(10), np.arange(10)[::-1].copy()
    files = tiny(mnist.FILES, pictures, labels, train=6)
    monkeypatch.setattr(mnist, "FILES", {name: f[:2] for name, f in files.items()})
    return openml(web, "mnist_784", 554, pictures.reshape(10, -1), labels)


def test_mnist_comes_from_openml_and_is_kept_as_the_original_files(web, cache, openml_mnist):
    train = data.load("mnist", download=True)
    assert train.inputs.shape == (6, 1, 28, 28) and train.targets.tolist() == [9, 8, 7, 6, 5, 4]
    raw = torch.from_numpy(images(10)[:6]).float()
    torch.testing.assert_close(255 * (train.mean + train.std * train.inputs[:, 0]), raw)
    assert abs(train.inputs.double().square().mean().item() - 1) < 1e-6
    web.pages.clear()
    test = data.load("mnist", split="test")
    assert test.targets.tolist() == [3, 2, 1, 0] and test.mean == train.mean
    assert len(list((cache / "mnist").iterdir())) == 4
    # A plain original file in another folder does as well.
    path = cache / "mnist" / "t10k-labels-idx1-ubyte.gz"
    path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
    path.unlink()
    assert data.load("mnist", split="test").targets.tolist() == [3, 2, 1, 0]
    path.with_suffix("").write_bytes(path.with_suffix("").read_bytes()[:-1] + b"\x05")
    with pytest.raises(ValueError, match="t10k-labels-idx1-ubyte is corrupt: the SHA-256"):
        data.load("mnist", split="test")


@pytest.mark.filterwarnings("ignore:Invalid cache")
@pytest.mark.parametrize("damage", ["cut", "changed"])
def test_a_transfer_from_openml_that_breaks_is_refused(web, cache, openml_mnist, damage):
    arff = web.pages[openml_mnist]
    web.pages[openml_mnist] = arff[:-500] if damage == "cut" else arff[:-2] + b"1\n"
    with pytest.raises(ValueError, match=r"md5 checksum of .*mnist_784.arff"):
        data.load("mnist", download=True)
    assert not list((cache / "mnist").iterdir())


def test_other_images_on_openml_are_refused(web, cache, openml_mnist):
    openml(web, "mnist_784", 554, images(10, seed=1).reshape(10, -1), np.arange(10)[::-1].copy())
    with pytest.raises(ValueError, match=r"train-images-idx3-ubyte.gz is corrupt: the SHA-256"):
        data.load("mnist", download=True)
    openml(web, "mnist_784", 554, images(8).reshape(8, -1), np.arange(8))
    with pytest.raises(ValueError, match=r"must have shape \(10, 784\), got \(8, 784\)"):
        data.load("mnist", refresh=True)
    openml(web, "mnist_784", 554, images(10).reshape(10, -1) / 255, np.arange(10))
    with pytest.raises(ValueError, match="integers from 0 to 255, got values from 0 to 1"):
        data.load("mnist", refresh=True)


# --- CIFAR --------------------------------------------------------------------------------------


def tiny_cifar(kind, monkeypatch):
    """Two training images and one test image of each of two classes: source and its archive."""
    pixels, targets = images(6, 32, 3), np.array([0, 1, 1, 0, 1, 0])
    known = cifar.KNOWN[kind]
    rows = pixels[:4].reshape(4, 3, -1)
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as out:
        for split, part in (("train", slice(0, 4)), ("test", slice(4, 6))):
            coarse = np.full((6, known.label_bytes - 1), 77, np.uint8)
            table = np.hstack([coarse, targets[:, None].astype(np.uint8), pixels])[part]
            members = known.members[split]
            for member, lines in zip(members, np.array_split(table, len(members)), strict=True):
                info = tarfile.TarInfo(member)
                info.size = lines.nbytes
                out.addfile(info, io.BytesIO(lines.tobytes()))
    small = replace(
        known,
        classes=2,
        md5=hashlib.md5(archive.getvalue()).hexdigest(),
        means=tuple(rows[:, i].mean() / 255 for i in range(3)),
        sizes={"train": 4, "test": 2},
    )
    monkeypatch.setitem(cifar.KNOWN, kind, small)
    return small, pixels, targets, archive.getvalue()


@pytest.fixture(params=["cifar10", "cifar100"])
def small_cifar(request, monkeypatch):
    return request.param, *tiny_cifar(request.param, monkeypatch)


def agree(name: str, pixels: np.ndarray, targets: np.ndarray) -> None:
    train, test = (data.load(name, split=split, standardize=False) for split in ("train", "test"))
    found = torch.cat([train.inputs, test.inputs])
    assert found.shape == (6, 3, 32, 32) and train.classes == 2
    assert (255 * found).round().byte().flatten(1).tolist() == pixels.tolist()
    assert torch.cat([train.targets, test.targets]).tolist() == targets.tolist()


def test_cifar_comes_from_openml_or_from_the_authors_archive(web, cache, small_cifar):
    pytest.importorskip("sklearn")
    name, small, pixels, targets, archive = small_cifar
    openml(web, small.openml[0], 40927, pixels, targets)
    data.load(name, download=True)
    web.pages.clear()
    agree(name, pixels, targets)
    stored = cache / name / f"{name}.npz"
    content = stored.read_bytes()
    for broken in (content[:-100], content[: len(content) // 2], b"", b"PK\x03\x04"):
        stored.write_bytes(broken)
        with pytest.raises(ValueError, match=f"{stored} is truncated.*refresh=True"):
            data.load(name)
    np.savez(stored, pixels=pixels + 1, targets=targets, sha256=np.array("0" * 64))
    with pytest.raises(ValueError, match=f"{stored} is corrupt"):
        data.load(name)
    np.savez(stored, pixels=np.array([object()]), targets=targets, sha256=np.array(""))
    with pytest.raises(ValueError, match="Object arrays cannot be loaded"):  # no pickles
        data.load(name)
    stored.unlink()
    path = cache / name / small.archive
    path.write_bytes(archive)
    agree(name, pixels, targets)
    path.write_bytes(archive[:-1])
    with pytest.raises(ValueError, match=f"{path} is truncated or corrupt: its MD5"):
        data.load(name)
    openml(web, small.openml[0], 40927, pixels, targets)
    assert len(data.load(name, refresh=True)) == 4
    agree(name, pixels, targets)  # what was fetched is found before the damaged archive


def test_shuffled_or_changed_images_are_refused(web, cache, small_cifar):
    pytest.importorskip("sklearn")
    name, small, pixels, targets, _ = small_cifar
    openml(web, small.openml[0], 40927, pixels, np.array([0, 1, 1, 1, 0, 0]))
    with pytest.raises(ValueError, match="2 images of each class in its train rows, got 1 to 3"):
        data.load(name, download=True)
    openml(web, small.openml[0], 40927, pixels, targets + 1)
    with pytest.raises(ValueError, match="classes 0 to 1"):
        data.load(name, download=True)
    planes = pixels.reshape(6, 3, -1)[:, ::-1].reshape(6, -1)  # blue, green, red
    openml(web, small.openml[0], 40927, planes, targets)
    with pytest.raises(ValueError, match="must have the channel means"):
        data.load(name, download=True)
    assert not list((cache / name).iterdir())


# --- event recordings ---------------------------------------------------------------------------


def test_every_event_is_counted_in_its_bin():
    rng = np.random.default_rng(0)
    kind = [("x", int), ("y", int), ("t", int), ("p", int)]
    many = np.zeros(500, kind)
    many["x"], many["y"], many["p"] = (rng.integers(0, n, 500) for n in (8, 6, 2))
    many["t"] = np.sort(rng.integers(700, 9000, 500))
    counted = events.frames(many, steps=5, window=1500.0, shape=(2, 3, 4), pool=2)
    expected = np.zeros((5, 2, 3, 4), int)
    for x, y, t, p in many.tolist():
        if t < 7500:
            expected[t // 1500, p, y // 2, x // 2] += 1
    assert np.array_equal(counted, expected) and counted.dtype == np.uint8
    whole = events.frames(many, steps=5, window=None, shape=(2, 6, 8))
    assert whole.sum() == 500 and whole[0].any() and whole[-1].any()
    full = events.frames(np.repeat(many[:1], 300), steps=1, window=None, shape=(2, 6, 8))
    assert full.max() == 255
    assert not events.frames(many[:0], steps=2, window=None, shape=(2, 6, 8)).any()


def zipped(path, contents: dict[str, bytes]) -> str:
    """Write a ZIP archive; its MD5."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return hashlib.md5(path.read_bytes()).hexdigest()


@pytest.fixture
def shd_file(tmp_path):
    """Six recordings in the format of the Heidelberg sets."""
    h5py = pytest.importorskip("h5py")
    pytest.importorskip("tonic")
    rng = np.random.default_rng(3)
    times = [np.sort(rng.uniform(0, 1.5, 40)).astype(np.float16) for _ in range(6)]
    units = [rng.integers(0, 700, 40).astype(np.uint16) for _ in range(6)]
    labels = np.array([3, 0, 3, 19, 0, 3], np.uint16)
    path = tmp_path / "shd_test.h5"
    with h5py.File(path, "w") as file:
        for name, values in (("times", times), ("units", units)):
            kind = h5py.vlen_dtype(values[0].dtype)
            column = file.create_dataset(f"spikes/{name}", (6,), dtype=kind)
            for index, value in enumerate(values):
                column[index] = value
        file["labels"] = labels
        file["extra/speaker"] = np.zeros(6, np.uint16)
        file["extra/keys"] = np.array([f"word {i}".encode() for i in range(20)])
    return path.read_bytes(), times, units, labels


def test_shd_is_downloaded_by_tonic_and_binned(web, cache, tmp_path, monkeypatch, shd_file):
    from tonic.datasets import SHD

    content, times, units, labels = shd_file
    md5 = zipped(tmp_path / "made.zip", {"shd_test.h5": content})
    monkeypatch.setattr(SHD, "test_md5", md5)
    web.pages[SHD.base_url + SHD.test_zip] = (tmp_path / "made.zip").read_bytes()
    test = data.load("shd", split="test", download=True, steps=70)
    assert test.inputs.shape == (6, 70, 700) and test.inputs.dtype == torch.uint8
    assert test.sequence and test.targets.tolist() == labels.tolist() and test.classes == 20
    assert test.labels[3] == "word 3" and (test.mean, test.std) == (0.0, 1.0)
    expected = np.zeros((6, 70, 700), int)
    for sample, (t, x) in enumerate(zip(times, units, strict=True)):
        steps = (t.astype(np.float64) * 1e6).astype(int) // 20_000  # 1.4 s / 70
        np.add.at(expected[sample], (steps[steps < 70], x[steps < 70]), 1)
    assert np.array_equal(test.inputs.numpy(), expected) and expected.sum() < 240
    web.pages.clear()  # found from now on
    few = data.load("shd", split="test", steps=10, window=1000.0, per_class=1)
    assert few.targets.tolist() == [3, 0, 19] and few.inputs.shape == (3, 10, 700)
    # A truncated extracted file, then a truncated archive: named, and made good on request.
    extracted = cache / "shd" / "SHD" / "shd_test.h5"
    extracted.write_bytes(content[:-10])
    with pytest.raises(ValueError, match=f"{extracted} is truncated.*refresh=True"):
        data.load("shd", split="test")
    assert torch.equal(data.load("shd", split="test", steps=70, refresh=True).inputs, test.inputs)
    archive = cache / "shd" / "SHD" / "shd_test.h5.zip"
    archive.write_bytes(archive.read_bytes()[:-10])
    with pytest.raises(ValueError, match=f"{archive} is truncated or corrupt: its MD5"):
        data.load("shd", split="test")
    with pytest.raises(FileNotFoundError, match=THREE_WAYS):
        data.load("shd", split="test", refresh=True)
    web.pages[SHD.base_url + SHD.test_zip] = archive.read_bytes()
    with pytest.raises(ValueError, match=r"SHD/shd_test.h5.zip arrived truncated or changed"):
        data.load("shd", split="test", refresh=True)
    web.pages[SHD.base_url + SHD.test_zip] = (tmp_path / "made.zip").read_bytes()
    again = data.load("shd", split="test", steps=70, refresh=True)
    assert torch.equal(again.inputs, test.inputs)


def atis(recording: list[tuple[int, int, int, int]]) -> bytes:
    """Events (x, y, polarity, t) in the five-byte format of N-MNIST."""
    return b"".join(
        bytes([x, y, p << 7 | t >> 16, t >> 8 & 255, t & 255]) for x, y, p, t in recording
    )


def test_nmnist_is_read_by_tonic_from_an_archive(tmp_path, monkeypatch):
    pytest.importorskip("tonic")
    from tonic.datasets import NMNIST

    # Tonic takes a folder for complete from 10,000 files on, so many there are.
    one = [(3, 4, 1, 1000), (33, 0, 0, 2500), (3, 4, 1, 290_000)]
    contents = {
        f"Test/{digit}/{index:05d}.bin": atis([(digit, index % 34, 1, 5), *one])
        for digit in range(10)
        for index in range(1000)
    }
    folder = tmp_path / "here"
    archive = folder / "NMNIST" / "test.zip"
    monkeypatch.setattr(NMNIST, "test_md5", zipped(archive, contents))
    monkeypatch.setenv("SNNLIB_DATA", str(folder))
    test = data.load("nmnist", split="test", per_class=2)
    assert test.inputs.shape == (20, 10, 2, 34, 34) and test.sequence
    assert test.targets.tolist() == [*range(10), *range(10)]
    expected = np.zeros((10, 2, 34, 34), int)
    # The second recording of class 7, over 289,996 microseconds in ten bins.
    for x, y, p, t in [(7, 1, 1, 5), *one]:
        expected[(t - 5) * 10 // 289_996, p, y, x] += 1
    assert np.array_equal(test.inputs[17].numpy(), expected)
    paper = data.load("nmnist", split="test", steps=3, window=1000, per_class=1)
    assert paper.inputs[5].nonzero().tolist() == [[0, 1, 0, 5], [1, 1, 4, 3], [2, 0, 0, 33]]
    broken = folder / "NMNIST" / "Test" / "7" / "00000.bin"
    broken.write_bytes(broken.read_bytes()[:-5])
    with pytest.raises(ValueError, match=f"{broken} is truncated.*15 bytes"):
        data.load("nmnist", split="test", per_class=1)
    broken.unlink()
    (folder / "NMNIST" / "Test" / "7" / "more").mkdir()
    with pytest.raises(ValueError, match=r"9999 files .bin of 10000: broken off"):
        monkeypatch.setattr(NMNIST, "_check_exists", lambda self: True)
        data.load("nmnist", split="test", per_class=1)


def aedat4(recording: list[tuple[int, int, int, bool]]) -> bytes:
    """Events (t, x, y, polarity) as an uncompressed AEDAT 4 file: two flatbuffers written out."""
    attributes = "".join(f'<attr key="{k}" type="int">128</attr>' for k in ("sizeX", "sizeY"))
    xml = (
        '<dv version="2.0"><node name="outInfo"><node name="0">'
        '<attr key="typeIdentifier" type="string">EVTS</attr>'
        f'<node name="info">{attributes}</node></node></node></dv>'
    ).encode()
    # Root, identifier, table of offsets, table; then the string or the vector.
    head = struct.pack("<I4s5HxxiII", 20, b"IOHE", 10, 8, 0, 0, 4, 12, 4, len(xml)) + xml + b"\0"
    body = struct.pack("<I4s3HxxiII", 16, b"EVTS", 6, 8, 4, 8, 4, len(recording))
    body += b"".join(struct.pack("<qhh?xxx", *event) for event in recording)
    sized = struct.pack("<I", len(body)) + body
    packet = struct.pack("<II", 0, len(sized)) + sized
    return b"#!AER-DAT4.0\r\n" + struct.pack("<I", len(head)) + head + packet


def test_dvs_cifar10_is_read_by_tonic_and_split_by_class(cache, monkeypatch):
    pytest.importorskip("tonic")
    pytest.importorskip("aedat")
    from tonic.datasets import CIFAR10DVS

    inner = {}
    for name, label in CIFAR10DVS.classes.items():
        part = io.BytesIO()
        with zipfile.ZipFile(part, "w") as archive:
            for index in range(100):  # tonic wants 1,000 in all
                start = 10**6 * (index + 1)
                recording = [(start, index, label, True), (start + 999, 127, 126, False)]
                archive.writestr(f"{name}/{index}.aedat4", aedat4(recording))
        inner[f"{name}.zip"] = part.getvalue()
    folder = cache / "dvs-cifar10" / "CIFAR10DVS"
    monkeypatch.setattr(CIFAR10DVS, "file_md5", zipped(folder / "CIFAR10DVS.zip", inner))
    test = data.load("dvs_cifar10", split="test", steps=2)
    assert test.inputs.shape == (100, 2, 2, 64, 64) and test.inputs.dtype == torch.uint8
    assert test.targets.tolist() == [*range(10)] * 10 and test.labels[2] == "bird"
    # Of each class the recordings 90, ..., 99; the first event in their column.
    for sample, label in ((0, 0), (25, 5), (99, 9)):
        index = 90 + sample // 10
        assert test.inputs[sample].nonzero().tolist() == [
            [0, 1, label // 2, index // 2],
            [1, 0, 63, 63],
        ]
    train = data.load("dvs_cifar10", steps=4, window=500.0, pool=1, per_class=3)
    assert train.inputs.shape == (30, 4, 2, 128, 128)
    assert train.inputs[12].nonzero().tolist() == [[0, 1, 2, 1], [1, 0, 126, 127]]
    every = data.load("dvs_cifar10", per_class=1000, pool=128, steps=1)
    assert every.targets.bincount().tolist() == [90] * 10 and (every.inputs == 1).all()
    broken = folder / "cat" / "95.aedat4"
    broken.write_bytes(broken.read_bytes()[:-16])
    with pytest.raises(ValueError, match=f"{broken} is truncated"):
        data.load("dvs_cifar10", split="test", steps=2)
    (folder / "cat.zip").write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"cat\.zip is truncated or corrupt"):
        data.load("dvs_cifar10", split="test", steps=2)
    good = data.load("dvs_cifar10", split="test", steps=2, refresh=True)  # extracted again
    assert torch.equal(good.inputs, test.inputs)


# --- text ---------------------------------------------------------------------------------------


def test_the_next_word_is_the_target_everywhere(tmp_path):
    rng = np.random.default_rng(0)
    pool = np.array([f"w{chr(97 + i)}" for i in range(20)])
    stream = pool[np.minimum(rng.geometric(0.2, 3000) - 1, 19)].tolist()
    for part, name in ((stream[:1000], "a.txt"), (stream[1000:], "b.txt")):
        (tmp_path / name).write_text(" ".join(part))
    files = [tmp_path / "a.txt", tmp_path / "b.txt"]
    train = data.load("text", files=files, steps=7, vocabulary=10)
    test = data.load("text", files=files, steps=7, vocabulary=10, split="test")
    assert train.sequence and train.classes == 10 == len(train.labels)
    assert train.inputs.dtype == train.targets.dtype == torch.int64
    assert train.inputs.shape == train.targets.shape == ((2700 - 1) // 7, 7)
    assert torch.equal(train.inputs.flatten()[1:], train.targets.flatten()[:-1])
    for part, begin in ((train, 0), (test, 2700)):
        words = [train.labels[token] for token in part.inputs.flatten().tolist()]
        expected = [w if w in train.labels else "<unk>" for w in stream[begin:]][: len(words)]
        assert words == expected
    assert test.labels == train.labels and 0 < (test.inputs == 0).float().mean() < 0.5
    counts = [stream[:2700].count(word) for word in train.labels[1:]]
    assert counts == sorted(counts, reverse=True)
    left_out = set(stream[:2700]) - set(train.labels)
    assert max(stream[:2700].count(word) for word in left_out) <= counts[-1]
    assert (train.mean, train.std) == (0.0, 1.0)


def test_a_prepared_stream_is_taken_as_it_is(tmp_path):
    (tmp_path / "train.txt").write_text(" mr. <unk> is N years old \n he 's <unk> \n" * 10)
    (tmp_path / "test.txt").write_text(" he is young \n" * 10)
    options = dict(files=tmp_path / "train.txt", test_files=tmp_path / "test.txt", steps=11)
    train = data.load("text", prepared=True, **options)
    words = [train.labels[token] for token in train.inputs[0].tolist()]
    assert " ".join(words) == "mr. <unk> is N years old <eos> he 's <unk> <eos>"
    assert len(train) == 9 and train.targets[0, :-1].tolist() == train.inputs[0, 1:].tolist()
    test = data.load("text", prepared=True, split="test", **options)
    assert [test.labels[token] for token in test.inputs[0, :4].tolist()] == [
        *("he", "is", "<unk>", "<eos>")
    ]
    assert len(test) == 3 and test.classes == train.classes


def test_markdown_gives_its_prose():
    page = """---
title: not this
---
(anchor)=
# A title

One sentence with $x^2$ and `code`, see {cite}`someone2020`.
The second (Fig. 2) is e.g. longer!
% a comment
<!-- another -->
```{code-cell}
not = "this"
```
$$ not + this $$
| a | table |
| --- | --- |
A [link](https://not.this) isn’t <unk> 3.14.
"""
    assert " ".join(text.words(page, markdown=True)) == (
        "a title one sentence with <unk> and <unk> see <unk> <eos> the second fig N is e g longer "
        "<eos> a table a link isn't <unk> N <eos>"
    )


def test_the_default_text_is_the_book_or_a_folder(tmp_path, cache, monkeypatch):
    book = data.load("text", steps=10, vocabulary=50)
    assert book.classes == 50 and len(book) > 1000 and "the" in book.labels
    monkeypatch.setattr(text, "ROOT", tmp_path / "installed")
    with pytest.raises(FileNotFoundError, match=THREE_WAYS) as caught:
        data.load("text")
    assert "files=[...]" in str(caught.value) and str(cache / "text") in str(caught.value)
    (cache / "text").mkdir(parents=True)
    (cache / "text" / "own.txt").write_text("Four words in it. " * 50)
    assert data.load("text", steps=4).labels[:3] == ("<unk>", "<eos>", "four")


# --- bad input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: data.load("nmnist", steps=0), "steps must be a positive integer, got 0"),
        (lambda: data.load("shd", window=0), "window must be positive and finite, got 0"),
        (lambda: data.load("shd", per_class=True), "per_class must be a positive integer"),
        (lambda: data.load("dvs_cifar10", pool=3), "pool must divide 128, got 3"),
        (lambda: data.load("text", vocabulary=1), "vocabulary must be an integer >= 2, got 1"),
        (lambda: data.load("text", files=[]), "files must name at least one text file"),
        (lambda: data.load("text", steps=10**6), "more than 1000000 words in each part"),
        (lambda: data.load("mnist", seed=0), "which has download, refresh"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_text_that_is_none_is_named(tmp_path):
    path = tmp_path / "latin.txt"
    path.write_bytes(b"caf\xe9")
    with pytest.raises(ValueError, match=f"{path} is not UTF-8"):
        data.load("text", files=str(path))
    with pytest.raises(FileNotFoundError, match=r"nothing.txt"):
        data.load("text", files=tmp_path / "nothing.txt")


@pytest.mark.parametrize(
    ("package", "call"),
    [
        ("tonic", lambda: data.load("shd")),
        ("aedat", lambda: data.load("dvs_cifar10")),
        ("mnist1d", lambda: data.load("mnist1d", samples=10)),
        ("sklearn", lambda: data.load("mnist", download=True)),
    ],
)
def test_a_missing_package_is_named_with_its_extra(monkeypatch, package, call):
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf"{package} is not installed.*snnlib\[data\]"):
        call()
