"""The search that scikit-learn runs for `MLPSearchCV`: slices of settings whose fits are done beforehand.

When scikit-learn asks for a fit, a `StandIn` for the estimator hands over its result. Each slice is scored at once in a
search of its own; its scores are kept, also in a checkpoint, and its networks are not. When all slices are scored,
scikit-learn goes through all settings, and the scorers recall their values.

The user's search itself runs all that, and has the stand-in only while scikit-learn copies it. So libraries that
replace the methods of `GridSearchCV`, such as MLflow, see the search and the estimator that the user made.
"""

import functools
import time
import warnings
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from inspect import ismethod
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import FitFailedWarning
from sklearn.metrics._scorer import _MultimetricScorer
from sklearn.model_selection._search import BaseSearchCV

from xpnet.errors import is_stop, unless_stopped
from xpnet.estimators.folds import Outcome
from xpnet.training.resuming.search_file import ScoredFit, SearchFile


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
    fits
        The fits in the order in which scikit-learn asks for them.
    """

    def __init__(self, estimator: Any, fits: deque[ScoredFit]) -> None:
        self.estimator, self.fits = estimator, fits
        self.result = ScoredFit()

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters of the estimator."""
        return self.estimator.get_params(deep)

    def set_params(self, **parameters: Any) -> Any:
        """Set parameters of the estimator; return the estimator itself for the last fit, with the best parameters."""
        self.estimator.set_params(**parameters)
        return self if self.fits else self.estimator

    def fit(self, X: Any, y: Any = None, **parameters: Any) -> "StandIn":
        """Take the result of the next fit, or do it if it was not done beforehand."""
        self.result = self.fits.popleft()
        if self.result.error is not None:
            raise self.result.error
        if self.result.estimator is not None:
            self.estimator = self.result.estimator
        elif not self.result.is_scored:
            began = time.perf_counter()
            try:
                carry_stops(self.estimator.fit)(X, y, **parameters)
            except Exception as error:
                self.result.error = error
                raise
            finally:
                self.result.seconds = time.perf_counter() - began
        return self

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "estimator" not in vars(self):
            raise AttributeError(name)
        value = getattr(self.estimator, name)
        return carry_stops(value) if ismethod(value) else value

    def __sklearn_clone__(self) -> "StandIn":
        return StandIn(clone(self.estimator), self.fits)

    def __sklearn_tags__(self) -> Any:
        return self.estimator.__sklearn_tags__()


@dataclass(frozen=True)
class CustomScorer:
    """Calls the user's own scorer with the estimator rather than its stand-in."""

    scorer: Callable[..., Any]

    def __call__(self, stand_in: Any, *arguments: Any, **options: Any) -> Any:
        """Score the estimator."""
        estimator = stand_in.estimator if isinstance(stand_in, StandIn) else stand_in
        return carry_stops(self.scorer)(estimator, *arguments, **options)


class KeptScorer:
    """Keeps the values of a scorer of scikit-learn; for a fit that was scored already, it recalls them.

    Parameters
    ----------
    scorer
        The scorer.
    """

    def __init__(self, scorer: Any) -> None:
        self.scorer = scorer

    def __call__(self, stand_in: Any, *arguments: Any, **options: Any) -> Any:
        """Score the stand-in's estimator, or recall its score; after the search, score the best estimator."""
        if not isinstance(stand_in, StandIn):
            return self.scorer(stand_in, *arguments, **options)
        result, began = stand_in.result, time.perf_counter()
        if result.is_scored:
            return result.recall()
        try:
            value = carry_stops(self.scorer)(stand_in, *arguments, **options)
        except Exception as error:
            result.scores.append(error)
            raise
        if not result.scores:
            result.scoring_seconds = time.perf_counter() - began
        result.scores.append(dict(value) if isinstance(value, dict) else value)
        return value

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "scorer" not in vars(self):
            raise AttributeError(name)
        return getattr(self.scorer, name)


class KeptScorers(KeptScorer, _MultimetricScorer):
    """Keeps the values of several scorers, which scikit-learn tells by their class."""


def keep_scores_of(scorers: Any) -> KeptScorer:
    """Make a scorer, or the scorers of a search, keep their values."""
    return (KeptScorers if isinstance(scorers, _MultimetricScorer) else KeptScorer)(scorers)


class KeepingSearch(BaseSearchCV):
    """A search over a list of settings, whose scorers keep their values."""

    def __init__(self, estimator: Any, candidates: Sequence[Mapping[str, Any]], **options: Any) -> None:
        super().__init__(estimator, **options)
        self.candidates = candidates

    def _get_scorers(self) -> tuple[KeptScorer, Any]:
        scorers, refit = super()._get_scorers()  # type: ignore[misc]
        return keep_scores_of(scorers), refit

    def _run_search(self, evaluate_candidates: Callable[..., dict[str, Any]]) -> None:
        evaluate_candidates(self.candidates)


