"""Reader: checks the arrays that users give to a network, and moves them to its device."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from inspect import isroutine
from numbers import Real
from typing import Any, NamedTuple, TypeAlias

import array_api_compat
import numpy as np

from xpnet.backends.base import Backend, as_array, cast, host_array, on_host, precision, refuse_graph
from xpnet.backends.choose import get_backend
from xpnet.checks import check_count, check_lengths, list_names, warn
from xpnet.core.arrays import Array, blocks, map_arrays
from xpnet.core.minibatch import Encoding, Examples, one_hot
from xpnet.core.model import Model
from xpnet.core.scaling import Moments, Scaler, Scaling, ScalingInParts, moments
from xpnet.errors import ArgumentError, unless_stopped

UINT8 = np.dtype(np.uint8)  # dtypes compare faster with a dtype than with a type
WIDE_DTYPES = {
    "float64",
    "float96",
    "float128",
    "int32",
    "int64",
    "uint32",
    "uint64",
}  # dtypes that float32 would round
WIDE_CODES = "dgiIlLqQ"  # the codes of the same dtypes in NumPy
PARTS_PER_BLOCK = 64  # on the host, so that a part stays in the processor's cache between operations
SEQUENCES, MAX_AXES = (list, tuple, deque), 64  # that NumPy converts to an array
NUMBERS = {bool, int, float}
UNITS = "unit", "units"  # what libraries call the unit of a quantity
TEXT_REMEDY = "xpnet.estimators.TableEncoder turns columns of texts into numbers"
RowNumbers: TypeAlias = Sequence[int] | np.ndarray | None  # in messages; None: 0, 1, ...


class Reader(NamedTuple):
    """Checks the arrays that users give to a network, and moves them to its device.

    Parameters
    ----------
    model
        The structure of the network: the numbers of inputs and outputs, and the range of its outputs.
    backend, dtype
        Where arrays are moved to, and their dtype there.
    scaling
        The scaling by which inputs and targets are standardized, if any.
    feature_names
        The names of the inputs, if they are known.
    class_weight
        Weights of the classes, (1, K), if they differ.
    warns
        Whether to warn of pixels that seem to be unscaled.
    keeps_digits
        Whether there will be a scaling later: until then, numbers that the dtype would round keep their own dtype.
    """

    model: Model
    backend: Backend
    dtype: str
    scaling: Scaler | None = None
    feature_names: tuple[str, ...] | None = None
    class_weight: Array | None = None
    warns: bool = True
    keeps_digits: bool = False

    def scope(self) -> AbstractContextManager[Any]:
        """Enter the library's settings for computing in this dtype on this device."""
        return self.backend.scope(self.dtype)

    @property
    def scale(self) -> Array | None:
        """The scale of the inputs as an array; None if they are not scaled."""
        scale = self.model.scale
        return None if scale is None else self.backend.asarray(np.asarray(scale, self.dtype))

    def unscaled(self) -> Reader:
        """Return a reader that does not scale, but keeps the digits that scaling needs."""
        return self._replace(scaling=None, keeps_digits=self.keeps_digits or self.scaling is not None)

    def encoding(self) -> Encoding:
        """Make the arrays that turn stored examples into inputs and targets."""
        return Encoding(self.backend.asarray(np.arange(self.model.n_targets, dtype=np.int32)), self.scale)

    def learn_names(self, x: Any, name: str) -> Reader:
        """Return a reader with the column names of training inputs; refuse names that differ from known ones."""
        self.check_names(x, name)
        names = column_names(x, name)
        return self if names is None else self._replace(feature_names=names)

    def check_names(self, x: Any, name: str) -> None:
        """Refuse inputs whose columns have other names than the known ones, or another order."""
        if self.feature_names is None:
            return
        names = column_names(x, name)
        if names is not None and names != self.feature_names:
            raise ArgumentError(f"{name} {_compare_names(names, self.feature_names)}")

    def as_rows(self, x: Any, name: str = "x") -> tuple[Array, bool]:
        """Return inputs as rows, without moving them, and whether they were a single example (n_in,)."""
        if type(x) is tuple:
            _refuse_pair(x, name)
        self.check_names(x, name)
        if type(x) is not np.ndarray:  # fast path: predicting one example takes microseconds
            refuse_graph(x, name)
        try:
            x = as_real_array(x, name)
        except ValueError as error:
            _refuse_pairs(x, name, error)
            raise
        single = x.ndim == 1 and x.shape[0] == self.model.n_in
        return (x[None, :] if single else x), single

    def read_inputs(self, x: Any, name: str, rows: RowNumbers = None) -> Array:
        """Check inputs, move them to the device as (n, n_in), and standardize them. Synchronizes."""
        with self.scope():
            return self.check_inputs(self.move_inputs(x, name), name, rows)

    def move_inputs(self, x: Any, name: str) -> Array:
        """Move inputs of shape (n, n_in), or (n, ...) with as many elements, to (n, n_in) on the device."""
        self.check_names(x, name)
        x, n_in = as_real_array(x, name), self.model.n_in
        self.check_shape(x, name)
        if x.shape[0] == 0:
            raise ArgumentError(f"{name} is empty: it has shape {tuple(x.shape)}")
        has_bytes, scales = _is_bytes(x), self.model.scale is not None
        if has_bytes and not scales and self.warns and (largest := self._bounds(x, name)[1]) > 1:
            warn(
                f"{name} holds uint8 values up to {largest}, which are not scaled; divide them by 255, or make the "
                "network with scale=1/255"
            )
        if has_bytes and scales:
            x = self.backend.asarray(x, None, name)
        elif self.keeps_digits or self.scaling is not None:
            x = self._move(x, name)
        else:
            x = self.backend.asarray(x, self.dtype, name)
        if x.ndim == 2:
            return x  # JAX copies even to the same shape
        with self.scope():
            return self.home(x).xp.reshape(x, (-1, n_in))

    def check_shape(self, x: Array, name: str) -> None:
        """Check that inputs are rows with as many elements as the network has inputs."""
        n_in = self.model.n_in
        if x.ndim < 2 or math.prod(x.shape[1:]) != n_in:
            hint = _shape_hint(x, n_in)
            raise ArgumentError(f"{name} has shape {tuple(x.shape)}, but must have (n, {n_in}): {hint}")
        check_count(name, x.shape[0])

    def check_inputs(self, x: Array, name: str, rows: RowNumbers = None) -> Array:
        """Check that inputs on the device are finite, and standardize them. Synchronizes.

        `rows` are the numbers of these rows in the user's data, for messages.
        """
        if self.scaling is not None and self.is_wide(x):
            x = self.scale_inputs(x)  # this rounds, so the check comes afterwards
            self._check_finite(x, name, rows)
            return x
        if type(x) is not np.ndarray or not (x.flags.c_contiguous and x.flags.aligned):  # fast path, as in `as_rows`
            x = self._arrange(x)
        if self.model.scale is None or not _is_bytes(x):
            self._check_finite(x, name, rows)
        return x if self.scaling is None else self.scale_inputs(x)

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
        y, n = as_real_array(y, name), self.model.n_targets
        if y.ndim > 0 and y.shape[0] == 0:
            raise ArgumentError(f"{name} is empty: it has shape {tuple(y.shape)}")
        takes_classes = n > 1 and self.model.task != "regression"
        if y.ndim == 1 and takes_classes:
            return self._read_classes(y, name)
        if y.ndim == 0 or math.prod(y.shape[1:]) != n:
            others = ", or (n,) of integer classes" if takes_classes else "" if n > 1 else " or (n,)"
            raise ArgumentError(f"{name} has shape {tuple(y.shape)}, but must have (n, {n}){others}")
        with self.scope():
            y = self._move(y, name) if self._scales_targets else self.backend.asarray(y, self.dtype, name)
            y = self._arrange(self.home(y).xp.reshape(y, (-1, n)))
            self._check_finite(y, name, rows)
            if not self.is_wide(y):  # else the outputs have no bounds
                self._check_reachable(y, name)
            return self.scale_targets(y)

    def read_examples(self, x: Any, y: Any, name: str, rows: RowNumbers = None) -> Examples:
        """Check inputs and targets of the same examples and move them to the device. Synchronizes."""
        x, y = self.read_inputs(x, f"X of {name}", rows), self.read_targets(y, f"y of {name}", rows)
        check_lengths(f"X of {name}", x.shape[0], f"y of {name}", y.shape[0])
        return Examples(x, y, None if self.class_weight is None else self.look_up_class_weight(y, self.class_weight))

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
        if not xs:
            raise ArgumentError(f"{name} is empty")
        with self.scope():
            x, y = stack(xs, f"x of {name}"), stack(ys, f"y of {name}")
        return self.read_examples(x, y, name, rows)

    # Numbers that the dtype would round

    def is_wide(self, x: Array) -> bool:
        """Tell whether these are numbers, other than classes, that the network's dtype would round."""
        if self.dtype == "float64":
            return False
        return x.dtype.char in WIDE_CODES if isinstance(x, np.ndarray) else _name_dtype(x) in WIDE_DTYPES

    def home(self, x: Array) -> Backend:
        """Return the backend of an array that was read; unscaled numbers may still be in a NumPy array."""
        return self.backend if isinstance(x, self.backend.array_type) else get_backend("numpy")

    def targets_on_host(self, y: Array) -> np.ndarray:
        """Return targets that were read as rows (m, n_targets) on the host; classes become one-hot. Synchronizes."""
        y = self.home(y).to_numpy(y)
        return y if y.ndim > 1 else one_hot(y, np.arange(self.model.n_targets), "float64", np)

    def scale_inputs(self, x: Array) -> Array:
        """Standardize inputs that were read, if there is a scaling; the result has the device and the dtype."""
        if self.scaling is None:
            return x
        if self.is_wide(x):
            return self._scale_exactly(x, self.scaling.exact.x_mean, self.scaling.exact.x_std)
        with self.scope():
            return self.scaling.in_dtype.inputs(x)

    def scale_targets(self, y: Array) -> Array:
        """Standardize targets that were read, if there is a scaling of them."""
        if self.scaling is None or y.ndim == 1:  # classes have one axis
            return y
        if self.is_wide(y):
            return self._scale_exactly(y, self.scaling.exact.y_mean, self.scaling.exact.y_std)
        with self.scope():
            return self.scaling.in_dtype.targets(y)

    def moments(self, x: Array) -> Moments:
        """Compute the moments of columns that were read, as NumPy arrays. Synchronizes."""
        home, dtype = self.home(x), "float64" if self.is_wide(x) else self.dtype
        with home.scope(dtype):
            result = moments(home.make_contiguous(home.asarray(x, dtype)), home.xp)
            return Moments(result.n, *(home.to_numpy(array) for array in result[1:]))

    def take(self, x: Array, index: np.ndarray) -> Array:
        """Take some of the rows of an array that was read."""
        home = self.home(x)
        with home.scope(precision(x)):
            return home.xp.take(x, home.asarray(index), axis=0)

    def concat(self, arrays: Sequence[Array]) -> Array:
        """Concatenate arrays that were read."""
        home = self.home(arrays[0])
        with home.scope(precision(arrays[0])):
            return home.xp.concat(list(arrays), axis=0)

    def place(self, scaling: Scaling) -> Scaler:
        """Check a scaling, whose arrays may be anywhere, and make the exact and the rounded copy. Synchronizes."""
        exact = map_arrays(lambda x: np.array(self.home(x).to_numpy(x), np.float64), scaling)
        _check_fit(exact, self.model, self.dtype)
        for array in exact:
            if array is not None:
                array.flags.writeable = False  # the copies on the device would not follow
        with self.scope():
            rounded = self.backend.copy_nest(exact, self.dtype)
            in_dtype = rounded
            if self.dtype == "float32" and (exact.has_far_inputs or exact.has_far_targets):
                remainder = map_arrays(lambda x: x - x.astype(self.dtype), exact)
                in_dtype = ScalingInParts(rounded, self.backend.copy_nest(remainder, self.dtype))
        return Scaler(exact, rounded, self.dtype == "float32" and exact.has_far_targets, in_dtype)

    @property
    def _scales_targets(self) -> bool:
        """Whether targets are scaled, now or later."""
        if self.scaling is None:
            return self.keeps_digits and self.model.scales_targets
        return self.scaling.exact.y_mean is not None

    def _move(self, x: Array, name: str) -> Array:
        """Move numbers to be scaled to the device; those on the host that the dtype would round stay there."""
        if not self.is_wide(x):
            return self.backend.asarray(x, self.dtype, name)
        if isinstance(x, np.ndarray):
            return x
        return host_array(x) if on_host(x) else self.backend.asarray(x, None, name)

    def _arrange(self, x: Array) -> Array:
        """Bring rows into one order in memory, so that results do not depend on it; wide ones when they are scaled."""
        return x if self.is_wide(x) else self.home(x).make_contiguous(x)

    def _scale_exactly(self, x: Array, mean: np.ndarray | None, std: np.ndarray | None) -> Array:
        """Scale numbers in float64, without moving them, and move the rounded results to the device."""
        if mean is None:
            return self.backend.asarray(x, self.dtype)
        home, width = self.home(x), x.shape[1]
        with home.scope("float64"):
            if isinstance(x, np.ndarray):
                width *= PARTS_PER_BLOCK
            else:
                x, mean, std = (home.asarray(array, "float64") for array in (x, mean, std))
            rounded = [
                home.asarray((home.make_contiguous(block) - mean) / std, self.dtype) for block in blocks(x, width)
            ]
            scaled = rounded[0] if len(rounded) == 1 else home.xp.concat(rounded, axis=0)
        return scaled if home is self.backend else self.backend.asarray(scaled)

    def look_up_class_weight(self, y: Array, class_weight: Array) -> Array:
        """Look up the weight of each example, (n,), by its class; `y` as returned by `read_targets`."""
        xp = self.backend.xp
        with self.scope():
            if y.ndim == 1:
                return xp.take(class_weight[0, :], y, axis=0)
            return xp.sum(self.class_columns(y) * class_weight, axis=-1)

    def class_columns(self, y: Array) -> Array:
        """Expand targets (n, n_out) to a column for each class, (n, K); one output stands for two classes."""
        return y if self.model.n_out > 1 else self.backend.xp.concat([1.0 - y, y], axis=-1)

    def _read_classes(self, y: Array, name: str) -> Array:
        xp, n_out = array_api_compat.array_namespace(y), self.model.n_targets
        if not xp.isdtype(y.dtype, "integral"):
            raise ArgumentError(
                f"{name} has shape {tuple(y.shape)} and dtype {y.dtype}, but must have (n, {n_out}), "
                "or (n,) of integer classes"
            )
        low, high = self._bounds(y, name)
        if low < 0 or high >= n_out:
            raise ArgumentError(
                f"{name} holds the label {low if low < 0 else high}; with {n_out} outputs, "
                f"labels go from 0 to {n_out - 1}"
            )
        with self.scope():
            return self.backend.asarray(y, "int32", name)

    def _bounds(self, y: Array, name: str) -> tuple[int, int]:
        """Find the smallest and the largest of some whole numbers, wherever they are. Synchronizes."""
        # JAX reads 64-bit integers only in its x64 mode, NumPy always
        y = host_array(y) if on_host(y) else self.backend.asarray(y, None, name)
        with self.scope():
            xp = array_api_compat.array_namespace(y)
            return int(xp.min(y)), int(xp.max(y))

    def _check_finite(self, x: Array, name: str, rows: RowNumbers) -> None:
        if (place := self.find_not_finite(x)) is None:
            return
        row, column = place
        raise ArgumentError(
            f"{name} holds NaN or infinity (as {self.dtype}), first in row {row if rows is None else rows[row]}, "
            f"column {column}, counted from 0; remove or replace such examples"
        )

    def find_not_finite(self, x: Array) -> tuple[int, int] | None:
        """Find row and column of the first number that is not finite; None if there is none. Synchronizes."""
        if self.home(x).all_finite([x]):
            return None
        xp, first = self.home(x).xp, 0
        for block in blocks(x):
            flags = xp.reshape(xp.astype(~xp.isfinite(block), xp.int32), (-1,))
            if int(xp.max(flags)):
                break
            first += block.shape[0]
        row, column = divmod(int(xp.argmax(flags)), x.shape[1])
        return first + row, column

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


