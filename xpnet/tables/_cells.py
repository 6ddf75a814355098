"""Cells of a table: numbers, dates and texts, as pandas reads them or written out, as in "1.234,5" or "5.1.2024".

A column of training is read as what most of its cells are, and the others stand apart, as texts. Later cells are read
in the same way, or refused with the row that does not fit. Needs pandas.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import chain, compress, product
from math import inf
from numbers import Real
from typing import Any, NamedTuple

import numpy as np

from xpnet._checks import truncate, warn
from xpnet.data.conversion import refuse_masks_and_units
from xpnet.errors import ArgumentError

PLAIN = {int, float, np.int64, np.float64}  # types of numbers that NumPy converts fast
TRUTH = {"false": 0, "true": 1}
MISSING = "NA", "N/A", "n/a", "#N/A", "<NA>", "NULL", "null", "None", "NaN", "nan"  # as pandas reads them in a file
BLANKS = {"?", "-", "--", ".", *MISSING}  # missing values, in columns of numbers and dates
MOSTLY = 0.5  # a column with at least this part of numbers or dates is one of those, and other texts stand apart
SAMPLE = 100  # texts among which formats of dates are looked for
DAY = 86_400_000_000  # microseconds
TIMES = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M %p", " %I:%M:%S %p")
DATES = (
    *("%d.%m.%Y", "%d.%m.%y", "%Y/%m/%d", "%Y.%m.%d"),
    *("%m/%d/%Y", "%d/%m/%Y", "%m/%d/%y", "%d/%m/%y", "%m-%d-%Y", "%d-%m-%Y"),  # months first, as pandas does
    *("%d %b %Y", "%d %B %Y", "%d-%b-%Y", "%d-%b-%y", "%b %d, %Y", "%B %d, %Y", "%b %d %Y", "%B %d %Y"),
)
ISO = "ISO8601"  # as pandas calls it
FORMATS = (ISO, *map("".join, product(DATES, TIMES)), "%b %Y", "%B %Y", "%b-%Y", "%b-%d-%Y")
LONG_FRACTION = re.compile(r"(\.\d{6})\d+")  # of a second
LETTERS = re.compile(r"[^\W\d_]+")
DIGITS = re.compile(r"[0-9]+")
CODE = re.compile(r"0[0-9]+")
CURRENCY = re.compile(r"[A-Z]{0,3}[$€£¥₹₽₩₺₫]|(USD|EUR|GBP|CHF|JPY|CNY|INR|Rs)\b")
CLOCK = re.compile(r"(\d{1,3}):([0-5]\d)(?::([0-5]\d))?(?: ?([AaPp])[Mm])?")
WHOLE_NUMBER = re.compile(r"-?[0-9]+(\.0)?")
ISO_PATTERN = re.compile(r"\d{4}-\d\d(-\d\d([T ]\d\d:\d\d(:\d\d([.,]\d+)?)?\s*(Z|[+-]\d\d:?\d\d)?)?)?")


EXPONENT = r"[eE][+-]?[01]?\d?\d"  # so that numbers are finite


def _number_pattern(decimal: str, group: str) -> re.Pattern[str]:
    """Compile the pattern of a number, whose thousands may be separated by `group`, spaces or apostrophes."""
    thousands = rf"[1-9]\d{{0,2}}(?P<group>[{group} \u00a0\u2009\u202f'’])\d{{3}}(?:(?P=group)\d{{3}}){{0,32}}"
    return re.compile(rf"[+\-−]?(?:(?:{thousands}|\d{{1,99}})(?:[{decimal}]\d*)?|[{decimal}]\d+)(?:{EXPONENT})?")


PATTERNS = {".": _number_pattern(".", ","), ",": _number_pattern(",", ".")}
GROUPED = re.compile(r"-?\d+\.\d{3}")  # also a whole number with decimal commas
ONE_NUMBER = re.compile(  # the only one of a text, and what stands around it
    r"(?P<sign>[+\-−]?)(?P<before>\D*?)(?P<number>(?:(?<!\w)[+\-−])?(?:(?<!\w)[.,])?"
    rf"\d(?:[\d.,'’ \u00a0\u2009\u202f]*\d)?(?:{EXPONENT})?)(?P<after>\D*)"
)
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
        The different values: texts without spaces around them, or dates.
    numbers
        The values as float64 (n,), NaN if missing, of a column that holds numbers already.
    days
        The days since 1970 (n,), NaN if missing, of a column that holds dates already; in UTC if they have time zones.
    is_category
        Whether the user has declared the values to be categories, whatever they look like.
    zoned
        Whether dates have time zones; None: some have.
    reals
        The values that were numbers, whose points are decimal marks.
    """

    table: str
    column: str
    codes: Any = None
    values: Any = ()
    numbers: Any = None
    days: Any = None
    is_category: bool = False
    zoned: bool | None = False
    reals: frozenset[str] = frozenset()

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.codes if self.numbers is None else self.numbers)

    @property
    def is_text(self) -> bool:
        """Whether the cells are texts."""
        return self.numbers is None and self.days is None

    def split(self, text: str) -> tuple[str, str]:
        """Split one of the values as `split_text` does; a real number is written without a decimal mark."""
        if text not in self.reals or "." not in text:
            return split_text(text)
        sign, digits, exponent = Decimal(text).as_tuple()
        return f"{'-' * sign}{''.join(map(str, digits))}e{exponent}", ""

    def tell(self, value: Any, problem: str) -> str:
        """Tell that the table holds a value, where it is first, and the problem with it."""
        row = int(np.flatnonzero(self.codes == list(self.values).index(value))[0])
        return f"{self.table} holds {truncate(value, 40)!r} in {place(row, self.column)}, {problem}"

    def error(self, value: Any, problem: str) -> ArgumentError:
        """Make an error about a value."""
        return ArgumentError(self.tell(value, problem))

    def spread(self, values: Sequence[float] | np.ndarray) -> np.ndarray:
        """Give each row its number, from a number for each of the different values; NaN where it is missing."""
        return np.append(np.asarray(values, np.float64), np.nan)[self.codes]


