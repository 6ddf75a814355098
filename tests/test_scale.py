"""Network(scale=...): bytes stay bytes on the device, and all numbers are those of inputs that were scaled before."""

import math
import re
import warnings
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import cycle, product
from typing import Any

import numpy as np
import pytest
from helpers import Items, Place, assert_same, snapshot
from test_checkpoint import forge, put
from test_data import LABELS, LIBRARIES, Images, N

from xpnet import CheckpointError, Network
from xpnet.data.resident import Resident

# Trainings on bytes are compared there in test_trainings.py
pytestmark = pytest.mark.not_on("torch", "jax")
ON_NUMPY = pytest.mark.not_on("strict-device1")  # what strict could find, it finds in other tests

HOST = Place("numpy", None)
SCALE = 1 / 255
PIXELS = Images().data.reshape(N, 4)
ONE_HOT = np.eye(3)[LABELS]
TIMES = {"seconds": 0.0, "examples_per_second": 0.0}
OPTIONS = {"epochs": 3, "batch_size": 4, "lr": 0.5, "progress": False}


def network(place: Place = HOST, dtype: str = "float32", scale: float | None = SCALE, **options: Any) -> Network:
    options = {"sizes": (4, 5, 3), "task": "classification", "dropout": 0.25, "seed": 7, **options}
    return Network(**options, scale=scale, dtype=dtype, **place._asdict())


def scaled(x: np.ndarray, dtype: str = "float32", scale: float = SCALE) -> np.ndarray:
    """The same by hand: as the network's numbers, times the scale as one of them."""
    return x.astype(dtype) * np.dtype(dtype).type(scale)


def host(net: Network, found: Any) -> list[np.ndarray]:
    """Arrays, or nests of them, as NumPy arrays."""
    if isinstance(found, (list, tuple)):
        return [x for each in found for x in host(net, each)]
    return [np.array(found if isinstance(found, (int, float)) else net.backend.to_numpy(found))]


def assert_alike(net: Network, plain: Network, data: Any, before: Any, exactly: bool = True, **options: Any) -> None:
    """Training on data is, bit for bit, training of a network without a scale on data that were scaled before.

    Costs of an epoch are compared bit for bit only `exactly`: they are added up in parts of neighbouring batches that
    are stored alike.
    """
    net.train(data, **{**OPTIONS, **options})
    plain.train(before, **{**OPTIONS, **options})
    assert_same(net, snapshot(plain))
    for row, other in zip(net.history, plain.history, strict=True):
        assert {**row, **TIMES} == pytest.approx({**other, **TIMES}, rel=0.0 if exactly else 1e-6, abs=0.0)


# The same numbers


def test_training_on_bytes_is_training_on_scaled_numbers(place, dtype):
    before = (scaled(PIXELS, dtype), LABELS)
    assert_alike(network(place, dtype), network(place, dtype, None), (PIXELS, LABELS), before)


@ON_NUMPY
@pytest.mark.parametrize("kind", ["float64", "float16", "int64", "bool", "list"])
def test_numbers_of_any_dtype_are_scaled_too(place, kind):
    x = PIXELS.tolist() if kind == "list" else PIXELS.astype(kind)
    assert_alike(network(place), network(place, scale=None), (x, LABELS), (scaled(np.asarray(x)), LABELS))


@pytest.mark.parametrize("scale", [2.0, -0.5, 1, 1e-30, np.float32(0.1), Fraction(1, 3)], ids=str)
def test_any_scale(place, dtype, scale):
    net, plain = network(place, dtype, scale), network(place, dtype, None)
    assert net.scale == float(scale)
    x = np.array([[3.0, -1.0, 0.5, 2.0]])
    np.testing.assert_array_equal(host(net, net.forward(x)), host(plain, plain.forward(scaled(x, dtype, float(scale)))))


LOOKS: dict[str, Callable[[Network, Any, Any], Any]] = {
    "forward": lambda net, x, y: net.forward(x),
    "predict": lambda net, x, y: net.predict(x),
    "predict_proba": lambda net, x, y: net.predict_proba(x),
    "evaluate": lambda net, x, y: net.evaluate((x, y)),
    "accuracy": lambda net, x, y: net.accuracy((x, y)),
    "cost": lambda net, x, y: net.cost((x, y)),
    "activations": lambda net, x, y: net.activations(x),
    "backward": lambda net, x, y: net.backward(x, y),
    "deltas": lambda net, x, y: net.deltas(x, y),
}


