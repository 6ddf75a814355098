"""Fitting, from the arguments of `fit` to fitted attributes: check, start networks, load examples, prepare, train.

The estimators call `fit_networks`; a search goes the same way for many trials, which share their examples.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

import numpy as np
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning

from xpnet._checks import warn
from xpnet.backends import on_host_only, require_bytes, to_host
from xpnet.backends.base import Backend
from xpnet.core.arrays import Array, Namespace, count_bytes, leaves
from xpnet.core.optimizers.base import needs_all_examples
from xpnet.data import HostRows, RowSource, read_targets
from xpnet.data.open import Data, open_data
from xpnet.data.sampling import IN_ORDER, shuffle_further, unpack_state
from xpnet.errors import ArgumentError, DivergenceError
from xpnet.estimators._convergence import TALLY_ATTRIBUTES, Convergence, LineConvergence, Tally, read_tally, write_tally
from xpnet.estimators._examples import divide_by_largest, hold_out, resample
from xpnet.estimators._fit_data import Call, FitData, check_data, fingerprint_data
from xpnet.estimators._parameters import FitSettings, Parameters, make_random_state, parse_settings
from xpnet.estimators.architecture import (
    choose_backend,
    choose_dtype,
    draw_uniform,
    make_network,
    parse_hidden_sizes,
    take_layers,
)
from xpnet.estimators.inputs import float_dtype, leave_device
from xpnet.estimators.targets import Labels, Problem
from xpnet.inference.metrics import Metric, predictions
from xpnet.network.network import Network
from xpnet.physics import fit_laplace
from xpnet.training import Checkpoint, Evaluate, Job, Plan, train, warn_of_laggards

AnyEstimator = TypeVar("AnyEstimator")
# Parameters that a resumed fit may change; the number of epochs and the callbacks are compared on their own
FREE = {"backend", "device", "verbose", "progress", "warm_start", "max_iter", "callbacks"}


class Fit(NamedTuple):
    """A fit that is ready to train. Training changes the network and the tally."""

    job: Job
    data: FitData
    convergence: Convergence  # follows scikit-learn's rules, and keeps the tally
    random_state: np.random.RandomState

    @property
    def network(self) -> Network:
        """The network."""
        return self.job.owner

    @property
    def settings(self) -> FitSettings:
        """How to train."""
        return self.convergence.settings

    @property
    def tally(self) -> Tally:
        """Counts and curves."""
        return self.convergence.tally


def fit_networks(
    estimator: Parameters,
    members: Sequence[Parameters],
    last: Sequence[Mapping[str, Any]],
    call: Call,
    *,
    resamples: bool = False,
) -> list[dict[str, Any]]:
    """Fit one network or several to the same examples, and return the fitted attributes of each.

    Parameters
    ----------
    estimator
        The estimator whose `fit` or `partial_fit` was called. It stays as it is.
    members
        The parameters of each network; they differ in `random_state` and `callbacks`. A lone network has those of the
        estimator.
    last
        The fitted attributes of each that this fit continues; empty to start anew.
    call
        The arguments of the method.
    resamples
        Whether each trains on a sample of its own, drawn with replacement from the examples that are not held out.
    """
    settings = parse_settings(estimator, partial=call.partial)
    data = check_data(estimator, call, last[0])
    fits: list[Fit] = []
    examples = None
    for member, attributes in zip(members, last):
        random_state = make_random_state(member.random_state)
        network = start_network(member, data, attributes.get("network_"), random_state, partial=call.partial)
        if len(members) > 1 and not fits:
            _require_memory(network, len(members))
        examples = examples or load_examples(data, network)  # they share them
        own = replace(settings, callbacks=member.callbacks)
        fits.append(prepare_fit(network, own, data, examples, attributes, random_state, resamples=resamples))
    checkpoint = call.saving
    if checkpoint is not None:
        decides = {**decisive_parameters(estimator), **fingerprint_data(data)}
        checkpoint = replace(checkpoint, decides=decides)
    for k, error in train_until_interrupted(fits, checkpoint).items():
        if len(fits) == 1:
            raise error
        raise ArgumentError(f"{error} (this is member {k} of {len(fits)})") from error
    if all(fit.convergence.completed for fit in fits):  # not after Ctrl-C
        warn_of_laggards([fit.network for fit in fits], [fit.job.plan.callbacks for fit in fits])
    for fit in fits:
        if fit.settings.bayesian:
            laplace = fit_laplace(fit.network.value, fit.job.data.train)
            fit.network.value = fit.network.value._replace(laplace=laplace)
    return [list_attributes(fit) for fit in fits]


def _require_memory(network: Network, members: int) -> None:
    """Refuse an ensemble that needs too much memory before more than its first network is made."""
    weights = members * sum(count_bytes(x) for x in leaves(network.state.layers))
    require_bytes(on_host_only(network.backend, weights), f"n_estimators={members} networks of {network.sizes} need")


def start_network(
    parameters: Parameters,
    data: FitData,
    previous: Network | None,
    random_state: np.random.RandomState,
    *,
    partial: bool = False,
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
    partial
        Whether the network is a copy of the previous one, for `partial_fit`, which also continues its optimizer.
    """
    if previous is not None and partial:
        return previous.copy()
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


