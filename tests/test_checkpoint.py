"""Saved networks come back as they were; any other file is refused by name, and nothing in it is executed."""

import json
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import Place, assert_same, snapshot
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from xpnet import CheckpointError, Network

X = np.random.default_rng(0).random((6, 3))
LABELS = np.array([0, 1, 0, 1, 1, 0])

KINDS: list[dict[str, Any]] = [
    {},
    {"task": "classification"},
    {"task": "multilabel"},
    {"task": "regression"},
    {"task": "binary", "sizes": [3, 4, 1]},
    {"sizes": [3, 1]},
    {"sizes": [3, 1], "output_activation": "tanh"},
    {"cost": "cross_entropy"},
    {"output_activation": "softmax"},
    {"output_activation": "softmax", "cost": "cross_entropy"},
    {"output_activation": "relu", "activation": "identity"},
    {"output_activation": "tanh", "activation": ["relu", "tanh"], "sizes": [3, 4, 5, 2]},
]


def settings_of(net: Network) -> dict[str, Any]:
    names = ("sizes", "num_layers", "activation", "output_activation", "cost_name", "task", "dtype")
    return {name: getattr(net, name) for name in names}


def outputs(net: Network) -> np.ndarray:
    return np.array(net.backend.to_numpy(net.forward(X)))


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


def test_a_trained_network_comes_back_and_trains_on(tmp_path: Path, place: Place) -> None:
    net = Network([3, 4, 2], seed=1, **place._asdict())
    net.train((X, LABELS), epochs=2, batch_size=4, lr=0.5, progress=False)
    before = snapshot(net)
    net.save(str(tmp_path / "net.safetensors"))  # a string is a path too
    assert_same(net, before)
    back = Network.load(str(tmp_path / "net.safetensors"), **place._asdict())
    for each in (net, back):
        each.minibatch_update((X, LABELS), 0.5)
    assert_same(back, snapshot(net))


def test_a_network_saved_on_one_backend_loads_on_another(tmp_path: Path, place: Place, dtype: str) -> None:
    there = Network([3, 4, 2], task="classification", dtype=dtype, seed=1, **place._asdict())
    here = Network([3, 4, 2], task="classification", dtype=dtype, seed=1)
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


# Files that hold no network


def saved(folder: Path) -> Path:
    path = folder / "net.safetensors"
    Network([3, 4, 2], task="classification", seed=1).save(path)
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
    save_file(arrays, path, {"xpnet": text if isinstance(text, str) else json.dumps(header)})


@pytest.mark.parametrize("content", [b"", b"\0", b"{}", b"not a network\n" * 99, bytes(64), b"\xff" * 64], ids=repr)
def test_a_file_of_something_else_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    refuse(tmp_path / "file", r"does not hold an xpnet network .*give a file by Network\.save")


def test_archives_and_foreign_safetensors_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "net.npz", w=X)
    refuse(tmp_path / "net.npz", "does not hold an xpnet network")
    foreign = tmp_path / "foreign.safetensors"
    for metadata in (None, {}, {"format": "pt"}, {"xpnet": ""}, {"xpnet": "no JSON"}, {"xpnet": "null"}):
        save_file({"layers.0.w": X}, foreign, metadata)
        refuse(foreign, "does not hold an xpnet network")


