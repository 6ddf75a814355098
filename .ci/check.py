"""Check everything that the project promises, on a clean checkout, two steps at a time.

Needs Python 3.11 or newer with pip, a package index, and Chromium, which it installs if it runs as root on Debian or
the like. Prints each step when it has ended: its output, its seconds, and those of the processor. The first step that
fails stops the others and is printed last.
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
AT_ONCE = 2
# pip's name of a setting -> the variable by which uv takes it, and what separates several values
OF_UV = {
    "index-url": ("UV_DEFAULT_INDEX", " "),
    "extra-index-url": ("UV_INDEX", " "),
    "find-links": ("UV_FIND_LINKS", ","),
    "constraint": ("UV_CONSTRAINT", " "),
}


class Step(NamedTuple):
    """A command, the virtual environment in which it runs, and what must have passed before."""

    name: str
    command: str  # for bash, in the checkout; $WORK is a folder that all steps share
    env: str = "dev"  # which is made if it is not there
    after: tuple[str, ...] = ("install dev",)
    shows: tuple[str, ...] = ()  # patterns that the lines of its output must match


def read_readme() -> list[Step]:
    """Return README's commands, which train, test and build the documentation, each in an environment of its own."""
    commands = re.findall("^pip install -e .*", (ROOT / "README.md").read_text(), re.MULTILINE)
    names = ("README: train", "README: test", "README: build the documentation")
    return [Step(name, command, env=name.split()[1], after=()) for name, command in zip(names, commands, strict=True)]


def example(arguments: str, *shows: str) -> Step:
    """Return the step that runs an example."""
    return Step(f"example: {arguments}", f"python examples/{arguments}", shows=shows)


def benchmark(arguments: str) -> Step:
    """Return the step that shows that a benchmark runs, and that what it checks holds."""
    return Step(f"benchmark: {arguments}", f"python benchmarks/{arguments}")


CHROMIUM = """
if ! command -v chromium && command -v apt-get && [ "$(id -u)" = 0 ]; then
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null
fi"""
# On a GPU where there is one; else with the real CuPy on host memory. Other libraries are left out: PyTorch's compiler
# needs minutes on the CPU
REHEARSE = """
device=$(python -c 'import cupy; print("cuda" if cupy.is_available() else "host")')
python benchmarks/gpu.py --device "$device" --quick --file "$WORK/gpu.txt" \
    --without torch jax "xpnet on torch" "xpnet on jax" """
# Trains where there is a GPU; else ends with one clear message, and no traceback
GPU_EXAMPLE = """
python examples/train_gpu.py --sample 2>"$WORK/error" || {
    cat "$WORK/error"
    grep -q 'no usable GPU' "$WORK/error" && ! grep -q Traceback "$WORK/error"
}"""
# In a copy, as the extension is another one; leaks are Python's own
SANITIZE = """
mkdir "$WORK/sanitized" && cp -r hatch_build.py pyproject.toml conftest.py xpnet tests "$WORK/sanitized"
cd "$WORK/sanitized"
export CFLAGS="-fsanitize=address,undefined -fno-sanitize-recover -g" LDFLAGS="-fsanitize=address,undefined"
python -c 'import hatch_build, pathlib; hatch_build.compile_extension(pathlib.Path.cwd())'
export LD_PRELOAD="$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libubsan.so)" ASAN_OPTIONS=detect_leaks=0
PYTHONPATH=$PWD XPNET_PLACES=numpy pytest -q -p no:cacheprovider tests/test_loops.py"""
# Last bits depend on the kernels of NumPy. The tests above run with those that it chooses here
KERNELS = """
export XPNET_PLACES=numpy
python tests/cpu_features.py | while read -r features; do
    NPY_DISABLE_CPU_FEATURES="$features" nice pytest -p no:cacheprovider \
        tests/test_{ensemble,golden,loops,replay,resume,threads,weights}.py </dev/null
done"""
BUILD = """
python -m build --installer uv --outdir "$WORK/dist"
(python -m zipfile -l "$WORK"/dist/*.whl && tar tzf "$WORK"/dist/*.tar.gz) | grep -E "LICENSE|SECURITY|loops" """
USE_WHEEL = """
uv venv --quiet "$WORK/wheel" && uv pip install --python "$WORK/wheel" "$WORK"/dist/*.whl
root=$PWD
cd "$WORK"
PATH="$WORK/wheel/bin:$PATH"
xpnet train --epochs 2 --save digits.safetensors
xpnet evaluate digits.safetensors
xpnet show digits.safetensors -o digits.html
xpnet backends | grep 'with the loop in C'
python -c "import xpnet; print(xpnet.__file__); assert not xpnet.__file__.startswith('$root')"
"""

