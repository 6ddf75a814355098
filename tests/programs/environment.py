"""What libraries read from the environment when they are imported, for the tests and for the random programs."""

import os
from importlib.metadata import distributions
from pathlib import Path

# Small products gain nothing from threads, and lose much where cores are shared; read when NumPy and torch are imported
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Or scikit-learn's checks of the array API are skipped; read when SciPy is imported
os.environ["SCIPY_ARRAY_API"] = "1"
# Half of the time of the tests on JAX is compilation: what was compiled once is kept, for the other processes and runs
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parents[2] / ".pytest_cache" / "jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
# XLA's optimizations take half of the time that is left; an XLA that lacks these options would end the process
if any(jaxlib.version.startswith("0.10.") for jaxlib in distributions(name="jaxlib")):
    os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false")
# Or JAX takes most of a GPU's memory, which CuPy and PyTorch need too
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
