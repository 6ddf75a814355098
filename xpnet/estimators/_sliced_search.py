"""The fits of a search, which scikit-learn takes one by one, and which are done a slice of the settings at a time.

scikit-learn clones the estimator for each fit. Here that is a `StandIn`: its clone takes the next fit, and after the
last of a slice, those of the next slice are done. The scores are kept, also in a checkpoint, and the networks are not.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.metrics import check_scoring
from sklearn.model_selection import check_cv

from xpnet.estimators._folds import Outcome
from xpnet.estimators._search_file import ScoredFit, SearchFile


class StandIn:
    """Stands in for the estimator of a search; its clones take fits that were done beforehand, until it is over.

    Libraries that log searches see the parameters and the repr of the estimator before, and the estimator afterwards.

    Parameters
    ----------
    estimator
        The estimator.
    search
        Where the fits come from.
    scored_fit
        The fit of this clone. None: it is not for a fit of the search.
    """

    def __init__(self, estimator: Any, search: "SlicedSearch", scored_fit: ScoredFit | None = None) -> None:
        self.estimator, self.search, self.scored_fit = estimator, search, scored_fit

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters of the estimator."""
        return self.estimator.get_params(deep)

    def set_params(self, **parameters: Any) -> "StandIn":
        """Set parameters of the estimator."""
        self.estimator.set_params(**parameters)
        return self

    def fit(self, X: Any, y: Any = None, **parameters: Any) -> "StandIn":
        """Take over the fit, or do it if it was not done beforehand."""
        fit: Any = self.scored_fit
        if fit.error is not None:
            raise fit.error
        if fit.estimator is not None:
            self.estimator = fit.estimator
        elif not fit.is_scored:
            began = time.perf_counter()
            try:
                self.estimator.fit(X, y, **parameters)
            except Exception as error:
                fit.error = error
                raise
            finally:
                fit.seconds = time.perf_counter() - began
        return self

    def __sklearn_clone__(self) -> Any:
        estimator: Any = clone(self.estimator)
        is_over = self.search.results is not None  # the last clone is fitted with the best parameters
        return estimator if is_over else StandIn(estimator, self.search, self.search.take_fit())

    def __sklearn_tags__(self) -> Any:
        return self.estimator.__sklearn_tags__()

    def __repr__(self) -> str:
        return repr(self.estimator)


class KeptScorer:
    """Scores the estimator rather than its stand-in, and keeps the value; recalls it for a fit that was scored.

    Parameters
    ----------
    scorer
        The scorer.
    n_scorers
        How many there are; they are called one after the other.
    """

    def __init__(self, scorer: Callable[..., Any], n_scorers: int = 1) -> None:
        self.__wrapped__ = scorer  # scikit-learn looks for sample_weight in the signature
        self.n_scorers = n_scorers

    def __call__(self, estimator: Any, *arguments: Any, **options: Any) -> Any:
        """Score an estimator, or recall its score."""
        if not isinstance(estimator, StandIn):  # the best one, after the search
            return self.__wrapped__(estimator, *arguments, **options)
        fit: Any = estimator.scored_fit
        if fit.is_scored:
            return fit.recall()
        began = time.perf_counter()
        try:
            value = self.__wrapped__(estimator.estimator, *arguments, **options)
        except Exception as error:
            fit.scores.append(error)
            raise
        if len(fit.scores) < self.n_scorers:  # on the test fold
            fit.scoring_seconds += time.perf_counter() - began
        fit.scores.append(dict(value) if isinstance(value, dict) else value)
        return value

    def __getattr__(self, name: str) -> Any:  # scikit-learn asks scorers of its own whether they take weights
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.__wrapped__, name)

    def __repr__(self) -> str:
        return repr(self.__wrapped__)

    def __reduce__(self) -> Any:
        return copy, (self.__wrapped__,)


def keep_scores(scoring: Any, estimator: Any) -> KeptScorer | dict[str, KeptScorer]:
    """Make the scorers of a search keep their values."""
    if callable(scoring):
        return KeptScorer(scoring)
    scorer: Any = check_scoring(estimator, scoring)
    if scoring is None or isinstance(scoring, str):
        return KeptScorer(scorer)
    parts = scoring if isinstance(scoring, dict) else dict(zip(scoring, scoring))
    scorers: dict[str, Any] = {name: check_scoring(estimator, part) for name, part in parts.items()}
    return {name: KeptScorer(scorer, len(parts)) for name, scorer in scorers.items()}