class Numbers(NamedTuple):
    """A column of numbers."""

    values: np.ndarray  # (n,), NaN if missing
    others: Cells  # texts that stand beside numbers, other than the unit, or in place of them
    unit: str = ""  # what stands beside numbers, such as "%"
    marks: Marks = Marks()


class Dates(NamedTuple):
    """A column of dates; `format` is nothing where they were not written as texts."""

    values: np.ndarray  # (n,), days since 1970, NaN if missing; in UTC if they have time zones
    others: Cells  # texts that stand in place of dates
    format: str = ""
    zoned: bool | None = False  # as of `Cells`
    or_format: str = ""  # another format, which would read them as other dates


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
    if isinstance(value, (float, np.floating, Decimal)) and abs(value) != inf and value == value // 1:
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


def number_texts(texts: Iterable[str]) -> dict[str, int]:
    """Number texts from 0; whole numbers have their number also as `rewrite` writes them.

    Examples
    --------
    >>> number_texts(["8001", "one"])
    {'8001.0': 0, 'one': 1, '8001': 0}
    """
    places = {text: k for k, text in enumerate(texts)}
    return {rewrite(text): k for text, k in places.items()} | places


def find_declared(frame: Any) -> list[str]:
    """Find the columns of a pandas DataFrame whose dtype declares categories, ordered ones too.

    Examples
    --------
    >>> import pandas
    >>> find_declared(pandas.DataFrame({"zip": pandas.Categorical([8001, 8050]), "mass": [1.5, 2.5]}))
    ['zip']
    """
    from pandas import CategoricalDtype

    kind = CategoricalDtype.type  # that of a dictionary of Arrow is the same
    return [name for name, dtype in zip(frame.columns, frame.dtypes) if getattr(dtype, "type", None) is kind]


def open_column(series: Any, table: str, as_text: bool = False) -> Cells:
    """Read the cells of a column of pandas: numbers and truth values as numbers, dates as dates, others as texts.

    Examples
    --------
    >>> import pandas
    >>> open_column(pandas.Series([" a", None, "a", "b"]), "X").values
    ['a', 'b']
    """
    import pandas

    if not as_text and series.dtype.kind != "c" and pandas.api.types.is_numeric_dtype(series.dtype):
        return Cells(table, series.name, numbers=series.to_numpy(np.float64, na_value=np.nan))
    try:
        codes, values = pandas.factorize(series)
    except TypeError:  # of lists
        codes, values = pandas.factorize(series.map(str, na_action="ignore"))
    return _read_values(Cells(table, series.name, codes), [*map(_simplify, values)], as_text)