def _check_fit(scaling: Scaling, model: Model, dtype: str) -> None:
    """Refuse a scaling, of NumPy arrays, that does not fit a network with this dtype."""
    for name, array in scaling._asdict().items():
        if array is None:
            continue
        shape = (1, model.n_in if name.startswith("x") else model.n_targets)
        rounded = cast(array, dtype)
        if array.shape != shape or not np.isfinite(rounded).all():
            raise ArgumentError(f"scaling.{name} of shape {array.shape} must be finite numbers of shape {shape}")
        if name.endswith("std") and not (rounded > 0).all():
            raise ArgumentError(f"scaling.{name} must be above 0")
    if scaling.x_mean is None or scaling.x_std is None or (scaling.y_mean is None) != (scaling.y_std is None):
        raise ArgumentError("scaling lacks a mean or a standard deviation")


def as_real_array(x: Any, name: str) -> Array:
    """Return an array of real numbers, of whichever library; refuse objects, strings and complex numbers."""
    if type(x) is np.ndarray and x.dtype.char in "?bBhHiIlLqQfd":
        return x  # fast path: predicting one example takes microseconds
    x = _convert(x, name)
    if not _is_real(x):
        raise ArgumentError(
            f"{name} has dtype {x.dtype}; give real numbers, and classes as whole numbers from 0{_locate_text(x, name)}"
        )
    return x


