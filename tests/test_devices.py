"""Nothing is made on the default device, nothing crosses silently, nothing leaves for the host but through `to_numpy`.

On a fake device of array-api-strict, whose arrays meet no array of another device, and whose library refuses here what
would make one on the default device, or bring one to the host by another way.
"""

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from itertools import cycle
from typing import Any

import numpy as np
import pytest
from helpers import GPU, LEFT_OUT, PLACES, Items, flat, snapshot

from xpnet import (
    Adam,
    AdamW,
    Callback,
    EarlyStopping,
    Network,
    ReduceLROnPlateau,
    check_gradients,
    get_backend,
)
from xpnet.core.arrays import map_arrays

strict = pytest.importorskip("array_api_strict")

DEVICE = strict.Device("device1")
RNG = np.random.default_rng(0)
X, Y, CLASS = RNG.standard_normal((30, 4)), RNG.uniform(size=(30, 3)), RNG.integers(3, size=30)
WEIGHT, PIXELS = RNG.uniform(size=30), RNG.integers(256, size=(30, 4), dtype=np.uint8)
CREATE = ("asarray", "zeros", "ones", "empty", "full", "arange", "eye", "linspace", "from_dlpack")


def here(x: Any) -> Any:
    return strict.asarray(np.asarray(x), device=DEVICE)


