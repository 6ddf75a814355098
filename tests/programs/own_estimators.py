"""What scikit-learn's estimators do not have, each beside something that must be equal."""

import os
import random
import warnings
from contextlib import redirect_stdout
from functools import partial
from io import StringIO
from operator import methodcaller
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, KFold, RandomizedSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from xpnet import SGD, AdamW, Clip, Cosine, LevenbergMarquardt, OneCycle, RMSProp, Step
from xpnet import estimators as ours

from .estimators import World, copy_by_pickle, draw_weights, observe
from .generate import Operation, register
from .world import Failure, Interrupt, Interrupted, assert_close, make_oracle, new_path, to_host

OPERATIONS: dict[str, Operation] = {}
operation = partial(register, OPERATIONS)
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
    if a.network_.fingerprint() != b.network_.fingerprint():
        raise Failure(f"{what}: weights are off by {max(np.abs(w - v).max() for w, v in zip(a.coefs_, b.coefs_))}")
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
    try:
        whole = fit_quietly(model.make(kind, **changes), X, y, **options)
    except ValueError as error:
        if "non-finite" in str(error):  # it diverged
            return
        raise
    cut, path = Interrupt(r.choice(["begin", "epoch", "chunk", "end"]), r.randrange(6)), new_path(".safetensors")
    every = r.choice(["epoch", 1, 3])
    try:
        again = fit_quietly(model.make(kind, **changes, callbacks=[cut]), X, y, **options, checkpoint=path, every=every)
    except Interrupted:
        again = model.make(kind, **changes, callbacks=[Interrupt(cut.where, cut.after, armed=False)])
        more = {**options, "checkpoint": path, "every": every, "resume": True}
        if os.path.exists(path):
            other = clone(again).set_params(random_state=model.parameters["random_state"] + 1)
            refused = observe(lambda estimator: fit_quietly(estimator, X, y, **more), other).error
            if not (isinstance(refused, ValueError) and "random_state" in str(refused)):
                raise Failure(f"resumed with another random_state: {refused!r}: {model}, {changes}") from None
        fit_quietly(again, X, y, **more)
    for pair in [(again, whole)] if kind == "MLP" else zip(again.estimators_, whole.estimators_, strict=True):
        assert_equal_fits(*pair, f"resumed: cut at {cut.where} {cut.after}, {model}, {changes}")


@operation(reads=True)
def validation_weights(world: World, r: random.Random) -> None:
    """Weights of validation data that are whole numbers are repeated rows."""
    model = draw_model(world, r, CAN_RESUME)
    X, y = draw_examples(model, r)
    X_val, y_val = draw_examples(model, r)
    numbers = np.array([1, *(r.randrange(4) for _ in y_val[1:])])
    rows = np.repeat(np.arange(len(y_val)), numbers)
    weighed = observe(methodcaller("fit", X, y, X_val=X_val, y_val=y_val, sample_weight_val=numbers), model.make())
    repeated = observe(methodcaller("fit", X, y, X_val=X_val[rows], y_val=y_val[rows]), model.make())
    if str(weighed.error) != str(repeated.error):
        raise Failure(f"weights of validation data: {weighed.error!r}, repeated rows {repeated.error!r}: {model}")
    for name in CURVES if weighed.error is None else ():
        found, expected = (np.asarray(getattr(each.result, name, None), float) for each in (weighed, repeated))
        if not np.allclose(found, expected, 1e-9, 1e-9, equal_nan=True):
            raise Failure(f"weights of validation data: {name} {found}, of repeated rows {expected}: {model}")


@operation(reads=True)
def weighted_evidence(world: World, r: random.Random) -> None:
    """Bayesian Levenberg-Marquardt with weights over many orders of magnitude: error bars beside MacKay's formulas."""
    if world.place not in ("numpy", "torch"):
        return
    solver, model = (
        LevenbergMarquardt(bayesian=True),
        Model("Regressor", {"random_state": r.randrange(99), **world.where}),
    )
    X, y = draw_examples(model, r)
    weights = 2.0 ** np.random.default_rng(r.randrange(99)).integers(-30, 31, len(X))
    options = {"activation": "tanh", "hidden_layer_sizes": r.choice([(3,), ()]), "standardize": r.random() < 0.5}
    estimator = fit_quietly(model.make(solver=solver, max_iter=r.choice([2, 15]), **options), X, y, weights)
    net, memory = estimator.network_, estimator.network_.value.state.optimizer.memory
    alpha = np.concatenate([to_host(part).ravel() for pair in memory.weights for part in pair])
    oracle = make_oracle(net)
    laplace = oracle.fit_laplace(X, y, weights, (alpha, to_host(memory.noise)[0]))
    expected = oracle.std_of_weights(X, *laplace)[:, 0]
    assert_close(estimator.predict(X, return_std=True)[1], expected, 1e-5, "error bars by weighted evidence")


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
    twin = copy_by_pickle(whole)
    if twin.ensemble_.fingerprint() != whole.ensemble_.fingerprint():
        raise Failure(f"a pickle holds another ensemble: {model}")


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
    "standardize": [False, True],
    "dtype": ["float32", "float64"],
}
GRID_OF_REGRESSORS = {"loss": ["squared_error", "huber", "gaussian", "quantile(0.1, 0.5, 0.9)", "absolute"]}
GRID_OF_CLASSIFIERS = {"class_weight": [None, "balanced", {"u": 3.0, "w": 0.0}], "loss": ["log_loss", "quadratic"]}


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
    grid = GRID | (GRID_OF_REGRESSORS if model.is_regressor else GRID_OF_CLASSIFIERS)
    names = ["alpha", "tol", "standardize", "class_weight"] if is_lbfgs else [*grid]
    grid = {name: grid[name] for name in r.sample([name for name in names if name in grid], r.randint(1, 2))}
    if r.random() < 0.3:
        pipeline = make_pipeline(StandardScaler(), model.make(**changes))
        return model, pipeline, {f"{pipeline.steps[-1][0]}__{name}": values for name, values in grid.items()}
    return model, model.make(**changes), grid


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
    tolerance = 1e-3 if any("dtype" in name for name in grid) else 1e-6
    mine, other = (fit_quietly(kind(estimator, grid, **options), X, y, **weights) for kind in kinds)
    if {*mine.cv_results_} != {*other.cv_results_} or mine.cv_results_["params"] != other.cv_results_["params"]:
        raise Failure(f"cv_results_: {mine.cv_results_} and {other.cv_results_}")
    for name, expected in other.cv_results_.items():
        if name.endswith("_score") and not name.startswith("rank"):
            found, expected = (np.nan_to_num(each, nan=-9.0) for each in (mine.cv_results_[name], expected))
            scale = max(1.0, np.abs(expected).max())
            assert_close(found, expected, tolerance, f"{name}: {model} over {grid}", scale)
    if mine.best_params_ == other.best_params_ and model.is_regressor:
        assert_close(mine.predict(X), other.predict(X), 10 * tolerance, f"predict of the best: {model} over {grid}")


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
