"""MLPSearchCV and MLPRandomSearchCV: scikit-learn's searches, whose fits over settings and folds are trained together.

Parameters and predictions are those of scikit-learn's classes. `fit` is xpnet's: it fits and scores a slice of the
settings at a time on all folds, which is what a checkpoint grows by.
"""

import operator
import os
import time
from collections.abc import Callable, Mapping, Sequence
from types import NoneType
from typing import Any

import numpy as np
from joblib import effective_n_jobs
from sklearn import get_config
from sklearn.base import is_classifier
from sklearn.model_selection import GridSearchCV, ParameterGrid, ParameterSampler, RandomizedSearchCV, check_cv
from sklearn.pipeline import Pipeline
from sklearn.utils import indexable
from sklearn.utils.parallel import Parallel, delayed  # joblib's, with scikit-learn's settings and warning filters

from xpnet._checks import count, has_entries
from xpnet._names import explain_arguments
from xpnet.backends import require_bytes
from xpnet.backends.identity import describe
from xpnet.errors import ArgumentError
from xpnet.estimators._results import (
    ScoredFit,
    Scoring,
    list_scores,
    make_results,
    name_weights,
    parse_scoring,
    print_fits,
    require_refit,
    warn_of_failures,
)
from xpnet.estimators._search_file import SearchFile
from xpnet.estimators._trials import (
    Folds,
    Trial,
    can_train_together,
    divide,
    fit_trials,
    set_candidate,
    slice_by_memory,
)
from xpnet.estimators.base import BaseLearner
from xpnet.training import parse_checkpoint

SETTINGS_BETWEEN_WRITES = 10  # of a checkpoint, unless given
BYTES_OF_CANDIDATE = 200  # its settings need at least this many
RESULTS = (  # that scikit-learn's `fit` gives a search
    *("cv_results_", "best_estimator_", "best_score_", "best_params_", "best_index_", "scorer_", "n_splits_"),
    *("refit_time_", "multimetric_", "feature_names_in_"),
)


