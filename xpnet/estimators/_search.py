"""MLPSearchCV and MLPRandomSearchCV: scikit-learn's searches, whose fits over settings and folds are trained together.

scikit-learn does the search itself: it scores, ranks and refits. The fits are done here beforehand, a slice of the
settings at a time, and a stand-in for the estimator hands them over.
"""

import copy
import os
from collections.abc import Callable, Mapping, Sequence
from types import NoneType
from typing import Any

import numpy as np
from joblib import effective_n_jobs, parallel_config
from sklearn import get_config
from sklearn.base import is_classifier
from sklearn.model_selection import GridSearchCV, ParameterGrid, ParameterSampler, RandomizedSearchCV, check_cv
from sklearn.pipeline import Pipeline
from sklearn.utils import indexable
from sklearn.utils.parallel import Parallel, delayed  # joblib's, with scikit-learn's settings and warning filters

from xpnet._checks import count
from xpnet._names import explain_arguments
from xpnet.backends import require_bytes
from xpnet.backends.identity import describe
from xpnet.errors import ArgumentError
from xpnet.estimators._folds import (
    Folds,
    Outcome,
    Trial,
    can_train_together,
    divide,
    fit_trials,
    set_candidate,
    slice_candidates,
)
from xpnet.estimators._search_file import SearchFile, describe_search
from xpnet.estimators._sliced_search import SlicedSearch, StandIn, keep_scores, unwrap_scorers
from xpnet.estimators.base import BaseLearner
from xpnet.training import Saving, parse_saving

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
        saving = parse_saving(checkpoint, every, resume, noun="search")
        candidates, used = self._list_candidates(), {name for name, value in params.items() if value is not None}
        estimators = [set_candidate(self.estimator, candidate) for candidate in candidates]
        for estimator in estimators:
            require_learner(estimator)
        if not all(map(can_train_together, (self.estimator, *estimators))):
            refuse_checkpoint(self.estimator, checkpoint)
            return super().fit(X, y, **params)  # type: ignore[misc]
        accepted = {"groups"} if isinstance(self.estimator, Pipeline) else {"groups", "sample_weight"}
        if saving is not None:
            require_repeatable(self, candidates, used - accepted)
        if used - accepted or get_config()["enable_metadata_routing"]:
            return super().fit(X, y, **params)  # type: ignore[misc]
        X, y = indexable(X, y)
        search = self._make_search(candidates, X, y, params, saving)
        settings, twin = drop_results(self), self._make_twin(search)
        try:
            with parallel_config("sequential"):
                super(TogetherMixin, twin).fit(X, y, **params)  # type: ignore[misc]
        except KeyboardInterrupt:
            self.__dict__ = settings | ({} if search.results is None else {"cv_results_": search.results})
            raise
        results = {name: value for name, value in vars(twin).items() if name in RESULTS}
        self.__dict__ = settings | results | {"scorer_": unwrap_scorers(twin.scorer_)}
        return self

    def _make_twin(self: Any, search: SlicedSearch) -> Any:
        """Copy this search, with a stand-in that takes the fits of another; scikit-learn fits the copy."""
        twin, parts = copy.copy(self), {"scoring": search.scoring, "cv": search.splitter, "_sliced": search}
        twin.__dict__ = drop_results(self) | parts | {"estimator": StandIn(self.estimator, search)}
        return twin

    def _run_search(self: Any, evaluate_candidates: Any, *, callback_ctx: Any = None) -> None:
        """Evaluate the settings: the method that scikit-learn has subclasses write."""
        search = vars(self).pop("_sliced", None)
        if search is not None:
            try:
                return search.run(evaluate_candidates)
            finally:
                # This is the copy of the search that has the stand-in, which scikit-learn has cloned by now
                self.estimator = self.estimator.estimator
        options = {} if callback_ctx is None else {"callback_ctx": callback_ctx}
        return super()._run_search(evaluate_candidates, **options)  # type: ignore[misc]

    def _make_search(
        self: Any,
        candidates: Sequence[Mapping[str, Any]],
        X: Any,
        y: Any,
        params: Mapping[str, Any],
        saving: Saving | None,
    ) -> SlicedSearch:
        """Make the search over the settings and folds."""
        splitter: Any = check_cv(self.cv, y, classifier=is_classifier(self.estimator))
        splits = list(splitter.split(X, y, params.get("groups")))
        folds = Folds(X, y, params.get("sample_weight"), [train for train, _ in splits])
        scoring = keep_scores(self.scoring, self.estimator)
        search, most = SlicedSearch(candidates, scoring, splitter, splits, self._prepare_fits(folds)), None
        if saving is not None:
            require_same_folds(self.cv, splits, list(splitter.split(X, y, params.get("groups"))))
            description = describe_search(self, candidates, splits, *folds[:3])
            names = list(scoring) if isinstance(scoring, dict) else None
            n_scores = 2 if self.return_train_score else 1
            search.file = file = SearchFile(saving, description, len(splits), n_scores, names)
            search.begun = list(zip(candidates, file.begin()))
            most = saving.every if isinstance(saving.every, int) else SETTINGS_BETWEEN_WRITES
        remaining = candidates[len(search.begun) :]
        search.slices = list(slice_candidates(remaining, self.estimator, folds, most)) if remaining else []
        return search

    def _prepare_fits(self: Any, folds: Folds) -> Callable[[Sequence[Mapping[str, Any]]], list[Outcome]]:
        """Return a function that does the fits of settings on all folds, by the joblib backend chosen by the user."""
        if not isinstance(self.n_jobs, (int, np.integer, NoneType)):
            raise ArgumentError(
                f"n_jobs={self.n_jobs!r} must be a number of processes, -1 for one on each core, or None"
            )
        # Prepared here, since scikit-learn's part of the search runs in this process
        n_jobs: Any = self.n_jobs
        workers, parallel = effective_n_jobs(n_jobs), Parallel(n_jobs=n_jobs, pre_dispatch=self.pre_dispatch)

        def do_fits(part: Sequence[Mapping[str, Any]]) -> list[Outcome]:
            numbers = range(len(folds.rows))
            trials = [Trial(set_candidate(self.estimator, candidate), fold) for candidate in part for fold in numbers]
            if workers == 1:
                return fit_trials(trials, *folds, threads="auto", progress=self.verbose > 0)
            return share_trials(trials, folds, parallel, workers)

        return do_fits

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "scorer_")  # it is set last; after Ctrl-C there is only `cv_results_`


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


