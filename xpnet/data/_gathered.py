"""A source that gathers inputs that stay where they are, chunk by chunk.

While a network trains on one chunk, a thread gathers the next one. Targets and weights are small, and are kept on the
device.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from xpnet._checks import check_lengths
from xpnet.backends import Workers
from xpnet.core.arrays import rows_per_block
from xpnet.core.minibatch import Examples
from xpnet.data._feature_names import name_part
from xpnet.data._outside import HostRows, as_host_rows, reading_at_random
from xpnet.data._scaling import PlacedScaling
from xpnet.data._streams import OnDemand
from xpnet.data.reader import Reader
from xpnet.data.sampling import in_order
from xpnet.data.source import Chunk, Resident, Stored

ROWS_TO_CHECK = 1024  # before training; the others are checked when they are read

Part = TypeVar("Part")
Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class Gathered(OnDemand, Stored):
    """Examples whose inputs stay where they are on the host: ``examples.x`` are `HostRows`.

    Parameters
    ----------
    reader, examples, rows
        As in `Stored`. The reader checks the inputs, moves them to the device and scales them.
    name
        The name of the inputs in errors.
    """

    name: str = "X"
    chunks_held = 6  # one that is trained on, the next one, and copies on their way to the device

    @property
    def inputs(self) -> HostRows:
        """The inputs of all examples."""
        inputs: Any = self.examples.x
        return inputs

    def read(self, index: np.ndarray) -> Examples:
        """Gather some rows and move them to the device."""
        return self._move(index, self.inputs.read(self.number(index)))

    def chunks(
        self, minibatches: Iterable[np.ndarray], most: int, networks: int = 1, epoch: int = 1
    ) -> Iterator[Chunk]:
        """Take the minibatches of one epoch; for a lone network, a thread gathers one chunk ahead.

        For a device, it only gathers, for another thread must not use the device while a step is recorded there.
        """
        parts, at_once = self.split(minibatches, most, networks), self.reader.backend.on_host
        with reading_at_random(self.inputs.inputs) as ask_for:

            def gather(part: np.ndarray) -> Any:
                index = part.ravel()
                if ask_for is not None:
                    ask_for(self.inputs.number(self.number(index)))
                return self.read(index) if at_once else self.inputs.read(self.number(index))

            for part, rows in read_ahead(gather, parts) if networks == 1 else ((part, gather(part)) for part in parts):
                examples = rows if at_once else self._move(part.ravel(), rows)
                weight = None if self.all_weights is None else self.all_weights[self.number(part.ravel())]
                yield Chunk(examples, weight, in_order(part.shape))

    def scaled(self, scaling: PlacedScaling) -> "Gathered":
        """Return the same rows with scaled targets, and a reader that scales the inputs."""
        y, slopes = scaling.targets(self.examples.y), scaling.slopes(self.examples.slopes)
        reader = self.reader._replace(scaling=scaling)
        return replace(self, reader=reader, examples=self.examples._replace(y=y, slopes=slopes))

    def read_all(self) -> Resident:
        """Move all examples to the device."""
        return Resident(self.reader, self.read(np.arange(len(self), dtype=np.int32)))

    def _move(self, index: np.ndarray, block: np.ndarray) -> Examples:
        x = self.reader.read_inputs(block, self.name, self.inputs.number(self.number(index)))
        return self.take_columns(index, self.examples._replace(x=None))._replace(x=x)


def read_ahead(read: Callable[[Part], Result], parts: Iterable[Part]) -> Iterator[tuple[Part, Result]]:
    """Read parts in a thread, each while the one before is used.

    Examples
    --------
    >>> list(read_ahead(abs, [-1, -2]))
    [(-1, 1), (-2, 2)]
    """
    waiting = deque[tuple[Part, Callable[[], Result]]]()
    with closing(Workers(1)) as workers:
        for part in parts:
            waiting.append((part, workers.start(read, part)))
            if len(waiting) > 1:
                before, wait = waiting.popleft()
                yield before, wait()
        for before, wait in waiting:
            yield before, wait()


def gather_examples(x: Any, y: Any, name: str, reader: Reader) -> Gathered:
    """Make a source of inputs that stay outside, and their targets; the first are checked before training begins."""
    x_name, y_name = name_part("X", name), name_part("y", name)
    y, inputs = reader.read_targets(y, y_name), as_host_rows(x)
    columns: Any = inputs, y, reader.weigh_classes(y)
    check_lengths(x_name, len(inputs), y_name, y.shape[0])
    reader.check_names(inputs.inputs, x_name)
    reader.check_shape(inputs, x_name)
    source = Gathered(reader, Examples(*columns), name=x_name)
    n = min(len(source), ROWS_TO_CHECK, rows_per_block(reader.model.n_in))
    source.read(np.arange(n, dtype=np.int32))
    return replace(source, reader=reader._replace(warns=False))
