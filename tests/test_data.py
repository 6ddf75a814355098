"""Every source gives the same examples on every backend, the caller's objects stay as they are, and minibatches hold
each example once an epoch."""

import itertools
import pickle
import re
from collections import deque
from functools import partial

import numpy as np
import pytest
import reference
from helpers import (
    PLACES,
    Items,
    Place,
    Stream,
    assert_layers,
    assert_same,
    installed,
    layers_of,
    marked,
    refused,
    snapshot,
)

from xpnet import SGD, Ensemble, Network, OneCycle, check_gradients

# JAX compiles programs for each of these tests, so that only what it could get wrong alone runs there
pytestmark = pytest.mark.not_on("jax")

HOST = Place("numpy", None)
N = 11
X = np.random.default_rng(0).random((N, 4), dtype=np.float32)
LABELS = np.random.default_rng(1).integers(3, size=N).astype(np.int32)
ONE_HOT = np.eye(3, dtype=np.float32)[LABELS]


def network(place=HOST, sizes=(4, 5, 3), **options):
    return Network(sizes, seed=7, **place._asdict(), **options)


def trained(source, place=HOST, sizes=(4, 5, 3), **options):
    net = network(place, sizes)
    net.train(source, **{"epochs": 2, "batch_size": 4, "lr": 0.5, "progress": False, **options})
    return net


# The same examples

LIBRARIES = {
    "list": np.ndarray.tolist,
    "numpy": np.asarray,
    "torch": lambda x: pytest.importorskip("torch").asarray(x.copy()),
    "jax": lambda x: pytest.importorskip("jax.numpy").asarray(x),
    "strict": lambda x: pytest.importorskip("array_api_strict").asarray(x),
}


@pytest.mark.parametrize("library", installed(LIBRARIES))
@pytest.mark.on("jax")
def test_arrays_of_every_library_train_every_backend_alike(place, library):
    make = LIBRARIES[library]
    expected = snapshot(trained((X, LABELS), place))
    assert_same(trained((make(X), make(LABELS)), place), expected)
    assert_same(trained((X, make(ONE_HOT)), place), expected)


class Images:
    """Like a data set of torchvision: 2 × 2 uint8 pixels and labels, which transforms turn into what is learnt."""

    def __init__(self, transform=None, target_transform=None):
        self.data = np.random.default_rng(2).integers(256, size=(N, 2, 2), dtype=np.uint8)
        self.targets = LABELS.tolist()
        self.transform, self.target_transform = transform, target_transform
        self.reads = []

    def __len__(self):
        return len(self.data)

    def __getitem__(self, i):
        self.reads.append(i)
        x, y = self.data[i], self.targets[i]
        x = self.transform(x) if self.transform else x
        return x, self.target_transform(y) if self.target_transform else y


Images.__getitem__.__module__ = "torchvision.datasets"  # it stands for a class of torchvision's


def to_tensor(image):
    return image.astype(np.float32) / np.float32(255)


def encode(label):
    return np.eye(3)[label]


def graph():
    return LIBRARIES["torch"](X).requires_grad_()


def colours():
    images = Images()
    images.data = images.data.reshape(N, 1, 2, 2)  # height, width, channels
    return images


SCALED = to_tensor(Images().data).reshape(N, 4)
# Sources, and the arrays that they stand for
ALIKE = {
    "whole numbers as rows": (lambda: (X, ONE_HOT.astype(np.int64)), X),
    "pairs": (lambda: list(zip(X, LABELS.tolist())), X),
    "columns in pairs": (lambda: [(x[:, None], y[:, None]) for x, y in zip(X, ONE_HOT)], X),
    "pairs in a deque": (lambda: deque(zip(X, LABELS)), X),
    "data set": (lambda: Images(to_tensor, encode), SCALED),
    "pixels of torchvision": (lambda: Images(), SCALED),
    "channels first": (colours, to_tensor(np.moveaxis(colours().data, -1, 1)).reshape(N, 4)),
    "its target transform": (lambda: Images(None, encode), SCALED),
    "a tensor that requires a gradient": (lambda: (graph(), LABELS), X),
}


@pytest.mark.parametrize("source", ALIKE)
def test_sources_of_the_same_examples_train_alike(place, source):
    if "gradient" in source:
        pytest.importorskip("torch")
    make, x = ALIKE[source]
    expected = snapshot(trained((x, LABELS), place))
    assert_same(trained(make(), place), expected)
    net = network(place)
    assert net.evaluate(make()) == net.evaluate((x, LABELS))
    assert net.cost(make()) == pytest.approx(net.cost((x, LABELS)))
    if "pixels" not in source:
        other = network(place)
        other.minibatch_update(make(), 0.5)
        net.minibatch_update((x, LABELS), 0.5)
        assert_same(other, snapshot(net))


