"""MLPSearchCV and MLPRandomSearchCV: scikit-learn's searches, whose fits over settings and folds are trained together.

scikit-learn does the search itself: it scores, ranks and refits. The fits are done here beforehand, a slice of the
settings at a time. When scikit-learn asks for them, a `StandIn` for the estimator hands over their results one by one.
"""

import functools
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import ismethod
from typing import Any

import numpy as np
from joblib import effective_n_jobs, parallel_config
from sklearn import get_config
from sklearn.base import BaseEstimator, clone, is_classifier
from sklearn.metrics import check_scoring
from sklearn.model_selection import GridSearchCV, ParameterGrid, ParameterSampler, RandomizedSearchCV, check_cv
from sklearn.pipeline import Pipeline
from sklearn.utils import indexable
from sklearn.utils.parallel import Parallel, delayed  # joblib's, with scikit-learn's settings and warning filters

from xpnet.estimators.base import BasePerceptron
from xpnet.estimators.folds import Folds, Job, Outcome, divide, fit_jobs, set_candidate, slice_candidates
from xpnet.training.memory import check_memory
from xpnet.wording.errors import is_stop
from xpnet.wording.hints import explain_arguments

BYTES_OF_CANDIDATE = 200  # its settings need at least this many


class Stopped(BaseException):
    """Carries an error that must stop the search past scikit-learn, which would score it as `error_score`.

    Parameters
    ----------
    error
        The error.
    """

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


