"""Hostile data: whatever is given to any method is used rightly or refused by name, and nothing else happens.

Used rightly means: to the same effect as a clean copy, which is contiguous, in the machine's byte order and of the
plainest dtype of its kind. Warnings are errors here, so none may leak.
"""

import re
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from datetime import date
from typing import Any, NamedTuple

import host_cupy
import numpy as np
import pytest
from helpers import NOT_INSTALLED, Place, assert_same, snapshot
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

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return np.array(self.array, dtype)


class Fails:
    """An object whose conversion raises an error, such as one that would end an iteration."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        raise self.error


def in_pieces(x: np.ndarray) -> np.ndarray:
    """Store the values with gaps between them, backwards."""
    room = np.zeros([2 * n for n in x.shape], x.dtype)
    view = room[(slice(None, None, -2),) * x.ndim]
    view[...] = x
    return view


def misaligned(x: np.ndarray) -> np.ndarray:
    """Store the values at addresses that no processor prefers."""
    record = np.zeros(x.shape, [("gap", "u1"), ("x", x.dtype)])
    record["x"] = x
    return record["x"]


def read_only(x: np.ndarray) -> np.ndarray:
    x.flags.writeable = False
    return x


MEMORY: list[Callable[[np.ndarray], np.ndarray]] = [
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


def cleaned(x: np.ndarray) -> np.ndarray:
    plain = {"b": bool, "i": np.int64, "u": np.uint64, "f": np.float64}[x.dtype.kind]
    with np.errstate(all="ignore"):
        return np.array(x, plain, order="C")


def as_numpy(x: np.ndarray, dtype: str, place: Callable[[np.ndarray], np.ndarray]) -> Case:
    with np.errstate(all="ignore"):
        x = x.astype(dtype)
    stored = place(x) if x.ndim else x
    return Case(stored, cleaned(stored))


def as_tensor(x: np.ndarray, dtype: str, kind: str) -> Case:
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


def as_jax(x: np.ndarray, dtype: str) -> Case:
    import jax

    with jax.enable_x64(True), np.errstate(all="ignore"):
        array = jax.device_put(x.astype(jax.numpy.dtype(dtype)))
    kind = float if "float" in dtype else bool if dtype == "bool" else np.int64
    return Case(array, cleaned(np.asarray(array).astype(kind)))


def as_table(x: np.ndarray, arrow: bool) -> Case:
    import pandas
    import pyarrow

    if x.ndim != 2:
        return Case(pandas.Series(x) if x.ndim == 1 else x, x)
    columns = {f"x{i}": x[:, i] for i in range(x.shape[1])}
    return Case(pyarrow.table(columns) if arrow and columns else pandas.DataFrame(columns, range(len(x))), x)


def masked(x: np.ndarray) -> np.ma.MaskedArray:
    return np.ma.masked_array(x, mask=np.arange(x.size).reshape(x.shape) % 2 == 1)


OTHERS: list[Callable[[np.ndarray], Case]] = [
    lambda x: Case(x.tolist(), x),
    lambda x: Case(tuple(map(tuple, x.tolist())) if x.ndim == 2 else x.tolist(), x),
    lambda x: Case(deque(x) if x.ndim else x, x),
    lambda x: Case(memoryview(x), x),
    lambda x: Case(HasArray(x), x),
    lambda x: Case(np.broadcast_to(x[:1], x.shape) if x.ndim else x, np.repeat(x[:1], len(x), 0) if x.ndim else x),
    lambda x: Case(masked(x), None),
    lambda x: Case([masked(row) for row in np.atleast_2d(x)], None),
    lambda x: Case([[1.0, np.ma.masked, 2.0]] * 4, None),
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
def clean_arrays(draw: Any) -> np.ndarray:
    """Arrays of float64 that fit or do not, of numbers that do or do not."""
    values = draw(st.sampled_from([SMALL, SMALL, UNIT, UNIT, SMALL + EXTREME, SMALL + WRONG]))
    return np.random.default_rng(draw(st.integers(0, 99))).choice(values, draw(st.sampled_from(SHAPES)))


def cases() -> st.SearchStrategy[Case]:
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


class Items:
    """A map-style data set of four items, all of them alike."""

    def __init__(self, x: Any, y: Any) -> None:
        self.item = x, y

    def __len__(self) -> int:
        return 4

    def __getitem__(self, i: int) -> Any:
        return self.item


class Stream:
    """An iterable of batches, with a length if one is given."""

    def __init__(self, *batches: Any) -> None:
        self.batches = batches

    def __iter__(self) -> Iterator[Any]:
        return iter(self.batches)


def trained(net: Network, data: Any, **options: Any) -> Any:
    """Return the weights after an epoch, and check that an error leaves the network as it was."""
    net, before = net.copy(), snapshot(net)
    try:
        net.train(data, 1, 3, 0.1, progress=False, **options)
    except Exception:
        assert_same(net, before)
        raise
    return net.w, net.b


def updated(net: Network, data: Any) -> Any:
    net, before = net.copy(), snapshot(net)
    try:
        net.minibatch_update(data, 0.1)
    except Exception:
        assert_same(net, before)
        raise
    return net.w, net.b


def assigned(net: Network, name: str, value: Any) -> Any:
    net, before = net.copy(), snapshot(net)
    try:
        setattr(net, name, value)
    except Exception:
        assert_same(net, before)
        raise
    return net.w, net.b


def targets(net: Network) -> np.ndarray:
    return LABELS if net.task == "classification" else TARGETS


def count(net: Network, data: Any) -> Any:
    """Count what is classified correctly; for a regression, compute the cost."""
    return [net.evaluate(data), net.accuracy(data)] if net.task == "classification" else net.cost(data)


# For each method, how errors name the argument, and what to call
METHODS: dict[str, tuple[str, Callable[[Network, Any], Any]]] = {
    "forward": ("^x ", lambda net, x: net.forward(x)),
    "predict": ("^x ", lambda net, x: net.predict(x)),
    "predict_proba": ("^x ", lambda net, x: (net.predict_proba if net.task == "classification" else net.predict)(x)),
    "predict_std": ("^x ", lambda net, x: (net.predict_std if net.cost_name == "gaussian" else net.predict)(x)),
    "sample": ("^x ", lambda net, x: net.sample(x, 2) if any(net.dropout) else net.predict(x)),
    "activations": ("^x ", lambda net, x: net.activations(x)),
    "jacobian": ("^x ", lambda net, x: net.jacobian(x)),
    "vjp, x": ("^x |^g has shape", lambda net, x: net.vjp(x, np.ones((len(X), net.sizes[-1])))),
    "vjp, g": ("^g ", lambda net, g: net.vjp(X, g)),
    "backward, x": ("^x |^X has", lambda net, x: net.backward(x, targets(net))),
    "backward, y": ("y of the batch ", lambda net, y: net.backward(X, y)),
    "deltas, y": ("y of the batch ", lambda net, y: net.deltas(X, y)),
    "evaluate": ("^X of (test_)?data ", lambda net, x: count(net, (x, targets(net)))),
    "evaluate, y": ("y of (test_)?data ", lambda net, y: count(net, (X, y))),
    "cost": ("^X of data ", lambda net, x: net.cost((x, targets(net)))),
    "cost, batches": ("^X of batch 0 of data ", lambda net, x: net.cost(Stream((x, targets(net))))),
    "train, x": ("^X of train_data ", lambda net, x: trained(net, (x, targets(net)))),
    "train, y": ("y of train_data ", lambda net, y: trained(net, (X, y))),
    "train, pairs": ("^[xX] of train_data ", lambda net, x: trained(net, [(x, targets(net)[0])] * 2)),
    "train, items": ("^y of train_data ", lambda net, y: trained(net, Items(X[0], y))),
    "train, weights": ("^sample_weight ", lambda net, w: trained(net, (X, targets(net)), sample_weight=w)),
    "train, test_data": (
        "^X of test_data ",
        lambda net, x: trained(net, (X, targets(net)), test_data=(x, targets(net))),
    ),
    "minibatch_update": ("^X of batch ", lambda net, x: updated(net, (x, targets(net)))),
    "w": (r"^w\[0\] ", lambda net, x: assigned(net, "w", [x, *net.w[1:]])),
    "b": (r"^b\[1\] ", lambda net, x: assigned(net, "b", [*net.b[:-1], x])),
    "layers": (r"^b\[1\] ", lambda net, x: assigned(net, "layers", [*net.layers[:-1], (net.w[-1], x)])),
}


@pytest.fixture
def nets(place: Place) -> list[Network]:
    """Networks with three inputs and two targets: a classifier with dropout, and regressions."""
    nets = [
        Network([3, 4, 2], task="classification", dropout=0.25, seed=0, **place._asdict()),
        Network([3, 4, 2], task="regression", standardize=True, dtype="float64", seed=0, **place._asdict()),
        Network([3, 4, 4], cost="gaussian", scale=0.5, seed=0, **place._asdict()),
    ]
    nets[1].train((X, TARGETS), 1, progress=False)
    return nets


def outcome(net: Network, method: str, data: Any) -> list[np.ndarray] | Exception:
    """Return the results, or the error, which must name the argument."""
    name, call = METHODS[method]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".* holds uint8 values up to .*, which are not scaled", UserWarning)
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


def to_host(net: Network, results: Any) -> list[np.ndarray]:
    if isinstance(results, (tuple, list)):
        return [array for part in results for array in to_host(net, part)]
    if isinstance(results, (int, float)):
        return [np.array(results)]
    with net.backend.scope(net.dtype):
        return [np.array(net.backend.to_numpy(results))]


def fingerprint(data: Any) -> Any:
    """Return what must not change in an array."""
    if isinstance(data, np.ndarray):
        return data.tolist(), data.strides, data.dtype, data.flags.writeable
    if hasattr(data, "requires_grad") and not data.is_meta:
        return str(data.tolist()) if "strided" in str(data.layout) else str(data), data.requires_grad, data.is_neg()
    return repr(data)


def check(nets: list[Network], which: int, method: str, case: Case) -> None:
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
def test_any_data_is_used_rightly_or_refused_by_name(nets: list[Network], which: int, method: str, case: Case) -> None:
    check(nets, which, method, case)


# What is refused, and in which words


@pytest.fixture
def net(place: Place) -> Network:
    return Network([3, 4, 2], task="classification", seed=0, **place._asdict())


@pytest.fixture
def on_numpy() -> Network:
    """The same network, for what no backend has to do with."""
    return Network([3, 4, 2], task="classification", seed=0)


@pytest.mark.parametrize(
    "x",
    [
        masked(X),
        np.ma.masked_array(X),  # nothing is masked, but that may change
        [masked(row) for row in X],
        [[0.5, np.ma.masked, 1.0]],
        deque([(0.5, np.ma.masked, 1.0)]),
    ],
)
def test_what_is_masked_is_not_read(net: Network, x: Any) -> None:
    message = r" is a masked array, or holds one; give its filled\(\) values"
    for call in (net.forward, net.activations, net.jacobian):
        with pytest.raises(TypeError, match=f"^x{message}"):
            call(x)
    with pytest.raises(TypeError, match=f"^X of train_data{message}"):
        trained(net, (x, LABELS[: len(x)]))
    with pytest.raises(TypeError, match=f"^x of train_data{message}"):
        trained(net, [(x[0], 0), (x[0] if isinstance(x, np.ndarray) else [x[0]], 1)])
    with pytest.raises(TypeError, match=f"^sample_weight{message}"):
        trained(net, (X, LABELS), sample_weight=masked(np.ones(4)))


class Quantity(np.ndarray):
    """A quantity like those of astropy and unyt, which are NumPy arrays."""

    unit: Any = object()


class Wrapped:
    """A quantity like those of pint, which hold a NumPy array; or an array of xarray, which holds one of either."""

    def __init__(self, x: Any) -> None:
        self.data, self.shape, self.ndim, self.dtype = x, x.shape, x.ndim, x.dtype

    def __array__(self, *args: Any, **options: Any) -> np.ndarray:
        return np.array(self.data)

    def __getitem__(self, i: Any) -> Any:
        return type(self)(self.data[i])


UNIT_MESSAGE = (
    r" is a quantity with a unit, or holds one; give its numbers in a unit of your choice, such as "
    r'to_value\("m"\) of astropy or to\("m"\).magnitude of pint'
)


class PintQuantity(Wrapped):
    units: Any = object()


class XarrayArray(Wrapped):
    data: Any = None


class MaskedQuantity(Quantity):
    """A masked array of astropy, which is not one of numpy.ma."""

    mask: Any = True


class Length(float):
    """A number with a unit that float() drops, like those of unyt."""

    units: Any = object()


def objects(x: Any) -> np.ndarray:
    """Return an array of objects, one of which has a unit."""
    x = x.astype(object)
    x[2, 1] = Length(x[2, 1])
    return x


@pytest.mark.needs("pandas", "dask")
def test_masks_and_units_are_found_within_other_arrays_and_objects(net: Network) -> None:
    import dask.array
    import pandas

    from xpnet.estimators import MLPRegressor

    table, masked = pandas.DataFrame(objects(X)), np.ma.masked_less(X, 0.5)
    for x in (objects(X), table, dask.array.from_array(X.view(Quantity), asarray=False)):
        for act in (net.forward, lambda x: MLPRegressor(max_iter=1).fit(x, X[:, 0])):
            with pytest.raises(TypeError, match=f"^[xX]{UNIT_MESSAGE}"):
                act(x)
    with pytest.raises(TypeError, match=f"^y{UNIT_MESSAGE}"):
        MLPRegressor(max_iter=1).fit(X, table[1])
    for x in (X.view(MaskedQuantity), [*X.view(MaskedQuantity)], dask.array.from_array(masked)):
        with pytest.raises(TypeError, match=r"^x is a masked array, or holds one; give its filled"):
            net.forward(x)


@pytest.mark.parametrize(
    "x",
    [
        *(
            X.view(Quantity),
            [*X.view(Quantity)],
            PintQuantity(X),
            [*map(PintQuantity, X)],
            XarrayArray(PintQuantity(X)),
        ),
        [[0.5, 1.0, PintQuantity(X[0, 0])]],
    ],
    ids=lambda x: type(x).__name__,
)
def test_numbers_with_a_unit_are_refused(net: Network, x: Any) -> None:
    for call in (net.forward, net.predict, net.jacobian):
        with pytest.raises(TypeError, match=f"^x{UNIT_MESSAGE}"):
            call(x)
    with pytest.raises(TypeError, match=f"^X of train_data{UNIT_MESSAGE}"):
        trained(net, (x, LABELS[: len(X) if hasattr(x, "shape") else len(x)]))
    with pytest.raises(TypeError, match=f"^y of train_data{UNIT_MESSAGE}"):
        trained(net, (X, X[:, :2].view(Quantity)))


@pytest.mark.needs("pandas")
def test_a_unit_that_is_only_a_text_a_method_or_a_column_is_data_like_any_other(net: Network) -> None:
    import pandas

    labelled, with_method = X.view(Quantity), X.view(Quantity)
    labelled.unit, with_method.unit = "m", with_method.sum  # the first as attributes of a file
    table = pandas.DataFrame(X, columns=["unit", "units", "data"])
    for x in (labelled, with_method, table):
        np.testing.assert_array_equal(to_host(net, net.forward(x)), to_host(net, net.forward(X)))


def test_lists_are_converted_however_they_are_nested(net: Network) -> None:
    expected = to_host(net, net.forward(X))
    for x in (X.tolist(), deque(map(tuple, X)), [X[0], X[1].tolist(), *X[2:]]):
        np.testing.assert_array_equal(to_host(net, net.forward(x)), expected)
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(ValueError, match=r"^x cannot be converted to an array \(.*\); give an array, or rows of equal"):
        net.forward(endless)


@pytest.mark.parametrize("error", [StopIteration("why"), KeyError("why"), OverflowError("why"), RuntimeError("why")])
def test_the_error_of_a_conversion_is_told(net: Network, error: Exception) -> None:
    message = r"cannot be converted to an array \('?why'?\); give an array, or rows of equal length"
    for data in ((Fails(error), LABELS), Stream((Fails(error), LABELS)), [(Fails(error), 0)]):
        with pytest.raises(ValueError, match=rf"^[xX] of (batch 0 of )?train_data {message}") as caught:
            trained(net, data)
        assert caught.value.__cause__ is error or isinstance(data, list)


def test_an_error_that_is_not_about_the_data_surfaces(net: Network) -> None:
    for error in (MemoryError(), TimeoutError(), KeyboardInterrupt()):
        with pytest.raises(type(error)):
            net.forward(Fails(error))  # type: ignore


@pytest.mark.needs("torch")
def test_tensors_that_only_pytorch_has(net: Network) -> None:
    import torch

    x = torch.tensor(X, dtype=torch.float32)
    expected = to_host(net, net.forward(X))
    imaginary = torch.complex(x, -x).conj().imag  # its negative bit is set
    assert imaginary.is_neg()
    for tensor in (x, torch._neg_view(-x), imaginary, x.T.contiguous().T):
        np.testing.assert_array_equal(to_host(net, net.forward(tensor)), expected)
    assert imaginary.is_neg()
    for dtype in (torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2):  # which represent these numbers
        np.testing.assert_array_equal(to_host(net, net.forward(x.to(dtype))), expected)
        pairs = [(row, 0) for row in x.to(dtype)]
        assert net.cost(pairs) == net.cost((X, LABELS * 0))
    with warnings.catch_warnings(action="ignore"):  # PyTorch's own, of prototypes
        compressed, nested = x.to_sparse_csr(), torch.nested.nested_tensor([*x])
        quantized = torch.quantize_per_tensor(x, 0.1, 10, torch.quint8)
    packed = hasattr(torch, "float4_e2m1fn_x2") and [
        torch.zeros((2, 3), dtype=torch.uint8).view(torch.float4_e2m1fn_x2)
    ]
    for tensor, message in (
        (x.to_sparse(), r"is a tensor of layout torch\.sparse_coo; give its to_dense\(\)"),
        (compressed, r"is a tensor of layout torch\.sparse_csr; give its to_dense\(\)"),
        (nested, r"is a nested tensor; give its to_padded_tensor\(0\.0\)"),
        (quantized, r"is a quantized tensor; give its dequantize\(\)"),
        *((x, r"has dtype torch\.float4_e2m1fn_x2, which PyTorch cannot convert; give float32") for x in packed or ()),
        (x.to("meta"), r"is a tensor on the device meta, which holds no values; give one that has values"),
        (torch.complex(x, x), r"has dtype torch\.complex64; give real numbers"),
    ):
        with pytest.raises(TypeError, match=f"^x {message}"):
            net.forward(tensor)
        with pytest.raises(TypeError, match=f"^X of train_data {message}"):
            trained(net, (tensor, LABELS))
        with pytest.raises(TypeError, match=rf"^w\[0\] {message}"):
            assigned(net, "w", [tensor, net.w[1]])


@pytest.mark.needs("jax")
def test_dtypes_that_numpy_lacks(net: Network) -> None:
    import jax
    import ml_dtypes

    expected = to_host(net, net.forward(X))
    for dtype in (ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2):
        np.testing.assert_array_equal(to_host(net, net.forward(X.astype(dtype))), expected)
        np.testing.assert_array_equal(to_host(net, net.forward(jax.numpy.asarray(X, dtype))), expected)
    assert net.cost((X, LABELS.astype(ml_dtypes.int4).astype(int))) == net.cost((X, LABELS))
    with pytest.raises(TypeError, match=r"^x has dtype key<fry>; give real numbers"):
        net.forward(jax.random.key(0))


def test_a_single_row_may_have_any_stride(net: Network) -> None:
    """NumPy calls it contiguous all the same, and PyTorch refuses a stride that is negative or no whole number."""
    x = X[:1].astype("float32")  # the dtype of the network, so that nothing copies it
    backwards, record = x[::-1], np.zeros(1, [("gap", "u1"), ("x", "f4", 3)])
    record["x"] = x
    assert backwards.strides == (-12, 4)
    assert record["x"].strides == (13, 4)
    for row in (backwards, record["x"]):
        np.testing.assert_array_equal(to_host(net, net.forward(row)), to_host(net, net.forward(X[:1])))


@pytest.mark.not_on("jax", host_cupy.NAME)  # they are not made of NumPy, or only in the tests
def test_numbers_that_overflow_warn_of_nothing(place: Place) -> None:
    """Warnings are errors in the tests; NumPy raises errors of its own where the user asks for them."""
    net = Network([3, 4, 2], output_activation="identity", activation="relu", seed=0, **place._asdict())
    net.w = [10 * to_host(net, w)[0] for w in net.w]
    x, y = np.full((2, 3), 3e38), np.full((2, 2), -3e38)
    with np.errstate(all="raise"):
        for result in (net.forward(x), net.predict(x), net.forward(x[0]), net.activations(x), net.jacobian(x)):
            assert to_host(net, result)
        assert not np.isfinite(to_host(net, net.forward(x))).all()
        assert not np.isfinite([net.cost((x, y)), net.cost(Stream((x, y)))]).any()
        assert to_host(net, [net.backward(x, y), net.deltas(x, y), net.vjp(x, y)])
    assert np.geterr()["over"] == "warn"


# Data that ends too early


class Stops(Items):
    """A data set that raises an error when it comes to its third item."""

    def __init__(self, error: Exception) -> None:
        super().__init__(X[0], 1)
        self.error = error

    def __getitem__(self, i: int) -> Any:
        if i == 2:
            raise self.error
        return self.item


class Loader:
    """An iterable of batches of a data set, that ends where an item raises StopIteration; as PyTorch's does."""

    def __init__(self, data: Any) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def __iter__(self) -> Any:
        return LoaderIterator(self.data)


