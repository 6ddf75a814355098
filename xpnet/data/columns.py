"""Columns: how each column of a table becomes inputs of a network. Learnt from training rows, kept as plain values.

Numbers and dates keep their scale, with the median in place of missing values and an input that marks those. Texts
become one-hot: an input for each value, and one for all rare and unknown ones. The categories are chosen as by
scikit-learn's `OneHotEncoder` and the medians as by its `SimpleImputer`, so tables need pandas alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, NamedTuple

import numpy as np

from xpnet.data.cells import (
    PATTERNS,
    Cells,
    Dates,
    Marks,
    Numbers,
    Texts,
    example_of,
    open_column,
    place,
    read_cells,
    read_dates,
    read_numbers,
)
from xpnet.wording.checks import list_names

WAVES = {"year": 365.2425, "week": 7.0, "day": 1.0}  # periods in days


class Limits(NamedTuple):
    """When values of texts are rare: in fewer rows than `min_frequency`, or not among the most frequent ones.

    Those are `max_categories`. As in scikit-learn, `min_frequency` is a number of rows, or as a float a fraction of
    them. "auto" is 3 % of the rows, at most 40 of them. A value in a single row is always rare.
    """

    min_frequency: int | float | str = "auto"
    max_categories: int | None = 40

    def least(self, n: int) -> float:
        """Return the number of rows of n that makes a value usual."""
        if isinstance(self.min_frequency, str):
            return max(min(0.03 * n, 40), 2)
        return max(self.min_frequency * n if isinstance(self.min_frequency, float) else self.min_frequency, 2)


LIMITS = Limits()


@dataclass(frozen=True)
class NumberColumn:
    """A column of numbers."""

    kind: ClassVar[str] = "number"
    name: str
    median: float  # takes the place of missing values
    missing: bool  # whether an input marks them
    unit: str = ""  # "%" if that was written
    decimal: str = ""  # the decimal mark of the table; nothing if no text showed it
    grouped: bool = False  # whether the other mark, "." or ",", separates thousands

    @classmethod
    def learn(cls, name: str, values: Numbers, rows: np.ndarray, marks: Marks) -> NumberColumn | DroppedColumn:
        """Learn from some rows."""
        numbers = values.values[rows]
        if reason := _find_reason_to_drop(numbers, "{:g}".format):
            return DroppedColumn(name, reason)
        return cls(name, float(np.nanmedian(numbers)), bool(np.isnan(numbers).any()), values.unit, *marks)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the inputs."""
        return (self.name, f"{self.name} (missing)") if self.missing else (self.name,)

    def encode(self, cells: Cells, marks: Marks) -> tuple[np.ndarray, str]:
        """Return the inputs (n, k), and what is to be said about them."""
        marks = Marks(self.decimal, self.grouped) if self.decimal else marks
        values = read_numbers(cells, marks, "it held numbers in training")
        if values.unit != self.unit and not np.isnan(values.values).all():
            has = ["with %" if unit else "without %" for unit in (values.unit, self.unit)]
            raise ValueError(f"{cells.table} holds numbers {has[0]} in column {self.name!r}, and training had {has[1]}")
        return fill(values.values, self.median, self.missing)

    def describe(self) -> str:
        """Describe what is done with the column."""
        return f"number{', in %' if self.unit else ''}" + _describe_missing(self.missing, f"{self.median:g}")


