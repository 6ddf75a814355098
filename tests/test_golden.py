"""Files of this format load, predict and train: those in tests/golden, which `tools/make_golden_files.py` writes."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from xpnet import Adam, Callback, Clip, EarlyStopping, Ensemble, Network, OneCycle
from xpnet.files import _archive as archive
from xpnet.files._file import FORMAT
from xpnet.training import _loop

# What is in a file goes to other libraries in test_checkpoint.py
pytestmark = pytest.mark.not_on("torch", "jax")

GOLDEN = Path(__file__).parent / "golden"
X = np.linspace(-1.0, 1.0, 60).reshape(20, 3)
LABELS = np.arange(20) % 2
KINDS = ["plain", "full", "double"]


def path_of(name):
    return GOLDEN / f"format-{FORMAT}-{name}"


def outputs(name):
    with np.load(path_of("outputs.npz")) as arrays:
        return arrays[name]


@pytest.mark.parametrize("name", KINDS)
def test_a_file_loads_and_computes_and_trains(place, name):
    net = Network.load(path_of(f"{name}.safetensors"), **place._asdict())
    tolerance = {"rtol": 1e-5, "atol": 1e-6} if net.dtype == "float32" else {"rtol": 1e-12}
    np.testing.assert_allclose(net.backend.to_numpy(net.forward(X)), outputs(name), **tolerance)
    targets = np.stack([X.sum(axis=1), X[:, 0] * X[:, 1]], axis=1) if net.task == "regression" else LABELS
    net.train((X, targets), epochs=1, lr=0.01, progress=False)


def test_all_of_a_file_is_read():
    plain, full = (Network.load(path_of(f"{name}.safetensors")) for name in ("plain", "full"))
    assert str(plain.provenance) == "Seed 1, initial weights scaled_normal"
    assert plain.notes == {"labels": ["no", "ja"], "ä": [1, 2.5, None]}
    assert full.optimizer == Clip(Adam(), 1.0)
    assert (full.activation, full.dropout, full.standardize) == (["elu(0.5, 1.0)"], [0.0, 0.2], True)
    assert len(full.history["validation_cost"]) == 3
    assert full.state.dropout.step[0] == 12


def test_an_ensemble_loads_and_is_written_as_it_was():
    path = path_of("ensemble.zip")
    np.testing.assert_allclose(Ensemble.load(path).forward(X), outputs("ensemble"), rtol=1e-5, atol=1e-6)
    contents = archive.decode_archive(path.read_bytes(), "file")
    assert archive.encode_archive(contents) == path.read_bytes()  # on every system and with every version of Python


def test_a_training_is_resumed(tmp_path, monkeypatch, place):
    """It gives the network that it would have given without the interruption."""

    class Stop(Callback):
        """It has the name of the one that interrupted."""

    monkeypatch.setattr(_loop, "steps_per_chunk", lambda *args, **options: 2)
    checkpoint = tmp_path / "run.safetensors"
    shutil.copy(path_of("training.safetensors"), checkpoint)
    options = {"epochs": 4, "batch_size": 5, "lr": OneCycle(0.05), "optimizer": Adam(), "progress": False}
    net = Network([3, 4, 2], task="classification", dropout=0.1, **place._asdict())
    options |= {"checkpoint": checkpoint, "resume": True, "validation_data": (X, LABELS)}
    net.train((X, LABELS), callbacks=[EarlyStopping(9), Stop()], **options)
    wanted = outputs("training")
    np.testing.assert_allclose(net.backend.to_numpy(net.forward(X)), wanted, rtol=1e-4, atol=1e-5)
    assert [row["epoch"] for row in net.history] == [1, 2, 3, 4]
