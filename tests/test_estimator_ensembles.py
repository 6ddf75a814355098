"""Ensembles as estimators: each member is the estimator of one network that it would be alone."""

import copy
import pickle

import host_cupy
import numpy as np
import pytest
from helpers import PLACES, Interrupt
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

pytest.importorskip("sklearn", reason="the estimators need scikit-learn")

from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import train_test_split
from test_estimators import host, put
from test_estimators_everywhere import lies

from xpnet import AdamW, Callback, Clip, Cosine, CSVLog, EarlyStopping, Ensemble
from xpnet.estimators import MLPClassifier, MLPEnsembleClassifier, MLPEnsembleRegressor, MLPRegressor

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.not_on("jax"),  # where the ensembles behind them are tested
]

RNG = np.random.default_rng(0)
X = RNG.standard_normal((60, 5))
SCORES = X @ RNG.standard_normal((5, 3))
SOME = np.where(np.arange(60) % 4, RNG.uniform(0.5, 2.0, 60), 0.0)  # every fourth example counts nothing
THREE, TWO, LABELS = SCORES.argmax(axis=1), (SCORES[:, 0] > 0).astype(int), (SCORES > 0).astype(int)
NAMES, NUMBER, NUMBERS = np.array(["a", "b", "c"])[THREE], SCORES[:, 0], SCORES[:, :2]
SMALL = {"hidden_layer_sizes": (6,), "max_iter": 5, "batch_size": 16}
STOPS = {"n_iter_no_change": 2, "max_iter": 15, "learning_rate_init": 0.05, "tol": 0.01}
CASES = {
    "gaussian": ({"loss": "gaussian", "early_stopping": "loss", **STOPS}, NUMBERS, {}),
    "invscaling": ({"solver": "sgd", "learning_rate": "invscaling", "dropout": 0.2}, NUMBER, {}),
    "optimizer": ({"solver": Clip(AdamW(), 1.0), "learning_rate": Cosine(0.1)}, THREE, {}),
    "labels": ({"class_weight": [{0: 1.0, 1: 2.0}, {0: 3.0, 1: 1.0}, {0: 1.0, 1: 1.0}]}, LABELS, {}),
    "zeros": ({"early_stopping": True, **STOPS}, THREE, {"sample_weight": SOME}),
    "given": ({"early_stopping": True, **STOPS}, TWO, {"X_val": X[:20], "y_val": TWO[:20]}),
    "lbfgs": ({"solver": "lbfgs", "activation": "tanh"}, NUMBERS, {}),
}


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


def make(y=THREE, **parameters):
    kind = MLPEnsembleRegressor if np.asarray(y).dtype.kind == "f" else MLPEnsembleClassifier
    return kind(**{**SMALL, "n_estimators": 3, "random_state": 0, **parameters})


def assert_members(ensemble, fit):
    """Every fitted attribute of every member is that of an estimator that was fitted alone."""
    assert len({member.random_state for member in ensemble.estimators_}) == ensemble.n_estimators
    for member in ensemble.estimators_:
        single = fit(clone(member))
        assert {name for name in vars(member) if name.endswith("_")} == {n for n in vars(single) if n.endswith("_")}
        for name in [*vars(single), "coefs_", "intercepts_"]:
            mine, other = getattr(member, name), getattr(single, name)
            if name in ("coefs_", "intercepts_"):
                for a, b in zip(mine, other, strict=True):
                    assert_allclose(host(a), host(b), rtol=1e-9, atol=1e-9)
            elif name.endswith("_") and name != "network_" and other is not None:
                assert_allclose(mine, other, rtol=1e-9, atol=1e-9, err_msg=name)


# Members


@pytest.mark.parametrize("case", CASES)
def test_members_are_the_estimators_that_each_would_be_alone(case, place):
    parameters, targets, more = CASES[case]
    x, y, given = put(place, X), put(place, targets), {name: put(place, value) for name, value in more.items()}
    ensemble = make(targets, **parameters).fit(x, y, **given)
    assert_members(ensemble, lambda single: single.fit(x, y, **given))
    assert ensemble.n_iter_ == max(member.n_iter_ for member in ensemble.estimators_)
    assert lies(ensemble.predict(x), place)