@dataclass(frozen=True)
class DateColumn:
    """A column of dates: days since 1970, and their place in the year, the week and the day."""

    kind: ClassVar[str] = "date"
    name: str
    median: float
    missing: bool
    format: str  # of texts, as in "%d.%m.%Y"; "ISO8601"
    zoned: bool  # whether they have time zones; then they count in UTC
    waves: tuple[str, ...]

    @classmethod
    def learn(cls, name: str, values: Dates, rows: np.ndarray) -> DateColumn | DroppedColumn:
        """Learn from some rows."""
        days = values.values[rows]
        if reason := _find_reason_to_drop(days, _format_date):
            return DroppedColumn(name, reason)
        missing = np.isnan(days)
        waves = tuple(wave for wave, period in WAVES.items() if np.ptp(days[~missing] / period % 1) > 0)
        return cls(name, float(np.nanmedian(days)), bool(missing.any()), values.format, values.zoned, waves)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the inputs."""
        parts = (f"{self.name} ({wave}, {part})" for wave in self.waves for part in ("sine", "cosine"))
        marks = (f"{self.name} (missing)",) if self.missing else ()
        return (f"{self.name} (days since 1970)", *marks, *parts)

    def encode(self, cells: Cells, marks: Marks) -> tuple[np.ndarray, str]:
        """Return the inputs (n, k), and what is to be said about them."""
        dates = read_dates(cells, self.format)
        if dates.zoned != self.zoned and not np.isnan(dates.values).all():
            has = ["have a time zone" if zoned else "have no time zone" for zoned in (dates.zoned, self.zoned)]
            raise ValueError(f"the dates in column {self.name!r} of {cells.table} {has[0]}, and in training {has[1]}")
        filled, note = fill(dates.values, self.median, self.missing)
        angles = [2 * np.pi * filled[:, 0] / WAVES[wave] for wave in self.waves]
        return np.column_stack([filled, *(part(angle) for angle in angles for part in (np.sin, np.cos))]), note

    def describe(self) -> str:
        """Describe what is done with the column."""
        written = f" as in {example_of(self.format)}" if self.format else ""
        parts = ["days since 1970", *(f"place in the {wave}" for wave in self.waves)]
        return f"date{written}: {', '.join(parts)}" + _describe_missing(self.missing, _format_date(self.median))


@dataclass(frozen=True)
class CategoryColumn:
    """A column of texts, one-hot."""

    kind: ClassVar[str] = "category"
    name: str
    values: tuple[str, ...]  # those with an input of their own
    missing: bool  # whether missing values have one
    rare: bool  # whether rare and unknown values share one

    @classmethod
    def learn(cls, name: str, texts: Texts, rows: np.ndarray, limits: Limits) -> CategoryColumn | DroppedColumn:
        """Learn from some rows."""
        codes = texts.codes[rows]
        counts = np.bincount(codes + 1, minlength=len(texts.values) + 1)  # of missing values first
        usual = [k for k in np.flatnonzero(counts) if counts[k] >= limits.least(len(codes))]
        if limits.max_categories is not None and len(np.flatnonzero(counts)) > limits.max_categories:
            usual = sorted(usual, key=lambda k: -counts[k])[: limits.max_categories - 1]
        values = tuple(sorted(texts.values[k - 1] for k in usual if k > 0))
        column = cls(name, values, 0 in usual, len(usual) < len(np.flatnonzero(counts)))
        if len(column.inputs) > 1:
            return column
        n = int(np.count_nonzero(counts[1:]))
        rare = "another value in every row" if n == len(codes) else f"{n:,} rare values"
        return DroppedColumn(name, f"always {values[0]!r}" if values else rare if n else "no values")

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the inputs."""
        others = [word for word, has in (("missing", self.missing), ("rare", self.rare)) if has]
        return (*(f"{self.name}={value}" for value in self.values), *(f"{self.name} ({word})" for word in others))

    def encode(self, cells: Cells, marks: Marks) -> tuple[np.ndarray, str]:
        """Return the inputs (n, k), and what is to be said about them."""
        places = {value: k for k, value in enumerate(self.values)}
        rare = len(self.values) + self.missing if self.rare else -1  # the last input, or one that is left out
        columns = [places.get(value, rare) for value in cells.values]
        known = [value in places for value in cells.values]
        if len(known) and not any(known) and all(map(is_number, cells.values)) and not any(map(is_number, places)):
            raise ValueError(f"{cells.table} holds numbers in column {self.name!r}, which held texts in training")
        columns = np.array([*columns, len(self.values) if self.missing else rare])[cells.codes]
        unknown = ~np.array([*known, True])[cells.codes] & (cells.codes >= 0)
        encoded = np.eye(len(self.inputs) + 1)[columns, :-1]
        return encoded, _count(unknown.sum(), "rare or unknown value") if unknown.any() else ""

    def describe(self) -> str:
        """Describe what is done with the column.

        Examples
        --------
        >>> CategoryColumn("note", (), missing=True, rare=True).describe()
        'category: missing, rare or unknown'
        """
        others = [word for word, has in (("missing", self.missing), ("rare or unknown", self.rare)) if has]
        return f"category: {', '.join(filter(None, [list_names(self.values), *others]))}"