@pytest.fixture
def guarded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library refuses what would make an array on the default device, or leave the device."""

    def careful(function: Callable[..., Any]) -> Callable[..., Any]:
        def made(*args: Any, **options: Any) -> Any:
            stays = bool(args) and isinstance(args[0], strict._array_object.Array)
            assert stays or options.get("device") is not None, f"{function.__name__} without a device"
            return function(*args, **options)

        return made

    for name in CREATE:
        monkeypatch.setattr(strict, name, careful(getattr(strict, name)))
    Array = strict._array_object.Array
    to_device = Array.to_device

    def moved(self: Any, device: Any, **options: Any) -> Any:
        if device != DEVICE:
            callers = {sys._getframe(depth).f_code.co_name for depth in range(1, 4)}
            assert "to_numpy" in callers, f"an array left the device in {callers}"
        return to_device(self, device, **options)

    monkeypatch.setattr(Array, "to_device", moved)


def network(**options: Any) -> Network:
    return Network([4, 5, 3], **{"task": "classification", "seed": 0, **options}, backend=strict, device=DEVICE)


def train(net: Network, data: Any, **options: Any) -> Network:
    net.train(data, **{"epochs": 2, "batch_size": 8, "lr": 0.1, "progress": False, **options})
    return net


class Own(Callback):
    """One that looks at everything."""

    def on_train_begin(self, training: Any) -> None:
        self.net = training.net

    def on_epoch_end(self, logs: dict[str, Any]) -> None:
        assert all(isinstance(value, (int, float)) for value in logs.values())
        assert all(p.device == DEVICE for layer in self.net.layers for p in layer)


def watched(net: Network, x: Any, y: Any) -> Any:
    callbacks = [EarlyStopping(), ReduceLROnPlateau(), Own()]
    own = [lambda y_true, y_pred: float(np.mean(net.backend.to_numpy(y_true == y_pred)))]
    return train(
        net, (x, y), validation_data=(x, y), test_data=(x, y), callbacks=callbacks,
        metrics=["accuracy", "top_2", *own], training_metrics=["accuracy"],
    )  # fmt: skip


ENTRIES: dict[str, Callable[[Any, Any], Any]] = {
    "train": lambda x, y: train(network(), (x, y)),
    "pairs": lambda x, y: train(network(), [(x[i, :], CLASS[i]) for i in range(30)]),
    "data set": lambda x, y: train(network(), Items(X, CLASS)),
    "batches": lambda x, y: train(network(), [(x[:8, :], y[:8]), (x[8:16, :], y[8:16])].__iter__(), epochs=1),
    "weights": lambda x, y: train(network(), (x, y), sample_weight=here(WEIGHT), class_weight={0: 2.0}),
    "watched": lambda x, y: watched(network(), x, y),
    "dropout": lambda x, y: train(network(dropout=[0.1, 0.4]), (x, y), optimizer=AdamW()),
    "standardize": lambda x, y: train(network(standardize=True), (x, y)),
    "regression": lambda x, y: train(network(task="regression", standardize=True), (x, here(Y)), metrics=["r2"],
                                     validation_data=(x, here(Y))).predict(x),
    "forward": lambda x, y: network().forward(x),
    "backward": lambda x, y: network().backward(x, y),
    "minibatch_update": lambda x, y: network().minibatch_update((x, y), 0.1),
    "predict": lambda x, y: network().predict(x),
    "evaluate": lambda x, y: network().evaluate((x, y)),
    "deltas": lambda x, y: network().deltas(x, y),
    "jacobian": lambda x, y: network().jacobian(x),
    "weights read and set": lambda x, y: vars(network()) and setattr(network(), "layers", network().layers),
    "copy": lambda x, y: train(network(), (x, y)).copy(),
    "pickle": lambda x, y: pickle.loads(pickle.dumps(train(network(), (x, y), optimizer=Adam()))).predict(x),
    "to numpy": lambda x, y: network().to("numpy"),
    "summary": lambda x, y: network().summary(),
    "check_gradients": lambda x, y: check_gradients(network(dtype="float64"), x, y),
}  # fmt: skip


def on_device(net):
    """The scaling of a network, as its device has it."""
    return net.value.scaling and net.value.scaling.rounded


@pytest.mark.parametrize(("entry", "from_host"), [*zip(ENTRIES, cycle([False, True]))])
def test_it_stays_on_the_device(guarded, entry, from_host):
    """With data on the device and on the host, in turn."""
    x, y = (X, CLASS) if from_host else (here(X), here(CLASS))
    found = ENTRIES[entry](x, y)
    where = DEVICE if entry != "to numpy" else "cpu"
    arrays = [*flat(found.state), *flat(on_device(found))] if isinstance(found, Network) else found
    for each in arrays if isinstance(arrays, list) else [arrays]:
        for array in flat(each) if isinstance(each, tuple) else [each]:
            if hasattr(array, "device"):
                assert array.device == where


def test_files_go_and_come_by_the_host(guarded, tmp_path):
    net = train(network(standardize=True, dropout=0.2), (here(X), here(CLASS)), optimizer=Adam())
    net.save(tmp_path / "net.safetensors")
    again = Network.load(tmp_path / "net.safetensors", backend=strict, device=DEVICE)
    assert all(array.device == DEVICE for array in [*flat(again.state), *flat(on_device(again))])
    for one, other in zip(flat(snapshot(net)), flat(snapshot(again)), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_guard_sees_what_it_is_for(guarded):
    with pytest.raises(AssertionError, match="zeros without a device"):
        strict.zeros(3)
    with pytest.raises(AssertionError, match="an array left the device"):
        strict.asarray(np.ones(2), device=DEVICE).to_device(strict.Device("CPU_DEVICE"))
    with pytest.raises(ValueError, match="device"):
        _ = here(np.ones(2)) + strict.asarray(np.ones(2), device=strict.Device("device2"))


@pytest.mark.parametrize("kind", ["MLPClassifier", "MLPRegressor"])
def test_estimators_stay_there_too(guarded, kind):
    estimators = pytest.importorskip("xpnet.estimators", exc_type=ImportError)
    warned = pytest.importorskip("sklearn.exceptions").ConvergenceWarning
    options = {"hidden_layer_sizes": (5,), "max_iter": 3, "random_state": 0, "n_iter_no_change": 3, "tol": 0.0}
    x, y = here(X), here(CLASS if kind == "MLPClassifier" else Y)
    for more in ({}, {"early_stopping": True, "dropout": 0.3}, {"solver": "lbfgs"}):
        with pytest.warns(warned):
            est = getattr(estimators, kind)(**options, **more).fit(x, y, here(WEIGHT))
        assert all(array.device == DEVICE for array in [*flat(est.network_.state), est.predict(x), *est.coefs_])
        est.score(x, y)


# From each to each


HERE = [name for name in PLACES if name not in LEFT_OUT]
PAIRS = [*zip(HERE, HERE[1:] + HERE[:1])]


@pytest.mark.everywhere
@pytest.mark.parametrize(
    ("one", "other"), [pytest.param(*pair, marks=[pytest.mark.gpu] if {*pair} & {*GPU} else []) for pair in PAIRS]
)
def test_a_network_moves_from_place_to_place(one, other):
    """And back: it brings everything along, and trains on there as it would have here."""
    first, second = PLACES[one](), PLACES[other]()
    net = Network([4, 5, 3], standardize=True, task="classification", dropout=0.2, seed=0, **first._asdict())
    train(net, (X, CLASS), optimizer=Adam())
    assert net.to().backend is net.backend
    assert net.to(device=first.device or net.backend.device_name).backend.name == net.backend.name  # as told
    moved = net.to(*second)
    assert repr(moved.backend) == repr(get_backend(*second))
    for here_, there in zip(flat(snapshot(net)), flat(snapshot(moved)), strict=True):
        np.testing.assert_array_equal(here_, there)
        assert here_.dtype == there.dtype
    assert moved.history.rows == net.history.rows
    assert moved.history is not net.history
    back = moved.to(*first)
    train(moved, (X, CLASS))
    train(back, (X, CLASS))
    for here_, there in zip(flat(snapshot(back)), flat(snapshot(moved)), strict=True):
        np.testing.assert_allclose(here_, there, rtol=1e-3, atol=1e-5)


SECOND_DEVICE = """
import pickle, sys
import jax, numpy as np
from xpnet import Network

