"""Backends: which library computes, on which device, and how it repeats a step.

This package is the only place that names an array library. `base` serves any Array API namespace; `_numpy`, `_cupy`,
`_torch`, `_jax` and `_dpnp` hold what these libraries do differently, and are imported only when asked for; `choose`
finds the backend that ``backend=`` and ``device=`` name; `replay` records a step and repeats it, for NumPy, PyTorch and
dpnp.
"""

from xpnet.backends.base import Backend
from xpnet.backends.choose import get_backend

__all__ = ["Backend", "get_backend"]