class LoaderIterator:
    def __init__(self, data: Any) -> None:
        self.data, self.i = data, -1

    def __iter__(self) -> "LoaderIterator":
        return self

    def __len__(self) -> int:
        return len(self.data)

    def __next__(self) -> Any:
        self.i += 1
        if self.i == len(self.data):
            raise StopIteration
        x, y = self.data[self.i]
        return x[None, :], np.array([y])


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("error", [StopIteration("why"), IndexError("why"), KeyError("why")])
def test_an_item_that_cannot_be_read_is_named(on_numpy: Network, cache: bool, error: Exception) -> None:
    message = (
        rf"^item 2 of train_data cannot be read \({type(error).__name__}: '?why'?\); there must be 4 of them, counted "
        r"from 0; give arrays and tables together, as a tuple \(X, y\)"
    )
    with pytest.raises(ValueError, match=message) as caught:
        on_numpy.train(Stops(error), 1, cache=cache, progress=False)
    assert caught.value.__cause__ is error


def test_a_loader_that_ends_early_is_refused(on_numpy: Network) -> None:
    message = (
        r"^train_data ended after 2 of its 4 batches; if its data set raised StopIteration, as next\(\) does on an "
        "exhausted iterator, catch it there; if its length is wrong, leave it out"
    )
    loader = Loader(Stops(StopIteration()))
    for options in ({}, {"steps": 3}):
        with pytest.raises(ValueError, match=message):
            on_numpy.copy().train(loader, 2, lr=0.1, progress=False, **options)
    with pytest.raises(ValueError, match=message.replace("train_data", "test_data")):
        on_numpy.copy().train((X, LABELS), 1, test_data=loader, progress=False)
    with pytest.raises(ValueError, match=message.replace("train_data", "data")):
        on_numpy.accuracy(loader)