class TogetherMixin:
    """The `fit` of both searches."""

    def _list_candidates(self) -> list[dict[str, Any]]:
        """List the settings to try."""
        raise NotImplementedError

    def fit(
        self: Any,
        X: Any,
        y: Any = None,
        *,
        checkpoint: str | os.PathLike[str] | None = None,
        every: int | None = None,
        resume: bool = False,
        **params: Any,
    ) -> Any:
        """Fit the estimator with all settings on all folds, and then with the best settings on all examples.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
            Inputs.
        y : array of shape (n_samples,) or (n_samples, n_outputs)
            Targets.
        checkpoint
            A file for the scores of the fits that are done, so that an interrupted search can be resumed. It needs a
            number as the `random_state` of the estimator, of the steps of a pipeline, of a random search and of folds
            that are shuffled.
        every
            With a checkpoint: after how many settings it is written, 10 unless given. Only their networks are trained
            together.
        resume
            Whether to resume the search in the file: the results, except for times, are then those of a search that was
            not interrupted, bit for bit. If there is no file yet, the search begins anew, and says so.
        **params
            As in `sklearn.model_selection.GridSearchCV.fit`: `groups`, `sample_weight`, or others. With others, and
            with metadata routing, scikit-learn does the fits one by one.

        Returns
        -------
        self
            The fitted search.

        Raises
        ------
        ArgumentError
            If the estimator is none of xpnet's and contains none, there are no settings, one of them names an unknown
            parameter, or there are too few examples for the folds; if the search cannot be repeated, or is another than
            that in the file. Nothing is trained then.
        FileExistsError
            If the file exists, and `resume` is False.
        CheckpointError
            If the file does not hold a search, or is damaged.
        MemoryError
            If the machine has less memory than a list of the settings needs.
        KeyboardInterrupt
            After Ctrl-C. `cv_results_` then holds the settings whose training had begun, with the scores of their
            networks at that moment. With several workers, it holds the slices that were done; while networks are
            scored, the settings that were.
        """
        require_learner(self.estimator)
        if every is not None:
            every = count("every", every, 1)
        saving = parse_checkpoint(checkpoint, every, resume, noun="search")
        candidates, used = self._list_candidates(), {name for name, value in params.items() if value is not None}
        estimators = [set_candidate(self.estimator, candidate) for candidate in candidates]
        for estimator in estimators:
            require_learner(estimator)
        if causes := self._find_what_separates(estimators, used):
            if saving is not None:
                raise ArgumentError(
                    "checkpoint= is for searches over an MLPClassifier or MLPRegressor, or a Pipeline that ends with "
                    f"one, with groups= and sample_weight= only; with {causes}, scikit-learn does the fits one by one; "
                    "leave checkpoint out"
                )
            return super().fit(X, y, **params)  # type: ignore[misc]
        X, y, sample_weight = indexable(X, y, params.get("sample_weight"))
        splitter: Any = check_cv(self.cv, y, classifier=is_classifier(self.estimator))
        splits = list(splitter.split(X, y, params.get("groups")))
        folds, scoring = Folds(X, y, sample_weight, splits), parse_scoring(self, is_weighted=sample_weight is not None)
        fit_slice, file = self._divide_among_workers(folds, scoring), None
        if saving is not None:
            require_repeatable(self, estimators, splits, list(splitter.split(X, y, params.get("groups"))))
            file, every = SearchFile(saving, self, candidates, folds, scoring), every or SETTINGS_BETWEEN_WRITES
        scored = {} if file is None else file.begin()  # by the numbers of candidate and fold
        settings = {name: value for name, value in vars(self).items() if name not in RESULTS}
        n = len(splits)
        if self.verbose > 0:
            fits = n * len(candidates)
            print(f"Fitting {n} folds for each of {len(candidates)} candidates, totalling {fits} fits")
        try:
            for part in slice_by_memory(estimators, len(scored) // n, folds, every):
                fit_slice([Trial(k, fold, estimators[k]) for k in part for fold in range(n)], scored)
                for k in part if self.verbose > 1 else ():
                    print_fits(candidates[k], [scored[k, fold] for fold in range(n)], scoring, self.verbose)
                if file is not None:
                    file.write(scored)
            fits = [scored[number] for number in sorted(scored)]
            results, names = make_results(candidates, fits, scoring), list_scores(fits)
            warn_of_failures(fits, results, self.error_score)
            attributes = choose_best(self.refit, results, names)
            if self.refit:
                attributes |= self._refit(attributes["best_params_"], *folds[:3])
        except KeyboardInterrupt:
            self.__dict__ = settings
            whole = [k for k in range(len(candidates)) if all((k, fold) in scored for fold in range(n))]
            fits = [scored[k, fold] for k in whole for fold in range(n)]
            if fits:
                self.cv_results_ = make_results([candidates[k] for k in whole], fits, scoring)
            raise
        attributes |= {"cv_results_": results, "n_splits_": n, "multimetric_": bool(names), "scorer_": scoring.public}
        self.__dict__ = settings | attributes
        return self

    def _find_what_separates(self: Any, estimators: Sequence[Any], used: set[str]) -> str:
        """Say why networks cannot be trained together: "" if they can; `used` names further arguments of `fit`."""
        if not all(map(can_train_together, (self.estimator, *estimators))):
            return f"estimator={self.estimator!r}"
        if others := used - ({"groups"} if isinstance(self.estimator, Pipeline) else {"groups", "sample_weight"}):
            return f"{', '.join(sorted(others))}="
        return "metadata routing" if get_config()["enable_metadata_routing"] else ""

    def _divide_among_workers(self: Any, folds: Folds, scoring: Scoring) -> Callable[[Sequence[Trial], Any], Any]:
        """Return a function that fits and scores trials by the joblib backend chosen by the user, into a dict."""
        if not isinstance(self.n_jobs, (int, np.integer, NoneType)):
            raise ArgumentError(
                f"n_jobs={self.n_jobs!r} must be a number of processes, -1 for one on each core, or None"
            )
        n_jobs: Any = self.n_jobs
        workers = effective_n_jobs(n_jobs)
        if workers == 1:
            options = {"threads": "auto", "progress": self.verbose > 0}
            return lambda trials, scored: fit_trials(trials, scoring, *folds, scored=scored, **options)
        parallel = Parallel(n_jobs=n_jobs, pre_dispatch=self.pre_dispatch)

        def share_trials(trials: Sequence[Trial], scored: dict[tuple[int, int], ScoredFit]) -> None:
            done: Any = parallel(delayed(fit_trials)(part, scoring, *folds) for part in divide(trials, workers))
            for fits in done:
                scored.update(fits)

        return share_trials

    def _refit(self: Any, settings: Mapping[str, Any], X: Any, y: Any, sample_weight: Any) -> dict[str, Any]:
        """Fit an estimator with the best settings on all examples, and return the attributes that follow from it."""
        began, best = time.perf_counter(), set_candidate(self.estimator, settings)
        best.fit(X, y, **name_weights(sample_weight))
        names = {"feature_names_in_": best.feature_names_in_} if hasattr(best, "feature_names_in_") else {}
        return {"best_estimator_": best, "refit_time_": time.perf_counter() - began, **names}

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "scorer_")  # it is set last; after Ctrl-C there is only `cv_results_`


