"""The estimators in scikit-learn: its own checks, and what people put around estimators."""

import os
import pickle
import pickletools
from importlib.util import find_spec
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="the estimators need scikit-learn")

import sklearn
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_iris
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from xpnet import SGD, AdamW, BackendError, Clip, Cosine, Network, get_backend
from xpnet.estimators import MLPClassifier, MLPEnsembleClassifier, MLPRegressor, MLPSearchCV

X, Y = load_iris(return_X_y=True)
SMALL: dict[str, Any] = {"hidden_layer_sizes": (8,), "max_iter": 30, "random_state": 0, "learning_rate_init": 0.05}
FEW = {**SMALL, "max_iter": 3}
quiet = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def has_gpu() -> bool:
    try:
        get_backend("cupy")
    except BackendError:
        return False
    return True


def options_of(check: Any) -> dict[str, Any]:
    """What a check is bound to, all partials around it together."""
    found: dict[str, Any] = {}
    while hasattr(check, "func"):
        found, check = {**check.keywords, **found}, check.func
    return found


def can_run(check: Any) -> bool:
    """Whether the libraries that a check is bound to are here; CuPy with a GPU."""
    where = options_of(check)
    used = [where.get("array_namespace"), *(getattr(where.get(k), "xp", None) for k in where if k.endswith("_device"))]
    return all(name is None or (has_gpu() if name == "cupy" else find_spec(name)) for name in used)


every_check = parametrize_with_checks(
    [
        MLPClassifier((10,), learning_rate_init=0.2, max_iter=10),
        MLPRegressor(hidden_layer_sizes=(10,), learning_rate_init=0.2, max_iter=10),
        MLPClassifier((10,), solver="lbfgs", alpha=1.0, dtype="float64"),
    ]
).mark


ABOUT_REGRESSORS = ("regressor", "param", "mixin", "supervised", "methods", "array_api_strict")


def repeats(estimator: Any, check: Any) -> bool:
    """Whether a check passes if another does: it is not about numbers as targets, nor about the solver."""
    if str(check).endswith("readonly_memmap=True)"):
        return True  # that of read-only rows in float32 remains
    if estimator.solver == "lbfgs":
        return "sample_weight_equivalence_on_dense" not in str(check)
    if isinstance(estimator, MLPRegressor):
        return not any(word in str(check) for word in ABOUT_REGRESSORS)
    return "sparse_matrix" in str(check)  # that of sparse arrays remains


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the checks provoke them
@pytest.mark.parametrize(
    every_check.args[0],
    [
        (estimator, check)
        for estimator, check in every_check.args[1]
        if can_run(check) and not repeats(estimator, check)
    ],
    ids=every_check.kwargs["ids"],
)
def test_the_checks_of_scikit_learn(estimator, check):
    """None is expected to fail. Those of the array API are seen to run, with SCIPY_ARRAY_API set."""
    check(estimator)


def test_the_array_api_checks_do_run():
    assert os.environ.get("SCIPY_ARRAY_API") == "1"
    assert sklearn.utils.get_tags(MLPClassifier()).array_api_support
    with sklearn.config_context(array_api_dispatch=True):
        assert sklearn.utils._array_api.get_namespace(np.ones(2))[1]


@quiet
def test_in_a_pipeline_with_names_from_pandas():
    pytest.importorskip("pandas")
    frame = load_iris(as_frame=True)
    pipeline = make_pipeline(StandardScaler(), MLPClassifier(**SMALL)).set_output(transform="pandas")
    pipeline.fit(frame.data, frame.target)
    mlp = pipeline[-1]
    assert list(mlp.feature_names_in_) == list(frame.data.columns)
    assert pipeline.score(frame.data, frame.target) > 0.8
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        mlp.predict(X)
    with pytest.raises(ValueError, match="The feature names should match those that were passed during fit"):
        mlp.predict(pipeline[0].transform(frame.data).rename(columns={"petal width (cm)": "width"}))


@quiet
@pytest.mark.filterwarnings("ignore:A column-vector y")
@pytest.mark.needs("pandas")
@pytest.mark.parametrize(
    "make", [lambda y: y, lambda y: y.to_frame(), lambda y: y.array, lambda y: y.astype("category")]
)
def test_labels_in_nullable_dtypes_stay_what_they_are(make):
    import pandas

    for labels, dtype in (([1, 2], "Int64"), ([False, True], "boolean")):
        y = pandas.Series(np.array(labels)[Y % 2], dtype=dtype)
        model = MLPClassifier(**FEW).fit(X, make(y))
        assert [*map(repr, {*model.predict(X).tolist()})] == [*map(repr, labels)]
        assert model.score(X, y) == (model.predict(X) == np.array(labels)[Y % 2]).mean()
        with pytest.raises(ValueError, match="Input y contains NaN"):
            model.fit(X, make(y.where(Y > 0)))


