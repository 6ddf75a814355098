"""Estimators beside scikit-learn's, where it has one, and beside the networks that they hold."""

import copy
import pickle
import random
import warnings
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import partial
from io import StringIO
from operator import methodcaller
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import sklearn
import sklearn.neural_network as theirs
from scipy import sparse
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, KFold, RandomizedSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

import xpnet
import xpnet.estimators as ours
from xpnet import SGD, AdamW, Clip, Cosine, Network, OneCycle, RMSProp, Step, get_backend

from .generate import Operation, register
from .world import Failure, Interrupt, Interrupted, assert_close, new_path, place_arguments, to_host

OPERATIONS: dict[str, Operation] = {}
operation = partial(register, OPERATIONS)
PROBLEMS = ("classes", "classes", "two classes", "labels", "numbers", "numbers", "several numbers")
LABELS = [np.arange(4), np.array(list("dacb")), 10 * np.arange(4) - 5, np.arange(4.0)]
SOURCES = [str(Path(package.__file__).parent) for package in (xpnet, sklearn)]
UNTOLD = {"RuntimeWarning", "UndefinedMetricWarning"}  # of overflows on the way, and of a score of one example
VALUE_OR_TYPE = (ValueError, TypeError)
CHAOS = 1e-9  # how much rounding of the inputs may change weights, if programs are to agree to 1e-6
SMALL = 1e-13  # a probability: in losses, scikit-learn takes 2e-16 for anything below