def refuse_masks_and_units(x: Any, name: str) -> None:
    """Refuse arrays with a mask or a unit, and sequences that hold one: NumPy would drop the mask or the unit.

    Examples
    --------
    >>> refuse_masks_and_units([np.ma.masked_equal([1, 2], 2)], "x")
    Traceback (most recent call last):
    xpnet.ArgumentError: x is a masked array, or holds one; give its filled() values
    """
    part = _find_mask_or_unit(x)
    if _has_mask(part):
        raise ArgumentError(f"{name} is a masked array, or holds one; give its filled() values")
    if part is not None:
        raise ArgumentError(
            f"{name} is a quantity with a unit, or holds one; give its numbers in a unit of your choice, such as "
            'to_value("m") of astropy or to("m").magnitude of pint'
        )


def stack(values: Sequence[Any], name: str) -> Array:
    """Stack single examples into one array, in their own library."""
    try:
        arrays = [_convert(value, name) for value in values]
        return array_api_compat.array_namespace(arrays[0]).stack(arrays)
    except unless_stopped(ValueError, TypeError, RuntimeError) as error:
        shapes = sorted({tuple(as_real_array(value, name).shape) for value in values})[:3]
        raise ArgumentError(f"{name} differ from example to example (shapes {shapes}); make them equal") from error