@dataclass(frozen=True)
class DroppedColumn:
    """A column that the network does not get."""

    kind: ClassVar[str] = "left out"
    name: str
    reason: str
    inputs: ClassVar[tuple[str, ...]] = ()

    def describe(self) -> str:
        """Describe why the column is left out."""
        return f"left out: {self.reason}"


Column = NumberColumn | DateColumn | CategoryColumn | DroppedColumn
KINDS: dict[str, Any] = {kind.kind: kind for kind in (NumberColumn, DateColumn, CategoryColumn, DroppedColumn)}
TYPES = {"str": str, "bool": bool, "float": float, "tuple[str, ...]": tuple}


def fill(values: np.ndarray, median: float, marks: bool) -> tuple[np.ndarray, str]:
    """Put the median in place of missing values, and mark them in a second column if `marks`.

    Examples
    --------
    >>> fill(np.array([1.0, np.nan]), 5.0, True)[0]
    array([[1., 0.],
           [5., 1.]])
    """
    missing = np.isnan(values)
    filled = np.where(missing, median, values)
    if marks:
        return np.stack([filled, missing], axis=1), ""
    note = f"{_count(missing.sum(), 'missing value')}, taken as the median {median:g}" if missing.any() else ""
    return filled[:, None], note


def open_columns(frame: Any, table: str, categories: Iterable[str] = ()) -> dict[str, Cells]:
    """Read the cells of the columns of a pandas DataFrame, by name; those of `categories` as texts."""
    return {name: open_column(frame[name], table, name, name in categories) for name in frame.columns}


def learn_columns(
    table: str,
    columns: Mapping[str, Cells],
    rows: np.ndarray,
    marks: Marks,
    categories: Sequence[str] = (),
    limits: Limits = LIMITS,
) -> tuple[Column, ...]:
    """Learn from some rows of a table how its columns become inputs.

    Parameters
    ----------
    table
        Name of the table, for messages.
    columns
        The cells of the features, from `open_columns`.
    rows
        Which rows to learn from, (n,) of bool. How values are written is told by all rows.
    marks
        How the numbers of the table are written, from `find_marks`.
    categories
        Names of columns whose values are categories, also if they are numbers or dates.
    limits
        When values of texts are rare.

    Raises
    ------
    ValueError
        If a column cannot be read, with the row and the remedy, or if no column tells rows apart.
    """
    learnt: list[Column] = []
    for name, cells in columns.items():
        values = Texts(cells.codes, cells.values) if name in categories else read_cells(cells, marks)
        if isinstance(values, Numbers):
            _check_finite(values.values, cells)
            learnt.append(NumberColumn.learn(name, values, rows, marks))
        elif isinstance(values, Dates):
            learnt.append(DateColumn.learn(name, values, rows))
        else:
            learnt.append(CategoryColumn.learn(name, values, rows, limits))
    names = name_inputs(learnt)
    if not names:
        reasons = "; ".join(f"{column.name!r}: {column.describe()}" for column in learnt[:12])
        raise ValueError(f"{table} has no column to predict from ({reasons})")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{table} has columns whose inputs would both be named {twice!r}; rename one")
    return tuple(learnt)


def encode_columns(
    learnt: Iterable[Column], table: str, columns: Mapping[str, Cells], marks: Marks
) -> tuple[np.ndarray, dict[str, str]]:
    """Return the inputs (n, n_in), float64, and what is to be said about columns, by name.

    The numbers are written as in training, or with `marks` if training did not show how.

    Raises
    ------
    ValueError
        If a column does not hold what it held in training.
    """
    parts, notes = [], {}
    for column in learnt:
        if isinstance(column, DroppedColumn):
            continue
        cells = columns[column.name]
        part, note = column.encode(cells, marks)
        if isinstance(column, NumberColumn):
            _check_finite(part[:, 0], cells)
        parts.append(part)
        if note:
            notes[column.name] = note
    return np.concatenate(parts, axis=1), notes


