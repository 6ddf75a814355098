"""Saved networks come back as they were; any other file is refused by name, and nothing in it is executed."""

import copy
import hashlib
import json
import os
import pickle
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from helpers import Place, assert_same, snapshot
from safetensors.numpy import load_file, save, save_file

from xpnet import (
    L1,
    SGD,
    Adam,
    AdamW,
    CheckpointError,
    Clip,
    MaxNorm,
    Network,
    RMSProp,
)
from xpnet.checkpoint import file
from xpnet.core.activations import Activation
from xpnet.core.costs import Cost

X = np.random.default_rng(0).random((6, 3))
LABELS = np.array([0, 1, 0, 1, 1, 0])

KINDS: list[dict[str, Any]] = [
    {},
    {"task": "classification"},
    {"task": "multilabel"},
    {"task": "binary", "sizes": [3, 4, 1]},
    {"sizes": [3, 1], "output_activation": "tanh"},
    {"output_activation": "softmax", "cost": "cross_entropy"},
    {"output_activation": "relu", "activation": "identity"},
    {"output_activation": "tanh", "activation": ["relu", "tanh"], "sizes": [3, 4, 5, 2]},
    {"task": "regression", "output_activation": "exp", "cost": "poisson"},
    {"dropout": [0.25, 0.0]},
    {"task": "regression", "standardize": True},
]


def settings_of(net: Network) -> dict[str, Any]:
    names = ("sizes", "num_layers", "activation", "output_activation", "cost_name", "task", "dtype")
    names += ("dropout", "standardize", "optimizer", "seeds")
    return {name: getattr(net, name) for name in names}


def outputs(net: Network) -> np.ndarray:
    return np.array(net.backend.to_numpy(net.forward(X)))


@pytest.mark.not_on("jax")
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_saved_network_comes_back_bit_for_bit_with_its_settings(
    tmp_path: Path, place: Place, dtype: str, kind: dict[str, Any]
) -> None:
    net = Network(**{"sizes": [3, 4, 2], **kind}, dtype=dtype, seed=1, **place._asdict())
    net.save(tmp_path / "net.safetensors")
    back = Network.load(tmp_path / "net.safetensors", **place._asdict())
    assert settings_of(back) == settings_of(net)
    assert repr(back) == repr(net)
    assert_same(back, snapshot(net))
    np.testing.assert_array_equal(outputs(back), outputs(net))
    assert outputs(back).dtype == dtype


def test_a_network_saved_on_one_backend_loads_on_another(tmp_path: Path, place: Place, dtype: str) -> None:
    there, here = Network([3, 4, 2], dtype=dtype, seed=1, **place._asdict()), Network([3, 4, 2], dtype=dtype, seed=1)
    there.save(tmp_path / "there")
    here.save(tmp_path / "here")
    assert (tmp_path / "there").read_bytes() == (tmp_path / "here").read_bytes()
    back = Network.load(tmp_path / "there")
    assert back.backend.name == "numpy"
    assert_same(back, snapshot(here))
    np.testing.assert_array_equal(outputs(back), outputs(here))
    back = Network.load(tmp_path / "here", **place._asdict())
    assert str(back.backend) == str(there.backend)
    assert_same(back, snapshot(there))
    np.testing.assert_array_equal(outputs(back), outputs(there))


def test_the_seed_of_a_loaded_network_is_not_that_of_the_process(tmp_path: Path) -> None:
    path = saved(tmp_path)
    state = np.random.get_state()[1]  # noqa: NPY002
    Network.load(path)
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002


# Notes

NOTES: dict[str, Any] = {"labels": ["ja", "nein", "ä"], "numbers": [1, 2.5, None], "deep": {"a": {"b": True}}}


def test_notes_go_with_the_network(tmp_path: Path) -> None:
    net = Network([3, 4, 2], seed=1)
    assert net.notes == {}
    net.notes = copy.deepcopy(NOTES)
    net.save(tmp_path / "net")
    for again in (Network.load(tmp_path / "net"), net.copy(), net.to(dtype="float64"), pickle.loads(pickle.dumps(net))):
        assert again.notes == NOTES
        again.notes["deep"]["a"] = 3
    assert net.notes == NOTES


@pytest.mark.parametrize(
    "notes", [{"a": {1, 2}}, {"a": np.ones(2)}, {(1, 2): 3}, {"a": [{1: 2}]}, None, 5, "text"], ids=repr
)
def test_notes_that_are_not_plain_are_refused_and_nothing_is_written(tmp_path: Path, notes: Any) -> None:
    net = Network([3, 4, 2], seed=1)
    net.notes = notes
    with pytest.raises(ValueError, match="notes of the network must be a dict of plain values, as in JSON"):
        net.save(tmp_path / "net")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("notes", [None, [], "text", 3], ids=repr)
def test_notes_that_are_no_dict_are_refused(tmp_path: Path, notes: Any) -> None:
    path = full(tmp_path)
    forge(path, put("notes", value=notes))
    refuse(path, "notes=.* must be a dict")


# Training goes on

OPTIMIZERS: list[Any] = [
    SGD(),
    SGD(momentum=0.9, nesterov=True, weight_decay=0.1),
    RMSProp(rho=0.9, weight_decay=0.1),
    AdamW(),
    MaxNorm(Clip(L1(Adam(), 1e-3), 0.5), 1.5),
]


def go_on(tmp_path: Path, place: Place, net: Network, source: Any = (X, LABELS), **options: Any) -> None:
    """Train, save, load and train on; equal, bit for bit, to training on without the file."""
    options = {"epochs": 3, "batch_size": 4, "lr": 0.05, "progress": False, **options}
    net.train(source, **options)
    before = snapshot(net)
    net.save(tmp_path / "net")
    assert_same(net, before)
    back = Network.load(tmp_path / "net", **place._asdict())
    assert settings_of(back) == settings_of(net)
    assert back.rng.bit_generator.state == net.rng.bit_generator.state
    assert_same(back, before)
    for each in (net, back):
        each.train(source, **options)
    assert_same(back, snapshot(net))
    assert back.history["cost"] == net.history["cost"]
    np.testing.assert_array_equal(outputs(back), outputs(net))
    assert not all(np.array_equal(a, b) for (a, _), (b, _) in zip(before.layers, snapshot(net).layers))


@pytest.mark.not_on("jax", "strict-device1")
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
def test_training_goes_on_with_the_state_of_the_optimizer_and_of_dropout(
    tmp_path: Path, place: Place, optimizer: Any
) -> None:
    net = Network([3, 4, 2], dropout=[0.2, 0.5], seed=1, **place._asdict())
    go_on(tmp_path, place, net, optimizer=optimizer)


