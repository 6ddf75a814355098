"""Estimators that standardize: as scikit-learn's own with a StandardScaler before it, and one for y."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

pytest.importorskip("sklearn", reason="the estimators need scikit-learn")

from sklearn import neural_network as theirs
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_diabetes, load_wine
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from test_estimators import host, put
from test_scaling import FAR

from xpnet.estimators import MLPClassifier, MLPEnsembleRegressor, MLPRegressor, MLPSearchCV

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.not_on("jax"),  # where the scaling of networks is tested
]

WINE, CULTIVAR = load_wine(return_X_y=True)
DIABETES, PROGRESSION = load_diabetes(return_X_y=True, scaled=False)
# No penalty: with several targets, scikit-learn does not divide it by their number in `loss_`, and xpnet does
SMALL = {"hidden_layer_sizes": (8,), "batch_size": 50, "max_iter": 5, "alpha": 0.0, "random_state": 0}
SOLVERS = pytest.mark.parametrize("parameters", [{}, {"early_stopping": True}, {"solver": "lbfgs"}], ids=str)
TWO_TARGETS = np.stack([PROGRESSION, 1000 - PROGRESSION**1.5], axis=1)


@SOLVERS
def test_a_classifier_standardizes_as_a_scaler_before_it_would(place, parameters):
    pipeline = make_pipeline(StandardScaler(), theirs.MLPClassifier(**SMALL, **parameters)).fit(WINE, CULTIVAR)
    x = put(place, WINE)
    classifier = MLPClassifier(**SMALL, **parameters, standardize=True, dtype="float64")
    classifier.fit(x, put(place, CULTIVAR))
    assert_allclose(host(classifier.predict_proba(x)), pipeline.predict_proba(WINE), rtol=1e-6, atol=1e-9)
    assert_allclose(classifier.loss_, pipeline[-1].loss_)


@pytest.mark.parametrize("y", [PROGRESSION, TWO_TARGETS], ids=["one target", "two targets"])
@SOLVERS
def test_a_regressor_standardizes_as_scalers_of_inputs_and_targets_would(place, parameters, y):
    pipeline = make_pipeline(StandardScaler(), theirs.MLPRegressor(**SMALL, **parameters))
    peer = TransformedTargetRegressor(pipeline, transformer=StandardScaler()).fit(DIABETES, y)
    x = put(place, DIABETES)
    regressor = MLPRegressor(**SMALL, **parameters, standardize=True, dtype="float64").fit(x, put(place, y))
    assert_allclose(host(regressor.predict(x)), peer.predict(DIABETES), rtol=1e-7)
    assert_allclose(regressor.loss_, peer.regressor_[-1].loss_)
    if "early_stopping" in parameters:
        assert_allclose(regressor.validation_scores_, peer.regressor_[-1].validation_scores_)


def test_counts_stay_counts():
    regressor = MLPRegressor("poisson", **{**SMALL, "max_iter": 60}, learning_rate_init=0.01, standardize=True)
    assert regressor.fit(DIABETES, PROGRESSION).score(DIABETES, PROGRESSION) > 0.4
    assert regressor.network_.scaling.y_mean is None


def test_the_first_call_decides_on_the_units(place):
    half, rest = slice(None, 200), slice(200, None)
    regressor = MLPRegressor(**SMALL, standardize=True, warm_start=True)
    for method in (regressor.partial_fit, regressor.fit):
        method(put(place, DIABETES[half]), put(place, PROGRESSION[half]))
        first = host(regressor.network_.scaling.x_mean)
        method(put(place, DIABETES[rest]), put(place, PROGRESSION[rest]))
        assert_array_equal(host(regressor.network_.scaling.x_mean), first)
    assert_allclose(first[0], DIABETES[half].mean(axis=0), rtol=1e-6)


def test_members_of_an_ensemble_share_one_scaling():
    ensemble = MLPEnsembleRegressor("gaussian", **SMALL, n_estimators=3, standardize=True, warm_start=True)
    ensemble.fit(DIABETES, PROGRESSION).fit(DIABETES + 1, PROGRESSION)
    for member in ensemble.estimators_:
        assert_allclose(member.network_.scaling.x_mean[0], DIABETES.mean(axis=0))


@pytest.mark.parametrize("kind", [pytest.param("times", marks=pytest.mark.slow), "targets"])
def test_numbers_far_from_0_fit_float32_as_float64(place, kind):
    """All the ways to fit: epochs, L-BFGS, early stopping on validation data, bagging, sparse inputs, searches."""
    x, y = (array[:120] for array in FAR[kind])
    own, found = (put(place, x), put(place, y)), []
    for dtype in ("float32", "float64"):
        options = {**SMALL, "max_iter": 3, "activation": "tanh", "standardize": True, "learning_rate_init": 0.02}
        options["dtype"] = dtype
        stopping = MLPRegressor(**options, early_stopping=True).fit(*own, X_val=own[0], y_val=own[1])
        bagged = MLPEnsembleRegressor(**options, n_estimators=2, bootstrap=True).fit(*own)
        predicted = [np.array(stopping.validation_scores_), *map(host, bagged.predict(own[0], return_std=True))]
        if place.backend == "numpy":
            predicted += [MLPRegressor(**{**options, "solver": "lbfgs"}).fit(x, y).predict(x)]
            predicted += [MLPRegressor(**options).fit(sparse.csr_matrix(x), y).predict(sparse.csr_matrix(x))]
            predicted += [MLPSearchCV(MLPRegressor(**options), {"alpha": [0.1]}, cv=2).fit(x, y).predict(x)]
        found.append(predicted)
    for single, double in zip(*found, strict=True):
        assert_allclose(single, double, rtol=0, atol=3e-4)
