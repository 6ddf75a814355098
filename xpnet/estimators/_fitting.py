"""`fit` of all estimators: check, start networks, open examples, make jobs, train, list fitted attributes.

A search takes the same steps for many trials, which share their examples.
"""

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator, is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

from xpnet._checks import warn
from xpnet.backends import backend_of, to_host
from xpnet.backends.base import Backend
from xpnet.core.activations import Activation
from xpnet.core.arrays import Array, Namespace
from xpnet.data import (
    parse_slope_weight,
    relative_weight,
)
from xpnet.data.conversion import as_real_array
from xpnet.data.open import Data, open_data
from xpnet.data.sampling import IN_ORDER, shuffle_further, unpack_state
from xpnet.data.source import Stored, fingerprint_arrays
from xpnet.errors import ArgumentError, DivergenceError
from xpnet.estimators._convergence import Convergence, LineConvergence, Tally, find_convergence, read_tally
from xpnet.estimators._parameters import Parameters, Settings, is_called, parse_saving_of_fit, parse_settings
from xpnet.estimators.inputs import (
    check_sample_weight,
    choose_backend,
    float_dtype,
    leave_device,
    make_random_state,
    parse_hidden_sizes,
    require_place,
    validate_examples,
)
from xpnet.estimators.targets import Classification, Problem, Regression
from xpnet.inference.metrics import of_function, predictions
from xpnet.network.network import Network
from xpnet.physics import fit_to_examples
from xpnet.training import Checkpoint, Evaluate, Every, FileKind, Job, Plan, train
from xpnet.value.structure import parse_hidden

# Parameters that a resumed fit may change; the number of epochs and the callbacks are compared on their own
FREE_PARAMETERS = {"backend", "device", "verbose", "progress", "warm_start", "max_iter", "callbacks"}


@dataclass(eq=False)
class FitData:
    """The examples of a fit, checked, and still where the user has them; the networks of the fit share them."""

    home: Backend  # where X lies
    dtype: str  # to compute with X in
    feature_names: np.ndarray | None  # None: X has no names
    problem: Problem
    x: Any  # (n, n_features): an array of any library, or `HostRows`
    targets: Any  # as the network outputs them; see `Classification.encode`
    sample_weight: np.ndarray | None  # (n,) float64, on the host
    weight: np.ndarray | None  # the same, times the weights of the classes
    validation: "FitData | None" = None
    slopes: Any = None  # an array of any library, whose shape is not checked yet
    slope_weight: float | list[float] = 1.0
    opened: Data | None = None  # where the networks compute

    def open(self, network: Network) -> Data:
        """Open the examples to train and to validate on for a network and others like it; scale them if it does."""
        if self.opened is None:
            whole = self._open_part(network, "X")
            if self.validation is not None:
                whole = replace(whole, validation=self.validation._open_part(network, "X_val").train)
            is_scaled = network.standardize
            self.opened = whole.scaled(network.value.scaling or whole.fit_scaling()) if is_scaled else whole
        return self.opened

    def _open_part(self, network: Network, name: str) -> Data:
        """Open examples; inputs that are sparse, or beyond memory, stay on the host."""
        reader, weight = network.value.reader._replace(warns=False), self.weight
        if weight is not None:  # by the largest, before they lose digits
            weight = relative_weight(weight, reader.dtype, name)
        return open_data(
            (leave_device(self.x, reader.backend), leave_device(self.targets, reader.backend)),
            reader,
            name="",
            sample_weight=weight,
            slopes=None if self.slopes is None else leave_device(self.slopes, reader.backend),
            slope_weight=self.slope_weight,
        )

    def describe(self) -> dict[str, Any]:
        """Describe the examples by digests. Synchronizes."""
        held_out = self.validation
        return {
            "train_data": fingerprint_arrays(self.x, self.targets, self.weight, self.slopes),
            "slope_weight": self.slope_weight,
            "validation_data": held_out and fingerprint_arrays(held_out.x, held_out.targets, held_out.weight),
        }