@pytest.mark.not_on("jax")
@pytest.mark.parametrize(("task", "dtype"), [("regression", "float32"), ("classification", "float64")])
def test_training_goes_on_with_what_standardize_learnt(tmp_path: Path, place: Place, dtype: str, task: str) -> None:
    """It is kept and not learnt anew: the second training sees other data, and scales it as the first did."""
    options = {"standardize": True, "task": task, "dropout": 0.5, "dtype": dtype, "seed": 1}
    net = Network([3, 4, 2], **options, **place._asdict())
    y = 100 + 7 * X[:, :2] if task == "regression" else LABELS
    go_on(tmp_path, place, net, (5 + 3 * X, y), optimizer=Adam())
    for twin in (Network.load(tmp_path / "net", **place._asdict()), copy.copy(net), pickle.loads(pickle.dumps(net))):
        for array, kept in zip(twin.scaling or (), net.scaling or (), strict=True):
            assert (array is None) == (kept is None) == (task == "classification" and array is None)
            if array is not None:
                np.testing.assert_array_equal(array, kept)
        twin.train((X, y), epochs=1, progress=False)
        wanted = (5 + 3 * X).mean(axis=0)
        np.testing.assert_allclose(twin.scaling.x_mean[0], wanted, rtol=1e-6)  # type: ignore


def test_standardize_that_has_not_learnt_yet_learns_after_loading(tmp_path: Path) -> None:
    net = Network([3, 4, 2], standardize=True, task="regression", seed=1)
    net.save(tmp_path / "net")
    back = Network.load(tmp_path / "net")
    assert back.scaling is None
    for each in (net, back):
        each.train((X, 100 + X[:, :2]), epochs=2, progress=False)
    assert_same(back, snapshot(net))


# What is the user's own


class Cube:
    """An activation of a user's own: σ(z) = z³ / 10."""

    def value(self, z: Any, xp: Any) -> Any:
        return 0.1 * z * z * z

    def pullback(self, g: Any, z: Any, a: Any, xp: Any) -> Any:
        return 0.3 * g * z * z


class Quartic:
    """A cost of a user's own: Σ (a − y)⁴ / 4."""

    name = "quartic"

    def value(self, a: Any, y: Any, xp: Any) -> Any:
        return xp.sum((a - y) ** 4, axis=-1) / 4

    def gradient(self, a: Any, y: Any, xp: Any) -> Any:
        return (a - y) ** 3


@pytest.mark.not_on("jax")
def test_activations_and_costs_of_ones_own_are_given_when_loading(tmp_path: Path, place: Place) -> None:
    net = Network(
        [3, 4, 4, 2], activation=[Cube(), "tanh"], output_activation=Cube(), cost=Quartic(), seed=1, **place._asdict()
    )
    net.save(tmp_path / "net")
    for custom in ([Cube(), Quartic()], (Quartic(), Cube())):
        back = Network.load(tmp_path / "net", custom=custom, **place._asdict())
        assert settings_of(back) == settings_of(net)
        np.testing.assert_array_equal(outputs(back), outputs(net))
    net.train((X, X[:, :2]), epochs=2, lr=0.01, progress=False)
    back.train((X, X[:, :2]), epochs=2, lr=0.01, progress=False)
    assert_same(back, snapshot(net))


def test_the_librarys_own_kinds_of_objects_are_custom_too(tmp_path: Path) -> None:
    cube, quartic = Cube(), Quartic()
    own = [Activation("cube", cube.value, cube.pullback), Cost("quartic", quartic.value, quartic.gradient)]
    net = Network([3, 4, 2], activation=own[0], output_activation=own[0], cost=own[1], seed=1)
    net.save(tmp_path / "net")
    np.testing.assert_array_equal(outputs(Network.load(tmp_path / "net", custom=own)), outputs(net))


@pytest.mark.parametrize(
    ("custom", "missing"), [((), "Cube"), ([Quartic()], "Cube"), ([Cube()], "quartic"), ([Cube], "Cube")]
)
def test_what_is_missing_is_named_with_the_remedy(tmp_path: Path, custom: Any, missing: str) -> None:
    Network([3, 4, 2], activation=Cube(), output_activation="identity", cost=Quartic(), seed=1).save(tmp_path / "net")
    message = rf"net holds a network that is not valid: .*'{missing}' is unknown; .*; give your own objects as custom="
    with pytest.raises(CheckpointError, match=message):
        Network.load(tmp_path / "net", custom=custom)


@dataclass(frozen=True)
class Own:
    """An optimizer of a user's own: SGD by another name."""

    default_lr: ClassVar[float] = 0.01

    def init(self, layers: Any, number: Any) -> Any:
        return SGD().init(layers, number)

    def update(self, layers: Any, grads: Any, state: Any, lr: Any, xp: Any) -> Any:
        return SGD().update(layers, grads, state, lr, xp)


@pytest.mark.not_on("jax")
@pytest.mark.parametrize("optimizer", [Own(), Clip(Own(), 1.0)], ids=str)
def test_an_optimizer_of_ones_own_is_not_saved_and_warns(tmp_path: Path, place: Place, optimizer: Any) -> None:
    net = Network([3, 4, 2], seed=1, **place._asdict())
    net.train((X, LABELS), epochs=1, optimizer=optimizer, progress=False)
    with pytest.warns(
        UserWarning, match=r"optimizer=.*Own\(\).* is of your own class and is not saved; reset_opt"
    ) as seen:
        net.save(tmp_path / "net")
    assert (len(seen), seen[0].filename) == (1, __file__)
    back = Network.load(tmp_path / "net", **place._asdict())
    assert back.optimizer == SGD()
    back.reset_optimizer(optimizer)
    for each in (net, back):
        each.train((X, LABELS), epochs=1, optimizer=optimizer, progress=False)
    assert_same(back, snapshot(net))


@pytest.mark.parametrize("number", [np.float32(0.5), np.int64(0)], ids=repr)
def test_an_optimizer_with_numbers_of_numpy_is_saved(tmp_path: Path, number: Any) -> None:
    net = Network([3, 2], seed=1)
    net.reset_optimizer(SGD(momentum=number))
    net.save(tmp_path / "net")
    assert Network.load(tmp_path / "net").optimizer == SGD(momentum=float(number))


