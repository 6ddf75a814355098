"""The estimators against scikit-learn's own: the same parameters, the same network, the same attributes."""

import inspect
import pickle
import re
import sys
import warnings
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from helpers import Interrupt
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

pytest.importorskip("sklearn", reason="the estimators need scikit-learn")

from sklearn import neural_network as theirs
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_digits
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.metrics import mean_poisson_deviance
from sklearn.utils.class_weight import compute_sample_weight

from xpnet import (
    L1,
    LBFGS,
    SGD,
    Adam,
    Callback,
    Clip,
    Constant,
    Cosine,
    DivergenceError,
    EarlyStopping,
    LevenbergMarquardt,
    get_backend,
)
from xpnet import estimators as ours

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.not_on("jax"),  # but for what JAX could get wrong alone: it compiles programs for each test
]

X, DIGIT = (part[:300] for part in load_digits(return_X_y=True))
X = X / 16
LETTERS = np.array([*"abcdefghij"])[DIGIT]
PARITY, SEVERAL = DIGIT % 2, np.stack([DIGIT > 4, DIGIT % 2, DIGIT % 3 == 0], axis=1).astype(int)
XR, TARGET = (part[:200] for part in load_diabetes(return_X_y=True))
XR, TARGET = 10 * XR, TARGET / 100
WEIGHT = np.random.default_rng(0).uniform(0.0, 2.0, len(X))
SMALL = {"hidden_layer_sizes": (12,), "max_iter": 4, "batch_size": 50, "random_state": 0}

INVSCALING = {"solver": "sgd", "learning_rate_init": 0.5, "learning_rate": "invscaling", "power_t": 0.3}
ADAPTIVE = {"solver": "sgd", "learning_rate": "adaptive", "tol": 1.0, "n_iter_no_change": 1, "max_iter": 60}
CONVERGES = {"tol": 1.0, "n_iter_no_change": 2, "max_iter": 30}
STOPS = {"early_stopping": True, "n_iter_no_change": 2, "max_iter": 40}
# Theirs cuts losses off at ln ε, which the line search of L-BFGS may come to feel: with ReLU it does here
LINES = {"solver": "lbfgs", "activation": "tanh"}
CLASSIFIERS = [
    ({}, DIGIT),
    ({}, PARITY),
    ({}, SEVERAL),
    ({"hidden_layer_sizes": (9, 7), "activation": "logistic", "batch_size": "auto"}, DIGIT),
    ({"hidden_layer_sizes": 8, "activation": "tanh", "alpha": 5.0}, DIGIT),
    ({"hidden_layer_sizes": (), "shuffle": False}, DIGIT),
    ({"learning_rate": "invscaling", "beta_1": 0.5, "beta_2": 0.9, "epsilon": 0.1}, DIGIT),
    (INVSCALING, DIGIT),
    (ADAPTIVE, DIGIT),
    (CONVERGES, DIGIT),
    (STOPS, DIGIT),
    ({**STOPS, "validation_fraction": 0.3, "tol": 0.1, "n_iter_no_change": 3}, SEVERAL),
    ({"solver": "lbfgs", "alpha": 1.0, "max_iter": 200, "tol": 0.1}, PARITY),
    ({"solver": "lbfgs", "alpha": 10.0, "hidden_layer_sizes": (), "max_iter": 100, "tol": 0.0}, PARITY),
    (LINES, DIGIT),
]
REGRESSORS = [
    ({}, TARGET),
    ({}, np.stack([TARGET, -TARGET], axis=1)),
    ({"loss": "poisson"}, TARGET),
    ({"early_stopping": True, "n_iter_no_change": 2, "max_iter": 40}, TARGET),
    ({"solver": "sgd", "learning_rate_init": 0.01}, TARGET),
    ({"solver": "lbfgs"}, TARGET),
    ({"solver": "lbfgs", "loss": "poisson"}, TARGET),
]


def title(case):
    return str(case) if isinstance(case, dict) else ""


def put(place, x, dtype=None):
    """An array in the library and on the device of a place; NumPy's for labels that others cannot hold."""
    return x if np.asarray(x).dtype.kind in "UO" else get_backend(*place).asarray(np.asarray(x), dtype)


def host(x):
    return np.asarray(ours.inputs.to_host(x))


def assert_like(mine, other, rtol=1e-9, names=None):
    """Every fitted attribute of scikit-learn's, or these, are there, and the same."""
    public = [name for name in vars(other) if name.endswith("_") and not name.startswith("_")]
    assert {"coefs_", "intercepts_", "loss_", "n_iter_", "t_", "out_activation_", "n_outputs_"} <= set(public)
    for name in names or public:
        a, b = getattr(mine, name), getattr(other, name)
        if name in ("coefs_", "intercepts_"):
            assert isinstance(a, list)
            assert [x.shape for x in a] == [x.shape for x in b]
            for x, y in zip(a, b, strict=True):
                assert_allclose(host(x), y, rtol=rtol, atol=rtol)
        elif isinstance(b, (str, type(None))) or name == "classes_":
            assert np.all(a == b)
        else:
            assert np.shape(a) == np.shape(b), name
            assert_allclose(a, b, rtol=rtol, err_msg=name)


def make(kind="MLPClassifier", module=ours, **parameters):
    return getattr(module, kind)(**{**SMALL, **parameters})


