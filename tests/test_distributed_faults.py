"""What becomes of a training on several processes when one fails or is killed."""

import re
from pathlib import Path

import mpi
import pytest

from xpnet.distributed._setting import check_launcher

pytestmark = pytest.mark.needs("mpi4py", "mpiexec")
CASES = mpi.FOLDER / "faulty_ranks.py"


def fail(*arguments):
    """Run Python on two ranks, which must end by themselves, with an error; return mpiexec's output."""
    status, out = mpi.finish(mpi.start(2, *arguments))
    assert status != 0, out
    return out


@pytest.mark.parametrize("command", [(CASES, "raises"), ("-m", "mpi4py", CASES, "raises_before")], ids=lambda c: c[-1])
def test_a_rank_that_raises_ends_all_after_its_traceback(command, tmp_path):
    """In a step while the others wait for its gradient, and before `train` while they wait there."""
    out = fail(*command, tmp_path)
    assert re.findall(r"^\w*Error: .*", out, re.MULTILINE) == ["OSError: the disk of rank 1 is gone"]
    assert "in lose_disk" in out


def test_a_rank_that_is_killed_ends_all_and_a_restart_goes_on_from_the_checkpoint(tmp_path):
    fail(CASES, "is_killed", tmp_path)
    for pid in tmp_path.glob("pid*"):
        assert not is_alive(int(pid.read_text()))
    assert mpi.run(2, CASES, "resumes", tmp_path) == "kept 3 of 6 epochs, equal: True\n"


def is_alive(pid):
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


# Launchers; MPI sees one process here


@pytest.mark.parametrize(
    ("variable", "launcher", "remedy"),
    [
        ("PMI_SIZE", "the mpiexec of MPICH or Intel MPI", "use the mpiexec of {}, or install mpi4py with the MPI of"),
        ("OMPI_COMM_WORLD_SIZE", "the mpiexec of Open MPI", "use the mpiexec of {}, or install mpi4py with the MPI of"),
        ("SLURM_STEP_NUM_TASKS", "srun", "say how {} is started, as by srun --mpi=pmi2 or --mpi=pmix, or use"),
    ],
)
def test_a_launcher_of_another_mpi_is_refused_by_name(variable, launcher, remedy, monkeypatch):
    from mpi4py import MPI

    monkeypatch.setenv(variable, "1")
    check_launcher()
    monkeypatch.setenv(variable, "4")
    mpi_here = MPI.get_vendor()[0]
    message = (
        rf"distributed: {launcher} has started 4 processes \({variable}\), but {mpi_here}, which mpi4py uses, knows"
    )
    with pytest.raises(ValueError, match=f"^{message} of one, and each would train alone; {remedy.format(mpi_here)}"):
        check_launcher()
