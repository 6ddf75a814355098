"""Tables: CSV and Parquet files, read by pandas, as features and targets.

Columns are found by name: a network remembers those that it was trained on, in order, and finds them in any other
table, whatever their order there.
"""

import difflib
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from xpnet.wording.checks import choices, install_command, list_names, truncate

SUFFIXES = (".csv", ".csv.gz", ".tsv", ".parquet")
LARGEST_FLOAT = int(np.finfo(np.float64).max)
MOST_CLASSES = 20  # whole numbers with more different values than this are a regression


class Columns(NamedTuple):
    """The columns that a network was trained on.

    Parameters
    ----------
    features
        Names of the features, in the order of the inputs.
    target
        Name of the target.
    labels
        The labels of the classes, in order; empty for a regression.
    """

    features: tuple[str, ...]
    target: str
    labels: tuple[str, ...] = ()

    @classmethod
    def of(cls, feature_names: tuple[str, ...] | None, notes: Mapping[str, Any], n_classes: int) -> "Columns | None":
        """Read the columns from a network's feature names and notes; None if the command did not train it on a table.

        Raises
        ------
        ValueError
            If the notes, which may come from a file, do not fit a network of `n_classes` classes (0 for a regression).

        Examples
        --------
        >>> Columns.of(("a", "b"), {"target": "c", "labels": []}, n_classes=0)
        Columns(features=('a', 'b'), target='c', labels=())
        """
        if feature_names is None or "target" not in notes:
            return None
        target, labels = notes["target"], notes.get("labels", [])
        if not _are_different_texts(labels, n_classes):
            raise ValueError(f"the labels in its notes must be {n_classes} different texts")
        if not isinstance(target, str):
            raise ValueError(f"the target in its notes is {target!r}, but must be a text")
        return cls(feature_names, target, tuple(labels))

    @property
    def notes(self) -> dict[str, Any]:
        """The target and its labels, for a network's notes; the other columns are its `feature_names`."""
        return {"target": self.target, "labels": list(self.labels)}


def is_table(name: str) -> bool:
    """Tell by its name whether a file is a table.

    Examples
    --------
    >>> is_table("iris.csv"), is_table("digits.npz")
    (True, False)
    """
    return name.lower().endswith(SUFFIXES)


