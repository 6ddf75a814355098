"""Backends: which library computes, on which device, and how it repeats a step.

This package is the only place that names an array library. `base` serves any Array API namespace; `_numpy`, `_cupy`,
`_torch`, `_jax` and `_dpnp` hold what these libraries do differently, and are imported only when asked for; `_choose`
finds the backend that ``backend=`` and ``device=`` name; `replay` records a step and repeats it, for NumPy, PyTorch and
CuPy.
"""

from xpnet.backends._choose import BACKENDS, backend_of, find_place, get_backend, is_foreign, to_host
from xpnet.backends._machine import (
    AUTO,
    BYTES_OF_NETWORK,
    COPIES_OF_STATE,
    Workers,
    describe_versions,
    find_free_memory,
    limit_step_threads,
    require_bytes,
)
from xpnet.backends.base import Backend

__all__ = [
    "AUTO",
    "BACKENDS",
    "BYTES_OF_NETWORK",
    "COPIES_OF_STATE",
    "Backend",
    "Workers",
    "backend_of",
    "describe_versions",
    "find_free_memory",
    "find_place",
    "get_backend",
    "is_foreign",
    "limit_step_threads",
    "require_bytes",
    "to_host",
]