@pytest.mark.not_on(host_cupy.NAME)  # mean and std of CuPy need a driver
@pytest.mark.parametrize("y", [THREE, TWO, NUMBERS], ids=["three", "two", "numbers"])
@pytest.mark.on("jax")
def test_means_and_deviations_lie_where_x_lies(y, place):
    x, method = put(place, X), "predict" if y is NUMBERS else "predict_proba"
    ensemble = make(y, hidden_layer_sizes=(), max_iter=1, batch_size=60).fit(x, put(place, y))
    every = [getattr(member, method)(X) for member in ensemble.to(X).estimators_]
    for result, expected in zip(getattr(ensemble, method)(x, return_std=True), (np.mean(every, 0), np.std(every, 0))):
        assert lies(result, place)
        assert_allclose(host(result), expected, rtol=1e-9, atol=1e-12)


def test_partial_fit_and_warm_start_go_on_as_each_member_would():
    parts = [(X[rows], THREE[rows]) for rows in (slice(0, 40), slice(20, 60))]

    def go_on(estimator):
        for part in parts:
            estimator.partial_fit(*part, classes=[0, 1, 2])
        return estimator.fit(X, THREE)

    ensemble = go_on(make(solver="sgd", learning_rate="invscaling", warm_start=True))
    first, weights = ensemble.estimators_[0], ensemble.estimators_[0].coefs_[0]
    assert_members(ensemble, go_on)
    assert len(first.loss_curve_) == 7
    assert ensemble.fit(X, THREE).estimators_[0] is not first
    assert_array_equal(first.coefs_[0], weights)  # which a later fit does not change


def test_a_random_state_gives_other_members_each_time():
    ensemble = make(random_state=np.random.RandomState(0)).fit(X, THREE)
    seeds = [member.random_state for member in ensemble.estimators_]
    assert seeds == [member.random_state for member in make(random_state=0).fit(X, THREE).estimators_]
    others = [member.random_state for member in ensemble.fit(X, THREE).estimators_]
    assert seeds != others
    again = ensemble.set_params(warm_start=True).fit(X, THREE)  # goes on with the members that are there
    assert others == [member.random_state for member in again.estimators_]


# Predictions


@pytest.mark.parametrize("y", [THREE, TWO, NAMES, np.zeros(60, int)], ids=["three", "two", "names", "single"])
def test_classes_are_predicted_by_the_mean_of_the_probabilities(y):
    ensemble = make().fit(X, y)
    every = np.array([member.predict_proba(X) for member in ensemble.estimators_])
    mean, std = ensemble.predict_proba(X, return_std=True)
    assert mean.shape == std.shape == (60, max(2, len(ensemble.classes_)))
    assert_allclose(mean, every.mean(axis=0), rtol=1e-12)
    assert_allclose(std, every.std(axis=0), rtol=1e-9, atol=1e-15)
    with np.errstate(divide="ignore"):
        assert_allclose(ensemble.predict_log_proba(X), np.log(mean))
    chosen = mean[:, : len(ensemble.classes_)].argmax(axis=1)
    assert_array_equal(ensemble.predict(X), ensemble.classes_[chosen])
    assert ensemble.predict(X).dtype == y.dtype
    assert ensemble.score(X, y, SOME) == pytest.approx(np.average(ensemble.predict(X) == y, weights=SOME))


def test_several_labels():
    ensemble, twin = make().fit(X, LABELS), make().fit(X, sparse.csr_matrix(LABELS))
    assert_array_equal(ensemble.predict(X), ensemble.predict_proba(X, return_std=True)[0] > 0.5)
    assert_array_equal(twin.predict(X).toarray(), ensemble.predict(X))


@pytest.mark.parametrize("loss", ["squared_error", "quantile(0.3)", "quantile(0.1, 0.5)"])
@pytest.mark.parametrize("y", [NUMBER, NUMBERS], ids=["one", "two"])
def test_numbers_are_predicted_by_the_mean(y, loss):
    ensemble = make(y, loss=loss).fit(X, y)
    every = np.array([member.predict(X) for member in ensemble.estimators_])
    mean, std = ensemble.predict(X, return_std=True)
    assert mean.shape == std.shape == y.shape
    assert_allclose(mean, every.mean(axis=0), rtol=1e-12)
    assert_allclose(std, every.std(axis=0), rtol=1e-9, atol=1e-15)
    assert ensemble.n_outputs_ == (1 if y.ndim == 1 else 2)