# Those that wait longest come first. README's tests start two processes, which take what the other step leaves them of
# two cores: they are nice
TRAIN, TEST, DOCUMENT = read_readme()
STEPS = [
    # In a third of pip's processor time
    Step("install dev", "pip install --quiet uv && uv pip install --quiet -e '.[dev]'", after=()),
    TEST._replace(command=f"renice -n 10 $$ >/dev/null; {TEST.command}"),
    Step("Chromium for the tests in a browser", CHROMIUM, after=()),
    # In one process: another would take a dozen seconds to begin, and the other steps use the other core. Tests in a
    # browser are left out where there is none, and the suite's first lines say so
    Step(
        "the whole suite, without the tests above and random programs",
        'pytest --durations=10 -m "slow or not slow" --not-passed --ignore tests/test_programs.py',
        after=("install dev", TEST.name, "Chromium for the tests in a browser"),
    ),
    Step("random programs", 'pytest -m "slow or not slow" -p no:cacheprovider tests/test_programs.py'),
    TRAIN,
    DOCUMENT,
    Step(
        "every page of the documentation in a browser",
        "python tools/look_at_site.py docs/_build/html",
        after=("install dev", DOCUMENT.name, "Chromium for the tests in a browser"),
    ),
    Step("every pip install command of the pages", "python tools/try_installs.py"),
    # In one process: another would take eight seconds to begin. Without pytest's cache, as the suite reads there which
    # tests have passed
    Step(
        "CuPy on host memory",
        'nice pytest --durations=10 --cupy-on-host -m "slow or not slow" tests -p no:cacheprovider',
    ),
    Step("ruff, and what GitHub reads", "pre-commit run --all-files --show-diff-on-failure"),
    Step("pyright", "pyright"),
    Step(
        "NumPy without the loop in C",
        "XPNET_PLACES=numpy pytest --python-loop -q -p no:cacheprovider tests/test_{replay,threads}.py -k numpy",
    ),
    Step("NumPy without features of this CPU, as its first lines say", KERNELS, shows=("^NumPy computes .*; off: ",)),
    Step("the loop in C, with sanitizers", SANITIZE),
    # Zig's compiler is 100 MB, so it is no dependency of development
    Step(
        "the loop in C compiles for other systems",
        "uv pip install --quiet ziglang && python tools/compile_elsewhere.py",
    ),
    example("mnist.py --sample"),
    example("surrogate.py"),
    example("bayesian_optimization.py --runs 20", r"^20 runs: .* 0\.12"),
    example("regression.py", r"within one standard deviation: 0\.(6[2-9]|7[0-4])"),
    # The mistake is found, and only the mistake
    example("own_activation.py", "^Sine: right", "^WrongSine: wrong", "with equal predictions: True"),
    example("resume.py", "interruption, bit for bit: True"),
    example(
        "on_your_arrays.py",
        r"^numpy: .*; 9[0-9]\.[0-9]% right",
        r"^torch: .*Tensor; .* 9[0-9]\.[0-9]% right",
        r"^jax: .* 9[0-9]\.[0-9]% right",
        "^cupy: (predictions are cupy|left out: .*no usable GPU)",  # CuPy is there, but usually without a GPU
    ),
    example('search.py --epochs 3 --plot "$WORK/search.png"', r"accuracy on test data: 0\.9"),
    example('ensemble_error_bars.py --plot "$WORK/error-bars.png"', r"within 2σ: 0\.9[3-7]"),
    example("imbalanced.py --seeds 1", r"'loss' +0\.8"),
    example("sklearn_pipeline.py", r"accuracy: 0\.9"),
    # Two ranks: those of MPICH spin while they wait, and others need the cores
    Step(
        "example: distributed.py",
        "mpiexec -n 2 python -m mpi4py examples/distributed.py",
        shows=("^2 processes, 9[0-9]", "bit for bit: True"),
    ),
    Step(
        "example: sklearn_pipeline.py, with PyTorch",
        "SCIPY_ARRAY_API=1 python examples/sklearn_pipeline.py --library torch",
        shows=(r"accuracy: 0\.9",),
    ),
    example("train_gpu.py --sample --devices cpu --epochs 2"),
    Step("example: train_gpu.py, perhaps without a GPU", GPU_EXAMPLE),
    # No slower than half as much again as NumPy by hand: a ratio in one run, so a busy machine does not matter much
    benchmark('peers.py --rows r1 r3 --libraries numpy --rounds 3 --examples 10000 --threads "one thread" --check 1.5'),
    benchmark("workloads.py --quick --jobs mnist error-bars surrogate --contenders xpnet-numpy sklearn"),
    Step("benchmark: gpu.py, a rehearsal", REHEARSE),
    benchmark("accuracy.py --recipes sample --seeds 1"),
    benchmark("long_runs.py --part 0.02 --backends numpy"),
    benchmark("same_weights.py . . --count 6 --backends numpy"),
    Step(
        "build the packages",
        BUILD,
        shows=(  # licences go with the wheel, and the source archive says what is promised
            "dist-info/licenses/LICENSE ",
            "dist-info/licenses/xpnet/data_files/LICENSE-MNIST.md ",
            "^xpnet/data_files/LICENSE-MNIST.md ",
            r"^xpnet/backends/replay/loops\..*(so|pyd) ",
            "/SECURITY.md$",
        ),
    ),
    Step("use the wheel elsewhere", USE_WHEEL, after=("build the packages",)),
]