def unwrap_scorers(scorers: Any) -> Any:
    """Return the scorers without what keeps their values."""
    if isinstance(scorers, dict):
        return {name: unwrap_scorers(scorer) for name, scorer in scorers.items()}
    return scorers.__wrapped__


@dataclass
class SlicedSearch:
    """A search over a list of settings, whose fits are done a slice at a time."""

    candidates: Sequence[Mapping[str, Any]]  # all settings
    scoring: KeptScorer | dict[str, KeptScorer]
    splitter: Any
    splits: list[Any]  # of the splitter, which may make others the next time
    do_fits: Callable[[Sequence[Mapping[str, Any]]], list[Outcome]]
    slices: Sequence[Sequence[Mapping[str, Any]]] = ()  # of the settings that are not in the file
    file: SearchFile | None = None
    begun: list[tuple[Mapping[str, Any], list[ScoredFit]]] = field(default_factory=list)  # settings with their fits
    results: dict[str, Any] | None = None  # of the settings that were scored
    _fits: Iterator[ScoredFit] | None = None  # for the next clones, while scikit-learn goes through the settings
    _last: ScoredFit | None = None  # which may not be scored yet

    def run(self, evaluate_candidates: Callable[..., dict[str, Any]]) -> None:
        """Let scikit-learn go through all settings; after Ctrl-C, through those that had begun."""
        splits: Any = self.splits
        evaluate = partial(evaluate_candidates, cv=check_cv(splits))
        try:
            self._evaluate(evaluate, self.candidates)
        except KeyboardInterrupt:
            self.file = None  # the last networks have not been trained to the end
            if self._last is not None and not self._last.is_scored:  # it came while networks were scored
                self.begun = [(candidate, fits) for candidate, fits in self.begun if are_scored(fits)]
            if any(fit.error is None for _, fits in self.begun for fit in fits):
                self._evaluate(evaluate, [candidate for candidate, _ in self.begun])
            raise

    def take_fit(self) -> ScoredFit | None:
        """Return the next fit, unless scikit-learn is not going through the settings."""
        if self._last is not None:
            self._last.end()
        self._last = None if self._fits is None else next(self._fits)
        if self._last is not None:
            self._last.begin()
        return self._last

    def _evaluate(self, evaluate: Callable[..., dict[str, Any]], candidates: Sequence[Mapping[str, Any]]) -> None:
        self._fits = self._iterate_fits()
        try:
            results = evaluate(candidates)
        finally:
            self._fits = None
        self._end_slice()
        self.results = results
        results.update(self._times())

    def _iterate_fits(self) -> Iterator[ScoredFit]:
        for _, fits in tuple(self.begun):
            yield from fits
        for i, part in enumerate(self.slices):
            if i > 0:
                self._end_slice()
            for _, fits in self._begin_slice(part):
                yield from fits

    def _begin_slice(self, part: Sequence[Mapping[str, Any]]) -> list[tuple[Mapping[str, Any], list[ScoredFit]]]:
        """Do the fits of some settings, and return them."""
        outcomes, n = self.do_fits(part), len(self.splits)
        groups = [outcomes[k * n : (k + 1) * n] for k in range(len(part))]
        new = [
            (candidate, [make_scored_fit(outcome) for outcome in group])
            for candidate, group in zip(part, groups)
            if not any(outcome.was_not_begun for outcome in group)
        ]
        self.begun += new
        if any(outcome.is_interrupted for outcome in outcomes):
            raise KeyboardInterrupt
        return new

    def _end_slice(self) -> None:
        """Keep the scores of all fits until now."""
        for _, fits in self.begun:
            for fit in fits:
                fit.end()
        if self.file is not None and self.slices:
            self.file.write([fits for _, fits in self.begun if are_scored(fits)])

    def _times(self) -> dict[str, Any]:
        """Return the times of the fits and scores, to replace those that scikit-learn has measured."""
        times = {}
        for name, attribute in (("fit_time", "seconds"), ("score_time", "scoring_seconds")):
            values = np.array([[getattr(fit, attribute) for fit in fits] for _, fits in self.begun])
            times |= {f"mean_{name}": values.mean(axis=1), f"std_{name}": values.std(axis=1)}
        return times


def make_scored_fit(outcome: Outcome) -> ScoredFit:
    """Make the record of a fit that is to be scored."""
    return ScoredFit(outcome.error, seconds=outcome.seconds, estimator=outcome.estimator)


def are_scored(fits: Sequence[ScoredFit]) -> bool:
    """Tell whether all fits of a setting are scored."""
    return all(fit.is_scored for fit in fits)