def test_the_networks_are_an_ensemble():
    ensemble = make(NUMBER).fit(X, NUMBER)
    assert isinstance(ensemble.ensemble_, Ensemble)
    assert_allclose(ensemble.ensemble_.predict(X), ensemble.predict(X), rtol=1e-12)
    ensemble.ensemble_.calibrate((X + 0.5, NUMBER))
    twin = pickle.loads(pickle.dumps(ensemble))
    assert_array_equal(twin.ensemble_.interval(X), ensemble.ensemble_.interval(X))
    ensemble.estimators_.pop()  # members that were changed are another ensemble
    assert len(ensemble.ensemble_) == len(pickle.loads(pickle.dumps(ensemble)).ensemble_) == 2
    assert ensemble.ensemble_.calibration is None


# Bagging


@pytest.mark.parametrize("y", [TWO, NUMBER], ids=["two", "number"])
def test_bootstrap_draws_none_of_the_rows_that_are_held_out(y):
    """A member that trains on rows drawn with replacement is one that weighs each row by how often it was drawn."""
    settings = {"batch_size": "auto", "shuffle": False, "alpha": 0.0, "early_stopping": "loss"}
    ensemble = make(y, bootstrap=True, validation_fraction=0.25, **settings)
    for member in ensemble.fit(X, y).estimators_:
        draws = np.random.RandomState(member.random_state)
        draws.uniform(size=sum(x.size for x in [*member.coefs_, *member.intercepts_]))  # the initial weights come first
        stratify = y if y is TWO else None
        rows, held_out = train_test_split(np.arange(60), test_size=0.25, random_state=draws, stratify=stratify)
        times = np.bincount(rows[draws.randint(45, size=45)], minlength=60)
        single = clone(member).fit(X, y, times, X_val=X[held_out], y_val=y[held_out])
        assert_allclose(member.loss_curve_, single.loss_curve_, rtol=1e-9)
        assert_allclose(member.validation_loss_curve_, single.validation_loss_curve_, rtol=1e-9)


# In scikit-learn


@pytest.mark.parametrize(
    ("kind", "single"), [(MLPEnsembleClassifier, MLPClassifier), (MLPEnsembleRegressor, MLPRegressor)]
)
def test_parameters_are_those_of_one_network_and_two_more(kind, single):
    assert kind().get_params() == {**single().get_params(), "n_estimators": 16, "bootstrap": False}
    assert repr(kind(n_estimators=3, bootstrap=True)) == f"{kind.__name__}(bootstrap=True, n_estimators=3)"
    with pytest.raises(TypeError, match=f"members=3 is not an argument of {kind.__name__} .*'n_estimators'"):
        kind(members=3)


def test_before_a_fit():
    ensemble = make()
    for call in (ensemble.predict, ensemble.to, lambda x: ensemble.predict_proba(x, return_std=True)):
        with pytest.raises(NotFittedError, match="is not fitted yet"):
            call(X)
    assert not hasattr(ensemble, "n_iter_")


def test_names_of_the_features():
    pandas = pytest.importorskip("pandas")
    ensemble = make().fit(pandas.DataFrame(X, columns=list("vwxyz")), NAMES)
    for one in (ensemble, *ensemble.estimators_):
        assert list(one.feature_names_in_) == list("vwxyz")
    assert ensemble.ensemble_.feature_names == tuple("vwxyz")
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        ensemble.predict(X)
    assert not hasattr(ensemble.fit(X, THREE), "feature_names_in_")


