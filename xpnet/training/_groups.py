"""Taking the steps of chunks of minibatches: of one network, or of several of one shape in one program.

The states of networks whose minibatches have the same size are joined, the steps run on all of them at once, and the
states are split again. Networks that have stopped or diverged drop out.
"""

import math
import os
from collections import defaultdict
from collections.abc import Callable, Generator, Hashable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from functools import cached_property, partial
from itertools import accumulate
from math import ceil
from operator import is_
from typing import Any

import numpy as np

from xpnet._identity import is_fixed
from xpnet.backends import AUTO, COPIES_OF_STATE, Backend, Workers, require_bytes
from xpnet.backends.base import GroupLimits, Loop, Speed, cast
from xpnet.core.arrays import count_bytes, leaves
from xpnet.core.members import MemberState, dimensions, extract, join, join_nests, whole
from xpnet.core.minibatch import Batch, Examples, make_minibatch
from xpnet.core.model import Model
from xpnet.core.optimizers import Optimizer
from xpnet.core.scaling import Scaling
from xpnet.core.step import State, WholeStep, make_step
from xpnet.data.reader import Reader
from xpnet.data.source import Chunk, Resident, identify
from xpnet.training._plan import Job
from xpnet.value import Value, init_optimizer

# Networks are divided anew once at most this fraction of them is left. Until then, copies of another network fill the
# places of those that have stopped: new groups mean new programs
REGROUP_AT, REGROUP_AT_COMPILED = 7 / 8, 1 / 2
MOST_ROWS = 1 << 31  # of joined examples, whose indices have 32 bits
CHUNK_SECONDS = 0.1
FEWEST_STEPS = 20  # in a chunk

# What a chunk of steps changes in the value of a network, its state at least; the sum over its examples, of each cost
# times its weight; the sum of their weights; and how the steps ran
ChunkResult = tuple[Mapping[str, Any], float, float, str]
ChunkResults = dict[int, ChunkResult | None]  # by the numbers of the networks; None if it is not finite


# Loops that are kept


class KeptLoops:
    """Loops of a network's trainings, which are lent to one thread at a time. Copies and pickles are empty.

    Examples
    --------
    >>> loops = KeptLoops()
    >>> with loops.lend("a", object) as first, loops.lend("a", object) as second:
    ...     first is second
    False
    >>> with loops.lend("a", object) as again:
    ...     again in (first, second)
    True
    """

    def __init__(self) -> None:
        self._free: dict[Any, list[Loop]] = defaultdict(list)  # those that nobody has borrowed

    def __reduce__(self) -> Any:
        """Copy and pickle nothing."""
        return KeptLoops, ()

    @contextmanager
    def lend(self, key: Hashable, make: Callable[[], Loop]) -> Generator[Loop, None, None]:
        """Lend a loop with a key, or a new one. Equal keys must mean equal steps.

        After an error or an interrupt, it is not kept: another thread may still be running it.
        """
        loop = None
        with suppress(IndexError):  # two threads may ask for the last one
            loop = self._free[key].pop()
        loop = loop or make()
        yield loop
        self._free[key].append(loop)

    def trim(self, backend: Backend) -> None:
        """Release memory of loops that are free, but for what the backend allows to those of this training."""
        free, self._free, most = self._free, defaultdict(list), backend.kept_bytes
        for loops in reversed(free.values()):
            for loop in reversed(loops):
                most -= loop.end_training(most)
        self._free = free


# Groups of networks


@contextmanager
def run_in_groups(jobs: Sequence[Job], threads: int | None, loops: KeptLoops) -> Generator["Groups", None, None]:
    """Return the context of the runner of networks of one shape: it joins them, and takes their steps in this process.

    Parameters
    ----------
    jobs
        The networks, and how to train each. Their optimizers have the same `update`.
    threads
        The number of threads among which the networks are divided; None keeps all of them together.
    loops
        The loops of earlier trainings of these networks.
    """
    number = min(threads or 1, len(jobs))
    try:
        with closing(Workers(number)) if number > 1 else nullcontext() as workers:
            yield Groups(jobs, threads, loops, workers)
    finally:
        loops.trim(jobs[0].start.value.backend)


