"""The bundled digits, and MNIST and Fashion-MNIST from their files; the network is never touched."""

import gzip
import hashlib
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from unittest.mock import Mock

import numpy as np
import pytest

from xpnet import datasets
from xpnet.data.datasets import FIRST_LABELS, IDX_FILES

NAMES = {"MNIST": datasets.mnist, "FashionMNIST": datasets.fashion_mnist}


def write_idx(path, array):
    path.write_bytes(bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes() + array.tobytes())


def small(folder):
    """Write a few images in the four files of a data set, and return what is in them."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {}
    for part, n in (("train", 7), ("t10k", 5)):
        arrays[f"{part}-images-idx3"] = rng.integers(256, size=(n, 28, 28), dtype=np.uint8)
        arrays[f"{part}-labels-idx1"] = rng.integers(10, size=n, dtype=np.uint8)
    for stem, array in arrays.items():
        write_idx(folder / f"{stem}-ubyte", array)
    return arrays


def assert_holds(given, arrays):
    """What a function returned is what the files hold: float32 pixels in [0, 1] by rows, integer labels."""
    for (x, y), part in zip(given, ("train", "t10k"), strict=True):
        images, labels = arrays[f"{part}-images-idx3"], arrays[f"{part}-labels-idx1"]
        assert (type(x), x.dtype, x.shape) == (np.ndarray, np.float32, (len(images), 784))
        assert (type(y), y.dtype, y.shape) == (np.ndarray, np.int64, (len(labels),))
        assert np.array_equal(x, images.reshape(-1, 784).astype(np.float32) / np.float32(255))
        assert np.array_equal(y, labels)


# The bundled sample


def test_the_sample_is_balanced_float32_pixels_and_integer_labels(digits):
    for (x, y), n in zip(digits, (5000, 1000), strict=True):
        assert (type(x), x.dtype, x.shape) == (np.ndarray, np.float32, (n, 784))
        assert (type(y), y.dtype, y.shape) == (np.ndarray, np.int64, (n,))
        assert (x.min(), x.max()) == (0.0, 1.0)
        assert np.bincount(y).tolist() == [n // 10] * 10
        assert np.array_equal(np.rint(x * 255).astype(np.float32) / np.float32(255), x)  # 256 grey levels


# From the four files


@pytest.fixture
def alone(monkeypatch):
    """Torchvision is not installed."""
    monkeypatch.setitem(sys.modules, "torchvision", None)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("place", ["{name}/raw", "{name}", "."])
def test_the_files_are_read_without_torchvision_where_they_lie(alone, tmp_path, name, place):
    """Gzipped and plain ones may be mixed."""
    folder = tmp_path / place.format(name=name)
    arrays = small(folder)
    for path in (folder / "train-images-idx3-ubyte", folder / "t10k-labels-idx1-ubyte"):
        assert_holds(NAMES[name](str(tmp_path)), arrays)
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes(), mtime=0))
        path.unlink()
    assert_holds(NAMES[name](tmp_path), arrays)


@pytest.mark.parametrize("name", NAMES)
def test_without_a_root_the_folder_is_xpnet_data_or_a_cache(alone, tmp_path, monkeypatch, name):
    load = NAMES[name]
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XPNET_DATA", str(tmp_path / "data"))
    arrays = small(tmp_path / "data" / name / "raw")
    assert_holds(load(), arrays)
    monkeypatch.delenv("XPNET_DATA")
    with pytest.raises(ImportError) as caught:
        load()
    assert f"{name} is not in {tmp_path / 'cache' / 'xpnet'}, " in str(caught.value)
    assert_holds(load(tmp_path / "data"), arrays)
    monkeypatch.setenv("XPNET_DATA", "")  # as good as unset
    arrays = small(tmp_path / "cache" / "xpnet" / name / "raw")
    assert_holds(load(), arrays)


@pytest.mark.parametrize("name", NAMES)
def test_the_last_training_images_may_be_for_validation(tmp_path, name):
    small(tmp_path)
    (x, y), test = NAMES[name](tmp_path)
    train, validation, same = NAMES[name](tmp_path, validation=2)
    for part, wanted in ((train, (x[:5], y[:5])), (validation, (x[5:], y[5:])), (same, test)):
        assert all(np.array_equal(array, other) for array, other in zip(part, wanted, strict=True))
    for wrong, message in (
        (7, "validation=7 leaves nothing to train on; .* has 7 training images"),
        (0.2, r"validation=0\.2 must be a whole number of at least 0"),
    ):
        with pytest.raises(ValueError, match=message):
            NAMES[name](tmp_path, validation=wrong)


def idx(shape, data, kind=8):
    return bytes([0, 0, kind, len(shape)]) + np.array(shape, ">u4").tobytes() + data


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("train-images-idx3-ubyte", b"", r"begins with the bytes \(none\), but .* with 3 axes begins with 00 00 08 03"),
        ("train-images-idx3-ubyte", idx((7,), bytes(7)), "begins with the bytes 00 00 08 01, but .* 00 00 08 03"),
        ("t10k-labels-idx1-ubyte", idx((5,), bytes(20), kind=12), "the bytes 00 00 0c 01, but .* 00 00 08 01"),
        ("train-labels-idx1-ubyte", idx((7,), bytes(7))[:6], "begins with the bytes 00 00 08 01, but .* their lengths"),
        ("train-labels-idx1-ubyte", idx((7,), bytes(6)), "takes 7 bytes of data, but it holds 6; delete it"),
        (
            "train-images-idx3-ubyte",
            gzip.compress(bytes(99), mtime=0)[:-9],
            "is not a complete gzip file .*; delete it",
        ),
        (
            "train-images-idx3-ubyte",
            idx((7, 2, 2), bytes(28)),
            "holds 7 × 2 × 2 pixels, but must hold images of 28 × 28",
        ),
        (
            "t10k-labels-idx1-ubyte",
            idx((4,), bytes(4)),
            "holds 5 images and .*t10k-labels.* 4 labels, which must match",
        ),
        ("t10k-labels-idx1-ubyte", idx((5,), bytes([0, 1, 2, 10, 3])), "holds the label 10, but labels go from 0 to 9"),
    ],
)
def test_a_damaged_file_is_named_with_what_it_holds_and_the_remedy(tmp_path, file, content, message):
    small(tmp_path)
    (tmp_path / file).write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        datasets.mnist(tmp_path)
    assert str(tmp_path / file) in str(caught.value)
    assert "copy or download" in str(caught.value)


@pytest.mark.parametrize("name", NAMES)
def test_the_files_of_the_other_data_set_are_refused(tmp_path, name):
    """They have the same names, and may lie in the folder that XPNET_DATA names."""
    (other,) = set(NAMES) - {name}
    small(tmp_path)
    write_idx(tmp_path / "train-images-idx3-ubyte", np.zeros((10, 28, 28), np.uint8))
    write_idx(tmp_path / "train-labels-idx1-ubyte", np.array(FIRST_LABELS[other], np.uint8))
    with pytest.raises(ValueError, match=f"train-labels-idx1-ubyte holds {other}, not {name}; put the files of {name}"):
        NAMES[name](tmp_path)
    NAMES[other](tmp_path)


# Downloads


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("has_torchvision", [pytest.param(True, marks=pytest.mark.needs("torchvision")), False])
def test_files_that_are_missing_and_cannot_be_downloaded_say_what_to_do(tmp_path, monkeypatch, name, has_torchvision):
    remedies = [
        f"copy its four IDX files (train-images-idx3-ubyte, ...) into {tmp_path / name}",
        "set XPNET_DATA or root= to the folder that holds them",
        "mnist_sample(), which needs no files",
    ]
    if has_torchvision:
        monkeypatch.setattr("torchvision.datasets.MNIST.download", Mock(side_effect=OSError("no route to host")))
        kind, reason = RuntimeError, " and cannot be downloaded (no route to host)"
    else:
        monkeypatch.setitem(sys.modules, "torchvision", None)
        kind, reason = ImportError, ", and downloading it needs torchvision ("
        remedies.append("install it with: pip install -e '.[vision]' in a checkout")
    with pytest.raises(kind) as caught:
        NAMES[name](tmp_path)
    assert str(caught.value).startswith(f"{name} is not in {tmp_path}{reason}")
    assert all(words in str(caught.value) for words in remedies)


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A folder with the gzipped files of a small data set, which torchvision downloads from this machine."""
    vision = pytest.importorskip("torchvision.datasets")
    folder = tmp_path / "server"
    small(folder)
    checksums = {}
    for file in IDX_FILES:
        content = gzip.compress((folder / file).read_bytes(), mtime=0)
        (folder / f"{file}.gz").write_bytes(content)
        checksums[f"{file}.gz"] = hashlib.md5(content).hexdigest()
    handler = type("Silent", (SimpleHTTPRequestHandler,), {"log_message": lambda *arguments: None})
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=folder)) as server:
        monkeypatch.setattr(vision.MNIST, "resources", [*checksums.items()])
        monkeypatch.setattr(vision.MNIST, "mirrors", [f"http://127.0.0.1:{server.server_port}/"])
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield folder
        server.shutdown()
        thread.join()


@pytest.mark.needs("torchvision")
def test_downloaded_files_are_checked_and_come_to_their_place(server, tmp_path):
    datasets.mnist(tmp_path / "data")
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["MNIST"]
    for file in IDX_FILES:
        assert (tmp_path / "data" / "MNIST" / "raw" / file).read_bytes() == (server / file).read_bytes()


@pytest.mark.needs("torchvision")
@pytest.mark.parametrize("file", IDX_FILES)
def test_a_download_with_a_wrong_checksum_is_refused_and_leaves_nothing(server, tmp_path, file):
    """A second time too: torchvision leaves the wrong file where the next call would find it."""
    content = bytearray((server / file).read_bytes())
    content[-1] ^= 1  # another label, or another pixel: a file like any other
    (server / f"{file}.gz").write_bytes(gzip.compress(content, mtime=0))
    message = rf"cannot be downloaded \(.*{file}\.gz.*corrupted.*\); copy its four IDX files"
    for _ in range(2):
        with pytest.raises(RuntimeError, match=message):
            datasets.mnist(tmp_path / "data")
        assert list((tmp_path / "data").iterdir()) == []
