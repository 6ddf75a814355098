"""Ranks that train networks whenever they are asked to, so that one start of mpiexec serves many trainings.

    mpiexec -n RANKS python ranks.py FOLDER PARENT

The ranks look for jobs in a folder, and end when the process PARENT has.
"""

import atexit
import itertools
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path
from typing import Any

SECONDS = 120  # for a training, the first one with the start of all ranks


class Ranks:
    """Several ranks, as the process sees them that has started them."""

    def __init__(self, number: int) -> None:
        self.folder, self.number, self.jobs = Path(tempfile.mkdtemp(prefix="ranks")), number, itertools.count()
        here = Path(__file__).parent
        paths = [str(here.parents[1]), str(here.parent), os.environ.get("PYTHONPATH", "")]
        command = [str(find_mpiexec()), "-n", str(number), sys.executable, __file__, str(self.folder), str(os.getpid())]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
        with open(self.folder / "out", "wb") as out:
            self.process = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
            )
        atexit.register(shutil.rmtree, self.folder, ignore_errors=True)
        atexit.register(self.process.terminate)

    def train(self, net: Any, data: Any, options: dict[str, Any], shards: int | None, together: bool = True) -> list:
        """Train a network on all ranks together, or on the first one alone; return what each rank has of it.

        This is the network, or the text of an error.
        """
        job = self.folder / f"{next(self.jobs)}.job"
        put(job, (net, data, options, shards, together))
        results = [job.with_suffix(f".{rank}") for rank in range(self.number)]
        deadline = time.monotonic() + SECONDS
        while not all(map(Path.exists, results)):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.process.terminate()
                raise RuntimeError(f"no answer from the ranks: {(self.folder / 'out').read_text()}")
            time.sleep(0.002)
        return [pickle.loads(result.read_bytes()) for result in results]


def find_mpiexec() -> str | None:
    """Find the launcher, beside Python's program at first."""
    places = [str(Path(sys.executable).parent), os.environ.get("PATH", "")]
    return shutil.which("mpiexec", path=os.pathsep.join(places))


def put(path: Path, value: Any) -> None:
    """Write a file, which is whole as soon as it exists."""
    new = path.with_name(f"{path.name}.new")
    new.write_bytes(pickle.dumps(value))
    os.replace(new, path)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def train(net: Any, data: Any, options: dict[str, Any], shards: int | None, together: bool) -> Any:
    """Train a network as a rank."""
    from mpi4py import MPI

    from xpnet.distributed import Distributed

    ranks = MPI.COMM_WORLD if together else MPI.COMM_SELF
    if not together and MPI.COMM_WORLD.rank:
        return None
    if ranks.rank:
        net.w = [0 * w for w in net.w]  # the ranks take over the network of rank 0
    net.train(data, distributed=ranks if shards is None else Distributed(ranks, shards), **options)
    return net


def main(folder: Path, parent: int) -> None:
    from mpi4py import MPI

    warnings.simplefilter("ignore")
    for number in itertools.count():
        job = folder / f"{number}.job"
        while not job.exists():
            if not is_running(parent):
                return
            time.sleep(0.002)  # a barrier would keep a core busy
        try:
            result = train(*pickle.loads(job.read_bytes()))
        except Exception:
            result = traceback.format_exc()
        put(job.with_suffix(f".{MPI.COMM_WORLD.rank}"), result)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