def choose_columns(learnt: Iterable[Column], frame: Any, table: str) -> dict[str, Cells]:
    """Read the cells that inputs are made of from a pandas DataFrame, by their names."""
    used = [column for column in learnt if not isinstance(column, DroppedColumn)]
    present = set(frame.columns)
    if lacking := [column.name for column in used if column.name not in present]:
        raise ValueError(f"{table} lacks columns that the network was trained on: {list_names(lacking)}")
    texts = [column.name for column in used if isinstance(column, CategoryColumn)]
    return open_columns(frame[[column.name for column in used]], table, texts)


def name_inputs(columns: Iterable[Column]) -> tuple[str, ...]:
    """Return the names of the inputs that columns become."""
    return tuple(name for column in columns for name in column.inputs)


def to_plain(columns: Iterable[Column]) -> list[dict[str, Any]]:
    """Return columns as plain values.

    Examples
    --------
    >>> to_plain([NumberColumn("mass", 3.5, False)])
    [{'kind': 'number', 'name': 'mass', 'median': 3.5, 'missing': False, 'unit': '', 'decimal': '',
      'grouped': False}]
    """
    plain = [{"kind": column.kind, **asdict(column)} for column in columns]
    return [{k: list(v) if isinstance(v, tuple) else v for k, v in column.items()} for column in plain]


def from_plain(plain: Any) -> tuple[Column, ...]:
    """Return columns from plain values, which may come from a file; refuse others.

    Examples
    --------
    >>> from_plain([{"kind": "left out", "name": "id", "reason": "always 1"}])
    (DroppedColumn(name='id', reason='always 1'),)
    """
    if not isinstance(plain, list):
        raise ValueError(f"the columns in its notes are {plain!r}, but must be a list")
    return tuple(_column_from_plain(column) for column in plain)


def _column_from_plain(plain: Any) -> Column:
    name: Any = plain.get("kind") if isinstance(plain, Mapping) else None
    kind = KINDS.get(name) if isinstance(name, str) else None
    types = {} if kind is None else {field.name: TYPES[str(field.type)] for field in fields(kind)}
    if kind is None or set(plain) != {"kind", *types}:
        raise ValueError(f"{plain!r} in the columns of its notes is not a column")
    values = {name: _tuple(plain[name]) for name in types}
    for name, value in values.items():
        if type(value) is not types[name] or (isinstance(value, float) and not math.isfinite(value)):
            raise ValueError(f"{name}={value!r} of a column in its notes is not valid")
    column = kind(**values)
    if isinstance(column, NumberColumn):
        check_decimal(column.decimal)
    if isinstance(column, DateColumn) and not set(column.waves) <= set(WAVES):
        raise ValueError(f"waves={column.waves!r} of a column in its notes must be among {list_names(list(WAVES))}")
    return column


def check_decimal(decimal: str) -> None:
    """Refuse what is not a decimal mark; it may come from a file."""
    if decimal not in ("", *PATTERNS):
        raise ValueError(f"the decimal mark in its notes is {decimal!r}, but must be '.', ',' or nothing")


def _tuple(value: Any) -> Any:
    are_texts = isinstance(value, list) and all(isinstance(item, str) for item in value)
    return tuple(value) if are_texts else value


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'s' if n > 1 else ''}"


def is_number(text: str) -> bool:
    """Tell whether a text is a finite number."""
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _check_finite(values: np.ndarray, cells: Cells) -> None:
    if len(infinite := np.flatnonzero(np.isinf(values))):
        row = int(infinite[0])
        raise ValueError(f"{cells.table} holds {values[row]} in {place(row, cells.column)}; give finite numbers")


def _find_reason_to_drop(values: np.ndarray, format_value: Callable[[float], str]) -> str:
    """Say why numbers or dates, NaN where they are missing, do not tell rows apart; nothing if they do."""
    if np.isnan(values).all():
        return "no values"
    return f"always {format_value(values[0])}" if (values == values[0]).all() else ""


def _format_date(days: float) -> str:
    return str(np.datetime64(round(days * 86400), "s")).removesuffix("T00:00:00")


def _describe_missing(marked: bool, median: str) -> str:
    return f"; missing values become {median}" + (", and are marked" if marked else "")