@pytest.mark.parametrize("kind", ["uint8", "float64"])
def test_looking_at_it_sees_scaled_numbers(place, kind):
    """Of rows, and of one example where it can be given; targets are classes and rows."""
    net, plain = network(place), network(place, scale=None)
    x, before = PIXELS.astype(kind), scaled(PIXELS)
    for (name, look), y in product(LOOKS.items(), (LABELS, ONE_HOT)):
        found, expected = [look(net, x, y)], [look(plain, before, y)]
        if name not in ("evaluate", "accuracy", "cost"):
            found.append(look(net, x[1], y[1]))
            expected.append(look(plain, before[1], y[1]))
        for got, want in zip(host(net, found), host(plain, expected), strict=True):
            np.testing.assert_array_equal(got, want, err_msg=name)


def test_a_minibatch_update_sees_scaled_numbers(place, dtype):
    net, plain = network(place, dtype), network(place, dtype, None)
    net.minibatch_update((PIXELS, LABELS), 0.5)
    plain.minibatch_update((scaled(PIXELS, dtype), LABELS), 0.5)
    net.minibatch_update(list(zip(PIXELS, LABELS)), 0.5)
    plain.minibatch_update(list(zip(scaled(PIXELS, dtype), LABELS)), 0.5)
    assert_same(net, snapshot(plain))


def test_derivatives_by_the_inputs_have_the_scale_as_a_factor(place, dtype):
    net, plain = network(place, dtype, activation="tanh"), network(place, dtype, None, activation="tanh")
    x, before, factor = PIXELS, scaled(PIXELS, dtype), np.dtype(dtype).type(SCALE)
    g = np.random.default_rng(0).standard_normal((N, 3))
    for got, want in (
        (net.jacobian(x), plain.jacobian(before)),
        (net.jacobian(x[0]), plain.jacobian(before[0])),
        (net.vjp(x, g), plain.vjp(before, g)),
        (net.vjp(x[0], g[0]), plain.vjp(before[0], g[0])),
    ):
        np.testing.assert_array_equal(*host(net, got), host(plain, want)[0] * factor)


# What lies on the device


def test_bytes_and_classes_lie_on_the_device_as_they_are(place, dtype, prepared):
    net = network(place, dtype)
    net.train((PIXELS.reshape(N, 2, 2), LABELS.astype(np.int64)), **OPTIONS, validation_data=(PIXELS, LABELS))
    for source in prepared[-1][2:4]:
        x, y, weight = source.examples
        classes, scale, scaling = source.reader.encoding()
        xp = net.backend.xp
        assert (x.dtype, y.dtype, classes.dtype) == (xp.uint8, xp.int32, xp.int32)
        assert (tuple(x.shape), tuple(y.shape), tuple(scale.shape)) == ((N, 4), (N,), ())
        assert scale.dtype == getattr(xp, dtype)
        assert weight is None
        assert scaling is None
        assert all(array.device == net.w[0].device for array in (x, y, scale, classes))
        np.testing.assert_array_equal(*host(net, x), PIXELS)
        np.testing.assert_array_equal(*host(net, y), LABELS)
        assert host(net, classes)[0].tolist() == [0, 1, 2]


def test_bytes_of_the_callers_are_shared_with_the_device_where_it_is_the_host(prepared):
    network().train((PIXELS, LABELS), **OPTIONS)
    assert np.shares_memory(prepared[-1].source.examples.x, PIXELS)


@pytest.mark.parametrize("kind", ["uint8", "float32", "float64"])
def test_the_callers_arrays_are_unchanged(place, kind):
    net, x, y = network(place), PIXELS.astype(kind), LABELS.copy()
    before = x.copy()
    net.train((x, y), **OPTIONS, validation_data=(x, y), sample_weight=np.ones(N))
    for look in LOOKS.values():
        look(net, x, y)
    net.vjp(x, ONE_HOT)
    net.jacobian(x)
    net.minibatch_update((x, y), 0.1)
    np.testing.assert_array_equal(x, before)
    np.testing.assert_array_equal(y, LABELS)
    found = net.activations(x)[0]
    x += 1
    np.testing.assert_array_equal(*host(net, found), scaled(before))


@pytest.mark.parametrize("library", LIBRARIES)
def test_bytes_of_every_library(place, library):
    make = LIBRARIES[library]
    if library == "list":
        make = np.asarray
    assert_alike(network(place), network(place, scale=None), (make(PIXELS), make(LABELS)), (scaled(PIXELS), LABELS))


# Every source


class Stream:
    """An iterable of batches of several sizes, some of them of bytes."""

    def __init__(self, make: Callable[[np.ndarray, int], np.ndarray], one_hot: bool = False) -> None:
        ends = np.cumsum([3, 3, 2, 2, 1])
        y = ONE_HOT if one_hot else LABELS
        self.batches = [
            (make(PIXELS[end - m : end], i), y[end - m : end]) for i, (m, end) in enumerate(zip([3, 3, 2, 2, 1], ends))
        ]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.batches)


