"""The scores of a search: what scikit-learn's scorers say of each trial, and the results of all of them."""

import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from inspect import signature
from numbers import Number
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import rankdata
from sklearn.exceptions import FitFailedWarning
from sklearn.metrics import check_scoring

from xpnet._checks import choices, show, warn, yes_or_no
from xpnet.errors import ArgumentError


def name_weights(sample_weight: Any) -> dict[str, Any]:
    """Return the weights as an argument for a function, if there are any."""
    return {} if sample_weight is None else {"sample_weight": sample_weight}


class ScoredFit(NamedTuple):
    """The scores of a trial, or the error of its fit. A score is a number, or the text of an error."""

    error: str | None
    scores: list[Any]  # on test rows, and maybe on training rows; each a score, or a dict of them
    seconds: float
    scoring_seconds: float  # on test rows


class Scoring(NamedTuple):
    """How the trials of a search are scored."""

    scorer: Callable[..., Any]
    public: Any  # the scorer or scorers as the attribute `scorer_`
    is_single: bool  # one of scikit-learn's scorers; a function of the user's may return several scores
    takes_weights: bool
    error_score: Any
    scores_training: bool

    def score_fit(self, outcome: Any, take: Callable[[int], tuple[Any, Any, Any]], seconds: float) -> ScoredFit:
        """Score a fitted estimator, on the training examples (0) and test examples (1) that `take` returns.

        `outcome` may also be the error of its fit, which took these seconds.
        """
        if isinstance(outcome, Exception):
            if self.error_score == "raise":
                raise outcome
            return ScoredFit("".join(traceback.format_exception(outcome)), [], seconds, 0.0)
        test = take(1)
        began = time.perf_counter()
        scores = [self.score(outcome, *test)]
        scoring_seconds = time.perf_counter() - began
        if self.scores_training:
            scores.append(self.score(outcome, *take(0)))
        return ScoredFit(None, scores, seconds, scoring_seconds)

    def score(self, model: Any, X: Any, y: Any, sample_weight: Any) -> Any:
        """Score a fitted estimator on examples."""
        try:
            value = self.scorer(model, X, y, **name_weights(sample_weight if self.takes_weights else None))
            if not isinstance(value, dict):
                return float(value)
            # scikit-learn gives the texts of errors
            value = {name: part if isinstance(part, str) else float(part) for name, part in value.items()}
            return value["score"] if self.is_single else value
        except Exception:
            if self.error_score == "raise":
                raise
            return traceback.format_exc()

    def find(self, fit: ScoredFit, i: int, name: str) -> Any:
        """Find a score of a fit on its test rows (0) or training rows (1), or what stands for one that failed."""
        value = fit.error if fit.scores == [] else fit.scores[i]
        value = value[name] if isinstance(value, dict) else value
        return self.error_score if isinstance(value, str) else value


def parse_scoring(search: Any, is_weighted: bool) -> Scoring:
    """Check how a search scores: its parameters `scoring`, `error_score`, `return_train_score` and `refit`."""
    scoring, error_score = search.scoring, search.error_score
    raises = isinstance(error_score, str) and error_score == "raise"
    if not isinstance(error_score, Number) and not raises:
        raise ArgumentError(f"error_score={show(error_score)} must be 'raise', or a number such as numpy.nan")
    several = isinstance(scoring, (list, tuple, set, dict))
    parts = scoring if isinstance(scoring, dict) else dict(zip(scoring, scoring)) if several else {"score": scoring}
    scorers: dict[str, Any] = {name: check_scoring(search.estimator, part) for name, part in parts.items()}
    if several:
        require_refit(search.refit, scorers)
    has_functions = not all(hasattr(scorer, "get_metadata_routing") for scorer in scorers.values())
    is_function = has_functions and not several
    takes_weights = not has_functions or (is_function and "sample_weight" in signature(scorers["score"]).parameters)
    if is_weighted and not takes_weights:
        warn(
            f"The scoring {scoring} does not support sample_weight, which may lead to statistically incorrect results "
            f"when fitting {search} with sample_weight."
        )
    # One call of scikit-learn's scorers predicts once for all of them, and gives weights to those that take them
    scorer: Any = scoring if is_function else check_scoring(search.estimator, scorers, raise_exc=raises)
    public, is_single = scorers if several else scorers["score"], not (several or is_function)
    scores_training = yes_or_no("return_train_score", search.return_train_score)
    return Scoring(scorer, public, is_single, takes_weights, error_score, scores_training)


def require_refit(refit: Any, names: Any) -> None:
    """Refuse to choose the best settings of several scores without one that decides."""
    if refit is not False and not callable(refit) and not (isinstance(refit, str) and refit in names):
        raise ArgumentError(
            f"refit={refit!r} must be the score by which the best settings are chosen, one of {choices(names)}, or a "
            "function that chooses them; give False to fit no estimator with them"
        )


# Results


