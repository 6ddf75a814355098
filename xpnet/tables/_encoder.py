"""`TableEncoder`: turns a table of numbers, texts and dates into the inputs of a network."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from xpnet._checks import count, in_range, install_command, list_names, warn
from xpnet.backends import to_host
from xpnet.data.conversion import refuse_masks_and_units
from xpnet.errors import ArgumentError
from xpnet.network.ensemble import Ensemble
from xpnet.network.network import Network
from xpnet.tables._cells import find_declared, find_marks
from xpnet.tables._statistics import Goal
from xpnet.tables.columns import (
    Column,
    Encoded,
    Encoding,
    Limits,
    add_statistics,
    find_inputs,
    from_plain,
    learn_columns,
    make_different,
    name_inputs,
    open_columns,
    to_plain,
)
from xpnet.tables.reading import Features

CHECKS: dict[str, Any] = {"dtype": None, "ensure_all_finite": "allow-nan"}  # by scikit-learn, of arrays


class TableEncoder(TransformerMixin, BaseEstimator):
    """Turn a table into numbers for a network: the columns of texts one-hot, dates as numbers, missing values filled.

    This is what ``xpnet train`` does with a table. Numbers and dates stay as they are, so give the network
    ``standardize=True``. With `bins`, all columns are small, and the network learns better if it does not scale them.

    - **Numbers** have their median in place of missing values, and a second column that marks these, if there are any
      in training. Texts such as "1.234,5" or "12 kg" are numbers if at least half in the column are, unless they are
      digits with zeros in front of some, as in "01067". What stands beside the others or in place of them, such as the
      "+" of "84+" or "unknown", becomes one-hot.
    - **Texts** become one-hot: a column for each value, one for missing values, and one for rare values, which unknown
      ones share. If there are no rare values in training, unknown ones are 0 in all columns.
    - **Dates** become days since 1970, filled as numbers are, and sine and cosine of their place in the year, the week
      and the day, if this varies. Texts are dates if at least half in the column have the same format; others become
      one-hot.
    - **Columns that say nothing** are left out: those without a value, with the same in every row, or with rare ones
      alone.

    It needs pandas, the extra ``tables``.

    Parameters
    ----------
    categories : sequence of str, default=()
        Columns whose values are categories, though they are numbers or dates. Columns of a dtype of categories, such as
        "category" of pandas, are so without being named; an order of the categories is not used.
    min_frequency : int, float or "auto", default="auto"
        A text in fewer rows is rare; a float is a fraction of the rows. "auto" is 3 % of the rows, but at most 40 of
        them. A text in a single row is always rare.
    max_categories : int or None, default=40
        The largest number of columns that a column of texts may become; further texts count as rare. None: no limit.
    bins : int, default=0
        The largest number of bins of a column of numbers; 32 is a good one, and 0 leaves numbers as they are. A small
        network smooths sharp steps and thresholds away, and with bins it learns them. Each number, and the days of
        each date, becomes one column that is scaled by median and quartiles, with outliers clipped smoothly at ±3; and
        one for each bin between quantiles, which is 0 below the bin, 1 above it, and grows linearly inside
        (piecewise-linear encoding). The first bin goes on below to -1, the last one above to 2. Columns with few
        different numbers get fewer bins. Texts with two values become one column of -1 and 1.

    Attributes
    ----------
    columns_ : list of dict
        What is done with each column, as plain values, as in JSON.
    n_features_in_ : int
        Number of columns of the table.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, if they have some.

    See Also
    --------
    xpnet.estimators.MLPRegressor : Follows it in a pipeline.

    Examples
    --------
    >>> import pandas
    >>> table = pandas.DataFrame({"mass": [1.5, None, 2.5, 3.5], "kind": ["cat", "cat", "dog", "dog"]})
    >>> encoder = TableEncoder().fit(table)
    >>> encoder.get_feature_names_out().tolist()
    ['mass', 'mass (missing)', 'kind=cat', 'kind=dog']
    >>> encoder.transform(table)
    array([[1.5, 0. , 1. , 0. ],
           [2.5, 1. , 1. , 0. ],
           [2.5, 0. , 0. , 1. ],
           [3.5, 0. , 0. , 1. ]])

    In bins:

    >>> encoder = TableEncoder(bins=32).fit(table)
    >>> encoder.get_feature_names_out().tolist()
    ['mass (scaled)', 'mass (1.5 to 2.5)', 'mass (2.5 to 3.5)', 'mass (missing)', 'kind=dog']
    >>> encoder.transform(pandas.DataFrame({"mass": [1.0, 1.75, 3.0], "kind": ["cat", "dog", "dog"]}))[:, 1:]
    array([[-0.5 ,  0.  ,  0.  , -1.  ],
           [ 0.25,  0.  ,  0.  ,  1.  ],
           [ 1.  ,  0.5 ,  0.  ,  1.  ]], dtype=float32)
    """

    _encoding: Encoding

    def __init__(
        self,
        categories: Sequence[str] = (),
        *,
        min_frequency: int | float | str = "auto",
        max_categories: int | None = 40,
        bins: int = 0,
    ) -> None:
        self.categories = categories
        self.min_frequency = min_frequency
        self.max_categories = max_categories
        self.bins = bins

    def fit(self, X: Any, y: Any = None) -> "TableEncoder":
        """Learn what is done with each column.

        Parameters
        ----------
        X : DataFrame or array of shape (n_samples, n_features)
            The table: of pandas; of another library with ``to_pandas()`` or Arrow's ``__arrow_c_stream__``; or a NumPy
            array.
        y : None
            Not used.

        Returns
        -------
        TableEncoder
            The encoder itself.

        Warns
        -----
        UserWarning
            If a column can be read in two ways, which way was chosen.

        Raises
        ------
        ArgumentError
            If no column tells rows apart, or if a parameter is wrong.
        """
        self._fit(X)
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Turn a table into numbers.

        Parameters
        ----------
        X : DataFrame or array of shape (n_samples, n_features)
            The table. Its columns are found by their names, in any order; others than those in `fit` are ignored. An
            array must have the columns of `fit` in their order. Or rows of a table: a dict, a Series with names, or a
            list of dicts, which are read without pandas.

        Returns
        -------
        ndarray of shape (n_samples, n_outputs)
            In float32 if numbers or dates are in bins, with up to `bins` columns for each; otherwise in float64.

        Warns
        -----
        UserWarning
            If there are missing values or unknown texts in a column that had none, nor rare texts, in `fit`.

        Raises
        ------
        ArgumentError
            If a column that inputs are made of is lacking, or does not hold what it held in `fit`, such as texts in
            place of numbers, or numbers written in another way.
        """
        return encode_table(self, X).x

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the names of the columns of the result, such as "mass (missing)" or "kind=cat".

        Parameters
        ----------
        input_features : None or array of str
            Not used: the encoder knows the names of its columns.

        Returns
        -------
        ndarray of str
            The names.
        """
        return np.asarray(name_inputs(get_columns(self)), object)

    @classmethod
    def from_network(cls, net: Network | Ensemble) -> "TableEncoder":
        """Return the encoder of a network or an ensemble that ``xpnet train`` has trained on a table.

        Parameters
        ----------
        net : Network or Ensemble
            From `Network.load` or `Ensemble.load`.

        Returns
        -------
        TableEncoder
            A fitted encoder, which takes the columns of a table by their names.

        Raises
        ------
        ArgumentError
            If it is neither, or if it does not know such columns.
        """
        net = net[0] if isinstance(net, Ensemble) else net
        if not isinstance(net, Network):
            raise ArgumentError(f"net is of type {type(net).__name__}; give a Network or an Ensemble, from its load")
        columns = from_plain(net.notes.get("columns", []))
        if not name_inputs(columns):
            raise ArgumentError(
                "net has no columns in its notes; xpnet train writes them when it is trained on a table"
            )
        encoder = cls()
        encoder._encoding = Encoding(columns)
        return encoder

    def _fit(self, X: Any, goal: Goal | None = None) -> tuple[Features, dict[str, np.ndarray]]:
        """Learn what is done with each column; return the cells, and the inputs from `add_statistics`."""
        limits = self._limits()
        if (bins := count("bins", self.bins, 0)) == 1:
            raise ArgumentError("bins=1 must be at least 2, or 0 to leave numbers as they are")
        stand_in = copy.copy(self)  # scikit-learn's check sets attributes on it
        features = check_table(stand_in, X, reset=True)
        if not isinstance(features, Features):
            features = self._open(to_frame(features))
        columns = learn_columns(features.cells, features.rows, features.marks, limits, bins)
        statistics: dict[str, np.ndarray] = {}
        if goal is not None:
            columns, statistics = add_statistics(columns, features.cells, features.rows, goal, features.marks.decimal)
        columns = *columns, *features.left_out
        if not name_inputs(columns):
            reasons = "; ".join(f"{column.name!r}: {column.describe()}" for column in columns[:12])
            raise ArgumentError(f"{features.table} has no column to predict from ({reasons})")
        self.__dict__ = {**vars(stand_in), "_encoding": Encoding(columns)}
        return features, statistics

    def _open(self, frame: Any) -> Features:
        """Read the cells of a DataFrame."""
        if unknown := [name for name in self.categories if name not in set(frame.columns)]:
            raise ArgumentError(
                f"categories names {list_names(unknown)}, but X has the columns {list_names(list(frame.columns))}"
            )
        cells = open_columns(frame, "X", {*self.categories, *find_declared(frame)})
        return Features("X", cells, find_marks(cells.values()), np.arange(len(frame)))

    def _limits(self) -> Limits:
        """Check when values of texts are rare, and the names of categories."""
        least, most = self.min_frequency, self.max_categories
        if isinstance(least, (float, np.floating)):
            least = in_range("min_frequency", least, 0, 1, 'or a number of rows, or "auto"', includes_low=False)
        elif not (isinstance(least, str) and least == "auto"):
            count("min_frequency", least, 1)
        if isinstance(self.categories, str):
            names = [name.strip() for name in self.categories.split(",")]
            raise ArgumentError(f"categories={self.categories!r} must be a sequence of names, as in {names}")
        return least, None if most is None else count("max_categories", most, 2)

    @property
    def columns_(self) -> list[dict[str, Any]]:
        """The rules of each column, as plain values."""
        return to_plain(get_columns(self))

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_encoding")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = tags.input_tags.categorical = tags.input_tags.string = True
        if self.bins:
            tags.transformer_tags.preserves_dtype = []
        return tags


def get_columns(encoder: TableEncoder) -> tuple[Column, ...]:
    """Return what a fitted encoder does with each column."""
    check_is_fitted(encoder)
    return encoder._encoding.columns


def fit_to_targets(encoder: TableEncoder, X: Any, goal: Goal) -> np.ndarray:
    """Fit an encoder with statistics of targets; return the inputs of the rows, by the statistics of other parts."""
    features, statistics = encoder._fit(X, goal)
    encoding = encoder._encoding
    x = encoding.encode(features.cells, features.marks.decimal).take(features.rows).x
    for name, block in statistics.items():
        end = find_inputs(encoding.columns, name).stop
        x[:, end - block.shape[1] : end] = block
    return x


def encode_table(encoder: TableEncoder, X: Any) -> Encoded:
    """Encode a table, and warn of values of a kind that `fit` did not have, unless they are rows of a file."""
    check_is_fitted(encoder)
    encoding = encoder._encoding
    if rows := _list_rows(X):
        cells = encoding.open_rows(rows, "X")
    elif isinstance(X := check_table(encoder, X, reset=False), Features):
        return encoding.encode(X.cells, X.marks.decimal).take(X.rows)
    else:
        cells = encoding.open_frame(to_frame(X), "X")
    encoded = encoding.encode(cells)
    for line in encoded.describe("X"):
        warn(line)
    return encoded


def _list_rows(X: Any) -> Sequence[Mapping[str, Any]]:
    """List rows that are dicts, and that of a DataFrame of one row or a Series with names; nothing for others."""
    if isinstance(X, Mapping):
        if X and all(isinstance(value, (list, tuple, np.ndarray)) for value in X.values()):
            raise ArgumentError("X is a dict of columns; give pandas.DataFrame(X), or a dict for each row")
        return [X]
    if isinstance(X, (list, tuple)):
        return X if all(isinstance(row, Mapping) for row in X) else ()
    if not hasattr(X, "iloc"):
        return ()
    names = X.columns if X.ndim == 2 else X.index
    if not len(names) or not all(isinstance(name, str) for name in names):
        return ()
    if X.ndim == 1:
        return [X.to_dict()]
    return [{name: X.iat[0, k] for k, name in enumerate(names)}] if len(X) == 1 and names.is_unique else ()


def check_table(estimator: Any, X: Any, *, reset: bool) -> Any:
    """Check a table as scikit-learn does, and return it as a DataFrame of pandas or an array, or as it is in a file.

    Parameters
    ----------
    estimator
        The estimator: scikit-learn compares `n_features_in_` and `feature_names_in_` with X, or sets them on it.
    X
        The table.
    reset
        Whether number and names of the features are set; otherwise, those of an array are compared, and it gets the
        names of `fit`.
    """
    try:
        import pandas  # noqa: F401
    except ImportError as error:
        remedy = f"install it with: {install_command('tables')}"
        raise ImportError(f"{type(estimator).__name__} needs pandas ({error}); {remedy}") from error
    if not isinstance(X, Features):
        X = _check_frame(estimator, X, reset)
    elif reset:
        estimator.n_features_in_, estimator.feature_names_in_ = len(X.cells), np.array([*X.cells], object)
    if (rows := len(X)) < (least := 2 if reset else 1):  # in the words of scikit-learn
        raise ArgumentError(f"Found array with {rows} sample(s) while a minimum of {least} is required.")
    return X


def _check_frame(estimator: Any, X: Any, reset: bool) -> Any:
    """Check a table in memory as `check_table` does."""
    import pandas

    refuse_masks_and_units(X, "X")
    X = to_host(X)
    if hasattr(X, "to_pandas"):
        X = X.to_pandas()
    if isinstance(X, pandas.Series):
        raise ArgumentError(
            f"X is a Series of {len(X)} values, and must be a table; give X.to_frame() for one column, and "
            "X.to_frame().T for one row"
        )
    if hasattr(X, "__arrow_c_stream__") and not isinstance(X, pandas.DataFrame):
        import pyarrow

        X = pyarrow.table(X).to_pandas()
    names, how = None if reset else getattr(estimator, "feature_names_in_", None), CHECKS
    if isinstance(X, pandas.DataFrame):
        how = {"skip_check_array": True}
        if not X.columns.is_unique:
            X = X.set_axis(_name_columns(X), axis=1)
        if names is not None and all(isinstance(name, str) for name in X.columns):
            return X  # its columns are found by their names
    if reset or hasattr(estimator, "n_features_in_"):
        X = validate_data(estimator, X=X, reset=reset, **how)  # type: ignore[arg-type]
    return X if names is None else pandas.DataFrame(X).set_axis(names, axis=1)  # of which scikit-learn has warned


def to_frame(X: Any) -> Any:
    """Return a checked table as a DataFrame of pandas with texts as names."""
    import pandas

    frame = X if isinstance(X, pandas.DataFrame) else pandas.DataFrame(X)
    return frame.set_axis(_name_columns(frame), axis=1)


def _name_columns(frame: Any) -> list[str]:
    """Return the names of columns as texts, made different."""
    return make_different(f"x{name}" if isinstance(name, int) else str(name) for name in frame.columns)
