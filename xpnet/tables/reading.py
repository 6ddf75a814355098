"""Tables from files: CSV and Parquet, read by pandas, as features and targets.

Columns are found by name: a network remembers those that it was trained on, and how they become its inputs, and finds
them in any other table, whatever their order there.
"""

import csv
import gzip
import io
import re
import sys
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from xpnet._checks import install_command, list_names, warn
from xpnet.errors import ArgumentError
from xpnet.tables._cells import (
    Cells,
    Marks,
    Writing,
    are_codes,
    find_decimal,
    find_declared,
    find_marks,
    find_writing,
    label,
    open_column,
    place,
    read_numbers,
    require_numbers,
)
from xpnet.tables.columns import (
    Column,
    DroppedColumn,
    Encoded,
    Encoding,
    find_column,
    group_parts,
    make_different,
    open_columns,
)

__all__ = ["FILE_KINDS", "Features", "Table", "Targets", "describe_columns", "is_table", "read_table"]


STDIN = "-"
SUFFIXES = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz", ".parquet")
FILE_KINDS = ".csv, .tsv, .txt, .parquet, or - for standard input"
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
HEAD = 2**16  # characters of a file that show how it is written
ZEROS = re.compile(r"(?<![\w.:/+-])0[0-9]+(?![\w.:/+-])")  # digits with zeros in front, of which pandas makes numbers
MOST_CLASSES = 20  # whole numbers with more different values than this are a regression


@dataclass(frozen=True, eq=False)
class Features:
    """Rows of a table as they are written, without its target: the X of `TableClassifier` and `TableRegressor`.

    Parameters
    ----------
    table
        Name of the table.
    cells
        The columns, with the cells of all rows.
    marks
        How numbers are written.
    rows
        The rows that these are, by their numbers in the table, from 0.
    left_out
        Columns that are no inputs, with the reason.
    """

    table: str
    cells: Mapping[str, Cells]
    marks: Marks
    rows: np.ndarray
    left_out: tuple[DroppedColumn, ...] = ()

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.rows)

    def __getitem__(self, index: Any) -> "Features":
        """Return some of the rows."""
        return replace(self, rows=self.rows[index])


@dataclass(frozen=True, eq=False)
class Targets:
    """Targets of rows of a table: the y of `TableClassifier` and `TableRegressor`.

    Parameters
    ----------
    table, column
        Names of the table and of the column.
    rows
        The rows that have these targets, by their numbers in the table, from 0.
    y
        The class of each row as int64, or a real number.
    labels
        The labels of the classes, in order; empty for real numbers.
    unit
        What stands beside the numbers in the table.
    """

    table: str
    column: str
    rows: np.ndarray
    y: np.ndarray
    labels: tuple[str, ...] = ()
    unit: str = ""

    def __len__(self) -> int:
        """Count the targets."""
        return len(self.y)

    @property
    def values(self) -> np.ndarray:
        """The labels, or the numbers, themselves."""
        return np.array(self.labels, object)[self.y] if self.labels else self.y

    def __getitem__(self, index: Any) -> "Targets":
        """Return some of the targets."""
        return replace(self, rows=self.rows[index], y=self.y[index])


def is_table(name: str) -> bool:
    """Tell by its name whether a file is a table.

    Examples
    --------
    >>> is_table("iris.csv"), is_table("-"), is_table("digits.npz")
    (True, True, False)
    """
    return name == STDIN or name.lower().endswith(SUFFIXES)