@dataclass
class SlicedSearch:
    """A search over a list of settings, a slice at a time, whose results scikit-learn gets when all are scored."""

    own: dict[str, Any]  # the parameters `estimator`, `scoring` and `cv` of the user's search
    splits: list[Any]
    options: dict[str, Any]  # other parameters of the searches that score
    score: Callable[[KeepingSearch], Any]  # lets a search score its settings on the examples
    do_fits: Callable[[Sequence[Mapping[str, Any]]], list[Outcome]]
    slices: Sequence[Sequence[Mapping[str, Any]]] = ()
    file: SearchFile | None = None
    fits: deque[ScoredFit] = field(default_factory=deque)  # where the `StandIn` finds them
    scored: list[tuple[Mapping[str, Any], list[ScoredFit]]] = field(default_factory=list)  # settings with their fits
    results: dict[str, Any] | None = None  # of the settings that were scored

    def parameters(self) -> dict[str, Any]:
        """Return the parameters, in place of `own`, of a search that takes its fits and folds from here."""
        stand_in, scoring = StandIn(clone(self.own["estimator"]), self.fits), self.own["scoring"]
        return {"estimator": stand_in, "scoring": map_scorers(wrap_scorer, scoring), "cv": self.splits}

    def run(self, evaluate_candidates: Callable[..., dict[str, Any]]) -> None:
        """Do all fits, score them, and let scikit-learn go through the settings with their scores."""

        def finish() -> None:
            self.fits.clear()  # an interrupt while a slice was scored has left some
            self.fits.extend(fit for _, fits in self.scored for fit in fits)
            self.results = evaluate_candidates([candidate for candidate, _ in self.scored])
            self.results.update(self._times())

        try:
            for part in self.slices:
                self._fit_slice(part)
        except KeyboardInterrupt:
            if not have_failed([fit for _, fits in self.scored for fit in fits]):
                finish()
            raise
        finish()

    def _fit_slice(self, part: Sequence[Mapping[str, Any]]) -> None:
        """Do the fits of some settings, and keep their scores."""
        outcomes = self.do_fits(part)
        parts = np.array_split(np.arange(len(outcomes)), len(part))
        begun = [(part[k], rows) for k, rows in enumerate(parts) if not any(outcomes[i].was_not_begun for i in rows)]
        new = [(candidate, [make_scored_fit(outcomes[i]) for i in rows]) for candidate, rows in begun]
        self._keep_scores([candidate for candidate, _ in new], [fit for _, fits in new for fit in fits])
        self.scored += new
        if any(outcome.is_interrupted for outcome in outcomes):
            raise KeyboardInterrupt
        if self.file is not None:
            self.file.write([fits for _, fits in self.scored])

    def _keep_scores(self, candidates: Sequence[Mapping[str, Any]], fits: Sequence[ScoredFit]) -> None:
        """Let a search of scikit-learn's score the fits, and keep the scores instead of the fitted estimators."""
        search = KeepingSearch(candidates=candidates, refit=False, **self.parameters(), **self.options)
        self.fits.clear()
        self.fits.extend(fits)
        try:
            with warnings.catch_warnings():  # they come at the end, once for all settings
                warnings.filterwarnings("ignore", category=FitFailedWarning)
                for message in (
                    "Scoring failed",
                    "One or more of the t",
                    "The scoring .* does not support sample_weight",
                ):
                    warnings.filterwarnings("ignore", message)
                if fits:
                    self.score(search)
        except unless_stopped(ValueError):
            if self.options["error_score"] == "raise" or not have_failed(fits):
                raise
        for fit in fits:
            fit.estimator, fit.is_scored = None, True

    def _times(self) -> dict[str, Any]:
        """Return the times of the fits and scores, to replace those that scikit-learn has measured."""
        times = {}
        for name, attribute in (("fit_time", "seconds"), ("score_time", "scoring_seconds")):
            values = np.array([[getattr(fit, attribute) for fit in fits] for _, fits in self.scored])
            times |= {f"mean_{name}": values.mean(axis=1), f"std_{name}": values.std(axis=1)}
        return times


def have_failed(fits: Sequence[ScoredFit]) -> bool:
    """Tell whether all fits have failed, for which scikit-learn raises an error."""
    return all(fit.error is not None for fit in fits)


def make_scored_fit(outcome: Outcome) -> ScoredFit:
    """Make the record of a fit that is to be scored."""
    return ScoredFit(outcome.error, seconds=outcome.seconds, estimator=outcome.estimator)


def map_scorers(function: Callable[[Any], Any], scoring: Any) -> Any:
    """Apply a function to a scorer, or to each in a dictionary."""
    return (
        {name: function(scorer) for name, scorer in scoring.items()} if isinstance(scoring, dict) else function(scoring)
    )


def wrap_scorer(scorer: Any) -> Any:
    """Wrap a function (estimator, X, y); names, and scorers made by `make_scorer`, stay as they are."""
    return CustomScorer(scorer) if callable(scorer) and not hasattr(scorer, "set_score_request") else scorer


def unwrap_scorer(scorer: Any) -> Any:
    """Return the scorer that the user gave."""
    while isinstance(scorer, (KeptScorer, CustomScorer)):
        scorer = scorer.scorer
    return scorer