def read_settings_for_uv() -> dict[str, str]:
    """Return pip's settings as uv's variables: uv reads none of pip's, wherever they stand."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    settings = re.findall(r"^(.+?)\.([a-z-]+)='(.*)'$", listed, re.MULTILINE)
    settings.sort(key=lambda setting: setting[0] == ":env:")  # the last one holds: the environment's, if there is one
    values = {name: value.replace("\\n", " ").split() for _, name, value in settings}
    return {variable: mark.join(values[name]) for name, (variable, mark) in OF_UV.items() if name in values}


class Run(NamedTuple):
    """A step that has begun."""

    step: Step
    process: subprocess.Popen
    log: Path
    began: float


def start(step: Step, work: Path) -> Run:
    """Begin a step."""
    env = work / step.env
    variables = os.environ | {
        "WORK": str(work),
        "VIRTUAL_ENV": str(env),
        "PATH": f"{env}/bin:{os.environ['PATH']}",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PYTHONDONTWRITEBYTECODE": "",  # or every process would compile all that it imports
        "PIP_COMPILE": "0",  # what is imported is compiled then; all of it would take half of an installation
    }
    # By uv once it is there: Python's own way takes five seconds of the processor to install pip
    uv = work / "dev" / "bin" / "uv"
    make_env = f'"{uv}" venv --quiet --seed --python python3 "{env}"' if uv.exists() else f'python3 -m venv "{env}"'
    make = f'[ -d "{env}" ] || {make_env}; hash -r'
    log = work / f"{time.monotonic_ns()}.log"
    with log.open("w") as file:
        process = subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", f"{make}\n{step.command}"],
            cwd=ROOT,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that all its processes can be ended
        )
    return Run(step, process, log, time.monotonic())


def finish(run: Run, status: int, cpu_seconds: float) -> bool:
    """Print what a step has written, and return whether it passed."""
    run.process.returncode = status
    output = run.log.read_text(errors="replace")
    missing = [pattern for pattern in run.step.shows if not re.search(pattern, output, re.MULTILINE)]
    print(f"::: {run.step.name}\n{output}", end="")
    if status or missing:
        reason = f", as it shows no line that matches {missing[0]}" if missing and not status else ""
        print(f"::: FAILED: {run.step.name}{reason}", flush=True)
        return False
    seconds = time.monotonic() - run.began
    print(f"::: passed in {seconds:.0f} s, {cpu_seconds:.0f} s of the processor: {run.step.name}", flush=True)
    return True


def run_steps(steps: list[Step], work: Path) -> bool:
    """Run the steps, each as soon as those that it needs have passed, until one fails; return whether all passed."""
    waiting, passed = list(steps), set[str]()
    running: dict[int, Run] = {}
    try:
        while waiting or running:
            ready = [step for step in waiting if passed.issuperset(step.after)]
            for step in ready[: AT_ONCE - len(running)]:
                waiting.remove(step)
                run = start(step, work)
                running[run.process.pid] = run
            number, status, usage = os.wait4(-1, 0)
            run = running.pop(number)
            if not finish(run, status, usage.ru_utime + usage.ru_stime):
                return False
            passed.add(run.step.name)
    finally:
        for run in running.values():
            os.killpg(run.process.pid, signal.SIGTERM)
            run.process.wait()
    return True


def main() -> None:
    """Run all steps."""
    began = time.monotonic()
    # A shell ignores SIGINT in the background, but the tests need it
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    for name, value in read_settings_for_uv().items():
        os.environ.setdefault(name, value)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as work:
        if not run_steps(STEPS, Path(work)):
            sys.exit(1)
    print(f"::: all passed in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