class Table(NamedTuple):
    """A table of examples, one in each row.

    Parameters
    ----------
    name
        Its name in error messages.
    frame
        The pandas DataFrame, whose columns have texts as names.
    decimal
        The decimal mark in the file; nothing if no column shows it.
    """

    name: str
    frame: Any
    decimal: str = ""

    def split(
        self,
        target: str | None,
        *,
        ignore: Sequence[str] = (),
        categories: Sequence[str] = (),
        group: str | None = None,
        task: str | None = None,
    ) -> tuple[Features, Targets, np.ndarray | None]:
        """Split the rows that have a target into the columns to predict from, the targets, and the groups of the rows.

        Parameters
        ----------
        target
            The column to predict.
        ignore
            Columns to leave out.
        categories
            Columns whose values are categories, though they are numbers or dates.
        group
            A column whose equal values make a group; it is left out.
        task
            The task; by default, the targets decide.

        Raises
        ------
        ArgumentError
            If the table has no such column, or if targets cannot be read.
        """
        if target is None:
            raise ArgumentError(
                f"{self.name} needs --target, the column to predict; choose from {list_names([*self.frame])}"
            )
        groups = [] if group is None else [group]
        options = {"--target": [target], "--ignore": ignore, "--categories": categories, "--test-group": groups}
        for option, chosen in options.items():
            self.check_has(option, chosen)
        names = [name for name in self.frame if name not in (target, *ignore, group)]
        cells = open_columns(self.frame[names], self.name, {*categories, *find_declared(self.frame)})
        target_cells = self._open_target(target)
        marks = find_marks([target_cells, *cells.values()], self.decimal)
        writing = find_writing(target_cells)
        if _has_classes(target_cells, writing, task, marks):
            targets = self._read_classes(target_cells)
        else:
            targets = self._read_reals(target_cells, marks, writing.unit if writing else "")
        if np.ptp(targets.y) == 0:
            always = f"column {target!r} of {self.name} holds {targets.values[0]!s} in every row"
            raise ArgumentError(f"{always}; give a target whose values differ")
        known = self.frame.iloc[targets.rows]
        copies = [name for name in names if known[name].equals(known[target])]
        left_out = [DroppedColumn(name, "it equals the target in every row") for name in copies]
        own = None
        if group is not None:
            left_out.append(DroppedColumn(group, "its groups are held out as a whole"))
            own = known[group].to_numpy()
            if len(without := targets.rows[known[group].isna()]):
                raise ArgumentError(
                    f"{self.name} has no value in {place(without[0], group)}, whose groups are held out as a whole; "
                    "give each row one"
                )
        cells = {name: column for name, column in cells.items() if name not in copies}
        return Features(self.name, cells, marks, targets.rows, tuple(left_out)), targets, own

    def copy_columns(self, names: Sequence[str]) -> dict[str, list[str]]:
        """Return columns as texts; nothing where a value is missing."""
        self.check_has("--keep", names)
        frame = self.frame
        return {
            name: ["" if missing else label(value) for value, missing in zip(frame[name].tolist(), frame[name].isna())]
            for name in names
        }

    def encode(self, columns: tuple[Column, ...]) -> Encoded:
        """Encode the inputs of a network."""
        encoding = Encoding(columns)
        return encoding.encode(encoding.open_frame(self.frame, self.name), self.decimal)

    def read_targets(self, notes: Mapping[str, Any], labels: Sequence[str]) -> Targets:
        """Return the targets of a network with these notes: classes with these labels, or numbers."""
        self.check_has("the target", [notes["target"]])
        cells = self._open_target(notes["target"])
        if labels:
            return self._read_classes(cells, labels)
        marks = Marks(notes.get("decimal", ""), notes.get("grouped", False))
        marks = marks if marks.decimal else find_marks([cells], self.decimal)
        return self._read_reals(cells, marks, notes.get("unit", ""))

    def describe_rows(self, targets: Targets) -> Iterator[str]:
        """Say how many rows are left out, if any are."""
        if n := len(self.frame) - len(targets):
            yield f"{n:,} of {len(self.frame):,} rows have no {targets.column!r} and are left out"

    def check_has(self, role: str, names: Sequence[str]) -> None:
        """Refuse names that no column has."""
        for name in names:
            if name not in self.frame:
                near = find_column(name, [*self.frame])
                hint = f" (did you mean {near!r}?)" if near else ""
                raise ArgumentError(
                    f"{self.name} has no column {name!r} for {role}; choose from {list_names([*self.frame])}{hint}"
                )

    # The target

    def _open_target(self, target: str) -> Cells:
        """Read the cells of the target: numbers, or texts; truth values are texts."""
        series = self.frame[target]
        cells = open_column(series, self.name, as_text=not _is_numeric(series))
        return cells._replace(is_category=target in find_declared(self.frame))

    def _read_reals(self, cells: Cells, marks: Marks, unit: str) -> Targets:
        """Return real targets."""
        remedy = "--task regression needs plain numbers, as in 1234.5; rows whose cell is empty are left out"
        numbers = require_numbers(cells, marks, unit, remedy)
        return replace(self._make_targets(cells.column, numbers.values), unit=unit)

    def _read_classes(self, cells: Cells, labels: Sequence[str] = ()) -> Targets:
        """Return classes: by these labels, or numbers in increasing order, and texts in alphabetical order."""
        series = self.frame[cells.column]
        if self.decimal == "," and not any("," in label for label in labels):  # 1,0 is the class 1, as 1.0 is
            series = series.str.replace(r"^(-?\d+),0*$", r"\1", regex=True)
        classes = open_column(series, self.name, as_text=True)
        if not labels:
            labels = sorted(classes.values, key=str if cells.is_text else float)
            self._check_classes(classes, labels)
        places = {text: k for k, text in enumerate(labels)}
        for text in classes.values:
            if text not in places:
                problem = f"which is not a class of the network; choose from {list_names(labels)}"
                raise classes.error(text, problem)
        return self._make_targets(cells.column, classes.spread([places[text] for text in classes.values]), labels)

    def _make_targets(self, column: str, values: np.ndarray, labels: Sequence[str] = ()) -> Targets:
        """Return the targets of the rows that have one."""
        rows = np.flatnonzero(~np.isnan(values))
        if not len(rows):
            raise ArgumentError(f"{self.name} has no value in column {column!r}, the target")
        return Targets(self.name, column, rows, values[rows].astype(np.int64 if labels else np.float64), tuple(labels))

    def _check_classes(self, classes: Cells, labels: Sequence[str]) -> None:
        if 2 * len(labels) > max(n := int(np.count_nonzero(classes.codes >= 0)), 2 * MOST_CLASSES):
            if writing := find_writing(classes):
                shown = self.decimal if self.decimal in writing.decimals else writing.decimals[0]
                self._read_reals(classes, Marks(shown, grouped=True), writing.unit)
            problem = f"one of {len(labels):,} different values in {n:,} rows, which are too many classes"
            raise classes.error(labels[0], f"{problem}; for real targets give plain numbers, as in 1234.5")