@pytest.mark.parametrize("host", marked(["numpy", "torch", "jax"]))
def test_arrays_on_a_device_never_come_to_the_host_silently(host):
    strict = pytest.importorskip("array_api_strict")
    net = network(PLACES[host]())
    move = partial(strict.asarray, device=strict.Device("device1"))
    x, labels, one_hot = move(X), move(LABELS), move(ONE_HOT)
    remedy = r"is on .*device1.* \(array_api_strict\), but the network computes on the host .*"
    remedy += r"net\.to\(array_api_strict, device='device1'\)"
    for source in ((x, LABELS), (X, labels), (X, one_hot), [(x[i, :], 0) for i in range(2)]):
        for verb in (net.train, net.evaluate, partial(net.minibatch_update, lr=0.1)):
            with refused(net, TypeError, remedy):
                verb(source)
    with refused(net, TypeError, "x " + remedy):
        net.predict(x)
    with refused(net, TypeError, r"w\[0\] " + remedy):
        net.w = [move(np.ones((5, 4))), np.ones((3, 5))]
    moved = net.to(strict, device="device1")
    moved.train((x, labels), epochs=1, progress=False)
    assert moved.forward(x).device == strict.Device("device1")


# Data sets


def test_without_cache_a_data_set_is_read_again_each_epoch_to_the_same_weights(place):
    images = Images(to_tensor)
    net = trained(images, place, epochs=3, cache=False)
    assert images.reads.pop(0) == 0  # a look at the first item before anything is trained
    epochs = [images.reads[i : i + N] for i in range(0, len(images.reads), N)]
    assert len(epochs) == 3
    assert all(sorted(epoch) == list(range(N)) for epoch in epochs)
    assert epochs[0] != epochs[1]
    cached = Images(to_tensor)
    assert_same(net, snapshot(trained(cached, place, epochs=3)))
    assert cached.reads == list(range(N))


# Iterables of batches


class Counted(Stream):
    """Batches of examples; it counts its iterations, and keeps what it has yielded."""

    def __init__(self, *sizes):
        rows = np.split(np.arange(sum(sizes)), np.cumsum(sizes)[:-1])
        super().__init__(*((X[index], ONE_HOT[index]) for index in rows))
        self.iterations, self.yielded = 0, []

    def __iter__(self):
        self.iterations += 1
        for k, batch in enumerate(self.batches):
            self.yielded.append(k)
            yield batch


@pytest.mark.parametrize("sizes", [(4, 4, 3), (1, 2, 3, 5)])
def test_an_iterable_of_batches_is_iterated_each_epoch(place, sizes):
    stream, twin = Counted(*sizes), network(place)
    net = trained(stream, place, epochs=3)
    assert stream.iterations == 3
    for batch in 3 * stream.batches:
        twin.minibatch_update(batch, 0.5)
    assert_layers(net, layers_of(twin), 1e-5, 1e-6)


class Persistent:
    """Batches with one iterator, which begins again with each pass, as of a DataLoader with persistent workers."""

    persistent_workers = True

    def __init__(self, batches):
        self.batches, self.passes, self.position = batches, 0, 0

    def __iter__(self):
        self.passes, self.position = self.passes + 1, 0
        return Persistent.Pass(self)

    class Pass:
        def __init__(self, loader):
            self.loader = loader

        def __iter__(self):
            return self

        def __next__(self):
            if self.loader.position == len(self.loader.batches):
                raise StopIteration
            self.loader.position += 1
            return self.loader.batches[self.loader.position - 1]


def test_a_loader_with_persistent_workers_is_train_and_test_data_at_once():
    batches = [(X[i : i + 2], LABELS[i : i + 2]) for i in range(0, 8, 2)]
    net = network(PLACES["numpy"]())
    history = net.train(loader := Persistent(batches), 2, lr=0.1, test_data=loader, progress=False)
    assert history["test_size"] == [8, 8]
    twin = network(PLACES["numpy"]())
    for batch in 2 * batches:
        twin.minibatch_update(batch, 0.1)
    assert_same(net, snapshot(twin))