@quiet
@pytest.mark.needs("xarray", "dask")
def test_arrays_of_xarray_have_names(monkeypatch):
    """Also those that stay outside memory."""
    import dask.array as da
    from xarray import DataArray

    for array in (X, da.from_array(X, chunks=(50, 4))):
        table = DataArray(array, {"part": [*"abcd"]}, ["flower", "part"])
        for make in (
            lambda: MLPRegressor(**FEW),
            lambda: MLPEnsembleClassifier(**FEW, n_estimators=2),
            lambda: MLPSearchCV(MLPClassifier(**FEW), {"alpha": [0.1]}, cv=2),
        ):
            model, plain = make().fit(table, Y), make().fit(X, Y)
            assert model.feature_names_in_.tolist() == [*"abcd"]
            np.testing.assert_array_equal(model.predict(table), plain.predict(X))
            for other in (table[:, ::-1], table.assign_coords(part=[*"abce"])):
                with pytest.raises(ValueError, match="The feature names should match those that were passed during f"):
                    model.predict(other)
        monkeypatch.setattr("xpnet.data.conversion.LEAST_BYTES", 0)


@quiet
@pytest.mark.needs("dask")
def test_arrays_of_dask_become_numpy_arrays():
    import dask.array as da

    x, y = da.from_array(X, chunks=(50, 4)), da.from_array(Y, chunks=50)
    weight, masked = da.ones(150), x[x[:, 0] > 0]  # whose number of rows Dask does not know
    for make in (
        lambda: MLPRegressor(**FEW),
        lambda: MLPEnsembleClassifier(**FEW, n_estimators=2),
        lambda: MLPSearchCV(MLPClassifier(**FEW), {"alpha": [0.1]}, cv=2),
    ):
        of_dask, of_numpy = make().fit(x, y, sample_weight=weight), make().fit(X, Y)
        for inputs in (x, masked):
            assert type(of_dask.predict(inputs)) is np.ndarray
            np.testing.assert_allclose(of_dask.predict(inputs), of_numpy.predict(X), rtol=1e-9)
        assert of_dask.score(x, y) == pytest.approx(of_numpy.score(X, Y), rel=1e-9)
    nets = [Network([4, 3], task="classification", seed=0) for _ in range(2)]
    for net, data in zip(nets, [(x, y), (X, Y)]):
        net.train(data, epochs=1, test_data=data, progress=False)
    np.testing.assert_allclose(nets[0].predict_proba(x), nets[1].predict_proba(X), rtol=1e-5)


@quiet
@pytest.mark.parametrize("classes", [2, 3])
def test_the_temperature_of_the_network_is_that_of_scikit_learn(classes):
    """Whose calibration of a fitted estimator leaves this one as it is."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((400, 3))
    labels = np.array(["a", "b", "c"])[(x[:, :classes] + rng.gumbel(size=(400, classes))).argmax(axis=1)]
    classifier = MLPClassifier((50,), max_iter=150, learning_rate_init=0.01, random_state=0).fit(x[:200], labels[:200])
    before, new = classifier.predict_proba(x[200:]), (x[200:], labels[200:])
    theirs = CalibratedClassifierCV(FrozenEstimator(classifier), method="temperature").fit(*new)
    expected = theirs.predict_proba(x[200:])
    np.testing.assert_array_equal(classifier.predict_proba(x[200:]), before)
    classifier.network_.calibrate((x[200:], np.searchsorted(classifier.classes_, labels[200:])))
    ours = classifier.predict_proba(x[200:])
    np.testing.assert_allclose(ours, expected, rtol=1e-5)
    assert log_loss(labels[200:], ours) < 0.95 * log_loss(labels[200:], before)
    np.testing.assert_array_equal(
        classifier.predict(x), classifier.classes_[classifier.predict_proba(x).argmax(axis=1)]
    )
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(classifier)).predict_proba(x[200:]), ours)


class Own:
    """An activation of the user's own."""

    name = "own"

    def value(self, z, xp):
        return xp.tanh(z)

    def pullback(self, g, z, a, xp):
        return g * (1.0 - a * a)


class OwnOptimizer(SGD):
    """An optimizer that no file can hold."""