def _has_classes(cells: Cells, writing: Writing | None, task: str | None, marks: Marks) -> bool:
    """Tell whether the target holds classes rather than real numbers."""
    are_numbers = writing.is_pure if writing else cells.numbers is not None and not cells.is_category
    if task is not None or not are_numbers:
        return task != "regression"
    values = np.unique(read_numbers(cells, marks).values)  # of any unit
    values = values[~np.isnan(values)]
    return len(values) <= MOST_CLASSES and bool((values == np.rint(values)).all())


def describe_columns(columns: Sequence[Column]) -> str:
    """Count the columns of each kind, whose parts may be of several.

    Examples
    --------
    >>> describe_columns([DroppedColumn("id", "always 1")])
    'left out (1)'
    """
    kinds = Counter(" and ".join(dict.fromkeys(part.kind for part in parts)) for parts in group_parts(columns).values())
    return ", ".join(f"{kind} ({n:,})" for kind, n in kinds.items())


# Reading


def read_table(path: str, texts: Sequence[str] = (), decimal: str = "") -> Table:
    """Read a CSV or Parquet file, or standard input.

    Commas, semicolons, tabs or vertical bars separate the columns of a CSV. Its numbers are left as texts if they have
    decimal commas, or if training had.

    Parameters
    ----------
    path
        The file; "-" for standard input.
    texts
        Columns of a CSV to read as texts.
    decimal
        The decimal mark of the training.

    Raises
    ------
    ArgumentError
        If it cannot be read, or has no rows.
    """
    name = "standard input" if path == STDIN else path
    try:
        import pandas

        if path.lower().endswith(".parquet"):
            table = Table(name, pandas.read_parquet(path, engine="pyarrow"))
        else:
            table = _read_csv(path, name, texts, decimal)
    except ImportError as error:
        reason = " ".join(str(error).split())
        raise ImportError(f"{path} needs pandas and pyarrow ({reason}); {install_command('tables')}") from error
    except ArgumentError:
        raise
    except (ValueError, EOFError, Warning) as error:
        raise ArgumentError(
            f"{name} cannot be read as a table ({' '.join(str(error).split())}); give a Parquet file, or CSV in UTF-8 "
            "with as many cells in each row as in the header"
        ) from error
    frame = table.frame
    if len(frame) == 0:
        raise ArgumentError(f"{name} has no rows below the names of its columns")
    frame.columns = make_different(str(column).strip() for column in frame.columns)
    return table


