"""Inputs beyond memory stay where they are, and give the same bits as the same numbers in memory."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import Place, assert_same, installed, run_command, snapshot

from xpnet import EarlyStopping, Ensemble, Network
from xpnet.data._outside import HostRows
from xpnet.data.conversion import LEAST_BYTES

N = 150
HOST, JAX = Place("numpy", None), Place("jax", "cpu")
rng = np.random.default_rng(0)
PIXELS = rng.integers(256, size=(N, 6), dtype=np.uint8)
FLOATS = rng.random((N, 6), dtype=np.float32)
LABELS = (FLOATS[:, 0] * 3).astype(np.int64)
REALS = 1e6 + FLOATS @ rng.random((6, 2)) + rng.normal(size=(N, 2))
WEIGHT, SLOPES = rng.random(N), rng.normal(size=(N, 2, 6))


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Small inputs stay outside too, and are read in several chunks."""
    monkeypatch.setattr("xpnet.data.conversion.LEAST_BYTES", 0)
    monkeypatch.setattr("xpnet.core.arrays.BLOCK_ELEMENTS", 1500)


def mapped(folder, x):
    np.save(folder / "x.npy", x)
    return np.load(folder / "x.npy", mmap_mode="r")


def train(x, y, place=HOST, network=None, **options):
    net = Network([6, 5, 3 if y.ndim == 1 else 2], seed=1, **(network or {}), **place._asdict())
    net.train((x, y), **{"epochs": 3, "batch_size": 8, "lr": 0.1, "progress": False, **options})
    return net


def assert_alike(net, other):
    """All bits are the same, except in the sums of the costs of an epoch's minibatches."""
    assert_same(net, snapshot(other))
    for row, expected in zip(net.history, other.history, strict=True):
        assert row["cost"] == pytest.approx(expected["cost"], rel=1e-6)
        evaluated = [k for k in expected if k.startswith("validation")]
        for k in evaluated:  # in PyTorch, the last bit depends on where in memory a block begins
            assert row[k] == pytest.approx(expected[k], rel=0 if net.backend.name == "numpy" else 1e-6, abs=0)


CASES = {
    "in place": (FLOATS, LABELS, {}, lambda: {"validation_split": 0.2, "sample_weight": WEIGHT}),
    "standardized": (
        FLOATS.astype(np.float64) + 1e7,  # which float32 would round
        REALS,
        {"standardize": True, "task": "regression"},
        lambda: {"validation_split": 0.2, "callbacks": [EarlyStopping(1)], "metrics": ["r2"]},
    ),
    "slopes": (
        FLOATS,
        REALS,
        {"standardize": True, "task": "regression"},
        lambda: {"validation_split": 0.2, "slopes": SLOPES, "slope_weight": 0.1, "sample_weight": WEIGHT},
    ),
    "bytes": (
        PIXELS.reshape(N, 2, 3),
        LABELS,
        {"standardize": True, "task": "classification"},
        lambda: {"class_weight": "balanced", "validation_data": (PIXELS, LABELS), "sampling": "replacement"},
    ),
}


@pytest.mark.filterwarnings("ignore:.*uint8 values up to")
@pytest.mark.parametrize("case", CASES)
@pytest.mark.not_on("jax")  # which compiles a program for each shape
def test_a_memory_map_trains_as_the_same_array_in_memory(place, case, tmp_path):
    x, y, network, options = CASES[case]
    expected, net = train(x, y, place, network, **options()), train(mapped(tmp_path, x), y, place, network, **options())
    assert_alike(net, expected)
    for method in (Network.predict, Network.forward):
        results = [net.backend.to_numpy(method(net, inputs)) for inputs in (mapped(tmp_path, x), x)]
        np.testing.assert_allclose(*results, rtol=0 if place == HOST else 1e-6)
    assert net.measure((mapped(tmp_path, x), y)) == pytest.approx(net.measure((x, y)), rel=1e-6)


# Other libraries


class ArrayLike:
    """Rows that know their shape, their dtype and their index; as in HDF5, this is sorted and without repetitions."""

    def __init__(self, x):
        self.x, self.shape, self.dtype, self.most = x, x.shape, x.dtype, 0

    def __getitem__(self, index):
        assert isinstance(index, slice) or (np.diff(index) > 0).all()
        self.most = max(self.most, len(self.x[index]))
        return self.x[index]