def carry_stops(function: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a function that scikit-learn calls, so that errors that must stop the search are raised as `Stopped`."""

    @functools.wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        try:
            return function(*arguments, **options)
        except Exception as error:
            if is_stop(error):
                raise Stopped(error) from error
            raise

    return call


class StandIn(BaseEstimator):
    """Stands in for the estimator of a search; its `fit` takes the result of a fit that was done beforehand.

    Parameters
    ----------
    estimator
        The estimator, which does everything else.
    outcomes
        The outcomes of fits in the order in which scikit-learn asks for them. If there is none, `fit` does the fit.
    """

    def __init__(self, estimator: Any, outcomes: deque[Outcome]) -> None:
        self.estimator, self.outcomes = estimator, outcomes

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters of the estimator."""
        return self.estimator.get_params(deep)

    def set_params(self, **parameters: Any) -> "StandIn":
        """Set parameters of the estimator."""
        self.estimator.set_params(**parameters)
        return self

    def fit(self, X: Any, y: Any = None, **parameters: Any) -> "StandIn":
        """Take the result of the next fit, or do it if it was not done beforehand."""
        outcome = self.outcomes.popleft() if self.outcomes else Outcome()
        if outcome.error is not None:
            raise outcome.error
        self.estimator = outcome.estimator or carry_stops(self.estimator.fit)(X, y, **parameters)
        return self

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "estimator" not in vars(self):
            raise AttributeError(name)
        value = getattr(self.estimator, name)
        return carry_stops(value) if ismethod(value) else value

    def __sklearn_clone__(self) -> "StandIn":
        return StandIn(clone(self.estimator), self.outcomes)

    def __sklearn_tags__(self) -> Any:
        return self.estimator.__sklearn_tags__()


@dataclass(frozen=True)
class CustomScorer:
    """Calls the user's own scorer with the estimator rather than its stand-in."""

    scorer: Callable[..., Any]

    def __call__(self, stand_in: StandIn, *arguments: Any, **options: Any) -> Any:
        """Score the estimator."""
        return carry_stops(self.scorer)(stand_in.estimator, *arguments, **options)


class SlicedSearch(GridSearchCV):
    """A search over a list of settings that does the fits of a slice before scikit-learn asks for them."""

    slices: Sequence[Sequence[Mapping[str, Any]]]
    do_fits: Callable[[Sequence[Mapping[str, Any]]], list[Outcome]]
    outcomes: deque[Outcome]  # where the `StandIn` finds them
    seconds: list[float]
    results: dict[str, Any] | None = None  # of the slices that were scored

    def _run_search(self, evaluate_candidates: Callable[..., dict[str, Any]]) -> None:
        waiting: list[tuple[Mapping[str, Any], list[Outcome]]] = []  # settings still to be scored

        def score() -> None:
            self.outcomes.extend(outcome for _, outcomes in waiting for outcome in outcomes)
            self.results = evaluate_candidates([candidate for candidate, _ in waiting])
            self.seconds.extend(outcome.seconds for _, outcomes in waiting for outcome in outcomes)
            waiting.clear()

        for part in self.slices:
            outcomes = self.do_fits(part)
            parts = np.array_split(np.arange(len(outcomes)), len(part))
            new = [(candidate, [outcomes[i] for i in numbers]) for candidate, numbers in zip(part, parts)]
            new = [pair for pair in new if not any(outcome.was_not_begun for outcome in pair[1])]
            # scikit-learn raises if all fits that it is asked to score have failed
            if any_succeeded(waiting) and any_succeeded(new):
                score()
            waiting += new
            if any(outcome.is_interrupted for outcome in outcomes):
                if any_succeeded(waiting):
                    score()
                raise KeyboardInterrupt
        score()


def any_succeeded(candidates: Sequence[tuple[Mapping[str, Any], Sequence[Outcome]]]) -> bool:
    """Tell whether a fit of these settings has not failed."""
    return any(outcome.estimator is not None for _, outcomes in candidates for outcome in outcomes)


class TogetherMixin:
    """The `fit` of both searches."""

    def _list_candidates(self) -> list[dict[str, Any]]:
        """List the settings to try."""
        raise NotImplementedError

    def fit(self: Any, X: Any, y: Any = None, **params: Any) -> Any:
        """Fit the estimator with all settings on all folds, and then with the best settings on all examples.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
            Inputs.
        y : array of shape (n_samples,) or (n_samples, n_outputs)
            Targets.
        **params
            As in `sklearn.model_selection.GridSearchCV.fit`: `groups`, `sample_weight`, or others. With others, and
            with metadata routing, scikit-learn does the fits one by one.

        Returns
        -------
        self
            The fitted search.

        Raises
        ------
        ValueError, TypeError
            If the estimator is not one of xpnet's, there are no settings, one of them names an unknown parameter, or
            there are too few examples for the folds; nothing is trained then.
        MemoryError
            If the machine has less memory than a list of the settings needs.
        KeyboardInterrupt
            After Ctrl-C. `cv_results_` then holds the settings whose training had begun, with the scores of their
            networks at that moment. With several workers, it holds the slices that were done.
        """
        self._validate_params()  # scikit-learn's check of its own parameters
        require_perceptron(self.estimator)
        candidates = self._list_candidates()
        for candidate in candidates:
            require_perceptron(set_candidate(self.estimator, candidate))
        used = {name for name, value in params.items() if value is not None}
        accepted = {"groups"} if isinstance(self.estimator, Pipeline) else {"groups", "sample_weight"}
        if used - accepted or get_config()["enable_metadata_routing"]:
            return super().fit(X, y, **params)  # type: ignore[misc]
        X, y = indexable(X, y)
        search = self._make_search(candidates, X, y, params)
        try:
            with parallel_config("sequential"):
                search.fit(X, y, **params)
        except KeyboardInterrupt:
            for name in [name for name in vars(self) if name.endswith("_")]:  # of an earlier fit
                delattr(self, name)
            if search.results is not None:
                self.cv_results_ = replace_times(search.results, search.seconds)
            raise
        except Stopped as stopped:
            raise stopped.error from None
        self._take_over(search)
        return self

    def _make_search(
        self: Any, candidates: Sequence[Mapping[str, Any]], X: Any, y: Any, params: Mapping[str, Any]
    ) -> SlicedSearch:
        """Make the search that scikit-learn runs, over the settings and folds."""
        splitter: Any = check_cv(self.cv, y, classifier=is_classifier(self.estimator))
        splits = list(splitter.split(X, y, params.get("groups")))
        folds = Folds(X, y, params.get("sample_weight"), [train for train, _ in splits])

        # The fits use the joblib backend chosen by the user; scikit-learn's part of the search runs in this process
        workers, parallel = effective_n_jobs(self.n_jobs), Parallel(n_jobs=self.n_jobs, pre_dispatch=self.pre_dispatch)

        def do_fits(part: Sequence[Mapping[str, Any]]) -> list[Outcome]:
            numbers = range(len(splits))
            jobs = [Job(set_candidate(self.estimator, candidate), fold) for candidate in part for fold in numbers]
            if workers == 1:
                return fit_jobs(jobs, *folds, threads="auto", progress=self.verbose > 0)
            return share_jobs(jobs, folds, parallel, workers)

        outcomes: deque[Outcome] = deque()
        search = SlicedSearch(
            StandIn(clone(self.estimator), outcomes),
            [{}],  # the settings are in the slices
            scoring=map_scorers(wrap_scorer, self.scoring),
            n_jobs=1,
            refit=self.refit,
            cv=splits,
            verbose=self.verbose,
            error_score=self.error_score,
            return_train_score=self.return_train_score,
        )
        search.slices, search.do_fits = list(slice_candidates(candidates, self.estimator, folds)), do_fits
        search.outcomes, search.seconds = outcomes, []
        return search

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "scorer_")  # it is set last; after Ctrl-C there is only `cv_results_`

    def _take_over(self: Any, search: SlicedSearch) -> None:
        """Take over the fitted attributes of the search that scikit-learn ran."""
        fitted = {name: value for name, value in vars(search).items() if name.endswith("_")}
        fitted["cv_results_"] = replace_times(search.cv_results_, search.seconds)
        if "best_estimator_" in fitted:
            fitted["best_estimator_"] = fitted["best_estimator_"].estimator
        scorers = check_scoring(self.estimator) if self.scoring is None else search.scorer_
        fitted["scorer_"] = map_scorers(lambda scorer: getattr(scorer, "scorer", scorer), scorers)
        vars(self).update(fitted)


