"""Kernels that are given as CUDA C++, compiled for the host by a C++ compiler.

One thread does the work of all, unless several are asked for. Then these take turns between barriers, the last one
first: where a kernel lacks a barrier, a thread sees what others have not written yet, and the results are wrong.
"""

import ctypes
import hashlib
import os
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

COMPILER = "g++"
# Without the libraries that Python has loaded already, as finding them takes a quarter of the time
OPTIONS = ("-O1", "-ffp-contract=off", "-std=c++17", "-shared", "-fPIC", "-nostdlib", "-w")
COMPILED = Path(__file__).parents[2] / ".pytest_cache" / "host_cupy"  # what was compiled once is kept
FUNCTIONS = ("exp", "log", "log1p", "expm1", "tanh")
HEADER = Path(__file__).with_name("device.h").read_text()


class Module:
    """A module of kernels, as CuPy's RawModule: `get_function` returns a function (grid, block, arguments)."""

    def __init__(self, code: str, kernels: Any) -> None:
        self.kernels, self.threads = kernels, kernels.threads
        self.library = compile_library(code, several=self.threads > 1)

    def get_function(self, name: str) -> Callable[..., None]:
        """Return a kernel."""
        function = getattr(self.library, name)

        def launch(grid: Sequence[int], block: Sequence[int], args: Sequence[Any]) -> None:
            pointers = [ctypes.c_void_p(array.data.ptr) for array in args]
            run = (lambda: self._run_threads(function, pointers, grid)) if self.threads > 1 else None
            self.kernels.launch(name, args, run or (lambda: function(*pointers)))

        return launch

    def _run_threads(self, function: Any, pointers: Sequence[Any], grid: Sequence[int]) -> None:
        """Run a kernel by several threads: in one block, or each in a block of its own."""
        threads, blocks = (self.threads, 1) if tuple(grid) == (1,) else (1, self.threads)

        def run(number: int) -> None:
            self.library.begin(number, threads, blocks)
            function(*pointers)
            self.library.end()

        workers = [threading.Thread(target=run, args=(i,)) for i in range(self.threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()


def compile_library(code: str, several: bool = False) -> ctypes.CDLL:
    """Compile a source, for one thread or several, unless it has been compiled before, and load it."""
    source = f"{'#define SEVERAL' if several else ''}\n{HEADER}{code}\n}}\n"
    path = COMPILED / f"{hashlib.sha256(source.encode()).hexdigest()[:24]}.so"
    if not path.exists():
        COMPILED.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}")
        command = [COMPILER, *OPTIONS, "-x", "c++", "-", "-o", str(unfinished)]
        done = subprocess.run(command, input=source, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{COMPILER} refuses a kernel: {done.stderr[:2000]}")
        unfinished.rename(path)
    return ctypes.CDLL(str(path))


def mathematics() -> dict[str, Callable[..., Any]]:
    """Return the functions whose last bit NumPy and the C library may have differently, by the names of CuPy's ufuncs.

    A kernel that is generated and one of CuPy's then give the same bits, as they do on a GPU.
    """
    code = "".join(
        f'extern "C" void {name}_{kind}({kind}* x, {kind}* y, long n) '
        f"{{ for (long i = 0; i < n; ++i) y[i] = {name}(x[i]); }}\n"
        for name in FUNCTIONS
        for kind in ("float", "double")
    )
    library = compile_library(code)
    return {f"cupy_{name}": _apply(library, name) for name in FUNCTIONS}


def _apply(library: ctypes.CDLL, name: str) -> Callable[..., Any]:
    functions = {np.dtype(f): getattr(library, f"{name}_{kind}") for f, kind in (("f4", "float"), ("f8", "double"))}

    def apply(x: np.ndarray) -> np.ndarray:
        x = np.ascontiguousarray(x)
        y = np.empty_like(x)
        functions[x.dtype](ctypes.c_void_p(x.ctypes.data), ctypes.c_void_p(y.ctypes.data), ctypes.c_long(x.size))
        return y

    return apply
