"""The checkpoint of a search: the scores of the fits that are done, and a description of the search that they are for.

The file is JSON that ends with a checksum. It describes all settings, and holds the fits of the first ones.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from math import isfinite
from typing import Any

import numpy as np

from xpnet._checks import describe_error, printable, refuse_duplicates, truncate
from xpnet.backends.identity import describe, describe_call
from xpnet.errors import ArgumentError, CheckpointError
from xpnet.files import INVALID_VALUE_ERRORS
from xpnet.training import Saving
from xpnet.value import require, require_keys

FORMAT = 1
LARGEST = 2**1023  # whole numbers that are smaller can be floats
# Of the description of a search
TEXTS = ("X", "y", "sample_weight", "cv", "estimator", "scoring", "error_score", "return_train_score")


@dataclass
class ScoredFit:
    """The error of a fit, or the values of its scorers.

    A value is a number, a dict of numbers that a scorer returned, or the exception that it raised.
    """

    error: Exception | None = None
    scores: list[Any] = field(default_factory=list)  # of all on the test fold, and then on the training folds
    seconds: float = 0.0
    scoring_seconds: float = 0.0  # on the test fold
    estimator: Any = None  # fitted, until it is scored
    is_scored: bool = False
    _recalled: int = 0

    def begin(self) -> None:
        """Recall from the first value; forget the values of a fit whose scores are not complete."""
        self._recalled = 0
        if not self.is_scored:
            self.scores, self.scoring_seconds = [], 0.0

    def end(self) -> None:
        """Keep the scores instead of the fitted estimator."""
        if self.error is not None or self.scores:
            self.estimator, self.is_scored = None, True

    def recall(self) -> Any:
        """Return the next value; raise it if it is an exception."""
        value = self.scores[self._recalled]
        self._recalled += 1
        if isinstance(value, Exception):
            raise value
        return dict(value) if isinstance(value, dict) else value

    def encode(self, names: Sequence[str] | None) -> dict[str, Any]:
        """Return plain values. Errors are texts. The values of several scorers are dicts by the names."""
        scores = [_explain(value) if isinstance(value, Exception) else value for value in self.scores]
        if names is not None:
            scores = [dict(zip(names, scores[i:])) for i in range(0, len(scores), len(names))]
        error = None if self.error is None else _explain(self.error)
        return {
            "error": error,
            "scores": scores,
            "seconds": self.seconds,
            "scoring_seconds": self.scoring_seconds,
        }


class RecalledError(RuntimeError):
    """The error of a fit or a scorer, read from a checkpoint; its text names the error that was raised."""


def _explain(error: Exception) -> str:
    return str(error) if isinstance(error, RecalledError) else f"{type(error).__name__}: {error}"


def decode_fit(place: str, values: Any, n_scores: int) -> ScoredFit:
    """Make the fit of plain values that stand at a `place` in a file.

    Raises
    ------
    ArgumentError
        If they are not those of a fit with `n_scores` scores.
    """
    require_keys(place, values, {"error", "scores", "seconds", "scoring_seconds"})
    error, scores, times = values["error"], values["scores"], (values["seconds"], values["scoring_seconds"])
    for name, seconds in zip(("seconds", "scoring_seconds"), times):
        is_time = type(seconds) is float and isfinite(seconds) and seconds >= 0
        require(is_time, f"{place}.{name}", seconds, "a finite number of at least 0")
    require(error is None or type(error) is str, f"{place}.error", error, "null or a text")
    expected = n_scores if error is None else 0
    is_list = type(scores) is list and len(scores) == expected
    require(is_list, f"{place}.scores", scores, f"a list of {expected} values")
    for i, score in enumerate(scores):
        parts = {f"[{i}].{name}": part for name, part in score.items()} if type(score) is dict else {f"[{i}]": score}
        for name, part in parts.items():
            is_number = type(part) is float or (isinstance(part, int) and abs(part) < LARGEST)
            require(is_number or type(part) is str, f"{place}.scores{name}", part, "a number or the text of an error")
    failure = None if error is None else RecalledError(_printable_lines(error))
    return ScoredFit(failure, [_recall_text(score) for score in scores], *times, is_scored=True)


def _recall_text(score: Any) -> Any:
    """Make an error of a text; leave other scores."""
    return RecalledError(_printable_lines(score)) if isinstance(score, str) else score


def _printable_lines(text: str) -> str:
    return "\n".join(map(printable, text.split("\n")))


def check_description(search: Any) -> None:
    """Check the description of a search that was read from a file."""
    require_keys("search", search, {*TEXTS, "parameters", "settings"})
    require(type(search["settings"]) is list, "search.settings", search["settings"], "a list")
    texts: dict[str, Any] = {"search": {name: search[name] for name in TEXTS}}
    texts["search.parameters"] = search["parameters"]
    texts |= {f"search.settings[{i}]": setting for i, setting in enumerate(search["settings"])}
    for place, values in texts.items():
        require(type(values) is dict, place, values, "an object")
        for name, value in values.items():
            require(type(value) is str, f"{place}.{name}", value, "a text")


class SearchFile:
    """Keeps the scores of a search in a file.

    Parameters
    ----------
    saving
        Where and when to write it.
    description
        What another search must have in common, as `describe_search` returns it.
    n_folds
        The number of fits of a candidate.
    n_scores
        The number of scores of a fit: 1, or 2 with those on the training folds.
    names
        The names of several scorers. None: there is one, or a function, which may return a dict.
    """

    def __init__(
        self, saving: Saving, description: dict[str, Any], n_folds: int, n_scores: int, names: Sequence[str] | None
    ) -> None:
        self.saving, self.description, self.n_folds, self.n_scores = saving, description, n_folds, n_scores
        self.names = names

    def begin(self) -> list[list[ScoredFit]]:
        """Read the fits of a search to resume, by setting; or write the first file, to see that it can be written."""
        content = self.saving.read()
        if content is not None:
            return self._decode(content)
        self.saving.write_first(self._encode([]))
        return []

    def write(self, candidates: Sequence[Sequence[ScoredFit]]) -> None:
        """Write the fits of the candidates that are done, or warn."""
        self.saving.try_to_write(
            lambda: self._encode([[fit.encode(self.names) for fit in fits] for fits in candidates])
        )

    def _encode(self, fits: Sequence[Sequence[Mapping[str, Any]]]) -> bytes:
        return encode({"format": FORMAT, "search": self.description, "fits": fits})

    def _decode(self, content: bytes) -> list[list[ScoredFit]]:
        try:
            record = json.loads(str(content, "utf-8"), object_pairs_hook=refuse_duplicates)
            require_keys("the file", record, {"format", "search", "fits", "checksum"})
            is_known = type(record["format"]) is int and record["format"] == FORMAT
            require(is_known, "format", record["format"], f"{FORMAT}, which this version of xpnet reads")
            del record["checksum"]
            if encode(record) != content:
                raise ArgumentError("it is damaged: its checksum does not fit its contents")
            check_description(record["search"])
            difference = find_difference(self.saving.path, record["search"], self.description)
            if difference is None:
                return self._decode_fits(record["fits"])
        except INVALID_VALUE_ERRORS as error:
            raise CheckpointError(
                f"{self.saving.path} does not hold an xpnet search ({describe_error(error)}); give a file that a "
                "search wrote with checkpoint="
            ) from error
        raise difference

    def _decode_fits(self, settings: Any) -> list[list[ScoredFit]]:
        """Make the fits of the settings that are done."""
        most = len(self.description["settings"])
        is_list = type(settings) is list and len(settings) <= most
        require(is_list, "fits", settings, f"a list of at most {most} settings")
        candidates, names = [], None if self.names is None else tuple(self.names)
        for k, fits in enumerate(settings):
            is_list = type(fits) is list and len(fits) == self.n_folds
            require(is_list, f"fits[{k}]", fits, f"a list of {self.n_folds} folds")
            candidates.append([decode_fit(f"fits[{k}][{i}]", fit, self.n_scores) for i, fit in enumerate(fits)])
        scores = [score for fits in candidates for fit in fits for score in fit.scores]
        numbers = [score for score in scores if names is not None or not isinstance(score, Exception)]
        kinds = {tuple(score) if type(score) is dict else None for score in numbers}
        if len(kinds) > 1 or (names is not None and kinds - {names}):
            raise ArgumentError("fits have scores of several kinds, or of other names than those of the scorers")
        raises = self.description["error_score"] == describe("raise")
        if raises and (len(numbers) < len(scores) or any(fit.error for fits in candidates for fit in fits)):
            raise ArgumentError("fits have errors, each of which would have ended a search with error_score='raise'")
        if names is not None:
            for fit in chain.from_iterable(candidates):
                fit.scores = [_recall_text(value) for score in fit.scores for value in score.values()]
        return candidates


def find_difference(path: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> ArgumentError | None:
    """Make the error that names the first difference between the search in a file and this one, if any."""
    name = next((name for name, value in now.items() if before[name] != value), None)
    if name is None:
        return None
    then, value = before[name], now[name]
    if name in ("X", "y", "sample_weight", "cv"):  # digests
        return ArgumentError(f"{name} differs from that of the search in {path}; give the same, or another checkpoint")
    if name == "parameters":
        differing = [key for key in {**then, **value} if then.get(key) != value.get(key)]
        key = max(differing, key=lambda key: key.count("__"))  # mlp__alpha, and not the steps that it is in
        shown = f"{key}={then.get(key)}", f"{key}={value.get(key)}"
    elif name == "settings" and len(then) != len(value):
        shown = f"{len(then)} settings to try", str(len(value))
    elif name == "settings":
        i = next(i for i, (old, new) in enumerate(zip(then, value)) if old != new)
        shown = f"{_write_setting(then[i])} as setting {i}", _write_setting(value[i])
    else:
        shown = f"{name}={then}", f"{name}={value}"
    return ArgumentError(
        f"{path} holds a search with {printable(truncate(shown[0]))}, but this one has {truncate(shown[1])}; give the "
        "same, or another checkpoint"
    )


def _write_setting(setting: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in setting.items())


def encode(record: Mapping[str, Any]) -> bytes:
    """Return the content of a file: the record as JSON, and a digest of it as the last value."""
    text = json.dumps(record, default=_to_number)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return f'{text[:-1]}, "checksum": "{digest}"}}\n'.encode()


def _to_number(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else float(value)


def describe_search(
    search: Any, candidates: Sequence[Mapping[str, Any]], splits: Sequence[Any], X: Any, y: Any, sample_weight: Any
) -> dict[str, Any]:
    """Describe by texts everything that decides the scores of a search."""
    data = {"X": X, "y": y, "sample_weight": sample_weight}
    return {
        "estimator": describe(type(search.estimator)),
        "parameters": describe_call(search.estimator.get_params()),
        **describe_call({name: getattr(search, name) for name in ("scoring", "error_score", "return_train_score")}),
        "settings": [describe_call(candidate) for candidate in candidates],
        **describe_call({**data, "cv": [[np.asarray(rows) for rows in split] for split in splits]}),
    }
