"""Ensembles as estimators: each member is the estimator of one network that it would be alone."""

import copy
import pickle
import re
import sys
import warnings
from typing import Any

import host_cupy
import numpy as np
import pytest
from helpers import PLACES
from scipy import sparse

pytest.importorskip("sklearn", reason="the estimators need scikit-learn")

import sklearn
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from test_estimators import host, put
from test_estimators_everywhere import lies

from xpnet import L1, SGD, AdamW, Callback, Clip, Cosine, CSVLog, EarlyStopping, Ensemble
from xpnet.estimators import MLPClassifier, MLPEnsembleClassifier, MLPEnsembleRegressor, MLPRegressor

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.not_on("jax"),  # where the ensembles behind them are tested
]

RNG = np.random.default_rng(0)
X = RNG.standard_normal((60, 5))
SCORES = X @ RNG.standard_normal((5, 3))
SPARSE = sparse.csr_matrix(X * (np.abs(X) > 0.5))
WEIGHT = RNG.uniform(0.5, 2.0, 60)
SOME = np.where(np.arange(60) % 4, WEIGHT, 0.0)  # every fourth example counts nothing
TARGETS: dict[str, Any] = {
    "three": SCORES.argmax(axis=1),
    "two": (SCORES[:, 0] > 0).astype(int),
    "labels": (SCORES > 0).astype(int),
    "names": np.array(["a", "b", "c"])[SCORES.argmax(axis=1)],
    "single": np.zeros(60, int),
    "number": SCORES[:, 0],
    "numbers": SCORES[:, :2],
    "counts": np.round(np.exp(SCORES[:, 0] / 4)),
}
THREE, NUMBER = TARGETS["three"], TARGETS["number"]
SMALL: dict[str, Any] = {"hidden_layer_sizes": (6,), "max_iter": 5, "batch_size": 16}
MEMBERS: dict[str, Any] = {"n_estimators": 3, "random_state": 0}
STOPS = {"n_iter_no_change": 2, "max_iter": 15, "learning_rate_init": 0.05, "tol": 0.01}
ADAPTIVE = {"n_iter_no_change": 1, "tol": 1.0, "max_iter": 30}  # until the learning rate is too small
VALIDATION = {"X_val": X[:20], "y_val": THREE[:20], "sample_weight_val": WEIGHT[:20]}

CASES: dict[str, tuple[dict[str, Any], str, dict[str, Any]]] = {
    "two": ({}, "two", {}),
    "poisson": ({"loss": "poisson"}, "counts", {}),
    "gaussian": ({"loss": "gaussian", "early_stopping": "loss", **STOPS}, "numbers", {}),
    "invscaling": ({"solver": "sgd", "learning_rate_init": 0.1, "learning_rate": "invscaling"}, "number", {}),
    "adaptive": ({"solver": "sgd", "learning_rate": "adaptive", **ADAPTIVE}, "two", {}),
    "lbfgs": ({"solver": "lbfgs", "activation": "tanh"}, "numbers", {}),
    "optimizer": ({"solver": Clip(AdamW(), 1.0), "learning_rate": Cosine(0.1)}, "three", {}),
    "penalty": ({"solver": L1(SGD(momentum=0.5), 1e-3), "activation": "tanh"}, "labels", {}),
    "of each label": ({"class_weight": [{0: 1.0, 1: 2.0}, {0: 3.0, 1: 1.0}, {0: 1.0, 1: 1.0}]}, "labels", {}),
    "given": ({"early_stopping": True, **STOPS}, "three", VALIDATION),
    "zeros": ({"early_stopping": True, **STOPS}, "three", {"sample_weight": SOME}),
    "zeros one by one": ({"batch_size": 1, "max_iter": 2, "alpha": 5.0}, "number", {"sample_weight": SOME}),
    "balanced": ({"class_weight": "balanced", "early_stopping": True}, "two", {"sample_weight": WEIGHT}),
    "dropout": ({"hidden_layer_sizes": (6, 4), "activation": ["tanh", "elu"], "dropout": [0.1, 0.3, 0.5]}, "three", {}),
    "auto": ({"batch_size": "auto", "hidden_layer_sizes": ()}, "number", {}),
    "float32": ({"dtype": "float32"}, "three", {}),
}
CLIPPED = "ignore:Got `batch_size` less than 1 or larger than sample size"


