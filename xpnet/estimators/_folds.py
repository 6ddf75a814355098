"""The fits of a search over settings and folds, which share their examples and are trained together."""

import io
import math
import pickle
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from itertools import groupby
from types import FunctionType, ModuleType
from typing import Any, NamedTuple

import joblib
import numpy as np
from scipy import sparse
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing

from xpnet.backends import COPIES_OF_STATE, find_memory
from xpnet.core.model import count_parameters
from xpnet.estimators._fit_data import Call, FitData, check_data
from xpnet.estimators._fitting import (
    Fit,
    assign_attributes,
    group_by_structure,
    list_attributes,
    load_examples,
    prepare_fit,
    start_network,
    train_fits,
)
from xpnet.estimators._parameters import make_random_state, parse_settings
from xpnet.estimators.architecture import parse_hidden_sizes
from xpnet.estimators.base import BasePerceptron

MIN_FITS = 4  # of one kind per worker, unless there are fewer
MAX_BYTES = 1 << 28  # of the examples of all folds together; larger folds are trained one after the other
# Parameters on which the examples of a fit and their place depend
DATA_PARAMETERS = (
    "loss",
    "hidden_layer_sizes",
    "activation",
    "class_weight",
    "dropout",
    "standardize",
    "backend",
    "device",
    "dtype",
    "solver",
)


def find_last(estimator: Any) -> Any:
    """Return the last estimator of a pipeline; any other estimator as it is."""
    return estimator.steps[-1][1] if isinstance(estimator, Pipeline) else estimator


def can_train_together(estimator: Any) -> bool:
    """Tell whether an estimator is one network, or a pipeline that ends with one, without a `fit` of its own class."""
    last = find_last(estimator)
    fits = isinstance(last, BasePerceptron) and type(last).fit is BasePerceptron.fit
    return fits and (last is estimator or type(estimator).fit is Pipeline.fit)


class Trial(NamedTuple):
    """A fit to do: an estimator with its settings, on one fold."""

    estimator: Any  # a `BasePerceptron`, or a pipeline that ends with one; not fitted
    fold: int  # its number

    @property
    def perceptron(self) -> BasePerceptron:
        """The estimator, or the last of the pipeline."""
        return find_last(self.estimator)

    @property
    def kind(self) -> str:
        """A description that is equal for trials that can probably be trained together."""
        perceptron = self.perceptron
        return repr([getattr(perceptron, name, None) for name in (*DATA_PARAMETERS, "batch_size")])


