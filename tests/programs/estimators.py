"""Estimators beside those of scikit-learn, in everything that these can do."""

import copy
import pickle
import random
import warnings
from collections import Counter
from collections.abc import Callable
from functools import partial
from operator import methodcaller
from typing import Any, NamedTuple

import numpy as np
import sklearn
import sklearn.neural_network as theirs
from scipy import sparse
from sklearn.base import clone

import xpnet
import xpnet.estimators as ours
from xpnet import get_backend

from .generate import Operation, register
from .world import Failure, assert_close, is_installed, place_arguments, to_host

OPERATIONS: dict[str, Operation] = {}
operation = partial(register, OPERATIONS)
PROBLEMS = ("classes", "classes", "two classes", "labels", "numbers", "numbers", "several numbers")
LABELS = [np.arange(4), np.array(list("dacb")), 10 * np.arange(4) - 5, np.arange(4.0)]
SOURCES = [*xpnet.__path__, *sklearn.__path__]
UNTOLD = {"RuntimeWarning", "UndefinedMetricWarning"}  # of overflows on the way, and of a score of one example
VALUE_OR_TYPE = (ValueError, TypeError)
FEW_ITERATIONS = 3
FEW_EPSILONS = 500  # a probability, in those of its dtype: in losses, scikit-learn takes one epsilon for anything below