def test_reset_optimizer_makes_the_file_smaller(tmp_path: Path) -> None:
    net = Network([3, 40, 2], seed=1)
    sizes = []
    for optimizer in (Adam(), SGD(momentum=0.9), SGD()):
        net.reset_optimizer(optimizer)
        net.save(tmp_path / "net")
        sizes.append((tmp_path / "net").stat().st_size)
    numbers = 4 * (3 * 40 + 40 + 40 * 2 + 2)
    assert sizes[0] > sizes[1] + 0.9 * numbers > sizes[2] + 1.8 * numbers


def test_reset_optimizer_leaves_out_gradients_that_show_an_example(tmp_path: Path) -> None:
    net, x = Network([3, 4, 1], task="regression", seed=1), np.array([0.25, -3.0, 17.5])
    net.train(([x], [2.0]), epochs=1, lr=0.01, optimizer=SGD(momentum=0.9), progress=False)
    net.save(tmp_path / "net")
    w, b = (load_file(tmp_path / "net")[f"optimizer.{k}"] for k in range(2))
    np.testing.assert_allclose(w[0] / b[0, 0], x, rtol=1e-5)
    net.reset_optimizer(SGD())
    net.save(tmp_path / "net")
    assert not any(name.startswith("optimizer") for name in load_file(tmp_path / "net"))


# Files that hold no network


@cache
def encode_small() -> bytes:
    return Network([3, 4, 2], task="classification", seed=1)._encode()


def saved(folder: Path) -> Path:
    path = folder / "net.safetensors"
    path.write_bytes(encode_small())
    return path


def refuse(path: Path, reason: str = "") -> None:
    """Loading raises a CheckpointError that names the path, and the reason."""
    with pytest.raises(CheckpointError, match=reason or None) as caught:
        Network.load(path)
    assert str(path) in str(caught.value)


def forge(path: Path, change: Callable[[dict[str, Any], dict[str, Any]], Any]) -> None:
    """Rewrite a file after `change(header, arrays)`; the header goes in as it is, if `change` returns a string."""
    arrays = load_file(path)
    size = int.from_bytes(path.read_bytes()[:8], "little")
    header = json.loads(json.loads(path.read_bytes()[8 : 8 + size])["__metadata__"]["xpnet"])
    text = change(header, arrays)
    save_file(arrays, path, {"xpnet": text if isinstance(text, str) else json.dumps(header | {"checksum": "0" * 64})})
    seal(path)


def seal(path: Path) -> None:
    """Give a file the right checksum: the digest of all its bytes, with zeros in the place of the digest."""
    content, before = path.read_bytes(), b'\\"checksum\\": \\"'
    start = content.find(before) + len(before)
    content = content[:start] + b"0" * 64 + content[start + 64 :]
    if before in content:
        path.write_bytes(content[:start] + hashlib.sha256(content).hexdigest().encode() + content[start + 64 :])


@pytest.mark.parametrize("content", [b"", b"\0", b"{}", b"not a network\n" * 99, bytes(64), b"\xff" * 64], ids=repr)
def test_a_file_of_something_else_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    refuse(tmp_path / "file", r"does not hold an xpnet network .*give a file written by Network\.save")


def test_archives_and_foreign_safetensors_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "net.npz", w=X)
    refuse(tmp_path / "net.npz", "does not hold an xpnet network")
    foreign = tmp_path / "foreign.safetensors"
    for metadata in (None, {}, {"format": "pt"}, {"xpnet": ""}, {"xpnet": "no JSON"}, {"xpnet": "null"}):
        save_file({"layers.0.w": X}, foreign, metadata)
        refuse(foreign, "does not hold an xpnet network")


def test_a_file_is_the_one_that_the_library_of_that_format_writes_and_reads(tmp_path: Path) -> None:
    path = full(tmp_path)
    content, arrays = path.read_bytes(), load_file(path)
    end = 8 + int.from_bytes(content[:8], "little")
    metadata = json.loads(content[8:end])["__metadata__"]
    assert save(arrays, metadata) == content
    assert {str(array.dtype) for array in arrays.values()} == {
        "float32",
        "float64",
        "int32",
    }  # that of the scaling, too
    np.testing.assert_array_equal(arrays["layers.0.w"], Network.load(path).w[0])


def is_refused(content: bytes) -> bool:
    try:
        file.decode(content, "file")
    except CheckpointError:
        return True
    return False


def test_a_file_cut_short_anywhere_is_refused() -> None:
    whole = Network([1, 1], seed=1)._encode()
    assert not is_refused(whole)
    lengths = (*range(12), *range(12, len(whole), 17), len(whole) - 1)
    assert [length for length in lengths if not is_refused(whole[:length])] == []
    assert is_refused(whole + b"\0")