@pytest.mark.parametrize("name", [name for name in ("torch", "strict-device1") if name in PLACES])
def test_to_moves_all_members(name):
    pytest.importorskip(name.partition("-")[0].replace("strict", "array_api_strict"))
    place, ensemble = PLACES[name](), make().fit(X, THREE)
    x = put(place, X)
    with pytest.raises(ValueError, match=r"Inputs passed to MLPEnsembleClassifier\.predict\(\) must use the same name"):
        ensemble.predict(x)
    moved = ensemble.to(x)
    assert all(lies(member.coefs_[0], place) for member in moved.estimators_)
    assert_allclose(host(moved.predict_proba(x)), ensemble.predict_proba(X), rtol=1e-9)
    moved.partial_fit(x, THREE)
    assert lies(pickle.loads(pickle.dumps(moved)).predict(x), place)
    expected = copy.deepcopy(ensemble).partial_fit(X, THREE).predict_proba(X)
    assert_allclose(host(moved.predict_proba(x)), expected, rtol=1e-9)


# Callbacks, Ctrl-C and divergence


def test_callbacks_are_copied_for_each_member():
    stop = EarlyStopping(patience=1, monitor="cost", min_delta=0.3)
    ensemble = make(callbacks=[stop], max_iter=40, learning_rate_init=0.05).fit(X, THREE)
    own = [member.callbacks[0] for member in ensemble.estimators_]
    assert len({id(callback) for callback in [stop, *own]}) == 4
    assert vars(stop) == vars(EarlyStopping(patience=1, monitor="cost", min_delta=0.3))
    assert len({member.n_iter_ for member in ensemble.estimators_}) > 1
    assert_members(ensemble, lambda single: single.fit(X, THREE))


@pytest.mark.parametrize("epoch", [1, 3])
def test_an_interrupt_keeps_what_is_there(epoch):
    ensemble = make(callbacks=[Interrupt(epoch)], early_stopping=True)
    with pytest.warns(UserWarning, match=r"^Training interrupted by user\.$"):
        ensemble.fit(X, THREE)
    assert [member.n_iter_ for member in ensemble.estimators_] == [epoch, epoch - 1, epoch - 1]
    with pytest.warns(UserWarning, match="Training interrupted"):
        single = clone(ensemble.estimators_[0]).fit(X, THREE)
    assert_allclose(ensemble.estimators_[0].coefs_[0], single.coefs_[0], rtol=1e-9)


def test_a_member_that_diverges_is_named_and_nothing_changes():
    ensemble = make(NUMBER, solver="sgd", learning_rate_init=1e-3).fit(X, NUMBER)
    before = dict(vars(ensemble))
    ensemble.set_params(callbacks=[Explode()])
    with pytest.raises(ValueError, match=r"non-finite .* diverged in epoch 3, .* \(this is member 1 of 3\)$"):
        ensemble.fit(X, NUMBER)
    assert {**vars(ensemble), "callbacks": ()} == before


def test_with_early_stopping_a_member_that_diverges_goes_back():
    ensemble = make(NUMBER, solver="sgd", learning_rate_init=1e-3, early_stopping=True, callbacks=[Explode()])
    ensemble.fit(X, NUMBER)
    assert [member.n_iter_ for member in ensemble.estimators_] == [5, 3, 5]
    assert np.isfinite(ensemble.predict(X)).all()
    assert np.isnan(ensemble.estimators_[1].loss_)


# What is refused


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ({"n_estimators": 0}, "n_estimators=0 must be a whole number of at least 1"),
        ({"n_estimators": 10**12}, "n_estimators=1000000000000 networks need .* give fewer"),
        ({"bootstrap": "yes"}, "bootstrap='yes' must be True or False"),
        ({"alpha": -1}, "alpha=-1 must be"),
        ({"callbacks": [CSVLog("log.csv")]}, "callbacks holds CSVLog.*; leave it out, or use xpnet.Ensemble"),
    ],
    ids=str,
)
def test_bad_parameters(parameters, named):
    with pytest.raises((ValueError, MemoryError), match=named):
        make(**parameters).fit(X, THREE)


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_another_number_of_members_cannot_go_on(method):
    ensemble = make(warm_start=True).fit(X, THREE).set_params(n_estimators=4)
    with pytest.raises(ValueError, match=r"n_estimators=4, and .* 3 members; .* warm_start=False to start anew"):
        getattr(ensemble, method)(X, THREE)
    assert len(ensemble.set_params(warm_start=False).fit(X, THREE).estimators_) == 4
