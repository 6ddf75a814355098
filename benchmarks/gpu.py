"""One command for an NVIDIA GPU: check it, time training on it beside PyTorch and JAX, and compare it with the CPU.

Prints each result as it is found, and appends it to a file. README.md in this folder describes the parts and the
method. Exits with status 1 if a check or a contender fails, or results differ.

With `--device host` it is a rehearsal without a GPU: the real CuPy runs over host memory, PyTorch and JAX on the CPU,
and the times mean nothing.
"""

import argparse
import os
import sys
import time
from importlib.util import find_spec
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
NEEDED = {"array_api_compat": "array-api-compat", "threadpoolctl": "threadpoolctl"}  # by xpnet, for this command
ROWS = tuple(f"r{n}" for n in range(1, 8))
PARTS = ("check", "steps", "sweep", "crossover", "mnist")
ALONE = {"check", "sweep"}  # parts that need CuPy alone
ENVIRONMENT = {
    "NVIDIA_TF32_OVERRIDE": "0",  # full float32 in all libraries
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": "0",
    "CUPY_TF32": "0",
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # or each JAX process reserves most of the memory
}
REHEARSAL = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}  # threads that wait for one another take much longer


def options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="what to do (everything)")
    parser.add_argument("--check", dest="parts", action="store_const", const=["check"], help="as --parts check")
    parser.add_argument("--rows", nargs="+", choices=ROWS, help="networks for the step times and the sweep (all)")
    parser.add_argument("--rounds", type=int, help="timed epochs per contender, and per setting of the sweep")
    parser.add_argument("--without", nargs="+", default=[], metavar="NAME", help="prefixes of contenders to leave out")
    parser.add_argument("--file", default="gpu.txt", help="results are appended to it (%(default)s)")
    parser.add_argument("--packages", metavar="FOLDER", help="a folder with Python packages that are not installed")
    parser.add_argument("--device", choices=("cuda", "host"), default="cuda", help="host is a rehearsal (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="small and short, to test the script")
    return parser.parse_args()


def find_packages(folder):
    """Let this process and its children find the xpnet of this checkout, and what it needs in the folder."""
    sys.path.insert(1, str(CHECKOUT))
    sys.path.extend([str(Path(folder).resolve())] if folder else [])
    if missing := " ".join(package for module, package in NEEDED.items() if find_spec(module) is None):
        sys.exit(
            f"not installed: {missing}; install with pip install {missing}, or carry along a folder that pip install "
            f"--no-deps --target FOLDER {missing} has filled, and add --packages FOLDER"
        )


# What follows imports xpnet, so inside functions: its place is known only now


def check(record, where, quick):
    """Run all checks."""
    from children import Child
    from gpu_check import CHECKS, run_check
    from gpu_times import PATIENCE

    for name in CHECKS:
        record.line(f"\ncheck: {name.replace('_', ' ')}")
        started, outcome = time.perf_counter(), "PASS"
        try:
            for line in Child(run_check, name, where, quick, **PATIENCE):
                record.line(f"    {line}")
        except RuntimeError as error:
            outcome = f"FAIL: {error}"
            record.problems.append(f"check: {name.replace('_', ' ')}")
        record.line(f"{outcome} ({time.perf_counter() - started:.1f} s)")


def measure(record, args):
    """Take the times."""
    import gpu_sweep
    import gpu_times
    from machine import cards, cuda, machine
    from places import LIBRARIES
    from turns import library, load

    size = gpu_times.QUICK if args.quick else gpu_times.FULL
    size = size._replace(rounds=args.rounds or size.rounds)
    if args.rows:
        size = size._replace(rows=tuple(args.rows), swept=tuple(args.rows))
    opened, reasons = gpu_times.open_libraries(args.device, ("cupy",) if set(args.parts) <= ALONE else LIBRARIES)
    libraries = list(opened)
    names = [name for name in gpu_times.contenders(args.device) if not name.startswith(tuple(args.without))]
    names = [name for name in names if library(name) in libraries]
    where, *digits = load()
    record.line(f"\n{cards() or 'No GPU'}; {machine(*libraries)}; {where}.")
    record.line((", ".join(cuda()) or "No packages with CUDA libraries") + ".")
    for name, reason in reasons.items():
        record.line(f"Left out: {name}: {reason}")
    if not libraries:
        record.problems.append("no library can be used")
        return
    rate = gpu_times.find_peak_rate(record, args.device, opened) if "steps" in args.parts else None
    for child in opened.values():
        child.stop()
    if "steps" in args.parts:
        gpu_times.time_steps(record, args.device, size, names, digits, rate)
    if "sweep" in args.parts and "cupy" in libraries:
        gpu_sweep.sweep(record, args.device, size, digits)
    if "crossover" in args.parts:
        gpu_times.time_crossover(record, args.device, size, libraries)
    if "mnist" in args.parts:
        gpu_times.time_mnist(record, args.device, size, libraries, digits)


def main():
    args = options()
    find_packages(args.packages)
    os.environ.update(ENVIRONMENT | (REHEARSAL if args.device == "host" else {}))
    from places import load_host_cupy
    from record import Record

    if args.device == "host" and (reason := load_host_cupy().why_not()):
        sys.exit(f"CuPy cannot run on host memory: {reason}")
    record, started = Record(args.file), time.perf_counter()
    record.line(f"\n{time.strftime('%Y-%m-%d %H:%M')} {' '.join(map(str, sys.argv))}")
    if args.device == "host":
        record.line("A REHEARSAL without a GPU, with CuPy on host memory: all times in it mean nothing.")
    if "check" in args.parts:
        check(record, args.device, args.quick)
    if set(args.parts) - {"check"}:
        measure(record, args)
    record.line()
    for text in record.problems:
        record.line(f"FAILED: {text}")
    record.line(f"{len(record.problems)} problems, in {time.perf_counter() - started:.0f} s")
    return int(bool(record.problems))


if __name__ == "__main__":
    sys.exit(main())
