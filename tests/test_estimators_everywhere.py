"""Everything follows X: libraries, devices and dtypes; with scikit-learn's array API dispatch and without it."""

import os
import pickle
import subprocess
import sys

import host_cupy
import numpy as np
import pytest
from helpers import GPU, PLACES, marked
from numpy.testing import assert_allclose, assert_array_equal

pytest.importorskip("sklearn", reason="the estimators need scikit-learn")

import array_api_compat
from sklearn.datasets import load_iris
from sklearn.utils import _array_api
from test_estimators import host, put

from xpnet import get_backend
from xpnet.backends._choose import backend_of
from xpnet.estimators import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = load_iris(return_X_y=True)
NAMES = np.array(["setosa", "versicolor", "virginica"])[Y]
SMALL = {"hidden_layer_sizes": (5,), "max_iter": 2, "random_state": 0}
TWO = np.stack([Y > 0, Y > 1], axis=1).astype(int)
OTHERS = [name for name in PLACES if name != "numpy"]


@pytest.fixture(params=marked(OTHERS))
def other(request):
    """A place that is not NumPy's."""
    return PLACES[request.param]()


@pytest.fixture(autouse=True)
def can_exchange(request):
    """Skip pairs of a GPU and a fake device, between which no array can go."""
    params = getattr(getattr(request.node, "callspec", None), "params", {})
    names = {params.get("place"), params.get("other")}
    if "strict-device1" in names and names & {"dpnp", host_cupy.NAME, *GPU}:
        pytest.skip("a GPU and a device of array-api-strict exchange no arrays")


def lies(x, place):
    """Whether an array is of the library and on the device of a place."""
    return backend_of(x) == get_backend(*place) and (array_api_compat.is_numpy_array(x) == (place.backend == "numpy"))


@pytest.mark.parametrize(
    ("solver", "y"),
    [("adam", Y), ("adam", Y > 0), ("adam", TWO), ("adam", Y.astype(float)), ("lbfgs", Y)],
    ids=["three", "booleans", "several", "floats", "lbfgs"],
)
def test_what_comes_out_lies_where_x_lies(place, dtype, solver, y):
    x = put(place, X, dtype)
    est = MLPClassifier(**SMALL, solver=solver).fit(x, put(place, y))
    assert lies(est.predict(x), place)
    assert set(np.unique(host(est.predict(x)))) <= set(np.unique(y))
    for found in (est.predict_proba(x), est.predict_log_proba(x), *est.coefs_, *est.intercepts_, *est.activations(x)):
        assert lies(found, place)
        assert host(found).dtype == dtype
    assert isinstance(est.classes_, np.ndarray)
    assert 0.0 <= est.score(x, put(place, y)) <= 1.0


@pytest.mark.not_on("jax")  # where labels are NumPy's below
def test_labels_and_weights_may_lie_elsewhere(place, other):
    """They are moved to X, or to the host, where labels are encoded."""
    weight = np.linspace(0.5, 1.5, len(X))
    est = MLPClassifier(**SMALL).fit(put(place, X), put(other, Y), put(other, weight))
    twin = MLPClassifier(**SMALL).fit(X, Y, weight)
    assert_allclose(host(est.coefs_[0]), twin.coefs_[0], rtol=1e-9)
    assert lies(est.predict(put(place, X)), place)
    reg = MLPRegressor(**SMALL).fit(put(place, X), put(other, Y / 2))
    assert_allclose(host(reg.coefs_[0]), MLPRegressor(**SMALL).fit(X, Y / 2).coefs_[0], rtol=1e-9)


def test_a_backend_that_is_given_computes_and_results_come_back(place, other):
    y = NAMES.astype(object) if other == PLACES["strict"]() else TWO
    est = MLPClassifier(**SMALL, backend=other.backend, device=other.device).fit(put(place, X), put(place, y))
    stays = other.device is None and get_backend(*place).name == get_backend(*other).name  # of X, and its device too
    assert est.network_.backend == get_backend(*(place if stays else other))
    if y.dtype.kind not in "UO":
        assert lies(est.predict(put(place, X)), place)
    assert lies(est.predict_proba(put(place, X)), place)
    assert all(lies(w, place) for w in est.coefs_)
    twin = MLPClassifier(**SMALL).fit(X, y)
    assert_array_equal(host(est.predict(put(place, X))), twin.predict(X))
    assert_array_equal(est.predict(X), twin.predict(X))  # from anywhere


