"""Number of threads that multiply matrices: set for one call, and only where the user asks for it."""

from collections.abc import Iterator
from contextlib import contextmanager

from xpnet.backends.base import Backend
from xpnet.checks import count


@contextmanager
def limit_threads(backend: Backend, number: int | None) -> Iterator[None]:
    """Limit the threads of BLAS and OpenMP libraries to `number` until the context ends.

    The limit holds for the whole process. None changes nothing.

    Raises
    ------
    ValueError
        If the number is wrong, or the library has its own threads, which cannot be limited from here.
    ImportError
        If threadpoolctl is not installed.

    Examples
    --------
    >>> from xpnet import get_backend
    >>> from threadpoolctl import threadpool_info
    >>> with limit_threads(get_backend("numpy"), 1):
    ...     {pool["num_threads"] for pool in threadpool_info()}
    {1}
    """
    if number is None:
        yield
        return
    count("blas_threads", number, 1)
    if not backend.uses_blas:
        raise ValueError(
            f"blas_threads={number!r} has no effect on backend={backend.name!r}, which has its own threads; leave it "
            "out, and restrict the process to fewer cores (taskset) if it should use fewer"
        )
    try:
        from threadpoolctl import threadpool_limits
    except ImportError as error:
        raise ImportError(
            f'blas_threads needs threadpoolctl ({error}); install it with: pip install "xpnet[threads]", or set '
            "OPENBLAS_NUM_THREADS in the environment before Python starts"
        ) from error
    with threadpool_limits(limits=number):
        yield