def make_results(
    candidates: Sequence[Mapping[str, Any]], fits: Sequence[ScoredFit], scoring: Scoring
) -> dict[str, Any]:
    """Make the `cv_results_` of candidates, from their fits on all folds, in the order of scikit-learn's columns."""
    results: dict[str, Any] = {}

    def add(name: str, find: Callable[[ScoredFit], Any], *, each_fold: bool = True) -> np.ndarray:
        table = np.array([find(fit) for fit in fits], dtype=np.float64).reshape(len(candidates), -1)
        if each_fold:
            results.update({f"split{i}_{name}": column for i, column in enumerate(table.T)})
        results[f"mean_{name}"], results[f"std_{name}"] = table.mean(axis=1), table.std(axis=1)
        return results[f"mean_{name}"]

    add("fit_time", lambda fit: fit.seconds, each_fold=False)
    add("score_time", lambda fit: fit.scoring_seconds, each_fold=False)
    for name in dict.fromkeys(name for candidate in candidates for name in candidate):
        results[f"param_{name}"] = _list_values(candidates, name)
    results["params"] = list(candidates)
    for name in list_scores(fits) or ["score"]:
        means = add(f"test_{name}", lambda fit, name=name: scoring.find(fit, 0, name))
        worst = 0.0 if np.isnan(means).all() else np.nanmin(means) - 1  # where a score is missing
        ranks = rankdata(-np.where(np.isnan(means), worst, means), method="min")
        results[f"rank_test_{name}"] = ranks.astype(np.int32)
        if scoring.scores_training:
            add(f"train_{name}", lambda fit, name=name: scoring.find(fit, 1, name))
    return results


def list_scores(fits: Sequence[ScoredFit]) -> list[str]:
    """List the names of scores, if there are several for each fit."""
    scores = (score for fit in fits for score in fit.scores)
    return next(([*score] for score in scores if isinstance(score, dict)), [])


def _list_values(candidates: Sequence[Mapping[str, Any]], name: str) -> np.ma.MaskedArray:
    """List the values of a setting, masked where a candidate does not have it."""
    values = {i: candidate[name] for i, candidate in enumerate(candidates) if name in candidate}
    try:
        array = np.array([*values.values()])
        dtype = array.dtype if array.ndim == 1 and array.dtype.kind != "U" else np.dtype(object)
    except ValueError:  # lists of several lengths
        dtype = np.dtype(object)
    column = np.ma.MaskedArray(np.empty(len(candidates), dtype), mask=True)
    for i, value in values.items():
        column[i] = value
    return column


def warn_of_failures(fits: Sequence[ScoredFit], results: Mapping[str, Any], error_score: Any) -> None:
    """Warn of errors of fits and of scorers, and of scores that are not finite; raise if there is no score at all."""
    errors = Counter(fit.error for fit in fits if fit.error is not None)
    if errors:
        line = "-" * 80
        details = "\n".join(f"{line}\n{k} fits failed with the following error:\n{text}" for text, k in errors.items())
        details = f"Below are more details about the failures:\n{details}"
        if errors.total() == len(fits):
            raise ValueError(
                f"\nAll the {len(fits)} fits failed.\nIt is very likely that your model is misconfigured.\n"
                f"You can try to debug the error by setting error_score='raise'.\n\n{details}"
            )
        warn(
            f"\n{errors.total()} fits failed out of a total of {len(fits)}.\nThe score on these train-test partitions "
            f"for these parameters will be set to {error_score}.\nIf these failures are not expected, you can try to "
            f"debug them by setting error_score='raise'.\n\n{details}",
            FitFailedWarning,
        )
    for score in (score for fit in fits for score in fit.scores):
        for text in score.values() if isinstance(score, dict) else [score]:
            if isinstance(text, str):
                warn(
                    "Scoring failed. The score on this train-test partition for these parameters will be set to "
                    f"{error_score}. Details: \n{text}"
                )
    for name, means in results.items():
        if name.startswith(("mean_test_", "mean_train_")) and not np.isfinite(means).all():
            warn(f"One or more of the {name.split('_')[1]} scores are non-finite: {means}")


def print_fits(candidate: Mapping[str, Any], fits: Sequence[ScoredFit], scoring: Scoring, verbose: int) -> None:
    """Print a line for each fit of a candidate, as scikit-learn does."""
    settings = ", ".join(f"{name}={candidate[name]}" for name in sorted(candidate))
    rows = [(1, "train="), (0, "test=")] if scoring.scores_training else [(0, "")]
    for k, fit in enumerate(fits):
        end = f"{settings};" if settings else ""
        for name in sorted(list_scores([fit]) or ["score"]) if verbose > 2 else ():
            shown = ", ".join(f"{kind}{scoring.find(fit, i, name):.3f}" for i, kind in rows)
            end += f", {name}=({shown})" if len(rows) > 1 else f", {name}={shown}"
        end += f" total time={fit.seconds + fit.scoring_seconds:6.1f}s"
        begin = f"[CV {k + 1}/{len(fits)}] END " if verbose > 2 else "[CV] END "
        print(begin.ljust(80 - len(end), ".") + end)
