"""MLPSearchCV and MLPRandomSearchCV: scikit-learn's searches, whose fits over settings and folds are trained together.

Parameters and predictions are those of scikit-learn's classes. `fit` is xpnet's: it fits and scores a slice of the
settings at a time on all folds, which is what a checkpoint grows by.
"""

import hashlib
import json
import os
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from inspect import signature
from numbers import Number
from typing import Any

import numpy as np
from joblib import effective_n_jobs
from scipy.stats import rankdata
from sklearn import get_config
from sklearn.base import is_classifier
from sklearn.exceptions import FitFailedWarning
from sklearn.metrics import check_scoring
from sklearn.model_selection import GridSearchCV, ParameterGrid, ParameterSampler, RandomizedSearchCV, check_cv
from sklearn.pipeline import Pipeline
from sklearn.utils import indexable
from sklearn.utils.parallel import Parallel, delayed  # joblib's, with scikit-learn's settings and warning filters

from xpnet._checks import choices, count, describe_error, printable, refuse_duplicates, require, show, truncate, warn
from xpnet._identity import describe, describe_call
from xpnet._names import explain_arguments
from xpnet.errors import ArgumentError, CheckpointError
from xpnet.estimators._trials import (
    Scored,
    Scoring,
    Splits,
    Trial,
    can_train_together,
    divide,
    find_transformers,
    fit_trials,
    name_weights,
    set_candidate,
)
from xpnet.files import INVALID_VALUE_ERRORS
from xpnet.training import Checkpoint, parse_checkpoint

SETTINGS_BETWEEN_WRITES = 10  # of a checkpoint, unless given
FORMAT = 1  # of a checkpoint


