"""The estimators in scikit-learn: its own checks, and what people put around estimators."""

import os
import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

pytest.importorskip("sklearn", reason="the estimators need scikit-learn")

import sklearn
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_iris
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from xpnet import SGD, AdamW, BackendError, Clip, Cosine, Network, get_backend
from xpnet.estimators import MLPClassifier, MLPEnsembleClassifier, MLPEnsembleRegressor, MLPRegressor, MLPSearchCV

X, Y = load_iris(return_X_y=True)
SMALL = {"hidden_layer_sizes": (8,), "max_iter": 30, "random_state": 0, "learning_rate_init": 0.05}
FEW = {**SMALL, "max_iter": 3}
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def has_gpu():
    try:
        get_backend("cupy")
    except BackendError:
        return False
    return True


# Ten steps of a large rate are enough for the accuracy that some of them ask for
CHECKED = {"hidden_layer_sizes": (10,), "learning_rate_init": 0.2, "max_iter": 10}
CHECKS = parametrize_with_checks(
    [
        MLPClassifier(**CHECKED),
        MLPRegressor(**CHECKED),
        MLPEnsembleClassifier(**CHECKED, n_estimators=2),
        MLPEnsembleRegressor(**CHECKED, n_estimators=2),
        MLPClassifier((10,), solver="lbfgs", alpha=1.0, dtype="float64"),
    ]
).mark.args


def concerns(estimator, check):
    """Whether a check can run here, and is not about what another solver shows, or a lone network, too."""
    if "cupy" in str(check):
        return has_gpu()
    if "array_api" in str(check) and hasattr(estimator, "n_estimators"):
        return False
    return estimator.solver != "lbfgs" or "sample_weight_equivalence_on_dense" in str(check)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the checks provoke them
@pytest.mark.parametrize(CHECKS[0], [pair for pair in CHECKS[1] if concerns(*pair)])
def test_the_checks_of_scikit_learn(estimator, check):
    """None is expected to fail. Those of the array API are seen to run, with SCIPY_ARRAY_API set."""
    check(estimator)


def test_the_array_api_checks_do_run():
    assert os.environ.get("SCIPY_ARRAY_API") == "1"
    assert sklearn.utils.get_tags(MLPClassifier()).array_api_support
    with sklearn.config_context(array_api_dispatch=True):
        assert sklearn.utils._array_api.get_namespace(np.ones(2))[1]


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


@pytest.mark.needs("xarray", "dask")
def test_arrays_of_xarray_have_names(monkeypatch):
    """Also those that stay outside memory."""
    import dask.array as da
    from xarray import DataArray

    for array in (X, da.from_array(X, chunks=(50, 4))):
        table = DataArray(array, {"part": [*"abcd"]}, ["flower", "part"])
        model, plain = MLPRegressor(**FEW).fit(table, Y), MLPRegressor(**FEW).fit(X, Y)
        assert model.feature_names_in_.tolist() == [*"abcd"]
        assert_array_equal(model.predict(table), plain.predict(X))
        with pytest.raises(ValueError, match="The feature names should match those that were passed during f"):
            model.predict(table[:, ::-1])
        monkeypatch.setattr("xpnet.data.conversion.LEAST_BYTES", 0)


@pytest.mark.needs("dask")
def test_arrays_of_dask_become_numpy_arrays():
    import dask.array as da

    x, y = da.from_array(X, chunks=(50, 4)), da.from_array(Y, chunks=50)
    for make in (
        lambda: MLPRegressor(**FEW),
        lambda: MLPEnsembleClassifier(**FEW, n_estimators=2),
        lambda: MLPSearchCV(MLPClassifier(**FEW), {"alpha": [0.1]}, cv=2),
    ):
        of_dask, of_numpy = make().fit(x, y, sample_weight=da.ones(150)), make().fit(X, Y)
        for inputs in (x, x[x[:, 0] > 0]):  # whose number of rows Dask does not know
            assert type(of_dask.predict(inputs)) is np.ndarray
            assert_allclose(of_dask.predict(inputs), of_numpy.predict(X), rtol=1e-9)
        assert of_dask.score(x, y) == pytest.approx(of_numpy.score(X, Y), rel=1e-9)
    nets = [Network([4, 3], task="classification", seed=0) for _ in range(2)]
    for net, data in zip(nets, [(x, y), (X, Y)]):
        net.train(data, epochs=1, test_data=data, progress=False)
    assert_allclose(nets[0].predict_proba(x), nets[1].predict_proba(X), rtol=1e-5)


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
    assert_array_equal(classifier.predict_proba(x[200:]), before)
    classifier.network_.calibrate((x[200:], np.searchsorted(classifier.classes_, labels[200:])))
    ours = classifier.predict_proba(x[200:])
    assert_allclose(ours, expected, rtol=1e-5)
    assert log_loss(labels[200:], ours) < 0.95 * log_loss(labels[200:], before)
    assert_array_equal(classifier.predict(x), classifier.classes_[classifier.predict_proba(x).argmax(axis=1)])
    assert_array_equal(pickle.loads(pickle.dumps(classifier)).predict_proba(x[200:]), ours)