@explain_arguments
class MLPSearchCV(TogetherMixin, GridSearchCV):
    """A grid search over settings of an `MLPClassifier` or `MLPRegressor`, whose fits are trained together.

    Parameters, attributes and methods are those of `sklearn.model_selection.GridSearchCV`, and so are the scores, to
    rounding. Networks of one structure are trained in one program, which takes less time: their settings may differ
    in `alpha`, learning rates, the numbers of a solver, `max_iter`, `tol`, `random_state` and early stopping. Networks
    with different sizes, activations, losses, solvers or batch sizes form separate groups. L-BFGS fits its networks
    one by one.

    Parameters
    ----------
    estimator
        An `MLPClassifier` or `MLPRegressor` of `xpnet.estimators`, or a pipeline that ends with one.
    param_grid
        As in GridSearchCV: lists of settings by the name of the parameter, or a list of such dictionaries.
    n_jobs
        The number of processes, or of workers of the joblib backend, between which the fits are divided. None trains
        all of them in this process, by threads on all cores.
    scoring, refit, cv, verbose, pre_dispatch, error_score, return_train_score
        As in GridSearchCV. `verbose` shows a bar, too.

    Attributes
    ----------
    cv_results_, best_estimator_, best_score_, best_params_, best_index_, scorer_, n_splits_, refit_time_, multimetric_
        As in GridSearchCV. The time of a fit is its share of the time of the group that it was trained with.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from xpnet.estimators import MLPClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> grid = {"alpha": [1e-4, 1e-2], "learning_rate_init": [0.001, 0.01, 0.1]}
    >>> search = MLPSearchCV(MLPClassifier((10,), max_iter=100, tol=1e-2, random_state=0), grid).fit(X, y)
    >>> len(search.cv_results_["params"]), bool(search.best_score_ > 0.95)
    (6, True)
    """

    def _list_candidates(self) -> list[dict[str, Any]]:
        refuse_empty("param_grid", self.param_grid)
        return list_settings("param_grid", ParameterGrid(self.param_grid))