def _convert(x: Any, name: str) -> Array:
    """Return an array of any library, or convert to one; refuse sparse and masked arrays, and those with a unit."""
    for method in ("toarray", "todense"):
        if hasattr(x, method):
            raise ArgumentError(f"{name} is sparse; give its {method}()")
    is_table = hasattr(x, "iloc")
    if not is_table:
        refuse_masks_and_units(x, name)
    x = as_array(x, name, np.float64 if _is_mixed_table(x) else None)
    if is_table and x.dtype == object:  # looking at all columns of each row would take longer
        refuse_masks_and_units(x, name)
    return host_array(x) if isinstance(x, np.ndarray) else x


def is_pair(item: Any) -> bool:
    """Tell whether this is a pair (x, y), of an example or a batch: two values in a tuple or a list."""
    return isinstance(item, (tuple, list)) and len(item) == 2


def column_names(x: Any, name: str) -> tuple[str, ...] | None:
    """Return the column names of inputs, as scikit-learn sees them; None unless they are strings.

    Those are the columns of a table of any library, and the index of a row of pandas.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> column_names(SimpleNamespace(columns=["width", "height"]), "x"), column_names([[1, 2]], "x")
    (('width', 'height'), None)
    """
    if type(x) is np.ndarray:
        return None  # fast path: predicting one example takes microseconds
    if hasattr(x, "columns"):
        names = x.column_names if hasattr(x, "schema") and hasattr(x, "column_names") else x.columns  # of pyarrow
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


