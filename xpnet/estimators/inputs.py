"""Checks of what comes into an estimator: inputs, targets and weights, still where the user has them."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.utils import check_array, column_or_1d
from sklearn.utils.validation import validate_data

from xpnet.backends.base import CONVERSION_ERRORS, Backend
from xpnet.backends.choose import get_backend
from xpnet.core.arrays import Array
from xpnet.data.reader import as_real_array, refuse_masked
from xpnet.data.weights import check_some_weight, check_weights, relative_weight
from xpnet.estimators.fitted import Features
from xpnet.estimators.places import is_foreign, to_host
from xpnet.estimators.problems import Problem
from xpnet.wording.checks import check_lengths
from xpnet.wording.errors import unless_stopped

FLOATS = (np.float64, np.float32)
ACCEPTED: dict[str, Any] = {"accept_sparse": ["csr", "csc"], "dtype": list(FLOATS), "order": "C"}


class CheckedData(NamedTuple):
    """Checked examples, still where the user has them."""

    x: Any  # (n, n_features): an array of any library, or a sparse matrix
    targets: Any  # what the network is to output: see `Problem.encode`
    sample_weight: np.ndarray | None  # (n,) float64, on the host
    class_weight: np.ndarray | None = None  # (n,), of the class of each example, on the host

    @property
    def is_sparse(self) -> bool:
        """Whether the inputs are a sparse matrix."""
        return sparse.issparse(self.x)

    @property
    def weight(self) -> np.ndarray | None:
        """Weights of the examples, those of their classes included."""
        if self.class_weight is None or self.sample_weight is None:
            return self.sample_weight if self.class_weight is None else self.class_weight
        return self.sample_weight * self.class_weight

    @property
    def largest_weight(self) -> float:
        """The largest weight of an example; 1 without weights."""
        weight = self.weight
        return 1.0 if weight is None else float(weight.max())


class FitArguments(NamedTuple):
    """The arguments of a fit, as the user gave them."""

    X: Any
    y: Any
    sample_weight: Any = None
    validation: tuple[Any, Any, Any] = (None, None, None)  # X, y and sample_weight
    classes: Any = None  # of `partial_fit`
    partial: bool = False  # whether it is a call of `partial_fit`


class FitData(NamedTuple):
    """The checked arguments of a fit."""

    home: Backend  # where X lies
    features: Features
    problem: Problem
    train: CheckedData
    validation: CheckedData | None = None


def validate_inputs(estimator: BaseEstimator, x: Any) -> Any:
    """Check X, in its own library, against the features that the estimator was fitted to.

    Arrays of NumPy, and all that is made into one, are checked by scikit-learn.
    """
    with naming("X"):
        if is_foreign(x):
            return _validate_foreign(estimator, x, "no_validation", reset=False)
        check_kind(x, "X")
        x = validate_data(estimator, x, reset=False, **{**ACCEPTED, "dtype": "numeric"})  # refuses numbers in strings
        return x if x.dtype in FLOATS else x.astype(np.float64)


def validate_examples(estimator: BaseEstimator, x: Any, y: Any, *, numeric: bool, reset: bool) -> tuple[Any, Any]:
    """Check X and y. Labels come back on the host; numbers stay in their library.

    Parameters
    ----------
    estimator
        The estimator: scikit-learn compares `n_features_in_` and `feature_names_in_` with X, or sets them on it.
    x
        Inputs (n, n_features).
    y
        Targets (n,) or (n, n_outputs).
    numeric
        Whether targets are numbers, rather than labels.
    reset
        Whether number and names of the features are set, rather than compared.
    """
    check_kind(y, "y")
    with naming("X and y"):
        if not is_foreign(x):
            check_kind(x, "X")
            options: dict[str, Any] = {"multi_output": True, "y_numeric": numeric, "reset": reset}
            x, y = validate_data(estimator, x, to_host(y), **options, **ACCEPTED)
        else:
            x = _validate_foreign(estimator, x, y, reset)
            if not (numeric and is_foreign(y)):
                options = {"dtype": "numeric" if numeric else None, "input_name": "y"}
                y = check_array(to_host(y), ensure_2d=False, **options)
            check_lengths("X", x.shape[0], "y", y.shape[0])
    if y.ndim == 2 and y.shape[1] == 1 and not is_foreign(y):
        y = column_or_1d(y, warn=True)
    if numeric and isinstance(y, np.ndarray) and y.dtype.kind == "f" and y.dtype not in FLOATS:
        y = y.astype(np.float64)  # no other library has long doubles
    return x, y


def parse_sample_weight(sample_weight: Any, n: int) -> np.ndarray | None:
    """Check the weights of n examples, a number for all or (n,), and move them to the host."""
    if sample_weight is None:
        return None
    check_kind(sample_weight, "sample_weight")
    with naming("sample_weight"):
        weight = np.full(n, sample_weight) if np.isscalar(sample_weight) else to_host(sample_weight)
        options: dict[str, Any] = {"dtype": np.float64, "input_name": "sample_weight"}
        weight = check_array(weight, ensure_2d=False, **options)
    check_weights(weight, n, get_backend("numpy"))
    return weight


def divide_by_largest(weight: np.ndarray | None, dtype: str, name: str) -> np.ndarray | None:
    """Divide weights by the largest; see `relative_weight`.

    Raises
    ------
    ValueError
        If all of them are 0; `name` says of which examples.
    """
    if weight is None:
        return None
    largest = float(weight.max())
    check_some_weight(largest, name)
    return relative_weight(weight, largest, dtype, np)


@contextmanager
def naming(arguments: str) -> Iterator[None]:
    """Name the arguments in errors that scikit-learn, or the user's `__array__`, raises without their names.

    Examples
    --------
    >>> with naming("X"):
    ...     float("one")
    Traceback (most recent call last):
    ValueError: could not convert string to float: 'one' (in X)
    """
    try:
        yield
    except unless_stopped(*CONVERSION_ERRORS) as error:
        if isinstance(error, (TypeError, ValueError)) and re.search(r"\b(X|y|sample_weight)\b", str(error)):
            raise
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{error} (in {arguments})") from error


def check_kind(x: Any, name: str) -> None:
    """Refuse masked arrays, and those of times or records, which scikit-learn would read as if they were numbers."""
    refuse_masked(x, name)
    if isinstance(x, np.ndarray) and (x.dtype.kind in "mM" or x.dtype.names is not None):
        raise TypeError(f"{name} has dtype {x.dtype}; give real numbers, or labels")


def _validate_foreign(estimator: BaseEstimator, x: Any, y: Any, reset: bool) -> Array:
    """Check X of another library than NumPy; of y, whether it is there."""
    x = as_real_array(x, "X")
    if x.ndim != 2:
        raise ValueError(
            f"Expected 2D array, got {x.ndim}D array instead: X has shape {tuple(x.shape)}, but must have "
            "(n, n_features); a single example is X[None, :]"
        )
    for n, axis in zip(x.shape, ("sample", "feature")):
        if n == 0:
            raise ValueError(
                f"Found array with 0 {axis}(s) (shape={tuple(x.shape)}) while a minimum of 1 is required by "
                f"{type(estimator).__name__}."
            )
    y = None if y is None else "no_validation"  # scikit-learn raises if y is needed and missing
    validate_data(estimator, x, y, reset=reset, skip_check_array=True)
    return x
