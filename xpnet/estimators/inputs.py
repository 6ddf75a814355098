"""Inputs, targets and weights as the user gives them: where they lie, whether they are valid, and how they move.

Everything follows X: the network computes in the library of X, on its device, and results go back there.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import array_api_compat
import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.utils import check_array, check_random_state, column_or_1d
from sklearn.utils.validation import validate_data

from xpnet._checks import check_lengths, count, show
from xpnet.backends import backend_of, get_backend, is_foreign, to_host
from xpnet.backends.base import CONVERSION_ERRORS, Backend, as_array, on_host, refuse_graph
from xpnet.core.arrays import Array
from xpnet.data import HostRows, as_host_rows, parse_sample_weight
from xpnet.data.conversion import as_real_array, refuse_masks_and_units, stays_outside
from xpnet.data.reader import column_names, has_coordinates
from xpnet.errors import ArgumentError

__all__ = [
    "check_kind",
    "check_sample_weight",
    "choose_backend",
    "draw_seeds",
    "drop_single_output",
    "float_dtype",
    "leave_device",
    "make_random_state",
    "move_to",
    "name_arguments",
    "parse_hidden_sizes",
    "require_place",
    "require_seed",
    "validate_examples",
    "validate_inputs",
    "validate_targets",
]

FLOATS = (np.float64, np.float32)

# Libraries and devices


def move_to(x: Any, backend: Backend) -> Array:
    """Move an array to a library and device, the host included. Synchronizes if it moves to the host."""
    return backend.asarray(leave_device(x, backend))


def leave_device(x: Any, backend: Backend) -> Array:
    """Move inputs off their device if the backend computes on the host; a `Reader` moves them to any other place.

    Synchronizes if they move to the host.
    """
    if isinstance(x, (np.ndarray, HostRows)):
        return x
    x = as_array(x)
    return backend_of(x).to_numpy(x) if backend.on_host and not on_host(x) else x


def float_dtype(x: Array) -> str:
    """Choose the dtype to compute with X in: its own if it is float32 or float64, else the widest of its library.

    Examples
    --------
    >>> import numpy as np
    >>> float_dtype(np.ones(2, np.float32)), float_dtype(np.ones(2, np.int64))
    ('float32', 'float64')
    """
    name = str(x.dtype).split(".")[-1]
    if name in ("float32", "float64"):
        return name
    info = array_api_compat.array_namespace(x).__array_namespace_info__()
    return "float64" if "float64" in info.dtypes(device=array_api_compat.device(x)) else "float32"


def name_place(backend: Backend) -> str:
    """Name a library and a device, as in "torch on cpu"."""
    return f"{backend.name.removeprefix('array_api_compat.')} on {backend.device_name}"


# Checks


def validate_inputs(
    estimator: BaseEstimator, home: Backend, x: Any, y: Any = "no_validation", *, reset: bool = False
) -> Any:
    """Check X, which is at home in this library, and that y is there if it is needed.

    scikit-learn checks NumPy arrays, and everything that it converts to one. Sparse inputs, and those that stay outside
    memory, become `HostRows`; the latter are checked when they are read.

    Parameters
    ----------
    estimator
        The estimator: scikit-learn compares `n_features_in_` and `feature_names_in_` with X, or sets them on it.
    home
        Where X lies.
    x, y
        Inputs (n, n_features), and targets, which are not checked themselves.
    reset
        Whether number and names of the features are set, rather than compared.
    """
    y = None if y is None else "no_validation"  # scikit-learn raises if y is needed and missing
    with name_arguments("X"):
        refuse_graph(x, "X")
        if home.name != "numpy" or stays_outside(x):
            return _validate_by_shape(estimator, x, y, reset)
        check_kind(x, "X")
        x = validate_data(
            estimator,
            _name_columns(_to_native_order(x)),
            y,
            reset=reset,
            accept_sparse=["csr", "csc"],
            dtype="numeric",
            order="C",
        )
        x = x if x.dtype in FLOATS else x.astype(np.float64)
        return HostRows(x.tocsr()) if sparse.issparse(x) else x


def validate_examples(
    estimator: BaseEstimator, home: Backend, x: Any, y: Any, *, numeric: bool, reset: bool
) -> tuple[Any, Any]:
    """Check X as `validate_inputs` does, and y, labels or numbers. Numbers stay in their library, labels do not."""
    x = validate_inputs(estimator, home, x, y, reset=reset)
    if not (numeric and is_foreign(y)):
        y = validate_targets(y, numeric=numeric)
    check_lengths("X", x.shape[0], "y", y.shape[0])
    return x, y


def validate_targets(y: Any, *, numeric: bool) -> np.ndarray:
    """Check y, labels or numbers, and move it to the host; (n, 1) becomes (n,)."""
    check_kind(y, "y")
    with name_arguments("y"):
        y = to_host(_to_native_order(_leave_nullable(y)))
        y = check_array(y, accept_sparse=True, ensure_2d=False, dtype=None, input_name="y")  # type: ignore
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        return y.astype(np.float64) if numeric and y.dtype.kind in "bO" else y


def require_place(estimator: Any, x: Any, backend: Backend, method: str) -> Backend:
    """Return the backend of X, which must be that of the network unless `backend` or `device` is given."""
    home = backend_of(x)
    if home != backend and estimator.backend is None and estimator.device is None:
        raise ArgumentError(
            f"Inputs passed to {type(estimator).__name__}.{method}() must use the same namespace and the same device "
            f"as those passed to fit(): X is of {name_place(home)}, and the estimator lives on {name_place(backend)}; "
            "move it to X with est = est.to(X)"
        )
    return home


def choose_backend(parameters: Any, home: Backend) -> Backend:
    """Choose where to compute: where `backend` and `device` say, or else at home, where X lies."""
    library = parameters.backend
    if library is None and parameters.device is None:
        return home
    library = home.library if library is None and home.name != "numpy" else library
    backend = get_backend(library, parameters.device)
    return home if parameters.device is None and backend.name == home.name else backend


def parse_hidden_sizes(value: Any) -> list[int]:
    """Check the numbers of units of the hidden layers: one number, or a list."""
    return [count("hidden_layer_sizes", size, 1) for size in (list(value) if np.ndim(value) else [value])]


def check_sample_weight(sample_weight: Any, n: int) -> np.ndarray | None:
    """Check the weights of n examples, one number for all or an array (n,), and move them to the host."""
    if sample_weight is None:
        return None
    check_kind(sample_weight, "sample_weight")
    with name_arguments("sample_weight"):
        weight = np.full(n, sample_weight) if np.isscalar(sample_weight) else np.asarray(to_host(sample_weight))
        weight = weight.astype(np.float64) if weight.dtype == object else weight
        return np.asarray(parse_sample_weight(weight, n, get_backend("numpy"), "float64"))


@contextmanager
def name_arguments(arguments: str) -> Iterator[None]:
    """Add the names of arguments to errors that scikit-learn or the user's `__array__` raises without them.

    For texts in X, add the remedy. scikit-learn looks for infinite numbers by a sum of all: that NumPy cannot add ∞ and
    −∞ is no warning of its own.

    Examples
    --------
    >>> with name_arguments("X"):
    ...     int([])
    Traceback (most recent call last):
    xpnet.ArgumentError: int() argument must be a string, a bytes-like object or a real number, not 'list' (in X)
    """
    try:
        with np.errstate(invalid="ignore"):
            yield
    except CONVERSION_ERRORS as error:
        if isinstance(error, (TypeError, ValueError)) and re.search(r"\b(X|y|sample_weight)\b", str(error)):
            raise
        remedy = ""
        if "could not convert string" in str(error):
            encoder = "xpnet.estimators.TableEncoder turns columns of texts into numbers, as in make_pipeline("
            remedy = (
                f"; {encoder}TableEncoder(), estimator)"
                if arguments == "X"
                else "; give numbers, or use a classifier for labels"
            )
        raise ArgumentError(f"{error} (in {arguments}){remedy}") from error


def check_kind(x: Any, name: str) -> None:
    """Refuse arrays with a mask or a unit, and of times or records; also in a column of a table."""
    refuse_masks_and_units(x, name)
    for dtype in x.dtypes if hasattr(x, "iloc") and x.ndim == 2 else [getattr(x, "dtype", None)]:
        if getattr(dtype, "kind", "") in ("m", "M", "V"):
            days = f"({name} - {name}.min()) / numpy.timedelta64(1, 'D')"
            raise ArgumentError(f"{name} has dtype {dtype}; give real numbers, as in {days} for days, or labels")


def _to_native_order(x: Any) -> Any:
    """Return NumPy arrays in the byte order of this machine: float32 in the other one is float64 to scikit-learn."""
    return x.astype(x.dtype.newbyteorder("=")) if isinstance(x, np.ndarray) and not x.dtype.isnative else x


def _leave_nullable(y: Any) -> Any:
    """Return targets in nullable dtypes of pandas in NumPy's, if none is missing; scikit-learn makes floats of them."""
    if hasattr(y, "iloc") and y.ndim == 2:
        return y.apply(_leave_nullable)
    dtype = getattr(y, "dtype", None)
    dtype = getattr(getattr(dtype, "categories", None), "dtype", dtype)
    numpy_dtype = getattr(dtype, "numpy_dtype", None)
    return y if numpy_dtype is None or y.isna().any() else y.astype(dtype).astype(numpy_dtype)


