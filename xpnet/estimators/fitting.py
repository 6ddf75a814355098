"""Fitting: start a network, load the examples, prepare how to train it, and train one or many together."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from xpnet.backends.base import Backend
from xpnet.backends.choose import to_host
from xpnet.checks import warn
from xpnet.core.arrays import Array, Namespace
from xpnet.data.gathered import Stored, gather_rows, remember_rows
from xpnet.data.host_rows import stays_outside
from xpnet.data.resident import Rows, take_rows
from xpnet.data.source import describe_known_rows
from xpnet.errors import ArgumentError, DivergenceError, unless_stopped
from xpnet.estimators import lbfgs
from xpnet.estimators.architecture import (
    choose_backend,
    choose_dtype,
    draw_uniform,
    make_network,
    parse_hidden_sizes,
    take_layers,
)
from xpnet.estimators.checkpoints import fingerprint, skip_epochs
from xpnet.estimators.convergence import Convergence, Tally, read_tally, warn_if_not_converged
from xpnet.estimators.examples import RowSource, hold_out, load, read_targets, resample
from xpnet.estimators.inputs import float_dtype
from xpnet.estimators.settings import Parameters, Settings, make_sampling
from xpnet.estimators.targets import Problem
from xpnet.network import Network, take_values
from xpnet.training.callback import Callback
from xpnet.training.checkpointing import Checkpoint, Saving, make_checkpoint, read_trainings
from xpnet.training.evaluate import Evaluate
from xpnet.training.loop import train_networks
from xpnet.training.metrics import Metric, predictions
from xpnet.training.plan import Job, Plan
from xpnet.training.prepare import fit_scaling
from xpnet.training.progress import Progress

Fitted: TypeAlias = Mapping[str, Any]  # the fitted attributes of an estimator; empty before the first fit
LoadedExamples: TypeAlias = tuple[Stored, Stored | None]  # for training and for validation


class FitData(NamedTuple):
    """The checked arguments of a fit, still where the user has them."""

    home: Backend  # where X lies
    feature_names: np.ndarray | None  # None: X has no names
    problem: Problem
    x: Any  # (n, n_features): an array of any library, or a sparse matrix
    targets: Any  # as the network outputs them; see `Classification.encode`
    sample_weight: np.ndarray | None  # (n,) float64, on the host
    class_weight: np.ndarray | None = None  # (n,), of the class of each example, on the host
    validation: "FitData | None" = None

    @property
    def weight(self) -> np.ndarray | None:
        """Weights of the examples, those of their classes included."""
        if self.class_weight is None or self.sample_weight is None:
            return self.sample_weight if self.class_weight is None else self.class_weight
        return self.sample_weight * self.class_weight


class Fit(NamedTuple):
    """A fit that is ready to train. Training writes into network and tally."""

    network: Network
    data: FitData
    settings: Settings
    source: RowSource
    tally: Tally
    alpha: float  # the penalty, in units of the largest weight of an example
    plan: Plan | None = None  # None: L-BFGS
    convergence: Convergence | None = None
    callbacks: Sequence[Callback] = ()


def start_network(
    parameters: Parameters, data: FitData, previous: Network | None, random_state: np.random.RandomState
) -> Network:
    """Make a new network, with random weights or with those of a previous one (`warm_start`).

    Parameters
    ----------
    parameters, data
        They say what the network looks like, and where it computes.
    previous
        The network whose weights it takes, if any.
    random_state
        Draws initial weights, and the seed of dropout.
    """
    head = data.problem.head()
    sizes = [data.x.shape[1], *parse_hidden_sizes(parameters.hidden_layer_sizes), head.units]
    if previous is None:
        init = draw_uniform(parameters.activation, random_state, len(sizes) - 2)
    else:
        _check_continuation(previous, sizes, parameters)
        init = take_layers((to_host(w), to_host(b)) for w, b in previous.layers)
    dtype, backend = choose_dtype(parameters, float_dtype(data.x)), choose_backend(parameters, data.home)
    seed = int(random_state.randint(2**31 - 1)) if np.any(parameters.dropout) else 0
    network = make_network(parameters, sizes, head, init, backend, dtype, seed)
    network.feature_names = data.feature_names
    if previous is not None:
        network.value = network.value._replace(provenance=previous.provenance)
        if previous.scaling is not None:
            network.scaling = previous.scaling
    return network


def _check_continuation(network: Network, sizes: list[int], parameters: Parameters) -> None:
    """Refuse to continue a network of other sizes, or with another scaling of its inputs."""
    if sizes != network.sizes:
        raise ArgumentError(
            f"warm_start=True continues a network of the sizes {network.sizes}, but X, y and hidden_layer_sizes now "
            f"ask for {sizes}; give warm_start=False to start anew"
        )
    if parameters.standardize != network.standardize:
        raise ArgumentError(
            f"warm_start=True continues a network with standardize={network.standardize}, and "
            f"standardize={parameters.standardize} now; give warm_start=False to start anew"
        )


def load_examples(data: FitData, network: Network) -> LoadedExamples:
    """Move the examples of a fit to the device, and scale them if the network standardizes."""
    reader = network.view.reader._replace(keeps_digits=network.standardize, warns=False)
    validation = None
    if data.validation is not None:
        held_out = data.validation
        validation = load(held_out.x, held_out.targets, held_out.weight, "X_val", reader)
    train = remember_rows(load(data.x, data.targets, data.weight, "X", reader))
    if network.standardize and network.scaling is None:
        scaling = fit_scaling(train)
        return train.scaled(scaling), None if validation is None else validation.scaled(scaling)
    return train, validation


def prepare_fit(
    network: Network,
    settings: Settings,
    data: FitData,
    examples: LoadedExamples,
    last: Fitted,
    random_state: np.random.RandomState,
    *,
    resamples: bool = False,
) -> Fit:
    """Prepare a fit.

    Parameters
    ----------
    network
        The network; its state will change.
    settings
        How to train.
    data
        The checked arguments of the fit.
    examples
        Its examples where the network computes; several fits may share them.
    last
        The fitted attributes that this fit continues; they stay as they are.
    random_state
        Draws validation data and minibatches.
    resamples
        Whether to train on a sample drawn with replacement from the examples that are not held out (bagging).
    """
    source: RowSource
    validation: RowSource | None
    (source, validation), problem, weight = examples, data.problem, data.weight
    network.value = network.value._replace(scaling=source.reader.scaling)
    tally, alpha = read_tally(last), settings.alpha / (1.0 if weight is None else float(weight.max()))
    if settings.optimizer is not None and settings.early_stopping:
        if settings.early_stopping == "score":
            settings = replace(settings, early_stopping="loss" if settings.by_steps else problem.watched)
        if validation is None:
            fraction, task = settings.validation_fraction, problem.task
            source, validation = hold_out(examples[0], data.sample_weight, fraction, task, random_state)
    if resamples:
        source = resample(source, random_state)
    if settings.optimizer is None:
        return Fit(network, data, settings, source, tally, alpha)
    plan = Plan(
        epochs=1 if settings.partial else settings.max_iter,
        batch_size=_clip_batch_size(settings.batch_size, len(source)),
        optimizer=settings.optimizer,
        schedule=settings.schedule,
        sampling=make_sampling(random_state, settings.shuffle),
        alpha=alpha,
        rule=settings.rule,
    )
    convergence = _make_convergence(network, settings, problem, source, validation, tally)
    evaluations = [] if validation is None else [_make_evaluation(problem, validation)]
    callbacks = [*evaluations, convergence, *settings.callbacks]
    return Fit(network, data, settings, source, tally, alpha, plan, convergence, callbacks)


def _clip_batch_size(batch_size: int | None, n: int) -> int:
    """Return the batch size, or 200, but at most n."""
    if batch_size is not None and batch_size > n:
        warn(f"Got `batch_size` less than 1 or larger than sample size. It is going to be clipped to {n}")
    return min(200 if batch_size is None else batch_size, n)


def _make_convergence(
    network: Network,
    settings: Settings,
    problem: Problem,
    source: RowSource,
    validation: RowSource | None,
    tally: Tally,
) -> Convergence:
    """Make the callback that follows scikit-learn's rules and writes into the tally."""
    tally.begin_epochs(validates=validation is not None, early_stopping=settings.early_stopping is not None)
    return Convergence(
        settings,
        tally,
        len(source),
        score_name=problem.score_name,
        loss=problem.cost_to_loss(network.view, source),
        validation_loss=float if validation is None else problem.cost_to_loss(network.view, validation),
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


# Training


def train_until_interrupted(fits: Sequence[Fit], checkpoint: Checkpoint | None = None) -> dict[int, ValueError]:
    """Train the networks of fits; Ctrl-C ends their epochs, and what they have learnt until then stays.

    Returns
    -------
    dict
        As `train_fits`; empty after Ctrl-C.

    Raises
    ------
    KeyboardInterrupt
        If Ctrl-C has interrupted L-BFGS.
    """
    try:
        return train_fits(fits, checkpoint=checkpoint)
    except KeyboardInterrupt:
        if fits[0].plan is None:
            raise
        warn("Training interrupted by user.")
        return {}


def train_fits(
    fits: Sequence[Fit], *, threads: int | str = "auto", progress: bool = False, checkpoint: Checkpoint | None = None
) -> dict[int, ValueError]:
    """Train the networks of fits, those of one structure in one program.

    Parameters
    ----------
    fits
        The fits; their networks and tallies change.
    threads
        As in `Ensemble.train`.
    progress
        Whether to show a bar for networks that are trained together, even if no fit asks for one.
    checkpoint
        Writes the training of fits of one structure to a file.

    Returns
    -------
    dict
        The errors of those that failed, by their numbers.
    """
    errors: dict[int, ValueError] = {}
    for numbers in group_by_structure(fits):
        group = [fits[k] for k in numbers]
        try:
            if group[0].plan is None:
                _minimize(group[0])
            else:
                failed = _descend(group, threads, progress, checkpoint)
                errors |= {numbers[i]: error for i, error in failed.items()}
        except unless_stopped(ValueError) as error:
            if len(group) > 1:  # it does not say which fit failed
                raise
            errors[numbers[0]] = error
    return errors


def group_by_structure(fits: Sequence[Fit]) -> list[list[int]]:
    """Group the numbers of fits whose networks can be trained in one program; a fit by L-BFGS stays alone.

    Their networks have the same model, place and dtype, and their optimizers the same update, up to its numbers.
    """
    groups: list[list[int]] = []
    structures: list[Any] = []
    for k, fit in enumerate(fits):
        structure = _list_structure(fit)
        if structure is not None and structure in structures:
            groups[structures.index(structure)].append(k)
        else:
            groups.append([k])
            structures.append(structure)
    return groups


def _list_structure(fit: Fit) -> Any:
    """List everything that fits must have in common to be trained together; None for L-BFGS."""
    if fit.plan is None:
        return None
    view = fit.network.view
    place = (view.backend.name, view.backend.device, view.dtype)
    return view.model, view.scaling is None, place, fit.plan.optimizer.update


def _descend(
    fits: Sequence[Fit], threads: int | str, progress: bool, checkpoint: Checkpoint | None
) -> dict[int, ValueError]:
    """Train networks of one structure by gradient descent, and return the errors of those that failed."""
    jobs = make_jobs(fits, progress)
    training = train_networks(jobs, threads=threads, checkpoint=checkpoint)
    diverged = take_values([fit.network for fit in fits], training)
    failed = {i: _handle_divergence(fits[i], error) for i, error in diverged.items()}
    return {i: error for i, error in failed.items() if error is not None}


def make_jobs(fits: Sequence[Fit], progress: bool = False) -> list[Job]:
    """Make the jobs of fits of one structure, with one bar if a fit asks for it, or if it is for several of them."""
    bars = [Progress()] if any(fit.settings.progress for fit in fits) or (progress and len(fits) > 1) else []
    plans: Any = [fit.plan for fit in fits]
    return [Job(fit.network, plan, fit.source, callbacks=[*fit.callbacks, *bars]) for fit, plan in zip(fits, plans)]


def make_checkpoint_of_fits(fits: Sequence[Fit], saving: Saving, description: Mapping[str, Any]) -> Checkpoint:
    """Make the checkpoint of fits of one structure, which resumes those in its file, if there are any. Synchronizes.

    `description` says what the estimator must have in common with the one of a fit that is resumed.
    """
    jobs, progress = make_jobs(fits), any(fit.settings.progress for fit in fits)
    resumed = read_trainings(saving, [fit.network for fit in fits], progress)
    remembering: Any = [[fit.convergence, *fit.settings.callbacks] for fit in fits]
    calls = [{**description, **fingerprint_data(fits[0].data)}] * len(fits)
    checkpoint = make_checkpoint(saving, jobs, remembering, calls, resumed, progress)
    if resumed is not None:
        skip_epochs(jobs, resumed)
    return checkpoint


def fingerprint_data(data: FitData) -> dict[str, Any]:
    """Describe the examples of a fit by digests. Synchronizes."""
    held_out = data.validation
    return {
        "train_data": fingerprint(data.x, data.targets, data.weight),
        "validation_data": None if held_out is None else fingerprint(held_out.x, held_out.targets, held_out.weight),
    }


def _handle_divergence(fit: Fit, error: DivergenceError) -> ValueError | None:
    """Warn that training diverged after the best epoch of early stopping, or else return the error to raise."""
    convergence = fit.convergence
    if convergence is None or not fit.settings.early_stopping or convergence.best_layers is None:
        failure = ValueError(
            "Solver produced non-finite parameter weights. The input data may contain large values and need to be "
            f"preprocessed: {error}"
        )
        failure.__cause__ = error
        return failure
    convergence.record_divergence()
    warn(f"Stopped, and went back to the best weights: {error}", ConvergenceWarning)
    return None


def _minimize(fit: Fit) -> None:
    """Train by L-BFGS."""
    network, settings, tally, source = fit.network, fit.settings, fit.tally, fit.source
    if isinstance(source, Rows):
        outside = stays_outside(source.source.examples.x)
        source = gather_rows(source) if outside else take_rows(source.source, source.rows)
    loss = fit.data.problem.cost_to_loss(network.view, source)

    def print_iteration(number: int, cost: float) -> None:
        if settings.verbose:
            print(f"Iteration {number}, loss = {loss(cost):.8f}")

    options = {"maxfun": settings.max_fun, "maxiter": settings.max_iter, "gtol": settings.tol}
    layers, result = lbfgs.minimize(network.view, source, fit.alpha, options, print_iteration)
    run = lbfgs.describe_run(network.view, len(source), fit.alpha, options)
    network.value = network.value._replace(
        stored=network.state._replace(layers=layers),
        calibration=None,
        known_rows=describe_known_rows(fit.source),
        provenance=network.provenance.add(run),
    )
    tally.n_iter, tally.loss, tally.has_epochs = min(result.nit, settings.max_iter), loss(float(result.fun)), False
    warn_if_not_converged(result, settings.max_iter)
