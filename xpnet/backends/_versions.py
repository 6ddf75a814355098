"""Versions of the software that computes, for the provenance of a network."""

import sys
from functools import cache

import numpy as np

from xpnet.backends.base import find_blas
from xpnet.version import __version__


@cache
def describe_versions(name: str) -> str:
    """Name Python, NumPy and its BLAS, the library of a backend, and xpnet, with their versions.

    Examples
    --------
    >>> describe_versions("numpy").split()[::2][:2]
    ['python', 'numpy']
    """
    python = ".".join(map(str, sys.version_info[:3]))
    parts = [f"python {python}", f"numpy {np.__version__}", find_blas()]
    if name != "numpy":
        parts.append(f"{name} {getattr(sys.modules.get(name), '__version__', '(version unknown)')}")
    return ", ".join([*parts, f"xpnet {__version__}"])