def fit(x=X, y=DIGIT, weight=None, **parameters):
    """Fit a classifier, or another `kind`, of xpnet."""
    return make(**parameters).fit(x, y, weight)


def both(kind, **parameters):
    return make(kind, **parameters), make(kind, theirs, **parameters)


# The same parameters


@pytest.mark.parametrize("kind", ["MLPClassifier", "MLPRegressor"])
def test_every_parameter_has_its_name_default_and_place(kind):
    mine, other = (inspect.signature(getattr(module, kind)).parameters for module in (ours, theirs))
    for name, parameter in other.items():
        assert mine[name].default == parameter.default, name
        assert mine[name].kind == parameter.kind, name
    positional = [name for name, each in mine.items() if each.kind is each.POSITIONAL_OR_KEYWORD]
    assert positional == [name for name, each in other.items() if each.kind is each.POSITIONAL_OR_KEYWORD]
    with pytest.raises(TypeError, match=rf"^{kind}\.__init__\(\) got multiple values for argument '{positional[0]}'$"):
        getattr(ours, kind)((8,), **{positional[0]: 1})
    for method in ("fit", "partial_fit"):
        mine, other = (inspect.signature(getattr(getattr(module, kind)(), method)) for module in (ours, theirs))
        assert list(mine.parameters)[: len(other.parameters)] == list(other.parameters)


# The same network, on every backend


@pytest.mark.parametrize(("parameters", "y"), CLASSIFIERS, ids=title)
def test_the_classifier_becomes_the_same_network(place, parameters, y):
    mine, other = both("MLPClassifier", **parameters)
    x, labels = put(place, X), put(place, y)
    mine.fit(x, labels)
    other.fit(X, y)
    assert_like(mine, other, rtol=1e-5 if "lbfgs" in parameters.values() else 1e-9)
    assert_array_equal(host(mine.predict(x)), other.predict(X))
    assert host(mine.predict(x)).dtype == other.predict(X).dtype
    assert_allclose(host(mine.predict_proba(x)), other.predict_proba(X), rtol=1e-5, atol=1e-9)
    assert_allclose(host(mine.predict_log_proba(x)), other.predict_log_proba(X), rtol=1e-5, atol=1e-9)
    assert mine.score(x, labels, WEIGHT) == other.score(X, y, WEIGHT)


@pytest.mark.parametrize(("parameters", "y"), REGRESSORS, ids=title)
def test_the_regressor_becomes_the_same_network(parameters, y):
    mine, other = both("MLPRegressor", **parameters)
    if y.ndim == 2:  # its penalty is divided by the number of outputs too
        mine.alpha = other.alpha = 0.0
    mine.fit(XR, y)
    other.fit(XR, y)
    assert_like(mine, other, rtol=1e-4 if "lbfgs" in parameters.values() else 1e-9)
    assert_allclose(mine.predict(XR), other.predict(XR), rtol=1e-4)
    assert mine.score(XR, y) == pytest.approx(other.score(XR, y), rel=1e-4)


@pytest.mark.parametrize("parameters", [{}, {"solver": "lbfgs", "alpha": 1.0}], ids=str)
def test_sample_weights_count_as_theirs_do(parameters):
    """The weights of the network; the loss of an epoch is a weighted mean here, theirs one of weighted means."""
    mine, other = both("MLPClassifier", activation="tanh", **parameters)
    assert_like(mine.fit(X, DIGIT, WEIGHT), other.fit(X, DIGIT, WEIGHT), 1e-6, ["coefs_", "intercepts_"])
    assert_array_equal(mine.predict(X), other.predict(X))


@pytest.mark.parametrize("parameters", [{}, {"shuffle": False}, {**STOPS, "max_iter": 3}, LINES], ids=str)
def test_a_generator_of_the_user_is_left_where_theirs_is(parameters):
    generators = np.random.RandomState(3), np.random.RandomState(3)
    for est, generator in zip(both("MLPClassifier", **parameters), generators, strict=True):
        generator.normal()  # keeps another normal number
        for _ in range(2):
            est.set_params(random_state=generator).fit(X, DIGIT)
        if parameters == {}:
            est.partial_fit(X, DIGIT)
    assert len({(generator.normal(), generator.normal(), generator.random()) for generator in generators}) == 1


def test_lbfgs_ends_where_no_line_lowers_the_loss():
    """Each step that it tries, down to a millionth of the first one, overflows."""
    options = {"loss": "poisson", "solver": "lbfgs", "hidden_layer_sizes": (), "warm_start": True, "max_fun": 200}
    mine = ours.MLPRegressor(**options).fit(XR[:, :1], TARGET)
    mine.coefs_, mine.intercepts_ = [np.zeros((1, 1))], [np.zeros(1)]
    with pytest.warns(UserWarning, match="steps of LBFGS lowered the cost"):
        mine.fit(1e30 * XR[:, :1], TARGET)
    assert (mine.n_iter_, len(mine.network_.history)) == (0, 22)


def test_warm_start_goes_on_as_theirs_does():
    mine, other = both("MLPClassifier", warm_start=True, solver="sgd", learning_rate="invscaling")
    for n in (300, 250):
        mine.fit(X[:n], DIGIT[:n])
        other.fit(X[:n], DIGIT[:n])
    assert_like(mine, other)
    assert len(mine.loss_curve_) == 8


