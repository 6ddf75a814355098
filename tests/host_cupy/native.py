"""Kernels that are given as CUDA C++, compiled for the host by a C++ compiler. One thread does the work of all."""

import ctypes
import hashlib
import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

COMPILER = "g++"
OPTIONS = ("-O1", "-ffp-contract=off", "-std=c++17", "-shared", "-fPIC", "-w")
COMPILED = Path(__file__).parents[2] / ".pytest_cache" / "host_cupy"  # what was compiled once is kept
FUNCTIONS = ("exp", "log", "log1p", "expm1", "tanh")
HEADER = (
    """
#define __global__
#define __device__
#define __launch_bounds__(threads)
namespace device {
struct Dim { int x; };
static Dim threadIdx{0}, blockIdx{0}, blockDim{1}, gridDim{1};
inline void __syncthreads() {}
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline double __dadd_rn(double a, double b) { return a + b; }
inline double __dsub_rn(double a, double b) { return a - b; }
inline double __dmul_rn(double a, double b) { return a * b; }
"""
    + "".join(
        f"inline float {name}(float a) {{ return __builtin_{name}f(a); }}\n"
        f"inline double {name}(double a) {{ return __builtin_{name}(a); }}\n"
        for name in (*FUNCTIONS, "sqrt", "fabs")
    )
    + "inline float fabsf(float a) { return __builtin_fabsf(a); }\n"
)


class Module:
    """A module of kernels, as CuPy's RawModule: `get_function` returns a function (grid, block, arguments)."""

    def __init__(self, code: str, kernels: Any) -> None:
        self.library, self.kernels = compile_library(code), kernels

    def get_function(self, name: str) -> Callable[..., None]:
        """Return a kernel."""
        function = getattr(self.library, name)

        def launch(grid: Sequence[int], block: Sequence[int], args: Sequence[Any]) -> None:
            pointers = [ctypes.c_void_p(array.data.ptr) for array in args]
            self.kernels.launch(name, args, lambda: function(*pointers))

        return launch


def compile_library(code: str) -> ctypes.CDLL:
    """Compile a source, unless it has been compiled before, and load it."""
    source = f"{HEADER}{code}\n}}\n"
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
