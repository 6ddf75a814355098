"""Run random programs: ``python tests/run_programs.py --programs 100``; each failure has a line that repeats it."""

import argparse
import sys
import time
from collections import Counter
from contextlib import AbstractContextManager, nullcontext
from hashlib import sha256
from itertools import product

import programs.environment  # noqa: F401 - libraries read it when they are imported

# isort: split
from programs.generate import KINDS, Program, choose, keep, repeat_line, run, shrink, write

BACKENDS = ("numpy", "torch", "strict", "jax", "cupy-on-host")


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python tests/run_programs.py", description=__doc__)
    parser.add_argument("--programs", type=int, default=100, help="how many of each kind")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no other one after this time")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=["networks"])
    parser.add_argument("--operations", nargs="+", help="do no others than these")
    parser.add_argument("--backend", choices=BACKENDS, default="numpy")
    parser.add_argument("--repeat", nargs=2, metavar=("KIND", "SEED"), help="run one program")
    parser.add_argument("--only", nargs="+", type=int, help="its operations at these places")
    parser.add_argument("-x", "--exitfirst", action="store_true", help="stop at the first failure, as it is")
    parser.add_argument("--digests", action="store_true", help="print what came out of each, to compare versions")
    arguments = parser.parse_args(words)
    with device_on_host() if arguments.backend == "cupy-on-host" else nullcontext():
        if arguments.repeat:
            kind, seed = arguments.repeat
            return repeat(choose(write(kind, int(seed)), arguments.only), arguments.backend)
        return run_many(arguments)


def device_on_host() -> AbstractContextManager[None]:
    """Let CuPy find a device on host memory."""
    import host_cupy

    return host_cupy.install().devices(1)


def repeat(program: Program, backend: str) -> int:
    failure = run(program, backend)
    if failure is None:
        print("no failure")
        return 0
    report(program, failure, backend)
    return 1


def run_many(arguments: argparse.Namespace) -> int:
    start, programs, operations, counts, skipped, lines = time.monotonic(), 0, 0, Counter(), Counter(), {}
    seeds = range(arguments.first, arguments.first + arguments.programs)
    for seed, kind in product(seeds, arguments.kinds):
        if time.monotonic() - start > arguments.seconds or (counts and arguments.exitfirst):
            break
        program, digests = keep(write(kind, seed), arguments.operations), []
        failure = run(program, arguments.backend, digests, skipped)
        programs += 1
        operations += len(program.operations) if failure is None else failure.place + 1
        if arguments.digests:
            print(kind, seed, sha256(repr(digests).encode()).hexdigest()[:16], flush=True)
        if failure is not None:
            counts[failure.kind] += 1
            if counts[failure.kind] == 1:
                if not arguments.exitfirst:
                    program, failure = shrink(program, failure, arguments.backend)
                lines[failure.kind] = report(program, failure, arguments.backend)
    print(f"{programs} programs, {operations} operations, {time.monotonic() - start:.0f} s, {counts.total()} failures")
    for reason, number in skipped.most_common():
        print(f"{number:5} not compared: {reason}")
    for kind, number in counts.most_common():
        print(f"{number:5} {kind}\n      {lines.get(kind, '')}")
    return 1 if counts else 0


def report(program: Program, failure: Exception, backend: str) -> str:
    line = repeat_line(program, backend)
    print("=" * 100, line, failure.settings, failure.log, failure.trace, sep="\n", flush=True)
    return line


if __name__ == "__main__":
    sys.exit(main())
