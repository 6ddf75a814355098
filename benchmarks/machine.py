"""The machine and the versions that a measurement was made with, in one line."""

import os
import platform
from importlib.metadata import version
from pathlib import Path

import numpy as np


def machine(*libraries):
    """Processor, cores, and the versions of Python, NumPy with its BLAS, xpnet, and other libraries by name."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return (
        f"{names[0] if names else platform.processor() or platform.machine()}, {os.cpu_count()} cores; "
        f"Python {platform.python_version()}, NumPy {np.__version__} ({blas['name']} {blas['version']}), "
        + "".join(f"{name} {version(name)}, " for name in libraries)
        + f"xpnet {version('xpnet')}"
    )