def test_a_flipped_bit_is_noticed_wherever_it_is() -> None:
    content, taken = bytearray(Network([1, 1], seed=1)._encode()), []
    for bit in range(0, 8 * len(content), 23):
        content[bit // 8] ^= 1 << bit % 8
        if not is_refused(bytes(content)):
            taken.append(bit)
        content[bit // 8] ^= 1 << bit % 8
    assert taken == []


def test_a_flipped_bit_of_a_weight_is_named_as_damage(tmp_path: Path) -> None:
    path = saved(tmp_path)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    refuse(path, "does not hold an xpnet network .*it is damaged: its checksum does not fit its contents")


@pytest.mark.parametrize("number", [4, 6, "5", None])
def test_another_format_is_refused_with_the_one_that_is_read(tmp_path: Path, number: Any) -> None:
    path = saved(tmp_path)
    forge(path, lambda header, arrays: header.update(format=number))
    refuse(path, r"has format .* and this version of xpnet reads 5; use one that reads it")


SETTINGS: list[tuple[dict[str, Any], str]] = [
    ({"activation": ["rleu"]}, r"activation='rleu' is unknown; .*did you mean 'relu'"),
    ({"activation": 3}, r"activation"),
    ({"activation": ["relu", "relu"]}, r"activation=.* names 2 layers"),
    ({"output_activation": "evil"}, r"output_activation='evil'"),
    ({"output_activation": "relu"}, r"output_activation='relu' contradicts task='classification'"),
    ({"cost": "evil"}, r"cost='evil'"),
    ({"task": "evil"}, r"task='evil' is unknown"),
    ({"dtype": "float16"}, r"dtype='float16' contradicts tensors of \['float32'\]"),
    ({"sizes": [3, 5, 2]}, r"sizes|shape"),
    ({"sizes": [3, 4]}, r"sizes|shape|activation"),
    ({"sizes": [3, 4, 2, 2]}, r"layers\.2|activation"),
    ({"sizes": [3, -4, 2]}, r"sizes"),
    ({"sizes": [3, 4.0, 2]}, r"sizes"),
    ({"sizes": [3, "4", 2]}, r"sizes"),
    ({"sizes": [3]}, r"sizes"),
    ({"sizes": None}, r""),
    ({"sizes": "342"}, r"sizes"),
    ({"sizes": {"a": 3, "b": 2}}, r""),
    ({"sizes": [10**8, 10**8, 10**8]}, r"sizes|shape"),  # no memory holds it: the tensors are looked at first
    ({"init": "orthogonal"}, r"the setting 'init' is not one of xpnet's"),
]


@pytest.mark.parametrize(("change", "reason"), SETTINGS, ids=lambda each: str(each) if isinstance(each, dict) else "")
def test_tampered_settings_are_refused(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    path = saved(tmp_path)
    forge(path, lambda header, arrays: header["settings"].update(change))
    refuse(path, reason)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "1", '"settings"', '{"format": 5}', '{"format": 5, "settings": []}', '{"settings": {}}', "[" * 100_000],
    ids=lambda text: text[:30],
)
def test_a_tampered_header_is_refused(tmp_path: Path, text: str) -> None:
    path = saved(tmp_path)
    forge(path, lambda header, arrays: text)
    refuse(path, "does not hold an xpnet network")


@pytest.mark.parametrize("name", ["layers.0.w", "layers.0.b", "layers.1.w", "layers.1.b"])
def test_tensors_that_are_missing_or_do_not_fit_are_refused(tmp_path: Path, name: str) -> None:
    def missing(header: Any, arrays: dict[str, Any]) -> None:
        del arrays[name]

    def changed(function: Callable[[np.ndarray], np.ndarray]) -> Callable[[Any, dict[str, Any]], None]:
        return lambda header, arrays: arrays.update({name: np.ascontiguousarray(function(arrays[name]))})

    cases: list[tuple[Any, str]] = [
        (missing, name.replace(".", r"\.")),
        (changed(lambda x: x[:-1]), r"shape"),
        (changed(lambda x: x.ravel()[:1]), r"shape"),
        (changed(lambda x: np.full_like(x, np.nan)), r"NaN or infinity"),
        (changed(lambda x: np.full_like(x, -np.inf)), r"NaN or infinity"),
    ]
    for change, reason in cases:
        path = saved(tmp_path)
        forge(path, change)
        refuse(path, reason)


# Hostile files: a regression with everything that a file can hold besides weights


@cache
def encode_full() -> bytes:
    net = Network([3, 4, 2], task="regression", dropout=[0.2, 0.5], standardize=True, seed=1)
    net.train((X, X[:, :2]), epochs=1, optimizer=Clip(SGD(momentum=0.9), 1.0), progress=False)
    return net._encode()


def full(folder: Path) -> Path:
    path = folder / "net.safetensors"
    path.write_bytes(encode_full())
    return path


def put(*path: Any, value: Any) -> Callable[[Any, Any], None]:
    """Set what lies at a path of the header."""

    def change(header: Any, arrays: Any) -> None:
        for key in path[:-1]:
            header = header[key]
        header[path[-1]] = value

    return change


def take(*path: Any) -> Callable[[Any, Any], None]:
    """Remove what lies at a path of the header."""

    def change(header: Any, arrays: Any) -> None:
        for key in path[:-1]:
            header = header[key]
        del header[path[-1]]

    return change


GENERATORS = [
    *[((), value) for value in (None, "PCG64", {})],
    *[(("bit_generator",), value) for value in ("MT19937", None)],
    *[(("state",), value) for value in (None, {}, 7)],
    *[(("state", "state"), value) for value in (None, -1, 2**128)],
    (("uinteger",), -1),
]


@pytest.mark.parametrize(("where", "value"), GENERATORS, ids=repr)
def test_a_generator_of_another_kind_is_refused(tmp_path: Path, where: Any, value: Any) -> None:
    path = full(tmp_path)
    forge(path, put("generator", *where, value=value))
    refuse(path)


def test_a_generator_whose_draws_would_not_end_is_refused(tmp_path: Path) -> None:
    path = full(tmp_path)
    forge(path, put("generator", "state", "inc", value=2))
    refuse(path, "even increment")
    forge(path, put("generator", "state", "inc", value=2.5))  # of which NumPy takes the 2
    refuse(path, r"inc=2\.5 must be a whole number of at least 0")


@pytest.mark.parametrize(
    ("where", "value", "reason"),
    [
        (("state", "state"), 1.5, r"state=1\.5 must be a whole number"),
        (("state", "inc"), "%d", r"inc='%d' must be a whole number"),
        (("state", "inc"), 2**128 + 1, r"inc=.* must be a whole number of at least 0, below 340282366920938463463374"),
        (("state", "evil"), 1, r"the state of the generator must have \['inc', 'state'\]"),
        (("has_uint32",), 2, "has_uint32=2 must be a whole number of at least 0, below 2"),
        (("has_uint32",), True, "has_uint32=True must be a whole number"),
        (("uinteger",), 2**32, "uinteger=4294967296 must be a whole number"),
        (("evil",), 1, r"the generator must be a PCG64 with \['bit_generator', "),
    ],
)
def test_a_generator_that_numpy_would_take_in_another_way_is_refused(
    tmp_path: Path, where: Any, value: Any, reason: str
) -> None:
    path = full(tmp_path)
    forge(path, put("generator", *where, value=value))
    refuse(path, reason)


@pytest.mark.parametrize(
    ("forgery", "reason"),
    [
        (lambda header, arrays: header.update(evil=1), "the key 'evil' is not one of xpnet's"),
        (lambda header, arrays: header.update(format=4.0), r"has format 4\.0"),
        (lambda header, arrays: header.update(format=True), "has format True"),
        (lambda header, arrays: arrays.update(evil=arrays["layers.0.w"]), "the tensor 'evil'"),
        (lambda header, arrays: arrays.update({"layers.7.w": arrays["layers.0.w"]}), r"the tensor 'layers\.7\.w'"),
        (lambda header, arrays: arrays.update({"optimizer.99": arrays["layers.0.w"]}), r"the tensor 'optimizer\.99'"),
    ],
)
def test_nothing_in_a_file_is_ignored(tmp_path: Path, forgery: Any, reason: str) -> None:
    path = full(tmp_path)
    forge(path, forgery)
    refuse(path, reason)


def test_a_text_beside_the_network_is_not_ignored(tmp_path: Path) -> None:
    path = full(tmp_path)
    lie(path, lambda header: header["__metadata__"].update(evil="text"))
    refuse(path, "the metadata entry 'evil' is not one of xpnet's")
    path = full(tmp_path)
    lie(path, lambda header: header["layers.0.w"].update(evil=1))
    refuse(path, "its header has no dtype of F64, F32, I32, shape and data_offsets for 'layers.0.w'")
    forge(path, put("version", value=["0.1"]))
    refuse(path, "its version must be a string")


@pytest.mark.parametrize("name", ["dropout.step", "optimizer.0", "optimizer.٣"])
def test_states_that_the_network_does_not_have_are_refused(tmp_path: Path, name: str) -> None:
    path = saved(tmp_path)
    value = np.ones(1, np.int32 if name == "dropout.step" else np.float32)
    forge(path, lambda header, arrays: arrays.update({name: value}))
    refuse(path, f"the tensor '{name}' is not one of xpnet's")
    forge(path, put("optimizer", value=None))  # an optimizer of the user's own class, which files do not hold
    refuse(path, f"the tensor '{name}' is not one of xpnet's")


def test_a_state_of_a_callback_without_a_training_is_refused(tmp_path: Path) -> None:
    path, name = saved(tmp_path), "callbacks.0.best_state.layers.0.w"
    forge(path, lambda header, arrays: arrays.update({name: arrays["layers.0.w"]}))
    refuse(path, f"the tensor '{name}' is not one of xpnet's")


@pytest.mark.parametrize("text", ['"seeds": ', '"momentum": ', '"state": ', '"format": ', '"checksum": '])
def test_a_key_that_is_there_twice_is_refused(tmp_path: Path, text: str) -> None:
    """Readers differ in which of the two they take."""
    path = full(tmp_path)

    def change(header: dict[str, Any], arrays: Any) -> str:
        return json.dumps({"checksum": "0" * 64} | header).replace(text, f"{text}5, {text}", 1)

    forge(path, change)
    refuse(path, f"the key '{json.loads(text[:-2])}' appears twice")


@pytest.mark.parametrize("name", ["__metadata__", "layers.0.w", "dtype"])
def test_a_name_that_is_there_twice_is_refused(tmp_path: Path, name: str) -> None:
    path = full(tmp_path)
    content = path.read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    text = content[8:end].replace(f'"{name}":'.encode(), f'"{name}":{{}},"{name}":'.encode(), 1)
    path.write_bytes(len(text).to_bytes(8, "little") + text + content[end:])
    seal(path)
    refuse(path, f"the key '{name}' appears twice")


@pytest.mark.parametrize("key", ["optimizer", "seeds"])
def test_pairs_are_no_dict(tmp_path: Path, key: str) -> None:
    path = full(tmp_path)
    forge(path, lambda header, arrays: header.update({key: [*map(list, header[key].items())]}))
    refuse(path, rf"{key}=\[.* must be a dict")


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ({"cost": 1.0}, "history must be a list of rows"),
        ([[]], r"a row of the history=\[\] must be a dict"),
        ([{"epoch": 1}], "'cost' is missing"),
        ([{"cost": "low"}], "cost='low' must be a number"),
        ([{"cost": None}], "cost=None must be a number"),
        ([{"cost": 10**400}], "cost=1000.* is too large"),
    ],
    ids=lambda each: str(each)[:20],
)
def test_a_history_that_cannot_be_shown_is_refused(tmp_path: Path, rows: Any, reason: str) -> None:
    path = full(tmp_path)
    forge(path, put("history", value=rows))
    refuse(path, reason)