def test_an_endless_generator_trains_by_steps():
    taken = []

    def forever():
        for i in itertools.count():
            taken.append(i)
            yield X[i % N, None], LABELS[i % N, None]

    net = trained(forever(), steps=4, epochs=3, lr=OneCycle(1.0))
    assert taken == list(range(12))
    assert len(net.history) == 3
    assert net.history["lr"][-1] == OneCycle(1.0)(11, 12)


def test_with_steps_an_epoch_goes_on_where_the_last_one_stopped():
    stream = Counted(4, 4, 3)
    trained(stream, steps=2, epochs=2)
    assert stream.yielded == [0, 1, 2, 0]


class Once(Stream):
    """Batches that can be iterated over once."""

    def __init__(self):
        self.batches = iter(Counted(4, 4, 3))

    def __iter__(self):
        yield from self.batches


class Many:
    """A data set whose items are never read."""

    __getitem__ = None

    def __len__(self):
        return 2**31


ONLY_ONCE = " is an iterator, which can be iterated over only once, .*DataLoader"
# Arguments of `train`, what the error says, and how many epochs there are before it
REFUSED = {
    "iterator": (lambda: {"train_data": iter(Counted(4, 7))}, "train_data" + ONLY_ONCE, 0),
    "iterator to test on": (lambda: {"train_data": (X, LABELS), "test_data": iter([])}, "test_data" + ONLY_ONCE, 0),
    "exhausted": (lambda: {"train_data": Once()}, "train_data yielded no batch; an iterator .*DataLoader", 1),
    "exhausted steps": (lambda: {"train_data": Once(), "steps": 3}, "ended 3 batches before steps=3", 1),
    "schedule": (lambda: {"train_data": Counted(4, 7), "lr": OneCycle(1.0)}, "needs the number of steps", 0),
    "many items": (lambda: {"train_data": Many()}, "train_data has 2,147,483,648 examples, and at most", 0),
    "many rows": (
        lambda: {"train_data": (np.broadcast_to(X[:1], (2**31, 4)), np.broadcast_to(LABELS[:1], (2**31,)))},
        "X of train_data has 2,147,483,648 examples",
        0,
    ),
    "a name twice": (lambda: {"train_data": (Table("wxyw"), LABELS)}, "several columns named 'w'; give each a name", 0),
    "names and numbers": (
        lambda: {"train_data": (Table(["w", "x", "y", 3]), LABELS)},
        "column names that are not strings, such as 3 of type int; make all of them strings",
        0,
    ),
    "other names": (
        lambda: {"train_data": [(Table(NAMES, X[0]), 1), (Table(SWAPPED, X[1]), 2)]},
        "x of item 1 of train_data has other columns than the network was trained on",
        0,
    ),
    "other names to validate": (
        lambda: {"train_data": (Table(NAMES), LABELS), "validation_data": (Table(SWAPPED), LABELS)},
        "X of validation_data has other columns than the network was trained on",
        0,
    ),
    "other names to test": (
        lambda: {"train_data": (Table(NAMES), LABELS), "test_data": (Table(SWAPPED), LABELS)},
        "X of test_data has other columns than the network was trained on",
        0,
    ),
}


@pytest.mark.parametrize("kind", [Network, Ensemble])
@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_trained_on_is_named_and_changes_nothing(case, kind):
    make, message, epochs = REFUSED[case]
    net = kind([4, 5, 3], seed=7)
    members = [net] if kind is Network else [*net]
    before = [snapshot(member) for member in members]
    with pytest.raises((ValueError, TypeError), match=message):
        net.train(**{"epochs": 2, "lr": 0.5, "progress": False, **make()})
    for member, now in zip(members, before):
        assert len(member.history) == epochs
        assert member.feature_names is None
        if not epochs:
            assert_same(member, now)


# Column names


class Table:
    """A table of any library, or a row of one of pandas, as far as names matter."""

    def __init__(self, columns, x=X):
        self.x = x
        if x.ndim == 1:
            self.index, self.iloc = list(columns), None
        else:
            self.columns = list(columns)

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.x, dtype)

    def __len__(self):
        return len(self.x)