def test_device_or_library_alone_stay_with_the_other(other):
    x = put(other, X)
    if get_backend(*other).name == "torch":
        est = MLPClassifier(**SMALL, device="cpu").fit(x, Y)
        assert est.network_.backend.name == "torch"
    assert MLPClassifier(**SMALL, device="cpu").fit(X, Y).network_.backend.name == "numpy"
    there = PLACES["strict-device1"]()
    for own in (other, there):
        est = MLPClassifier(**SMALL, backend=own.backend).fit(put(own, X), Y)
        assert est.network_.backend == get_backend(*own)


@pytest.mark.parametrize("method", ["predict", "activations", "partial_fit"])
def test_another_place_is_refused_and_to_moves_it(other, method):
    est, x = MLPClassifier(**SMALL).fit(X, Y), put(other, X)
    more = (put(other, Y),) if method == "partial_fit" else ()
    with pytest.raises(ValueError, match=rf"MLPClassifier\.{method}\(\) must use the same .* est = est\.to\(X\)"):
        getattr(est, method)(x, *more)
    with pytest.raises(ValueError, match=r"X is of .*\(these are X_val, y_val"):
        MLPClassifier(**SMALL).fit(X, Y, X_val=x, y_val=Y)
    moved = est.to(x)
    assert_allclose(host(moved.predict_proba(x)), est.predict_proba(X), rtol=1e-9)
    assert_array_equal(moved.to(X).predict_proba(X), est.predict_proba(X))
    getattr(moved, method)(x, *more)
    assert lies(moved.predict(x), other)
    assert isinstance(est.predict(X), np.ndarray)  # it stays where it was
    assert len(est.loss_curve_) == 2


@pytest.mark.skipif(not hasattr(_array_api, "move_estimator_to"), reason="scikit-learn 1.8 has no way to move it")
def test_scikit_learns_own_way_to_move_it(other):
    est = MLPClassifier(**SMALL).fit(X, Y)
    x = put(other, X, "float32")
    xp, device = array_api_compat.array_namespace(x), array_api_compat.device(x)
    moved = _array_api.move_estimator_to(est, xp, device)
    assert lies(moved.predict(put(other, X)), other)
    assert isinstance(est.predict(X), np.ndarray)


def test_inputs_that_are_no_floats_are_computed_with_as_floats(place):
    est = MLPClassifier(**SMALL).fit(put(place, np.round(X).astype(np.int64)), NAMES)
    assert est.network_.dtype == ("float32" if place.backend == "jax" else "float64")  # JAX has no more, unless told to
    assert isinstance(est.predict(put(place, np.round(X).astype(np.int64))), np.ndarray)  # of strings
    single = put(place, X, "float32")
    numbers = MLPClassifier(**SMALL).fit(single, Y).predict(single)
    assert str(numbers.dtype).endswith("int32" if place.backend == "jax" else "int64")
    assert MLPClassifier(**SMALL, dtype="float32").fit(put(place, X), Y).network_.dtype == "float32"


@pytest.mark.not_on("jax")  # where fits go on from files
def test_pickling_keeps_the_place(place):
    x, y = put(place, X), put(place, Y)
    est = MLPRegressor(**SMALL, activation="leaky_relu(0.2)").fit(x, y)
    again = pickle.loads(pickle.dumps(est))
    assert lies(again.predict(x), place)
    assert_array_equal(*(host(each.partial_fit(x, y).coefs_[0]) for each in (again, est)))


SCRIPT = """
import warnings
import array_api_strict as xp
import numpy as np
import sklearn
from xpnet.estimators import MLPClassifier, MLPRegressor

warnings.simplefilter("ignore")
device = xp.Device("device1")
x, y = (xp.asarray(each, device=device) for each in (np.random.default_rng(0).normal(size=(60, 4)), np.arange(60) % 3))
for kind in (MLPClassifier, MLPRegressor):
    est = kind(hidden_layer_sizes=(5,), max_iter=1, random_state=0, early_stopping=True)
    est.fit(x, y if kind is MLPClassifier else x[:, 0])
    assert est.predict(x).device == device
    assert est.score(x, y) <= 1
print(type(est).__name__, sklearn.get_config()["array_api_dispatch"], est.coefs_[0].device == device)
"""


@pytest.mark.slow
def test_arrays_that_numpy_cannot_read_need_no_setting():
    """On a fake device, from which `np.asarray` fails as it does from a GPU; SciPy reads the setting when imported."""
    environment = {name: value for name, value in os.environ.items() if name != "SCIPY_ARRAY_API"}
    command = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.stdout.strip() == "MLPRegressor False True", done.stderr
