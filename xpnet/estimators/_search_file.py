"""The checkpoint of a search: the scores of the fits that are done, and a description of the search that they are for.

The file is JSON that ends with a checksum. It describes all settings, and holds the fits of the first ones.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from types import NoneType
from typing import Any

import numpy as np

from xpnet._checks import describe_error, printable, refuse_duplicates, require, require_keys, truncate
from xpnet.backends.identity import describe, describe_call
from xpnet.errors import ArgumentError, CheckpointError
from xpnet.estimators._results import ScoredFit, Scoring
from xpnet.estimators._trials import Folds
from xpnet.files import INVALID_VALUE_ERRORS
from xpnet.training import Checkpoint

FORMAT = 1
LARGEST = 2**1023  # whole numbers that are smaller can be floats
Fits = dict[tuple[int, int], ScoredFit]  # by the numbers of candidate and fold


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

    def begin(self) -> Fits:
        """Read the fits of a search to resume; or write the first file, to see that it can be written."""
        content = self.saving.read()
        if content is not None:
            return self._decode(content)
        self.saving.write_first(self._encode({}))
        return {}

    def write(self, fits: Fits) -> None:
        """Write the fits of the candidates that are done, or warn."""
        self.saving.try_to_write(lambda: self._encode(fits))

    def _encode(self, fits: Fits) -> bytes:
        plain = [fits[number]._asdict() for number in sorted(fits)]
        rows = [plain[k : k + self.n_folds] for k in range(0, len(plain), self.n_folds)]
        return encode_search({"format": FORMAT, "search": self.description, "fits": rows})

    def _decode(self, content: bytes) -> Fits:
        try:
            record = json.loads(str(content, "utf-8"), object_pairs_hook=refuse_duplicates)
            require_keys("the file", record, {"format", "search", "fits", "checksum"})
            is_known = type(record["format"]) is int and record["format"] == FORMAT
            require(is_known, "format", record["format"], f"{FORMAT}, which this version of xpnet reads")
            del record["checksum"]
            if encode_search(record) != content:
                raise ArgumentError("it is damaged: its checksum does not fit its contents")
            difference = explain_other_search(self.saving.path, record["search"], self.description)
            if difference is None:
                return self._decode_fits(record["fits"])
        except INVALID_VALUE_ERRORS as error:
            raise CheckpointError(
                f"{self.saving.path} does not hold an xpnet search ({describe_error(error)}); give a file that a "
                "search wrote with checkpoint="
            ) from error
        raise difference

    def _decode_fits(self, rows: Any) -> Fits:
        """Make the fits of the candidates that are done."""
        most, fits = len(self.description["settings"]), {}
        is_list = type(rows) is list and len(rows) <= most
        require(is_list, "fits", rows, f"a list of at most {most} settings")
        for k, row in enumerate(rows):
            is_list = type(row) is list and len(row) == self.n_folds
            require(is_list, f"fits[{k}]", row, f"a list of {self.n_folds} folds")
            fits |= {(k, i): self._decode_fit(f"fits[{k}][{i}]", fit) for i, fit in enumerate(row)}
        return fits

    def _decode_fit(self, place: str, values: Any) -> ScoredFit:
        """Make the fit of plain values that stand at a `place` in the file."""
        require_keys(place, values, ScoredFit._fields)
        error, scores, *times = (values[name] for name in ScoredFit._fields)
        n = 0 if error is not None else 2 if self.scoring.scores_training else 1
        is_list = type(scores) is list and len(scores) == n
        require(is_list, f"{place}.scores", scores, f"a list of {n} values")
        parts = []
        for score in scores:
            if isinstance(self.scoring.public, dict):
                require_keys(f"{place}.scores", score, self.scoring.public)
            has_names = isinstance(score, dict) and not self.scoring.is_single
            parts += score.values() if has_names else [score]
        are_scores = all(is_json_number(part) or isinstance(part, str) for part in parts)
        require(are_scores, f"{place}.scores", scores, "numbers, or the texts of errors")
        are_plain = isinstance(error, (str, NoneType)) and all(map(is_json_number, times))
        require(are_plain, place, values, "a fit, with null or a text as its error, and numbers of seconds")
        if self.scoring.error_score == "raise" and any(isinstance(part, str) for part in (error, *parts)):
            raise ArgumentError(f"{place} has an error, which would have ended a search with error_score='raise'")
        return ScoredFit(printable_lines(error), [printable_lines(score) for score in scores], *times)


def is_json_number(value: Any) -> bool:
    """Tell whether a value that was read from JSON is a number that can be a float."""
    return type(value) is float or (isinstance(value, int) and abs(value) < LARGEST)


def printable_lines(value: Any) -> Any:
    """Make the lines of texts printable, in a dict, too; leave other values."""
    if isinstance(value, dict):
        return {name: printable_lines(part) for name, part in value.items()}
    return "\n".join(map(printable, value.split("\n"))) if isinstance(value, str) else value


def explain_other_search(path: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> ArgumentError | None:
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


def encode_search(record: Mapping[str, Any]) -> bytes:
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
