"""The processes that share a training, called ranks: what each has of a minibatch, and what they tell one another."""

import os
import pickle
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from functools import partial
from math import prod
from typing import Any, NamedTuple

import numpy as np

from xpnet.backends.base import Eager, PatchedNamespace
from xpnet.core.arrays import Array, Layers, Namespace, leaves, map_arrays
from xpnet.distributed._setting import Distributed
from xpnet.training import Alone

FORWARDING_SECONDS = 0.2  # that mpiexec has for a traceback: once a process aborts, it drops what it has not read


class Own(NamedTuple):
    """The part of a minibatch that a rank has, (parts, rows); rows beyond the end of the minibatch are padding."""

    places: np.ndarray  # int32, of its rows in the minibatch; padding has the first place
    is_real: np.ndarray  # whether a row is no padding


class Ranks(Alone):
    """The processes that share each minibatch of a training.

    Parameters
    ----------
    distributed
        The communicator, and how minibatches are cut.
    """

    def __init__(self, distributed: Distributed) -> None:
        self.comm, self.shards = distributed.comm, distributed.shards
        self.rank, self.size = self.comm.Get_rank(), self.comm.Get_size()
        self.parts = (self.shards or self.size) // self.size  # of each minibatch, on each rank
        self.signal = 0  # that this process has received
        self.agreed_signal = 0  # that one of them had received by the end of the last chunk
        self.has_agreed = False  # whether all ranks raise the error that ends the training
        self.is_alone = False  # whether this one is ending the training by itself, so it must not wait for the others

    @property
    def leads(self) -> bool:
        """Whether this is rank 0, which has the callbacks and writes the files."""
        return self.rank == 0

    # The part of each minibatch that a rank has

    def find_own(self, m: int) -> Own:
        """Find this rank's part of a minibatch of m examples; all parts of all ranks have equally many rows."""
        parts = self.parts * self.size
        places = np.arange(parts * -(-m // parts), dtype=np.int32).reshape(parts, -1)
        places = places[self.rank * self.parts : (self.rank + 1) * self.parts]
        return Own(np.where(places < m, places, 0), places < m)

    def weigh(self, index: np.ndarray, m: int, weights: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Return the weight of each row, (steps, parts, rows), and the sum of those of each whole minibatch, (steps,).

        Parameters
        ----------
        index
            This rank's part of minibatches of m examples, (steps, rows).
        m
            The number of examples in a minibatch.
        weights
            The weights of all examples, (n,); None for 1.
        """
        is_real = self.find_own(m).is_real
        shape = (len(index), *is_real.shape)
        if weights is None:
            return np.broadcast_to(is_real.astype(float), shape), np.full(len(index), float(m))
        own_weights = np.where(is_real, weights[index].reshape(shape), 0.0)
        return own_weights, self.gather(own_weights.sum(axis=-1, dtype=np.float64).T).sum(axis=0)

    # Sums over all ranks

    def attach(self, backend: Eager) -> Eager:
        """Return the backend with a sum over all ranks in its namespace."""
        twin = copy(backend)
        twin.xp = PatchedNamespace(backend.xp, sum_over_ranks=partial(self.sum_arrays, backend))
        return twin

    def sum_arrays(self, backend: Eager, arrays: Sequence[Array]) -> Array:
        """Add up arrays in the host's memory over all ranks; return the sums, one after the other, as one vector.

        Ranks with shards add in the order of a binary tree, which continues that of the parts within a rank: 0 + 1,
        2 + 3; then these two sums; and so on. In each round, two ranks exchange their sums.
        """
        from mpi4py import MPI

        flat = np.concatenate([backend.to_numpy(x).ravel() for x in arrays])
        if self.shards is None:
            self.comm.Allreduce(MPI.IN_PLACE, flat)
            return backend.asarray(flat)
        other = np.empty_like(flat)
        for partner in (self.rank ^ 1 << i for i in range(self.size.bit_length() - 1)):
            self.comm.Sendrecv(flat, partner, recvbuf=other, source=partner)
            flat += other  # x + y and y + x have the same bits
        return backend.asarray(flat)

    def add_up(self, by_columns: bool, grads: Layers, xp: Namespace) -> Layers:
        """Add up the gradients of all ranks, in a step.

        The sums lie in memory as the gradients do, `by_columns` or by rows: the norm of a gradient, for one, is added
        up in the order of its memory, which must be the same on any number of ranks.
        """
        if self.size == 1:
            return grads
        contiguous = [g.mT if by_columns else g for g in leaves(grads)]
        flat, sums, start = xp.sum_over_ranks(contiguous), [], 0
        for x in contiguous:
            stop = start + prod(x.shape)
            total = xp.reshape(flat[start:stop], x.shape)
            sums.append(total.mT if by_columns else total)
            start = stop
        remaining = iter(sums)
        return map_arrays(lambda _: next(remaining), grads)

    def gather(self, rows: np.ndarray) -> np.ndarray:
        """Gather the rows of all ranks, in their order: (rows, ...) becomes (ranks · rows, ...)."""
        if self.size == 1:
            return rows
        rows = np.ascontiguousarray(rows)
        everything = np.empty((self.size * rows.shape[0], *rows.shape[1:]), rows.dtype)
        self.comm.Allgather(rows, everything)
        return everything

    def sum_costs(self, costs: Sequence[np.ndarray], finite: bool) -> tuple[float, bool]:
        """Sum the costs of a chunk, part by part, in one order for any number of ranks; and tell if all are finite.

        It also tells all ranks of a signal that one of them has received.
        """
        parts = np.array([[float(cost.sum(dtype=np.float64)), finite, self.signal] for cost in costs])
        costs_of_parts, are_finite, signals = self.gather(parts).T
        self.agreed_signal = int(signals.max())
        return float(costs_of_parts.sum()), bool(are_finite.all())

    # What ranks tell one another

    def make_on_first(self, make: Callable[[], Any]) -> Any:
        """Let rank 0 make something, and return it on all ranks; or raise its error on all of them."""
        if self.is_alone:
            return make() if self.leads else None
        value, error = None, None
        if self.leads:
            try:
                value = make()
            except BaseException as raised:
                error = raised
        value, failure = self.comm.bcast((value, _pack_error(error)), 0)
        with self.agreeing():
            if failure is not None:
                raise failure if error is None else error
        return value

    def keep_on_first(self, make: Callable[[], Any]) -> Any:
        """Let rank 0 make something that stays there, and return None on the others; or raise its error on all."""
        made: list[Any] = []
        self.make_on_first(lambda: made.append(make()))
        return made[0] if made else None

    def make_on_all(self, make: Callable[[], Any]) -> list[Any]:
        """Make something on every rank, and return all of it, in their order; if one fails, all raise an error."""
        value, error = None, None
        try:
            value = make()
        except Exception as raised:
            error = raised
        values, failures = zip(*self.comm.allgather((value, error and f"{type(error).__name__}: {error}")))
        with self.agreeing():
            if error is not None:
                raise error
            for rank, failure in enumerate(failures):
                if failure is not None:
                    raise RuntimeError(f"rank {rank} has failed with {failure}")
        return [*values]

    def make_own(self, make: Callable[[], Any]) -> Any:
        """Make something on every rank that stays there; if one fails, all raise an error."""
        made: list[Any] = []
        self.make_on_all(lambda: made.append(make()))
        return made[0]

    @contextmanager
    def agreeing(self) -> Iterator[None]:
        """Note that all ranks raise the error that leaves this context."""
        try:
            yield
        except BaseException:
            self.has_agreed = True
            raise

    @contextmanager
    def ending_together(self) -> Iterator[None]:
        """End all processes, after the traceback, if an error leaves this context that not all ranks raise."""
        try:
            yield
        except BaseException:
            if not self.has_agreed and self.size > 1:
                traceback.print_exc()
                sys.stderr.flush()
                time.sleep(FORWARDING_SECONDS)
                self.comm.Abort(1)
                os._exit(1)  # MPI may take a moment to end this process
            raise

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Only remember SIGINT and SIGTERM in this context, until the end of a chunk; a user's own handlers stay."""
        before = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
        in_main_thread = threading.current_thread() is threading.main_thread()  # handlers can be set only there
        before = {n: handler for n, handler in before.items() if in_main_thread and signal.getsignal(n) is handler}

        def remember(number: int, frame: Any) -> None:
            self.signal = number

        try:
            for number in before:
                signal.signal(number, remember)
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def obey(self) -> None:
        """Raise what the signal means on all ranks, if one of them has received one by the end of the last chunk."""
        with self.agreeing():
            if self.agreed_signal:
                raise KeyboardInterrupt if self.agreed_signal == signal.SIGINT else SystemExit(128 + self.agreed_signal)


def _pack_error(error: BaseException | None) -> BaseException | None:
    """Return an error as it can be sent to other processes."""
    if error is None:
        return None
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"rank 0 has failed with {type(error).__name__}: {error}")
    return error