def load_examples(data: FitData, network: Network) -> Data:
    """Open examples to train and to validate on; scale them if the network standardizes."""
    whole = _open_part(data, network, "X")
    if data.validation is not None:
        whole = replace(whole, validation=_open_part(data.validation, network, "X_val").train)
    return whole.scaled(network.value.scaling or whole.fit_scaling()) if network.standardize else whole


def _open_part(data: FitData, network: Network, name: str) -> Data:
    """Open checked examples; inputs that are sparse, or beyond memory, stay on the host."""
    reader, x = network.value.reader._replace(warns=False), data.x
    if sparse.issparse(x):
        x = HostRows(x.tocsr())
    elif not isinstance(x, HostRows):
        x = leave_device(x, reader.backend)
    return open_data(
        (x, leave_device(data.targets, reader.backend)),
        reader,
        name="",
        sample_weight=divide_by_largest(data.weight, reader.dtype, name),
        slopes=None if data.slopes is None else leave_device(data.slopes, reader.backend),
        slope_weight=data.slope_weight,
    )


def prepare_fit(
    network: Network,
    settings: FitSettings,
    data: FitData,
    examples: Data,
    last: Mapping[str, Any],
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
        Its examples where the network computes, as `load_examples` returns them; several fits may share them.
    last
        The fitted attributes that this fit continues; they stay as they are.
    random_state
        Draws validation data and minibatches.
    resamples
        Whether to train on a sample drawn with replacement from the examples that are not held out (bagging).
    """
    problem, weight = data.problem, data.weight
    network.value = network.value._replace(scaling=examples.train.reader.scaling)
    tally, alpha = read_tally(last), settings.alpha / (1.0 if weight is None else float(weight.max()))
    if settings.early_stopping:
        if settings.early_stopping == "score":
            settings = replace(settings, early_stopping="loss" if settings.by_steps else problem.watched)
        if examples.validation is None:
            fraction, task = settings.validation_fraction, problem.task
            examples = hold_out(examples, data.sample_weight, fraction, task, random_state)
    if resamples:
        examples = resample(examples, random_state)
    source: Any = examples.train  # by its rows
    validation: Any = examples.validation
    if not settings.counts_lines:
        tally.begin_epochs(validates=validation is not None, early_stopping=settings.early_stopping is not None)
    loss = problem.cost_to_loss(network.value, source)
    validation_loss = float if validation is None else problem.cost_to_loss(network.value, validation)
    rules = LineConvergence if settings.counts_lines else Convergence
    convergence = rules(settings, tally, len(source), problem.score_name, loss, validation_loss)
    whole, batch_size = needs_all_examples(settings.optimizer), _clip_batch_size(settings.batch_size, len(source))
    evaluations = [] if validation is None else [_make_evaluation(problem, validation)]
    plan = Plan(
        epochs=settings.epochs,
        batch_size=None if whole else batch_size,
        optimizer=settings.optimizer,
        lr=None if whole else settings.schedule,
        sampling=shuffle_further(random_state, len(source)) if settings.shuffle else IN_ORDER,
        alpha=alpha,
        callbacks=[*evaluations, convergence, *settings.callbacks],
        progress=settings.progress,
    )
    return Fit(Job(network.value, Data(source), plan, network), data, convergence, random_state)


def _clip_batch_size(batch_size: int | None, n: int) -> int:
    """Return the batch size, or 200, but at most n."""
    if batch_size is not None and batch_size > n:
        warn(f"Got `batch_size` less than 1 or larger than sample size. It is going to be clipped to {n}")
    return min(200 if batch_size is None else batch_size, n)


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
    """
    try:
        return train_fits(fits, checkpoint=checkpoint)
    except KeyboardInterrupt:
        warn("Training interrupted by user.")
        return {}


def train_fits(
    fits: Sequence[Fit], *, threads: int | str = "auto", progress: bool = False, checkpoint: Checkpoint | None = None
) -> dict[int, ValueError]:
    """Train the networks of fits of one structure in one program.

    Parameters
    ----------
    fits
        The fits; their networks and tallies change.
    threads
        As in `Ensemble.train`.
    progress
        Whether to show a bar for networks that are trained together, even if no fit asks for one.
    checkpoint
        Writes the training to a file.

    Returns
    -------
    dict
        The errors of those that diverged, by their numbers.
    """
    jobs = [fit.job for fit in fits]
    if progress and len(jobs) > 1:
        jobs[0] = jobs[0]._replace(plan=replace(jobs[0].plan, progress=True))  # one bar for all
    stream = train(jobs, threads=threads, checkpoint=checkpoint)
    try:
        diverged = stream.give_to([fit.network for fit in fits])
    finally:
        for fit, moment in zip(fits, stream.moments):
            if moment.order is not None:  # leave the generator where scikit-learn does
                now: Any = fit.random_state.get_state()
                fit.random_state.set_state((*unpack_state(moment.order), *now[3:]))
    failed = {i: _handle_divergence(fits[i], error) for i, error in diverged.items()}
    return {i: error for i, error in failed.items() if error is not None}


def decisive_parameters(estimator: Any) -> dict[str, Any]:
    """Return an estimator's class, and its parameters but those that a resumed fit may change."""
    parameters = {name: value for name, value in estimator.get_params(deep=False).items() if name not in FREE}
    return {"estimator": type(estimator), **parameters}


def _handle_divergence(fit: Fit, error: DivergenceError) -> ValueError | None:
    """Warn that training diverged after the best epoch of early stopping, or else return the error to raise."""
    convergence = fit.convergence
    if not fit.settings.early_stopping or convergence.best_layers is None:
        failure = ValueError(
            "Solver produced non-finite parameter weights. The input data may contain large values and need to be "
            f"preprocessed: {error}"
        )
        failure.__cause__ = error
        return failure
    convergence.record_divergence()
    warn(f"Stopped, and went back to the best weights: {error}", ConvergenceWarning)
    return None


# Fitted attributes

ATTRIBUTES = (
    *("network_", "classes_", "n_features_in_", "feature_names_in_", "_home", "_labels", "estimators_", "_ensemble"),
    *TALLY_ATTRIBUTES,
)


def list_attributes(fit: Fit) -> dict[str, Any]:
    """List the fitted attributes of an estimator of one network, without those that do not apply."""
    data = fit.data
    return join_attributes(fit.network, data.home, data.feature_names, data.problem.labels, fit.tally)


def join_attributes(
    network: Network, home: Backend, feature_names: np.ndarray | None, labels: Labels | None, tally: Tally
) -> dict[str, Any]:
    """Make the fitted attributes out of their parts."""
    attributes: dict[str, Any] = {"network_": network, "_home": home, "n_features_in_": network.sizes[0]}
    if feature_names is not None:
        attributes["feature_names_in_"] = feature_names
    if labels is not None:
        attributes |= {"_labels": labels, "classes_": labels.classes}
    return attributes | write_tally(tally)


def assign_attributes(estimator: AnyEstimator, attributes: Mapping[str, Any]) -> AnyEstimator:
    """Replace all fitted attributes of an estimator, and return it."""
    others = {name: value for name, value in vars(estimator).items() if name not in ATTRIBUTES}
    estimator.__dict__ = {**others, **attributes}  # at once: an interrupt comes before it or after it
    return estimator