class Groups:
    """Networks of one shape, divided into groups that take their steps in one program, and the threads that run them.

    Those that were joined before they were resumed are so again.

    Parameters
    ----------
    jobs, threads, loops
        As in `run_in_groups`.
    workers
        The threads, if there are several.
    """

    def __init__(self, jobs: Sequence[Job], threads: int | None, loops: KeptLoops, workers: Workers | None) -> None:
        self.jobs, self.reader, self.threads = jobs, jobs[0].data.train.reader, threads
        self.loops, self.workers = loops, workers
        self.groups: list[Group] = []
        self.members: set[int] = set()  # the networks when they were divided
        self.run_fields = dict[str, Any]()
        before = [job.start.group for job in jobs]  # None before the first step
        if division := [[k for k, own in enumerate(before) if own == group] for group in {*before} - {None}]:
            self._make_groups(division)

    @property
    def division(self) -> list[Sequence[int]]:
        """The numbers of the networks in each group."""
        return [group.numbers for group in self.groups]

    def run(self, values: Mapping[int, Value], chunks: Mapping[int, Chunk]) -> ChunkResults:
        """Take the steps of a chunk of each network, by their numbers; a new state may be part of a joined one."""
        states = {k: value.stored for k, value in values.items()}
        regroup_at = REGROUP_AT_COMPILED if self.reader.backend.compiles else REGROUP_AT
        if len(chunks) <= regroup_at * len(self.members) or not chunks.keys() <= self.members:
            self._divide(chunks)  # the remaining ones are spread evenly again

        def run(group: Group) -> ChunkResults:
            return group.run(states, chunks)

        # The first chunk runs group by group: what one of them compiles serves the others too
        workers, self.is_new = None if self.is_new else self.workers, False
        parts = [*map(run, self.groups)] if workers is None else workers.map(run, self.groups)
        return {k: result for part in parts for k, result in part.items()}

    def _divide(self, chunks: Mapping[int, Chunk]) -> None:
        """Divide the networks that still have steps to take."""
        kinds = {k: describe_minibatches(self.jobs[k], chunk) for k, chunk in chunks.items()}
        step_size = self.reader.model.step_size(max(chunk.index.shape[-1] for chunk in chunks.values()))
        self._make_groups(divide_networks(kinds, step_size, self.threads, self.reader.backend.group_limits))

    def _make_groups(self, division: Sequence[Sequence[int]]) -> None:
        if self.groups:  # whose programs may be of other sizes
            self.loops.trim(self.reader.backend)
        self.members = {k for numbers in division for k in numbers}
        self.groups = [Group(numbers, self.jobs, self.loops) for numbers in division]
        self.is_new = True


def describe_minibatches(job: Job, chunk: Chunk) -> tuple[Hashable, ...]:
    """Describe what networks must share to be joined: examples, steps, batch sizes, and whether there is a penalty."""
    plan, source = job.plan, job.data.train
    length = len(source) if source.has_length else None
    return length, source.steps(plan.sampling, plan.batch_size), plan.batch_size, plan.alpha > 0, layout(chunk)


def layout(chunk: Chunk) -> tuple[Any, ...]:
    """Describe how the examples of a chunk are stored; chunks that differ in it cannot be joined."""
    x, y = chunk.examples.x, chunk.examples.y
    return x.dtype, y.dtype, tuple(y.shape[1:]), type(chunk.scaling)


def divide_networks(
    kinds: Mapping[int, Hashable], step_size: int, threads: int | None, limits: GroupLimits
) -> list[list[int]]:
    """Divide networks into groups of one kind: at least one for each thread, and none that is too large.

    If there are several kinds, groups that are small already are not divided further among the threads.

    Parameters
    ----------
    kinds
        The kind of each network, by its number.
    step_size
        `Model.step_size` for the minibatches.
    threads
        The number of threads; None for groups of any size.
    limits
        Those of the backend.

    Examples
    --------
    >>> limits = GroupLimits(numbers=2**19, fewest=4)
    >>> divide_networks(dict.fromkeys(range(10), "a"), 1000, 2, limits)
    [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]
    >>> divide_networks({0: "a", 1: "b", 2: "a", 3: "b"}, 1000, 2, limits)
    [[0, 2], [1, 3]]
    >>> divide_networks({0: "a", 1: "a"}, 10**7, 1, limits)
    [[0], [1]]
    >>> divide_networks({0: "a", 1: "a"}, 10**7, None, limits)
    [[0, 1]]
    """
    numbers_of: dict[Hashable, list[int]] = {}
    for k, kind in kinds.items():
        numbers_of.setdefault(kind, []).append(k)
    if threads is None:
        return list(numbers_of.values())
    fitting, for_each_thread = limits.numbers // step_size, ceil(len(kinds) / threads)
    groups: list[list[int]] = []
    for numbers in numbers_of.values():
        n = len(numbers)
        largest = (
            min(max(ceil(n / threads), min(for_each_thread, limits.fewest)), fitting) if fitting >= limits.fewest else 1
        )
        size = ceil(n / ceil(n / largest))
        groups += [numbers[start : start + size] for start in range(0, n, size)]
    return groups


