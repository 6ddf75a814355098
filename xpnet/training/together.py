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
from typing import Any, NoReturn

import numpy as np

from xpnet.backends import Backend
from xpnet.backends.base import cast, on_host
from xpnet.backends.threads import AUTO
from xpnet.checks import count
from xpnet.core.arrays import leaves
from xpnet.core.members import join, join_nests, split
from xpnet.core.minibatch import Batch
from xpnet.core.optimizers.base import Optimizer
from xpnet.core.scaling import Scaling
from xpnet.core.step import State
from xpnet.data.reader import Reader
from xpnet.errors import DivergenceError
from xpnet.training.callbacks import Training
from xpnet.training.loop import ChunkRunner, Task, minibatch_weights

# Measured with NumPy and JAX on one core of an AMD EPYC (Zen 5): larger groups gain no more, and the products of larger
# networks take most of their time
LARGEST = 1 << 19  # weights of the networks in a group, at most
FEWEST = 4  # networks in a group; larger networks train one after the other


def train_together(
    loops: Sequence[Iterator[Task]],
    trainings: Sequence[Training],
    reader: Reader,
    optimizer: Optimizer,
    scalings: Sequence[Scaling | None],
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
    scalings
        The scaling of each network; examples are scaled already if all of them have the same.
    threads
        The number of threads between which the networks are divided; None keeps all of them together.

    Raises
    ------
    DivergenceError
        If a cost or a weight of one of them is no longer finite.
    """
    own = scalings if any(scaling is not scalings[0] for scaling in scalings) else None
    groups = [Group(numbers, reader, optimizer, own) for numbers in divide(len(loops), reader.model.n_weights, threads)]
    several = threads is not None and min(threads, len(groups)) > 1
    with ThreadPoolExecutor(threads, "xpnet") if several else nullcontext() as executor:
        tasks = {k: task for k, loop in enumerate(loops) if (task := next(loop, None)) is not None}
        run: Any = map  # the first chunk runs group by group: what one of them compiles serves the others too
        while tasks:
            before = {k: trainings[k].net.state for k in tasks}
            states = run_groups(groups, before, tasks, run)
            run = map if executor is None else executor.map
            if not all(group.is_finite for group in groups):
                explain_divergence(states, tasks, reader)
            yield states
            tasks = {k: task for k in tasks if (task := next(loops[k], None)) is not None}


class Group:
    """Networks that are joined into one; it runs chunks of steps of those that have not stopped.

    One network is not joined, but trained as it is alone.

    Parameters
    ----------
    numbers
        The numbers of the networks.
    reader
        Their reader.
    optimizer
        Has the update that all of them have.
    scalings
        The scalings of all networks, if they differ.
    """

    def __init__(
        self,
        numbers: Sequence[int],
        reader: Reader,
        optimizer: Optimizer,
        scalings: Sequence[Scaling | None] | None = None,
    ) -> None:
        self.numbers, self.reader, self.optimizer, self.scalings = numbers, reader, optimizer, scalings
        self.places: list[int] = []  # the numbers of the networks that are joined
        self.is_finite = True  # whether the new states of the last chunk are
        self._arrange(list(numbers))

    def _arrange(self, active: list[int]) -> None:
        """Join networks that have not stopped.

        Few different sizes mean few programs to compile. So the size is halved, and until then the first network fills
        the places of those that have stopped.
        """
        size = len(self.places) or len(active)
        while len(active) <= size // 2:
            size //= 2
        places = active + active[:1] * (size - len(active))
        if places == self.places:
            return
        self.places, scaling, backend = places, None, self.reader.backend
        if self.scalings is not None:
            own = [self.scalings[k] for k in places]
            with self.reader.scope():
                scaling = own[0] if len(own) == 1 else join_nests(own, backend.stack, backend.xp)
        self.runner = ChunkRunner(self.reader, self.optimizer, scaling=scaling)

    def run(self, before: Mapping[int, State], tasks: Mapping[int, Task]) -> dict[int, State]:
        """Do the tasks of its networks, and return their new states. Synchronizes."""
        active = [k for k in self.numbers if k in tasks]
        if not active:
            return {}
        self._arrange(active)
        backend, xp, dtype = self.reader.backend, self.reader.backend.xp, self.reader.dtype
        states, chunk, lr = [before[k] for k in self.places], tasks[active[0]].chunk, tasks[active[0]].lr
        with self.reader.scope():
            if len(states) == 1:
                state, batches = states[0], Batch(chunk.index, cast(lr, dtype))
            else:
                index = np.stack([tasks[k].chunk.index for k in self.places], axis=1)
                lr = np.stack([tasks[k].lr for k in self.places], axis=1)
                state, batches = join(states, backend.stack, xp), Batch(index, cast(lr[..., None, None], dtype))
            new = self.runner.repeat(state, chunk.examples, batches)
            self.is_finite = backend.all_finite(leaves((new.cost, new.layers)))
            costs = np.atleast_1d(backend.to_numpy(new.cost).sum(axis=-1, dtype=np.float64))
            weights = np.atleast_1d(minibatch_weights(batches.index, self.runner.example_weights).sum(axis=0))
            for k, cost, weight in zip(active, costs, weights):
                task = tasks[k]
                task.cost, task.weight, task.engine = float(cost), float(weight), self.runner.loop.engine
            return dict(zip(active, [new] if len(states) == 1 else split(new, states, backend.unstack, xp)))


def run_groups(
    groups: Sequence[Group], before: Mapping[int, State], tasks: Mapping[int, Task], run: Any
) -> dict[int, State]:
    """Do the tasks of all groups by `run`, which is `map` or that of an executor, and return the new states."""
    return {k: state for states in run(lambda group: group.run(before, tasks), groups) for k, state in states.items()}


def explain_divergence(states: Mapping[int, State], tasks: Mapping[int, Task], reader: Reader) -> NoReturn:
    """Refuse new states, some of which are not finite. Synchronizes."""
    with reader.scope():
        finite = reader.backend.all_finite
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
    """Divide networks into groups: at least one for each thread, and none with too many weights.

    Examples
    --------
    >>> divide(10, n_weights=1000, threads=2)
    [range(0, 5), range(5, 10)]
    >>> divide(3, n_weights=10**7, threads=1), divide(3, n_weights=10**7, threads=None)
    ([range(0, 1), range(1, 2), range(2, 3)], [range(0, 3)])
    """
    if threads is None:
        return [range(networks)]
    fitting = LARGEST // n_weights
    largest = min(math.ceil(networks / threads), fitting) if fitting >= FEWEST else 1
    size = math.ceil(networks / math.ceil(networks / largest))
    return [range(start, min(start + size, networks)) for start in range(0, networks, size)]
