"""Reader: checks the arrays that users give to a network, and moves them to its device."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from itertools import zip_longest
from numbers import Real
from typing import Any, NamedTuple

import array_api_compat
import numpy as np

from xpnet._checks import check_count, check_lengths, warn
from xpnet.backends.base import Backend, Place, host_array, on_host, refuse_graph
from xpnet.core.arrays import Array
from xpnet.core.minibatch import Encoding, Examples, one_hot
from xpnet.core.model import Model
from xpnet.data._scaling import PlacedScaling
from xpnet.data.conversion import as_real_array, is_pair, stack
from xpnet.errors import ArgumentError

__all__ = [
    "Reader",
    "column_names",
    "has_coordinates",
    "name_part",
]

UINT8 = np.dtype(np.uint8)  # dtypes compare faster with a dtype than with a type
RowNumbers = Sequence[int] | np.ndarray | None  # in messages; None: 0, 1, ...


class Reader(NamedTuple):
    """Checks the arrays that users give to a network, and moves them to its device.

    Parameters
    ----------
    model
        The structure of the network: the numbers of inputs and outputs, and the range of its outputs.
    place
        Where arrays are moved to, and their dtype there.
    scaling
        The scaling by which inputs and targets are standardized, if any.
    feature_names
        The names of the inputs, if they are known.
    class_weight
        Weights of the classes, (K,) on the host, if they differ.
    warns
        Whether to warn of pixels that seem to be unscaled.
    keeps_digits
        Whether there will be a scaling later: until then, numbers that the dtype would round keep their own dtype.
    slope_weight
        The weight of slopes in the cost, a number or one for each input, if the examples have any.
    """

    model: Model
    place: Place
    scaling: PlacedScaling | None = None
    feature_names: tuple[str, ...] | None = None
    class_weight: np.ndarray | None = None
    warns: bool = True
    keeps_digits: bool = False
    slope_weight: float | list[float] | None = None

    @property
    def backend(self) -> Backend:
        """Where arrays are moved to."""
        return self.place.backend

    @property
    def dtype(self) -> str:
        """The dtype of the network."""
        return self.place.dtype

    def scope(self) -> AbstractContextManager[Any]:
        """Enter the library's settings for computing in this dtype on this device."""
        return self.place.scope()

    @property
    def scale(self) -> Array | None:
        """The scale of the inputs as an array; None if they are not scaled."""
        return self._place(self.model.scale)

    def unscaled(self) -> Reader:
        """Return a reader that does not scale, but keeps the digits that scaling needs."""
        return self._replace(scaling=None, keeps_digits=self.model.standardize or self.scaling is not None)

    def encoding(self) -> Encoding:
        """Make the arrays that turn stored examples into inputs and targets."""
        classes = self.backend.asarray(np.arange(self.model.n_targets, dtype=np.int32))
        return Encoding(classes, self.scale, slope_weight=self._place(self.slope_weight))

    def _place(self, numbers: float | list[float] | None) -> Array | None:
        """Move numbers, if there are any, to the device."""
        return None if numbers is None else self.backend.asarray(np.asarray(numbers, self.dtype))

    def learn_names(self, x: Any, name: str) -> Reader:
        """Return a reader with the column names of training inputs; refuse names that differ from known ones."""
        names = None if type(x) is np.ndarray else column_names(x, name)
        if names is None:
            return self
        if self.feature_names is not None and names != self.feature_names:
            raise ArgumentError(f"{name} {compare_names(x, names, self.feature_names)}")
        return self._replace(feature_names=names)

    def check_names(self, x: Any, name: str) -> None:
        """Refuse inputs whose columns have other names than the known ones, or another order."""
        if self.feature_names is not None:  # fast path: predicting one example takes microseconds
            self.learn_names(x, name)

    def as_rows(self, x: Any, name: str = "x") -> tuple[Array, bool]:
        """Return inputs as rows, without moving them, and whether they were a single example (n_in,)."""
        self.check_names(x, name)
        if type(x) is not np.ndarray:  # fast path: predicting one example takes microseconds
            refuse_graph(x, name)
        try:
            x = as_real_array(x, name)
        except ValueError as error:
            _explain_targets(x, name, error)
            raise
        single = x.ndim == 1 and x.shape[0] == self.model.n_in
        return (x[None, :] if single else x), single

    def read_inputs(self, x: Any, name: str, rows: RowNumbers = None) -> Array:
        """Check inputs, (n, n_in) or (n, ...), move them to the device as rows, and standardize them. Synchronizes.

        `rows` are the numbers of these rows in the user's data, for messages. To be called within the scope.
        """
        self.check_names(x, name)
        x, place = as_real_array(x, name), self.place
        self.check_shape(x, name)
        has_bytes, scales = _is_bytes(x), self.model.scale is not None
        if has_bytes:
            self.warn_of_bytes(x, name)
        if not (has_bytes and scales) and (self.keeps_digits or self.scaling is not None):
            x = place.move(x, name)
        else:
            x = place.backend.asarray(x, None if has_bytes and scales else place.dtype, name)
        if x.ndim != 2:  # JAX copies even to the same shape
            x = place.home(x).xp.reshape(x, (-1, self.model.n_in))
        if self.scaling is not None and place.is_wide(x):
            x = self.scaling.inputs(x)  # this rounds, so the check comes afterwards
            self._check_finite(x, name, rows)
            return x
        if type(x) is not np.ndarray or not (x.flags.c_contiguous and x.flags.aligned):  # fast path, as in `as_rows`
            x = place.arrange(x)
        if not (has_bytes and scales):
            self._check_finite(x, name, rows)
        return x if self.scaling is None else self.scaling.inputs(x)

    def warn_of_bytes(self, x: Any, name: str) -> None:
        """Warn of bytes above 1 that are not scaled. Synchronizes."""
        may_warn = self.warns and self.model.scale is None and _is_bytes(x)
        if may_warn and (largest := self._find_bounds(x, name)[1]) > 1:
            warn(
                f"{name} holds uint8 values up to {largest}, which are not scaled; divide them by 255, or make the "
                "network with scale=1/255"
            )

    def check_shape(self, x: Any, name: str) -> None:
        """Check that inputs are rows, at least one, with as many elements as the network has inputs."""
        n_in = self.model.n_in
        if x.ndim < 2 or math.prod(x.shape[1:]) != n_in:
            hint = _shape_hint(x, n_in)
            raise ArgumentError(f"{name} has shape {tuple(x.shape)}, but must have (n, {n_in}): {hint}")
        if x.shape[0] == 0:
            raise ArgumentError(f"{name} is empty: it has shape {tuple(x.shape)}")
        check_count(name, x.shape[0])

    def read_targets(self, y: Any, name: str, rows: RowNumbers = None) -> Array:
        """Check targets and move them to the device. Synchronizes.

        Parameters
        ----------
        y
            Classes (n,) or rows (n, n_targets); with one target, (n,) too.
        name, rows
            Their name in error messages, and the numbers of the rows.

        Returns
        -------
        array
            Classes (n,) int32, or rows (n, n_targets).
        """
        y, n, place = as_real_array(y, name), self.model.n_targets, self.place
        if y.ndim > 0 and y.shape[0] == 0:
            raise ArgumentError(f"{name} is empty: it has shape {tuple(y.shape)}")
        takes_classes = n > 1 and self.model.task != "regression"
        if y.ndim == 1 and takes_classes:
            return self._read_classes(y, name)
        if y.ndim == 0 or math.prod(y.shape[1:]) != n:
            others = ", or (n,) of integer classes" if takes_classes else "" if n > 1 else " or (n,)"
            raise ArgumentError(f"{name} has shape {tuple(y.shape)}, but must have (n, {n}){others}")
        with self.scope():
            y = place.move(y, name) if self._scales_targets else place.backend.asarray(y, place.dtype, name)
            y = place.arrange(place.home(y).xp.reshape(y, (-1, n)))
            self._check_finite(y, name, rows)
            if not place.is_wide(y):  # else the outputs have no bounds
                self._check_reachable(y, name)
            return y if self.scaling is None else self.scaling.targets(y)

    def read_examples(self, x: Any, y: Any, name: str, rows: RowNumbers = None) -> Examples:
        """Check inputs and targets of the same examples and move them to the device. Synchronizes."""
        x_name, y_name = name_part("X", name), name_part("y", name)
        with self.scope():
            x, y = self.read_inputs(x, x_name, rows), self.read_targets(y, y_name, rows)
        check_lengths(x_name, x.shape[0], y_name, y.shape[0])
        return Examples(x, y, self.weigh_classes(y))

    def read_pairs(self, pairs: Iterable[Any], name: str, rows: RowNumbers = None) -> Examples:
        """Check (x, y) pairs and move them to the device. Synchronizes."""
        xs, ys = [], []
        for i, pair in enumerate(pairs):
            if not is_pair(pair):
                raise ArgumentError(
                    f"item {i} of {name} is not an (x, y) pair but of type {type(pair).__name__}; "
                    "give arrays together, as a tuple (X, y)"
                )
            self.check_names(pair[0], f"x of item {i} of {name}")
            xs.append(pair[0])
            ys.append(pair[1])
        with self.scope():
            x, y = stack(xs, f"x of {name}"), stack(ys, f"y of {name}")
        return self.read_examples(x, y, name, rows)

    def targets_on_host(self, y: Array) -> np.ndarray:
        """Return targets that were read as rows (m, n_targets) on the host; classes become one-hot. Synchronizes."""
        rows = self.place.home(y).to_numpy(y)
        return rows if rows.ndim > 1 else one_hot(rows, np.arange(self.model.n_targets), "float64", np)

    @property
    def _scales_targets(self) -> bool:
        """Whether targets are scaled, now or later."""
        if self.scaling is None:
            return self.keeps_digits and self.model.scales_targets
        return self.scaling.exact.y_mean is not None

    def weigh_classes(self, y: Array) -> np.ndarray | None:
        """Look up the weights that examples have by their classes, if these differ, (n,) on the host. Synchronizes.

        `y` are targets that were read: classes (n,), or rows (n, n_out).
        """
        if self.class_weight is None:
            return None
        y = self.place.home(y).to_numpy(y)
        return self.class_weight[y] if y.ndim == 1 else self.class_columns(y) @ self.class_weight

    def move_weight(self, examples: Examples) -> Examples:
        """Move the weights of examples to the device."""
        weight = examples.weight
        return examples if weight is None else examples._replace(weight=self.backend.asarray(weight))

    def class_columns(self, y: np.ndarray) -> np.ndarray:
        """Expand targets (n, n_out) to a column for each class, (n, K); one output stands for two classes."""
        return y if self.model.n_out > 1 else np.concat([1.0 - y, y], axis=-1)

    def _read_classes(self, y: Array, name: str) -> Array:
        xp, n_out = array_api_compat.array_namespace(y), self.model.n_targets
        if not xp.isdtype(y.dtype, "integral"):
            raise ArgumentError(
                f"{name} has shape {tuple(y.shape)} and dtype {y.dtype}, but must have (n, {n_out}), "
                "or (n,) of integer classes"
            )
        low, high = self._find_bounds(y, name)
        if low < 0 or high >= n_out:
            raise ArgumentError(
                f"{name} holds the label {low if low < 0 else high}; with {n_out} outputs, "
                f"labels go from 0 to {n_out - 1}"
            )
        with self.scope():
            return self.backend.asarray(y, "int32", name)

    def _find_bounds(self, y: Array, name: str) -> tuple[int, int]:
        """Find the smallest and the largest of some whole numbers, wherever they are. Synchronizes."""
        # JAX reads 64-bit integers only in its x64 mode, NumPy always
        if not isinstance(y, np.ndarray):
            y = host_array(y) if on_host(y) else self.backend.asarray(y, None, name)
        with self.scope():
            xp = array_api_compat.array_namespace(y)
            return int(xp.min(y)), int(xp.max(y))

    def _check_finite(self, x: Array, name: str, rows: RowNumbers) -> None:
        if (position := self.place.find_not_finite(x)) is None:
            return
        row, column = position
        remedy = "; numbers beyond 3.4e38 are infinite there, so divide those" if self.dtype == "float32" else ""
        raise ArgumentError(
            f"{name} holds NaN or infinity (as {self.dtype}), first in row {row if rows is None else rows[row]}, "
            f"column {column}, counted from 0; remove or replace such examples{remedy}"
        )

    def _check_reachable(self, y: Array, name: str) -> None:
        """Check that the output activation can reach the targets."""
        y = host_array(y) if on_host(y) else y  # for which JAX would compile each of these operations
        xp, output, slack = array_api_compat.array_namespace(y), self.model.sigmas[-1], 1e-4
        least, largest = float(xp.min(y)), float(xp.max(y))
        if least < output.low - slack or largest > output.high + slack:
            raise ArgumentError(
                f"{name} goes from {least:.6g} to {largest:.6g}, but the {output.name} output reaches only "
                f'[{output.low:g}, {output.high:g}]; for real targets make the network with task="regression" and the '
                "identity output; two classes of one output are 0 and 1"
            )
        if output.total is not None:
            error = float(xp.max(xp.abs(xp.sum(y, axis=-1) - output.total)))
            if error > slack:
                raise ArgumentError(
                    f"{name} has a row whose sum differs from {output.total:g} by {error:.6g}, but a row of "
                    f"{output.name} outputs adds up to it; give classes or one-hot rows, "
                    'or for several labels an example task="multilabel"'
                )