NAMES, SWAPPED = ("w", "x", "y", "z"), ("x", "w", "y", "z")
SOURCES = {
    "table": lambda columns: (Table(columns), LABELS),
    "pairs": lambda columns: [(Table(columns, x), y) for x, y in zip(X, LABELS)],
    "items": lambda columns: Items([Table(columns, x) for x in X], LABELS),
    "batches": lambda columns: Stream((Table(columns), LABELS)),
}
SWAPPED_ERROR = re.escape(
    " has other columns than the network was trained on: column 0 is 'x' and was 'w', counted from 0; take them by "
    "their names, as in X[list(net.feature_names)]"
)
# what is done with inputs of columns of these names
INPUTS = {
    "forward": lambda net, columns: net.forward(Table(columns)),
    "a row": lambda net, columns: net.predict(Table(columns, X[0])),
    "sample": lambda net, columns: net.sample(Table(columns), 2),
    "jacobian": lambda net, columns: net.jacobian(Table(columns)),
    "evaluate": lambda net, columns: net.evaluate((Table(columns), LABELS)),
    **{f"train {kind}": lambda net, columns, make=make: train(net, make(columns)) for kind, make in SOURCES.items()},
}
OF_A_NETWORK = {
    "backward": lambda net, columns: net.backward(Table(columns), LABELS),
    "minibatch": lambda net, columns: net.minibatch_update((Table(columns), LABELS), 0.1),
    "read again": lambda net, columns: train(net, SOURCES["items"](columns), cache=False),
    "check": lambda net, columns: check_gradients(net, Table(columns), LABELS),
}


def train(net, data, **options):
    return net.train(data, **{"epochs": 1, "batch_size": 4, "lr": 0.1, "progress": False, **options})


def named(kind=Network, **options):
    net = kind([4, 5, 3], seed=7, task="classification", dropout=0.5, **options)
    train(net, (Table(NAMES), LABELS))
    return net


@pytest.mark.parametrize(
    ("kind", "way"), [*((Network, way) for way in (*INPUTS, *OF_A_NETWORK)), *((Ensemble, way) for way in INPUTS)]
)
def test_columns_in_another_order_are_refused_everywhere(kind, way):
    net, call = named(kind), (INPUTS | OF_A_NETWORK)[way]
    for one in net if kind is Ensemble else [net]:
        with refused(one, ValueError, SWAPPED_ERROR):
            call(net, SWAPPED)
    call(net, NAMES)
    call(net, range(4))  # columns that are only numbered have no names
    assert net.feature_names == NAMES


@pytest.mark.parametrize("kind", [Network, Ensemble])
def test_names_go_with_every_copy(kind, tmp_path):
    net = named(kind)
    net.save(tmp_path / "net")
    for again in (net.copy(), pickle.loads(pickle.dumps(net)), net.to(dtype="float64"), kind.load(tmp_path / "net")):
        assert again.feature_names == NAMES
        with pytest.raises(ValueError, match=SWAPPED_ERROR):
            again.predict(Table(SWAPPED))
    nameless = named(kind)
    nameless.feature_names = None
    nameless.predict(Table(SWAPPED))
    nameless.save(tmp_path / "net")
    assert kind.load(tmp_path / "net").feature_names is None
    train(nameless, (Table(SWAPPED), LABELS))
    assert nameless.feature_names == SWAPPED


