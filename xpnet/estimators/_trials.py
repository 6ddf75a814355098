"""The trials of a search: fits with some settings on one fold, which share their examples and are trained together."""

import math
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing

from xpnet._checks import warn
from xpnet._identity import describe
from xpnet.estimators._convergence import find_convergence
from xpnet.estimators._fitting import (
    FitData,
    assign_attributes,
    check_data,
    list_attributes,
    make_job,
    settle,
)
from xpnet.estimators._parameters import parse_settings
from xpnet.estimators.base import BasePerceptron
from xpnet.training import Job, group_by_structure, train

MAX_BYTES = 1 << 28  # of the examples of all folds together; larger folds are trained one after the other
# Parameters on which the examples of a fit and their place depend
DATA_PARAMETERS = (
    *("loss", "hidden_layer_sizes", "activation", "class_weight", "dropout", "standardize"),
    *("backend", "device", "dtype", "solver"),
)
Splits = Sequence[tuple[np.ndarray, np.ndarray]]  # the rows of each fold to train on, and to test on
Take = Callable[[int, int], list[Any]]  # X, y and weights of a fold, to train on (0) or to test on (1)
Scored = dict[tuple[int, int], dict[str, Any]]  # by candidate and fold: what scikit-learn knows of a fit


def find_last(estimator: Any) -> Any:
    """Return the last estimator of a pipeline; any other estimator as it is."""
    return estimator.steps[-1][1] if isinstance(estimator, Pipeline) else estimator


def find_transformers(estimator: Any) -> Any:
    """Return the steps of a pipeline before the last, as a pipeline; None if there are none."""
    return estimator[:-1] if isinstance(estimator, Pipeline) and len(estimator.steps) > 1 else None


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


def name_weights(sample_weight: Any) -> dict[str, Any]:
    """Return the weights as an argument for a function, if there are any."""
    return {} if sample_weight is None else {"sample_weight": sample_weight}


class Trial(NamedTuple):
    """A fit to do: an estimator with the settings of a candidate, which stays as it is, on one fold."""

    candidate: int  # its number
    fold: int  # its number
    estimator: Any  # a `BasePerceptron`, or a pipeline that ends with one
    transformers: str  # describes those of the pipeline, before they are fitted

    def describe(self, *others: str) -> str:
        """Describe the parameters on which the examples depend, and others."""
        return describe([getattr(find_last(self.estimator), name, None) for name in (*DATA_PARAMETERS, *others)])


class Scoring(NamedTuple):
    """How the trials of a search are scored."""

    scorer: Callable[..., Any]  # of scikit-learn, or the user's function; may return several scores by their names
    public: Any  # the scorer or scorers as the attribute `scorer_`
    takes_weights: bool
    error_score: Any
    scores_training: bool

    def score_fit(self, outcome: Any, take: Callable[[int], list[Any]], seconds: float) -> dict[str, Any]:
        """Score a fitted estimator, or the error of its fit, which took these seconds and has no scores."""
        fit: dict[str, Any] = {"error": None, "fit_time": seconds, "score_time": 0.0, "test": {}}
        fit |= {"train": {}} if self.scores_training else {}
        if not isinstance(outcome, Exception):
            test, began = take(1), time.perf_counter()
            fit["test"] = self.score(outcome, *test)
            fit["score_time"] = time.perf_counter() - began
            if self.scores_training:
                fit["train"] = self.score(outcome, *take(0))
        elif self.error_score == "raise":
            raise outcome
        else:
            fit["error"] = "".join(traceback.format_exception(outcome))
        return fit

    def score(self, model: Any, X: Any, y: Any, sample_weight: Any) -> dict[str, float]:
        """Score a fitted estimator on examples."""
        try:
            scores = self.scorer(model, X, y, **name_weights(sample_weight if self.takes_weights else None))
            scores = scores if isinstance(scores, dict) else {"score": float(scores)}
        except Exception:
            if self.error_score == "raise":
                raise
            scores = {"score": traceback.format_exc()}
        for text in scores.values():
            if isinstance(text, str):  # of several scores, scikit-learn gives the text of an error
                warn(
                    "Scoring failed. The score on this train-test partition for these parameters will be set to "
                    f"{self.error_score}. Details: \n{text}"
                )
        return {name: float(self.error_score if isinstance(x, str) else x) for name, x in scores.items()}


class Prepared(NamedTuple):
    """A trial that can be trained."""

    trial: Trial
    job: Job
    data: FitData
    estimator: Any  # a new one, with fitted transformers


