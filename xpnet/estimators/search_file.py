"""The checkpoint of a search: the scores of the fits that are done, and a description of the search that they are for.

The file is JSON that ends with a checksum. It describes all settings, and holds the fits of the first ones.
"""

import hashlib
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from types import CodeType, FunctionType
from typing import Any, NamedTuple

import joblib
import numpy as np

from xpnet.backends.choose import to_host
from xpnet.checkpoint.file import INVALID_VALUE_ERRORS
from xpnet.checkpoint.files import read_file, write_file
from xpnet.training.callback import warn_of_write
from xpnet.training.checkpointing import parse_checkpoint
from xpnet.wording.checks import count, has_methods, printable, refuse_duplicates, truncate
from xpnet.wording.errors import CheckpointError, unless_stopped

EVERY = 10  # settings after which the file is written, unless given
FORMAT = 1
DATA = ("X", "y", "sample_weight", "cv")  # compared by digests
ADDRESS = re.compile(r" at 0x[0-9A-Fa-f]+")


class Checkpointing(NamedTuple):
    """The arguments of `fit` about its checkpoint, checked."""

    path: str
    every: int  # settings
    resume: bool


def parse_checkpointing(path: Any, every: Any, resume: bool) -> Checkpointing | None:
    """Check the arguments `checkpoint`, `every` and `resume` of a search."""
    every = None if every is None else count("every", every, 1)
    path = parse_checkpoint(path, every, resume)
    return None if path is None else Checkpointing(path, EVERY if every is None else every, resume)


@dataclass
class ScoredFit:
    """The error of a fit, or the values of its scorers.

    A value is a number, a dict of numbers and texts of errors by the name of the scorer, or an exception.
    """

    error: Exception | None = None
    scores: list[Any] = field(default_factory=list)  # on the test fold, and then on the training folds
    seconds: float = 0.0
    scoring_seconds: float = 0.0  # on the test fold
    estimator: Any = None  # fitted, until it is scored
    is_scored: bool = False
    _recalled: int = 0

    def recall(self) -> Any:
        """Return the next value; raise it if it is an exception."""
        value = self.scores[self._recalled]
        self._recalled += 1
        if isinstance(value, Exception):
            raise value
        return dict(value) if isinstance(value, dict) else value

    def encode(self) -> dict[str, Any]:
        """Return plain values. Errors are texts."""
        scores = [_explain(value) if isinstance(value, Exception) else value for value in self.scores]
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


def decode_fit(values: Mapping[str, Any], n_scores: int) -> ScoredFit:
    """Make the fit of plain values.

    Raises
    ------
    LookupError, TypeError, ValueError
        If they are not those of a fit with `n_scores` scores.
    """
    if set(values) != {"error", "scores", "seconds", "scoring_seconds"}:
        raise ValueError(f"a fit has the values {sorted(values)}")
    error, scores, times = values["error"], values["scores"], (values["seconds"], values["scoring_seconds"])
    if not all(type(seconds) is float and isfinite(seconds) and seconds >= 0 for seconds in times):
        raise ValueError(f"the times of a fit are {times}")
    if not (error is None or isinstance(error, str)) or not isinstance(scores, list):
        raise TypeError("the error of a fit must be a text, and its scores a list")
    if len(scores) != (n_scores if error is None else 0):
        raise ValueError(f"a fit has {len(scores)} scores")
    for score in scores:
        for value in score.values() if isinstance(score, dict) else [score]:
            if not isinstance(value, str):
                float(value)
    failure = None if error is None else RecalledError(_printable_lines(error))
    scores = [RecalledError(_printable_lines(score)) if isinstance(score, str) else score for score in scores]
    return ScoredFit(failure, scores, *times, is_scored=True)


def _printable_lines(text: str) -> str:
    return "\n".join(map(printable, text.split("\n")))