def test_a_file_cut_short_anywhere_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        refuse(path)
    path.write_bytes(whole + b"\0")
    refuse(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(where=st.floats(0, 1, exclude_max=True), value=st.binary(min_size=1, max_size=3))
def test_a_corrupted_file_is_refused_or_loads_and_never_anything_else(
    tmp_path: Path, where: float, value: bytes
) -> None:
    path = saved(tmp_path)
    content = bytearray(path.read_bytes())
    start = int(where * len(content))
    content[start : start + len(value)] = value
    path.write_bytes(content)
    try:
        net = Network.load(path)
    except CheckpointError:
        refuse(path)
    else:
        assert all(np.isfinite(array).all() for layer in net.layers for array in layer)


@pytest.mark.parametrize("number", [0, 2, "1", None, 1.5, [1]])
def test_another_format_is_refused_with_the_one_that_is_read(tmp_path: Path, number: Any) -> None:
    path = saved(tmp_path)
    forge(path, lambda header, arrays: header.update(format=number))
    refuse(path, r"has format .* and this version of xpnet reads 1; upgrade xpnet")


SETTINGS: list[tuple[dict[str, Any], str]] = [
    ({"activation": ["rleu"]}, r"activation='rleu' is unknown; .*did you mean 'relu'"),
    ({"activation": 3}, r"activation"),
    ({"activation": None}, r"activation"),
    ({"activation": ["relu", "relu"]}, r"activation=.* names 2 layers"),
    ({"output_activation": "evil"}, r"output_activation='evil'"),
    ({"output_activation": "relu"}, r"output_activation='relu' contradicts task='classification'"),
    ({"cost": "evil"}, r"cost='evil'"),
    ({"task": "evil"}, r"task='evil' is unknown"),
    ({"dtype": "float16"}, r"dtype='float16' contradicts tensors of \['float32'\]"),
    ({"sizes": [3, 5, 2]}, r"sizes|shape"),
    ({"sizes": [4, 3, 2]}, r"sizes|shape"),
    ({"sizes": [3, 4]}, r"sizes|shape|activation"),
    ({"sizes": [3, 4, 2, 2]}, r"layers\.2|activation"),
    ({"sizes": [3, -4, 2]}, r"sizes"),
    ({"sizes": [3, 4.0, 2]}, r"sizes"),
    ({"sizes": [3, "4", 2]}, r"sizes"),
    ({"sizes": [3]}, r"sizes"),
    ({"sizes": []}, r"sizes"),
    ({"sizes": 3}, r""),
    ({"sizes": None}, r""),
    ({"sizes": "342"}, r"sizes"),
    ({"sizes": {"a": 3, "b": 2}}, r""),
    ({"sizes": [3, 10**7, 2]}, r"sizes|shape"),
    ({"sizes": [10**8, 10**8, 10**8]}, r"sizes|shape"),  # no memory holds it: the tensors are looked at first
    ({"evil": 1}, r"evil"),
    ({"backend": "numpy"}, r"backend"),
]


@pytest.mark.parametrize(("change", "reason"), SETTINGS, ids=lambda each: str(each) if isinstance(each, dict) else "")
def test_tampered_settings_are_refused(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    path = saved(tmp_path)
    forge(path, lambda header, arrays: header["settings"].update(change))
    refuse(path, reason)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "1", '"settings"', '{"format": 1}', '{"format": 1, "settings": []}', '{"settings": {}}', "[" * 100_000],
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


def test_a_file_that_cannot_be_read_is_an_os_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"missing\.safetensors"):
        Network.load(tmp_path / "missing.safetensors")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        Network.load(tmp_path / "folder")


def test_no_pickle_is_read_or_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = tmp_path / "ran"

    class Hostile:
        def __reduce__(self) -> Any:
            return Path.touch, (ran,)

    (tmp_path / "net.pickle").write_bytes(pickle.dumps(Hostile()))

    def forbidden(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("pickle was used")

    for name in ("load", "loads", "dump", "dumps", "Pickler", "Unpickler"):
        monkeypatch.setattr(pickle, name, forbidden)
    refuse(tmp_path / "net.pickle", "does not hold an xpnet network")
    assert not ran.exists()
    Network.load(saved(tmp_path))


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


def test_a_save_that_is_interrupted_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path)
    before = path.read_bytes()

    def interrupted(*args: Any) -> None:
        raise KeyboardInterrupt

    for name in ("replace", "rename"):
        monkeypatch.setattr(Path, name, interrupted)
        monkeypatch.setattr(f"os.{name}", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Network([3, 4, 2], seed=2).save(path)
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_a_path_that_cannot_be_written_is_an_os_error_that_names_it(tmp_path: Path) -> None:
    net = Network([3, 4, 2], seed=1)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        net.save(tmp_path / "nowhere" / "net.safetensors")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        net.save(tmp_path / "folder")
    assert [each.name for each in tmp_path.iterdir()] == ["folder"]


def test_saving_again_replaces_the_file(tmp_path: Path) -> None:
    path = saved(tmp_path)
    net = Network([5, 2], task="regression", seed=2)
    net.save(path)
    assert_same(Network.load(path), snapshot(net))
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