class ChunkRunner:
    """Runs the steps of chunks.

    Parameters
    ----------
    reader
        Knows the model, the backend and the dtype.
    optimizer
        The optimizer.
    loops
        Loops of other runners, if any.
    """

    def __init__(self, reader: Reader, optimizer: Optimizer, loops: KeptLoops | None = None) -> None:
        self.backend, self.dtype = reader.backend, reader.dtype
        self.scope, self.encoding = reader.scope, reader.encoding()
        # What uses linalg cannot be recorded
        plain = partial(Loop, self.backend) if getattr(optimizer, "linalg", ()) and not self.backend.compiles else None

        def prepare(update: Any) -> Callable[[], AbstractContextManager[Loop]]:
            structure = reader.model.sigmas, reader.model.output, update
            step = make_step(*structure)
            make = partial(plain or self.backend.loop, step, make_minibatch)
            if loops is not None and is_fixed(step):
                return partial(loops.lend, (reader.place, *structure), make)
            return partial(nullcontext, make())

        self.lend_taking, add = prepare(optimizer.update), getattr(optimizer.update, "add", None)
        self.lend_adding = self.lend_taking if add is None else prepare(WholeStep(add))

    def lend(self, lr: np.ndarray) -> AbstractContextManager[Loop]:
        """Lend the loop for steps with these rates; where they are 0, whole steps only add parts of the examples."""
        return self.lend_taking() if lr.any() else self.lend_adding()

    def run(self, state: State, chunk: Chunk, alpha: float = 0.0) -> ChunkResult | None:
        """Run the steps of a chunk on a copy of the state; None if it is no longer finite. Synchronizes.

        Minibatches of zero weight are skipped: they would change nothing. `alpha` adds α/2m ‖w‖² to the cost of a
        minibatch; m is the sum of its examples' weights.
        """
        with self.scope(), self.lend(chunk.lr) as loop:
            weights, own = np.full(len(chunk.index), float(chunk.index.shape[1])), look_up_weights(chunk)
            if own is not None:
                weights = own.sum(axis=-1, dtype=np.float64)
            used = weights > 0
            if not used.any():
                return {"stored": state}, 0.0, 0.0, loop.engine
            batches = Batch(
                index=chunk.index[used],
                lr=cast(chunk.lr[used], self.dtype),
                decay=cast(alpha / weights[used], self.dtype) if alpha else None,
                weight=None if own is None else own[used],
            )
            new = self.repeat(loop, state, chunk.examples, chunk.scaling, batches)
            if not self.backend.all_finite(leaves((new.cost, new.layers))):
                return None
            cost = float(self.backend.to_numpy(new.cost).sum(dtype=np.float64))
            return {"stored": new}, cost, float(weights.sum()), loop.engine

    def repeat(self, loop: Loop, state: State, examples: Examples, scaling: Scaling | None, batches: Batch) -> State:
        """Repeat the step for every batch, on a copy of the state. The new state holds the costs of these steps."""
        with self.scope():
            cost = self.backend.asarray(np.zeros(batches.index.shape[1:]), self.dtype)
            examples = examples._replace(weight=None)  # the batches have it
            return loop(state._replace(cost=cost), batches, (examples, self.encoding._replace(scaling=scaling)))


def look_up_weights(chunk: Chunk) -> np.ndarray | None:
    """Look up the weights of the examples in each minibatch, (steps, m), if they have any."""
    weight = chunk.examples.weight
    return None if weight is None else weight[chunk.index]


def steps_per_chunk(model: Model, batch_size: int, speed: Speed, networks: int = 1) -> int:
    """Choose the number of steps in a chunk: about a tenth of a second's, or more where copying the state takes long.

    The time of a step is a rough estimate, for one core: calls of operations, passes over the weights, and products. It
    reads no clock, so the same training always has the same chunks.

    Parameters
    ----------
    model
        The structure of the network.
    batch_size
        Examples in a minibatch.
    speed
        `Backend.speed`.
    networks
        The number of networks that are trained in one program.

    Examples
    --------
    >>> from xpnet import Network, get_backend
    >>> small, large = Network([784, 30, 10]).value.model, Network([784, 2048, 2048, 10]).value.model
    >>> speed = get_backend("numpy").speed
    >>> steps_per_chunk(small, 10, speed), steps_per_chunk(large, 512, speed)
    (1566, 20)
    """
    n_weights = networks * model.n_weights
    step = speed.layer * len(model.shapes) + n_weights * (speed.weight + speed.product * batch_size)
    return max(FEWEST_STEPS, int(max(CHUNK_SECONDS, speed.copies * n_weights) / step))


