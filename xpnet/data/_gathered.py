"""Sources that gather inputs that stay where they are, chunk by chunk.

While a network trains on one chunk, a thread gathers the next one. Targets and weights are small, and are kept on the
device.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeAlias, TypeVar

import numpy as np

from xpnet._checks import check_lengths
from xpnet.backends import Workers, to_host
from xpnet.core.arrays import map_arrays, rows_per_block
from xpnet.core.minibatch import Examples
from xpnet.core.scaling import PlacedScaling
from xpnet.data._feature_names import name_part
from xpnet.data._host_rows import HostRows, as_host_rows, reading_at_random
from xpnet.data._scaling import scale_slopes, scale_targets
from xpnet.data._streams import OnDemand
from xpnet.data.conversion import stays_outside
from xpnet.data.reader import Reader
from xpnet.data.sampling import in_order
from xpnet.data.source import Chunk, Resident, Rows, take_rows, weight_on_host

OUTSIDE: Any = None  # for the inputs of examples that are not on the device
ROWS_TO_CHECK = 1024  # before training; the others are checked when they are read

Part = TypeVar("Part")
Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class Gathered(OnDemand):
    """Examples whose inputs stay where they are on the host, in the order of `Resident`.

    Parameters
    ----------
    inputs
        The rows of the inputs.
    examples
        Targets, weights and slopes, on the device; `examples.x` is None.
    reader
        Checks the inputs, moves them to the device and scales them.
    name
        The name of the inputs in errors.
    """

    inputs: HostRows
    examples: Examples
    reader: Reader
    name: str = "X"
    chunks_held = 6  # one that is trained on, the next one, and copies on their way to the device

    def __len__(self) -> int:
        """Count the examples."""
        return len(self.inputs)

    def read(self, index: np.ndarray) -> Examples:
        """Gather some rows and move them to the device."""
        return self._move(index, self.inputs.read(index))

    @cached_property
    def weight(self) -> np.ndarray | None:
        """The weights of the examples on the host, if they have any. Synchronizes."""
        return weight_on_host(self.examples, self.reader.place)

    def chunks(self, minibatches: Iterable[np.ndarray], most: int, networks: int = 1) -> Iterator[Chunk]:
        """Take the minibatches of one epoch; for a lone network, a thread gathers one chunk ahead.

        For a device, it only gathers, for another thread must not use the device while a step is recorded there.
        """
        parts, at_once = self.split(minibatches, most, networks), self.reader.backend.on_host
        with reading_at_random(self.inputs.inputs) as ask_for:

            def gather(part: np.ndarray) -> Any:
                index = part.ravel()
                if ask_for is not None:
                    ask_for(self.inputs.number(index))
                return self.read(index) if at_once else self.inputs.read(index)

            for part, rows in read_ahead(gather, parts) if networks == 1 else ((part, gather(part)) for part in parts):
                examples = rows if at_once else self._move(part.ravel(), rows)
                weight = None if self.weight is None else self.weight[part.ravel()]
                yield Chunk(examples, weight, in_order(part.shape))

    def scaled(self, scaling: PlacedScaling) -> "Gathered":
        """Return the same rows with scaled targets, and a reader that scales the inputs."""
        reader = self.reader._replace(scaling=scaling)
        y = scale_targets(self.examples.y, scaling, reader.place)
        slopes = scale_slopes(self.examples.slopes, scaling, reader.place)
        return replace(self, examples=self.examples._replace(y=y, slopes=slopes), reader=reader)

    def take(self, index: np.ndarray) -> "Gathered":
        """Take some of the examples, by their numbers, without reading their inputs."""
        return replace(self, inputs=self.inputs.take(index), examples=self._take(index))

    def read_all(self) -> Resident:
        """Move all examples to the device."""
        return Resident(self.read(np.arange(len(self), dtype=np.int32)), self.reader)

    def _move(self, index: np.ndarray, block: np.ndarray) -> Examples:
        x = self.reader.read_inputs(block, self.name, self.inputs.number(index))
        return self._take(index)._replace(x=x)

    def _take(self, index: np.ndarray) -> Examples:
        return map_arrays(lambda column: self.reader.place.take(column, index), self.examples)


def read_ahead(read: Callable[[Part], Result], parts: Iterable[Part]) -> Iterator[tuple[Part, Result]]:
    """Read parts in a thread, each while the one before is used.

    Examples
    --------
    >>> list(read_ahead(abs, [-1, -2]))
    [(-1, 1), (-2, 2)]
    """
    workers = Workers(1)
    try:
        before: tuple[Part, Callable[[], Result]] | None = None
        for part in parts:
            wait = workers.start(read, part)
            if before is not None:
                yield before[0], before[1]()
            before = part, wait
        if before is not None:
            yield before[0], before[1]()
    finally:
        workers.close()


def gather_examples(x: Any, y: Any, name: str, reader: Reader) -> Gathered:
    """Make a source of inputs that stay outside, and their targets; the first are checked before training begins."""
    x_name, y_name = name_part("X", name), name_part("y", name)
    y, inputs = reader.read_targets(y, y_name), as_host_rows(x)
    check_lengths(x_name, len(inputs), y_name, y.shape[0])
    weight = None if reader.class_weight is None else reader.look_up_class_weight(y, reader.class_weight)
    reader.check_names(inputs.inputs, x_name)
    reader.check_shape(inputs, x_name)
    source = Gathered(inputs, Examples(OUTSIDE, y, weight), reader, x_name)
    n = min(len(source), ROWS_TO_CHECK, rows_per_block(reader.model.n_in))
    source.read(np.arange(n, dtype=np.int32))
    return replace(source, reader=reader._replace(warns=False))


Stored: TypeAlias = Resident | Gathered  # sources whose targets and weights stay on the device
RowSource: TypeAlias = Stored | Rows


def with_weight(source: Stored, weight: Any) -> Stored:
    """Multiply the weights of a source's examples by `weight`, (n,) on the device."""
    if source.examples.weight is not None:
        with source.reader.scope():
            weight = weight * source.examples.weight
    return replace(source, examples=source.examples._replace(weight=weight))


def replace_weight(source: RowSource, weight: Any) -> RowSource:
    """Replace the weights of a source's examples, or of those whose rows it has, by others on the device, or None."""
    if isinstance(source, Rows):
        return replace(source, source=replace_weight(source.source, weight))
    return replace(source, examples=source.examples._replace(weight=weight))


def read_targets(source: RowSource) -> tuple[np.ndarray, np.ndarray | None]:
    """Return targets and weights of the examples, on the host. Synchronizes."""
    with source.reader.scope():
        y = to_host(source.examples.y)  # where they are already, if they are to be scaled
    return y[source.rows] if isinstance(source, Rows) else y, source.weight


def share_rows(source: RowSource, index: np.ndarray) -> Gathered | Rows:
    """Take some of the examples, by their numbers, without copying their inputs."""
    if isinstance(source, Gathered):
        return source.take(index)
    return replace(source, rows=source.rows[index]) if isinstance(source, Rows) else Rows(source, index)


def gather_rows(source: Rows) -> Gathered:
    """Make a source that gathers the same rows of a memory map."""
    stored = source.source
    examples = stored.examples._replace(x=OUTSIDE)
    return Gathered(HostRows(stored.examples.x), examples, stored.reader).take(source.rows)


def copy_rows(source: RowSource, index: np.ndarray) -> RowSource:
    """Take some of the examples, by their numbers. Those in memory are copied, which makes them faster to read."""
    if isinstance(source, Resident) and not stays_outside(source.examples.x):
        return take_rows(source, index)
    return share_rows(source, index)
