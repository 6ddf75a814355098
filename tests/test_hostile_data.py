"""Hostile data: whatever is given to any method is used rightly or refused by name, and nothing else happens.

Used rightly means: to the same effect as a clean copy, which is contiguous, in the machine's byte order and of the
plainest dtype of its kind. Warnings are errors here, so none may leak.
"""

import re
import warnings
from collections import deque
from typing import Any, NamedTuple

import host_cupy
import numpy as np
import pytest
from helpers import NOT_INSTALLED, Items, Stream, assert_same, snapshot
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xpnet import DivergenceError, Network

X = np.array([[0.5, -1.0, 2.0], [1.5, 0.25, -0.75], [0.0, 1.0, 1.0], [-2.0, 0.5, 0.125]])
LABELS = np.array([0, 1, 1, 0])
TARGETS = np.array([[0.5, 1.0], [0.25, -1.0], [2.0, 0.0], [1.0, 1.5]])


class Case(NamedTuple):
    """Hostile data, and the clean copy to whose effect it may be used; without one it must be refused."""

    data: Any
    clean: Any


# Where data comes from: from a clean array to a case


class Subclass(np.ndarray):
    pass


class HasArray:
    """An object that NumPy converts by its own method."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return np.array(self.array, dtype)


class Fails:
    """An object whose conversion raises an error, such as one that would end an iteration."""

    def __init__(self, error):
        self.error = error

    def __array__(self, dtype=None, copy=None):
        raise self.error


def in_pieces(x):
    """Store the values with gaps between them, backwards."""
    room = np.zeros([2 * n for n in x.shape], x.dtype)
    view = room[(slice(None, None, -2),) * x.ndim]
    view[...] = x
    return view


def misaligned(x):
    """Store the values at addresses that no processor prefers."""
    record = np.zeros(x.shape, [("gap", "u1"), ("x", x.dtype)])
    record["x"] = x
    return record["x"]


def read_only(x):
    x.flags.writeable = False
    return x


MEMORY = [
    np.ascontiguousarray,
    np.asfortranarray,
    in_pieces,
    misaligned,
    read_only,
    lambda x: x[::-1].copy()[::-1],
    lambda x: x.astype(x.dtype.newbyteorder()),
    lambda x: x.view(Subclass),
]
DTYPES = (*"?bhiqBHIQefd", "g")


def cleaned(x):
    plain = {"b": bool, "i": np.int64, "u": np.uint64, "f": np.float64}[x.dtype.kind]
    with np.errstate(all="ignore"):
        return np.array(x, plain, order="C")


def as_numpy(x, dtype, place):
    with np.errstate(all="ignore"):
        x = x.astype(dtype)
    stored = place(x) if x.ndim else x
    return Case(stored, cleaned(stored))


def as_tensor(x, dtype, kind):
    import torch

    tensor = torch.tensor(x).to(getattr(torch, dtype))
    clean = cleaned(tensor.to(torch.float64 if tensor.is_floating_point() else tensor.dtype).numpy())
    if kind == "negated" and tensor.is_floating_point() and tensor.element_size() > 2:
        return Case(torch._neg_view(-tensor), clean)
    if kind == "transposed" and tensor.ndim == 2:
        return Case(tensor.T.contiguous().T, clean)
    if kind == "parameter" and tensor.is_floating_point():
        return Case(tensor.requires_grad_(), clean)
    if kind == "meta":
        return Case(tensor.to("meta"), None)
    if kind == "sparse" and tensor.ndim == 2 and dtype == "float32":
        return Case(tensor.to_sparse(), None)
    return Case(tensor, clean)


def as_jax(x, dtype):
    import jax

    with jax.enable_x64(True), np.errstate(all="ignore"):
        array = jax.device_put(x.astype(jax.numpy.dtype(dtype)))
    kind = float if "float" in dtype else bool if dtype == "bool" else np.int64
    return Case(array, cleaned(np.asarray(array).astype(kind)))


def as_table(x, arrow):
    import pandas
    import pyarrow

    if x.ndim != 2:
        return Case(pandas.Series(x) if x.ndim == 1 else x, x)
    columns = {f"x{i}": x[:, i] for i in range(x.shape[1])}
    return Case(pyarrow.table(columns) if arrow and columns else pandas.DataFrame(columns, range(len(x))), x)


def masked(x):
    return np.ma.masked_array(x, mask=np.arange(x.size).reshape(x.shape) % 2 == 1)


OTHERS = [
    lambda x: Case(x.tolist(), x),
    lambda x: Case(tuple(map(tuple, x.tolist())) if x.ndim == 2 else x.tolist(), x),
    lambda x: Case(deque(x) if x.ndim else x, x),
    lambda x: Case(memoryview(x), x),
    lambda x: Case(HasArray(x), x),
    lambda x: Case(np.broadcast_to(x[:1], x.shape) if x.ndim else x, np.repeat(x[:1], len(x), 0) if x.ndim else x),
    lambda x: Case(masked(x), None),
    lambda x: Case(x.astype(object), None),
    lambda x: Case(x.astype(str), None),
    lambda x: Case(x.astype(complex), None),
    lambda x: Case(np.zeros(x.shape, "M8[s]"), None),
    lambda x: Case(np.zeros(x.shape, "m8[s]"), None),
    lambda x: Case(np.zeros(x.shape, [("x", float)]), None),
    lambda x: Case(x.astype(np.dtypes.StringDType()), None),
    lambda x: Case((row for row in np.atleast_1d(x)), x),  # batches for predictions; elsewhere it is refused
    lambda x: Case({"x": x}, None),
    lambda x: Case({*x.ravel().tolist()}, None),
    lambda x: Case([[1.0, 2.0, 3.0], [1.0, 2.0]], None),
    lambda x: Case([[1.0, 2.0, 3.0], 4.0], None),
    lambda x: Case(10**400, None),
    lambda x: Case([["a", 10**400]], None),
    lambda x: Case(b"abc", None),
    lambda x: Case(type, None),
    *(lambda x, e=error: Case(Fails(e("why")), None) for error in (StopIteration, KeyError, OverflowError, TypeError)),
]
SHAPES = [(4, 3), (4, 3), (4, 3), (3,), (3,), (4,), (4,), (4, 2), (4, 2), (2,), (4, 1), (1, 3), (2, 3), (4, 1, 3)]
SHAPES += [(3, 4), (0, 3), (4, 0), (0,), (), (1,)]
SMALL, UNIT = [0.0, 1.0, -1.0, 0.5, 2.0, -0.75, 3.0], [0.0, 1.0]
EXTREME = [1e30, -1e30, 3e38, -3e38, 1e-40, 5e-324, -0.0]
WRONG = [np.nan, np.inf, -np.inf, 1e39, -1e300]


@st.composite
def clean_arrays(draw):
    """Arrays of float64 that fit or do not, of numbers that do or do not."""
    values = draw(st.sampled_from([SMALL, SMALL, UNIT, UNIT, SMALL + EXTREME, SMALL + WRONG]))
    return np.random.default_rng(draw(st.integers(0, 99))).choice(values, draw(st.sampled_from(SHAPES)))


def cases():
    """Data of every kind that the installed libraries have."""
    arrays = clean_arrays()
    kinds = [
        st.builds(as_numpy, arrays, st.sampled_from(DTYPES), st.sampled_from(MEMORY)),
        st.builds(lambda x, make: make(x), arrays, st.sampled_from(OTHERS)),
    ]
    if "torch" not in NOT_INSTALLED:
        dtypes = ("float32", "float64", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2", "uint8", "int64", "bool")
        layouts = ("plain", "negated", "transposed", "parameter", "meta", "sparse")
        kinds.append(st.builds(as_tensor, arrays, st.sampled_from(dtypes), st.sampled_from(layouts)))
    if "jax" not in NOT_INSTALLED:
        dtypes = ("float32", "float64", "bfloat16", "float8_e5m2", "int32", "int4", "uint8", "bool")
        kinds.append(st.builds(as_jax, arrays, st.sampled_from(dtypes)))
    if not {"pandas", "pyarrow"} & {*NOT_INSTALLED}:
        kinds.append(st.builds(as_table, arrays, st.booleans()))
    return st.one_of(kinds)


# Where data goes


def changed(net, change):
    """Change a copy, and return its weights; check that an error leaves it as it was."""
    net, before = net.copy(), snapshot(net)
    try:
        change(net)
    except Exception:
        assert_same(net, before)
        raise
    return net.w, net.b


def trained(net, data, **options):
    return changed(net, lambda net: net.train(data, 1, 3, 0.1, progress=False, **options))


def targets(net):
    return LABELS if net.task == "classification" else TARGETS


# For each method, how errors name the argument, and what to call
METHODS = {
    "forward": ("^x ", lambda net, x: net.forward(x)),
    "sample": ("^x ", lambda net, x: net.sample(x, 2) if any(net.dropout) else net.predict(x)),
    "jacobian": ("^x ", lambda net, x: net.jacobian(x)),
    "vjp, g": ("^g ", lambda net, g: net.vjp(X, g)),
    "backward, x": ("^x |^X has", lambda net, x: net.backward(x, targets(net))),
    "backward, y": ("y of the batch ", lambda net, y: net.backward(X, y)),
    "cost": ("^X of data ", lambda net, x: net.cost((x, targets(net)))),
    "cost, batches": ("^X of batch 0 of data ", lambda net, x: net.cost(Stream((x, targets(net))))),
    "train, x": ("^X of train_data ", lambda net, x: trained(net, (x, targets(net)))),
    "train, y": ("y of train_data ", lambda net, y: trained(net, (X, y))),
    "train, pairs": ("^[xX] of train_data ", lambda net, x: trained(net, [(x, targets(net)[0])] * 2)),
    "train, items": ("^y of train_data ", lambda net, y: trained(net, Items([X[0]] * 4, [y] * 4))),
    "train, weights": ("^sample_weight ", lambda net, w: trained(net, (X, targets(net)), sample_weight=w)),
    "minibatch": (
        "^X of batch ",
        lambda net, x: changed(net, lambda net: net.minibatch_update((x, targets(net)), 0.1)),
    ),
    "w": (r"^w\[0\] ", lambda net, x: changed(net, lambda net: setattr(net, "w", [x, *net.w[1:]]))),
    "b": (r"^b\[1\] ", lambda net, x: changed(net, lambda net: setattr(net, "b", [*net.b[:-1], x]))),
}


@pytest.fixture
def nets(place):
    """Networks with three inputs and two targets: a classifier with dropout, and regressions."""
    nets = [
        Network([3, 4, 2], task="classification", dropout=0.25, seed=0, **place._asdict()),
        Network([3, 4, 2], task="regression", standardize=True, dtype="float64", seed=0, **place._asdict()),
        Network([3, 4, 4], cost="gaussian", scale=0.5, seed=0, **place._asdict()),
    ]
    nets[1].train((X, TARGETS), 1, progress=False)
    return nets


def outcome(net, method, data):
    """Return the results, or the error, which must name the argument."""
    name, call = METHODS[method]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".* holds uint8 values up to .*, which are not scaled", UserWarning)
        warnings.filterwarnings("ignore", "targets have mean .* and standard deviation", UserWarning)
        warnings.filterwarnings("ignore", category=RuntimeWarning, module=r"host_cupy\.")  # it computes with NumPy
        try:
            results = call(net, data)
        except DivergenceError as error:
            return error
        except (ValueError, TypeError) as error:
            return (
                error
                if re.search(name, str(error).removeprefix("batch 0 of "))
                else pytest.fail(f"this does not name its argument: {error}")
            )
    return to_host(net, results)


def to_host(net, results):
    if isinstance(results, (tuple, list)):
        return [array for part in results for array in to_host(net, part)]
    if isinstance(results, (int, float)):
        return [np.array(results)]
    with net.backend.scope(net.dtype):
        return [np.array(net.backend.to_numpy(results))]


def fingerprint(data):
    """Return what must not change in an array."""
    if isinstance(data, np.ndarray):
        return data.tolist(), data.strides, data.dtype, data.flags.writeable
    if hasattr(data, "requires_grad") and not data.is_meta:
        return str(data.tolist()) if "strided" in str(data.layout) else str(data), data.requires_grad, data.is_neg()
    return repr(data)


def check(nets, which, method, case):
    net, before = nets[which], repr(fingerprint(case.data))
    state, generator = snapshot(net), net.value.generator
    result = outcome(net, method, case.data)
    assert repr(fingerprint(case.data)) == before
    assert_same(net, state)
    assert net.value.generator == generator
    if isinstance(result, Exception):
        return
    assert case.clean is not None, f"this was not refused: {case.data!r}"
    expected = outcome(net, method, case.clean)
    assert isinstance(expected, list), expected
    for array, other in zip(result, expected, strict=True):
        np.testing.assert_allclose(array, other, rtol=1e-4 if net.dtype == "float32" else 1e-9, atol=1e-6)


QUIET = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@pytest.mark.not_on("jax")
@settings(max_examples=30, suppress_health_check=QUIET)
@given(which=st.integers(0, 2), method=st.sampled_from([*METHODS]), case=cases())
def test_any_data_is_used_rightly_or_refused_by_name(nets, which, method, case):
    check(nets, which, method, case)


# What is refused, and in which words


@pytest.fixture
def net(place):
    return Network([3, 4, 2], task="classification", seed=0, **place._asdict())


@pytest.fixture
def on_numpy():
    """The same network, for what no backend has to do with."""
    return Network([3, 4, 2], task="classification", seed=0)


class Quantity(np.ndarray):
    """A quantity like those of astropy and unyt, which are NumPy arrays."""

    unit = object()


class Wrapped:
    """A quantity like those of pint, which hold a NumPy array; or an array of xarray, which holds one of either."""

    def __init__(self, x):
        self.data, self.shape, self.ndim, self.dtype = x, x.shape, x.ndim, x.dtype

    def __array__(self, *args, **options):
        return np.array(self.data)

    def __getitem__(self, i):
        return type(self)(self.data[i])


class PintQuantity(Wrapped):
    units = object()


class XarrayArray(Wrapped):
    data = None


class MaskedQuantity(Quantity):
    """A masked array of astropy, which is not one of numpy.ma."""

    mask = True


class Length(float):
    """A number with a unit that float() drops, like those of unyt."""

    units = object()


def objects(x):
    """Return an array of objects, one of which has a unit."""
    x = x.astype(object)
    x[2, 1] = Length(x[2, 1])
    return x


def tensor(change, dtype="float32"):
    """Make a tensor of PyTorch, and change it by a function of the module and the tensor."""

    def make():
        torch = pytest.importorskip("torch")
        with warnings.catch_warnings(action="ignore"):  # PyTorch's own, of prototypes
            return change(torch, torch.tensor(X).to(getattr(torch, dtype)))

    return make


def frame(x, **options):
    return pytest.importorskip("pandas").DataFrame(x, **options)


def dask(x):
    return pytest.importorskip("dask.array").from_array(x, asarray=False)


def labelled(unit):
    """Pixels with a unit that is only a text, as an attribute of a file, or a method."""
    x = X.view(Quantity)
    x.unit = unit
    return x


def record(x):
    """A row whose stride is no whole number of its numbers."""
    record = np.zeros(len(x), [("gap", "u1"), ("x", "f4", 3)])
    record["x"] = x
    return record["x"]


READ = {
    "lists and arrays": lambda: [X[0], X[1].tolist(), *X[2:]],
    "negated": tensor(lambda torch, x: torch._neg_view(-x)),
    "imaginary": tensor(lambda torch, x: torch.complex(x, -x).conj().imag),
    **{name: tensor(lambda torch, x: x, name) for name in ("bfloat16", "float8_e5m2")},
    "ml_dtypes": lambda: X.astype(pytest.importorskip("ml_dtypes").bfloat16),
    "float8 of JAX": lambda: pytest.importorskip("jax.numpy").asarray(X, pytest.importorskip("ml_dtypes").float8_e5m2),
    "a unit that is a text": lambda: labelled("m"),
    "a unit that is a method": lambda: labelled(X.sum),
    "columns named as units": lambda: frame(X, columns=["unit", "units", "data"]),
}


@pytest.mark.parametrize("case", READ)
def test_numbers_of_any_kind_are_read(net, case):
    x, expected = READ[case](), to_host(net, net.forward(X))
    np.testing.assert_array_equal(to_host(net, net.forward(x)), expected)
    assert net.cost((x, LABELS)) == net.cost((X, LABELS))


def test_a_single_row_may_have_any_stride(net):
    """NumPy calls it contiguous all the same, and PyTorch refuses a stride that is negative or no whole number."""
    x = X[:1].astype("float32")  # the dtype of the network, so that nothing copies it
    for row in (x[::-1], record(x)):
        np.testing.assert_array_equal(to_host(net, net.forward(row)), to_host(net, net.forward(X[:1])))


def endless():
    x = []
    x.append(x)
    return x


MASK, UNIT_MESSAGE = (
    r" is a masked array, or holds one; give its filled\(\)",
    " is a quantity with a unit, or holds one",
)
REFUSED = {
    "masked": (lambda: masked(X), MASK),
    "nothing masked": (lambda: np.ma.masked_array(X), MASK),  # but that may change
    "masked rows": (lambda: [masked(row) for row in X], MASK),
    "a masked number": (lambda: deque([(0.5, np.ma.masked, 1.0)]), MASK),
    "masked quantity": (lambda: [*X.view(MaskedQuantity)], MASK),
    "masked blocks": (lambda: dask(masked(X)), MASK),
    "quantity": (lambda: X.view(Quantity), UNIT_MESSAGE),
    "quantities": (lambda: [*map(PintQuantity, X)], UNIT_MESSAGE),
    "within xarray's": (lambda: XarrayArray(PintQuantity(X)), UNIT_MESSAGE),
    "a number with a unit": (lambda: [[0.5, 1.0, PintQuantity(X[0, 0])]], UNIT_MESSAGE),
    "objects": (lambda: objects(X), UNIT_MESSAGE),
    "blocks of quantities": (lambda: dask(X.view(Quantity)), UNIT_MESSAGE),
    "endless": (endless, r" cannot be converted to an array \(.*\); give an array, or rows of equal"),
    "sparse": (lambda: pytest.importorskip("scipy.sparse").csr_array(X), r" is sparse; give its toarray\(\)"),
    "coo": (tensor(lambda torch, x: x.to_sparse()), r" is a tensor of layout torch\.sparse_coo; give its to_dense"),
    "csr": (tensor(lambda torch, x: x.to_sparse_csr()), r" is a tensor of layout torch\.sparse_csr; give its to_dense"),
    "nested": (tensor(lambda torch, x: torch.nested.nested_tensor([*x])), r"; give its to_padded_tensor\(0\.0\)"),
    "quantized": (
        tensor(lambda torch, x: torch.quantize_per_tensor(x, 0.1, 10, torch.quint8)),
        r" is a quantized tensor; give its dequantize\(\)",
    ),
    "meta": (tensor(lambda torch, x: x.to("meta")), " is a tensor on the device meta, which holds no values; give one"),
    "complex": (tensor(lambda torch, x: torch.complex(x, x)), r" has dtype torch\.complex64; give real numbers"),
    "keys": (lambda: pytest.importorskip("jax").random.key(0), " has dtype key<fry>; give real numbers"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_would_be_misread_is_refused_with_the_remedy(net, case):
    make, message = REFUSED[case]
    x = make()
    for name, call in (
        ("x", net.forward),
        ("X of train_data", lambda x: trained(net, (x, LABELS[: len(x) if isinstance(x, (list, deque)) else 4]))),
        (r"w\[0\]", lambda x: changed(net, lambda net: setattr(net, "w", [x, net.w[1]]))),
    ):
        with pytest.raises((TypeError, ValueError), match=f"^{name}.*{message}"):
            call(x)
    with pytest.raises(TypeError, match=f"^sample_weight{MASK}"):
        trained(net, (X, LABELS), sample_weight=masked(np.ones(4)))


@pytest.mark.parametrize("error", [StopIteration("why"), KeyError("why"), OverflowError("why"), RuntimeError("why")])
def test_the_error_of_a_conversion_is_told(net, error):
    message = r"cannot be converted to an array \('?why'?\); give an array, or rows of equal length"
    for data in ((Fails(error), LABELS), Stream((Fails(error), LABELS)), [(Fails(error), 0)]):
        with pytest.raises(ValueError, match=rf"^[xX] of (batch 0 of )?train_data {message}") as caught:
            trained(net, data)
        assert caught.value.__cause__ is error or isinstance(data, list)


def test_an_error_that_is_not_about_the_data_surfaces(net):
    for error in (MemoryError(), TimeoutError(), KeyboardInterrupt()):
        with pytest.raises(type(error)):
            net.forward(Fails(error))


@pytest.mark.not_on("jax", host_cupy.NAME)  # they are not made of NumPy, or only in the tests
def test_numbers_that_overflow_warn_of_nothing(place):
    """Warnings are errors in the tests; NumPy raises errors of its own where the user asks for them."""
    net = Network([3, 4, 2], output_activation="identity", activation="relu", seed=0, **place._asdict())
    net.w = [10 * to_host(net, w)[0] for w in net.w]
    x, y = np.full((2, 3), 3e38), np.full((2, 2), -3e38)
    with np.errstate(all="raise"):
        assert to_host(net, [net.predict(x), net.forward(x[0]), net.jacobian(x), net.backward(x, y), net.vjp(x, y)])
        assert not np.isfinite(to_host(net, net.forward(x))).all()
        assert not np.isfinite([net.cost((x, y)), net.cost(Stream((x, y)))]).any()
    assert np.geterr()["over"] == "warn"


# Data that ends too early


class Stops(Items):
    """A data set that raises an error when it comes to its third item."""

    def __init__(self, error):
        super().__init__(X, LABELS)
        self.error = error

    def __getitem__(self, i):
        if i == 2:
            raise self.error
        return super().__getitem__(i)


class Short(Stream):
    """Batches of which there are fewer than it says."""

    def __len__(self):
        return 4


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("error", [StopIteration("why"), KeyError("why")])
def test_an_item_that_cannot_be_read_is_named(on_numpy, cache, error):
    message = rf"^item 2 of train_data cannot be read \({type(error).__name__}: '?why'?\); there must be 4 of them"
    with pytest.raises(ValueError, match=message) as caught:
        on_numpy.train(Stops(error), 1, cache=cache, progress=False)
    assert caught.value.__cause__ is error


def test_batches_that_end_early_are_refused(on_numpy):
    message, loader = "^{} ended after 2 of its 4 batches; .* leave it out", Short((X, LABELS), (X, LABELS))
    for options in ({}, {"steps": 3}):
        with pytest.raises(ValueError, match=message.format("train_data")):
            on_numpy.copy().train(loader, 2, lr=0.1, progress=False, **options)
    with pytest.raises(ValueError, match=message.format("data")):
        on_numpy.accuracy(loader)

    def batches(error=None):
        yield X, LABELS
        if error is not None:
            raise error
        yield next(iter([]))

    with pytest.raises(ValueError, match=r"^train_data raised StopIteration after 1 batches, .*; catch it there"):
        on_numpy.train(batches(), 1, progress=False)
    with pytest.raises(RuntimeError, match=r"^of the user's own$"):
        on_numpy.train(batches(RuntimeError("of the user's own")), 1, progress=False)


def test_what_is_no_source_is_refused(on_numpy):
    class Negative(Items):
        def __len__(self):
            return -1

    message = r"^train_data is of type {}.*; give a tuple \(X, y\) of arrays, a sequence of"
    data = {"memoryview": memoryview(X), "Negative": Negative(X, LABELS), "csr_array": REFUSED["sparse"][0]()}
    for kind, one in data.items():
        with pytest.raises(TypeError, match=message.format(kind)):
            trained(on_numpy, one)


# Estimators, which leave the checks of what NumPy reads to scikit-learn


def classifier():
    estimators = pytest.importorskip("xpnet.estimators")
    return estimators.MLPClassifier((4,), max_iter=2, random_state=0)


ESTIMATORS = {
    "fit, X": lambda est, x: est.fit(x, LABELS).coefs_[0],
    "fit, y": lambda est, y: est.fit(X, y).coefs_[0],
    "fit, sample_weight": lambda est, weight: est.fit(X, LABELS, weight).coefs_[0],
    "fit, X_val": lambda est, x: est.fit(X, LABELS, X_val=x, y_val=LABELS).coefs_[0],
    "partial_fit, X": lambda est, x: est.partial_fit(x, LABELS).coefs_[0],
    "predict_proba": lambda est, x: est.predict_proba(x),
    "activations": lambda est, x: est.activations(x)[-1],
    "score, y": lambda est, y: est.score(X, y),
}
OWN_WARNINGS = "Stochastic Optimizer|X has feature names|A column-vector y was passed|The number of unique classes"


def estimate(est, method, data):
    """Return the result, or the error; scikit-learn may warn of the data, and of too few epochs."""
    from xpnet.backends._choose import to_host

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", OWN_WARNINGS)
        try:
            return np.asarray(to_host(ESTIMATORS[method](est, data)))
        except (ValueError, TypeError) as error:
            return error


@settings(max_examples=15, suppress_health_check=QUIET)
@given(method=st.sampled_from([*ESTIMATORS]), case=cases())
def test_estimators_use_any_data_rightly_or_refuse_it(method, case):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", OWN_WARNINGS)
        est, twin = (classifier().fit(X, LABELS) for _ in range(2))
    before, network = repr(fingerprint(case.data)), est.network_
    state = snapshot(network)
    result = estimate(est, method, case.data)
    assert repr(fingerprint(case.data)) == before
    assert_same(network, state)
    if isinstance(result, Exception):
        assert est.network_ is network
    elif case.clean is not None:
        expected = estimate(twin, method, case.clean)
        assert not isinstance(expected, Exception), expected
        np.testing.assert_allclose(result, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ([masked(row) for row in X], MASK),
        (X.view(Quantity), UNIT_MESSAGE),
        (X.astype("M8[s]"), r" has dtype datetime64\[s\]; give real numbers, as in .* for days, or labels"),
        (np.zeros(4, [("x", float)]), r" has dtype \[\('x', '<f8'\)\]; give real numbers, .*or labels"),
    ],
)
def test_estimators_do_not_read_what_scikit_learn_would(x, message):
    est, y = classifier(), x[0] if isinstance(x, list) else x[:, 0] if x.ndim == 2 else x
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", OWN_WARNINGS)
        fitted = classifier().fit(X, LABELS)
    for name, call in (
        ("X", lambda: est.fit(x, LABELS)),
        ("y", lambda: est.fit(X, y)),
        ("sample_weight", lambda: est.fit(X, LABELS, y)),
        ("X", lambda: fitted.predict(x)),
        ("y", lambda: fitted.score(X, y)),
        ("sample_weight", lambda: fitted.score(X, LABELS, y)),
    ):
        with pytest.raises(TypeError, match=f"^{name}{message}"):
            call()


@pytest.mark.needs("torch")
def test_predictions_of_estimators_leave_no_graph_in_silence():
    import torch

    x = torch.tensor(X, dtype=torch.float32)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", OWN_WARNINGS)
        est = classifier().fit(x, LABELS)
    x.requires_grad_()
    for method in (est.predict, est.predict_proba):
        with pytest.raises(TypeError, match=r"^X requires gradients, .*; give X\.detach\(\)"):
            method(x)
        with torch.no_grad():
            method(x)
