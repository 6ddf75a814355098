"""The trials of a search: fits with some settings on one fold, which share their examples and are trained together."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing

from xpnet._checks import warn
from xpnet.backends import COPIES_OF_STATE, find_memory
from xpnet.backends.identity import describe
from xpnet.core.model import count_parameters
from xpnet.estimators._convergence import find_convergence
from xpnet.estimators._fitting import (
    FitData,
    assign_attributes,
    check_data,
    list_attributes,
    make_job,
    open_examples,
    settle,
    start_network,
)
from xpnet.estimators._parameters import parse_settings
from xpnet.estimators._results import ScoredFit, Scoring, name_weights
from xpnet.estimators.architecture import parse_hidden_sizes
from xpnet.estimators.base import BasePerceptron
from xpnet.estimators.inputs import make_random_state
from xpnet.training import Job, group_by_structure, train

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


def set_candidate(estimator: Any, candidate: Mapping[str, Any]) -> Any:
    """Return a new estimator with the settings of a candidate."""
    settings: Any = clone(candidate, safe=False)  # type: ignore[call-overload]
    new: Any = clone(estimator)
    return new.set_params(**settings)


class Trial(NamedTuple):
    """A fit to do: an estimator with the settings of a candidate, which stays as it is, on one fold."""

    candidate: int  # its number
    fold: int  # its number
    estimator: Any  # a `BasePerceptron`, or a pipeline that ends with one

    @property
    def number(self) -> tuple[int, int]:
        """The numbers of its candidate and fold."""
        return self.candidate, self.fold

    def describe(self, *others: str) -> str:
        """Describe the parameters on which the examples depend, and others."""
        return describe([getattr(find_last(self.estimator), name, None) for name in (*DATA_PARAMETERS, *others)])


class Folds(NamedTuple):
    """The examples of a search, as the user gave them, and the training and test rows of each fold."""

    X: Any
    y: Any
    sample_weight: Any
    rows: Sequence[tuple[np.ndarray, np.ndarray]]

    def take(self, fold: int, part: int = 0) -> tuple[Any, Any, Any]:
        """Take the training examples of a fold (0), or its test examples (1)."""
        rows = self.rows[fold][part]
        X, y, sample_weight = (None if part is None else _safe_indexing(part, rows) for part in self[:3])
        return X, y, sample_weight

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of X."""
        return tuple(self.X.shape) if hasattr(self.X, "shape") else (len(self.X), *np.shape(self.X[:1])[1:])

    @property
    def size(self) -> int:
        """Approximate size of the training examples of all folds, in bytes."""
        n = self.X.nnz if sparse.issparse(self.X) else math.prod(self.shape)
        return len(self.rows) * getattr(self.X, "nbytes", 8 * n)


def fit_trials(
    trials: Sequence[Trial],
    scoring: Scoring,
    X: Any,
    y: Any,
    sample_weight: Any,
    rows: Sequence[tuple[np.ndarray, np.ndarray]],
    *,
    threads: int | str = 1,
    progress: bool = False,
    scored: dict[tuple[int, int], ScoredFit] | None = None,
) -> dict[tuple[int, int], ScoredFit]:
    """Fit trials, those of one structure together, and score each.

    Parameters
    ----------
    trials, scoring
        What to fit, and how to score it.
    X, y, sample_weight, rows
        As in `Folds`. joblib shares arrays between workers only if they are arguments themselves.
    threads
        As in `Ensemble.train`.
    progress
        Whether to show a bar.
    scored
        Takes what is returned, trial by trial: after Ctrl-C it holds those that had begun and could be scored.
    """
    folds, scored = Folds(X, y, sample_weight, rows), {} if scored is None else scored
    parts = [trials]
    if folds.size > MAX_BYTES:
        parts = [[trial for trial in trials if trial.fold == fold] for fold in range(len(rows))]
    for part in parts:
        for trial, outcome, seconds in _fit_part(part, folds, threads, progress):
            scored[trial.number] = scoring.score_fit(outcome, partial(folds.take, trial.fold), seconds)
    return scored