class TogetherMixin:
    """The `fit` of both searches, which list their settings in `_list_candidates`."""

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
            If the search cannot be repeated, or is another than that in the file. Nothing is trained then.
        ValueError
            If a parameter is wrong, a setting names an unknown one, or there are too few examples for the folds.
        FileExistsError
            If the file exists, and `resume` is False.
        CheckpointError
            If the file does not hold a search, or is damaged.
        KeyboardInterrupt
            After Ctrl-C. `cv_results_` then holds the settings whose training had begun, with the scores of their
            networks at that moment. With several workers, it holds the slices that were done; while networks are
            scored, the settings that were.
        """
        every = every if every is None else count("every", every, 1)
        saving = parse_checkpoint(checkpoint, every, resume, noun="search")
        candidates = self._list_candidates()
        estimators = [set_candidate(self.estimator, candidate) for candidate in candidates]
        # With others, and with metadata routing, scikit-learn does the fits one by one
        takes = {"groups"} if isinstance(self.estimator, Pipeline) else {"groups", "sample_weight"}
        others = [name for name, value in params.items() if value is not None and name not in takes]
        together = all(map(can_train_together, (self.estimator, *estimators))) and not others
        if not together or get_config()["enable_metadata_routing"]:
            if saving is not None:
                raise ArgumentError(
                    "checkpoint= is for searches over an MLPClassifier or MLPRegressor, or a Pipeline that ends with "
                    "one, with groups= and sample_weight= alone, and without metadata routing; leave checkpoint out"
                )
            return super().fit(X, y, **params)  # type: ignore[misc]
        X, y, sample_weight = indexable(X, y, params.get("sample_weight"))
        splitter: Any = check_cv(self.cv, y, classifier=is_classifier(self.estimator))
        splits = list(splitter.split(X, y, params.get("groups")))
        scoring = parse_scoring(self, is_weighted=sample_weight is not None)
        scored, n, description = {}, len(splits), {}
        transformers = [describe(find_transformers(estimator)) for estimator in estimators]
        if saving is not None:
            require_repeatable(self, estimators, splits, list(splitter.split(X, y, params.get("groups"))))
            description = describe_search(self, candidates, X=X, y=y, sample_weight=sample_weight, cv=splits)
            scored, every = begin_file(saving, description), every or SETTINGS_BETWEEN_WRITES
        if self.verbose > 0:
            print(f"Fitting {n} folds for each of {len(candidates)} candidates, totalling {n * len(candidates)} fits")
        kept = {name: value for name, value in vars(self).items() if not name.endswith("_")}
        try:
            size = every or len(candidates)
            for first in range(len(scored) // n, len(candidates), size):
                numbers = range(len(candidates))[first : first + size]
                trials = [Trial(k, fold, estimators[k], transformers[k]) for k in numbers for fold in range(n)]
                self._fit_trials(trials, scored, scoring, X, y, sample_weight, splits)
                if saving is not None:
                    saving.try_to_write(lambda: encode_search(description, scored))
            attributes = self._summarize(candidates, scored) | {"n_splits_": n, "scorer_": scoring.public}
            if self.refit:
                began, best = time.perf_counter(), set_candidate(self.estimator, attributes["best_params_"])
                best.fit(X, y, **name_weights(sample_weight))
                attributes |= {"best_estimator_": best, "refit_time_": time.perf_counter() - began}
                if hasattr(best, "feature_names_in_"):
                    attributes["feature_names_in_"] = best.feature_names_in_
        except KeyboardInterrupt:
            self.__dict__ = kept
            whole = [k for k in range(len(candidates)) if all((k, fold) in scored for fold in range(n))]
            if whole:
                done = [scored[k, fold] for k in whole for fold in range(n)]
                self.cv_results_ = make_results([candidates[k] for k in whole], done, self.error_score)
            raise
        self.__dict__ = kept | attributes  # at once: an interrupt comes before it or after it
        return self

    def _fit_trials(self: Any, trials: Sequence[Trial], scored: Scored, *others: Any) -> None:
        """Fit and score trials in this process, or divided among the workers of the joblib backend that is chosen."""
        workers = effective_n_jobs(self.n_jobs)
        if workers == 1:
            fit_trials(trials, *others, threads="auto", progress=self.verbose > 0, scored=scored)
            return
        parallel = Parallel(n_jobs=self.n_jobs, pre_dispatch=self.pre_dispatch)
        done: Any = parallel(delayed(fit_trials)(part, *others) for part in divide(trials, workers))
        for fits in done:
            scored.update(fits)

    def _summarize(self: Any, candidates: Sequence[dict[str, Any]], scored: Scored) -> dict[str, Any]:
        """Make the results, and choose the best settings; warn of fits that failed."""
        fits = [scored[number] for number in sorted(scored)]
        errors = Counter(fit["error"] for fit in fits if fit["error"] is not None)
        if errors:
            texts = (f"{k} fits failed with the following error:\n{text}" for text, k in errors.items())
            details = "\n".join(map(printable, "\n".join(texts).split("\n")))
            if errors.total() == len(fits):
                raise ValueError(f"All the {len(fits)} fits failed; error_score='raise' raises the first.\n{details}")
            warn(
                f"{errors.total()} fits failed out of a total of {len(fits)}. Their scores are set to "
                f"{self.error_score}; error_score='raise' raises the first error.\n{details}",
                FitFailedWarning,
            )
        results, several = make_results(candidates, fits, self.error_score), list_scores(fits) != ["score"]
        attributes: dict[str, Any] = {"cv_results_": results, "multimetric_": several}
        if several:
            require_refit(self.refit, list_scores(fits))
            if self.refit is False:
                return attributes
        refit = self.refit if several else "score"
        if callable(self.refit):
            best: Any = self.refit(results)
        else:
            best = results[f"rank_test_{refit}"].argmin()
            attributes["best_score_"] = results[f"mean_test_{refit}"][best]
        return attributes | {"best_index_": best, "best_params_": results["params"][best]}

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
        An `MLPClassifier` or `MLPRegressor` of `xpnet.estimators`, or a pipeline that ends with one. Other estimators,
        such as an ensemble or a `TransformedTargetRegressor`, are fitted one by one, as in GridSearchCV, and so are
        derived classes with a `fit` of their own.
    param_grid
        As in GridSearchCV: lists of settings by the name of the parameter, or a list of such dictionaries.
    n_jobs
        The number of processes, or of workers of the joblib backend, between which the fits are divided. None trains
        all of them in this process, by threads on all cores.
    scoring, refit, cv, verbose, pre_dispatch, error_score, return_train_score
        As in GridSearchCV. `verbose` shows a bar, and no lines for single fits.

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
        return list(ParameterGrid(self.param_grid))


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
        return list(
            ParameterSampler(self.param_distributions, count("n_iter", self.n_iter, 1), random_state=self.random_state)
        )


def parse_scoring(search: Any, is_weighted: bool) -> Scoring:
    """Check how a search scores: its parameters `scoring`, `error_score` and `refit`."""
    scoring, error_score = search.scoring, search.error_score
    if not isinstance(error_score, Number) and error_score != "raise":
        raise ArgumentError(f"error_score={show(error_score)} must be 'raise', or a number such as numpy.nan")
    several = isinstance(scoring, (list, tuple, set, dict))
    parts = scoring if isinstance(scoring, dict) else dict(zip(scoring, scoring)) if several else {"score": scoring}
    scorers: dict[str, Any] = {name: check_scoring(search.estimator, part) for name, part in parts.items()}
    if several:
        require_refit(search.refit, scorers)
    scorer: Any = scorers.get("score")
    if several:  # predicts once for all of them
        scorer = check_scoring(search.estimator, scorers, raise_exc=error_score == "raise")
    takes_weights = all(hasattr(part, "get_metadata_routing") for part in scorers.values())
    takes_weights = takes_weights or "sample_weight" in signature(scorer).parameters
    if is_weighted and not takes_weights:
        warn(
            f"The scoring {scoring} does not support sample_weight, which may lead to statistically incorrect results "
            f"when fitting {search} with sample_weight."
        )
    public = scorers if several else scorer
    return Scoring(scorer, public, takes_weights, error_score, search.return_train_score)


def require_refit(refit: Any, names: Iterable[str]) -> None:
    """Refuse to choose the best settings of several scores without one that decides."""
    if refit is not False and not callable(refit) and refit not in names:
        raise ArgumentError(
            f"refit={refit!r} must be the score by which the best settings are chosen, one of {choices(names)}, or a "
            "function that chooses them; give False to fit no estimator with them"
        )


def list_scores(fits: Sequence[Mapping[str, Any]]) -> list[str]:
    """List the names of the scores of fits; "score" if there is one."""
    return next((list(fit["test"]) for fit in fits if fit["error"] is None), ["score"])


def make_results(
    candidates: Sequence[Mapping[str, Any]], fits: Sequence[Mapping[str, Any]], error_score: Any
) -> dict[str, Any]:
    """Make the `cv_results_` of candidates, from their fits on all folds, in the order of scikit-learn's columns."""
    results: dict[str, Any] = {}

    def add(name: str, values: Sequence[float]) -> np.ndarray:
        table = np.array(values, np.float64).reshape(len(candidates), -1)
        if "time" not in name:
            results.update({f"split{i}_{name}": column for i, column in enumerate(table.T)})
        results[f"mean_{name}"], results[f"std_{name}"] = table.mean(axis=1), table.std(axis=1)
        if not np.isfinite(results[f"mean_{name}"]).all():
            warn(f"One or more of the {name.split('_')[0]} scores are non-finite: {results[f'mean_{name}']}")
        return results[f"mean_{name}"]

    add("fit_time", [fit["fit_time"] for fit in fits])
    add("score_time", [fit["score_time"] for fit in fits])
    for name in dict.fromkeys(name for candidate in candidates for name in candidate):
        column = np.ma.MaskedArray(np.empty(len(candidates), object), mask=True)
        for k, candidate in enumerate(candidates):
            if name in candidate:
                column[k] = candidate[name]
        results[f"param_{name}"] = column
    results["params"] = list(candidates)
    for name in list_scores(fits):
        means = add(f"test_{name}", [fit["test"].get(name, error_score) for fit in fits])
        ranks = rankdata(-np.where(np.isnan(means), -np.inf, means), method="min")
        results[f"rank_test_{name}"] = ranks.astype(np.int32)
        if "train" in fits[0]:
            add(f"train_{name}", [fit["train"].get(name, error_score) for fit in fits])
    return results


