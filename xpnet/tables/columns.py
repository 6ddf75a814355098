"""Columns: how each column of a table becomes inputs of a network. Learnt from training rows, kept as plain values.

A column of a table may become several parts, a `Column` each, which have its name, follow each other and read the same
cells, each in its own way.

Numbers and dates keep their scale, or are scaled and encoded in bins, with the median in place of missing values and an
input that marks those. Texts become one-hot: an input for each value, and one for all rare and unknown ones. The
categories are chosen as by scikit-learn's `OneHotEncoder` and the medians as by its `SimpleImputer`, so tables need
pandas alone.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import chain, count, pairwise
from math import inf
from typing import Any, ClassVar, NamedTuple

import numpy as np

from xpnet._checks import list_names, truncate, warn
from xpnet._names import find_nearest
from xpnet.core.regression import leave_residuals
from xpnet.errors import ArgumentError
from xpnet.tables._cells import (
    MISSING,
    Cells,
    Dates,
    Marks,
    Numbers,
    check_marks,
    count_rows,
    example_of,
    find_decimal,
    number_texts,
    number_truth,
    open_column,
    open_values,
    read_cells,
    read_dates,
    read_numbers,
    require_dates,
    require_numbers,
    to_texts,
)
from xpnet.tables._statistics import Goal, StatisticsColumn, learn_statistics, name_groups

__all__ = [
    "BINS",
    "Bins",
    "CategoryColumn",
    "Column",
    "ColumnTerm",
    "DateColumn",
    "DroppedColumn",
    "Encoded",
    "Encoding",
    "Limits",
    "MarkColumn",
    "NumberColumn",
    "StatisticsColumn",
    "add_statistics",
    "choose_input_dtype",
    "count_inputs",
    "find_column",
    "find_inputs",
    "find_texts",
    "from_plain",
    "group_parts",
    "learn_columns",
    "make_different",
    "name_inputs",
    "open_columns",
    "to_plain",
]


Limits = tuple[Any, int | None]  # when texts are rare: `min_frequency` and `max_categories` of `TableEncoder`

BINS = 32  # of a column of numbers; a good number
FAR = 1e9  # scales from the median, beyond which a clipped number does not grow, and its square might overflow
BLOCK = 2**15  # numbers that are computed at once, so that they stay in the cache
WAVES = {"year": 365.2425, "week": 7.0, "day": 1.0}  # periods in days


class Encoded(NamedTuple):
    """The inputs that a table becomes, and which of its values are of a kind that training did not have.

    They are missing, where none were in training, or unknown texts, where training had no rare ones that would stand
    for them.

    Parameters
    ----------
    x
        The inputs, (n, n_in).
    names
        The columns of the table.
    unseen
        Which values are such ones, (n, n_columns) of bool.
    """

    x: np.ndarray
    names: tuple[str, ...]
    unseen: np.ndarray

    def take(self, rows: np.ndarray) -> "Encoded":
        """Return some of the rows."""
        return self._replace(x=self.x[rows], unseen=self.unseen[rows])

    def novelty(self, model: Any) -> np.ndarray:
        """Compute the novelty of each row by a network or an ensemble, on the host; it is 1 for such rows."""
        return np.where(self.unseen.any(axis=1), 1.0, model.backend.to_numpy(model.novelty(self.x)))

    def describe(self, table: str) -> Iterator[str]:
        """Say in a line how many such values there are; nothing if there are none.

        Examples
        --------
        >>> [*Encoded(np.ones((2, 1)), ("kind",), np.array([[False], [True]])).describe("X")]
        ["X has values that training did not have, missing or unknown, in 'kind' (1)"]
        """
        words = [f"{name!r} ({n:,})" for name, n in zip(self.names, self.unseen.sum(axis=0)) if n]
        if words:
            yield f"{table} has values that training did not have, missing or unknown, in {', '.join(words[:12])}"


class ColumnTerm(NamedTuple):
    """An input that is a function of a number v, with z = (v − offset) / divisor.

    Parameters
    ----------
    kind
        - "linear": z, between `low` and `high`
        - "squash": z / √(1 + (z/3)²), of z between `low` and `high`
        - "wave": sin(2πz)
        - "missing": 1 if the number is missing, otherwise 0
    """

    kind: str
    offset: float = 0.0
    divisor: float = 1.0
    low: float = -inf
    high: float = inf


class Terms(NamedTuple):
    """The inputs that are functions of numbers, of all columns of numbers and dates: computed together.

    Parameters
    ----------
    places
        Which inputs of the network they are, (n_terms,).
    sources
        The columns that they are functions of, (n_terms,).
    medians
        What takes the place of missing numbers, (n_columns,).
    offset, divisor, low, high
        As in `ColumnTerm`, (n_terms,).
    squash, wave, missing
        The numbers of the terms of these kinds.
    """

    places: np.ndarray
    sources: np.ndarray
    medians: np.ndarray
    offset: np.ndarray
    divisor: np.ndarray
    low: np.ndarray
    high: np.ndarray
    squash: np.ndarray
    wave: np.ndarray
    missing: np.ndarray

    @classmethod
    def of(cls, columns: Sequence["_MeasuredColumn"], places: np.ndarray) -> "Terms":
        """Collect the terms of columns."""
        terms = [term for column in columns for term in column.terms.values()]
        kinds, parameters = np.array([term.kind for term in terms]), np.array([term[1:] for term in terms])
        return cls(
            places,
            np.repeat(np.arange(len(columns)), [len(column.terms) for column in columns]),
            np.array([column.median for column in columns]),
            *parameters.reshape(len(terms), 4).T,
            *(np.flatnonzero(kinds == kind) for kind in ("squash", "wave", "missing")),
        )

    def fill(self, x: np.ndarray, values: np.ndarray) -> None:
        """Write the inputs of numbers (n, n_columns), of which some may be NaN, into all inputs (n, n_in)."""
        size = max(1, BLOCK // max(1, len(self.places)))
        for first in range(0, len(x), size):
            x[first : first + size, self.places] = self._compute(values[first : first + size])

    def _compute(self, values: np.ndarray) -> np.ndarray:
        is_missing = np.isnan(values)
        z = np.where(is_missing, self.medians, values).take(self.sources, axis=1)
        z -= self.offset
        z /= self.divisor
        np.minimum(np.maximum(z, self.low, out=z), self.high, out=z)  # faster than np.clip
        scaled = z[:, self.squash]
        z[:, self.squash] = scaled / np.sqrt(1 + (scaled / 3) ** 2)
        z[:, self.wave] = np.sin(2 * np.pi * z[:, self.wave])
        z[:, self.missing] = is_missing[:, self.sources[self.missing]]
        return z


@dataclass(frozen=True)
class Bins:
    """Scale numbers robustly, and encode in which quantile bin they lie.

    The first input is z/√(1 + (z/3)²), a smooth clip at ±3 of z = (v − median)/scale, as in RealMLP (Holzmüller,
    Grinsztajn, Steinwart, NeurIPS 2024). Then each bin has an input, which is 0 below the bin, 1 above it, and grows
    linearly inside: the piecewise-linear encoding of Gorishniy, Rubachev, Babenko (On embeddings for numerical features
    in tabular deep learning, NeurIPS 2022). Here the first bin goes on below to −1, and the last one above to 2.
    """

    scale: float  # the distance between the quartiles; half of the range if that is 0; or 1
    edges: tuple[float, ...]  # of the bins, increasing; nothing where there would be a single bin

    @classmethod
    def learn(cls, values: np.ndarray, n: int) -> "Bins | None":
        """Learn at most n bins from numbers; None for n = 0.

        Examples
        --------
        >>> Bins.learn(np.array([0.0, 0.0, 0.0, 1.0, 2.0]), 32)
        Bins(scale=1.0, edges=(0.0, 1.0, 2.0))
        """
        if n == 0:
            return None
        values = np.sort(values)
        low, q1, q3, high = _quantiles(values, 4)[[0, 1, 3, 4]]
        scale = float(q3 - q1 or (high - low) / 2) or 1.0
        edges = np.unique(_quantiles(values, n)).tolist()
        return cls(scale, tuple(edges) if len(edges) > 2 else ())

    def describe(self) -> str:
        """Describe what is done with numbers."""
        return f"in {len(self.edges) - 1} bins" if self.edges else "scaled"


@dataclass(frozen=True)
class _MeasuredColumn:
    """Base class of columns of numbers and of dates."""

    name: str
    median: float  # takes the place of missing values
    missing: bool  # whether an input marks them
    bins: Bins | None = None  # None: the numbers stay as they are
    others: tuple[str, ...] | None = None  # texts that may stand beside numbers; None: nothing else may be there
    suffix: ClassVar[str] = ""  # of the name of a number that stays as it is

    @cached_property
    def terms(self) -> dict[str, ColumnTerm]:
        """The inputs by their names, as functions of the numbers; a missing one is replaced by the median before."""
        terms = {self.name + self.suffix: ColumnTerm("linear")}
        if self.bins is not None:
            terms = {f"{self.name} (scaled)": ColumnTerm("squash", self.median, self.bins.scale, -FAR, FAR)}
            edges, last = self.bins.edges, len(self.bins.edges) - 2
            texts = [*map(self.write, edges)]
            if len({*texts}) < len(texts):  # six digits do not tell the edges apart
                texts = [*map(repr, edges)]
            for k, (low, high) in enumerate(pairwise(edges)):
                ends = 0.0 if k else -1.0, 1.0 if k < last else 2.0
                terms[f"{self.name} ({texts[k]} to {texts[k + 1]})"] = ColumnTerm("linear", low, high - low, *ends)
        return terms | ({f"{self.name} (missing)": ColumnTerm("missing")} if self.missing else {})

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the inputs."""
        return tuple(self.terms)

    def write(self, number: float) -> str:
        """Write a number for a reader."""
        return f"{number:.6g}"

    def _describe_missing(self) -> str:
        texts, median = "" if self.others is None else " and other texts", self.write(self.median)
        return f"; missing values{texts} become {median}" + (", and are marked" if self.missing else "")