class FitMixin(Parameters, BaseEstimator):
    """Fits the networks of an estimator, one or several."""

    _file_kind: ClassVar[FileKind] = "network"  # of a checkpoint

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
        slopes: Any = None,
        slope_weight: Any = 1.0,
        checkpoint: Any = None,
        every: Every | None = None,
        resume: bool = False,
    ) -> Self:
        """Fit the network to inputs and targets.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
            Inputs: an array of any library, on any device; a table, a list, or a sparse matrix.
        y : array of shape (n_samples,) or (n_samples, n_outputs)
            Targets: labels or numbers.
        sample_weight : array of shape (n_samples,), optional
            Weights of the examples, at least 0.
        X_val : array of shape (n_val, n_features), optional
            Validation data: loss and score on them are computed after each epoch, and `early_stopping` watches them
            instead of holding out a part of X. A pipeline transforms them with ``transform_input=["X_val"]``.
        y_val : array of shape (n_val,) or (n_val, n_outputs), optional
            Their targets.
        sample_weight_val : array of shape (n_val,), optional
            Their weights.
        slopes : array of shape (n_samples, n_features) or (n_samples, n_outputs, n_features), optional
            Known derivatives of the targets of a regression with respect to the inputs; NaN where one is missing.
        slope_weight : float or array of shape (n_features,)
            The weight λ of their part of the loss of an example, ½ Σ λ (∂a/∂x − slopes)².
        checkpoint, every, resume
            A file for the whole fit, when to write it, and whether to resume the fit in it, as in
            `xpnet.Network.train`: bit for bit. `random_state` must be a whole number.

        Returns
        -------
        self
            The fitted estimator.

        Raises
        ------
        ArgumentError
            If a parameter, X or y is wrong, or weights become infinite or NaN; the estimator is then unchanged. With
            `early_stopping`, such weights only end training, with a warning.
        FileExistsError, CheckpointError
            If there is a checkpoint and `resume` is not given; if it is damaged, or holds no fit.
        """
        saving = parse_saving_of_fit(self, self._file_kind, checkpoint, every, resume)
        return self._fit(
            X,
            y,
            sample_weight,
            saving,
            X_val=X_val,
            y_val=y_val,
            sample_weight_val=sample_weight_val,
            slopes=slopes,
            slope_weight=slope_weight,
        )

    def _fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        checkpoint: Checkpoint | None = None,
        *,
        partial: bool = False,
        **others: Any,
    ) -> Self:
        """Fit, or with `partial` train for one epoch, and assign the fitted attributes at once.

        `others` are arguments of `check_data`.
        """
        settings = parse_settings(self, partial=partial)
        continues = (partial or settings.checked.warm_start) and self.__sklearn_is_fitted__()
        members, last = self._make_members(continues)
        data = check_data(self, settings, last[0], X, y, sample_weight, **others)
        if checkpoint is not None:
            parameters = self.get_params(deep=False).items()
            decides = {name: value for name, value in parameters if name not in FREE_PARAMETERS} | data.describe()
            checkpoint = replace(checkpoint, decides={"estimator": type(self)} | decides)
        jobs = [make_job(member, settings, data, attributes) for member, attributes in zip(members, last)]
        stream = train(jobs, checkpoint=checkpoint)
        try:
            errors = settle(jobs, stream.give_to([job.owner for job in jobs]))
        except KeyboardInterrupt:  # what the networks have learnt until then stays
            warn("Training interrupted by user.")
        else:
            for k, error in errors.items():
                if len(jobs) == 1:
                    raise error
                raise ArgumentError(f"{error} (this is member {k} of {len(jobs)})") from error
        finally:  # generators of the user's are left where scikit-learn leaves them
            for member, moment in zip(members, stream.moments):
                if moment.order is not None and not isinstance(member.random_state, (int, np.integer)):
                    generator: Any = make_random_state(member.random_state)
                    generator.set_state((*unpack_state(moment.order), *generator.get_state()[3:]))
        for job in jobs if settings.bayesian else ():
            job.owner.value = job.owner.value._replace(laplace=fit_to_examples(job.owner.value, job.data.train))
        fitted = [list_attributes(job, data) for job in jobs]
        return assign_attributes(self, self._join_members(members, fitted))

    def _make_members(self, continues: bool) -> tuple[Sequence[Parameters], Sequence[Mapping[str, Any]]]:
        """Return the parameters of each network, and the last fitted attributes of each; empty to start anew."""
        return [self], [vars(self) if continues else {}]

    def _join_members(self, members: Sequence[Any], fitted: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Make the fitted attributes of the estimator out of those of each network."""
        return fitted[0]

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_home")


# The data of a fit


def check_data(
    estimator: Any,
    settings: Settings,
    last: Mapping[str, Any],
    X: Any,
    y: Any,
    sample_weight: Any = None,
    *,
    X_val: Any = None,
    y_val: Any = None,
    sample_weight_val: Any = None,
    classes: Any = None,
    slopes: Any = None,
    slope_weight: Any = 1.0,
) -> FitData:
    """Check the examples of a call against one another, and against the fitted attributes `last` that it continues."""
    if X_val is None and (y_val is not None or sample_weight_val is not None):
        raise ArgumentError("y_val and sample_weight_val are for validation data, which need X_val; give it too")
    if X_val is not None and (y_val is None or settings.by_lines):
        raise ArgumentError("X_val needs y_val, and a solver that trains epoch by epoch, which lbfgs does not")
    previous, partial = last.get("network_"), settings.partial
    if previous is None:
        home = backend_of(X)
    else:
        home = require_place(estimator, X, previous.backend, "partial_fit" if partial else "fit")
    kind = Classification if is_classifier(estimator) else Regression
    stand_in = copy.copy(estimator)  # scikit-learn's checks set `n_features_in_` and `feature_names_in_` on it
    X, y = validate_examples(stand_in, home, X, y, numeric=kind.numeric, reset=previous is None)
    problem = kind.learn(estimator, y, classes, last.get("_labels"), partial=partial)
    sample_weight, weight = check_sample_weight(sample_weight, X.shape[0]), problem.weigh_classes(y, partial=partial)
    if weight is None:
        weight = sample_weight
    elif sample_weight is not None:
        weight = sample_weight * weight
    names = vars(stand_in).get("feature_names_in_")
    data = FitData(home, float_dtype(X), names, problem, X, problem.encode(y), sample_weight, weight)
    if X_val is not None:
        try:
            home = require_place(estimator, X_val, choose_backend(estimator, home), "fit")
            X, y = validate_examples(stand_in, home, X_val, y_val, numeric=problem.numeric, reset=False)
            problem.check(y)
            weight = check_sample_weight(sample_weight_val, X.shape[0])
        except (TypeError, ValueError) as error:
            raise ArgumentError(f"{error} (these are X_val, y_val and sample_weight_val)") from error
        data.validation = replace(data, x=X, targets=problem.encode(y), sample_weight=weight, weight=weight)
    data.slopes = None if slopes is None else as_real_array(slopes, "slopes")
    data.slope_weight = parse_slope_weight(slopes, slope_weight, X.shape[1])
    return data


# Networks


def start_network(
    parameters: Parameters,
    settings: Settings,
    data: FitData,
    previous: Network | None,
    random_state: np.random.RandomState,
) -> Network:
    """Make a new network, with random weights or with those of a previous one (`warm_start`).

    For `partial_fit`, copy the previous one, which also continues its optimizer.

    Parameters
    ----------
    parameters, settings, data
        They say what the network looks like, and where it computes.
    previous
        The network whose weights it takes, if any.
    random_state
        Draws initial weights, and the seed of dropout.
    """
    if previous is not None and settings.partial:
        return previous.copy()
    (units, head), state = data.problem.head(), parameters.random_state
    sizes = [data.x.shape[1], *parse_hidden_sizes(parameters.hidden_layer_sizes), units]
    seed = int(random_state.randint(2**31 - 1)) if np.any(parameters.dropout) else 0
    if previous is None:
        layers = draw_layers(parameters.activation, random_state, sizes)
    else:
        layers = [(to_host(w), to_host(b)) for w, b in previous.layers]
        for name, now in (("sizes", sizes), ("standardize", parameters.standardize)):
            if now != (before := getattr(previous, name)):
                raise ArgumentError(
                    f"warm_start=True continues a network with {name}={before}, and X, y and the parameters ask for "
                    f"{now} now; give warm_start=False to start anew"
                )
    remaining = iter(layers)
    network = Network(
        sizes,
        activation=parse_hidden_activation(parameters.activation, len(sizes) - 2),
        **head,
        init=lambda rng, n_in, n_out: next(remaining),
        dropout=parameters.dropout,
        standardize=parameters.standardize,
        backend=choose_backend(parameters, data.home),
        dtype=data.dtype if parameters.dtype is None else parameters.dtype,
        seed=seed,
    )
    provenance = network.provenance._replace(
        init="sklearn_uniform", seed=int(state) if isinstance(state, (int, np.integer)) else None
    )
    network.feature_names = data.feature_names
    network.value = network.value._replace(provenance=provenance if previous is None else previous.provenance)
    if previous is not None and previous.scaling is not None:
        network.scaling = previous.scaling
    return network


def parse_hidden_activation(value: Any, layers: int) -> list[Activation]:
    """Take one activation for all hidden layers, or a list with one for each; "logistic" is scikit-learn's sigmoid."""

    def translate(item: Any) -> Any:
        return "sigmoid" if is_called(item, "logistic") else item

    has_each = isinstance(value, (list, tuple)) and not isinstance(value, Activation)
    return parse_hidden([translate(item) for item in value] if has_each else translate(value), layers)


def draw_layers(activation: Any, random_state: np.random.RandomState, sizes: Sequence[int]) -> list[Any]:
    """Draw weights and biases as scikit-learn does: layer by layer from U(−r, r), r² = c / (n_in + n_out).

    c is 2 for layers of sigmoid units, else 6; the output layer has the c of the last hidden one. See Glorot and
    Bengio, AISTATS 2010, equation 16.
    """
    names = [sigma.name for sigma in parse_hidden_activation(activation, len(sizes) - 2)]
    names = names or ["sigmoid" if is_called(activation, "logistic") else ""]
    layers: list[Any] = []
    for n_in, n_out, name in zip(sizes, sizes[1:], [*names, names[-1]]):
        r = math.sqrt((2.0 if name == "sigmoid" else 6.0) / (n_in + n_out))
        w = random_state.uniform(-r, r, (n_in, n_out))
        layers.append((w.T, random_state.uniform(-r, r, n_out)))
    return layers


# Jobs


def make_job(member: Parameters, settings: Settings, data: FitData, last: Mapping[str, Any]) -> Job:
    """Make the job of training a network by scikit-learn's rules; a callback, `Convergence`, follows them.

    Parameters
    ----------
    member
        The estimator of the network, with its own random state and callbacks.
    settings, data
        How to train, and the checked arguments of the fit.
    last
        The fitted attributes that this fit continues; they stay as they are.
    """
    checked, problem, weight, tally = settings.checked, data.problem, data.weight, read_tally(last)
    random_state = make_random_state(member.random_state)
    network = start_network(member, settings, data, last.get("network_"), random_state)
    examples, watched = data.open(network), checked.early_stopping
    network.value = network.value._replace(scaling=examples.train.reader.scaling)
    if watched and examples.validation is None:
        examples = split_off_validation(examples, data, checked.validation_fraction, random_state)
    if watched == "score":
        watched = "loss" if settings.by_steps else problem.watched
    if getattr(checked, "bootstrap", False):
        rows = random_state.randint(len(examples.train), size=len(examples.train))
        examples = examples.part(rows)
    source: Any = examples.train  # by its rows
    validation: Any = examples.validation
    n, batch_size = len(source), checked.batch_size
    if not settings.by_lines:
        tally.begin_epochs(validates=validation is not None, early_stopping=bool(watched))
    if batch_size != "auto" and batch_size > n:
        warn(f"Got `batch_size` less than 1 or larger than sample size. It is going to be clipped to {n}")
    losses = [
        float if part is None else problem.cost_to_loss(network.value.model, part) for part in (source, validation)
    ]
    rules = (LineConvergence if settings.by_lines else Convergence)(
        settings, watched, tally, n, problem.score_name, *losses
    )
    plan = Plan(
        epochs=settings.epochs,
        batch_size=None if settings.by_steps else min(200 if batch_size == "auto" else batch_size, n),
        optimizer=settings.optimizer,
        lr=None if settings.by_steps else settings.schedule,
        sampling=shuffle_further(random_state, n) if checked.shuffle else IN_ORDER,
        alpha=checked.alpha / (1.0 if weight is None else float(weight.max())),
        callbacks=[*_make_evaluations(problem, validation), rules, *member.callbacks],
        progress=checked.progress,
    )
    return Job(network.value, Data(source), plan, network)


def split_off_validation(examples: Data, data: FitData, fraction: float, random_state: np.random.RandomState) -> Data:
    """Split off the validation examples that scikit-learn would choose; the weights of classes do not apply to them."""
    train: Any = examples.train  # by its rows
    y = train.read_targets()
    # scikit-learn's errors say "True" and "False"
    classes = (y[:, 0] > 0.5).astype(str) if data.problem.task == "binary" else None
    parts: Any = train_test_split(np.arange(len(y)), test_size=fraction, random_state=random_state, stratify=classes)
    training_rows, validation_rows = parts
    if len(validation_rows) < 2:
        raise ArgumentError(
            "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
        )
    return examples.part(training_rows, validation_rows, validation_weight=data.sample_weight)


def _make_evaluations(problem: Problem, validation: Stored | None) -> list[Evaluate]:
    """Make the callback that computes the cost on validation data, and scikit-learn's score on the host, if needed."""
    if validation is None:
        return []
    to_numpy, weight = validation.reader.backend.to_numpy, validation.weight

    def score(y_true: Array, y_pred: Array) -> float:
        y_true, y_pred = to_numpy(y_true), to_numpy(y_pred)
        return problem.score(y_true, y_pred, weight) if np.isfinite(y_pred).all() else np.nan

    def measure(y: Array, a: Array, task: str, xp: Namespace) -> tuple[Array, ...]:  # with a loss of one's own, the
        return predictions(y, problem.task, xp), predictions(a, problem.task, xp)  # network infers another task

    metric = of_function(score)._replace(name=problem.score_name, measure=measure, better="max")
    return [Evaluate("validation", validation, [metric])]


def settle(jobs: Sequence[Job], diverged: Mapping[int, DivergenceError]) -> dict[int, ValueError]:
    """Return the errors of the jobs that failed, by their numbers; warn of those that have a best epoch."""
    failures: dict[int, ValueError] = {}
    for k, error in diverged.items():
        convergence = find_convergence(jobs[k].plan)
        if convergence.watched and convergence.best_layers is not None:
            convergence.record(math.nan)
            warn(f"Stopped, and went back to the best weights: {error}", ConvergenceWarning)
        else:
            failures[k] = ValueError(
                "Solver produced non-finite parameter weights. The input data may contain large values and need to be "
                f"preprocessed: {error}"
            )
            failures[k].__cause__ = error
    return failures


# Fitted attributes

ATTRIBUTES = (
    *("network_", "classes_", "n_features_in_", "feature_names_in_", "_home", "_labels", "estimators_"),
    *(field.name for field in fields(Tally)),
)


def list_attributes(job: Job, data: FitData) -> dict[str, Any]:
    """List the fitted attributes of an estimator of one network, without those that do not apply."""
    attributes: dict[str, Any] = {"network_": job.owner, "_home": data.home, "n_features_in_": job.owner.sizes[0]}
    if data.feature_names is not None:
        attributes["feature_names_in_"] = data.feature_names
    if isinstance(data.problem, Classification):
        attributes |= {"_labels": data.problem, "classes_": data.problem.classes}
    return attributes | find_convergence(job.plan).tally.list_attributes()


def assign_attributes(estimator: Any, attributes: Mapping[str, Any]) -> Any:
    """Replace all fitted attributes of an estimator, and return it."""
    others = {name: value for name, value in vars(estimator).items() if name not in ATTRIBUTES}
    estimator.__dict__ = {**others, **attributes}  # at once: an interrupt comes before it or after it
    return estimator
