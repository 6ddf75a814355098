"""Describe the machine of a benchmark in one line, and measure its rate of matrix products."""

import itertools
import os
import platform
import shutil
import subprocess
import time
from importlib.metadata import distributions, packages_distributions, version
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_info

import xpnet
from xpnet.cli.bench import PAUSE

PRODUCTS = 3  # per size, to measure a rate


def machine(*modules):
    """Processor, cores, and the versions of Python, NumPy with its BLAS, xpnet, and the packages of other modules.

    With OpenBLAS, it says which kernels multiply: OPENBLAS_CORETYPE in the environment can set slower ones.
    """
    packages = packages_distributions()
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    kernels = {f"{library['architecture']} kernels" for library in threadpool_info() if "architecture" in library}
    multiplies_by = ", ".join([f"{blas['name']} {blas['version']}", *sorted(kernels)])
    return (
        f"{names[0] if names else platform.processor() or platform.machine()}, {os.cpu_count()} cores; "
        f"Python {platform.python_version()}, NumPy {np.__version__} ({multiplies_by}), "
        + "".join(f"{packages[name][0]} {version(packages[name][0])}, " for name in modules)
        + f"xpnet {xpnet.__version__}"
    )


def cuda():
    """Versions of the packages with CUDA libraries, JAX's CUDA plugins and Triton."""
    found = {each.name: each.version for each in distributions() if each.name}  # a broken installation has no name
    return [f"{name} {found[name]}" for name in sorted(found) if name.startswith(("nvidia-cu", "jax-cuda", "triton"))]


def cards():
    """NVIDIA GPUs with their memory, and the driver version, from nvidia-smi; None if it is missing or fails."""
    if not shutil.which("nvidia-smi"):
        return None
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    asked = subprocess.run(query, capture_output=True, text=True, check=False)
    if asked.returncode:
        return None
    found = [line.rsplit(", ", 1) for line in asked.stdout.splitlines()]
    return f"{'; '.join(card for card, _ in found)}; driver {found[0][1]}"


def operations(sizes, m):
    """Floating-point operations of a step's matrix products.

    These are the forward products, the gradients of the weights, and the gradients with respect to the inputs of all
    layers but the first.

    Examples
    --------
    >>> operations([784, 30, 10], 1)
    95880
    """
    products = [2 * m * n_in * n_out for n_in, n_out in itertools.pairwise(sizes)]
    return 3 * sum(products) - products[0]


def best_rate(backend, sides):
    """Highest rate, in operations per second, of a backend's product of two square float32 matrices."""
    found = 0.0
    time.sleep(PAUSE)
    with backend.scope("float32"):
        for n in sides:
            a, b = (spread_numbers(backend, n, factor) for factor in (20_231, 12_553))
            for i in range(PRODUCTS + 1):
                backend.synchronize()
                started = time.perf_counter()
                backend.to_numpy(backend.xp.matmul(a, b)[:1, :1])  # synchronizes
                if i:  # the first product starts the threads
                    found = max(found, 2 * n**3 / (time.perf_counter() - started))
    return found


def spread_numbers(backend, n, factor):
    """Make a square float32 matrix of n rows on the device: irregular numbers from -0.5 to 0.5.

    A GPU multiplies zeros and other regular numbers faster.
    """
    xp, prime = backend.xp, 32_749  # the product of two numbers below it is an int32
    i = xp.arange(n * n, dtype=xp.int32, device=backend.device) % prime
    return xp.reshape(xp.astype(i * factor % prime, xp.float32) / prime - 0.5, (n, n))
