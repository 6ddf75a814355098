"""Sources whose examples stay on the device: all of them, or some rows of examples that several networks share."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from xpnet.core.arrays import map_arrays, select
from xpnet.core.minibatch import Examples
from xpnet.core.scaling import AnyScaling, Scaler
from xpnet.data.place import Place
from xpnet.data.reader import Reader
from xpnet.data.sampling import Sampling, cut_rows, split_into_chunks
from xpnet.data.scaling import place_scaling, scale_inputs, scale_slopes, scale_targets
from xpnet.data.source import Chunk, Columns, Countable, Weights, as_nest, store


@dataclass(frozen=True, eq=False)
class Resident(Countable):
    """Examples that stay on the device from the first epoch to the last."""

    columns: Columns
    weights: Weights | None
    reader: Reader

    def __len__(self) -> int:
        """Count the examples."""
        return self.columns.y.shape[0]

    @property
    def examples(self) -> Examples:
        """The examples as a nest of arrays."""
        return as_nest(self.columns, self.weights)

    def chunks(
        self, sampling: Sampling, rng: np.random.Generator, batch_size: int, most: int, networks: int = 1
    ) -> Iterator[Chunk]:
        """Draw the minibatches of one epoch."""
        for index in sampling.draw(len(self), batch_size, rng):
            for part in split_into_chunks(index, most):
                yield Chunk(self.columns, self.weights, part)

    def blocks(self, width: int) -> Iterator[Examples]:
        """Iterate over slices of the examples."""
        parts = list(cut_rows(len(self), width))
        if len(parts) == 1:
            yield self.examples
            return
        for part in parts:
            with self.reader.scope():
                block = select(self.examples, part)
            yield block

    def scaled(self, scaling: Scaler) -> "Resident":
        """Scale the examples."""
        return self.with_scaled(scale_columns(self.columns, scaling, self.reader.place), scaling)

    def with_scaled(self, columns: Columns, scaling: Scaler) -> "Resident":
        """Replace inputs and targets by those that were scaled."""
        return replace(self, columns=columns, reader=self.reader._replace(scaling=scaling))

    def find_overwritten(self) -> str | None:
        """Name a number that has become NaN or infinite since it was read: arrays may share the user's memory."""
        with self.reader.scope():
            arrays = {"X": self.columns.x, "y": self.columns.y, "slopes": self.columns.slopes}
            for name, array in ((name, x) for name, x in arrays.items() if x is not None and x.ndim > 1):
                if (place := self.reader.place.find_not_finite(array)) is not None:
                    return f"row {place[0]}, column {place[1]} of {name}"
        return None

    @property
    def is_wide(self) -> bool:
        """Whether some numbers are still unscaled, because the dtype would round them."""
        x, y, place = self.columns.x, self.columns.y, self.reader.place
        return place.is_wide(x) or (y.ndim > 1 and place.is_wide(y))


@dataclass(frozen=True, eq=False)
class Rows(Countable):
    """Some rows of a source whose examples are shared; a row may occur several times.

    Shared examples are not scaled in place: a scaling is applied to each block, and to each minibatch when it is
    gathered. If the examples are scaled already, only the difference between the two scalings is applied.
    """

    source: Resident
    rows: np.ndarray  # (n,) int32, on the host
    scaling: Scaler | None = None

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.rows)

    @property
    def columns(self) -> Columns:
        """Inputs and targets of the source, all rows included."""
        return self.source.columns

    @property
    def reader(self) -> Reader:
        """The reader of the source, with the scaling."""
        reader = self.source.reader
        return reader if self.scaling is None else reader._replace(scaling=self.scaling)

    @cached_property
    def remaining(self) -> AnyScaling | None:
        """The scaling that the examples of the source still need, on the device."""
        before = self.source.reader.scaling
        if self.scaling is None or before is None:
            return None if self.scaling is None else self.scaling.in_dtype
        reader = self.source.reader
        return place_scaling(self.scaling.exact.after(before.exact), reader.model, reader.place).in_dtype

    def chunks(
        self, sampling: Sampling, rng: np.random.Generator, batch_size: int, most: int, networks: int = 1
    ) -> Iterator[Chunk]:
        """Draw the minibatches of one epoch."""
        for index in sampling.draw(len(self), batch_size, rng):
            for part in split_into_chunks(index, most):
                yield Chunk(self.source.columns, self.source.weights, self.rows[part], self.remaining)

    def blocks(self, width: int) -> Iterator[Examples]:
        """Iterate over the rows in order."""
        for part in cut_rows(len(self), width):
            block, scaling = take_rows(self.source, self.rows[part]).examples, self.remaining
            if scaling is not None:
                with self.source.reader.scope():
                    block = block._replace(x=scaling.inputs(block.x), y=scaling.targets(block.y))
            yield block

    def with_scaled(self, columns: Columns, scaling: Scaler) -> "Rows":
        """Replace inputs and targets of the source by those that were scaled."""
        return replace(self, source=self.source.with_scaled(columns, scaling))

    def scaled(self, scaling: Scaler) -> "Rows | Resident":
        """Return the same rows, scaled; if the dtype would round the numbers, a scaled copy of these rows."""
        if self.source.is_wide:
            return take_rows(self.source, self.rows).scaled(scaling)
        return replace(self, scaling=scaling)


def make_resident(examples: Examples, reader: Reader) -> Resident:
    """Make a source of examples on the device."""
    return Resident(*store(examples, reader.place), reader)


def scale_columns(columns: Columns, scaling: Scaler, place: Place) -> Columns:
    """Scale inputs, targets and slopes."""
    x, y = scale_inputs(columns.x, scaling, place), scale_targets(columns.y, scaling, place)
    return Columns(x, y, scale_slopes(columns.slopes, scaling, place))


def take_rows(source: Resident, index: np.ndarray) -> Resident:
    """Take some of a source's examples, by index."""
    place = source.reader.place
    columns, weights = store(map_arrays(lambda column: place.take(column, index), source.examples), place)
    return replace(source, columns=columns, weights=weights)
