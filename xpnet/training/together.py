"""Training several networks of one shape in one program.

Every network has the training loop of a single one, with its own minibatches, learning rates, callbacks and history.
The loops go in step: when each has come to a chunk of steps, the states of networks whose minibatches have the same
size are joined, the steps run on all of them at once, and the states are split again. A network that has stopped, or
diverged, takes no part any more.
"""

import os
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from contextlib import closing, nullcontext
from functools import cached_property, partial
from itertools import accumulate
from math import ceil
from typing import Any, TypeAlias

import numpy as np

from xpnet.backends import Backend
from xpnet.backends.base import cast, on_host
from xpnet.backends.threads import AUTO
from xpnet.core.arrays import Array, count_bytes, leaves
from xpnet.core.members import Part, dimensions, extract, join, join_nests, whole
from xpnet.core.minibatch import Batch, Examples
from xpnet.core.optimizers.base import Optimizer
from xpnet.core.scaling import Scaling
from xpnet.core.step import State
from xpnet.data.reader import Reader
from xpnet.data.sources import Chunk, Source, make_bar, resident_examples
from xpnet.training.callbacks import Training, write_line
from xpnet.training.kept_loops import Loops
from xpnet.training.loop import ChunkRunner, Task, check_targets, explain_divergence
from xpnet.training.workers import Workers
from xpnet.wording.checks import count
from xpnet.wording.errors import DivergenceError

# Measured with NumPy and JAX on one core of an AMD EPYC (Zen 5): larger groups gain no more, and the products of larger
# networks take most of their time
LARGEST = 1 << 19  # weights and activations of the networks in a group, at most
FEWEST = 4  # networks in a group; larger networks train one after the other
# Networks are divided anew when no more than this fraction of them is left: until then, places of those that have
# stopped are filled, and a new division makes new programs
REST, REST_COMPILED = 7 / 8, 1 / 2
ROWS = 1 << 31  # of joined examples, which 32-bit indices must be able to number

Results: TypeAlias = dict[int, State | Part | DivergenceError]  # by the numbers of the networks


def train_together(
    loops: Sequence[Iterator[Task]],
    current: Callable[[int], State | Part],
    kinds: Sequence[Hashable],
    reader: Reader,
    optimizer: Optimizer,
    threads: int | None,
    kept: Loops,
) -> Iterator[Results]:
    """Train networks of one shape, and yield their states after each chunk of steps. Synchronizes once per chunk.

    A network that diverges stops as it was before the chunk, and the others go on.

    Parameters
    ----------
    loops
        The training loop of each network, from `train_epochs`.
    current
        Returns the state of a network, by its number. Each chunk begins with it, so whoever iterates must take over the
        states that are yielded.
    kinds
        Equal for networks whose chunks have minibatches of the same number and size: these can be joined.
    reader
        The networks' reader.
    optimizer
        Has the update that all of them have.
    threads
        The number of threads between which the networks are divided; None keeps all of them together.
    kept
        Loops of earlier trainings.

    Yields
    ------
    dict
        The new state of each network that has done a chunk of steps, perhaps as a part of a joined one; or the error if
        it has diverged.
    """
    number = min(threads or 1, len(loops))
    with closing(Workers(number)) if number > 1 else nullcontext() as workers:
        tasks = {k: task for k, loop in enumerate(loops) if (task := next(loop, None)) is not None}
        check_targets(tasks.values(), reader)
        groups: list[Group] = []
        size = 0  # the number of networks when they were divided
        largest_rest = REST_COMPILED if reader.backend.compiles else REST
        while tasks:
            before, run = {k: current(k) for k in tasks}, map if workers is None else workers.map
            if not groups or len(tasks) <= largest_rest * size:  # the remaining ones are spread evenly again
                size, own = len(tasks), {k: (kinds[k], layout(task.chunk)) for k, task in tasks.items()}
                rows = max(task.chunk.index.shape[-1] for task in tasks.values())
                divided = divide(own, reader.model.step_size(rows), threads)
                groups = [Group(numbers, reader, optimizer, kept) for numbers in divided]
                kept = Loops()  # those of later divisions would take memory from one training to the next
                run = map  # the first chunk runs group by group: what one of them compiles serves the others too
            results = run_groups(groups, before, tasks, run)
            yield results
            going = (k for k in tasks if not isinstance(results[k], DivergenceError))
            tasks = {k: task for k in going if (task := next(loops[k], None)) is not None}


def layout(chunk: Chunk) -> tuple[Any, ...]:
    """Describe how the examples of a chunk are stored: those that differ in it cannot be joined."""
    x, y, _ = chunk.examples
    return x.dtype, y.dtype, tuple(y.shape[1:]), chunk.scaling is None