def open_values(values: Sequence[Any], table: str, column: str, as_text: bool = False) -> Cells:
    """Read the cells of a column of Python's and NumPy's values, without pandas, as `open_column` reads its columns.

    Examples
    --------
    >>> open_values([7, None, 2.5], "X", "mass").numbers
    array([7. , nan, 2.5])
    """
    if not as_text and all(type(value) in PLAIN for value in values):
        return Cells(table, column, numbers=np.array(values, np.float64))
    values = [_simplify(value) for value in values]
    places = {value: k for k, value in enumerate(dict.fromkeys(value for value in values if value is not None))}
    codes = np.array([places.get(value, -1) for value in values])
    return _read_values(Cells(table, column, codes), [*places], as_text)


def _simplify(value: Any) -> Any:
    """Return None for a missing value, days for a duration, and a text for what is no number, date or text."""
    if isinstance(value, (timedelta, np.timedelta64)):
        value = value / np.timedelta64(1, "D")
    if isinstance(value, np.datetime64):
        value = None if np.isnat(value) else value.astype("datetime64[us]").item()
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return None
    if not isinstance(value, (str, Real, Decimal, date, np.generic)):
        refuse_masks_and_units(value, "X")
        value = str(value)
    return value if value == value else None


def _read_values(cells: Cells, values: Sequence[Any], as_text: bool) -> Cells:
    """Read cells of different values as numbers, dates or texts."""
    if as_text or not len(values):
        return _merge(cells, [label(value) for value in values])
    if all(isinstance(value, date) for value in values):
        return cells._replace(values=values, days=cells.spread(_to_days(values)), zoned=_have_zones(values))
    are_real = [isinstance(value, (Real, Decimal)) for value in values]
    if all(are_real):
        return cells._replace(codes=None, numbers=cells.spread([float(value) for value in values]))
    texts = [label(value) for value in values]
    if {text.lower() for text in texts} <= TRUTH.keys():
        return cells._replace(codes=None, numbers=cells.spread([TRUTH[text.lower()] for text in texts]))
    written = {text for text, is_real in zip(texts, are_real) if not is_real and GROUPED.fullmatch(text)}
    texts = [f"{text} " if is_real and text in written else text for text, is_real in zip(texts, are_real)]
    return _merge(cells._replace(reals=frozenset(compress(texts, are_real))), texts)


def _merge(cells: Cells, texts: Sequence[str]) -> Cells:
    """Make cells of texts of which some are equal, since spaces do not make texts different; empty ones are missing."""
    merged = {text: k for k, text in enumerate(dict.fromkeys(filter(None, texts)))}
    codes = np.array([*(merged.get(text, -1) for text in texts), -1])[cells.codes]
    return cells._replace(codes=codes, values=list(merged))


def to_texts(cells: Cells) -> Cells:
    """Write cells as texts.

    Examples
    --------
    >>> to_texts(Cells("X", "a", numbers=np.array([8001.0, 2.5]))).values
    ['2.5', '8001']
    """
    if cells.numbers is not None:
        numbers, codes = np.unique(cells.numbers, return_inverse=True)
        n = np.count_nonzero(~np.isnan(numbers))
        codes, values = np.where(codes < n, codes, -1), [*map(label, numbers[:n])]
        return cells._replace(codes=codes, values=values, numbers=None, reals=frozenset(values))
    return cells if cells.is_text else cells._replace(values=[*map(label, cells.values)], days=None)


def count_rows(cells: Cells, rows: Any = ...) -> np.ndarray:
    """Count the rows, of all or of some, that have each of the values."""
    return np.bincount(np.asarray(cells.codes)[rows] + 1, minlength=len(cells.values) + 1)[1:]


# Texts that are numbers


def split_text(text: str) -> tuple[str, str]:
    """Split a text into its number and what stands around it; nothing and all of it if it has none, or several.

    Clock times are numbers of seconds.

    Examples
    --------
    >>> [split_text(text) for text in ("84+", "< 5 kg", "-$1,200", "DQ", "2015/2016", "?", "14:30")]
    [('84', '+'), ('5', '< kg'), ('-1,200', '$'), ('', 'DQ'), ('', '2015/2016'), ('', ''), ('52200', 's')]
    """
    if text in BLANKS:
        return "", ""
    if clock := CLOCK.fullmatch(text):
        *parts, half = clock.groups()
        hours, minutes, seconds = (int(part or 0) for part in parts)
        if half:
            hours = hours % 12 + 12 * (half in "Pp")
        return f"{3600 * hours + 60 * minutes + seconds}", "s"
    if _find_fitting(text):
        return text, ""
    match = ONE_NUMBER.fullmatch(text)
    number = match["sign"] + match["number"] if match else ""
    if not match or not _find_fitting(number):
        return "", text
    return number, f"{match['before'].strip()} {match['after'].strip()}".strip()