def hdf5(folder):
    file = pytest.importorskip("h5py").File(folder / "x.h5", "w")
    return file.create_dataset("x", data=FLOATS, chunks=(20, 6))


def zarr(folder):
    array = pytest.importorskip("zarr").create_array(store=folder / "x.zarr", shape=FLOATS.shape, dtype="f4")
    array[:] = FLOATS
    return array


KINDS = {
    "array": lambda folder: ArrayLike(FLOATS),
    "rows": lambda folder: HostRows(mapped(folder, np.repeat(FLOATS, 2, axis=0)), np.arange(0, 2 * N, 2)),
    "dask": lambda folder: pytest.importorskip("dask.array").from_array(FLOATS, chunks=(20, 6)),
    "pyarrow": lambda folder: pytest.importorskip("pyarrow").table({str(k): x for k, x in enumerate(FLOATS.T)}),
    "h5py": hdf5,
    "zarr": zarr,
}


@pytest.mark.parametrize("kind", installed(KINDS))
def test_rows_of_any_kind_are_read_when_they_are_needed(kind, tmp_path):
    x = KINDS[kind](tmp_path)
    assert_alike(train(x, LABELS, validation_split=0.2), expected := train(FLOATS, LABELS, validation_split=0.2))
    np.testing.assert_array_equal(expected.predict_proba(x), expected.predict_proba(FLOATS))
    if kind == "array":
        assert x.most <= 1500 // 6
    if kind == "pyarrow":
        assert train(x, LABELS).feature_names == tuple("012345")


def test_networks_of_an_ensemble_gather_their_own_rows(tmp_path):
    ensembles = []
    for x in (FLOATS, mapped(tmp_path, FLOATS)):
        ensembles.append(Ensemble([6, 5, 3], members=3, seed=0, standardize=True))
        ensembles[-1].train((x, LABELS), epochs=2, batch_size=8, validation_split=0.3, progress=False)
    for net, other in zip(*ensembles, strict=True):
        assert_same(other, snapshot(net))


def test_a_training_is_resumed_on_the_same_numbers_elsewhere(tmp_path):
    options = {"validation_split": 0.2, "checkpoint": tmp_path / "t", "network": {"standardize": True}}
    expected = train(FLOATS, LABELS, network={"standardize": True}, validation_split=0.2)
    train(FLOATS, LABELS, **options, epochs=1)
    assert_alike(train(mapped(tmp_path, FLOATS), LABELS, **options, resume=True), expected)


def test_numbers_that_are_not_finite_are_found_when_they_are_read(monkeypatch, tmp_path):
    monkeypatch.setattr("xpnet.data._outside.ROWS_TO_CHECK", 10)
    x = FLOATS.astype(np.float64)
    x[40, 2] = np.nan
    net = Network([6, 5, 3], seed=1)
    before = snapshot(net)
    with pytest.raises(ValueError, match=r"X of train_data holds NaN or infinity .* first in row 40, column 2"):
        net.train((mapped(tmp_path, x), LABELS), epochs=1, batch_size=N, progress=False)
    assert_same(net, before)
    with pytest.raises(ValueError, match=r"x holds NaN or infinity .* first in row 40, column 2"):
        net.predict(mapped(tmp_path, x))
    for wrong, message in (
        (FLOATS[:, :4], r"X of train_data has shape \(150, 4\)"),
        (FLOATS[:9], "has 9 examples and"),
    ):
        with pytest.raises(ValueError, match=message):
            net.train((mapped(tmp_path, wrong.astype(np.float64)), LABELS), progress=False)


# Estimators and the command