class Group:
    """Networks that are joined into one; it runs chunks of steps of those that have not stopped.

    A network whose chunk does not fit those of the others is trained as it is alone; so is one of whose minibatches has
    only weights of zero, and is left out.

    Parameters
    ----------
    numbers
        The numbers of the networks.
    reader
        Their reader.
    optimizer
        Has the update that all of them have.
    loops
        Loops of earlier trainings.
    """

    def __init__(self, numbers: Sequence[int], reader: Reader, optimizer: Optimizer, loops: Loops) -> None:
        self.numbers, self.reader, self.optimizer, self.loops = numbers, reader, optimizer, loops
        self.runner = ChunkRunner(reader, optimizer, loops=loops, networks=tuple(numbers))
        self.runners: dict[int, ChunkRunner] = {}  # of networks that are trained alone
        self.pool = Pool((), reader.backend)
        self.states: list[Any] = []  # that came of the last chunk
        self.joined: State | None = None  # these as one
        self.axes: list[State] = []  # the dimensions of each
        self.scalings: list[Scaling | None] = []
        self.scaling: Scaling | None = None  # these as one

    def run(self, before: Mapping[int, State | Part], tasks: Mapping[int, Task]) -> Results:
        """Do the tasks of its networks. Synchronizes."""
        with self.reader.scope():
            active = [k for k in self.numbers if k in tasks]
            together = self._choose({k: tasks[k].chunk for k in active}) if len(active) > 1 else {}
            alone = [k for k in active if k not in together]
            results: Results = {k: self._run_alone(k, whole(before[k]), tasks[k]) for k in alone}
            return results | self._run_together(together, before, tasks) if together else results

    def _choose(self, chunks: Mapping[int, Chunk]) -> dict[int, np.ndarray | None]:
        """Choose the networks whose chunks can be joined; return the weights in their minibatches, if they have any."""
        shapes = {k: (chunk.index.shape, layout(chunk)) for k, chunk in chunks.items()}
        alike = [k for k, shape in shapes.items() if shape == shapes[next(iter(shapes))]]
        examples = [chunks[k].examples for k in alike]
        if not self.pool.holds(examples):
            self.pool = Pool((), self.reader.backend)  # frees the memory before there is another
            self.pool = Pool(examples, self.reader.backend)
        if self.pool.n >= ROWS:
            return {}
        weights = {k: self.pool.weigh(chunks[k]) for k in alike}
        together = {k: weight for k, weight in weights.items() if weight is None or weight.any(axis=-1).all()}
        return together if len(together) > 1 else {}

    def _run_alone(self, k: int, state: State, task: Task) -> State | DivergenceError:
        if k not in self.runners:
            self.runners[k] = ChunkRunner(self.reader, self.optimizer, task.alpha, self.loops, (k,))
        try:
            new, task.cost, task.weight = self.runners[k].run(state, task.chunk, task.lr, task.where)
        except DivergenceError:
            return explain_divergence(task.where, task.lr, k)
        task.engine = self.runners[k].loop.engine
        return new

    def _run_together(
        self, together: Mapping[int, np.ndarray | None], before: Mapping[int, State | Part], tasks: Mapping[int, Task]
    ) -> Results:
        # Few different sizes mean few programs to compile: the first network fills the places of those that stopped
        numbers = list(together)
        places = numbers + numbers[:1] * (len(self.numbers) - len(numbers))
        backend, xp, states = self.reader.backend, self.reader.backend.xp, [before[k] for k in places]
        batches, weights = self._make_batches([tasks[k] for k in places], [together[k] for k in places])
        scaling = self._join_scalings([tasks[k].chunk.scaling for k in places])
        if self.joined is None or not are_same(states, self.states):
            own = [whole(state) for state in states]
            self.joined, self.axes = join(own, backend.stack, xp), [dimensions(state) for state in own]
        new = self.runner.repeat(self.joined, self.pool.examples, scaling, batches)
        copy = partial(copy_part, self.reader)
        results: Results = {k: Part(new, i, self.axes[i], copy) for i, k in enumerate(numbers)}
        if not backend.all_finite(leaves((new.cost, new.layers))):
            for i, k in enumerate(numbers):
                if not backend.all_finite([x[i, ...] for x in leaves((new.cost, new.layers))]):
                    results[k] = explain_divergence(tasks[k].where, tasks[k].lr, k)
        for k, cost, weight in zip(numbers, backend.to_numpy(new.cost), weights.T):
            task = tasks[k]
            task.cost, task.weight = float(cost.sum(dtype=np.float64)), float(weight.sum())
            task.engine = self.runner.loop.engine
        self.joined, self.states = new, [results[k] for k in places]
        return results

    def _make_batches(self, tasks: Sequence[Task], weights: Sequence[np.ndarray | None]) -> tuple[Batch, np.ndarray]:
        """Join the minibatches of the networks; also return the sum of the weights in each, (steps, networks)."""
        dtype, shape = self.reader.dtype, tasks[0].chunk.index.shape
        index = np.stack([self.pool.index(task.chunk) for task in tasks], axis=1)
        lr = np.stack([task.lr for task in tasks], axis=1)
        weight, sums = None, np.full(lr.shape, float(shape[-1]))
        if any(own is not None for own in weights):
            weight = np.stack([np.ones(shape, dtype) if own is None else own for own in weights], axis=1)
            sums = weight.sum(axis=-1, dtype=np.float64)
        alpha = np.array([task.alpha for task in tasks])
        decay = cast((alpha / sums)[..., None, None], dtype) if alpha.any() else None
        return Batch(index, cast(lr[..., None, None], dtype), decay, weight), sums

    def _join_scalings(self, scalings: list[Scaling | None]) -> Scaling | None:
        if not are_same(scalings, self.scalings):
            self.scalings, self.scaling = scalings, scalings[0]
            if not are_same(scalings, scalings[:1] * len(scalings)):
                self.scaling = join_nests(scalings, self.reader.backend.stack, self.reader.backend.xp)
        return self.scaling