def require_repeatable(search: Any, estimators: Sequence[Any], splits: Sequence[Any], again: Sequence[Any]) -> None:
    """Refuse a checkpoint of a search that would draw other numbers, or other folds, when it is resumed."""
    drawn = [
        {"the random_state of the search": getattr(search, "random_state", 0)},
        *(one.get_params() for one in estimators),
    ]
    names = (
        name for parameters in drawn for name, value in parameters.items() if value is None and "random_state" in name
    )
    if name := next(names, ""):
        raise ArgumentError(
            f"checkpoint= needs {name} to be a number, such as 0: with None, a search that resumes draws other numbers"
        )
    if describe(splits) != describe(again):
        raise ArgumentError(
            f"checkpoint= needs folds that can be made again, and cv={search.cv!r} makes others each time; give it a "
            "number as random_state"
        )


# The checkpoint: JSON that ends with a checksum. It describes the search, and holds the fits that are done


def begin_file(saving: Checkpoint, description: dict[str, str]) -> Scored:
    """Read the fits of a search to resume; or write the first file, to see that it can be written."""
    content = saving.read()
    if content is None:
        saving.write_first(encode_search(description, {}))
        return {}
    try:
        record = json.loads(str(content, "utf-8"), object_pairs_hook=refuse_duplicates)
        require(record["format"] == FORMAT, "format", record["format"], f"{FORMAT}, of this version of xpnet")
        before, scored = record["search"], {(candidate, fold): fit for candidate, fold, fit in record["fits"]}
        require(encode_search(before, scored) == content, "its checksum", record["checksum"], "that of its contents")
    except INVALID_VALUE_ERRORS as error:
        raise CheckpointError(
            f"{saving.path} does not hold an xpnet search, or is damaged ({describe_error(error)}); give a file that a "
            "search wrote with checkpoint="
        ) from error
    if differing := [name for name in {**before, **description} if before.get(name) != description.get(name)]:
        name = max(differing, key=lambda name: name.count("__"))  # mlp__alpha, and not the steps that it is in
        then, now = (printable(truncate(search.get(name))) for search in (before, description))
        raise ArgumentError(
            f"{saving.path} holds a search with {printable(name)}={then}, but this one has {now}; give the same, or "
            "another checkpoint"
        )
    return scored


def encode_search(description: Mapping[str, str], scored: Scored) -> bytes:
    """Return the content of a file as JSON, with a digest of it as the last value."""
    fits = [[*number, scored[number]] for number in sorted(scored)]
    text = json.dumps({"format": FORMAT, "search": description, "fits": fits})
    digest = hashlib.sha256(text.encode()).hexdigest()
    return f'{text[:-1]}, "checksum": "{digest}"}}\n'.encode()


def describe_search(
    search: Any, candidates: Sequence[Mapping[str, Any]], *, cv: Splits, **arrays: Any
) -> dict[str, str]:
    """Describe by texts all that decides the scores of a search: arrays, and the rows of its folds, by digests."""
    options = {name: getattr(search, name) for name in ("scoring", "error_score", "return_train_score")}
    rows = [[np.asarray(part) for part in split] for split in cv]
    described = (describe_call(candidate).items() for candidate in candidates)
    settings = {f"setting {k}": ", ".join(map("=".join, items)) for k, items in enumerate(described)}
    parameters = describe_call(search.estimator.get_params())
    return {
        "estimator": describe(type(search.estimator)),
        "number of settings": str(len(candidates)),
        **parameters,
        **describe_call({**options, **arrays, "cv": rows}),
        **settings,
    }