def test_a_training_that_is_resumed_has_its_columns(tmp_path):
    net = named(standardize=True)
    path = tmp_path / "run"
    train(net, (Table(NAMES), LABELS), checkpoint=path)
    assert Network.load(path).feature_names == NAMES
    again = Network([4, 5, 3], seed=7, task="classification", dropout=0.5, standardize=True)
    with refused(again, ValueError, f"X of train_data{SWAPPED_ERROR}"):
        train(again, (Table(SWAPPED), LABELS), epochs=2, checkpoint=path, resume=True)
    train(again, (X, LABELS), epochs=2, checkpoint=path, resume=True)
    assert again.feature_names == NAMES


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ("wxzv", "column 2 is 'z' and was 'y', counted from 0"),
        ("wxyzv", "column 4 is 'v' and was missing, counted from 0; take them by their names"),
    ],
)
def test_other_columns_are_named(columns, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        named().predict(Table(columns, np.ones((N, len(columns)))))


def test_names_can_be_assigned_and_must_fit():
    ensemble = Ensemble([4, 5, 3], 2, seed=0)
    for one in (network(), ensemble, ensemble[0]):
        one.feature_names = list(NAMES)
        assert one.feature_names == NAMES
        for wrong in ("wxyz", ["w", "x", "y"], ["w", "x", "y", 3], ["w", "x", "y", "w"]):
            with pytest.raises(ValueError, match=r"feature_names=.* must be 4 different strings, one for each input"):
                one.feature_names = wrong
    ensemble[1].feature_names = SWAPPED
    message = "network 1 has the name 'x' for input 0 and network 0 has 'w'; the members of an ensemble must have the"
    for call in (Ensemble.of, lambda ensemble: train(ensemble, (X, LABELS))):
        with pytest.raises(ValueError, match=message):
            call(ensemble)
    ensemble[0].feature_names = None
    assert ensemble.feature_names == Ensemble.of(ensemble).feature_names == SWAPPED
    with pytest.raises(ValueError, match="column 0 is 'w' and was 'x'"):
        ensemble.evaluate((Table(NAMES), LABELS))


def make_table(library, columns):
    module, values = pytest.importorskip(library), dict(zip(NAMES, X.T))
    if library == "xarray":
        return module.DataArray(X, {"w": np.arange(N), "column": [*NAMES]}, ["w", "column"]).sel(column=[*columns])
    make = {"pandas": "DataFrame", "pyarrow": "table", "polars": "DataFrame"}[library]
    return getattr(module, make)({name: values[name] for name in columns})


@pytest.mark.parametrize("library", installed(["pandas", "pyarrow", "polars", "xarray"]))
def test_tables_of_several_libraries_have_names(library):
    table, other = make_table(library, NAMES), make_table(library, SWAPPED)
    net = trained((table, LABELS))
    assert net.feature_names == NAMES
    assert_same(net, snapshot(trained((X, LABELS))))
    message = (
        f"x{SWAPPED_ERROR}" if library != "xarray" else re.escape("names, as in X.sel({'column': list(net.feature_n")
    )
    with refused(net, ValueError, message):
        net.predict(other)
    rows = {"pandas": lambda table: table.iloc[0], "xarray": lambda table: table[0]}
    if row := rows.get(library):
        assert net.predict(row(table)) == net.predict(X[0])
        with refused(net, ValueError, message):
            net.predict(row(other))


@pytest.mark.needs("xarray")
def test_coordinates_that_are_no_names():
    """None, numbers, those of rows, and those of images."""
    from xarray import DataArray

    arrays = [DataArray(X), DataArray(X, {"t": [f"row {k}" for k in range(N)]}, ["t", "column"])]
    arrays += [DataArray(X, {"column": range(4)}, ["t", "column"])]
    for x in (*arrays, DataArray(X.reshape(N, 2, 2), {"c": ["a", "b"]}, ["t", "r", "c"])):
        net = trained((x, LABELS))
        assert net.feature_names is None
        assert_same(net, snapshot(trained((X, LABELS))))


# Labels and targets


BINARY = (LABELS > 0).astype(np.int64)


@pytest.mark.parametrize("options", [{}, {"task": "binary"}, {"task": "regression"}])
def test_targets_of_one_output_are_flat_or_a_column(place, options):
    flat = BINARY.astype(np.float32)
    sources = [(X, y) for y in (flat, flat[:, None], BINARY, BINARY[:, None], flat.tolist())]
    nets = [network(place, (4, 5, 1), **options) for _ in range(6)]
    for net, data in zip(nets, [*sources, list(zip(X, flat))]):
        net.train(data, epochs=2, batch_size=4, lr=0.5, progress=False)
        assert_same(net, snapshot(nets[0]))
        assert net.cost(data) == nets[0].cost((X, flat))


# Pixels


@pytest.mark.parametrize("cache", [True, False])
def test_unscaled_pixels_warn_once(cache):
    pixels = Images().data
    batches = type("Raw", (), {"__iter__": lambda self: iter([(pixels[:4], LABELS[:4]), (pixels[4:], LABELS[4:])])})
    for source in (Images(lambda image: image), batches() if cache else list(zip(pixels, LABELS))):
        with pytest.warns(UserWarning, match="divide them by 255") as caught:
            trained(source, epochs=3, cache=cache)
        assert len(caught) == 1


# The caller's objects


def aligned(x):
    """A contiguous float32 copy at a 64-byte boundary, as libraries like best to share it."""
    room = np.empty(x.size * 4 + 64, np.uint8)
    start = -room.ctypes.data % 64
    out = room[start : start + x.size * 4].view(np.float32).reshape(x.shape)
    out[...] = x
    assert out.ctypes.data % 64 == 0
    assert out.flags.c_contiguous
    return out


@pytest.mark.parametrize("on_device", [False, True])
@pytest.mark.on("jax")
def test_arrays_of_the_caller_are_never_written(place, backend, on_device):
    rng = np.random.default_rng(5)
    values = [X, ONE_HOT, rng.random((5, 4)), rng.random((3, 5)), rng.random(5), rng.random((3, 1))]
    given_ = [aligned(value) for value in values]
    theirs = [backend.asarray(value) for value in given_] if on_device else given_
    x, y, w0, w1, b0, b1 = theirs
    net = network(place)
    net.w, net.b = [w0, w1], [b0, b1]
    taken = snapshot(net)[0]
    kept_w, kept_b = net.w, net.b
    for _ in range(2):
        net.train((x, y), epochs=2, batch_size=4, lr=0.5, optimizer=SGD(momentum=0.9), progress=False)
    net.minibatch_update((x, y), 0.5)
    net.backward(x, y)
    assert not np.array_equal(snapshot(net)[0][0][0], taken[0][0])  # it did train
    for array, value in zip(theirs, values):
        now = backend.to_numpy(array) if on_device else array
        np.testing.assert_array_equal(now, value.astype(np.float32))
    for (w, b), got_w, got_b in zip(taken, kept_w, kept_b):
        np.testing.assert_array_equal(backend.to_numpy(got_w), w)
        np.testing.assert_array_equal(backend.to_numpy(got_b), b[0])
    net.w, net.b = given_[2:4], given_[4:]
    before = snapshot(net)
    for array in given_:
        array[...] = 7
    assert_same(net, before)


IN_OTHER_ORDERS = {
    "columns": np.asfortranarray,
    "backwards": lambda x: x[::-1, ::-1].copy()[::-1, ::-1],
    "unaligned": lambda x: np.frombuffer(b"0" + x.tobytes(), x.dtype, offset=1).reshape(x.shape),
}


@pytest.mark.parametrize("order", IN_OTHER_ORDERS)
@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("input_dtype", ["float32", "float64"])
def test_the_order_of_memory_changes_no_bit(place, input_dtype, standardize, order):
    rng, results = np.random.default_rng(0), []
    data = [rng.normal(3, 2, (300, 30)).astype(input_dtype), rng.normal(5, 3, (300, 2)).astype(input_dtype)]
    settings = {"activation": "tanh", "task": "regression", "standardize": standardize, "dtype": "float32", "seed": 0}
    for arrange in (np.ascontiguousarray, IN_OTHER_ORDERS[order]):
        x, y = map(arrange, data)
        net = Network([30, 8, 2], **settings, **place._asdict())
        history = net.train((x, y), epochs=1, lr=0.01, validation_data=(x, y), progress=False)
        one = net.forward(x[:1]), net.jacobian(x[:1]), net.vjp(x[:1], y[:1])
        arrays = [net.forward(x), *net.activations(x), *itertools.chain(*net.backward(x, y)), *one]
        scaling = net.scaling or ()
        results.append(
            [history["cost"], history["validation_cost"], net.cost((x, y)), *scaling, *snapshot(net).layers[0]]
        )
        results[-1] += [net.backend.to_numpy(array) for array in arrays]
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_array_equal(ours, theirs)


# The order of minibatches

SHAPES = [(9, 3), (10, 3), (11, 3), (5, 5), (5, 8), (1, 3), (4, 1)]  # n % b in {0, 1, b - 1}, b = n, b > n, n = 1


@pytest.mark.parametrize("sampling", ["shuffle", "replacement"])
@pytest.mark.parametrize(("n", "b"), SHAPES)
def test_the_minibatches_of_a_seed_are_those_of_an_explicit_loop(place, n, b, sampling):
    """On every backend. The cost of an epoch is the mean over its examples, before the updates of their minibatches;
    a schedule sees every step, and how many there are."""
    x, y, seen = np.random.default_rng(0).standard_normal((n, 4)), np.eye(3)[np.arange(n) % 3], []
    net = network(place, (4, 3), dtype="float64")
    rng = net.make_rng()

    def schedule(step, total):
        seen.append((step, total))
        return 0.7

    epochs = [reference.draw(n, b, rng, sampling) for _ in range(3)]
    layers, costs = reference.train(net, x, y, epochs, itertools.repeat(0.7))
    history = net.train((x, y), epochs=3, batch_size=b, lr=schedule, sampling=sampling, progress=False)
    np.testing.assert_allclose(history["cost"], costs, rtol=1e-12)
    assert_layers(net, layers, 1e-12)
    steps = sum(map(len, epochs))
    assert seen == [(0, steps), *((step, steps) for step in range(steps))]  # a look before anything is trained