def _read_csv(path: str, name: str, texts: Sequence[str], decimal: str) -> Table:
    import pandas

    if path == STDIN:
        content = sys.stdin.buffer.read()
    else:
        with (gzip.open if path.lower().endswith(".gz") else open)(path, "rb") as file:
            content = file.read()
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        content = content.decode("utf-16").encode()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("cp1252")
        warn(f"{name} is not in UTF-8; its letters are read as those of Windows, cp1252")
    separator = _find_separator(text if len(text) <= HEAD else text[:HEAD].rpartition("\n")[0], name)
    content = text.encode()

    # The own way of older versions gets many last digits wrong
    is_old = tuple(map(int, pandas.__version__.split(".")[:2])) < (3, 1)

    def read(**options: Any) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pandas.errors.ParserWarning)  # of values without a name
            return pandas.read_csv(
                io.BytesIO(content),
                sep=separator,
                index_col=False,
                skipinitialspace=True,
                low_memory=False,
                float_precision="round_trip" if is_old else None,
                **options,
            )

    frame = read(dtype={column: str for column in read(nrows=0) if column.strip() in texts})
    others = (column for column in frame if column.strip() not in texts and not _is_numeric(frame[column]))
    shown = find_decimal(open_column(frame[column], name) for column in others)
    if "," in (shown, decimal):  # as texts: pandas would also take 1.5 for 15
        return Table(name, read(dtype=str), ",")
    if ZEROS.search(text):
        copies = read(dtype=str)
        numbers = frame.select_dtypes("number")
        frame = frame.assign(**{column: copies[column] for column in numbers if are_codes(copies[column].dropna())})
    if any((frame[column].dropna() % 1).any() for column in frame.select_dtypes("float")):  # numbers as in 1.5
        return Table(name, frame, ".")
    return Table(name, frame, shown)


def _find_separator(text: str, name: str) -> str:
    """Find the separator of the columns: the one that splits all lines into as many fields as the first."""
    counts = {mark: _count_fields(text, mark) for mark in SEPARATORS}
    possible = [mark for mark, numbers in counts.items() if numbers and numbers[0] > 1]
    fitting = [mark for mark in possible if len({*counts[mark]}) == 1]
    if len(fitting) > 1:
        words = " or ".join(SEPARATORS[mark] for mark in fitting)
        raise ArgumentError(f"the columns of {name} may be separated by {words}; put quotes around texts with these")
    return [*fitting, *possible, ","][0]


def _count_fields(text: str, separator: str) -> list[int]:
    """Count the fields of each line; nothing if quotes are within a field."""
    lines, counts = [*io.StringIO(text, newline=None)], list[int]()
    rows = csv.reader(lines, delimiter=separator, skipinitialspace=True, strict=True)
    try:
        counts.extend(len(row) for row in rows if row)
    except csv.Error:
        if rows.line_num < len(lines):  # otherwise, the text ends within quotes
            return []
    return counts


def _is_numeric(series: Any) -> bool:
    """Tell whether pandas has read numbers, which truth values are not."""
    return series.dtype.kind in "iuf"