class Group:
    """Networks that are joined into one; runs the steps of those that still have work.

    Networks whose chunk has another shape train alone; so do those with a minibatch of zero weight, which is skipped.
    A group of one network computes without an axis of networks.

    Parameters
    ----------
    numbers
        The numbers of its networks.
    jobs
        All networks, and how to train each.
    loops
        Loops of earlier trainings.
    """

    def __init__(self, numbers: Sequence[int], jobs: Sequence[Job], loops: KeptLoops) -> None:
        self.numbers, self.reader = numbers, jobs[0].data.train.reader
        self.alphas = {k: jobs[k].plan.alpha for k in numbers}
        self.runner = ChunkRunner(self.reader, jobs[0].plan.optimizer, loops)
        self.pool = Pool((), self.reader.backend)
        self.states: list[Any] = []  # after the last chunk
        self.joined: State | None = None  # these as one
        self.axes: list[State] = []  # the dimensions of each
        self.scalings: list[Scaling | None] = []
        self.scaling: Scaling | None = None  # these as one

    def run(self, states: Mapping[int, State | MemberState], chunks: Mapping[int, Chunk]) -> ChunkResults:
        """Take the steps of its networks. Synchronizes."""
        with self.reader.scope():
            active = [k for k in self.numbers if k in chunks]
            together = self._choose({k: chunks[k] for k in active}) if len(active) > 1 else []
            alone = [k for k in active if k not in together]
            results: ChunkResults = {k: self.runner.run(whole(states[k]), chunks[k], self.alphas[k]) for k in alone}
            return results | self._run_together(together, states, chunks) if together else results

    def _choose(self, chunks: Mapping[int, Chunk]) -> list[int]:
        """Choose the networks whose chunks can be joined: of one shape, and without minibatches of zero weight."""
        shapes = {k: (chunk.index.shape, layout(chunk)) for k, chunk in chunks.items()}
        alike = [k for k, shape in shapes.items() if shape == shapes[next(iter(shapes))]]
        examples = {identify(chunks[k].examples): chunks[k].examples for k in alike}
        if not examples.keys() <= self.pool.starts.keys():
            self.pool = Pool((), self.reader.backend)  # frees the memory before there is another
            self.pool = Pool(examples.values(), self.reader.backend)
        weights = {k: look_up_weights(chunks[k]) for k in alike}
        together = [k for k, weight in weights.items() if weight is None or weight.any(axis=-1).all()]
        return together if len(together) > 1 and self.pool.n < MOST_ROWS else []

    def _run_together(
        self, numbers: list[int], states: Mapping[int, State | MemberState], chunks: Mapping[int, Chunk]
    ) -> ChunkResults:
        # Few different sizes mean few programs to compile: the first network fills the places of those that stopped
        places = numbers + numbers[:1] * (len(self.numbers) - len(numbers))
        backend = self.reader.backend
        batches, weights = self._join_batches(places, chunks)
        scaling = self._join_scalings([chunks[k].scaling for k in places])
        with self.runner.lend(chunks[numbers[0]].lr) as loop:
            state = self._join_states([states[k] for k in places])
            new, engine = self.runner.repeat(loop, state, self.pool.examples, scaling, batches), loop.engine
        copy, arrays = partial(copy_member, self.reader), leaves((new.cost, new.layers))
        parts = [MemberState(new, i, self.axes[i], copy) for i in range(len(numbers))]
        self.joined, self.states = new, parts + parts[:1] * (len(places) - len(numbers))
        results: ChunkResults = {}
        all_finite = backend.all_finite(arrays)
        for i, (k, cost, weight) in enumerate(zip(numbers, backend.to_numpy(new.cost), weights.T)):
            is_finite = all_finite or backend.all_finite([x[i, ...] for x in arrays])
            sums = float(cost.sum(dtype=np.float64)), float(weight.sum())
            results[k] = ({"stored": parts[i]}, *sums, engine) if is_finite else None
        return results

    def _join_states(self, states: Sequence[State | MemberState]) -> State:
        """Join the states of the networks, unless they are those of the last chunk."""
        if self.joined is None or not are_identical(states, self.states):
            members, backend = [whole(state) for state in states], self.reader.backend
            self.joined, self.axes = join(members, backend.stack, backend.xp), [dimensions(state) for state in members]
        return self.joined

    def _join_batches(self, places: Sequence[int], chunks: Mapping[int, Chunk]) -> tuple[Batch, np.ndarray]:
        """Join the minibatches of the networks; also return the sum of the weights in each, (steps, networks)."""
        dtype, own = self.reader.dtype, [chunks[k] for k in places]
        index = np.stack([self.pool.index(chunk) for chunk in own], axis=1)
        lr = np.stack([chunk.lr for chunk in own], axis=1)
        weight, sums = None, np.full(lr.shape, float(index.shape[-1]))
        weights = [look_up_weights(chunk) for chunk in own]
        if any(part is not None for part in weights):
            ones = np.ones(own[0].index.shape, dtype)
            weight = np.stack([ones if part is None else part for part in weights], axis=1)
            sums = weight.sum(axis=-1, dtype=np.float64)
        alpha = np.array([self.alphas[k] for k in places])
        decay = cast((alpha / sums)[..., None, None], dtype) if alpha.any() else None
        return Batch(index, cast(lr[..., None, None], dtype), decay, weight), sums

    def _join_scalings(self, scalings: list[Scaling | None]) -> Scaling | None:
        if not are_identical(scalings, self.scalings):
            self.scalings, self.scaling = scalings, scalings[0]
            if not are_identical(scalings, scalings[:1] * len(scalings)):
                self.scaling = join_nests(scalings, self.reader.backend.stack, self.reader.backend.xp)
        return self.scaling