@dataclass(frozen=True)
class NumberColumn(_MeasuredColumn):
    """A column of numbers.

    Examples
    --------
    >>> NumberColumn("children", 2.0, missing=True, bins=Bins(1.0, (0.0, 1.5, 7.0))).inputs
    ('children (scaled)', 'children (0 to 1.5)', 'children (1.5 to 7)', 'children (missing)')
    >>> NumberColumn("mass", 3.5, missing=False).terms
    {'mass': ColumnTerm(kind='linear', offset=0.0, divisor=1.0, low=-inf, high=inf)}
    """

    kind: ClassVar[str] = "number"
    unit: str = ""  # what stands beside each, such as "%"
    decimal: str = ""  # the decimal mark of the table; nothing if no text showed it
    grouped: bool = False  # whether the other mark, "." or ",", separates thousands

    def read(self, cells: Cells, marks: Marks) -> Numbers:
        """Read the numbers that inputs are made of."""
        marks = Marks(self.decimal, self.grouped) if self.decimal else marks
        if self.others is not None:
            if not self.decimal:
                check_marks(cells, marks, self.unit)
            return read_numbers(cells, marks, self.unit, self.others)
        return require_numbers(number_truth(cells), marks, self.unit, "it held those in training")

    def describe(self) -> str:
        """Describe what is done with the column.

        Examples
        --------
        >>> NumberColumn("mass", 3.5, False, bins=Bins(1.0, (0.0, 2.0, 5.0))).describe()
        'number, in 2 bins; missing values become 3.5'
        """
        style = "as in 1.234,5" if self.decimal == "," else "as in 1,234.5" if self.grouped else ""
        unit = f"in {self.unit}" if self.unit.isalnum() or len(self.unit) == 1 else f"with {self.unit!r}"
        words = "number", style, self.unit and unit, self.bins and self.bins.describe()
        return ", ".join(filter(None, words)) + self._describe_missing()