class Folds(NamedTuple):
    """The examples of a search, as the user gave them, and the training rows of each fold."""

    X: Any
    y: Any
    sample_weight: Any
    rows: Sequence[np.ndarray]

    def take(self, fold: int) -> tuple[Any, Any, Any]:
        """Take the training examples of a fold."""
        rows = self.rows[fold]
        X, y, sample_weight = (None if part is None else _safe_indexing(part, rows) for part in self[:3])
        return X, y, sample_weight

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of X."""
        return tuple(self.X.shape) if hasattr(self.X, "shape") else (len(self.X), *np.shape(self.X[:1])[1:])

    @property
    def n_in(self) -> int:
        """Number of inputs; 1 for texts and the like, where only the transformers know it."""
        return self.shape[1] if len(self.shape) > 1 else 1

    @property
    def size(self) -> int:
        """Approximate size of the training examples of all folds, in bytes."""
        n = self.X.nnz if sparse.issparse(self.X) else math.prod(self.shape)
        return len(self.rows) * getattr(self.X, "nbytes", 8 * n)


class Outcome(NamedTuple):
    """The outcome of a fit: a fitted estimator or an error; neither if the fit is still to be done."""

    estimator: Any = None
    error: Exception | None = None
    seconds: float = 0.0
    is_interrupted: bool = False  # whether Ctrl-C ended the fits

    @property
    def was_not_begun(self) -> bool:
        """Whether Ctrl-C ended it before the end of its first epoch."""
        return self.is_interrupted and self.estimator is None and self.error is None


class PreparedTrial(NamedTuple):
    """A trial whose fit is ready to train."""

    fit: Fit
    trial: Trial
    transformers: Pipeline | None  # fitted

    def finish(self) -> Any:
        """Return the fitted estimator."""
        assign_attributes(self.trial.perceptron, list_attributes(self.fit))
        if isinstance(self.trial.estimator, Pipeline) and self.transformers is not None:
            self.trial.estimator.steps[:-1] = self.transformers.steps
        return self.trial.estimator


def set_candidate(estimator: Any, candidate: Mapping[str, Any]) -> Any:
    """Return a new estimator with the settings of a candidate."""
    settings: Any = clone(candidate, safe=False)  # type: ignore[call-overload]
    new: Any = clone(estimator)
    return new.set_params(**settings)


def fit_trials(
    trials: Sequence[Trial],
    X: Any,
    y: Any,
    sample_weight: Any,
    rows: Sequence[np.ndarray],
    *,
    threads: int | str = 1,
    progress: bool = False,
) -> list[Outcome]:
    """Do fits, and train those of one structure together.

    Parameters
    ----------
    trials
        The fits; their estimators are fitted.
    X, y, sample_weight, rows
        As in `Folds`. joblib shares arrays between workers only if they are arguments themselves.
    threads
        As in `Ensemble.train`.
    progress
        Whether to show a bar.
    """
    folds = Folds(X, y, sample_weight, rows)
    outcomes = [Outcome()] * len(trials)
    numbers = sorted(range(len(trials)), key=lambda i: trials[i].fold)
    parts = [numbers]
    if folds.size > MAX_BYTES:
        parts = [list(part) for _, part in groupby(numbers, lambda i: trials[i].fold)]
    try:
        for part in parts:
            _fit_part({i: trials[i] for i in part}, folds, threads, progress, outcomes)
    except KeyboardInterrupt:
        return [outcome._replace(is_interrupted=True) for outcome in outcomes]
    return outcomes


def _fit_part(
    trials: Mapping[int, Trial], folds: Folds, threads: int | str, progress: bool, outcomes: list[Outcome]
) -> None:
    """Do some of the fits and store their outcomes, even if Ctrl-C ends them."""
    began, shared = time.perf_counter(), {}
    prepared: dict[int, PreparedTrial] = {}
    for i, trial in trials.items():
        try:
            prepared[i] = prepare_trial(trial, folds, shared)
        except Exception:
            continue  # scikit-learn will do this fit, meet the same error, and handle it by `error_score`
    numbers, preparation = list(prepared), (time.perf_counter() - began) / max(1, len(prepared))
    for group in group_by_structure([prepared_trial.fit for prepared_trial in prepared.values()]):
        _fit_group({numbers[k]: prepared[numbers[k]] for k in group}, preparation, threads, progress, outcomes)


def _fit_group(
    prepared: Mapping[int, PreparedTrial],
    preparation: float,
    threads: int | str,
    progress: bool,
    outcomes: list[Outcome],
) -> None:
    """Do fits of one structure, each of which took `preparation` seconds to prepare."""
    began, interrupt = time.perf_counter(), None
    errors: dict[int, ValueError] = {}
    try:
        errors = train_fits(
            [prepared_trial.fit for prepared_trial in prepared.values()], threads=threads, progress=progress
        )
    except KeyboardInterrupt as caught:
        interrupt = caught
    except Exception:
        return  # one fit's callback or schedule failed, or memory is too small for all of them: each is done alone
    seconds = preparation + (time.perf_counter() - began) / len(prepared)
    for k, (i, prepared_trial) in enumerate(prepared.items()):
        if k in errors:
            outcomes[i] = Outcome(error=errors[k], seconds=seconds)
        elif interrupt is None or prepared_trial.fit.tally.n_iter > 0:
            outcomes[i] = Outcome(prepared_trial.finish(), seconds=seconds)
    if interrupt is not None:
        raise interrupt


def prepare_trial(trial: Trial, folds: Folds, shared: dict[Any, Any]) -> PreparedTrial:
    """Prepare the fit of a trial. Trials with the same fold and data parameters share their examples.

    Parameters
    ----------
    trial
        The trial.
    folds
        The examples.
    shared
        Examples and transformers of earlier trials; new ones are added.
    """

    def share(key: Any, make: Callable[[], Any]) -> Any:
        if key not in shared:
            shared[key] = make()
        return shared[key]

    X, y, sample_weight = share(trial.fold, lambda: folds.take(trial.fold))
    perceptron, transformers, key = trial.perceptron, None, (trial.fold,)
    if isinstance(trial.estimator, Pipeline) and len(trial.estimator.steps) > 1:
        first = trial.estimator[:-1]
        key = (trial.fold, make_key(first))
        transformers, X = share(key, lambda: (first, first.fit_transform(X, y)))
    settings = parse_settings(perceptron, partial=False)
    key = (*key, make_key([getattr(perceptron, name, None) for name in DATA_PARAMETERS]))
    data: FitData = share(("data", *key), lambda: check_data(perceptron, Call(X, y, sample_weight), {}))
    random_state = make_random_state(perceptron.random_state)
    network = start_network(perceptron, data, None, random_state)
    examples = share(("examples", *key), lambda: load_examples(data, network))
    fit = prepare_fit(network, settings, data, examples, {}, random_state)
    return PreparedTrial(fit, trial, transformers)


class ByIdentity(pickle.Pickler):
    """Pickles functions, classes and modules by identity: lambdas cannot be pickled by name."""

    def persistent_id(self, obj: Any) -> int | None:
        """Return the identity of an object that is not pickled itself."""
        return id(obj) if isinstance(obj, (FunctionType, ModuleType, type)) else None


def make_key(parameters: Any) -> Hashable:
    """Make a key that is the same for equal parameters."""
    try:
        return joblib.hash(parameters)
    except (AttributeError, TypeError, pickle.PicklingError):
        content = io.BytesIO()
        ByIdentity(content).dump(parameters)
        return content.getvalue()


def divide(trials: Sequence[Trial], workers: int) -> list[list[int]]:
    """Divide the numbers of trials into equal parts for workers, with trials of one kind together."""
    order = sorted(range(len(trials)), key=lambda i: (trials[i].kind, trials[i].fold))
    parts = []
    for _, of_kind in groupby(order, lambda i: trials[i].kind):
        numbers = list(of_kind)
        n = max(1, min(workers, len(numbers) // MIN_FITS))
        parts += [part.tolist() for part in np.array_split(numbers, n)]
    return parts


def slice_candidates(
    candidates: Sequence[Mapping[str, Any]], estimator: Any, folds: Folds, most: int | None = None
) -> Iterator[Sequence[Mapping[str, Any]]]:
    """Slice the settings to try, so that the networks of a slice need at most about half of the machine's memory.

    A slice has at most `most` settings.
    """
    memory, n_in = find_memory(), folds.n_in
    start, needed = 0, 0.0
    for i, candidate in enumerate(candidates):
        perceptron = Trial(set_candidate(estimator, candidate), 0).perceptron
        try:
            units = [n_in, *parse_hidden_sizes(perceptron.hidden_layer_sizes)]
        except ValueError:  # its fit will fail
            units = [n_in]
        bytes_of_candidate = 8.0 * COPIES_OF_STATE * count_parameters(units) * len(folds.rows)
        is_full = memory is not None and i > start and needed + bytes_of_candidate > memory / 2
        if is_full or i - start == most:
            yield candidates[start:i]
            start, needed = i, 0.0
        needed += bytes_of_candidate
    yield candidates[start:]