def _find_fitting(text: str) -> list[str]:
    """Find the decimal marks with which a text is a number."""
    return [mark for mark, pattern in PATTERNS.items() if pattern.fullmatch(text)]


class Writing(NamedTuple):
    """How the numbers of a column of texts are written."""

    unit: str  # what stands beside most of them
    numbers: set[str]  # those that have it
    decimals: list[str]  # the decimal marks with which most rows can be read
    is_pure: bool  # whether nothing else is in the column


def find_writing(cells: Cells) -> Writing | None:
    """Find how the numbers of a column of texts are written; None if it is none of numbers.

    It is one if at least half of the rows that have a value have a number with the same beside it. There must be two
    numbers, none with zeros in front, as postcodes have, nor at the end of a name, as in "Room 5".

    Examples
    --------
    >>> find_writing(Cells("X", "a", np.array([0, 1]), ["7,5 kg", "8 kg"]))._replace(numbers=set())
    Writing(unit='kg', numbers=set(), decimals=[','], is_pure=True)
    """
    if cells.is_category or not cells.is_text:
        return None
    pieces = [(text, *cells.split(text), n) for text, n in zip(cells.values, count_rows(cells).tolist())]
    rows = Counter[str]()
    for _, number, beside, n in pieces:
        rows[beside] += n if number else 0
    unit = max(rows, key=rows.__getitem__, default="")
    usual = [(text, number, n) for text, number, beside, n in pieces if number and beside == unit]
    numbers, total = {number for _, number, _ in usual}, sum(n for _, *piece, n in pieces if any(piece))
    fitting = {mark: sum(n for _, number, n in usual if PATTERNS[mark].fullmatch(number)) for mark in PATTERNS}
    most = max(fitting.values())
    writing = Writing(unit, numbers, [mark for mark in PATTERNS if fitting[mark] == most], most == total)
    if writing.is_pure and not unit:
        return None if are_codes(numbers) else writing
    if rows[unit] < MOSTLY * total or len(numbers) < 2 or any(map(CODE.fullmatch, numbers)):
        return None
    text = usual[0][0]
    return None if text[0].isalpha() and not CURRENCY.match(text) else writing


def find_decimal(columns: Iterable[Cells]) -> str:
    """Find whether more columns of numbers show decimal points or commas; nothing if none does.

    Examples
    --------
    >>> find_decimal([Cells("X", "a", np.arange(2), ["1,5", "2"])])
    ','
    """
    return _choose_decimal(filter(None, map(find_writing, columns)))


def _choose_decimal(writings: Iterable[Writing]) -> str:
    shown = Counter(writing.decimals[0] for writing in writings if len(writing.decimals) == 1)
    return max(shown, key=shown.__getitem__, default="")


def find_marks(columns: Iterable[Cells], decimal: str = "") -> Marks:
    """Find how the numbers of a table are written.

    Parameters
    ----------
    columns
        Columns of the table; those that hold numbers written as texts are looked at.
    decimal
        The decimal mark that the rest of the table shows, if these columns do not.

    Warns
    -----
    UserWarning
        If some numbers have decimal points and others commas, or if numbers such as 1,234 may be 1.234 or 1234.

    Examples
    --------
    >>> find_marks([Cells("X", "a", np.arange(2), ["1,5", "1.234"])])
    Marks(decimal=',', grouped=True)
    >>> find_marks([Cells("X", "a", np.arange(2), ["1.234", "2.345"])])
    Marks(decimal='.', grouped=False)
    """
    written = [(cells, writing) for cells in columns if (writing := find_writing(cells))]
    shown = _choose_decimal(writing for _, writing in written) or decimal
    other = OTHER[shown or "."]
    for cells, writing in written:
        text = next((text for text in cells.values if other in cells.split(text)[0]), "")
        if text and shown not in writing.decimals:
            value = _parse_number(split_text(text)[0], ".")
            problem = f"and other columns have decimal {STYLES[shown]}" if shown else f"which is taken as {value:g}"
            warn(cells.tell(text, f"{problem}; write all numbers alike, as in 1234.5"))
    fitting = (writing.numbers for _, writing in written if shown in ("", *writing.decimals))
    signs = {*"".join(chain(*fitting))}
    return Marks(shown or ("." if signs & {*".,"} else ""), other in signs)