def _compare_names(names: tuple[str, ...], known: tuple[str, ...]) -> str:
    """Format how column names differ from the known ones, and what to do."""
    missing = [column for column in known if column not in set(names)]
    unknown = [column for column in names if column not in set(known)]
    select = "take them by their names, as in X[list(net.feature_names)]"
    forget = "if other columns are meant, give an array, or set net.feature_names to None"
    if missing:
        return (
            f"lacks columns that the network was trained on: {list_names(missing)}"
            + (f"; it has others: {list_names(unknown)}" if unknown else "")
            + f"; {forget}"
        )
    if unknown:
        return f"has columns that the network was not trained on: {list_names(unknown)}; {select}"
    k, (now, then) = next((k, pair) for k, pair in enumerate(zip(names, known)) if pair[0] != pair[1])
    place = f"column {k} is {now!r} and was {then!r}, counted from 0"
    return f"has its columns in another order than the network was trained on: {place}; {select}"


def _refuse_pair(x: tuple[Any, ...], name: str) -> None:
    """Refuse a tuple of inputs and targets. A tuple of two arrays of the same shape is two examples."""
    if len(x) != 2 or not hasattr(x[0], "shape"):
        return
    try:
        first, second = (tuple(getattr(part, "shape", None) or np.shape(part)) for part in x)
    except unless_stopped(ValueError, TypeError):  # not arrays, which a later check reports
        return
    if first != second:
        raise ArgumentError(
            f"{name} is a tuple (X, y) with the shapes {first} and {second}; give X alone, as in net.forward(X)"
        )