def _explain_targets(x: Any, name: str, error: ValueError) -> None:
    """Raise an error that explains why inputs could not be converted, if they hold targets, too."""
    try:
        pair = x if isinstance(x, tuple) and hasattr(x[0], "shape") else x[0]
    except Exception:  # not a sequence, or a data set with an error of its own
        return
    if is_pair(pair) and not isinstance(pair[0], Real):  # or it is a row of two numbers, and others are not
        raise ArgumentError(
            f"{name} holds inputs and targets, and predictions need the inputs alone, as in net.forward(X)"
        ) from error


def _shape_hint(x: Any, n_in: int) -> str:
    if n_in == 1 and x.ndim == 1:
        return "with one feature, the examples are a column, x.reshape(-1, 1)"
    if x.ndim == 2 and tuple(x.shape) == (n_in, 1):
        return "a column is not an example; give it as a row, x.T or x[:, 0]"
    if x.ndim == 1 and x.shape[0] == n_in:
        return "an example is a row, so one example is x[None, :]"
    return f"a row for each example, of {n_in} features"


# Names of columns


def name_part(part: str, name: str) -> str:
    """Name a part of some data for messages; data without a name have it alone.

    Examples
    --------
    >>> name_part("X", "train_data"), name_part("X", "")
    ('X of train_data', 'X')
    """
    return f"{part} of {name}" if name else part


