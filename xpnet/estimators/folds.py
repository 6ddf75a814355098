"""The fits of a search: over settings and folds, prepared alike and trained together."""

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
from sklearn.utils import _safe_indexing, check_random_state

from xpnet.ensemble import COPIES, count_parameters, find_memory
from xpnet.estimators.architecture import parse_hidden_sizes
from xpnet.estimators.base import BasePerceptron
from xpnet.estimators.fitting import Fit, FitData, group_by_structure, load_examples, prepare_fit, train_fits
from xpnet.estimators.settings import parse_settings
from xpnet.wording.errors import unless_stopped

FEWEST = 4  # fits for a worker, if there are as many of one kind
LARGEST = 1 << 28  # bytes of the examples of all folds; larger folds are trained one after the other
# Parameters that change the examples of a fit, or where they lie
OF_DATA = (
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


class Job(NamedTuple):
    """A fit to do: an estimator with its settings, and the number of a fold."""

    estimator: Any  # a `BasePerceptron`, or a pipeline that ends with one; not fitted
    fold: int

    @property
    def perceptron(self) -> BasePerceptron:
        """The estimator, or the last of the pipeline."""
        return self.estimator.steps[-1][1] if isinstance(self.estimator, Pipeline) else self.estimator

    @property
    def kind(self) -> str:
        """A description that jobs have in common if they can probably be trained together."""
        perceptron = self.perceptron
        return repr([getattr(perceptron, name, None) for name in (*OF_DATA, "batch_size")])


class Folds(NamedTuple):
    """The examples of a search, as the user gave them, and the rows of each fold to train on."""

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
        """Number of inputs; 1 for texts and others, of which only the transformers know it."""
        return self.shape[1] if len(self.shape) > 1 else 1

    @property
    def size(self) -> int:
        """Bytes of the training examples of all folds, about."""
        n = self.X.nnz if sparse.issparse(self.X) else math.prod(self.shape)
        return len(self.rows) * getattr(self.X, "nbytes", 8 * n)


class Outcome(NamedTuple):
    """The outcome of a fit: a fitted estimator, or an error; neither, if the fit is still to be done."""

    estimator: Any = None
    error: Exception | None = None
    seconds: float = 0.0
    is_interrupted: bool = False  # whether Ctrl-C ended it

    @property
    def was_not_begun(self) -> bool:
        """Whether Ctrl-C came before the end of its first epoch."""
        return self.is_interrupted and self.estimator is None and self.error is None


class Prepared(NamedTuple):
    """A fit that is prepared, and the estimator that it is for."""

    fit: Fit
    job: Job
    transformers: Pipeline | None  # fitted

    def finish(self) -> Any:
        """Return the fitted estimator."""
        self.job.perceptron._take_over(self.fit)
        if isinstance(self.job.estimator, Pipeline) and self.transformers is not None:
            self.job.estimator.steps[:-1] = self.transformers.steps
        return self.job.estimator


def set_candidate(estimator: Any, candidate: Mapping[str, Any]) -> Any:
    """Return a new estimator with the settings of a candidate."""
    settings: Any = clone(candidate, safe=False)  # type: ignore[call-overload]
    new: Any = clone(estimator)
    return new.set_params(**settings)


def fit_jobs(
    jobs: Sequence[Job],
    X: Any,
    y: Any,
    sample_weight: Any,
    rows: Sequence[np.ndarray],
    *,
    threads: int | str = 1,
    progress: bool = False,
) -> list[Outcome]:
    """Do fits, and train those together that can be.

    Parameters
    ----------
    jobs
        The fits; their estimators are fitted.
    X, y, sample_weight, rows
        As in `Folds`; joblib's backends share arrays between workers only if they are arguments themselves.
    threads
        As in `Ensemble.train`.
    progress
        Whether to show a bar.
    """
    folds = Folds(X, y, sample_weight, rows)
    outcomes = [Outcome()] * len(jobs)
    numbers = sorted(range(len(jobs)), key=lambda i: jobs[i].fold)
    parts = [numbers]
    if folds.size > LARGEST:
        parts = [list(part) for _, part in groupby(numbers, lambda i: jobs[i].fold)]
    try:
        for part in parts:
            _fit_part({i: jobs[i] for i in part}, folds, threads, progress, outcomes)
    except KeyboardInterrupt:
        return [outcome._replace(is_interrupted=True) for outcome in outcomes]
    return outcomes


def _fit_part(
    jobs: Mapping[int, Job], folds: Folds, threads: int | str, progress: bool, outcomes: list[Outcome]
) -> None:
    """Do some of the fits, and write down their outcomes, even if Ctrl-C ends them."""
    began, shared = time.perf_counter(), {}
    prepared: dict[int, Prepared] = {}
    for i, job in jobs.items():
        try:
            prepared[i] = prepare_job(job, folds, shared)
        except unless_stopped(Exception):
            continue  # scikit-learn does this fit, meets the same error, and treats it as the user asked for
    numbers, preparation = list(prepared), (time.perf_counter() - began) / max(1, len(prepared))
    for group in group_by_structure([each.fit for each in prepared.values()]):
        _fit_group({numbers[k]: prepared[numbers[k]] for k in group}, preparation, threads, progress, outcomes)


def _fit_group(
    prepared: Mapping[int, Prepared], preparation: float, threads: int | str, progress: bool, outcomes: list[Outcome]
) -> None:
    """Do fits of one structure; each took `preparation` seconds to prepare."""
    began, interrupt = time.perf_counter(), None
    errors: dict[int, ValueError] = {}
    try:
        errors = train_fits([each.fit for each in prepared.values()], threads=threads, progress=progress)
    except KeyboardInterrupt as caught:
        interrupt = caught
    except unless_stopped(Exception):
        return  # it is of one fit's callback or schedule, or there is too little memory for all: each is done alone
    seconds = preparation + (time.perf_counter() - began) / len(prepared)
    for k, (i, each) in enumerate(prepared.items()):
        if k in errors:
            outcomes[i] = Outcome(error=errors[k], seconds=seconds)
        elif interrupt is None or each.fit.tally.n_iter > 0:
            outcomes[i] = Outcome(each.finish(), seconds=seconds)
    if interrupt is not None:
        raise interrupt


def prepare_job(job: Job, folds: Folds, shared: dict[Any, Any]) -> Prepared:
    """Prepare a fit. Jobs share what depends on parameters and folds that they have in common.

    Parameters
    ----------
    job
        The fit.
    folds
        The examples.
    shared
        What earlier jobs have prepared; it is added to.
    """

    def share(key: Any, make: Callable[[], Any]) -> Any:
        if key not in shared:
            shared[key] = make()
        return shared[key]

    X, y, sample_weight = share(job.fold, lambda: folds.take(job.fold))
    perceptron, transformers, key = job.perceptron, None, (job.fold,)
    if isinstance(job.estimator, Pipeline) and len(job.estimator.steps) > 1:
        first = job.estimator[:-1]
        key = (job.fold, make_key(first))
        transformers, X = share(key, lambda: (first, first.fit_transform(X, y)))
    settings, random_state = parse_settings(perceptron, partial=False), check_random_state(perceptron.random_state)
    key = (*key, make_key([getattr(perceptron, name, None) for name in OF_DATA]))
    data: FitData = share(("data", *key), lambda: perceptron._check(X, y, sample_weight, settings, {}))
    network = perceptron._start_network(data, settings, {}, random_state)
    examples = share(("examples", *key), lambda: load_examples(data, network))
    return Prepared(prepare_fit(network, settings, data, examples, {}, random_state), job, transformers)


class ByIdentity(pickle.Pickler):
    """Pickles functions, classes and modules by identity: lambdas have no name to be pickled by."""

    def persistent_id(self, obj: Any) -> int | None:
        """Return the identity of what is not pickled itself."""
        return id(obj) if isinstance(obj, (FunctionType, ModuleType, type)) else None


def make_key(parameters: Any) -> Hashable:
    """Make a key that equal parameters have in common."""
    try:
        return joblib.hash(parameters)
    except (AttributeError, TypeError, pickle.PicklingError):
        content = io.BytesIO()
        ByIdentity(content).dump(parameters)
        return content.getvalue()


def divide(jobs: Sequence[Job], workers: int) -> list[list[int]]:
    """Divide the numbers of jobs between workers, so that jobs of one kind stay together, in parts of equal size."""
    order = sorted(range(len(jobs)), key=lambda i: (jobs[i].kind, jobs[i].fold))
    parts = []
    for _, of_kind in groupby(order, lambda i: jobs[i].kind):
        numbers = list(of_kind)
        n = max(1, min(workers, len(numbers) // FEWEST))
        parts += [part.tolist() for part in np.array_split(numbers, n)]
    return parts


def slice_candidates(
    candidates: Sequence[Mapping[str, Any]], estimator: Any, folds: Folds
) -> Iterator[Sequence[Mapping[str, Any]]]:
    """Slice the settings to try, so that the networks of a slice need at most half of the machine's memory, about."""
    memory, n_in = find_memory(), folds.n_in
    start, needed = 0, 0.0
    for i, candidate in enumerate(candidates):
        perceptron = Job(set_candidate(estimator, candidate), 0).perceptron
        try:
            units = [n_in, *parse_hidden_sizes(perceptron.hidden_layer_sizes)]
        except ValueError:  # the fit will fail
            units = [n_in]
        bytes_of_candidate = 8.0 * COPIES * count_parameters(units) * len(folds.rows)
        if memory is not None and i > start and needed + bytes_of_candidate > memory / 2:
            yield candidates[start:i]
            start, needed = i, 0.0
        needed += bytes_of_candidate
    yield candidates[start:]