class Pool:
    """The examples of several networks as one: different ones lie one behind the other.

    Parameters
    ----------
    parts
        The examples of each network. Those with the same arrays of inputs and targets share them, and may have other
        weights.
    backend
        Where they are.
    """

    def __init__(self, parts: Sequence[Examples], backend: Backend) -> None:
        self.parts = {id(part): part for part in parts}  # keeps them, so that nothing else gets their ids
        self.columns, self.backend = distinct_columns(parts), backend
        starts = list(accumulate((y.shape[0] for _, y in self.columns.values()), initial=0))
        self.n = starts[-1]
        start_of = dict(zip(self.columns, starts))
        self.starts = {key: start_of[id(part.x), id(part.y)] for key, part in self.parts.items()}
        self.weights = {
            key: None if part.weight is None else backend.to_numpy(part.weight) for key, part in self.parts.items()
        }

    @cached_property
    def examples(self) -> Examples:
        """All of them, without weights."""
        xs, ys = zip(*self.columns.values())
        if len(xs) == 1:
            return Examples(xs[0], ys[0])
        concat = self.backend.xp.concat
        return Examples(concat(list(xs), axis=0), concat(list(ys), axis=0))

    def holds(self, parts: Sequence[Examples]) -> bool:
        """Tell whether these are among the examples."""
        return all(id(part) in self.parts for part in parts)

    def index(self, chunk: Chunk) -> np.ndarray:
        """Number the examples in the minibatches of a chunk."""
        return chunk.index + np.int32(self.starts[id(chunk.examples)])

    def weigh(self, chunk: Chunk) -> np.ndarray | None:
        """Look up the weights of the examples in the minibatches of a chunk, if they have any."""
        weight = self.weights[id(chunk.examples)]
        return None if weight is None else weight[chunk.index]


def distinct_columns(parts: Sequence[Examples]) -> dict[tuple[int, int], tuple[Array, Array]]:
    """List the different pairs of inputs and targets, by their ids."""
    return {(id(part.x), id(part.y)): (part.x, part.y) for part in parts}


def bytes_to_join(sources: Sequence[Source], kinds: Sequence[Hashable], step_size: int, threads: int | None) -> int:
    """Count the bytes of the examples that stay on the device and are joined."""
    total = 0
    for numbers in divide(dict(enumerate(kinds)), step_size, threads):
        resident = [examples for k in numbers if (examples := resident_examples(sources[k])) is not None]
        columns = distinct_columns(resident)
        if len(columns) > 1:
            total += sum(count_bytes(x) for pair in columns.values() for x in pair)
    return total


def are_same(objects: Sequence[Any], others: Sequence[Any]) -> bool:
    """Tell whether two lists hold the same objects."""
    return len(objects) == len(others) and all(x is y for x, y in zip(objects, others))


def copy_part(reader: Reader, joined: Any, k: int, axes: Any) -> Any:
    """Copy what belongs to network k out of a joined nest, on the device."""
    with reader.scope():
        return extract(joined, k, axes, reader.backend.take_part, reader.backend.xp)


def run_groups(
    groups: Sequence[Group], before: Mapping[int, State | Part], tasks: Mapping[int, Task], run: Any
) -> Results:
    """Do the tasks of all groups by `run`, which is `map` or that of workers."""
    return {k: result for part in run(lambda group: group.run(before, tasks), groups) for k, result in part.items()}