def test_a_generator_in_which_an_iterator_ends_is_refused(on_numpy: Network) -> None:
    def batches() -> Iterator[Any]:
        yield X, LABELS
        yield next(iter([]))

    message = (
        r"^train_data raised StopIteration after 1 batches, as next\(\) does on an exhausted iterator; catch it there, "
        "and return from the generator if it is the end of the data"
    )
    with pytest.raises(ValueError, match=message):
        on_numpy.train(batches(), 1, progress=False)

    def others() -> Iterator[Any]:
        yield X, LABELS
        raise RuntimeError("of the user's own")

    with pytest.raises(RuntimeError, match=r"^of the user's own$"):
        on_numpy.train(others(), 1, progress=False)


def test_what_is_no_source_is_refused(on_numpy: Network) -> None:
    class Negative(Items):
        def __len__(self) -> int:
            return -1

    kinds = r"; give a tuple \(X, y\) of arrays, a sequence of \(x, y\) pairs"
    with pytest.raises(TypeError, match=rf"^train_data is of type memoryview{kinds}"):
        trained(on_numpy, memoryview(X))
    with pytest.raises(
        TypeError, match=r"^train_data is of type Negative, which has no length \(__len__.*>= 0\)" + kinds
    ):
        trained(on_numpy, Negative(X[0], 1))
    sparse = pytest.importorskip("scipy.sparse")
    with pytest.raises(TypeError, match=r"^train_data is of type csr_array, which has no length \(.*\)" + kinds):
        trained(on_numpy, sparse.csr_array(X))
    with pytest.raises(TypeError, match=r"^x is sparse; give its toarray\(\)"):
        on_numpy.forward(sparse.csr_array(X))