class World:
    """An estimator of xpnet and one of scikit-learn with the same parameters, for the same calls."""

    def __init__(self, seed: int, place: str = "numpy") -> None:
        self.place = place
        r = random.Random(seed)
        # A backend can be cloned with its estimator, and a module or a device cannot
        self.where = {} if place == "numpy" else {"backend": get_backend(**place_arguments(place))}
        self.problem = r.choice(PROBLEMS)
        self.is_classifier = "numbers" not in self.problem
        self.n_in, self.n_classes = r.randint(1, 5), 2 if self.problem == "two classes" else r.randint(3, 4)
        self.labels = np.array([False, True]) if self.n_classes == 2 and r.random() < 0.3 else r.choice(LABELS)
        self.settings = draw_parameters(r, self.problem)
        is_exact = self.is_lbfgs or r.random() < 0.85  # L-BFGS of scikit-learn computes in float64 between steps
        self.dtype, self.tolerance = ("float64", 1e-6) if is_exact else ("float32", 2e-3)
        name = "MLPClassifier" if self.is_classifier else "MLPRegressor"
        self.mine = getattr(ours, name)(**self.settings, **self.where)
        self.theirs = getattr(theirs, name)(**self.settings)
        self.has_equal_losses = True  # those of a fit with weights differ, and stay in the curves
        self.log: list[str] = []
        self.skipped: Counter[str] = Counter()

    def draw(self, r: random.Random, n: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Draw inputs and targets; numbers with few bits, so that each dtype holds them."""
        g = np.random.default_rng(r.randrange(2**32))
        n = n or r.choice([6, 12, 20, 41])
        X = (g.integers(-32, 33, (n, self.n_in)) / 16).astype(self.dtype)
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
        """Whether the loss of epochs decides when training stops, or the learning rate falls."""
        settings = self.settings
        can_stop = not settings.get("early_stopping") and settings["max_iter"] > settings["n_iter_no_change"]
        return not self.is_lbfgs and (can_stop or settings.get("learning_rate") == "adaptive")

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
    mine, other = call_both(
        world, method, methodcaller(method, *data, **options), methodcaller(method, *data, **others)
    )
    if mine.error is not None:
        if pickle.dumps(world.mine) != before:
            raise Failure(f"{method}: an error changed the estimator: {mine.error!r}")
        world.theirs = untouched  # which a failed fit leaves with some attributes
        return
    if has_left_bounds(world.theirs, data[0]):
        world.skipped["scikit-learn diverges, or clips probabilities"] += 1
        world.begin_anew()
        return
    try:
        compare_fits(world, method)
        if mine.warnings != other.warnings:
            raise Failure(f"{method}: warnings {mine.warnings}, and scikit-learn {other.warnings}")
    except Failure:
        if not is_chaotic(untouched, world.theirs, method, data, others):
            raise
        world.skipped["inputs that differ by rounding train another network of scikit-learn"] += 1
        world.begin_anew()


def has_left_bounds(estimator: Any, X: np.ndarray) -> bool:
    """Whether training has diverged, or come to probabilities that scikit-learn clips."""
    losses = np.asarray(getattr(estimator, "loss_curve_", [estimator.loss_]), float)
    if not all(np.isfinite(w).all() for w in estimator.coefs_) or not np.isfinite(losses).all():
        return True
    if not hasattr(estimator, "classes_"):
        return False
    if estimator.solver == "lbfgs" and estimator.n_iter_ > FEW_ITERATIONS:
        return True  # its line searches may have tried such probabilities
    p = estimator.predict_proba(X)
    least = min(p.min(), 1.0 if estimator.out_activation_ == "softmax" else (1 - p).min())
    return least < FEW_EPSILONS * np.finfo(p.dtype).eps


def is_chaotic(before: Any, after: Any, method: str, data: Any, options: Any) -> bool:
    """Whether inputs that differ by rounding train another network, as with the kinks of ReLU, and many iterations.

    Then two programs that are both right give different networks.
    """
    (X, *rest), states = data, []
    limit = 1e-9 if X.dtype == "float64" else 1e-4
    for steps in (-2, 2, 4):
        other, factor = copy.deepcopy(before), X.dtype.type(1 + steps * np.finfo(X.dtype).eps)
        observe(methodcaller(method, X * factor, *rest, **options), other)
        states.append(other)
    return any(
        other.n_iter_ != after.n_iter_
        # Early stopping may have gone back to weights of before
        or any(measure(v, w) > limit for v, w in zip(list_numbers(other), list_numbers(after)))
        for other in states
    )


def list_numbers(estimator: Any) -> list[np.ndarray]:
    """The weights, and the losses of the way there."""
    return [*estimator.coefs_, np.array(getattr(estimator, "loss_curve_", [0.0]))]


def measure(a: Any, b: np.ndarray) -> float:
    """The largest difference of weights, in units of the largest weight."""
    return float(np.abs(to_host(a) - b).max() / max(1e-2, np.abs(b).max()))


def compare_fits(world: World, what: str) -> None:
    """Compare the attributes of both."""
    mine, other = world.mine, world.theirs
    tolerance = 1e-4 if world.is_lbfgs else world.tolerance
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
        found, scale = np.asarray(getattr(mine, name), float), max(1.0, np.abs(expected).max())
        assert_close(found, np.asarray(expected), tolerance, f"{what}: {name}", scale)


def is_sure(probabilities: np.ndarray) -> np.ndarray:
    """Tell of which rows rounding cannot change the predicted class."""
    doubt = 1e-6 if probabilities.dtype == "float64" else 2e-2
    ranked = np.sort(probabilities, axis=1)
    apart = ranked[:, -1] - ranked[:, -2] if ranked.shape[1] > 1 else np.ones(len(ranked))
    return (apart > doubt) & (np.abs(probabilities - 0.5).min(axis=1) > doubt)


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
    world.has_equal_losses = world.is_lbfgs or not others
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
    # With a warm start, scikit-learn fails where y lacks a class
    if world.is_classifier and not world.settings["warm_start"] and r.random() < 0.4:
        rows = y != np.unique(y)[r.randrange(2)]
        X, y = X[rows], y[rows]
    train_both(world, "partial_fit", (X, y), options)


@operation(weight=4, reads=True)
def predict(world: World, r: random.Random) -> None:
    """Predict, of some rows and of one."""
    X, y = world.draw(r)
    tolerance = 1e-4 if world.is_lbfgs else 10 * world.tolerance
    for method in ["predict_proba", "predict_log_proba"] * world.is_classifier + ["predict"]:
        mine, other = call_both(world, method, methodcaller(method, X))
        if mine.error is not None:
            return
        if mine.result.dtype != other.result.dtype and world.place != "jax":  # which has whole numbers of 32 bits alone
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
    if mine.error is None and (not world.is_classifier or is_sure(world.theirs.predict_proba(X)).all()):
        assert_close(mine.result, other.result, 10 * tolerance, "score", max(1.0, abs(other.result)))
    if not world.is_classifier:
        assert_close(world.mine.predict(X[:1]), world.mine.predict(X)[:1], world.tolerance / 1e3, "predict one row")


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
    call_both(world, "set_params", methodcaller("set_params", **change))
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
    if not is_installed("torch"):
        return X, y
    import torch

    return torch.tensor(X), torch.tensor(y) if y.dtype.kind in "fib" else y


@operation(weight=3, reads=True)
def forms(world: World, r: random.Random) -> None:
    """The same data in another form give the same estimator: bit for bit, but in another library."""
    X, y = world.draw(r)
    X = X.astype("float64")  # as lists are
    expected, estimator = clone(world.mine), clone(world.mine)
    if observe(methodcaller("fit", X, y), expected).error is not None:
        return
    form, x, targets = draw_form(r, X, y)
    found = observe(methodcaller("fit", x, targets), estimator)
    if found.error is not None:
        raise Failure(f"fit on {form}: {found.error!r}")
    difference = max(measure(v, w) for v, w in zip(estimator.coefs_, expected.coefs_, strict=True))
    elsewhere = form == "torch" and not world.where
    if difference <= (world.tolerance if elsewhere else 0.0):
        return
    if not (elsewhere and is_chaotic(clone(world.mine), expected, "fit", (X, y), {})):
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
        call_both(pair, f"{wrong}", methodcaller("set_params", **wrong))
        before = pickle.dumps(pair.mine)
        mine, _ = call_both(pair, f"{wrong}", methodcaller("fit", X, y))
        if name not in str(mine.error):
            raise Failure(f"{wrong} was refused with {mine.error!r}")
    else:
        before, (method, choose) = pickle.dumps(pair.mine), r.choice(WRONG_CALLS)
        call_both(pair, f"wrong {method}", methodcaller(method, *(wrong := choose(X, y))))
    if pickle.dumps(pair.mine) != before:
        raise Failure(f"{wrong} changed the estimator")


WRONG_CALLS: list[tuple[str, Callable[[np.ndarray, np.ndarray], tuple[Any, ...]]]] = [
    ("fit", lambda X, y: (X[:, :0], y)),
    ("fit", lambda X, y: (X[:-1], y)),
    ("fit", lambda X, y: (X * np.nan, y)),
    ("fit", lambda X, y: (X[:0], y[:0])),
    ("fit", lambda X, y: (X, None)),
    ("fit", lambda X, y: (X, y, np.ones(3))),
    ("fit", lambda X, y: (X.astype(str), y[:, None, None])),
    ("fit", lambda X, y: (X[:, 0], y)),
    ("fit", lambda X, y: ({}, y)),
    ("predict", lambda X, y: (np.ones((2, 99)),)),
    ("predict", lambda X, y: ("a",)),
    ("predict", lambda X, y: (X[0],)),
    ("predict", lambda X, y: (X * np.inf,)),
    ("score", lambda X, y: (X, y[:-1])),
]