class SharedProgress:
    """A bar over the minibatches of several trainings, and a line per epoch if anything is evaluated.

    Parameters
    ----------
    trainings
        The trainings, which go in step.
    """

    def __init__(self, trainings: Sequence[Training]) -> None:
        self.trainings = trainings
        self.epochs = 0  # that have their line
        total = max(training.epochs * (training.steps or 0) for training in trainings) or None
        self.bar = make_bar(total=total, unit="batch", leave=False, dynamic_ncols=True)

    def update(self, active: Collection[int]) -> None:
        """Show how far the furthest training has come; write a line for each epoch that all active ones have ended."""
        furthest = max(self.trainings, key=lambda training: training.position.total_steps)
        epoch = min(furthest.position.epoch, furthest.epochs)
        self.bar.set_description(f"Epoch {epoch}/{furthest.epochs}, {len(active)} networks", refresh=False)
        self.bar.update(max(0, furthest.position.total_steps - self.bar.n))
        ended = [len(training.history) for training in self.trainings]
        for epoch in range(self.epochs, min((ended[k] for k in active), default=max(ended))):
            rows = [training.history.rows[epoch] for training in self.trainings if len(training.history) > epoch]
            self.epochs, line = epoch + 1, describe_epoch(rows)
            if line:
                epochs = max(training.epochs for training in self.trainings)
                write_line(self.bar, f"Epoch: {epoch + 1} / {epochs},\t {line}")

    def close(self) -> None:
        """Write the lines of the last epochs, and remove the bar."""
        self.update(())
        self.bar.close()


def describe_epoch(rows: Sequence[Mapping[str, Any]]) -> str:
    r"""Describe an epoch of several networks: the mean of each quantity that was evaluated, and its range in brackets.

    Examples
    --------
    >>> describe_epoch([{"cost": 0.3, "test_cost": 0.25}, {"cost": 0.4, "test_cost": 0.75}])
    '2 networks,\t test cost: 0.5 (0.25 to 0.75)'
    """
    names = [name for name in rows[0] if name.startswith(("test_", "validation_", "training_"))]
    names = [name for name in names if name not in ("test_size", "test_correct") and all(name in row for row in rows)]
    columns = {name: [row[name] for row in rows] for name in names}
    parts = [
        f"{name.replace('_', ' ')}: {sum(column) / len(column):.6g} ({min(column):.6g} to {max(column):.6g})"
        for name, column in columns.items()
    ]
    return "\t ".join([f"{len(rows)} networks,", *parts]) if parts else ""


def parse_group_threads(backend: Backend, threads: int | str) -> int | str:
    """Check the number of threads between which networks are divided."""
    if isinstance(threads, str) and threads == AUTO:
        return threads
    try:
        number = count("threads", threads, 1)
    except ValueError as error:
        raise ValueError(f'{error}, or "auto"') from None
    if not on_host(backend):
        raise ValueError(
            f"threads={threads!r} has no effect on {backend.device_name}, where all networks compute together; leave "
            "it out"
        )
    return number


def choose_group_threads(backend: Backend, threads: int | str, multiplications: int) -> int | None:
    """Choose the number of threads between which networks are divided; None, on a GPU, keeps all of them together.

    "auto" is the number of cores that the process may use; or one, where the products of a single network, of so many
    multiplications, are large enough for several threads of the library.
    """
    if not on_host(backend):
        return None
    if threads != AUTO:
        return int(threads)
    large = multiplications >= (backend.threads_from or Backend.threads_from or 0)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return 1 if large else cores


def divide(kinds: Mapping[int, Hashable], step_size: int, threads: int | None) -> list[list[int]]:
    """Divide networks into groups of one kind: at least one for each thread, and none that is too large.

    Where there are several kinds, small groups are not divided for the threads.

    Parameters
    ----------
    kinds
        The kind of each network, by its number.
    step_size
        `Model.step_size` for the minibatches.
    threads
        The number of threads; None for groups of any size.

    Examples
    --------
    >>> divide(dict.fromkeys(range(10), "a"), step_size=1000, threads=2)
    [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]
    >>> divide({0: "a", 1: "b", 2: "a", 3: "b"}, step_size=1000, threads=2)
    [[0, 2], [1, 3]]
    >>> divide({0: "a", 1: "a"}, step_size=10**7, threads=1), divide({0: "a", 1: "a"}, step_size=10**7, threads=None)
    ([[0], [1]], [[0, 1]])
    """
    numbers_of: dict[Hashable, list[int]] = {}
    for k, kind in kinds.items():
        numbers_of.setdefault(kind, []).append(k)
    if threads is None:
        return list(numbers_of.values())
    fitting, for_each_thread = LARGEST // step_size, ceil(len(kinds) / threads)
    groups = []
    for numbers in numbers_of.values():
        n = len(numbers)
        largest = min(max(ceil(n / threads), min(for_each_thread, FEWEST)), fitting) if fitting >= FEWEST else 1
        size = ceil(n / ceil(n / largest))
        groups += [numbers[start : start + size] for start in range(0, n, size)]
    return groups