@dataclass(frozen=True)
class DateColumn(_MeasuredColumn):
    """A column of dates: days since 1970 in UTC, and their place in the year, the week and the day.

    Examples
    --------
    >>> DateColumn("born", 0.0, missing=True, waves=("week",)).inputs
    ('born (days since 1970)', 'born (missing)', 'born (week, sine)', 'born (week, cosine)')
    """

    kind: ClassVar[str] = "date"
    suffix: ClassVar[str] = " (days since 1970)"
    format: str = ""  # of texts, as in "%d.%m.%Y"; "ISO8601"
    waves: tuple[str, ...] = ()
    zoned: bool | None = False  # whether they have time zones; then they count in UTC; None: some have

    @cached_property
    def terms(self) -> dict[str, ColumnTerm]:
        """The inputs by their names."""
        terms = _MeasuredColumn.terms.func(self)  # another thread is not to see these without waves
        for wave in self.waves:
            period = WAVES[wave]
            terms[f"{self.name} ({wave}, sine)"] = ColumnTerm("wave", 0.0, period)
            terms[f"{self.name} ({wave}, cosine)"] = ColumnTerm("wave", -period / 4, period)
        return terms

    def write(self, number: float) -> str:
        """Write a number of days as a date."""
        return str(np.datetime64(round(number * 86400), "s")).removesuffix("T00:00:00")

    def read(self, cells: Cells, marks: Marks) -> Dates:
        """Read the dates that inputs are made of."""
        dates = (require_dates if self.others is None else read_dates)(cells, self.format)
        if self.zoned not in (dates.zoned, None) and not np.isnan(dates.values).all():
            has = {True: "time zones", False: "no time zones", None: "time zones in some rows"}
            raise ArgumentError(
                f"the dates in column {self.name!r} of {cells.table} have {has[dates.zoned]}, and in training "
                f"{has[self.zoned]}"
            )
        return dates

    def describe(self) -> str:
        """Describe what is done with the column."""
        written = f" as in {example_of(self.format)}" if self.format else ""
        days = f"days since 1970{f' ({self.bins.describe()})' if self.bins else ''}"
        parts = [days, *(f"place in the {wave}" for wave in self.waves)]
        if self.zoned is None:
            parts.append("in UTC where they have no time zone")
        return f"date{written}: {', '.join(parts)}" + self._describe_missing()