def _name_columns(x: Any) -> Any:
    """Return a table of pandas in place of an array with column names, as in xarray, which scikit-learn compares."""
    if isinstance(x, np.ndarray) or not has_coordinates(x):
        return x
    return x.to_pandas() if x.ndim == 2 and column_names(x, "X") else x


def _validate_by_shape(estimator: BaseEstimator, inputs: Any, y: Any, reset: bool) -> Array | HostRows:
    """Check X if it belongs to a library other than NumPy or stays outside, and that y is there if it is needed."""
    if stays_outside(inputs):
        x = as_host_rows(inputs)
        x = x if x.dtype in FLOATS else replace(x, own_dtype=np.float64)  # as scikit-learn converts it
    else:
        x = as_real_array(inputs, "X")
    if x.ndim != 2:
        raise ArgumentError(
            f"Expected 2D array, got {x.ndim}D array instead: X has shape {tuple(x.shape)}, but must have "
            "(n, n_features); a single example is X[None, :]"
        )
    for n, axis in zip(x.shape, ("sample", "feature")):
        if n == 0:
            raise ArgumentError(
                f"Found array with 0 {axis}(s) (shape={tuple(x.shape)}) while a minimum of 1 is required by "
                f"{type(estimator).__name__}."
            )
    named = inputs.inputs if isinstance(inputs, HostRows) else inputs
    named = _name_columns(named[:0]) if has_coordinates(named) else named
    validate_data(estimator, named, y, reset=reset, skip_check_array=True)
    return x


def drop_single_output(a: Array) -> Array:
    """Turn outputs (n, 1) into (n,), as scikit-learn's regressors return them; several outputs stay as they are."""
    return a[..., 0] if a.shape[-1] == 1 else a


def make_random_state(value: Any) -> np.random.RandomState:
    """Make the generator of a `random_state`."""
    try:
        generator = check_random_state(value)
    except ValueError:
        generator = None
    if generator is None or generator.get_state(legacy=False)["bit_generator"] != "MT19937":
        raise ArgumentError(
            f"random_state={show(value)} must be a whole number from 0 to 2**32 - 1, None, or a RandomState of a seed"
        )
    return generator


def draw_seeds(random_state: Any, n: int) -> list[int]:
    """Draw the seeds of n networks by a `random_state`."""
    return make_random_state(random_state).randint(np.iinfo(np.int32).max, size=n).tolist()


def require_seed(path: Any, random_state: Any) -> None:
    """Check that a fit with a checkpoint draws the same numbers each time."""
    if not isinstance(random_state, (int, np.integer)):
        raise ArgumentError(
            f"checkpoint={path!r} needs random_state to be a whole number, not {random_state!r}: the fit that "
            "resumes it must draw the same initial weights, validation data and minibatches"
        )