class World:
    """An estimator of xpnet and one of scikit-learn with the same parameters, for the same calls."""

    def __init__(self, seed: int, place: str = "numpy") -> None:
        r = random.Random(seed)
        # A backend can be cloned with its estimator, and a module or a device cannot
        self.where = {} if place == "numpy" else {"backend": get_backend(**place_arguments(place))}
        self.problem = r.choice(PROBLEMS)
        self.is_classifier = "numbers" not in self.problem
        self.n_in, self.n_classes = r.randint(1, 5), 2 if self.problem == "two classes" else r.randint(3, 4)
        self.labels = np.array([False, True]) if self.n_classes == 2 and r.random() < 0.3 else r.choice(LABELS)
        self.settings = draw_parameters(r, self.problem)
        name = "MLPClassifier" if self.is_classifier else "MLPRegressor"
        self.mine = getattr(ours, name)(**self.settings, **self.where)
        self.theirs = getattr(theirs, name)(**self.settings)
        self.has_equal_losses = True  # those of a fit with weights differ, and stay in the curves
        self.log: list[str] = []

    def draw(self, r: random.Random, n: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Draw inputs and targets; numbers with few bits, so that each dtype holds them."""
        g = np.random.default_rng(r.randrange(2**32))
        n = n or r.choice([6, 12, 20, 41])
        X = g.integers(-32, 33, (n, self.n_in)) / 16
        if self.problem == "labels":
            return X, g.integers(0, 2, (n, 2))
        if self.is_classifier:
            return X, self.labels[np.r_[np.arange(n) % self.n_classes][g.permutation(n)]]
        return X, g.integers(0, 20, (n, 2) if self.problem == "several numbers" else n) / 8

    def fingerprint(self) -> bytes:
        """Equal if xpnet's estimator is."""
        return pickle.dumps(self.mine)

    @property
    def is_lbfgs(self) -> bool:
        return self.settings["solver"] == "lbfgs"

    @property
    def watches_loss(self) -> bool:
        """Whether the training loss decides when training stops, or the learning rate falls."""
        if self.settings.get("learning_rate") == "adaptive" or self.is_lbfgs:
            return True
        return not self.settings.get("early_stopping") and self.settings["max_iter"] > self.settings["n_iter_no_change"]

    def begin_anew(self) -> None:
        """Go on with estimators that are not fitted."""
        self.mine, self.theirs, self.has_equal_losses = clone(self.mine), clone(self.theirs), True


def draw_parameters(r: random.Random, problem: str) -> dict[str, Any]:
    """Draw parameters of scikit-learn's estimators."""
    # It divides the loss of several targets by their number, and not its gradient, so the line searches differ
    solver = r.choice(["adam", "adam", "sgd", "sgd", "sgd", *([] if problem == "several numbers" else ["lbfgs"])])
    settings: dict[str, Any] = {
        "hidden_layer_sizes": r.choice([(3,), (4, 2), (), (1,), 5, [3]]),
        "activation": r.choice(["relu", "tanh", "logistic", "identity"]),
        "solver": solver,
        "alpha": r.choice([0.0, 1e-4, 0.1]),
        "batch_size": r.choice(["auto", 1, 3, 7, 50]),
        "learning_rate_init": r.choice([0.001, 0.05, 0.2]),
        "max_iter": r.choice([1, 3, 10, 40]),
        "shuffle": r.random() < 0.8,
        "random_state": r.randrange(1000),
        "tol": r.choice([1e-4, 1e-2, 0.0]),
        "warm_start": r.random() < 0.25,
        "n_iter_no_change": r.choice([1, 2, 10]),
    }
    if solver == "sgd":
        settings["learning_rate"] = r.choice(["constant", "invscaling", "adaptive"])
        settings |= {"momentum": r.choice([0.0, 0.9]), "nesterovs_momentum": r.random() < 0.5}
        settings["power_t"] = r.choice([0.5, 0.2])
    if solver == "adam":
        settings |= {
            "beta_1": r.choice([0.9, 0.5]),
            "beta_2": r.choice([0.999, 0.9]),
            "epsilon": r.choice([1e-8, 1e-4]),
        }
    if solver != "lbfgs" and r.random() < 0.4:
        settings |= {"early_stopping": True, "validation_fraction": r.choice([0.1, 0.3])}
    if problem == "numbers" and r.random() < 0.2:
        settings["loss"] = "poisson"
    if problem == "several numbers":
        settings["alpha"] = 0.0  # scikit-learn does not divide the penalty by their number, so losses would differ
    return settings


# Both, side by side


class Outcome(NamedTuple):
    """What came of a call."""

    result: Any
    error: Exception | None
    warnings: set[str]


def observe(call: Callable[[Any], Any], estimator: Any) -> Outcome:
    """Call a function of an estimator, and catch errors and warnings."""
    with warnings.catch_warnings(record=True) as caught, np.errstate(all="ignore"):
        warnings.simplefilter("always")
        result, error = None, None
        try:
            result = call(estimator)
        except Exception as raised:
            result, error = None, raised
    return Outcome(result, error, {warning.category.__name__ for warning in caught} - UNTOLD)


def call_both(world: World, what: str, mine: Callable[[Any], Any], other: Any = None) -> tuple[Outcome, Outcome]:
    """Call both: both give a result, or both refuse, xpnet with words of its own or of scikit-learn."""
    here, there = observe(mine, world.mine), observe(other or mine, world.theirs)
    kinds = {"value or type" if isinstance(each.error, VALUE_OR_TYPE) else type(each.error) for each in (here, there)}
    if len(kinds) > 1:
        raise Failure(f"{what}: {here.error!r}, and scikit-learn {there.error!r}"[:600])
    if here.error is not None:
        check_origin(what, here.error)
    return here, there


def check_origin(what: str, error: Exception) -> None:
    """Check that an error was raised by a check, and not by whatever failed."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    file = "" if trace is None else trace.tb_frame.f_code.co_filename
    if not any(file.startswith(source) for source in SOURCES):
        raise Failure(f"{what}: {error!r} was raised in {file}")


def train_both(world: World, method: str, data: Any, options: Any, others: Any = None) -> None:
    """Train both, and compare them; an error leaves xpnet's estimator as it was."""
    others = options if others is None else others
    before, untouched = pickle.dumps(world.mine), copy.deepcopy(world.theirs)
    mine, other = call_both(world, method, make_call(method, data, options), make_call(method, data, others))
    if mine.error is not None:
        if pickle.dumps(world.mine) != before:
            raise Failure(f"{method}: an error changed the estimator: {mine.error!r}")
        world.theirs = untouched  # which a failed fit leaves with some attributes
        return
    if has_left_bounds(world.theirs, data[0]):
        world.begin_anew()
        return
    try:
        compare_fits(world, method)
        if mine.warnings != other.warnings:
            raise Failure(f"{method}: warnings {mine.warnings}, and scikit-learn {other.warnings}")
    except Failure:
        if not is_chaotic(untouched, world.theirs, method, data, others):
            raise
        world.begin_anew()


def make_call(method: str, data: Any, options: Any) -> Callable[[Any], Any]:
    """Make a function of an estimator that calls a method of it."""
    return methodcaller(method, *data, **options)


def has_left_bounds(estimator: Any, X: np.ndarray) -> bool:
    """Whether training has diverged, or come to probabilities that scikit-learn clips."""
    losses = np.asarray(getattr(estimator, "loss_curve_", [estimator.loss_]), float)
    if not all(np.isfinite(w).all() for w in estimator.coefs_) or not np.isfinite(losses).all():
        return True
    if not hasattr(estimator, "classes_"):
        return False
    p = estimator.predict_proba(X)
    least = 1e-6 if estimator.solver == "lbfgs" else SMALL  # whose line searches go beyond its result
    return min(p.min(), 1.0 if estimator.out_activation_ == "softmax" else (1 - p).min()) < least


def is_chaotic(before: Any, after: Any, method: str, data: Any, options: Any) -> bool:
    """Whether inputs that differ by rounding train another network, as with the kinks of ReLU, and many iterations.

    Then two programs that are both right give different networks.
    """
    (X, *rest), states = data, []
    for factor in (1 - 2**-51, 1 + 2**-51, 1 + 2**-50):
        other = copy.deepcopy(before)
        observe(make_call(method, (X * factor, *rest), options), other)
        states.append(other)
    return any(
        other.n_iter_ != after.n_iter_ or any(measure(v, w) > CHAOS for v, w in zip(other.coefs_, after.coefs_))
        for other in states
    )


def measure(a: Any, b: np.ndarray) -> float:
    """The largest difference of weights, in units of the largest weight."""
    return float(np.abs(to_host(a) - b).max() / max(1e-2, np.abs(b).max()))


def compare_fits(world: World, what: str) -> None:
    """Compare the attributes of both."""
    mine, other = world.mine, world.theirs
    tolerance = 1e-4 if world.is_lbfgs else 1e-6
    for name in ("n_iter_", "t_", "n_layers_", "n_outputs_", "out_activation_", "n_features_in_"):
        if getattr(mine, name) != getattr(other, name):
            raise Failure(f"{what}: {name} is {getattr(mine, name)}, and {getattr(other, name)} in scikit-learn")
    for l, (w, b) in enumerate(zip(other.coefs_, other.intercepts_, strict=True)):
        for name, values in (("coefs_", w), ("intercepts_", b)):
            found = getattr(mine, name)[l]
            assert_close(found, values, tolerance, f"{what}: {name}[{l}]", max(1e-2, np.abs(values).max()))
    if world.is_classifier and not np.array_equal(mine.classes_, other.classes_):
        raise Failure(f"{what}: classes_ {mine.classes_}, and {other.classes_} in scikit-learn")
    names = ["loss_", "loss_curve_", "best_loss_"] if world.has_equal_losses else []
    for name in [*names, "validation_scores_", "best_validation_score_"]:
        expected = getattr(other, name, None)
        if expected is None or (name == "best_loss_" and not np.isfinite(expected)):
            continue
        assert_close(np.asarray(getattr(mine, name), float), np.asarray(expected), tolerance, f"{what}: {name}", 1.0)


def is_sure(probabilities: np.ndarray) -> np.ndarray:
    """Tell of which rows rounding cannot change the predicted class."""
    ranked = np.sort(probabilities, axis=1)
    apart = ranked[:, -1] - ranked[:, -2] if ranked.shape[1] > 1 else np.ones(len(ranked))
    return (apart > 1e-6) & (np.abs(probabilities - 0.5).min(axis=1) > 1e-6)


def draw_weights(r: random.Random, n: int) -> np.ndarray:
    return np.array([r.choice([0.5, 1.0, 2.0, 3.0]) for _ in range(n)])


@operation(weight=4)
def fit(world: World, r: random.Random) -> None:
    """Fit both, with weights of rows, and weights of classes, which scikit-learn takes as such of rows."""
    X, y = world.draw(r)
    options, others = {}, {}
    can_weigh = not (world.watches_loss or world.settings["warm_start"])  # as scikit-learn's loss is another one then
    if can_weigh and r.random() < 0.4:
        options = others = {"sample_weight": draw_weights(r, len(X))}
    has_one_label = world.is_classifier and world.problem != "labels"
    if has_one_label and can_weigh and not world.settings.get("early_stopping") and r.random() < 0.4:
        values, counts = np.unique(y, return_counts=True)
        weights = np.array([r.choice([0.5, 1.0, 2.0]) for _ in values])
        class_weight: Any = dict(zip(values.tolist(), weights.tolist(), strict=True))
        if r.random() < 0.5:
            class_weight, weights = "balanced", len(y) / (len(values) * counts)
        others = {"sample_weight": weights[np.searchsorted(values, y)] * options.get("sample_weight", 1.0)}
        world.mine.set_params(class_weight=class_weight)
    world.has_equal_losses = not others
    train_both(world, "fit", (X, y), options, others)
    if has_one_label:
        world.mine.set_params(class_weight=None)


@operation(weight=3)
def partial_fit(world: World, r: random.Random) -> None:
    """Train for one epoch."""
    X, y = world.draw(r)
    if world.problem == "labels" or (world.is_lbfgs and not world.is_classifier):
        return  # scikit-learn cannot do the former, and forgets to refuse the latter
    is_first = not hasattr(world.mine, "classes_")
    options = {"classes": np.unique(y)} if world.is_classifier and (is_first or r.random() < 0.3) else {}
    train_both(world, "partial_fit", (X, y), options)


@operation(weight=4, reads=True)
def predict(world: World, r: random.Random) -> None:
    """Predict, of some rows and of one."""
    X, y = world.draw(r)
    tolerance = 1e-4 if world.is_lbfgs else 1e-5
    for method in ["predict_proba", "predict_log_proba"] * world.is_classifier + ["predict"]:
        mine, other = call_both(world, method, methodcaller(method, X))
        if mine.error is not None:
            return
        if mine.result.dtype != other.result.dtype:
            raise Failure(f"{method}: {mine.result.dtype}, and {other.result.dtype} in scikit-learn")
        if method == "predict" and world.is_classifier:
            rows = is_sure(world.theirs.predict_proba(X))
            if not np.array_equal(mine.result[rows], other.result[rows]):
                raise Failure(f"predict: {mine.result}, and {other.result} in scikit-learn")
        elif np.isfinite(other.result).all():
            assert_close(mine.result, other.result, tolerance, method, max(1e-2, np.abs(other.result).max()))
    mine, other = call_both(
        world, "score", lambda estimator: estimator.score(X, y, draw_weights(random.Random(0), len(X)))
    )
    if not world.is_classifier or is_sure(world.theirs.predict_proba(X)).all():
        assert_close(mine.result, other.result, 10 * tolerance, "score", max(1.0, abs(other.result)))
    if not world.is_classifier:
        assert_close(world.mine.predict(X[:1]), world.mine.predict(X)[:1], 1e-10, "predict one row")


@operation(weight=3)
def set_params(world: World, r: random.Random) -> None:
    """Change some parameters."""
    new = draw_parameters(r, world.problem)
    names = ("learning_rate_init", "max_iter", "tol", "batch_size", "shuffle", "random_state", "warm_start")
    names = [*names, "alpha", "n_iter_no_change", "momentum"]
    change = {
        name: new[name] for name in r.sample([name for name in names if name in new and name in world.settings], 2)
    }
    world.settings.update(change)
    call_both(world, "set_params", lambda estimator: estimator.set_params(**change) and None)
    # The solver's take effect at once in xpnet, and never in what scikit-learn goes on with
    if {"learning_rate_init", "momentum", "warm_start"} & set(change):
        world.begin_anew()


@operation(weight=2)
def copy_both(world: World, r: random.Random) -> None:
    """Go on with copies."""
    way = r.choice([clone, copy.deepcopy, copy_by_pickle, clone_by_parameters])
    world.mine, world.theirs = way(world.mine), way(world.theirs)


def copy_by_pickle(estimator: Any) -> Any:
    return pickle.loads(pickle.dumps(estimator))


def clone_by_parameters(estimator: Any) -> Any:
    return type(estimator)(**estimator.get_params(deep=False))


@operation(reads=True)
def convert(world: World, r: random.Random) -> None:
    """There and back, it predicts the same."""
    if not hasattr(world.mine, "coefs_"):
        return
    X, _ = world.draw(r)
    there = world.mine.to_sklearn()
    back = type(world.mine).from_sklearn(there)
    for estimator in (there, back):
        for method in ["predict_proba"] * world.is_classifier + ["predict"]:
            expected = getattr(world.mine, method)(X)
            rows = slice(None)
            if method == "predict" and world.is_classifier:
                rows = is_sure(world.mine.predict_proba(X))
            result = getattr(estimator, method)(X)
            if expected.dtype.kind in "fc":
                assert_close(result, expected, 1e-9, f"{method} of {type(estimator).__name__}")
            elif not np.array_equal(result[rows], expected[rows]):
                raise Failure(f"{method} of {type(estimator).__name__}: {result}, not {expected}")
    ignored = {} if len(world.mine.coefs_) > 1 else {"activation": None}  # nothing is between inputs and outputs
    if there.get_params() | ignored != world.theirs.get_params() | ignored:
        raise Failure(f"to_sklearn has the parameters {there.get_params()}, not {world.theirs.get_params()}")


@operation(reads=True)
def assign(world: World, r: random.Random) -> None:
    """Other weights predict otherwise, the same in both."""
    if hasattr(world.mine, "coefs_"):
        pair = copy.copy(world)
        pair.mine, pair.theirs = copy.deepcopy(world.mine), copy.deepcopy(world.theirs)
        weights = [np.round(4 * w) / 4 for w in world.theirs.coefs_]
        pair.mine.coefs_, pair.theirs.coefs_ = weights, [w.copy() for w in weights]
        predict(pair, r)


def draw_form(r: random.Random, X: np.ndarray, y: np.ndarray) -> tuple[str, Any, Any]:
    """Put examples into another container: (its name, X, y)."""
    import pandas

    frozen = X.copy()
    frozen.flags.writeable = False
    forms: dict[str, Callable[[], tuple[Any, Any]]] = {
        "Fortran order": lambda: (np.asfortranarray(X), y),
        "lists": lambda: (X.tolist(), y.tolist()),
        "pandas": lambda: (pandas.DataFrame(X, columns=[f"x{k}" for k in range(X.shape[1])]), pandas.DataFrame(y)),
        "CSR": lambda: (sparse.csr_matrix(X), y),
        "CSC": lambda: (sparse.csc_array(X), y),
        "read-only": lambda: (frozen, y),
        "strides": lambda: (np.repeat(X, 2, axis=0)[::2], y[::-1].copy()[::-1]),
        "a column": lambda: (X, y[:, None] if y.ndim == 1 else y),
        "torch": lambda: make_tensors(X, y),
    }
    name = r.choice([*forms])
    return name, *forms[name]()


def make_tensors(X: np.ndarray, y: np.ndarray) -> tuple[Any, Any]:
    import torch

    return torch.tensor(X), torch.tensor(y) if y.dtype.kind in "fib" else y


@operation(weight=3, reads=True)
def forms(world: World, r: random.Random) -> None:
    """The same data in another form give the same estimator: bit for bit, but in another library."""
    X, y = world.draw(r)
    expected, estimator = clone(world.mine), clone(world.mine)
    if observe(lambda estimator: estimator.fit(X, y), expected).error is not None:
        return
    form, x, targets = draw_form(r, X, y)
    found = observe(lambda estimator: estimator.fit(x, targets), estimator)
    if found.error is not None:
        raise Failure(f"fit on {form}: {found.error!r}")
    difference = max(measure(v, w) for v, w in zip(estimator.coefs_, expected.coefs_, strict=True))
    elsewhere = form == "torch" and not world.where
    is_free = elsewhere and is_chaotic(clone(world.mine), expected, "fit", (X, y), {})
    if difference > (1e-6 if elsewhere else 0.0) and not is_free:
        raise Failure(f"fit on {form}: coefs_ are off by {difference}")


MISTAKES: dict[str, list[Any]] = {
    "alpha": [-1, "a", None],
    "hidden_layer_sizes": [(0,), (3, -1), ("a",)],
    "activation": ["step", 1],
    "solver": ["newton", None],
    "batch_size": [0, -2, "all", 1.5],
    "learning_rate": ["fast", 3],
    "learning_rate_init": [0, -0.1, "a"],
    "max_iter": [0, 1.5, "a"],
    "shuffle": ["yes", None],
    "random_state": ["a", -1],
    "tol": [-1, "a"],
    "warm_start": ["no"],
    "momentum": [-0.1, 1.5],
    "early_stopping": [3],
    "validation_fraction": [-0.5, 1.5],
    "beta_1": [1.0, -0.1],
    "epsilon": [0, -1],
    "n_iter_no_change": [0, 1.5],
}


@operation(weight=2, reads=True)
def mistakes(world: World, r: random.Random) -> None:
    """A wrong parameter, or wrong data, is refused where scikit-learn refuses it, and changes nothing."""
    X, y = world.draw(r)
    pair = copy.copy(world)
    pair.mine, pair.theirs = copy.deepcopy(world.mine), copy.deepcopy(world.theirs)
    if r.random() < 0.4:
        name = r.choice([*MISTAKES])
        wrong = {name: r.choice(MISTAKES[name])}
        call_both(pair, f"{wrong}", lambda estimator: estimator.set_params(**wrong) and None)
        before = pickle.dumps(pair.mine)
        mine, _ = call_both(pair, f"{wrong}", lambda estimator: estimator.fit(X, y) and None)
        if name not in str(mine.error):
            raise Failure(f"{wrong} was refused with {mine.error!r}")
    else:
        before = pickle.dumps(pair.mine)
        wrong = r.choice(WRONG_CALLS)
        call_both(pair, wrong.__name__, lambda estimator: wrong(estimator, X, y) and None)
    if pickle.dumps(pair.mine) != before:
        raise Failure(f"{wrong} changed the estimator")


WRONG_CALLS = [
    lambda estimator, X, y: estimator.fit(X[:, :0], y),
    lambda estimator, X, y: estimator.fit(X[:-1], y),
    lambda estimator, X, y: estimator.fit(X * np.nan, y),
    lambda estimator, X, y: estimator.fit(X[:0], y[:0]),
    lambda estimator, X, y: estimator.fit(X, None),
    lambda estimator, X, y: estimator.fit(X, y, np.ones(3)),
    lambda estimator, X, y: estimator.fit(X.astype(str), y[:, None, None]),
    lambda estimator, X, y: estimator.fit(X[:, 0], y),
    lambda estimator, X, y: estimator.fit({}, y),
    lambda estimator, X, y: estimator.fit(np.ones((3, 99)), y[:2]),
    lambda estimator, X, y: estimator.predict(np.ones((2, 99))),
    lambda estimator, X, y: estimator.predict("a"),
    lambda estimator, X, y: estimator.predict(X[0]),
    lambda estimator, X, y: estimator.predict(X * np.inf),
    lambda estimator, X, y: estimator.score(X, y[:-1]),
]


# Beyond scikit-learn: each beside something equal


SOLVERS = [
    SGD(momentum=0.9),
    SGD(momentum=0.5, nesterov=True),
    AdamW(weight_decay=0.1),
    RMSProp(),
    Clip(SGD(momentum=0.9), 0.5),
]
SCHEDULES = [Cosine(0.05), OneCycle(0.05), Step(0.05, 0.5, (0.5,))]
LOSSES = ["squared_error", "squared_error", "huber", "gaussian", "quantile(0.1, 0.5, 0.9)", "quantile(0.3)", "absolute"]
CAN_RESUME = ("adam", "sgd", "own")


class Model(NamedTuple):
    """A class of estimators, and its parameters."""

    name: str
    parameters: dict[str, Any]

    def make(self, kind: str = "MLP", **changes: Any) -> Any:
        return getattr(ours, kind + self.name)(**{**self.parameters, **changes})

    @property
    def is_regressor(self) -> bool:
        return self.name == "Regressor"

    @property
    def levels(self) -> bool:
        """Whether it predicts quantiles."""
        return str(self.parameters.get("loss")).startswith("quantile")


def draw_model(world: World, r: random.Random, solvers: tuple[str, ...] = (*CAN_RESUME, "lbfgs")) -> Model:
    """Draw parameters that scikit-learn does not have, among others."""
    solver = r.choice(solvers)
    p: dict[str, Any] = {
        "hidden_layer_sizes": r.choice([(3,), (4, 2), ()]),
        "activation": r.choice(["relu", "tanh", "gelu", "silu"]),
        "solver": r.choice(SOLVERS) if solver == "own" else solver,
        "alpha": r.choice([0.0, 1e-3]),
        "batch_size": r.choice(["auto", 1, 4, 9]),
        "learning_rate_init": r.choice([0.01, 0.05]),
        "max_iter": r.choice([1, 4, 12]),
        "random_state": r.randrange(1000),
        "tol": r.choice([1e-4, 0.01]),
        "n_iter_no_change": r.choice([2, 10]),
        "standardize": r.random() < 0.4,
        **world.where,
    }
    if solver == "own" and r.random() < 0.5:
        p["learning_rate"] = r.choice(SCHEDULES)
    if solver == "sgd":
        p["learning_rate"] = r.choice(["constant", "adaptive", "invscaling"])
    if solver != "lbfgs":
        if r.random() < 0.4:
            p |= {"early_stopping": r.choice([True, "loss"]), "validation_fraction": 0.3}
        if r.random() < 0.3:
            p["dropout"] = 0.2 if p["hidden_layer_sizes"] else 0.0
    if r.random() < 0.5:
        return Model("Regressor", p | {"loss": r.choice(LOSSES)})
    return Model("Classifier", p | {"class_weight": r.choice(["balanced", None])})


def draw_examples(model: Model, r: random.Random, n: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Draw inputs and targets; of classes, all three occur."""
    g = np.random.default_rng(r.randrange(2**32))
    n = n or r.choice([12, 20, 37])
    X = g.integers(-32, 33, (n, 3)) / 16
    return X, g.integers(1, 40, n) / 32 if model.is_regressor else np.array(list("uvw"))[g.permutation(n) % 3]


@np.errstate(all="ignore")
def fit_quietly(estimator: Any, *data: Any, **options: Any) -> Any:
    """Fit an estimator, which may warn that it has not converged."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return estimator.fit(*data, **options)


CURVES = ("n_iter_", "t_", "loss_", "loss_curve_", "best_loss_", "validation_scores_", "validation_loss_curve_")
CURVES = (*CURVES, "best_validation_score_", "best_validation_loss_")


def assert_equal_fits(a: Any, b: Any, what: str) -> None:
    """Check that two fitted estimators are the same, bit for bit."""
    for l, (w, v) in enumerate(zip([*a.coefs_, *a.intercepts_], [*b.coefs_, *b.intercepts_], strict=True)):
        if not np.array_equal(w, v):
            raise Failure(f"{what}: array {l} of the weights is off by {np.abs(w - v).max()}")
    for name in CURVES:
        x, y = (np.asarray(getattr(each, name, None), float) for each in (a, b))
        if not np.array_equal(x, y, equal_nan=True):
            raise Failure(f"{what}: {name} {x} and {y}")


@operation(weight=2, reads=True)
def resume(world: World, r: random.Random) -> None:
    """A fit that was cut anywhere, and goes on from its file, is the uninterrupted one."""
    model = draw_model(world, r, CAN_RESUME)
    X, y = draw_examples(model, r)
    options = {"sample_weight": draw_weights(r, len(X))} if r.random() < 0.3 else {}
    if r.random() < 0.3:
        options["X_val"], options["y_val"] = draw_examples(model, r)
    kind = r.choice(["MLP", "MLP", "MLPEnsemble"])
    changes = {"n_estimators": r.choice([1, 2, 3]), "bootstrap": r.random() < 0.4} if kind == "MLPEnsemble" else {}
    whole = fit_quietly(model.make(kind, **changes), X, y, **options)
    cut, path = Interrupt(r.choice(["begin", "epoch", "chunk", "end"]), r.randrange(6)), new_path(".safetensors")
    every = r.choice(["epoch", 1, 3])
    try:
        again = fit_quietly(model.make(kind, **changes, callbacks=[cut]), X, y, **options, checkpoint=path, every=every)
    except Interrupted:
        again = model.make(kind, **changes, callbacks=[Interrupt(cut.where, cut.after, armed=False)])
        fit_quietly(again, X, y, **options, checkpoint=path, every=every, resume=True)
    pairs = [(again, whole)] if kind == "MLP" else zip(again.estimators_, whole.estimators_, strict=True)
    for pair in pairs:
        assert_equal_fits(*pair, f"resumed: cut at {cut.where} {cut.after}, {model}, {changes}")


@operation(reads=True)
def copies(world: World, r: random.Random) -> None:
    """Copies predict the same, and go on as the original does."""
    model = draw_model(world, r)
    X, y = draw_examples(model, r)
    estimator = fit_quietly(model.make(warm_start=r.random() < 0.5), X, y)
    twin = r.choice([copy_by_pickle, copy.deepcopy])(estimator)
    more = draw_examples(model, r)
    method = "fit" if r.random() < 0.5 or model.parameters["solver"] == "lbfgs" else "partial_fit"
    outcomes = [observe(lambda each: getattr(each, method)(*more), each) for each in (estimator, twin)]
    if str(outcomes[0].error) != str(outcomes[1].error):
        raise Failure(f"{method}: {outcomes[0].error!r}, and of a copy {outcomes[1].error!r}")
    assert_equal_fits(twin, estimator, f"{method} of a copy: {model}")
    if model.is_regressor:
        rows = np.array([estimator.predict(X[k : k + 1])[0] for k in range(len(X))])
        assert_close(rows, estimator.predict(X), 1e-10, "predict row by row")


@operation(reads=True)
def standardize(world: World, r: random.Random) -> None:
    """It is a scaler before, and one of the targets."""
    model = draw_model(world, r, ("adam", "sgd", "lbfgs"))
    # Scalers would see rows that early stopping holds out; few iterations keep rounding small
    model.parameters.update(early_stopping=False, max_iter=min(4, model.parameters["max_iter"]))
    X, y = draw_examples(model, r)
    X = X * [1, 10, 0.1] + [0, 100, 3]
    mean, std = (y.mean(), y.std()) if model.is_regressor else (0.0, 1.0)
    scaler = StandardScaler().fit(X)
    mine = fit_quietly(model.make(standardize=True), X, y)
    other = fit_quietly(
        model.make(standardize=False), scaler.transform(X), (y - mean) / std if model.is_regressor else y
    )
    for l, w in enumerate(other.coefs_):
        assert_close(mine.coefs_[l], w, 1e-6, f"coefs_[{l}]: {model}")
    if model.is_regressor:
        assert_close(mine.predict(X), other.predict(scaler.transform(X)) * std + mean, 1e-6, f"predict: {model}")
    if model.parameters.get("loss") == "gaussian":
        found, expected = (each.predict(x, return_std=True)[1] for each, x in ((mine, X), (other, scaler.transform(X))))
        assert_close(found, expected * std, 1e-6, "standard deviations")
    if model.levels:
        assert_close(
            mine.predict_quantiles(X), other.predict_quantiles(scaler.transform(X)) * std + mean, 1e-6, "quantiles"
        )


@operation(reads=True)
def network(world: World, r: random.Random) -> None:
    """The network, from a file, computes what the estimator does."""
    model, path = draw_model(world, r), new_path(".safetensors")
    X, y = draw_examples(model, r)
    estimator = fit_quietly(model.make(), X, y)
    estimator.network_.save(path)
    loaded = Network.load(path)
    assert_close(loaded.activations(X)[-1], estimator.activations(X)[-1], 1e-12, f"activations: {model}")
    if model.levels:
        assert_close(
            to_host(loaded.predict(X)).squeeze(), estimator.predict_quantiles(X).squeeze(), 1e-12, f"quantiles: {model}"
        )
    elif model.is_regressor:
        assert_close(loaded.predict(X), estimator.predict(X), 1e-12, f"predict: {model}")
        assert_close(loaded.measure((X, y), metrics=["r2"])["r2"], estimator.score(X, y), 1e-9, f"score: {model}", 1.0)
    elif not np.array_equal(estimator.classes_[to_host(loaded.predict(X)).astype(int)], estimator.predict(X)):
        raise Failure(f"predict: {model}")
    else:
        assert_close(
            loaded.accuracy((X, np.searchsorted(estimator.classes_, y))), estimator.score(X, y), 1e-12, "score"
        )


@operation(reads=True)
def ensemble(world: World, r: random.Random) -> None:
    """Members are the estimators that they would be alone, and predict together by their mean."""
    model, k = draw_model(world, r), r.choice([1, 2, 3])
    X, y = draw_examples(model, r)
    bootstrap = r.random() < 0.4
    whole = fit_quietly(model.make("MLPEnsemble", n_estimators=k, bootstrap=bootstrap), X, y)
    outputs = np.stack([to_host(member.forward(X)) for member in whole.ensemble_])
    if len(outputs) != k:
        raise Failure(f"{len(outputs)} members, not {k}")
    if model.levels:
        levels = np.sort(np.stack(np.split(outputs, outputs.shape[-1], axis=-1), -1)[:, :, 0], -1)
        assert_close(whole.predict_quantiles(X), levels.mean(axis=0), 1e-9, f"quantiles: {model}")
    elif model.is_regressor:
        mean, std = whole.predict(X, return_std=True)
        variance = outputs[..., 0].var(axis=0)
        if model.parameters["loss"] == "gaussian":
            variance = variance + (outputs[..., 1] ** 2).mean(axis=0)
        assert_close(mean, outputs[..., 0].mean(axis=0), 1e-9, f"mean: {model}")
        assert_close(std, np.sqrt(variance), 1e-7, f"std: {model}", max(1.0, np.abs(mean).max()))
    else:
        assert_close(whole.predict_proba(X), outputs.mean(axis=0), 1e-9, f"probabilities: {model}")
    if not bootstrap and model.parameters["solver"] != "lbfgs":
        for member in whole.estimators_:
            alone = fit_quietly(clone(member), X, y)
            assert_close(
                member.coefs_[0], alone.coefs_[0], 1e-6, f"a member: {model}", max(0.1, np.abs(alone.coefs_[0]).max())
            )
    if not np.array_equal(copy_by_pickle(whole).predict(X), whole.predict(X)):
        raise Failure(f"a pickle of an ensemble predicts otherwise: {model}")


GRID: dict[str, list[Any]] = {
    "alpha": [0.0, 0.1],
    "learning_rate_init": [0.01, 0.1],
    "hidden_layer_sizes": [(2,), (3,)],
    "max_iter": [2, 3],
    "batch_size": [3, 6],
    "early_stopping": [False, True],
    "n_iter_no_change": [2, 3],
    "tol": [0.0, 0.1],
    "random_state": [1, 2],
    "activation": ["relu", "tanh"],
}


class CutOutput(StringIO):
    """Standard output that raises after a number of lines."""

    def __init__(self, lines: int, error: type[BaseException] = Interrupted) -> None:
        super().__init__()
        self.lines, self.error = lines, error

    def write(self, text: str) -> int:
        self.lines -= text.count("\n")
        if self.lines < 0:
            raise self.error
        return len(text)


def draw_search(world: World, r: random.Random, **changes: Any) -> tuple[Model, Any, dict[str, list[Any]]]:
    """Draw a model, its estimator, which may be in a pipeline, and a grid of parameters."""
    model = draw_model(world, r)
    is_lbfgs = model.parameters["solver"] == "lbfgs"
    if is_lbfgs:
        model.parameters["max_iter"] = 3  # which keep rounding small
    names = r.sample(["alpha", "tol"] if is_lbfgs else [*GRID], r.randint(1, 2))
    if r.random() < 0.3:
        pipeline = make_pipeline(StandardScaler(), model.make(**changes))
        return model, pipeline, {f"{pipeline.steps[-1][0]}__{name}": GRID[name] for name in names}
    return model, model.make(**changes), {name: GRID[name] for name in names}


@operation(reads=True)
def search(world: World, r: random.Random) -> None:
    """A search has the scores of scikit-learn's, which fits one by one."""
    model, estimator, grid = draw_search(world, r)
    X, y = draw_examples(model, r, 24)
    options = {"cv": r.choice([2, 3, KFold(3, shuffle=True, random_state=0)]), "return_train_score": r.random() < 0.5}
    is_alone = not isinstance(estimator, Pipeline)
    weights = {"sample_weight": draw_weights(r, len(X))} if r.random() < 0.2 and is_alone else {}
    kinds = ours.MLPSearchCV, GridSearchCV
    if r.random() < 0.3:
        kinds, options = (ours.MLPRandomSearchCV, RandomizedSearchCV), {**options, "n_iter": 2, "random_state": 0}
    mine, other = (fit_quietly(kind(estimator, grid, **options), X, y, **weights) for kind in kinds)
    if {*mine.cv_results_} != {*other.cv_results_} or mine.cv_results_["params"] != other.cv_results_["params"]:
        raise Failure(f"cv_results_: {mine.cv_results_} and {other.cv_results_}")
    for name, expected in other.cv_results_.items():
        if name.endswith("_score") and not name.startswith("rank"):
            found, expected = (np.nan_to_num(each, nan=-9.0) for each in (mine.cv_results_[name], expected))
            assert_close(found, expected, 1e-6, f"{name}: {model} over {grid}", max(1.0, np.abs(expected).max()))
    if mine.best_params_ == other.best_params_ and model.is_regressor:
        assert_close(mine.predict(X), other.predict(X), 1e-5, f"predict of the best: {model} over {grid}")


@operation(reads=True)
def search_resume(world: World, r: random.Random) -> None:
    """A search that was cut, and goes on from its file, is the uninterrupted one."""
    model, estimator, grid = draw_search(world, r, verbose=True)
    X, y = draw_examples(model, r, 24)
    path, every, lines = new_path(), r.choice([1, 3]), r.randrange(40)
    whole, cut, resumed = (ours.MLPSearchCV(estimator, grid, cv=2) for _ in range(3))
    fit_quietly(whole, X, y, checkpoint=new_path(), every=every)
    try:
        with redirect_stdout(CutOutput(lines, KeyboardInterrupt)):
            fit_quietly(cut, X, y, checkpoint=path, every=every)
    except KeyboardInterrupt:
        pass
    fit_quietly(resumed, X, y, checkpoint=path, every=every, resume=True)
    for name, expected in whole.cv_results_.items():
        if name.endswith("_score") and not np.array_equal(resumed.cv_results_[name], expected, equal_nan=True):
            raise Failure(f"resumed search: {name} after {lines} lines, every={every}: {model} over {grid}")
    if not np.array_equal(resumed.predict(X), whole.predict(X)):
        raise Failure(f"resumed search: predict after {lines} lines, every={every}: {model} over {grid}")