def nest(depth: int) -> Any:
    """Lists within each other."""
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


NESTED = nest(90)


@pytest.mark.parametrize(
    ("where", "depth"),
    [(("notes", "deep"), 110), (("settings", "activation"), 500), (("history",), 900), (("evil",), 900)],
    ids=str,
)
def test_values_that_are_nested_deeply_are_refused(tmp_path: Path, where: Any, depth: int) -> None:
    """Whatever shows or copies them would run out of stack."""
    path = full(tmp_path)
    forge(path, put(*where, value=nest(depth)))
    refuse(path, "nested more than 100 deep|RecursionError")


def test_notes_may_be_nested_a_hundred_deep(tmp_path: Path) -> None:
    net = Network([3, 4, 2], seed=1)
    for depth, raises in ((98, False), (99, True), (10_000, True)):
        net.notes = {"deep": nest(depth)}
        if raises:
            with pytest.raises(ValueError, match="notes of the network must be a dict of plain values, as in JSON"):
                net.save(tmp_path / "net")
        else:
            net.save(tmp_path / "net")
    assert Network.load(tmp_path / "net").copy().notes == {"deep": nest(98)}


# Headers that lie


def lie(path: Path, change: Callable[[dict[str, Any]], Any], length: Callable[[int], int] = int) -> None:
    """Change the header of a file as it is in safetensors, and the length that stands before it."""
    content = path.read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    change(header)
    text = json.dumps(header).encode()
    path.write_bytes(length(len(text)).to_bytes(8, "little") + text + content[end:])
    seal(path)


@pytest.mark.parametrize("length", [0, 99, 2**31, 2**63 - 8, 2**64 - 1])
def test_a_header_that_lies_about_its_length_is_refused(tmp_path: Path, length: int) -> None:
    """Also if nothing follows it, so that what is read is the header in spite of the lie."""
    path = saved(tmp_path)
    lie(path, lambda header: None, lambda right: length)
    refuse(path, "does not hold an xpnet network")
    content = path.read_bytes()
    path.write_bytes(content[: content.rindex(b"}") + 1])
    seal(path)
    refuse(path, "does not hold an xpnet network")