@explain_arguments
class MLPRandomSearchCV(TogetherMixin, RandomizedSearchCV):
    """A random search over settings of an `MLPClassifier` or `MLPRegressor`, whose fits are trained together.

    Parameters, attributes and methods are those of `sklearn.model_selection.RandomizedSearchCV`; see `MLPSearchCV`.

    Examples
    --------
    >>> from scipy.stats import loguniform
    >>> from sklearn.datasets import load_iris
    >>> from xpnet.estimators import MLPClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> settings = {"learning_rate_init": loguniform(1e-3, 1e-1)}
    >>> classifier = MLPClassifier((10,), max_iter=100, tol=1e-2, random_state=0)
    >>> search = MLPRandomSearchCV(classifier, settings, n_iter=6, random_state=0).fit(X, y)
    >>> bool(search.best_score_ > 0.95)
    True
    """

    def _list_candidates(self) -> list[dict[str, Any]]:
        refuse_empty("param_distributions", self.param_distributions)
        sampler = ParameterSampler(self.param_distributions, self.n_iter, random_state=self.random_state)
        return list_settings(f"n_iter={self.n_iter}", sampler)


def map_scorers(function: Callable[[Any], Any], scoring: Any) -> Any:
    """Apply a function to a scorer, or to each in a dictionary."""
    return (
        {name: function(scorer) for name, scorer in scoring.items()} if isinstance(scoring, dict) else function(scoring)
    )


def wrap_scorer(scorer: Any) -> Any:
    """Wrap a function (estimator, X, y); names, and scorers made by `make_scorer`, stay as they are."""
    return CustomScorer(scorer) if callable(scorer) and not hasattr(scorer, "set_score_request") else scorer


def share_jobs(jobs: Sequence[Job], folds: Folds, parallel: Parallel, workers: int) -> list[Outcome]:
    """Divide fits between several workers."""
    parts = divide(jobs, workers)
    done: Any = parallel(delayed(fit_jobs)([jobs[i] for i in part], *folds) for part in parts)
    outcomes = dict(pair for part, outcomes_of_part in zip(parts, done) for pair in zip(part, outcomes_of_part))
    return [outcomes[i] for i in range(len(jobs))]


def require_perceptron(estimator: Any) -> None:
    """Refuse estimators that these searches cannot train."""
    last = estimator.steps[-1][1] if isinstance(estimator, Pipeline) else estimator
    if not isinstance(last, BasePerceptron):
        raise TypeError(
            f"estimator={estimator!r} must be an MLPClassifier or MLPRegressor of xpnet.estimators, or a Pipeline that "
            "ends with one; for others there is sklearn.model_selection.GridSearchCV"
        )


def refuse_empty(name: str, value: Any) -> None:
    """Refuse a grid without settings, or one with a setting that has no values."""
    if not value:
        raise ValueError(
            f"{name}={value!r} has no settings to try; give lists of them, as in {{'alpha': [1e-4, 1e-2]}}"
        )
    for grid in value if isinstance(value, list) else [value]:
        for setting, values in grid.items() if isinstance(grid, dict) else ():
            if (isinstance(values, (list, tuple)) and not values) or (
                isinstance(values, np.ndarray) and not values.size
            ):
                raise ValueError(f"{name} has no values of {setting!r} to try; give a list of them")


def list_settings(name: str, settings: ParameterGrid | ParameterSampler) -> list[dict[str, Any]]:
    """List the settings of a search, unless the list needs more memory than there is."""
    number = settings.__len__()  # `len` refuses numbers of more than 63 bits
    check_memory(number * BYTES_OF_CANDIDATE, f"{name} asks for {number:,} settings, whose list needs", "give fewer")
    return list(settings)


def replace_times(results: Mapping[str, Any], seconds: Sequence[float]) -> dict[str, Any]:
    """Replace the times of the fits in `cv_results_`."""
    times = np.reshape(seconds, (len(results["params"]), -1))
    return {**results, "mean_fit_time": times.mean(axis=1), "std_fit_time": times.std(axis=1)}