class Pool:
    """Inputs, targets and slopes of several networks as one: they are concatenated.

    Parameters
    ----------
    parts
        Distinct examples, which networks may share.
    backend
        Where they are.
    """

    def __init__(self, parts: Iterable[Examples], backend: Backend) -> None:
        self.parts, self.backend = [part._replace(weight=None) for part in parts], backend
        *starts, self.n = accumulate((part.y.shape[0] for part in self.parts), initial=0)
        self.starts = dict(zip(map(identify, self.parts), starts))

    @cached_property
    def examples(self) -> Examples:
        """All of them."""
        if len(self.parts) == 1:
            return self.parts[0]
        concat = self.backend.xp.concat
        return Examples._make(None if arrays[0] is None else concat(arrays, axis=0) for arrays in zip(*self.parts))

    def index(self, chunk: Chunk) -> np.ndarray:
        """Number the examples in the minibatches of a chunk."""
        return chunk.index + np.int32(self.starts[identify(chunk.examples)])


def check_training_memory(jobs: Sequence[Job]) -> None:
    """Refuse to train networks together on the host if they, with joined examples, need more memory than it has."""
    value, sources = jobs[0].start.value, [job.data.train for job in jobs]
    optimizer = init_optimizer(jobs[0].plan.optimizer, value.layers, value.place)
    numbers = sum(math.prod(x.shape) for x in leaves((value.layers, optimizer)))
    needed = COPIES_OF_STATE * len(jobs) * numbers * np.dtype(value.dtype).itemsize
    stored = [source.examples for source in sources if isinstance(source, Resident)]
    distinct = {identify(examples): examples._replace(weight=None) for examples in stored}
    if len(distinct) > 1:  # they are concatenated
        needed += sum(count_bytes(x) for x in leaves(tuple(distinct.values())))
    require_bytes(needed, f"training {len(jobs)} networks of {list(value.model.sizes)} needs")


def are_identical(objects: Sequence[Any], others: Sequence[Any]) -> bool:
    """Tell whether two lists hold the same objects."""
    return len(objects) == len(others) and all(map(is_, objects, others))


def copy_member(reader: Reader, joined: Any, k: int, axes: Any) -> Any:
    """Copy the part of network k out of a joined nest, on the device."""
    with reader.scope():
        return extract(joined, k, axes, reader.backend.take_part, reader.backend.xp)


def choose_group_threads(backend: Backend, threads: int | str, multiplications: int) -> int | None:
    """Choose the number of threads among which networks are divided; None, on a GPU, keeps all of them together.

    "auto" is the number of cores that the process may use; or one, if the products of a single network, which take
    this many multiplications, are large enough to keep several threads of the library busy.
    """
    if not backend.on_host:
        return None
    if threads != AUTO:
        return int(threads)
    large = multiplications >= (backend.threads_from or Backend.threads_from or 0)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return 1 if large else cores