def _fit_part(
    trials: Sequence[Trial], folds: Folds, threads: int | str, progress: bool
) -> Iterator[tuple[Trial, Any, float]]:
    """Fit some of the trials. Yield each, its fitted estimator or its error, and its seconds."""
    began, shared = time.perf_counter(), {}
    transformers = [describe(find_transformers(trial.estimator)) for trial in trials]  # before they are fitted
    prepared: list[tuple[Trial, Job, FitData, Any]] = []
    alone: list[Trial] = []
    unexplained: Exception | None = None  # that ended trials together, until one of them fails alone, too
    for trial, key in zip(trials, transformers):
        try:
            prepared.append((trial, *prepare_trial(trial, folds, key, shared)))
        except Exception:
            alone.append(trial)  # which meets the same error
    preparation = (time.perf_counter() - began) / max(1, len(prepared))
    for numbers in group_by_structure([job for _, job, *_ in prepared]):
        group = [prepared[k] for k in numbers]
        began, errors, interrupt = time.perf_counter(), {}, None
        try:
            jobs = [job for _, job, *_ in group]
            if progress and len(jobs) > 1:
                jobs[0] = jobs[0]._replace(plan=replace(jobs[0].plan, progress=True))  # one bar for all
            errors = settle(jobs, train(jobs, threads=threads).give_to([job.owner for job in jobs]))
        except KeyboardInterrupt as caught:
            interrupt = caught
        except Exception as error:  # one fit's callback or schedule failed, or memory is too small for all of them
            unexplained = unexplained if isinstance(error, MemoryError) else error
            alone += [trial for trial, *_ in group]
            continue
        seconds = preparation + (time.perf_counter() - began) / len(group)
        for k, (trial, job, data, estimator) in enumerate(group):
            if k in errors:
                yield trial, errors[k], seconds
            elif interrupt is None or find_convergence(job.plan).tally.n_iter > 0:
                assign_attributes(find_last(estimator), list_attributes(job, data))
                yield trial, estimator, seconds
        if interrupt is not None:
            raise interrupt
    X: Any
    estimator: Any
    for trial in alone:
        began, estimator = time.perf_counter(), clone(trial.estimator)
        X, y, sample_weight = folds.take(trial.fold)
        try:
            outcome = estimator.fit(X, y, **name_weights(sample_weight))
        except Exception as error:
            outcome, unexplained = error, None
        yield trial, outcome, time.perf_counter() - began
    if unexplained is not None:
        warn(f"fits of a search were repeated one by one: together they raised {unexplained!r}, and alone they did not")


def find_transformers(estimator: Any) -> Any:
    """Return the steps of a pipeline before the last, as a pipeline; None if there are none."""
    return estimator[:-1] if isinstance(estimator, Pipeline) and len(estimator.steps) > 1 else None


def prepare_trial(trial: Trial, folds: Folds, transformers: str, shared: dict[Any, Any]) -> tuple[Job, FitData, Any]:
    """Prepare the fit of a trial. Return its job, its checked data, and a new estimator with fitted transformers.

    Parameters
    ----------
    trial, folds
        The trial, and the examples.
    transformers
        Describes the transformers.
    shared
        What earlier trials with the same fold, transformers and parameters have prepared; new ones are added.
    """

    def share(key: Any, make: Callable[[], Any]) -> Any:
        if key not in shared:
            shared[key] = make()
        return shared[key]

    estimator: Any = clone(trial.estimator)
    perceptron, first = find_last(estimator), find_transformers(estimator)
    X, y, sample_weight = share(trial.fold, lambda: folds.take(trial.fold))
    key = (trial.fold, transformers)
    if first is not None:
        first, X = share(key, lambda: (first, first.fit_transform(X, y)))
        estimator.steps[:-1] = first.steps
    settings = parse_settings(perceptron, partial=False)
    key = (*key, trial.describe())
    data: FitData = share(("data", *key), lambda: check_data(perceptron, settings, {}, X, y, sample_weight))
    random_state = make_random_state(perceptron.random_state)
    network = start_network(perceptron, settings, data, None, random_state)
    examples = share(("examples", *key), lambda: open_examples(data, network))
    return make_job(network, settings, data, examples, {}, random_state), data, estimator


def divide(trials: Sequence[Trial], workers: int) -> list[list[Trial]]:
    """Divide trials into equal parts for workers, with trials that train together in one part."""
    parts = []
    kinds = {trial.number: trial.describe("batch_size") for trial in trials}
    order = sorted(trials, key=lambda trial: (kinds[trial.number], trial.fold))
    for _, of_kind in groupby(order, lambda trial: kinds[trial.number]):
        group = list(of_kind)
        n = max(1, min(workers, len(group) // MIN_FITS))
        parts += [[group[k] for k in part] for part in np.array_split(range(len(group)), n)]
    return parts


def slice_by_memory(estimators: Sequence[Any], first: int, folds: Folds, most: int | None) -> Iterator[range]:
    """Slice the numbers of estimators from the `first`, so that a slice needs at most about half of the memory.

    A slice has at most `most` estimators.
    """
    memory, needed = find_memory(), 0.0
    n_in = folds.shape[1] if len(folds.shape) > 1 else 1  # of texts and the like, only the transformers know it
    for i in range(first, len(estimators)):
        try:
            units = [n_in, *parse_hidden_sizes(find_last(estimators[i]).hidden_layer_sizes)]
        except ValueError:  # its fit will fail
            units = [n_in]
        bytes_of_candidate = 8.0 * COPIES_OF_STATE * count_parameters(units) * len(folds.rows)
        is_full = memory is not None and i > first and needed + bytes_of_candidate > memory / 2
        if is_full or i - first == most:
            yield range(first, i)
            first, needed = i, 0.0
        needed += bytes_of_candidate
    if first < len(estimators):
        yield range(first, len(estimators))