def _refuse_pairs(x: Any, name: str, error: ValueError) -> None:
    """Refuse a sequence of pairs (x, y), or a data set of them, that could not be converted."""
    try:
        first = x[0]
    except unless_stopped(Exception):  # not a sequence, or a data set with an error of its own
        return
    if is_pair(first) and not isinstance(first[0], Real):  # or it is a row of two numbers, and others are not
        raise ArgumentError(
            f"{name} holds pairs (x, y), and predictions need the inputs alone, as in net.forward([x for x, y in data])"
        ) from error


def _shape_hint(x: Array, n_in: int) -> str:
    if n_in == 1 and x.ndim == 1:
        return "with one feature, the examples are a column, x.reshape(-1, 1)"
    if x.ndim == 2 and tuple(x.shape) == (n_in, 1):
        return "a column is not an example; give it as a row, x.T or x[:, 0]"
    if x.ndim == 1 and x.shape[0] == n_in:
        return "an example is a row, so one example is x[None, :]"
    return f"a row for each example, of {n_in} features"


def _locate_text(x: Array, name: str) -> str:
    """Format the place of the first value that is not a number, in an array of objects or strings, and the remedy."""
    if not isinstance(x, np.ndarray) or x.dtype.kind not in "OUS" or x.ndim == 0:
        return ""
    for place, value in np.ndenumerate(x):
        if not _is_number(value):
            where = "row {}, column {}".format(*place) if x.ndim == 2 else f"place {', '.join(map(str, place))}"
            shown = repr(value.item() if isinstance(value, np.generic) else value)
            remedy = f"; {TEXT_REMEDY}" if x.ndim == 2 and name[:1] in ("x", "X") else ""
            return f" ({shown if len(shown) <= 40 else shown[:37] + '...'} in {where}, counted from 0){remedy}"
    return ""


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError, OverflowError):
        return False
    return True


