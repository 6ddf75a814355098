"""Start programs on several ranks by mpiexec, and end by their ids the processes of one that takes too long."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
MPIEXEC = shutil.which("mpiexec", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}  # ranks spin while they wait, and share two cores


def start(ranks: int, *arguments: object) -> Any:
    """Start Python with these arguments on several ranks, in a session of its own; return mpiexec's `Popen`."""
    assert MPIEXEC is not None
    command = [MPIEXEC, "-n", str(ranks), sys.executable, *map(str, arguments)]
    path = os.pathsep.join([str(FOLDER.parent), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, **ONE_THREAD}
    streams: Any = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, env=environment, start_new_session=True, **streams)


def finish(job: Any, seconds: float = 60) -> tuple[int, str]:
    """Wait for a job; return its status and output. One that takes longer is ended, and its output is in the error."""
    try:
        out, _ = job.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        kill(job)
        out, _ = job.communicate()
        raise AssertionError(f"not finished after {seconds} seconds:\n{out}") from None
    finally:
        kill(job)
    return job.returncode, out


def run(ranks: int, *arguments: object, seconds: float = 60) -> str:
    """Run Python on several ranks, and return its output; it must succeed."""
    status, out = finish(start(ranks, *arguments), seconds)
    assert status == 0, out
    return out


def kill(job: Any) -> None:
    """Kill mpiexec and all processes that it has started, by their ids."""
    for pid in (job.pid, *find_descendants(job.pid)) if job.poll() is None else ():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def find_descendants(pid: int) -> Iterator[int]:
    """List the processes that a process has started, and those that these have started."""
    try:
        tasks = [*Path(f"/proc/{pid}/task").iterdir()]
        children = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:
        return
    for child in children:
        yield child
        yield from find_descendants(child)
