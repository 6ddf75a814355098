"""How many threads multiply matrices: the user's choice, for a call, and never behind the user's back."""

from collections.abc import Iterator
from contextlib import contextmanager

from xpnet.backends import Backend
from xpnet.errors import count


@contextmanager
def limited(backend: Backend, number: int | None) -> Iterator[None]:
    """Let the BLAS of this process, and what else computes with OpenMP, use so many threads until the context ends.

    It counts for the whole process as long as the context lasts. None changes nothing.

    Raises
    ------
    ValueError
        If the number is wrong, or the library has threads of its own that cannot be set from here.
    ImportError
        If threadpoolctl is not installed.

    Examples
    --------
    >>> from xpnet import get_backend
    >>> from threadpoolctl import threadpool_info
    >>> with limited(get_backend("numpy"), 1):
    ...     {pool["num_threads"] for pool in threadpool_info()}
    {1}
    """
    if number is None:
        yield
        return
    count("blas_threads", number, 1)
    if not backend.blas:
        raise ValueError(
            f"blas_threads={number!r} does not reach backend={backend.name!r}, which has threads of its own; leave it "
            "out, and give the process fewer cores (taskset) if it is to use fewer"
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
