"""Cells of a table: numbers, dates and texts, as pandas reads them or written out, as in "1.234,5" or "5.1.2024".

A column is read in one way or refused with the row that does not fit; nothing is guessed. Needs pandas.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from decimal import Decimal
from itertools import product
from numbers import Real
from typing import Any, NamedTuple

import numpy as np

from xpnet._checks import truncate
from xpnet.errors import ArgumentError

TRUTH = {"false": 0, "true": 1}
BLANKS = {"?", "-", "--", "."}  # missing values, in columns of numbers and dates
MOSTLY = 0.5  # a column with at least this part of numbers or dates is one of those, and other texts are mistakes
SAMPLE = 100  # texts among which dates are looked for
DAY = 86_400_000_000  # microseconds
TIMES = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M %p", " %I:%M:%S %p")
DATES = (
    *("%d.%m.%Y", "%d.%m.%y", "%Y/%m/%d", "%Y.%m.%d"),
    *("%d/%m/%Y", "%m/%d/%Y", "%d/%m/%y", "%m/%d/%y", "%d-%m-%Y", "%m-%d-%Y"),
    *("%d %b %Y", "%d %B %Y", "%d-%b-%Y", "%d-%b-%y", "%b %d, %Y", "%B %d, %Y", "%b %d %Y", "%B %d %Y"),
)
FORMATS = tuple(map("".join, product(DATES, TIMES)))
ISO = "ISO8601"  # as pandas calls it
DIGIT = re.compile(r"\d")  # every date has one
DIGITS = re.compile(r"[0-9]+")
CODE = re.compile(r"0[0-9]+")
WHOLE_NUMBER = re.compile(r"-?[0-9]+(\.0)?")
ISO_PATTERN = re.compile(r"\d{4}-\d\d(-\d\d([T ]\d\d:\d\d(:\d\d([.,]\d+)?)?\s*(?P<zone>Z|[+-]\d\d:?\d\d)?)?)?")


def _number_pattern(decimal: str, group: str) -> re.Pattern[str]:
    """Compile the pattern of a number, whose thousands may be separated by `group`, spaces or apostrophes."""
    thousands = rf"[1-9]\d{{0,2}}(?P<group>[{group} \u00a0\u2009\u202f'’])\d{{3}}(?:(?P=group)\d{{3}})*"
    return re.compile(rf"[+\-−]?(?:(?:{thousands}|\d+)(?:[{decimal}]\d*)?|[{decimal}]\d+)(?:[eE][+-]?\d+)?")


PATTERNS = {".": _number_pattern(".", ","), ",": _number_pattern(",", ".")}
OTHER = {".": ",", ",": "."}
STYLES = {".": "points, as in 12.5", ",": "commas, as in 12,5"}


class Marks(NamedTuple):
    """How the numbers of a table are written.

    Parameters
    ----------
    decimal
        The decimal mark, "." or ","; nothing if no text in the table shows it.
    grouped
        Whether the other of these marks separates thousands.
    """

    decimal: str = ""
    grouped: bool = False


class Cells(NamedTuple):
    """The cells of a column.

    Parameters
    ----------
    table, column
        Names, for messages.
    codes
        For each row, the number of its value in `values`; -1 if it has none. None for `numbers`.
    values
        The different values: texts without spaces around them, or dates of pandas.
    numbers
        The values as float64 (n,), NaN if missing, of a column that holds numbers already.
    is_category
        Whether the user has declared the values to be categories, whatever they look like.
    """

    table: str
    column: str
    codes: Any = None
    values: Any = ()
    numbers: Any = None
    is_category: bool = False
    zoned: bool = False  # dates with time zones

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.codes if self.numbers is None else self.numbers)

    @property
    def is_text(self) -> bool:
        """Whether the cells are texts."""
        return self.numbers is None and not hasattr(self.values, "tz")

    def quote(self, value: Any) -> str:
        """Format a value and where it is first."""
        row = int(np.flatnonzero(self.codes == list(self.values).index(value))[0])
        return f"{truncate(value, 40)!r} in {place(row, self.column)}"

    def error(self, value: Any, problem: str) -> ArgumentError:
        """Make an error about a value."""
        return ArgumentError(f"{self.table} holds {self.quote(value)}, {problem}")

    def spread(self, values: Sequence[float] | np.ndarray) -> np.ndarray:
        """Give each row its number, from a number for each of the different values; NaN where it is missing."""
        return np.append(np.asarray(values, np.float64), np.nan)[self.codes]


class Numbers(NamedTuple):
    """A column of numbers; `unit` is "%" or nothing."""

    values: np.ndarray  # (n,), NaN if missing
    unit: str = ""


class Dates(NamedTuple):
    """A column of dates; `format` is nothing where they were not written as texts."""

    values: np.ndarray  # (n,), days since 1970, NaN if missing; in UTC if they have time zones
    format: str = ""
    zoned: bool = False


def place(row: int, column: str) -> str:
    """Format the place of a cell.

    Examples
    --------
    >>> place(0, "mass")
    "row 1 of column 'mass' (rows count from 1, without the header)"
    """
    return f"row {row + 1} of column {column!r} (rows count from 1, without the header)"


def label(value: Any) -> str:
    """Format a value as a text, by itself alone; 1 and 1.0 are the same, and so are a day and its first second.

    Examples
    --------
    >>> label("setosa"), label(np.float32(1)), label(-0.0), label(0.1), label(True), label(datetime(2024, 12, 31))
    ('setosa', '1', '0', '0.1', 'True', '2024-12-31')
    """
    if isinstance(value, (float, np.floating, Decimal)) and value == value // 1:
        return f"{value or 0:.0f}"
    return str(value).removesuffix(" 00:00:00") if isinstance(value, date) else str(value).strip()


def rewrite(text: str) -> str:
    """Write a whole number as pandas does in a file if others in its column are none, or the other way round.

    Examples
    --------
    >>> [rewrite(text) for text in ("8001", "8001.0", "one")]
    ['8001.0', '8001', 'one']
    """
    if WHOLE_NUMBER.fullmatch(text) is None:
        return text
    return text.removesuffix(".0") if text.endswith(".0") else f"{text}.0"


def find_declared(frame: Any) -> list[str]:
    """Find the columns of a pandas DataFrame whose dtype declares categories, ordered ones too.

    Examples
    --------
    >>> import pandas
    >>> find_declared(pandas.DataFrame({"zip": pandas.Categorical([8001, 8050]), "mass": [1.5, 2.5]}))
    ['zip']
    """
    from pandas import CategoricalDtype

    kinds = [getattr(dtype, "type", None) for dtype in frame.dtypes]  # that of a dictionary of Arrow is the same
    return [name for name, kind in zip(frame.columns, kinds) if kind is CategoricalDtype.type]


def open_column(series: Any, table: str, column: str, as_text: bool = False) -> Cells:
    """Read the cells of a column of pandas: numbers and truth values as numbers, dates as dates, others as texts.

    Examples
    --------
    >>> import pandas
    >>> open_column(pandas.Series([" a", None, "a", "b"]), "X", "kind").values
    ['a', 'b']
    """
    import pandas

    if series.dtype.kind in "cm":
        raise ArgumentError(f"{table} holds {series.dtype} in column {column!r}; give numbers, dates or texts")
    if not as_text and pandas.api.types.is_numeric_dtype(series.dtype):
        return Cells(table, column, numbers=series.to_numpy(np.float64, na_value=np.nan))
    try:
        codes, values = pandas.factorize(series)
    except TypeError as error:  # of lists
        raise ArgumentError(f"{table} holds {error} in column {column!r}; give numbers, dates or texts") from error
    cells = Cells(table, column, codes)
    if as_text or not len(values):
        return _merge(cells, [label(value) for value in values])
    if series.dtype.kind == "M" or all(isinstance(value, date) for value in values):
        written = cells._replace(values=[*map(str, values)])
        zoned = _have_zones(written, written.values, [getattr(value, "tzinfo", None) is not None for value in values])
        return cells._replace(values=pandas.to_datetime(pandas.Index(values), utc=True), zoned=zoned)
    are_real = [isinstance(value, (Real, Decimal)) for value in values]
    if all(are_real):
        return Cells(table, column, numbers=cells.spread([float(value) for value in values]))
    texts = [label(value) for value in values]
    if {text.lower() for text in texts} <= TRUTH.keys():
        return Cells(table, column, numbers=cells.spread([TRUTH[text.lower()] for text in texts]))
    if any(are_real) and all(_are_numbers([text for text in texts if text not in BLANKS])):
        # A point of a real number among texts does not separate thousands: 3.428 is written as 3.4280
        texts = [re.sub(r"\.\d+", r"\g<0>0", text) if is_real else text for text, is_real in zip(texts, are_real)]
    return _merge(cells, texts)


def _merge(cells: Cells, texts: Sequence[str]) -> Cells:
    """Make cells of texts of which some are equal, since spaces do not make texts different; empty ones are missing."""
    merged = {text: k for k, text in enumerate(dict.fromkeys(filter(None, texts)))}
    codes = np.array([*(merged.get(text, -1) for text in texts), -1])[cells.codes]
    return cells._replace(codes=codes, values=list(merged))


# Texts that are numbers


def find_decimal(columns: Iterable[Cells]) -> str:
    """Find whether the numbers of a table have decimal points or commas; nothing if no text shows it.

    Raises
    ------
    ArgumentError
        If some can only have points, and others only commas.

    Examples
    --------
    >>> find_decimal([Cells("X", "a", np.arange(2), ["1,5", "2"])])
    ','
    """
    examples: dict[str, Cells] = {}
    for cells in columns:
        if len(fitting := _find_fitting(cells)) == 1:
            examples.setdefault(fitting[0], cells)
    if len(examples) == 2:
        point, comma = (
            cells.quote(next(text for text in cells.values if not _are_numbers([text], other)[0]))
            for cells, other in ((examples["."], ","), (examples[","], "."))
        )
        raise ArgumentError(
            f"{examples['.'].table} has decimal points, as in {point}, and decimal commas, as in {comma}; write all "
            "numbers alike, or leave columns out"
        )
    return next(iter(examples), "")


def find_marks(columns: Iterable[Cells], decimal: str = "") -> Marks:
    """Find how the numbers of a table are written.

    Parameters
    ----------
    columns
        Columns of the table; those that hold numbers written as texts are looked at.
    decimal
        The decimal mark that the rest of the table shows, if these columns do not.

    Raises
    ------
    ArgumentError
        If some can only have decimal points, and others only commas.

    Examples
    --------
    >>> find_marks([Cells("X", "a", np.arange(2), ["1,5", "1.234"])])
    Marks(decimal=',', grouped=True)
    >>> find_marks([Cells("X", "a", np.arange(2), ["1.234", "2.345"])])
    Marks(decimal='.', grouped=False)
    """
    columns = [cells for cells in columns if _find_fitting(cells)]
    texts = [text for cells in columns for text in cells.values if text not in BLANKS]
    if shown := find_decimal(columns) or decimal:
        return Marks(shown, any(OTHER[shown] in text for text in texts))
    return Marks("." if any("." in text for text in texts) else "")


def are_numbers(cells: Cells) -> bool:
    """Tell whether all cells that have a value are numbers, however they are written, and no declared categories.

    Examples
    --------
    >>> are_numbers(Cells("X", "a", np.arange(3), ["1,5", "?", "2"])), are_numbers(Cells("X", "a", [0], ["b"]))
    (True, False)
    """
    return bool(_find_fitting(cells)) or (cells.numbers is not None and not cells.is_category)


def _find_fitting(cells: Cells) -> list[str]:
    """Find the decimal marks with which all texts are numbers; none if they are categories."""
    if cells.is_category or not cells.is_text:
        return []
    texts = _strip_units(cells)[1]
    return [mark for mark in PATTERNS if all(not text or PATTERNS[mark].fullmatch(text) for text in texts)]


def read_cells(cells: Cells, marks: Marks) -> Numbers | Dates | Cells:
    """Read cells as numbers if all of them are, else as dates if all of them are; else leave them, texts.

    Declared categories are texts, and so are numbers with zeros in front, as of postcodes.

    Parameters
    ----------
    cells
        The cells.
    marks
        How the numbers of the table are written.

    Raises
    ------
    ArgumentError
        If at least half of the texts are numbers, or dates, and the others are not; or if the texts can be read in
        two ways.

    Examples
    --------
    >>> read_cells(Cells("X", "a", np.array([0, 1, -1]), ["1.234,5", "2"]), Marks(",", True)).values
    array([1234.5,    2. ,    nan])
    """
    if cells.numbers is not None:
        return read_numbers(cells, marks)
    if not cells.is_text:
        return read_dates(cells, "")
    texts = [text for text in cells.values if text not in BLANKS]
    if cells.is_category or are_codes(texts):
        return cells
    if are_numbers(cells):
        return read_numbers(cells, marks)
    if date_format := find_format(cells, texts):
        return read_dates(cells, date_format)
    if not any(map(CODE.fullmatch, texts)):
        _refuse_mixture(cells, texts)
    return cells


def are_codes(texts: Iterable[str]) -> bool:
    """Tell whether texts are digits, some with zeros in front.

    Examples
    --------
    >>> are_codes(["01067", "80331"]), are_codes(["0", "80331"]), are_codes(["007", "1.5"])
    (True, False, False)
    """
    texts = [*texts]
    return any(map(CODE.fullmatch, texts)) and all(map(DIGITS.fullmatch, texts))


def number_truth(cells: Cells) -> Cells:
    """Write truth values among texts as 1 and 0, which they are in a column of them alone."""
    if not cells.is_text:
        return cells
    return cells._replace(values=[f"{TRUTH.get(text.lower(), text)}" for text in cells.values])


def read_numbers(cells: Cells, marks: Marks, remedy: str = "") -> Numbers:
    """Read cells that must be finite numbers, each by itself; the message for something else ends with `remedy`."""
    unit, texts = _strip_units(cells) if cells.is_text else ("", ["date"] * len(cells.values))
    decimal = marks.decimal or "."
    other = OTHER[decimal]
    for value, text in zip(cells.values, texts):
        if text and not PATTERNS[decimal].fullmatch(text):
            if not PATTERNS[other].fullmatch(text):
                raise cells.error(value, f"which is not a number{remedy and '; '}{remedy}")
            style = f"have decimal {STYLES[decimal]}; write all numbers alike"
            raise cells.error(value, f"but other numbers, here or in training, {style}")
        if other in text and not marks.grouped and PATTERNS[other].fullmatch(text):
            point, comma = (_parse_number(text, mark) for mark in PATTERNS)
            alike = f", and with decimal {STYLES[decimal]}" if marks.decimal else ""
            remedy = f"write numbers without thousands separators{alike}"
            raise cells.error(value, f"which may be {point:g} or {comma:g}; {remedy}")
    values = cells.spread([_parse_number(text, decimal) for text in texts]) if cells.numbers is None else cells.numbers
    if len(infinite := np.flatnonzero(np.isinf(values))):
        row = int(infinite[0])
        raise ArgumentError(f"{cells.table} holds {values[row]} in {place(row, cells.column)}; give finite numbers")
    return Numbers(values, unit)


def _strip_units(cells: Cells) -> tuple[str, list[str]]:
    """Return "%" and the texts without it, if all of them end so; otherwise nothing and the texts. Blanks are ""."""
    texts = ["" if text in BLANKS else text for text in cells.values]
    if any(texts) and all(text.endswith("%") for text in filter(None, texts)):
        return "%", [text.removesuffix("%").strip() for text in texts]
    return "", texts


def _parse_number(text: str, mark: str) -> float:
    if not text:
        return np.nan
    group = PATTERNS[mark].fullmatch(text)["group"]  # type: ignore[index]  # it fits
    return float((text.replace(group, "") if group else text).replace(mark, ".").replace("−", "-"))


# Texts that are dates


def find_format(cells: Cells, texts: Sequence[str]) -> str:
    """Find the format that all of these texts have; nothing if there is none. Refuse what can be read in two ways."""
    if all(map(ISO_PATTERN.fullmatch, texts)):
        return "" if _parse_dates(texts, ISO).isna().any() else ISO
    if not DIGIT.search(texts[0]):  # or each column of words would be parsed a hundred times
        return ""
    formats = [name for name in FORMATS if not _parse_dates(texts[:1], name).isna().any()]
    fitting = {name: dates for name in formats if not (dates := _parse_dates(texts, name)).isna().any()}
    if not fitting:
        return ""
    first, *others = fitting
    for other in others:
        for text, one, two in zip(texts, fitting[first], fitting[other]):
            if one != two:
                raise cells.error(text, "whose day and month cannot be told apart; write dates as in 2024-12-31")
    return first


def read_dates(cells: Cells, date_format: str) -> Dates:
    """Read cells that must be dates; texts in this format, or else all in another that can only be read in one way.

    If some are in this format, all must be: what a text means does not depend on the others.
    """
    if cells.numbers is not None:
        if np.isnan(cells.numbers).all():
            return Dates(cells.numbers)
        raise ArgumentError(f"{cells.table} holds numbers in column {cells.column!r}, which held dates in training")
    if not cells.is_text:
        return Dates(cells.spread(_to_days(cells.values)), zoned=cells.zoned)
    texts = ["" if text in BLANKS else text for text in cells.values]
    present = [text for text in texts if text]
    date_format = date_format or ISO
    if present and _parse_dates(present, date_format).isna().all():
        date_format = find_format(cells, present) or date_format
    parsed = _parse_dates(texts, date_format)
    for text, missing in zip(texts, parsed.isna()):
        if text and missing:
            raise cells.error(text, f"which is not a date as in {example_of(date_format)}")
    matches = [ISO_PATTERN.fullmatch(text) for text in present]
    zoned = _have_zones(cells, present, [match is not None and bool(match["zone"]) for match in matches])
    return Dates(cells.spread(_to_days(parsed)), date_format, zoned)


def _have_zones(cells: Cells, values: Sequence[str], have_zones: Sequence[bool]) -> bool:
    """Tell whether dates have time zones; refuse a column in which only some have."""
    if len({*have_zones}) == 2:
        without, zoned = (values[have_zones.index(has_zone)] for has_zone in (False, True))
        raise cells.error(without, f"without a time zone, and {cells.quote(zoned)}; write all alike")
    return True in have_zones


def _parse_dates(texts: Sequence[str], date_format: str) -> Any:
    """Parse dates, in UTC; what does not fit is missing."""
    import pandas

    texts = [text if DIGIT.search(text) else "" for text in texts]  # pandas takes "now" for a date
    if not any(texts):  # a column of words, for which pandas would take its time
        return pandas.DatetimeIndex([pandas.NaT] * len(texts), tz="UTC")
    return pandas.to_datetime(texts, format=date_format, errors="coerce", utc=True)


def _to_days(dates: Any) -> np.ndarray:
    """Convert dates of pandas to days since 1970, in UTC; NaN if missing."""
    microseconds = dates.tz_convert(None).to_numpy().astype("datetime64[us]")
    return np.where(np.isnat(microseconds), np.nan, microseconds.astype(np.int64) / DAY)


def example_of(date_format: str) -> str:
    """Write a date in a format.

    Examples
    --------
    >>> example_of("%d.%m.%Y %H:%M"), example_of(ISO)
    ('31.12.2024 23:59', '2024-12-31')
    """
    return "2024-12-31" if date_format == ISO else datetime(2024, 12, 31, 23, 59).strftime(date_format)


def _refuse_mixture(cells: Cells, texts: Sequence[str]) -> None:
    """Refuse texts if at least half of the rows hold numbers, or dates: the others are mistakes."""
    counts = dict(zip(cells.values, np.bincount(cells.codes[cells.codes >= 0], minlength=len(cells.values))))
    for kind, some, find in (("numbers", texts, _are_numbers), ("dates", texts[:SAMPLE], _are_dates)):
        fits, weights = find(some), np.array([counts[text] for text in some])
        if weights[fits].sum() >= MOSTLY * weights.sum():
            other = next((text for text, fit in zip(some, fits) if not fit), some[0])
            problem = f"and {kind} that are written otherwise; write all alike, or leave the column out, or take its"
            raise cells.error(other, f"{problem} values as categories")


def _are_numbers(texts: Sequence[str], marks: Iterable[str] = tuple(PATTERNS)) -> np.ndarray:
    texts = [text.removesuffix("%").strip() for text in texts]
    return np.array([not text or any(PATTERNS[mark].fullmatch(text) for mark in marks) for text in texts])


def _are_dates(texts: Sequence[str]) -> np.ndarray:
    return np.any([~_parse_dates(texts, name).isna() for name in (ISO, *FORMATS)], axis=0)