@pytest.mark.parametrize(
    "change",
    [
        lambda entry, other: entry.update(data_offsets=other["data_offsets"]),  # both overlap
        lambda entry, other: entry.update(data_offsets=[offset + 4 for offset in entry["data_offsets"]]),  # a gap
        lambda entry, other: entry.update(data_offsets=entry["data_offsets"][::-1]),
        lambda entry, other: entry.update(data_offsets=[entry["data_offsets"][0], 2**63]),
        lambda entry, other: entry.update(data_offsets=[2**63, 2**63 + 48]),
        lambda entry, other: entry.update(data_offsets=[2**64 - 48, 2**64]),
        lambda entry, other: entry.update(data_offsets=[-48, 0]),
        lambda entry, other: entry.update(data_offsets=[0.0, 48.0]),
        lambda entry, other: entry.update(data_offsets=[0]),
        lambda entry, other: entry.update(shape=[2**63, 3]),
        lambda entry, other: entry.update(shape=[2**63, 0]),
        lambda entry, other: entry.update(shape=[0, 2**63], data_offsets=[0, 0]),
        lambda entry, other: entry.update(shape=[2**32, 2**32]),  # 2⁶⁴, which is 0 in 64 bits
        lambda entry, other: entry.update(shape=[2**64 + 12]),
        lambda entry, other: entry.update(shape=[-4, -3]),
        lambda entry, other: entry.update(shape=[1] * 100 + [4, 3]),  # more axes than NumPy has
        lambda entry, other: entry.update(dtype="F64"),
        lambda entry, other: entry.update(dtype="F16", shape=[8, 3]),
        lambda entry, other: entry.update(dtype="BF16", shape=[8, 3]),
        lambda entry, other: entry.update(dtype="F8_E4M3", shape=[16, 3]),
        lambda entry, other: entry.update(dtype="I32"),
        lambda entry, other: entry.update(dtype="evil"),
        lambda entry, other: entry.update(dtype=None),
        lambda entry, other: entry.clear(),
    ],
)
def test_a_header_that_lies_about_its_tensors_is_refused(tmp_path: Path, change: Any) -> None:
    path = saved(tmp_path)
    lie(path, lambda header: change(header["layers.0.w"], header["layers.1.b"]))
    refuse(path, "does not hold an xpnet network")


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (("notes", "a"), [[]] * 5000),
        (("settings", "sizes"), [{}] * 5000),
        (("notes", "a"), [{"": []}] * 5000),
        (("settings", "sizes"), [NESTED] * 250),
    ],
    ids=lambda x: repr(x)[:9],
)
def test_loading_takes_memory_in_proportion_to_the_file(tmp_path: Path, where: Any, value: Any) -> None:
    """A list in a list takes 96 bytes in Python, and 2 in a file, as "[[[[]]]]" shows."""
    path = full(tmp_path)
    forge(path, put(*where, value=value))
    tracemalloc.start()
    with suppress(CheckpointError):
        Network.load(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 46 * path.stat().st_size


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (("format",), "x" * 30_000),
        (("settings", "activation"), [9e9] * 3000),
        (("settings", "task"), "x" * 30_000),
        (("optimizer",), [9e9] * 3000),
    ],
    ids=["format", "activation", "task", "optimizer"],
)
def test_a_long_value_is_not_shown_at_length_nor_compared_with_the_right_ones(
    tmp_path: Path, where: Any, value: Any
) -> None:
    path = full(tmp_path)
    forge(path, put(*where, value=value))
    tracemalloc.start()
    with pytest.raises(CheckpointError, match=r"net\.safetensors .*\.\.\.") as caught:
        Network.load(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(str(caught.value)) < 2000
    assert peak < 40 * path.stat().st_size


# The rest of a network


@pytest.mark.parametrize("key", ["bit_generator", "state", "has_uint32", "uinteger"])
def test_a_generator_that_lacks_something_is_refused(tmp_path: Path, key: str) -> None:
    path = full(tmp_path)
    forge(path, take("generator", key))
    refuse(path)


DESCRIPTIONS: list[Any] = [
    *[{}, [], "SGD", {"momentum": 0.9}, {"name": None}, {"name": ["SGD"]}, {"name": "evil"}, {"name": "sgd"}],
    *[{"name": "SGD", "momentum": wrong} for wrong in (1.0, "much", None, float("nan"))],
    *[{"name": "SGD", "weight_decay": wrong} for wrong in (-1, float("inf"))],
    *[{"name": "SGD", "nesterov": True}, {"name": "SGD", "momentum": 0.9, "evil": 1}],
    *[{"name": "Adam", "beta1": 1.0}, {"name": "Adam", "epsilon": -1}, {"name": "RMSProp", "rho": 2}],
    *[{"name": "Clip"}, {"name": "Clip", "norm": 1.0}, {"name": "Clip", "optimizer": None, "norm": 1.0}],
    *[{"name": "Clip", "optimizer": {"name": "evil"}, "norm": 1.0}],
    *[{"name": "Clip", "optimizer": {"name": "SGD", "momentum": 0.9}, "norm": wrong} for wrong in (0, "x")],
]


@pytest.mark.parametrize("described", DESCRIPTIONS, ids=str)
def test_an_optimizer_that_cannot_be_is_refused(tmp_path: Path, described: Any) -> None:
    path = full(tmp_path)
    forge(path, put("optimizer", value=described))
    refuse(path)


def test_an_optimizer_without_end_is_refused(tmp_path: Path) -> None:
    path = full(tmp_path)
    nested: Any = {"name": "SGD"}
    for _ in range(900):
        nested = {"name": "Clip", "optimizer": nested, "norm": 1.0}
    forge(path, put("optimizer", value=nested))
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(700)
    try:
        refuse(path)
    finally:
        sys.setrecursionlimit(limit)


@pytest.mark.parametrize(
    "key", ["generator", "optimizer", "seeds", "settings", "format", "notes", "history", "training"]
)
def test_a_header_that_lacks_something_is_refused(tmp_path: Path, key: str) -> None:
    path = full(tmp_path)
    forge(path, take(key))
    refuse(path, key)


@pytest.mark.parametrize(
    "seeds",
    [
        *[None, [], "seeds", 3, {}, {"dropout": 1}, {"dropout": 1, "split": 2, "evil": 3}],
        *[{"dropout": wrong, "split": 1} for wrong in (-1, 2**32, "x", float("nan"))],
        {"dropout": 1, "split": -1},
    ],
    ids=repr,
)
def test_seeds_that_are_none_are_refused(tmp_path: Path, seeds: Any) -> None:
    path = full(tmp_path)
    forge(path, put("seeds", value=seeds))
    refuse(path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("dropout", wrong) for wrong in ("half", 1.0, [0.5], [0.5, -0.1], [0.5, "x"], None, {}, [0.1, 0.1, 0.1])],
        *[("standardize", wrong) for wrong in ("yes", 1, None, [])],
    ],
)
def test_tampered_settings_of_dropout_and_scaling_are_refused(tmp_path: Path, name: str, value: Any) -> None:
    path = full(tmp_path)
    forge(path, put("settings", name, value=value))
    refuse(path, name)


def arrays_of(kind: str) -> list[str]:
    return {
        "optimizer": [f"optimizer.{i}" for i in range(4)],  # a velocity of w, b, w, b
        "scaling": ["scaling.x_mean", "scaling.x_std", "scaling.y_mean", "scaling.y_std"],
    }[kind]