def fit_trials(
    trials: Sequence[Trial],
    scoring: Scoring,
    X: Any,
    y: Any,
    sample_weight: Any,
    splits: Splits,
    *,
    threads: int | str = 1,
    progress: bool = False,
    scored: Scored | None = None,
) -> Scored:
    """Fit trials, those of one structure together, and score each.

    Parameters
    ----------
    trials, scoring
        What to fit, and how to score it.
    X, y, sample_weight, splits
        The examples as the user gave them. joblib shares arrays between workers only if they are arguments themselves.
    threads
        As in `Ensemble.train`.
    progress
        Whether to show a bar.
    scored
        Takes what is returned, trial by trial: after Ctrl-C it holds those that had begun and could be scored.
    """
    scored = {} if scored is None else scored

    def take(fold: int, part: int) -> list[Any]:
        return [None if a is None else _safe_indexing(a, splits[fold][part]) for a in (X, y, sample_weight)]

    parts, shape = [trials], X.shape if hasattr(X, "shape") else [len(X)]
    if 8 * len(splits) * math.prod(shape) > MAX_BYTES:
        parts = [[trial for trial in trials if trial.fold == fold] for fold in range(len(splits))]
    for part in parts:
        for trial, outcome, seconds in train_trials(part, take, threads, progress):
            scored[trial.candidate, trial.fold] = scoring.score_fit(outcome, partial(take, trial.fold), seconds)
    return scored


def train_trials(
    trials: Sequence[Trial], take: Take, threads: int | str, progress: bool
) -> Iterator[tuple[Trial, Any, float]]:
    """Train trials. Yield each, its fitted estimator or its error, and its seconds."""
    began, shared = time.perf_counter(), {}
    prepared: list[Prepared] = []
    for trial in trials:
        try:
            prepared.append(prepare_trial(trial, take, shared))
        except Exception as error:
            yield trial, error, 0.0
    preparation = (time.perf_counter() - began) / max(1, len(prepared))
    groups = [[prepared[k] for k in numbers] for numbers in group_by_structure([part.job for part in prepared])]
    while groups:
        group, began, errors, interrupt = groups.pop(0), time.perf_counter(), {}, None
        jobs = [part.job for part in group]
        if progress and len(jobs) > 1:
            jobs[0] = jobs[0]._replace(plan=replace(jobs[0].plan, progress=True))  # one bar for all
        try:
            errors = settle(jobs, train(jobs, threads=threads).give_to([job.owner for job in jobs]))
        except KeyboardInterrupt as caught:
            interrupt = caught
        except Exception as error:  # memory is too small for all of them, or the callback of one failed
            if len(group) > 1:
                again = [prepare_trial(part.trial, take, shared) for part in group]
                groups[:0] = again[: len(again) // 2], again[len(again) // 2 :]
                continue
            errors = {0: error}
        seconds = preparation + (time.perf_counter() - began) / len(group)
        for k, part in enumerate(group):
            if k in errors:
                yield part.trial, errors[k], seconds
            elif interrupt is None or find_convergence(part.job.plan).tally.n_iter_ > 0:
                assign_attributes(find_last(part.estimator), list_attributes(part.job, part.data))
                yield part.trial, part.estimator, seconds
        if interrupt is not None:
            raise interrupt


def prepare_trial(trial: Trial, take: Take, shared: dict[Any, Any]) -> Prepared:
    """Prepare the fit of a trial; `shared` has what others with the same fold, transformers and parameters made."""

    def share(key: Any, make: Callable[[], Any]) -> Any:
        if key not in shared:
            shared[key] = make()
        return shared[key]

    estimator: Any = clone(trial.estimator)
    perceptron, first = find_last(estimator), find_transformers(estimator)
    X, y, sample_weight = share(trial.fold, lambda: take(trial.fold, 0))
    key = (trial.fold, trial.transformers)
    if first is not None:
        first, X = share(key, lambda: (first, first.fit_transform(X, y)))
        estimator.steps[:-1] = first.steps
    settings = parse_settings(perceptron, partial=False)
    data = share((*key, trial.describe()), lambda: check_data(perceptron, settings, {}, X, y, sample_weight))
    return Prepared(trial, make_job(perceptron, settings, data, {}), data, estimator)


def divide(trials: Sequence[Trial], workers: int) -> list[list[Trial]]:
    """Divide trials into equal parts for workers; those that train together come one after the other."""
    order = sorted(trials, key=lambda trial: (trial.describe("batch_size"), trial.fold))
    return [[order[k] for k in part] for part in np.array_split(range(len(order)), min(workers, len(order)))]