# Estimators, which leave the checks of what NumPy reads to scikit-learn


def classifier() -> Any:
    estimators = pytest.importorskip("xpnet.estimators")
    return estimators.MLPClassifier((4,), max_iter=2, random_state=0)


ESTIMATORS: dict[str, Callable[[Any, Any], Any]] = {
    "fit, X": lambda est, x: est.fit(x, LABELS).coefs_[0],
    "fit, y": lambda est, y: est.fit(X, y).coefs_[0],
    "fit, sample_weight": lambda est, weight: est.fit(X, LABELS, weight).coefs_[0],
    "fit, X_val": lambda est, x: est.fit(X, LABELS, X_val=x, y_val=LABELS).coefs_[0],
    "partial_fit, X": lambda est, x: est.partial_fit(x, LABELS).coefs_[0],
    "partial_fit, y": lambda est, y: est.partial_fit(X, y).coefs_[0],
    "predict": lambda est, x: est.predict(x),
    "predict_proba": lambda est, x: est.predict_proba(x),
    "predict_log_proba": lambda est, x: est.predict_log_proba(x),
    "activations": lambda est, x: est.activations(x)[-1],
    "score, X": lambda est, x: est.score(x, LABELS),
    "score, y": lambda est, y: est.score(X, y),
}
OWN_WARNINGS = "Stochastic Optimizer|X has feature names|A column-vector y was passed|The number of unique classes"


