"""Training several networks of one shape in one program.

Every network has the training loop of a single one, with its own minibatches, learning rates, callbacks and history.
The loops go in step: when each has come to a chunk of steps, their states are joined, the steps run on all of them at
once, and the states are split again. A network that has stopped takes no part any more.
"""

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any

import numpy as np

from xpnet.backends import Backend
from xpnet.backends.base import cast, on_host
from xpnet.backends.threads import AUTO
from xpnet.checks import count
from xpnet.core.arrays import leaves, map_arrays
from xpnet.core.members import join, split
from xpnet.core.minibatch import Batch
from xpnet.core.optimizers.base import Optimizer
from xpnet.core.step import State
from xpnet.data.reader import Reader
from xpnet.errors import DivergenceError
from xpnet.training.callbacks import Training
from xpnet.training.loop import ChunkRunner, Task, minibatch_weights

CACHED = 1 << 18  # weights of the networks in a group, at most: they should stay in the cache of a core


def train_together(
    loops: Sequence[Iterator[Task]],
    trainings: Sequence[Training],
    reader: Reader,
    optimizer: Optimizer,
    threads: int | None,
) -> Iterator[dict[int, State]]:
    """Train networks of one shape, and yield their states after each chunk of steps. Synchronizes once per chunk.

    Parameters
    ----------
    loops
        The training loop of each network, from `train_epochs`; minibatches have the same sizes in all of them.
    trainings
        Their calls to `train`. Each chunk begins with ``training.net.state``, so whoever iterates must take over the
        states that are yielded, by the numbers of the networks.
    reader
        The networks' reader.
    optimizer
        Has the update that all of them have.
    threads
        The number of threads between which the networks are divided; None keeps all of them together.

    Raises
    ------
    DivergenceError
        If a cost or a weight of one of them is no longer finite.
    """
    groups = [Group(numbers, reader, optimizer) for numbers in divide(len(loops), reader.model.n_weights, threads)]
    several = threads is not None and min(threads, len(groups)) > 1
    with ThreadPoolExecutor(threads, "xpnet") if several else nullcontext() as executor:
        tasks = {k: task for k, loop in enumerate(loops) if (task := next(loop, None)) is not None}
        run: Any = map  # the first chunk runs group by group: what one of them compiles serves the others too
        while tasks:
            before = {k: trainings[k].net.state for k in tasks}
            states = run_groups(groups, before, tasks, run)
            run = map if executor is None else executor.map
            check_finite(states, tasks, reader)
            yield states
            tasks = {k: task for k in tasks if (task := next(loops[k], None)) is not None}


class Group:
    """Networks that are joined into one; it runs chunks of steps of those that have not stopped.

    Parameters
    ----------
    numbers
        The numbers of the networks.
    reader
        Their reader.
    optimizer
        Has the update that all of them have.
    """

    def __init__(self, numbers: Sequence[int], reader: Reader, optimizer: Optimizer) -> None:
        self.numbers, self.size, self.reader = numbers, len(numbers), reader
        self.runner = ChunkRunner(reader, optimizer)

    def run(self, before: Mapping[int, State], tasks: Mapping[int, Task]) -> dict[int, State]:
        """Do the tasks of its networks, and return their new states. Synchronizes."""
        active = [k for k in self.numbers if k in tasks]
        if not active:
            return {}
        while len(active) <= self.size // 2:
            self.size //= 2
        # Few different sizes mean few programs to compile: the first fills the places of others that have stopped
        numbers = active + active[:1] * (self.size - len(active))
        backend, xp, dtype = self.reader.backend, self.reader.backend.xp, self.reader.dtype
        chunks = [tasks[k].chunk for k in numbers]
        index = np.stack([chunk.index for chunk in chunks], axis=1)
        lr = np.stack([tasks[k].lr for k in numbers], axis=1)
        batches = Batch(index, cast(lr[..., None, None], dtype))
        states = [before[k] for k in numbers]
        with self.reader.scope():
            joined = self.runner.repeat(join(states, xp), chunks[0].examples, batches)
            costs = backend.to_numpy(joined.cost).sum(axis=-1, dtype=np.float64)
            weights = minibatch_weights(index, self.runner.example_weights).sum(axis=0)
            parts = split(joined, states, xp)[: len(active)]
            for k, cost, weight in zip(active, costs, weights):
                task = tasks[k]
                task.cost, task.weight, task.engine = float(cost), float(weight), self.runner.loop.engine
            return {k: map_arrays(backend.copy, part) for k, part in zip(active, parts)}


def run_groups(
    groups: Sequence[Group], before: Mapping[int, State], tasks: Mapping[int, Task], run: Any
) -> dict[int, State]:
    """Do the tasks of all groups by `run`, which is `map` or that of an executor, and return the new states."""
    return {k: state for states in run(lambda group: group.run(before, tasks), groups) for k, state in states.items()}


def check_finite(states: Mapping[int, State], tasks: Mapping[int, Task], reader: Reader) -> None:
    """Refuse new states that are not finite. Synchronizes."""
    with reader.scope():
        finite = reader.backend.all_finite
        if finite(array for state in states.values() for array in leaves((state.cost, state.layers))):
            return
        wrong = [k for k, state in states.items() if not finite(leaves((state.cost, state.layers)))]
    task = tasks[wrong[0]]
    one = len(wrong) == 1
    raise DivergenceError(
        f"training of member{'' if one else 's'} {', '.join(map(str, wrong))} diverged {task.where}, at "
        f"lr={max(tasks[k].lr.max() for k in wrong):g}: cost or weights are not finite; all networks are as they were "
        f"before these steps. Give {'it' if one else 'them'} a smaller lr, or scale the inputs"
    )


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


def divide(networks: int, n_weights: int, threads: int | None) -> list[range]:
    """Divide networks into groups: at least one for each thread, and no larger than the cache of a core.

    Examples
    --------
    >>> divide(10, n_weights=1000, threads=2)
    [range(0, 5), range(5, 10)]
    >>> divide(3, n_weights=10**7, threads=1), divide(3, n_weights=10**7, threads=None)
    ([range(0, 1), range(1, 2), range(2, 3)], [range(0, 3)])
    """
    if threads is None:
        return [range(networks)]
    largest = max(1, min(math.ceil(networks / threads), CACHED // n_weights))
    size = math.ceil(networks / math.ceil(networks / largest))
    return [range(start, min(start + size, networks)) for start in range(0, networks, size)]