def column_names(x: Any, name: str) -> tuple[str, ...] | None:
    """Return the column names of inputs, as scikit-learn sees them; None unless they are strings.

    Those are the columns of a table of any library, the index of a row of pandas, and the coordinates of the last axis
    of an array that has them, as in xarray.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> column_names(SimpleNamespace(columns=["width", "height"]), "x"), column_names([[1, 2]], "x")
    (('width', 'height'), None)
    """
    if hasattr(x, "columns"):
        names = x.column_names if hasattr(x, "schema") and hasattr(x, "column_names") else x.columns  # of pyarrow
    elif has_coordinates(x):
        axis = x.dims[-1]
        names = x.coords[axis].values.tolist() if axis in x.coords else None
    else:
        names = x.index if hasattr(x, "iloc") else None
    if isinstance(names, str) or not isinstance(names, Iterable):
        return None
    names = tuple(names)
    are_strings = [isinstance(column, str) for column in names]
    if any(are_strings) and not all(are_strings):
        other = names[are_strings.index(False)]
        raise ArgumentError(
            f"{name} has column names that are not strings, such as {other!r} of type {type(other).__name__}; make all "
            "of them strings, as X.columns = X.columns.astype(str) does"
        )
    if not all(are_strings) or not names:
        return None
    if len(set(names)) < len(names):
        duplicate = next(column for column in names if names.count(column) > 1)
        raise ArgumentError(f"{name} has several columns named {duplicate!r}; give each a name of its own")
    return names


def has_coordinates(x: Any) -> bool:
    """Tell whether this is a row or a table with coordinates on its axes, as in xarray."""
    return hasattr(x, "dims") and hasattr(x, "coords") and getattr(x, "ndim", 0) in (1, 2)


def compare_names(x: Any, names: tuple[str, ...], trained: tuple[str, ...]) -> str:
    """Format where the column names of x first differ from the known ones, and what to do."""
    k, pair = next((k, pair) for k, pair in enumerate(zip_longest(names, trained)) if pair[0] != pair[1])
    now, then = ("missing" if column is None else repr(column) for column in pair)
    index = f".sel({{{x.dims[-1]!r}: list(net.feature_names)}})" if has_coordinates(x) else "[list(net.feature_names)]"
    return (
        f"has other columns than the network was trained on: column {k} is {now} and was {then}, counted from 0; take "
        f"them by their names, as in X{index}; or if others are meant, give an array, or set net.feature_names to None"
    )


def _is_bytes(x: Any) -> bool:
    return x.dtype == (UINT8 if isinstance(x, np.ndarray) else array_api_compat.array_namespace(x).uint8)