def mixed(x: np.ndarray, i: int) -> np.ndarray:
    """Every second batch as numbers, of two dtypes."""
    return x if i % 2 == 0 else x.astype([np.float32, np.int64][i // 2])


SOURCES: dict[str, Callable[[np.ndarray, Any], Any]] = {
    "arrays": lambda x, make: (x, LABELS),
    "one-hot": lambda x, make: (x, ONE_HOT),
    "images": lambda x, make: (x.reshape(N, 1, 2, 2), LABELS),
    "pairs": lambda x, make: list(zip(x, LABELS.tolist())),
    "columns": lambda x, make: list(zip(x[:, :, None], ONE_HOT[:, :, None])),
    "data set": lambda x, make: Items(x, LABELS.tolist()),
    "batches": lambda x, make: Stream(make),
    "one-hot batches": lambda x, make: Stream(make, one_hot=True),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_every_source(place, kind):
    data = SOURCES[kind](PIXELS, lambda x, i: x)
    before = SOURCES[kind](scaled(PIXELS), lambda x, i: scaled(x))
    assert_alike(network(place), network(place, scale=None), data, before)


@ON_NUMPY
def test_batches_of_bytes_and_of_numbers_in_turn(place):
    net, plain, before = network(place), network(place, scale=None), Stream(lambda x, i: scaled(x))
    assert_alike(net, plain, Stream(mixed), before, exactly=False)
    assert net.cost(Stream(mixed)) == plain.cost(before)
    assert net.evaluate(Stream(mixed)) == plain.evaluate(before)


@ON_NUMPY
@pytest.mark.parametrize("cache", [True, False])
def test_a_data_set_read_once_or_each_epoch(place, cache):
    raw, before = Images(lambda image: image), Images(scaled)
    assert_alike(network(place), network(place, scale=None), raw, before, cache=cache)
    assert raw.reads == before.reads
    assert len(raw.reads) == (N if cache else 1 + 3 * N)


@ON_NUMPY
@pytest.mark.parametrize("cache", [True, False])
def test_a_torchvision_data_set_without_a_transform_is_scaled_once(place, cache, prepared):
    """By the network's scale, and not to [0, 1] before; its pixels stay bytes, and channels come first."""
    raw = Images()
    assert_alike(network(place), network(place, scale=None), raw, (scaled(PIXELS), LABELS), cache=cache)
    assert raw.reads == []
    assert isinstance(prepared[0].source, Resident)
    assert prepared[0].source.examples.x.dtype == network(place).backend.xp.uint8
    colours = Images()
    colours.data = np.random.default_rng(3).integers(256, size=(N, 1, 2, 2), dtype=np.uint8)
    x = np.moveaxis(colours.data, -1, 1).reshape(N, 4)
    assert_alike(network(place), network(place, scale=None), colours, (scaled(x), LABELS))


PREPARATIONS: dict[str, dict[str, Any]] = {
    "a split": {"validation_split": 0.3, "metrics": ["accuracy"], "training_metrics": ["accuracy"]},
    "weights of examples": {"sample_weight": np.where(np.arange(N) < 5, 0.0, np.arange(N))},
    "weights of classes": {"class_weight": {0: 2.0, 2: 0.5}},
    "balanced": {"class_weight": "balanced"},
    "all": {"validation_split": 0.3, "sample_weight": np.arange(N), "class_weight": "balanced"},
    "replacement": {"sampling": "replacement"},
}


@pytest.mark.parametrize(("kind", "source"), [*zip(PREPARATIONS, cycle(["arrays", "one-hot"]))])
def test_what_train_makes_ready(place, kind, source):
    data, before = (SOURCES[source](x, None) for x in (PIXELS, scaled(PIXELS)))
    assert_alike(network(place), network(place, scale=None), data, before, **PREPARATIONS[kind])


@ON_NUMPY
@pytest.mark.parametrize("kind", ["arrays", "data set", "one-hot batches"])
def test_what_is_watched_is_scaled_too(place, kind):
    """Validation and test data of every kind, and metrics of training data."""
    net, plain, before = network(place), network(place, scale=None), scaled(PIXELS)
    for each, x, make in ((net, PIXELS, lambda x, i: x), (plain, before, lambda x, i: scaled(x))):
        data, watched = (x, LABELS), SOURCES[kind](x, make)
        options = {**OPTIONS, "training_metrics": ["accuracy"], "metrics": ["top_2"]}
        each.train(data, **options, validation_data=watched, test_data=watched)
    for name in ("validation_cost", "validation_top_2", "test_correct", "test_accuracy", "training_accuracy"):
        assert net.history[name] == plain.history[name]
    assert_same(net, snapshot(plain))


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
    np.testing.assert_array_equal(host(back, back.forward(PIXELS)), host(net, net.forward(PIXELS)))


def test_a_file_without_it_is_of_a_network_without_it(tmp_path):
    network(scale=None).save(tmp_path / "net.safetensors")
    assert Network.load(tmp_path / "net.safetensors").scale is None


@pytest.mark.parametrize("wrong", [0, float("nan"), 1e60, "x", True])
def test_a_file_with_a_wrong_one_is_refused(tmp_path, wrong):
    path = tmp_path / "net.safetensors"
    network().save(path)
    forge(path, put("settings", "scale", value=wrong))
    with pytest.raises(CheckpointError, match=r"holds a network that is not valid: scale=.* must be a finite number"):
        Network.load(path)


@ON_NUMPY
def test_copies_and_moves_keep_it(place, dtype):
    net = network(place, dtype)
    net.train((PIXELS, LABELS), **OPTIONS)
    for other in (net.copy(), net.to("numpy").to(*place)):
        assert other.scale == SCALE
        twin = net.copy()
        for each in (twin, other):
            each.train((PIXELS, LABELS), **OPTIONS)
        assert_same(other, snapshot(twin))


@ON_NUMPY
def test_another_dtype_rounds_it_anew(place):
    net = network(place).to(dtype="float64")
    plain = network(place, scale=None).to(dtype="float64")
    assert net.scale == SCALE
    assert_alike(net, plain, (PIXELS, LABELS), (scaled(PIXELS, "float64"), LABELS))


def test_another_dtype_that_cannot_hold_it_is_refused(place):
    net = network(place, "float64", 1e-60)
    message = r"^scale=1e-60 must be a finite number other than 0 \(in float32\); 1/255 is usual for pixels$"
    with pytest.raises(ValueError, match=message):
        net.to(dtype="float32")


def test_a_scale_that_rounds_to_one_is_one(place):
    x = scaled(PIXELS)
    net, plain = network(place, scale=1 + 1e-10), network(place, scale=None)
    np.testing.assert_array_equal(host(net, net.forward(x)), host(plain, plain.forward(x)))


def test_repr_shows_it():
    text = "Network([4, 3], output_activation='sigmoid', cost='quadratic', {}backend='numpy', device='cpu', "
    text += "dtype='float32')"
    assert repr(Network([4, 3], scale=0.5)) == text.format("scale=0.5, ")
    assert repr(Network([4, 3], scale=np.float32(0.5))) == text.format("scale=0.5, ")
    assert repr(Network([4, 3])) == repr(Network([4, 3], scale=None)) == text.format("")


def test_it_cannot_be_assigned():
    net = network()
    with pytest.raises(AttributeError, match=r"^scale of a network cannot be assigned; make a new Network$"):
        net.scale = 0.5
    assert net.scale == SCALE


# What is refused


@pytest.mark.parametrize(
    "wrong",
    [0, -0.0, math.nan, -math.inf, "0.5", b"1", True, [0.5], 1 + 0j, 10**400],
    ids=str,
)
def test_what_is_no_scale_is_refused(wrong):
    message = r" must be a finite number other than 0 \(in float64\); 1/255 is usual for pixels$"
    with pytest.raises(ValueError, match=f"^scale={re.escape(repr(wrong)[:100])}.*{message}"):
        network(dtype="float64", scale=wrong)


@pytest.mark.parametrize("number", [1e-60, 1e60, -1e-60])
def test_numbers_that_float32_does_not_hold_are_refused_in_it(number):
    message = f"scale={number!r} must be a finite number other than 0 (in float32); 1/255 is usual for pixels"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        network(scale=number)
    assert network(dtype="float64", scale=number).scale == number


def test_it_contradicts_standardize():
    message = r"^scale=0\.5 contradicts standardize=True, which scales inputs itself; leave one out$"
    with pytest.raises(ValueError, match=message):
        network(scale=0.5, standardize=True)
    assert network(scale=None, standardize=True).scale is None


# Warnings


@pytest.mark.parametrize("kind", SOURCES)
def test_bytes_without_a_scale_are_warned_of_and_with_one_are_not(kind):
    data = SOURCES[kind](PIXELS, lambda x, i: x)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        network().train(data, **OPTIONS, validation_data=data)
    assert caught == []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        network(scale=None).train(data, **OPTIONS)
    name, largest = ("batch 0 of train_data", PIXELS[:3].max()) if "batches" in kind else ("train_data", PIXELS.max())
    assert [str(each.message) for each in caught] == [
        f"X of {name} holds uint8 values up to {largest}, which are not scaled; divide them by 255, or make the "
        "network with scale=1/255"
    ]
    assert [each.filename for each in caught] == [__file__]


def test_bytes_that_are_predicted_from(place):
    message = rf"^x holds uint8 values up to {PIXELS.max()}, which are not scaled; divide them by 255, or make the "
    network(place).predict(PIXELS)
    with pytest.warns(UserWarning, match=message + r"network with scale=1/255$"):
        network(place, scale=None).predict(PIXELS)