def read_cells(cells: Cells, marks: Marks) -> Numbers | Dates | Cells:
    """Read cells as numbers or dates if most of them are; else leave them, texts, as declared categories are.

    Parameters
    ----------
    cells
        The cells.
    marks
        How the numbers of the table are written; a column that shows another decimal mark is read by that.

    Examples
    --------
    >>> read_cells(Cells("X", "a", np.array([0, 1, -1]), ["1.234,5", "2"]), Marks(",", True)).values
    array([1234.5,    2. ,    nan])
    """
    if cells.is_category:
        return cells
    if cells.numbers is not None:
        return read_numbers(cells, marks)
    if not cells.is_text:
        return read_dates(cells)
    if writing := find_writing(cells):
        if marks.decimal not in ("", *writing.decimals):
            marks = find_marks([cells])
        return read_numbers(cells, marks, writing.unit)
    first, second, *_ = [*find_formats(cells), "", ""]
    return read_dates(cells, first)._replace(or_format=second) if first else cells


def are_codes(texts: Collection[str]) -> bool:
    """Tell whether texts are digits, some with zeros in front.

    Examples
    --------
    >>> are_codes(["01067", "80331"]), are_codes(["0", "80331"]), are_codes(["007", "1.5"])
    (True, False, False)
    """
    return any(map(CODE.fullmatch, texts)) and all(map(DIGITS.fullmatch, texts))


def number_truth(cells: Cells) -> Cells:
    """Write truth values among texts as 1 and 0, which they are in a column of them alone."""
    if not cells.is_text:
        return cells
    return cells._replace(values=[f"{TRUTH.get(text.lower(), text)}" for text in cells.values])


def read_numbers(cells: Cells, marks: Marks, unit: str = "", beside: Sequence[str] | None = None) -> Numbers:
    """Read the finite number of each cell that has one alone, or with the unit or one of the texts `beside` it.

    Unless these are given, any text may stand beside a number.
    """
    if cells.numbers is not None and not unit and not np.isinf(cells.numbers).any():
        return Numbers(cells.numbers, Cells(cells.table, cells.column, np.full(cells.n_rows, -1)), unit, marks)
    cells, decimal = to_texts(cells), marks.decimal or "."
    values, others = [], []
    for number, text in map(cells.split, cells.values):
        other = "" if text == unit else text or (number and "no unit")
        if number and not PATTERNS[decimal].fullmatch(number):
            other = f"{other} decimal {OTHER[decimal]}".strip()
        is_known = beside is None or other in ("", *beside)
        values.append(_parse_number(number, decimal) if number and is_known else np.nan)
        others.append(other)
    return Numbers(cells.spread(values), _merge(cells, others), unit, marks)


def require_numbers(cells: Cells, marks: Marks, unit: str = "", remedy: str = "") -> Numbers:
    """Read cells that must be finite numbers, each by itself; the message for something else ends with `remedy`."""
    check_marks(cells, marks, unit)
    numbers = read_numbers(cells, marks, unit)
    if numbers.others.values:
        cells, first = to_texts(cells), np.argmax(numbers.others.codes >= 0)
        with_unit = f" with {unit!r}" if unit else ""
        problem = f"which is not a number{with_unit}{remedy and '; '}{remedy}"
        raise cells.error(cells.values[cells.codes[first]], problem)
    return numbers


def check_marks(cells: Cells, marks: Marks, unit: str) -> None:
    """Refuse texts that are numbers with this unit, but with other marks than these."""
    decimal = marks.decimal or "."
    for text in cells.values if cells.is_text else ():
        number, beside = cells.split(text)
        fitting, other = _find_fitting(number), OTHER[decimal]
        if (
            fitting
            and beside == unit
            and (decimal not in fitting or (other in number and other in fitting and not marks.grouped))
        ):
            style = f"write all with decimal {STYLES[decimal]}, and without thousands separators"
            raise cells.error(text, f"unlike other numbers, here or in training; {style}")


def _parse_number(text: str, decimal: str) -> float:
    """Parse a number by this decimal mark, or by the other one if it does not fit."""
    match = PATTERNS[decimal].fullmatch(text)
    if match is None:
        return _parse_number(text, OTHER[decimal])
    group = match["group"]
    return float((text.replace(group, "") if group else text).replace(decimal, ".").replace("−", "-"))


# Texts that are dates


