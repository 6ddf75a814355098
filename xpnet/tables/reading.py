"""Tables: CSV and Parquet files, read by pandas, as features and targets.

Columns are found by name: a network remembers those that it was trained on, and how they become its inputs, and finds
them in any other table, whatever their order there.
"""

from __future__ import annotations

import csv
import difflib
import gzip
import io
import re
import shlex
import sys
import warnings
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from xpnet._checks import choices, install_command, list_names
from xpnet.errors import ArgumentError
from xpnet.tables._cells import (
    Cells,
    Marks,
    are_codes,
    are_numbers,
    find_decimal,
    find_declared,
    find_marks,
    find_missing,
    label,
    open_column,
    place,
    read_numbers,
)
from xpnet.tables.columns import (
    CategoryColumn,
    Column,
    DroppedColumn,
    Encoded,
    NumberColumn,
    check_decimal,
    encode_columns,
    from_plain,
    list_words,
    name_inputs,
    open_columns,
    read_frame,
    to_plain,
)

__all__ = ["FILE_KINDS", "Columns", "Features", "Table", "Targets", "describe_preparation", "is_table", "read_table"]


STDIN = "-"
TEXT_SUFFIXES = (".csv", ".tsv", ".txt")
SUFFIXES = (*TEXT_SUFFIXES, *(f"{suffix}.gz" for suffix in TEXT_SUFFIXES), ".parquet")
FILE_KINDS = ".csv, .tsv, .txt, .parquet, or - for standard input"
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars", r"\s+": "spaces"}
HEAD = 2**16  # bytes of a file that show how it is written
FEWEST_NUMBERED = 20  # rows; in fewer, whole numbers that measure something may be close together by chance
ZEROS = re.compile(rb"(?<![\w.:/+-])0[0-9]+(?![\w.:/+-])")  # digits with zeros in front, of which pandas makes numbers
WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")  # in the name of a column, as in rowId, ROW_ID or "row id"
WORDS_FOR_IDS = {"id", "identifier", "index", "key", "no", "nr", "number", "row", "rownames", "rownumber", "serial"}
WORDS_FOR_TIME = {"age", "date", "day", "hour", "month", "quarter", "t", "time", "week", "year"}
MOST_CLASSES = 20  # whole numbers with more different values than this are a regression


class Columns(NamedTuple):
    """The columns that a network was trained on.

    Parameters
    ----------
    features
        The columns that become inputs, in their order, and those that were left out.
    target
        Name of the target.
    labels
        The labels of the classes, in order; empty for a regression.
    unit
        "%" if the targets of a regression were written with it.
    marks
        How the numbers of the table were written.
    """

    features: tuple[Column, ...]
    target: str
    labels: tuple[str, ...] = ()
    unit: str = ""
    marks: Marks = Marks()

    @classmethod
    def of(cls, feature_names: tuple[str, ...] | None, notes: Mapping[str, Any], n_classes: int) -> Columns | None:
        """Read the columns from a network's feature names and notes; None if the command did not train it on a table.

        Raises
        ------
        ArgumentError
            If the notes, which may come from a file, do not fit a network of `n_classes` classes (0 for a regression).

        Examples
        --------
        >>> notes = {"target": "c", "labels": [], "columns": [{"kind": "left out", "name": "a", "reason": "no values"}]}
        >>> Columns.of((), notes, n_classes=0)
        Columns(features=(DroppedColumn(name='a', reason='no values'),), target='c', labels=(), unit='',
                marks=Marks(decimal='', grouped=False))
        """
        if feature_names is None or not {"target", "columns"} <= notes.keys():
            return None
        target, labels, unit = notes["target"], notes.get("labels", []), notes.get("unit", "")
        if not _are_different_texts(labels, n_classes):
            raise ArgumentError(f"the labels in its notes must be {n_classes} different texts")
        if not isinstance(target, str) or not isinstance(unit, str):
            raise ArgumentError(f"the target in its notes is {target!r} in {unit!r}, but both must be texts")
        decimal, grouped = notes.get("decimal", ""), notes.get("grouped", False)
        if not isinstance(grouped, bool):
            raise ArgumentError(f"grouped={grouped!r} in its notes must be true or false")
        check_decimal(decimal)
        features = from_plain(notes["columns"])
        if name_inputs(features) != feature_names:
            raise ArgumentError("the columns in its notes do not make the inputs in its feature_names")
        return cls(features, target, tuple(labels), unit, Marks(decimal, grouped))

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the inputs."""
        return name_inputs(self.features)

    @property
    def texts(self) -> list[str]:
        """Names of the columns to read as texts: 01 is not 1."""
        return [column.name for column in self.features if isinstance(column, CategoryColumn)]

    @property
    def notes(self) -> dict[str, Any]:
        """The columns as plain values, for a network's notes."""
        unit = {"unit": self.unit} if self.unit else {}
        marks = self.marks._asdict() if self.marks.decimal else {}
        return {"target": self.target, "labels": list(self.labels), **unit, **marks, "columns": to_plain(self.features)}


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

    def __getitem__(self, index: Any) -> Features:
        """Return some of the rows."""
        return replace(self, rows=self.rows[index])