class SearchFile:
    """Keeps the scores of a search in a file.

    Parameters
    ----------
    path
        The file.
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
        self, path: str, description: dict[str, Any], n_folds: int, n_scores: int, names: Sequence[str] | None
    ) -> None:
        self.path, self.description, self.n_folds, self.n_scores = path, description, n_folds, n_scores
        self.names = names

    def begin(self, resume: bool) -> list[list[ScoredFit]]:
        """Read the fits of a search to resume, by setting; or write the first file, to see that it can be written."""
        if resume and os.path.exists(self.path):
            return self._read()
        if resume:
            print(f"There is no checkpoint {self.path} yet: the search begins anew", file=sys.stderr)
        try:
            write_file(self.path, self._encode([]), new=True)
        except FileExistsError as error:
            raise FileExistsError(
                f"checkpoint={self.path!r} exists already: another search has just begun with it; give each search a "
                "path of its own"
            ) from error
        return []

    def write(self, candidates: Sequence[Sequence[ScoredFit]]) -> None:
        """Write the fits of the candidates that are done, or warn."""
        try:
            write_file(self.path, self._encode([[fit.encode() for fit in fits] for fits in candidates]))
        except unless_stopped(OSError, MemoryError) as error:
            warn_of_write(f"checkpoint={self.path!r} could not be written", error)

    def _encode(self, fits: Sequence[Sequence[Mapping[str, Any]]]) -> bytes:
        return encode({"format": FORMAT, "search": self.description, "fits": fits})

    def _read(self) -> list[list[ScoredFit]]:
        content = read_file(self.path)
        try:
            record = json.loads(str(content, "utf-8"), object_pairs_hook=refuse_duplicates)
            if type(record["format"]) is not int or record["format"] != FORMAT:
                raise ValueError(f"it has format {record['format']}, and this version of xpnet reads {FORMAT}")
            del record["checksum"]
            if set(record) != {"format", "search", "fits"} or encode(record) != content:
                raise ValueError("it is damaged: its checksum does not fit its contents")
            before = record["search"]
            if set(before) != set(self.description):
                raise ValueError(f"it describes a search by {sorted(before)}")
            difference = find_difference(self.path, before, self.description)
            if difference is None:
                candidates = [[decode_fit(fit, self.n_scores) for fit in fits] for fits in record["fits"]]
                self._check(candidates)
                return candidates
        except unless_stopped(*INVALID_VALUE_ERRORS) as error:
            raise CheckpointError(
                f"{self.path} does not hold an xpnet search ({type(error).__name__}: {printable(truncate(error))}); "
                "give a file that a search wrote with checkpoint="
            ) from error
        raise difference

    def _check(self, candidates: Sequence[Sequence[ScoredFit]]) -> None:
        """Refuse more candidates than there are, or fits with other scores than those of the search."""
        if len(candidates) > len(self.description["settings"]) or any(len(fits) != self.n_folds for fits in candidates):
            raise ValueError("it does not hold one fit for each of its settings and folds")
        scores = [score for fits in candidates for fit in fits for score in fit.scores]
        names = {
            tuple(score) if isinstance(score, dict) else None for score in scores if not isinstance(score, Exception)
        }
        if len(names) > 1 or (self.names is not None and names - {tuple(self.names)}):
            raise ValueError("its scores are not those of one search")


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
    """Describe by plain values everything that decides the scores of a search."""
    return {
        "estimator": type(search.estimator).__name__,
        "parameters": _describe_parameters(search.estimator.get_params()),
        "scoring": describe(search.scoring),
        "error_score": describe(search.error_score),
        "return_train_score": describe(search.return_train_score),
        "settings": [_describe_parameters(candidate) for candidate in candidates],
        "X": joblib.hash(to_host(X)),
        "y": joblib.hash(to_host(y)),
        "sample_weight": None if sample_weight is None else joblib.hash(to_host(sample_weight)),
        "cv": joblib.hash([[np.asarray(rows) for rows in split] for split in splits]),
    }


def _describe_parameters(parameters: Mapping[str, Any]) -> dict[str, str]:
    return {name: describe(value) for name, value in parameters.items() if not name.endswith("verbose")}


def describe(value: Any) -> str:
    """Describe a parameter by its repr: functions by their names and their code, estimators by their parameters.

    Examples
    --------
    >>> describe([(0.1, len), "adam"])
    "[(0.1, <built-in function len>), 'adam']"
    >>> describe(lambda x: x + 1) == describe(lambda x: x + 1), describe(lambda x: x + 1) == describe(lambda x: x + 2)
    (True, False)
    """
    return repr(_simplify(value))


class _Description(str):
    """A text that is its own repr."""

    __slots__ = ()
    __repr__ = str.__str__


def _simplify(value: Any, within: tuple[FunctionType, ...] = ()) -> Any:
    """Replace objects by descriptions without addresses in memory, that are the same in another process.

    `within` are the functions that enclose the value, as one may enclose itself.
    """
    if isinstance(value, FunctionType):
        return _Description(_describe_function(value, within))
    if type(value) in (list, tuple):
        return type(value)(_simplify(item, within) for item in value)
    if has_methods(value, "_make"):  # a NamedTuple, such as an activation
        return value._make(_simplify(item, within) for item in value)
    if type(value) in (set, frozenset):  # the order of strings in it differs between processes
        return _Description(f"{{{', '.join(sorted(repr(_simplify(item, within)) for item in value))}}}")
    if type(value) is dict:
        return {key: _simplify(item, within) for key, item in value.items()}
    if isinstance(value, (np.ndarray, np.random.RandomState, np.random.Generator)):  # not all of it is in its repr
        return _Description(f"{type(value).__name__} {joblib.hash(value)}")
    if has_methods(value, "get_params"):
        parameters = _describe_parameters(value.get_params(deep=False))
        return _Description(f"{type(value).__name__}({_write(parameters)})")
    return _Description(ADDRESS.sub("", repr(value)))


def _describe_function(function: FunctionType, within: tuple[FunctionType, ...]) -> str:
    """Describe a function by its name, and by a digest of its code, its defaults and the values that it encloses."""
    if function in within:
        return f"<function {function.__qualname__}>"
    enclosed = [cell.cell_contents for cell in function.__closure__ or ()]
    parts = (_list_code(function.__code__), function.__defaults__, function.__kwdefaults__, enclosed)
    digest = hashlib.sha256(repr(_simplify(parts, (*within, function))).encode()).hexdigest()
    return f"<function {function.__qualname__} {digest[:8]}>"


def _list_code(code: CodeType) -> tuple[Any, ...]:
    """List the instructions of a function with the names and constants in them, but not the lines where they stand."""
    constants = [_list_code(item) if isinstance(item, CodeType) else item for item in code.co_consts]
    return code.co_code, code.co_names, constants


def find_difference(path: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> ValueError | None:
    """Make the error that names the first difference between two searches; None if there is none."""
    for name, value in now.items():
        if before[name] == value:
            continue
        if name in DATA:
            return ValueError(f"{name} differs from that of the search in {path}; give the same, or another checkpoint")
        if name == "settings" and len(before[name]) != len(value):
            return _difference(path, f"{len(before[name])} settings to try", str(len(value)))
        if name == "settings":
            pairs = zip(before[name], value)
            i, (old, new) = next((i, pair) for i, pair in enumerate(pairs) if pair[0] != pair[1])
            return _difference(path, f"{_write(old)} as setting {i}", _write(new))
        if name == "parameters":
            key = next(key for key in {**before[name], **value} if before[name].get(key) != value.get(key))
            return _difference(path, f"{key}={before[name].get(key)}", f"{key}={value.get(key)}")
        return _difference(path, f"{name}={before[name]}", f"{name}={value}")
    return None


def _write(setting: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in setting.items())


def _difference(path: str, before: str, now: str) -> ValueError:
    return ValueError(
        f"{path} holds a search with {printable(truncate(before))}, but this one has {truncate(now)}; give the same, "
        "or another checkpoint"
    )