def find_formats(cells: Cells) -> list[str]:
    """Find the formats in which most texts are dates, which read them differently; none if most texts are no dates.

    Examples
    --------
    >>> find_formats(Cells("X", "a", np.arange(3), ["1/2/2024", "3/4/2024", "soon"]))
    ['%m/%d/%Y', '%d/%m/%Y']
    """
    known = {text: n for text, n in zip(cells.values, count_rows(cells)) if text not in BLANKS}
    texts, counts = [*known], np.array([*known.values()])
    some = texts[:SAMPLE]
    outlines = {*map(_outline, some)}
    likely = [name for name in FORMATS if name == ISO or _outline(example_of(name)) in outlines]
    possible = [name for name in likely if any(_parse_date(text, name) for text in some)]
    readings = {name: _to_days([_parse_date(text, name) for text in texts]) for name in possible}
    weights = {name: counts[~np.isnan(dates)].sum() for name, dates in readings.items()}
    most = max(weights.values(), default=0)
    if not most or most < MOSTLY * counts.sum():
        return []
    first, *others = (name for name in possible if weights[name] == most)
    return [first, *(name for name in others if (np.abs(readings[name] - readings[first]) > 0).any())]


def _outline(text: str) -> str:
    """Return what is left of a text without its digits and letters, as dates of one format have it in common."""
    return LETTERS.sub("a", DIGITS.sub("0", " ".join(text.split())))


def read_dates(cells: Cells, date_format: str = "") -> Dates:
    """Read the cells that are dates; texts in this format, or as in 2024-12-31."""
    if cells.days is not None:
        none = Cells(cells.table, cells.column, np.full(cells.n_rows, -1))
        return Dates(cells.days, none, zoned=cells.zoned)
    cells = to_texts(cells)
    dates = [_parse_date(text, date_format or ISO) for text in cells.values]
    others = _merge(cells, ["" if parsed or text in BLANKS else text for text, parsed in zip(cells.values, dates)])
    return Dates(cells.spread(_to_days(dates)), others, date_format, _have_zones(filter(None, dates)))


def require_dates(cells: Cells, date_format: str) -> Dates:
    """Read cells that must be dates; texts in this format, or else all in another that can only be read in one way.

    If some are in this format, all must be: what a text means does not depend on the others. Nor may days and months
    change places, as only those after the 12th would show it.
    """
    dates = read_dates(cells, date_format)
    if np.isnan(dates.values).all():
        formats = find_formats(to_texts(cells))
        if len(formats) == 1 and _outline(example_of(formats[0])) != _outline(example_of(date_format)):
            dates = read_dates(cells, formats[0])
    for text in dates.others.values:
        raise dates.others.error(text, f"which is not a date as in {example_of(dates.format)}")
    return dates


def _have_zones(dates: Iterable[Any]) -> bool | None:
    """Tell whether dates have time zones; None if some have."""
    kinds = {getattr(each, "tzinfo", None) is not None for each in dates}
    return None if len(kinds) == 2 else True in kinds


def _parse_date(text: str, date_format: str) -> datetime | None:
    """Parse a date, whose fraction of a second is cut to microseconds; None if it does not fit."""
    with suppress(ValueError):
        if date_format != ISO:
            return datetime.strptime(LONG_FRACTION.sub(r"\1", text) if "%f" in date_format else text, date_format)
        if ISO_PATTERN.fullmatch(text):
            text = text if len(text) > len("2024-12") else f"{text}-01"
            return datetime.fromisoformat(text[:11] + "".join(text[11:].split()))
    return None


def _to_days(dates: Sequence[Any]) -> np.ndarray:
    """Convert dates to days since 1970, in UTC; None becomes NaN."""
    local = [each.replace(tzinfo=None) if isinstance(each, datetime) else each for each in dates]
    offsets = [(isinstance(each, datetime) and each.utcoffset()) or timedelta() for each in dates]
    microseconds = np.array(local, "datetime64[us]") - np.array(offsets, "timedelta64[us]")
    return np.where(np.isnat(microseconds), np.nan, microseconds.astype(np.int64) / DAY)


def example_of(date_format: str) -> str:
    """Write a date in a format.

    Examples
    --------
    >>> example_of("%d.%m.%Y %H:%M"), example_of(ISO)
    ('31.12.2024 23:59', '2024-12-31')
    """
    return "2024-12-31" if date_format in ("", ISO) else datetime(2024, 12, 31, 23, 59).strftime(date_format)