@pytest.mark.parametrize("name", [*arrays_of("optimizer"), *arrays_of("scaling"), "dropout.step"])
def test_state_that_is_missing_or_has_another_shape_or_kind_is_refused(tmp_path: Path, name: str) -> None:
    for change in (
        lambda x: None,
        lambda x: np.ones((*x.shape, 2), x.dtype),
        lambda x: np.ones(0, x.dtype),
        lambda x: np.ones(x.shape, np.float16),
    ):

        def changed(header: Any, arrays: dict[str, Any], change: Any = change) -> None:
            arrays[name] = change(arrays[name])
            if arrays[name] is None:
                del arrays[name]

        path = full(tmp_path)
        forge(path, changed)
        refuse(path)


@pytest.mark.parametrize(("name", "value"), [*zip(arrays_of("scaling"), [np.nan, np.inf, -np.inf, np.nan])])
def test_numbers_that_are_not_finite_are_refused(tmp_path: Path, name: str, value: float) -> None:
    path = full(tmp_path)
    forge(path, lambda header, arrays: arrays.update({name: np.full_like(arrays[name], value)}))
    refuse(path)


@pytest.mark.parametrize("name", arrays_of("optimizer"))
def test_a_velocity_of_nan_is_refused(tmp_path: Path, name: str) -> None:
    """It would make the weights NaN at the next step. Infinity is not looked at: a mean of squares may have run over
    in a network whose weights are finite."""
    path = full(tmp_path)
    forge(path, lambda header, arrays: arrays.update({name: np.full_like(arrays[name], np.nan)}))
    refuse(path)


def test_numbers_of_the_optimizer_are_those_of_its_description(tmp_path: Path) -> None:
    """They stand in the header alone, so nothing can contradict them."""
    path = full(tmp_path)
    forge(path, put("optimizer", "optimizer", "momentum", value=0.5))
    net = Network.load(path)
    assert net.optimizer == Clip(SGD(momentum=0.5), 1.0)
    assert float(net.state.optimizer.hyperparameters.inner.momentum) == 0.5


@pytest.mark.parametrize("value", [0.0, -1.0, 1e-60])  # float32 rounds the last one to 0
@pytest.mark.parametrize("name", ["scaling.x_std", "scaling.y_std"])
def test_a_deviation_that_is_not_above_0_is_refused(tmp_path: Path, name: str, value: float) -> None:
    path = full(tmp_path)
    forge(path, lambda header, arrays: arrays[name].__setitem__((0, 1), value))
    refuse(path, rf"{name} must be above 0")


@pytest.mark.parametrize(
    ("name", "errors", "message"),
    [
        (
            "calibration.1",
            np.ones((5, 2, 1)),
            r"calibration\.1 of shape \(5, 2, 1\) must be float64 errors of a regression",
        ),
        ("calibration.1", np.ones((5, 1, 1), np.float32), "calibration.1 of shape .* must be float64 errors"),
        ("calibration.1", np.ones((0, 1, 1)), "calibration.1 of shape .* must be float64 errors"),
        ("calibration.1", -np.ones((5, 1, 1)), "must be finite numbers in increasing order, and distances at least 0"),
        (
            "calibration.3",
            np.array([3.0, 2.0, 1.0])[:, None, None],
            "calibration.3 must be finite numbers in increasing",
        ),
        ("calibration.0", np.full((5, 1, 1), np.nan), "must be finite numbers"),
        ("calibration.1", np.ones((2, 1, 1)), "calibrate needs at least 3 examples, and there were 2"),
        ("calibration.01", np.ones((5, 1, 1)), "the tensor 'calibration.01' is not one of xpnet's"),
        ("calibration.2.widths", np.ones((1, 2, 3)), "the tensor 'calibration.2.widths' is not one of xpnet's"),
        (
            "calibration.1.widths",
            np.ones((2, 2, 3)),
            r"calibration\.1\.widths of shape \(2, 2, 3\) must be float64 width",
        ),
        ("calibration.1.widths", np.ones((1, 2, 0)), "must be float64 widths"),
        (
            "calibration.1.widths",
            np.zeros((1, 2, 3)),
            "must be finite numbers, predictions in increasing order and wid",
        ),
        ("calibration.1.widths", np.array([[[2.0, 1.0], [1.0, 1.0]]]), "must be finite numbers, predictions in incre"),
    ],
)
def test_errors_of_a_calibration_that_cannot_be_are_refused(
    tmp_path: Path, name: str, errors: Any, message: str
) -> None:
    Network([3, 2], cost="gaussian").save(path := tmp_path / "net")
    has_errors = {"calibration.1": np.ones((5, 1, 1))} if name == "calibration.1.widths" else {}
    forge(path, lambda header, arrays: arrays.update({**has_errors, name: errors}))
    refuse(path, message)


@pytest.mark.parametrize("temperature", [[0.0], [np.inf], [np.nan], [2.0, 2.0], [[2.0]]], ids=str)
def test_temperatures_that_cannot_be_are_refused(tmp_path: Path, temperature: Any) -> None:
    Network([3, 2], task="classification").save(path := tmp_path / "net")
    forge(path, lambda header, arrays: arrays.update({"calibration.0": np.array(temperature)}))
    refuse(path, r"calibration\.0 of shape .* must be the temperature of a classification, above 0")


@pytest.mark.parametrize(
    ("examples", "message"),
    [
        ([1], r"validation_examples=\[1\] must be a dict"),
        ({"calibration.1": 9}, "the calibration 'calibration.1' is not one of xpnet's"),
        ({"calibration.0": 4}, "validation_examples of calibration.0=4 must be a whole number of at least 5"),
    ],
)
def test_numbers_of_validation_examples_that_cannot_be_are_refused(tmp_path: Path, examples: Any, message: str) -> None:
    net = Network([3, 2], cost="gaussian", seed=0)
    net.calibrate((X[:5, :3], X[:5, 0]))
    net.save(path := tmp_path / "net")
    forge(path, lambda header, arrays: header.update({"validation_examples": examples}))
    refuse(path, message)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("mean", None, "novelty.mean is absent; it must be float64 numbers for 3 inputs"),
        ("mean", np.zeros((1, 2)), r"novelty.mean is of shape \(1, 2\) and dtype float64; it must be float64 numbers"),
        ("whitening", np.eye(3, dtype=np.float32), "novelty.whitening is of shape .* and dtype float32; it must be"),
        ("whitening", np.full((3, 3), np.inf), "novelty.whitening must be finite numbers"),
        ("distances", np.ones((2, 2)), "novelty.distances is of shape"),
        ("distances", np.ones(0), "novelty.distances must be numbers of at least 0 in increasing order"),
        ("distances", np.array([-1.0, 1.0]), "novelty.distances must be numbers of at least 0 in increasing order"),
        ("distances", np.array([2.0, 1.0]), "novelty.distances must be numbers of at least 0 in increasing order"),
        ("other", np.ones(1), "the tensor 'novelty.other' is not one of xpnet's"),
    ],
)
def test_a_novelty_that_cannot_be_is_refused(tmp_path: Path, name: str, change: Any, message: str) -> None:
    net = Network([3, 1], seed=0)
    net.fit_novelty(np.random.default_rng(0).normal(size=(20, 3)))
    net.save(path := tmp_path / "net")

    def put_tensor(header: Any, arrays: dict[str, Any]) -> None:
        arrays.pop(f"novelty.{name}", None)
        arrays |= {} if change is None else {f"novelty.{name}": change}

    forge(path, put_tensor)
    refuse(path, message)