@dataclass(frozen=True, eq=False)
class Targets:
    """Targets of rows of a table: the y of `TableClassifier` and `TableRegressor`.

    Parameters
    ----------
    table, column
        Names of the table and of the column.
    all_rows, all_y
        The rows that have a target, by their numbers in the table; and the class of each as int64, or a real number.
    labels
        The labels of the classes, in order; empty for real numbers.
    unit
        "%" if the numbers were written with it.
    index
        Which of them these targets are; None for all.
    """

    table: str
    column: str
    all_rows: np.ndarray
    all_y: np.ndarray
    labels: tuple[str, ...] = ()
    unit: str = ""
    index: np.ndarray | None = None

    def __len__(self) -> int:
        """Count the targets."""
        return len(self.y)

    def __getitem__(self, index: Any) -> Targets:
        """Return some of the targets."""
        return replace(self, index=self.places[index])

    @property
    def places(self) -> np.ndarray:
        """The places of these targets among all."""
        return np.arange(len(self.all_y)) if self.index is None else self.index

    @property
    def rows(self) -> np.ndarray:
        """The rows that have these targets."""
        return self.all_rows[self.places]

    @property
    def y(self) -> np.ndarray:
        """The class, or the number, of each row."""
        return self.all_y[self.places]


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
        The pandas DataFrame.
    written
        How it is written, where that is not obvious.
    decimal
        The decimal mark in the file, if a column shows it.
    points
        Whether pandas has taken points in the file for decimal marks.
    texts
        Columns to write again as they are: a DataFrame of texts.
    """

    name: str
    frame: Any
    written: tuple[str, ...] = ()
    decimal: str | None = None
    points: bool = False
    texts: Any = None

    @property
    def names(self) -> list[str]:
        """Names of the columns."""
        return [str(name) for name in self.frame.columns]

    def choose_features(
        self, target: str | None, ignore: Sequence[str], categories: Sequence[str], group: str | None = None
    ) -> list[str]:
        """Choose the columns to train on: all except the target, those to ignore, and the one of groups."""
        if target is None:
            raise ArgumentError(
                f"{self.name} needs --target, the column to predict; choose from {list_names(self.names)}"
            )
        self.check_has("--target", target)
        groups = [] if group is None else [group]
        for option, names in (("--ignore", ignore), ("--categories", categories), ("--test-group", groups)):
            for name in names:
                self.check_has(option, name)
            if target in names:
                raise ArgumentError(f"{option} names {target!r}, which is the target")
        features = [name for name in self.names if name not in (target, *ignore, *groups)]
        if not features:
            raise ArgumentError(
                f"{self.name} has no column besides {choices((target, *ignore, *groups))} to predict from"
            )
        row_numbers = [name for name in features if name.startswith("Unnamed: ")]
        if row_numbers:
            raise ArgumentError(
                f"{self.name} has a column without a name, as pandas writes row numbers; leave it out with --ignore "
                f"{row_numbers[0]!r}, or give it a name"
            )
        return features

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
            If the table has no such column, if a column equals the target, or if targets cannot be read.
        """
        names = self.choose_features(target, ignore, categories, group)
        cells, target_cells = self.open(names, {*categories, *self.declared}), self.open_target(str(target))
        marks = find_marks([target_cells, *cells.values()], self.decimal, self.points)
        targets = self.read_targets(target_cells, task, marks)
        if copies := [name for name in names if cells[name].equals(target_cells, targets.rows)]:
            raise ArgumentError(
                f"column {copies[0]!r} of {self.name} equals the target in every row, which would give the network the "
                f"answer; leave it out with --ignore {copies[0]!r}"
            )
        left_out = () if group is None else (DroppedColumn(group, "its groups are held out as a whole"),)
        features = Features(self.name, cells, marks, targets.rows, left_out)
        return features, targets, self.read_groups(group, targets.rows)

    def split_names(self, names: Sequence[str]) -> list[str]:
        """Split texts of names with commas between them, unless the text is itself a name."""
        present = set(self.names)
        parts = [[text] if text in present else text.split(",") for text in names]
        return [name.strip() for part in parts for name in part]

    def copy_columns(self, names: Sequence[str]) -> dict[str, list[str]]:
        """Return columns as texts, as they are written in the file; nothing where a value is missing."""
        for name in names:
            self.check_has("--keep", name)
        if self.texts is not None:
            return {name: self.texts[name].tolist() for name in names}
        columns = {name: self.frame[name] for name in names}
        return {
            name: ["" if missing else label(value) for value, missing in zip(column.tolist(), column.isna())]
            for name, column in columns.items()
        }

    @property
    def declared(self) -> list[str]:
        """Names of the columns that a Parquet file declares to be categories."""
        return find_declared(self.frame)

    def open(self, names: Sequence[str], categories: Collection[str] = ()) -> dict[str, Cells]:
        """Read the cells of columns."""
        return open_columns(self.frame[list(names)], self.name, categories)

    def inputs(self, columns: Columns) -> Encoded:
        """Encode the inputs of a network."""
        cells = read_frame(columns.features, self.frame, self.name)
        return encode_columns(columns.features, cells, self.find_marks(columns))

    def targets(self, columns: Columns) -> Targets:
        """Return the targets for a network."""
        self.check_has("the target", columns.target)
        cells = self.open_target(columns.target)
        if columns.labels:
            return self.read_classes(cells, columns.labels)
        targets = self.read_reals(cells, self.find_marks(columns))
        if targets.unit != columns.unit:
            has = ["with %" if unit else "without %" for unit in (targets.unit, columns.unit)]
            raise ArgumentError(f"{self.name} holds targets {has[0]}, and training had them {has[1]}")
        return targets

    def read_groups(self, column: str | None, rows: np.ndarray) -> np.ndarray | None:
        """Return the group of each of `rows`, a text: equal values of a column make a group."""
        if column is None:
            return None
        cells = self.open([column], [column])[column]
        if len(missing := rows[cells.codes[rows] < 0]):
            raise ArgumentError(
                f"{self.name} has no value in {place(int(missing[0]), column)}, and --test-group needs one; fill it "
                "in, or leave the row out"
            )
        return np.array(cells.values, str)[cells.codes[rows]]

    def find_marks(self, columns: Columns) -> Marks:
        """Find how the numbers for a network are written: as in training, if that showed it.

        Raises
        ------
        ArgumentError
            If the table shows that they are written otherwise.
        """
        names = [column.name for column in columns.features if isinstance(column, NumberColumn)]
        names += [] if columns.labels else [columns.target]
        numbers = self.open([name for name in names if name in self.names])
        marks = find_marks(numbers.values(), self.decimal)
        if not columns.marks.decimal:
            return marks._replace(grouped=False)  # 1.234 is not 1234 for the sake of another row
        if columns.marks.decimal == "." and marks == Marks(",", grouped=True):
            _refuse_points(numbers.values())
        if columns.target in numbers and are_numbers(numbers[columns.target]):  # also if no targets are needed
            read_numbers(numbers[columns.target], columns.marks)
        return columns.marks

    def describe_rows(self, targets: Targets, target: str) -> str:
        """Say how many rows are left out, if any are."""
        rows = len(self.frame)
        n = rows - len(targets.rows)
        return f"{n:,} of {rows:,} rows have no {target!r} and are left out" if n else ""

    # The target

    def open_target(self, target: str) -> Cells:
        """Read the cells of the target: numbers, or texts; truth values are texts."""
        from pandas.api.types import is_bool_dtype

        series = self.frame[target]
        cells = open_column(series, self.name, target, not _is_numeric(series) or is_bool_dtype(series.dtype))
        return cells._replace(is_category=target in self.declared)

    def read_targets(self, cells: Cells, task: str | None, marks: Marks) -> Targets:
        """Return the targets to train on: classes or real numbers, as the task or the target itself says."""
        targets = self.read_classes(cells) if self.has_classes(cells, task, marks) else self.read_reals(cells, marks)
        if task == "binary" and len(targets.labels) != 2:
            n = len(targets.labels)
            raise ArgumentError(f"--task binary needs 2 classes, but {cells.column!r} of {self.name} has {n}")
        return targets

    def read_reals(self, cells: Cells, marks: Marks) -> Targets:
        """Return real targets."""
        values = read_numbers(cells, marks, "--task regression needs plain numbers, as in 1234.5")
        rows = self._find_rows(~np.isnan(values.values), cells)
        if len(wrong := np.flatnonzero(np.isinf(values.values))):
            where = place(int(wrong[0]), cells.column)
            raise ArgumentError(f"{self.name} holds {values.values[wrong[0]]} in {where}; give finite numbers")
        return Targets(self.name, cells.column, rows, values.values[rows], (), values.unit)

    def read_classes(self, cells: Cells, labels: Sequence[str] | None = None) -> Targets:
        """Return classes: by these labels, or numbers in increasing order, and texts in alphabetical order."""
        if cells.numbers is not None:
            self.read_reals(cells, Marks())  # which refuses infinity
            rows = self._find_rows(~np.isnan(cells.numbers), cells)
            values, codes = np.unique(cells.numbers[rows], return_inverse=True)
            texts = [label(float(value)) for value in values]
        else:
            rows = self._find_rows(cells.codes >= 0, cells)
            texts = sorted(map(str, cells.values))
            codes = np.array([texts.index(str(value)) for value in cells.values])[cells.codes[rows]]
        if labels is None:
            self._check_classes(texts, len(codes), cells.column)
            return Targets(self.name, cells.column, rows, codes.astype(np.int64), tuple(texts))
        places = {text: k for k, text in enumerate(labels)}
        for row, code in zip(rows.tolist(), codes):
            if texts[code] not in places:
                raise ArgumentError(
                    f"{self.name} holds {texts[code]!r} in {place(row, cells.column)}, which is not a class of the "
                    f"network; choose from {list_names(labels)}"
                )
        numbers = np.array([places[texts[code]] for code in codes], np.int64)
        return Targets(self.name, cells.column, rows, numbers, tuple(labels))

    def has_classes(self, cells: Cells, task: str | None, marks: Marks) -> bool:
        """Tell whether the target holds classes rather than real numbers."""
        if task == "multilabel":
            raise ArgumentError(
                f"--task multilabel needs several targets in an .npz file; {self.name} has one --target"
            )
        if task is not None:
            return task != "regression"
        if not are_numbers(cells):
            return True
        values = np.unique(self.read_reals(cells, marks).y)
        return len(values) <= MOST_CLASSES and bool((values == np.rint(values)).all())

    def check_has(self, role: str, name: str) -> None:
        """Refuse a name that no column has."""
        if name in self.names:
            return
        near = difflib.get_close_matches(name, self.names, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        numbers = all(name.replace(".", "", 1).isdecimal() for name in self.names)
        remedy = "; its first line must hold the names of the columns" if numbers else ""
        raise ArgumentError(
            f"{self.name} has no column {name!r} for {role}; choose from {list_names(self.names)}{hint}{remedy}"
        )

    def _find_rows(self, has_value: np.ndarray, cells: Cells) -> np.ndarray:
        if not has_value.any():
            raise ArgumentError(f"{self.name} has no value in column {cells.column!r}, the target")
        return np.flatnonzero(has_value)

    def _check_classes(self, labels: Sequence[str], n: int, target: str) -> None:
        if len(labels) == 1:
            raise ArgumentError(
                f"column {target!r} of {self.name} holds {labels[0]!r} in every row; classes must differ"
            )
        if 2 * len(labels) > max(n, 2 * MOST_CLASSES):
            raise ArgumentError(
                f"column {target!r} of {self.name} holds {len(labels):,} different values in {n:,} rows, "
                f"such as {labels[0]!r}, which are too many classes; for real targets give plain numbers, as in "
                "1234.5, and --task regression"
            )


def describe_preparation(
    table: Table, features: Features, targets: Targets, columns: Sequence[Column]
) -> Iterator[str]:
    """Say in up to four lines how a table is written, which rows it lacks, and what is done with its columns."""
    written = "; ".join(filter(None, [*table.written, table.describe_rows(targets, targets.column)]))
    if written:
        yield f"Rows: {written}"
    yield from describe_columns(columns, features.cells, targets.rows)
    yield from describe_ids(find_ids(columns, features.cells, targets.rows))


def describe_columns(features: Sequence[Column], cells: Mapping[str, Cells], rows: np.ndarray) -> Iterator[str]:
    """Say in two lines what is done with columns, if anything is: kinds of columns, and missing values in `rows`."""
    words: dict[str, list[str]] = {"number": [], "category": [], "date": [], "left out": []}
    missing: dict[str, list[str]] = {}
    for column in features:
        is_category = isinstance(column, CategoryColumn)
        size = f" ({len(column.inputs)})" if is_category else ""
        reason = f" ({column.reason})" if isinstance(column, DroppedColumn) else ""
        words[column.kind].append(f"{column.name!r}{size}{reason}")
        if isinstance(column, DroppedColumn):
            continue
        n = int(find_missing(cells[column.name], is_category)[rows].sum())
        if n:
            if is_category:
                becomes = "a value of their own" if column.missing else "a rare value"
            else:
                becomes = "the median, marked," if column.missing else "the median"
            missing.setdefault(becomes, []).append(f"{column.name!r} ({n:,})")
    n = len(words["number"])
    if n < len(features):
        parts = [f"{n:,} number{'s' if n > 1 else ''}" if n else ""]
        heads = {"category": "categories", "date": "dates", "left out": "left out"}
        parts += [list_words(head, words[kind]) for kind, head in heads.items()]
        yield f"Columns: {'; '.join(filter(None, parts))}"
    if missing:
        yield f"Missing values become {'; '.join(list_words(f'{value} in', where) for value, where in missing.items())}"


def find_ids(features: Sequence[Column], cells: Mapping[str, Cells], rows: np.ndarray) -> list[str]:
    """Find the columns that seem to number the rows: whole numbers, another one in each of `rows`.

    Real measurements differ in every row too, and so may large whole ones. So a column counts only if its name says
    that it is an id, or if it is no time, and about half of the whole numbers between its smallest and largest occur.
    """
    names = []
    for column in features:
        if not isinstance(column, NumberColumn) or column.unit:
            continue
        values = read_numbers(cells[column.name], Marks(column.decimal, column.grouped)).values[rows]
        n = len(values)
        if n < FEWEST_NUMBERED or (values != np.rint(values)).any() or len(np.unique(values)) < n:  # NaN is not whole
            continue
        words = {word.lower() for word in WORD.findall(column.name)}
        if words & WORDS_FOR_IDS or (np.ptp(values) < 2 * n and not words & WORDS_FOR_TIME):
            names.append(column.name)
    return names


def describe_ids(names: Sequence[str]) -> Iterator[str]:
    """Say in a line which columns seem to number the rows, and how to leave them out, if there are any."""
    if names:
        have = "has" if len(names) == 1 else "have"
        remedy = " ".join(f"--ignore {shlex.quote(name)}" for name in names)
        yield (
            f"{list_words('Like an id,', [*map(repr, names)])} {have} another whole number in every row: if that says "
            f"nothing about new rows, add {remedy}"
        )


# Reading


def read_table(path: str, texts: Sequence[str] = (), decimal: str = "", keep: Sequence[str] = ()) -> Table:
    """Read a CSV or Parquet file, or standard input; the columns `texts` of a CSV are read as texts.

    Commas, semicolons, tabs, vertical bars or spaces separate the columns of a CSV. Its numbers are left as texts if
    they have decimal commas, or if training had: `decimal` is the mark of training. The columns `keep` are read once
    more, as they are written.
    """
    if path != STDIN:
        with open(path, "rb"):  # a missing or unreadable file is an OSError that names it
            pass
    try:
        import pandas
    except ImportError as error:
        raise ImportError(f"{path} needs pandas ({error}); install it with: {install_command('tables')}") from error
    name = "standard input" if path == STDIN else path
    if path.lower().endswith(".parquet"):
        with _explain_errors(path):
            names, declared = _read_schema(path)
        _check_names_differ(path, names)
        with _explain_errors(path):
            frame = pandas.read_parquet(path, engine="pyarrow")
            table = Table(name, frame.astype({column: "category" for column in declared if column in frame}))
    else:
        table = _read_text(path, name, texts, decimal, keep)
    frame = table.frame
    if len(frame) == 0:
        raise ArgumentError(f"{name} has no rows below the names of its columns")
    names = [str(column).strip() for column in frame.columns]
    _check_names_differ(name, names)  # 1 and "1", in a Parquet file
    frame.columns = names
    return table


def _read_text(path: str, name: str, texts: Sequence[str], decimal: str, keep: Sequence[str]) -> Table:
    """Read a file of text."""
    content = sys.stdin.buffer.read() if path == STDIN else None
    with _explain_errors(name):
        encoding, lines = _read_head(path, content)
        separator = _find_separator(lines)

        def read(**options: Any) -> Any:
            import pandas

            source: Any = path if content is None else io.BytesIO(content)
            options = {"sep": separator, "encoding": encoding, "skipinitialspace": True, **options}
            if tuple(map(int, pandas.__version__.split(".")[:2])) < (3, 1):  # whose own way gets many last digits wrong
                options["float_precision"] = "round_trip"
            with warnings.catch_warnings():
                warnings.simplefilter("error", pandas.errors.ParserWarning)  # of values without a name
                return pandas.read_csv(source, **options)

        # pandas renames columns with equal names, so the header is read as if it were a row of texts
        header = read(header=None, nrows=1, dtype=str, keep_default_na=False).iloc[0].tolist()
    _check_names_differ(name, header)
    with _explain_errors(name):
        options: dict[str, Any] = {"index_col": False, "low_memory": False}
        frame = read(**options, dtype={column: str for column in header if column.strip() in texts})
        copies = None
        if keep:
            columns = [k for k, column in enumerate(frame.columns) if column.strip() in keep]
            copies = read(**options, dtype=str, na_filter=False, usecols=columns).rename(columns=str.strip)
    obvious = "\t" if path.lower().endswith((".tsv", ".tsv.gz")) else ","
    written = [f"columns are separated by {SEPARATORS[separator]}"] if separator != obvious else []
    if encoding == "utf-16":
        written.append("texts are UTF-16")
    shown, points = _find_decimal(frame, name), _has_fractions(frame)
    if "," in (shown, decimal):
        points = False
        with _explain_errors(name):  # as texts: pandas would also take 1.5 for 15
            frame = read(**options, dtype=str)
        written.append("numbers have decimal commas")
    elif encoding == "utf-16" or ZEROS.search(_read_bytes(path) if content is None else content):
        whole = [k for k, column in enumerate(frame) if _is_numeric(frame[column]) and not (frame[column] % 1).any()]
        copied = read(**options, dtype=str, usecols=whole) if whole else {}
        frame = frame.assign(
            **{column: copied[column] for column in copied if are_codes(copied[column].dropna().tolist())}
        )
    return Table(name, frame, tuple(written), shown, points, copies)


def _read_bytes(path: str) -> bytes:
    with (gzip.open if path.lower().endswith(".gz") else open)(path, "rb") as file:
        return file.read()


def _read_head(path: str, content: bytes | None) -> tuple[str, list[str]]:
    """Find the encoding of a file, and read its first lines."""
    if content is None:
        with (gzip.open if path.lower().endswith(".gz") else open)(path, "rb") as file:
            head = file.read(HEAD)
    else:
        head = content[:HEAD]
    encoding = "utf-16" if head.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    text = head.decode(encoding, errors="ignore")  # pandas refuses what is no text
    lines = re.split(r"\r\n|\r|\n", text)  # and not at the marks of lines in texts, as splitlines does
    return encoding, [line for line in (lines[:-1] if len(head) == HEAD else lines) if line.strip()]


def _find_separator(lines: list[str]) -> str:
    """Find the separator: the one that splits all lines into as many fields as the first."""
    counts = {}
    for separator in SEPARATORS:
        if separator == r"\s+":
            counts[separator] = [len(line.split()) for line in lines]
        else:
            counts[separator] = [len(row) for row in csv.reader(lines, delimiter=separator, skipinitialspace=True)]
    possible = [separator for separator, numbers in counts.items() if numbers and numbers[0] > 1]
    if len(possible) > 1 and r"\s+" in possible:  # names with spaces
        possible.remove(r"\s+")
    fitting = [separator for separator in possible if len(set(counts[separator])) == 1]
    if len(fitting) > 1:
        fitting = [separator for separator in fitting if _keeps_quotes(lines, separator)] or fitting
    if len(fitting) > 1:
        words = " or ".join(SEPARATORS[separator] for separator in fitting)
        raise ArgumentError(
            f"its columns may be separated by {words}; put quotes around names and texts with such marks"
        )
    return (fitting or [separator for separator in possible if separator != r"\s+"] or [","])[0]


def _keeps_quotes(lines: list[str], separator: str) -> bool:
    """Tell whether every text in quotes is a whole field."""
    try:
        return bool([*csv.reader(lines, delimiter=separator, skipinitialspace=True, strict=True)])
    except csv.Error:
        return False


def _find_decimal(frame: Any, name: str) -> str | None:
    """Find the decimal mark of a file as pandas reads it: a comma if a column of texts can only be such numbers.

    A number with other than three decimal places shows a point.
    """
    marks = [
        find_decimal([open_column(frame[column], name, column)]) for column in frame if not _is_numeric(frame[column])
    ]
    if "," in marks:
        return ","
    for column in frame.select_dtypes("float"):
        numbers = frame[column].dropna().head(1000).tolist()
        if any(not number.is_integer() and not re.search(r"\.\d{3}$", repr(number)) for number in numbers):
            return "."
    return "." if "." in marks else None


def _refuse_points(columns: Iterable[Cells]) -> None:
    """Refuse numbers with points in a file with decimal commas; there, the points separate thousands."""
    for cells in columns:
        with_points = [value for value in cells.values if "." in value] if cells.is_text and are_numbers(cells) else []
        if with_points:
            problem = "in a file with decimal commas, but training had points; write all alike"
            raise cells.error(with_points[0], problem)


def _has_fractions(frame: Any) -> bool:
    """Tell whether pandas has read numbers that are not whole."""
    columns = [frame[column].to_numpy() for column in frame.select_dtypes("float")]
    return any(bool((np.isfinite(numbers) & (numbers != np.floor(numbers))).any()) for numbers in columns)


def _is_numeric(series: Any) -> bool:
    from pandas.api.types import is_numeric_dtype

    return is_numeric_dtype(series.dtype)


@contextmanager
def _explain_errors(path: str) -> Iterator[None]:
    """Add the name of the file and the remedy to errors of pandas and pyarrow."""
    import pandas

    try:
        yield
    except ImportError as error:
        reason = " ".join(str(error).split())
        raise ImportError(f"{path} needs pyarrow ({reason}); install it with: {install_command('tables')}") from error
    except (ValueError, OSError, EOFError, pandas.errors.ParserWarning) as error:
        is_ragged = isinstance(error, (pandas.errors.ParserError, pandas.errors.ParserWarning))
        remedy = "each row needs as many cells as the header" if is_ragged else "give a Parquet file, or CSV in UTF-8"
        raise ArgumentError(f"{path} cannot be read as a table ({' '.join(str(error).split())}); {remedy}") from error


def _read_schema(path: str) -> tuple[list[str], list[str]]:
    """Read the names of the columns of a Parquet file, and which were categories in pandas: Arrow keeps texts alone."""
    from pyarrow.parquet import read_schema

    schema = read_schema(path)
    columns = (schema.pandas_metadata or {}).get("columns", [])
    return schema.names, [column["name"] for column in columns if column.get("pandas_type") == "categorical"]


def _check_names_differ(path: str, names: Sequence[str]) -> None:
    """Refuse columns with equal names: a copy of the target would give the answer away."""
    counts = Counter(name.strip() for name in names)
    several = [name for name, number in counts.items() if name and number > 1]
    if several:
        raise ArgumentError(
            f"{path} has several columns named {list_names(several)}; give each its own name, or leave out all but one"
        )


def _are_different_texts(texts: Any, n: int) -> bool:
    return (
        isinstance(texts, list) and all(isinstance(text, str) for text in texts) and len(texts) == len(set(texts)) == n
    )
