"""The machine that a measurement was made on: what it is, in one line, and how fast it multiplies."""

import itertools
import os
import platform
import shutil
import subprocess
import time
from importlib.metadata import distributions, packages_distributions, version
from pathlib import Path

import numpy as np

from xpnet.bench import PAUSE

PRODUCTS = 3  # of each size, when a rate is measured


def machine(*modules):
    """Processor, cores, and the versions of Python, NumPy with its BLAS, xpnet, and what other modules belong to."""
    packages = packages_distributions()
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return (
        f"{names[0] if names else platform.processor() or platform.machine()}, {os.cpu_count()} cores; "
        f"Python {platform.python_version()}, NumPy {np.__version__} ({blas['name']} {blas['version']}), "
        + "".join(f"{packages[name][0]} {version(packages[name][0])}, " for name in modules)
        + f"xpnet {version('xpnet')}"
    )


def cuda():
    """Versions of what CUDA's libraries were installed as, and of JAX's plugins for them."""
    found = {each.name: each.version for each in distributions() if each.name}  # a broken one has none
    return [f"{name} {found[name]}" for name in sorted(found) if name.startswith(("nvidia-cu", "jax-cuda", "triton"))]


def cards():
    """NVIDIA's cards with their memory, and the driver, as its own tool calls them; None without the tool."""
    if not shutil.which("nvidia-smi"):
        return None
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    asked = subprocess.run(query, capture_output=True, text=True, check=False)
    if asked.returncode:
        return None
    found = [line.rsplit(", ", 1) for line in asked.stdout.splitlines()]
    return f"{'; '.join(card for card, _ in found)}; driver {found[0][1]}"


def operations(sizes, m):
    """Floating-point operations of a step's products: forward, by the weights, and by the inputs of all but the first.

    Examples
    --------
    >>> operations([784, 30, 10], 1)
    95880
    """
    products = [2 * m * n_in * n_out for n_in, n_out in itertools.pairwise(sizes)]
    return 3 * sum(products) - products[0]


def best_rate(backend, sides):
    """The most operations a second of a backend's product of two square float32 matrices."""
    rng, found = np.random.default_rng(0), 0.0
    time.sleep(PAUSE)
    with backend.scope("float32"):
        for n in sides:
            a, b = (backend.asarray(rng.standard_normal((n, n), np.float32)) for _ in range(2))
            for i in range(PRODUCTS + 1):
                backend.synchronize()
                started = time.perf_counter()
                backend.to_numpy(backend.xp.matmul(a, b)[:1, :1])  # waits for it
                if i:  # the first wakes the threads
                    found = max(found, 2 * n**3 / (time.perf_counter() - started))
    return found