@quiet
@pytest.mark.parametrize(
    ("make", "types"),
    [
        (lambda: MLPClassifier(**SMALL, dropout=0.1, standardize=True), {"MLPClassifier"}),
        (lambda: MLPRegressor(**SMALL, loss="gaussian", activation="elu(0.5)"), {"MLPRegressor"}),
        (
            lambda: MLPEnsembleClassifier(**SMALL, n_estimators=2, solver=Clip(AdamW(weight_decay=0.1), 1.0)),
            {"MLPClassifier", "MLPEnsembleClassifier", "AdamW", "Clip"},
        ),
        (lambda: MLPRegressor(**SMALL, activation=[Own()]), None),
        (lambda: MLPClassifier(**SMALL, solver=OwnOptimizer(momentum=0.5)), None),
    ],
)
def test_pickles_hold_arrays_and_plain_values(make, types):
    """And those of equal fits are equal; training continues bit for bit."""
    est, twin = (make().fit(X, Y) for _ in range(2))
    content = pickle.dumps(est)
    if types is not None:
        assert content == pickle.dumps(twin)
        names = [(a, b) for a, b in pairwise(read_strings(content)) if a.startswith("xpnet")]
        assert {name for _, name in names} == types
    again = pickle.loads(content)
    for one in (est, again):
        one.partial_fit(X, Y)
    np.testing.assert_array_equal(again.predict(X), est.predict(X))


def read_strings(content: bytes) -> list[str]:
    """The strings in a pickle, in order: the module of a class stands before its name."""
    return [value for _, value, _ in pickletools.genops(content) if isinstance(value, str)]


@quiet
@pytest.mark.slow
def test_settings_of_an_optimizer_are_parameters():
    estimator = MLPRegressor(**SMALL, solver=Clip(AdamW(weight_decay=0.1), 1.0), learning_rate=Cosine(0.1))
    parameters = estimator.get_params()
    assert parameters["solver__optimizer__weight_decay"] == 0.1
    assert parameters["learning_rate__peak"] == 0.1
    assert "solver__norm" not in estimator.get_params(deep=False)
    estimator.set_params(solver__optimizer__weight_decay=0.5, solver__norm=2.0, alpha=0.0)
    assert estimator.solver == clone(estimator).solver == Clip(AdamW(weight_decay=0.5), 2.0)
    assert estimator.set_params(solver=SGD(), solver__momentum=0.9).solver == SGD(momentum=0.9)
    for path, message in {
        "solver__mu": r"'solver__mu' is unknown; choose from .*'solver__momentum'",
        "activation__slope": "'activation__slope' is unknown",
        "solver__momentum": r"momentum=9\.0 must be",
        "silver__momentum": "Invalid parameter 'silver'",
    }.items():
        with pytest.raises(ValueError, match=message):
            estimator.set_params(**{path: 9.0})
    for model in (MLPClassifier(**FEW, solver=AdamW()), MLPEnsembleClassifier(**FEW, solver=AdamW(), n_estimators=2)):
        pipeline = Pipeline([("mlp", model)])
        grid = {"mlp__solver__weight_decay": [0.0, 10.0], "mlp__solver__beta1": [0.9]}
        found = [search(pipeline, grid, cv=2).fit(X, Y).cv_results_ for search in (MLPSearchCV, GridSearchCV)]
        np.testing.assert_allclose(*(results["mean_test_score"] for results in found))
        assert len(set(found[0]["mean_test_score"])) == 2


@quiet
@pytest.mark.needs("skops")
def test_skops_trusts_all_but_the_estimator():
    import skops.io

    pipeline = make_pipeline(StandardScaler(), MLPClassifier(**SMALL)).fit(X, Y)
    content = skops.io.dumps(pipeline)
    types = skops.io.get_untrusted_types(data=content)
    assert types == ["xpnet.estimators._classifier.MLPClassifier"]
    np.testing.assert_array_equal(skops.io.loads(content, trusted=types).predict(X), pipeline.predict(X))


@quiet
@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_a_pipeline_transforms_validation_data(kind):
    """As for their gradient boosting: X_val is routed to the network, and transformed on its way."""
    pytest.importorskip("pandas")
    frame, weight = load_iris(as_frame=True), np.linspace(0.5, 1.5, 50)
    train, val = np.flatnonzero(np.arange(150) % 3), np.arange(0, 150, 3)
    x, y = frame.data * [1.0, 10.0, 100.0, 1000.0], frame.target
    est = kind(**SMALL, early_stopping=True)
    with sklearn.config_context(enable_metadata_routing=True):
        est.set_fit_request(X_val=True, y_val=True, sample_weight_val=True)
        pipeline = make_pipeline(StandardScaler(), est, transform_input=["X_val"]).set_output(transform="pandas")
        pipeline.fit(x.iloc[train], y[train], X_val=x.iloc[val], y_val=y[val], sample_weight_val=weight)
    scaler = StandardScaler().set_output(transform="pandas").fit(x.iloc[train])
    plain = kind(**SMALL, early_stopping=True)
    given = {"X_val": scaler.transform(x.iloc[val]), "y_val": y[val], "sample_weight_val": weight}
    plain.fit(scaler.transform(x.iloc[train]), y[train], **given)
    assert pipeline[-1].validation_scores_ == plain.validation_scores_
    assert pipeline[-1].best_validation_score_ > 0.8
    np.testing.assert_array_equal(pipeline[-1].coefs_[0], plain.coefs_[0])
