"""Fitting: make a network, move the examples to it, and train it by gradient descent or by L-BFGS."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from xpnet.backends.base import Backend
from xpnet.core.arrays import Array, Namespace
from xpnet.core.minibatch import Examples
from xpnet.core.scaling import Scaler
from xpnet.data.prepare import fit_scaling, split_rows
from xpnet.data.reader import Reader
from xpnet.data.sources import Resident, Rows, take_rows
from xpnet.data.weights import check_some_weight
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
from xpnet.estimators.inputs import CheckedData, FitData, divide_by_largest
from xpnet.estimators.places import bring_home, to_host
from xpnet.estimators.problems import Problem
from xpnet.estimators.settings import Descent, Settings, make_sampling
from xpnet.estimators.sparse import AllRows, RowSource, SparseRows, read_targets, share_rows
from xpnet.network import Network
from xpnet.training.callback import Callback
from xpnet.training.evaluate import Evaluate
from xpnet.training.loop import train_networks
from xpnet.training.metrics import Metric, predictions
from xpnet.training.plan import Job, Plan
from xpnet.training.progress import Progress
from xpnet.wording.checks import warn
from xpnet.wording.errors import DivergenceError

HELD_OUT = "a part that early_stopping makes"
INTERRUPTED = "Training interrupted by user."


def start_network(
    architecture: Architecture, data: FitData, previous: Fitted | None, random_state: np.random.RandomState
) -> Network:
    """Make a new network, with random weights or with those of a previous fit (`warm_start`).

    Parameters
    ----------
    architecture, data
        What a new network looks like.
    previous
        The result of the fit whose weights it takes, if any.
    random_state
        Draws initial weights, and the seed of dropout.
    """
    head, x = data.problem.head(), data.train.x
    sizes = [x.shape[1], *parse_hidden_sizes(architecture.hidden_layer_sizes), head.units]
    if previous is None:
        init = uniform(architecture.activation, random_state, len(sizes) - 2)
    else:
        _check_continuation(previous.network, sizes, architecture)
        init = existing((to_host(w), to_host(b)) for w, b in previous.network.layers)
    dtype, backend = choose_dtype(architecture, x), choose_backend(architecture, data.home)
    seed = int(random_state.randint(2**31 - 1)) if np.any(architecture.dropout) else 0
    network = make_network(architecture, sizes, head, init, backend, dtype, seed)
    network.feature_names = data.features.feature_names_in
    if previous is not None and previous.network.scaling is not None:
        network.scaling = previous.network.scaling
    return network


def _check_continuation(network: Network, sizes: list[int], architecture: Architecture) -> None:
    """Refuse to continue a network with other layers, or with other units of its inputs."""
    if sizes != network.sizes:
        raise ValueError(
            f"warm_start=True continues a network of the sizes {network.sizes}, but X, y and hidden_layer_sizes now "
            f"ask for {sizes}; give warm_start=False to start anew"
        )
    if architecture.standardize != network.standardize:
        raise ValueError(
            f"warm_start=True continues a network with standardize={network.standardize}, and "
            f"standardize={architecture.standardize} now; give warm_start=False to start anew"
        )


class FitSources(NamedTuple):
    """The examples of a fit, where the network computes."""

    train: AllRows
    validation: AllRows | None

    def scaled(self, scaling: Scaler) -> "FitSources":
        """Scale all examples."""
        validation = None if self.validation is None else self.validation.scaled(scaling)
        return FitSources(self.train.scaled(scaling), validation)


class Fit(NamedTuple):
    """A fit that is prepared: a network, and how to train it on what. Training writes into network and tally."""

    network: Network
    settings: Settings
    problem: Problem
    source: RowSource
    tally: Tally
    alpha: float  # the penalty, in units of the largest weight of an example
    plan: Plan | None = None  # None: L-BFGS
    convergence: Convergence | None = None
    callbacks: Sequence[Callback] = ()


def prepare(
    net: Network,
    settings: Settings,
    data: FitData,
    sources: FitSources,
    previous: Fitted | None,
    random_state: np.random.RandomState,
    resample: Callable[[RowSource], RowSource] | None = None,
) -> Fit:
    """Prepare the fit of a network.

    Parameters
    ----------
    net
        The network; its state will change.
    settings
        How to train.
    data
        What depends on the weights of the examples.
    sources
        The same examples, where the network computes; several fits may share them.
    previous
        The result of the fit that this one continues; it stays as it is.
    random_state
        Draws validation data and minibatches.
    resample
        Draws the examples to train on from those that are not held out, for bagging.
    """
    problem, settings = data.problem, watch(settings, data.problem)
    descent = settings.descent
    net._take_over(scaling=sources.train.reader.scaling)
    tally = Tally() if previous is None else replace(previous.tally)
    alpha = settings.alpha / data.train.largest_weight
    source: RowSource = sources.train
    validation: RowSource | None = sources.validation
    if descent is not None and descent.early_stopping and validation is None:
        fraction = descent.validation_fraction
        source, validation = hold_out(sources.train, data.train.sample_weight, fraction, problem, random_state)
    if resample is not None:
        source = resample(source)
    if descent is None:
        return Fit(net, settings, problem, source, tally, alpha)
    plan = make_plan(settings, descent, len(source), alpha, random_state)
    convergence = _make_convergence(net, settings, descent, problem, source, validation, tally)
    evaluations = [] if validation is None else [_make_evaluation(problem, validation)]
    callbacks = [*evaluations, convergence, *descent.callbacks]
    return Fit(net, settings, problem, source, tally, alpha, plan, convergence, callbacks)


def watch(settings: Settings, problem: Problem) -> Settings:
    """Choose what ``early_stopping=True`` watches; "loss" stays as it is."""
    descent = settings.descent
    if descent is None or descent.early_stopping != "score":
        return settings
    return replace(settings, descent=descent._replace(early_stopping=problem.watched))


def run(fit: Fit) -> None:
    """Train the network of a fit; Ctrl-C ends the epochs of one, and the network stays as far as it has come."""
    try:
        train(fit)
    except KeyboardInterrupt:
        if fit.plan is None:
            raise
        warn(INTERRUPTED)


def train(fit: Fit) -> None:
    """Train the network of a fit."""
    if fit.plan is None:
        _minimize(fit)
        return
    progress = [Progress()] if shows_progress(fit) else []
    job = Job(fit.network, fit.plan, fit.source, [*fit.callbacks, *progress])
    for error in train_networks([job], keep_in=vars(fit.network)).values():
        accept_divergence(fit, error)


def shows_progress(fit: Fit) -> bool:
    """Tell whether a fit is to show a bar."""
    return fit.settings.descent is not None and fit.settings.descent.progress


def accept_divergence(fit: Fit, error: DivergenceError) -> None:
    """Record, with `early_stopping`, that training has diverged after its best epoch; else raise."""
    convergence = fit.convergence
    if convergence is None or not convergence.descent.early_stopping or convergence.best_layers is None:
        raise ValueError(
            "Solver produced non-finite parameter weights. The input data may contain large values and need to be "
            f"preprocessed: {error}"
        ) from error
    convergence.record_divergence()
    warn(f"Stopped, and went back to the best weights: {error}", ConvergenceWarning)


def make_sources(data: FitData, network: Network) -> FitSources:
    """Move the examples of a fit to the device, and scale them if the network standardizes."""
    reader = network.view.reader._replace(keeps_digits=network.standardize, warns=False)
    validation = None if data.validation is None else make_row_source(data.validation, "X_val", reader)
    sources = FitSources(make_row_source(data.train, "X", reader), validation)
    if network.standardize and network.scaling is None:
        return sources.scaled(fit_scaling(sources.train))
    return sources


def make_row_source(data: CheckedData, name: str, reader: Reader) -> AllRows:
    """Move examples to the device; sparse inputs stay on the host. `name` says in errors which they are."""
    backend, dtype = reader.backend, reader.dtype
    weight = divide_by_largest(data.weight, dtype, name)
    with reader.scope():
        y = reader.read_targets(bring_home(data.targets, backend), "y")
        weight = None if weight is None else backend.asarray(weight, dtype)
        if data.is_sparse:
            return SparseRows(data.x.tocsr(), Examples(None, y, weight), reader)
        x = reader.read_inputs(bring_home(data.x, backend), "X")
        return Resident(Examples(x, y, weight), reader)


def hold_out(
    source: AllRows,
    sample_weight: np.ndarray | None,
    fraction: float,
    problem: Problem,
    random_state: np.random.RandomState,
) -> tuple[RowSource, RowSource]:
    """Hold out the examples that scikit-learn would validate on, which do not have the weights of their classes."""
    y, weight = read_targets(source)
    classes = None
    if problem.task == "binary":  # "True" and "False", as scikit-learn calls them if it cannot split
        classes = (y[:, 0] > 0.5).astype(str)
    training_rows, validation_rows = split_rows(len(source), fraction, random_state, classes)
    if len(validation_rows) < 2:
        raise ValueError("The validation set is too small. Increase 'validation_fraction' or the size of your dataset.")
    if weight is not None:
        check_some_weight(float(weight[training_rows].max()), HELD_OUT)
    return share_rows(source, training_rows), share_rows(
        _weigh(source, sample_weight, validation_rows), validation_rows
    )


def _weigh(source: AllRows, sample_weight: np.ndarray | None, rows: np.ndarray) -> AllRows:
    """Give some of the examples their weights by the user, and the others 0."""
    weight, reader = None, source.reader
    if sample_weight is not None:
        weight = np.zeros(len(source))
        weight[rows] = divide_by_largest(sample_weight[rows], reader.dtype, HELD_OUT)
        with reader.scope():
            weight = reader.backend.asarray(weight, reader.dtype)
    return replace(source, examples=source.examples._replace(weight=weight))


def _minimize(fit: Fit) -> None:
    """Train by L-BFGS."""
    net, settings, tally, source = fit.network, fit.settings, fit.tally, fit.source
    if isinstance(source, Rows):
        source = take_rows(source.source, source.rows)
    loss = fit.problem.cost_to_loss(net.view, source)

    def print_iteration(number: int, cost: float) -> None:
        if settings.verbose:
            print(f"Iteration {number}, loss = {loss(cost):.8f}")

    options = {"maxfun": settings.max_fun, "maxiter": settings.max_iter, "gtol": settings.tol}
    layers, result = lbfgs.minimize(net.view, source, fit.alpha, options, print_iteration)
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
    to_numpy = validation.reader.backend.to_numpy
    _, weight = read_targets(validation)

    def measure_predictions(y: Array, a: Array, task: str, xp: Namespace) -> tuple[Array, Array]:
        return predictions(y, problem.task, xp), predictions(a, problem.task, xp)

    def score(parts: Sequence[tuple[Array, ...]], sizes: Sequence[int], backend: Backend) -> float:
        y_true, y_pred = (np.concatenate([to_numpy(block) for block in column]) for column in zip(*parts))
        return problem.score(y_true, y_pred, weight) if np.isfinite(y_pred).all() else np.nan

    metric = Metric(problem.score_name, measure_predictions, score, better="max")
    return Evaluate("validation", validation, [metric])