BLOCKS = [slice(0, 60), slice(60, 120), slice(120, 180), slice(0, 60)]
PARTS = {
    "classes": ({}, DIGIT, BLOCKS),
    "two classes": (INVSCALING, PARITY, BLOCKS),
    "numbers": ({**INVSCALING, "learning_rate_init": 0.001}, TARGET, BLOCKS),
    "two classes, apart": ({}, PARITY, [PARITY == 1, PARITY == 0]),
    "strings, apart": ({}, LETTERS, [DIGIT >= 5, DIGIT < 5]),
}


@pytest.mark.parametrize(("parameters", "y", "parts"), PARTS.values(), ids=PARTS)
def test_partial_fit_goes_on_as_theirs_does_also_where_y_lacks_classes(parameters, y, parts):
    kind, x, options = ("MLPRegressor", XR, {}) if y is TARGET else ("MLPClassifier", X, {"classes": np.unique(y)})
    mine, other = both(kind, **parameters)
    for part in parts:
        mine.partial_fit(x[part], y[part], **options)
        other.partial_fit(x[part], y[part], **options)
    assert_like(mine, other)


# The same warnings, and what is said


def said(est, capsys, *given):
    with warnings.catch_warnings(action="ignore"):
        est.fit(*given)
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("parameters", [ADAPTIVE, CONVERGES, STOPS, {"solver": "lbfgs"}], ids=str)
def test_verbose_says_what_theirs_says(parameters, capsys):
    mine, other = both("MLPClassifier", **parameters, verbose=True)
    lines, expected = said(mine, capsys, X, DIGIT), said(other, capsys, X, DIGIT)
    if "lbfgs" in parameters.values():  # of which SciPy now says nothing
        assert len(lines) == mine.n_iter_
        assert lines[-1] == f"Iteration {mine.n_iter_}, loss = {mine.loss_:.8f}"
    else:
        assert lines == expected


