"""The number of threads that multiply matrices: set during a call, and restored after it."""

import os
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from xpnet.backends.base import Backend
from xpnet.wording.checks import count

AUTO = "auto"
MAX_THREADS = 10_000  # more than any machine has cores, and small enough for an integer in C
THREAD_VARIABLES = (  # of the environment, which set the number for a process
    "OPENBLAS_NUM_THREADS",
    "GOTO_NUM_THREADS",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


def parse_threads(backend: Backend, threads: int | str) -> int | str:
    """Check `blas_threads`.

    Raises
    ------
    ValueError
        If it is neither "auto" nor a number, or a number for a library that manages its own threads.
    """
    if isinstance(threads, str) and threads == AUTO:
        return threads
    try:
        number = count("blas_threads", threads, 1)
    except ValueError as error:
        raise ValueError(f'{error}, or "auto"') from None
    if number > MAX_THREADS:
        raise ValueError(f'blas_threads={threads!r} must be at most {MAX_THREADS}, or "auto"')
    if backend.threads_from is None:
        raise ValueError(
            f"blas_threads={threads!r} has no effect on backend={backend.name!r}, which has its own threads; leave it "
            "out, and restrict the process to fewer cores (taskset) if it should use fewer"
        )
    return number


def choose_threads(backend: Backend, threads: int | str, multiplications: int) -> int | None:
    """Choose the number of threads for products of up to `multiplications`; None changes nothing.

    "auto" chooses one thread where the products are too small to gain much from more. Elsewhere, and where the
    environment sets a number, it changes nothing.

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
    return 1 if is_small and not any(map(os.environ.get, THREAD_VARIABLES)) else None


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