class Start(Callback):
    """Remembers the initial weights."""

    layers: list[np.ndarray]

    def on_train_begin(self, training):
        view = training.net.value
        with view.scope():
            self.layers = [np.array(view.backend.to_numpy(x)) for layer in training.net.state.layers for x in layer]


class Interrupt(Callback):
    """Ctrl-C at the end of an epoch."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_epoch_end(self, logs):
        if logs["epoch"] == self.epoch:
            raise KeyboardInterrupt


class Explode(Callback):
    """Lets the second member, and no other, diverge in its third epoch."""

    copies = 0

    def __deepcopy__(self, memo):
        new = type(self)()
        new.number = Explode.copies
        Explode.copies += 1
        return new

    def on_train_begin(self, training):
        self.training = training

    def on_epoch_end(self, logs):
        if self.number == 1 and logs["epoch"] == 2:
            self.training.lr_scale = 1e300


@pytest.fixture(autouse=True)
def no_copies(monkeypatch):
    monkeypatch.setattr(Explode, "copies", 0)


def kinds(y: Any) -> tuple[Any, Any]:
    """The estimators for targets: of one network, and of several."""
    is_number = np.asarray(y).dtype.kind == "f"
    return (MLPRegressor, MLPEnsembleRegressor) if is_number else (MLPClassifier, MLPEnsembleClassifier)


def alone(ensemble: Any) -> list[Any]:
    """Estimators of one network with the parameters of the members."""
    kind = MLPRegressor if isinstance(ensemble, MLPEnsembleRegressor) else MLPClassifier
    names = kind().get_params()
    parameters = {name: value for name, value in ensemble.get_params(deep=False).items() if name in names}
    return [
        kind(**{**copy.deepcopy(parameters), "random_state": member.random_state}) for member in ensemble.estimators_
    ]


def assert_members(ensemble: Any, singles: list[Any], tolerance: float = 1e-9) -> None:
    """Every fitted attribute of every member is that of an estimator that was fitted alone."""
    assert len({member.random_state for member in ensemble.estimators_}) == len(singles) == len(ensemble.estimators_)
    for member, single in zip(ensemble.estimators_, singles):
        assert {name for name in vars(member) if name.endswith("_")} == {n for n in vars(single) if n.endswith("_")}
        for name in [*vars(single), "coefs_", "intercepts_"]:
            mine, other = getattr(member, name), getattr(single, name)
            if name in ("coefs_", "intercepts_"):
                for a, b in zip(mine, other, strict=True):
                    np.testing.assert_allclose(host(a), host(b), rtol=tolerance, atol=tolerance)
            elif name.endswith("_") and name != "network_" and other is not None:
                mine, other = np.asarray(mine), np.asarray(other)
                if mine.dtype.kind == "U":
                    assert mine.tolist() == other.tolist()
                else:
                    np.testing.assert_allclose(mine, other, rtol=tolerance, atol=tolerance, err_msg=name)


def make(y: Any = THREE, **parameters: Any) -> Any:
    return kinds(y)[1](**{**SMALL, **MEMBERS, **parameters})


# Members


QUICK = ("two", "of each label", "gaussian", "invscaling", "lbfgs", "optimizer", "given", "zeros", "dropout")
FROM_SPARSE = [f"sparse {case}" for case in ("zeros", "lbfgs")]


@pytest.mark.filterwarnings(CLIPPED)
@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=[] if case in QUICK else pytest.mark.slow) for case in (*CASES, *FROM_SPARSE)]
)
def test_members_are_the_estimators_that_each_would_be_alone(case):
    x, case = SPARSE if case.startswith("sparse ") else X, case.removeprefix("sparse ")
    parameters, y, given = CASES[case]
    y, begins = TARGETS[y], parameters.get("solver") != "lbfgs"
    ensemble = make(y, **parameters, callbacks=[Start()] if begins else [])
    ensemble.fit(x, y, **given)
    singles = [single.fit(x, y, **given) for single in alone(ensemble)]
    assert_members(ensemble, singles, 1e-3 if parameters.get("dtype") == "float32" else 1e-9)
    assert ensemble.n_iter_ == max(single.n_iter_ for single in singles)
    for member, single in zip(ensemble.estimators_, singles):
        for mine, other in zip(member.callbacks, single.callbacks, strict=True):
            assert [w.dtype for w in mine.layers] == [w.dtype for w in other.layers]
            assert all(np.array_equal(a, b) for a, b in zip(mine.layers, other.layers, strict=True))


@pytest.mark.not_on("numpy")  # the subject of the test before
@pytest.mark.parametrize("case", ["gaussian", "zeros", "dropout", "lbfgs", "two"])
def test_on_every_backend(case, place):
    parameters, y, given = CASES[case]
    y, x = put(place, TARGETS[y]), put(place, X)
    ensemble = make(TARGETS[CASES[case][1]], **parameters).fit(x, y, **given)
    assert_members(ensemble, [single.fit(x, y, **given) for single in alone(ensemble)])
    assert lies(ensemble.predict(x), place)


@pytest.mark.not_on(host_cupy.NAME)  # mean and std of CuPy need a driver
@pytest.mark.parametrize("y", ["three", "two", "numbers"])
@pytest.mark.on("jax")
def test_means_and_deviations_lie_where_x_lies(y, place):
    x, y = put(place, X), TARGETS[y]
    ensemble = make(y, hidden_layer_sizes=(), max_iter=1, batch_size=60).fit(x, put(place, y))
    members = ensemble.to(X).estimators_
    if isinstance(ensemble, MLPEnsembleRegressor):
        results = ensemble.predict(x, return_std=True)
        every = [member.predict(X) for member in members]
    else:
        results = ensemble.predict_proba(x, return_std=True)
        every = [member.predict_proba(X) for member in members]
        assert lies(ensemble.predict_log_proba(x), place)
    for result, expected in zip(results, (np.mean(every, axis=0), np.std(every, axis=0))):
        assert lies(result, place)
        assert host(result).dtype == "float64"
        np.testing.assert_allclose(host(result), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    "parameters",
    [
        {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.1, "dropout": 0.2},
        {"class_weight": {0: 2.0}},
        {"solver": Clip(AdamW(), 0.1)},
    ],
    ids=["invscaling", "class weights", "optimizer"],
)
@pytest.mark.slow
def test_partial_fit_goes_on_as_each_member_would(parameters):
    ensemble, classes = make(**parameters), [0, 1, 2]
    for rows in (slice(0, 40), slice(20, 60), slice(10, 50)):
        ensemble.partial_fit(X[rows], THREE[rows], WEIGHT[rows], classes)
    singles = alone(ensemble)
    for rows in (slice(0, 40), slice(20, 60), slice(10, 50)):
        for single in singles:
            single.partial_fit(X[rows], THREE[rows], WEIGHT[rows], classes)
    assert_members(ensemble, singles)
    assert [len(member.loss_curve_) for member in ensemble.estimators_] == [3, 3, 3]


def test_partial_fit_of_a_regressor_goes_on_after_fit():
    ensemble = make(NUMBER).fit(X, NUMBER).partial_fit(X, NUMBER, SOME)
    assert_members(ensemble, [single.fit(X, NUMBER).partial_fit(X, NUMBER, SOME) for single in alone(ensemble)])


@pytest.mark.parametrize("case", ["adaptive", "zeros", "lbfgs"])
@pytest.mark.slow
def test_warm_start_goes_on_as_each_member_would(case):
    parameters, y, given = CASES[case]
    y = TARGETS[y]
    ensemble = make(y, **parameters, warm_start=True).fit(X, y, **given)
    before = [member.coefs_[0] for member in ensemble.estimators_]
    first = ensemble.estimators_
    ensemble.fit(X, y, **given)
    assert_members(ensemble, [single.fit(X, y, **given).fit(X, y, **given) for single in alone(ensemble)])
    for old, member, weights in zip(first, ensemble.estimators_, before):  # those of the first fit have not changed
        assert old is not member
        np.testing.assert_array_equal(old.coefs_[0], weights)


def test_a_random_state_gives_other_members_each_time():
    ensemble = make(random_state=np.random.RandomState(0)).fit(X, THREE)
    seeds = [member.random_state for member in ensemble.estimators_]
    assert seeds == [member.random_state for member in make(random_state=0).fit(X, THREE).estimators_]
    assert seeds != [member.random_state for member in ensemble.fit(X, THREE).estimators_]


def test_a_single_member_is_possible():
    ensemble = make(n_estimators=1).fit(X, THREE)
    assert_members(ensemble, [single.fit(X, THREE) for single in alone(ensemble)])
    mean, std = ensemble.predict_proba(X, return_std=True)
    np.testing.assert_array_equal(mean, ensemble.estimators_[0].predict_proba(X))
    assert (std == 0).all()


# Predictions


@pytest.mark.parametrize("y", ["three", "two", "names", "single"])
def test_classes_are_predicted_by_the_mean_of_the_probabilities(y):
    y = TARGETS[y]
    ensemble = make().fit(X, y)
    every = np.array([member.predict_proba(X) for member in ensemble.estimators_])
    mean, std = ensemble.predict_proba(X, return_std=True)
    assert mean.shape == std.shape == (60, max(2, len(ensemble.classes_)))
    np.testing.assert_allclose(mean, every.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(std, every.std(axis=0), rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(ensemble.predict_proba(X), mean, rtol=1e-12)
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(ensemble.predict_log_proba(X), np.log(mean))
    chosen = mean[:, : len(ensemble.classes_)].argmax(axis=1)
    np.testing.assert_array_equal(ensemble.predict(X), ensemble.classes_[chosen])
    assert ensemble.predict(X).dtype == y.dtype
    assert ensemble.score(X, y, WEIGHT) == pytest.approx(np.average(ensemble.predict(X) == y, weights=WEIGHT))


def test_several_labels():
    y = TARGETS["labels"]
    ensemble = make().fit(X, y)
    mean, std = ensemble.predict_proba(X, return_std=True)
    np.testing.assert_array_equal(ensemble.predict(X), mean > 0.5)
    assert mean.shape == std.shape == y.shape
    twin = make().fit(X, sparse.csr_matrix(y))
    np.testing.assert_array_equal(twin.predict(X).toarray(), ensemble.predict(X))


@pytest.mark.parametrize("y", ["number", "numbers"])
def test_numbers_are_predicted_by_the_mean(y):
    y = TARGETS[y]
    ensemble = make(y).fit(X, y)
    every = np.array([member.predict(X) for member in ensemble.estimators_])
    mean, std = ensemble.predict(X, return_std=True)
    assert mean.shape == std.shape == y.shape
    np.testing.assert_allclose(mean, every.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(std, every.std(axis=0), rtol=1e-9, atol=1e-15)
    np.testing.assert_array_equal(ensemble.predict(X), mean)
    assert ensemble.n_outputs_ == (1 if y.ndim == 1 else 2)


def test_learnt_and_found_deviations_add_up():
    ensemble = make(NUMBER, loss="gaussian").fit(X, NUMBER)
    means, deviations = np.moveaxis([member.predict(X, return_std=True) for member in ensemble.estimators_], 1, 0)
    mean, std = ensemble.predict(X, return_std=True)
    np.testing.assert_allclose(mean, means.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(std, np.sqrt((deviations**2).mean(axis=0) + means.var(axis=0)), rtol=1e-12)


def test_the_networks_as_an_ensemble():
    ensemble = make().fit(X, THREE)
    several = ensemble.ensemble_
    assert isinstance(several, Ensemble)
    assert all(several[k] is member.network_ for k, member in enumerate(ensemble.estimators_))
    np.testing.assert_allclose(several.predict_proba(X), ensemble.predict_proba(X), rtol=1e-12)
    mean, std = several.jacobian(X[:4], return_std=True)
    assert mean.shape == std.shape == (4, 3, 5)
    np.testing.assert_allclose(mean, np.mean([m.network_.jacobian(X[:4]) for m in ensemble.estimators_], axis=0))


# Bootstrap


@pytest.mark.parametrize("y", ["three", "two", "number"])
def test_bootstrap_draws_none_of_the_rows_that_are_held_out(y):
    """A member that stops early learns as one that weighs each of the other rows by how often it was drawn."""
    settings = {"batch_size": "auto", "shuffle": False, "alpha": 0.0, "early_stopping": "loss"}
    ensemble, y = make(TARGETS[y], bootstrap=True, validation_fraction=0.25, **settings), TARGETS[y]
    for member in ensemble.fit(X, y).estimators_:
        draws = np.random.RandomState(member.random_state)
        draws.uniform(size=sum(x.size for x in [*member.coefs_, *member.intercepts_]))  # the initial weights come first
        stratify = y if y is TARGETS["two"] else None
        rows, held_out = train_test_split(np.arange(60), test_size=0.25, random_state=draws, stratify=stratify)
        times = np.bincount(rows[draws.randint(45, size=45)], minlength=60)
        single = clone(member).fit(X, y, times, X_val=X[held_out], y_val=y[held_out])
        np.testing.assert_allclose(member.loss_curve_, single.loss_curve_, rtol=1e-9)
        np.testing.assert_allclose(member.validation_loss_curve_, single.validation_loss_curve_, rtol=1e-9)


def test_bootstrap_is_bagging():
    """A member that trains on rows drawn with replacement is one that weighs each row by how often it was drawn."""
    ensemble = make(NUMBER, bootstrap=True, solver="lbfgs", alpha=0.0, max_iter=3).fit(X, NUMBER)
    for member in ensemble.estimators_:
        draws = np.random.RandomState(member.random_state)
        start = [draws.uniform(size=(n_in, n_out)) for n_in, n_out in ((5, 6), (1, 6), (6, 1), (1, 1))]
        assert len(start) == 4  # the numbers of the initial weights come first
        times = np.bincount(draws.randint(60, size=60), minlength=60)
        single = MLPRegressor(**{**SMALL, "solver": "lbfgs", "alpha": 0.0, "max_iter": 3})
        single.set_params(random_state=member.random_state).fit(X, NUMBER, times)
        np.testing.assert_allclose(member.coefs_[0], single.coefs_[0], rtol=1e-6)


@pytest.mark.parametrize("x", [X, SPARSE], ids=["dense", "sparse"])
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_bootstrap_without_weights_above_0(solver, x):
    weight = np.zeros(60)
    weight[3] = 1.0
    ensemble = make(bootstrap=True, solver=solver, n_estimators=8)
    message = "sample_weight and class_weight leave every example of a bootstrap sample with weight zero"
    with pytest.raises(ValueError, match=message):
        ensemble.fit(x, THREE, weight)
    assert not hasattr(ensemble, "estimators_")


def test_bootstrap_and_weights_of_zero():
    ensemble = make(bootstrap=True, early_stopping=True).fit(X, THREE, SOME)
    assert np.isfinite([member.loss_ for member in ensemble.estimators_]).all()


# In scikit-learn


# Ten steps of a large rate are enough for the accuracy that some of them ask for
CHECKED: dict[str, Any] = {"hidden_layer_sizes": (10,), "learning_rate_init": 0.2, "max_iter": 10, "n_estimators": 2}
every_check = parametrize_with_checks([MLPEnsembleClassifier(**CHECKED), MLPEnsembleRegressor(**CHECKED)]).mark


# What they share with the estimators of one network, which pass all checks
ABOUT_ARGUMENTS = ("array_api", "sparse", "memmap", "not_an_array", "nan_inf", "dtypes", "y_2d", "check_sample_weights")
ABOUT_ARGUMENTS += ("class_weight", "check_classifiers_classes", "multilabel", "pipeline_consistency")
ABOUT_REGRESSORS = ("regressor", "param", "mixin")


def repeats(estimator: Any, check: Any) -> bool:
    """Whether a check is about code that other checks reach."""
    if any(word in str(check) for word in ABOUT_ARGUMENTS):
        return True
    return isinstance(estimator, MLPEnsembleRegressor) and not any(word in str(check) for word in ABOUT_REGRESSORS)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the checks provoke them
@pytest.mark.parametrize(
    every_check.args[0],
    [(estimator, check) for estimator, check in every_check.args[1] if not repeats(estimator, check)],
    ids=every_check.kwargs["ids"],
)
def test_the_checks_of_scikit_learn(estimator, check):
    """None is expected to fail. Arrays of other libraries are the subject of `test_on_every_backend`."""
    check(estimator)


@pytest.mark.parametrize("y", [THREE, NUMBER], ids=["classes", "numbers"])
def test_pickles_clones_and_copies(y):
    ensemble = make(y, activation="elu(0.5)", warm_start=True).fit(X, y)
    for twin in (pickle.loads(pickle.dumps(ensemble)), copy.deepcopy(ensemble)):
        np.testing.assert_array_equal(twin.predict(X), ensemble.predict(X))
        twin.partial_fit(X, y)
    np.testing.assert_array_equal(twin.predict(X), copy.deepcopy(ensemble).partial_fit(X, y).predict(X))
    new = clone(ensemble)
    assert new.get_params() == ensemble.get_params()
    assert not hasattr(new, "estimators_")
    new.set_params(n_estimators=2, bootstrap=True, alpha=1.0)
    assert (new.n_estimators, new.bootstrap, new.alpha) == (2, True, 1.0)
    with pytest.raises(ValueError, match="Invalid parameter 'members'"):
        new.set_params(members=3)


@pytest.mark.parametrize(
    ("kind", "single"), [(MLPEnsembleClassifier, MLPClassifier), (MLPEnsembleRegressor, MLPRegressor)]
)
def test_parameters_are_those_of_one_network_and_two_more(kind, single):
    mine, other = kind().get_params(), single().get_params()
    assert mine == {**other, "n_estimators": 16, "bootstrap": False}
    assert repr(kind(n_estimators=3, bootstrap=True)) == f"{kind.__name__}(bootstrap=True, n_estimators=3)"
    with pytest.raises(TypeError, match=f"members=3 is not an argument of {kind.__name__} .*'n_estimators'"):
        kind(members=3)


def test_members_have_the_parameters_of_the_ensemble():
    ensemble = make(alpha=0.5, activation="tanh").fit(X, THREE)
    for member in ensemble.estimators_:
        theirs = {**member.get_params(), "random_state": 0, "callbacks": ()}
        assert theirs.items() <= ensemble.get_params().items()


def test_before_a_fit():
    ensemble = make()
    for call in (
        lambda: ensemble.predict(X),
        lambda: ensemble.predict_proba(X, return_std=True),
        lambda: ensemble.ensemble_,
        lambda: ensemble.to(X),
        lambda: MLPEnsembleRegressor().predict(X, return_std=True),
    ):
        with pytest.raises(NotFittedError, match="is not fitted yet"):
            call()
    assert not hasattr(ensemble, "n_iter_")
    assert not hasattr(ensemble, "classes_")


def test_names_of_the_features():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=list("vwxyz"))
    ensemble = make(TARGETS["names"]).fit(frame, pandas.Series(TARGETS["names"]))
    assert list(ensemble.feature_names_in_) == list("vwxyz")
    assert ensemble.n_features_in_ == 5
    assert all(list(member.feature_names_in_) == list("vwxyz") for member in ensemble.estimators_)
    assert ensemble.ensemble_.feature_names == tuple("vwxyz")
    with pytest.raises(ValueError, match="x has its columns in another order"):
        ensemble.ensemble_.predict(frame[list("wvxyz")])
    np.testing.assert_array_equal(ensemble.predict(frame), make().fit(X, TARGETS["names"]).predict(X))
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        ensemble.predict(X)
    ensemble.fit(X, THREE)
    assert not hasattr(ensemble, "feature_names_in_")
    assert ensemble.ensemble_.feature_names is None
    np.testing.assert_array_equal(ensemble.classes_, [0, 1, 2])


def test_in_a_pipeline_and_cross_validated():
    pipeline = make_pipeline(StandardScaler(), make(NUMBER)).fit(X, NUMBER)
    mean, std = pipeline.predict(X, return_std=True)
    assert mean.shape == std.shape == (60,)
    assert cross_val_score(make(n_estimators=2, max_iter=2), X, THREE, cv=2).shape == (2,)


def test_sample_weight_is_routed():
    with sklearn.config_context(enable_metadata_routing=True):
        ensemble = make().set_fit_request(sample_weight=True)
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        pipeline = make_pipeline(scaler, ensemble).fit(X, THREE, sample_weight=WEIGHT)
    plain = make().fit(StandardScaler().fit_transform(X), THREE, WEIGHT)
    np.testing.assert_array_equal(pipeline[-1].predict_proba(X), plain.predict_proba(X))


OTHERS = [name for name in ("torch", "strict-device1") if name in PLACES]


@pytest.mark.parametrize("name", OTHERS)
def test_to_moves_all_members(name):
    pytest.importorskip(name.partition("-")[0].replace("strict", "array_api_strict"))
    place = PLACES[name]()
    ensemble = make().fit(X, THREE)
    x = put(place, X)
    with pytest.raises(ValueError, match=r"Inputs passed to MLPEnsembleClassifier\.predict\(\) must use the same name"):
        ensemble.predict(x)
    moved = ensemble.to(x)
    assert lies(moved.predict_proba(x), place)
    assert all(lies(member.coefs_[0], place) for member in moved.estimators_)
    np.testing.assert_allclose(host(moved.predict_proba(x)), ensemble.predict_proba(X), rtol=1e-9)
    moved.partial_fit(x, THREE)
    again = pickle.loads(pickle.dumps(moved))
    assert lies(again.predict(x), place)
    np.testing.assert_allclose(
        host(moved.predict_proba(x)), copy.deepcopy(ensemble).partial_fit(X, THREE).predict_proba(X), rtol=1e-9
    )
    assert isinstance(ensemble.predict(X), np.ndarray)
    with pytest.raises(TypeError, match=r"to\(X\) takes an array that lies where the estimator is to go, not 'cuda'"):
        ensemble.to("cuda")


# Callbacks, Ctrl-C and divergence


def test_callbacks_are_copied_for_each_member():
    stop = EarlyStopping(patience=1, monitor="cost", min_delta=0.3)
    ensemble = make(callbacks=[stop], max_iter=40, learning_rate_init=0.05).fit(X, THREE)
    own = [member.callbacks[0] for member in ensemble.estimators_]
    assert len({id(callback) for callback in [stop, *own]}) == 4
    assert vars(stop) == vars(EarlyStopping(patience=1, monitor="cost", min_delta=0.3))
    assert ensemble.callbacks == [stop]
    stopped = [member.n_iter_ for member in ensemble.estimators_]
    assert stopped == [single.fit(X, THREE).n_iter_ for single in alone(ensemble)]
    assert len(set(stopped)) > 1


def test_callbacks_that_write_to_one_place_are_refused(tmp_path):
    log = CSVLog(tmp_path / "log.csv")
    message = (
        f"callbacks holds {log!r}, and all members would write to the same place; leave it out, or use xpnet.Ensemble, "
        "whose train takes a function that makes the callbacks of each member"
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        make(callbacks=[log]).fit(X, THREE)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("epoch", [1, 3])
def test_an_interrupt_keeps_what_is_there(epoch):
    ensemble = make(callbacks=[Interrupt(epoch)], early_stopping=True)
    with pytest.warns(UserWarning, match=r"^Training interrupted by user\.$"):
        ensemble.fit(X, THREE)
    assert [member.n_iter_ for member in ensemble.estimators_] == [epoch, epoch - 1, epoch - 1]
    assert ensemble.n_iter_ == epoch
    assert np.isfinite(ensemble.predict_proba(X)).all()
    with pytest.warns(UserWarning, match="Training interrupted"):
        single = alone(ensemble)[0].fit(X, THREE)
    np.testing.assert_allclose(ensemble.estimators_[0].coefs_[0], single.coefs_[0], rtol=1e-9)


def test_a_member_that_diverges_is_named_and_nothing_changes():
    ensemble = make(NUMBER, solver="sgd", learning_rate_init=1e-3).fit(X, NUMBER)
    before = dict(vars(ensemble))
    ensemble.set_params(callbacks=[Explode()])
    message = (
        r"^Solver produced non-finite parameter weights\. The input data may contain large values and need to be "
        r"preprocessed: training diverged in epoch 3, steps 9 to \d+, at lr=1e\+297: .* "
        r"\(this is member 1 of 3\)$"
    )
    with pytest.raises(ValueError, match=message):
        ensemble.fit(X, NUMBER)
    assert {**vars(ensemble), "callbacks": ()} == before


def test_with_early_stopping_a_member_that_diverges_goes_back():
    ensemble = make(NUMBER, solver="sgd", learning_rate_init=1e-3, early_stopping=True, callbacks=[Explode()])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ensemble.fit(X, NUMBER)
    messages = [str(warning.message) for warning in caught if issubclass(warning.category, ConvergenceWarning)]
    assert [m for m in messages if m.startswith("Stopped, and went back to the best weights: training diverged")]
    assert [member.n_iter_ for member in ensemble.estimators_] == [5, 3, 5]
    assert np.isfinite(ensemble.predict(X)).all()
    assert np.isnan(ensemble.estimators_[1].loss_)


def test_a_bar_is_shown_once(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    make(progress=True).fit(X, THREE)
    assert capsys.readouterr().err.count("\r  0%|") == 1
    make(progress=True, n_estimators=1).fit(X, THREE)
    assert capsys.readouterr().err.count("\r  0%|") == 1


@pytest.mark.parametrize("kind", [MLPEnsembleClassifier, MLPEnsembleRegressor])
def test_far_too_many_members_are_refused_before_memory_is_taken(kind):
    message = (
        r"^n_estimators=1000000000000 networks need about 2,328,306\.4 GiB, and this process may use .*; give fewer mem"
    )
    with pytest.raises(MemoryError, match=message):
        kind(n_estimators=10**12).fit(X, NUMBER > 0)


# Bad input


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "none": ({"n_estimators": 0}, "n_estimators=0 must be a whole number of at least 1"),
    "negative": ({"n_estimators": -1}, "n_estimators=-1 must be a whole number of at least 1"),
    "fraction": ({"n_estimators": 1.5}, "n_estimators=1.5 must be a whole number of at least 1"),
    "word": ({"bootstrap": "yes"}, "bootstrap='yes' must be True or False"),
    "number": ({"bootstrap": 1}, "bootstrap=1 must be True or False"),
    "alpha": ({"alpha": -1}, "alpha=-1 must be a finite number of at least 0"),
    "solver": ({"solver": "adamm"}, "solver='adamm'"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_parameters(case):
    parameters, message = BAD[case]
    with pytest.raises(ValueError, match=re.escape(message)):
        make(**parameters).fit(X, THREE)


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_another_number_of_members_cannot_go_on(method):
    ensemble = make(warm_start=True).fit(X, THREE)
    ensemble.set_params(n_estimators=4)
    message = (
        "n_estimators=4, and the estimator was fitted with 3 members; give the same number to continue, or "
        "warm_start=False to start anew"
    )
    with pytest.raises(ValueError, match=message):
        getattr(ensemble, method)(X, THREE)
    assert len(ensemble.estimators_) == 3
    assert len(ensemble.set_params(warm_start=False).fit(X, THREE).estimators_) == 4


def test_other_data_cannot_go_on():
    ensemble = make(warm_start=True).fit(X, THREE)
    with pytest.raises(ValueError, match="X has 3 features, but MLPEnsembleClassifier is expecting 5"):
        ensemble.fit(X[:, :3], THREE)
    with pytest.raises(ValueError, match="warm_start can only be used where `y` has the same classes"):
        ensemble.fit(X, TARGETS["two"])