@pytest.mark.filterwarnings("default::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("parameters", [{"max_iter": 2}, {"max_iter": 2, "solver": "lbfgs"}], ids=str)
def test_that_it_has_not_converged_is_a_warning_at_the_line_of_fit(parameters):
    mine, other = both("MLPRegressor", **parameters)
    for est in (other, mine):
        with pytest.warns(ConvergenceWarning) as caught:
            est.fit(XR, TARGET)
        assert est.n_iter_ == 2
    assert [warning.filename for warning in caught] == [__file__]


def test_ctrl_c_is_a_warning_and_keeps_what_was_learnt():
    mine, other = both("MLPClassifier", max_iter=3)
    mine.set_params(max_iter=4, callbacks=[Interrupt(3)])
    with pytest.warns(UserWarning, match=r"Training interrupted by user\."):
        mine.fit(X, DIGIT)
    assert_like(mine, other.fit(X, DIGIT))


@pytest.mark.parametrize("interrupts", [False, True])
def test_callbacks_see_the_best_weights_at_the_end_and_may_give_others(interrupts):
    class Halve(Callback):
        def on_train_begin(self, training):
            self.training = training

        def on_train_end(self):
            self.seen = self.training.net.copy()
            copy = self.seen.copy()
            copy.w = [w / 2 for w in copy.w]
            self.training.value = copy.value

    halve, more = Halve(), [Interrupt(3)] if interrupts else []
    mine, plain = (make(early_stopping=True, callbacks=[*callbacks, *more]) for callbacks in ([halve], []))
    for est in (mine, plain):
        with pytest.warns(UserWarning, match="interrupted" if interrupts else "Maximum iterations"):
            est.fit(X, DIGIT)
    assert_array_equal(halve.seen.w[0], plain.network_.w[0])
    assert_array_equal(mine.network_.w[0], plain.network_.w[0] / 2)


def test_weights_that_become_infinite_are_an_error_and_the_estimator_is_as_it_was():
    for est in both("MLPRegressor", solver="sgd", learning_rate_init=1.0, activation="identity"):
        with (
            warnings.catch_warnings(action="ignore"),
            pytest.raises(ValueError, match="Solver produced non-") as caught,
        ):
            est.fit(1e10 * XR, TARGET)
        if isinstance(est, ours.MLPRegressor):
            assert isinstance(caught.value.__cause__, DivergenceError)
            assert vars(est).keys() == est.get_params(deep=False).keys()


@pytest.mark.parametrize(("method", "solver"), [("fit", "sgd"), ("partial_fit", "adam")])
def test_a_fit_that_fails_changes_nothing(method, solver):
    class Fails(Callback):
        def on_epoch_end(self, logs):
            raise RuntimeError("on purpose")

    mine, twin = (fit(warm_start=True) for _ in range(2))
    before, curve = dict(vars(mine)), [*mine.loss_curve_]
    with pytest.raises(RuntimeError, match="on purpose"):
        getattr(mine.set_params(callbacks=[Fails()], solver=solver), method)(X, DIGIT)
    mine.set_params(callbacks=(), solver="adam")
    assert vars(mine) == before
    assert mine.loss_curve_ == curve
    for est in (mine, twin):  # the optimizer is as it was too
        est.partial_fit(X, DIGIT)
    assert_array_equal(mine.coefs_[0], twin.coefs_[0])


# More than theirs


def test_dropout_is_drawn_by_random_state():
    mine, twin, other, plain = (
        fit(random_state=seed, dropout=rate) for seed, rate in ((0, 0.5), (0, 0.5), (1, 0.5), (0, 0.0))
    )
    assert_array_equal(mine.coefs_[0], twin.coefs_[0])
    assert mine.loss_ != other.loss_
    assert mine.loss_ > plain.loss_
    assert mine.network_.dropout == [0.0, 0.5]


@pytest.mark.parametrize(
    ("y", "class_weight"),
    [
        (PARITY, {0: 5.0}),
        (PARITY, "balanced"),
        (LETTERS, {"b": 5.0}),
        (LETTERS, "balanced"),
        (SEVERAL, [{0: 2.0}, {1: 3.0}, {}]),
    ],
    ids=title,
)
def test_class_weights_are_weights_of_their_examples(y, class_weight):
    """Those of several labels are multiplied."""
    rows = DIGIT != 0  # so that the other class of two is more frequent
    of_classes = compute_sample_weight(class_weight, y[rows])
    mine = fit(X[rows], y[rows], WEIGHT[rows], class_weight=class_weight)
    twin = fit(X[rows], y[rows], of_classes * WEIGHT[rows])
    assert_allclose(mine.coefs_[0], twin.coefs_[0], rtol=1e-9)


def test_validation_data_have_curves_and_stop_where_asked(place):
    x, y, rest = put(place, X[:200]), put(place, DIGIT[:200]), put(place, X[200:])
    given = {"X_val": rest, "y_val": put(place, DIGIT[200:])}
    mine = make().fit(x, y, **given)
    assert len(mine.validation_loss_curve_) == len(mine.validation_scores_) == mine.n_iter_ == 4
    assert mine.best_validation_score_ == max(mine.validation_scores_)
    assert mine.validation_scores_[-1] == mine.score(rest, given["y_val"])
    proba = host(mine.predict_proba(rest))
    cross_entropy = -np.log(proba[np.arange(100), DIGIT[200:]]).mean()
    assert mine.validation_loss_curve_[-1] == pytest.approx(cross_entropy, rel=1e-9)
    stopped = make(**STOPS).fit(x, y, **given)
    assert stopped.n_iter_ < 40
    assert stopped.score(rest, given["y_val"]) == stopped.best_validation_score_ == max(stopped.validation_scores_)


class Recorder(Callback):
    """Records the first weights after each epoch."""

    def on_train_begin(self, training):
        self.net, self.weights = training.net, []

    def on_epoch_end(self, logs):
        self.weights.append(self.net.w[0])


@pytest.mark.parametrize(
    ("kind", "x", "y", "parameters"),
    [
        ("MLPClassifier", X, DIGIT, {"tol": 0.05}),
        ("MLPClassifier", X, PARITY, {"solver": "sgd", "learning_rate": "adaptive"}),
        ("MLPRegressor", XR, TARGET, {}),
    ],
    ids=["ten", "two, adaptive", "numbers"],
)
def test_early_stopping_may_watch_the_loss(place, kind, x, y, parameters, capsys):
    """It stops by the rule for the training loss, applied to the loss on validation data, and takes the least."""
    options = {"learning_rate_init": 0.02, "tol": 0.01, **parameters, "max_iter": 100, "n_iter_no_change": 3}
    recorder = Recorder()
    mine = make(kind, **options, early_stopping="loss", verbose=True, callbacks=[recorder])
    losses, best, count = mine.fit(put(place, x), put(place, y)).validation_loss_curve_, np.inf, 0
    for loss in losses:
        count, best = (0 if loss <= best - options["tol"] else count + 1), min(best, loss)
        assert count <= 3 or loss is losses[-1] or "adaptive" in parameters.values()
    assert count > 3
    assert mine.n_iter_ == len(losses) < 100
    assert (mine.best_validation_loss_, mine.best_loss_) == (min(losses), None)
    assert_array_equal(host(mine.coefs_[0]).T, host(recorder.weights[int(np.argmin(losses))]))
    out = capsys.readouterr().out
    assert f"Validation loss: {losses[0]:.8f}\n" in out
    assert f"Validation loss did not improve more than tol={options['tol']:f} for 3 consecutive epochs." in out


def test_early_stopping_sees_the_spread_that_a_network_predicts():
    """R² judges means alone; it ends these trainings in other epochs, with standard deviations that fit less well."""
    options = {"max_iter": 60, "n_iter_no_change": 3, "learning_rate_init": 0.02, "standardize": True}
    options |= {"kind": "MLPRegressor", "loss": "gaussian"}
    by_true, by_loss = (make(**options, early_stopping=watched) for watched in (True, "loss"))
    for door in (
        lambda est: est,
        lambda est: ours.MLPEnsembleRegressor(**est.get_params(), n_estimators=2),
        lambda est: ours.MLPSearchCV(est, {"loss": ["gaussian"]}, cv=2),
    ):
        fits = [door(est).fit(XR, TARGET) for est in (by_true, by_loss)]
        assert_array_equal(*(getattr(fit, "best_estimator_", fit).predict(XR, True) for fit in fits))
    assert np.argmin(by_true.validation_loss_curve_) != np.argmax(by_true.validation_scores_)


def test_steps_of_all_examples_stop_by_the_loss():
    """R² judges each target by its own spread, and an epoch of `lm` lowers a sum over both of them."""
    two = np.stack([TARGET, 50 * XR[:, 0] * XR[:, 1]], axis=1)
    options = {"solver": "lm", "hidden_layer_sizes": (4,), "activation": "tanh", "tol": 0.1, "n_iter_no_change": 3}
    fits = [ours.MLPRegressor(**options, early_stopping=each, random_state=1).fit(XR, two) for each in (True, "loss")]
    assert_array_equal(fits[0].coefs_[0], fits[1].coefs_[0])
    # A Bayesian loss may rise: it stops where it hardly changes, and steps that were not taken do not count
    options |= {"solver": LevenbergMarquardt(bayesian=True), "tol": 0.01}
    losses = np.array(ours.MLPRegressor(**options, random_state=0).fit(XR, TARGET).loss_curve_)
    changes = (abs(np.diff(losses)) / losses[1:])[np.diff(losses) != 0.0]
    assert (changes[-4:] <= 0.01).all()
    assert changes[-5] > 0.01


def test_early_stopping_continues_from_earlier_calls():
    """A later call that finds nothing better ends with its last weights, as theirs does."""
    mine, other = both("MLPClassifier", warm_start=True, early_stopping=True)
    for rate in (0.01, 10.0):
        for est in (mine, other):
            est.set_params(learning_rate_init=rate).fit(X, DIGIT)
    assert_allclose(mine.coefs_[0], other.coefs_[0], rtol=1e-9, atol=1e-9)
    assert_allclose(mine.validation_scores_, other.validation_scores_, rtol=1e-12)
    assert np.argmax(mine.validation_scores_) < 4
    mine.set_params(early_stopping="loss").fit(X, DIGIT)
    assert mine.best_validation_loss_ == min(mine.validation_loss_curve_[:4])


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # numbers that are finite, but have no finite squares
@pytest.mark.parametrize("rate", [0.3, 1e300], ids=["later", "at once"])
def test_a_training_that_diverges_under_early_stopping_keeps_its_best(rate):
    """Theirs goes on to the last epoch, where nothing is a number any more; ours stops in the first such epoch."""
    options = {"solver": "sgd", "activation": "identity", "learning_rate_init": rate, "max_iter": 30}
    mine, other = both("MLPRegressor", **options, early_stopping=True)
    with warnings.catch_warnings(action="ignore"):
        other.fit(XR, TARGET)
    with pytest.warns(ConvergenceWarning, match=r"Stopped, and went back to the best weights: training diverged"):
        mine.fit(XR, TARGET)
    assert_allclose(mine.coefs_[0], other.coefs_[0], rtol=1e-9, atol=1e-9)
    assert mine.best_validation_score_ == pytest.approx(other.best_validation_score_)
    assert (rate < 1) == (mine.n_iter_ > 3) == (mine.best_validation_score_ > 0)
    assert len(mine.validation_scores_) == len(mine.loss_curve_) == mine.n_iter_ <= other.n_iter_ == 30
    assert np.isnan([mine.loss_, mine.validation_scores_[-1], mine.validation_loss_curve_[-1]]).all()


def test_callbacks_see_and_steer(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)

    class Watch(Callback):
        rows = []  # noqa: RUF012

        def on_train_begin(self, training):
            self.training = training

        def on_epoch_end(self, logs):
            self.rows.append(dict(logs))
            self.training.lr_scale *= 0.5

    stop = EarlyStopping(patience=2, monitor="validation_accuracy", min_delta=0.5)
    mine = make(callbacks=[stop, Watch()], progress=True)
    mine.fit(X[:200], DIGIT[:200], X_val=X[200:], y_val=DIGIT[200:])
    assert mine.n_iter_ == 3
    assert [row["validation_accuracy"] for row in Watch.rows] == mine.validation_scores_
    assert [row["cost"] for row in Watch.rows] == mine.loss_curve_
    assert mine.network_.history["lr"] == pytest.approx([0.001 * 0.5**k for k in range(mine.n_iter_)])
    assert "batch" in capsys.readouterr().err


@pytest.mark.parametrize("y", [DIGIT, np.stack([XR[:, 0] ** 2, XR[:, 1]], axis=1)], ids=["classes", "numbers"])
def test_the_score_of_a_weighted_validation_is_that_of_scikit_learn(y):
    x, kind = (X, "MLPClassifier") if y is DIGIT else (XR, "MLPRegressor")
    weight = np.random.default_rng(0).uniform(size=100) ** 4
    mine = make(kind).fit(x[100:], y[100:], X_val=x[:100], y_val=y[:100], sample_weight_val=weight)
    assert mine.validation_scores_[-1] == pytest.approx(mine.score(x[:100], y[:100], weight), rel=1e-5)


def test_a_single_class_is_always_predicted():
    mine = fit(y=np.full(300, "a"))
    mine.intercepts_ = [np.zeros(12), np.full(1, 50.0)]
    assert set(mine.predict(X)) == {"a"}


@pytest.mark.parametrize("solver", [SGD(momentum=0.5), Clip(L1(Adam(), 1e-4), 1.0)], ids=str)
def test_any_optimizer_and_schedule(solver):
    mine = fit(solver=solver, learning_rate=Cosine(0.05))
    assert mine.network_.optimizer == solver
    assert mine.network_.history["lr"][0] > mine.network_.history["lr"][-1] > 0
    constant = fit(solver=solver, learning_rate_init=0.02)
    assert constant.network_.history["lr"] == pytest.approx([0.02] * 4)


@pytest.mark.parametrize("classes", [None, [0, 1, 2]])
def test_partial_fit_of_several_labels(classes):
    mine = make()
    for start in (0, 100, 200):
        mine.partial_fit(X[start : start + 100], SEVERAL[start : start + 100], classes=classes)
    assert mine.predict(X).shape == SEVERAL.shape
    assert len(mine.loss_curve_) == 3
    with pytest.raises(ValueError, match=r"y has shape \(100, 2\), but the estimator was fitted to multilabel labels"):
        mine.partial_fit(X[:100], SEVERAL[:100, :2])


def test_coefs_and_intercepts_can_be_assigned():
    mine, other = both("MLPClassifier")
    mine.fit(X, DIGIT)
    other.fit(X[:150], DIGIT[:150])
    mine.coefs_, mine.intercepts_ = other.coefs_, other.intercepts_
    assert_allclose(mine.predict_proba(X), other.predict_proba(X), rtol=1e-9)
    network = mine.network_
    with pytest.raises(ValueError, match=r"w\[0\] has shape \(10, 12\), but must have \(12, 64\)"):
        mine.coefs_ = other.coefs_[::-1]
    with pytest.raises(ValueError, match=r"b\[0\] has shape \(10,\), but must have \(12,\)"):
        mine.intercepts_ = other.intercepts_[::-1]
    assert mine.network_ is network
    for taken in (mine.coefs_, mine.intercepts_):  # as theirs: lists of arrays that can be written
        assert isinstance(taken, list)
        taken[0][...] = 0.0
    assert mine.coefs_[0].any()


def test_only_the_ratios_of_weights_count_but_for_alpha():
    """Also where their sum is more, or less, than the dtype holds."""
    x, even = X.astype(np.float32), np.linspace(0.5, 1.0, len(X))
    twin = fit(x, DIGIT, even, alpha=0.0)
    for weight in (1e-46, 1e37):
        mine = fit(x, DIGIT, weight * even, alpha=0.0)
        assert_allclose(mine.coefs_[0], twin.coefs_[0], rtol=1e-4, atol=1e-6)
    mine, other = both("MLPClassifier", alpha=1.0, solver="sgd")
    mine.fit(X, DIGIT, 3.0 * even)
    assert_allclose(mine.coefs_[0], other.fit(X, DIGIT, 3.0 * even).coefs_[0], rtol=1e-9, atol=1e-12)


def test_classes_have_no_weight_in_validation():
    uneven = np.where(DIGIT == 3, "rare", "usual")
    options = {"class_weight": {"rare": 50.0}, "max_iter": 2, "alpha": 0.0, "early_stopping": True}
    mine, held = (fit(X, uneven, weight, **options) for weight in (None, np.ones(len(X))))
    assert mine.validation_scores_ == held.validation_scores_
    assert mine.validation_loss_curve_ == pytest.approx(held.validation_loss_curve_)
    assert mine.loss_ == pytest.approx(held.loss_)
    right = 30 * np.array(mine.validation_scores_)  # of the 30 rows that are held out
    assert_allclose(right, np.round(right), atol=1e-9)


def test_poisson_reports_the_deviance_of_what_it_is_of():
    counts = np.random.default_rng(0).poisson(3.0, len(XR)).astype(float)
    mine, other = both("MLPRegressor", loss="poisson", early_stopping=True)
    assert_like(mine.fit(XR, counts), other.fit(XR, counts))
    mine = make("MLPRegressor", loss="poisson").fit(XR[:60], np.ones(60), X_val=XR[60:], y_val=20 + counts[60:])
    expected = mean_poisson_deviance(20 + counts[60:], mine.predict(XR[60:])) / 2
    assert mine.validation_loss_curve_[-1] == pytest.approx(expected)


def test_with_callbacks_it_is_pickled_and_cloned_without_what_they_held():
    mine = fit(callbacks=[EarlyStopping(monitor="cost")])
    again = pickle.loads(pickle.dumps(mine))
    assert_array_equal(again.predict(X), mine.predict(X))
    assert len(pickle.dumps(clone(mine))) < 5000 < len(pickle.dumps(mine))
    again.fit(X, DIGIT)


def test_what_is_left_of_an_interrupted_refit_is_of_that_refit():
    class At(Callback):
        def on_epoch_begin(self, epoch):
            raise KeyboardInterrupt

    mine = fit()
    with pytest.warns(UserWarning, match="interrupted"):
        mine.set_params(callbacks=[At()]).fit(X, DIGIT)
    assert (mine.n_iter_, mine.loss_) == (0, None)
    mine.set_params(callbacks=(), solver="lbfgs", warm_start=True).fit(X, DIGIT)
    assert not hasattr(mine, "loss_curve_")


# Sparse inputs


@pytest.mark.parametrize(
    ("kind", "parameters"), [("csr", {"early_stopping": True}), ("csc", {}), ("csr", {"solver": "lbfgs"})], ids=str
)
def test_sparse_inputs_give_the_network_of_dense_ones(kind, parameters):
    x = sparse.csr_array(X).asformat(kind)
    mine, twin = (fit(each, DIGIT, WEIGHT, **parameters) for each in (x, X))
    assert_allclose(mine.coefs_[0], twin.coefs_[0], rtol=1e-9, atol=1e-9)
    assert_allclose(mine.predict_proba(x), twin.predict_proba(X), rtol=1e-9)
    assert mine.activations(x)[0].shape == X.shape


# What is refused

BOTH = np.stack([DIGIT, DIGIT], axis=1)
REFUSED = [  # parameters and arguments of fit; the argument that is named, with its value; the remedy
    ({"solver": "adm"}, "solver='adm'", "did you mean 'adam'?"),
    ({"solver": "lbfgs", "dropout": 0.5}, "dropout=0.5", "give solver='adam'"),
    ({"solver": "lbfgs", "callbacks": [EarlyStopping()]}, "callbacks=[EarlyStopping", "give solver='adam'"),
    ({"solver": "lbfgs", "learning_rate": Cosine(0.1)}, "learning_rate=Cosine", "give solver='adam'"),
    ({"solver": "lm"}, "batch_size=50", "give solver='adam'"),
    ({"solver": "lbfgs", "X_val": X, "y_val": DIGIT}, "X_val", "solver that trains epoch by epoch"),
    ({"activation": "rleu"}, "activation='rleu'", "did you mean 'relu'?"),
    ({"learning_rate": "adaptiv"}, "learning_rate='adaptiv'", "did you mean 'adaptive'?"),
    ({"learning_rate": Cosine}, "learning_rate=Cosine", "such as Cosine(0.1)"),
    ({"learning_rate": 0.1}, "learning_rate=0.1", "the number is learning_rate_init"),
    ({"loss": "hinge"}, "loss='hinge'", "choose from 'quadratic', 'cross_entropy'"),
    ({"loss": "poisson"}, "loss='poisson'", "give loss='log_loss'"),
    ({"loss": (50,)}, "loss=(50,)", "hidden_layer_sizes=(50,)"),
    ({"hidden_layer_sizes": (5, 2.5)}, "hidden_layer_sizes=2.5", "whole number"),
    ({"hidden_layer_sizes": "ab"}, "hidden_layer_sizes='ab'", "whole number"),
    ({"solver": "sgd", "beta_1": 1.0}, "beta_1=1.0", "0.9 is usual"),
    ({"early_stopping": np.array([True, False])}, "early_stopping=array", "'loss', which watches the loss"),
    ({"early_stopping": True, "validation_fraction": 0.0}, "validation_fraction=0", "0.1 is usual"),
    ({"early_stopping": True, "sample_weight": np.arange(300) == 7}, "sample_weight", "weight zero"),
    ({"class_weight": {3: 2.0, 10: 1.0}}, "class_weight names the class 10", "choose from 0, 1, 2"),
    ({"class_weight": {0: 1}, "y": SEVERAL}, "class_weight={0: 1}", "a list with a {label: number} for each"),
    ({"random_state": "no"}, "random_state='no'", "a whole number from 0 to 2**32 - 1"),
    ({"random_state": np.random.RandomState(np.random.PCG64(0))}, "random_state=", "a RandomState of a seed"),
    ({"dropout": 1.0}, "dropout=1.0", "in [0, 1)"),
    ({"y": BOTH}, "y has several columns", "give one column"),
    ({"sample_weight": -WEIGHT}, "sample_weight holds -", "numbers of at least 0"),
    ({"dtype": "float32", "X": 1e300 * (X + 1.0)}, "X holds NaN or infinity", "(as float32), first in row 0"),
    ({"X": np.array([["a", 1.0]] * 300, object)}, "could not convert", "make_pipeline(TableEncoder(), estimator)"),
    ({"X_val": X}, "X_val needs y_val", "a solver that trains epoch by epoch"),
    ({"y_val": DIGIT}, "y_val", "need X_val; give it too"),
    ({"X_val": X, "y_val": DIGIT + 1}, "`y` has classes not in `self.classes_`", "(these are X_val, y_val"),
    ({"X_val": X[:, :5], "y_val": DIGIT}, "X has 5 features", "expecting 64 features as input. (these are X_val"),
    ({"X_val": X, "y_val": DIGIT, "sample_weight_val": -WEIGHT}, "sample_weight holds -", "sample_weight_val)"),
]


@pytest.mark.parametrize(
    ("given", "argument", "remedy"), REFUSED, ids=[f"{row[1]}-{k}" for k, row in enumerate(REFUSED)]
)
def test_a_wrong_argument_is_named_with_a_remedy(given, argument, remedy):
    names = given.keys() & inspect.signature(ours.MLPClassifier).parameters
    mine = make(**{name: given[name] for name in names})
    before, data = dict(vars(mine)), {name: given[name] for name in given if name not in names}
    with pytest.raises((ValueError, TypeError), match=f"(?s)^{re.escape(argument)}.*{re.escape(remedy)}"):
        mine.fit(**{"X": X, "y": DIGIT, **data})
    assert vars(mine) == before


@pytest.mark.parametrize(
    ("y", "remedy"),
    [
        (DIGIT.astype(str), "use a classifier for labels"),
        (np.array(["a", 1.0] * 150, object), "(in y)"),
        (DIGIT - 3.0, "for y of at least 0, and y goes down to -3"),
    ],
)
def test_targets_that_are_no_numbers_are_refused(y, remedy):
    with pytest.raises((ValueError, TypeError), match=re.escape(remedy)):
        fit(X, y, kind="MLPRegressor", loss="poisson")


def test_wrong_data_of_another_library_are_named(place):
    mine, x, y = make(), put(place, X), put(place, DIGIT)
    for given, message in [
        ((x, y[:-1]), "inconsistent numbers of samples|X has 300 examples and y has 299"),
        ((x[:, 0], y), "Expected 2D array, got 1D array instead"),
        ((x[:, :0], y), r"0 feature\(s\)"),
        ((put(place, np.where(X > 0.9, np.nan, X)), y), "X (contains|holds) NaN"),
        ((x, None), "requires y to be passed"),
    ]:
        with pytest.raises((ValueError, TypeError), match=message):
            mine.fit(*given)
        assert not hasattr(mine, "network_")
    with pytest.raises(ValueError, match="X has 63 features, but MLPClassifier is expecting 64 features as input"):
        mine.fit(x, y).predict(x[:, 1:])


@pytest.mark.parametrize(
    ("change", "X", "y", "remedy"),
    [
        ({}, X, DIGIT + 1, "give warm_start=False"),  # one new and one missing
        ({}, X, PARITY, "give warm_start=False"),
        ({}, X, DIGIT.astype(str), "give warm_start=False"),
        ({"hidden_layer_sizes": (13,)}, X, DIGIT, "sizes=[64, 12, 10]"),
        ({"standardize": True}, X, DIGIT, "standardize=False"),
    ],
)
def test_warm_start_refuses_another_network(change, X, y, remedy):
    mine = fit(warm_start=True)
    with pytest.raises(ValueError, match="warm_start") as caught:
        mine.set_params(**change).fit(X, y)
    assert remedy in str(caught.value)
    assert mine.partial_fit(X, PARITY).t_ == 5 * len(X)  # which may lack some


@pytest.mark.parametrize(
    ("change", "given", "message"),
    [
        ({}, {"y": DIGIT}, "classes must be passed on the first call to partial_fit."),
        ({}, {"y": SEVERAL, "classes": [0, 1]}, "must be the labels of the 3 columns of y"),
        ({"early_stopping": True}, {}, "early_stopping=True"),
        ({"early_stopping": "loss"}, {}, "early_stopping='loss'"),
        ({"class_weight": "balanced"}, {}, "class_weight='balanced' needs all examples"),
        ({"learning_rate": Cosine(0.1)}, {}, "learning_rate=Cosine"),
        ({"solver": LBFGS(), "batch_size": "auto"}, {}, "call fit"),
    ],
    ids=str,
)
def test_partial_fit_refuses_what_an_epoch_cannot_have(change, given, message):
    given = given or {"y": DIGIT, "classes": range(10)}
    with pytest.raises(ValueError, match=re.escape(message)):
        make(**change).partial_fit(X, **given)


def test_partial_fit_goes_on_with_the_same_classes():
    assert not hasattr(ours.MLPClassifier(solver="lbfgs"), "partial_fit")
    mine = make(learning_rate=Constant(0.1)).partial_fit(X, DIGIT, classes=range(10))
    for y, classes, message in (
        (DIGIT, range(11), "not the same as on last call"),
        (DIGIT + 1, None, "not in `self.cl"),
    ):
        with pytest.raises(ValueError, match=message):
            mine.partial_fit(X, y, classes=classes)


@pytest.mark.parametrize("nowhere", ["cuda", None, 3, np, np.float64(3)], ids=str)
def test_it_moves_to_arrays_only(nowhere):
    mine = fit()
    with pytest.raises(TypeError, match=r"to\(X\) takes an array that lies where the estimator is to go, not"):
        mine.to(nowhere)


def test_before_it_is_fitted_it_says_so():
    for method in ("predict", "predict_proba", "activations", "to"):
        with pytest.raises(NotFittedError):
            getattr(ours.MLPClassifier(), method)(X)
    with pytest.raises(AttributeError):
        _ = ours.MLPClassifier().coefs_


# Forms of arguments


def test_bytes_need_no_warning():
    """They become float64, as in `fit`; a network of its own would say that it does not scale them."""
    x = (255 * X).astype(np.uint8)
    mine = fit(x)
    for each in (x, sparse.csr_array(x)):
        assert_array_equal(mine.predict_proba(each), mine.predict_proba(x.astype(float)))
        assert mine.activations(each)[0].dtype == np.float64


@pytest.mark.parametrize(("kind", "solver"), [(np.float32, "adam"), (Decimal, "sgd"), (Fraction, "lbfgs")])
def test_numbers_may_be_of_any_kind(kind, solver):
    names = ("alpha", "tol", "validation_fraction", "momentum", "beta_1", "beta_2", "epsilon", "power_t")
    whole = {"max_iter": np.int64(3), "batch_size": np.int64(50), "hidden_layer_sizes": np.array(4)}
    losses = [
        ours.MLPClassifier(
            **{name: number(0.125) for name in (*names, "learning_rate_init")},
            **whole,
            solver=solver,
            early_stopping=solver != "lbfgs",
            random_state=0,
        )
        .fit(X, DIGIT)
        .loss_
        for number in (float, kind)
    ]
    assert losses[0] == losses[1]