def _is_real(x: Array) -> bool:
    if isinstance(x, np.ndarray):
        return x.dtype.kind in "buif"
    try:
        return array_api_compat.array_namespace(x).isdtype(x.dtype, ("bool", "integral", "real floating"))
    except TypeError:  # not a dtype of the array API, such as that of JAX's random keys
        return False


def _find_mask_or_unit(x: Any, depth: int = 0) -> Any:
    """Find an array with a mask or a unit, in nested sequences and objects too; None if there is none."""
    if not isinstance(x, SEQUENCES):
        for array in _unwrap(x):
            if _has_mask(array) or _has_unit(array):
                return array
        x = _list_objects(x)
    kinds = set(map(type, x)) - NUMBERS  # there are few, so long lists of numbers take little time
    if not kinds or depth == MAX_AXES:
        return None
    is_nested = any(issubclass(kind, SEQUENCES) for kind in kinds)
    items = x if is_nested else (next(item for item in x if type(item) is kind) for kind in kinds)
    parts = (_find_mask_or_unit(item, depth + 1) for item in items)
    return next((part for part in parts if part is not None), None)


def _unwrap(x: Any) -> Iterator[Any]:
    """Iterate over an array and those within it: the data of xarray's, and what Dask's blocks will be like."""
    yield x
    if hasattr(type(x), "data") and not hasattr(x, "__dlpack__"):
        yield from _unwrap(x.data)
    elif hasattr(type(x), "__dask_graph__") and hasattr(x, "_meta"):
        yield x._meta


def _list_objects(x: Any) -> Sequence[Any]:
    """List the values of an array of objects, or of the columns of objects of pandas, of which others have one type."""
    if isinstance(x, np.ndarray):
        return x.ravel().tolist() if x.dtype == object else ()
    if not hasattr(x, "iloc") or getattr(x, "ndim", 0) not in (1, 2):
        return ()
    dtypes = [x.dtype] if x.ndim == 1 else x.dtypes
    places = [k for k, dtype in enumerate(dtypes) if getattr(dtype, "kind", "") == "O"]
    columns = (x if x.ndim == 1 else x.iloc[:, k] for k in places)
    return [value for column in columns for value in (column if column.dtype == object else column.iloc[:1])]


def _has_mask(x: Any) -> bool:
    """Tell whether a NumPy array has a mask, as those of numpy.ma and astropy."""
    return isinstance(x, np.ndarray) and hasattr(x, "mask")


def _has_unit(x: Any) -> bool:
    """Tell whether an array or number has a unit that it computes with, as those of astropy, pint and unyt.

    A text only labels, a method is no unit, and a table may have columns that are named so.
    """
    owner = x if isinstance(x, np.ndarray) else type(x)
    units = [getattr(x, name, None) for name in UNITS if hasattr(owner, name)]
    return any(not (unit is None or isinstance(unit, str) or isroutine(unit)) for unit in units)


def _is_mixed_table(x: Any) -> bool:
    """Tell whether this is a table with columns of real numbers in several dtypes, or in dtypes that NumPy lacks."""
    dtypes = list(x.dtypes) if getattr(x, "ndim", 0) == 2 and hasattr(x, "dtypes") else []
    real = all(getattr(dtype, "kind", "") in tuple("buif") for dtype in dtypes)
    return real and (len(set(dtypes)) > 1 or not all(isinstance(dtype, np.dtype) for dtype in dtypes))


def _name_dtype(x: Array) -> str:
    return str(x.dtype).rpartition(".")[2]


def _is_bytes(x: Array) -> bool:
    return x.dtype == (UINT8 if isinstance(x, np.ndarray) else array_api_compat.array_namespace(x).uint8)