@explain_arguments
class MLPSearchCV(TogetherMixin, GridSearchCV):
    """A grid search over settings of an `MLPClassifier` or `MLPRegressor`, whose fits are trained together.

    Parameters, attributes and methods are those of `sklearn.model_selection.GridSearchCV`, and so are the scores, to
    rounding. Networks of one structure are trained in one program, which takes less time: their settings may differ
    in `alpha`, learning rates, the numbers of a solver, `max_iter`, `tol`, `random_state` and early stopping. Networks
    with different sizes, activations, losses, solvers or batch sizes form separate groups.

    Parameters
    ----------
    estimator
        An `MLPClassifier` or `MLPRegressor` of `xpnet.estimators`, or a pipeline that ends with one. Ensembles, and
        other estimators that contain one of xpnet's, such as a `TransformedTargetRegressor`, are fitted one by one, as
        in GridSearchCV, and so are derived classes with a `fit` of their own.
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
        n_iter = count("n_iter", self.n_iter, 1)
        sampler = ParameterSampler(self.param_distributions, n_iter, random_state=self.random_state)
        return list_settings(f"n_iter={n_iter}", sampler)


def choose_best(refit: Any, results: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Choose the best settings by their ranks or by the user's function; of several scores, `refit` names one."""
    if names:
        require_refit(refit, names)
        if refit is False:
            return {}
    if callable(refit):
        chosen: Any = refit(results)
        best, best_score = operator.index(chosen), {}
        if not 0 <= best < len(results["params"]):
            raise IndexError(f"refit chose the settings {best} of {len(results['params'])}, which are numbered from 0")
    else:
        name = refit if names else "score"
        best = results[f"rank_test_{name}"].argmin()
        best_score = {"best_score_": results[f"mean_test_{name}"][best]}
    return {**best_score, "best_index_": best, "best_params_": results["params"][best]}


def require_learner(estimator: Any) -> None:
    """Refuse estimators that have nothing to do with xpnet."""
    is_estimator = hasattr(estimator, "get_params") and not isinstance(estimator, type)
    parts = [estimator, *estimator.get_params().values()] if is_estimator else []
    if not any(isinstance(part, BaseLearner) for part in parts):
        raise ArgumentError(
            f"estimator={estimator!r} must be an estimator of xpnet.estimators, or contain one, as a Pipeline may; for "
            "others there is sklearn.model_selection.GridSearchCV"
        )


def refuse_empty(name: str, value: Any) -> None:
    """Refuse a grid without settings, or one with a setting that has no values."""
    if not value:
        raise ArgumentError(
            f"{name}={value!r} has no settings to try; give lists of them, as in {{'alpha': [1e-4, 1e-2]}}"
        )
    for grid in value if isinstance(value, list) else [value]:
        for setting, values in grid.items() if isinstance(grid, dict) else ():
            if has_entries(values) and not len(values):
                raise ArgumentError(f"{name} has no values of {setting!r} to try; give a list of them")


def list_settings(name: str, settings: ParameterGrid | ParameterSampler) -> list[dict[str, Any]]:
    """List the settings of a search, unless the list needs more memory than there is."""
    number = settings.__len__()  # `len` refuses numbers of more than 63 bits
    require_bytes(number * BYTES_OF_CANDIDATE, f"{name} asks for {number:,} settings, whose list needs", "give fewer")
    return list(settings)


def require_repeatable(search: Any, estimators: Sequence[Any], splits: Sequence[Any], again: Sequence[Any]) -> None:
    """Refuse a checkpoint of a search that would draw other numbers, or other folds, when it is resumed."""
    if isinstance(search, RandomizedSearchCV) and search.random_state is None:
        raise ArgumentError(
            "checkpoint= needs the random_state of the search: with None, a search that resumes tries other settings; "
            "give a number, as in random_state=0"
        )
    for estimator in estimators:
        for name, value in estimator.get_params().items():
            if value is None and name.rpartition("__")[2] == "random_state":
                raise ArgumentError(
                    f"checkpoint= needs a number as {name}: with None, a search that resumes draws other numbers; give "
                    f"one, as in {name}=0"
                )
    if describe(splits) != describe(again):
        raise ArgumentError(
            f"checkpoint= needs folds that can be made again, and cv={search.cv!r} makes others each time; give it a "
            "number as random_state"
        )