first, second = jax.devices("cpu")
x, y = np.random.default_rng(0).standard_normal((30, 4)).astype("f4"), np.arange(30, dtype="i4") % 3
net = Network([4, 3], task="classification", dropout=[0.2], backend="jax", device="cpu:1", seed=0)

def devices(*arrays):
    return {device for array in arrays for device in array.devices()}

far, near = ([jax.device_put(a, where) for a in (x, y)] for where in (first, second))
with jax.transfer_guard_device_to_device("disallow_explicit"):
    net.train(tuple(near), epochs=2, batch_size=8, progress=False)
net.train(tuple(far), epochs=2, batch_size=8, progress=False)
gradients = net.backward(*far)[0]
assert devices(*jax.tree.leaves(net.state), *gradients, net.predict_proba(far[0])) == {second}
assert devices(*jax.tree.leaves(net.to(device="cpu:0").state)) == {first}
again = pickle.loads(pickle.dumps(net))
assert devices(*jax.tree.leaves(again.state)) == {second}
np.testing.assert_array_equal(again.predict_proba(far[0]), net.predict_proba(far[0]))

shards = jax.sharding.NamedSharding(jax.sharding.Mesh([first, second], "rows"), jax.sharding.PartitionSpec("rows"))
np.testing.assert_array_equal(net.predict_proba(jax.device_put(x, shards)), net.predict_proba(x))

assert not {"torch", "cupy"} & sys.modules.keys(), "a backend brings its own library only"
"""


@pytest.mark.slow
@pytest.mark.needs("jax")
def test_a_network_of_jax_stays_on_its_device():
    """On the second of two devices that JAX makes of the CPU: nothing goes to the first, its default."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=2"
    done = subprocess.run(
        [sys.executable, "-c", SECOND_DEVICE], capture_output=True, text=True, env=os.environ | {"XLA_FLAGS": flags}
    )
    assert done.returncode == 0, done.stderr


SHARING = [("numpy", "numpy"), ("numpy", "torch"), ("torch", "numpy"), ("torch", "torch")]


@pytest.mark.parametrize(("data", "computes"), [pair for pair in SHARING if not {*pair} & {*LEFT_OUT}])
def test_data_and_results_are_shared_where_both_libraries_allow_it(data, computes, dtype):
    """Without a copy: the memory is the same. Of state there is always a copy."""
    source, backend = get_backend(*PLACES[data]()), get_backend(*PLACES[computes]())
    x = source.asarray(X, dtype)
    with backend.scope(dtype):
        assert np.shares_memory(backend.to_numpy(backend.asarray(x, dtype)), source.to_numpy(x))
    net = Network([4, 3], dtype=dtype, backend=backend)
    reader = net.value.reader
    assert np.shares_memory(backend.to_numpy(reader.read_inputs(x, "x")), source.to_numpy(x))
    result = net.forward(x)
    assert np.shares_memory(backend.to_numpy(result), backend.to_numpy(result))
    weights = [source.asarray(np.ones((3, 4)), dtype)]
    net.w = weights
    mine = [backend.to_numpy(w) for w, _ in net.state.layers]
    assert not np.shares_memory(mine[0], source.to_numpy(weights[0]))
    assert not np.shares_memory(mine[0], backend.to_numpy(net.w[0]))
    assert not any(
        np.shares_memory(a, b)
        for a, b in zip(
            flat(map_arrays(backend.to_numpy, net.state)), flat(map_arrays(backend.to_numpy, net.copy().state))
        )
    )