def test_digests_of_training_rows_in_early_files_are_not_carried_on(tmp_path: Path) -> None:
    Network([3, 2], cost="gaussian", seed=0).save(path := tmp_path / "net")
    before = path.read_bytes()
    rows = {"training": {"examples": 9, "digests": "0123abcd" * 9}}
    forge(path, lambda header, arrays: header.update({"known_rows": rows}))
    assert b"0123abcd" in path.read_bytes()
    Network.load(path).save(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("step", [[np.nan], [1e30], [0.5]], ids=str)
def test_a_step_that_is_no_whole_number_is_refused(tmp_path: Path, step: Any) -> None:
    path = full(tmp_path)
    forge(path, lambda header, arrays: arrays.update({"dropout.step": np.array(step)}))
    refuse(path)


@pytest.mark.parametrize("names", [arrays_of("scaling")[:2], arrays_of("scaling")[2:]], ids=["inputs", "targets"])
def test_a_scaling_of_inputs_alone_is_one_and_of_targets_alone_is_none(tmp_path: Path, names: list[str]) -> None:
    path = full(tmp_path)
    forge(path, lambda header, arrays: [arrays.pop(name) for name in names])
    if names[0] == "scaling.y_mean":
        assert Network.load(path).scaling.y_mean is None  # type: ignore
    else:
        refuse(path, "scaling")


def test_a_file_that_cannot_be_read_is_an_os_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"missing\.safetensors"):
        Network.load(tmp_path / "missing.safetensors")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        Network.load(tmp_path / "folder")


def test_files_pickles_and_copies_are_the_network(tmp_path: Path, place: Any, dtype: str) -> None:
    """With all that it is made of, on the same device, and in the same dtype; they train on as it does."""
    settings = {"activation": "elu(0.5)", "task": "regression", "cost": "huber(0.5)"}
    net = Network([3, 4, 2], **settings, dropout=0.2, dtype=dtype, seed=0, **place._asdict())
    data, options = (X, np.ones((6, 2))), {"epochs": 2, "batch_size": 3, "lr": 0.01, "progress": False}
    net.train(data, optimizer=Adam(), **options)
    net.save(tmp_path / "net")
    twins = [pickle.loads(pickle.dumps(net)), copy.copy(net), copy.deepcopy(net)]
    twins.append(Network.load(tmp_path / "net", **place._asdict()))
    for twin in twins:
        assert (twin.sigmas, twin.output, repr(twin.backend)) == (net.sigmas, net.output, repr(net.backend))
        assert twin.history.rows == net.history.rows
        assert_same(twin, snapshot(net))
    for each in (net, *twins):
        each.train(data, **options)
        assert_same(each, snapshot(net))


# Paths


def test_a_path_may_be_bytes(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path / "nät")
    net = Network([3, 4, 2], seed=1)
    net.save(path)
    assert_same(Network.load(path), snapshot(net))
    assert [each.name for each in tmp_path.iterdir()] == ["nät"]
    (tmp_path / "nät").write_bytes(b"something else")
    with pytest.raises(CheckpointError, match=f"^{tmp_path}/nät does not hold an xpnet network"):
        Network.load(path)


@pytest.mark.parametrize("path", [3, None, ["net"], 1.5, True], ids=repr)
def test_what_is_no_path_is_refused(path: Any) -> None:
    """A number would be that of a file that the process has opened."""
    with pytest.raises(TypeError, match=r"^path=.* must be a path: a string or a pathlib\.Path$"):
        Network([3, 4, 2]).save(path)
    with pytest.raises(TypeError, match=r"^path=.* must be a path: a string or a pathlib\.Path$"):
        Network.load(path)


# Little memory

LITTLE_MEMORY = """
import resource, sys
import numpy as np
import xpnet.checkpoint.archive, xpnet.checkpoint.file
from xpnet import CheckpointError, Ensemble, Network

def used():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()

net = Network([1000, 500, 10], seed=0)  # 2 MB
ensemble = Ensemble.of([net] * 3)
net.save("net")
ensemble.save("ensemble")
hard = resource.getrlimit(resource.RLIMIT_AS)[1]
outcomes = set()
for megabytes in range(0, 20, 4):
    for path, action in (
        ("net", lambda: net.save("net")),
        ("net", lambda: Network.load("net")),
        ("ensemble", lambda: ensemble.save("ensemble")),
        ("ensemble", lambda: Ensemble.load("ensemble")),
    ):
        resource.setrlimit(resource.RLIMIT_AS, (used() + megabytes * 2**20, hard))
        try:
            action()
            outcomes.add("done")
        except (MemoryError, CheckpointError) as error:
            outcomes.add(type(error).__name__)
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
assert np.array_equal(Network.load("net").w[0], net.w[0])
assert len(Ensemble.load("ensemble")) == 3
print(*sorted(outcomes))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="how much memory is used is read there")
def test_with_little_memory_saving_and_loading_raise_and_never_end_the_process(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LITTLE_MEMORY],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == ["MemoryError", "done"]


# Saving that fails


@contextmanager
def full_disk() -> Iterator[None]:
    """No file may grow beyond 100 bytes, meanwhile; not for longer, as pytest's own output may go to a file."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_save_that_fails_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = saved(tmp_path)
    before = path.read_bytes()
    other = Network([3, 4, 2], seed=2)
    with pytest.raises(OSError, match=r"File too large"), full_disk():
        other.save(path)
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
