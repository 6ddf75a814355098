"""Network(scale=...): bytes stay bytes on the device, and all numbers are those of inputs that were scaled before."""

import math
import re
import warnings

import numpy as np
import pytest
from helpers import Items, Place, Stream, assert_same, snapshot
from test_data import LABELS, Images, N

from xpnet import ArgumentError, Network

# Trainings on bytes are compared there in test_trainings.py
pytestmark = pytest.mark.not_on("torch", "jax")
ON_NUMPY = pytest.mark.not_on("strict-device1")  # what strict could find, it finds in other tests

HOST = Place("numpy", None)
SCALE = 1 / 255
PIXELS = Images().data.reshape(N, 4)
TIMES = {"seconds": 0.0, "examples_per_second": 0.0}
OPTIONS = {"epochs": 3, "batch_size": 4, "lr": 0.5, "progress": False}


def network(place=HOST, dtype="float32", scale=SCALE, **options):
    options = {"sizes": (4, 5, 3), "task": "classification", "dropout": 0.25, "seed": 7, **options}
    return Network(**options, scale=scale, dtype=dtype, **place._asdict())


def scaled(x, dtype="float32"):
    """The same by hand: as the network's numbers, times the scale as one of them."""
    return x.astype(dtype) * np.dtype(dtype).type(SCALE)


def assert_alike(net, plain, data, before, **options):
    """Training on data is, bit for bit, training of a network without a scale on data that were scaled before."""
    net.train(data, **{**OPTIONS, **options})
    plain.train(before, **{**OPTIONS, **options})
    assert_same(net, snapshot(plain))
    for row, other in zip(net.history, plain.history, strict=True):
        assert {**row, **TIMES} == {**other, **TIMES}


def test_training_on_bytes_is_training_on_scaled_numbers(place, dtype):
    before = (scaled(PIXELS, dtype), LABELS)
    assert_alike(network(place, dtype), network(place, dtype, None), (PIXELS, LABELS), before)


# Every source


SOURCES = {
    "arrays": lambda x: (x, LABELS),
    "images": lambda x: (x.reshape(N, 1, 2, 2), LABELS),
    "pairs": lambda x: list(zip(x, LABELS.tolist())),
    "data set": lambda x: Items(x, LABELS.tolist()),
    "batches": lambda x: Stream(*((x[part], LABELS[part]) for part in np.split(np.arange(N), [3, 6, 8, 10]))),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_every_source(place, kind):
    assert_alike(network(place), network(place, scale=None), SOURCES[kind](PIXELS), SOURCES[kind](scaled(PIXELS)))


# It stays


@ON_NUMPY
def test_a_file_keeps_it(place, dtype, tmp_path):
    net = network(place, dtype)
    net.train((PIXELS, LABELS), **OPTIONS)
    net.save(tmp_path / "net.safetensors")
    back = Network.load(tmp_path / "net.safetensors", **place._asdict())
    assert back.scale == SCALE
    assert repr(back) == repr(net)
    for each in (net, back):
        each.train((PIXELS, LABELS), **OPTIONS)
    assert_same(back, snapshot(net))
    np.testing.assert_array_equal(*(each.backend.to_numpy(each.forward(PIXELS)) for each in (back, net)))


# What is refused


@pytest.mark.parametrize("wrong", [0, -0.0, math.nan, -math.inf, "0.5", True, [0.5], 10**400], ids=str)
def test_what_is_no_scale_is_refused(wrong):
    message = f"^scale={re.escape(repr(wrong)[:100])}.* must be a finite number other than 0.*; 1/255 is usual"
    with pytest.raises(ArgumentError, match=message):
        network(dtype="float64", scale=wrong)


@pytest.mark.parametrize("number", [1e-60, 1e60])
def test_numbers_that_float32_does_not_hold_are_refused_in_it(number):
    net, message = network(dtype="float64", scale=number), re.escape("a finite number other than 0 (in float32)")
    for make in (lambda: network(scale=number), lambda: net.to(dtype="float32")):
        with pytest.raises(ArgumentError, match=message):
            make()


def test_it_contradicts_standardize():
    with pytest.raises(ArgumentError, match=r"scale=0\.5 contradicts standardize=True"):
        network(scale=0.5, standardize=True)
    assert network(scale=None, standardize=True).scale is None


# Warnings


@pytest.mark.parametrize("kind", SOURCES)
def test_bytes_without_a_scale_are_warned_of_and_with_one_are_not(kind):
    data = SOURCES[kind](PIXELS)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        network().train(data, **OPTIONS, validation_data=data)
    assert caught == []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        network(scale=None).train(data, **OPTIONS)
    name, largest = ("batch 0 of train_data", PIXELS[:3].max()) if "batches" in kind else ("train_data", PIXELS.max())
    (warning,) = caught
    assert str(warning.message).startswith(f"X of {name} holds uint8 values up to {largest}")
    assert "scale=1/255" in str(warning.message)
    assert warning.filename == __file__


def test_bytes_that_are_predicted_from(place, monkeypatch):
    """Three rows at a time; the largest of all is named."""
    monkeypatch.setattr("xpnet.core.arrays.BLOCK_ELEMENTS", 40)
    network(place).predict(PIXELS)
    with pytest.warns(UserWarning, match=f"x holds uint8 values up to {PIXELS.max()}") as caught:
        network(place, scale=None).predict(PIXELS)
    assert len(caught) == 1