class Table(NamedTuple):
    """A table of examples, one in each row.

    Parameters
    ----------
    name
        Its name in error messages.
    frame
        The pandas DataFrame.
    """

    name: str
    frame: Any

    @property
    def names(self) -> list[str]:
        """Names of the columns."""
        return [str(name) for name in self.frame.columns]

    def choose_columns(self, target: str | None, ignore: Sequence[str], task: str | None) -> Columns:
        """Choose the columns to train on: all except the target and those to ignore.

        Parameters
        ----------
        target
            Name of the target.
        ignore
            Names of columns to leave out.
        task
            The task of the network. By default, the target decides: texts are classes, and so are up to 20 different
            whole numbers.
        """
        if target is None:
            raise ValueError(f"{self.name} needs --target, the column to predict; choose from {list_names(self.names)}")
        self._check_has("--target", target)
        for name in ignore:
            self._check_has("--ignore", name)
        features = tuple(name for name in self.names if name != target and name not in ignore)
        if not features:
            raise ValueError(f"{self.name} has no column besides {choices((target, *ignore))} to predict from")
        row_numbers = [name for name in features if name.startswith("Unnamed: ")]
        if row_numbers:
            raise ValueError(
                f"{self.name} has a column without a name, as pandas writes row numbers; leave it out with --ignore "
                f"{row_numbers[0]!r}, or give it a name"
            )
        self._check_complete([target])
        if self._has_classes(target, task):
            return Columns(features, target, self._labels(target))
        return Columns(features, target)

    def features(self, columns: Columns) -> np.ndarray:
        """Return the features (n, n_in), float64; every value must be a finite number."""
        names = list(columns.features)
        available = set(self.names)
        missing = [name for name in names if name not in available]
        if missing:
            raise ValueError(f"{self.name} lacks columns that the network was trained on: {list_names(missing)}")
        return self._numbers(
            names, "leave the column out with --ignore, or make numbers of it, as get_dummies of pandas does"
        )

    def targets(self, columns: Columns) -> np.ndarray:
        """Return the targets (n,): class numbers as int64, or for a regression real numbers as float64."""
        self._check_has("the target", columns.target)
        if not columns.labels:
            return self._numbers([columns.target], "--task regression needs plain numbers, as in 1234.5")[:, 0]
        self._check_complete([columns.target])
        classes = {label: i for i, label in enumerate(columns.labels)}
        texts = [_label(value) for value in self.frame[columns.target].tolist()]
        for row, text in enumerate(texts):
            if text not in classes:
                raise ValueError(
                    f"{self.name} holds {text!r} in {_place(row, columns.target)}, which is not a class of the "
                    f"network; choose from {list_names(columns.labels)}"
                )
        return np.array([classes[text] for text in texts], np.int64)

    def _has_classes(self, target: str, task: str | None) -> bool:
        """Tell whether the target holds classes rather than real numbers."""
        if task == "multilabel":
            raise ValueError(f"--task multilabel needs several targets in an .npz file; {self.name} has one --target")
        if task is not None:
            return task != "regression"
        if not self._has_numbers(target) or self.frame[target].dtype in ("bool", "boolean"):
            return True
        values = np.unique(self.frame[target].to_numpy(np.float64))
        return len(values) <= MOST_CLASSES and bool((values == np.rint(values)).all())

    def _labels(self, target: str) -> tuple[str, ...]:
        """Return the labels of the classes: numbers in increasing order, texts in alphabetical order."""
        values = self.frame[target].tolist()
        labels = tuple(_label(value) for value in sorted(set(values)))
        if len(labels) == 1:
            raise ValueError(f"column {target!r} of {self.name} holds {labels[0]!r} in every row; classes must differ")
        if 2 * len(labels) > max(len(values), 2 * MOST_CLASSES):
            raise ValueError(
                f"column {target!r} of {self.name} holds {len(labels):,} different values in {len(values):,} rows, "
                f"such as {labels[0]!r}, which are too many classes; for real targets give plain numbers, as in "
                "1234.5, and --task regression"
            )
        return labels

    def _check_has(self, role: str, name: str) -> None:
        if name in self.names:
            return
        near = difflib.get_close_matches(name, self.names, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        numbers = all(name.replace(".", "", 1).isdecimal() for name in self.names)
        remedy = "; its first line must hold the names of the columns" if numbers else ""
        raise ValueError(
            f"{self.name} has no column {name!r} for {role}; choose from {list_names(self.names)}{hint}{remedy}"
        )

    def _numbers(self, names: list[str], remedy: str) -> np.ndarray:
        """Return columns (n, k) of finite numbers, float64; the message for any others ends with `remedy`."""
        for name in names:
            self._check_numbers(name, remedy)
        self._check_complete(names)
        numbers = self.frame[names].to_numpy(np.float64)
        if not np.isfinite(numbers).all():
            row, k = np.argwhere(~np.isfinite(numbers))[0]
            raise ValueError(f"{self.name} holds {numbers[row, k]} in {_place(row, names[k])}; give finite numbers")
        return numbers

    def _check_complete(self, names: list[str]) -> None:
        """Refuse missing values."""
        missing = self.frame[names].isna().to_numpy()
        if missing.any():
            row, k = np.argwhere(missing)[0]
            others = f", one of {missing.sum():,} missing values" if missing.sum() > 1 else ""
            raise ValueError(
                f"{self.name} has no value in {_place(row, names[k])}{others}; fill it in, or leave the row out, as "
                "fillna and dropna of pandas do"
            )

    def _has_numbers(self, name: str) -> bool:
        from pandas.api.types import is_complex_dtype, is_numeric_dtype

        dtype = self.frame[name].dtype
        return is_numeric_dtype(dtype) and not is_complex_dtype(dtype)

    def _check_numbers(self, name: str, remedy: str) -> None:
        if self._has_numbers(name):
            return
        import pandas

        column, problem = self.frame[name], f"which is not a number; {remedy}"
        try:
            numbers: Any = pandas.to_numeric(column, errors="coerce")
            wrong = np.flatnonzero(numbers.isna() & column.notna())
            if len(wrong) == 0 and pandas.api.types.infer_dtype(column) == "integer":
                return  # whole numbers of more than 64 bits
        except OverflowError:
            wrong = [row for row, value in enumerate(column) if isinstance(value, int) and abs(value) > LARGEST_FLOAT]
            problem = "which is too large for a number of 64 bits"
        row = wrong[0] if len(wrong) else 0
        value = truncate(column.iloc[row], 40)
        raise ValueError(f"{self.name} holds {value!r} in {_place(row, name)}, {problem}")


def read_table(path: str) -> Table:
    """Read a CSV or Parquet file. The columns of a CSV may be separated by commas, semicolons or tabs."""
    with open(path, "rb"):  # a missing or unreadable file is an OSError that names it
        pass
    try:
        import pandas
    except ImportError as error:
        raise ImportError(f"{path} needs pandas ({error}); install it with: {install_command('tables')}") from error
    is_parquet = path.lower().endswith(".parquet")
    with _explain_errors(path):
        names, separator = (_read_schema(path), "") if is_parquet else _read_header(path)
    _check_names_differ(path, names)
    with _explain_errors(path), warnings.catch_warnings():
        if is_parquet:
            frame = pandas.read_parquet(path, engine="pyarrow")
        else:
            warnings.simplefilter("error", pandas.errors.ParserWarning)  # of values without a name
            frame = pandas.read_csv(path, sep=separator, index_col=False, low_memory=False)
    table = Table(path, frame)
    if len(frame) == 0:
        raise ValueError(f"{path} has no rows below the names of its columns")
    _check_names_differ(path, table.names)  # 1 and "1", in a Parquet file
    frame.columns = table.names
    return table


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
        raise ValueError(f"{path} cannot be read as a table ({error}); give a Parquet file, or CSV in UTF-8") from error


def _read_schema(path: str) -> list[str]:
    """Read the names of the columns of a Parquet file."""
    from pyarrow.parquet import read_schema

    return read_schema(path).names


def _read_header(path: str) -> tuple[list[str], str]:
    """Read the names of the columns of a CSV file, unchanged, and the separator.

    pandas renames columns with equal names, so the header is read as if it were a row of texts.
    """
    import pandas

    def read(separator: str) -> list[str]:
        options: Any = {"header": None, "nrows": 1, "dtype": str, "keep_default_na": False}
        return pandas.read_csv(path, sep=separator, **options).iloc[0].tolist()

    names = read(",")
    separator = next((c for c in ";\t" if len(names) == 1 and c in names[0]), ",")
    return (names if separator == "," else read(separator)), separator


def _check_names_differ(path: str, names: Sequence[str]) -> None:
    """Refuse columns with equal names: a copy of the target would give the answer away."""
    counts = Counter(name.strip() for name in names)
    several = [name for name, number in counts.items() if name and number > 1]
    if several:
        raise ValueError(
            f"{path} has several columns named {list_names(several)}; give each its own name, or leave out all but one"
        )


def _are_different_texts(texts: Any, n: int) -> bool:
    return (
        isinstance(texts, list) and all(isinstance(text, str) for text in texts) and len(texts) == len(set(texts)) == n
    )


def _label(value: Any) -> str:
    """Format a class; 1 and 1.0 are the same.

    Examples
    --------
    >>> _label("setosa"), _label(1.0), _label(True)
    ('setosa', '1', 'True')
    """
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _place(row: int, column: str) -> str:
    return f"row {row + 1} of column {column!r} (rows count from 1, without the header)"
