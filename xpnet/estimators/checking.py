"""What comes into an estimator: inputs, targets and weights, checked, and where they lie."""

from typing import Any

import numpy as np
from sklearn.utils import check_array, column_or_1d
from sklearn.utils.validation import validate_data

from xpnet.arrays import Array
from xpnet.backends import BACKENDS, Backend, get_backend
from xpnet.data import numbers
from xpnet.estimators.following import home, is_foreign, on_the_host, place, same

ACCEPTED: dict[str, Any] = {"accept_sparse": ["csr", "csc"], "dtype": [np.float64, np.float32], "order": "C"}


def inputs(est: Any, X: Any) -> Any:
    """Have X checked, in its own library: by scikit-learn, but for arrays of other libraries than NumPy.

    Parameters
    ----------
    est
        The estimator, whose `n_features_in_` and `feature_names_in_` are held against X.
    X
        Inputs (n, n_features).
    """
    if is_foreign(X):
        return _foreign(est, X, "no_validation", reset=False)
    X = validate_data(est, X, reset=False, **{**ACCEPTED, "dtype": "numeric"})  # refuses numbers written in strings
    return X if X.dtype in ACCEPTED["dtype"] else X.astype(np.float64)


def examples(est: Any, X: Any, y: Any, *, reset: bool) -> tuple[Any, Any]:
    """Have X and y checked. Labels come to the host; numbers stay in the library that they are of.

    Parameters
    ----------
    est, X
        As in `inputs`.
    y
        Targets (n,) or (n, n_outputs).
    reset
        Whether what the estimator knows of X is set, and not held against it.
    """
    if not is_foreign(X):
        options = {"multi_output": True, "y_numeric": est._numeric, "reset": reset, **ACCEPTED}
        X, y = validate_data(est, X, on_the_host(y), **options)
    else:
        X = _foreign(est, X, y, reset)
        if not (est._numeric and is_foreign(y)):
            options = {"ensure_2d": False, "dtype": "numeric" if est._numeric else None, "input_name": "y"}
            y = check_array(on_the_host(y), **options)
        if X.shape[0] != y.shape[0]:
            raise ValueError(f"X has {X.shape[0]} examples and y has {y.shape[0]}; give as many")
    if y.ndim == 2 and y.shape[1] == 1 and not is_foreign(y):
        y = column_or_1d(y, warn=True)
    return X, y


def weights(given: Any, n: int) -> Any:
    """How much each example counts, (n,), on the host; None for all the same."""
    if given is None:
        return None
    options: dict[str, Any] = {"ensure_2d": False, "dtype": np.float64, "input_name": "sample_weight"}
    weight = check_array(np.full(n, given) if np.isscalar(given) else on_the_host(given), **options)
    if weight.shape != (n,):
        raise ValueError(f"sample_weight.shape == {weight.shape}, expected {(n,)}!")
    if weight.min() < 0:
        raise ValueError(f"sample_weight holds {weight.min():g}; give numbers of at least 0")
    return weight


def relative(weight: Any, dtype: str, what: str) -> tuple[Any, float]:
    """Weights by the largest of them, and that one: only ratios count in a mean, and sums shall not overflow."""
    if weight is None:
        return None, 1.0
    largest = float(weight.max())
    if largest == 0:
        raise ValueError(f"sample_weight and class_weight leave every example of {what} with the weight zero")
    weight = weight / largest
    return np.where(weight < np.finfo(dtype).tiny, 0.0, weight), largest


def is_away(est: Any, here: Backend) -> bool:
    """Whether this is not where the network lives, and neither `backend` nor `device` chose another place for it."""
    return est.backend is None and est.device is None and not same(here, est.network_.backend)


def home_of(est: Any, X: Any, method: str) -> Backend:
    """Library and device of X; refuse others than those of the network, unless `backend` or `device` chose it."""
    here, there = home(X), est.network_.backend
    if is_away(est, here):
        raise ValueError(
            f"Inputs passed to {type(est).__name__}.{method}() must use the same namespace and the same device as "
            f"those passed to fit(): X is of {place(here)}, and the estimator lives on {place(there)}; move it to X "
            "with est = est.to(X)"
        )
    return here


def chosen(est: Any, here: Backend) -> Backend:
    """Where to compute for X that lies `here`: there, unless `backend` or `device` say otherwise."""
    if est.backend is None and est.device is None:
        return here
    library = est.backend
    if library is None and here.name != "numpy":
        library = here.name if here.name in BACKENDS else here.xp
    found = get_backend(library, est.device)
    return here if est.device is None and found.name == here.name else found


def _foreign(est: Any, X: Array, y: Any, reset: bool) -> Array:
    X = numbers(X, "X")
    if X.ndim != 2:
        raise ValueError(
            f"Expected 2D array, got {X.ndim}D array instead: X has shape {tuple(X.shape)}, but must have "
            "(n, n_features); a single example is X[None, :]"
        )
    for n, what in zip(X.shape, ("sample", "feature")):
        if n == 0:
            raise ValueError(
                f"Found array with 0 {what}(s) (shape={tuple(X.shape)}) while a minimum of 1 is required by "
                f"{type(est).__name__}."
            )
    missing: Any = None if y is None else "no_validation"  # scikit-learn says what is missing
    validate_data(est, X, missing, reset=reset, skip_check_array=True)
    return X
