"""The number of threads that multiply matrices: set during a call, and restored after it."""

import os
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from xpnet.backends.base import Backend, count_threads

AUTO = "auto"


def choose_threads(backend: Backend, threads: int | str, multiplications: int) -> int | None:
    """Choose the number of threads for products of up to `multiplications`; None changes nothing.

    "auto" chooses one thread where the products are too small to gain much from more. Elsewhere, and where the
    environment sets a number that the library reads, it changes nothing.

    Examples
    --------
    >>> from xpnet import get_backend
    >>> choose_threads(get_backend("numpy"), 2, multiplications=10**5)
    2
    >>> print(choose_threads(get_backend("numpy"), "auto", multiplications=10**9))
    None
    """
    if threads != AUTO:
        return int(threads)
    is_small = backend.threads_from is not None and multiplications < backend.threads_from
    return 1 if is_small and not any(map(os.environ.get, backend.thread_variables)) else None


def limit_step_threads(
    backend: Backend, threads: int | str, multiplications: int, groups: int = 1
) -> AbstractContextManager[Any]:
    """Return a context that limits the threads of a training.

    Parameters
    ----------
    backend, threads, multiplications
        As in `choose_threads`.
    groups
        Number of threads among which networks are divided already.
    """
    if not backend.shares_steps:
        return limit_threads(backend, choose_threads(backend, threads, multiplications))
    if threads != AUTO:
        return backend.share_steps(int(threads))
    return backend.share_steps(1 if groups > 1 else count_threads(backend.name))


def limit_threads(backend: Backend, number: int | None) -> AbstractContextManager[Any]:
    """Return a context that limits the threads that multiply matrices, in the whole process; None changes nothing.

    Examples
    --------
    >>> from xpnet import get_backend
    >>> from threadpoolctl import threadpool_info
    >>> with limit_threads(get_backend("numpy"), 1):
    ...     min(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")
    1
    """
    return nullcontext() if number is None else backend.limit_threads(number)