@pytest.mark.parametrize(
    "options",
    [
        {"early_stopping": True, "standardize": True},
        {"backend": "torch", "batch_size": 7},
        {"dtype": "float32", "standardize": True},  # of integers, which become float64 on the way
    ],
    ids=str,
)
def test_estimators_fit_a_memory_map_as_an_array(options, tmp_path):
    estimators = pytest.importorskip("xpnet.estimators")
    if options.get("backend") == "torch":
        pytest.importorskip("torch")
    x = PIXELS if "dtype" in options else FLOATS
    fitted = []
    for inputs in (x, mapped(tmp_path, x)):
        settings = {"hidden_layer_sizes": (5,), "max_iter": 4, "random_state": 0, "tol": 0, "n_iter_no_change": 4}
        estimator = estimators.MLPRegressor(**settings, **options)
        with pytest.warns(Warning, match="[cC]onverge"):
            fitted.append(estimator.fit(inputs, REALS, WEIGHT))
        if "batch_size" in options:
            fitted[-1].partial_fit(inputs, REALS)
    for a, b in zip(fitted[0].coefs_, fitted[1].coefs_, strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))
    np.testing.assert_allclose(fitted[0].predict(x), fitted[0].predict(mapped(tmp_path, x)), rtol=1e-6)
    with pytest.raises(ValueError, match="X has 3 features, but MLPRegressor is expecting 6 features as input"):
        fitted[0].predict(mapped(tmp_path, x[:, :3]))


@pytest.mark.parametrize("x", [FLOATS, PIXELS], ids=["floats", "bytes"])
def test_the_command_reads_npy_files(x, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", x)
    np.save("y.npy", LABELS)
    results = []
    for least in (0, 1 << 30):
        monkeypatch.setattr("xpnet.data.conversion.LEAST_BYTES", least)
        words = ("--target", "y.npy", "--epochs", 2, "--save", f"{least}.safetensors", "--validation-split", 0.1)
        assert run_command(capsys, "train", "x.npy", *words)[0] == 0
        evaluated = run_command(capsys, "evaluate", f"{least}.safetensors", "x.npy", "--target", "y.npy")
        predicted = run_command(capsys, "predict", f"{least}.safetensors", "x.npy")
        assert evaluated[1][0].startswith("All 150 rows: accuracy: ")
        assert len(predicted[1]) == 1 + N
        results.append((evaluated, predicted))
    assert results[0] == results[1]


def test_the_command_explains_npy_files(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", FLOATS)
    np.save("y.npy", LABELS)
    for words, message in (
        (["x.npy"], "x.npy needs its targets in another file: give --target, as in --target y.npy"),
        (["y.npy", "--target", "x.npy"], "y.npy has shape (150,), and --target x.npy (150, 6); they must have an"),
    ):
        status, _, error = run_command(capsys, "train", *words)
        assert (status, message in error) == (1, True)


# Memory


def read_private_memory():
    """Return the bytes of memory that RLIMIT_DATA counts: all but those of files that are mapped."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmData:"))


def train_network(folder, library):
    x, y = np.load(folder / "x.npy", mmap_mode="r"), np.load(folder / "y.npy")
    net = Network([784, 16, 10], seed=0, backend=library, standardize=True)
    net.train((x, y), epochs=1, batch_size=500, validation_split=0.1, progress=False)
    net.predict(x)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited by RLIMIT_DATA, which counts no memory maps")
@pytest.mark.parametrize("library", ["numpy", pytest.param("torch", marks=pytest.mark.needs("torch"))])  # JAX: more
def test_half_of_the_memory_that_the_inputs_take_is_enough(library, monkeypatch, tmp_path):
    resource = importlib.import_module("resource")
    monkeypatch.setattr("xpnet.data.conversion.LEAST_BYTES", LEAST_BYTES)
    monkeypatch.setattr("xpnet.core.arrays.BLOCK_ELEMENTS", 1 << 18)
    folders = {1_000: tmp_path / "few", 22_000: tmp_path / "many"}
    for n, folder in folders.items():
        folder.mkdir()
        x = np.lib.format.open_memmap(folder / "x.npy", "w+", np.float32, (n, 784))  # zeros, which take no space
        np.save(folder / "y.npy", np.arange(n) % 10)
    train_network(folders[1_000], library)  # imports what it needs, and starts threads
    before = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (read_private_memory() + x.nbytes // 2, before[1]))
    try:
        train_network(folders[22_000], library)
        with pytest.raises(MemoryError):
            np.zeros(x.shape, np.float32).fill(1)
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)