def estimate(est: Any, method: str, data: Any) -> np.ndarray | Exception:
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
def test_estimators_use_any_data_rightly_or_refuse_it(method: str, case: Case) -> None:
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
        (masked(X), r" is a masked array, or holds one; give its filled\(\) values"),
        ([masked(row) for row in X], r" is a masked array, or holds one; give its filled\(\) values"),
        (X.view(Quantity), UNIT_MESSAGE),
        (X.astype("M8[s]"), r" has dtype datetime64\[s\]; give real numbers, as in .* for days; "),
        (X.astype("m8[s]"), r" has dtype timedelta64\[s\]; give real numbers, as in .* for days; "),
        (np.zeros(4, [("x", float)]), r" has dtype \[\('x', '<f8'\)\]; give real numbers, or labels"),
    ],
)
def test_estimators_do_not_read_what_scikit_learn_would(x: Any, message: str) -> None:
    est = classifier()
    y = x[:, 0] if isinstance(x, np.ndarray) and x.ndim == 2 else x[0] if isinstance(x, list) else x
    with pytest.raises(TypeError, match=f"^X{message}"):
        est.fit(x, LABELS)
    with pytest.raises(TypeError, match=f"^y{message}"):
        est.fit(X, y)
    with pytest.raises(TypeError, match=f"^sample_weight{message}"):
        est.fit(X, LABELS, y)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", OWN_WARNINGS)
        est.fit(X, LABELS)
    with pytest.raises(TypeError, match=f"^X{message}"):
        est.predict(x)
    with pytest.raises(TypeError, match=f"^y{message}"):
        est.score(X, y)
    with pytest.raises(TypeError, match=f"^sample_weight{message}"):
        est.score(X, LABELS, y)
    with pytest.raises(TypeError, match=rf"^y{message}.* \(these are X_val, y_val and sample_weight_val\)$"):
        est.fit(X, LABELS, X_val=X, y_val=y)


def test_dates_in_a_list_are_no_labels() -> None:
    with pytest.raises(TypeError, match=r"^y holds date objects, such as 2026-01-02; give real numbers, as in "):
        classifier().fit(X, [date(2026, 1, 2)] * len(X))


@pytest.mark.needs("torch")
def test_predictions_of_estimators_leave_no_graph_in_silence() -> None:
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


@pytest.mark.needs("torch")
def test_estimators_take_long_doubles_to_any_library() -> None:
    from xpnet.estimators import MLPRegressor

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", OWN_WARNINGS)
        fitted = [
            MLPRegressor(hidden_layer_sizes=(4,), max_iter=2, random_state=0, backend="torch")
            .fit(X, TARGETS.astype(dtype))
            .coefs_[0]
            for dtype in (float, np.longdouble)
        ]
    np.testing.assert_array_equal(*map(np.asarray, fitted))