class Own:
    """An activation of the user's own."""

    name = "own"

    def value(self, z, xp):
        return xp.tanh(z)

    def pullback(self, g, z, a, xp):
        return g * (1.0 - a * a)


class OwnOptimizer(SGD):
    """An optimizer that no file can hold."""


@pytest.mark.parametrize(
    "make",
    [
        lambda: MLPClassifier(**SMALL, dropout=0.1, standardize=True),
        lambda: MLPEnsembleClassifier(**SMALL, n_estimators=2, solver=Clip(AdamW(weight_decay=0.1), 1.0)),
        lambda: MLPRegressor(**SMALL, activation=[Own()]),
        lambda: MLPClassifier(**SMALL, solver=OwnOptimizer(momentum=0.5)),
    ],
)
def test_a_pickle_goes_on_bit_for_bit(make):
    est = make().fit(X, Y)
    again = pickle.loads(pickle.dumps(est))
    for one in (est, again):
        one.partial_fit(X, Y)
    assert_array_equal(again.predict(X), est.predict(X))


def test_settings_of_an_optimizer_are_parameters():
    estimator = MLPRegressor(**SMALL, solver=Clip(AdamW(weight_decay=0.1), 1.0), learning_rate=Cosine(0.1))
    parameters = estimator.get_params()
    assert (parameters["solver__optimizer__weight_decay"], parameters["learning_rate__peak"]) == (0.1, 0.1)
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
    pipeline = make_pipeline(MLPClassifier(**FEW, solver=AdamW()))
    search = MLPSearchCV(pipeline, {"mlpclassifier__solver__weight_decay": [0.0, 10.0]}, cv=2).fit(X, Y)
    assert len({*search.cv_results_["mean_test_score"]}) == 2


@pytest.mark.needs("skops")
def test_skops_asks_about_names_of_xpnet():
    import skops.io

    pipeline = make_pipeline(StandardScaler(), MLPEnsembleClassifier(**SMALL, n_estimators=2)).fit(X, Y)
    content = skops.io.dumps(pipeline)
    types = skops.io.get_untrusted_types(data=content)
    assert all(name.startswith("xpnet.") for name in types)
    assert_array_equal(skops.io.loads(content, trusted=types).predict(X), pipeline.predict(X))


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_a_pipeline_transforms_validation_data(kind):
    """As for their gradient boosting: X_val is routed to the network, and transformed on its way."""
    train, val, weight = np.flatnonzero(np.arange(150) % 3), np.arange(0, 150, 3), np.linspace(0.5, 1.5, 50)
    x = X * [1.0, 10.0, 100.0, 1000.0]
    est, plain = (kind(**SMALL, early_stopping=True) for _ in range(2))
    with sklearn.config_context(enable_metadata_routing=True):
        est.set_fit_request(X_val=True, y_val=True, sample_weight_val=True)
        pipeline = make_pipeline(StandardScaler(), est, transform_input=["X_val"])
        pipeline.fit(x[train], Y[train], X_val=x[val], y_val=Y[val], sample_weight_val=weight)
    scaler = StandardScaler().fit(x[train])
    plain.fit(
        scaler.transform(x[train]), Y[train], X_val=scaler.transform(x[val]), y_val=Y[val], sample_weight_val=weight
    )
    assert pipeline[-1].validation_scores_ == plain.validation_scores_
    assert pipeline[-1].best_validation_score_ > 0.8
    assert_array_equal(pipeline[-1].coefs_[0], plain.coefs_[0])
