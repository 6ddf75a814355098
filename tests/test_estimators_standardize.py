"""Estimators that standardize: as scikit-learn's own with a StandardScaler before it, and one for y."""

from typing import Any

import numpy as np
import pytest
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
SMALL: dict[str, Any] = {"hidden_layer_sizes": (8,), "batch_size": 50, "max_iter": 5, "alpha": 0.0, "random_state": 0}
SOLVERS = pytest.mark.parametrize("parameters", [{}, {"early_stopping": True}, {"solver": "lbfgs"}], ids=str)
TWO_TARGETS = np.stack([PROGRESSION, 1000 - PROGRESSION**1.5], axis=1)


@SOLVERS
def test_a_classifier_standardizes_as_a_scaler_before_it_would(place, parameters):
    pipeline = make_pipeline(StandardScaler(), theirs.MLPClassifier(**SMALL, **parameters)).fit(WINE, CULTIVAR)
    x = put(place, WINE)
    classifier = MLPClassifier(**SMALL, **parameters, standardize=True, dtype="float64")
    classifier.fit(x, put(place, CULTIVAR))
    np.testing.assert_allclose(host(classifier.predict_proba(x)), pipeline.predict_proba(WINE), rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(classifier.loss_, pipeline[-1].loss_)


@pytest.mark.parametrize("y", [PROGRESSION, TWO_TARGETS], ids=["one target", "two targets"])
@SOLVERS
def test_a_regressor_standardizes_as_scalers_of_inputs_and_targets_would(place, parameters, y):
    pipeline = make_pipeline(StandardScaler(), theirs.MLPRegressor(**SMALL, **parameters))
    peer = TransformedTargetRegressor(pipeline, transformer=StandardScaler()).fit(DIABETES, y)
    x = put(place, DIABETES)
    regressor = MLPRegressor(**SMALL, **parameters, standardize=True, dtype="float64").fit(x, put(place, y))
    np.testing.assert_allclose(host(regressor.predict(x)), peer.predict(DIABETES), rtol=1e-7)
    np.testing.assert_allclose(regressor.loss_, peer.regressor_[-1].loss_)
    if "early_stopping" in parameters:
        np.testing.assert_allclose(regressor.validation_scores_, peer.regressor_[-1].validation_scores_)


@pytest.mark.parametrize("loss", ["poisson", "gaussian"])
def test_counts_stay_counts_and_standard_deviations_have_the_units_of_y(loss):
    regressor = MLPRegressor(loss, **{**SMALL, "max_iter": 60}, learning_rate_init=0.01, standardize=True)
    regressor.fit(DIABETES, PROGRESSION)
    assert regressor.score(DIABETES, PROGRESSION) > 0.4
    assert (regressor.network_.scaling.y_mean is None) == (loss == "poisson")
    if loss == "gaussian":
        mean, std = regressor.predict(DIABETES, return_std=True)
        assert 0.6 < (abs(PROGRESSION - mean) < std).mean() < 0.8


@SOLVERS
def test_sparse_inputs_give_the_network_of_dense_ones(parameters):
    regressor = MLPRegressor(**SMALL, **parameters, standardize=True)
    dense = regressor.fit(DIABETES, PROGRESSION).predict(DIABETES)
    matrix = sparse.csr_matrix(DIABETES)
    np.testing.assert_allclose(regressor.fit(matrix, PROGRESSION).predict(matrix), dense, rtol=1e-9)


def test_the_first_call_decides_on_the_units(place):
    half, rest = slice(None, 200), slice(200, None)
    regressor = MLPRegressor(**SMALL, standardize=True, warm_start=True)
    for method in (regressor.partial_fit, regressor.fit):
        method(put(place, DIABETES[half]), put(place, PROGRESSION[half]))
        first = host(regressor.network_.scaling.x_mean)
        method(put(place, DIABETES[rest]), put(place, PROGRESSION[rest]))
        np.testing.assert_array_equal(host(regressor.network_.scaling.x_mean), first)
    np.testing.assert_allclose(first[0], DIABETES[half].mean(axis=0), rtol=1e-6)


def test_members_of_an_ensemble_share_one_scaling_and_are_the_regressors_that_they_would_be_alone():
    ensemble = MLPEnsembleRegressor("gaussian", **SMALL, n_estimators=3, standardize=True).fit(DIABETES, PROGRESSION)
    for member in ensemble.estimators_:
        alone = MLPRegressor("gaussian", **{**SMALL, "random_state": member.random_state}, standardize=True)
        expected = alone.fit(DIABETES, PROGRESSION).predict(DIABETES)
        np.testing.assert_allclose(member.predict(DIABETES), expected, rtol=1e-9)
    again = ensemble.set_params(warm_start=True).fit(DIABETES + 1, PROGRESSION)
    np.testing.assert_allclose(again.estimators_[2].network_.scaling.x_mean[0], DIABETES.mean(axis=0))


@pytest.mark.parametrize("kind", [pytest.param("times", marks=pytest.mark.slow), "targets"])
def test_numbers_far_from_0_fit_float32_as_float64(place, kind):
    """All the ways to fit: epochs, L-BFGS, early stopping on validation data, partial_fit, bagging, sparse inputs."""
    x, y = (array[:120] for array in FAR[kind])
    own_x, own_y = put(place, x), put(place, y)
    found = []
    for dtype in ("float32", "float64"):
        options = {**SMALL, "max_iter": 3, "activation": "tanh", "standardize": True, "learning_rate_init": 0.02}
        options["dtype"] = dtype
        fits = [MLPRegressor(**options).fit(own_x, own_y), MLPRegressor(**options, early_stopping=True)]
        fits[1].fit(own_x, own_y, X_val=own_x, y_val=own_y)
        fits += [MLPRegressor(**options, warm_start=True).fit(own_x, own_y).partial_fit(own_x, own_y)]
        fits += [MLPEnsembleRegressor(**options, n_estimators=2, bootstrap=True).fit(own_x, own_y)]
        predicted = [host(fit.predict(own_x)) for fit in fits] + [np.array(fits[1].validation_scores_)]
        predicted.append(host(fits[-1].predict(own_x, return_std=True)[1]))
        if place.backend == "numpy":
            predicted += [MLPRegressor(**{**options, "solver": "lbfgs"}).fit(x, y).predict(x)]
            matrix = sparse.csr_matrix(x)
            predicted += [MLPRegressor(**options).fit(matrix, y).predict(matrix)]
            search = MLPSearchCV(MLPRegressor(**options), {"alpha": [0.1]}, cv=2).fit(x, y)
            predicted += [search.predict(x), search.cv_results_["mean_test_score"]]
        found.append(predicted)
    for single, double in zip(*found, strict=True):
        np.testing.assert_allclose(single, double, rtol=0, atol=3e-4)
