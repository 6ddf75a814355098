"""Fitting: make a network, move the examples to it, and train it by gradient descent or by L-BFGS."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from xpnet.backends.base import Backend
from xpnet.checks import warn
from xpnet.core.arrays import Array, Namespace
from xpnet.core.minibatch import Examples
from xpnet.data.prepare import split_rows
from xpnet.data.reader import Reader
from xpnet.data.sources import Resident, take_rows
from xpnet.errors import DivergenceError
from xpnet.estimators import lbfgs
from xpnet.estimators.architecture import (
    Architecture,
    choose_backend,
    choose_dtype,
    existing,
    make_network,
    parse_hidden_sizes,
    uniform,
)
from xpnet.estimators.convergence import Convergence, warn_if_not_converged
from xpnet.estimators.fitted import Fitted, Tally, start_curves
from xpnet.estimators.inputs import CheckedData, divide_by_largest
from xpnet.estimators.places import move_to, to_host
from xpnet.estimators.problems import Problem
from xpnet.estimators.settings import Descent, Settings, make_sampling
from xpnet.estimators.sparse import RowSource, SparseRows
from xpnet.network import Network
from xpnet.training.callbacks import Progress
from xpnet.training.evaluate import Evaluate
from xpnet.training.loop import Plan
from xpnet.training.metrics import Metric, predictions


def start_network(
    architecture: Architecture,
    problem: Problem,
    x: Any,
    home: Backend,
    previous: Fitted | None,
    random_state: np.random.RandomState,
) -> Network:
    """Make a new network, with random weights or with those of a previous fit (`warm_start`).

    Parameters
    ----------
    architecture, problem
        What a new network looks like.
    x
        Checked inputs.
    home
        Where they lie.
    previous
        The result of the fit whose weights it takes, if any.
    random_state
        Draws initial weights, and the seed of dropout.
    """
    head = problem.head()
    sizes = [x.shape[1], *parse_hidden_sizes(architecture.hidden_layer_sizes), head.units]
    if previous is None:
        init = uniform(architecture.activation, random_state, len(sizes) - 2)
    else:
        if sizes != previous.network.sizes:
            raise ValueError(
                f"warm_start=True continues a network of the sizes {previous.network.sizes}, but X, y and "
                f"hidden_layer_sizes now ask for {sizes}; give warm_start=False to start anew"
            )
        init = existing((to_host(w), to_host(b)) for w, b in previous.network.layers)
    dtype = choose_dtype(architecture, x)
    seed = int(random_state.randint(2**31 - 1)) if np.any(architecture.dropout) else 0
    return make_network(architecture, sizes, head, init, choose_backend(architecture, home), dtype, seed)


def train(
    net: Network,
    settings: Settings,
    problem: Problem,
    data: CheckedData,
    validation: CheckedData | None,
    previous: Tally | None,
    random_state: np.random.RandomState,
) -> Tally:
    """Train a network, and return what training has come to.

    Parameters
    ----------
    net
        The network; its state changes.
    settings
        How to train.
    problem
        What the targets are.
    data, validation
        The examples to train and to validate on.
    previous
        What earlier calls, which this one continues, have come to; it stays as it is.
    random_state
        Draws validation data and minibatches.
    """
    weight, largest = divide_by_largest(data.weight, net.dtype, "X")
    source, alpha = make_row_source(data, weight, net.view.reader), settings.alpha / largest
    tally, descent = Tally() if previous is None else replace(previous), settings.descent
    if descent is None:
        _minimize(net, settings, problem, source, alpha, tally)
        return tally
    validation_source = None
    if validation is not None:
        weight, _ = divide_by_largest(validation.weight, net.dtype, "X_val")
        validation_source = make_row_source(validation, weight, net.view.reader)
    elif descent.early_stopping:
        fraction = descent.validation_fraction
        source, validation_source = hold_out(source, data.sample_weight, fraction, problem, random_state)
    plan = make_plan(settings, descent, len(source), alpha, random_state)
    convergence = _make_convergence(net, settings, descent, problem, source, validation_source, tally)
    evaluations = [] if validation_source is None else [_make_evaluation(problem, validation_source)]
    progress = [Progress()] if descent.progress else []
    try:
        net.run(plan, source, [*evaluations, convergence, *descent.callbacks, *progress])
    except KeyboardInterrupt:
        warn("Training interrupted by user.")
    except DivergenceError as error:
        if not descent.early_stopping or convergence.best_layers is None:
            raise ValueError(
                "Solver produced non-finite parameter weights. The input data may contain large values and need to be "
                f"preprocessed: {error}"
            ) from error
        convergence.record_divergence()
        warn(f"Stopped, and went back to the best weights: {error}", ConvergenceWarning)
    return tally


def make_row_source(data: CheckedData, weight: np.ndarray | None, reader: Reader) -> RowSource:
    """Move examples to the device; sparse inputs stay on the host."""
    backend, dtype = reader.backend, reader.dtype
    with reader.scope():
        y = reader.read_targets(move_to(data.targets, backend), "y")
        weight = None if weight is None else backend.asarray(weight, dtype)
        if data.is_sparse:
            return SparseRows(data.x.tocsr(), Examples(None, y, weight), reader)
        x = reader.read_inputs(move_to(data.x, backend, dtype), "X")
        return Resident(Examples(x, y, weight), reader)


def hold_out(
    source: RowSource,
    sample_weight: np.ndarray | None,
    fraction: float,
    problem: Problem,
    random_state: np.random.RandomState,
) -> tuple[RowSource, RowSource]:
    """Hold out the examples that scikit-learn would validate on, which do not have the weights of their classes."""
    reader, weight = source.reader, source.examples.weight
    with reader.scope():
        weight = None if weight is None else reader.backend.to_numpy(weight)
        classes = None
        if problem.task == "binary":  # "True" and "False", as scikit-learn calls them if it cannot split
            classes = (reader.backend.to_numpy(source.examples.y)[:, 0] > 0.5).astype(str)
    training_rows, validation_rows = split_rows(len(source), fraction, random_state, classes)
    if len(validation_rows) < 2:
        raise ValueError("The validation set is too small. Increase 'validation_fraction' or the size of your dataset.")
    return _take(source, training_rows, weight), _take(source, validation_rows, sample_weight)


def _take(source: RowSource, rows: np.ndarray, weight: np.ndarray | None) -> RowSource:
    """Take some of the examples, with new weights."""
    reader = source.reader
    part: RowSource = take_rows(source, rows) if isinstance(source, Resident) else source.rows(rows)
    if weight is not None:
        weight, _ = divide_by_largest(weight[rows], reader.dtype, "a part that early_stopping makes")
        with reader.scope():
            weight = reader.backend.asarray(weight, reader.dtype)
    return replace(part, examples=part.examples._replace(weight=weight))


def _minimize(
    net: Network, settings: Settings, problem: Problem, source: RowSource, alpha: float, tally: Tally
) -> None:
    """Train by L-BFGS."""
    loss = problem.cost_to_loss(net.view, source)

    def print_iteration(number: int, cost: float) -> None:
        if settings.verbose:
            print(f"Iteration {number}, loss = {loss(cost):.8f}")

    options = {"maxfun": settings.max_fun, "maxiter": settings.max_iter, "gtol": settings.tol}
    layers, result = lbfgs.minimize(net.view, source, alpha, options, print_iteration)
    net.state = net.state._replace(layers=layers)
    tally.n_iter, tally.loss, tally.curves = min(result.nit, settings.max_iter), loss(float(result.fun)), None
    warn_if_not_converged(result, settings.max_iter)


def make_plan(settings: Settings, descent: Descent, n: int, alpha: float, random_state: np.random.RandomState) -> Plan:
    """Plan the training on n examples."""
    if descent.batch_size is not None and descent.batch_size > n:
        warn(f"Got `batch_size` less than 1 or larger than sample size. It is going to be clipped to {n}")
    return Plan(
        epochs=1 if settings.partial else settings.max_iter,
        batch_size=min(200 if descent.batch_size is None else descent.batch_size, n),
        optimizer=descent.optimizer,
        schedule=descent.schedule,
        sampling=make_sampling(random_state, descent.shuffle),
        alpha=alpha,
    )


def _make_convergence(
    net: Network,
    settings: Settings,
    descent: Descent,
    problem: Problem,
    source: RowSource,
    validation: RowSource | None,
    tally: Tally,
) -> Convergence:
    """Make the callback that follows scikit-learn's rules, and writes into the tally."""
    validates, early_stopping = validation is not None, descent.early_stopping is not None
    tally.curves = start_curves(tally.curves, validates=validates, early_stopping=early_stopping)
    return Convergence(
        settings,
        descent,
        tally,
        tally.curves,
        len(source),
        score_name=problem.score_name,
        loss=problem.cost_to_loss(net.view, source),
        validation_loss=float if validation is None else problem.cost_to_loss(net.view, validation),
    )


def _make_evaluation(problem: Problem, validation: RowSource) -> Evaluate:
    """Make the callback that computes the cost on validation data, and scikit-learn's score, on the host."""
    weight, to_numpy = validation.examples.weight, validation.reader.backend.to_numpy
    with validation.reader.scope():
        weight = None if weight is None else to_numpy(weight)

    def measure_predictions(y: Array, a: Array, task: str, xp: Namespace) -> tuple[Array, Array]:
        return predictions(y, problem.task, xp), predictions(a, problem.task, xp)

    def score(parts: Sequence[tuple[Array, ...]], sizes: Sequence[int], backend: Backend) -> float:
        y_true, y_pred = (np.concatenate([to_numpy(block) for block in column]) for column in zip(*parts))
        return problem.score(y_true, y_pred, weight) if np.isfinite(y_pred).all() else np.nan

    metric = Metric(problem.score_name, measure_predictions, score, better="max")
    return Evaluate("validation", validation, [metric])