class Lookup(NamedTuple):
    """The inputs of a column of texts: a row of numbers for each of its values, then those for other texts."""

    rows: np.ndarray  # (n, n_inputs), float32; the last one is of what training did not have
    places: dict[str, int]  # the row of each text
    missing: int  # the row of missing values
    unknown: int  # the row of rare and unknown values


@dataclass(frozen=True)
class CategoryColumn:
    """A column of texts, one-hot, or with two values as one input of −1 and 1."""

    kind: ClassVar[str] = "category"
    name: str
    values: tuple[str, ...]  # those with an input of their own
    missing: bool  # whether missing values have one
    rare: bool  # whether rare and unknown values share one
    signed: bool = False  # whether the second of two values is 1 and the first −1; unknown ones are 0

    @classmethod
    def learn(
        cls, name: str, texts: Cells, rows: np.ndarray, limits: Limits, signed: bool
    ) -> "CategoryColumn | DroppedColumn":
        """Learn from some rows; two values that are all become one input if `signed`."""
        codes, (least, most) = texts.codes[rows], limits
        n = len(codes)
        least = min(0.03 * n, 40) if least == "auto" else least * n if isinstance(least, float) else least
        counts = np.bincount(codes + 1, minlength=len(texts.values) + 1)  # of missing values first
        known = np.flatnonzero(counts)
        usual = [k for k in known if counts[k] >= max(least, 2)]
        if most is not None and len(known) > most:
            usual = sorted(usual, key=lambda k: -counts[k])[: most - 1]
        values = tuple(sorted(texts.values[k - 1] for k in usual if k > 0))
        column = cls(name, values, 0 in usual, len(usual) < len(known))
        if len(column.inputs) > 1:
            return replace(column, signed=signed and len(values) == 2 == len(known))
        if values:
            return DroppedColumn(name, f"always {truncate(values[0], 40)!r}")
        different = int(np.count_nonzero(counts[1:]))
        rare = "another value in every row" if different == n else f"{different:,} rare values"
        return DroppedColumn(name, rare if different else "no values")

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the inputs."""
        if self.signed:
            return (f"{self.name}={self.values[1]}",)
        others = [word for word, has in (("missing", self.missing), ("rare", self.rare)) if has]
        return (*(f"{self.name}={value}" for value in self.values), *(f"{self.name} ({word})" for word in others))

    @cached_property
    def lookup(self) -> Lookup:
        """The inputs of each text.

        Examples
        --------
        >>> lookup = CategoryColumn("sex", ("f", "m"), missing=True, rare=False).lookup
        >>> lookup.rows
        array([[1., 0., 0.],
               [0., 1., 0.],
               [0., 0., 1.],
               [0., 0., 0.]], dtype=float32)
        >>> [lookup.places[text] for text in ("f", "m", "NA")], lookup.missing, lookup.unknown
        ([0, 1, 2], 2, 3)
        """
        n = len(self.values)
        places = dict.fromkeys(MISSING, n) | number_texts(self.values)
        rows = np.eye(n + self.missing + self.rare + 1, dtype=np.float32)[:, :-1]  # the last row has no 1
        return Lookup(rows[:, 1:] - rows[:, :1] if self.signed else rows, places, n, n + self.missing)

    def encode(self, cells: Cells) -> tuple[np.ndarray, np.ndarray]:
        """Return the inputs (n, n_inputs), and which values are of a kind that training did not have."""
        lookup = self.lookup
        places = [lookup.places.get(value, lookup.unknown) for value in cells.values]
        rows = np.array([*places, lookup.missing])[cells.codes]
        return lookup.rows[rows], rows == len(lookup.rows) - 1

    def describe(self) -> str:
        """Describe what is done with the column.

        Examples
        --------
        >>> CategoryColumn("note", (), missing=True, rare=True).describe()
        'category: missing, rare or unknown'
        >>> CategoryColumn("sex", ("f", "m"), missing=False, rare=False, signed=True).describe()
        "category: -1 for 'f', 1 for 'm'"
        """
        if self.signed:
            return "category: -1 for {!r}, 1 for {!r}".format(*self.values)
        words = list_names(self.values), "missing" if self.missing else "", "rare or unknown" if self.rare else ""
        return f"category: {', '.join(filter(None, words))}"


@dataclass(frozen=True)
class MarkColumn(CategoryColumn):
    """The texts that stand beside numbers, or in place of numbers or dates; all inputs are 0 where none does.

    Examples
    --------
    >>> marks = MarkColumn("age", ("+", "unknown"), missing=False, rare=False)
    >>> marks.encode(Cells("X", "age", np.array([-1, 0, 1]), ["+", "unknown"]))[0]
    array([[0., 0.],
           [1., 0.],
           [0., 1.]], dtype=float32)
    """

    kind: ClassVar[str] = "mark"

    @cached_property
    def lookup(self) -> Lookup:
        """The inputs of each text; those of missing ones are 0."""
        lookup = CategoryColumn.lookup.func(self)  # which no other thread is to see
        none = len(lookup.rows) - 1
        return lookup._replace(missing=none, places=lookup.places | dict.fromkeys(MISSING, none))

    def encode(self, cells: Cells) -> tuple[np.ndarray, np.ndarray]:
        """Return the inputs (n, n_inputs), and which values are of a kind that training did not have."""
        x, unseen = super().encode(cells)
        return x, unseen & (cells.codes >= 0)

    def describe(self) -> str:
        """Describe what is done with the column."""
        return "texts beside or in place of these" + super().describe().removeprefix(CategoryColumn.kind)


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


# A column of a table, or a part of it
Column = NumberColumn | DateColumn | CategoryColumn | StatisticsColumn | DroppedColumn
COLUMN_KINDS: dict[str, Any] = {
    kind.kind: kind for kind in (NumberColumn, DateColumn, CategoryColumn, MarkColumn, StatisticsColumn, DroppedColumn)
}


def group_parts(columns: Iterable[Column]) -> dict[str, tuple[Column, ...]]:
    """Group the parts of each column of a table, by its name.

    Examples
    --------
    >>> age = NumberColumn("age", 40.0, missing=True), CategoryColumn("age", ("84+",), missing=True, rare=True)
    >>> {name: len(parts) for name, parts in group_parts([*age, DroppedColumn("id", "always 1")]).items()}
    {'age': 2, 'id': 1}
    """
    groups: dict[str, tuple[Column, ...]] = {}
    for column in columns:
        groups[column.name] = (*groups.get(column.name, ()), column)
    return groups


def find_inputs(columns: Iterable[Column], name: str) -> slice:
    """Find the inputs of a column, which lie side by side; refuse one that has none.

    Examples
    --------
    >>> find_inputs([CategoryColumn("sex", ("f", "m"), True, False), NumberColumn("mass", 3.5, False)], "mass")
    slice(3, 4, None)
    """
    sizes, first = count_inputs(columns), 0
    for other, size in sizes.items():
        if other == name:
            return slice(first, first + size)
        first += size
    raise ArgumentError(f"column {name!r} is none of those that become inputs; choose from {list_names([*sizes])}")


def count_inputs(columns: Iterable[Column]) -> dict[str, int]:
    """Count the inputs of each column of a table that has some."""
    return {name: n for name, parts in group_parts(columns).items() if (n := len(name_inputs(parts)))}


def find_texts(columns: Iterable[Column]) -> list[str]:
    """Find the columns of a table all of whose parts read texts."""
    groups = group_parts(column for column in columns if column.inputs).items()
    texts = CategoryColumn | StatisticsColumn
    return [name for name, parts in groups if all(isinstance(part, texts) for part in parts)]


def open_columns(frame: Any, table: str, categories: Collection[str] = ()) -> dict[str, Cells]:
    """Read the cells of the columns of a pandas DataFrame, by name; those of `categories` as categories."""
    return {
        name: open_column(frame[name], table, name in categories)._replace(is_category=name in categories)
        for name in frame.columns
    }


def find_column(name: str, present: Collection[Any]) -> Any:
    """Find the column whose name was probably meant, in upper or lower case; None if that is unclear.

    Examples
    --------
    >>> find_column("Prise", ["price", "rooms"]), find_column("zip", ["price", "rooms"])
    ('price', None)
    """
    lower = {str(column).lower(): column for column in present}
    return lower.get(find_nearest(name, lower) or "")


def has_name(column: str) -> bool:
    """Tell whether a column has a name of its own, unlike the numbers of rows that pandas writes to files."""
    return column != "" and not column.startswith("Unnamed: ")


def learn_columns(
    columns: Mapping[str, Cells],
    rows: np.ndarray,
    marks: Marks,
    limits: Limits,
    bins: int,
) -> tuple[Column, ...]:
    """Learn from some rows of a table how its columns become inputs, each a part or several.

    Parameters
    ----------
    columns
        The cells of the features, from `open_columns`.
    rows
        The numbers of the rows to learn from. How values are written is told by all rows.
    marks
        How the numbers of the table are written, from `find_marks`.
    limits
        When values of texts are rare: `min_frequency` and `max_categories` of `TableEncoder`.
    bins
        The largest number of bins of a column of numbers or dates; 0: they stay as they are.

    Warns
    -----
    UserWarning
        If dates can be read in two ways.
    """
    read = {name: read_cells(cells, marks) for name, cells in columns.items() if has_name(name)}
    readings = _choose_dates(columns, read)
    learnt: list[Column] = []
    for name in columns:
        if name not in readings:
            learnt.append(DroppedColumn(name, "it has no name, as numbers of rows in files of pandas"))
        elif isinstance(reading := readings[name], Cells):
            learnt.append(CategoryColumn.learn(name, reading, rows, limits, bins > 0))
        else:
            learnt += _learn_measured(columns[name], reading, rows, limits, bins)
    return tuple(learnt)


def _choose_dates(
    columns: Mapping[str, Cells], readings: Mapping[str, Numbers | Dates | Cells]
) -> dict[str, Numbers | Dates | Cells]:
    """Put days before months in dates that can be read in two ways if others of the table do so; and say it."""
    dates = {name: reading for name, reading in readings.items() if isinstance(reading, Dates)}
    days_first = any(reading.format.startswith("%d") for reading in dates.values() if not reading.or_format)
    chosen = dict(readings)
    for name, reading in dates.items():
        cells, remedy = columns[name], "write dates as in 2024-12-31"
        if reading.or_format:
            if days_first:
                chosen[name] = reading = read_dates(cells, reading.or_format)
            text = next(text for text in cells.values if text not in reading.others.values)
            warn(cells.tell(text, f"which is read as in {example_of(reading.format)}; {remedy}"))
        if reading.zoned is None:
            problem = f"{cells.table} holds dates with and without a time zone in column {name!r}"
            warn(f"{problem}, and these are read in UTC; {remedy}T23:59Z")
    return chosen


def _learn_measured(
    cells: Cells, reading: Numbers | Dates, rows: np.ndarray, limits: Limits, bins: int
) -> Iterator[Column]:
    """Learn a part for numbers or dates, if these differ, and one for other texts if there are some."""
    name, others = cells.column, reading.others
    known = count_rows(others, rows) > 1  # a text in a single row is rare
    numbers = np.where(np.append(known, True)[others.codes], reading.values, np.nan)[rows]
    present = numbers[~np.isnan(numbers)]
    if len(present) == 0 or (numbers == numbers[0]).all():
        yield CategoryColumn.learn(name, to_texts(cells), rows, limits, bins > 0)
        return
    measured = name, float(np.median(present)), len(present) < len(numbers), Bins.learn(present, bins)
    beside = tuple(text for text, is_known in zip(others.values, known) if is_known) if others.values else None
    if isinstance(reading, Numbers):
        yield NumberColumn(*measured, beside, reading.unit, *reading.marks)
    else:
        waves = tuple(wave for wave, period in WAVES.items() if np.ptp(present / period % 1) > 0)
        yield DateColumn(*measured, beside, reading.format, waves, reading.zoned)
    texts = CategoryColumn.learn(name, others, rows, limits, signed=False)
    if isinstance(texts, CategoryColumn):
        yield MarkColumn(name, texts.values, False, texts.rare)


def add_statistics(
    columns: tuple[Column, ...], cells: Mapping[str, Cells], rows: np.ndarray, goal: Goal, decimal: str
) -> tuple[tuple[Column, ...], dict[str, np.ndarray]]:
    """Add a part with statistics to columns of texts that have no inputs of their own, and of numbers that name groups.

    Returns
    -------
    columns, inputs
        All columns; and the inputs of the new parts for the rows that were learnt from, by the statistics of other
        parts of the rows, by the names of the columns.
    """
    extended, inputs = list[Column](), dict[str, np.ndarray]()
    groups, encoding = group_parts(columns), Encoding(columns)
    named = [name for name, parts in groups.items() if _may_have_statistics(parts, cells[name], rows)]
    if not named:
        return encoding.columns, inputs
    x = encoding.encode(cells, decimal).x[rows] if encoding.used else np.empty((len(rows), 0))
    rest = leave_residuals(x, goal.targets, goal.weight, goal.part)
    for name, parts in groups.items():
        extended += parts
        usual, has_words = getattr(parts[0], "values", ()), not isinstance(parts[0], NumberColumn)
        if name in named and (learnt := learn_statistics(cells[name], rows, goal, rest, usual, has_words)):
            statistics, inputs[name] = learnt
            extended[-1:] = [parts[0], statistics] if parts[0].inputs else [statistics]
    return tuple(extended), inputs


def _may_have_statistics(parts: Sequence[Column], cells: Cells, rows: np.ndarray) -> bool:
    """Tell whether a column of a single part holds numbers of groups, or texts without inputs of their own."""
    part, *others = parts
    if others:
        return False
    if isinstance(part, NumberColumn):
        return name_groups(cells, rows)
    if isinstance(part, CategoryColumn):
        return part.rare
    return not part.inputs and cells.is_text and has_name(part.name)


@dataclass(frozen=True)
class Encoding:
    """How a table becomes inputs: by what its columns are, and by what follows from that, computed once.

    Parameters
    ----------
    columns
        The columns, or their parts, as they were learnt.
    """

    columns: tuple[Column, ...]

    @cached_property
    def used(self) -> tuple[NumberColumn | DateColumn | CategoryColumn | StatisticsColumn, ...]:
        """The columns that become inputs."""
        return tuple(column for column in self.columns if not isinstance(column, DroppedColumn))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(group_parts(self.used))

    @cached_property
    def texts(self) -> frozenset[str]:
        """The names of those that are read as texts."""
        return frozenset(find_texts(self.columns))

    @cached_property
    def places(self) -> list[tuple[slice, int]]:
        """The inputs that each of them becomes, and the number of the column of the table that it is a part of."""
        ends = np.cumsum([len(column.inputs) for column in self.used]).tolist()
        return [
            (slice(end - len(column.inputs), end), self.names.index(column.name))
            for column, end in zip(self.used, ends)
        ]

    @cached_property
    def terms(self) -> Terms:
        """The inputs that are functions of numbers."""
        measured, places = [], []
        for column, (inputs, _) in zip(self.used, self.places):
            if isinstance(column, _MeasuredColumn):
                measured.append(column)
                places += range(inputs.start, inputs.stop)
        return Terms.of(measured, np.array(places))

    def open_frame(self, frame: Any, table: str) -> dict[str, Cells]:
        """Read the cells that inputs are made of from a pandas DataFrame, by their names."""
        self._check_names(frame.columns, table)
        return open_columns(frame[[*self.names]], table, self.texts)

    def open_rows(self, rows: Sequence[Mapping[str, Any]], table: str) -> dict[str, Cells]:
        """Read the cells that inputs are made of from rows, each a mapping of names to values; without pandas."""
        for row in rows:
            self._check_names(row, table)
        return {name: open_values([row[name] for row in rows], table, name, name in self.texts) for name in self.names}

    def _check_names(self, present: Collection[str], table: str) -> None:
        """Refuse a table without a column of the training."""
        if lacking := [name for name in self.names if name not in present]:
            near = find_column(lacking[0], [name for name in present if name not in self.names])
            remedy = f"; rename {near!r} if that is {lacking[0]!r}" if near else ""
            raise ArgumentError(
                f"{table} lacks columns that the network was trained on: {list_names(lacking)}; it has the columns "
                f"{list_names([*present])}{remedy}"
            )

    def encode(self, cells: Mapping[str, Cells], decimal: str = "") -> Encoded:
        """Encode the cells of a table.

        The dtype of the inputs is that of `choose_input_dtype`. The numbers are written as in training; where training
        did not show how, with the mark `decimal` of the table, or as these columns show it.

        Raises
        ------
        ArgumentError
            If a column does not hold what it held in training.
        """
        pure = (column for column in self.used if isinstance(column, NumberColumn) and column.others is None)
        marks = Marks(decimal or find_decimal(cells[column.name] for column in pure if not column.decimal))
        n = cells[self.names[0]].n_rows
        x = np.empty((n, self.places[-1][0].stop), choose_input_dtype(self.used))
        unseen = np.zeros((n, len(self.names)), bool)
        numbers, readings = [], dict[str, Numbers | Dates]()
        for column, (inputs, k) in zip(self.used, self.places):
            own, reading = cells[column.name], readings.get(column.name)
            if isinstance(column, _MeasuredColumn):
                readings[column.name] = reading = column.read(own, marks)
                numbers.append(reading.values)
                new = np.isnan(reading.values) if not column.missing else False
            else:
                if reading is not None:
                    is_mark = isinstance(column, MarkColumn)
                    own = reading.others if is_mark else own._replace(numbers=reading.values)
                x[:, inputs], new = column.encode(own)
            unseen[:, k] |= new
        if numbers:
            self.terms.fill(x, np.stack(numbers, axis=1))
        return Encoded(x, self.names, unseen)


def choose_input_dtype(columns: Iterable[Column]) -> str:
    """Choose the dtype of the inputs: float32 if all numbers and dates are in bins, which makes them small."""
    in_bins = {column.bins is not None for column in columns if isinstance(column, _MeasuredColumn)}
    return "float32" if in_bins == {True} else "float64"


def name_inputs(columns: Iterable[Column]) -> tuple[str, ...]:
    """Return the names of the inputs that columns become, made different."""
    return tuple(make_different(name for column in columns for name in column.inputs))


def make_different(names: Iterable[str]) -> list[str]:
    """Number names that occur again, as pandas does.

    Examples
    --------
    >>> make_different(["x", "x", "x.1", "y"])
    ['x', 'x.1', 'x.1.1', 'y']
    """
    different: dict[str, None] = {}
    for name in names:
        numbered = chain([name], (f"{name}.{k}" for k in count(1)))
        different[next(new for new in numbered if new not in different)] = None
    return [*different]


def to_plain(columns: Iterable[Column]) -> list[dict[str, Any]]:
    """Return columns as plain values.

    Examples
    --------
    >>> to_plain([NumberColumn("mass", 3.5, False)])
    [{'kind': 'number', 'name': 'mass', 'median': 3.5, 'missing': False, 'bins': None, 'others': None, 'unit': '',
      'decimal': '', 'grouped': False}]
    """
    return [{"kind": column.kind, **json.loads(json.dumps(asdict(column)))} for column in columns]


def from_plain(plain: Any) -> tuple[Column, ...]:
    """Return columns from plain values, which may come from a file; refuse others.

    Examples
    --------
    >>> from_plain([{"kind": "left out", "name": "id", "reason": "always 1"}])
    (DroppedColumn(name='id', reason='always 1'),)
    """
    try:
        return tuple(_column_from_plain(**column) for column in plain)
    except (TypeError, ValueError, LookupError) as error:
        raise ArgumentError(f"the columns in its notes are not valid: {truncate(plain, 100)} ({error})") from error


def _column_from_plain(kind: str, **plain: Any) -> Column:
    settings: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in plain.items()
    }
    if bins := settings.get("bins"):
        settings["bins"] = Bins(float(bins["scale"]), tuple(map(float, bins["edges"])))
    return COLUMN_KINDS[kind](**settings)


def _quantiles(values: np.ndarray, n: int) -> np.ndarray:
    """Return the n + 1 values of sorted ones (m,) that cut them into n equal parts."""
    return values[np.rint(np.linspace(0, len(values) - 1, n + 1)).astype(int)]
