"""The checkpoint of a search: the scores of the fits that are done, and a description of the search that they are for.

The file is JSON that ends with a checksum. It describes all settings, and holds the fits of the first ones.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

import numpy as np

from xpnet._checks import describe_error, is_text, printable, refuse_duplicates, require, require_keys, truncate
from xpnet.backends.identity import describe, describe_call
from xpnet.errors import ArgumentError, CheckpointError
from xpnet.estimators._results import ScoredFit, Scoring
from xpnet.estimators._trials import Folds
from xpnet.files import INVALID_VALUE_ERRORS
from xpnet.training import Checkpoint

FORMAT = 1
LARGEST = 2**1023  # whole numbers that are smaller can be floats
# Of the description of a search
TEXTS = ("X", "y", "sample_weight", "cv", "estimator", "scoring", "error_score", "return_train_score")


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
    return ScoredFit(_printable_lines(error), [_printable_lines(score) for score in scores], *times)


def _printable_lines(value: Any) -> Any:
    """Make the lines of texts printable, in a dict, too; leave other values."""
    if isinstance(value, dict):
        return {name: _printable_lines(part) for name, part in value.items()}
    return "\n".join(map(printable, value.split("\n"))) if isinstance(value, str) else value


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
    search, candidates, folds, scoring
        What it is a search for. Another search must have all of this in common.
    """

    def __init__(
        self, saving: Checkpoint, search: Any, candidates: Sequence[Mapping[str, Any]], folds: Folds, scoring: Scoring
    ) -> None:
        self.saving, self.scoring, self.n_folds = saving, scoring, len(folds.rows)
        self.description = describe_search(search, candidates, folds)

    def begin(self) -> list[list[ScoredFit]]:
        """Read the fits of a search to resume, by setting; or write the first file, to see that it can be written."""
        content = self.saving.read()
        if content is not None:
            return self._decode(content)
        self.saving.write_first(self._encode([]))
        return []

    def write(self, candidates: Sequence[Sequence[ScoredFit]]) -> None:
        """Write the fits of the candidates that are done, or warn."""
        self.saving.try_to_write(lambda: self._encode([[fit._asdict() for fit in fits] for fits in candidates]))

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
        n_scores, candidates = 2 if self.scoring.scores_training else 1, []
        for k, fits in enumerate(settings):
            is_list = type(fits) is list and len(fits) == self.n_folds
            require(is_list, f"fits[{k}]", fits, f"a list of {self.n_folds} folds")
            candidates.append([decode_fit(f"fits[{k}][{i}]", fit, n_scores) for i, fit in enumerate(fits)])
        done = [fit for fits in candidates for fit in fits]
        scores, names = [score for fit in done for score in fit.scores], self.scoring.names
        several = isinstance(self.scoring.public, dict)
        kinds = {
            tuple(score) if isinstance(score, dict) else None for score in scores if several or type(score) is not str
        }
        if len(kinds) > 1 or (names is not None and kinds - {tuple(names) if several else None}):
            raise ArgumentError("fits have scores of several kinds, or of other names than those of the scorers")
        if self.scoring.error_score == "raise" and (any(fit.error for fit in done) or any(map(is_text, scores))):
            raise ArgumentError("fits have errors, each of which would have ended a search with error_score='raise'")
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


def describe_search(search: Any, candidates: Sequence[Mapping[str, Any]], folds: Folds) -> dict[str, Any]:
    """Describe by texts everything that decides the scores of a search."""
    data = {"X": folds.X, "y": folds.y, "sample_weight": folds.sample_weight}
    return {
        "estimator": describe(type(search.estimator)),
        "parameters": describe_call(search.estimator.get_params()),
        **describe_call({name: getattr(search, name) for name in ("scoring", "error_score", "return_train_score")}),
        "settings": [describe_call(candidate) for candidate in candidates],
        **describe_call({**data, "cv": [[np.asarray(part) for part in rows] for rows in folds.rows]}),
    }
