"""Threads that work beside the main one: they train groups of networks at once, or read data ahead."""

import _thread
from collections.abc import Callable, Iterable
from queue import SimpleQueue
from typing import Any


class Workers:
    """Threads that apply functions to items.

    The pools of the standard library share locks that are written in Python. A signal handler that raises an error
    while one of them is being taken leaves it held, and all threads wait forever. These queues are written in C, where
    no handler runs.

    Parameters
    ----------
    number
        The number of threads.

    Examples
    --------
    >>> workers = Workers(2)
    >>> workers.map(abs, [-1, -2, -3])
    [1, 2, 3]
    >>> workers.close()
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self._work: SimpleQueue[Any] = SimpleQueue()
        for _ in range(number):
            _thread.start_new_thread(_serve, (self._work,))

    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        """Apply a function to each item, and wait for all results; if some items fail, raise the first one's error.

        If the waiting thread is interrupted, by a signal handler for example, the others still finish their work.
        """
        items, results = list(items), SimpleQueue()  # its own, as an earlier call may not have waited for its results
        for i, item in enumerate(items):
            self._work.put((results, i, function, item))
        outcomes = dict(results.get() for _ in items)
        for i in range(len(items)):
            if isinstance(outcomes[i], _Failure):
                raise outcomes[i].error
        return [outcomes[i] for i in range(len(items))]

    def start(self, function: Callable[[Any], Any], item: Any) -> Callable[[], Any]:
        """Begin to apply a function to an item; call the function that is returned to wait for the result."""
        results: SimpleQueue[Any] = SimpleQueue()
        self._work.put((results, 0, function, item))

        def wait() -> Any:
            _, outcome = results.get()
            if isinstance(outcome, _Failure):
                raise outcome.error
            return outcome

        return wait

    def close(self) -> None:
        """Let the threads end after their work, without waiting for them."""
        for _ in range(self.number):
            self._work.put(None)


class _Failure:
    def __init__(self, error: BaseException) -> None:
        self.error = error


def _serve(work: "SimpleQueue[Any]") -> None:
    """Run tasks until one is None."""
    while (task := work.get()) is not None:
        results, i, function, item = task
        try:
            outcome = function(item)
        except BaseException as error:
            outcome = _Failure(error)
        results.put((i, outcome))
        del task, results, function, item, outcome  # while it waits, a thread holds nothing