def drop_results(search: Any) -> dict[str, Any]:
    """Return the attributes of a search that is not fitted."""
    return {name: value for name, value in vars(search).items() if name not in RESULTS}


def share_trials(trials: Sequence[Trial], folds: Folds, parallel: Parallel, workers: int) -> list[Outcome]:
    """Divide fits between several workers."""
    parts = divide(trials, workers)
    done: Any = parallel(delayed(fit_trials)([trials[i] for i in part], *folds) for part in parts)
    outcomes = dict(pair for part, outcomes_of_part in zip(parts, done) for pair in zip(part, outcomes_of_part))
    return [outcomes[i] for i in range(len(trials))]


def require_learner(estimator: Any) -> None:
    """Refuse estimators that have nothing to do with xpnet."""
    is_estimator = hasattr(estimator, "get_params") and not isinstance(estimator, type)
    parts = [estimator, *estimator.get_params().values()] if is_estimator else []
    if not any(isinstance(part, BaseLearner) for part in parts):
        raise ArgumentError(
            f"estimator={estimator!r} must be an estimator of xpnet.estimators, or contain one, as a Pipeline may; for "
            "others there is sklearn.model_selection.GridSearchCV"
        )


def refuse_checkpoint(estimator: Any, checkpoint: Any) -> None:
    """Refuse a checkpoint of a search whose fits are not trained together."""
    if checkpoint is not None:
        raise ArgumentError(
            f"checkpoint= is for searches over an MLPClassifier or MLPRegressor, or a Pipeline that ends with one; for "
            f"estimator={estimator!r}, scikit-learn does the fits one by one; leave checkpoint out"
        )


def refuse_empty(name: str, value: Any) -> None:
    """Refuse a grid without settings, or one with a setting that has no values."""
    if not value:
        raise ArgumentError(
            f"{name}={value!r} has no settings to try; give lists of them, as in {{'alpha': [1e-4, 1e-2]}}"
        )
    for grid in value if isinstance(value, list) else [value]:
        for setting, values in grid.items() if isinstance(grid, dict) else ():
            if (isinstance(values, (list, tuple)) and not values) or (
                isinstance(values, np.ndarray) and not values.size
            ):
                raise ArgumentError(f"{name} has no values of {setting!r} to try; give a list of them")


def list_settings(name: str, settings: ParameterGrid | ParameterSampler) -> list[dict[str, Any]]:
    """List the settings of a search, unless the list needs more memory than there is."""
    number = settings.__len__()  # `len` refuses numbers of more than 63 bits
    require_bytes(number * BYTES_OF_CANDIDATE, f"{name} asks for {number:,} settings, whose list needs", "give fewer")
    return list(settings)


def require_repeatable(search: Any, candidates: Sequence[Mapping[str, Any]], others: set[str]) -> None:
    """Refuse a checkpoint of a search that would draw other numbers when it is resumed."""
    if others or get_config()["enable_metadata_routing"]:
        cause = f"{', '.join(sorted(others))}=" if others else "metadata routing"
        raise ArgumentError(
            f"checkpoint= is for searches with groups= and sample_weight= only; with {cause}, scikit-learn does the "
            "fits one by one; leave checkpoint out"
        )
    if isinstance(search, RandomizedSearchCV) and search.random_state is None:
        raise ArgumentError(
            "checkpoint= needs the random_state of the search: with None, a search that resumes tries other settings; "
            "give a number, as in random_state=0"
        )
    for candidate in candidates:
        for name, value in set_candidate(search.estimator, candidate).get_params().items():
            if value is None and name.rpartition("__")[2] == "random_state":
                raise ArgumentError(
                    f"checkpoint= needs a number as {name}: with None, a search that resumes draws other numbers; give "
                    f"one, as in {name}=0"
                )


def require_same_folds(cv: Any, splits: Sequence[Any], again: Sequence[Any]) -> None:
    """Refuse a checkpoint with folds that differ each time they are made."""
    if describe(list(splits)) != describe(list(again)):
        raise ArgumentError(
            f"checkpoint= needs folds that can be made again, and cv={cv!r} makes others each time; give it a number "
            "as random_state"
        )
